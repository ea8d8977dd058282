// SPDX-License-Identifier: Apache-2.0
// The datapath alone: random layers as step streams, with random bubbles between steps, against a
// model that computes each result from the definition (docs/reference/device.md).
// clang-format off
// VERILATE tiny: -GGATHER_WORDS=1 -GROWS=2 -GCOLS=8 -GLANES=16 -GACC_W=32 -GWEIGHT_DEPTH=256 -GPARAM_DEPTH=16 -GROW_DEPTH=64
// VERILATE default: -GGATHER_WORDS=2 -GROWS=8 -GCOLS=8 -GLANES=32 -GACC_W=26 -GWEIGHT_DEPTH=256 -GPARAM_DEPTH=16 -GROW_DEPTH=64
// VERILATE wide: -GGATHER_WORDS=2 -GROWS=8 -GCOLS=16 -GLANES=64 -GACC_W=20 -GWEIGHT_DEPTH=256 -GPARAM_DEPTH=16 -GROW_DEPTH=64
// clang-format on
#include "bench.h"
#include "drivers/bl_contract.h"
#include "dut.h"
#include "put_word.h"

#define SLOTS ((unsigned)(LANES / COLS))
enum { ACT_DEPTH = 16384, MAX_STEPS = 40 };

typedef struct {
  bool first, shift, live, neg, sum, last;
  unsigned row_addr, weight_addr;
} step;

typedef struct {
  bench b;
  dut *d;
  dut_ports p;
  uint64_t weights[COLS][WEIGHT_DEPTH];
  bl_param params[COLS][PARAM_DEPTH];
  uint64_t rows[2][ROWS][ROW_DEPTH];
  uint64_t memory[ACT_DEPTH], expected[ACT_DEPTH];
  // what the datapath asked of the memories in the cycle before
  uint64_t weight_out[COLS];
  bl_param param_out[COLS];
  bl_descriptor layer;
  unsigned waits; // cycles in which tile_ready_o held a last step back
} test;

static uint64_t lanes_mask(void) {
  return LANES == 64 ? ~(uint64_t)0 : ((uint64_t)1 << (LANES % 64)) - 1;
}

static uint64_t random_word(bench *b) {
  return ((uint64_t)bench_random(b) << 32 | bench_random(b)) & lanes_mask();
}

// One clock: memories answer what was asked, writes land.
static void tick(test *t) {
  dut_ports *p = &t->p;
  *p->clk_i = 0;
  for (unsigned c = 0; c < COLS; c++) {
    uint32_t words[BL_PARAM_WORDS];
    (void)bl_param_pack(&t->param_out[c], words);
    for (unsigned i = 0; i < 3; i++)
      bench_put(p->param_data_i, c * 72 + i * 24, 24,
                words[i * 24 / 32] >> (i * 24 % 32) |
                    (i * 24 % 32 > 8 ? (uint64_t)words[i * 24 / 32 + 1] << (32 - i * 24 % 32) : 0));
    bench_put(p->weight_data_i, c * LANES, LANES, t->weight_out[c]);
  }
  dut_eval(t->d);
  for (unsigned c = 0; c < COLS; c++) {
    if ((*p->weight_re_o >> c) & 1u)
      t->weight_out[c] = t->weights[c][bench_get(p->weight_addr_o, c * 16, 16) % WEIGHT_DEPTH];
    if ((*p->param_re_o >> c) & 1u)
      t->param_out[c] = t->params[c][bench_get(p->param_addr_o, c * 16, 16) % PARAM_DEPTH];
  }
  for (unsigned i = 0; i < LANES / 8; i++)
    if ((*p->act_we_o >> i) & 1u) {
      uint64_t byte = (uint64_t)255 << (8 * i);
      uint64_t data;
      memcpy(&data, p->act_wdata_o, LANES / 8);
      uint64_t *word = &t->memory[*p->act_waddr_o % ACT_DEPTH];
      *word = (*word & ~byte) | (data & byte);
    }
  *p->clk_i = 1;
  dut_eval(t->d);
}

