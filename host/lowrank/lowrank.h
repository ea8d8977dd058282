// SPDX-License-Identifier: Apache-2.0
// Low rank: a layer becomes two or three smaller ones whose product is near it.
//
// With a kernel k[n][c][y][x] the layer becomes, each a node of its own, named after the layer:
//   SVD        /u: y x x, c -> r         /v: 1 x 1, r -> n        dense layers, any convolution
//   SPATIAL    /u: y x 1, c -> r         /v: 1 x x, r -> n        Jaderberg et al. 2014
//   TUCKER     /u: 1 x 1, c -> r'   /core: y x x, r' -> r   /v: 1 x 1, r -> n
//   CP         /u: 1 x 1, c -> r    /core: y x x depthwise on r  /v: 1 x 1, r -> n
//   SEPARABLE  /u: y x x depthwise, r for each input channel      /v: 1 x 1, c r -> n
// The bias stays with the last one. What stood behind the layer (batch norm, activation) is not
// touched.
#ifndef BITLOOM_HOST_LOWRANK_LOWRANK_H
#define BITLOOM_HOST_LOWRANK_LOWRANK_H

#include "host/graph/float_graph.h"
#include "host/quant/quantise.h"

typedef enum {
  BL_LOWRANK_SVD,
  BL_LOWRANK_SPATIAL,
  BL_LOWRANK_TUCKER,
  BL_LOWRANK_CP,
  BL_LOWRANK_SEPARABLE
} bl_lowrank_kind;

typedef enum {
  BL_RANK_GIVEN,   // `rank`, and `rank_in` (TUCKER; 0: in proportion)
  BL_RANK_ENERGY,  // the least that keeps `share` of the squared weights (of the squared output,
                   // with moments); TUCKER: of each unfolding
  BL_RANK_WEIGHTS, // the most whose weights are at most `share` of the layer's
  BL_RANK_MACS,    // the most whose multiply-accumulates are
  BL_RANK_AUTO     // what stands out of noise: VBMF; not for CP and SEPARABLE
} bl_rank_rule;

typedef struct {
  bl_lowrank_kind kind;
  bl_rank_rule rule;
  uint32_t rank, rank_in;
  double share; // 0..1
  // Ranks that follow from a rule are whole multiples of it, as the device computes so many
  // channels at once: budgets round down, ENERGY and AUTO up. 0: any. Not for SEPARABLE.
  uint32_t multiple;
} bl_lowrank_options;

// Of what a layer reads, from data: the mean of each channel (of a dense layer: each input), and
// the covariance of channels, both over all positions of all samples.
typedef struct {
  char *layer;
  uint32_t channels;
  double *mean;       // [channels]
  double *covariance; // [channels][channels]
} bl_lowrank_input;

typedef struct {
  bl_arena *arena;
  bl_lowrank_input *inputs;
  uint32_t count;
} bl_lowrank_moments;

// Runs the samples through the graph (of batch 1) and takes the moments of all layers that can be
// factorised and have at most 4096 input channels. Free with bl_arena_free(moments->arena).
// Errors: MEMORY, those of the samples and of the execution.
BL_MUST_USE bl_status bl_lowrank_measure(const bl_float_graph *graph,
                                         const bl_calibration *calibration,
                                         bl_lowrank_moments *moments, bl_error *err);

typedef struct {
  bool changed;           // false: its factors would not be smaller, so it stayed
  uint32_t rank, rank_in; // 0: none
  double error;           // |k - k'|^2 / |k|^2; with moments, of the output about its mean
  uint64_t weights_before, weights_after, macs_before, macs_after;
} bl_lowrank_result;

// Can the layer be factorised that way: a Conv of one group and two spatial dimensions, a Gemm or
// a MatMul, with constant float weights of its own that are not quantised by the graph? Dense
// layers and 1 x 1 convolutions: SVD only.
bool bl_lowrank_applies(const bl_float_graph *graph, const bl_node *node, bl_lowrank_kind kind);

// What a layer would cost and lose at a rank.
typedef struct {
  uint32_t rank, rank_in; // 0: the layer as it is
  double error;           // as in bl_lowrank_result; the least possible at this rank
  uint64_t weights, macs;
} bl_lowrank_point;

enum { BL_LOWRANK_MOST_POINTS = 64 };

// The layer as it is (points[0]), then ranks in ascending multiples, those that save both weights
// and multiply-accumulates. Of `options` only kind and multiple are read. For a choice between
// layers. Errors: as bl_lowrank_layer.
BL_MUST_USE bl_status bl_lowrank_curve(const bl_float_graph *graph, const char *layer,
                                       const bl_lowrank_options *options,
                                       const bl_lowrank_moments *moments,
                                       bl_lowrank_point points[BL_LOWRANK_MOST_POINTS],
                                       uint32_t *count, bl_error *err);

// Factorises the layer of that name. With moments (NULL: without) the error that is made least is
// that of the layer's output on the data that they are of, taps taken as independent, instead of
// that of its weights, and the bias takes what changes in the mean. The layer stays as it is unless
// the factors have both fewer weights and fewer multiply-accumulates. Errors: USAGE for a layer
// that is not there, does not apply, or a rank out of range; RANGE, MEMORY.
BL_MUST_USE bl_status bl_lowrank_layer(bl_float_graph *graph, const char *layer,
                                       const bl_lowrank_options *options,
                                       const bl_lowrank_moments *moments, bl_lowrank_result *result,
                                       bl_error *err);

// Solves the last factor of a layer anew, so that on the samples, reading what the graph as it is
// now gives it, it comes nearest to what the layer gives in `original` (least squares; He, Zhang
// and Sun 2017, arXiv 1707.06168, section 3.2). Call it for one layer after the other in order of
// execution: each then makes up for the errors of those in front. At most 64 windows of a sample.
// Errors: USAGE (not factorised, no samples), RANGE, MEMORY, those of the execution.
BL_MUST_USE bl_status bl_lowrank_refit(bl_float_graph *graph, const bl_float_graph *original,
                                       const char *layer, const bl_calibration *calibration,
                                       bl_error *err);

#endif
