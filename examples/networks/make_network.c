// SPDX-License-Identifier: Apache-2.0
// Writes the untrained networks of the examples as ONNX, for `bitloom train --fresh he`:
//   make_network NAME FILE.onnx
// Weights are 0. Data go in as they lie in the files, 0..255; the first node scales them. The
// binary kinds saturate between -1 and 1 (Courbariaux et al. 2016) where the others have a ReLU.
#include <stdio.h>
#include <string.h>

#include "host/onnx/onnx_export.h"

enum { MAX_VALUES = 256, MAX_NODES = 96, MAX_INPUTS = 5, MAX_PARTS = 48 };

typedef enum { END, CONV, POOL, DENSE, NORM, RELU, SATURATE, DROPOUT } kind;

typedef struct {
  kind what;
  int64_t size;   // output channels, or the window's side in POOL
  int64_t kernel; // of CONV: its side
  float ratio;    // of DROPOUT: the share that is left out
} part;

typedef struct {
  const char *name, *about;
  int64_t channels, side; // of the input
  part parts[MAX_PARTS];
} network;

#define RELU_DENSE(n)                                                                              \
  {DENSE, .size = (n)}, {                                                                          \
    .what = RELU                                                                                   \
  }
#define DROP_DENSE(n)                                                                              \
  {DENSE, .size = (n)}, {.what = RELU}, {                                                          \
    DROPOUT, .ratio = 0.5F                                                                         \
  }
#define SIGN_DENSE(n)                                                                              \
  {DENSE, .size = (n)}, {.what = NORM}, {                                                          \
    .what = SATURATE                                                                               \
  }
#define NORM_CONV(n)                                                                               \
  {CONV, .size = (n), .kernel = 3}, {.what = NORM}, {                                              \
    .what = RELU                                                                                   \
  }
#define SIGN_CONV(n, k)                                                                            \
  {CONV, .size = (n), .kernel = (k)}, {.what = NORM}, {                                            \
    .what = SATURATE                                                                               \
  }

static const network networks[] = {
    {"lenet-300-100",
     "LeCun et al. 1998, 266,610 weights and biases",
     1,
     28,
     {RELU_DENSE(300), RELU_DENSE(100), {DENSE, .size = 10}}},
    {"lenet-5",
     "Caffe's 20-50-500-10, 431,080 weights and biases",
     1,
     28,
     {{CONV, .size = 20, .kernel = 5},
      {POOL, .size = 2},
      {CONV, .size = 50, .kernel = 5},
      {POOL, .size = 2},
      RELU_DENSE(500),
      {DENSE, .size = 10}}},
    {"lenet-5-binary",
     "the same with batch norms, for 1 bit",
     1,
     28,
     {SIGN_CONV(20, 5),
      {POOL, .size = 2},
      SIGN_CONV(50, 5),
      {POOL, .size = 2},
      SIGN_DENSE(500),
      {DENSE, .size = 10},
      {.what = NORM}}},
    {"mlp-800",
     "two hidden layers of 800",
     1,
     28,
     {RELU_DENSE(800), RELU_DENSE(800), {DENSE, .size = 10}}},
    {"mlp-1200",
     "two hidden layers of 1,200 with dropout",
     1,
     28,
     {{DROPOUT, .ratio = 0.2F}, DROP_DENSE(1200), DROP_DENSE(1200), {DENSE, .size = 10}}},
    {"mlp-1024-binary",
     "three hidden layers of 1,024 with batch norms, for 1 bit",
     1,
     28,
     {SIGN_DENSE(1024), SIGN_DENSE(1024), SIGN_DENSE(1024), {DENSE, .size = 10}, {.what = NORM}}},
    {"cnv",
     "the VGG-like network of FINN (Umuroglu et al. 2017), with ReLU",
     3,
     32,
     {NORM_CONV(64),
      NORM_CONV(64),
      {POOL, .size = 2},
      NORM_CONV(128),
      NORM_CONV(128),
      {POOL, .size = 2},
      NORM_CONV(256),
      NORM_CONV(256),
      {DENSE, .size = 512},
      {.what = NORM},
      {.what = RELU},
      {DENSE, .size = 512},
      {.what = NORM},
      {.what = RELU},
      {DENSE, .size = 10}}},
    {"cnv-binary",
     "the same for 1 bit",
     3,
     32,
     {SIGN_CONV(64, 3),
      SIGN_CONV(64, 3),
      {POOL, .size = 2},
      SIGN_CONV(128, 3),
      SIGN_CONV(128, 3),
      {POOL, .size = 2},
      SIGN_CONV(256, 3),
      SIGN_CONV(256, 3),
      SIGN_DENSE(512),
      SIGN_DENSE(512),
      {DENSE, .size = 10},
      {.what = NORM}}},
};
enum { NETWORKS = sizeof networks / sizeof networks[0] };

typedef struct {
  bl_float_graph *graph;
  bl_arena *arena;
  int32_t value; // the last node's output
  bl_error *err;
} builder;

