// SPDX-License-Identifier: Apache-2.0
// Evolution of candidates where the criteria are no sums over layers: NSGA-II (Deb, Pratap,
// Agarwal, Meyarivan 2002, IEEE Trans. Evol. Comp. 6(2)), with its rule for constraints: what meets
// the limits is better than what does not, and among those the one that misses them by less.
#ifndef BITLOOM_HOST_SEARCH_EVOLVE_H
#define BITLOOM_HOST_SEARCH_EVOLVE_H

#include <assert.h>

#include "host/search/assign.h"
#include "host/search/pool.h"

enum { BL_CYCLES, BL_BYTES, BL_LOSS, BL_EVOLVE_MOST_POPULATION = 1024 };
static_assert(BL_LOSS + 1 == BL_CRITERIA, "criteria of the integer program");

typedef struct {
  double most[BL_CRITERIA]; // INFINITY: no limit
  double least_accuracy;    // 0..1; negative: no limit
} bl_search_limits;

double bl_search_criterion(const bl_search_result *result, uint32_t criterion);
// By how much limits are missed, each as a part of itself, summed; 0: all are met.
double bl_search_excess(const bl_search_result *result, const bl_search_limits *limits);

typedef struct {
  uint32_t population;  // 4..BL_EVOLVE_MOST_POPULATION
  uint32_t generations; // after the first population
  uint64_t seed;
  unsigned mask; // criteria to minimise (1 << BL_CYCLES ...), at least one
  bl_search_limits limits;
} bl_evolve_options;

// Evolves, from first[first_count][knobs] and random ones; everything that was evaluated is in the
// pool's entries afterwards, the same for a seed whatever the number of workers. Errors: RANGE,
// MEMORY, those of bl_pool_evaluate.
BL_MUST_USE bl_status bl_evolve(bl_pool *pool, const bl_space *space,
                                const bl_evolve_options *options, const uint8_t *first,
                                uint32_t first_count, bl_error *err);

#endif
