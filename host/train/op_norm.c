// SPDX-License-Identifier: Apache-2.0
// Batch normalisation on oneDNN: y = gamma*(x - mean)/sqrt(variance + epsilon) + beta (Ioffe and
// Szegedy 2015). In training the statistics are the batch's, and the running ones move as ONNX
// says: running = momentum*running + (1 - momentum)*batch, variance divided by the count. A Relu
// that alone reads the result runs in the same pass over the data.
#include "host/train/net_internal.h"

typedef struct {
  dnnl_primitive_t training, fixed, backward, backward_fixed;
  dnnl_memory_t mean, variance; // of the batch
  dnnl_memory_t workspace;      // what the Relu lets through; NULL: none, or nothing learns
  dnnl_memory_t scratch[2];     // for gradients nobody wants
  float *batch[2];
  float momentum;
} norm;

enum { IN, GAMMA, BETA, MEAN, VARIANCE, INPUTS };

// The Relu that runs with the normalisation; NULL: none.
static const bl_node *relu_behind(const bl_train_net *net, const bl_node *node) {
  const bl_float_graph *g = net->graph;
  const int32_t value = node->outputs[0];
  const bl_node *reader = NULL;
  uint32_t readers = 0;
  for (uint32_t n = 0; n < g->node_count; n++)
    for (uint32_t k = 0; k < g->nodes[n].input_count; k++)
      if (g->nodes[n].inputs[k] == value) {
        reader = &g->nodes[n];
        readers++;
      }
  if (readers != 1 || reader->op != BL_FLOAT_RELU || value == bl_train_logits(g)) return NULL;
  for (uint32_t k = 0; k < net->options.output_count; k++)
    if (net->options.outputs[k] == value) return NULL;
  for (uint32_t k = 0; k < net->options.transform_count; k++)
    if (net->options.transforms[k].value == value) return NULL;
  return reader;
}

typedef struct {
  const dnnl_memory_desc_t *md;
  float epsilon;
  bool relu, backward;
} form;

static bool make_pair(bl_train_net *net, const form *f, bool fixed, norm *n) {
  const dnnl_prop_kind_t kind =
      net->options.frozen ? dnnl_forward_inference : dnnl_forward_training;
  dnnl_batch_normalization_desc_t desc;
  const_dnnl_primitive_desc_t pd;
  unsigned flags = (unsigned)dnnl_use_scale | (unsigned)dnnl_use_shift;
  if (fixed) flags |= (unsigned)dnnl_use_global_stats;
  if (f->relu) flags |= (unsigned)dnnl_fuse_norm_relu;
  if (dnnl_batch_normalization_forward_desc_init(&desc, kind, f->md, f->epsilon, flags) !=
          dnnl_success ||
      !bl_dnn_primitive(net, &desc, NULL, fixed ? &n->fixed : &n->training, &pd))
    return false;
  if (f->relu && !net->options.frozen && n->workspace == NULL &&
      !bl_dnn_buffer(net, bl_dnn_query(pd, dnnl_query_workspace_md), &n->workspace))
    return false;
  if (!f->backward) return true;
  return dnnl_batch_normalization_backward_desc_init(&desc, dnnl_backward, f->md, f->md, f->epsilon,
                                                     flags) == dnnl_success &&
         bl_dnn_primitive(net, &desc, pd, fixed ? &n->backward_fixed : &n->backward, NULL);
}

static bool batch_statistics(const bl_train_net *net) {
  return net->training && !net->options.fixed_statistics && !net->options.frozen;
}

