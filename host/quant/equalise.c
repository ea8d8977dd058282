// SPDX-License-Identifier: Apache-2.0
#include "host/quant/equalise.h"

#include <math.h>
#include <stdlib.h>

enum { MOST_PASSES = 40 };
#define SETTLED 1e-4 // change of a factor

// Two convolutions with c channels between them, and the normalisation behind the first (or NULL).
typedef struct {
  const bl_node *first, *norm, *second;
} pair;

// The only node that reads a value; NULL: none, several, or the graph's output.
static const bl_node *only_reader(const bl_float_graph *g, int32_t value) {
  const bl_node *reader = NULL;
  uint32_t count = 0;
  for (uint32_t n = 0; n < g->node_count; n++)
    for (uint32_t k = 0; k < g->nodes[n].input_count; k++) {
      if (g->nodes[n].inputs[k] != value) continue;
      reader = &g->nodes[n];
      count++;
    }
  for (uint32_t k = 0; k < g->output_count; k++)
    count += g->outputs[k] == value;
  return count == 1 ? reader : NULL;
}

// A constant operand that is this node's alone; NULL where it is not, or absent.
static bl_value *own_constant(const bl_float_graph *g, const bl_node *node, uint32_t k) {
  if (k >= node->input_count || node->inputs[k] < 0) return NULL;
  bl_value *v = &g->values[node->inputs[k]];
  return v->f != NULL && only_reader(g, node->inputs[k]) == node ? v : NULL;
}

static bool has_input(const bl_node *node, uint32_t k) {
  return k < node->input_count && node->inputs[k] >= 0;
}

static bool is_convolution(const bl_float_graph *g, const bl_node *node) {
  return node != NULL && node->op == BL_FLOAT_CONV && own_constant(g, node, 1) != NULL &&
         (!has_input(node, 2) || own_constant(g, node, 2) != NULL);
}

static bool find_pair(const bl_float_graph *g, const bl_node *first, pair *p) {
  *p = (pair){.first = first};
  if (!is_convolution(g, first)) return false;
  const bl_node *next = only_reader(g, first->outputs[0]);
  if (next != NULL && next->op == BL_FLOAT_BATCH_NORM) {
    p->norm = next;
    for (uint32_t k = 1; k < 3; k++)
      if (own_constant(g, next, k) == NULL) return false;
    if (!has_input(next, 4) || g->values[next->inputs[4]].f == NULL) return false;
    next = only_reader(g, next->outputs[0]);
  }
  if (next != NULL && next->op == BL_FLOAT_RELU) next = only_reader(g, next->outputs[0]);
  p->second = next;
  return is_convolution(g, next);
}

// The input channel that entry i of a convolution's weights is multiplied with.
static size_t channel_of(const bl_node *node, const bl_value *w, size_t i) {
  const size_t groups = (size_t)bl_node_int(node, "group", 1);
  const size_t own = (size_t)w->dims[1], filter = w->count / (size_t)w->dims[0];
  const size_t taps = filter / own, group = i / filter / ((size_t)w->dims[0] / groups);
  return group * own + i % filter / taps;
}

// What the normalisation multiplies channel c with.
static double gain_of(const bl_float_graph *g, const pair *p, size_t c) {
  if (p->norm == NULL) return 1;
  const double variance = (double)g->values[p->norm->inputs[4]].f[c];
  const double epsilon = (double)bl_node_float(p->norm, "epsilon", 1e-5f);
  return (double)g->values[p->norm->inputs[1]].f[c] / sqrt(variance + epsilon);
}

// The largest weights of each input channel of a convolution.
static void input_ranges(const bl_float_graph *g, const bl_node *node, size_t channels,
                         double *ranges) {
  const bl_value *w = &g->values[node->inputs[1]];
  for (size_t c = 0; c < channels; c++)
    ranges[c] = 0;
  for (size_t i = 0; i < w->count; i++) {
    const size_t c = channel_of(node, w, i);
    ranges[c] = fmax(ranges[c], fabs((double)w->f[i]));
  }
}

// The same of each output channel of the first, with what the normalisation makes of it.
static void output_ranges(const bl_float_graph *g, const pair *p, size_t channels, double *ranges) {
  const bl_value *w = &g->values[p->first->inputs[1]];
  for (size_t c = 0; c < channels; c++)
    ranges[c] = 0;
  for (size_t i = 0; i < w->count; i++) {
    const size_t c = i / (w->count / channels);
    ranges[c] = fmax(ranges[c], fabs((double)w->f[i] * gain_of(g, p, c)));
  }
}

static void divide(bl_value *v, size_t channels, const double *factors) {
  for (size_t i = 0; i < v->count; i++)
    v->f[i] = (float)((double)v->f[i] / factors[i / (v->count / channels)]);
}

// Divides the channels between two convolutions.
static void rescale(const bl_float_graph *g, const pair *p, size_t channels,
                    const double *factors) {
  const bl_node *scaled = p->norm != NULL ? p->norm : p->first;
  divide(&g->values[scaled->inputs[1]], channels, factors);
  if (has_input(scaled, 2)) divide(&g->values[scaled->inputs[2]], channels, factors);
  bl_value *b = &g->values[p->second->inputs[1]];
  for (size_t i = 0; i < b->count; i++)
    b->f[i] = (float)((double)b->f[i] * factors[channel_of(p->second, b, i)]);
}

