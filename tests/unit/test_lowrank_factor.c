// SPDX-License-Identifier: Apache-2.0
// Factorisations against planted ones, against singular values found here by Jacobi rotations, and
// against bounds that hold for any kernel.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "host/base/random.h"
#include "host/lowrank/factor.h"

enum { MOST = 8192 };

static uint64_t seed, drawn;

static double draw(void) {
  return 2 * bl_random_unit(bl_random_key(seed, drawn++)) - 1;
}

static double draw_normal(void) {
  double sum = -6;
  for (int k = 0; k < 12; k++)
    sum += bl_random_unit(bl_random_key(seed, drawn++));
  return sum;
}

static void fill(double *a, size_t count) {
  for (size_t k = 0; k < count; k++)
    a[k] = draw();
}

// a[rows][cols] = b[rows][rank] c[rank][cols]
static void multiply(double *a, const double *b, const double *c, size_t rows, size_t rank,
                     size_t cols) {
  for (size_t i = 0; i < rows; i++)
    for (size_t j = 0; j < cols; j++) {
      a[i * cols + j] = 0;
      for (size_t k = 0; k < rank; k++)
        a[i * cols + j] += b[i * rank + k] * c[k * cols + j];
    }
}

static int descending(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x < y) - (x > y);
}

// Singular values by one-sided Jacobi rotations of columns; destroys a.
static void jacobi(double *a, size_t rows, size_t cols, double *s) {
  for (int sweep = 0; sweep < 60; sweep++)
    for (size_t p = 0; p < cols; p++)
      for (size_t q = p + 1; q < cols; q++) {
        double x = 0, y = 0, z = 0;
        for (size_t i = 0; i < rows; i++) {
          x += a[i * cols + p] * a[i * cols + p];
          y += a[i * cols + q] * a[i * cols + q];
          z += a[i * cols + p] * a[i * cols + q];
        }
        if (fabs(z) < 1e-15 * sqrt(x * y)) continue;
        const double angle = 0.5 * atan2(2 * z, x - y), c = cos(angle), n = sin(angle);
        for (size_t i = 0; i < rows; i++) {
          const double u = a[i * cols + p], v = a[i * cols + q];
          a[i * cols + p] = c * u + n * v;
          a[i * cols + q] = c * v - n * u;
        }
      }
  for (size_t j = 0; j < cols; j++) {
    s[j] = 0;
    for (size_t i = 0; i < rows; i++)
      s[j] += a[i * cols + j] * a[i * cols + j];
    s[j] = sqrt(s[j]);
  }
  qsort(s, cols, sizeof *s, descending);
}

static bl_arena *arena_of_test(void) {
  bl_arena *arena = bl_arena_new((size_t)64 << 20);
  assert_non_null(arena);
  return arena;
}

// What a rank-r cut of the singular value decomposition misses is what Jacobi says of the rest.
static void cut_misses_the_rest(void **state) {
  (void)state;
  enum { ROWS = 17, COLS = 9 };
  double a[ROWS * COLS], copy[ROWS * COLS], s[COLS];
  bl_arena *arena = arena_of_test();
  bl_svd svd;
  fill(a, ROWS * COLS);
  memcpy(copy, a, sizeof a);
  jacobi(copy, ROWS, COLS, s);
  assert_int_equal(bl_svd_take(arena, a, ROWS, COLS, &svd, NULL), BL_OK);
  assert_int_equal(svd.count, COLS);
  for (uint32_t r = 0; r <= COLS; r++) {
    double missed = 0, rest = 0;
    for (size_t i = 0; i < ROWS; i++)
      for (size_t j = 0; j < COLS; j++) {
        double x = a[i * COLS + j];
        for (uint32_t k = 0; k < r; k++)
          x -= svd.u[i * COLS + k] * svd.s[k] * svd.vt[k * COLS + j];
        missed += x * x;
      }
    for (uint32_t k = r; k < COLS; k++)
      rest += s[k] * s[k];
    assert_true(fabs(missed - rest) < 1e-9);
  }
  bl_arena_free(arena);
}

static void ranks_by_energy(void **state) {
  (void)state;
  const double s[] = {3, 2, 1, 0}; // squares 9, 4, 1, 0 of 14
  assert_int_equal(bl_rank_energy(s, 4, 9.0 / 14 - 1e-9), 1);
  assert_int_equal(bl_rank_energy(s, 4, 9.0 / 14 + 1e-9), 2);
  assert_int_equal(bl_rank_energy(s, 4, 13.5 / 14), 3);
  assert_int_equal(bl_rank_energy(s, 4, 1), 3);
  assert_int_equal(bl_rank_energy(s, 4, 0), 1);
}

