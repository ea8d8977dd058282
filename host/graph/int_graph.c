// SPDX-License-Identifier: Apache-2.0
#include "host/graph/int_graph.h"

#include <math.h>
#include <stdlib.h>

enum { ACC_LIMIT_SHIFT = 47 };

int32_t bl_format_min(bl_format format) {
  switch (format.kind) {
  case BL_FORMAT_U:
    return 0;
  case BL_FORMAT_S:
    return -(1 << (format.bits - 1));
  case BL_FORMAT_B1:
    return -1;
  default:
    return INT32_MIN;
  }
}

int32_t bl_format_max(bl_format format) {
  switch (format.kind) {
  case BL_FORMAT_U:
    return (1 << format.bits) - 1;
  case BL_FORMAT_S:
    return (1 << (format.bits - 1)) - 1;
  case BL_FORMAT_B1:
    return 1;
  default:
    return INT32_MAX;
  }
}

const char *bl_format_name(bl_format format) {
  static const char *const names[3][9] = {
      {"u0", "u1", "u2", "u3", "u4", "u5", "u6", "u7", "u8"},
      {"s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8"},
      {"b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7", "b8"},
  };
  if (format.kind == BL_FORMAT_ACC) return "acc";
  return format.kind <= BL_FORMAT_B1 && format.bits <= 8 ? names[format.kind][format.bits] : "?";
}

size_t bl_int_elements(const bl_int_tensor *tensor) {
  return (size_t)tensor->h * tensor->w * tensor->c;
}

// Positions of a window of `kernel` (dilated) over `size` padded input positions.
static int64_t window_count(int64_t size, int64_t pads, int64_t kernel, int64_t dilation,
                            int64_t stride) {
  int64_t span = (kernel - 1) * dilation + 1;
  return size + pads < span ? 0 : (size + pads - span) / stride + 1;
}

static int64_t conv_h(const bl_int_graph *graph, const bl_int_layer *layer) {
  return window_count(graph->tensors[layer->input].h, (int64_t)layer->pad_top + layer->pad_bottom,
                      layer->kernel_h, layer->dilation_h, layer->stride_h);
}

static int64_t conv_w(const bl_int_graph *graph, const bl_int_layer *layer) {
  return window_count(graph->tensors[layer->input].w, (int64_t)layer->pad_left + layer->pad_right,
                      layer->kernel_w, layer->dilation_w, layer->stride_w);
}

void bl_int_conv_size(const bl_int_graph *graph, const bl_int_layer *layer, uint32_t *h,
                      uint32_t *w) {
  *h = (uint32_t)conv_h(graph, layer);
  *w = (uint32_t)conv_w(graph, layer);
}

static bool format_ok(bl_format format) {
  switch (format.kind) {
  case BL_FORMAT_U:
    return format.bits >= 1 && format.bits <= 8;
  case BL_FORMAT_S:
    return format.bits >= 2 && format.bits <= 8;
  case BL_FORMAT_B1:
    return format.bits == 1;
  case BL_FORMAT_ACC:
    return format.bits == 32;
  }
  return false;
}

static bl_status check_tensor(const bl_int_tensor *tensor, uint32_t index, bl_error *err) {
  const char *name = tensor->name == NULL ? "" : tensor->name;
  if (tensor->h < 1 || tensor->w < 1 || tensor->c < 1 || tensor->h > BL_INT_MAX_DIM ||
      tensor->w > BL_INT_MAX_DIM || tensor->c > BL_INT_MAX_DIM ||
      (uint64_t)tensor->h * tensor->w > BL_INT_MAX_ELEMENTS / tensor->c)
    return bl_fail(err, BL_ERR_RANGE, "tensor %u (%s): %u x %u x %u is empty or too large", index,
                   name, tensor->h, tensor->w, tensor->c);
  if (!format_ok(tensor->format))
    return bl_fail(err, BL_ERR_FORMAT, "tensor %u (%s): no such format", index, name);
  if (!isfinite(tensor->scale))
    return bl_fail(err, BL_ERR_FORMAT, "tensor %u (%s): its scale is not finite", index, name);
  if (tensor->zero_point < INT16_MIN || tensor->zero_point > INT16_MAX)
    return bl_fail(err, BL_ERR_RANGE, "tensor %u (%s): zero point %d is beyond 16 bits", index,
                   name, tensor->zero_point);
  return BL_OK;
}

