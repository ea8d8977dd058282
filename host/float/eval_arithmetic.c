// SPDX-License-Identifier: Apache-2.0
// Element-wise operators, normalisation, softmax.
#include <math.h>
#include <string.h>

#include "host/float/eval_internal.h"

// ---- Broadcasting
// --------------------------------------------------------------------------------

void bl_eval_broadcast_strides(const bl_value *v, const bl_value *out,
                               size_t strides[BL_MAX_RANK]) {
  size_t step = 1;
  for (uint32_t k = 0; k < out->rank; k++) {
    uint32_t axis = out->rank - 1 - k;
    bool has = k < v->rank;
    int64_t d = has ? v->dims[v->rank - 1 - k] : 1;
    strides[axis] = d == 1 ? 0 : step;
    step *= (size_t)d;
  }
}

bool bl_eval_next_row(const bl_value *out, int64_t index[BL_MAX_RANK]) {
  for (uint32_t k = out->rank > 0 ? out->rank - 1 : 0; k-- > 0;) {
    if (++index[k] < out->dims[k]) return true;
    index[k] = 0;
  }
  return false;
}

size_t bl_eval_offset_of(const int64_t index[BL_MAX_RANK], const size_t strides[BL_MAX_RANK],
                         uint32_t rank) {
  size_t at = 0;
  for (uint32_t k = 0; k + 1 < rank; k++)
    at += (size_t)index[k] * strides[k];
  return at;
}

// Keeps an integer result within its element type, as its hardware would.
static int64_t wrap_integer(int32_t element, int64_t x) {
  switch (element) {
  case ONNX_UINT8:
    return (uint8_t)x;
  case ONNX_INT8:
    return (int8_t)x;
  case ONNX_UINT16:
    return (uint16_t)x;
  case ONNX_INT16:
    return (int16_t)x;
  case ONNX_INT32:
    return (int32_t)x;
  case ONNX_UINT32:
    return (uint32_t)x;
  case ONNX_BOOL:
    return x != 0;
  default:
    return x;
  }
}

static int64_t integer_op(bl_float_op op, int64_t a, int64_t b) {
  switch (op) {
  case BL_FLOAT_ADD:
    return (int64_t)((uint64_t)a + (uint64_t)b);
  case BL_FLOAT_SUB:
    return (int64_t)((uint64_t)a - (uint64_t)b);
  case BL_FLOAT_MUL:
    return (int64_t)((uint64_t)a * (uint64_t)b);
  default:
    return b == 0 || (b == -1 && a == INT64_MIN) ? 0 : a / b;
  }
}

static void binary_row(bl_float_op op, const bl_value *a, size_t at_a, size_t step_a,
                       const bl_value *b, size_t at_b, size_t step_b, bl_value *out, size_t at,
                       size_t count) {
  for (size_t k = 0; k < count; k++) {
    size_t i = at_a + k * step_a, j = at_b + k * step_b;
    if (op == BL_FLOAT_POW) {
      double x = pow(bl_at(a, i), bl_at(b, j));
      bl_put(out, at + k, x);
    } else if (out->type == BL_TYPE_FLOAT) {
      out->f[at + k] = bl_eval_pair(op, a->f[i], b->f[j]);
    } else {
      out->i[at + k] = integer_op(op, a->i[i], b->i[j]);
    }
    if (out->type == BL_TYPE_INT) out->i[at + k] = wrap_integer(out->element, out->i[at + k]);
  }
}

bl_status bl_eval_binary(const bl_eval *e) {
  const bl_value *a = bl_eval_in(e, 0), *b = bl_eval_in(e, 1);
  bl_value *out = bl_eval_out(e, 0);
  size_t sa[BL_MAX_RANK] = {0}, sb[BL_MAX_RANK] = {0}, row = 1, at = 0;
  int64_t index[BL_MAX_RANK] = {0};
  if (out->count == 0) return BL_OK;
  bl_eval_broadcast_strides(a, out, sa);
  bl_eval_broadcast_strides(b, out, sb);
  if (out->rank > 0) row = (size_t)out->dims[out->rank - 1];
  size_t last = out->rank > 0 ? out->rank - 1 : 0;
  do {
    binary_row(e->node->op, a, bl_eval_offset_of(index, sa, out->rank), sa[last], b,
               bl_eval_offset_of(index, sb, out->rank), sb[last], out, at, row);
    at += row;
  } while (bl_eval_next_row(out, index));
  return BL_OK;
}

// ---- Unary
// ---------------------------------------------------------------------------------------

static float unary(bl_float_op op, float x) {
  switch (op) {
  case BL_FLOAT_RELU:
    return x > 0 ? x : 0;
  case BL_FLOAT_SIGMOID:
    return 1 / (1 + expf(-x));
  case BL_FLOAT_TANH:
    return tanhf(x);
  default:
    return x > 0 ? 1.0f : x < 0 ? -1.0f : 0.0f;
  }
}

static int64_t unary_integer(bl_float_op op, int64_t x) {
  if (op == BL_FLOAT_RELU) return x > 0 ? x : 0;
  return (x > 0) - (x < 0);
}

