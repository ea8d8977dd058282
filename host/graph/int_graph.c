// SPDX-License-Identifier: Apache-2.0
#include "host/graph/int_graph.h"

int32_t bl_format_min(bl_format format) {
  switch (format.kind) {
  case BL_FORMAT_U:
    return 0;
  case BL_FORMAT_S:
    return -(1 << (format.bits - 1));
  case BL_FORMAT_B:
    return 1 - (1 << format.bits);
  default:
    return INT32_MIN;
  }
}

int32_t bl_format_max(bl_format format) {
  switch (format.kind) {
  case BL_FORMAT_U:
  case BL_FORMAT_B:
    return (1 << format.bits) - 1;
  case BL_FORMAT_S:
    return (1 << (format.bits - 1)) - 1;
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
  return format.kind <= BL_FORMAT_B && format.bits <= 8 ? names[format.kind][format.bits] : "?";
}

uint32_t bl_int_addend_fan(const bl_int_graph *graph, const bl_int_layer *layer) {
  return layer->project_h > 0 ? graph->tensors[layer->addend].c : 1;
}

uint64_t bl_int_weights(const bl_int_graph *graph, const bl_int_layer *layer) {
  const uint64_t channels = graph->tensors[layer->output].c;
  uint64_t fan = (uint64_t)layer->kernel_h * layer->kernel_w *
                 (graph->tensors[layer->input].c / layer->groups);
  if (layer->addend_weight != NULL && layer->project_h > 0) fan += bl_int_addend_fan(graph, layer);
  return channels * fan;
}

uint64_t bl_int_weight_bits(const bl_int_graph *graph) {
  uint64_t bits = 0;
  for (uint32_t i = 0; i < graph->layer_count; i++) {
    const bl_int_layer *layer = &graph->layers[i];
    bits +=
        bl_int_weights(graph, layer) * (layer->codebook != NULL ? 4u : layer->weight_format.bits);
  }
  return bits;
}

size_t bl_int_elements(const bl_int_tensor *tensor) {
  return (size_t)tensor->h * tensor->w * tensor->c;
}

void bl_int_conv_size(const bl_int_graph *graph, const bl_int_layer *layer, uint32_t *h,
                      uint32_t *w) {
  const bl_int_tensor *in = &graph->tensors[layer->input];
  int64_t scale = layer->upsample ? 2 : 1;
  *h = (uint32_t)bl_int_windows(scale * in->h, (int64_t)layer->pad_top + layer->pad_bottom,
                                layer->kernel_h, layer->dilation_h, layer->stride_h);
  *w = (uint32_t)bl_int_windows(scale * in->w, (int64_t)layer->pad_left + layer->pad_right,
                                layer->kernel_w, layer->dilation_w, layer->stride_w);
}

int64_t bl_int_windows(int64_t size, int64_t pads, int64_t kernel, int64_t dilation,
                       int64_t stride) {
  int64_t span = (kernel - 1) * dilation + 1;
  return size + pads < span ? 0 : (size + pads - span) / stride + 1;
}

bool bl_int_is_concatenation(const bl_int_graph *graph, uint32_t tensor) {
  for (uint32_t t = 0; t < graph->tensor_count && tensor > 0; t++)
    if (graph->tensors[t].parent == tensor) return true;
  return false;
}

uint32_t bl_int_concatenations(const bl_int_graph *graph) {
  uint32_t count = 0;
  for (uint32_t t = 0; t < graph->tensor_count; t++)
    count += bl_int_is_concatenation(graph, t);
  return count;
}

uint32_t bl_int_producer(const bl_int_graph *graph, uint32_t tensor) {
  for (uint32_t i = 0; i < graph->layer_count; i++)
    if (graph->layers[i].output == tensor) return i;
  return BL_INT_NO_LAYER;
}

uint32_t bl_int_completer(const bl_int_graph *graph, uint32_t tensor) {
  uint32_t last = BL_INT_NO_LAYER;
  for (uint32_t i = 0; i < graph->layer_count; i++) {
    uint32_t output = graph->layers[i].output;
    if (output == tensor || (tensor > 0 && graph->tensors[output].parent == tensor)) last = i;
  }
  return last;
}
