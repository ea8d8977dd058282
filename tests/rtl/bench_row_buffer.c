// SPDX-License-Identifier: Apache-2.0
// One row buffer: one half is filled while the other is read, at random; bytes rotated, wrapping to
// the next word, dealt to groups or cleared, also two words at once; the word of the last read
// stands until the next, and the request goes to the row below a cycle later.
// clang-format off
// VERILATE small: -GLANES=16 -GCOLS=8 -GROW_DEPTH=16 -GGATHER_WORDS=1
// VERILATE pairs: -GLANES=32 -GCOLS=8 -GROW_DEPTH=32 -GGATHER_WORDS=2
// VERILATE wide: -GLANES=64 -GCOLS=16 -GROW_DEPTH=64 -GGATHER_WORDS=2
// clang-format on
#include "bench.h"
#include "dut.h"

typedef struct {
  bool valid;
  unsigned half, addr;
} request;

typedef struct {
  unsigned at, next, shift, bytes;
  bool flush, rotated;
  unsigned words; // bit k: word k is written; more than bit 0 only in pairs
  bool pair;
  uint64_t data[2];
} fill;

enum { BYTES = LANES / 8, SLOTS = LANES / COLS };

static uint64_t random_data(bench *b) {
  return ((uint64_t)bench_random(b) << 32 | bench_random(b)) >> (64 - LANES);
}

// groups: the layer's windows are rotated.
static fill random_fill(bench *b, bool groups) {
  fill f = {.shift = bench_random(b) % BYTES,
            .bytes = bench_random(b) & ((1u << BYTES) - 1),
            .flush = bench_chance(b, 20),
            .rotated = groups,
            .words = 1};
  unsigned words = f.rotated ? ROW_DEPTH / SLOTS : ROW_DEPTH;
  f.at = bench_random(b) % words;
  f.next = bench_random(b) % words;
  if (f.rotated) f.shift = f.shift / (COLS / 8) * (COLS / 8);
  // words whose addresses differ in the lowest bit, above the group's number if there is one
  f.pair = GATHER_WORDS == 2 && bench_chance(b, 50);
  if (f.pair) {
    f.at &= ~1u;
    f.next &= ~1u;
    f.words = (unsigned)bench_range(b, 1, 3);
  }
  if (f.flush) return f; // of zeros
  f.data[0] = f.data[1] = random_data(b);
  if (f.pair) f.data[1] = random_data(b);
  return f;
}

// Byte `from` of word k goes to place (from + shift) modulo the word.
static void apply(const fill *f, unsigned k, uint8_t words[ROW_DEPTH][BYTES],
                  bool known[ROW_DEPTH][BYTES]) {
  for (unsigned from = 0; from < BYTES; from++) {
    unsigned to = (from + f->shift) % BYTES;
    bool wraps = from + f->shift >= BYTES;
    unsigned word = (wraps ? f->next : f->at) + k;
    if (f->rotated) word = word * SLOTS + from / (COLS / 8);
    if (f->flush ? wraps : (f->bytes >> from & 1) == 0) continue;
    words[word][to] = (uint8_t)(f->data[k] >> (8 * from));
    known[word][to] = true;
  }
}

static void put_fill(dut_ports *p, bool valid, unsigned half, const fill *f) {
  *p->fill_we_i = valid ? (uint8_t)f->words : 0;
  *p->fill_pair_i = f->pair;
  *p->fill_half_i = (uint8_t)half;
  *p->fill_addr_i = (uint16_t)f->at;
  *p->fill_next_i = (uint16_t)f->next;
  *p->fill_shift_i = (uint8_t)f->shift;
  *p->fill_bytes_i = (uint8_t)f->bytes;
  *p->fill_flush_i = f->flush;
  *p->fill_rotated_i = f->rotated;
  for (unsigned k = 0; k < GATHER_WORDS; k++)
    memcpy((uint8_t *)p->fill_data_i + k * BYTES, &f->data[k], BYTES);
}

// How the buffer names the word at an address: {word in the bank, bank}.
static unsigned name_of(unsigned address, bool groups) {
  if (GATHER_WORDS == 1 || !groups) return address;
  return (address / SLOTS / 2 * SLOTS + address % SLOTS) * 2 + address / SLOTS % 2;
}

static void tick(dut *d, dut_ports *p) {
  *p->clk_i = 0;
  dut_eval(d);
  *p->clk_i = 1;
  dut_eval(d);
}

int main(int argc, char **argv) {
  bench b = bench_begin(argc, argv, "bench_row_buffer");
  dut_ports p;
  dut *d = dut_open(argc, argv, &p);
  static uint8_t mirror[2][ROW_DEPTH][BYTES];
  static bool known[2][ROW_DEPTH][BYTES];
  uint8_t out[BYTES] = {0};
  bool out_known[BYTES] = {0};
  *p.fill_we_i = *p.read_i = 0;
  *p.rst_i = 1;
  tick(d, &p);
  *p.rst_i = 0;
  for (unsigned i = 0; i < 40000; i++) {
    request r = {bench_chance(&b, 70), bench_random(&b) & 1, bench_random(&b) & 0xFFFF};
    bool fills = bench_chance(&b, 70);
    if (i == 20000) { // the other kind of layer
      memset(known, 0, sizeof known);
      memset(out_known, 0, sizeof out_known);
    }
    const bool groups = i >= 20000;
    fill f = random_fill(&b, groups);
    *p.read_i = r.valid;
    *p.read_half_i = (uint8_t)r.half;
    const unsigned name = name_of(r.addr % ROW_DEPTH, groups) | (r.addr & ~(ROW_DEPTH - 1u));
    *p.read_addr_i = (uint16_t)name;
    put_fill(&p, fills, !r.half, &f);
    tick(d, &p);
    if (r.valid) memcpy(out, mirror[r.half][r.addr % ROW_DEPTH], BYTES);
    if (r.valid) memcpy(out_known, known[r.half][r.addr % ROW_DEPTH], sizeof out_known);
    for (unsigned k = 0; k < GATHER_WORDS && fills; k++)
      if (f.words >> k & 1u) apply(&f, k, mirror[!r.half], known[!r.half]);
    for (unsigned k = 0; k < BYTES; k++)
      if (out_known[k]) BENCH_EQUAL(&b, "byte", i, out[k], ((const uint8_t *)p.read_data_o)[k]);
    BENCH_EQUAL(&b, "request passed on", i, r.valid, *p.read_o);
    if (!r.valid) continue;
    BENCH_EQUAL(&b, "half passed on", i, r.half, *p.read_half_o);
    BENCH_EQUAL(&b, "address passed on", i, name, *p.read_addr_o);
  }
  dut_close(d);
  return bench_end(&b, "bench_row_buffer");
}
