// SPDX-License-Identifier: Apache-2.0
// What the files of low rank share: a layer taken out of its graph as plain numbers.
#ifndef BITLOOM_HOST_LOWRANK_LOWRANK_INTERNAL_H
#define BITLOOM_HOST_LOWRANK_LOWRANK_INTERNAL_H

#include "host/lowrank/factor.h"
#include "host/lowrank/lowrank.h"

typedef struct {
  const bl_lowrank_options *options;
  uint32_t index; // of the node
  bl_node node;   // as it was
  bool conv;      // else dense: outputs x inputs, one tap, one position,
  bool turned;    // whose weights are [inputs][outputs] in the graph
  uint32_t outputs, inputs, taps_y, taps_x;
  uint64_t in_places, row_places, out_places; // positions: of the input, of output rows with input
                                              // columns, of the output
  double *k;                                  // [outputs][inputs][taps]
  double *metric;     // [inputs][inputs] symmetric: what k's inputs are multiplied by; NULL: none
  double *unmetric;   // its inverse
  const double *mean; // [inputs]; NULL: none
  // The factors: node j of `parts` has weights w[j] as its operator stores them.
  uint32_t rank, rank_in, parts;
  double *w[3]; // u, (core,) v: [out][in of the group][taps]
  double *near; // [outputs][inputs][taps] their product, before the metric is taken out
  bl_arena *arena;
  bl_error *err;
} bl_lowrank_work;

// ranks.c: fills in rank and rank_in. Errors: USAGE, those of the factorisations.
BL_MUST_USE bl_status bl_lowrank_choose(bl_lowrank_work *work);
// Fills in the points of bl_lowrank_curve.
BL_MUST_USE bl_status bl_lowrank_points(bl_lowrank_work *work,
                                        bl_lowrank_point points[BL_LOWRANK_MOST_POINTS],
                                        uint32_t *count);
// Weights and multiply-accumulates of the factors at a rank, and of the layer as it is.
void bl_lowrank_cost(const bl_lowrank_work *work, uint32_t rank, uint32_t rank_in,
                     uint64_t *weights, uint64_t *macs);
void bl_lowrank_whole_cost(const bl_lowrank_work *work, uint64_t *weights, uint64_t *macs);
// factorise.c: fills in w, parts and near by rank and rank_in.
BL_MUST_USE bl_status bl_lowrank_factorise(bl_lowrank_work *work);
// The share of k that near misses, squared.
double bl_lowrank_error(const bl_lowrank_work *work);
// k as a matrix for SVD ([outputs][inputs*taps]) or SPATIAL ([inputs*y][outputs*x]).
BL_MUST_USE bl_status bl_lowrank_matrix(const bl_lowrank_work *work, const double **a,
                                        uint32_t *rows, uint32_t *cols);
// factor_nodes.c: puts the factors in the layer's place.
BL_MUST_USE bl_status bl_lowrank_rewrite(bl_float_graph *graph, bl_lowrank_work *work);
bl_status bl_lowrank_no_memory(const bl_lowrank_work *work);

#endif
