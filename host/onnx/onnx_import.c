// SPDX-License-Identifier: Apache-2.0
#include "host/onnx/onnx_import.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/file.h"
#include "host/float/eval.h"
#include "host/graph/float_edit.h"
#include "host/graph/rewrite.h"
#include "host/onnx/names.h"
#include "host/onnx/tensor_data.h"
#include "host/onnx/wire_scan.h"

enum {
  GRAPH_FACTOR = 16, // an int8 weight takes 8 bytes as an integer and 4 more dequantised
  GRAPH_BASE = 32 << 20,
  MESSAGE_FACTOR = 8,
  MESSAGE_BASE = 16 << 20,
  MAX_ATTRIBUTE = 1 << 20
};

typedef struct {
  const char *name; // of the file
  const bl_onnx_options *options;
  bl_float_graph *graph;
  bl_names names;
  bl_float_engine *engine;
  int64_t file_batch; // the inputs' fixed first dimension in the file, 0: free
  bool *made; // [value_room] the value is an input, a constant or the output of an earlier node
  bl_error *err;
} importer;

// ---- A capped allocator for protobuf-c
// -------------------------------------------------------------

typedef struct {
  size_t left;
} budget;

enum { ALLOCATION_HEADER = 16 };

static void *take(void *data, size_t size) {
  budget *b = data;
  if (size > b->left || size > SIZE_MAX - ALLOCATION_HEADER) return NULL;
  uint8_t *memory = malloc(size + ALLOCATION_HEADER);
  if (memory == NULL) return NULL;
  memcpy(memory, &size, sizeof size);
  b->left -= size;
  return memory + ALLOCATION_HEADER;
}

static void give(void *data, void *pointer) {
  budget *b = data;
  size_t size;
  if (pointer == NULL) return;
  memcpy(&size, (uint8_t *)pointer - ALLOCATION_HEADER, sizeof size);
  b->left += size;
  free((uint8_t *)pointer - ALLOCATION_HEADER);
}

static budget budget_for(size_t file_size) {
  return (budget){MESSAGE_BASE + MESSAGE_FACTOR * file_size};
}

// ---- Values
// ----------------------------------------------------------------------------------------

static bl_status no_memory(const importer *im) {
  return bl_fail(im->err, BL_ERR_MEMORY, "%s: needs more memory than it may take", im->name);
}

static char *copy_text(const importer *im, const char *text) {
  return bl_arena_strndup(im->graph->arena, text, strlen(text));
}

static bool grow_values(importer *im) {
  bl_float_graph *g = im->graph;
  uint32_t room = g->value_room == 0 ? 256 : 2 * g->value_room;
  bl_value *values = bl_arena_alloc(g->arena, room, sizeof *values);
  bool *made = bl_arena_alloc(g->arena, room, sizeof *made);
  if (values == NULL || made == NULL) return false;
  if (g->value_count > 0) {
    memcpy(values, g->values, g->value_count * sizeof *values);
    memcpy(made, im->made, g->value_count * sizeof *made);
  }
  g->values = values;
  g->value_room = room;
  im->made = made;
  return true;
}

static bl_status add_value(importer *im, const char *name, int32_t *index) {
  bl_float_graph *g = im->graph;
  char *own = copy_text(im, name);
  if (own == NULL || (g->value_count == g->value_room && !grow_values(im))) return no_memory(im);
  *index = (int32_t)g->value_count;
  g->values[g->value_count++] = (bl_value){.name = own};
  if (own[0] != '\0' && !bl_names_add(&im->names, g->arena, own, *index)) return no_memory(im);
  return BL_OK;
}

// A new named value; a second of the same name is an error.
static bl_status define(importer *im, const char *name, int32_t *index) {
  if (bl_names_find(&im->names, name) >= 0)
    return bl_fail(im->err, BL_ERR_FORMAT, "%s: value %s is defined twice", im->name, name);
  return add_value(im, name, index);
}

