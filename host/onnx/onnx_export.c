// SPDX-License-Identifier: Apache-2.0
#include "host/onnx/onnx_export.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/file.h"
#include "host/onnx/names.h"
#include "onnx.pb-c.h"

enum { IR_VERSION = 8, NAME_ROOM = 32 };

// Messages live in an arena; floats are not copied, they are written from where they lie.
typedef struct {
  const bl_float_graph *graph;
  bl_arena *arena;
  char **names; // [value_count] unique, made where a value has none
  bool *needed; // [value_count] constants that a node or output reads
  bool free_batch, own_domain;
  bl_error *err;
} exporter;

static bl_status no_memory(const exporter *ex) {
  return bl_fail(ex->err, BL_ERR_MEMORY, "%s: no memory to write it as ONNX", ex->graph->name);
}

// An initialised message of a type, NULL when memory is short; and an array of pointers to them.
#define NEW(ex, type, init) ((type *)copy_message((ex), &(type)init, sizeof(type)))
#define LIST(ex, count, type) ((type **)bl_arena_alloc((ex)->arena, (count), sizeof(type *)))

static void *copy_message(const exporter *ex, const void *initial, size_t size) {
  void *message = bl_arena_alloc(ex->arena, 1, size);
  if (message != NULL) memcpy(message, initial, size);
  return message;
}

static char no_name[] = "";

// ---- Names

static bl_status name_values(exporter *ex) {
  const bl_float_graph *g = ex->graph;
  bl_names taken = {0};
  ex->names = LIST(ex, g->value_count, char);
  if (ex->names == NULL) return no_memory(ex);
  for (uint32_t v = 0; v < g->value_count; v++) {
    ex->names[v] = g->values[v].name;
    if (ex->names[v] == NULL || ex->names[v][0] == '\0' ||
        bl_names_find(&taken, ex->names[v]) >= 0) {
      ex->names[v] = bl_arena_alloc(ex->arena, NAME_ROOM, 1);
      if (ex->names[v] == NULL) return no_memory(ex);
      (void)snprintf(ex->names[v], NAME_ROOM, "bitloom_value_%u", (unsigned)v);
    }
    if (!bl_names_add(&taken, ex->arena, ex->names[v], (int32_t)v)) return no_memory(ex);
  }
  return BL_OK;
}

// ---- Tensors

// A byte each, where the typed field takes up to ten of a negative one.
static bool fill_bytes(const exporter *ex, const bl_value *v, Onnx__TensorProto *t) {
  t->has_raw_data = 1;
  t->raw_data.len = v->count;
  t->raw_data.data = bl_arena_alloc(ex->arena, v->count, 1);
  for (size_t k = 0; t->raw_data.data != NULL && k < v->count; k++)
    t->raw_data.data[k] = (uint8_t)v->i[k];
  return t->raw_data.data != NULL;
}

// Integers in the typed field of their element type.
static bool fill_integers(const exporter *ex, const bl_value *v, Onnx__TensorProto *t) {
  if (v->element == ONNX_INT64) {
    t->n_int64_data = v->count;
    t->int64_data = v->i;
    return true;
  }
  if (v->element == ONNX_UINT32) {
    t->n_uint64_data = v->count;
    t->uint64_data = bl_arena_alloc(ex->arena, v->count, sizeof *t->uint64_data);
    for (size_t k = 0; t->uint64_data != NULL && k < v->count; k++)
      t->uint64_data[k] = (uint64_t)v->i[k];
    return t->uint64_data != NULL;
  }
  if (v->element == ONNX_INT8 || v->element == ONNX_UINT8) return fill_bytes(ex, v, t);
  t->n_int32_data = v->count;
  t->int32_data = bl_arena_alloc(ex->arena, v->count, sizeof *t->int32_data);
  for (size_t k = 0; t->int32_data != NULL && k < v->count; k++)
    t->int32_data[k] = (int32_t)v->i[k];
  return t->int32_data != NULL;
}

