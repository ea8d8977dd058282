// SPDX-License-Identifier: Apache-2.0
#include "host/quant/addition.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "host/quant/weights.h"

// Beyond 2^MOST_POWER the unit of a channel's sum is that small a part of the addend's that finer
// weights would only cost accumulator bits.
enum { MAX_PULL = 20, MOST_POWER = 12, LEAST_RATIO_BITS = 9, MAX_RAISE = 24, GROUP = 8 };
// The integers of a projection are another seven bits. Its scale is tried at its own times
// 2^(-1 .. 1), in steps of a quarter.
enum { MAX_PULL_PROJECTED = 16, SCALES = 9 };
#define NEAR 1.25 // 1 dB
#define FLOAT_NOISE 1e-6

static unsigned bits_of(const bl_addition *a, uint32_t n) {
  return a->channel_bits == NULL ? a->weight_bits : a->channel_bits[n];
}

// The scale of a channel's projected weights on their own; 1 for what is added as it is.
static double other_scale(const bl_addition *a, uint32_t n, int8_t *integers) {
  if (a->projection == NULL) return 1;
  return bl_quantise_weights(a->projection + n * a->projection_fan, a->projection_fan,
                             bits_of(a, n), BL_RANGE_MSE, integers);
}

static double integer_of(const bl_addition *a, uint32_t n, double weight, double scale) {
  if (a->codebook != NULL) return bl_codebook_nearest(a->codebook, weight / scale);
  const double most = (1 << (bits_of(a, n) - 1)) - 1;
  return fmax(-most, fmin(most, rint(weight / scale)));
}

static double squared_error(const bl_addition *a, uint32_t n, const float *weights, size_t count,
                            double scale) {
  double noise = 0;
  for (size_t k = 0; k < count; k++) {
    double w = (double)weights[k], e = w - scale * integer_of(a, n, w, scale);
    noise += e * e;
  }
  return noise;
}

// What a squared error of a channel's projected weights is beside one of its own weights.
static double other_square(const bl_addition *a, uint32_t n) {
  return a->square / (a->unit[n] * a->unit[n]);
}

// Squared error of a channel's weights as integers of `scale`, and of its projected ones as those
// of `other`.
static double noise_of(const bl_addition *a, uint32_t n, double scale, double other) {
  double noise = squared_error(a, n, a->weights + n * a->fan, a->fan, scale);
  if (a->projection == NULL) return noise;
  const float *projection = a->projection + n * a->projection_fan;
  return noise + other_square(a, n) * squared_error(a, n, projection, a->projection_fan, other);
}

static double signal_of(const bl_addition *a, uint32_t n) {
  double signal = 0, other = 0;
  for (size_t k = n * a->fan; k < (n + 1) * a->fan; k++)
    signal += (double)a->weights[k] * (double)a->weights[k];
  if (a->projection == NULL) return signal;
  for (size_t k = n * a->projection_fan; k < (n + 1) * a->projection_fan; k++)
    other += (double)a->projection[k] * (double)a->projection[k];
  return signal + other_square(a, n) * other;
}

static double decibels(const bl_addition *a, double noise) {
  double signal = 0;
  for (uint32_t n = 0; n < a->channels; n++)
    signal += signal_of(a, n);
  return 10 * log10(fmax(signal, 1e-300) / fmax(noise, 1e-300));
}

// The powers that a channel may take, around its own: its scale is then pulled to between an
// eighth and eight times.
enum { CHOICES = 7 };

typedef struct {
  int first;             // power of choice 0
  double noise[CHOICES]; // of the channel's weights
  double other[CHOICES]; // scale of what is added
  double own;            // its scale alone
  int choice;
} channel_powers;

static int power_of(const channel_powers *c) {
  return c->first + c->choice;
}

// The scale of a channel's weights under which d is 2^k, given that of what is added.
static double pulled(const bl_addition *a, uint32_t n, int k, double other) {
  return other / (ldexp(1, k) * a->unit[n]);
}

// The least noise with d = 2^k, and the scale of what is added that gives it.
static double noise_at(const bl_addition *a, uint32_t n, int k, double own, double *other) {
  const int scales = a->projection == NULL ? 1 : SCALES;
  double least = INFINITY;
  for (int i = 0; i < scales; i++) {
    const int quarters = i - scales / 2;
    double scale = own * exp2(quarters / 4.0);
    double noise = noise_of(a, n, pulled(a, n, k, scale), scale);
    if (noise >= least) continue;
    least = noise;
    *other = scale;
  }
  return least;
}

static bool all_zero(const float *weights, size_t count) {
  for (size_t k = 0; k < count; k++)
    if (weights[k] != 0) return false;
  return true;
}

// A channel without weights in one of the operands: its scale there may be anything.
static bool is_free(const bl_addition *a, uint32_t n) {
  return all_zero(a->weights + n * a->fan, a->fan) ||
         (a->projection != NULL &&
          all_zero(a->projection + n * a->projection_fan, a->projection_fan));
}

// The power nearest to a channel's ratio of scales.
static int middle_of(const bl_addition *a, uint32_t n, double own) {
  double middle = floor(log2(fabs(own / (a->scale[n] * a->unit[n]))));
  return (int)fmax(-MAX_PULL, fmin(MOST_POWER, middle));
}

