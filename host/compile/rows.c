// SPDX-License-Identifier: Apache-2.0
// Which rows the operations of a cut make in each piece, and which rows of a region are there. From
// the last operation's rows backwards: an operation makes what the windows of its readers in the
// cut need, and reads what its own need. A concatenation and its parts share words, so their rows
// are counted together; a part's writer makes more than another's where only that part is read.
#include "host/compile/internal.h"

static uint32_t original(const bl_mapped *mapped, uint32_t region) {
  return region != BL_NONE && region >= mapped->first_copy
             ? mapped->copied[region - mapped->first_copy]
             : region;
}

static uint32_t parent_of(const bl_mapped *mapped, uint32_t tensor) {
  return tensor < mapped->graph->tensor_count ? mapped->graph->tensors[tensor].parent : 0;
}

uint32_t bl_holder(const bl_mapped *mapped, uint32_t region) {
  const uint32_t tensor = original(mapped, region), parent = parent_of(mapped, tensor);
  return parent == 0 ? tensor : parent;
}

// Does reading region `read` take what an operation writes to region `made`?
static bool takes(const bl_mapped *mapped, uint32_t read, uint32_t made) {
  const uint32_t tensor = original(mapped, read), parent = parent_of(mapped, made);
  return tensor == made || (parent != 0 && parent == tensor);
}

bool bl_link_readers(bl_mapped *mapped, bl_arena *arena) {
  for (uint32_t i = 0; i < mapped->count; i++) {
    bl_mapping *m = &mapped->ops[i];
    for (int pass = 0; pass < 2; pass++) { // counts them, then notes them
      m->reader_count = 0;
      for (uint32_t k = i + 1; k < mapped->count; k++)
        for (int second = 0; second < 2; second++) {
          const bl_mapping *reader = &mapped->ops[k];
          const uint32_t read = second ? reader->res_region : reader->in_region;
          if (!takes(mapped, read, m->out_region)) continue;
          if (pass > 0) m->readers[m->reader_count] = (bl_reads){k, second};
          m->reader_count++;
        }
      if (pass == 0) m->readers = bl_arena_alloc(arena, m->reader_count + 1u, sizeof *m->readers);
      if (m->readers == NULL) return false;
    }
  }
  return true;
}

bool bl_cut_writes(const bl_mapped *mapped, const bl_cut *cut, uint32_t region) {
  for (uint32_t i = cut->op0; i < cut->op1; i++)
    if (mapped->ops[i].out_region == region) return true;
  return false;
}

static bool writes(const bl_mapped *mapped, uint32_t op0, uint32_t op1, uint32_t holder) {
  for (uint32_t i = op0; i < op1; i++)
    if (bl_holder(mapped, mapped->ops[i].out_region) == holder) return true;
  return false;
}

bool bl_cut_writes_holder(const bl_mapped *mapped, const bl_cut *cut, uint32_t region) {
  return writes(mapped, cut->op0, cut->op1, bl_holder(mapped, region));
}

bool bl_in_pieces(const bl_mapped *mapped, const bl_cut *cut, uint32_t region) {
  if (cut->spills) return true;
  if (cut->op1 == 0 || region == BL_NONE) return false;
  const uint32_t holder = bl_holder(mapped, region);
  if (holder == bl_holder(mapped, mapped->ops[cut->op1 - 1].out_region)) return false;
  return holder == 0 || bl_cut_writes_holder(mapped, cut, region);
}

bool bl_stage_loads(const bl_mapped *mapped, const bl_cut *cut, uint32_t region) {
  const uint32_t holder = bl_holder(mapped, region);
  return holder == 0 || writes(mapped, 0, cut->op0, holder);
}

bool bl_stage_sends(const bl_mapped *mapped, const bl_cut *cut, uint32_t region) {
  const uint32_t holder = bl_holder(mapped, region);
  if (!bl_cut_writes_holder(mapped, cut, region)) return false;
  for (uint32_t i = cut->op1; i < mapped->count; i++) {
    const bl_mapping *m = &mapped->ops[i];
    if (bl_holder(mapped, m->in_region) == holder || bl_holder(mapped, m->out_region) == holder ||
        bl_holder(mapped, m->res_region) == holder)
      return true;
  }
  return bl_holder(mapped, mapped->graph->output) == holder;
}

