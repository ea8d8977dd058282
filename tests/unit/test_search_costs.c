// SPDX-License-Identifier: Apache-2.0
// Costs by layer: they add up to those of the whole network, and the integer program's to those of
// the plan that it proposes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "host/cost/cost.h"
#include "host/onnx/onnx_import.h"
#include "host/search/search.h"
#include "host/search/separable.h"

enum { SAMPLES = 8, PIXELS = 64 };

static float values[SAMPLES * PIXELS];
static bl_train_data data = {.values = values, .count = SAMPLES, .elements = PIXELS};
static bl_float_graph *graph;
static bl_compile_options device = {&BL_CONFIGS[1], 0};
static bl_candidates *candidates;

static int open_candidates(void **state) {
  (void)state;
  bl_error err = {0};
  const bl_onnx_options one = {.batch = 1, .rebatch = true};
  uint64_t seed = 5;
  for (size_t k = 0; k < SAMPLES * PIXELS; k++) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    values[k] = (float)(seed >> 60); // 0..15, as the digits have
  }
  if (bl_onnx_import("examples/digits/digits.onnx", &one, &graph, &err) != BL_OK) return -1;
  const bl_candidate_source source = {.graph = graph,
                                      .quantise = {.weight_bits = 8,
                                                   .activation_bits = 8,
                                                   .range = BL_RANGE_MSE,
                                                   .part_channels = device.config->cols,
                                                   .cycles = bl_cost_graph,
                                                   .device = &device},
                                      .calibration = &data,
                                      .held_out = &data,
                                      .device = device};
  return bl_candidates_open(&source, &candidates, &err) == BL_OK ? 0 : -1;
}

static int close_candidates(void **state) {
  (void)state;
  bl_candidates_close(candidates);
  bl_float_graph_free(graph);
  return 0;
}

static void costs_add_up(void **state) {
  (void)state;
  uint32_t layers;
  (void)bl_candidates_layers(candidates, &layers);
  assert_int_equal(layers, 4);
  bl_planned planned[] = {{"Conv1", {4, -1, -1, 3}},
                          {"Conv3", {2, 0.5, -1, 5}},
                          {"Conv6", {6, -1, 0.5, 2}},
                          {"Gemm10", {3, -1, -1, -1}}};
  for (uint32_t count = 0; count <= 4; count++) {
    const bl_search_plan plan = {planned, count};
    bl_layer_cost costs[4];
    bl_search_result whole;
    bl_error err = {0};
    double ahead, cycles, bytes = 0;
    if (bl_candidate_costs(candidates, &plan, costs, &ahead, &err) != BL_OK ||
        bl_candidate_evaluate(candidates, &plan, &whole, &err) != BL_OK)
      fail_msg("%s", err.text);
    cycles = ahead;
    for (uint32_t k = 0; k < layers; k++) {
      cycles += costs[k].cycles + costs[k].behind;
      bytes += costs[k].bytes;
      assert_int_equal(costs[k].before, (int32_t)k - 1);
    }
    assert_true(fabs(cycles - whole.cycles) < 1e-6);
    assert_true(fabs(bytes - whole.bytes) < 1e-6);
  }
}

