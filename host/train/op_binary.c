// SPDX-License-Identifier: Apache-2.0
// Add, Sub, Mul, Div and Pow. Operands of one shape and format run in storage order; others in
// row-major order, broadcast as ONNX does it, with gradients summed over what was broadcast.
#include <math.h>
#include <string.h>

#include "host/base/simd.h"
#include "host/float/eval_internal.h"
#include "host/train/net_internal.h"

typedef struct {
  bool same;             // shapes and formats
  size_t a[BL_MAX_RANK]; // element strides along the output's axes, 0 where broadcast
  size_t b[BL_MAX_RANK];
  double *sum_a, *sum_b; // sums of gradients, where broadcast
} binary;

// Derivatives with respect to the first and second operand.
static inline float slope_a(bl_float_op op, float a, float b) {
  switch (op) {
  case BL_FLOAT_MUL:
    return b;
  case BL_FLOAT_DIV:
    return 1 / b;
  case BL_FLOAT_POW:
    return b == 0 ? 0 : b * powf(a, b - 1);
  default:
    return 1;
  }
}

static inline float slope_b(bl_float_op op, float a, float b) {
  switch (op) {
  case BL_FLOAT_SUB:
    return -1;
  case BL_FLOAT_MUL:
    return a;
  case BL_FLOAT_DIV:
    return -a / (b * b);
  case BL_FLOAT_POW:
    return a > 0 ? powf(a, b) * logf(a) : 0;
  default:
    return 1;
  }
}

// ---- One shape, one format

enum { BLOCK = 16384 };

// y may be a.
BL_SIMD static void add_block(const float *a, const float *b, size_t count, float *y) {
#pragma omp simd
  for (size_t k = 0; k < count; k++)
    y[k] = a[k] + b[k];
}

static void same_forward(bl_float_op op, const float *restrict a, const float *restrict b,
                         float *restrict y, size_t count) {
  if (op == BL_FLOAT_ADD) {
#pragma omp parallel for if (count > BLOCK)
    for (size_t at = 0; at < count; at += BLOCK)
      add_block(a + at, b + at, count - at < BLOCK ? count - at : BLOCK, y + at);
    return;
  }
#pragma omp parallel for if (count > BLOCK)
  for (size_t k = 0; k < count; k++)
    y[k] = bl_eval_pair(op, a[k], b[k]);
}

static void same_backward(bl_float_op op, bool second, const float *a, const float *b,
                          const float *restrict dy, float *restrict d, size_t count) {
  if (op == BL_FLOAT_ADD || (op == BL_FLOAT_SUB && !second)) {
    memcpy(d, dy, count * sizeof *d);
    return;
  }
#pragma omp parallel for if (count > BLOCK)
  for (size_t k = 0; k < count; k++)
    d[k] = dy[k] * (second ? slope_b(op, a[k], b[k]) : slope_a(op, a[k], b[k]));
}

void bl_array_add(float *to, const float *from, size_t count) {
#pragma omp parallel for if (count > BLOCK)
  for (size_t at = 0; at < count; at += BLOCK)
    add_block(to + at, from + at, count - at < BLOCK ? count - at : BLOCK, to + at);
}

// ---- Broadcast

static size_t last_stride(const size_t strides[BL_MAX_RANK], uint32_t rank) {
  return rank > 0 ? strides[rank - 1] : 0;
}

static void broadcast_forward(const bl_step *step) {
  const binary *p = step->state;
  const bl_value *out = step->output->value;
  int64_t index[BL_MAX_RANK] = {0};
  size_t row = out->rank > 0 ? (size_t)out->dims[out->rank - 1] : 1;
  size_t sa = last_stride(p->a, out->rank), sb = last_stride(p->b, out->rank);
  float *y = step->output->data;
  for (size_t at = 0; at < out->count; at += row) {
    const float *a = step->inputs[0]->data + bl_eval_offset_of(index, p->a, out->rank);
    const float *b = step->inputs[1]->data + bl_eval_offset_of(index, p->b, out->rank);
    for (size_t k = 0; k < row; k++)
      y[at + k] = bl_eval_pair(step->node->op, a[k * sa], b[k * sb]);
    (void)bl_eval_next_row(out, index);
  }
}

