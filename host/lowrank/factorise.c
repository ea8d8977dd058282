// SPDX-License-Identifier: Apache-2.0
// A layer's kernel as the weights of the layers that replace it.
#include <cblas.h>
#include <math.h>
#include <string.h>

#include "host/lowrank/lowrank_internal.h"

bl_status bl_lowrank_no_memory(const bl_lowrank_work *w) {
  return bl_fail(w->err, BL_ERR_MEMORY, "layer %s: no memory for its factors", w->node.name);
}

static double *room(const bl_lowrank_work *w, size_t count) {
  return bl_arena_alloc(w->arena, count, sizeof(double));
}

static size_t kernel_count(const bl_lowrank_work *w) {
  return (size_t)w->outputs * w->inputs * w->taps_y * w->taps_x;
}

static bl_status allocate(bl_lowrank_work *w, size_t u, size_t core, size_t v) {
  w->parts = core > 0 ? 3 : 2;
  w->w[0] = room(w, u);
  w->w[1] = core > 0 ? room(w, core) : room(w, v);
  w->w[2] = core > 0 ? room(w, v) : NULL;
  if (w->near == NULL) w->near = room(w, kernel_count(w));
  bool ok = w->near != NULL && w->w[0] != NULL && w->w[1] != NULL && (core == 0 || w->w[2] != NULL);
  return ok ? BL_OK : bl_lowrank_no_memory(w);
}

// ---- By a matrix

bl_status bl_lowrank_matrix(const bl_lowrank_work *w, const double **a, uint32_t *rows,
                            uint32_t *cols) {
  const size_t n = w->outputs, c = w->inputs, ky = w->taps_y, kx = w->taps_x;
  *a = w->k;
  *rows = w->outputs;
  *cols = w->inputs * w->taps_y * w->taps_x;
  if (w->options->kind != BL_LOWRANK_SPATIAL) return BL_OK;
  double *turned = room(w, kernel_count(w));
  if (turned == NULL) return bl_lowrank_no_memory(w);
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j < c; j++)
      for (size_t y = 0; y < ky; y++)
        for (size_t x = 0; x < kx; x++)
          turned[((j * ky + y) * n + i) * kx + x] = w->k[((i * c + j) * ky + y) * kx + x];
  *a = turned;
  *rows = w->inputs * w->taps_y;
  *cols = w->outputs * w->taps_x;
  return BL_OK;
}

static bl_status by_svd(bl_lowrank_work *w) {
  const uint32_t r = w->rank, n = w->outputs, cols = w->inputs * w->taps_y * w->taps_x;
  bl_svd svd;
  BL_TRY(allocate(w, (size_t)r * cols, 0, (size_t)n * r));
  BL_TRY(bl_svd_take(w->arena, w->k, n, cols, &svd, w->err));
  for (uint32_t k = 0; k < r; k++) {
    const double root = sqrt(svd.s[k]);
    for (uint32_t j = 0; j < cols; j++)
      w->w[0][(size_t)k * cols + j] = root * svd.vt[(size_t)k * cols + j];
    for (uint32_t i = 0; i < n; i++)
      w->w[1][(size_t)i * r + k] = root * svd.u[(size_t)i * svd.count + k];
  }
  cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)n, (blasint)cols, (blasint)r, 1,
              w->w[1], (blasint)r, w->w[0], (blasint)cols, 0, w->near, (blasint)cols);
  return BL_OK;
}

static bl_status by_spatial_svd(bl_lowrank_work *w) {
  const size_t r = w->rank, n = w->outputs, c = w->inputs, ky = w->taps_y, kx = w->taps_x;
  const double *a;
  uint32_t rows, cols;
  bl_svd svd;
  BL_TRY(allocate(w, r * c * ky, 0, n * r * kx));
  BL_TRY(bl_lowrank_matrix(w, &a, &rows, &cols));
  BL_TRY(bl_svd_take(w->arena, a, rows, cols, &svd, w->err));
  memset(w->near, 0, kernel_count(w) * sizeof *w->near);
  for (size_t k = 0; k < r; k++) {
    const double root = sqrt(svd.s[k]);
    for (size_t j = 0; j < rows; j++)
      w->w[0][k * rows + j] = root * svd.u[j * svd.count + k];
    for (size_t i = 0; i < n; i++)
      for (size_t x = 0; x < kx; x++)
        w->w[1][(i * r + k) * kx + x] = root * svd.vt[k * cols + i * kx + x];
  }
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j < c * ky; j++)
      for (size_t x = 0; x < kx; x++)
        for (size_t k = 0; k < r; k++)
          w->near[(i * c * ky + j) * kx + x] +=
              w->w[0][k * rows + j] * w->w[1][(i * r + k) * kx + x];
  return BL_OK;
}

