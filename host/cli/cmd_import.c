// SPDX-License-Identifier: Apache-2.0
// bitloom import: what a model contains, what it costs, and what maps where.
#include <stdio.h>
#include <string.h>

#include "host/cli/commands.h"
#include "host/onnx/onnx_import.h"

static bool is_variable(const bl_float_graph *graph, const bl_node *node, uint32_t index) {
  const bl_value *value = bl_node_input(graph, node, index);
  return value != NULL && !bl_value_constant(value);
}

// True when nothing after the node works on numbers any more.
static bool is_last(const bl_float_graph *graph, uint32_t index) {
  for (uint32_t n = index + 1; n < graph->node_count; n++)
    for (uint32_t i = 0; i < graph->nodes[n].input_count; i++)
      if (graph->nodes[n].inputs[i] == graph->nodes[index].outputs[0]) return false;
  return true;
}

static const char *two_operands(const bl_float_graph *graph, const bl_node *node,
                                const char *otherwise) {
  return is_variable(graph, node, 0) && is_variable(graph, node, 1) ? "join of two branches"
                                                                    : otherwise;
}

// What becomes of a node on its way to the device.
static const char *becomes(const bl_float_graph *graph, uint32_t index) {
  const bl_node *node = &graph->nodes[index];
  switch (node->op) {
  case BL_FLOAT_CONV:
  case BL_FLOAT_GEMM:
  case BL_FLOAT_CONV_INTEGER:
  case BL_FLOAT_MATMUL_INTEGER:
  case BL_FLOAT_QLINEAR_CONV:
  case BL_FLOAT_QLINEAR_MATMUL:
    return "array layer";
  case BL_FLOAT_MATMUL:
    return two_operands(graph, node, "array layer");
  case BL_FLOAT_AVERAGE_POOL:
  case BL_FLOAT_GLOBAL_AVERAGE_POOL:
    return "array layer, weights of one";
  case BL_FLOAT_MAX_POOL:
  case BL_FLOAT_GLOBAL_MAX_POOL:
    return "pooling behind a layer";
  case BL_FLOAT_ADD:
  case BL_FLOAT_SUB:
  case BL_FLOAT_MUL:
  case BL_FLOAT_DIV:
    return two_operands(graph, node, "folded into mult and bias");
  case BL_FLOAT_BATCH_NORM:
  case BL_FLOAT_POW:
    return "folded into mult and bias";
  case BL_FLOAT_RELU:
  case BL_FLOAT_CLIP:
  case BL_FLOAT_SIGN:
    return "clamp of a layer";
  case BL_FLOAT_QUANT:
  case BL_FLOAT_BIPOLAR_QUANT:
  case BL_FLOAT_QUANTIZE:
  case BL_FLOAT_DEQUANTIZE:
  case BL_FLOAT_DYNAMIC_QUANTIZE:
  case BL_FLOAT_TRUNC:
  case BL_FLOAT_MULTI_THRESHOLD:
    return "format of a tensor";
  case BL_FLOAT_CONCAT:
    return "channels side by side";
  case BL_FLOAT_RESIZE:
  case BL_FLOAT_UPSAMPLE:
    return "addresses of the next layer";
  case BL_FLOAT_ELU:
  case BL_FLOAT_ERF:
  case BL_FLOAT_GELU:
  case BL_FLOAT_HARD_SIGMOID:
  case BL_FLOAT_HARD_SWISH:
  case BL_FLOAT_LEAKY_RELU:
  case BL_FLOAT_SOFTPLUS:
    return "function of one variable";
  case BL_FLOAT_SOFTMAX:
  case BL_FLOAT_SIGMOID:
  case BL_FLOAT_TANH:
    return is_last(graph, index) ? "host, behind the device" : "function of one variable";
  default:
    return "layout, no work";
  }
}

static void shape_text(const bl_value *value, char *text, size_t size) {
  size_t used = 0;
  text[0] = '\0';
  for (uint32_t i = 0; value != NULL && i < value->rank && used < size; i++) {
    int more = snprintf(text + used, size - used, "%s%lld", i == 0 ? "" : " x ",
                        (long long)value->dims[i]);
    used += more < 0 ? size : (size_t)more;
  }
}

