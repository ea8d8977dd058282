// SPDX-License-Identifier: Apache-2.0
// Convolution on oneDNN, each primitive in the formats that it asks for. Data are in those of the
// forward primitive, which mostly suit the backward ones too; weights come row-major and go back
// row-major, reordered here once a step. With bf16 what is multiplied is rounded to bfloat16 in the
// same reorders, and what is summed stays in single precision.
#include "host/train/net_internal.h"

// An array that a primitive wants in another format than it has: itself, or a buffer and the
// reorder into it (or out of it, for results).
typedef struct {
  dnnl_memory_t memory;     // in the primitive's format; NULL: the array itself
  dnnl_primitive_t reorder; // NULL: the array itself
} fitted;

typedef struct {
  dnnl_primitive_t forward, data, weights;
  dnnl_memory_t w_plain, dw_plain;
  fitted x, w_forward, w_data, dw; // data, weights and their gradient
  fitted dy_data, dx, src, dy;     // of the backward primitives: data's, then weights'
  bool dy_shared;                  // both take the same dy
} convolution;

typedef struct {
  dnnl_memory_desc_t w; // row-major
  // In any format: what is multiplied, and what is summed.
  struct {
    dnnl_memory_desc_t src, w, dst;
  } factor, sum;
  dnnl_memory_desc_t bias;
  dnnl_dims_t stride, dilation, begin, end;
  bool has_bias;
} shape;

static dnnl_memory_desc_t any(const dnnl_memory_desc_t *plain, dnnl_data_type_t type) {
  dnnl_memory_desc_t md = *plain;
  (void)dnnl_memory_desc_init_by_tag(&md, plain->ndims, plain->dims, type, dnnl_format_tag_any);
  return md;
}

static bl_status describe(bl_train_net *net, const bl_node *node, dnnl_data_type_t type, shape *s,
                          bl_error *err) {
  const bl_value *in = bl_node_input(net->graph, node, 0), *w = bl_node_input(net->graph, node, 1);
  const bl_value *out = bl_node_output(net->graph, node, 0);
  int64_t groups = bl_node_int(node, "group", 1), dims[BL_MAX_RANK + 1] = {groups};
  uint32_t at = groups > 1 ? 1 : 0;
  bl_window window;
  BL_TRY(bl_node_window(net->graph, node, &window, err));
  for (uint32_t k = 0; k < w->rank; k++)
    dims[at + k] = w->dims[k];
  dims[at] /= groups;
  s->w = bl_net_plain_md(w->rank + at, dims);
  dnnl_memory_desc_t src = bl_net_plain_md(in->rank, in->dims);
  dnnl_memory_desc_t dst = bl_net_plain_md(out->rank, out->dims);
  s->factor.src = any(&src, type);
  s->factor.w = any(&s->w, type);
  s->factor.dst = any(&dst, type);
  s->sum.src = any(&src, dnnl_f32);
  s->sum.w = any(&s->w, dnnl_f32);
  s->sum.dst = any(&dst, dnnl_f32);
  s->has_bias = bl_node_input(net->graph, node, 2) != NULL;
  s->bias = bl_net_plain_md(1, &w->dims[0]);
  for (uint32_t k = 0; k < window.rank; k++) {
    s->stride[k] = window.stride[k];
    s->dilation[k] = window.dilation[k] - 1;
    s->begin[k] = window.pad_begin[k];
    s->end[k] = window.pad_end[k];
  }
  return BL_OK;
}

static bool make_forward(bl_train_net *net, const shape *s, bool learning, convolution *c,
                         const_dnnl_primitive_desc_t *pd) {
  dnnl_convolution_desc_t desc;
  return dnnl_dilated_convolution_forward_desc_init(
             &desc, learning ? dnnl_forward_training : dnnl_forward_inference,
             dnnl_convolution_direct, &s->factor.src, &s->factor.w, s->has_bias ? &s->bias : NULL,
             &s->sum.dst, s->stride, s->dilation, s->begin, s->end) == dnnl_success &&
         bl_dnn_primitive(net, &desc, NULL, &c->forward, pd);
}

// Fits an array in format `have` to a primitive that takes, or with `result` gives, `want`. `kind`
// BL_SCRATCH_NONE: it stays there.
static bool fit(bl_train_net *net, const dnnl_memory_desc_t *have, const dnnl_memory_desc_t *want,
                bool result, bl_scratch kind, fitted *f) {
  if (dnnl_memory_desc_equal(have, want) != 0) return true;
  return (kind == BL_SCRATCH_NONE ? bl_dnn_buffer(net, want, &f->memory)
                                  : bl_dnn_scratch(net, want, kind, &f->memory)) &&
         bl_dnn_reorder(net, result ? want : have, result ? have : want, &f->reorder);
}

// The memory to give to the primitive, filled where it is a buffer.
static bl_status fill(bl_train_net *net, const bl_step *step, const fitted *f, dnnl_memory_t have,
                      dnnl_memory_t *memory, bl_error *err) {
  *memory = f->reorder != NULL ? f->memory : have;
  return f->reorder != NULL ? bl_dnn_move(net, step, f->reorder, have, f->memory, err) : BL_OK;
}

