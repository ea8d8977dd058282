// SPDX-License-Identifier: Apache-2.0
// How many components to keep: by number, by energy, by budget, or by what stands out of noise.
#include <math.h>

#include "host/lowrank/lowrank_internal.h"

enum { MOST_SLOW_POINTS = 8 };

void bl_lowrank_whole_cost(const bl_lowrank_work *w, uint64_t *weights, uint64_t *macs) {
  *weights = (uint64_t)w->outputs * w->inputs * w->taps_y * w->taps_x;
  *macs = *weights * w->out_places;
}

void bl_lowrank_cost(const bl_lowrank_work *w, uint32_t rank, uint32_t rank_in, uint64_t *weights,
                     uint64_t *macs) {
  const uint64_t taps = (uint64_t)w->taps_y * w->taps_x, r = rank;
  uint64_t u = 0, core = 0, v = r * w->outputs, u_places = w->out_places;
  switch (w->options->kind) {
  case BL_LOWRANK_SVD:
    u = r * w->inputs * taps;
    break;
  case BL_LOWRANK_SPATIAL:
    u = r * w->inputs * w->taps_y;
    u_places = w->row_places;
    v *= w->taps_x;
    break;
  case BL_LOWRANK_TUCKER:
    u = (uint64_t)rank_in * w->inputs;
    u_places = w->in_places;
    core = r * rank_in * taps;
    break;
  case BL_LOWRANK_CP:
    u = r * w->inputs;
    u_places = w->in_places;
    core = r * taps;
    break;
  case BL_LOWRANK_SEPARABLE:
    u = r * w->inputs * taps;
    v *= w->inputs;
    break;
  }
  *weights = u + core + v;
  *macs = u * u_places + (core + v) * w->out_places;
}

// The largest rank that makes sense.
static uint32_t most_of(const bl_lowrank_work *w) {
  const uint32_t taps = w->taps_y * w->taps_x, n = w->outputs, c = w->inputs;
  switch (w->options->kind) {
  case BL_LOWRANK_SVD:
    return n < c * taps ? n : c * taps;
  case BL_LOWRANK_SPATIAL:
    return c * w->taps_y < n * w->taps_x ? c * w->taps_y : n * w->taps_x;
  case BL_LOWRANK_TUCKER:
    return n;
  case BL_LOWRANK_CP: // more than this has more weights than the kernel
    return (uint32_t)fmax(1, (double)n * c * taps / (n + c + taps));
  default:
    return taps < n ? taps : n;
  }
}

// Tucker: the rank of inputs that goes with one of outputs.
static uint32_t pair_of(const bl_lowrank_work *w, uint32_t rank) {
  const double share = (double)rank / w->outputs;
  uint32_t pair = (uint32_t)ceil(share * w->inputs);
  return pair < 1 ? 1 : pair > w->inputs ? w->inputs : pair;
}

static uint32_t multiple_of(const bl_lowrank_work *w) {
  const bool separable = w->options->kind == BL_LOWRANK_SEPARABLE;
  return separable || w->options->multiple == 0 ? 1 : w->options->multiple;
}

static uint32_t rounded_up(const bl_lowrank_work *w, uint32_t rank, uint32_t most) {
  const uint32_t m = multiple_of(w);
  const uint64_t up = ((uint64_t)rank + m - 1) / m * m;
  return up < most ? (uint32_t)up : most;
}

// The rank of inputs that a budget pairs with one of outputs.
static uint32_t paired(const bl_lowrank_work *w, uint32_t rank) {
  return rounded_up(w, pair_of(w, rank), w->inputs);
}

// The most whose cost is at most the share; 0: none.
static uint32_t affordable(const bl_lowrank_work *w) {
  const bool macs = w->options->rule == BL_RANK_MACS;
  const uint32_t multiple = multiple_of(w);
  uint64_t whole[2], cost[2];
  uint32_t rank = 0;
  bl_lowrank_whole_cost(w, &whole[0], &whole[1]);
  for (uint32_t r = multiple; r <= most_of(w); r += multiple) {
    bl_lowrank_cost(w, r, paired(w, r), &cost[0], &cost[1]);
    if ((double)cost[macs] > w->options->share * (double)whole[macs]) break;
    rank = r;
  }
  return rank;
}

static uint32_t by_spectrum(const bl_lowrank_work *w, const double *s, uint32_t count,
                            uint32_t longer) {
  if (w->options->rule == BL_RANK_ENERGY) return bl_rank_energy(s, count, w->options->share);
  return bl_rank_vbmf(s, count, longer);
}

static bl_status choose_matrix(bl_lowrank_work *w) {
  const double *a;
  uint32_t rows, cols;
  bl_svd svd;
  BL_TRY(bl_lowrank_matrix(w, &a, &rows, &cols));
  BL_TRY(bl_svd_take(w->arena, a, rows, cols, &svd, w->err));
  w->rank = by_spectrum(w, svd.s, svd.count, rows > cols ? rows : cols);
  return BL_OK;
}

