// SPDX-License-Identifier: Apache-2.0
#include "tests/support/extreme_sums.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/ref/reference.h"
#include "tests/regress/run_case.h"

enum { MOST_INPUTS = 300000, MOST_SMALL = 300, CHANNELS = BL_EXTREME_CHANNELS };

// What a weight of 1 adds to the largest sum of the array, and a weight of -1; of the addend
// likewise; 0 and 0 without one. Bipolar operands are bits there: twice 0 or 1.
typedef struct {
  const char *name;
  bl_format in, weights, addend;
  int64_t plus, minus, addend_plus, addend_minus;
  bool raised;
} operands;

static const operands kinds[BL_EXTREME_KINDS] = {
    {"signed", {BL_FORMAT_S, 8}, {BL_FORMAT_S, 8}, {BL_FORMAT_U, 0}, 127, 128, 0, 0, false},
    {"unsigned", {BL_FORMAT_U, 1}, {BL_FORMAT_S, 8}, {BL_FORMAT_U, 0}, 1, 0, 0, 0, false},
    {"bipolar", {BL_FORMAT_B, 1}, {BL_FORMAT_S, 8}, {BL_FORMAT_U, 0}, 2, 0, 0, 0, false},
    {"addend", {BL_FORMAT_S, 8}, {BL_FORMAT_S, 8}, {BL_FORMAT_S, 8}, 127, 128, 127, 128, true},
    {"signs", {BL_FORMAT_B, 1}, {BL_FORMAT_S, 8}, {BL_FORMAT_B, 1}, 2, 0, 2, 0, true},
    {"row sum", {BL_FORMAT_U, 4}, {BL_FORMAT_B, 1}, {BL_FORMAT_S, 8}, 15, 0, 127, 128, true},
    {"planes", {BL_FORMAT_U, 4}, {BL_FORMAT_B, 2}, {BL_FORMAT_S, 8}, 15, 0, 127, 128, true},
    {"wrap", {BL_FORMAT_U, 1}, {BL_FORMAT_B, 2}, {BL_FORMAT_U, 0}, 1, 0, 0, 0, false},
};

// A channel: its positive weights add up to p, its negative ones to -q; the addend's weight is d.
typedef struct {
  int64_t p, q, d;
} channel;

// So that the layer has a few hundred to a few thousand inputs.
static uint32_t raise_of(const operands *o, uint32_t acc_w) {
  const uint32_t left = o->weights.kind == BL_FORMAT_B ? 16 : 20;
  if (!o->raised) return 0;
  return acc_w > left ? acc_w - left : 1;
}

// p, q and d with a largest sum of `target`, given what each adds to it; the smallest follows.
static bool solve(int64_t target, int64_t each_p, int64_t each_q, int64_t each_d, channel *c) {
  const int64_t most_d = each_d > 0 ? 1 << 20 : 0;
  const bool by_p = each_p >= each_q;
  const int64_t bulk = by_p ? each_p : each_q, small = by_p ? each_q : each_p;
  for (int64_t d = each_d > 0 ? 1 : 0; d <= most_d; d++)
    for (int64_t x = 0; x <= (small > 0 ? MOST_SMALL : 0); x++) {
      int64_t rest = target - d * each_d - x * small;
      if (rest < 0 || rest % bulk != 0) continue;
      *c = by_p ? (channel){rest / bulk, x, d} : (channel){x, rest / bulk, d};
      return true;
    }
  return false;
}

// Even channels (which 0) reach the largest sum, odd ones the smallest, whose operands mirror.
static bool solve_channel(const bl_extreme_spec *s, int which, channel *c) {
  const operands *o = &kinds[s->kind];
  const int64_t scale = (int64_t)1 << raise_of(o, s->acc_w), end = (int64_t)1 << (s->acc_w - 1);
  const int64_t step = o->plus == 2 ? 2 : 1; // of sums
  int64_t target = which == 0 ? end - step : end;
  if (s->beyond == (which == 0 ? 1 : -1)) target += step;
  const bool addend = o->addend_plus > 0;
  if (which == 0)
    return solve(target, scale * o->plus, scale * o->minus, addend ? o->addend_plus : 0, c);
  // The bipolar addend is 0 or 1 in the array: it makes no sum smaller, unless its weight is
  // negative.
  const bool flips = addend && o->addend_minus == 0;
  if (!solve(target, scale * o->minus, scale * o->plus,
             flips    ? o->addend_plus
             : addend ? o->addend_minus
                      : 0,
             c))
    return false;
  if (flips) c->d = -c->d;
  return true;
}

