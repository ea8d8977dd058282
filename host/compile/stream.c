// SPDX-License-Identifier: Apache-2.0
// From operations to steps. Each part of an operation brings one block for each list memory
// (weights, params, K list, pass list, tile list, table). A memory whose blocks all fit is loaded
// once a session, equal lists once; another is a ring that is streamed through in every batch. A
// block of the ring takes at most a third of it, since two runs may be under way or queued while
// the next part loads.
#include "host/compile/internal.h"

#include <stdlib.h>
#include <string.h>

// A block of weights that travels as codes: where it lies, and its payload.
typedef struct {
  uint32_t address, words, argument, bytes;
  uint8_t *payload;
} code_block;

typedef struct {
  bl_program *program;
  const bl_int_graph *graph;
  const bl_mapped *mapped;
  const bl_mapping *m; // the operation being emitted, number `op`
  uint32_t op;
  bool streamed[BL_LIST_MEMORIES];
  int overflow;                     // the memory that turned out too small to be resident; -1: none
  uint8_t *image[BL_LIST_MEMORIES]; // resident content
  uint32_t used[BL_LIST_MEMORIES];  // words
  uint32_t next[BL_LIST_MEMORIES];  // ring position
  bl_words current[BL_LIST_MEMORIES]; // streamed blocks of the part being emitted
  bl_steps setup, batch;
  code_block *codes; // resident ones, ascending
  uint32_t code_count, code_room;
  // Where each part of the cut's operations was placed with the first piece, for the others.
  uint32_t (*places)[BL_LIST_MEMORIES];
  uint32_t place_count, place_room, place_at;
  bool again; // not the first piece
  // Loading ahead: words of the next batch's input that are loaded, and the last reader of this
  // one's.
  uint32_t input_words, input_reader;
} builder;

uint32_t bl_word_bytes(const bl_config *config, int memory) {
  switch (memory) {
  case BL_MEMORY_WEIGHTS:
    return config->cols * config->lanes / 8;
  case BL_MEMORY_PARAMS:
    return config->cols * BL_CONTRACT_PARAM_BYTES;
  case BL_MEMORY_K:
    return BL_CONTRACT_K_BYTES;
  case BL_MEMORY_TABLES:
    return 1;
  default:
    return BL_CONTRACT_PASS_BYTES;
  }
}

static bl_status no_memory(bl_error *err) {
  return bl_fail(err, BL_ERR_MEMORY, "compile: no memory for the program");
}

// Adds a load of `words` words of a memory of weights or lists.
static bl_status add_packet(builder *b, bl_steps *list, bl_step step, int memory, uint32_t words,
                            const uint8_t *bytes, bl_error *err) {
  bl_touched touched = {.writes = {0, 0}};
  touched.lists[memory] = (bl_words){step.address, step.address + words};
  step.payload = bl_arena_alloc(b->program->arena, bl_div_up(step.bytes, 4), sizeof *step.payload);
  if (step.payload == NULL) return no_memory(err);
  for (uint32_t i = 0; i < step.bytes; i++)
    step.payload[i / 4] |= (uint32_t)bytes[i] << (i % 4 * 8);
  return bl_add_step(list, step, &touched, err);
}

static uint8_t load_opcode(int memory) {
  return memory == BL_MEMORY_TABLES ? BL_OP_LOAD_TABLES : (uint8_t)(BL_OP_LOAD_WEIGHTS + memory);
}

static bl_status add_load(builder *b, bl_steps *list, int memory, uint32_t address, uint32_t words,
                          const uint8_t *bytes, bl_error *err) {
  const bl_config *config = &b->program->config;
  bool columns = memory == BL_MEMORY_WEIGHTS || memory == BL_MEMORY_PARAMS;
  bl_step step = {.opcode = load_opcode(memory),
                  .address = address,
                  .argument = columns ? config->cols << 24 : 0,
                  .bytes = words * bl_word_bytes(config, memory),
                  .layer = b->m == NULL ? BL_STEP_NO_LAYER : b->m->index};
  if (list == &b->batch) b->program->figures.streamed_bytes += step.bytes;
  return add_packet(b, list, step, memory, words, bytes, err);
}

static bl_status add_codes(builder *b, bl_steps *list, const code_block *c, bl_error *err) {
  bl_step step = {.opcode = BL_OP_LOAD_CODES,
                  .address = c->address,
                  .argument = c->argument,
                  .bytes = c->bytes,
                  .layer = b->m == NULL ? BL_STEP_NO_LAYER : b->m->index};
  if (list == &b->batch) b->program->figures.streamed_bytes += step.bytes;
  return add_packet(b, list, step, BL_MEMORY_WEIGHTS, c->words, c->payload, err);
}

