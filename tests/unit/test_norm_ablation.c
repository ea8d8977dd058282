// SPDX-License-Identifier: Apache-2.0
// What techniques that need batch norms, or signs, buy a small network of two convolutions, trained
// here on digits and measured on others that were held out: figures of docs/reference/{pruning,
// train}.md, with the least that each must bring.
#include "tests/unit/recipe_bench.h"

#include "host/train/trainer.h"
#include "tests/unit/train_support.h"

enum { DIGITS = 2000, HELD_OUT = 1000, CALIBRATION = 128 };

#define NORM(n, gamma, zeros) "g" n " " gamma ";b" n " " zeros ";m" n " " zeros ";v" n " " gamma ";"
#define ONES8 "1,1,1,1,1,1,1,1"
#define ZEROS8 "0,0,0,0,0,0,0,0"
#define CONSTANTS                                                                                  \
  "w1 16 1 5 5;w2 24 16 3 3;d 10 600;low =-1;high =1;" NORM("1", "16 =" ONES8 "," ONES8,           \
                                                            "16 =" ZEROS8 "," ZEROS8)              \
      NORM("2", "24 =" ONES8 "," ONES8 "," ONES8, "24 =" ZEROS8 "," ZEROS8 "," ZEROS8)
#define NODES(after1, after2)                                                                      \
  "Conv x w1 > h1 | strides=i2,2;BatchNormalization h1 g1 b1 m1 v1 > n1;" after1                   \
  ";Conv r1 w2 > h2 | strides=i2,2;BatchNormalization h2 g2 b2 m2 v2 > n2;" after2                 \
  ";Flatten r2 > f;Gemm f d > y | transB=i1"

static const text_net RELU = {
    "relu", "x 1 1 28 28", CONSTANTS, NULL, NODES("Relu n1 > r1", "Relu n2 > r2"), 13};
static const text_net SIGN = {
    "sign", "x 1 1 28 28", CONSTANTS, NULL, NODES("Clip n1 low high > r1", "Clip n2 low high > r2"),
    13};

static bool open_net(bench *b, const text_net *net) {
  if (!open_bench(b, &LENET5, 50000, DIGITS, CALIBRATION, HELD_OUT)) return false;
  bl_float_graph_free(b->graph);
  b->graph = text_graph(net, 1);
  // Random numbers of -0.5..0.5 are too large for the last layer.
  for (uint32_t v = 0; v < b->graph->value_count; v++)
    for (size_t k = 0; strcmp(b->graph->values[v].name, "d") == 0 && k < b->graph->values[v].count;
         k++)
      b->graph->values[v].f[k] *= 0.1F;
  return true;
}

#define FLOAT "  - train: {epochs: 4, batch: 32, lr: 1e-2, teacher: none}\n"
#define TWO                                                                                        \
  "  - quantise: {weight-bits: 2, activation-bits: 2}\n"                                           \
  "  - train: {epochs: 2, batch: 8, lr: 3e-3, teacher: none, schedule: constant"
#define ONE                                                                                        \
  "  - quantise: {weight-bits: 1, activation-bits: 1, layers: {first: {weight-bits: 8}, "          \
  "last: {weight-bits: 8}}}\n  - train: {epochs: 3, batch: 32, lr: 3e-3, teacher: none"

// Half of each layer's channels by gamma, at once, from a network trained with a pull on gammas.
static void slimming(void **state) {
  (void)state;
  static const char *const strengths[] = {"0", "2e-2"};
  double whole[2], half[2];
  bench b;
  if (!open_net(&b, &RELU)) skip();
  for (int k = 0; k < 2; k++) {
    char passes[400];
    bench_figures f;
    (void)snprintf(passes, sizeof passes,
                   "  - train: {epochs: 12, batch: 32, optimizer: sgd, lr: 0.05, teacher: none, "
                   "slimming: %s}\n"
                   "  - prune-channels: {score: gamma, amount: 0.5, multiple: 1}\n",
                   strengths[k]);
    bench_run(&b, passes, &f);
    whole[k] = bench_percent(&f.stages[1]);
    half[k] = bench_percent(&f.stages[2]);
    printf("slimming %s: %.1f %%, half of the channels %.1f %%\n", strengths[k], whole[k], half[k]);
  }
  assert_true(whole[1] >= whole[0] - 4);
  assert_true(half[1] >= 85 && half[1] >= half[0] + 15);
  close_bench(&b);
}

