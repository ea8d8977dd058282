// SPDX-License-Identifier: Apache-2.0
#include "host/quant/replay.h"

#include <math.h>
#include <stdlib.h>

#include "host/base/random.h"
#include "host/ref/reference.h"

static const uint64_t MOST_BYTES = (uint64_t)3 << 30;

static size_t elements_of(const bl_lowered *l, uint32_t tensor) {
  if (tensor == 0) return (size_t)l->in_h * l->in_w * l->in_c;
  const bl_stage *s = &l->stages[tensor - 1];
  return (size_t)s->out_h * s->out_w * s->out_c;
}

// Is a tensor's float value wanted, and is it the network's own (no channels of filling)?
static bool keeps(const bl_quantising *q, uint32_t tensor) {
  if (tensor == 0) return true;
  const bl_lowered *l = &q->lowered;
  const bl_value *v = bl_float_session_value(q->session, l->stages[tensor - 1].value);
  if (v->f == NULL || v->count != elements_of(l, tensor)) return false;
  for (uint32_t k = 0; k < l->stage_count; k++)
    if (bl_refines(&l->stages[k]) &&
        (l->stages[k].input + 1 == (int32_t)tensor || l->stages[k].addend + 1 == (int32_t)tensor))
      return true;
  return false;
}

static bl_status allocate(bl_quantising *q, bl_replay *r) {
  const bl_lowered *l = &q->lowered;
  r->tensors = l->stage_count + 1;
  r->samples = q->calibration->count;
  r->real = calloc(r->tensors, sizeof *r->real);
  r->plain = calloc(r->tensors, sizeof *r->plain);
  r->sorted = calloc(r->samples, sizeof *r->sorted);
  if (r->real == NULL || r->plain == NULL || r->sorted == NULL) return bl_quantise_no_memory(q);
  uint64_t sample = elements_of(l, 0) * (sizeof **r->plain + sizeof **r->real);
  for (uint32_t t = 1; t < r->tensors; t++)
    sample += elements_of(l, t) * (sizeof **r->plain + (keeps(q, t) ? sizeof **r->real : 0));
  if (sample == 0 || r->samples > MOST_BYTES / sample)
    return bl_fail(q->err, BL_ERR_RANGE,
                   "quantise: refining with %zu samples needs more than 3 GiB; calibrate on %zu",
                   r->samples, (size_t)(MOST_BYTES / (sample + 1)));
  for (uint32_t t = 0; t < r->tensors; t++) {
    if (!keeps(q, t)) continue;
    r->real[t] = calloc(r->samples, elements_of(l, t) * sizeof **r->real);
    if (r->real[t] == NULL) return bl_quantise_no_memory(q);
  }
  return BL_OK;
}

// One value of the float network, as x*mul + add, to row, column, channel.
static bl_status keep(const bl_quantising *q, const bl_value *v, uint32_t channels,
                      bool channels_last, float *out) {
  const size_t area = v->count / channels;
  const bool input = v == bl_float_session_value(q->session, q->source->inputs[0]);
  const double mul = input ? q->lowered.input_mul : 1, add = input ? q->lowered.input_add : 0;
  for (size_t pixel = 0; pixel < area; pixel++)
    for (size_t c = 0; c < channels; c++) {
      const float x = v->f[channels_last ? pixel * channels + c : c * area + pixel];
      if (!isfinite(x))
        return bl_fail(q->err, BL_ERR_FORMAT, "calibration: an activation is not finite");
      out[pixel * channels + c] = (float)((double)x * mul + add);
    }
  return BL_OK;
}

static bl_status keep_sample(const bl_quantising *q, const bl_replay *r, size_t sample) {
  const bl_lowered *l = &q->lowered;
  for (uint32_t t = 0; t < r->tensors; t++) {
    if (r->real[t] == NULL) continue;
    float *out = r->real[t] + sample * elements_of(l, t);
    const bl_stage *s = t == 0 ? NULL : &l->stages[t - 1];
    const int32_t value = s == NULL ? q->source->inputs[0] : s->value;
    BL_TRY(keep(q, bl_float_session_value(q->session, value), s == NULL ? l->in_c : s->out_c,
                s == NULL ? l->input_channels_last : s->channels_last, out));
  }
  return BL_OK;
}

bl_status bl_replay_open(bl_quantising *q, bl_replay **replay) {
  if (q->calibration == NULL || q->calibration->count == 0)
    return bl_fail(q->err, BL_ERR_USAGE, "quantise: refinement needs calibration data (--calib)");
  bl_replay *r = *replay = calloc(1, sizeof *r);
  if (r == NULL) return bl_quantise_no_memory(q);
  BL_TRY(allocate(q, r));
  bl_value *in = bl_float_session_input(q->session, 0);
  for (size_t i = 0; i < r->samples; i++) {
    BL_TRY(q->calibration->read(q->calibration->context, i, in->f, q->err));
    BL_TRY(bl_float_session_run(q->session, q->err));
    BL_TRY(keep_sample(q, r, i));
  }
  return BL_OK;
}