static void fill_half(test *t, unsigned half, unsigned words) {
  for (unsigned w = 0; w < words; w++)
    for (unsigned r = 0; r < ROWS; r++) {
      uint64_t word = t->rows[half][r][w] = random_word(&t->b);
      put_word(&t->p, 1u << r, word);
      *t->p.fill_half_i = (uint8_t)half;
      *t->p.fill_bytes_i = (uint8_t)((1u << LANES / 8) - 1);
      for (unsigned k = 0; k < ROWS; k++)
        bench_put((uint32_t *)t->p.fill_addr_i, k * 16, 16, w);
      tick(t);
    }
  put_word(&t->p, 0, 0);
}

static unsigned make_steps(test *t, step *steps) {
  unsigned count = bench_chance(&t->b, 30) ? 1 : (unsigned)bench_range(&t->b, 1, MAX_STEPS);
  for (unsigned i = 0; i < count; i++)
    steps[i] = (step){.first = i == 0,
                      .shift = bench_chance(&t->b, 25),
                      .live = !bench_chance(&t->b, 10),
                      .neg = bench_chance(&t->b, 30),
                      .sum = bench_chance(&t->b, 40),
                      .last = i == count - 1,
                      .row_addr = bench_random(&t->b) % ROW_DEPTH,
                      .weight_addr = bench_random(&t->b) % WEIGHT_DEPTH};
  return count;
}

static int64_t sum_of(const test *t, const step *steps, unsigned count, unsigned half, unsigned r,
                      int column) {
  int64_t sum = 0;
  for (unsigned i = 0; i < count; i++) {
    const step *s = &steps[i];
    uint64_t w = column < 0 ? ~(uint64_t)0 : t->weights[column][s->weight_addr];
    int64_t ones = __builtin_popcountll(t->rows[half][r][s->row_addr] & w);
    bool adds = s->live && (column >= 0 || s->sum);
    if (s->shift && !s->first) sum *= 2;
    if (adds) sum += s->neg ? -ones : ones;
  }
  return sum;
}

static int code_of(const test *t, int64_t p, int64_t s, unsigned post, unsigned tile, unsigned c) {
  const bl_descriptor *l = &t->layer;
  const bl_param *q = &t->params[c][l->param_base + tile];
  int64_t halved = (int64_t)((uint64_t)bench_wrap(s, ACC_W) << post) >> 1;
  int64_t acc = bench_wrap((int64_t)((uint64_t)p << post) - halved, ACC_W);
  int64_t v = (acc * q->mult + q->bias) >> q->shift;
  if (l->out_wrap) return (int)(v & 255);
  v = v < l->out_lo ? l->out_lo : v > l->out_hi ? l->out_hi : v;
  return (int)((v + l->out_offset) & 255);
}

static void drive_step(test *t, const step *s, unsigned half) {
  dut_ports *p = &t->p;
  *p->step_valid_i = s != NULL;
  if (s == NULL) return;
  *p->step_shift_i = s->shift;
  *p->step_live_i = s->live;
  *p->step_neg_i = s->neg;
  *p->step_sum_i = s->sum;
  *p->step_last_i = s->last;
  *p->step_half_i = (uint8_t)half;
  *p->step_row_addr_i = (uint16_t)s->row_addr;
  *p->step_weight_addr_i = (uint16_t)s->weight_addr;
}

static void issue(test *t, const step *steps, unsigned count, unsigned half, unsigned bubbles) {
  for (unsigned i = 0; i < count;) {
    bool bubble = bench_chance(&t->b, bubbles);
    *t->p.clk_i = 0;
    dut_eval(t->d);
    bool held = steps[i].last && !*t->p.tile_ready_o;
    t->waits += held;
    drive_step(t, bubble || held ? NULL : &steps[i], half);
    tick(t);
    i += !bubble && !held;
  }
  drive_step(t, NULL, 0);
}

typedef struct {
  int code[ROWS][COLS * PARAM_DEPTH];
  bool any[ROWS];
} pixels;

