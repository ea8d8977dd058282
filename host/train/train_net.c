// SPDX-License-Identifier: Apache-2.0
// The plan as a whole: what learns, which steps, where gradients go; and running it.
#include "host/train/train_net.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "host/train/net_internal.h"

static const size_t NET_CAP = (size_t)4 << 30;

static const bl_net_planner planners[BL_FLOAT_OP_COUNT] = {
    [BL_FLOAT_ADD] = bl_plan_binary,
    [BL_FLOAT_AVERAGE_POOL] = bl_plan_pool,
    [BL_FLOAT_BATCH_NORM] = bl_plan_batch_norm,
    [BL_FLOAT_CLIP] = bl_plan_clip,
    [BL_FLOAT_CONCAT] = bl_plan_concat,
    [BL_FLOAT_CONV] = bl_plan_conv,
    [BL_FLOAT_DIV] = bl_plan_binary,
    [BL_FLOAT_DROPOUT] = bl_plan_dropout,
    [BL_FLOAT_ELU] = bl_plan_unary,
    [BL_FLOAT_ERF] = bl_plan_unary,
    [BL_FLOAT_FLATTEN] = bl_plan_copy,
    [BL_FLOAT_GATHER] = bl_plan_move,
    [BL_FLOAT_GELU] = bl_plan_unary,
    [BL_FLOAT_GEMM] = bl_plan_gemm,
    [BL_FLOAT_GLOBAL_AVERAGE_POOL] = bl_plan_pool,
    [BL_FLOAT_GLOBAL_MAX_POOL] = bl_plan_pool,
    [BL_FLOAT_HARD_SIGMOID] = bl_plan_unary,
    [BL_FLOAT_HARD_SWISH] = bl_plan_unary,
    [BL_FLOAT_IDENTITY] = bl_plan_copy,
    [BL_FLOAT_LEAKY_RELU] = bl_plan_unary,
    [BL_FLOAT_MATMUL] = bl_plan_matmul,
    [BL_FLOAT_MAX_POOL] = bl_plan_pool,
    [BL_FLOAT_MUL] = bl_plan_binary,
    [BL_FLOAT_PAD] = bl_plan_move,
    [BL_FLOAT_POW] = bl_plan_binary,
    [BL_FLOAT_RELU] = bl_plan_unary,
    [BL_FLOAT_RESHAPE] = bl_plan_copy,
    [BL_FLOAT_RESIZE] = bl_plan_move,
    [BL_FLOAT_SIGMOID] = bl_plan_unary,
    [BL_FLOAT_SLICE] = bl_plan_move,
    [BL_FLOAT_SOFTMAX] = bl_plan_softmax,
    [BL_FLOAT_SOFTPLUS] = bl_plan_unary,
    [BL_FLOAT_SQUEEZE] = bl_plan_copy,
    [BL_FLOAT_SUB] = bl_plan_binary,
    [BL_FLOAT_TANH] = bl_plan_unary,
    [BL_FLOAT_TRANSPOSE] = bl_plan_move,
    [BL_FLOAT_UNSQUEEZE] = bl_plan_copy,
    [BL_FLOAT_UPSAMPLE] = bl_plan_move,
};

// OpenMP's own, of libgomp; omp.h belongs to one compiler, and static checks use another.
extern void omp_set_num_threads(int threads);

void bl_train_threads(uint32_t threads) {
  omp_set_num_threads((int)threads);
}

bool bl_train_has_bf16(void) {
  const unsigned needed = (unsigned)dnnl_cpu_isa_avx512_core_bf16;
  return ((unsigned)dnnl_get_effective_cpu_isa() & needed) == needed;
}

int32_t bl_train_logits(const bl_float_graph *graph) {
  int32_t out = graph->outputs[0];
  for (uint32_t n = 0; n < graph->node_count; n++) {
    const bl_node *node = &graph->nodes[n];
    if (node->output_count == 0 || node->outputs[0] != out) continue;
    if (node->op == BL_FLOAT_SOFTMAX || node->op == BL_FLOAT_SIGMOID) return node->inputs[0];
  }
  return out;
}

// ---- What learns

static void learn(bl_train_net *net, const bl_node *node, uint32_t k, bl_train_kind kind) {
  const bl_value *v = bl_node_input(net->graph, node, k);
  if (v == NULL || v->f == NULL) return;
  int32_t index = node->inputs[k];
  if (!net->learns[index]) net->kinds[index] = kind;
  net->learns[index] = true;
}