// ---- Tensors and layers ---------------------------------------------------------------------

typedef struct {
  const bl_extreme_spec *spec;
  const operands *o;
  channel channels[2];
  uint32_t inputs, taps, c; // inputs = taps x c, the last ones of no weight
  bl_extreme *made;
} maker;

static uint32_t pieces(int64_t sum, int64_t largest) {
  return (uint32_t)((sum + largest - 1) / largest);
}

static int64_t largest_weight(const operands *o) {
  return o->raised ? bl_format_max(o->weights) : 1;
}

// Weights of the largest value, then ones, that add up to a sum.
static uint32_t odd_pieces(int64_t sum, int64_t largest) {
  return (uint32_t)(sum / largest + sum % largest);
}

static int64_t odd_piece(int64_t left, int64_t largest) {
  return left >= largest ? largest : left > 0 ? 1 : -1;
}

static void count_inputs(maker *k) {
  const int64_t largest = largest_weight(k->o);
  uint32_t most = 1;
  for (int i = 0; i < 2; i++) {
    const channel *c = &k->channels[i];
    uint32_t count = pieces(c->p, 127) + pieces(c->q, 128);
    if (k->o->weights.kind == BL_FORMAT_B) count = odd_pieces(c->p > c->q ? c->p : c->q, largest);
    if (count > most) most = count;
  }
  k->taps = (most + BL_INT_MAX_DIM - 1) / BL_INT_MAX_DIM;
  k->c = (most + k->taps - 1) / k->taps;
  k->inputs = k->taps * k->c;
}

static void fill_weights(const maker *k, int8_t *weights) {
  const int64_t largest = largest_weight(k->o);
  for (uint32_t n = 0; n < CHANNELS; n++) {
    channel left = k->channels[n % 2];
    for (uint32_t i = 0; i < k->inputs; i++) {
      int64_t w = left.p > 0 ? (left.p < 127 ? left.p : 127) : left.q < 128 ? -left.q : -128;
      // b formats have no 0: what the sum does not take is -1 or 1 of the other sign.
      if (k->o->weights.kind == BL_FORMAT_B)
        w = n % 2 == 0 ? odd_piece(left.p, largest) : -odd_piece(left.q, largest);
      weights[n * k->inputs + i] = (int8_t)w;
      if (w > 0)
        left.p -= w;
      else
        left.q += w;
    }
  }
}

static bl_int_tensor tensor(const maker *k, const char *name, uint32_t c, uint32_t w,
                            bl_format format) {
  uint32_t points = k->spec->pixels ? BL_EXTREME_POINTS : 1;
  return (bl_int_tensor){
      .name = (char *)name, .h = 1, .w = w * points, .c = c, .format = format, .scale = 1};
}

static bool new_layer(const maker *k, const char *name, uint32_t output, bl_format weights,
                      bl_int_layer *l) {
  bl_arena *arena = k->made->graph.arena;
  *l = (bl_int_layer){.name = (char *)name,
                      .output = output,
                      .groups = 1,
                      .kernel_h = 1,
                      .kernel_w = k->taps,
                      .stride_h = 1,
                      .stride_w = k->taps,
                      .dilation_h = 1,
                      .dilation_w = 1,
                      .pool_h = 1,
                      .pool_w = 1,
                      .pool_stride_h = 1,
                      .pool_stride_w = 1,
                      .weight_format = weights};
  l->weights = bl_arena_alloc(arena, (size_t)CHANNELS * k->inputs, 1);
  l->mult = bl_arena_alloc(arena, CHANNELS, sizeof *l->mult);
  l->bias = bl_arena_alloc(arena, CHANNELS, sizeof *l->bias);
  l->shift = bl_arena_alloc(arena, CHANNELS, sizeof *l->shift);
  return l->weights != NULL && l->mult != NULL && l->bias != NULL && l->shift != NULL;
}

// Is input 0 at its highest where channel n is largest?
static bool rises(const int8_t *weights, uint32_t inputs, uint32_t n) {
  return weights[(size_t)n * inputs] >= 0;
}

// The addend: highest or lowest, as input 0 says.
static bool make_addend(maker *k, const bl_int_layer *main) {
  bl_int_layer *l = &k->made->graph.layers[0];
  const int64_t lo = bl_format_min(k->o->in), hi = bl_format_max(k->o->in);
  if (!new_layer(k, "addend", 1, (bl_format){BL_FORMAT_S, 2}, l)) return false;
  for (uint32_t n = 0; n < CHANNELS; n++) {
    l->weights[(size_t)n * k->inputs] = 1;
    // An addend with a negative weight is highest where the others are lowest.
    bool up = rises(main->weights, k->inputs, n) == (main->addend_weight[n] >= 0);
    l->mult[n] = up ? 1 << 15 : -(1 << 15);
    l->bias[n] = -(lo + hi) * l->mult[n] / 2;
    l->shift[n] = 1;
  }
  l->lo = bl_format_min(k->o->addend);
  l->hi = bl_format_max(k->o->addend);
  return true;
}

