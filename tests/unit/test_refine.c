// SPDX-License-Identifier: Apache-2.0
// Post-training refinement: rounding against hand-computed and exhaustively searched integers,
// bias correction against means computed here, whole networks for order and for bad input; and,
// where the data is there, what it makes of ResNet-8.
#include "host/quant/analytic.h"
#include "host/quant/equalise.h"
#include "host/quant/gptq.h"
#include "host/quant/range.h"
#include "tests/support/run_command.h"
#include "tests/unit/refine_net.h"

// ---- Rounding

// H = 4 2 / 2 3, w = (0.6, 0.6), steps of 1. Column 0 has the larger diagonal: 0.6 becomes 1, which
// leaves -0.4; column 1 then wants 0.6 - 2/3 * 0.4 = 1/3, so 0. The error is 4*0.16 - 2*2*0.24 +
// 3*0.36 = 0.76, that of the nearest integers (1, 1) 11 * 0.16 = 1.76.
static void by_hand(void **state) {
  (void)state;
  static const double moments[4] = {4, 2, 2, 3}, weights[2] = {0.6, 0.6}, steps[2] = {1, 1};
  const bl_grid grid = {-7, 7, false, NULL};
  const int nearest[2] = {1, 1};
  int q[2];
  bl_gptq *gptq;
  bl_error err = {0};
  assert_int_equal(bl_gptq_open(2, moments, 1e-9, &gptq, &err), BL_OK);
  assert_true(fabs(bl_gptq_error(gptq, weights, steps, nearest) - 1.76) < 1e-12);
  assert_int_equal(bl_gptq_round(gptq, weights, steps, &grid, q, &err), BL_OK);
  assert_int_equal(q[0], 1);
  assert_int_equal(q[1], 0);
  assert_true(fabs(bl_gptq_error(gptq, weights, steps, q) - 0.76) < 1e-12);
  // The inverse of H is 3 -2 / -2 4, divided by 8.
  double residual[2] = {8, 16};
  assert_int_equal(bl_gptq_solve(gptq, 1, residual, &err), BL_OK);
  assert_true(fabs(residual[0] + 1) < 1e-6 && fabs(residual[1] - 6) < 1e-6);
  bl_gptq_close(gptq);
}

enum { COLUMNS = 5, WINDOWS = 12, TOP = 2 };

static double output_error(double x[WINDOWS][COLUMNS], const double *weights, const double *steps,
                           const int *q) {
  double sum = 0;
  for (int m = 0; m < WINDOWS; m++) {
    double e = 0;
    for (int k = 0; k < COLUMNS; k++)
      e += x[m][k] * (weights[k] - steps[k] * q[k]);
    sum += e * e;
  }
  return sum;
}

// The least error over all integers of -TOP..TOP.
static double exhaustive(double x[WINDOWS][COLUMNS], const double *weights, const double *steps) {
  double least = INFINITY;
  int q[COLUMNS];
  for (int code = 0; code < 3125; code++) { // (2 TOP + 1)^COLUMNS
    for (int k = 0, rest = code; k < COLUMNS; k++, rest /= 2 * TOP + 1)
      q[k] = rest % (2 * TOP + 1) - TOP;
    least = fmin(least, output_error(x, weights, steps, q));
  }
  return least;
}

