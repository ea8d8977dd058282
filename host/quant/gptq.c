// SPDX-License-Identifier: Apache-2.0
// The paper works on the inverse of H; here H = R'R with R upper triangular, and columns are
// rounded from the last one on, each to the nearest of w_k + sum over j > k of R_kj e_j / R_kk.
// That gives the same integers (Babai's nearest plane) and needs no inverse.
#include "host/quant/gptq.h"

#include <lapacke.h>
#include <math.h>
#include <stdlib.h>

enum { MOST_SWEEPS = 30 };

struct bl_gptq {
  uint32_t columns;
  const double *moments;
  double ridge;    // what damping adds to the diagonal
  uint32_t *order; // [columns] by increasing diagonal
  double *factor;  // [columns][columns] R of the ordered, damped moments
};

typedef struct {
  double diagonal;
  uint32_t column;
} ranked;

static int by_diagonal(const void *a, const void *b) {
  const ranked *x = a, *y = b;
  if (x->diagonal != y->diagonal) return x->diagonal < y->diagonal ? -1 : 1;
  return x->column > y->column ? -1 : x->column < y->column;
}

static bl_status no_memory(bl_error *err) {
  return bl_fail(err, BL_ERR_MEMORY, "gptq: no memory for the moments");
}

static double damped(const bl_gptq *g, uint32_t row, uint32_t column) {
  double m = g->moments[(size_t)row * g->columns + column];
  if (row != column) return m;
  return m + g->ridge;
}

static bl_status order_columns(bl_gptq *g, double damping, bl_error *err) {
  const uint32_t n = g->columns;
  ranked *rank = calloc(n, sizeof *rank);
  if (rank == NULL) return no_memory(err);
  double sum = 0;
  for (uint32_t k = 0; k < n; k++) {
    rank[k] = (ranked){g->moments[(size_t)k * n + k], k};
    sum += rank[k].diagonal;
  }
  g->ridge = sum > 0 ? damping * sum / n : 1;
  qsort(rank, n, sizeof *rank, by_diagonal);
  for (uint32_t k = 0; k < n; k++)
    g->order[k] = rank[k].column;
  free(rank);
  return BL_OK;
}

static bl_status factorise(bl_gptq *g, bl_error *err) {
  const uint32_t n = g->columns;
  for (uint32_t i = 0; i < n; i++)
    for (uint32_t j = 0; j < n; j++)
      g->factor[(size_t)i * n + j] = damped(g, g->order[i], g->order[j]);
  // Lower by columns is upper by rows.
  if (LAPACKE_dpotrf(LAPACK_COL_MAJOR, 'L', (lapack_int)n, g->factor, (lapack_int)n) != 0)
    return bl_fail(err, BL_ERR_RANGE, "gptq: moments are not positive definite");
  return BL_OK;
}

bl_status bl_gptq_open(uint32_t columns, const double *moments, double damping, bl_gptq **gptq,
                       bl_error *err) {
  bl_gptq *g = *gptq = calloc(1, sizeof *g);
  if (g == NULL) return no_memory(err);
  g->columns = columns;
  g->moments = moments;
  g->order = calloc(columns, sizeof *g->order);
  g->factor = calloc((size_t)columns * columns, sizeof *g->factor);
  bl_status status = g->order == NULL || g->factor == NULL ? no_memory(err) : BL_OK;
  if (status == BL_OK) status = order_columns(g, damping, err);
  if (status == BL_OK) status = factorise(g, err);
  if (status == BL_OK) return BL_OK;
  bl_gptq_close(g);
  *gptq = NULL;
  return status;
}

void bl_gptq_close(bl_gptq *gptq) {
  if (gptq == NULL) return;
  free(gptq->order);
  free(gptq->factor);
  free(gptq);
}

bl_status bl_gptq_solve(const bl_gptq *g, uint32_t rows, double *residual, bl_error *err) {
  const uint32_t n = g->columns;
  double *ordered = calloc((size_t)rows * n, sizeof *ordered);
  if (ordered == NULL) return no_memory(err);
  for (uint32_t r = 0; r < rows; r++)
    for (uint32_t k = 0; k < n; k++)
      ordered[(size_t)r * n + k] = residual[(size_t)r * n + g->order[k]];
  bl_status status = BL_OK;
  if (LAPACKE_dpotrs(LAPACK_COL_MAJOR, 'L', (lapack_int)n, (lapack_int)rows, g->factor,
                     (lapack_int)n, ordered, (lapack_int)n) != 0)
    status = bl_fail(err, BL_ERR_RANGE, "gptq: cross moments are not finite");
  for (uint32_t r = 0; r < rows && status == BL_OK; r++)
    for (uint32_t k = 0; k < n; k++)
      residual[(size_t)r * n + g->order[k]] = ordered[(size_t)r * n + k];
  free(ordered);
  return status;
}