static bl_status give(bl_train_net *net, const bl_step *step, const fitted *f, dnnl_memory_t have,
                      bl_error *err) {
  return f->reorder != NULL ? bl_dnn_move(net, step, f->reorder, f->memory, have, err) : BL_OK;
}

static bool make_data(bl_train_net *net, const shape *s, const_dnnl_primitive_desc_t hint,
                      const bl_slot *in, convolution *c) {
  dnnl_convolution_desc_t desc;
  const_dnnl_primitive_desc_t pd;
  return dnnl_dilated_convolution_backward_data_desc_init(
             &desc, dnnl_convolution_direct, &s->sum.src, &s->factor.w, &s->factor.dst, s->stride,
             s->dilation, s->begin, s->end) == dnnl_success &&
         bl_dnn_primitive(net, &desc, hint, &c->data, &pd) &&
         fit(net, &s->w, bl_dnn_query(pd, dnnl_query_weights_md), false, BL_SCRATCH_NONE,
             &c->w_data) &&
         fit(net, bl_dnn_query(hint, dnnl_query_dst_md), bl_dnn_query(pd, dnnl_query_diff_dst_md),
             false, BL_SCRATCH_OPERAND, &c->dy_data) &&
         fit(net, &in->md, bl_dnn_query(pd, dnnl_query_diff_src_md), true, BL_SCRATCH_OTHER,
             &c->dx);
}

// The gradient of the output for the weights: the one that the data take, where that is the same.
static bool fit_dy(bl_train_net *net, const dnnl_memory_desc_t *have,
                   const dnnl_memory_desc_t *want, convolution *c) {
  const dnnl_memory_desc_t *other = NULL;
  if (c->dy_data.reorder != NULL) (void)dnnl_memory_get_memory_desc(c->dy_data.memory, &other);
  c->dy_shared = other != NULL && dnnl_memory_desc_equal(other, want) != 0;
  if (!c->dy_shared) return fit(net, have, want, false, BL_SCRATCH_OPERAND, &c->dy);
  c->dy = c->dy_data;
  return true;
}

static bool make_weights(bl_train_net *net, const shape *s, const_dnnl_primitive_desc_t hint,
                         float *gradient, convolution *c) {
  dnnl_convolution_desc_t desc;
  const_dnnl_primitive_desc_t pd;
  return dnnl_dilated_convolution_backward_weights_desc_init(
             &desc, dnnl_convolution_direct, &s->factor.src, &s->sum.w,
             s->has_bias ? &s->bias : NULL, &s->factor.dst, s->stride, s->dilation, s->begin,
             s->end) == dnnl_success &&
         bl_dnn_primitive(net, &desc, hint, &c->weights, &pd) &&
         bl_dnn_memory(net, &s->w, gradient, &c->dw_plain) &&
         fit(net, &s->w, bl_dnn_query(pd, dnnl_query_diff_weights_md), true, BL_SCRATCH_NONE,
             &c->dw) &&
         fit(net, bl_dnn_query(hint, dnnl_query_src_md), bl_dnn_query(pd, dnnl_query_src_md), false,
             BL_SCRATCH_OTHER, &c->src) &&
         fit_dy(net, bl_dnn_query(hint, dnnl_query_dst_md),
                bl_dnn_query(pd, dnnl_query_diff_dst_md), c);
}

static bl_status conv_forward(bl_train_net *net, bl_step *step, bl_error *err) {
  const convolution *c = step->state;
  dnnl_memory_t src, weights;
  BL_TRY(fill(net, step, &c->x, step->inputs[0]->memory, &src, err));
  BL_TRY(fill(net, step, &c->w_forward, c->w_plain, &weights, err));
  dnnl_exec_arg_t args[4] = {
      {DNNL_ARG_SRC, src}, {DNNL_ARG_WEIGHTS, weights}, {DNNL_ARG_DST, step->output->memory}};
  int count = 3;
  if (step->inputs[2] != NULL)
    args[count++] = (dnnl_exec_arg_t){DNNL_ARG_BIAS, step->inputs[2]->memory};
  return bl_dnn_run(net, step, c->forward, args, count, err);
}

static bl_status conv_backward_weights(bl_train_net *net, bl_step *step, bl_error *err) {
  const convolution *c = step->state;
  const dnnl_memory_t x = c->x.reorder != NULL ? c->x.memory : step->inputs[0]->memory;
  dnnl_memory_t src, dy;
  (void)dnnl_memory_set_data_handle(c->dw_plain, step->edges[1].data);
  BL_TRY(fill(net, step, &c->src, x, &src, err));
  BL_TRY(fill(net, step, &c->dy, step->output->grad_memory, &dy, err));
  dnnl_exec_arg_t args[4] = {
      {DNNL_ARG_SRC, src},
      {DNNL_ARG_DIFF_DST, dy},
      {DNNL_ARG_DIFF_WEIGHTS, c->dw.reorder != NULL ? c->dw.memory : c->dw_plain}};
  int count = 3;
  if (step->inputs[2] != NULL)
    args[count++] = (dnnl_exec_arg_t){DNNL_ARG_DIFF_BIAS, step->edges[2].memory};
  BL_TRY(bl_dnn_run(net, step, c->weights, args, count, err));
  return give(net, step, &c->dw, c->dw_plain, err);
}

