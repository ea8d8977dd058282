// SPDX-License-Identifier: Apache-2.0
// Parser, memories and answers of the functional device.
#include "sim/functional_device.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "sim/functional_internal.h"

enum { IDENTITY_WORDS = 15 };

static uint32_t depth_of(const bl_config *config, bl_memory memory) {
  const uint32_t depths[MEM_COUNT] = {config->weight_depth, config->param_depth, config->k_depth,
                                      config->pass_depth,   config->tile_depth,  config->act_depth,
                                      config->table_depth};
  return depths[memory];
}

static uint32_t crc_words(const uint32_t *words, size_t count) {
  return (uint32_t)crc32(0, (const Bytef *)words, (uInt)(count * 4));
}

// ---- Opening and closing
// ---------------------------------------------------------------------------

static size_t longest_load(const bl_config *c) {
  size_t weights =
      (size_t)c->weight_depth * c->cols * c->lanes / 2 + BL_CONTRACT_CODEBOOK_BYTES; // codes
  size_t params = (size_t)c->param_depth * c->cols * BL_CONTRACT_PARAM_BYTES;
  size_t act = (size_t)c->act_depth * c->lanes / 8;
  size_t longest = weights > act ? weights : act;
  longest = longest > params ? longest : params;
  size_t lists = (size_t)(c->pass_depth > c->tile_depth ? c->pass_depth : c->tile_depth) * 8;
  return longest > lists ? longest : lists;
}

// Slicing by eight (Kounavis and Berry 2005).
static void make_crc_table(uint32_t table[8][256]) {
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; bit++)
      crc = (crc >> 1) ^ ((crc & 1u) != 0 ? 0xEDB88320u : 0u);
    table[0][i] = crc;
  }
  for (uint32_t i = 0; i < 256; i++)
    for (int k = 1; k < 8; k++)
      table[k][i] = (table[k - 1][i] >> 8) ^ table[0][table[k - 1][i] & 255u];
}

// Four bytes, with `behind` more bytes to come in the same step.
static uint32_t slice(const bl_functional *d, uint32_t bytes, int behind) {
  return d->crc_table[behind + 3][bytes & 255u] ^ d->crc_table[behind + 2][bytes >> 8 & 255u] ^
         d->crc_table[behind + 1][bytes >> 16 & 255u] ^ d->crc_table[behind][bytes >> 24];
}

uint32_t bl_functional_word_crc(const bl_functional *d, uint32_t address, uint64_t word) {
  const uint32_t low = (uint32_t)word;
  if (d->config.lanes == 16) {
    uint32_t crc = slice(d, ~address, 0) ^ low; // two bytes are left
    return ~(d->crc_table[1][crc & 255u] ^ d->crc_table[0][crc >> 8 & 255u] ^ crc >> 16);
  }
  uint32_t crc = slice(d, ~address, 4) ^ slice(d, low, 0);
  if (d->config.lanes == 64) crc = slice(d, crc ^ (uint32_t)(word >> 32), 0);
  return ~crc;
}

static bool allocate(bl_functional *d) {
  const bl_config *c = &d->config;
  size_t row = (size_t)c->weight_depth * c->cols;
  if (c->lanes == 64)
    d->weights64 = aligned_alloc(64, row * sizeof *d->weights64);
  else
    d->weights32 = aligned_alloc(64, row * sizeof *d->weights32);
  if (d->weights64 != NULL) memset(d->weights64, 0, row * sizeof *d->weights64);
  if (d->weights32 != NULL) memset(d->weights32, 0, row * sizeof *d->weights32);
  d->params = calloc((size_t)c->param_depth * 3 * c->cols, sizeof *d->params);
  d->k = calloc(c->k_depth, sizeof *d->k);
  d->passes = calloc(c->pass_depth, sizeof *d->passes);
  d->tiles = calloc(c->tile_depth, sizeof *d->tiles);
  d->act = calloc(c->act_depth, sizeof *d->act);
  d->tables = calloc(c->table_depth + 1u, sizeof *d->tables);
  d->payload_capacity = (uint32_t)(longest_load(c) / 4 + 2);
  d->payload = calloc(d->payload_capacity, sizeof *d->payload);
  d->out_capacity = 2 * ((size_t)c->act_depth * c->lanes / 32 + 64);
  d->out = calloc(d->out_capacity, sizeof *d->out);
  return (d->weights32 != NULL || d->weights64 != NULL) && d->params != NULL && d->k != NULL &&
         d->passes != NULL && d->tiles != NULL && d->act != NULL && d->tables != NULL &&
         d->payload != NULL && d->out != NULL;
}

