// SPDX-License-Identifier: Apache-2.0
// Shared weights: clusters against hand-computed cases and all partitions, codebooks, and the
// integers of a network whose weights are shared.
#include "host/compress/shared_plan.h"
#include "host/share/shared.h"
#include "tests/unit/small_net.h"

enum { IN = 20, HIDDEN = 12, OUT = 6, CLUSTERS = 5 };

static bl_kmeans_result clustered(const float *values, size_t count, unsigned clusters,
                                  bl_kmeans_start start) {
  bl_kmeans_result result;
  bl_error err = {0};
  const bl_kmeans_options options = {clusters, start, 3};
  if (bl_kmeans(values, count, &options, &result, &err) != BL_OK) fail_msg("%s", err.text);
  return result;
}

static void by_hand(void **state) {
  (void)state;
  const float values[] = {11, 1, 30, 2, 10};
  bl_kmeans_result r = clustered(values, 5, 3, BL_KMEANS_EXACT);
  assert_int_equal(r.count, 3);
  assert_true(r.centres[0] == 1.5f && r.centres[1] == 10.5f && r.centres[2] == 30);
  assert_true(fabs(r.error - 1) < 1e-12);
  assert_int_equal(bl_kmeans_nearest(&r, 5.9f), 0);
  assert_int_equal(bl_kmeans_nearest(&r, 6), 0); // as near to both
  assert_int_equal(bl_kmeans_nearest(&r, 6.1f), 1);
  assert_int_equal(bl_kmeans_nearest(&r, 99), 2);
  assert_int_equal(bl_kmeans_nearest(&r, -99), 0);
  r = clustered(values, 5, 9, BL_KMEANS_EXACT); // more clusters than numbers
  assert_true(r.count == 5 && r.error == 0);
  r = clustered(values, 5, 1, BL_KMEANS_LINEAR);
  assert_true(r.count == 1 && fabs((double)r.centres[0] - 10.8) < 1e-6);
  // From 0, 6.5 and 13: {0}, {5, 7}, {11, 12, 13}.
  const float local[] = {0, 5, 7, 11, 12, 13};
  r = clustered(local, 6, 3, BL_KMEANS_LINEAR);
  assert_true(r.count == 3 && r.centres[0] == 0 && r.centres[1] == 6 && r.centres[2] == 12);
  assert_true(fabs(r.error - 4) < 1e-12);
  // Without the middle numbers its cluster gets none, and there are two.
  const float gap[] = {0, 1, 99, 100};
  r = clustered(gap, 4, 3, BL_KMEANS_LINEAR);
  assert_true(r.count == 2 && r.centres[0] == 0.5f && r.centres[1] == 99.5f);
}

static int ascending(const void *a, const void *b) {
  const float x = *(const float *)a, y = *(const float *)b;
  return x < y ? -1 : x > y;
}

static double spread(const float *x, size_t count) {
  double mean = 0, sum = 0;
  for (size_t k = 0; k < count; k++)
    mean += (double)x[k] / (double)count;
  for (size_t k = 0; k < count; k++)
    sum += ((double)x[k] - mean) * ((double)x[k] - mean);
  return sum;
}

// The least error of all partitions of sorted numbers into intervals.
static double least(const float *x, size_t count, unsigned clusters) {
  if (clusters == 1 || count == 0) return spread(x, count);
  double best = INFINITY;
  for (size_t last = 0; last <= count; last++)
    best = fmin(best, least(x, last, clusters - 1) + spread(x + last, count - last));
  return best;
}

static void exact_is_exact(void **state) {
  (void)state;
  take_seed();
  for (int round = 0; round < 200; round++) {
    float x[14];
    const size_t count = 1 + next_random() % 14;
    const unsigned clusters = 1 + next_random() % 4;
    for (size_t k = 0; k < count; k++)
      x[k] = round % 2 == 0 ? (float)uniform(-1, 1) : (float)(next_random() % 7);
    const bl_kmeans_result best = clustered(x, count, clusters, BL_KMEANS_EXACT);
    for (int start = BL_KMEANS_LINEAR; start <= BL_KMEANS_PLUS_PLUS; start++) {
      const bl_kmeans_result r = clustered(x, count, clusters, (bl_kmeans_start)start);
      assert_true(r.count >= 1 && r.count <= clusters);
      assert_true(r.error >= best.error - 1e-9);
      const bl_kmeans_result again = clustered(x, count, clusters, (bl_kmeans_start)start);
      assert_memory_equal(&r, &again, sizeof r);
    }
    qsort(x, count, sizeof *x, ascending);
    assert_true(fabs(best.error - least(x, count, clusters)) < 1e-6);
  }
}

