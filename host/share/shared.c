// SPDX-License-Identifier: Apache-2.0
#include "host/share/shared.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SCALE_STEPS = 64, INTEGER_MAX = INT8_MAX };

bl_status bl_share_values(float *weights, size_t count, const bl_kmeans_options *options,
                          bl_kmeans_result *result, bl_error *err) {
  float *kept = calloc(count + 1, sizeof *kept);
  size_t n = 0;
  if (kept == NULL) return bl_fail(err, BL_ERR_MEMORY, "no memory to share %zu weights", count);
  for (size_t k = 0; k < count; k++)
    if (weights[k] != 0) kept[n++] = weights[k];
  const bl_status status = bl_kmeans(kept, n, options, result, err);
  free(kept);
  for (size_t k = 0; status == BL_OK && k < count; k++)
    if (weights[k] != 0) weights[k] = result->centres[bl_kmeans_nearest(result, weights[k])];
  return status;
}

// Where x stands, or would, in ascending values.
static unsigned position(const float *values, unsigned count, float x) {
  unsigned lo = 0, hi = count;
  while (lo < hi) {
    const unsigned middle = (lo + hi) / 2;
    if (values[middle] < x)
      lo = middle + 1;
    else
      hi = middle;
  }
  return lo;
}

unsigned bl_shared_count(const float *weights, size_t count, unsigned most, float *values) {
  float found[BL_KMEANS_MAX_CLUSTERS];
  unsigned n = 0;
  for (size_t k = 0; k < count; k++) {
    if (weights[k] == 0) continue;
    const unsigned at = position(found, n, weights[k]);
    if (at < n && found[at] <= weights[k]) continue;
    if (n == most) return most + 1;
    memmove(found + at + 1, found + at, (n - at) * sizeof *found);
    found[at] = weights[k];
    n++;
  }
  if (values != NULL) memcpy(values, found, n * sizeof *found);
  return n;
}

// ---- Codebooks

static double rounding_error(const float *values, const size_t *uses, unsigned count,
                             double scale) {
  double sum = 0;
  for (unsigned k = 0; k < count; k++) {
    const double x = (double)values[k], e = x - scale * rint(x / scale);
    sum += (double)uses[k] * e * e;
  }
  return sum;
}

static double best_scale(const float *values, const size_t *uses, unsigned count) {
  double largest = 0, best = 0, least = INFINITY;
  for (unsigned k = 0; k < count; k++)
    largest = fmax(largest, fabs((double)values[k]));
  for (int step = 0; step <= SCALE_STEPS; step++) {
    const double scale = largest / INTEGER_MAX * (1 + step / (3.0 * SCALE_STEPS));
    const double error = rounding_error(values, uses, count, scale);
    if (error >= least) continue;
    least = error;
    best = scale;
  }
  return best;
}

bool bl_shared_codebook(const float *weights, size_t count, bl_codebook *codebook) {
  float values[BL_SHARED_MAX];
  size_t uses[BL_SHARED_MAX] = {0};
  int8_t integers[BL_INT_CODES];
  const unsigned different = bl_shared_count(weights, count, BL_SHARED_MAX, values);
  if (different == 0 || different > BL_SHARED_MAX) return false;
  for (size_t k = 0; k < count; k++)
    if (weights[k] != 0) uses[position(values, different, weights[k])]++;
  const double scale = best_scale(values, uses, different);
  unsigned n = 0;
  bool zero = false; // has its place
  for (unsigned k = 0; k < different; k++) {
    if (values[k] > 0 && !zero) integers[n++] = 0;
    zero = zero || values[k] > 0;
    integers[n++] = (int8_t)rint((double)values[k] / scale);
  }
  if (!zero) integers[n++] = 0;
  bl_codebook_make(integers, n, scale, codebook);
  return true;
}