static bl_status check_window(const bl_int_graph *graph, const bl_int_layer *layer, bl_error *err) {
  const uint32_t values[] = {layer->kernel_h,        layer->kernel_w,      layer->stride_h,
                             layer->stride_w,        layer->dilation_h,    layer->dilation_w,
                             layer->pool_h,          layer->pool_w,        layer->pool_stride_h,
                             layer->pool_stride_w,   layer->pad_top + 1u,  layer->pad_left + 1u,
                             layer->pad_bottom + 1u, layer->pad_right + 1u};
  for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
    if (values[i] < 1 || values[i] > BL_INT_MAX_KERNEL)
      return bl_fail(err, BL_ERR_RANGE, "layer %s: a kernel, stride, dilation or padding of %u",
                     layer->name, values[i]);
  const uint32_t pads[] = {layer->pool_pad_top, layer->pool_pad_bottom, layer->pool_pad_left,
                           layer->pool_pad_right};
  for (size_t i = 0; i < 4; i++)
    if (pads[i] >= (i < 2 ? layer->pool_h : layer->pool_w))
      return bl_fail(err, BL_ERR_RANGE, "layer %s: pooling padding %u is as large as the window",
                     layer->name, pads[i]);
  const bl_int_tensor *out = &graph->tensors[layer->output];
  int64_t ch = conv_h(graph, layer), cw = conv_w(graph, layer);
  int64_t oh = window_count(ch, (int64_t)layer->pool_pad_top + layer->pool_pad_bottom,
                            layer->pool_h, 1, layer->pool_stride_h);
  int64_t ow = window_count(cw, (int64_t)layer->pool_pad_left + layer->pool_pad_right,
                            layer->pool_w, 1, layer->pool_stride_w);
  if (ch < 1 || cw < 1 || oh != out->h || ow != out->w)
    return bl_fail(err, BL_ERR_FORMAT,
                   "layer %s: its windows give %lld x %lld, its output is %u x %u", layer->name,
                   (long long)oh, (long long)ow, out->h, out->w);
  return BL_OK;
}

// Elements of the layer's weights, or 0 when the counts do not fit together.
static uint64_t weight_count(const bl_int_graph *graph, const bl_int_layer *layer) {
  uint32_t in_c = graph->tensors[layer->input].c, out_c = graph->tensors[layer->output].c;
  if (layer->groups < 1 || in_c % layer->groups != 0 || out_c % layer->groups != 0) return 0;
  uint64_t taps = (uint64_t)layer->kernel_h * layer->kernel_w;
  uint64_t a = taps * (in_c / layer->groups);
  return a > BL_INT_MAX_ELEMENTS / out_c ? 0 : a * out_c;
}

static bl_status check_weights(const bl_int_graph *graph, const bl_int_layer *layer,
                               bl_error *err) {
  uint64_t count = weight_count(graph, layer);
  if (count == 0)
    return bl_fail(err, BL_ERR_FORMAT, "layer %s: channels, groups and kernel do not fit together",
                   layer->name);
  bl_format_kind kind = layer->weight_format.kind;
  if (!format_ok(layer->weight_format) || (kind != BL_FORMAT_S && kind != BL_FORMAT_B1))
    return bl_fail(err, BL_ERR_FORMAT, "layer %s: weights are %s, not b1 or s2..s8", layer->name,
                   bl_format_name(layer->weight_format));
  if (layer->weights == NULL)
    return bl_fail(err, BL_ERR_FORMAT, "layer %s: no weights", layer->name);
  int32_t lo = bl_format_min(layer->weight_format), hi = bl_format_max(layer->weight_format);
  for (uint64_t i = 0; i < count; i++) {
    int32_t w = layer->weights[i];
    if (w < lo || w > hi || (kind == BL_FORMAT_B1 && w == 0))
      return bl_fail(err, BL_ERR_RANGE, "layer %s: weight %llu is %d, not in %s", layer->name,
                     (unsigned long long)i, w, bl_format_name(layer->weight_format));
  }
  return BL_OK;
}

static bl_status check_requant(const bl_int_graph *graph, const bl_int_layer *layer,
                               bl_error *err) {
  const bl_int_tensor *out = &graph->tensors[layer->output];
  if (layer->mult == NULL || layer->bias == NULL || layer->shift == NULL)
    return bl_fail(err, BL_ERR_FORMAT, "layer %s: no mult, bias or shift", layer->name);
  const int64_t limit = (int64_t)1 << ACC_LIMIT_SHIFT;
  for (uint32_t n = 0; n < out->c; n++) {
    int64_t magnitude = llabs((long long)layer->mult[n]);
    if (magnitude < 1 << 15 || magnitude >= 1 << 16 || layer->shift[n] < 1 ||
        layer->shift[n] > 47 || layer->bias[n] < -limit || layer->bias[n] >= limit)
      return bl_fail(err, BL_ERR_RANGE,
                     "layer %s channel %u: mult %d, bias %lld or shift %u is out of range",
                     layer->name, n, layer->mult[n], (long long)layer->bias[n], layer->shift[n]);
  }
  if (out->format.kind == BL_FORMAT_B1) return BL_OK;
  if (layer->lo > layer->hi || layer->lo < bl_format_min(out->format) ||
      layer->hi > bl_format_max(out->format))
    return bl_fail(err, BL_ERR_RANGE, "layer %s: clamp %d..%d does not lie in %s", layer->name,
                   layer->lo, layer->hi, bl_format_name(out->format));
  return BL_OK;
}

