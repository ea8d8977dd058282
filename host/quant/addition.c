// SPDX-License-Identifier: Apache-2.0
#include "host/quant/addition.h"

#include <math.h>
#include <stdbool.h>

// Beyond 2^MOST_POWER the unit of a channel's sum is that small a part of the addend's that finer
// weights would only cost accumulator bits.
enum { MAX_PULL = 20, MOST_POWER = 12, LEAST_RATIO_BITS = 9, MAX_RAISE = 24, GROUP = 8 };
#define NEAR 1.25 // 1 dB

// The exact d of a channel before the raise.
static double ratio_of(const bl_addition *a, uint32_t n) {
  return 1 / (a->scale[n] * a->unit[n]);
}

// The power of two taken for a ratio: between 2^-lean and 2^(1 - lean) of it.
static int pull_of(double ratio, double lean) {
  double k = floor(log2(fabs(ratio)) + lean);
  return (int)fmax(-MAX_PULL, fmin(MOST_POWER, k));
}

// The scale that makes a channel's ratio 2^k.
static double pulled(const bl_addition *a, uint32_t n, int k) {
  return 1 / (ldexp(1, k) * a->unit[n]);
}

static double integer_of(const bl_addition *a, double weight, double scale) {
  const double most = (1 << (a->weight_bits - 1)) - 1;
  return fmax(-most, fmin(most, rint(weight / scale)));
}

// Squared error of a channel's weights as integers of `scale`.
static double noise_of(const bl_addition *a, uint32_t n, double scale) {
  double noise = 0;
  for (size_t k = n * a->fan; k < (n + 1) * a->fan; k++) {
    double w = (double)a->weights[k], e = w - scale * integer_of(a, w, scale);
    noise += e * e;
  }
  return noise;
}

static double decibels(const bl_addition *a, double noise) {
  double signal = 0;
  for (size_t k = 0; k < a->channels * a->fan; k++)
    signal += (double)a->weights[k] * (double)a->weights[k];
  return 10 * log10(fmax(signal, 1e-300) / fmax(noise, 1e-300));
}

// Channels that a device works on together issue a plane for each power that one of them has.
static uint32_t planes_of(const bl_addition *a, double lean) {
  uint32_t planes = 0;
  for (uint32_t n = 0; n < a->channels; n += GROUP) {
    uint64_t powers = 0;
    for (uint32_t k = n; k < n + GROUP && k < a->channels; k++)
      powers |= (uint64_t)1 << (MAX_PULL + pull_of(ratio_of(a, k), lean));
    planes += (uint32_t)__builtin_popcountll(powers);
  }
  return planes;
}

// Of the roundings whose noise is near the least one's, that with the fewest planes.
static double choose_lean(const bl_addition *a) {
  static const double leans[] = {0, 0.1, 0.2, 0.3, 0.4, 0.5};
  enum { LEANS = sizeof leans / sizeof leans[0] };
  double noise[LEANS] = {0}, least = INFINITY, best = 0;
  for (int i = 0; i < LEANS; i++) {
    for (uint32_t n = 0; n < a->channels; n++)
      noise[i] += noise_of(a, n, pulled(a, n, pull_of(ratio_of(a, n), leans[i])));
    least = fmin(least, noise[i]);
  }
  uint32_t fewest = UINT32_MAX;
  for (int i = 0; i < LEANS; i++) {
    uint32_t planes = planes_of(a, leans[i]);
    if (noise[i] > NEAR * least || planes >= fewest) continue;
    fewest = planes;
    best = leans[i];
  }
  return best;
}

static void pull_scales(bl_addition *a, bl_addition_cost *cost) {
  const double lean = choose_lean(a);
  int least = 0;
  double alone = 0, noise = 0;
  for (uint32_t n = 0; n < a->channels; n++) {
    int k = pull_of(ratio_of(a, n), lean);
    if (k < least) least = k;
  }
  a->raise = (uint8_t)-least;
  for (uint32_t n = 0; n < a->channels; n++) {
    int k = pull_of(ratio_of(a, n), lean);
    if (k - least > MAX_PULL) k = least + MAX_PULL;
    alone += noise_of(a, n, a->scale[n]);
    a->scale[n] = pulled(a, n, k);
    noise += noise_of(a, n, a->scale[n]);
    a->ratio[n] = 1 << (k - least);
    for (size_t i = n * a->fan; i < (n + 1) * a->fan; i++)
      a->integers[i] = (int8_t)integer_of(a, (double)a->weights[i], a->scale[n]);
  }
  cost->sqnr_alone = decibels(a, alone);
  cost->sqnr = decibels(a, noise);
}

static bl_status round_ratios(bl_addition *a, bl_addition_cost *cost, bl_error *err) {
  double least = INFINITY;
  for (uint32_t n = 0; n < a->channels; n++)
    least = fmin(least, fabs(ratio_of(a, n)));
  double raise = fmax(0, LEAST_RATIO_BITS - floor(log2(least)));
  a->raise = (uint8_t)fmin(raise, MAX_RAISE);
  for (uint32_t n = 0; n < a->channels; n++) {
    double exact = ldexp(ratio_of(a, n), a->raise), d = rint(exact);
    if (!(fabs(d) < 1 << 24))
      return bl_fail(err, BL_ERR_RANGE,
                     "node %s channel %u: the scales of its two operands are too far apart",
                     a->name, n);
    a->ratio[n] = (int32_t)d;
    cost->ratio_error = fmax(cost->ratio_error, fabs(d / exact - 1));
  }
  return BL_OK;
}

bl_status bl_addition_fit(bl_addition *a, bl_addition_cost *cost, bl_error *err) {
  *cost = (bl_addition_cost){0};
  for (uint32_t n = 0; n < a->channels; n++)
    if (a->scale[n] * a->unit[n] == 0)
      return bl_fail(err, BL_ERR_UNSUPPORTED,
                     "node %s channel %u: a factor of 0 in front of an addition", a->name, n);
  if (a->weights == NULL) return round_ratios(a, cost, err);
  pull_scales(a, cost);
  return BL_OK;
}
