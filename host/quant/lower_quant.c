// SPDX-License-Identifier: Apache-2.0
// Quantisers in the graph: they fix the integers of a stage.
#include <math.h>
#include <string.h>

#include "host/float/eval.h"
#include "host/quant/lower_internal.h"

// What a quantiser node asks for.
typedef struct {
  bl_quantiser q;
  double lo, hi;
  const bl_node *node; // see bl_stage.quant_node
} rule;

const bl_quantiser *bl_lower_quantiser_of(const bl_lowering *l, const bl_view *v) {
  if (v->producer == BL_STAGE_INPUT)
    return l->out->input_quantised ? &l->out->input_quantiser : NULL;
  const bl_stage *s = bl_lower_stage(l, v);
  return s->quantised ? &s->quantiser : NULL;
}

bool bl_lower_same_quantiser(const bl_quantiser *a, const bl_quantiser *b) {
  return a->format.kind == b->format.kind && a->format.bits == b->format.bits &&
         a->scale == b->scale && a->zero_point == b->zero_point;
}

void bl_lower_quantise_as(bl_stage *stage, const bl_stage *from) {
  stage->quantised = true;
  stage->quantiser = from->quantiser;
  stage->q_lo = from->q_lo;
  stage->q_hi = from->q_hi;
  stage->quant_node = from->quant_node;
}

static void fix(bl_stage *s, const rule *r) {
  s->quantised = true;
  s->quantiser = r->q;
  s->q_lo = r->lo;
  s->q_hi = r->hi;
  s->quant_node = r->node;
}

// A concatenation's integers are its parts'.
static bool fix_parts(bl_lowering *l, const rule *r) {
  bl_stage *s = bl_lower_open_parts(l, &r->q);
  if (s == NULL) return false;
  fix(s, r);
  bl_stage *behind = bl_lower_stage(l, bl_lower_view(l, 0));
  if (behind->closes_up) fix(behind, r);
  for (uint32_t k = 0; k < s->part_count; k++)
    fix(&l->out->stages[s->parts[k]], r);
  return true;
}

// Are the integers of `has` what the nearest-integer rule would make of them, too?
static bool keeps(const bl_quantiser *has, const rule *r) {
  if (bl_lower_same_quantiser(has, &r->q)) return true;
  return r->node == NULL && has->format.kind != BL_FORMAT_B && has->scale == r->q.scale &&
         has->zero_point == r->q.zero_point && bl_format_min(has->format) >= r->lo &&
         bl_format_max(has->format) <= r->hi;
}

// The network's input takes the quantiser of whoever reads it first; integers that are there
// already are not made again.
static bl_status apply(bl_lowering *l, const rule *r) {
  const bl_view *in = bl_lower_view(l, 0);
  const bl_quantiser *has = bl_lower_quantiser_of(l, in);
  bool fresh = in->producer == BL_STAGE_INPUT && has == NULL;
  if (fresh) {
    l->out->input_quantised = true;
    l->out->input_quantiser = r->q;
  }
  if (fresh || (has != NULL && keeps(has, r))) {
    *bl_lower_view_out(l) = *in;
    return BL_OK;
  }
  if (fix_parts(l, r)) return BL_OK;
  if (bl_lower_open_table(l, &r->q)) {
    fix(bl_lower_stage(l, in), r);
    return BL_OK;
  }
  bl_stage *s;
  BL_TRY(bl_lower_open(l, 0, true, &s));
  fix(s, r);
  return BL_OK;
}

// The smallest unsigned format, or signed one where lo is negative, that holds lo..hi.
static bl_status format_of(const bl_lowering *l, double lo, double hi, bl_format *format) {
  *format = lo < 0 ? (bl_format){BL_FORMAT_S, 2} : (bl_format){BL_FORMAT_U, 1};
  while (format->bits <= 8 && (lo < bl_format_min(*format) || hi > bl_format_max(*format)))
    format->bits++;
  return format->bits <= 8 ? BL_OK : bl_lower_refuse(l, "it has more than 8 bits");
}

// ---- QONNX
// ---------------------------------------------------------------------------------------

