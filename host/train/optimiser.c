// SPDX-License-Identifier: Apache-2.0
#include "host/train/optimiser.h"

#include <math.h>
#include <stdlib.h>

static const double LEAST_SIZE = 1e-4; // of parameters, so that zeros move

struct bl_optimiser {
  bl_optimiser_options options;
  const bl_train_parameter *parameters;
  uint32_t count;
  uint64_t steps;
  float **memory; // [2 * count]: velocity, or first and second moments; NULL where not needed
};

bl_optimiser_options bl_optimiser_defaults(bl_optimiser_kind kind) {
  return (bl_optimiser_options){
      .kind = kind, .momentum = 0.9, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8};
}

bl_status bl_optimiser_open(const bl_optimiser_options *options,
                            const bl_train_parameter *parameters, uint32_t count,
                            bl_optimiser **optimiser, bl_error *err) {
  bl_optimiser *o = *optimiser = calloc(1, sizeof *o);
  bool ok = o != NULL;
  if (ok) {
    *o = (bl_optimiser){.options = *options, .parameters = parameters, .count = count};
    o->memory = calloc(2u * (size_t)count + 1, sizeof(float *));
    ok = o->memory != NULL;
  }
  for (uint32_t k = 0; ok && k < 2 * count; k++) {
    if (parameters[k / 2].gradient == NULL || (k % 2 == 1 && options->kind == BL_OPTIMISER_SGD))
      continue;
    o->memory[k] = calloc(parameters[k / 2].count + 1, sizeof(float));
    ok = o->memory[k] != NULL;
  }
  if (ok) return BL_OK;
  bl_optimiser_close(o);
  *optimiser = NULL;
  return bl_fail(err, BL_ERR_MEMORY, "training: no memory for the optimiser");
}

void bl_optimiser_close(bl_optimiser *o) {
  if (o == NULL) return;
  for (uint32_t k = 0; o->memory != NULL && k < 2 * o->count; k++)
    free(o->memory[k]);
  free(o->memory);
  free(o);
}

float *bl_optimiser_state(bl_optimiser *o, uint32_t k, size_t *count) {
  for (uint32_t at = 0; at < 2 * o->count; at++) {
    if (o->memory[at] == NULL || k-- > 0) continue;
    *count = o->parameters[at / 2].count;
    return o->memory[at];
  }
  return NULL;
}

uint64_t *bl_optimiser_steps(bl_optimiser *o) {
  return &o->steps;
}

static bl_status gradient_norm(const bl_optimiser *o, double *norm, bl_error *err) {
  double all = 0;
  for (uint32_t k = 0; k < o->count; k++) {
    const bl_train_parameter *p = &o->parameters[k];
    double sum = 0;
    for (size_t i = 0; p->gradient != NULL && i < p->count; i++)
      sum += (double)p->gradient[i] * (double)p->gradient[i];
    if (!isfinite(sum))
      return bl_fail(err, BL_ERR_RANGE, "the gradient of %s in layer %s is not finite", p->name,
                     p->layer);
    all += sum;
  }
  *norm = sqrt(all);
  return BL_OK;
}

static void step_sgd(const bl_optimiser_options *o, const bl_train_parameter *p, double rate,
                     float scale, float *velocity) {
  float r = (float)rate, momentum = (float)o->momentum, decay = p->decay ? (float)o->decay : 0;
  for (size_t k = 0; k < p->count; k++) {
    float g = scale * p->gradient[k] + decay * p->data[k];
    velocity[k] = momentum * velocity[k] + g;
    p->data[k] -= r * (o->nesterov ? g + momentum * velocity[k] : velocity[k]);
  }
}

static void step_adamw(const bl_optimiser *o, const bl_train_parameter *p, double rate, float scale,
                       float *first, float *second) {
  const bl_optimiser_options *s = &o->options;
  float b1 = (float)s->beta1, b2 = (float)s->beta2, epsilon = (float)s->epsilon;
  float fix1 = (float)(1 / (1 - pow(s->beta1, (double)o->steps)));
  float fix2 = (float)(1 / (1 - pow(s->beta2, (double)o->steps)));
  float r = (float)rate, decay = p->decay ? (float)s->decay : 0;
  for (size_t k = 0; k < p->count; k++) {
    float g = scale * p->gradient[k];
    first[k] = b1 * first[k] + (1 - b1) * g;
    second[k] = b2 * second[k] + (1 - b2) * g * g;
    p->data[k] -= r * (fix1 * first[k] / (sqrtf(fix2 * second[k]) + epsilon) + decay * p->data[k]);
  }
}

bl_status bl_optimiser_step(bl_optimiser *o, double rate, bl_error *err) {
  double norm = 0;
  BL_TRY(gradient_norm(o, &norm, err));
  float scale = 1;
  if (o->options.clip > 0 && norm > o->options.clip) scale = (float)(o->options.clip / norm);
  o->steps++;
  for (uint32_t k = 0; k < o->count; k++) {
    const bl_train_parameter *p = &o->parameters[k];
    double own = rate * (double)p->rate;
    if (p->gradient == NULL || p->rate == 0) continue;
    if (o->options.kind == BL_OPTIMISER_SGD)
      step_sgd(&o->options, p, own, scale, o->memory[(size_t)2 * k]);
    else
      step_adamw(o, p, own, scale, o->memory[(size_t)2 * k], o->memory[(size_t)2 * k + 1]);
    for (size_t i = 0; p->mask != NULL && i < p->count; i++)
      if (p->mask[i] == 0) p->data[i] = 0;
  }
  return BL_OK;
}

double bl_schedule_rate(const bl_schedule *s, uint64_t step) {
  if (step < s->warm_up) return s->rate * (double)(step + 1) / (double)s->warm_up;
  uint64_t drops = step / s->every;
  if (s->kind == BL_SCHEDULE_STEP) return s->rate * pow(s->factor, (double)drops);
  if (s->kind == BL_SCHEDULE_CONSTANT) return s->rate;
  if (step >= s->total || s->warm_up >= s->total) return s->lowest;
  double part = (double)(step - s->warm_up) / (double)(s->total - s->warm_up);
  return s->lowest + 0.5 * (s->rate - s->lowest) * (1 + cos(acos(-1.0) * part));
}

void bl_optimiser_relative(bl_train_net *net) {
  uint32_t count;
  bl_train_parameter *parameters = bl_train_parameters(net, &count);
  for (uint32_t k = 0; k < count; k++) {
    bl_train_parameter *p = &parameters[k];
    double squares = 0;
    for (size_t i = 0; i < p->count; i++)
      squares += (double)p->data[i] * (double)p->data[i];
    if (p->gradient != NULL && p->count > 0)
      p->rate = (float)fmax(sqrt(squares / (double)p->count), LEAST_SIZE);
  }
}