bl_functional *bl_functional_open(const bl_config *config, bl_popcount popcount) {
  if (config->acc_w < BL_CONTRACT_LEAST_ACC_W || config->acc_w > BL_CONTRACT_MOST_ACC_W)
    return NULL;
  bl_functional *d = calloc(1, sizeof *d);
  if (d == NULL) return NULL;
  d->config = *config;
  d->planted_run = -1;
  make_crc_table(d->crc_table);
  if (!bl_kernel_choose(config, popcount, &d->kernels) || !allocate(d)) {
    bl_functional_close(d);
    return NULL;
  }
  return d;
}

void bl_functional_close(bl_functional *d) {
  if (d == NULL) return;
  void *const parts[] = {d->weights32, d->weights64, d->params, d->k,       d->passes,
                         d->tiles,     d->act,       d->tables, d->payload, d->out};
  for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
    free(parts[i]);
  free(d);
}

void bl_functional_plant_fault(bl_functional *device, int64_t run) {
  device->planted_run = run < 0 ? -1 : run;
}

const char *bl_functional_popcount(const bl_functional *device) {
  return device->kernels.name;
}

// ---- Answers
// ---------------------------------------------------------------------------------------

static void put_word(bl_functional *d, uint32_t word) {
  d->out[d->out_have++] = word;
}

static void answer_header(bl_functional *d, uint32_t opcode_and_tag, uint32_t bytes,
                          uint32_t status, uint32_t info) {
  uint32_t *h = d->out + d->out_have;
  put_word(d, (uint32_t)BL_CONTRACT_ANSWER_MAGIC << 24 | (opcode_and_tag & 0xFFFFFF));
  put_word(d, bytes);
  put_word(d, status);
  put_word(d, info);
  put_word(d, crc_words(h, 4));
}

static void answer(bl_functional *d, uint32_t status, uint32_t info) {
  answer_header(d, d->header[0], 0, status, info);
}

// A payload of `words` words that was already put behind the header.
static void close_payload(bl_functional *d, size_t words) {
  put_word(d, crc_words(d->out + d->out_have - words, words));
}

static void answer_identity(bl_functional *d) {
  const bl_config *c = &d->config;
  const uint32_t words[IDENTITY_WORDS] = {BL_CONTRACT_IDENTITY,
                                          BL_CONTRACT_VERSION,
                                          c->rows,
                                          c->cols,
                                          c->lanes,
                                          c->acc_w,
                                          c->weight_depth,
                                          c->param_depth,
                                          c->k_depth,
                                          c->pass_depth,
                                          c->tile_depth,
                                          c->act_depth,
                                          c->row_depth,
                                          c->table_depth,
                                          c->gather_words};
  answer_header(d, d->header[0], IDENTITY_WORDS * 4, BL_STATUS_OK, 0);
  for (int i = 0; i < IDENTITY_WORDS; i++)
    put_word(d, words[i]);
  close_payload(d, IDENTITY_WORDS);
}

static void answer_counters(bl_functional *d) {
  answer_header(d, d->header[0], BL_COUNTER_COUNT * 8, BL_STATUS_OK, 0);
  for (int i = 0; i < BL_COUNTER_COUNT; i++) {
    uint64_t value = i == BL_COUNTER_CYCLES || i == BL_COUNTER_ISSUE ? d->steps : 0;
    put_word(d, (uint32_t)value);
    put_word(d, (uint32_t)(value >> 32));
  }
  close_payload(d, BL_COUNTER_COUNT * 2);
  if ((d->header[3] & 1) != 0) d->steps = 0;
}

