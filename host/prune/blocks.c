// SPDX-License-Identifier: Apache-2.0
// Which weights the accelerator skips together, as docs/reference/compiler.md lays windows out.
//
// Packed: the window is a row of bytes of 8 channels each, tap by tap; a word takes lanes/8 of
// them. Windows that the host packs have no gaps between taps. Rotated (grouped layers): inputs are
// seen in groups of `cols` channels; a word takes lanes/cols taps of one group, and group g begins
// at slot g modulo lanes/cols.
#include <stdlib.h>

#include "host/prune/prune_internal.h"

typedef struct {
  uint32_t lanes, cols;
  bool packed_by_host, rotated;
  size_t words; // of a window, all groups
} layout;

// The word of the window that an input channel of the layer lies in at a tap.
static size_t word_of(const layout *f, const bl_prune_layer *l, size_t channel, size_t tap) {
  const size_t all = l->channels * l->groups, slots = f->lanes / f->cols;
  if (f->packed_by_host) return (tap * all + channel) / f->lanes;
  if (!f->rotated) return (tap * ((all + 7) / 8) + channel / 8) / (f->lanes / 8);
  const size_t group = channel / f->cols, region = (l->taps + 2 * slots - 2) / slots;
  return group * region + (group % slots + tap) / slots;
}

// Every tile of outputs reads channels of a single group of `cols`.
static bool may_rotate(const layout *f, const bl_prune_layer *l) {
  if (l->groups == 1 || l->taps == 1) return false;
  const size_t group_out = l->outputs / l->groups;
  for (size_t n = 0; n < l->outputs; n += f->cols) {
    const size_t end = n + f->cols < l->outputs ? n + f->cols : l->outputs;
    const size_t first = n / group_out * l->channels;
    const size_t last = ((end - 1) / group_out + 1) * l->channels - 1;
    if (first / f->cols != last / f->cols) return false;
  }
  return true;
}

static bool reads_input(const bl_float_graph *g, const bl_prune_layer *l) {
  for (uint32_t k = 0; k < g->input_count; k++)
    if (g->nodes[l->node].inputs[0] == g->inputs[k]) return true;
  return false;
}

static layout choose_layout(const bl_prune_layer *l, const bl_float_graph *g, uint32_t lanes,
                            uint32_t cols) {
  layout f = {.lanes = lanes, .cols = cols};
  f.packed_by_host = (l->classes & BL_PRUNE_FIRST) != 0 && reads_input(g, l) && l->groups == 1 &&
                     l->taps > 1 && l->channels <= lanes / 2;
  f.rotated = !f.packed_by_host && may_rotate(&f, l);
  f.words = 0;
  for (size_t c = 0; c < l->channels * l->groups; c++) {
    const size_t words = word_of(&f, l, c, l->taps - 1) + 1;
    if (words > f.words) f.words = words;
  }
  return f;
}

// Numbers blocks in the order in which they are met, so that none is empty.
static void number_blocks(const layout *f, bl_prune_layer *l, uint32_t *unit, uint32_t *seen) {
  const size_t group_out = l->outputs / l->groups;
  l->unit_count = 0;
  for (size_t n = 0; n < l->outputs; n++)
    for (size_t c = 0; c < l->channels; c++)
      for (size_t t = 0; t < l->taps; t++) {
        const size_t channel = n / group_out * l->channels + c;
        uint32_t *id = &seen[n / f->cols * f->words + word_of(f, l, channel, t)];
        if (*id == 0) *id = ++l->unit_count;
        unit[bl_prune_index(l, n, c, t)] = *id - 1;
      }
  l->unit = unit;
}

bl_status bl_prune_blocks(bl_prune *p, const bl_float_graph *graph, uint32_t lanes, uint32_t cols,
                          bl_error *err) {
  if (cols == 0 || lanes == 0 || lanes % cols != 0 || lanes % 8 != 0)
    return bl_fail(err, BL_ERR_RANGE, "pruning: blocks of %u lanes by %u columns", lanes, cols);
  for (uint32_t k = 0; k < p->count; k++) {
    bl_prune_layer *l = &p->layers[k];
    const layout f = choose_layout(l, graph, lanes, cols);
    const size_t tiles = (l->outputs + cols - 1) / cols;
    uint32_t *unit = bl_arena_alloc(p->arena, l->count, sizeof *unit);
    uint32_t *seen = bl_arena_alloc(p->arena, tiles * f.words, sizeof *seen);
    if (unit == NULL || seen == NULL)
      return bl_fail(err, BL_ERR_MEMORY, "pruning: no memory for the blocks of layer %s", l->name);
    number_blocks(&f, l, unit, seen);
  }
  return BL_OK;
}
