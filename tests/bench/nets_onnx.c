// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/nets_onnx.h"

#include <stdio.h>
#include <string.h>

#include "host/base/file.h"
#include "onnx.pb-c.h"

enum { ARENA_BYTES = 1 << 26, MOST = 96, MOST_INPUTS = 5 };

typedef struct {
  bl_arena *arena;
  bool failed; // memory was short
  Onnx__NodeProto *nodes[MOST];
  Onnx__TensorProto *tensors[MOST];
  size_t node_count, tensor_count;
  char *value; // the last node's output
} writer;

static void *take(writer *w, size_t count, size_t size) {
  void *memory = bl_arena_alloc(w->arena, count, size);
  w->failed |= memory == NULL;
  return memory;
}

static char *text(writer *w, const char *prefix, size_t number) {
  char *name = take(w, 1, 32);
  if (name != NULL) (void)snprintf(name, 32, "%s%zu", prefix, number);
  return name;
}

// An initialiser; its floats are the caller's to fill. NULL when memory is short.
static float *add_tensor(writer *w, char **name, const int64_t *dims, size_t rank) {
  size_t count = 1;
  for (size_t i = 0; i < rank; i++)
    count *= (size_t)dims[i];
  Onnx__TensorProto *t = take(w, 1, sizeof *t);
  int64_t *own = take(w, rank + 1, sizeof *own);
  float *data = take(w, count, sizeof *data);
  *name = text(w, "constant", w->tensor_count);
  if (w->failed) return NULL;
  onnx__tensor_proto__init(t);
  t->n_dims = rank;
  t->dims = own;
  if (rank > 0) memcpy(own, dims, rank * sizeof *dims);
  t->name = *name;
  t->has_data_type = 1;
  t->data_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
  t->has_raw_data = 1;
  t->raw_data.len = count * sizeof *data;
  t->raw_data.data = (uint8_t *)data;
  w->tensors[w->tensor_count++] = t;
  return data;
}

static char *add_scalar(writer *w, float value) {
  char *name;
  float *data = add_tensor(w, &name, NULL, 0);
  if (data != NULL) *data = value;
  return name;
}

// A node with up to MOST_INPUTS inputs, of which the first absent one ends the list.
static Onnx__NodeProto *add_node(writer *w, const char *op, const char *domain,
                                 char *const inputs[MOST_INPUTS]) {
  Onnx__NodeProto *n = take(w, 1, sizeof *n);
  char **names = take(w, MOST_INPUTS + 1, sizeof *names);
  Onnx__AttributeProto **attributes = take(w, 4, sizeof *attributes);
  char *name = text(w, op, w->node_count);
  w->value = text(w, "value", w->node_count);
  if (w->failed) return NULL;
  onnx__node_proto__init(n);
  n->op_type = bl_arena_strndup(w->arena, op, strlen(op));
  n->domain = bl_arena_strndup(w->arena, domain, strlen(domain));
  n->name = name;
  n->input = names;
  while (n->n_input < MOST_INPUTS && inputs[n->n_input] != NULL) {
    names[n->n_input] = inputs[n->n_input];
    n->n_input++;
  }
  n->n_output = 1;
  n->output = names + MOST_INPUTS;
  names[MOST_INPUTS] = w->value;
  n->attribute = attributes;
  w->nodes[w->node_count++] = n;
  return n;
}

static Onnx__AttributeProto *add_attribute(writer *w, Onnx__NodeProto *n, const char *name,
                                           Onnx__AttributeProto__AttributeType type) {
  Onnx__AttributeProto *a = take(w, 1, sizeof *a);
  if (w->failed) return NULL;
  onnx__attribute_proto__init(a);
  a->name = bl_arena_strndup(w->arena, name, strlen(name));
  a->has_type = 1;
  a->type = type;
  n->attribute[n->n_attribute++] = a;
  return a;
}

static void add_pair(writer *w, Onnx__NodeProto *n, const char *name, int64_t value) {
  int64_t *pair = take(w, 2, sizeof *pair);
  if (w->failed) return;
  Onnx__AttributeProto *a = add_attribute(w, n, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS);
  if (a == NULL) return;
  pair[0] = pair[1] = value;
  a->ints = pair;
  a->n_ints = 2;
}

