// SPDX-License-Identifier: Apache-2.0
#include "host/cli/train_job.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "host/cli/data_args.h"
#include "host/cli/split.h"
#include "host/graph/rewrite.h"
#include "host/onnx/onnx_export.h"
#include "host/onnx/onnx_import.h"
#include "host/run/float_run.h"
#include "host/train/initialise.h"
#include "host/train/statistics.h"

enum { DEFAULT_BATCH = 64, DEFAULT_EPOCHS = 10, CALIBRATION_SAMPLES = 512 };

// The number behind "name="; false: it is another word, or no number up to 64.
static bool read_pixels(const char *at, size_t length, const char *name, uint32_t *pixels) {
  const size_t start = strlen(name);
  char *end = NULL;
  if (length <= start || memcmp(at, name, start) != 0 || at[start] < '0' || at[start] > '9')
    return false;
  const unsigned long value = strtoul(at + start, &end, 10);
  *pixels = (uint32_t)value;
  return value <= 64 && end == at + length;
}

// "flip", "shift=4", "cutout=8", "mixup", or several with commas between.
static bl_status read_augment(const char *text, bl_augment *augment, bl_error *err) {
  for (const char *at = text; at != NULL && *at != '\0';) {
    size_t length = strcspn(at, ",");
    if (length == 4 && memcmp(at, "flip", 4) == 0)
      augment->flip = true;
    else if (length == 5 && memcmp(at, "mixup", 5) == 0)
      augment->mixup = true;
    else if (!read_pixels(at, length, "shift=", &augment->shift) &&
             !read_pixels(at, length, "cutout=", &augment->cutout))
      return bl_fail(err, BL_ERR_USAGE,
                     "--augment %s: expected flip, shift=N, cutout=N (N to 64), mixup, or several",
                     text);
    at += length + (at[length] == ',');
  }
  return BL_OK;
}

// Numbers are compared with what the network gives; the other losses with what a final Softmax or
// Sigmoid reads.
static bl_status open_net(const bl_float_graph *graph, bl_loss_kind loss, const bl_distil *distil,
                          bl_train_options options, bl_train_net **net, bl_error *err) {
  options.outputs = graph->outputs;
  options.output_count = loss == BL_LOSS_SQUARED ? 1 : 0;
  if (distil != NULL)
    options.outputs = bl_distil_outputs(distil, options.frozen, &options.output_count);
  return bl_train_open(graph, &options, net, err);
}

static bl_status import(const char *path, uint64_t batch, bl_float_graph **graph, bl_error *err) {
  bl_onnx_options options = {.batch = (int64_t)batch, .rebatch = true};
  return bl_onnx_import(path, &options, graph, err);
}

// What sums read gets copies for products where it has bits of its own.
static bl_status add_copies(const bl_cli_args *args, bl_float_graph *graph, bl_error *err) {
  uint32_t copies;
  if (args->bits == NULL || args->skip_bits == 0) return BL_OK;
  return bl_rewrite_skips(graph, &copies, err);
}

// Numbers that the network gives for one sample.
static size_t outputs_of(const bl_float_graph *graph) {
  const bl_value *in = &graph->values[graph->inputs[0]];
  size_t batch = in->rank > 0 && in->dims[0] > 0 ? (size_t)in->dims[0] : 1;
  return graph->values[bl_train_logits(graph)].count / batch;
}

static bl_status load_data(const bl_cli_args *args, bl_train_job *job, bl_error *err) {
  bl_preprocess preprocess = bl_preprocess_identity();
  bl_float_io io;
  BL_TRY(bl_cli_preprocess(args, &preprocess, err));
  BL_TRY(bl_float_describe(job->graph, &io, err));
  bool classes = job->options.loss != BL_LOSS_SQUARED || args->teacher != NULL;
  size_t outputs = classes ? outputs_of(job->graph) : 0;
  bl_dataset_source train = {args->data,        args->array, args->labels,
                             args->label_array, args->skip,  args->limit};
  bl_dataset_source test = {
      args->test, args->test_array, args->test_labels, args->test_label_array, 0, 0};
  BL_TRY(bl_cli_load_samples(args, &train, io, &preprocess, outputs, &job->data, err));
  if (args->test == NULL) return BL_OK;
  BL_TRY(bl_cli_load_samples(args, &test, io, &preprocess, outputs, &job->test, err));
  job->has_test = true;
  if (!job->test.has_labels && job->options.loss != BL_LOSS_SQUARED)
    return bl_fail(err, BL_ERR_USAGE, "--test %s has no labels; say --test-labels", args->test);
  return BL_OK;
}