bl_status bl_eval_unary(const bl_eval *e) {
  const bl_value *in = bl_eval_in(e, 0);
  bl_value *out = bl_eval_out(e, 0);
  for (size_t k = 0; k < out->count; k++)
    if (out->type == BL_TYPE_FLOAT)
      out->f[k] = unary(e->node->op, in->f[k]);
    else
      out->i[k] = unary_integer(e->node->op, in->i[k]);
  return BL_OK;
}

bl_status bl_eval_clip(const bl_eval *e) {
  const bl_value *in = bl_eval_in(e, 0), *low = bl_eval_in(e, 1), *high = bl_eval_in(e, 2);
  bl_value *out = bl_eval_out(e, 0);
  double lo = (double)bl_node_float(e->node, "min", -INFINITY);
  double hi = (double)bl_node_float(e->node, "max", INFINITY);
  if (low != NULL && low->count > 0) lo = bl_at(low, 0);
  if (high != NULL && high->count > 0) hi = bl_at(high, 0);
  for (size_t k = 0; k < out->count; k++) {
    double x = bl_at(in, k);
    x = x < lo ? lo : x;
    bl_put(out, k, x > hi ? hi : x);
  }
  return BL_OK;
}

// ---- Cast
// ----------------------------------------------------------------------------------------

// The nearest value with `bits` bits of mantissa and exponents from `least` up, ties to even.
static float round_mantissa(float x, int bits, int least, float largest) {
  int exponent;
  if (!isfinite(x) || x == 0) return x;
  (void)frexpf(x, &exponent);
  if (exponent < least) exponent = least;
  float unit = ldexpf(1.0f, exponent - bits), y = rintf(x / unit) * unit;
  return fabsf(y) > largest ? copysignf(INFINITY, x) : y;
}

bl_status bl_eval_cast(const bl_eval *e) {
  const bl_value *in = bl_eval_in(e, 0);
  bl_value *out = bl_eval_out(e, 0);
  for (size_t k = 0; k < out->count; k++) {
    if (out->type == BL_TYPE_INT) {
      double x = bl_at(in, k);
      int64_t i = in->type == BL_TYPE_INT ? in->i[k] : bl_to_int(x);
      out->i[k] = out->element == ONNX_BOOL ? x != 0 : wrap_integer(out->element, i);
      continue;
    }
    float x = (float)bl_at(in, k);
    if (out->element == ONNX_FLOAT16) x = round_mantissa(x, 11, -13, 65504.0f);
    if (out->element == ONNX_BFLOAT16) x = round_mantissa(x, 8, -125, 3.3895314e38f);
    out->f[k] = x;
  }
  return BL_OK;
}

// ---- Normalisation and softmax
// -------------------------------------------------------------------

bl_status bl_eval_batch_norm(const bl_eval *e) {
  const bl_value *in = bl_eval_in(e, 0), *gamma = bl_eval_in(e, 1), *beta = bl_eval_in(e, 2);
  const bl_value *mean = bl_eval_in(e, 3), *variance = bl_eval_in(e, 4);
  bl_value *out = bl_eval_out(e, 0);
  double epsilon = (double)bl_node_float(e->node, "epsilon", 1e-5f);
  size_t channels = (size_t)in->dims[1], plane = 1;
  for (uint32_t k = 2; k < in->rank; k++)
    plane *= (size_t)in->dims[k];
  for (size_t k = 0; k < out->count; k++) {
    size_t c = k / plane % channels;
    double x = ((double)in->f[k] - (double)mean->f[c]) / sqrt((double)variance->f[c] + epsilon);
    out->f[k] = (float)(x * (double)gamma->f[c] + (double)beta->f[c]);
  }
  return BL_OK;
}

static void softmax_line(const float *in, float *out, size_t count, size_t stride) {
  double sum = 0;
  float top = -INFINITY;
  for (size_t k = 0; k < count; k++)
    top = fmaxf(top, in[k * stride]);
  for (size_t k = 0; k < count; k++)
    sum += exp((double)(in[k * stride] - top));
  for (size_t k = 0; k < count; k++)
    out[k * stride] = (float)(exp((double)(in[k * stride] - top)) / sum);
}

// Before opset 13 the axes from `axis` on are one.
bl_status bl_eval_softmax(const bl_eval *e) {
  const bl_value *in = bl_eval_in(e, 0);
  bl_value *out = bl_eval_out(e, 0);
  bool flat = e->graph->opset < 13;
  int64_t axis = bl_node_int(e->node, "axis", flat ? 1 : -1);
  if (axis < 0) axis += in->rank;
  if (axis < 0 || axis >= in->rank || in->type != BL_TYPE_FLOAT)
    return bl_eval_fail(e, BL_ERR_FORMAT, "bad axis");
  size_t count = 1, stride = 1;
  for (uint32_t k = (uint32_t)axis; k < in->rank; k++) {
    if (flat || k == axis)
      count *= (size_t)in->dims[k];
    else
      stride *= (size_t)in->dims[k];
  }
  for (size_t block = 0; count > 0 && block < in->count / (count * stride); block++)
    for (size_t s = 0; s < stride; s++)
      softmax_line(in->f + block * count * stride + s, out->f + block * count * stride + s, count,
                   stride);
  return BL_OK;
}
