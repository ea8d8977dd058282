// SPDX-License-Identifier: Apache-2.0
#include "host/quant/quantise.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "host/float/eval.h"
#include "host/quant/addition.h"
#include "host/quant/fold.h"
#include "host/quant/quantise_internal.h"
#include "host/quant/refine.h"
#include "host/quant/requant.h"
#include "host/quant/stage_weights.h"

enum { GRAPH_CAP = 512 << 20 };

bl_status bl_quantise_no_memory(const bl_quantising *q) {
  return bl_fail(q->err, BL_ERR_MEMORY, "quantise: no memory for the integer graph");
}

bool bl_refines(const bl_stage *s) {
  return s->part_count == 0 && !s->unit_weights && s->weight_scale == NULL;
}

bool bl_refinement(const bl_quantise_options *options) {
  return options->rounding != BL_ROUNDING_NEAREST || options->bias_correction != BL_BIAS_NONE;
}

bool bl_gives_accumulators(const bl_quantising *q, uint32_t stage) {
  return stage + 1 == q->lowered.stage_count && q->options->output_bits == 0;
}

// ---- Tensors
// -------------------------------------------------------------------------------------

static void set_quantiser(bl_int_tensor *t, bl_quantiser q) {
  t->format = q.format;
  t->scale = q.scale;
  t->zero_point = q.zero_point;
}

// The parts of a concatenation have its quantiser.
static void join_parts(const bl_lowered *l, uint32_t index, bl_int_graph *g) {
  const bl_stage *s = &l->stages[index];
  const bl_int_tensor *all = &g->tensors[index + 1];
  uint32_t channel = 0;
  for (uint32_t k = 0; k < s->part_count; k++) {
    bl_int_tensor *part = &g->tensors[s->parts[k] + 1];
    set_quantiser(part, (bl_quantiser){all->format, all->scale, all->zero_point});
    const bl_stage *copy = &l->stages[s->parts[k]];
    if (copy->ties_input)
      set_quantiser(&g->tensors[copy->input + 1],
                    (bl_quantiser){all->format, all->scale, all->zero_point});
    part->parent = index + 1;
    part->parent_channel = channel;
    channel += part->c;
  }
}

// Does a table give a stage's output, or a part of it?
static bool from_table(const bl_lowered *l, const bl_stage *s) {
  bool table = s->function != NULL;
  for (uint32_t k = 0; k < s->part_count; k++) {
    const bl_stage *part = &l->stages[s->parts[k]];
    table = table || part->function != NULL ||
            (part->ties_input && l->stages[part->input].function != NULL);
  }
  return table;
}

// A tensor's quantiser by calibration. What a table gives is no b1.
static bl_quantiser observed(const bl_quantising *q, uint32_t stage) {
  const bl_stage *s = &q->lowered.stages[stage];
  const bl_observer *o = &q->observers[stage + 1];
  if (s->dynamic) return bl_observer_input(o);
  unsigned bits =
      stage + 1 == q->lowered.stage_count ? q->options->output_bits : s->activation_bits;
  bl_quantiser result = bl_observer_activation(o, bits, q->options->range);
  if (result.format.kind != BL_FORMAT_B || !from_table(&q->lowered, s)) return result;
  return bl_observer_activation(o, 2, q->options->range);
}

static bl_quantiser calibrated(const bl_quantising *q, uint32_t stage) {
  const bl_quantiser result = observed(q, stage);
  if (!q->options->power_scales) return result;
  return bl_observer_power(&q->observers[stage + 1], result, q->options->range);
}

// The network's input by calibration.
static bl_quantiser calibrated_input(const bl_quantising *q) {
  const bl_quantiser result = bl_observer_input(&q->observers[0]);
  if (!q->options->power_scales) return result;
  return bl_observer_power(&q->observers[0], result, BL_RANGE_MINMAX);
}

