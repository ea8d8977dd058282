// SPDX-License-Identifier: Apache-2.0
// Weight words of channel tiles. A tile issues only the planes that its own weights need, the
// narrowest two's complement without planes that are zero throughout, and only the window words in
// which some column has a weight: pruned blocks, other groups' channels and padding take no time.
#include "host/compile/internal.h"

#include <string.h>

// What the weights of one tile are like, over the words that hold any.
typedef struct {
  int8_t lo, hi;
  uint32_t any;
} span_of_values;

static bool word_is_empty(const bl_mapping *m, uint32_t t, uint32_t id, span_of_values *s) {
  const uint32_t cols = m->config->cols;
  bool empty = true;
  for (uint32_t lane = 0; lane < m->config->lanes; lane++)
    for (uint32_t c = 0; c < cols; c++) {
      int8_t w = bl_lane_weight(m, t * cols + c, id, lane);
      empty = empty && w == 0;
      s->any |= (uint8_t)w;
      if (w < s->lo) s->lo = w;
      if (w > s->hi) s->hi = w;
    }
  return empty;
}

static void choose_planes(const bl_mapping *m, const span_of_values *s, bl_tile_plan *tile) {
  tile->sign_plane = -1;
  tile->plane_mask = m->bipolar_planes > 0 ? (1u << m->bipolar_planes) - 1 : s->any;
  if (m->bipolar_planes > 0 || s->lo == 0) return;
  int width = 1;
  while (s->lo < -(1 << (width - 1)) || s->hi >= 1 << (width - 1))
    width++;
  tile->sign_plane = width - 1;
  tile->plane_mask = s->any & ((1u << width) - 1);
}

// Codes carry all planes of the codebook's two's complement.
static void widen_to_codebook(const bl_mapping *m, bl_tile_plan *tile) {
  span_of_values s = {0};
  for (int i = 0; i < 16; i++) {
    int8_t w = m->layer->codebook[i];
    s.any |= (uint8_t)w;
    if (w < s.lo) s.lo = w;
    if (w > s.hi) s.hi = w;
  }
  choose_planes(m, &s, tile);
}

static bl_status plan_tile(bl_mapping *m, uint32_t t, bl_arena *arena, bl_error *err) {
  bl_tile_plan *tile = &m->tiles[t - m->tile0];
  const uint32_t ids = bl_window_ids(m);
  span_of_values s = {0};
  tile->ids = bl_arena_alloc(arena, ids + 1u, sizeof *tile->ids);
  if (tile->ids == NULL)
    return bl_fail(err, BL_ERR_MEMORY, "layer %s: no memory for its tiles", m->layer->name);
  for (uint32_t id = 0; id < ids; id++)
    if (!word_is_empty(m, t, id, &s)) tile->ids[tile->words++] = id;
  choose_planes(m, &s, tile);
  if (m->codes && tile->words > 0) widen_to_codebook(m, tile);
  bl_term terms[BL_MAX_TERMS];
  tile->term_count = bl_tile_terms(m, t, terms);
  for (uint32_t k = 0; k < tile->term_count; k++) {
    tile->term_mask[k] = bl_term_planes(m, &terms[k], t, &tile->term_sign_plane[k]);
    tile->term_words += bl_popcount(tile->term_mask[k]) * terms[k].words;
    tile->term_ks += terms[k].words;
  }
  tile->weight_words = bl_popcount(tile->plane_mask) * tile->words + tile->term_words;
  return BL_OK;
}

bl_status bl_plan_tiles(bl_mapping *m, bl_arena *arena, bl_error *err) {
  uint32_t count = m->tile1 - m->tile0;
  m->tiles = bl_arena_alloc(arena, count, sizeof *m->tiles);
  if (m->tiles == NULL)
    return bl_fail(err, BL_ERR_MEMORY, "layer %s: no memory for its tiles", m->layer->name);
  for (uint32_t t = m->tile0; t < m->tile1; t++)
    BL_TRY(plan_tile(m, t, arena, err));
  bl_plan_passes(m);
  for (uint32_t t = m->tile0; t < m->tile1; t++)
    if (bl_tile_at(m, t)->passes == 0)
      return bl_fail(err, BL_ERR_UNSUPPORTED,
                     "layer %s: a channel tile takes more than %d passes; use fewer bits",
                     m->layer->name, (int)BL_MAX_PASSES);
  return BL_OK;
}

