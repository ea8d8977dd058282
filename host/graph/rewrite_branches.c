// SPDX-License-Identifier: Apache-2.0
// Parallel branches, summed, as one convolution.
#include <math.h>
#include <string.h>

#include "host/graph/float_edit.h"
#include "host/graph/rewrite.h"

enum { MOST_BRANCHES = 16 };

// One operand of a sum: [norm of] [a convolution of] the common tensor.
typedef struct {
  const bl_node *conv, *norm; // NULL: none
  int32_t source;
  bl_window window; // of the convolution
  const bl_value *weights, *bias;
} branch;

typedef struct {
  bl_float_graph *graph;
  const bl_float_uses *uses;
  branch branches[MOST_BRANCHES];
  uint32_t count, largest; // largest: the index of the branch with the largest kernel
  bool fits;               // false: more operands than there is room for
} sum;

static bool is_constant(const bl_value *v) {
  return v == NULL || v->f != NULL;
}

static bool constant_norm(const bl_float_graph *g, const bl_node *node) {
  for (uint32_t k = 1; k < 5; k++) {
    const bl_value *v = bl_node_input(g, node, k);
    if (v == NULL || v->f == NULL) return false;
  }
  return true;
}

// The node that gives a value that nobody else reads; NULL: none.
static const bl_node *own_source(const sum *s, int32_t value) {
  const int32_t n = s->uses->producer[value];
  return n >= 0 && s->uses->readers[value] == 1 ? &s->graph->nodes[n] : NULL;
}

static bool foldable_conv(const bl_float_graph *g, const bl_node *node, branch *b) {
  bl_error ignored = {0};
  if (node->op != BL_FLOAT_CONV) return false;
  b->weights = bl_node_weights(g, node);
  b->bias = bl_node_input(g, node, 2);
  return b->weights != NULL && b->weights->f != NULL && b->weights->rank == 4 &&
         is_constant(b->bias) && bl_node_window(g, node, &b->window, &ignored) == BL_OK;
}

// Where a value comes from, as a branch; at worst it is the common tensor itself.
static branch trace(const sum *s, int32_t value) {
  branch b = {.source = value};
  const bl_node *node = own_source(s, value);
  if (node != NULL && node->op == BL_FLOAT_BATCH_NORM && constant_norm(s->graph, node)) {
    b.norm = node;
    b.source = node->inputs[0];
    node = own_source(s, b.source);
  }
  if (node != NULL && foldable_conv(s->graph, node, &b)) {
    b.conv = node;
    b.source = node->inputs[0];
  }
  return b;
}

// The operands of a tree of additions that nobody else reads.
static void collect(sum *s, int32_t value, const bl_node *node, uint32_t depth) {
  const bl_value *v = &s->graph->values[value];
  if (depth > MOST_BRANCHES) s->fits = false;
  if (node != NULL && node->op == BL_FLOAT_ADD) {
    for (uint32_t k = 0; k < 2; k++) {
      const bl_value *operand = bl_node_input(s->graph, node, k);
      if (operand->rank != v->rank || operand->count != v->count) s->fits = false;
    }
    for (uint32_t k = 0; s->fits && k < 2; k++) {
      const bl_node *below = own_source(s, node->inputs[k]);
      collect(s, node->inputs[k], below != NULL && below->op == BL_FLOAT_ADD ? below : NULL,
              depth + 1);
    }
    return;
  }
  if (s->count == MOST_BRANCHES) s->fits = false;
  if (s->fits) s->branches[s->count++] = trace(s, value);
}

// ---- Do the branches fit?

static int64_t taps_of(const branch *b) {
  return b->conv != NULL ? b->window.kernel[0] * b->window.kernel[1] : 1;
}

// A branch's kernel, or the one tap of the tensor itself, lies inside the largest at an offset.
static bool offset_in(const sum *s, const branch *b, int64_t offset[2]) {
  const branch *big = &s->branches[s->largest];
  for (int k = 0; k < 2; k++) {
    const int64_t stride = b->conv != NULL ? b->window.stride[k] : 1;
    const int64_t kernel = b->conv != NULL ? b->window.kernel[k] : 1;
    const int64_t pad = b->conv != NULL ? b->window.pad_begin[k] : 0;
    const int64_t dilation = big->window.dilation[k], shift = big->window.pad_begin[k] - pad;
    if (stride != big->window.stride[k] || shift < 0 || shift % dilation != 0 ||
        (kernel > 1 && b->window.dilation[k] != dilation))
      return false;
    offset[k] = shift / dilation;
    if (offset[k] + kernel > big->window.kernel[k]) return false;
  }
  return true;
}

static bool branches_fit(sum *s) {
  uint32_t convs = 0;
  s->largest = MOST_BRANCHES;
  for (uint32_t k = 0; k < s->count; k++) {
    const branch *b = &s->branches[k];
    if (b->conv == NULL) continue;
    convs++;
    if (s->largest == MOST_BRANCHES || taps_of(b) > taps_of(&s->branches[s->largest]))
      s->largest = k;
  }
  if (convs == 0 || s->count < 2) return false;
  const branch *big = &s->branches[s->largest];
  const bl_value *x = &s->graph->values[big->source];
  for (uint32_t k = 0; k < s->count; k++) {
    const branch *b = &s->branches[k];
    int64_t offset[2];
    if (b->source != big->source || !offset_in(s, b, offset)) return false;
    if (b->conv == NULL ? x->dims[1] != big->weights->dims[0]
                        : bl_node_int(b->conv, "group", 1) != bl_node_int(big->conv, "group", 1))
      return false;
  }
  return true;
}

