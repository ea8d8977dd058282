// SPDX-License-Identifier: Apache-2.0
// Reference kernels: nested loops over the integer graph, written to be read. They define what a
// network computes; every device is compared with them. They include nothing of the compiler, the
// driver or the simulated devices (tests/house checks it), so an error cannot be shared.
//
// Tensors are int32 arrays of plain integers, one image, index (y*w + x)*c + channel.
#ifndef BITLOOM_HOST_REF_REFERENCE_H
#define BITLOOM_HOST_REF_REFERENCE_H

#include <stdint.h>

#include "host/base/error.h"
#include "host/graph/int_graph.h"

// Called after each layer with its output, bl_int_elements() integers; may change them, which the
// layers that follow then read (verify plants its faults so). NULL is allowed.
typedef void (*bl_reference_hook)(void *context, uint32_t layer, int32_t *output);

// One layer on one image. `graph` has passed bl_int_check; `addend` is NULL where the layer adds
// nothing; `out` overlaps neither. Errors: MEMORY.
BL_MUST_USE bl_status bl_reference_layer(const bl_int_graph *graph, const bl_int_layer *layer,
                                         const int32_t *in, const int32_t *addend, int32_t *out,
                                         bl_error *err);

// The whole network on one image: `in` has the elements of tensor 0, each within its format, `out`
// those of the graph's output. Errors: MEMORY, RANGE (an input integer outside its format).
BL_MUST_USE bl_status bl_reference_run(const bl_int_graph *graph, const int32_t *in, int32_t *out,
                                       bl_reference_hook hook, void *context, bl_error *err);

#endif
