// SPDX-License-Identifier: Apache-2.0
// Pruning of weights and blocks: scores and masks against numbers worked out by hand, blocks
// against the weight words that the compiler counts, a stopped and resumed run against a straight
// one.
#include <math.h>

#include "host/cost/cost.h"
#include "host/float/session.h"
#include "host/prune/reconstruct.h"
#include "host/prune/schedule.h"
#include "host/quant/quantise.h"
#include "tests/unit/train_support.h"

static uint64_t seed = 1;

static bl_prune *open_prune(const bl_float_graph *graph) {
  bl_prune *p;
  bl_error err = {0};
  if (bl_prune_open(graph, &p, &err) != BL_OK) fail_msg("%s", err.text);
  return p;
}

static void choose(bl_prune *p, const bl_prune_options *o) {
  bl_error err = {0};
  if (bl_prune_masks(p, o, 1, &err) != BL_OK) fail_msg("%s", err.text);
}

static void by_magnitude(bl_prune *p, const bl_float_graph *graph) {
  bl_error err = {0};
  assert_int_equal(bl_prune_score_graph(p, graph, BL_PRUNE_MAGNITUDE, 0, &err), BL_OK);
}

static void expect_mask(const bl_prune *p, uint32_t layer, const char *bits) {
  char got[65] = {0};
  for (size_t i = 0; i < p->layers[layer].count && i < 64; i++)
    got[i] = p->layers[layer].mask[i] != 0 ? '1' : '0';
  assert_string_equal(got, bits);
}

static const text_net THREE = {"three",
                               "x 1 2 2 2",
                               "a 2 2 1 1 =1,-2,3,-4;d 2 1 1 1 =5,-0.5;g 8 2 =0.1,0.2,0.3,0.4,"
                               "0.5,0.6,0.7,0.8,-0.9,1,1.1,1.2,1.3,1.4,1.5,0",
                               "s 2 =1,8",
                               "Conv x a > first;Conv first d > second | group=i2;"
                               "Reshape second s > f;MatMul f g > y",
                               11};

static void layers(void **state) {
  (void)state;
  bl_float_graph *graph = text_graph(&THREE, 1);
  bl_prune *p = open_prune(graph);
  assert_int_equal(p->count, 3);
  assert_int_equal(p->layers[0].classes, BL_PRUNE_CONVOLUTION | BL_PRUNE_FIRST);
  assert_int_equal(p->layers[1].classes, BL_PRUNE_DEPTHWISE);
  assert_int_equal(p->layers[2].classes, BL_PRUNE_DENSE | BL_PRUNE_LAST);
  assert_true(p->layers[0].pixels == 4 && p->layers[2].pixels == 1);
  // two channels of four pixels, behind each other, for each of two outputs side by side
  const bl_prune_layer *d = &p->layers[2];
  assert_true(d->outputs == 2 && d->channels == 2 && d->taps == 4);
  assert_true(d->output_stride == 1 && d->channel_stride == 8 && d->tap_stride == 2);
  expect_mask(p, 2, "1111111111111110"); // what is 0 is pruned
  assert_true(fabs(bl_prune_sparsity(p, d) - 1.0 / 16) < 1e-12);
  assert_true(fabs(bl_prune_sparsity(p, NULL) - 1.0 / 22) < 1e-12);
  bl_prune_close(p);
  bl_float_graph_free(graph);
}

static void masks(void **state) {
  (void)state;
  bl_error err = {0};
  bl_float_graph *graph = text_graph(&THREE, 1);
  bl_prune *p = open_prune(graph);
  by_magnitude(p, graph);
  choose(p, &(bl_prune_options){.amount = 0.5}); // 11 of 22
  expect_mask(p, 0, "1111");
  expect_mask(p, 1, "10");
  expect_mask(p, 2, "0000000001111110");
  choose(p, &(bl_prune_options){.amount = 0.25}); // nothing comes back
  expect_mask(p, 2, "0000000001111110");
  choose(p, &(bl_prune_options){.amount = 0.25, .regrow = true}); // 5.5: 6
  expect_mask(p, 2, "0000111111111110");
  expect_mask(p, 1, "10");
  choose(p, &(bl_prune_options){.amount = 0.5, .each_layer = true, .keep = BL_PRUNE_LAST});
  expect_mask(p, 0, "0011");
  expect_mask(p, 1, "10");
  expect_mask(p, 2, "0000111111111110");
  assert_int_equal(bl_prune_apply(p, graph, &err), BL_OK);
  assert_true(graph->values[p->layers[0].value].f[1] == 0 &&
              graph->values[p->layers[0].value].f[2] == 3);
  bl_prune_close(p);
  bl_float_graph_free(graph);
}

