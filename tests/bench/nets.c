// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/nets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/run/input.h"

enum {
  DENSE_LAYERS = 4,
  ARENA_BYTES = 1 << 26,
  CNV_LAYERS = 9,
  CALIBRATION = 12,            // random images
  MOST_ELEMENTS = 30 * 30 * 64 // of a tensor of CNV before pooling
};

typedef struct {
  uint64_t state;
} random_state;

static uint64_t draw(random_state *r) { // xorshift64*
  r->state ^= r->state >> 12;
  r->state ^= r->state << 25;
  r->state ^= r->state >> 27;
  return r->state * 0x2545F4914F6CDD1Du >> 16;
}

static random_state seeded(uint64_t seed) {
  return (random_state){seed * 0x9E3779B97F4A7C15u + 0x2545F4914F6CDD1Du};
}

static int32_t draw_between(random_state *r, int32_t lo, int32_t hi) {
  return lo + (int32_t)(draw(r) % (uint64_t)(hi - lo + 1));
}

static bl_int_graph *new_graph(const char *name, uint32_t layers) {
  bl_arena *arena = bl_arena_new(ARENA_BYTES);
  bl_int_graph *graph = arena == NULL ? NULL : bl_arena_alloc(arena, 1, sizeof *graph);
  if (graph == NULL) {
    bl_arena_free(arena);
    return NULL;
  }
  graph->arena = arena;
  graph->name = bl_arena_strndup(arena, name, strlen(name));
  graph->tensors = bl_arena_alloc(arena, layers + 1, sizeof *graph->tensors);
  graph->layers = bl_arena_alloc(arena, layers, sizeof *graph->layers);
  graph->tensor_count = 1;
  if (graph->name != NULL && graph->tensors != NULL && graph->layers != NULL) return graph;
  bl_arena_free(arena);
  return NULL;
}

typedef struct {
  const char *name;
  uint32_t channels, kernel, pad, pool;
  bl_format weights, output;
} layer_plan;

// Takes the layer's arrays; weights are left at 0.
static bool take_arrays(bl_arena *arena, uint32_t c, size_t weights, bl_int_layer *l) {
  l->weights = bl_arena_alloc(arena, weights, 1);
  l->mult = bl_arena_alloc(arena, c, sizeof *l->mult);
  l->bias = bl_arena_alloc(arena, c, sizeof *l->bias);
  l->shift = bl_arena_alloc(arena, c, sizeof *l->shift);
  l->out_scale = bl_arena_alloc(arena, c, sizeof *l->out_scale);
  l->out_bias = bl_arena_alloc(arena, c, sizeof *l->out_bias);
  return l->weights != NULL && l->mult != NULL && l->bias != NULL && l->shift != NULL &&
         l->out_scale != NULL && l->out_bias != NULL;
}

// A layer behind the last one, with random weights; its requantisation is the caller's.
static bl_int_layer *add_layer(bl_int_graph *graph, const layer_plan *plan, random_state *random) {
  bl_int_layer *l = &graph->layers[graph->layer_count++];
  const bl_int_tensor *in = &graph->tensors[graph->tensor_count - 1];
  bl_int_tensor *out = &graph->tensors[graph->tensor_count];
  size_t taps = (size_t)plan->kernel * plan->kernel * in->c, count = taps * plan->channels;
  *l = (bl_int_layer){.name = bl_arena_strndup(graph->arena, plan->name, strlen(plan->name)),
                      .input = graph->tensor_count - 1,
                      .output = graph->tensor_count,
                      .groups = 1,
                      .kernel_h = plan->kernel,
                      .kernel_w = plan->kernel,
                      .stride_h = 1,
                      .stride_w = 1,
                      .dilation_h = 1,
                      .dilation_w = 1,
                      .pad_top = plan->pad,
                      .pad_left = plan->pad,
                      .pad_bottom = plan->pad,
                      .pad_right = plan->pad,
                      .pad_value = in->format.kind == BL_FORMAT_B ? -1 : 0,
                      .weight_format = plan->weights,
                      .lo = bl_format_min(plan->output),
                      .hi = bl_format_max(plan->output),
                      .pool_h = plan->pool,
                      .pool_w = plan->pool,
                      .pool_stride_h = plan->pool,
                      .pool_stride_w = plan->pool};
  uint32_t side = in->h + 2 * plan->pad - plan->kernel + 1;
  *out = (bl_int_tensor){.name = l->name,
                         .h = side / plan->pool,
                         .w = side / plan->pool,
                         .c = plan->channels,
                         .format = plan->output,
                         .scale = 1};
  graph->output = graph->tensor_count++;
  if (l->name == NULL || !take_arrays(graph->arena, plan->channels, count, l)) return NULL;
  int32_t most = bl_format_max(plan->weights);
  for (size_t i = 0; i < count; i++)
    l->weights[i] = (int8_t)(plan->weights.kind == BL_FORMAT_B ? (draw(random) & 1 ? 1 : -1)
                                                               : draw_between(random, -most, most));
  for (uint32_t n = 0; n < plan->channels; n++) {
    l->mult[n] = draw_between(random, 1 << 15, (1 << 16) - 1);
    l->shift[n] = 15;
    l->out_scale[n] = 1;
  }
  return l;
}

