// SPDX-License-Identifier: Apache-2.0
// Every cycle has exactly one reason, by the contract's priority, and the reasons add up; snapshots
// and running words are those of one cycle, PERIOD before; clearing starts at that cycle too.
// VERILATE plain:
// VERILATE carry: -GHALF=6
#include "bench.h"
#include "drivers/bl_contract.h"
#include "dut.h"

#ifndef HALF
#define HALF 32
#endif

enum { CYCLES = 60000, PERIOD = 2 * BL_COUNTER_COUNT + 2, COUNTERS = BL_COUNTER_COUNT };

typedef struct {
  bench b;
  dut *d;
  dut_ports p;
  int cycle;
  uint64_t before[CYCLES + 1][COUNTERS]; // what the cycles before each one were spent on
  uint64_t base[COUNTERS];               // at the last clearing
} test;

static int reason(const bool in[7]) {
  bool run = in[0], issue = in[1], requant = in[2], gather = in[3];
  if (run)
    return issue     ? BL_COUNTER_ISSUE
           : requant ? BL_COUNTER_REQUANT
           : gather  ? BL_COUNTER_GATHER
                     : BL_COUNTER_DRAIN;
  if (in[4]) return BL_COUNTER_WEIGHTS;
  if (in[5]) return BL_COUNTER_STREAM_IN;
  return in[6] ? BL_COUNTER_STREAM_OUT : BL_COUNTER_IDLE;
}

// One cycle; returns whether the snapshot was finished in it.
static bool tick(test *t, bool snapshot, bool clear_after) {
  dut_ports *p = &t->p;
  uint8_t *const pins[7] = {p->run_i,       p->issue_i,  p->requant_i, p->gather_i,
                            p->list_load_i, p->packet_i, p->send_i};
  bool in[7];
  // long stretches of one reason now and then, for the carry
  unsigned percent = t->cycle / 5000 % 2 == 0 ? 40 : t->cycle / 10000 % 2 == 0 ? 1 : 95;
  for (int k = 0; k < 7; k++)
    *pins[k] = in[k] = bench_chance(&t->b, percent);
  *p->snapshot_i = snapshot;
  *p->snapshot_clear_i = snapshot ? clear_after : bench_chance(&t->b, 50);
  *p->clk_i = 0;
  dut_eval(t->d);
  bool done = *p->snapshot_done_o;
  memcpy(t->before[t->cycle + 1], t->before[t->cycle], sizeof t->before[0]);
  t->before[t->cycle + 1][BL_COUNTER_CYCLES]++;
  t->before[t->cycle + 1][reason(in)]++;
  *p->clk_i = 1;
  dut_eval(t->d);
  t->cycle++;
  return done;
}

static uint64_t word_of(const test *t, int cycle, uint32_t word) {
  uint64_t value = t->before[cycle][word / 2] - t->base[word / 2];
  return (word % 2 == 0 ? value : value >> HALF) & ((1ull << HALF) - 1);
}

static void take_snapshot(test *t, bool clear_after) {
  int waited = 0, i = 0;
  uint64_t sum = 0;
  while (!tick(t, true, clear_after) && ++waited < 3 * PERIOD)
    ;
  BENCH_EQUAL(&t->b, "the snapshot comes", t->cycle, true, waited <= 2 * PERIOD);
  int at = t->cycle - 1 - PERIOD;
  for (i = 0; i < 60; i++) { // it stays
    uint32_t word = (uint32_t)(i < 2 * COUNTERS ? i : bench_range(&t->b, 0, 2 * COUNTERS - 1));
    *t->p.word_i = (uint8_t)word;
    (void)tick(t, false, false);
    BENCH_EQUAL(&t->b, "word", word, word_of(t, at, word), *t->p.word_o);
    if (i < 2 * COUNTERS) // the cycles against the rest
      sum += ((uint64_t)*t->p.word_o << (i % 2 * HALF)) * (i / 2 == BL_COUNTER_CYCLES ? 1 : -1ull);
  }
  BENCH_EQUAL(&t->b, "sum", t->cycle, 0, sum & ((HALF < 32 ? 1ull << 2 * HALF : 0) - 1));
  if (clear_after) memcpy(t->base, t->before[at], sizeof t->base);
}

static void read_running(test *t) {
  uint32_t word = (uint32_t)bench_range(&t->b, 0, 2 * COUNTERS - 1);
  *t->p.live_i = (uint8_t)word;
  for (int i = 0; i < PERIOD; i++) {
    bool taken = *t->p.live_take_o;
    (void)tick(t, false, false);
    if (!taken) continue;
    BENCH_EQUAL(&t->b, "running word", word, word_of(t, t->cycle - 1 - PERIOD, word), *t->p.live_o);
    return;
  }
  BENCH_EQUAL(&t->b, "the running word comes", t->cycle, true, false);
}

// Holds them at 0, and to the end of the round.
static void clear(test *t) {
  *t->p.clear_i = 1;
  for (int64_t i = bench_range(&t->b, 1, 30); i > 0; i--)
    (void)tick(t, false, false);
  *t->p.clear_i = 0;
  while (!*t->p.live_take_o)
    (void)tick(t, false, false);
  memcpy(t->base, t->before[t->cycle], sizeof t->base);
  for (int i = 0; i < PERIOD + 1; i++)
    (void)tick(t, false, false);
}

int main(int argc, char **argv) {
  static test t;
  t.b = bench_begin(argc, argv, "bench_counters");
  t.d = dut_open(argc, argv, &t.p);
  *t.p.rst_i = 1;
  *t.p.live_i = *t.p.word_i = 0;
  *t.p.clear_i = 1;
  for (int i = 0; i < 3; i++)
    (void)tick(&t, false, false);
  *t.p.rst_i = 0;
  clear(&t);
  while (t.cycle < CYCLES - 10 * PERIOD) {
    for (int64_t wait = bench_range(&t.b, 0, 50); wait > 0; wait--)
      (void)tick(&t, false, false);
    if (bench_chance(&t.b, 5))
      clear(&t);
    else if (bench_chance(&t.b, 50))
      take_snapshot(&t, bench_chance(&t.b, 10));
    else
      read_running(&t);
  }
  dut_close(t.d);
  return bench_end(&t.b, "bench_counters");
}
