// SPDX-License-Identifier: Apache-2.0
// From nodes to steps: slots, views in other formats, transforms, parameters.
#include <string.h>

#include "host/train/net_internal.h"

bl_status bl_net_memory(bl_train_net *net, bl_error *err) {
  return bl_fail(err, BL_ERR_MEMORY,
                 "training: %s needs more memory than there is; take a smaller --batch",
                 net->graph->name);
}

bl_status bl_net_node_fail(const bl_node *node, bl_status status, const char *what, bl_error *err) {
  return bl_fail(err, status, "training: node %s (%s): %s", node->name, bl_float_op_name(node->op),
                 what);
}

dnnl_memory_desc_t bl_net_plain_md(uint32_t rank, const int64_t *dims) {
  dnnl_memory_desc_t md;
  dnnl_dims_t shape = {1}, strides = {1};
  dnnl_dim_t step = 1;
  for (uint32_t k = rank; k-- > 0;) {
    shape[k] = dims[k];
    strides[k] = step;
    step *= dims[k];
  }
  memset(&md, 0, sizeof md);
  (void)dnnl_memory_desc_init_by_strides(&md, rank == 0 ? 1 : (int)rank, shape, dnnl_f32, strides);
  return md;
}

bool bl_slot_dense(const bl_slot *slot) {
  size_t padded = 1;
  for (int k = 0; k < slot->md.ndims; k++)
    padded *= (size_t)slot->md.padded_dims[k];
  return padded == slot->value->count && dnnl_memory_desc_get_size(&slot->md) == padded * 4;
}

bl_status bl_net_slot(bl_train_net *net, const bl_value *value, const dnnl_memory_desc_t *md,
                      bool needs_grad, bl_slot **slot, bl_error *err) {
  bl_slot *s = *slot = bl_arena_alloc(net->arena, 1, sizeof *s);
  size_t size = dnnl_memory_desc_get_size(md);
  dnnl_memory_desc_t plain = bl_net_plain_md(value->rank, value->dims);
  if (s == NULL) return bl_net_memory(net, err);
  s->value = value;
  s->md = *md;
  s->plain = dnnl_memory_desc_equal(md, &plain) != 0;
  s->needs_grad = needs_grad;
  if (bl_value_constant(value)) {
    s->data = bl_arena_alloc(net->arena, size, 1);
    if (needs_grad) s->grad = bl_arena_alloc(net->arena, size, 1);
    if (s->data == NULL || (needs_grad && s->grad == NULL)) return bl_net_memory(net, err);
  }
  if (!bl_dnn_memory(net, md, s->data, &s->memory) ||
      (needs_grad && !bl_dnn_memory(net, md, s->grad, &s->grad_memory)))
    return bl_net_memory(net, err);
  return BL_OK;
}

static bool grow_steps(bl_train_net *net) {
  uint32_t room = net->step_room == 0 ? 64 : 2 * net->step_room;
  bl_step **steps = bl_arena_alloc(net->arena, room, sizeof(bl_step *));
  if (steps == NULL) return false;
  if (net->step_count > 0) memcpy(steps, net->steps, net->step_count * sizeof(bl_step *));
  net->steps = steps;
  net->step_room = room;
  return true;
}

bl_status bl_net_step(bl_train_net *net, const bl_kernel *kernel, const bl_node *node,
                      bl_slot *const *inputs, uint32_t count, bl_slot *output, void *state,
                      bl_error *err) {
  bl_step *step = bl_arena_alloc(net->arena, 1, sizeof *step);
  if (step == NULL || (net->step_count == net->step_room && !grow_steps(net)))
    return bl_net_memory(net, err);
  step->kernel = kernel;
  step->node = node;
  step->input_count = count;
  step->inputs = bl_arena_alloc(net->arena, count, sizeof(bl_slot *));
  step->edges = bl_arena_alloc(net->arena, count, sizeof *step->edges);
  step->output = output;
  step->state = state;
  if (step->inputs == NULL || step->edges == NULL) return bl_net_memory(net, err);
  memcpy(step->inputs, inputs, count * sizeof(bl_slot *));
  net->steps[net->step_count++] = step;
  return BL_OK;
}

// ---- Reorders

typedef struct {
  dnnl_primitive_t forward, backward;
} reorder;

static bl_status reorder_forward(bl_train_net *net, bl_step *step, bl_error *err) {
  const reorder *r = step->state;
  return bl_dnn_move(net, step, r->forward, step->inputs[0]->memory, step->output->memory, err);
}

static bl_status reorder_backward(bl_train_net *net, bl_step *step, bl_error *err) {
  const reorder *r = step->state;
  return bl_dnn_move(net, step, r->backward, step->output->grad_memory, step->edges[0].memory, err);
}

