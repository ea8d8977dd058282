// SPDX-License-Identifier: Apache-2.0
// The sequencer alone: random lists followed by a plain walk of them in C, step by step, while
// halves are filled and the datapath has room at random. Where both are always there, every cycle
// from the first step to the last must issue one.
//
// VERILATE all: -GGROUPS=4 -GTILE_DEPTH=32 -GPASS_DEPTH=64 -GK_DEPTH=256
// VERILATE rows2: -GROWS=2
// VERILATE rows8: -GROWS=8
#include "bench.h"
#include "drivers/bl_contract.h"
#include "dut.h"

typedef struct {
  bool first, final, last;
  unsigned live, valid;
} fill;

// One issued step as the walk of the lists says.
typedef struct {
  bool shift, live, neg, sum, last, last_tile;
  unsigned row_addr, weight_addr, tile, post;
} step;

enum { MAX_STEPS = 1 << 16, MAX_FILLS = 64 };

typedef struct {
  bench b;
  dut *d;
  dut_ports p;
  bl_tile tiles[TILE_DEPTH];
  bl_pass passes[PASS_DEPTH];
  uint16_t k[K_DEPTH];
  uint64_t tile_out, pass_out;
  uint16_t k_out;
  unsigned tile_base, tile_count;
  bool rotated;
  step steps[MAX_STEPS]; // of one fill
  unsigned step_count;
  fill fills[MAX_FILLS];
  unsigned fill_count, filled, used, released, at; // `at`: step of the fill in use
  unsigned layers, issued;
  unsigned first_cycle, last_cycle, cycle;
} test;

static unsigned mask_rows(uint32_t v) {
  return v & ((1u << ROWS) - 1);
}

static void random_lists(test *t) {
  bench *b = &t->b;
  unsigned longest = bench_chance(b, 50) ? 2 : 24;
  for (unsigned i = 0; i < K_DEPTH; i++)
    t->k[i] = (uint16_t)(bench_random(b) % 1000);
  for (unsigned i = 0; i < PASS_DEPTH; i++)
    t->passes[i] = (bl_pass){.weight_offset = (uint16_t)(bench_random(b) % 5000),
                             .k_offset = (uint16_t)(bench_random(b) % 100),
                             .count = (uint16_t)(bench_random(b) % (longest + 1)),
                             .plane = (uint8_t)(bench_random(b) % 8),
                             .shift = bench_chance(b, 50),
                             .neg = bench_chance(b, 50),
                             .sum = bench_chance(b, 50)};
  for (unsigned i = 0; i < TILE_DEPTH; i++)
    t->tiles[i] = (bl_tile){.weight_base = (uint16_t)bench_random(b),
                            .k_base = (uint16_t)(bench_random(b) % 100),
                            .pass_base = (uint16_t)(bench_random(b) % (PASS_DEPTH - 20)),
                            .pass_last = (uint16_t)(bench_random(b) % 20),
                            .post = (uint8_t)(bench_random(b) % 3)};
  t->tile_count = (unsigned)bench_range(b, 1, 6);
  t->rotated = bench_chance(b, 50);
  t->tile_base = (unsigned)bench_range(b, 0, TILE_DEPTH - t->tile_count);
}

static unsigned k_entry(const test *t, const bl_tile *tile, const bl_pass *pass, unsigned e) {
  return t->k[((unsigned)tile->k_base + pass->k_offset + e) % K_DEPTH];
}

static unsigned row_address(const test *t, const bl_tile *tile, const bl_pass *pass, unsigned e) {
  return (k_entry(t, tile, pass, e) + pass->plane * (t->rotated ? GROUPS : 1u)) & 0xFFFF;
}

// The lists, followed as docs/reference/device.md states them. Entries beyond a memory (the layers
// that must fault) wrap, as they do in this bench's memories; no step may come of them.
static void walk_lists(test *t) {
  t->step_count = 0;
  for (unsigned i = 0; i < t->tile_count; i++) {
    const bl_tile *tile = &t->tiles[(t->tile_base + i) % TILE_DEPTH];
    for (unsigned j = 0; j <= tile->pass_last; j++) {
      const bl_pass *pass = &t->passes[(tile->pass_base + j) % PASS_DEPTH];
      unsigned steps = pass->count == 0 ? 1 : pass->count;
      for (unsigned e = 0; e < steps; e++) {
        unsigned weight = (unsigned)tile->weight_base + pass->weight_offset + e;
        t->steps[t->step_count++] = (step){.shift = pass->shift && e == 0,
                                           .live = pass->count != 0,
                                           .neg = pass->neg,
                                           .sum = pass->sum,
                                           .last = j == tile->pass_last && e + 1 == steps,
                                           .last_tile = i + 1 == t->tile_count,
                                           .row_addr = row_address(t, tile, pass, e),
                                           .weight_addr = weight > 0xFFFF ? 0xFFFF : weight,
                                           .tile = i,
                                           .post = tile->post};
      }
    }
  }
}