static void merge(const test *t, pixels *best, unsigned r, unsigned channel, int code, bool had) {
  int *now = &best->code[r][channel];
  int sign = t->layer.out_signed ? 128 : 0;
  if (!had || (code ^ sign) > (*now ^ sign)) *now = code;
}

// One channel tile at one pooling offset, given to the device and worked out beside it.
static void run_tile(test *t, pixels *best, unsigned half, unsigned tile, bool first, bool final,
                     uint64_t live, uint64_t valid, unsigned bubbles) {
  step steps[MAX_STEPS];
  unsigned count = make_steps(t, steps), post = bench_random(&t->b) % 3;
  dut_ports *p = &t->p;
  *p->meta_tile_i = (uint16_t)tile;
  *p->meta_post_i = (uint8_t)post;
  *p->meta_first_i = first;
  *p->meta_final_i = final;
  *p->meta_last_tile_i = tile == t->layer.tiles - 1u;
  *p->meta_live_i = (uint8_t)live;
  *p->meta_valid_i = (uint8_t)valid;
  issue(t, steps, count, half, bubbles);
  for (unsigned r = 0; r < ROWS; r++) {
    if (!((valid >> r) & 1u)) continue;
    int64_t s = sum_of(t, steps, count, half, r, -1);
    for (unsigned c = 0; c < COLS; c++) {
      int64_t sum = sum_of(t, steps, count, half, r, (int)c);
      merge(t, best, r, tile * COLS + c, code_of(t, sum, s, post, tile, c), best->any[r]);
    }
  }
}

static void expect_pixels(test *t, const pixels *best, unsigned pixel, uint64_t live) {
  const bl_descriptor *l = &t->layer;
  unsigned channels = (l->tiles - 1u) * COLS + l->out_last_cols;
  for (unsigned r = 0; r < ROWS; r++) {
    if (!((live >> r) & 1u)) continue;
    unsigned last_lane = ((unsigned)l->out_slot + l->tiles) * COLS;
    unsigned words = (last_lane + LANES - 1) / LANES;
    for (unsigned lane = l->out_slot * COLS; lane < words * LANES; lane++) {
      unsigned channel = lane - l->out_slot * COLS;
      int code = channel < channels && best->any[r] ? best->code[r][channel] : 0;
      for (unsigned i = 0; i < l->out_planes; i++) {
        unsigned at =
            l->out_base + (pixel + r) * l->out_pixel_stride + lane / LANES * l->out_planes + i;
        uint64_t bit = (uint64_t)1 << (lane % LANES);
        t->expected[at] = (code >> i) & 1 ? t->expected[at] | bit : t->expected[at] & ~bit;
      }
    }
  }
}

static void random_layer(test *t) {
  bl_descriptor *l = &t->layer;
  *l = (bl_descriptor){0};
  l->out_planes = (uint8_t)bench_range(&t->b, 1, 8);
  l->out_slot = (uint8_t)(bench_chance(&t->b, 60) ? 0 : bench_random(&t->b) % SLOTS);
  l->tiles = (uint16_t)bench_range(&t->b, 1, bench_chance(&t->b, 50) ? 2 : PARAM_DEPTH);
  l->param_base = (uint16_t)bench_range(&t->b, 0, PARAM_DEPTH - l->tiles);
  l->out_last_cols = (uint8_t)bench_range(&t->b, 1, COLS);
  l->out_signed = bench_chance(&t->b, 50);
  l->out_wrap = bench_chance(&t->b, 15);
  l->out_lo = (int16_t)bench_range(&t->b, -200, 100);
  l->out_hi = (int16_t)bench_range(&t->b, l->out_lo, 255);
  l->out_offset = (int16_t)bench_range(&t->b, -100, 100);
  unsigned words = (((unsigned)l->out_slot + l->tiles) * COLS + LANES - 1u) / LANES;
  l->out_pixel_stride = (uint16_t)(words * l->out_planes + bench_random(&t->b) % 3);
  l->out_base = (uint16_t)bench_range(&t->b, 0, 200);
  for (unsigned c = 0; c < COLS; c++) {
    for (unsigned i = 0; i < WEIGHT_DEPTH; i++)
      t->weights[c][i] = random_word(&t->b);
    for (unsigned i = 0; i < PARAM_DEPTH; i++) {
      t->params[c][i].mult = (int32_t)bench_range(&t->b, 1 << 15, 65535) * (i % 3 == 0 ? -1 : 1);
      t->params[c][i].shift = (uint8_t)bench_range(&t->b, 14, 22);
      t->params[c][i].bias = bench_range(&t->b, -(1 << 24), 1 << 24);
    }
  }
}

