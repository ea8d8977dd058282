// SPDX-License-Identifier: Apache-2.0
// Copies of a float graph, with another batch where it is wanted.
#include <string.h>

#include "host/graph/float_edit.h"

// What edits of the copy may take beyond twice its own size.
static const size_t COPY_BASE = (size_t)64 << 20;

typedef struct {
  const bl_float_graph *from;
  bl_float_graph *to;
  bool *needed; // [value_count]: something reads it
  bl_error *err;
} copying;

static bl_status no_memory(const copying *c) {
  return bl_fail(c->err, BL_ERR_MEMORY, "%s: no memory for a copy of the graph", c->from->name);
}

// `count` objects of `size` bytes, copied into the new graph's arena.
static void *copied(const copying *c, const void *data, size_t count, size_t size) {
  void *own = bl_arena_alloc(c->to->arena, count, size);
  if (own != NULL && count > 0 && size > 0 && data != NULL) memcpy(own, data, count * size);
  return own;
}

static bool copy_text(const copying *c, const char *from, char **to) {
  *to = from != NULL ? bl_arena_strndup(c->to->arena, from, strlen(from)) : NULL;
  return from == NULL || *to != NULL;
}

static bool copy_value(const copying *c, uint32_t v) {
  const bl_value *from = &c->from->values[v];
  bl_value *to = &c->to->values[v];
  *to = *from;
  to->f = NULL;
  to->i = NULL;
  if (!copy_text(c, from->name, &to->name)) return false;
  if (!c->needed[v]) return true;
  if (from->f != NULL) to->f = copied(c, from->f, from->count, sizeof *to->f);
  if (from->i != NULL) to->i = copied(c, from->i, from->count, sizeof *to->i);
  return bl_value_constant(from) == bl_value_constant(to);
}

static bool copy_attribute(const copying *c, const bl_attribute *from, bl_attribute *to) {
  *to = *from;
  to->ints = copied(c, from->ints, from->int_count, sizeof *to->ints);
  to->floats = copied(c, from->floats, from->float_count, sizeof *to->floats);
  return copy_text(c, from->name, &to->name) && copy_text(c, from->s, &to->s) && to->ints != NULL &&
         to->floats != NULL;
}

static bool copy_node(const copying *c, const bl_node *from, bl_node *to) {
  *to = *from;
  to->inputs = copied(c, from->inputs, from->input_count, sizeof *to->inputs);
  to->outputs = copied(c, from->outputs, from->output_count, sizeof *to->outputs);
  to->attributes = bl_arena_alloc(c->to->arena, from->attribute_count, sizeof *to->attributes);
  if (!copy_text(c, from->name, &to->name) || to->inputs == NULL || to->outputs == NULL ||
      to->attributes == NULL)
    return false;
  for (uint32_t k = 0; k < from->attribute_count; k++)
    if (!copy_attribute(c, &from->attributes[k], &to->attributes[k])) return false;
  return true;
}

static bool find_needed(copying *c) {
  const bl_float_graph *g = c->from;
  c->needed = bl_arena_alloc(c->to->arena, g->value_count, sizeof *c->needed);
  if (c->needed == NULL) return false;
  for (uint32_t k = 0; k < g->output_count; k++)
    c->needed[g->outputs[k]] = true;
  for (uint32_t n = 0; n < g->node_count; n++) {
    for (uint32_t k = 0; k < g->nodes[n].input_count; k++)
      if (g->nodes[n].inputs[k] >= 0) c->needed[g->nodes[n].inputs[k]] = true;
    for (uint32_t k = 0; k < g->nodes[n].attribute_count; k++)
      if (g->nodes[n].attributes[k].tensor >= 0) c->needed[g->nodes[n].attributes[k].tensor] = true;
  }
  return true;
}