static void thresholds_and_rules(void **state) {
  (void)state;
  bl_error err = {0};
  bl_float_graph *graph = text_graph(&THREE, 1);
  bl_prune *p = open_prune(graph);
  by_magnitude(p, graph);
  // below 0.5 * 4 and 0.5 * 5; 0.5 * 1.5 in the last
  choose(p, &(bl_prune_options){.measure = BL_PRUNE_LARGEST, .amount = 0.5});
  expect_mask(p, 0, "0111");
  expect_mask(p, 1, "10");
  expect_mask(p, 2, "0000000111111110");
  bl_prune_close(p);
  p = open_prune(graph);
  by_magnitude(p, graph);
  const bl_prune_rule rules[] = {
      {"n?ne", 0, 0.9}, {"first", BL_PRUNE_CONVOLUTION, 1}, {NULL, 0, 0}};
  bl_prune_options o = {.measure = BL_PRUNE_DEVIATION, .rules = rules + 1, .rule_count = 2};
  choose(p, &o); // sqrt((1 + 4 + 9 + 16) / 4) = 2.7
  expect_mask(p, 0, "0011");
  expect_mask(p, 1, "11");
  o = (bl_prune_options){.rules = rules, .rule_count = 3};
  assert_int_equal(bl_prune_masks(p, &o, 1, &err), BL_ERR_USAGE);
  assert_non_null(strstr(err.text, "n?ne"));
  o = (bl_prune_options){.amount = 1.5};
  assert_int_equal(bl_prune_masks(p, &o, 1, &err), BL_ERR_RANGE);
  bl_prune_close(p);
  bl_float_graph_free(graph);
}

// y = w x, L = mean (y - x)^2 over two elements, so dL/dw = (y - x) x'. Samples (1, 2): y = (5, 6),
// gradient 4 8 4 8; (1, -1): y = (-1, -3), gradient -2 2 -2 2.
static void scores_of_gradients(void **state) {
  (void)state;
  static const text_net net = {
      "mirror", "x 1 2", "w 2 2 =1,2,0,3", NULL, "Gemm x w > y | transB=i1", 11};
  static float samples[] = {1, 2, 1, -1};
  const double taylor[] = {3, 10, 0, 15}, gradient[] = {3, 5, 3, 5};
  bl_train_data data = {.values = samples, .count = 2, .elements = 2};
  bl_error err = {0};
  bl_float_graph *graph = text_graph(&net, 1);
  bl_prune *p = open_prune(graph);
  if (bl_prune_score_data(p, graph, &data, 5, BL_PRUNE_TAYLOR, &err) != BL_OK)
    fail_msg("%s", err.text);
  for (int i = 0; i < 4; i++)
    assert_true(fabs((double)p->layers[0].scores[i] - taylor[i]) < 1e-5);
  assert_int_equal(bl_prune_score_data(p, graph, &data, 2, BL_PRUNE_GRADIENT, &err), BL_OK);
  for (int i = 0; i < 4; i++)
    assert_true(fabs((double)p->layers[0].scores[i] - gradient[i]) < 1e-5);
  assert_int_equal(bl_prune_score_data(p, graph, &data, 0, BL_PRUNE_TAYLOR, &err), BL_ERR_USAGE);
  assert_int_equal(bl_prune_score_graph(p, graph, BL_PRUNE_TAYLOR, 0, &err), BL_ERR_USAGE);
  assert_int_equal(bl_prune_score_graph(p, graph, BL_PRUNE_RANDOM, seed, &err), BL_OK);
  float drawn[4];
  memcpy(drawn, p->layers[0].scores, sizeof drawn);
  assert_int_equal(bl_prune_score_graph(p, graph, BL_PRUNE_RANDOM, seed, &err), BL_OK);
  assert_memory_equal(drawn, p->layers[0].scores, sizeof drawn);
  assert_int_equal(bl_prune_score_graph(p, graph, BL_PRUNE_RANDOM, seed + 1, &err), BL_OK);
  assert_true(memcmp(drawn, p->layers[0].scores, sizeof drawn) != 0);
  graph->values[p->layers[0].value].f[1] = NAN;
  assert_int_equal(bl_prune_score_graph(p, graph, BL_PRUNE_MAGNITUDE, 0, &err), BL_ERR_RANGE);
  bl_prune_close(p);
  bl_float_graph_free(graph);
}

