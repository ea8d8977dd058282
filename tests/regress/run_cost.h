// SPDX-License-Identifier: Apache-2.0
// Runs a compiled program on a device that has the RTL's counters and compares each run's cycles,
// by reason, with the cycle model.
#ifndef BITLOOM_TESTS_REGRESS_RUN_COST_H
#define BITLOOM_TESTS_REGRESS_RUN_COST_H

#include "drivers/bl_driver.h"
#include "host/compile/program.h"

enum { BL_COST_TEXT = 240 };

// Sends setup and one batch of zeros (cycles do not depend on values), each run between two
// readings of the counters. *runs, *cycles: how many agreed, and their cycles. False with a line in
// `text` when one differs from bl_cost_program, or the driver or memory fails.
bool bl_run_cost(bl_driver *driver, const bl_program *program, uint32_t *runs, uint64_t *cycles,
                 char text[BL_COST_TEXT]);

#endif
