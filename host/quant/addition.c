// SPDX-License-Identifier: Apache-2.0
#include "host/quant/addition.h"

#include <math.h>
#include <stdlib.h>

// Beyond 2^MOST_POWER the unit of a channel's sum is that small a part of the addend's that finer
// weights would only cost accumulator bits.
enum { MAX_PULL = 20, MOST_POWER = 12, LEAST_RATIO_BITS = 9, MAX_RAISE = 24, GROUP = 8 };
#define NEAR 1.25 // 1 dB

// The exact d of a channel before the raise.
static double ratio_of(const bl_addition *a, uint32_t n) {
  return 1 / (a->scale[n] * a->unit[n]);
}

// The scale that makes a channel's ratio 2^k.
static double pulled(const bl_addition *a, uint32_t n, int k) {
  return 1 / (ldexp(1, k) * a->unit[n]);
}

static double integer_of(const bl_addition *a, double weight, double scale) {
  if (a->codebook != NULL) return bl_codebook_nearest(a->codebook, weight / scale);
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

// The powers that a channel may take, around its own: its scale is then pulled to between an
// eighth and eight times.
enum { CHOICES = 7 };

typedef struct {
  int first;             // power of choice 0
  double noise[CHOICES]; // of the channel's weights
  int choice;
} channel_powers;

static int power_of(const channel_powers *c) {
  return c->first + c->choice;
}

static channel_powers powers_of(const bl_addition *a, uint32_t n) {
  double middle = fmax(-MAX_PULL, fmin(MOST_POWER, floor(log2(fabs(ratio_of(a, n))))));
  channel_powers c = {.first = (int)middle - CHOICES / 2};
  for (int i = 0; i < CHOICES; i++) {
    c.noise[i] = c.first + i <= MOST_POWER ? noise_of(a, n, pulled(a, n, c.first + i)) : INFINITY;
    if (c.noise[i] < c.noise[c.choice]) c.choice = i;
  }
  return c;
}

// The choice of another power than its own that other channels of its group have, with the least
// noise; -1: there is none.
static int other_choice(const channel_powers *c, const channel_powers *group, uint32_t count) {
  int best = -1;
  for (uint32_t k = 0; k < count; k++) {
    int choice = power_of(&group[k]) - c->first;
    if (choice == c->choice || choice < 0 || choice >= CHOICES) continue;
    if (best < 0 || c->noise[choice] < c->noise[best]) best = choice;
  }
  return best;
}

// What it adds to the noise when the channels of `power` take other powers of their group.
static double cost_of_leaving(const channel_powers *group, uint32_t count, int power) {
  double cost = 0;
  for (uint32_t k = 0; k < count; k++) {
    const channel_powers *c = &group[k];
    if (power_of(c) != power) continue;
    int other = other_choice(c, group, count);
    cost += other < 0 ? INFINITY : c->noise[other] - c->noise[c->choice];
  }
  return cost;
}

static void leave(channel_powers *group, uint32_t count, int power) {
  int to[GROUP];
  for (uint32_t k = 0; k < count; k++)
    to[k] = power_of(&group[k]) == power ? other_choice(&group[k], group, count) : group[k].choice;
  for (uint32_t k = 0; k < count; k++)
    group[k].choice = to[k];
}

// Channels that a device works on together issue a plane for each power that one of them has. The
// plane that costs the least noise goes first, as long as the noise stays near the least.
static void choose_powers(const bl_addition *a, channel_powers *channels) {
  double noise = 0;
  for (uint32_t n = 0; n < a->channels; n++) {
    channels[n] = powers_of(a, n);
    noise += channels[n].noise[channels[n].choice];
  }
  double left = (NEAR - 1) * noise;
  for (;;) {
    double least = INFINITY;
    uint32_t at = 0, count = 0;
    int power = 0;
    for (uint32_t n = 0; n < a->channels; n++) {
      uint32_t first = n - n % GROUP, size = a->channels - first;
      if (size > GROUP) size = GROUP;
      double cost = cost_of_leaving(channels + first, size, power_of(&channels[n]));
      if (cost >= least) continue;
      least = cost;
      at = first;
      count = size;
      power = power_of(&channels[n]);
    }
    if (!(least <= left)) return;
    left -= least;
    leave(channels + at, count, power);
  }
}

static bl_status pull_scales(bl_addition *a, bl_addition_cost *cost, bl_error *err) {
  channel_powers *channels = calloc(a->channels, sizeof *channels);
  if (channels == NULL) return bl_fail(err, BL_ERR_MEMORY, "node %s: no memory", a->name);
  int least = 0;
  double alone = 0, noise = 0;
  choose_powers(a, channels);
  for (uint32_t n = 0; n < a->channels; n++)
    if (power_of(&channels[n]) < least) least = power_of(&channels[n]);
  a->raise = (uint8_t)-least;
  for (uint32_t n = 0; n < a->channels; n++) {
    int k = power_of(&channels[n]);
    if (k - least > MAX_PULL) k = least + MAX_PULL;
    alone += noise_of(a, n, a->scale[n]);
    a->scale[n] = pulled(a, n, k);
    noise += noise_of(a, n, a->scale[n]);
    a->ratio[n] = 1 << (k - least);
    for (size_t i = n * a->fan; i < (n + 1) * a->fan; i++)
      a->integers[i] = (int8_t)integer_of(a, (double)a->weights[i], a->scale[n]);
  }
  free(channels);
  cost->sqnr_alone = decibels(a, alone);
  cost->sqnr = decibels(a, noise);
  return BL_OK;
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
  return pull_scales(a, cost, err);
}
