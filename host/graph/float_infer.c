// SPDX-License-Identifier: Apache-2.0
// Shape and type inference, operator by operator, as the ONNX operator specifications state it.
#include <string.h>

#include "host/graph/infer_internal.h"

static const int64_t MAX_TAPS = (int64_t)1 << 32;

bl_status bl_infer_fault(const bl_node *node, bl_status status, const char *what, bl_error *err) {
  return bl_fail(err, status, "node %s (%s): %s", node->name, bl_float_op_name(node->op), what);
}

bl_value *bl_infer_output(bl_float_graph *graph, const bl_node *node, uint32_t index) {
  return index < node->output_count && node->outputs[index] >= 0
             ? &graph->values[node->outputs[index]]
             : NULL;
}

static bool is_float_element(int32_t element) {
  return element == ONNX_FLOAT || element == ONNX_FLOAT16 || element == ONNX_DOUBLE ||
         element == ONNX_BFLOAT16 ||
         (element >= ONNX_FLOAT8E4M3FN && element <= ONNX_FLOAT8E5M2FNUZ);
}

void bl_infer_type(bl_value *out, int32_t element) {
  out->element = element;
  out->type = is_float_element(element) ? BL_TYPE_FLOAT : BL_TYPE_INT;
}

bl_status bl_infer_same(bl_float_graph *graph, const bl_node *node, const bl_value *in,
                        bl_error *err) {
  bl_value *out = bl_infer_output(graph, node, 0);
  bl_infer_type(out, in->element);
  return bl_value_shape(out, in->rank, in->dims, err);
}

int64_t bl_infer_axis(int64_t axis, uint32_t rank) {
  return axis < 0 ? axis + rank : axis;
}

// The integers of an operand that became an input in a later opset: input `index` or attribute
// `name`; *count is 0 where there is neither. NULL data with *count > 0 cannot happen.
static bl_status operand_ints(const bl_float_graph *graph, const bl_node *node, uint32_t index,
                              const char *name, const int64_t **ints, size_t *count,
                              bl_error *err) {
  const bl_value *v = bl_node_input(graph, node, index);
  const bl_attribute *a = bl_node_attribute(node, name);
  *ints = NULL;
  *count = 0;
  if (v != NULL) {
    if (v->i == NULL)
      return bl_infer_fault(node, BL_ERR_UNSUPPORTED, "its shape operand is not a constant", err);
    *ints = v->i;
    *count = v->count;
  } else if (a != NULL) {
    *ints = a->ints;
    *count = a->int_count;
  }
  return BL_OK;
}

// ---- Windows
// -------------------------------------------------------------------------------------

static bl_status window_ints(const bl_node *node, const char *name, uint32_t rank, int64_t least,
                             int64_t *out, bl_error *err) {
  const bl_attribute *a = bl_node_attribute(node, name);
  if (a == NULL) return BL_OK;
  if (a->int_count != rank)
    return bl_infer_fault(node, BL_ERR_FORMAT, "an attribute has the wrong length", err);
  for (uint32_t k = 0; k < rank; k++) {
    if (a->ints[k] < least || a->ints[k] > 65535)
      return bl_infer_fault(node, BL_ERR_RANGE,
                            "a kernel, stride, dilation or padding is out of range", err);
    out[k] = a->ints[k];
  }
  return BL_OK;
}

static bl_status window_pads(const bl_node *node, bl_window *w, bl_error *err) {
  int64_t pads[6] = {0};
  BL_TRY(window_ints(node, "pads", 2 * w->rank, 0, pads, err));
  for (uint32_t k = 0; k < w->rank; k++) {
    w->pad_begin[k] = pads[k];
    w->pad_end[k] = pads[w->rank + k];
  }
  return BL_OK;
}

static void window_axis(const bl_node *node, bl_window *w, uint32_t k, int64_t in) {
  const char *mode = bl_node_string(node, "auto_pad", "NOTSET");
  int64_t span = (w->kernel[k] - 1) * w->dilation[k] + 1;
  if (strcmp(mode, "SAME_UPPER") == 0 || strcmp(mode, "SAME_LOWER") == 0) {
    w->out[k] = (in + w->stride[k] - 1) / w->stride[k];
    int64_t pad = (w->out[k] - 1) * w->stride[k] + span - in;
    if (pad < 0) pad = 0;
    w->pad_begin[k] = strcmp(mode, "SAME_LOWER") == 0 ? (pad + 1) / 2 : pad / 2;
    w->pad_end[k] = pad - w->pad_begin[k];
    return;
  }
  if (strcmp(mode, "VALID") == 0) w->pad_begin[k] = w->pad_end[k] = 0;
  int64_t room = in + w->pad_begin[k] + w->pad_end[k] - span;
  bool ceil_mode = bl_node_int(node, "ceil_mode", 0) != 0;
  w->out[k] = room < 0 ? 0 : (room + (ceil_mode ? w->stride[k] - 1 : 0)) / w->stride[k] + 1;
  // a window that would start in the padding at the end does not count
  if (ceil_mode && (w->out[k] - 1) * w->stride[k] >= in + w->pad_begin[k]) w->out[k]--;
}

