// SPDX-License-Identifier: Apache-2.0
// What each operator does to channels. An operator that is not known here keeps the channels of all
// its inputs as they are.
#include <string.h>

#include "host/prune/couple_internal.h"

static const bl_labels *labels_of(const bl_coupler *c, const bl_node *node, uint32_t k) {
  static const bl_labels none = {0};
  return k < node->input_count && node->inputs[k] >= 0 ? &c->labels[node->inputs[k]] : &none;
}

static void give(bl_coupler *c, const bl_node *node, uint32_t axis, int32_t *ids, size_t count) {
  if (ids == NULL || node->outputs[0] < 0) return;
  c->labels[node->outputs[0]] = (bl_labels){axis, count, ids};
}

static void freeze_inputs(bl_coupler *c, const bl_node *node) {
  for (uint32_t k = 0; k < node->input_count; k++)
    bl_couple_freeze(c, node->inputs[k]);
}

static void pass(bl_coupler *c, const bl_node *node) {
  const bl_labels *in = labels_of(c, node, 0);
  give(c, node, in->axis, in->ids, in->count);
}

static bool constant(const bl_coupler *c, const bl_node *node, uint32_t k) {
  const bl_value *v = bl_node_input(c->graph, node, k);
  return v != NULL && bl_value_constant(v);
}

static bool has_input(const bl_node *node, uint32_t k) {
  return k < node->input_count && node->inputs[k] >= 0;
}

// A constant vector (of any rank) whose last axis has the channels.
static void use_vector(bl_coupler *c, bl_channel_use_kind kind, const bl_node *node, uint32_t k,
                       int32_t *ids, size_t count) {
  const bl_value *v = bl_node_input(c->graph, node, k);
  if (v == NULL || v->rank == 0 || (size_t)v->dims[v->rank - 1] != count) return;
  bl_couple_use(c, kind, node, node->inputs[k], v->rank - 1, ids, count);
}

// ---- Layers

static void couple_depthwise(bl_coupler *c, const bl_node *node, const bl_value *w,
                             const bl_labels *in) {
  const size_t count = (size_t)w->dims[0], fan = count / in->count;
  int32_t *ids = bl_arena_alloc(c->channels->arena, count, sizeof *ids);
  if (ids == NULL) {
    c->failed = true;
    return;
  }
  for (size_t n = 0; n < count; n++)
    ids[n] = in->ids[n / fan];
  bl_couple_use(c, BL_CHANNEL_FILTER, node, node->inputs[1], 0, ids, count);
  if (has_input(node, 2)) use_vector(c, BL_CHANNEL_OFFSET, node, 2, ids, count);
  bl_couple_size(c, node, -1, "group", 0, in->ids, in->count);
  give(c, node, 1, ids, count);
}

static void couple_conv(bl_coupler *c, const bl_node *node) {
  const bl_labels *in = labels_of(c, node, 0);
  const bl_value *w = bl_node_input(c->graph, node, 1);
  const int64_t groups = bl_node_int(node, "group", 1);
  const bool known = in->ids != NULL && in->axis == 1;
  if (!constant(c, node, 1) || (has_input(node, 2) && !constant(c, node, 2))) {
    freeze_inputs(c, node);
    return;
  }
  if (known && groups > 1 && w->dims[1] == 1 && (size_t)groups == in->count) {
    couple_depthwise(c, node, w, in);
    return;
  }
  if (!known || groups > 1) freeze_inputs(c, node);
  if (groups > 1) return;
  if (known) bl_couple_use(c, BL_CHANNEL_READER, node, node->inputs[1], 1, in->ids, in->count);
  int32_t *ids = bl_couple_fresh(c, (size_t)w->dims[0], false);
  if (ids == NULL) return;
  bl_couple_use(c, BL_CHANNEL_FILTER, node, node->inputs[1], 0, ids, (size_t)w->dims[0]);
  if (has_input(node, 2)) use_vector(c, BL_CHANNEL_OFFSET, node, 2, ids, (size_t)w->dims[0]);
  give(c, node, 1, ids, (size_t)w->dims[0]);
}

