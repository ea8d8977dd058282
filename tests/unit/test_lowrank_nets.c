// SPDX-License-Identifier: Apache-2.0
// What each way of low rank keeps of LeNet-5 without training, with calibration samples and from
// the weights alone: figures of docs/reference/low-rank.md, on digits that were held out, with the
// least that each must bring. Without the data nothing is measured.
#include "tests/unit/recipe_bench.h"

#include "host/train/trainer.h"

enum { CALIBRATION = 256, HELD_OUT = 1000 };

typedef struct {
  const char *pass, *ranks;
  double least, gain; // percent with samples, at least; points above the weights alone
  double weights;     // at most, of what they were
} low_rank;

static void lenet(void **state) {
  (void)state;
  static const low_rank ways[] = {
      {"svd", "rank-by: weights, share: 0.25", 97, 0, 0.25},
      {"svd", "rank-by: energy, share: 0.9", 96, -3, 0.25},
      {"svd", "rank-by: auto", 97.5, 1, 0.55},
      {"spatial-svd", "rank-by: macs, share: 0.5, multiple: 1", 98.5, 0, 0.98},
      {"tucker", "rank-by: macs, share: 0.5, multiple: 1", 95, 6, 0.98},
      {"cp", "rank-by: macs, share: 0.5, multiple: 1", 96, 5, 0.98},
      {"separable", "rank-by: macs, share: 0.5, multiple: 1", 96, 10, 0.98},
  };
  bench b;
  if (!open_bench(&b, &LENET5, 50000, CALIBRATION, CALIBRATION, HELD_OUT)) skip();
  for (size_t k = 0; k < sizeof ways / sizeof *ways; k++) {
    char passes[2][200];
    bench_figures with, without;
    (void)snprintf(passes[0], sizeof passes[0], "  - %s: {%s}\n", ways[k].pass, ways[k].ranks);
    (void)snprintf(passes[1], sizeof passes[1], "  - %s: {%s, data: false, repair: none}\n",
                   ways[k].pass, ways[k].ranks);
    bench_run(&b, passes[0], &with);
    bench_run(&b, passes[1], &without);
    const double got = bench_percent(&with.stages[1]), bare = bench_percent(&without.stages[1]);
    const double weights = (double)with.stages[1].weights / (double)with.stages[0].weights;
    printf("%s, %s: %.1f %%, from the weights alone %.1f %%; %.3f of the weights, %.0f of %.0f "
           "cycles\n",
           ways[k].pass, ways[k].ranks, got, bare, weights, with.stages[1].cycles,
           with.stages[0].cycles);
    assert_true(got >= ways[k].least && got >= bare + ways[k].gain);
    assert_true(weights <= ways[k].weights);
  }
  close_bench(&b);
}

int main(void) {
  bl_train_threads(1);
  const struct CMUnitTest tests[] = {cmocka_unit_test(lenet)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
