// SPDX-License-Identifier: Apache-2.0
#include "host/float/inference.h"

#include <stdlib.h>
#include <string.h>

#include "host/float/inference_internal.h"
#include "host/graph/float_edit.h"

static const size_t CAP = (size_t)8 << 30;

enum { PART = 4 }; // images at most that go through all layers together, for the caches' sake

// ---- Views and steps

dnnl_memory_desc_t bl_inf_plain(uint32_t rank, const int64_t *dims) {
  dnnl_memory_desc_t md;
  dnnl_dims_t sizes = {1}, strides = {1};
  dnnl_dim_t step = 1;
  for (uint32_t k = rank; k-- > 0;) {
    sizes[k] = dims[k];
    strides[k] = step;
    step *= dims[k];
  }
  (void)dnnl_memory_desc_init_by_strides(&md, rank > 0 ? (int)rank : 1, sizes, dnnl_f32, strides);
  return md;
}

static bool keep(const bl_float_inference *f, void **list, uint32_t *count, void *item) {
  if (*count == f->keep_room) return false;
  list[(*count)++] = item;
  return true;
}

bl_inf_view *bl_inf_memory(bl_float_inference *f, const dnnl_memory_desc_t *md, float *data) {
  bl_inf_view *v = bl_arena_alloc(f->arena, 1, sizeof *v);
  if (v == NULL) return NULL;
  *v = (bl_inf_view){.md = *md, .data = data, .own = data == NULL};
  if (data == NULL) v->data = bl_arena_alloc(f->arena, dnnl_memory_desc_get_size(md), 1);
  if (v->data == NULL || dnnl_memory_create(&v->memory, md, f->engine, v->data) != dnnl_success)
    return NULL;
  if (keep(f, f->memories, &f->memory_count, v->memory)) return v;
  (void)dnnl_memory_destroy(v->memory);
  return NULL;
}

bl_inf_view *bl_inf_add_view(bl_float_inference *f, int32_t value, const dnnl_memory_desc_t *md,
                             float *data, bool first) {
  bl_inf_view *v = bl_inf_memory(f, md, data);
  if (v == NULL) return NULL;
  bl_inf_view **at = &f->views[value];
  while (!first && *at != NULL)
    at = &(*at)->next;
  v->next = *at;
  *at = v;
  return v;
}

bool bl_inf_primitive(bl_float_inference *f, const_dnnl_primitive_desc_t pd,
                      dnnl_primitive_t *primitive) {
  if (dnnl_primitive_create(primitive, pd) != dnnl_success) return false;
  if (keep(f, f->primitives, &f->primitive_count, *primitive)) return true;
  (void)dnnl_primitive_destroy(*primitive);
  return false;
}

bl_inf_step *bl_inf_step_of(bl_float_inference *f, dnnl_primitive_t primitive) {
  if (f->step_count == f->step_room) return NULL;
  bl_inf_step *s = &f->steps[f->step_count++];
  *s = (bl_inf_step){.primitive = primitive};
  return s;
}

void bl_inf_arg(bl_inf_step *step, int role, dnnl_memory_t memory) {
  step->args[step->arg_count++] = (dnnl_exec_arg_t){role, memory};
}

bool bl_inf_move(bl_float_inference *f, const bl_inf_view *from, const bl_inf_view *to) {
  dnnl_primitive_desc_t pd;
  dnnl_primitive_t primitive;
  if (dnnl_reorder_primitive_desc_create(&pd, &from->md, f->engine, &to->md, f->engine, NULL) !=
      dnnl_success)
    return false;
  const bool made = bl_inf_primitive(f, pd, &primitive);
  (void)dnnl_primitive_desc_destroy(pd);
  bl_inf_step *s = made ? bl_inf_step_of(f, primitive) : NULL;
  if (s == NULL) return false;
  bl_inf_arg(s, DNNL_ARG_FROM, from->memory);
  bl_inf_arg(s, DNNL_ARG_TO, to->memory);
  return true;
}

