// SPDX-License-Identifier: Apache-2.0
// The factors as nodes in place of a layer.
#include <string.h>

#include "host/graph/float_edit.h"
#include "host/lowrank/lowrank_internal.h"

typedef struct {
  bl_float_graph *graph;
  const bl_lowrank_work *work;
  bl_window window; // of a convolution
  bl_node nodes[3];
} rewriting;

// ---- Numbers

// The first factor sees inputs again, not what the metric made of them: u = u unmetric, along the
// channels.
static bl_status take_metric_out(const bl_lowrank_work *w, const double *u, uint32_t rows,
                                 uint32_t taps, double **plain) {
  const size_t c = w->inputs;
  *plain = bl_arena_alloc(w->arena, rows * c * taps, sizeof **plain);
  if (*plain == NULL) return bl_lowrank_no_memory(w);
  for (size_t r = 0; r < rows; r++)
    for (size_t j = 0; j < c; j++)
      for (size_t i = 0; i < c; i++)
        for (size_t t = 0; t < taps; t++)
          (*plain)[(r * c + i) * taps + t] += u[(r * c + j) * taps + t] * w->unmetric[j * c + i];
  return BL_OK;
}

// Adds what the factors take from each output's mean: (k - near) unmetric mean, over all taps.
static void mean_change(const bl_lowrank_work *w, const double *plain_mean, float *bias) {
  const size_t taps = (size_t)w->taps_y * w->taps_x, c = w->inputs;
  for (size_t n = 0; n < w->outputs; n++) {
    double sum = 0;
    for (size_t j = 0; j < c; j++)
      for (size_t t = 0; t < taps; t++) {
        const size_t at = (n * c + j) * taps + t;
        sum += (w->k[at] - w->near[at]) * plain_mean[j];
      }
    bias[n] += (float)sum;
  }
}

static bl_status new_bias(const rewriting *re, int32_t old, int32_t *bias) {
  const bl_lowrank_work *w = re->work;
  const size_t c = w->inputs;
  const int64_t dims[1] = {w->outputs};
  *bias = old;
  if (w->mean == NULL) return BL_OK;
  double *mean = bl_arena_alloc(w->arena, c, sizeof *mean);
  if (mean == NULL) return bl_lowrank_no_memory(w);
  for (size_t j = 0; j < c; j++)
    for (size_t i = 0; w->unmetric != NULL && i < c; i++)
      mean[j] += w->unmetric[j * c + i] * w->mean[i];
  BL_TRY(bl_float_add_constant(re->graph, w->node.name, "/bias", 1, dims,
                               old >= 0 ? re->graph->values[old].f : NULL, bias, w->err));
  mean_change(w, w->unmetric != NULL ? mean : w->mean, re->graph->values[*bias].f);
  return BL_OK;
}

// ---- Nodes

static const char *const suffixes[2][3] = {{"/u", "/v", NULL}, {"/u", "/core", "/v"}};

static const char *suffix_of(const rewriting *re, uint32_t part) {
  return suffixes[re->work->parts == 3][part];
}

static bl_status add_weights(const rewriting *re, uint32_t part, uint32_t rank, const int64_t *dims,
                             bool turned, int32_t *index) {
  const bl_lowrank_work *w = re->work;
  const double *from = w->w[part];
  if (part == 0 && w->unmetric != NULL) {
    const uint32_t taps = rank == 4 ? (uint32_t)(dims[2] * dims[3]) : 1;
    double *plain;
    BL_TRY(take_metric_out(w, from, (uint32_t)dims[turned], taps, &plain));
    from = plain;
  }
  char name[16] = "";
  strcat(strcpy(name, suffix_of(re, part)), "_weight");
  BL_TRY(bl_float_add_constant(re->graph, w->node.name, name, rank, dims, NULL, index, w->err));
  const bl_value *v = &re->graph->values[*index];
  const size_t rows = (size_t)dims[1], cols = (size_t)dims[0]; // where turned
  for (size_t k = 0; k < v->count; k++)
    v->f[turned ? k % cols * rows + k / cols : k] = (float)from[k];
  return BL_OK;
}

// A convolution: its weights' dims, groups, and how much of the layer's window it takes, by axis.
typedef struct {
  int64_t dims[4], groups;
  bool takes[2];
} part_shape;

