// SPDX-License-Identifier: Apache-2.0
// The check of an integer graph: everything that int_graph.h promises, so that nobody behind it has
// to look again.
#include <math.h>
#include <stdlib.h>

#include "host/graph/int_graph.h"

enum { ACC_LIMIT_SHIFT = 47, ADDEND_LIMIT = 1 << 24, MAX_RAISE = 24, MAX_STRIDE = 255 };

static bool format_ok(bl_format format) {
  switch (format.kind) {
  case BL_FORMAT_U:
    return format.bits >= 1 && format.bits <= 8;
  case BL_FORMAT_S:
    return format.bits >= 2 && format.bits <= 8;
  case BL_FORMAT_B:
    return format.bits >= 1 && format.bits <= 7;
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
  if (!format_ok(tensor->format) || (tensor->format.kind == BL_FORMAT_B && tensor->format.bits > 1))
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
  const bl_int_tensor *in = &graph->tensors[layer->input], *out = &graph->tensors[layer->output];
  if (layer->upsample && (in->h > BL_INT_MAX_DIM / 2 || in->w > BL_INT_MAX_DIM / 2))
    return bl_fail(err, BL_ERR_RANGE, "layer %s: %u x %u is too large to be up-sampled",
                   layer->name, in->h, in->w);
  uint32_t ch, cw;
  bl_int_conv_size(graph, layer, &ch, &cw);
  int64_t oh = bl_int_windows(ch, (int64_t)layer->pool_pad_top + layer->pool_pad_bottom,
                              layer->pool_h, 1, layer->pool_stride_h);
  int64_t ow = bl_int_windows(cw, (int64_t)layer->pool_pad_left + layer->pool_pad_right,
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

// Every codebook value is a weight's, every weight a codebook value.
static bl_status check_codebook(const bl_int_layer *layer, uint64_t count, bl_error *err) {
  if (layer->codebook == NULL) return BL_OK;
  bool known[256] = {false};
  int32_t lo = bl_format_min(layer->weight_format), hi = bl_format_max(layer->weight_format);
  if (layer->weight_format.kind != BL_FORMAT_S)
    return bl_fail(err, BL_ERR_FORMAT, "layer %s: a codebook of %s weights", layer->name,
                   bl_format_name(layer->weight_format));
  for (int i = 0; i < BL_INT_CODES; i++) {
    if (layer->codebook[i] < lo || layer->codebook[i] > hi)
      return bl_fail(err, BL_ERR_RANGE, "layer %s: code %d is %d, not in %s", layer->name, i,
                     layer->codebook[i], bl_format_name(layer->weight_format));
    known[(uint8_t)layer->codebook[i]] = true;
  }
  for (uint64_t i = 0; i < count; i++)
    if (!known[(uint8_t)layer->weights[i]])
      return bl_fail(err, BL_ERR_RANGE, "layer %s: weight %llu is %d, not in its codebook",
                     layer->name, (unsigned long long)i, layer->weights[i]);
  return BL_OK;
}

static bl_status check_weights(const bl_int_graph *graph, const bl_int_layer *layer,
                               bl_error *err) {
  uint64_t count = weight_count(graph, layer);
  if (count == 0)
    return bl_fail(err, BL_ERR_FORMAT, "layer %s: channels, groups and kernel do not fit together",
                   layer->name);
  bl_format_kind kind = layer->weight_format.kind;
  if (!format_ok(layer->weight_format) || (kind != BL_FORMAT_S && kind != BL_FORMAT_B))
    return bl_fail(err, BL_ERR_FORMAT, "layer %s: weights are %s, not b1..b7 or s2..s8",
                   layer->name, bl_format_name(layer->weight_format));
  if (layer->weights == NULL)
    return bl_fail(err, BL_ERR_FORMAT, "layer %s: no weights", layer->name);
  int32_t lo = bl_format_min(layer->weight_format), hi = bl_format_max(layer->weight_format);
  for (uint64_t i = 0; i < count; i++) {
    int32_t w = layer->weights[i];
    if (w < lo || w > hi || (kind == BL_FORMAT_B && w % 2 == 0))
      return bl_fail(err, BL_ERR_RANGE, "layer %s: weight %llu is %d, not in %s", layer->name,
                     (unsigned long long)i, w, bl_format_name(layer->weight_format));
  }
  return check_codebook(layer, count, err);
}

static bl_status check_addend(const bl_int_graph *graph, const bl_int_layer *layer, bl_error *err) {
  if (layer->addend_weight == NULL) {
    if (layer->raise == 0) return BL_OK;
    return bl_fail(err, BL_ERR_RANGE, "layer %s: a raise of %u without an addend", layer->name,
                   layer->raise);
  }
  uint32_t h, w;
  const uint32_t c = graph->tensors[layer->output].c;
  const uint32_t down = layer->project_h, across = layer->project_w;
  bl_int_conv_size(graph, layer, &h, &w);
  if (layer->addend >= graph->tensor_count)
    return bl_fail(err, BL_ERR_FORMAT, "layer %s: no such addend", layer->name);
  if (down > MAX_STRIDE || across > MAX_STRIDE || (down == 0) != (across == 0))
    return bl_fail(err, BL_ERR_RANGE, "layer %s: a projection of strides %u and %u", layer->name,
                   down, across);
  const bl_int_tensor *addend = &graph->tensors[layer->addend];
  const bool fits = down == 0
                        ? addend->h == h && addend->w == w && addend->c == c
                        : addend->h == (uint64_t)h * down && addend->w == (uint64_t)w * across;
  if (addend->format.kind == BL_FORMAT_ACC || !fits)
    return bl_fail(err, BL_ERR_FORMAT,
                   "layer %s: its addend is %u x %u x %u in %s, its convolution %u x %u x %u",
                   layer->name, addend->h, addend->w, addend->c, bl_format_name(addend->format), h,
                   w, c);
  if (layer->raise > MAX_RAISE)
    return bl_fail(err, BL_ERR_RANGE, "layer %s: a raise of %u, at most %d", layer->name,
                   layer->raise, MAX_RAISE);
  const size_t fan = bl_int_addend_fan(graph, layer);
  for (size_t k = 0; k < c * fan; k++)
    if (layer->addend_weight[k] <= -ADDEND_LIMIT || layer->addend_weight[k] >= ADDEND_LIMIT)
      return bl_fail(err, BL_ERR_RANGE, "layer %s channel %u: an addend weight of %d", layer->name,
                     (unsigned)(k / fan), layer->addend_weight[k]);
  return BL_OK;
}

// The clamp of a layer with a table gives an index: any s8 or any u8.
static bl_status check_table(const bl_int_tensor *out, const bl_int_layer *layer, bl_error *err) {
  if (out->format.kind == BL_FORMAT_B)
    return bl_fail(err, BL_ERR_FORMAT, "layer %s: a table for b1", layer->name);
  if (layer->lo > layer->hi || layer->lo < INT8_MIN || layer->hi > UINT8_MAX ||
      (layer->lo < 0 && layer->hi > INT8_MAX))
    return bl_fail(err, BL_ERR_RANGE, "layer %s: clamp %d..%d before a table is neither s8 nor u8",
                   layer->name, layer->lo, layer->hi);
  int32_t lo = bl_format_min(out->format), hi = bl_format_max(out->format);
  for (int i = 0; i < BL_INT_TABLE; i++)
    if (layer->table[i] < lo || layer->table[i] > hi)
      return bl_fail(err, BL_ERR_RANGE, "layer %s: table entry %d is %d, not in %s", layer->name, i,
                     layer->table[i], bl_format_name(out->format));
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
  if (layer->table != NULL) return check_table(out, layer, err);
  if (out->format.kind == BL_FORMAT_B) return BL_OK;
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
  if (layer->table != NULL)
    return bl_fail(err, BL_ERR_FORMAT, "layer %s: a table for accumulators", layer->name);
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
      (in.kind == BL_FORMAT_B && padded && layer->pad_value == 0))
    return bl_fail(err, BL_ERR_RANGE, "layer %s: padding value %d is not in %s", layer->name,
                   layer->pad_value, bl_format_name(in));
  BL_TRY(check_window(graph, layer, err));
  BL_TRY(check_weights(graph, layer, err));
  BL_TRY(check_addend(graph, layer, err));
  if (graph->tensors[layer->output].format.kind == BL_FORMAT_ACC)
    return check_accumulators(graph, layer, err);
  return check_requant(graph, layer, err);
}

static bl_status check_made(const bl_int_layer *layer, const bool *made, uint32_t tensor,
                            bl_error *err) {
  if (made[tensor]) return BL_OK;
  return bl_fail(err, BL_ERR_FORMAT, "layer %s: reads tensor %u before it is made", layer->name,
                 tensor);
}

// Tensor 0 is given; every other tensor is made once, before it is read: by its layer, or, a
// concatenation, by the last of its parts. missing[t]: channels of a concatenation that no layer
// has made yet.
static bl_status check_order(const bl_int_graph *graph, uint32_t *missing, bl_error *err) {
  bool made[BL_INT_MAX_TENSORS] = {true};
  for (uint32_t i = 0; i < graph->layer_count; i++) {
    const bl_int_layer *layer = &graph->layers[i];
    BL_TRY(check_layer(graph, i, err));
    BL_TRY(check_made(layer, made, layer->input, err));
    if (layer->addend_weight != NULL) BL_TRY(check_made(layer, made, layer->addend, err));
    if (made[layer->output] || missing[layer->output] > 0)
      return bl_fail(err, BL_ERR_FORMAT, "layer %s: tensor %u is made twice", layer->name,
                     layer->output);
    made[layer->output] = true;
    uint32_t parent = graph->tensors[layer->output].parent;
    if (parent == 0) continue;
    missing[parent] -= graph->tensors[layer->output].c;
    made[parent] = missing[parent] == 0;
  }
  for (uint32_t t = 0; t < graph->tensor_count; t++)
    if (!made[t]) return bl_fail(err, BL_ERR_FORMAT, "tensor %u is never made", t);
  return BL_OK;
}

static bl_status check_part(const bl_int_graph *graph, uint32_t index, bl_error *err) {
  const bl_int_tensor *part = &graph->tensors[index];
  if (part->parent == 0) {
    if (part->parent_channel == 0) return BL_OK;
    return bl_fail(err, BL_ERR_FORMAT, "tensor %u: a first channel of %u in no other tensor", index,
                   part->parent_channel);
  }
  if (part->parent >= graph->tensor_count || index == 0)
    return bl_fail(err, BL_ERR_FORMAT, "tensor %u: cannot be a part of tensor %u", index,
                   part->parent);
  const bl_int_tensor *parent = &graph->tensors[part->parent];
  if (parent->parent != 0 || part->h != parent->h || part->w != parent->w ||
      part->format.kind != parent->format.kind || part->format.bits != parent->format.bits ||
      part->format.kind == BL_FORMAT_ACC || part->zero_point != parent->zero_point ||
      part->scale < parent->scale || part->scale > parent->scale)
    return bl_fail(err, BL_ERR_FORMAT, "tensor %u: differs from tensor %u, which it is a part of",
                   index, part->parent);
  if (part->c > parent->c || part->parent_channel > parent->c - part->c)
    return bl_fail(err, BL_ERR_FORMAT, "tensor %u: channels %u.. lie outside tensor %u", index,
                   part->parent_channel, part->parent);
  return BL_OK;
}

typedef struct {
  uint32_t parent, first, end;
} extent;

static int by_place(const void *a, const void *b) {
  const extent *x = a, *y = b;
  if (x->parent != y->parent) return x->parent < y->parent ? -1 : 1;
  return x->first == y->first ? 0 : x->first < y->first ? -1 : 1;
}

// Parts side by side, from channel 0 to the last. missing[t] becomes a concatenation's channels.
static bl_status check_parts(const bl_int_graph *graph, uint32_t *missing, bl_error *err) {
  extent parts[BL_INT_MAX_TENSORS] = {{0}};
  uint32_t count = 0;
  for (uint32_t t = 0; t < graph->tensor_count; t++) {
    const bl_int_tensor *part = &graph->tensors[t];
    BL_TRY(check_part(graph, t, err));
    if (part->parent == 0) continue;
    parts[count++] = (extent){part->parent, part->parent_channel, part->parent_channel + part->c};
    missing[part->parent] = graph->tensors[part->parent].c;
  }
  qsort(parts, count, sizeof *parts, by_place);
  for (uint32_t i = 0; i < count; i++) {
    bool first = i == 0 || parts[i - 1].parent != parts[i].parent;
    bool last = i + 1 == count || parts[i + 1].parent != parts[i].parent;
    if (parts[i].first != (first ? 0 : parts[i - 1].end) ||
        (last && parts[i].end != graph->tensors[parts[i].parent].c))
      return bl_fail(err, BL_ERR_FORMAT, "tensor %u: its parts overlap or leave channels out",
                     parts[i].parent);
  }
  return BL_OK;
}

bl_status bl_int_check(const bl_int_graph *graph, bl_error *err) {
  uint32_t missing[BL_INT_MAX_TENSORS] = {0}, concatenations = 0;
  if (graph->tensor_count < 1 || graph->tensor_count > BL_INT_MAX_TENSORS)
    return bl_fail(err, BL_ERR_FORMAT, "integer graph: %u tensors", graph->tensor_count);
  for (uint32_t t = 0; t < graph->tensor_count; t++)
    BL_TRY(check_tensor(&graph->tensors[t], t, err));
  BL_TRY(check_parts(graph, missing, err));
  for (uint32_t t = 0; t < graph->tensor_count; t++)
    concatenations += missing[t] > 0;
  if (graph->layer_count >= graph->tensor_count ||
      graph->layer_count != graph->tensor_count - 1 - concatenations)
    return bl_fail(err, BL_ERR_FORMAT, "integer graph: %u tensors, %u layers, %u concatenations",
                   graph->tensor_count, graph->layer_count, concatenations);
  if (graph->tensors[0].format.kind == BL_FORMAT_ACC)
    return bl_fail(err, BL_ERR_FORMAT, "integer graph: its input holds accumulators");
  if (graph->output >= graph->tensor_count)
    return bl_fail(err, BL_ERR_FORMAT, "integer graph: no output tensor %u", graph->output);
  return check_order(graph, missing, err);
}
