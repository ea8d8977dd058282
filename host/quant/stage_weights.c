// SPDX-License-Identifier: Apache-2.0
#include "host/quant/stage_weights.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "host/quant/gptq.h"
#include "host/quant/weights.h"

enum { CODE_BITS = 4, BIPOLAR_MOST = 15 };

size_t bl_stage_fan(const bl_stage *s) {
  return (size_t)s->window.kernel_h * s->window.kernel_w * (s->in_c / s->window.groups);
}

const bl_codebook *bl_stage_codebook(const bl_stage *s) {
  return s->unit_weights || s->weight_scale != NULL ? NULL : s->codebook;
}

bl_range_method bl_own_range(const bl_quantise_options *options) {
  return options->range == BL_RANGE_MINMAX ? BL_RANGE_MINMAX : BL_RANGE_MSE;
}

static unsigned bits_of(const bl_stage *s, uint32_t n) {
  return s->channel_bits == NULL ? s->weight_bits : s->channel_bits[n];
}

static bl_grid grid_of(const bl_stage *s, uint32_t n) {
  const unsigned bits = bits_of(s, n);
  const int top = (1 << (bits - 1)) - 1;
  return (bl_grid){-top, top, bits == 1, s->codebook};
}

static double squared_error(const bl_grid *grid, const float *w, size_t count, double scale) {
  double sum = 0;
  for (size_t k = 0; k < count; k++) {
    const double e = (double)w[k] - scale * bl_grid_nearest(grid, (double)w[k] / scale);
    sum += e * e;
  }
  return sum;
}

// Integers at the power of two next to a scale: the larger one where nothing may be cut off, else
// the one of the smaller error.
static double to_power(const bl_grid *grid, const float *w, size_t count, double scale,
                       bl_range_method method, int8_t *q) {
  const double below = exp2(floor(log2(scale))), above = exp2(ceil(log2(scale)));
  double power = above;
  if (method == BL_RANGE_MSE &&
      squared_error(grid, w, count, below) < squared_error(grid, w, count, above))
    power = below;
  for (size_t k = 0; k < count; k++)
    q[k] = (int8_t)bl_grid_nearest(grid, (double)w[k] / power);
  return power;
}

// Weights that are ours to choose: `fan` of them, of channel n or of all.
static double choose(const bl_quantise_options *o, const bl_stage *s, uint32_t n, const float *w,
                     size_t fan, int8_t *q) {
  const bl_grid grid = grid_of(s, n);
  const bl_range_method method = bl_own_range(o);
  double scale;
  if (s->codebook != NULL)
    scale = bl_codebook_quantise(s->codebook, w, fan, method, q);
  else if (grid.hi == 1 && o->ternary_threshold > 0)
    scale = bl_ternary_weights(w, fan, o->ternary_threshold, q);
  else
    scale = bl_quantise_weights(w, fan, bits_of(s, n), method, q);
  const bool fixed = s->codebook != NULL && s->codebook->scale > 0;
  return o->power_scales && !fixed ? to_power(&grid, w, fan, scale, method, q) : scale;
}

void bl_stage_weights(const bl_quantise_options *options, const bl_stage *s, bl_int_layer *layer,
                      double *scale) {
  const size_t fan = bl_stage_fan(s);
  layer->weight_format = s->unit_weights           ? (bl_format){BL_FORMAT_S, 2}
                         : s->weight_scale != NULL ? s->weight_format
                         : s->codebook != NULL     ? s->codebook->format
                                                   : bl_weight_format(s->weight_bits);
  const bool ours = !s->unit_weights && s->weight_scale == NULL;
  const bool one = ours && options->per_tensor && s->channel_bits == NULL;
  for (uint32_t n = 0; n < s->out_c; n++) {
    const float *w = s->weights + n * fan;
    int8_t *out = layer->weights + n * fan;
    if (one && n > 0) {
      scale[n] = scale[0];
      continue;
    }
    if (ours) {
      scale[n] = choose(options, s, n, w, one ? s->out_c * fan : fan, out);
      continue;
    }
    scale[n] = s->unit_weights ? 1.0 : s->weight_scale[n];
    for (size_t k = 0; k < fan; k++)
      out[k] = (int8_t)rint((double)w[k] / scale[n]);
  }
}

void bl_stage_bipolar(const bl_stage *s, bl_int_layer *layer) {
  const size_t count = s->out_c * bl_stage_fan(s);
  int most = 0;
  if (s->unit_weights || s->weight_scale == NULL || layer->weight_format.kind != BL_FORMAT_S)
    return;
  for (size_t k = 0; k < count; k++) {
    const int magnitude = abs(layer->weights[k]);
    if (magnitude % 2 == 0 || magnitude > BIPOLAR_MOST) return;
    if (magnitude > most) most = magnitude;
  }
  layer->weight_format = (bl_format){BL_FORMAT_B, 1};
  while (bl_format_max(layer->weight_format) < most)
    layer->weight_format.bits++;
}

// The different values of count weights, ascending, the last one repeated; false: more than codes.
static bool few_values(const int8_t *weights, size_t count, int8_t codes[BL_INT_CODES]) {
  bool met[256] = {false};
  size_t n = 0;
  for (size_t k = 0; k < count; k++)
    met[weights[k] + 128] = true;
  for (int v = 0; v < 256; v++) {
    if (!met[v]) continue;
    if (n == BL_INT_CODES) return false;
    codes[n++] = (int8_t)(v - 128);
  }
  for (size_t k = n; n > 0 && k < BL_INT_CODES; k++)
    codes[k] = codes[n - 1];
  return n > 0;
}

bl_status bl_stage_codes(const bl_stage *s, bl_arena *arena, bl_int_layer *layer, bl_error *err) {
  const bl_codebook *codebook = bl_stage_codebook(s);
  const size_t count = s->out_c * bl_stage_fan(s);
  int8_t codes[BL_INT_CODES];
  if (codebook == NULL &&
      (s->unit_weights || s->weight_scale == NULL || layer->weight_format.kind != BL_FORMAT_S ||
       layer->weight_format.bits <= CODE_BITS || !few_values(layer->weights, count, codes)))
    return BL_OK;
  for (size_t k = 0; codebook != NULL && k < count; k++)
    if (bl_codebook_nearest(codebook, layer->weights[k]) != layer->weights[k]) return BL_OK;
  layer->codebook = bl_arena_alloc(arena, BL_INT_CODES, sizeof *layer->codebook);
  if (layer->codebook == NULL)
    return bl_fail(err, BL_ERR_MEMORY, "node %s: no memory for a codebook", s->name);
  memcpy(layer->codebook, codebook != NULL ? codebook->values : codes, BL_INT_CODES);
  return BL_OK;
}
