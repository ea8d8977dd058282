// SPDX-License-Identifier: Apache-2.0
// Written for reading, with one concession to speed: the innermost loop runs over the channels of
// one pixel, so that a compiler can vectorise it.
#include "host/ref/reference.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

// The sum over window positions and the group's channels of A * W, at conv position (oy, ox).
// All sums wrap modulo 2^32 as int32 hardware does; bl_compile proves that they never have to.
static uint32_t accumulate(const bl_int_tensor *tensor, const bl_int_layer *layer,
                           uint32_t out_channels, const int32_t *in, int64_t oy, int64_t ox,
                           uint32_t n) {
  // Up-sampled, the layer sees each pixel twice in y and in x.
  const int64_t repeat = layer->upsample ? 2 : 1;
  uint32_t group_in = tensor->c / layer->groups;
  uint32_t group = n / (out_channels / layer->groups);
  const int8_t *w = layer->weights + (size_t)n * layer->kernel_h * layer->kernel_w * group_in;
  uint32_t acc = 0;
  for (uint32_t ky = 0; ky < layer->kernel_h; ky++) {
    for (uint32_t kx = 0; kx < layer->kernel_w; kx++, w += group_in) {
      int64_t y = oy * layer->stride_h + (int64_t)ky * layer->dilation_h - layer->pad_top;
      int64_t x = ox * layer->stride_w + (int64_t)kx * layer->dilation_w - layer->pad_left;
      bool inside = y >= 0 && y < repeat * tensor->h && x >= 0 && x < repeat * tensor->w;
      int64_t pixel = inside ? y / repeat * tensor->w + x / repeat : 0;
      const int32_t *a = in + (size_t)pixel * tensor->c;
      for (uint32_t k = 0; k < group_in; k++) {
        int32_t value = inside ? a[group * group_in + k] : layer->pad_value;
        acc += (uint32_t)(value * w[k]);
      }
    }
  }
  return acc;
}

// acc[m][n] of int_graph.h from the sum of products; `addend` is R[m][n], 0 where nothing is added.
static int32_t add(const bl_int_layer *layer, uint32_t sum, int32_t addend, uint32_t n) {
  if (layer->addend_weight == NULL) return (int32_t)sum;
  uint32_t raised = sum * (1u << layer->raise);
  return (int32_t)(raised + (uint32_t)layer->addend_weight[n] * (uint32_t)addend);
}

// A projected addend: a 1x1 convolution of R with strides, at conv position (oy, ox).
static int32_t project(const bl_int_tensor *tensor, const bl_int_layer *layer, uint32_t sum,
                       const int32_t *addend, uint32_t oy, uint32_t ox, uint32_t n) {
  size_t y = (size_t)oy * layer->project_h, x = (size_t)ox * layer->project_w;
  const int32_t *r = addend + (y * tensor->w + x) * tensor->c;
  const int32_t *w = layer->addend_weight + (size_t)n * tensor->c;
  uint32_t acc = sum * (1u << layer->raise);
  for (uint32_t k = 0; k < tensor->c; k++)
    acc += (uint32_t)w[k] * (uint32_t)r[k];
  return (int32_t)acc;
}

// y = clamp((acc*mult + bias) >> shift, lo - zp, hi - zp) + zp; the shift rounds down. Then the
// table, where there is one.
static int32_t requantise(const bl_int_tensor *out, const bl_int_layer *layer, int32_t acc,
                          uint32_t n) {
  if (out->format.kind == BL_FORMAT_ACC) return acc;
  int64_t product = (int64_t)acc * layer->mult[n] + layer->bias[n];
  if (out->format.kind == BL_FORMAT_B) return product >= 0 ? 1 : -1;
  int64_t zp = out->zero_point;
  int64_t y = product >> layer->shift[n];
  if (y < layer->lo - zp) y = layer->lo - zp;
  if (y > layer->hi - zp) y = layer->hi - zp;
  y += zp;
  return layer->table != NULL ? layer->table[y & 255] : (int32_t)y;
}

// Convolution, addition and requantisation, before pooling: conv[(oy*w + ox)*c + n].
static void convolve(const bl_int_graph *graph, const bl_int_layer *layer, const int32_t *in,
                     const int32_t *addend, int32_t *conv, uint32_t h, uint32_t w) {
  const bl_int_tensor *out = &graph->tensors[layer->output];
  for (uint32_t oy = 0; oy < h; oy++)
    for (uint32_t ox = 0; ox < w; ox++)
      for (uint32_t n = 0; n < out->c; n++) {
        size_t at = ((size_t)oy * w + ox) * out->c + n;
        uint32_t sum = accumulate(&graph->tensors[layer->input], layer, out->c, in, oy, ox, n);
        int32_t acc = layer->project_h > 0
                          ? project(&graph->tensors[layer->addend], layer, sum, addend, oy, ox, n)
                          : add(layer, sum, addend == NULL ? 0 : addend[at], n);
        conv[at] = requantise(out, layer, acc, n);
      }
}

