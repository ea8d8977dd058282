// SPDX-License-Identifier: Apache-2.0
// The data of an ONNX tensor, whatever its element type and however it is stored.
#ifndef BITLOOM_HOST_ONNX_TENSOR_DATA_H
#define BITLOOM_HOST_ONNX_TENSOR_DATA_H

#include "host/graph/float_graph.h"
#include "onnx.pb-c.h"

// Sets the value's type, shape and data from `tensor`; its name is kept. Errors: FORMAT,
// UNSUPPORTED (element type, external data), RANGE, MEMORY.
BL_MUST_USE bl_status bl_tensor_load(bl_arena *arena, const Onnx__TensorProto *tensor,
                                     bl_value *value, bl_error *err);

// True for element types that become floats, false for integers; UNSUPPORTED for all others.
BL_MUST_USE bl_status bl_element_type(const char *name, int32_t element, bl_float_type *type,
                                      bl_error *err);

#endif
