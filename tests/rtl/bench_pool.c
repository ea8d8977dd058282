// SPDX-License-Identifier: Apache-2.0
// The pooling maximum: pixel tiles in the engine's order (offsets outermost, channel tiles inside,
// rows from the last), with idle cycles, against a running maximum in C.
// VERILATE all: -GTILES=8
// VERILATE rows2: -GROWS=2 -GCOLS=8
// VERILATE rows8: -GROWS=8 -GCOLS=16
#include "bench.h"
#include "dut.h"

typedef struct {
  bool valid;
  unsigned row;
  uint8_t codes[COLS];
} result;

typedef struct {
  bench b;
  dut *d;
  dut_ports p;
  bool is_signed;
  bool any[TILES][ROWS];
  uint8_t best[TILES][ROWS][COLS];
  result pipe[2]; // what must leave in one and in two cycles
  unsigned cycles;
} test;

static bool larger(const test *t, uint8_t a, uint8_t b) {
  return t->is_signed ? (int8_t)a > (int8_t)b : a > b;
}

static void tick(test *t, const result *entered) {
  *t->p.clk_i = 0;
  dut_eval(t->d);
  *t->p.clk_i = 1;
  dut_eval(t->d);
  const result *r = &t->pipe[0];
  BENCH_EQUAL(&t->b, "valid", t->cycles, r->valid, *t->p.valid_o);
  if (r->valid) {
    BENCH_EQUAL(&t->b, "row", t->cycles, r->row, *t->p.row_o);
    BENCH_EQUAL(&t->b, "codes", t->cycles, 0, memcmp(t->p.codes_o, r->codes, COLS));
  }
  t->pipe[0] = *entered;
  t->cycles++;
}

static void idle(test *t) {
  const result none = {0};
  *t->p.valid_i = 0;
  tick(t, &none);
}

static void row_in(test *t, unsigned tile, unsigned row, bool first, bool final) {
  bench *b = &t->b;
  bool inside = bench_chance(b, 60);
  uint8_t codes[COLS];
  for (unsigned c = 0; c < COLS; c++)
    codes[c] = (uint8_t)bench_random(b);
  if (first) t->any[tile][row] = false;
  if (!t->any[tile][row]) memset(t->best[tile][row], 0, COLS);
  for (unsigned c = 0; inside && c < COLS; c++)
    if (!t->any[tile][row] || larger(t, codes[c], t->best[tile][row][c]))
      t->best[tile][row][c] = codes[c];
  t->any[tile][row] |= inside;
  *t->p.valid_i = 1;
  *t->p.row_i = (uint8_t)row;
  *t->p.tile_i = (uint16_t)tile;
  *t->p.first_i = first;
  *t->p.final_i = final;
  *t->p.inside_i = inside;
  memcpy(t->p.codes_i, codes, COLS);
  result r = {.valid = final, .row = row};
  memcpy(r.codes, t->best[tile][row], COLS);
  tick(t, &r);
}

static void pixel_tile(test *t) {
  unsigned offsets = (unsigned)bench_range(&t->b, 1, 4),
           tiles = (unsigned)bench_range(&t->b, 1, TILES);
  unsigned gap = (unsigned)bench_range(&t->b, 0, 40);
  for (unsigned o = 0; o < offsets; o++)
    for (unsigned tile = 0; tile < tiles; tile++)
      for (unsigned row = ROWS; row-- > 0;) {
        while (bench_chance(&t->b, gap))
          idle(t);
        row_in(t, tile, row, o == 0, o + 1 == offsets);
      }
}

int main(int argc, char **argv) {
  static test t;
  t.b = bench_begin(argc, argv, "bench_pool");
  t.d = dut_open(argc, argv, &t.p);
  *t.p.valid_i = 0;
  *t.p.rst_i = 1;
  for (unsigned i = 0; i < 3; i++) {
    *t.p.clk_i = 0;
    dut_eval(t.d);
    *t.p.clk_i = 1;
    dut_eval(t.d);
  }
  *t.p.rst_i = 0;
  for (unsigned i = 0; i < 300; i++) {
    t.is_signed = bench_chance(&t.b, 50);
    *t.p.signed_i = t.is_signed;
    pixel_tile(&t);
    idle(&t);
    idle(&t);
  }
  dut_close(t.d);
  return bench_end(&t.b, "bench_pool");
}