static void add_value(cJSON *array, const bl_value *value) {
  cJSON *object = cJSON_CreateObject(), *dims = cJSON_CreateArray();
  (void)cJSON_AddStringToObject(object, "name", value->name);
  for (uint32_t i = 0; i < value->rank; i++)
    (void)cJSON_AddItemToArray(dims, cJSON_CreateNumber((double)value->dims[i]));
  (void)cJSON_AddItemToObject(object, "shape", dims);
  (void)cJSON_AddItemToArray(array, object);
}

static void print_values(const bl_float_graph *graph, const int32_t *values, uint32_t count,
                         const char *key, bl_cli_output *output) {
  cJSON *array = cJSON_AddArrayToObject(output->object, key);
  for (uint32_t i = 0; i < count; i++) {
    const bl_value *value = &graph->values[values[i]];
    char shape[128];
    shape_text(value, shape, sizeof shape);
    bl_cli_say(output, "%-8s %.60s  %s %s\n", key, value->name,
               value->type == BL_TYPE_INT ? "integer" : "float", shape);
    add_value(array, value);
  }
}

static void print_node(const bl_float_graph *graph, uint32_t index, cJSON *array,
                       bl_cli_output *output) {
  const bl_node *node = &graph->nodes[index];
  const bl_value *out = bl_node_output(graph, node, 0);
  uint64_t macs = bl_node_macs(graph, node), parameters = bl_node_parameters(graph, node);
  char shape[128];
  shape_text(out, shape, sizeof shape);
  bl_cli_say(output, "%4u  %-20s %-32.32s %-18s %12llu %10llu  %s\n", (unsigned)index,
             bl_float_op_name(node->op), node->name, shape, (unsigned long long)macs,
             (unsigned long long)parameters, becomes(graph, index));
  if (out != NULL)
    add_value(array, out);
  else
    (void)cJSON_AddItemToArray(array, cJSON_CreateObject());
  cJSON *object = cJSON_GetArrayItem(array, (int)index);
  (void)cJSON_ReplaceItemInObject(object, "name", cJSON_CreateString(node->name));
  (void)cJSON_AddStringToObject(object, "operator", bl_float_op_name(node->op));
  (void)cJSON_AddNumberToObject(object, "macs", (double)macs);
  (void)cJSON_AddNumberToObject(object, "parameters", (double)parameters);
  (void)cJSON_AddStringToObject(object, "becomes", becomes(graph, index));
}

static void print_nodes(const bl_float_graph *graph, bl_cli_output *output) {
  uint64_t macs = 0, parameters = 0;
  cJSON *array = cJSON_AddArrayToObject(output->object, "nodes");
  bl_cli_say(output, "\n%4s  %-20s %-32s %-18s %12s %10s  %s\n", "#", "operator", "name", "output",
             "MACs", "parameters", "becomes");
  for (uint32_t n = 0; n < graph->node_count; n++) {
    print_node(graph, n, array, output);
    macs += bl_node_macs(graph, &graph->nodes[n]);
    parameters += bl_node_parameters(graph, &graph->nodes[n]);
  }
  (void)cJSON_AddNumberToObject(output->object, "macs", (double)macs);
  (void)cJSON_AddNumberToObject(output->object, "parameters", (double)parameters);
  bl_cli_say(output, "\n%llu multiply-accumulates, %llu parameters\n", (unsigned long long)macs,
             (unsigned long long)parameters);
}

bl_status bl_cmd_import(const bl_cli_args *args, bl_cli_output *output, bl_error *err) {
  bl_onnx_options one = {.batch = 1, .rebatch = true}; // figures of one image, where possible
  bl_error ignored = {0};
  bl_float_graph *graph;
  if (bl_onnx_import(args->model, &one, &graph, &ignored) != BL_OK)
    BL_TRY(bl_onnx_import(args->model, NULL, &graph, err));
  bl_cli_say(output, "%s: %s, opset %lld, %u operations\n", args->model, graph->name,
             (long long)graph->opset, (unsigned)graph->node_count);
  (void)cJSON_AddStringToObject(output->object, "model", graph->name);
  (void)cJSON_AddNumberToObject(output->object, "opset", (double)graph->opset);
  print_values(graph, graph->inputs, graph->input_count, "inputs", output);
  print_values(graph, graph->outputs, graph->output_count, "outputs", output);
  print_nodes(graph, output);
  bl_float_graph_free(graph);
  return BL_OK;
}