// ---- Blocks

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

// ---- Reconstruction

// One layer each, few windows, so that all of them count: convolution with padding, stride and a
// bias, groups without one, depthwise; and dense layers.
static const text_net SOLVED[] = {
    {"conv", "x 1 3 6 5", "w 4 3 3 3;b 4", NULL,
     "Conv x w b > y | pads=i1,0,1,1 strides=i2,1 dilations=i1,2", 11},
    {"groups", "x 1 4 5 5", "w 6 2 3 3", NULL, "Conv x w > y | pads=i1,1,1,1 group=i2", 11},
    {"depthwise", "x 1 4 5 5", "w 4 1 3 3;b 4", NULL, "Conv x w b > y | group=i4", 11},
    {"gemm", "x 1 12", "w 5 12;b 5", NULL, "Gemm x w b > y | transB=i1", 11},
    {"matmul", "x 1 12", "w 12 5", NULL, "MatMul x w > y", 11},
};

enum { SOLVED_SAMPLES = 7 };

// Runs the samples; the network's answers one behind the other.
static size_t answers(const bl_float_graph *graph, const bl_train_data *data, float *out) {
  bl_float_session *session;
  bl_error err = {0};
  size_t count = 0;
  assert_int_equal(bl_float_session_open(graph, &session, &err), BL_OK);
  for (size_t s = 0; s < data->count; s++) {
    memcpy(bl_float_session_input(session, 0)->f, data->values + s * data->elements,
           data->elements * sizeof(float));
    assert_int_equal(bl_float_session_run(session, &err), BL_OK);
    const bl_value *y = bl_float_session_value(session, graph->outputs[0]);
    memcpy(out + count, y->f, y->count * sizeof *out);
    count += y->count;
  }
  bl_float_session_close(session);
  return count;
}

// The sum of squared differences of the answers.
static void errors_of(const bl_float_graph *graph, const bl_train_data *data, const float *expected,
                      double *sum) {
  static float got[4096];
  const size_t count = answers(graph, data, got);
  *sum = 0;
  for (size_t k = 0; k < count; k++)
    *sum += pow((double)got[k] - (double)expected[k], 2);
}

static size_t row_of(const bl_prune_layer *l, size_t k) {
  return l->output_stride > 1 ? k / l->output_stride : k % l->outputs;
}

// The derivative of the error by every weight that is left is that of the damping: -2 d (v - w), d
// being 0.01 of the mean over a row's inputs of the sum of x^2, which is half the curvature.
static void check_solved(const text_net *net) {
  static float samples[SOLVED_SAMPLES * 128], expected[4096], before[512];
  bl_float_graph *graph = text_graph(net, seed);
  bl_train_data data = {.values = samples, .count = SOLVED_SAMPLES};
  data.elements = graph->values[graph->inputs[0]].count;
  for (size_t k = 0; k < data.count * data.elements; k++)
    samples[k] = (float)bl_random_normal(bl_random_key(seed, k)) + 0.5F;
  (void)answers(graph, &data, expected);
  bl_prune *p = open_prune(graph);
  bl_value *w = &graph->values[p->layers[0].value];
  memcpy(before, w->f, w->count * sizeof *before);
  by_magnitude(p, graph);
  choose(p, &(bl_prune_options){.amount = 0.4});
  double plain, solved;
  bl_error err = {0};
  for (size_t k = 0; k < w->count; k++)
    w->f[k] = p->layers[0].mask[k] != 0 ? before[k] : 0;
  errors_of(graph, &data, expected, &plain);
  memcpy(w->f, before, w->count * sizeof *before);
  if (bl_prune_reconstruct(p, graph, &data, 100, &err) != BL_OK) fail_msg("%s", err.text);
  errors_of(graph, &data, expected, &solved);
  if (!(solved < 0.97 * plain))
    fail_msg("seed %llu, %s: %g of %g", (unsigned long long)seed, net->name, solved, plain);
  const bl_prune_layer *l = &p->layers[0];
  const size_t inputs = l->channels * l->taps;
  double slope[512], curve[512], mean[8] = {0};
  for (size_t k = 0; k < w->count; k++) {
    const float v = w->f[k];
    double side[2];
    for (int i = 0; i < 2; i++) {
      w->f[k] = v + (i == 0 ? 0.0625F : -0.0625F);
      errors_of(graph, &data, expected, &side[i]);
    }
    w->f[k] = v;
    slope[k] = (side[0] - side[1]) / 0.125;
    curve[k] = (side[0] + side[1] - 2 * solved) / (0.0625 * 0.0625);
    mean[row_of(l, k)] += curve[k] / (double)inputs;
  }
  for (size_t k = 0; k < w->count; k++) {
    const double pull = 0.01 * mean[row_of(l, k)] * ((double)w->f[k] - (double)before[k]);
    if (l->mask[k] == 0)
      assert_true(w->f[k] == 0);
    else if (!(fabs(slope[k] + pull) < 1e-3 * mean[row_of(l, k)]))
      fail_msg("seed %llu, %s: weight %zu: slope %g, damping %g, curve %g",
               (unsigned long long)seed, net->name, k, slope[k], pull, curve[k]);
  }
  bl_prune_close(p);
  bl_float_graph_free(graph);
}