static void answer_signature(bl_functional *d, uint32_t info, uint32_t signature) {
  answer_header(d, d->header[0], 4, BL_STATUS_OK, info);
  put_word(d, signature);
  close_payload(d, 1);
}

static void answer_region(bl_functional *d, uint32_t address, uint32_t words, uint32_t unit) {
  uint32_t bytes = words * unit, out_words = (bytes + 3) / 4;
  answer_header(d, d->header[0], bytes, BL_STATUS_OK, 0);
  uint8_t *out = (uint8_t *)(d->out + d->out_have);
  memset(out, 0, (size_t)out_words * 4);
  for (uint32_t i = 0; i < words; i++)
    memcpy(out + (size_t)i * unit, &d->act[address + i], unit);
  d->out_have += out_words;
  close_payload(d, out_words);
}

// ---- Races
// -----------------------------------------------------------------------------------------

static bool overlap(bl_span a, bl_span b) {
  return a.lo < b.hi && b.lo < a.hi && a.lo < a.hi && b.lo < b.hi;
}

static bool load_races(const bl_functional *d, bl_memory memory, bl_span span) {
  for (int i = 0; i < 2; i++)
    if (overlap(d->runs[i].used[memory], span) || overlap(d->sends[i].used[memory], span) ||
        (memory == MEM_ACT &&
         (overlap(d->runs[i].written, span) || overlap(d->runs[i].second, span))))
      return true;
  return false;
}

static bool run_races(const bl_functional *d, const bl_use *use) {
  return overlap(d->sends[0].used[MEM_ACT], use->written) ||
         overlap(d->sends[1].used[MEM_ACT], use->written);
}

static void remember(bl_use list[2], const bl_use *use) {
  list[1] = list[0];
  list[0] = *use;
}

static void forget_flights(bl_functional *d) {
  memset(d->runs, 0, sizeof d->runs);
  memset(d->sends, 0, sizeof d->sends);
}

// ---- Loads
// -----------------------------------------------------------------------------------------

static void poison(bl_functional *d, bl_memory memory, bl_span span, uint32_t columns) {
  bl_span *p = &d->poison[memory];
  if (p->lo >= p->hi) {
    *p = span;
    d->poison_columns[memory] = columns;
    return;
  }
  if (columns > d->poison_columns[memory]) d->poison_columns[memory] = columns;
  if (span.lo < p->lo) p->lo = span.lo;
  if (span.hi > p->hi) p->hi = span.hi;
}

static void poison_all(bl_functional *d, bl_memory memory) {
  uint32_t columns = memory <= MEM_PARAMS ? d->config.cols : 1;
  poison(d, memory, (bl_span){0, depth_of(&d->config, memory)}, columns);
}

static uint32_t poison_mask(const bl_functional *d) {
  uint32_t mask = 0;
  for (uint32_t m = 0; m < MEM_COUNT; m++)
    if (d->poison[m].lo < d->poison[m].hi) mask |= 1u << m;
  return mask;
}

static bl_memory memory_of(uint8_t opcode) {
  return opcode == BL_OP_LOAD_CODES ? MEM_WEIGHTS : (bl_memory)(opcode - BL_OP_LOAD_WEIGHTS);
}

static bool is_load(uint8_t opcode) {
  return (opcode >= BL_OP_LOAD_WEIGHTS && opcode <= BL_OP_LOAD_TABLES) ||
         opcode == BL_OP_LOAD_CODES;
}

// Bytes of a unit, and into how many columns units are dealt; 0 when the argument is out of range.
static uint32_t unit_of(const bl_functional *d, uint8_t opcode, uint32_t *columns) {
  uint32_t upper = d->header[3] >> 24;
  *columns = 1;
  switch (opcode) {
  case BL_OP_LOAD_WEIGHTS:
  case BL_OP_LOAD_PARAMS:
    *columns = upper;
    if (upper < 1 || upper > d->config.cols) return 0;
    return opcode == BL_OP_LOAD_WEIGHTS ? d->config.lanes / 8 : BL_CONTRACT_PARAM_BYTES;
  case BL_OP_LOAD_CODES:
    *columns = upper;
    if (upper < 1 || upper > d->config.cols || (d->header[3] >> 16 & 255) == 0) return 0;
    return d->config.lanes / 2;
  case BL_OP_LOAD_TABLES:
    return 1;
  case BL_OP_LOAD_K_LIST:
    return BL_CONTRACT_K_BYTES;
  case BL_OP_LOAD_PASS_LIST:
  case BL_OP_LOAD_TILE_LIST:
    return BL_CONTRACT_PASS_BYTES;
  default:
    return upper >= 1 && upper <= d->config.lanes / 8 ? upper : 0;
  }
}

