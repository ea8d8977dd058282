// SPDX-License-Identifier: Apache-2.0
// Layer by layer: the samples run through the network as it was and as it is so far, which gives
// moments of what the layer reads in both; then each row of weights is solved for by itself, rows
// with the same mask together.
#include "host/prune/reconstruct.h"

#include <cblas.h>
#include <lapacke.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/random.h"
#include "host/float/session.h"
#include "host/graph/float_edit.h"
#include "host/prune/prune_internal.h"

enum { MOST_WINDOWS = 64, MOST_BYTES = 1 << 30 }; // windows of a sample
#define DAMPING 0.01

// A layer that is solved for. Columns: inputs under the window of one group, then a 1 where there
// is a bias that may change.
typedef struct {
  const bl_prune_layer *layer;
  bl_window window; // of a convolution
  int32_t bias;     // -1: none
  size_t inputs, columns, step;
  double *moments;   // [groups][columns][columns] of what it reads now, upper halves
  double *cross;     // [groups][columns][inputs] of that with what it read in the network as it was
  double *now, *was; // [MOST_WINDOWS][columns], [MOST_WINDOWS][inputs]
} target;

typedef struct {
  const bl_prune *prune;
  bl_float_graph *graph, *original;
  const bl_train_data *data;
  uint64_t samples;
  bl_error *err;
} job;

static bl_status no_memory(const job *j) {
  return bl_fail(j->err, BL_ERR_MEMORY, "pruning: no memory to reconstruct");
}

// ---- Targets

static bool loses(const bl_prune_layer *l, const bl_value *w) {
  for (size_t i = 0; i < l->count; i++)
    if (l->mask[i] == 0 && w->f[i] != 0) return true;
  return false;
}

static int32_t own_bias(const bl_float_graph *g, const bl_node *node, size_t outputs) {
  if (node->op == BL_FLOAT_MATMUL || node->input_count < 3 || node->inputs[2] < 0) return -1;
  const bl_value *v = &g->values[node->inputs[2]];
  const bool plain = node->op == BL_FLOAT_CONV || (double)bl_node_float(node, "beta", 1) == 1;
  const bool own = v->f != NULL && v->count == outputs && bl_float_readers(g, node->inputs[2]) == 1;
  return plain && own ? node->inputs[2] : -1;
}

// False where the layer's weights cannot be solved for.
static bool describe(const job *j, const bl_prune_layer *l, target *t) {
  const bl_node *node = &j->graph->nodes[l->node];
  const bool scaled = node->op == BL_FLOAT_GEMM && (double)bl_node_float(node, "alpha", 1) != 1;
  *t = (target){.layer = l, .bias = own_bias(j->graph, node, l->outputs)};
  t->inputs = l->channels * l->taps;
  t->columns = t->inputs + (t->bias >= 0);
  t->step = l->channel_stride < l->tap_stride ? l->channel_stride : l->tap_stride;
  return !scaled && bl_float_readers(j->graph, l->value) == 1;
}

// ---- Moments

// Window number `at` of a group's channels; `map`: one sample's, `dims` its axes behind channels.
static void gather(const target *t, const float *map, const int64_t *dims, size_t group, size_t at,
                   double *row) {
  const bl_window *w = &t->window;
  const size_t channels = t->layer->channels, taps = t->layer->taps;
  int64_t size = 1, origin[3] = {0};
  for (uint32_t k = w->rank; k-- > 0; at /= (size_t)w->out[k]) {
    origin[k] = (int64_t)(at % (size_t)w->out[k]) * w->stride[k] - w->pad_begin[k];
    size *= dims[k];
  }
  for (size_t tap = 0; tap < taps; tap++) {
    size_t left = tap, offset = 0, stride = 1;
    bool inside = true;
    for (uint32_t k = w->rank; k-- > 0; left /= (size_t)w->kernel[k]) {
      const int64_t x = origin[k] + (int64_t)(left % (size_t)w->kernel[k]) * w->dilation[k];
      inside = inside && x >= 0 && x < dims[k];
      if (inside) offset += (size_t)x * stride;
      stride *= (size_t)dims[k];
    }
    for (size_t c = 0; c < channels; c++)
      row[c * taps + tap] =
          inside ? (double)map[(group * channels + c) * (size_t)size + offset] : 0;
  }
}