bl_inf_view *bl_inf_view_as(bl_float_inference *f, int32_t value, const dnnl_memory_desc_t *md) {
  bl_inf_view *first = f->views[value];
  for (bl_inf_view *v = first; v != NULL; v = v->next)
    if (dnnl_memory_desc_equal(&v->md, md) != 0) return v;
  if (first == NULL) return NULL;
  bl_inf_view *v = bl_inf_add_view(f, value, md, NULL, false);
  return v != NULL && bl_inf_move(f, first, v) ? v : NULL;
}

bl_inf_view *bl_inf_plain_view(bl_float_inference *f, int32_t value) {
  const bl_value *v = &f->graph->values[value];
  const dnnl_memory_desc_t md = bl_inf_plain(v->rank, v->dims);
  return bl_inf_view_as(f, value, &md);
}

// ---- The plan

// A node by bl_float_eval, on row-major data.
static bool plan_eval(bl_float_inference *f, uint32_t n) {
  const bl_node *node = &f->graph->nodes[n];
  for (uint32_t k = 0; k < node->input_count; k++) {
    const int32_t v = node->inputs[k];
    if (v < 0 || f->views[v] == NULL) continue;
    const bl_inf_view *view = bl_inf_plain_view(f, v);
    if (view == NULL) return false;
    f->values[v].f = view->data;
  }
  bl_inf_step *s = bl_inf_step_of(f, NULL);
  if (s == NULL) return false;
  s->node = n;
  for (uint32_t k = 0; k < node->output_count; k++) {
    const int32_t v = node->outputs[k];
    if (v < 0) continue;
    bl_value *value = &f->values[v];
    if (bl_value_allocate(f->arena, value, f->err) != BL_OK) return false;
    const dnnl_memory_desc_t md = bl_inf_plain(value->rank, value->dims);
    if (value->type == BL_TYPE_FLOAT && value->count > 0 &&
        bl_inf_add_view(f, v, &md, value->f, true) == NULL)
      return false;
  }
  return true;
}

static bool plan_node(bl_float_inference *f, uint32_t n) {
  const bl_float_graph *g = f->graph;
  bool done = false;
  if (f->carried_by[n] >= 0) {
    const bl_inf_chain *c = f->chains[f->carried_by[n]];
    return c->end != n || bl_inf_convolution(f, &g->nodes[f->carried_by[n]], c);
  }
  if (!bl_inf_other(f, &g->nodes[n], &done)) return false;
  return done || plan_eval(f, n);
}

static bool plan(bl_float_inference *f) {
  const bl_float_graph *g = f->graph;
  for (uint32_t k = 0; k < g->input_count; k++) {
    const bl_value *v = &g->values[g->inputs[k]];
    const dnnl_memory_desc_t md = bl_inf_plain(v->rank, v->dims);
    if (bl_inf_add_view(f, g->inputs[k], &md, NULL, true) == NULL) return false;
    f->views[g->inputs[k]]->own = false;
  }
  if (!bl_inf_find_chains(f)) return false;
  for (uint32_t n = 0; n < g->node_count; n++)
    if (!plan_node(f, n)) return false;
  for (uint32_t k = 0; k < g->output_count; k++)
    if (bl_inf_plain_view(f, g->outputs[k]) == NULL) return false;
  return true;
}

static bool check_ends(const bl_float_graph *g) {
  for (uint32_t k = 0; k < g->input_count; k++)
    if (g->values[g->inputs[k]].type != BL_TYPE_FLOAT || g->values[g->inputs[k]].count == 0)
      return false;
  for (uint32_t k = 0; k < g->output_count; k++)
    if (g->values[g->outputs[k]].type != BL_TYPE_FLOAT ||
        bl_value_constant(&g->values[g->outputs[k]]))
      return false;
  return g->input_count > 0 && g->output_count > 0;
}

