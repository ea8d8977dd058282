// SPDX-License-Identifier: Apache-2.0
// Functions of one number. Before the walk the graph is searched for values that are made of one
// other value, their base, element by element: what lies between becomes the table of the layer
// that makes the base, whatever operators a function is written in. Straight lines and clamps are
// none: they go into the requantisation.
#include <math.h>

#include "host/quant/lower_internal.h"

typedef struct {
  bl_lowering *l;
  bool *depends; // [value_count]: on the network's input
} search;

static bool is_number(const search *f, int32_t value) {
  const bl_value *v = bl_float_session_value(f->l->session, value);
  return !f->depends[value] && v->count == 1 && v->f != NULL;
}

// A row of numbers in which a Gather looks up what depends on the input.
static bool is_look_up(const search *f, const bl_node *node) {
  if (node->op != BL_FLOAT_GATHER || node->input_count != 2) return false;
  const bl_value *table = bl_float_session_value(f->l->session, node->inputs[0]);
  return !f->depends[node->inputs[0]] && f->depends[node->inputs[1]] && table->rank == 1 &&
         table->f != NULL && table->count > 0;
}

// A Cast to whole numbers that are only looked up in tables.
static bool is_index(const search *f, const bl_node *node) {
  const bl_float_graph *g = f->l->graph;
  uint32_t readers = 0;
  if (node->op != BL_FLOAT_CAST || g->values[node->outputs[0]].type != BL_TYPE_INT ||
      g->values[node->inputs[0]].type != BL_TYPE_FLOAT)
    return false;
  for (uint32_t n = 0; n < g->node_count; n++)
    for (uint32_t k = 0; k < g->nodes[n].input_count; k++) {
      if (g->nodes[n].inputs[k] != node->outputs[0]) continue;
      const bl_value *table = bl_node_input(g, &g->nodes[n], 0);
      if (g->nodes[n].op != BL_FLOAT_GATHER || k != 1 || !bl_value_constant(table)) return false;
      readers++;
    }
  return readers > 0;
}

// The only value with data that a node reads, or the base that all of them share; -1: none.
static int32_t base_of(const search *f, const bl_node *node, uint32_t *operands) {
  int32_t base = -1;
  *operands = 0;
  for (uint32_t k = 0; k < node->input_count; k++) {
    int32_t in = node->inputs[k];
    if (in < 0 || is_number(f, in) || (k == 0 && is_look_up(f, node))) continue;
    if (!f->depends[in]) return -1;
    ++*operands;
    if (base >= 0 && f->l->functions[in].base != base) return -1;
    base = f->l->functions[in].base;
  }
  return base;
}

static bool is_line(const bl_node *node, uint32_t operands, bool swapped) {
  switch (node->op) {
  case BL_FLOAT_ADD:
  case BL_FLOAT_SUB:
  case BL_FLOAT_MUL:
    return operands == 1;
  case BL_FLOAT_DIV:
    return operands == 1 && !swapped;
  default:
    return node->op == BL_FLOAT_RELU || node->op == BL_FLOAT_CLIP || node->op == BL_FLOAT_IDENTITY;
  }
}

static bool same_shape(const search *f, int32_t a, int32_t b) {
  const bl_value *x = bl_float_session_value(f->l->session, a);
  const bl_value *y = bl_float_session_value(f->l->session, b);
  if (x->rank != y->rank || x->type != BL_TYPE_FLOAT) return false;
  for (uint32_t k = 0; k < x->rank; k++)
    if (x->dims[k] != y->dims[k]) return false;
  return true;
}

static void classify(const search *f, const bl_node *node) {
  const bl_lowering *l = f->l;
  int32_t out = node->outputs[0];
  for (uint32_t k = 0; k < node->output_count; k++)
    if (node->outputs[k] >= 0) l->functions[node->outputs[k]].base = node->outputs[k];
  if (!bl_function_takes(node->op) || !f->depends[out]) return;
  // the last one is the host's
  if (node->op == BL_FLOAT_SIGMOID && out == l->graph->outputs[0]) return;
  uint32_t operands;
  int32_t base = base_of(f, node, &operands);
  if (base < 0 || !same_shape(f, base, out)) return;
  if (node->op == BL_FLOAT_GATHER ? !is_look_up(f, node)
      : node->op == BL_FLOAT_CAST ? !is_index(f, node)
                                  : l->graph->values[out].type != BL_TYPE_FLOAT)
    return;
  bool curved = false;
  for (uint32_t k = 0; k < node->input_count; k++)
    curved = curved || (node->inputs[k] >= 0 && l->functions[node->inputs[k]].curved);
  l->functions[out].base = base;
  l->functions[out].curved =
      curved || !is_line(node, operands, node->inputs[0] < 0 || !f->depends[node->inputs[0]]);
}

