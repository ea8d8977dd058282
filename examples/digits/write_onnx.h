// SPDX-License-Identifier: Apache-2.0
// Writes the demo's network as ONNX (opset 13): Conv, Relu, MaxPool, Flatten, Gemm; NCHW input
// named "digit", values 0..16, which a first Mul scales to 0..1; output "logits"; free batch.
#ifndef BITLOOM_EXAMPLES_DIGITS_WRITE_ONNX_H
#define BITLOOM_EXAMPLES_DIGITS_WRITE_ONNX_H

#include <stdbool.h>

#include "host/base/error.h"

typedef struct {
  int in, k, pad, out;
  bool relu, pool;
  const float *w; // [out][k][k][in]
  const float *b; // [out]
} digits_layer;

// The last layer becomes Flatten and Gemm. Errors: IO, MEMORY.
BL_MUST_USE bl_status digits_write_onnx(const char *path, const digits_layer *layers, int count,
                                        bl_error *err);

#endif