const bl_value *bl_node_weights(const bl_float_graph *graph, const bl_node *node) {
  switch (node->op) {
  case BL_FLOAT_CONV:
  case BL_FLOAT_CONV_INTEGER:
  case BL_FLOAT_GEMM:
  case BL_FLOAT_MATMUL:
  case BL_FLOAT_MATMUL_INTEGER:
    return bl_node_input(graph, node, 1);
  case BL_FLOAT_QLINEAR_CONV:
  case BL_FLOAT_QLINEAR_MATMUL:
    return bl_node_input(graph, node, 3);
  default:
    return NULL;
  }
}

bl_status bl_node_window(const bl_float_graph *graph, const bl_node *node, bl_window *w,
                         bl_error *err) {
  const bl_value *in = bl_node_input(graph, node, 0), *weights = bl_node_weights(graph, node);
  if (in == NULL || in->rank < 3 || in->rank > 5)
    return bl_infer_fault(node, BL_ERR_UNSUPPORTED, "its input has not 1 to 3 spatial dimensions",
                          err);
  *w = (bl_window){.rank = in->rank - 2};
  for (uint32_t k = 0; k < w->rank; k++) {
    w->stride[k] = w->dilation[k] = 1;
    if (weights != NULL && weights->rank == in->rank) w->kernel[k] = weights->dims[k + 2];
    if (node->op == BL_FLOAT_GLOBAL_AVERAGE_POOL || node->op == BL_FLOAT_GLOBAL_MAX_POOL)
      w->kernel[k] = in->dims[k + 2];
  }
  BL_TRY(window_ints(node, "kernel_shape", w->rank, 1, w->kernel, err));
  BL_TRY(window_ints(node, "strides", w->rank, 1, w->stride, err));
  BL_TRY(window_ints(node, "dilations", w->rank, 1, w->dilation, err));
  BL_TRY(window_pads(node, w, err));
  for (uint32_t k = 0; k < w->rank; k++) {
    if (w->kernel[k] < 1) return bl_infer_fault(node, BL_ERR_FORMAT, "it has no kernel size", err);
    window_axis(node, w, k, in->dims[k + 2]);
    if (w->out[k] < 1)
      return bl_infer_fault(node, BL_ERR_FORMAT, "its window is larger than its input", err);
  }
  return BL_OK;
}

// Pooling goes over every tap of every window: an absurd kernel must not take for ever.
static bl_status check_work(const bl_node *node, const bl_value *in, const bl_window *w,
                            bl_error *err) {
  double work = (double)in->dims[0] * (double)in->dims[1];
  for (uint32_t k = 0; k < w->rank; k++)
    work *= (double)w->kernel[k] * (double)w->out[k];
  if (work > (double)MAX_TAPS)
    return bl_infer_fault(node, BL_ERR_RANGE, "its windows have too many positions", err);
  return BL_OK;
}

static bl_status infer_pool(bl_float_graph *graph, const bl_node *node, bl_error *err) {
  const bl_value *in = bl_node_input(graph, node, 0);
  bl_window w;
  BL_TRY(bl_node_window(graph, node, &w, err));
  BL_TRY(check_work(node, in, &w, err));
  int64_t dims[BL_MAX_RANK] = {in->dims[0], in->dims[1]};
  for (uint32_t k = 0; k < w.rank; k++)
    dims[k + 2] = w.out[k];
  bl_value *out = bl_infer_output(graph, node, 0), *indices = bl_infer_output(graph, node, 1);
  bl_infer_type(out, in->element);
  if (indices != NULL) {
    bl_infer_type(indices, ONNX_INT64);
    BL_TRY(bl_value_shape(indices, in->rank, dims, err));
  }
  return bl_value_shape(out, in->rank, dims, err);
}

bl_status bl_infer_convolution(bl_float_graph *graph, const bl_node *node, const bl_value *bias,
                               int32_t element, bl_error *err) {
  const bl_value *in = bl_node_input(graph, node, 0), *weights = bl_node_weights(graph, node);
  bl_window w;
  BL_TRY(bl_node_window(graph, node, &w, err));
  int64_t groups = bl_node_int(node, "group", 1);
  if (weights == NULL || weights->rank != in->rank || groups < 1 ||
      weights->dims[1] > BL_FLOAT_MAX_ELEMENTS / groups ||
      weights->dims[1] * groups != in->dims[1] || weights->dims[0] % groups != 0)
    return bl_infer_fault(node, BL_ERR_FORMAT, "weights, groups and input channels do not fit",
                          err);
  int64_t dims[BL_MAX_RANK] = {in->dims[0], weights->dims[0]};
  for (uint32_t k = 0; k < w.rank; k++) {
    if (weights->dims[k + 2] != w.kernel[k])
      return bl_infer_fault(node, BL_ERR_FORMAT, "kernel_shape is not that of the weights", err);
    dims[k + 2] = w.out[k];
  }
  if (bias != NULL && bias->count != (size_t)weights->dims[0])
    return bl_infer_fault(node, BL_ERR_FORMAT, "its bias has the wrong length", err);
  bl_value *out = bl_infer_output(graph, node, 0);
  bl_infer_type(out, element);
  return bl_value_shape(out, in->rank, dims, err);
}

