// SPDX-License-Identifier: Apache-2.0
// Running the first operations of a network piece by piece, where the input or what they make of it
// does not fit, or so that the input loads while they run. A piece is some whole images, or some
// rows of one; the rows that windows of neighbouring pieces share are computed twice. What lies
// between the operations is held for one piece; the last one's output is whole. A stage of a
// program that spills is cut in the same way, but holds nothing longer than a piece.
#include "host/compile/internal.h"

enum { MAX_OPS = 64 };

typedef struct {
  uint32_t lo, hi;
} span;

uint32_t bl_piece_count(const bl_cut *cut, uint32_t op) {
  return op >= cut->op0 && op < cut->op1 ? cut->pieces : 1;
}

bl_cut bl_cut_at(const bl_program *program, uint32_t op) {
  for (uint32_t s = 0; s < program->stage_count; s++)
    if (op < program->stages[s].op1)
      return (bl_cut){program->stages[s].op0, program->stages[s].op1, program->stages[s].pieces,
                      true};
  return (bl_cut){0, program->input.cut_ops, program->input.pieces, false};
}

bool bl_stage_writes(const bl_mapped *mapped, const bl_cut *cut, uint32_t region) {
  for (uint32_t i = cut->op0; i < cut->op1; i++)
    if (mapped->ops[i].out_region == region) return true;
  return false;
}

bool bl_in_pieces(const bl_mapped *mapped, const bl_cut *cut, uint32_t region) {
  if (cut->spills) return true;
  if (cut->op1 == 0 || region == mapped->ops[cut->op1 - 1].out_region) return false;
  return region == 0 || bl_stage_writes(mapped, cut, region);
}

// Rows of the input that output rows `out` need, with those that a stride skips, so that the pieces
// together make every row of every layer.
static span rows_needed(const bl_mapping *m, span out) {
  const bl_int_layer *l = m->layer;
  const uint32_t up = l->upsample && !m->host_windows ? 1 : 0;
  int64_t step = (int64_t)m->stride_h * m->pool_stride_h;
  int64_t origin = m->pad_top + (int64_t)m->stride_h * l->pool_pad_top;
  int64_t reach = (int64_t)(l->pool_h - 1) * m->stride_h +
                  (int64_t)(m->tap0 / m->kernel_w + m->kernel_h - 1) * m->dilation_h;
  int64_t lo = out.lo * step - origin, hi = (out.hi - 1) * step - origin + reach + 1;
  if (hi < out.hi * step - origin) hi = out.hi * step - origin;
  if (out.hi == m->out->h) hi = m->in_h;
  if (lo < 0) lo = 0;
  if (hi > m->in_h) hi = m->in_h;
  if (hi <= lo) hi = lo < m->in_h ? lo + 1 : (lo = m->in_h - 1) + 1; // windows of padding alone
  return (span){(uint32_t)lo >> up, ((uint32_t)hi + up) >> up};
}

// Rows of the second source that output rows need, likewise.
static span second_rows(const bl_mapping *m, span out) {
  return (span){out.lo * m->res_down, out.hi * m->res_down};
}

static void widen(span *s, span by) {
  if (s->lo == s->hi) *s = by;
  if (by.lo < s->lo) s->lo = by.lo;
  if (by.hi > s->hi) s->hi = by.hi;
}

// Output rows of every operation of the cut, and (`region`) the rows that a region must hold.
static span rows_of(const bl_mapped *mapped, const bl_cut *cut, span final, uint32_t op,
                    uint32_t region) {
  const bl_mapping *ops = mapped->ops + cut->op0;
  const uint32_t count = cut->op1 - cut->op0, last = ops[count - 1].out_region;
  span out[MAX_OPS] = {{0, 0}}, held = {0, 0};
  for (uint32_t i = count; i-- > 0;) {
    const bl_mapping *m = &ops[i];
    if (m->out_region == last) out[i] = final;
    for (uint32_t k = i + 1; k < count; k++) {
      const bl_mapping *reader = &ops[k];
      if (reader->in_region == m->out_region) widen(&out[i], rows_needed(reader, out[k]));
      if (reader->res_region == m->out_region) widen(&out[i], second_rows(reader, out[k]));
    }
    if (m->in_region == region) widen(&held, rows_needed(m, out[i]));
    if (m->res_region == region) widen(&held, second_rows(m, out[i]));
    if (m->out_region == region) widen(&held, out[i]);
  }
  return region == BL_NONE ? out[op - cut->op0] : held;
}

// The rows of the cut's output that a piece makes.
static bl_piece final_piece(const bl_mapped *mapped, const bl_cut *cut, uint32_t images,
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
  if (op < cut->op0 || op >= cut->op1)
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
  for (uint32_t i = cut->op1; i < mapped->count; i++)
    if (bl_in_pieces(mapped, cut, mapped->ops[i].in_region) ||
        bl_in_pieces(mapped, cut, mapped->ops[i].res_region))
      return false;
  for (uint32_t i = 0; i < cut->op1; i++) {
    const bl_mapping *m = &mapped->ops[i];
    uint32_t last = mapped->ops[cut->op1 - 1].out_region;
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
    if (p.row1 == p.row0) return false; // nothing reads it
    if (origin + ((uint64_t)p.in_row0 << up) < p.row0 * step) return false;
  }
  return true;
}

// The last operation may not be cut off from others that write the same tensor.
static bool ends_well(const bl_mapped *mapped, const bl_cut *cut) {
  const bl_mapping *last = &mapped->ops[cut->op1 - 1];
  return cut->op1 == mapped->count || last[1].out_region != last->out_region;
}

