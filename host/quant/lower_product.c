// SPDX-License-Identifier: Apache-2.0
// Convolutions, matrix products and averages: each starts a stage.
#include "host/quant/lower_internal.h"

static bl_status add_bias(bl_lowering *l, bl_stage *s, const bl_value *bias, double factor) {
  if (bias == NULL) return BL_OK;
  if (bias->count != 1 && bias->count != s->out_c)
    return bl_lower_refuse(l, "its bias is not one number a channel");
  bl_post post = {.kind = BL_POST_ADD,
                  .a = bl_lower_channels(l, bias->f, bias->count, s->out_c, factor)};
  return post.a == NULL ? bl_lower_no_memory(l) : bl_lower_post(l, s, post);
}

bl_status bl_lower_conv(bl_lowering *l) {
  const bl_view *in = bl_lower_view(l, 0);
  const bl_value *w = bl_node_weights(l->graph, l->node);
  bl_lower_weights weights;
  BL_TRY(bl_lower_product_input(l));
  if (in->order != BL_ORDER_NCHW)
    return bl_lower_refuse(l, "its input's channels are not the second axis");
  bl_stage *s = bl_lower_new(l, in);
  BL_TRY(bl_lower_window(l, s, in));
  s->out_c = (uint32_t)w->dims[0];
  s->window.groups = (uint32_t)bl_node_int(l->node, "group", 1);
  size_t group_in = (size_t)w->dims[1], taps = (size_t)w->dims[2] * (size_t)w->dims[3];
  s->weights = bl_arena_alloc(l->out->arena, w->count, sizeof *s->weights);
  if (s->weights == NULL) return bl_lower_no_memory(l);
  BL_TRY(bl_lower_take_weights(l, s->out_c, false, &weights));
  for (size_t n = 0; n < s->out_c; n++)
    for (size_t c = 0; c < group_in; c++)
      for (size_t t = 0; t < taps; t++)
        s->weights[(n * taps + t) * group_in + c] = weights.f[(n * group_in + c) * taps + t];
  s->weight_scale = weights.scale;
  s->weight_format = weights.format;
  if (l->node->op == BL_FLOAT_CONV) BL_TRY(add_bias(l, s, bl_lower_value(l, 2), 1));
  bl_lower_show(l, s, BL_ORDER_NCHW);
  return bl_lower_product_output(l, s);
}

// Fully connected: a kernel as large as the map that was flattened.
bl_status bl_lower_product(bl_lowering *l) {
  const bl_view *in = bl_lower_view(l, 0);
  const bl_value *b = bl_node_weights(l->graph, l->node);
  bl_lower_weights weights;
  bool gemm = l->node->op == BL_FLOAT_GEMM;
  bool transposed = gemm && bl_node_int(l->node, "transB", 0) != 0;
  BL_TRY(bl_lower_product_input(l));
  if (b->rank != 2 || (gemm && bl_node_int(l->node, "transA", 0) != 0))
    return bl_lower_refuse(l, "its weights are not a matrix or its data is transposed");
  size_t k_count = (size_t)b->dims[transposed ? 1 : 0], pixels = (size_t)in->h * in->w;
  if (k_count != pixels * in->c) return bl_lower_refuse(l, "it does not reduce over the whole map");
  bl_stage *s = bl_lower_new(l, in);
  s->out_c = (uint32_t)b->dims[transposed ? 0 : 1];
  s->window.kernel_h = in->h;
  s->window.kernel_w = in->w;
  s->conv_h = s->conv_w = s->out_h = s->out_w = 1;
  s->weights = bl_arena_alloc(l->out->arena, b->count, sizeof *s->weights);
  if (s->weights == NULL) return bl_lower_no_memory(l);
  double alpha = gemm ? (double)bl_node_float(l->node, "alpha", 1) : 1;
  if (alpha != 1) return bl_lower_refuse(l, "alpha is not 1");
  BL_TRY(bl_lower_take_weights(l, s->out_c, !transposed, &weights));
  for (size_t n = 0; n < s->out_c; n++)
    for (size_t k = 0; k < k_count; k++) {
      size_t from = in->order == BL_ORDER_NCHW ? k % in->c * pixels + k / in->c : k;
      s->weights[n * k_count + k] =
          weights.f[transposed ? n * k_count + from : from * s->out_c + n];
    }
  s->weight_scale = weights.scale;
  s->weight_format = weights.format;
  if (gemm) BL_TRY(add_bias(l, s, bl_lower_value(l, 2), (double)bl_node_float(l->node, "beta", 1)));
  bl_lower_show(l, s, BL_ORDER_NCHW);
  return bl_lower_product_output(l, s);
}

bl_status bl_lower_average(bl_lowering *l) {
  const bl_view *in = bl_lower_view(l, 0);
  if (in == NULL || in->order != BL_ORDER_NCHW) return bl_lower_refuse(l, "its input is not a map");
  bl_stage *s = bl_lower_new(l, in);
  BL_TRY(bl_lower_window(l, s, in));
  const bl_int_layer *w = &s->window;
  bool padded = w->pad_top + w->pad_left + w->pad_bottom + w->pad_right > 0;
  if (padded && bl_node_int(l->node, "count_include_pad", 0) == 0)
    return bl_lower_refuse(l, "an average that leaves padding out is not mapped");
  if ((s->conv_h - 1) * w->stride_h + w->kernel_h > s->in_h + w->pad_top + w->pad_bottom ||
      (s->conv_w - 1) * w->stride_w + w->kernel_w > s->in_w + w->pad_left + w->pad_right)
    return bl_lower_refuse(l, "ceil_mode leaves its last windows with fewer pixels");
  s->out_c = in->c;
  s->window.groups = in->c;
  BL_TRY(bl_lower_unit_weights(l, s));
  float area = (float)(w->kernel_h * w->kernel_w);
  bl_post post = {.kind = BL_POST_DIV, .a = bl_lower_channels(l, &area, 1, s->out_c, 1)};
  if (post.a == NULL) return bl_lower_no_memory(l);
  bl_lower_show(l, s, BL_ORDER_NCHW);
  return bl_lower_post(l, s, post);
}