void bl_replay_close(bl_replay *r) {
  if (r == NULL) return;
  for (uint32_t t = 0; t < r->tensors; t++) {
    if (r->real != NULL) free(r->real[t]);
    if (r->plain != NULL) free(r->plain[t]);
  }
  free(r->sorted);
  free(r->real);
  free(r->plain);
  free(r);
}

static bl_status make_plain(bl_replay *r, const bl_int_graph *graph, uint32_t tensor,
                            bl_error *err) {
  if (r->plain[tensor] != NULL) return BL_OK;
  r->plain[tensor] =
      calloc(r->samples, bl_int_elements(&graph->tensors[tensor]) * sizeof **r->plain);
  return r->plain[tensor] != NULL
             ? BL_OK
             : bl_fail(err, BL_ERR_MEMORY, "quantise: no memory for activations");
}

typedef struct {
  uint64_t key;
  size_t sample;
} keyed;

static int by_key(const void *a, const void *b) {
  const keyed *x = a, *y = b;
  if (x->key != y->key) return x->key < y->key ? -1 : 1;
  return x->sample > y->sample ? 1 : -1;
}

// By a hash of the input; samples of the same hash are taken to be the same.
static bl_status sort_samples(const bl_replay *r, size_t elements, bl_error *err) {
  keyed *all = calloc(r->samples, sizeof *all);
  if (all == NULL) return bl_fail(err, BL_ERR_MEMORY, "quantise: no memory for samples");
  for (size_t i = 0; i < r->samples; i++) {
    all[i].sample = i;
    for (size_t k = 0; k < elements; k++)
      all[i].key = bl_random_key(all[i].key, (uint64_t)r->plain[0][i * elements + k]);
  }
  qsort(all, r->samples, sizeof *all, by_key);
  for (size_t i = 0; i < r->samples; i++)
    r->sorted[i] = all[i].sample;
  free(all);
  return BL_OK;
}

bl_status bl_replay_input(bl_replay *r, const bl_int_graph *graph, bl_error *err) {
  const bl_int_tensor *in = &graph->tensors[0];
  BL_TRY(make_plain(r, graph, 0, err));
  const double lo = bl_format_min(in->format), hi = bl_format_max(in->format);
  for (size_t i = 0; i < r->samples * bl_int_elements(in); i++) {
    const double x = (double)r->real[0][i];
    const double q = fmax(lo, fmin(hi, floor(x / in->scale + 0.5) + in->zero_point));
    r->plain[0][i] = (int16_t)(in->format.kind != BL_FORMAT_B ? q : x >= 0 ? 1 : -1);
  }
  return sort_samples(r, bl_int_elements(in), err);
}

static void widen(const int16_t *from, size_t count, int32_t *to) {
  for (size_t i = 0; i < count; i++)
    to[i] = from[i];
}

// A layer's output, and its place in a concatenation.
static void store(bl_replay *r, const bl_int_graph *graph, uint32_t tensor, size_t sample,
                  const int32_t *from) {
  const bl_int_tensor *t = &graph->tensors[tensor], *all = &graph->tensors[t->parent];
  const size_t count = bl_int_elements(t);
  for (size_t i = 0; i < count; i++)
    r->plain[tensor][sample * count + i] = (int16_t)from[i];
  if (t->parent == 0) return;
  int16_t *to = r->plain[t->parent] + sample * bl_int_elements(all) + t->parent_channel;
  for (size_t pixel = 0; pixel < (size_t)t->h * t->w; pixel++)
    for (uint32_t c = 0; c < t->c; c++)
      to[pixel * all->c + c] = (int16_t)from[pixel * t->c + c];
}

bl_status bl_replay_layer(bl_replay *r, const bl_int_graph *graph, const bl_int_layer *layer,
                          bl_error *err) {
  const bl_int_tensor *out = &graph->tensors[layer->output];
  if (out->format.kind == BL_FORMAT_ACC) return BL_OK;
  const size_t in_count = bl_int_elements(&graph->tensors[layer->input]);
  const bool adds = layer->addend_weight != NULL;
  const size_t addend_count = adds ? bl_int_elements(&graph->tensors[layer->addend]) : 0;
  BL_TRY(make_plain(r, graph, layer->output, err));
  if (out->parent != 0) BL_TRY(make_plain(r, graph, out->parent, err));
  int32_t *in = calloc(in_count, sizeof *in), *addend = calloc(addend_count + 1, sizeof *addend),
          *made = calloc(bl_int_elements(out), sizeof *made);
  bl_status status = BL_OK;
  if (in == NULL || addend == NULL || made == NULL)
    status = bl_fail(err, BL_ERR_MEMORY, "layer %s: no memory for its activations", layer->name);
  for (size_t i = 0; i < r->samples && status == BL_OK; i++) {
    widen(r->plain[layer->input] + i * in_count, in_count, in);
    if (adds) widen(r->plain[layer->addend] + i * addend_count, addend_count, addend);
    status = bl_reference_layer(graph, layer, in, adds ? addend : NULL, made, err);
    if (status == BL_OK) store(r, graph, layer->output, i, made);
  }
  free(in);
  free(addend);
  free(made);
  return status;
}
