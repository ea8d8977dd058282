// SPDX-License-Identifier: Apache-2.0
// In one dimension clusters are intervals of the sorted numbers, so that everything works on sums
// in front of each position.
#include "host/share/kmeans.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/random.h"

enum { MAX_TABLE = 1 << 28 };

typedef struct {
  const double *x;      // [count] sorted
  double *sum, *square; // [count + 1] of the numbers in front
  size_t count;
  unsigned clusters;
} sorted;

static int ascending(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

// Squared differences of numbers from..to-1 to their mean.
static double spread(const sorted *s, size_t from, size_t to) {
  if (to <= from + 1) return 0;
  const double sum = s->sum[to] - s->sum[from];
  return fmax(0, s->square[to] - s->square[from] - sum * sum / (double)(to - from));
}

// ---- The optimum

typedef struct {
  const sorted *s;
  const double *before; // least error of the first n numbers with a cluster less
  double *now;
  uint32_t *cut; // where the last cluster begins then
} level;

// Fills in now[lo..hi], whose last clusters begin at first..last: the best beginning does not fall
// as n grows, so the middle one parts the rest.
static void divide(const level *l, size_t lo, size_t hi, size_t first, size_t last) {
  while (lo <= hi) {
    const size_t middle = lo + (hi - lo) / 2;
    size_t best = first;
    double least = INFINITY;
    for (size_t from = first; from <= last && from <= middle; from++) {
      const double error = l->before[from] + spread(l->s, from, middle);
      if (error >= least) continue;
      least = error;
      best = from;
    }
    l->now[middle] = least;
    l->cut[middle] = (uint32_t)best;
    if (middle > lo) divide(l, lo, middle - 1, first, best);
    lo = middle + 1; // and the rest likewise
    first = best;
  }
}

// bounds[0..clusters]: where clusters begin, and the end.
static bool exact(const sorted *s, size_t *bounds) {
  const size_t width = s->count + 1;
  double *errors = calloc(2 * width, sizeof *errors);
  uint32_t *cuts = calloc(width * s->clusters, sizeof *cuts);
  if (errors != NULL && cuts != NULL) {
    double *before = errors, *now = errors + width;
    for (size_t n = 0; n < width; n++)
      before[n] = spread(s, 0, n);
    for (unsigned k = 1; k < s->clusters; k++) {
      const level l = {s, before, now, cuts + k * width};
      divide(&l, 0, s->count, 0, s->count);
      double *last = before;
      before = now;
      now = last;
    }
    bounds[s->clusters] = s->count;
    for (unsigned k = s->clusters; k > 0; k--)
      bounds[k - 1] = k == 1 ? 0 : cuts[(k - 1) * width + bounds[k]];
  }
  const bool done = errors != NULL && cuts != NULL;
  free(errors);
  free(cuts);
  return done;
}

// ---- Lloyd's iteration

// A number drawn with chances as the squared distances to the centres so far.
static double far_one(const sorted *s, const double *centres, unsigned count, double chance) {
  double whole = 0;
  for (int pass = 0; pass < 2; pass++) {
    double sum = 0;
    for (size_t n = 0; n < s->count; n++) {
      double nearest = INFINITY;
      for (unsigned k = 0; k < count; k++)
        nearest = fmin(nearest, fabs(s->x[n] - centres[k]));
      sum += nearest * nearest;
      if (pass == 1 && sum > chance * whole) return s->x[n];
    }
    whole = sum;
  }
  return s->x[s->count - 1];
}

static void start_centres(const sorted *s, const bl_kmeans_options *options, double *centres) {
  const double lo = s->x[0], hi = s->x[s->count - 1];
  for (unsigned k = 0; k < s->clusters; k++) {
    const double part = (k + 0.5) / s->clusters;
    if (options->start == BL_KMEANS_LINEAR)
      centres[k] = s->clusters == 1 ? (lo + hi) / 2 : lo + (hi - lo) * k / (s->clusters - 1);
    else if (options->start == BL_KMEANS_DENSITY)
      centres[k] = s->x[(size_t)(part * (double)s->count)];
    else if (options->start == BL_KMEANS_RANDOM || k == 0)
      centres[k] =
          s->x[(size_t)(bl_random_unit(bl_random_key(options->seed, k)) * (double)s->count)];
    else
      centres[k] = far_one(s, centres, k, bl_random_unit(bl_random_key(options->seed, k)));
  }
  qsort(centres, s->clusters, sizeof *centres, ascending);
}

// The first number that is nearer to the upper of two centres.
static size_t border(const sorted *s, double middle) {
  size_t lo = 0, hi = s->count;
  while (lo < hi) {
    const size_t n = lo + (hi - lo) / 2;
    if (s->x[n] <= middle)
      lo = n + 1;
    else
      hi = n;
  }
  return lo;
}

static void lloyd(const sorted *s, const bl_kmeans_options *options, size_t *bounds) {
  double centres[BL_KMEANS_MAX_CLUSTERS] = {0};
  bool moved = true;
  start_centres(s, options, centres);
  memset(bounds, 0, (s->clusters + 1) * sizeof *bounds);
  bounds[s->clusters] = s->count;
  for (int turn = 0; turn < BL_KMEANS_ITERATIONS && moved; turn++) {
    moved = turn == 0;
    for (unsigned k = 1; k < s->clusters; k++) {
      const size_t at = border(s, (centres[k - 1] + centres[k]) / 2);
      moved = moved || at != bounds[k];
      bounds[k] = at;
    }
    for (unsigned k = 0; k < s->clusters; k++)
      if (bounds[k + 1] > bounds[k])
        centres[k] =
            (s->sum[bounds[k + 1]] - s->sum[bounds[k]]) / (double)(bounds[k + 1] - bounds[k]);
  }
}

// ---- The whole

static void read_centres(const sorted *s, const size_t *bounds, bl_kmeans_result *result) {
  *result = (bl_kmeans_result){0};
  for (unsigned k = 0; k < s->clusters; k++) {
    const size_t from = bounds[k], to = bounds[k + 1];
    if (to == from) continue;
    const float centre = (float)((s->sum[to] - s->sum[from]) / (double)(to - from));
    for (size_t n = from; n < to; n++)
      result->error += (s->x[n] - (double)centre) * (s->x[n] - (double)centre);
    if (result->count == 0 || centre > result->centres[result->count - 1])
      result->centres[result->count++] = centre;
  }
}

static bl_status cluster(sorted *s, double *x, const float *values,
                         const bl_kmeans_options *options, bl_kmeans_result *result,
                         bl_error *err) {
  size_t bounds[BL_KMEANS_MAX_CLUSTERS + 1], different = s->count > 0;
  for (size_t n = 0; n < s->count; n++) {
    if (!isfinite(values[n]))
      return bl_fail(err, BL_ERR_RANGE, "k-means: number %zu is not finite", n);
    x[n] = (double)values[n];
  }
  qsort(x, s->count, sizeof *x, ascending);
  for (size_t n = 0; n < s->count; n++) {
    s->sum[n + 1] = s->sum[n] + x[n];
    s->square[n + 1] = s->square[n] + x[n] * x[n];
    if (n > 0 && x[n] > x[n - 1]) different++;
  }
  if (s->clusters > different) s->clusters = (unsigned)different;
  if (s->count == 0) return BL_OK;
  if (options->start != BL_KMEANS_EXACT)
    lloyd(s, options, bounds);
  else if (s->count > MAX_TABLE / s->clusters)
    return bl_fail(err, BL_ERR_RANGE, "k-means: %u clusters of %zu numbers; take another start",
                   s->clusters, s->count);
  else if (!exact(s, bounds))
    return bl_fail(err, BL_ERR_MEMORY, "k-means: no memory for %zu numbers", s->count);
  read_centres(s, bounds, result);
  return BL_OK;
}

bl_status bl_kmeans(const float *values, size_t count, const bl_kmeans_options *options,
                    bl_kmeans_result *result, bl_error *err) {
  *result = (bl_kmeans_result){0};
  if (options->clusters < 1 || options->clusters > BL_KMEANS_MAX_CLUSTERS || count > UINT32_MAX - 1)
    return bl_fail(err, BL_ERR_RANGE, "k-means: %u clusters of %zu numbers; 1 to %d can be made",
                   options->clusters, count, (int)BL_KMEANS_MAX_CLUSTERS);
  double *memory = calloc(3 * count + 2, sizeof *memory);
  if (memory == NULL)
    return bl_fail(err, BL_ERR_MEMORY, "k-means: no memory for %zu numbers", count);
  sorted s = {.x = memory,
              .sum = memory + count,
              .square = memory + 2 * count + 1,
              .count = count,
              .clusters = options->clusters};
  const bl_status status = cluster(&s, memory, values, options, result, err);
  free(memory);
  return status;
}

unsigned bl_kmeans_nearest(const bl_kmeans_result *result, float x) {
  unsigned lo = 0, hi = result->count - 1; // the neighbours of x
  while (hi > lo + 1) {
    const unsigned middle = (lo + hi) / 2;
    if (x < result->centres[middle])
      hi = middle;
    else
      lo = middle;
  }
  return (double)x - (double)result->centres[lo] <= (double)result->centres[hi] - (double)x ? lo
                                                                                            : hi;
}
