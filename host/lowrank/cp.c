// SPDX-License-Identifier: Apache-2.0
// Alternating least squares over the three modes of a kernel. Mode 0 is the outputs, 1 the inputs,
// 2 the taps; `unfolded[m]` is [side[m]][product of the other sides, in order].
#include <cblas.h>
#include <lapacke.h>
#include <math.h>
#include <string.h>

#include "host/lowrank/factor.h"

enum { MOST_SWEEPS = 500 };
static const double SETTLED = 1e-8; // change of the error's square, part of the kernel's
static const double STAY = 1e-3;    // weight of staying near the last solution,
static const double SHRINK = 1e-9;  // and near 0: parts of the mean diagonal

typedef struct {
  uint32_t side[3], rank;
  double *unfolded[3], *factor[3];
  double *gram[3]; // [rank][rank] factor' factor
  double *pairs;   // [other sides][rank] products of the other two factors' rows
  double *system;  // [rank][rank]
  double squares;  // of the kernel
  bl_arena *arena;
  bl_error *err;
} alternating;

static bl_status no_memory(const alternating *a) {
  return bl_fail(a->err, BL_ERR_MEMORY, "low rank: no memory for %u components", (unsigned)a->rank);
}

static void unfold(alternating *a, const double *k) {
  const size_t n = a->side[0], c = a->side[1], t = a->side[2];
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j < c; j++)
      for (size_t l = 0; l < t; l++) {
        const double x = k[(i * c + j) * t + l];
        a->unfolded[0][(i * c + j) * t + l] = x;
        a->unfolded[1][(j * n + i) * t + l] = x;
        a->unfolded[2][(l * n + i) * c + j] = x;
        a->squares += x * x;
      }
}

static void take_gram(alternating *a, int mode) {
  cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (blasint)a->rank, (blasint)a->rank,
              (blasint)a->side[mode], 1, a->factor[mode], (blasint)a->rank, a->factor[mode],
              (blasint)a->rank, 0, a->gram[mode], (blasint)a->rank);
}

// Singular vectors first; where there are more components than those, columns of +-1 from a fixed
// sequence.
static bl_status start(alternating *a) {
  uint64_t state = 0x9e3779b97f4a7c15u;
  for (int mode = 0; mode < 3; mode++) {
    const uint32_t side = a->side[mode];
    const uint32_t others = a->side[mode == 0 ? 1 : 0] * a->side[mode == 2 ? 1 : 2];
    bl_svd svd;
    BL_TRY(bl_svd_take(a->arena, a->unfolded[mode], side, others, &svd, a->err));
    for (uint32_t r = 0; r < a->rank; r++)
      for (uint32_t i = 0; i < side; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        const double drawn = (state >> 63) != 0 ? 1 : -1;
        a->factor[mode][(size_t)i * a->rank + r] =
            r < svd.count ? svd.u[(size_t)i * svd.count + r] : drawn / sqrt(side);
      }
    take_gram(a, mode);
  }
  return BL_OK;
}

// factor[mode] = argmin |unfolded - factor pairs'|^2 + stay |factor - last|^2 + shrink |factor|^2.
static bl_status solve(alternating *a, int mode) {
  const int p = mode == 0 ? 1 : 0, q = mode == 2 ? 1 : 2;
  const uint32_t r = a->rank, side = a->side[mode];
  const size_t others = (size_t)a->side[p] * a->side[q];
  double trace = 0;
  for (size_t i = 0; i < others; i++)
    for (uint32_t k = 0; k < r; k++)
      a->pairs[i * r + k] =
          a->factor[p][i / a->side[q] * r + k] * a->factor[q][i % a->side[q] * r + k];
  for (size_t k = 0; k < (size_t)r * r; k++)
    a->system[k] = a->gram[p][k] * a->gram[q][k];
  for (uint32_t k = 0; k < r; k++)
    trace += a->system[(size_t)k * r + k];
  const double stay = STAY * trace / r, shrink = SHRINK * trace / r + 1e-300;
  for (uint32_t k = 0; k < r; k++)
    a->system[(size_t)k * r + k] += stay + shrink;
  cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)side, (blasint)r, (blasint)others,
              1, a->unfolded[mode], (blasint)others, a->pairs, (blasint)r, stay, a->factor[mode],
              (blasint)r);
  // rows by rank is, by columns, rank by rows: one right-hand side a row
  if (LAPACKE_dposv(LAPACK_COL_MAJOR, 'L', (lapack_int)r, (lapack_int)side, a->system,
                    (lapack_int)r, a->factor[mode], (lapack_int)r) != 0)
    return bl_fail(a->err, BL_ERR_RANGE, "low rank: %u components do not fit the kernel",
                   (unsigned)r);
  take_gram(a, mode);
  return BL_OK;
}

