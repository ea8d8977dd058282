// SPDX-License-Identifier: Apache-2.0
// Cutting a layer over its output channels where one of the memories cannot hold all of it.
#include "host/compile/internal.h"

#include <string.h>

static bool same_passes(const bl_tile_plan *a, const bl_tile_plan *b) {
  return a->plane_mask == b->plane_mask && a->sign_plane == b->sign_plane && a->words == b->words;
}

// Words of each list memory with the tile added to those before it in the part; equal lists count
// once.
static void add_tile(const bl_mapping *m, uint32_t tile0, uint32_t t,
                     uint32_t use[BL_LIST_MEMORIES]) {
  const bl_tile_plan *tile = &m->tiles[t];
  bool new_passes = true, new_k = true;
  for (uint32_t i = tile0; i < t; i++) {
    if (same_passes(&m->tiles[i], tile)) new_passes = false;
    if (m->tiles[i].word0 == tile->word0 && m->tiles[i].words == tile->words) new_k = false;
  }
  use[BL_MEMORY_WEIGHTS] += tile->weight_words;
  use[BL_MEMORY_PARAMS] += bl_listings(m);
  use[BL_MEMORY_TILES] += bl_listings(m);
  if (new_passes) use[BL_MEMORY_PASSES] += tile->passes;
  if (new_k) use[BL_MEMORY_K] += m->taps * tile->words;
}

static bool within(const uint32_t use[BL_LIST_MEMORIES], const uint32_t limit[BL_LIST_MEMORIES]) {
  for (int i = 0; i < BL_LIST_MEMORIES; i++)
    if (use[i] > limit[i]) return false;
  return true;
}

static bl_status check_tile(const bl_mapping *m, const uint32_t use[BL_LIST_MEMORIES],
                            bl_error *err) {
  static const char *const names[BL_LIST_MEMORIES] = {"weight", "parameter", "K-list", "pass-list",
                                                      "tile-list"};
  for (int i = 0; i < BL_LIST_MEMORIES; i++)
    if (use[i] > bl_memory_depth(m->config, (bl_memory_kind)i))
      return bl_fail(err, BL_ERR_UNSUPPORTED,
                     "layer %s: one channel tile takes %u words of %s memory, %s has %u; use fewer "
                     "weight bits, input channels or kernel positions",
                     m->layer->name, use[i], names[i], m->config->name,
                     bl_memory_depth(m->config, (bl_memory_kind)i));
  return BL_OK;
}

// The part's channel words with tile t added.
static bl_part extended(const bl_mapping *m, const bl_part *part, uint32_t t) {
  const bl_tile_plan *tile = &m->tiles[t];
  bl_part wider = *part;
  uint32_t end = part->word0 + part->words;
  if (tile->word0 < wider.word0) wider.word0 = tile->word0;
  if (tile->word0 + tile->words > end) end = tile->word0 + tile->words;
  wider.words = end - wider.word0;
  wider.tile1 = t + 1;
  return wider;
}

bl_status bl_next_part(const bl_mapping *m, uint32_t tile0, const uint32_t limit[BL_LIST_MEMORIES],
                       bl_part *part, bl_error *err) {
  uint32_t use[BL_LIST_MEMORIES] = {0};
  add_tile(m, tile0, tile0, use);
  BL_TRY(check_tile(m, use, err));
  *part = (bl_part){tile0, tile0 + 1, m->tiles[tile0].word0, m->tiles[tile0].words};
  for (uint32_t t = tile0 + 1; t < m->tile_count; t++) {
    bl_part wider = extended(m, part, t);
    add_tile(m, tile0, t, use);
    if (!within(use, limit) ||
        (uint64_t)m->taps * wider.words * m->in_planes > m->config->row_depth)
      break;
    *part = wider;
  }
  return BL_OK;
}
