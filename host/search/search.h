// SPDX-License-Identifier: Apache-2.0
// The whole search: sensitivities, proposals of the integer program for a row of budgets, uniform
// plans, evolution, and the best of everything that was evaluated.
#ifndef BITLOOM_HOST_SEARCH_SEARCH_H
#define BITLOOM_HOST_SEARCH_SEARCH_H

#include "host/search/evolve.h"
#include "host/search/sensitivity.h"

typedef struct {
  uint32_t axis;           // BL_CYCLES or BL_BYTES: what is traded for accuracy
  bl_search_limits limits; // the loss has none
  uint32_t budgets;        // of the integer program, 2..256
  uint32_t rounds; // that it is solved in, each around what the one before has found; 0: one
  uint32_t population, generations; // of the evolution; 0 generations: none
  uint64_t seed;
  uint32_t workers;                          // for the cycles by layer
  void (*say)(void *user, const char *line); // what has been done; NULL: not wanted
  void *user;
} bl_search_options;

typedef struct {
  bl_sensitivity sensitivity;
  const uint8_t *choice; // the best: with a limit on accuracy the least on the axis, else the least
                         // loss; NULL: no limits were given, or (accuracy alone missed) none meets
  bl_search_result result;
} bl_search_outcome;

// Everything evaluated is in the pool's entries. Errors: RANGE where a limit cannot be met, with
// the least that can; those of its parts.
BL_MUST_USE bl_status bl_search(const bl_candidates *candidates, const bl_space *space,
                                bl_pool *pool, const bl_search_options *options, bl_arena *arena,
                                bl_search_outcome *outcome, bl_error *err);

#endif
