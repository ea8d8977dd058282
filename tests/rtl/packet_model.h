// SPDX-License-Identifier: Apache-2.0
// The packet rules of docs/reference/device.md once more, as slowly and literally as they stand
// there: a generator of sound, refused and damaged packets, a model of what the device must answer,
// and a checker of what it answered. For the bench of the whole RTL and the functional device.
//
// Runs are of one kind only: one pixel, one tile, one pass without words, so that the accumulator
// is 0 and the codes come from the parameters. Answers of runs, sends and all others may overtake
// each other; each of the three kinds keeps its order, and FENCE, RESET and COUNTERS wait for all.
#ifndef BITLOOM_TESTS_RTL_PACKET_MODEL_H
#define BITLOOM_TESTS_RTL_PACKET_MODEL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "drivers/bl_contract.h"

enum { PM_MEMORIES = 7, PM_CODES = PM_MEMORIES, PM_BOOK = 16 };
enum { PM_ACT = 1 << 15, PM_ROOM = 1 << 17, PM_ANSWERS = 1 << 12, PM_MAX_COLS = 16, PM_SHIFT = 20 };

typedef enum { PM_RUN, PM_SEND, PM_OTHER } pm_kind;

typedef struct {
  pm_kind kind;
  bool barrier, matched;
  bool clears;       // the counters
  uint32_t words[4]; // of the header
  uint32_t payload, payload_words;
} pm_answer;

typedef struct {
  uint32_t lo, hi, columns; // words lo..hi-1 are in doubt where lo < hi
} pm_doubt;

typedef struct {
  const bl_config *config;
  uint64_t random;
  // the device's state
  uint64_t act[PM_ACT];
  uint8_t tile0[8], pass0[8], param0[PM_MAX_COLS][9];
  bool param0_sound[PM_MAX_COLS];
  pm_doubt doubt[PM_MEMORIES];
  // the parser's
  uint32_t header[5], have, left;
  bool hunting, refused;
  uint32_t body[PM_ROOM], body_have;
  // what may be in flight since the last barrier
  bool runs_out;
  uint32_t busy_lo, busy_hi;
  // expected answers
  pm_answer answers[PM_ANSWERS];
  uint32_t answer_count;
  uint32_t payloads[PM_ROOM], payload_count;
  // the answer being received
  uint32_t got[PM_ROOM], got_have, got_want;
  // words to send
  uint32_t out[PM_ROOM], out_have;
  uint32_t statuses[9]; // answers expected with each status
  uint32_t runs;        // that were executed
  uint64_t load_sum;    // over every unit that was written
  uint64_t checks;
  char failure[160]; // empty while all is well
} pm;

static inline uint32_t pm_random(pm *m, uint32_t limit) {
  m->random ^= m->random >> 12;
  m->random ^= m->random << 25;
  m->random ^= m->random >> 27;
  return (uint32_t)((m->random * 0x2545F4914F6CDD1Du) >> 32) % limit;
}

static inline uint32_t pm_crc(const uint32_t *words, uint32_t count) {
  uint32_t crc = ~0u;
  for (uint32_t i = 0; i < count * 32; i++) {
    uint32_t bit = (words[i / 32] >> (i % 32)) & 1u;
    crc = (crc >> 1) ^ (((crc ^ bit) & 1u) != 0 ? 0xEDB88320u : 0);
  }
  return ~crc;
}

// The same over bytes.
static inline uint32_t pm_crc_bytes(uint32_t crc, uint64_t value, uint32_t bytes) {
  crc = ~crc;
  for (uint32_t i = 0; i < bytes * 8; i++)
    crc = (crc >> 1) ^ (((crc ^ (uint32_t)(value >> i)) & 1u) != 0 ? 0xEDB88320u : 0);
  return ~crc;
}

static inline void pm_check(pm *m, bool ok, const char *what, uint32_t expected, uint32_t got) {
  m->checks++;
  if (ok || m->failure[0] != 0) return;
  (void)snprintf(m->failure, sizeof m->failure, "%s: expected %08x, got %08x", what, expected, got);
}

// ---- The model
// -----------------------------------------------------------------------------------

