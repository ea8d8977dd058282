// SPDX-License-Identifier: Apache-2.0
// The compiler's frame: map every layer, choose how the input is packed and how many images run at
// once by the estimated cycles of one image, then emit the program.
#include "host/compile/internal.h"

#include <string.h>

enum { MAX_PIECES = 64, SLOTS = 3, MODES = 2, FEW_OPS = 3 };

typedef struct {
  const bl_int_graph *graph;
  const bl_config *config;
  bl_arena *arena;         // of everything that the program does not keep
  bl_mapped mapped[MODES]; // [0] input as it is, [1] in windows; no operations: not possible
  bl_region *regions, *best_regions;
  bool found;
  uint32_t fits; // ways considered that fit
  uint32_t used, needed;
  uint64_t best_cycles; // of one image, times 256
  uint32_t best_images;
  int best_mode;
  bl_input_packing best_input;
  bool best_ahead;
  bl_spill spill, best_spill; // best_spill.count: stages; 0: none
} chooser;

static bl_status no_memory(bl_error *err) {
  return bl_fail(err, BL_ERR_MEMORY, "compile: no memory for the network's layers");
}

// Only for the one layer that reads the input, when it has few channels and a window to pack.
bool bl_may_pack(const bl_int_graph *graph, const bl_config *config) {
  uint32_t readers = 0;
  for (uint32_t l = 0; l < graph->layer_count; l++)
    readers += (graph->layers[l].input == 0 ? 1u : 0u) +
               (graph->layers[l].addend_weight != NULL && graph->layers[l].addend == 0 ? 1u : 0u);
  const bl_int_layer *first = &graph->layers[0];
  uint64_t taps = (uint64_t)first->kernel_h * first->kernel_w, c = graph->tensors[0].c;
  return readers == 1 && first->groups == 1 && !first->upsample && taps > 1 &&
         c <= config->lanes / 2 && taps * c <= BL_INT_MAX_DIM;
}

static bl_status map_all(chooser *ch, int mode, bl_error *err) {
  const bl_int_graph *graph = ch->graph;
  bl_mapped mapped = {.graph = graph, .region_count = graph->tensor_count, .first_copy = BL_NONE};
  for (uint32_t l = 0; l < graph->layer_count; l++) {
    bool window = mode == 1 && graph->layers[l].input == 0;
    BL_TRY(bl_map_layer(graph, l, ch->config, window, ch->arena, &mapped, err));
  }
  if (!bl_link_readers(&mapped, ch->arena)) return no_memory(err);
  ch->mapped[mode] = mapped;
  return BL_OK;
}

static uint64_t pixels_of(const bl_piece *p, const bl_mapping *m) {
  return (uint64_t)p->images * (p->row1 - p->row0) * m->out->w;
}

// Cycles of one image times 256, in batches of `images`: the operations, and loading the input,
// which goes on beside them where it comes in pieces and two runs lie between a slot's last reader
// and its next load, or beside the operations from the second one behind its last reader on.
static uint64_t cycles(const chooser *ch, const bl_mapped *mapped, const bl_cut *cut,
                       uint32_t slots, uint32_t images, bool ahead) {
  uint64_t sum = 0, issue, piece_run = 0, beside = 0; // beside: what a load goes on beside
  for (uint32_t i = 0; i < mapped->count; i++) {
    const bl_mapping *m = &mapped->ops[i];
    uint32_t pieces = bl_piece_count(cut, i);
    uint64_t all = 0;
    for (uint32_t k = 0; k < pieces; k++) {
      bl_piece p = bl_piece_at(mapped, cut, images, i, k);
      all += bl_estimate(m, pixels_of(&p, m), &issue);
    }
    if (i < cut->op1) piece_run += all / pieces;
    if (i < cut->op1 && i + 2 >= cut->op1) beside += all / pieces; // runs in flight and queued
    sum += all;
  }
  uint64_t pieces = bl_piece_count(cut, 0);
  uint64_t load = (uint64_t)ch->regions[0].image_stride * images * ch->regions[0].load_bytes / 4;
  load /= pieces;
  if (ahead && pieces == 1) {
    uint64_t room = 0;
    for (uint32_t i = bl_last_reader(mapped) + 2; i < mapped->count; i++) {
      const bl_mapping *m = &mapped->ops[i];
      room += bl_estimate(m, (uint64_t)images * m->out->h * m->out->w, &issue);
    }
    return (sum + (load > room ? load - room : 0)) * 256 / images;
  }
  if (slots > 1 && cut->op1 * slots >= SLOTS) beside = piece_run;
  if (cut->op1 * slots < SLOTS) beside = 0;
  sum += (ahead ? 0 : load) + (load > beside ? (load - beside) * (pieces - 1) : 0);
  return sum * 256 / images;
}

