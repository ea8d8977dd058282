// SPDX-License-Identifier: Apache-2.0
// bitloom export: the integer network of a compiled file as ONNX.
#include "host/cli/commands.h"
#include "host/compile/bloom.h"
#include "host/onnx/onnx_export.h"
#include "host/onnx/qdq_graph.h"

static bl_status write(const bl_cli_args *args, const bl_bloom *bloom, bl_float_graph **graph,
                       bl_error *err) {
  static const bl_qdq_end ends[BL_SUFFIX_COUNT] = {[BL_SUFFIX_NONE] = BL_QDQ_PLAIN,
                                                   [BL_SUFFIX_SOFTMAX] = BL_QDQ_SOFTMAX,
                                                   [BL_SUFFIX_SIGMOID] = BL_QDQ_SIGMOID};
  const bl_preprocess *p = &bloom->info.preprocess;
  const bl_qdq_options options = {.input_mul = p->input_mul,
                                  .input_add = p->input_add,
                                  .channels_last = p->layout == BL_LAYOUT_NHWC,
                                  .end = ends[bloom->info.suffix]};
  const bl_onnx_export_options batch = {.free_batch = true};
  BL_TRY(bl_qdq_graph(bloom->graph, &options, graph, err));
  return bl_onnx_export(args->output, *graph, &batch, err);
}

bl_status bl_cmd_export(const bl_cli_args *args, bl_cli_output *output, bl_error *err) {
  if (args->output == NULL) return bl_fail(err, BL_ERR_USAGE, "export needs --output FILE.onnx");
  bl_bloom bloom;
  bl_float_graph *graph = NULL;
  BL_TRY(bl_bloom_load(args->model, &bloom, err));
  bl_status status = write(args, &bloom, &graph, err);
  if (status == BL_OK) {
    (void)cJSON_AddStringToObject(output->object, "model", bloom.graph->name);
    (void)cJSON_AddStringToObject(output->object, "output", args->output);
    (void)cJSON_AddNumberToObject(output->object, "nodes", graph->node_count);
    bl_cli_say(output, "%s: %u layers as %u nodes\n", args->output,
               (unsigned)bloom.graph->layer_count, (unsigned)graph->node_count);
  }
  bl_float_graph_free(graph);
  bl_bloom_free(&bloom);
  return status;
}