static Onnx__TensorProto *tensor(const exporter *ex, const bl_value *v, char *name) {
  Onnx__TensorProto *t = NEW(ex, Onnx__TensorProto, ONNX__TENSOR_PROTO__INIT);
  if (t == NULL) return NULL;
  t->name = name;
  t->n_dims = v->rank;
  t->dims = bl_arena_alloc(ex->arena, v->rank, sizeof *t->dims);
  t->has_data_type = 1;
  t->data_type = v->type == BL_TYPE_FLOAT ? ONNX_FLOAT : v->element;
  if (t->dims == NULL) return NULL;
  memcpy(t->dims, v->dims, v->rank * sizeof *t->dims);
  if (v->type == BL_TYPE_FLOAT) {
    t->n_float_data = v->count;
    t->float_data = v->f;
    return t;
  }
  return fill_integers(ex, v, t) ? t : NULL;
}

static bl_status add_initializers(const exporter *ex, Onnx__GraphProto *graph) {
  const bl_float_graph *g = ex->graph;
  graph->initializer = LIST(ex, g->value_count, Onnx__TensorProto);
  if (graph->initializer == NULL) return no_memory(ex);
  for (uint32_t v = 0; v < g->value_count; v++) {
    if (!ex->needed[v] || !bl_value_constant(&g->values[v])) continue;
    Onnx__TensorProto *t = tensor(ex, &g->values[v], ex->names[v]);
    if (t == NULL) return no_memory(ex);
    graph->initializer[graph->n_initializer++] = t;
  }
  return BL_OK;
}

// ---- Inputs and outputs

static Onnx__TensorShapeProto *shape_of(const exporter *ex, const bl_value *v) {
  Onnx__TensorShapeProto *shape = NEW(ex, Onnx__TensorShapeProto, ONNX__TENSOR_SHAPE_PROTO__INIT);
  if (shape == NULL) return NULL;
  shape->dim = LIST(ex, v->rank, Onnx__TensorShapeProto__Dimension);
  for (uint32_t k = 0; shape->dim != NULL && k < v->rank; k++) {
    Onnx__TensorShapeProto__Dimension *d =
        NEW(ex, Onnx__TensorShapeProto__Dimension, ONNX__TENSOR_SHAPE_PROTO__DIMENSION__INIT);
    static char batch[] = "N";
    if (d == NULL) return NULL;
    bool is_free = k == 0 && ex->free_batch;
    d->value_case = is_free ? ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM
                            : ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
    if (is_free)
      d->dim_param = batch;
    else
      d->dim_value = v->dims[k];
    shape->dim[shape->n_dim++] = d;
  }
  return shape->dim != NULL ? shape : NULL;
}

static Onnx__ValueInfoProto *value_info(const exporter *ex, int32_t index) {
  const bl_value *v = &ex->graph->values[index];
  Onnx__ValueInfoProto *info = NEW(ex, Onnx__ValueInfoProto, ONNX__VALUE_INFO_PROTO__INIT);
  Onnx__TypeProto *type = NEW(ex, Onnx__TypeProto, ONNX__TYPE_PROTO__INIT);
  Onnx__TypeProto__Tensor *t = NEW(ex, Onnx__TypeProto__Tensor, ONNX__TYPE_PROTO__TENSOR__INIT);
  if (info == NULL || type == NULL || t == NULL) return NULL;
  info->name = ex->names[index];
  info->type = type;
  type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
  type->tensor_type = t;
  t->has_elem_type = 1;
  t->elem_type = v->element;
  t->shape = shape_of(ex, v);
  return t->shape != NULL ? info : NULL;
}

static bl_status add_values(const exporter *ex, const int32_t *indices, uint32_t count,
                            Onnx__ValueInfoProto ***list, size_t *filled) {
  *list = LIST(ex, count, Onnx__ValueInfoProto);
  for (uint32_t k = 0; *list != NULL && k < count; k++) {
    (*list)[k] = value_info(ex, indices[k]);
    if ((*list)[k] == NULL) return no_memory(ex);
    ++*filled;
  }
  return *list != NULL ? BL_OK : no_memory(ex);
}

