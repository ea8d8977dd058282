// SPDX-License-Identifier: Apache-2.0
// Integers of a stage's weights, before anything refines them.
#ifndef BITLOOM_HOST_QUANT_STAGE_WEIGHTS_H
#define BITLOOM_HOST_QUANT_STAGE_WEIGHTS_H

#include "host/quant/quantise.h"

// Weights of an output channel.
size_t bl_stage_fan(const bl_stage *stage);
// The codebook of a stage's weights; NULL: none.
const bl_codebook *bl_stage_codebook(const bl_stage *stage);
// The rule for ranges that do not follow from a histogram of magnitudes.
bl_range_method bl_own_range(const bl_quantise_options *options);
// Integers and format of layer->weights, and their scale for each channel.
void bl_stage_weights(const bl_quantise_options *options, const bl_stage *stage,
                      bl_int_layer *layer, double *scale);
// Weights that the graph fixes and that are all odd, 15 at most, get the b format that holds them,
// which has a plane less than two's complement.
void bl_stage_bipolar(const bl_stage *stage, bl_int_layer *layer);
// The codebook that a layer's weights are of, unless one of them was made 0 that has no 0. Weights
// that the graph fixes have one where that makes them smaller. Errors: MEMORY.
BL_MUST_USE bl_status bl_stage_codes(const bl_stage *stage, bl_arena *arena, bl_int_layer *layer,
                                     bl_error *err);

#endif
