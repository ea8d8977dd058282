// SPDX-License-Identifier: Apache-2.0
// Quantisation: observers, weights and requantisation constants against what they are defined to
// be, computed here in double; whole small graphs against the float executor, the quantised one
// exactly for every possible input.
#include <math.h>
#include <time.h>

#include "host/quant/addition.h"
#include "host/quant/requant.h"
#include "host/quant/weights.h"
#include "tests/unit/small_net.h"

// ---- Observers and weights

enum { SAMPLES = 4000 };

static void observe(bl_observer *o, const float *values, size_t count) {
  bl_error err = {0};
  bl_observer_init(o);
  assert_int_equal(bl_observer_range(o, values, count / 2, &err), BL_OK);
  assert_int_equal(bl_observer_range(o, values + count / 2, count - count / 2, &err), BL_OK);
  bl_observer_count(o, values, count);
}

static void ranges(void **state) {
  (void)state;
  bl_observer o;
  observe(&o, (const float[]){0, 1, 2, 6}, 4);
  bl_quantiser q = bl_observer_activation(&o, 4, BL_RANGE_MINMAX);
  assert_int_equal(q.format.kind, BL_FORMAT_U);
  assert_int_equal(q.format.bits, 4);
  assert_true(fabs(q.scale - 6.0 / 15) < 1e-12);
  assert_int_equal(q.zero_point, 0);

  observe(&o, (const float[]){-7, 1, 2, 3}, 4);
  q = bl_observer_activation(&o, 4, BL_RANGE_MINMAX);
  assert_int_equal(q.format.kind, BL_FORMAT_S);
  assert_true(fabs(q.scale - 1) < 1e-12);
  q = bl_observer_activation(&o, 1, BL_RANGE_MINMAX);
  assert_int_equal(q.format.kind, BL_FORMAT_B);

  observe(&o, (const float[]){-1, 4, 0.5F, 0}, 4); // 255 steps over -1..4, 0 on an integer
  q = bl_observer_input(&o);
  assert_true(fabs(q.scale - 5.0 / 255) < 1e-9);
  assert_int_equal(q.zero_point, 51);

  bl_error err = {0};
  bl_observer_init(&o);
  assert_int_equal(bl_observer_range(&o, (const float[]){1, NAN}, 2, &err), BL_ERR_FORMAT);
}

static double squared_error(const float *v, size_t count, double scale, double lo, double hi) {
  double sum = 0;
  for (size_t i = 0; i < count; i++) {
    double q = floor((double)v[i] / scale + 0.5);
    q = q < lo ? lo : q > hi ? hi : q;
    sum += ((double)v[i] - q * scale) * ((double)v[i] - q * scale);
  }
  return sum;
}

// On values with a long tail, clipping by MSE must beat the whole range.
static void mse_clips(void **state) {
  (void)state;
  static float v[SAMPLES];
  for (unsigned bits = 2; bits <= 4; bits++) {
    for (size_t i = 0; i < SAMPLES; i++)
      v[i] = (float)-log(uniform(1e-6, 1));
    bl_observer o;
    observe(&o, v, SAMPLES);
    double hi = (1 << bits) - 1, whole = bl_observer_activation(&o, bits, BL_RANGE_MINMAX).scale;
    double clipped = bl_observer_activation(&o, bits, BL_RANGE_MSE).scale;
    assert_true(clipped < whole);
    assert_true(squared_error(v, SAMPLES, clipped, 0, hi) <
                squared_error(v, SAMPLES, whole, 0, hi));
  }
}

static void weights(void **state) {
  (void)state;
  enum { COUNT = 300 };
  float w[COUNT];
  int8_t q[COUNT];
  for (unsigned bits = 2; bits <= 8; bits++) {
    double sum = 0, top = (1 << (bits - 1)) - 1;
    for (size_t i = 0; i < COUNT; i++)
      w[i] = (float)(uniform(-1, 1) * uniform(0, 1) * uniform(0, 1));
    double scale = bl_quantise_weights(w, COUNT, bits, BL_RANGE_MINMAX, q);
    for (size_t i = 0; i < COUNT; i++) {
      assert_true(fabs((double)q[i]) <= top);
      assert_true(fabs((double)w[i] - scale * q[i]) <= scale * 0.5000001);
      sum += pow((double)w[i] - scale * q[i], 2);
    }
    double clipped = bl_quantise_weights(w, COUNT, bits, BL_RANGE_MSE, q), other = 0;
    for (size_t i = 0; i < COUNT; i++)
      other += pow((double)w[i] - clipped * q[i], 2);
    assert_true(other <= sum * (1 + 1e-9));
  }
  const float few[4] = {1, -3, 0.5F, -0.5F};
  assert_true(fabs(bl_quantise_weights(few, 4, 1, BL_RANGE_MSE, q) - 1.25) < 1e-12);
  assert_true(q[0] == 1 && q[1] == -1 && q[2] == 1 && q[3] == -1);
  const float zeros[3] = {0};
  assert_true(bl_quantise_weights(zeros, 3, 4, BL_RANGE_MINMAX, q) > 0);
  assert_true(q[0] == 0 && q[1] == 0 && q[2] == 0);
}