static void couple_product(bl_coupler *c, const bl_node *node) {
  const bl_labels *in = labels_of(c, node, 0);
  const bl_value *x = bl_node_input(c->graph, node, 0), *w = bl_node_input(c->graph, node, 1);
  const bl_value *out = bl_node_output(c->graph, node, 0);
  const bool gemm = node->op == BL_FLOAT_GEMM;
  const uint32_t outputs = gemm && bl_node_int(node, "transB", 0) != 0 ? 0 : 1;
  if (constant(c, node, 0) || !constant(c, node, 1) || w->rank != 2 || x->rank < 2 ||
      (gemm && bl_node_int(node, "transA", 0) != 0) ||
      (has_input(node, 2) && !constant(c, node, 2))) {
    freeze_inputs(c, node);
    return;
  }
  if (in->ids != NULL && in->axis == x->rank - 1)
    bl_couple_use(c, BL_CHANNEL_READER, node, node->inputs[1], 1 - outputs, in->ids, in->count);
  else
    freeze_inputs(c, node);
  int32_t *ids = bl_couple_fresh(c, (size_t)w->dims[outputs], false);
  if (ids == NULL) return;
  bl_couple_use(c, BL_CHANNEL_FILTER, node, node->inputs[1], outputs, ids,
                (size_t)w->dims[outputs]);
  if (has_input(node, 2)) use_vector(c, BL_CHANNEL_OFFSET, node, 2, ids, (size_t)w->dims[outputs]);
  give(c, node, out->rank - 1, ids, (size_t)w->dims[outputs]);
}

static void couple_batch_norm(bl_coupler *c, const bl_node *node) {
  const bl_labels *in = labels_of(c, node, 0);
  bool known = in->ids != NULL && in->axis == 1;
  for (uint32_t k = 1; k < 5; k++)
    known = known && constant(c, node, k);
  if (!known) {
    freeze_inputs(c, node);
    return;
  }
  for (uint32_t k = 1; k < 5; k++)
    use_vector(c,
               k == 1   ? BL_CHANNEL_GAMMA
               : k == 2 ? BL_CHANNEL_OFFSET
                        : BL_CHANNEL_RUNNING,
               node, k, in->ids, in->count);
  pass(c, node);
}

// ---- Sums and products of values

// A constant operand may have an entry for each channel.
static void couple_constant(bl_coupler *c, const bl_node *node, uint32_t data, uint32_t other) {
  const bl_labels *in = labels_of(c, node, data);
  const bl_value *x = bl_node_input(c->graph, node, data);
  const bl_value *v = bl_node_input(c->graph, node, other);
  if (in->ids == NULL) return;
  if (v->rank > x->rank) {
    bl_couple_freeze(c, node->inputs[data]);
    return;
  }
  const uint32_t lead = x->rank - v->rank;
  if (in->axis >= lead && v->dims[in->axis - lead] != 1)
    bl_couple_use(c, BL_CHANNEL_OFFSET, node, node->inputs[other], in->axis - lead, in->ids,
                  in->count);
  give(c, node, in->axis, in->ids, in->count);
}

static void couple_binary(bl_coupler *c, const bl_node *node) {
  for (uint32_t k = 0; k < 2; k++)
    if (constant(c, node, k)) {
      couple_constant(c, node, 1 - k, k);
      return;
    }
  const bl_value *x = bl_node_input(c->graph, node, 0), *y = bl_node_input(c->graph, node, 1);
  bl_labels a = *labels_of(c, node, 0), b = *labels_of(c, node, 1);
  const uint32_t rank = x->rank > y->rank ? x->rank : y->rank;
  a.axis += rank - x->rank;
  b.axis += rank - y->rank;
  const bool known = a.ids != NULL && b.ids != NULL && a.axis == b.axis && a.count == b.count;
  if (!known) {
    freeze_inputs(c, node);
    return;
  }
  for (size_t k = 0; k < a.count; k++)
    bl_couple_join(c, a.ids[k], b.ids[k]);
  give(c, node, a.axis, a.ids, a.count);
}

static void couple_concat(bl_coupler *c, const bl_node *node) {
  const bl_value *out = bl_node_output(c->graph, node, 0);
  int64_t axis = bl_node_int(node, "axis", 1);
  if (axis < 0) axis += out->rank;
  size_t count = 0;
  bool known = true;
  for (uint32_t k = 0; k < node->input_count; k++)
    known = known && labels_of(c, node, k)->ids != NULL && labels_of(c, node, k)->axis == axis;
  int32_t *ids = bl_arena_alloc(c->channels->arena, (size_t)out->dims[axis], sizeof *ids);
  if (!known || ids == NULL) {
    c->failed = c->failed || ids == NULL;
    freeze_inputs(c, node);
    return;
  }
  for (uint32_t k = 0; k < node->input_count; k++) {
    const bl_labels *in = labels_of(c, node, k);
    memcpy(ids + count, in->ids, in->count * sizeof *ids);
    count += in->count;
  }
  give(c, node, (uint32_t)axis, ids, count);
}

