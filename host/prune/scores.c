// SPDX-License-Identifier: Apache-2.0
// Scores of single weights.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/random.h"
#include "host/prune/prune_internal.h"
#include "host/train/loss.h"

const bl_train_parameter *bl_prune_parameter(bl_train_net *net, const bl_prune_layer *l,
                                             bl_error *err) {
  uint32_t count;
  bl_train_parameter *parameters = bl_train_parameters(net, &count);
  for (uint32_t k = 0; k < count; k++)
    if (parameters[k].value == l->value && parameters[k].count == l->count) return &parameters[k];
  (void)bl_fail(err, BL_ERR_MISMATCH, "pruning: the net does not train the weights of layer %s",
                l->name);
  return NULL;
}

static float random_score(const bl_prune *p, const bl_prune_layer *l, uint64_t seed, size_t i) {
  const uint64_t key = bl_random_key(bl_random_key(seed, (uint64_t)(l - p->layers)), i);
  return (float)(0.5 + 0.5 * bl_random_unit(key)); // never 0
}

static bl_status score_layer(bl_prune *p, bl_prune_layer *l, const float *w, const float *gradient,
                             bl_prune_score score, uint64_t seed, bl_error *err) {
  const bool by_gradient = score == BL_PRUNE_TAYLOR || score == BL_PRUNE_GRADIENT;
  if (by_gradient && gradient == NULL)
    return bl_fail(err, BL_ERR_USAGE, "pruning: layer %s has no gradients to score by", l->name);
  for (size_t i = 0; i < l->count; i++) {
    const float g = gradient != NULL ? gradient[i] : 0;
    float s = score == BL_PRUNE_RANDOM      ? random_score(p, l, seed, i)
              : score == BL_PRUNE_MAGNITUDE ? fabsf(w[i])
              : score == BL_PRUNE_TAYLOR    ? fabsf(w[i] * g)
                                            : fabsf(g);
    if (!isfinite(s))
      return bl_fail(err, BL_ERR_RANGE, "pruning: layer %s: a weight or gradient is not finite",
                     l->name);
    l->scores[i] = s;
  }
  return BL_OK;
}

bl_status bl_prune_score_graph(bl_prune *p, const bl_float_graph *graph, bl_prune_score score,
                               uint64_t seed, bl_error *err) {
  if (score != BL_PRUNE_MAGNITUDE && score != BL_PRUNE_RANDOM)
    return bl_fail(err, BL_ERR_USAGE, "pruning: scores by gradient need data");
  for (uint32_t k = 0; k < p->count; k++) {
    const bl_value *w = bl_prune_weights(&p->layers[k], graph, err);
    if (w == NULL) return BL_ERR_MISMATCH;
    BL_TRY(score_layer(p, &p->layers[k], w->f, NULL, score, seed, err));
  }
  return BL_OK;
}

bl_status bl_prune_score_net(bl_prune *p, bl_train_net *net, bl_prune_score score, uint64_t seed,
                             bl_error *err) {
  for (uint32_t k = 0; k < p->count; k++) {
    const bl_train_parameter *w = bl_prune_parameter(net, &p->layers[k], err);
    if (w == NULL) return BL_ERR_MISMATCH;
    BL_TRY(score_layer(p, &p->layers[k], w->data, w->gradient, score, seed, err));
  }
  return BL_OK;
}

// ---- From data

static bl_status run_batch(bl_train_net *net, const bl_train_data *data, uint64_t b,
                           bl_error *err) {
  const size_t batch = bl_train_batch_size(net), outputs = bl_train_output_count(net, 0) / batch;
  const float *samples = data->values + (size_t)b * batch * data->elements;
  memcpy(bl_train_input(net, 0), samples, batch * data->elements * sizeof *samples);
  BL_TRY(bl_train_forward(net, true, b, err));
  float *gradient = bl_train_output_gradient(net, 0);
  if (data->has_labels)
    (void)bl_loss_cross_entropy(bl_train_output(net, 0), data->labels + (size_t)b * batch, batch,
                                outputs, 0, gradient);
  else
    (void)bl_loss_squared(bl_train_output(net, 0), samples, batch, outputs, gradient);
  return bl_train_backward(net, err);
}

// sums: all layers' one behind the other.
static bl_status add_up(bl_prune *p, bl_train_net *net, const bl_train_data *data, uint64_t batches,
                        bl_prune_score score, double *sums, bl_error *err) {
  for (uint64_t b = 0; b < batches; b++) {
    BL_TRY(run_batch(net, data, b, err));
    BL_TRY(bl_prune_score_net(p, net, score, 0, err));
    double *at = sums;
    for (uint32_t k = 0; k < p->count; k++)
      for (size_t i = 0; i < p->layers[k].count; i++)
        *at++ += (double)p->layers[k].scores[i];
  }
  for (uint32_t k = 0; k < p->count; k++)
    for (size_t i = 0; i < p->layers[k].count; i++)
      p->layers[k].scores[i] = (float)(*sums++ / (double)batches);
  return BL_OK;
}

static bl_status score_opened(bl_prune *p, bl_train_net *net, const bl_train_data *data,
                              uint64_t batches, bl_prune_score score, bl_error *err) {
  const size_t batch = bl_train_batch_size(net);
  const size_t outputs = bl_train_output_count(net, 0) / batch;
  const bl_float_graph *g = bl_train_graph(net);
  const uint64_t full = data->count / batch;
  size_t weights = 0;
  if (data->elements * batch != g->values[g->inputs[0]].count ||
      (!data->has_labels && outputs != data->elements))
    return bl_fail(err, BL_ERR_USAGE, "pruning: the data have no labels or other shapes");
  if (full == 0 || batches == 0)
    return bl_fail(err, BL_ERR_USAGE, "pruning: %zu samples do not fill a batch of %zu",
                   data->count, batch);
  for (uint32_t k = 0; k < p->count; k++)
    weights += p->layers[k].count;
  double *sums = calloc(weights + 1, sizeof *sums);
  if (sums == NULL) return bl_fail(err, BL_ERR_MEMORY, "pruning: no memory for scores");
  bl_status status = add_up(p, net, data, batches < full ? batches : full, score, sums, err);
  free(sums);
  return status;
}

bl_status bl_prune_score_data(bl_prune *p, const bl_float_graph *graph, const bl_train_data *data,
                              uint64_t batches, bl_prune_score score, bl_error *err) {
  const bl_train_options options = {.fixed_statistics = true};
  bl_train_net *net;
  if (score != BL_PRUNE_TAYLOR && score != BL_PRUNE_GRADIENT)
    return bl_fail(err, BL_ERR_USAGE, "pruning: only scores by gradient take data");
  BL_TRY(bl_train_open(graph, &options, &net, err));
  bl_status status = score_opened(p, net, data, batches, score, err);
  bl_train_close(net);
  return status;
}
