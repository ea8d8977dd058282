// SPDX-License-Identifier: Apache-2.0
// Quantisers in the graph: they fix the integers of a stage.
#include <math.h>

#include "host/float/eval.h"
#include "host/quant/lower_internal.h"

static bl_status quantiser_of(bl_lowering *l, bl_quantiser *q, double *lo, double *hi) {
  const bl_value *scale = bl_node_input(l->graph, l->node, 1);
  const bl_value *zero = bl_node_input(l->graph, l->node, 2);
  if (scale->count != 1)
    return bl_lower_refuse(l, "an activation quantiser with a scale a channel");
  *q = (bl_quantiser){{BL_FORMAT_B1, 1}, (double)scale->f[0], 0};
  *lo = -1;
  *hi = 1;
  if (!(q->scale > 0)) return bl_lower_refuse(l, "its scale is not positive");
  if (l->node->op == BL_FLOAT_BIPOLAR_QUANT) return BL_OK;
  BL_TRY(bl_qonnx_range(l->graph, l->node, lo, hi, l->err));
  if (zero->count != 1 || (double)zero->f[0] != rint((double)zero->f[0]) || fabsf(zero->f[0]) > 255)
    return bl_lower_refuse(l, "its zero point is not one small integer");
  q->zero_point = (int32_t)zero->f[0];
  q->format.kind = *lo < 0 ? BL_FORMAT_S : BL_FORMAT_U;
  q->format.bits = *lo < 0 ? 2 : 1;
  while (q->format.bits <= 8 && (*lo < bl_format_min(q->format) || *hi > bl_format_max(q->format)))
    q->format.bits++;
  return q->format.bits <= 8 ? BL_OK : bl_lower_refuse(l, "it has more than 8 bits");
}

bl_status bl_lower_quantiser(bl_lowering *l) {
  const bl_view *in = bl_lower_view(l, 0);
  bl_quantiser q;
  double lo, hi;
  BL_TRY(quantiser_of(l, &q, &lo, &hi));
  if (in->producer == BL_STAGE_INPUT && !l->out->input_quantised) {
    l->out->input_quantised = true;
    l->out->input_quantiser = q;
    *bl_lower_view_out(l) = *in;
    return BL_OK;
  }
  bl_stage *s;
  BL_TRY(bl_lower_open(l, 0, true, &s));
  s->quantised = true;
  s->quantiser = q;
  s->q_lo = lo;
  s->q_hi = hi;
  s->quant_node = l->node;
  return BL_OK;
}
