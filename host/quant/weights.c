// SPDX-License-Identifier: Apache-2.0
#include "host/quant/weights.h"

#include <math.h>
#include <stdlib.h>

enum { SCALE_STEPS = 100, LEAST_STEP = 20 };

bl_format bl_weight_format(unsigned bits) {
  return bits == 1 ? (bl_format){BL_FORMAT_B, 1} : (bl_format){BL_FORMAT_S, (uint8_t)bits};
}

static double quantise(double w, double scale, double largest) {
  double q = round(w / scale);
  return q > largest ? largest : q < -largest ? -largest : q;
}

static double squared_error(const float *weights, size_t count, double scale, double largest) {
  double sum = 0;
  for (size_t i = 0; i < count; i++) {
    double w = (double)weights[i], e = w - scale * quantise(w, scale, largest);
    sum += e * e;
  }
  return sum;
}

static double binary_weights(const float *weights, size_t count, int8_t *q) {
  double sum = 0;
  for (size_t i = 0; i < count; i++) {
    q[i] = weights[i] >= 0 ? 1 : -1;
    sum += fabs((double)weights[i]);
  }
  return sum > 0 ? sum / (double)count : 1.0;
}

static int descending(const void *a, const void *b) {
  const float x = *(const float *)a, y = *(const float *)b;
  return x < y ? 1 : x > y ? -1 : 0;
}

// The least magnitude that is not made 0.
static double exact_threshold(const float *weights, size_t count) {
  float *sorted = malloc((count + 1) * sizeof *sorted);
  double sum = 0, most = -1, least = 0;
  if (sorted == NULL) return 0;
  for (size_t k = 0; k < count; k++)
    sorted[k] = fabsf(weights[k]);
  qsort(sorted, count, sizeof *sorted, descending);
  for (size_t k = 0; k < count; k++) {
    sum += (double)sorted[k];
    const double gain = sum * sum / (double)(k + 1);
    if (gain <= most) continue;
    most = gain;
    least = (double)sorted[k];
  }
  free(sorted);
  return least;
}

double bl_ternary_weights(const float *weights, size_t count, double threshold, int8_t *q) {
  double sum = 0, kept = 0, magnitudes = 0;
  for (size_t k = 0; k < count; k++)
    magnitudes += fabs((double)weights[k]);
  const double edge =
      threshold > 0 ? threshold * magnitudes / (double)count : exact_threshold(weights, count);
  for (size_t k = 0; k < count; k++) {
    const double w = fabs((double)weights[k]);
    const bool zero = w == 0 || (threshold > 0 ? w <= edge : w < edge);
    q[k] = (int8_t)(zero ? 0 : weights[k] > 0 ? 1 : -1);
    sum += zero ? 0 : w;
    kept += zero ? 0 : 1;
  }
  return kept > 0 ? sum / kept : 1;
}

double bl_quantise_weights(const float *weights, size_t count, unsigned bits,
                           bl_range_method method, int8_t *q) {
  if (bits == 1) return binary_weights(weights, count, q);
  if (bits == 2 && method == BL_RANGE_MSE) return bl_ternary_weights(weights, count, 0, q);
  double largest = 0, top = (1 << (bits - 1)) - 1;
  for (size_t i = 0; i < count; i++)
    largest = fmax(largest, fabs((double)weights[i]));
  double scale = largest > 0 ? largest / top : 1.0;
  if (method == BL_RANGE_MSE && largest > 0) {
    double least = INFINITY, whole = scale;
    for (int step = SCALE_STEPS; step >= LEAST_STEP; step--) {
      double candidate = whole * step / SCALE_STEPS;
      double error = squared_error(weights, count, candidate, top);
      if (error < least) {
        least = error;
        scale = candidate;
      }
    }
  }
  for (size_t i = 0; i < count; i++)
    q[i] = (int8_t)quantise((double)weights[i], scale, top);
  return scale;
}
