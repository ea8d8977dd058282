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

// Against as many weights of each layer: below a part of each layer's largest weight, so that
// layers lose what they can do without; of dense layers alone; of all layers together.
static void ways(void **state) {
  static const struct {
    const char *how;
    double zeros, gain; // at least; gain in points
  } all[] = {{"threshold: 0.3", 0.9, 15},
             {"sparsity: 0.9, scope: layer, classes: dense", 0.85, 5},
             {"sparsity: 0.9, scope: global", 0.85, 20}};
  const bench *b = *state;
  double zeros;
  if (b == NULL) skip();
  for (size_t k = 0; k < sizeof all / sizeof all[0]; k++) {
    const double got = pruned(b, all[k].how, &zeros);
    assert_true(zeros > all[k].zeros);
    assert_true(got >= as_many(b, zeros) + all[k].gain);
  }
}

static int open_group(void **state) {
  return bench_open_group(state, &LENET5, 50000, DIGITS, 128, HELD_OUT);
}

int main(void) {
  bl_train_threads(1);
  const struct CMUnitTest tests[] = {cmocka_unit_test(ways)};
  return cmocka_run_group_tests(tests, open_group, bench_close_group);
}
