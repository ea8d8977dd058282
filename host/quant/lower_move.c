// SPDX-License-Identifier: Apache-2.0
// Operations that only move data: most are another view of the same stage.
#include <string.h>

#include "host/quant/lower_internal.h"

bl_status bl_lower_transpose(bl_lowering *l) {
  const bl_attribute *perm = bl_node_attribute(l->node, "perm");
  const bl_view *in = bl_lower_view(l, 0);
  static const int64_t to_nhwc[4] = {0, 2, 3, 1}, to_nchw[4] = {0, 3, 1, 2};
  bl_view *out = bl_lower_view_out(l);
  *out = *in;
  if (perm == NULL || perm->int_count != 4)
    return bl_lower_refuse(l, "this order of axes is not mapped");
  bool nhwc = memcmp(perm->ints, to_nhwc, sizeof to_nhwc) == 0;
  bool nchw = memcmp(perm->ints, to_nchw, sizeof to_nchw) == 0;
  if (in->producer == BL_STAGE_INPUT && nchw && in->order == BL_ORDER_NCHW) {
    // the file holds pixels with channels innermost
    l->out->input_channels_last = true;
    const bl_value *v = bl_float_session_value(l->session, l->node->outputs[0]);
    out->c = (uint32_t)v->dims[1];
    out->h = (uint32_t)v->dims[2];
    out->w = (uint32_t)v->dims[3];
    return BL_OK;
  }
  if ((nhwc && in->order != BL_ORDER_NCHW) || (nchw && in->order != BL_ORDER_NHWC) ||
      (!nhwc && !nchw))
    return bl_lower_refuse(l, "this order of axes is not mapped");
  out->order = nhwc ? BL_ORDER_NHWC : BL_ORDER_NCHW;
  return BL_OK;
}

bl_status bl_lower_reshape(bl_lowering *l) {
  const bl_view *in = bl_lower_view(l, 0);
  const bl_value *v = bl_float_session_value(l->session, l->node->outputs[0]);
  bl_view *out = bl_lower_view_out(l);
  *out = *in;
  bool one_pixel = in->h == 1 && in->w == 1;
  if (v->rank == 4 && (in->producer == BL_STAGE_INPUT || one_pixel)) {
    bool last = one_pixel && in->producer != BL_STAGE_INPUT && v->dims[3] == in->c;
    out->order = last ? BL_ORDER_NHWC : BL_ORDER_NCHW;
    out->c = (uint32_t)v->dims[last ? 3 : 1];
    out->h = (uint32_t)v->dims[last ? 1 : 2];
    out->w = (uint32_t)v->dims[last ? 2 : 3];
    if (last) out->order = BL_ORDER_NCHW; // one pixel: both orders are the same
    return BL_OK;
  }
  if (v->rank == 2 && v->dims[1] == (int64_t)in->h * in->w * in->c) return BL_OK;
  return bl_lower_refuse(l, "only flattening a whole map is mapped");
}

bl_status bl_lower_select(bl_lowering *l, bl_stage *copy, uint32_t channels, const uint32_t *from) {
  copy->out_c = channels;
  copy->window.groups = 1;
  copy->unit_weights = false;
  copy->weight_format = (bl_format){BL_FORMAT_S, 2};
  copy->weights =
      bl_arena_alloc(l->out->arena, (size_t)channels * copy->in_c, sizeof *copy->weights);
  copy->weight_scale = bl_arena_alloc(l->out->arena, channels, sizeof *copy->weight_scale);
  if (copy->weights == NULL || copy->weight_scale == NULL) return bl_lower_no_memory(l);
  for (uint32_t n = 0; n < channels; n++) {
    copy->weight_scale[n] = 1;
    if (from[n] < copy->in_c) copy->weights[(size_t)n * copy->in_c + from[n]] = 1;
  }
  return BL_OK;
}

static int64_t axis_of(const bl_node *node, uint32_t rank) {
  const int64_t axis = bl_node_int(node, "axis", 0);
  return axis < 0 ? axis + rank : axis;
}

