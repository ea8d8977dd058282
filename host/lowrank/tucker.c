// SPDX-License-Identifier: Apache-2.0
#include <cblas.h>
#include <math.h>
#include <string.h>

#include "host/lowrank/factor.h"

enum { MOST_SWEEPS = 50 };
static const double SETTLED = 1e-9; // change of the core's norm

typedef struct {
  const bl_kernel *kernel;
  double *by_out, *by_in;     // unfoldings [outputs][inputs*taps], [inputs][outputs*taps]
  double *part_out, *part_in; // the same with the other mode projected
  bl_arena *arena;
  bl_error *err;
} folding;

static bl_status unfold(folding *f) {
  const bl_kernel *k = f->kernel;
  const size_t count = (size_t)k->outputs * k->inputs * k->taps;
  f->by_out = bl_arena_alloc(f->arena, count, sizeof(double));
  f->by_in = bl_arena_alloc(f->arena, count, sizeof(double));
  f->part_out = bl_arena_alloc(f->arena, count, sizeof(double));
  f->part_in = bl_arena_alloc(f->arena, count, sizeof(double));
  if (f->by_out == NULL || f->by_in == NULL || f->part_out == NULL || f->part_in == NULL)
    return bl_fail(f->err, BL_ERR_MEMORY, "low rank: no memory for a kernel");
  memcpy(f->by_out, k->k, count * sizeof(double));
  for (size_t n = 0; n < k->outputs; n++)
    for (size_t c = 0; c < k->inputs; c++)
      memcpy(f->by_in + (c * k->outputs + n) * k->taps, k->k + (n * k->inputs + c) * k->taps,
             k->taps * sizeof(double));
  return BL_OK;
}

// The leading `rank` left singular vectors: factor[rows][rank].
static bl_status leading(const folding *f, const double *a, uint32_t rows, uint32_t cols,
                         uint32_t rank, double *factor, double *spectrum) {
  bl_arena *scratch = bl_arena_new((size_t)1 << 31);
  bl_svd svd;
  bl_status status = scratch == NULL
                         ? bl_fail(f->err, BL_ERR_MEMORY, "low rank: no memory for a kernel")
                         : bl_svd_take(scratch, a, rows, cols, &svd, f->err);
  for (uint32_t r = 0; status == BL_OK && r < rows; r++)
    for (uint32_t k = 0; k < rank && k < svd.count; k++)
      factor[(size_t)r * rank + k] = svd.u[(size_t)r * svd.count + k];
  if (status == BL_OK && spectrum != NULL) memcpy(spectrum, svd.s, svd.count * sizeof *svd.s);
  bl_arena_free(scratch);
  return status;
}

// to[other][rank][taps] of an unfolding [rows][other*taps] and factor[rows][rank].
static void project(const folding *f, const double *unfolded, uint32_t rows, uint32_t other,
                    const double *factor, uint32_t rank, double *room, double *to) {
  const uint32_t taps = f->kernel->taps, cols = other * taps;
  cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (blasint)rank, (blasint)cols, (blasint)rows,
              1, factor, (blasint)rank, unfolded, (blasint)cols, 0, room, (blasint)cols);
  for (size_t k = 0; k < rank; k++)
    for (size_t o = 0; o < other; o++)
      memcpy(to + (o * rank + k) * taps, room + k * cols + o * taps, taps * sizeof(double));
}

static double norm_of(const double *a, size_t count) {
  double sum = 0;
  for (size_t k = 0; k < count; k++)
    sum += a[k] * a[k];
  return sqrt(sum);
}

static bl_status improve(const folding *f, bl_tucker *t) {
  const bl_kernel *k = f->kernel;
  const uint32_t n = k->outputs, c = k->inputs;
  double *room = bl_arena_alloc(f->arena, (size_t)n * c * k->taps, sizeof *room);
  if (room == NULL) return bl_fail(f->err, BL_ERR_MEMORY, "low rank: no memory for a kernel");
  double before = 0;
  for (int sweep = 0; sweep < MOST_SWEEPS; sweep++) {
    project(f, f->by_in, c, n, t->in, t->rank_in, room, f->part_out);
    BL_TRY(leading(f, f->part_out, n, t->rank_in * k->taps, t->rank_out, t->out, NULL));
    project(f, f->by_out, n, c, t->out, t->rank_out, room, f->part_in);
    BL_TRY(leading(f, f->part_in, c, t->rank_out * k->taps, t->rank_in, t->in, NULL));
    // core[out][in][taps] = out' (kernel x in)
    project(f, f->by_in, c, n, t->in, t->rank_in, room, f->part_out);
    cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (blasint)t->rank_out,
                (blasint)(t->rank_in * k->taps), (blasint)n, 1, t->out, (blasint)t->rank_out,
                f->part_out, (blasint)(t->rank_in * k->taps), 0, t->core,
                (blasint)(t->rank_in * k->taps));
    const double now = norm_of(t->core, (size_t)t->rank_out * t->rank_in * k->taps);
    if (now - before <= SETTLED * now) break;
    before = now;
  }
  return BL_OK;
}

bl_status bl_tucker_spectra(bl_arena *arena, const bl_kernel *kernel, bl_tucker *t, bl_error *err) {
  folding f = {.kernel = kernel, .arena = arena, .err = err};
  const uint32_t n = kernel->outputs, c = kernel->inputs;
  BL_TRY(unfold(&f));
  *t = (bl_tucker){.spectrum_out = bl_arena_alloc(arena, n, sizeof(double)),
                   .spectrum_in = bl_arena_alloc(arena, c, sizeof(double))};
  if (t->spectrum_out == NULL || t->spectrum_in == NULL)
    return bl_fail(err, BL_ERR_MEMORY, "low rank: no memory for a kernel");
  BL_TRY(leading(&f, f.by_out, n, c * kernel->taps, 0, NULL, t->spectrum_out));
  return leading(&f, f.by_in, c, n * kernel->taps, 0, NULL, t->spectrum_in);
}

bl_status bl_tucker_take(bl_arena *arena, const bl_kernel *kernel, uint32_t rank_out,
                         uint32_t rank_in, bl_tucker *t, bl_error *err) {
  folding f = {.kernel = kernel, .arena = arena, .err = err};
  const uint32_t n = kernel->outputs, c = kernel->inputs;
  BL_TRY(unfold(&f));
  *t = (bl_tucker){
      .rank_out = rank_out,
      .rank_in = rank_in,
      .out = bl_arena_alloc(arena, (size_t)n * rank_out, sizeof(double)),
      .in = bl_arena_alloc(arena, (size_t)c * rank_in, sizeof(double)),
      .core = bl_arena_alloc(arena, (size_t)rank_out * rank_in * kernel->taps, sizeof(double))};
  if (t->out == NULL || t->in == NULL || t->core == NULL)
    return bl_fail(err, BL_ERR_MEMORY, "low rank: no memory for a kernel");
  BL_TRY(leading(&f, f.by_in, c, n * kernel->taps, rank_in, t->in, NULL));
  return improve(&f, t);
}
