// SPDX-License-Identifier: Apache-2.0
// The calibration samples inside the network: what every tensor was in float, and what it is in
// the integer network as far as that is made. In memory, row, column, channel.
#ifndef BITLOOM_HOST_QUANT_REPLAY_H
#define BITLOOM_HOST_QUANT_REPLAY_H

#include "host/quant/quantise_internal.h"

struct bl_replay {
  size_t samples;
  uint32_t tensors;
  float **real;    // [tensors] of samples x elements; NULL: not known, or nothing needs it
  size_t *sorted;  // [samples] in an order that follows from their inputs' integers
  int16_t **plain; // [tensors] of samples x elements; NULL: not yet made
};

// Runs the float network on all samples. Errors: MEMORY, RANGE (more than 3 GiB), USAGE (no
// samples), FORMAT (a value that is not finite).
BL_MUST_USE bl_status bl_replay_open(bl_quantising *q, bl_replay **replay);
void bl_replay_close(bl_replay *replay);
// The network's input as integers, with tensor 0 complete.
BL_MUST_USE bl_status bl_replay_input(bl_replay *replay, const bl_int_graph *graph, bl_error *err);
// Runs one complete layer whose inputs are there.
BL_MUST_USE bl_status bl_replay_layer(bl_replay *replay, const bl_int_graph *graph,
                                      const bl_int_layer *layer, bl_error *err);

#endif