static bl_status infer_conv(bl_float_graph *graph, const bl_node *node, bl_error *err) {
  return bl_infer_convolution(graph, node, bl_node_input(graph, node, 2),
                              bl_node_input(graph, node, 0)->element, err);
}

// ---- Arithmetic
// ------------------------------------------------------------------------------------

bl_status bl_infer_broadcast(const bl_node *node, const bl_value *a, const bl_value *b,
                             uint32_t skip, int64_t *dims, uint32_t *rank, bl_error *err) {
  *rank = a->rank > b->rank ? a->rank : b->rank;
  for (uint32_t k = 0; k < *rank - skip; k++) {
    uint32_t from_end = *rank - k;
    int64_t x = from_end <= a->rank ? a->dims[a->rank - from_end] : 1;
    int64_t y = from_end <= b->rank ? b->dims[b->rank - from_end] : 1;
    if (x != y && x != 1 && y != 1)
      return bl_infer_fault(node, BL_ERR_FORMAT, "shapes do not broadcast", err);
    dims[k] = x == 1 ? y : x;
  }
  return BL_OK;
}

static bl_status infer_binary(bl_float_graph *graph, const bl_node *node, bl_error *err) {
  const bl_value *a = bl_node_input(graph, node, 0), *b = bl_node_input(graph, node, 1);
  if (b == NULL) return bl_infer_fault(node, BL_ERR_FORMAT, "its second input is missing", err);
  bl_value *out = bl_infer_output(graph, node, 0);
  int64_t dims[BL_MAX_RANK];
  uint32_t rank;
  BL_TRY(bl_infer_broadcast(node, a, b, 0, dims, &rank, err));
  bl_infer_type(out, a->element);
  if (node->op != BL_FLOAT_POW && a->type != b->type)
    return bl_infer_fault(node, BL_ERR_FORMAT, "its inputs have different types", err);
  return bl_value_shape(out, rank, dims, err);
}

static bl_status infer_gemm(bl_float_graph *graph, const bl_node *node, bl_error *err) {
  const bl_value *a = bl_node_input(graph, node, 0), *b = bl_node_input(graph, node, 1);
  const bl_value *c = bl_node_input(graph, node, 2);
  if (b == NULL || a->rank != 2 || b->rank != 2)
    return bl_infer_fault(node, BL_ERR_FORMAT, "its operands are not matrices", err);
  bool ta = bl_node_int(node, "transA", 0) != 0, tb = bl_node_int(node, "transB", 0) != 0;
  if (a->dims[ta ? 0 : 1] != b->dims[tb ? 1 : 0])
    return bl_infer_fault(node, BL_ERR_FORMAT, "its operands do not fit", err);
  const int64_t dims[2] = {a->dims[ta ? 1 : 0], b->dims[tb ? 0 : 1]};
  for (uint32_t k = 0; c != NULL && k < c->rank; k++)
    if (c->rank > 2 || (c->dims[c->rank - 1 - k] != 1 && c->dims[c->rank - 1 - k] != dims[1 - k]))
      return bl_infer_fault(node, BL_ERR_FORMAT, "C does not broadcast", err);
  bl_value *out = bl_infer_output(graph, node, 0);
  bl_infer_type(out, a->element);
  return bl_value_shape(out, 2, dims, err);
}

bl_status bl_infer_product(bl_float_graph *graph, const bl_node *node, const bl_value *a,
                           const bl_value *b, int32_t element, bl_error *err) {
  if (b == NULL || a->rank < 2 || b->rank < 2)
    return bl_infer_fault(node, BL_ERR_UNSUPPORTED, "its operands are not matrices", err);
  if (a->dims[a->rank - 1] != b->dims[b->rank - 2])
    return bl_infer_fault(node, BL_ERR_FORMAT, "its operands do not fit", err);
  int64_t dims[BL_MAX_RANK];
  uint32_t rank;
  BL_TRY(bl_infer_broadcast(node, a, b, 2, dims, &rank, err));
  dims[rank - 2] = a->dims[a->rank - 2];
  dims[rank - 1] = b->dims[b->rank - 1];
  bl_value *out = bl_infer_output(graph, node, 0);
  bl_infer_type(out, element);
  return bl_value_shape(out, rank, dims, err);
}

