// SPDX-License-Identifier: Apache-2.0
// Pruned blocks: those that the compiler leaves out, word by word, on every configuration, whatever
// rounds them; and the cycles that they take.
#include <math.h>

#include "host/cost/cost.h"
#include "host/quant/quantise.h"
#include "tests/unit/prune_support.h"

static bl_status read_noise(void *context, size_t index, float *out, bl_error *err) {
  (void)err;
  const size_t count = *(const size_t *)context;
  for (size_t k = 0; k < count; k++)
    out[k] = (float)bl_random_unit(bl_random_key(bl_random_key(seed, index), k));
  return BL_OK;
}

static bl_int_graph *quantise(const bl_float_graph *graph, bl_rounding rounding) {
  size_t count = graph->values[graph->inputs[0]].count;
  bl_calibration calibration = {read_noise, &count, 2};
  bl_quantise_options options = {
      .weight_bits = 2, .activation_bits = 4, .output_bits = 4, .rounding = rounding};
  bl_quantised q;
  bl_error err = {0};
  if (bl_quantise(graph, &options, &calibration, &q, &err) != BL_OK) fail_msg("%s", err.text);
  return q.graph;
}

// Weights that become -1 or 1 in two bits, so that only pruned ones are 0 and every channel tile
// has both planes.
static void make_ternary(bl_float_graph *graph, const bl_prune *p) {
  for (uint32_t k = 0; k < p->count; k++)
    for (size_t i = 0; i < p->layers[k].count; i++) {
      const double u = bl_random_unit(bl_random_key(bl_random_key(seed, k), i)) - 0.5;
      graph->values[p->layers[k].value].f[i] = (float)(u < 0 ? u - 0.5 : u + 0.5);
    }
}

static uint64_t blocks_left(const bl_prune *p) {
  uint64_t left = 0;
  for (uint32_t k = 0; k < p->count; k++)
    left += (uint64_t)llround((1 - bl_prune_unit_sparsity(p, &p->layers[k])) *
                              (double)p->layers[k].unit_count);
  return left;
}

static const text_net BLOCK_NETS[] = {
    {"conv 16", "x 1 40 9 9", "a 16 40 1 1;b 24 16 3 3", NULL,
     "Conv x a > h;Relu h > r;Conv r b > y | pads=i1,1,1,1", 11},
    {"conv 44", "x 1 40 7 7", "a 44 40 1 1;b 20 44 3 3", NULL,
     "Conv x a > h;Relu h > r;Conv r b > y | strides=i2,2", 11},
    {"depthwise", "x 1 40 9 9", "a 48 40 1 1;b 48 1 3 3;c 16 48 1 1", NULL,
     "Conv x a > h;Relu h > r;Conv r b > d | pads=i1,1,1,1 group=i48;Relu d > e;Conv e c > y", 11},
    {"grouped", "x 1 40 8 8", "a 64 40 1 1;b 64 8 3 3", NULL,
     "Conv x a > h;Relu h > r;Conv r b > y | pads=i1,1,1,1 group=i8", 11},
    {"wide groups", "x 1 40 8 8", "a 96 40 1 1;b 64 48 3 3", NULL,
     "Conv x a > h;Relu h > r;Conv r b > y | pads=i1,1,1,1 group=i2", 11},
    {"flattened", "x 1 40 4 4", "a 20 40 1 1;b 320 12;c 12", "s 2 =1,320",
     "Conv x a > h;Relu h > r;Reshape r s > f;Gemm f b c > y", 11},
    {"channels last", "x 1 40 4 4", "a 20 40 1 1;b 12 320;c 12", "s 2 =1,320",
     "Conv x a > h;Relu h > r;Transpose r > t | perm=i0,2,3,1;Reshape t s > f;"
     "Gemm f b c > y | transB=i1",
     11},
    {"packed by the host", "x 1 3 20 20", "a 16 3 5 5;b 8 16 1 1", NULL,
     "Conv x a > h;Relu h > r;Conv r b > y", 11},
};