bool bl_cut_possible(const bl_mapped *mapped, const bl_int_graph *graph, const bl_cut *cut,
                     uint32_t images, uint32_t row_bytes) {
  if (cut->op1 == 0) return true;
  if (cut->op1 > MAX_OPS || cut->op1 > mapped->count || cut->pieces > BL_MAX_PIECES) return false;
  const bl_mapping *last = &mapped->ops[cut->op1 - 1];
  if (!ends_well(mapped, cut) || !last->last || !closed(mapped, graph, cut)) return false;
  const bl_mapping *first = &mapped->ops[0];
  const uint32_t up = first->layer->upsample && !first->host_windows ? 1 : 0;
  if (cut->pieces <= images)
    return images % cut->pieces == 0 &&
           (uint64_t)images / cut->pieces * (first->in_h >> up) * row_bytes % 4 == 0;
  if (cut->pieces % images != 0 || cut->pieces / images > last->out->h) return false;
  for (uint32_t i = 0; i < cut->op1; i++)
    if (!origins_fit(mapped, cut, images, i)) return false;
  return row_bytes % 4 == 0;
}

// A region of a stage: what lies outside of the stage touches its words only through the store,
// whole images or rows of which begin there at multiples of 4 bytes. In stripes only the last
// operation's output may be read outside, and no part of a concatenation.
static bool region_fits(const bl_mapped *mapped, const bl_int_graph *graph, const bl_cut *cut,
                        uint32_t images, const bl_region *regions, uint32_t region) {
  const uint32_t holder = bl_region_holder(graph, region),
                 last = mapped->ops[cut->op1 - 1].out_region;
  const bool stripes = cut->pieces > images, written = bl_stage_writes(mapped, cut, region);
  const bl_region *r = &regions[region];
  bool outside = graph->output == holder || !written;
  for (uint32_t i = 0; i < mapped->count; i++) {
    const bl_mapping *m = &mapped->ops[i];
    if (i >= cut->op0 && i < cut->op1) continue;
    if (written && bl_region_holder(graph, m->out_region) == holder) return false;
    outside = outside || bl_region_holder(graph, m->in_region) == holder ||
              (m->res_region != BL_NONE && bl_region_holder(graph, m->res_region) == holder);
  }
  if (stripes && (holder != region || (written && outside && region != last))) return false;
  return !outside || ((images == 1 || (uint64_t)r->image_stride * r->load_bytes % 4 == 0) &&
                      (!stripes || (uint64_t)r->row_stride * r->load_bytes % 4 == 0));
}

bool bl_stage_possible(const bl_mapped *mapped, const bl_int_graph *graph, const bl_cut *cut,
                       uint32_t images, const bl_region *regions) {
  const uint32_t last = mapped->ops[cut->op1 - 1].out_region;
  if (cut->op1 - cut->op0 > MAX_OPS || cut->pieces > BL_MAX_PIECES || !ends_well(mapped, cut))
    return false;
  for (uint32_t i = cut->op0; i < cut->op1; i++) {
    const bl_mapping *m = &mapped->ops[i];
    if (!region_fits(mapped, graph, cut, images, regions, m->in_region) ||
        !region_fits(mapped, graph, cut, images, regions, m->out_region) ||
        (m->res_region != BL_NONE &&
         !region_fits(mapped, graph, cut, images, regions, m->res_region)))
      return false;
    if (cut->pieces == images) continue;
    if (m->in_region == last || m->res_region == last || !origins_fit(mapped, cut, images, i))
      return false;
  }
  return true;
}

bl_piece bl_held_piece(const bl_mapped *mapped, const bl_cut *cut, uint32_t images, uint32_t region,
                       uint32_t height, uint32_t piece) {
  bl_piece p = final_piece(mapped, cut, images, piece);
  span rows = held_rows(mapped, cut, images, piece, region, height);
  p.row0 = rows.lo;
  p.row1 = rows.hi;
  return p;
}

bl_step bl_spill_step(const bl_program *program, const bl_mapped *mapped, const bl_cut *cut,
                      uint32_t region, uint32_t piece, bool load) {
  const bl_region *r = &program->regions[region];
  bl_piece p = bl_held_piece(mapped, cut, program->images, region, bl_region_height(r), piece);
  const uint32_t words = (p.row1 - p.row0) * r->row_stride;
  const uint32_t skipped = p.image0 * r->image_stride + p.row0 * r->row_stride;
  return (bl_step){.opcode = load ? BL_OP_LOAD_ACTIVATIONS : BL_OP_SEND,
                   .address = r->address,
                   .argument = r->load_bytes << 24 | (load ? 0 : words),
                   .bytes = load ? words * r->load_bytes : 0,
                   .stored = true,
                   .store_offset = r->store_offset + skipped * r->load_bytes,
                   .layer = BL_STEP_NO_LAYER};
}

bl_step bl_input_load(const bl_program *program, const bl_mapped *mapped, uint32_t piece) {
  const bl_region *r = &program->regions[0];
  bl_step step = {.opcode = BL_OP_LOAD_ACTIVATIONS,
                  .address = r->address,
                  .argument = r->load_bytes << 24,
                  .bytes = bl_program_input_bytes(program),
                  .stored = true,
                  .layer = BL_STEP_NO_LAYER};
  const bl_cut cut = bl_cut_at(program, 0);
  if (cut.op1 == 0) return step;
  bl_piece p = final_piece(mapped, &cut, program->images, piece);
  span rows = held_rows(mapped, &cut, program->images, piece, 0, program->input.h);
  uint32_t words = (p.images - 1) * r->image_stride + (rows.hi - rows.lo) * r->row_stride;
  step.address += piece % program->input.slots * program->input.slot_words;
  step.bytes = words * r->load_bytes;
  step.store_offset = (p.image0 * r->image_stride + rows.lo * r->row_stride) * r->load_bytes;
  return step;
}
