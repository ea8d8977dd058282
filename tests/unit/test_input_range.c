// SPDX-License-Identifier: Apache-2.0
// Dynamic ranges of the input: a layer by hand, small networks whose samples differ in loudness,
// what cannot be had.
#include "host/quant/input_range.h"
#include "tests/unit/refine_net.h"

// One matrix, weights 1 and -1 of integers of 1, calibrated on 0..255 with steps of 1: y = x0 - x1.
// A sample of 0.5 and 0.25 is lost in that; with its own range it is not: steps of 0.5 / 255.
static void by_hand(void **state) {
  (void)state;
  static sample_set set = {.elements = 2};
  message graph = {0};
  message node = new_node("Gemm", "fc", "x v", "y");
  put_message(&graph, 1, &node);
  put_tensor(&graph, 5, "v", 1, (const int64_t[]){2, 1}, 2, (const float[]){1, -1},
             2 * sizeof(float));
  put_value(&graph, 11, "x", 1, (const int64_t[]){1, 2}, 2);
  put_value(&graph, 12, "y", 1, (const int64_t[]){1, 1}, 2);
  bl_float_graph *imported = import(&graph, 13);
  for (size_t k = 0; k < SAMPLES; k++) {
    set.order[k] = k;
    set.samples[k][0] = 255;
  }
  const bl_quantise_options options = {.weight_bits = 8, .activation_bits = 8};
  bl_quantised q = quantised_by(imported, &set, &options);
  static const float quiet[2] = {0.5F, 0.25F}, negative[2] = {-3, 2};
  bl_input_range *range;
  bl_quantiser own;
  bl_error err = {0};
  double y;
  run_integers(&q, quiet, &y);
  assert_true(fabs(y) < 1e-9);
  assert_int_equal(bl_input_range_open(q.graph, &range, &err), BL_OK);
  assert_int_equal(bl_input_range_of(quiet, 2, &own, &err), BL_OK);
  assert_true(fabs(own.scale - 0.5 / 255) < 1e-12 && own.zero_point == 0);
  assert_int_equal(bl_input_range_set(range, own, &err), BL_OK);
  run_integers(&q, quiet, &y);
  assert_true(fabs(y - 0.25) <= 0.5 / 255);
  assert_int_equal(bl_input_range_of(negative, 2, &own, &err), BL_OK);
  assert_true(fabs(own.scale - 5.0 / 255) < 1e-12 && own.zero_point == 153);
  assert_int_equal(bl_input_range_set(range, own, &err), BL_OK);
  run_integers(&q, negative, &y);
  assert_true(fabs(y + 5) <= 5.0 / 255);
  const float not_one[2] = {1, NAN};
  assert_int_equal(bl_input_range_of(not_one, 2, &own, &err), BL_ERR_FORMAT);
  bl_input_range_close(range);
  bl_arena_free(q.graph->arena);
  bl_float_graph_free(imported);
}

static double squared_error(const bl_float_graph *graph, const bl_quantised *q, const float *x) {
  float want[OUTPUTS];
  double got[OUTPUTS], sum = 0;
  run_floats(graph, x, want);
  run_integers(q, x, got);
  for (size_t n = 0; n < OUTPUTS; n++)
    sum += pow(got[n] - (double)want[n], 2);
  return sum;
}

// One sample is much louder than others. Nothing much is won, as the ranges behind the first layer
// are still those of the loud one, and nothing much is lost. Padding has its integer each time, and
// the quantiser that it was made with gives back the graph as it was.
static void loud_and_quiet(void **state) {
  (void)state;
  static sample_set set;
  double still = 0, moving = 0;
  for (int round = 0; round < 5; round++) {
    random_samples(&set);
    for (size_t k = 1; k < SAMPLES; k++)
      for (size_t i = 0; i < INPUTS; i++)
        set.samples[k][i] *= 0.02F;
    bl_float_graph *graph = network();
    const bl_quantise_options options = {
        .weight_bits = 8, .activation_bits = 8, .range = BL_RANGE_MINMAX};
    bl_quantised q = quantised_by(graph, &set, &options), was = quantised_by(graph, &set, &options);
    const bl_int_tensor *in = &q.graph->tensors[0];
    const bl_quantiser first = {in->format, in->scale, in->zero_point};
    bl_input_range *range;
    bl_error err = {0};
    assert_int_equal(bl_input_range_open(q.graph, &range, &err), BL_OK);
    for (size_t k = 1; k < SAMPLES; k++) {
      still += squared_error(graph, &was, set.samples[k]);
      bl_quantiser own;
      assert_int_equal(bl_input_range_of(set.samples[k], INPUTS, &own, &err), BL_OK);
      assert_int_equal(bl_input_range_set(range, own, &err), BL_OK);
      assert_int_equal(bl_int_check(q.graph, &err), BL_OK);
      assert_int_equal(q.graph->layers[0].pad_value, own.zero_point);
      moving += squared_error(graph, &q, set.samples[k]);
    }
    assert_int_equal(bl_input_range_set(range, first, &err), BL_OK);
    same_graph(q.graph, was.graph);
    bl_input_range_close(range);
    bl_arena_free(q.graph->arena);
    bl_arena_free(was.graph->arena);
    bl_float_graph_free(graph);
  }
  printf("squared error: one range %.5f, each its own %.5f\n", still, moving);
  assert_true(moving < 1.2 * still);
}

// x + a convolution of x: the scales of the two belong together.
static void refused(void **state) {
  (void)state;
  static sample_set set;
  random_samples(&set);
  message graph = {0};
  message nodes[] = {new_node("Conv", "conv", "x w", "a"), new_node("Add", "sum", "a x", "y")};
  for (size_t k = 0; k < 2; k++)
    put_message(&graph, 1, &nodes[k]);
  put_random(&graph, "w", (const int64_t[]){2, 2, 1, 1}, 4, -1, 1);
  put_value(&graph, 11, "x", 1, (const int64_t[]){1, 2, 6, 6}, 4);
  put_value(&graph, 12, "y", 1, (const int64_t[]){1, 2, 6, 6}, 4);
  bl_float_graph *imported = import(&graph, 13);
  const bl_quantise_options options = {.weight_bits = 8, .activation_bits = 8};
  bl_quantised q = quantised_by(imported, &set, &options);
  bl_input_range *range;
  bl_error err = {0};
  assert_int_equal(bl_input_range_open(q.graph, &range, &err), BL_ERR_UNSUPPORTED);
  assert_non_null(strstr(err.text, "goes into a sum"));
  assert_null(range);
  bl_arena_free(q.graph->arena);
  bl_float_graph_free(imported);
}

int main(void) {
  take_seed();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(by_hand),
      cmocka_unit_test(loud_and_quiet),
      cmocka_unit_test(refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