static channel_powers powers_of(const bl_addition *a, uint32_t n, double own, int middle) {
  channel_powers c = {.first = middle - CHOICES / 2, .own = own, .choice = CHOICES / 2};
  for (int i = 0; i < CHOICES; i++) {
    c.noise[i] = INFINITY;
    if (c.first + i <= MOST_POWER) c.noise[i] = noise_at(a, n, c.first + i, own, &c.other[i]);
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
static void choose_powers(const bl_addition *a, channel_powers *channels, int8_t *integers) {
  double noise = 0;
  int usual = 0; // of the last channel that has weights
  for (uint32_t n = 0; n < a->channels; n++) {
    if (is_free(a, n)) continue;
    const double own = other_scale(a, n, integers);
    channels[n] = powers_of(a, n, own, middle_of(a, n, own));
    noise += channels[n].noise[channels[n].choice];
    usual = power_of(&channels[n]);
  }
  for (uint32_t n = 0; n < a->channels; n++) {
    if (!is_free(a, n)) continue;
    double own = other_scale(a, n, integers);
    if (a->projection != NULL && !all_zero(a->weights + n * a->fan, a->fan))
      own = ldexp(a->scale[n] * fabs(a->unit[n]), usual);
    channels[n] = powers_of(a, n, own, usual);
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

// A channel's integers and d with its scales known.
static void set_channel(bl_addition *a, uint32_t n, int32_t d, double other) {
  const size_t fan = a->projection_fan;
  for (size_t i = n * a->fan; i < (n + 1) * a->fan; i++)
    a->integers[i] = (int8_t)integer_of(a, n, (double)a->weights[i], a->scale[n]);
  if (a->projection == NULL) a->ratio[n] = d;
  if (a->projection != NULL && a->step != NULL) a->step[n] = d;
  for (size_t i = n * fan; a->projection != NULL && i < (n + 1) * fan; i++)
    a->ratio[i] = d * (int32_t)integer_of(a, n, (double)a->projection[i], other);
}

static void pull_all(bl_addition *a, const channel_powers *channels, bl_addition_cost *cost) {
  const int most = a->projection == NULL ? MAX_PULL : MAX_PULL_PROJECTED;
  int least = 0;
  double alone = 0, noise = 0;
  for (uint32_t n = 0; n < a->channels; n++)
    if (power_of(&channels[n]) < least) least = power_of(&channels[n]);
  a->raise = (uint8_t)-least;
  for (uint32_t n = 0; n < a->channels; n++) {
    const channel_powers *c = &channels[n];
    const int k = power_of(c) - least > most ? least + most : power_of(c);
    alone += noise_of(a, n, a->scale[n], c->own);
    a->scale[n] = pulled(a, n, k, c->other[c->choice]);
    noise += noise_of(a, n, a->scale[n], c->other[c->choice]);
    set_channel(a, n, 1 << (k - least), c->other[c->choice]);
  }
  cost->sqnr_alone = decibels(a, alone);
  cost->sqnr = decibels(a, noise);
}

static bl_status pull_scales(bl_addition *a, bl_addition_cost *cost, bl_error *err) {
  channel_powers *channels = calloc(a->channels, sizeof *channels);
  int8_t *integers = malloc(a->projection_fan + 1);
  bl_status status = channels == NULL || integers == NULL
                         ? bl_fail(err, BL_ERR_MEMORY, "node %s: no memory", a->name)
                         : BL_OK;
  if (status == BL_OK) {
    choose_powers(a, channels, integers);
    pull_all(a, channels, cost);
  }
  free(channels);
  free(integers);
  return status;
}

// What one integer of the sum is of one of the addend, or of its projection's.
static double fixed_unit(const bl_addition *a, uint32_t n) {
  return a->scale[n] * a->unit[n] / (a->projection == NULL ? 1 : a->projection_scale[n]);
}

// d of a channel, or that times the integers of its projection. False: beyond 24 bits.
static bool set_ratio(bl_addition *a, uint32_t n, double d) {
  const size_t fan = a->projection == NULL ? 1 : a->projection_fan;
  for (size_t i = n * fan; i < (n + 1) * fan; i++) {
    const double q =
        a->projection == NULL ? 1 : rint((double)a->projection[i] / a->projection_scale[n]);
    if (!(fabs(d * q) < 1 << 24)) return false;
    a->ratio[i] = (int32_t)(d * q);
  }
  if (a->projection != NULL && a->step != NULL && fabs(d) < 1 << 24) a->step[n] = (int32_t)d;
  return true;
}

// Are all ratios whole when raised by so much, but for scales that are floats in their file?
static bool are_whole(const bl_addition *a, int raise) {
  for (uint32_t n = 0; n < a->channels; n++) {
    const double exact = ldexp(fabs(1 / fixed_unit(a, n)), raise);
    if (!(fabs(rint(exact) / exact - 1) <= FLOAT_NOISE)) return false;
  }
  return true;
}

// Ratios of few bits, such as powers of two, need no more than they have.
static bl_status round_ratios(bl_addition *a, bl_addition_cost *cost, bl_error *err) {
  double least = INFINITY;
  for (uint32_t n = 0; n < a->channels; n++)
    least = fmin(least, fabs(1 / fixed_unit(a, n)));
  const int most = (int)fmax(0, fmin(LEAST_RATIO_BITS - floor(log2(least)), MAX_RAISE));
  int raise = 0;
  while (raise < most && !are_whole(a, raise))
    raise++;
  a->raise = (uint8_t)raise;
  for (uint32_t n = 0; n < a->channels; n++) {
    const double exact = ldexp(1 / fixed_unit(a, n), a->raise), d = rint(exact);
    if (!set_ratio(a, n, d))
      return bl_fail(err, BL_ERR_RANGE,
                     "node %s channel %u: the scales of its two operands are too far apart",
                     a->name, n);
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