static inline pm_answer *pm_expect(pm *m, pm_kind kind, uint32_t status, uint32_t info) {
  pm_answer *a = &m->answers[m->answer_count++];
  *a = (pm_answer){.kind = kind, .payload = m->payload_count};
  a->words[0] = 0xB8000000u | (m->header[0] & 0xFFFFFF);
  a->words[2] = status;
  a->words[3] = info;
  m->statuses[status]++;
  return a;
}

static inline void pm_payload(pm *m, pm_answer *a, uint32_t word) {
  m->payloads[m->payload_count++] = word;
  a->payload_words++;
  a->words[1] += 4;
}

static inline uint32_t pm_depth(const pm *m, uint32_t memory) {
  const bl_config *c = m->config;
  const uint32_t depths[7] = {c->weight_depth, c->param_depth, c->k_depth,    c->pass_depth,
                              c->tile_depth,   c->act_depth,   c->table_depth};
  return depths[memory];
}

static inline bool pm_is_load(uint32_t opcode) {
  return (opcode >= 0x10 && opcode < 0x10 + PM_MEMORIES) || opcode == BL_OP_LOAD_CODES;
}

static inline uint32_t pm_memory(uint32_t opcode) {
  return opcode == BL_OP_LOAD_CODES ? 0 : opcode - 0x10;
}

// Bytes of a unit of a load, and the number of columns; 0 where the argument is out of range.
static inline uint32_t pm_unit(const pm *m, uint32_t opcode, uint32_t argument, uint32_t *columns) {
  uint32_t upper = argument >> 24, word = m->config->lanes / 8, memory = pm_memory(opcode);
  bool codes = opcode == BL_OP_LOAD_CODES;
  const uint32_t units[7] = {codes ? word * 4 : word, 9, 2, 8, 8, upper, 1};
  *columns = memory < 2 ? upper : 1;
  if (memory < 2 && (upper < 1 || upper > m->config->cols)) return 0;
  if (memory == 5 && (upper < 1 || upper > word)) return 0;
  if (codes && ((argument >> 16) & 255) == 0) return 0;
  return units[memory];
}

// Words from the first plane's to the last plane's of a load of codes.
static inline uint32_t pm_span(uint32_t opcode, uint32_t argument) {
  uint32_t planes = 0;
  for (uint32_t i = 16; i < 24; i++)
    planes += (argument >> i) & 1u;
  return opcode == BL_OP_LOAD_CODES ? (planes - 1) * (argument & 0xFFFF) : 0;
}

static inline void pm_fail(pm *m, uint32_t memory, uint32_t lo, uint32_t hi, uint32_t columns) {
  pm_doubt *d = &m->doubt[memory];
  bool fresh = d->lo >= d->hi;
  d->lo = fresh || lo < d->lo ? lo : d->lo;
  d->hi = fresh || hi > d->hi ? hi : d->hi;
  d->columns = fresh || columns > d->columns ? columns : d->columns;
}

static inline uint32_t pm_poison(const pm *m) {
  uint32_t mask = 0;
  for (uint32_t i = 0; i < PM_MEMORIES; i++)
    mask |= (uint32_t)(m->doubt[i].lo < m->doubt[i].hi) << i;
  return mask;
}

static inline uint32_t pm_verdict(const pm *m) {
  uint32_t opcode = (m->header[0] >> 16) & 255, length = m->header[1], argument = m->header[3];
  uint64_t address = m->header[2];
  bool question = opcode >= 1 && opcode <= 4, load = pm_is_load(opcode);
  if (!question && !load && opcode != 0x20 && opcode != 0x21) return BL_STATUS_OPCODE;
  if (question) return length == 0 ? BL_STATUS_OK : BL_STATUS_LENGTH;
  if (opcode == 0x20) return length == BL_DESCRIPTOR_WORDS * 4 ? BL_STATUS_OK : BL_STATUS_LENGTH;
  if (opcode == 0x21) {
    uint32_t bytes = argument >> 24, words = argument & 0xFFFFFF;
    if (length != 0 || bytes < 1 || bytes > m->config->lanes / 8 || words == 0)
      return BL_STATUS_LENGTH;
    return address + words <= m->config->act_depth ? BL_STATUS_OK : BL_STATUS_ADDRESS;
  }
  uint32_t columns, unit = pm_unit(m, opcode, argument, &columns);
  uint32_t book = opcode == BL_OP_LOAD_CODES ? PM_BOOK : 0;
  if (unit == 0 || length <= book || length > BL_CONTRACT_MAX_PAYLOAD ||
      (length - book) % (unit * columns) != 0)
    return BL_STATUS_LENGTH;
  uint64_t end = address + (length - book) / (unit * columns) + pm_span(opcode, argument);
  return end <= pm_depth(m, pm_memory(opcode)) ? BL_STATUS_OK : BL_STATUS_ADDRESS;
}

