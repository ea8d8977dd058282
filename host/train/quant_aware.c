// SPDX-License-Identifier: Apache-2.0
// The transforms, their steps, and opening.
#include "host/train/quant_aware.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/train/quant_aware_internal.h"

static const size_t AWARE_CAP = (size_t)1 << 30;
// A learned step stays above this part of its first value.
static const float LEAST_STEP = 1.0F / 1024;
// Beyond these a sum's one operand does not reach the other's first bit.
static const double LEAST_RATIO = 1.0 / 256, MOST_RATIO = 4096;

bl_status bl_quant_no_memory(bl_error *err) {
  return bl_fail(err, BL_ERR_MEMORY, "--bits: no memory for what is quantised");
}

// ---- Steps

static double factor_of(const bl_quant_factor *f, size_t n) {
  const size_t k = f->count == 1 ? 0 : n;
  double a = (double)f->data[k];
  if (f->op == BL_FLOAT_BATCH_NORM) return a / sqrt((double)f->variances[k] + f->epsilon);
  return f->op == BL_FLOAT_DIV ? 1 / a : a;
}

static float learned_step(const bl_quant_point *p, size_t n) {
  return p->learned[n] > LEAST_STEP * p->first[n] ? p->learned[n] : LEAST_STEP * p->first[n];
}

// The nearest number of so many significant bits within the bounds of a ratio.
static double rounded_ratio(double ratio, unsigned bits) {
  int exponent;
  const double part = frexp(fmin(fmax(ratio, LEAST_RATIO), MOST_RATIO), &exponent); // 0.5 .. 1
  return ldexp(rint(ldexp(part, (int)bits)), exponent - (int)bits);
}

static float tied_step(const bl_quant_point *p, size_t n) {
  const double addend = (double)learned_step(p->addend, 0);
  double unit = (double)learned_step(p->in, 0);
  for (uint32_t k = 0; k < p->factor_count; k++)
    unit *= factor_of(&p->factors[k], n);
  const double ratio = p->ratio != NULL
                           ? p->ratio[n]
                           : rounded_ratio(fabs(addend / (unit * (double)learned_step(p, n))),
                                           p->aware->options.ratio_bits);
  const float step = (float)fabs(addend / (unit * ratio));
  return step > 0 && isfinite(step) ? step : p->first[n];
}

void bl_quant_steps(const bl_quant_point *point, const float *x, size_t count, float *step) {
  if (point->quant.mean_step) {
    bl_fake_quant_means(&point->quant, x, count, step);
    return;
  }
  for (size_t n = 0; n < point->quant.channels; n++)
    step[n] = point->addend != NULL ? tied_step(point, n) : learned_step(point, n);
}

// ---- Transforms

void bl_quant_apply(const bl_quant_point *p, const float *x, size_t count, float *y) {
  bl_quant_steps(p, x, count, p->steps);
  bl_fake_quant_forward(&p->quant, x, count, p->steps, y);
}

static bool passes(const bl_quant_point *p) {
  return p->weight && p->aware->weights_pass;
}

static bl_status forward(void *user, const bl_train_transform_data *d, bl_error *err) {
  const bl_quant_point *p = user;
  (void)err;
  if (!passes(p)) {
    bl_quant_apply(p, d->x, d->count, d->y);
    return BL_OK;
  }
  memcpy(d->y, d->x, d->count * sizeof *d->y);
  if (p->quant.regulariser > 0) bl_quant_steps(p, d->x, d->count, p->steps);
  return BL_OK;
}

static bl_status backward(void *user, const bl_train_transform_data *d, bl_error *err) {
  const bl_quant_point *p = user;
  (void)err;
  if (!passes(p)) {
    bl_fake_quant_backward(&p->quant, d->x, d->dy, d->count, p->steps, d->dx, d->gradients);
    return BL_OK;
  }
  if (d->dx != NULL) {
    memcpy(d->dx, d->dy, d->count * sizeof *d->dx);
    bl_fake_quant_pull(&p->quant, d->x, d->count, p->steps, d->dx);
  }
  if (d->gradients != NULL) memset(d->gradients, 0, p->quant.channels * sizeof *d->gradients);
  return BL_OK;
}