static bl_status add_initializers(importer *im, const Onnx__GraphProto *proto) {
  for (size_t k = 0; k < proto->n_initializer; k++) {
    const Onnx__TensorProto *t = proto->initializer[k];
    int32_t index;
    BL_TRY(define(im, t->name != NULL ? t->name : "", &index));
    BL_TRY(bl_tensor_load(im->graph->arena, t, &im->graph->values[index], im->err));
    im->made[index] = true;
  }
  if (proto->n_sparse_initializer > 0)
    return bl_fail(im->err, BL_ERR_UNSUPPORTED, "%s: sparse initialisers", im->name);
  return BL_OK;
}

// ---- Graph inputs
// ----------------------------------------------------------------------------------

static bl_status input_dims(importer *im, const Onnx__TensorShapeProto *shape, const char *name,
                            int64_t dims[BL_MAX_RANK]) {
  int64_t batch = im->options->batch > 0 ? im->options->batch : 1;
  if (shape->n_dim > BL_MAX_RANK)
    return bl_fail(im->err, BL_ERR_RANGE, "input %s: rank %zu", name, shape->n_dim);
  for (size_t k = 0; k < shape->n_dim; k++) {
    const Onnx__TensorShapeProto__Dimension *d = shape->dim[k];
    bool fixed = d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
    if (k == 0) im->file_batch = fixed && d->dim_value > 0 ? d->dim_value : 0;
    if (fixed && d->dim_value > 0 && !(k == 0 && im->options->rebatch)) {
      dims[k] = d->dim_value;
    } else if (k == 0) {
      dims[k] = batch;
    } else {
      return bl_fail(im->err, BL_ERR_UNSUPPORTED,
                     "input %s: dimension %zu has no size; fix it when exporting", name, k);
    }
  }
  return BL_OK;
}

static bl_status bind(importer *im, const bl_value *from, bl_value *to) {
  to->type = from->type;
  to->element = from->element;
  BL_TRY(bl_value_shape(to, from->rank, from->dims, im->err));
  BL_TRY(bl_value_allocate(im->graph->arena, to, im->err));
  if (to->type == BL_TYPE_FLOAT)
    memcpy(to->f, from->f, to->count * sizeof *to->f);
  else
    memcpy(to->i, from->i, to->count * sizeof *to->i);
  return BL_OK;
}

static const bl_value *binding_of(const importer *im, const char *name) {
  for (size_t k = 0; k < im->options->binding_count; k++)
    if (strcmp(im->options->bindings[k].name, name) == 0) return im->options->bindings[k].value;
  return NULL;
}

static bl_status add_input(importer *im, const Onnx__ValueInfoProto *info) {
  const char *name = info->name != NULL ? info->name : "";
  int32_t index = bl_names_find(&im->names, name);
  if (index >= 0 && bl_value_constant(&im->graph->values[index])) return BL_OK; // an initialiser
  BL_TRY(define(im, name, &index));
  bl_value *v = &im->graph->values[index];
  im->made[index] = true;
  const bl_value *bound = binding_of(im, name);
  if (bound != NULL) return bind(im, bound, v);
  if (info->type == NULL || info->type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE ||
      info->type->tensor_type->shape == NULL)
    return bl_fail(im->err, BL_ERR_UNSUPPORTED, "input %s: not a tensor of known shape", name);
  const Onnx__TypeProto__Tensor *t = info->type->tensor_type;
  int64_t dims[BL_MAX_RANK];
  v->element = t->elem_type;
  BL_TRY(bl_element_type(name, t->elem_type, &v->type, im->err));
  BL_TRY(input_dims(im, t->shape, name, dims));
  BL_TRY(bl_value_shape(v, (uint32_t)t->shape->n_dim, dims, im->err));
  im->graph->inputs[im->graph->input_count++] = index;
  return BL_OK;
}