// ---- Additions

// Both operands have weights. In units of what is added, scale * unit * 2^-raise is what 1 of the
// accumulator stands for; the projected integers are multiples of a power of two, with it the same
// scale for a channel, and what is reported is the noise of both.
static void projections(void **state) {
  (void)state;
  enum { CHANNELS = 20, FAN = 18, OTHER = 7 };
  float w[CHANNELS * FAN], p[CHANNELS * OTHER];
  int8_t q[CHANNELS * FAN];
  double scale[CHANNELS], unit[CHANNELS];
  int32_t ratio[CHANNELS * OTHER];
  for (unsigned bits = 2; bits <= 8; bits++) {
    for (int n = 0; n < CHANNELS; n++) {
      for (int k = 0; k < FAN; k++)
        w[n * FAN + k] = (float)uniform(-1, 1);
      for (int k = 0; k < OTHER; k++)
        p[n * OTHER + k] = n == 5 ? 0 : (float)uniform(-2, 2);
      scale[n] = bl_quantise_weights(w + n * FAN, FAN, bits, BL_RANGE_MINMAX, q + n * FAN);
      unit[n] = uniform(0.05, 4) * (next_random() % 4 == 0 ? -1 : 1);
    }
    bl_addition a = {.name = "test",
                     .channels = CHANNELS,
                     .fan = FAN,
                     .unit = unit,
                     .weights = w,
                     .weight_bits = bits,
                     .scale = scale,
                     .integers = q,
                     .projection = p,
                     .projection_fan = OTHER,
                     .square = 0.25,
                     .ratio = ratio};
    bl_addition_cost cost;
    bl_error err = {0};
    assert_int_equal(bl_addition_fit(&a, &cost, &err), BL_OK);
    double noise = 0, signal = 0;
    const int32_t most = (1 << (bits - 1)) - 1;
    for (int n = 0; n < CHANNELS; n++) {
      const double step = fabs(scale[n] * unit[n]) / ldexp(1, a.raise); // of the accumulator
      const double weight = a.square / (unit[n] * unit[n]);
      int32_t power = 1 << 30, largest = 0;
      for (int k = 0; k < OTHER; k++) {
        const int32_t d = ratio[n * OTHER + k];
        for (; d % power != 0; power /= 2)
          ;
        if (abs(d) > largest) largest = abs(d);
        noise += weight * pow((double)p[n * OTHER + k] - step * d, 2);
        signal += weight * pow((double)p[n * OTHER + k], 2);
      }
      if (n == 5) assert_int_equal(largest, 0);
      assert_true(largest / power <= most);
      for (int k = 0; k < FAN; k++) {
        noise += pow((double)w[n * FAN + k] - scale[n] * q[n * FAN + k], 2);
        signal += pow((double)w[n * FAN + k], 2);
      }
    }
    assert_true(fabs(cost.sqnr - 10 * log10(signal / noise)) < 1e-6);
    assert_true(cost.sqnr_alone - cost.sqnr < 6.1);
  }
}

