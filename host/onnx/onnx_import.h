// SPDX-License-Identifier: Apache-2.0
// ONNX import: a model file becomes a float graph with all shapes known and constants folded.
//
// A model file is hostile until shown otherwise: its wire format is scanned for depth and size
// before protobuf-c sees it, protobuf-c allocates from a capped arena, every count and offset is
// checked, external data is refused.
#ifndef BITLOOM_HOST_ONNX_ONNX_IMPORT_H
#define BITLOOM_HOST_ONNX_ONNX_IMPORT_H

#include "host/graph/float_graph.h"

enum { BL_ONNX_MIN_OPSET = 7, BL_ONNX_MAX_OPSET = 21, BL_ONNX_FILE_LIMIT = 256 << 20 };

// Makes a graph input a constant before shapes are inferred, e.g. the shape operand of a Reshape.
typedef struct {
  const char *name;
  const bl_value *value; // its type, shape and data are copied
} bl_onnx_binding;

typedef struct {
  int64_t batch; // size of a free first dimension of the inputs; 0: 1
  bool rebatch;  // use `batch` for a fixed first dimension too, where the graph allows it
  const bl_onnx_binding *bindings;
  size_t binding_count;
  // Merge what computes the same with fewer layers, other rounding: parallel branches (RepVGG),
  // orders of channels in front of a convolution (host/graph/rewrite.h). For networks that are to
  // be quantised, not trained.
  bool merge;
} bl_onnx_options;

// `options` may be NULL. The graph is freed with bl_float_graph_free. Errors: IO, FORMAT,
// UNSUPPORTED (names node and operator), RANGE, MEMORY.
BL_MUST_USE bl_status bl_onnx_import(const char *path, const bl_onnx_options *options,
                                     bl_float_graph **graph, bl_error *err);
// The same from memory; `name` stands for the path in messages.
BL_MUST_USE bl_status bl_onnx_import_bytes(const char *name, const uint8_t *bytes, size_t size,
                                           const bl_onnx_options *options, bl_float_graph **graph,
                                           bl_error *err);

// One serialised TensorProto (test data sets of the ONNX project) into an arena.
BL_MUST_USE bl_status bl_onnx_read_tensor(const char *name, const uint8_t *bytes, size_t size,
                                          bl_arena *arena, bl_value *value, bl_error *err);

#endif