static bl_status infer_matmul(bl_float_graph *graph, const bl_node *node, bl_error *err) {
  const bl_value *a = bl_node_input(graph, node, 0);
  return bl_infer_product(graph, node, a, bl_node_input(graph, node, 1), a->element, err);
}

static bl_status infer_batch_norm(bl_float_graph *graph, const bl_node *node, bl_error *err) {
  const bl_value *in = bl_node_input(graph, node, 0);
  if (in->rank < 2) return bl_infer_fault(node, BL_ERR_FORMAT, "its input has no channels", err);
  if (bl_node_int(node, "training_mode", 0) != 0 || node->output_count > 1)
    return bl_infer_fault(node, BL_ERR_UNSUPPORTED,
                          "training mode is not supported; export for inference", err);
  for (uint32_t k = 1; k < 5; k++) {
    const bl_value *v = bl_node_input(graph, node, k);
    if (v == NULL || v->count != (size_t)in->dims[1])
      return bl_infer_fault(node, BL_ERR_FORMAT,
                            "scale, bias, mean and variance need a value a channel", err);
  }
  return bl_infer_same(graph, node, in, err);
}

// ---- Shapes

static bl_status infer_reshape(bl_float_graph *graph, const bl_node *node, bl_error *err) {
  const bl_value *in = bl_node_input(graph, node, 0);
  const int64_t *wanted;
  size_t rank;
  BL_TRY(operand_ints(graph, node, 1, "shape", &wanted, &rank, err));
  if (rank > BL_MAX_RANK) return bl_infer_fault(node, BL_ERR_RANGE, "its rank is too large", err);
  bool allow_zero = bl_node_int(node, "allowzero", 0) != 0;
  int64_t dims[BL_MAX_RANK];
  size_t known = 1, open = rank;
  for (size_t k = 0; k < rank; k++) {
    dims[k] = wanted[k];
    if (dims[k] == 0 && !allow_zero) {
      if (k >= in->rank)
        return bl_infer_fault(node, BL_ERR_FORMAT, "a zero copies a dimension that is not there",
                              err);
      dims[k] = in->dims[k];
    }
    if (dims[k] == -1 && open == rank)
      open = k;
    else if (dims[k] < 0 || dims[k] > BL_FLOAT_MAX_ELEMENTS)
      return bl_infer_fault(node, BL_ERR_FORMAT, "its shape has a bad dimension", err);
    else if (known > 0 && (size_t)dims[k] > BL_FLOAT_MAX_ELEMENTS / known)
      return bl_infer_fault(node, BL_ERR_RANGE, "its shape is too large", err);
    else
      known *= (size_t)dims[k];
  }
  if (open < rank) {
    if (known == 0 || in->count % known != 0)
      return bl_infer_fault(node, BL_ERR_FORMAT, "its shape does not divide the input", err);
    dims[open] = (int64_t)(in->count / known);
    known *= in->count / known;
  }
  if (known != in->count)
    return bl_infer_fault(node, BL_ERR_FORMAT, "its shape has another number of elements", err);
  bl_value *out = bl_infer_output(graph, node, 0);
  bl_infer_type(out, in->element);
  return bl_value_shape(out, (uint32_t)rank, dims, err);
}

static bl_status infer_flatten(bl_float_graph *graph, const bl_node *node, bl_error *err) {
  const bl_value *in = bl_node_input(graph, node, 0);
  int64_t axis = bl_infer_axis(bl_node_int(node, "axis", 1), in->rank);
  if (axis < 0 || axis > in->rank) return bl_infer_fault(node, BL_ERR_FORMAT, "bad axis", err);
  int64_t dims[2] = {1, 1};
  for (uint32_t k = 0; k < in->rank; k++)
    dims[k < axis ? 0 : 1] *= in->dims[k];
  bl_value *out = bl_infer_output(graph, node, 0);
  bl_infer_type(out, in->element);
  return bl_value_shape(out, 2, dims, err);
}

static bl_status infer_transpose(bl_float_graph *graph, const bl_node *node, bl_error *err) {
  const bl_value *in = bl_node_input(graph, node, 0);
  const bl_attribute *perm = bl_node_attribute(node, "perm");
  int64_t dims[BL_MAX_RANK];
  unsigned seen = 0;
  if (perm != NULL && perm->int_count != in->rank)
    return bl_infer_fault(node, BL_ERR_FORMAT, "bad perm", err);
  for (uint32_t k = 0; k < in->rank; k++) {
    int64_t from = perm != NULL ? perm->ints[k] : (int64_t)in->rank - 1 - k;
    if (from < 0 || from >= in->rank || (seen >> from & 1u) != 0)
      return bl_infer_fault(node, BL_ERR_FORMAT, "bad perm", err);
    seen |= 1u << from;
    dims[k] = in->dims[from];
  }
  bl_value *out = bl_infer_output(graph, node, 0);
  bl_infer_type(out, in->element);
  return bl_value_shape(out, in->rank, dims, err);
}

