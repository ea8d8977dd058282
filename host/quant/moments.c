// SPDX-License-Identifier: Apache-2.0
#include "host/quant/moments.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/random.h"

// Room for the windows of one sample and one group.
typedef struct {
  float *map[2], *addend[2]; // integers minus their zero point; float values
  float *windows[2];         // [positions][columns] of the same
  float *weights;            // [rows][columns]
  float *sums;               // [positions][rows]
  double *u, *t;             // [positions][columns], [positions][rows] in units of `grain`
  double grain;
} room;

static size_t own_columns(const bl_stage *s) {
  return (size_t)s->window.kernel_h * s->window.kernel_w * (s->in_c / s->window.groups);
}

size_t bl_moments_columns(const bl_stage *s) {
  return own_columns(s) + (s->projection == NULL ? 0 : s->projection->in_c);
}

// The windows of a group's channels. Outside the map everything is 0.
static void gather(const bl_stage *s, const bl_int_tensor *in, uint32_t group, const float *map,
                   float *out) {
  const bl_int_layer *w = &s->window;
  const uint32_t channels = s->in_c / w->groups;
  const int64_t repeat = w->upsample ? 2 : 1;
  const size_t columns = bl_moments_columns(s);
  for (int64_t m = 0; m < (int64_t)s->conv_h * s->conv_w; m++) {
    float *row = out + (size_t)m * columns;
    for (int64_t k = 0; k < (int64_t)w->kernel_h * w->kernel_w; k++, row += channels) {
      int64_t y = m / s->conv_w * w->stride_h + k / w->kernel_w * w->dilation_h - w->pad_top;
      int64_t x = m % s->conv_w * w->stride_w + k % w->kernel_w * w->dilation_w - w->pad_left;
      bool inside = y >= 0 && x >= 0 && y < repeat * in->h && x < repeat * in->w;
      size_t pixel = inside ? (size_t)(y / repeat * in->w + x / repeat) : 0;
      const float *from = map + pixel * in->c + (size_t)group * channels;
      for (uint32_t c = 0; c < channels; c++)
        row[c] = inside ? from[c] : 0;
    }
  }
}

static void gather_projected(const bl_stage *s, const bl_int_tensor *addend, const float *map,
                             float *out) {
  const bl_projection *p = s->projection;
  const size_t columns = bl_moments_columns(s);
  for (size_t m = 0; m < (size_t)s->conv_h * s->conv_w; m++) {
    const size_t y = m / s->conv_w * p->stride_h, x = m % s->conv_w * p->stride_w;
    memcpy(out + m * columns + own_columns(s), map + (y * addend->w + x) * addend->c,
           addend->c * sizeof *out);
  }
}

// A sample of a tensor: maps[0] of integers minus their zero point, maps[1] of float values; those
// of the integers where the float ones are not known.
static void read_maps(const bl_replay *r, const bl_int_graph *g, uint32_t tensor, size_t sample,
                      float *const *maps) {
  const bl_int_tensor *t = &g->tensors[tensor];
  const size_t count = bl_int_elements(t);
  const int16_t *plain = r->plain[tensor] + sample * count;
  for (size_t i = 0; i < count; i++)
    maps[0][i] = (float)(plain[i] - t->zero_point);
  for (size_t i = 0; i < count; i++)
    maps[1][i] = r->real[tensor] != NULL ? r->real[tensor][sample * count + i]
                                         : (float)((double)maps[0][i] * t->scale);
}

static double largest_of(const bl_replay *r, const bl_int_graph *g, uint32_t tensor) {
  const bl_int_tensor *t = &g->tensors[tensor];
  double most = fmax(fabs((double)bl_format_max(t->format) - t->zero_point),
                     fabs((double)bl_format_min(t->format) - t->zero_point)) *
                t->scale;
  const size_t count = r->samples * bl_int_elements(t);
  for (size_t i = 0; r->real[tensor] != NULL && i < count; i++)
    most = fmax(most, fabs((double)r->real[tensor][i]));
  return most;
}

// A power of two in units of which all t are integers whose sums with u stay below 2^53.
static double grain_of(const bl_moments_of *of, const bl_replay *r, const bl_moments *m) {
  const bl_int_layer *layer = of->layer;
  const size_t own = own_columns(of->stage);
  double in = largest_of(r, of->graph, layer->input), addend = 0, most = 0;
  if (layer->addend_weight != NULL) addend = largest_of(r, of->graph, layer->addend);
  for (size_t n = 0; n < (size_t)m->groups * m->rows; n++) {
    double sum = of->stage->projection == NULL ? 2 * addend : 0;
    for (size_t k = 0; k < m->columns; k++)
      sum += fabs(of->real[n * m->columns + k]) * (k < own ? in : addend);
    most = fmax(most, sum);
  }
  int exponent = 0;
  (void)frexp(most * m->positions * 256, &exponent);
  return most > 0 ? ldexp(1, exponent - 52) : 1;
}