static bl_status add_inputs(importer *im, const Onnx__GraphProto *proto) {
  im->graph->inputs = bl_arena_alloc(im->graph->arena, proto->n_input, sizeof *im->graph->inputs);
  if (im->graph->inputs == NULL) return no_memory(im);
  for (size_t k = 0; k < proto->n_input; k++)
    BL_TRY(add_input(im, proto->input[k]));
  return BL_OK;
}

// ---- Nodes
// -----------------------------------------------------------------------------------------

static bool domain_ok(bl_float_op op, const char *domain) {
  static const char *const qonnx[] = {"qonnx.custom_op.general", "onnx.brevitas",
                                      "finn.custom_op.general"};
  if (domain == NULL || domain[0] == '\0' || strcmp(domain, "ai.onnx") == 0) return true;
  bool own = op == BL_FLOAT_QUANT || op == BL_FLOAT_BIPOLAR_QUANT || op == BL_FLOAT_TRUNC ||
             op == BL_FLOAT_MULTI_THRESHOLD;
  for (size_t k = 0; own && k < 3; k++)
    if (strcmp(domain, qonnx[k]) == 0) return true;
  return false;
}

static bl_status find_op(const importer *im, const Onnx__NodeProto *proto, const char *name,
                         bl_float_op *op) {
  const char *type = proto->op_type != NULL ? proto->op_type : "";
  for (int k = 0; k < BL_FLOAT_OP_COUNT; k++) {
    *op = (bl_float_op)k;
    if (strcmp(bl_float_op_name(*op), type) == 0 && domain_ok(*op, proto->domain)) return BL_OK;
  }
  return bl_fail(im->err, BL_ERR_UNSUPPORTED,
                 "%s: node %s: operator %s%s%s is not supported (docs/reference/operators.md)",
                 im->name, name, proto->domain != NULL ? proto->domain : "",
                 proto->domain != NULL && proto->domain[0] != '\0' ? "." : "", type);
}

static bl_status add_attribute(importer *im, const Onnx__AttributeProto *from, bl_attribute *to) {
  bl_arena *arena = im->graph->arena;
  to->name = copy_text(im, from->name != NULL ? from->name : "");
  to->type = from->has_type ? (int32_t)from->type : 0;
  to->i = from->i;
  to->f = from->f;
  to->tensor = -1;
  if (from->n_ints > MAX_ATTRIBUTE || from->n_floats > MAX_ATTRIBUTE || from->g != NULL)
    return bl_fail(im->err, BL_ERR_UNSUPPORTED, "%s: attribute %s is a graph or too long", im->name,
                   from->name != NULL ? from->name : "");
  to->int_count = from->n_ints;
  to->float_count = from->n_floats;
  to->ints = bl_arena_alloc(arena, from->n_ints, sizeof *to->ints);
  to->floats = bl_arena_alloc(arena, from->n_floats, sizeof *to->floats);
  if (to->name == NULL || to->ints == NULL || to->floats == NULL) return no_memory(im);
  if (from->n_ints > 0) memcpy(to->ints, from->ints, from->n_ints * sizeof *to->ints);
  if (from->n_floats > 0) memcpy(to->floats, from->floats, from->n_floats * sizeof *to->floats);
  if (from->has_s) to->s = bl_arena_strndup(arena, (const char *)from->s.data, from->s.len);
  if (from->has_s && to->s == NULL) return no_memory(im);
  if (from->t == NULL) return BL_OK;
  BL_TRY(add_value(im, "", &to->tensor));
  im->graph->values[to->tensor].name = to->name;
  return bl_tensor_load(arena, from->t, &im->graph->values[to->tensor], im->err);
}

