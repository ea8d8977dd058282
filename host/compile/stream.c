// SPDX-License-Identifier: Apache-2.0
// From mapped layers to steps. Each part of a layer brings one block for each list memory (weights,
// params, K list, pass list, tile list). A memory whose blocks all fit is loaded once a session,
// equal lists once; another is a ring that is streamed through in every batch. A block of the ring
// takes at most a third of it, since two runs may be under way or queued while the next part loads.
#include "host/compile/internal.h"

#include <stdlib.h>
#include <string.h>

enum { FLIGHTS = 2 }; // runs that may be unfinished when a later packet is taken

typedef struct {
  uint32_t begin, end;
} span;

typedef struct {
  bl_step *items;
  uint32_t count, room;
} steps;

typedef struct {
  bl_program *program;
  const bl_mapping *m; // of the layer being emitted
  bool streamed[BL_LIST_MEMORIES];
  int overflow;                     // the memory that turned out too small to be resident; -1: none
  uint8_t *image[BL_LIST_MEMORIES]; // resident content
  uint32_t used[BL_LIST_MEMORIES];  // words
  uint32_t next[BL_LIST_MEMORIES];  // ring position
  span current[BL_LIST_MEMORIES];   // blocks of the part being emitted
  span flights[FLIGHTS][BL_LIST_MEMORIES];
  span input_flights[FLIGHTS]; // words of tensor 0 that they read
  steps setup, batch;
} builder;

uint32_t bl_word_bytes(const bl_config *config, int memory) {
  switch (memory) {
  case BL_MEMORY_WEIGHTS:
    return config->cols * config->lanes / 8;
  case BL_MEMORY_PARAMS:
    return config->cols * BL_CONTRACT_PARAM_BYTES;
  case BL_MEMORY_K:
    return BL_CONTRACT_K_BYTES;
  default:
    return BL_CONTRACT_PASS_BYTES;
  }
}

static bl_status no_memory(bl_error *err) {
  return bl_fail(err, BL_ERR_MEMORY, "compile: no memory for the program");
}

static bl_status add_step(steps *list, bl_step step, bl_error *err) {
  if (list->count == list->room) {
    uint32_t room = list->room == 0 ? 64 : list->room * 2;
    bl_step *items =
        room > BL_PROGRAM_MAX_STEPS ? NULL : realloc(list->items, room * sizeof *items);
    if (items == NULL) return no_memory(err);
    list->items = items;
    list->room = room;
  }
  list->items[list->count++] = step;
  return BL_OK;
}

static bl_status add_packet(builder *b, steps *list, bl_step step, const uint8_t *bytes,
                            bl_error *err) {
  uint32_t words = bl_div_up(step.bytes, 4);
  step.payload = bl_arena_alloc(b->program->arena, words, sizeof *step.payload);
  if (step.payload == NULL) return no_memory(err);
  for (uint32_t i = 0; i < step.bytes; i++)
    step.payload[i / 4] |= (uint32_t)bytes[i] << (i % 4 * 8);
  return add_step(list, step, err);
}

static bl_status add_load(builder *b, steps *list, int memory, uint32_t address, uint32_t words,
                          const uint8_t *bytes, bl_error *err) {
  const bl_config *config = &b->program->config;
  bool columns = memory == BL_MEMORY_WEIGHTS || memory == BL_MEMORY_PARAMS;
  bl_step step = {.opcode = (uint8_t)(BL_OP_LOAD_WEIGHTS + memory),
                  .address = address,
                  .argument = columns ? config->cols << 24 : 0,
                  .bytes = words * bl_word_bytes(config, memory),
                  .layer = b->m == NULL ? BL_STEP_NO_LAYER : b->m->index};
  if (list == &b->batch) b->program->figures.streamed_bytes += step.bytes;
  return add_packet(b, list, step, bytes, err);
}