static bl_status choose_tucker(bl_lowrank_work *w) {
  const uint32_t n = w->outputs, c = w->inputs, taps = w->taps_y * w->taps_x;
  const bl_kernel kernel = {n, c, taps, w->k};
  bl_tucker t;
  BL_TRY(bl_tucker_spectra(w->arena, &kernel, &t, w->err));
  const uint32_t all_n = c * taps, all_c = n * taps;
  w->rank = by_spectrum(w, t.spectrum_out, n < all_n ? n : all_n, n > all_n ? n : all_n);
  w->rank_in = by_spectrum(w, t.spectrum_in, c < all_c ? c : all_c, c > all_c ? c : all_c);
  return BL_OK;
}

// There is no spectrum: the least rank of a bisection whose error is small enough.
static bl_status choose_by_error(bl_lowrank_work *w) {
  uint32_t lo = 0, hi = most_of(w);
  while (hi - lo > 1) {
    w->rank = lo + (hi - lo) / 2;
    BL_TRY(bl_lowrank_factorise(w));
    if (1 - bl_lowrank_error(w) >= w->options->share)
      hi = w->rank;
    else
      lo = w->rank;
  }
  w->rank = hi;
  return BL_OK;
}

static bl_status choose_given(bl_lowrank_work *w) {
  w->rank = w->options->rank;
  w->rank_in = w->options->rank_in;
  if (w->rank < 1 || w->rank > most_of(w) || w->rank_in > w->inputs)
    return bl_fail(w->err, BL_ERR_USAGE, "layer %s: rank %u; 1 to %u are possible", w->node.name,
                   (unsigned)w->rank, (unsigned)most_of(w));
  if (w->rank_in == 0) w->rank_in = pair_of(w, w->rank);
  return BL_OK;
}

bl_status bl_lowrank_choose(bl_lowrank_work *w) {
  const bl_lowrank_kind kind = w->options->kind;
  const bool tucker = kind == BL_LOWRANK_TUCKER;
  const bool spectral = tucker || kind == BL_LOWRANK_SVD || kind == BL_LOWRANK_SPATIAL;
  switch (w->options->rule) {
  case BL_RANK_GIVEN:
    BL_TRY(choose_given(w));
    break;
  case BL_RANK_WEIGHTS:
  case BL_RANK_MACS:
    w->rank = affordable(w);
    w->rank_in = paired(w, w->rank);
    break;
  case BL_RANK_AUTO:
    if (!spectral)
      return bl_fail(w->err, BL_ERR_USAGE,
                     "layer %s: no automatic rank for this decomposition; give a share",
                     w->node.name);
    // fall through
  case BL_RANK_ENERGY:
    BL_TRY(tucker ? choose_tucker(w) : spectral ? choose_matrix(w) : choose_by_error(w));
    w->rank = rounded_up(w, w->rank, most_of(w));
    w->rank_in = rounded_up(w, w->rank_in, w->inputs);
  }
  const uint32_t taps = w->taps_y * w->taps_x;
  if (tucker && w->rank > w->rank_in * taps) w->rank = w->rank_in * taps;
  if (tucker && w->rank_in > w->rank * taps) w->rank_in = w->rank * taps;
  if (!tucker) w->rank_in = 0;
  return BL_OK;
}

// ---- All ranks

// Of the squares behind the first `rank`, the share in all.
static double tail_of(const bl_svd *svd, uint32_t rank) {
  double all = 0, tail = 0;
  for (uint32_t k = svd->count; k-- > 0;) {
    all += svd->s[k] * svd->s[k];
    if (k >= rank) tail = all;
  }
  return all > 0 && rank < svd->count ? tail / all : 0;
}

static bl_status error_at(bl_lowrank_work *w, const bl_svd *svd, double *error) {
  if (svd->s != NULL) {
    *error = tail_of(svd, w->rank);
    return BL_OK;
  }
  BL_TRY(bl_lowrank_factorise(w));
  *error = bl_lowrank_error(w);
  return BL_OK;
}

bl_status bl_lowrank_points(bl_lowrank_work *w, bl_lowrank_point points[BL_LOWRANK_MOST_POINTS],
                            uint32_t *count) {
  const bl_lowrank_kind kind = w->options->kind;
  const uint32_t most = kind == BL_LOWRANK_CP ? MOST_SLOW_POINTS : BL_LOWRANK_MOST_POINTS - 1;
  uint32_t step = multiple_of(w);
  bl_svd svd = {0};
  bl_lowrank_whole_cost(w, &points[0].weights, &points[0].macs);
  points[0] = (bl_lowrank_point){.weights = points[0].weights, .macs = points[0].macs};
  *count = 1;
  while (most_of(w) / step > most)
    step += multiple_of(w);
  if (kind == BL_LOWRANK_SVD || kind == BL_LOWRANK_SPATIAL) {
    const double *a;
    uint32_t rows, cols;
    BL_TRY(bl_lowrank_matrix(w, &a, &rows, &cols));
    BL_TRY(bl_svd_take(w->arena, a, rows, cols, &svd, w->err));
  }
  for (w->rank = step; w->rank <= most_of(w); w->rank += step) {
    w->rank_in = kind == BL_LOWRANK_TUCKER ? paired(w, w->rank) : 0;
    bl_lowrank_point p = {.rank = w->rank, .rank_in = w->rank_in};
    bl_lowrank_cost(w, p.rank, p.rank_in, &p.weights, &p.macs);
    if (p.weights >= points[0].weights || p.macs >= points[0].macs) break;
    BL_TRY(error_at(w, &svd, &p.error));
    points[(*count)++] = p;
  }
  return BL_OK;
}
