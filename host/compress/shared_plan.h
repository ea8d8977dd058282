// SPDX-License-Identifier: Apache-2.0
// Shared weights on their way to the device: a codebook for each layer whose weights a rule keeps
// shared.
#ifndef BITLOOM_HOST_COMPRESS_SHARED_PLAN_H
#define BITLOOM_HOST_COMPRESS_SHARED_PLAN_H

#include "host/compress/network.h"

typedef struct {
  bl_layer_plan *entries;
  bl_codebook *codebooks;
} bl_shared_plan;

// Adds to the options' plan, behind what it has, a codebook for each layer with a rule about its
// different values (most) that its float weights still follow. The options point into *plan from
// then on. Errors: MEMORY.
BL_MUST_USE bl_status bl_shared_plan_open(const bl_network *network, bl_quantise_options *options,
                                          bl_shared_plan *plan, bl_error *err);
void bl_shared_plan_close(bl_shared_plan *plan);

#endif
