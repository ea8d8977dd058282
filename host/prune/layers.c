// SPDX-License-Identifier: Apache-2.0
// The layers that can be pruned, and how their weights lie.
#include "host/prune/prune.h"

#include <stdlib.h>
#include <string.h>

#include "host/graph/float_edit.h"

enum { MOST_BYTES = 1 << 30 };

static const bl_node *producer_of(const bl_float_graph *g, int32_t value) {
  const int32_t node = bl_float_producer(g, value);
  return node >= 0 ? &g->nodes[node] : NULL;
}

static bool swaps_channels(const bl_node *node) {
  const bl_attribute *perm = node != NULL ? bl_node_attribute(node, "perm") : NULL;
  if (perm == NULL || node->op != BL_FLOAT_TRANSPOSE || perm->int_count != 4) return false;
  return perm->ints[1] == 2 && perm->ints[2] == 3 && perm->ints[3] == 1;
}

// The map that a dense layer's inputs were flattened from: channels and pixels, channels last.
static void find_map(const bl_float_graph *g, int32_t value, size_t inputs, bl_prune_layer *l,
                     bool *last) {
  l->channels = inputs;
  l->taps = 1;
  *last = false;
  while (g->values[value].rank <= 2) {
    const bl_node *node = producer_of(g, value);
    if (node == NULL || node->input_count == 0 || node->inputs[0] < 0) return;
    const bl_value *in = &g->values[node->inputs[0]];
    if (bl_value_constant(in) || !in->shaped || in->count != g->values[value].count) return;
    if (bl_node_weights(g, node) != NULL || node->op == BL_FLOAT_CONCAT) return;
    value = node->inputs[0];
  }
  const bl_value *map = &g->values[value];
  if (map->rank != 4 || map->dims[0] == 0 || map->count / (size_t)map->dims[0] != inputs) return;
  *last = swaps_channels(producer_of(g, value));
  l->channels = (size_t)map->dims[*last ? 3 : 1];
  l->taps = l->channels > 0 ? inputs / l->channels : 1;
}

static void lay_out_dense(const bl_float_graph *g, const bl_node *node, const bl_value *w,
                          bl_prune_layer *l) {
  const bool transposed = node->op == BL_FLOAT_GEMM && bl_node_int(node, "transB", 0) != 0;
  const size_t inputs = (size_t)w->dims[transposed ? 1 : 0];
  bool last;
  l->classes = BL_PRUNE_DENSE;
  l->outputs = (size_t)w->dims[transposed ? 0 : 1];
  l->groups = 1;
  find_map(g, node->inputs[0], inputs, l, &last);
  const size_t step = transposed ? 1 : l->outputs;
  l->output_stride = transposed ? inputs : 1;
  l->channel_stride = step * (last ? 1 : l->taps);
  l->tap_stride = step * (last ? l->channels : 1);
}

static void lay_out_convolution(const bl_node *node, const bl_value *w, bl_prune_layer *l) {
  l->outputs = (size_t)w->dims[0];
  l->channels = (size_t)w->dims[1];
  l->groups = (size_t)bl_node_int(node, "group", 1);
  l->taps = w->count / (l->outputs * l->channels);
  l->output_stride = l->channels * l->taps;
  l->channel_stride = l->taps;
  l->tap_stride = 1;
  l->classes = l->groups > 1 && l->channels == 1 ? BL_PRUNE_DEPTHWISE : BL_PRUNE_CONVOLUTION;
}

// The weights of a node that can be pruned; NULL: none.
static const bl_value *weights_of(const bl_float_graph *g, const bl_node *node) {
  const bool dense = node->op == BL_FLOAT_GEMM || node->op == BL_FLOAT_MATMUL;
  if (!dense && node->op != BL_FLOAT_CONV) return NULL;
  const bl_value *w = bl_node_input(g, node, 1);
  if (w == NULL || w->f == NULL || w->rank < 2 || w->count == 0 || (dense && w->rank != 2))
    return NULL;
  const bool given =
      bl_node_input(g, node, 0) != NULL && !bl_value_constant(bl_node_input(g, node, 0));
  return given && bl_node_int(node, "transA", 0) == 0 ? w : NULL;
}

static bl_status add_layer(bl_prune *p, const bl_float_graph *g, uint32_t n, bl_error *err) {
  const bl_node *node = &g->nodes[n];
  const bl_value *w = weights_of(g, node), *out = bl_node_output(g, node, 0);
  if (w == NULL || out == NULL) return BL_OK;
  for (uint32_t k = 0; k < p->count; k++)
    if (p->layers[k].value == node->inputs[1]) return BL_OK;
  bl_prune_layer *l = &p->layers[p->count];
  *l = (bl_prune_layer){.name = node->name, .node = n, .value = node->inputs[1], .count = w->count};
  if (node->op == BL_FLOAT_CONV)
    lay_out_convolution(node, w, l);
  else
    lay_out_dense(g, node, w, l);
  const size_t batch = out->rank > 0 && out->dims[0] > 0 ? (size_t)out->dims[0] : 1;
  l->pixels = out->count / batch / l->outputs;
  l->unit_count = (uint32_t)w->count;
  l->scores = bl_arena_alloc(p->arena, w->count, sizeof *l->scores);
  l->mask = bl_arena_alloc(p->arena, w->count, 1);
  if (l->scores == NULL || l->mask == NULL)
    return bl_fail(err, BL_ERR_MEMORY, "pruning: no memory for layer %s", node->name);
  for (size_t i = 0; i < w->count; i++)
    l->mask[i] = w->f[i] != 0;
  p->count++;
  return BL_OK;
}

static bl_status list(bl_prune *p, const bl_float_graph *g, bl_error *err) {
  p->layers = bl_arena_alloc(p->arena, g->node_count, sizeof *p->layers);
  if (p->layers == NULL) return bl_fail(err, BL_ERR_MEMORY, "pruning: no memory for layers");
  for (uint32_t n = 0; n < g->node_count; n++)
    BL_TRY(add_layer(p, g, n, err));
  if (p->count == 0) return BL_OK;
  p->layers[0].classes |= BL_PRUNE_FIRST;
  p->layers[p->count - 1].classes |= BL_PRUNE_LAST;
  return BL_OK;
}

bl_status bl_prune_open(const bl_float_graph *graph, bl_prune **prune, bl_error *err) {
  bl_arena *arena = bl_arena_new(MOST_BYTES);
  bl_prune *p = arena != NULL ? bl_arena_alloc(arena, 1, sizeof *p) : NULL;
  *prune = NULL;
  if (p == NULL) {
    bl_arena_free(arena);
    return bl_fail(err, BL_ERR_MEMORY, "pruning: no memory");
  }
  p->arena = arena;
  bl_status status = list(p, graph, err);
  if (status == BL_OK)
    *prune = p;
  else
    bl_prune_close(p);
  return status;
}

void bl_prune_close(bl_prune *prune) {
  if (prune != NULL) bl_arena_free(prune->arena);
}