// The name holds the bits, so that a check-point of other bits is another network's.
static char *transform_name(const bl_quant_point *p, bl_arena *arena) {
  const size_t length = strlen(p->value) + 16;
  char *name = bl_arena_alloc(arena, length, 1);
  if (name != NULL) (void)snprintf(name, length, "%s: %u bits", p->value, p->bits);
  return name;
}

static bl_status make_transforms(bl_quant_aware *a, bl_error *err) {
  a->transforms = bl_arena_alloc(a->arena, a->point_count, sizeof *a->transforms);
  if (a->transforms == NULL) return bl_quant_no_memory(err);
  for (uint32_t k = 0; k < a->point_count; k++) {
    bl_quant_point *p = &a->points[k];
    char *name = transform_name(p, a->arena);
    p->aware = a;
    p->steps = bl_arena_alloc(a->arena, p->quant.channels, sizeof *p->steps);
    if (name == NULL || p->steps == NULL) return bl_quant_no_memory(err);
    a->transforms[k] =
        (bl_train_transform){.name = name,
                             .value = p->index,
                             .node = -1,
                             .any_order = !p->weight,
                             .user = p,
                             .forward = forward,
                             .backward = backward,
                             .parameter_count = p->learns ? (uint32_t)p->quant.channels : 0,
                             .parameters = p->first};
  }
  return BL_OK;
}

// ---- Opening

// A bipolar tensor has no zero to pad with; everything but the output has integers.
static bl_status check_stage(const bl_lowered *l, uint32_t k, int32_t output, bl_error *err) {
  const bl_stage *s = &l->stages[k];
  const bl_int_layer *w = &s->window;
  const bl_stage *in = s->input >= 0 ? &l->stages[s->input] : NULL;
  if (in != NULL && in->quantised && in->quantiser.format.kind == BL_FORMAT_B &&
      w->pad_top + w->pad_left + w->pad_bottom + w->pad_right > 0)
    return bl_fail(err, BL_ERR_UNSUPPORTED,
                   "--bits: node %s pads with zeros, which 1-bit numbers of both signs lack; take "
                   "2 bits, or rectify in front of it",
                   s->name);
  if (k + 1 == l->stage_count || s->quantised || s->value == output) return BL_OK;
  return bl_fail(err, BL_ERR_UNSUPPORTED,
                 "--bits: the output of node %s gets integers that training cannot fix", s->name);
}

// Lowers the graph with its new nodes: what is refused then would be refused after training.
static bl_status check_graph(bl_quant_finding *f) {
  bl_float_session *session;
  bl_lowered lowered;
  const bl_lower_options options = {.part_channels = 8};
  const int32_t output = bl_train_logits(f->one);
  BL_TRY(bl_float_session_open(f->one, &session, f->err));
  bl_status status = bl_float_session_run(session, f->err);
  if (status == BL_OK) status = bl_lower(f->one, session, &options, f->scratch, &lowered, f->err);
  for (uint32_t k = 0; status == BL_OK && k < lowered.stage_count; k++)
    status = check_stage(&lowered, k, output, f->err);
  bl_float_session_close(session);
  return status;
}

static bl_status find(bl_quant_finding *f) {
  const bl_lower_options options = {.part_channels = 8};
  BL_TRY(bl_float_session_open(f->one, &f->session, f->err));
  BL_TRY(bl_float_session_run(f->session, f->err));
  BL_TRY(bl_lower(f->one, f->session, &options, f->scratch, &f->lowered, f->err));
  return bl_quant_find(f);
}

static bl_status open_points(bl_quant_aware *aware, bl_float_graph *one,
                             const bl_calibration *calibration, bl_error *err) {
  bl_quant_finding f = {.aware = aware,
                        .one = one,
                        .calibration = calibration,
                        .scratch = bl_arena_new(AWARE_CAP),
                        .err = err};
  bl_status status = f.scratch == NULL ? bl_quant_no_memory(err) : find(&f);
  bl_float_session_close(f.session);
  if (status == BL_OK) status = make_transforms(aware, err);
  if (status == BL_OK && aware->options.freeze_oscillating > 0)
    status = bl_quant_watch_open(aware, err);
  if (status == BL_OK) status = bl_quant_aware_store(aware, one, err);
  if (status == BL_OK) status = check_graph(&f);
  bl_arena_free(f.scratch);
  return status;
}

static bool are_bits(unsigned bits) {
  return bits >= 1 && bits <= 8;
}

