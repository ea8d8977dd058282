// SPDX-License-Identifier: Apache-2.0
// Runs a recipe: pass by pass, with the promises of all earlier passes checked, and accuracy, bytes
// and cycles measured, behind each.
#ifndef BITLOOM_HOST_COMPRESS_PIPELINE_H
#define BITLOOM_HOST_COMPRESS_PIPELINE_H

#include "host/compress/recipe.h"

// The network as it stands. Before the pass `quantise`: the float network's accuracy, the bytes of
// its weights as floats, zeros left out of neither, and the cycles that it takes at 8 bits.
typedef struct {
  const char *pass; // "" for the network as it came
  uint32_t line;
  bool integer;
  uint64_t samples, correct; // of the held-out data; 0 samples: nothing to measure with
  uint64_t weights, zeros;
  uint64_t bytes; // of weights
  uint64_t coded; // bytes of the coded file, everything in it; 0: no integers yet
  double cycles;  // of an image in all layers; infinite where it cannot be compiled
  double seconds; // that the pass took
} bl_stage_figures;

// A promise as it stands behind a stage.
typedef struct {
  const bl_keep *keep;
  double figure;
} bl_kept;

typedef void (*bl_stage_listener)(void *user, const bl_stage_figures *figures, const bl_kept *kept,
                                  uint32_t kept_count);

// Measures a network, integers on the functional device. Errors: FORMAT where held-out samples do
// not fit, those of quantisation, the compiler and execution.
BL_MUST_USE bl_status bl_network_measure(const bl_network *network, bl_stage_figures *figures,
                                         bl_error *err);
// Runs all passes. Errors: those of a pass, with recipe, line and pass in front; MISMATCH where a
// pass has broken what an earlier one promised.
BL_MUST_USE bl_status bl_recipe_run(const bl_recipe *recipe, bl_network *network,
                                    bl_stage_listener listener, void *user, bl_error *err);

#endif