static inline void pm_busy(pm *m, uint32_t lo, uint32_t hi) {
  bool fresh = m->busy_lo >= m->busy_hi;
  m->busy_lo = fresh || lo < m->busy_lo ? lo : m->busy_lo;
  m->busy_hi = fresh || hi > m->busy_hi ? hi : m->busy_hi;
}

static inline void pm_send(pm *m) {
  uint32_t unit = m->header[3] >> 24, words = m->header[3] & 0xFFFFFF, word = 0, at = 0;
  pm_answer *a = pm_expect(m, PM_SEND, BL_STATUS_OK, 0);
  for (uint32_t i = 0; i < words; i++)
    for (uint32_t b = 0; b < unit; b++) {
      word |= (uint32_t)((m->act[m->header[2] + i] >> (8 * b)) & 255) << (8 * (at++ % 4));
      if (at % 4 == 0) {
        pm_payload(m, a, word);
        word = 0;
      }
    }
  if (at % 4 != 0) pm_payload(m, a, word);
  a->words[1] = words * unit;
  pm_busy(m, m->header[2], m->header[2] + words);
}

static inline void pm_question(pm *m, uint32_t opcode) {
  const bl_config *c = m->config;
  const uint32_t identity[15] = {0x424C4F4D,      3,
                                 c->rows,         c->cols,
                                 c->lanes,        c->acc_w,
                                 c->weight_depth, c->param_depth,
                                 c->k_depth,      c->pass_depth,
                                 c->tile_depth,   c->act_depth,
                                 c->row_depth,    c->table_depth,
                                 c->gather_words};
  pm_answer *a = pm_expect(m, PM_OTHER, BL_STATUS_OK, 0);
  for (uint32_t i = 0; i < 15 && opcode == BL_OP_IDENTIFY; i++)
    pm_payload(m, a, identity[i]);
  for (uint32_t i = 0; i < 2 * BL_COUNTER_COUNT && opcode == BL_OP_COUNTERS; i++)
    pm_payload(m, a, 0); // not compared
  a->barrier = opcode != BL_OP_IDENTIFY;
  a->clears = opcode == BL_OP_RESET || (opcode == BL_OP_COUNTERS && (m->header[3] & 1) != 0);
  if (opcode == BL_OP_RESET) memset(m->doubt, 0, sizeof m->doubt);
  if (!a->barrier) return;
  m->runs_out = false;
  m->busy_lo = m->busy_hi = 0;
}

// A number for one unit written to a memory; sums of them do not depend on the order.
static inline uint64_t pm_unit_hash(uint32_t memory, uint32_t address, uint32_t column,
                                    const uint8_t *bytes, uint32_t count) {
  uint64_t hash = 0xCBF29CE484222325u ^ ((uint64_t)memory << 40 | (uint64_t)address << 8 | column);
  for (uint32_t i = 0; i < 16; i++)
    hash = (hash ^ (i < count ? bytes[i] : 0)) * 0x100000001B3u;
  return hash ^ hash >> 29;
}

// Weight words from codes; a number for each byte written.
static inline void pm_expand(pm *m, const uint8_t *book, uint32_t units, uint32_t columns) {
  uint32_t argument = m->header[3], lanes = m->config->lanes, rank = 0;
  const uint8_t *codes = book + PM_BOOK;
  for (uint32_t plane = 0; plane < 8; plane++) {
    if (((argument >> (16 + plane)) & 1u) == 0) continue;
    for (uint32_t k = 0; k < units; k++)
      for (uint32_t b = 0; b < lanes / 8; b++) {
        uint8_t byte = 0;
        for (uint32_t l = 0; l < 8; l++) {
          uint32_t at = k * lanes + b * 8 + l, code = (codes[at / 2] >> (at % 2 * 4)) & 15u;
          byte |= (uint8_t)(((book[code] >> plane) & 1u) << l);
        }
        uint32_t address = m->header[2] + rank * (argument & 0xFFFF) + k / columns;
        m->load_sum += pm_unit_hash(16 + b, address, k % columns, &byte, 1);
      }
    rank++;
  }
}

