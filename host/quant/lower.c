// SPDX-License-Identifier: Apache-2.0
#include "host/quant/lower.h"

#include <math.h>
#include <string.h>

#include "host/float/eval.h"

// How a float value shows a stage's output: its axes, and zero padding still to be applied.
typedef enum { ORDER_NCHW, ORDER_NHWC } order;

typedef struct {
  bool known;
  int32_t producer; // stage or BL_STAGE_INPUT
  order order;      // of a rank-4 value; of what was flattened in a rank-2 one
  uint32_t h, w, c;
  uint32_t pad[4]; // top, left, bottom, right
  bool up;         // h and w are twice the stage's, each pixel 2 x 2 times
} view;

typedef struct {
  const bl_float_graph *graph;
  const bl_float_session *session;
  bl_lowered *out;
  view *views;         // [value_count]
  uint32_t *consumers; // [value_count]
  const bl_node *node; // the one being lowered
  bl_error *err;
} lowering;

static bl_status refuse(const lowering *l, const char *what) {
  return bl_fail(l->err, BL_ERR_UNSUPPORTED, "node %s (%s): %s", l->node->name,
                 bl_float_op_name(l->node->op), what);
}

static bl_status no_memory(const lowering *l) {
  return bl_fail(l->err, BL_ERR_MEMORY, "node %s: no memory", l->node->name);
}

static const view *view_in(const lowering *l, uint32_t k) {
  if (k >= l->node->input_count || l->node->inputs[k] < 0) return NULL;
  const view *v = &l->views[l->node->inputs[k]];
  return v->known ? v : NULL;
}

static view *view_out(const lowering *l) {
  return &l->views[l->node->outputs[0]];
}

static const bl_value *value_in(const lowering *l, uint32_t k) {
  if (k >= l->node->input_count || l->node->inputs[k] < 0) return NULL;
  return bl_float_session_value(l->session, l->node->inputs[k]);
}

double bl_stage_posts(const bl_stage *stage, uint32_t n, double x) {
  for (uint32_t k = 0; k < stage->post_count; k++) {
    const bl_post *p = &stage->posts[k];
    switch (p->kind) {
    case BL_POST_MUL:
      x *= p->a[n];
      break;
    case BL_POST_DIV:
      x /= p->a[n];
      break;
    case BL_POST_ADD:
      x += p->a[n];
      break;
    case BL_POST_NORM:
      x = (x - p->a[n]) / p->b[n] * p->c[n] + p->d[n];
      break;
    default:
      x = x < p->lo ? p->lo : x > p->hi ? p->hi : x;
    }
  }
  return x;
}

// ---- Stages
// --------------------------------------------------------------------------------------

static bl_stage *stage_of(const lowering *l, const view *v) {
  return v->producer == BL_STAGE_INPUT ? NULL : &l->out->stages[v->producer];
}