static bl_status add_fence(builder *b, bl_error *err) {
  memset(b->flights, 0, sizeof b->flights);
  memset(b->input_flights, 0, sizeof b->input_flights);
  return add_step(&b->batch, (bl_step){.opcode = BL_OP_FENCE, .layer = BL_STEP_NO_LAYER}, err);
}

static bool overlaps(span a, span b) {
  return a.begin < b.end && b.begin < a.end;
}

// Takes the next words of the ring, with a fence where an unfinished run still uses them.
static bl_status place_streamed(builder *b, int memory, const uint8_t *bytes, uint32_t words,
                                uint32_t *address, bl_error *err) {
  uint32_t depth = bl_memory_depth(&b->program->config, (bl_memory_kind)memory);
  if (words > depth - b->next[memory]) b->next[memory] = 0;
  span block = {b->next[memory], b->next[memory] + words};
  for (int f = 0; f < FLIGHTS; f++)
    if (overlaps(block, b->flights[f][memory])) BL_TRY(add_fence(b, err));
  BL_TRY(add_load(b, &b->batch, memory, block.begin, words, bytes, err));
  b->next[memory] = block.end;
  if (block.end > b->used[memory]) b->used[memory] = block.end;
  b->current[memory] = block;
  *address = block.begin;
  return BL_OK;
}

// Finds `words` words in a resident memory; UINT32_MAX when they are not there yet.
static uint32_t find(const builder *b, int memory, const uint8_t *bytes, uint32_t words) {
  uint32_t unit = bl_word_bytes(&b->program->config, memory);
  for (uint32_t at = 0; at + words <= b->used[memory]; at++)
    if (memcmp(b->image[memory] + (size_t)at * unit, bytes, (size_t)words * unit) == 0) return at;
  return UINT32_MAX;
}

static bl_status place_resident(builder *b, int memory, const uint8_t *bytes, uint32_t words,
                                uint32_t *address) {
  uint32_t depth = bl_memory_depth(&b->program->config, (bl_memory_kind)memory);
  bool shared = memory == BL_MEMORY_K || memory == BL_MEMORY_PASSES;
  *address = shared ? find(b, memory, bytes, words) : UINT32_MAX;
  if (*address != UINT32_MAX) return BL_OK;
  *address = b->used[memory];
  if (words > depth - b->used[memory]) {
    b->overflow = memory;
    return BL_OK;
  }
  uint32_t unit = bl_word_bytes(&b->program->config, memory);
  memcpy(b->image[memory] + (size_t)b->used[memory] * unit, bytes, (size_t)words * unit);
  b->used[memory] += words;
  return BL_OK;
}

// Places a block and frees its bytes.
static bl_status place(builder *b, int memory, uint8_t *bytes, uint32_t words, uint32_t *address,
                       bl_error *err) {
  bl_status status = BL_OK;
  *address = 0;
  if (words > 0)
    status = b->streamed[memory] ? place_streamed(b, memory, bytes, words, address, err)
                                 : place_resident(b, memory, bytes, words, address);
  free(bytes);
  return status;
}

static uint8_t *block(const builder *b, int memory, uint32_t words) {
  return calloc(words + 1, bl_word_bytes(&b->program->config, memory));
}

static bl_status place_weights(builder *b, const bl_part *part, uint32_t *address, bl_error *err) {
  uint32_t words = 0;
  for (uint32_t t = part->tile0; t < part->tile1; t++)
    words += b->m->tiles[t].weight_words;
  uint8_t *bytes = block(b, BL_MEMORY_WEIGHTS, words);
  if (bytes == NULL) return no_memory(err);
  bl_emit_weights(b->m, part, bytes);
  b->program->figures.weight_bytes += (uint64_t)words * bl_word_bytes(&b->program->config, 0);
  return place(b, BL_MEMORY_WEIGHTS, bytes, words, address, err);
}

static bl_status place_params(builder *b, const bl_part *part, uint32_t *address, bl_error *err) {
  uint32_t words = (part->tile1 - part->tile0) * bl_listings(b->m);
  uint8_t *bytes = block(b, BL_MEMORY_PARAMS, words);
  if (bytes == NULL) return no_memory(err);
  bl_emit_params(b->m, part, bytes);
  return place(b, BL_MEMORY_PARAMS, bytes, words, address, err);
}

