// SPDX-License-Identifier: Apache-2.0
// Gradual pruning while a network trains: Zhu and Gupta 2017, arXiv 1710.01878. At step t of
// begin..end the amount is
//   amount * (1 - (1 - start) * (1 - (t - begin) / (end - begin))^3)
// and masks are chosen anew every `every` steps and at the end; before begin nothing is pruned, and
// behind the end the masks stay. Between choices pruned weights are held at 0.
//
// A run that is stopped and resumed ends with the same bits: after every step a weight is pruned
// exactly if it is 0, so that the check-point's weights are the masks. (A weight that comes back,
// with `regrow`, starts at 1e-30 against its gradient instead of 0.) Call bl_prune_attach after
// bl_trainer_open or bl_trainer_resume and before bl_trainer_run.
#ifndef BITLOOM_HOST_PRUNE_SCHEDULE_H
#define BITLOOM_HOST_PRUNE_SCHEDULE_H

#include "host/prune/prune.h"

typedef struct {
  bl_prune *prune;            // attached to the net
  bl_prune_options options;   // amounts are those of the end
  bl_prune_score score;       // of the weights of the moment, and the gradients of its batch
  uint64_t seed;              // of random scores
  uint64_t begin, end, every; // steps over all epochs; every: at least 1
  double start;               // part of the amounts that is pruned at once at `begin`, 0..1
} bl_prune_schedule;

// The part (0..1) of the amounts that is due at a step; below 0 where no choice is due.
double bl_prune_schedule_factor(const bl_prune_schedule *schedule, uint64_t step);
// Prunes while a trainer runs, whose check-points of another schedule are refused. The schedule
// must outlive the run. Errors of the run: those of scores and masks.
bl_train_hook bl_prune_hook(bl_prune_schedule *schedule);

#endif
