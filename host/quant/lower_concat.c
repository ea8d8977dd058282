// SPDX-License-Identifier: Apache-2.0
// Branches side by side in the channels. Each becomes a part of one tensor, which a layer of the
// branch writes at the part's channels: its requantisation goes straight to the scale that all
// parts share. A branch that is read elsewhere too, or whose integers are fixed otherwise, is
// copied. A part starts at a multiple of the device's columns: where the branches do not come out
// so, their layers write channels of zeros behind, and a copy of the whole leaves them out again.
#include <string.h>

#include "host/quant/lower_internal.h"

// The graph gives every branch the same integers: they are the parts' as they are.
static bool all_quantised(const bl_lowering *l) {
  const bl_stage *first = bl_lower_stage(l, bl_lower_view(l, 0));
  for (uint32_t k = 0; k < l->node->input_count; k++) {
    const bl_stage *s = bl_lower_stage(l, bl_lower_view(l, k));
    if (s == NULL || !s->quantised || !bl_lower_same_quantiser(&s->quantiser, &first->quantiser))
      return false;
  }
  return true;
}

static bool channel_axis(const bl_lowering *l, const bl_view *first) {
  const bl_value *v = bl_float_session_value(l->session, l->node->outputs[0]);
  int64_t axis = bl_node_int(l->node, "axis", 1);
  if (axis < 0) axis += v->rank;
  if (v->rank == 4) return axis == (first->order == BL_ORDER_NCHW ? 1 : 3);
  return axis == (int64_t)v->rank - 1 && first->h == 1 && first->w == 1;
}

static bl_status check_branches(const bl_lowering *l) {
  const bl_view *first = bl_lower_view(l, 0);
  if (l->node->input_count > BL_LOWER_MAX_PARTS) return bl_lower_refuse(l, "more than 16 branches");
  for (uint32_t k = 0; k < l->node->input_count; k++) {
    const bl_view *in = bl_lower_view(l, k);
    if (in == NULL) return bl_lower_refuse(l, "one of its branches is constant");
    if (in->h != first->h || in->w != first->w || in->order != first->order)
      return bl_lower_refuse(l, "its branches differ in shape");
    if ((in->integers != NULL) != (first->integers != NULL) ||
        (first->integers != NULL && !all_quantised(l)))
      return bl_lower_refuse(l, "its branches are integers of different scales");
    if (in->pad[0] + in->pad[1] + in->pad[2] + in->pad[3] > 0)
      return bl_lower_refuse(l, "padding is only mapped in front of a convolution");
  }
  if (!channel_axis(l, first))
    return bl_lower_refuse(l, "only branches side by side in the channels are mapped");
  return BL_OK;
}

static uint32_t whole_tiles(const bl_lowering *l, uint32_t c) {
  const uint32_t tile = l->options->part_channels;
  return (c + tile - 1) / tile * tile;
}

// May zero channels be added behind a layer's own?
static bool may_widen(const bl_stage *s) {
  return s->window.groups == 1 && !s->unit_weights && s->addend == BL_STAGE_NONE &&
         (s->weight_scale == NULL || s->weight_format.kind == BL_FORMAT_S);
}

// A copy of `from`, an array of the stage's channels, the new ones like the first; NULL: no memory.
static double *widen_array(const bl_lowering *l, const double *from, uint32_t c, uint32_t wide) {
  double *to = bl_arena_alloc(l->out->arena, wide, sizeof *to);
  for (uint32_t n = 0; to != NULL && n < wide; n++)
    to[n] = from[n < c ? n : 0];
  return to;
}

static bl_status widen_post(const bl_lowering *l, bl_post *p, uint32_t c, uint32_t wide) {
  if (p->kind == BL_POST_CLAMP) return BL_OK;
  p->a = widen_array(l, p->a, c, wide);
  if (p->a == NULL) return bl_lower_no_memory(l);
  if (p->kind != BL_POST_NORM) return BL_OK;
  p->b = widen_array(l, p->b, c, wide);
  p->c = widen_array(l, p->c, c, wide);
  p->d = widen_array(l, p->d, c, wide);
  return p->b == NULL || p->c == NULL || p->d == NULL ? bl_lower_no_memory(l) : BL_OK;
}

static bl_status widen(bl_lowering *l, bl_stage *s, uint32_t wide) {
  size_t fan = (size_t)s->window.kernel_h * s->window.kernel_w * s->in_c;
  float *weights = bl_arena_alloc(l->out->arena, wide * fan, sizeof *weights);
  if (weights == NULL) return bl_lower_no_memory(l);
  memcpy(weights, s->weights, s->out_c * fan * sizeof *weights);
  s->weights = weights;
  if (s->weight_scale != NULL) {
    s->weight_scale = widen_array(l, s->weight_scale, s->out_c, wide);
    if (s->weight_scale == NULL) return bl_lower_no_memory(l);
  }
  for (uint32_t k = 0; k < s->post_count; k++)
    BL_TRY(widen_post(l, &s->posts[k], s->out_c, wide));
  s->out_c = wide;
  return BL_OK;
}