static bl_status check_accumulators(const bl_int_graph *graph, const bl_int_layer *layer,
                                    bl_error *err) {
  if (layer->pool_h != 1 || layer->pool_w != 1 || layer->pool_stride_h != 1 ||
      layer->pool_stride_w != 1)
    return bl_fail(err, BL_ERR_FORMAT, "layer %s: pooling of accumulators", layer->name);
  for (uint32_t n = 0; n < graph->tensors[layer->output].c; n++)
    if (layer->out_scale == NULL || layer->out_bias == NULL || !isfinite(layer->out_scale[n]) ||
        !isfinite(layer->out_bias[n]))
      return bl_fail(err, BL_ERR_FORMAT, "layer %s channel %u: no finite output scale and bias",
                     layer->name, n);
  return BL_OK;
}

static bl_status check_layer(const bl_int_graph *graph, uint32_t index, bl_error *err) {
  const bl_int_layer *layer = &graph->layers[index];
  if (layer->name == NULL) return bl_fail(err, BL_ERR_FORMAT, "layer %u: no name", index);
  if (layer->input >= graph->tensor_count || layer->output >= graph->tensor_count ||
      layer->output == 0)
    return bl_fail(err, BL_ERR_FORMAT, "layer %s: no such tensor", layer->name);
  if (graph->tensors[layer->input].format.kind == BL_FORMAT_ACC)
    return bl_fail(err, BL_ERR_FORMAT, "layer %s: reads accumulators", layer->name);
  bl_format in = graph->tensors[layer->input].format;
  bool padded = layer->pad_top || layer->pad_left || layer->pad_bottom || layer->pad_right;
  if (layer->pad_value < bl_format_min(in) || layer->pad_value > bl_format_max(in) ||
      (in.kind == BL_FORMAT_B1 && padded && layer->pad_value == 0))
    return bl_fail(err, BL_ERR_RANGE, "layer %s: padding value %d is not in %s", layer->name,
                   layer->pad_value, bl_format_name(in));
  BL_TRY(check_window(graph, layer, err));
  BL_TRY(check_weights(graph, layer, err));
  if (graph->tensors[layer->output].format.kind == BL_FORMAT_ACC)
    return check_accumulators(graph, layer, err);
  return check_requant(graph, layer, err);
}

// Tensor 0 is given; every other tensor is made once, before it is read.
static bl_status check_order(const bl_int_graph *graph, bl_error *err) {
  bool made[BL_INT_MAX_TENSORS] = {true};
  for (uint32_t i = 0; i < graph->layer_count; i++) {
    const bl_int_layer *layer = &graph->layers[i];
    BL_TRY(check_layer(graph, i, err));
    if (!made[layer->input])
      return bl_fail(err, BL_ERR_FORMAT, "layer %s: reads tensor %u before it is made", layer->name,
                     layer->input);
    if (made[layer->output])
      return bl_fail(err, BL_ERR_FORMAT, "layer %s: tensor %u is made twice", layer->name,
                     layer->output);
    made[layer->output] = true;
  }
  for (uint32_t t = 0; t < graph->tensor_count; t++)
    if (!made[t]) return bl_fail(err, BL_ERR_FORMAT, "tensor %u is never made", t);
  return BL_OK;
}

bl_status bl_int_check(const bl_int_graph *graph, bl_error *err) {
  if (graph->tensor_count < 1 || graph->tensor_count > BL_INT_MAX_TENSORS ||
      graph->layer_count != graph->tensor_count - 1)
    return bl_fail(err, BL_ERR_FORMAT, "integer graph: %u tensors and %u layers",
                   graph->tensor_count, graph->layer_count);
  for (uint32_t t = 0; t < graph->tensor_count; t++)
    BL_TRY(check_tensor(&graph->tensors[t], t, err));
  if (graph->tensors[0].format.kind == BL_FORMAT_ACC)
    return bl_fail(err, BL_ERR_FORMAT, "integer graph: its input holds accumulators");
  if (graph->output >= graph->tensor_count)
    return bl_fail(err, BL_ERR_FORMAT, "integer graph: no output tensor %u", graph->output);
  return check_order(graph, err);
}