static bl_status conv_backward_data(bl_train_net *net, bl_step *step, bl_error *err) {
  const convolution *c = step->state;
  dnnl_memory_t weights, dy = c->dy_data.memory;
  BL_TRY(fill(net, step, &c->w_data, c->w_plain, &weights, err));
  if (!c->dy_shared) BL_TRY(fill(net, step, &c->dy_data, step->output->grad_memory, &dy, err));
  dnnl_exec_arg_t args[] = {
      {DNNL_ARG_DIFF_SRC, c->dx.reorder != NULL ? c->dx.memory : step->edges[0].memory},
      {DNNL_ARG_WEIGHTS, weights},
      {DNNL_ARG_DIFF_DST, dy}};
  BL_TRY(bl_dnn_run(net, step, c->data, args, 3, err));
  return give(net, step, &c->dx, step->edges[0].memory, err);
}

static bl_status conv_backward(bl_train_net *net, bl_step *step, bl_error *err) {
  const convolution *c = step->state;
  if (c->weights != NULL) BL_TRY(conv_backward_weights(net, step, err));
  return c->data != NULL ? conv_backward_data(net, step, err) : BL_OK;
}

// The backward primitives. A bias that learns while its weights do not has none of its own in
// oneDNN.
static bl_status make_backward(bl_train_net *net, const bl_node *node, bl_slot *const inputs[3],
                               const shape *s, const_dnnl_primitive_desc_t forward, convolution *c,
                               bl_error *err) {
  bool bias = inputs[2] != NULL && inputs[2]->needs_grad;
  if (inputs[0]->needs_grad && !make_data(net, s, forward, inputs[0], c))
    return bl_net_node_fail(node, BL_ERR_UNSUPPORTED, "oneDNN has no backward of its data", err);
  if (!inputs[1]->needs_grad && !bias) return BL_OK;
  if (!inputs[1]->needs_grad || (inputs[2] != NULL && !bias))
    return bl_net_node_fail(node, BL_ERR_UNSUPPORTED,
                            "weights and bias must both be constants or both be computed", err);
  if (!make_weights(net, s, forward, inputs[1]->grad, c))
    return bl_net_node_fail(node, BL_ERR_UNSUPPORTED, "oneDNN has no backward of its weights", err);
  return BL_OK;
}

// All primitives of factors of that type; *dst: the format of the output.
static bl_status make(bl_train_net *net, const bl_node *node, dnnl_data_type_t type,
                      bl_slot *inputs[3], convolution *c, dnnl_memory_desc_t *dst, bl_error *err) {
  const bool learning = inputs[0]->needs_grad || inputs[1]->needs_grad;
  shape s = {0};
  const_dnnl_primitive_desc_t pd;
  BL_TRY(describe(net, node, type, &s, err));
  if (!make_forward(net, &s, learning, c, &pd) ||
      !bl_dnn_memory(net, &s.w, inputs[1]->data, &c->w_plain) ||
      !fit(net, &s.w, bl_dnn_query(pd, dnnl_query_weights_md), false, BL_SCRATCH_NONE,
           &c->w_forward))
    return bl_net_node_fail(node, BL_ERR_UNSUPPORTED, "oneDNN has no such convolution", err);
  const dnnl_memory_desc_t *src = bl_dnn_query(pd, dnnl_query_src_md);
  if (type == dnnl_f32) BL_TRY(bl_net_view(net, inputs[0], src, &inputs[0], err));
  if (!fit(net, &inputs[0]->md, src, false,
           net->options.frozen ? BL_SCRATCH_OPERAND : BL_SCRATCH_NONE, &c->x))
    return bl_net_memory(net, err);
  *dst = *bl_dnn_query(pd, dnnl_query_dst_md);
  return make_backward(net, node, inputs, &s, pd, c, err);
}

bl_status bl_plan_conv(bl_train_net *net, const bl_node *node, bl_error *err) {
  static const bl_kernel kernel = {conv_forward, conv_backward};
  bl_slot *inputs[3] = {NULL};
  dnnl_memory_desc_t dst;
  bl_error ignored = {0};
  BL_TRY(bl_net_input(net, node, 0, &inputs[0], err));
  BL_TRY(bl_net_plain_input(net, node, 1, &inputs[1], err));
  BL_TRY(bl_net_plain_input(net, node, 2, &inputs[2], err));
  convolution *c = bl_arena_alloc(net->arena, 1, sizeof *c);
  if (c == NULL) return bl_net_memory(net, err);
  if (!net->options.bf16 || make(net, node, dnnl_bf16, inputs, c, &dst, &ignored) != BL_OK) {
    *c = (convolution){0};
    BL_TRY(make(net, node, dnnl_f32, inputs, c, &dst, err));
  }
  return bl_net_output(net, &kernel, node, inputs, 3, &dst, c, err);
}