static void against_all_integers(void **state) {
  (void)state;
  enum { ROUNDS = 150 };
  const bl_grid grid = {-TOP, TOP, false, NULL};
  double sums[3] = {0}; // of all, refined, nearest
  for (int round = 0; round < ROUNDS; round++) {
    double x[WINDOWS][COLUMNS], moments[COLUMNS * COLUMNS] = {0}, weights[COLUMNS], steps[COLUMNS];
    for (int m = 0; m < WINDOWS; m++) {
      const double common = uniform(0, 2); // columns that belong together
      for (int k = 0; k < COLUMNS; k++)
        x[m][k] = round % 7 == k ? 0 : common + uniform(-1, 1);
    }
    for (int i = 0; i < COLUMNS * COLUMNS; i++)
      for (int m = 0; m < WINDOWS; m++)
        moments[i] += x[m][i / COLUMNS] * x[m][i % COLUMNS];
    int q[COLUMNS], nearest[COLUMNS];
    for (int k = 0; k < COLUMNS; k++) {
      weights[k] = uniform(-1, 1);
      steps[k] = k < 3 ? 0.5 : -0.4;
      nearest[k] = bl_grid_nearest(&grid, weights[k] / steps[k]);
    }
    bl_gptq *gptq;
    bl_error err = {0};
    assert_int_equal(bl_gptq_open(COLUMNS, moments, 1e-6, &gptq, &err), BL_OK);
    assert_int_equal(bl_gptq_round(gptq, weights, steps, &grid, q, &err), BL_OK);
    bl_gptq_close(gptq);
    for (int k = 0; k < COLUMNS; k++)
      assert_in_range(q[k] + TOP, 0, 2 * TOP);
    const double best = exhaustive(x, weights, steps), got = output_error(x, weights, steps, q),
                 plain = output_error(x, weights, steps, nearest);
    assert_true(got >= best * (1 - 1e-9) - 1e-12);
    assert_true(got <= plain * (1 + 1e-9) + 1e-12);
    sums[0] += best;
    sums[1] += got;
    sums[2] += plain;
  }
  printf("error %.3f, of the best integers %.3f, of the nearest %.3f\n", sums[1], sums[0], sums[2]);
  assert_true(sums[1] < 1.25 * sums[0]);
  assert_true(sums[1] < 0.6 * sums[2]);
}

static void bad_moments(void **state) {
  (void)state;
  bl_gptq *gptq;
  bl_error err = {0};
  const double not_numbers[4] = {1, NAN, NAN, 1}, indefinite[4] = {1, 5, 5, 1};
  assert_int_equal(bl_gptq_open(2, not_numbers, 0.01, &gptq, &err), BL_ERR_RANGE);
  assert_int_equal(bl_gptq_open(2, indefinite, 0.01, &gptq, &err), BL_ERR_RANGE);
  assert_null(gptq);
}

// ---- Ranges

// Sixteen steps over a quarter of the range, each of its own height, and one value at the far end:
// sixteen levels lose nothing but that value where they end with the steps. Half of that range is
// as fine, but cuts off half of the values; more of it mixes steps.
static void entropy(void **state) {
  (void)state;
  static bl_observer o;
  bl_observer_init(&o);
  o.min = 0;
  o.max = 8;
  for (int b = 0; b < BL_OBSERVER_BINS / 4; b++)
    o.bins[b] = (uint64_t)(1000 + 300 * (b / 32 * 7 % 16));
  o.bins[BL_OBSERVER_BINS - 1] = 1;
  assert_true(fabs(bl_range_entropy(&o, 16) - 2) < 1e-12);
  const bl_quantiser q = bl_observer_activation(&o, 4, BL_RANGE_ENTROPY);
  assert_true(fabs(q.scale - 2.0 / 15) < 1e-12);
  // the same of negative values too: eight magnitudes of four bits with a sign
  bl_observer_init(&o);
  o.min = -8;
  o.max = 8;
  for (int b = 0; b < BL_OBSERVER_BINS / 8; b++) {
    const uint64_t count = (uint64_t)(1000 + 300 * (b / 32 * 3 % 8));
    o.bins[BL_OBSERVER_BINS / 2 + b] = o.bins[BL_OBSERVER_BINS / 2 - 1 - b] = count;
  }
  o.bins[0] = 1;
  assert_true(fabs(bl_range_entropy(&o, 8) - 2) < 1e-12);
}

