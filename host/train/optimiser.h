// SPDX-License-Identifier: Apache-2.0
// Optimisers and learning rate schedules.
#ifndef BITLOOM_HOST_TRAIN_OPTIMISER_H
#define BITLOOM_HOST_TRAIN_OPTIMISER_H

#include "host/train/train_net.h"

typedef enum { BL_OPTIMISER_SGD, BL_OPTIMISER_ADAMW } bl_optimiser_kind;

// SGD with momentum (Sutskever et al. 2013, in the form of PyTorch): g' = g + decay*w;
// v = momentum*v + g'; w -= rate*v, or with nesterov rate*(g' + momentum*v).
// AdamW (Loshchilov and Hutter 2019): m = beta1*m + (1-beta1)*g; v = beta2*v + (1-beta2)*g^2;
// w -= rate*(m/(1-beta1^t) / (sqrt(v/(1-beta2^t)) + epsilon) + decay*w).
// Decay only where a parameter says so; statistics never step.
typedef struct {
  bl_optimiser_kind kind;
  double momentum; // of SGD, 0..1
  bool nesterov;
  double decay;
  double beta1, beta2, epsilon; // of AdamW
  double clip;                  // largest norm of all gradients together; 0: any
} bl_optimiser_options;

// SGD 0.9 with decay 0; AdamW 0.9, 0.999, 1e-8.
bl_optimiser_options bl_optimiser_defaults(bl_optimiser_kind kind);

// From here on a rate is that of numbers of size 1: each of the net's parameters has it times the
// root of the mean of its squares as they are now (of at least 1e-4). For AdamW, whose strides do
// not depend on the gradient's size, where weights differ much in size between layers: a network
// that takes pixels of 0..255 has a first layer that a common rate would destroy. As Adafactor does
// (Shazeer and Stern 2018, arXiv 1804.04235, section 8). Before bl_quant_aware_attach, whose steps
// have rates of their own.
void bl_optimiser_relative(bl_train_net *net);

typedef struct bl_optimiser bl_optimiser;

// For a net's parameters, which must outlive it. Errors: MEMORY.
BL_MUST_USE bl_status bl_optimiser_open(const bl_optimiser_options *options,
                                        const bl_train_parameter *parameters, uint32_t count,
                                        bl_optimiser **optimiser, bl_error *err);
void bl_optimiser_close(bl_optimiser *optimiser);
// One step from the gradients. Errors: RANGE, naming the layer, for a gradient that is not finite:
// then nothing has changed.
BL_MUST_USE bl_status bl_optimiser_step(bl_optimiser *optimiser, double rate, bl_error *err);
// Its memory for check-points: array `k` of `*count` floats, NULL behind the last; steps done.
float *bl_optimiser_state(bl_optimiser *optimiser, uint32_t k, size_t *count);
uint64_t *bl_optimiser_steps(bl_optimiser *optimiser);

typedef enum { BL_SCHEDULE_CONSTANT, BL_SCHEDULE_STEP, BL_SCHEDULE_COSINE } bl_schedule_kind;

// Rate of step t (0, 1, ...). The first `warm_up` steps rise linearly: rate*(t+1)/warm_up. Then
// step: rate * factor^floor(t/every); cosine (Loshchilov and Hutter 2017):
// lowest + (rate - lowest)/2 * (1 + cos(pi * (t - warm_up)/(total - warm_up))).
typedef struct {
  bl_schedule_kind kind;
  double rate, lowest, factor;
  uint64_t warm_up, every, total; // in steps; every and total at least 1
} bl_schedule;

double bl_schedule_rate(const bl_schedule *schedule, uint64_t step);

#endif
