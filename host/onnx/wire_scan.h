// SPDX-License-Identifier: Apache-2.0
// Looks at a protobuf message's wire format before anything is allocated for it.
#ifndef BITLOOM_HOST_ONNX_WIRE_SCAN_H
#define BITLOOM_HOST_ONNX_WIRE_SCAN_H

#include <stddef.h>
#include <stdint.h>

#include "host/base/error.h"

typedef enum { BL_WIRE_MODEL, BL_WIRE_TENSOR } bl_wire_root;

// Checks that every field lies inside its message and that messages nest at most 32 deep, by the
// fields of onnx.proto that hold messages. Errors: FORMAT.
BL_MUST_USE bl_status bl_wire_scan(const char *name, bl_wire_root root, const uint8_t *bytes,
                                   size_t size, bl_error *err);

#endif
