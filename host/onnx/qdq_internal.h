// SPDX-License-Identifier: Apache-2.0
// What the files of the QDQ export share; see qdq_graph.h.
#ifndef BITLOOM_HOST_ONNX_QDQ_INTERNAL_H
#define BITLOOM_HOST_ONNX_QDQ_INTERNAL_H

#include "host/onnx/qdq_affine.h"
#include "host/onnx/qdq_build.h"
#include "host/onnx/qdq_graph.h"

typedef struct {
  const bl_int_graph *graph;
  const bl_qdq_options *options;
  bl_qdq_builder b;
  int32_t *real; // [tensor_count] the value that holds a tensor's real values: [1][C][H][W],
                 // vectors [1][C]
  bl_qdq_channel *channels; // of the layer being written
} bl_qdq_export;

// The type that carries integers, its range, and their zero point in it. A zero point beyond the
// type is added to the real values (as `shift`) instead.
typedef struct {
  int32_t element, lo, hi, zero;
  double scale, shift;
} bl_qdq_carrier;

bl_qdq_carrier bl_qdq_carrier_of(bool is_signed, double scale, int32_t zero_point);
bl_qdq_carrier bl_qdq_tensor_carrier(const bl_int_tensor *t);
// Real values x become integers lo..hi, and integers real values.
int32_t bl_qdq_quantise(bl_qdq_export *ex, int32_t x, const bl_qdq_carrier *c, int32_t lo,
                        int32_t hi);
int32_t bl_qdq_dequantise(bl_qdq_export *ex, int32_t q, const bl_qdq_carrier *c);
bool bl_qdq_is_vector(const bl_int_tensor *t);
// Writes a layer; ex->real of its output is set.
void bl_qdq_layer(bl_qdq_export *ex, const bl_int_layer *l);

#endif
