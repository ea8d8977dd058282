// SPDX-License-Identifier: Apache-2.0
#include "host/compress/training.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "host/graph/float_edit.h"
#include "host/train/quant_aware.h"

typedef struct {
  bl_network *network;
  const bl_training *training;
  bl_float_graph *graph, *teacher_graph; // with the batch
  bl_train_net *net, *teacher;
  bl_quant_aware *aware;
  bl_arena *masks;
  bl_trainer *trainer;
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

static bl_status open_aware(job *j) {
  bl_network *n = j->network;
  bl_float_graph *one;
  const bl_calibration calibration = bl_network_calibration(n);
  const bl_quant_aware_options options = {.weight_bits = n->quantise.weight_bits,
                                          .activation_bits = n->quantise.activation_bits};
  BL_TRY(bl_float_copy(n->graph, 0, &one, j->err));
  const bl_status status =
      bl_quant_aware_open(j->graph, one, &options, &calibration, &j->aware, j->err);
  bl_float_graph_free(one);
  return status;
}

// Weights that are 0 stay 0 where a rule says so.
static bl_status set_masks(job *j) {
  uint32_t count;
  bl_train_parameter *parameters = bl_train_parameters(j->net, &count);
  for (uint32_t k = 0; k < count; k++) {
    bl_train_parameter *p = &parameters[k];
    const bl_weight_rule *rule = p->value < 0 ? NULL : bl_network_find_rule(j->network, p->name);
    if (rule == NULL || !rule->sparse) continue;
    uint8_t *mask = bl_arena_alloc(j->masks, p->count, 1);
    if (mask == NULL) return bl_fail(j->err, BL_ERR_MEMORY, "%s: no memory for a mask", p->name);
    for (size_t i = 0; i < p->count; i++)
      mask[i] = p->data[i] != 0;
    p->mask = mask;
  }
  return BL_OK;
}

static bl_status open_student(job *j) {
  bl_network *n = j->network;
  bl_train_options options = {.fixed_statistics = j->training->fixed_statistics, .seed = n->seed};
  BL_TRY(bl_float_copy(n->graph, j->training->batch, &j->graph, j->err));
  options.outputs = j->graph->outputs;
  options.output_count = j->training->loss == BL_LOSS_SQUARED ? 1 : 0;
  if (n->quantised) {
    BL_TRY(open_aware(j));
    options.transforms = bl_quant_aware_transforms(j->aware, &options.transform_count);
  }
  BL_TRY(bl_train_open(j->graph, &options, &j->net, j->err));
  if (j->aware != NULL)
    bl_quant_aware_attach(j->aware, j->net, j->training->optimiser.kind == BL_OPTIMISER_ADAMW);
  return set_masks(j);
}

static bl_status open_teacher(job *j) {
  const bl_train_options frozen = {.frozen = true};
  if (j->training->teacher == NULL) return BL_OK;
  BL_TRY(bl_float_copy(j->training->teacher, j->training->batch, &j->teacher_graph, j->err));
  return bl_train_open(j->teacher_graph, &frozen, &j->teacher, j->err);
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

static bl_status run_trainer(job *j) {
  const bl_training *t = j->training;
  const bl_train_data *data = j->network->data.training;
  const uint64_t steps = bl_trainer_steps(data->count, t->batch);
  const char *checkpoint = bl_network_file(j->network, ".ckpt");
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
      .temperature = t->temperature,
      .teacher_weight = t->teacher_weight,
      .checkpoint = checkpoint};
  BL_TRY(bl_trainer_open(j->net, data, NULL, &options, &j->trainer, j->err));
  if (checkpoint != NULL && access(checkpoint, F_OK) == 0) {
    uint64_t count;
    BL_TRY(bl_trainer_resume(j->trainer, checkpoint, j->err));
    (void)bl_trainer_history(j->trainer, &count);
    bl_network_say(j->network, "resumed after %llu epochs from %s", (unsigned long long)count,
                   checkpoint);
  }
  return bl_trainer_run(j->trainer, watch, j->network, j->err);
}

static bl_status train(job *j) {
  BL_TRY(open_student(j));
  BL_TRY(open_teacher(j));
  BL_TRY(run_trainer(j));
  BL_TRY(bl_train_store(j->net, j->network->graph, j->err));
  if (j->aware == NULL) return BL_OK;
  return bl_quant_aware_store(j->aware, j->network->graph, j->err);
}

bl_status bl_network_train(bl_network *network, const bl_training *training, bl_error *err) {
  job j = {.network = network, .training = training, .err = err};
  if (network->data.training == NULL)
    return bl_fail(err, BL_ERR_USAGE, "needs data to train on: say --data");
  BL_TRY(bl_network_free_weights(network, err));
  bl_train_threads(network->threads);
  j.masks = bl_arena_new((size_t)1 << 30);
  bl_status status =
      j.masks == NULL ? bl_fail(err, BL_ERR_MEMORY, "no memory for masks") : train(&j);
  bl_trainer_close(j.trainer);
  bl_train_close(j.net);
  bl_train_close(j.teacher);
  bl_quant_aware_close(j.aware);
  bl_float_graph_free(j.graph);
  bl_float_graph_free(j.teacher_graph);
  bl_arena_free(j.masks);
  return status;
}