static bool allocate(bl_float_inference *f) {
  const bl_float_graph *g = f->graph;
  enum { PER_NODE = 8 };
  f->keep_room = PER_NODE * (g->node_count + g->input_count + g->output_count);
  for (uint32_t n = 0; n < g->node_count; n++)
    f->keep_room += g->nodes[n].input_count;
  f->step_room = f->keep_room;
  f->arena = bl_arena_new(CAP);
  if (f->arena == NULL) return false;
  f->values = bl_arena_alloc(f->arena, g->value_count, sizeof *f->values);
  f->views = bl_arena_alloc(f->arena, g->value_count, sizeof(bl_inf_view *));
  f->last_use = bl_arena_alloc(f->arena, g->value_count, sizeof *f->last_use);
  f->chains = bl_arena_alloc(f->arena, g->node_count, sizeof(bl_inf_chain *));
  f->carried_by = bl_arena_alloc(f->arena, g->node_count, sizeof *f->carried_by);
  f->steps = bl_arena_alloc(f->arena, f->step_room, sizeof *f->steps);
  f->primitives = bl_arena_alloc(f->arena, f->keep_room, sizeof *f->primitives);
  f->memories = bl_arena_alloc(f->arena, f->keep_room, sizeof *f->memories);
  if (f->values == NULL || f->views == NULL || f->last_use == NULL || f->chains == NULL ||
      f->carried_by == NULL || f->steps == NULL || f->primitives == NULL || f->memories == NULL)
    return false;
  memcpy(f->values, g->values, g->value_count * sizeof *f->values);
  return dnnl_engine_create(&f->engine, dnnl_cpu, 0) == dnnl_success &&
         dnnl_stream_create(&f->stream, f->engine, dnnl_stream_default_flags) == dnnl_success;
}

// Values of all images lie beside those of a part.
static bool divides(const bl_float_graph *all, const bl_float_graph *part, size_t parts) {
  bool fits = true;
  for (uint32_t k = 0; k < all->input_count; k++)
    fits = fits && all->values[all->inputs[k]].count == parts * part->values[part->inputs[k]].count;
  for (uint32_t k = 0; k < all->output_count; k++)
    fits =
        fits && all->values[all->outputs[k]].count == parts * part->values[part->outputs[k]].count;
  return fits;
}

// A copy of the graph for a part of its images, where it can be had.
static void find_part(bl_float_inference *f) {
  const bl_float_graph *g = f->graph;
  const bl_value *in = &g->values[g->inputs[0]];
  const int64_t batch = in->rank > 1 ? in->dims[0] : 1;
  bl_error ignored = {0};
  int64_t images = PART;
  while (batch % images != 0)
    images--;
  f->parts = 1;
  if (images == batch || bl_float_copy(g, images, &f->part, &ignored) != BL_OK) return;
  if (divides(g, f->part, (size_t)(batch / images))) {
    f->graph = f->part;
    f->parts = (size_t)(batch / images);
    return;
  }
  bl_float_graph_free(f->part);
  f->part = NULL;
}

// The caller's arrays.
static bool find_ends(bl_float_inference *f) {
  const bl_float_graph *g = f->graph;
  f->inputs = bl_arena_alloc(f->arena, g->input_count, sizeof *f->inputs);
  f->outputs = bl_arena_alloc(f->arena, g->output_count, sizeof *f->outputs);
  if (f->inputs == NULL || f->outputs == NULL) return false;
  for (uint32_t k = 0; k < g->input_count; k++) {
    f->inputs[k] = f->views[g->inputs[k]]->data;
    if (f->parts > 1)
      f->inputs[k] =
          bl_arena_alloc(f->arena, f->parts * g->values[g->inputs[k]].count, sizeof **f->inputs);
    if (f->inputs[k] == NULL) return false;
  }
  for (uint32_t k = 0; k < g->output_count; k++) {
    f->outputs[k] = bl_inf_plain_view(f, g->outputs[k])->data;
    if (f->parts > 1)
      f->outputs[k] =
          bl_arena_alloc(f->arena, f->parts * g->values[g->outputs[k]].count, sizeof **f->outputs);
    if (f->outputs[k] == NULL) return false;
  }
  return true;
}

