// SPDX-License-Identifier: Apache-2.0
// The cycle model against the simulated RTL: every run's cycles and their reasons, on the networks
// that are made in code and on random ones, over all configurations. More layers:
// random_regression --cycles yes. BITLOOM_SEED repeats a run.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "host/cost/cost.h"
#include "host/run/device.h"
#include "tests/bench/nets.h"
#include "tests/regress/random_graph.h"
#include "tests/regress/run_cost.h"

enum { NETWORKS = 8, LAYERS = 128, ATTEMPTS = 40, SIDE = 12, PASSES = 12 };

static uint64_t seed = 1;

// False where the compiler refuses the graph.
static bool agrees(const bl_int_graph *graph, const bl_config *config, uint32_t images,
                   const char *what, bl_cost *sum) {
  bl_error err = {0};
  bl_program *program;
  bl_compile_options options = {config, images};
  bl_device_spec spec = {.kind = BL_DEVICE_RTL, .config = config, .seed = seed};
  bl_device device;
  uint32_t runs;
  uint64_t cycles, modelled = 0;
  char text[BL_COST_TEXT];
  if (bl_compile(graph, &options, &program, &err) != BL_OK) return false;
  assert_int_equal(bl_device_open(&spec, &device, &err), BL_OK);
  if (!bl_run_cost(&device.driver, program, &runs, &cycles, text))
    fail_msg("seed %llu, %s on %s: %s", (unsigned long long)seed, what, config->name, text);
  bl_device_close(&device);
  bl_cost *layers = calloc(graph->layer_count, sizeof *layers);
  assert_non_null(layers);
  assert_int_equal(bl_cost_layers(program, graph->layer_count, layers, &err), BL_OK);
  for (uint32_t l = 0; l < graph->layer_count; l++) {
    modelled += layers[l].counters[BL_COUNTER_CYCLES];
    assert_true(layers[l].counters[BL_COUNTER_ISSUE] == program->layer_issue[l]);
    for (int k = 0; k < BL_COUNTER_COUNT; k++)
      sum->counters[k] += layers[l].counters[k];
  }
  assert_true(runs > 0 && modelled == cycles);
  free(layers);
  bl_program_free(program);
  return true;
}

static void made_networks(void **state) {
  (void)state;
  static const uint8_t bits[] = {1, 4};
  static const uint32_t channels[] = {16, 32, 64};
  bl_cost sum = {0};
  for (int c = 0; c < BL_CONFIG_COUNT; c++)
    for (size_t b = 0; b < 2; b++)
      for (size_t n = 0; n < 3; n++) {
        bl_int_graph *graph = bl_net_dense(channels[n], SIDE, bits[b], seed);
        assert_non_null(graph);
        assert_true(agrees(graph, &BL_CONFIGS[c], 1 + (uint32_t)n % 2, "dense", &sum));
        bl_arena_free(graph->arena);
      }
  bl_int_graph *cnv = bl_net_cnv(seed);
  assert_non_null(cnv);
  for (int c = 0; c < BL_CONFIG_COUNT; c++)
    assert_true(agrees(cnv, &BL_CONFIGS[c], 1, "CNV-W1A1", &sum));
  bl_arena_free(cnv->arena);
}

typedef bool (*maker)(uint64_t, uint32_t, uint32_t, uint32_t, bl_random_case *);

static void random_one(maker make, uint32_t number, const char *what, bl_cost *sum) {
  uint32_t allowed = BL_RANDOM_ALL;
  for (uint32_t attempt = 0; attempt < ATTEMPTS; attempt++) {
    bl_random_case made = {0};
    char text[40];
    assert_true(make(seed, number, attempt, allowed, &made));
    (void)snprintf(text, sizeof text, "%s %u", what, number);
    bool ran = agrees(&made.graph, made.config, made.images, text, sum);
    allowed &= ~made.features;
    bl_random_free(&made);
    if (ran) return;
  }
  fail_msg("seed %llu: %s %u always refused", (unsigned long long)seed, what, number);
}