// Each input channel's slices are a matrix [outputs][taps] of their own.
static bl_status by_separable(bl_lowrank_work *w) {
  const size_t m = w->rank, n = w->outputs, c = w->inputs, taps = (size_t)w->taps_y * w->taps_x;
  double *slice = room(w, n * taps);
  if (slice == NULL) return bl_lowrank_no_memory(w);
  BL_TRY(allocate(w, c * m * taps, 0, n * c * m));
  memset(w->near, 0, kernel_count(w) * sizeof *w->near);
  for (size_t j = 0; j < c; j++) {
    bl_svd svd;
    for (size_t i = 0; i < n; i++)
      memcpy(slice + i * taps, w->k + (i * c + j) * taps, taps * sizeof *slice);
    BL_TRY(bl_svd_take(w->arena, slice, (uint32_t)n, (uint32_t)taps, &svd, w->err));
    for (size_t k = 0; k < m; k++) {
      const double root = sqrt(svd.s[k]);
      for (size_t t = 0; t < taps; t++)
        w->w[0][(j * m + k) * taps + t] = root * svd.vt[k * taps + t];
      for (size_t i = 0; i < n; i++) {
        const double p = root * svd.u[i * svd.count + k];
        w->w[1][i * c * m + j * m + k] = p;
        for (size_t t = 0; t < taps; t++)
          w->near[(i * c + j) * taps + t] += p * w->w[0][(j * m + k) * taps + t];
      }
    }
  }
  return BL_OK;
}

// ---- By a three-way array

// near = out [n][r] * middle [r][inputs*taps].
static void multiply_out(bl_lowrank_work *w, const double *out, const double *middle) {
  const uint32_t cols = w->inputs * w->taps_y * w->taps_x;
  cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)w->outputs, (blasint)cols,
              (blasint)w->rank, 1, out, (blasint)w->rank, middle, (blasint)cols, 0, w->near,
              (blasint)cols);
}

static bl_status by_tucker(bl_lowrank_work *w) {
  const size_t n = w->outputs, c = w->inputs, taps = (size_t)w->taps_y * w->taps_x;
  const size_t r = w->rank, q = w->rank_in;
  const bl_kernel kernel = {w->outputs, w->inputs, (uint32_t)taps, w->k};
  double *middle = room(w, r * c * taps);
  bl_tucker t;
  if (middle == NULL) return bl_lowrank_no_memory(w);
  BL_TRY(allocate(w, q * c, r * q * taps, n * r));
  BL_TRY(bl_tucker_take(w->arena, &kernel, w->rank, w->rank_in, &t, w->err));
  for (size_t k = 0; k < q; k++)
    for (size_t j = 0; j < c; j++)
      w->w[0][k * c + j] = t.in[j * q + k];
  for (size_t k = 0; k < r; k++) { // a channel's size goes half to each side of it
    const double norm = cblas_dnrm2((blasint)(q * taps), t.core + k * q * taps, 1);
    const double root = norm > 0 ? sqrt(norm) : 1;
    for (size_t l = 0; l < q * taps; l++)
      w->w[1][k * q * taps + l] = t.core[k * q * taps + l] / root;
    for (size_t i = 0; i < n; i++)
      w->w[2][i * r + k] = t.out[i * r + k] * root;
  }
  for (size_t k = 0; k < r; k++)
    for (size_t j = 0; j < c; j++)
      for (size_t l = 0; l < q; l++)
        for (size_t x = 0; x < taps; x++)
          middle[(k * c + j) * taps + x] += t.in[j * q + l] * t.core[(k * q + l) * taps + x];
  multiply_out(w, t.out, middle);
  return BL_OK;
}

static bl_status by_cp(bl_lowrank_work *w) {
  const size_t n = w->outputs, c = w->inputs, taps = (size_t)w->taps_y * w->taps_x, r = w->rank;
  const bl_kernel kernel = {w->outputs, w->inputs, (uint32_t)taps, w->k};
  double *middle = room(w, r * c * taps);
  bl_cp cp;
  if (middle == NULL) return bl_lowrank_no_memory(w);
  BL_TRY(allocate(w, r * c, r * taps, n * r));
  BL_TRY(bl_cp_take(w->arena, &kernel, w->rank, &cp, w->err));
  for (size_t k = 0; k < r; k++) {
    for (size_t j = 0; j < c; j++)
      w->w[0][k * c + j] = cp.in[j * r + k];
    for (size_t t = 0; t < taps; t++)
      w->w[1][k * taps + t] = cp.tap[t * r + k];
    for (size_t j = 0; j < c; j++)
      for (size_t t = 0; t < taps; t++)
        middle[(k * c + j) * taps + t] = cp.in[j * r + k] * cp.tap[t * r + k];
  }
  memcpy(w->w[2], cp.out, n * r * sizeof *cp.out);
  multiply_out(w, cp.out, middle);
  return BL_OK;
}

bl_status bl_lowrank_factorise(bl_lowrank_work *w) {
  switch (w->options->kind) {
  case BL_LOWRANK_SPATIAL:
    return by_spatial_svd(w);
  case BL_LOWRANK_TUCKER:
    return by_tucker(w);
  case BL_LOWRANK_CP:
    return by_cp(w);
  case BL_LOWRANK_SEPARABLE:
    return by_separable(w);
  default:
    return by_svd(w);
  }
}

double bl_lowrank_error(const bl_lowrank_work *w) {
  double missed = 0, all = 0;
  for (size_t k = 0; k < kernel_count(w); k++) {
    missed += (w->k[k] - w->near[k]) * (w->k[k] - w->near[k]);
    all += w->k[k] * w->k[k];
  }
  return all > 0 ? missed / all : 0;
}