static bl_status make_tensors(bl_quantising *q, bl_int_graph *g) {
  const bl_lowered *l = &q->lowered;
  g->tensors[0] = (bl_int_tensor){
      .name = bl_arena_strndup(g->arena, "input", 5), .h = l->in_h, .w = l->in_w, .c = l->in_c};
  set_quantiser(&g->tensors[0], l->input_quantised ? l->input_quantiser : calibrated_input(q));
  for (uint32_t k = 0; k < l->stage_count; k++) {
    const bl_stage *s = &l->stages[k];
    bl_int_tensor *t = &g->tensors[k + 1];
    *t = (bl_int_tensor){.name = bl_arena_strndup(g->arena, s->name, strlen(s->name)),
                         .h = s->out_h,
                         .w = s->out_w,
                         .c = s->out_c};
    if (t->name == NULL) return bl_quantise_no_memory(q);
    if (s->quantised)
      set_quantiser(t, s->quantiser);
    else if (bl_gives_accumulators(q, k))
      set_quantiser(t, (bl_quantiser){{BL_FORMAT_ACC, 32}, 1, 0});
    else
      set_quantiser(t, calibrated(q, k));
    join_parts(l, k, g);
  }
  return BL_OK;
}

static int64_t weight_sum(const bl_stage *s, const bl_int_layer *layer, uint32_t n) {
  int64_t sum = 0;
  for (size_t k = 0; k < bl_stage_fan(s); k++)
    sum += layer->weights[n * bl_stage_fan(s) + k];
  return sum;
}

// ---- Requantisation from real scales
// -------------------------------------------------------------

static bl_status set_clamp(bl_quantising *q, const bl_stage *s, const bl_int_tensor *out,
                           bl_int_layer *layer) {
  bl_affine first = bl_fold_after(s, 0);
  for (uint32_t n = 1; n < s->out_c; n++) {
    bl_affine f = bl_fold_after(s, n);
    if (f.lo != first.lo || f.hi != first.hi)
      return bl_fail(q->err, BL_ERR_UNSUPPORTED,
                     "node %s: a scale a channel after a clamp; put it before, or quantise between",
                     s->name);
  }
  double top = s->quantised ? s->q_hi : bl_format_max(out->format);
  double lo = s->quantised                      ? s->q_lo
              : out->format.kind == BL_FORMAT_S ? -top
                                                : bl_format_min(out->format);
  double hi = top;
  lo = fmax(lo, rint(first.lo / out->scale) + out->zero_point);
  hi = fmin(hi, rint(first.hi / out->scale) + out->zero_point);
  layer->lo = (int32_t)fmin(lo, top);
  layer->hi = (int32_t)fmax(hi, layer->lo);
  return BL_OK;
}

// From accumulators to the real value: x = factor * (acc - correction) + offset, then the posts.
// With an addend x is what the posts in front of it make of the sum's part of acc, times a
// constant.
typedef struct {
  double factor, offset;
  int64_t correction;
} dequantiser;

// Addend weights of a channel.
static uint32_t addend_fan(const bl_stage *s) {
  return s->projection == NULL ? 1 : s->projection->in_c;
}

// What a layer's channels have beside their integers.
typedef struct {
  double *weights; // [channels] real size of an integer weight
  double *offset;  // [channels] to be added to the real sum
  int32_t *step;   // [channels] of addend weights that are one integer of a projection
} channel_scales;

static dequantiser dequantiser_of(const bl_stage *s, const bl_int_layer *layer,
                                  const bl_int_tensor *in, const bl_int_tensor *addend,
                                  const channel_scales *scales, uint32_t n) {
  dequantiser d = {scales->weights[n] * in->scale, scales->offset[n],
                   in->zero_point * weight_sum(s, layer, n)};
  if (addend == NULL) return d;
  d.factor *= bl_fold_factor(bl_fold_before(s, n)) / (double)(1 << layer->raise);
  d.correction *= 1 << layer->raise;
  const uint32_t fan = addend_fan(s);
  for (size_t k = (size_t)n * fan; k < ((size_t)n + 1) * fan; k++)
    d.correction += (int64_t)layer->addend_weight[k] * addend->zero_point;
  return d;
}

