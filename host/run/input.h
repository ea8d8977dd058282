// SPDX-License-Identifier: Apache-2.0
// Samples as the integers that a compressed network takes: preprocessed values, divided by the
// input's scale, rounded, clamped to its format.
#ifndef BITLOOM_HOST_RUN_INPUT_H
#define BITLOOM_HOST_RUN_INPUT_H

#include "host/data/dataset.h"
#include "host/graph/int_graph.h"

// One real value as tensor `input` holds it: clamp(floor(value/scale + 1/2) + zero_point); for b1
// the sign, +1 for 0. `value` is finite.
int32_t bl_input_quantise(const bl_int_tensor *input, double value);

// The order in which a network that takes `shape` gets samples: `network`, but a vector input gets
// a sample's values as they lie in the file.
bl_layout bl_input_order(bl_sample_shape shape, const bl_dataset *dataset,
                         const bl_preprocess *preprocess, bl_layout network);
// Checks that samples of `dataset` fit tensor 0 of `graph`. Errors: FORMAT, USAGE.
BL_MUST_USE bl_status bl_input_check(const bl_int_graph *graph, const bl_dataset *dataset,
                                     const bl_preprocess *preprocess, bl_error *err);
// Sample `index` as the integers of tensor 0, index (y*w + x)*c + channel. `scratch` and `out`
// have bl_int_elements() of it. A vector input takes a sample's values in the order of the file.
BL_MUST_USE bl_status bl_input_read(const bl_int_graph *graph, const bl_dataset *dataset,
                                    const bl_preprocess *preprocess, size_t index, double *scratch,
                                    int32_t *out, bl_error *err);
// Integers spread evenly over the format of tensor 0, the same for the same seed and index.
void bl_input_random(const bl_int_graph *graph, uint64_t seed, size_t index, int32_t *out);

#endif