static bl_status add_node_inputs(importer *im, const Onnx__NodeProto *proto, bl_node *node) {
  for (size_t k = 0; k < proto->n_input; k++) {
    const char *name = proto->input[k];
    node->inputs[k] = name[0] == '\0' ? -1 : bl_names_find(&im->names, name);
    if (name[0] != '\0' && (node->inputs[k] < 0 || !im->made[node->inputs[k]]))
      return bl_fail(im->err, BL_ERR_FORMAT,
                     "%s: node %s reads %s before anything makes it (a cycle, or not sorted)",
                     im->name, node->name, name);
  }
  return BL_OK;
}

static bl_status add_node_outputs(importer *im, const Onnx__NodeProto *proto, bl_node *node) {
  for (size_t k = 0; k < proto->n_output; k++) {
    const char *name = proto->output[k];
    node->outputs[k] = -1;
    if (name[0] == '\0') continue;
    BL_TRY(define(im, name, &node->outputs[k]));
    im->made[node->outputs[k]] = true;
  }
  return BL_OK;
}

static bl_status node_name(importer *im, const Onnx__NodeProto *proto, bl_node *node) {
  const char *type = proto->op_type != NULL ? proto->op_type : "?";
  const char *out = proto->n_output > 0 ? proto->output[0] : "";
  if (proto->name != NULL && proto->name[0] != '\0') {
    node->name = copy_text(im, proto->name);
  } else {
    size_t room = strlen(type) + strlen(out) + 2;
    node->name = bl_arena_alloc(im->graph->arena, room, 1);
    if (node->name != NULL) (void)snprintf(node->name, room, "%s:%s", type, out);
  }
  return node->name != NULL ? BL_OK : no_memory(im);
}

static bl_status add_node(importer *im, const Onnx__NodeProto *proto, bl_node *node) {
  bl_arena *arena = im->graph->arena;
  BL_TRY(node_name(im, proto, node));
  BL_TRY(find_op(im, proto, node->name, &node->op));
  node->inputs = bl_arena_alloc(arena, proto->n_input, sizeof *node->inputs);
  node->outputs = bl_arena_alloc(arena, proto->n_output, sizeof *node->outputs);
  node->attributes = bl_arena_alloc(arena, proto->n_attribute, sizeof *node->attributes);
  if (node->inputs == NULL || node->outputs == NULL || node->attributes == NULL)
    return no_memory(im);
  node->input_count = (uint32_t)proto->n_input;
  node->output_count = (uint32_t)proto->n_output;
  node->attribute_count = (uint32_t)proto->n_attribute;
  for (size_t k = 0; k < proto->n_attribute; k++)
    BL_TRY(add_attribute(im, proto->attribute[k], &node->attributes[k]));
  BL_TRY(add_node_inputs(im, proto, node));
  return add_node_outputs(im, proto, node);
}

static bool folds(const bl_float_graph *g, const bl_node *node) {
  if (node->op == BL_FLOAT_SHAPE) return true;
  // what quantises weights stays in the graph: its scale says which integers they are
  const bl_value *in = bl_node_input(g, node, 0);
  if (node->op == BL_FLOAT_QUANT || node->op == BL_FLOAT_BIPOLAR_QUANT ||
      (node->op == BL_FLOAT_DEQUANTIZE && in->type == BL_TYPE_INT))
    return false;
  for (uint32_t k = 0; k < node->input_count; k++)
    if (node->inputs[k] >= 0 && !bl_value_constant(&g->values[node->inputs[k]])) return false;
  return true;
}

// Where the graph is being made for another batch: gives a Reshape that carries the file's a shape
// of its own, with the wanted batch in front.
static bl_status rebatch_reshape(importer *im, bl_node *node) {
  bl_float_graph *g = im->graph;
  if (!im->options->rebatch || im->file_batch == 0 ||
      !bl_float_carries_batch(g, node, im->file_batch))
    return BL_OK;
  bl_value copy = *bl_node_input(g, node, 1);
  int32_t index;
  BL_TRY(add_value(im, "", &index));
  copy.name = node->name;
  BL_TRY(bl_value_allocate(g->arena, &copy, im->err));
  memcpy(copy.i, bl_node_input(g, node, 1)->i, copy.count * sizeof *copy.i);
  copy.i[0] = im->options->batch > 0 ? im->options->batch : 1;
  g->values[index] = copy;
  im->made[index] = true;
  node->inputs[1] = index;
  return BL_OK;
}

