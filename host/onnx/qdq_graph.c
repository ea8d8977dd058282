// SPDX-License-Identifier: Apache-2.0
// Tensors, the input, layer after layer, concatenations, the output.
#include "host/onnx/qdq_graph.h"

#include <math.h>
#include <string.h>

#include "host/onnx/qdq_internal.h"

enum { LAYER_NODES = 24, LAYER_VALUES = 64, REST = 32 };

// ---- Tensors

bool bl_qdq_is_vector(const bl_int_tensor *t) {
  return t->h == 1 && t->w == 1;
}

bl_qdq_carrier bl_qdq_carrier_of(bool is_signed, double scale, int32_t zero_point) {
  bl_qdq_carrier c = {is_signed ? ONNX_INT8 : ONNX_UINT8,
                      is_signed ? -128 : 0,
                      is_signed ? 127 : 255,
                      zero_point,
                      scale,
                      0};
  if (zero_point >= c.lo && zero_point <= c.hi) return c;
  c.shift = zero_point * scale;
  c.zero = 0;
  return c;
}

bl_qdq_carrier bl_qdq_tensor_carrier(const bl_int_tensor *t) {
  return bl_qdq_carrier_of(t->format.kind != BL_FORMAT_U, bl_qdq_scale(t), t->zero_point);
}

// Real values x become integers lo..hi.
int32_t bl_qdq_quantise(bl_qdq_export *ex, int32_t x, const bl_qdq_carrier *c, int32_t lo,
                        int32_t hi) {
  bl_qdq_builder *b = &ex->b;
  if (c->shift != 0) x = bl_qdq_node(b, BL_FLOAT_ADD, x, bl_qdq_number(b, c->shift), -1);
  if (lo > c->lo || hi < c->hi)
    x = bl_qdq_node(b, BL_FLOAT_CLIP, x, bl_qdq_number(b, (lo - c->zero) * c->scale),
                    bl_qdq_number(b, (hi - c->zero) * c->scale));
  return bl_qdq_node(b, BL_FLOAT_QUANTIZE, x, bl_qdq_number(b, c->scale),
                     bl_qdq_integer(b, c->element, c->zero));
}

int32_t bl_qdq_dequantise(bl_qdq_export *ex, int32_t q, const bl_qdq_carrier *c) {
  bl_qdq_builder *b = &ex->b;
  int32_t x = bl_qdq_node(b, BL_FLOAT_DEQUANTIZE, q, bl_qdq_number(b, c->scale),
                          bl_qdq_integer(b, c->element, c->zero));
  return c->shift == 0 ? x : bl_qdq_node(b, BL_FLOAT_SUB, x, bl_qdq_number(b, c->shift), -1);
}

// ---- The graph

// Parts side by side, quantised once more as their consumers expect it, which changes nothing.
static bl_status concatenate(bl_qdq_export *ex, uint32_t tensor) {
  const bl_int_graph *g = ex->graph;
  int32_t *parts = bl_arena_alloc(ex->b.graph->arena, g->tensor_count, sizeof *parts);
  if (parts == NULL) return bl_fail(ex->b.err, BL_ERR_MEMORY, "%s: no memory", g->name);
  uint32_t count = 0;
  for (uint32_t at = 0; at < g->tensors[tensor].c;)
    for (uint32_t t = 1; t < g->tensor_count; t++)
      if (g->tensors[t].parent == tensor && g->tensors[t].parent_channel == at) {
        parts[count++] = ex->real[t];
        at += g->tensors[t].c;
      }
  const bl_qdq_carrier c = bl_qdq_tensor_carrier(&g->tensors[tensor]);
  bl_qdq_int(&ex->b, "axis", 1);
  int32_t x = bl_qdq_node_of(&ex->b, BL_FLOAT_CONCAT, parts, count);
  ex->real[tensor] = bl_qdq_dequantise(ex, bl_qdq_quantise(ex, x, &c, c.lo, c.hi), &c);
  return ex->b.status;
}

// For +1 where x >= 0, else -1, behind a clip to that: from the least number that is not 0 on, or
// nearly, everything lies beyond.
static int32_t sign(bl_qdq_export *ex, int32_t x, double scale) {
  bl_qdq_builder *b = &ex->b;
  x = bl_qdq_node(b, BL_FLOAT_MUL, x, bl_qdq_number(b, ldexp(scale, 60)), -1);
  return bl_qdq_node(b, BL_FLOAT_ADD, x, bl_qdq_number(b, scale), -1);
}

