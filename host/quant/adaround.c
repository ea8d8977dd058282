// SPDX-License-Identifier: Apache-2.0
// With V the learned numbers, h = clamp(1.2 sigmoid(V) - 0.1, 0, 1) says how far a weight is from
// the lower to the upper of its integers (equation 23). Minimised by Adam is
//   mean over windows and channels of e^2 / E + LAMBDA * mean over weights of 1 - |2 h - 1|^beta,
// e the error behind the clamp and E its mean square for h that are coins, so that the second term
// (24) weighs the same in every layer; beta falls from 20 to 2, and for a first fifth of the
// iterations the term is left out.
#include "host/quant/adaround.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>

#include "host/base/random.h"

enum { BATCH = 256, ITERATIONS = 1000 };
#define STRETCH 1.2
#define LOW (-0.1)
#define LAMBDA 2.0
#define WARM_UP 0.2
#define BETA_FIRST 20.0
#define BETA_LAST 2.0
#define RATE 0.03
#define MOMENT_1 0.9
#define MOMENT_2 0.999

typedef struct {
  const bl_adaround *a;
  int *below, *above; // [rows][columns]
  double *v, *h;      // [rows][columns]
  double *m1, *m2;    // [rows][columns] Adam's
  float *w;           // [rows][columns] weights as they are now
  float *u;           // [BATCH][columns]
  float *e;           // [BATCH][rows]
  float *gradient;    // [rows][columns]
  double unit;        // E
} room;

void bl_grid_around(const bl_grid *grid, double x, int *below, int *above) {
  *below = *above = bl_grid_nearest(grid, x);
  if (x == 0 && *below == 0) return; // a pruned weight stays so
  if (grid->bipolar) {
    *below = -1;
    *above = 1;
  } else if (grid->codebook != NULL) {
    const int8_t *values = grid->codebook->values;
    for (int k = 0; k < BL_INT_CODES; k++) {
      if (values[k] <= x) *below = values[k];
      if (values[BL_INT_CODES - 1 - k] >= x) *above = values[BL_INT_CODES - 1 - k];
    }
  } else if (x > grid->lo && x < grid->hi) {
    *below = (int)floor(x);
    *above = *below + 1;
  }
}

static double clamped(const bl_affine *f, double sum) {
  return fmax(f->lo, fmin(f->hi, f->scale * sum + f->offset));
}

// Error behind the clamp of a sum that is `e` more than wanted, in units of the sum.
static double behind(const bl_affine *f, double full, double e) {
  return f->scale == 0 ? 0 : (clamped(f, full + e) - clamped(f, full)) / f->scale;
}

static bool passes(const bl_affine *f, double sum) {
  const double y = f->scale * sum + f->offset;
  return y > f->lo && y < f->hi;
}

double bl_adaround_error(const bl_adaround *a, uint32_t row, const int *integers) {
  const double *steps = a->steps + (size_t)row * a->columns;
  double square = 0;
  for (size_t i = 0; i < a->windows; i++) {
    double e = -(double)a->t[i * a->rows + row];
    for (size_t k = 0; k < a->columns; k++)
      e += steps[k] * integers[k] * (double)a->u[i * a->columns + k];
    e = behind(&a->after[row], (double)a->full[i * a->rows + row], e);
    square += e * e;
  }
  return square / (double)a->windows;
}

static bool make_room(room *r) {
  const size_t count = (size_t)r->a->rows * r->a->columns;
  r->below = calloc(count, sizeof *r->below);
  r->above = calloc(count, sizeof *r->above);
  r->v = calloc(count, sizeof *r->v);
  r->h = calloc(count, sizeof *r->h);
  r->m1 = calloc(count, sizeof *r->m1);
  r->m2 = calloc(count, sizeof *r->m2);
  r->w = calloc(count, sizeof *r->w);
  r->gradient = calloc(count, sizeof *r->gradient);
  r->u = calloc((size_t)BATCH * r->a->columns, sizeof *r->u);
  r->e = calloc((size_t)BATCH * r->a->rows, sizeof *r->e);
  return r->below != NULL && r->above != NULL && r->v != NULL && r->h != NULL && r->m1 != NULL &&
         r->m2 != NULL && r->w != NULL && r->gradient != NULL && r->u != NULL && r->e != NULL;
}

static void free_room(room *r) {
  free(r->below);
  free(r->above);
  free(r->v);
  free(r->h);
  free(r->m1);
  free(r->m2);
  free(r->w);
  free(r->gradient);
  free(r->u);
  free(r->e);
}

static double gap(const room *r, size_t i) {
  return r->a->steps[i] * (r->above[i] - r->below[i]);
}

// The neighbours of each weight, and V of how far it is from the lower one.
static void start(room *r) {
  const bl_adaround *a = r->a;
  double noise = 0;
  for (size_t i = 0; i < (size_t)a->rows * a->columns; i++) {
    const double x = a->weights[i] / a->steps[i];
    bl_grid_around(&a->grids[i / a->columns], x, &r->below[i], &r->above[i]);
    const int wide = r->above[i] - r->below[i];
    const double part = wide == 0 ? 0 : fmax(0, fmin(1, (x - r->below[i]) / wide));
    r->v[i] = -log(STRETCH / (part - LOW) - 1);
    double square = 0;
    for (size_t k = i % a->columns; k < a->windows * a->columns; k += a->columns * 16)
      square += (double)a->u[k] * (double)a->u[k];
    noise += gap(r, i) * gap(r, i) * part * (1 - part) * square * 16;
  }
  r->unit = noise / (double)a->windows / a->rows;
  if (!(r->unit > 0)) r->unit = 1;
}