static uint32_t noisy_rank(uint32_t rows, uint32_t cols, uint32_t rank, double noise) {
  static double a[MOST], b[MOST], c[MOST];
  bl_arena *arena = arena_of_test();
  bl_svd svd;
  assert_true(rows * cols <= MOST);
  fill(b, (size_t)rows * rank);
  fill(c, (size_t)rank * cols);
  multiply(a, b, c, rows, rank, cols);
  for (size_t k = 0; k < (size_t)rows * cols; k++)
    a[k] += noise * draw_normal();
  assert_int_equal(bl_svd_take(arena, a, rows, cols, &svd, NULL), BL_OK);
  const uint32_t found = bl_rank_vbmf(svd.s, svd.count, rows > cols ? rows : cols);
  bl_arena_free(arena);
  return found;
}

static void noise_tells_the_rank(void **state) {
  (void)state;
  assert_int_equal(noisy_rank(60, 100, 4, 0.1), 4);
  assert_int_equal(noisy_rank(100, 60, 7, 0.1), 7);
  assert_int_equal(noisy_rank(64, 64, 5, 0.2), 5);
  assert_int_equal(noisy_rank(40, 120, 0, 1), 0);
  assert_int_equal(noisy_rank(20, 20, 0, 1), 0);
  const double none[3] = {0};
  assert_int_equal(bl_rank_vbmf(none, 3, 5), 0);
}

static double kernel_error(const bl_kernel *k, const bl_tucker *t) {
  double sum = 0;
  for (size_t n = 0; n < k->outputs; n++)
    for (size_t c = 0; c < k->inputs; c++)
      for (size_t x = 0; x < k->taps; x++) {
        double d = k->k[(n * k->inputs + c) * k->taps + x];
        for (size_t i = 0; i < t->rank_out; i++)
          for (size_t j = 0; j < t->rank_in; j++)
            d -= t->out[n * t->rank_out + i] * t->core[(i * t->rank_in + j) * k->taps + x] *
                 t->in[c * t->rank_in + j];
        sum += d * d;
      }
  return sum;
}

static void planted_tucker_is_found(void **state) {
  (void)state;
  enum { N = 10, C = 8, T = 9, RN = 3, RC = 4 };
  static double a[N * RN], b[RC * C], core[RN * RC * T], k[N * C * T];
  bl_arena *arena = arena_of_test();
  const bl_kernel kernel = {N, C, T, k};
  bl_tucker t;
  fill(a, N * RN);
  fill(b, RC * C);
  fill(core, RN * RC * T);
  memset(k, 0, sizeof k);
  for (size_t n = 0; n < N; n++)
    for (size_t c = 0; c < C; c++)
      for (size_t x = 0; x < T; x++)
        for (size_t i = 0; i < RN; i++)
          for (size_t j = 0; j < RC; j++)
            k[(n * C + c) * T + x] += a[n * RN + i] * core[(i * RC + j) * T + x] * b[j * C + c];
  assert_int_equal(bl_tucker_spectra(arena, &kernel, &t, NULL), BL_OK);
  assert_true(t.spectrum_out[RN - 1] > 1e-3 && t.spectrum_out[RN] < 1e-10);
  assert_true(t.spectrum_in[RC - 1] > 1e-3 && t.spectrum_in[RC] < 1e-10);
  assert_int_equal(bl_tucker_take(arena, &kernel, RN, RC, &t, NULL), BL_OK);
  assert_true(kernel_error(&kernel, &t) < 1e-18);
  bl_arena_free(arena);
}

// The best error lies between what the worse of the two unfoldings misses and what both miss.
static void tucker_keeps_to_its_bounds(void **state) {
  (void)state;
  enum { N = 9, C = 7, T = 6, RN = 4, RC = 3 };
  static double k[N * C * T], turned[N * C * T], s[N + C];
  bl_arena *arena = arena_of_test();
  const bl_kernel kernel = {N, C, T, k};
  bl_tucker t;
  double out = 0, in = 0;
  fill(k, N * C * T);
  for (size_t n = 0; n < N; n++) // columns are outputs
    for (size_t j = 0; j < C * T; j++)
      turned[j * N + n] = k[n * C * T + j];
  jacobi(turned, C * T, N, s);
  for (size_t j = RN; j < N; j++)
    out += s[j] * s[j];
  for (size_t c = 0; c < C; c++)
    for (size_t n = 0; n < N; n++)
      for (size_t x = 0; x < T; x++)
        turned[(n * T + x) * C + c] = k[(n * C + c) * T + x];
  jacobi(turned, N * T, C, s);
  for (size_t j = RC; j < C; j++)
    in += s[j] * s[j];
  assert_int_equal(bl_tucker_take(arena, &kernel, RN, RC, &t, NULL), BL_OK);
  const double error = kernel_error(&kernel, &t);
  assert_true(error >= fmax(out, in) - 1e-9 && error <= out + in + 1e-9);
  bl_arena_free(arena);
}

