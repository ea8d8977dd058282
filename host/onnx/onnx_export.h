// SPDX-License-Identifier: Apache-2.0
// ONNX export: a float graph becomes a model file again, with the constants that it holds now.
// What was folded when it was imported stays folded; imported again it computes the same bits.
#ifndef BITLOOM_HOST_ONNX_ONNX_EXPORT_H
#define BITLOOM_HOST_ONNX_ONNX_EXPORT_H

#include "host/graph/float_graph.h"

typedef struct {
  bool free_batch; // the first dimension of inputs and outputs has a name, N, instead of a size
} bl_onnx_export_options;

// `options` may be NULL. The caller frees *bytes. Errors: UNSUPPORTED for data of float16 or
// double (the operators compute in float), MEMORY.
BL_MUST_USE bl_status bl_onnx_export_bytes(const bl_float_graph *graph,
                                           const bl_onnx_export_options *options, uint8_t **bytes,
                                           size_t *size, bl_error *err);
// The same into a file, atomically. Errors: IO too.
BL_MUST_USE bl_status bl_onnx_export(const char *path, const bl_float_graph *graph,
                                     const bl_onnx_export_options *options, bl_error *err);

#endif
