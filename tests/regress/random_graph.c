// SPDX-License-Identifier: Apache-2.0
#include "tests/regress/random_graph.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { ARENA_BYTES = 1 << 28, MAX_LAYERS = 6, ACT_FORMATS = 16, WEIGHT_FORMATS = 8 };

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
  return (bl_format){BL_FORMAT_B1, 1};
}

static uint32_t act_index(bl_format f) {
  if (f.kind == BL_FORMAT_B1) return 15;
  return f.kind == BL_FORMAT_U ? f.bits - 1u : f.bits + 6u;
}

static bl_format weight_format(uint32_t index) {
  return index == 0 ? (bl_format){BL_FORMAT_B1, 1} : (bl_format){BL_FORMAT_S, (uint8_t)(index + 1)};
}

static int32_t random_value(bl_rng *rng, bl_format f) {
  int32_t lo = bl_format_min(f), hi = bl_format_max(f);
  if (f.kind == BL_FORMAT_B1) return chance(rng, 2) ? 1 : -1;
  if (chance(rng, 4)) return chance(rng, 2) ? lo : hi; // the ends more often than chance has it
  return lo + (int32_t)bl_rng_range(rng, 0, (uint32_t)(hi - lo));
}

// ---- One layer ----

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

static void draw_window(bl_rng *rng, const bl_int_tensor *in, bl_int_layer *l) {
  draw_axis(rng, in->h, &l->kernel_h, &l->stride_h, &l->dilation_h, &l->pad_top, &l->pad_bottom);
  draw_axis(rng, in->w, &l->kernel_w, &l->stride_w, &l->dilation_w, &l->pad_left, &l->pad_right);
  if (chance(rng, 2)) { // as networks have it
    uint32_t k = l->kernel_h < l->kernel_w ? l->kernel_h : l->kernel_w;
    l->kernel_h = l->kernel_w = k;
    l->stride_h = l->stride_w;
  }
  if (chance(rng, 10)) { // fully connected over the map
    l->kernel_h = in->h;
    l->kernel_w = in->w;
    l->stride_h = l->stride_w = l->dilation_h = l->dilation_w = 1;
    l->pad_top = l->pad_bottom = l->pad_left = l->pad_right = 0;
  }
  l->pad_value = random_value(rng, in->format);
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

static void draw_pool(bl_rng *rng, const bl_int_graph *graph, bl_int_layer *l) {
  uint32_t h, w;
  l->pool_h = l->pool_w = l->pool_stride_h = l->pool_stride_w = 1;
  bl_int_conv_size(graph, l, &h, &w);
  if (chance(rng, 2)) return;
  draw_pool_axis(rng, h, &l->pool_h, &l->pool_stride_h, &l->pool_pad_top, &l->pool_pad_bottom);
  draw_pool_axis(rng, w, &l->pool_w, &l->pool_stride_w, &l->pool_pad_left, &l->pool_pad_right);
}

// Output size of the convolution and pooling of a layer whose output tensor is being made.
static void size_output(const bl_int_graph *graph, const bl_int_layer *l, bl_int_tensor *out) {
  uint32_t h, w;
  bl_int_conv_size(graph, l, &h, &w);
  out->h = (h + l->pool_pad_top + l->pool_pad_bottom - l->pool_h) / l->pool_stride_h + 1;
  out->w = (w + l->pool_pad_left + l->pool_pad_right - l->pool_w) / l->pool_stride_w + 1;
}

static bool draw_weights(bl_rng *rng, bl_arena *arena, const bl_int_tensor *in,
                         const bl_int_tensor *out, bl_int_layer *l) {
  size_t each = (size_t)l->kernel_h * l->kernel_w * (in->c / l->groups), count = each * out->c;
  l->weights = bl_arena_alloc(arena, count, 1);
  if (l->weights == NULL) return false;
  bool narrow = l->weight_format.kind == BL_FORMAT_S && chance(rng, 6); // planes that are absent
  bool even = l->weight_format.kind == BL_FORMAT_S && chance(rng, 6);
  for (size_t i = 0; i < count; i++) {
    int32_t w = random_value(rng, l->weight_format);
    if (narrow) w = w > 0;
    if (even) w = w / 4 * 4;
    l->weights[i] = (int8_t)w;
  }
  return true;
}

// Constants under which the outputs spread over their format.
static bool draw_requant(bl_rng *rng, bl_arena *arena, const bl_int_tensor *in,
                         const bl_int_tensor *out, bl_int_layer *l) {
  l->mult = bl_arena_alloc(arena, out->c, sizeof *l->mult);
  l->bias = bl_arena_alloc(arena, out->c, sizeof *l->bias);
  l->shift = bl_arena_alloc(arena, out->c, sizeof *l->shift);
  l->out_scale = bl_arena_alloc(arena, out->c, sizeof *l->out_scale);
  l->out_bias = bl_arena_alloc(arena, out->c, sizeof *l->out_bias);
  if (l->mult == NULL || l->bias == NULL || l->shift == NULL || l->out_scale == NULL ||
      l->out_bias == NULL)
    return false;
  double k = (double)l->kernel_h * l->kernel_w * (in->c / l->groups);
  double acc = sqrt(k) * 0.4 * bl_format_max(in->format) * bl_format_max(l->weight_format) + 1;
  double range = out->format.kind == BL_FORMAT_ACC ? 256 : bl_format_max(out->format);
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

static void draw_clamp(bl_rng *rng, bl_int_tensor *out, bl_int_layer *l) {
  l->lo = bl_format_min(out->format);
  l->hi = bl_format_max(out->format);
  if (out->format.kind == BL_FORMAT_ACC || out->format.kind == BL_FORMAT_B1) return;
  if (chance(rng, 3)) out->zero_point = random_value(rng, out->format);
  if (chance(rng, 4)) l->lo += (l->hi - l->lo) / 4;
  if (chance(rng, 4)) l->hi -= (l->hi - l->lo) / 4;
}

static uint32_t draw_channels(bl_rng *rng, uint32_t groups) {
  uint32_t most = chance(rng, 3) ? 70 : 20;
  uint32_t c = bl_rng_range(rng, 1, most);
  return groups == 0 ? c : (c + groups - 1) / groups * groups;
}

typedef struct {
  bl_format weights, output;
  bool last;           // may give accumulators
  bool big;            // more output channels than a memory holds
  uint32_t cols, rows; // of the configuration: array columns, parameter rows
} draw;

static void draw_groups(bl_rng *rng, const draw *d, const bl_int_tensor *in, bl_int_tensor *out,
                        bl_int_layer *l) {
  l->groups = 1;
  out->c = draw_channels(rng, 0);
  if (d->big) {
    out->c = d->cols * d->rows + bl_rng_range(rng, 1, 40);
  } else if (chance(rng, 4)) { // depthwise, perhaps with a multiplier
    l->groups = in->c;
    out->c = in->c * bl_rng_range(rng, 1, in->c < 30 ? 2 : 1);
  } else if (chance(rng, 3)) {
    uint32_t g = bl_rng_range(rng, 2, 4);
    if (in->c % g == 0) {
      l->groups = g;
      out->c = draw_channels(rng, g);
    }
  }
}

// Fills layer `index` and its output tensor index + 1; its input tensor is complete.
static bool add_layer(bl_rng *rng, bl_int_graph *graph, uint32_t index, uint32_t input,
                      const draw *d) {
  bl_int_layer *l = &graph->layers[index];
  bl_int_tensor *in = &graph->tensors[input], *out = &graph->tensors[index + 1];
  char name[16];
  int length = snprintf(name, sizeof name, "layer%u", index);
  l->name = bl_arena_strndup(graph->arena, name, (size_t)length);
  out->name = l->name;
  l->input = input;
  l->output = index + 1;
  out->format = d->output;
  out->scale = 1;
  l->weight_format = d->weights;
  draw_window(rng, in, l);
  draw_groups(rng, d, in, out, l);
  draw_pool(rng, graph, l);
  if (d->last && l->pool_h * l->pool_w * l->pool_stride_h * l->pool_stride_w == 1 && chance(rng, 2))
    out->format = (bl_format){BL_FORMAT_ACC, 32};
  size_output(graph, l, out);
  draw_clamp(rng, out, l);
  return draw_weights(rng, graph->arena, in, out, l) && draw_requant(rng, graph->arena, in, out, l);
}

// ---- Cases ----

static bool start(bl_random_case *made, uint32_t layers) {
  *made = (bl_random_case){0};
  bl_int_graph *g = &made->graph;
  g->arena = bl_arena_new(ARENA_BYTES);
  if (g->arena == NULL) return false;
  g->name = bl_arena_strndup(g->arena, "random", 6);
  g->tensors = bl_arena_alloc(g->arena, layers + 1, sizeof *g->tensors);
  g->layers = bl_arena_alloc(g->arena, layers, sizeof *g->layers);
  g->layer_count = layers;
  g->tensor_count = layers + 1;
  g->output = layers;
  return g->name != NULL && g->tensors != NULL && g->layers != NULL;
}

static void draw_input(bl_rng *rng, bl_format format, uint32_t size, bl_int_tensor *t) {
  t->h = bl_rng_range(rng, 1, size);
  t->w = bl_rng_range(rng, 1, size);
  t->c = chance(rng, 4) ? bl_rng_range(rng, 1, 4) : draw_channels(rng, 0);
  t->format = format;
  t->scale = 1;
}

static bool draw_images(bl_rng *rng, bl_random_case *made) {
  const bl_int_tensor *t = &made->graph.tensors[0];
  made->images = chance(rng, 2) ? 1 : bl_rng_range(rng, 2, 5);
  size_t count = bl_int_elements(t) * made->images;
  made->inputs = bl_arena_alloc(made->graph.arena, count, sizeof *made->inputs);
  for (size_t i = 0; made->inputs != NULL && i < count; i++)
    made->inputs[i] = random_value(rng, t->format);
  return made->inputs != NULL;
}

bool bl_random_layer(uint64_t seed, uint32_t number, uint32_t attempt, bl_random_case *made) {
  bl_rng rng = {seed * 0x2545F4914F6CDD1Du + number * 1000003u + attempt * 7919u};
  if (!start(made, 1)) return false;
  uint32_t pair = number % (ACT_FORMATS * WEIGHT_FORMATS);
  made->config = &BL_CONFIGS[number / (ACT_FORMATS * WEIGHT_FORMATS) % BL_CONFIG_COUNT];
  draw d = {.weights = weight_format(pair % WEIGHT_FORMATS),
            .output = act_format(bl_rng_range(&rng, 0, ACT_FORMATS - 1)),
            .last = true,
            .big = chance(&rng, 16),
            .cols = made->config->cols,
            .rows = made->config->param_depth};
  bl_int_tensor *in = &made->graph.tensors[0];
  draw_input(&rng, act_format(pair / WEIGHT_FORMATS), d.big ? 2 : 11, in);
  return add_layer(&rng, &made->graph, 0, 0, &d) && draw_images(&rng, made);
}

bool bl_random_network(uint64_t seed, uint32_t number, uint32_t attempt, bl_random_case *made) {
  bl_rng rng = {seed * 0x9FB21C651E98DF25u + number * 1000033u + attempt * 7907u};
  uint32_t layers = bl_rng_range(&rng, 2, MAX_LAYERS);
  if (!start(made, layers)) return false;
  made->config = &BL_CONFIGS[number % BL_CONFIG_COUNT];
  draw_input(&rng, act_format(bl_rng_range(&rng, 0, ACT_FORMATS - 1)), 12, &made->graph.tensors[0]);
  for (uint32_t i = 0; i < layers; i++) {
    draw d = {.weights = weight_format(bl_rng_range(&rng, 0, WEIGHT_FORMATS - 1)),
              .output = act_format(bl_rng_range(&rng, 0, ACT_FORMATS - 1)),
              .last = i + 1 == layers,
              .big = i > 0 && chance(&rng, 20) && bl_int_elements(&made->graph.tensors[i]) < 200,
              .cols = made->config->cols,
              .rows = made->config->param_depth};
    bool branch = i > 0 && chance(&rng, 8);
    uint32_t input = branch ? bl_rng_range(&rng, 0, i - 1) : i;
    if (!add_layer(&rng, &made->graph, i, input, &d)) return false;
  }
  return draw_images(&rng, made);
}

void bl_random_free(bl_random_case *made) {
  bl_arena_free(made->graph.arena);
  *made = (bl_random_case){0};
}

// ---- The table ----

static const struct {
  const char *name, *cells[BL_STRATA_CELLS];
} axes[BL_STRATA_AXES] = {
    {"configuration", {"tiny", "default", "wide"}},
    {"kernel", {"1x1", "square", "rectangular", "whole map"}},
    {"stride", {"1", "2", "3 or more", "uneven"}},
    {"dilation", {"1", "2", "3"}},
    {"padding", {"none", "even", "uneven"}},
    {"pooling", {"none", "tiling", "overlapping", "padded"}},
    {"groups", {"dense", "grouped", "depthwise"}},
    {"output", {"unsigned", "signed", "bipolar", "int32"}},
    {"pixel tiles", {"within a row", "across rows", "across images"}},
    {"input", {"direct", "windows", "in pieces"}},
    {"memories", {"resident", "streamed"}},
    {"runs of a layer", {"one", "several"}},
};

static uint32_t kernel_cell(const bl_int_layer *l, const bl_int_tensor *in) {
  if (l->kernel_h * l->kernel_w == 1) return 0;
  if (l->kernel_h == in->h && l->kernel_w == in->w) return 3;
  return l->kernel_h == l->kernel_w ? 1 : 2;
}

static uint32_t stride_cell(const bl_int_layer *l) {
  if (l->stride_h != l->stride_w) return 3;
  return l->stride_h > 3 ? 2 : l->stride_h - 1;
}

static uint32_t padding_cell(const bl_int_layer *l) {
  if ((l->pad_top | l->pad_bottom | l->pad_left | l->pad_right) == 0) return 0;
  return l->pad_top == l->pad_bottom && l->pad_left == l->pad_right ? 1 : 2;
}

static uint32_t pooling_cell(const bl_int_layer *l) {
  if (l->pool_h * l->pool_w == 1) return 0;
  if ((l->pool_pad_top | l->pool_pad_bottom | l->pool_pad_left | l->pool_pad_right) != 0) return 3;
  return l->pool_stride_h >= l->pool_h && l->pool_stride_w >= l->pool_w ? 1 : 2;
}

static uint32_t tile_cell(const bl_int_tensor *out, const bl_config *config, uint32_t images) {
  if (images > 1 && out->h * out->w % config->rows != 0) return 2;
  return out->h > 1 && out->w % config->rows != 0 ? 1 : 0;
}

static uint32_t output_cell(bl_format f) {
  return f.kind == BL_FORMAT_U ? 0 : f.kind == BL_FORMAT_S ? 1 : f.kind == BL_FORMAT_B1 ? 2 : 3;
}

static uint32_t input_cell(const bl_program *program, const bl_int_layer *l) {
  if (l->input != 0) return 0;
  if (program->input.chunk_rows > 0) return 2;
  return program->input.window_h * program->input.window_w > 1;
}

void bl_strata_count(bl_strata *strata, const bl_random_case *made, const bl_program *program) {
  for (uint32_t i = 0; i < made->graph.layer_count; i++) {
    const bl_int_layer *l = &made->graph.layers[i];
    const bl_int_tensor *in = &made->graph.tensors[l->input];
    const bl_int_tensor *out = &made->graph.tensors[l->output];
    uint32_t dilation = l->dilation_h > l->dilation_w ? l->dilation_h : l->dilation_w;
    const uint32_t cells[BL_STRATA_AXES] = {
        (uint32_t)(made->config - BL_CONFIGS),
        kernel_cell(l, in),
        stride_cell(l),
        dilation - 1,
        padding_cell(l),
        pooling_cell(l),
        l->groups == 1       ? 0
        : l->groups == in->c ? 2u
                             : 1u,
        output_cell(out->format),
        tile_cell(out, made->config, program->images),
        input_cell(program, l),
        program->figures.streamed_bytes > 0,
        program->layer_parts[i] > 1,
    };
    for (uint32_t a = 0; a < BL_STRATA_AXES; a++)
      strata->axes[a][cells[a]]++;
    uint32_t w = l->weight_format.kind == BL_FORMAT_B1 ? 0 : l->weight_format.bits - 1u;
    strata->precision[act_index(in->format)][w]++;
  }
}

uint32_t bl_strata_print(const bl_strata *strata) {
  uint32_t empty = 0;
  printf("activations");
  for (uint32_t w = 0; w < WEIGHT_FORMATS; w++)
    printf("%6s", bl_format_name(weight_format(w)));
  for (uint32_t a = 0; a < ACT_FORMATS; a++) {
    printf("\n%-11s", bl_format_name(act_format(a)));
    for (uint32_t w = 0; w < WEIGHT_FORMATS; w++) {
      printf("%6u", strata->precision[a][w]);
      empty += strata->precision[a][w] == 0;
    }
  }
  for (uint32_t a = 0; a < BL_STRATA_AXES; a++) {
    printf("\n%-14s", axes[a].name);
    for (uint32_t c = 0; c < BL_STRATA_CELLS && axes[a].cells[c] != NULL; c++) {
      printf(" %s %u;", axes[a].cells[c], strata->axes[a][c]);
      empty += strata->axes[a][c] == 0;
    }
  }
  printf("\nempty cells: %u\n", empty);
  return empty;
}
