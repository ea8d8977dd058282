// SPDX-License-Identifier: Apache-2.0
// What each choice does alone, the rest of the network being at its best: the losses that the
// integer program adds up, and a table to read.
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
  bl_search_result best;      // every knob at its last value
  bl_search_result **results; // [knob][value]: that one alone, the rest as in `best`; NULL where
                              // they could not all be measured
} bl_sensitivity;

// Errors: those of bl_pool_evaluate, MEMORY.
BL_MUST_USE bl_status bl_sensitivity_measure(bl_pool *pool, const bl_space *space, bl_arena *arena,
                                             bl_sensitivity *sensitivity, bl_error *err);

#endif
