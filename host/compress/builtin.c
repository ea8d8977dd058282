// SPDX-License-Identifier: Apache-2.0
// The recipes that come with the kit, and how any recipe is found.
#include <stdlib.h>
#include <string.h>

#include "host/base/file.h"
#include "host/compress/recipe.h"

#define PASSES(name, about, text)                                                                  \
  { name, "about: " about "\npasses:\n" text }

const bl_builtin_recipe BL_RECIPES[] = {
    PASSES("w8a8", "8-bit weights and activations, nothing trained",
           "  - quantise: {weight-bits: 8, activation-bits: 8, rounding: gptq,\n"
           "               bias-correction: empirical}\n"),
    PASSES("w4a8", "4-bit weights, 8-bit activations, nothing trained",
           "  - quantise: {weight-bits: 4, activation-bits: 8, rounding: gptq,\n"
           "               bias-correction: empirical}\n"),
    PASSES("w4a4", "4-bit weights and activations, trained with their rounding",
           "  - quantise: {weight-bits: 4, activation-bits: 4, rounding: gptq,\n"
           "               bias-correction: empirical}\n"
           "  - train: {epochs: 24, relative-rate: true, lr: 2e-3, clip: 1, average: 0.998}\n"),
    PASSES("w2a2",
           "2-bit weights and activations, 8 bits in first and last weights and in sums, trained",
           "  - quantise:\n"
           "      weight-bits: 2\n"
           "      activation-bits: 2\n"
           "      skip-bits: 8\n"
           "      layers:\n"
           "        first: {weight-bits: 8}\n"
           "        last: {weight-bits: 8}\n"
           "  - train: {epochs: 60, relative-rate: true, lr: 6e-3, warm-up: 0.5, clip: 1,\n"
           "            temperature: 2, ratio-bits: 4}\n"),
    PASSES("w1a1", "1-bit weights and activations, first and last layer 8-bit weights, trained",
           "  - quantise:\n"
           "      weight-bits: 1\n"
           "      activation-bits: 1\n"
           "      layers:\n"
           "        first: {weight-bits: 8}\n"
           "        last: {weight-bits: 8}\n"
           "  - train: {epochs: 40, lr: 1e-3, clip: 1, freeze-steps: 0.001, weight-decay: 0}\n"),
    PASSES("nf4", "weights of NF4's 16 values, 8-bit activations, nothing trained",
           "  - quantise: {weight-bits: 4, codebook: nf4, rounding: gptq,\n"
           "               bias-correction: empirical}\n"),
    PASSES("po2", "weights 0 and powers of two in 4-bit codes, 8-bit activations, nothing trained",
           "  - quantise: {weight-bits: 4, codebook: po2, rounding: gptq,\n"
           "               bias-correction: empirical}\n"),
    PASSES("ternary", "weights -1, 0 and 1 with a scale for each channel, trained",
           "  - quantise: {weight-bits: 2}\n"
           "  - train: {epochs: 10, lr: 2e-4, ternary: true}\n"),
    PASSES("data-free", "8 bits from the model alone, which must have batch normalisations",
           "  - synthetic-data\n"
           "  - quantise: {weight-bits: 8, activation-bits: 8, range: minmax,\n"
           "               bias-correction: analytic}\n"),
    PASSES("deep-compression", "a tenth of the weights, with 15 shared values; for --coded",
           "  - prune: {sparsity: 0.9, gradual: true, regrow: true, keep-first: false}\n"
           "  - train: {epochs: 20, lr: 1e-3}\n"
           "  - share: {clusters: 15}\n"
           "  - train: {epochs: 3, lr: 1e-4}\n"
           "  - quantise: {offset-bits: 6}\n"),
    PASSES("auto", "the least cycles that stay within a point of the float network, with training",
           "  - auto: {max-drop: 1}\n"),
    {NULL, NULL},
};

bl_status bl_recipe_open(const char *name, bl_recipe **recipe, bl_error *err) {
  uint8_t *bytes;
  size_t size;
  for (uint32_t k = 0; BL_RECIPES[k].name != NULL; k++)
    if (strcmp(BL_RECIPES[k].name, name) == 0)
      return bl_recipe_parse(name, BL_RECIPES[k].text, strlen(BL_RECIPES[k].text), recipe, err);
  BL_TRY(bl_file_read(name, BL_RECIPE_MAX_BYTES, &bytes, &size, err));
  const bl_status status = bl_recipe_parse(name, (const char *)bytes, size, recipe, err);
  free(bytes);
  return status;
}
