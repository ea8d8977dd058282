// SPDX-License-Identifier: Apache-2.0
#include "host/compress/training.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/compress/pruning.h"
#include "host/graph/float_edit.h"
#include "host/onnx/onnx_import.h"
#include "host/prune/slimming.h"
#include "host/train/average.h"
#include "host/train/keep_weights.h"
#include "host/train/statistics.h"

typedef struct {
  bl_network *network;
  const bl_training *training;
  bl_float_graph *graph, *teacher_graph; // with the batch
  bl_train_net *net, *teacher;
  bl_quant_aware *aware;
  bl_keep_weights *keep;
  bl_distil *distil;
  bl_average *average;
  bl_answers *answers; // its own
  bl_train_transform *transforms;
  bl_trainer *trainer;
  bl_prune_schedule prune; // .prune NULL: nothing is pruned
  bl_error *err;
} job;

bl_training bl_training_defaults(const bl_network *network) {
  return (bl_training){.epochs = 10,
                       .batch = 64,
                       .optimiser = bl_optimiser_defaults(BL_OPTIMISER_ADAMW),
                       .schedule = BL_SCHEDULE_COSINE,
                       .rate = 1e-4,
                       .drop = 0.1,
                       .teacher = network->original,
                       .temperature = 4,
                       .teacher_weight = 0.9};
}

// What a teacher takes and gives must be what the network does: said before hours of searching.
static bl_status check_teacher(const char *name, const bl_float_graph *teacher,
                               const bl_float_graph *network, bl_error *err) {
  const size_t in = teacher->values[teacher->inputs[0]].count;
  const size_t out = teacher->values[bl_train_logits(teacher)].count;
  const size_t own_in = network->values[network->inputs[0]].count;
  const size_t own_out = network->values[bl_train_logits(network)].count;
  if (in == own_in && out == own_out) return BL_OK;
  return bl_fail(err, BL_ERR_USAGE,
                 "%s is no teacher here: it takes %zu numbers and gives %zu, the network %zu and "
                 "%zu",
                 name, in, out, own_in, own_out);
}

bl_status bl_training_teacher(bl_training *training, const char *teacher, bl_float_graph **other,
                              bl_error *err) {
  const bl_onnx_options one = {.batch = 1, .rebatch = true};
  const bl_float_graph *original = training->teacher;
  *other = NULL;
  if (strcmp(teacher, "original") == 0) return BL_OK;
  if (strcmp(teacher, "none") != 0) BL_TRY(bl_onnx_import(teacher, &one, other, err));
  training->teacher = *other;
  if (*other == NULL || original == NULL) return BL_OK;
  const bl_status status = check_teacher(teacher, *other, original, err);
  if (status == BL_OK) return BL_OK;
  bl_float_graph_free(*other);
  *other = NULL;
  return status;
}

bl_status bl_training_answers(const bl_training *training, const bl_train_data *data,
                              bl_answers **answers, bl_error *err) {
  const bl_float_graph *teacher = training->teacher;
  *answers = NULL;
  if (teacher == NULL || !bl_answers_fit(&training->augment)) return BL_OK;
  return bl_answers_open(data->count, teacher->values[bl_train_logits(teacher)].count, answers,
                         err);
}

static bl_status open_aware(job *j) {
  bl_network *n = j->network;
  bl_float_graph *one;
  const bl_calibration calibration = bl_network_calibration(n);
  bl_quant_aware_options options = j->training->aware;
  options.weight_bits = n->quantise.weight_bits;
  options.activation_bits = n->quantise.activation_bits;
  options.skip_bits = n->quantise.skip_bits;
  options.codebook = n->quantise.codebook;
  options.plan = n->quantise.plan;
  options.plan_count = n->quantise.plan_count;
  BL_TRY(bl_float_copy(n->graph, 0, &one, j->err));
  const bl_status status =
      bl_quant_aware_open(j->graph, one, &options, &calibration, &j->aware, j->err);
  bl_float_graph_free(one);
  return status;
}

static bl_status open_keep(job *j) {
  const bl_network *n = j->network;
  bl_kept_weights *kept = calloc((size_t)n->rule_count + 1, sizeof *kept);
  if (kept == NULL) return bl_fail(j->err, BL_ERR_MEMORY, "no memory for what weights keep");
  uint32_t count = 0;
  for (uint32_t k = 0; k < n->rule_count; k++)
    if (bl_float_find_value(j->graph, n->rules[k].value) >= 0)
      kept[count++] = (bl_kept_weights){n->rules[k].value, n->rules[k].sparse, n->rules[k].most};
  const bl_status status = bl_keep_weights_open(j->graph, kept, count, &j->keep, j->err);
  free(kept);
  return status;
}

