// SPDX-License-Identifier: Apache-2.0
// Running the first operations of a network piece by piece, where the input or what they make of it
// does not fit, or so that the input loads while they run. A piece is some whole images, or some
// rows of one; the rows that windows of neighbouring pieces share are computed twice. What lies
// between the operations is held for one piece; the last one's output, or the concatenation that it
// is a part of, is whole. A stage of a program that spills is cut in the same way, but holds
// nothing longer than a piece.
#include "host/compile/internal.h"

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

// Does anything outside the cut read, or write, what lies inside it?
static bool closed(const bl_mapped *mapped, const bl_cut *cut) {
  for (uint32_t i = cut->op1; i < mapped->count; i++) {
    const bl_mapping *m = &mapped->ops[i];
    if (bl_in_pieces(mapped, cut, m->in_region) || bl_in_pieces(mapped, cut, m->res_region) ||
        bl_in_pieces(mapped, cut, m->out_region))
      return false;
  }
  return !bl_in_pieces(mapped, cut, mapped->graph->output);
}

// The last operation may not be cut off from others that write the same tensor.
static bool ends_well(const bl_mapped *mapped, const bl_cut *cut) {
  const bl_mapping *last = &mapped->ops[cut->op1 - 1];
  return cut->op1 == mapped->count || last[1].out_region != last->out_region;
}

bool bl_cut_possible(const bl_mapped *mapped, const bl_cut *cut, uint32_t images,
                     uint32_t row_bytes) {
  if (cut->op1 == 0) return true;
  if (cut->op1 > BL_CUT_OPS || cut->op1 > mapped->count || cut->pieces > BL_MAX_PIECES)
    return false;
  const bl_mapping *last = &mapped->ops[cut->op1 - 1];
  if (!ends_well(mapped, cut) || !last->last || !closed(mapped, cut)) return false;
  const bl_mapping *first = &mapped->ops[0];
  const uint32_t up = first->layer->upsample && !first->host_windows ? 1 : 0;
  if (cut->pieces <= images)
    return images % cut->pieces == 0 &&
           (uint64_t)images / cut->pieces * (first->in_h >> up) * row_bytes % 4 == 0;
  if (cut->pieces % images != 0 || cut->pieces / images > last->out->h) return false;
  for (uint32_t i = 0; i < cut->op1; i++)
    if (!bl_origins_fit(mapped, cut, images, i)) return false;
  return row_bytes % 4 == 0;
}

// Do the pieces together write every row of a region? Of each only the rows that all parts of a
// concatenation have are sent.
static bool covered(const bl_mapped *mapped, const bl_cut *cut, uint32_t images, uint32_t region,
                    uint32_t height) {
  uint32_t next = 0;
  for (uint32_t piece = 0; piece < cut->pieces / images; piece++) {
    const bl_rows rows = bl_written_rows(mapped, cut, images, region, height, piece);
    if (rows.lo > next || rows.hi <= rows.lo) return false;
    if (rows.hi > next) next = rows.hi;
  }
  return next == height;
}

// A region that a stage touches: what lies outside of the stage touches its words only through the
// store, whole images or rows of which begin there at multiples of 4 bytes.
static bool region_fits(const bl_mapped *mapped, const bl_cut *cut, uint32_t images,
                        const bl_region *regions, uint32_t region) {
  const bool stripes = cut->pieces > images, sends = bl_stage_sends(mapped, cut, region);
  const bl_region *r = &regions[region];
  if (stripes && sends && !covered(mapped, cut, images, region, bl_region_height(r))) return false;
  return (!sends && !bl_stage_loads(mapped, cut, region)) ||
         ((images == 1 || (uint64_t)r->image_stride * r->load_bytes % 4 == 0) &&
          (!stripes || (uint64_t)r->row_stride * r->load_bytes % 4 == 0));
}

// Are all operations that write one tensor, or one partial sum, in the stage when one of them is?
static bool writers_together(const bl_mapped *mapped, const bl_cut *cut) {
  for (uint32_t i = 0; i < mapped->count; i++)
    if ((i < cut->op0 || i >= cut->op1) && bl_cut_writes(mapped, cut, mapped->ops[i].out_region))
      return false;
  return true;
}

bool bl_stage_possible(const bl_mapped *mapped, const bl_cut *cut, uint32_t images,
                       const bl_region *regions) {
  uint32_t touched[3 * BL_CUT_OPS];
  if (cut->op1 - cut->op0 > BL_CUT_OPS || cut->pieces > BL_MAX_PIECES || !ends_well(mapped, cut) ||
      !writers_together(mapped, cut))
    return false;
  for (uint32_t i = cut->op0; cut->pieces > images && i < cut->op1; i++)
    if (!bl_origins_fit(mapped, cut, images, i)) return false;
  const uint32_t count = bl_stage_regions(mapped, cut, touched);
  for (uint32_t i = 0; i < count; i++)
    if (!region_fits(mapped, cut, images, regions, touched[i])) return false;
  return true;
}

bl_step bl_spill_step(const bl_program *program, const bl_mapped *mapped, const bl_cut *cut,
                      uint32_t region, uint32_t piece, bool load) {
  const uint32_t images = program->images;
  const bl_region *r = &program->regions[region];
  const uint32_t image = bl_final_piece(mapped, cut, images, piece).image0;
  const uint32_t h = bl_region_height(r);
  const bl_rows held = bl_held_rows(mapped, cut, images, region, h, piece);
  const bl_rows rows = load ? held : bl_written_rows(mapped, cut, images, region, h, piece);
  const uint32_t words = (rows.hi - rows.lo) * r->row_stride;
  const uint32_t skipped = image * r->image_stride + rows.lo * r->row_stride;
  const bl_region *whole = &program->regions[bl_holder(mapped, region)];
  return (bl_step){.opcode = load ? BL_OP_LOAD_ACTIVATIONS : BL_OP_SEND,
                   .address = r->address + (rows.lo - held.lo) * r->row_stride,
                   .argument = r->load_bytes << 24 | (load ? 0 : words),
                   .bytes = load ? words * r->load_bytes : 0,
                   .stored = true,
                   .store_offset = whole->store_offset + skipped * r->load_bytes,
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
  bl_piece p = bl_final_piece(mapped, &cut, program->images, piece);
  bl_rows rows = bl_held_rows(mapped, &cut, program->images, 0, program->input.h, piece);
  uint32_t words = (p.images - 1) * r->image_stride + (rows.hi - rows.lo) * r->row_stride;
  step.address += piece % program->input.slots * program->input.slot_words;
  step.bytes = words * r->load_bytes;
  step.store_offset = (p.image0 * r->image_stride + rows.lo * r->row_stride) * r->load_bytes;
  return step;
}
