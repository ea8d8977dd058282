// SPDX-License-Identifier: Apache-2.0
// Element-wise operations, additions of branches and maximum pooling: each goes to the end of a
// stage.
#include <math.h>

#include "host/quant/lower_internal.h"

bool bl_lower_per_channel(const bl_lowering *l, const bl_view *in, const bl_value *c) {
  if (c->count == 1) return true;
  const bl_value *x = bl_float_session_value(l->session, l->node->outputs[0]);
  uint32_t axis = x->rank == 4 ? (in->order == BL_ORDER_NCHW ? 1 : 3) : x->rank - 1;
  if (x->rank == 2 && (in->h != 1 || in->w != 1)) return false;
  if (c->count != in->c || c->rank > x->rank) return false;
  for (uint32_t k = 0; k < c->rank; k++)
    if (c->dims[k] != 1 && k + x->rank - c->rank != axis) return false;
  return true;
}

// On the network's input only one number for all: it goes into the preprocessing.
static bl_status input_affine(bl_lowering *l, const bl_value *c, bool swapped) {
  bl_lowered *o = l->out;
  double v = (double)c->f[0];
  bool minus = l->node->op == BL_FLOAT_SUB, times = l->node->op == BL_FLOAT_MUL;
  if (minus && swapped) {
    o->input_mul = -o->input_mul;
    o->input_add = v - o->input_add;
  } else if (l->node->op == BL_FLOAT_ADD || minus) {
    o->input_add += minus ? -v : v;
  } else {
    o->input_mul = times ? o->input_mul * v : o->input_mul / v;
    o->input_add = times ? o->input_add * v : o->input_add / v;
  }
  *bl_lower_view_out(l) = *bl_lower_view(l, swapped ? 1 : 0);
  return BL_OK;
}

// May the sum be taken in the stage's own accumulators? Only what is linear lies behind it, nobody
// else reads it, and the other operand is there before it.
static bool may_add(const bl_lowering *l, uint32_t k, int32_t other) {
  const bl_view *v = bl_lower_view(l, k);
  const bl_stage *s = bl_lower_stage(l, v);
  return s != NULL && other < v->producer && !bl_lower_shared(l, k) &&
         (!s->quantised || s->only_added) && !s->clamped && !s->pooled && s->part_count == 0 &&
         !v->up && s->addend == BL_STAGE_NONE && !(s->unit_weights && s->window.groups == 1);
}

// A layer of its own for operand `k` as it is.
static bl_status copy_view(bl_lowering *l, uint32_t k, bl_view *out) {
  const bl_view *in = bl_lower_view(l, k);
  bl_stage *s;
  BL_TRY(bl_lower_copy(l, in, &s));
  s->value = l->node->inputs[k];
  bl_lower_show(l, s, in->order);
  *out = *bl_lower_view_out(l);
  return BL_OK;
}

// Two branches meet: one is added inside the accumulation of the other, or of a copy of it.
static bl_status lower_addition(bl_lowering *l) {
  const bl_view a = *bl_lower_view(l, 0), b = *bl_lower_view(l, 1);
  if (l->node->op != BL_FLOAT_ADD)
    return bl_lower_refuse(l, "of two branches only the sum is mapped");
  if (a.h != b.h || a.w != b.w || a.c != b.c || a.order != b.order)
    return bl_lower_refuse(l, "the two branches differ in shape");
  for (int k = 0; k < 4; k++)
    if (a.pad[k] + b.pad[k] > 0)
      return bl_lower_refuse(l, "padding is only mapped in front of a convolution");
  bool into_a = may_add(l, 0, b.producer), into_b = may_add(l, 1, a.producer);
  const bl_view *main = into_a || (!into_b && a.producer >= b.producer) ? &a : &b;
  const bl_view *other = main == &a ? &b : &a;
  bl_view small = {0};
  if (other->up) { // its copy up-samples it, and the sum may be taken there
    if (main->up) BL_TRY(copy_view(l, main == &a ? 0 : 1, &small));
    const bl_view *turned = other;
    other = main->up ? &small : main;
    main = turned;
    into_a = into_b = false;
  }
  bl_stage *s = bl_lower_stage(l, main);
  if (!into_a && !into_b) {
    BL_TRY(bl_lower_copy(l, main, &s));
    bl_lower_show(l, s, main->order);
  } else {
    *bl_lower_view_out(l) = *main;
  }
  s->quantised = false; // by then a quantiser that may be left out
  s->addend = other->producer;
  s->addend_post = s->post_count;
  s->value = l->node->outputs[0];
  return BL_OK;
}

