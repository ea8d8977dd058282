// SPDX-License-Identifier: Apache-2.0
// Functions of one number, as graphs write them: the nodes between a value and what is made of it
// element by element, such as x * Sigmoid(x). On the device one is a table of 256 entries.
#ifndef BITLOOM_HOST_QUANT_FUNCTION_H
#define BITLOOM_HOST_QUANT_FUNCTION_H

#include "host/graph/float_graph.h"
#include "host/quant/observer.h"

enum { BL_FUNCTION_MAX_STEPS = 32 };

// One node. Operand k is result at[k] of an earlier step (0: the argument x, n: that of step n-1),
// or, where at[k] is -1, the number constant[k].
typedef struct {
  const bl_node *node;
  int at[3];
  double constant[3];
  const bl_value *table; // of a Gather, which looks its second operand up in it
} bl_function_step;

typedef struct {
  bl_function_step steps[BL_FUNCTION_MAX_STEPS]; // the last one's result is the function's
  uint32_t count;                                // 1 or more
} bl_function;

// Can a node of this operator be a step?
bool bl_function_takes(bl_float_op op);
// The function at x, in double.
double bl_function_value(const bl_function *function, double x);

// The quantiser of a table's index: 8 bits, signed, its scale and zero point such that the index
// covers the whole range that was observed of x (minmax), or that part of it for which the function
// of the index has the least squared error over the histogram (mse). The zero point need not lie in
// the format.
bl_quantiser bl_function_index(const bl_function *function, const bl_observer *observer,
                               bl_range_method method);
// What rounds a level of the output to an integer lo..hi.
typedef struct {
  bl_quantiser quantiser;
  int32_t lo, hi;
  const bl_node *rounding; // a QONNX Quant; NULL: to the nearest, halves up
} bl_function_output;

// The table: entry [q & 255] is the output's integer for index q, -128..127 or 0..255 by the
// index's format.
void bl_function_table(const bl_function *function, bl_quantiser index,
                       const bl_function_output *output, int32_t table[BL_INT_TABLE]);

#endif
