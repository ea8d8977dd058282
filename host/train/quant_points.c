// SPDX-License-Identifier: Apache-2.0
// What is quantised: the tensors behind the stages of lowering, and their first steps.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "host/graph/float_edit.h"
#include "host/quant/weights.h"
#include "host/train/quant_aware_internal.h"

enum { INPUT_BITS = 8 };

// ---- Which

// The node whose weights a stage has; NULL: it has none of a graph's.
static const bl_node *product_of(const bl_float_graph *g, const bl_stage *s) {
  for (uint32_t n = 0; n < g->node_count; n++)
    if (g->nodes[n].name == s->name)
      return bl_node_is_product(&g->nodes[n]) && !s->unit_weights ? &g->nodes[n] : NULL;
  return NULL;
}

static bl_quant_point *point_at(const bl_quant_aware *a, int32_t one) {
  for (uint32_t k = 0; k < a->point_count; k++)
    if (a->points[k].one == one) return &a->points[k];
  return NULL;
}

static bl_status add_point(bl_quant_finding *f, int32_t one, size_t channels,
                           bl_quant_point **point) {
  bl_quant_aware *a = f->aware;
  const char *name = f->one->values[one].name;
  bl_quant_point *p = *point = &a->points[a->point_count];
  *p = (bl_quant_point){.one = one, .index = bl_float_find_value(a->graph, name)};
  p->quant.channels = channels;
  if (p->index < 0)
    return bl_fail(f->err, BL_ERR_UNSUPPORTED,
                   "--bits: value %s is there with a batch of 1 only; export the model otherwise",
                   name == NULL ? "without a name" : name);
  p->value = bl_arena_strndup(a->arena, name, strlen(name));
  p->first = bl_arena_alloc(a->arena, channels, sizeof *p->first);
  if (p->value == NULL || p->first == NULL) return bl_quant_no_memory(f->err);
  p->learned = p->first;
  a->point_count++;
  return BL_OK;
}

bl_status bl_quant_first_steps(const bl_quant_point *p, const float *weights, size_t count,
                               float *step, bl_error *err) {
  const size_t channels = p->quant.channels, fan = count / channels;
  int8_t *integers = malloc(fan);
  float *own = malloc(fan * sizeof *own);
  for (size_t n = 0; integers != NULL && own != NULL && n < channels; n++) {
    for (size_t k = 0; k < fan; k++)
      own[k] = weights[p->quant.channels_last ? k * channels + n : n * fan + k];
    const unsigned bits =
        p->quant.channel_hi != NULL ? 2 + (unsigned)ilogb(p->quant.channel_hi[n]) : p->bits;
    const double scale = p->codebook != NULL
                             ? bl_codebook_quantise(p->codebook, own, fan, BL_RANGE_MSE, integers)
                             : bl_quantise_weights(own, fan, bits, BL_RANGE_MSE, integers);
    step[n] = scale > 0 ? (float)scale : 1;
  }
  const bool ok = integers != NULL && own != NULL;
  free(integers);
  free(own);
  return ok ? BL_OK : bl_quant_no_memory(err);
}

// Are the stage's weights odd numbers?
static bool is_bipolar(const bl_quant_finding *f, const bl_stage *s) {
  return f->aware->options.bipolar && s->weight_bits >= 2 && s->weight_bits <= 4 &&
         s->codebook == NULL && s->channel_bits == NULL;
}

static void odd_numbers(unsigned bits, bl_codebook *codebook) {
  int8_t values[BL_INT_CODES];
  for (int k = 0; k < 1 << bits; k++)
    values[k] = (int8_t)(2 * k + 1 - (1 << bits));
  bl_codebook_make(values, 1u << bits, 0, codebook);
}

// What weights of levels may be, and what single channels may.
static bl_status set_values(const bl_quant_finding *f, const bl_stage *s, bl_quant_point *p) {
  bl_arena *arena = f->aware->arena;
  const bool odd = is_bipolar(f, s);
  const size_t count = s->codebook != NULL || odd ? BL_INT_CODES : p->quant.channels;
  double *values = bl_arena_alloc(arena, count, sizeof *values);
  bl_codebook *codebook = bl_arena_alloc(arena, 1, sizeof *codebook);
  if (values == NULL || codebook == NULL) return bl_quant_no_memory(f->err);
  if (s->codebook == NULL && !odd) {
    for (size_t n = 0; n < count; n++)
      values[n] = (1 << (s->channel_bits[n] - 1)) - 1;
    p->quant.channel_hi = values;
    return BL_OK;
  }
  if (odd)
    odd_numbers(p->bits, codebook);
  else
    *codebook = *s->codebook;
  for (size_t n = 0; n < count; n++)
    values[n] = codebook->values[n];
  p->codebook = codebook;
  p->bits = codebook->format.bits; // of the integers in the file
  p->quant.levels = values;
  p->quant.level_count = count;
  p->quant.lo = values[0];
  p->quant.hi = values[count - 1];
  return BL_OK;
}

