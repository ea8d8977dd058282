// SPDX-License-Identifier: Apache-2.0
// Packing: random layers of code rows in the datapath's order, the words in memory against each
// bit's place in the contract; all other words must stay as they were.
//
// VERILATE all: -GACT_DEPTH=1024
// VERILATE tiny: -GROWS=2 -GCOLS=8 -GLANES=16
// VERILATE default: -GROWS=8 -GCOLS=8 -GLANES=32
// VERILATE wide: -GROWS=8 -GCOLS=16 -GLANES=64
#include "bench.h"
#include "dut.h"

#define SLOTS ((unsigned)(LANES / COLS))

typedef struct {
  unsigned base, stride, planes, slot, last_cols, tiles, pixels;
  bool keep, one_row;
} layout;

typedef struct {
  bench b;
  dut *d;
  dut_ports p;
  layout l;
  uint64_t memory[ACT_DEPTH], expected[ACT_DEPTH];
  unsigned under_way, layers, faults; // groups filled and not yet written
} test;

static void tick(test *t) {
  dut_ports *p = &t->p;
  *p->clk_i = 0;
  dut_eval(t->d);
  uint64_t data = 0, bits = 0;
  memcpy(&data, p->act_wdata_o, LANES / 8);
  for (unsigned i = 0; i < LANES / 8; i++)
    if ((*p->act_we_o >> i) & 1u) bits |= (uint64_t)255 << (8 * i);
  if (bits) {
    BENCH_EQUAL(&t->b, "write inside the memory", t->layers, 1, *p->act_waddr_o < ACT_DEPTH);
    uint64_t *word = &t->memory[*p->act_waddr_o % ACT_DEPTH];
    *word = (*word & ~bits) | (data & bits);
  }
  t->under_way -= *p->group_done_o;
  t->faults += *p->fault_o;
  *p->clk_i = 1;
  dut_eval(t->d);
}

static void expect_code(test *t, unsigned pixel, unsigned tile, unsigned column, unsigned code) {
  const layout *l = &t->l;
  unsigned lane = (l->slot + tile) * COLS + column;
  for (unsigned i = 0; i < l->planes; i++) {
    unsigned at = l->base + pixel * l->stride + lane / LANES * l->planes + i;
    if (at >= ACT_DEPTH) return; // run_beyond
    uint64_t *word = &t->expected[at];
    uint64_t bit = (uint64_t)1 << (lane % LANES);
    *word = (code >> i) & 1 ? *word | bit : *word & ~bit;
  }
}

// Rows ROWS-1 .. 0 of one channel tile of the pixels first .. first+ROWS-1.
// Output pixels of a tile.
static unsigned tile_pixels(const layout *l) {
  return l->one_row ? 1 : ROWS;
}

static void send_tile(test *t, unsigned first, unsigned tile) {
  const layout *l = &t->l;
  bool last = tile + 1 == l->tiles;
  unsigned live = 0;
  for (unsigned r = 0; r < tile_pixels(l); r++)
    live |= (unsigned)(first + r < l->pixels) << r;
  while ((l->slot + tile) % SLOTS == (tile ? 0 : l->slot) && t->under_way > 1)
    tick(t); // a group begins: at most two may be under way
  *t->p.last_tile_i = last;
  *t->p.live_i = (uint8_t)live;
  for (unsigned r = ROWS; r-- > 0;) {
    uint8_t codes[COLS];
    for (unsigned c = 0; c < COLS; c++) {
      codes[c] = (uint8_t)bench_random(&t->b);
      bool real = !last || c < l->last_cols;
      if ((live >> r) & 1u) expect_code(t, first + r, tile, c, real ? codes[c] : 0);
    }
    memcpy(t->p.codes_i, codes, COLS);
    *t->p.row_i = (uint8_t)r;
    *t->p.valid_i = 1;
    if (r == 0) t->under_way += last || (l->slot + tile) % SLOTS == SLOTS - 1;
    tick(t);
    *t->p.valid_i = 0;
    while (bench_chance(&t->b, 20))
      tick(t);
  }
}

