// SPDX-License-Identifier: Apache-2.0
#include "host/compress/passes.h"
#include "host/quant/equalise.h"

static const bl_recipe_param params[] = {
    {BL_NUMBER("alpha", "0.5", 0, 1, "how much of what is hard moves from activations to weights")},
};

static bl_status run(bl_network *network, const bl_call *call, bl_error *err) {
  uint32_t pairs;
  const bl_calibration calibration = bl_network_calibration(network);
  BL_TRY(bl_smooth(network->graph, bl_call_number(call, "alpha"), &calibration, &pairs, err));
  bl_network_say(network, "%u pairs of layers", (unsigned)pairs);
  return BL_OK;
}

const bl_recipe_pass BL_PASS_SMOOTH = {
    .name = "smooth",
    .summary = "make the channels that a layer reads alike in size, its weights taking the rest",
    .source = "Xiao et al. 2023, SmoothQuant",
    .params = params,
    .param_count = sizeof params / sizeof params[0],
    .run = run,
};
