// SPDX-License-Identifier: Apache-2.0
#include "host/graph/float_graph.h"

#include <string.h>
#include <zlib.h>

void bl_float_graph_free(bl_float_graph *graph) {
  if (graph != NULL) bl_arena_free(graph->arena);
}

const char *bl_float_op_name(bl_float_op op) {
  static const char *const names[] = {
#define BL_OP_NAME(id, name) name,
      BL_FLOAT_OPS(BL_OP_NAME)
#undef BL_OP_NAME
  };
  return op < BL_FLOAT_OP_COUNT ? names[op] : "?";
}

const bl_attribute *bl_node_attribute(const bl_node *node, const char *name) {
  for (uint32_t i = 0; i < node->attribute_count; i++)
    if (strcmp(node->attributes[i].name, name) == 0) return &node->attributes[i];
  return NULL;
}

int64_t bl_node_int(const bl_node *node, const char *name, int64_t otherwise) {
  const bl_attribute *a = bl_node_attribute(node, name);
  return a != NULL ? a->i : otherwise;
}

float bl_node_float(const bl_node *node, const char *name, float otherwise) {
  const bl_attribute *a = bl_node_attribute(node, name);
  return a != NULL ? a->f : otherwise;
}

const char *bl_node_string(const bl_node *node, const char *name, const char *otherwise) {
  const bl_attribute *a = bl_node_attribute(node, name);
  return a != NULL && a->s != NULL ? a->s : otherwise;
}

const bl_value *bl_node_input(const bl_float_graph *graph, const bl_node *node, uint32_t index) {
  if (index >= node->input_count || node->inputs[index] < 0) return NULL;
  return &graph->values[node->inputs[index]];
}

const bl_value *bl_node_output(const bl_float_graph *graph, const bl_node *node, uint32_t index) {
  if (index >= node->output_count || node->outputs[index] < 0) return NULL;
  return &graph->values[node->outputs[index]];
}

bool bl_value_constant(const bl_value *value) {
  return value->f != NULL || value->i != NULL;
}

bl_status bl_value_shape(bl_value *value, uint32_t rank, const int64_t *dims, bl_error *err) {
  if (rank > BL_MAX_RANK)
    return bl_fail(err, BL_ERR_RANGE, "value %s: rank %u, the limit is %d", value->name, rank,
                   BL_MAX_RANK);
  size_t count = 1, span = 1; // span: the product as if no dimension were 0, so that strides fit
  for (uint32_t k = 0; k < rank; k++) {
    if (dims[k] < 0 || dims[k] > BL_FLOAT_MAX_ELEMENTS ||
        (size_t)dims[k] > BL_FLOAT_MAX_ELEMENTS / span)
      return bl_fail(err, BL_ERR_RANGE, "value %s: dimension %u is %lld: negative or too large",
                     value->name, k, (long long)dims[k]);
    count *= (size_t)dims[k];
    span *= dims[k] > 0 ? (size_t)dims[k] : 1;
  }
  value->rank = rank;
  value->count = count;
  for (uint32_t k = 0; k < rank; k++)
    value->dims[k] = dims[k];
  value->shaped = true;
  return BL_OK;
}

bl_status bl_value_allocate(bl_arena *arena, bl_value *value, bl_error *err) {
  if (value->type == BL_TYPE_FLOAT)
    value->f = bl_arena_alloc(arena, value->count, sizeof *value->f);
  else
    value->i = bl_arena_alloc(arena, value->count, sizeof *value->i);
  if (!bl_value_constant(value))
    return bl_fail(err, BL_ERR_MEMORY, "value %s: no memory for %zu elements", value->name,
                   value->count);
  return BL_OK;
}

uint64_t bl_node_macs(const bl_float_graph *graph, const bl_node *node) {
  const bl_value *out = bl_node_output(graph, node, 0), *in = bl_node_input(graph, node, 0);
  const bl_value *w = bl_node_weights(graph, node);
  if (out == NULL || in == NULL || w == NULL || w->rank < 2) return 0;
  switch (node->op) {
  case BL_FLOAT_CONV:
  case BL_FLOAT_CONV_INTEGER:
  case BL_FLOAT_QLINEAR_CONV:
    return w->dims[0] > 0 ? (uint64_t)out->count * (w->count / (size_t)w->dims[0]) : 0;
  case BL_FLOAT_GEMM:
    return (uint64_t)out->count * (uint64_t)in->dims[bl_node_int(node, "transA", 0) != 0 ? 0 : 1];
  default:
    return (uint64_t)out->count * (uint64_t)in->dims[in->rank - 1];
  }
}

// Integers count where they are numbers of the network: weights and bias, dequantised or not.
static bool integer_parameter(const bl_float_graph *graph, const bl_node *node, uint32_t k) {
  const bl_value *v = bl_node_input(graph, node, k);
  if (v == NULL || v->i == NULL) return false;
  return v == bl_node_weights(graph, node) || (node->op == BL_FLOAT_DEQUANTIZE && k == 0) ||
         (node->op == BL_FLOAT_QLINEAR_CONV && k == 8);
}

uint64_t bl_node_parameters(const bl_float_graph *graph, const bl_node *node) {
  uint64_t sum = 0;
  for (uint32_t k = 0; k < node->input_count; k++) {
    const bl_value *v = bl_node_input(graph, node, k);
    if (v != NULL && (v->f != NULL || integer_parameter(graph, node, k))) sum += v->count;
  }
  return sum;
}

bool bl_node_is_product(const bl_node *node) {
  return node->op == BL_FLOAT_CONV || node->op == BL_FLOAT_GEMM || node->op == BL_FLOAT_MATMUL;
}

uint32_t bl_float_digest(const bl_float_graph *graph) {
  uLong crc = 0;
  for (uint32_t n = 0; n < graph->node_count; n++)
    crc = crc32_z(crc, (const Bytef *)graph->nodes[n].name, strlen(graph->nodes[n].name));
  for (uint32_t v = 0; v < graph->value_count; v++)
    if (graph->values[v].f != NULL)
      crc = crc32_z(crc, (const Bytef *)graph->values[v].f, graph->values[v].count * sizeof(float));
  return (uint32_t)crc;
}
