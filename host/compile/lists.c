// SPDX-License-Identifier: Apache-2.0
// Pass lists in Horner order and K lists. A pair of planes (i, j) has a place: i + j, more where an
// operand is bipolar or the sum is raised, and, for a word of the second source, its term's place.
// From high places to low: the first pass of a place shifts, empty places in between are passes of
// no words, and what is left below the lowest place is the tile's post.
#include "host/compile/internal.h"

enum { MAX_POST = 3, MAX_PLACES = 72 };

typedef struct {
  bl_pass *passes;
  uint32_t count;
  uint32_t place; // of the last pass; meaningless before the first
  bool full;
} list;

static void add_pass(list *l, uint32_t place, bl_pass pass) {
  uint32_t shifts = l->count == 0 ? 0 : l->place - place;
  if (l->count + shifts + 1 > BL_MAX_PASSES) {
    l->full = true;
    return;
  }
  for (uint32_t i = 1; i < shifts; i++)
    l->passes[l->count++] = (bl_pass){.shift = 1};
  pass.shift = shifts > 0;
  l->passes[l->count++] = pass;
  l->place = place;
}

// Pairs of the layer's own words at one place. Planes on rows: every plane is plane 0 of its row.
static void add_main(const bl_mapping *m, const bl_tile_plan *tile, uint32_t stride, uint32_t place,
                     list *l) {
  bool spread = m->gather == BL_GATHER_SPREAD;
  uint32_t rank = 0, planes = spread ? 1 : m->in_planes;
  for (uint32_t j = 0; j < 8; j++) {
    if ((tile->plane_mask >> j & 1) == 0) continue;
    uint32_t offset = rank++ * stride, i = place - m->place - j;
    if (place < m->place + j || i >= planes) continue;
    bool minus_a = m->in_signed && !spread && i == m->in_planes - 1;
    add_pass(l, place,
             (bl_pass){.weight_offset = (uint16_t)offset,
                       .count = (uint16_t)tile->words,
                       .plane = (uint8_t)i,
                       .neg = minus_a != ((int)j == tile->sign_plane),
                       .sum = m->bipolar_planes > 0});
  }
}

// Pairs of the second source at one place. Its weight words follow the layer's own.
static void add_terms(const bl_mapping *m, uint32_t t, uint32_t place, list *l) {
  const bl_tile_plan *tile = bl_tile_at(m, t);
  bl_term terms[BL_MAX_TERMS];
  uint32_t count = bl_tile_terms(m, t, terms), word = tile->weight_words - tile->term_words;
  uint32_t entry = tile->words;
  for (uint32_t k = 0; k < count; entry += terms[k].words, k++) {
    for (uint32_t j = 0; j < 32; j++) {
      if ((tile->term_mask[k] >> j & 1) == 0) continue;
      uint32_t offset = word, base = terms[k].place + j;
      word += terms[k].words;
      if (place < base || place - base >= m->res_planes) continue;
      bool minus = terms[k].is_signed && place - base == m->res_planes - 1;
      add_pass(l, place,
               (bl_pass){.weight_offset = (uint16_t)offset,
                         .k_offset = (uint16_t)entry,
                         .count = (uint16_t)terms[k].words,
                         .plane = (uint8_t)(place - base),
                         .neg = minus != ((int)j == tile->term_sign_plane[k])});
    }
  }
}

uint32_t bl_list_passes(const bl_mapping *m, uint32_t t, uint32_t rank_stride,
                        bl_pass passes[BL_MAX_PASSES], uint8_t *post) {
  const bl_tile_plan *tile = bl_tile_at(m, t);
  list l = {.passes = passes};
  *post = 0;
  for (uint32_t place = MAX_PLACES; place-- > 0;) {
    if (tile->words > 0) add_main(m, tile, rank_stride > 0 ? rank_stride : tile->words, place, &l);
    add_terms(m, t, place, &l);
  }
  if (l.count == 0) { // nothing but zeros: one pass that adds nothing
    passes[0] = (bl_pass){0};
    return 1;
  }
  while (l.place > MAX_POST && !l.full)
    add_pass(&l, l.place - 1, (bl_pass){0});
  *post = (uint8_t)l.place;
  return l.full ? 0 : l.count;
}

uint32_t bl_k_words(const bl_mapping *m, uint32_t t) {
  const bl_tile_plan *tile = bl_tile_at(m, t);
  return tile->words + tile->term_ks;
}

static uint8_t *put_address(uint8_t *bytes, uint32_t address) {
  bytes[0] = (uint8_t)address;
  bytes[1] = (uint8_t)(address >> 8);
  return bytes + BL_CONTRACT_K_BYTES;
}

void bl_emit_k_list(const bl_mapping *m, uint32_t t, uint8_t *bytes) {
  const bl_tile_plan *tile = bl_tile_at(m, t);
  for (uint32_t w = 0; w < tile->words; w++)
    bytes = put_address(bytes, bl_window_address(m, tile->ids[w]));
  bl_term terms[BL_MAX_TERMS];
  uint32_t count = bl_tile_terms(m, t, terms);
  for (uint32_t k = 0; k < count; k++)
    for (uint32_t w = 0; w < terms[k].words; w++)
      bytes = put_address(bytes, m->window_words + (terms[k].word + w) * m->res_planes);
}
