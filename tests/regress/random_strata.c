// SPDX-License-Identifier: Apache-2.0
// What random cases visited: the table of precisions and shapes, and the features.
#include <stdio.h>

#include "tests/regress/random_graph.h"

enum { ACT_FORMATS = 16, WEIGHT_FORMATS = BL_STRATA_WEIGHTS };

static uint32_t act_index(bl_format f) {
  if (f.kind == BL_FORMAT_B) return 15;
  return f.kind == BL_FORMAT_U ? f.bits - 1u : f.bits + 6u;
}

static uint32_t weight_index(bl_format f) {
  if (f.kind == BL_FORMAT_S) return f.bits - 1u;
  return f.bits == 1 ? 0 : f.bits < 4 ? 6u + f.bits : 10;
}

static const struct {
  const char *name, *cells[BL_STRATA_CELLS];
} axes[BL_STRATA_AXES] = {
    {"configuration", {"tiny", "default", "wide"}},
    {"kernel", {"1x1", "square", "rectangular", "whole map"}},
    {"stride", {"1", "2", "3 or more", "uneven"}},
    {"dilation", {"1", "2", "3"}},
    {"padding", {"none", "even", "uneven"}},
    {"pooling", {"none", "tiling", "overlapping", "padded"}},
    {"groups", {"dense", "grouped", "depthwise"}},
    {"output", {"unsigned", "signed", "bipolar", "int32"}},
    {"pixel tiles", {"within a row", "across rows", "across images"}},
    {"input", {"direct", "windows", "in pieces"}},
    {"memories", {"resident", "streamed"}},
    {"runs of a layer", {"one", "several"}},
};

static uint32_t kernel_cell(const bl_int_layer *l, const bl_int_tensor *in) {
  if (l->kernel_h * l->kernel_w == 1) return 0;
  if (l->kernel_h == in->h && l->kernel_w == in->w) return 3;
  return l->kernel_h == l->kernel_w ? 1 : 2;
}

static uint32_t stride_cell(const bl_int_layer *l) {
  if (l->stride_h != l->stride_w) return 3;
  return l->stride_h > 3 ? 2 : l->stride_h - 1;
}

static uint32_t padding_cell(const bl_int_layer *l) {
  if ((l->pad_top | l->pad_bottom | l->pad_left | l->pad_right) == 0) return 0;
  return l->pad_top == l->pad_bottom && l->pad_left == l->pad_right ? 1 : 2;
}

static uint32_t pooling_cell(const bl_int_layer *l) {
  if (l->pool_h * l->pool_w == 1) return 0;
  if ((l->pool_pad_top | l->pool_pad_bottom | l->pool_pad_left | l->pool_pad_right) != 0) return 3;
  return l->pool_stride_h >= l->pool_h && l->pool_stride_w >= l->pool_w ? 1 : 2;
}

static uint32_t tile_cell(const bl_int_tensor *out, const bl_config *config, uint32_t images) {
  if (images > 1 && out->h * out->w % config->rows != 0) return 2;
  return out->h > 1 && out->w % config->rows != 0 ? 1 : 0;
}

static uint32_t output_cell(bl_format f) {
  return f.kind == BL_FORMAT_U ? 0 : f.kind == BL_FORMAT_S ? 1 : f.kind == BL_FORMAT_B ? 2 : 3;
}

static uint32_t input_cell(const bl_program *program, const bl_int_layer *l) {
  if (l->input != 0) return 0;
  if (program->input.cut_ops > 0) return 2;
  return program->input.window_h * program->input.window_w > 1;
}