// All choices lose the same, so that only cycles count.
static void program_knows_the_cycles(void **state) {
  (void)state;
  static const double bits[] = {2, 4};
  const bl_search_choices choices = {.values = {bits, NULL, NULL, bits}, .counts = {2, 0, 0, 2}};
  bl_arena *arena = bl_arena_new(1 << 20);
  bl_error err = {0};
  bl_space space;
  assert_int_equal(bl_search_space(candidates, &choices, arena, &space, &err), BL_OK);
  assert_int_equal(space.count, 4 + 3);
  bl_search_result same[2] = {{.loss = 1}, {.loss = 1}}, *results[7];
  for (uint32_t k = 0; k < space.count; k++)
    results[k] = same;
  const bl_sensitivity sensitivity = {.best = {.loss = 1}, .results = results};
  bl_separable *program;
  if (bl_separable_open(candidates, &space, &sensitivity, 2, &program, &err) != BL_OK)
    fail_msg("%s", err.text);
  bl_search_limits limits = {{INFINITY, INFINITY, INFINITY}, -1};
  uint8_t choice[7];
  double sums[BL_CRITERIA];
  assert_int_equal(bl_separable_solve(program, BL_CYCLES, &limits, choice, sums, &err), BL_OK);
  bl_search_plan plan;
  bl_search_result whole;
  assert_int_equal(bl_space_plan(&space, choice, arena, &plan, &err), BL_OK);
  assert_int_equal(bl_candidate_evaluate(candidates, &plan, &whole, &err), BL_OK);
  printf("least: %.0f cycles by the program, %.0f of the whole\n", sums[BL_CYCLES], whole.cycles);
  for (uint32_t k = 0; k < space.count; k++)
    assert_int_equal(choice[k], 0);
  assert_true(fabs(sums[BL_CYCLES] - whole.cycles) < 0.02 * whole.cycles);
  assert_true(fabs(sums[BL_BYTES] - whole.bytes) < 1e-6);
  limits.most[BL_CYCLES] = 100;
  err = (bl_error){0};
  assert_int_equal(bl_separable_solve(program, BL_LOSS, &limits, choice, sums, &err), BL_ERR_RANGE);
  bl_separable_close(program);
  bl_arena_free(arena);
}

// Real cycles, and losses that do not add up: two bits in a layer's output lose 0.3 alone and 5
// more for every other output that has them; two bits in weights lose 1.
static bl_status entangled(void *context, const bl_search_plan *plan, bl_search_result *result,
                           bl_error *err) {
  int outputs = 0, weights = 0;
  BL_TRY(bl_candidate_evaluate(context, plan, result, err));
  for (uint32_t k = 0; k < plan->count; k++) {
    outputs += plan->layers[k].value[BL_KNOB_ACTIVATION_BITS] == 2;
    weights += plan->layers[k].value[BL_KNOB_WEIGHT_BITS] == 2;
  }
  result->loss = 0.3 * outputs + 5.0 * outputs * (outputs > 1 ? outputs - 1 : 0) + weights;
  return BL_OK;
}

static bl_search_result found_in(uint32_t rounds, double most_cycles, const bl_space *space) {
  bl_arena *arena = bl_arena_new(1 << 22);
  const bl_pool_options how = {
      .space = space, .evaluate = entangled, .context = candidates, .workers = 2};
  const bl_search_options options = {.axis = BL_CYCLES,
                                     .limits = {{most_cycles, INFINITY, INFINITY}, -1},
                                     .budgets = 2,
                                     .rounds = rounds,
                                     .workers = 2};
  bl_search_outcome outcome;
  bl_pool *pool;
  bl_error err = {0};
  if (bl_pool_open(&how, &pool, &err) != BL_OK ||
      bl_search(candidates, space, pool, &options, arena, &outcome, &err) != BL_OK)
    fail_msg("%s", err.text);
  const bl_search_result result = outcome.result;
  bl_pool_close(pool);
  bl_arena_free(arena);
  return result;
}

// Where losses do not add up, a second round sees it.
static void rounds(void **state) {
  (void)state;
  static const double bits[] = {2, 3, 4};
  const bl_search_choices choices = {.values = {bits, NULL, NULL, bits}, .counts = {3, 0, 0, 3}};
  bl_arena *arena = bl_arena_new(1 << 20);
  bl_search_result whole;
  bl_error err = {0};
  bl_space space;
  assert_int_equal(bl_search_space(candidates, &choices, arena, &space, &err), BL_OK);
  const bl_search_plan none = {NULL, 0};
  assert_int_equal(bl_candidate_evaluate(candidates, &none, &whole, &err), BL_OK);
  double gained = 0;
  for (int k = 4; k < 7; k++) {
    const double most = whole.cycles * k / 40;
    const bl_search_result one = found_in(1, most, &space), two = found_in(2, most, &space);
    printf("at most %.0f cycles: loss %.1f, in two rounds %.1f\n", most, one.loss, two.loss);
    assert_true(two.cycles <= most && two.loss <= one.loss);
    gained += one.loss - two.loss;
  }
  assert_true(gained > 1);
  bl_arena_free(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(costs_add_up),
      cmocka_unit_test(program_knows_the_cycles),
      cmocka_unit_test(rounds),
  };
  return cmocka_run_group_tests(tests, open_candidates, close_candidates);
}