static void percentile_and_average(void **state) {
  (void)state;
  static bl_observer o;
  static float v[1000];
  bl_error err = {0};
  bl_observer_init(&o);
  for (int i = 0; i < 1000; i++)
    v[i] = (float)(i % 2 == 0 ? i + 1 : -i - 1) / 1000; // every magnitude up to 1
  assert_int_equal(bl_observer_range(&o, v, 1000, &err), BL_OK);
  for (int i = 0; i < 1000; i += 100)
    bl_observer_count(&o, v + i, 100); // peaks of 0.1 .. 1, of mean 0.55
  assert_true(fabs(bl_range_percentile(&o, 90) - 0.9) < 0.003);
  assert_true(bl_range_percentile(&o, 100) == 1);
  assert_true(fabs(bl_range_average(&o) - 0.55) < 1e-6);
  o.percentage = 50;
  const bl_quantiser q = bl_observer_activation(&o, 8, BL_RANGE_PERCENTILE);
  assert_true(fabs(q.scale * 127 - 0.5) < 0.003);
}

// ---- Whole networks

static bl_quantised quantised(const bl_float_graph *graph, sample_set *set, bl_rounding rounding,
                              bl_bias_correction bias, bl_range_method range) {
  const bl_quantise_options options = {.weight_bits = 3,
                                       .activation_bits = 8,
                                       .range = range,
                                       .rounding = rounding,
                                       .bias_correction = bias};
  return quantised_by(graph, set, &options);
}

// The last layer's outputs are real numbers, so their means are met as exactly as floats add up.
static void whole_network(void **state) {
  (void)state;
  static sample_set set;
  double sums[4] = {0}, bias;
  for (int round = 0; round < 10; round++) {
    random_samples(&set);
    bl_float_graph *graph = network();
    for (int k = 0; k < 4; k++) {
      bl_quantised q = quantised(graph, &set, k % 2 == 0 ? BL_ROUNDING_NEAREST : BL_ROUNDING_GPTQ,
                                 k < 2 ? BL_BIAS_NONE : BL_BIAS_EMPIRICAL, BL_RANGE_MSE);
      sums[k] += error_of_outputs(graph, &q, &set, &bias);
      if (k >= 2) assert_true(bias < 1e-4);
      bl_arena_free(q.graph->arena);
    }
    bl_float_graph_free(graph);
  }
  printf("squared error: nearest %.4f, gptq %.4f, bias %.4f, both %.4f\n", sums[0], sums[1],
         sums[2], sums[3]);
  assert_true(sums[1] < 0.5 * sums[0]);
  assert_true(sums[2] < sums[0]);
  assert_true(sums[3] < sums[1] && sums[3] < sums[2]);
}

// One layer, weights 1 and 0.3 of two bits, so 1 and 0; inputs of 1: the output lacks 0.3.
static void known_bias(void **state) {
  (void)state;
  static sample_set set = {.elements = 2};
  message graph = {0};
  message node = new_node("Gemm", "fc", "x v", "y");
  put_message(&graph, 1, &node);
  put_tensor(&graph, 5, "v", 1, (const int64_t[]){2, 1}, 2, (const float[]){1, 0.3F},
             2 * sizeof(float));
  put_value(&graph, 11, "x", 1, (const int64_t[]){1, 2}, 2);
  put_value(&graph, 12, "y", 1, (const int64_t[]){1, 1}, 2);
  bl_float_graph *imported = import(&graph, 13);
  for (size_t k = 0; k < SAMPLES; k++) {
    set.order[k] = k;
    set.samples[k][0] = set.samples[k][1] = 1;
  }
  bl_quantise_options options = {.weight_bits = 2, .activation_bits = 8};
  const bl_calibration calibration = {read_sample, &set, SAMPLES};
  for (int corrected = 0; corrected < 2; corrected++) {
    bl_quantised q;
    bl_error err = {0};
    double y;
    options.bias_correction = corrected ? BL_BIAS_EMPIRICAL : BL_BIAS_NONE;
    assert_int_equal(bl_quantise(imported, &options, &calibration, &q, &err), BL_OK);
    run_integers(&q, set.samples[0], &y);
    assert_true(fabs(y - (corrected ? 1.3 : 1.0)) < 1e-6);
    bl_arena_free(q.graph->arena);
  }
  bl_float_graph_free(imported);
}