// A bias or scale written as an element-wise node: numbers for each channel behind something that
// learns. Behind the bare input it is a normalisation, a single number is part of a formula.
static void learn_element_wise(bl_train_net *net, const bl_node *node) {
  bool behind = false;
  if (node->op == BL_FLOAT_DIV || node->op == BL_FLOAT_POW) return;
  for (uint32_t k = 0; k < node->input_count; k++) {
    const bl_value *v = bl_node_input(net->graph, node, k);
    behind = behind || (v != NULL && v->f == NULL && net->learns[node->inputs[k]]);
  }
  for (uint32_t k = 0; behind && k < node->input_count; k++) {
    const bl_value *v = bl_node_input(net->graph, node, k);
    if (v != NULL && v->count > 1)
      learn(net, node, k, node->op == BL_FLOAT_MUL ? BL_TRAIN_SCALE : BL_TRAIN_BIAS);
  }
}

static void mark_node(bl_train_net *net, const bl_node *node) {
  static const bl_train_kind norm[5] = {BL_TRAIN_WEIGHT, BL_TRAIN_SCALE, BL_TRAIN_BIAS,
                                        BL_TRAIN_MEAN, BL_TRAIN_VARIANCE};
  if (bl_node_is_product(node)) {
    if (node->op != BL_FLOAT_CONV) learn(net, node, 0, BL_TRAIN_WEIGHT);
    learn(net, node, 1, BL_TRAIN_WEIGHT);
    learn(net, node, 2, BL_TRAIN_BIAS);
  } else if (node->op == BL_FLOAT_BATCH_NORM) {
    for (uint32_t k = 1; k < 5; k++)
      learn(net, node, k, norm[k]);
  } else if (planners[node->op] == bl_plan_binary) {
    learn_element_wise(net, node);
  }
  bool behind = false;
  for (uint32_t k = 0; k < node->input_count; k++)
    behind = behind || (node->inputs[k] >= 0 && net->learns[node->inputs[k]]);
  for (uint32_t k = 0; k < node->output_count; k++)
    if (node->outputs[k] >= 0) net->learns[node->outputs[k]] = behind;
}

// ---- Planning

static bl_status plan_inputs(bl_train_net *net, bl_error *err) {
  const bl_float_graph *g = net->graph;
  net->inputs = bl_arena_alloc(net->arena, g->input_count, sizeof(bl_slot *));
  if (net->inputs == NULL) return bl_net_memory(net, err);
  for (uint32_t k = 0; k < g->input_count; k++) {
    const bl_value *v = &g->values[g->inputs[k]];
    dnnl_memory_desc_t md = bl_net_plain_md(v->rank, v->dims);
    if (v->type != BL_TYPE_FLOAT)
      return bl_fail(err, BL_ERR_UNSUPPORTED, "training: input %s is not of floats", v->name);
    BL_TRY(bl_net_slot(net, v, &md, net->options.input_gradients, &net->inputs[k], err));
    net->slots[g->inputs[k]] = net->inputs[k];
  }
  return BL_OK;
}

static bl_status copy_forward(bl_train_net *net, bl_step *step, bl_error *err) {
  (void)net;
  (void)err;
  memcpy(step->output->data, step->inputs[0]->data, step->output->value->count * sizeof(float));
  return BL_OK;
}

static bl_status copy_backward(bl_train_net *net, bl_step *step, bl_error *err) {
  (void)net;
  (void)err;
  memcpy(step->edges[0].data, step->output->grad, step->output->value->count * sizeof(float));
  return BL_OK;
}

bl_status bl_plan_copy(bl_train_net *net, const bl_node *node, bl_error *err) {
  static const bl_kernel kernel = {copy_forward, copy_backward};
  bl_slot *in;
  BL_TRY(bl_net_plain_input(net, node, 0, &in, err));
  const bl_value *out = bl_node_output(net->graph, node, 0);
  dnnl_memory_desc_t md = bl_net_plain_md(out->rank, out->dims);
  return bl_net_output(net, &kernel, node, &in, 1, &md, NULL, err);
}

// Each output is a row-major copy, so that its gradient is the caller's alone.
static bl_status plan_outputs(bl_train_net *net, bl_error *err) {
  static const bl_kernel kernel = {copy_forward, copy_backward};
  int32_t logits = bl_train_logits(net->graph);
  bool given = net->options.output_count > 0;
  net->output_count = given ? net->options.output_count : 1;
  net->outputs = bl_arena_alloc(net->arena, net->output_count, sizeof(bl_slot *));
  if (net->outputs == NULL) return bl_net_memory(net, err);
  for (uint32_t k = 0; k < net->output_count; k++) {
    bl_slot *slot = net->slots[given ? net->options.outputs[k] : logits];
    if (slot == NULL)
      return bl_fail(err, BL_ERR_USAGE, "training: output %u is not a value of the graph's data",
                     (unsigned)k);
    BL_TRY(bl_net_plain(net, slot, &slot, err));
    BL_TRY(bl_net_slot(net, slot->value, &slot->md, slot->needs_grad, &net->outputs[k], err));
    BL_TRY(bl_net_step(net, &kernel, NULL, &slot, 1, net->outputs[k], NULL, err));
  }
  return BL_OK;
}