static bl_status make_addend(bl_quantising *q, const bl_stage *s, const bl_int_graph *g,
                             bl_int_layer *layer, const channel_scales *scales) {
  const bl_int_tensor *in = &g->tensors[layer->input], *addend = &g->tensors[s->addend + 1];
  layer->addend = (uint32_t)(s->addend + 1);
  const size_t weights = (size_t)s->out_c * addend_fan(s);
  layer->addend_weight = bl_arena_alloc(g->arena, weights, sizeof *layer->addend_weight);
  double *unit = bl_arena_alloc(q->scratch, s->out_c, sizeof *unit);
  if (layer->addend_weight == NULL || unit == NULL) return bl_quantise_no_memory(q);
  for (uint32_t n = 0; n < s->out_c; n++)
    unit[n] = in->scale * bl_fold_factor(bl_fold_before(s, n)) /
              (addend->scale * bl_fold_factor(bl_fold_projection(s, n)));
  const bl_codebook *codebook = bl_stage_codebook(s);
  const bool fixed = s->unit_weights || s->weight_scale != NULL || s->weight_bits == 1 ||
                     (codebook != NULL && codebook->scale > 0);
  bl_addition addition = {.name = s->name,
                          .channels = s->out_c,
                          .fan = bl_stage_fan(s),
                          .unit = unit,
                          .weights = fixed ? NULL : s->weights,
                          .weight_bits = s->weight_bits,
                          .channel_bits = s->channel_bits,
                          .codebook = codebook,
                          .scale = scales->weights,
                          .integers = layer->weights,
                          .ratio = layer->addend_weight};
  if (s->projection != NULL) {
    layer->project_h = s->projection->stride_h;
    layer->project_w = s->projection->stride_w;
    addition.projection = s->projection->weights;
    addition.projection_fan = s->projection->in_c;
    addition.projection_scale = s->projection->weight_scale;
    addition.step = scales->step;
    addition.square = pow(4, addend->format.bits - in->format.bits);
  }
  BL_TRY(bl_addition_fit(&addition, &q->out->additions[layer - g->layers], q->err));
  layer->raise = addition.raise;
  return BL_OK;
}

enum { BEYOND = 512 }; // any output's integers, of at most eight bits

static bl_status real_requant(bl_quantising *q, const bl_stage *s, const bl_int_tensor *out,
                              bl_int_layer *layer, uint32_t n, dequantiser d) {
  bl_affine f = bl_fold_after(s, n);
  double scale = f.scale * d.factor / out->scale;
  double offset = (f.offset + f.scale * d.offset) / out->scale - scale * (double)d.correction;
  bl_requant r;
  bool zero;
  bool fits = bl_requant_real(scale, offset, &r, &zero);
  // Where the channel moves its offset by less than a quarter of a step, whatever it reads, as with
  // a gamma of next to nothing, or stays beyond every format's range, it is its offset.
  const unsigned bits =
      q->out->graph->tensors[layer->input].format.bits + layer->weight_format.bits;
  const double reach = ldexp(fabs(scale) * (double)bl_stage_fan(s), (int)bits);
  if (!fits && isfinite(offset) && (reach < 0.25 || fabs(offset) > reach + BEYOND))
    fits = bl_requant_real(0, fmax(-BEYOND, fmin(BEYOND, offset)), &r, &zero);
  const bool alone = layer->weight_format.kind == BL_FORMAT_S && s->addend == BL_STAGE_NONE;
  if (!fits || (zero && !alone))
    return bl_fail(
        q->err, BL_ERR_RANGE,
        "node %s channel %u: a scale of %g and an offset of %g do not fit the multiplier", s->name,
        n, scale, offset);
  if (zero) memset(layer->weights + n * bl_stage_fan(s), 0, bl_stage_fan(s));
  if (q->options->offset_bits > 0 && r.shift > q->options->offset_bits) {
    // To the nearest multiple of a small part of the output's step, of which the half of rounding
    // is one.
    const unsigned dropped = r.shift - q->options->offset_bits;
    r.bias = (r.bias + ((int64_t)1 << (dropped - 1))) >> dropped;
    r.bias *= (int64_t)1 << dropped;
  }
  if (out->format.kind == BL_FORMAT_B) r.bias -= (int64_t)1 << (r.shift - 1);
  layer->mult[n] = r.mult;
  layer->bias[n] = r.bias;
  layer->shift[n] = r.shift;
  return BL_OK;
}