static bl_status norm_forward(bl_train_net *net, bl_step *step, bl_error *err) {
  norm *n = step->state;
  bl_slot **in = step->inputs;
  bool batch = batch_statistics(net);
  dnnl_exec_arg_t args[] = {{DNNL_ARG_SRC, in[IN]->memory},
                            {DNNL_ARG_SCALE, in[GAMMA]->memory},
                            {DNNL_ARG_SHIFT, in[BETA]->memory},
                            {DNNL_ARG_MEAN, batch ? n->mean : in[MEAN]->memory},
                            {DNNL_ARG_VARIANCE, batch ? n->variance : in[VARIANCE]->memory},
                            {DNNL_ARG_DST, step->output->memory},
                            {DNNL_ARG_WORKSPACE, n->workspace}};
  BL_TRY(bl_dnn_run(net, step, batch ? n->training : n->fixed, args, n->workspace != NULL ? 7 : 6,
                    err));
  for (int s = 0; batch && s < 2; s++) {
    float *running = in[MEAN + s]->data;
    for (size_t c = 0; c < in[MEAN]->value->count; c++)
      running[c] = n->momentum * running[c] + (1 - n->momentum) * n->batch[s][c];
  }
  return BL_OK;
}

static bl_status norm_backward(bl_train_net *net, bl_step *step, bl_error *err) {
  norm *n = step->state;
  bl_slot **in = step->inputs;
  bool batch = batch_statistics(net);
  const bl_edge *e = step->edges;
  dnnl_exec_arg_t args[] = {
      {DNNL_ARG_SRC, in[IN]->memory},
      {DNNL_ARG_SCALE, in[GAMMA]->memory},
      {DNNL_ARG_SHIFT, in[BETA]->memory},
      {DNNL_ARG_MEAN, batch ? n->mean : in[MEAN]->memory},
      {DNNL_ARG_VARIANCE, batch ? n->variance : in[VARIANCE]->memory},
      {DNNL_ARG_DIFF_DST, step->output->grad_memory},
      {DNNL_ARG_DIFF_SRC, e[IN].data != NULL ? e[IN].memory : step->output->grad_memory},
      {DNNL_ARG_DIFF_SCALE, e[GAMMA].data != NULL ? e[GAMMA].memory : n->scratch[0]},
      {DNNL_ARG_DIFF_SHIFT, e[BETA].data != NULL ? e[BETA].memory : n->scratch[1]},
      {DNNL_ARG_WORKSPACE, n->workspace}};
  return bl_dnn_run(net, step, batch ? n->backward : n->backward_fixed, args,
                    n->workspace != NULL ? 10 : 9, err);
}

bl_status bl_plan_batch_norm(bl_train_net *net, const bl_node *node, bl_error *err) {
  static const bl_kernel kernel = {norm_forward, norm_backward};
  bl_slot *in[INPUTS] = {NULL};
  BL_TRY(bl_net_input(net, node, IN, &in[IN], err));
  if (in[IN]->value->rank < 2)
    return bl_net_node_fail(node, BL_ERR_UNSUPPORTED, "its input has no channels", err);
  for (uint32_t k = GAMMA; k < INPUTS; k++)
    BL_TRY(bl_net_plain_input(net, node, k, &in[k], err));
  norm *n = bl_arena_alloc(net->arena, 1, sizeof *n);
  if (n == NULL) return bl_net_memory(net, err);
  n->momentum = bl_node_float(node, "momentum", 0.9F);
  const bl_node *relu = relu_behind(net, node);
  const dnnl_memory_desc_t *channel = &in[MEAN]->md;
  const form f = {&in[IN]->md, bl_node_float(node, "epsilon", 1e-5F), relu != NULL,
                  in[IN]->needs_grad || in[GAMMA]->needs_grad || in[BETA]->needs_grad};
  if (!make_pair(net, &f, false, n) || !make_pair(net, &f, true, n) ||
      !bl_dnn_buffer(net, channel, &n->mean) || !bl_dnn_buffer(net, channel, &n->variance) ||
      !bl_dnn_buffer(net, channel, &n->scratch[0]) || !bl_dnn_buffer(net, channel, &n->scratch[1]))
    return bl_net_node_fail(node, BL_ERR_UNSUPPORTED, "oneDNN has no such normalisation", err);
  void *data[2];
  (void)dnnl_memory_get_data_handle(n->mean, &data[0]);
  (void)dnnl_memory_get_data_handle(n->variance, &data[1]);
  n->batch[0] = data[0];
  n->batch[1] = data[1];
  return bl_net_output(net, &kernel, relu != NULL ? relu : node, in, INPUTS, f.md, n, err);
}
