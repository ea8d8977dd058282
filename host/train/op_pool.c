// SPDX-License-Identifier: Apache-2.0
// Pooling on oneDNN. The gradient of a maximum goes to the first place that has it.
#include "host/train/net_internal.h"

typedef struct {
  dnnl_primitive_t forward, backward;
  dnnl_memory_t workspace; // where each maximum was; NULL for averages
} pool;

static bl_status pool_forward(bl_train_net *net, bl_step *step, bl_error *err) {
  const pool *p = step->state;
  dnnl_exec_arg_t args[] = {{DNNL_ARG_SRC, step->inputs[0]->memory},
                            {DNNL_ARG_DST, step->output->memory},
                            {DNNL_ARG_WORKSPACE, p->workspace}};
  return bl_dnn_run(net, step, p->forward, args, p->workspace != NULL ? 3 : 2, err);
}

static bl_status pool_backward(bl_train_net *net, bl_step *step, bl_error *err) {
  const pool *p = step->state;
  dnnl_exec_arg_t args[] = {{DNNL_ARG_DIFF_DST, step->output->grad_memory},
                            {DNNL_ARG_DIFF_SRC, step->edges[0].memory},
                            {DNNL_ARG_WORKSPACE, p->workspace}};
  return bl_dnn_run(net, step, p->backward, args, p->workspace != NULL ? 3 : 2, err);
}

typedef struct {
  dnnl_alg_kind_t algorithm;
  dnnl_dims_t kernel, stride, dilation, begin, end;
} shape;

// oneDNN wants the padding at the end that the output's size implies; rounding up may imply more
// than the node has.
static bl_status describe(bl_train_net *net, const bl_node *node, shape *s, bl_error *err) {
  const bl_value *in = bl_node_input(net->graph, node, 0);
  bool average = node->op == BL_FLOAT_AVERAGE_POOL || node->op == BL_FLOAT_GLOBAL_AVERAGE_POOL;
  bool all = bl_node_int(node, "count_include_pad", 0) != 0;
  bl_window w;
  BL_TRY(bl_node_window(net->graph, node, &w, err));
  s->algorithm = !average ? dnnl_pooling_max
                 : all    ? dnnl_pooling_avg_include_padding
                          : dnnl_pooling_avg_exclude_padding;
  for (uint32_t k = 0; k < w.rank; k++) {
    int64_t span = (w.kernel[k] - 1) * w.dilation[k] + 1;
    int64_t end = (w.out[k] - 1) * w.stride[k] + span - in->dims[k + 2] - w.pad_begin[k];
    if (average && all && end > w.pad_end[k])
      return bl_net_node_fail(node, BL_ERR_UNSUPPORTED,
                              "ceil_mode counts padding beyond the map's end", err);
    s->kernel[k] = w.kernel[k];
    s->stride[k] = w.stride[k];
    s->dilation[k] = w.dilation[k] - 1;
    s->begin[k] = w.pad_begin[k];
    s->end[k] = end;
  }
  return BL_OK;
}

static bool make(bl_train_net *net, const shape *s, const bl_slot *in, dnnl_memory_desc_t *dst,
                 pool *p) {
  dnnl_pooling_v2_desc_t desc;
  const_dnnl_primitive_desc_t pd;
  bool max = s->algorithm == dnnl_pooling_max;
  dnnl_prop_kind_t kind = max && in->needs_grad ? dnnl_forward_training : dnnl_forward_inference;
  if (dnnl_pooling_v2_forward_desc_init(&desc, kind, s->algorithm, &in->md, dst, s->stride,
                                        s->kernel, s->dilation, s->begin, s->end) != dnnl_success ||
      !bl_dnn_primitive(net, &desc, NULL, &p->forward, &pd))
    return false;
  *dst = *bl_dnn_query(pd, dnnl_query_dst_md);
  if (!in->needs_grad) return true;
  if (max && !bl_dnn_buffer(net, bl_dnn_query(pd, dnnl_query_workspace_md), &p->workspace))
    return false;
  return dnnl_pooling_v2_backward_desc_init(&desc, s->algorithm, &in->md, dst, s->stride, s->kernel,
                                            s->dilation, s->begin, s->end) == dnnl_success &&
         bl_dnn_primitive(net, &desc, pd, &p->backward, NULL);
}

// One pixel a window: the output is the input.
static bool copies(const shape *s, uint32_t rank) {
  for (uint32_t k = 0; k + 2 < rank; k++)
    if (s->kernel[k] != 1 || s->stride[k] != 1 || s->begin[k] != 0 || s->end[k] != 0) return false;
  return true;
}

bl_status bl_plan_pool(bl_train_net *net, const bl_node *node, bl_error *err) {
  static const bl_kernel kernel = {pool_forward, pool_backward};
  const bl_value *out = bl_node_output(net->graph, node, 0);
  bl_slot *in;
  shape s = {0};
  if (bl_node_output(net->graph, node, 1) != NULL)
    return bl_net_node_fail(node, BL_ERR_UNSUPPORTED, "indices as a second output", err);
  BL_TRY(bl_net_input(net, node, 0, &in, err));
  BL_TRY(describe(net, node, &s, err));
  if (copies(&s, out->rank)) {
    net->slots[node->outputs[0]] = in;
    return BL_OK;
  }
  pool *p = bl_arena_alloc(net->arena, 1, sizeof *p);
  if (p == NULL) return bl_net_memory(net, err);
  dnnl_memory_desc_t plain = bl_net_plain_md(out->rank, out->dims), md;
  (void)dnnl_memory_desc_init_by_tag(&md, plain.ndims, plain.dims, dnnl_f32, dnnl_format_tag_any);
  if (!make(net, &s, in, &md, p))
    return bl_net_node_fail(node, BL_ERR_UNSUPPORTED, "oneDNN has no such pooling", err);
  return bl_net_output(net, &kernel, node, &in, 1, &md, p, err);
}
