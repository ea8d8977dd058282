// SPDX-License-Identifier: Apache-2.0
#include "host/cli/recipe_job.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "host/cli/data_args.h"
#include "host/graph/float_edit.h"
#include "host/report/wilson.h"
#include "host/train/train_net.h"

enum { CALIBRATION_SAMPLES = 512, HELD_OUT_SAMPLES = 1000 };

// Labels, where there are any, name one of `classes`.
static bl_status load(const bl_cli_args *args, const bl_dataset_source *source, bl_float_io io,
                      const bl_preprocess *preprocess, size_t classes, bl_train_data *data,
                      bl_error *err) {
  bl_dataset dataset;
  BL_TRY(bl_dataset_open(source, &dataset, err));
  bl_status status = bl_cli_check_layout(args, &dataset, err);
  if (status == BL_OK) status = bl_float_fits(&dataset, preprocess, &io, err);
  if (status == BL_OK)
    status = bl_train_data_load(&dataset, preprocess, io.order, classes, data, err);
  bl_dataset_free(&dataset);
  return status;
}

static bl_train_data part_of(const bl_train_data *data, size_t first, size_t count) {
  bl_train_data part = *data;
  part.values += first * data->elements;
  if (part.has_labels) part.labels += first;
  part.count = count;
  return part;
}

// The last samples of --data are held out; the first ones calibrate where --calib is not given.
static bl_status load_data(const bl_cli_args *args, const bl_float_io *io,
                           const bl_preprocess *preprocess, bl_recipe_job *job, bl_error *err) {
  const bl_dataset_source data = {args->data,        args->array, args->labels,
                                  args->label_array, args->skip,  args->limit};
  const size_t wanted = args->calib_limit != 0 ? args->calib_limit : CALIBRATION_SAMPLES;
  const bl_dataset_source calib = {
      .images = args->calib, .image_array = args->calib_array, .limit = wanted};
  const size_t classes = job->original->values[bl_train_logits(job->original)].count;
  bl_network_data *samples = &job->network.data;
  if (args->calib != NULL) {
    BL_TRY(load(args, &calib, *io, preprocess, 0, &job->calibration, err));
    job->owns_calibration = true;
    samples->calibration = &job->calibration;
  }
  if (args->data == NULL) return BL_OK;
  BL_TRY(load(args, &data, *io, preprocess, classes, &job->all, err));
  const size_t count = job->all.count;
  size_t held = args->hold_out != 0 ? args->hold_out : HELD_OUT_SAMPLES;
  if (args->hold_out == 0 && held > count / 5) held = count / 5;
  if (held >= count)
    return bl_fail(err, BL_ERR_USAGE, "--hold-out %zu leaves none of %zu samples to train on", held,
                   count);
  job->training = part_of(&job->all, 0, count - held);
  job->held_out = part_of(&job->all, count - held, held);
  samples->training = &job->training;
  if (held > 0) samples->held_out = &job->held_out;
  if (args->calib != NULL) return BL_OK;
  job->calibration = part_of(&job->training, 0, wanted < count - held ? wanted : count - held);
  samples->calibration = &job->calibration;
  return BL_OK;
}

static void say(void *user, const char *line) {
  bl_recipe_job *job = user;
  bl_cli_say(job->output, "      %s\n", line);
  (void)cJSON_AddItemToArray(job->details, cJSON_CreateString(line));
}

static void add_number(cJSON *object, const char *name, double value) {
  if (isfinite(value)) (void)cJSON_AddNumberToObject(object, name, value);
}