// Three-bit weights without training, of one scale a layer as well; corrected by what the batch
// norms say; equalised.
static void without_data(void **state) {
  (void)state;
  static const char *const names[] = {"float", "w3a8", "corrected analytically",
                                      "one scale a layer", "equalised"};
  bench b;
  bench_figures f;
  if (!open_net(&b, &RELU)) skip();
  bench_run(&b,
            FLOAT "  - quantise: {weight-bits: 3}\n"
                  "  - quantise: {weight-bits: 3, bias-correction: analytic}\n"
                  "  - quantise: {weight-bits: 3, scales: per-tensor}\n"
                  "  - equalise\n",
            &f);
  assert_int_equal(f.count, 6);
  for (uint32_t k = 1; k < 6; k++) {
    printf("%s: %.1f %%\n", names[k - 1], bench_percent(&f.stages[k]));
    assert_true(bench_percent(&f.stages[k]) >= bench_percent(&f.stages[1]) - (k < 4 ? 4 : 8));
  }
  close_bench(&b);
}

// Channels that differ by orders of magnitude, as slimming leaves them, in three bits of one scale.
static void equalised(void **state) {
  (void)state;
  bench b;
  bench_figures f;
  if (!open_net(&b, &RELU)) skip();
  bench_run(&b,
            "  - train: {epochs: 12, batch: 32, optimizer: sgd, lr: 0.05, teacher: none, "
            "slimming: 2e-2}\n"
            "  - quantise: {weight-bits: 3, scales: per-tensor}\n"
            "  - equalise\n",
            &f);
  const double rounded = bench_percent(&f.stages[2]), equal = bench_percent(&f.stages[3]);
  printf("slimmed, w3a8, one scale a layer: %.1f %%, equalised %.1f %%\n", rounded, equal);
  assert_true(equal >= 86 && equal >= rounded + 1);
  close_bench(&b);
}

static void statistics(void **state) {
  (void)state;
  bench b;
  if (!open_net(&b, &RELU)) skip();
  const double moving = bench_last(&b, "w2a2, batches of 8", FLOAT TWO "}\n");
  const double frozen = bench_last(&b, "statistics frozen behind two thirds",
                                   FLOAT TWO ", freeze-statistics: 0.67}\n");
  close_bench(&b);
  assert_true(frozen >= 84 && frozen >= moving - 4);
}

static void signs(void **state) {
  (void)state;
  bench b;
  if (!open_net(&b, &SIGN)) skip();
  const double clip = bench_last(&b, "w1a1", FLOAT ONE "}\n");
  const double polynomial = bench_last(&b, "polynomial", FLOAT ONE ", sign: polynomial}\n");
  const double steep = bench_last(&b, "tanh", FLOAT ONE ", sign: tanh}\n");
  close_bench(&b);
  assert_true(clip >= 80 && polynomial >= clip - 4 && steep >= clip - 4);
}

// ResNet-8 as its exporter left it, batch norms merged; with new ones.
static void merged(void **state) {
  (void)state;
#define TWO_BITS                                                                                   \
  "  - quantise: {weight-bits: 2, activation-bits: 2}\n"                                           \
  "  - train: {epochs: 2, lr: 6e-3, relative-rate: true, clip: 1, temperature: 2}\n"
  bench b;
  if (!open_bench(&b, &RESNET8, 0, DIGITS, CALIBRATION, HELD_OUT)) skip();
  const double without = bench_last(&b, "ResNet-8, w2a2", TWO_BITS);
  const double with = bench_last(&b, "with batch-norms", "  - batch-norms\n" TWO_BITS);
  close_bench(&b);
  assert_true(with >= 28 && with >= without + 5);
}

int main(void) {
  bl_train_threads(1);
  const struct CMUnitTest tests[] = {cmocka_unit_test(slimming),  cmocka_unit_test(without_data),
                                     cmocka_unit_test(equalised), cmocka_unit_test(statistics),
                                     cmocka_unit_test(signs),     cmocka_unit_test(merged)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