// Which nodes the outputs need.
static bl_status needed_nodes(bl_train_net *net, bool **needed, bl_error *err) {
  const bl_float_graph *g = net->graph;
  bool *wanted = bl_arena_alloc(net->arena, g->value_count, sizeof *wanted);
  bool *nodes = *needed = bl_arena_alloc(net->arena, g->node_count + 1u, sizeof *nodes);
  if (wanted == NULL || nodes == NULL) return bl_net_memory(net, err);
  for (uint32_t k = 0; k < net->options.output_count; k++) {
    if (net->options.outputs[k] < 0 || (uint32_t)net->options.outputs[k] >= g->value_count)
      return bl_fail(err, BL_ERR_USAGE, "training: output %u is no value of the graph",
                     (unsigned)k);
    wanted[net->options.outputs[k]] = true;
  }
  if (net->options.output_count == 0) wanted[bl_train_logits(g)] = true;
  for (uint32_t n = g->node_count; n-- > 0;) {
    const bl_node *node = &g->nodes[n];
    for (uint32_t k = 0; k < node->output_count; k++)
      nodes[n] = nodes[n] || (node->outputs[k] >= 0 && wanted[node->outputs[k]]);
    for (uint32_t k = 0; nodes[n] && k < node->input_count; k++)
      if (node->inputs[k] >= 0) wanted[node->inputs[k]] = true;
  }
  return BL_OK;
}

static bl_status plan_nodes(bl_train_net *net, bl_error *err) {
  const bl_float_graph *g = net->graph;
  bool *needed;
  BL_TRY(needed_nodes(net, &needed, err));
  for (uint32_t n = 0; n < g->node_count && !net->options.frozen; n++)
    if (needed[n]) mark_node(net, &g->nodes[n]);
  for (uint32_t n = 0; n < g->node_count; n++) {
    const bl_node *node = &g->nodes[n];
    if (!needed[n] || (node->output_count > 0 && net->slots[node->outputs[0]] != NULL)) continue;
    if (planners[node->op] == NULL)
      return bl_net_node_fail(node, BL_ERR_UNSUPPORTED, "has no backward; it cannot be trained",
                              err);
    BL_TRY(planners[node->op](net, node, err));
  }
  return BL_OK;
}

static bl_status check_transforms(const bl_train_net *net, bl_error *err) {
  for (uint32_t t = 0; t < net->options.transform_count; t++)
    if (!net->transformed[t])
      return bl_fail(err, BL_ERR_USAGE, "training: transform %s stands behind nothing that is read",
                     net->options.transforms[t].name);
  return BL_OK;
}

static bl_status plan(bl_train_net *net, bl_error *err) {
  uint32_t count = net->graph->value_count;
  net->arena = bl_arena_new(NET_CAP);
  if (net->arena == NULL) return bl_net_memory(net, err);
  net->slots = bl_arena_alloc(net->arena, count, sizeof(bl_slot *));
  net->kinds = bl_arena_alloc(net->arena, count, sizeof *net->kinds);
  net->learns = bl_arena_alloc(net->arena, count, sizeof *net->learns);
  net->transformed =
      bl_arena_alloc(net->arena, net->options.transform_count, sizeof *net->transformed);
  if (net->slots == NULL || net->kinds == NULL || net->learns == NULL || net->transformed == NULL)
    return bl_net_memory(net, err);
  if (dnnl_engine_create(&net->engine, dnnl_cpu, 0) != dnnl_success ||
      dnnl_stream_create(&net->stream, net->engine, dnnl_stream_default_flags) != dnnl_success)
    return bl_fail(err, BL_ERR_UNSUPPORTED, "training: oneDNN cannot be started");
  BL_TRY(plan_inputs(net, err));
  BL_TRY(plan_nodes(net, err));
  BL_TRY(check_transforms(net, err));
  BL_TRY(plan_outputs(net, err));
  return bl_net_place(net, err);
}

bl_status bl_train_open(const bl_float_graph *graph, const bl_train_options *options,
                        bl_train_net **net, bl_error *err) {
  bl_train_net *n = *net = calloc(1, sizeof *n);
  if (n == NULL) return bl_fail(err, BL_ERR_MEMORY, "training: no memory");
  n->graph = graph;
  if (options != NULL) n->options = *options;
  n->options.bf16 = n->options.bf16 && bl_train_has_bf16();
  bl_status status = plan(n, err);
  if (status != BL_OK) {
    bl_train_close(n);
    *net = NULL;
  }
  return status;
}

