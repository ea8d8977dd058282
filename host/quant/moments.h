// SPDX-License-Identifier: Apache-2.0
// Sums over calibration data of what a layer's weights are multiplied with, u (integers minus their
// zero point), and of what its sums should be in float, t. All are sums of integers below 2^53 and
// so exact: the order of samples does not matter.
#ifndef BITLOOM_HOST_QUANT_MOMENTS_H
#define BITLOOM_HOST_QUANT_MOMENTS_H

#include "host/quant/replay.h"

typedef struct {
  uint32_t groups, columns, rows; // columns: weights of a channel; rows: channels of a group
  double positions;               // windows that were summed over
  double *second;                 // [groups][columns][columns] of u u'; NULL: not wanted
  double *cross;                  // [groups][rows][columns] of t u; NULL with `second`
  double *first;                  // [groups][columns] of u
  double *target;                 // [groups][rows] of t
} bl_moments;

// What the moments are of. A projection's weights are further columns, behind the layer's own;
// real weights are of what is summed: real sum = sum of real * x over the columns.
typedef struct {
  const bl_stage *stage;
  const bl_int_graph *graph;
  const bl_int_layer *layer;
  const double *real; // [output channels][columns]
  bool want_second;
} bl_moments_of;

// Weights of a channel, with a projection's.
size_t bl_moments_columns(const bl_stage *stage);
// Everything in *moments hangs from `arena`. Errors: MEMORY.
BL_MUST_USE bl_status bl_moments_take(const bl_moments_of *of, const bl_replay *replay,
                                      bl_arena *arena, bl_moments *moments, bl_error *err);

// Some windows themselves, the same number of each sample's.
typedef struct {
  size_t count;
  float *u;    // [count][columns]
  float *t;    // [count][rows]
  float *full; // [count][rows] t and all that is added in integers: the float network's sums
} bl_windows;

// At most `most` windows of a group, drawn by `seed`. Everything hangs from `arena`. Errors:
// MEMORY.
BL_MUST_USE bl_status bl_moments_windows(const bl_moments_of *of, const bl_replay *replay,
                                         uint32_t group, size_t most, uint64_t seed,
                                         bl_arena *arena, bl_windows *windows, bl_error *err);

#endif
