// SPDX-License-Identifier: Apache-2.0
#include "host/onnx/qdq_build.h"

#include <stdio.h>
#include <string.h>

enum { OPSET = 13, MOST_ATTRIBUTES = 8, NAME_ROOM = 200 };

static void no_memory(bl_qdq_builder *b) {
  if (b->status == BL_OK)
    b->status = bl_fail(b->err, BL_ERR_MEMORY, "%s: no memory for its ONNX graph", b->where);
}

static char *copy(bl_qdq_builder *b, const char *text) {
  return bl_arena_strndup(b->graph->arena, text, strlen(text));
}

bl_status bl_qdq_open(bl_qdq_builder *b, const char *name, uint32_t nodes, uint32_t values,
                      bl_error *err) {
  static const size_t cap = (size_t)8 << 30;
  bl_arena *arena = bl_arena_new(cap);
  bl_float_graph *g = arena == NULL ? NULL : bl_arena_alloc(arena, 1, sizeof *g);
  *b = (bl_qdq_builder){.graph = g, .where = name, .err = err, .node_room = nodes};
  if (g == NULL) {
    bl_arena_free(arena);
    return bl_fail(err, BL_ERR_MEMORY, "%s: no memory for its ONNX graph", name);
  }
  g->arena = arena;
  g->opset = OPSET;
  g->value_room = values;
  g->name = copy(b, name);
  g->values = bl_arena_alloc(arena, values, sizeof *g->values);
  g->nodes = bl_arena_alloc(arena, nodes, sizeof *g->nodes);
  g->inputs = bl_arena_alloc(arena, 1, sizeof *g->inputs);
  g->outputs = bl_arena_alloc(arena, 1, sizeof *g->outputs);
  if (g->name == NULL || g->values == NULL || g->nodes == NULL || g->inputs == NULL ||
      g->outputs == NULL)
    no_memory(b);
  if (b->status == BL_OK) return BL_OK;
  bl_arena_free(arena);
  b->graph = NULL;
  return b->status;
}

// ---- Values

static bl_value *new_value(bl_qdq_builder *b, const char *name) {
  bl_float_graph *g = b->graph;
  if (b->status == BL_OK && g->value_count == g->value_room) no_memory(b);
  if (b->status != BL_OK) return NULL;
  bl_value *v = &g->values[g->value_count++];
  v->name = copy(b, name == NULL ? "" : name);
  if (v->name == NULL) no_memory(b);
  return v;
}

int32_t bl_qdq_value(bl_qdq_builder *b, const char *name, int32_t element, uint32_t rank,
                     const int64_t *dims) {
  bl_value *v = new_value(b, name);
  if (v == NULL) return -1;
  v->element = element;
  v->type = element == ONNX_FLOAT ? BL_TYPE_FLOAT : BL_TYPE_INT;
  b->status = bl_value_shape(v, rank, dims, b->err);
  return bl_qdq_index(b, v);
}

bl_value *bl_qdq_constant(bl_qdq_builder *b, int32_t element, uint32_t rank, const int64_t *dims) {
  int32_t index = bl_qdq_value(b, NULL, element, rank, dims);
  if (b->status != BL_OK) return NULL;
  bl_value *v = &b->graph->values[index];
  b->status = bl_value_allocate(b->graph->arena, v, b->err);
  return b->status == BL_OK ? v : NULL;
}

int32_t bl_qdq_index(const bl_qdq_builder *b, const bl_value *value) {
  return value == NULL ? -1 : (int32_t)(value - b->graph->values);
}

int32_t bl_qdq_number(bl_qdq_builder *b, double number) {
  bl_value *v = bl_qdq_constant(b, ONNX_FLOAT, 0, NULL);
  if (v != NULL) v->f[0] = (float)number;
  return bl_qdq_index(b, v);
}

int32_t bl_qdq_integer(bl_qdq_builder *b, int32_t element, int64_t number) {
  bl_value *v = bl_qdq_constant(b, element, 0, NULL);
  if (v != NULL) v->i[0] = number;
  return bl_qdq_index(b, v);
}

// ---- Nodes

// The node that is being made: the first that has no operator's output yet.
static bl_node *next(bl_qdq_builder *b) {
  if (b->status == BL_OK && b->graph->node_count == b->node_room) no_memory(b);
  return b->status == BL_OK ? &b->graph->nodes[b->graph->node_count] : NULL;
}

static bl_attribute *attribute(bl_qdq_builder *b, const char *name, int32_t type) {
  bl_node *node = next(b);
  if (node == NULL) return NULL;
  if (node->attributes == NULL)
    node->attributes = bl_arena_alloc(b->graph->arena, MOST_ATTRIBUTES, sizeof *node->attributes);
  if (node->attributes == NULL || node->attribute_count == MOST_ATTRIBUTES) {
    no_memory(b);
    return NULL;
  }
  bl_attribute *a = &node->attributes[node->attribute_count++];
  *a = (bl_attribute){.name = copy(b, name), .type = type, .tensor = -1};
  if (a->name == NULL) no_memory(b);
  return b->status == BL_OK ? a : NULL;
}

enum { TYPE_INT = 2, TYPE_STRING = 3, TYPE_INTS = 7 }; // AttributeProto.AttributeType

void bl_qdq_int(bl_qdq_builder *b, const char *name, int64_t value) {
  bl_attribute *a = attribute(b, name, TYPE_INT);
  if (a != NULL) a->i = value;
}

void bl_qdq_string(bl_qdq_builder *b, const char *name, const char *value) {
  bl_attribute *a = attribute(b, name, TYPE_STRING);
  if (a == NULL) return;
  a->s = copy(b, value);
  if (a->s == NULL) no_memory(b);
}

void bl_qdq_ints(bl_qdq_builder *b, const char *name, const uint32_t *values, size_t count) {
  bl_attribute *a = attribute(b, name, TYPE_INTS);
  if (a == NULL) return;
  a->ints = bl_arena_alloc(b->graph->arena, count, sizeof *a->ints);
  if (a->ints == NULL) {
    no_memory(b);
    return;
  }
  a->int_count = count;
  for (size_t k = 0; k < count; k++)
    a->ints[k] = values[k];
}

int32_t bl_qdq_node_of(bl_qdq_builder *b, bl_float_op op, const int32_t *inputs, uint32_t count) {
  char name[NAME_ROOM];
  bl_float_graph *g = b->graph;
  bl_node *node = next(b);
  bl_value *out = new_value(b, NULL);
  if (node == NULL || out == NULL) return -1;
  (void)snprintf(name, sizeof name, "%.150s/%s_%u", b->where, bl_float_op_name(op),
                 (unsigned)g->node_count);
  node->op = op;
  node->name = copy(b, name);
  node->inputs = bl_arena_alloc(g->arena, count, sizeof *node->inputs);
  node->outputs = bl_arena_alloc(g->arena, 1, sizeof *node->outputs);
  if (node->name == NULL || node->inputs == NULL || node->outputs == NULL) {
    no_memory(b);
    return -1;
  }
  memcpy(node->inputs, inputs, count * sizeof *inputs);
  node->input_count = count;
  node->outputs[0] = bl_qdq_index(b, out);
  node->output_count = 1;
  g->node_count++;
  b->status = bl_float_infer(g, node, b->err);
  return b->status == BL_OK ? node->outputs[0] : -1;
}

int32_t bl_qdq_node(bl_qdq_builder *b, bl_float_op op, int32_t x, int32_t y, int32_t z) {
  const int32_t inputs[] = {x, y, z};
  return bl_qdq_node_of(b, op, inputs, z >= 0 ? 3 : y >= 0 ? 2 : 1);
}
