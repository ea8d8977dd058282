// SPDX-License-Identifier: Apache-2.0
// Up-sampling to the nearest neighbour: the next layer sees its input twice as high and wide. Other
// powers of two, in one direction or both, are copies in between.
#include "host/quant/lower_internal.h"

// The power of two by which an axis grows, each position the same number of times; -1: none.
static int doublings(const bl_resize *r, uint32_t axis) {
  if (r->in[axis] < 1 || r->out[axis] % r->in[axis] != 0) return -1;
  int64_t factor = r->out[axis] / r->in[axis];
  for (int64_t x = 0; x < r->out[axis]; x++)
    if (bl_resize_source(r, axis, x) != x / factor) return -1;
  int n = 0;
  for (; factor > 1; factor /= 2, n++)
    if (factor % 2 != 0) return -1;
  return n;
}

// A layer that reads `in` up-sampled, or every second row or column of that.
static bl_status grow(bl_lowering *l, bl_view *in, bool high, bool wide) {
  bl_stage *s;
  const bl_stage *from = bl_lower_stage(l, in);
  bl_view up = *in;
  up.up = true;
  up.h *= 2;
  up.w *= 2;
  BL_TRY(bl_lower_copy(l, &up, &s));
  if (from != NULL && from->quantised) bl_lower_quantise_as(s, from);
  s->window.stride_h = high ? 1 : 2;
  s->window.stride_w = wide ? 1 : 2;
  s->conv_h = s->out_h = high ? up.h : in->h;
  s->conv_w = s->out_w = wide ? up.w : in->w;
  bl_lower_show(l, s, BL_ORDER_NCHW);
  *in = *bl_lower_view_out(l);
  return BL_OK;
}

bl_status bl_lower_resize(bl_lowering *l) {
  bl_view in = *bl_lower_view(l, 0);
  bl_resize r;
  BL_TRY(bl_node_resize(l->graph, l->node, &r, l->err));
  int high = r.rank == 4 ? doublings(&r, 2) : -1, wide = r.rank == 4 ? doublings(&r, 3) : -1;
  if (high < 0 || wide < 0 || r.out[0] != r.in[0] || r.out[1] != r.in[1])
    return bl_lower_refuse(l, "only the nearest neighbour, higher and wider by powers of two, is "
                              "mapped");
  if (in.order != BL_ORDER_NCHW || in.pad[0] + in.pad[1] + in.pad[2] + in.pad[3] > 0)
    return bl_lower_refuse(l, "its input is not a map without padding");
  if (r.out[2] > BL_INT_MAX_DIM || r.out[3] > BL_INT_MAX_DIM)
    return bl_lower_refuse(l, "its output is too large");
  bl_stage *s;
  if (in.up && high + wide > 0) {
    BL_TRY(bl_lower_copy(l, &in, &s));
    bl_lower_show(l, s, BL_ORDER_NCHW);
    in = *bl_lower_view_out(l);
  }
  for (; high != wide || high > 1; high -= high > 0, wide -= wide > 0)
    BL_TRY(grow(l, &in, high > 0, wide > 0));
  if (high == 1) {
    in.up = true;
    in.h *= 2;
    in.w *= 2;
  }
  *bl_lower_view_out(l) = in;
  return BL_OK;
}