static void add_int(writer *w, Onnx__NodeProto *n, const char *name, int64_t value) {
  if (w->failed) return;
  Onnx__AttributeProto *a = add_attribute(w, n, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);
  if (a == NULL) return;
  a->has_i = 1;
  a->i = value;
}

static void add_real(writer *w, Onnx__NodeProto *n, const char *name, float value) {
  if (w->failed) return;
  Onnx__AttributeProto *a = add_attribute(w, n, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT);
  if (a == NULL) return;
  a->has_f = 1;
  a->f = value;
}

static void add_bipolar(writer *w, char *value) {
  char *inputs[MOST_INPUTS] = {value, add_scalar(w, 1)};
  (void)add_node(w, "BipolarQuant", "onnx.brevitas", inputs);
}

// 8 bits, unsigned, scale 1.
static void add_input_quantiser(writer *w) {
  char *inputs[MOST_INPUTS] = {w->value, add_scalar(w, 1), add_scalar(w, 0), add_scalar(w, 8)};
  Onnx__NodeProto *n = add_node(w, "Quant", "onnx.brevitas", inputs);
  add_int(w, n, "signed", 0);
  add_int(w, n, "narrow", 0);
}

// [out][ky][kx][in] to [out][in][ky][kx], or to [in][out] for MatMul.
static void fill_weights(const bl_int_layer *l, size_t in, size_t out, bool connected,
                         float *data) {
  size_t taps = (size_t)l->kernel_h * l->kernel_w;
  for (size_t n = 0; n < out; n++)
    for (size_t k = 0; k < taps; k++)
      for (size_t c = 0; c < in; c++)
        data[connected ? c * out + n : (n * in + c) * taps + k] =
            l->weights[(n * taps + k) * in + c];
}

// (acc - threshold) * scale, with which the sign changes where the layer's does.
static void add_norm(writer *w, const bl_int_layer *l, int64_t channels) {
  char *inputs[MOST_INPUTS] = {w->value};
  float *data[4];
  for (int i = 0; i < 4; i++)
    data[i] = add_tensor(w, &inputs[i + 1], &channels, 1);
  if (w->failed) return;
  for (int64_t n = 0; n < channels; n++) {
    data[0][n] = (float)l->mult[n] / 32768;
    data[1][n] = 0;
    data[2][n] = (float)(-l->bias[n] / l->mult[n]);
    data[3][n] = 1;
  }
  add_real(w, add_node(w, "BatchNormalization", "", inputs), "epsilon", 0);
}

static void add_layer(writer *w, const bl_int_graph *graph, uint32_t index) {
  const bl_int_layer *l = &graph->layers[index];
  int64_t in = graph->tensors[l->input].c, out = graph->tensors[l->output].c;
  bool connected = l->kernel_h == 1;
  const int64_t conv[4] = {out, in, l->kernel_h, l->kernel_w}, matrix[2] = {in, out};
  char *before = w->value, *name;
  float *data = add_tensor(w, &name, connected ? matrix : conv, connected ? 2 : 4);
  if (data == NULL) return;
  fill_weights(l, (size_t)in, (size_t)out, connected, data);
  add_bipolar(w, name);
  char *inputs[MOST_INPUTS] = {before, w->value};
  Onnx__NodeProto *n = add_node(w, connected ? "MatMul" : "Conv", "", inputs);
  if (!connected) add_pair(w, n, "kernel_shape", l->kernel_h);
  if (graph->tensors[l->output].format.kind == BL_FORMAT_ACC) return;
  add_norm(w, l, out);
  add_bipolar(w, w->value);
  char *pooled[MOST_INPUTS] = {w->value};
  if (l->pool_h > 1) {
    n = add_node(w, "MaxPool", "", pooled);
    add_pair(w, n, "kernel_shape", l->pool_h);
    add_pair(w, n, "strides", l->pool_h);
  }
  if (graph->tensors[l->output].h == 1 && !connected) (void)add_node(w, "Flatten", "", pooled);
}

