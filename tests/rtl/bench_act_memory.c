// SPDX-License-Identifier: Apache-2.0
// Activation memory: bytes and loads written, words read at random, one or two at any address in a
// cycle; word 0 stands until the next read, and a load waits for the engine's writes alone.
// VERILATE one: -GLANES=16 -GACT_DEPTH=64 -GREAD_WORDS=1
// VERILATE two: -GLANES=32 -GACT_DEPTH=64 -GREAD_WORDS=2
// VERILATE wide: -GLANES=64 -GACT_DEPTH=128 -GREAD_WORDS=2
#include "bench.h"
#include "dut.h"

enum { BYTES = LANES / 8 };

typedef struct {
  uint8_t memory[ACT_DEPTH][BYTES], out[READ_WORDS][BYTES];
  bool valid[READ_WORDS]; // the word of the last read is known
} model;

// A load of a whole word, taken unless the engine writes the same bank.
static void load_word(bench *b, dut_ports *p, model *m, unsigned reading, unsigned engine) {
  unsigned address = bench_random(b) % ACT_DEPTH;
  bool load = bench_chance(b, 60) && (address - reading) % ACT_DEPTH >= READ_WORDS;
  uint8_t word[BYTES];
  for (unsigned i = 0; i < BYTES; i++)
    word[i] = (uint8_t)bench_random(b);
  *p->load_we_i = load;
  *p->load_waddr_i = (uint8_t)address;
  memcpy(p->load_wdata_i, word, BYTES);
  bool waits = *p->we_i != 0 && (READ_WORDS == 1 || (address ^ engine) % 2 == 0);
  if (load && !waits) memcpy(m->memory[address], word, BYTES);
}

static unsigned write_bytes(bench *b, dut_ports *p, model *m, unsigned reading) {
  unsigned address = bench_random(b) % ACT_DEPTH, we = bench_random(b) & ((1u << BYTES) - 1);
  // what is read in the same cycle is not written
  if (bench_chance(b, 30) || (address - reading) % ACT_DEPTH < READ_WORDS) we = 0;
  *p->we_i = (uint8_t)we;
  *p->waddr_i = (uint8_t)address;
  for (unsigned i = 0; i < BYTES; i++) {
    uint8_t value = (uint8_t)bench_random(b);
    ((uint8_t *)p->wdata_i)[i] = value;
    if (we >> i & 1u) m->memory[address][i] = value;
  }
  return address;
}

static void tick(dut *d, dut_ports *p) {
  *p->clk_i = 0;
  dut_eval(d);
  *p->clk_i = 1;
  dut_eval(d);
}

int main(int argc, char **argv) {
  bench b = bench_begin(argc, argv, "bench_act_memory");
  dut_ports p;
  dut *d = dut_open(argc, argv, &p);
  static model m;
  for (unsigned i = 0; i < ACT_DEPTH; i++) { // known content
    *p.re_i = *p.load_we_i = 0;
    *p.we_i = (uint8_t)((1u << BYTES) - 1);
    *p.waddr_i = (uint8_t)i;
    memset(p.wdata_i, 0, BYTES);
    tick(d, &p);
  }
  for (unsigned i = 0; i < 20000; i++) {
    unsigned re = bench_random(&b) & ((1u << READ_WORDS) - 1), at = bench_random(&b) % ACT_DEPTH;
    *p.re_i = (uint8_t)re;
    *p.raddr_i = (uint8_t)at;
    unsigned engine = write_bytes(&b, &p, &m, at);
    load_word(&b, &p, &m, at, engine);
    *p.clk_i = 0;
    dut_eval(d);
    bool same = READ_WORDS == 1 || (*p.load_waddr_i ^ engine) % 2 == 0;
    BENCH_EQUAL(&b, "ready for a load", i, *p.we_i == 0 || !same, *p.load_ready_o);
    tick(d, &p);
    for (unsigned k = 0; k < READ_WORDS && re != 0; k++) {
      m.valid[k] = re >> k & 1u;
      if (m.valid[k]) memcpy(m.out[k], m.memory[(at + k) % ACT_DEPTH], BYTES);
    }
    for (unsigned k = 0; k < READ_WORDS; k++)
      for (unsigned j = 0; j < BYTES && m.valid[k]; j++)
        BENCH_EQUAL(&b, "byte", i, m.out[k][j], ((const uint8_t *)p.rdata_o)[k * BYTES + j]);
  }
  dut_close(d);
  return bench_end(&b, "bench_act_memory");
}
