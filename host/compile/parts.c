// SPDX-License-Identifier: Apache-2.0
// Cutting an operation over its output channels where one of the memories cannot hold all of it.
#include "host/compile/internal.h"

#include <string.h>

// Words of each list memory with the tile added; lists that may turn out equal count each.
static void add_tile(const bl_mapping *m, uint32_t t, uint32_t use[BL_LIST_MEMORIES]) {
  const bl_tile_plan *tile = bl_tile_at(m, t);
  use[BL_MEMORY_WEIGHTS] += tile->weight_words;
  use[BL_MEMORY_PARAMS] += bl_listings(m);
  use[BL_MEMORY_TILES] += bl_listings(m);
}

static bool same_words(const bl_tile_plan *a, const bl_tile_plan *b) {
  return a->words == b->words && memcmp(a->ids, b->ids, a->words * sizeof *a->ids) == 0;
}

// The same for the shared lists: dense tiles have equal ones, which are stored once.
static void add_lists(const bl_mapping *m, uint32_t tile0, uint32_t t,
                      uint32_t use[BL_LIST_MEMORIES]) {
  const bl_tile_plan *tile = bl_tile_at(m, t);
  bool new_passes = true, new_k = true;
  for (uint32_t i = tile0; i < t && tile->term_count == 0; i++) {
    const bl_tile_plan *other = bl_tile_at(m, i);
    if (other->plane_mask == tile->plane_mask && other->sign_plane == tile->sign_plane &&
        other->words == tile->words)
      new_passes = false;
    if (same_words(other, tile)) new_k = false;
  }
  if (new_passes) use[BL_MEMORY_PASSES] += tile->passes;
  if (new_k) use[BL_MEMORY_K] += bl_k_words(m, t);
}

static bool within(const uint32_t use[BL_LIST_MEMORIES], const uint32_t limit[BL_LIST_MEMORIES]) {
  for (int i = 0; i < BL_LIST_MEMORIES; i++)
    if (use[i] > limit[i]) return false;
  return true;
}

static bl_status check_tile(const bl_mapping *m, const uint32_t use[BL_LIST_MEMORIES],
                            bl_error *err) {
  static const char *const names[BL_LIST_MEMORIES] = {"weight",    "parameter", "K-list",
                                                      "pass-list", "tile-list", "table"};
  for (int i = 0; i < BL_LIST_MEMORIES; i++)
    if (use[i] > bl_memory_depth(m->config, (bl_memory_kind)i))
      return bl_fail(err, BL_ERR_UNSUPPORTED,
                     "layer %s: one channel tile takes %u words of %s memory, %s has %u; use fewer "
                     "weight bits, input channels or kernel positions",
                     m->layer->name, use[i], names[i], m->config->name,
                     bl_memory_depth(m->config, (bl_memory_kind)i));
  return BL_OK;
}

bl_status bl_next_part(const bl_mapping *m, uint32_t tile0, const uint32_t limit[BL_LIST_MEMORIES],
                       bl_part *part, bl_error *err) {
  uint32_t use[BL_LIST_MEMORIES] = {0};
  add_tile(m, tile0, use);
  add_lists(m, tile0, tile0, use);
  BL_TRY(check_tile(m, use, err));
  *part = (bl_part){tile0, tile0 + 1};
  for (uint32_t t = tile0 + 1; t < m->tile1; t++) {
    add_tile(m, t, use);
    add_lists(m, tile0, t, use);
    if (!within(use, limit)) break;
    part->tile1 = t + 1;
  }
  return BL_OK;
}