// What a weight may be: whole numbers of its bits, levels, one bit, odd numbers, three values.
static bl_status set_weight_format(const bl_quant_finding *f, const bl_stage *s,
                                   bl_quant_point *p) {
  const bl_quant_aware_options *o = &f->aware->options;
  bl_fake_quant *q = &p->quant;
  p->weight = true;
  p->bits = s->weight_bits;
  q->hi = (1 << (p->bits - 1)) - 1;
  q->lo = p->bits == 2 ? -2 : -q->hi; // the fourth value of two bits is worth its asymmetry
  if (s->codebook != NULL || s->channel_bits != NULL || is_bipolar(f, s))
    BL_TRY(set_values(f, s, p));
  q->binary = p->bits == 1 && s->codebook == NULL;
  q->ternary = o->ternary && p->bits == 2 && s->codebook == NULL && s->channel_bits == NULL;
  q->mean_step = q->binary || q->ternary;
  q->sign = o->sign == BL_SIGN_TANH ? BL_SIGN_TANH : BL_SIGN_CLIP;
  p->learns = !q->mean_step;
  return BL_OK;
}

static bl_status add_weights(bl_quant_finding *f, const bl_stage *s, const bl_node *node) {
  const bl_value *w = bl_node_weights(f->one, node);
  const int32_t one = (int32_t)(w - f->one->values);
  const bool last = node->op != BL_FLOAT_CONV &&
                    (node->op == BL_FLOAT_MATMUL || bl_node_int(node, "transB", 0) == 0);
  const size_t channels = (size_t)w->dims[last ? w->rank - 1 : 0];
  bl_quant_point *p;
  if (channels == 0)
    return bl_fail(f->err, BL_ERR_UNSUPPORTED, "--bits: node %s has no weights", node->name);
  if (point_at(f->aware, one) != NULL) return BL_OK; // weights that two nodes share
  BL_TRY(add_point(f, one, channels, &p));
  p->quant.channels_last = last;
  BL_TRY(set_weight_format(f, s, p));
  if (p->quant.mean_step) return BL_OK;
  const double hi = fmax(fabs(p->quant.lo), fabs(p->quant.hi));
  const size_t fan = w->count / channels;
  p->quant.gradient_scale = 1 / sqrt((double)fan * hi);
  return bl_quant_first_steps(p, w->f, w->count, p->first, f->err);
}

// The network's input behind the scaling that moves into the preprocessing.
static int32_t input_value(const bl_float_graph *g) {
  int32_t at = g->inputs[0], scaled = at;
  for (uint32_t n = 0; n < g->node_count; n++) {
    const bl_node *node = &g->nodes[n];
    const bool same = node->op == BL_FLOAT_IDENTITY || node->op == BL_FLOAT_TRANSPOSE ||
                      node->op == BL_FLOAT_RESHAPE || node->op == BL_FLOAT_FLATTEN;
    const bool affine = node->op == BL_FLOAT_ADD || node->op == BL_FLOAT_SUB ||
                        node->op == BL_FLOAT_MUL || node->op == BL_FLOAT_DIV;
    const bool second = node->input_count == 2 && node->inputs[1] == at;
    if (node->input_count == 0 || (node->inputs[0] != at && !second)) continue;
    const bl_value *other = affine ? bl_node_input(g, node, second ? 0 : 1) : NULL;
    if (!same && (other == NULL || other->f == NULL || other->count != 1)) break;
    at = node->outputs[0];
    if (affine) scaled = at;
  }
  return scaled;
}

// Does only one node read everything up to the scaled input? Else each reader takes it as it is.
static bool one_reader(const bl_float_graph *g, int32_t value) {
  uint32_t readers = 0;
  for (uint32_t n = 0; n < g->node_count; n++)
    for (uint32_t k = 0; k < g->nodes[n].input_count; k++)
      readers += g->nodes[n].inputs[k] == value;
  return readers == 1;
}

