// SPDX-License-Identifier: Apache-2.0
// Writing a float graph node by node: each call adds a node (or a constant), infers its shape and
// gives the index of its output. After a failure every further call gives -1 and does nothing, so
// that a caller looks once, at the end.
#ifndef BITLOOM_HOST_ONNX_QDQ_BUILD_H
#define BITLOOM_HOST_ONNX_QDQ_BUILD_H

#include "host/graph/float_graph.h"

typedef struct {
  bl_float_graph *graph;
  const char *where; // of the layer being written, a prefix of node names
  bl_status status;
  bl_error *err;
  uint32_t node_room;
} bl_qdq_builder;

// A graph of opset 13 with room for so many nodes and values, in an arena of its own.
// Errors: MEMORY.
BL_MUST_USE bl_status bl_qdq_open(bl_qdq_builder *b, const char *name, uint32_t nodes,
                                  uint32_t values, bl_error *err);
// A value without data. `name` NULL: one is made when the graph is written.
int32_t bl_qdq_value(bl_qdq_builder *b, const char *name, int32_t element, uint32_t rank,
                     const int64_t *dims);
// Constants: the value, whose zeroed data the caller fills; NULL after a failure.
bl_value *bl_qdq_constant(bl_qdq_builder *b, int32_t element, uint32_t rank, const int64_t *dims);
int32_t bl_qdq_index(const bl_qdq_builder *b, const bl_value *value);
// A number without dimensions.
int32_t bl_qdq_number(bl_qdq_builder *b, double number);
int32_t bl_qdq_integer(bl_qdq_builder *b, int32_t element, int64_t number);

// The node's output. Inputs of -1 at the end are left out, others are absent.
int32_t bl_qdq_node(bl_qdq_builder *b, bl_float_op op, int32_t x, int32_t y, int32_t z);
// Any number of inputs.
int32_t bl_qdq_node_of(bl_qdq_builder *b, bl_float_op op, const int32_t *inputs, uint32_t count);
// An attribute for the next node.
void bl_qdq_int(bl_qdq_builder *b, const char *name, int64_t value);
void bl_qdq_ints(bl_qdq_builder *b, const char *name, const uint32_t *values, size_t count);
void bl_qdq_string(bl_qdq_builder *b, const char *name, const char *value);

#endif
