// SPDX-License-Identifier: Apache-2.0
// Products over integers: weights whose integers the graph fixes, and what follows the sums. A
// sum of integers is the real sum divided by the operands' scales, so each node is lowered as the
// real product, times what that division leaves out.
#include <math.h>

#include "host/float/eval.h"
#include "host/quant/lower_internal.h"

static bool is_linear(bl_float_op op) {
  return op == BL_FLOAT_QLINEAR_CONV || op == BL_FLOAT_QLINEAR_MATMUL;
}

static bool is_integer(bl_float_op op) {
  return is_linear(op) || op == BL_FLOAT_CONV_INTEGER || op == BL_FLOAT_MATMUL_INTEGER;
}

// ---- Weights -----------------------------------------------------------------------------------

// The node that quantised a weight operand, through operators that only move data.
static const bl_node *weight_quantiser(const bl_lowering *l, int32_t value) {
  for (uint32_t n = l->graph->node_count; n-- > 0;) {
    const bl_node *node = &l->graph->nodes[n];
    if (node->output_count < 1 || node->outputs[0] != value) continue;
    if (node->op == BL_FLOAT_QUANT || node->op == BL_FLOAT_BIPOLAR_QUANT ||
        node->op == BL_FLOAT_DEQUANTIZE)
      return node;
    if (node->op != BL_FLOAT_TRANSPOSE && node->op != BL_FLOAT_RESHAPE &&
        node->op != BL_FLOAT_IDENTITY)
      return NULL;
    value = node->inputs[0];
  }
  return NULL;
}

static bl_status take_scale(bl_lowering *l, const bl_value *scale, uint32_t channels,
                            bl_lower_weights *w) {
  if (scale == NULL || scale->f == NULL || (scale->count != 1 && scale->count != channels))
    return bl_lower_refuse(l, "its weights' scale is neither one nor one a channel");
  w->scale = bl_lower_channels(l, scale->f, scale->count, channels, 1);
  if (w->scale == NULL) return bl_lower_no_memory(l);
  for (uint32_t n = 0; n < channels; n++)
    if (!(w->scale[n] > 0)) return bl_lower_refuse(l, "a scale of its weights is not positive");
  return BL_OK;
}

// The smallest format that holds lo..hi; false beyond 8 bits.
static bool holds(double lo, double hi, bl_format *format) {
  *format = (bl_format){BL_FORMAT_S, 2};
  while (format->bits <= 8 && (lo < bl_format_min(*format) || hi > bl_format_max(*format)))
    format->bits++;
  return format->bits <= 8;
}

static bl_status qonnx_format(bl_lowering *l, const bl_node *q, bl_lower_weights *w) {
  double lo, hi;
  const bl_value *zero = bl_node_input(l->graph, q, 2);
  if (q->op == BL_FLOAT_BIPOLAR_QUANT) {
    w->format = (bl_format){BL_FORMAT_B, 1};
    return BL_OK;
  }
  BL_TRY(bl_qonnx_range(l->graph, q, &lo, &hi, l->err));
  for (size_t k = 0; k < zero->count; k++)
    if (zero->f[k] != 0) return bl_lower_refuse(l, "its weights have a zero point");
  return holds(lo, hi, &w->format) ? BL_OK
                                   : bl_lower_refuse(l, "its weights have more than 8 bits");
}

// The smallest format that holds the integers q - zero point, which take no more bits than they
// need whatever type the file keeps them in.
static bl_status smallest_format(bl_lowering *l, size_t count, uint32_t channels,
                                 bool channels_last, bl_lower_weights *w) {
  double lo = 0, hi = 0;
  for (size_t k = 0; k < count; k++) {
    size_t n = channels_last ? k % channels : k / (count / channels);
    double q = (double)w->f[k] / w->scale[n];
    if (fabs(q - rint(q)) > 0.01)
      return bl_lower_refuse(l, "its weights' scales do not run along its output channels");
    lo = fmin(lo, rint(q));
    hi = fmax(hi, rint(q));
  }
  return holds(lo, hi, &w->format)
             ? BL_OK
             : bl_lower_refuse(l, "its weights, less their zero point, have more than 8 bits");
}

// scale * (q - zero) of a constant integer operand.
static bl_status real_weights(bl_lowering *l, const bl_value *q, const bl_value *zero,
                              uint32_t channels, bool channels_last, bl_lower_weights *w) {
  if (zero != NULL && !bl_value_constant(zero))
    return bl_lower_refuse(l, "its weights' zero point is not a constant");
  float *f = bl_arena_alloc(l->out->arena, q->count, sizeof *f);
  if (f == NULL) return bl_lower_no_memory(l);
  for (size_t k = 0; k < q->count; k++) {
    size_t n = channels_last ? k % channels : k / (q->count / channels);
    int64_t z = zero == NULL ? 0 : zero->i[zero->count == 1 ? 0 : n];
    f[k] = (float)((double)(q->i[k] - z) * w->scale[n]);
  }
  w->f = f;
  return BL_OK;
}