int bl_grid_nearest(const bl_grid *grid, double x) {
  if (grid->bipolar) return x >= 0 ? 1 : -1;
  if (grid->codebook != NULL) return bl_codebook_nearest(grid->codebook, x);
  return (int)fmax(grid->lo, fmin(grid->hi, round(x)));
}

// A weight that is exactly 0 is a pruned one and stays 0, where the grid has it.
static bool is_held(const bl_grid *grid, double weight) {
  return weight == 0 && bl_grid_nearest(grid, 0) == 0;
}

// From the last column on; `e` is [columns] of room, in the factor's order.
static void forward_errors(const bl_gptq *g, const double *weights, const double *steps,
                           const bl_grid *grid, int *integers, double *e) {
  for (uint32_t k = g->columns; k-- > 0;) {
    const double *row = g->factor + (size_t)k * g->columns;
    const uint32_t at = g->order[k];
    double fed = 0;
    for (uint32_t j = k + 1; j < g->columns; j++)
      fed += row[j] * e[j];
    const double aim = is_held(grid, weights[at]) ? 0 : weights[at] + fed / row[k];
    integers[at] = bl_grid_nearest(grid, aim / steps[at]);
    e[k] = weights[at] - steps[at] * integers[at];
  }
}

// g = (H + ridge) e.
static void gradient_of(const bl_gptq *g, const double *weights, const double *steps,
                        const int *integers, double *gradient) {
  for (uint32_t k = 0; k < g->columns; k++)
    gradient[k] = 0;
  for (uint32_t j = 0; j < g->columns; j++) {
    const double e = weights[j] - steps[j] * integers[j];
    const double *row = g->moments + (size_t)j * g->columns;
    for (uint32_t k = 0; k < g->columns; k++)
      gradient[k] += row[k] * e;
    gradient[j] += g->ridge * e;
  }
}

static void descend(const bl_gptq *g, const double *weights, const double *steps,
                    const bl_grid *grid, int *integers, double *gradient) {
  gradient_of(g, weights, steps, integers, gradient);
  bool changed = true;
  for (int sweep = 0; changed && sweep < MOST_SWEEPS; sweep++) {
    changed = false;
    for (uint32_t i = g->columns; i-- > 0;) {
      const uint32_t k = g->order[i];
      const double curve = damped(g, k, k);
      if (is_held(grid, weights[k])) continue;
      const int best = bl_grid_nearest(grid, integers[k] + gradient[k] / curve / steps[k]);
      const double d = steps[k] * (best - integers[k]);
      // the change of the objective; also stops at ties
      if (d == 0 || curve * d * d - 2 * d * gradient[k] >= -1e-9 * curve * d * d) continue;
      const double *row = g->moments + (size_t)k * g->columns;
      for (uint32_t j = 0; j < g->columns; j++)
        gradient[j] -= row[j] * d;
      gradient[k] -= g->ridge * d;
      integers[k] = best;
      changed = true;
    }
  }
}

double bl_gptq_error(const bl_gptq *g, const double *weights, const double *steps,
                     const int *integers) {
  double sum = 0;
  for (uint32_t k = 0; k < g->columns; k++) {
    const double *row = g->moments + (size_t)k * g->columns;
    double inner = 0;
    for (uint32_t j = 0; j < g->columns; j++)
      inner += row[j] * (weights[j] - steps[j] * integers[j]);
    sum += (weights[k] - steps[k] * integers[k]) * inner;
  }
  return sum;
}

bl_status bl_gptq_round(const bl_gptq *g, const double *weights, const double *steps,
                        const bl_grid *grid, int *integers, bl_error *err) {
  const uint32_t n = g->columns;
  double *room = calloc(n, sizeof *room);
  int *nearest = calloc(n, sizeof *nearest);
  bl_status status = room == NULL || nearest == NULL ? no_memory(err) : BL_OK;
  if (status == BL_OK) {
    for (uint32_t k = 0; k < n; k++)
      nearest[k] = bl_grid_nearest(grid, weights[k] / steps[k]);
    forward_errors(g, weights, steps, grid, integers, room);
    descend(g, weights, steps, grid, integers, room);
    if (bl_gptq_error(g, weights, steps, nearest) < bl_gptq_error(g, weights, steps, integers))
      for (uint32_t k = 0; k < n; k++)
        integers[k] = nearest[k];
  }
  free(room);
  free(nearest);
  return status;
}
