// SPDX-License-Identifier: Apache-2.0
#include "host/quant/lower.h"

#include "host/quant/lower_internal.h"

double bl_stage_posts(const bl_stage *stage, uint32_t n, double x) {
  for (uint32_t k = 0; k < stage->post_count; k++) {
    const bl_post *p = &stage->posts[k];
    switch (p->kind) {
    case BL_POST_MUL:
      x *= p->a[n];
      break;
    case BL_POST_DIV:
      x /= p->a[n];
      break;
    case BL_POST_ADD:
      x += p->a[n];
      break;
    case BL_POST_NORM:
      x = (x - p->a[n]) / p->b[n] * p->c[n] + p->d[n];
      break;
    default:
      x = x < p->lo ? p->lo : x > p->hi ? p->hi : x;
    }
  }
  return x;
}

static bl_status lower_suffix(bl_lowering *l) {
  const bl_view *in = bl_lower_view(l, 0);
  if (l->node->outputs[0] != l->graph->outputs[0])
    return bl_lower_refuse(l, "it is only taken at the end, where the host computes it");
  l->out->suffix = l->node->op == BL_FLOAT_SOFTMAX ? BL_LOWER_SOFTMAX : BL_LOWER_SIGMOID;
  *bl_lower_view_out(l) = *in;
  return BL_OK;
}

static bl_status lower_same(bl_lowering *l) {
  *bl_lower_view_out(l) = *bl_lower_view(l, 0);
  return BL_OK;
}

// Between sums of integers and floats; the network's own numbers are never cast.
static bl_status lower_cast(bl_lowering *l) {
  const bl_value *from = bl_lower_value(l, 0);
  const bl_value *to = bl_float_session_value(l->session, l->node->outputs[0]);
  if (to->type != BL_TYPE_FLOAT || (from->type != BL_TYPE_FLOAT && bl_lower_view(l, 0)->integers))
    return bl_lower_refuse(l, "only sums of integers, and floats, are cast to float");
  return lower_same(l);
}

// ---- The walk
// ------------------------------------------------------------------------------------

typedef bl_status (*lower_rule)(bl_lowering *);

static lower_rule rule_of(bl_float_op op) {
  static const lower_rule rules[BL_FLOAT_OP_COUNT] = {
      [BL_FLOAT_CONV] = bl_lower_conv,
      [BL_FLOAT_GEMM] = bl_lower_product,
      [BL_FLOAT_MATMUL] = bl_lower_product,
      [BL_FLOAT_CONV_INTEGER] = bl_lower_conv,
      [BL_FLOAT_QLINEAR_CONV] = bl_lower_conv,
      [BL_FLOAT_MATMUL_INTEGER] = bl_lower_product,
      [BL_FLOAT_QLINEAR_MATMUL] = bl_lower_product,
      [BL_FLOAT_AVERAGE_POOL] = bl_lower_average,
      [BL_FLOAT_GLOBAL_AVERAGE_POOL] = bl_lower_average,
      [BL_FLOAT_MAX_POOL] = bl_lower_max_pool,
      [BL_FLOAT_GLOBAL_MAX_POOL] = bl_lower_max_pool,
      [BL_FLOAT_ADD] = bl_lower_binary,
      [BL_FLOAT_SUB] = bl_lower_binary,
      [BL_FLOAT_MUL] = bl_lower_binary,
      [BL_FLOAT_DIV] = bl_lower_binary,
      [BL_FLOAT_BATCH_NORM] = bl_lower_norm,
      [BL_FLOAT_RELU] = bl_lower_clamp,
      [BL_FLOAT_CLIP] = bl_lower_clamp,
      [BL_FLOAT_QUANT] = bl_lower_quantiser,
      [BL_FLOAT_BIPOLAR_QUANT] = bl_lower_quantiser,
      [BL_FLOAT_QUANTIZE] = bl_lower_linear_quantiser,
      [BL_FLOAT_DEQUANTIZE] = bl_lower_dequantiser,
      [BL_FLOAT_DYNAMIC_QUANTIZE] = bl_lower_dynamic_quantiser,
      [BL_FLOAT_TRUNC] = bl_lower_trunc,
      [BL_FLOAT_MULTI_THRESHOLD] = bl_lower_thresholds,
      [BL_FLOAT_TRANSPOSE] = bl_lower_transpose,
      [BL_FLOAT_RESHAPE] = bl_lower_reshape,
      [BL_FLOAT_FLATTEN] = bl_lower_reshape,
      [BL_FLOAT_SQUEEZE] = bl_lower_reshape,
      [BL_FLOAT_UNSQUEEZE] = bl_lower_reshape,
      [BL_FLOAT_CONCAT] = bl_lower_concat,
      [BL_FLOAT_RESIZE] = bl_lower_resize,
      [BL_FLOAT_UPSAMPLE] = bl_lower_resize,
      [BL_FLOAT_PAD] = bl_lower_pad,
      [BL_FLOAT_SLICE] = bl_lower_slice,
      [BL_FLOAT_GATHER] = bl_lower_gather,
      [BL_FLOAT_SOFTMAX] = lower_suffix,
      [BL_FLOAT_SIGMOID] = lower_suffix,
      [BL_FLOAT_IDENTITY] = lower_same,
      [BL_FLOAT_DROPOUT] = lower_same,
      [BL_FLOAT_CAST] = lower_cast,
  };
  return rules[op];
}