// Shared values first, then their rounding.
static bl_status join_transforms(job *j, bl_train_options *options) {
  uint32_t kept, rounded = 0;
  const bl_train_transform *first = bl_keep_weights_transforms(j->keep, &kept), *then = NULL;
  if (j->aware != NULL) then = bl_quant_aware_transforms(j->aware, &rounded);
  j->transforms = calloc((size_t)kept + rounded + 1, sizeof *j->transforms);
  if (j->transforms == NULL) return bl_fail(j->err, BL_ERR_MEMORY, "no memory for transforms");
  if (kept > 0) memcpy(j->transforms, first, kept * sizeof *first);
  if (rounded > 0) memcpy(j->transforms + kept, then, rounded * sizeof *then);
  options->transforms = j->transforms;
  options->transform_count = kept + rounded;
  return BL_OK;
}

static bl_status open_teacher_graph(job *j) {
  const bl_training *t = j->training;
  if (t->inner && (t->teacher == NULL || t->loss == BL_LOSS_SQUARED))
    return bl_fail(j->err, BL_ERR_USAGE, "distil needs a teacher, and another loss");
  if (t->teacher == NULL) return BL_OK;
  BL_TRY(bl_float_copy(t->teacher, t->batch, &j->teacher_graph, j->err));
  if (!t->inner) return BL_OK;
  return bl_distil_open(j->graph, j->teacher_graph, &t->distil, &j->distil, j->err);
}

static bl_status open_student(job *j) {
  bl_network *n = j->network;
  bl_train_options options = {.bf16 = j->training->bf16,
                              .fixed_statistics = j->training->fixed_statistics,
                              .seed = n->seed};
  BL_TRY(bl_float_copy(n->graph, j->training->batch, &j->graph, j->err));
  options.outputs = j->graph->outputs;
  options.output_count = j->training->loss == BL_LOSS_SQUARED ? 1 : 0;
  BL_TRY(open_teacher_graph(j));
  if (j->distil != NULL)
    options.outputs = bl_distil_outputs(j->distil, false, &options.output_count);
  BL_TRY(open_keep(j));
  if (n->quantised) BL_TRY(open_aware(j));
  BL_TRY(join_transforms(j, &options));
  BL_TRY(bl_train_open(j->graph, &options, &j->net, j->err));
  if (j->training->relative) bl_optimiser_relative(j->net);
  if (j->aware != NULL)
    bl_quant_aware_attach(j->aware, j->net, j->training->optimiser.kind == BL_OPTIMISER_ADAMW);
  bl_keep_weights_attach(j->keep, j->net);
  return BL_OK;
}

static bl_status open_teacher(job *j) {
  bl_train_options frozen = {.frozen = true, .bf16 = j->training->bf16};
  if (j->teacher_graph == NULL) return BL_OK;
  if (j->distil != NULL) frozen.outputs = bl_distil_outputs(j->distil, true, &frozen.output_count);
  BL_TRY(bl_train_open(j->teacher_graph, &frozen, &j->teacher, j->err));
  if (j->distil != NULL || j->training->answers != NULL) return BL_OK;
  return bl_training_answers(j->training, j->network->data.training, &j->answers, j->err);
}

// A line for every epoch that ends.
static bool watch(void *user, const bl_train_progress *p) {
  const bl_network *network = user;
  if (p->step != p->steps) return true;
  if (p->accuracy >= 0)
    bl_network_say(network, "epoch %llu of %llu: loss %.4f, %.2f %%, %.0f s left",
                   (unsigned long long)p->epoch + 1, (unsigned long long)p->epochs, p->loss,
                   100 * p->accuracy, p->seconds_left);
  else
    bl_network_say(network, "epoch %llu of %llu: loss %.4f, %.0f s left",
                   (unsigned long long)p->epoch + 1, (unsigned long long)p->epochs, p->loss,
                   p->seconds_left);
  return true;
}

enum { MOST_HOOKS = 5 };

