// SPDX-License-Identifier: Apache-2.0
// A program that came from a file, checked against its graph as a device would see it: loads fill
// images of the memories, and at every RUN the lists it names must be the ones that the layer
// needs, loaded, and not overwritten while a run may still read them.
#include <stdlib.h>
#include <string.h>

#include "host/compile/bloom_internal.h"

enum { FLIGHTS = 2 };

typedef struct {
  uint32_t begin, end;
} span;

typedef struct {
  bl_program *program;
  const bl_int_graph *graph;
  bl_mapping *mappings;
  uint8_t *image[BL_LIST_MEMORIES];
  bool *loaded[BL_LIST_MEMORIES];
  span flights[FLIGHTS][BL_LIST_MEMORIES], current[BL_LIST_MEMORIES];
  span input_flights[FLIGHTS];
  uint32_t layer, part, tile, chunk; // what the next RUN computes
  uint32_t tiles;                    // of the part under way, the same for all its pieces
  uint32_t inputs;                   // pieces of the input that are loaded
  bool send_seen;
  bl_error *err;
} checker;

static bl_status bad(const checker *c, const char *what) {
  return bl_fail(c->err, BL_ERR_FORMAT, "compiled program: %s; compile it again", what);
}

// ---- Loads ----

static bl_status check_race(const checker *c, int memory, span block) {
  for (int f = 0; f < FLIGHTS; f++)
    if (block.begin < c->flights[f][memory].end && c->flights[f][memory].begin < block.end)
      return bad(c, "a load overwrites what a run may still read");
  return BL_OK;
}

static bl_status apply_load(checker *c, const bl_step *s, bool streamed) {
  const bl_config *config = &c->program->config;
  int memory = s->opcode - BL_OP_LOAD_WEIGHTS;
  bool columns = memory == BL_MEMORY_WEIGHTS || memory == BL_MEMORY_PARAMS;
  uint32_t unit = bl_word_bytes(config, memory), words = s->bytes / unit;
  uint32_t depth = bl_memory_depth(config, (bl_memory_kind)memory);
  if (s->bytes == 0 || s->bytes > BL_CONTRACT_MAX_PAYLOAD || s->bytes % unit != 0 ||
      s->argument != (columns ? config->cols << 24 : 0))
    return bad(c, "a load has a wrong length or argument");
  if (words > depth || s->address > depth - words) return bad(c, "a load leaves its memory");
  BL_TRY(check_race(c, memory, (span){s->address, s->address + words}));
  uint8_t *to = c->image[memory] + (size_t)s->address * unit;
  for (uint32_t i = 0; i < s->bytes; i++)
    to[i] = (uint8_t)(s->payload[i / 4] >> (i % 4 * 8));
  memset(c->loaded[memory] + s->address, true, words * sizeof(bool));
  bl_program_figures *f = &c->program->figures;
  if (s->address + words > f->used[memory]) f->used[memory] = s->address + words;
  if (streamed) {
    f->resident[memory] = false;
    f->streamed_bytes += s->bytes;
  }
  return BL_OK;
}

// ---- Lists of a run ----

// Do `words` loaded words at `address` hold these bytes?
static bool holds(checker *c, int memory, uint32_t address, uint32_t words, const uint8_t *bytes) {
  const bl_config *config = &c->program->config;
  uint32_t depth = bl_memory_depth(config, (bl_memory_kind)memory);
  if (words > depth || address > depth - words) return false;
  for (uint32_t i = 0; i < words; i++)
    if (!c->loaded[memory][address + i]) return false;
  span *used = &c->current[memory];
  if (used->begin == used->end) *used = (span){address, address};
  if (address < used->begin) used->begin = address;
  if (address + words > used->end) used->end = address + words;
  size_t unit = bl_word_bytes(config, memory);
  return memcmp(c->image[memory] + address * unit, bytes, words * unit) == 0;
}

static bool passes_hold(checker *c, const bl_mapping *m, const bl_tile_plan *tile,
                        uint32_t address) {
  bl_pass list[BL_MAX_PASSES];
  uint8_t post, bytes[BL_MAX_PASSES * BL_CONTRACT_PASS_BYTES];
  uint32_t count = bl_list_passes(m, tile, list, &post), words[BL_PASS_WORDS];
  for (uint32_t p = 0; p < count; p++) {
    (void)bl_pass_pack(&list[p], words);
    for (uint32_t i = 0; i < BL_CONTRACT_PASS_BYTES; i++)
      bytes[p * BL_CONTRACT_PASS_BYTES + i] = (uint8_t)(words[i / 4] >> (8 * (i % 4)));
  }
  return holds(c, BL_MEMORY_PASSES, address, count, bytes);
}

