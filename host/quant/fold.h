// SPDX-License-Identifier: Apache-2.0
// What follows the sums of a stage, as one scale, one offset and one clamp for each channel.
#ifndef BITLOOM_HOST_QUANT_FOLD_H
#define BITLOOM_HOST_QUANT_FOLD_H

#include "host/quant/lower.h"

// The operations in front of an addition, which are linear; none without one.
bl_affine bl_fold_before(const bl_stage *stage, uint32_t n);
// Those of its projection; none without one.
bl_affine bl_fold_projection(const bl_stage *stage, uint32_t n);
// What follows the dequantised accumulator: everything, or what lies behind the addition, with the
// offsets of what lies in front of it.
bl_affine bl_fold_after(const bl_stage *stage, uint32_t n);
// The scale; 1 for 0, which in front of an addition is taken into the weights, see bl_fold_silence.
double bl_fold_factor(bl_affine f);
// Sets weights of channels to 0 that an addition multiplies by 0.
void bl_fold_silence(const bl_stage *stage);
// Takes the scales in front of the first clamp, or of the addition, into the weights, where these
// are the stage's to choose: what is left of them are offsets. False: no memory.
bool bl_fold_into_weights(bl_stage *stage, bl_arena *arena);

#endif