// Windows of a sample's group, `columns` numbers apart.
static void gather_all(const target *t, const bl_value *in, size_t s, size_t batch, size_t group,
                       uint64_t key, double *rows, size_t columns) {
  const uint64_t pixels = t->layer->pixels;
  const float *data = in->f + s * (in->count / batch);
  for (size_t k = 0; k < MOST_WINDOWS && k < pixels; k++) {
    double *row = rows + k * columns;
    const size_t at = pixels <= MOST_WINDOWS ? k : bl_random_below(bl_random_key(key, k), pixels);
    if (columns > t->inputs) row[t->inputs] = 1;
    if (t->window.rank > 0)
      gather(t, data, in->dims + 2, group, at, row);
    else
      for (size_t i = 0; i < t->inputs; i++)
        row[i] = (double)data[at * t->inputs + i];
  }
}

// `now`, `was`: what the layer reads in sample `s` of a batch of `batch`.
static void add_sample(const target *t, const bl_value *now, const bl_value *was, size_t s,
                       size_t batch, uint64_t key) {
  const uint64_t pixels = t->layer->pixels;
  const blasint windows = pixels < MOST_WINDOWS ? (blasint)pixels : MOST_WINDOWS;
  const blasint columns = (blasint)t->columns, inputs = (blasint)t->inputs;
  for (size_t g = 0; g < t->layer->groups; g++) {
    gather_all(t, now, s, batch, g, key, t->now, t->columns);
    gather_all(t, was, s, batch, g, key, t->was, t->inputs);
    cblas_dsyrk(CblasRowMajor, CblasUpper, CblasTrans, columns, windows, 1, t->now, columns, 1,
                t->moments + g * t->columns * t->columns, columns);
    cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, columns, inputs, windows, 1, t->now,
                columns, t->was, inputs, 1, t->cross + g * t->columns * t->inputs, inputs);
  }
}

static size_t feed(const job *j, bl_float_session *session, uint64_t first) {
  bl_value *in = bl_float_session_input(session, 0);
  const size_t batch = in->count / j->data->elements;
  const size_t count = j->samples - first < batch ? (size_t)(j->samples - first) : batch;
  memset(in->f, 0, in->count * sizeof *in->f);
  memcpy(in->f, j->data->values + first * j->data->elements,
         count * j->data->elements * sizeof *in->f);
  return count;
}

static bl_status run_samples(const job *j, const target *t, bl_float_session *now,
                             bl_float_session *was) {
  const int32_t reads = j->graph->nodes[t->layer->node].inputs[0];
  const size_t batch = bl_float_session_input(now, 0)->count / j->data->elements;
  for (uint64_t first = 0; first < j->samples; first += batch) {
    const size_t count = feed(j, now, first);
    (void)feed(j, was, first);
    BL_TRY(bl_float_session_run(now, j->err));
    BL_TRY(bl_float_session_run(was, j->err));
    for (size_t s = 0; s < count; s++)
      add_sample(t, bl_float_session_value(now, reads), bl_float_session_value(was, reads), s,
                 batch, bl_random_key(t->layer->node, first + s));
  }
  return BL_OK;
}

static bl_status gather_moments(const job *j, const target *t) {
  bl_float_session *now, *was;
  BL_TRY(bl_float_session_open(j->graph, &now, j->err));
  bl_status status = bl_float_session_open(j->original, &was, j->err);
  if (status == BL_OK) {
    status = run_samples(j, t, now, was);
    bl_float_session_close(was);
  }
  bl_float_session_close(now);
  return status;
}

// ---- Rows

typedef struct {
  double *h, *right; // [kept][kept]; [rows][kept]
  size_t *kept;      // columns that are
  size_t kept_count;
} system_of;

