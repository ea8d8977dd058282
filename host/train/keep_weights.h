// SPDX-License-Identifier: Apache-2.0
// Training that keeps what has been achieved in weights: zeros stay zeros, shared values stay
// shared.
//
// Shared weights (Han, Mao and Dally 2016, Deep Compression): which weights are equal does not
// change; their value, a centroid, is learned, and its gradient is the sum of those of its weights.
// Zero is no centroid: it stays.
#ifndef BITLOOM_HOST_TRAIN_KEEP_WEIGHTS_H
#define BITLOOM_HOST_TRAIN_KEEP_WEIGHTS_H

#include "host/train/trainer.h"

typedef struct {
  const char *value; // name of a constant
  bool sparse;       // its zeros stay
  uint32_t most;     // 0, or it is shared, with at most so many different values other than zero
} bl_kept_weights;

typedef struct bl_keep_weights bl_keep_weights;

// Centroids are the values that the graph's weights have. Errors: MISMATCH for a value that is not
// there, RANGE for one with more values than `most`, MEMORY.
BL_MUST_USE bl_status bl_keep_weights_open(const bl_float_graph *graph, const bl_kept_weights *kept,
                                           uint32_t count, bl_keep_weights **keep, bl_error *err);
void bl_keep_weights_close(bl_keep_weights *keep);
// For bl_train_options, in front of those of quantisation; *keep must outlive the net.
const bl_train_transform *bl_keep_weights_transforms(const bl_keep_weights *keep, uint32_t *count);
// After bl_train_open: sets masks, and freezes the weights that centroids stand for.
void bl_keep_weights_attach(bl_keep_weights *keep, bl_train_net *net);
// After bl_train_store into the same graph: writes the centroids. Errors: MISMATCH.
BL_MUST_USE bl_status bl_keep_weights_store(const bl_keep_weights *keep, bl_float_graph *graph,
                                            bl_error *err);

#endif