// Some of the channels, in an order of their own: a copy of one tap that chooses them.
static bl_status choose_channels(bl_lowering *l, const bl_view *in, uint32_t channels,
                                 const uint32_t *from) {
  bl_stage *s;
  BL_TRY(bl_lower_copy(l, in, &s));
  BL_TRY(bl_lower_select(l, s, channels, from));
  bl_lower_show(l, s, in->order);
  return BL_OK;
}

bl_status bl_lower_gather(bl_lowering *l) {
  const bl_view in = *bl_lower_view(l, 0);
  const bl_value *order = bl_lower_value(l, 1), *v = bl_lower_value(l, 0);
  const int64_t axis = axis_of(l->node, v->rank);
  const bool channels = v->rank == 4 ? axis == (in.order == BL_ORDER_NCHW ? 1 : 3)
                                     : axis == 1 && v->rank == 2 && in.h * in.w == 1;
  if (!channels || in.up || order == NULL || order->i == NULL || order->rank != 1 ||
      order->count < 1 || order->count > BL_INT_MAX_DIM)
    return bl_lower_refuse(l, "only a constant choice of channels is mapped");
  uint32_t *from = bl_arena_alloc(l->out->arena, order->count, sizeof *from);
  if (from == NULL) return bl_lower_no_memory(l);
  for (size_t k = 0; k < order->count; k++) {
    const int64_t c = order->i[k] < 0 ? order->i[k] + in.c : order->i[k];
    if (c < 0 || c >= (int64_t)in.c)
      return bl_lower_refuse(l, "it chooses channels that are not there");
    from[k] = (uint32_t)c;
  }
  return choose_channels(l, &in, (uint32_t)order->count, from);
}

// A Slice of the channels alone, with constant operands, in any step.
static bool slices_channels(const bl_lowering *l, const bl_view *in) {
  const bl_value *x = bl_lower_value(l, 0),
                 *v = bl_float_session_value(l->session, l->node->outputs[0]);
  const bl_value *starts = bl_lower_value(l, 1), *axes = bl_lower_value(l, 3);
  return v->rank == 4 && in->order == BL_ORDER_NCHW && !in->up && starts != NULL &&
         starts->i != NULL && starts->count == 1 && axes != NULL && axes->i != NULL &&
         (axes->i[0] == 1 || axes->i[0] == -3) && v->dims[2] == x->dims[2] &&
         v->dims[3] == x->dims[3] && v->dims[1] >= 1 && v->dims[1] <= BL_INT_MAX_DIM;
}

static bl_status lower_channel_slice(bl_lowering *l, const bl_view *in) {
  const bl_value *steps = bl_lower_value(l, 4);
  const uint32_t channels =
      (uint32_t)bl_float_session_value(l->session, l->node->outputs[0])->dims[1];
  const int64_t step = steps != NULL && steps->i != NULL ? bl_slice_step(steps->i[0]) : 1;
  int64_t start = bl_lower_value(l, 1)->i[0];
  if (start < 0) start += in->c;
  if (start >= (int64_t)in->c) start = (int64_t)in->c - 1; // only a step back begins there
  uint32_t *from = bl_arena_alloc(l->out->arena, channels, sizeof *from);
  if (from == NULL) return bl_lower_no_memory(l);
  for (uint32_t k = 0; k < channels; k++) {
    const int64_t c = start + (int64_t)k * step;
    if (c < 0 || c >= (int64_t)in->c)
      return bl_lower_refuse(l, "it chooses channels that are not there");
    from[k] = (uint32_t)c;
  }
  return choose_channels(l, in, channels, from);
}