// A load or a SEND of activations.
static bl_status add_transfer(builder *b, bl_step step, bl_error *err) {
  const uint32_t bytes = step.argument >> 24;
  const bool sends = step.opcode == BL_OP_SEND;
  const uint32_t words = sends ? step.argument & 0xFFFFFF : step.bytes / bytes;
  const bl_words span = {step.address, step.address + words};
  bl_touched touched = {.writes = {0, 0}};
  *(sends ? &touched.reads[0] : &touched.writes) = span;
  return bl_add_step(&b->batch, step, &touched, err);
}

// ---- Blocks ------------------------------------------------------------------------------------

// Takes the next words of the ring.
static uint32_t take_streamed(builder *b, int memory, uint32_t words) {
  uint32_t depth = bl_memory_depth(&b->program->config, (bl_memory_kind)memory);
  if (words > depth - b->next[memory]) b->next[memory] = 0;
  bl_words block = {b->next[memory], b->next[memory] + words};
  b->next[memory] = block.end;
  if (block.end > b->used[memory]) b->used[memory] = block.end;
  b->current[memory] = block;
  return block.begin;
}

// Finds `words` words in a resident memory; BL_NONE when they are not there yet.
static uint32_t find(const builder *b, int memory, const uint8_t *bytes, uint32_t words) {
  uint32_t unit = bl_word_bytes(&b->program->config, memory);
  uint32_t step = memory == BL_MEMORY_TABLES ? BL_CONTRACT_TABLE_ENTRIES : 1;
  for (uint32_t at = 0; at + words <= b->used[memory]; at += step)
    if (memcmp(b->image[memory] + (size_t)at * unit, bytes, (size_t)words * unit) == 0) return at;
  return BL_NONE;
}

static bool take_resident(builder *b, int memory, uint32_t words, uint32_t *address) {
  uint32_t depth = bl_memory_depth(&b->program->config, (bl_memory_kind)memory);
  *address = b->used[memory];
  if (words > depth - b->used[memory]) {
    b->overflow = memory;
    return false;
  }
  b->used[memory] += words;
  return true;
}

static void place_resident(builder *b, int memory, const uint8_t *bytes, uint32_t words,
                           uint32_t *address) {
  bool shared = memory == BL_MEMORY_K || memory == BL_MEMORY_PASSES || memory == BL_MEMORY_TABLES;
  *address = shared ? find(b, memory, bytes, words) : BL_NONE;
  if (*address != BL_NONE || !take_resident(b, memory, words, address)) return;
  uint32_t unit = bl_word_bytes(&b->program->config, memory);
  memcpy(b->image[memory] + (size_t)*address * unit, bytes, (size_t)words * unit);
}

// Places a block and frees its bytes.
static bl_status place(builder *b, int memory, uint8_t *bytes, uint32_t words, uint32_t *address,
                       bl_error *err) {
  bl_status status = BL_OK;
  *address = 0;
  if (b->again && !b->streamed[memory]) {
    *address = b->places[b->place_at][memory];
  } else if (words > 0 && b->streamed[memory]) {
    *address = take_streamed(b, memory, words);
    status = add_load(b, &b->batch, memory, *address, words, bytes, err);
  } else if (words > 0) {
    place_resident(b, memory, bytes, words, address);
  }
  b->places[b->place_at][memory] = *address;
  free(bytes);
  return status;
}

static uint8_t *block(const builder *b, int memory, uint32_t words) {
  return calloc((size_t)words + 1, bl_word_bytes(&b->program->config, memory));
}

// ---- Weights -----------------------------------------------------------------------------------

static uint32_t main_words(const bl_mapping *m, uint32_t tile0, uint32_t tile1) {
  uint32_t words = 0;
  for (uint32_t t = tile0; t < tile1; t++)
    words += bl_tile_at(m, t)->words;
  return words;
}

// Codes of a whole part travel together, those of a layer with a second source tile by tile, so
// that a tile's words for it lie behind its own.
static bool codes_together(const bl_mapping *m) {
  return m->codes && m->res_region == BL_NONE;
}