// Fixed integers: powers of two stay, from scales that are floats too, as do other ratios of few
// bits; the others are rounded to nine bits or more. A factor of 0 is refused.
static void fixed_ratios(bl_addition *a, double *unit) {
  bl_addition_cost cost;
  bl_error err = {0};
  a->weights = NULL;
  for (uint32_t n = 0; n < a->channels; n++)
    a->scale[n] = (double)(float)a->scale[n];
  assert_int_equal(bl_addition_fit(a, &cost, &err), BL_OK);
  int32_t least = INT32_MAX;
  for (uint32_t n = 0; n < a->channels; n++) {
    assert_true(a->ratio[n] > 0 && (a->ratio[n] & (a->ratio[n] - 1)) == 0);
    least = a->ratio[n] < least ? a->ratio[n] : least;
    assert_true(fabs(a->scale[n] * unit[n] * a->ratio[n] / ldexp(1, a->raise) - 1) < 1e-6);
  }
  assert_true(least == 1 || a->raise == 0);
  const int32_t power = a->ratio[2];
  const unsigned raise = a->raise;
  a->scale[2] /= 1.625; // the ratio is 13 eighths of that
  assert_int_equal(bl_addition_fit(a, &cost, &err), BL_OK);
  assert_in_range(a->raise, raise, raise + 3);
  assert_int_equal(a->ratio[2], 13 * power * (1 << (a->raise - raise)) / 8);
  assert_true(cost.ratio_error < 1e-6);
  a->scale[2] *= 1.1;
  assert_int_equal(bl_addition_fit(a, &cost, &err), BL_OK);
  for (uint32_t n = 0; n < a->channels; n++) {
    double exact = ldexp(1, a->raise) / (a->scale[n] * unit[n]);
    assert_true(abs(a->ratio[n]) >= 512 && fabs(a->ratio[n] - exact) <= 0.5);
  }
  assert_true(cost.ratio_error <= 0.5 / 511);
  unit[3] = 0;
  assert_int_equal(bl_addition_fit(a, &cost, &err), BL_ERR_UNSUPPORTED);
  assert_non_null(strstr(err.text, "node test channel 3"));
}

// Weights of a few channels with a made scale each; what pulling costs is at most a doubled step
// (6 dB) where nothing clips, whatever the bits.
static void additions(void **state) {
  (void)state;
  enum { CHANNELS = 20, FAN = 36 };
  float w[CHANNELS * FAN];
  int8_t q[CHANNELS * FAN];
  double scale[CHANNELS], unit[CHANNELS];
  int32_t ratio[CHANNELS];
  for (unsigned bits = 2; bits <= 8; bits++) {
    for (int n = 0; n < CHANNELS; n++) {
      for (int k = 0; k < FAN; k++)
        w[n * FAN + k] = (float)uniform(-1, 1);
      scale[n] = bl_quantise_weights(w + n * FAN, FAN, bits, BL_RANGE_MINMAX, q + n * FAN);
      unit[n] = uniform(0.02, 4) * (next_random() % 4 == 0 ? -1 : 1);
    }
    bl_addition a = {.name = "test",
                     .channels = CHANNELS,
                     .fan = FAN,
                     .unit = unit,
                     .weights = w,
                     .weight_bits = bits,
                     .scale = scale,
                     .integers = q,
                     .ratio = ratio};
    bl_addition_cost cost;
    bl_error err = {0};
    assert_int_equal(bl_addition_fit(&a, &cost, &err), BL_OK);
    double noise = 0, signal = 0;
    for (int n = 0; n < CHANNELS; n++) {
      assert_true(ratio[n] > 0 && (ratio[n] & (ratio[n] - 1)) == 0);
      // scale * unit * sum + r == (sum * 2^raise + ratio * r) / ratio
      assert_true(fabs(scale[n] * unit[n] * ratio[n] / ldexp(1, a.raise) - 1) < 1e-12);
      for (int k = 0; k < FAN; k++) {
        noise += pow((double)w[n * FAN + k] - scale[n] * q[n * FAN + k], 2);
        signal += pow((double)w[n * FAN + k], 2);
      }
    }
    assert_true(fabs(cost.sqnr - 10 * log10(signal / noise)) < 1e-6);
    assert_true(cost.sqnr_alone - cost.sqnr < 6.1);
    fixed_ratios(&a, unit);
  }
}

// ---- Requantisation constants

static int64_t device_value(const bl_requant *r, int64_t acc) {
  return (acc * r->mult + r->bias) >> r->shift;
}

static void legal(const bl_requant *r) {
  assert_in_range(labs(r->mult), 1 << 15, (1 << 16) - 1);
  assert_in_range(r->shift, 1, 47);
  assert_true(r->bias >= -((int64_t)1 << 47) && r->bias < (int64_t)1 << 47);
}