// Where a tile's lists start in their block: those of an equal tile, or `*words`, which then grows.
static uint32_t list_offset(const bl_mapping *m, const bl_part *part, uint32_t t, bool passes,
                            const uint32_t *offsets, uint32_t *words) {
  const bl_tile_plan *tile = &m->tiles[t];
  for (uint32_t i = part->tile0; i < t; i++) {
    const bl_tile_plan *other = &m->tiles[i];
    bool same = passes ? other->plane_mask == tile->plane_mask &&
                             other->sign_plane == tile->sign_plane && other->words == tile->words
                       : other->word0 == tile->word0 && other->words == tile->words;
    if (same) return offsets[i - part->tile0];
  }
  uint32_t offset = *words;
  *words += passes ? tile->passes : m->taps * tile->words;
  return offset;
}

static void put_words(uint8_t *bytes, const uint32_t words[2]) {
  for (int i = 0; i < 8; i++)
    bytes[i] = (uint8_t)(words[i / 4] >> (8 * (i % 4)));
}

static void emit_list(const bl_mapping *m, const bl_part *part, const bl_tile_plan *tile,
                      bool passes, uint8_t *bytes) {
  if (!passes) {
    bl_emit_k_list(m, part, tile, bytes);
    return;
  }
  bl_pass list[BL_MAX_PASSES];
  uint8_t post;
  uint32_t count = bl_list_passes(m, tile, list, &post), words[BL_PASS_WORDS];
  for (uint32_t p = 0; p < count; p++) {
    (void)bl_pass_pack(&list[p], words); // every field is as wide as its C type or checked
    put_words(bytes + (size_t)p * BL_CONTRACT_PASS_BYTES, words);
  }
}

// K lists or pass lists of a part; offsets[t - tile0] within the block.
static bl_status place_lists(builder *b, const bl_part *part, bool passes, uint32_t *offsets,
                             uint32_t *address, bl_error *err) {
  int memory = passes ? BL_MEMORY_PASSES : BL_MEMORY_K;
  uint32_t words = 0, unit = bl_word_bytes(&b->program->config, memory);
  for (uint32_t t = part->tile0; t < part->tile1; t++)
    offsets[t - part->tile0] = list_offset(b->m, part, t, passes, offsets, &words);
  uint8_t *bytes = block(b, memory, words);
  if (bytes == NULL) return no_memory(err);
  for (uint32_t t = part->tile0; t < part->tile1; t++)
    emit_list(b->m, part, &b->m->tiles[t], passes, bytes + (size_t)offsets[t - part->tile0] * unit);
  return place(b, memory, bytes, words, address, err);
}

static bl_status place_tiles(builder *b, const bl_part *part, const uint32_t base[3],
                             const uint32_t *k_offsets, const uint32_t *pass_offsets,
                             uint32_t *address, bl_error *err) {
  uint32_t listings = bl_listings(b->m), count = (part->tile1 - part->tile0) * listings;
  uint8_t *bytes = block(b, BL_MEMORY_TILES, count), *at = bytes;
  if (bytes == NULL) return no_memory(err);
  uint32_t weights = base[0];
  for (uint32_t t = part->tile0; t < part->tile1; t++) {
    const bl_tile_plan *plan = &b->m->tiles[t];
    bl_tile tile = {.weight_base = (uint16_t)weights,
                    .k_base = (uint16_t)(base[1] + k_offsets[t - part->tile0]),
                    .pass_base = (uint16_t)(base[2] + pass_offsets[t - part->tile0]),
                    .pass_last = (uint16_t)(plan->passes - 1),
                    .post = plan->post};
    uint32_t words[BL_TILE_WORDS];
    (void)bl_tile_pack(&tile, words);
    for (uint32_t i = 0; i < listings; i++, at += BL_CONTRACT_TILE_BYTES)
      put_words(at, words);
    weights += plan->weight_words;
  }
  return place(b, BL_MEMORY_TILES, bytes, count, address, err);
}

