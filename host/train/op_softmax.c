// SPDX-License-Identifier: Apache-2.0
// Softmax in the middle of a network (a final one belongs to the loss), and dropout.
#include <math.h>
#include <string.h>

#include "host/base/random.h"
#include "host/train/net_internal.h"

// ---- Softmax: count numbers, stride apart, are one distribution

typedef struct {
  size_t count, stride;
} lines;

static void softmax_line(const float *x, float *y, const lines *l) {
  float top = x[0];
  double sum = 0;
  for (size_t k = 1; k < l->count; k++)
    top = fmaxf(top, x[k * l->stride]);
  for (size_t k = 0; k < l->count; k++)
    sum += exp((double)(x[k * l->stride] - top));
  for (size_t k = 0; k < l->count; k++)
    y[k * l->stride] = (float)(exp((double)(x[k * l->stride] - top)) / sum);
}

static void softmax_line_back(const float *y, const float *dy, float *dx, const lines *l) {
  double dot = 0;
  for (size_t k = 0; k < l->count; k++)
    dot += (double)y[k * l->stride] * (double)dy[k * l->stride];
  for (size_t k = 0; k < l->count; k++)
    dx[k * l->stride] = (float)((double)y[k * l->stride] * ((double)dy[k * l->stride] - dot));
}

// Element at which line number `at` starts.
static size_t line_start(const lines *l, size_t at) {
  return at / l->stride * l->count * l->stride + at % l->stride;
}

static bl_status softmax_forward(bl_train_net *net, bl_step *step, bl_error *err) {
  (void)net;
  (void)err;
  const lines *l = step->state;
  for (size_t at = 0; l->count > 0 && at < step->output->value->count / l->count; at++)
    softmax_line(step->inputs[0]->data + line_start(l, at), step->output->data + line_start(l, at),
                 l);
  return BL_OK;
}

static bl_status softmax_backward(bl_train_net *net, bl_step *step, bl_error *err) {
  (void)net;
  (void)err;
  const lines *l = step->state;
  for (size_t at = 0; l->count > 0 && at < step->output->value->count / l->count; at++) {
    size_t from = line_start(l, at);
    softmax_line_back(step->output->data + from, step->output->grad + from,
                      step->edges[0].data + from, l);
  }
  return BL_OK;
}

// Before opset 13 the axes from `axis` on are one.
bl_status bl_plan_softmax(bl_train_net *net, const bl_node *node, bl_error *err) {
  static const bl_kernel kernel = {softmax_forward, softmax_backward};
  bl_slot *in;
  BL_TRY(bl_net_plain_input(net, node, 0, &in, err));
  bool flat = net->graph->opset < 13;
  int64_t rank = in->value->rank, axis = bl_node_int(node, "axis", flat ? 1 : -1);
  if (axis < 0) axis += rank;
  if (axis < 0 || axis >= rank) return bl_net_node_fail(node, BL_ERR_FORMAT, "bad axis", err);
  lines *l = bl_arena_alloc(net->arena, 1, sizeof *l);
  if (l == NULL) return bl_net_memory(net, err);
  l->count = l->stride = 1;
  for (int64_t k = axis; k < rank; k++)
    *(flat || k == axis ? &l->count : &l->stride) *= (size_t)in->value->dims[k];
  return bl_net_output(net, &kernel, node, &in, 1, &in->md, l, err);
}

// ---- Dropout (Srivastava et al. 2014), scaled in training so that evaluation is the identity

typedef struct {
  float ratio;
  uint64_t key;
  bool active; // in the last forward
} dropout;

static float factor(const dropout *d, uint64_t key, size_t k) {
  return bl_random_unit(bl_random_key(key, k)) < (double)d->ratio ? 0 : 1 / (1 - d->ratio);
}

static void drop(const bl_train_net *net, const dropout *d, const float *x, float *y,
                 size_t count) {
  uint64_t key = bl_random_key(d->key, net->step);
  if (!d->active) {
    memcpy(y, x, count * sizeof *y);
    return;
  }
  for (size_t k = 0; k < count; k++)
    y[k] = x[k] * factor(d, key, k);
}

static bl_status dropout_forward(bl_train_net *net, bl_step *step, bl_error *err) {
  (void)err;
  dropout *d = step->state;
  d->active = net->training && !net->options.frozen && d->ratio > 0;
  drop(net, d, step->inputs[0]->data, step->output->data, step->output->value->count);
  return BL_OK;
}

static bl_status dropout_backward(bl_train_net *net, bl_step *step, bl_error *err) {
  (void)err;
  drop(net, step->state, step->output->grad, step->edges[0].data, step->output->value->count);
  return BL_OK;
}

bl_status bl_plan_dropout(bl_train_net *net, const bl_node *node, bl_error *err) {
  static const bl_kernel kernel = {dropout_forward, dropout_backward};
  bl_slot *in;
  BL_TRY(bl_net_plain_input(net, node, 0, &in, err));
  const bl_value *ratio = bl_node_input(net->graph, node, 1);
  dropout *d = bl_arena_alloc(net->arena, 1, sizeof *d);
  if (d == NULL) return bl_net_memory(net, err);
  d->ratio = bl_node_float(node, "ratio", 0.5F);
  if (ratio != NULL && ratio->f != NULL && ratio->count > 0) d->ratio = ratio->f[0];
  if (!(d->ratio >= 0 && d->ratio < 1))
    return bl_net_node_fail(node, BL_ERR_FORMAT, "its ratio is not in 0..1", err);
  d->key = bl_random_key(bl_random_mix(net->options.seed), (uint64_t)(node - net->graph->nodes));
  return bl_net_output(net, &kernel, node, &in, 1, &in->md, d, err);
}