static void read_optimiser(const bl_cli_args *args, bl_optimiser_options *optimiser) {
  *optimiser = bl_optimiser_defaults(args->optimizer == BL_CLI_ADAMW ? BL_OPTIMISER_ADAMW
                                                                     : BL_OPTIMISER_SGD);
  optimiser->momentum = args->momentum;
  optimiser->nesterov = args->nesterov;
  optimiser->decay = args->decay;
  optimiser->clip = args->clip;
}

// In steps; the number of steps of an epoch is known when the data are.
static void read_schedule(const bl_cli_args *args, bl_train_job *job) {
  uint64_t steps = bl_trainer_steps(job->data.count, bl_train_batch_size(job->net));
  uint64_t epochs = job->options.epochs, every = args->step_epochs;
  double rate = args->optimizer == BL_CLI_ADAMW ? 0.001 : 0.01;
  if (every == 0) every = epochs < 3 ? 1 : epochs / 3;
  job->options.schedule = (bl_schedule){
      .kind = args->schedule < 0 ? BL_SCHEDULE_COSINE : (bl_schedule_kind)args->schedule,
      .rate = args->lr > 0 ? args->lr : rate,
      .factor = args->step_factor,
      .warm_up = (uint64_t)llround(args->warm_up * (double)steps),
      .every = steps > 0 ? every * steps : 1,
      .total = steps > 0 ? epochs * steps : 1};
}

static bl_status check_args(const bl_cli_args *args, bl_error *err) {
  if (args->output == NULL) return bl_fail(err, BL_ERR_USAGE, "train needs --output FILE");
  if (args->data == NULL) return bl_fail(err, BL_ERR_USAGE, "train needs --data FILE");
  return BL_OK;
}

static bl_status read_sample(void *context, size_t index, float *out, bl_error *err) {
  (void)err;
  bl_train_sample(context, NULL, 0, 0, index, out);
  return BL_OK;
}

static void add_hook(bl_train_job *job, bl_train_hook hook) {
  job->hooks[job->options.hook_count++] = hook;
  job->options.hooks = job->hooks;
}

static bl_status read_aware(const bl_cli_args *args, bl_train_job *job,
                            bl_quant_aware_options *options, bl_error *err) {
  *options = (bl_quant_aware_options){
      .ternary = args->ternary,
      .bipolar = args->bipolar,
      .sign = args->sign < 0 ? BL_SIGN_CLIP : (bl_sign_slope)args->sign,
      .clip_decay = args->pact,
      .regulariser = args->regulariser,
      .weights_from = args->weights_from,
      .freeze_from = args->freeze_steps,
      .freeze_oscillating = args->freeze_oscillating,
      .skip_bits = (unsigned)args->skip_bits,
      .ratio_bits = (unsigned)args->ratio_bits,
  };
  BL_TRY(bl_cli_bits(args->bits, &options->weight_bits, &options->activation_bits, err));
  BL_TRY(bl_cli_bits(args->edge_bits, &options->edge_weight_bits, &options->edge_activation_bits,
                     err));
  if (args->codebook == NULL) return BL_OK;
  BL_TRY(bl_codebook_open(args->codebook, &job->codebook, err));
  options->codebook = &job->codebook;
  return BL_OK;
}

static bl_status open_aware(const bl_cli_args *args, bl_train_job *job, bl_error *err) {
  bl_quant_aware_options options;
  bl_float_graph *one = NULL;
  size_t count = args->calib_limit > 0 ? args->calib_limit : CALIBRATION_SAMPLES;
  bl_calibration calibration = {read_sample, &job->data,
                                count < job->data.count ? count : job->data.count};
  BL_TRY(read_aware(args, job, &options, err));
  if (args->fresh >= 0)
    return bl_fail(err, BL_ERR_USAGE,
                   "--bits: steps begin at the sizes of trained weights; train --fresh ones first");
  bl_status status = import(args->model, 1, &one, err);
  if (status == BL_OK) status = add_copies(args, one, err);
  if (status == BL_OK)
    status = bl_quant_aware_open(job->graph, one, &options, &calibration, &job->aware, err);
  bl_float_graph_free(one);
  if (status != BL_OK) return status;
  add_hook(job, bl_quant_aware_hook(job->aware));
  return BL_OK;
}

