// SPDX-License-Identifier: Apache-2.0
// Ternary weights against all choices of zeros; networks whose scales are powers of two.
#include "host/quant/weights.h"
#include "tests/unit/refine_net.h"

// ---- Ternary

// Weights 4, -3, 1, 0.5: of {4}, {4, 3}, {4, 3, 1}, all: 16, 24.5, 21.3, 18.1. So 3.5 (1, -1, 0,
// 0). TWN: the mean is 2.125, 0.7 of it 1.4875: the same. A threshold of 0.4: 0.85, so 8/3 (1, -1,
// 1, 0).
static void ternary_by_hand(void **state) {
  (void)state;
  static const float w[4] = {4, -3, 1, 0.5F};
  int8_t q[4];
  assert_true(bl_ternary_weights(w, 4, 0, q) == 3.5);
  assert_memory_equal(q, ((const int8_t[]){1, -1, 0, 0}), 4);
  assert_true(bl_ternary_weights(w, 4, 0.7, q) == 3.5);
  assert_memory_equal(q, ((const int8_t[]){1, -1, 0, 0}), 4);
  assert_true(fabs(bl_ternary_weights(w, 4, 0.4, q) - 8.0 / 3) < 1e-12);
  assert_memory_equal(q, ((const int8_t[]){1, -1, 1, 0}), 4);
  static const float none[2] = {0, 0};
  assert_true(bl_ternary_weights(none, 2, 0, q) == 1 && q[0] == 0 && q[1] == 0);
}

static double squared_error(const float *w, const int8_t *q, int count, double scale) {
  double sum = 0;
  for (int k = 0; k < count; k++)
    sum += pow((double)w[k] - scale * q[k], 2);
  return sum;
}

// All sets of weights that are not 0, each with its best scale: the mean magnitude.
static void ternary_is_best(void **state) {
  (void)state;
  enum { COUNT = 10 };
  double sums[2] = {0};
  for (int round = 0; round < 100; round++) {
    float w[COUNT];
    int8_t q[COUNT];
    for (int k = 0; k < COUNT; k++)
      w[k] = (float)(uniform(-1, 1) * uniform(0, 1));
    double best = INFINITY;
    for (int set = 1; set < 1 << COUNT; set++) {
      double scale = 0;
      int kept = 0;
      for (int k = 0; k < COUNT; k++) {
        q[k] = (int8_t)((set >> k & 1) == 0 ? 0 : w[k] > 0 ? 1 : -1);
        scale += q[k] == 0 ? 0 : fabs((double)w[k]);
        kept += q[k] != 0;
      }
      best = fmin(best, squared_error(w, q, COUNT, scale / kept));
    }
    double scale = bl_ternary_weights(w, COUNT, 0, q);
    const double exact = squared_error(w, q, COUNT, scale);
    assert_true(fabs(exact - best) < 1e-9);
    assert_true(bl_quantise_weights(w, COUNT, 2, BL_RANGE_MSE, q) == scale);
    scale = bl_ternary_weights(w, COUNT, 0.7, q);
    sums[0] += exact;
    sums[1] += squared_error(w, q, COUNT, scale);
  }
  printf("squared error: exact %.3f, TWN's threshold %.3f\n", sums[0], sums[1]);
  assert_true(sums[0] < sums[1] && sums[1] < 1.5 * sums[0]);
}

static void ternary_networks(void **state) {
  (void)state;
  static sample_set set;
  random_samples(&set);
  bl_float_graph *graph = network();
  int64_t zeros[2] = {0};
  for (int k = 0; k < 2; k++) {
    const bl_quantise_options options = {.weight_bits = 2,
                                         .activation_bits = 8,
                                         .range = BL_RANGE_MSE,
                                         .ternary_threshold = k == 0 ? 0.2 : 1.2};
    bl_quantised q = quantised_by(graph, &set, &options);
    const bl_int_layer *last = &q.graph->layers[q.graph->layer_count - 1];
    for (int i = 0; i < OUTPUTS * 72; i++) {
      assert_in_range(last->weights[i] + 1, 0, 2);
      zeros[k] += last->weights[i] == 0;
    }
    bl_arena_free(q.graph->arena);
  }
  assert_true(zeros[0] > 0 && zeros[1] > 2 * zeros[0]);
  bl_float_graph_free(graph);
}

// ---- Powers of two

static bool is_power(double scale) {
  int exponent;
  return frexp(scale, &exponent) == 0.5;
}