static bl_stage *new_stage(lowering *l, const view *in) {
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

static void show_output(lowering *l, const bl_stage *s, order axes) {
  *view_out(l) = (view){.known = true,
                        .producer = (int32_t)(s - l->out->stages),
                        .order = axes,
                        .h = s->out_h,
                        .w = s->out_w,
                        .c = s->out_c};
}

static bl_status unit_weights(lowering *l, bl_stage *s) {
  size_t count = (size_t)s->out_c * s->window.kernel_h * s->window.kernel_w;
  s->unit_weights = true;
  s->weights = bl_arena_alloc(l->out->arena, count, sizeof *s->weights);
  if (s->weights == NULL) return no_memory(l);
  for (size_t k = 0; k < count; k++)
    s->weights[k] = 1;
  return BL_OK;
}

// A stage that copies its input, channel by channel, so that something can be done to it.
static bl_status copy_stage(lowering *l, const view *in, bl_stage **stage) {
  if (in->pad[0] + in->pad[1] + in->pad[2] + in->pad[3] > 0)
    return refuse(l, "padding is only mapped in front of a convolution");
  bl_stage *s = *stage = new_stage(l, in);
  s->window.groups = in->c;
  s->conv_h = s->out_h = in->h;
  s->conv_w = s->out_w = in->w;
  s->out_c = in->c;
  return unit_weights(l, s);
}

// ---- Convolution and matrix products
// -------------------------------------------------------------

static bl_status set_window(lowering *l, bl_stage *s, const view *in) {
  bl_window w;
  BL_TRY(bl_node_window(l->graph, l->node, &w, l->err));
  if (w.rank != 2) return refuse(l, "only two spatial dimensions are mapped");
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

// The Quant or BipolarQuant node that made a weight operand, through operators that only move data.
static const bl_node *weight_quantiser(const lowering *l, int32_t value) {
  for (uint32_t n = l->graph->node_count; n-- > 0;) {
    const bl_node *node = &l->graph->nodes[n];
    if (node->output_count < 1 || node->outputs[0] != value) continue;
    if (node->op == BL_FLOAT_QUANT || node->op == BL_FLOAT_BIPOLAR_QUANT) return node;
    if (node->op != BL_FLOAT_TRANSPOSE && node->op != BL_FLOAT_RESHAPE &&
        node->op != BL_FLOAT_IDENTITY)
      return NULL;
    value = node->inputs[0];
  }
  return NULL;
}

// Where the graph fixes the weights' integers: their scale for each channel and their format.
static bl_status take_weight_quantiser(lowering *l, bl_stage *s, int32_t value) {
  const bl_node *q = weight_quantiser(l, value);
  if (q == NULL) return BL_OK;
  const bl_value *scale = bl_node_input(l->graph, q, 1), *zero = bl_node_input(l->graph, q, 2);
  s->weight_scale = bl_arena_alloc(l->out->arena, s->out_c, sizeof *s->weight_scale);
  if (s->weight_scale == NULL) return no_memory(l);
  if (scale == NULL || scale->f == NULL || (scale->count != 1 && scale->count != s->out_c))
    return refuse(l, "its weights' scale is neither one nor one a channel");
  for (uint32_t n = 0; n < s->out_c; n++)
    s->weight_scale[n] = (double)scale->f[scale->count == 1 ? 0 : n];
  if (q->op == BL_FLOAT_BIPOLAR_QUANT) {
    s->weight_format = (bl_format){BL_FORMAT_B1, 1};
    return BL_OK;
  }
  double lo, hi;
  BL_TRY(bl_qonnx_range(l->graph, q, &lo, &hi, l->err));
  for (size_t k = 0; k < zero->count; k++)
    if (zero->f[k] != 0) return refuse(l, "its weights have a zero point");
  uint8_t bits = 2;
  while (bits <= 8 && (lo < -(1 << (bits - 1)) || hi > (1 << (bits - 1)) - 1))
    bits++;
  if (bits > 8) return refuse(l, "its weights have more than 8 bits");
  s->weight_format = (bl_format){BL_FORMAT_S, bits};
  return BL_OK;
}

static bl_status add_post(lowering *l, bl_stage *s, bl_post post) {
  if (s->post_count == BL_LOWER_MAX_POSTS) return refuse(l, "too many element-wise operations");
  s->posts[s->post_count++] = post;
  return BL_OK;
}

// `count` (1 or the channels) floats as doubles for each channel, times `factor`.
static double *channel_values(lowering *l, const float *f, size_t count, uint32_t channels,
                              double factor) {
  double *d = bl_arena_alloc(l->out->arena, channels, sizeof *d);
  for (uint32_t n = 0; d != NULL && n < channels; n++)
    d[n] = (double)f[count == 1 ? 0 : n] * factor;
  return d;
}

static bl_status add_bias(lowering *l, bl_stage *s, const bl_value *bias, double factor) {
  if (bias == NULL) return BL_OK;
  if (bias->count != 1 && bias->count != s->out_c)
    return refuse(l, "its bias is not one number a channel");
  bl_post post = {.kind = BL_POST_ADD,
                  .a = channel_values(l, bias->f, bias->count, s->out_c, factor)};
  return post.a == NULL ? no_memory(l) : add_post(l, s, post);
}

static bl_status lower_conv(lowering *l) {
  const view *in = view_in(l, 0);
  const bl_value *w = value_in(l, 1);
  if (in == NULL || view_in(l, 1) != NULL)
    return refuse(l, "its operands are not data and weights");
  if (in->order != ORDER_NCHW) return refuse(l, "its input's channels are not the second axis");
  bl_stage *s = new_stage(l, in);
  BL_TRY(set_window(l, s, in));
  s->out_c = (uint32_t)w->dims[0];
  s->window.groups = (uint32_t)bl_node_int(l->node, "group", 1);
  size_t group_in = (size_t)w->dims[1], taps = (size_t)w->dims[2] * (size_t)w->dims[3];
  s->weights = bl_arena_alloc(l->out->arena, w->count, sizeof *s->weights);
  if (s->weights == NULL) return no_memory(l);
  for (size_t n = 0; n < s->out_c; n++)
    for (size_t c = 0; c < group_in; c++)
      for (size_t t = 0; t < taps; t++)
        s->weights[(n * taps + t) * group_in + c] = w->f[(n * group_in + c) * taps + t];
  BL_TRY(take_weight_quantiser(l, s, l->node->inputs[1]));
  BL_TRY(add_bias(l, s, value_in(l, 2), 1));
  show_output(l, s, ORDER_NCHW);
  return BL_OK;
}

// Fully connected: a kernel as large as the map that was flattened.
static bl_status lower_product(lowering *l) {
  const view *in = view_in(l, 0);
  const bl_value *b = value_in(l, 1);
  bool gemm = l->node->op == BL_FLOAT_GEMM;
  bool transposed = gemm && bl_node_int(l->node, "transB", 0) != 0;
  if (in == NULL || view_in(l, 1) != NULL)
    return refuse(l, "its operands are not data and weights");
  if (b->rank != 2 || (gemm && bl_node_int(l->node, "transA", 0) != 0))
    return refuse(l, "its weights are not a matrix or its data is transposed");
  size_t k_count = (size_t)b->dims[transposed ? 1 : 0], pixels = (size_t)in->h * in->w;
  if (k_count != pixels * in->c) return refuse(l, "it does not reduce over the whole map");
  bl_stage *s = new_stage(l, in);
  s->out_c = (uint32_t)b->dims[transposed ? 0 : 1];
  s->window.kernel_h = in->h;
  s->window.kernel_w = in->w;
  s->conv_h = s->conv_w = s->out_h = s->out_w = 1;
  s->weights = bl_arena_alloc(l->out->arena, b->count, sizeof *s->weights);
  if (s->weights == NULL) return no_memory(l);
  double alpha = gemm ? (double)bl_node_float(l->node, "alpha", 1) : 1;
  if (alpha != 1) return refuse(l, "alpha is not 1");
  for (size_t n = 0; n < s->out_c; n++)
    for (size_t k = 0; k < k_count; k++) {
      size_t from = in->order == ORDER_NCHW ? k % in->c * pixels + k / in->c : k;
      s->weights[n * k_count + k] = b->f[transposed ? n * k_count + from : from * s->out_c + n];
    }
  BL_TRY(take_weight_quantiser(l, s, l->node->inputs[1]));
  if (gemm) BL_TRY(add_bias(l, s, value_in(l, 2), (double)bl_node_float(l->node, "beta", 1)));
  show_output(l, s, ORDER_NCHW);
  return BL_OK;
}

static bl_status lower_average(lowering *l) {
  const view *in = view_in(l, 0);
  if (in == NULL || in->order != ORDER_NCHW) return refuse(l, "its input is not a map");
  bl_stage *s = new_stage(l, in);
  BL_TRY(set_window(l, s, in));
  const bl_int_layer *w = &s->window;
  bool padded = w->pad_top + w->pad_left + w->pad_bottom + w->pad_right > 0;
  if (padded && bl_node_int(l->node, "count_include_pad", 0) == 0)
    return refuse(l, "an average that leaves padding out is not mapped");
  s->out_c = in->c;
  s->window.groups = in->c;
  BL_TRY(unit_weights(l, s));
  float area = (float)(w->kernel_h * w->kernel_w);
  bl_post post = {.kind = BL_POST_DIV, .a = channel_values(l, &area, 1, s->out_c, 1)};
  if (post.a == NULL) return no_memory(l);
  show_output(l, s, ORDER_NCHW);
  return add_post(l, s, post);
}

// ---- Element-wise
// --------------------------------------------------------------------------------

// The stage that an element-wise operation on input `k` may be added to; a copy where the stage's
// output is also used as it is, or where its integers are already fixed.
static bl_status open_stage(lowering *l, uint32_t k, bool monotone, bl_stage **stage) {
  const view *in = view_in(l, k);
  bl_stage *s = stage_of(l, in);
  bool shared = l->consumers[l->node->inputs[k]] > 1;
  if (s == NULL || shared || s->quantised || s->part_count > 0 || in->up ||
      (s->pooled && !monotone)) {
    BL_TRY(copy_stage(l, in, &s));
    show_output(l, s, in->order);
  } else {
    *view_out(l) = *in;
  }
  s->value = l->node->outputs[0];
  *stage = s;
  return BL_OK;
}

// True where a constant operand has one number, or one for each channel along the channel axis.
static bool per_channel(const lowering *l, const view *in, const bl_value *c) {
  if (c->count == 1) return true;
  const bl_value *x = bl_float_session_value(l->session, l->node->outputs[0]);
  uint32_t axis = x->rank == 4 ? (in->order == ORDER_NCHW ? 1 : 3) : x->rank - 1;
  if (x->rank == 2 && (in->h != 1 || in->w != 1)) return false;
  if (c->count != in->c || c->rank > x->rank) return false;
  for (uint32_t k = 0; k < c->rank; k++)
    if (c->dims[k] != 1 && k + x->rank - c->rank != axis) return false;
  return true;
}

// On the network's input only one number for all: it goes into the preprocessing.
static bl_status input_affine(lowering *l, const bl_value *c, bool swapped) {
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
  *view_out(l) = *view_in(l, swapped ? 1 : 0);
  return BL_OK;
}

// May the sum be taken in the stage's own accumulators? Only what is linear lies behind it, nobody
// else reads it, and the other operand is there before it.
static bool may_add(const lowering *l, uint32_t k, int32_t other) {
  const view *v = view_in(l, k);
  const bl_stage *s = stage_of(l, v);
  return s != NULL && other < v->producer && l->consumers[l->node->inputs[k]] == 1 &&
         !s->quantised && !s->clamped && !s->pooled && s->part_count == 0 && !v->up &&
         s->addend == BL_STAGE_NONE && !(s->unit_weights && s->window.groups == 1);
}

// Two branches meet: one is added inside the accumulation of the other, or of a copy of it.
static bl_status lower_addition(lowering *l) {
  const view a = *view_in(l, 0), b = *view_in(l, 1);
  if (l->node->op != BL_FLOAT_ADD) return refuse(l, "of two branches only the sum is mapped");
  if (a.h != b.h || a.w != b.w || a.c != b.c || a.order != b.order)
    return refuse(l, "the two branches differ in shape");
  for (int k = 0; k < 4; k++)
    if (a.pad[k] + b.pad[k] > 0)
      return refuse(l, "padding is only mapped in front of a convolution");
  bool into_a = may_add(l, 0, b.producer), into_b = may_add(l, 1, a.producer);
  const view *main = into_a || (!into_b && a.producer >= b.producer) ? &a : &b;
  const view *other = main == &a ? &b : &a;
  bl_stage *s = stage_of(l, main);
  if (other->up) return refuse(l, "an up-sampled operand is only mapped on one side");
  if (!into_a && !into_b) {
    BL_TRY(copy_stage(l, main, &s));
    show_output(l, s, main->order);
  } else {
    *view_out(l) = *main;
  }
  s->addend = other->producer;
  s->addend_post = s->post_count;
  s->value = l->node->outputs[0];
  return BL_OK;
}

static bl_status lower_binary(lowering *l) {
  const view *a = view_in(l, 0), *b = view_in(l, 1);
  bl_float_op op = l->node->op;
  if (a != NULL && b != NULL) return lower_addition(l);
  const view *in = a != NULL ? a : b;
  const bl_value *c = value_in(l, a != NULL ? 1 : 0);
  bool swapped = a == NULL;
  if (c->f == NULL || !per_channel(l, in, c) || (swapped && op == BL_FLOAT_DIV) ||
      op == BL_FLOAT_POW)
    return refuse(l, "its constant operand is not one number, or one for each channel");
  if (in->producer == BL_STAGE_INPUT && c->count == 1 && !l->out->input_quantised)
    return input_affine(l, c, swapped);
  bl_stage *s;
  bool sign = swapped && op == BL_FLOAT_SUB;
  bool monotone = !sign;
  for (size_t k = 0; k < c->count; k++)
    monotone = monotone && ((op != BL_FLOAT_MUL && op != BL_FLOAT_DIV) || c->f[k] > 0);
  BL_TRY(open_stage(l, swapped ? 1 : 0, monotone, &s));
  static const float minus_one = -1;
  if (sign) {
    bl_post negate = {.kind = BL_POST_MUL, .a = channel_values(l, &minus_one, 1, s->out_c, 1)};
    if (negate.a == NULL) return no_memory(l);
    BL_TRY(add_post(l, s, negate));
  }
  bl_post post = {
      .kind = op == BL_FLOAT_MUL   ? BL_POST_MUL
              : op == BL_FLOAT_DIV ? BL_POST_DIV
                                   : BL_POST_ADD,
      .a = channel_values(l, c->f, c->count, s->out_c, op == BL_FLOAT_SUB && !sign ? -1 : 1)};
  return post.a == NULL ? no_memory(l) : add_post(l, s, post);
}

static bl_status lower_norm(lowering *l) {
  const view *in = view_in(l, 0);
  bl_stage *s;
  const bl_value *gamma = value_in(l, 1), *beta = value_in(l, 2);
  const bl_value *mean = value_in(l, 3), *variance = value_in(l, 4);
  if (in == NULL || in->order != ORDER_NCHW || gamma->count != in->c)
    return refuse(l, "it does not normalise channels");
  BL_TRY(open_stage(l, 0, false, &s));
  double epsilon = (double)bl_node_float(l->node, "epsilon", 1e-5f);
  double *deviation = channel_values(l, variance->f, variance->count, s->out_c, 1);
  bl_post post = {.kind = BL_POST_NORM,
                  .a = channel_values(l, mean->f, mean->count, s->out_c, 1),
                  .b = deviation,
                  .c = channel_values(l, gamma->f, gamma->count, s->out_c, 1),
                  .d = channel_values(l, beta->f, beta->count, s->out_c, 1)};
  if (post.a == NULL || deviation == NULL || post.c == NULL || post.d == NULL) return no_memory(l);
  for (uint32_t n = 0; n < s->out_c; n++)
    deviation[n] = sqrt(deviation[n] + epsilon);
  return add_post(l, s, post);
}

static bl_status lower_clamp(lowering *l) {
  bl_stage *s;
  const bl_value *low = value_in(l, 1), *high = value_in(l, 2);
  bl_post post = {.kind = BL_POST_CLAMP, .lo = 0, .hi = INFINITY};
  if (l->node->op == BL_FLOAT_CLIP) {
    post.lo = low != NULL ? bl_value_constant(low) ? (double)low->f[0] : 0
                          : (double)bl_node_float(l->node, "min", -INFINITY);
    post.hi = high != NULL ? bl_value_constant(high) ? (double)high->f[0] : 0
                           : (double)bl_node_float(l->node, "max", INFINITY);
  }
  BL_TRY(open_stage(l, 0, true, &s));
  s->clamped = true;
  return add_post(l, s, post);
}

static bl_status lower_max_pool(lowering *l) {
  const view *in = view_in(l, 0);
  if (in->order != ORDER_NCHW) return refuse(l, "its input is not a map");
  bl_window w;
  BL_TRY(bl_node_window(l->graph, l->node, &w, l->err));
  if (w.rank != 2 || w.dilation[0] != 1 || w.dilation[1] != 1)
    return refuse(l, "a dilated maximum, or one not over two dimensions, is not mapped");
  bl_stage *s = stage_of(l, in);
  if (s == NULL || s->pooled || s->part_count > 0 || s->addend != BL_STAGE_NONE || in->up ||
      l->consumers[l->node->inputs[0]] > 1)
    BL_TRY(copy_stage(l, in, &s));
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
  show_output(l, s, ORDER_NCHW);
  return BL_OK;
}

// ---- Quantisers in the graph
// ---------------------------------------------------------------------

static bl_status quantiser_of(lowering *l, bl_quantiser *q, double *lo, double *hi) {
  const bl_value *scale = bl_node_input(l->graph, l->node, 1);
  const bl_value *zero = bl_node_input(l->graph, l->node, 2);
  if (scale->count != 1) return refuse(l, "an activation quantiser with a scale a channel");
  *q = (bl_quantiser){{BL_FORMAT_B1, 1}, (double)scale->f[0], 0};
  *lo = -1;
  *hi = 1;
  if (!(q->scale > 0)) return refuse(l, "its scale is not positive");
  if (l->node->op == BL_FLOAT_BIPOLAR_QUANT) return BL_OK;
  BL_TRY(bl_qonnx_range(l->graph, l->node, lo, hi, l->err));
  if (zero->count != 1 || (double)zero->f[0] != rint((double)zero->f[0]) || fabsf(zero->f[0]) > 255)
    return refuse(l, "its zero point is not one small integer");
  q->zero_point = (int32_t)zero->f[0];
  q->format.kind = *lo < 0 ? BL_FORMAT_S : BL_FORMAT_U;
  q->format.bits = *lo < 0 ? 2 : 1;
  while (q->format.bits <= 8 && (*lo < bl_format_min(q->format) || *hi > bl_format_max(q->format)))
    q->format.bits++;
  return q->format.bits <= 8 ? BL_OK : refuse(l, "it has more than 8 bits");
}

static bl_status lower_quantiser(lowering *l) {
  const view *in = view_in(l, 0);
  bl_quantiser q;
  double lo, hi;
  BL_TRY(quantiser_of(l, &q, &lo, &hi));
  if (in->producer == BL_STAGE_INPUT && !l->out->input_quantised) {
    l->out->input_quantised = true;
    l->out->input_quantiser = q;
    *view_out(l) = *in;
    return BL_OK;
  }
  bl_stage *s;
  BL_TRY(open_stage(l, 0, true, &s));
  s->quantised = true;
  s->quantiser = q;
  s->q_lo = lo;
  s->q_hi = hi;
  s->quant_node = l->node;
  return BL_OK;
}

// ---- Moving data
// ---------------------------------------------------------------------------------

static bl_status lower_transpose(lowering *l) {
  const bl_attribute *perm = bl_node_attribute(l->node, "perm");
  const view *in = view_in(l, 0);
  static const int64_t to_nhwc[4] = {0, 2, 3, 1}, to_nchw[4] = {0, 3, 1, 2};
  view *out = view_out(l);
  *out = *in;
  if (perm == NULL || perm->int_count != 4) return refuse(l, "this order of axes is not mapped");
  bool nhwc = memcmp(perm->ints, to_nhwc, sizeof to_nhwc) == 0;
  bool nchw = memcmp(perm->ints, to_nchw, sizeof to_nchw) == 0;
  if (in->producer == BL_STAGE_INPUT && nchw && in->order == ORDER_NCHW) {
    // the file holds pixels with channels innermost
    const bl_value *v = bl_float_session_value(l->session, l->node->outputs[0]);
    out->c = (uint32_t)v->dims[1];
    out->h = (uint32_t)v->dims[2];
    out->w = (uint32_t)v->dims[3];
    return BL_OK;
  }
  if ((nhwc && in->order != ORDER_NCHW) || (nchw && in->order != ORDER_NHWC) || (!nhwc && !nchw))
    return refuse(l, "this order of axes is not mapped");
  out->order = nhwc ? ORDER_NHWC : ORDER_NCHW;
  return BL_OK;
}

static bl_status lower_reshape(lowering *l) {
  const view *in = view_in(l, 0);
  const bl_value *v = bl_float_session_value(l->session, l->node->outputs[0]);
  view *out = view_out(l);
  *out = *in;
  bool one_pixel = in->h == 1 && in->w == 1;
  if (v->rank == 4 && (in->producer == BL_STAGE_INPUT || one_pixel)) {
    bool last = one_pixel && in->producer != BL_STAGE_INPUT && v->dims[3] == in->c;
    out->order = last ? ORDER_NHWC : ORDER_NCHW;
    out->c = (uint32_t)v->dims[last ? 3 : 1];
    out->h = (uint32_t)v->dims[last ? 1 : 2];
    out->w = (uint32_t)v->dims[last ? 2 : 3];
    if (last) out->order = ORDER_NCHW; // one pixel: both orders are the same
    return BL_OK;
  }
  if (v->rank == 2 && v->dims[1] == (int64_t)in->h * in->w * in->c) return BL_OK;
  return refuse(l, "only flattening a whole map is mapped");
}

// Every k-th pixel of the map: a copy with a stride.
static bl_status lower_slice(lowering *l) {
  const view in = *view_in(l, 0);
  const bl_value *v = bl_float_session_value(l->session, l->node->outputs[0]);
  const bl_value *starts = value_in(l, 1), *axes = value_in(l, 3), *steps = value_in(l, 4);
  uint32_t stride[4] = {1, 1, 1, 1};
  bool plain = v->rank == 4 && in.order == ORDER_NCHW && !in.up && starts != NULL &&
               starts->i != NULL && v->dims[1] == (int64_t)in.c;
  for (size_t k = 0; plain && k < starts->count; k++) {
    int64_t axis = axes != NULL ? axes->i[k] : (int64_t)k, step = steps != NULL ? steps->i[k] : 1;
    if (axis < 0) axis += 4;
    plain = starts->i[k] == 0 && axis >= 0 && axis < 4 && step >= 1 && step <= UINT8_MAX &&
            (axis >= 2 || step == 1);
    if (plain) stride[axis] = (uint32_t)step;
  }
  uint32_t h = (in.h + stride[2] - 1) / stride[2], w = (in.w + stride[3] - 1) / stride[3];
  if (!plain || v->dims[2] != (int64_t)h || v->dims[3] != (int64_t)w)
    return refuse(l, "only every k-th pixel of a whole map is mapped");
  bl_stage *s;
  BL_TRY(copy_stage(l, &in, &s));
  s->window.stride_h = stride[2];
  s->window.stride_w = stride[3];
  s->conv_h = s->out_h = h;
  s->conv_w = s->out_w = w;
  show_output(l, s, ORDER_NCHW);
  return BL_OK;
}

// Channels of zeros before and behind: a copy whose new channels have no weights.
static bl_status pad_channels(lowering *l, const view *in, uint32_t before, uint32_t behind) {
  bl_stage *s = stage_of(l, in);
  bool copy = s != NULL && s->unit_weights && s->window.groups == s->in_c &&
              s->window.kernel_h * s->window.kernel_w == 1 && s->post_count == 0 && !s->pooled &&
              !s->quantised && s->addend == BL_STAGE_NONE && s->part_count == 0 &&
              l->consumers[l->node->inputs[0]] == 1;
  if (!copy) BL_TRY(copy_stage(l, in, &s));
  s->out_c = before + s->in_c + behind;
  s->window.groups = 1;
  s->unit_weights = false;
  s->weight_format = (bl_format){BL_FORMAT_S, 2};
  s->weights = bl_arena_alloc(l->out->arena, (size_t)s->out_c * s->in_c, sizeof *s->weights);
  s->weight_scale = bl_arena_alloc(l->out->arena, s->out_c, sizeof *s->weight_scale);
  if (s->weights == NULL || s->weight_scale == NULL) return no_memory(l);
  for (uint32_t n = 0; n < s->out_c; n++) {
    s->weight_scale[n] = 1;
    if (n >= before && n < before + s->in_c) s->weights[(size_t)n * s->in_c + n - before] = 1;
  }
  s->value = l->node->outputs[0];
  show_output(l, s, ORDER_NCHW);
  return BL_OK;
}

static bl_status lower_pad(lowering *l) {
  const view *in = view_in(l, 0);
  const bl_value *constant = value_in(l, 2), *pads_value = value_in(l, 1);
  const bl_attribute *a = bl_node_attribute(l->node, "pads");
  const int64_t *pads = pads_value != NULL ? pads_value->i : a != NULL ? a->ints : NULL;
  bool zero = constant != NULL ? constant->count == 0 || bl_value_constant(constant)
                               : bl_node_float(l->node, "value", 0) == 0;
  if (zero && constant != NULL && constant->count > 0)
    zero = constant->f != NULL && constant->f[0] == 0;
  const bl_value *v = bl_float_session_value(l->session, l->node->outputs[0]);
  if (strcmp(bl_node_string(l->node, "mode", "constant"), "constant") != 0 || !zero ||
      v->rank != 4 || in->order != ORDER_NCHW || pads == NULL || pads[0] != 0 || pads[4] != 0)
    return refuse(l, "only zero padding of channels or of the two map axes is mapped");
  if (pads[1] != 0 || pads[5] != 0) {
    if (pads[1] < 0 || pads[5] < 0 || pads[2] + pads[3] + pads[6] + pads[7] != 0 ||
        pads[1] + pads[5] > BL_INT_MAX_DIM)
      return refuse(l, "only zero padding of channels or of the two map axes is mapped");
    return pad_channels(l, in, (uint32_t)pads[1], (uint32_t)pads[5]);
  }
  view *out = view_out(l);
  *out = *in;
  for (int k = 0; k < 4; k++) {
    int64_t p = pads[k < 2 ? k + 2 : k + 4];
    if (p < 0) return refuse(l, "negative padding is not mapped");
    out->pad[k] += (uint32_t)p;
  }
  return BL_OK;
}

static bl_status lower_suffix(lowering *l) {
  const view *in = view_in(l, 0);
  if (l->node->outputs[0] != l->graph->outputs[0])
    return refuse(l, "it is only taken at the end, where the host computes it");
  l->out->suffix = l->node->op == BL_FLOAT_SOFTMAX ? BL_LOWER_SOFTMAX : BL_LOWER_SIGMOID;
  *view_out(l) = *in;
  return BL_OK;
}

static bl_status lower_same(lowering *l) {
  *view_out(l) = *view_in(l, 0);
  return BL_OK;
}

// ---- The walk
// ------------------------------------------------------------------------------------

typedef bl_status (*lower_rule)(lowering *);

static lower_rule rule_of(bl_float_op op) {
  static const lower_rule rules[BL_FLOAT_OP_COUNT] = {
      [BL_FLOAT_CONV] = lower_conv,
      [BL_FLOAT_GEMM] = lower_product,
      [BL_FLOAT_MATMUL] = lower_product,
      [BL_FLOAT_AVERAGE_POOL] = lower_average,
      [BL_FLOAT_GLOBAL_AVERAGE_POOL] = lower_average,
      [BL_FLOAT_MAX_POOL] = lower_max_pool,
      [BL_FLOAT_GLOBAL_MAX_POOL] = lower_max_pool,
      [BL_FLOAT_ADD] = lower_binary,
      [BL_FLOAT_SUB] = lower_binary,
      [BL_FLOAT_MUL] = lower_binary,
      [BL_FLOAT_DIV] = lower_binary,
      [BL_FLOAT_BATCH_NORM] = lower_norm,
      [BL_FLOAT_RELU] = lower_clamp,
      [BL_FLOAT_CLIP] = lower_clamp,
      [BL_FLOAT_QUANT] = lower_quantiser,
      [BL_FLOAT_BIPOLAR_QUANT] = lower_quantiser,
      [BL_FLOAT_TRANSPOSE] = lower_transpose,
      [BL_FLOAT_RESHAPE] = lower_reshape,
      [BL_FLOAT_FLATTEN] = lower_reshape,
      [BL_FLOAT_SQUEEZE] = lower_reshape,
      [BL_FLOAT_UNSQUEEZE] = lower_reshape,
      [BL_FLOAT_PAD] = lower_pad,
      [BL_FLOAT_SLICE] = lower_slice,
      [BL_FLOAT_SOFTMAX] = lower_suffix,
      [BL_FLOAT_SIGMOID] = lower_suffix,
      [BL_FLOAT_IDENTITY] = lower_same,
      [BL_FLOAT_DROPOUT] = lower_same,
  };
  return rules[op];
}

// A node whose operands do not depend on the network's input, e.g. quantised weights.
static bool is_fixed(const lowering *l) {
  for (uint32_t k = 0; k < l->node->input_count; k++)
    if (view_in(l, k) != NULL) return false;
  return true;
}

static bl_status lower_node(lowering *l) {
  if (is_fixed(l)) return BL_OK;
  lower_rule rule = rule_of(l->node->op);
  if (rule == NULL)
    return refuse(l, "this operator is not mapped to the accelerator; the float executor runs it");
  return rule(l);
}

static bl_status start(lowering *l) {
  const bl_float_graph *g = l->graph;
  if (g->input_count != 1 || g->output_count < 1)
    return bl_fail(l->err, BL_ERR_UNSUPPORTED, "%s: the graph has %u inputs; one is mapped",
                   g->name, g->input_count);
  l->views = bl_arena_alloc(l->out->arena, g->value_count, sizeof *l->views);
  l->consumers = bl_arena_alloc(l->out->arena, g->value_count, sizeof *l->consumers);
  l->out->stages =
      bl_arena_alloc(l->out->arena, 2 * (size_t)g->node_count + 2, sizeof *l->out->stages);
  if (l->views == NULL || l->consumers == NULL || l->out->stages == NULL)
    return bl_fail(l->err, BL_ERR_MEMORY, "%s: no memory", g->name);
  for (uint32_t n = 0; n < g->node_count; n++)
    for (uint32_t k = 0; k < g->nodes[n].input_count; k++)
      if (g->nodes[n].inputs[k] >= 0) l->consumers[g->nodes[n].inputs[k]]++;
  const bl_value *in = &g->values[g->inputs[0]];
  view *v = &l->views[g->inputs[0]];
  *v = (view){.known = true, .producer = BL_STAGE_INPUT, .h = 1, .w = 1, .c = (uint32_t)in->count};
  if (in->rank == 4) {
    v->c = (uint32_t)in->dims[1];
    v->h = (uint32_t)in->dims[2];
    v->w = (uint32_t)in->dims[3];
  }
  if (in->rank < 1 || in->dims[0] != 1)
    return bl_fail(l->err, BL_ERR_UNSUPPORTED, "input %s: import it with a batch of 1", in->name);
  return BL_OK;
}

// The output has to be a stage of its own that can give accumulators.
static bl_status finish(lowering *l) {
  view *v = &l->views[l->graph->outputs[0]];
  l->node = &l->graph->nodes[l->graph->node_count - 1];
  if (!v->known || v->producer == BL_STAGE_INPUT) return refuse(l, "the output is not a layer's");
  bl_stage *s = stage_of(l, v);
  if (v->producer + 1 != (int32_t)l->out->stage_count)
    return refuse(l, "layers after the output are not mapped");
  if (s->part_count == 0 && (s->quantised || (!s->clamped && !s->pooled))) return BL_OK;
  BL_TRY(copy_stage(l, v, &s));
  return BL_OK;
}

bl_status bl_lower(const bl_float_graph *graph, const bl_float_session *session, bl_arena *arena,
                   bl_lowered *lowered, bl_error *err) {
  *lowered = (bl_lowered){.arena = arena, .input_mul = 1};
  lowering l = {.graph = graph, .session = session, .out = lowered, .err = err};
  BL_TRY(start(&l));
  for (uint32_t n = 0; n < graph->node_count; n++) {
    l.node = &graph->nodes[n];
    BL_TRY(lower_node(&l));
  }
  if (graph->node_count == 0)
    return bl_fail(err, BL_ERR_UNSUPPORTED, "%s: the graph has no nodes", graph->name);
  return finish(&l);
}