// On many normal numbers: the optimum, and how much Lloyd's starts lose against it.
static void many_numbers(void **state) {
  (void)state;
  enum { COUNT = 30000 };
  static float x[COUNT];
  take_seed();
  for (size_t k = 0; k < COUNT; k++) {
    double sum = 0;
    for (int i = 0; i < 12; i++)
      sum += uniform(-1, 1);
    x[k] = (float)sum;
  }
  const double best = clustered(x, COUNT, 15, BL_KMEANS_EXACT).error;
  static const char *const names[] = {"exact", "linear", "density", "random", "plus-plus"};
  for (int start = BL_KMEANS_LINEAR; start <= BL_KMEANS_PLUS_PLUS; start++) {
    const double error = clustered(x, COUNT, 15, (bl_kmeans_start)start).error;
    printf("%s: %.4f of the least error\n", names[start], error / best);
    assert_true(error >= best * (1 - 1e-9) && error < 2 * best);
  }
}

static void refused(void **state) {
  (void)state;
  const float values[] = {1, NAN}, one[] = {1};
  bl_kmeans_result result;
  bl_error err = {0};
  bl_kmeans_options options = {.clusters = 2};
  assert_int_equal(bl_kmeans(values, 2, &options, &result, &err), BL_ERR_RANGE);
  options.clusters = 0;
  assert_int_equal(bl_kmeans(one, 1, &options, &result, &err), BL_ERR_RANGE);
  options.clusters = BL_KMEANS_MAX_CLUSTERS + 1;
  assert_int_equal(bl_kmeans(one, 1, &options, &result, &err), BL_ERR_RANGE);
  options.clusters = 2;
  assert_int_equal(bl_kmeans(one, 0, &options, &result, &err), BL_OK);
  assert_int_equal(result.count, 0);
}

static void sharing(void **state) {
  (void)state;
  float weights[] = {0, 1, 1.5f, -4, 0, -4.5f, 0};
  const float expected[] = {0, 1.25f, 1.25f, -4.25f, 0, -4.25f, 0};
  float values[3];
  bl_kmeans_result result;
  bl_error err = {0};
  const bl_kmeans_options options = {.clusters = 2};
  assert_int_equal(bl_shared_count(weights, 7, 3, NULL), 4); // more than three
  assert_int_equal(bl_share_values(weights, 7, &options, &result, &err), BL_OK);
  assert_memory_equal(weights, expected, sizeof weights);
  assert_int_equal(bl_shared_count(weights, 7, 3, values), 2);
  assert_true(values[0] == -4.25f && values[1] == 1.25f);
}

static void codebooks(void **state) {
  (void)state;
  bl_codebook book;
  const float zeros[4] = {0};
  assert_false(bl_shared_codebook(zeros, 4, &book));
  float many[17];
  for (int k = 0; k < 17; k++)
    many[k] = (float)k;
  assert_false(bl_shared_codebook(many, 17, &book)); // 16 and 0
  // Integers from scale 1/127 on fit without error: 127, -64, and 0 between them.
  const float weights[] = {1, 0, -64.0f / 127, 1};
  assert_true(bl_shared_codebook(weights, 4, &book));
  assert_true(fabs(book.scale * 127 - 1) < 1e-12);
  assert_int_equal(book.values[0], -64);
  assert_int_equal(book.values[1], 0);
  for (int k = 2; k < BL_INT_CODES; k++)
    assert_int_equal(book.values[k], 127);
  assert_int_equal(book.format.bits, 8);
  // Any values come back to half a step.
  take_seed();
  for (int k = 0; k < 15; k++)
    many[k] = (float)uniform(-2, 2);
  assert_true(bl_shared_codebook(many, 15, &book));
  int8_t q[15];
  const double scale = bl_codebook_quantise(&book, many, 15, BL_RANGE_MSE, q);
  assert_true(scale == book.scale);
  for (int k = 0; k < 15; k++)
    assert_true(fabs((double)many[k] - scale * q[k]) <= 0.5 * scale + 1e-12);
}

static bl_float_graph *dense_net(void) {
  message graph = {0};
  put_text(&graph, 2, "net");
  message node = new_node("MatMul", "one", "x w1", "a");
  put_message(&graph, 1, &node);
  node = new_node("Relu", "relu", "a", "b");
  put_message(&graph, 1, &node);
  node = new_node("MatMul", "two", "b w2", "y");
  put_message(&graph, 1, &node);
  put_random(&graph, "w1", (int64_t[]){IN, HIDDEN}, 2, -1, 1);
  put_random(&graph, "w2", (int64_t[]){HIDDEN, OUT}, 2, -1, 1);
  put_value(&graph, 11, "x", ONNX_FLOAT, (int64_t[]){1, IN}, 2);
  put_value(&graph, 12, "y", ONNX_FLOAT, (int64_t[]){1, OUT}, 2);
  return import(&graph, 13);
}

