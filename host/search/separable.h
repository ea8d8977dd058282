// SPDX-License-Identifier: Apache-2.0
// A search as an integer program: cycles by layer from the exact model, bytes, and losses from the
// sensitivities, added up.
//
// A layer's cycles depend on its own weights and on the bits of its input, which are those of the
// layer in front: a term for each pair of those, made linear by product variables. What is left
// out: bits of its own output and of a second operand, which change cycles little; and that losses
// of several layers are no sum. So what it proposes is evaluated as a whole.
#ifndef BITLOOM_HOST_SEARCH_SEPARABLE_H
#define BITLOOM_HOST_SEARCH_SEPARABLE_H

#include "host/search/evolve.h"
#include "host/search/sensitivity.h"

typedef struct bl_separable bl_separable;

// Counts cycles for every weight choice with every activation choice (all layers alike in each), in
// `workers` processes. Candidates, space and sensitivity outlive it. Errors: those of
// bl_candidate_costs, MEMORY.
BL_MUST_USE bl_status bl_separable_open(const bl_candidates *candidates, const bl_space *space,
                                        const bl_sensitivity *sensitivity, uint32_t workers,
                                        bl_separable **separable, bl_error *err);
void bl_separable_close(bl_separable *separable);
// The best choice[knobs] for a criterion under limits (accuracy is none of its criteria). *sums:
// what it expects. Errors: those of bl_assign.
BL_MUST_USE bl_status bl_separable_solve(const bl_separable *separable, uint32_t objective,
                                         const bl_search_limits *limits, uint8_t *choice,
                                         double sums[BL_CRITERIA], bl_error *err);

#endif