// ---- CNV ----

static const layer_plan cnv_plan[CNV_LAYERS] = {
    {"conv1", 64, 3, 0, 1, {BL_FORMAT_B, 1}, {BL_FORMAT_B, 1}},
    {"conv2", 64, 3, 0, 2, {BL_FORMAT_B, 1}, {BL_FORMAT_B, 1}},
    {"conv3", 128, 3, 0, 1, {BL_FORMAT_B, 1}, {BL_FORMAT_B, 1}},
    {"conv4", 128, 3, 0, 2, {BL_FORMAT_B, 1}, {BL_FORMAT_B, 1}},
    {"conv5", 256, 3, 0, 1, {BL_FORMAT_B, 1}, {BL_FORMAT_B, 1}},
    {"conv6", 256, 3, 0, 1, {BL_FORMAT_B, 1}, {BL_FORMAT_B, 1}},
    {"fc1", 512, 1, 0, 1, {BL_FORMAT_B, 1}, {BL_FORMAT_B, 1}},
    {"fc2", 512, 1, 0, 1, {BL_FORMAT_B, 1}, {BL_FORMAT_B, 1}},
    {"fc3", 10, 1, 0, 1, {BL_FORMAT_B, 1}, {BL_FORMAT_ACC, 32}},
};

// What channel n of a layer sees on the calibration images: the largest sum of each pooling window.
typedef struct {
  const bl_int_graph *graph;
  const bl_int_layer *layer;
  const int32_t *in;  // [CALIBRATION] maps of the layer's input
  uint32_t positions; // of one image, after pooling
} view;

static int32_t sum_at(const view *v, const int32_t *map, uint32_t n, uint32_t y, uint32_t x) {
  const bl_int_tensor *in = &v->graph->tensors[v->layer->input];
  uint32_t kernel = v->layer->kernel_h, row = kernel * in->c;
  int32_t sum = 0;
  for (uint32_t ky = 0; ky < kernel; ky++) {
    const int32_t *a = map + ((size_t)(y + ky) * in->w + x) * in->c;
    const int8_t *w = v->layer->weights + ((size_t)n * kernel + ky) * row;
    for (uint32_t i = 0; i < row; i++)
      sum += a[i] * w[i];
  }
  return sum;
}

static int32_t largest_at(const view *v, const int32_t *map, uint32_t n, uint32_t position) {
  const bl_int_tensor *out = &v->graph->tensors[v->layer->output];
  uint32_t pool = v->layer->pool_h, y = position / out->w * pool, x = position % out->w * pool;
  int32_t most = INT32_MIN;
  for (uint32_t i = 0; i < pool * pool; i++) {
    int32_t sum = sum_at(v, map, n, y + i / pool, x + i % pool);
    if (sum > most) most = sum;
  }
  return most;
}

static int ascending(const void *a, const void *b) {
  int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
  return (x > y) - (x < y);
}