// x[1,2,6,6]: convolution, normalisation, ReLU, a sum of two convolutions, ReLU, matrix.
static bl_float_graph *normalised(void) {
  message graph = {0};
  message nodes[] = {new_node("Conv", "conv", "x w", "a"),
                     new_node("BatchNormalization", "bn", "a g be me va", "n"),
                     new_node("Relu", "relu", "n", "r"),
                     new_node("Conv", "left", "r m", "i"),
                     new_node("BatchNormalization", "bn2", "i g be me va", "j"),
                     new_node("Conv", "right", "r o", "k"),
                     new_node("Add", "add", "j k", "s"),
                     new_node("Relu", "relu2", "s", "t"),
                     new_node("Flatten", "flat", "t", "f"),
                     new_node("Gemm", "fc", "f v c", "y")};
  put_ints(&nodes[0], "strides", (const int64_t[]){2, 2}, 2);
  put_int(&nodes[9], "transB", 1);
  for (size_t k = 0; k < 10; k++)
    put_message(&graph, 1, &nodes[k]);
  put_random(&graph, "w", (const int64_t[]){8, 2, 2, 2}, 4, -1, 1);
  put_random(&graph, "g", (const int64_t[]){8}, 1, 0.5, 2);
  put_random(&graph, "be", (const int64_t[]){8}, 1, -0.5, 0.5);
  put_random(&graph, "me", (const int64_t[]){8}, 1, -0.5, 0.5);
  put_random(&graph, "va", (const int64_t[]){8}, 1, 0.5, 2);
  put_random(&graph, "m", (const int64_t[]){8, 8, 1, 1}, 4, -1, 1);
  put_random(&graph, "o", (const int64_t[]){8, 8, 1, 1}, 4, -1, 1);
  put_random(&graph, "v", (const int64_t[]){OUTPUTS, 72}, 2, -1, 1);
  put_random(&graph, "c", (const int64_t[]){OUTPUTS}, 1, -1, 1);
  put_value(&graph, 11, "x", 1, (const int64_t[]){1, 2, 6, 6}, 4);
  put_value(&graph, 12, "y", 1, (const int64_t[]){1, OUTPUTS}, 2);
  return import(&graph, 13);
}

static double any_cycles(void *device, const bl_int_graph *graph) {
  (void)device;
  return graph->layer_count; // a projection in its sum would be fewer
}

static double mean_square_of_outputs(const bl_float_graph *graph, const sample_set *set) {
  double square = 0;
  for (size_t k = 0; k < SAMPLES; k++) {
    float y[OUTPUTS];
    run_floats(graph, set->samples[k], y);
    for (size_t n = 0; n < OUTPUTS; n++)
      square += pow((double)y[n], 2) / SAMPLES / OUTPUTS;
  }
  return square;
}

// Every scale, every multiplier; and the network still computes what it did: over 320 networks the
// error was at most 1.6 % of the outputs' mean square.
static void powers_of_two(void **state) {
  (void)state;
  static sample_set set;
  for (int round = 0; round < 8; round++) {
    random_samples(&set);
    bl_float_graph *graph = round % 2 == 0 ? network() : normalised();
    double bias;
    for (int power = 0; power < 2; power++) {
      const bl_quantise_options options = {.weight_bits = 6,
                                           .activation_bits = 8,
                                           .range = round < 4 ? BL_RANGE_MSE : BL_RANGE_MINMAX,
                                           .rounding = round % 4 < 2 ? BL_ROUNDING_NEAREST
                                                                     : BL_ROUNDING_GPTQ,
                                           .power_scales = power == 1,
                                           .cycles = any_cycles};
      bl_quantised q = quantised_by(graph, &set, &options);
      const double error = error_of_outputs(graph, &q, &set, &bias);
      assert_true(error < 0.05 * mean_square_of_outputs(graph, &set));
      for (uint32_t t = 0; power == 1 && t < q.graph->tensor_count; t++)
        assert_true(is_power(q.graph->tensors[t].scale));
      for (uint32_t k = 0; power == 1 && k < q.graph->layer_count; k++) {
        const bl_int_layer *layer = &q.graph->layers[k];
        const bl_int_tensor *out = &q.graph->tensors[layer->output];
        for (uint32_t n = 0; n < out->c; n++)
          assert_true(out->format.kind == BL_FORMAT_ACC ? is_power(layer->out_scale[n])
                                                        : abs(layer->mult[n]) == 1 << 15);
      }
      bl_arena_free(q.graph->arena);
    }
    bl_float_graph_free(graph);
  }
}

