// SPDX-License-Identifier: Apache-2.0
#include "host/graph/float_edit.h"

#include <stdio.h>
#include <string.h>

static bl_status no_memory(const bl_float_graph *graph, bl_error *err) {
  return bl_fail(err, BL_ERR_MEMORY, "%s: no memory to edit the graph", graph->name);
}

// ---- Looking up

int32_t bl_float_find_value(const bl_float_graph *graph, const char *name) {
  for (uint32_t v = 0; name != NULL && v < graph->value_count; v++)
    if (graph->values[v].name != NULL && strcmp(graph->values[v].name, name) == 0)
      return (int32_t)v;
  return -1;
}

int32_t bl_float_find_node(const bl_float_graph *graph, const char *name) {
  for (uint32_t n = 0; name != NULL && n < graph->node_count; n++)
    if (strcmp(graph->nodes[n].name, name) == 0) return (int32_t)n;
  return -1;
}

int32_t bl_float_producer(const bl_float_graph *graph, int32_t value) {
  for (uint32_t n = 0; value >= 0 && n < graph->node_count; n++)
    for (uint32_t k = 0; k < graph->nodes[n].output_count; k++)
      if (graph->nodes[n].outputs[k] == value) return (int32_t)n;
  return -1;
}

uint32_t bl_float_readers(const bl_float_graph *graph, int32_t value) {
  uint32_t count = 0;
  for (uint32_t n = 0; n < graph->node_count; n++)
    for (uint32_t k = 0; k < graph->nodes[n].input_count; k++)
      count += graph->nodes[n].inputs[k] == value;
  for (uint32_t k = 0; k < graph->output_count; k++)
    count += graph->outputs[k] == value;
  return count;
}

bl_status bl_float_find_uses(bl_float_graph *graph, bl_float_uses *uses, bl_error *err) {
  uses->producer = bl_arena_alloc(graph->arena, graph->value_count, sizeof *uses->producer);
  uses->readers = bl_arena_alloc(graph->arena, graph->value_count, sizeof *uses->readers);
  if (uses->producer == NULL || uses->readers == NULL) return no_memory(graph, err);
  for (uint32_t v = 0; v < graph->value_count; v++)
    uses->producer[v] = -1;
  for (uint32_t n = 0; n < graph->node_count; n++) {
    const bl_node *node = &graph->nodes[n];
    for (uint32_t k = 0; k < node->output_count; k++)
      if (node->outputs[k] >= 0) uses->producer[node->outputs[k]] = (int32_t)n;
    for (uint32_t k = 0; k < node->input_count; k++)
      if (node->inputs[k] >= 0) uses->readers[node->inputs[k]]++;
  }
  for (uint32_t k = 0; k < graph->output_count; k++)
    uses->readers[graph->outputs[k]]++;
  return BL_OK;
}

// ---- Values

typedef int32_t (*lookup)(const bl_float_graph *graph, const char *name);

// base + suffix, with a number behind it where `find` knows the name.
static char *unique_name(const bl_float_graph *graph, lookup find, const char *base,
                         const char *suffix) {
  const size_t room = strlen(base) + strlen(suffix) + 12;
  char *name = bl_arena_alloc(graph->arena, room, 1);
  if (name == NULL) return NULL;
  (void)snprintf(name, room, "%s%s", base, suffix);
  for (unsigned k = 2; find(graph, name) >= 0; k++)
    (void)snprintf(name, room, "%s%s_%u", base, suffix, k);
  return name;
}

static bool grow_values(bl_float_graph *graph) {
  if (graph->value_count < graph->value_room) return true;
  const uint32_t room = 2 * graph->value_room + 16;
  bl_value *values = bl_arena_alloc(graph->arena, room, sizeof *values);
  if (values == NULL) return false;
  if (graph->value_count > 0) memcpy(values, graph->values, graph->value_count * sizeof *values);
  graph->values = values;
  graph->value_room = room;
  return true;
}