void bl_train_close(bl_train_net *net) {
  if (net == NULL) return;
  for (size_t k = 0; k < net->primitives.count; k++)
    (void)dnnl_primitive_destroy(net->primitives.items[k]);
  for (size_t k = 0; k < net->memories.count; k++)
    (void)dnnl_memory_destroy(net->memories.items[k]);
  if (net->stream != NULL) (void)dnnl_stream_destroy(net->stream);
  if (net->engine != NULL) (void)dnnl_engine_destroy(net->engine);
  free(net->primitives.items);
  free(net->memories.items);
  for (int k = 0; k < BL_SCRATCH_KINDS; k++)
    free(net->scratch[k].memories.items);
  bl_arena_free(net->arena);
  free(net);
}

// ---- Running

bl_status bl_train_forward(bl_train_net *net, bool training, uint64_t step, bl_error *err) {
  net->training = training;
  net->step = step;
  for (uint32_t n = 0; n < net->step_count; n++)
    BL_TRY(net->steps[n]->kernel->forward(net, net->steps[n], err));
  return BL_OK;
}

bl_status bl_train_backward(bl_train_net *net, bl_error *err) {
  for (uint32_t n = net->step_count; n-- > 0;) {
    bl_step *step = net->steps[n];
    if (!step->output->needs_grad) continue;
    BL_TRY(step->kernel->backward(net, step, err));
    for (uint32_t k = 0; k < step->input_count; k++)
      if (step->edges[k].add)
        bl_array_add(step->inputs[k]->grad, step->edges[k].data,
                     dnnl_memory_desc_get_size(&step->inputs[k]->md) / sizeof(float));
  }
  return BL_OK;
}

const bl_float_graph *bl_train_graph(const bl_train_net *net) {
  return net->graph;
}

bool bl_train_bf16(const bl_train_net *net) {
  return net->options.bf16;
}

void bl_train_fix_statistics(bl_train_net *net, bool fixed) {
  net->options.fixed_statistics = fixed;
}

size_t bl_train_batch_size(const bl_train_net *net) {
  const bl_value *in = net->inputs[0]->value;
  return in->rank > 0 ? (size_t)in->dims[0] : 1;
}

float *bl_train_input(bl_train_net *net, uint32_t k) {
  return net->inputs[k]->data;
}

const float *bl_train_input_gradient(const bl_train_net *net, uint32_t k) {
  return net->inputs[k]->grad;
}

const float *bl_train_output(const bl_train_net *net, uint32_t k) {
  return net->outputs[k]->data;
}

float *bl_train_output_gradient(bl_train_net *net, uint32_t k) {
  return net->outputs[k]->grad;
}

size_t bl_train_output_count(const bl_train_net *net, uint32_t k) {
  return net->outputs[k]->value->count;
}

bl_train_parameter *bl_train_parameters(bl_train_net *net, uint32_t *count) {
  *count = net->parameter_count;
  return net->parameters;
}

// The constant of that name and size: at the same place, where the graph is the same import.
static float *constant_named(bl_float_graph *graph, const bl_train_parameter *p) {
  for (uint32_t k = 0; k < graph->value_count; k++) {
    bl_value *v = &graph->values[((uint32_t)p->value + k) % graph->value_count];
    if (v->f != NULL && v->count == p->count && strcmp(v->name, p->name) == 0) return v->f;
  }
  return NULL;
}

bl_status bl_train_store(const bl_train_net *net, bl_float_graph *graph, bl_error *err) {
  for (uint32_t k = 0; k < net->parameter_count; k++) {
    const bl_train_parameter *p = &net->parameters[k];
    float *to = p->value >= 0 ? constant_named(graph, p) : NULL;
    if (to == NULL && p->value >= 0)
      return bl_fail(err, BL_ERR_MISMATCH, "training: %s: no constant %s of %zu numbers",
                     graph->name, p->name, p->count);
    if (to != NULL) memcpy(to, p->data, p->count * sizeof *to);
  }
  return BL_OK;
}

static bool all_finite(const float *data, size_t count) {
  for (size_t k = 0; k < count; k++)
    if (!isfinite(data[k])) return false;
  return true;
}

const char *bl_train_not_finite(const bl_train_net *net) {
  for (uint32_t n = 0; n < net->step_count; n++) {
    const bl_step *step = net->steps[n];
    if (!all_finite(step->output->data,
                    dnnl_memory_desc_get_size(&step->output->md) / sizeof(float)))
      return step->node != NULL ? step->node->name : step->output->value->name;
  }
  return NULL;
}

size_t bl_train_bytes(const bl_train_net *net) {
  return bl_arena_used(net->arena);
}