static void reconstruction(void **state) {
  (void)state;
  for (size_t n = 0; n < sizeof SOLVED / sizeof SOLVED[0]; n++)
    check_solved(&SOLVED[n]);
}

// y = 2 a + 3 b with b always a: without b it is 5 a, as far as the damping lets it; and a layer
// behind it takes nothing amiss.
static void reconstruction_by_hand(void **state) {
  (void)state;
  static const text_net net = {"twins",
                               "x 1 2",
                               "w 1 2 =3,2;v 1 1 =1",
                               NULL,
                               "Gemm x w > h | transB=i1;Gemm h v > y | transB=i1",
                               11};
  static float samples[] = {1, 1, 2, 2, -1, -1};
  bl_train_data data = {.values = samples, .count = 3, .elements = 2};
  bl_float_graph *graph = text_graph(&net, seed);
  bl_prune *p = open_prune(graph);
  bl_error err = {0};
  by_magnitude(p, graph);
  choose(p, &(bl_prune_options){.amount = 0.5, .each_layer = true, .keep = BL_PRUNE_LAST});
  assert_int_equal(bl_prune_reconstruct(p, graph, &data, 3, &err), BL_OK);
  const float *w = graph->values[p->layers[0].value].f, *v = graph->values[p->layers[1].value].f;
  // H = 6 + 0.06, right side 6 * 3 + 6 * 2 + 0.06 * 3
  assert_true(fabs((double)w[0] - 30.18 / 6.06) < 1e-5 && w[1] == 0);
  // reads 30.18 / 6.06 a instead of 5 a: H = 24.8 * 6 + its hundredth
  const double read = 30.18 / 6.06, h = 6 * read * read;
  assert_true(fabs((double)v[0] - (6 * read * 5 + 0.01 * h) / (1.01 * h)) < 1e-5);
  assert_int_equal(bl_prune_reconstruct(p, graph, &data, 0, &err), BL_ERR_USAGE);
  bl_prune_close(p);
  bl_float_graph_free(graph);
}

// ---- During training

static void cubic_schedule(void **state) {
  (void)state;
  bl_prune_schedule s = {.begin = 10, .end = 50, .every = 10, .start = 0.2};
  const double expected[] = {0.2, 1 - 0.8 * 0.421875, 1 - 0.8 * 0.125, 1 - 0.8 * 0.015625, 1};
  for (uint64_t k = 0; k < 5; k++)
    assert_true(fabs(bl_prune_schedule_factor(&s, 10 + 10 * k) - expected[k]) < 1e-12);
  assert_true(bl_prune_schedule_factor(&s, 15) < 0 && bl_prune_schedule_factor(&s, 0) < 0);
  assert_true(bl_prune_schedule_factor(&s, 60) < 0);
}

static const text_net TRAINED = {"trained",
                                 "x 8 1 4 4",
                                 "w 6 1 3 3;g 6;b 6;m 6;v 6 =1,1,1,1,1,1;d 2 96;e 2",
                                 "s 2 =8,96",
                                 "Conv x w > h | pads=i1,1,1,1;BatchNormalization h g b m v > n;"
                                 "Relu n > r;Reshape r s > f;Gemm f d e > y | transB=i1",
                                 11};

enum { SAMPLES = 40, EPOCHS = 4, STEPS = SAMPLES / 8 };

static float noise[SAMPLES * 16];
static int64_t labels[SAMPLES];

