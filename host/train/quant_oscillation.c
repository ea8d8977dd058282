// SPDX-License-Identifier: Apache-2.0
// Weights that flip between two values stop doing so (Nagel et al. 2022, Overcoming Oscillations in
// Quantization-Aware Training, section 4.3).
#include <math.h>

#include "host/train/quant_aware_internal.h"

// Of the running means, as in the paper.
static const float MOMENTUM = 0.01F;
// A training begins with so many times the threshold of its end.
static const double FIRST_THRESHOLD = 4;

bl_status bl_quant_watch_open(bl_quant_aware *aware, bl_error *err) {
  for (uint32_t k = 0; k < aware->point_count; k++) {
    bl_quant_point *p = &aware->points[k];
    const size_t count = aware->graph->values[p->index].count;
    if (!p->weight) continue;
    p->rounded = bl_arena_alloc(aware->arena, count, sizeof *p->rounded);
    for (int i = 0; i < BL_QUANT_MEMORIES; i++) {
      p->memory[i] = bl_arena_alloc(aware->arena, count, sizeof(float));
      if (p->rounded == NULL || p->memory[i] == NULL) return bl_quant_no_memory(err);
    }
    for (size_t i = 0; i < count; i++)
      p->memory[BL_QUANT_INTEGER][i] = NAN;
  }
  return BL_OK;
}

// Integer `now` of a weight behind a step. Returns whether the weight is frozen.
static bool follow(float *const memory[BL_QUANT_MEMORIES], size_t i, float now, float threshold) {
  float *integer = &memory[BL_QUANT_INTEGER][i], *mean = &memory[BL_QUANT_MEAN][i];
  float *frequency = &memory[BL_QUANT_FREQUENCY][i], *direction = &memory[BL_QUANT_DIRECTION][i];
  if (isinf(*frequency)) return true;
  if (isnan(*integer)) *integer = *mean = now;
  const float last = *integer, moved = (float)(now > last) - (float)(now < last);
  const bool back = moved * *direction < 0;
  *frequency += MOMENTUM * ((float)back - *frequency);
  *mean += MOMENTUM * (now - *mean);
  *integer = now;
  if (moved != 0) *direction = moved;
  if (!back || *frequency <= threshold) return false;
  if (fabsf(last - *mean) < fabsf(now - *mean)) *integer = last;
  *frequency = INFINITY;
  return true;
}

static void follow_point(bl_quant_point *p, float *weights, size_t count, float threshold) {
  const size_t channels = p->quant.channels, run = count / channels;
  bl_quant_apply(p, weights, count, p->rounded);
  for (size_t i = 0; i < count; i++) {
    const float step = p->steps[p->quant.channels_last ? i % channels : i / run];
    if (follow(p->memory, i, rintf(p->rounded[i] / step), threshold))
      weights[i] = p->memory[BL_QUANT_INTEGER][i] * step;
  }
}

void bl_quant_watch(bl_quant_aware *aware, bl_train_net *net, double part) {
  const double pi = acos(-1), fall = (1 + cos(pi * part)) / 2;
  const double threshold = aware->options.freeze_oscillating * (1 + (FIRST_THRESHOLD - 1) * fall);
  uint32_t count;
  bl_train_parameter *parameters = bl_train_parameters(net, &count);
  for (uint32_t i = 0; i < count; i++)
    for (uint32_t k = 0; k < aware->point_count; k++) {
      bl_quant_point *p = &aware->points[k];
      if (p->weight && parameters[i].data == p->weights)
        follow_point(p, parameters[i].data, parameters[i].count, (float)threshold);
    }
}
