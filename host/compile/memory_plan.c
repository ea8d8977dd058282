// SPDX-License-Identifier: Apache-2.0
// Activation memory by lifetime: a region holds its words from the operation that makes it to the
// last that reads it. Largest first, each at the lowest address free during its life. A sum takes
// its addend's place where nothing reads that later. The output is sent beside the first operations
// of the next batch, so where there is room it holds its words through these too.
#include "host/compile/internal.h"

#include <stdlib.h>
#include <string.h>

enum { SEND_OVERHEAD = 64 }; // cycles of a send besides: headers, the answer of the last run

typedef struct {
  uint32_t region, words, first, last, address;
  uint32_t rank; // higher ones are placed first
  uint32_t over; // it also lives in operations 0 .. over-1 of the next batch
} life;

static int larger_first(const void *a, const void *b) {
  const life *x = a, *y = b;
  if (x->rank != y->rank) return x->rank < y->rank ? 1 : -1;
  if (x->words != y->words) return x->words < y->words ? 1 : -1;
  return x->region < y->region ? -1 : 1;
}

static bool together(const life *a, const life *b) {
  return (a->first <= b->last && b->first <= a->last) || a->first < b->over || b->first < a->over;
}

// Lowest address for lives[i] beside the ones placed before it.
static uint32_t place(const life *lives, uint32_t i) {
  uint32_t address = 0;
  for (bool moved = true; moved;) {
    moved = false;
    for (uint32_t k = 0; k < i; k++)
      if (together(&lives[i], &lives[k]) && address < lives[k].address + lives[k].words &&
          lives[k].address < address + lives[i].words) {
        address = lives[k].address + lives[k].words;
        moved = true;
      }
  }
  return address;
}

// ---- Shapes ------------------------------------------------------------------------------------

static uint32_t lane_bytes(const bl_config *config, uint32_t lanes) {
  return lanes < config->lanes ? bl_div_up(lanes, 8) : config->lanes / 8;
}

// False when one image is larger than the memory.
static bool shape(bl_region *r, const bl_config *config, uint32_t h, uint32_t w, uint32_t lanes,
                  uint32_t planes) {
  uint64_t pixel = (uint64_t)bl_div_up(lanes, config->lanes) * planes;
  r->planes = planes;
  r->load_bytes = lane_bytes(config, lanes);
  if (pixel * w * h > UINT32_MAX / BL_PROGRAM_MAX_BATCH || pixel * w > UINT16_MAX) return false;
  r->pixel_stride = (uint32_t)pixel;
  r->row_stride = w * r->pixel_stride;
  r->image_stride = h * r->row_stride;
  return true;
}

static bool shape_output(const bl_mapping *m, bl_region *r) {
  const bl_config *c = m->config;
  uint32_t tiles = m->last ? bl_tile_total(m) : m->tile1 - m->tile0;
  uint32_t lanes = m->acc_bytes > 0 ? tiles * m->acc_bytes * c->cols : m->out->c;
  r->acc_bytes = m->acc_bytes;
  return shape(r, c, m->out->h, m->out->w, lanes, m->out_planes);
}

bool bl_shape_regions(const bl_mapped *mapped, bl_region *regions) {
  const bl_int_graph *graph = mapped->graph;
  const bl_config *config = mapped->ops[0].config;
  bool ok = true;
  memset(regions, 0, mapped->region_count * sizeof *regions);
  for (uint32_t i = 0; i < mapped->count; i++) {
    const bl_mapping *m = &mapped->ops[i];
    ok = ok && shape_output(m, &regions[m->out_region]);
    if (m->in_region != 0) continue;
    uint32_t up = m->layer->upsample && !m->host_windows ? 1 : 0;
    ok = ok && shape(&regions[0], config, m->in_h >> up, m->in_w >> up, m->in_c, m->in_planes);
  }
  for (uint32_t t = 1; t < graph->tensor_count; t++) {
    const bl_int_tensor *part = &graph->tensors[t], *whole = &graph->tensors[part->parent];
    if (part->parent == 0) continue;
    bl_region *parent = &regions[part->parent];
    ok = ok && shape(parent, config, whole->h, whole->w, whole->c, whole->format.bits);
  }
  for (uint32_t t = 1; ok && t < graph->tensor_count; t++) {
    const bl_int_tensor *part = &graph->tensors[t];
    if (part->parent == 0) continue;
    regions[t] = regions[part->parent];
    regions[t].first_lane = part->parent_channel;
  }
  return ok;
}

uint32_t bl_region_height(const bl_region *r) {
  return r->row_stride == 0 ? 0 : r->image_stride / r->row_stride;
}

static uint32_t slot_words(const bl_mapped *mapped, const bl_cut *cut, uint32_t images,
                           const bl_region *regions) {
  return bl_piece_rows(mapped, cut, images, 0, bl_region_height(&regions[0])) *
         regions[0].row_stride;
}