// The three vectors of a component get the same norm.
static void balance(alternating *a) {
  const uint32_t r = a->rank;
  for (uint32_t k = 0; k < r; k++) {
    double norm[3], mean = 1;
    for (int mode = 0; mode < 3; mode++) {
      norm[mode] = sqrt(a->gram[mode][(size_t)k * r + k]);
      mean *= norm[mode];
    }
    mean = cbrt(mean);
    for (int mode = 0; mode < 3; mode++)
      for (uint32_t i = 0; mean > 0 && i < a->side[mode]; i++)
        a->factor[mode][(size_t)i * r + k] *= mean / norm[mode];
  }
  for (int mode = 0; mode < 3; mode++)
    take_gram(a, mode);
}

static double error_of(const alternating *a) {
  const uint32_t n = a->side[0], c = a->side[1], t = a->side[2], r = a->rank;
  double sum = 0;
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j < c; j++)
      for (size_t l = 0; l < t; l++) {
        double x = a->unfolded[0][(i * c + j) * t + l];
        for (uint32_t k = 0; k < r; k++)
          x -= a->factor[0][i * r + k] * a->factor[1][j * r + k] * a->factor[2][l * r + k];
        sum += x * x;
      }
  return sum;
}

static bl_status allocate(alternating *a) {
  size_t count = 1, most = 0;
  for (int mode = 0; mode < 3; mode++)
    count *= a->side[mode];
  for (int mode = 0; mode < 3; mode++) {
    if (count / a->side[mode] > most) most = count / a->side[mode];
    a->unfolded[mode] = bl_arena_alloc(a->arena, count, sizeof(double));
    a->factor[mode] = bl_arena_alloc(a->arena, (size_t)a->side[mode] * a->rank, sizeof(double));
    a->gram[mode] = bl_arena_alloc(a->arena, (size_t)a->rank * a->rank, sizeof(double));
    if (a->unfolded[mode] == NULL || a->factor[mode] == NULL || a->gram[mode] == NULL)
      return no_memory(a);
  }
  a->pairs = bl_arena_alloc(a->arena, most * a->rank, sizeof(double));
  a->system = bl_arena_alloc(a->arena, (size_t)a->rank * a->rank, sizeof(double));
  return a->pairs == NULL || a->system == NULL ? no_memory(a) : BL_OK;
}

bl_status bl_cp_take(bl_arena *arena, const bl_kernel *kernel, uint32_t rank, bl_cp *cp,
                     bl_error *err) {
  alternating a = {.side = {kernel->outputs, kernel->inputs, kernel->taps},
                   .rank = rank,
                   .arena = arena,
                   .err = err};
  BL_TRY(allocate(&a));
  unfold(&a, kernel->k);
  BL_TRY(start(&a));
  double before = INFINITY;
  for (int sweep = 0; sweep < MOST_SWEEPS; sweep++) {
    for (int mode = 0; mode < 3; mode++)
      BL_TRY(solve(&a, mode));
    balance(&a);
    if (sweep % 5 != 4) continue;
    const double now = error_of(&a);
    if (before - now <= SETTLED * a.squares) break;
    before = now;
  }
  *cp = (bl_cp){.rank = rank, .out = a.factor[0], .in = a.factor[1], .tap = a.factor[2]};
  return BL_OK;
}
