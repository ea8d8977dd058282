// SPDX-License-Identifier: Apache-2.0
// The trained graph with its integers fixed: a Quant or BipolarQuant node behind each quantised
// tensor.
#include <stdio.h>
#include <string.h>

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

static char *joined(bl_arena *arena, const char *a, const char *b) {
  const size_t room = strlen(a) + strlen(b) + 1;
  char *text = bl_arena_alloc(arena, room, 1);
  if (text != NULL) (void)snprintf(text, room, "%s%s", a, b);
  return text;
}

// A new float value; pointers to values are void afterwards.
static bl_status add_value(storing *s, const char *base, const char *suffix, int32_t *index) {
  bl_float_graph *g = s->graph;
  if (g->value_count == g->value_room) {
    const uint32_t room = 2 * g->value_room + 16;
    bl_value *values = bl_arena_alloc(g->arena, room, sizeof *values);
    if (values == NULL) return no_memory(s);
    memcpy(values, g->values, g->value_count * sizeof *values);
    g->values = values;
    g->value_room = room;
  }
  char *name = joined(g->arena, base, suffix);
  if (name == NULL) return no_memory(s);
  *index = (int32_t)g->value_count++;
  g->values[*index] = (bl_value){.name = name, .type = BL_TYPE_FLOAT, .element = ONNX_FLOAT};
  return BL_OK;
}

static bl_status add_constant(storing *s, const char *base, const char *suffix, uint32_t rank,
                              const int64_t *dims, const float *data, int32_t *index) {
  BL_TRY(add_value(s, base, suffix, index));
  bl_value *v = &s->graph->values[*index];
  BL_TRY(bl_value_shape(v, rank, dims, s->err));
  BL_TRY(bl_value_allocate(s->graph->arena, v, s->err));
  memcpy(v->f, data, v->count * sizeof *data);
  return BL_OK;
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
  return add_constant(s, p->value, "_scale", p->weight ? v->rank : 0, dims, step, index);
}

static bl_status set_attributes(storing *s, const bl_quant_point *p, bl_node *node) {
  static const char *const names[2] = {"signed", "narrow"};
  const bool is_signed = p->quant.lo < 0;
  const int64_t values[2] = {is_signed, is_signed && p->quant.lo == -p->quant.hi};
  node->attributes = bl_arena_alloc(s->graph->arena, 3, sizeof *node->attributes);
  if (node->attributes == NULL) return no_memory(s);
  node->attribute_count = 3;
  for (uint32_t k = 0; k < 2; k++)
    node->attributes[k] = (bl_attribute){.name = joined(s->graph->arena, names[k], ""),
                                         .type = 2, // AttributeProto.INT
                                         .i = values[k],
                                         .tensor = -1};
  node->attributes[2] = (bl_attribute){.name = joined(s->graph->arena, "rounding_mode", ""),
                                       .type = 3, // STRING
                                       .s = joined(s->graph->arena, "ROUND", ""),
                                       .tensor = -1};
  for (uint32_t k = 0; k < 3; k++)
    if (node->attributes[k].name == NULL) return no_memory(s);
  return node->attributes[2].s == NULL ? no_memory(s) : BL_OK;
}

static bl_status add_inputs(storing *s, const bl_quant_point *p, int32_t value, bl_node *node) {
  const float zero = (float)p->quant.zero, bits = (float)p->bits;
  node->inputs[0] = value;
  BL_TRY(add_scale(s, p, value, &node->inputs[1]));
  if (p->quant.binary) return BL_OK;
  BL_TRY(add_constant(s, p->value, "_zero_point", 0, NULL, &zero, &node->inputs[2]));
  return add_constant(s, p->value, "_bits", 0, NULL, &bits, &node->inputs[3]);
}

// Whoever reads the tensor reads the node's output from now on.
static bl_status add_node(storing *s, const bl_quant_point *p, int32_t value) {
  bl_float_graph *g = s->graph;
  bl_node node = {.op = p->quant.binary ? BL_FLOAT_BIPOLAR_QUANT : BL_FLOAT_QUANT,
                  .name = joined(g->arena, p->value, "_quantiser"),
                  .inputs = bl_arena_alloc(g->arena, 4, sizeof *node.inputs),
                  .outputs = bl_arena_alloc(g->arena, 1, sizeof *node.outputs),
                  .input_count = p->quant.binary ? 2 : 4,
                  .output_count = 1};
  if (node.name == NULL || node.inputs == NULL || node.outputs == NULL) return no_memory(s);
  BL_TRY(add_inputs(s, p, value, &node));
  if (!p->quant.binary) BL_TRY(set_attributes(s, p, &node));
  BL_TRY(add_value(s, p->value, "_quantised", &node.outputs[0]));
  BL_TRY(bl_float_infer(g, &node, s->err));
  for (uint32_t n = 0; n < g->node_count; n++)
    for (uint32_t k = 0; k < g->nodes[n].input_count; k++)
      if (g->nodes[n].inputs[k] == value) g->nodes[n].inputs[k] = node.outputs[0];
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
    values[k] = bl_quant_value(g, p->value);
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
