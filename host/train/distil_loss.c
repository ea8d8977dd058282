// SPDX-License-Identifier: Apache-2.0
// Losses of distillation and their gradients.
#include <cblas.h>
#include <lapacke.h>
#include <math.h>
#include <stdlib.h>

#include "host/base/simd.h"
#include "host/train/distil.h"

static const double RIDGE = 1e-3;

// ---- Hints

// The map of teacher_channels x student_channels that is best for the batch; false: no memory, or
// none.
static bool best_map(const float *s, const float *t, size_t samples, size_t cs, size_t ct,
                     size_t pixels, double *map) {
  const double mean = 1 / ((double)samples * (double)pixels);
  double *gram = calloc(cs * cs, sizeof *gram);
  float *part = calloc((cs > ct ? cs : ct) * cs, sizeof *part);
  bool ok = gram != NULL && part != NULL;
  for (size_t k = 0; k < ct * cs; k++)
    map[k] = 0;
  for (size_t n = 0; ok && n < samples; n++) {
    const float *a = s + n * cs * pixels, *b = t + n * ct * pixels;
    const blasint p = (blasint)pixels, c = (blasint)cs;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, c, c, p, 1, a, p, a, p, 0, part, c);
    for (size_t k = 0; k < cs * cs; k++)
      gram[k] += mean * (double)part[k];
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)ct, c, p, 1, b, p, a, p, 0, part,
                c);
    for (size_t k = 0; k < ct * cs; k++)
      map[k] += mean * (double)part[k];
  }
  for (size_t k = 0; ok && k < cs; k++)
    gram[k * cs + k] += RIDGE;
  // rows of the map are the right-hand sides, column by column
  ok = ok && LAPACKE_dposv(LAPACK_COL_MAJOR, 'U', (lapack_int)cs, (lapack_int)ct, gram,
                           (lapack_int)cs, map, (lapack_int)cs) == 0;
  free(gram);
  free(part);
  return ok;
}

// Adds the gradient of one sample; returns its squared error.
static double mapped_sample(const float *s, const float *t, size_t cs, size_t ct, size_t pixels,
                            const float *map, double factor, float *error, float *gradient) {
  const blasint p = (blasint)pixels, c = (blasint)cs;
  double sum = 0;
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)ct, p, c, 1, map, c, s, p, 0,
              error, p);
  for (size_t k = 0; k < ct * pixels; k++) {
    error[k] -= t[k];
    sum += (double)error[k] * (double)error[k];
  }
  cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, c, p, (blasint)ct, (float)factor, map, c,
              error, p, 1, gradient, p);
  return sum;
}

static double mapped_hint(const float *s, const float *t, size_t samples, size_t cs, size_t ct,
                          size_t pixels, double weight, float *gradient) {
  const double mean = 1 / ((double)samples * (double)ct * (double)pixels);
  double *map = calloc(ct * cs, sizeof *map), sum = 0, size = 0;
  float *rounded = calloc(ct * cs, sizeof *rounded), *error = calloc(ct * pixels, sizeof *error);
  const bool ok = map != NULL && rounded != NULL && error != NULL &&
                  best_map(s, t, samples, cs, ct, pixels, map);
  for (size_t k = 0; ok && k < ct * cs; k++) {
    rounded[k] = (float)map[k];
    size += map[k] * map[k];
  }
  for (size_t n = 0; ok && n < samples; n++)
    sum += mapped_sample(s + n * cs * pixels, t + n * ct * pixels, cs, ct, pixels, rounded,
                         2 * weight * mean, error, gradient + n * cs * pixels);
  free(map);
  free(rounded);
  free(error);
  return ok ? sum * mean + RIDGE * size / (double)ct : (double)NAN;
}

// 1 / the mean square of the teacher; 1 for zeros.
BL_SIMD static double unit_of(const float *teacher, size_t count) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (size_t k = 0; k < count; k++)
    sum += (double)teacher[k] * (double)teacher[k];
  return sum > 0 ? (double)count / sum : 1;
}

// Adds factor * difference to the gradient; returns the sum of squares.
BL_SIMD static double add_difference(const float *student, const float *teacher, size_t count,
                                     double factor, float *gradient) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (size_t k = 0; k < count; k++) {
    const double d = (double)student[k] - (double)teacher[k];
    sum += d * d;
    gradient[k] += (float)(factor * d);
  }
  return sum;
}