uint32_t bl_stage_regions(const bl_mapped *mapped, const bl_cut *cut, uint32_t *regions) {
  uint32_t count = 0;
  for (uint32_t i = cut->op0; i < cut->op1; i++) {
    const bl_mapping *m = &mapped->ops[i];
    const uint32_t touched[] = {m->in_region, m->res_region, m->out_region};
    for (int k = 0; k < 3; k++) {
      bool known = touched[k] == BL_NONE;
      for (uint32_t j = 0; j < count && !known; j++)
        known = bl_holder(mapped, regions[j]) == bl_holder(mapped, touched[k]);
      if (!known) regions[count++] = touched[k];
    }
  }
  return count;
}

// ---- Rows --------------------------------------------------------------------------------------

// Rows of the input that output rows `out` need, with those that a stride skips, so that the pieces
// together make every row of every layer.
static bl_rows rows_needed(const bl_mapping *m, bl_rows out) {
  const bl_int_layer *l = m->layer;
  const uint32_t up = l->upsample && !m->host_windows ? 1 : 0;
  int64_t step = (int64_t)m->stride_h * m->pool_stride_h;
  int64_t origin = m->pad_top + (int64_t)m->stride_h * l->pool_pad_top;
  int64_t reach =
      (int64_t)(l->pool_h - 1) * m->stride_h + (int64_t)(m->ky0 + m->kernel_h - 1) * m->dilation_h;
  int64_t lo = out.lo * step - origin, hi = (out.hi - 1) * step - origin + reach + 1;
  if (hi < out.hi * step - origin) hi = out.hi * step - origin;
  if (out.hi == m->out->h) hi = m->in_h;
  if (lo < 0) lo = 0;
  if (hi > m->in_h) hi = m->in_h;
  if (hi <= lo) hi = lo < m->in_h ? lo + 1 : (lo = m->in_h - 1) + 1; // windows of padding alone
  return (bl_rows){(uint32_t)lo >> up, ((uint32_t)hi + up) >> up};
}

// Rows of the second source that output rows need, likewise.
static bl_rows second_rows(const bl_mapping *m, bl_rows out) {
  return (bl_rows){out.lo * m->res_down, out.hi * m->res_down};
}

static void widen(bl_rows *s, bl_rows by) {
  if (by.lo == by.hi) return;
  if (s->lo == s->hi) *s = by;
  if (by.lo < s->lo) s->lo = by.lo;
  if (by.hi > s->hi) s->hi = by.hi;
}

// Coordinates count from the first row read, so no window may begin behind it: it would where all
// of it lies in the padding, or in the middle of an up-sampled row.
static bool origin_fits(const bl_mapping *m, bl_rows out) {
  const uint32_t up = m->layer->upsample && !m->host_windows ? 1 : 0;
  const uint64_t step = (uint64_t)m->stride_h * m->pool_stride_h;
  const uint64_t origin = m->pad_top + (uint64_t)m->stride_h * m->layer->pool_pad_top;
  return origin + ((uint64_t)rows_needed(m, out).lo << up) >= out.lo * step;
}

// Output rows of every operation of the cut, for `final` of the last one's. More where windows
// would begin amiss.
static void make_rows(const bl_mapped *mapped, const bl_cut *cut, bl_rows final, bl_rows *out) {
  const bl_mapping *ops = mapped->ops + cut->op0;
  const uint32_t count = cut->op1 - cut->op0, last = bl_holder(mapped, ops[count - 1].out_region);
  for (uint32_t i = count; i-- > 0;) {
    const bl_mapping *m = &ops[i];
    out[i] = (bl_rows){0, 0};
    if (bl_holder(mapped, m->out_region) == last) out[i] = final;
    for (uint32_t r = 0; r < m->reader_count && m->readers[r].op < cut->op1; r++) {
      const uint32_t k = m->readers[r].op - cut->op0;
      if (out[k].lo == out[k].hi) continue;
      widen(&out[i],
            m->readers[r].second ? second_rows(&ops[k], out[k]) : rows_needed(&ops[k], out[k]));
    }
    while (out[i].lo > 0 && out[i].lo < out[i].hi && !origin_fits(m, out[i]))
      out[i].lo--;
  }
}

bl_piece bl_final_piece(const bl_mapped *mapped, const bl_cut *cut, uint32_t images,
                        uint32_t piece) {
  const uint32_t h = mapped->ops[cut->op1 - 1].out->h;
  if (cut->pieces <= images) {
    uint32_t each = images / cut->pieces;
    return (bl_piece){.image0 = piece * each, .images = each, .row1 = h};
  }
  uint64_t stripes = cut->pieces / images, s = piece % stripes;
  return (bl_piece){.image0 = (uint32_t)(piece / stripes),
                    .images = 1,
                    .row0 = (uint32_t)(s * h / stripes),
                    .row1 = (uint32_t)((s + 1) * h / stripes)};
}

