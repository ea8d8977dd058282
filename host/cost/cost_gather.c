// SPDX-License-Identifier: Apache-2.0
// Durations of fills (rtl/bitloom_gather.v). The cursor's way along a window row depends on how
// many pixels the segment has, not on where it lies, since padding takes its cycles too: at most
// two ways for each number of pixels.
#include "host/cost/cost_internal.h"

#include <string.h>

enum { X_MASK = (1 << 18) - 1 }; // coordinates are modulo 2^18

// What the gather reads in pairs of words.
typedef struct {
  bool planes, words, pixels, second;
} pairs;

static pairs pairs_of(const bl_config *config, const bl_descriptor *d) {
  const bool two = config->gather_words == 2, rotated = d->gather_mode == 1;
  const bool whole =
      two && d->gather_mode == 0 && d->in_planes == 1 && d->in_last_bytes == config->lanes / 8;
  return (pairs){
      .planes = two && d->in_planes % 2 == 0 && d->gather_mode != 2 &&
                !(rotated && d->group_stride % 2 == 1),
      .words = whole && d->in_words % 2 == 0,
      .pixels = whole && config->lanes >= 64 && d->in_words == 1 && d->dilation_w == 1 &&
                !d->in_up && d->step_w % 2 == 0 && d->in_pixel_stride == 1,
      .second = two && d->res_planes % 2 == 0 && d->res_offset % 2 == 0,
  };
}

// A row of the array whose window the cursor has reached.
typedef struct {
  uint32_t phase; // of its taps, modulo the dilation
  uint32_t left;  // taps from the cursor on
  bool open;
} window;

typedef struct {
  window rows[BL_COST_MAX_ROWS];
  uint32_t entered, phase;
  bool pairs;
} cursor;

// The cursor leaves a position: whether a row took it, and whether a window is still open.
static bool take(cursor *c, bool *any) {
  bool taken = false;
  *any = false;
  for (uint32_t r = 0; r < c->entered; r++) {
    window *w = &c->rows[r];
    if (!w->open) continue;
    const bool at = w->phase == c->phase;
    const bool last = w->left == 1 || (c->pairs && w->left == 2);
    taken = taken || at;
    w->open = !(at && last);
    if (at) w->left -= c->pairs ? 2 : 1;
    *any = *any || w->open;
  }
  return taken;
}

// Cycles of one window row of `count` pixels, `word_cycles` for each input pixel, or pair of
// pixels, that a row takes. Pairs begin a pixel before the window in some window rows; kernel_w is
// odd there, so a window is of as many pairs in the others.
static uint64_t window_row(const bl_descriptor *d, uint32_t count, bool pair_pixels,
                           uint64_t word_cycles) {
  cursor c = {.pairs = pair_pixels};
  const window entering = {.left = d->kernel_w, .open = true};
  uint32_t x = 0, enter_x = d->step_w & X_MASK;
  uint64_t cycles = 0;
  bool any;
  c.rows[c.entered++] = entering;
  for (;;) {
    cycles += take(&c, &any) ? word_cycles : 1;
    if (!any && c.entered == count) return cycles;
    x = any ? (x + (pair_pixels ? 2 : 1)) & X_MASK : enter_x;
    c.phase = (c.phase + 1) % d->dilation_w;
    if (c.entered == count || x != enter_x) continue;
    c.rows[c.entered] = entering;
    c.rows[c.entered++].phase = c.phase;
    enter_x = (enter_x + d->step_w) & X_MASK;
  }
}

void bl_cost_gather_init(bl_cost_gather *g, const bl_config *config, const bl_descriptor *d) {
  const pairs p = pairs_of(config, d);
  const bool spread = d->gather_mode == 2;
  const uint32_t word_bytes = config->lanes / 8;
  const uint64_t plane_cycles = d->in_planes / (p.planes ? 2u : 1u);
  const uint64_t word_cycles = plane_cycles * (d->in_words / (p.words ? 2u : 1u));
  memset(g, 0, sizeof *g);
  g->rows = spread ? 1 : config->rows;
  g->out_w = d->out_w;
  g->pixels = (uint64_t)d->images * d->out_h * d->out_w;
  for (uint32_t n = 1; n <= g->rows && n <= d->out_w; n++) {
    const uint64_t row = 1 + window_row(d, n, p.pixels, word_cycles);
    g->segment[n] = 1 + d->kernel_h * row;
  }
  const uint32_t window_bytes = (uint32_t)d->kernel_h * d->kernel_w * d->in_last_bytes;
  if (d->gather_mode != 1 && window_bytes % word_bytes != 0) g->flush = spread ? 1 : plane_cycles;
  if (d->res_planes == 0) return;
  g->second = 1;
  g->second_row = (uint64_t)d->res_words * (d->res_planes / (p.second ? 2u : 1u));
}

uint32_t bl_cost_gather_tile(const bl_cost_gather *g, uint64_t first, uint64_t *cycles) {
  const uint64_t left = g->pixels - first;
  const uint32_t rows = left < g->rows ? (uint32_t)left : g->rows;
  uint32_t in_row = g->out_w - (uint32_t)(first % g->out_w);
  *cycles = g->flush + g->second + rows * g->second_row;
  for (uint32_t row = 0; row < rows;) {
    const uint32_t count = in_row < rows - row ? in_row : rows - row;
    *cycles += g->segment[count];
    row += count;
    in_row = g->out_w;
  }
  return rows;
}
