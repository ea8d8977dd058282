// SPDX-License-Identifier: Apache-2.0
// The signature of a run (docs/reference/device.md) from what the reference kernels computed: the
// sum of the CRC-32 of every address and word that the run should write. What a run covers, its
// words and lanes, is read from its descriptor; what stands there from the integers.
#ifndef BITLOOM_HOST_RUN_SIGNATURE_H
#define BITLOOM_HOST_RUN_SIGNATURE_H

#include "host/compile/program.h"

// The signature of the run that `step` of program->batch starts. `values` are the outputs of the
// step's layer for all program->images images. False when integers do not say it: the step is no
// RUN, or one that leaves partial sums.
bool bl_signature_run(const bl_program *program, const bl_int_graph *graph, const bl_step *step,
                      const int32_t *values, uint32_t *signature);

#endif
