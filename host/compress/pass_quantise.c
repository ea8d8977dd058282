// SPDX-License-Identifier: Apache-2.0
// How the network becomes integers from here on.
#include <string.h>

#include "host/compress/passes.h"
#include "host/cost/cost.h"
#include "host/graph/rewrite.h"
#include "host/quant/layer_plan.h"

static const bl_recipe_param params[] = {
    {BL_COUNT("weight-bits", "8", 1, 8, "bits of weights"), .by_layer = true},
    {BL_TEXT("tile-bits", "none",
             "bits of weights of one tile of output channels after the other, as 8,4,2; the last "
             "for all that are left"),
     .by_layer = true},
    {BL_COUNT("activation-bits", "8", 1, 8, "bits of what a layer gives"), .by_layer = true},
    {BL_COUNT(
        "skip-bits", "0", 0, 8,
        "bits of what sums read, of which products get a copy of activation-bits; 0: as all")},
    {BL_TEXT("codebook", "none",
             "weights are 4-bit codes of nf4, po2, apot, or of a file's values"),
     .by_layer = true},
    {BL_CHOICE("range", "mse", "minmax|mse|percentile|entropy|average",
               "how activation ranges follow from calibration")},
    {BL_NUMBER("percentage", "99.99", 50, 100, "of the magnitudes that range percentile covers")},
    {BL_CHOICE("rounding", "nearest", "nearest|gptq|adaround", "how weights become integers")},
    {BL_COUNT("iterations", "1000", 1, 1e6, "of adaround, in each layer")},
    {BL_NUMBER("ternary-threshold", "0", 0, 10,
               "2-bit weights below so many mean magnitudes are 0 (0.7); 0: as is best")},
    {BL_CHOICE("scales", "free", "free|power-of-two|per-tensor",
               "what scales may be; per-tensor: one for all weights of a layer")},
    {BL_CHOICE("bias-correction", "none", "none|analytic|empirical",
               "move each channel's mean to that of the float network")},
    {BL_COUNT("output-bits", "0", 0, 8, "bits of the network's output; 0: int32 accumulators")},
    {BL_COUNT("offset-bits", "0", 0, 16,
              "fraction bits of channel offsets: fewer are a smaller coded file; 0: all")},
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

// The codebook of a name in the network's arena; NULL: none.
static bl_status open_codebook(const bl_network *network, const char *name,
                               const bl_codebook **codebook, bl_error *err) {
  *codebook = NULL;
  if (strcmp(name, "none") == 0) return BL_OK;
  bl_codebook *made = bl_arena_alloc(network->arena, 1, sizeof *made);
  if (made == NULL) return bl_fail(err, BL_ERR_MEMORY, "no memory for a codebook");
  *codebook = made;
  return bl_codebook_open(name, made, err);
}

// The next of a list such as 8,4,2, of whole numbers from 2 to 8.
static bool next_bits(const char **list, uint8_t *bits) {
  const char *at = *list;
  const bool more = at[0] != 0 && at[1] == ',' && at[2] != 0;
  *bits = (uint8_t)(at[0] - '0');
  *list += more ? 2 : 1;
  return at[0] >= '2' && at[0] <= '8' && (more || at[1] == 0);
}

// Bits of each output channel from a list by tile, as many channels as the device has columns.
static bl_status read_tiles(const bl_network *network, const char *list, bl_layer_plan *entry,
                            bl_error *err) {
  const uint32_t cols = network->device.config->cols;
  const uint32_t channels =
      bl_layer_plan_channels(network->graph, bl_network_node(network, entry->layer));
  uint8_t *bits = bl_arena_alloc(network->arena, channels, 1);
  if (bits == NULL) return bl_fail(err, BL_ERR_MEMORY, "no memory for bits of channels");
  const char *at = list;
  for (uint32_t n = 0; n < channels; n++) {
    if (n > 0) bits[n] = bits[n - 1];
    if (n % cols == 0 && (n == 0 || *at != 0) && !next_bits(&at, &bits[n]))
      return bl_fail(err, BL_ERR_USAGE,
                     "tile-bits of layer %s: %.40s: expected numbers from 2 to 8, as 8,4,2",
                     entry->layer, list);
  }
  if (*at != 0)
    return bl_fail(err, BL_ERR_USAGE,
                   "tile-bits of layer %s: %.40s: it has %u tiles of %u channels", entry->layer,
                   list, (channels + cols - 1) / cols, cols);
  entry->channel_bits = bits;
  entry->channels = channels;
  return BL_OK;
}

// What a layer has that others have not; false: nothing. Bits that are its own go before a codebook
// that is everybody's, those of its tiles before others.
static bl_status plan_layer(const bl_network *network, const bl_call *call, const char *layer,
                            bl_layer_plan *entry, bool *own, bl_error *err) {
  const bl_setting *weights = bl_call_setting(call, layer, "weight-bits");
  const bl_setting *activations = bl_call_setting(call, layer, "activation-bits");
  const bl_setting *codes = bl_call_setting(call, layer, "codebook");
  const bl_setting *tiles = bl_call_setting(call, layer, "tile-bits");
  const bool own_tiles = strcmp(tiles->text, "none") != 0;
  const bool own_weights = weights != bl_call_setting(call, NULL, "weight-bits");
  const bool own_codes = codes != bl_call_setting(call, NULL, "codebook");
  const bool own_activations = activations != bl_call_setting(call, NULL, "activation-bits");
  *entry = (bl_layer_plan){.layer = layer};
  *own = own_activations;
  if (own_activations) entry->activation_bits = (unsigned)activations->number;
  if (bl_network_weights(network->graph, bl_network_node(network, layer)) == NULL) return BL_OK;
  *own = own_weights || own_codes || own_activations || own_tiles;
  if (own_codes) BL_TRY(open_codebook(network, codes->text, &entry->codebook, err));
  if ((own_weights || own_codes) && entry->codebook == NULL)
    entry->weight_bits = (unsigned)weights->number;
  return own_tiles ? read_tiles(network, tiles->text, entry, err) : BL_OK;
}

static bl_status make_plan(bl_network *network, const bl_call *call, bl_error *err) {
  uint32_t count;
  const char **layers = bl_network_layers(network, true, &count);
  bl_layer_plan *plan = bl_arena_alloc(network->arena, count + 1u, sizeof *plan);
  if (layers == NULL || plan == NULL) return bl_fail(err, BL_ERR_MEMORY, "no memory for a plan");
  for (uint32_t k = 0; k < count; k++) {
    bool own;
    bl_layer_plan *entry = &plan[network->quantise.plan_count];
    BL_TRY(plan_layer(network, call, layers[k], entry, &own, err));
    network->quantise.plan_count += own;
  }
  network->quantise.plan = plan;
  return BL_OK;
}

static unsigned bits_of(const bl_codebook *codebook, unsigned bits) {
  return codebook != NULL ? 4 : bits;
}

static bl_status promise(bl_network *network, bl_error *err) {
  const bl_quantise_options *o = &network->quantise;
  unsigned *most = bl_arena_alloc(network->arena, 1, sizeof *most);
  if (most == NULL) return bl_fail(err, BL_ERR_MEMORY, "no memory for a promise");
  *most = bits_of(o->codebook, o->weight_bits);
  for (uint32_t k = 0; k < o->plan_count; k++) {
    const unsigned bits = bits_of(o->plan[k].codebook, o->plan[k].weight_bits);
    if (bits > *most) *most = bits;
    for (uint32_t n = 0; o->plan[k].channel_bits != NULL && n < o->plan[k].channels; n++)
      if (o->plan[k].channel_bits[n] > *most) *most = o->plan[k].channel_bits[n];
  }
  const bl_keep keep = {
      .what = "bits of weights", .unit = "", .figure = *most, .check = check_bits, .state = most};
  return bl_network_keep(network, &keep, err);
}

static bl_status run(bl_network *network, const bl_call *call, bl_error *err) {
  if (network->data.calibration == NULL)
    return bl_fail(err, BL_ERR_USAGE, "needs calibration data: say --calib or --data");
  uint32_t copies;
  BL_TRY(bl_network_free_weights(network, err));
  if (bl_call_count(call, "skip-bits") > 0) BL_TRY(bl_rewrite_skips(network->graph, &copies, err));
  network->quantised = true;
  network->quantise = (bl_quantise_options){
      .weight_bits = (unsigned)bl_call_count(call, "weight-bits"),
      .activation_bits = (unsigned)bl_call_count(call, "activation-bits"),
      .skip_bits = (unsigned)bl_call_count(call, "skip-bits"),
      .range = (bl_range_method)bl_call_choice(call, "range"),
      .percentage = bl_call_number(call, "percentage"),
      .rounding = (bl_rounding)bl_call_choice(call, "rounding"),
      .adaround_iterations = (uint32_t)bl_call_count(call, "iterations"),
      .seed = network->seed,
      .ternary_threshold = bl_call_number(call, "ternary-threshold"),
      .power_scales = bl_call_choice(call, "scales") == 1,
      .per_tensor = bl_call_choice(call, "scales") == 2,
      .bias_correction = (bl_bias_correction)bl_call_choice(call, "bias-correction"),
      .output_bits = (unsigned)bl_call_count(call, "output-bits"),
      .offset_bits = (unsigned)bl_call_count(call, "offset-bits"),
      .part_channels = network->device.config->cols,
      .cycles = bl_cost_graph,
      .device = &network->device};
  BL_TRY(open_codebook(network, bl_call_text(call, "codebook"), &network->quantise.codebook, err));
  BL_TRY(make_plan(network, call, err));
  return promise(network, err);
}

const bl_recipe_pass BL_PASS_QUANTISE = {
    .name = "quantise",
    .summary = "integers of so many bits, with ranges from calibration data",
    .source = "Krishnamoorthi 2018, Quantizing deep convolutional networks",
    .params = params,
    .averages = true,
    .param_count = sizeof params / sizeof params[0],
    .run = run,
};
