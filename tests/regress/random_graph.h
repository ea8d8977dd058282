// SPDX-License-Identifier: Apache-2.0
// Random layers and small networks for regressions, stratified: layer number i has the precision
// pair i mod 128 and the configuration (i / 128) mod 3, so that 384 layers visit each combination;
// everything else is drawn. What was drawn is counted in a table that a run prints.
#ifndef BITLOOM_TESTS_REGRESS_RANDOM_GRAPH_H
#define BITLOOM_TESTS_REGRESS_RANDOM_GRAPH_H

#include <stdbool.h>
#include <stdint.h>

#include "host/compile/program.h"

typedef struct {
  uint64_t state;
} bl_rng;

uint64_t bl_rng_next(bl_rng *rng);
// lo..hi, both included.
uint32_t bl_rng_range(bl_rng *rng, uint32_t lo, uint32_t hi);

// A graph, its device and batch, and random inputs for `images` images. Owned by graph.arena.
typedef struct {
  bl_int_graph graph;
  const bl_config *config;
  uint32_t images;
  int32_t *inputs;
} bl_random_case;

// Layer `number` of the run with this seed; `attempt` counts what the compiler refused before.
// False when memory is short.
bool bl_random_layer(uint64_t seed, uint32_t number, uint32_t attempt, bl_random_case *made);
// A network of 2 to 6 layers, now and then with a branch.
bool bl_random_network(uint64_t seed, uint32_t number, uint32_t attempt, bl_random_case *made);
void bl_random_free(bl_random_case *made);

enum { BL_STRATA_AXES = 12, BL_STRATA_CELLS = 4 };

typedef struct {
  uint32_t precision[16][8]; // u1..u8, s2..s8, b1 by b1, s2..s8
  uint32_t axes[BL_STRATA_AXES][BL_STRATA_CELLS];
} bl_strata;

// Counts every layer of a case that ran; `program` tells how it was mapped.
void bl_strata_count(bl_strata *strata, const bl_random_case *made, const bl_program *program);
// Prints the table; returns the number of empty cells.
uint32_t bl_strata_print(const bl_strata *strata);

#endif