void bl_strata_count(bl_strata *strata, const bl_random_case *made, const bl_program *program) {
  for (uint32_t i = 0; i < made->graph.layer_count; i++) {
    const bl_int_layer *l = &made->graph.layers[i];
    const bl_int_tensor *in = &made->graph.tensors[l->input];
    const bl_int_tensor *out = &made->graph.tensors[l->output];
    uint32_t dilation = l->dilation_h > l->dilation_w ? l->dilation_h : l->dilation_w;
    const uint32_t cells[BL_STRATA_AXES] = {
        (uint32_t)(made->config - BL_CONFIGS),
        kernel_cell(l, in),
        stride_cell(l),
        dilation - 1,
        padding_cell(l),
        pooling_cell(l),
        l->groups == 1       ? 0
        : l->groups == in->c ? 2u
                             : 1u,
        output_cell(out->format),
        tile_cell(out, made->config, program->images),
        input_cell(program, l),
        program->figures.streamed_bytes > 0,
        program->layer_parts[i] > 1,
    };
    for (uint32_t a = 0; a < BL_STRATA_AXES; a++)
      strata->axes[a][cells[a]]++;
    strata->precision[act_index(in->format)][weight_index(l->weight_format)]++;
  }
  for (uint32_t f = 0; f < BL_RANDOM_FEATURES; f++)
    strata->ran[f] += made->features >> f & 1;
}

uint32_t bl_strata_refuse(bl_strata *strata, const bl_random_case *made, uint32_t allowed) {
  for (uint32_t f = 0; f < BL_RANDOM_FEATURES; f++)
    strata->refused[f] += made->features >> f & 1;
  return allowed & ~made->features;
}

void bl_strata_add(bl_strata *sum, const bl_strata *more) {
  for (uint32_t a = 0; a < ACT_FORMATS; a++)
    for (uint32_t w = 0; w < WEIGHT_FORMATS; w++)
      sum->precision[a][w] += more->precision[a][w];
  for (uint32_t a = 0; a < BL_STRATA_AXES; a++)
    for (uint32_t c = 0; c < BL_STRATA_CELLS; c++)
      sum->axes[a][c] += more->axes[a][c];
  for (uint32_t f = 0; f < BL_RANDOM_FEATURES; f++) {
    sum->ran[f] += more->ran[f];
    sum->refused[f] += more->refused[f];
  }
}

static const char *const activations[ACT_FORMATS] = {
    "u1", "u2", "u3", "u4", "u5", "u6", "u7", "u8", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "b1"};
static const char *const weights[WEIGHT_FORMATS] = {"b1", "s2", "s3", "s4", "s5", "s6",
                                                    "s7", "s8", "b2", "b3", "b7"};

uint32_t bl_strata_print(const bl_strata *strata) {
  uint32_t empty = 0;
  printf("activations");
  for (uint32_t w = 0; w < WEIGHT_FORMATS; w++)
    printf("%6s", weights[w]);
  for (uint32_t a = 0; a < ACT_FORMATS; a++) {
    printf("\n%-11s", activations[a]);
    for (uint32_t w = 0; w < WEIGHT_FORMATS; w++) {
      printf("%6u", strata->precision[a][w]);
      empty += strata->precision[a][w] == 0;
    }
  }
  for (uint32_t a = 0; a < BL_STRATA_AXES; a++) {
    printf("\n%-14s", axes[a].name);
    for (uint32_t c = 0; c < BL_STRATA_CELLS && axes[a].cells[c] != NULL; c++) {
      printf(" %s %u;", axes[a].cells[c], strata->axes[a][c]);
      empty += strata->axes[a][c] == 0;
    }
  }
  printf("\nempty cells: %u\n", empty);
  return empty;
}

const char *bl_random_feature_name(bl_random_feature feature) {
  static const char *const names[BL_RANDOM_FEATURES] = {"depthwise multiplier",
                                                        "groups",
                                                        "addition",
                                                        "addend weights of several bits",
                                                        "projected addend",
                                                        "raised sums",
                                                        "concatenation at multiples of 8",
                                                        "concatenation anywhere",
                                                        "up-sampling",
                                                        "table",
                                                        "codebook",
                                                        "pruned words",
                                                        "empty planes",
                                                        "planes empty in some tiles",
                                                        "fully connected over a map",
                                                        "8..64 channels",
                                                        "longer than a row buffer"};
  return names[feature];
}

uint32_t bl_features_print(const bl_strata *strata) {
  uint32_t never = 0;
  for (uint32_t f = 0; f < BL_RANDOM_FEATURES; f++) {
    printf("%-32s%6u ran, %u refused\n", bl_random_feature_name((bl_random_feature)f),
           strata->ran[f], strata->refused[f]);
    never += strata->ran[f] + strata->refused[f] == 0;
  }
  return never;
}
