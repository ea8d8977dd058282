// SPDX-License-Identifier: Apache-2.0
// One layer: padding and up-sampling, the product, the addition, the clamp, the quantiser, the
// table, the pooling.
#include <stddef.h>
#include <string.h>

#include "host/onnx/qdq_internal.h"

// A list of whole numbers as an operand.
static int32_t list(bl_qdq_export *ex, const int64_t *numbers, int64_t count) {
  bl_value *v = bl_qdq_constant(&ex->b, ONNX_INT64, 1, &count);
  if (v != NULL) memcpy(v->i, numbers, (size_t)count * sizeof *numbers);
  return bl_qdq_index(&ex->b, v);
}

// A tensor's real values as a map, also where it is a vector.
static int32_t as_map(bl_qdq_export *ex, uint32_t tensor) {
  static const int64_t axes[] = {2, 3};
  if (!bl_qdq_is_vector(&ex->graph->tensors[tensor])) return ex->real[tensor];
  return bl_qdq_node(&ex->b, BL_FLOAT_UNSQUEEZE, ex->real[tensor], list(ex, axes, 2), -1);
}

// [count], or for a map [1][count][1][1].
static bl_value *per_channel(bl_qdq_export *ex, uint32_t count, bool map) {
  const int64_t flat[] = {count}, wide[] = {1, count, 1, 1};
  return map ? bl_qdq_constant(&ex->b, ONNX_FLOAT, 4, wide)
             : bl_qdq_constant(&ex->b, ONNX_FLOAT, 1, flat);
}

// ---- The product

static bool pools(const bl_int_layer *l) {
  return l->pool_h != 1 || l->pool_w != 1 || l->pool_stride_h != 1 || l->pool_stride_w != 1;
}

// A kernel as large as the map, in one position.
static bool is_dense(const bl_int_graph *graph, const bl_int_layer *l) {
  const bl_int_tensor *in = &graph->tensors[l->input], *out = &graph->tensors[l->output];
  return l->groups == 1 && !l->upsample && l->kernel_h == in->h && l->kernel_w == in->w &&
         l->dilation_h == 1 && l->dilation_w == 1 &&
         l->pad_top + l->pad_left + l->pad_bottom + l->pad_right == 0 && l->project_h == 0 &&
         !pools(l) && bl_qdq_is_vector(out);
}

// Does the layer give its input's integers again, but for a clamp and a pooling?
static bool is_copy(const bl_int_graph *graph, const bl_int_layer *l) {
  const bl_int_tensor *in = &graph->tensors[l->input], *out = &graph->tensors[l->output];
  if (l->groups != in->c || in->c != out->c || l->kernel_h != 1 || l->kernel_w != 1 ||
      l->stride_h != 1 || l->stride_w != 1 || l->upsample || l->addend_weight != NULL ||
      l->pad_top + l->pad_left + l->pad_bottom + l->pad_right != 0 ||
      in->format.kind == BL_FORMAT_B || out->format.kind == BL_FORMAT_B ||
      out->format.kind == BL_FORMAT_ACC || l->table != NULL ||
      bl_qdq_scale(in) != bl_qdq_scale(out) || in->zero_point != out->zero_point)
    return false;
  for (uint32_t n = 0; n < out->c; n++)
    if (l->weights[n] != 1 || l->mult[n] != (int32_t)1 << 15 || l->shift[n] != 15 ||
        l->bias[n] >> 15 != -in->zero_point)
      return false;
  return true;
}