bl_status bl_float_add_value(bl_float_graph *graph, const char *base, const char *suffix,
                             int32_t *index, bl_error *err) {
  char *name = unique_name(graph, bl_float_find_value, base, suffix);
  if (name == NULL || !grow_values(graph)) return no_memory(graph, err);
  *index = (int32_t)graph->value_count++;
  graph->values[*index] = (bl_value){.name = name, .type = BL_TYPE_FLOAT, .element = ONNX_FLOAT};
  return BL_OK;
}

bl_status bl_float_add_constant(bl_float_graph *graph, const char *base, const char *suffix,
                                uint32_t rank, const int64_t *dims, const float *data,
                                int32_t *index, bl_error *err) {
  BL_TRY(bl_float_add_value(graph, base, suffix, index, err));
  bl_value *v = &graph->values[*index];
  BL_TRY(bl_value_shape(v, rank, dims, err));
  BL_TRY(bl_value_allocate(graph->arena, v, err));
  if (data != NULL && v->count > 0) memcpy(v->f, data, v->count * sizeof *data);
  return BL_OK;
}

bl_status bl_float_add_integers(bl_float_graph *graph, const char *base, const char *suffix,
                                uint32_t rank, const int64_t *dims, const int64_t *data,
                                int32_t *index, bl_error *err) {
  BL_TRY(bl_float_add_value(graph, base, suffix, index, err));
  bl_value *v = &graph->values[*index];
  v->type = BL_TYPE_INT;
  v->element = ONNX_INT64;
  BL_TRY(bl_value_shape(v, rank, dims, err));
  BL_TRY(bl_value_allocate(graph->arena, v, err));
  if (data != NULL && v->count > 0) memcpy(v->i, data, v->count * sizeof *data);
  return BL_OK;
}

// ---- Nodes

bl_status bl_float_make_node(bl_float_graph *graph, bl_float_op op, const char *base,
                             const char *suffix, const int32_t *inputs, uint32_t input_count,
                             int32_t output, bl_node *node, bl_error *err) {
  *node = (bl_node){.op = op,
                    .name = unique_name(graph, bl_float_find_node, base, suffix),
                    .inputs = bl_arena_alloc(graph->arena, input_count, sizeof *node->inputs),
                    .outputs = bl_arena_alloc(graph->arena, 1, sizeof *node->outputs),
                    .input_count = input_count,
                    .output_count = 1};
  if (node->name == NULL || node->inputs == NULL || node->outputs == NULL)
    return no_memory(graph, err);
  if (input_count > 0) memcpy(node->inputs, inputs, input_count * sizeof *inputs);
  node->outputs[0] = output;
  return output >= 0 ? BL_OK : bl_float_add_value(graph, node->name, "", &node->outputs[0], err);
}

// The attribute of that name, new where there is none, in a list of the node's own.
static bl_attribute *own_attribute(bl_float_graph *graph, bl_node *node, const char *name) {
  uint32_t at = 0;
  while (at < node->attribute_count && strcmp(node->attributes[at].name, name) != 0)
    at++;
  bl_attribute *list =
      bl_arena_alloc(graph->arena, (size_t)node->attribute_count + 1, sizeof *list);
  char *own = bl_arena_strndup(graph->arena, name, strlen(name));
  if (list == NULL || own == NULL) return NULL;
  if (node->attribute_count > 0)
    memcpy(list, node->attributes, node->attribute_count * sizeof *list);
  if (at == node->attribute_count) node->attribute_count++;
  node->attributes = list;
  list[at] = (bl_attribute){.name = own, .tensor = -1};
  return &list[at];
}

// AttributeProto.AttributeType
enum { TYPE_FLOAT = 1, TYPE_INT = 2, TYPE_STRING = 3, TYPE_INTS = 7 };

bl_status bl_float_set_int(bl_float_graph *graph, bl_node *node, const char *name, int64_t value,
                           bl_error *err) {
  bl_attribute *a = own_attribute(graph, node, name);
  if (a == NULL) return no_memory(graph, err);
  a->type = TYPE_INT;
  a->i = value;
  return BL_OK;
}