// ---- Shapes

static size_t product(const bl_value *v, uint32_t from, uint32_t to) {
  size_t all = 1;
  for (uint32_t k = from; k < to; k++)
    all *= (size_t)v->dims[k];
  return all;
}

// The axis of `out` that holds the channels of `in`, each `split` times over, or `run` of its
// entries together; -1: none.
static int find_axis(const bl_value *in, const bl_labels *l, const bl_value *out, size_t *split,
                     size_t *run) {
  const size_t before = product(in, 0, l->axis);
  for (uint32_t k = 0; k < out->rank && l->count > 1; k++) {
    const size_t size = (size_t)out->dims[k];
    if (product(out, 0, k) != before || size < 2) continue;
    *split = size / l->count;
    *run = l->count / size;
    return size % l->count == 0 || l->count % size == 0 ? (int)k : -1;
  }
  return -1;
}

// The shape operand of a Reshape says the size of the axis: it has to change.
static bool note_shape(bl_coupler *c, const bl_node *node, uint32_t in_axis, int axis,
                       const int32_t *ids, size_t count) {
  if (node->op != BL_FLOAT_RESHAPE) return true;
  const bl_value *shape = bl_node_input(c->graph, node, 1);
  if (shape == NULL || shape->i == NULL || (size_t)axis >= shape->count) return false;
  const int64_t entry = shape->i[axis];
  if (entry == 0) return in_axis == (uint32_t)axis;
  if (entry > 0) bl_couple_size(c, node, 1, NULL, (uint32_t)axis, ids, count);
  return true;
}

static void couple_reshape(bl_coupler *c, const bl_node *node) {
  const bl_labels *in = labels_of(c, node, 0);
  const bl_value *x = bl_node_input(c->graph, node, 0), *out = bl_node_output(c->graph, node, 0);
  size_t split = 0, run = 0;
  if (in->ids == NULL) return;
  const int axis = find_axis(x, in, out, &split, &run);
  const bool vague = node->op == BL_FLOAT_SQUEEZE && bl_node_attribute(node, "axes") == NULL &&
                     !has_input(node, 1);
  const size_t count = axis >= 0 ? (size_t)out->dims[axis] : 0;
  int32_t *ids = bl_arena_alloc(c->channels->arena, count, sizeof *ids);
  if (ids == NULL) c->failed = true;
  if (ids == NULL || axis < 0 || vague) {
    freeze_inputs(c, node);
    return;
  }
  for (size_t k = 0; k < count; k++)
    ids[k] = split > 0 ? in->ids[k / split] : in->ids[k * run];
  for (size_t k = 0; split == 0 && k < in->count; k++)
    bl_couple_join(c, in->ids[k], ids[k / run]);
  if (!note_shape(c, node, in->axis, axis, ids, count)) {
    freeze_inputs(c, node);
    return;
  }
  give(c, node, (uint32_t)axis, ids, count);
}

static void couple_transpose(bl_coupler *c, const bl_node *node) {
  const bl_labels *in = labels_of(c, node, 0);
  const bl_attribute *perm = bl_node_attribute(node, "perm");
  const bl_value *x = bl_node_input(c->graph, node, 0);
  if (in->ids == NULL) return;
  if (perm == NULL) give(c, node, x->rank - 1 - in->axis, in->ids, in->count);
  for (size_t k = 0; perm != NULL && k < perm->int_count; k++)
    if (perm->ints[k] == (int64_t)in->axis) give(c, node, (uint32_t)k, in->ids, in->count);
}

// Channels that padding adds are new ones, and their number is the node's.
static void couple_pad(bl_coupler *c, const bl_node *node) {
  const bl_labels *in = labels_of(c, node, 0);
  const bl_value *operand = bl_node_input(c->graph, node, 1);
  const char *name = bl_node_attribute(node, "paddings") != NULL ? "paddings" : "pads";
  const bl_attribute *attribute = bl_node_attribute(node, name);
  const int64_t *pads = operand != NULL ? operand->i : attribute != NULL ? attribute->ints : NULL;
  const bl_value *x = bl_node_input(c->graph, node, 0);
  if (in->ids == NULL) return;
  const int64_t front = pads != NULL ? pads[in->axis] : -1;
  const int64_t back = pads != NULL ? pads[x->rank + in->axis] : -1;
  if (has_input(node, 3) || front < 0 || back < 0) {
    freeze_inputs(c, node);
    return;
  }
  if (front + back == 0) {
    pass(c, node);
    return;
  }
  const size_t count = (size_t)front + in->count + (size_t)back;
  int32_t *ids = bl_couple_fresh(c, count, false);
  if (ids == NULL) return;
  for (size_t k = 0; k < in->count; k++)
    bl_couple_join(c, ids[(size_t)front + k], in->ids[k]);
  const int input = operand != NULL ? 1 : -1;
  bl_couple_size(c, node, input, name, in->axis, ids, (size_t)front);
  bl_couple_size(c, node, input, name, x->rank + in->axis, ids + front + in->count, (size_t)back);
  give(c, node, in->axis, ids, count);
}