static void check_step(test *t) {
  dut_ports *p = &t->p;
  bench *b = &t->b;
  BENCH_EQUAL(b, "a step needs a full half", t->issued, 1, t->used < t->filled);
  const step *s = &t->steps[t->at];
  BENCH_EQUAL(b, "shift", t->at, s->shift, *p->step_shift_o);
  BENCH_EQUAL(b, "live", t->at, s->live, *p->step_live_o);
  BENCH_EQUAL(b, "last", t->at, s->last, *p->step_last_o);
  BENCH_EQUAL(b, "half", t->at, t->used & 1, *p->step_half_o);
  if (s->live) {
    BENCH_EQUAL(b, "neg", t->at, s->neg, *p->step_neg_o);
    BENCH_EQUAL(b, "sum", t->at, s->sum, *p->step_sum_o);
    BENCH_EQUAL(b, "row address", t->at, s->row_addr, *p->step_row_addr_o);
    BENCH_EQUAL(b, "weight address", t->at, s->weight_addr, *p->step_weight_addr_o);
  }
  t->last_cycle = t->cycle;
  if (t->issued++ == 0) t->first_cycle = t->cycle;
  t->at++;
  if (!s->last) return;
  const fill *f = &t->fills[t->used];
  BENCH_EQUAL(b, "last step without room", t->at, 1, *p->tile_ready_i);
  BENCH_EQUAL(b, "tile", t->at, s->tile, *p->meta_tile_o);
  BENCH_EQUAL(b, "post", t->at, s->post, *p->meta_post_o);
  BENCH_EQUAL(b, "last tile", t->at, s->last_tile, *p->meta_last_tile_o);
  BENCH_EQUAL(b, "first offset", t->at, f->first, *p->meta_first_o);
  BENCH_EQUAL(b, "final offset", t->at, f->final, *p->meta_final_o);
  BENCH_EQUAL(b, "live rows", t->at, f->live, *p->meta_live_o);
  BENCH_EQUAL(b, "valid rows", t->at, f->valid, *p->meta_valid_o);
  if (!s->last_tile) return;
  t->at = 0;
  t->used++;
}

static uint64_t packed64(const uint32_t words[2]) {
  return words[0] | (uint64_t)words[1] << 32;
}

static void take_reads(test *t) {
  dut_ports *p = &t->p;
  uint32_t words[2];
  if (*p->tile_re_o) {
    (void)bl_tile_pack(&t->tiles[*p->tile_addr_o % TILE_DEPTH], words);
    t->tile_out = packed64(words);
  }
  if (*p->pass_re_o) {
    (void)bl_pass_pack(&t->passes[*p->pass_addr_o % PASS_DEPTH], words);
    t->pass_out = packed64(words);
  }
  if (*p->k_re_o) t->k_out = t->k[*p->k_addr_o % K_DEPTH];
}

static void tick(test *t) {
  dut_ports *p = &t->p;
  *p->clk_i = 0;
  *p->tile_data_i = t->tile_out;
  *p->pass_data_i = t->pass_out;
  *p->k_data_i = t->k_out;
  dut_eval(t->d);
  take_reads(t);
  t->cycle++;
  if (*p->step_valid_o) check_step(t);
  if (*p->release_o) {
    t->released++;
    BENCH_EQUAL(&t->b, "released with the last step", t->layers, t->released, t->used);
  }
  BENCH_EQUAL(&t->b, "one reason a cycle", t->layers, 1,
              *p->step_valid_o + *p->stall_gather_o + *p->stall_requant_o <= 1);
  *p->clk_i = 1;
  dut_eval(t->d);
}

static void random_fills(test *t) {
  t->fill_count = (unsigned)bench_range(&t->b, 1, MAX_FILLS / 4);
  for (unsigned i = 0; i < t->fill_count; i++)
    t->fills[i] = (fill){.first = bench_chance(&t->b, 50),
                         .final = bench_chance(&t->b, 50),
                         .last = i + 1 == t->fill_count,
                         .live = mask_rows(bench_random(&t->b)),
                         .valid = mask_rows(bench_random(&t->b))};
}

static void start(test *t) {
  *t->p.tiles_i = (uint16_t)t->tile_count;
  *t->p.tile_base_i = (uint16_t)t->tile_base;
  *t->p.rotated_i = t->rotated;
  *t->p.fill_done_i = 0;
  t->filled = t->used = t->released = t->at = t->issued = 0;
  *t->p.layer_start_i = 1;
  tick(t);
  *t->p.layer_start_i = 0;
}