static void set_weights(room *r) {
  for (size_t i = 0; i < (size_t)r->a->rows * r->a->columns; i++) {
    r->h[i] = fmax(0, fmin(1, STRETCH / (1 + exp(-r->v[i])) + LOW));
    r->w[i] = (float)(r->a->steps[i] * r->below[i] + gap(r, i) * r->h[i]);
  }
}

// Gradients of the errors of some windows, drawn by seed and iteration.
static void windows_gradient(room *r, uint32_t iteration) {
  const bl_adaround *a = r->a;
  const uint64_t key = bl_random_key(a->seed, iteration);
  const blasint rows = (blasint)a->rows, columns = (blasint)a->columns;
  size_t drawn[BATCH];
  for (size_t i = 0; i < BATCH; i++) {
    drawn[i] = (size_t)bl_random_below(bl_random_key(key, i), a->windows);
    for (size_t k = 0; k < a->columns; k++)
      r->u[i * a->columns + k] = a->u[drawn[i] * a->columns + k];
  }
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, BATCH, rows, columns, 1, r->u, columns, r->w,
              columns, 0, r->e, rows);
  for (size_t i = 0; i < (size_t)BATCH * a->rows; i++) {
    const size_t row = i % a->rows, at = drawn[i / a->rows] * a->rows + row;
    const double e = (double)(r->e[i] - a->t[at]), full = (double)a->full[at];
    const bl_affine *f = &a->after[row];
    r->e[i] = passes(f, full + e) ? (float)behind(f, full, e) : 0;
  }
  cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, rows, columns, BATCH, 1, r->e, rows, r->u,
              columns, 0, r->gradient, columns);
}

static double beta_of(double progress) {
  const double t = (progress - WARM_UP) / (1 - WARM_UP);
  return BETA_LAST + 0.5 * (BETA_FIRST - BETA_LAST) * (1 + cos(acos(-1.0) * t));
}

static void step(room *r, uint32_t iteration, uint32_t iterations) {
  const bl_adaround *a = r->a;
  const size_t count = (size_t)a->rows * a->columns;
  const double progress = (double)iteration / iterations;
  const double beta = beta_of(progress), errors = 2.0 / BATCH / a->rows / r->unit;
  const double pull = progress < WARM_UP ? 0 : LAMBDA * 2 * beta / (double)count;
  const double warm_1 = 1 - pow(MOMENT_1, iteration + 1.0);
  const double warm_2 = 1 - pow(MOMENT_2, iteration + 1.0);
  for (size_t i = 0; i < count; i++) {
    const double sigmoid = 1 / (1 + exp(-r->v[i])), side = 2 * r->h[i] - 1;
    double slope = errors * (double)r->gradient[i] * gap(r, i);
    if (pull > 0) slope -= copysign(pull * pow(fabs(side), beta - 1), side);
    slope *= r->h[i] > 0 && r->h[i] < 1 ? STRETCH * sigmoid * (1 - sigmoid) : 0;
    slope *= (double)count; // a mean over weights would only scale what Adam takes out again
    r->m1[i] = MOMENT_1 * r->m1[i] + (1 - MOMENT_1) * slope;
    r->m2[i] = MOMENT_2 * r->m2[i] + (1 - MOMENT_2) * slope * slope;
    r->v[i] -= RATE * (r->m1[i] / warm_1) / (sqrt(r->m2[i] / warm_2) + 1e-8);
  }
}

// What was learned, or the nearest integers where they are better.
static void finish(const room *r, int *integers) {
  const bl_adaround *a = r->a;
  for (uint32_t n = 0; n < a->rows; n++) {
    const size_t first = (size_t)n * a->columns;
    int *row = integers + first;
    for (size_t k = 0; k < a->columns; k++)
      row[k] = bl_grid_nearest(&a->grids[n], a->weights[first + k] / a->steps[first + k]);
    const double plain = bl_adaround_error(a, n, row);
    int *learned = r->below + first;
    for (size_t k = 0; k < a->columns; k++)
      if (r->h[first + k] >= 0.5) learned[k] = r->above[first + k];
    if (bl_adaround_error(a, n, learned) > plain) continue;
    for (size_t k = 0; k < a->columns; k++)
      row[k] = learned[k];
  }
}

bl_status bl_adaround_round(const bl_adaround *a, int *integers, bl_error *err) {
  room r = {.a = a};
  const uint32_t iterations = a->iterations > 0 ? a->iterations : ITERATIONS;
  bl_status status = BL_OK;
  if (!make_room(&r)) {
    status = bl_fail(err, BL_ERR_MEMORY, "adaround: no memory");
  } else {
    start(&r);
    for (uint32_t i = 0; i < iterations; i++) {
      set_weights(&r);
      windows_gradient(&r, i);
      step(&r, i, iterations);
    }
    set_weights(&r);
    finish(&r, integers);
  }
  free_room(&r);
  return status;
}
