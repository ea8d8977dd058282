// SPDX-License-Identifier: Apache-2.0
#include "host/train/fake_quant.h"

#include <math.h>

#include "host/base/simd.h"

enum { BLOCK = 16384, MAX_BLOCKS = 256 };

// Adding and taking away 1.5 * 2^52 rounds to the nearest whole number, halves to even, and unlike
// rint() is taken eight at a time.
static inline double nearest(double v) {
  const double big = 6755399441055744.0;
  return (v + big) - big;
}

// Of two levels as near the one nearer to 0.
static inline double nearest_level(const bl_fake_quant *q, double v) {
  double level = q->levels[0];
  for (size_t k = 0; k + 1 < q->level_count; k++) {
    const double gap = q->levels[k + 1] - q->levels[k], middle = q->levels[k] + gap / 2;
    level += (middle > 0 ? v > middle : v >= middle) ? gap : 0;
  }
  return level;
}

static inline float whole(const bl_fake_quant *q, float x, double step) {
  double v = (double)x / step + q->zero;
  v = v < q->lo ? q->lo : v;
  v = v > q->hi ? q->hi : v;
  return (float)((nearest(v) - q->zero) * step);
}

// Whole activations, in single precision: x / step is then rounded once more, by a part in 2^24.
BL_SIMD static void forward_block(float lo, float hi, float step, const float *x, size_t count,
                                  float *y) {
  const float big = 12582912.0F; // 1.5 * 2^23
#pragma omp simd
  for (size_t k = 0; k < count; k++) {
    float v = x[k] / step;
    v = v < lo ? lo : v;
    v = v > hi ? hi : v;
    y[k] = ((v + big) - big) * step;
  }
}

static void forward_data(const bl_fake_quant *q, const float *x, size_t count, float step,
                         float *y) {
#pragma omp parallel for if (count > BLOCK)
  for (size_t at = 0; at < count; at += BLOCK)
    forward_block((float)q->lo, (float)q->hi, step, x + at, count - at < BLOCK ? count - at : BLOCK,
                  y + at);
}

static double mean_magnitude(const float *x, size_t count, size_t stride) {
  double sum = 0;
  for (size_t k = 0; k < count; k++)
    sum += fabs((double)x[k * stride]);
  return sum / (double)count;
}

// TWN's step.
static double mean_above(const float *x, size_t count, size_t stride, double threshold) {
  double sum = 0, above = 0;
  for (size_t k = 0; k < count; k++) {
    const double a = fabs((double)x[k * stride]);
    sum += a > threshold ? a : 0;
    above += a > threshold ? 1 : 0;
  }
  return above > 0 ? sum / above : 0;
}

static const double TERNARY = 0.7;

static void forward_ternary(const float *x, size_t count, size_t stride, double step, float *y) {
  const double threshold = TERNARY * mean_magnitude(x, count, stride);
  for (size_t k = 0; k < count * stride; k += stride)
    y[k] = fabs((double)x[k]) <= threshold ? 0 : (float)(x[k] >= 0 ? step : -step);
}

static void forward_run(const bl_fake_quant *q, const float *x, size_t count, double step,
                        float *y) {
  const bl_fake_quant own = *q;
  if (own.binary) {
    const float positive = (float)step, negative = -positive;
#pragma omp parallel for simd if (count > BLOCK)
    for (size_t k = 0; k < count; k++)
      y[k] = x[k] >= 0 ? positive : negative;
    return;
  }
  if (own.levels != NULL) {
    for (size_t k = 0; k < count; k++)
      y[k] = (float)(nearest_level(&own, (double)x[k] / step) * step);
    return;
  }
  for (size_t k = 0; k < count; k++)
    y[k] = whole(&own, x[k], step);
}

// What holds for channel n.
static bl_fake_quant channel_of(const bl_fake_quant *quant, size_t n) {
  bl_fake_quant own = *quant;
  if (quant->channel_hi == NULL) return own;
  own.hi = quant->channel_hi[n];
  own.lo = -own.hi;
  return own;
}

