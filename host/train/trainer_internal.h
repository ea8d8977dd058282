// SPDX-License-Identifier: Apache-2.0
// What a run remembers, shared by the loop and the check-points.
#ifndef BITLOOM_HOST_TRAIN_TRAINER_INTERNAL_H
#define BITLOOM_HOST_TRAIN_TRAINER_INTERNAL_H

#include "host/train/trainer.h"

struct bl_trainer {
  bl_train_net *net;
  const bl_train_data *data, *test;
  bl_trainer_options options;
  bl_optimiser *optimiser;
  bl_train_parameter *parameters;
  uint32_t parameter_count;
  size_t batch, outputs; // samples of a batch, numbers that the network gives for one
  uint64_t steps;        // of an epoch
  uint32_t *order;       // of this epoch
  int64_t *labels;       // [2][batch] of this batch, and the other way round
  float *target;         // of this batch, for losses against numbers
  float *recalled;       // of this batch, what the teacher has answered before
  float *gradient;       // of this batch, with the labels of what is mixed in
  bl_train_record *history;
  // The state that a check-point holds, beside weights and the optimiser's memory.
  uint64_t epoch, step; // next to be done
  double loss_sum;      // of the epoch's batches so far
  uint64_t correct;
};

#endif