static bool tile_holds(checker *c, const bl_mapping *m, const bl_part *part, uint32_t t,
                       uint32_t address, uint8_t *scratch) {
  const bl_tile_plan *plan = &m->tiles[t];
  const bl_part one = {t, t + 1, plan->word0, plan->words};
  const uint8_t *at = c->image[BL_MEMORY_TILES] + (size_t)address * BL_CONTRACT_TILE_BYTES;
  uint32_t words[BL_TILE_WORDS] = {0};
  if (!holds(c, BL_MEMORY_TILES, address, 1, at)) return false;
  for (uint32_t i = 0; i < BL_CONTRACT_TILE_BYTES; i++)
    words[i / 4] |= (uint32_t)at[i] << (8 * (i % 4));
  bl_tile tile;
  bl_tile_unpack(words, &tile);
  if (tile.pass_last + 1u != plan->passes || tile.post != plan->post || words[1] >> 28 != 0)
    return false;
  if (!passes_hold(c, m, plan, tile.pass_base)) return false;
  bl_emit_k_list(m, part, plan, scratch);
  if (!holds(c, BL_MEMORY_K, tile.k_base, m->taps * plan->words, scratch)) return false;
  memset(scratch, 0, (size_t)plan->weight_words * bl_word_bytes(m->config, BL_MEMORY_WEIGHTS));
  bl_emit_weights(m, &one, scratch);
  return plan->weight_words == 0 ||
         holds(c, BL_MEMORY_WEIGHTS, tile.weight_base, plan->weight_words, scratch);
}

// Parameters and tiles of a part; false when they differ or memory is short.
static bool lists_hold(checker *c, const bl_mapping *m, const bl_part *part,
                       const bl_descriptor *d) {
  uint32_t rows = (part->tile1 - part->tile0) * bl_listings(m), weights = 0;
  for (uint32_t t = part->tile0; t < part->tile1; t++)
    if (m->tiles[t].weight_words > weights) weights = m->tiles[t].weight_words;
  // Weights, K lists and parameters all fit in a buffer that holds the largest of each.
  size_t room = (size_t)weights * bl_word_bytes(m->config, BL_MEMORY_WEIGHTS) +
                (size_t)m->config->row_depth * BL_CONTRACT_K_BYTES +
                (size_t)rows * bl_word_bytes(m->config, BL_MEMORY_PARAMS);
  uint8_t *scratch = malloc(room);
  if (scratch == NULL) return false;
  bl_emit_params(m, part, scratch);
  bool ok = holds(c, BL_MEMORY_PARAMS, d->param_base, rows, scratch);
  for (uint32_t i = 0; ok && i < rows; i++)
    ok = tile_holds(c, m, part, part->tile0 + i / bl_listings(m), d->tile_base + i, scratch);
  free(scratch);
  return ok;
}

// ---- Runs ----

static bl_part part_of(const bl_mapping *m, uint32_t tile0, uint32_t tiles) {
  bl_part part = {tile0, tile0 + tiles, m->tiles[tile0].word0, m->tiles[tile0].words};
  uint32_t end = part.word0 + part.words;
  for (uint32_t t = tile0; t < part.tile1; t++) {
    const bl_tile_plan *tile = &m->tiles[t];
    if (tile->word0 < part.word0) part.word0 = tile->word0;
    if (tile->word0 + tile->words > end) end = tile->word0 + tile->words;
  }
  part.words = end - part.word0;
  return part;
}

static span input_span(const checker *c, uint32_t chunk) {
  bl_step load = bl_chunk_load(c->program, chunk);
  return (span){load.address, load.address + load.bytes / c->program->regions[0].load_bytes};
}

// On to the next piece of the input, then to the next part, then to the next layer.
static bl_status advance(checker *c, const bl_step *s, const bl_mapping *m, uint32_t tiles) {
  uint32_t chunks = bl_chunk_count(m, &c->program->input, c->program->images);
  c->part++;
  if (++c->chunk == chunks) {
    c->chunk = 0;
    c->tile += tiles;
    if (c->tile < m->tile_count && chunks > 1) c->inputs = 0; // its pieces come once more
  }
  if (s->last_part != (c->tile == m->tile_count)) return bad(c, "a layer ends in the wrong place");
  if (!s->last_part) return BL_OK;
  c->program->layer_parts[c->layer++] = c->part;
  c->part = c->tile = 0;
  return BL_OK;
}

static void take_off(checker *c, const bl_mapping *m) {
  memmove(c->flights[1], c->flights[0], sizeof c->flights[0]);
  memcpy(c->flights[0], c->current, sizeof c->current);
  memset(c->current, 0, sizeof c->current);
  c->input_flights[1] = c->input_flights[0];
  c->input_flights[0] = m->layer->input == 0 ? input_span(c, c->chunk) : (span){0, 0};
}