static double cp_error(const bl_kernel *k, const bl_cp *cp, double *largest) {
  double sum = 0;
  *largest = 0;
  for (size_t n = 0; n < k->outputs; n++)
    for (size_t c = 0; c < k->inputs; c++)
      for (size_t x = 0; x < k->taps; x++) {
        double d = k->k[(n * k->inputs + c) * k->taps + x];
        for (size_t r = 0; r < cp->rank; r++) {
          const double term =
              cp->out[n * cp->rank + r] * cp->in[c * cp->rank + r] * cp->tap[x * cp->rank + r];
          *largest = fmax(*largest, fabs(term));
          d -= term;
        }
        sum += d * d;
      }
  return sum;
}

static void planted_components_are_found(void **state) {
  (void)state;
  enum { N = 10, C = 8, T = 9, R = 3 };
  static double a[N * R], b[C * R], d[T * R], k[N * C * T];
  bl_arena *arena = arena_of_test();
  const bl_kernel kernel = {N, C, T, k};
  bl_cp cp;
  double largest, all = 0;
  fill(a, N * R);
  fill(b, C * R);
  fill(d, T * R);
  memset(k, 0, sizeof k);
  for (size_t n = 0; n < N; n++)
    for (size_t c = 0; c < C; c++)
      for (size_t x = 0; x < T; x++)
        for (size_t r = 0; r < R; r++)
          k[(n * C + c) * T + x] += a[n * R + r] * b[c * R + r] * d[x * R + r];
  for (size_t j = 0; j < N * C * T; j++)
    all += k[j] * k[j];
  assert_int_equal(bl_cp_take(arena, &kernel, R, &cp, NULL), BL_OK);
  assert_true(cp_error(&kernel, &cp, &largest) < 1e-5 * all);
  // more components than any side is long
  assert_int_equal(bl_cp_take(arena, &kernel, 12, &cp, NULL), BL_OK);
  assert_true(cp_error(&kernel, &cp, &largest) < 1e-4 * all);
  bl_arena_free(arena);
}

// x y' with two ones in three places has rank 3, but two ever larger components that cancel come as
// near as one likes: they must stay of a size that integers can hold.
static void components_do_not_explode(void **state) {
  (void)state;
  const double k[8] = {0, 1, 1, 0, 1, 0, 0, 0};
  bl_arena *arena = arena_of_test();
  const bl_kernel kernel = {2, 2, 2, k};
  bl_cp cp;
  double largest;
  assert_int_equal(bl_cp_take(arena, &kernel, 2, &cp, NULL), BL_OK);
  const double error = cp_error(&kernel, &cp, &largest);
  printf("two components for rank 3: error %.4f of 3, largest term %.2f\n", error, largest);
  assert_true(error < 1 && largest < 30);
  bl_arena_free(arena);
}

static void bad_numbers_are_refused(void **state) {
  (void)state;
  double k[8] = {0, 1, 1, 0, 1, 0, 0, 0};
  bl_arena *arena = arena_of_test(), *small = bl_arena_new(128);
  const bl_kernel kernel = {2, 2, 2, k};
  bl_svd svd;
  bl_cp cp;
  bl_tucker t;
  bl_error err = {0};
  assert_int_equal(bl_svd_take(small, k, 4, 2, &svd, &err), BL_ERR_MEMORY);
  k[3] = NAN;
  assert_int_equal(bl_svd_take(arena, k, 4, 2, &svd, &err), BL_ERR_RANGE);
  assert_int_equal(bl_cp_take(arena, &kernel, 1, &cp, &err), BL_ERR_RANGE);
  assert_int_equal(bl_tucker_take(arena, &kernel, 1, 1, &t, &err), BL_ERR_RANGE);
  bl_arena_free(arena);
  bl_arena_free(small);
}

int main(void) {
  const char *text = getenv("BITLOOM_SEED");
  seed = text != NULL ? strtoull(text, NULL, 10) : 1;
  printf("seed %llu (BITLOOM_SEED)\n", (unsigned long long)seed);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(cut_misses_the_rest),        cmocka_unit_test(ranks_by_energy),
      cmocka_unit_test(noise_tells_the_rank),       cmocka_unit_test(planted_tucker_is_found),
      cmocka_unit_test(tucker_keeps_to_its_bounds), cmocka_unit_test(planted_components_are_found),
      cmocka_unit_test(components_do_not_explode),  cmocka_unit_test(bad_numbers_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
