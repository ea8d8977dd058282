// SPDX-License-Identifier: Apache-2.0
#include "host/compress/passes.h"
#include "host/quant/equalise.h"

static bl_status run(bl_network *network, const bl_call *call, bl_error *err) {
  (void)call;
  uint32_t pairs;
  BL_TRY(bl_equalise(network->graph, &pairs, err));
  bl_network_say(network, "%u pairs of layers", (unsigned)pairs);
  return BL_OK;
}

const bl_recipe_pass BL_PASS_EQUALISE = {
    .name = "equalise",
    .summary = "make the weights of layers that follow each other alike in size",
    .source = "Nagel et al. 2019, Data-Free Quantization",
    .run = run,
};
