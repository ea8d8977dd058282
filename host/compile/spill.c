// SPDX-License-Identifier: Apache-2.0
// Networks whose activations do not fit: all operations are cut into stages, each of which runs
// piece by piece (whole images, or rows of one) from what it loads to what it sends. Between stages
// tensors lie in the host's store, concatenations also while parts are missing: a stage that makes
// another part loads what is there, writes its channels beside it and sends both. The cheapest
// cutting is found over all of them, from the first operation on: cycles of its operations, rows
// that pieces share computed again, and a stream word a cycle for what travels.
#include "host/compile/internal.h"

#include <stdlib.h>
#include <string.h>

enum {
  MAX_STAGE_OPS = 16,
  PIECE_CYCLES = 80 // about what a piece takes besides: headers, a fence, the first gather
};

static uint64_t pixels_of(const bl_piece *p, const bl_mapping *m) {
  return (uint64_t)p->images * (p->row1 - p->row0) * m->out->w;
}

// Stream words of a region in all pieces: what they load, or send.
static uint64_t travel(const bl_mapped *mapped, const bl_cut *cut, uint32_t images,
                       const bl_region *regions, uint32_t region, bool load) {
  const bl_region *r = &regions[region];
  const uint32_t h = bl_region_height(r);
  uint64_t bytes = 0;
  for (uint32_t k = 0; k < cut->pieces; k++) {
    const bl_rows rows = load ? bl_held_rows(mapped, cut, images, region, h, k)
                              : bl_written_rows(mapped, cut, images, region, h, k);
    bytes += (uint64_t)(rows.hi - rows.lo) * r->row_stride * r->load_bytes;
  }
  return bytes / 4;
}

static uint64_t cycles(const bl_mapped *mapped, const bl_cut *cut, uint32_t images,
                       const bl_region *regions) {
  uint64_t sum = (uint64_t)cut->pieces * PIECE_CYCLES, issue;
  uint32_t touched[3 * BL_CUT_OPS];
  for (uint32_t i = cut->op0; i < cut->op1; i++) {
    const bl_mapping *m = &mapped->ops[i];
    for (uint32_t k = 0; k < cut->pieces; k++) {
      bl_piece p = bl_piece_at(mapped, cut, images, i, k);
      sum += bl_estimate(m, pixels_of(&p, m), &issue);
    }
  }
  const uint32_t count = bl_stage_regions(mapped, cut, touched);
  for (uint32_t i = 0; i < count; i++) {
    if (bl_stage_loads(mapped, cut, touched[i]))
      sum += travel(mapped, cut, images, regions, touched[i], true);
    if (bl_stage_sends(mapped, cut, touched[i]))
      sum += travel(mapped, cut, images, regions, touched[i], false);
  }
  return sum;
}

// Operations op0 .. op1-1 as one stage, in as few pieces as fit.
static bool stage_fits(const bl_mapped *mapped, uint32_t images, bl_region *regions, bl_cut *cut,
                       uint32_t *used) {
  const uint32_t h = mapped->ops[cut->op1 - 1].out->h;
  for (uint32_t stripes = 1; stripes <= h; stripes += 1 + stripes / 4) {
    cut->pieces = images * stripes;
    if (cut->pieces > BL_MAX_PIECES) return false;
    if (bl_stage_possible(mapped, cut, images, regions) &&
        bl_plan_stage(mapped, cut, images, regions, used))
      return true;
  }
  cut->pieces = images * h;
  return cut->pieces <= BL_MAX_PIECES && bl_stage_possible(mapped, cut, images, regions) &&
         bl_plan_stage(mapped, cut, images, regions, used);
}

// The best way to reach an operation.
typedef struct {
  uint64_t cycles; // UINT64_MAX: none
  uint32_t op0, pieces, used;
} way;

static void try_stage(const bl_mapped *mapped, uint32_t images, bl_region *regions, bl_cut cut,
                      way *ways) {
  uint32_t used;
  if (ways[cut.op0].cycles == UINT64_MAX || !stage_fits(mapped, images, regions, &cut, &used))
    return;
  uint64_t total = ways[cut.op0].cycles + cycles(mapped, &cut, images, regions);
  if (total >= ways[cut.op1].cycles) return;
  ways[cut.op1] = (way){total, cut.op0, cut.pieces, used};
}

static void collect(const way *ways, uint32_t count, bl_spill *spill) {
  spill->count = 0;
  spill->used = 0;
  spill->cycles = ways[count].cycles;
  for (uint32_t end = count; end > 0; end = ways[end].op0) {
    if (ways[end].used > spill->used) spill->used = ways[end].used;
    spill->stages[spill->count++] = (bl_spill_stage){ways[end].op0, end, ways[end].pieces};
  }
  for (uint32_t i = 0; i < spill->count / 2; i++) {
    bl_spill_stage other = spill->stages[spill->count - 1 - i];
    spill->stages[spill->count - 1 - i] = spill->stages[i];
    spill->stages[i] = other;
  }
}

// Rows begin at multiples of 4 bytes in the store: where those of a region would not, it travels
// with whole words, and a pixel takes more of them than it has (narrow words, odd widths).
static void align_rows(bl_region *r, uint32_t word_bytes) {
  const uint32_t h = bl_region_height(r),
                 w = r->pixel_stride == 0 ? 0 : r->row_stride / r->pixel_stride;
  if ((uint64_t)r->row_stride * r->load_bytes % 4 == 0) return;
  r->load_bytes = word_bytes;
  while ((uint64_t)w * r->pixel_stride * word_bytes % 4 != 0)
    r->pixel_stride++;
  r->row_stride = w * r->pixel_stride;
  r->image_stride = h * r->row_stride;
}

