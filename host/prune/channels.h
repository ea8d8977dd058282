// SPDX-License-Identifier: Apache-2.0
// Pruning of whole channels: filters of convolutions, neurons of dense layers. The network gets
// smaller, layer by layer; nothing is left to be skipped or stored.
//
// Channels that meet in an addition, a concatenation, a depthwise layer or a flattened map live or
// go together: such a class of channels is what is pruned. Classes whose layers share others are a
// group. Channels that reach the network's outputs or inputs, or an operator that mixes them
// (Softmax, grouped convolutions, Gather), stay.
//
// Use: bl_channels_open, a score, bl_channels_choose, bl_channels_remove.
#ifndef BITLOOM_HOST_PRUNE_CHANNELS_H
#define BITLOOM_HOST_PRUNE_CHANNELS_H

#include "host/prune/prune.h"

typedef enum {
  BL_CHANNEL_FILTER,  // what makes a channel: weights, one output each
  BL_CHANNEL_OFFSET,  // biases, beta, constants that are added to it or multiplied with it
  BL_CHANNEL_GAMMA,   // of a batch normalisation
  BL_CHANNEL_RUNNING, // its mean and variance
  BL_CHANNEL_READER   // weights that a channel is multiplied with
} bl_channel_use_kind;

// An axis of a constant along which its entries belong to channels.
typedef struct {
  bl_channel_use_kind kind;
  uint32_t node, axis, readers; // readers: nodes that use the value so
  int32_t value;
  size_t count;
  int32_t *ids; // [count] the class of each entry; -1: one that stays
} bl_channel_use;

// Numbers of a node that follow from how many of `ids` are left: an entry of an integer constant,
// of an attribute, or the attribute group.
typedef struct {
  uint32_t node, entry;
  int input; // operand that holds the numbers; -1: attribute
  const char *attribute;
  size_t count;
  int32_t *ids;
} bl_channel_size;

typedef struct {
  bl_arena *arena;
  bl_channel_use *uses;
  bl_channel_size *sizes;
  uint32_t use_count, size_count, use_room, size_room;
  uint32_t class_count, group_count;
  uint32_t *group; // [class_count]
  float *scores;   // [class_count]
  uint8_t *keep;   // [class_count] 0: to be removed
} bl_channels;

// Finds classes and groups. Errors: MEMORY.
BL_MUST_USE bl_status bl_channels_open(const bl_float_graph *graph, bl_channels **channels,
                                       bl_error *err);
void bl_channels_close(bl_channels *channels);

// Scores from those of single weights (`prune`, of the same graph): the L1 or L2 norm over all
// filters of a class, a mean where `mean` (Li et al. 2017, arXiv 1608.08710: L1 of magnitudes),
// else a sum (Molchanov et al. 2019, arXiv 1906.10771: of Taylor scores).
BL_MUST_USE bl_status bl_channels_score(bl_channels *channels, const bl_prune *prune,
                                        bl_prune_norm norm, bool mean, bl_error *err);
// The mean |gamma| of a class's batch normalisations (Liu et al. 2017, Network Slimming, arXiv
// 1708.06519). Errors: USAGE where there are none; a class without any is kept.
BL_MUST_USE bl_status bl_channels_score_gamma(bl_channels *channels, const bl_float_graph *graph,
                                              bl_error *err);

typedef struct {
  double amount;              // part of the classes that is removed, 0..1
  bool global;                // of all together; else of every group
  uint32_t multiple;          // what is left of a layer is a multiple of it, or all; 0: any number
  const bl_prune_rule *rules; // by names of layers; a group follows the first rule that fits one of
  uint32_t rule_count;        // its layers, and then counts for itself
} bl_channels_options;

// Sets `keep`. Every layer keeps at least one channel. Errors: RANGE (amounts), USAGE (a pattern
// that no layer matches), MEMORY.
BL_MUST_USE bl_status bl_channels_choose(bl_channels *channels, const bl_float_graph *graph,
                                         const bl_channels_options *options, bl_error *err);

// Sets everything that makes a removed channel or reads it to 0, and nothing else: the graph then
// computes what it computes without it.
void bl_channels_mask(const bl_channels *channels, bl_float_graph *graph);
// Takes removed channels out: weights and all shapes shrink. `channels` is to be closed afterwards,
// it no longer fits the graph. Errors: MEMORY, those of shape inference.
BL_MUST_USE bl_status bl_channels_remove(const bl_channels *channels, bl_float_graph *graph,
                                         bl_error *err);
// Classes that are to be removed.
uint32_t bl_channels_removed(const bl_channels *channels);

#endif