static bl_status check_run(checker *c, const bl_step *s) {
  if (c->layer >= c->graph->layer_count || s->layer != c->layer || s->part != c->part ||
      s->bytes != BL_DESCRIPTOR_WORDS * 4 || c->inputs == 0 || s->address != 0 || s->argument != 0)
    return bad(c, "a run is out of its order");
  const bl_mapping *m = &c->mappings[c->layer];
  bl_descriptor d, expected;
  uint32_t words[BL_DESCRIPTOR_WORDS];
  bl_descriptor_unpack(s->payload, &d);
  if (bl_chunk_count(m, &c->program->input, c->program->images) > 1 && c->inputs != c->chunk + 1)
    return bad(c, "a run's input is not loaded");
  uint32_t listings = bl_listings(m), tiles = d.tiles / listings;
  if (tiles < 1 || d.tiles % listings != 0 || tiles > m->tile_count - c->tile)
    return bad(c, "a run has a wrong number of channel tiles");
  if (c->chunk > 0 && tiles != c->tiles) return bad(c, "the runs of a part differ");
  c->tiles = tiles;
  bl_part part = part_of(m, c->tile, tiles);
  if ((uint64_t)m->taps * part.words * m->in_planes > m->config->row_depth)
    return bad(c, "a run's window is longer than a row buffer");
  BL_TRY(bl_describe(c->program, m, &part, c->chunk, d.tile_base, d.param_base, &expected, c->err));
  (void)bl_descriptor_pack(&expected, words); // bl_describe has packed it before
  if (memcmp(words, s->payload, sizeof words) != 0)
    return bad(c, "a run's descriptor is not its layer's");
  if (!lists_hold(c, m, &part, &d)) return bad(c, "a run's lists are not its layer's");
  take_off(c, m);
  return advance(c, s, m, tiles);
}

// ---- Steps ----

static bl_status check_input(checker *c, const bl_step *s) {
  const bl_step load = bl_chunk_load(c->program, c->inputs);
  // In pieces: each right before its run, while the layer that reads them runs.
  bool turn = c->program->input.chunk_rows == 0 ? c->inputs == 0 && c->layer == 0
                                                : c->inputs == c->chunk && c->layer == 0;
  if (!turn || s->opcode != load.opcode || s->address != load.address ||
      s->argument != load.argument || s->bytes != load.bytes ||
      s->input_offset != load.input_offset)
    return bad(c, "its input is loaded in a wrong way");
  for (int f = 0; f < FLIGHTS; f++) {
    span block = input_span(c, c->inputs);
    if (block.begin < c->input_flights[f].end && c->input_flights[f].begin < block.end)
      return bad(c, "an input overwrites what a run may still read");
  }
  c->inputs++;
  return BL_OK;
}

static bl_status check_send(checker *c, const bl_step *s) {
  uint32_t address, argument, bytes;
  bl_program_send(c->program, c->program->output, &address, &argument, &bytes);
  if (s->address != address || s->argument != argument || s->bytes != 0)
    return bad(c, "its output is sent in a wrong way");
  c->send_seen = true;
  return BL_OK;
}

static bl_status check_step(checker *c, const bl_step *s, bool batch) {
  if (s->opcode != BL_OP_RUN && (s->last_part || s->part != 0)) return bad(c, "a step is no run");
  if (s->layer != BL_STEP_NO_LAYER && s->layer >= c->graph->layer_count)
    return bad(c, "a step names no layer");
  if (s->opcode >= BL_OP_LOAD_WEIGHTS && s->opcode <= BL_OP_LOAD_TILE_LIST && !s->input)
    return apply_load(c, s, batch);
  if (!batch || c->send_seen) return bad(c, "a step is out of place");
  if (s->input) return check_input(c, s);
  switch (s->opcode) {
  case BL_OP_FENCE:
    memset(c->flights, 0, sizeof c->flights);
    memset(c->input_flights, 0, sizeof c->input_flights);
    return s->bytes == 0 ? BL_OK : bad(c, "a fence has a payload");
  case BL_OP_RUN:
    return check_run(c, s);
  case BL_OP_SEND:
    return check_send(c, s);
  default:
    return bad(c, "an opcode has no place in a program");
  }
}

static bl_status check_steps(checker *c) {
  const bl_program *p = c->program;
  for (int i = 0; i < BL_LIST_MEMORIES; i++)
    c->program->figures.resident[i] = true;
  for (uint32_t i = 0; i < p->setup_count; i++)
    BL_TRY(check_step(c, &p->setup[i], false));
  if (p->batch_count == 0 || p->batch[0].opcode != BL_OP_FENCE)
    return bad(c, "a batch does not start with a fence");
  for (uint32_t i = 0; i < p->batch_count; i++)
    BL_TRY(check_step(c, &p->batch[i], true));
  if (!c->send_seen || c->layer != c->graph->layer_count) return bad(c, "it does not end");
  return BL_OK;
}

// ---- Layout ----

