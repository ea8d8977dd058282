// SPDX-License-Identifier: Apache-2.0
// The constants of a channel's requantisation, y = clamp((acc*mult + bias) >> shift, ...), from a
// real scale and offset, or from the exact thresholds that a quantised graph fixes.
#ifndef BITLOOM_HOST_QUANT_REQUANT_H
#define BITLOOM_HOST_QUANT_REQUANT_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
  int32_t mult;  // magnitude in [2^15, 2^16)
  int64_t bias;  // 48-bit signed, rounding half included
  uint8_t shift; // 1..47
} bl_requant;

// floor(acc*scale + offset + 1/2) with 16 bits of scale. False when no shift 1..47 and 48-bit bias
// can hold it; a scale too small to matter for |acc| < 2^31 becomes the smallest one that is legal
// only when scale is 0, with *zero_weights set: the caller then zeroes the channel's weights.
bool bl_requant_real(double scale, double offset, bl_requant *out, bool *zero_weights);

// The integer that the graph computes for an accumulator; monotone in acc.
typedef int32_t (*bl_level_function)(const void *context, int64_t acc);

// A channel's exact quantisation function: level(acc) for acc_lo <= acc <= acc_hi, then clamped by
// the device to level_lo..level_hi (which level() already respects).
typedef struct {
  bl_level_function level;
  const void *context;
  int64_t acc_lo, acc_hi;
  int32_t level_lo, level_hi;
} bl_levels;

// Finds constants for which every threshold falls on the same integer: for a multiplier, each
// threshold bounds the bias from both sides; multipliers are tried outwards from the slope that the
// thresholds show until the bounds leave a bias. Returns how many accumulators still differ after
// checking all of acc_lo..acc_hi (0: exact).
uint64_t bl_requant_fit(const bl_levels *levels, bl_requant *out);

#endif
