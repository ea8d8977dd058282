// SPDX-License-Identifier: Apache-2.0
// Runs a compiled program on a device behind the driver and compares every layer with the reference
// kernels, value by value.
#ifndef BITLOOM_TESTS_REGRESS_RUN_CASE_H
#define BITLOOM_TESTS_REGRESS_RUN_CASE_H

#include "drivers/bl_driver.h"
#include "host/compile/program.h"

enum { BL_CASE_TEXT = 200 };

typedef struct {
  uint64_t compared, differing;
  uint32_t layer; // of the first difference, with its place in the layer's output of its image
  uint32_t image;
  size_t element;
  int32_t expected, got;
} bl_case_result;

// Sends setup and `rounds` batches of the same input (the program of `images` images); every layer
// is read back and compared in the first round, the network's output in the first and the last two.
// Rounds behind the first overlap: nothing waits for their answers but the steps' own fences. False
// with a line in `text` when the driver or memory fails.
bool bl_run_case(bl_driver *driver, const bl_int_graph *graph, const bl_program *program,
                 const int32_t *inputs, uint32_t images, uint32_t rounds, bl_case_result *result,
                 char text[BL_CASE_TEXT]);

#endif