static void start_layer(test *t) {
  uint32_t words[BL_DESCRIPTOR_WORDS];
  bench_check(&t->b, bl_descriptor_pack(&t->layer, words), "descriptor", 0, 1, 0);
  memcpy(t->p.desc_i, words, sizeof words);
  *t->p.layer_start_i = 1;
  tick(t);
  *t->p.layer_start_i = 0;
}

static void run_layer(test *t) {
  random_layer(t);
  for (unsigned i = 0; i < ACT_DEPTH; i++)
    t->expected[i] = t->memory[i] = random_word(&t->b);
  start_layer(t);
  unsigned offsets = bench_chance(&t->b, 50) ? 1 : (unsigned)bench_range(&t->b, 2, 4);
  unsigned groups = (unsigned)bench_range(&t->b, 1, 3), half = 0,
           bubbles = bench_random(&t->b) % 3 * 20;
  for (unsigned g = 0; g < groups; g++) {
    static pixels best;
    memset(&best, 0, sizeof best);
    uint64_t all = ((uint64_t)1 << ROWS) - 1;
    uint64_t live = g + 1 < groups ? all : all >> (bench_random(&t->b) % ROWS);
    for (unsigned o = 0; o < offsets; o++, half ^= 1) {
      uint64_t valid = offsets == 1 && bench_chance(&t->b, 80) ? all : bench_random(&t->b) & all;
      fill_half(t, half, ROW_DEPTH);
      for (unsigned tile = 0; tile < t->layer.tiles; tile++)
        run_tile(t, &best, half, tile, o == 0, o == offsets - 1, live, valid, bubbles);
      for (unsigned r = 0; r < ROWS; r++)
        best.any[r] = best.any[r] || ((valid >> r) & 1u);
    }
    expect_pixels(t, &best, g * ROWS, live);
  }
  for (unsigned i = 0; i < 2000 && (i < 2 || *t->p.busy_o); i++)
    tick(t);
  BENCH_EQUAL(&t->b, "busy", 0, 0, *t->p.busy_o);
  BENCH_EQUAL(&t->b, "faults", 0, 0, *t->p.faults_o);
  for (unsigned i = 0; i < ACT_DEPTH; i++)
    BENCH_EQUAL(&t->b, "word", i, t->expected[i], t->memory[i]);
}

int main(int argc, char **argv) {
  static test t;
  t.b = bench_begin(argc, argv, "bench_datapath");
  t.d = dut_open(argc, argv, &t.p);
  *t.p.fill_flush_i = *t.p.fill_rotated_i = *t.p.fill_pair_i =
      0; // whole words only; bench_row_buffer has the rest
  memset(t.p.fill_shift_i, 0, ROWS / 2);
  *t.p.rst_i = 1;
  *t.p.fill_we_i = *t.p.step_valid_i = *t.p.layer_start_i = 0;
  for (int i = 0; i < 4; i++)
    tick(&t);
  *t.p.rst_i = 0;
  for (int i = 0; i < 60; i++)
    run_layer(&t);
  (void)printf("%u cycles held back for credit\n", t.waits);
  bench_check(&t.b, t.waits > 0, "no back-pressure was met", 0, 1, 0);
  dut_close(t.d);
  return bench_end(&t.b, "bench_datapath");
}
