// SPDX-License-Identifier: Apache-2.0
// Channel shuffles.
#include <string.h>

#include "host/graph/float_edit.h"
#include "host/graph/rewrite.h"

// The node that alone gives the value, where only one node reads it and it is of that operator.
static const bl_node *sole_source(const bl_float_graph *g, const bl_float_uses *uses, int32_t value,
                                  bl_float_op op) {
  const int32_t n = uses->producer[value];
  if (n < 0 || g->nodes[n].op != op || uses->readers[value] != 1) return NULL;
  return &g->nodes[n];
}

// perm: the first two axes behind the batch change places, the others stay.
static bool swaps_groups(const bl_node *transpose, uint32_t rank) {
  const bl_attribute *perm = bl_node_attribute(transpose, "perm");
  if (perm == NULL || perm->int_count != rank || rank < 4) return false;
  for (uint32_t k = 0; k < rank; k++)
    if (perm->ints[k] != (k == 1 ? 2 : k == 2 ? 1 : (int64_t)k)) return false;
  return true;
}

// The groups of a shuffle that ends with `back`; 0: it is none.
static int64_t groups_of(const bl_float_graph *g, const bl_float_uses *uses, const bl_node *back,
                         const bl_node **transpose, const bl_node **split) {
  if (back->op != BL_FLOAT_RESHAPE) return 0;
  *transpose = sole_source(g, uses, back->inputs[0], BL_FLOAT_TRANSPOSE);
  if (*transpose == NULL) return 0;
  *split = sole_source(g, uses, (*transpose)->inputs[0], BL_FLOAT_RESHAPE);
  if (*split == NULL) return 0;
  const bl_value *x = bl_node_input(g, *split, 0), *y = bl_node_output(g, back, 0);
  const bl_value *parts = bl_node_output(g, *split, 0);
  if (x->rank != y->rank || memcmp(x->dims, y->dims, x->rank * sizeof *x->dims) != 0 ||
      x->rank < 3 || parts->rank < 4 || parts->dims[0] != x->dims[0] ||
      parts->dims[1] * parts->dims[2] != x->dims[1] || !swaps_groups(*transpose, parts->rank))
    return 0;
  return parts->dims[1];
}

static bl_status to_gather(bl_float_graph *g, uint32_t at, const bl_node *transpose,
                           const bl_node *split, int64_t groups, bl_error *err) {
  const int64_t channels = bl_node_input(g, split, 0)->dims[1], each = channels / groups;
  const int64_t dims[1] = {channels};
  int32_t inputs[2] = {split->inputs[0], -1};
  bl_node node;
  BL_TRY(bl_float_add_integers(g, transpose->name, "_order", 1, dims, NULL, &inputs[1], err));
  for (int64_t k = 0; k < channels; k++) // channel j of group i goes to j * groups + i
    g->values[inputs[1]].i[k] = k % groups * each + k / groups;
  BL_TRY(bl_float_make_node(g, BL_FLOAT_GATHER, transpose->name, "", inputs, 2,
                            g->nodes[at].outputs[0], &node, err));
  node.name = transpose->name; // it goes away
  BL_TRY(bl_float_set_int(g, &node, "axis", 1, err));
  g->nodes[at] = node;
  return bl_float_infer(g, &node, err);
}

bl_status bl_rewrite_shuffles(bl_float_graph *graph, uint32_t *count, bl_error *err) {
  bl_float_uses uses;
  *count = 0;
  BL_TRY(bl_float_find_uses(graph, &uses, err));
  for (uint32_t n = 0; n < graph->node_count && *count < BL_REWRITE_MOST; n++) {
    const bl_node *transpose, *split;
    const int64_t groups = groups_of(graph, &uses, &graph->nodes[n], &transpose, &split);
    if (groups == 0) continue;
    BL_TRY(to_gather(graph, n, transpose, split, groups, err));
    ++*count;
  }
  return *count > 0 ? bl_float_sweep(graph, err) : BL_OK;
}

// ---- Into the weights

// A Gather along the channels by a list of constants, one for each.
static bool gathers_channels(const bl_float_graph *g, const bl_node *node) {
  const bl_value *x = bl_node_input(g, node, 0), *order = bl_node_input(g, node, 1);
  if (node->op != BL_FLOAT_GATHER || order == NULL || order->i == NULL || order->rank != 1 ||
      x->rank < 3 || bl_node_int(node, "axis", 0) != 1)
    return false;
  for (size_t k = 0; k < order->count; k++)
    if (order->i[k] < -x->dims[1] || order->i[k] >= x->dims[1]) return false;
  return true;
}

// weights[n][order[k]] += weights[n][k]: what reads gathered channels reads them where they are.
static bl_status fold_gather(bl_float_graph *g, const bl_node *gather, bl_node *conv,
                             bl_error *err) {
  const bl_value *order = bl_node_input(g, gather, 1);
  const int64_t channels = bl_node_input(g, gather, 0)->dims[1];
  bl_value w = *bl_node_weights(g, conv);
  const size_t from = order->count;
  int32_t index;
  int64_t dims[BL_MAX_RANK];
  size_t taps = 1;
  memcpy(dims, w.dims, sizeof dims);
  for (uint32_t k = 2; k < w.rank; k++)
    taps *= (size_t)w.dims[k];
  dims[1] = channels;
  BL_TRY(bl_float_add_constant(g, w.name, "_ordered", w.rank, dims, NULL, &index, err));
  order = bl_node_input(g, gather, 1);
  float *to = g->values[index].f;
  for (size_t n = 0; n < (size_t)w.dims[0]; n++)
    for (size_t k = 0; k < from; k++) {
      const int64_t at = order->i[k] < 0 ? order->i[k] + channels : order->i[k];
      for (size_t t = 0; t < taps; t++)
        to[(n * (size_t)channels + (size_t)at) * taps + t] += w.f[(n * from + k) * taps + t];
    }
  conv->inputs[0] = gather->inputs[0];
  conv->inputs[1] = index;
  return BL_OK;
}

bl_status bl_rewrite_gathers(bl_float_graph *graph, uint32_t *count, bl_error *err) {
  bl_float_uses uses;
  *count = 0;
  BL_TRY(bl_float_find_uses(graph, &uses, err));
  for (uint32_t n = 0; n < graph->node_count && *count < BL_REWRITE_MOST; n++) {
    bl_node *conv = &graph->nodes[n];
    const bl_value *w = bl_node_weights(graph, conv);
    if (conv->op != BL_FLOAT_CONV || bl_node_int(conv, "group", 1) != 1 || w == NULL ||
        w->f == NULL)
      continue;
    const bl_node *gather = sole_source(graph, &uses, conv->inputs[0], BL_FLOAT_GATHER);
    if (gather == NULL || !gathers_channels(graph, gather)) continue;
    BL_TRY(fold_gather(graph, gather, conv, err));
    ++*count;
  }
  return *count > 0 ? bl_float_sweep(graph, err) : BL_OK;
}