// Every k-th pixel of the map: a copy with a stride.
bl_status bl_lower_slice(bl_lowering *l) {
  const bl_view in = *bl_lower_view(l, 0);
  const bl_value *v = bl_float_session_value(l->session, l->node->outputs[0]);
  const bl_value *starts = bl_lower_value(l, 1), *axes = bl_lower_value(l, 3),
                 *steps = bl_lower_value(l, 4);
  uint32_t stride[4] = {1, 1, 1, 1};
  bool plain = v->rank == 4 && in.order == BL_ORDER_NCHW && !in.up && starts != NULL &&
               starts->i != NULL && v->dims[1] == (int64_t)in.c;
  for (size_t k = 0; plain && k < starts->count; k++) {
    int64_t axis = axes != NULL ? axes->i[k] : (int64_t)k, step = steps != NULL ? steps->i[k] : 1;
    if (axis < 0) axis += 4;
    plain = starts->i[k] == 0 && axis >= 0 && axis < 4 && step >= 1 && step <= UINT8_MAX &&
            (axis >= 2 || step == 1);
    if (plain) stride[axis] = (uint32_t)step;
  }
  if (!plain && slices_channels(l, &in)) return lower_channel_slice(l, &in);
  uint32_t h = (in.h + stride[2] - 1) / stride[2], w = (in.w + stride[3] - 1) / stride[3];
  if (!plain || v->dims[2] != (int64_t)h || v->dims[3] != (int64_t)w)
    return bl_lower_refuse(l,
                           "only every k-th pixel of a whole map, or channels of it, are mapped");
  bl_stage *s;
  BL_TRY(bl_lower_copy(l, &in, &s));
  s->window.stride_h = stride[2];
  s->window.stride_w = stride[3];
  s->conv_h = s->out_h = h;
  s->conv_w = s->out_w = w;
  bl_lower_show(l, s, BL_ORDER_NCHW);
  return BL_OK;
}

// Channels of zeros before and behind: a copy whose new channels have no weights.
static bl_status pad_channels(bl_lowering *l, const bl_view *in, uint32_t before, uint32_t behind) {
  bl_stage *s = bl_lower_stage(l, in);
  bool copy = s != NULL && s->unit_weights && s->window.groups == s->in_c &&
              s->window.kernel_h * s->window.kernel_w == 1 && s->post_count == 0 && !s->pooled &&
              !s->quantised && s->addend == BL_STAGE_NONE && s->part_count == 0 &&
              !bl_lower_shared(l, 0);
  if (!copy) BL_TRY(bl_lower_copy(l, in, &s));
  const uint32_t channels = before + s->in_c + behind;
  uint32_t *from = bl_arena_alloc(l->out->arena, channels, sizeof *from);
  if (from == NULL) return bl_lower_no_memory(l);
  for (uint32_t n = 0; n < channels; n++)
    from[n] = n < before ? UINT32_MAX : n - before;
  BL_TRY(bl_lower_select(l, s, channels, from));
  s->value = l->node->outputs[0];
  bl_lower_show(l, s, BL_ORDER_NCHW);
  return BL_OK;
}

bl_status bl_lower_pad(bl_lowering *l) {
  const bl_view *in = bl_lower_view(l, 0);
  const bl_value *constant = bl_lower_value(l, 2), *pads_value = bl_lower_value(l, 1);
  const bl_attribute *a = bl_node_attribute(l->node, "pads");
  const int64_t *pads = pads_value != NULL ? pads_value->i : a != NULL ? a->ints : NULL;
  bool zero = constant != NULL ? constant->count == 0 || bl_value_constant(constant)
                               : bl_node_float(l->node, "value", 0) == 0;
  if (zero && constant != NULL && constant->count > 0)
    zero = constant->f != NULL && constant->f[0] == 0;
  const bl_value *v = bl_float_session_value(l->session, l->node->outputs[0]);
  if (strcmp(bl_node_string(l->node, "mode", "constant"), "constant") != 0 || !zero ||
      v->rank != 4 || in->order != BL_ORDER_NCHW || pads == NULL || pads[0] != 0 || pads[4] != 0)
    return bl_lower_refuse(l, "only zero padding of channels or of the two map axes is mapped");
  if (pads[1] != 0 || pads[5] != 0) {
    if (pads[1] < 0 || pads[5] < 0 || pads[2] + pads[3] + pads[6] + pads[7] != 0 ||
        pads[1] + pads[5] > BL_INT_MAX_DIM)
      return bl_lower_refuse(l, "only zero padding of channels or of the two map axes is mapped");
    return pad_channels(l, in, (uint32_t)pads[1], (uint32_t)pads[5]);
  }
  bl_view *out = bl_lower_view_out(l);
  *out = *in;
  for (int k = 0; k < 4; k++) {
    int64_t p = pads[k < 2 ? k + 2 : k + 4];
    if (p < 0) return bl_lower_refuse(l, "negative padding is not mapped");
    out->pad[k] += (uint32_t)p;
  }
  return BL_OK;
}
