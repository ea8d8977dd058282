// SPDX-License-Identifier: Apache-2.0
// Calibration: every activation that the graph does not fix is observed in two passes over the
// samples, the first for its range and the second for its histogram.
#include "host/quant/quantise_internal.h"

static bool observed(const bl_quantising *q, uint32_t observer) {
  if (observer == 0) return !q->lowered.input_quantised;
  const bl_stage *s = &q->lowered.stages[observer - 1];
  return !s->quantised && !s->is_part && !bl_gives_accumulators(q, observer - 1);
}

static bool index_observed(const bl_quantising *q, uint32_t stage) {
  const bl_stage *s = &q->lowered.stages[stage];
  return s->function != NULL && !s->index_quantised;
}

static bool needs_calibration(const bl_quantising *q) {
  for (uint32_t k = 0; k < q->lowered.stage_count; k++)
    if (index_observed(q, k)) return true;
  for (uint32_t k = 0; k <= q->lowered.stage_count; k++)
    if (observed(q, k)) return true;
  return false;
}

static bl_status observe(const bl_quantising *q, bl_observer *observer, const float *values,
                         size_t count, bool second) {
  if (second) {
    bl_observer_count(observer, values, count);
    return BL_OK;
  }
  return bl_observer_range(observer, values, count, q->err);
}

// The input after the scaling that moves into the preprocessing, in place of the session's.
static bl_status observe_input(bl_quantising *q, const bl_value *in, float *scaled, bool second) {
  for (size_t k = 0; k < in->count; k++)
    scaled[k] = (float)((double)in->f[k] * q->lowered.input_mul + q->lowered.input_add);
  return observe(q, &q->observers[0], scaled, in->count, second);
}

static bl_status calibration_pass(bl_quantising *q, float *scaled, bool second) {
  bl_value *in = bl_float_session_input(q->session, 0);
  for (size_t i = 0; i < q->calibration->count; i++) {
    BL_TRY(q->calibration->read(q->calibration->context, i, in->f, q->err));
    BL_TRY(bl_float_session_run(q->session, q->err));
    if (observed(q, 0)) BL_TRY(observe_input(q, in, scaled, second));
    for (uint32_t s = 0; s < q->lowered.stage_count; s++) {
      const bl_stage *stage = &q->lowered.stages[s];
      const bl_value *v = bl_float_session_value(q->session, stage->value);
      if (observed(q, s + 1)) BL_TRY(observe(q, &q->observers[s + 1], v->f, v->count, second));
      if (!index_observed(q, s)) continue;
      v = bl_float_session_value(q->session, stage->index_value);
      BL_TRY(observe(q, &q->indices[s], v->f, v->count, second));
    }
  }
  return BL_OK;
}

bl_status bl_quantise_calibrate(bl_quantising *q) {
  size_t count = q->lowered.stage_count + 1u;
  q->observers = bl_arena_alloc(q->scratch, count, sizeof *q->observers);
  q->indices = bl_arena_alloc(q->scratch, count, sizeof *q->indices);
  float *scaled =
      bl_arena_alloc(q->scratch, bl_float_session_input(q->session, 0)->count, sizeof *scaled);
  if (q->observers == NULL || q->indices == NULL || scaled == NULL) return bl_quantise_no_memory(q);
  for (size_t k = 0; k < count; k++) {
    bl_observer_init(&q->observers[k]);
    if (q->options->percentage > 0) q->observers[k].percentage = q->options->percentage;
  }
  for (size_t k = 0; k < count; k++)
    bl_observer_init(&q->indices[k]);
  if (!needs_calibration(q)) return BL_OK;
  if (q->calibration == NULL || q->calibration->count == 0)
    return bl_fail(q->err, BL_ERR_USAGE,
                   "quantise: activation ranges need calibration data (--calib)");
  BL_TRY(calibration_pass(q, scaled, false));
  return calibration_pass(q, scaled, true);
}
