// SPDX-License-Identifier: Apache-2.0
// Quantisation, and the operators that work on integers: ONNX's, and QONNX's.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "host/float/eval_internal.h"

// ---- Quantisers
// ----------------------------------------------------------------------------------

// Index of the scale for element k: one scale, or one along `axis`.
static size_t scale_index(const bl_eval *e, const bl_value *in, const bl_value *scale, size_t k) {
  if (scale->count == 1) return 0;
  int64_t axis = bl_node_int(e->node, "axis", 1);
  if (axis < 0) axis += in->rank;
  size_t inner = 1;
  for (uint32_t j = (uint32_t)axis + 1; j < in->rank; j++)
    inner *= (size_t)in->dims[j];
  return k / inner % scale->count;
}

static bool quantized_range(int32_t element, double *lo, double *hi) {
  bool wide = element == ONNX_UINT16 || element == ONNX_INT16;
  bool is_signed = element == ONNX_INT8 || element == ONNX_INT16;
  *lo = !is_signed ? 0 : wide ? -32768 : -128;
  *hi = *lo + (wide ? 65535 : 255);
  return wide || element == ONNX_INT8 || element == ONNX_UINT8;
}

bl_status bl_eval_quantize(const bl_eval *e) {
  const bl_value *in = bl_eval_in(e, 0), *scale = bl_eval_in(e, 1), *zero = bl_eval_in(e, 2);
  bl_value *out = bl_eval_out(e, 0);
  double lo, hi;
  if (!quantized_range(out->element, &lo, &hi))
    return bl_eval_fail(e, BL_ERR_UNSUPPORTED, "its output is not of 8 or 16 bits");
  for (size_t k = 0; k < out->count; k++) {
    size_t s = scale_index(e, in, scale, k);
    double q = rint((double)(in->f[k] / scale->f[s])) + (zero != NULL ? bl_at(zero, s) : 0);
    q = q < lo ? lo : q;
    bl_put(out, k, q > hi ? hi : q);
  }
  return BL_OK;
}

bl_status bl_eval_dequantize(const bl_eval *e) {
  const bl_value *in = bl_eval_in(e, 0), *scale = bl_eval_in(e, 1), *zero = bl_eval_in(e, 2);
  bl_value *out = bl_eval_out(e, 0);
  for (size_t k = 0; k < out->count; k++) {
    size_t s = scale_index(e, in, scale, k);
    double zp = zero != NULL ? bl_at(zero, s) : 0;
    out->f[k] = (float)((bl_at(in, k) - zp) * (double)scale->f[s]);
  }
  return BL_OK;
}

bl_status bl_qonnx_range(const bl_float_graph *graph, const bl_node *node, double *lo, double *hi,
                         bl_error *err) {
  const bl_value *bits = bl_node_input(graph, node, 3);
  double b = bits != NULL && bits->f != NULL && bits->count == 1 ? (double)bits->f[0] : 0;
  bool is_signed = bl_node_int(node, "signed", 1) != 0,
       narrow = bl_node_int(node, "narrow", 0) != 0;
  if (b != rint(b) || b < 1 || b > 32)
    return bl_fail(err, BL_ERR_UNSUPPORTED, "node %s: a bit width of %g", node->name, b);
  double full = ldexp(1.0, (int)b - (is_signed ? 1 : 0));
  *lo = is_signed ? -full + (narrow ? 1 : 0) : 0;
  *hi = full - 1 - (!is_signed && narrow ? 1 : 0);
  return BL_OK;
}

static double round_by(const char *mode, double x) {
  if (strcmp(mode, "FLOOR") == 0) return floor(x);
  if (strcmp(mode, "CEIL") == 0) return ceil(x);
  if (strcmp(mode, "ROUND_TO_ZERO") == 0) return trunc(x);
  return rint(x);
}

double bl_qonnx_round(const bl_node *node, double x) {
  return round_by(bl_node_string(node, "rounding_mode", "ROUND"), x);
}

// round(x / scale + zero) without its lowest bits, by the rounding mode (down where it says
// nothing).
double bl_qonnx_trunc(const bl_float_graph *graph, const bl_node *node, double x) {
  double p[5];
  for (uint32_t k = 1; k < 5; k++)
    p[k] = (double)bl_node_input(graph, node, k)->f[0];
  double q = rint(x / p[1] + p[2]) / exp2(p[3] - p[4]);
  return round_by(bl_node_string(node, "rounding_mode", "FLOOR"), q);
}

