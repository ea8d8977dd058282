// SPDX-License-Identifier: Apache-2.0
// The trained graph with its integers fixed: a Quant or BipolarQuant node behind each quantised
// tensor.
#include "host/graph/float_edit.h"
#include "host/train/quant_aware_internal.h"

typedef struct {
  bl_float_graph *graph;
  bl_node *nodes; // the new list
  uint32_t count;
  bl_error *err;
} storing;

static bl_status no_memory(const storing *s) {
  return bl_fail(s->err, BL_ERR_MEMORY, "%s: no memory for its quantisers", s->graph->name);
}

// One step, or one a channel along the channels' axis of weights.
static bl_status add_scale(storing *s, const bl_quant_point *p, int32_t value, int32_t *index) {
  const bl_value *v = &s->graph->values[value];
  int64_t dims[BL_MAX_RANK];
  float *step = bl_arena_alloc(s->graph->arena, p->quant.channels, sizeof *step);
  if (step == NULL) return no_memory(s);
  bl_quant_steps(p, v->f, v->count, step);
  for (uint32_t k = 0; k < v->rank; k++)
    dims[k] = 1;
  if (v->rank > 0) dims[p->quant.channels_last ? v->rank - 1 : 0] = (int64_t)p->quant.channels;
  return bl_float_add_constant(s->graph, p->value, "_scale", p->weight ? v->rank : 0, dims, step,
                               index, s->err);
}

static bl_status set_attributes(storing *s, const bl_quant_point *p, bl_node *node) {
  const bool is_signed = p->quant.lo < 0;
  const bool narrow = is_signed && p->quant.lo > -(double)(1 << (p->bits - 1));
  BL_TRY(bl_float_set_int(s->graph, node, "signed", is_signed, s->err));
  BL_TRY(bl_float_set_int(s->graph, node, "narrow", narrow, s->err));
  return bl_float_set_string(s->graph, node, "rounding_mode", "ROUND", s->err);
}

static bl_status add_inputs(storing *s, const bl_quant_point *p, int32_t value, int32_t *inputs) {
  const float zero = (float)p->quant.zero, bits = (float)p->bits;
  bl_float_graph *g = s->graph;
  inputs[0] = value;
  BL_TRY(add_scale(s, p, value, &inputs[1]));
  if (p->quant.binary) return BL_OK;
  BL_TRY(bl_float_add_constant(g, p->value, "_zero_point", 0, NULL, &zero, &inputs[2], s->err));
  return bl_float_add_constant(g, p->value, "_bits", 0, NULL, &bits, &inputs[3], s->err);
}

// Whoever reads the tensor reads the node's output from now on.
static bl_status add_node(storing *s, const bl_quant_point *p, int32_t value) {
  bl_float_graph *g = s->graph;
  int32_t inputs[4], output;
  bl_node node;
  const bl_value *v = &g->values[value];
  // where whole numbers of so many bits are not the ones that were trained, those are written
  if (p->quant.levels != NULL || p->quant.ternary || p->quant.channel_hi != NULL)
    bl_quant_apply(p, v->f, v->count, v->f);
  BL_TRY(add_inputs(s, p, value, inputs));
  BL_TRY(bl_float_add_value(g, p->value, "_quantised", &output, s->err));
  BL_TRY(bl_float_make_node(g, p->quant.binary ? BL_FLOAT_BIPOLAR_QUANT : BL_FLOAT_QUANT, p->value,
                            "_quantiser", inputs, p->quant.binary ? 2 : 4, output, &node, s->err));
  if (!p->quant.binary) BL_TRY(set_attributes(s, p, &node));
  BL_TRY(bl_float_infer(g, &node, s->err));
  bl_float_redirect(g, value, output);
  s->nodes[s->count++] = node;
  return BL_OK;
}

static bool gives(const bl_node *node, int32_t value) {
  for (uint32_t k = 0; k < node->output_count; k++)
    if (node->outputs[k] == value) return true;
  return false;
}

// The points whose tensors `node` gives; NULL: that no node gives.
static bl_status add_behind(storing *s, const bl_quant_aware *a, const bl_node *node,
                            const int32_t *values, const bool *inner) {
  for (uint32_t k = 0; k < a->point_count; k++)
    if (node == NULL ? !inner[k] : gives(node, values[k]))
      BL_TRY(add_node(s, &a->points[k], values[k]));
  return BL_OK;
}

static bl_status find_values(const bl_quant_aware *a, const bl_float_graph *g, int32_t *values,
                             bool *inner, bl_error *err) {
  for (uint32_t k = 0; k < a->point_count; k++) {
    const bl_quant_point *p = &a->points[k];
    values[k] = bl_float_find_value(g, p->value);
    if (values[k] < 0 ||
        (p->weight && g->values[values[k]].count != a->graph->values[p->index].count))
      return bl_fail(err, BL_ERR_MISMATCH, "%s: no value %s to quantise", g->name, p->value);
    for (uint32_t n = 0; n < g->node_count; n++)
      inner[k] = inner[k] || gives(&g->nodes[n], values[k]);
  }
  return BL_OK;
}

bl_status bl_quant_aware_store(const bl_quant_aware *aware, bl_float_graph *graph, bl_error *err) {
  storing s = {.graph = graph, .err = err};
  int32_t *values = bl_arena_alloc(graph->arena, aware->point_count, sizeof *values);
  bool *inner = bl_arena_alloc(graph->arena, aware->point_count, sizeof *inner);
  s.nodes =
      bl_arena_alloc(graph->arena, (size_t)graph->node_count + aware->point_count, sizeof *s.nodes);
  if (values == NULL || inner == NULL || s.nodes == NULL) return no_memory(&s);
  BL_TRY(find_values(aware, graph, values, inner, err));
  BL_TRY(add_behind(&s, aware, NULL, values, inner));
  for (uint32_t n = 0; n < graph->node_count; n++) {
    s.nodes[s.count++] = graph->nodes[n];
    BL_TRY(add_behind(&s, aware, &graph->nodes[n], values, inner));
  }
  graph->nodes = s.nodes;
  graph->node_count = s.count;
  return BL_OK;
}