double bl_distil_hint(const float *student, const float *teacher, size_t samples,
                      size_t student_channels, size_t teacher_channels, size_t pixels,
                      double weight, float *gradient) {
  const double unit = unit_of(teacher, samples * teacher_channels * pixels);
  if (student_channels != teacher_channels)
    return unit * mapped_hint(student, teacher, samples, student_channels, teacher_channels, pixels,
                              unit * weight, gradient);
  const size_t count = samples * student_channels * pixels;
  const double sum =
      add_difference(student, teacher, count, 2 * unit * weight / (double)count, gradient);
  return unit * sum / (double)count;
}

// ---- Attention

// Divides the sums of squares over channels by their norm, which is returned.
static double attention_map(const float *x, size_t channels, size_t pixels, double *map) {
  double norm = 0;
  for (size_t p = 0; p < pixels; p++)
    map[p] = 0;
  for (size_t c = 0; c < channels; c++)
    for (size_t p = 0; p < pixels; p++)
      map[p] += (double)x[c * pixels + p] * (double)x[c * pixels + p];
  for (size_t p = 0; p < pixels; p++)
    norm += map[p] * map[p];
  norm = sqrt(norm);
  for (size_t p = 0; norm > 0 && p < pixels; p++)
    map[p] /= norm;
  return norm;
}

// One sample: returns |Q_s - Q_t|^2; adds factor times its gradient. `s` and `t` are scratch.
static double attention_sample(const float *x, size_t channels, size_t pixels, double norm,
                               const double *s, const double *t, double factor, float *gradient) {
  double sum = 0, along = 0;
  for (size_t p = 0; p < pixels; p++) {
    sum += (s[p] - t[p]) * (s[p] - t[p]);
    along += s[p] * 2 * (s[p] - t[p]);
  }
  for (size_t p = 0; norm > 0 && p < pixels; p++) {
    const double d = factor * (2 * (s[p] - t[p]) - s[p] * along) / norm;
    for (size_t c = 0; c < channels; c++)
      gradient[c * pixels + p] += (float)(2 * d * (double)x[c * pixels + p]);
  }
  return sum;
}

double bl_distil_attention(const float *student, const float *teacher, size_t samples,
                           size_t student_channels, size_t teacher_channels, size_t pixels,
                           double weight, float *gradient) {
  double *maps = malloc(2 * pixels * sizeof *maps), sum = 0;
  if (maps == NULL) return (double)NAN;
  for (size_t n = 0; n < samples; n++) {
    const size_t at = n * student_channels * pixels;
    const double norm = attention_map(student + at, student_channels, pixels, maps);
    (void)attention_map(teacher + n * teacher_channels * pixels, teacher_channels, pixels,
                        maps + pixels);
    sum += attention_sample(student + at, student_channels, pixels, norm, maps, maps + pixels,
                            weight / (double)samples, gradient + at);
  }
  free(maps);
  return sum / (double)samples;
}

// ---- Relations

static double huber(double x, double *slope) {
  *slope = x > 1 ? 1 : x < -1 ? -1 : x;
  return fabs(x) <= 1 ? x * x / 2 : fabs(x) - 0.5;
}

static double distances(const float *x, size_t samples, size_t elements, double *d) {
  double sum = 0;
  for (size_t i = 0; i < samples; i++)
    for (size_t j = 0; j < samples; j++) {
      double square = 0;
      for (size_t k = 0; k < elements; k++) {
        const double e = (double)x[i * elements + k] - (double)x[j * elements + k];
        square += e * e;
      }
      d[i * samples + j] = sqrt(square);
      sum += d[i * samples + j];
    }
  return samples > 1 ? sum / (double)(samples * (samples - 1)) : 0;
}