static inline void pm_load_units(pm *m, uint32_t memory, uint32_t unit, uint32_t units,
                                 uint32_t columns, bool sound) {
  const uint8_t *bytes = (const uint8_t *)m->body;
  for (uint32_t i = 0; i < units; i++, bytes += unit) {
    uint32_t address = m->header[2] + i / columns, column = i % columns;
    if (memory == 5) {
      m->act[address] = 0;
      for (uint32_t b = 0; b < unit; b++)
        m->act[address] |= (uint64_t)bytes[b] << (8 * b);
    }
    m->load_sum += pm_unit_hash(memory, address, column, bytes, unit);
    if (address != 0) continue;
    if (memory == 3) memcpy(m->pass0, bytes, 8);
    if (memory == 4) memcpy(m->tile0, bytes, 8);
    if (memory == 1) memcpy(m->param0[column], bytes, 9);
    if (memory == 1) m->param0_sound[column] = sound;
  }
}

static inline void pm_load(pm *m, bool sound) {
  uint32_t opcode = (m->header[0] >> 16) & 255, memory = pm_memory(opcode), columns;
  uint32_t unit = pm_unit(m, opcode, m->header[3], &columns), first = m->header[2];
  bool codes = opcode == BL_OP_LOAD_CODES;
  uint32_t units = (m->header[1] - (codes ? PM_BOOK : 0)) / unit;
  if (codes)
    pm_expand(m, (const uint8_t *)m->body, units, columns);
  else
    pm_load_units(m, memory, unit, units, columns, sound);
  uint32_t end = first + units / columns + pm_span(opcode, m->header[3]);
  pm_doubt *d = &m->doubt[memory];
  if (!sound) {
    pm_fail(m, memory, first, end, columns);
    (void)pm_expect(m, PM_OTHER, BL_STATUS_PAYLOAD, 0);
  } else if (first <= d->lo && end >= d->hi && columns >= d->columns) {
    *d = (pm_doubt){0, 0, 0};
  }
}

// The one kind of layer; code = (bias >> shift) clamped to 0..255. Returns its signature.
static inline uint32_t pm_run_layer(pm *m, const bl_descriptor *d) {
  for (uint32_t i = 0; i < d->out_planes; i++)
    m->act[d->out_base + i] = 0;
  for (uint32_t c = 0; c < d->out_last_cols; c++) {
    uint32_t words[BL_PARAM_WORDS] = {0};
    bl_param param;
    memcpy(words, m->param0[c], 9);
    bl_param_unpack(words, &param);
    int64_t code = param.bias >> param.shift;
    code = code < d->out_lo ? d->out_lo : code > d->out_hi ? d->out_hi : code;
    for (uint32_t i = 0; i < d->out_planes; i++)
      m->act[d->out_base + i] |= (uint64_t)((code >> i) & 1) << c;
  }
  uint32_t signature = 0;
  for (uint32_t i = 0; i < d->out_planes; i++)
    signature += pm_crc_bytes(pm_crc_bytes(0, d->out_base + i, 4), m->act[d->out_base + i],
                              m->config->lanes / 8);
  pm_busy(m, d->out_base, d->out_base + d->out_planes);
  m->runs_out = true;
  m->runs++;
  return signature;
}

static inline void pm_run(pm *m, bool sound) {
  bl_descriptor d;
  bl_descriptor_unpack(m->body, &d);
  if (!sound) {
    (void)pm_expect(m, PM_OTHER, BL_STATUS_PAYLOAD, 0);
  } else if (d.in_h == 0 || d.tiles == 0 || d.out_planes > 8 || d.out_last_cols > m->config->cols ||
             d.gather_mode == 3 || d.in_last_bytes == 0) {
    (void)pm_expect(m, PM_OTHER, BL_STATUS_DESCRIPTOR, 0);
  } else if (pm_poison(m) != 0) {
    (void)pm_expect(m, PM_OTHER, BL_STATUS_POISONED, pm_poison(m));
  } else {
    pm_answer *a = pm_expect(m, PM_RUN, BL_STATUS_OK, 0);
    uint32_t signature = pm_run_layer(m, &d);
    pm_payload(m, a, signature);
  }
}

