// SPDX-License-Identifier: Apache-2.0
// Held-out samples over the float network, once, and over candidates, on the functional device.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "host/cost/cost.h"
#include "host/float/session.h"
#include "host/run/real_output.h"
#include "host/search/candidate_internal.h"
#include "host/search/integer_run.h"

static const double HIGHEST_SQNR = 200; // dB, of outputs without an error

static bl_status no_memory(bl_error *err) {
  return bl_fail(err, BL_ERR_MEMORY, "search: no memory for the samples");
}

// ---- The float network

// Maps come as channel, row, column and are kept as row, column, channel.
static void keep_output(const bl_value *value, float *out) {
  const bool map = value->rank == 4;
  const size_t channels = map ? (size_t)value->dims[1] : value->count;
  const size_t pixels = value->count / channels;
  for (size_t c = 0; c < channels; c++)
    for (size_t p = 0; p < pixels; p++)
      out[p * channels + c] = value->f[c * pixels + p];
}

static size_t largest(const float *values, size_t count) {
  size_t best = 0;
  for (size_t k = 1; k < count; k++)
    if (values[k] > values[best]) best = k;
  return best;
}

static bl_status run_float(bl_candidates *c, bl_float_session *session, bl_error *err) {
  const bl_train_data *data = c->source.held_out;
  const bl_float_graph *graph = c->source.graph;
  bl_value *in = bl_float_session_input(session, 0);
  size_t correct = 0;
  if (in->count != data->elements)
    return bl_fail(err, BL_ERR_FORMAT, "samples have %zu values, the network takes %zu",
                   data->elements, in->count);
  for (size_t k = 0; k < data->count; k++) {
    memcpy(in->f, data->values + k * data->elements, data->elements * sizeof *in->f);
    BL_TRY(bl_float_session_run(session, err));
    const bl_value *out = bl_float_session_value(session, graph->outputs[0]);
    if (c->outputs == NULL) {
      c->out_elements = out->count;
      c->outputs = bl_arena_alloc(c->arena, data->count * out->count, sizeof *c->outputs);
      if (c->outputs == NULL || out->count == 0 || out->type != BL_TYPE_FLOAT)
        return no_memory(err);
    }
    keep_output(out, c->outputs + k * c->out_elements);
    if (data->has_labels)
      correct +=
          largest(c->outputs + k * c->out_elements, c->out_elements) == (size_t)data->labels[k];
  }
  c->float_accuracy = data->has_labels ? (double)correct / (double)data->count : -1;
  return BL_OK;
}

bl_status bl_candidate_answers(bl_candidates *c, bl_error *err) {
  bl_float_session *session;
  if (c->source.held_out == NULL || c->source.held_out->count == 0)
    return bl_fail(err, BL_ERR_USAGE, "search: needs held-out samples to judge by");
  BL_TRY(bl_float_session_open(c->source.graph, &session, err));
  bl_status status = run_float(c, session, err);
  bl_float_session_close(session);
  return status;
}

// ---- A candidate

typedef struct {
  const bl_candidates *c;
  const bl_made *made;
  float *values;           // of one image
  double *expected, *seen; // [out_elements] as probabilities
  size_t correct;
  double divergence, signal, noise;
} running;

static void softmax(double *values, size_t count) {
  double most = -INFINITY, sum = 0;
  for (size_t k = 0; k < count; k++)
    most = fmax(most, values[k]);
  for (size_t k = 0; k < count; k++)
    sum += values[k] = exp(values[k] - most);
  for (size_t k = 0; k < count; k++)
    values[k] /= sum;
}

