// SPDX-License-Identifier: Apache-2.0
#include "examples/digits/write_onnx.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/arena.h"
#include "host/base/file.h"
#include "onnx.pb-c.h"

enum { MAX_NODES = 32, MAX_TENSORS = 32, SIDE = 8 };

typedef struct {
  bl_arena *arena;
  Onnx__NodeProto *nodes[MAX_NODES];
  Onnx__TensorProto *tensors[MAX_TENSORS];
  size_t node_count, tensor_count;
  char *value; // the last node's output
} writer;

static void *take(writer *w, size_t count, size_t size) {
  void *memory = bl_arena_alloc(w->arena, count, size);
  if (memory == NULL) abort(); // a few kilobytes: nothing sensible is left to do
  return memory;
}

static char *text(writer *w, const char *prefix, size_t number) {
  char *name = take(w, 1, 32);
  (void)snprintf(name, 32, "%s%zu", prefix, number);
  return name;
}

static char *add_tensor(writer *w, const char *name, const int64_t *dims, size_t rank,
                        const float *data) {
  Onnx__TensorProto *t = take(w, 1, sizeof *t);
  onnx__tensor_proto__init(t);
  size_t count = 1;
  t->n_dims = rank;
  t->dims = take(w, rank + 1, sizeof *t->dims);
  for (size_t i = 0; i < rank; i++) {
    t->dims[i] = dims[i];
    count *= (size_t)dims[i];
  }
  t->name = text(w, name, w->tensor_count);
  t->has_data_type = 1;
  t->data_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
  t->has_raw_data = 1;
  t->raw_data.len = count * sizeof *data;
  t->raw_data.data = take(w, count, sizeof *data);
  memcpy(t->raw_data.data, data, t->raw_data.len);
  w->tensors[w->tensor_count++] = t;
  return t->name;
}

static Onnx__NodeProto *add_node(writer *w, const char *op, char *second, char *third) {
  Onnx__NodeProto *n = take(w, 1, sizeof *n);
  onnx__node_proto__init(n);
  n->op_type = bl_arena_strndup(w->arena, op, strlen(op));
  n->name = text(w, op, w->node_count);
  n->input = take(w, 3, sizeof *n->input);
  n->input[n->n_input++] = w->value;
  if (second != NULL) n->input[n->n_input++] = second;
  if (third != NULL) n->input[n->n_input++] = third;
  n->output = take(w, 1, sizeof *n->output);
  n->output[n->n_output++] = w->value = text(w, "value", w->node_count);
  n->attribute = take(w, 4, sizeof *n->attribute);
  w->nodes[w->node_count++] = n;
  return n;
}

static Onnx__AttributeProto *add_attribute(writer *w, Onnx__NodeProto *n, const char *name,
                                           Onnx__AttributeProto__AttributeType type) {
  Onnx__AttributeProto *a = take(w, 1, sizeof *a);
  onnx__attribute_proto__init(a);
  a->name = bl_arena_strndup(w->arena, name, strlen(name));
  a->has_type = 1;
  a->type = type;
  n->attribute[n->n_attribute++] = a;
  return a;
}

static void add_ints(writer *w, Onnx__NodeProto *n, const char *name, int value, size_t count) {
  Onnx__AttributeProto *a = add_attribute(w, n, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS);
  a->n_ints = count;
  a->ints = take(w, count, sizeof *a->ints);
  for (size_t i = 0; i < count; i++)
    a->ints[i] = value;
}

// [out][k][k][in] to [out][in][k][k].
static float *planar_weights(writer *w, const digits_layer *l) {
  size_t taps = (size_t)l->k * (size_t)l->k, in = (size_t)l->in;
  float *planar = take(w, (size_t)l->out * taps * in, sizeof *planar);
  for (size_t n = 0; n < (size_t)l->out; n++)
    for (size_t k = 0; k < taps; k++)
      for (size_t c = 0; c < in; c++)
        planar[(n * in + c) * taps + k] = l->w[(n * taps + k) * in + c];
  return planar;
}

static void add_layer(writer *w, const digits_layer *l, bool last) {
  const int64_t conv[4] = {l->out, l->in, l->k, l->k}, gemm[2] = {l->out, l->in * l->k * l->k};
  char *weights = add_tensor(w, "weight", last ? gemm : conv, last ? 2 : 4, planar_weights(w, l));
  const int64_t channels[1] = {l->out};
  char *bias = add_tensor(w, "bias", channels, 1, l->b);
  if (last) {
    (void)add_node(w, "Flatten", NULL, NULL);
    Onnx__NodeProto *n = add_node(w, "Gemm", weights, bias);
    Onnx__AttributeProto *a =
        add_attribute(w, n, "transB", ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);
    a->has_i = 1;
    a->i = 1;
    return;
  }
  Onnx__NodeProto *n = add_node(w, "Conv", weights, bias);
  add_ints(w, n, "kernel_shape", l->k, 2);
  add_ints(w, n, "pads", l->pad, 4);
  if (l->relu) (void)add_node(w, "Relu", NULL, NULL);
  if (!l->pool) return;
  n = add_node(w, "MaxPool", NULL, NULL);
  add_ints(w, n, "kernel_shape", 2, 2);
  add_ints(w, n, "strides", 2, 2);
}

