// SPDX-License-Identifier: Apache-2.0
#include "host/quant/refine.h"

#include <cblas.h>
#include <stdlib.h>
#include <string.h>

#include "host/quant/adaround.h"
#include "host/quant/gptq.h"
#include "host/quant/moments.h"

// A layer with more weights a channel keeps the nearest integers: its moments would not fit.
enum { MOST_COLUMNS = 8192, MOST_WINDOWS = 16384, MOST_WINDOW_ELEMENTS = 1 << 24 };
static const size_t MOMENTS_CAP = (size_t)2 << 30;
#define DAMPING 0.01

typedef struct {
  const bl_refined *r;
  bl_moments m;
  double *real;    // [out channels][columns] of what is summed, for each unit of float input
  double *weights; // the same for each unit of u
  double *steps;   // [columns] of one channel
  int *integers;   // [out channels][columns]
  bool joint;      // offsets will take what a constant can
} refining;

static double unit_of(const refining *f, size_t column) {
  const bl_refined *r = f->r;
  const size_t own = f->m.columns - (r->projected == NULL ? 0 : r->stage->projection->in_c);
  return r->graph->tensors[column < own ? r->layer->input : r->layer->addend].scale;
}

// The real weights of every channel.
static void read_weights(refining *f, size_t columns) {
  const bl_refined *r = f->r;
  const bl_stage *s = r->stage;
  const size_t other = r->projected == NULL ? 0 : s->projection->in_c, own = columns - other;
  for (size_t n = 0; n < s->out_c; n++) {
    double *row = f->real + n * columns;
    for (size_t k = 0; k < own; k++)
      row[k] = r->before[n] * (double)s->weights[n * own + k];
    for (size_t k = 0; k < other; k++)
      row[own + k] = r->projected[n] * (double)s->projection->weights[n * other + k];
  }
}

static void read_integers(refining *f) {
  const bl_refined *r = f->r;
  const size_t columns = f->m.columns;
  const size_t other = r->projected == NULL ? 0 : r->stage->projection->in_c, own = columns - other;
  for (size_t n = 0; n < r->stage->out_c; n++) {
    for (size_t k = 0; k < own; k++)
      f->integers[n * columns + k] = r->layer->weights[n * own + k];
    for (size_t k = 0; k < other; k++)
      f->integers[n * columns + own + k] = r->layer->addend_weight[n * other + k] / r->ratio[n];
  }
}

static void write_integers(refining *f) {
  const bl_refined *r = f->r;
  const size_t columns = f->m.columns;
  const size_t other = r->projected == NULL ? 0 : r->stage->projection->in_c, own = columns - other;
  for (size_t n = 0; n < r->stage->out_c; n++) {
    for (size_t k = 0; k < own; k++)
      r->layer->weights[n * own + k] = (int8_t)f->integers[n * columns + k];
    for (size_t k = 0; k < other; k++)
      r->layer->addend_weight[n * other + k] = r->ratio[n] * f->integers[n * columns + own + k];
  }
}

static void steps_of(const refining *f, size_t n, double *steps) {
  const bl_refined *r = f->r;
  const size_t other = r->projected == NULL ? 0 : r->stage->projection->in_c;
  for (size_t k = 0; k < f->m.columns; k++)
    steps[k] = k + other < f->m.columns ? r->step[n] : r->projected_step[n];
}

// Second and cross moments about the means: what an offset can take is no error then.
static void centre(bl_moments *m) {
  const size_t columns = m->columns;
  for (size_t g = 0; g < m->groups; g++) {
    const double *first = m->first + g * columns;
    for (size_t i = 0; i < columns; i++)
      for (size_t k = 0; k < columns; k++)
        m->second[(g * columns + i) * columns + k] -= first[i] * first[k] / m->positions;
    for (size_t n = g * m->rows; n < (g + 1) * m->rows; n++)
      for (size_t k = 0; k < columns; k++)
        m->cross[n * columns + k] -= m->target[n] * first[k] / m->positions;
  }
}