bl_status bl_lower_take_weights(bl_lowering *l, uint32_t channels, bool channels_last,
                                bl_lower_weights *w) {
  static const float one = 1;
  const bl_node *node = l->node;
  const bl_value *operand = bl_node_weights(l->graph, node);
  int32_t index = (int32_t)(operand - l->graph->values);
  operand = bl_float_session_value(l->session, index);
  *w = (bl_lower_weights){.f = operand->f};
  if (channels == 0 || operand->count == 0) return bl_lower_refuse(l, "it has no weights");
  if (is_integer(node->op)) {
    const bl_value ones = {.f = (float *)&one, .count = 1};
    BL_TRY(
        take_scale(l, is_linear(node->op) ? bl_node_input(l->graph, node, 4) : &ones, channels, w));
    BL_TRY(real_weights(l, operand, bl_node_input(l->graph, node, is_linear(node->op) ? 5 : 3),
                        channels, channels_last, w));
    return smallest_format(l, operand->count, channels, channels_last, w);
  }
  const bl_node *q = weight_quantiser(l, index);
  if (q == NULL) return BL_OK;
  BL_TRY(take_scale(l, bl_node_input(l->graph, q, 1), channels, w));
  return q->op == BL_FLOAT_DEQUANTIZE
             ? smallest_format(l, operand->count, channels, channels_last, w)
             : qonnx_format(l, q, w);
}

// ---- Input and output
// ------------------------------------------------------------------------------

bl_status bl_lower_product_input(bl_lowering *l) {
  const bl_node *node = l->node;
  const bl_view *in = bl_lower_view(l, 0);
  const bl_value *operand = bl_node_weights(l->graph, node);
  if (in == NULL || operand == NULL || l->views[operand - l->graph->values].known)
    return bl_lower_refuse(l, "its operands are not data and weights");
  if (!is_integer(node->op)) return BL_OK;
  if (in->integers == NULL)
    return bl_lower_refuse(l, "its data is the network's own integer input; begin with "
                              "QuantizeLinear");
  if (in->integers->op == BL_FLOAT_DYNAMIC_QUANTIZE) {
    if (node->input_count > 2 && node->inputs[2] == in->integers->outputs[2] &&
        !is_linear(node->op))
      return BL_OK;
    return bl_lower_refuse(l, "its zero point is not that of its data");
  }
  return bl_lower_same_integers(l, is_linear(node->op) ? bl_node_input(l->graph, node, 1) : NULL,
                                bl_node_input(l->graph, node, 2));
}

static bl_status add_integer_bias(bl_lowering *l, bl_stage *s, const bl_value *bias,
                                  double in_scale) {
  if (bias == NULL) return BL_OK;
  if (bias->i == NULL) return bl_lower_refuse(l, "its bias is not a constant");
  double *a = bl_arena_alloc(l->out->arena, s->out_c, sizeof *a);
  if (a == NULL) return bl_lower_no_memory(l);
  for (uint32_t n = 0; n < s->out_c; n++)
    a[n] = (double)bias->i[n] * in_scale * s->weight_scale[n];
  return bl_lower_post(l, s, (bl_post){.kind = BL_POST_ADD, .a = a});
}

bl_status bl_lower_product_output(bl_lowering *l, bl_stage *s) {
  const bl_node *node = l->node;
  const bl_view *in = bl_lower_view(l, 0);
  if (!is_integer(node->op)) return BL_OK;
  if (is_linear(node->op)) {
    double scale = (double)bl_node_input(l->graph, node, 1)->f[0];
    const bl_value *bias =
        node->op == BL_FLOAT_QLINEAR_CONV ? bl_node_input(l->graph, node, 8) : NULL;
    BL_TRY(add_integer_bias(l, s, bias, scale));
    return bl_lower_fix_linear(l, s, bl_node_input(l->graph, node, 6),
                               bl_node_input(l->graph, node, 7));
  }
  if (in->integers->op == BL_FLOAT_DYNAMIC_QUANTIZE) {
    bl_lower_view_out(l)->lacks = in->integers;
    return BL_OK;
  }
  const bl_quantiser *q = bl_lower_quantiser_of(l, in);
  double *a = bl_arena_alloc(l->out->arena, s->out_c, sizeof *a);
  if (a == NULL) return bl_lower_no_memory(l);
  for (uint32_t n = 0; n < s->out_c; n++)
    a[n] = q->scale;
  return bl_lower_post(l, s, (bl_post){.kind = BL_POST_DIV, .a = a});
}

// ---- Dynamic scales
// ------------------------------------------------------------------------------

bl_status bl_lower_scale(bl_lowering *l, bool *done) {
  const bl_view *a = bl_lower_view(l, 0), *b = bl_lower_view(l, 1);
  uint32_t scale_at = b != NULL && b->scale_of != NULL ? 1 : 0, other_at = 1 - scale_at;
  const bl_view *scale = scale_at == 1 ? b : a, *other = scale_at == 1 ? a : b;
  *done = scale != NULL && scale->scale_of != NULL;
  if (!*done) return BL_OK;
  bl_view *out = bl_lower_view_out(l);
  if (other == NULL) {
    const bl_value *factor = bl_lower_value(l, other_at);
    if (scale->factor != NULL || factor->f == NULL)
      return bl_lower_refuse(l, "a dynamic scale meets two factors");
    *out = *scale;
    out->factor = factor;
    return BL_OK;
  }
  if (other->lacks != scale->scale_of)
    return bl_lower_refuse(l, "the scale is not that of the sum's own operand");
  const bl_value *factor = scale->factor;
  if (factor != NULL && !bl_lower_per_channel(l, other, factor))
    return bl_lower_refuse(l, "its scale is not one number, or one for each channel");
  if (factor == NULL) {
    *out = *other;
    out->lacks = NULL;
    return BL_OK;
  }
  bl_stage *s;
  BL_TRY(bl_lower_open(l, other_at, false, &s));
  out->lacks = NULL;
  bl_post post = {.kind = BL_POST_MUL,
                  .a = bl_lower_channels(l, factor->f, factor->count, s->out_c, 1)};
  return post.a == NULL ? bl_lower_no_memory(l) : bl_lower_post(l, s, post);
}