// The largest value of channel n over the pooling window at (oy, ox); positions outside the
// convolution's output take no part. A window always holds at least one position.
static int32_t pool(const bl_int_tensor *out, const bl_int_layer *layer, const int32_t *conv,
                    uint32_t h, uint32_t w, uint32_t oy, uint32_t ox, uint32_t n) {
  bool any = false;
  int32_t best = out->format.kind == BL_FORMAT_B ? -1 : 0;
  for (uint32_t py = 0; py < layer->pool_h; py++) {
    for (uint32_t px = 0; px < layer->pool_w; px++) {
      int64_t y = (int64_t)oy * layer->pool_stride_h + py - layer->pool_pad_top;
      int64_t x = (int64_t)ox * layer->pool_stride_w + px - layer->pool_pad_left;
      if (y < 0 || y >= h || x < 0 || x >= w) continue;
      int32_t value = conv[((size_t)y * w + (size_t)x) * out->c + n];
      if (!any || value > best) best = value;
      any = true;
    }
  }
  return best;
}

static void max_pool(const bl_int_tensor *out, const bl_int_layer *layer, const int32_t *conv,
                     uint32_t h, uint32_t w, int32_t *result) {
  for (uint32_t oy = 0; oy < out->h; oy++)
    for (uint32_t ox = 0; ox < out->w; ox++)
      for (uint32_t n = 0; n < out->c; n++)
        result[((size_t)oy * out->w + ox) * out->c + n] = pool(out, layer, conv, h, w, oy, ox, n);
}

static bool pools(const bl_int_layer *layer) {
  return layer->pool_h != 1 || layer->pool_w != 1 || layer->pool_stride_h != 1 ||
         layer->pool_stride_w != 1;
}

bl_status bl_reference_layer(const bl_int_graph *graph, const bl_int_layer *layer,
                             const int32_t *in, const int32_t *addend, int32_t *out,
                             bl_error *err) {
  uint32_t h, w;
  bl_int_conv_size(graph, layer, &h, &w);
  if (!pools(layer)) {
    convolve(graph, layer, in, addend, out, h, w);
    return BL_OK;
  }
  const bl_int_tensor *tensor = &graph->tensors[layer->output];
  int32_t *conv = calloc((size_t)h * w * tensor->c, sizeof *conv);
  if (conv == NULL)
    return bl_fail(err, BL_ERR_MEMORY, "layer %s: no memory for its convolution", layer->name);
  convolve(graph, layer, in, addend, conv, h, w);
  max_pool(tensor, layer, conv, h, w, out);
  free(conv);
  return BL_OK;
}

static bl_status check_input(const bl_int_graph *graph, const int32_t *in, bl_error *err) {
  const bl_int_tensor *tensor = &graph->tensors[0];
  int32_t lo = bl_format_min(tensor->format), hi = bl_format_max(tensor->format);
  bool bipolar = tensor->format.kind == BL_FORMAT_B;
  for (size_t i = 0; i < bl_int_elements(tensor); i++)
    if (in[i] < lo || in[i] > hi || (bipolar && in[i] == 0))
      return bl_fail(err, BL_ERR_RANGE, "input integer %zu is %d, not in %s", i, in[i],
                     bl_format_name(tensor->format));
  return BL_OK;
}

// A part's channels into the tensor that it is a part of, which the first part brings to life.
static bl_status place_part(const bl_int_graph *graph, uint32_t part, int32_t **values,
                            bl_error *err) {
  const bl_int_tensor *from = &graph->tensors[part], *to = &graph->tensors[from->parent];
  if (values[from->parent] == NULL)
    values[from->parent] = calloc(bl_int_elements(to), sizeof(int32_t));
  if (values[from->parent] == NULL)
    return bl_fail(err, BL_ERR_MEMORY, "reference: no memory for a concatenation");
  for (size_t pixel = 0; pixel < (size_t)from->h * from->w; pixel++)
    for (uint32_t k = 0; k < from->c; k++)
      values[from->parent][pixel * to->c + from->parent_channel + k] =
          values[part][pixel * from->c + k];
  return BL_OK;
}

static bl_status run_layers(const bl_int_graph *graph, int32_t **values, bl_reference_hook hook,
                            void *context, bl_error *err) {
  for (uint32_t i = 0; i < graph->layer_count; i++) {
    const bl_int_layer *layer = &graph->layers[i];
    size_t count = bl_int_elements(&graph->tensors[layer->output]);
    int32_t *out = values[layer->output] = calloc(count, sizeof *out);
    if (out == NULL)
      return bl_fail(err, BL_ERR_MEMORY, "layer %s: no memory for its output", layer->name);
    const int32_t *addend = layer->addend_weight == NULL ? NULL : values[layer->addend];
    BL_TRY(bl_reference_layer(graph, layer, values[layer->input], addend, out, err));
    if (hook != NULL) hook(context, i, out);
    if (graph->tensors[layer->output].parent != 0)
      BL_TRY(place_part(graph, layer->output, values, err));
  }
  return BL_OK;
}

bl_status bl_reference_run(const bl_int_graph *graph, const int32_t *in, int32_t *out,
                           bl_reference_hook hook, void *context, bl_error *err) {
  BL_TRY(check_input(graph, in, err));
  int32_t **values = calloc(graph->tensor_count, sizeof *values);
  size_t count = bl_int_elements(&graph->tensors[0]);
  if (values == NULL || (values[0] = calloc(count, sizeof **values)) == NULL) {
    free(values);
    return bl_fail(err, BL_ERR_MEMORY, "reference: no memory for the input");
  }
  memcpy(values[0], in, count * sizeof *in);
  bl_status status = run_layers(graph, values, hook, context, err);
  if (status == BL_OK)
    memcpy(out, values[graph->output],
           bl_int_elements(&graph->tensors[graph->output]) * sizeof *out);
  for (uint32_t t = 0; t < graph->tensor_count; t++)
    free(values[t]);
  free(values);
  return status;
}