static Onnx__ValueInfoProto *value_info(writer *w, char *name, const int64_t *dims, size_t rank) {
  Onnx__ValueInfoProto *v = take(w, 1, sizeof *v);
  Onnx__TypeProto *type = take(w, 1, sizeof *type);
  Onnx__TypeProto__Tensor *t = take(w, 1, sizeof *t);
  Onnx__TensorShapeProto *shape = take(w, 1, sizeof *shape);
  Onnx__TensorShapeProto__Dimension *d = take(w, rank, sizeof *d), **list;
  list = take(w, rank, sizeof(Onnx__TensorShapeProto__Dimension *));
  if (w->failed) return NULL;
  onnx__value_info_proto__init(v);
  onnx__type_proto__init(type);
  onnx__type_proto__tensor__init(t);
  onnx__tensor_shape_proto__init(shape);
  v->name = name;
  v->type = type;
  type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
  type->tensor_type = t;
  t->has_elem_type = 1;
  t->elem_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
  t->shape = shape;
  shape->dim = list;
  shape->n_dim = rank;
  for (size_t i = 0; i < rank; i++) {
    onnx__tensor_shape_proto__dimension__init(&d[i]);
    d[i].value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
    d[i].dim_value = dims[i];
    list[i] = &d[i];
  }
  return v;
}

static bl_status save(writer *w, const char *path, Onnx__GraphProto *graph, bl_error *err) {
  char standard[] = "", qonnx[] = "onnx.brevitas", producer[] = "bitloom tests/bench";
  Onnx__OperatorSetIdProto sets[2] = {ONNX__OPERATOR_SET_ID_PROTO__INIT,
                                      ONNX__OPERATOR_SET_ID_PROTO__INIT};
  Onnx__OperatorSetIdProto *list[2] = {&sets[0], &sets[1]};
  sets[0].domain = standard;
  sets[0].version = 13;
  sets[1].domain = qonnx;
  sets[1].version = 1;
  sets[0].has_version = sets[1].has_version = 1;
  Onnx__ModelProto model = ONNX__MODEL_PROTO__INIT;
  model.has_ir_version = 1;
  model.ir_version = 7;
  model.producer_name = producer;
  model.n_opset_import = 2;
  model.opset_import = list;
  model.graph = graph;
  size_t size = onnx__model_proto__get_packed_size(&model);
  uint8_t *bytes = take(w, size, 1);
  if (w->failed) return bl_fail(err, BL_ERR_MEMORY, "%s: no memory for the model", path);
  (void)onnx__model_proto__pack(&model, bytes);
  return bl_file_write(path, bytes, size, err);
}

static bl_status write_graph(writer *w, const char *path, const bl_int_graph *cnv, bl_error *err) {
  const bl_int_tensor *in = &cnv->tensors[0], *out = &cnv->tensors[cnv->output];
  const int64_t image[4] = {1, in->c, in->h, in->w}, logits[2] = {1, out->c};
  w->value = bl_arena_strndup(w->arena, "image", 5);
  Onnx__ValueInfoProto *input = value_info(w, w->value, image, 4);
  add_input_quantiser(w);
  for (uint32_t l = 0; l < cnv->layer_count && !w->failed; l++)
    add_layer(w, cnv, l);
  Onnx__ValueInfoProto *output = value_info(w, w->value, logits, 2);
  Onnx__GraphProto graph = ONNX__GRAPH_PROTO__INIT;
  graph.name = cnv->name;
  graph.n_node = w->node_count;
  graph.node = w->nodes;
  graph.n_initializer = w->tensor_count;
  graph.initializer = w->tensors;
  graph.n_input = graph.n_output = 1;
  graph.input = &input;
  graph.output = &output;
  if (w->failed) return bl_fail(err, BL_ERR_MEMORY, "%s: no memory for the model", path);
  return save(w, path, &graph, err);
}

bl_status bl_net_cnv_write(const char *path, const bl_int_graph *cnv, bl_error *err) {
  writer w = {.arena = bl_arena_new(ARENA_BYTES)};
  if (w.arena == NULL) return bl_fail(err, BL_ERR_MEMORY, "%s: no memory for the model", path);
  bl_status status = write_graph(&w, path, cnv, err);
  bl_arena_free(w.arena);
  return status;
}
