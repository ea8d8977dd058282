// SPDX-License-Identifier: Apache-2.0
#include "host/quant/analytic.h"

#include <math.h>

// x normal, or unknown.
typedef struct {
  bool known;
  double mean, variance;
} estimate;

static double below(double x) { // of the standard normal distribution
  return 0.5 * erfc(-x / sqrt(2));
}

static double density(double x) {
  return isinf(x) ? 0 : exp(-x * x / 2) / sqrt(8 * atan(1));
}

// bound^power times a probability; 0 where that is 0.
static double mass(double bound, double power, double probability) {
  return probability > 0 ? pow(bound, power) * probability : 0;
}

void bl_clipped_normal(double lo, double hi, double *mean, double *variance) {
  const double m = *mean, s = sqrt(*variance);
  if (!(s > 0)) {
    *mean = fmax(lo, fmin(hi, m));
    return;
  }
  const double a = (lo - m) / s, b = (hi - m) / s, inside = below(b) - below(a);
  const double fa = density(a), fb = density(b);
  const double first = mass(lo, 1, below(a)) + mass(hi, 1, below(-b)) + m * inside + s * (fa - fb);
  const double second = mass(lo, 2, below(a)) + mass(hi, 2, below(-b)) + (m * m + s * s) * inside +
                        s * ((fa > 0 ? (lo + m) * fa : 0) - (fb > 0 ? (hi + m) * fb : 0));
  *mean = first;
  *variance = fmax(0, second - first * first);
}

static estimate after_post(const bl_post *p, uint32_t n, estimate e) {
  double factor = 1;
  switch (p->kind) {
  case BL_POST_NORM:
    return (estimate){true, p->d[n], p->c[n] * p->c[n]};
  case BL_POST_CLAMP:
    if (e.known) bl_clipped_normal(p->lo, p->hi, &e.mean, &e.variance);
    return e;
  case BL_POST_ADD:
    e.mean += p->a[n];
    return e;
  default:
    factor = p->kind == BL_POST_MUL ? p->a[n] : 1 / p->a[n];
    e.mean *= factor;
    e.variance *= factor * factor;
    return e;
  }
}

static estimate output_of(const bl_channel_statistics *all, int32_t stage, uint32_t channel) {
  if (stage < 0 || all[stage].mean == NULL) return (estimate){0};
  return (estimate){true, all[stage].mean[channel], all[stage].variance[channel]};
}

static bool padded(const bl_stage *s) {
  const bl_int_layer *w = &s->window;
  return w->pad_top + w->pad_left + w->pad_bottom + w->pad_right > 0;
}

// The sum of a window of ones, which averages and copies are.
static estimate unit_sum(const bl_stage *s, const bl_channel_statistics *all, uint32_t n) {
  if (!s->unit_weights || s->window.groups != s->in_c || s->out_c != s->in_c || padded(s))
    return (estimate){0};
  const double taps = (double)s->window.kernel_h * s->window.kernel_w;
  estimate e = output_of(all, s->input, n);
  return (estimate){e.known, e.mean * taps, e.variance * taps};
}

static estimate addend_of(const bl_stage *s, const bl_channel_statistics *all, uint32_t n) {
  if (s->projection == NULL) return output_of(all, s->addend, n);
  estimate e = {0};
  for (uint32_t k = 0; k < s->projection->post_count; k++)
    e = after_post(&s->projection->posts[k], n, e);
  return e;
}

static estimate channel_of(const bl_stage *s, const bl_channel_statistics *all, uint32_t n) {
  estimate e = unit_sum(s, all, n);
  for (uint32_t k = 0; k <= s->post_count; k++) {
    if (s->addend != BL_STAGE_NONE && k == s->addend_post) {
      const estimate other = addend_of(s, all, n);
      e = (estimate){e.known && other.known, e.mean + other.mean, e.variance + other.variance};
    }
    if (k < s->post_count) e = after_post(&s->posts[k], n, e);
  }
  e.known = e.known && !s->pooled && s->function == NULL && s->part_count == 0;
  return e;
}

bl_channel_statistics *bl_analytic_statistics(const bl_lowered *l, bl_arena *arena) {
  bl_channel_statistics *all = bl_arena_alloc(arena, l->stage_count, sizeof *all);
  for (uint32_t k = 0; all != NULL && k < l->stage_count; k++) {
    const bl_stage *s = &l->stages[k];
    double *mean = bl_arena_alloc(arena, 2u * s->out_c, sizeof *mean);
    if (mean == NULL) return NULL;
    bool known = true;
    for (uint32_t n = 0; n < s->out_c && known; n++) {
      const estimate e = channel_of(s, all, n);
      known = e.known;
      mean[n] = e.mean;
      mean[s->out_c + n] = e.variance;
    }
    if (known) all[k] = (bl_channel_statistics){mean, mean + s->out_c};
  }
  return all;
}

// The part of `count` windows whose tap lies inside the map.
static double inside(uint32_t count, uint32_t stride, uint32_t tap, uint32_t pad, uint32_t size) {
  uint32_t hits = 0;
  for (uint32_t i = 0; i < count; i++) {
    const int64_t at = (int64_t)i * stride + tap - pad;
    hits += at >= 0 && at < size;
  }
  return (double)hits / count;
}

bool bl_analytic_means(const bl_channel_statistics *all, const bl_stage *s, uint32_t group,
                       double *means) {
  const bl_int_layer *w = &s->window;
  const uint32_t channels = s->in_c / w->groups;
  const bool projects = s->projection != NULL;
  if (s->input < 0 || all[s->input].mean == NULL) return false;
  if (projects && (s->addend < 0 || all[s->addend].mean == NULL)) return false;
  const double *mean = all[s->input].mean + (size_t)group * channels;
  for (uint32_t y = 0; y < w->kernel_h; y++)
    for (uint32_t x = 0; x < w->kernel_w; x++) {
      const double part = inside(s->conv_h, w->stride_h, y * w->dilation_h, w->pad_top, s->in_h) *
                          inside(s->conv_w, w->stride_w, x * w->dilation_w, w->pad_left, s->in_w);
      for (uint32_t c = 0; c < channels; c++)
        *means++ = part * mean[c];
    }
  for (uint32_t c = 0; projects && c < s->projection->in_c; c++)
    *means++ = all[s->addend].mean[c];
  return true;
}
