// SPDX-License-Identifier: Apache-2.0
// What single techniques of quantisation-aware training buy on LeNet-5, and on a residual network
// ResNet-20, on images that were held out: the figures of docs/reference/train.md, with the least
// that each must bring.
#include "tests/unit/recipe_bench.h"

#include "host/train/trainer.h"

enum { DIGITS = 4000, HELD_OUT = 1000, CALIBRATION = 512, PHOTOS = 1920, PHOTOS_HELD_OUT = 500 };

static double trained(const bench *b, const char *name, const char *bits, const char *how) {
  char passes[400];
  (void)snprintf(passes, sizeof passes,
                 "  - quantise: {%s}\n  - train: {epochs: 3, batch: 32, teacher: none, %s}\n", bits,
                 how);
  return bench_last(b, name, passes);
}

static const char TWO[] = "weight-bits: 2, activation-bits: 2";

// Steps and clips in two bits, at a constant rate.
static void steps(void **state) {
  const bench *b = *state;
  if (b == NULL) skip();
  const double rounded =
      bench_last(b, "w2a2, rounded", "  - quantise: {weight-bits: 2, activation-bits: 2}\n");
  const double fixed = trained(b, "trained, steps as they were", TWO,
                               "lr: 1e-3, schedule: constant, freeze-steps: 1e-9");
  const double learned = trained(b, "LSQ", TWO, "lr: 1e-3, schedule: constant");
  const double bipolar = trained(b, "bipolar", TWO, "lr: 1e-3, schedule: constant, bipolar: true");
  const double pact = trained(b, "PACT", TWO, "lr: 1e-3, schedule: constant, pact: 1e-2");
  const double ternary = trained(b, "TWN", TWO, "lr: 1e-3, schedule: constant, ternary: true");
  assert_true(fixed >= rounded + 5 && ternary >= rounded + 5 && bipolar >= rounded + 5);
  assert_true(learned >= fixed + 0.5 && pact >= fixed + 0.5);
}

// Weights stay real until the last hundredth and are pulled to their one bit meanwhile.
static void regulariser(void **state) {
  const bench *b = *state;
  if (b == NULL) skip();
  const double plain =
      trained(b, "w1a8, rounded in the end", "weight-bits: 1", "lr: 1e-3, weights-from: 0.99");
  const double pulled = trained(b, "with a regulariser", "weight-bits: 1",
                                "lr: 1e-3, weights-from: 0.99, regulariser: 0.1");
  assert_true(pulled >= plain + 2);
}

// The rate is too large for the last step to be a good one: weights flip to the end.
static void unsteady_ends(void **state) {
  const bench *b = *state;
  if (b == NULL) skip();
  const double last = trained(b, "w2a2 at a large rate", TWO, "lr: 3e-3, schedule: constant");
  const double mean = trained(b, "averaged", TWO, "lr: 3e-3, schedule: constant, average: 0.98");
  const double frozen = trained(b, "oscillating weights frozen", TWO,
                                "lr: 3e-3, schedule: constant, freeze-oscillating: 0.005");
  assert_true(mean >= last + 0.5);
  assert_true(frozen >= last + 1.5);
}

// The sums of a residual network: with more bits than what is multiplied, and with a ratio of their
// scales that learns.
static void skips(void **state) {
  (void)state;
  static const char passes[] = "  - quantise: {weight-bits: 2, activation-bits: 2, skip-bits: %d}\n"
                               "  - train: {epochs: 1, batch: 32, lr: 5e-3, relative-rate: true, "
                               "clip: 1, temperature: 4, ratio-bits: %d, bipolar: %s}\n";
  static const struct {
    const char *name;
    int skip_bits, ratio_bits;
    const char *bipolar;
  } ways[] = {{"ResNet-20, w2a2", 0, 1, "false"},
              {"ResNet-20, w2a2, sums of 8 bits", 8, 1, "false"},
              {"ResNet-20, w2a2, sums of 8 bits, ratios of 4", 8, 4, "false"},
              {"and bipolar weights", 8, 4, "true"}};
  bench b;
  double right[4];
  if (!open_bench(&b, &RESNET20, 0, PHOTOS, CALIBRATION / 4, PHOTOS_HELD_OUT)) skip();
  for (int k = 0; k < 4; k++) {
    char text[400];
    (void)snprintf(text, sizeof text, passes, ways[k].skip_bits, ways[k].ratio_bits,
                   ways[k].bipolar);
    right[k] = bench_last(&b, ways[k].name, text);
  }
  close_bench(&b);
  assert_true(right[1] >= right[0] + 10 && right[2] >= right[1] + 3 && right[3] >= right[2] + 3);
}

static int open_group(void **state) {
  return bench_open_group(state, &LENET5, 50000, DIGITS, CALIBRATION, HELD_OUT);
}

int main(void) {
  bl_train_threads(1);
  const struct CMUnitTest tests[] = {cmocka_unit_test(steps), cmocka_unit_test(regulariser),
                                     cmocka_unit_test(unsteady_ends), cmocka_unit_test(skips)};
  return cmocka_run_group_tests(tests, open_group, bench_close_group);
}