// ---- The one convolution

static void norm_of(const bl_float_graph *g, const branch *b, size_t n, double *factor,
                    double *offset) {
  *factor = 1;
  *offset = 0;
  if (b->norm == NULL) return;
  const double variance = (double)bl_node_input(g, b->norm, 4)->f[n];
  *factor = (double)bl_node_input(g, b->norm, 1)->f[n] /
            sqrt(variance + (double)bl_node_float(b->norm, "epsilon", 1e-5F));
  *offset = (double)bl_node_input(g, b->norm, 2)->f[n] -
            *factor * (double)bl_node_input(g, b->norm, 3)->f[n];
}

// Adds a branch to k[outputs][inputs of a group][taps] and bias[outputs].
static void add_branch(const sum *s, const branch *b, double *k, double *bias) {
  const branch *big = &s->branches[s->largest];
  const int64_t *dims = big->weights->dims;
  const size_t outputs = (size_t)dims[0], inputs = (size_t)dims[1];
  const size_t high = (size_t)dims[2], wide = (size_t)dims[3];
  const size_t kh = b->conv != NULL ? (size_t)b->window.kernel[0] : 1;
  const size_t kw = b->conv != NULL ? (size_t)b->window.kernel[1] : 1;
  int64_t offset[2] = {0};
  (void)offset_in(s, b, offset);
  for (size_t n = 0; n < outputs; n++) {
    double factor, shift;
    norm_of(s->graph, b, n, &factor, &shift);
    if (b->bias != NULL && b->conv != NULL) shift += factor * (double)b->bias->f[n];
    bias[n] += shift;
    for (size_t c = 0; c < inputs; c++)
      for (size_t t = 0; t < kh * kw; t++) {
        // the tensor itself: channel n of it, by its place in its group
        const double w = b->conv != NULL   ? (double)b->weights->f[(n * inputs + c) * kh * kw + t]
                         : n % inputs == c ? 1
                                           : 0;
        const size_t y = t / kw + (size_t)offset[0], x = t % kw + (size_t)offset[1];
        k[((n * inputs + c) * high + y) * wide + x] += factor * w;
      }
  }
}

static bl_status merge(sum *s, uint32_t at, bl_error *err) {
  bl_float_graph *g = s->graph;
  const branch *big = &s->branches[s->largest];
  const bl_node conv = *big->conv;
  const size_t count = big->weights->count, outputs = (size_t)big->weights->dims[0];
  const int64_t sizes[1] = {big->weights->dims[0]};
  int64_t dims[4];
  memcpy(dims, big->weights->dims, sizeof dims);
  double *k = bl_arena_alloc(g->arena, count, sizeof *k);
  double *bias = bl_arena_alloc(g->arena, outputs, sizeof *bias);
  if (k == NULL || bias == NULL)
    return bl_fail(err, BL_ERR_MEMORY, "node %s: no memory to merge its branches", conv.name);
  for (uint32_t b = 0; b < s->count; b++)
    add_branch(s, &s->branches[b], k, bias);
  int32_t inputs[3] = {conv.inputs[0], -1, -1};
  BL_TRY(bl_float_add_constant(g, conv.name, "_merged", 4, dims, NULL, &inputs[1], err));
  BL_TRY(bl_float_add_constant(g, conv.name, "_merged_bias", 1, sizes, NULL, &inputs[2], err));
  for (size_t j = 0; j < count; j++)
    g->values[inputs[1]].f[j] = (float)k[j];
  for (size_t j = 0; j < outputs; j++)
    g->values[inputs[2]].f[j] = (float)bias[j];
  bl_node node;
  BL_TRY(bl_float_make_node(g, BL_FLOAT_CONV, conv.name, "", inputs, 3, g->nodes[at].outputs[0],
                            &node, err));
  node.name = conv.name; // it goes away
  node.attributes = conv.attributes;
  node.attribute_count = conv.attribute_count;
  g->nodes[at] = node;
  return bl_float_infer(g, &node, err);
}

bl_status bl_rewrite_branches(bl_float_graph *graph, uint32_t *count, bl_error *err) {
  bl_float_uses uses;
  *count = 0;
  BL_TRY(bl_float_find_uses(graph, &uses, err));
  // from the end on, so that a tree of additions is met at its root
  for (uint32_t n = graph->node_count; n-- > 0 && *count < BL_REWRITE_MOST;) {
    if (graph->nodes[n].op != BL_FLOAT_ADD) continue;
    sum s = {.graph = graph, .uses = &uses, .fits = true};
    collect(&s, graph->nodes[n].outputs[0], &graph->nodes[n], 0);
    if (!s.fits || !branches_fit(&s)) continue;
    BL_TRY(merge(&s, n, err));
    ++*count;
  }
  return *count > 0 ? bl_float_sweep(graph, err) : BL_OK;
}