static bl_train_data make_data(void) {
  for (size_t k = 0; k < SAMPLES * (size_t)16; k++)
    noise[k] = (float)bl_random_normal(bl_random_key(seed, k));
  for (size_t s = 0; s < SAMPLES; s++)
    labels[s] = noise[s * 16] > noise[s * 16 + 5];
  return (bl_train_data){
      .values = noise, .labels = labels, .count = SAMPLES, .elements = 16, .has_labels = true};
}

typedef struct {
  uint64_t stop; // after so many steps; 0: never
  bl_prune *prune;
  double sparsity[EPOCHS * STEPS];
  uint64_t steps;
} watcher;

static bool watch(void *user, const bl_train_progress *progress) {
  (void)progress;
  watcher *w = user;
  w->sparsity[w->steps++] = bl_prune_sparsity(w->prune, NULL);
  return w->steps != w->stop;
}

// Trains with pruning; weights of all parameters one behind the other.
static size_t train(const bl_prune_schedule *plan, const char *checkpoint, bool resume, watcher *w,
                    float *weights) {
  bl_train_data data = make_data();
  bl_float_graph *graph = text_graph(&TRAINED, 1);
  bl_prune *p = open_prune(graph);
  bl_prune_schedule s = *plan;
  bl_trainer_options o = {.epochs = EPOCHS,
                          .seed = seed,
                          .optimiser = bl_optimiser_defaults(BL_OPTIMISER_ADAMW),
                          .schedule = {BL_SCHEDULE_CONSTANT, 0.01, 0, 0.1, 0, 1, 1},
                          .after = bl_prune_after,
                          .user = &s,
                          .checkpoint = checkpoint};
  bl_train_net *net;
  bl_trainer *t;
  bl_error err = {0};
  s.prune = w->prune = p;
  assert_int_equal(bl_train_open(graph, NULL, &net, &err), BL_OK);
  assert_int_equal(bl_trainer_open(net, &data, NULL, &o, &t, &err), BL_OK);
  if (resume && bl_trainer_resume(t, checkpoint, &err) != BL_OK) fail_msg("%s", err.text);
  assert_int_equal(bl_prune_attach(p, net, &err), BL_OK);
  if (bl_trainer_run(t, watch, w, &err) != BL_OK) fail_msg("%s", err.text);
  uint32_t count;
  size_t written = 0;
  const bl_train_parameter *all = bl_train_parameters(net, &count);
  for (uint32_t k = 0; k < count; k++) {
    memcpy(weights + written, all[k].data, all[k].count * sizeof *weights);
    written += all[k].count;
  }
  bl_trainer_close(t);
  bl_train_close(net);
  bl_prune_close(p);
  bl_float_graph_free(graph);
  return written;
}

static void gradual(void **state) {
  (void)state;
  static float straight[1024], resumed[1024];
  char path[] = "/tmp/bitloom-prune-XXXXXX";
  const int file = mkstemp(path);
  assert_true(file >= 0);
  assert_int_equal(close(file), 0);
  for (int k = 0; k < 3; k++) {
    bl_prune_schedule s = {.begin = 2, .end = 14, .every = 3, .options = {.amount = 0.8}};
    s.score = k == 0 ? BL_PRUNE_MAGNITUDE : k == 1 ? BL_PRUNE_TAYLOR : BL_PRUNE_GRADIENT;
    s.options.regrow = k == 2;
    watcher all = {0}, first = {.stop = 7 + (uint64_t)k}, rest = {0};
    const size_t count = train(&s, path, false, &all, straight);
    (void)train(&s, path, false, &first, resumed);
    (void)train(&s, path, true, &rest, resumed);
    assert_memory_equal(straight, resumed, count * sizeof *straight);
    assert_true(all.sparsity[1] == 0 && all.sparsity[2] == 0);
    for (uint64_t i = 1; i < all.steps; i++)
      assert_true(all.sparsity[i] >= all.sparsity[i - 1]);
    assert_true(fabs(all.sparsity[all.steps - 1] - 197.0 / 246) < 1e-9); // 0.8 * 246 = 196.8
    assert_int_equal(first.steps + rest.steps, all.steps);
  }
  (void)remove(path);
}

int main(void) {
  seed = test_seed();
  bl_train_threads(1);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(layers),
      cmocka_unit_test(masks),
      cmocka_unit_test(thresholds_and_rules),
      cmocka_unit_test(scores_of_gradients),
      cmocka_unit_test(blocks),
      cmocka_unit_test(cycles_fall),
      cmocka_unit_test(reconstruction),
      cmocka_unit_test(reconstruction_by_hand),
      cmocka_unit_test(cubic_schedule),
      cmocka_unit_test(gradual),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