// Infers the newest node's outputs and computes it at once where everything it needs is constant.
static bl_status settle_node(importer *im) {
  bl_float_graph *g = im->graph;
  bl_node *node = &g->nodes[g->node_count];
  BL_TRY(rebatch_reshape(im, node));
  BL_TRY(bl_float_infer(g, node, im->err));
  if (!folds(g, node)) {
    g->node_count++;
    return BL_OK;
  }
  for (uint32_t k = 0; k < node->output_count; k++)
    if (node->outputs[k] >= 0)
      BL_TRY(bl_value_allocate(g->arena, &g->values[node->outputs[k]], im->err));
  return bl_float_eval(im->engine, g, g->node_count, g->values, im->err);
}

static bl_status add_nodes(importer *im, const Onnx__GraphProto *proto) {
  bl_float_graph *g = im->graph;
  g->nodes = bl_arena_alloc(g->arena, proto->n_node + 1, sizeof *g->nodes);
  if (g->nodes == NULL) return no_memory(im);
  for (size_t k = 0; k < proto->n_node; k++) {
    memset(&g->nodes[g->node_count], 0, sizeof *g->nodes);
    BL_TRY(add_node(im, proto->node[k], &g->nodes[g->node_count]));
    // each node gets its own primitives: a folded node must not leave one behind for the next
    BL_TRY(bl_float_engine_open(g->node_count + 1u, &im->engine, im->err));
    bl_status status = settle_node(im);
    bl_float_engine_close(im->engine);
    im->engine = NULL;
    if (status != BL_OK) return status;
  }
  return BL_OK;
}

static bl_status add_outputs(importer *im, const Onnx__GraphProto *proto) {
  bl_float_graph *g = im->graph;
  g->outputs = bl_arena_alloc(g->arena, proto->n_output, sizeof *g->outputs);
  if (g->outputs == NULL) return no_memory(im);
  for (size_t k = 0; k < proto->n_output; k++) {
    const char *name = proto->output[k]->name != NULL ? proto->output[k]->name : "";
    int32_t index = bl_names_find(&im->names, name);
    if (index < 0 || !im->made[index])
      return bl_fail(im->err, BL_ERR_FORMAT, "%s: output %s is never made", im->name, name);
    g->outputs[g->output_count++] = index;
  }
  if (g->output_count == 0)
    return bl_fail(im->err, BL_ERR_FORMAT, "%s: the graph has no output", im->name);
  return BL_OK;
}

// ---- The model
// -------------------------------------------------------------------------------------

static bl_status check_opset(importer *im, const Onnx__ModelProto *model) {
  for (size_t k = 0; k < model->n_opset_import; k++) {
    const Onnx__OperatorSetIdProto *o = model->opset_import[k];
    if (o->domain != NULL && o->domain[0] != '\0' && strcmp(o->domain, "ai.onnx") != 0) continue;
    im->graph->opset = o->version;
  }
  if (im->graph->opset < BL_ONNX_MIN_OPSET || im->graph->opset > BL_ONNX_MAX_OPSET)
    return bl_fail(im->err, BL_ERR_UNSUPPORTED, "%s: opset %lld; export with %d to %d", im->name,
                   (long long)im->graph->opset, BL_ONNX_MIN_OPSET, BL_ONNX_MAX_OPSET);
  return BL_OK;
}

