// SPDX-License-Identifier: Apache-2.0
// Calibration without data: samples made from the network's own batch normalisations.
#include <string.h>

#include "host/compress/passes.h"
#include "host/train/synthetic.h"

static const bl_recipe_param params[] = {
    {BL_COUNT("samples", "64", 1, 65536, "how many are made; a multiple of batch")},
    {BL_COUNT("batch", "32", 1, 1024,
              "samples that are made together, and whose statistics are met")},
    {BL_COUNT("iterations", "150", 1, 1e6, "of each batch")},
    {BL_NUMBER("rate", "0.1", 1e-6, 100, "of Adam, in deviations of the input")},
    {BL_NUMBER("mean", "0", -1e6, 1e6, "of the network's inputs")},
    {BL_NUMBER("deviation", "1", 1e-6, 1e6, "of the network's inputs")},
};

static bl_status run(bl_network *network, const bl_call *call, bl_error *err) {
  const bl_synthetic_options options = {.count = (uint32_t)bl_call_count(call, "samples"),
                                        .batch = (uint32_t)bl_call_count(call, "batch"),
                                        .iterations = (uint32_t)bl_call_count(call, "iterations"),
                                        .rate = bl_call_number(call, "rate"),
                                        .mean = bl_call_number(call, "mean"),
                                        .deviation = bl_call_number(call, "deviation"),
                                        .seed = network->seed};
  const size_t elements = network->graph->values[network->graph->inputs[0]].count;
  bl_train_data *data = bl_arena_alloc(network->arena, 1, sizeof *data);
  float *values = bl_arena_alloc(network->arena, options.count * elements, sizeof *values);
  if (data == NULL || values == NULL)
    return bl_fail(err, BL_ERR_MEMORY, "no memory for %u samples", options.count);
  bl_synthetic_result result;
  BL_TRY(bl_synthetic_samples(network->graph, &options, values, &result, err));
  *data = (bl_train_data){
      .values = values, .count = options.count, .elements = elements, .rows_last = true};
  network->data.calibration = data;
  bl_network_say(network, "%u samples; distance from %u normalisations %.3g, of noise %.3g",
                 options.count, result.norms, result.last, result.first);
  return BL_OK;
}

const bl_recipe_pass BL_PASS_SYNTHETIC = {
    .name = "synthetic-data",
    .summary = "calibration samples made from what batch normalisations have stored",
    .source = "Cai et al. 2020, ZeroQ",
    .params = params,
    .param_count = sizeof params / sizeof params[0],
    .run = run,
};