// Codebooks and signs, too.
static void powers_of_codes(void **state) {
  (void)state;
  static sample_set set;
  random_samples(&set);
  bl_float_graph *graph = normalised();
  bl_codebook nf4;
  bl_error err = {0};
  assert_int_equal(bl_codebook_open("nf4", &nf4, &err), BL_OK);
  for (int coded = 0; coded < 2; coded++) {
    const bl_quantise_options options = {.weight_bits = coded ? 4 : 1,
                                         .activation_bits = 8,
                                         .range = BL_RANGE_MSE,
                                         .codebook = coded ? &nf4 : NULL,
                                         .power_scales = true};
    bl_quantised q = quantised_by(graph, &set, &options);
    for (uint32_t n = 0; n < 8; n++)
      assert_int_equal(abs(q.graph->layers[0].mult[n]), 1 << 15);
    assert_true((q.graph->layers[0].codebook != NULL) == (coded == 1));
    bl_arena_free(q.graph->arena);
  }
  bl_float_graph_free(graph);
}

// One scale for all channels: the largest weight of the layer is 7, the others are in proportion.
static void one_scale(void **state) {
  (void)state;
  static sample_set set;
  random_samples(&set);
  bl_float_graph *graph = network();
  const bl_quantise_options options = {
      .weight_bits = 4, .activation_bits = 8, .range = BL_RANGE_MINMAX, .per_tensor = true};
  const float *v = NULL;
  double largest = 0;
  for (uint32_t k = 0; k < graph->value_count; k++)
    if (strcmp(graph->values[k].name, "v") == 0) v = graph->values[k].f;
  assert_non_null(v);
  for (int k = 0; k < OUTPUTS * 72; k++)
    largest = fmax(largest, fabs((double)v[k]));
  bl_quantised q = quantised_by(graph, &set, &options);
  const bl_int_layer *last = &q.graph->layers[q.graph->layer_count - 1];
  // The map is height, width, channel on the device, channel first in the file.
  for (int n = 0; n < OUTPUTS; n++)
    for (int c = 0; c < 8; c++)
      for (int p = 0; p < 9; p++)
        assert_int_equal(last->weights[n * 72 + p * 8 + c],
                         (int)round((double)v[n * 72 + c * 9 + p] / (largest / 7)));
  for (int n = 1; n < OUTPUTS; n++)
    assert_true(last->out_scale[n] == last->out_scale[0]);
  bl_arena_free(q.graph->arena);
  bl_float_graph_free(graph);
}

// A channel whose weights are next to nothing, as training may leave it, beside a bias that is not,
// or whose bias is far below what the ReLU lets pass: neither fits the multiplier, and the network
// answers as with weights that are 0, but for single integers that another range rounds otherwise.
static void hardly_a_channel(void **state) {
  (void)state;
  static sample_set set;
  random_samples(&set);
  bl_float_graph *graph = network();
  const bl_quantise_options options = {.weight_bits = 8, .activation_bits = 8};
  static const float weight[4] = {1e-6F, 0, 1e-3F, 0}, bias[4] = {1, 1, -1e6F, -1};
  double got[4][SAMPLES][OUTPUTS];
  float *w = NULL, *b = NULL;
  for (uint32_t v = 0; v < graph->value_count; v++) {
    if (strcmp(graph->values[v].name, "w") == 0) w = graph->values[v].f;
    if (strcmp(graph->values[v].name, "b") == 0) b = graph->values[v].f;
  }
  assert_true(w != NULL && b != NULL);
  for (int k = 0; k < 4; k++) {
    b[0] = bias[k];
    for (int i = 0; i < 18; i++)
      w[i] = weight[k];
    bl_quantised q = quantised_by(graph, &set, &options);
    for (size_t i = 0; i < SAMPLES; i++)
      run_integers(&q, set.samples[i], got[k][i]);
    bl_arena_free(q.graph->arena);
  }
  for (int k = 0; k < 4; k += 2)
    for (int i = 0; i < SAMPLES * OUTPUTS; i++)
      assert_true(fabs((&got[k][0][0])[i] - (&got[k + 1][0][0])[i]) < 0.25);
  bl_float_graph_free(graph);
}

int main(void) {
  take_seed();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(ternary_by_hand),  cmocka_unit_test(ternary_is_best),
      cmocka_unit_test(ternary_networks), cmocka_unit_test(powers_of_two),
      cmocka_unit_test(powers_of_codes),  cmocka_unit_test(hardly_a_channel),
      cmocka_unit_test(one_scale),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