bl_status bl_lower_binary(bl_lowering *l) {
  const bl_view *a = bl_lower_view(l, 0), *b = bl_lower_view(l, 1);
  bl_float_op op = l->node->op;
  bool done;
  BL_TRY(bl_lower_scale(l, &done));
  if (done) return BL_OK;
  if (a != NULL && b != NULL) return lower_addition(l);
  const bl_view *in = a != NULL ? a : b;
  const bl_value *c = bl_lower_value(l, a != NULL ? 1 : 0);
  bool swapped = a == NULL;
  if (c->f == NULL || !bl_lower_per_channel(l, in, c) || (swapped && op == BL_FLOAT_DIV) ||
      op == BL_FLOAT_POW)
    return bl_lower_refuse(l, "its constant operand is not one number, or one for each channel");
  if (in->producer == BL_STAGE_INPUT && c->count == 1 && !l->out->input_quantised)
    return input_affine(l, c, swapped);
  bl_stage *s;
  bool sign = swapped && op == BL_FLOAT_SUB;
  bool monotone = !sign;
  for (size_t k = 0; k < c->count; k++)
    monotone = monotone && ((op != BL_FLOAT_MUL && op != BL_FLOAT_DIV) || c->f[k] > 0);
  BL_TRY(bl_lower_open(l, swapped ? 1 : 0, monotone, &s));
  static const float minus_one = -1;
  if (sign) {
    bl_post negate = {.kind = BL_POST_MUL, .a = bl_lower_channels(l, &minus_one, 1, s->out_c, 1)};
    if (negate.a == NULL) return bl_lower_no_memory(l);
    BL_TRY(bl_lower_post(l, s, negate));
  }
  bl_post post = {
      .kind = op == BL_FLOAT_MUL   ? BL_POST_MUL
              : op == BL_FLOAT_DIV ? BL_POST_DIV
                                   : BL_POST_ADD,
      .a = bl_lower_channels(l, c->f, c->count, s->out_c, op == BL_FLOAT_SUB && !sign ? -1 : 1)};
  return post.a == NULL ? bl_lower_no_memory(l) : bl_lower_post(l, s, post);
}

bl_status bl_lower_norm(bl_lowering *l) {
  const bl_view *in = bl_lower_view(l, 0);
  bl_stage *s;
  const bl_value *gamma = bl_lower_value(l, 1), *beta = bl_lower_value(l, 2);
  const bl_value *mean = bl_lower_value(l, 3), *variance = bl_lower_value(l, 4);
  if (in == NULL || in->order != BL_ORDER_NCHW || gamma->count != in->c)
    return bl_lower_refuse(l, "it does not normalise channels");
  BL_TRY(bl_lower_open(l, 0, false, &s));
  double epsilon = (double)bl_node_float(l->node, "epsilon", 1e-5f);
  double *deviation = bl_lower_channels(l, variance->f, variance->count, s->out_c, 1);
  bl_post post = {.kind = BL_POST_NORM,
                  .a = bl_lower_channels(l, mean->f, mean->count, s->out_c, 1),
                  .b = deviation,
                  .c = bl_lower_channels(l, gamma->f, gamma->count, s->out_c, 1),
                  .d = bl_lower_channels(l, beta->f, beta->count, s->out_c, 1)};
  if (post.a == NULL || deviation == NULL || post.c == NULL || post.d == NULL)
    return bl_lower_no_memory(l);
  for (uint32_t n = 0; n < s->out_c; n++)
    deviation[n] = sqrt(deviation[n] + epsilon);
  return bl_lower_post(l, s, post);
}