// Moves a group's weights to where they make the best of inputs that are no longer those of the
// float network.
static bl_status aim(refining *f, const bl_gptq *gptq, size_t group, bl_error *err) {
  const bl_moments *m = &f->m;
  const size_t columns = m->columns;
  double *weights = f->weights + group * m->rows * columns;
  double *residual = m->cross + group * m->rows * columns;
  const double *second = m->second + group * columns * columns;
  for (size_t n = 0; n < m->rows; n++)
    for (size_t i = 0; i < columns; i++)
      for (size_t k = 0; k < columns; k++)
        residual[n * columns + i] -= second[i * columns + k] * weights[n * columns + k];
  BL_TRY(bl_gptq_solve(gptq, m->rows, residual, err));
  for (size_t i = 0; i < m->rows * columns; i++)
    if (weights[i] != 0) weights[i] += residual[i]; // what is pruned stays so
  return BL_OK;
}

static bl_grid grid_of(const bl_refined *r, size_t n) {
  const bl_format format = r->layer->weight_format;
  const uint8_t *bits = r->stage->channel_bits;
  const int top = bits == NULL ? bl_format_max(format) : (1 << (bits[n] - 1)) - 1;
  return (bl_grid){-top, top, format.kind == BL_FORMAT_B, r->codebook};
}

// Windows about the means over all of them, as in `centre`.
static void centre_windows(const refining *f, size_t group, const bl_windows *w) {
  const bl_moments *m = &f->m;
  for (size_t i = 0; i < w->count; i++) {
    for (size_t k = 0; k < m->columns; k++)
      w->u[i * m->columns + k] -= (float)(m->first[group * m->columns + k] / m->positions);
    for (size_t n = 0; n < m->rows; n++)
      w->t[i * m->rows + n] -= (float)(m->target[group * m->rows + n] / m->positions);
  }
}

static bl_status learn_group(refining *f, const bl_quantising *q, const bl_moments_of *of,
                             size_t group, bl_arena *arena) {
  const bl_moments *m = &f->m;
  const size_t columns = m->columns, first = group * m->rows;
  const size_t room = MOST_WINDOW_ELEMENTS / columns;
  bl_windows w;
  BL_TRY(bl_moments_windows(of, q->replay, (uint32_t)group,
                            room < MOST_WINDOWS ? room : MOST_WINDOWS, q->options->seed, arena, &w,
                            q->err));
  if (f->joint) centre_windows(f, group, &w);
  double *steps = bl_arena_alloc(arena, m->rows * columns, sizeof *steps);
  bl_grid *grids = bl_arena_alloc(arena, m->rows, sizeof *grids);
  if (steps == NULL || grids == NULL) return bl_quantise_no_memory(q);
  for (size_t n = 0; n < m->rows; n++) {
    steps_of(f, first + n, steps + n * columns);
    grids[n] = grid_of(f->r, first + n);
  }
  const bl_adaround a = {.columns = m->columns,
                         .rows = m->rows,
                         .windows = w.count,
                         .u = w.u,
                         .t = w.t,
                         .full = w.full,
                         .weights = f->weights + first * columns,
                         .steps = steps,
                         .grids = grids,
                         .after = f->r->after + first,
                         .iterations = q->options->adaround_iterations,
                         .seed = q->options->seed};
  return bl_adaround_round(&a, f->integers + first * columns, q->err);
}

static bl_status round_row(refining *f, const bl_gptq *gptq, size_t n, bl_error *err) {
  const size_t columns = f->m.columns;
  const bl_grid grid = grid_of(f->r, n);
  steps_of(f, n, f->steps);
  return bl_gptq_round(gptq, f->weights + n * columns, f->steps, &grid, f->integers + n * columns,
                       err);
}

