// SPDX-License-Identifier: Apache-2.0
// What the files of pruning share.
#ifndef BITLOOM_HOST_PRUNE_PRUNE_INTERNAL_H
#define BITLOOM_HOST_PRUNE_PRUNE_INTERNAL_H

#include "host/prune/prune.h"

// The layer's weights in a graph or net; NULL, with an error, where there are none.
const bl_value *bl_prune_weights(const bl_prune_layer *layer, const bl_float_graph *graph,
                                 bl_error *err);
const bl_train_parameter *bl_prune_parameter(bl_train_net *net, const bl_prune_layer *layer,
                                             bl_error *err);
// A dense layer's (or any other's) weight number at output n, channel c of its group, tap t.
static inline size_t bl_prune_index(const bl_prune_layer *l, size_t n, size_t c, size_t t) {
  return n * l->output_stride + c * l->channel_stride + t * l->tap_stride;
}

#endif