// Keeps a resident block, whose payload is then the builder's.
static bl_status keep_codes(builder *b, const code_block *c, bl_error *err) {
  if (b->code_count == b->code_room) {
    uint32_t room = b->code_room == 0 ? 16 : b->code_room * 2;
    code_block *codes = realloc(b->codes, room * sizeof *codes);
    if (codes == NULL) {
      free(c->payload);
      return no_memory(err);
    }
    b->codes = codes;
    b->code_room = room;
  }
  b->codes[b->code_count++] = *c;
  return BL_OK;
}

// Codes of tiles tile0 .. tile1-1 at an address: the words of all of them for one plane, then for
// the next.
static bl_status put_codes(builder *b, uint32_t tile0, uint32_t tile1, uint32_t address,
                           bl_error *err) {
  const bl_mapping *m = b->m;
  const uint32_t unit = b->program->config.cols * b->program->config.lanes / 2;
  const uint32_t words = main_words(m, tile0, tile1);
  uint32_t planes = 0;
  for (uint32_t t = tile0; t < tile1; t++)
    planes |= bl_tile_at(m, t)->plane_mask;
  code_block c = {.address = address,
                  .words = words * bl_popcount(planes),
                  .argument = b->program->config.cols << 24 | planes << 16 | words,
                  .bytes = BL_CONTRACT_CODEBOOK_BYTES + words * unit};
  if (words == 0) return BL_OK;
  c.payload = calloc(c.bytes, 1);
  if (c.payload == NULL) return no_memory(err);
  memcpy(c.payload, m->layer->codebook, BL_CONTRACT_CODEBOOK_BYTES);
  uint8_t *at = c.payload + BL_CONTRACT_CODEBOOK_BYTES;
  for (uint32_t t = tile0; t < tile1; at += (size_t)bl_tile_at(m, t)->words * unit, t++)
    bl_emit_codes(m, t, at);
  if (!b->again) b->program->figures.weight_bytes += c.bytes;
  if (!b->streamed[BL_MEMORY_WEIGHTS]) return keep_codes(b, &c, err);
  bl_status status = add_codes(b, &b->batch, &c, err);
  free(c.payload);
  return status;
}

// A tile's words for the second source, behind its codes.
static bl_status put_terms(builder *b, uint32_t t, uint32_t address, bl_error *err) {
  const size_t unit = bl_word_bytes(&b->program->config, BL_MEMORY_WEIGHTS);
  const uint32_t words = bl_tile_at(b->m, t)->term_words;
  uint8_t *bytes = block(b, BL_MEMORY_WEIGHTS, words);
  if (bytes == NULL) return no_memory(err);
  bl_emit_terms(b->m, t, bytes);
  if (!b->again) b->program->figures.weight_bytes += words * unit;
  bl_status status = BL_OK;
  if (!b->streamed[BL_MEMORY_WEIGHTS])
    memcpy(b->image[BL_MEMORY_WEIGHTS] + address * unit, bytes, words * unit);
  else if (words > 0)
    status = add_load(b, &b->batch, BL_MEMORY_WEIGHTS, address, words, bytes, err);
  free(bytes);
  return status;
}

static bl_status put_coded_part(builder *b, const bl_part *part, uint32_t address, bl_error *err) {
  if (codes_together(b->m)) return put_codes(b, part->tile0, part->tile1, address, err);
  for (uint32_t t = part->tile0; t < part->tile1; t++) {
    const bl_tile_plan *tile = bl_tile_at(b->m, t);
    BL_TRY(put_codes(b, t, t + 1, address, err));
    BL_TRY(put_terms(b, t, address + tile->weight_words - tile->term_words, err));
    address += tile->weight_words;
  }
  return BL_OK;
}

static bl_status place_codes(builder *b, const bl_part *part, uint32_t words, uint32_t *address,
                             bl_error *err) {
  if (b->again && !b->streamed[BL_MEMORY_WEIGHTS]) {
    *address = b->places[b->place_at][BL_MEMORY_WEIGHTS];
    return BL_OK;
  }
  if (b->streamed[BL_MEMORY_WEIGHTS])
    *address = take_streamed(b, BL_MEMORY_WEIGHTS, words);
  else if (!take_resident(b, BL_MEMORY_WEIGHTS, words, address))
    return BL_OK;
  b->places[b->place_at][BL_MEMORY_WEIGHTS] = *address;
  return put_coded_part(b, part, *address, err);
}