static bl_status scale_and_zero(const bl_lowering *l, bl_quantiser *q) {
  const bl_value *scale = bl_node_input(l->graph, l->node, 1);
  const bl_value *zero = bl_node_input(l->graph, l->node, 2);
  if (scale->count != 1)
    return bl_lower_refuse(l, "an activation quantiser with a scale a channel");
  q->scale = (double)scale->f[0];
  if (!(q->scale > 0)) return bl_lower_refuse(l, "its scale is not positive");
  if (l->node->op == BL_FLOAT_BIPOLAR_QUANT) return BL_OK;
  if (zero->count != 1 || (double)zero->f[0] != rint((double)zero->f[0]) || fabsf(zero->f[0]) > 255)
    return bl_lower_refuse(l, "its zero point is not one small integer");
  q->zero_point = (int32_t)zero->f[0];
  return BL_OK;
}

bl_status bl_lower_quantiser(bl_lowering *l) {
  rule r = {.q = {.format = {BL_FORMAT_B, 1}}, .lo = -1, .hi = 1, .node = l->node};
  BL_TRY(scale_and_zero(l, &r.q));
  if (l->node->op == BL_FLOAT_QUANT) {
    BL_TRY(bl_qonnx_range(l->graph, l->node, &r.lo, &r.hi, l->err));
    BL_TRY(format_of(l, r.lo, r.hi, &r.q.format));
  }
  return apply(l, &r);
}

// The range of a stage's real values, from its input's integers.
static bl_status stage_range(const bl_lowering *l, const bl_stage *s, double *lo, double *hi) {
  const bl_view in = {.producer = s->input};
  const bl_quantiser *q = bl_lower_quantiser_of(l, &in);
  if (q == NULL || s->addend != BL_STAGE_NONE)
    return bl_lower_refuse(l, "the range of what it reads is not known; quantise in front of it");
  double least = q->scale * (bl_format_min(q->format) - q->zero_point);
  double most = q->scale * (bl_format_max(q->format) - q->zero_point);
  size_t fan = (size_t)s->window.kernel_h * s->window.kernel_w * (s->in_c / s->window.groups);
  *lo = INFINITY;
  *hi = -INFINITY;
  for (uint32_t n = 0; n < s->out_c; n++) {
    double a = 0, b = 0;
    for (size_t k = 0; k < fan; k++) {
      double w = (double)s->weights[n * fan + k];
      a += w * (w > 0 ? least : most);
      b += w * (w > 0 ? most : least);
    }
    a = bl_stage_posts(s, n, a);
    b = bl_stage_posts(s, n, b);
    *lo = fmin(*lo, fmin(a, b));
    *hi = fmax(*hi, fmax(a, b));
  }
  return BL_OK;
}

// Bits are dropped, nothing saturates: the format is what the values in front of it need.
bl_status bl_lower_trunc(bl_lowering *l) {
  rule r = {.node = l->node};
  BL_TRY(scale_and_zero(l, &r.q));
  for (uint32_t k = 3; k < 5; k++)
    if (bl_node_input(l->graph, l->node, k)->count != 1)
      return bl_lower_refuse(l, "its bit widths are not one number each");
  if (bl_lower_view(l, 0)->producer == BL_STAGE_INPUT)
    return bl_lower_refuse(l, "it reads the network's input; quantise in front of it");
  bl_stage *s;
  BL_TRY(bl_lower_open(l, 0, true, &s));
  double lo = 0, hi = 0;
  BL_TRY(stage_range(l, s, &lo, &hi));
  r.lo = bl_qonnx_trunc(l->graph, l->node, lo);
  r.hi = bl_qonnx_trunc(l->graph, l->node, hi);
  BL_TRY(format_of(l, r.lo, r.hi, &r.q.format));
  fix(s, &r);
  return BL_OK;
}

// out_scale * (thresholds reached) + out_bias: integers from out_bias / out_scale up, or two values
// of opposite sign.
bl_status bl_lower_thresholds(bl_lowering *l) {
  const bl_value *t = bl_node_input(l->graph, l->node, 1), *x = bl_lower_value(l, 0);
  const bl_view *in = bl_lower_view(l, 0);
  double scale = (double)bl_node_float(l->node, "out_scale", 1);
  double bias = (double)bl_node_float(l->node, "out_bias", 0), levels = (double)t->dims[1];
  bool last = strcmp(bl_node_string(l->node, "data_layout", "NCHW"), "NHWC") == 0;
  if (x->rank == 4 && last != (in->order == BL_ORDER_NHWC))
    return bl_lower_refuse(l, "its thresholds do not run along the channels");
  if (t->dims[0] != 1 && t->dims[0] != (int64_t)in->c)
    return bl_lower_refuse(l, "its thresholds do not run along the channels");
  if (in->producer == BL_STAGE_INPUT)
    return bl_lower_refuse(l, "it reads the network's input; quantise in front of it");
  if (!(scale > 0)) return bl_lower_refuse(l, "its out_scale is not positive");
  rule r = {.q = {.format = {BL_FORMAT_B, 1}, .scale = scale / 2}, .lo = -1, .hi = 1};
  r.node = l->node;
  if (levels != 1 || bias != -scale / 2) {
    r.q.scale = scale;
    r.lo = bias / scale;
    r.hi = r.lo + levels;
    if (r.lo != rint(r.lo))
      return bl_lower_refuse(l, "its out_bias is not a multiple of out_scale");
    BL_TRY(format_of(l, r.lo, r.hi, &r.q.format));
  }
  bl_stage *s;
  BL_TRY(bl_lower_open(l, 0, true, &s));
  fix(s, &r);
  return BL_OK;
}

