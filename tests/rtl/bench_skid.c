// SPDX-License-Identifier: Apache-2.0
// The stream register: random traffic on both sides; every word once, in order, held until taken,
// and a word a cycle when nobody stalls.
//
// VERILATE w32: -GWIDTH=32
#include "bench.h"
#include "dut.h"

typedef struct {
  bench b;
  dut *d;
  dut_ports p;
  uint32_t sent, taken; // words are numbered
  bool held;
} test;

static void tick(test *t, unsigned offer, unsigned accept) {
  dut_ports *p = &t->p;
  *p->clk_i = 0;
  if (!*p->s_valid_i) *p->s_valid_i = bench_chance(&t->b, offer);
  *p->s_data_i = t->sent;
  *p->m_ready_i = bench_chance(&t->b, accept);
  dut_eval(t->d);
  bool in = *p->s_valid_i && *p->s_ready_o, out = *p->m_valid_o && *p->m_ready_i;
  if (t->held) BENCH_EQUAL(&t->b, "valid holds", t->taken, 1, *p->m_valid_o);
  if (*p->m_valid_o) BENCH_EQUAL(&t->b, "word", t->taken, t->taken, *p->m_data_o);
  t->held = *p->m_valid_o && !*p->m_ready_i;
  *p->clk_i = 1;
  dut_eval(t->d);
  t->sent += in;
  t->taken += out;
  BENCH_EQUAL(&t->b, "at most two inside", t->sent, 1, t->sent - t->taken <= 2);
  if (in) *p->s_valid_i = 0;
}

int main(int argc, char **argv) {
  static test t;
  t.b = bench_begin(argc, argv, "bench_skid");
  t.d = dut_open(argc, argv, &t.p);
  *t.p.s_valid_i = *t.p.m_ready_i = 0;
  *t.p.rst_i = 1;
  for (unsigned i = 0; i < 2; i++) {
    *t.p.clk_i = 0;
    dut_eval(t.d);
    *t.p.clk_i = 1;
    dut_eval(t.d);
  }
  *t.p.rst_i = 0;
  for (unsigned i = 0; i < 30000; i++)
    tick(&t, i / 5000 * 20, 100 - i / 1000 % 5 * 20);
  for (unsigned i = 0; i < 4; i++)
    tick(&t, 100, 100);
  uint32_t before = t.taken;
  for (unsigned i = 0; i < 100; i++)
    tick(&t, 100, 100);
  BENCH_EQUAL(&t.b, "a word a cycle", 0, 100, t.taken - before);
  for (unsigned i = 0; i < 8; i++)
    tick(&t, 0, 100);
  BENCH_EQUAL(&t.b, "nothing lost", 0, t.sent, t.taken);
  dut_close(t.d);
  return bench_end(&t.b, "bench_skid");
}