// A copy with zero channels behind.
static bl_status widen_copy(bl_lowering *l, bl_stage *copy, uint32_t wide) {
  uint32_t *from = bl_arena_alloc(l->out->arena, wide, sizeof *from);
  if (from == NULL) return bl_lower_no_memory(l);
  for (uint32_t n = 0; n < wide; n++)
    from[n] = n;
  return bl_lower_select(l, copy, wide, from);
}

// The stage that writes branch `k` as a part, of whole tiles of channels unless it is the last.
static bl_status take_part(bl_lowering *l, uint32_t k, bool quantised, bl_stage **part) {
  const bl_view in = *bl_lower_view(l, k);
  bl_stage *s = bl_lower_stage(l, &in);
  uint32_t wide = k + 1 < l->node->input_count ? whole_tiles(l, in.c) : in.c;
  bool own = s == NULL || s->is_part || s->part_count > 0 || in.up || s->quantised != quantised ||
             bl_lower_shared(l, k);
  if (own || (wide != in.c && !may_widen(s))) {
    const bl_stage *from = s;
    BL_TRY(bl_lower_copy(l, &in, &s));
    if (quantised) bl_lower_quantise_as(s, from);
    s->ties_input = !own;
    s->value = l->node->inputs[k];
    if (wide != in.c) BL_TRY(widen_copy(l, s, wide));
  } else if (wide != in.c) {
    BL_TRY(widen(l, s, wide));
  }
  s->is_part = true;
  *part = s;
  return BL_OK;
}

// Leaves out the channels between the parts of `all`.
static bl_status close_up(bl_lowering *l, const bl_stage *all, bl_order order) {
  const bl_view in = *bl_lower_view_out(l);
  uint32_t *from = bl_arena_alloc(l->out->arena, all->out_c, sizeof *from), n = 0, start = 0;
  if (from == NULL) return bl_lower_no_memory(l);
  for (uint32_t k = 0; k < all->part_count; k++) {
    for (uint32_t c = 0; c < bl_lower_view(l, k)->c; c++)
      from[n++] = start + c;
    start += l->out->stages[all->parts[k]].out_c;
  }
  bl_stage *s;
  BL_TRY(bl_lower_copy(l, &in, &s));
  BL_TRY(bl_lower_select(l, s, n, from));
  s->closes_up = true;
  if (all->quantised) bl_lower_quantise_as(s, all);
  bl_lower_show(l, s, order);
  return BL_OK;
}

bl_status bl_lower_concat(bl_lowering *l) {
  if (l->node->input_count == 1) {
    *bl_lower_view_out(l) = *bl_lower_view(l, 0);
    return BL_OK;
  }
  BL_TRY(check_branches(l));
  const bl_view first = *bl_lower_view(l, 0);
  bool quantised = all_quantised(l);
  uint32_t parts[BL_LOWER_MAX_PARTS] = {0}, c = 0, real = 0, count = l->node->input_count;
  for (uint32_t k = 0; k < count; k++) {
    bl_stage *s;
    BL_TRY(take_part(l, k, quantised, &s));
    parts[k] = (uint32_t)(s - l->out->stages);
    real += bl_lower_view(l, k)->c;
    c += s->out_c;
  }
  if (c > BL_INT_MAX_DIM) return bl_lower_refuse(l, "too many channels");
  bl_view all = {.known = true, .producer = (int32_t)parts[0], .h = first.h, .w = first.w, .c = c};
  bl_stage *s = bl_lower_new(l, &all);
  s->part_count = count;
  memcpy(s->parts, parts, count * sizeof *parts);
  s->conv_h = s->out_h = first.h;
  s->conv_w = s->out_w = first.w;
  s->out_c = c;
  if (quantised) bl_lower_quantise_as(s, &l->out->stages[parts[0]]);
  bl_lower_show(l, s, first.order);
  return real == c ? BL_OK : close_up(l, s, first.order);
}

bl_stage *bl_lower_open_parts(bl_lowering *l, const bl_quantiser *q) {
  const bl_view *in = bl_lower_view(l, 0);
  bl_stage *s = bl_lower_stage(l, in);
  if (s == NULL || (s->part_count == 0 && !s->closes_up) || s->quantised || in->up ||
      s->post_count > 0 || s->pooled || s->addend != BL_STAGE_NONE || bl_lower_shared(l, 0))
    return NULL;
  bl_stage *all = s->closes_up ? &l->out->stages[s->input] : s;
  for (uint32_t k = 0; k < all->part_count; k++)
    if (l->out->stages[all->parts[k]].function != NULL &&
        (q == NULL || q->format.kind == BL_FORMAT_B))
      return NULL; // nothing comes behind a table, and its output is no b1
  s->value = all->value = l->node->outputs[0];
  *bl_lower_view_out(l) = *in;
  return all;
}