static void accumulator_outputs(const bl_stage *s, bl_int_layer *layer, uint32_t n, dequantiser d) {
  bl_affine f = bl_fold_after(s, n);
  layer->out_scale[n] = f.scale * d.factor;
  layer->out_bias[n] = f.offset + f.scale * (d.offset - d.factor * (double)d.correction);
}

// ---- Requantisation from the graph's own quantisers
// -----------------------------------------------

typedef struct {
  const bl_float_graph *graph;
  const bl_stage *stage;
  uint32_t channel;
  dequantiser d;
} level_context;

// How many of a MultiThreshold's thresholds y reaches in a channel.
static int32_t reached(const level_context *c, double y) {
  const bl_value *t = bl_node_input(c->graph, c->stage->quant_node, 1);
  const float *row = t->f + (t->dims[0] == 1 ? 0 : c->channel * (size_t)t->dims[1]);
  int32_t count = 0;
  while (count < t->dims[1] && y >= (double)row[count])
    count++;
  return count;
}

// The integer that the graph computes, minus its zero point; for bipolar outputs -1 and 0, which
// is the sign of what the device shifts.
static int32_t graph_level(const void *context, int64_t acc) {
  const level_context *c = context;
  const bl_stage *s = c->stage;
  double x = c->d.factor * (double)(acc - c->d.correction) + c->d.offset;
  double y = x;
  if (s->addend == BL_STAGE_NONE) {
    y = bl_stage_posts(s, c->channel, x);
  } else {
    bl_affine f = bl_fold_after(s, c->channel);
    y = fmax(f.lo, fmin(f.hi, f.scale * x + f.offset));
  }
  const bl_node *node = s->quant_node;
  bool bipolar = s->quantiser.format.kind == BL_FORMAT_B;
  if (node->op == BL_FLOAT_MULTI_THRESHOLD)
    return reached(c, y) + (bipolar ? -1 : (int32_t)s->q_lo);
  if (bipolar) return y >= 0 ? 0 : -1;
  if (node->op == BL_FLOAT_TRUNC)
    return (int32_t)bl_qonnx_trunc(c->graph, node, y) - s->quantiser.zero_point;
  double level = y / s->quantiser.scale + s->quantiser.zero_point;
  level = level < s->q_lo ? s->q_lo : level > s->q_hi ? s->q_hi : level;
  return (int32_t)bl_qonnx_round(node, level) - s->quantiser.zero_point;
}

static void accumulator_range(const bl_stage *s, const bl_int_layer *layer, const bl_int_tensor *in,
                              const bl_int_tensor *addend, uint32_t n, int64_t *lo, int64_t *hi) {
  int64_t least = bl_format_min(in->format), most = bl_format_max(in->format);
  *lo = *hi = 0;
  for (size_t k = 0; k < bl_stage_fan(s); k++) {
    int64_t w = layer->weights[n * bl_stage_fan(s) + k];
    *lo += w > 0 ? w * least : w * most;
    *hi += w > 0 ? w * most : w * least;
  }
  if (addend == NULL) return;
  *lo *= 1 << layer->raise;
  *hi *= 1 << layer->raise;
  for (size_t k = (size_t)n * addend_fan(s); k < ((size_t)n + 1) * addend_fan(s); k++) {
    int64_t d = layer->addend_weight[k];
    int64_t a = d * bl_format_min(addend->format), b = d * bl_format_max(addend->format);
    *lo += a < b ? a : b;
    *hi += a < b ? b : a;
  }
}