void bl_fake_quant_forward(const bl_fake_quant *quant, const float *x, size_t count,
                           const float *step, float *y) {
  const size_t run = count / quant->channels;
  if (quant->ternary) {
    const size_t stride = quant->channels_last ? quant->channels : 1;
    for (size_t n = 0; n < quant->channels; n++)
      forward_ternary(x + (stride > 1 ? n : n * run), run, stride, (double)step[n],
                      y + (stride > 1 ? n : n * run));
    return;
  }
  if (quant->channels_last) {
    for (size_t k = 0; k < count; k++) {
      const bl_fake_quant own = channel_of(quant, k % quant->channels);
      forward_run(&own, x + k, 1, (double)step[k % quant->channels], y + k);
    }
    return;
  }
  if (quant->channels == 1 && !quant->binary && quant->zero == 0 && quant->levels == NULL) {
    forward_data(quant, x, count, step[0], y);
    return;
  }
  for (size_t n = 0; n < quant->channels; n++) {
    const bl_fake_quant own = channel_of(quant, n);
    forward_run(&own, x + n * run, run, (double)step[n], y + n * run);
  }
}

// dy/dx of a sign at x.
static inline double sign_slope(const bl_fake_quant *q, double x, double step) {
  const double u = fabs(x) / step;
  if (q->sign == BL_SIGN_TANH) {
    const double t = q->sharpness, bend = tanh(t * u);
    return (t < 1 ? 1 : t) * (1 - bend * bend);
  }
  if (q->mean_step) return fabs(x) <= 1 ? 1 : 0;
  if (q->sign == BL_SIGN_POLYNOMIAL) return u < 1 ? 2 - 2 * u : 0;
  return u <= 1 ? 1 : 0;
}

// dy/dstep at x; *inside: dy/dx.
static inline double slopes(const bl_fake_quant *q, double x, double step, double *inside) {
  if (q->binary) {
    *inside = sign_slope(q, x, step);
    return x >= 0 ? 1 : -1;
  }
  const double v = x / step + q->zero;
  const double below = q->lo - q->zero, above = q->hi - q->zero;
  *inside = q->ternary ? fabs(x) <= 1 : v > q->lo && v < q->hi;
  if (q->levels != NULL) return v <= q->lo ? q->lo : v >= q->hi ? q->hi : nearest_level(q, v) - v;
  return v <= q->lo ? below : v >= q->hi ? above : nearest(v) - v;
}

// Returns the sum of dy * dy/dstep.
static double backward_block(const bl_fake_quant *q, const float *x, const float *dy, size_t count,
                             double step, float *dx) {
  const bl_fake_quant own = *q;
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (size_t k = 0; k < count; k++) {
    double inside;
    sum += (double)dy[k] * slopes(&own, (double)x[k], step, &inside);
    if (dx != NULL) dx[k] = dy[k] * (float)inside;
  }
  return sum;
}

typedef struct {
  float lo, hi, zero, inverse;
  float learns; // 0: PACT, nothing inside; a factor and no branch, so that loops are vectorised
} data_form;

// dy/dstep of data at x, in single precision.
static inline float data_slope(data_form f, float x, float *inside) {
  const float v = x * f.inverse + f.zero, big = 12582912.0F;
  float edge = v < f.lo ? f.lo : v;
  edge = edge > f.hi ? f.hi : edge;
  *inside = (float)((v > f.lo) & (v < f.hi)); // no branches: they would be mispredicted
  const float rounded = (edge + big) - big - f.zero, out = rounded - *inside * rounded;
  return out + f.learns * *inside * (rounded - (v - f.zero));
}

// Returns the sum of dy * dy/dstep, in double.
BL_SIMD static double data_block(const bl_fake_quant *q, const float *x, const float *dy,
                                 size_t count, float step, float *dx) {
  const data_form f = {(float)q->lo, (float)q->hi, (float)q->zero, 1 / step, q->pact ? 0 : 1};
  double sum = 0;
  float inside;
  if (dx == NULL) {
#pragma omp simd reduction(+ : sum) private(inside)
    for (size_t k = 0; k < count; k++)
      sum += (double)(dy[k] * data_slope(f, x[k], &inside));
    return sum;
  }
#pragma omp simd reduction(+ : sum) private(inside)
  for (size_t k = 0; k < count; k++) {
    sum += (double)(dy[k] * data_slope(f, x[k], &inside));
    dx[k] = dy[k] * inside;
  }
  return sum;
}

// Signs whose slope is a line or a step, in single precision: at - by * u where u is at most 1.
BL_SIMD static double sign_block(const bl_fake_quant *q, const float *x, const float *dy,
                                 size_t count, float step, float *dx) {
  const bool line = q->sign == BL_SIGN_POLYNOMIAL && !q->mean_step;
  const float at = line ? 2 : 1, by = line ? 2 : 0, inverse = q->mean_step ? 1 : 1 / step;
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (size_t k = 0; k < count; k++)
    sum += (double)(dy[k] * (2 * (float)(x[k] >= 0) - 1));
  if (dx == NULL) return sum;
#pragma omp simd
  for (size_t k = 0; k < count; k++) {
    const float u = fabsf(x[k]) * inverse, inside = (float)(u <= 1);
    dx[k] = dy[k] * inside * (at - by * u);
  }
  return sum;
}