static void store_param(bl_functional *d, uint32_t row, uint32_t column, const uint32_t *words) {
  uint32_t cols = d->config.cols;
  int64_t *at = d->params + (size_t)row * 3 * cols + column;
  bl_param param;
  bl_param_unpack(words, &param);
  at[0] = param.mult;
  at[cols] = param.bias;
  at[2 * cols] = param.shift;
}

static void store_unit(bl_functional *d, bl_memory memory, uint32_t address, uint32_t column,
                       const uint8_t *bytes, uint32_t unit) {
  uint32_t words[BL_PARAM_WORDS] = {0};
  memcpy(words, bytes, unit);
  uint64_t value = words[0] | (uint64_t)words[1] << 32;
  size_t at = (size_t)address * d->config.cols + column;
  switch (memory) {
  case MEM_WEIGHTS:
    if (d->config.lanes == 64)
      d->weights64[at] = value;
    else
      d->weights32[at] = (uint32_t)value;
    return;
  case MEM_PARAMS:
    store_param(d, address, column, words);
    return;
  case MEM_K:
    d->k[address] = (uint16_t)value;
    return;
  case MEM_PASS:
    bl_pass_unpack(words, &d->passes[address]);
    return;
  case MEM_TABLES:
    d->tables[address] = (uint8_t)value;
    return;
  default:
    bl_tile_unpack(words, &d->tiles[address]);
  }
}

// Activation words, the load that every batch has: units of whole words without a call for each.
static void store_activations(bl_functional *d, uint32_t address, const uint8_t *bytes,
                              uint32_t count, uint32_t unit) {
  for (uint32_t i = 0; i < count; i++, bytes += unit) {
    uint64_t value = 0;
    if (unit == 4)
      memcpy(&value, bytes, 4);
    else if (unit == 8)
      memcpy(&value, bytes, 8);
    else
      for (uint32_t b = 0; b < unit; b++)
        value |= (uint64_t)bytes[b] << (8 * b);
    d->act[address + i] = value;
  }
}

// Words of weight memory from the first to the last that a load of `rows` rows of codes writes.
static uint64_t code_words(const bl_functional *d, uint64_t rows) {
  uint32_t planes = (uint32_t)__builtin_popcount(d->header[3] >> 16 & 255);
  return (planes - 1u) * (uint64_t)(d->header[3] & 0xFFFF) + rows;
}

// One unit of codes: a weight word for each plane of the codebook's values.
static void store_codes(bl_functional *d, uint32_t address, uint32_t column, const uint8_t *codes,
                        const uint8_t *codebook) {
  for (uint32_t mask = d->header[3] >> 16 & 255; mask != 0; mask &= mask - 1) {
    uint64_t word = 0;
    for (uint32_t lane = 0; lane < d->config.lanes; lane++) {
      uint8_t value = codebook[codes[lane / 2] >> (lane % 2 * 4) & 15];
      word |= (uint64_t)(value >> __builtin_ctz(mask) & 1) << lane;
    }
    if (d->config.lanes == 64)
      d->weights64[(size_t)address * d->config.cols + column] = word;
    else
      d->weights32[(size_t)address * d->config.cols + column] = (uint32_t)word;
    address += d->header[3] & 0xFFFF;
  }
}