// The graph's quantiser clamps; so does what lies in front of it, where that is the same for all
// channels, and it may be within the quantiser's range, where no line over accumulators would stop.
static void exact_clamp(const bl_stage *s, bl_int_layer *layer) {
  const double scale = s->quantiser.scale, zero = s->quantiser.zero_point;
  const bl_affine first = bl_fold_after(s, 0);
  layer->lo = (int32_t)s->q_lo;
  layer->hi = (int32_t)s->q_hi;
  if (s->quant_node->op != BL_FLOAT_QUANT) return;
  for (uint32_t n = 1; n < s->out_c; n++) {
    const bl_affine f = bl_fold_after(s, n);
    if (f.lo != first.lo || f.hi != first.hi) return;
  }
  const double lo = fmax(s->q_lo, fmin(s->q_hi, first.lo / scale + zero));
  const double hi = fmax(s->q_lo, fmin(s->q_hi, first.hi / scale + zero));
  layer->lo = (int32_t)bl_qonnx_round(s->quant_node, lo);
  layer->hi = (int32_t)bl_qonnx_round(s->quant_node, hi);
}

static bl_status exact_requant(bl_quantising *q, const bl_stage *s, const bl_int_tensor *in,
                               const bl_int_tensor *addend, bl_int_layer *layer, uint32_t n,
                               dequantiser d) {
  level_context context = {q->source, s, n, d};
  bool bipolar = s->quantiser.format.kind == BL_FORMAT_B;
  int32_t zp = s->quantiser.zero_point;
  bl_levels levels = {.level = graph_level,
                      .context = &context,
                      .level_lo = bipolar ? -1 : layer->lo - zp,
                      .level_hi = bipolar ? 0 : layer->hi - zp};
  accumulator_range(s, layer, in, addend, n, &levels.acc_lo, &levels.acc_hi);
  bl_requant r;
  uint64_t wrong = bl_requant_fit(&levels, &r);
  if (wrong == UINT64_MAX)
    return bl_fail(q->err, BL_ERR_RANGE,
                   "node %s channel %u: its thresholds do not fit the multiplier", s->name, n);
  if (wrong > 0 && s->quant_node->op == BL_FLOAT_MULTI_THRESHOLD)
    return bl_fail(q->err, BL_ERR_UNSUPPORTED,
                   "node %s channel %u: its thresholds are not evenly spaced; use a uniform "
                   "quantiser",
                   s->quant_node->name, n);
  q->out->inexact += wrong;
  layer->mult[n] = r.mult;
  layer->bias[n] = r.bias;
  layer->shift[n] = r.shift;
  return BL_OK;
}

// ---- Layers
// --------------------------------------------------------------------------------------

static bl_status allocate_layer(bl_quantising *q, const bl_stage *s, bl_arena *arena,
                                bl_int_layer *layer) {
  layer->name = bl_arena_strndup(arena, s->name, strlen(s->name));
  layer->weights = bl_arena_alloc(arena, s->out_c * bl_stage_fan(s), sizeof *layer->weights);
  layer->mult = bl_arena_alloc(arena, s->out_c, sizeof *layer->mult);
  layer->bias = bl_arena_alloc(arena, s->out_c, sizeof *layer->bias);
  layer->shift = bl_arena_alloc(arena, s->out_c, sizeof *layer->shift);
  layer->out_scale = bl_arena_alloc(arena, s->out_c, sizeof *layer->out_scale);
  layer->out_bias = bl_arena_alloc(arena, s->out_c, sizeof *layer->out_bias);
  bool ok = layer->name != NULL && layer->weights != NULL && layer->mult != NULL &&
            layer->bias != NULL && layer->shift != NULL && layer->out_scale != NULL &&
            layer->out_bias != NULL;
  return ok ? BL_OK : bl_quantise_no_memory(q);
}

static bl_status check_padding(const bl_quantising *q, const bl_stage *s, const bl_int_tensor *in) {
  const bl_int_layer *w = &s->window;
  bool padded = w->pad_top + w->pad_left + w->pad_bottom + w->pad_right > 0;
  if (in->format.kind != BL_FORMAT_B || !padded) return BL_OK;
  return bl_fail(q->err, BL_ERR_UNSUPPORTED,
                 "node %s: zero padding of a bipolar tensor, which has no zero; pad with -1 or +1 "
                 "before its quantiser, or use an unsigned 1-bit one",
                 s->name);
}