bl_status bl_float_set_ints(bl_float_graph *graph, bl_node *node, const char *name,
                            const int64_t *values, size_t count, bl_error *err) {
  bl_attribute *a = own_attribute(graph, node, name);
  int64_t *own = bl_arena_alloc(graph->arena, count, sizeof *own);
  if (a == NULL || own == NULL) return no_memory(graph, err);
  a->type = TYPE_INTS;
  a->ints = own;
  a->int_count = count;
  if (count > 0) memcpy(own, values, count * sizeof *own);
  return BL_OK;
}

bl_status bl_float_set_float(bl_float_graph *graph, bl_node *node, const char *name, float value,
                             bl_error *err) {
  bl_attribute *a = own_attribute(graph, node, name);
  if (a == NULL) return no_memory(graph, err);
  a->type = TYPE_FLOAT;
  a->f = value;
  return BL_OK;
}

bl_status bl_float_set_string(bl_float_graph *graph, bl_node *node, const char *name,
                              const char *value, bl_error *err) {
  bl_attribute *a = own_attribute(graph, node, name);
  char *own = bl_arena_strndup(graph->arena, value, strlen(value));
  if (a == NULL || own == NULL) return no_memory(graph, err);
  a->type = TYPE_STRING;
  a->s = own;
  return BL_OK;
}

bl_status bl_float_splice(bl_float_graph *graph, uint32_t at, uint32_t removed,
                          const bl_node *nodes, uint32_t count, bl_error *err) {
  if (at > graph->node_count || removed > graph->node_count - at)
    return bl_fail(err, BL_ERR_USAGE, "%s: no node %u to replace", graph->name, at);
  const uint32_t after = graph->node_count - at - removed;
  bl_node *list = bl_arena_alloc(graph->arena, (size_t)at + count + after, sizeof *list);
  if (list == NULL) return no_memory(graph, err);
  if (at > 0) memcpy(list, graph->nodes, at * sizeof *list);
  if (count > 0) memcpy(list + at, nodes, count * sizeof *list);
  if (after > 0) memcpy(list + at + count, graph->nodes + at + removed, after * sizeof *list);
  graph->nodes = list;
  graph->node_count = at + count + after;
  for (uint32_t n = at; n < at + count; n++)
    BL_TRY(bl_float_infer(graph, &list[n], err));
  return BL_OK;
}

void bl_float_redirect(bl_float_graph *graph, int32_t from, int32_t to) {
  for (uint32_t n = 0; n < graph->node_count; n++)
    for (uint32_t k = 0; k < graph->nodes[n].input_count; k++)
      if (graph->nodes[n].inputs[k] == from) graph->nodes[n].inputs[k] = to;
}

// ---- The whole graph

bl_status bl_float_sweep(bl_float_graph *graph, bl_error *err) {
  bool *needed = bl_arena_alloc(graph->arena, graph->value_count, sizeof *needed);
  bool *keep = bl_arena_alloc(graph->arena, graph->node_count, sizeof *keep);
  if (needed == NULL || keep == NULL) return no_memory(graph, err);
  for (uint32_t k = 0; k < graph->output_count; k++)
    needed[graph->outputs[k]] = true;
  for (uint32_t n = graph->node_count; n-- > 0;) {
    const bl_node *node = &graph->nodes[n];
    for (uint32_t k = 0; k < node->output_count; k++)
      keep[n] = keep[n] || (node->outputs[k] >= 0 && needed[node->outputs[k]]);
    for (uint32_t k = 0; keep[n] && k < node->input_count; k++)
      if (node->inputs[k] >= 0) needed[node->inputs[k]] = true;
  }
  uint32_t kept = 0;
  for (uint32_t n = 0; n < graph->node_count; n++)
    if (keep[n]) graph->nodes[kept++] = graph->nodes[n];
  graph->node_count = kept;
  return BL_OK;
}

bl_status bl_float_infer_all(bl_float_graph *graph, bl_error *err) {
  for (uint32_t n = 0; n < graph->node_count; n++)
    BL_TRY(bl_float_infer(graph, &graph->nodes[n], err));
  return BL_OK;
}