static void store_units(bl_functional *d, uint8_t opcode, uint32_t count, uint32_t columns,
                        uint32_t unit) {
  const uint8_t *bytes = (const uint8_t *)d->payload;
  const bl_memory memory = memory_of(opcode);
  if (memory == MEM_ACT) {
    store_activations(d, d->header[2], bytes, count, unit);
    return;
  }
  const uint8_t *first = bytes + (opcode == BL_OP_LOAD_CODES ? BL_CONTRACT_CODEBOOK_BYTES : 0);
  for (uint32_t i = 0; i < count; i++) {
    uint32_t address = d->header[2] + i / columns;
    if (opcode == BL_OP_LOAD_CODES)
      store_codes(d, address, i % columns, first + (size_t)i * unit, bytes);
    else
      store_unit(d, memory, address, i % columns, first + (size_t)i * unit, unit);
  }
}

static void finish_load(bl_functional *d, uint8_t opcode, bool sound) {
  bl_memory memory = memory_of(opcode);
  uint32_t columns, unit = unit_of(d, opcode, &columns);
  if (unit == 0) return; // length_ok has seen to that
  bool codes = opcode == BL_OP_LOAD_CODES;
  uint32_t count = (d->header[1] - (codes ? BL_CONTRACT_CODEBOOK_BYTES : 0)) / unit;
  uint32_t rows = count / columns;
  bl_span span = {d->header[2], d->header[2] + (codes ? (uint32_t)code_words(d, rows) : rows)};
  store_units(d, opcode, count, columns, unit);
  if (load_races(d, memory, span)) answer(d, BL_FUNCTIONAL_RACE, memory);
  bl_span *p = &d->poison[memory];
  if (!sound) {
    poison(d, memory, span, columns);
    answer(d, BL_STATUS_PAYLOAD, 0);
  } else if (span.lo <= p->lo && span.hi >= p->hi && columns >= d->poison_columns[memory]) {
    *p = (bl_span){0, 0};
  }
}

// ---- Runs
// ------------------------------------------------------------------------------------------

static bool descriptor_ok(const bl_config *c, const bl_descriptor *l) {
  const uint32_t at_least_one[] = {
      l->in_h,       l->in_w,       l->in_words, l->images,   l->kernel_h,         l->kernel_w,
      l->dilation_h, l->dilation_w, l->stride_h, l->stride_w, l->step_h,           l->step_w,
      l->pool_h,     l->pool_w,     l->out_h,    l->out_w,    l->out_pixel_stride, l->tiles};
  for (size_t i = 0; i < sizeof at_least_one / sizeof at_least_one[0]; i++)
    if (at_least_one[i] == 0) return false;
  return l->in_planes >= 1 && l->in_planes <= 8 && l->out_planes >= 1 && l->out_planes <= 8 &&
         l->in_last_lanes >= 1 && l->in_last_lanes <= c->lanes && l->in_last_bytes >= 1 &&
         l->in_last_bytes <= c->lanes / 8 && l->out_last_cols >= 1 && l->out_last_cols <= c->cols &&
         l->out_slot < c->lanes / c->cols && l->gather_mode <= 2 &&
         (l->gather_mode != 2 || l->in_planes <= c->rows) &&
         (l->gather_mode == 0 || l->res_planes == 0) && l->res_planes <= 8 &&
         (l->res_planes == 0 || l->res_words >= 1) &&
         l->out_table * (uint32_t)BL_CONTRACT_TABLE_ENTRIES <= c->table_depth;
}

static void finish_run(bl_functional *d, bool sound) {
  bl_descriptor layer;
  uint32_t mask = poison_mask(d);
  if (!sound) {
    answer(d, BL_STATUS_PAYLOAD, 0);
    return;
  }
  bl_descriptor_unpack(d->payload, &layer);
  if (!descriptor_ok(&d->config, &layer)) {
    answer(d, BL_STATUS_DESCRIPTOR, 0);
    return;
  }
  if (mask != 0) {
    answer(d, BL_STATUS_POISONED, mask);
    return;
  }
  bl_use use = bl_functional_use(d, &layer);
  bool race = run_races(d, &use);
  remember(d->runs, &use);
  uint64_t steps = 0;
  uint32_t signature = 0, faults = bl_functional_run(d, &layer, &steps, &signature);
  d->steps += steps;
  if (faults == BL_RUN_NO_MEMORY)
    answer(d, BL_FUNCTIONAL_MEMORY, 0);
  else if (faults != 0)
    answer(d, BL_STATUS_FAULT, faults);
  else if (race)
    answer(d, BL_FUNCTIONAL_RACE, MEM_ACT);
  else
    answer_signature(d, (uint32_t)steps, signature);
}

