// SPDX-License-Identifier: Apache-2.0
// A network's output integers as the real numbers they stand for.
#ifndef BITLOOM_HOST_RUN_REAL_OUTPUT_H
#define BITLOOM_HOST_RUN_REAL_OUTPUT_H

#include "host/compile/bloom.h"

// Real value of output `index`: scale*(q - zero_point), or out_scale*acc + out_bias of its channel.
double bl_output_real(const bl_int_graph *graph, const int32_t *out, size_t index);
// All outputs of one image as floats, index (y*w + x)*c + channel, with the host's suffix applied:
// softmax over the channels of each pixel, or the logistic function.
void bl_output_floats(const bl_int_graph *graph, bl_suffix suffix, const int32_t *out,
                      float *values);
// The class that the outputs say: the index of the largest real one, the lowest among equals; of a
// single one, a logit in front of the suffix, 1 where it is above 0, else 0.
size_t bl_output_class(const bl_int_graph *graph, const int32_t *out);

#endif