static inline void pm_take_header(pm *m) {
  uint32_t opcode = (m->header[0] >> 16) & 255, status = pm_verdict(m);
  m->hunting = false;
  m->have = m->body_have = 0;
  m->left = m->header[1] == 0 ? 0 : ((m->header[1] & 0xFFFFFF) + 3) / 4 + 1;
  m->refused = status != BL_STATUS_OK;
  if (m->refused) {
    uint32_t memory = pm_memory(opcode);
    if (pm_is_load(opcode))
      pm_fail(m, memory, 0, pm_depth(m, memory), memory < 2 ? m->config->cols : 1);
    (void)pm_expect(m, PM_OTHER, status, 0);
  } else if (opcode == BL_OP_SEND) {
    pm_send(m);
  } else if (m->left == 0) {
    pm_question(m, opcode);
  }
}

// One word into the device.
static inline void pm_take(pm *m, uint32_t word) {
  if (m->left > 0) {
    m->body[m->body_have++] = word;
    if (--m->left > 0 || m->refused) return;
    bool sound = pm_crc(m->body, m->body_have - 1) == word;
    if (((m->header[0] >> 16) & 255) == BL_OP_RUN)
      pm_run(m, sound);
    else
      pm_load(m, sound);
    return;
  }
  m->header[m->have++] = word;
  if (m->have < 5) return;
  if (m->header[0] >> 24 == 0xB7 && pm_crc(m->header, 4) == m->header[4]) {
    pm_take_header(m);
    return;
  }
  uint32_t oldest = m->header[0];
  if (!m->hunting) {
    uint32_t kept = m->header[0];
    m->header[0] = 0;
    (void)pm_expect(m, PM_OTHER, BL_STATUS_HEADER, oldest);
    m->header[0] = kept;
  }
  m->hunting = true;
  memmove(m->header, m->header + 1, 16);
  m->have = 4;
}

// ---- The generator
// -------------------------------------------------------------------------------

// Words go to the device and to the model.
static inline void pm_emit(pm *m, uint32_t word) {
  m->out[m->out_have++] = word;
  pm_take(m, word);
}

// damage: 0 none; 1 a bit of the header; 2 a bit of the payload; 3 the payload is cut short.
static inline void pm_packet(pm *m, uint8_t opcode, uint32_t address, uint32_t argument,
                             uint32_t *payload, uint32_t bytes, int damage) {
  uint32_t words = (bytes + 3) / 4, flip = pm_random(m, 5 * 32);
  uint32_t h[5] = {0xB7000000u | (uint32_t)opcode << 16 | pm_random(m, 1 << 16), bytes, address,
                   argument, 0};
  h[4] = pm_crc(h, 4);
  if (damage == 1) h[flip / 32] ^= 1u << (flip % 32);
  for (int i = 0; i < 5; i++)
    pm_emit(m, h[i]);
  if (words == 0) return;
  uint32_t crc = pm_crc(payload, words);
  uint32_t bit = pm_random(m, words * 32), end = damage == 3 ? pm_random(m, words) : words;
  if (damage == 2) payload[bit / 32] ^= 1u << (bit % 32);
  for (uint32_t i = 0; i < end; i++)
    pm_emit(m, payload[i]);
  if (damage != 3) pm_emit(m, crc);
}

static inline void pm_fence(pm *m) {
  while (m->runs_out || m->busy_lo < m->busy_hi)
    pm_packet(m, BL_OP_FENCE, 0, 0, NULL, 0, 0);
}

static inline void pm_fill(pm *m, uint32_t *words, uint32_t count) {
  for (uint32_t i = 0; i < count; i++)
    words[i] = pm_random(m, UINT32_MAX);
}