// One line a stage, one a promise, and the same in JSON.
static void show(void *user, const bl_stage_figures *f, const bl_kept *kept, uint32_t kept_count) {
  bl_recipe_job *job = user;
  cJSON *stage = cJSON_CreateObject(), *keeps = cJSON_AddArrayToObject(stage, "keeps");
  const bool first = f->pass[0] == '\0';
  char accuracy[48] = "", coded[40] = "", cycles[48] = "";
  if (f->samples > 0) {
    const bl_interval interval = bl_wilson(f->correct, f->samples);
    (void)snprintf(accuracy, sizeof accuracy, "%.2f %% (%.1f..%.1f), ",
                   100 * (double)f->correct / (double)f->samples, 100 * interval.low,
                   100 * interval.high);
    add_number(stage, "samples", (double)f->samples);
    add_number(stage, "correct", (double)f->correct);
  }
  if (isfinite(f->cycles))
    (void)snprintf(cycles, sizeof cycles, ", %.0f cycles%s", f->cycles,
                   f->integer ? "" : " at 8 bits");
  if (f->coded > 0)
    (void)snprintf(coded, sizeof coded, ", %llu coded", (unsigned long long)f->coded);
  bl_cli_say(job->output, "%4u  %-16s %s%llu bytes of weights%s%s\n", (unsigned)f->line,
             first ? "(as it came)" : f->pass, accuracy, (unsigned long long)f->bytes, coded,
             cycles);
  for (uint32_t k = 0; k < kept_count; k++) {
    const bl_keep *keep = kept[k].keep;
    bl_cli_say(job->output, "      keeps %s of line %u: %.6g%s, yes\n", keep->what,
               (unsigned)keep->line, kept[k].figure, keep->unit);
    cJSON *entry = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(entry, "what", keep->what);
    (void)cJSON_AddStringToObject(entry, "pass", keep->pass);
    add_number(entry, "figure", kept[k].figure);
    (void)cJSON_AddItemToArray(keeps, entry);
  }
  (void)cJSON_AddStringToObject(stage, "pass", f->pass);
  add_number(stage, "line", f->line);
  (void)cJSON_AddBoolToObject(stage, "integer", f->integer);
  add_number(stage, "bytes", (double)f->bytes);
  if (f->coded > 0) add_number(stage, "coded", (double)f->coded);
  add_number(stage, "weights", (double)f->weights);
  add_number(stage, "zeros", (double)f->zeros);
  add_number(stage, "cycles", f->cycles);
  add_number(stage, "seconds", f->seconds);
  (void)cJSON_AddItemToObject(stage, "details", job->details);
  job->details = cJSON_CreateArray();
  (void)cJSON_AddItemToArray(job->stages, stage);
}

static bl_status prepare(const bl_cli_args *args, bl_recipe_job *job, bl_error *err) {
  bl_network *n = &job->network;
  n->device = (bl_compile_options){&BL_CONFIGS[args->config < 0 ? BL_CLI_DEFAULT : args->config],
                                   (uint32_t)args->batch};
  n->threads = (uint32_t)args->threads;
  n->folder = args->work;
  n->say = say;
  n->user = job;
  if (args->work != NULL && mkdir(args->work, 0777) != 0 && errno != EEXIST)
    return bl_fail(err, BL_ERR_IO, "--work %s: %s", args->work, strerror(errno));
  return BL_OK;
}

bl_status bl_recipe_job_open(const bl_cli_args *args, bl_float_graph *graph, const bl_float_io *io,
                             const bl_preprocess *preprocess, bl_cli_output *output,
                             bl_recipe_job *job, bl_error *err) {
  *job = (bl_recipe_job){.output = output, .network.graph = graph};
  job->details = cJSON_CreateArray();
  job->stages = cJSON_AddArrayToObject(output->object, "stages");
  BL_TRY(bl_recipe_open(args->recipe, &job->recipe, err));
  BL_TRY(bl_float_copy(graph, 0, &job->original, err));
  BL_TRY(bl_network_open(graph, job->original, &job->network, err));
  BL_TRY(prepare(args, job, err));
  BL_TRY(load_data(args, io, preprocess, job, err));
  bl_cli_say(output, "recipe %s: %s\n", job->recipe->name, job->recipe->about);
  (void)cJSON_AddStringToObject(output->object, "recipe", job->recipe->name);
  (void)cJSON_AddStringToObject(output->object, "recipe_text", job->recipe->text);
  return bl_recipe_run(job->recipe, &job->network, show, job, err);
}

void bl_recipe_job_close(bl_recipe_job *job) {
  bl_network_close(&job->network);
  bl_float_graph_free(job->original);
  bl_recipe_free(job->recipe);
  cJSON_Delete(job->details);
  if (job->owns_calibration) bl_train_data_free(&job->calibration);
  bl_train_data_free(&job->all);
}
