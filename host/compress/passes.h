// SPDX-License-Identifier: Apache-2.0
// Every pass of the kit, each in a file pass_*.c.
#ifndef BITLOOM_HOST_COMPRESS_PASSES_H
#define BITLOOM_HOST_COMPRESS_PASSES_H

#include "host/compress/pass.h"

extern const bl_recipe_pass BL_PASS_AUTO, BL_PASS_SEARCH; // by a search
extern const bl_recipe_pass BL_PASS_EQUALISE, BL_PASS_PRUNE, BL_PASS_PRUNE_CHANNELS,
    BL_PASS_QUANTISE, BL_PASS_SHARE, BL_PASS_SMOOTH, BL_PASS_SYNTHETIC, BL_PASS_TRAIN;
extern const bl_recipe_pass BL_PASS_SVD, BL_PASS_SPATIAL_SVD, BL_PASS_TUCKER, BL_PASS_CP,
    BL_PASS_SEPARABLE; // pass_lowrank.c

#endif
