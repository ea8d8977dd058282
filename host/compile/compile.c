// SPDX-License-Identifier: Apache-2.0
// The compiler's frame: map every layer, choose how the input is packed and how many images run at
// once by the estimated cycles of one image, then emit the program.
#include "host/compile/internal.h"

#include <string.h>

enum { MAX_CHUNKS = 64, SLOTS = 3 };

typedef struct {
  const bl_int_graph *graph;
  const bl_config *config;
  bl_arena *arena;         // of everything that the program does not keep
  bl_mapping *mappings[2]; // [0] input as it is, [1] in windows; NULL: not possible
  bl_region *regions, *best_regions;
  bool found;
  uint32_t used, needed;
  uint64_t best_cycles; // of one image, times 256
  uint32_t best_images;
  int best_mode;
  bl_input_packing best_input;
} chooser;

static bl_status no_memory(bl_error *err) {
  return bl_fail(err, BL_ERR_MEMORY, "compile: no memory for the network's layers");
}

// Only for the one layer that reads the input, when it has few channels and a window to pack.
bool bl_may_pack(const bl_int_graph *graph, const bl_config *config) {
  uint32_t readers = 0;
  for (uint32_t l = 0; l < graph->layer_count; l++)
    readers += graph->layers[l].input == 0;
  const bl_int_layer *first = &graph->layers[0];
  uint64_t taps = (uint64_t)first->kernel_h * first->kernel_w, c = graph->tensors[0].c;
  return readers == 1 && first->groups == 1 && taps > 1 && c <= config->lanes / 2 &&
         taps * c <= BL_INT_MAX_DIM;
}

static bl_status map_all(chooser *ch, int mode, bl_error *err) {
  const bl_int_graph *graph = ch->graph;
  bl_mapping *m = bl_arena_alloc(ch->arena, graph->layer_count, sizeof *m);
  if (m == NULL) return no_memory(err);
  for (uint32_t l = 0; l < graph->layer_count; l++) {
    bool window = mode == 1 && graph->layers[l].input == 0;
    BL_TRY(bl_map_layer(graph, l, ch->config, window, ch->arena, &m[l], err));
  }
  ch->mappings[mode] = m;
  return BL_OK;
}

// Cycles of one image times 256, in batches of `images`: the layers, and loading the input, which
// goes on beside the first layer where the input comes in pieces.
static uint64_t cycles(const chooser *ch, const bl_mapping *m, const bl_input_packing *input,
                       uint32_t images) {
  uint64_t sum = 0, issue, chunks = 1;
  for (uint32_t l = 0; l < ch->graph->layer_count; l++) {
    uint64_t pieces = bl_chunk_count(&m[l], input, images);
    uint64_t pixels = (uint64_t)images * m[l].out->h * m[l].out->w;
    sum += pieces * bl_estimate(&m[l], pixels / pieces, &issue);
    if (pieces > chunks) chunks = pieces;
  }
  uint64_t load = (uint64_t)ch->regions[0].words * ch->regions[0].load_bytes / 4 / chunks;
  uint64_t run = bl_estimate(&m[0], (uint64_t)images * m[0].out->h * m[0].out->w / chunks, &issue);
  sum += load + (load > run ? (load - run) * (chunks - 1) : 0);
  return sum * 256 / images;
}

static void consider(chooser *ch, int mode, const bl_input_packing *input, uint32_t images) {
  uint32_t used, needed;
  bool fits =
      bl_plan_memory(ch->graph, ch->mappings[mode], images, input, ch->regions, &used, &needed);
  if (!fits) {
    if (ch->needed == 0 || needed < ch->needed) ch->needed = needed;
    return;
  }
  uint64_t cost = cycles(ch, ch->mappings[mode], input, images);
  if (ch->found && cost >= ch->best_cycles) return;
  ch->found = true;
  ch->best_cycles = cost;
  ch->best_images = images;
  ch->best_mode = mode;
  ch->best_input = *input;
  ch->used = used;
  memcpy(ch->best_regions, ch->regions, ch->graph->tensor_count * sizeof *ch->regions);
}

static const bl_mapping *input_reader(const chooser *ch, const bl_mapping *m) {
  for (uint32_t l = 0; l < ch->graph->layer_count; l++)
    if (ch->graph->layers[l].input == 0) return &m[l];
  return m;
}