// The table of a layer, and in its place as the layer's output the integer that it is indexed with.
static bl_status make_table(const bl_quantising *q, const bl_stage *s, bl_int_graph *g,
                            bl_int_layer *layer, bl_stage *before, bl_int_tensor *index) {
  const bl_int_tensor *out = &g->tensors[layer->output];
  const bl_quantiser i = s->index_quantised
                             ? s->index_quantiser
                             : bl_function_index(s->function, &q->indices[layer->output - 1],
                                                 bl_own_range(q->options));
  const int32_t top = bl_format_max(out->format);
  bl_function_output output = {
      {out->format, out->scale, out->zero_point}, bl_format_min(out->format), top, s->quant_node};
  if (s->quantised) {
    output.lo = (int32_t)s->q_lo;
    output.hi = (int32_t)s->q_hi;
  } else if (out->format.kind == BL_FORMAT_S) {
    output.lo = -top;
  }
  layer->table = bl_arena_alloc(g->arena, BL_INT_TABLE, sizeof *layer->table);
  if (layer->table == NULL) return bl_quantise_no_memory(q);
  bl_function_table(s->function, i, &output, layer->table);
  *before = *s;
  before->quantised = s->index_quantised;
  before->quantiser = s->index_quantiser;
  before->q_lo = s->index_lo;
  before->q_hi = s->index_hi;
  before->quant_node = s->index_node;
  set_quantiser(index, i);
  return BL_OK;
}

// The device adds the output's zero point to what it clamps: the index's own goes into the bias.
static void shift_index(const bl_int_tensor *index, const bl_int_tensor *out, uint32_t channels,
                        bl_int_layer *layer) {
  for (uint32_t n = 0; layer->table != NULL && n < channels; n++)
    layer->bias[n] +=
        ((int64_t)index->zero_point - out->zero_point) * ((int64_t)1 << layer->shift[n]);
}

static bl_status allocate_scales(bl_quantising *q, const bl_stage *s, channel_scales *scales) {
  scales->weights = bl_arena_alloc(q->scratch, s->out_c, sizeof *scales->weights);
  scales->offset = bl_arena_alloc(q->scratch, s->out_c, sizeof *scales->offset);
  scales->step = bl_arena_alloc(q->scratch, s->out_c, sizeof *scales->step);
  bool ok = scales->weights != NULL && scales->offset != NULL && scales->step != NULL;
  return ok ? BL_OK : bl_quantise_no_memory(q);
}

// What follows a channel's sum until it is an integer.
static bl_affine until_integer(const bl_stage *s, const bl_int_tensor *out, uint32_t n) {
  bl_affine f = bl_fold_after(s, n);
  if (s->function != NULL || out->format.kind == BL_FORMAT_ACC || out->format.kind == BL_FORMAT_B)
    return f;
  f.lo = fmax(f.lo, out->scale * (bl_format_min(out->format) - out->zero_point));
  f.hi = fmin(f.hi, out->scale * (bl_format_max(out->format) - out->zero_point));
  return f;
}

// Weights and offsets once more, by what the layer does to the calibration samples.
static bl_status refine_layer(bl_quantising *q, const bl_stage *s, const bl_int_graph *g,
                              bl_int_layer *layer, const channel_scales *scales) {
  double *factors = bl_arena_alloc(q->scratch, 4u * s->out_c, sizeof *factors);
  bl_affine *after = bl_arena_alloc(q->scratch, s->out_c, sizeof *after);
  if (factors == NULL || after == NULL) return bl_quantise_no_memory(q);
  double *before = factors, *projected = before + s->out_c, *step = projected + s->out_c,
         *projected_step = step + s->out_c;
  const double in = g->tensors[layer->input].scale;
  for (uint32_t n = 0; n < s->out_c; n++) {
    before[n] = bl_fold_factor(bl_fold_before(s, n));
    after[n] = until_integer(s, &g->tensors[layer->output], n);
    projected[n] = bl_fold_factor(bl_fold_projection(s, n));
    step[n] = scales->weights[n] * in * before[n];
    projected_step[n] = ldexp(step[n] * scales->step[n], -layer->raise);
  }
  const bl_refined refined = {.stage = s,
                              .graph = g,
                              .layer = layer,
                              .codebook = bl_stage_codebook(s),
                              .before = before,
                              .projected = s->projection == NULL ? NULL : projected,
                              .after = after,
                              .step = step,
                              .ratio = scales->step,
                              .projected_step = projected_step,
                              .offset = scales->offset};
  return bl_refine(q, &refined);
}