static bl_status copy_all(copying *c) {
  const bl_float_graph *from = c->from;
  bl_float_graph *to = c->to;
  bl_arena *arena = to->arena;
  *to = *from;
  to->arena = arena;
  to->value_room = from->value_count;
  to->values = bl_arena_alloc(arena, from->value_count, sizeof *to->values);
  to->nodes = bl_arena_alloc(arena, from->node_count, sizeof *to->nodes);
  to->inputs = copied(c, from->inputs, from->input_count, sizeof *to->inputs);
  to->outputs = copied(c, from->outputs, from->output_count, sizeof *to->outputs);
  if (to->values == NULL || to->nodes == NULL || to->inputs == NULL || to->outputs == NULL ||
      !copy_text(c, from->name, &to->name) || !find_needed(c))
    return no_memory(c);
  for (uint32_t v = 0; v < from->value_count; v++)
    if (!copy_value(c, v)) return no_memory(c);
  for (uint32_t n = 0; n < from->node_count; n++)
    if (!copy_node(c, &from->nodes[n], &to->nodes[n])) return no_memory(c);
  return BL_OK;
}

// ---- Another batch

bool bl_float_carries_batch(const bl_float_graph *graph, const bl_node *node, int64_t batch) {
  const bl_value *in = bl_node_input(graph, node, 0), *shape = bl_node_input(graph, node, 1);
  if (node->op != BL_FLOAT_RESHAPE || shape == NULL || shape->i == NULL || shape->count == 0 ||
      in == NULL || bl_value_constant(in) || shape->i[0] != batch || in->rank == 0)
    return false;
  size_t known = 1;
  for (size_t k = 0; k < shape->count; k++) {
    if (shape->i[k] == -1) return true;
    if (shape->i[k] < 1 || shape->i[k] > BL_FLOAT_MAX_ELEMENTS ||
        known > BL_FLOAT_MAX_ELEMENTS / (size_t)shape->i[k])
      return false;
    known *= (size_t)shape->i[k];
  }
  return known != in->count;
}

// Infers a node; a Reshape that carries the old batch gets a shape of its own.
static bl_status rebatch_node(bl_float_graph *graph, bl_node *node, int64_t old, int64_t batch,
                              bl_error *err) {
  if (bl_float_carries_batch(graph, node, old)) {
    const bl_value shape = *bl_node_input(graph, node, 1);
    int32_t index;
    BL_TRY(bl_float_add_integers(graph, shape.name, "_batch", shape.rank, shape.dims, shape.i,
                                 &index, err));
    graph->values[index].i[0] = batch;
    node->inputs[1] = index;
  }
  return bl_float_infer(graph, node, err);
}

static bl_status rebatch(bl_float_graph *graph, int64_t batch, bl_error *err) {
  int64_t old = 0;
  for (uint32_t k = 0; k < graph->input_count; k++) {
    bl_value *in = &graph->values[graph->inputs[k]];
    if (in->rank == 0) continue;
    int64_t dims[BL_MAX_RANK];
    memcpy(dims, in->dims, sizeof dims);
    old = dims[0];
    dims[0] = batch;
    BL_TRY(bl_value_shape(in, in->rank, dims, err));
  }
  for (uint32_t n = 0; n < graph->node_count; n++)
    BL_TRY(rebatch_node(graph, &graph->nodes[n], old, batch, err));
  return BL_OK;
}

bl_status bl_float_copy(const bl_float_graph *graph, int64_t batch, bl_float_graph **copy,
                        bl_error *err) {
  copying c = {.from = graph, .err = err};
  bl_arena *arena = bl_arena_new(COPY_BASE + 2 * bl_arena_used(graph->arena));
  c.to = arena != NULL ? bl_arena_alloc(arena, 1, sizeof *c.to) : NULL;
  *copy = NULL;
  if (c.to == NULL) {
    bl_arena_free(arena);
    return no_memory(&c);
  }
  c.to->arena = arena;
  bl_status status = copy_all(&c);
  if (status == BL_OK)
    status = batch > 0 ? rebatch(c.to, batch, err) : bl_float_infer_all(c.to, err);
  if (status != BL_OK) {
    bl_float_graph_free(c.to);
    return status;
  }
  *copy = c.to;
  return BL_OK;
}
