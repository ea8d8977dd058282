// SPDX-License-Identifier: Apache-2.0
// AdaRound (Nagel et al. 2020, arXiv 2004.10568): each weight goes to one of its two neighbouring
// integers, the one or the other being learned, so that what a layer makes of its inputs behind its
// ReLU is nearest to what the float network makes of them.
#ifndef BITLOOM_HOST_QUANT_ADAROUND_H
#define BITLOOM_HOST_QUANT_ADAROUND_H

#include "host/quant/gptq.h"
#include "host/quant/lower.h"

typedef struct {
  uint32_t columns, rows;
  size_t windows;
  const float *u;         // [windows][columns] inputs
  const float *t;         // [windows][rows] wanted sums, what is added in integers taken off
  const float *full;      // [windows][rows] wanted sums with everything that is added
  const double *weights;  // [rows][columns] for each unit of u
  const double *steps;    // [rows][columns] real size of an integer; not 0
  const bl_grid *grids;   // [rows]
  const bl_affine *after; // [rows] what follows the sum; its clamp is where errors no longer count
  uint32_t iterations;    // 0: 1,000
  uint64_t seed;          // of the windows taken in each iteration
} bl_adaround;

// integers: [rows][columns]. Per row never worse, over all windows, than the nearest integers.
// Errors: MEMORY.
BL_MUST_USE bl_status bl_adaround_round(const bl_adaround *a, int *integers, bl_error *err);
// Mean square over all windows of a row's error behind its clamp, in units of the row's scale.
double bl_adaround_error(const bl_adaround *a, uint32_t row, const int *integers);
// The grid's largest integer not above x, and the next one; the same twice where x lies outside,
// and for 0 where the grid has it: what is pruned stays so.
void bl_grid_around(const bl_grid *grid, double x, int *below, int *above);

#endif