static bl_status place_weights(builder *b, const bl_part *part, uint32_t *address, bl_error *err) {
  uint32_t words = 0;
  for (uint32_t t = part->tile0; t < part->tile1; t++)
    words += bl_tile_at(b->m, t)->weight_words;
  *address = 0;
  if (b->m->codes && words > 0) return place_codes(b, part, words, address, err);
  uint8_t *bytes = block(b, BL_MEMORY_WEIGHTS, words), *at = bytes;
  if (bytes == NULL) return no_memory(err);
  const size_t unit = bl_word_bytes(&b->program->config, BL_MEMORY_WEIGHTS);
  for (uint32_t t = part->tile0; t < part->tile1; t++) {
    bl_emit_weights(b->m, t, at);
    at += bl_tile_at(b->m, t)->weight_words * unit;
  }
  if (!b->again) b->program->figures.weight_bytes += (uint64_t)words * unit;
  return place(b, BL_MEMORY_WEIGHTS, bytes, words, address, err);
}

// ---- Parameters, tables, lists -----------------------------------------------------------------

static bl_status place_params(builder *b, const bl_part *part, uint32_t *address, bl_error *err) {
  uint32_t words = (part->tile1 - part->tile0) * bl_listings(b->m);
  uint8_t *bytes = block(b, BL_MEMORY_PARAMS, words);
  if (bytes == NULL) return no_memory(err);
  bl_emit_params(b->m, part, bytes);
  return place(b, BL_MEMORY_PARAMS, bytes, words, address, err);
}

// *table is the descriptor's out_table.
static bl_status place_table(builder *b, uint32_t *table, bl_error *err) {
  const bl_int_layer *l = b->m->layer;
  uint32_t address;
  *table = 0;
  if (l->table == NULL || !b->m->last) return BL_OK;
  uint8_t *bytes = block(b, BL_MEMORY_TABLES, BL_CONTRACT_TABLE_ENTRIES);
  if (bytes == NULL) return no_memory(err);
  for (int i = 0; i < BL_CONTRACT_TABLE_ENTRIES; i++)
    bytes[i] = (uint8_t)l->table[i];
  BL_TRY(place(b, BL_MEMORY_TABLES, bytes, BL_CONTRACT_TABLE_ENTRIES, &address, err));
  *table = address / BL_CONTRACT_TABLE_ENTRIES + 1;
  return BL_OK;
}

static void put_words(uint8_t *bytes, const uint32_t words[2]) {
  for (int i = 0; i < 8; i++)
    bytes[i] = (uint8_t)(words[i / 4] >> (8 * (i % 4)));
}

static void emit_list(const builder *b, const bl_part *part, uint32_t t, bool passes,
                      uint8_t *bytes) {
  if (!passes) {
    bl_emit_k_list(b->m, t, bytes);
    return;
  }
  bl_pass list[BL_MAX_PASSES];
  uint8_t post;
  const bool together = codes_together(b->m);
  uint32_t stride = together ? main_words(b->m, part->tile0, part->tile1) : 0;
  uint32_t words[BL_PASS_WORDS];
  uint32_t count = bl_list_passes(b->m, t, stride, list, &post);
  for (uint32_t p = 0; p < count; p++) {
    (void)bl_pass_pack(&list[p], words); // every field is as wide as its C type or checked
    put_words(bytes + (size_t)p * BL_CONTRACT_PASS_BYTES, words);
  }
}

static uint32_t list_words(const bl_mapping *m, uint32_t t, bool passes) {
  return passes ? bl_tile_at(m, t)->passes : bl_k_words(m, t);
}

// Where a tile's list starts in the block: that of an equal one, or the block's end.
static uint32_t share_list(const builder *b, const bl_part *part, uint32_t t, bool passes,
                           const uint32_t *offsets, const uint8_t *bytes, uint32_t used) {
  const size_t unit = bl_word_bytes(&b->program->config, passes ? BL_MEMORY_PASSES : BL_MEMORY_K);
  const size_t size = list_words(b->m, t, passes) * unit;
  for (uint32_t i = part->tile0; i < t; i++)
    if (list_words(b->m, i, passes) * unit == size &&
        memcmp(bytes + offsets[i - part->tile0] * unit, bytes + used * unit, size) == 0)
      return offsets[i - part->tile0];
  return used;
}

