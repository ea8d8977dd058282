// SPDX-License-Identifier: Apache-2.0
// What ranges, codebooks, corrections and roundings buy without training, on training images that
// were held out: figures of docs/reference/refinement.md, with the least that each must bring.
#include "tests/unit/recipe_bench.h"

#include "host/train/trainer.h"

typedef struct {
  const char *name, *passes;
} line_of;

// One recipe of many stages; got[k] is what line k gets right, in percent.
static void measure(const bench_net *net, size_t held_out, const line_of *lines, size_t count,
                    double *got) {
  char passes[2048] = "";
  bench b;
  bench_figures figures;
  if (!open_bench(&b, net, 0, 400, 64, held_out)) skip();
  for (size_t k = 0; k < count; k++) {
    strcat(strcat(passes, "  - "), lines[k].passes);
    strcat(passes, "\n");
  }
  bench_run(&b, passes, &figures);
  assert_int_equal(figures.count, count + 1);
  printf("float: %.1f %%\n", bench_percent(&figures.stages[0]));
  for (size_t k = 0; k < count; k++) {
    got[k] = bench_percent(&figures.stages[k + 1]);
    printf("%s: %.1f %%\n", lines[k].name, got[k]);
  }
  close_bench(&b);
}

// LeNet-5, activations of two bits.
static void ranges(void **state) {
  (void)state;
  static const line_of lines[] = {
      {"minmax", "quantise: {activation-bits: 2, range: minmax}"},
      {"average", "quantise: {activation-bits: 2, range: average}"},
      {"percentile", "quantise: {activation-bits: 2, range: percentile, percentage: 99}"},
      {"mse", "quantise: {activation-bits: 2, range: mse}"},
      {"entropy", "quantise: {activation-bits: 2, range: entropy}"},
      {"entropy, 8 bits", "quantise: {activation-bits: 8, range: entropy}"},
  };
  double got[6];
  measure(&LENET5, 500, lines, 6, got);
  assert_true(got[0] >= 92 && got[1] >= 96 && got[2] >= 95 && got[3] >= 95 && got[5] >= 98);
  assert_true(got[1] >= got[0] + 0.5 && got[3] >= got[0]);
  assert_true(got[4] <= 50); // as documented: entropy is for 8 bits
}

// LeNet-5, weights of few bits rounded to the nearest.
static void weights(void **state) {
  (void)state;
  static const line_of lines[] = {
      {"w8", "quantise"},
      {"nf4", "quantise: {weight-bits: 4, codebook: nf4}"},
      {"po2", "quantise: {weight-bits: 4, codebook: po2}"},
      {"apot", "quantise: {weight-bits: 4, codebook: apot}"},
      {"w4", "quantise: {weight-bits: 4}"},
      {"w3", "quantise: {weight-bits: 3}"},
      {"w2", "quantise: {weight-bits: 2}"},
      {"w2, GPTQ and corrected",
       "quantise: {weight-bits: 2, rounding: gptq, bias-correction: empirical}"},
      {"w2, TWN", "quantise: {weight-bits: 2, ternary-threshold: 0.7}"},
      {"w2, one scale a layer", "quantise: {weight-bits: 2, scales: per-tensor}"},
      {"w1", "quantise: {weight-bits: 1}"},
      {"w1, GPTQ and corrected",
       "quantise: {weight-bits: 1, rounding: gptq, bias-correction: empirical}"},
  };
  double got[12];
  static const double least[] = {98.5, 98, 98, 98, 98, 97, 89, 95, 88, 70, 75, 80};
  measure(&LENET5, 500, lines, 12, got);
  for (int k = 0; k < 12; k++)
    assert_true(got[k] >= least[k]);
  assert_true(got[7] >= got[6] + 2 && got[6] >= got[9] + 3);
}

// ResNet-8, four-bit weights.
static void roundings(void **state) {
  (void)state;
  static const line_of lines[] = {
      {"w4a8, nearest", "quantise: {weight-bits: 4}"},
      {"one scale a layer", "quantise: {weight-bits: 4, scales: per-tensor}"},
      {"corrected", "quantise: {weight-bits: 4, bias-correction: empirical}"},
      {"GPTQ", "quantise: {weight-bits: 4, rounding: gptq}"},
  };
  double got[4];
  measure(&RESNET8, 100, lines, 4, got);
  assert_true(got[1] <= got[0] - 8);
  assert_true(got[2] >= got[0] + 5 && got[3] >= got[0] + 10 && got[3] >= 84);
}

int main(void) {
  bl_train_threads(1);
  const struct CMUnitTest tests[] = {cmocka_unit_test(ranges), cmocka_unit_test(weights),
                                     cmocka_unit_test(roundings)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