static bl_status axes_mask(const bl_node *node, const int64_t *axes, size_t count, uint32_t rank,
                           unsigned *mask, bl_error *err) {
  *mask = 0;
  for (size_t k = 0; k < count; k++) {
    int64_t axis = bl_infer_axis(axes[k], rank);
    if (axis < 0 || axis >= rank || (*mask >> axis & 1u) != 0)
      return bl_infer_fault(node, BL_ERR_FORMAT, "bad axes", err);
    *mask |= 1u << axis;
  }
  return BL_OK;
}

static bl_status infer_squeeze(bl_float_graph *graph, const bl_node *node, bl_error *err) {
  const bl_value *in = bl_node_input(graph, node, 0);
  const int64_t *axes;
  size_t count;
  unsigned mask;
  BL_TRY(operand_ints(graph, node, 1, "axes", &axes, &count, err));
  BL_TRY(axes_mask(node, axes, count, in->rank, &mask, err));
  int64_t dims[BL_MAX_RANK];
  uint32_t rank = 0;
  for (uint32_t k = 0; k < in->rank; k++) {
    bool out = axes == NULL ? in->dims[k] == 1 : (mask >> k & 1u) != 0;
    if (out && in->dims[k] != 1)
      return bl_infer_fault(node, BL_ERR_FORMAT, "a squeezed dimension is not 1", err);
    if (!out) dims[rank++] = in->dims[k];
  }
  bl_value *out = bl_infer_output(graph, node, 0);
  bl_infer_type(out, in->element);
  return bl_value_shape(out, rank, dims, err);
}

static bl_status infer_unsqueeze(bl_float_graph *graph, const bl_node *node, bl_error *err) {
  const bl_value *in = bl_node_input(graph, node, 0);
  const int64_t *axes;
  size_t count;
  unsigned mask;
  BL_TRY(operand_ints(graph, node, 1, "axes", &axes, &count, err));
  if (in->rank + count > BL_MAX_RANK)
    return bl_infer_fault(node, BL_ERR_RANGE, "its rank is too large", err);
  uint32_t rank = in->rank + (uint32_t)count;
  BL_TRY(axes_mask(node, axes, count, rank, &mask, err));
  int64_t dims[BL_MAX_RANK];
  for (uint32_t k = 0, from = 0; k < rank; k++)
    dims[k] = (mask >> k & 1u) != 0 ? 1 : in->dims[from++];
  bl_value *out = bl_infer_output(graph, node, 0);
  bl_infer_type(out, in->element);
  return bl_value_shape(out, rank, dims, err);
}

static bl_status infer_concat(bl_float_graph *graph, const bl_node *node, bl_error *err) {
  const bl_value *first = bl_node_input(graph, node, 0);
  int64_t axis = bl_infer_axis(bl_node_int(node, "axis", 1), first->rank), dims[BL_MAX_RANK];
  if (axis < 0 || axis >= first->rank) return bl_infer_fault(node, BL_ERR_FORMAT, "bad axis", err);
  memcpy(dims, first->dims, sizeof dims);
  dims[axis] = 0;
  for (uint32_t n = 0; n < node->input_count; n++) {
    const bl_value *v = bl_node_input(graph, node, n);
    if (v == NULL || v->rank != first->rank || v->type != first->type)
      return bl_infer_fault(node, BL_ERR_FORMAT, "its inputs do not fit", err);
    for (uint32_t k = 0; k < v->rank; k++)
      if (k != axis && v->dims[k] != dims[k])
        return bl_infer_fault(node, BL_ERR_FORMAT, "its inputs do not fit", err);
    dims[axis] += v->dims[axis];
  }
  bl_value *out = bl_infer_output(graph, node, 0);
  bl_infer_type(out, first->element);
  return bl_value_shape(out, first->rank, dims, err);
}

static bl_status infer_gather(bl_float_graph *graph, const bl_node *node, bl_error *err) {
  const bl_value *in = bl_node_input(graph, node, 0), *index = bl_node_input(graph, node, 1);
  int64_t axis = bl_infer_axis(bl_node_int(node, "axis", 0), in->rank), dims[2 * BL_MAX_RANK];
  if (index == NULL || index->type != BL_TYPE_INT || axis < 0 || axis >= in->rank)
    return bl_infer_fault(node, BL_ERR_FORMAT, "bad axis or indices", err);
  uint32_t rank = 0;
  for (uint32_t k = 0; k < in->rank; k++) {
    if (k != axis) dims[rank++] = in->dims[k];
    for (uint32_t j = 0; k == axis && j < index->rank; j++)
      dims[rank++] = index->dims[j];
  }
  bl_value *out = bl_infer_output(graph, node, 0);
  bl_infer_type(out, in->element);
  return bl_value_shape(out, rank, dims, err);
}