static bl_status no_memory(const builder *b) {
  return bl_fail(b->err, BL_ERR_MEMORY, "%s: no memory", b->graph->name);
}

static bl_status name_it(const builder *b, const char *prefix, uint32_t number, char **name) {
  char text[32];
  (void)snprintf(text, sizeof text, "%s_%u", prefix, (unsigned)number);
  *name = bl_arena_strndup(b->arena, text, strlen(text));
  return *name != NULL ? BL_OK : no_memory(b);
}

static bl_status add_value(const builder *b, const char *prefix, int32_t *index) {
  bl_float_graph *g = b->graph;
  if (g->value_count == MAX_VALUES)
    return bl_fail(b->err, BL_ERR_RANGE, "%s: too many values", g->name);
  *index = (int32_t)g->value_count++;
  bl_value *v = &g->values[*index];
  *v = (bl_value){.type = BL_TYPE_FLOAT, .element = ONNX_FLOAT};
  return name_it(b, prefix, (uint32_t)*index, &v->name);
}

static bl_status add_constant(const builder *b, const char *prefix, uint32_t rank,
                              const int64_t *dims, float fill, int32_t *index) {
  BL_TRY(add_value(b, prefix, index));
  bl_value *v = &b->graph->values[*index];
  BL_TRY(bl_value_shape(v, rank, dims, b->err));
  BL_TRY(bl_value_allocate(b->arena, v, b->err));
  for (size_t k = 0; k < v->count; k++)
    v->f[k] = fill;
  return BL_OK;
}

// A node on the last value and `count` constants, with at most two attributes.
static bl_status add_node(builder *b, bl_float_op op, const int32_t *constants, uint32_t count,
                          const bl_attribute *attributes, uint32_t attribute_count) {
  bl_float_graph *g = b->graph;
  if (g->node_count == MAX_NODES) return bl_fail(b->err, BL_ERR_RANGE, "%s: too long", g->name);
  bl_node *n = &g->nodes[g->node_count];
  *n = (bl_node){.op = op,
                 .inputs = bl_arena_alloc(b->arena, MAX_INPUTS, sizeof *n->inputs),
                 .outputs = bl_arena_alloc(b->arena, 1, sizeof *n->outputs),
                 .input_count = count + 1,
                 .output_count = 1,
                 .attributes = bl_arena_alloc(b->arena, attribute_count, sizeof *attributes),
                 .attribute_count = attribute_count};
  if (n->inputs == NULL || n->outputs == NULL || n->attributes == NULL) return no_memory(b);
  if (attribute_count > 0) memcpy(n->attributes, attributes, attribute_count * sizeof *attributes);
  BL_TRY(name_it(b, bl_float_op_name(op), g->node_count, &n->name));
  n->inputs[0] = b->value;
  for (uint32_t k = 0; k < count; k++)
    n->inputs[k + 1] = constants[k];
  BL_TRY(add_value(b, "value", &n->outputs[0]));
  BL_TRY(bl_float_infer(g, n, b->err));
  g->node_count++;
  b->value = n->outputs[0];
  return BL_OK;
}

// Attributes of two integers; AttributeProto.INTS.
static bl_attribute pair_of(const builder *b, const char *name, int64_t value) {
  bl_attribute a = {.name = bl_arena_strndup(b->arena, name, strlen(name)),
                    .type = 7,
                    .ints = bl_arena_alloc(b->arena, 2, sizeof *a.ints),
                    .int_count = 2,
                    .tensor = -1};
  if (a.ints != NULL) a.ints[0] = a.ints[1] = value;
  return a;
}

static bl_status add_conv(builder *b, const part *p) {
  const int64_t in = b->graph->values[b->value].dims[1];
  const int64_t dims[4] = {p->size, in, p->kernel, p->kernel};
  const bl_attribute kernel = pair_of(b, "kernel_shape", p->kernel);
  int32_t constants[2];
  if (kernel.name == NULL || kernel.ints == NULL) return no_memory(b);
  BL_TRY(add_constant(b, "weight", 4, dims, 0, &constants[0]));
  BL_TRY(add_constant(b, "bias", 1, dims, 0, &constants[1]));
  return add_node(b, BL_FLOAT_CONV, constants, 2, &kernel, 1);
}

static bl_status add_pool(builder *b, const part *p) {
  const bl_attribute window[2] = {pair_of(b, "kernel_shape", p->size),
                                  pair_of(b, "strides", p->size)};
  for (int k = 0; k < 2; k++)
    if (window[k].name == NULL || window[k].ints == NULL) return no_memory(b);
  return add_node(b, BL_FLOAT_MAX_POOL, NULL, 0, window, 2);
}

