// SPDX-License-Identifier: Apache-2.0
// Every pass of the kit, each in a file pass_*.c.
#ifndef BITLOOM_HOST_COMPRESS_PASSES_H
#define BITLOOM_HOST_COMPRESS_PASSES_H

#include "host/compress/pass.h"

extern const bl_recipe_pass BL_PASS_AUTO, BL_PASS_SEARCH; // by a search
extern const bl_recipe_pass BL_PASS_BATCH_NORMS, BL_PASS_EQUALISE, BL_PASS_PRUNE,
    BL_PASS_PRUNE_CHANNELS, BL_PASS_QUANTISE, BL_PASS_SHARE, BL_PASS_SMOOTH, BL_PASS_SYNTHETIC,
    BL_PASS_TRAIN;
extern const bl_recipe_pass BL_PASS_SVD, BL_PASS_SPATIAL_SVD, BL_PASS_TUCKER, BL_PASS_CP,
    BL_PASS_SEPARABLE; // pass_lowrank.c

// Rows of parameters that every pass that trains has.
#define BL_PARAM_BATCH                                                                             \
  { BL_COUNT("batch", "64", 1, 4096, "samples of a step") }
#define BL_PARAM_PRECISION                                                                         \
  {                                                                                                \
    BL_CHOICE("precision", "f32", "f32|bf16",                                                      \
              "what convolutions multiply; bf16 where the processor does")                         \
  }
#define BL_PARAM_FLIP                                                                              \
  { BL_FLAG("flip", "false", "flip half of the images left to right") }
#define BL_PARAM_SHIFT                                                                             \
  { BL_COUNT("shift", "0", 0, 64, "shift images by up to so many pixels") }
#define BL_PARAM_FREEZE_STATISTICS                                                                 \
  {                                                                                                \
    BL_NUMBER("freeze-statistics", "0", 0, 1,                                                      \
              "batch norms keep their statistics from this part of the training on; 0: never")     \
  }
#define BL_PARAM_TEACHER                                                                           \
  { BL_TEXT("teacher", "original", "original (the network as it came), none, or an ONNX file") }

#endif