static bl_status infer_pad(bl_float_graph *graph, const bl_node *node, bl_error *err) {
  const bl_value *in = bl_node_input(graph, node, 0);
  const int64_t *pads;
  size_t count;
  const char *name = bl_node_attribute(node, "paddings") != NULL ? "paddings" : "pads";
  BL_TRY(operand_ints(graph, node, 1, name, &pads, &count, err));
  if (count != 2 * (size_t)in->rank || bl_node_input(graph, node, 3) != NULL)
    return bl_infer_fault(node, BL_ERR_UNSUPPORTED, "it needs a begin and an end for each axis",
                          err);
  const char *mode = bl_node_string(node, "mode", "constant");
  bool reflect = strcmp(mode, "reflect") == 0;
  if (!reflect && strcmp(mode, "constant") != 0 && strcmp(mode, "edge") != 0)
    return bl_infer_fault(node, BL_ERR_UNSUPPORTED, "its mode is not constant, reflect or edge",
                          err);
  int64_t dims[BL_MAX_RANK];
  for (uint32_t k = 0; k < in->rank; k++) {
    int64_t before = pads[k], after = pads[in->rank + k];
    if (before < -in->dims[k] || after < -in->dims[k] || before > 1 << 20 || after > 1 << 20 ||
        (mode[0] != 'c' && in->dims[k] == 0) ||
        (reflect && (before >= in->dims[k] || after >= in->dims[k])))
      return bl_infer_fault(node, BL_ERR_RANGE, "its padding is out of range", err);
    dims[k] = in->dims[k] + before + after;
  }
  bl_value *out = bl_infer_output(graph, node, 0);
  bl_infer_type(out, in->element);
  return bl_value_shape(out, in->rank, dims, err);
}

int64_t bl_slice_step(int64_t step) {
  const int64_t most = 2 * (int64_t)BL_FLOAT_MAX_ELEMENTS;
  return step > most ? most : step < -most ? -most : step;
}

static bl_status infer_slice(bl_float_graph *graph, const bl_node *node, bl_error *err) {
  const bl_value *in = bl_node_input(graph, node, 0);
  const int64_t *starts, *ends, *axes, *steps;
  size_t n, m, axis_count, step_count;
  BL_TRY(operand_ints(graph, node, 1, "starts", &starts, &n, err));
  BL_TRY(operand_ints(graph, node, 2, "ends", &ends, &m, err));
  BL_TRY(operand_ints(graph, node, 3, "axes", &axes, &axis_count, err));
  BL_TRY(operand_ints(graph, node, 4, "steps", &steps, &step_count, err));
  if (n != m || n > in->rank || (axes != NULL && axis_count != n) ||
      (steps != NULL && step_count != n))
    return bl_infer_fault(node, BL_ERR_FORMAT, "starts, ends, axes and steps do not fit", err);
  int64_t dims[BL_MAX_RANK];
  unsigned seen = 0;
  memcpy(dims, in->dims, sizeof dims);
  for (size_t k = 0; k < n; k++) {
    int64_t axis = bl_infer_axis(axes != NULL ? axes[k] : (int64_t)k, in->rank);
    int64_t step = steps != NULL ? steps[k] : 1;
    if (axis < 0 || axis >= in->rank || step == 0 || (seen >> axis & 1u) != 0)
      return bl_infer_fault(node, BL_ERR_FORMAT, "bad axis or step", err);
    seen |= 1u << axis;
    step = bl_slice_step(step);
    int64_t d = in->dims[axis], lo = step > 0 ? 0 : -1, hi = step > 0 ? d : d - 1;
    int64_t start = starts[k] < 0 ? starts[k] + d : starts[k];
    int64_t end = ends[k] < -d ? lo : ends[k] < 0 ? ends[k] + d : ends[k];
    start = start < (step > 0 ? 0 : -1) ? (step > 0 ? 0 : -1) : start > hi ? hi : start;
    end = end < lo ? lo : end > d ? d : end;
    int64_t by = step > 0 ? step : -step, span = step > 0 ? end - start : start - end;
    int64_t length = (span + by - 1) / by;
    dims[axis] = length > 0 ? length : 0;
  }
  bl_value *out = bl_infer_output(graph, node, 0);
  bl_infer_type(out, in->element);
  return bl_value_shape(out, in->rank, dims, err);
}