void bl_plan_passes(bl_mapping *m) {
  bl_pass passes[BL_MAX_PASSES];
  for (uint32_t t = m->tile0; t < m->tile1; t++) {
    bl_tile_plan *tile = &m->tiles[t - m->tile0];
    tile->passes = bl_list_passes(m, t, 0, passes, &tile->post);
    tile->steps = 0;
    for (uint32_t p = 0; p < tile->passes; p++)
      tile->steps += passes[p].count > 0 ? passes[p].count : 1;
  }
}

static void set_bit(uint8_t *word, uint32_t lane) {
  word[lane / 8] |= (uint8_t)(1 << lane % 8);
}

// The planes of a weight: all of a bipolar one count, a bit of 0 as -1; what is no weight is 0.
static uint32_t code_bits(const bl_mapping *m, int8_t weight) {
  if (m->bipolar_planes == 0) return (uint8_t)weight;
  return weight == 0 ? 0 : (uint32_t)(weight + (1 << m->bipolar_planes) - 1) / 2;
}

static void emit_main(const bl_mapping *m, uint32_t t, uint8_t *bytes) {
  const bl_tile_plan *tile = bl_tile_at(m, t);
  const uint32_t cols = m->config->cols, lanes = m->config->lanes, word_bytes = cols * lanes / 8;
  for (uint32_t w = 0; w < tile->words; w++)
    for (uint32_t c = 0; c < cols; c++)
      for (uint32_t lane = 0; lane < lanes; lane++) {
        uint32_t code = code_bits(m, bl_lane_weight(m, t * cols + c, tile->ids[w], lane));
        uint8_t *at = bytes + (size_t)w * word_bytes + c * lanes / 8;
        for (uint32_t mask = tile->plane_mask; code != 0 && mask != 0; mask &= mask - 1) {
          if (code >> __builtin_ctz(mask) & 1) set_bit(at, lane);
          at += (size_t)tile->words * word_bytes;
        }
      }
}

// One plane of a term's factors at one of its words, all columns.
static void emit_term(const bl_mapping *m, uint32_t t, const bl_term *term, uint32_t plane,
                      uint32_t word, uint8_t *bytes) {
  const uint32_t lanes = m->config->lanes;
  for (uint32_t c = 0; c < m->config->cols; c++)
    for (uint32_t lane = 0; lane < lanes; lane++)
      if ((uint32_t)bl_term_factor(m, term, t, c, word, lane) >> plane & 1)
        set_bit(bytes + (size_t)c * lanes / 8, lane);
}

void bl_emit_terms(const bl_mapping *m, uint32_t t, uint8_t *bytes) {
  const size_t word_bytes = (size_t)m->config->cols * m->config->lanes / 8;
  bl_term terms[BL_MAX_TERMS];
  uint32_t count = bl_tile_terms(m, t, terms);
  for (uint32_t k = 0; k < count; k++)
    for (uint32_t mask = bl_tile_at(m, t)->term_mask[k]; mask != 0; mask &= mask - 1)
      for (uint32_t word = 0; word < terms[k].words; word++, bytes += word_bytes)
        emit_term(m, t, &terms[k], (uint32_t)__builtin_ctz(mask), word, bytes);
}

void bl_emit_weights(const bl_mapping *m, uint32_t t, uint8_t *bytes) {
  const bl_tile_plan *tile = bl_tile_at(m, t);
  emit_main(m, t, bytes);
  size_t own = tile->weight_words - tile->term_words;
  bl_emit_terms(m, t, bytes + own * m->config->cols * m->config->lanes / 8);
}

static uint32_t code_of(const bl_int_layer *layer, int8_t weight) {
  uint32_t code = 0;
  while (code < 15 && layer->codebook[code] != weight)
    code++;
  return code;
}

void bl_emit_codes(const bl_mapping *m, uint32_t t, uint8_t *bytes) {
  const bl_tile_plan *tile = bl_tile_at(m, t);
  const uint32_t cols = m->config->cols, lanes = m->config->lanes;
  for (uint32_t w = 0; w < tile->words; w++)
    for (uint32_t c = 0; c < cols; c++, bytes += lanes / 2)
      for (uint32_t lane = 0; lane < lanes; lane++) {
        int8_t value = bl_lane_weight(m, t * cols + c, tile->ids[w], lane);
        bytes[lane / 2] |= (uint8_t)(code_of(m->layer, value) << (lane % 2 * 4));
      }
}