// Integers with a scale for each output channel, [channels][fan / taps][taps of the kernel], from
// the graph's [channels][taps][fan / taps].
static int32_t weights(bl_qdq_export *ex, const bl_int_layer *l, bool dense) {
  const bl_int_graph *g = ex->graph;
  const int64_t out = g->tensors[l->output].c, in = g->tensors[l->input].c / l->groups;
  const int64_t taps = (int64_t)l->kernel_h * l->kernel_w, scales = out;
  const int64_t dims[] = {out, dense ? in * taps : in, l->kernel_h, l->kernel_w};
  bl_value *q = bl_qdq_constant(&ex->b, ONNX_INT8, dense ? 2 : 4, dims);
  bl_value *s = bl_qdq_constant(&ex->b, ONNX_FLOAT, 1, &scales);
  if (q == NULL || s == NULL) return -1;
  for (int64_t n = 0; n < out; n++) {
    s->f[n] = (float)ex->channels[n].weight_scale;
    for (int64_t k = 0; k < in; k++)
      for (int64_t t = 0; t < taps; t++)
        q->i[(n * in + k) * taps + t] =
            ex->channels[n].zero ? 0 : l->weights[(n * taps + t) * in + k];
  }
  bl_qdq_int(&ex->b, "axis", 0);
  return bl_qdq_node(&ex->b, BL_FLOAT_DEQUANTIZE, bl_qdq_index(&ex->b, q), bl_qdq_index(&ex->b, s),
                     -1);
}

static int32_t upsample(bl_qdq_export *ex, int32_t x) {
  const int64_t count = 4;
  bl_value *scales = bl_qdq_constant(&ex->b, ONNX_FLOAT, 1, &count);
  for (int k = 0; scales != NULL && k < 4; k++)
    scales->f[k] = k < 2 ? 1 : 2;
  bl_qdq_string(&ex->b, "mode", "nearest");
  bl_qdq_string(&ex->b, "coordinate_transformation_mode", "asymmetric");
  bl_qdq_string(&ex->b, "nearest_mode", "floor");
  return bl_qdq_node(&ex->b, BL_FLOAT_RESIZE, x, -1, bl_qdq_index(&ex->b, scales));
}

// The input of a convolution, with what is not the real 0 around it.
static int32_t surround(bl_qdq_export *ex, const bl_int_layer *l, int32_t x) {
  const bl_int_tensor *in = &ex->graph->tensors[l->input];
  const int64_t pads[] = {0, 0, l->pad_top, l->pad_left, 0, 0, l->pad_bottom, l->pad_right};
  int32_t around = list(ex, pads, 8);
  double value = (l->pad_value - in->zero_point) * bl_qdq_scale(in);
  return bl_qdq_node(&ex->b, BL_FLOAT_PAD, x, around, bl_qdq_number(&ex->b, value));
}

static int32_t convolution(bl_qdq_export *ex, const bl_int_layer *l) {
  const bl_int_tensor *in = &ex->graph->tensors[l->input];
  bool padded = l->pad_top + l->pad_left + l->pad_bottom + l->pad_right > 0;
  bool zeros = l->pad_value == in->zero_point;
  int32_t x = as_map(ex, l->input);
  if (l->upsample) x = upsample(ex, x);
  if (padded && !zeros) x = surround(ex, l, x);
  int32_t w = weights(ex, l, false);
  const uint32_t kernel[] = {l->kernel_h, l->kernel_w}, strides[] = {l->stride_h, l->stride_w};
  const uint32_t dilations[] = {l->dilation_h, l->dilation_w};
  const uint32_t pads[] = {l->pad_top, l->pad_left, l->pad_bottom, l->pad_right};
  bl_qdq_ints(&ex->b, "kernel_shape", kernel, 2);
  bl_qdq_ints(&ex->b, "strides", strides, 2);
  bl_qdq_ints(&ex->b, "dilations", dilations, 2);
  bl_qdq_int(&ex->b, "group", l->groups);
  if (padded && zeros) bl_qdq_ints(&ex->b, "pads", pads, 4);
  return bl_qdq_node(&ex->b, BL_FLOAT_CONV, x, w, -1);
}

static int32_t dense(bl_qdq_export *ex, const bl_int_layer *l) {
  int32_t x = ex->real[l->input];
  if (!bl_qdq_is_vector(&ex->graph->tensors[l->input])) {
    bl_qdq_int(&ex->b, "axis", 1);
    x = bl_qdq_node(&ex->b, BL_FLOAT_FLATTEN, x, -1, -1);
  }
  int32_t w = weights(ex, l, true);
  bl_qdq_int(&ex->b, "transB", 1);
  return bl_qdq_node(&ex->b, BL_FLOAT_GEMM, x, w, -1);
}

