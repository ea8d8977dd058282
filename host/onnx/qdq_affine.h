// SPDX-License-Identifier: Apache-2.0
// The numbers of an exported layer: its requantisation as real factors.
#ifndef BITLOOM_HOST_ONNX_QDQ_AFFINE_H
#define BITLOOM_HOST_ONNX_QDQ_AFFINE_H

#include "host/graph/int_graph.h"

// One output channel, with A and R the input's and the addend's real values:
//   real output = after * (weight_scale * sum of A * W + bias + addend * R)
// A projected addend has a real weight of projection * addend_weight instead.
typedef struct {
  double weight_scale; // positive
  double bias, after;
  double addend, projection;
  bool zero; // the sum does not count: its weights are to be written as 0
} bl_qdq_channel;

// The scale that a tensor is exported with, a float32: its own, or 1 where that is not positive
// (between layers a scale is a matter of taste) and for accumulators.
double bl_qdq_scale(const bl_int_tensor *tensor);
// The scale of a layer's output behind its requantisation: 1 for the index of a table.
double bl_qdq_out_scale(const bl_int_graph *graph, const bl_int_layer *layer);
// All channels of a layer. The integer that a float32 execution rounds to is the device's unless
// its error reaches the next half: halves, which the device rounds up, are moved up by less than
// the distance of two results that can occur.
void bl_qdq_channels(const bl_int_graph *graph, const bl_int_layer *layer,
                     bl_qdq_channel *channels);

#endif
