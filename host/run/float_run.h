// SPDX-License-Identifier: Apache-2.0
// Data sets over a float graph: batches in, outputs out, accuracy.
#ifndef BITLOOM_HOST_RUN_FLOAT_RUN_H
#define BITLOOM_HOST_RUN_FLOAT_RUN_H

#include "host/data/dataset.h"
#include "host/graph/float_graph.h"
#include "host/run/shard.h"

// Axes of the graph's first input: NHWC when the data's way leads to a transposition (0, 3, 1, 2)
// before anything that cares, else NCHW.
bl_layout bl_float_layout(const bl_float_graph *graph);

// One batch of the graph's only data input and its first output.
typedef struct {
  size_t images;       // of a batch: the first dimension, 1 for a vector
  size_t in_elements;  // of one image
  size_t out_elements; // of one image
  bl_layout order;     // in which the graph takes a sample
  bl_sample_shape shape;
} bl_float_io;

// Errors: UNSUPPORTED when the graph has several data inputs, none of floats, or an output without
// the batch's first dimension.
BL_MUST_USE bl_status bl_float_describe(const bl_float_graph *graph, bl_float_io *io,
                                        bl_error *err);
// Checks that samples fit, and settles io->order: a vector input takes a sample as it lies in the
// file. Errors: FORMAT, USAGE.
BL_MUST_USE bl_status bl_float_fits(const bl_dataset *dataset, const bl_preprocess *preprocess,
                                    bl_float_io *io, bl_error *err);
// Sample `index`, preprocessed, to out[in_elements]; `scratch` has as many doubles.
BL_MUST_USE bl_status bl_float_read(const bl_dataset *dataset, const bl_preprocess *preprocess,
                                    const bl_float_io *io, size_t index, double *scratch,
                                    float *out, bl_error *err);

typedef struct {
  size_t samples, labelled, correct; // arg-max, ties to the lowest index
  double seconds;                    // of the executor
} bl_float_result;

// Runs every sample; `outputs` gets samples * out_elements values, or is NULL. Errors: those of the
// data set and the executor.
BL_MUST_USE bl_status bl_float_run(const bl_float_graph *graph, const bl_float_io *io,
                                   const bl_dataset *dataset, const bl_preprocess *preprocess,
                                   float *outputs, bl_progress progress, bl_float_result *result,
                                   bl_error *err);

#endif