// ---- The addition

// The power of two that all of a channel's projected weights have in common, at most 24.
static int common_shift(const int32_t *w, uint32_t count) {
  uint32_t all = (uint32_t)1 << 24;
  for (uint32_t k = 0; k < count; k++)
    all |= (uint32_t)w[k];
  int shift = 0;
  for (; (all & 1) == 0; all >>= 1)
    shift++;
  return shift;
}

// INT8 where they fit, else INT32, which DequantizeLinear takes too.
static int32_t projected_weights(bl_qdq_export *ex, const bl_int_layer *l) {
  const int64_t out = ex->graph->tensors[l->output].c, in = ex->graph->tensors[l->addend].c;
  const int64_t dims[] = {out, in, 1, 1};
  bl_value *q = bl_qdq_constant(&ex->b, ONNX_INT8, 4, dims);
  bl_value *s = bl_qdq_constant(&ex->b, ONNX_FLOAT, 1, &out);
  if (q == NULL || s == NULL) return -1;
  for (int64_t n = 0; n < out; n++) {
    const int32_t *w = l->addend_weight + n * in;
    const int32_t unit = (int32_t)1 << common_shift(w, (uint32_t)in);
    s->f[n] = (float)(ex->channels[n].projection * unit);
    if (!(s->f[n] > 0)) s->f[n] = 1;
    for (int64_t k = 0; k < in; k++) {
      int32_t v = ex->channels[n].zero ? 0 : w[k] / unit;
      q->i[n * in + k] = v;
      if (v < -128 || v > 127) q->element = ONNX_INT32;
    }
  }
  bl_qdq_int(&ex->b, "axis", 0);
  return bl_qdq_node(&ex->b, BL_FLOAT_DEQUANTIZE, bl_qdq_index(&ex->b, q), bl_qdq_index(&ex->b, s),
                     -1);
}

static int32_t projection(bl_qdq_export *ex, const bl_int_layer *l) {
  int32_t w = projected_weights(ex, l), x = as_map(ex, l->addend);
  const uint32_t kernel[] = {1, 1}, strides[] = {l->project_h, l->project_w};
  bl_qdq_ints(&ex->b, "kernel_shape", kernel, 2);
  bl_qdq_ints(&ex->b, "strides", strides, 2);
  return bl_qdq_node(&ex->b, BL_FLOAT_CONV, x, w, -1);
}

// Operands of a number for each channel: the field of each channel that lies `offset` bytes in it.
static int32_t constants(bl_qdq_export *ex, uint32_t channels, bool map, size_t offset,
                         bool *ones) {
  bl_value *v = per_channel(ex, channels, map);
  *ones = true;
  for (uint32_t n = 0; v != NULL && n < channels; n++) {
    double number;
    memcpy(&number, (const char *)&ex->channels[n] + offset, sizeof number);
    v->f[n] = (float)number;
    *ones = *ones && v->f[n] == 1;
  }
  return bl_qdq_index(&ex->b, v);
}

// x times a number for each channel, left out where all are 1.
static int32_t times(bl_qdq_export *ex, int32_t x, uint32_t channels, bool map, size_t offset) {
  bool ones;
  int32_t factor = constants(ex, channels, map, offset, &ones);
  return ones ? x : bl_qdq_node(&ex->b, BL_FLOAT_MUL, x, factor, -1);
}

// The bias is a node of its own: runtimes round what is an operand of the product to an integer at
// the scale of its sums, which is too coarse where sums are small.
static int32_t biased(bl_qdq_export *ex, int32_t x, uint32_t channels, bool map) {
  bool ones;
  int32_t bias = constants(ex, channels, map, offsetof(bl_qdq_channel, bias), &ones);
  return bl_qdq_node(&ex->b, BL_FLOAT_ADD, x, bias, -1);
}

static int32_t sum(bl_qdq_export *ex, const bl_int_layer *l, int32_t x, bool map) {
  const uint32_t channels = ex->graph->tensors[l->output].c;
  int32_t r;
  if (l->project_h > 0)
    r = projection(ex, l);
  else
    r = times(ex, map ? as_map(ex, l->addend) : ex->real[l->addend], channels, map,
              offsetof(bl_qdq_channel, addend));
  return bl_qdq_node(&ex->b, BL_FLOAT_ADD, x, r, -1);
}