// Steps forward, and takes all channels.
static void couple_slice(bl_coupler *c, const bl_node *node) {
  const bl_labels *in = labels_of(c, node, 0);
  const bl_value *out = bl_node_output(c->graph, node, 0),
                 *steps = bl_node_input(c->graph, node, 4);
  bool whole = in->ids != NULL && (size_t)out->dims[in->axis] == in->count;
  for (size_t k = 0; steps != NULL && k < steps->count; k++)
    whole = whole && steps->i != NULL && steps->i[k] > 0;
  if (whole)
    pass(c, node);
  else
    freeze_inputs(c, node);
}

static void couple_resize(bl_coupler *c, const bl_node *node) {
  const bl_labels *in = labels_of(c, node, 0);
  const bl_value *out = bl_node_output(c->graph, node, 0);
  if (in->ids == NULL || (size_t)out->dims[in->axis] != in->count || has_input(node, 3))
    freeze_inputs(c, node);
  else
    pass(c, node);
}

static void couple_pool(bl_coupler *c, const bl_node *node) {
  if (labels_of(c, node, 0)->axis == 1)
    pass(c, node);
  else
    freeze_inputs(c, node);
}

// ---- All operators

static bool works_by_element(bl_float_op op) {
  switch (op) {
  case BL_FLOAT_RELU:
  case BL_FLOAT_CLIP:
  case BL_FLOAT_LEAKY_RELU:
  case BL_FLOAT_SIGMOID:
  case BL_FLOAT_TANH:
  case BL_FLOAT_HARD_SIGMOID:
  case BL_FLOAT_HARD_SWISH:
  case BL_FLOAT_ELU:
  case BL_FLOAT_GELU:
  case BL_FLOAT_SOFTPLUS:
  case BL_FLOAT_ERF:
  case BL_FLOAT_SIGN:
  case BL_FLOAT_IDENTITY:
  case BL_FLOAT_DROPOUT:
    return true;
  default:
    return false;
  }
}

typedef void (*rule)(bl_coupler *c, const bl_node *node);

static rule rule_of(bl_float_op op) {
  static const rule rules[BL_FLOAT_OP_COUNT] = {
      [BL_FLOAT_CONV] = couple_conv,
      [BL_FLOAT_GEMM] = couple_product,
      [BL_FLOAT_MATMUL] = couple_product,
      [BL_FLOAT_BATCH_NORM] = couple_batch_norm,
      [BL_FLOAT_ADD] = couple_binary,
      [BL_FLOAT_SUB] = couple_binary,
      [BL_FLOAT_MUL] = couple_binary,
      [BL_FLOAT_DIV] = couple_binary,
      [BL_FLOAT_POW] = couple_binary,
      [BL_FLOAT_CONCAT] = couple_concat,
      [BL_FLOAT_RESHAPE] = couple_reshape,
      [BL_FLOAT_FLATTEN] = couple_reshape,
      [BL_FLOAT_SQUEEZE] = couple_reshape,
      [BL_FLOAT_UNSQUEEZE] = couple_reshape,
      [BL_FLOAT_TRANSPOSE] = couple_transpose,
      [BL_FLOAT_PAD] = couple_pad,
      [BL_FLOAT_SLICE] = couple_slice,
      [BL_FLOAT_RESIZE] = couple_resize,
      [BL_FLOAT_UPSAMPLE] = couple_resize,
      [BL_FLOAT_MAX_POOL] = couple_pool,
      [BL_FLOAT_AVERAGE_POOL] = couple_pool,
      [BL_FLOAT_GLOBAL_AVERAGE_POOL] = couple_pool,
      [BL_FLOAT_GLOBAL_MAX_POOL] = couple_pool,
  };
  return works_by_element(op) ? pass : rules[op] != NULL ? rules[op] : freeze_inputs;
}

void bl_couple_node(bl_coupler *c, const bl_node *node) {
  if (node->output_count == 0 || node->outputs[0] < 0)
    freeze_inputs(c, node);
  else
    rule_of(node->op)(c, node);
}
