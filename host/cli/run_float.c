// SPDX-License-Identifier: Apache-2.0
// The float side of bitloom run: what the trained network itself answers.
#include "host/cli/run_float.h"

#include <stdlib.h>

#include "host/cli/data_args.h"
#include "host/data/npy_write.h"
#include "host/onnx/onnx_import.h"
#include "host/run/float_run.h"

enum { BATCH = 16 };

static void print_result(const bl_cli_args *args, const char *model, const bl_float_result *r,
                         bl_cli_output *output) {
  cJSON *o = output->object;
  double speed = r->seconds > 0.0 ? (double)r->samples / r->seconds : 0.0;
  (void)cJSON_AddStringToObject(o, "model", model);
  (void)cJSON_AddStringToObject(o, "device", "float");
  (void)cJSON_AddNumberToObject(o, "total", (double)r->samples);
  bl_cli_say(output, "%s in float, %s\n  %-12s %zu\n", model, bl_cli_data_name(args), "images",
             r->samples);
  if (r->labelled != 0) {
    double accuracy = (double)r->correct / (double)r->labelled;
    (void)cJSON_AddNumberToObject(o, "correct", (double)r->correct);
    (void)cJSON_AddNumberToObject(o, "accuracy", accuracy);
    bl_cli_say(output, "  %-12s %zu (%.2f %%)\n", "correct", r->correct, 100.0 * accuracy);
  } else {
    (void)cJSON_AddNullToObject(o, "correct");
    (void)cJSON_AddNullToObject(o, "accuracy");
  }
  (void)cJSON_AddNumberToObject(o, "images_per_second", speed);
  (void)cJSON_AddNumberToObject(o, "seconds", r->seconds);
  (void)cJSON_AddNullToObject(o, "cycles_per_image");
  (void)cJSON_AddNullToObject(o, "mismatches");
  bl_cli_say(output, "  %-12s %.1f images/s\n", "speed", speed);
}

static bl_status run_data(const bl_cli_args *args, const bl_float_graph *graph,
                          const bl_dataset *dataset, bl_cli_output *output, bl_error *err) {
  bl_preprocess preprocess = bl_preprocess_identity();
  bl_float_io io;
  BL_TRY(bl_cli_preprocess(args, &preprocess, err));
  BL_TRY(bl_float_describe(graph, &io, err));
  BL_TRY(bl_float_fits(dataset, &preprocess, &io, err));
  float *values = NULL;
  if (args->outputs != NULL) {
    values = calloc(dataset->count, io.out_elements * sizeof *values);
    if (values == NULL) return bl_fail(err, BL_ERR_MEMORY, "no memory for all outputs");
  }
  bl_cli_progress progress = bl_cli_progress_begin("float");
  bl_float_result result;
  bl_status status = bl_float_run(graph, &io, dataset, &preprocess, values,
                                  (bl_progress){bl_cli_progress_step, &progress}, &result, err);
  bl_cli_progress_end(&progress);
  if (status == BL_OK && values != NULL)
    status = bl_npy_write(args->outputs, values, dataset->count, io.out_elements, err);
  if (status == BL_OK) print_result(args, graph->name, &result, output);
  free(values);
  return status;
}

// In batches where the graph allows it; some fix the batch inside, in a Reshape.
static bl_status import_model(const char *path, bl_float_graph **graph, bl_error *err) {
  bl_onnx_options options = {.batch = BATCH, .rebatch = true};
  bl_error ignored = {0};
  if (bl_onnx_import(path, &options, graph, &ignored) == BL_OK) return BL_OK;
  return bl_onnx_import(path, NULL, graph, err);
}

bl_status bl_cmd_run_float(const bl_cli_args *args, bl_cli_output *output, bl_error *err) {
  bl_float_graph *graph;
  BL_TRY(import_model(args->model, &graph, err));
  bl_dataset dataset;
  bl_status status = bl_cli_open_data(args, &dataset, err);
  if (status == BL_OK) {
    status = run_data(args, graph, &dataset, output, err);
    bl_dataset_free(&dataset);
  }
  bl_float_graph_free(graph);
  return status;
}