// ---- What follows

static int32_t pool(bl_qdq_export *ex, const bl_int_layer *l, int32_t x) {
  const uint32_t kernel[] = {l->pool_h, l->pool_w};
  const uint32_t strides[] = {l->pool_stride_h, l->pool_stride_w};
  const uint32_t pads[] = {l->pool_pad_top, l->pool_pad_left, l->pool_pad_bottom,
                           l->pool_pad_right};
  bl_qdq_ints(&ex->b, "kernel_shape", kernel, 2);
  bl_qdq_ints(&ex->b, "strides", strides, 2);
  bl_qdq_ints(&ex->b, "pads", pads, 4);
  return bl_qdq_node(&ex->b, BL_FLOAT_MAX_POOL, x, -1, -1);
}

// The table's entry of an integer, as a real value: entries of negative integers count from the
// end, which is what its low 8 bits say.
static int32_t look_up(bl_qdq_export *ex, const bl_int_layer *l, int32_t x) {
  static const int64_t entries = BL_INT_TABLE;
  bl_qdq_builder *b = &ex->b;
  const bl_int_tensor *out = &ex->graph->tensors[l->output];
  const bl_qdq_carrier index = bl_qdq_carrier_of(l->lo < 0, 1, 0);
  int32_t q = bl_qdq_dequantise(ex, bl_qdq_quantise(ex, x, &index, l->lo, l->hi), &index);
  bl_qdq_int(b, "to", ONNX_INT32);
  q = bl_qdq_node(b, BL_FLOAT_CAST, q, -1, -1);
  bl_value *table = bl_qdq_constant(b, ONNX_FLOAT, 1, &entries);
  for (int k = 0; table != NULL && k < BL_INT_TABLE; k++)
    table->f[k] = (float)(bl_qdq_scale(out) * (l->table[k] - out->zero_point));
  bl_qdq_int(b, "axis", 0);
  return bl_qdq_node(b, BL_FLOAT_GATHER, bl_qdq_index(b, table), q, -1);
}

// Clip, table, pooling, quantiser. A maximum of what is rounded is the rounded maximum, so that the
// pooling may come first.
static int32_t finish(bl_qdq_export *ex, const bl_int_layer *l, int32_t x, bool map) {
  const bl_int_tensor *out = &ex->graph->tensors[l->output];
  if (l->table != NULL) x = look_up(ex, l, x);
  if (pools(l)) x = pool(ex, l, x);
  if (map && bl_qdq_is_vector(out)) {
    bl_qdq_int(&ex->b, "axis", 1);
    x = bl_qdq_node(&ex->b, BL_FLOAT_FLATTEN, x, -1, -1);
  }
  if (out->format.kind == BL_FORMAT_ACC) return x;
  const bl_qdq_carrier c = bl_qdq_tensor_carrier(out);
  const bool own = out->format.kind == BL_FORMAT_B || l->table != NULL;
  const int32_t lo = own ? bl_format_min(out->format) : l->lo;
  const int32_t hi = own ? bl_format_max(out->format) : l->hi;
  return bl_qdq_dequantise(ex, bl_qdq_quantise(ex, x, &c, lo, hi), &c);
}

void bl_qdq_layer(bl_qdq_export *ex, const bl_int_layer *l) {
  const bool map = !is_dense(ex->graph, l);
  int32_t x;
  ex->b.where = l->name;
  bl_qdq_channels(ex->graph, l, ex->channels);
  if (is_copy(ex->graph, l)) {
    x = as_map(ex, l->input);
  } else {
    x = map ? convolution(ex, l) : dense(ex, l);
    const uint32_t channels = ex->graph->tensors[l->output].c;
    x = biased(ex, x, channels, map);
    if (l->addend_weight != NULL) x = sum(ex, l, x, map);
    x = times(ex, x, channels, map, offsetof(bl_qdq_channel, after));
  }
  ex->real[l->output] = finish(ex, l, x, map);
}