// Bytes 16-23 and 0-15 of a load of codes: any planes, a stride that often stays in the memory.
static inline uint32_t pm_some_planes(pm *m, uint32_t depth) {
  uint32_t planes = 1 + pm_random(m, 255);
  uint32_t stride = pm_random(m, pm_random(m, 8) == 0 ? depth : depth / 8);
  return planes << 16 | stride;
}

static inline void pm_some_params(pm *m, uint32_t *payload, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    uint32_t words[BL_PARAM_WORDS];
    bl_param param = {1 << 15, ((int64_t)pm_random(m, 400) - 50) * (1 << PM_SHIFT), PM_SHIFT};
    (void)bl_param_pack(&param, words);
    memcpy((uint8_t *)payload + 9 * (size_t)i, words, 9);
  }
}

// kind: a memory, or PM_CODES.
static inline void pm_some_load(pm *m, uint32_t kind, int damage) {
  static const uint32_t most[8] = {40, 4, 60, 20, 20, 60, 300, 12};
  uint32_t opcode = kind == PM_CODES ? BL_OP_LOAD_CODES : BL_OP_LOAD_WEIGHTS + kind;
  uint32_t payload[2400], memory = pm_memory(opcode), depth = pm_depth(m, memory);
  uint32_t upper = 1 + pm_random(m, memory < 2 ? m->config->cols : m->config->lanes / 8);
  uint32_t argument = upper << 24 | pm_random(m, 1 << 24);
  if (kind == PM_CODES) argument = upper << 24 | pm_some_planes(m, depth);
  uint32_t used, unit = pm_unit(m, opcode, argument, &used),
                 count = 1 + pm_random(m, most[kind == PM_CODES ? 7 : kind]);
  uint32_t address = pm_random(m, 3) == 0 ? 0 : pm_random(m, depth - count + 1);
  uint32_t bytes = count * used * unit + (kind == PM_CODES ? PM_BOOK : 0);
  pm_fill(m, payload, (bytes + 3) / 4);
  if (memory == 3 || memory == 4) memset(payload, 0, 8);
  if (memory == 1) pm_some_params(m, payload, count * used);
  bool touches = memory != 5 ? m->runs_out : address < m->busy_hi && m->busy_lo < address + count;
  if (touches) pm_fence(m);
  pm_packet(m, (uint8_t)opcode, address, argument, payload, bytes, damage);
}

// A load of everything that is in doubt or that a run uses, in every memory.
static inline void pm_mend(pm *m) {
  static uint32_t payload[PM_ROOM / 2];
  pm_fence(m);
  for (uint32_t memory = 0; memory < PM_MEMORIES; memory++) {
    uint32_t cols = m->config->cols, used, argument = (memory < 2 ? cols : 1) << 24;
    uint32_t unit = pm_unit(m, BL_OP_LOAD_WEIGHTS + memory, argument, &used);
    uint32_t count = memory == 1 || memory == 3 || memory == 4 ? 1 : 0;
    if (m->doubt[memory].hi > count) count = m->doubt[memory].hi;
    if (count == 0 || count * unit * used > sizeof payload - 4) continue;
    memset(payload, 0, sizeof payload);
    for (uint32_t i = 0; memory == 1 && i < count * used; i++) {
      uint32_t words[BL_PARAM_WORDS];
      bl_param param = {1 << 15, (int64_t)pm_random(m, 256) * (1 << PM_SHIFT), PM_SHIFT};
      (void)bl_param_pack(&param, words);
      memcpy((uint8_t *)payload + 9 * (size_t)i, words, 9);
    }
    pm_packet(m, (uint8_t)(BL_OP_LOAD_WEIGHTS + memory), 0, argument, payload, count * unit * used,
              0);
  }
}

static inline bool pm_run_is_known(const pm *m) {
  static const uint8_t zeros[8] = {0};
  bool known = memcmp(m->tile0, zeros, 8) == 0 && memcmp(m->pass0, zeros, 8) == 0;
  for (uint32_t c = 0; c < m->config->cols; c++)
    known = known && m->param0_sound[c];
  return known;
}

