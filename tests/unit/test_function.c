// SPDX-License-Identifier: Apache-2.0
// Functions of one number and their tables, against formulas written out here.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "host/quant/function.h"

static uint64_t seed;

static double uniform(double lo, double hi) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return lo + (hi - lo) * (double)(seed >> 33) / 2147483648.0;
}

static const bl_node sigmoid = {.op = BL_FLOAT_SIGMOID},
                     times = {.op = BL_FLOAT_MUL, .input_count = 2};
static const bl_node minus = {.op = BL_FLOAT_SUB, .input_count = 2};

// x * sigmoid(x); 3 - sigmoid(x).
static const bl_function silu = {
    {{&sigmoid, {0, -1, -1}, {0}, NULL}, {&times, {0, 1, -1}, {0}, NULL}}, 2};
static const bl_function below = {
    {{&sigmoid, {0, -1, -1}, {0}, NULL}, {&minus, {-1, 1, -1}, {3}, NULL}}, 2};

// A row of numbers at the integer part of x, negative ones from the end.
static void looked_up(void **state) {
  (void)state;
  float numbers[4] = {10, 20, 30, 40};
  const bl_node whole = {.op = BL_FLOAT_CAST}, gather = {.op = BL_FLOAT_GATHER, .input_count = 2};
  const bl_value table = {.type = BL_TYPE_FLOAT, .rank = 1, .count = 4, .f = numbers};
  const bl_function f = {{{&whole, {0, -1, -1}, {0}, NULL}, {&gather, {-1, 1, -1}, {0}, &table}},
                         2};
  assert_true(bl_function_value(&f, 2) == 30 && bl_function_value(&f, 1.9) == 20);
  assert_true(bl_function_value(&f, -1) == 40 && bl_function_value(&f, -4) == 10);
  assert_true(bl_function_value(&f, 4) == 0 && bl_function_value(&f, -5) == 0);
}

static void values(void **state) {
  (void)state;
  for (int k = 0; k < 100; k++) {
    double x = uniform(-12, 12), s = 1 / (1 + exp(-x));
    assert_true(fabs(bl_function_value(&silu, x) - x * s) < 1e-12);
    assert_true(fabs(bl_function_value(&below, x) - (3 - s)) < 1e-12);
  }
}

static bl_observer *observe(double lo, double hi) {
  enum { COUNT = 4000 };
  static bl_observer o;
  static float v[COUNT];
  bl_error err = {0};
  for (size_t k = 0; k < COUNT; k++)
    v[k] = (float)(k == 0 ? lo : k == 1 ? hi : uniform(lo, hi));
  bl_observer_init(&o);
  assert_int_equal(bl_observer_range(&o, v, COUNT, &err), BL_OK);
  bl_observer_count(&o, v, COUNT);
  return &o;
}

// Mean squared error of the function behind an index, at random numbers.
static double index_error(const bl_function *f, bl_quantiser q, double lo, double hi) {
  double sum = 0;
  for (int k = 0; k < 2000; k++) {
    double x = uniform(lo, hi), i = rint(x / q.scale) + q.zero_point;
    i = i < -127 ? -127 : i > 127 ? 127 : i;
    double e = bl_function_value(f, (i - q.zero_point) * q.scale) - bl_function_value(f, x);
    sum += e * e;
  }
  return sum / 2000;
}

// The whole range with minmax; where the function is flat at both ends mse leaves them out, and is
// better for it.
static void indices(void **state) {
  (void)state;
  bl_quantiser whole = bl_function_index(&below, observe(-30, 40), BL_RANGE_MINMAX);
  assert_int_equal(whole.format.kind, BL_FORMAT_S);
  assert_int_equal(whole.format.bits, 8);
  assert_true(fabs(whole.scale - 70.0 / 254) < 1e-6);
  assert_true(fabs((-127 - whole.zero_point) * whole.scale + 30) <= whole.scale);
  bl_quantiser cut = bl_function_index(&below, observe(-30, 40), BL_RANGE_MSE);
  assert_true(cut.scale < 0.4 * whole.scale);
  assert_true(index_error(&below, cut, -30, 40) < 0.4 * index_error(&below, whole, -30, 40));
  // silu is flat on the left only
  cut = bl_function_index(&silu, observe(-30, 40), BL_RANGE_MSE);
  assert_true((-127 - cut.zero_point) * cut.scale > -20);
  assert_true((127 - cut.zero_point) * cut.scale > 38);
  // no width, and nothing at all
  assert_true(bl_function_index(&silu, observe(2, 2), BL_RANGE_MSE).scale > 0);
  bl_observer none;
  bl_observer_init(&none);
  assert_true(bl_function_index(&silu, &none, BL_RANGE_MSE).scale > 0);
}

static void tables(void **state) {
  (void)state;
  int32_t table[BL_INT_TABLE];
  for (int kind = 0; kind < 2; kind++) {
    const bl_quantiser index = {
        {kind == 0 ? BL_FORMAT_S : BL_FORMAT_U, 8}, 0.07, kind == 0 ? -9 : 130};
    const bl_function_output out = {{{BL_FORMAT_S, 5}, 0.25, 3}, -15, 12, NULL};
    bl_function_table(&silu, index, &out, table);
    for (int i = 0; i < 256; i++) {
      double x = 0.07 * ((kind == 0 && i > 127 ? i - 256 : i) - index.zero_point);
      double y = floor(x / (1 + exp(-x)) / 0.25 + 3 + 0.5);
      assert_int_equal(table[i], (int32_t)(y < -15 ? -15 : y > 12 ? 12 : y));
    }
  }
}

int main(void) {
  seed = (uint64_t)time(NULL);
  printf("seed %llu\n", (unsigned long long)seed);
  const struct CMUnitTest tests[] = {cmocka_unit_test(values), cmocka_unit_test(looked_up),
                                     cmocka_unit_test(indices), cmocka_unit_test(tables)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
