// SPDX-License-Identifier: Apache-2.0
// The last factor of a layer by least squares, from what it reads now and what the layer gave.
#include <cblas.h>
#include <lapacke.h>
#include <stdio.h>
#include <string.h>

#include "host/float/session.h"
#include "host/graph/float_edit.h"
#include "host/lowrank/lowrank.h"

enum { ROOM = 256, MOST_PLACES = 64 };
static const size_t REFIT_CAP = (size_t)1 << 30;
static const double DAMPING = 1e-3; // of the mean diagonal: weight of staying as it is

typedef struct {
  bl_float_graph *now, *was; // cut off behind what is read
  bl_float_session *now_session, *was_session;
  bl_node last; // the last factor
  int32_t reads, gives;
  bl_window window; // of a convolution
  bool conv, by_inputs, has_bias;
  uint32_t outputs, inputs, taps, columns; // columns: inputs * taps, and one of ones for a bias
  double *a, *b;                           // [columns][columns], [columns][outputs]
  double *z, *y;                           // [ROOM][columns], [ROOM][outputs] still to be added
  uint32_t waiting;
  bl_arena *arena;
  bl_error *err;
} refitting;

static bl_status no_memory(const refitting *r) {
  return bl_fail(r->err, BL_ERR_MEMORY, "layer %s: no memory to refit it", r->last.name);
}

static bl_status cut_behind(const bl_float_graph *graph, int32_t value, bl_float_graph **cut,
                            bl_float_session **session, bl_error *err) {
  BL_TRY(bl_float_copy(graph, 0, cut, err));
  (*cut)->outputs[0] = value;
  (*cut)->output_count = 1;
  BL_TRY(bl_float_sweep(*cut, err));
  return bl_float_session_open(*cut, session, err);
}

static bl_status find_sizes(refitting *r, const bl_float_graph *graph) {
  const bl_value *w = bl_node_weights(graph, &r->last);
  r->conv = r->last.op == BL_FLOAT_CONV;
  r->by_inputs = r->last.op == BL_FLOAT_MATMUL;
  r->has_bias = r->last.input_count > 2 && r->last.inputs[2] >= 0 &&
                bl_float_readers(graph, r->last.inputs[2]) == 1;
  r->outputs = (uint32_t)w->dims[r->by_inputs ? 1 : 0];
  r->inputs = (uint32_t)w->dims[r->by_inputs ? 0 : 1];
  r->taps = r->conv ? (uint32_t)(w->dims[2] * w->dims[3]) : 1;
  r->columns = r->inputs * r->taps + r->has_bias;
  if (r->conv) BL_TRY(bl_node_window(graph, &r->last, &r->window, r->err));
  r->a = bl_arena_alloc(r->arena, (size_t)r->columns * r->columns, sizeof *r->a);
  r->b = bl_arena_alloc(r->arena, (size_t)r->columns * r->outputs, sizeof *r->b);
  r->z = bl_arena_alloc(r->arena, (size_t)ROOM * r->columns, sizeof *r->z);
  r->y = bl_arena_alloc(r->arena, (size_t)ROOM * r->outputs, sizeof *r->y);
  bool ok = r->a != NULL && r->b != NULL && r->z != NULL && r->y != NULL;
  return ok ? BL_OK : no_memory(r);
}

// ---- Sums

static void add_waiting(refitting *r) {
  if (r->waiting == 0) return;
  const blasint q = (blasint)r->columns, n = (blasint)r->outputs, rows = (blasint)r->waiting;
  cblas_dsyrk(CblasRowMajor, CblasUpper, CblasTrans, q, rows, 1, r->z, q, 1, r->a, q);
  cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, q, n, rows, 1, r->z, q, r->y, n, 1, r->b, n);
  r->waiting = 0;
}

// What the window over output position `place` sees of an input of h x w.
static void read_window(const refitting *r, const bl_value *in, size_t place, double *row) {
  const int64_t h = in->dims[2], w = in->dims[3];
  const int64_t y = (int64_t)place / r->window.out[1], x = (int64_t)place % r->window.out[1];
  for (uint32_t k = 0; k < r->inputs * r->taps; k++) {
    const int64_t c = k / r->taps, t = k % r->taps;
    const int64_t i = y * r->window.stride[0] - r->window.pad_begin[0] +
                      t / r->window.kernel[1] * r->window.dilation[0];
    const int64_t j = x * r->window.stride[1] - r->window.pad_begin[1] +
                      t % r->window.kernel[1] * r->window.dilation[1];
    row[k] = i < 0 || j < 0 || i >= h || j >= w ? 0 : (double)in->f[(c * h + i) * w + j];
  }
}

