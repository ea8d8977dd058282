// SPDX-License-Identifier: Apache-2.0
// How busy the array is: dense 3x3 layers on the Verilated engine of the default configuration,
// with the lists that a dense layer has, at full memory depths. Prints cycles by reason against the
// targets, and how fast the model simulates. Values do not matter here; bench_engine checks those.
//
// VERILATE default: -GROWS=8 -GCOLS=8 -GLANES=32
#include <time.h>

#include "drivers/bl_contract.h"
#include "dut.h"
#include "tests/rtl/bench.h"

typedef struct {
  unsigned channels, map, bits;
  unsigned target; // percent of a layer's cycles that issue; 0: none stated
} workload;

// 3x3, stride 1, padding 1; map 15 lets every other tile run over the end of an image row.
static const workload WORKLOADS[] = {
    {16, 16, 4, 95}, {32, 16, 4, 95}, {64, 16, 4, 95},  {128, 8, 4, 95}, {32, 15, 4, 95},
    {32, 32, 1, 90}, {64, 32, 1, 90}, {128, 16, 1, 90}, {64, 15, 1, 0},
};

typedef struct {
  dut *d;
  dut_ports p;
  bench random;
  const bl_config *config;
  bl_tile tiles[64];
  bl_pass passes[64];
  uint32_t k_out, taps_words, planes;
  uint64_t pass_out, tile_out;
  uint64_t active, issue, requant, gather;
} engine;

static uint64_t packed64(const uint32_t words[2]) {
  return words[0] | (uint64_t)words[1] << 32;
}

// One cycle with memories of random content behind the data ports and real lists.
static void cycle(engine *e) {
  dut_ports *p = &e->p;
  uint32_t words[2];
  *p->clk_i = 0;
  *p->k_data_i = (uint16_t)e->k_out;
  *p->pass_data_i = e->pass_out;
  *p->tile_data_i = e->tile_out;
  dut_eval(e->d);
  e->active += *p->active_o;
  e->issue += *p->issue_o;
  e->requant += *p->stall_requant_o;
  e->gather += *p->stall_gather_o;
  if (*p->act_re_o) *p->act_rdata_i = bench_random(&e->random);
  if (*p->weight_re_o & 1)
    p->weight_data_i[bench_random(&e->random) % e->config->cols] = bench_random(&e->random);
  if (*p->k_re_o) e->k_out = *p->k_addr_o * e->planes;
  if (*p->pass_re_o) {
    (void)bl_pass_pack(&e->passes[*p->pass_addr_o % 64], words);
    e->pass_out = packed64(words);
  }
  if (*p->tile_re_o) {
    (void)bl_tile_pack(&e->tiles[*p->tile_addr_o % 64], words);
    e->tile_out = packed64(words);
  }
  *p->clk_i = 1;
  dut_eval(e->d);
}

// Planes from the highest place down, all pairs of a place together, each over all words.
static void dense_lists(engine *e, const workload *w, unsigned tiles) {
  const unsigned bits = w->bits;
  unsigned pass = 0;
  e->planes = bits;
  e->taps_words = 9 * ((w->channels + 31) / 32);
  for (unsigned place = 2 * bits - 1; place-- > 0;) {
    bool shift = place != 2 * bits - 2;
    for (unsigned i = 0; i < bits; i++) {
      if (place < i || place - i >= bits) continue;
      e->passes[pass++] = (bl_pass){.count = (uint16_t)e->taps_words,
                                    .weight_offset = (uint16_t)((place - i) * e->taps_words),
                                    .plane = (uint8_t)i,
                                    .shift = shift};
      shift = false;
    }
  }
  for (unsigned t = 0; t < tiles; t++)
    e->tiles[t] = (bl_tile){.weight_base = (uint16_t)(t * bits * e->taps_words),
                            .pass_last = (uint16_t)(pass - 1)};
}

