// SPDX-License-Identifier: Apache-2.0
// What changes in quantisation-aware training with time: the sharpness of signs, the pull towards
// integers, when weights begin to be quantised, when steps and weights stay.
#include <math.h>

#include "host/base/random.h"
#include "host/train/quant_aware_internal.h"

static const double FIRST_SHARPNESS = 0.1, LAST_SHARPNESS = 10;

static void set_time(bl_quant_aware *a, double part) {
  const bl_quant_aware_options *o = &a->options;
  a->weights_pass = part < o->weights_from;
  for (uint32_t k = 0; k < a->point_count; k++) {
    bl_fake_quant *q = &a->points[k].quant;
    q->sharpness = FIRST_SHARPNESS * pow(LAST_SHARPNESS / FIRST_SHARPNESS, part);
    q->regulariser = a->points[k].weight ? part * o->regulariser : 0;
  }
}

// The weights moved since their steps were chosen.
static bl_status begin_weights(bl_quant_aware *a, bl_error *err) {
  for (uint32_t k = 0; k < a->point_count; k++) {
    bl_quant_point *p = &a->points[k];
    if (!p->weight || !p->learns || p->weights == NULL || p->learned == p->first) continue;
    const size_t elements = a->graph->values[p->index].count;
    BL_TRY(bl_quant_first_steps(p, p->weights, elements, p->learned, err));
  }
  return BL_OK;
}

static void freeze(bl_quant_aware *a, bl_train_net *net) {
  uint32_t count;
  bl_train_parameter *p = bl_train_parameters(net, &count);
  for (uint32_t i = 0; i < count; i++)
    for (uint32_t k = 0; k < a->point_count; k++)
      if (p[i].kind == BL_TRAIN_LEARNED && p[i].data == a->points[k].learned) p[i].rate = 0;
}

static bl_status before(void *user, bl_train_net *net, uint64_t step, uint64_t steps,
                        bl_error *err) {
  bl_quant_aware *a = user;
  const bl_quant_aware_options *o = &a->options;
  const double part = (double)step / (double)steps;
  set_time(a, part);
  if (o->freeze_from > 0 && part >= o->freeze_from) freeze(a, net);
  const bool began =
      step > 0 && part >= o->weights_from && (double)(step - 1) / (double)steps < o->weights_from;
  return began ? begin_weights(a, err) : BL_OK;
}

static bl_status after(void *user, bl_train_net *net, uint64_t step, uint64_t steps,
                       bl_error *err) {
  bl_quant_aware *a = user;
  (void)err;
  if (!a->weights_pass) bl_quant_watch(a, net, (double)step / (double)steps);
  return BL_OK;
}

static float *state(void *user, uint32_t k, size_t *count) {
  const bl_quant_aware *a = user;
  for (uint32_t i = 0; i < a->point_count; i++) {
    const bl_quant_point *p = &a->points[i];
    if (!p->weight) continue;
    *count = a->graph->values[p->index].count;
    if (k < BL_QUANT_MEMORIES) return p->memory[k];
    k -= BL_QUANT_MEMORIES;
  }
  return NULL;
}

bl_train_hook bl_quant_aware_hook(bl_quant_aware *aware) {
  const bl_quant_aware_options *o = &aware->options;
  const double numbers[] = {
      o->edge_weight_bits, o->edge_activation_bits, o->ternary,      o->sign,
      o->clip_decay,       o->regulariser,          o->weights_from, o->freeze_from,
      o->ratio_bits,       o->freeze_oscillating,   o->bipolar};
  uint64_t key = 7;
  for (size_t k = 0; k < sizeof numbers / sizeof numbers[0]; k++)
    key = bl_random_key(key, (uint64_t)llround(numbers[k] * 1e9));
  for (uint32_t k = 0; k < aware->point_count; k++)
    for (size_t i = 0; aware->points[k].codebook != NULL && i < BL_INT_CODES; i++)
      key = bl_random_key(key, (uint64_t)(int64_t)aware->points[k].codebook->values[i]);
  const bool follows = o->freeze_oscillating > 0;
  return (bl_train_hook){.user = aware,
                         .before = before,
                         .after = follows ? after : NULL,
                         .state = follows ? state : NULL,
                         .key = key};
}
