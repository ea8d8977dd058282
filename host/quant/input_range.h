// SPDX-License-Identifier: Apache-2.0
// Dynamic ranges of the network's input: each sample gets a quantiser of its own, by its own
// extremes, and the layers that read the input get parameters for it. Weights and everything behind
// these layers stay, so that on a device only their multipliers, biases and shifts are sent again.
#ifndef BITLOOM_HOST_QUANT_INPUT_RANGE_H
#define BITLOOM_HOST_QUANT_INPUT_RANGE_H

#include "host/quant/observer.h"

typedef struct bl_input_range bl_input_range;

// For a graph whose parameters are changed from now on. `graph` must outlive it. Errors:
// UNSUPPORTED names a layer that adds the input to something, or reads bits of one; MEMORY.
BL_MUST_USE bl_status bl_input_range_open(bl_int_graph *graph, bl_input_range **range,
                                          bl_error *err);
void bl_input_range_close(bl_input_range *range);
// The unsigned 8-bit quantiser of one sample, behind the scaling that comes before the input's
// quantiser (bl_quantised.input_mul, input_add). Errors: FORMAT for a value that is not finite.
BL_MUST_USE bl_status bl_input_range_of(const float *values, size_t count, bl_quantiser *quantiser,
                                        bl_error *err);
// Makes the graph's input have that quantiser (u8): mult, bias, shift and padding of the layers
// that read it follow, always from what they were when it was opened. With s0, z0 the scale and
// zero point then, s1, z1 now and W the sum of a channel's weights, in which y = a*sum + b of the
// old integers, it is a' = a*s1/s0 and b' = b + a*W*(z0 - z1*s1/s0). Errors: RANGE where that does
// not fit the multiplier.
BL_MUST_USE bl_status bl_input_range_set(bl_input_range *range, bl_quantiser quantiser,
                                         bl_error *err);

#endif
