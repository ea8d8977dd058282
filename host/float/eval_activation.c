// SPDX-License-Identifier: Apache-2.0
// Functions of one number.
#include <math.h>
#include <string.h>

#include "host/float/eval_internal.h"

static double gelu(const bl_node *node, double x) {
  if (strcmp(bl_node_string(node, "approximate", "none"), "tanh") != 0)
    return 0.5 * x * (1 + erf(x / sqrt(2.0)));
  return 0.5 * x * (1 + tanh(sqrt(2.0 / acos(-1.0)) * (x + 0.044715 * x * x * x)));
}

static double hard_sigmoid(double alpha, double beta, double x) {
  return fmax(0, fmin(1, alpha * x + beta));
}

double bl_activation(const bl_node *node, double x) {
  switch (node->op) {
  case BL_FLOAT_SIGMOID:
    return 1 / (1 + exp(-x));
  case BL_FLOAT_TANH:
    return tanh(x);
  case BL_FLOAT_ERF:
    return erf(x);
  case BL_FLOAT_ELU:
    return x < 0 ? (double)bl_node_float(node, "alpha", 1) * expm1(x) : x;
  case BL_FLOAT_GELU:
    return gelu(node, x);
  case BL_FLOAT_HARD_SIGMOID:
    return hard_sigmoid((double)bl_node_float(node, "alpha", 0.2F),
                        (double)bl_node_float(node, "beta", 0.5F), x);
  case BL_FLOAT_HARD_SWISH:
    return x * hard_sigmoid(1.0 / 6, 0.5, x);
  case BL_FLOAT_LEAKY_RELU:
    return x < 0 ? (double)bl_node_float(node, "alpha", 0.01F) * x : x;
  case BL_FLOAT_SOFTPLUS:
    return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
  case BL_FLOAT_CLIP:
    return fmax((double)bl_node_float(node, "min", -INFINITY),
                fmin((double)bl_node_float(node, "max", INFINITY), x));
  default:
    return x > 0 ? x : 0;
  }
}

bool bl_is_activation(bl_float_op op) {
  switch (op) {
  case BL_FLOAT_SIGMOID:
  case BL_FLOAT_TANH:
  case BL_FLOAT_ERF:
  case BL_FLOAT_ELU:
  case BL_FLOAT_GELU:
  case BL_FLOAT_HARD_SIGMOID:
  case BL_FLOAT_HARD_SWISH:
  case BL_FLOAT_LEAKY_RELU:
  case BL_FLOAT_SOFTPLUS:
  case BL_FLOAT_CLIP:
  case BL_FLOAT_RELU:
    return true;
  default:
    return false;
  }
}

bl_status bl_eval_activation(const bl_eval *e) {
  const bl_value *in = bl_eval_in(e, 0);
  bl_value *out = bl_eval_out(e, 0);
  for (size_t k = 0; k < out->count; k++)
    out->f[k] = (float)bl_activation(e->node, (double)in->f[k]);
  return BL_OK;
}
