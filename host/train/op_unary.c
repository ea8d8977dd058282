// SPDX-License-Identifier: Apache-2.0
// Functions of one number, element by element in whatever format the data has. On oneDNN where it
// has the function; the others by their formula (ONNX) and its derivative.
#include <math.h>
#include <string.h>

#include "host/float/eval.h"
#include "host/train/net_internal.h"

typedef struct {
  dnnl_primitive_t forward, backward; // NULL: by formula
  bool from_output;                   // backward works from y instead of x
} unary;

static const double TWO_OVER_SQRT_PI = 1.1283791670955126;

static double gelu_slope(const bl_node *node, double x) {
  if (strcmp(bl_node_string(node, "approximate", "none"), "tanh") != 0)
    return 0.5 * (1 + erf(x * sqrt(0.5))) +
           0.5 * sqrt(0.5) * x * TWO_OVER_SQRT_PI * exp(-0.5 * x * x);
  double c = TWO_OVER_SQRT_PI * sqrt(0.5), t = tanh(c * (x + 0.044715 * x * x * x));
  return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x);
}

static double hard_slope(double alpha, double beta, double x) {
  double y = alpha * x + beta;
  return y > 0 && y < 1 ? alpha : 0;
}

// The derivative of bl_activation at x.
static double slope(const bl_node *node, double x) {
  switch (node->op) {
  case BL_FLOAT_ERF:
    return TWO_OVER_SQRT_PI * exp(-x * x);
  case BL_FLOAT_GELU:
    return gelu_slope(node, x);
  case BL_FLOAT_HARD_SIGMOID:
    return hard_slope((double)bl_node_float(node, "alpha", 0.2F),
                      (double)bl_node_float(node, "beta", 0.5F), x);
  case BL_FLOAT_HARD_SWISH:
    return fmax(0, fmin(1, x / 6 + 0.5)) + x * hard_slope(1.0 / 6, 0.5, x);
  default: // Softplus
    return 1 / (1 + exp(-x));
  }
}

static size_t elements(const bl_slot *slot) {
  return dnnl_memory_desc_get_size(&slot->md) / sizeof(float);
}

static bl_status unary_forward(bl_train_net *net, bl_step *step, bl_error *err) {
  const unary *u = step->state;
  const bl_slot *in = step->inputs[0];
  dnnl_exec_arg_t args[] = {{DNNL_ARG_SRC, in->memory}, {DNNL_ARG_DST, step->output->memory}};
  if (u->forward != NULL) return bl_dnn_run(net, step, u->forward, args, 2, err);
  float *y = step->output->data;
  for (size_t k = 0; k < elements(in); k++)
    y[k] = (float)bl_activation(step->node, (double)in->data[k]);
  return BL_OK;
}

static bl_status unary_backward(bl_train_net *net, bl_step *step, bl_error *err) {
  const unary *u = step->state;
  const bl_slot *in = step->inputs[0], *out = step->output;
  dnnl_exec_arg_t args[] = {
      u->from_output ? (dnnl_exec_arg_t){DNNL_ARG_DST, out->memory}
                     : (dnnl_exec_arg_t){DNNL_ARG_SRC, in->memory},
      {DNNL_ARG_DIFF_DST, out->grad_memory},
      {DNNL_ARG_DIFF_SRC, step->edges[0].memory},
  };
  if (u->backward != NULL) return bl_dnn_run(net, step, u->backward, args, 3, err);
  float *dx = step->edges[0].data;
  for (size_t k = 0; k < elements(in); k++)
    dx[k] = out->grad[k] * (float)slope(step->node, (double)in->data[k]);
  return BL_OK;
}