// Mean and variance of a clamped normal variable by adding up its density.
static void clipped_normal(void **state) {
  (void)state;
  enum { PARTS = 40000 };
  for (int round = 0; round < 30; round++) {
    const double mean = uniform(-2, 2), deviation = uniform(0.1, 2);
    const double lo = round % 3 == 0 ? -INFINITY : uniform(-1, 0);
    const double hi = round % 2 == 0 ? INFINITY : uniform(0.5, 3);
    double weight = 0, first = 0, second = 0;
    for (int i = 0; i < PARTS; i++) {
      const double z = -9 + 18 * (i + 0.5) / PARTS, p = exp(-z * z / 2);
      const double x = fmax(lo, fmin(hi, mean + deviation * z));
      weight += p;
      first += p * x;
      second += p * x * x;
    }
    first /= weight;
    double m = mean, v = deviation * deviation;
    bl_clipped_normal(lo, hi, &m, &v);
    assert_true(fabs(m - first) < 1e-5);
    assert_true(fabs(v - (second / weight - first * first)) < 1e-5);
  }
}

// x[1,2,1,1]: convolution, batch norm, ReLU, matrix. The last layer's offsets move by what its
// weights lose in rounding, times the mean of what a normal variable of mean beta and deviation
// gamma is above 0: beta Phi(beta / gamma) + gamma phi(beta / gamma).
static void analytic_bias(void **state) {
  (void)state;
  static sample_set set;
  random_samples(&set);
  set.elements = 2;
  message graph = {0};
  message nodes[] = {new_node("Conv", "conv", "x w", "a"),
                     new_node("BatchNormalization", "bn", "a g be me va", "n"),
                     new_node("Relu", "relu", "n", "r"), new_node("Flatten", "flat", "r", "f"),
                     new_node("Gemm", "fc", "f v", "y")};
  static const float gamma[3] = {0.5F, 1, -2}, beta[3] = {0.25F, -1, 0};
  static const float v[3] = {1, 0.3F, -0.4F}, lost[3] = {0, 0.3F, -0.4F}; // of steps of 1
  for (size_t k = 0; k < 5; k++)
    put_message(&graph, 1, &nodes[k]);
  put_random(&graph, "w", (const int64_t[]){3, 2, 1, 1}, 4, -1, 1);
  put_tensor(&graph, 5, "g", 1, (const int64_t[]){3}, 1, gamma, sizeof gamma);
  put_tensor(&graph, 5, "be", 1, (const int64_t[]){3}, 1, beta, sizeof beta);
  put_random(&graph, "me", (const int64_t[]){3}, 1, -0.5, 0.5);
  put_random(&graph, "va", (const int64_t[]){3}, 1, 0.5, 2);
  put_tensor(&graph, 5, "v", 1, (const int64_t[]){3, 1}, 2, v, sizeof v);
  put_value(&graph, 11, "x", 1, (const int64_t[]){1, 2, 1, 1}, 4);
  put_value(&graph, 12, "y", 1, (const int64_t[]){1, 1}, 2);
  bl_float_graph *imported = import(&graph, 13);
  const bl_calibration calibration = {read_sample, &set, SAMPLES};
  double moved = 0, want = 0;
  for (int corrected = 0; corrected < 2; corrected++) {
    bl_quantise_options options = {.weight_bits = 2, .activation_bits = 8};
    options.bias_correction = corrected ? BL_BIAS_ANALYTIC : BL_BIAS_NONE;
    bl_quantised q;
    bl_error err = {0};
    assert_int_equal(bl_quantise(imported, &options, &calibration, &q, &err), BL_OK);
    moved += (corrected ? 1 : -1) * q.graph->layers[q.graph->layer_count - 1].out_bias[0];
    bl_arena_free(q.graph->arena);
  }
  for (int k = 0; k < 3; k++) {
    const double m = (double)beta[k], s = fabs((double)gamma[k]);
    const double mean =
        m * 0.5 * erfc(-m / s / sqrt(2)) + s * exp(-m * m / s / s / 2) / sqrt(2 * 3.14159265358979);
    want += (double)lost[k] * mean;
  }
  assert_true(fabs(moved - want) < 1e-6);
  bl_float_graph_free(imported);
}