static void shapes_of(const bl_lowrank_work *w, part_shape shape[3]) {
  const int64_t n = w->outputs, c = w->inputs, r = w->rank, q = w->rank_in, ky = w->taps_y,
                kx = w->taps_x;
  switch (w->options->kind) {
  case BL_LOWRANK_SPATIAL:
    shape[0] = (part_shape){{r, c, ky, 1}, 1, {true, false}};
    shape[1] = (part_shape){{n, r, 1, kx}, 1, {false, true}};
    return;
  case BL_LOWRANK_TUCKER:
    shape[0] = (part_shape){{q, c, 1, 1}, 1, {false, false}};
    shape[1] = (part_shape){{r, q, ky, kx}, 1, {true, true}};
    shape[2] = (part_shape){{n, r, 1, 1}, 1, {false, false}};
    return;
  case BL_LOWRANK_CP:
    shape[0] = (part_shape){{r, c, 1, 1}, 1, {false, false}};
    shape[1] = (part_shape){{r, 1, ky, kx}, r, {true, true}};
    shape[2] = (part_shape){{n, r, 1, 1}, 1, {false, false}};
    return;
  case BL_LOWRANK_SEPARABLE:
    shape[0] = (part_shape){{c * r, 1, ky, kx}, c, {true, true}};
    shape[1] = (part_shape){{n, c * r, 1, 1}, 1, {false, false}};
    return;
  default:
    shape[0] = (part_shape){{r, c, ky, kx}, 1, {true, true}};
    shape[1] = (part_shape){{n, r, 1, 1}, 1, {false, false}};
  }
}

static bl_status set_window(const rewriting *re, const part_shape *shape, bl_node *node) {
  bl_float_graph *g = re->graph;
  bl_error *err = re->work->err;
  const bl_window *w = &re->window;
  int64_t strides[2] = {1, 1}, dilations[2] = {1, 1}, pads[4] = {0};
  for (int k = 0; k < 2; k++) {
    if (!shape->takes[k]) continue;
    strides[k] = w->stride[k];
    dilations[k] = w->dilation[k];
    pads[k] = w->pad_begin[k];
    pads[k + 2] = w->pad_end[k];
  }
  BL_TRY(bl_float_set_ints(g, node, "kernel_shape", shape->dims + 2, 2, err));
  BL_TRY(bl_float_set_ints(g, node, "strides", strides, 2, err));
  BL_TRY(bl_float_set_ints(g, node, "dilations", dilations, 2, err));
  BL_TRY(bl_float_set_ints(g, node, "pads", pads, 4, err));
  return bl_float_set_int(g, node, "group", shape->groups, err);
}

// Part `part`, reading what the one before gives; the last gives what the layer gave.
static bl_status make_part(rewriting *re, uint32_t part, bl_float_op op, int32_t weights,
                           int32_t bias) {
  const bl_lowrank_work *w = re->work;
  const bool last = part + 1 == w->parts;
  const int32_t inputs[3] = {part == 0 ? w->node.inputs[0] : re->nodes[part - 1].outputs[0],
                             weights, bias};
  return bl_float_make_node(re->graph, op, w->node.name, suffix_of(re, part), inputs,
                            last && bias >= 0 ? 3 : 2, last ? w->node.outputs[0] : -1,
                            &re->nodes[part], w->err);
}

static bl_status make_convolutions(rewriting *re, int32_t bias) {
  part_shape shape[3];
  shapes_of(re->work, shape);
  for (uint32_t p = 0; p < re->work->parts; p++) {
    int32_t weights;
    BL_TRY(add_weights(re, p, 4, shape[p].dims, false, &weights));
    BL_TRY(make_part(re, p, BL_FLOAT_CONV, weights, bias));
    BL_TRY(set_window(re, &shape[p], &re->nodes[p]));
  }
  return BL_OK;
}

// A Gemm keeps its kind; a MatMul, too, but for the bias that its mean may need.
static bl_status make_products(rewriting *re, int32_t bias) {
  const bl_lowrank_work *w = re->work;
  const int64_t side[3] = {w->inputs, w->rank, w->outputs};
  for (uint32_t p = 0; p < 2; p++) {
    const bool gemm = w->node.op == BL_FLOAT_GEMM || (p == 1 && bias >= 0);
    const int64_t dims[2] = {side[gemm ? p + 1 : p], side[gemm ? p : p + 1]};
    int32_t weights;
    BL_TRY(add_weights(re, p, 2, dims, !gemm, &weights));
    BL_TRY(make_part(re, p, gemm ? BL_FLOAT_GEMM : BL_FLOAT_MATMUL, weights, bias));
    if (gemm) BL_TRY(bl_float_set_int(re->graph, &re->nodes[p], "transB", 1, w->err));
  }
  return BL_OK;
}

bl_status bl_lowrank_rewrite(bl_float_graph *graph, bl_lowrank_work *w) {
  rewriting re = {.graph = graph, .work = w};
  const bool has_bias = w->node.input_count > 2 && w->node.inputs[2] >= 0;
  int32_t bias;
  if (w->conv) BL_TRY(bl_node_window(graph, &w->node, &re.window, w->err));
  BL_TRY(new_bias(&re, has_bias ? w->node.inputs[2] : -1, &bias));
  BL_TRY(w->conv ? make_convolutions(&re, bias) : make_products(&re, bias));
  return bl_float_splice(graph, w->index, 1, re.nodes, w->parts, w->err);
}