// A value is absorbed where all that reads it is part of functions of the same base.
static void absorb(const search *f) {
  const bl_lowering *l = f->l;
  for (uint32_t v = 0; v < l->graph->value_count; v++)
    l->functions[v].absorbed =
        l->functions[v].base >= 0 && l->functions[v].base != (int32_t)v && l->functions[v].read;
  for (uint32_t k = 0; k < l->graph->output_count; k++)
    l->functions[l->graph->outputs[k]].absorbed = false;
  for (uint32_t n = l->graph->node_count; n-- > 0;) {
    const bl_node *node = &l->graph->nodes[n];
    const bl_lower_function_state *to = &l->functions[node->outputs[0]];
    for (uint32_t k = 0; k < node->input_count; k++) {
      if (node->inputs[k] < 0) continue;
      bl_lower_function_state *from = &l->functions[node->inputs[k]];
      from->absorbed = from->absorbed && to->base == from->base && (to->curved || to->absorbed);
    }
  }
}

static void count_consumers(const bl_lowering *l) {
  for (uint32_t n = 0; n < l->graph->node_count; n++) {
    const bl_node *node = &l->graph->nodes[n];
    const bl_lower_function_state *out = &l->functions[node->outputs[0]];
    if (out->absorbed) continue;
    if (out->curved) {
      l->consumers[out->base]++;
      continue;
    }
    for (uint32_t k = 0; k < node->input_count; k++)
      if (node->inputs[k] >= 0) l->consumers[node->inputs[k]]++;
  }
}

bl_status bl_lower_find_functions(bl_lowering *l) {
  const bl_float_graph *g = l->graph;
  l->functions = bl_arena_alloc(l->out->arena, g->value_count, sizeof *l->functions);
  search f = {l, bl_arena_alloc(l->out->arena, g->value_count, sizeof *f.depends)};
  if (l->functions == NULL || f.depends == NULL)
    return bl_fail(l->err, BL_ERR_MEMORY, "%s: no memory", g->name);
  for (uint32_t v = 0; v < g->value_count; v++)
    l->functions[v].base = -1;
  for (uint32_t k = 0; k < g->input_count; k++) {
    f.depends[g->inputs[k]] = true;
    l->functions[g->inputs[k]].base = g->inputs[k];
  }
  for (uint32_t n = 0; n < g->node_count; n++) {
    const bl_node *node = &g->nodes[n];
    bool depends = false;
    for (uint32_t k = 0; k < node->input_count; k++) {
      if (node->inputs[k] < 0) continue;
      depends = depends || f.depends[node->inputs[k]];
      l->functions[node->inputs[k]].read = true;
    }
    for (uint32_t k = 0; k < node->output_count; k++)
      if (node->outputs[k] >= 0) f.depends[node->outputs[k]] = depends;
    classify(&f, node);
  }
  absorb(&f);
  count_consumers(l);
  return BL_OK;
}

// ---- The rule

// Which values the function that ends in `value` is made of, from the end: marked in `wanted`.
static void mark(const bl_lowering *l, int32_t value, bool *wanted) {
  int32_t base = l->functions[value].base;
  wanted[value] = true;
  for (uint32_t n = l->graph->node_count; n-- > 0;) {
    const bl_node *node = &l->graph->nodes[n];
    if (!wanted[node->outputs[0]] || node->outputs[0] == base) continue;
    for (uint32_t k = 0; k < node->input_count; k++)
      if (node->inputs[k] >= 0 && l->functions[node->inputs[k]].base == base)
        wanted[node->inputs[k]] = true;
  }
}