static bl_status open_student(const bl_cli_args *args, bl_train_job *job, bl_error *err) {
  bl_train_options options = {.bf16 = args->precision == BL_CLI_BF16,
                              .fixed_statistics = args->fixed_statistics,
                              .seed = args->seed};
  if (args->bits != NULL) {
    BL_TRY(open_aware(args, job, err));
    options.transforms = bl_quant_aware_transforms(job->aware, &options.transform_count);
  }
  BL_TRY(open_net(job->graph, job->options.loss, job->distil, options, &job->net, err));
  if (args->fresh >= 0) bl_train_initialise(job->net, (bl_initialise_kind)args->fresh, args->seed);
  if (args->relative_rate) bl_optimiser_relative(job->net);
  if (job->aware != NULL)
    bl_quant_aware_attach(job->aware, job->net, args->optimizer == BL_CLI_ADAMW);
  return BL_OK;
}

static bl_status open_teacher(const bl_cli_args *args, uint64_t batch, bl_train_job *job,
                              bl_error *err) {
  const bl_train_options frozen = {.frozen = true, .bf16 = args->precision == BL_CLI_BF16};
  if (args->distil >= 0 && job->options.loss == BL_LOSS_SQUARED)
    return bl_fail(err, BL_ERR_USAGE, "--distil needs another --loss");
  if (args->teacher == NULL) return BL_OK;
  BL_TRY(import(args->teacher, batch, &job->teacher_graph, err));
  if (args->distil >= 0) {
    const bl_distil_options distil = {.kind = (bl_distil_kind)args->distil,
                                      .weight = args->distil_weight,
                                      .layers = args->distil_layers};
    BL_TRY(bl_distil_open(job->graph, job->teacher_graph, &distil, &job->distil, err));
  }
  BL_TRY(
      open_net(job->teacher_graph, BL_LOSS_CROSS_ENTROPY, job->distil, frozen, &job->teacher, err));
  job->options.teacher = job->teacher;
  if (job->distil != NULL) add_hook(job, bl_distil_hook(job->distil, job->teacher));
  return BL_OK;
}

static bl_status open_answers(bl_train_job *job, bl_error *err) {
  bl_trainer_options *o = &job->options;
  if (job->teacher == NULL || job->distil != NULL || !bl_answers_fit(&o->augment)) return BL_OK;
  BL_TRY(bl_answers_open(job->data.count, outputs_of(job->teacher_graph), &job->answers, err));
  o->answers = job->answers;
  return BL_OK;
}

// A peer begins elsewhere: with fresh weights of another seed, or as its own file says.
static bl_status open_beside(const bl_cli_args *args, uint64_t batch, bl_train_job *job,
                             bl_error *err) {
  const bl_train_options options = {.bf16 = args->precision == BL_CLI_BF16, .seed = args->seed + 1};
  if (args->average > 0) {
    BL_TRY(bl_average_open(job->net, args->average, NULL, &job->average, err));
    add_hook(job, bl_average_hook(job->average));
  }
  if (args->peer == NULL) return BL_OK;
  if (job->options.loss != BL_LOSS_CROSS_ENTROPY)
    return bl_fail(err, BL_ERR_USAGE, "--peer needs --loss cross-entropy");
  BL_TRY(import(args->peer, batch, &job->peer_graph, err));
  BL_TRY(open_net(job->peer_graph, job->options.loss, NULL, options, &job->peer_net, err));
  if (args->fresh >= 0)
    bl_train_initialise(job->peer_net, (bl_initialise_kind)args->fresh, args->seed + 1);
  BL_TRY(bl_peer_open(job->peer_net, 1, &job->options.optimiser, &job->options.schedule, &job->peer,
                      err));
  add_hook(job, bl_peer_hook(job->peer));
  return BL_OK;
}