// Equal to floor(acc*scale + offset + 1/2) but where the 16 bits of the multiplier and the rounding
// of the bias can move a value across the rounding edge.
static void real_scales(void **state) {
  (void)state;
  for (int round = 0; round < 3000; round++) {
    double scale = exp(uniform(-12, -0.1)) * (next_random() % 2 ? 1 : -1);
    double offset = uniform(-300, 300);
    bl_requant r;
    bool zero;
    assert_true(bl_requant_real(scale, offset, &r, &zero));
    assert_false(zero);
    legal(&r);
    for (int k = 0; k < 40; k++) {
      int64_t acc = (int64_t)uniform(-200 / fabs(scale), 200 / fabs(scale));
      double exact = (double)acc * scale + offset + 0.5;
      double room = fabs((double)acc * scale) / 65536 + ldexp(1.0, -r.shift);
      double got = (double)device_value(&r, acc);
      if (fabs(exact - rint(exact)) > room)
        assert_true(got == floor(exact));
      else
        assert_true(fabs(got - floor(exact)) <= 1);
    }
  }
  bl_requant r;
  bool zero;
  assert_true(bl_requant_real(0, 2.4, &r, &zero));
  assert_true(zero);
  legal(&r);
  assert_int_equal(device_value(&r, 0), 2);
  assert_false(bl_requant_real(NAN, 0, &r, &zero));
  assert_false(bl_requant_real(1, INFINITY, &r, &zero));
  assert_false(bl_requant_real(1e9, 0, &r, &zero));
}

typedef struct {
  double a, b;
  int32_t lo, hi;
} line;

static int32_t line_level(const void *context, int64_t acc) {
  const line *l = context;
  double y = rint(l->a * (double)acc + l->b); // half to even, as a quantised graph has it
  return (int32_t)(y < l->lo ? l->lo : y > l->hi ? l->hi : y);
}

static uint64_t differing(const bl_levels *levels, const bl_requant *r) {
  uint64_t count = 0;
  for (int64_t acc = levels->acc_lo; acc <= levels->acc_hi; acc++) {
    int64_t y = device_value(r, acc);
    y = y < levels->level_lo ? levels->level_lo : y > levels->level_hi ? levels->level_hi : y;
    count += y != levels->level(levels->context, acc);
  }
  return count;
}

// Straight lines with few levels, as batch norm before a 1 to 4 bit quantiser gives, are met
// exactly, rising and falling, ties at the edge included.
static void thresholds(void **state) {
  (void)state;
  for (int round = 0; round < 1500; round++) {
    int bits = 1 + (int)(next_random() % 4);
    int64_t reach = 8 + next_random() % 3000;
    line l = {.lo = -(1 << bits) / 2, .hi = (1 << bits) / 2 - 1};
    l.a = uniform(0.2, 3) * (1 << bits) / (double)reach * (next_random() % 2 ? 1 : -1);
    // an offset of 1/2 makes a tie at 0; ties at every level would bend the line (half to even)
    uint32_t kind = next_random() % 4;
    l.b = kind == 0 ? 0.5 : uniform(-2, 2);
    if (kind == 1) l.a = (double)(1 + next_random() % 3) / 4;
    const bl_levels levels = {line_level, &l, -reach, reach, l.lo, l.hi};
    bl_requant r;
    assert_int_equal(bl_requant_fit(&levels, &r), 0);
    legal(&r);
    assert_int_equal(differing(&levels, &r), 0);
  }
}

// Thresholds 1, 2 and 90 apart cannot be one straight line: the count of misses must be true.
static int32_t crooked(const void *context, int64_t acc) {
  (void)context;
  return (acc >= 1) + (acc >= 2) + (acc >= 90);
}

static void impossible(void **state) {
  (void)state;
  const bl_levels levels = {crooked, NULL, -100, 100, 0, 3};
  bl_requant r;
  uint64_t wrong = bl_requant_fit(&levels, &r);
  assert_true(wrong > 0);
  if (wrong != UINT64_MAX) assert_int_equal(wrong, differing(&levels, &r));
}

// ---- Whole graphs