// Channel n's batch norm: its sign changes where 40 to 60 % of what the channel sees lies above.
// Writes the channel's outputs.
static void draw_norm(const view *v, uint32_t n, random_state *random, int32_t *seen,
                      int32_t *sorted, int32_t *out) {
  const bl_int_tensor *in = &v->graph->tensors[v->layer->input];
  const bl_int_tensor *to = &v->graph->tensors[v->layer->output];
  size_t count = (size_t)CALIBRATION * v->positions;
  for (size_t i = 0; i < count; i++)
    seen[i] = largest_at(v, v->in + i / v->positions * bl_int_elements(in), n,
                         (uint32_t)(i % v->positions));
  memcpy(sorted, seen, count * sizeof *seen);
  qsort(sorted, count, sizeof *sorted, ascending);
  int32_t threshold = sorted[count * (uint32_t)draw_between(random, 44, 60) / 100];
  v->layer->bias[n] = -(int64_t)threshold * v->layer->mult[n];
  for (size_t i = 0; i < count; i++)
    out[i * to->c + n] = seen[i] >= threshold ? 1 : -1;
}

// Draws the norm of the newest layer and turns `maps` from its input into its output.
static bool calibrate(const bl_int_graph *graph, random_state *random, int32_t *maps) {
  const bl_int_layer *layer = &graph->layers[graph->layer_count - 1];
  const bl_int_tensor *out = &graph->tensors[layer->output];
  view v = {graph, layer, maps, out->h * out->w};
  size_t count = (size_t)CALIBRATION * v.positions;
  int32_t *seen = calloc(2 * count, sizeof *seen), *next = calloc(count * out->c, sizeof *next);
  bool ok = seen != NULL && next != NULL;
  for (uint32_t n = 0; n < out->c && ok; n++)
    draw_norm(&v, n, random, seen, seen + count, next);
  if (ok) memcpy(maps, next, count * out->c * sizeof *next);
  free(seen);
  free(next);
  return ok;
}

static bool build_cnv(bl_int_graph *graph, random_state *random, int32_t *maps) {
  bl_int_tensor *in = &graph->tensors[0];
  *in = (bl_int_tensor){.h = 32, .w = 32, .c = 3, .format = {BL_FORMAT_U, 8}, .scale = 1.0 / 255};
  in->name = bl_arena_strndup(graph->arena, "image", 5);
  if (in->name == NULL) return false;
  uint64_t images = draw(random);
  for (uint32_t i = 0; i < CALIBRATION; i++)
    bl_input_random(graph, images, i, maps + i * bl_int_elements(in));
  for (uint32_t l = 0; l < CNV_LAYERS; l++) {
    if (add_layer(graph, &cnv_plan[l], random) == NULL) return false;
    if (l + 1 < CNV_LAYERS && !calibrate(graph, random, maps)) return false;
  }
  return true;
}

bl_int_graph *bl_net_cnv(uint64_t seed) {
  random_state random = seeded(seed);
  bl_int_graph *graph = new_graph("CNV-W1A1", CNV_LAYERS);
  int32_t *maps = calloc((size_t)CALIBRATION * MOST_ELEMENTS, sizeof *maps);
  bool ok = graph != NULL && maps != NULL && build_cnv(graph, &random, maps);
  free(maps);
  if (ok || graph == NULL) return graph;
  bl_arena_free(graph->arena);
  return NULL;
}

// ---- Dense layers ----

bl_int_graph *bl_net_dense(uint32_t channels, uint32_t side, uint8_t bits, uint64_t seed) {
  random_state random = seeded(seed);
  char name[48];
  (void)snprintf(name, sizeof name, "dense %u", (unsigned)channels);
  bl_int_graph *graph = new_graph(name, DENSE_LAYERS);
  if (graph == NULL) return NULL;
  bl_format activations = {bits == 1 ? BL_FORMAT_B : BL_FORMAT_U, bits};
  bl_format weights = {bits == 1 ? BL_FORMAT_B : BL_FORMAT_S, bits};
  graph->tensors[0] = (bl_int_tensor){
      .name = graph->name, .h = side, .w = side, .c = channels, .format = activations, .scale = 1};
  layer_plan plan = {"conv", channels, 3, 1, 1, weights, activations};
  for (uint32_t l = 0; l < DENSE_LAYERS; l++) {
    bl_int_layer *layer = add_layer(graph, &plan, &random);
    if (layer == NULL) {
      bl_arena_free(graph->arena);
      return NULL;
    }
    for (uint32_t n = 0; n < channels; n++) { // outputs spread over the format
      layer->shift[n] = (uint8_t)(15 + (bits == 1 ? 0 : bits + 2));
      layer->bias[n] = draw_between(&random, 0, 1 << (14 + 2 * bits));
    }
  }
  return graph;
}
