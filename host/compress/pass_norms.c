// SPDX-License-Identifier: Apache-2.0
// Batch normalisations for networks that came without: most exporters merge them with the
// convolutions in front, and training with few bits needs them again. On the device they cost
// nothing, as each channel has a multiplier and an offset there in any case.
#include <math.h>
#include <stdlib.h>

#include "host/compress/passes.h"
#include "host/float/session.h"
#include "host/graph/float_edit.h"

static const float epsilon = 1e-5F;

typedef struct {
  int32_t value; // of a convolution
  size_t channels;
  double *sum, *squares; // [channels]
} normed;

static bl_status no_memory(bl_error *err) {
  return bl_fail(err, BL_ERR_MEMORY, "no memory for batch normalisations");
}

// Something reads it, and no batch normalisation does.
static bool needs_norm(const bl_float_graph *graph, int32_t value) {
  bool read = false;
  for (uint32_t n = 0; n < graph->node_count; n++)
    for (uint32_t k = 0; k < graph->nodes[n].input_count; k++) {
      if (graph->nodes[n].inputs[k] != value) continue;
      if (graph->nodes[n].op == BL_FLOAT_BATCH_NORM) return false;
      read = true;
    }
  return read;
}

static bl_status list(const bl_float_graph *graph, bl_arena *arena, normed **all, uint32_t *count,
                      bl_error *err) {
  *count = 0;
  *all = bl_arena_alloc(arena, graph->node_count, sizeof **all);
  if (*all == NULL) return no_memory(err);
  for (uint32_t n = 0; n < graph->node_count; n++) {
    const int32_t value = graph->nodes[n].outputs[0];
    if (graph->nodes[n].op != BL_FLOAT_CONV || !needs_norm(graph, value)) continue;
    const size_t channels = (size_t)graph->values[value].dims[1];
    double *sums = bl_arena_alloc(arena, 2 * channels, sizeof *sums);
    if (sums == NULL) return no_memory(err);
    (*all)[(*count)++] = (normed){value, channels, sums, sums + channels};
  }
  return BL_OK;
}

static void add_sample(normed *n, const bl_value *v) {
  const size_t pixels = v->count / n->channels;
  for (size_t k = 0; k < v->count; k++) {
    n->sum[k / pixels] += (double)v->f[k];
    n->squares[k / pixels] += (double)v->f[k] * (double)v->f[k];
  }
}

// Means and variances of the calibration samples, in place of the sums.
static bl_status measure(const bl_network *network, normed *all, uint32_t count, bl_error *err) {
  const bl_calibration samples = bl_network_calibration(network);
  bl_float_session *session;
  BL_TRY(bl_float_session_open(network->graph, &session, err));
  bl_status status = BL_OK;
  for (size_t s = 0; s < samples.count && status == BL_OK; s++) {
    status = samples.read(samples.context, s, bl_float_session_input(session, 0)->f, err);
    if (status == BL_OK) status = bl_float_session_run(session, err);
    for (uint32_t k = 0; k < count && status == BL_OK; k++)
      add_sample(&all[k], bl_float_session_value(session, all[k].value));
  }
  bl_float_session_close(session);
  for (uint32_t k = 0; k < count; k++) {
    const double numbers = (double)samples.count *
                           (double)network->graph->values[all[k].value].count /
                           (double)all[k].channels;
    for (size_t c = 0; c < all[k].channels; c++) {
      const double mean = all[k].sum[c] / numbers;
      all[k].squares[c] = fmax(all[k].squares[c] / numbers - mean * mean, 0);
      all[k].sum[c] = mean;
    }
  }
  return status;
}

// gamma = sqrt(variance + epsilon) and beta = mean: nothing changes.
static bl_status insert(bl_float_graph *graph, const normed *n, bl_error *err) {
  static const char *const suffixes[4] = {"_gamma", "_beta", "_mean", "_variance"};
  const int64_t dims[1] = {(int64_t)n->channels};
  const char *name = graph->values[n->value].name;
  const uint32_t behind = (uint32_t)bl_float_producer(graph, n->value) + 1;
  int32_t inputs[5] = {n->value};
  bl_node node;
  float *numbers = malloc(n->channels * sizeof *numbers);
  if (numbers == NULL) return no_memory(err);
  bl_status status = BL_OK;
  for (int k = 0; k < 4 && status == BL_OK; k++) {
    for (size_t c = 0; c < n->channels; c++)
      numbers[c] = k == 0   ? sqrtf((float)n->squares[c] + epsilon)
                   : k == 3 ? (float)n->squares[c]
                            : (float)n->sum[c];
    status = bl_float_add_constant(graph, name, suffixes[k], 1, dims, numbers, &inputs[k + 1], err);
  }
  free(numbers);
  BL_TRY(status);
  BL_TRY(bl_float_make_node(graph, BL_FLOAT_BATCH_NORM, name, "_norm", inputs, 5, -1, &node, err));
  BL_TRY(bl_float_set_float(graph, &node, "epsilon", epsilon, err));
  bl_float_redirect(graph, n->value, node.outputs[0]);
  return bl_float_splice(graph, behind, 0, &node, 1, err);
}

static bl_status run(bl_network *network, const bl_call *call, bl_error *err) {
  (void)call;
  normed *all;
  uint32_t count;
  if (network->data.calibration == NULL)
    return bl_fail(err, BL_ERR_USAGE, "needs calibration data: say --calib or --data");
  if (network->quantised)
    return bl_fail(err, BL_ERR_USAGE, "stands in front of the passes that say bits");
  BL_TRY(list(network->graph, network->arena, &all, &count, err));
  BL_TRY(measure(network, all, count, err));
  for (uint32_t k = 0; k < count; k++)
    BL_TRY(insert(network->graph, &all[k], err));
  bl_network_say(network, "%u batch normalisations", (unsigned)count);
  return BL_OK;
}

const bl_recipe_pass BL_PASS_BATCH_NORMS = {
    .name = "batch-norms",
    .summary = "put a batch normalisation behind each convolution that has none, changing nothing",
    .source = "Ioffe, Szegedy 2015, Batch Normalization",
    .run = run,
};