// The loads of a part are behind it; what they placed stays in use until two more runs are sent.
static void take_off(builder *b, span input) {
  memmove(b->flights[1], b->flights[0], sizeof b->flights[0]);
  memcpy(b->flights[0], b->current, sizeof b->current);
  b->input_flights[1] = b->input_flights[0];
  b->input_flights[0] = input;
}

static span input_span(const builder *b, uint32_t chunk) {
  bl_step load = bl_chunk_load(b->program, chunk);
  return (span){load.address, load.address + load.bytes / b->program->regions[0].load_bytes};
}

static bl_status emit_run(builder *b, const bl_part *part, uint32_t chunk, uint32_t tile_base,
                          uint32_t param_base, bl_error *err) {
  bl_descriptor d;
  uint32_t words[BL_DESCRIPTOR_WORDS];
  uint32_t chunks = bl_chunk_count(b->m, &b->program->input, b->program->images);
  BL_TRY(bl_describe(b->program, b->m, part, chunk, tile_base, param_base, &d, err));
  (void)bl_descriptor_pack(&d, words); // bl_describe has packed it before
  bl_step step = {.opcode = BL_OP_RUN,
                  .bytes = sizeof words,
                  .layer = b->m->index,
                  .part = b->program->layer_parts[b->m->index]++,
                  .last_part = part->tile1 == b->m->tile_count && chunk + 1 == chunks};
  step.payload = bl_arena_alloc(b->program->arena, BL_DESCRIPTOR_WORDS, sizeof *words);
  if (step.payload == NULL) return no_memory(err);
  memcpy(step.payload, words, sizeof words);
  take_off(b, b->m->layer->input == 0 ? input_span(b, chunk) : (span){0, 0});
  return add_step(&b->batch, step, err);
}

static bl_status emit_lists(builder *b, const bl_part *part, uint32_t *offsets, uint32_t *tile_base,
                            uint32_t *param_base, bl_error *err) {
  uint32_t base[3] = {0}, count = part->tile1 - part->tile0;
  memset(b->current, 0, sizeof b->current);
  BL_TRY(place_weights(b, part, &base[0], err));
  BL_TRY(place_params(b, part, param_base, err));
  BL_TRY(place_lists(b, part, false, offsets, &base[1], err));
  BL_TRY(place_lists(b, part, true, offsets + count, &base[2], err));
  return place_tiles(b, part, base, offsets, offsets + count, tile_base, err);
}

static bl_status emit_input(builder *b, uint32_t chunk, bl_error *err) {
  for (int f = 0; f < FLIGHTS; f++)
    if (overlaps(input_span(b, chunk), b->input_flights[f])) BL_TRY(add_fence(b, err));
  return add_step(&b->batch, bl_chunk_load(b->program, chunk), err);
}

// Lists of a part, then a run for each piece of the input, which loads first where it comes in
// pieces.
static bl_status emit_part(builder *b, const bl_part *part, bl_error *err) {
  uint32_t tile_base = 0, param_base = 0, chunks;
  uint32_t *offsets = calloc((size_t)(part->tile1 - part->tile0) * 2, sizeof *offsets);
  if (offsets == NULL) return no_memory(err);
  bl_status status = emit_lists(b, part, offsets, &tile_base, &param_base, err);
  free(offsets);
  chunks = bl_chunk_count(b->m, &b->program->input, b->program->images);
  for (uint32_t chunk = 0; chunk < chunks && status == BL_OK && b->overflow < 0; chunk++) {
    if (chunks > 1) status = emit_input(b, chunk, err);
    if (status == BL_OK) status = emit_run(b, part, chunk, tile_base, param_base, err);
  }
  return status;
}

