// SPDX-License-Identifier: Apache-2.0
// The list of passes, in the order in which help prints them.
#include "host/compress/passes.h"

const bl_recipe_pass *const BL_PASSES[] = {
    &BL_PASS_BATCH_NORMS,
    &BL_PASS_EQUALISE,
    &BL_PASS_PRUNE_CHANNELS,
    &BL_PASS_PRUNE,
    &BL_PASS_SVD,
    &BL_PASS_SPATIAL_SVD,
    &BL_PASS_TUCKER,
    &BL_PASS_CP,
    &BL_PASS_SEPARABLE,
    &BL_PASS_SMOOTH,
    &BL_PASS_SYNTHETIC,
    &BL_PASS_QUANTISE,
    &BL_PASS_SHARE,
    &BL_PASS_TRAIN,
    &BL_PASS_SEARCH,
    &BL_PASS_AUTO,
    NULL,
};
