// SPDX-License-Identifier: Apache-2.0
#include "host/quant/requant.h"

#include <math.h>

static const int64_t BIAS_LIMIT = (int64_t)1 << 47;
enum { MULT_LO = 1 << 15, MULT_HI = 1 << 16, SHIFT_MAX = 47 };

// |scale| = mult * 2^-shift with mult in [2^15, 2^16), rounded to nearest.
static bool split_scale(double scale, int32_t *mult, int *shift) {
  int exponent;
  double fraction = frexp(fabs(scale), &exponent); // [0.5, 1) * 2^exponent
  double rounded = nearbyint(fraction * MULT_HI);
  if (rounded >= MULT_HI) {
    rounded /= 2;
    exponent++;
  }
  *mult = (int32_t)(scale < 0 ? -rounded : rounded);
  *shift = 16 - exponent;
  return *shift >= 1;
}

bool bl_requant_real(double scale, double offset, bl_requant *out, bool *zero_weights) {
  int32_t mult = MULT_LO;
  int shift = 16;
  if (!isfinite(scale) || !isfinite(offset)) return false;
  *zero_weights = fabs(scale) < ldexp(1.0, -SHIFT_MAX - 1 + 16);
  if (!*zero_weights && !split_scale(scale, &mult, &shift)) return false;
  if (shift > SHIFT_MAX) return false;
  double bias = floor(ldexp(offset, shift) + 0.5) + ldexp(1.0, shift - 1);
  if (!(fabs(bias) < (double)BIAS_LIMIT)) return false;
  *out = (bl_requant){.mult = mult, .bias = (int64_t)bias, .shift = (uint8_t)shift};
  return true;
}

// The levels seen through a mirror when they fall with acc, so that the search only knows rising
// ones.
typedef struct {
  const bl_levels *levels;
  bool mirrored;
  int64_t lo, hi;
} rising;

static int32_t level_at(const rising *r, int64_t acc) {
  return r->levels->level(r->levels->context, r->mirrored ? -acc : acc);
}

static rising make_rising(const bl_levels *levels) {
  rising r = {levels, false, levels->acc_lo, levels->acc_hi};
  if (level_at(&r, r.lo) > level_at(&r, r.hi))
    r = (rising){levels, true, -levels->acc_hi, -levels->acc_lo};
  return r;
}

// The smallest acc in (lo, hi] whose level is at least k; level(lo) < k <= level(hi).
static int64_t threshold(const rising *r, int32_t k) {
  int64_t below = r->lo, reached = r->hi;
  while (reached - below > 1) {
    int64_t middle = below + (reached - below) / 2;
    if (level_at(r, middle) >= k)
      reached = middle;
    else
      below = middle;
  }
  return reached;
}

enum { MAX_LEVELS = 256 };

typedef struct {
  int32_t first, last;    // levels at the two ends
  int64_t at[MAX_LEVELS]; // at[i]: the threshold of level first + 1 + i
} thresholds;

static bool find_thresholds(const rising *r, thresholds *t) {
  t->first = level_at(r, r->lo);
  t->last = level_at(r, r->hi);
  if ((int64_t)t->last - t->first > MAX_LEVELS) return false;
  for (int32_t k = t->first + 1; k <= t->last; k++)
    t->at[k - t->first - 1] = threshold(r, k);
  return true;
}

// The biases with which `mult` and `shift` meet every threshold; empty when *lo > *hi.
static void bias_bounds(const rising *r, const thresholds *t, int64_t mult, int shift, int64_t *lo,
                        int64_t *hi) {
  *lo = -BIAS_LIMIT;
  *hi = BIAS_LIMIT - 1;
  for (int32_t k = t->first + 1; k <= t->last; k++) {
    int64_t edge = (int64_t)k * ((int64_t)1 << shift), acc = t->at[k - t->first - 1];
    if (edge - acc * mult > *lo) *lo = edge - acc * mult;
    if (edge - (acc - 1) * mult - 1 < *hi) *hi = edge - (acc - 1) * mult - 1;
  }
  if (t->first > r->levels->level_lo) {
    int64_t bound = (int64_t)t->first * ((int64_t)1 << shift) - r->lo * mult;
    if (bound > *lo) *lo = bound;
  }
  if (t->last < r->levels->level_hi) {
    int64_t bound = (int64_t)(t->last + 1) * ((int64_t)1 << shift) - r->hi * mult - 1;
    if (bound < *hi) *hi = bound;
  }
}

