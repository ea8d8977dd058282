// SPDX-License-Identifier: Apache-2.0
// Pruning on a network's way through a recipe: at once, or gradually in the next training. Pruned
// weights are exactly 0; a rule makes later passes keep them so, and a promise says how many.
#ifndef BITLOOM_HOST_COMPRESS_PRUNING_H
#define BITLOOM_HOST_COMPRESS_PRUNING_H

#include "host/compress/pass.h"
#include "host/prune/reconstruct.h"
#include "host/prune/schedule.h"

// What the pass `prune` has asked for.
struct bl_pruning {
  bl_prune_options options; // rules live in the network's arena
  bl_prune_score score;
  bool blocks;              // those of the network's device
  uint64_t batches;         // that scores by gradient are taken from
  uint64_t reconstruct;     // samples; 0: none
  double begin, end, start; // of gradual pruning: parts of the training, and of the amounts
  uint64_t every;           // steps
};

// Scores of single weights of the graph; scores by gradient take the training data. Errors: USAGE
// where there are none, those of bl_prune_score_data.
BL_MUST_USE bl_status bl_pruning_score(const bl_network *network, bl_prune *prune,
                                       bl_prune_score score, uint64_t batches, bl_error *err);
// Applies masks to the graph, of that many calibration samples reconstructed (0: none). Errors:
// USAGE where there are none, those of bl_prune_reconstruct.
BL_MUST_USE bl_status bl_pruning_apply(const bl_network *network, const bl_prune *prune,
                                       uint64_t samples, bl_error *err);
// Prunes the graph.
BL_MUST_USE bl_status bl_pruning_at_once(bl_network *network, const struct bl_pruning *pruning,
                                         bl_error *err);
// The schedule of a training of so many steps on `graph`, a copy of the network's; its `prune` is
// to be attached to the net and closed. Errors: MEMORY.
BL_MUST_USE bl_status bl_pruning_schedule(const bl_network *network, const bl_float_graph *graph,
                                          uint64_t steps, bl_prune_schedule *schedule,
                                          bl_error *err);
// A layer pattern of a recipe, where only * is special, as bl_prune_rule takes them, in the arena;
// NULL: no memory.
const char *bl_call_pattern(bl_arena *arena, const bl_call *call, const char *pattern);
// Rules and a promise for what is 0 in the graph's layers now. Errors: MEMORY, RANGE.
BL_MUST_USE bl_status bl_pruning_promise(bl_network *network, bl_error *err);

#endif
