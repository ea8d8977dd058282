// SPDX-License-Identifier: Apache-2.0
// One device compared with the reference kernels by signatures: nothing but the network's output
// leaves the device while they agree.
//
// A sum of CRCs does not see everything: where all words of an aligned block of 2^k addresses are
// equal, the same bits flipped in each of them may leave the sum as it is. So the network's output
// is compared by value as well; when only that differs, every layer is looked at.
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
