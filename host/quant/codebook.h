// SPDX-License-Identifier: Apache-2.0
// Codebooks: weights that take at most 16 values, 4-bit codes in memory and in the stream. On the
// device the values are 8-bit integers, with a real scale for each output channel.
#ifndef BITLOOM_HOST_QUANT_CODEBOOK_H
#define BITLOOM_HOST_QUANT_CODEBOOK_H

#include "host/quant/observer.h"

typedef struct {
  int8_t values[BL_INT_CODES]; // ascending; the last one again where there are fewer
  bl_format format;            // the narrowest that holds them, s2..s8
  double scale;                // real size of an integer in all channels; 0: each has its own
} bl_codebook;

// "nf4": the 16 quantiles of a normal distribution of NF4 (Dettmers et al. 2023, QLoRA, appendix
// E), in units of 1/127.
// "po2": 0 and plus and minus 2^0..2^6.
// "apot": sums of two powers of two with a sign (Li et al. 2020, Additive Powers-of-Two, for 4
// bits): 0, 2^-1, 2^-2 or 2^-4, plus 0 or 2^-3, in units of 1/16.
// Anything else is the path of a text file: 2 to 16 numbers, separated by white space or commas;
// '#' begins a comment. Whole numbers of -128..127 are taken as they are; other numbers are scaled
// so that the largest magnitude becomes 127, and rounded. Errors: IO, FORMAT, RANGE, MEMORY.
BL_MUST_USE bl_status bl_codebook_open(const char *name, bl_codebook *codebook, bl_error *err);
// Codebook of at most 16 whole numbers of -128..127, ascending.
void bl_codebook_make(const int8_t *values, unsigned count, double scale, bl_codebook *codebook);
// The value nearest to x; of two as near the one nearer to 0.
int8_t bl_codebook_nearest(const bl_codebook *codebook, double x);
// Like bl_quantise_weights: w ~ scale * q, q a value of the codebook. The scale is the least one
// for which no weight lies outside the values (minmax) or, of that and 80 smaller ones, the one
// with the least squared error (mse); the codebook's own where it has one. Where a codebook has no
// values on one side of 0, weights on that side do not count.
double bl_codebook_quantise(const bl_codebook *codebook, const float *weights, size_t count,
                            bl_range_method method, int8_t *q);

#endif