// x[1,2,6,6]: convolution with padding, batch norm, ReLU, pooling, flatten, matrix.
static bl_float_graph *small_network(void) {
  message graph = {0};
  message nodes[] = {new_node("Conv", "conv", "x w b", "a"),
                     new_node("BatchNormalization", "bn", "a g be me va", "n"),
                     new_node("Relu", "relu", "n", "r"),
                     new_node("MaxPool", "pool", "r", "p"),
                     new_node("Flatten", "flat", "p", "f"),
                     new_node("Gemm", "fc", "f v c", "y")};
  put_ints(&nodes[0], "pads", (const int64_t[]){1, 1, 1, 1}, 4);
  put_ints(&nodes[3], "kernel_shape", (const int64_t[]){2, 2}, 2);
  put_ints(&nodes[3], "strides", (const int64_t[]){2, 2}, 2);
  put_int(&nodes[5], "transB", 1);
  for (size_t k = 0; k < 6; k++)
    put_message(&graph, 1, &nodes[k]);
  put_random(&graph, "w", (const int64_t[]){4, 2, 3, 3}, 4, -1, 1);
  put_random(&graph, "b", (const int64_t[]){4}, 1, -1, 1);
  put_random(&graph, "g", (const int64_t[]){4}, 1, 0.5, 2);
  put_random(&graph, "be", (const int64_t[]){4}, 1, -0.5, 0.5);
  put_random(&graph, "me", (const int64_t[]){4}, 1, -0.5, 0.5);
  put_random(&graph, "va", (const int64_t[]){4}, 1, 0.5, 2);
  put_random(&graph, "v", (const int64_t[]){5, 36}, 2, -1, 1);
  put_random(&graph, "c", (const int64_t[]){5}, 1, -1, 1);
  put_value(&graph, 11, "x", 1, (const int64_t[]){1, 2, 6, 6}, 4);
  put_value(&graph, 12, "y", 1, (const int64_t[]){1, 5}, 2);
  return import(&graph, 13);
}

typedef struct {
  float samples[20][72];
} sample_set;

static bl_status read_sample(void *context, size_t index, float *out, bl_error *err) {
  (void)err;
  const sample_set *set = context;
  memcpy(out, set->samples[index], sizeof set->samples[index]);
  return BL_OK;
}

// Mean error of the outputs over the samples, as a part of their mean magnitude.
static double relative_error(const bl_float_graph *graph, const bl_quantised *q,
                             const sample_set *set) {
  double error = 0, size = 0;
  for (size_t k = 0; k < 20; k++) {
    float want[5];
    double got[5];
    run_floats(graph, set->samples[k], want);
    run_integers(q, set->samples[k], got);
    for (size_t n = 0; n < 5; n++) {
      error += fabs(got[n] - (double)want[n]);
      size += fabs((double)want[n]);
    }
  }
  return error / size;
}

static void trained_float(void **state) {
  (void)state;
  static sample_set set;
  bl_float_graph *graph = small_network();
  for (size_t k = 0; k < 20; k++)
    for (size_t i = 0; i < 72; i++)
      set.samples[k][i] = (float)uniform(-1, 1);
  static const unsigned widths[] = {8, 6, 4};
  static const double limits[] = {0.02, 0.08, 0.35};
  const bl_calibration calibration = {read_sample, &set, 20};
  for (size_t w = 0; w < 3; w++)
    for (int method = 0; method < 2; method++) {
      const bl_quantise_options options = {
          .weight_bits = widths[w], .activation_bits = widths[w], .range = (bl_range_method)method};
      bl_quantised q;
      bl_error err = {0};
      if (bl_quantise(graph, &options, &calibration, &q, &err) != BL_OK) fail_msg("%s", err.text);
      assert_int_equal(q.graph->layer_count, 2);
      assert_false(q.graph_was_quantised);
      double error = relative_error(graph, &q, &set);
      printf("w%ua%u: %.4f of the mean output\n", widths[w], widths[w], error);
      assert_true(error < limits[w]);
      bl_arena_free(q.graph->arena);
    }
  bl_float_graph_free(graph);
}

// A quantised graph: 2-bit input, bipolar weights, batch norm, 2-bit activation, 4-bit weights.
static bl_float_graph *quantised_network(void) {
  message graph = {0};
  message nodes[] = {new_node("Quant", "qi", "x half zero two", "xi"),
                     new_node("BipolarQuant", "qw", "w one", "wi"),
                     new_node("Transpose", "t", "wi", "wt"),
                     new_node("MatMul", "m", "xi wt", "a"),
                     new_node("BatchNormalization", "bn", "a g be me va", "n"),
                     new_node("Quant", "qa", "n one zero two", "r"),
                     new_node("Quant", "qv", "v quarter zero four", "vi"),
                     new_node("MatMul", "m2", "r vi", "y")};
  for (size_t k = 0; k < 8; k++)
    put_message(&graph, 1, &nodes[k]);
  put_tensor(&graph, 5, "half", 1, NULL, 0, (const float[]){0.5F}, 4);
  put_tensor(&graph, 5, "quarter", 1, NULL, 0, (const float[]){0.25F}, 4);
  put_tensor(&graph, 5, "zero", 1, NULL, 0, (const float[]){0}, 4);
  put_tensor(&graph, 5, "one", 1, NULL, 0, (const float[]){1}, 4);
  put_tensor(&graph, 5, "two", 1, NULL, 0, (const float[]){2}, 4);
  put_tensor(&graph, 5, "four", 1, NULL, 0, (const float[]){4}, 4);
  put_random(&graph, "w", (const int64_t[]){3, 4}, 2, -1, 1);
  put_random(&graph, "g", (const int64_t[]){3}, 1, -2, 2);
  put_random(&graph, "be", (const int64_t[]){3}, 1, -1, 1);
  put_random(&graph, "me", (const int64_t[]){3}, 1, -1, 1);
  put_random(&graph, "va", (const int64_t[]){3}, 1, 0.2, 2);
  put_random(&graph, "v", (const int64_t[]){3, 2}, 2, -1.9, 1.7);
  put_value(&graph, 11, "x", 1, (const int64_t[]){1, 4}, 2);
  put_value(&graph, 12, "y", 1, (const int64_t[]){1, 2}, 2);
  return import(&graph, 11);
}

