// SPDX-License-Identifier: Apache-2.0
// Shape and type rules of the operators that quantise, or that work on integers.
#include <string.h>

#include "host/graph/infer_internal.h"

bl_status bl_infer_quantize(bl_float_graph *graph, const bl_node *node, bl_error *err) {
  const bl_value *in = bl_node_input(graph, node, 0), *scale = bl_node_input(graph, node, 1);
  const bl_value *zero = bl_node_input(graph, node, 2);
  int64_t axis = bl_infer_axis(bl_node_int(node, "axis", 1), in->rank);
  if (scale == NULL || (scale->count != 1 &&
                        (axis < 0 || axis >= in->rank || scale->count != (size_t)in->dims[axis])))
    return bl_infer_fault(node, BL_ERR_FORMAT, "its scale does not fit", err);
  if (zero != NULL && zero->count != scale->count)
    return bl_infer_fault(node, BL_ERR_FORMAT, "its zero point does not fit", err);
  bool floats = node->op == BL_FLOAT_DEQUANTIZE && in->type == BL_TYPE_FLOAT; // of 8 bits
  if (zero != NULL && zero->type != BL_TYPE_INT && !floats)
    return bl_infer_fault(node, BL_ERR_UNSUPPORTED, "its zero point is not an integer", err);
  bl_value *out = bl_infer_output(graph, node, 0);
  bl_infer_type(out, node->op == BL_FLOAT_DEQUANTIZE ? ONNX_FLOAT
                     : zero != NULL                  ? zero->element
                                                     : ONNX_UINT8);
  return bl_value_shape(out, in->rank, in->dims, err);
}

bl_status bl_infer_qonnx(bl_float_graph *graph, const bl_node *node, bl_error *err) {
  const bl_value *in = bl_node_input(graph, node, 0);
  uint32_t wanted = node->op == BL_FLOAT_TRUNC ? 5 : node->op == BL_FLOAT_QUANT ? 4 : 2;
  for (uint32_t k = 1; k < wanted; k++) {
    const bl_value *v = bl_node_input(graph, node, k);
    if (v == NULL || v->f == NULL)
      return bl_infer_fault(node, BL_ERR_UNSUPPORTED,
                            "scale, zero point and bit width must be constants", err);
    int64_t dims[BL_MAX_RANK];
    uint32_t rank;
    BL_TRY(bl_infer_broadcast(node, in, v, 0, dims, &rank, err));
    if (rank != in->rank || memcmp(dims, in->dims, rank * sizeof *dims) != 0)
      return bl_infer_fault(node, BL_ERR_FORMAT, "its scale is larger than its input", err);
  }
  return bl_infer_same(graph, node, in, err);
}

bl_status bl_infer_dynamic_quantize(bl_float_graph *graph, const bl_node *node, bl_error *err) {
  const bl_value *in = bl_node_input(graph, node, 0);
  bl_value *out = bl_infer_output(graph, node, 0);
  bl_infer_type(out, ONNX_UINT8);
  BL_TRY(bl_value_shape(out, in->rank, in->dims, err));
  for (uint32_t k = 1; k < 3; k++) {
    bl_value *parameter = bl_infer_output(graph, node, k);
    if (parameter == NULL)
      return bl_infer_fault(node, BL_ERR_FORMAT, "its scale or zero point is not made", err);
    bl_infer_type(parameter, k == 1 ? ONNX_FLOAT : ONNX_UINT8);
    BL_TRY(bl_value_shape(parameter, 0, NULL, err));
  }
  return BL_OK;
}

// thresholds: [channels or 1][levels], rising along a row.
bl_status bl_infer_multi_threshold(bl_float_graph *graph, const bl_node *node, bl_error *err) {
  const bl_value *in = bl_node_input(graph, node, 0), *t = bl_node_input(graph, node, 1);
  const char *layout = bl_node_string(node, "data_layout", "NCHW");
  if (t == NULL || t->f == NULL || t->rank != 2 || t->dims[1] < 1 || in->rank < 2)
    return bl_infer_fault(node, BL_ERR_UNSUPPORTED, "its thresholds are not a constant matrix",
                          err);
  int64_t channels = strcmp(layout, "NHWC") == 0 ? in->dims[in->rank - 1] : in->dims[1];
  if (t->dims[0] != 1 && t->dims[0] != channels)
    return bl_infer_fault(node, BL_ERR_FORMAT, "its thresholds are not a row a channel", err);
  for (size_t k = 0; k < t->count; k++)
    if (!(t->f[k] == t->f[k]) || (k % (size_t)t->dims[1] > 0 && t->f[k] < t->f[k - 1]))
      return bl_infer_fault(node, BL_ERR_FORMAT, "its thresholds do not rise", err);
  return bl_infer_same(graph, node, in, err);
}

// A scale or zero point: absent where it may be, one number, or `count` of them.
static bool fits(const bl_value *v, bool may_lack, bl_float_type type, int64_t count) {
  if (v == NULL) return may_lack;
  return v->type == type && (v->count == 1 || v->count == (size_t)count);
}

// QLinearConv, QLinearMatMul (x, scale, zero, w, scale, zero, y scale, y zero[, bias]) and
// ConvInteger, MatMulInteger (x, w[, x zero[, w zero]]).
bl_status bl_infer_integer(bl_float_graph *graph, const bl_node *node, bl_error *err) {
  bool linear = node->op == BL_FLOAT_QLINEAR_CONV || node->op == BL_FLOAT_QLINEAR_MATMUL;
  bool conv = node->op == BL_FLOAT_QLINEAR_CONV || node->op == BL_FLOAT_CONV_INTEGER;
  const bl_value *x = bl_node_input(graph, node, 0), *w = bl_node_weights(graph, node);
  const bl_value *x_zero = bl_node_input(graph, node, 2);
  const bl_value *w_zero = bl_node_input(graph, node, linear ? 5 : 3);
  const bl_value *bias = conv && linear ? bl_node_input(graph, node, 8) : NULL;
  if (w == NULL || w->rank < 2 || x->rank < 2 || x->type != BL_TYPE_INT || w->type != BL_TYPE_INT)
    return bl_infer_fault(node, BL_ERR_FORMAT, "its operands are not integer tensors", err);
  int64_t rows = conv ? 1 : x->dims[x->rank - 2];
  int64_t columns = conv ? w->dims[0] : w->dims[w->rank - 1];
  bool ok = fits(x_zero, !linear, BL_TYPE_INT, rows) && fits(w_zero, !linear, BL_TYPE_INT, columns);
  int32_t element = ONNX_INT32;
  if (linear) {
    const bl_value *zero = bl_node_input(graph, node, 7);
    ok = ok && fits(bl_node_input(graph, node, 1), false, BL_TYPE_FLOAT, rows) &&
         fits(bl_node_input(graph, node, 4), false, BL_TYPE_FLOAT, columns) &&
         fits(bl_node_input(graph, node, 6), false, BL_TYPE_FLOAT, 1) &&
         fits(zero, false, BL_TYPE_INT, 1) && (bias == NULL || bias->type == BL_TYPE_INT);
    element = zero != NULL ? zero->element : 0;
  }
  if (!ok) return bl_infer_fault(node, BL_ERR_FORMAT, "its scales and zero points do not fit", err);
  return conv ? bl_infer_convolution(graph, node, bias, element, err)
              : bl_infer_product(graph, node, x, w, element, err);
}