static bl_status infer_shape(bl_float_graph *graph, const bl_node *node, bl_error *err) {
  const bl_value *in = bl_node_input(graph, node, 0);
  int64_t rank = in->rank, start = bl_node_int(node, "start", 0),
          end = bl_node_int(node, "end", rank);
  start = start < -rank ? 0 : start < 0 ? start + rank : start > rank ? rank : start;
  end = end < -rank ? 0 : end < 0 ? end + rank : end > rank ? rank : end;
  const int64_t dims[1] = {end > start ? end - start : 0};
  bl_value *out = bl_infer_output(graph, node, 0);
  bl_infer_type(out, ONNX_INT64);
  return bl_value_shape(out, 1, dims, err);
}

static bl_status infer_dropout(bl_float_graph *graph, const bl_node *node, bl_error *err) {
  const bl_value *in = bl_node_input(graph, node, 0), *mode = bl_node_input(graph, node, 2);
  if (mode != NULL && (mode->i == NULL || (mode->count > 0 && mode->i[0] != 0)))
    return bl_infer_fault(node, BL_ERR_UNSUPPORTED, "training mode is not supported", err);
  bl_value *mask = bl_infer_output(graph, node, 1);
  if (mask != NULL) {
    bl_infer_type(mask, graph->opset >= 10 ? 9 : in->element);
    BL_TRY(bl_value_shape(mask, in->rank, in->dims, err));
  }
  return bl_infer_same(graph, node, in, err);
}

static bl_status infer_softmax(bl_float_graph *graph, const bl_node *node, bl_error *err) {
  const bl_value *in = bl_node_input(graph, node, 0);
  int64_t axis = bl_infer_axis(bl_node_int(node, "axis", graph->opset < 13 ? 1 : -1), in->rank);
  if (axis < 0 || axis >= in->rank) return bl_infer_fault(node, BL_ERR_FORMAT, "bad axis", err);
  return bl_infer_same(graph, node, in, err);
}

static bl_status infer_cast(bl_float_graph *graph, const bl_node *node, bl_error *err) {
  int64_t to = bl_node_int(node, "to", 0);
  if (to < 1 || to > 16 || to == 8 || to == 14 || to == 15)
    return bl_infer_fault(node, BL_ERR_UNSUPPORTED, "it casts to a type that is not a number", err);
  const bl_value *in = bl_node_input(graph, node, 0);
  bl_value *out = bl_infer_output(graph, node, 0);
  bl_infer_type(out, (int32_t)to);
  return bl_value_shape(out, in->rank, in->dims, err);
}

static bl_status infer_constant(bl_float_graph *graph, const bl_node *node, bl_error *err) {
  const bl_attribute *value = bl_node_attribute(node, "value");
  bl_value *out = bl_infer_output(graph, node, 0);
  if (value != NULL && value->tensor >= 0)
    return bl_infer_same(graph, node, &graph->values[value->tensor], err);
  const bl_attribute *a = node->attribute_count == 1 ? &node->attributes[0] : NULL;
  if (a == NULL || strncmp(a->name, "value_", 6) != 0 || strcmp(a->name, "value_string") == 0 ||
      strcmp(a->name, "value_strings") == 0)
    return bl_infer_fault(node, BL_ERR_UNSUPPORTED, "it holds no tensor or number", err);
  bool list = strcmp(a->name, "value_ints") == 0 || strcmp(a->name, "value_floats") == 0;
  bool is_float = strncmp(a->name, "value_float", 11) == 0;
  const int64_t dims[1] = {(int64_t)(is_float ? a->float_count : a->int_count)};
  bl_infer_type(out, is_float ? ONNX_FLOAT : ONNX_INT64);
  return bl_value_shape(out, list ? 1 : 0, dims, err);
}

static bl_status infer_resize(bl_float_graph *graph, const bl_node *node, bl_error *err) {
  bl_resize r;
  BL_TRY(bl_node_resize(graph, node, &r, err));
  bl_value *out = bl_infer_output(graph, node, 0);
  bl_infer_type(out, bl_node_input(graph, node, 0)->element);
  return bl_value_shape(out, r.rank, r.out, err);
}