// K lists or pass lists of a part; offsets[t - tile0] within the block.
static bl_status place_lists(builder *b, const bl_part *part, bool passes, uint32_t *offsets,
                             uint32_t *address, bl_error *err) {
  int memory = passes ? BL_MEMORY_PASSES : BL_MEMORY_K;
  uint32_t all = 0, used = 0, unit = bl_word_bytes(&b->program->config, memory);
  for (uint32_t t = part->tile0; t < part->tile1; t++)
    all += list_words(b->m, t, passes);
  uint8_t *bytes = block(b, memory, all);
  if (bytes == NULL) return no_memory(err);
  for (uint32_t t = part->tile0; t < part->tile1; t++) {
    uint32_t words = list_words(b->m, t, passes);
    memset(bytes + (size_t)used * unit, 0, (size_t)words * unit);
    emit_list(b, part, t, passes, bytes + (size_t)used * unit);
    uint32_t at = share_list(b, part, t, passes, offsets, bytes, used);
    offsets[t - part->tile0] = at;
    if (at == used) used += words;
  }
  return place(b, memory, bytes, used, address, err);
}

static bl_status place_tiles(builder *b, const bl_part *part, const uint32_t base[3],
                             const uint32_t *k_offsets, const uint32_t *pass_offsets,
                             uint32_t *address, bl_error *err) {
  uint32_t listings = bl_listings(b->m), count = (part->tile1 - part->tile0) * listings;
  uint8_t *bytes = block(b, BL_MEMORY_TILES, count), *at = bytes;
  if (bytes == NULL) return no_memory(err);
  uint32_t weights = base[0];
  for (uint32_t t = part->tile0; t < part->tile1; t++) {
    const bl_tile_plan *plan = bl_tile_at(b->m, t);
    bl_tile tile = {.weight_base = (uint16_t)weights,
                    .k_base = (uint16_t)(base[1] + k_offsets[t - part->tile0]),
                    .pass_base = (uint16_t)(base[2] + pass_offsets[t - part->tile0]),
                    .pass_last = (uint16_t)(plan->passes - 1),
                    .post = plan->post};
    uint32_t words[BL_TILE_WORDS];
    (void)bl_tile_pack(&tile, words);
    for (uint32_t i = 0; i < listings; i++, at += BL_CONTRACT_TILE_BYTES)
      put_words(at, words);
    weights += codes_together(b->m) ? plan->words : plan->weight_words;
  }
  return place(b, BL_MEMORY_TILES, bytes, count, address, err);
}

// ---- Runs --------------------------------------------------------------------------------------

// What a part's lists turned out to be, for the runs that use them.
typedef struct {
  bl_part part;
  uint32_t tile_base, param_base, table;
  bl_words blocks[BL_LIST_MEMORIES]; // streamed ones
} placed_part;

// The words that a run may read or write of a region: of an input in pieces, the piece's slot.
static bl_words region_words(const builder *b, uint32_t region, uint32_t piece) {
  const bl_region *r = &b->program->regions[region];
  const bl_cut cut = bl_cut_at(b->program, 0);
  if (region != 0 || cut.spills) return (bl_words){r->address, r->address + r->words};
  bl_step load = bl_input_load(b->program, b->mapped, piece);
  return (bl_words){load.address, load.address + load.bytes / r->load_bytes};
}

static bl_touched run_touches(const builder *b, const placed_part *p, uint32_t piece) {
  bl_touched touched = {.reads[0] = region_words(b, b->m->in_region, piece),
                        .writes = region_words(b, b->m->out_region, piece)};
  if (b->m->res_region != BL_NONE) touched.reads[1] = region_words(b, b->m->res_region, piece);
  memcpy(touched.lists, p->blocks, sizeof p->blocks);
  return touched;
}

// Is it the last operation that writes the layer's output?
static bool ends_layer(const builder *b) {
  return b->op + 1 == b->mapped->count || b->mapped->ops[b->op + 1].index != b->m->index;
}

static bl_status emit_run(builder *b, const placed_part *p, uint32_t piece, bl_error *err) {
  bl_descriptor d;
  uint32_t words[BL_DESCRIPTOR_WORDS];
  const bl_cut cut = bl_cut_at(b->program, b->op);
  BL_TRY(bl_describe(b->program, b->mapped, b->op, &p->part, piece, p->tile_base, p->param_base,
                     p->table, &d, err));
  (void)bl_descriptor_pack(&d, words); // bl_describe has packed it before
  bl_piece where = bl_piece_at(b->mapped, &cut, b->program->images, b->op, piece);
  bool done = p->part.tile1 == bl_tile_total(b->m) && b->m->last && ends_layer(b);
  bl_step step = {.opcode = BL_OP_RUN,
                  .bytes = sizeof words,
                  .layer = b->m->index,
                  .part = b->program->layer_parts[b->m->index]++,
                  .rows_done = done,
                  .partial = !b->m->last,
                  .last_part = done && piece + 1 == bl_piece_count(&cut, b->op),
                  .image0 = where.image0,
                  .images = where.images,
                  .row0 = where.row0,
                  .rows = where.row1 - where.row0};
  step.payload = bl_arena_alloc(b->program->arena, BL_DESCRIPTOR_WORDS, sizeof *words);
  if (step.payload == NULL) return no_memory(err);
  memcpy(step.payload, words, sizeof words);
  const bl_touched touched = run_touches(b, p, piece);
  return bl_add_step(&b->batch, step, &touched, err);
}

