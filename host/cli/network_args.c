// SPDX-License-Identifier: Apache-2.0
#include "host/cli/network_args.h"

#include "host/cli/data_args.h"
#include "host/onnx/onnx_import.h"
#include "host/quant/equalise.h"

static bl_status import_single(const char *path, bl_float_graph **graph, bl_error *err) {
  bl_onnx_options one = {.batch = 1, .rebatch = true, .merge = true};
  bl_error ignored = {0};
  if (bl_onnx_import(path, &one, graph, &ignored) == BL_OK) return BL_OK;
  one.rebatch = false;
  return bl_onnx_import(path, &one, graph, err);
}

bl_status bl_cli_open_network(const bl_cli_args *args, bl_float_graph **graph, bl_float_io *io,
                              bl_preprocess *preprocess, bl_error *err) {
  uint32_t pairs;
  *graph = NULL;
  BL_TRY(import_single(args->model, graph, err));
  BL_TRY(bl_float_describe(*graph, io, err));
  if (io->images != 1)
    return bl_fail(err, BL_ERR_UNSUPPORTED, "%s: fixes a batch of %zu; export it with a batch of 1",
                   args->model, io->images);
  *preprocess = bl_preprocess_identity();
  BL_TRY(bl_cli_preprocess(args, preprocess, err));
  return args->equalise ? bl_equalise(*graph, &pairs, err) : BL_OK;
}

bl_quantise_options bl_cli_quantise_options(const bl_cli_args *args) {
  return (bl_quantise_options){
      .range = args->range < 0 ? BL_RANGE_MSE : (bl_range_method)args->range,
      .percentage = args->percentile,
      .rounding = args->rounding < 0 ? BL_ROUNDING_NEAREST : (bl_rounding)args->rounding,
      .bias_correction =
          args->bias_correction < 0 ? BL_BIAS_NONE : (bl_bias_correction)args->bias_correction,
      .output_bits = (unsigned)args->output_bits};
}
