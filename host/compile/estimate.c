// SPDX-License-Identifier: Apache-2.0
// Cycles of an operation, to choose between mappings: for each tile of pixels and pooling offset
// the longer of filling the row buffers and computing all channel tiles; the first fill has nothing
// to hide behind. Issue steps are exact.
#include "host/compile/internal.h"

enum { RUN_OVERHEAD = 25 }; // about what a run takes besides: first lists, the array's drain

static uint64_t min64(uint64_t a, uint64_t b) {
  return a < b ? a : b;
}

uint64_t bl_estimate(const bl_mapping *m, uint64_t pixels, uint64_t *issue) {
  const uint32_t spread = m->gather == BL_GATHER_SPREAD, rows = spread ? 1 : m->config->rows;
  const uint32_t least = m->config->rows;
  uint64_t tiles = (pixels + rows - 1) / rows * m->layer->pool_h * m->layer->pool_w;
  uint64_t steps = 0, compute = 0;
  for (uint32_t t = m->tile0; t < m->tile1; t++) {
    uint64_t own = bl_tile_at(m, t)->steps;
    steps += own * bl_listings(m);
    compute += (own > least ? own : least) * bl_listings(m);
  }
  uint64_t stride = (uint64_t)m->stride_w * m->pool_stride_w;
  uint64_t span = min64((rows - 1) * stride + m->kernel_w, (uint64_t)rows * m->kernel_w);
  uint64_t words = span * m->kernel_h * m->in_words * m->in_planes;
  uint64_t second = (uint64_t)rows * m->res_words * m->res_planes;
  if (m->config->gather_words == 2 && !spread) {
    const bool whole = m->in_planes == 1 && m->in_last_lanes % m->config->lanes == 0;
    const bool two_pixels = m->config->lanes >= 64 && m->in_words == 1 && stride % 2 == 0;
    const bool pairs = m->in_planes % 2 == 0 || (whole && (m->in_words % 2 == 0 || two_pixels));
    if (pairs) words = (words + 1) / 2;
    if (m->res_planes % 2 == 0) second /= 2;
  }
  uint64_t fill = words + m->kernel_h + second + 2;
  *issue = tiles * steps;
  uint64_t last_words = (uint64_t)rows * m->out_planes; // packed behind the last sum
  return tiles * (compute > fill ? compute : fill) + fill + last_words + RUN_OVERHEAD;
}
