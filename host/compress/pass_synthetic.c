// SPDX-License-Identifier: Apache-2.0
// Calibration without data: samples made from the network's own batch normalisations.
#include <string.h>

#include "host/compress/passes.h"
#include "host/train/synthetic.h"

static const bl_recipe_param params[] = {
    {.name = "samples",
     .kind = BL_PARAM_COUNT,
     .initial = "64",
     .lowest = 1,
     .highest = 65536,
     .help = "how many are made; a multiple of batch"},
    {.name = "batch",
     .kind = BL_PARAM_COUNT,
     .initial = "32",
     .lowest = 1,
     .highest = 1024,
     .help = "samples that are made together, and whose statistics are met"},
    {.name = "iterations",
     .kind = BL_PARAM_COUNT,
     .initial = "150",
     .lowest = 1,
     .highest = 1e6,
     .help = "of each batch"},
    {.name = "rate",
     .kind = BL_PARAM_NUMBER,
     .initial = "0.1",
     .lowest = 1e-6,
     .highest = 100,
     .help = "of Adam, in deviations of the input"},
    {.name = "mean",
     .kind = BL_PARAM_NUMBER,
     .initial = "0",
     .lowest = -1e6,
     .highest = 1e6,
     .help = "of the network's inputs"},
    {.name = "deviation",
     .kind = BL_PARAM_NUMBER,
     .initial = "1",
     .lowest = 1e-6,
     .highest = 1e6,
     .help = "of the network's inputs"},
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
