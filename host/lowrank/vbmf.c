// SPDX-License-Identifier: Apache-2.0
// The notation of the paper: a matrix of L x M, L <= M, alpha = L / M; a singular value s stands
// for x = s^2 / (M sigma^2), and is kept where x is above a threshold that follows from alpha.
#include <math.h>

#include "host/lowrank/factor.h"

// tau_bar / sqrt(alpha), near enough (section 5, below theorem 2).
static const double TAU_BAR = 2.5129;
enum { GRID = 200, GOLDEN_STEPS = 80 };

typedef struct {
  const double *s;
  uint32_t count; // L
  double longer;  // M
  double alpha, threshold;
} vbmf;

static double tau(double x, double alpha) {
  const double b = x - (1 + alpha);
  return 0.5 * (b + sqrt(fmax(b * b - 4 * alpha, 0)));
}

// Free energy, up to a constant and a factor, as a function of the noise's variance (equation 42).
static double free_energy(const vbmf *v, double variance) {
  double sum = 0;
  for (uint32_t k = 0; k < v->count; k++) {
    const double x = fmax(v->s[k] * v->s[k] / (v->longer * variance), 1e-300);
    sum += x - log(x);
    if (x <= v->threshold) continue;
    const double t = tau(x, v->alpha);
    sum += log(t + 1) - t + v->alpha * log(t / v->alpha + 1);
  }
  return sum;
}

// Its least value between lo and hi: the best of a grid of logarithms, then golden sections.
static double least_variance(const vbmf *v, double lo, double hi) {
  const double step = (log(hi) - log(lo)) / GRID, ratio = (sqrt(5) - 1) / 2;
  int best = 0;
  double least = free_energy(v, lo);
  for (int k = 1; k <= GRID; k++) {
    const double f = free_energy(v, exp(log(lo) + step * k));
    if (f < least) {
      least = f;
      best = k;
    }
  }
  double a = log(lo) + step * (best > 0 ? best - 1 : 0);
  double b = log(lo) + step * (best < GRID ? best + 1 : GRID);
  for (int k = 0; k < GOLDEN_STEPS; k++) {
    const double c = b - ratio * (b - a), d = a + ratio * (b - a);
    if (free_energy(v, exp(c)) < free_energy(v, exp(d)))
      b = d;
    else
      a = c;
  }
  return exp((a + b) / 2);
}

uint32_t bl_rank_vbmf(const double *s, uint32_t count, uint32_t longer) {
  vbmf v = {.s = s, .count = count, .longer = (double)longer};
  v.alpha = (double)count / v.longer;
  const double tau_bar = TAU_BAR * sqrt(v.alpha);
  v.threshold = (1 + tau_bar) * (1 + v.alpha / tau_bar);
  double squares = 0, tail = 0;
  for (uint32_t k = count; k-- > 0;)
    squares += s[k] * s[k];
  // at most this many can stand out (corollary 1), which bounds the variance from below
  uint32_t most = (uint32_t)fmax(ceil(count / (1 + v.alpha)) - 1, 0);
  if (most >= count) most = count - 1;
  for (uint32_t k = most; k < count; k++)
    tail += s[k] * s[k];
  const double hi = squares / (v.longer * count);
  double lo = fmax(s[most] * s[most] / (v.longer * v.threshold), tail / (count - most) / v.longer);
  lo = fmax(lo, hi * 1e-12);
  if (!(hi > 0)) return 0;
  const double variance = lo < hi ? least_variance(&v, lo, hi) : hi;
  uint32_t rank = 0;
  while (rank < count && s[rank] * s[rank] > v.longer * variance * v.threshold)
    rank++;
  return rank;
}