// oneDNN's names. Alpha and beta are set; false: it has no such function.
static bool algorithm(const bl_node *node, dnnl_alg_kind_t *forward, dnnl_alg_kind_t *backward,
                      float *alpha) {
  *alpha = 0;
  switch (node->op) {
  case BL_FLOAT_RELU:
    *forward = dnnl_eltwise_relu;
    *backward = dnnl_eltwise_relu_use_dst_for_bwd;
    return true;
  case BL_FLOAT_LEAKY_RELU:
    *alpha = bl_node_float(node, "alpha", 0.01F);
    *forward = *backward = dnnl_eltwise_relu;
    return true;
  case BL_FLOAT_SIGMOID:
    *forward = dnnl_eltwise_logistic;
    *backward = dnnl_eltwise_logistic_use_dst_for_bwd;
    return true;
  case BL_FLOAT_TANH:
    *forward = dnnl_eltwise_tanh;
    *backward = dnnl_eltwise_tanh_use_dst_for_bwd;
    return true;
  case BL_FLOAT_ELU:
    *alpha = bl_node_float(node, "alpha", 1);
    *forward = *backward = dnnl_eltwise_elu;
    return true;
  default:
    return false;
  }
}

static bl_status plan_on_onednn(bl_train_net *net, const bl_node *node, const bl_slot *in,
                                dnnl_alg_kind_t forward, dnnl_alg_kind_t backward, float alpha,
                                float beta, unary *u, bl_error *err) {
  dnnl_eltwise_desc_t desc;
  const_dnnl_primitive_desc_t pd;
  u->from_output = backward != forward;
  bool ok = dnnl_eltwise_forward_desc_init(&desc, dnnl_forward_training, forward, &in->md, alpha,
                                           beta) == dnnl_success &&
            bl_dnn_primitive(net, &desc, NULL, &u->forward, &pd);
  if (ok && in->needs_grad)
    ok = dnnl_eltwise_backward_desc_init(&desc, backward, &in->md, &in->md, alpha, beta) ==
             dnnl_success &&
         bl_dnn_primitive(net, &desc, pd, &u->backward, NULL);
  if (ok) return BL_OK;
  return bl_net_node_fail(node, BL_ERR_UNSUPPORTED, "oneDNN has no such function", err);
}

static const bl_kernel kernel = {unary_forward, unary_backward};

bl_status bl_plan_unary(bl_train_net *net, const bl_node *node, bl_error *err) {
  bl_slot *in;
  dnnl_alg_kind_t forward, backward;
  float alpha;
  BL_TRY(bl_net_input(net, node, 0, &in, err));
  unary *u = bl_arena_alloc(net->arena, 1, sizeof *u);
  if (u == NULL) return bl_net_memory(net, err);
  if (algorithm(node, &forward, &backward, &alpha))
    BL_TRY(plan_on_onednn(net, node, in, forward, backward, alpha, 0, u, err));
  else if (!bl_slot_dense(in)) // f(0) may differ from 0, which padding must stay
    BL_TRY(bl_net_plain(net, in, &in, err));
  return bl_net_output(net, &kernel, node, &in, 1, &in->md, u, err);
}

// A bound from its attribute or input; both absent: the largest number.
static float bound(const bl_train_net *net, const bl_node *node, uint32_t k, const char *name,
                   float otherwise) {
  const bl_value *v = bl_node_input(net->graph, node, k);
  if (v != NULL && v->f != NULL && v->count > 0) return v->f[0];
  return bl_node_float(node, name, otherwise);
}

bl_status bl_plan_clip(bl_train_net *net, const bl_node *node, bl_error *err) {
  bl_slot *in;
  BL_TRY(bl_net_input(net, node, 0, &in, err));
  for (uint32_t k = 1; k < 3; k++) {
    const bl_value *v = bl_node_input(net->graph, node, k);
    if (v != NULL && v->f == NULL)
      return bl_net_node_fail(node, BL_ERR_UNSUPPORTED, "its bounds are not constants", err);
  }
  unary *u = bl_arena_alloc(net->arena, 1, sizeof *u);
  if (u == NULL) return bl_net_memory(net, err);
  float low = bound(net, node, 1, "min", -INFINITY), high = bound(net, node, 2, "max", INFINITY);
  BL_TRY(plan_on_onednn(net, node, in, dnnl_eltwise_clip_v2, dnnl_eltwise_clip_v2_use_dst_for_bwd,
                        low, high, u, err));
  return bl_net_output(net, &kernel, node, &in, 1, &in->md, u, err);
}