static void write_input(bl_qdq_export *ex) {
  static const uint32_t to_nchw[] = {0, 3, 1, 2};
  const bl_int_tensor *t = &ex->graph->tensors[0];
  const bl_qdq_options *o = ex->options;
  const bool turn = o->channels_last && !bl_qdq_is_vector(t);
  const int64_t dims[] = {1, turn ? t->h : t->c, turn ? t->w : t->h, turn ? t->c : t->w};
  bl_qdq_builder *b = &ex->b;
  int32_t x = bl_qdq_value(b, t->name, ONNX_FLOAT, bl_qdq_is_vector(t) ? 2 : 4, dims);
  if (x < 0) return;
  b->graph->inputs[b->graph->input_count++] = x;
  if (turn) {
    bl_qdq_ints(b, "perm", to_nchw, 4);
    x = bl_qdq_node(b, BL_FLOAT_TRANSPOSE, x, -1, -1);
  }
  if (o->input_mul != 1) x = bl_qdq_node(b, BL_FLOAT_MUL, x, bl_qdq_number(b, o->input_mul), -1);
  if (o->input_add != 0) x = bl_qdq_node(b, BL_FLOAT_ADD, x, bl_qdq_number(b, o->input_add), -1);
  const bl_qdq_carrier c = bl_qdq_tensor_carrier(t);
  if (t->format.kind == BL_FORMAT_B) x = sign(ex, x, c.scale);
  ex->real[0] = bl_qdq_dequantise(
      ex, bl_qdq_quantise(ex, x, &c, bl_format_min(t->format), bl_format_max(t->format)), &c);
}

static void write_output(bl_qdq_export *ex) {
  bl_qdq_builder *b = &ex->b;
  int32_t x = ex->real[ex->graph->output];
  b->where = "output";
  if (ex->options->end == BL_QDQ_SOFTMAX) {
    bl_qdq_int(b, "axis", 1);
    x = bl_qdq_node(b, BL_FLOAT_SOFTMAX, x, -1, -1);
  } else if (ex->options->end == BL_QDQ_SIGMOID) {
    x = bl_qdq_node(b, BL_FLOAT_SIGMOID, x, -1, -1);
  }
  if (x < 0) return;
  char *name = ex->graph->tensors[ex->graph->output].name;
  if (name != NULL)
    b->graph->values[x].name = bl_arena_strndup(b->graph->arena, name, strlen(name));
  b->graph->outputs[b->graph->output_count++] = x;
}

static bl_status write_all(bl_qdq_export *ex) {
  const bl_int_graph *g = ex->graph;
  write_input(ex);
  for (uint32_t i = 0; i < g->layer_count && ex->b.status == BL_OK; i++) {
    const bl_int_layer *l = &g->layers[i];
    bl_qdq_layer(ex, l);
    const uint32_t parent = g->tensors[l->output].parent;
    if (ex->b.status == BL_OK && parent != 0 && bl_int_completer(g, parent) == i)
      BL_TRY(concatenate(ex, parent));
  }
  if (ex->b.status == BL_OK) write_output(ex);
  return ex->b.status;
}

static bl_status check_ends(const bl_int_graph *g, bl_error *err) {
  const uint32_t ends[] = {0, g->output};
  for (int k = 0; k < 2; k++) {
    const bl_int_tensor *t = &g->tensors[ends[k]];
    if (t->format.kind != BL_FORMAT_ACC && bl_qdq_scale(t) != (double)(float)t->scale)
      return bl_fail(err, BL_ERR_UNSUPPORTED,
                     "%s: the scale of its %s is %g, which ONNX cannot say", g->name,
                     k == 0 ? "input" : "output", t->scale);
  }
  return BL_OK;
}

bl_status bl_qdq_graph(const bl_int_graph *graph, const bl_qdq_options *options,
                       bl_float_graph **out, bl_error *err) {
  bl_qdq_export ex = {.graph = graph, .options = options};
  uint32_t widest = 1;
  *out = NULL;
  BL_TRY(check_ends(graph, err));
  for (uint32_t t = 0; t < graph->tensor_count; t++)
    if (graph->tensors[t].c > widest) widest = graph->tensors[t].c;
  BL_TRY(bl_qdq_open(&ex.b, graph->name, LAYER_NODES * graph->tensor_count + REST,
                     LAYER_VALUES * graph->tensor_count + REST, err));
  ex.real = bl_arena_alloc(ex.b.graph->arena, graph->tensor_count, sizeof *ex.real);
  ex.channels = bl_arena_alloc(ex.b.graph->arena, widest, sizeof *ex.channels);
  bl_status status = ex.real == NULL || ex.channels == NULL
                         ? bl_fail(err, BL_ERR_MEMORY, "%s: no memory", graph->name)
                         : write_all(&ex);
  if (status == BL_OK)
    *out = ex.b.graph;
  else
    bl_float_graph_free(ex.b.graph);
  return status;
}