static bl_status round_group(refining *f, const bl_quantising *q, const bl_moments_of *of,
                             size_t group) {
  const bl_moments *m = &f->m;
  const size_t columns = m->columns;
  bl_gptq *gptq;
  BL_TRY(bl_gptq_open(m->columns, m->second + group * columns * columns, DAMPING, &gptq, q->err));
  bl_status status = aim(f, gptq, group, q->err);
  const bool learns = q->options->rounding == BL_ROUNDING_ADAROUND;
  for (size_t n = group * m->rows; !learns && n < (group + 1) * m->rows && status == BL_OK; n++)
    status = round_row(f, gptq, n, q->err);
  bl_gptq_close(gptq);
  if (!learns || status != BL_OK) return status;
  bl_arena *arena = bl_arena_new(MOMENTS_CAP);
  status = arena == NULL ? bl_quantise_no_memory(q) : learn_group(f, q, of, group, arena);
  bl_arena_free(arena);
  return status;
}

// What the mean of a channel's sums lacks to that of the float network.
static void correct_bias(const refining *f) {
  const bl_moments *m = &f->m;
  for (size_t n = 0; n < f->r->stage->out_c; n++) {
    const double *first = m->first + n / m->rows * m->columns;
    double sum = m->target[n];
    steps_of(f, n, f->steps);
    for (size_t k = 0; k < m->columns; k++)
      sum -= f->steps[k] * f->integers[n * m->columns + k] * first[k];
    f->r->offset[n] = sum / m->positions;
  }
}

// The same from what batch normalisations say of the inputs, where they say something.
static bl_status correct_analytically(const bl_quantising *q, const refining *f, bl_arena *arena) {
  const size_t columns = f->m.columns;
  double *means = bl_arena_alloc(arena, columns, sizeof *means);
  if (means == NULL) return bl_quantise_no_memory(q);
  for (uint32_t n = 0; n < f->r->stage->out_c; n++) {
    const uint32_t group = n / f->m.rows;
    if (!bl_analytic_means(q->statistics, f->r->stage, group, means)) return BL_OK;
    steps_of(f, n, f->steps);
    double sum = 0;
    for (size_t k = 0; k < columns; k++)
      sum += means[k] * (f->real[n * columns + k] -
                         f->steps[k] / unit_of(f, k) * f->integers[n * columns + k]);
    f->r->offset[n] = sum;
  }
  return BL_OK;
}

static bl_status refine(bl_quantising *q, const bl_refined *r, bl_arena *arena) {
  const size_t columns = bl_moments_columns(r->stage), count = columns * r->stage->out_c;
  refining f = {.r = r,
                .real = bl_arena_alloc(arena, count, sizeof *f.real),
                .weights = bl_arena_alloc(arena, count, sizeof *f.weights),
                .steps = bl_arena_alloc(arena, columns, sizeof *f.steps),
                .integers = bl_arena_alloc(arena, count, sizeof *f.integers),
                .joint = q->options->bias_correction == BL_BIAS_EMPIRICAL};
  if (f.real == NULL || f.weights == NULL || f.steps == NULL || f.integers == NULL)
    return bl_quantise_no_memory(q);
  read_weights(&f, columns);
  const bool rounds = q->options->rounding != BL_ROUNDING_NEAREST && columns <= MOST_COLUMNS;
  const bl_moments_of of = {r->stage, r->graph, r->layer, f.real, rounds};
  f.m.columns = (uint32_t)columns;
  f.m.rows = r->stage->out_c / r->stage->window.groups;
  if (q->replay != NULL) BL_TRY(bl_moments_take(&of, q->replay, arena, &f.m, q->err));
  for (size_t i = 0; i < count; i++)
    f.weights[i] = f.real[i] * unit_of(&f, i % columns);
  read_integers(&f);
  if (rounds && f.joint) centre(&f.m);
  for (size_t g = 0; rounds && g < f.m.groups; g++)
    BL_TRY(round_group(&f, q, &of, g));
  write_integers(&f);
  if (f.joint) correct_bias(&f);
  if (q->statistics != NULL) return correct_analytically(q, &f, arena);
  return BL_OK;
}

bl_status bl_refine(bl_quantising *q, const bl_refined *r) {
  openblas_set_num_threads(1); // how sums of floats are split must not depend on the machine
  bl_arena *arena = bl_arena_new(MOMENTS_CAP);
  bl_status status = arena == NULL ? bl_quantise_no_memory(q) : refine(q, r, arena);
  bl_arena_free(arena);
  return status;
}
