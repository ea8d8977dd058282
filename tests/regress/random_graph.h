// SPDX-License-Identifier: Apache-2.0
// Random layers and small networks for regressions, stratified: layer number i has the precision
// pair i mod 176 and the configuration (i / 176) mod 3, so that 528 layers visit each combination;
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

// What makes a layer more than a plain one.
typedef enum {
  BL_RANDOM_MULTIPLIER, // depthwise with several outputs of each channel
  BL_RANDOM_GROUPS,     // grouped, not depthwise
  BL_RANDOM_ADDEND,     // a second tensor is added, with weights of one set bit,
  BL_RANDOM_BITS,       // or of several
  BL_RANDOM_PROJECTION, // or by a 1x1 convolution of its own
  BL_RANDOM_RAISE,      // the sum scaled up before
  BL_RANDOM_CONCAT,     // parts of a concatenation, at multiples of 8 channels,
  BL_RANDOM_CONCAT_ODD, // or anywhere
  BL_RANDOM_UPSAMPLE,
  BL_RANDOM_TABLE,
  BL_RANDOM_CODEBOOK,
  BL_RANDOM_PRUNED,    // whole words of a channel tile are zero
  BL_RANDOM_PLANES,    // weight planes that are empty, in all tiles
  BL_RANDOM_TILES,     // or in some
  BL_RANDOM_CONNECTED, // a kernel as large as the map
  BL_RANDOM_NARROW,    // 8, 16, .. 64 channels, in and out, under a window
  BL_RANDOM_LONG,      // a reduction longer than a row buffer
  BL_RANDOM_FEATURES
} bl_random_feature;

#define BL_RANDOM_ALL ((1u << BL_RANDOM_FEATURES) - 1)

// A graph, its device and batch, and random inputs for `images` images. Owned by graph.arena.
typedef struct {
  bl_int_graph graph;
  const bl_config *config;
  uint32_t images;
  int32_t *inputs;
  uint32_t features; // bit f: some layer has feature f
} bl_random_case;

// Layer `number` of the run with this seed; `attempt` counts what the compiler refused before. Bit
// f of `allowed` says whether feature f may occur. False when memory is short.
bool bl_random_layer(uint64_t seed, uint32_t number, uint32_t attempt, uint32_t allowed,
                     bl_random_case *made);
// A network of 2 to 6 layers, now and then with branches, additions and concatenations.
bool bl_random_network(uint64_t seed, uint32_t number, uint32_t attempt, uint32_t allowed,
                       bl_random_case *made);
void bl_random_free(bl_random_case *made);
// The features that a layer of the graph shows; of those that only weights show (pruned words,
// empty planes) none.
uint32_t bl_random_features(const bl_int_graph *graph, uint32_t layer, const bl_config *config);
const char *bl_random_feature_name(bl_random_feature feature);

enum { BL_STRATA_WEIGHTS = 11, BL_STRATA_AXES = 12, BL_STRATA_CELLS = 4 };

typedef struct {
  uint32_t precision[16][BL_STRATA_WEIGHTS]; // u1..u8, s2..s8, b1 by b1, s2..s8, b2, b3, b7
  uint32_t axes[BL_STRATA_AXES][BL_STRATA_CELLS];
  uint32_t ran[BL_RANDOM_FEATURES], refused[BL_RANDOM_FEATURES]; // cases
} bl_strata;

// Counts every layer of a case that ran; `program` tells how it was mapped.
void bl_strata_count(bl_strata *strata, const bl_random_case *made, const bl_program *program);
// Counts a case that the compiler refused; returns what to allow when it is drawn again.
uint32_t bl_strata_refuse(bl_strata *strata, const bl_random_case *made, uint32_t allowed);
void bl_strata_add(bl_strata *sum, const bl_strata *more);
// Prints the table; returns the number of empty cells.
uint32_t bl_strata_print(const bl_strata *strata);
// Prints how many cases of each feature ran and were refused; returns how many were never drawn.
uint32_t bl_features_print(const bl_strata *strata);

#endif