// The next batch's input may load beside this one's layers, behind those that run in pieces, once
// the last reader of the input and two runs more are sent.
static bool may_load_ahead(const bl_mapped *mapped, const bl_cut *cut) {
  if (cut->op1 >= mapped->count) return false;
  for (uint32_t i = 0; i < mapped->count; i++)
    if ((mapped->ops[i].in_region == 0 || mapped->ops[i].res_region == 0) && i + 3 > mapped->count)
      return false;
  return true;
}

static void consider(chooser *ch, int mode, const bl_cut *cut, uint32_t slots, uint32_t images,
                     bool ahead) {
  const bl_mapped *mapped = &ch->mapped[mode];
  uint32_t used, needed;
  if (!bl_plan_memory(mapped, cut, images, slots, ahead, ch->regions, &used, &needed)) {
    if (ch->needed == 0 || needed < ch->needed) ch->needed = needed;
    return;
  }
  ch->fits++;
  uint64_t cost = cycles(ch, mapped, cut, slots, images, ahead);
  if (ch->found && cost >= ch->best_cycles) return;
  ch->found = true;
  ch->best_cycles = cost;
  ch->best_images = images;
  ch->best_mode = mode;
  ch->best_ahead = ahead;
  bl_fill_packing(&mapped->ops[0], &ch->best_input);
  ch->best_input.cut_ops = cut->op1;
  ch->best_input.pieces = cut->pieces;
  ch->best_input.slots = slots;
  ch->best_input.slot_words = cut->op1 == 0 ? 0 : ch->regions[0].words / slots;
  ch->used = used;
  memcpy(ch->best_regions, ch->regions, mapped->region_count * sizeof *ch->regions);
}

// Every cut of the first `ops` operations that their rows and images allow.
static void consider_cuts(chooser *ch, int mode, uint32_t ops, uint32_t images) {
  const bl_mapped *mapped = &ch->mapped[mode];
  const bl_mapping *first = &mapped->ops[0];
  uint32_t lanes = ch->config->lanes;
  uint32_t load_bytes = first->in_c < lanes ? bl_div_up(first->in_c, 8) : lanes / 8;
  uint32_t up = first->layer->upsample && !first->host_windows ? 1 : 0;
  uint64_t words = (uint64_t)bl_div_up(first->in_c, lanes) * first->in_planes;
  uint64_t row_bytes = (first->in_w >> up) * words * load_bytes;
  if (row_bytes > UINT32_MAX) return;
  for (uint32_t pieces = 2; pieces <= MAX_PIECES; pieces++) {
    bl_cut cut = {0, ops, pieces, false};
    if (bl_cut_possible(mapped, &cut, images, (uint32_t)row_bytes))
      for (uint32_t slots = 1; slots <= SLOTS && slots <= pieces; slots++) {
        consider(ch, mode, &cut, slots, images, false);
        if (may_load_ahead(mapped, &cut)) consider(ch, mode, &cut, slots, images, true);
      }
  }
}

// The batch whole, with its first operation in pieces so that the input loads beside it, and, while
// nothing fits, with more and more operations in pieces.
static void consider_all(chooser *ch, int mode, uint32_t images) {
  const bl_mapped *mapped = &ch->mapped[mode];
  const bl_cut whole = {0, 0, 1, false};
  if (mapped->count == 0) return;
  for (uint32_t i = 0; i < mapped->count; i++)
    bl_choose_spread(&mapped->ops[i], images);
  const uint32_t before = ch->fits;
  consider(ch, mode, &whole, 1, images, false);
  if (may_load_ahead(mapped, &whole)) consider(ch, mode, &whole, 1, images, true);
  for (uint32_t ops = 1; ops <= mapped->count && (ops <= FEW_OPS || ch->fits == before); ops++)
    consider_cuts(ch, mode, ops, images);
}