static size_t channels_of(const bl_float_graph *g, const pair *p) {
  return (size_t)g->values[p->first->inputs[1]].dims[0];
}

// ---- By weights

// `room` is [2][channels]. Returns the largest change, as the logarithm of a factor.
static double equalise_pair(const bl_float_graph *g, const pair *p, size_t channels, double *room) {
  double *factors = room, *behind = room + channels, most = 0;
  output_ranges(g, p, channels, factors);
  input_ranges(g, p->second, channels, behind);
  for (size_t c = 0; c < channels; c++) {
    factors[c] = factors[c] > 0 && behind[c] > 0 ? sqrt(factors[c] / behind[c]) : 1;
    most = fmax(most, fabs(log(factors[c])));
  }
  rescale(g, p, channels, factors);
  return most;
}

bl_status bl_equalise(bl_float_graph *g, uint32_t *pairs, bl_error *err) {
  double most = INFINITY;
  for (int pass = 0; pass < MOST_PASSES && most > SETTLED; pass++) {
    most = 0;
    *pairs = 0;
    for (uint32_t n = 0; n < g->node_count; n++) {
      pair p;
      if (!find_pair(g, &g->nodes[n], &p)) continue;
      const size_t channels = channels_of(g, &p);
      double *room = calloc(2 * channels, sizeof *room);
      if (room == NULL) return bl_fail(err, BL_ERR_MEMORY, "equalise: no memory for ranges");
      most = fmax(most, equalise_pair(g, &p, channels, room));
      free(room);
      ++*pairs;
    }
  }
  return BL_OK;
}

// ---- By activations

typedef struct {
  pair *pairs;
  double **ranges; // [count][channels] largest magnitudes of what the second convolution reads
  uint32_t count;
} smoothing;

static bl_status find_pairs(const bl_float_graph *g, smoothing *s, bl_error *err) {
  s->pairs = calloc((size_t)g->node_count + 1, sizeof *s->pairs);
  s->ranges = calloc((size_t)g->node_count + 1, sizeof *s->ranges);
  bool ok = s->pairs != NULL && s->ranges != NULL;
  for (uint32_t n = 0; ok && n < g->node_count; n++) {
    pair p;
    if (!find_pair(g, &g->nodes[n], &p)) continue;
    s->pairs[s->count] = p;
    s->ranges[s->count] = calloc(2 * channels_of(g, &p), sizeof **s->ranges);
    ok = s->ranges[s->count++] != NULL;
  }
  return ok ? BL_OK : bl_fail(err, BL_ERR_MEMORY, "smooth: no memory for ranges");
}

static void observe(const bl_float_graph *g, const bl_float_session *session, const smoothing *s) {
  for (uint32_t k = 0; k < s->count; k++) {
    const bl_value *v = bl_float_session_value(session, s->pairs[k].second->inputs[0]);
    const size_t channels = channels_of(g, &s->pairs[k]), area = v->count / channels;
    for (size_t i = 0; i < v->count; i++)
      s->ranges[k][i / area] = fmax(s->ranges[k][i / area], fabs((double)v->f[i]));
  }
}

static bl_status observe_all(const bl_float_graph *g, const bl_calibration *calibration,
                             const smoothing *s, bl_error *err) {
  bl_float_session *session = NULL;
  bl_status status = bl_float_session_open(g, &session, err);
  for (size_t i = 0; status == BL_OK && i < calibration->count; i++) {
    status = calibration->read(calibration->context, i, bl_float_session_input(session, 0)->f, err);
    if (status == BL_OK) status = bl_float_session_run(session, err);
    if (status == BL_OK) observe(g, session, s);
  }
  bl_float_session_close(session);
  return status;
}

static void smooth_pair(const bl_float_graph *g, const pair *p, double alpha, double *ranges) {
  const size_t channels = channels_of(g, p);
  double *weights = ranges + channels;
  input_ranges(g, p->second, channels, weights);
  for (size_t c = 0; c < channels; c++)
    ranges[c] =
        ranges[c] > 0 && weights[c] > 0 ? pow(ranges[c], alpha) / pow(weights[c], 1 - alpha) : 1;
  rescale(g, p, channels, ranges);
}

bl_status bl_smooth(bl_float_graph *g, double alpha, const bl_calibration *calibration,
                    uint32_t *pairs, bl_error *err) {
  if (!(alpha >= 0 && alpha <= 1))
    return bl_fail(err, BL_ERR_USAGE, "smooth: alpha is %g; it is 0 to 1", alpha);
  if (calibration == NULL || calibration->count == 0)
    return bl_fail(err, BL_ERR_USAGE, "smooth: the sizes of activations need calibration data");
  smoothing s = {0};
  bl_status status = find_pairs(g, &s, err);
  if (status == BL_OK) status = observe_all(g, calibration, &s, err);
  for (uint32_t k = 0; k < s.count; k++) {
    if (status == BL_OK) smooth_pair(g, &s.pairs[k], alpha, s.ranges[k]);
    free(s.ranges[k]);
  }
  *pairs = s.count;
  free(s.pairs);
  free(s.ranges);
  return status;
}