// A graph input or output: a free batch, then `rank` dimensions.
static Onnx__ValueInfoProto *value_info(writer *w, char *name, const int64_t *dims, size_t rank) {
  Onnx__ValueInfoProto *v = take(w, 1, sizeof *v);
  onnx__value_info_proto__init(v);
  v->name = name;
  v->type = take(w, 1, sizeof *v->type);
  onnx__type_proto__init(v->type);
  v->type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
  Onnx__TypeProto__Tensor *t = v->type->tensor_type = take(w, 1, sizeof *t);
  onnx__type_proto__tensor__init(t);
  t->has_elem_type = 1;
  t->elem_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
  t->shape = take(w, 1, sizeof *t->shape);
  onnx__tensor_shape_proto__init(t->shape);
  t->shape->dim = take(w, rank + 1, sizeof *t->shape->dim);
  for (size_t i = 0; i <= rank; i++) {
    Onnx__TensorShapeProto__Dimension *d = take(w, 1, sizeof *d);
    onnx__tensor_shape_proto__dimension__init(d);
    d->value_case = i == 0 ? ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM
                           : ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
    if (i == 0)
      d->dim_param = bl_arena_strndup(w->arena, "N", 1);
    else
      d->dim_value = dims[i - 1];
    t->shape->dim[t->shape->n_dim++] = d;
  }
  return v;
}

static bl_status save(writer *w, const char *path, Onnx__GraphProto *graph, bl_error *err) {
  Onnx__OperatorSetIdProto opset = ONNX__OPERATOR_SET_ID_PROTO__INIT;
  opset.domain = text(w, "", 0);
  opset.domain[0] = '\0';
  opset.has_version = 1;
  opset.version = 13;
  Onnx__OperatorSetIdProto *opsets[1] = {&opset};
  Onnx__ModelProto model = ONNX__MODEL_PROTO__INIT;
  model.has_ir_version = 1;
  model.ir_version = 7;
  model.producer_name = bl_arena_strndup(w->arena, "bitloom examples/digits", 23);
  model.n_opset_import = 1;
  model.opset_import = opsets;
  model.graph = graph;
  size_t size = onnx__model_proto__get_packed_size(&model);
  uint8_t *bytes = take(w, size, 1);
  (void)onnx__model_proto__pack(&model, bytes);
  return bl_file_write(path, bytes, size, err);
}

static bl_status write_graph(writer *w, const char *path, const digits_layer *layers, int count,
                             bl_error *err) {
  const float sixteenth = 1.0f / 16;
  const int64_t image[3] = {1, SIDE, SIDE}, logits[1] = {layers[count - 1].out};
  w->value = bl_arena_strndup(w->arena, "digit", 5);
  Onnx__ValueInfoProto *input = value_info(w, w->value, image, 3);
  (void)add_node(w, "Mul", add_tensor(w, "sixteenth", NULL, 0, &sixteenth), NULL);
  for (int l = 0; l < count; l++)
    add_layer(w, &layers[l], l == count - 1);
  char *name = bl_arena_strndup(w->arena, "logits", 6);
  w->nodes[w->node_count - 1]->output[0] = name;
  Onnx__ValueInfoProto *output = value_info(w, name, logits, 1);
  Onnx__GraphProto graph = ONNX__GRAPH_PROTO__INIT;
  graph.name = bl_arena_strndup(w->arena, "digits", 6);
  graph.n_node = w->node_count;
  graph.node = w->nodes;
  graph.n_initializer = w->tensor_count;
  graph.initializer = w->tensors;
  graph.n_input = graph.n_output = 1;
  graph.input = &input;
  graph.output = &output;
  return save(w, path, &graph, err);
}

bl_status digits_write_onnx(const char *path, const digits_layer *layers, int count,
                            bl_error *err) {
  writer w = {.arena = bl_arena_new(16 << 20)};
  if (w.arena == NULL) return bl_fail(err, BL_ERR_MEMORY, "%s: no memory", path);
  bl_status status = write_graph(&w, path, layers, count, err);
  bl_arena_free(w.arena);
  return status;
}
