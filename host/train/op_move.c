// SPDX-License-Identifier: Apache-2.0
// Operators that only move data. Where each element comes from is found once, by running the
// float executor's operator on the elements' own numbers; forward gathers, backward adds back.
#include <string.h>

#include "host/float/eval.h"
#include "host/train/net_internal.h"

typedef struct {
  int32_t *from; // [count of the output] element of the input, -1: the constant
  float constant;
} moved;

static bl_status move_forward(bl_train_net *net, bl_step *step, bl_error *err) {
  (void)net;
  (void)err;
  const moved *m = step->state;
  const float *x = step->inputs[0]->data;
  for (size_t k = 0; k < step->output->value->count; k++)
    step->output->data[k] = m->from[k] < 0 ? m->constant : x[m->from[k]];
  return BL_OK;
}

static bl_status move_backward(bl_train_net *net, bl_step *step, bl_error *err) {
  (void)net;
  (void)err;
  const moved *m = step->state;
  float *dx = step->edges[0].data;
  memset(dx, 0, step->inputs[0]->value->count * sizeof *dx);
  for (size_t k = 0; k < step->output->value->count; k++)
    if (m->from[k] >= 0) dx[m->from[k]] += step->output->grad[k];
  return BL_OK;
}

// The constant of a Pad is taken out of the copy of its node, so that padding reads 0, which no
// element's number plus one is.
static void without_constant(const bl_float_graph *g, bl_node *node, int32_t *inputs,
                             bl_attribute *attributes, float *constant) {
  const bl_value *v = bl_node_input(g, node, 2);
  *constant = bl_node_float(node, "value", 0);
  if (v != NULL && v->f != NULL && v->count > 0) *constant = v->f[0];
  memcpy(inputs, node->inputs, node->input_count * sizeof *inputs);
  if (node->input_count > 2) inputs[2] = -1;
  for (uint32_t k = 0; k < node->attribute_count; k++) {
    attributes[k] = node->attributes[k];
    if (strcmp(attributes[k].name, "value") == 0) attributes[k].f = 0;
  }
  node->inputs = inputs;
  node->attributes = attributes;
}

static bl_status number_elements(bl_arena *scratch, bl_value *in, bl_value *out, bl_error *err) {
  in->type = out->type = BL_TYPE_INT;
  in->f = out->f = NULL;
  BL_TRY(bl_value_allocate(scratch, in, err));
  BL_TRY(bl_value_allocate(scratch, out, err));
  for (size_t k = 0; k < in->count; k++)
    in->i[k] = (int64_t)k + 1;
  return BL_OK;
}

static bl_status trace(bl_train_net *net, const bl_node *node, bl_arena *scratch, moved *m,
                       bl_error *err) {
  bl_float_graph g = *net->graph;
  bl_node copy = *node;
  bl_value *values = bl_arena_alloc(scratch, g.value_count, sizeof *values);
  int32_t *inputs = bl_arena_alloc(scratch, node->input_count, sizeof *inputs);
  bl_attribute *attributes = bl_arena_alloc(scratch, node->attribute_count, sizeof *attributes);
  if (values == NULL || inputs == NULL || attributes == NULL) return bl_net_memory(net, err);
  memcpy(values, g.values, g.value_count * sizeof *values);
  if (node->op == BL_FLOAT_PAD) without_constant(&g, &copy, inputs, attributes, &m->constant);
  g.nodes = &copy;
  g.node_count = 1;
  bl_value *out = &values[node->outputs[0]];
  BL_TRY(number_elements(scratch, &values[node->inputs[0]], out, err));
  BL_TRY(bl_float_eval(NULL, &g, 0, values, err));
  for (size_t k = 0; k < out->count; k++)
    m->from[k] = (int32_t)(out->i[k] - 1);
  return BL_OK;
}

bl_status bl_plan_move(bl_train_net *net, const bl_node *node, bl_error *err) {
  static const bl_kernel kernel = {move_forward, move_backward};
  static const size_t scratch_cap = (size_t)4 << 30;
  const bl_value *out = bl_node_output(net->graph, node, 0);
  bl_slot *in;
  BL_TRY(bl_net_plain_input(net, node, 0, &in, err));
  moved *m = bl_arena_alloc(net->arena, 1, sizeof *m);
  bl_arena *scratch = bl_arena_new(scratch_cap);
  if (m != NULL) m->from = bl_arena_alloc(net->arena, out->count, sizeof *m->from);
  bl_status status = m == NULL || m->from == NULL || scratch == NULL
                         ? bl_net_memory(net, err)
                         : trace(net, node, scratch, m, err);
  bl_arena_free(scratch);
  BL_TRY(status);
  dnnl_memory_desc_t md = bl_net_plain_md(out->rank, out->dims);
  return bl_net_output(net, &kernel, node, &in, 1, &md, m, err);
}

// ---- Concat

// Copies input `k`'s part of the output, or its gradient back; rows are what lies behind the axis.
static void concat_part(const bl_step *step, uint32_t k, size_t before, bool back) {
  const size_t *rows = step->state; // [0]: of the output, [k + 1]: of input k
  size_t part = rows[k + 1];
  if (part == 0 || (back && step->edges[k].data == NULL)) return;
  for (size_t o = 0; o < step->inputs[k]->value->count / part; o++) {
    size_t at = o * rows[0] + before;
    if (back)
      memcpy(step->edges[k].data + o * part, step->output->grad + at, part * sizeof(float));
    else
      memcpy(step->output->data + at, step->inputs[k]->data + o * part, part * sizeof(float));
  }
}

static bl_status concat(bl_step *step, bool back) {
  const size_t *rows = step->state;
  for (size_t k = 0, before = 0; k < step->input_count; before += rows[++k])
    concat_part(step, (uint32_t)k, before, back);
  return BL_OK;
}

static bl_status concat_forward(bl_train_net *net, bl_step *step, bl_error *err) {
  (void)net;
  (void)err;
  return concat(step, false);
}

static bl_status concat_backward(bl_train_net *net, bl_step *step, bl_error *err) {
  (void)net;
  (void)err;
  return concat(step, true);
}

static size_t row_of(const bl_value *v, int64_t axis) {
  size_t row = 1;
  for (uint32_t k = (uint32_t)axis; k < v->rank; k++)
    row *= (size_t)v->dims[k];
  return row;
}

bl_status bl_plan_concat(bl_train_net *net, const bl_node *node, bl_error *err) {
  static const bl_kernel kernel = {concat_forward, concat_backward};
  const bl_value *out = bl_node_output(net->graph, node, 0);
  int64_t axis = bl_node_int(node, "axis", 1);
  if (axis < 0) axis += out->rank;
  bl_slot **in = bl_arena_alloc(net->arena, node->input_count, sizeof(bl_slot *));
  size_t *rows = bl_arena_alloc(net->arena, node->input_count + 1u, sizeof *rows);
  if (in == NULL || rows == NULL) return bl_net_memory(net, err);
  rows[0] = row_of(out, axis);
  for (uint32_t k = 0; k < node->input_count; k++) {
    BL_TRY(bl_net_plain_input(net, node, k, &in[k], err));
    rows[k + 1] = row_of(in[k]->value, axis);
  }
  dnnl_memory_desc_t md = bl_net_plain_md(out->rank, out->dims);
  return bl_net_output(net, &kernel, node, in, node->input_count, &md, rows, err);
}
