// SPDX-License-Identifier: Apache-2.0
// Pass lists in Horner order and K lists. A pair of planes (i, j) has place i + j + m->place. From
// high places to low: the first pass of a place shifts, empty places in between are passes of no
// words, and what is left below the lowest place is the tile's post.
#include "host/compile/internal.h"

enum { MAX_POST = 3 };

typedef struct {
  bl_pass *passes;
  uint32_t count;
} list;

static void add_shifts(list *l, uint32_t count) {
  for (uint32_t i = 0; i < count && l->count < BL_MAX_PASSES; i++)
    l->passes[l->count++] = (bl_pass){.shift = 1};
}

// All pairs of one place; false when there is none.
static bool add_place(const bl_mapping *m, const bl_tile_plan *tile, uint32_t place,
                      uint32_t shifts, list *l) {
  uint32_t words = m->taps * tile->words, rank = 0;
  bool any = false;
  for (uint32_t j = 0; j < 8 && j <= place; j++) {
    if ((tile->plane_mask >> j & 1) == 0) continue;
    uint32_t i = place - j, offset = rank++ * words;
    if (i >= m->in_planes) continue;
    if (!any && shifts > 0) add_shifts(l, shifts - 1);
    bool minus_a = m->in_signed && i == m->in_planes - 1, minus_w = (int)j == tile->sign_plane;
    if (l->count < BL_MAX_PASSES)
      l->passes[l->count++] = (bl_pass){.weight_offset = (uint16_t)offset,
                                        .count = (uint16_t)words,
                                        .plane = (uint8_t)i,
                                        .shift = !any && shifts > 0,
                                        .neg = minus_a != minus_w,
                                        .sum = m->weights_bipolar};
    any = true;
  }
  return any;
}

uint32_t bl_list_passes(const bl_mapping *m, const bl_tile_plan *tile,
                        bl_pass passes[BL_MAX_PASSES], uint8_t *post) {
  list l = {passes, 0};
  *post = 0;
  if (tile->plane_mask == 0) { // nothing but zeros: one pass that adds nothing
    passes[0] = (bl_pass){0};
    return 1;
  }
  uint32_t last = 0;
  for (uint32_t place = 7 + m->in_planes; place-- > 0;)
    if (add_place(m, tile, place, l.count == 0 ? 0 : last - place, &l)) last = place;
  last += m->place;
  if (last > MAX_POST) add_shifts(&l, last - MAX_POST);
  *post = (uint8_t)(last > MAX_POST ? MAX_POST : last);
  return l.count;
}

void bl_emit_k_list(const bl_mapping *m, const bl_part *part, const bl_tile_plan *tile,
                    uint8_t *bytes) {
  for (uint32_t tap = 0; tap < m->taps; tap++)
    for (uint32_t w = 0; w < tile->words; w++, bytes += BL_CONTRACT_K_BYTES) {
      uint32_t word = tap * part->words + tile->word0 - part->word0 + w;
      uint32_t address = word * m->in_planes;
      bytes[0] = (uint8_t)address;
      bytes[1] = (uint8_t)(address >> 8);
    }
}
