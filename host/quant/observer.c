// SPDX-License-Identifier: Apache-2.0
#include "host/quant/observer.h"

#include <math.h>
#include <string.h>

#include "host/quant/range.h"

enum { CLIP_STEPS = 100 };
#define PERCENTAGE 99.99

void bl_observer_init(bl_observer *observer) {
  memset(observer, 0, sizeof *observer);
  observer->min = INFINITY;
  observer->max = -INFINITY;
  observer->percentage = PERCENTAGE;
}

bl_status bl_observer_range(bl_observer *observer, const float *values, size_t count,
                            bl_error *err) {
  for (size_t i = 0; i < count; i++) {
    double v = (double)values[i];
    if (!isfinite(v))
      return bl_fail(err, BL_ERR_FORMAT, "calibration: an activation is not finite");
    if (v < observer->min) observer->min = v;
    if (v > observer->max) observer->max = v;
  }
  return BL_OK;
}

void bl_observer_count(bl_observer *observer, const float *values, size_t count) {
  double span = observer->max - observer->min;
  double factor = span > 0 ? BL_OBSERVER_BINS / span : 0, peak = 0;
  for (size_t i = 0; i < count; i++) {
    double at = ((double)values[i] - observer->min) * factor;
    size_t bin = at > 0 ? (size_t)at : 0;
    observer->bins[bin < BL_OBSERVER_BINS ? bin : BL_OBSERVER_BINS - 1]++;
    peak = fmax(peak, fabs((double)values[i]));
  }
  const double largest = fmax(observer->max, -observer->min);
  observer->samples++;
  if (largest > 0) observer->peaks += (uint64_t)rint(ldexp(peak / largest, BL_OBSERVER_PEAK_BITS));
}

static double bin_centre(const bl_observer *observer, size_t bin) {
  return observer->min + ((double)bin + 0.5) * (observer->max - observer->min) / BL_OBSERVER_BINS;
}

// Sum of squared errors of the histogram's values, quantised with `scale` and clipped to lo..hi.
static double histogram_error(const bl_observer *observer, double scale, double lo, double hi) {
  double sum = 0;
  for (size_t b = 0; b < BL_OBSERVER_BINS; b++) {
    if (observer->bins[b] == 0) continue;
    double v = bin_centre(observer, b);
    double q = floor(v / scale + 0.5);
    q = q < lo ? lo : q > hi ? hi : q;
    sum += (double)observer->bins[b] * (v - q * scale) * (v - q * scale);
  }
  return sum;
}

static double best_scale(const bl_observer *observer, double largest, double lo, double hi) {
  double best = largest / hi, least = INFINITY;
  for (int step = CLIP_STEPS; step >= 5; step--) {
    double scale = largest * step / CLIP_STEPS / hi;
    double error = histogram_error(observer, scale, lo, hi);
    if (error < least) {
      least = error;
      best = scale;
    }
  }
  return best;
}

static double mean_magnitude(const bl_observer *observer) {
  double sum = 0, count = 0;
  for (size_t b = 0; b < BL_OBSERVER_BINS; b++) {
    sum += (double)observer->bins[b] * fabs(bin_centre(observer, b));
    count += (double)observer->bins[b];
  }
  return count > 0 && sum > 0 ? sum / count : 1.0;
}

// The largest magnitude that integers up to `top` are to reach.
static double reach_of(const bl_observer *o, double largest, double top, bl_range_method method) {
  switch (method) {
  case BL_RANGE_PERCENTILE:
    return bl_range_percentile(o, o->percentage);
  case BL_RANGE_ENTROPY:
    return bl_range_entropy(o, (unsigned)top + 1);
  case BL_RANGE_AVERAGE:
    return bl_range_average(o);
  default:
    return largest;
  }
}

bl_quantiser bl_observer_activation(const bl_observer *observer, unsigned bits,
                                    bl_range_method method) {
  bl_quantiser q = {{BL_FORMAT_U, (uint8_t)bits}, 1.0, 0};
  if (observer->min < 0) q.format.kind = bits == 1 ? BL_FORMAT_B : BL_FORMAT_S;
  if (q.format.kind == BL_FORMAT_B) {
    q.scale = mean_magnitude(observer);
    return q;
  }
  double largest = fmax(observer->max, -observer->min);
  if (!(largest > 0) || isinf(largest)) return q;
  double hi = bl_format_max(q.format);
  double lo = q.format.kind == BL_FORMAT_S ? -hi : 0;
  if (method == BL_RANGE_MSE) {
    q.scale = best_scale(observer, largest, lo, hi);
    return q;
  }
  double reach = reach_of(observer, largest, hi, method);
  q.scale = (reach > 0 ? reach : largest) / hi;
  return q;
}

bl_quantiser bl_observer_input(const bl_observer *observer) {
  bl_quantiser q = {{BL_FORMAT_U, 8}, 1.0, 0};
  double lo = fmin(observer->min, 0), hi = fmax(observer->max, 0);
  if (!(hi > lo) || isinf(hi - lo)) return q;
  q.scale = (hi - lo) / 255;
  q.zero_point = (int32_t)floor(-lo / q.scale + 0.5);
  return q;
}

bl_quantiser bl_observer_power(const bl_observer *observer, bl_quantiser q,
                               bl_range_method method) {
  const double below = exp2(floor(log2(q.scale))), above = exp2(ceil(log2(q.scale)));
  const double hi = bl_format_max(q.format), lo = q.format.kind == BL_FORMAT_S ? -hi : 0;
  const bool finer =
      method == BL_RANGE_MSE && q.format.kind != BL_FORMAT_B &&
      histogram_error(observer, below, lo, hi) < histogram_error(observer, above, lo, hi);
  q.scale = finer ? below : above;
  if (q.zero_point != 0) q.zero_point = (int32_t)floor(-observer->min / q.scale + 0.5);
  return q;
}