static void compare_every_input(const bl_float_graph *graph, const bl_quantised *q) {
  for (int code = 0; code < 256; code++) {
    float x[4], want[2];
    double got[2];
    for (int k = 0; k < 4; k++)
      x[k] = 0.5F * (float)((code >> (2 * k) & 3) - 2);
    run_floats(graph, x, want);
    run_integers(q, x, got);
    for (int n = 0; n < 2; n++)
      if (fabs(got[n] - (double)want[n]) > 1e-5)
        fail_msg("input %d, output %d: %g, expected %g", code, n, got[n], (double)want[n]);
  }
}

// Every input there is gives exactly what the float executor gives, over a few random networks.
static void trained_quantised(void **state) {
  (void)state;
  for (int round = 0; round < 8; round++) {
    bl_float_graph *graph = quantised_network();
    const bl_quantise_options options = {.weight_bits = 8, .activation_bits = 8};
    bl_quantised q;
    bl_error err = {0};
    if (bl_quantise(graph, &options, NULL, &q, &err) != BL_OK) fail_msg("%s", err.text);
    assert_true(q.graph_was_quantised);
    assert_int_equal(q.inexact, 0);
    assert_int_equal(q.graph->tensors[0].format.bits, 2);
    assert_int_equal(q.graph->layers[0].weight_format.kind, BL_FORMAT_B);
    compare_every_input(graph, &q);
    bl_arena_free(q.graph->arena);
    bl_float_graph_free(graph);
  }
}

static void refusals(void **state) {
  (void)state;
  bl_float_graph *graph = small_network();
  bl_quantised q;
  bl_error err = {0};
  static const unsigned bad[][2] = {{0, 4}, {4, 0}, {9, 4}, {4, 9}};
  for (size_t k = 0; k < 4; k++) {
    const bl_quantise_options options = {.weight_bits = bad[k][0], .activation_bits = bad[k][1]};
    assert_int_equal(bl_quantise(graph, &options, NULL, &q, &err), BL_ERR_USAGE);
  }
  const bl_quantise_options options = {.weight_bits = 4, .activation_bits = 4};
  assert_int_equal(bl_quantise(graph, &options, NULL, &q, &err), BL_ERR_USAGE);
  assert_null(q.graph);
  bl_float_graph_free(graph);

  message m = {0}, node = new_node("Softmax", "the_node", "x", "a");
  message after = new_node("Softmax", "after", "a", "y");
  put_message(&m, 1, &node);
  put_message(&m, 1, &after);
  put_value(&m, 11, "x", 1, (const int64_t[]){1, 4}, 2);
  put_value(&m, 12, "y", 1, (const int64_t[]){1, 4}, 2);
  graph = import(&m, 13);
  assert_int_not_equal(bl_quantise(graph, &options, NULL, &q, &err), BL_OK);
  assert_non_null(strstr(err.text, "node"));
  bl_float_graph_free(graph);
}

int main(void) {
  take_seed();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(ranges),        cmocka_unit_test(mse_clips),
      cmocka_unit_test(weights),       cmocka_unit_test(real_scales),
      cmocka_unit_test(thresholds),    cmocka_unit_test(impossible),
      cmocka_unit_test(trained_float), cmocka_unit_test(trained_quantised),
      cmocka_unit_test(refusals),      cmocka_unit_test(additions),
      cmocka_unit_test(projections)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