static bl_descriptor dense_layer(const engine *e, const workload *w) {
  uint16_t map = (uint16_t)w->map, words = (uint16_t)((w->channels + 31) / 32);
  uint16_t pixel = (uint16_t)(words * w->bits);
  return (bl_descriptor){.in_planes = (uint8_t)w->bits,
                         .in_last_lanes = (uint8_t)(w->channels % 32 ? w->channels % 32 : 32),
                         .in_h = map,
                         .in_w = map,
                         .in_words = words,
                         .in_pixel_stride = pixel,
                         .in_row_stride = (uint16_t)(pixel * map),
                         .in_image_stride = (uint16_t)(pixel * map * map),
                         .images = 1,
                         .kernel_h = 3,
                         .kernel_w = 3,
                         .dilation_h = 1,
                         .dilation_w = 1,
                         .stride_h = 1,
                         .stride_w = 1,
                         .step_h = 1,
                         .step_w = 1,
                         .origin_h = 1,
                         .origin_w = 1,
                         .pad_top = 1,
                         .pad_left = 1,
                         .pool_h = 1,
                         .pool_w = 1,
                         .conv_end_h = map - 1,
                         .conv_end_w = map - 1,
                         .out_h = map,
                         .out_w = map,
                         .out_base = (uint16_t)(e->config->act_depth / 2),
                         .out_pixel_stride = pixel,
                         .out_planes = (uint8_t)w->bits,
                         .out_last_cols = (uint8_t)e->config->cols,
                         .out_hi = (int16_t)((1 << w->bits) - 1),
                         .tiles = (uint16_t)(w->channels / e->config->cols)};
}

static bool run_layer(engine *e, const workload *w) {
  uint32_t words[BL_DESCRIPTOR_WORDS];
  bl_descriptor layer = dense_layer(e, w);
  dense_lists(e, w, layer.tiles);
  if (!bl_descriptor_pack(&layer, words)) return false;
  memcpy(e->p.desc_i, words, sizeof words);
  e->active = e->issue = e->requant = e->gather = 0;
  *e->p.start_i = 1;
  cycle(e);
  *e->p.start_i = 0;
  for (unsigned i = 0; i < 10000000 && *e->p.active_o; i++)
    cycle(e);
  uint64_t steps = (uint64_t)(w->map * w->map + e->config->rows - 1) / e->config->rows *
                   layer.tiles * e->taps_words * w->bits * w->bits;
  return e->issue == steps && !*e->p.active_o;
}

static double seconds_now(void) {
  struct timespec t;
  (void)clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double percent(uint64_t part, uint64_t whole) {
  return 100.0 * (double)part / (double)whole;
}

int main(int argc, char **argv) {
  static engine e;
  e.random = bench_begin(argc, argv, "array_issue");
  e.config = &BL_CONFIGS[BL_CONFIG_DEFAULT];
  e.d = dut_open(argc, argv, &e.p);
  *e.p.start_i = 0;
  *e.p.rst_i = 1;
  for (int i = 0; i < 4; i++)
    cycle(&e);
  *e.p.rst_i = 0;
  uint64_t cycles = 0;
  bool missed = false;
  double start = seconds_now();
  (void)printf("3x3, default 8x8x32   cycles   issue  gather requant   drain  (%% of cycles)\n");
  for (size_t i = 0; i < sizeof WORKLOADS / sizeof WORKLOADS[0]; i++) {
    const workload *w = &WORKLOADS[i];
    if (!run_layer(&e, w)) return (void)printf("layer %zu did not run\n", i), 1;
    double issue = percent(e.issue, e.active);
    bool below = issue < w->target;
    missed |= below;
    cycles += e.active;
    (void)printf("%3u ch %2ux%-2u %ux%u bits %8" PRIu64 " %7.1f %7.1f %7.1f %7.1f", w->channels,
                 w->map, w->map, w->bits, w->bits, e.active, issue, percent(e.gather, e.active),
                 percent(e.requant, e.active),
                 percent(e.active - e.issue - e.gather - e.requant, e.active));
    if (w->target) (void)printf("  target %u%s", w->target, below ? " MISSED" : "");
    (void)printf("\n");
  }
  double seconds = seconds_now() - start;
  (void)printf("engine alone: %.2f MHz simulated on one core (target for the whole design: 1)\n",
               (double)cycles / seconds / 1e6);
  dut_close(e.d);
  return missed ? 1 : 0;
}
