// SPDX-License-Identifier: Apache-2.0
// Weight planes of channel tiles. A tile issues only the planes that its own weights need: the
// narrowest two's complement that holds them, without planes that are zero throughout.
#include "host/compile/internal.h"

#include <string.h>

// Planes of the weights of channels n0 .. n1-1.
static void find_planes(const bl_mapping *m, uint32_t n0, uint32_t n1, bl_tile_plan *tile) {
  tile->sign_plane = -1;
  tile->plane_mask = 1;
  if (m->weights_bipolar) return;
  size_t each = (size_t)m->taps * m->group_in;
  const int8_t *w = m->layer->weights + n0 * each;
  int8_t lo = 0, hi = 0;
  uint32_t any = 0;
  for (size_t i = 0; i < (n1 - n0) * each; i++) {
    any |= (uint8_t)w[i];
    if (w[i] < lo) lo = w[i];
    if (w[i] > hi) hi = w[i];
  }
  tile->plane_mask = any;
  if (lo == 0) return;
  int width = 1;
  while (lo < -(1 << (width - 1)) || hi >= 1 << (width - 1))
    width++;
  tile->sign_plane = width - 1;
  tile->plane_mask = any & ((1u << width) - 1);
}

static void find_words(const bl_mapping *m, uint32_t n0, uint32_t n1, bl_tile_plan *tile) {
  uint32_t group_out = m->out->c / m->groups, lanes = m->config->lanes;
  uint32_t first = n0 / group_out * m->group_in;
  uint32_t last = ((n1 - 1) / group_out + 1) * m->group_in - 1;
  tile->word0 = first / lanes;
  tile->words = last / lanes - tile->word0 + 1;
}

bl_status bl_plan_tiles(bl_mapping *m, bl_arena *arena, bl_error *err) {
  const bl_config *c = m->config;
  m->tiles = bl_arena_alloc(arena, m->tile_count, sizeof *m->tiles);
  if (m->tiles == NULL)
    return bl_fail(err, BL_ERR_MEMORY, "layer %s: no memory for its tiles", m->layer->name);
  for (uint32_t t = 0; t < m->tile_count; t++) {
    bl_tile_plan *tile = &m->tiles[t];
    uint32_t n0 = t * c->cols, n1 = n0 + c->cols < m->out->c ? n0 + c->cols : m->out->c;
    find_planes(m, n0, n1, tile);
    find_words(m, n0, n1, tile);
    uint64_t window = (uint64_t)m->taps * tile->words * m->in_planes;
    if (window > c->row_depth)
      return bl_fail(err, BL_ERR_UNSUPPORTED,
                     "layer %s: its window takes %llu words of a row buffer of %u (%s); use fewer "
                     "activation bits, input channels or kernel positions",
                     m->layer->name, (unsigned long long)window, c->row_depth, c->name);
    tile->weight_words = bl_popcount(tile->plane_mask) * m->taps * tile->words;
    bl_pass passes[BL_MAX_PASSES];
    tile->passes = bl_list_passes(m, tile, passes, &tile->post);
    for (uint32_t p = 0; p < tile->passes; p++)
      tile->steps += passes[p].count > 0 ? passes[p].count : 1;
  }
  return BL_OK;
}

// One tap of one channel: bits of every channel word, plane after plane `plane_bytes` apart.
static void emit_tap(const bl_mapping *m, const bl_tile_plan *tile, uint32_t n, uint32_t tap,
                     uint8_t *bytes, size_t plane_bytes) {
  const uint32_t lanes = m->config->lanes, word_bytes = m->config->cols * lanes / 8;
  uint32_t c0 = tile->word0 * lanes, c1 = c0 + tile->words * lanes;
  if (c1 > m->in_c) c1 = m->in_c;
  for (uint32_t c = c0; c < c1; c++) {
    int8_t w = bl_weight(m, n, tap, c);
    uint32_t code = m->weights_bipolar ? w > 0 : (uint8_t)w;
    uint8_t *at = bytes + (size_t)((c - c0) / lanes) * word_bytes + c % lanes / 8;
    for (uint32_t mask = tile->plane_mask; mask != 0; mask &= mask - 1, at += plane_bytes)
      *at |= (uint8_t)((code >> __builtin_ctz(mask) & 1) << (c % 8));
  }
}

void bl_emit_weights(const bl_mapping *m, const bl_part *part, uint8_t *bytes) {
  const uint32_t cols = m->config->cols, lane_bytes = m->config->lanes / 8;
  for (uint32_t t = part->tile0; t < part->tile1; t++) {
    const bl_tile_plan *tile = &m->tiles[t];
    size_t tap_bytes = (size_t)tile->words * cols * lane_bytes;
    for (uint32_t c = 0; c < cols && t * cols + c < m->out->c; c++)
      for (uint32_t tap = 0; tap < m->taps; tap++)
        emit_tap(m, tile, t * cols + c, tap, bytes + tap * tap_bytes + c * lane_bytes,
                 tap_bytes * m->taps);
    bytes += (size_t)tile->weight_words * cols * lane_bytes;
  }
}