// ds and dt: distances, mean ms and mt. Returns D; adds the gradient.
static double by_distance(const float *x, size_t samples, size_t elements, double *ds, double ms,
                          const double *dt, double mt, double weight, float *gradient) {
  const double pairs = (double)samples * ((double)samples - 1);
  double sum = 0, all = 0, slope;
  if (samples < 2 || ms == 0 || mt == 0) return 0;
  for (size_t k = 0; k < samples * samples; k++) {
    sum += huber(ds[k] / ms - dt[k] / mt, &slope);
    all += slope * ds[k];
  }
  for (size_t i = 0; i < samples; i++)
    for (size_t j = 0; j < samples; j++) {
      const double d = ds[i * samples + j];
      (void)huber(d / ms - dt[i * samples + j] / mt, &slope);
      const double g = d > 0 ? weight / pairs * (slope / ms - all / (ms * ms * pairs)) / d : 0;
      for (size_t k = 0; k < elements; k++) {
        const double e = g * ((double)x[i * elements + k] - (double)x[j * elements + k]);
        gradient[i * elements + k] += (float)e;
        gradient[j * elements + k] -= (float)e;
      }
    }
  return sum / pairs;
}

// Unit vectors from sample j to all.
static void directions(const float *x, size_t samples, size_t elements, size_t j, const double *d,
                       double *unit) {
  for (size_t i = 0; i < samples; i++) {
    const double scale = d[i * samples + j] > 0 ? 1 / d[i * samples + j] : 0;
    for (size_t k = 0; k < elements; k++)
      unit[i * elements + k] = scale * ((double)x[i * elements + k] - (double)x[j * elements + k]);
  }
}

static void cosines(const double *unit, size_t samples, size_t elements, double *c) {
  const blasint n = (blasint)samples, e = (blasint)elements;
  cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n, n, e, 1, unit, e, unit, e, 0, c, n);
}

// The angles at sample j: cs becomes their slopes. Adds the gradient by moves[samples][elements].
static double angles_at(size_t j, size_t samples, size_t elements, const double *unit,
                        const double *d, double *cs, const double *ct, double weight, double *moves,
                        float *gradient) {
  const blasint n = (blasint)samples, e = (blasint)elements;
  double sum = 0;
  for (size_t k = 0; k < samples * samples; k++)
    sum += huber(cs[k] - ct[k], &cs[k]);
  // both sides of a cosine are directions
  cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, e, n, 2 * weight, cs, n, unit, e, 0,
              moves, e);
  for (size_t i = 0; i < samples; i++) {
    const double *u = unit + i * elements, *m = moves + i * elements;
    double along = 0;
    for (size_t k = 0; k < elements; k++)
      along += u[k] * m[k];
    for (size_t k = 0; d[i * samples + j] > 0 && k < elements; k++) {
      const double g = (m[k] - u[k] * along) / d[i * samples + j];
      gradient[i * elements + k] += (float)g;
      gradient[j * elements + k] -= (float)g;
    }
  }
  return sum;
}

typedef struct {
  double *ds, *dt, *cs, *ct, *us, *ut, *moves;
} relation_scratch;

static double relations(const float *s, const float *t, size_t samples, size_t es, size_t et,
                        double weight, const relation_scratch *r, float *gradient) {
  const double triples = (double)samples * (double)samples * (double)samples;
  const double ms = distances(s, samples, es, r->ds), mt = distances(t, samples, et, r->dt);
  const double by = by_distance(s, samples, es, r->ds, ms, r->dt, mt, weight, gradient);
  double sum = 0;
  for (size_t j = 0; j < samples; j++) {
    directions(s, samples, es, j, r->ds, r->us);
    directions(t, samples, et, j, r->dt, r->ut);
    cosines(r->us, samples, es, r->cs);
    cosines(r->ut, samples, et, r->ct);
    sum += angles_at(j, samples, es, r->us, r->ds, r->cs, r->ct, 2 * weight / triples, r->moves,
                     gradient);
  }
  return by + 2 * sum / triples;
}

double bl_distil_relation(const float *student, const float *teacher, size_t samples,
                          size_t student_elements, size_t teacher_elements, double weight,
                          float *gradient) {
  const size_t square = samples * samples;
  const size_t all = 4 * square + samples * (2 * student_elements + teacher_elements);
  double *x = calloc(all + 1, sizeof *x);
  if (x == NULL) return (double)NAN;
  relation_scratch r = {.ds = x, .dt = x + square, .cs = x + 2 * square, .ct = x + 3 * square};
  r.us = x + 4 * square;
  r.moves = r.us + samples * student_elements;
  r.ut = r.moves + samples * student_elements;
  const double loss = relations(student, teacher, samples, student_elements, teacher_elements,
                                weight, &r, gradient);
  free(x);
  return loss;
}