// Everything in stages, where no other way fits.
static bl_status consider_stages(chooser *ch, int mode, uint32_t images, bl_error *err) {
  bl_mapped *mapped = &ch->mapped[mode];
  if (mapped->count == 0) return BL_OK;
  for (uint32_t i = 0; i < mapped->count; i++)
    bl_choose_spread(&mapped->ops[i], images);
  ch->spill.stages = bl_arena_alloc(ch->arena, mapped->count, sizeof *ch->spill.stages);
  if (ch->spill.stages == NULL) return no_memory(err);
  if (!bl_choose_stages(mapped, images, ch->regions, &ch->spill)) return BL_OK;
  uint64_t cost = ch->spill.cycles * 256 / images;
  if (ch->found && cost >= ch->best_cycles) return BL_OK;
  ch->found = true;
  ch->best_cycles = cost;
  ch->best_images = images;
  ch->best_mode = mode;
  ch->best_spill = ch->spill;
  ch->used = ch->spill.used;
  bl_fill_packing(&mapped->ops[0], &ch->best_input);
  (void)bl_shape_stages(mapped, ch->best_regions); // it did before
  return BL_OK;
}

static bl_status choose(chooser *ch, uint32_t batch, bl_error *err) {
  uint32_t first = batch > 0 ? batch : 1, last = batch > 0 ? batch : BL_PROGRAM_AUTO_BATCH;
  for (uint32_t images = first; images <= last; images++)
    for (int mode = 0; mode < MODES; mode++)
      consider_all(ch, mode, images);
  for (uint32_t images = first; !ch->found && images <= last; images++)
    for (int mode = 0; mode < MODES; mode++)
      BL_TRY(consider_stages(ch, mode, images, err));
  if (ch->found) return BL_OK;
  if (ch->needed == UINT32_MAX)
    return bl_fail(err, BL_ERR_UNSUPPORTED,
                   "network %s: one tensor alone is larger than the %u words of activation memory "
                   "(%s); use fewer activation bits or a smaller input",
                   ch->graph->name, ch->config->act_depth, ch->config->name);
  return bl_fail(err, BL_ERR_UNSUPPORTED,
                 "network %s: batches of %u take %u words of activation memory, %s has %u, and "
                 "layer %s does not fit row by row either; use fewer activation bits, a smaller "
                 "batch or a smaller input",
                 ch->graph->name, first, ch->needed, ch->config->name, ch->config->act_depth,
                 ch->graph->layers[ch->spill.blocking].name);
}

void bl_fill_packing(const bl_mapping *m, bl_input_packing *in) {
  const bl_int_layer *l = m->layer;
  const uint32_t up = l->upsample && !m->host_windows ? 1 : 0;
  *in = (bl_input_packing){.window_h = 1,
                           .window_w = 1,
                           .stride_h = 1,
                           .stride_w = 1,
                           .dilation_h = 1,
                           .dilation_w = 1,
                           .h = m->in_h >> up,
                           .w = m->in_w >> up,
                           .c = m->in_c};
  if (!m->host_windows) return;
  in->window_h = l->kernel_h;
  in->window_w = l->kernel_w;
  in->stride_h = l->stride_h;
  in->stride_w = l->stride_w;
  in->dilation_h = l->dilation_h;
  in->dilation_w = l->dilation_w;
  in->pad_top = l->pad_top;
  in->pad_left = l->pad_left;
  in->pad_value = l->pad_value;
}

static void count_steps(const bl_mapped *mapped, bl_program *p) {
  for (uint32_t i = 0; i < mapped->count; i++) {
    const bl_mapping *m = &mapped->ops[i];
    const bl_cut cut = bl_cut_at(p, i);
    for (uint32_t k = 0; k < bl_piece_count(&cut, i); k++) {
      bl_piece piece = bl_piece_at(mapped, &cut, p->images, i, k);
      uint64_t issue;
      (void)bl_estimate(m, pixels_of(&piece, m), &issue);
      p->layer_issue[m->index] += issue;
      p->figures.issue_steps += issue;
    }
  }
}

// Without stages only the input and the output are in the store.
static void lay_out_store(bl_program *p) {
  const bl_region *out = &p->regions[p->output];
  p->output_offset = bl_div_up(bl_program_input_bytes(p), 4) * 4;
  p->store_bytes = p->output_offset + bl_div_up(out->words * out->load_bytes, 4) * 4;
}