// Levels for each accumulator step, from the outermost thresholds; with fewer than two, a slope
// so small that the whole range stays within one level.
static double slope(const rising *r, const thresholds *t) {
  int32_t steps = t->last - t->first;
  if (steps >= 2) return (double)(steps - 1) / fmax(1.0, (double)(t->at[steps - 1] - t->at[0]));
  return 0.5 / fmax(1.0, (double)(r->hi - r->lo));
}

// The multiplier that comes nearest so far, and by how many accumulators a threshold lies beside
// its place.
typedef struct {
  bl_requant requant;
  double miss;
} nearest;

// Where no bias meets every threshold, the middle between the bounds misses the worst by least.
static bool try_mult(const rising *r, const thresholds *t, int64_t mult, int shift, nearest *best) {
  if (mult < MULT_LO || mult >= MULT_HI || shift < 1 || shift > 40) return false;
  int64_t lo, hi;
  bias_bounds(r, t, mult, shift, &lo, &hi);
  const int64_t bias = lo + (hi - lo) / 2;
  const double miss = (double)(lo - hi) / (double)mult;
  if (miss >= best->miss || bias < -BIAS_LIMIT || bias >= BIAS_LIMIT) return false;
  best->miss = miss;
  best->requant = (bl_requant){
      .mult = (int32_t)(r->mirrored ? -mult : mult), .bias = bias, .shift = (uint8_t)shift};
  return lo <= hi;
}

// Every multiplier of the shift that the slope asks for, then of its neighbours, nearest first.
// The first that meets all thresholds, or the one that misses them by least.
static bool search(const rising *r, const thresholds *t, bl_requant *out) {
  nearest best = {.miss = INFINITY};
  int32_t ideal;
  int base;
  bool met = false;
  if (!split_scale(slope(r, t), &ideal, &base)) return false;
  for (int64_t away = 0; away < MULT_HI && !met; away++) {
    int64_t above = ideal + away, below = ideal - away;
    met = try_mult(r, t, above, base, &best) || try_mult(r, t, below, base, &best) ||
          try_mult(r, t, above / 2, base - 1, &best) || try_mult(r, t, below * 2, base + 1, &best);
  }
  *out = best.requant;
  return isfinite(best.miss);
}

static int64_t clamped(const bl_levels *levels, const bl_requant *requant, int64_t acc) {
  int64_t y = (acc * requant->mult + requant->bias) >> requant->shift;
  return y < levels->level_lo ? levels->level_lo : y > levels->level_hi ? levels->level_hi : y;
}

static uint64_t count_differences(const bl_levels *levels, const bl_requant *requant) {
  uint64_t count = 0;
  for (int64_t acc = levels->acc_lo; acc <= levels->acc_hi; acc++)
    count += clamped(levels, requant, acc) != levels->level(levels->context, acc);
  return count;
}

uint64_t bl_requant_fit(const bl_levels *levels, bl_requant *out) {
  rising r = make_rising(levels);
  thresholds t;
  bool zero;
  if (!find_thresholds(&r, &t) || !search(&r, &t, out)) {
    double step = slope(&r, &t) * (r.mirrored ? -1 : 1);
    double middle = (double)(levels->acc_lo + levels->acc_hi) / 2;
    double centre = (double)levels->level(levels->context, (int64_t)middle);
    if (!bl_requant_real(step, centre - step * middle, out, &zero)) return UINT64_MAX;
  }
  return count_differences(levels, out);
}
