// SPDX-License-Identifier: Apache-2.0
// What a convolution takes along, and how long values are needed then.
#include <string.h>

#include "host/float/inference_internal.h"

// The one node that reads what a node gives, NULL where there are more, or it is an output.
static const bl_node *only_reader(const bl_float_inference *f, const bl_node *node) {
  const bl_float_graph *g = f->graph;
  const bl_node *reader = NULL;
  for (uint32_t k = 0; k < g->output_count; k++)
    if (g->outputs[k] == node->outputs[0]) return NULL;
  for (uint32_t n = 0; n < g->node_count; n++)
    for (uint32_t k = 0; k < g->nodes[n].input_count; k++) {
      if (g->nodes[n].inputs[k] != node->outputs[0]) continue;
      if (reader != NULL) return NULL;
      reader = &g->nodes[n];
    }
  return reader;
}

static bool is_plain_norm(const bl_float_inference *f, const bl_node *node) {
  for (uint32_t k = 1; k < 5; k++) {
    const bl_value *v = bl_node_input(f->graph, node, k);
    if (v == NULL || v->f == NULL) return false;
  }
  return node->output_count == 1;
}

// A sum of two branches of one shape, neither a constant; the other one is *other.
static bool is_sum(const bl_float_inference *f, const bl_node *node, int32_t own, int32_t *other) {
  *other = node->inputs[node->inputs[0] == own ? 1 : 0];
  const bl_value *a = &f->graph->values[own], *b = &f->graph->values[*other];
  return *other != own && !bl_value_constant(b) && b->type == BL_TYPE_FLOAT && a->rank == b->rank &&
         memcmp(a->dims, b->dims, a->rank * sizeof *a->dims) == 0;
}

static bool is_activation(const bl_float_inference *f, const bl_node *node) {
  for (uint32_t k = 1; node->op == BL_FLOAT_CLIP && k < node->input_count; k++) {
    const bl_value *v = bl_node_input(f->graph, node, k);
    if (v != NULL && !bl_value_constant(v)) return false;
  }
  return node->op == BL_FLOAT_RELU || node->op == BL_FLOAT_CLIP;
}

static void take(bl_float_inference *f, uint32_t conv, const bl_node *node, bl_inf_chain *c) {
  c->end = (uint32_t)(node - f->graph->nodes);
  f->carried_by[c->end] = (int32_t)conv;
}

static bool find_chain(bl_float_inference *f, uint32_t conv) {
  const bl_node *node = &f->graph->nodes[conv];
  bl_inf_chain *c = f->chains[conv] = bl_arena_alloc(f->arena, 1, sizeof *c);
  if (c == NULL) return false;
  take(f, conv, node, c);
  const bl_node *next = only_reader(f, node);
  if (next != NULL && next->op == BL_FLOAT_BATCH_NORM && next->inputs[0] == node->outputs[0] &&
      is_plain_norm(f, next)) {
    c->norm = node = next;
    take(f, conv, node, c);
    next = only_reader(f, node);
  }
  if (next != NULL && next->op == BL_FLOAT_ADD && f->carried_by[next - f->graph->nodes] < 0 &&
      is_sum(f, next, node->outputs[0], &c->other)) {
    c->addition = node = next;
    take(f, conv, node, c);
    next = only_reader(f, node);
  }
  if (next != NULL && is_activation(f, next) && next->inputs[0] == node->outputs[0]) {
    c->activation = next;
    take(f, conv, next, c);
  }
  return true;
}

static bool is_convolution(const bl_float_graph *g, const bl_node *node) {
  const bl_value *in = bl_node_input(g, node, 0), *w = bl_node_input(g, node, 1);
  const bl_value *b = bl_node_input(g, node, 2);
  return node->op == BL_FLOAT_CONV && in->type == BL_TYPE_FLOAT && !bl_value_constant(in) &&
         w->f != NULL && (b == NULL || b->f != NULL);
}

bool bl_inf_find_chains(bl_float_inference *f) {
  const bl_float_graph *g = f->graph;
  for (uint32_t n = 0; n < g->node_count; n++)
    f->carried_by[n] = -1;
  for (uint32_t n = 0; n < g->node_count; n++)
    if (is_convolution(g, &g->nodes[n]) && !find_chain(f, n)) return false;
  for (uint32_t n = 0; n < g->node_count; n++) {
    const uint32_t at = f->carried_by[n] < 0 ? n : f->chains[f->carried_by[n]]->end;
    for (uint32_t k = 0; k < g->nodes[n].input_count; k++) {
      const int32_t v = g->nodes[n].inputs[k];
      if (v >= 0 && f->last_use[v] < at) f->last_use[v] = at;
    }
  }
  for (uint32_t k = 0; k < g->output_count; k++)
    f->last_use[g->outputs[k]] = UINT32_MAX;
  return true;
}