// ---- Nodes

// Files from before attributes had types: by what is there.
static Onnx__AttributeProto__AttributeType type_of(const bl_attribute *a) {
  if (a->type != 0) return (Onnx__AttributeProto__AttributeType)a->type;
  if (a->tensor >= 0) return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR;
  if (a->s != NULL) return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING;
  if (a->int_count > 0) return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS;
  if (a->float_count > 0) return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS;
  return a->f != 0 ? ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT
                   : ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT;
}

static Onnx__AttributeProto *attribute(const exporter *ex, const bl_attribute *a) {
  Onnx__AttributeProto *to = NEW(ex, Onnx__AttributeProto, ONNX__ATTRIBUTE_PROTO__INIT);
  if (to == NULL) return NULL;
  to->name = a->name;
  to->has_type = 1;
  to->type = type_of(a);
  switch (to->type) {
  case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT:
    to->has_f = 1;
    to->f = a->f;
    break;
  case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT:
    to->has_i = 1;
    to->i = a->i;
    break;
  case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING:
    to->has_s = 1;
    to->s.data = (uint8_t *)(a->s != NULL ? a->s : no_name);
    to->s.len = strlen((char *)to->s.data);
    break;
  case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR:
    to->t = tensor(ex, &ex->graph->values[a->tensor], no_name);
    if (to->t == NULL) return NULL;
    break;
  default:
    to->n_ints = a->int_count;
    to->ints = a->ints;
    to->n_floats = a->float_count;
    to->floats = a->floats;
  }
  return to;
}

static char **value_names(const exporter *ex, const int32_t *indices, uint32_t count) {
  char **list = LIST(ex, count, char);
  for (uint32_t k = 0; list != NULL && k < count; k++)
    list[k] = indices[k] < 0 ? no_name : ex->names[indices[k]];
  return list;
}

static Onnx__NodeProto *node_message(exporter *ex, const bl_node *from) {
  static char qonnx[] = "qonnx.custom_op.general";
  Onnx__NodeProto *to = NEW(ex, Onnx__NodeProto, ONNX__NODE_PROTO__INIT);
  const char *type = bl_float_op_name(from->op);
  if (to == NULL) return NULL;
  to->name = from->name;
  to->op_type = bl_arena_strndup(ex->arena, type, strlen(type));
  to->n_input = from->input_count;
  to->input = value_names(ex, from->inputs, from->input_count);
  to->n_output = from->output_count;
  to->output = value_names(ex, from->outputs, from->output_count);
  to->attribute = LIST(ex, from->attribute_count, Onnx__AttributeProto);
  if (to->op_type == NULL || to->input == NULL || to->output == NULL || to->attribute == NULL)
    return NULL;
  if (from->op == BL_FLOAT_QUANT || from->op == BL_FLOAT_BIPOLAR_QUANT ||
      from->op == BL_FLOAT_TRUNC || from->op == BL_FLOAT_MULTI_THRESHOLD) {
    to->domain = qonnx;
    ex->own_domain = true;
  }
  for (uint32_t k = 0; k < from->attribute_count; k++) {
    to->attribute[to->n_attribute] = attribute(ex, &from->attributes[k]);
    if (to->attribute[to->n_attribute++] == NULL) return NULL;
  }
  return to;
}

// Marks what the graph still reads; data must be of floats or integers that its operators take.
static bl_status mark_needed(exporter *ex) {
  const bl_float_graph *g = ex->graph;
  ex->needed = bl_arena_alloc(ex->arena, g->value_count, sizeof *ex->needed);
  if (ex->needed == NULL) return no_memory(ex);
  for (uint32_t k = 0; k < g->output_count; k++)
    ex->needed[g->outputs[k]] = true;
  for (uint32_t n = 0; n < g->node_count; n++)
    for (uint32_t k = 0; k < g->nodes[n].input_count; k++)
      if (g->nodes[n].inputs[k] >= 0) ex->needed[g->nodes[n].inputs[k]] = true;
  for (uint32_t v = 0; v < g->value_count; v++)
    if (ex->needed[v] && g->values[v].type == BL_TYPE_FLOAT && !bl_value_constant(&g->values[v]) &&
        g->values[v].element != ONNX_FLOAT)
      return bl_fail(ex->err, BL_ERR_UNSUPPORTED, "value %s is not of float32 (element type %d)",
                     g->values[v].name, (int)g->values[v].element);
  return BL_OK;
}