// One weight is one integer in a layer: shared values go to integers of one scale, whatever the
// channel, and the device computes with them to half a step.
static void on_the_device(void **state) {
  (void)state;
  bl_error err = {0};
  bl_network network;
  bl_kmeans_result result;
  take_seed();
  bl_float_graph *graph = dense_net(), *original = NULL;
  assert_int_equal(bl_network_open(graph, original, &network, &err), BL_OK);
  float samples[4 * IN];
  for (size_t k = 0; k < 4 * IN; k++)
    samples[k] = (float)uniform(0, 1);
  const bl_train_data data = {
      .values = samples, .count = 4, .elements = IN, .shape = {1, 1, IN}, .black_count = 1};
  network.data.calibration = &data;
  network.device = (bl_compile_options){&BL_CONFIGS[1], 0};
  static const char *const names[] = {"w1", "w2"};
  for (int k = 0; k < 2; k++) {
    bl_weight_rule *rule;
    bl_value *value = bl_network_value(&network, names[k]);
    const bl_kmeans_options options = {.clusters = CLUSTERS};
    value->f[3] = 0;
    assert_int_equal(bl_share_values(value->f, value->count, &options, &result, &err), BL_OK);
    assert_int_equal(bl_network_rule(&network, names[k], &rule, &err), BL_OK);
    rule->most = CLUSTERS;
  }
  bl_quantised made;
  if (bl_network_quantise(&network, NULL, &made, &err) != BL_OK) fail_msg("%s", err.text);
  for (int l = 0; l < 2; l++) {
    const bl_int_layer *layer = &made.graph->layers[l];
    const bl_value *value = bl_network_value(&network, names[l]);
    const size_t rows = l == 0 ? IN : HIDDEN, columns = l == 0 ? HIDDEN : OUT;
    assert_non_null(layer->codebook);
    double scale = 0; // by the largest weight
    for (size_t k = 0; k < rows * columns; k++) {
      const int8_t q = layer->weights[k % columns * rows + k / columns];
      if (q != 0) scale = fmax(scale, fabs((double)value->f[k]) / abs(q));
    }
    for (size_t k = 0; k < rows * columns; k++) {
      const int8_t q = layer->weights[k % columns * rows + k / columns];
      assert_int_equal(value->f[k] == 0, q == 0);
      for (size_t i = 0; i < k; i++)
        if (value->f[i] == value->f[k])
          assert_int_equal(layer->weights[i % columns * rows + i / columns], q);
    }
    assert_true(scale > 0);
  }
  float expected[OUT];
  double got[OUT];
  run_floats(graph, samples, expected);
  run_integers(&made, samples, got);
  for (int k = 0; k < OUT; k++)
    assert_true(fabs((double)expected[k] - got[k]) < 0.1);
  bl_arena_free(made.graph->arena);
  bl_network_close(&network);
}

// With so many fraction bits, offsets are multiples of that part of the output's integer, and off
// by half of it at most.
static void offsets(void **state) {
  (void)state;
  bl_error err = {0};
  float samples[4 * IN];
  take_seed();
  bl_float_graph *graph = dense_net();
  for (size_t k = 0; k < 4 * IN; k++)
    samples[k] = (float)uniform(0, 1);
  const bl_train_data data = {
      .values = samples, .count = 4, .elements = IN, .shape = {1, 1, IN}, .black_count = 1};
  bl_network network = {.graph = graph, .data = {.calibration = &data}};
  const bl_calibration calibration = bl_network_calibration(&network);
  bl_quantise_options options = {.weight_bits = 8, .activation_bits = 8};
  bl_quantised all, few;
  if (bl_quantise(graph, &options, &calibration, &all, &err) != BL_OK) fail_msg("%s", err.text);
  options.offset_bits = 5;
  if (bl_quantise(graph, &options, &calibration, &few, &err) != BL_OK) fail_msg("%s", err.text);
  const bl_int_layer *a = &all.graph->layers[0], *b = &few.graph->layers[0];
  for (int n = 0; n < HIDDEN; n++) {
    assert_int_equal(a->shift[n], b->shift[n]);
    assert_true(b->shift[n] > 5);
    const int64_t unit = (int64_t)1 << (b->shift[n] - 5);
    assert_true(b->bias[n] % unit == 0 && llabs(a->bias[n] - b->bias[n]) <= unit / 2);
  }
  bl_arena_free(all.graph->arena);
  bl_arena_free(few.graph->arena);
  bl_float_graph_free(graph);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(by_hand),       cmocka_unit_test(exact_is_exact),
      cmocka_unit_test(many_numbers),  cmocka_unit_test(refused),
      cmocka_unit_test(sharing),       cmocka_unit_test(codebooks),
      cmocka_unit_test(on_the_device), cmocka_unit_test(offsets),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