// A layer in several parts takes its input in pieces once for each of them.
static bl_status emit_layer(builder *b, const bl_mapping *m, bl_error *err) {
  uint32_t limit[BL_LIST_MEMORIES];
  for (int i = 0; i < BL_LIST_MEMORIES; i++) {
    uint32_t depth = bl_memory_depth(&b->program->config, (bl_memory_kind)i);
    limit[i] = b->streamed[i] ? depth / 3 : depth;
  }
  b->m = m;
  b->program->layer_parts[m->index] = 0;
  for (bl_part part = {0}; part.tile1 < m->tile_count && b->overflow < 0;) {
    BL_TRY(bl_next_part(m, part.tile1, limit, &part, err));
    BL_TRY(emit_part(b, &part, err));
  }
  return BL_OK;
}

static bl_status emit_batch(builder *b, const bl_mapping *mappings, uint32_t layer_count,
                            bl_error *err) {
  bl_program *p = b->program;
  uint32_t address, argument, bytes;
  BL_TRY(add_fence(b, err)); // the batch before may still read what this one loads
  if (p->input.chunk_rows == 0) BL_TRY(emit_input(b, 0, err));
  for (uint32_t l = 0; l < layer_count && b->overflow < 0; l++)
    BL_TRY(emit_layer(b, &mappings[l], err));
  bl_program_send(p, p->output, &address, &argument, &bytes);
  bl_step send = {
      .opcode = BL_OP_SEND, .address = address, .argument = argument, .layer = BL_STEP_NO_LAYER};
  return add_step(&b->batch, send, err);
}

static bl_status emit_setup(builder *b, bl_error *err) {
  b->m = NULL;
  for (int i = 0; i < BL_LIST_MEMORIES; i++) {
    b->program->figures.used[i] = b->used[i];
    b->program->figures.resident[i] = !b->streamed[i];
    if (!b->streamed[i] && b->used[i] > 0)
      BL_TRY(add_load(b, &b->setup, i, 0, b->used[i], b->image[i], err));
  }
  return BL_OK;
}

static bl_status take_steps(bl_arena *arena, const steps *from, bl_step **to, uint32_t *count,
                            bl_error *err) {
  *to = bl_arena_alloc(arena, from->count, sizeof **to);
  if (*to == NULL) return no_memory(err);
  if (from->count > 0) memcpy(*to, from->items, from->count * sizeof **to);
  *count = from->count;
  return BL_OK;
}

// One attempt with the memories in `streamed` streamed; b->overflow names one more, or is -1.
static bl_status attempt(builder *b, const bl_mapping *mappings, uint32_t layer_count,
                         bl_error *err) {
  for (int i = 0; i < BL_LIST_MEMORIES; i++) {
    uint32_t depth = bl_memory_depth(&b->program->config, (bl_memory_kind)i);
    b->image[i] = block(b, i, depth);
    if (b->image[i] == NULL) return no_memory(err);
  }
  b->program->figures.weight_bytes = b->program->figures.streamed_bytes = 0;
  BL_TRY(emit_batch(b, mappings, layer_count, err));
  if (b->overflow >= 0) return BL_OK;
  BL_TRY(emit_setup(b, err));
  bl_program *p = b->program;
  BL_TRY(take_steps(p->arena, &b->setup, &p->setup, &p->setup_count, err));
  return take_steps(p->arena, &b->batch, &p->batch, &p->batch_count, err);
}

bl_status bl_stream(bl_program *program, const bl_mapping *mappings, uint32_t layer_count,
                    bl_error *err) {
  bool streamed[BL_LIST_MEMORIES] = {false};
  for (;;) {
    builder b = {.program = program, .overflow = -1};
    memcpy(b.streamed, streamed, sizeof streamed);
    bl_status status = attempt(&b, mappings, layer_count, err);
    for (int i = 0; i < BL_LIST_MEMORIES; i++)
      free(b.image[i]);
    free(b.setup.items);
    free(b.batch.items);
    if (status != BL_OK || b.overflow < 0) return status;
    streamed[b.overflow] = true;
  }
}