bl_status bl_net_view(bl_train_net *net, bl_slot *slot, const dnnl_memory_desc_t *md,
                      bl_slot **view, bl_error *err) {
  static const bl_kernel kernel = {reorder_forward, reorder_backward};
  for (bl_slot *s = slot; s != NULL; s = s->next_view)
    if (dnnl_memory_desc_equal(&s->md, md) != 0) {
      *view = s;
      return BL_OK;
    }
  reorder *r = bl_arena_alloc(net->arena, 1, sizeof *r);
  if (r == NULL) return bl_net_memory(net, err);
  BL_TRY(bl_net_slot(net, slot->value, md, slot->needs_grad, view, err));
  if (!bl_dnn_reorder(net, &slot->md, md, &r->forward) ||
      (slot->needs_grad && !bl_dnn_reorder(net, md, &slot->md, &r->backward)))
    return bl_fail(err, BL_ERR_UNSUPPORTED, "training: value %s: oneDNN cannot reorder it",
                   slot->value->name);
  (*view)->next_view = slot->next_view;
  slot->next_view = *view;
  return bl_net_step(net, &kernel, NULL, &slot, 1, *view, r, err);
}

bl_status bl_net_plain(bl_train_net *net, bl_slot *slot, bl_slot **view, bl_error *err) {
  dnnl_memory_desc_t md = bl_net_plain_md(slot->value->rank, slot->value->dims);
  return bl_net_view(net, slot, &md, view, err);
}

// ---- Inputs of nodes

// Registers numbers that training changes.
static bl_status add_parameter(bl_train_net *net, const bl_train_parameter *parameter,
                               bl_error *err) {
  if (net->parameter_count == net->parameter_room) {
    uint32_t room = net->parameter_room == 0 ? 64 : 2 * net->parameter_room;
    bl_train_parameter *all = bl_arena_alloc(net->arena, room, sizeof *all);
    if (all == NULL) return bl_net_memory(net, err);
    if (net->parameter_count > 0) memcpy(all, net->parameters, net->parameter_count * sizeof *all);
    net->parameters = all;
    net->parameter_room = room;
  }
  net->parameters[net->parameter_count++] = *parameter;
  return BL_OK;
}

// Inputs and outputs that one number of a weight joins: the operator's own orders of axes.
static void fans(const bl_node *node, const bl_value *w, bl_train_parameter *p) {
  size_t first = w->rank > 0 && w->dims[0] > 0 ? (size_t)w->dims[0] : 1, rest = w->count / first;
  size_t second = w->rank > 1 && w->dims[1] > 0 ? (size_t)w->dims[1] : 1;
  bool columns = node->op == BL_FLOAT_MATMUL ||
                 (node->op == BL_FLOAT_GEMM && bl_node_int(node, "transB", 0) == 0);
  p->fan_in = columns ? first : rest;
  p->fan_out = columns ? rest : first;
  if (node->op == BL_FLOAT_CONV && second > 0)
    p->fan_out = first * (rest / second) / (size_t)bl_node_int(node, "group", 1);
}

// The slot of a constant; one that learns becomes a parameter.
static bl_status constant_slot(bl_train_net *net, const bl_node *node, int32_t v, bl_error *err) {
  const bl_value *value = &net->graph->values[v];
  dnnl_memory_desc_t md = bl_net_plain_md(value->rank, value->dims);
  bl_slot **slot = &net->slots[v];
  if (value->f == NULL)
    return bl_net_node_fail(node, BL_ERR_UNSUPPORTED, "it computes with integers", err);
  bl_train_kind kind = net->kinds[v];
  bool learns = net->learns[v], steps = kind != BL_TRAIN_MEAN && kind != BL_TRAIN_VARIANCE;
  BL_TRY(bl_net_slot(net, value, &md, learns && steps, slot, err));
  memcpy((*slot)->data, value->f, value->count * sizeof *value->f);
  if (!learns) return BL_OK;
  bl_train_parameter p = {.name = value->name,
                          .layer = node->name,
                          .kind = kind,
                          .value = v,
                          .count = value->count,
                          .data = (*slot)->data,
                          .gradient = (*slot)->grad,
                          .decay = kind == BL_TRAIN_WEIGHT,
                          .rate = 1};
  fans(node, value, &p);
  return add_parameter(net, &p, err);
}

bl_status bl_net_input(bl_train_net *net, const bl_node *node, uint32_t k, bl_slot **slot,
                       bl_error *err) {
  *slot = NULL;
  if (k >= node->input_count || node->inputs[k] < 0) return BL_OK;
  int32_t v = node->inputs[k], index = (int32_t)(node - net->graph->nodes);
  if (net->slots[v] == NULL && bl_value_constant(&net->graph->values[v]))
    BL_TRY(constant_slot(net, node, v, err));
  *slot = net->slots[v];
  if (*slot == NULL)
    return bl_net_node_fail(node, BL_ERR_UNSUPPORTED, "it reads what training does not make", err);
  for (uint32_t t = 0; t < net->options.transform_count; t++) {
    const bl_train_transform *transform = &net->options.transforms[t];
    if (transform->value != v || (transform->node >= 0 && transform->node != index)) continue;
    net->transformed[t] = true;
    BL_TRY(bl_plan_transform(net, transform, *slot, slot, err));
  }
  return BL_OK;
}

