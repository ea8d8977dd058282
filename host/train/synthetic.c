// SPDX-License-Identifier: Apache-2.0
#include "host/train/synthetic.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/random.h"
#include "host/graph/float_edit.h"
#include "host/train/train_net.h"

enum { BATCH = 32, ITERATIONS = 150 };
#define RATE 0.1
#define BETA1 0.9
#define BETA2 0.999
#define EPSILON 1e-8

typedef struct {
  bl_synthetic_options options;
  bl_float_graph *graph; // with the batch
  bl_train_net *net;
  const bl_node **norms; // [norm_count] whose first inputs are the net's outputs
  int32_t *inputs;
  uint32_t norm_count;
  size_t elements; // of a batch
  double *m1, *m2; // [elements] Adam's
  bl_error *err;
} making;

static bl_status no_memory(bl_error *err) {
  return bl_fail(err, BL_ERR_MEMORY, "synthetic samples: no memory");
}

static bl_status find_norms(making *m) {
  const bl_float_graph *g = m->graph;
  m->norms = calloc((size_t)g->node_count + 1, sizeof(const bl_node *));
  m->inputs = calloc((size_t)g->node_count + 1, sizeof *m->inputs);
  if (m->norms == NULL || m->inputs == NULL) return no_memory(m->err);
  for (uint32_t n = 0; n < g->node_count; n++) {
    const bl_node *node = &g->nodes[n];
    if (node->op != BL_FLOAT_BATCH_NORM) continue;
    m->norms[m->norm_count] = node;
    m->inputs[m->norm_count++] = node->inputs[0];
  }
  if (m->norm_count == 0)
    return bl_fail(m->err, BL_ERR_UNSUPPORTED,
                   "%s: no batch normalisation says what its values are like; give calibration "
                   "data",
                   g->name);
  return BL_OK;
}

static bl_status open_net(making *m, const bl_float_graph *graph) {
  if (graph->input_count != 1)
    return bl_fail(m->err, BL_ERR_UNSUPPORTED, "%s: synthetic samples need a graph of one input",
                   graph->name);
  BL_TRY(bl_float_copy(graph, m->options.batch, &m->graph, m->err));
  BL_TRY(find_norms(m));
  const bl_train_options options = {.outputs = m->inputs,
                                    .output_count = m->norm_count,
                                    .input_gradients = true,
                                    .fixed_statistics = true};
  BL_TRY(bl_train_open(m->graph, &options, &m->net, m->err));
  m->elements = m->graph->values[m->graph->inputs[0]].count;
  m->m1 = calloc(m->elements, sizeof *m->m1);
  m->m2 = calloc(m->elements, sizeof *m->m2);
  return m->m1 == NULL || m->m2 == NULL ? no_memory(m->err) : BL_OK;
}

// A channel of what norm k reads.
typedef struct {
  const float *x;
  size_t images, channels, area, channel;
} channel;

static size_t at(const channel *c, size_t i) {
  return (i / c->area * c->channels + c->channel) * c->area + i % c->area;
}

static void moments_of(const channel *c, double *mean, double *deviation) {
  const size_t count = c->images * c->area;
  double sum = 0, square = 0;
  for (size_t i = 0; i < count; i++)
    sum += (double)c->x[at(c, i)];
  *mean = sum / (double)count;
  for (size_t i = 0; i < count; i++)
    square += pow((double)c->x[at(c, i)] - *mean, 2);
  *deviation = sqrt(square / (double)count);
}

// Distance of norm k's input from what is stored, and its gradient.
static double distance(making *m, uint32_t k) {
  const bl_float_graph *g = m->graph;
  const bl_node *norm = m->norms[k];
  const bl_value *x = &g->values[norm->inputs[0]];
  const bl_value *means = &g->values[norm->inputs[3]], *variances = &g->values[norm->inputs[4]];
  const double epsilon = (double)bl_node_float(norm, "epsilon", 1e-5f);
  channel c = {
      .x = bl_train_output(m->net, k), .images = (size_t)x->dims[0], .channels = means->count};
  c.area = x->count / c.images / c.channels;
  float *gradient = bl_train_output_gradient(m->net, k);
  const double all = (double)c.channels * m->norm_count, count = (double)(c.images * c.area);
  double sum = 0;
  for (c.channel = 0; c.channel < c.channels; c.channel++) {
    const double variance = (double)variances->f[c.channel] + epsilon, wanted = sqrt(variance);
    double mean, deviation;
    moments_of(&c, &mean, &deviation);
    const double off = mean - (double)means->f[c.channel], wide = deviation - wanted;
    sum += (off * off + wide * wide) / variance / all;
    const double unit = 2 / (variance * all * count);
    for (size_t i = 0; i < c.images * c.area; i++) {
      const double apart = (double)c.x[at(&c, i)] - mean;
      gradient[at(&c, i)] = (float)(unit * (off + wide * apart / fmax(deviation, EPSILON)));
    }
  }
  return sum;
}