// ---- Parser
// ----------------------------------------------------------------------------------------

static bool length_ok(const bl_functional *d, uint8_t opcode) {
  uint32_t length = d->header[1], columns;
  if (length > BL_CONTRACT_MAX_PAYLOAD) return false;
  if (opcode == BL_OP_RUN) return length == BL_DESCRIPTOR_WORDS * 4;
  if (opcode == BL_OP_SEND) {
    uint32_t unit = d->header[3] >> 24;
    return length == 0 && unit >= 1 && unit <= d->config.lanes / 8 &&
           (d->header[3] & 0xFFFFFF) != 0;
  }
  if (!is_load(opcode)) return length == 0;
  uint32_t unit = unit_of(d, opcode, &columns);
  if (opcode == BL_OP_LOAD_CODES) {
    if (length <= BL_CONTRACT_CODEBOOK_BYTES) return false;
    length -= BL_CONTRACT_CODEBOOK_BYTES;
  }
  return unit != 0 && length != 0 && length % (unit * columns) == 0;
}

static bool address_ok(const bl_functional *d, uint8_t opcode) {
  uint64_t address = d->header[2];
  if (opcode == BL_OP_SEND) return address + (d->header[3] & 0xFFFFFF) <= d->config.act_depth;
  if (!is_load(opcode)) return true;
  uint32_t columns, unit = unit_of(d, opcode, &columns);
  if (unit == 0) return false;
  uint64_t words = d->header[1] / (unit * columns);
  if (opcode == BL_OP_LOAD_CODES)
    words = code_words(d, (d->header[1] - BL_CONTRACT_CODEBOOK_BYTES) / (unit * columns));
  return address + words <= depth_of(&d->config, memory_of(opcode));
}

static bool opcode_ok(uint8_t opcode) {
  return (opcode >= BL_OP_IDENTIFY && opcode <= BL_OP_COUNTERS) || is_load(opcode) ||
         opcode == BL_OP_RUN || opcode == BL_OP_SEND;
}

static void execute(bl_functional *d, uint8_t opcode) {
  switch (opcode) {
  case BL_OP_IDENTIFY:
    answer_identity(d);
    return;
  case BL_OP_RESET:
    memset(d->poison, 0, sizeof d->poison);
    d->steps = 0;
    forget_flights(d);
    answer(d, BL_STATUS_OK, 0);
    return;
  case BL_OP_FENCE:
    forget_flights(d);
    answer(d, BL_STATUS_OK, 0);
    return;
  case BL_OP_COUNTERS:
    forget_flights(d);
    answer_counters(d);
    return;
  default: { // SEND
    uint32_t words = d->header[3] & 0xFFFFFF;
    bl_use use = {.written = {0, 0}};
    use.used[MEM_ACT] = (bl_span){d->header[2], d->header[2] + words};
    remember(d->sends, &use);
    answer_region(d, d->header[2], words, d->header[3] >> 24);
  }
  }
}

// A sound header: decides what becomes of the packet.
static void take_header(bl_functional *d) {
  uint8_t opcode = (uint8_t)(d->header[0] >> 16);
  d->hunting = false;
  d->header_have = 0;
  d->verdict = BL_STATUS_OK;
  if (!opcode_ok(opcode))
    d->verdict = BL_STATUS_OPCODE;
  else if (!length_ok(d, opcode))
    d->verdict = BL_STATUS_LENGTH;
  else if (!address_ok(d, opcode))
    d->verdict = BL_STATUS_ADDRESS;
  if (d->verdict != BL_STATUS_OK) {
    if (is_load(opcode)) poison_all(d, memory_of(opcode));
    answer(d, d->verdict, 0);
  }
  uint32_t length = d->header[1] & 0xFFFFFF;
  d->payload_kept = d->verdict == BL_STATUS_OK;
  d->payload_have = 0;
  d->payload_left = length == 0 ? 0 : (length + 3) / 4 + 1;
  if (length == 0 && d->verdict == BL_STATUS_OK) execute(d, opcode);
}