// A maximum of integers is one of them: nothing to be rounded.
static bool only_pools(const bl_stage *s) {
  return s->unit_weights && s->pooled && s->post_count == 0 && s->addend == BL_STAGE_NONE &&
         s->window.kernel_h == 1 && s->window.kernel_w == 1 && s->function == NULL;
}

// A stage whose integers are those of the concatenation that its copy goes into.
static bool is_tied(const bl_lowered *l, uint32_t stage) {
  for (uint32_t k = 0; k < l->stage_count; k++)
    if (l->stages[k].ties_input && l->stages[k].input == (int32_t)stage) return true;
  return false;
}

static bool has_own_integers(const bl_quant_finding *f, uint32_t k) {
  const bl_stage *s = &f->lowered.stages[k];
  return k + 1 < f->lowered.stage_count && !s->is_part && !only_pools(s) &&
         !is_tied(&f->lowered, k) && s->value != bl_train_logits(f->one) &&
         s->value != f->one->outputs[0];
}

// bits 0: fixed.
static bl_status add_data(bl_quant_finding *f, int32_t value, unsigned bits) {
  bl_quant_point *p;
  if (point_at(f->aware, value) != NULL) return BL_OK;
  BL_TRY(add_point(f, value, 1, &p));
  p->learns = bits > 0;
  p->bits = bits > 0 ? bits : INPUT_BITS;
  return BL_OK;
}

// Bits of every stage: the first and the last product have bits of their own, then the plan.
static bl_status plan_bits(bl_quant_finding *f) {
  const bl_quant_aware_options *o = &f->aware->options;
  const bl_layer_default others = {o->weight_bits, o->activation_bits, o->codebook, o->skip_bits};
  const bl_stage *first = NULL, *last = NULL;
  for (uint32_t k = 0; k < f->lowered.stage_count; k++) {
    const bl_stage *s = &f->lowered.stages[k];
    if (product_of(f->one, s) == NULL) continue;
    first = first == NULL ? s : first;
    last = s;
  }
  const uint32_t own = last != NULL ? 3 : 0;
  bl_layer_plan *plan = bl_arena_alloc(f->scratch, (size_t)o->plan_count + own + 1, sizeof *plan);
  if (plan == NULL) return bl_quant_no_memory(f->err);
  if (last != NULL) {
    plan[0] = (bl_layer_plan){.layer = first->name, .weight_bits = o->edge_weight_bits};
    plan[1] = (bl_layer_plan){.layer = last->name, .weight_bits = o->edge_weight_bits};
    plan[2] = plan[1];
    if (last->input >= 0 && o->edge_activation_bits > 0)
      plan[2] = (bl_layer_plan){.layer = f->one->values[f->lowered.stages[last->input].value].name,
                                .activation_bits = o->edge_activation_bits};
  }
  for (uint32_t k = 0; k < o->plan_count; k++)
    plan[own + k] = o->plan[k];
  return bl_layer_plan_apply(plan, own + o->plan_count, &others, f->one, &f->lowered, f->err);
}

static bl_status add_points(bl_quant_finding *f) {
  const bl_lowered *l = &f->lowered;
  int32_t input = input_value(f->one);
  if (!one_reader(f->one, f->one->inputs[0])) input = f->one->inputs[0];
  BL_TRY(add_data(f, input, 0));
  for (uint32_t k = 0; k < l->stage_count; k++) {
    const bl_stage *s = &l->stages[k];
    const bl_node *node = product_of(f->one, s);
    if (node != NULL) BL_TRY(add_weights(f, s, node));
    if (s->function != NULL) BL_TRY(add_data(f, s->index_value, 0));
    if (has_own_integers(f, k)) BL_TRY(add_data(f, s->value, s->activation_bits));
  }
  return BL_OK;
}

// ---- First steps of data

static bl_status observe(const bl_quant_finding *f, bl_observer *observers, bool second) {
  const bl_quant_aware *a = f->aware;
  float *in = bl_float_session_input(f->session, 0)->f;
  for (size_t i = 0; i < f->calibration->count; i++) {
    BL_TRY(f->calibration->read(f->calibration->context, i, in, f->err));
    BL_TRY(bl_float_session_run(f->session, f->err));
    for (uint32_t k = 0; k < a->point_count; k++) {
      if (a->points[k].weight) continue;
      const bl_value *v = bl_float_session_value(f->session, a->points[k].one);
      if (second)
        bl_observer_count(&observers[k], v->f, v->count);
      else
        BL_TRY(bl_observer_range(&observers[k], v->f, v->count, f->err));
    }
  }
  return BL_OK;
}

