// SPDX-License-Identifier: Apache-2.0
// Weights of a layer that takes a sum in its accumulators: their steps follow from those of the
// sum's two operands, so that the ratio of scales is a power of two, one bit-plane, and stays so.
#include <math.h>
#include <string.h>

#include "host/train/quant_aware_internal.h"

// The only node that reads a value; NULL: none, or several.
static const bl_node *reader_of(const bl_float_graph *g, int32_t value) {
  const bl_node *reader = NULL;
  for (uint32_t n = 0; n < g->node_count; n++)
    for (uint32_t k = 0; k < g->nodes[n].input_count; k++) {
      if (g->nodes[n].inputs[k] != value) continue;
      if (reader != NULL) return NULL;
      reader = &g->nodes[n];
    }
  return reader;
}

static const bl_value *constant_of(const bl_float_graph *g, const bl_node *node, int32_t *value) {
  for (uint32_t k = 0; k < 2 && k < node->input_count; k++) {
    *value = node->inputs[k];
    const bl_value *v = bl_node_input(g, node, k);
    if (v != NULL && v->f != NULL) return v;
  }
  return NULL;
}

static bool add_factor(const bl_float_graph *g, const bl_node *node, bl_quant_point *p) {
  bl_quant_factor f = {.op = node->op, .variance = -1};
  const bl_value *a, *variance = NULL;
  if (node->op == BL_FLOAT_BATCH_NORM) {
    f.value = node->inputs[1];
    f.variance = node->inputs[4];
    f.epsilon = (double)bl_node_float(node, "epsilon", 1e-5F);
    a = bl_node_input(g, node, 1);
    variance = bl_node_input(g, node, 4);
  } else {
    a = constant_of(g, node, &f.value);
  }
  if (a == NULL || a->f == NULL || (a->count != 1 && a->count != p->quant.channels) ||
      p->factor_count == BL_QUANT_MAX_FACTORS)
    return false;
  f.data = a->f;
  f.count = a->count;
  if (variance != NULL) f.variances = variance->f;
  p->factors[p->factor_count++] = f;
  return true;
}

// Follows the product's result to the sum of two branches; false where something else is met.
static bool find_factors(const bl_float_graph *g, bl_quant_point *p) {
  const bl_node *node = reader_of(g, p->index);
  for (node = node == NULL ? NULL : reader_of(g, node->outputs[0]); node != NULL;
       node = reader_of(g, node->outputs[0])) {
    int32_t ignored;
    switch (node->op) {
    case BL_FLOAT_ADD:
    case BL_FLOAT_SUB:
      if (constant_of(g, node, &ignored) == NULL) return true;
      break;
    case BL_FLOAT_MUL:
    case BL_FLOAT_DIV:
    case BL_FLOAT_BATCH_NORM:
      if (!add_factor(g, node, p)) return false;
      break;
    case BL_FLOAT_IDENTITY:
    case BL_FLOAT_DROPOUT:
    case BL_FLOAT_RESHAPE:
      break;
    default:
      return false;
    }
  }
  return false;
}

// What the posts in front of the sum multiply channel n by.
static double fold(const bl_stage *s, uint32_t n) {
  double factor = 1;
  for (uint32_t k = 0; k < s->addend_post; k++) {
    const bl_post *p = &s->posts[k];
    if (p->kind == BL_POST_MUL) factor *= p->a[n];
    if (p->kind == BL_POST_DIV) factor /= p->a[n];
    if (p->kind == BL_POST_NORM) factor *= p->c[n] / p->b[n];
  }
  return factor;
}

// The powers that post-training quantisation gives these weights.
static bl_status fit(const bl_quant_finding *f, const bl_stage *s, bl_quant_point *p, double *unit,
                     bl_error *err) {
  const size_t channels = s->out_c, fan = f->one->values[p->one].count / channels;
  double *scale = bl_arena_alloc(f->scratch, channels, sizeof *scale);
  int8_t *integers = bl_arena_alloc(f->scratch, channels * fan, sizeof *integers);
  int32_t *ratio = bl_arena_alloc(f->scratch, channels, sizeof *ratio);
  if (scale == NULL || integers == NULL || ratio == NULL) return bl_quant_no_memory(err);
  for (size_t n = 0; n < channels; n++)
    scale[n] = (double)p->first[n];
  bl_addition addition = {.name = s->name,
                          .channels = s->out_c,
                          .fan = fan,
                          .unit = unit,
                          .weights = s->weights,
                          .weight_bits = p->bits,
                          .scale = scale,
                          .integers = integers,
                          .ratio = ratio};
  bl_addition_cost cost;
  BL_TRY(bl_addition_fit(&addition, &cost, err));
  for (size_t n = 0; n < channels; n++)
    p->ratio[n] = ldexp((double)ratio[n], -addition.raise);
  return BL_OK;
}

// The ratio stays the power of two that it begins with.
static bl_status fix_ratio(const bl_quant_finding *f, const bl_stage *stage, bl_quant_point *point,
                           double *unit) {
  point->ratio = bl_arena_alloc(f->aware->arena, stage->out_c, sizeof *point->ratio);
  if (point->ratio == NULL) return bl_quant_no_memory(f->err);
  BL_TRY(fit(f, stage, point, unit, f->err));
  point->learns = false;
  for (uint32_t n = 0; n < stage->out_c; n++) // where a factor becomes 0
    point->first[n] = (float)fabs(1 / (unit[n] * point->ratio[n]));
  return BL_OK;
}

bl_status bl_quant_tie(const bl_quant_finding *f, const bl_stage *stage, bl_quant_point *point,
                       const bl_quant_point *in, const bl_quant_point *addend) {
  double *unit = bl_arena_alloc(f->scratch, stage->out_c, sizeof *unit);
  if (unit == NULL) return bl_quant_no_memory(f->err);
  if (stage->out_c != point->quant.channels || !find_factors(f->aware->graph, point)) return BL_OK;
  for (uint32_t n = 0; n < stage->out_c; n++) {
    unit[n] = (double)in->first[0] * fold(stage, n) / (double)addend->first[0];
    if (unit[n] == 0) return BL_OK;
  }
  point->in = in;
  point->addend = addend;
  return f->aware->options.ratio_bits > 1 ? BL_OK : fix_ratio(f, stage, point, unit);
}