static bool make_main(maker *k, bl_int_layer *l) {
  bl_int_graph *g = &k->made->graph;
  if (!new_layer(k, "extreme", g->tensor_count - 1, k->o->weights, l)) return false;
  fill_weights(k, l->weights);
  l->out_scale = bl_arena_alloc(g->arena, CHANNELS, sizeof *l->out_scale);
  l->out_bias = bl_arena_alloc(g->arena, CHANNELS, sizeof *l->out_bias);
  if (l->out_scale == NULL || l->out_bias == NULL) return false;
  for (uint32_t n = 0; n < CHANNELS; n++) {
    l->mult[n] = 1 << 15;
    l->shift[n] = (uint8_t)(15 + k->spec->acc_w - 8);
    l->out_scale[n] = 1;
  }
  l->lo = -128;
  l->hi = 127;
  if (k->o->addend_plus == 0) return true;
  l->addend = 1;
  l->raise = (uint8_t)raise_of(k->o, k->spec->acc_w);
  l->addend_weight = bl_arena_alloc(g->arena, CHANNELS, sizeof *l->addend_weight);
  for (uint32_t n = 0; l->addend_weight != NULL && n < CHANNELS; n++)
    l->addend_weight[n] = (int32_t)k->channels[n % 2].d;
  return l->addend_weight != NULL && make_addend(k, l);
}

static bool make_graph(maker *k) {
  bl_int_graph *g = &k->made->graph;
  const bl_format out =
      k->spec->codes ? (bl_format){BL_FORMAT_S, 8} : (bl_format){BL_FORMAT_ACC, 32};
  g->name = (char *)"extreme";
  g->layer_count = k->o->addend_plus > 0 ? 2 : 1;
  g->tensor_count = g->layer_count + 1;
  g->output = g->layer_count;
  g->tensors = bl_arena_alloc(g->arena, 3, sizeof *g->tensors);
  g->layers = bl_arena_alloc(g->arena, 2, sizeof *g->layers);
  if (g->tensors == NULL || g->layers == NULL) return false;
  g->tensors[0] = tensor(k, "input", k->c, k->taps, k->o->in);
  g->tensors[1] = tensor(k, "r", CHANNELS, 1, k->o->addend);
  g->tensors[g->output] = tensor(k, "sums", CHANNELS, 1, out);
  return make_main(k, &g->layers[g->layer_count - 1]);
}

// ---- Inputs, and what comes of them ---------------------------------------------------------

static bool make_inputs(maker *k) {
  const bl_int_layer *l = &k->made->graph.layers[k->made->graph.layer_count - 1];
  const int32_t lo = bl_format_min(k->o->in), hi = bl_format_max(k->o->in);
  int32_t *in = calloc((size_t)BL_EXTREME_POINTS * k->inputs, sizeof *in);
  k->made->points = in;
  k->made->inputs = k->inputs;
  for (uint32_t point = 0; in != NULL && point < BL_EXTREME_POINTS; point++) {
    const int8_t *w = l->weights + (size_t)(point % 2) * k->inputs; // point 2: of channel 0
    const bool high = point == 0 || point == 3;
    for (uint32_t i = 0; i < k->inputs; i++)
      *in++ = (w[i] >= 0) == high ? hi : lo;
  }
  return k->made->points != NULL;
}

// The layer's sum, from its definition; *folded: what is the array's besides.
static int64_t sum_of(const maker *k, uint32_t point, uint32_t n, int64_t *folded) {
  const bl_int_layer *l = &k->made->graph.layers[k->made->graph.layer_count - 1];
  const int8_t *w = l->weights + (size_t)n * k->inputs;
  const int32_t *x = k->made->points + (size_t)point * k->inputs;
  const int64_t scale = (int64_t)1 << l->raise;
  int64_t sum = 0, weights = 0;
  for (uint32_t i = 0; i < k->inputs; i++) {
    sum += (int64_t)w[i] * x[i];
    weights += w[i];
  }
  *folded = k->o->in.kind == BL_FORMAT_B ? weights * scale : 0;
  if (l->addend_weight == NULL) return sum * scale;
  const bool high = (x[0] == bl_format_max(k->o->in)) ==
                    (rises(l->weights, k->inputs, n) == (l->addend_weight[n] >= 0));
  const int64_t r = high ? bl_format_max(k->o->addend) : bl_format_min(k->o->addend);
  if (k->o->addend.kind == BL_FORMAT_B) *folded += l->addend_weight[n];
  return sum * scale + l->addend_weight[n] * r;
}

