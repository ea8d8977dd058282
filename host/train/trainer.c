// SPDX-License-Identifier: Apache-2.0
#include "host/train/trainer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "host/graph/class_of.h"
#include "host/train/loss.h"
#include "host/train/trainer_internal.h"

uint64_t bl_trainer_steps(size_t samples, size_t batch) {
  return batch > 0 ? samples / batch : 0;
}

static double now(void) {
  struct timespec t;
  (void)clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// ---- Losses of a batch

// Numbers to compare with: one-hot labels (the label itself for a single output), or the input.
static void fill_target(const bl_train_batch *batch, size_t outputs, float *target) {
  if (batch->labels == NULL) {
    memcpy(target, batch->samples, batch->count * outputs * sizeof *target);
    return;
  }
  for (size_t s = 0; s < batch->count; s++)
    for (size_t k = 0; k < outputs; k++)
      target[s * outputs + k] = outputs == 1                     ? (float)batch->labels[s]
                                : (int64_t)k == batch->labels[s] ? 1.0F
                                                                 : 0.0F;
}

static double plain_loss(bl_loss_kind kind, const float *y, const bl_train_batch *batch,
                         size_t outputs, double smoothing, float *target, float *gradient) {
  if (kind == BL_LOSS_CROSS_ENTROPY)
    return bl_loss_cross_entropy(y, batch->labels, batch->count, outputs, smoothing, gradient);
  fill_target(batch, outputs, target);
  if (kind == BL_LOSS_SQUARED) return bl_loss_squared(y, target, batch->count, outputs, gradient);
  return bl_loss_binary(y, target, batch->count, outputs, gradient);
}

// `squared` reads what the network gives, the others what a final Softmax or Sigmoid reads.
static size_t count_correct(const bl_train_net *net, bl_loss_kind loss, const bl_train_batch *batch,
                            size_t outputs) {
  const bl_float_graph *graph = bl_train_graph(net);
  const float border = loss == BL_LOSS_SQUARED ? bl_class_border(graph, graph->outputs[0]) : 0;
  if (batch->labels == NULL) return 0;
  return bl_loss_correct(bl_train_output(net, 0), batch->labels, batch->count, outputs, border);
}

static double loss_of(bl_trainer *t, const bl_train_batch *batch, float *gradient) {
  const bl_trainer_options *o = &t->options;
  const float *y = bl_train_output(t->net, 0);
  if (batch->teacher != NULL)
    return bl_loss_distillation(y, batch->teacher, batch->labels, batch->count, t->outputs,
                                o->temperature, o->teacher_weight, o->smoothing, gradient);
  return plain_loss(o->loss, y, batch, t->outputs, o->smoothing, t->target, gradient);
}

// Of mixed samples in parts with the labels of both; those of the larger one are to be met.
static void batch_loss(bl_trainer *t, const bl_train_batch *batch, double *loss, size_t *correct) {
  float *gradient = bl_train_output_gradient(t->net, 0);
  bl_train_batch met = *batch;
  *loss = loss_of(t, batch, gradient);
  if (batch->mixed != NULL) {
    bl_train_batch other = *batch;
    other.labels = batch->mixed;
    *loss = batch->part * *loss + (1 - batch->part) * loss_of(t, &other, t->gradient);
    for (size_t k = 0; k < batch->count * t->outputs; k++)
      gradient[k] =
          (float)(batch->part * (double)gradient[k] + (1 - batch->part) * (double)t->gradient[k]);
    if (batch->part < 0.5) met.labels = batch->mixed;
  }
  *correct = count_correct(t->net, t->options.loss, &met, t->outputs);
}

// ---- Evaluation

static bl_status evaluate_all(bl_train_net *net, const bl_train_data *data, bl_loss_kind loss,
                              float *target, double *mean, double *accuracy, bl_error *err) {
  size_t batch = bl_train_batch_size(net), outputs = bl_train_output_count(net, 0) / batch;
  size_t correct = 0;
  double sum = 0;
  for (size_t first = 0; first < data->count; first += batch) {
    size_t count = data->count - first < batch ? data->count - first : batch;
    float *in = bl_train_input(net, 0);
    memset(in, 0, batch * data->elements * sizeof *in);
    memcpy(in, data->values + first * data->elements, count * data->elements * sizeof *in);
    BL_TRY(bl_train_forward(net, false, 0, err));
    bl_train_batch b = {
        .samples = in, .labels = data->has_labels ? data->labels + first : NULL, .count = count};
    sum += (double)count * plain_loss(loss, bl_train_output(net, 0), &b, outputs, 0, target, NULL);
    correct += count_correct(net, loss, &b, outputs);
  }
  *mean = sum / (double)data->count;
  *accuracy = data->has_labels ? (double)correct / (double)data->count : -1;
  return BL_OK;
}

// Numbers of all samples of a batch.
static size_t input_count(const bl_train_net *net) {
  const bl_float_graph *graph = bl_train_graph(net);
  return graph->values[graph->inputs[0]].count;
}

bl_status bl_train_evaluate(bl_train_net *net, const bl_train_data *data, bl_loss_kind loss,
                            double *mean, double *accuracy, bl_error *err) {
  const size_t elements = input_count(net) / bl_train_batch_size(net);
  if (data->count == 0)
    return bl_fail(err, BL_ERR_USAGE, "training: there are no samples to evaluate on");
  if (data->elements != elements)
    return bl_fail(err, BL_ERR_USAGE,
                   "training: samples of %zu values to evaluate on, the network takes %zu",
                   data->elements, elements);
  if (loss == BL_LOSS_CROSS_ENTROPY && !data->has_labels)
    return bl_fail(err, BL_ERR_USAGE, "training: the data to evaluate on have no labels");
  float *target = calloc(bl_train_output_count(net, 0), sizeof *target);
  if (target == NULL) return bl_fail(err, BL_ERR_MEMORY, "training: no memory");
  bl_status status = evaluate_all(net, data, loss, target, mean, accuracy, err);
  free(target);
  return status;
}

// ---- Opening

static bl_status check_options(const bl_trainer *t, const bl_trainer_options *o, bl_error *err) {
  const size_t elements = input_count(t->net);
  if (t->data->elements * t->batch != elements)
    return bl_fail(err, BL_ERR_USAGE, "training: samples of %zu values, the network takes %zu",
                   t->data->elements, elements / t->batch);
  if (t->steps == 0)
    return bl_fail(err, BL_ERR_USAGE,
                   "training: %zu samples do not fill a batch of %zu; take a smaller one",
                   t->data->count, t->batch);
  bool autoencoder = o->loss == BL_LOSS_SQUARED && t->data->elements == t->outputs;
  if (!t->data->has_labels && !autoencoder && !(o->teacher != NULL && o->teacher_weight >= 1))
    return bl_fail(err, BL_ERR_USAGE, "training: the training data have no labels");
  if (o->teacher != NULL &&
      (bl_train_batch_size(o->teacher) != t->batch || input_count(o->teacher) != elements ||
       bl_train_output_count(o->teacher, 0) != t->outputs * t->batch))
    return bl_fail(err, BL_ERR_USAGE,
                   "training: the teacher has another batch, or takes or gives other numbers");
  if (o->teacher != NULL && !(o->temperature > 0))
    return bl_fail(err, BL_ERR_USAGE, "training: the temperature must be above 0");
  if (o->answers != NULL && !bl_answers_fit(&o->augment))
    return bl_fail(
        err, BL_ERR_USAGE,
        "training: a teacher's answers are not kept for samples that are shifted, cut or "
        "mixed");
  return BL_OK;
}

static bl_status prepare(bl_trainer *t, bl_error *err) {
  BL_TRY(check_options(t, &t->options, err));
  t->parameters = bl_train_parameters(t->net, &t->parameter_count);
  BL_TRY(bl_optimiser_open(&t->options.optimiser, t->parameters, t->parameter_count, &t->optimiser,
                           err));
  t->order = calloc(t->data->count, sizeof *t->order);
  t->labels = calloc(2 * t->batch, sizeof *t->labels);
  t->target = calloc(t->outputs * t->batch, sizeof *t->target);
  t->gradient = calloc(t->outputs * t->batch, sizeof *t->gradient);
  t->recalled = calloc(t->outputs * t->batch, sizeof *t->recalled);
  t->history = calloc(t->options.epochs + 1, sizeof *t->history);
  if (t->order == NULL || t->labels == NULL || t->target == NULL || t->gradient == NULL ||
      t->recalled == NULL || t->history == NULL)
    return bl_fail(err, BL_ERR_MEMORY, "training: no memory");
  bl_train_order(t->data, t->options.seed, 0, t->order);
  return BL_OK;
}

bl_status bl_trainer_open(bl_train_net *net, const bl_train_data *data, const bl_train_data *test,
                          const bl_trainer_options *options, bl_trainer **trainer, bl_error *err) {
  bl_trainer *t = *trainer = calloc(1, sizeof *t);
  if (t == NULL) return bl_fail(err, BL_ERR_MEMORY, "training: no memory");
  *t = (bl_trainer){.net = net, .data = data, .test = test, .options = *options};
  t->batch = bl_train_batch_size(net);
  t->outputs = t->batch > 0 ? bl_train_output_count(net, 0) / t->batch : 0;
  t->steps = bl_trainer_steps(data->count, t->batch);
  bl_status status = prepare(t, err);
  if (status != BL_OK) {
    bl_trainer_close(t);
    *trainer = NULL;
  }
  return status;
}

void bl_trainer_close(bl_trainer *t) {
  if (t == NULL) return;
  bl_optimiser_close(t->optimiser);
  free(t->order);
  free(t->labels);
  free(t->gradient);
  free(t->recalled);
  free(t->target);
  free(t->history);
  free(t);
}

const bl_train_record *bl_trainer_history(const bl_trainer *trainer, uint64_t *count) {
  *count = trainer->epoch;
  return trainer->history;
}

// ---- Steps

static bl_train_batch fill_batch(bl_trainer *t) {
  float *in = bl_train_input(t->net, 0);
  for (size_t s = 0; s < t->batch; s++) {
    size_t index = t->order[t->step * t->batch + s];
    bl_train_sample(t->data, &t->options.augment, t->options.seed, t->epoch, index,
                    in + s * t->data->elements);
    if (!t->data->has_labels) continue;
    t->labels[s] = t->data->labels[index];
    t->labels[2 * t->batch - 1 - s] = t->labels[s];
  }
  bl_train_batch batch = {.samples = in,
                          .labels = t->data->has_labels ? t->labels : NULL,
                          .part = 1,
                          .count = t->batch};
  if (!t->options.augment.mixup) return batch;
  batch.part = bl_train_mix(in, t->batch, t->data->elements, t->options.seed, t->epoch, t->step);
  if (t->data->has_labels) batch.mixed = t->labels + t->batch;
  return batch;
}

// Sample s of the batch, and whether it is its mirror image.
static size_t drawn(const bl_trainer *t, size_t s, bool *flipped) {
  const size_t index = t->order[t->step * t->batch + s];
  *flipped = bl_train_flipped(&t->options.augment, t->options.seed, t->epoch, index);
  return index;
}

// Has the teacher answered all of the batch before?
static bool recall(bl_trainer *t) {
  const bl_answers *answers = t->options.answers;
  bool all = answers != NULL, flipped;
  for (size_t s = 0; all && s < t->batch; s++) {
    const size_t index = drawn(t, s, &flipped);
    all = bl_answers_recall(answers, index, flipped, t->recalled + s * t->outputs);
  }
  return all;
}

static bl_status ask_teacher(bl_trainer *t, bl_train_batch *batch, bl_error *err) {
  bl_train_net *teacher = t->options.teacher;
  bool flipped;
  if (teacher == NULL) return BL_OK;
  if (recall(t)) {
    batch->teacher = t->recalled;
    return BL_OK;
  }
  memcpy(bl_train_input(teacher, 0), batch->samples, t->batch * t->data->elements * sizeof(float));
  BL_TRY(bl_train_forward(teacher, false, 0, err));
  batch->teacher = bl_train_output(teacher, 0);
  for (size_t s = 0; t->options.answers != NULL && s < t->batch; s++) {
    const size_t index = drawn(t, s, &flipped);
    bl_answers_keep(t->options.answers, index, flipped, batch->teacher + s * t->outputs);
  }
  return BL_OK;
}

static bl_status not_finite(const bl_trainer *t, const char *what, const char *layer,
                            bl_error *err) {
  return bl_fail(err, BL_ERR_RANGE, "training: epoch %llu, step %llu: %s%s%s; try a lower rate",
                 (unsigned long long)t->epoch + 1, (unsigned long long)t->step + 1, what,
                 layer != NULL ? " in layer " : "", layer != NULL ? layer : "");
}

enum { BEFORE, GRADIENTS, AFTER };

static bl_status call_hooks(bl_trainer *t, int when, uint64_t step, bl_error *err) {
  const uint64_t steps = t->steps * t->options.epochs;
  for (uint32_t k = 0; k < t->options.hook_count; k++) {
    const bl_train_hook *h = &t->options.hooks[k];
    const bl_train_call call = when == BEFORE ? h->before : when == AFTER ? h->after : h->gradients;
    if (call != NULL) BL_TRY(call(h->user, t->net, step, steps, err));
  }
  return BL_OK;
}

static bl_status train_step(bl_trainer *t, double *rate, bl_error *err) {
  uint64_t step = t->epoch * t->steps + t->step;
  double loss = 0;
  size_t correct = 0;
  bl_error inner = {0};
  bl_train_batch batch = fill_batch(t);
  BL_TRY(ask_teacher(t, &batch, err));
  const double part = (double)step / ((double)t->steps * (double)t->options.epochs);
  if (t->options.freeze_statistics > 0 && part >= t->options.freeze_statistics)
    bl_train_fix_statistics(t->net, true);
  BL_TRY(call_hooks(t, BEFORE, step, err));
  BL_TRY(bl_train_forward(t->net, true, step, err));
  batch_loss(t, &batch, &loss, &correct);
  for (uint32_t k = 0; k < t->options.hook_count; k++) {
    const bl_train_hook *h = &t->options.hooks[k];
    if (h->loss != NULL) BL_TRY(h->loss(h->user, t->net, &batch, &loss, err));
  }
  if (!isfinite(loss))
    return not_finite(t, "the loss is not finite", bl_train_not_finite(t->net), err);
  BL_TRY(bl_train_backward(t->net, err));
  BL_TRY(call_hooks(t, GRADIENTS, step, err));
  *rate = bl_schedule_rate(&t->options.schedule, step);
  if (bl_optimiser_step(t->optimiser, *rate, &inner) != BL_OK)
    return not_finite(t, inner.text, NULL, err);
  BL_TRY(call_hooks(t, AFTER, step, err));
  t->loss_sum += loss;
  t->correct += correct;
  t->step++;
  return BL_OK;
}

static bl_train_progress progress_of(const bl_trainer *t, double rate) {
  double seen = (double)(t->step * t->batch);
  return (bl_train_progress){.epoch = t->epoch,
                             .epochs = t->options.epochs,
                             .step = t->step,
                             .steps = t->steps,
                             .loss = t->loss_sum / (double)t->step,
                             .accuracy = t->data->has_labels ? (double)t->correct / seen : -1,
                             .rate = rate,
                             .test_loss = -1,
                             .test_accuracy = -1};
}

// Closes the epoch: the test, its record, the next order.
static bl_status end_epoch(bl_trainer *t, bl_train_progress *p, bl_error *err) {
  if (t->test != NULL)
    BL_TRY(
        bl_train_evaluate(t->net, t->test, t->options.loss, &p->test_loss, &p->test_accuracy, err));
  t->history[t->epoch++] = (bl_train_record){p->loss, p->accuracy, p->rate,
                                             t->test != NULL ? p->test_loss : -1, p->test_accuracy};
  t->step = 0;
  t->loss_sum = 0;
  t->correct = 0;
  bl_train_order(t->data, t->options.seed, t->epoch, t->order);
  return BL_OK;
}

bl_status bl_trainer_run(bl_trainer *t, bl_train_watch watch, void *user, bl_error *err) {
  const bl_trainer_options *o = &t->options;
  double start = now();
  uint64_t done = 0;
  for (bool go = true; go && t->epoch < o->epochs;) {
    double rate = 0;
    BL_TRY(train_step(t, &rate, err));
    bl_train_progress p = progress_of(t, rate);
    uint64_t left = (o->epochs - t->epoch) * t->steps - t->step;
    bool ended = t->step == t->steps;
    if (ended) BL_TRY(end_epoch(t, &p, err));
    p.seconds_left = (now() - start) / (double)++done * (double)left;
    go = watch == NULL || watch(user, &p);
    bool due = ended || (o->checkpoint_steps > 0 && t->step % o->checkpoint_steps == 0);
    if (o->checkpoint != NULL && (due || !go)) BL_TRY(bl_trainer_save(t, o->checkpoint, err));
  }
  return BL_OK;
}