bl_status bl_train_job_finish(const bl_cli_args *args, bl_train_job *job, bool *changed,
                              bl_error *err) {
  *changed = job->average != NULL || args->reestimate > 0;
  if (job->average != NULL) bl_average_take(job->average);
  if (args->reestimate == 0) return BL_OK;
  return bl_train_reestimate(job->net, &job->data, args->reestimate, err);
}

bl_status bl_train_job_open(const bl_cli_args *args, bl_train_job *job, bl_error *err) {
  *job = (bl_train_job){0};
  BL_TRY(check_args(args, err));
  bl_trainer_options *o = &job->options;
  o->epochs = args->epochs > 0 ? args->epochs : DEFAULT_EPOCHS;
  o->seed = args->seed;
  o->loss = args->loss < 0 ? BL_LOSS_CROSS_ENTROPY : (bl_loss_kind)args->loss;
  o->temperature = args->temperature;
  o->teacher_weight = args->teacher_weight;
  o->smoothing = args->smoothing;
  o->freeze_statistics = args->freeze_statistics;
  o->checkpoint = args->checkpoint;
  o->checkpoint_steps = args->checkpoint_steps;
  BL_TRY(read_augment(args->augment, &o->augment, err));
  read_optimiser(args, &o->optimiser);
  if (args->threads > 0) bl_train_threads((uint32_t)args->threads);
  uint64_t batch = args->batch > 0 ? args->batch : DEFAULT_BATCH;
  BL_TRY(import(args->model, batch, &job->graph, err));
  BL_TRY(add_copies(args, job->graph, err));
  BL_TRY(open_teacher(args, batch, job, err));
  BL_TRY(load_data(args, job, err));
  BL_TRY(open_student(args, job, err));
  BL_TRY(open_answers(job, err));
  read_schedule(args, job);
  return open_beside(args, batch, job, err);
}

void bl_train_job_close(bl_train_job *job) {
  bl_train_close(job->net);
  bl_train_close(job->teacher);
  bl_quant_aware_close(job->aware);
  bl_distil_close(job->distil);
  bl_average_close(job->average);
  bl_answers_close(job->answers);
  bl_peer_close(job->peer);
  bl_train_close(job->peer_net);
  bl_float_graph_free(job->peer_graph);
  bl_float_graph_free(job->graph);
  bl_float_graph_free(job->teacher_graph);
  bl_train_data_free(&job->data);
  bl_train_data_free(&job->test);
}

// Is the batch free, and nowhere folded into a constant? Two imports that differ in nothing else.
static bool batch_is_free(const char *path, const bl_float_graph *one) {
  bl_onnx_options import = {.batch = 2};
  bl_float_graph *two;
  bl_error ignored = {0};
  if (bl_onnx_import(path, &import, &two, &ignored) != BL_OK) return false;
  bool is_free = one->value_count == two->value_count && one->node_count == two->node_count &&
                 one->input_count > 0 && one->values[one->inputs[0]].rank > 0 &&
                 one->values[one->inputs[0]].dims[0] == 1 &&
                 two->values[two->inputs[0]].dims[0] == 2;
  for (uint32_t v = 0; is_free && v < one->value_count; v++) {
    const bl_value *a = &one->values[v], *b = &two->values[v];
    is_free = (a->i == NULL) == (b->i == NULL) &&
              (a->i == NULL ||
               (a->count == b->count && memcmp(a->i, b->i, a->count * sizeof *a->i) == 0));
  }
  bl_float_graph_free(two);
  return is_free;
}

bl_status bl_train_job_write(const bl_cli_args *args, const bl_train_job *job, bl_error *err) {
  bl_float_graph *graph;
  BL_TRY(bl_onnx_import(args->model, NULL, &graph, err));
  bl_onnx_export_options options = {.free_batch = batch_is_free(args->model, graph)};
  bl_status status = add_copies(args, graph, err);
  if (status == BL_OK) status = bl_train_store(job->net, graph, err);
  if (status == BL_OK && job->aware != NULL) status = bl_quant_aware_store(job->aware, graph, err);
  if (status == BL_OK) status = bl_onnx_export(args->output, graph, &options, err);
  bl_float_graph_free(graph);
  return status;
}