// A node whose operands do not depend on the network's input, e.g. quantised weights.
static bool is_fixed(const bl_lowering *l) {
  for (uint32_t k = 0; k < l->node->input_count; k++)
    if (bl_lower_view(l, k) != NULL) return false;
  return true;
}

// May this node read such a view? Scales only meet the sums that lack them; integers only go to
// what works on integers.
static bool may_read(const bl_lowering *l, const bl_view *v) {
  bl_float_op op = l->node->op;
  bool moves = op == BL_FLOAT_IDENTITY || op == BL_FLOAT_RESHAPE || op == BL_FLOAT_FLATTEN ||
               op == BL_FLOAT_SQUEEZE || op == BL_FLOAT_UNSQUEEZE;
  if (v->scale_of != NULL) return op == BL_FLOAT_MUL;
  if (v->lacks != NULL) return moves || op == BL_FLOAT_CAST || op == BL_FLOAT_MUL;
  if (v->integers == NULL) return true;
  return moves || op == BL_FLOAT_TRANSPOSE || op == BL_FLOAT_MAX_POOL || op == BL_FLOAT_CONCAT ||
         op == BL_FLOAT_RESIZE || op == BL_FLOAT_UPSAMPLE || op == BL_FLOAT_DEQUANTIZE ||
         op == BL_FLOAT_CONV_INTEGER || op == BL_FLOAT_MATMUL_INTEGER ||
         op == BL_FLOAT_QLINEAR_CONV || op == BL_FLOAT_QLINEAR_MATMUL;
}

// What a view has in common with the one it came from, where the node only moves data.
static void inherit(const bl_lowering *l, bl_view *out) {
  bool moves = bl_node_weights(l->graph, l->node) == NULL;
  for (uint32_t k = 0; k < l->node->input_count; k++) {
    const bl_view *in = bl_lower_view(l, k);
    if (in == NULL) continue;
    if (in->producer == out->producer) out->shared = out->shared || bl_lower_shared(l, k);
    if (moves && bl_lower_value(l, k)->type == BL_TYPE_INT && out->integers == NULL &&
        bl_float_session_value(l->session, l->node->outputs[0])->type == BL_TYPE_INT)
      out->integers = in->integers;
  }
}

static bl_status lower_node(bl_lowering *l) {
  const bl_lower_function_state *function = &l->functions[l->node->outputs[0]];
  if (function->absorbed) return BL_OK;
  if (function->curved) return bl_lower_table(l);
  if (is_fixed(l)) return BL_OK;
  lower_rule rule = rule_of(l->node->op);
  if (rule == NULL)
    return bl_lower_refuse(
        l, "this operator is not mapped to the accelerator; the float executor runs it");
  for (uint32_t k = 0; k < l->node->input_count; k++)
    if (bl_lower_view(l, k) != NULL && !may_read(l, bl_lower_view(l, k)))
      return bl_lower_refuse(l, "it works on integers, or on a scale, that only quantised "
                                "convolutions and products take");
  BL_TRY(rule(l));
  inherit(l, bl_lower_view_out(l));
  return BL_OK;
}

// Room for stages: a node starts one, with a copy of each operand at most; a Resize one for each
// doubling.
static size_t edges(const bl_float_graph *g) {
  size_t count = 2;
  for (uint32_t n = 0; n < g->node_count; n++)
    count += g->nodes[n].input_count + 1 + (g->nodes[n].op == BL_FLOAT_RESIZE ? 32 : 0) +
             (g->nodes[n].op == BL_FLOAT_UPSAMPLE ? 32 : 0);
  return count;
}

