// SPDX-License-Identifier: Apache-2.0
#include "tests/regress/random_graph.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
  ARENA_BYTES = 1 << 28,
  MAX_LAYERS = 6,
  MAX_TENSORS = 2 * MAX_LAYERS + 1,
  ACT_FORMATS = 16,
  WEIGHT_FORMATS = BL_STRATA_WEIGHTS
};

uint64_t bl_rng_next(bl_rng *rng) { // splitmix64
  uint64_t z = rng->state += 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

uint32_t bl_rng_range(bl_rng *rng, uint32_t lo, uint32_t hi) {
  return lo + (uint32_t)(bl_rng_next(rng) % ((uint64_t)hi - lo + 1));
}

static bool chance(bl_rng *rng, uint32_t one_in) {
  return bl_rng_next(rng) % one_in == 0;
}

static bl_format act_format(uint32_t index) {
  if (index < 8) return (bl_format){BL_FORMAT_U, (uint8_t)(index + 1)};
  if (index < 15) return (bl_format){BL_FORMAT_S, (uint8_t)(index - 6)};
  return (bl_format){BL_FORMAT_B, 1};
}

static bl_format weight_format(uint32_t index) {
  static const uint8_t bipolar[WEIGHT_FORMATS] = {1, [8] = 2, 3, 7};
  if (bipolar[index] == 0) return (bl_format){BL_FORMAT_S, (uint8_t)(index + 1)};
  return (bl_format){BL_FORMAT_B, bipolar[index]};
}

static int32_t random_value(bl_rng *rng, bl_format f) {
  int32_t lo = bl_format_min(f), hi = bl_format_max(f);
  if (chance(rng, 4)) return chance(rng, 2) ? lo : hi; // the ends more often than chance has it
  if (f.kind == BL_FORMAT_B) return lo + 2 * (int32_t)bl_rng_range(rng, 0, (uint32_t)hi);
  return lo + (int32_t)bl_rng_range(rng, 0, (uint32_t)(hi - lo));
}

// ---- One layer ----

enum { NOTHING = UINT32_MAX };

typedef struct {
  bl_rng rng;
  bl_random_case *made;
  bl_int_graph *graph;
  uint32_t allowed; // features
} builder;

typedef struct {
  uint32_t input, addend; // tensors; addend: NOTHING for none
  bl_format weights, output;
  uint32_t channels;         // of the output; 0: any
  const bl_int_tensor *like; // the output's format and zero point are this one's, or NULL
  bool last;                 // may give accumulators
  bool big;                  // more output channels than a memory holds
  bool same;                 // the output is as large as the input
  bool whole;                // a kernel as large as the input
} draw;

static bool wants(builder *b, bl_random_feature feature, uint32_t one_in) {
  return chance(&b->rng, one_in) && (b->allowed >> feature & 1) != 0;
}

static void draw_axis(bl_rng *rng, uint32_t size, uint32_t *kernel, uint32_t *stride,
                      uint32_t *dilation, uint32_t *pad0, uint32_t *pad1) {
  *kernel = bl_rng_range(rng, 1, size < 6 ? size : 6);
  *stride = chance(rng, 2) ? 1 : bl_rng_range(rng, 1, 4);
  *dilation = *kernel > 1 && chance(rng, 3) ? bl_rng_range(rng, 2, 3) : 1;
  uint32_t most = *kernel - 1 < 3 ? *kernel - 1 : 3;
  *pad0 = chance(rng, 2) ? 0 : bl_rng_range(rng, 0, most);
  *pad1 = chance(rng, 2) ? *pad0 : bl_rng_range(rng, 0, most);
  while ((*kernel - 1) * *dilation + 1 > size + *pad0 + *pad1) {
    if (*dilation > 1)
      --*dilation;
    else
      --*kernel;
  }
}

static void draw_free_window(builder *b, uint32_t h, uint32_t w, bl_int_layer *l) {
  draw_axis(&b->rng, h, &l->kernel_h, &l->stride_h, &l->dilation_h, &l->pad_top, &l->pad_bottom);
  draw_axis(&b->rng, w, &l->kernel_w, &l->stride_w, &l->dilation_w, &l->pad_left, &l->pad_right);
  if (chance(&b->rng, 2)) { // as networks have it
    uint32_t k = l->kernel_h < l->kernel_w ? l->kernel_h : l->kernel_w;
    l->kernel_h = l->kernel_w = k;
    l->stride_h = l->stride_w;
  }
}

static void draw_window(builder *b, const draw *d, const bl_int_tensor *in, bl_int_layer *l) {
  bool small = in->h <= 8 && in->w <= 8 && !d->same && !d->whole;
  l->upsample = wants(b, BL_RANDOM_UPSAMPLE, 10) && small;
  uint32_t h = l->upsample ? 2 * in->h : in->h, w = l->upsample ? 2 * in->w : in->w;
  l->pad_value = random_value(&b->rng, in->format);
  draw_free_window(b, h, w, l);
  if (d->same) {
    l->kernel_h = l->kernel_w = 1 + 2 * bl_rng_range(&b->rng, 0, 2);
    l->pad_top = l->pad_bottom = l->pad_left = l->pad_right = l->kernel_h / 2;
  } else if (d->whole || wants(b, BL_RANDOM_CONNECTED, 10)) {
    l->kernel_h = h;
    l->kernel_w = w;
    l->pad_top = l->pad_bottom = l->pad_left = l->pad_right = 0;
  } else {
    return;
  }
  l->stride_h = l->stride_w = l->dilation_h = l->dilation_w = 1;
}

static void draw_pool_axis(bl_rng *rng, uint32_t size, uint32_t *pool, uint32_t *stride,
                           uint32_t *pad0, uint32_t *pad1) {
  *pool = bl_rng_range(rng, 1, size < 3 ? size : 3);
  *stride = chance(rng, 2) ? *pool : bl_rng_range(rng, 1, 3);
  if (chance(rng, 3)) {
    *pad0 = bl_rng_range(rng, 0, *pool - 1);
    *pad1 = bl_rng_range(rng, 0, *pool - 1);
  }
}

static void draw_pool(builder *b, const draw *d, bl_int_layer *l) {
  uint32_t h, w;
  l->pool_h = l->pool_w = l->pool_stride_h = l->pool_stride_w = 1;
  bl_int_conv_size(b->graph, l, &h, &w);
  // Pooling behind an addition is rare: only a compiler that cuts the layer in two can map it.
  if (chance(&b->rng, 2) || (d->same && (d->addend == NOTHING || !chance(&b->rng, 12)))) return;
  draw_pool_axis(&b->rng, h, &l->pool_h, &l->pool_stride_h, &l->pool_pad_top, &l->pool_pad_bottom);
  draw_pool_axis(&b->rng, w, &l->pool_w, &l->pool_stride_w, &l->pool_pad_left, &l->pool_pad_right);
}

// Output size of the convolution and pooling of a layer whose output tensor is being made.
static void size_output(const bl_int_graph *graph, const bl_int_layer *l, bl_int_tensor *out) {
  uint32_t h, w;
  bl_int_conv_size(graph, l, &h, &w);
  out->h = (h + l->pool_pad_top + l->pool_pad_bottom - l->pool_h) / l->pool_stride_h + 1;
  out->w = (w + l->pool_pad_left + l->pool_pad_right - l->pool_w) / l->pool_stride_w + 1;
}

static uint32_t draw_channels(bl_rng *rng, uint32_t groups) {
  uint32_t most = chance(rng, 3) ? 70 : 20;
  uint32_t c = chance(rng, 4) ? 8 * bl_rng_range(rng, 1, 8) : bl_rng_range(rng, 1, most);
  return groups == 0 ? c : (c + groups - 1) / groups * groups;
}

// A divisor of `channels` other than 1 and itself, or 1.
static uint32_t draw_divisor(bl_rng *rng, uint32_t channels) {
  for (uint32_t tries = 0; tries < 4 && channels > 3; tries++) {
    uint32_t g = bl_rng_range(rng, 2, channels / 2);
    if (channels % g == 0) return g;
  }
  return 1;
}

static void draw_groups(builder *b, const draw *d, const bl_int_tensor *in, bl_int_tensor *out,
                        bl_int_layer *l) {
  bl_rng *rng = &b->rng;
  l->groups = 1;
  out->c = d->channels > 0 ? d->channels : draw_channels(rng, 0);
  if (d->big) {
    out->c = b->made->config->cols * b->made->config->param_depth + bl_rng_range(rng, 1, 40);
  } else if (d->channels > 0) {
    uint32_t g = chance(rng, 2) ? in->c : draw_divisor(rng, in->c);
    bool fits = chance(rng, 3) && out->c % g == 0;
    if (fits && (g == in->c || (b->allowed >> BL_RANDOM_GROUPS & 1) != 0)) l->groups = g;
  } else if (chance(rng, 4)) { // depthwise, perhaps with a multiplier
    l->groups = in->c;
    bool several = wants(b, BL_RANDOM_MULTIPLIER, 2) && in->c < 40;
    out->c = in->c * (several ? bl_rng_range(rng, 2, in->c < 20 ? 4 : 2) : 1);
  } else if (wants(b, BL_RANDOM_GROUPS, 3)) {
    l->groups = draw_divisor(rng, in->c);
    if (l->groups > 1) out->c = draw_channels(rng, l->groups);
  }
}

// The clamp, and the table behind it.
static bool draw_clamp(builder *b, const draw *d, bl_int_tensor *out, bl_int_layer *l) {
  bl_rng *rng = &b->rng;
  l->lo = bl_format_min(out->format);
  l->hi = bl_format_max(out->format);
  if (out->format.kind == BL_FORMAT_ACC || out->format.kind == BL_FORMAT_B) return true;
  if (d->like != NULL)
    out->zero_point = d->like->zero_point;
  else if (chance(rng, 3))
    out->zero_point = random_value(rng, out->format);
  if (wants(b, BL_RANDOM_TABLE, 8)) {
    bool rising = chance(rng, 2);
    l->lo = chance(rng, 2) ? -128 : 0;
    l->hi = l->lo + 255;
    l->table = bl_arena_alloc(b->graph->arena, BL_INT_TABLE, sizeof *l->table);
    if (l->table == NULL) return false;
    int32_t lo = bl_format_min(out->format), span = bl_format_max(out->format) - lo;
    for (int i = 0; i < BL_INT_TABLE; i++)
      l->table[i] = rising ? lo + span * i / 255 : random_value(rng, out->format);
  }
  if (chance(rng, 4)) l->lo += (l->hi - l->lo) / 4;
  if (chance(rng, 4)) l->hi -= (l->hi - l->lo) / 4;
  return true;
}

static bool draw_codebook(builder *b, bl_int_layer *l) {
  l->codebook = bl_arena_alloc(b->graph->arena, BL_INT_CODES, 1);
  if (l->codebook == NULL) return false;
  for (int i = 1; i < BL_INT_CODES; i++) // the first stays 0
    l->codebook[i] = (int8_t)random_value(&b->rng, l->weight_format);
  return true;
}

// Zeros in whole words of whole channel tiles: words as a window has them in which each tap takes
// its channels' bytes.
static void prune(builder *b, const bl_int_tensor *in, const bl_int_tensor *out, bl_int_layer *l) {
  const bl_config *c = b->made->config;
  uint32_t taps = l->kernel_h * l->kernel_w, bytes = (in->c + 7) / 8, tile = NOTHING;
  uint64_t kept = 0;
  for (uint32_t n = 0; n < out->c; n++) {
    if (n / c->cols != tile) kept = chance(&b->rng, 6) ? 0 : bl_rng_next(&b->rng);
    tile = n / c->cols;
    for (uint32_t t = 0; t < taps; t++)
      for (uint32_t k = 0; k < in->c; k++) {
        uint32_t word = (t * bytes + k / 8) / (c->lanes / 8);
        if ((kept >> word % 61 & 1) == 0) l->weights[((size_t)n * taps + t) * in->c + k] = 0;
      }
  }
  b->made->features |= 1u << BL_RANDOM_PRUNED;
}

typedef enum { ANY, TWO_VALUES, MULTIPLES, BY_TILE } weight_style;

static weight_style draw_style(builder *b, const bl_int_tensor *out, const bl_int_layer *l) {
  uint32_t style = bl_rng_range(&b->rng, 1, 9);
  if (l->weight_format.kind != BL_FORMAT_S || l->codebook != NULL) return ANY;
  if (style == BY_TILE && out->c > b->made->config->cols && l->weight_format.bits > 2 &&
      (b->allowed >> BL_RANDOM_TILES & 1) != 0) {
    b->made->features |= 1u << BL_RANDOM_TILES;
    return BY_TILE;
  }
  if (style > MULTIPLES || (b->allowed >> BL_RANDOM_PLANES & 1) == 0) return ANY;
  b->made->features |= 1u << BL_RANDOM_PLANES;
  return (weight_style)style;
}

static int32_t draw_weight(builder *b, const bl_int_layer *l, weight_style style, uint32_t tile) {
  if (l->codebook != NULL) return l->codebook[bl_rng_range(&b->rng, 0, BL_INT_CODES - 1)];
  int32_t w = random_value(&b->rng, l->weight_format);
  if (style == TWO_VALUES) return w > 0;
  if (style == MULTIPLES) return w / 4 * 4;
  return style == BY_TILE ? w / (1 << tile % 3) : w;
}

static bool draw_weights(builder *b, const bl_int_tensor *in, const bl_int_tensor *out,
                         bl_int_layer *l) {
  size_t each = (size_t)l->kernel_h * l->kernel_w * (in->c / l->groups), count = each * out->c;
  l->weights = bl_arena_alloc(b->graph->arena, count, 1);
  bool several = l->weight_format.kind == BL_FORMAT_S;
  if (l->weights == NULL) return false;
  if (wants(b, BL_RANDOM_CODEBOOK, 8) && several && !draw_codebook(b, l)) return false;
  weight_style style = draw_style(b, out, l);
  for (size_t i = 0; i < count; i++)
    l->weights[i] = (int8_t)draw_weight(b, l, style, (uint32_t)(i / each) / b->made->config->cols);
  if (wants(b, BL_RANDOM_PRUNED, 6) && several && l->groups == 1) prune(b, in, out, l);
  return true;
}

static double magnitude(bl_format f) {
  return f.kind == BL_FORMAT_S ? -(double)bl_format_min(f) : bl_format_max(f);
}

// Weights under which the addend counts about as much as the sum does: up to `scale` * 2^raise.
// `most` bounds the sum. Returns what the addition may reach.
static double draw_addend(builder *b, uint32_t channels, bl_int_layer *l, double scale,
                          double most) {
  bl_rng *rng = &b->rng;
  double other = magnitude(b->graph->tensors[l->addend].format);
  bool bits = wants(b, BL_RANDOM_BITS, 3), negative = chance(rng, 3);
  uint32_t raise = wants(b, BL_RANDOM_RAISE, 2) ? bl_rng_range(rng, 1, 8) : 0;
  while (raise > 0 && most * pow(2, raise) > 1 << 28)
    raise--;
  l->raise = (uint8_t)raise;
  const uint32_t fan = bl_int_addend_fan(b->graph, l);
  double ratio = scale * pow(2, raise) / other / sqrt(fan);
  if (ratio < 1) ratio = 1;
  if (ratio > 1 << 20) ratio = 1 << 20;
  for (size_t n = 0; n < (size_t)channels * fan; n++) {
    int32_t w = 1 << (int)floor(log2(ratio) + 0.5);
    if (chance(rng, 4)) w = w > 1 ? w / 2 : 2;
    if (fan > 1) w = w / 2 * (int32_t)bl_rng_range(rng, 0, 3);
    if (bits) w = (int32_t)bl_rng_range(rng, 0, (uint32_t)(2 * ratio));
    l->addend_weight[n] = negative && chance(rng, 2) ? -w : w;
  }
  return scale * pow(2, raise) + 2 * ratio * sqrt(fan) * other;
}

// `fan`: addend weights of a channel; 0: nothing is added.
static bool take_channels(bl_arena *arena, uint32_t c, size_t fan, bl_int_layer *l) {
  l->mult = bl_arena_alloc(arena, c, sizeof *l->mult);
  l->bias = bl_arena_alloc(arena, c, sizeof *l->bias);
  l->shift = bl_arena_alloc(arena, c, sizeof *l->shift);
  l->out_scale = bl_arena_alloc(arena, c, sizeof *l->out_scale);
  l->out_bias = bl_arena_alloc(arena, c, sizeof *l->out_bias);
  if (fan > 0) l->addend_weight = bl_arena_alloc(arena, c * fan, sizeof *l->addend_weight);
  return l->mult != NULL && l->bias != NULL && l->shift != NULL && l->out_scale != NULL &&
         l->out_bias != NULL && (fan == 0 || l->addend_weight != NULL);
}

// The addition and constants under which the outputs spread over their format.
static bool draw_requant(builder *b, const draw *d, const bl_int_tensor *in,
                         const bl_int_tensor *out, bl_int_layer *l) {
  bl_rng *rng = &b->rng;
  const bool adds = d->addend != NOTHING;
  if (adds) l->addend = d->addend;
  if (!take_channels(b->graph->arena, out->c, adds ? bl_int_addend_fan(b->graph, l) : 0, l))
    return false;
  double k = (double)l->kernel_h * l->kernel_w * (in->c / l->groups);
  double product = bl_format_max(in->format) * (double)bl_format_max(l->weight_format);
  double acc = sqrt(k) * 0.4 * product + 1;
  if (adds) {
    double most = k * magnitude(in->format) * magnitude(l->weight_format);
    acc = draw_addend(b, out->c, l, acc, most) / 2 + 1;
  }
  double range = out->format.kind == BL_FORMAT_ACC ? 256 : bl_format_max(out->format);
  if (l->table != NULL) range = 128;
  int shift = 15 + (int)floor(log2(acc / range) + 0.5);
  for (uint32_t n = 0; n < out->c; n++) {
    int s = shift + (int)bl_rng_range(rng, 0, 2) - 1;
    l->shift[n] = (uint8_t)(s < 1 ? 1 : s > 47 ? 47 : s);
    int32_t mult = (int32_t)bl_rng_range(rng, 1u << 15, (1u << 16) - 1);
    l->mult[n] = chance(rng, 4) ? -mult : mult;
    int64_t spread = (int64_t)(acc * 32768);
    l->bias[n] = (int64_t)(bl_rng_next(rng) % (uint64_t)(2 * spread + 1)) - spread;
    l->out_scale[n] = 1;
  }
  return true;
}

// Now and then a tensor that the layer may project, from a multiple of its convolution's size.
static void draw_projection(builder *b, draw *d, bl_int_layer *l) {
  const bl_int_graph *g = b->graph;
  uint32_t candidates[MAX_TENSORS], count = 0, h, w;
  bool pools = l->pool_h * l->pool_w * l->pool_stride_h * l->pool_stride_w > 1;
  if (d->addend != NOTHING || d->like != NULL || pools) return;
  bl_int_conv_size(g, l, &h, &w);
  for (uint32_t t = 0; t < l->output; t++)
    if (g->tensors[t].h % h == 0 && g->tensors[t].w % w == 0 && g->tensors[t].c < 200)
      candidates[count++] = t;
  if (count == 0 || !wants(b, BL_RANDOM_PROJECTION, 5)) return;
  d->addend = candidates[bl_rng_range(&b->rng, 0, count - 1)];
  l->project_h = g->tensors[d->addend].h / h;
  l->project_w = g->tensors[d->addend].w / w;
}

// Adds a layer and its output tensor, which then is the network's; its input is complete.
static bool add_layer(builder *b, const draw *drawn) {
  draw own = *drawn, *d = &own;
  bl_int_graph *graph = b->graph;
  uint32_t index = graph->layer_count++;
  bl_int_layer *l = &graph->layers[index];
  bl_int_tensor *in = &graph->tensors[d->input], *out = &graph->tensors[graph->tensor_count];
  char name[16];
  int length = snprintf(name, sizeof name, "layer%u", index);
  l->name = bl_arena_strndup(graph->arena, name, (size_t)length);
  out->name = l->name;
  l->input = d->input;
  l->output = graph->output = graph->tensor_count++;
  out->format = d->like != NULL ? d->like->format : d->output;
  out->scale = 1;
  l->weight_format = d->weights;
  draw_window(b, d, in, l);
  draw_groups(b, d, in, out, l);
  draw_pool(b, d, l);
  if (d->last && l->pool_h * l->pool_w * l->pool_stride_h * l->pool_stride_w == 1 &&
      chance(&b->rng, 2))
    out->format = (bl_format){BL_FORMAT_ACC, 32};
  size_output(graph, l, out);
  draw_projection(b, d, l);
  return draw_clamp(b, d, out, l) && draw_weights(b, in, out, l) && draw_requant(b, d, in, out, l);
}

// ---- Cases ----

static bool start(builder *b, const bl_config *config, uint32_t allowed, bl_random_case *made) {
  *made = (bl_random_case){.config = config};
  bl_int_graph *g = &made->graph;
  b->made = made;
  b->graph = g;
  b->allowed = allowed;
  g->arena = bl_arena_new(ARENA_BYTES);
  if (g->arena == NULL) return false;
  g->name = bl_arena_strndup(g->arena, "random", 6);
  g->tensors = bl_arena_alloc(g->arena, MAX_TENSORS, sizeof *g->tensors);
  g->layers = bl_arena_alloc(g->arena, MAX_LAYERS, sizeof *g->layers);
  g->tensor_count = 1;
  return g->name != NULL && g->tensors != NULL && g->layers != NULL;
}

static void draw_input(bl_rng *rng, bl_format format, uint32_t size, bl_int_tensor *t) {
  t->h = bl_rng_range(rng, 1, size);
  t->w = bl_rng_range(rng, 1, size);
  t->c = chance(rng, 4) ? bl_rng_range(rng, 1, 4) : draw_channels(rng, 0);
  t->format = format;
  t->scale = 1;
}

// So many channels that a kernel as large as the map takes more words than a row buffer has.
static void lengthen(const bl_config *config, bl_int_tensor *t) {
  t->h = t->h % 4 + 5;
  t->w = t->w % 4 + 5;
  uint32_t words = config->row_depth / (t->h * t->w * t->format.bits) + 1;
  t->c = words * config->lanes - t->c % 3;
}

static bool finish(builder *b) {
  bl_random_case *made = b->made;
  const bl_int_tensor *t = &made->graph.tensors[0];
  made->images = chance(&b->rng, 2) ? 1 : bl_rng_range(&b->rng, 2, 5);
  for (uint32_t l = 0; l < made->graph.layer_count; l++)
    made->features |= bl_random_features(&made->graph, l, made->config);
  size_t count = bl_int_elements(t) * made->images;
  made->inputs = bl_arena_alloc(made->graph.arena, count, sizeof *made->inputs);
  for (size_t i = 0; made->inputs != NULL && i < count; i++)
    made->inputs[i] = random_value(&b->rng, t->format);
  return made->inputs != NULL;
}

bool bl_random_layer(uint64_t seed, uint32_t number, uint32_t attempt, uint32_t allowed,
                     bl_random_case *made) {
  builder b = {.rng = {seed * 0x2545F4914F6CDD1Du + number * 1000003u + attempt * 7919u}};
  uint32_t pair = number % (ACT_FORMATS * WEIGHT_FORMATS);
  const bl_config *config = &BL_CONFIGS[number / (ACT_FORMATS * WEIGHT_FORMATS) % BL_CONFIG_COUNT];
  if (!start(&b, config, allowed, made)) return false;
  draw d = {.addend = NOTHING,
            .weights = weight_format(pair % WEIGHT_FORMATS),
            .output = act_format(bl_rng_range(&b.rng, 0, ACT_FORMATS - 1)),
            .last = true,
            .big = chance(&b.rng, 16)};
  bl_int_tensor *in = &made->graph.tensors[0];
  draw_input(&b.rng, act_format(pair / WEIGHT_FORMATS), d.big ? 2 : 11, in);
  if (wants(&b, BL_RANDOM_LONG, 20) && !d.big) {
    lengthen(config, in);
    d.whole = true;
    d.channels = bl_rng_range(&b.rng, 1, 12);
  } else if (wants(&b, BL_RANDOM_ADDEND, 8) && !d.big) {
    d.addend = 0;
    d.channels = in->c;
    d.same = true;
  }
  return add_layer(&b, &d) && finish(&b);
}

// A complete tensor of the same height and width as tensor `like`, to be added; NOTHING if the draw
// says so.
static uint32_t draw_addend_tensor(builder *b, uint32_t like) {
  const bl_int_graph *g = b->graph;
  uint32_t candidates[MAX_TENSORS], count = 0;
  for (uint32_t t = 0; t < g->tensor_count; t++)
    if (g->tensors[t].h == g->tensors[like].h && g->tensors[t].w == g->tensors[like].w)
      candidates[count++] = t;
  uint32_t chosen = candidates[bl_rng_range(&b->rng, 0, count - 1)];
  return wants(b, BL_RANDOM_ADDEND, 4) && g->tensors[chosen].c < 200 ? chosen : (uint32_t)NOTHING;
}

// `count` layers beside each other, and the tensor that their outputs are the parts of.
static bool add_concatenation(builder *b, draw d, uint32_t count, bool odd) {
  bl_int_graph *g = b->graph;
  bl_int_tensor like = {.format = d.output, .scale = 1};
  if (chance(&b->rng, 2)) like.zero_point = random_value(&b->rng, like.format);
  if (like.format.kind == BL_FORMAT_B) like.zero_point = 0;
  uint32_t first = g->tensor_count, channel = 0, rotation = bl_rng_range(&b->rng, 0, count - 1);
  if (!chance(&b->rng, 4)) rotation = 0;
  d.like = &like;
  d.same = true;
  d.last = false;
  for (uint32_t i = 0; i < count; i++) {
    uint32_t unit = chance(&b->rng, 8) ? 8 : b->made->config->cols;
    d.channels = odd ? bl_rng_range(&b->rng, 1, 20) : unit * bl_rng_range(&b->rng, 1, 4);
    d.weights = weight_format(bl_rng_range(&b->rng, 0, WEIGHT_FORMATS - 1));
    if (!add_layer(b, &d)) return false;
  }
  for (uint32_t i = 0; i < count; i++) {
    bl_int_tensor *part = &g->tensors[first + (i + rotation) % count];
    part->parent = first + count;
    part->parent_channel = channel;
    channel += part->c;
  }
  bl_int_tensor *parent = &g->tensors[g->tensor_count];
  *parent = g->tensors[first];
  parent->parent = parent->parent_channel = 0;
  parent->c = channel;
  g->output = g->tensor_count++;
  return true;
}

// One layer, or the parts of a concatenation; `left` layers may still be added.
static bool add_some(builder *b, uint32_t left) {
  bl_int_graph *g = b->graph;
  uint32_t input = g->output;
  if (g->layer_count > 0 && chance(&b->rng, 8)) input = bl_rng_range(&b->rng, 0, input);
  draw d = {.input = input,
            .addend = NOTHING,
            .weights = weight_format(bl_rng_range(&b->rng, 0, WEIGHT_FORMATS - 1)),
            .output = act_format(bl_rng_range(&b->rng, 0, ACT_FORMATS - 1)),
            .last = left == 1,
            .big = g->layer_count > 0 && chance(&b->rng, 20) &&
                   bl_int_elements(&g->tensors[input]) < 200};
  bool odd = wants(b, BL_RANDOM_CONCAT_ODD, 40), even = wants(b, BL_RANDOM_CONCAT, 5);
  if (left > 1 && (odd || even)) {
    d.big = false;
    return add_concatenation(b, d, left > 2 ? bl_rng_range(&b->rng, 2, 3) : 2, odd);
  }
  d.addend = draw_addend_tensor(b, input);
  if (d.addend == NOTHING) return add_layer(b, &d);
  d.big = false;
  d.same = true;
  d.channels = g->tensors[d.addend].c;
  return add_layer(b, &d);
}

bool bl_random_network(uint64_t seed, uint32_t number, uint32_t attempt, uint32_t allowed,
                       bl_random_case *made) {
  builder b = {.rng = {seed * 0x9FB21C651E98DF25u + number * 1000033u + attempt * 7907u}};
  uint32_t layers = bl_rng_range(&b.rng, 2, MAX_LAYERS);
  if (!start(&b, &BL_CONFIGS[number % BL_CONFIG_COUNT], allowed, made)) return false;
  draw_input(&b.rng, act_format(bl_rng_range(&b.rng, 0, ACT_FORMATS - 1)), 12,
             &made->graph.tensors[0]);
  while (made->graph.layer_count < layers)
    if (!add_some(&b, layers - made->graph.layer_count)) return false;
  return finish(&b);
}

void bl_random_free(bl_random_case *made) {
  bl_arena_free(made->graph.arena);
  *made = (bl_random_case){0};
}

// ---- What a layer has ----

static bool several_bits(const bl_int_layer *l, size_t weights) {
  for (size_t n = 0; n < weights; n++) {
    uint32_t w = (uint32_t)(l->addend_weight[n] < 0 ? -l->addend_weight[n] : l->addend_weight[n]);
    if ((w & (w - 1)) != 0) return true;
  }
  return false;
}

static bool tens_of_eight(uint32_t channels) {
  return channels % 8 == 0 && channels <= 64;
}

uint32_t bl_random_features(const bl_int_graph *graph, uint32_t layer, const bl_config *config) {
  const bl_int_layer *l = &graph->layers[layer];
  const bl_int_tensor *in = &graph->tensors[l->input], *out = &graph->tensors[l->output];
  uint32_t taps = l->kernel_h * l->kernel_w, up = l->upsample ? 2 : 1;
  uint64_t words = (uint64_t)taps * ((in->c / l->groups + config->lanes - 1) / config->lanes);
  bool adds = l->addend_weight != NULL, projects = adds && l->project_h > 0;
  bool several = adds && several_bits(l, (size_t)out->c * bl_int_addend_fan(graph, l));
  bool odd = out->parent_channel % 8 != 0 ||
             (out->c % 8 != 0 && out->parent_channel + out->c < graph->tensors[out->parent].c);
  const bool has[BL_RANDOM_FEATURES] = {
      [BL_RANDOM_MULTIPLIER] = l->groups == in->c && in->c > 1 && out->c > in->c,
      [BL_RANDOM_GROUPS] = l->groups > 1 && l->groups < in->c,
      [BL_RANDOM_ADDEND] = adds && !several && !projects,
      [BL_RANDOM_BITS] = several && !projects,
      [BL_RANDOM_PROJECTION] = projects,
      [BL_RANDOM_RAISE] = l->raise > 0,
      [BL_RANDOM_CONCAT] = out->parent != 0 && !odd,
      [BL_RANDOM_CONCAT_ODD] = out->parent != 0 && odd,
      [BL_RANDOM_UPSAMPLE] = l->upsample,
      [BL_RANDOM_TABLE] = l->table != NULL,
      [BL_RANDOM_CODEBOOK] = l->codebook != NULL,
      [BL_RANDOM_CONNECTED] = taps > 1 && l->kernel_h == up * in->h && l->kernel_w == up * in->w,
      [BL_RANDOM_NARROW] = taps > 1 && tens_of_eight(in->c) && tens_of_eight(out->c),
      [BL_RANDOM_LONG] = words * in->format.bits > config->row_depth,
  };
  uint32_t features = 0;
  for (uint32_t f = 0; f < BL_RANDOM_FEATURES; f++)
    features |= (uint32_t)has[f] << f;
  return features;
}