static void any_order(void **state) {
  (void)state;
  static sample_set set;
  random_samples(&set);
  bl_float_graph *graph = network();
  for (int range = BL_RANGE_MINMAX; range <= BL_RANGE_AVERAGE; range++) {
    bl_quantised first =
        quantised(graph, &set, BL_ROUNDING_GPTQ, BL_BIAS_EMPIRICAL, (bl_range_method)range);
    shuffle(&set);
    bl_quantised again =
        quantised(graph, &set, BL_ROUNDING_GPTQ, BL_BIAS_EMPIRICAL, (bl_range_method)range);
    same_graph(first.graph, again.graph);
    bl_arena_free(first.graph->arena);
    bl_arena_free(again.graph->arena);
  }
  bl_float_graph_free(graph);
}

static void bad_calibration(void **state) {
  (void)state;
  static sample_set set;
  random_samples(&set);
  bl_float_graph *graph = network();
  const bl_quantise_options options = {
      .weight_bits = 4, .activation_bits = 8, .rounding = BL_ROUNDING_GPTQ};
  bl_calibration calibration = {read_sample, &set, 0};
  bl_quantised q;
  bl_error err = {0};
  assert_int_equal(bl_quantise(graph, &options, &calibration, &q, &err), BL_ERR_USAGE);
  assert_non_null(strstr(err.text, "calibration data"));
  assert_int_equal(bl_quantise(graph, &options, NULL, &q, &err), BL_ERR_USAGE);
  calibration.count = SAMPLES;
  set.samples[SAMPLES / 2][7] = NAN;
  assert_int_equal(bl_quantise(graph, &options, &calibration, &q, &err), BL_ERR_FORMAT);
  assert_non_null(strstr(err.text, "not finite"));
  assert_null(q.graph);
  bl_float_graph_free(graph);
}

// ---- Equalisation

// x[1,2,6,6]: convolution, batch norm, ReLU, depthwise convolution, ReLU, convolution, matrix; the
// channels of the first two differ by up to a factor of 200.
static bl_float_graph *unequal(float *wide) {
  message graph = {0};
  message nodes[] = {new_node("Conv", "conv", "x w b", "a"),
                     new_node("BatchNormalization", "bn", "a g be me va", "n"),
                     new_node("Relu", "relu", "n", "r"),
                     new_node("Conv", "deep", "r d e", "i"),
                     new_node("Relu", "relu2", "i", "j"),
                     new_node("Conv", "mix", "j m", "k"),
                     new_node("Flatten", "flat", "k", "f"),
                     new_node("Gemm", "fc", "f v c", "y")};
  put_ints(&nodes[0], "strides", (const int64_t[]){2, 2}, 2);
  put_int(&nodes[3], "group", 8);
  put_int(&nodes[7], "transB", 1);
  for (size_t k = 0; k < 8; k++)
    put_message(&graph, 1, &nodes[k]);
  for (size_t k = 0; k < 8 * 18; k++)
    wide[k] = (float)(uniform(-1, 1) * exp2((double)(k / 18)));
  put_tensor(&graph, 5, "w", 1, (const int64_t[]){8, 2, 3, 3}, 4, wide, 8 * 18 * sizeof *wide);
  put_random(&graph, "b", (const int64_t[]){8}, 1, -1, 1);
  put_random(&graph, "g", (const int64_t[]){8}, 1, 0.5, 2);
  put_random(&graph, "be", (const int64_t[]){8}, 1, -0.5, 0.5);
  put_random(&graph, "me", (const int64_t[]){8}, 1, -0.5, 0.5);
  put_random(&graph, "va", (const int64_t[]){8}, 1, 0.5, 2);
  put_random(&graph, "d", (const int64_t[]){8, 1, 2, 2}, 4, -1, 1);
  put_random(&graph, "e", (const int64_t[]){8}, 1, -1, 1);
  put_random(&graph, "m", (const int64_t[]){6, 8, 1, 1}, 4, -1, 1);
  put_random(&graph, "v", (const int64_t[]){OUTPUTS, 6}, 2, -1, 1);
  put_random(&graph, "c", (const int64_t[]){OUTPUTS}, 1, -1, 1);
  put_value(&graph, 11, "x", 1, (const int64_t[]){1, 2, 6, 6}, 4);
  put_value(&graph, 12, "y", 1, (const int64_t[]){1, OUTPUTS}, 2);
  return import(&graph, 13);
}