// ---- ONNX
// ----------------------------------------------------------------------------------------

static bl_status linear_rule(const bl_lowering *l, const bl_value *scale, const bl_value *zero,
                             rule *r) {
  const bl_value *out = bl_float_session_value(l->session, l->node->outputs[0]);
  if (scale->f == NULL || scale->count != 1 || (zero != NULL && zero->i == NULL))
    return bl_lower_refuse(l, "its scale and zero point are not one constant each");
  if (!(scale->f[0] > 0)) return bl_lower_refuse(l, "its scale is not positive");
  bool is_signed = out->element == ONNX_INT8;
  if (!is_signed && out->element != ONNX_UINT8)
    return bl_lower_refuse(l, "its integers are not of 8 bits");
  *r = (rule){.q = {.format = {is_signed ? BL_FORMAT_S : BL_FORMAT_U, 8},
                    .scale = (double)scale->f[0],
                    .zero_point = zero != NULL ? (int32_t)zero->i[0] : 0}};
  r->lo = bl_format_min(r->q.format);
  r->hi = bl_format_max(r->q.format);
  return BL_OK;
}

bl_status bl_lower_fix_linear(bl_lowering *l, bl_stage *s, const bl_value *scale,
                              const bl_value *zero) {
  rule r;
  BL_TRY(linear_rule(l, scale, zero, &r));
  fix(s, &r);
  bl_lower_view_out(l)->integers = l->node;
  return BL_OK;
}

// The only node that reads a value, NULL where there are several or none.
static const bl_node *only_reader(const bl_lowering *l, int32_t value) {
  const bl_node *reader = NULL;
  for (uint32_t n = 0; l->consumers[value] == 1 && n < l->graph->node_count; n++)
    for (uint32_t k = 0; k < l->graph->nodes[n].input_count; k++)
      if (l->graph->nodes[n].inputs[k] == value) reader = &l->graph->nodes[n];
  return reader;
}

// Integers lo..hi of the network's input, which a format has to say alone: its own range, or 1 bit
// where what lies in front makes all but nothing of everything between -1 and 1.
static bool input_format(const bl_lowering *l, double lo, double hi, int32_t zero, double scale,
                         bl_format *format) {
  static const double steep = 1e12;
  if (format_of(l, lo, hi, format) != BL_OK) return false;
  if (bl_format_min(*format) == lo && bl_format_max(*format) == hi) return true;
  *format = (bl_format){BL_FORMAT_B, 1};
  return lo == -1 && hi == 1 && zero == 0 && fabs(l->out->input_mul) >= steep * scale;
}

// A Clip with both bounds in front of a quantiser: its integers may need fewer bits. The zero
// point, which padding takes, stays among them.
static bl_status narrow(const bl_lowering *l, rule *r) {
  for (uint32_t n = 0; n < l->graph->node_count; n++) {
    const bl_node *node = &l->graph->nodes[n];
    double lo, hi;
    if (node->output_count != 1 || node->outputs[0] != l->node->inputs[0]) continue;
    if (!bl_lower_bounds(l->graph, l->session, node, &lo, &hi)) return BL_OK;
    lo = rint(lo / r->q.scale) + r->q.zero_point;
    hi = rint(hi / r->q.scale) + r->q.zero_point;
    lo = fmax(r->lo, fmin(lo, r->q.zero_point));
    hi = fmin(r->hi, fmax(hi, r->q.zero_point));
    if (bl_lower_view(l, 0)->producer != BL_STAGE_INPUT || l->out->input_quantised)
      BL_TRY(format_of(l, lo, hi, &r->q.format));
    else if (!input_format(l, lo, hi, r->q.zero_point, r->q.scale, &r->q.format))
      return bl_lower_refuse(l, "no format has the range of the input's Clip");
    r->lo = bl_format_min(r->q.format); // the clip itself is among the stage's operations
    r->hi = bl_format_max(r->q.format);
    return BL_OK;
  }
  return BL_OK;
}