static void rows_of_piece(const bl_mapped *mapped, const bl_cut *cut, uint32_t images,
                          uint32_t piece, bl_rows *out) {
  const bl_piece p = bl_final_piece(mapped, cut, images, piece);
  make_rows(mapped, cut, (bl_rows){p.row0, p.row1}, out);
}

bl_rows bl_held_rows(const bl_mapped *mapped, const bl_cut *cut, uint32_t images, uint32_t region,
                     uint32_t height, uint32_t piece) {
  const uint32_t holder = bl_holder(mapped, region);
  bl_rows out[BL_CUT_OPS], held = {0, 0};
  if (cut->pieces <= images || !bl_in_pieces(mapped, cut, region)) return (bl_rows){0, height};
  rows_of_piece(mapped, cut, images, piece, out);
  for (uint32_t i = cut->op0; i < cut->op1; i++) {
    const bl_mapping *m = &mapped->ops[i];
    const bl_rows made = out[i - cut->op0];
    if (made.lo == made.hi) continue;
    if (bl_holder(mapped, m->in_region) == holder) widen(&held, rows_needed(m, made));
    if (bl_holder(mapped, m->res_region) == holder) widen(&held, second_rows(m, made));
    if (bl_holder(mapped, m->out_region) == holder) widen(&held, made);
  }
  return held;
}

bl_rows bl_written_rows(const bl_mapped *mapped, const bl_cut *cut, uint32_t images,
                        uint32_t region, uint32_t height, uint32_t piece) {
  const uint32_t holder = bl_holder(mapped, region);
  bl_rows out[BL_CUT_OPS], written = {0, height};
  if (cut->pieces <= images) return written;
  rows_of_piece(mapped, cut, images, piece, out);
  for (uint32_t i = cut->op0; i < cut->op1; i++) {
    const bl_rows made = out[i - cut->op0];
    if (bl_holder(mapped, mapped->ops[i].out_region) != holder) continue;
    if (made.lo > written.lo) written.lo = made.lo;
    if (made.hi < written.hi) written.hi = made.hi;
  }
  return written;
}

uint32_t bl_piece_rows(const bl_mapped *mapped, const bl_cut *cut, uint32_t images, uint32_t region,
                       uint32_t height) {
  uint32_t most = 0;
  if (cut->pieces <= images) return images / cut->pieces * height;
  for (uint32_t piece = 0; piece < cut->pieces / images; piece++) {
    const bl_rows s = bl_held_rows(mapped, cut, images, region, height, piece);
    if (s.hi - s.lo > most) most = s.hi - s.lo;
  }
  return most;
}

bl_piece bl_piece_at(const bl_mapped *mapped, const bl_cut *cut, uint32_t images, uint32_t op,
                     uint32_t piece) {
  const bl_mapping *m = &mapped->ops[op];
  const uint32_t up = m->layer->upsample && !m->host_windows ? 1 : 0;
  bl_rows out[BL_CUT_OPS], in = {0, m->in_h >> up};
  if (op < cut->op0 || op >= cut->op1)
    return (bl_piece){.images = images, .row1 = m->out->h, .in_row1 = in.hi};
  bl_piece p = bl_final_piece(mapped, cut, images, piece);
  p.row1 = m->out->h;
  if (cut->pieces > images) {
    rows_of_piece(mapped, cut, images, piece, out);
    p.row0 = out[op - cut->op0].lo;
    p.row1 = out[op - cut->op0].hi;
    if (p.row1 > p.row0) in = rows_needed(m, out[op - cut->op0]);
  }
  p.in_row0 = in.lo;
  p.in_row1 = in.hi;
  return p;
}

bool bl_origins_fit(const bl_mapped *mapped, const bl_cut *cut, uint32_t images, uint32_t op) {
  for (uint32_t piece = 0; piece < cut->pieces / images; piece++) {
    const bl_piece p = bl_piece_at(mapped, cut, images, op, piece);
    if (p.row1 == p.row0) return false; // nothing reads it
    if (!origin_fits(&mapped->ops[op], (bl_rows){p.row0, p.row1})) return false;
  }
  return true;
}