static size_t weight_at(const target *t, size_t n, size_t k) {
  return n * t->layer->output_stride + k * t->step;
}

static bool same_mask(const target *t, size_t a, size_t b) {
  for (size_t k = 0; k < t->inputs; k++)
    if (t->layer->mask[weight_at(t, a, k)] != t->layer->mask[weight_at(t, b, k)]) return false;
  return true;
}

static double moment(const double *h, size_t columns, size_t i, size_t k) {
  return i <= k ? h[i * columns + k] : h[k * columns + i];
}

// Rows n0 .. n1-1 have one mask: (H_SS + d) v = C_S w + d w_S. The bias, 0 in w, is its change.
static void fill_system(const job *j, const target *t, size_t n0, size_t n1, system_of *s) {
  const bl_prune_layer *l = t->layer;
  const float *w = j->graph->values[l->value].f;
  const size_t group = n0 / (l->outputs / l->groups);
  const double *h = t->moments + group * t->columns * t->columns;
  const double *cross = t->cross + group * t->columns * t->inputs;
  double damping = 0;
  s->kept_count = 0;
  for (size_t k = 0; k < t->columns; k++) {
    if (k < t->inputs) damping += DAMPING * h[k * t->columns + k] / (double)t->inputs;
    if (k >= t->inputs || l->mask[weight_at(t, n0, k)] != 0) s->kept[s->kept_count++] = k;
  }
  if (!(damping > 0)) damping = 1;
  for (size_t a = 0; a < s->kept_count; a++) {
    for (size_t b = 0; b <= a; b++)
      s->h[a * s->kept_count + b] = moment(h, t->columns, s->kept[a], s->kept[b]);
    s->h[a * s->kept_count + a] += s->kept[a] < t->inputs ? damping : 0;
  }
  for (size_t n = n0; n < n1; n++)
    for (size_t a = 0; a < s->kept_count; a++) {
      const size_t k = s->kept[a];
      double sum = k < t->inputs ? damping * (double)w[weight_at(t, n, k)] : 0;
      for (size_t i = 0; i < t->inputs; i++)
        sum += cross[k * t->inputs + i] * (double)w[weight_at(t, n, i)];
      s->right[(n - n0) * s->kept_count + a] = sum;
    }
}

static bl_status solve_rows(const job *j, const target *t, size_t n0, size_t n1, system_of *s) {
  const bl_prune_layer *l = t->layer;
  float *w = j->graph->values[l->value].f;
  fill_system(j, t, n0, n1, s);
  // Lower by rows is upper by columns.
  if (s->kept_count > 0 &&
      LAPACKE_dposv(LAPACK_COL_MAJOR, 'U', (lapack_int)s->kept_count, (lapack_int)(n1 - n0), s->h,
                    (lapack_int)s->kept_count, s->right, (lapack_int)s->kept_count) != 0)
    return bl_fail(j->err, BL_ERR_RANGE, "pruning: layer %s: its inputs are not finite", l->name);
  for (size_t n = n0; n < n1; n++) {
    for (size_t k = 0; k < t->inputs; k++)
      w[weight_at(t, n, k)] = 0;
    for (size_t a = 0; a < s->kept_count; a++) {
      const double v = s->right[(n - n0) * s->kept_count + a];
      if (s->kept[a] < t->inputs)
        w[weight_at(t, n, s->kept[a])] = (float)v;
      else
        j->graph->values[t->bias].f[n] += (float)v;
    }
  }
  return BL_OK;
}

static bl_status solve_target(const job *j, const target *t) {
  const size_t outputs = t->layer->outputs, group = outputs / t->layer->groups;
  system_of s = {.h = calloc(t->columns * t->columns, sizeof *s.h),
                 .right = calloc(outputs * t->columns, sizeof *s.right),
                 .kept = calloc(t->columns, sizeof *s.kept)};
  bl_status status = s.h == NULL || s.right == NULL || s.kept == NULL ? no_memory(j) : BL_OK;
  for (size_t n0 = 0, n1; n0 < outputs && status == BL_OK; n0 = n1) {
    for (n1 = n0 + 1; n1 < outputs && n1 % group != 0 && same_mask(t, n0, n1);)
      n1++;
    status = solve_rows(j, t, n0, n1, &s);
  }
  free(s.h);
  free(s.right);
  free(s.kept);
  return status;
}

