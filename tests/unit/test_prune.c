// SPDX-License-Identifier: Apache-2.0
// Pruning of weights: scores and masks against numbers worked out by hand, a stopped and resumed
// run against a straight one.
#include <math.h>

#include "host/prune/schedule.h"
#include "tests/unit/prune_support.h"

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
  s.prune = w->prune = p;
  const bl_train_hook hook = bl_prune_hook(&s);
  bl_trainer_options o = {.epochs = EPOCHS,
                          .seed = seed,
                          .optimiser = bl_optimiser_defaults(BL_OPTIMISER_ADAMW),
                          .schedule = {BL_SCHEDULE_CONSTANT, 0.01, 0, 0.1, 0, 1, 1},
                          .hooks = &hook,
                          .hook_count = 1,
                          .checkpoint = checkpoint};
  bl_train_net *net;
  bl_trainer *t;
  bl_error err = {0};
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

// Check-points of another schedule are refused by its key.
static void keys(void **state) {
  (void)state;
  bl_float_graph *graph = text_graph(&TRAINED, 1);
  const bl_prune_rule first = {.pattern = "h", .amount = 0.5},
                      last = {.pattern = "y", .amount = 0.5};
  bl_prune_schedule s[8];
  uint64_t key[8];
  for (size_t k = 0; k < 8; k++)
    s[k] = (bl_prune_schedule){
        .prune = open_prune(graph), .end = 14, .every = 3, .options = {.amount = 0.8}};
  s[1].options.regrow = true;
  s[2].options.each_layer = true;
  s[3].options.per_pixel = true;
  s[4].options.norm = BL_PRUNE_L2;
  s[5].options.rules = &first;
  s[6].options.rules = &last;
  s[5].options.rule_count = s[6].options.rule_count = 1;
  bl_error err = {0};
  assert_int_equal(bl_prune_blocks(s[7].prune, graph, 8, 8, &err), BL_OK);
  for (size_t k = 0; k < 8; k++) {
    key[k] = bl_prune_hook(&s[k]).key;
    for (size_t i = 0; i < k; i++)
      if (key[i] == key[k]) fail_msg("schedules %zu and %zu", i, k);
  }
  for (size_t k = 0; k < 8; k++)
    bl_prune_close(s[k].prune);
  bl_float_graph_free(graph);
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
      cmocka_unit_test(cubic_schedule),
      cmocka_unit_test(gradual),
      cmocka_unit_test(keys),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
