// SPDX-License-Identifier: Apache-2.0
// What the files of quantisation-aware training share: the tensors that are quantised.
#ifndef BITLOOM_HOST_TRAIN_QUANT_AWARE_INTERNAL_H
#define BITLOOM_HOST_TRAIN_QUANT_AWARE_INTERNAL_H

#include "host/train/fake_quant.h"
#include "host/train/quant_aware.h"

// An element-wise factor of channel n between a product and the sum that it goes into: a batch
// norm's gamma / sqrt(variance + epsilon), or a constant that multiplies or divides.
typedef struct {
  bl_float_op op;
  int32_t value, variance; // in the training graph
  const float *data, *variances;
  size_t count; // 1 or the channels
  double epsilon;
} bl_quant_factor;

enum { BL_QUANT_MAX_FACTORS = BL_LOWER_MAX_POSTS };

// What is remembered of a weight's flips, for check-points: its integer behind the last step (NAN
// before the first), the sign of its last change, running means of the integer and of changes in
// the other direction. The frequency is infinite where the weight stays at its integer.
enum { BL_QUANT_INTEGER, BL_QUANT_DIRECTION, BL_QUANT_MEAN, BL_QUANT_FREQUENCY, BL_QUANT_MEMORIES };

// A quantised tensor.
typedef struct bl_quant_point {
  bl_fake_quant quant;
  const bl_quant_aware *aware;
  unsigned bits;
  char *value;   // name
  int32_t index; // in the training graph
  int32_t one;   // in the graph of batch 1
  bool weight;   // else data
  bool learns;   // its steps are parameters
  float *first;  // [channels] steps at the start
  float *steps;  // [channels] steps of the last forward
  float *learned;
  const float *weights;             // the net's, of a weight
  float *memory[BL_QUANT_MEMORIES]; // [elements] each, of a weight; NULL: flips are not followed
  float *rounded;                   // [elements]
  const bl_codebook *codebook;
  // Weights in front of a sum: step[n] = addend / (in * product of factors * ratio[n]).
  const struct bl_quant_point *in, *addend; // NULL: not tied
  double *ratio; // NULL: of ratio_bits, nearest to what the learned steps give
  bl_quant_factor factors[BL_QUANT_MAX_FACTORS];
  uint32_t factor_count;
} bl_quant_point;

struct bl_quant_aware {
  bl_arena *arena;
  const bl_float_graph *graph;
  bl_quant_aware_options options;
  bl_quant_point *points;
  uint32_t point_count;
  bl_train_transform *transforms; // [point_count]
  bool weights_pass;              // weights are not quantised yet
};

// While points are found.
typedef struct {
  bl_quant_aware *aware;
  bl_float_graph *one;
  const bl_calibration *calibration;
  bl_float_session *session;
  bl_lowered lowered;
  bl_arena *scratch;
  bl_error *err;
} bl_quant_finding;

bl_status bl_quant_no_memory(bl_error *err);
// The value behind the quantiser: y[count] from x[count], in the graph's order.
void bl_quant_apply(const bl_quant_point *point, const float *x, size_t count, float *y);
// The steps that a point's tensor has now: step[channels]. `x` is the tensor, of `count` elements.
void bl_quant_steps(const bl_quant_point *point, const float *x, size_t count, float *step);
// The steps of post-training quantisation for weights[count]: step[channels].
BL_MUST_USE bl_status bl_quant_first_steps(const bl_quant_point *point, const float *weights,
                                           size_t count, float *step, bl_error *err);
// quant_points.c: all points, from the stages of the graph of batch 1.
BL_MUST_USE bl_status bl_quant_find(bl_quant_finding *finding);
// quant_tie.c: ties the weights of stage `stage` where it takes a sum. `in` and `addend` are the
// points of its operands.
BL_MUST_USE bl_status bl_quant_tie(const bl_quant_finding *finding, const bl_stage *stage,
                                   bl_quant_point *point, const bl_quant_point *in,
                                   const bl_quant_point *addend);
// quant_oscillation.c: memory of the points' weights.
BL_MUST_USE bl_status bl_quant_watch_open(bl_quant_aware *aware, bl_error *err);
// Behind an optimiser's step at this part of the training: weights that oscillate are frozen, those
// that are get the value of their integer.
void bl_quant_watch(bl_quant_aware *aware, bl_train_net *net, double part);

#endif