static const bl_value *named(const bl_float_graph *graph, const char *name) {
  for (uint32_t v = 0; v < graph->value_count; v++)
    if (strcmp(graph->values[v].name, name) == 0) return &graph->values[v];
  fail_msg("no value %s", name);
  return NULL;
}

// The largest magnitude of `count` weights, `stride` apart.
static double largest(const float *w, size_t count, size_t stride) {
  double most = 0;
  for (size_t k = 0; k < count; k++)
    most = fmax(most, fabs((double)w[k * stride]));
  return most;
}

static void equalised(void **state) {
  (void)state;
  static sample_set set;
  random_samples(&set);
  float wide[8 * 18];
  bl_float_graph *graph = unequal(wide);
  float before[SAMPLES][OUTPUTS];
  for (size_t k = 0; k < SAMPLES; k++)
    run_floats(graph, set.samples[k], before[k]);
  uint32_t pairs = 0;
  bl_error err = {0};
  assert_int_equal(bl_equalise(graph, &pairs, &err), BL_OK);
  assert_int_equal(pairs, 2);
  for (size_t k = 0; k < SAMPLES; k++) {
    float y[OUTPUTS];
    run_floats(graph, set.samples[k], y);
    for (size_t n = 0; n < OUTPUTS; n++)
      assert_true(fabs((double)(y[n] - before[k][n])) < 1e-4 * (1 + fabs((double)before[k][n])));
  }
  const float *w = named(graph, "w")->f, *g = named(graph, "g")->f, *va = named(graph, "va")->f;
  const float *d = named(graph, "d")->f, *m = named(graph, "m")->f;
  for (size_t c = 0; c < 8; c++) {
    const double first = largest(w + c * 18, 18, 1) * (double)g[c] / sqrt((double)va[c] + 1e-5);
    const double middle = largest(d + c * 4, 4, 1), last = largest(m + c, 6, 8);
    assert_true(fabs(first / middle - 1) < 1e-2);
    assert_true(fabs(middle / last - 1) < 1e-2);
  }
  bl_float_graph_free(graph);
}

// The largest magnitude of each of 8 channels of value `name` over all samples.
static void observe(const bl_float_graph *graph, const sample_set *set, const char *name,
                    double *most) {
  bl_float_session *session;
  bl_error err = {0};
  assert_int_equal(bl_float_session_open(graph, &session, &err), BL_OK);
  for (size_t c = 0; c < 8; c++)
    most[c] = 0;
  for (size_t k = 0; k < SAMPLES; k++) {
    memcpy(bl_float_session_input(session, 0)->f, set->samples[k], sizeof set->samples[k]);
    assert_int_equal(bl_float_session_run(session, &err), BL_OK);
    const bl_value *v =
        bl_float_session_value(session, (int32_t)(named(graph, name) - graph->values));
    for (size_t i = 0; i < v->count; i++)
      most[i / (v->count / 8)] = fmax(most[i / (v->count / 8)], fabs((double)v->f[i]));
  }
  bl_float_session_close(session);
}

