// SPDX-License-Identifier: Apache-2.0
// Rounding that minimises the error of a layer's output instead of that of its weights: GPTQ
// (Frantar et al. 2022, arXiv 2210.17323), then coordinate descent. What is minimised for a row w
// of weights, with H the second moments of what the weights are multiplied with, is
//   (w - s q)' (H + damping * mean(diagonal of H) * I) (w - s q),   q on a grid of integers.
#ifndef BITLOOM_HOST_QUANT_GPTQ_H
#define BITLOOM_HOST_QUANT_GPTQ_H

#include "host/quant/codebook.h"

// What an integer may be: lo..hi, of these the values of a codebook (NULL: all); or -1 and +1.
typedef struct {
  int lo, hi;
  bool bipolar;
  const bl_codebook *codebook;
} bl_grid;

typedef struct bl_gptq bl_gptq;

// `moments` is [columns][columns], symmetric, finite, not negative definite; kept by the caller
// until the end. Columns that are always 0 are rounded to the nearest. damping > 0.
// Errors: MEMORY, RANGE (moments that are none).
BL_MUST_USE bl_status bl_gptq_open(uint32_t columns, const double *moments, double damping,
                                   bl_gptq **gptq, bl_error *err);
void bl_gptq_close(bl_gptq *gptq);

// Makes of each of `rows` rows of cross moments, residual [rows][columns], (H + damping)^-1 times
// it: the change of real weights that takes the residual away.
BL_MUST_USE bl_status bl_gptq_solve(const bl_gptq *gptq, uint32_t rows, double *residual,
                                    bl_error *err);
// Rounds one row: weights [columns] ~ steps [columns] * integers [columns], no step 0. Columns go
// in the order of decreasing diagonals, each leaving its error to those to come; then single
// integers change as long as that helps; a weight of exactly 0 stays 0. Never worse, in terms of H
// alone, than the nearest integers.
BL_MUST_USE bl_status bl_gptq_round(const bl_gptq *gptq, const double *weights, const double *steps,
                                    const bl_grid *grid, int *integers, bl_error *err);
// e' H e of the row, without damping.
double bl_gptq_error(const bl_gptq *gptq, const double *weights, const double *steps,
                     const int *integers);
// The grid's integer nearest to x, halves away from 0.
int bl_grid_nearest(const bl_grid *grid, double x);

#endif
