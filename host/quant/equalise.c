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

// The factors [channels] that the first convolution's channels are divided by.
static void find_factors(const bl_float_graph *g, const pair *p, size_t channels, double *ranges,
                         double *factors) {
  const bl_value *a = &g->values[p->first->inputs[1]], *b = &g->values[p->second->inputs[1]];
  double *before = ranges, *behind = ranges + channels;
  for (size_t c = 0; c < 2 * channels; c++)
    ranges[c] = 0;
  for (size_t i = 0; i < a->count; i++) {
    const size_t c = i / (a->count / channels);
    before[c] = fmax(before[c], fabs((double)a->f[i] * gain_of(g, p, c)));
  }
  for (size_t i = 0; i < b->count; i++) {
    const size_t c = channel_of(p->second, b, i);
    behind[c] = fmax(behind[c], fabs((double)b->f[i]));
  }
  for (size_t c = 0; c < channels; c++)
    factors[c] = before[c] > 0 && behind[c] > 0 ? sqrt(before[c] / behind[c]) : 1;
}

static void divide(bl_value *v, size_t channels, const double *factors) {
  for (size_t i = 0; i < v->count; i++)
    v->f[i] = (float)((double)v->f[i] / factors[i / (v->count / channels)]);
}

// Returns the largest change, as the logarithm of a factor.
static double equalise_pair(const bl_float_graph *g, const pair *p, size_t channels,
                            double *ranges) {
  double *factors = ranges + 2 * channels, most = 0;
  find_factors(g, p, channels, ranges, factors);
  const bl_node *scaled = p->norm != NULL ? p->norm : p->first;
  divide(&g->values[scaled->inputs[1]], channels, factors);
  if (has_input(scaled, 2)) divide(&g->values[scaled->inputs[2]], channels, factors);
  bl_value *b = &g->values[p->second->inputs[1]];
  for (size_t i = 0; i < b->count; i++)
    b->f[i] = (float)((double)b->f[i] * factors[channel_of(p->second, b, i)]);
  for (size_t c = 0; c < channels; c++)
    most = fmax(most, fabs(log(factors[c])));
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
      const size_t channels = (size_t)g->values[p.first->inputs[1]].dims[0];
      double *ranges = calloc(3 * channels, sizeof *ranges);
      if (ranges == NULL) return bl_fail(err, BL_ERR_MEMORY, "equalise: no memory for ranges");
      most = fmax(most, equalise_pair(g, &p, channels, ranges));
      free(ranges);
      ++*pairs;
    }
  }
  return BL_OK;
}