static bl_status add_nodes(exporter *ex, Onnx__GraphProto *graph) {
  const bl_float_graph *g = ex->graph;
  graph->node = LIST(ex, g->node_count, Onnx__NodeProto);
  for (uint32_t n = 0; graph->node != NULL && n < g->node_count; n++) {
    graph->node[n] = node_message(ex, &g->nodes[n]);
    if (graph->node[n] == NULL) return no_memory(ex);
    graph->n_node++;
  }
  return graph->node != NULL ? BL_OK : no_memory(ex);
}

// ---- The model

static bl_status add_opsets(const exporter *ex, Onnx__ModelProto *model) {
  static char qonnx[] = "qonnx.custom_op.general";
  model->opset_import = LIST(ex, 2, Onnx__OperatorSetIdProto);
  for (size_t k = 0; model->opset_import != NULL && k < (ex->own_domain ? 2u : 1u); k++) {
    Onnx__OperatorSetIdProto *set =
        NEW(ex, Onnx__OperatorSetIdProto, ONNX__OPERATOR_SET_ID_PROTO__INIT);
    if (set == NULL) return no_memory(ex);
    set->domain = k == 0 ? no_name : qonnx;
    set->has_version = 1;
    set->version = k == 0 ? ex->graph->opset : 1;
    model->opset_import[model->n_opset_import++] = set;
  }
  return model->opset_import != NULL ? BL_OK : no_memory(ex);
}

static bl_status build(exporter *ex, Onnx__ModelProto *model, Onnx__GraphProto *graph) {
  static char producer[] = "bitloom";
  const bl_float_graph *g = ex->graph;
  BL_TRY(name_values(ex));
  BL_TRY(mark_needed(ex));
  graph->name = g->name;
  BL_TRY(add_nodes(ex, graph));
  BL_TRY(add_initializers(ex, graph));
  BL_TRY(add_values(ex, g->inputs, g->input_count, &graph->input, &graph->n_input));
  BL_TRY(add_values(ex, g->outputs, g->output_count, &graph->output, &graph->n_output));
  model->has_ir_version = 1;
  model->ir_version = IR_VERSION;
  model->producer_name = producer;
  model->graph = graph;
  return add_opsets(ex, model);
}

bl_status bl_onnx_export_bytes(const bl_float_graph *graph, const bl_onnx_export_options *options,
                               uint8_t **bytes, size_t *size, bl_error *err) {
  static const size_t cap = (size_t)4 << 30;
  exporter ex = {.graph = graph, .err = err, .arena = bl_arena_new(cap)};
  Onnx__ModelProto model = ONNX__MODEL_PROTO__INIT;
  Onnx__GraphProto body = ONNX__GRAPH_PROTO__INIT;
  *bytes = NULL;
  if (options != NULL) ex.free_batch = options->free_batch;
  bl_status status = ex.arena == NULL ? no_memory(&ex) : build(&ex, &model, &body);
  if (status == BL_OK) {
    *size = onnx__model_proto__get_packed_size(&model);
    *bytes = malloc(*size);
    if (*bytes == NULL)
      status = no_memory(&ex);
    else
      (void)onnx__model_proto__pack(&model, *bytes);
  }
  bl_arena_free(ex.arena);
  return status;
}

bl_status bl_onnx_export(const char *path, const bl_float_graph *graph,
                         const bl_onnx_export_options *options, bl_error *err) {
  uint8_t *bytes;
  size_t size;
  BL_TRY(bl_onnx_export_bytes(graph, options, &bytes, &size, err));
  bl_status status = bl_file_write(path, bytes, size, err);
  free(bytes);
  return status;
}