// Pieces of the input: whole, as many as there may be, in no more slots than there are pieces.
static bool chunks_sound(const checker *c) {
  const bl_program *p = c->program;
  const bl_input_packing *in = &p->input;
  const bl_mapping *m = &c->mappings[0];
  if (in->chunk_rows == 0) return in->slots == 0;
  return m->layer->input == 0 &&
         bl_chunk_possible(c->graph, m, p->images, in->chunk_rows, p->regions[0].load_bytes) &&
         in->slots >= 1 && in->slots <= bl_chunk_count(m, in, p->images);
}

static bl_status check_layout(checker *c) {
  bl_program *p = c->program;
  const bl_int_graph *graph = c->graph;
  bl_input_packing packing;
  for (uint32_t l = 0; l < graph->layer_count; l++) {
    if (p->regions[graph->layers[l].output].acc_bytes != c->mappings[l].acc_bytes)
      return bad(c, "an int32 tensor has a wrong number of bytes");
    if (graph->layers[l].input != 0) continue;
    bl_fill_packing(&c->mappings[l], p->input.window_h * (uint64_t)p->input.window_w > 1, &packing);
    packing.chunk_rows = p->input.chunk_rows;
    packing.slots = p->input.slots;
    if (memcmp(&packing, &p->input, sizeof packing) != 0)
      return bad(c, "its input is packed in a wrong way");
  }
  if (p->regions[0].acc_bytes != 0 ||
      !bl_shape_regions(graph, c->mappings, p->images, p->regions) || !chunks_sound(c) ||
      !bl_regions_sound(graph, p->regions, &p->input, p->config.act_depth))
    return bad(c, "its tensors do not lie apart in activation memory");
  for (uint32_t t = 0; t < graph->tensor_count; t++) {
    const bl_region *r = &p->regions[t];
    bool pieces = t == 0 && p->input.chunk_rows > 0;
    uint32_t words = pieces ? p->input.slots * p->input.chunk_rows * r->row_stride : r->words;
    uint32_t end = r->address + words, *used = p->figures.used;
    if (end > used[BL_MEMORY_ACTIVATIONS]) used[BL_MEMORY_ACTIVATIONS] = end;
  }
  return BL_OK;
}

static void fill_figures(const checker *c) {
  bl_program *p = c->program;
  for (uint32_t l = 0; l < c->graph->layer_count; l++) {
    const bl_mapping *m = &c->mappings[l];
    p->layer_issue[l] = bl_issue_steps(m, &p->input, p->images);
    p->figures.issue_steps += p->layer_issue[l];
    for (uint32_t t = 0; t < m->tile_count; t++)
      p->figures.weight_bytes += (uint64_t)m->tiles[t].weight_words * bl_word_bytes(m->config, 0);
  }
}

static bl_status check_in(checker *c, bl_arena *arena) {
  const bl_program *p = c->program;
  bool window = p->input.window_h * (uint64_t)p->input.window_w > 1;
  if (window && !bl_may_pack(c->graph, &p->config)) return bad(c, "its input cannot be windows");
  c->mappings = bl_arena_alloc(arena, c->graph->layer_count, sizeof *c->mappings);
  for (int i = 0; i < BL_LIST_MEMORIES; i++) {
    uint32_t depth = bl_memory_depth(&p->config, (bl_memory_kind)i);
    c->image[i] = bl_arena_alloc(arena, depth, bl_word_bytes(&p->config, i));
    c->loaded[i] = bl_arena_alloc(arena, depth, sizeof(bool));
    if (c->image[i] == NULL || c->loaded[i] == NULL || c->mappings == NULL)
      return bl_fail(c->err, BL_ERR_MEMORY, "compiled program: no memory to check it");
  }
  for (uint32_t l = 0; l < c->graph->layer_count; l++)
    BL_TRY(bl_map_layer(c->graph, l, &p->config, window && c->graph->layers[l].input == 0, arena,
                        &c->mappings[l], c->err));
  BL_TRY(check_layout(c));
  BL_TRY(check_steps(c));
  fill_figures(c);
  return BL_OK;
}

bl_status bl_program_check(bl_program *program, const bl_int_graph *graph, bl_error *err) {
  checker c = {.program = program, .graph = graph, .err = err};
  if (program->images < 1 || program->images > BL_PROGRAM_MAX_BATCH ||
      program->tensor_count != graph->tensor_count)
    return bad(&c, "images or tensors do not fit its graph");
  program->output = graph->output;
  memset(&program->figures, 0, sizeof program->figures);
  bl_arena *arena = bl_arena_new(BL_COMPILE_ARENA);
  if (arena == NULL) return bl_fail(err, BL_ERR_MEMORY, "compiled program: no memory to check it");
  bl_status status = check_in(&c, arena);
  bl_arena_free(arena);
  return status;
}