static inline void pm_some_run(pm *m, int damage) {
  uint32_t words[BL_DESCRIPTOR_WORDS], planes = 1 + pm_random(m, 8);
  uint32_t at = pm_random(m, m->config->act_depth - 8);
  bl_descriptor d = {.in_planes = 1,
                     .in_last_lanes = 1,
                     .in_last_bytes = 1,
                     .in_h = 1,
                     .in_w = 1,
                     .in_words = 1,
                     .images = 1,
                     .kernel_h = 1,
                     .kernel_w = 1,
                     .dilation_h = 1,
                     .dilation_w = 1,
                     .stride_h = 1,
                     .stride_w = 1,
                     .step_h = 1,
                     .step_w = 1,
                     .pool_h = 1,
                     .pool_w = 1,
                     .conv_end_h = 1,
                     .conv_end_w = 1,
                     .out_h = 1,
                     .out_w = 1,
                     .out_pixel_stride = 1,
                     .out_hi = 255,
                     .tiles = 1};
  if (pm_poison(m) == 0 && !pm_run_is_known(m)) pm_mend(m);
  d.in_base = d.out_base = (uint16_t)at;
  d.out_planes = (uint8_t)planes;
  d.out_last_cols = (uint8_t)(1 + pm_random(m, m->config->cols));
  if (at < m->busy_hi && m->busy_lo < at + planes) pm_fence(m);
  if (pm_random(m, 6) == 0) {
    uint32_t which = pm_random(m, 6);
    if (which == 0) d.in_h = 0;
    if (which == 1) d.tiles = 0;
    if (which == 2) d.out_planes = 9;
    if (which == 4) d.gather_mode = 3;
    if (which == 5) d.in_last_bytes = 0;
    if (which == 3) d.out_last_cols = (uint8_t)(m->config->cols + 1);
  }
  (void)bl_descriptor_pack(&d, words);
  pm_packet(m, BL_OP_RUN, pm_random(m, UINT32_MAX), pm_random(m, UINT32_MAX), words, sizeof words,
            damage);
}

static inline void pm_some_send(pm *m, int damage) {
  uint32_t depth = m->config->act_depth, count = 1 + pm_random(m, 40);
  uint32_t address = pm_random(m, 8) == 0 ? depth - pm_random(m, 40) : pm_random(m, depth - 40);
  uint32_t unit = pm_random(m, m->config->lanes / 8 + 2);
  if (pm_random(m, 12) == 0) count = 0;
  pm_packet(m, BL_OP_SEND, address, unit << 24 | count, NULL, 0, damage);
}

// A header that is sound and asks for what is not allowed.
static inline void pm_some_refused(pm *m) {
  static const uint8_t opcodes[] = {0,    0x05, 0x17, 0x1F, 0x22, 0xFF, 0x01, 0x02, 0x03, 0x04,
                                    0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x20, 0x16, 0x18};
  uint32_t payload[64], bytes = pm_random(m, 200);
  uint8_t opcode = opcodes[pm_random(m, sizeof opcodes)];
  pm_fill(m, payload, 64);
  if (opcode >= 0x10 && opcode <= 0x15 && bytes % 9 == 0) bytes++; // a load by chance would race
  uint32_t address = 0x10000 + pm_random(m, UINT32_MAX - 0x10000);
  pm_packet(m, opcode, address, pm_random(m, UINT32_MAX), payload, bytes, 0);
}

// Something: packets of every kind, sound and not, and noise. Ends a packet that was cut short
// sooner or later, since what follows is read as its payload.
static inline void pm_something(pm *m) {
  uint32_t choice = pm_random(m, 100), damage = pm_random(m, 10);
  int broken = damage < 3 ? (int)damage + 1 : 0;
  m->out_have = 0;
  if (choice < 30)
    pm_some_load(m, pm_random(m, PM_MEMORIES + 1), broken);
  else if (choice < 50)
    pm_some_run(m, broken);
  else if (choice < 70)
    pm_some_send(m, broken == 1);
  else if (choice < 78)
    pm_some_refused(m);
  else if (choice < 84)
    for (uint32_t i = 1 + pm_random(m, 12); i > 0; i--)
      pm_emit(m, pm_random(m, UINT32_MAX));
  else if (choice < 90)
    pm_mend(m);
  else {
    static const uint8_t questions[] = {BL_OP_IDENTIFY, BL_OP_FENCE, BL_OP_COUNTERS, BL_OP_RESET};
    pm_packet(m, questions[pm_random(m, 4)], pm_random(m, UINT32_MAX), pm_random(m, 2), NULL, 0, 0);
  }
}