// In blocks whose sums are added in their order, so that threads change nothing.
static double backward_run(const bl_fake_quant *q, const float *x, const float *dy, size_t count,
                           double step, float *dx) {
  double sums[MAX_BLOCKS], sum = 0;
  const size_t size = count / MAX_BLOCKS + 1 > BLOCK ? count / MAX_BLOCKS + 1 : BLOCK;
  const size_t blocks = (count + size - 1) / size;
  const bool by_sign = q->binary && q->sign != BL_SIGN_TANH;
  const bool by_slopes = q->binary || q->ternary || q->levels != NULL;
#pragma omp parallel for if (blocks > 1)
  for (size_t b = 0; b < blocks; b++) {
    const size_t at = b * size, length = count - at < size ? count - at : size;
    float *to = dx == NULL ? NULL : dx + at;
    sums[b] = by_sign     ? sign_block(q, x + at, dy + at, length, (float)step, to)
              : by_slopes ? backward_block(q, x + at, dy + at, length, step, to)
                          : data_block(q, x + at, dy + at, length, (float)step, to);
  }
  for (size_t b = 0; b < blocks; b++)
    sum += sums[b];
  return sum;
}

// One channel's elements lie apart: `count` of them, `channels` from one to the next.
static double backward_column(const bl_fake_quant *q, const float *x, const float *dy, size_t count,
                              double step, float *dx) {
  double sum = 0, inside;
  for (size_t k = 0; k < count; k++) {
    const size_t at = k * q->channels;
    sum += (double)dy[at] * slopes(q, (double)x[at], step, &inside);
    if (dx != NULL) dx[at] = dy[at] * (float)inside;
  }
  return sum;
}

void bl_fake_quant_pull(const bl_fake_quant *q, const float *x, size_t count, const float *step,
                        float *dx) {
  const size_t run = count / q->channels, stride = q->channels_last ? q->channels : 1;
  if (q->regulariser <= 0) return;
  for (size_t n = 0; n < q->channels; n++) {
    const bl_fake_quant own = channel_of(q, n);
    const double threshold =
        q->ternary ? TERNARY * mean_magnitude(x + (stride > 1 ? n : n * run), run, stride) : 0;
    for (size_t k = 0; k < run; k++) {
      const size_t at = stride > 1 ? k * stride + n : n * run + k;
      float y;
      if (q->ternary)
        y = fabs((double)x[at]) <= threshold ? 0 : x[at] >= 0 ? step[n] : -step[n];
      else
        forward_run(&own, x + at, 1, (double)step[n], &y);
      dx[at] += (float)(2 * q->regulariser) * (x[at] - y);
    }
  }
}

void bl_fake_quant_backward(const bl_fake_quant *quant, const float *x, const float *dy,
                            size_t count, const float *step, float *dx, float *dstep) {
  const size_t run = count / quant->channels;
  for (size_t n = 0; n < quant->channels; n++) {
    const size_t at = quant->channels_last ? n : n * run;
    float *to = dx == NULL ? NULL : dx + at;
    const bl_fake_quant own = channel_of(quant, n);
    double sum = quant->channels_last
                     ? backward_column(&own, x + at, dy + at, run, (double)step[n], to)
                     : backward_run(&own, x + at, dy + at, run, (double)step[n], to);
    sum += 2 * own.decay * own.hi * own.hi * (double)step[n];
    if (dstep != NULL) dstep[n] = (float)(sum * quant->gradient_scale);
  }
  if (dx != NULL) bl_fake_quant_pull(quant, x, count, step, dx);
}

void bl_fake_quant_means(const bl_fake_quant *quant, const float *x, size_t count, float *step) {
  const size_t run = count / quant->channels, stride = quant->channels_last ? quant->channels : 1;
  for (size_t n = 0; n < quant->channels; n++) {
    const float *own = x + (stride > 1 ? n : n * run);
    double mean = mean_magnitude(own, run, stride);
    if (quant->ternary) mean = mean_above(own, run, stride, TERNARY * mean);
    step[n] = mean > 0 ? (float)mean : 1;
  }
}