static bl_status check_options(const bl_quant_aware_options *o, bl_error *err) {
  if (!are_bits(o->weight_bits) || !are_bits(o->activation_bits))
    return bl_fail(err, BL_ERR_USAGE, "--bits: w%ua%u; weights and activations have 1 to 8 bits",
                   o->weight_bits, o->activation_bits);
  if (o->edge_weight_bits > 8 || o->edge_activation_bits > 8)
    return bl_fail(err, BL_ERR_USAGE, "--edge-bits: w%ua%u; bits are 1 to 8", o->edge_weight_bits,
                   o->edge_activation_bits);
  if (o->ratio_bits > 8)
    return bl_fail(err, BL_ERR_USAGE, "--ratio-bits %u; they are 1 to 8", o->ratio_bits);
  if (o->ternary && (o->codebook != NULL || o->weight_bits != 2))
    return bl_fail(err, BL_ERR_USAGE, "--ternary: weights of %s; they have 2 bits",
                   o->codebook != NULL ? "a codebook" : "other bits");
  if (o->bipolar && (o->codebook != NULL || o->ternary || o->weight_bits < 2 || o->weight_bits > 4))
    return bl_fail(err, BL_ERR_USAGE, "--bipolar: weights of %s; they have 2 to 4 bits",
                   o->codebook != NULL ? "a codebook"
                   : o->ternary        ? "three values"
                                       : "other bits");
  if (!(o->clip_decay >= 0) || !(o->regulariser >= 0) || !(o->weights_from >= 0) ||
      !(o->weights_from < 1) || !(o->freeze_from >= 0) || !(o->freeze_oscillating >= 0))
    return bl_fail(err, BL_ERR_USAGE,
                   "--bits: decay, regulariser and frequency are 0 or more, times 0 to 1 of the "
                   "training");
  return BL_OK;
}

bl_status bl_quant_aware_open(const bl_float_graph *graph, bl_float_graph *one,
                              const bl_quant_aware_options *options,
                              const bl_calibration *calibration, bl_quant_aware **aware,
                              bl_error *err) {
  *aware = NULL;
  BL_TRY(check_options(options, err));
  if (calibration == NULL || calibration->count == 0)
    return bl_fail(err, BL_ERR_USAGE, "--bits: ranges need samples");
  bl_quant_aware *a = calloc(1, sizeof *a);
  if (a == NULL) return bl_quant_no_memory(err);
  a->graph = graph;
  a->options = *options;
  a->weights_pass = options->weights_from > 0;
  a->arena = bl_arena_new(AWARE_CAP);
  bl_status status =
      a->arena == NULL ? bl_quant_no_memory(err) : open_points(a, one, calibration, err);
  if (status == BL_OK)
    *aware = a;
  else
    bl_quant_aware_close(a);
  return status;
}

void bl_quant_aware_close(bl_quant_aware *aware) {
  if (aware == NULL) return;
  bl_arena_free(aware->arena);
  free(aware);
}

const bl_train_transform *bl_quant_aware_transforms(const bl_quant_aware *aware, uint32_t *count) {
  *count = aware->point_count;
  return aware->transforms;
}

// ---- A net's own numbers

static float mean_of(const float *x, size_t count) {
  double sum = 0;
  for (size_t k = 0; k < count; k++)
    sum += (double)x[k];
  return (float)(sum / (double)count);
}

static void attach_point(bl_quant_aware *aware, uint32_t k, bl_train_parameter *p, bool relative) {
  bl_quant_point *point = &aware->points[k];
  if (point->weight && p->value == point->index) point->weights = p->data;
  if (p->kind == BL_TRAIN_LEARNED && p->name == aware->transforms[k].name) {
    point->learned = p->data;
    p->rate = relative ? mean_of(point->first, point->quant.channels) : 1;
  }
  for (uint32_t i = 0; p->value >= 0 && i < point->factor_count; i++) {
    bl_quant_factor *f = &point->factors[i];
    if (f->value == p->value) f->data = p->data;
    if (f->variance == p->value) f->variances = p->data;
  }
}

void bl_quant_aware_attach(bl_quant_aware *aware, bl_train_net *net, bool relative) {
  uint32_t count;
  bl_train_parameter *parameters = bl_train_parameters(net, &count);
  for (uint32_t k = 0; k < aware->point_count; k++)
    for (uint32_t i = 0; i < count; i++)
      attach_point(aware, k, &parameters[i], relative);
}