static bl_status place_part(builder *b, placed_part *p, bl_error *err) {
  uint32_t base[3] = {0}, count = p->part.tile1 - p->part.tile0;
  uint32_t *offsets = calloc((size_t)count * 2, sizeof *offsets);
  if (offsets == NULL) return no_memory(err);
  memset(b->current, 0, sizeof b->current);
  bl_status status = place_weights(b, &p->part, &base[0], err);
  if (status == BL_OK) status = place_params(b, &p->part, &p->param_base, err);
  if (status == BL_OK) status = place_table(b, &p->table, err);
  if (status == BL_OK) status = place_lists(b, &p->part, false, offsets, &base[1], err);
  if (status == BL_OK) status = place_lists(b, &p->part, true, offsets + count, &base[2], err);
  if (status == BL_OK)
    status = place_tiles(b, &p->part, base, offsets, offsets + count, &p->tile_base, err);
  memcpy(p->blocks, b->current, sizeof p->blocks);
  free(offsets);
  return status;
}

static void select_op(builder *b, uint32_t op, uint32_t limit[BL_LIST_MEMORIES]) {
  b->op = op;
  b->m = &b->mapped->ops[op];
  for (int i = 0; i < BL_LIST_MEMORIES; i++) {
    uint32_t depth = bl_memory_depth(&b->program->config, (bl_memory_kind)i);
    limit[i] = b->streamed[i] ? depth / 3 : depth;
  }
}

// Room to note where the next part is placed.
static bl_status next_place(builder *b, bl_error *err) {
  if (!b->again) b->place_at = b->place_count++;
  if (b->place_at < b->place_room) return BL_OK;
  uint32_t room = b->place_room == 0 ? 64 : b->place_room * 2;
  void *places = realloc(b->places, room * sizeof *b->places);
  if (places == NULL) return no_memory(err);
  b->places = places;
  b->place_room = room;
  return BL_OK;
}

// One operation on one piece: its parts, each with its lists and a run.
static bl_status emit_op(builder *b, uint32_t op, uint32_t piece, bl_error *err) {
  uint32_t limit[BL_LIST_MEMORIES];
  select_op(b, op, limit);
  for (placed_part p = {.part = {0, b->m->tile0}}; p.part.tile1 < b->m->tile1 && b->overflow < 0;) {
    BL_TRY(bl_next_part(b->m, p.part.tile1, limit, &p.part, err));
    BL_TRY(next_place(b, err));
    BL_TRY(place_part(b, &p, err));
    if (b->overflow < 0) BL_TRY(emit_run(b, &p, piece, err));
    b->place_at++;
  }
  return BL_OK;
}

// ---- The program -------------------------------------------------------------------------------

// Piece by piece through the cut's operations. What stays on the device is placed with the first
// piece; the others find it there.
static bl_status emit_cut(builder *b, bl_error *err) {
  const bl_cut cut = bl_cut_at(b->program, 0);
  for (uint32_t piece = 0; cut.op1 > 0 && piece < cut.pieces && b->overflow < 0; piece++) {
    b->again = piece > 0;
    b->place_at = 0;
    if (piece > 0 || !b->program->ahead)
      BL_TRY(add_transfer(b, bl_input_load(b->program, b->mapped, piece), err));
    for (uint32_t op = 0; op < cut.op1 && b->overflow < 0; op++)
      BL_TRY(emit_op(b, op, piece, err));
  }
  b->again = false;
  return BL_OK;
}

