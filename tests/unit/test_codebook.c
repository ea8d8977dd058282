// SPDX-License-Identifier: Apache-2.0
// Codebooks against their definitions, worked out here, and files of all kinds.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/quant/codebook.h"

static uint64_t seed;

static double uniform(double lo, double hi) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return lo + (hi - lo) * (double)(seed >> 33) / 2147483648.0;
}

static bl_codebook open_codebook(const char *name) {
  bl_codebook c;
  bl_error err = {0};
  if (bl_codebook_open(name, &c, &err) != BL_OK) fail_msg("%s", err.text);
  return c;
}

// The x below which a part p of the normal distribution lies.
static double normal_quantile(double p) {
  double lo = -10, hi = 10;
  for (int k = 0; k < 100; k++) {
    double x = (lo + hi) / 2;
    *(0.5 * erfc(-x / sqrt(2.0)) < p ? &lo : &hi) = x;
  }
  return (lo + hi) / 2;
}

// Seven negative quantiles and eight positive ones, evenly spaced in probability between a half and
// the mean of 1 - 1/32 and 1 - 1/30, and 0; scaled to 1.
static void nf4(void **state) {
  (void)state;
  bl_codebook c = open_codebook("nf4");
  const double offset = (1 - 1.0 / 32 + 1 - 1.0 / 30) / 2, most = normal_quantile(offset);
  for (int k = 0; k < 16; k++) {
    double v = k < 8 ? -normal_quantile(offset + (0.5 - offset) * k / 7)
                     : normal_quantile(offset + (0.5 - offset) * (15 - k) / 8);
    assert_int_equal(c.values[k], (int)rint(127 * v / most));
  }
  assert_int_equal(c.format.bits, 8);
}

static bool has(const bl_codebook *c, int value) {
  for (int k = 0; k < 16; k++)
    if (c->values[k] == value) return true;
  return false;
}

static void powers(void **state) {
  (void)state;
  bl_codebook c = open_codebook("po2");
  assert_true(has(&c, 0));
  for (int k = 0; k < 7; k++)
    assert_true(has(&c, 1 << k) && has(&c, -(1 << k)));
  assert_int_equal(c.format.bits, 8);

  c = open_codebook("apot");
  static const int first[4] = {0, 8, 4, 1}, second[2] = {0, 2}; // sixteenths
  int distinct = 1;
  for (int a = 0; a < 4; a++)
    for (int b = 0; b < 2; b++)
      assert_true(has(&c, first[a] + second[b]) && has(&c, -first[a] - second[b]));
  for (int k = 1; k < 16; k++)
    distinct += c.values[k] != c.values[k - 1];
  assert_int_equal(distinct, 15);
  assert_int_equal(c.format.kind, BL_FORMAT_S);
  assert_int_equal(c.format.bits, 5);
}

static void nearest(void **state) {
  (void)state;
  static const char *const names[] = {"nf4", "po2", "apot"};
  for (int n = 0; n < 3; n++) {
    bl_codebook c = open_codebook(names[n]);
    for (int k = 0; k < 3000; k++) {
      double x = k < 600 ? (k - 300) / 2.0 : uniform(-150, 150); // halves: ties
      int8_t best = c.values[0];
      for (int i = 1; i < 16; i++) {
        double d = fabs(x - c.values[i]) - fabs(x - best);
        if (d < 0 || (d <= 0 && abs(c.values[i]) < abs(best))) best = c.values[i];
      }
      assert_int_equal(bl_codebook_nearest(&c, x), best);
    }
  }
}

static void scales(void **state) {
  (void)state;
  enum { COUNT = 400 };
  static const char *const names[] = {"nf4", "po2", "apot"};
  float w[COUNT];
  int8_t q[COUNT];
  for (int n = 0; n < 3; n++) {
    bl_codebook c = open_codebook(names[n]);
    double whole = 0, cut = 0, most = 0;
    for (int k = 0; k < COUNT; k++) {
      w[k] = (float)(normal_quantile(uniform(0.001, 0.999)) * 0.1);
      most = fmax(most, fabs((double)w[k]));
    }
    double scale = bl_codebook_quantise(&c, w, COUNT, BL_RANGE_MINMAX, q);
    assert_true(fabs(scale * c.values[15] - most) < 1e-9);
    for (int k = 0; k < COUNT; k++)
      whole += pow((double)w[k] - scale * q[k], 2);
    scale = bl_codebook_quantise(&c, w, COUNT, BL_RANGE_MSE, q);
    for (int k = 0; k < COUNT; k++) {
      assert_true(has(&c, q[k]));
      cut += pow((double)w[k] - scale * q[k], 2);
    }
    assert_true(cut <= whole);
  }
  bl_codebook c = open_codebook("apot");
  const float zeros[3] = {0};
  assert_true(bl_codebook_quantise(&c, zeros, 3, BL_RANGE_MSE, q) > 0);
  assert_true(q[0] == 0 && q[1] == 0 && q[2] == 0);
}

static bl_status open_text(const char *text, bl_codebook *c, bl_error *err) {
  char path[] = "/tmp/bitloom-codebook-XXXXXX";
  int file = mkstemp(path);
  assert_true(file >= 0);
  assert_true(write(file, text, strlen(text)) == (ssize_t)strlen(text));
  assert_int_equal(close(file), 0);
  bl_status status = bl_codebook_open(path, c, err);
  (void)unlink(path);
  return status;
}

static void files(void **state) {
  (void)state;
  bl_codebook c;
  bl_error err = {0};
  assert_int_equal(open_text("3, -4 0 # four values\n-1\n", &c, &err), BL_OK);
  static const int8_t whole[16] = {-4, -1, 0, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3};
  assert_memory_equal(c.values, whole, 16);
  assert_int_equal(c.format.bits, 3);
  assert_int_equal(open_text("-1.0 -0.25 0 0.5", &c, &err), BL_OK);
  assert_true(c.values[0] == -127 && c.values[1] == -32 && c.values[2] == 0 && c.values[3] == 64);
  assert_int_equal(open_text("-300 150", &c, &err), BL_OK);
  assert_true(c.values[0] == -127 && c.values[15] == 64);
  assert_int_equal(open_text("", &c, &err), BL_ERR_FORMAT);
  assert_int_equal(open_text("1", &c, &err), BL_ERR_FORMAT);
  assert_int_equal(open_text("0 0 0", &c, &err), BL_ERR_FORMAT);
  assert_int_equal(open_text("1 two", &c, &err), BL_ERR_FORMAT);
  assert_int_equal(open_text("1 nan", &c, &err), BL_ERR_FORMAT);
  assert_int_equal(open_text("1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17", &c, &err), BL_ERR_RANGE);
  assert_int_equal(bl_codebook_open("/nowhere/codebook", &c, &err), BL_ERR_IO);
}

int main(void) {
  seed = (uint64_t)time(NULL);
  printf("seed %llu\n", (unsigned long long)seed);
  const struct CMUnitTest tests[] = {cmocka_unit_test(nf4), cmocka_unit_test(powers),
                                     cmocka_unit_test(nearest), cmocka_unit_test(scales),
                                     cmocka_unit_test(files)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
