// SPDX-License-Identifier: Apache-2.0
// Samples from batch normalisations: how near they come, that they follow from the seed alone, and
// what a network without normalisations says.
#include "host/train/synthetic.h"
#include "tests/unit/small_net.h"

enum { COUNT = 32, BATCH = 16, SIDE = 4, INPUTS = 2 * SIDE * SIDE, CHANNELS = 3 };

static const float MEAN[CHANNELS] = {0.5F, -1, 0}, VARIANCE[CHANNELS] = {4, 1, 0.25F};

// x[1,2,4,4]: a convolution of known weights, whose normalisation wants other means and variances
// than those of noise.
static bl_float_graph *network(bool normalised) {
  message graph = {0};
  message nodes[] = {new_node("Conv", "conv", "x w", "a"),
                     normalised ? new_node("BatchNormalization", "bn", "a g be me va", "n")
                                : new_node("Relu", "bn", "a", "n"),
                     new_node("Relu", "relu", "n", "y")};
  for (size_t k = 0; k < 3; k++)
    put_message(&graph, 1, &nodes[k]);
  static const float w[CHANNELS * 2] = {1, 0, 0.5F, 1, 0, -1};
  put_tensor(&graph, 5, "w", 1, (const int64_t[]){CHANNELS, 2, 1, 1}, 4, w, sizeof w);
  put_random(&graph, "g", (const int64_t[]){CHANNELS}, 1, 0.5, 2);
  put_random(&graph, "be", (const int64_t[]){CHANNELS}, 1, -0.5, 0.5);
  put_tensor(&graph, 5, "me", 1, (const int64_t[]){CHANNELS}, 1, MEAN, sizeof MEAN);
  put_tensor(&graph, 5, "va", 1, (const int64_t[]){CHANNELS}, 1, VARIANCE, sizeof VARIANCE);
  put_value(&graph, 11, "x", 1, (const int64_t[]){1, 2, SIDE, SIDE}, 4);
  put_value(&graph, 12, "y", 1, (const int64_t[]){1, CHANNELS, SIDE, SIDE}, 4);
  return import(&graph, 13);
}

// Distance of the first two channels of samples first..first+BATCH, computed here: channel 0 is
// input 0, channel 1 half of it plus input 1, channel 2 minus input 1.
static double distance(const float *samples) {
  double total = 0;
  for (int c = 0; c < CHANNELS; c++) {
    double sum = 0, square = 0;
    for (int i = 0; i < BATCH * SIDE * SIDE; i++) {
      const float *x = samples + i / (SIDE * SIDE) * INPUTS + i % (SIDE * SIDE);
      const double a = (double)x[0], b = (double)x[SIDE * SIDE];
      const double v = c == 0 ? a : c == 1 ? a / 2 + b : -b;
      sum += v;
      square += v * v;
    }
    const double n = BATCH * SIDE * SIDE, mean = sum / n,
                 deviation = sqrt(square / n - mean * mean);
    const double variance = (double)VARIANCE[c] + 1e-5;
    total += (pow(mean - (double)MEAN[c], 2) + pow(deviation - sqrt(variance), 2)) / variance;
  }
  return total / CHANNELS;
}

static void meets_statistics(void **state) {
  (void)state;
  bl_float_graph *graph = network(true);
  static float samples[COUNT][INPUTS], again[COUNT][INPUTS];
  bl_synthetic_options options = {.count = COUNT, .batch = BATCH, .seed = next_random()};
  bl_synthetic_result result;
  bl_error err = {0};
  if (bl_synthetic_samples(graph, &options, samples[0], &result, &err) != BL_OK)
    fail_msg("%s", err.text);
  const double got = (distance(samples[0]) + distance(samples[BATCH])) / 2;
  printf("distance %.5f, of noise %.3f\n", got, result.first);
  assert_int_equal(result.norms, 1);
  assert_true(fabs(got - result.last) < 1e-4 * (1 + got));
  // Channel 2 wants a deviation of 0.5 and no mean; channel 0 one of 2 and 0.5: a / 2 has one of 1
  // and 0.25, so channel 1 meets its deviation and its mean of -1 only in part.
  assert_true(result.first > 0.5 && got < 0.55 * result.first);
  assert_int_equal(bl_synthetic_samples(graph, &options, again[0], &result, &err), BL_OK);
  assert_memory_equal(samples, again, sizeof samples);
  options.seed++;
  assert_int_equal(bl_synthetic_samples(graph, &options, again[0], &result, &err), BL_OK);
  assert_memory_not_equal(samples, again, sizeof samples);
  bl_float_graph_free(graph);
}

static void refused(void **state) {
  (void)state;
  static float samples[COUNT * INPUTS];
  bl_synthetic_options options = {.count = COUNT, .batch = BATCH};
  bl_synthetic_result result;
  bl_error err = {0};
  bl_float_graph *graph = network(false);
  assert_int_equal(bl_synthetic_samples(graph, &options, samples, &result, &err),
                   BL_ERR_UNSUPPORTED);
  assert_non_null(strstr(err.text, "no batch normalisation"));
  bl_float_graph_free(graph);
  graph = network(true);
  options.count = BATCH + 1;
  err = (bl_error){0};
  assert_int_equal(bl_synthetic_samples(graph, &options, samples, &result, &err), BL_ERR_USAGE);
  assert_non_null(strstr(err.text, "17 are no multiple of batches of 16"));
  bl_float_graph_free(graph);
}

int main(void) {
  take_seed();
  const struct CMUnitTest tests[] = {cmocka_unit_test(meets_statistics), cmocka_unit_test(refused)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