bool bl_lower_bounds(const bl_float_graph *graph, const bl_float_session *session,
                     const bl_node *node, double *lo, double *hi) {
  if (node->op != BL_FLOAT_CLIP) return false;
  double *const bounds[] = {lo, hi};
  for (uint32_t k = 0; k < 2; k++) {
    const bool has = node->input_count > k + 1 && node->inputs[k + 1] >= 0;
    const bl_value *v = has ? bl_float_session_value(session, node->inputs[k + 1]) : NULL;
    if (has &&
        (!bl_value_constant(&graph->values[node->inputs[k + 1]]) || v->count != 1 || v->f == NULL))
      return false;
    *bounds[k] =
        has ? (double)v->f[0]
            : (double)bl_node_float(node, k == 0 ? "min" : "max", k == 0 ? -INFINITY : INFINITY);
  }
  return isfinite(*lo) && isfinite(*hi);
}

bl_status bl_lower_clamp(bl_lowering *l) {
  bl_stage *s;
  if (bl_lower_clips_input(l)) {
    *bl_lower_view_out(l) = *bl_lower_view(l, 0);
    return BL_OK;
  }
  const bl_value *low = bl_lower_value(l, 1), *high = bl_lower_value(l, 2);
  bl_post post = {.kind = BL_POST_CLAMP, .lo = 0, .hi = INFINITY};
  if (l->node->op == BL_FLOAT_CLIP) {
    post.lo = low != NULL ? bl_value_constant(low) ? (double)low->f[0] : 0
                          : (double)bl_node_float(l->node, "min", -INFINITY);
    post.hi = high != NULL ? bl_value_constant(high) ? (double)high->f[0] : 0
                           : (double)bl_node_float(l->node, "max", INFINITY);
  }
  bl_stage *all = bl_lower_open_parts(l, NULL);
  for (uint32_t k = 0; all != NULL && k < all->part_count; k++) {
    s = &l->out->stages[all->parts[k]];
    s->clamped = true;
    BL_TRY(bl_lower_post(l, s, post));
  }
  if (all != NULL) return BL_OK;
  BL_TRY(bl_lower_open(l, 0, true, &s));
  s->clamped = true;
  return bl_lower_post(l, s, post);
}

bl_status bl_lower_max_pool(bl_lowering *l) {
  const bl_view *in = bl_lower_view(l, 0);
  if (in->order != BL_ORDER_NCHW) return bl_lower_refuse(l, "its input is not a map");
  bl_window w;
  BL_TRY(bl_node_window(l->graph, l->node, &w, l->err));
  if (w.rank != 2 || w.dilation[0] != 1 || w.dilation[1] != 1)
    return bl_lower_refuse(l, "a dilated maximum, or one not over two dimensions, is not mapped");
  bl_stage *s = bl_lower_stage(l, in);
  if (s == NULL || s->pooled || s->part_count > 0 || s->addend != BL_STAGE_NONE || in->up ||
      bl_lower_shared(l, 0)) {
    const bl_stage *from = s;
    BL_TRY(bl_lower_copy(l, in, &s));
    if (from != NULL && from->quantised) { // a maximum of integers is one of them
      s->quantised = true;
      s->quantiser = from->quantiser;
      s->q_lo = from->q_lo;
      s->q_hi = from->q_hi;
    }
  }
  s->pooled = true;
  s->window.pool_h = (uint32_t)w.kernel[0], s->window.pool_w = (uint32_t)w.kernel[1];
  s->window.pool_stride_h = (uint32_t)w.stride[0];
  s->window.pool_stride_w = (uint32_t)w.stride[1];
  s->window.pool_pad_top = (uint32_t)w.pad_begin[0];
  s->window.pool_pad_left = (uint32_t)w.pad_begin[1];
  // the padding that the windows really reach: less than asked for where strides do not fit, more
  // with ceil_mode
  int64_t h = (w.out[0] - 1) * w.stride[0] + w.kernel[0] - in->h - w.pad_begin[0];
  int64_t wide = (w.out[1] - 1) * w.stride[1] + w.kernel[1] - in->w - w.pad_begin[1];
  s->window.pool_pad_bottom = (uint32_t)(h > 0 ? h : 0);
  s->window.pool_pad_right = (uint32_t)(wide > 0 ? wide : 0);
  s->out_h = (uint32_t)w.out[0];
  s->out_w = (uint32_t)w.out[1];
  s->value = l->node->outputs[0];
  bl_lower_show(l, s, BL_ORDER_NCHW);
  return BL_OK;
}