static bl_status build(importer *im, const Onnx__ModelProto *model) {
  if (model->graph == NULL) return bl_fail(im->err, BL_ERR_FORMAT, "%s: holds no graph", im->name);
  const char *name = model->graph->name;
  im->graph->name = copy_text(im, name != NULL ? name : "");
  if (im->graph->name == NULL || !grow_values(im)) return no_memory(im);
  BL_TRY(check_opset(im, model));
  BL_TRY(add_initializers(im, model->graph));
  BL_TRY(add_inputs(im, model->graph));
  BL_TRY(add_nodes(im, model->graph));
  BL_TRY(add_outputs(im, model->graph));
  return bl_float_sweep(im->graph, im->err);
}

static bl_status rewrite(importer *im) {
  uint32_t count;
  BL_TRY(bl_rewrite_shuffles(im->graph, &count, im->err));
  if (!im->options->merge) return BL_OK;
  BL_TRY(bl_rewrite_gathers(im->graph, &count, im->err));
  return bl_rewrite_branches(im->graph, &count, im->err);
}

static bl_status new_graph(const char *name, size_t size, bl_float_graph **graph, bl_error *err) {
  bl_arena *arena = bl_arena_new(GRAPH_BASE + GRAPH_FACTOR * size);
  *graph = arena == NULL ? NULL : bl_arena_alloc(arena, 1, sizeof **graph);
  if (*graph == NULL) {
    bl_arena_free(arena);
    return bl_fail(err, BL_ERR_MEMORY, "%s: no memory", name);
  }
  (*graph)->arena = arena;
  return BL_OK;
}

bl_status bl_onnx_import_bytes(const char *name, const uint8_t *bytes, size_t size,
                               const bl_onnx_options *options, bl_float_graph **graph,
                               bl_error *err) {
  static const bl_onnx_options defaults = {0};
  *graph = NULL;
  BL_TRY(bl_wire_scan(name, BL_WIRE_MODEL, bytes, size, err));
  budget b = budget_for(size);
  ProtobufCAllocator allocator = {take, give, &b};
  Onnx__ModelProto *model = onnx__model_proto__unpack(&allocator, size, bytes);
  if (model == NULL)
    return bl_fail(err, BL_ERR_FORMAT, "%s: not an ONNX file, or one that takes too much memory",
                   name);
  importer im = {.name = name, .options = options != NULL ? options : &defaults, .err = err};
  bl_status status = new_graph(name, size, &im.graph, err);
  if (status == BL_OK) status = build(&im, model);
  if (status == BL_OK) status = rewrite(&im);
  onnx__model_proto__free_unpacked(model, &allocator);
  if (status != BL_OK) {
    bl_float_graph_free(im.graph);
    return status;
  }
  *graph = im.graph;
  return BL_OK;
}

bl_status bl_onnx_import(const char *path, const bl_onnx_options *options, bl_float_graph **graph,
                         bl_error *err) {
  uint8_t *bytes;
  size_t size;
  *graph = NULL;
  BL_TRY(bl_file_read(path, BL_ONNX_FILE_LIMIT, &bytes, &size, err));
  bl_status status = bl_onnx_import_bytes(path, bytes, size, options, graph, err);
  free(bytes);
  return status;
}

bl_status bl_onnx_read_tensor(const char *name, const uint8_t *bytes, size_t size, bl_arena *arena,
                              bl_value *value, bl_error *err) {
  BL_TRY(bl_wire_scan(name, BL_WIRE_TENSOR, bytes, size, err));
  budget b = budget_for(size);
  ProtobufCAllocator allocator = {take, give, &b};
  Onnx__TensorProto *tensor = onnx__tensor_proto__unpack(&allocator, size, bytes);
  if (tensor == NULL) return bl_fail(err, BL_ERR_FORMAT, "%s: not an ONNX tensor", name);
  value->name = bl_arena_strndup(arena, name, strlen(name));
  bl_status status = value->name == NULL ? bl_fail(err, BL_ERR_MEMORY, "%s: no memory", name)
                                         : bl_tensor_load(arena, tensor, value, err);
  onnx__tensor_proto__free_unpacked(tensor, &allocator);
  return status;
}