static bl_status start(bl_lowering *l) {
  const bl_float_graph *g = l->graph;
  if (g->input_count != 1 || g->output_count < 1)
    return bl_fail(l->err, BL_ERR_UNSUPPORTED, "%s: the graph has %u inputs; one is mapped",
                   g->name, g->input_count);
  l->views = bl_arena_alloc(l->out->arena, g->value_count, sizeof *l->views);
  l->consumers = bl_arena_alloc(l->out->arena, g->value_count, sizeof *l->consumers);
  l->out->stages = bl_arena_alloc(l->out->arena, edges(g), sizeof *l->out->stages);
  if (l->views == NULL || l->consumers == NULL || l->out->stages == NULL)
    return bl_fail(l->err, BL_ERR_MEMORY, "%s: no memory", g->name);
  BL_TRY(bl_lower_find_functions(l));
  const bl_value *in = &g->values[g->inputs[0]];
  bl_view *v = &l->views[g->inputs[0]];
  *v = (bl_view){
      .known = true, .producer = BL_STAGE_INPUT, .h = 1, .w = 1, .c = (uint32_t)in->count};
  if (in->rank == 4) {
    v->c = (uint32_t)in->dims[1];
    v->h = (uint32_t)in->dims[2];
    v->w = (uint32_t)in->dims[3];
  }
  if (in->type != BL_TYPE_FLOAT)
    return bl_fail(l->err, BL_ERR_UNSUPPORTED,
                   "input %s: holds integers; begin with floats and QuantizeLinear", in->name);
  if (in->rank < 1 || in->dims[0] != 1)
    return bl_fail(l->err, BL_ERR_UNSUPPORTED, "input %s: import it with a batch of 1", in->name);
  return BL_OK;
}

// The output has to be a stage of its own that can give accumulators.
static bl_status finish(bl_lowering *l) {
  bl_view *v = &l->views[l->graph->outputs[0]];
  l->node = &l->graph->nodes[l->graph->node_count - 1];
  if (!v->known || v->producer == BL_STAGE_INPUT)
    return bl_lower_refuse(l, "the output is not a layer's");
  bl_stage *s = bl_lower_stage(l, v);
  if (v->producer + 1 != (int32_t)l->out->stage_count)
    return bl_lower_refuse(l, "layers after the output are not mapped");
  if (s->part_count == 0 && (s->quantised || (!s->clamped && !s->pooled))) return BL_OK;
  BL_TRY(bl_lower_copy(l, v, &s));
  return BL_OK;
}

// Sums that the graph takes of two products without a quantiser in between.
static bl_status take_projections(bl_lowering *l) {
  for (uint32_t k = l->out->stage_count; k-- > 0;) {
    uint32_t gone;
    if (!bl_lower_projects_fixed(l->out, k)) continue;
    if (!bl_lower_project(l->out, k, &gone)) return bl_lower_no_memory(l);
    for (uint32_t v = 0; v < l->graph->value_count; v++) {
      bl_view *view = &l->views[v];
      if (view->known && view->producer == (int32_t)gone) view->known = false;
      if (view->known && view->producer > (int32_t)gone) view->producer--;
    }
  }
  return BL_OK;
}

static bl_status note_views(const bl_lowering *l) {
  bl_lowered *out = l->out;
  for (uint32_t k = 0; k < out->stage_count; k++) {
    bl_stage *s = &out->stages[k];
    s->channels_last = l->views[s->value].order == BL_ORDER_NHWC;
  }
  out->stage_of = bl_arena_alloc(out->arena, l->graph->value_count, sizeof *out->stage_of);
  if (out->stage_of == NULL) return bl_lower_no_memory(l);
  for (uint32_t v = 0; v < l->graph->value_count; v++)
    out->stage_of[v] = l->views[v].known ? l->views[v].producer : BL_STAGE_NONE;
  return BL_OK;
}

bl_status bl_lower(const bl_float_graph *graph, const bl_float_session *session,
                   const bl_lower_options *options, bl_arena *arena, bl_lowered *lowered,
                   bl_error *err) {
  *lowered = (bl_lowered){.arena = arena, .input_mul = 1};
  bl_lowering l = {
      .graph = graph, .session = session, .out = lowered, .options = options, .err = err};
  BL_TRY(start(&l));
  for (uint32_t n = 0; n < graph->node_count; n++) {
    l.node = &graph->nodes[n];
    BL_TRY(lower_node(&l));
  }
  if (graph->node_count == 0)
    return bl_fail(err, BL_ERR_UNSUPPORTED, "%s: the graph has no nodes", graph->name);
  BL_TRY(finish(&l));
  BL_TRY(take_projections(&l));
  return note_views(&l);
}
