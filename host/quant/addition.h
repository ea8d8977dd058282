// SPDX-License-Identifier: Apache-2.0
// Additions inside the accumulation: acc = sum * 2^raise + d * r, so d is the ratio of the two
// operands' scales, times 2^raise. Where r is projected, by integer weights q2, it is
// acc = sum * 2^raise + d * (sum of q2 * r).
#ifndef BITLOOM_HOST_QUANT_ADDITION_H
#define BITLOOM_HOST_QUANT_ADDITION_H

#include <stddef.h>
#include <stdint.h>

#include "host/base/error.h"
#include "host/quant/codebook.h"

typedef struct {
  const char *name;  // of the node, for errors
  uint32_t channels; // of the output
  size_t fan;        // weights of a channel
  const double
      *unit; // [channels] real sum = scale * unit * sum, as a multiple of the addend's scale
  const float *weights;        // [channels][fan]; NULL where the integers are fixed
  unsigned weight_bits;        // of integers that are not fixed, 2..8
  const uint8_t *channel_bits; // [channels] in place of weight_bits; NULL: those
  const bl_codebook *codebook; // whose values those integers are; NULL: any
  double *scale;               // [channels] of the weights; pulled where they are not fixed
  int8_t *integers;            // [channels][fan]; rounded again where the scale is pulled
  const float *projection;     // [channels][projection_fan]; NULL: r is added as it is
  size_t projection_fan;
  const double *projection_scale; // [channels] of its integers, with `weights` NULL only
  double square;                  // mean square of r, as a multiple of that of the sum's inputs
  int32_t *ratio;                 // [channels] out: d, or [channels][projection_fan] d * q2
  int32_t *step;                  // [channels] out, with a projection: d alone; NULL: not wanted
  uint8_t raise;                  // out: 0..24
} bl_addition;

// What that costs: where scales are pulled, the weights' signal to quantisation noise in dB with
// them and with the scales that the weights would have alone; else the largest relative error of
// a channel's d. All 0 for layers without an addition.
typedef struct {
  double sqnr, sqnr_alone, ratio_error;
} bl_addition_cost;

// Where the weights are ours to choose, their scale is pulled so that d is a power of two, which is
// one plane; a channel whose unit is negative gets negated weights. Each channel begins with the
// power of the least noise; then, in groups of eight channels, which a device works on together,
// powers are left as long as the noise of all weights stays within 1 dB of that, the cheapest
// first. Where they are fixed the sum is raised until all d are whole, at most until the least has
// nine bits, and they are rounded.
// Errors: UNSUPPORTED (a unit of 0), RANGE (scales too far apart), MEMORY.
BL_MUST_USE bl_status bl_addition_fit(bl_addition *addition, bl_addition_cost *cost, bl_error *err);

#endif