// What an operand that is not there stands for.
static double absent(const bl_node *node, uint32_t k) {
  if (node->op != BL_FLOAT_CLIP || k == 0) return 0;
  return k == 1 ? -(double)INFINITY : (double)INFINITY;
}

static void add_step(const bl_lowering *l, const bl_node *node, const int *result, bl_function *f) {
  bl_function_step *step = &f->steps[f->count++];
  step->node = node;
  if (node->op == BL_FLOAT_GATHER)
    step->table = bl_float_session_value(l->session, node->inputs[0]);
  for (uint32_t k = 0; k < 3; k++) {
    int32_t in = k < node->input_count ? node->inputs[k] : -1;
    step->at[k] = in < 0 ? -1 : result[in] - 1;
    step->constant[k] = in < 0 || step->table != NULL ? absent(node, k)
                        : step->at[k] < 0 ? (double)bl_float_session_value(l->session, in)->f[0]
                                          : 0;
  }
}

static bl_status make_function(bl_lowering *l, int32_t value, bl_function **function) {
  const bl_float_graph *g = l->graph;
  bl_function *f = *function = bl_arena_alloc(l->out->arena, 1, sizeof *f);
  bool *wanted = bl_arena_alloc(l->out->arena, g->value_count, sizeof *wanted);
  int *result = bl_arena_alloc(l->out->arena, g->value_count, sizeof *result); // 0: none
  if (f == NULL || wanted == NULL || result == NULL) return bl_lower_no_memory(l);
  mark(l, value, wanted);
  result[l->functions[value].base] = 1;
  for (uint32_t n = 0; n < g->node_count && result[value] == 0; n++) {
    int32_t out = g->nodes[n].outputs[0];
    if (!wanted[out] || out == l->functions[value].base) continue;
    if (f->count == BL_FUNCTION_MAX_STEPS)
      return bl_lower_refuse(l, "a function of more than 32 operators");
    add_step(l, &g->nodes[n], result, f);
    result[out] = (int)f->count + 1;
  }
  return BL_OK;
}

static bool may_have_table(const bl_lowering *l, const bl_view *in, int32_t base) {
  const bl_stage *s = bl_lower_stage(l, in);
  return s != NULL && l->consumers[base] == 1 && !in->shared && !s->pooled && s->function == NULL &&
         s->part_count == 0 && !s->closes_up && !in->up && !s->dynamic &&
         !(s->quantised && s->quantiser.format.kind == BL_FORMAT_B);
}

bl_status bl_lower_table(bl_lowering *l) {
  int32_t out = l->node->outputs[0], base = l->functions[out].base;
  const bl_view in = l->views[base];
  bl_function *function;
  BL_TRY(make_function(l, out, &function));
  if (in.integers != NULL || in.lacks != NULL || in.scale_of != NULL)
    return bl_lower_refuse(l, "a function of integers, or of a sum without its scale");
  bl_stage *s = bl_lower_stage(l, &in);
  if (!may_have_table(l, &in, base)) {
    const bl_stage *from = s;
    BL_TRY(bl_lower_copy(l, &in, &s));
    if (from != NULL && from->quantised && from->quantiser.format.kind != BL_FORMAT_B)
      bl_lower_quantise_as(s, from);
    bl_lower_show(l, s, in.order);
  } else {
    *bl_lower_view_out(l) = in;
  }
  s->function = function;
  s->index_value = base;
  s->index_quantised = s->quantised;
  s->index_quantiser = s->quantiser;
  s->index_lo = s->q_lo;
  s->index_hi = s->q_hi;
  s->index_node = s->quant_node;
  s->quantised = false;
  s->clamped = true;
  s->value = out;
  return BL_OK;
}

bool bl_lower_open_table(bl_lowering *l, const bl_quantiser *q) {
  const bl_view *in = bl_lower_view(l, 0);
  bl_stage *s = bl_lower_stage(l, in);
  if (s == NULL || s->function == NULL || s->quantised || in->up || q->format.kind == BL_FORMAT_B ||
      bl_lower_shared(l, 0))
    return false;
  *bl_lower_view_out(l) = *in;
  s->value = l->node->outputs[0];
  return true;
}