static void broadcast_backward(const bl_step *step) {
  const binary *p = step->state;
  const bl_value *out = step->output->value;
  bl_float_op op = step->node->op;
  int64_t index[BL_MAX_RANK] = {0};
  size_t row = out->rank > 0 ? (size_t)out->dims[out->rank - 1] : 1;
  size_t sa = last_stride(p->a, out->rank), sb = last_stride(p->b, out->rank);
  const float *dy = step->output->grad;
  for (size_t at = 0; at < out->count; at += row) {
    size_t ao = bl_eval_offset_of(index, p->a, out->rank);
    size_t bo = bl_eval_offset_of(index, p->b, out->rank);
    const float *a = step->inputs[0]->data + ao, *b = step->inputs[1]->data + bo;
    for (size_t k = 0; p->sum_a != NULL && k < row; k++)
      p->sum_a[ao + k * sa] += (double)(dy[at + k] * slope_a(op, a[k * sa], b[k * sb]));
    for (size_t k = 0; p->sum_b != NULL && k < row; k++)
      p->sum_b[bo + k * sb] += (double)(dy[at + k] * slope_b(op, a[k * sa], b[k * sb]));
    (void)bl_eval_next_row(out, index);
  }
}

// ---- The kernel

static bl_status binary_forward(bl_train_net *net, bl_step *step, bl_error *err) {
  (void)net;
  (void)err;
  const binary *p = step->state;
  if (p->same)
    same_forward(step->node->op, step->inputs[0]->data, step->inputs[1]->data, step->output->data,
                 step->output->value->count);
  else
    broadcast_forward(step);
  return BL_OK;
}

static bl_status binary_backward(bl_train_net *net, bl_step *step, bl_error *err) {
  (void)net;
  (void)err;
  const binary *p = step->state;
  double *const sums[2] = {p->sum_a, p->sum_b};
  for (uint32_t k = 0; k < 2; k++) {
    size_t count = step->inputs[k]->value->count;
    if (step->edges[k].data != NULL && p->same)
      same_backward(step->node->op, k == 1, step->inputs[0]->data, step->inputs[1]->data,
                    step->output->grad, step->edges[k].data, count);
    if (sums[k] != NULL) memset(sums[k], 0, count * sizeof *sums[k]);
  }
  if (p->same) return BL_OK;
  broadcast_backward(step);
  for (uint32_t k = 0; k < 2; k++)
    for (size_t i = 0; step->edges[k].data != NULL && i < step->inputs[k]->value->count; i++)
      step->edges[k].data[i] = (float)sums[k][i];
  return BL_OK;
}

static bool same_shape(const bl_value *a, const bl_value *b) {
  return a->rank == b->rank && memcmp(a->dims, b->dims, a->rank * sizeof a->dims[0]) == 0;
}

static double *sums_for(bl_train_net *net, const bl_slot *slot, bool *ok) {
  if (!slot->needs_grad) return NULL;
  double *sums = bl_arena_alloc(net->arena, slot->value->count, sizeof *sums);
  *ok = *ok && sums != NULL;
  return sums;
}

bl_status bl_plan_binary(bl_train_net *net, const bl_node *node, bl_error *err) {
  static const bl_kernel kernel = {binary_forward, binary_backward};
  const bl_value *out = bl_node_output(net->graph, node, 0);
  bl_slot *in[2];
  if (out->type != BL_TYPE_FLOAT)
    return bl_net_node_fail(node, BL_ERR_UNSUPPORTED, "it computes with integers", err);
  BL_TRY(bl_net_input(net, node, 0, &in[0], err));
  BL_TRY(bl_net_input(net, node, 1, &in[1], err));
  binary *p = bl_arena_alloc(net->arena, 1, sizeof *p);
  if (p == NULL) return bl_net_memory(net, err);
  if (same_shape(in[0]->value, in[1]->value) && bl_slot_dense(in[0])) {
    BL_TRY(bl_net_view(net, in[1], &in[0]->md, &in[1], err));
    p->same = true;
    return bl_net_output(net, &kernel, node, in, 2, &in[0]->md, p, err);
  }
  bool ok = true;
  for (uint32_t k = 0; k < 2; k++) {
    BL_TRY(bl_net_plain(net, in[k], &in[k], err));
    bl_eval_broadcast_strides(in[k]->value, out, k == 0 ? p->a : p->b);
  }
  p->sum_a = sums_for(net, in[0], &ok);
  p->sum_b = sums_for(net, in[1], &ok);
  if (!ok) return bl_net_memory(net, err);
  dnnl_memory_desc_t md = bl_net_plain_md(out->rank, out->dims);
  return bl_net_output(net, &kernel, node, in, 2, &md, p, err);
}