static bl_status fill_program(chooser *ch, bl_program *p, bl_error *err) {
  const bl_int_graph *graph = ch->graph;
  bl_mapped *mapped = &ch->mapped[ch->best_mode];
  // a stage may load two copies for each of its operations
  const uint32_t regions = mapped->region_count + 2 * mapped->count;
  for (uint32_t i = 0; i < mapped->count; i++)
    bl_choose_spread(&mapped->ops[i], ch->best_images);
  p->config = *ch->config;
  p->images = ch->best_images;
  p->tensor_count = graph->tensor_count;
  p->output = graph->output;
  p->regions = bl_arena_alloc(p->arena, regions, sizeof *p->regions);
  p->layer_issue = bl_arena_alloc(p->arena, graph->layer_count, sizeof *p->layer_issue);
  p->layer_parts = bl_arena_alloc(p->arena, graph->layer_count, sizeof *p->layer_parts);
  if (p->regions == NULL || p->layer_issue == NULL || p->layer_parts == NULL) return no_memory(err);
  memcpy(p->regions, ch->best_regions, mapped->region_count * sizeof *p->regions);
  p->input = ch->best_input;
  p->ahead = ch->best_ahead;
  p->figures.used[BL_MEMORY_ACTIVATIONS] = ch->used;
  if (ch->best_spill.count > 0)
    BL_TRY(bl_lay_out_stages(&ch->best_spill, mapped, ch->arena, p, err));
  else
    lay_out_store(p);
  count_steps(mapped, p);
  return bl_stream(p, graph, mapped, err);
}

static bl_status compile_in(chooser *ch, uint32_t batch, bl_program *program, bl_error *err) {
  // A layer that cannot run as it is may still run on packed windows, and the other way round.
  bool pack = bl_may_pack(ch->graph, ch->config);
  bl_status packed = pack ? map_all(ch, 1, err) : BL_ERR_UNSUPPORTED;
  bl_status direct = map_all(ch, 0, err);
  if (packed != BL_OK && direct != BL_OK) return direct;
  uint32_t regions = ch->mapped[0].region_count;
  if (ch->mapped[1].region_count > regions) regions = ch->mapped[1].region_count;
  ch->regions = bl_arena_alloc(ch->arena, regions, sizeof *ch->regions);
  ch->best_regions = bl_arena_alloc(ch->arena, regions, sizeof *ch->regions);
  if (ch->regions == NULL || ch->best_regions == NULL) return no_memory(err);
  BL_TRY(choose(ch, batch, err));
  return fill_program(ch, program, err);
}

static bl_program *new_program(void) {
  bl_arena *arena = bl_arena_new(BL_COMPILE_ARENA);
  if (arena == NULL) return NULL;
  bl_program *program = bl_arena_alloc(arena, 1, sizeof *program);
  if (program == NULL)
    bl_arena_free(arena);
  else
    program->arena = arena;
  return program;
}

bl_status bl_compile(const bl_int_graph *graph, const bl_compile_options *options,
                     bl_program **program, bl_error *err) {
  *program = NULL;
  if (options->batch > BL_PROGRAM_MAX_BATCH)
    return bl_fail(err, BL_ERR_RANGE, "compile: batches of %u, the limit is %u", options->batch,
                   (unsigned)BL_PROGRAM_MAX_BATCH);
  const bl_config *config = options->config;
  if (config->acc_w < BL_CONTRACT_LEAST_ACC_W || config->acc_w > BL_CONTRACT_MOST_ACC_W)
    return bl_fail(err, BL_ERR_RANGE,
                   "compile: configuration %s has accumulators of %u bits; use %d to %d",
                   config->name == NULL ? "" : config->name, config->acc_w,
                   (int)BL_CONTRACT_LEAST_ACC_W, (int)BL_CONTRACT_MOST_ACC_W);
  BL_TRY(bl_int_check(graph, err));
  if (graph->layer_count == 0)
    return bl_fail(err, BL_ERR_UNSUPPORTED, "network %s: it has no layers to run on a device",
                   graph->name == NULL ? "" : graph->name);
  chooser ch = {.graph = graph, .config = options->config, .arena = bl_arena_new(BL_COMPILE_ARENA)};
  bl_program *made = new_program();
  bl_status status = ch.arena == NULL || made == NULL ? no_memory(err)
                                                      : compile_in(&ch, options->batch, made, err);
  bl_arena_free(ch.arena);
  if (status == BL_OK)
    *program = made;
  else
    bl_program_free(made);
  return status;
}
