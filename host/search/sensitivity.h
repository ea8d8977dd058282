// SPDX-License-Identifier: Apache-2.0
// What each choice does alone, the rest of the network being at its best, or as a plan has it: the
// losses that the integer program adds up, and a table to read.
#ifndef BITLOOM_HOST_SEARCH_SENSITIVITY_H
#define BITLOOM_HOST_SEARCH_SENSITIVITY_H

#include "host/search/candidate.h"

// What a search of a network may choose from: lists, in any order, of values that a knob of its
// kind takes. A knob's own list goes from cheap to good.
typedef struct {
  const double *values[BL_KNOB_KINDS];
  uint32_t counts[BL_KNOB_KINDS]; // 0: no such knobs
} bl_search_choices;

// A knob of each kind for each layer that can have it (the last layer's output has no bits to
// choose, depthwise layers no blocks), in the arena. Errors: RANGE, MEMORY.
BL_MUST_USE bl_status bl_search_space(const bl_candidates *candidates,
                                      const bl_search_choices *choices, bl_arena *arena,
                                      bl_space *space, bl_error *err);

typedef struct {
  bool around_plan;           // the rest is a plan's, so that losses may also fall
  bl_search_result best;      // the rest alone: every knob at its last value, or the plan
  bl_search_result **results; // [knob][value]: that one alone, the rest as in `best`; NULL where
                              // they could not all be measured
} bl_sensitivity;

// rest[space->count]: what the other knobs have; NULL: their last values. Errors: those of
// bl_pool_evaluate, MEMORY.
BL_MUST_USE bl_status bl_sensitivity_measure(bl_pool *pool, const bl_space *space,
                                             const uint8_t *rest, bl_arena *arena,
                                             bl_sensitivity *sensitivity, bl_error *err);

#endif