// The table that a value is the index of, or the result of.
static const bl_function *table_at(const bl_lowered *l, int32_t value, bool index) {
  for (uint32_t k = 0; k < l->stage_count; k++) {
    const bl_stage *s = &l->stages[k];
    if (s->function != NULL && (index ? s->index_value : s->value) == value) return s->function;
  }
  return NULL;
}

static bl_quantiser quantiser_of(const bl_quant_finding *f, bl_quant_point *p,
                                 const bl_observer *o) {
  const bl_function *indexed = table_at(&f->lowered, p->one, true);
  if (!p->learns && indexed != NULL) return bl_function_index(indexed, o, BL_RANGE_MSE);
  if (!p->learns) return bl_observer_input(o);
  // what a table gives has two bits where it has a sign
  if (p->bits == 1 && o->min < 0 && table_at(&f->lowered, p->one, false) != NULL) p->bits = 2;
  return bl_observer_activation(o, p->bits, BL_RANGE_MSE);
}

static void set_quantiser(const bl_quant_finding *f, bl_quant_point *p, bl_quantiser q) {
  const double elements = (double)f->one->values[p->one].count;
  p->quant.binary = q.format.kind == BL_FORMAT_B;
  p->quant.hi = bl_format_max(q.format);
  p->quant.lo = q.format.kind != BL_FORMAT_S ? 0 : p->learns ? -p->quant.hi : -p->quant.hi - 1;
  p->quant.zero = q.zero_point;
  p->quant.sign = f->aware->options.sign;
  if (p->learns && !p->quant.binary && f->aware->options.clip_decay > 0) {
    p->quant.pact = true;
    p->quant.decay = f->aware->options.clip_decay;
  }
  p->first[0] = (float)q.scale;
  p->quant.gradient_scale = 1 / sqrt(elements * p->quant.hi);
}

static bl_status calibrate(bl_quant_finding *f) {
  const bl_quant_aware *a = f->aware;
  bl_observer *observers = bl_arena_alloc(f->scratch, a->point_count, sizeof *observers);
  if (observers == NULL) return bl_quant_no_memory(f->err);
  for (uint32_t k = 0; k < a->point_count; k++)
    bl_observer_init(&observers[k]);
  BL_TRY(observe(f, observers, false));
  BL_TRY(observe(f, observers, true));
  for (uint32_t k = 0; k < a->point_count; k++)
    if (!a->points[k].weight)
      set_quantiser(f, &a->points[k], quantiser_of(f, &a->points[k], &observers[k]));
  return BL_OK;
}

// ---- Sums

// The point whose integers a stage's output has; NULL: they are not of one.
static const bl_quant_point *integers_of(const bl_quant_finding *f, int32_t stage) {
  const bl_lowered *l = &f->lowered;
  while (stage >= 0 && only_pools(&l->stages[stage]))
    stage = l->stages[stage].input;
  if (stage == BL_STAGE_INPUT) return &f->aware->points[0];
  return stage < 0 ? NULL : point_at(f->aware, l->stages[stage].value);
}

static bl_status tie_sums(bl_quant_finding *f) {
  for (uint32_t k = 0; k < f->lowered.stage_count; k++) {
    const bl_stage *s = &f->lowered.stages[k];
    const bl_node *node = product_of(f->one, s);
    if (s->addend == BL_STAGE_NONE || node == NULL) continue;
    const bl_value *w = bl_node_weights(f->one, node);
    bl_quant_point *p = point_at(f->aware, (int32_t)(w - f->one->values));
    const bl_quant_point *in = integers_of(f, s->input), *addend = integers_of(f, s->addend);
    if (p->learns && in != NULL && addend != NULL) BL_TRY(bl_quant_tie(f, s, p, in, addend));
  }
  return BL_OK;
}

bl_status bl_quant_find(bl_quant_finding *f) {
  bl_quant_aware *a = f->aware;
  const size_t most = 3 * (size_t)f->lowered.stage_count + 1;
  a->points = bl_arena_alloc(a->arena, most, sizeof *a->points);
  if (a->points == NULL) return bl_quant_no_memory(f->err);
  BL_TRY(plan_bits(f));
  BL_TRY(add_points(f));
  BL_TRY(calibrate(f));
  return tie_sums(f);
}
