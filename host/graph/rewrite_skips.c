// SPDX-License-Identifier: Apache-2.0
// Skip connections: values that products read in another form than sums do.
#include "host/graph/float_edit.h"
#include "host/graph/rewrite.h"

static bool only_moves(const bl_node *node) {
  return node->op == BL_FLOAT_IDENTITY || node->op == BL_FLOAT_SLICE || node->op == BL_FLOAT_PAD;
}

// marked[value]: a sum takes it, as it is or with other rows, columns and channels.
static void mark_summed(const bl_float_graph *g, const int32_t *producer, bool *marked) {
  for (uint32_t n = 0; n < g->node_count; n++) {
    const bl_node *node = &g->nodes[n];
    if (node->op != BL_FLOAT_ADD || node->input_count != 2) continue;
    for (uint32_t k = 0; k < 2; k++) {
      int32_t at = node->inputs[k];
      while (at >= 0 && producer[at] >= 0 && only_moves(&g->nodes[producer[at]]))
        at = g->nodes[producer[at]].inputs[0];
      if (at >= 0) marked[at] = producer[at] >= 0 && g->values[at].rank == 4;
    }
  }
}

static bool product_reads(const bl_float_graph *g, int32_t value) {
  for (uint32_t n = 0; n < g->node_count; n++)
    if (bl_node_is_product(&g->nodes[n]) && g->nodes[n].inputs[0] == value) return true;
  return false;
}

// A copy behind the node at `at`, which gives the value.
static bl_status copy_value(bl_float_graph *g, uint32_t at, int32_t value, bl_error *err) {
  static const int64_t one[2] = {1, 1};
  bl_node node;
  BL_TRY(bl_float_make_node(g, BL_FLOAT_AVERAGE_POOL, g->values[value].name, "_copy", &value, 1, -1,
                            &node, err));
  BL_TRY(bl_float_set_ints(g, &node, "kernel_shape", one, 2, err));
  BL_TRY(bl_float_splice(g, at + 1, 0, &node, 1, err));
  for (uint32_t n = 0; n < g->node_count; n++)
    if (bl_node_is_product(&g->nodes[n]) && g->nodes[n].inputs[0] == value)
      g->nodes[n].inputs[0] = node.outputs[0];
  return BL_OK;
}

bl_status bl_rewrite_skips(bl_float_graph *graph, uint32_t *count, bl_error *err) {
  bl_float_uses uses;
  *count = 0;
  BL_TRY(bl_float_find_uses(graph, &uses, err));
  bool *marked = bl_arena_alloc(graph->arena, graph->value_count, sizeof *marked);
  if (marked == NULL) return bl_fail(err, BL_ERR_MEMORY, "%s: no memory", graph->name);
  const uint32_t values = graph->value_count;
  mark_summed(graph, uses.producer, marked);
  for (uint32_t n = 0; n < graph->node_count && *count < BL_REWRITE_MOST; n++) {
    const int32_t value = graph->nodes[n].outputs[0];
    if ((uint32_t)value >= values || !marked[value] || !product_reads(graph, value)) continue;
    BL_TRY(copy_value(graph, n, value, err));
    ++*count;
  }
  return BL_OK;
}