// Divergence of an answer's probabilities from the float network's; sums of signal and noise.
static void judge(void *user, size_t index, const int32_t *out) {
  running *r = user;
  const bl_int_graph *g = r->made->quantised.graph;
  const bl_lower_suffix suffix = r->made->quantised.suffix;
  const float *wanted = r->c->outputs + index * r->c->out_elements;
  const size_t count = r->c->out_elements;
  static const bl_suffix suffixes[] = {[BL_LOWER_PLAIN] = BL_SUFFIX_NONE,
                                       [BL_LOWER_SOFTMAX] = BL_SUFFIX_SOFTMAX,
                                       [BL_LOWER_SIGMOID] = BL_SUFFIX_SIGMOID};
  bl_output_floats(g, suffixes[suffix], out, r->values);
  for (size_t k = 0; k < count; k++) {
    const double error = (double)r->values[k] - (double)wanted[k];
    r->signal += (double)wanted[k] * (double)wanted[k];
    r->noise += error * error;
    r->expected[k] = (double)wanted[k];
    r->seen[k] = (double)r->values[k];
  }
  if (suffix == BL_LOWER_PLAIN) softmax(r->expected, count);
  if (suffix == BL_LOWER_PLAIN) softmax(r->seen, count);
  for (size_t k = 0; k < count && suffix != BL_LOWER_SIGMOID; k++)
    if (r->expected[k] > 0)
      r->divergence += r->expected[k] * log(r->expected[k] / fmax(r->seen[k], 1e-30));
  const bl_train_data *data = r->c->source.held_out;
  if (data->has_labels) r->correct += bl_output_class(g, out) == (size_t)data->labels[index];
}

static bl_status run_samples(running *r, bl_arena *arena, bl_error *err) {
  const bl_int_graph *g = r->made->quantised.graph;
  const size_t out = bl_int_elements(&g->tensors[g->output]);
  if (out != r->c->out_elements)
    return bl_fail(err, BL_ERR_UNSUPPORTED,
                   "search: the network gives %zu numbers, its integers %zu", r->c->out_elements,
                   out);
  r->values = bl_arena_alloc(arena, out, sizeof *r->values);
  r->expected = bl_arena_alloc(arena, out, sizeof *r->expected);
  r->seen = bl_arena_alloc(arena, out, sizeof *r->seen);
  if (r->values == NULL || r->expected == NULL || r->seen == NULL) return no_memory(err);
  return bl_integer_run(&r->made->quantised, r->made->program, r->c->source.held_out, judge, r,
                        err);
}

static bl_status measure(const bl_candidates *c, const bl_made *made, bl_search_result *result,
                         bl_error *err) {
  running r = {.c = c, .made = made};
  bl_arena *arena = bl_arena_new(512 << 20);
  if (arena == NULL) return no_memory(err);
  const bl_status status = run_samples(&r, arena, err);
  bl_arena_free(arena);
  if (status != BL_OK) return status;
  const bl_train_data *data = c->source.held_out;
  const double samples = (double)data->count, ratio = r.noise / fmax(r.signal, 1e-300);
  const bool classes =
      data->has_labels && c->out_elements > 1 && made->quantised.suffix != BL_LOWER_SIGMOID;
  result->loss = classes ? r.divergence / samples : ratio;
  result->accuracy = data->has_labels ? (double)r.correct / samples : -1;
  result->sqnr = fmin(HIGHEST_SQNR, -10 * log10(fmax(ratio, 1e-300)));
  return BL_OK;
}

static bl_status count_cycles(const bl_made *made, double *cycles, bl_error *err) {
  const uint32_t layers = made->quantised.graph->layer_count;
  bl_cost *costs = calloc(layers, sizeof *costs);
  if (costs == NULL) return no_memory(err);
  bl_status status = bl_cost_layers(made->program, layers, costs, err);
  *cycles = 0;
  for (uint32_t k = 0; k < layers && status == BL_OK; k++)
    *cycles += (double)costs[k].counters[BL_COUNTER_CYCLES] / made->program->images;
  free(costs);
  return status;
}

bl_status bl_candidate_evaluate(void *candidates, const bl_search_plan *plan,
                                bl_search_result *result, bl_error *err) {
  const bl_candidates *c = candidates;
  bl_made made;
  *result = (bl_search_result){.cycles = INFINITY, .loss = INFINITY, .accuracy = 0};
  bl_status status = bl_candidate_make(c, plan, false, &made, err);
  if (status == BL_OK) result->bytes = bl_made_bytes(c, &made, BL_ALL_LAYERS);
  if (status == BL_OK && made.program != NULL) {
    status = count_cycles(&made, &result->cycles, err);
    if (status == BL_OK) status = measure(c, &made, result, err);
  }
  bl_made_free(&made);
  return status;
}
