// SPDX-License-Identifier: Apache-2.0
// Export of an integer graph as ONNX with QuantizeLinear and DequantizeLinear (QDQ), so that
// another runtime can confirm what the device computes; docs/reference/export.md.
//
// Every tensor of the integer graph is the output of a DequantizeLinear with the tensor's scale and
// zero point, its integers INT8 (s and b1 formats) or UINT8 (u formats), with a Clip in front of
// the QuantizeLinear where the range is narrower. Weights are INT8 with a scale a channel. Real
// arithmetic in between is float32; what makes an integer differ from the device's is its rounding
// alone.
#ifndef BITLOOM_HOST_ONNX_QDQ_GRAPH_H
#define BITLOOM_HOST_ONNX_QDQ_GRAPH_H

#include "host/graph/float_graph.h"
#include "host/graph/int_graph.h"

typedef enum { BL_QDQ_PLAIN, BL_QDQ_SOFTMAX, BL_QDQ_SIGMOID } bl_qdq_end;

typedef struct {
  double input_mul, input_add; // x*mul + add comes before the input's quantiser; mul not 0
  bool channels_last;          // the input's axes are N, H, W, C
  bl_qdq_end end;              // what the host makes of the outputs
} bl_qdq_options;

// A float graph of opset 13 and batch 1, with the input [1][C][H][W] (or [1][H][W][C]), vectors
// [1][C], and one output, real values in the same order; bl_onnx_export writes it with a free
// batch. The graph has passed bl_int_check. The caller frees *out with bl_float_graph_free.
// Errors: UNSUPPORTED (a scale of the input or output that is not positive), RANGE, MEMORY.
BL_MUST_USE bl_status bl_qdq_graph(const bl_int_graph *graph, const bl_qdq_options *options,
                                   bl_float_graph **out, bl_error *err);

#endif
