// SPDX-License-Identifier: Apache-2.0
// Running the first operations of a network piece by piece, where the input or what they make of it
// does not fit, or so that the input loads while they run. A piece is some whole images, or some
// rows of one; the rows that windows of neighbouring pieces share are computed twice. What lies
// between the operations is held for one piece; the last one's output is whole.
#include "host/compile/internal.h"

enum { MAX_OPS = 64 };

typedef struct {
  uint32_t lo, hi;
} span;

uint32_t bl_piece_count(const bl_cut *cut, uint32_t op) {
  return op < cut->ops ? cut->pieces : 1;
}

bool bl_in_pieces(const bl_mapped *mapped, const bl_cut *cut, uint32_t region) {
  if (cut->ops == 0 || region == mapped->ops[cut->ops - 1].out_region) return false;
  for (uint32_t i = 0; i < cut->ops; i++)
    if (mapped->ops[i].out_region == region) return true;
  return region == 0;
}

// Rows of the input that output rows `out` need.
static span rows_needed(const bl_mapping *m, span out) {
  const bl_int_layer *l = m->layer;
  const uint32_t up = l->upsample && !m->host_windows ? 1 : 0;
  int64_t step = (int64_t)m->stride_h * m->pool_stride_h;
  int64_t origin = m->pad_top + (int64_t)m->stride_h * l->pool_pad_top;
  int64_t reach = (int64_t)(l->pool_h - 1) * m->stride_h +
                  (int64_t)(m->tap0 / m->kernel_w + m->kernel_h - 1) * m->dilation_h;
  int64_t lo = out.lo * step - origin, hi = (out.hi - 1) * step - origin + reach + 1;
  if (lo < 0) lo = 0;
  if (hi > m->in_h) hi = m->in_h;
  if (hi <= lo) hi = lo < m->in_h ? lo + 1 : (lo = m->in_h - 1) + 1; // windows of padding alone
  return (span){(uint32_t)lo >> up, ((uint32_t)hi + up) >> up};
}

static void widen(span *s, span by) {
  if (s->lo == s->hi) *s = by;
  if (by.lo < s->lo) s->lo = by.lo;
  if (by.hi > s->hi) s->hi = by.hi;
}

// Output rows of every operation of the cut, and (`region`) the rows that a region must hold.
static span rows_of(const bl_mapped *mapped, const bl_cut *cut, span final, uint32_t op,
                    uint32_t region) {
  span out[MAX_OPS] = {{0, 0}}, held = {0, 0};
  const uint32_t last = mapped->ops[cut->ops - 1].out_region;
  for (uint32_t i = cut->ops; i-- > 0;) {
    const bl_mapping *m = &mapped->ops[i];
    if (m->out_region == last) out[i] = final;
    for (uint32_t k = i + 1; k < cut->ops; k++) {
      const bl_mapping *reader = &mapped->ops[k];
      if (reader->in_region == m->out_region) widen(&out[i], rows_needed(reader, out[k]));
      if (reader->res_region == m->out_region) widen(&out[i], out[k]);
    }
    if (m->in_region == region) widen(&held, rows_needed(m, out[i]));
    if (m->res_region == region || m->out_region == region) widen(&held, out[i]);
  }
  return region == BL_NONE ? out[op] : held;
}

