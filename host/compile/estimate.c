// SPDX-License-Identifier: Apache-2.0
// Cycles of a layer, to choose between mappings: for each tile of ROWS pixels and pooling offset
// the longer of filling the row buffers and computing all channel tiles; the first fill has nothing
// to hide behind. Issue steps are exact.
#include "host/compile/internal.h"

enum { RUN_OVERHEAD = 100 }; // about what a run takes besides: its packet, first lists, last drain

static uint64_t min64(uint64_t a, uint64_t b) {
  return a < b ? a : b;
}

uint64_t bl_estimate(const bl_mapping *m, uint64_t pixels, uint64_t *issue) {
  const uint32_t rows = m->config->rows;
  uint64_t tiles = (pixels + rows - 1) / rows * m->layer->pool_h * m->layer->pool_w;
  uint64_t steps = 0, compute = 0;
  for (uint32_t t = 0; t < m->tile_count; t++) {
    steps += m->tiles[t].steps * bl_listings(m);
    compute += (m->tiles[t].steps > rows ? m->tiles[t].steps : rows) * bl_listings(m);
  }
  uint64_t stride = (uint64_t)m->stride_w * m->pool_stride_w;
  uint64_t span = min64((rows - 1) * stride + m->kernel_w, (uint64_t)rows * m->kernel_w);
  uint64_t fill = span * m->kernel_h * m->in_words * m->in_planes;
  *issue = tiles * steps;
  return tiles * (compute > fill ? compute : fill) + fill + RUN_OVERHEAD;
}

uint64_t bl_issue_steps(const bl_mapping *m, const bl_input_packing *input, uint32_t images) {
  uint64_t chunks = bl_chunk_count(m, input, images), issue;
  (void)bl_estimate(m, (uint64_t)images * m->out->h * m->out->w / chunks, &issue);
  return issue * chunks;
}
