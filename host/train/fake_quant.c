// SPDX-License-Identifier: Apache-2.0
#include "host/train/fake_quant.h"

#include <math.h>

enum { BLOCK = 16384, MAX_BLOCKS = 256 };

// Adding and taking away 1.5 * 2^52 rounds to the nearest whole number, halves to even, and unlike
// rint() is taken eight at a time.
static inline double nearest(double v) {
  const double big = 6755399441055744.0;
  return (v + big) - big;
}

static inline float quantise(const bl_fake_quant *q, float x, double step) {
  double v = (double)x / step + q->zero;
  v = v < q->lo ? q->lo : v;
  v = v > q->hi ? q->hi : v;
  return (float)((nearest(v) - q->zero) * step);
}

// Whole activations, in single precision: x / step is then rounded once more, by a part in 2^24.
static void forward_data(const bl_fake_quant *q, const float *x, size_t count, float step,
                         float *y) {
  const float lo = (float)q->lo, hi = (float)q->hi, big = 12582912.0F; // 1.5 * 2^23
#pragma omp parallel for simd if (count > BLOCK)
  for (size_t k = 0; k < count; k++) {
    float v = x[k] / step;
    v = v < lo ? lo : v;
    v = v > hi ? hi : v;
    y[k] = ((v + big) - big) * step;
  }
}

static void forward_run(const bl_fake_quant *q, const float *x, size_t count, double step,
                        float *y) {
  const bl_fake_quant own = *q;
  if (own.binary) {
    for (size_t k = 0; k < count; k++)
      y[k] = (float)(x[k] >= 0 ? step : -step);
    return;
  }
  for (size_t k = 0; k < count; k++)
    y[k] = quantise(&own, x[k], step);
}

void bl_fake_quant_forward(const bl_fake_quant *quant, const float *x, size_t count,
                           const float *step, float *y) {
  if (quant->channels_last) {
    for (size_t k = 0; k < count; k++)
      forward_run(quant, x + k, 1, (double)step[k % quant->channels], y + k);
    return;
  }
  if (quant->channels == 1 && !quant->binary && quant->zero == 0) {
    forward_data(quant, x, count, step[0], y);
    return;
  }
  const size_t run = count / quant->channels;
  for (size_t n = 0; n < quant->channels; n++)
    forward_run(quant, x + n * run, run, (double)step[n], y + n * run);
}

// dy/dstep at x; *inside: dy/dx.
static inline double slopes(const bl_fake_quant *q, double x, double step, double *inside) {
  if (q->binary) {
    *inside = fabs(x) <= (q->mean_step ? 1 : step) ? 1 : 0;
    return x >= 0 ? 1 : -1;
  }
  const double v = x / step + q->zero;
  const double below = q->lo - q->zero, above = q->hi - q->zero;
  *inside = v > q->lo && v < q->hi ? 1 : 0;
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

// The same in single precision, but for the sum.
static double data_block(const bl_fake_quant *q, const float *x, const float *dy, size_t count,
                         float step, float *dx) {
  const float lo = (float)q->lo, hi = (float)q->hi, zero = (float)q->zero, big = 12582912.0F;
  const float inverse = 1 / step;
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (size_t k = 0; k < count; k++) {
    const float v = x[k] * inverse + zero;
    const float inside = (float)((v > lo) & (v < hi)); // no branches: they would be mispredicted
    float edge = v < lo ? lo : v;
    edge = edge > hi ? hi : edge;
    sum += (double)(dy[k] * ((edge + big) - big - zero - inside * (v - zero)));
    if (dx != NULL) dx[k] = dy[k] * inside;
  }
  return sum;
}

// In blocks whose sums are added in their order, so that threads change nothing.
static double backward_run(const bl_fake_quant *q, const float *x, const float *dy, size_t count,
                           double step, float *dx) {
  double sums[MAX_BLOCKS], sum = 0;
  const size_t size = count / MAX_BLOCKS + 1 > BLOCK ? count / MAX_BLOCKS + 1 : BLOCK;
  const size_t blocks = (count + size - 1) / size;
#pragma omp parallel for if (blocks > 1)
  for (size_t b = 0; b < blocks; b++) {
    const size_t at = b * size, length = count - at < size ? count - at : size;
    float *to = dx == NULL ? NULL : dx + at;
    sums[b] = q->binary ? backward_block(q, x + at, dy + at, length, step, to)
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

void bl_fake_quant_backward(const bl_fake_quant *quant, const float *x, const float *dy,
                            size_t count, const float *step, float *dx, float *dstep) {
  const size_t run = count / quant->channels;
  for (size_t n = 0; n < quant->channels; n++) {
    const size_t at = quant->channels_last ? n : n * run;
    float *to = dx == NULL ? NULL : dx + at;
    double sum = quant->channels_last
                     ? backward_column(quant, x + at, dy + at, run, (double)step[n], to)
                     : backward_run(quant, x + at, dy + at, run, (double)step[n], to);
    if (dstep != NULL) dstep[n] = (float)(sum * quant->gradient_scale);
  }
}

void bl_fake_quant_means(const bl_fake_quant *quant, const float *x, size_t count, float *step) {
  const size_t run = count / quant->channels;
  for (size_t n = 0; n < quant->channels; n++) {
    double sum = 0;
    for (size_t k = 0; k < run; k++)
      sum += fabs((double)x[quant->channels_last ? k * quant->channels + n : n * run + k]);
    step[n] = sum > 0 ? (float)(sum / (double)run) : 1;
  }
}
