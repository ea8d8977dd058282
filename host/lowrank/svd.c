// SPDX-License-Identifier: Apache-2.0
#include <cblas.h>
#include <lapacke.h>
#include <math.h>
#include <string.h>

#include "host/lowrank/factor.h"

bl_status bl_svd_take(bl_arena *arena, const double *a, uint32_t rows, uint32_t cols, bl_svd *svd,
                      bl_error *err) {
  const uint32_t count = rows < cols ? rows : cols;
  const size_t elements = (size_t)rows * cols;
  double *scratch = bl_arena_alloc(arena, elements, sizeof *scratch);
  *svd = (bl_svd){.rows = rows,
                  .cols = cols,
                  .count = count,
                  .u = bl_arena_alloc(arena, (size_t)rows * count, sizeof *svd->u),
                  .s = bl_arena_alloc(arena, count, sizeof *svd->s),
                  .vt = bl_arena_alloc(arena, (size_t)count * cols, sizeof *svd->vt)};
  if (scratch == NULL || svd->u == NULL || svd->s == NULL || svd->vt == NULL)
    return bl_fail(err, BL_ERR_MEMORY, "low rank: no memory for a matrix of %u x %u",
                   (unsigned)rows, (unsigned)cols);
  for (size_t k = 0; k < elements; k++)
    if (!isfinite(a[k])) return bl_fail(err, BL_ERR_RANGE, "low rank: a weight is not finite");
  memcpy(scratch, a, elements * sizeof *a);
  openblas_set_num_threads(1);
  if (LAPACKE_dgesdd(LAPACK_ROW_MAJOR, 'S', (lapack_int)rows, (lapack_int)cols, scratch,
                     (lapack_int)cols, svd->s, svd->u, (lapack_int)count, svd->vt,
                     (lapack_int)cols) != 0)
    return bl_fail(err, BL_ERR_RANGE, "low rank: singular values of %u x %u did not converge",
                   (unsigned)rows, (unsigned)cols);
  return BL_OK;
}

uint32_t bl_rank_energy(const double *s, uint32_t count, double energy) {
  double all = 0, kept = 0;
  for (uint32_t k = count; k-- > 0;)
    all += s[k] * s[k];
  for (uint32_t k = 0; k < count; k++) {
    kept += s[k] * s[k];
    if (kept >= energy * all) return k + 1;
  }
  return count;
}