// What a piece of a stage loads, or sends, each once.
static bl_status spill(builder *b, const bl_cut *cut, uint32_t piece, bool load, bl_error *err) {
  uint32_t touched[3 * BL_CUT_OPS];
  const uint32_t count = bl_stage_regions(b->mapped, cut, touched);
  const uint32_t output = bl_holder(b->mapped, b->graph->output);
  for (uint32_t i = 0; i < count; i++) {
    const uint32_t holder = bl_holder(b->mapped, touched[i]);
    if (load ? !bl_stage_loads(b->mapped, cut, holder) : !bl_stage_sends(b->mapped, cut, holder))
      continue;
    const bl_step step = bl_spill_step(b->program, b->mapped, cut, touched[i], piece, load);
    if (holder != 0 && holder != output)
      b->program->figures.spilled_bytes += load ? step.bytes : 4 * bl_program_answer_words(&step);
    BL_TRY(add_transfer(b, step, err));
  }
  return BL_OK;
}

// Does a stage load rows of a concatenation that it sends with one part more? A piece may load rows
// that the one before sends: the part that is there has the same bits again, but they must not
// change under way.
static bool sends_what_it_loads(const bl_mapped *mapped, const bl_cut *cut) {
  for (uint32_t i = cut->op0; i < cut->op1; i++)
    if (bl_stage_loads(mapped, cut, mapped->ops[i].out_region)) return true;
  return false;
}

// A piece overwrites what the one before it held, and loads what stages before it sent.
static bl_status emit_stage(builder *b, const bl_spill_stage *stage, bl_error *err) {
  const bl_cut cut = {stage->op0, stage->op1, stage->pieces, true};
  const uint32_t first_place = b->place_count;
  const bool waits = sends_what_it_loads(b->mapped, &cut);
  for (uint32_t piece = 0; piece < cut.pieces && b->overflow < 0; piece++) {
    b->again = piece > 0;
    b->place_at = first_place;
    if (piece > 0 || cut.op0 > 0) {
      bl_step fence = {
          .opcode = BL_OP_FENCE, .layer = BL_STEP_NO_LAYER, .stored = piece == 0 || waits};
      BL_TRY(bl_add_step(&b->batch, fence, NULL, err));
    }
    BL_TRY(spill(b, &cut, piece, true, err));
    for (uint32_t op = cut.op0; op < cut.op1 && b->overflow < 0; op++)
      BL_TRY(emit_op(b, op, piece, err));
    BL_TRY(spill(b, &cut, piece, false, err));
  }
  b->again = false;
  return BL_OK;
}

// The share of the next batch's input, or of its first piece, that goes on beside operation `op`:
// behind the last reader and one more, in proportion to what the operations take.
static bl_status emit_ahead(builder *b, uint32_t op, bl_error *err) {
  const bl_region *r = &b->program->regions[0];
  bl_step step = b->program->first_load;
  const uint32_t first = b->input_reader + 2, total = step.bytes / r->load_bytes;
  uint64_t all = 0, done = 0, issue;
  if (!b->program->ahead || op < first) return BL_OK;
  for (uint32_t i = first; i < b->mapped->count; i++) {
    const bl_mapping *m = &b->mapped->ops[i];
    all += bl_estimate(m, (uint64_t)b->program->images * m->out->h * m->out->w, &issue);
    if (i == op) done = all;
  }
  // whole stream words, the rest at the end
  uint32_t end = op + 1 == b->mapped->count ? total : (uint32_t)(total * done / all) / 4 * 4;
  if (end == b->input_words) return BL_OK;
  step.next = true;
  step.address += b->input_words;
  step.store_offset += b->input_words * r->load_bytes;
  step.bytes = (end - b->input_words) * r->load_bytes;
  b->input_words = end;
  return add_transfer(b, step, err);
}

// Everything but the fences: those that keep the steps of a batch, and of the next, apart are
// placed when all of them are known.
static bl_status emit_batch(builder *b, bl_error *err) {
  bl_program *p = b->program;
  uint32_t address, argument, bytes;
  b->input_reader = bl_last_reader(b->mapped);
  if (p->ahead) p->first_load = bl_input_load(p, b->mapped, 0);
  for (uint32_t s = 0; s < p->stage_count && b->overflow < 0; s++)
    BL_TRY(emit_stage(b, &p->stages[s], err));
  if (p->stage_count > 0) return BL_OK;
  if (p->input.cut_ops == 0 && !p->ahead)
    BL_TRY(add_transfer(b, bl_input_load(p, b->mapped, 0), err));
  BL_TRY(emit_cut(b, err));
  for (uint32_t op = p->input.cut_ops; op < b->mapped->count && b->overflow < 0; op++) {
    BL_TRY(emit_op(b, op, 0, err));
    BL_TRY(emit_ahead(b, op, err));
  }
  bl_program_send(p, p->output, &address, &argument, &bytes);
  bl_step send = {.opcode = BL_OP_SEND,
                  .address = address,
                  .argument = argument,
                  .stored = true,
                  .store_offset = p->output_offset,
                  .layer = BL_STEP_NO_LAYER};
  return add_transfer(b, send, err);
}