static void expect(const maker *k) {
  for (uint32_t point = 0; point < BL_EXTREME_POINTS; point++)
    for (uint32_t n = 0; n < CHANNELS; n++) {
      int64_t folded, sum = sum_of(k, point, n, &folded);
      if (point == 0 && n == 0) k->made->largest = sum + folded;
      if (point == 1 && n == 1) k->made->smallest = sum + folded;
      int64_t step = (int64_t)1 << (k->spec->acc_w - 8);
      if (k->spec->codes) sum = (sum - ((sum % step + step) % step)) / step;
      k->made->expected[point][n] = (int32_t)sum;
    }
}

bool bl_extreme_make(const bl_extreme_spec *spec, bl_extreme *made) {
  maker k = {.spec = spec, .o = &kinds[spec->kind], .made = made};
  *made = (bl_extreme){.graph = {.arena = bl_arena_new((size_t)1 << 28)}};
  for (int i = 0; i < 2; i++)
    if (made->graph.arena == NULL || !solve_channel(spec, i, &k.channels[i])) return false;
  count_inputs(&k);
  if (k.inputs > MOST_INPUTS || !make_graph(&k) || !make_inputs(&k)) return false;
  expect(&k);
  return true;
}

void bl_extreme_free(bl_extreme *made) {
  free(made->points);
  bl_arena_free(made->graph.arena);
}

const char *bl_extreme_name(bl_extreme_kind kind) {
  return kinds[kind].name;
}

// ---- Running --------------------------------------------------------------------------------

// The reference kernels' output against what was worked out here; the device's is against theirs.
static bool reference_agrees(const bl_extreme_spec *spec, const bl_extreme *made, uint32_t point,
                             char text[BL_EXTREME_TEXT]) {
  const bl_int_graph *g = &made->graph;
  const uint32_t points = spec->pixels ? BL_EXTREME_POINTS : 1;
  int32_t got[BL_EXTREME_POINTS * CHANNELS];
  bl_error err = {0};
  const int32_t *in = made->points + point * bl_int_elements(&g->tensors[0]);
  if (bl_reference_run(g, in, got, NULL, NULL, &err) != BL_OK) {
    (void)snprintf(text, BL_EXTREME_TEXT, "%.250s", err.text);
    return false;
  }
  for (uint32_t i = 0; i < points * CHANNELS; i++) {
    int32_t expected = made->expected[point + i / CHANNELS][i % CHANNELS];
    if (got[i] == expected) continue;
    (void)snprintf(text, BL_EXTREME_TEXT, "point %u channel %u: the reference says %d, it is %d",
                   point + i / CHANNELS, i % CHANNELS, got[i], expected);
    return false;
  }
  return true;
}

bool bl_extreme_run(const bl_extreme_spec *spec, const bl_extreme *made, const bl_config *config,
                    bl_driver *driver, char text[BL_EXTREME_TEXT]) {
  const bl_int_graph *g = &made->graph;
  bl_error err = {0};
  bl_program *program;
  if (bl_compile(g, &(bl_compile_options){config, 1}, &program, &err) != BL_OK) {
    (void)snprintf(text, BL_EXTREME_TEXT, "%.250s", err.text);
    return false;
  }
  bool ok = true;
  for (uint32_t point = 0; ok && point < (spec->pixels ? 1 : BL_EXTREME_POINTS); point++) {
    bl_case_result result = {0};
    char why[BL_CASE_TEXT];
    const int32_t *in = made->points + point * bl_int_elements(&g->tensors[0]);
    ok = reference_agrees(spec, made, point, text);
    if (!ok) break;
    ok = bl_run_case(driver, g, program, in, 1, 1, &result, why);
    if (!ok) (void)snprintf(text, BL_EXTREME_TEXT, "%.250s", why);
    if (!ok || (result.differing == 0 && result.compared > 0)) continue;
    ok = false;
    (void)snprintf(text, BL_EXTREME_TEXT,
                   "point %u: %llu differ, layer %u element %zu: %d, it is %d", point,
                   (unsigned long long)result.differing, result.layer, result.element, result.got,
                   result.expected);
  }
  bl_program_free(program);
  return ok;
}
