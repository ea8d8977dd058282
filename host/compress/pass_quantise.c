// SPDX-License-Identifier: Apache-2.0
// How the network becomes integers from here on.
#include <string.h>

#include "host/compress/passes.h"
#include "host/cost/cost.h"

static const bl_recipe_param params[] = {
    {.name = "weight-bits",
     .kind = BL_PARAM_COUNT,
     .initial = "8",
     .lowest = 1,
     .highest = 8,
     .help = "bits of weights"},
    {.name = "activation-bits",
     .kind = BL_PARAM_COUNT,
     .initial = "8",
     .lowest = 1,
     .highest = 8,
     .help = "bits of what a layer gives"},
    {.name = "range",
     .kind = BL_PARAM_CHOICE,
     .initial = "mse",
     .choices = "minmax|mse|percentile|entropy|average",
     .help = "how activation ranges follow from calibration"},
    {.name = "percentage",
     .kind = BL_PARAM_NUMBER,
     .initial = "99.99",
     .lowest = 50,
     .highest = 100,
     .help = "of the magnitudes that range percentile covers"},
    {.name = "rounding",
     .kind = BL_PARAM_CHOICE,
     .initial = "nearest",
     .choices = "nearest|gptq|adaround",
     .help = "how weights become integers"},
    {.name = "bias-correction",
     .kind = BL_PARAM_CHOICE,
     .initial = "none",
     .choices = "none|analytic|empirical",
     .help = "move each channel's mean to that of the float network"},
    {.name = "output-bits",
     .kind = BL_PARAM_COUNT,
     .initial = "0",
     .lowest = 0,
     .highest = 8,
     .help = "bits of the network's output; 0: int32 accumulators"},
    {.name = "offset-bits",
     .kind = BL_PARAM_COUNT,
     .initial = "0",
     .lowest = 0,
     .highest = 16,
     .help = "fraction bits of channel offsets: fewer are a smaller coded file; 0: all"},
};

// Promised: no layer's weights have more bits than it was given.
static bl_status check_bits(const bl_network *network, const void *state, double *figure,
                            bool *holds, bl_error *err) {
  const unsigned *most = state;
  bl_quantised made;
  BL_TRY(bl_network_quantise(network, NULL, &made, err));
  *figure = 0;
  for (uint32_t k = 0; k < made.graph->layer_count; k++) {
    const bl_int_layer *layer = &made.graph->layers[k];
    const unsigned bits = layer->codebook != NULL ? 4 : layer->weight_format.bits;
    if (bits > *figure) *figure = bits;
  }
  *holds = *figure <= *most;
  bl_arena_free(made.graph->arena);
  return BL_OK;
}

static bl_status run(bl_network *network, const bl_call *call, bl_error *err) {
  if (network->data.calibration == NULL)
    return bl_fail(err, BL_ERR_USAGE, "needs calibration data: say --calib or --data");
  BL_TRY(bl_network_free_weights(network, err));
  network->quantised = true;
  network->quantise = (bl_quantise_options){
      .weight_bits = (unsigned)bl_call_count(call, "weight-bits"),
      .activation_bits = (unsigned)bl_call_count(call, "activation-bits"),
      .range = (bl_range_method)bl_call_choice(call, "range"),
      .percentage = bl_call_number(call, "percentage"),
      .rounding = (bl_rounding)bl_call_choice(call, "rounding"),
      .bias_correction = (bl_bias_correction)bl_call_choice(call, "bias-correction"),
      .output_bits = (unsigned)bl_call_count(call, "output-bits"),
      .offset_bits = (unsigned)bl_call_count(call, "offset-bits"),
      .part_channels = network->device.config->cols,
      .cycles = bl_cost_graph,
      .device = &network->device};
  unsigned *most = bl_arena_alloc(network->arena, 1, sizeof *most);
  if (most == NULL) return bl_fail(err, BL_ERR_MEMORY, "no memory for a promise");
  *most = network->quantise.weight_bits;
  const bl_keep keep = {
      .what = "bits of weights", .unit = "", .figure = *most, .check = check_bits, .state = most};
  return bl_network_keep(network, &keep, err);
}

const bl_recipe_pass BL_PASS_QUANTISE = {
    .name = "quantise",
    .summary = "integers of so many bits, with ranges from calibration data",
    .source = "Krishnamoorthi 2018, Quantizing deep convolutional networks",
    .params = params,
    .param_count = sizeof params / sizeof params[0],
    .run = run,
};
