// SPDX-License-Identifier: Apache-2.0
// Layers whose sums are exactly the largest and the smallest that an accumulator of ACC_W bits
// holds, or one step more: for each kind of operand that the compiler's proof counts.
#ifndef BITLOOM_TESTS_SUPPORT_EXTREME_SUMS_H
#define BITLOOM_TESTS_SUPPORT_EXTREME_SUMS_H

#include <stdbool.h>
#include <stdint.h>

#include "drivers/bl_driver.h"
#include "host/graph/int_graph.h"

typedef enum {
  BL_EXTREME_SIGNED,   // s8 inputs, s8 weights
  BL_EXTREME_UNSIGNED, // u1 inputs, s8 weights
  BL_EXTREME_BIPOLAR,  // b1 inputs, s8 weights: the array's sums are even
  BL_EXTREME_ADDEND,   // s8 inputs, s8 weights, raised sum, s8 addend
  BL_EXTREME_SIGNS,    // b1 inputs, s8 weights, raised sum, b1 addend: even sums
  BL_EXTREME_ROW_SUM,  // u4 inputs, b1 weights, raised sum, s8 addend: the row sum is larger still
  BL_EXTREME_PLANES,   // the same with b2 weights: the row sum of one plane would fit
  BL_EXTREME_WRAP,     // u1 inputs, b2 weights of -1 and 1: three times the row sum wraps
  BL_EXTREME_KINDS
} bl_extreme_kind;

enum { BL_EXTREME_CHANNELS = 8, BL_EXTREME_POINTS = 4 };

// Even channels reach the largest sum, odd ones the smallest. Point 0 is where even channels are
// largest, 1 where odd ones are smallest, 2 where even ones are smallest, 3 where odd ones are
// largest.
typedef struct {
  bl_extreme_kind kind;
  uint32_t acc_w;
  bool pixels; // the four points are pixels of one image, else images of one pixel
  bool codes;  // the output is s8, acc / 2^(acc_w-8), else the sum itself
  int beyond;  // 1: even channels one step too large, -1: odd ones too small, 0: neither
} bl_extreme_spec;

typedef struct {
  bl_int_graph graph;
  uint32_t inputs;           // of a point
  int32_t *points;           // [point][input]
  int64_t largest, smallest; // what the array computes in channel 0 at point 0, 1 at point 1
  int32_t expected[BL_EXTREME_POINTS][BL_EXTREME_CHANNELS];
} bl_extreme;

// False where the kind has no such layer with a million inputs, or memory is short.
bool bl_extreme_make(const bl_extreme_spec *spec, bl_extreme *made);
void bl_extreme_free(bl_extreme *made);
const char *bl_extreme_name(bl_extreme_kind kind);

enum { BL_EXTREME_TEXT = 300 };
// Compiles for `config`, runs all points on the device behind `driver`, and compares every layer
// with the reference kernels and the last one with `expected`. False with a line in `text`.
bool bl_extreme_run(const bl_extreme_spec *spec, const bl_extreme *made, const bl_config *config,
                    bl_driver *driver, char text[BL_EXTREME_TEXT]);

#endif
