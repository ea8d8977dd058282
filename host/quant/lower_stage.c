// SPDX-License-Identifier: Apache-2.0
// What the rules of lowering share: views of values, stages, what is added to a stage.
#include "host/quant/lower_internal.h"

bl_status bl_lower_refuse(const bl_lowering *l, const char *what) {
  return bl_fail(l->err, BL_ERR_UNSUPPORTED, "node %s (%s): %s", l->node->name,
                 bl_float_op_name(l->node->op), what);
}

bl_status bl_lower_no_memory(const bl_lowering *l) {
  return bl_fail(l->err, BL_ERR_MEMORY, "node %s: no memory", l->node->name);
}

const bl_view *bl_lower_view(const bl_lowering *l, uint32_t k) {
  if (k >= l->node->input_count || l->node->inputs[k] < 0) return NULL;
  const bl_view *v = &l->views[l->node->inputs[k]];
  return v->known ? v : NULL;
}

bl_view *bl_lower_view_out(const bl_lowering *l) {
  return &l->views[l->node->outputs[0]];
}

const bl_value *bl_lower_value(const bl_lowering *l, uint32_t k) {
  if (k >= l->node->input_count || l->node->inputs[k] < 0) return NULL;
  return bl_float_session_value(l->session, l->node->inputs[k]);
}

bl_stage *bl_lower_stage(const bl_lowering *l, const bl_view *v) {
  return v->producer == BL_STAGE_INPUT ? NULL : &l->out->stages[v->producer];
}

bl_stage *bl_lower_new(bl_lowering *l, const bl_view *in) {
  bl_stage *s = &l->out->stages[l->out->stage_count++];
  *s = (bl_stage){.name = l->node->name,
                  .input = in->producer,
                  .in_h = in->h,
                  .in_w = in->w,
                  .in_c = in->c,
                  .value = l->node->outputs[0]};
  s->window.kernel_h = s->window.kernel_w = s->window.stride_h = s->window.stride_w = 1;
  s->window.dilation_h = s->window.dilation_w = s->window.groups = 1;
  s->window.pool_h = s->window.pool_w = s->window.pool_stride_h = s->window.pool_stride_w = 1;
  s->window.upsample = in->up;
  s->addend = BL_STAGE_NONE;
  if (in->producer == BL_STAGE_INPUT) {
    l->out->in_h = in->up ? in->h / 2 : in->h;
    l->out->in_w = in->up ? in->w / 2 : in->w;
    l->out->in_c = in->c;
  }
  return s;
}

void bl_lower_show(bl_lowering *l, const bl_stage *s, bl_order axes) {
  *bl_lower_view_out(l) = (bl_view){.known = true,
                                    .producer = (int32_t)(s - l->out->stages),
                                    .order = axes,
                                    .h = s->out_h,
                                    .w = s->out_w,
                                    .c = s->out_c};
}

bl_status bl_lower_unit_weights(bl_lowering *l, bl_stage *s) {
  size_t count = (size_t)s->out_c * s->window.kernel_h * s->window.kernel_w;
  s->unit_weights = true;
  s->weights = bl_arena_alloc(l->out->arena, count, sizeof *s->weights);
  if (s->weights == NULL) return bl_lower_no_memory(l);
  for (size_t k = 0; k < count; k++)
    s->weights[k] = 1;
  return BL_OK;
}

bl_status bl_lower_copy(bl_lowering *l, const bl_view *in, bl_stage **stage) {
  if (in->pad[0] + in->pad[1] + in->pad[2] + in->pad[3] > 0)
    return bl_lower_refuse(l, "padding is only mapped in front of a convolution");
  bl_stage *s = *stage = bl_lower_new(l, in);
  s->window.groups = in->c;
  s->conv_h = s->out_h = in->h;
  s->conv_w = s->out_w = in->w;
  s->out_c = in->c;
  return bl_lower_unit_weights(l, s);
}

bl_status bl_lower_window(bl_lowering *l, bl_stage *s, const bl_view *in) {
  bl_window w;
  BL_TRY(bl_node_window(l->graph, l->node, &w, l->err));
  if (w.rank != 2) return bl_lower_refuse(l, "only two spatial dimensions are mapped");
  bl_int_layer *i = &s->window;
  i->kernel_h = (uint32_t)w.kernel[0], i->kernel_w = (uint32_t)w.kernel[1];
  i->stride_h = (uint32_t)w.stride[0], i->stride_w = (uint32_t)w.stride[1];
  i->dilation_h = (uint32_t)w.dilation[0], i->dilation_w = (uint32_t)w.dilation[1];
  i->pad_top = (uint32_t)w.pad_begin[0] + in->pad[0];
  i->pad_left = (uint32_t)w.pad_begin[1] + in->pad[1];
  i->pad_bottom = (uint32_t)w.pad_end[0] + in->pad[2];
  i->pad_right = (uint32_t)w.pad_end[1] + in->pad[3];
  s->conv_h = s->out_h = (uint32_t)w.out[0];
  s->conv_w = s->out_w = (uint32_t)w.out[1];
  return BL_OK;
}

bl_status bl_lower_post(bl_lowering *l, bl_stage *s, bl_post post) {
  if (s->post_count == BL_LOWER_MAX_POSTS)
    return bl_lower_refuse(l, "too many element-wise operations");
  s->posts[s->post_count++] = post;
  return BL_OK;
}

double *bl_lower_channels(bl_lowering *l, const float *f, size_t count, uint32_t channels,
                          double factor) {
  double *d = bl_arena_alloc(l->out->arena, channels, sizeof *d);
  for (uint32_t n = 0; d != NULL && n < channels; n++)
    d[n] = (double)f[count == 1 ? 0 : n] * factor;
  return d;
}

bool bl_lower_shared(const bl_lowering *l, uint32_t k) {
  return l->consumers[l->node->inputs[k]] > 1 || bl_lower_view(l, k)->shared;
}

bl_status bl_lower_open(bl_lowering *l, uint32_t k, bool monotone, bl_stage **stage) {
  const bl_view *in = bl_lower_view(l, k);
  bl_stage *s = bl_lower_stage(l, in);
  if (s == NULL || bl_lower_shared(l, k) || s->quantised || s->function != NULL ||
      s->part_count > 0 || in->up || (s->pooled && !monotone)) {
    BL_TRY(bl_lower_copy(l, in, &s));
    bl_lower_show(l, s, in->order);
  } else {
    *bl_lower_view_out(l) = *in;
  }
  s->value = l->node->outputs[0];
  *stage = s;
  return BL_OK;
}