static bl_status make_layer(bl_quantising *q, bl_int_graph *g, uint32_t index) {
  bl_stage stage = q->lowered.stages[index];
  const bl_stage *s = &stage;
  const bool own_scale = s->codebook == NULL || s->codebook->scale == 0;
  if (q->options->power_scales && own_scale && bl_refines(s) &&
      !bl_fold_into_weights(&stage, q->scratch))
    return bl_quantise_no_memory(q);
  bl_int_layer *layer = &g->layers[g->layer_count++];
  *layer = s->window;
  layer->input = (uint32_t)(s->input + 1);
  layer->output = index + 1;
  const bl_int_tensor *in = &g->tensors[layer->input], *out = &g->tensors[layer->output];
  BL_TRY(check_padding(q, s, in));
  layer->pad_value = in->format.kind == BL_FORMAT_B ? 1 : in->zero_point;
  BL_TRY(allocate_layer(q, s, g->arena, layer));
  channel_scales scales;
  BL_TRY(allocate_scales(q, s, &scales));
  bl_fold_silence(s);
  bl_stage_weights(q->options, s, layer, scales.weights);
  const bl_int_tensor *addend = NULL;
  if (s->addend != BL_STAGE_NONE) {
    addend = &g->tensors[s->addend + 1];
    BL_TRY(make_addend(q, s, g, layer, &scales));
  }
  if (q->refining && bl_refines(s)) BL_TRY(refine_layer(q, s, g, layer, &scales));
  bl_stage before;
  bl_int_tensor looked_up = *out;
  if (s->function != NULL) {
    BL_TRY(make_table(q, s, g, layer, &before, &looked_up));
    s = &before;
  }
  bool exact = s->quantised && s->quant_node != NULL;
  q->out->graph_was_quantised = q->out->graph_was_quantised || s->quantised || s->dynamic;
  q->out->linear_count += s->quantised && !exact;
  if (exact) {
    exact_clamp(s, layer);
  } else if (out->format.kind != BL_FORMAT_ACC) {
    BL_TRY(set_clamp(q, s, &looked_up, layer));
  }
  for (uint32_t n = 0; n < s->out_c; n++) {
    dequantiser d = dequantiser_of(s, layer, in, addend, &scales, n);
    if (exact)
      BL_TRY(exact_requant(q, s, in, addend, layer, n, d));
    else if (out->format.kind == BL_FORMAT_ACC)
      accumulator_outputs(s, layer, n, d);
    else
      BL_TRY(real_requant(q, s, &looked_up, layer, n, d));
  }
  shift_index(&looked_up, out, s->out_c, layer);
  bl_stage_bipolar(s, layer);
  BL_TRY(bl_stage_codes(s, g->arena, layer, q->err));
  return q->replay == NULL ? BL_OK : bl_replay_layer(q->replay, g, layer, q->err);
}

static bl_status start_refining(bl_quantising *q, const bl_int_graph *g) {
  const bl_quantise_options *o = q->options;
  if (o->bias_correction == BL_BIAS_ANALYTIC) {
    q->statistics = bl_analytic_statistics(&q->lowered, q->scratch);
    if (q->statistics == NULL) return bl_quantise_no_memory(q);
  }
  if (o->rounding == BL_ROUNDING_NEAREST && o->bias_correction != BL_BIAS_EMPIRICAL) return BL_OK;
  BL_TRY(bl_replay_open(q, &q->replay));
  return bl_replay_input(q->replay, g, q->err);
}