// The rows of the cut's output that a piece makes.
static bl_piece final_piece(const bl_mapped *mapped, const bl_cut *cut, uint32_t images,
                            uint32_t piece) {
  const uint32_t h = mapped->ops[cut->ops - 1].out->h;
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

// Rows that a region holds in a piece: all where the piece is whole images.
static span held_rows(const bl_mapped *mapped, const bl_cut *cut, uint32_t images, uint32_t piece,
                      uint32_t region, uint32_t height) {
  bl_piece p = final_piece(mapped, cut, images, piece);
  if (cut->pieces <= images || !bl_in_pieces(mapped, cut, region)) return (span){0, height};
  return rows_of(mapped, cut, (span){p.row0, p.row1}, 0, region);
}

bl_piece bl_piece_at(const bl_mapped *mapped, const bl_cut *cut, uint32_t images, uint32_t op,
                     uint32_t piece) {
  const bl_mapping *m = &mapped->ops[op];
  const uint32_t up = m->layer->upsample && !m->host_windows ? 1 : 0;
  if (op >= cut->ops)
    return (bl_piece){.images = images, .row1 = m->out->h, .in_row1 = m->in_h >> up};
  bl_piece p = final_piece(mapped, cut, images, piece);
  span in = held_rows(mapped, cut, images, piece, m->in_region, m->in_h >> up);
  if (cut->pieces > images) {
    span out = rows_of(mapped, cut, (span){p.row0, p.row1}, op, BL_NONE);
    p.row0 = out.lo;
    p.row1 = out.hi;
  } else {
    p.row1 = m->out->h;
  }
  p.in_row0 = in.lo;
  p.in_row1 = in.hi;
  return p;
}

uint32_t bl_piece_rows(const bl_mapped *mapped, const bl_cut *cut, uint32_t images, uint32_t region,
                       uint32_t height) {
  uint32_t most = 0;
  if (cut->pieces <= images) return images / cut->pieces * height;
  for (uint32_t piece = 0; piece < cut->pieces / images; piece++) {
    span s = held_rows(mapped, cut, images, piece, region, height);
    if (s.hi - s.lo > most) most = s.hi - s.lo;
  }
  return most;
}

uint32_t bl_piece_first_row(const bl_mapped *mapped, const bl_cut *cut, uint32_t images,
                            uint32_t region, uint32_t height, uint32_t piece) {
  return held_rows(mapped, cut, images, piece, region, height).lo;
}

// Does anything outside the cut read what lies inside it?
static bool closed(const bl_mapped *mapped, const bl_int_graph *graph, const bl_cut *cut) {
  for (uint32_t i = cut->ops; i < mapped->count; i++)
    if (bl_in_pieces(mapped, cut, mapped->ops[i].in_region) ||
        bl_in_pieces(mapped, cut, mapped->ops[i].res_region))
      return false;
  for (uint32_t i = 0; i < cut->ops; i++) {
    const bl_mapping *m = &mapped->ops[i];
    uint32_t last = mapped->ops[cut->ops - 1].out_region;
    if (m->in->parent != 0 || m->out->parent != 0 || m->in_region == last ||
        m->res_region == last || (m->addend != NULL && m->addend->parent != 0))
      return false;
    // tensors made before the cut do not exist: it starts with the first operation
    if (m->in_region < graph->tensor_count && !bl_in_pieces(mapped, cut, m->in_region))
      return false;
  }
  for (uint32_t t = 1; t < graph->tensor_count; t++)
    if (graph->tensors[t].parent != 0 && bl_in_pieces(mapped, cut, graph->tensors[t].parent))
      return false;
  return !bl_in_pieces(mapped, cut, graph->output);
}

// Coordinates count from the first row held, so no window may begin behind it: it would where all
// of it lies in the padding, or in the middle of an up-sampled row.
static bool origins_fit(const bl_mapped *mapped, const bl_cut *cut, uint32_t images, uint32_t op) {
  const bl_mapping *m = &mapped->ops[op];
  const uint32_t up = m->layer->upsample && !m->host_windows ? 1 : 0;
  const uint64_t step = (uint64_t)m->stride_h * m->pool_stride_h;
  const uint64_t origin = m->pad_top + (uint64_t)m->stride_h * m->layer->pool_pad_top;
  for (uint32_t piece = 0; piece < cut->pieces / images; piece++) {
    bl_piece p = bl_piece_at(mapped, cut, images, op, piece);
    if (origin + ((uint64_t)p.in_row0 << up) < p.row0 * step) return false;
  }
  return true;
}

bool bl_cut_possible(const bl_mapped *mapped, const bl_int_graph *graph, const bl_cut *cut,
                     uint32_t images, uint32_t row_bytes) {
  if (cut->ops == 0) return true;
  if (cut->ops > MAX_OPS || cut->ops > mapped->count || cut->pieces > BL_MAX_PIECES) return false;
  // the last operation may not be cut off from others that write the same tensor
  const bl_mapping *last = &mapped->ops[cut->ops - 1];
  if (cut->ops < mapped->count && last[1].out_region == last->out_region) return false;
  if (!last->last || !closed(mapped, graph, cut)) return false;
  const bl_mapping *first = &mapped->ops[0];
  if (cut->pieces <= images)
    return images % cut->pieces == 0 &&
           (uint64_t)images / cut->pieces * first->in_h * row_bytes % 4 == 0;
  if (cut->pieces % images != 0 || cut->pieces / images > last->out->h) return false;
  for (uint32_t i = 0; i < cut->ops; i++)
    if (!origins_fit(mapped, cut, images, i)) return false;
  return row_bytes % 4 == 0;
}

bl_step bl_input_load(const bl_program *program, const bl_mapped *mapped, uint32_t piece) {
  const bl_region *r = &program->regions[0];
  bl_step step = bl_program_whole_input(program);
  const bl_cut cut = {program->input.cut_ops, program->input.pieces};
  if (cut.ops == 0) return step;
  bl_piece p = final_piece(mapped, &cut, program->images, piece);
  span rows = held_rows(mapped, &cut, program->images, piece, 0, program->input.h);
  uint32_t words = (p.images - 1) * r->image_stride + (rows.hi - rows.lo) * r->row_stride;
  step.address += piece % program->input.slots * program->input.slot_words;
  step.bytes = words * r->load_bytes;
  step.input_offset = (p.image0 * r->image_stride + rows.lo * r->row_stride) * r->load_bytes;
  return step;
}
