// SPDX-License-Identifier: Apache-2.0
// A forward in training moves a running statistic to momentum * running + (1 - momentum) * batch;
// so the batch's is known, and the running one is put back, until the mean of all is.
#include "host/train/statistics.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
  bl_train_parameter *parameter;
  double momentum;
  float *before;
  double *sum;
} statistic;

static double momentum_of(const bl_float_graph *g, int32_t value) {
  for (uint32_t n = 0; n < g->node_count; n++) {
    const bl_node *node = &g->nodes[n];
    if (node->op == BL_FLOAT_BATCH_NORM && (node->inputs[3] == value || node->inputs[4] == value))
      return (double)bl_node_float(node, "momentum", 0.9F);
  }
  return 1;
}

// Statistics that move; false: no memory.
static bool find(bl_train_net *net, bl_arena *arena, statistic **list, uint32_t *found) {
  uint32_t count;
  bl_train_parameter *p = bl_train_parameters(net, &count);
  statistic *all = *list = bl_arena_alloc(arena, (size_t)count + 1, sizeof *all);
  *found = 0;
  for (uint32_t k = 0; all != NULL && k < count; k++) {
    if (p[k].kind != BL_TRAIN_MEAN && p[k].kind != BL_TRAIN_VARIANCE) continue;
    statistic *s = &all[*found];
    s->parameter = &p[k];
    s->momentum = momentum_of(bl_train_graph(net), p[k].value);
    if (s->momentum >= 1) continue;
    s->before = bl_arena_alloc(arena, p[k].count, sizeof *s->before);
    s->sum = bl_arena_alloc(arena, p[k].count, sizeof *s->sum);
    if (s->before == NULL || s->sum == NULL) return false;
    memcpy(s->before, p[k].data, p[k].count * sizeof *s->before);
    memset(s->sum, 0, p[k].count * sizeof *s->sum);
    ++*found;
  }
  return all != NULL;
}

static bl_status add_batch(bl_train_net *net, const bl_train_data *data, uint64_t b,
                           const statistic *list, uint32_t count, bl_error *err) {
  const size_t elements = bl_train_batch_size(net) * data->elements;
  memcpy(bl_train_input(net, 0), data->values + b * elements, elements * sizeof(float));
  BL_TRY(bl_train_forward(net, true, b, err));
  for (uint32_t k = 0; k < count; k++) {
    const statistic *s = &list[k];
    const double m = s->momentum;
    for (size_t i = 0; i < s->parameter->count; i++) {
      s->sum[i] += ((double)s->parameter->data[i] - m * (double)s->before[i]) / (1 - m);
      s->parameter->data[i] = s->before[i];
    }
  }
  return BL_OK;
}

static bl_status reestimate(bl_train_net *net, const bl_train_data *data, uint64_t batches,
                            bl_arena *arena, bl_error *err) {
  statistic *list;
  uint32_t count;
  if (!find(net, arena, &list, &count))
    return bl_fail(err, BL_ERR_MEMORY, "statistics: no memory for means and variances");
  for (uint64_t b = 0; b < batches; b++)
    BL_TRY(add_batch(net, data, b, list, count, err));
  for (uint32_t k = 0; k < count; k++)
    for (size_t i = 0; i < list[k].parameter->count; i++) {
      const double mean = list[k].sum[i] / (double)batches;
      const bool negative = list[k].parameter->kind == BL_TRAIN_VARIANCE && mean < 0;
      list[k].parameter->data[i] = negative ? 0 : (float)mean; // by rounding only
    }
  return BL_OK;
}

bl_status bl_train_reestimate(bl_train_net *net, const bl_train_data *data, uint64_t batches,
                              bl_error *err) {
  const uint64_t full = data->count / bl_train_batch_size(net);
  if (full == 0)
    return bl_fail(err, BL_ERR_USAGE, "statistics: %zu samples do not fill a batch of %zu",
                   data->count, bl_train_batch_size(net));
  bl_arena *arena = bl_arena_new((size_t)1 << 28);
  const bl_status status = arena == NULL
                               ? bl_fail(err, BL_ERR_MEMORY, "statistics: no memory")
                               : reestimate(net, data, batches < full ? batches : full, arena, err);
  bl_arena_free(arena);
  return status;
}