bl_status bl_eval_quant(const bl_eval *e) {
  const bl_value *in = bl_eval_in(e, 0), *scale = bl_eval_in(e, 1), *zero = bl_eval_in(e, 2);
  bl_value *out = bl_eval_out(e, 0);
  bool bipolar = e->node->op == BL_FLOAT_BIPOLAR_QUANT;
  size_t ss[BL_MAX_RANK] = {0}, sz[BL_MAX_RANK] = {0}, at = 0;
  int64_t index[BL_MAX_RANK] = {0};
  double lo = 0, hi = 0;
  if (!bipolar) BL_TRY(bl_qonnx_range(e->graph, e->node, &lo, &hi, e->err));
  if (out->count == 0) return BL_OK;
  bl_eval_broadcast_strides(scale, out, ss);
  if (!bipolar) bl_eval_broadcast_strides(zero, out, sz);
  size_t last = out->rank > 0 ? out->rank - 1 : 0;
  size_t row = out->rank > 0 ? (size_t)out->dims[last] : 1;
  do {
    size_t s0 = bl_eval_offset_of(index, ss, out->rank),
           z0 = bl_eval_offset_of(index, sz, out->rank);
    for (size_t k = 0; k < row; k++, at++) {
      double s = (double)scale->f[s0 + k * ss[last]], x = (double)in->f[at];
      if (bipolar) {
        out->f[at] = (float)(x >= 0 ? s : -s);
        continue;
      }
      double z = (double)zero->f[z0 + k * sz[last]], q = x / s + z;
      q = bl_qonnx_round(e->node, q < lo ? lo : q > hi ? hi : q);
      out->f[at] = (float)((q - z) * s);
    }
  } while (bl_eval_next_row(out, index));
  return BL_OK;
}

bl_status bl_eval_trunc(const bl_eval *e) {
  const bl_value *in = bl_eval_in(e, 0), *scale = bl_eval_in(e, 1), *zero = bl_eval_in(e, 2);
  bl_value *out = bl_eval_out(e, 0);
  for (uint32_t k = 1; k < 5; k++)
    if (bl_eval_in(e, k)->count != 1)
      return bl_eval_fail(e, BL_ERR_UNSUPPORTED, "its parameters are not one number each");
  for (size_t k = 0; k < out->count; k++) {
    double q = bl_qonnx_trunc(e->graph, e->node, (double)in->f[k]);
    out->f[k] = (float)((q - (double)zero->f[0]) * (double)scale->f[0]);
  }
  return BL_OK;
}

bl_status bl_eval_multi_threshold(const bl_eval *e) {
  const bl_value *in = bl_eval_in(e, 0), *t = bl_eval_in(e, 1);
  bl_value *out = bl_eval_out(e, 0);
  bool last = strcmp(bl_node_string(e->node, "data_layout", "NCHW"), "NHWC") == 0;
  double scale = (double)bl_node_float(e->node, "out_scale", 1);
  double bias = (double)bl_node_float(e->node, "out_bias", 0);
  size_t inner = 1, levels = (size_t)t->dims[1], rows = (size_t)t->dims[0];
  for (uint32_t k = 2; !last && k < in->rank; k++)
    inner *= (size_t)in->dims[k];
  for (size_t k = 0; k < out->count; k++) {
    const float *row = t->f + k / inner % rows * levels;
    size_t reached = 0;
    while (reached < levels && in->f[k] >= row[reached])
      reached++;
    out->f[k] = (float)(scale * (double)reached + bias);
  }
  return BL_OK;
}

// ---- Dynamic quantisation
// ------------------------------------------------------------------------

bl_status bl_eval_dynamic_quantize(const bl_eval *e) {
  const bl_value *in = bl_eval_in(e, 0);
  bl_value *out = bl_eval_out(e, 0);
  float lo = 0, hi = 0;
  for (size_t k = 0; k < in->count; k++) {
    lo = fminf(lo, in->f[k]);
    hi = fmaxf(hi, in->f[k]);
  }
  float scale = hi > lo ? (hi - lo) / 255 : 1;
  double zero = rint((double)fminf(255, fmaxf(0, -lo / scale)));
  bl_eval_out(e, 1)->f[0] = scale;
  bl_eval_out(e, 2)->i[0] = (int64_t)zero;
  for (size_t k = 0; k < out->count; k++)
    bl_put(out, k, fmin(255, fmax(0, rint((double)(in->f[k] / scale)) + zero)));
  return BL_OK;
}

// ---- Integer convolution and product
// -------------------------------------------------------------

// The value of a scale or zero point for row or column `n`; `otherwise` where it is absent.
static double at_or(const bl_value *v, size_t n, double otherwise) {
  return v == NULL ? otherwise : bl_at(v, v->count == 1 ? 0 : n);
}

// The operands of the four integer operators, and what their results are made of.
typedef struct {
  const bl_value *x, *w, *x_zero, *w_zero, *x_scale, *w_scale, *y_scale, *y_zero, *bias;
} integer_node;

static integer_node integer_node_of(const bl_eval *e) {
  bl_float_op op = e->node->op;
  if (op == BL_FLOAT_CONV_INTEGER || op == BL_FLOAT_MATMUL_INTEGER)
    return (integer_node){.x = bl_eval_in(e, 0),
                          .w = bl_eval_in(e, 1),
                          .x_zero = bl_eval_in(e, 2),
                          .w_zero = bl_eval_in(e, 3)};
  return (integer_node){.x = bl_eval_in(e, 0),
                        .x_scale = bl_eval_in(e, 1),
                        .x_zero = bl_eval_in(e, 2),
                        .w = bl_eval_in(e, 3),
                        .w_scale = bl_eval_in(e, 4),
                        .w_zero = bl_eval_in(e, 5),
                        .y_scale = bl_eval_in(e, 6),
                        .y_zero = bl_eval_in(e, 7),
                        .bias = op == BL_FLOAT_QLINEAR_CONV ? bl_eval_in(e, 8) : NULL};
}