// Announces the next fill, in some cycles, when a half is free for it.
static void drive(test *t, unsigned fill_percent, unsigned ready_percent) {
  dut_ports *p = &t->p;
  *p->tile_ready_i = bench_chance(&t->b, ready_percent);
  *p->fill_done_i =
      t->filled < t->fill_count && t->filled - t->released < 2 && bench_chance(&t->b, fill_percent);
  if (!*p->fill_done_i) return;
  const fill *f = &t->fills[t->filled];
  *p->fill_last_i = f->last;
  *p->fill_first_i = f->first;
  *p->fill_final_i = f->final;
  *p->fill_live_i = (uint8_t)f->live;
  *p->fill_valid_i = (uint8_t)f->valid;
}

static void run_layer(test *t, unsigned fill_percent, unsigned ready_percent) {
  random_fills(t);
  walk_lists(t);
  start(t);
  bool done = false;
  for (unsigned i = 0; i < 3000000 && !done; i++) {
    drive(t, fill_percent, ready_percent);
    bool announced = *t->p.fill_done_i;
    tick(t);
    t->filled += announced;
    done = *t->p.done_o;
    BENCH_EQUAL(&t->b, "done early", t->layers, 1, !done || t->used == t->fill_count);
  }
  BENCH_EQUAL(&t->b, "steps", t->layers, t->fill_count * t->step_count, t->issued);
  BENCH_EQUAL(&t->b, "done", t->layers, 1, done);
  BENCH_EQUAL(&t->b, "faults", t->layers, 0, *t->p.faults_o);
  *t->p.fill_done_i = 0;
  for (unsigned i = 0; i < 2 * ROWS; i++)
    tick(t);
  BENCH_EQUAL(&t->b, "halves given back", t->layers, t->fill_count, t->released);
}

// Tiles of at least `steps` steps and fills long enough that two halves hide the release.
static bool long_enough(const test *t, unsigned steps) {
  for (unsigned i = 0, tile = 0; i < t->step_count; i++)
    if (t->steps[i].last) {
      if (i + 1 - tile < steps) return false;
      tile = i + 1;
    }
  return t->step_count > ROWS + 4;
}

static void run_free(test *t) {
  do {
    random_lists(t);
    walk_lists(t);
  } while (!long_enough(t, 4));
  run_layer(t, 100, 100);
  BENCH_EQUAL(&t->b, "bubbles", t->layers, t->issued, t->last_cycle - t->first_cycle + 1);
}

// One entry beyond its list's memory: its fault, and no step of the entry's tile ends.
static void run_faulty(test *t) {
  unsigned list = bench_random(&t->b) % 3;
  bl_tile *tile = &t->tiles[t->tile_base];
  if (list == 0) t->tile_base = TILE_DEPTH - t->tile_count + 1;
  if (list == 1) tile->pass_base = (uint16_t)(PASS_DEPTH - tile->pass_last);
  if (list == 2) {
    tile->k_base = 0xFFFF;
    t->passes[tile->pass_base].count = 1;
  }
  random_fills(t);
  t->fill_count = 1;
  t->fills[0].last = true;
  walk_lists(t);
  start(t);
  for (unsigned i = 0; i < 20000 && *t->p.faults_o == 0; i++) {
    drive(t, 100, 100);
    bool announced = *t->p.fill_done_i;
    tick(t);
    t->filled += announced;
  }
  BENCH_EQUAL(&t->b, "fault", list, 1u << list, *t->p.faults_o);
  unsigned issued = t->issued;
  for (unsigned i = 0; i < 20; i++)
    tick(t);
  BENCH_EQUAL(&t->b, "issued after a fault", list, issued, t->issued);
}

int main(int argc, char **argv) {
  static test t;
  t.b = bench_begin(argc, argv, "bench_sequencer");
  t.d = dut_open(argc, argv, &t.p);
  *t.p.layer_start_i = *t.p.fill_done_i = *t.p.tile_ready_i = 0;
  *t.p.rst_i = 1;
  for (int i = 0; i < 3; i++) {
    *t.p.clk_i = 0;
    dut_eval(t.d);
    *t.p.clk_i = 1;
    dut_eval(t.d);
  }
  *t.p.rst_i = 0;
  for (t.layers = 0; t.layers < 200 && t.b.failures < 20; t.layers++) {
    random_lists(&t);
    run_layer(&t, bench_chance(&t.b, 50) ? 100 : 2, (unsigned)bench_range(&t.b, 10, 100));
    if (t.layers % 4 == 2) run_free(&t);
    if (t.layers % 4 == 3) run_faulty(&t);
  }
  dut_close(t.d);
  return bench_end(&t.b, "bench_sequencer");
}