static void size_regions(const bl_mapped *mapped, const bl_cut *cut, uint32_t images,
                         uint32_t slots, bl_region *regions) {
  for (uint32_t i = 0; i < mapped->region_count; i++) {
    bl_region *r = &regions[i];
    r->words = r->image_stride * images;
    r->pieces = bl_in_pieces(mapped, cut, i);
    if (!r->pieces) continue;
    r->words = bl_piece_rows(mapped, cut, images, i, bl_region_height(r)) * r->row_stride;
    if (i == 0) r->words = slots * slot_words(mapped, cut, images, regions);
  }
}

uint32_t bl_last_reader(const bl_mapped *mapped) {
  uint32_t reader = 0;
  for (uint32_t i = 0; i < mapped->count; i++)
    if (mapped->ops[i].in_region == 0 || mapped->ops[i].res_region == 0) reader = i;
  return reader;
}

// ---- Lifetimes ---------------------------------------------------------------------------------

static void touch(life *l, uint32_t first, uint32_t last) {
  if (first < l->first) l->first = first;
  if (last > l->last || l->last == BL_NONE) l->last = last;
}

// The operations of a cut run one after the other for each piece, so what lies between two of them
// lives as it does without pieces; the cut's output collects all of it, and the input's slots are
// filled at any time.
static void lifetimes(const bl_mapped *mapped, const bl_cut *cut, bool ahead,
                      const bl_region *regions, life *lives) {
  for (uint32_t i = 0; i < mapped->region_count; i++)
    lives[i] =
        (life){i, bl_holder(mapped, i) == i ? regions[i].words : 0, BL_NONE, BL_NONE, 0, 0, 0};
  for (uint32_t i = 0; i < mapped->count; i++) {
    const bl_mapping *m = &mapped->ops[i];
    touch(&lives[bl_holder(mapped, m->out_region)], i, i);
    touch(&lives[bl_holder(mapped, m->in_region)], i, i);
    if (m->res_region != BL_NONE) touch(&lives[bl_holder(mapped, m->res_region)], i, i);
  }
  lives[0].first = 0;
  if (cut->op1 > 0) {
    touch(&lives[0], 0, cut->op1 - 1);
    touch(&lives[bl_holder(mapped, mapped->ops[cut->op1 - 1].out_region)], 0, cut->op1 - 1);
  }
  lives[bl_holder(mapped, mapped->graph->output)].last = mapped->count;
  if (ahead) lives[0].last = mapped->count;
}

static bool same_shape(const bl_region *a, const bl_region *b) {
  return a->words == b->words && a->image_stride == b->image_stride &&
         a->row_stride == b->row_stride && a->pixel_stride == b->pixel_stride &&
         a->planes == b->planes && a->acc_bytes == b->acc_bytes;
}

// May operation `i` write over its addend? The array reads the addend of a pixel before it writes
// that pixel, and of other pixels it writes nothing. Its input, which each of its runs reads again,
// must lie elsewhere: not even be a part of the addend.
static bool may_overwrite(const bl_mapped *mapped, uint32_t i, const bl_region *regions,
                          const life *lives) {
  const bl_mapping *m = &mapped->ops[i];
  if (m->addend == NULL || m->res_region == BL_NONE || m->res_region == 0 || !m->first ||
      !m->last || m->layer->project_h > 0)
    return false;
  const bl_region *from = &regions[m->res_region], *to = &regions[m->out_region];
  return bl_holder(mapped, m->in_region) != m->res_region && m->addend->parent == 0 &&
         m->out->parent == 0 && m->res_region != mapped->graph->output && !from->pieces &&
         !to->pieces && same_shape(from, to) && lives[m->res_region].last == i &&
         lives[m->out_region].first == i;
}

// home[r]: the region whose place r takes; r itself, or the first of a chain of additions, whose
// life then covers the chain's.
static void share_places(const bl_mapped *mapped, const bl_region *regions, life *lives,
                         uint32_t *home) {
  for (uint32_t i = 0; i < mapped->region_count; i++)
    home[i] = i;
  for (uint32_t i = 0; i < mapped->count; i++) {
    const bl_mapping *m = &mapped->ops[i];
    if (may_overwrite(mapped, i, regions, lives)) home[m->out_region] = home[m->res_region];
  }
  for (uint32_t i = 0; i < mapped->region_count; i++) {
    if (home[i] == i) continue;
    touch(&lives[home[i]], lives[i].first, lives[i].last);
    lives[i].words = 0;
  }
}

// Addresses for lives; false when they reach beyond every memory. *used: words in use.
static bool place_all(life *lives, uint32_t count, bl_region *regions, uint32_t *used) {
  *used = 0;
  qsort(lives, count, sizeof *lives, larger_first);
  for (uint32_t i = 0; i < count; i++) {
    lives[i].address = place(lives, i);
    uint64_t end = (uint64_t)lives[i].address + lives[i].words;
    if (end > UINT32_MAX / 2) return false;
    if (end > *used) *used = (uint32_t)end;
    if (lives[i].region != BL_NONE) regions[lives[i].region].address = lives[i].address;
  }
  return true;
}

