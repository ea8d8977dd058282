// SPDX-License-Identifier: Apache-2.0
// The array with its row buffers: random tiles of steps, bubbles between them, while the other half
// of the row buffers is filled; P of every element and S of every row, in the cycles that the
// header states, against the contract's loop.
//
// VERILATE all: -GROW_DEPTH=32
// VERILATE tiny: -GGATHER_WORDS=1 -GROWS=2 -GCOLS=8 -GLANES=16 -GACC_W=32
// VERILATE default: -GGATHER_WORDS=2 -GROWS=8 -GCOLS=8 -GLANES=32 -GACC_W=26
// VERILATE wide: -GGATHER_WORDS=2 -GROWS=8 -GCOLS=16 -GLANES=64 -GACC_W=20
#include "bench.h"
#include "dut.h"
#include "put_word.h"

enum { WEIGHTS = 64, PENDING = 4096 };

// What must stand on p_o (column c) or s_o (column COLS) in a cycle; ring over cycles.
typedef struct {
  uint32_t value[COLS + 1];
  bool due[COLS + 1];
} outputs;

typedef struct {
  bench b;
  dut *d;
  dut_ports p;
  uint64_t row[2][ROWS][ROW_DEPTH], weight[COLS][WEIGHTS], weight_out[COLS];
  uint32_t sum_p[ROWS][COLS], sum_s[ROWS];
  outputs ring[PENDING];
  unsigned cycle, half, last_cycle;
} test;

static uint64_t random_word(bench *b) {
  return ((uint64_t)bench_random(b) << 32 | bench_random(b)) >> (64 - LANES);
}

static uint32_t low(uint32_t sum) {
  return sum << (32 - ACC_W) >> (32 - ACC_W);
}

static void check_outputs(test *t) {
  outputs *o = &t->ring[t->cycle % PENDING];
  for (unsigned c = 0; c < COLS; c++)
    if (o->due[c])
      BENCH_EQUAL(&t->b, "P", t->cycle, low(o->value[c]), bench_get(t->p.p_o, c * ACC_W, ACC_W));
  if (o->due[COLS]) BENCH_EQUAL(&t->b, "S", t->cycle, low(o->value[COLS]), *t->p.s_o);
  memset(o, 0, sizeof *o);
}

// One cycle; some words are filled into the half that no step reads.
static void tick(test *t, bool fill) {
  dut_ports *p = &t->p;
  uint64_t data = random_word(&t->b);
  unsigned rows = fill ? bench_random(&t->b) & ((1u << ROWS) - 1) : 0;
  *p->clk_i = 0;
  put_word(p, rows, data);
  *p->fill_half_i = !t->half;
  *p->fill_bytes_i = (uint8_t)((1u << LANES / 8) - 1);
  for (unsigned r = 0; r < ROWS; r++) {
    unsigned at = bench_random(&t->b) % ROW_DEPTH;
    bench_put(p->fill_addr_i, r * 16, 16, at);
    if ((rows >> r) & 1u) t->row[!t->half][r][at] = data;
  }
  for (unsigned c = 0; c < COLS; c++)
    bench_put(p->weight_data_i, c * LANES, LANES, t->weight_out[c]);
  dut_eval(t->d);
  check_outputs(t);
  for (unsigned c = 0; c < COLS; c++)
    if ((*p->weight_re_o >> c) & 1u)
      t->weight_out[c] = t->weight[c][bench_get(p->weight_addr_o, c * 16, 16) % WEIGHTS];
  *p->clk_i = 1;
  dut_eval(t->d);
  t->cycle++;
  *p->step_valid_i = 0;
}

// A last step in this cycle: results of rows ROWS-1 .. 0 stand from t+ROWS+2 (+ c) on.
static void expect_results(test *t) {
  for (unsigned i = 0; i < ROWS; i++) {
    unsigned r = ROWS - 1 - i, at = t->cycle + ROWS + 2 + i;
    for (unsigned c = 0; c < COLS; c++) {
      t->ring[(at + c) % PENDING].due[c] = true;
      t->ring[(at + c) % PENDING].value[c] = t->sum_p[r][c];
    }
    t->ring[at % PENDING].due[COLS] = true;
    t->ring[at % PENDING].value[COLS] = t->sum_s[r];
  }
  t->last_cycle = t->cycle;
}