bool bl_shape_stages(const bl_mapped *mapped, bl_region *regions) {
  if (!bl_shape_regions(mapped, regions)) return false;
  for (uint32_t i = 0; i < mapped->region_count; i++)
    align_rows(&regions[i], mapped->ops[0].config->lanes / 8);
  return true;
}

bool bl_choose_stages(const bl_mapped *mapped, uint32_t images, bl_region *regions,
                      bl_spill *spill) {
  spill->blocking = 0;
  if (!bl_shape_stages(mapped, regions)) return false;
  way *ways = malloc((mapped->count + 1) * sizeof *ways);
  if (ways == NULL) return false;
  for (uint32_t i = 0; i <= mapped->count; i++)
    ways[i] = (way){i == 0 ? 0 : UINT64_MAX, 0, 0, 0};
  for (uint32_t op0 = 0; op0 < mapped->count; op0++) {
    for (uint32_t op1 = op0 + 1; op1 <= mapped->count && op1 - op0 <= MAX_STAGE_OPS; op1++)
      try_stage(mapped, images, regions, (bl_cut){op0, op1, 0, true}, ways);
    if (ways[op0].cycles != UINT64_MAX) spill->blocking = mapped->ops[op0].index;
  }
  bool found = ways[mapped->count].cycles != UINT64_MAX;
  if (found) collect(ways, mapped->count, spill);
  free(ways);
  return found;
}

// ---- The stages of a program -------------------------------------------------------------------

// Room in the store, once a tensor.
static bool give_room(bl_program *p, bl_region *r) {
  uint64_t bytes = (uint64_t)p->images * r->image_stride * r->load_bytes;
  if (r->spilled) return true;
  r->spilled = true;
  r->store_offset = p->store_bytes;
  if (p->store_bytes + bytes > UINT32_MAX - 4) return false;
  p->store_bytes = (uint32_t)(p->store_bytes + bytes + 3) / 4 * 4;
  return true;
}

// What an operation of a stage reads: where the stage does not make it, a copy of its own, for the
// tensor's own region says where it was made.
static bool take_copy(const bl_cut *cut, bl_mapped *mapped, const bl_region *planned,
                      uint32_t *region, bl_program *p) {
  if (*region == BL_NONE || *region >= mapped->first_copy || bl_cut_writes(mapped, cut, *region))
    return true;
  const uint32_t from = *region, copy = mapped->region_count++;
  mapped->copied[copy - mapped->first_copy] = from;
  p->regions[copy] = planned[from];
  for (uint32_t i = cut->op0; i < cut->op1; i++) {
    if (mapped->ops[i].in_region == from) mapped->ops[i].in_region = copy;
    if (mapped->ops[i].res_region == from) mapped->ops[i].res_region = copy;
  }
  return !bl_stage_loads(mapped, cut, copy) || give_room(p, &p->regions[bl_holder(mapped, from)]);
}

static bool lay_out_stage(const bl_cut *cut, bl_mapped *mapped, bl_region *planned, bl_program *p) {
  uint32_t used;
  if (!bl_plan_stage(mapped, cut, p->images, planned, &used)) return false;
  for (uint32_t i = cut->op0; i < cut->op1; i++) {
    bl_mapping *m = &mapped->ops[i];
    bl_region *out = &p->regions[m->out_region];
    out->address = planned[m->out_region].address;
    out->words = planned[m->out_region].words;
    out->pieces = true;
    if (bl_stage_loads(mapped, cut, m->out_region) &&
        !give_room(p, &p->regions[bl_holder(mapped, m->out_region)]))
      return false;
    if (!take_copy(cut, mapped, planned, &m->in_region, p) ||
        !take_copy(cut, mapped, planned, &m->res_region, p))
      return false;
  }
  return true;
}

bl_status bl_lay_out_stages(const bl_spill *spill, bl_mapped *mapped, bl_arena *arena,
                            bl_program *program, bl_error *err) {
  const uint32_t count = mapped->region_count;
  bl_region *planned = bl_arena_alloc(arena, count, sizeof *planned);
  program->stages = bl_arena_alloc(program->arena, spill->count, sizeof *program->stages);
  // a stage may load two copies for each of its operations
  mapped->copied = bl_arena_alloc(arena, 2 * (size_t)mapped->count, sizeof *mapped->copied);
  mapped->first_copy = count;
  if (planned == NULL || program->stages == NULL || mapped->copied == NULL)
    return bl_fail(err, BL_ERR_MEMORY, "compile: no memory for the stages");
  memcpy(program->stages, spill->stages, spill->count * sizeof *program->stages);
  memcpy(planned, program->regions, count * sizeof *planned);
  program->stage_count = spill->count;
  bool ok = give_room(program, &program->regions[0]);
  for (uint32_t s = 0; s < spill->count && ok; s++) {
    const bl_spill_stage *stage = &spill->stages[s];
    const bl_cut cut = {stage->op0, stage->op1, stage->pieces, true};
    ok = lay_out_stage(&cut, mapped, planned, program);
  }
  bl_region *output = &program->regions[bl_holder(mapped, mapped->graph->output)];
  ok = ok && give_room(program, output);
  program->output_offset = output->store_offset;
  if (ok) return BL_OK;
  return bl_fail(err, BL_ERR_UNSUPPORTED,
                 "network %s: a batch of %u has more activations than the host keeps; use a "
                 "smaller batch",
                 mapped->graph->name, program->images);
}