bool bl_lower_clips_input(const bl_lowering *l) {
  const bl_node *reader = only_reader(l, l->node->outputs[0]);
  double lo, hi;
  bl_format format;
  if (bl_lower_view(l, 0)->producer != BL_STAGE_INPUT || l->out->input_quantised ||
      reader == NULL || reader->op != BL_FLOAT_QUANTIZE ||
      !bl_lower_bounds(l->graph, l->session, l->node, &lo, &hi))
    return false;
  const bl_value *scale = bl_node_input(l->graph, reader, 1);
  const bl_value *zero = bl_node_input(l->graph, reader, 2);
  if (scale->f == NULL || scale->count != 1 || (zero != NULL && zero->i == NULL)) return false;
  const double s = (double)scale->f[0];
  const int32_t z = zero != NULL ? (int32_t)zero->i[0] : 0;
  bl_lowering silent = *l;
  silent.err = NULL;
  return input_format(&silent, rint(lo / s) + z, rint(hi / s) + z, z, s, &format);
}

// Is this quantiser only there for the operand of an addition of two branches?
static bool feeds_addition(const bl_lowering *l) {
  const bl_node *reader = only_reader(l, l->node->outputs[0]);
  if (reader == NULL || reader->op != BL_FLOAT_DEQUANTIZE) return false;
  reader = only_reader(l, reader->outputs[0]);
  return reader != NULL && reader->op == BL_FLOAT_ADD &&
         !bl_value_constant(bl_node_input(l->graph, reader, 0)) &&
         !bl_value_constant(bl_node_input(l->graph, reader, 1));
}

bl_status bl_lower_linear_quantiser(bl_lowering *l) {
  rule r;
  BL_TRY(
      linear_rule(l, bl_node_input(l->graph, l->node, 1), bl_node_input(l->graph, l->node, 2), &r));
  BL_TRY(narrow(l, &r));
  BL_TRY(apply(l, &r));
  bl_view *out = bl_lower_view_out(l);
  out->integers = l->node;
  bl_stage *s = bl_lower_stage(l, out);
  if (s != NULL)
    s->only_added = l->options->fuse_adds && !bl_lower_shared(l, 0) && feeds_addition(l);
  return BL_OK;
}

bl_status bl_lower_same_integers(const bl_lowering *l, const bl_value *scale,
                                 const bl_value *zero) {
  const bl_quantiser *q = bl_lower_quantiser_of(l, bl_lower_view(l, 0));
  if (q == NULL) return bl_lower_refuse(l, "its data's integers are not fixed");
  if ((scale != NULL && (scale->f == NULL || scale->count != 1)) ||
      (zero != NULL && (zero->i == NULL || zero->count != 1)))
    return bl_lower_refuse(l, "its data's scale and zero point are not one constant each");
  if ((scale != NULL && (double)scale->f[0] != q->scale) ||
      (zero != NULL ? zero->i[0] : 0) != q->zero_point)
    return bl_lower_refuse(l, "its scale or zero point is not that of its data's quantiser");
  return BL_OK;
}

bl_status bl_lower_dequantiser(bl_lowering *l) {
  const bl_view *in = bl_lower_view(l, 0);
  if (in->integers == NULL || in->integers->op == BL_FLOAT_DYNAMIC_QUANTIZE)
    return bl_lower_refuse(l, "its data was not quantised with constant parameters");
  BL_TRY(bl_lower_same_integers(l, bl_node_input(l->graph, l->node, 1),
                                bl_node_input(l->graph, l->node, 2)));
  *bl_lower_view_out(l) = *in;
  bl_lower_view_out(l)->integers = NULL;
  return BL_OK;
}

// The device has one range for all inputs: calibration finds it, by the rule that the node applies
// to each input.
bl_status bl_lower_dynamic_quantiser(bl_lowering *l) {
  const bl_view *in = bl_lower_view(l, 0);
  bl_stage *s = bl_lower_stage(l, in);
  if (s != NULL && !s->quantised) s->dynamic = true;
  l->out->dynamic_count++;
  bl_view *out = bl_lower_view_out(l);
  *out = *in;
  out->integers = l->node;
  l->views[l->node->outputs[1]] =
      (bl_view){.known = true, .producer = BL_STAGE_INPUT, .scale_of = l->node};
  return BL_OK;
}