static void add_step(test *t, bool live, bool neg, bool sum, unsigned row_at, unsigned weight_at) {
  uint32_t sign = neg ? (uint32_t)-1 : 1;
  for (unsigned r = 0; r < ROWS && live; r++) {
    uint64_t a = t->row[t->half][r][row_at];
    for (unsigned c = 0; c < COLS; c++)
      t->sum_p[r][c] += sign * (uint32_t)__builtin_popcountll(a & t->weight[c][weight_at]);
    if (sum) t->sum_s[r] += sign * (uint32_t)__builtin_popcountll(a);
  }
}

static void step(test *t, bool first, bool last) {
  dut_ports *p = &t->p;
  bench *b = &t->b;
  bool shift = bench_chance(b, 30), live = bench_chance(b, 85), neg = bench_chance(b, 30);
  bool sum = bench_chance(b, 40);
  unsigned row_at = bench_random(b) % ROW_DEPTH, weight_at = bench_random(b) % WEIGHTS;
  for (unsigned r = 0; r < ROWS; r++) {
    t->sum_s[r] = first ? 0 : t->sum_s[r] << shift;
    for (unsigned c = 0; c < COLS; c++)
      t->sum_p[r][c] = first ? 0 : t->sum_p[r][c] << shift;
  }
  add_step(t, live, neg, sum, row_at, weight_at);
  while (last && t->cycle - t->last_cycle < ROWS)
    tick(t, false);
  *p->step_valid_i = 1;
  *p->step_shift_i = shift;
  *p->step_live_i = live;
  *p->step_neg_i = neg;
  *p->step_sum_i = sum;
  *p->step_last_i = last;
  *p->step_half_i = (uint8_t)t->half;
  *p->step_row_addr_i = (uint16_t)row_at;
  *p->step_weight_addr_i = (uint16_t)weight_at;
  if (last) expect_results(t);
  tick(t, bench_chance(b, 50));
}

static void run_tile(test *t) {
  unsigned steps = (unsigned)bench_range(&t->b, 1, bench_chance(&t->b, 50) ? 2 * ROWS : 40);
  unsigned gap = bench_chance(&t->b, 50) ? 0 : 20;
  for (unsigned i = 0; i < steps; i++) {
    while (bench_chance(&t->b, gap))
      tick(t, true);
    step(t, i == 0, i + 1 == steps);
  }
}

// Every word of the half that is read next, once its readers are through.
static void change_half(test *t) {
  for (unsigned i = 0; i < ROWS; i++)
    tick(t, false);
  t->half ^= 1;
}

static void fill_all(test *t) {
  dut_ports *p = &t->p;
  for (unsigned half = 0; half < 2; half++)
    for (unsigned at = 0; at < ROW_DEPTH; at++) {
      uint64_t data = random_word(&t->b);
      *p->clk_i = 0;
      put_word(p, (1u << ROWS) - 1, data);
      *p->fill_half_i = (uint8_t)half;
      *p->fill_bytes_i = (uint8_t)((1u << LANES / 8) - 1);
      for (unsigned r = 0; r < ROWS; r++) {
        bench_put(p->fill_addr_i, r * 16, 16, at);
        t->row[half][r][at] = data;
      }
      dut_eval(t->d);
      *p->clk_i = 1;
      dut_eval(t->d);
    }
}

int main(int argc, char **argv) {
  static test t;
  t.b = bench_begin(argc, argv, "bench_array");
  t.d = dut_open(argc, argv, &t.p);
  for (unsigned c = 0; c < COLS; c++)
    for (unsigned i = 0; i < WEIGHTS; i++)
      t.weight[c][i] = random_word(&t.b);
  *t.p.step_valid_i = 0;
  *t.p.fill_flush_i = *t.p.fill_rotated_i = *t.p.fill_pair_i = *t.p.groups_i =
      0; // whole words only; bench_row_buffer has the rest
  memset(t.p.fill_shift_i, 0, ROWS / 2);
  *t.p.rst_i = 1;
  fill_all(&t);
  *t.p.rst_i = 0;
  t.cycle = ROWS;
  for (unsigned i = 0; i < 600 && t.b.failures < 20; i++) {
    run_tile(&t);
    if (bench_chance(&t.b, 30)) change_half(&t);
  }
  for (unsigned i = 0; i < 2 * ROWS + COLS + 4; i++)
    tick(&t, false);
  dut_close(t.d);
  return bench_end(&t.b, "bench_array");
}