// Loads words begin .. end-1 of a resident memory, leaving out what travels as codes.
static bl_status load_resident(builder *b, int memory, bl_error *err) {
  const uint32_t unit = bl_word_bytes(&b->program->config, memory);
  uint32_t at = 0, blocks = memory == BL_MEMORY_WEIGHTS ? b->code_count : 0;
  for (uint32_t i = 0; i <= blocks; i++) {
    uint32_t end = i < blocks ? b->codes[i].address : b->used[memory];
    if (end > at)
      BL_TRY(
          add_load(b, &b->setup, memory, at, end - at, b->image[memory] + (size_t)at * unit, err));
    if (i == blocks) break;
    BL_TRY(add_codes(b, &b->setup, &b->codes[i], err));
    at = b->codes[i].address + b->codes[i].words;
  }
  return BL_OK;
}

static bl_status emit_setup(builder *b, bl_error *err) {
  b->m = NULL;
  for (int i = 0; i < BL_LIST_MEMORIES; i++) {
    b->program->figures.used[i] = b->used[i];
    b->program->figures.resident[i] = !b->streamed[i];
    if (!b->streamed[i] && b->used[i] > 0) BL_TRY(load_resident(b, i, err));
  }
  return BL_OK;
}

static bl_status take_steps(bl_arena *arena, const bl_steps *from, bl_step **to, uint32_t *count,
                            bl_error *err) {
  *to = bl_arena_alloc(arena, from->count, sizeof **to);
  if (*to == NULL) return no_memory(err);
  if (from->count > 0) memcpy(*to, from->items, from->count * sizeof **to);
  *count = from->count;
  return BL_OK;
}

// One attempt with the memories in `streamed` streamed; b->overflow names one more, or is -1.
static bl_status attempt(builder *b, bl_error *err) {
  bl_program *p = b->program;
  for (int i = 0; i < BL_LIST_MEMORIES; i++) {
    b->image[i] = block(b, i, bl_memory_depth(&p->config, (bl_memory_kind)i));
    if (b->image[i] == NULL) return no_memory(err);
  }
  p->figures.weight_bytes = p->figures.streamed_bytes = p->figures.spilled_bytes = 0;
  memset(p->layer_parts, 0, b->graph->layer_count * sizeof *p->layer_parts);
  BL_TRY(emit_batch(b, err));
  if (b->overflow >= 0) return BL_OK;
  BL_TRY(bl_place_fences(&b->batch, err));
  BL_TRY(emit_setup(b, err));
  BL_TRY(take_steps(p->arena, &b->setup, &p->setup, &p->setup_count, err));
  return take_steps(p->arena, &b->batch, &p->batch, &p->batch_count, err);
}

static void free_builder(builder *b) {
  for (int i = 0; i < BL_LIST_MEMORIES; i++)
    free(b->image[i]);
  for (uint32_t i = 0; i < b->code_count; i++)
    free(b->codes[i].payload);
  free(b->codes);
  free(b->places);
  bl_free_steps(&b->setup);
  bl_free_steps(&b->batch);
}

bl_status bl_stream(bl_program *program, const bl_int_graph *graph, const bl_mapped *mapped,
                    bl_error *err) {
  bool streamed[BL_LIST_MEMORIES] = {false};
  for (;;) {
    builder b = {.program = program, .graph = graph, .mapped = mapped, .overflow = -1};
    // Tiles hold the places of the other lists, so where those move from piece to piece, tiles do.
    if ((program->input.cut_ops > 0 || program->stage_count > 0) &&
        (streamed[BL_MEMORY_WEIGHTS] || streamed[BL_MEMORY_K] || streamed[BL_MEMORY_PASSES]))
      streamed[BL_MEMORY_TILES] = true;
    memcpy(b.streamed, streamed, sizeof streamed);
    bl_status status = attempt(&b, err);
    free_builder(&b);
    if (status != BL_OK || b.overflow < 0) return status;
    streamed[b.overflow] = true;
  }
}