static bl_status list_hooks(job *j, uint64_t steps, bl_train_hook hooks[MOST_HOOKS],
                            uint32_t *count) {
  const double average = j->training->average;
  *count = 0;
  if (j->aware != NULL) hooks[(*count)++] = bl_quant_aware_hook(j->aware);
  if (average > 0) {
    BL_TRY(bl_average_open(j->net, average, NULL, &j->average, j->err));
    hooks[(*count)++] = bl_average_hook(j->average);
  }
  if (j->distil != NULL) hooks[(*count)++] = bl_distil_hook(j->distil, j->teacher);
  if (j->training->slimming > 0) hooks[(*count)++] = bl_slimming_hook(&j->training->slimming);
  if (j->network->pruning == NULL) return BL_OK;
  BL_TRY(bl_pruning_schedule(j->network, j->graph, steps, &j->prune, j->err));
  hooks[(*count)++] = bl_prune_hook(&j->prune);
  return BL_OK;
}

static bl_status run_trainer(job *j) {
  const bl_training *t = j->training;
  const bl_train_data *data = j->network->data.training;
  const uint64_t steps = bl_trainer_steps(data->count, t->batch);
  const char *checkpoint = bl_network_file(j->network, ".ckpt");
  bl_train_hook hooks[MOST_HOOKS];
  uint32_t hook_count;
  BL_TRY(list_hooks(j, steps * t->epochs, hooks, &hook_count));
  const bl_trainer_options options = {
      .epochs = t->epochs,
      .seed = j->network->seed,
      .loss = t->loss,
      .optimiser = t->optimiser,
      .schedule = {.kind = t->schedule,
                   .rate = t->rate,
                   .factor = t->drop,
                   .warm_up = (uint64_t)llround(t->warm_up * (double)steps),
                   .every = steps * ((t->epochs + 2) / 3) + (steps == 0),
                   .total = steps * t->epochs + (steps == 0)},
      .augment = t->augment,
      .teacher = j->teacher,
      .answers = t->answers != NULL ? t->answers : j->answers,
      .temperature = t->temperature,
      .teacher_weight = t->teacher_weight,
      .smoothing = t->smoothing,
      .freeze_statistics = t->freeze_statistics,
      .hooks = hooks,
      .hook_count = hook_count,
      .checkpoint = checkpoint};
  BL_TRY(bl_trainer_open(j->net, data, NULL, &options, &j->trainer, j->err));
  if (checkpoint != NULL && access(checkpoint, F_OK) == 0) {
    uint64_t count;
    BL_TRY(bl_trainer_resume(j->trainer, checkpoint, j->err));
    (void)bl_trainer_history(j->trainer, &count);
    bl_network_say(j->network, "resumed after %llu epochs from %s", (unsigned long long)count,
                   checkpoint);
  }
  if (j->prune.prune != NULL) BL_TRY(bl_prune_attach(j->prune.prune, j->net, j->err));
  BL_TRY(bl_trainer_run(j->trainer, watch, j->network, j->err));
  uint64_t epochs;
  const bl_train_record *records = bl_trainer_history(j->trainer, &epochs);
  if (j->training->loss_reached != NULL && epochs > 0)
    *j->training->loss_reached = records[epochs - 1].loss;
  return BL_OK;
}

static bl_status train(job *j) {
  BL_TRY(open_student(j));
  BL_TRY(open_teacher(j));
  BL_TRY(run_trainer(j));
  if (j->average != NULL) bl_average_take(j->average);
  if (j->training->reestimate > 0)
    BL_TRY(bl_train_reestimate(j->net, j->network->data.training, j->training->reestimate, j->err));
  BL_TRY(bl_train_store(j->net, j->network->graph, j->err));
  BL_TRY(bl_keep_weights_store(j->keep, j->network->graph, j->err));
  if (j->aware != NULL) BL_TRY(bl_quant_aware_store(j->aware, j->network->graph, j->err));
  if (j->network->pruning == NULL) return BL_OK;
  j->network->pruning = NULL;
  return bl_pruning_promise(j->network, j->err);
}

bl_status bl_network_train(bl_network *network, const bl_training *training, bl_error *err) {
  job j = {.network = network, .training = training, .err = err};
  if (network->data.training == NULL)
    return bl_fail(err, BL_ERR_USAGE, "needs data to train on: say --data");
  BL_TRY(bl_network_free_weights(network, err));
  bl_train_threads(network->threads);
  const bl_status status = train(&j);
  bl_trainer_close(j.trainer);
  bl_train_close(j.net);
  bl_train_close(j.teacher);
  bl_quant_aware_close(j.aware);
  bl_float_graph_free(j.graph);
  bl_float_graph_free(j.teacher_graph);
  bl_keep_weights_close(j.keep);
  bl_distil_close(j.distil);
  bl_average_close(j.average);
  bl_answers_close(j.answers);
  bl_prune_close(j.prune.prune);
  free(j.transforms);
  return status;
}