static bl_status add_dense(builder *b, const part *p) {
  if (b->graph->values[b->value].rank > 2) BL_TRY(add_node(b, BL_FLOAT_FLATTEN, NULL, 0, NULL, 0));
  const int64_t dims[2] = {p->size, b->graph->values[b->value].dims[1]};
  const bl_attribute transposed = {
      .name = bl_arena_strndup(b->arena, "transB", 6), .type = 2, .i = 1, .tensor = -1};
  int32_t constants[2];
  if (transposed.name == NULL) return no_memory(b);
  BL_TRY(add_constant(b, "weight", 2, dims, 0, &constants[0]));
  BL_TRY(add_constant(b, "bias", 1, dims, 0, &constants[1]));
  return add_node(b, BL_FLOAT_GEMM, constants, 2, &transposed, 1);
}

static bl_status add_norm(builder *b) {
  static const char *const names[4] = {"gamma", "beta", "mean", "variance"};
  static const float fills[4] = {1, 0, 0, 1};
  const int64_t channels = b->graph->values[b->value].dims[1];
  int32_t constants[4];
  for (int k = 0; k < 4; k++)
    BL_TRY(add_constant(b, names[k], 1, &channels, fills[k], &constants[k]));
  return add_node(b, BL_FLOAT_BATCH_NORM, constants, 4, NULL, 0);
}

static bl_status add_saturation(builder *b) {
  int32_t ends[2];
  BL_TRY(add_constant(b, "low", 0, NULL, -1, &ends[0]));
  BL_TRY(add_constant(b, "high", 0, NULL, 1, &ends[1]));
  return add_node(b, BL_FLOAT_CLIP, ends, 2, NULL, 0);
}

static bl_status add_dropout(builder *b, const part *p) {
  int32_t ratio;
  BL_TRY(add_constant(b, "ratio", 0, NULL, p->ratio, &ratio));
  return add_node(b, BL_FLOAT_DROPOUT, &ratio, 1, NULL, 0);
}

static bl_status add_part(builder *b, const part *p) {
  switch (p->what) {
  case CONV:
    return add_conv(b, p);
  case POOL:
    return add_pool(b, p);
  case DENSE:
    return add_dense(b, p);
  case NORM:
    return add_norm(b);
  case RELU:
    return add_node(b, BL_FLOAT_RELU, NULL, 0, NULL, 0);
  case SATURATE:
    return add_saturation(b);
  default:
    return add_dropout(b, p);
  }
}

static bl_status build(builder *b, const network *n) {
  bl_float_graph *g = b->graph;
  const int64_t dims[4] = {1, n->channels, n->side, n->side};
  int32_t scale;
  g->values = bl_arena_alloc(b->arena, MAX_VALUES, sizeof *g->values);
  g->nodes = bl_arena_alloc(b->arena, MAX_NODES, sizeof *g->nodes);
  g->value_room = MAX_VALUES;
  if (g->values == NULL || g->nodes == NULL) return no_memory(b);
  BL_TRY(add_value(b, "image", &b->value));
  BL_TRY(bl_value_shape(&g->values[b->value], 4, dims, b->err));
  int32_t input = b->value;
  BL_TRY(add_constant(b, "scale", 0, NULL, 1.0F / 128, &scale));
  BL_TRY(add_node(b, BL_FLOAT_MUL, &scale, 1, NULL, 0));
  for (const part *p = n->parts; p->what != END; p++)
    BL_TRY(add_part(b, p));
  g->inputs = bl_arena_alloc(b->arena, 1, sizeof *g->inputs);
  g->outputs = bl_arena_alloc(b->arena, 1, sizeof *g->outputs);
  if (g->inputs == NULL || g->outputs == NULL) return no_memory(b);
  g->inputs[0] = input;
  g->outputs[0] = b->value;
  g->input_count = g->output_count = 1;
  return BL_OK;
}

static bl_status write_network(const network *n, const char *path, bl_error *err) {
  bl_arena *arena = bl_arena_new((size_t)64 << 20);
  if (arena == NULL) return bl_fail(err, BL_ERR_MEMORY, "%s: no memory", n->name);
  char *name = bl_arena_strndup(arena, n->name, strlen(n->name));
  bl_float_graph graph = {.arena = arena, .name = name, .opset = 13};
  builder b = {.graph = &graph, .arena = arena, .err = err};
  bl_status status = name == NULL ? no_memory(&b) : build(&b, n);
  if (status == BL_OK)
    status = bl_onnx_export(path, &graph, &(bl_onnx_export_options){.free_batch = true}, err);
  bl_arena_free(arena);
  return status;
}

int main(int argc, char **argv) {
  bl_error err = {0};
  for (int k = 0; argc == 3 && k < NETWORKS; k++) {
    if (strcmp(networks[k].name, argv[1]) != 0) continue;
    if (write_network(&networks[k], argv[2], &err) == BL_OK) return 0;
    (void)fprintf(stderr, "make_network: %s\n", err.text);
    return 1;
  }
  (void)fprintf(stderr, "Usage: make_network NAME FILE.onnx, with one of these names:\n");
  for (int k = 0; k < NETWORKS; k++)
    (void)fprintf(stderr, "  %-18s %s\n", networks[k].name, networks[k].about);
  return 2;
}