static bl_status reconstruct_layer(const job *j, target *t) {
  const bl_node *node = &j->graph->nodes[t->layer->node];
  const size_t groups = t->layer->groups;
  bl_arena *arena = bl_arena_new(MOST_BYTES);
  if (arena == NULL) return no_memory(j);
  t->moments = bl_arena_alloc(arena, groups * t->columns * t->columns, sizeof(double));
  t->cross = bl_arena_alloc(arena, groups * t->columns * t->inputs, sizeof(double));
  t->now = bl_arena_alloc(arena, MOST_WINDOWS * t->columns, sizeof(double));
  t->was = bl_arena_alloc(arena, MOST_WINDOWS * t->inputs, sizeof(double));
  bl_status status = BL_OK;
  if (t->moments == NULL || t->cross == NULL || t->now == NULL || t->was == NULL)
    status = no_memory(j);
  if (status == BL_OK && node->op == BL_FLOAT_CONV)
    status = bl_node_window(j->graph, node, &t->window, j->err);
  if (status == BL_OK) status = gather_moments(j, t);
  if (status == BL_OK) status = solve_target(j, t);
  bl_arena_free(arena);
  return status;
}

// From the first layer on that loses weights; what is pruned where nothing is solved is set to 0
// before anything behind it runs.
static bl_status reconstruct(const job *j) {
  bool begun = false;
  for (uint32_t k = 0; k < j->prune->count; k++) {
    const bl_prune_layer *l = &j->prune->layers[k];
    const bl_value *w = bl_prune_weights(l, j->graph, j->err);
    target t;
    if (w == NULL) return BL_ERR_MISMATCH;
    begun = begun || loses(l, w);
    if (begun && describe(j, l, &t)) BL_TRY(reconstruct_layer(j, &t));
    for (size_t i = 0; i < l->count; i++)
      if (l->mask[i] == 0) w->f[i] = 0;
  }
  return BL_OK;
}

bl_status bl_prune_reconstruct(const bl_prune *prune, bl_float_graph *graph,
                               const bl_train_data *data, uint64_t samples, bl_error *err) {
  job j = {.prune = prune,
           .graph = graph,
           .data = data,
           .samples = samples < data->count ? samples : data->count,
           .err = err};
  if (j.samples == 0 || graph->input_count != 1 || data->elements == 0 ||
      graph->values[graph->inputs[0]].count % data->elements != 0)
    return bl_fail(err, BL_ERR_USAGE,
                   "pruning: no samples to reconstruct with, or of another size than the input");
  openblas_set_num_threads(1);
  BL_TRY(bl_float_copy(graph, 0, &j.original, err));
  const bl_status status = reconstruct(&j);
  bl_float_graph_free(j.original);
  return status;
}

void bl_channels_masks(const bl_channels *channels, bl_prune *prune) {
  for (uint32_t u = 0; u < channels->use_count; u++) {
    const bl_channel_use *use = &channels->uses[u];
    for (uint32_t k = 0; use->kind == BL_CHANNEL_READER && k < prune->count; k++) {
      bl_prune_layer *l = &prune->layers[k];
      const size_t inputs = l->channels * l->taps, each = inputs / use->count;
      const size_t step = l->channel_stride < l->tap_stride ? l->channel_stride : l->tap_stride;
      if (l->value != use->value) continue;
      for (size_t n = 0; n < l->outputs; n++)
        for (size_t i = 0; i < inputs; i++)
          if (use->ids[i / each] >= 0 && channels->keep[use->ids[i / each]] == 0)
            l->mask[n * l->output_stride + i * step] = 0;
    }
  }
}
