// SPDX-License-Identifier: Apache-2.0
// What the evaluators share.
#ifndef BITLOOM_HOST_FLOAT_EVAL_INTERNAL_H
#define BITLOOM_HOST_FLOAT_EVAL_INTERNAL_H

#include <math.h>

#include "host/float/eval.h"

typedef struct {
  bl_float_engine *engine;
  const bl_float_graph *graph;
  const bl_node *node;
  uint32_t index;
  bl_value *values;
  bl_error *err;
} bl_eval;

typedef bl_status (*bl_evaluator)(const bl_eval *e);

static inline const bl_value *bl_eval_in(const bl_eval *e, uint32_t k) {
  return k < e->node->input_count && e->node->inputs[k] >= 0 ? &e->values[e->node->inputs[k]]
                                                             : NULL;
}

static inline bl_value *bl_eval_out(const bl_eval *e, uint32_t k) {
  return k < e->node->output_count && e->node->outputs[k] >= 0 ? &e->values[e->node->outputs[k]]
                                                               : NULL;
}

// Element `at` as a double, whatever the type.
static inline double bl_at(const bl_value *v, size_t at) {
  return v->type == BL_TYPE_FLOAT ? (double)v->f[at] : (double)v->i[at];
}

// The integer nearest zero of x; 0 for what int64 does not hold (NaN, infinities, too large).
static inline int64_t bl_to_int(double x) {
  return x > -9.2e18 && x < 9.2e18 ? (int64_t)x : 0;
}

static inline void bl_put(bl_value *v, size_t at, double x) {
  if (v->type == BL_TYPE_FLOAT)
    v->f[at] = (float)x;
  else
    v->i[at] = bl_to_int(x);
}

// Copies element `from` of in to element `to` of out; both have the same type.
static inline void bl_copy(bl_value *out, size_t to, const bl_value *in, size_t from) {
  if (out->type == BL_TYPE_FLOAT)
    out->f[to] = in->f[from];
  else
    out->i[to] = in->i[from];
}

bl_status bl_eval_fail(const bl_eval *e, bl_status status, const char *what);
// The node's integers from input `k` or attribute `name` (NULL and 0 where there is neither).
const int64_t *bl_eval_ints(const bl_eval *e, uint32_t k, const char *name, size_t *count);

// Add, Sub, Mul, Div and Pow of two numbers.
static inline float bl_eval_pair(bl_float_op op, float a, float b) {
  switch (op) {
  case BL_FLOAT_ADD:
    return a + b;
  case BL_FLOAT_SUB:
    return a - b;
  case BL_FLOAT_MUL:
    return a * b;
  case BL_FLOAT_DIV:
    return a / b;
  default:
    return powf(a, b);
  }
}

// Element strides of `v` seen with the output's shape; 0 along broadcast axes.
void bl_eval_broadcast_strides(const bl_value *v, const bl_value *out, size_t strides[BL_MAX_RANK]);
// Advances a multi-index over all axes but the last; false at the end.
bool bl_eval_next_row(const bl_value *out, int64_t index[BL_MAX_RANK]);
size_t bl_eval_offset_of(const int64_t index[BL_MAX_RANK], const size_t strides[BL_MAX_RANK],
                         uint32_t rank);
// Element offset of matrix number `at` of the output's stack in an operand that broadcasts.
size_t bl_eval_matrix_offset(const bl_value *v, const bl_value *out, size_t at);

bl_status bl_eval_binary(const bl_eval *e);
bl_status bl_eval_unary(const bl_eval *e);
bl_status bl_eval_activation(const bl_eval *e);
bl_status bl_eval_clip(const bl_eval *e);
bl_status bl_eval_cast(const bl_eval *e);
bl_status bl_eval_batch_norm(const bl_eval *e);
bl_status bl_eval_softmax(const bl_eval *e);
bl_status bl_eval_quantize(const bl_eval *e);
bl_status bl_eval_dequantize(const bl_eval *e);
bl_status bl_eval_quant(const bl_eval *e);
bl_status bl_eval_trunc(const bl_eval *e);
bl_status bl_eval_multi_threshold(const bl_eval *e);
bl_status bl_eval_dynamic_quantize(const bl_eval *e);
bl_status bl_eval_integer_conv(const bl_eval *e);
bl_status bl_eval_integer_matmul(const bl_eval *e);

bl_status bl_eval_same(const bl_eval *e);
bl_status bl_eval_dropout(const bl_eval *e);
bl_status bl_eval_transpose(const bl_eval *e);
bl_status bl_eval_concat(const bl_eval *e);
bl_status bl_eval_gather(const bl_eval *e);
bl_status bl_eval_slice(const bl_eval *e);
bl_status bl_eval_pad(const bl_eval *e);
bl_status bl_eval_resize(const bl_eval *e);
bl_status bl_eval_shape(const bl_eval *e);
bl_status bl_eval_constant(const bl_eval *e);

bl_status bl_eval_pool(const bl_eval *e);
bl_status bl_eval_conv(const bl_eval *e);
bl_status bl_eval_matmul(const bl_eval *e);
bl_status bl_eval_gemm(const bl_eval *e);

#endif