// To begin with: everything that a run reads and all activations, then nothing is unknown.
static inline void pm_begin(pm *m, const bl_config *config, uint64_t seed) {
  memset(m, 0, sizeof *m);
  m->config = config;
  m->random = seed * 0x9E3779B97F4A7C15u + 0x2545F4914F6CDD1Du;
  pm_mend(m);
  uint32_t payload[1024];
  for (uint32_t at = 0; at < config->act_depth; at += 2048 / (config->lanes / 8)) {
    pm_fill(m, payload, 512);
    pm_packet(m, BL_OP_LOAD_ACTIVATIONS, at, config->lanes / 8 << 24, payload, 2048, 0);
  }
}

// ---- The checker
// ---------------------------------------------------------------------------------

static inline void pm_match(pm *m, pm_answer *a) {
  const uint32_t *got = m->got;
  bool counters = ((got[0] >> 16) & 255) == BL_OP_COUNTERS && got[2] == 0;
  for (uint32_t i = 0; i < 3; i++)
    pm_check(m, got[i] == a->words[i], "answer header", a->words[i], got[i]);
  if (a->kind != PM_RUN) pm_check(m, got[3] == a->words[3], "answer info", a->words[3], got[3]);
  uint64_t sum = 0, cycles = counters ? got[5] | (uint64_t)got[6] << 32 : 0;
  for (uint32_t i = 0; i < a->payload_words && !counters; i++)
    pm_check(m, got[5 + i] == m->payloads[a->payload + i], "answer payload",
             m->payloads[a->payload + i], got[5 + i]);
  for (uint32_t i = 1; i < BL_COUNTER_COUNT && counters; i++)
    sum += got[5 + 2 * i] | (uint64_t)got[6 + 2 * i] << 32;
  pm_check(m, sum == cycles, "sum of the counters", (uint32_t)cycles, (uint32_t)sum);
  a->matched = true;
}

static inline void pm_answered(pm *m) {
  const uint32_t *got = m->got;
  uint32_t opcode = (got[0] >> 16) & 255, words = (got[1] + 3) / 4;
  pm_kind kind = PM_OTHER;
  if (opcode == BL_OP_RUN && (got[2] == BL_STATUS_OK || got[2] == BL_STATUS_FAULT)) kind = PM_RUN;
  if (opcode == BL_OP_SEND && got[2] == BL_STATUS_OK) kind = PM_SEND;
  if (words > 0) {
    uint32_t crc = pm_crc(got + 5, words);
    pm_check(m, crc == got[5 + words], "checksum of an answer's payload", crc, got[5 + words]);
  }
  for (uint32_t i = 0; i < m->answer_count; i++) {
    pm_answer *a = &m->answers[i];
    if (a->matched || a->kind != kind) continue;
    for (uint32_t k = 0; k < i && a->barrier; k++)
      pm_check(m, m->answers[k].matched, "an answer after a fence's", 1, 0);
    pm_match(m, a);
    return;
  }
  pm_check(m, false, "an answer that is not due", 0, got[0]);
}

// One word out of the device. Returns whether it ended an answer.
static inline bool pm_receive(pm *m, uint32_t word) {
  if (m->got_have == 0) m->got_want = 5;
  m->got[m->got_have++] = word;
  if (m->got_have == 5) {
    uint32_t crc = pm_crc(m->got, 4), words = (m->got[1] + 3) / 4;
    pm_check(m, crc == word, "checksum of an answer's header", crc, word);
    if (crc == word && m->got[1] > 0 && words < PM_ROOM - 8) m->got_want = 5 + words + 1;
  }
  if (m->got_have < m->got_want) return false;
  m->got_have = 0;
  if (m->failure[0] == 0) pm_answered(m); // after a failure nothing can be told apart
  return true;
}

static inline bool pm_all_answered(const pm *m) {
  for (uint32_t i = 0; i < m->answer_count; i++)
    if (!m->answers[i].matched) return false;
  return m->got_have == 0;
}

// Forgets answers that have come, once all have.
static inline void pm_settle(pm *m) {
  m->answer_count = m->payload_count = 0;
}

#endif
