// SPDX-License-Identifier: Apache-2.0
// From a data set's values to the network's input integers.
#include "host/run/input.h"

#include <math.h>

int32_t bl_input_quantise(const bl_int_tensor *input, double value) {
  if (input->format.kind == BL_FORMAT_B) return value >= 0.0 ? 1 : -1;
  double lowest = bl_format_min(input->format), highest = bl_format_max(input->format);
  double q = floor(value / input->scale + 0.5) + input->zero_point;
  return (int32_t)(q < lowest ? lowest : q > highest ? highest : q);
}

bl_layout bl_input_order(bl_sample_shape shape, const bl_dataset *dataset,
                         const bl_preprocess *preprocess, bl_layout network) {
  if (shape.h != 1 || shape.w != 1 || dataset->rank != 3) return network;
  if (dataset->planar || preprocess->layout != BL_LAYOUT_NHWC) return BL_LAYOUT_NCHW;
  return BL_LAYOUT_NHWC;
}

// The device's own order is row, column, channel.
static bl_layout order_of(const bl_int_tensor *input, const bl_dataset *dataset,
                          const bl_preprocess *preprocess) {
  bl_sample_shape shape = {input->h, input->w, input->c};
  return bl_input_order(shape, dataset, preprocess, BL_LAYOUT_NHWC);
}

bl_status bl_input_check(const bl_int_graph *graph, const bl_dataset *dataset,
                         const bl_preprocess *preprocess, bl_error *err) {
  const bl_int_tensor *input = &graph->tensors[0];
  bl_sample_shape wanted = {input->h, input->w, input->c};
  return bl_dataset_fits(dataset, preprocess, order_of(input, dataset, preprocess), wanted,
                         "the network", err);
}

bl_status bl_input_read(const bl_int_graph *graph, const bl_dataset *dataset,
                        const bl_preprocess *preprocess, size_t index, double *scratch,
                        int32_t *out, bl_error *err) {
  const bl_int_tensor *input = &graph->tensors[0];
  BL_TRY(bl_dataset_read(dataset, index, preprocess, order_of(input, dataset, preprocess), scratch,
                         err));
  // a vector that stands for planes
  const size_t area = (size_t)input->h * input->w, c = input->c;
  bool planes = dataset->rank == 1 && preprocess->layout == BL_LAYOUT_NCHW;
  for (size_t i = 0; i < dataset->elements; i++)
    out[i] = bl_input_quantise(input, scratch[planes ? i % c * area + i / c : i]);
  return BL_OK;
}

// splitmix64: one multiplication chain turns a counter into even bits.
static uint64_t scramble(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}

void bl_input_random(const bl_int_graph *graph, uint64_t seed, size_t index, int32_t *out) {
  const bl_int_tensor *input = &graph->tensors[0];
  int32_t lowest = bl_format_min(input->format), highest = bl_format_max(input->format);
  uint64_t base = scramble(seed) ^ scramble(index + 1);
  size_t elements = bl_int_elements(input);
  for (size_t i = 0; i < elements; i++) {
    uint64_t bits = scramble(base + i);
    if (input->format.kind == BL_FORMAT_B)
      out[i] = (bits >> 63) != 0 ? 1 : -1;
    else
      out[i] = lowest + (int32_t)((bits >> 32) % (uint64_t)((int64_t)highest - lowest + 1));
  }
}