// Writes a sum: as it is, or requantised by the real scales of row and column, ties to even.
static void put_sum(const integer_node *o, bl_value *out, size_t at, size_t row, size_t column,
                    int64_t sum) {
  if (o->y_scale == NULL) {
    out->i[at] = (int32_t)sum;
    return;
  }
  double lo = out->element == ONNX_INT8 ? -128 : 0;
  double scale = at_or(o->x_scale, row, 1) * at_or(o->w_scale, column, 1) / at_or(o->y_scale, 0, 1);
  double q = rint((double)sum * scale) + at_or(o->y_zero, 0, 0);
  out->i[at] = (int64_t)fmin(lo + 255, fmax(lo, q));
}

// The sum of one window: output position `o` of channel `n` of image `image`.
static int64_t window_sum(const integer_node *op, const bl_window *w, size_t image, size_t n,
                          size_t groups, const int64_t o[3]) {
  const bl_value *x = op->x, *weights = op->w;
  size_t taps = 1, plane = 1, group_in = (size_t)weights->dims[1];
  for (uint32_t k = 0; k < w->rank; k++) {
    taps *= (size_t)w->kernel[k];
    plane *= (size_t)x->dims[k + 2];
  }
  size_t group = n / ((size_t)weights->dims[0] / groups);
  const int64_t *from = x->i + (image * (size_t)x->dims[1] + group * group_in) * plane;
  const int64_t *kernel = weights->i + n * group_in * taps;
  int64_t x_zero = (int64_t)at_or(op->x_zero, 0, 0), w_zero = (int64_t)at_or(op->w_zero, n, 0);
  int64_t sum = 0;
  for (size_t tap = 0; tap < taps; tap++) {
    size_t rest = tap;
    int64_t at = 0, step = 1;
    bool inside = true;
    for (uint32_t k = w->rank; k-- > 0;) {
      int64_t d = x->dims[k + 2], size = w->kernel[k];
      int64_t position =
          o[k] * w->stride[k] + (int64_t)(rest % (size_t)size) * w->dilation[k] - w->pad_begin[k];
      rest /= (size_t)size;
      inside = inside && position >= 0 && position < d;
      at += position * step;
      step *= d;
    }
    for (size_t c = 0; inside && c < group_in; c++)
      sum += (from[c * plane + (size_t)at] - x_zero) * (kernel[c * taps + tap] - w_zero);
  }
  return sum;
}

bl_status bl_eval_integer_conv(const bl_eval *e) {
  integer_node op = integer_node_of(e);
  bl_value *out = bl_eval_out(e, 0);
  bl_window w;
  BL_TRY(bl_node_window(e->graph, e->node, &w, e->err));
  size_t groups = (size_t)bl_node_int(e->node, "group", 1), plane = 1;
  size_t channels = (size_t)op.w->dims[0];
  for (uint32_t k = 0; k < w.rank; k++)
    plane *= (size_t)w.out[k];
  for (size_t at = 0; at < out->count; at++) {
    size_t n = at / plane % channels, rest = at % plane;
    int64_t o[3];
    for (uint32_t k = w.rank; k-- > 0;) {
      o[k] = (int64_t)(rest % (size_t)w.out[k]);
      rest /= (size_t)w.out[k];
    }
    int64_t sum = window_sum(&op, &w, at / plane / channels, n, groups, o);
    if (op.bias != NULL) sum += op.bias->i[n];
    put_sum(&op, out, at, 0, n, sum);
  }
  return BL_OK;
}

bl_status bl_eval_integer_matmul(const bl_eval *e) {
  integer_node op = integer_node_of(e);
  bl_value *out = bl_eval_out(e, 0);
  size_t m = (size_t)out->dims[out->rank - 2], n = (size_t)out->dims[out->rank - 1];
  size_t depth = (size_t)op.x->dims[op.x->rank - 1];
  for (size_t at = 0; at < out->count; at++) {
    size_t matrix = at / (m * n), row = at / n % m, column = at % n;
    const int64_t *a = op.x->i + bl_eval_matrix_offset(op.x, out, matrix) + row * depth;
    const int64_t *b = op.w->i + bl_eval_matrix_offset(op.w, out, matrix) + column;
    int64_t a_zero = (int64_t)at_or(op.x_zero, row, 0);
    int64_t b_zero = (int64_t)at_or(op.w_zero, column, 0), sum = 0;
    for (size_t k = 0; k < depth; k++)
      sum += (a[k] - a_zero) * (b[k * n] - b_zero);
    put_sum(&op, out, at, row, column, sum);
  }
  return BL_OK;
}