static void take_header_word(bl_functional *d, uint32_t word) {
  d->header[d->header_have++] = word;
  if (d->header_have < BL_CONTRACT_HEADER_WORDS) return;
  if (d->header[0] >> 24 == BL_CONTRACT_REQUEST_MAGIC && crc_words(d->header, 4) == d->header[4]) {
    take_header(d);
    return;
  }
  if (!d->hunting) answer_header(d, 0, 0, BL_STATUS_HEADER, d->header[0]);
  d->hunting = true;
  memmove(d->header, d->header + 1, (BL_CONTRACT_HEADER_WORDS - 1) * sizeof *d->header);
  d->header_have--;
}

static void take_payload(bl_functional *d, const uint32_t *words, uint32_t count) {
  if (d->payload_kept) memcpy(d->payload + d->payload_have, words, count * sizeof *words);
  d->payload_have += count;
  d->payload_left -= count;
  if (d->payload_left > 0 || !d->payload_kept) return;
  uint8_t opcode = (uint8_t)(d->header[0] >> 16);
  uint32_t body = d->payload_have - 1;
  bool sound = crc_words(d->payload, body) == d->payload[body];
  if (opcode == BL_OP_RUN)
    finish_run(d, sound);
  else
    finish_load(d, opcode, sound);
}

// ---- Transport
// -------------------------------------------------------------------------------------

static void soft_reset(bl_functional *d) {
  d->header_have = d->payload_left = d->payload_have = 0;
  d->hunting = false;
  d->out_have = d->out_taken = 0;
  d->steps = 0;
  memset(d->poison, 0, sizeof d->poison);
  forget_flights(d);
}

// Room for the longest answer, so that a packet is only begun when its answer fits.
static bool has_room(bl_functional *d) {
  if (d->out_taken == d->out_have) d->out_taken = d->out_have = 0;
  return d->out_have + d->out_capacity / 2 <= d->out_capacity;
}

static int32_t device_write(void *context, const uint32_t *words, uint32_t count) {
  bl_functional *d = context;
  uint32_t taken = 0;
  while (taken < count && taken < INT32_MAX / 2 && has_room(d)) {
    if (d->payload_left == 0) {
      take_header_word(d, words[taken++]);
      continue;
    }
    uint32_t now = count - taken < d->payload_left ? count - taken : d->payload_left;
    take_payload(d, words + taken, now);
    taken += now;
  }
  return (int32_t)taken;
}

static int32_t device_read(void *context, uint32_t *words, uint32_t count) {
  bl_functional *d = context;
  size_t left = d->out_have - d->out_taken;
  if (count > left) count = (uint32_t)left;
  memcpy(words, d->out + d->out_taken, count * sizeof *words);
  d->out_taken += count;
  return (int32_t)count;
}

static int32_t device_wait(void *context) {
  (void)context;
  return 0;
}

static int32_t reg_read(void *context, uint32_t offset, uint32_t *value) {
  const bl_functional *d = context;
  const bl_config *c = &d->config;
  const uint32_t identity[IDENTITY_WORDS] = {BL_CONTRACT_IDENTITY,
                                             BL_CONTRACT_VERSION,
                                             c->rows,
                                             c->cols,
                                             c->lanes,
                                             c->acc_w,
                                             c->weight_depth,
                                             c->param_depth,
                                             c->k_depth,
                                             c->pass_depth,
                                             c->tile_depth,
                                             c->act_depth,
                                             c->row_depth,
                                             c->table_depth,
                                             c->gather_words};
  if (offset % 4 != 0) return -1;
  *value = offset / 4 < IDENTITY_WORDS ? identity[offset / 4] : 0;
  if (offset == BL_REG_STATUS) *value = poison_mask(d) << 8;
  return 0;
}

static int32_t reg_write(void *context, uint32_t offset, uint32_t value) {
  if (offset == BL_REG_CONTROL && (value & 1) != 0) soft_reset(context);
  return 0;
}

const bl_transport bl_functional_transport = {device_write, device_read, device_wait, reg_read,
                                              reg_write};
