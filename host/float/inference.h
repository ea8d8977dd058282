// SPDX-License-Identifier: Apache-2.0
// Fast float inference: the graph as a list of oneDNN primitives, each in the memory format that it
// is fastest in. A convolution takes the batch normalisation, the addition of a branch and the ReLU
// or Clip behind it along; transpositions, slices and reshapes are other views of the same memory.
// What oneDNN has no primitive for goes through bl_float_eval.
//
// Only the graph's outputs can be read. The last bits differ from those of bl_float_session, which
// keeps every value.
#ifndef BITLOOM_HOST_FLOAT_INFERENCE_H
#define BITLOOM_HOST_FLOAT_INFERENCE_H

#include "host/graph/float_graph.h"

typedef struct bl_float_inference bl_float_inference;

// For the batch that the graph was imported with. The graph must outlive it. Errors: MEMORY,
// UNSUPPORTED (a graph without data inputs and outputs of floats, or oneDNN fails).
BL_MUST_USE bl_status bl_float_inference_open(const bl_float_graph *graph,
                                              bl_float_inference **inference, bl_error *err);
void bl_float_inference_close(bl_float_inference *inference);

// Where the caller writes graph input `k`, row-major, before a run.
float *bl_float_inference_input(bl_float_inference *inference, uint32_t k);
// Errors: UNSUPPORTED, those of bl_float_eval.
BL_MUST_USE bl_status bl_float_inference_run(bl_float_inference *inference, bl_error *err);
// Output `k`, row-major, after a run.
const float *bl_float_inference_output(const bl_float_inference *inference, uint32_t k);

#endif
