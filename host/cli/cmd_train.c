// SPDX-License-Identifier: Apache-2.0
// bitloom train: train a network, write it as ONNX.
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "host/cli/commands.h"
#include "host/cli/data_args.h"
#include "host/cli/train_job.h"

typedef struct {
  bl_cli_output *output;
  bl_cli_progress bar;
  char label[80];
  double started; // of this epoch, in seconds
} watcher;

static double now(void) {
  struct timespec t;
  (void)clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void say_epoch(watcher *w, const bl_train_progress *p) {
  bl_cli_progress_end(&w->bar);
  bl_cli_say(w->output, "epoch %llu/%llu  loss %.4f", (unsigned long long)p->epoch + 1,
             (unsigned long long)p->epochs, p->loss);
  if (p->accuracy >= 0) bl_cli_say(w->output, "  accuracy %.2f %%", 100 * p->accuracy);
  if (p->test_loss >= 0) bl_cli_say(w->output, "  test loss %.4f", p->test_loss);
  if (p->test_accuracy >= 0)
    bl_cli_say(w->output, "  test accuracy %.2f %%", 100 * p->test_accuracy);
  bl_cli_say(w->output, "  rate %.3g  %.1f s, %.0f s left\n", p->rate, now() - w->started,
             p->seconds_left);
  if (!w->output->json) (void)fflush(stdout);
  w->started = now();
}

static bool watch(void *user, const bl_train_progress *p) {
  watcher *w = user;
  (void)snprintf(w->label, sizeof w->label, "epoch %llu/%llu, loss %.4f, accuracy %.1f %%, %.0f s",
                 (unsigned long long)p->epoch + 1, (unsigned long long)p->epochs, p->loss,
                 p->accuracy >= 0 ? 100 * p->accuracy : 0.0, p->seconds_left);
  bl_cli_progress_step(&w->bar, p->step, p->steps);
  if (p->step == p->steps) say_epoch(w, p);
  return true;
}

// A number, or null where it was not measured.
static void add_measured(cJSON *object, const char *name, double value) {
  if (value >= 0)
    (void)cJSON_AddNumberToObject(object, name, value);
  else
    (void)cJSON_AddNullToObject(object, name);
}

static void add_record(cJSON *object, const bl_train_record *r) {
  (void)cJSON_AddNumberToObject(object, "loss", r->loss);
  (void)cJSON_AddNumberToObject(object, "rate", r->rate);
  add_measured(object, "accuracy", r->accuracy);
  add_measured(object, "test_loss", r->test_loss);
  add_measured(object, "test_accuracy", r->test_accuracy);
}

static void add_history(cJSON *object, const bl_trainer *trainer) {
  uint64_t count;
  const bl_train_record *history = bl_trainer_history(trainer, &count);
  if (count > 0) add_record(object, &history[count - 1]);
  cJSON *list = cJSON_AddArrayToObject(object, "history");
  for (uint64_t k = 0; k < count; k++) {
    cJSON *entry = cJSON_CreateObject();
    (void)cJSON_AddNumberToObject(entry, "epoch", (double)k + 1);
    add_record(entry, &history[k]);
    (void)cJSON_AddItemToArray(list, entry);
  }
}

static void print_result(const bl_cli_args *args, bl_train_job *job, const bl_trainer *trainer,
                         double seconds, bl_cli_output *output) {
  cJSON *o = output->object;
  uint32_t count;
  size_t numbers = 0;
  const bl_train_parameter *p = bl_train_parameters(job->net, &count);
  for (uint32_t k = 0; k < count; k++)
    numbers += p[k].gradient != NULL ? p[k].count : 0;
  (void)cJSON_AddStringToObject(o, "model", job->graph->name);
  (void)cJSON_AddStringToObject(o, "output", args->output);
  if (job->aware != NULL) (void)cJSON_AddStringToObject(o, "bits", args->bits);
  (void)cJSON_AddStringToObject(o, "precision", bl_train_bf16(job->net) ? "bf16" : "f32");
  (void)cJSON_AddNumberToObject(o, "samples", (double)job->data.count);
  (void)cJSON_AddNumberToObject(o, "batch", (double)bl_train_batch_size(job->net));
  (void)cJSON_AddNumberToObject(o, "epochs", (double)job->options.epochs);
  (void)cJSON_AddNumberToObject(o, "parameters", (double)numbers);
  (void)cJSON_AddNumberToObject(o, "memory_bytes", (double)bl_train_bytes(job->net));
  (void)cJSON_AddNumberToObject(o, "seconds", seconds);
  add_history(o, trainer);
  bl_cli_say(output, "%s: %zu parameters trained in %.1f s, written to %s\n", job->graph->name,
             numbers, seconds, args->output);
}

static bl_status resume(const bl_cli_args *args, bl_trainer *trainer, bl_cli_output *output,
                        bl_error *err) {
  if (!args->resume || access(args->checkpoint, F_OK) != 0) return BL_OK;
  uint64_t count;
  BL_TRY(bl_trainer_resume(trainer, args->checkpoint, err));
  (void)bl_trainer_history(trainer, &count);
  bl_cli_say(output, "resumed after %llu epochs from %s\n", (unsigned long long)count,
             args->checkpoint);
  return BL_OK;
}

// What is written is not what the last epoch was tested with.
static bl_status finish(const bl_cli_args *args, bl_train_job *job, bl_cli_output *output,
                        bl_error *err) {
  bool changed;
  double loss, accuracy;
  BL_TRY(bl_train_job_finish(args, job, &changed, err));
  if (!changed || !job->has_test) return BL_OK;
  BL_TRY(bl_train_evaluate(job->net, &job->test, job->options.loss, &loss, &accuracy, err));
  (void)cJSON_AddNumberToObject(output->object, "written_test_accuracy", accuracy);
  bl_cli_say(output, "as written: test loss %.4f  test accuracy %.2f %%\n", loss, 100 * accuracy);
  return BL_OK;
}

static bl_status train(const bl_cli_args *args, bl_train_job *job, bl_trainer *trainer,
                       bl_cli_output *output, bl_error *err) {
  watcher w = {.output = output, .started = now()};
  double start = now();
  if (args->precision == BL_CLI_BF16 && !bl_train_bf16(job->net))
    bl_cli_say(output, "this processor does not multiply bfloat16: trained with --precision f32\n");
  BL_TRY(resume(args, trainer, output, err));
  w.bar = bl_cli_progress_begin(w.label);
  bl_status status = bl_trainer_run(trainer, watch, &w, err);
  bl_cli_progress_end(&w.bar);
  BL_TRY(status);
  BL_TRY(finish(args, job, output, err));
  BL_TRY(bl_train_job_write(args, job, err));
  print_result(args, job, trainer, now() - start, output);
  return BL_OK;
}

bl_status bl_cmd_train(const bl_cli_args *args, bl_cli_output *output, bl_error *err) {
  bl_train_job job;
  bl_trainer *trainer = NULL;
  bl_status status = bl_train_job_open(args, &job, err);
  if (status == BL_OK)
    status = bl_trainer_open(job.net, &job.data, job.has_test ? &job.test : NULL, &job.options,
                             &trainer, err);
  if (status == BL_OK) status = train(args, &job, trainer, output, err);
  bl_trainer_close(trainer);
  bl_train_job_close(&job);
  return status;
}