// All reasons occur, so that none is right because it is always zero.
static void random_networks(void **state) {
  (void)state;
  bl_cost sum = {0};
  for (uint32_t i = 0; i < LAYERS; i++)
    random_one(bl_random_layer, i * 3, "layer", &sum);
  for (uint32_t i = 0; i < NETWORKS; i++)
    random_one(bl_random_network, i, "network", &sum);
  assert_true(sum.counters[BL_COUNTER_ISSUE] > 0 && sum.counters[BL_COUNTER_REQUANT] > 0);
  assert_true(sum.counters[BL_COUNTER_GATHER] > 0 && sum.counters[BL_COUNTER_DRAIN] > 0);
  assert_true(sum.counters[BL_COUNTER_CYCLES] ==
              sum.counters[BL_COUNTER_ISSUE] + sum.counters[BL_COUNTER_REQUANT] +
                  sum.counters[BL_COUNTER_GATHER] + sum.counters[BL_COUNTER_DRAIN]);
}

// A layer counted by hand: 1x1, 16 pixels in one row, one word of one plane, one tile of PASSES
// passes of one word, on the device `default`.
//   gather: SETUP in cycle 1, then SEGMENT, WINDOW_ROW, 8 words, hand-over: 12 and, the second half
//           being free, 23
//   steps: the first K entry is read in cycle 6 (tile entry 1..3, pass 4, 5), so its step waits for
//          the first fill from cycle 7 to 12: 6 cycles of GATHER; then 13..24, and 25..36 at once
//   last steps 24 and 36, the codes at pack 2*8+8+6 later: 54 and 66; 8 rows of 2 planes are
//   written in cycles 55..70, then 71..86; the signature has the last word three cycles later: 89
//   cycles
static void counted_by_hand(void **state) {
  (void)state;
  bl_error err = {0};
  bl_tile tiles[256] = {[7] = {.pass_base = 3, .pass_last = PASSES - 1}};
  bl_pass passes[512] = {0};
  for (int i = 0; i < PASSES; i++)
    passes[3 + i].count = 1;
  bl_descriptor d = {.in_planes = 1, .in_words = 1, .in_last_bytes = 4, .images = 1};
  d.kernel_h = d.kernel_w = d.dilation_h = d.dilation_w = d.stride_h = d.stride_w = 1;
  d.step_h = d.step_w = d.pool_h = d.pool_w = d.out_h = d.in_h = d.tiles = 1;
  d.out_w = d.in_w = 16;
  d.out_planes = 2;
  d.tile_base = 7;
  bl_cost cost;
  const bl_config *config = &BL_CONFIGS[BL_CONFIG_DEFAULT];
  assert_int_equal(bl_cost_run(config, &d, tiles, passes, &cost, &err), BL_OK);
  assert_int_equal(cost.counters[BL_COUNTER_CYCLES], 89);
  assert_int_equal(cost.counters[BL_COUNTER_ISSUE], 2 * PASSES);
  assert_int_equal(cost.counters[BL_COUNTER_GATHER], 6);
  assert_int_equal(cost.counters[BL_COUNTER_REQUANT], 0);
  assert_int_equal(cost.counters[BL_COUNTER_DRAIN], 89 - 2 * PASSES - 6);
}

static void out_of_range(void **state) {
  (void)state;
  bl_error err = {0};
  bl_tile tiles[256] = {{.pass_base = 500, .pass_last = 12}};
  static const bl_pass passes[512];
  bl_cost cost;
  const bl_config *config = &BL_CONFIGS[BL_CONFIG_DEFAULT];
  bl_descriptor d = {0};
  assert_int_equal(bl_cost_run(config, &d, tiles, passes, &cost, &err), BL_ERR_RANGE);
  d.in_planes = d.dilation_w = 1;
  d.in_words = d.images = d.kernel_h = d.kernel_w = d.step_w = d.pool_h = 1;
  d.pool_w = d.out_h = d.out_w = d.tiles = 1;
  d.out_planes = 1;
  assert_int_equal(bl_cost_run(config, &d, tiles, passes, &cost, &err), BL_ERR_RANGE);
  tiles[0].pass_last = 11;
  assert_int_equal(bl_cost_run(config, &d, tiles, passes, &cost, &err), BL_OK);
  d.tile_base = 256;
  assert_int_equal(bl_cost_run(config, &d, tiles, passes, &cost, &err), BL_ERR_RANGE);
  bl_config many = *config;
  many.rows = BL_COST_MAX_ROWS + 1;
  d.tile_base = 0;
  assert_int_equal(bl_cost_run(&many, &d, tiles, passes, &cost, &err), BL_ERR_RANGE);
}

int main(void) {
  const char *given = getenv("BITLOOM_SEED");
  seed = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
  printf("seed %llu\n", (unsigned long long)seed);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(counted_by_hand),
      cmocka_unit_test(out_of_range),
      cmocka_unit_test(made_networks),
      cmocka_unit_test(random_networks),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