// The input in one piece, and in as many pieces as rows and pooling windows allow.
static void consider_pieces(chooser *ch, int mode, uint32_t images) {
  if (ch->mappings[mode] == NULL) return;
  const bl_mapping *m = input_reader(ch, ch->mappings[mode]);
  uint32_t lanes = ch->config->lanes, total = images * m->in_h;
  uint32_t load_bytes = m->in_c < lanes ? bl_div_up(m->in_c, 8) : lanes / 8;
  bl_input_packing input;
  bl_fill_packing(m, mode == 1, &input);
  consider(ch, mode, &input, images);
  for (uint32_t chunks = 2; chunks <= MAX_CHUNKS && chunks <= total; chunks++) {
    if (total % chunks != 0 || !bl_chunk_possible(ch->graph, m, images, total / chunks, load_bytes))
      continue;
    input.chunk_rows = total / chunks;
    input.slots = chunks < SLOTS ? chunks : SLOTS;
    consider(ch, mode, &input, images);
  }
}

static bl_status choose(chooser *ch, uint32_t batch, bl_error *err) {
  uint32_t first = batch > 0 ? batch : 1, last = batch > 0 ? batch : BL_PROGRAM_AUTO_BATCH;
  for (uint32_t images = first; images <= last; images++)
    for (int mode = 0; mode < 2; mode++)
      consider_pieces(ch, mode, images);
  if (ch->found) return BL_OK;
  if (ch->needed == UINT32_MAX)
    return bl_fail(err, BL_ERR_UNSUPPORTED,
                   "network %s: one tensor alone is larger than the %u words of activation memory "
                   "(%s); use fewer activation bits or a smaller input",
                   ch->graph->name, ch->config->act_depth, ch->config->name);
  return bl_fail(err, BL_ERR_UNSUPPORTED,
                 "network %s: batches of %u take %u words of activation memory, %s has %u; use "
                 "fewer activation bits, a smaller batch or a smaller input",
                 ch->graph->name, first, ch->needed, ch->config->name, ch->config->act_depth);
}

void bl_fill_packing(const bl_mapping *m, bool window, bl_input_packing *in) {
  const bl_int_layer *l = m->layer;
  *in = (bl_input_packing){.window_h = 1,
                           .window_w = 1,
                           .stride_h = 1,
                           .stride_w = 1,
                           .dilation_h = 1,
                           .dilation_w = 1,
                           .h = m->in_h,
                           .w = m->in_w,
                           .c = m->in_c};
  if (!window) return;
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

static bl_status fill_program(const chooser *ch, bl_program *p, bl_error *err) {
  const bl_int_graph *graph = ch->graph;
  const bl_mapping *m = ch->mappings[ch->best_mode];
  p->config = *ch->config;
  p->images = ch->best_images;
  p->tensor_count = graph->tensor_count;
  p->output = graph->output;
  p->regions = bl_arena_alloc(p->arena, graph->tensor_count, sizeof *p->regions);
  p->layer_issue = bl_arena_alloc(p->arena, graph->layer_count, sizeof *p->layer_issue);
  p->layer_parts = bl_arena_alloc(p->arena, graph->layer_count, sizeof *p->layer_parts);
  if (p->regions == NULL || p->layer_issue == NULL || p->layer_parts == NULL) return no_memory(err);
  memcpy(p->regions, ch->best_regions, graph->tensor_count * sizeof *p->regions);
  p->input = ch->best_input;
  p->figures.used[BL_MEMORY_ACTIVATIONS] = ch->used;
  for (uint32_t l = 0; l < graph->layer_count; l++) {
    p->layer_issue[l] = bl_issue_steps(&m[l], &p->input, p->images);
    p->figures.issue_steps += p->layer_issue[l];
  }
  return bl_stream(p, m, graph->layer_count, err);
}

static bl_status compile_in(chooser *ch, uint32_t batch, bl_program *program, bl_error *err) {
  size_t tensors = ch->graph->tensor_count;
  ch->regions = bl_arena_alloc(ch->arena, tensors, sizeof *ch->regions);
  ch->best_regions = bl_arena_alloc(ch->arena, tensors, sizeof *ch->regions);
  if (ch->regions == NULL || ch->best_regions == NULL) return no_memory(err);
  // A layer that cannot run as it is may still run on packed windows, and the other way round.
  bool pack = bl_may_pack(ch->graph, ch->config);
  bl_status packed = pack ? map_all(ch, 1, err) : BL_ERR_UNSUPPORTED;
  bl_status direct = map_all(ch, 0, err);
  if (packed != BL_OK && direct != BL_OK) return direct;
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