// Every block that is left takes its two planes of one weight word, and nothing else takes any.
static void check_words(const text_net *net, const bl_config *config, double sparsity,
                        bl_rounding rounding) {
  bl_error err = {0};
  bl_float_graph *graph = text_graph(net, seed);
  bl_prune *p = open_prune(graph);
  bl_program *program;
  bl_compile_options options = {config, 1};
  make_ternary(graph, p);
  assert_int_equal(bl_prune_blocks(p, graph, config->lanes, config->cols, &err), BL_OK);
  assert_int_equal(bl_prune_score_graph(p, graph, BL_PRUNE_RANDOM, seed, &err), BL_OK);
  choose(p, &(bl_prune_options){.amount = sparsity});
  assert_int_equal(bl_prune_apply(p, graph, &err), BL_OK);
  bl_int_graph *integers = quantise(graph, rounding);
  if (bl_compile(integers, &options, &program, &err) != BL_OK) fail_msg("%s", err.text);
  const uint64_t words = program->figures.weight_bytes / (config->lanes * config->cols / 8);
  if (words != 2 * blocks_left(p))
    fail_msg("seed %llu, %s on %s, %g: %llu weight words for %llu blocks", (unsigned long long)seed,
             net->name, config->name, sparsity, (unsigned long long)words,
             (unsigned long long)blocks_left(p));
  bl_program_free(program);
  bl_arena_free(integers->arena);
  bl_prune_close(p);
  bl_float_graph_free(graph);
}

static void blocks(void **state) {
  (void)state;
  for (size_t n = 0; n < sizeof BLOCK_NETS / sizeof BLOCK_NETS[0]; n++)
    for (int c = 0; c < BL_CONFIG_COUNT; c++)
      for (int k = 0; k < 2; k++)
        check_words(&BLOCK_NETS[n], &BL_CONFIGS[c], k == 0 ? 0 : 0.4, BL_ROUNDING_NEAREST);
  for (size_t n = 0; n < sizeof BLOCK_NETS / sizeof BLOCK_NETS[0]; n++)
    check_words(&BLOCK_NETS[n], &BL_CONFIGS[BL_CONFIG_DEFAULT], 0.4, BL_ROUNDING_GPTQ);
  check_words(&BLOCK_NETS[0], &BL_CONFIGS[BL_CONFIG_DEFAULT], 0.4, BL_ROUNDING_ADAROUND);
}

// 64 to 64 channels, 3 x 3 on 16 x 16: cycles against the part of blocks that is left.
static void cycles_fall(void **state) {
  (void)state;
  static const text_net net = {
      "wide", "x 1 64 16 16", "b 64 64 3 3", NULL, "Conv x b > y | pads=i1,1,1,1", 11};
  bl_compile_options device = {&BL_CONFIGS[BL_CONFIG_DEFAULT], 1};
  bl_error err = {0};
  double dense = 0;
  for (int k = 0; k < 4; k++) {
    bl_float_graph *graph = text_graph(&net, seed);
    bl_prune *p = open_prune(graph);
    make_ternary(graph, p);
    assert_int_equal(bl_prune_blocks(p, graph, device.config->lanes, device.config->cols, &err),
                     BL_OK);
    by_magnitude(p, graph);
    choose(p, &(bl_prune_options){.amount = 0.25 * k});
    assert_int_equal(bl_prune_apply(p, graph, &err), BL_OK);
    bl_int_graph *integers = quantise(graph, BL_ROUNDING_NEAREST);
    const double cycles = bl_cost_graph(&device, integers);
    if (k == 0) dense = cycles;
    printf("blocks pruned %2d %%: %.0f cycles, %.3f of all\n", 25 * k, cycles, cycles / dense);
    assert_true(fabs(cycles / dense - (1 - 0.25 * k)) < 0.02);
    bl_arena_free(integers->arena);
    bl_prune_close(p);
    bl_float_graph_free(graph);
  }
}

int main(void) {
  seed = test_seed();
  bl_train_threads(1);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(blocks),
      cmocka_unit_test(cycles_fall),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
