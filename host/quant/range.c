// SPDX-License-Identifier: Apache-2.0
#include "host/quant/range.h"

#include <math.h>

// No finer than the observer's bins for values of both signs, or some would stay empty.
enum { PARTS = BL_OBSERVER_BINS / 2 };

static double largest_of(const bl_observer *o) {
  return fmax(o->max, -o->min);
}

// Counts of magnitudes in equal parts of 0..largest.
static void magnitudes(const bl_observer *o, double counts[PARTS]) {
  const double width = (o->max - o->min) / BL_OBSERVER_BINS, largest = largest_of(o);
  for (int i = 0; i < PARTS; i++)
    counts[i] = 0;
  for (int b = 0; b < BL_OBSERVER_BINS; b++) {
    const double centre = fabs(o->min + (b + 0.5) * width);
    const int part = largest > 0 ? (int)(centre / largest * PARTS) : 0;
    counts[part < PARTS ? part : PARTS - 1] += (double)o->bins[b];
  }
}

double bl_range_percentile(const bl_observer *observer, double percentage) {
  double counts[PARTS], all = 0, below = 0;
  magnitudes(observer, counts);
  for (int i = 0; i < PARTS; i++)
    all += counts[i];
  for (int i = 0; i < PARTS; i++) {
    below += counts[i];
    if (below >= all * percentage / 100) return largest_of(observer) * (i + 1) / PARTS;
  }
  return largest_of(observer);
}

// What quantisation makes of counts[0..used): each of the `levels` equal stretches keeps its sum,
// spread evenly over those of its parts that are not empty. Returns the divergence of
// what is there, `beyond` in its last part, from it.
static double divergence(const double *counts, double beyond, int used, unsigned levels,
                         double all) {
  double sum = 0;
  for (unsigned l = 0; l < levels; l++) {
    const int first = (int)((double)used * l / levels),
              end = (int)((double)used * (l + 1) / levels);
    double stretch = 0, filled = 0;
    for (int i = first; i < end; i++) {
      stretch += counts[i];
      filled += counts[i] > 0;
    }
    for (int i = first; i < end; i++) {
      const double p = counts[i] + (i == used - 1 ? beyond : 0);
      if (p == 0) continue;
      sum += p / all * log(p / all / (stretch / filled / (all - beyond)));
    }
  }
  return sum;
}

double bl_range_entropy(const bl_observer *observer, unsigned levels) {
  double counts[PARTS], all = 0, kept = 0, least = INFINITY;
  magnitudes(observer, counts);
  for (int i = 0; i < PARTS; i++)
    all += counts[i];
  int best = PARTS;
  for (int used = 1; used <= PARTS; used++) {
    kept += counts[used - 1];
    if ((unsigned)used < levels || counts[used - 1] == 0) continue;
    const double d = divergence(counts, all - kept, used, levels, all);
    if (d > least) continue; // of equals the widest
    least = d;
    best = used;
  }
  return largest_of(observer) * best / PARTS;
}

double bl_range_average(const bl_observer *observer) {
  if (observer->samples == 0) return largest_of(observer);
  return largest_of(observer) *
         ldexp((double)observer->peaks / (double)observer->samples, -BL_OBSERVER_PEAK_BITS);
}
