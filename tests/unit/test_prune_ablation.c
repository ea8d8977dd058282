// SPDX-License-Identifier: Apache-2.0
// What the ways to say how much is pruned buy on LeNet-5, nothing trained behind, on digits that
// were held out: figures of docs/reference/pruning.md, with the least that each must bring.
#include "tests/unit/recipe_bench.h"

#include "host/train/train_net.h"

enum { DIGITS = 4000, HELD_OUT = 1000 };

// Percent behind one pass; *zeros: the part of the weights that is pruned.
static double pruned(const bench *b, const char *how, double *zeros) {
  char passes[300];
  bench_figures figures;
  (void)snprintf(passes, sizeof passes, "  - prune: {score: magnitude, %s}\n", how);
  bench_run(b, passes, &figures);
  const bl_stage_figures *last = &figures.stages[figures.count - 1];
  *zeros = (double)last->zeros / (double)last->weights;
  printf("%s: %.1f %% of the weights pruned, %.1f %%\n", how, 100 * *zeros, bench_percent(last));
  return bench_percent(last);
}

// As many weights of each layer as another pass has pruned of all.
static double as_many(const bench *b, double zeros) {
  char how[100];
  double again;
  // the first layer, 150 of 61,470 weights, stays
  (void)snprintf(how, sizeof how, "sparsity: %.6f, scope: layer", zeros * 61470 / 61320);
  const double got = pruned(b, how, &again);
  assert_true(again > zeros - 1e-3 && again < zeros + 1e-3);
  return got;
}

// Below a part of each layer's largest weight: layers lose what they can do without.
static void by_threshold(void **state) {
  const bench *b = *state;
  double zeros;
  if (b == NULL) skip();
  const double got = pruned(b, "threshold: 0.3", &zeros);
  assert_true(zeros > 0.9);
  assert_true(got >= as_many(b, zeros) + 15);
}

// Dense layers alone.
static void by_class(void **state) {
  const bench *b = *state;
  double zeros;
  if (b == NULL) skip();
  const double got = pruned(b, "sparsity: 0.9, scope: layer, classes: dense", &zeros);
  assert_true(zeros > 0.85);
  assert_true(got >= as_many(b, zeros) + 5);
}

// Of all layers together.
static void by_scope(void **state) {
  const bench *b = *state;
  double zeros;
  if (b == NULL) skip();
  const double got = pruned(b, "sparsity: 0.9, scope: global", &zeros);
  assert_true(got >= as_many(b, zeros) + 20);
}

static int open_group(void **state) {
  static bench b;
  *state = open_bench(&b, &LENET5, 50000, DIGITS, 128, HELD_OUT) ? &b : NULL;
  return 0;
}

static int close_group(void **state) {
  if (*state != NULL) close_bench(*state);
  return 0;
}

int main(void) {
  bl_train_threads(1);
  const struct CMUnitTest tests[] = {cmocka_unit_test(by_threshold), cmocka_unit_test(by_class),
                                     cmocka_unit_test(by_scope)};
  return cmocka_run_group_tests(tests, open_group, close_group);
}