static bl_status measure(making *m, double *sum) {
  BL_TRY(bl_train_forward(m->net, true, 0, m->err));
  *sum = 0;
  for (uint32_t k = 0; k < m->norm_count; k++)
    *sum += distance(m, k);
  if (!isfinite(*sum))
    return bl_fail(m->err, BL_ERR_RANGE, "%s: synthetic samples are not finite; lower the rate",
                   m->graph->name);
  return BL_OK;
}

// A step of Adam; the rate falls by half a cosine.
static void step(making *m, uint32_t iteration) {
  float *x = bl_train_input(m->net, 0);
  const float *gradient = bl_train_input_gradient(m->net, 0);
  const double rate = 0.5 * m->options.rate * m->options.deviation *
                      (1 + cos(acos(-1.0) * iteration / m->options.iterations));
  const double warm1 = 1 - pow(BETA1, iteration + 1.0), warm2 = 1 - pow(BETA2, iteration + 1.0);
  // gradients are small numbers: of a mean over everything
  const double scale = (double)m->elements;
  for (size_t i = 0; i < m->elements; i++) {
    const double g = scale * (double)gradient[i];
    m->m1[i] = BETA1 * m->m1[i] + (1 - BETA1) * g;
    m->m2[i] = BETA2 * m->m2[i] + (1 - BETA2) * g * g;
    x[i] -= (float)(rate * (m->m1[i] / warm1) / (sqrt(m->m2[i] / warm2) + EPSILON));
  }
}

static bl_status make_batch(making *m, uint32_t batch, float *samples,
                            bl_synthetic_result *result) {
  const bl_synthetic_options *o = &m->options;
  const uint64_t key = bl_random_key(o->seed, batch);
  float *x = bl_train_input(m->net, 0);
  double sum = 0;
  for (size_t i = 0; i < m->elements; i++)
    x[i] = (float)(o->mean + o->deviation * bl_random_normal(bl_random_key(key, i)));
  memset(m->m1, 0, m->elements * sizeof *m->m1);
  memset(m->m2, 0, m->elements * sizeof *m->m2);
  for (uint32_t i = 0; i < o->iterations; i++) {
    BL_TRY(measure(m, &sum));
    if (i == 0) result->first += sum * o->batch / o->count;
    BL_TRY(bl_train_backward(m->net, m->err));
    step(m, i);
  }
  BL_TRY(measure(m, &sum));
  result->last += sum * o->batch / o->count;
  memcpy(samples + batch * m->elements, x, m->elements * sizeof *samples);
  return BL_OK;
}

static bl_status complete(bl_synthetic_options *o, bl_error *err) {
  if (o->batch == 0) o->batch = BATCH;
  if (o->iterations == 0) o->iterations = ITERATIONS;
  if (o->rate == 0) o->rate = RATE;
  if (o->deviation == 0) o->deviation = 1;
  if (o->count == 0 || o->count % o->batch != 0)
    return bl_fail(err, BL_ERR_USAGE, "synthetic samples: %u are no multiple of batches of %u",
                   o->count, o->batch);
  return BL_OK;
}

bl_status bl_synthetic_samples(const bl_float_graph *graph, const bl_synthetic_options *options,
                               float *samples, bl_synthetic_result *result, bl_error *err) {
  making m = {.options = *options, .err = err};
  *result = (bl_synthetic_result){0};
  bl_status status = complete(&m.options, err);
  if (status == BL_OK) status = open_net(&m, graph);
  result->norms = m.norm_count;
  for (uint32_t k = 0; status == BL_OK && k < m.options.count / m.options.batch; k++)
    status = make_batch(&m, k, samples, result);
  bl_train_close(m.net);
  bl_float_graph_free(m.graph);
  free(m.norms);
  free(m.inputs);
  free(m.m1);
  free(m.m2);
  return status;
}
