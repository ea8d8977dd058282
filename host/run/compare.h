// SPDX-License-Identifier: Apache-2.0
// Two or three executions of one network, compared after every layer.
#ifndef BITLOOM_HOST_RUN_COMPARE_H
#define BITLOOM_HOST_RUN_COMPARE_H

#include "host/run/executor.h"

enum { BL_COMPARE_MAX = 3 };

// The first value, in layer order, on which not all agree.
typedef struct {
  uint32_t layer;
  size_t image; // within everything compared so far
  uint32_t y, x, c;
  int32_t values[BL_COMPARE_MAX]; // by executor
  // The executor that stands alone against two that agree; -1 when no two of three agree or when
  // only two took part.
  int odd;
  bool silent; // the layer's signature differs and all its values agree; coordinates are zeros
} bl_difference;

typedef struct {
  uint64_t compared, differing; // values, over all layers
  size_t images;
  bool found;
  bl_difference first;
} bl_comparison;

// Runs `images` inputs on executors[0..count-1] (2 or 3; images within the batch of each) and adds
// what it finds to `comparison`, which starts as zeros. Only the layers up to the first that
// differs count: behind it, everything is wrong for a known reason. Errors: those of the executors,
// MEMORY.
BL_MUST_USE bl_status bl_compare(const bl_int_graph *graph, const bl_executor *executors,
                                 uint32_t count, const int32_t *in, size_t images,
                                 bl_comparison *comparison, bl_error *err);
// Compares one layer's outputs of `images` images, outputs[e] those of executor e, and adds what it
// finds; true when all are the same. The images are those that follow comparison->images.
bool bl_compare_layer(const bl_int_graph *graph, uint32_t layer, const int32_t *const *outputs,
                      uint32_t count, size_t images, bl_comparison *comparison);
// The difference as one line: layer, coordinate, expected (what the majority got, or the
// reference), got, and who stands alone.
void bl_difference_text(const bl_int_graph *graph, const bl_executor *executors, uint32_t count,
                        const bl_difference *difference, char *text, size_t size);

#endif
