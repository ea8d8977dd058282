// SPDX-License-Identifier: Apache-2.0
// One device compared with the reference kernels by signatures: nothing but the network's output
// leaves the device while they agree.
#ifndef BITLOOM_HOST_RUN_COMPARE_SIGNED_H
#define BITLOOM_HOST_RUN_COMPARE_SIGNED_H

#include "host/run/compare.h"
#include "host/run/program_session.h"

// Runs `images` inputs (1..program->images; `in` has room for program->images, what is missing is
// filled in) on both and compares the signature of each run with what the reference's integers ask
// for. On a difference the device runs once more and sends the first layer that differs, and
// comparison->first names the first value. Errors: those of the executors; DEVICE (no signatures),
// MEMORY.
BL_MUST_USE bl_status bl_compare_signed(const bl_program *program, const bl_int_graph *graph,
                                        const bl_executor *reference, bl_session *session,
                                        int32_t *in, size_t images, bl_comparison *comparison,
                                        bl_error *err);

#endif