bl_status bl_net_plain_input(bl_train_net *net, const bl_node *node, uint32_t k, bl_slot **slot,
                             bl_error *err) {
  BL_TRY(bl_net_input(net, node, k, slot, err));
  return *slot == NULL ? BL_OK : bl_net_plain(net, *slot, slot, err);
}

bl_status bl_net_output(bl_train_net *net, const bl_kernel *kernel, const bl_node *node,
                        bl_slot *const *inputs, uint32_t count, const dnnl_memory_desc_t *md,
                        void *state, bl_error *err) {
  bool needs_grad = false;
  for (uint32_t k = 0; k < count; k++)
    needs_grad = needs_grad || (inputs[k] != NULL && inputs[k]->needs_grad);
  int32_t v = node->outputs[0];
  BL_TRY(bl_net_slot(net, &net->graph->values[v], md, needs_grad, &net->slots[v], err));
  return bl_net_step(net, kernel, node, inputs, count, net->slots[v], state, err);
}

// ---- Transforms

typedef struct planned {
  const bl_train_transform *transform;
  const bl_slot *from;
  bl_slot *to;
  float *parameters, *gradients;
  struct planned *next;
} planned;

static bl_train_transform_data data_of(const bl_train_net *net, const bl_step *step) {
  const planned *p = step->state;
  const bl_slot *in = step->inputs[0];
  return (bl_train_transform_data){.value = in->value->name,
                                   .rank = in->value->rank,
                                   .dims = in->value->dims,
                                   .count = in->value->count,
                                   .training = net->training,
                                   .x = in->data,
                                   .parameters = p->parameters};
}

static bl_status transform_forward(bl_train_net *net, bl_step *step, bl_error *err) {
  const planned *p = step->state;
  bl_train_transform_data data = data_of(net, step);
  data.y = step->output->data;
  return p->transform->forward(p->transform->user, &data, err);
}

static bl_status transform_backward(bl_train_net *net, bl_step *step, bl_error *err) {
  const planned *p = step->state;
  bl_train_transform_data data = data_of(net, step);
  data.y = step->output->data;
  data.dy = step->output->grad;
  data.dx = step->edges[0].data;
  data.gradients = p->gradients;
  return p->transform->backward(p->transform->user, &data, err);
}

static bl_status learned(bl_train_net *net, planned *p, bl_error *err) {
  const bl_train_transform *t = p->transform;
  if (t->parameter_count == 0) return BL_OK;
  p->parameters = bl_arena_alloc(net->arena, t->parameter_count, sizeof *p->parameters);
  p->gradients = net->options.frozen
                     ? NULL
                     : bl_arena_alloc(net->arena, t->parameter_count, sizeof *p->gradients);
  if (p->parameters == NULL || (p->gradients == NULL && !net->options.frozen))
    return bl_net_memory(net, err);
  memcpy(p->parameters, t->parameters, t->parameter_count * sizeof *p->parameters);
  bl_train_parameter parameter = {.name = t->name,
                                  .layer = t->name,
                                  .kind = BL_TRAIN_LEARNED,
                                  .value = -1,
                                  .count = t->parameter_count,
                                  .data = p->parameters,
                                  .gradient = p->gradients,
                                  .rate = 1};
  return add_parameter(net, &parameter, err);
}

// One step for all consumers of a value: found again by its transform and what it reads.
bl_status bl_plan_transform(bl_train_net *net, const bl_train_transform *transform, bl_slot *from,
                            bl_slot **slot, bl_error *err) {
  static const bl_kernel kernel = {transform_forward, transform_backward};
  bl_slot *in = from;
  if (!transform->any_order || !bl_slot_dense(from)) BL_TRY(bl_net_plain(net, from, &in, err));
  for (uint32_t n = 0; n < net->step_count; n++) {
    const planned *p = net->steps[n]->kernel == &kernel ? net->steps[n]->state : NULL;
    if (p == NULL || p->transform != transform || p->from != in) continue;
    *slot = p->to;
    return BL_OK;
  }
  planned *p = bl_arena_alloc(net->arena, 1, sizeof *p);
  if (p == NULL) return bl_net_memory(net, err);
  p->transform = transform;
  p->from = in;
  BL_TRY(learned(net, p, err));
  BL_TRY(bl_net_slot(net, in->value, &in->md, in->needs_grad || p->gradients != NULL, slot, err));
  p->to = *slot;
  return bl_net_step(net, &kernel, NULL, &in, 1, *slot, p, err);
}