bl_status bl_float_inference_open(const bl_float_graph *graph, bl_float_inference **inference,
                                  bl_error *err) {
  *inference = NULL;
  if (!check_ends(graph))
    return bl_fail(err, BL_ERR_UNSUPPORTED, "%s: its inputs and outputs are not floats",
                   graph->name);
  bl_float_inference *f = calloc(1, sizeof *f);
  if (f == NULL) return bl_fail(err, BL_ERR_MEMORY, "%s: no memory", graph->name);
  bl_error own = {0};
  f->graph = graph;
  f->err = &own;
  find_part(f);
  bool opened = bl_float_engine_open(f->graph->node_count, &f->eval, &own) == BL_OK;
  opened = opened && allocate(f) && plan(f) && find_ends(f);
  f->err = NULL;
  if (opened) {
    *inference = f;
    return BL_OK;
  }
  bl_float_inference_close(f);
  if (own.status != BL_OK) return bl_fail(err, own.status, "%s", own.text);
  return bl_fail(err, BL_ERR_MEMORY, "%s: no memory, or oneDNN refuses it", graph->name);
}

void bl_float_inference_close(bl_float_inference *f) {
  if (f == NULL) return;
  for (uint32_t k = 0; k < f->primitive_count; k++)
    (void)dnnl_primitive_destroy(f->primitives[k]);
  for (uint32_t k = 0; k < f->memory_count; k++)
    (void)dnnl_memory_destroy(f->memories[k]);
  if (f->stream != NULL) (void)dnnl_stream_destroy(f->stream);
  if (f->engine != NULL) (void)dnnl_engine_destroy(f->engine);
  bl_float_engine_close(f->eval);
  bl_arena_free(f->arena);
  bl_float_graph_free(f->part);
  free(f);
}

// ---- Running

float *bl_float_inference_input(bl_float_inference *f, uint32_t k) {
  return f->inputs[k];
}

static bl_status run_part(bl_float_inference *f, bl_error *err) {
  for (uint32_t k = 0; k < f->step_count; k++) {
    const bl_inf_step *s = &f->steps[k];
    if (s->primitive == NULL)
      BL_TRY(bl_float_eval(f->eval, f->graph, s->node, f->values, err));
    else if (dnnl_primitive_execute(s->primitive, f->stream, s->arg_count, s->args) != dnnl_success)
      return bl_fail(err, BL_ERR_UNSUPPORTED, "%s: oneDNN failed", f->graph->name);
  }
  if (dnnl_stream_wait(f->stream) == dnnl_success) return BL_OK;
  return bl_fail(err, BL_ERR_UNSUPPORTED, "%s: oneDNN failed", f->graph->name);
}

bl_status bl_float_inference_run(bl_float_inference *f, bl_error *err) {
  const bl_float_graph *g = f->graph;
  for (size_t part = 0; part < f->parts; part++) {
    for (uint32_t k = 0; f->parts > 1 && k < g->input_count; k++) {
      const size_t count = g->values[g->inputs[k]].count;
      memcpy(f->views[g->inputs[k]]->data, f->inputs[k] + part * count, count * sizeof(float));
    }
    BL_TRY(run_part(f, err));
    for (uint32_t k = 0; f->parts > 1 && k < g->output_count; k++) {
      const size_t count = g->values[g->outputs[k]].count;
      memcpy(f->outputs[k] + part * count, bl_inf_plain_view(f, g->outputs[k])->data,
             count * sizeof(float));
    }
  }
  return BL_OK;
}

const float *bl_float_inference_output(const bl_float_inference *f, uint32_t k) {
  return f->outputs[k];
}