// The first slot of an input that loads ahead lives as long as the batch, the others, behind it,
// as long as the cut: they become lives[region_count].
static void split_input(const bl_mapped *mapped, const bl_cut *cut, uint32_t slots,
                        const bl_region *regions, life *lives) {
  life *rest = &lives[mapped->region_count];
  const uint32_t slot = regions[0].words / slots;
  *rest = (life){BL_NONE, (slots - 1) * slot, 0, cut->op1 - 1, 0, 1, 0};
  lives[0].words = slot;
  lives[0].rank = 2;
}

// The operations beside which the output of a batch before is sent: a stream word takes two cycles,
// a word of the memory at least as long.
static uint32_t ops_beside_send(const bl_mapped *mapped, uint32_t images, const bl_region *out) {
  const uint64_t send = SEND_OVERHEAD + (uint64_t)out->words * 2 * bl_div_up(out->load_bytes, 4);
  uint64_t sum = 0, issue;
  for (uint32_t i = 0; i < mapped->count; i++) {
    const bl_mapping *m = &mapped->ops[i];
    if (sum >= send) return i;
    sum += bl_estimate(m, (uint64_t)images * m->out->h * m->out->w, &issue);
  }
  return mapped->count;
}

// One way of placing the regions, whose shapes and sizes are known; the output's words last through
// `over` operations of the next batch. False when they do not fit.
static bool place_batch(const bl_mapped *mapped, const bl_cut *cut, uint32_t slots, bool ahead,
                        uint32_t over, bl_region *regions, uint32_t *used) {
  const uint32_t count = mapped->region_count + 1;
  life *lives = calloc(count, sizeof *lives + sizeof(uint32_t));
  *used = UINT32_MAX;
  if (lives == NULL) return false;
  uint32_t *home = (uint32_t *)(lives + count);
  const bool split = ahead && cut->op1 > 0;
  lifetimes(mapped, cut, ahead, regions, lives);
  share_places(mapped, regions, lives, home);
  lives[home[bl_holder(mapped, mapped->graph->output)]].over = over;
  if (split) split_input(mapped, cut, slots, regions, lives);
  bool placed = place_all(lives, split ? count : count - 1, regions, used);
  for (uint32_t t = 1; t < mapped->region_count; t++)
    regions[t].address = regions[home[bl_holder(mapped, t)]].address;
  free(lives);
  if (!placed) *used = UINT32_MAX;
  return placed && *used <= mapped->ops[0].config->act_depth;
}

bool bl_plan_memory(const bl_mapped *mapped, const bl_cut *cut, uint32_t images, uint32_t slots,
                    bool ahead, bl_region *regions, uint32_t *used, uint32_t *needed) {
  *needed = UINT32_MAX;
  if (!bl_shape_regions(mapped, regions)) return false;
  size_regions(mapped, cut, images, slots, regions);
  const uint32_t over = ops_beside_send(mapped, images, &regions[mapped->graph->output]);
  bool placed = place_batch(mapped, cut, slots, ahead, over, regions, used) ||
                place_batch(mapped, cut, slots, ahead, 0, regions, used);
  *needed = *used;
  return placed;
}

// ---- Stages ------------------------------------------------------------------------------------

// What a stage loads is there before its first operation, what it sends until after its last.
static void live_in_stage(const bl_mapped *mapped, const bl_cut *cut, uint32_t region, uint32_t op,
                          life *lives) {
  life *l = &lives[bl_holder(mapped, region)];
  touch(l, op, op);
  if (bl_stage_loads(mapped, cut, region)) touch(l, cut->op0, op);
  if (bl_stage_sends(mapped, cut, region)) touch(l, op, cut->op1);
}

bool bl_plan_stage(const bl_mapped *mapped, const bl_cut *cut, uint32_t images, bl_region *regions,
                   uint32_t *used) {
  life *lives = calloc(mapped->region_count, sizeof *lives);
  uint32_t count = 0;
  if (lives == NULL) return false;
  for (uint32_t i = 0; i < mapped->region_count; i++)
    lives[i] = (life){i, 0, BL_NONE, BL_NONE, 0, 0, 0};
  for (uint32_t i = cut->op0; i < cut->op1; i++) {
    const bl_mapping *m = &mapped->ops[i];
    live_in_stage(mapped, cut, m->in_region, i, lives);
    live_in_stage(mapped, cut, m->out_region, i, lives);
    if (m->res_region != BL_NONE) live_in_stage(mapped, cut, m->res_region, i, lives);
  }
  for (uint32_t i = 0; i < mapped->region_count; i++) {
    bl_region *r = &regions[i];
    if (lives[i].first == BL_NONE) continue;
    r->words = bl_piece_rows(mapped, cut, images, i, bl_region_height(r)) * r->row_stride;
    r->pieces = true;
    lives[i].words = r->words;
    lives[count++] = lives[i];
  }
  bool placed = place_all(lives, count, regions, used);
  free(lives);
  for (uint32_t t = 1; t < mapped->graph->tensor_count; t++) { // parts of concatenations
    const bl_region *whole = &regions[bl_holder(mapped, t)];
    regions[t].address = whole->address;
    regions[t].words = whole->words;
    regions[t].pieces = whole->pieces;
  }
  return placed && *used <= mapped->ops[0].config->act_depth;
}