// Inputs that must be floats, a bit each.
static bl_status check_types(const bl_float_graph *graph, const bl_node *node, bl_error *err) {
  static const uint8_t floats[BL_FLOAT_OP_COUNT] = {[BL_FLOAT_CONV] = 7,
                                                    [BL_FLOAT_GEMM] = 7,
                                                    [BL_FLOAT_MATMUL] = 3,
                                                    [BL_FLOAT_SOFTMAX] = 1,
                                                    [BL_FLOAT_BATCH_NORM] = 31,
                                                    [BL_FLOAT_QUANT] = 15,
                                                    [BL_FLOAT_SIGMOID] = 1,
                                                    [BL_FLOAT_BIPOLAR_QUANT] = 3,
                                                    [BL_FLOAT_TANH] = 1,
                                                    [BL_FLOAT_QUANTIZE] = 3,
                                                    [BL_FLOAT_DEQUANTIZE] = 2,
                                                    [BL_FLOAT_ELU] = 1,
                                                    [BL_FLOAT_ERF] = 1,
                                                    [BL_FLOAT_GELU] = 1,
                                                    [BL_FLOAT_HARD_SIGMOID] = 1,
                                                    [BL_FLOAT_HARD_SWISH] = 1,
                                                    [BL_FLOAT_LEAKY_RELU] = 1,
                                                    [BL_FLOAT_SOFTPLUS] = 1,
                                                    [BL_FLOAT_TRUNC] = 31,
                                                    [BL_FLOAT_MULTI_THRESHOLD] = 3,
                                                    [BL_FLOAT_DYNAMIC_QUANTIZE] = 1};
  for (uint32_t k = 0; k < 5; k++) {
    const bl_value *v = bl_node_input(graph, node, k);
    if (v != NULL && (floats[node->op] >> k & 1u) != 0 && v->type != BL_TYPE_FLOAT)
      return bl_infer_fault(node, BL_ERR_UNSUPPORTED, "one of its inputs must be of a float type",
                            err);
  }
  return BL_OK;
}

bl_status bl_float_infer(bl_float_graph *graph, const bl_node *node, bl_error *err) {
  if (node->output_count < 1 || node->outputs[0] < 0)
    return bl_infer_fault(node, BL_ERR_FORMAT, "it has no output", err);
  const bl_value *in = bl_node_input(graph, node, 0);
  if (in == NULL && node->op != BL_FLOAT_CONSTANT)
    return bl_infer_fault(node, BL_ERR_FORMAT, "its first input is missing", err);
  BL_TRY(check_types(graph, node, err));
  static bl_status (*const rules[BL_FLOAT_OP_COUNT])(bl_float_graph *, const bl_node *,
                                                     bl_error *) = {
      [BL_FLOAT_ADD] = infer_binary,
      [BL_FLOAT_SUB] = infer_binary,
      [BL_FLOAT_MUL] = infer_binary,
      [BL_FLOAT_DIV] = infer_binary,
      [BL_FLOAT_POW] = infer_binary,
      [BL_FLOAT_CONV] = infer_conv,
      [BL_FLOAT_AVERAGE_POOL] = infer_pool,
      [BL_FLOAT_MAX_POOL] = infer_pool,
      [BL_FLOAT_GLOBAL_AVERAGE_POOL] = infer_pool,
      [BL_FLOAT_GLOBAL_MAX_POOL] = infer_pool,
      [BL_FLOAT_BATCH_NORM] = infer_batch_norm,
      [BL_FLOAT_GEMM] = infer_gemm,
      [BL_FLOAT_MATMUL] = infer_matmul,
      [BL_FLOAT_RESHAPE] = infer_reshape,
      [BL_FLOAT_FLATTEN] = infer_flatten,
      [BL_FLOAT_TRANSPOSE] = infer_transpose,
      [BL_FLOAT_SQUEEZE] = infer_squeeze,
      [BL_FLOAT_UNSQUEEZE] = infer_unsqueeze,
      [BL_FLOAT_CONCAT] = infer_concat,
      [BL_FLOAT_GATHER] = infer_gather,
      [BL_FLOAT_PAD] = infer_pad,
      [BL_FLOAT_SLICE] = infer_slice,
      [BL_FLOAT_SHAPE] = infer_shape,
      [BL_FLOAT_DROPOUT] = infer_dropout,
      [BL_FLOAT_QUANTIZE] = bl_infer_quantize,
      [BL_FLOAT_DEQUANTIZE] = bl_infer_quantize,
      [BL_FLOAT_DYNAMIC_QUANTIZE] = bl_infer_dynamic_quantize,
      [BL_FLOAT_QLINEAR_CONV] = bl_infer_integer,
      [BL_FLOAT_QLINEAR_MATMUL] = bl_infer_integer,
      [BL_FLOAT_CONV_INTEGER] = bl_infer_integer,
      [BL_FLOAT_MATMUL_INTEGER] = bl_infer_integer,
      [BL_FLOAT_QUANT] = bl_infer_qonnx,
      [BL_FLOAT_BIPOLAR_QUANT] = bl_infer_qonnx,
      [BL_FLOAT_TRUNC] = bl_infer_qonnx,
      [BL_FLOAT_MULTI_THRESHOLD] = bl_infer_multi_threshold,
      [BL_FLOAT_CAST] = infer_cast,
      [BL_FLOAT_SOFTMAX] = infer_softmax,
      [BL_FLOAT_CONSTANT] = infer_constant,
      [BL_FLOAT_RESIZE] = infer_resize,
      [BL_FLOAT_UPSAMPLE] = infer_resize,
  };
  if (rules[node->op] != NULL) return rules[node->op](graph, node, err);
  return bl_infer_same(graph, node, in, err);
}