// Float sums of the room's windows.
static void sum_windows(const bl_moments_of *of, const bl_moments *m, uint32_t group,
                        const room *a) {
  const size_t rows = m->rows, columns = m->columns;
  const size_t positions = (size_t)of->stage->conv_h * of->stage->conv_w;
  for (size_t i = 0; i < rows * columns; i++)
    a->weights[i] = (float)of->real[group * rows * columns + i];
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)positions, (blasint)rows,
              (blasint)columns, 1, a->windows[1], (blasint)columns, a->weights, (blasint)columns, 0,
              a->sums, (blasint)rows);
}

// t of the room's windows: their float sums, and what is added in float minus what is added in
// integers.
static void sum_targets(const bl_moments_of *of, const bl_moments *m, uint32_t group,
                        const room *a) {
  const bl_stage *s = of->stage;
  const size_t positions = (size_t)s->conv_h * s->conv_w, rows = m->rows;
  sum_windows(of, m, group, a);
  const bool added = of->layer->addend_weight != NULL && s->projection == NULL;
  const double scale = added ? of->graph->tensors[of->layer->addend].scale : 0;
  for (size_t i = 0; i < positions * rows; i++) {
    double t = (double)a->sums[i];
    const size_t at = i / rows * s->out_c + group * rows + i % rows;
    if (added) t += (double)a->addend[1][at] - scale * (double)a->addend[0][at];
    a->t[i] = rint(t / a->grain);
  }
}

static void add_group(const bl_moments_of *of, uint32_t group, const room *a, bl_moments *m) {
  const size_t positions = (size_t)of->stage->conv_h * of->stage->conv_w;
  const size_t rows = m->rows, columns = m->columns;
  for (size_t i = 0; i < positions * columns; i++)
    a->u[i] = (double)a->windows[0][i];
  for (size_t i = 0; i < positions; i++)
    for (size_t k = 0; k < columns; k++)
      m->first[group * columns + k] += a->u[i * columns + k];
  for (size_t i = 0; i < positions; i++)
    for (size_t k = 0; k < rows; k++)
      m->target[group * rows + k] += a->t[i * rows + k];
  if (!of->want_second) return;
  cblas_dsyrk(CblasRowMajor, CblasUpper, CblasTrans, (blasint)columns, (blasint)positions, 1, a->u,
              (blasint)columns, 1, m->second + group * columns * columns, (blasint)columns);
  cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (blasint)rows, (blasint)columns,
              (blasint)positions, 1, a->t, (blasint)rows, a->u, (blasint)columns, 1,
              m->cross + group * rows * columns, (blasint)columns);
}

static void read_sample(const bl_moments_of *of, const bl_replay *r, size_t sample, const room *a) {
  read_maps(r, of->graph, of->layer->input, sample, a->map);
  if (of->layer->addend_weight != NULL)
    read_maps(r, of->graph, of->layer->addend, sample, a->addend);
}

static void gather_group(const bl_moments_of *of, uint32_t group, const room *a) {
  const bl_int_tensor *tensors = of->graph->tensors;
  for (int i = 0; i < 2; i++) {
    gather(of->stage, &tensors[of->layer->input], group, a->map[i], a->windows[i]);
    if (of->stage->projection != NULL)
      gather_projected(of->stage, &tensors[of->layer->addend], a->addend[i], a->windows[i]);
  }
}

static void add_sample(const bl_moments_of *of, const bl_replay *r, size_t sample, const room *a,
                       bl_moments *m) {
  read_sample(of, r, sample, a);
  for (uint32_t group = 0; group < m->groups; group++) {
    gather_group(of, group, a);
    sum_targets(of, m, group, a);
    add_group(of, group, a, m);
  }
}

static bool make_room(const bl_moments_of *of, const bl_moments *m, room *a) {
  const bl_int_layer *layer = of->layer;
  const size_t in = bl_int_elements(&of->graph->tensors[layer->input]);
  const size_t addend =
      layer->addend_weight == NULL ? 1 : bl_int_elements(&of->graph->tensors[layer->addend]);
  const size_t positions = (size_t)of->stage->conv_h * of->stage->conv_w;
  bool ok = true;
  for (int i = 0; i < 2; i++) {
    a->map[i] = calloc(in, sizeof **a->map);
    a->addend[i] = calloc(addend, sizeof **a->addend);
    a->windows[i] = calloc(positions * m->columns, sizeof **a->windows);
    ok = ok && a->map[i] != NULL && a->addend[i] != NULL && a->windows[i] != NULL;
  }
  a->weights = calloc((size_t)m->rows * m->columns, sizeof *a->weights);
  a->sums = calloc(positions * m->rows, sizeof *a->sums);
  a->u = calloc(positions * m->columns, sizeof *a->u);
  a->t = calloc(positions * m->rows, sizeof *a->t);
  return ok && a->weights != NULL && a->sums != NULL && a->u != NULL && a->t != NULL;
}

static void free_room(room *a) {
  for (int i = 0; i < 2; i++) {
    free(a->map[i]);
    free(a->addend[i]);
    free(a->windows[i]);
  }
  free(a->weights);
  free(a->sums);
  free(a->u);
  free(a->t);
}