bl_status bl_quantise_graph(bl_quantising *q) {
  bl_arena *arena = bl_arena_new(GRAPH_CAP);
  bl_int_graph *g = arena == NULL ? NULL : bl_arena_alloc(arena, 1, sizeof *g);
  if (g == NULL) {
    bl_arena_free(arena);
    return bl_quantise_no_memory(q);
  }
  q->out->graph = g;
  q->out->graph_was_quantised = false;
  q->out->linear_count = 0;
  q->out->inexact = 0;
  g->arena = arena;
  g->name = bl_arena_strndup(arena, q->source->name, strlen(q->source->name));
  g->tensor_count = q->lowered.stage_count + 1;
  g->output = q->lowered.stage_count;
  q->out->additions = bl_arena_alloc(arena, q->lowered.stage_count, sizeof *q->out->additions);
  g->tensors = bl_arena_alloc(arena, g->tensor_count, sizeof *g->tensors);
  g->layers = bl_arena_alloc(arena, q->lowered.stage_count, sizeof *g->layers);
  if (g->name == NULL || g->tensors == NULL || g->layers == NULL || q->out->additions == NULL)
    return bl_quantise_no_memory(q);
  BL_TRY(make_tensors(q, g));
  if (q->refining) {
    BL_TRY(start_refining(q, g));
  }
  for (uint32_t k = 0; k < q->lowered.stage_count; k++)
    if (q->lowered.stages[k].part_count == 0) BL_TRY(make_layer(q, g, k));
  return bl_int_check(g, q->err);
}

// ---- The whole
// -----------------------------------------------------------------------------------

static bl_status quantise(bl_quantising *q) {
  BL_TRY(bl_float_session_open(q->source, &q->session, q->err));
  BL_TRY(bl_float_session_run(q->session, q->err)); // for values that do not depend on the input
  const bl_lower_options options = {q->options->fuse_adds,
                                    q->options->part_channels > 0 ? q->options->part_channels : 8};
  BL_TRY(bl_lower(q->source, q->session, &options, q->scratch, &q->lowered, q->err));
  const bl_layer_default others = {q->options->weight_bits, q->options->activation_bits,
                                   q->options->codebook, q->options->skip_bits};
  BL_TRY(bl_layer_plan_apply(q->options->plan, q->options->plan_count, &others, q->source,
                             &q->lowered, q->err));
  BL_TRY(bl_quantise_calibrate(q));
  q->out->input_mul = q->lowered.input_mul;
  q->out->input_add = q->lowered.input_add;
  q->out->suffix = q->lowered.suffix;
  q->out->dynamic_count = q->lowered.dynamic_count;
  return bl_quantise_cheapest(q);
}

bl_status bl_quantise(const bl_float_graph *graph, const bl_quantise_options *options,
                      const bl_calibration *calibration, bl_quantised *out, bl_error *err) {
  *out = (bl_quantised){.input_mul = 1};
  if (options->weight_bits < 1 || options->weight_bits > 8 || options->activation_bits < 1 ||
      options->activation_bits > 8 || options->output_bits > 8 || options->skip_bits > 8)
    return bl_fail(err, BL_ERR_USAGE, "quantise: w%ua%u; weights and activations have 1 to 8 bits",
                   options->weight_bits, options->activation_bits);
  bl_quantising q = {.source = graph,
                     .options = options,
                     .calibration = calibration,
                     .out = out,
                     .err = err,
                     .scratch = bl_arena_new(GRAPH_CAP)};
  bl_status status = q.scratch == NULL ? bl_quantise_no_memory(&q) : quantise(&q);
  bl_replay_close(q.replay);
  bl_float_session_close(q.session);
  bl_arena_free(q.scratch);
  if (status != BL_OK && out->graph != NULL) {
    bl_arena_free(out->graph->arena);
    out->graph = NULL;
  }
  return status;
}
