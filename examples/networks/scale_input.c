// SPDX-License-Identifier: Apache-2.0
// Puts a preprocessing into a network, so that it takes data as they lie in the files and can teach
// one that does:
//   scale_input IN.onnx OUT.onnx SCALE MEAN,MEAN,MEAN STD,STD,STD
// x' = (SCALE*x - MEAN) / STD, a mean and a deviation for each channel, becomes a Mul and an Add in
// front of what reads the input (samples x channels x ...).
#include <stdio.h>
#include <stdlib.h>

#include "host/graph/float_edit.h"
#include "host/onnx/onnx_export.h"
#include "host/onnx/onnx_import.h"

enum { MOST_CHANNELS = 16 };

// Comma-separated numbers; how many, 0 for anything else.
static int64_t read_list(const char *text, double values[MOST_CHANNELS]) {
  for (int64_t count = 0; count < MOST_CHANNELS;) {
    char *end = NULL;
    values[count++] = strtod(text, &end);
    if (end == text || (*end != ',' && *end != '\0')) return 0;
    if (*end == '\0') return count;
    text = end + 1;
  }
  return 0;
}

static bl_status add_scale(bl_float_graph *graph, double scale, const double *mean,
                           const double *std, int64_t channels, bl_error *err) {
  const int32_t input = graph->inputs[0];
  int64_t dims[BL_MAX_RANK] = {1, channels, 1, 1, 1, 1, 1, 1};
  float factor[MOST_CHANNELS], summand[MOST_CHANNELS];
  int32_t constants[2];
  bl_node nodes[2];
  const bl_value *x = &graph->values[input];
  if (x->rank < 2 || x->dims[1] != channels)
    return bl_fail(err, BL_ERR_USAGE, "%s: its second axis does not have %d channels", x->name,
                   (int)channels);
  const uint32_t rank = x->rank;
  for (int64_t c = 0; c < channels; c++) {
    factor[c] = (float)(scale / std[c]);
    summand[c] = (float)(-mean[c] / std[c]);
  }
  BL_TRY(bl_float_add_constant(graph, "input", "_factor", rank, dims, factor, &constants[0], err));
  BL_TRY(
      bl_float_add_constant(graph, "input", "_summand", rank, dims, summand, &constants[1], err));
  BL_TRY(bl_float_make_node(graph, BL_FLOAT_MUL, "input", "_scaled",
                            (int32_t[]){input, constants[0]}, 2, -1, &nodes[0], err));
  BL_TRY(bl_float_make_node(graph, BL_FLOAT_ADD, "input", "_centred",
                            (int32_t[]){nodes[0].outputs[0], constants[1]}, 2, -1, &nodes[1], err));
  bl_float_redirect(graph, input, nodes[1].outputs[0]);
  return bl_float_splice(graph, 0, 0, nodes, 2, err);
}

int main(int argc, char **argv) {
  double mean[MOST_CHANNELS], std[MOST_CHANNELS];
  bl_error err = {0};
  bl_float_graph *graph = NULL;
  const int64_t channels = argc == 6 ? read_list(argv[4], mean) : 0;
  const double scale = argc == 6 ? strtod(argv[3], NULL) : 0;
  if (channels == 0 || read_list(argv[5], std) != channels || scale == 0) {
    (void)fputs("Usage: scale_input IN.onnx OUT.onnx SCALE MEAN[,MEAN...] STD[,STD...]\n", stderr);
    return 2;
  }
  bl_status status = bl_onnx_import(argv[1], NULL, &graph, &err);
  if (status == BL_OK) status = add_scale(graph, scale, mean, std, channels, &err);
  if (status == BL_OK)
    status = bl_onnx_export(argv[2], graph, &(bl_onnx_export_options){.free_batch = true}, &err);
  bl_float_graph_free(graph);
  if (status != BL_OK) (void)fprintf(stderr, "scale_input: %s\n", err.text);
  return status == BL_OK ? 0 : 1;
}