// The other half of the second moments; targets in real units.
static void finish(bl_moments *m, double grain) {
  const size_t columns = m->columns, all_rows = (size_t)m->groups * m->rows;
  for (size_t i = 0; i < all_rows; i++)
    m->target[i] *= grain;
  for (size_t i = 0; m->cross != NULL && i < all_rows * columns; i++)
    m->cross[i] *= grain;
  for (size_t g = 0; m->second != NULL && g < m->groups; g++)
    for (size_t i = 0; i < columns; i++)
      for (size_t k = 0; k < i; k++)
        m->second[(g * columns + i) * columns + k] = m->second[(g * columns + k) * columns + i];
}

static bl_moments shape_of(const bl_stage *s, const bl_replay *replay) {
  return (bl_moments){.groups = s->window.groups,
                      .columns = (uint32_t)bl_moments_columns(s),
                      .rows = s->out_c / s->window.groups,
                      .positions = (double)replay->samples * s->conv_h * s->conv_w};
}

// Window `at` of the room's as number `to` of what is kept.
static void keep_window(const bl_moments_of *of, const bl_moments *m, uint32_t group, const room *a,
                        size_t at, size_t to, const bl_windows *w) {
  const bool added = of->layer->addend_weight != NULL && of->stage->projection == NULL;
  const double scale = added ? of->graph->tensors[of->layer->addend].scale : 0;
  memcpy(w->u + to * m->columns, a->windows[0] + at * m->columns, m->columns * sizeof *w->u);
  for (size_t n = 0; n < m->rows; n++) {
    const size_t pixel = at * of->stage->out_c + group * m->rows + n;
    const float full = a->sums[at * m->rows + n] + (added ? a->addend[1][pixel] : 0);
    const double integers = added ? scale * (double)a->addend[0][pixel] : 0;
    w->full[to * m->rows + n] = full;
    w->t[to * m->rows + n] = (float)((double)full - integers);
  }
}

bl_status bl_moments_windows(const bl_moments_of *of, const bl_replay *replay, uint32_t group,
                             size_t most, uint64_t seed, bl_arena *arena, bl_windows *w,
                             bl_error *err) {
  const bl_moments m = shape_of(of->stage, replay);
  const size_t positions = (size_t)of->stage->conv_h * of->stage->conv_w;
  size_t each = most / replay->samples > 0 ? most / replay->samples : 1;
  if (each > positions) each = positions;
  w->count = each * replay->samples;
  w->u = bl_arena_alloc(arena, w->count * m.columns, sizeof *w->u);
  w->t = bl_arena_alloc(arena, w->count * m.rows, sizeof *w->t);
  w->full = bl_arena_alloc(arena, w->count * m.rows, sizeof *w->full);
  room a = {0};
  bl_status status = BL_OK;
  if (w->u == NULL || w->t == NULL || w->full == NULL || !make_room(of, &m, &a))
    status = bl_fail(err, BL_ERR_MEMORY, "node %s: no memory for its windows", of->stage->name);
  for (size_t i = 0; i < replay->samples && status == BL_OK; i++) {
    const uint64_t key = bl_random_key(seed, i);
    read_sample(of, replay, replay->sorted[i], &a);
    gather_group(of, group, &a);
    sum_windows(of, &m, group, &a);
    for (size_t k = 0; k < each; k++) { // one of each part of the map
      const size_t first = k * positions / each, next = (k + 1) * positions / each;
      const size_t at = first + (size_t)bl_random_below(bl_random_key(key, k), next - first);
      keep_window(of, &m, group, &a, at, i * each + k, w);
    }
  }
  free_room(&a);
  return status;
}

bl_status bl_moments_take(const bl_moments_of *of, const bl_replay *replay, bl_arena *arena,
                          bl_moments *m, bl_error *err) {
  const bl_stage *s = of->stage;
  *m = shape_of(s, replay);
  m->first = bl_arena_alloc(arena, (size_t)m->groups * m->columns, sizeof *m->first);
  m->target = bl_arena_alloc(arena, s->out_c, sizeof *m->target);
  if (of->want_second) {
    m->second =
        bl_arena_alloc(arena, (size_t)m->groups * m->columns * m->columns, sizeof *m->second);
    m->cross = bl_arena_alloc(arena, (size_t)s->out_c * m->columns, sizeof *m->cross);
  }
  room a = {0};
  bl_status status = BL_OK;
  if (m->first == NULL || m->target == NULL ||
      (of->want_second && (m->second == NULL || m->cross == NULL)) || !make_room(of, m, &a))
    status = bl_fail(err, BL_ERR_MEMORY, "node %s: no memory for its moments", s->name);
  if (status == BL_OK) {
    a.grain = grain_of(of, replay, m);
    for (size_t i = 0; i < replay->samples; i++)
      add_sample(of, replay, i, &a, m);
    finish(m, a.grain);
  }
  free_room(&a);
  return status;
}