static void random_layout(test *t) {
  bench *b = &t->b;
  layout *l = &t->l;
  do {
    l->planes = (unsigned)bench_range(b, 1, 8);
    l->slot = (unsigned)bench_range(b, 0, SLOTS - 1);
    l->last_cols = (unsigned)bench_range(b, 1, COLS);
    l->tiles = (unsigned)bench_range(b, 1, 9);
    l->pixels = (unsigned)bench_range(b, 1, 30);
    l->keep = bench_chance(b, 40);
    l->one_row = bench_chance(b, 30);
    l->stride = (l->slot + l->tiles + SLOTS - 1) / SLOTS * l->planes + bench_random(b) % 2;
  } while (l->pixels * l->stride > ACT_DEPTH);
  l->base = (unsigned)bench_range(b, 0, ACT_DEPTH - l->pixels * l->stride);
}

static void start(test *t) {
  *t->p.out_base_i = (uint16_t)t->l.base;
  *t->p.out_pixel_stride_i = (uint16_t)t->l.stride;
  *t->p.out_planes_i = (uint8_t)t->l.planes;
  *t->p.out_slot_i = (uint8_t)t->l.slot;
  *t->p.out_last_cols_i = (uint8_t)t->l.last_cols;
  *t->p.out_keep_i = t->l.keep;
  *t->p.one_row_i = t->l.one_row;
  *t->p.layer_start_i = 1;
  tick(t);
  *t->p.layer_start_i = 0;
}

static void run_layer(test *t) {
  const layout *l = &t->l;
  random_layout(t);
  memcpy(t->expected, t->memory, sizeof t->expected);
  start(t);
  for (unsigned first = 0; first < l->pixels; first += tile_pixels(l))
    for (unsigned tile = 0; tile < l->tiles; tile++)
      send_tile(t, first, tile);
  for (unsigned i = 0; i < 4000 && t->under_way > 0; i++)
    tick(t);
  BENCH_EQUAL(&t->b, "groups written", t->layers, 0, t->under_way);
  unsigned end = (l->slot + l->tiles) % SLOTS;
  // the last word's lanes above the last slot become zero, or stay
  for (unsigned m = 0; m < l->pixels && end && !l->keep; m++)
    for (unsigned tile = l->tiles; tile < l->tiles + SLOTS - end; tile++)
      for (unsigned c = 0; c < COLS; c++)
        expect_code(t, m, tile, c, 0);
  for (unsigned i = 0; i < ACT_DEPTH; i++)
    BENCH_EQUAL(&t->b, "word", i, t->expected[i], t->memory[i]);
  BENCH_EQUAL(&t->b, "faults", t->layers, 0, t->faults);
}

// The last pixel one word beyond the memory: nothing is written there, and it is told.
static void run_beyond(test *t) {
  t->l = (layout){
      .base = ACT_DEPTH - 1, .stride = 1, .planes = 1, .last_cols = COLS, .tiles = 1, .pixels = 2};
  start(t);
  send_tile(t, 0, 0);
  for (unsigned i = 0; i < 100; i++)
    tick(t);
  BENCH_EQUAL(&t->b, "fault told", t->layers, 1, t->faults > 0);
  t->faults = 0;
}

static void reset(test *t) {
  *t->p.valid_i = *t->p.layer_start_i = 0;
  *t->p.rst_i = 1;
  for (unsigned i = 0; i < 2; i++) {
    *t->p.clk_i = 0;
    dut_eval(t->d);
    *t->p.clk_i = 1;
    dut_eval(t->d);
  }
  *t->p.rst_i = 0;
  t->under_way = 0;
}

int main(int argc, char **argv) {
  static test t;
  t.b = bench_begin(argc, argv, "bench_pack");
  t.d = dut_open(argc, argv, &t.p);
  for (unsigned i = 0; i < ACT_DEPTH; i++)
    t.memory[i] = ((uint64_t)bench_random(&t.b) << 32 | bench_random(&t.b)) >> (64 - LANES);
  reset(&t);
  for (t.layers = 0; t.layers < 200 && t.b.failures < 20; t.layers++) {
    run_layer(&t);
    if (t.layers % 20 == 19) run_beyond(&t);
  }
  dut_close(t.d);
  return bench_end(&t.b, "bench_pack");
}