// Between the depthwise convolution (value j) and the last one (weights m): what was X and W
// becomes (X W)^(1 - alpha) and (X W)^alpha, and the network computes the same.
static void smoothed(void **state) {
  (void)state;
  static sample_set set;
  bl_error err = {0};
  uint32_t pairs = 0;
  const bl_calibration calibration = {read_sample, &set, SAMPLES};
  for (int k = 0; k < 3; k++) {
    const double alpha = 0.5 * k;
    float wide[8 * 18], before[SAMPLES][OUTPUTS], y[OUTPUTS];
    random_samples(&set);
    bl_float_graph *graph = unequal(wide);
    double x[8], w[8], then[8];
    observe(graph, &set, "j", x);
    for (size_t c = 0; c < 8; c++)
      w[c] = largest(named(graph, "m")->f + c, 6, 8);
    for (size_t i = 0; i < SAMPLES; i++)
      run_floats(graph, set.samples[i], before[i]);
    assert_int_equal(bl_smooth(graph, alpha, &calibration, &pairs, &err), BL_OK);
    assert_int_equal(pairs, 2);
    observe(graph, &set, "j", then);
    for (size_t c = 0; c < 8; c++) {
      if (x[c] == 0) continue;
      assert_true(fabs(then[c] / pow(x[c] * w[c], 1 - alpha) - 1) < 1e-3);
      const double now = largest(named(graph, "m")->f + c, 6, 8);
      assert_true(fabs(now / pow(x[c] * w[c], alpha) - 1) < 1e-3);
    }
    for (size_t i = 0; i < SAMPLES; i++) {
      run_floats(graph, set.samples[i], y);
      for (size_t n = 0; n < OUTPUTS; n++)
        assert_true(fabs((double)(y[n] - before[i][n])) < 1e-3 * (1 + fabs((double)before[i][n])));
    }
    assert_int_equal(bl_smooth(graph, 1.5, &calibration, &pairs, &err), BL_ERR_USAGE);
    assert_int_equal(bl_smooth(graph, alpha, NULL, &pairs, &err), BL_ERR_USAGE);
    bl_float_graph_free(graph);
  }
}

// ---- Real networks

// W4A8 without training, calibrated on training images: at most 2.5 points of the 1,000 below
// float (881).
static void resnet8(void **state) {
  (void)state;
  const char *data = getenv("BITLOOM_DATA") != NULL ? getenv("BITLOOM_DATA") : "../shared/data";
  char line[1024];
  (void)snprintf(line, sizeof line, "%s/models/ic_resnet8_float.onnx", data);
  FILE *file = fopen(line, "rb");
  if (file == NULL) {
    printf("skipped: no %s\n", line);
    skip();
  }
  (void)fclose(file);
  (void)snprintf(line, sizeof line,
                 "compress %s/models/ic_resnet8_float.onnx --bits w4a8 --rounding gptq "
                 "--bias-correction empirical --calib %s/cifar10/train_20000_balanced.bin.gz "
                 "--output @net.bloom",
                 data, data);
  bl_command_expect(line, 0);
  (void)snprintf(line, sizeof line,
                 "run @net.bloom --json --data %s/cifar10/test_1000_balanced.bin.gz", data);
  bl_command_expect(line, 0);
  cJSON *object = bl_command_json();
  const double correct = bl_command_number(object, "correct");
  assert_true(bl_command_number(object, "mismatches") == 0.0);
  cJSON_Delete(object);
  printf("ResNet-8 W4A8: %.0f of 1000, float 881\n", correct);
  assert_true(correct >= 856);
}

int main(void) {
  take_seed();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(by_hand),
      cmocka_unit_test(against_all_integers),
      cmocka_unit_test(bad_moments),
      cmocka_unit_test(entropy),
      cmocka_unit_test(percentile_and_average),
      cmocka_unit_test(known_bias),
      cmocka_unit_test(clipped_normal),
      cmocka_unit_test(equalised),
      cmocka_unit_test(smoothed),
      cmocka_unit_test(analytic_bias),
      cmocka_unit_test(whole_network),
      cmocka_unit_test(any_order),
      cmocka_unit_test(bad_calibration),
      cmocka_unit_test(resnet8),
  };
  return cmocka_run_group_tests(tests, bl_command_open, bl_command_close);
}