static void add_sample(refitting *r, size_t index) {
  const bl_value *in = bl_float_session_value(r->now_session, r->reads);
  const bl_value *out = bl_float_session_value(r->was_session, r->gives);
  const size_t places = out->count / r->outputs;
  const size_t step = places > MOST_PLACES ? places / MOST_PLACES : 1;
  for (size_t p = index % step; p < places; p += step) { // other places of every sample
    double *row = r->z + (size_t)r->waiting * r->columns;
    if (r->conv)
      read_window(r, in, p, row);
    else
      for (uint32_t k = 0; k < r->inputs; k++)
        row[k] = (double)in->f[k];
    if (r->has_bias) row[r->columns - 1] = 1;
    for (size_t n = 0; n < r->outputs; n++)
      r->y[(size_t)r->waiting * r->outputs + n] = (double)out->f[n * places + p];
    if (++r->waiting == ROOM) add_waiting(r);
  }
}

static bl_status gather(refitting *r, const bl_calibration *calibration) {
  for (size_t k = 0; k < calibration->count; k++) {
    bl_value *x = bl_float_session_input(r->now_session, 0);
    BL_TRY(calibration->read(calibration->context, k, x->f, r->err));
    memcpy(bl_float_session_input(r->was_session, 0)->f, x->f, x->count * sizeof *x->f);
    BL_TRY(bl_float_session_run(r->now_session, r->err));
    BL_TRY(bl_float_session_run(r->was_session, r->err));
    add_sample(r, k);
  }
  add_waiting(r);
  return BL_OK;
}

// ---- The solution

// Where column k of output n is kept.
static float *number_of(const refitting *r, bl_float_graph *graph, uint32_t n, uint32_t k) {
  if (r->has_bias && k + 1 == r->columns) return &graph->values[r->last.inputs[2]].f[n];
  float *w = graph->values[r->last.inputs[1]].f;
  return r->by_inputs ? &w[(size_t)k * r->outputs + n] : &w[(size_t)n * r->inputs * r->taps + k];
}

// (A + damping) v = b + damping v0, for all outputs at once.
static bl_status solve(refitting *r, bl_float_graph *graph) {
  const uint32_t q = r->columns;
  double trace = 0;
  for (uint32_t k = 0; k < q; k++)
    trace += r->a[(size_t)k * q + k];
  const double stay = trace > 0 ? DAMPING * trace / q : 1;
  for (uint32_t k = 0; k < q; k++) {
    r->a[(size_t)k * q + k] += stay;
    for (uint32_t n = 0; n < r->outputs; n++)
      r->b[(size_t)k * r->outputs + n] += stay * (double)*number_of(r, graph, n, k);
  }
  if (LAPACKE_dposv(LAPACK_ROW_MAJOR, 'U', (lapack_int)q, (lapack_int)r->outputs, r->a,
                    (lapack_int)q, r->b, (lapack_int)r->outputs) != 0)
    return bl_fail(r->err, BL_ERR_RANGE, "layer %s: its inputs are not finite", r->last.name);
  for (uint32_t k = 0; k < q; k++)
    for (uint32_t n = 0; n < r->outputs; n++)
      *number_of(r, graph, n, k) = (float)r->b[(size_t)k * r->outputs + n];
  return BL_OK;
}

static bl_status refit(refitting *r, bl_float_graph *graph, const bl_float_graph *original,
                       const bl_calibration *calibration) {
  BL_TRY(find_sizes(r, graph));
  BL_TRY(cut_behind(graph, r->reads, &r->now, &r->now_session, r->err));
  BL_TRY(cut_behind(original, r->gives, &r->was, &r->was_session, r->err));
  openblas_set_num_threads(1);
  BL_TRY(gather(r, calibration));
  return solve(r, graph);
}

bl_status bl_lowrank_refit(bl_float_graph *graph, const bl_float_graph *original, const char *layer,
                           const bl_calibration *calibration, bl_error *err) {
  char name[512];
  (void)snprintf(name, sizeof name, "%s/v", layer);
  const int32_t last = bl_float_find_node(graph, name);
  const int32_t was = bl_float_find_node(original, layer);
  if (last < 0 || was < 0 || calibration->count == 0)
    return bl_fail(err, BL_ERR_USAGE, "layer %s: has not been factorised, or no samples", layer);
  refitting r = {.last = graph->nodes[last],
                 .reads = graph->nodes[last].inputs[0],
                 .gives = original->nodes[was].outputs[0],
                 .arena = bl_arena_new(REFIT_CAP),
                 .err = err};
  const bl_status status =
      r.arena == NULL ? no_memory(&r) : refit(&r, graph, original, calibration);
  if (r.now_session != NULL) bl_float_session_close(r.now_session);
  if (r.was_session != NULL) bl_float_session_close(r.was_session);
  bl_float_graph_free(r.now);
  bl_float_graph_free(r.was);
  bl_arena_free(r.arena);
  return status;
}
