// SPDX-License-Identifier: Apache-2.0
// What is left of a pruned layer, and the layers behind it, take over from what is gone, as far as
// a few samples (without labels) let them: least squares, layer by layer. Hubara et al. 2021,
// Accelerated Sparse Neural Training, arXiv 2102.08124 (AdaPrune), for weights and blocks; He,
// Zhang and Sun 2017, arXiv 1707.06168, for channels.
//
// For an output with weights w, whose inputs were x and are y in the network pruned so far, and the
// weights S that are kept:
//   min over v, v = 0 outside S, of the mean of (w' x - v' y)^2 + damping |w - v|^2
// with damping 0.01 times the mean of y^2, and a bias among v where the layer has one of its own.
#ifndef BITLOOM_HOST_PRUNE_RECONSTRUCT_H
#define BITLOOM_HOST_PRUNE_RECONSTRUCT_H

#include "host/prune/channels.h"

// Instead of bl_prune_apply: sets pruned weights of the graph to 0 and changes the others, from the
// first layer on that loses any. The graph has the weights of before. Of each sample at most 64
// windows of a layer are taken. Linear algebra runs in one thread. Time: for each layer that of
// running the samples twice, windows x 3 inputs^2, and inputs^3/3 for every different row of its
// mask. Errors: USAGE (no samples, or of another size), MISMATCH, MEMORY.
BL_MUST_USE bl_status bl_prune_reconstruct(const bl_prune *prune, bl_float_graph *graph,
                                           const bl_train_data *data, uint64_t samples,
                                           bl_error *err);
// The masks of what reads removed channels, for the above; then bl_channels_remove.
void bl_channels_masks(const bl_channels *channels, bl_prune *prune);

#endif
