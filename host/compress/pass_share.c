// SPDX-License-Identifier: Apache-2.0
// Weights that share a few values: Deep Compression's second stage.
#include <math.h>

#include "host/compress/passes.h"
#include "host/share/shared.h"

static const bl_recipe_param params[] = {
    {BL_COUNT("clusters", "15", 0, BL_SHARED_MAX,
              "different values of a layer's weights, beside 0; 0: as they are"),
     .by_layer = true},
    {BL_CHOICE("start", "exact", "exact|linear|density|random|plus-plus",
               "the best clusters there are, or what k-means starts from")},
};

// Promised: no ruled weights have more values than their rule allows.
static bl_status check_values(const bl_network *network, const void *state, double *figure,
                              bool *holds, bl_error *err) {
  (void)state;
  (void)err;
  *figure = 0;
  *holds = true;
  for (uint32_t k = 0; k < network->rule_count; k++) {
    const bl_weight_rule *rule = &network->rules[k];
    const bl_value *value = bl_network_value(network, rule->value);
    if (rule->most == 0 || value == NULL) continue;
    const unsigned count = bl_shared_count(value->f, value->count, rule->most, NULL);
    *figure = fmax(*figure, count);
    *holds = *holds && count <= rule->most;
  }
  return BL_OK;
}

static double squares(const bl_value *value) {
  double sum = 0;
  for (size_t k = 0; k < value->count; k++)
    sum += (double)value->f[k] * (double)value->f[k];
  return sum;
}

static bl_status share_layer(bl_network *network, const char *layer, const bl_call *call,
                             unsigned *most, bl_error *err) {
  const bl_value *found = bl_network_weights(network->graph, bl_network_node(network, layer));
  bl_value *value = bl_network_value(network, found->name);
  const bl_kmeans_options options = {.clusters =
                                         (unsigned)bl_call_setting(call, layer, "clusters")->number,
                                     .start = (bl_kmeans_start)bl_call_choice(call, "start"),
                                     .seed = network->seed};
  bl_kmeans_result result;
  bl_weight_rule *rule;
  if (options.clusters == 0) return BL_OK;
  const double before = squares(value);
  BL_TRY(bl_share_values(value->f, value->count, &options, &result, err));
  BL_TRY(bl_network_rule(network, value->name, &rule, err));
  rule->most = options.clusters;
  if (options.clusters > *most) *most = options.clusters;
  bl_network_say(network, "%s: %u values, SQNR %.1f dB", layer, result.count,
                 10 * log10(before / fmax(result.error, 1e-30)));
  return BL_OK;
}

static bl_status run(bl_network *network, const bl_call *call, bl_error *err) {
  uint32_t count;
  unsigned most = 0;
  BL_TRY(bl_network_free_weights(network, err));
  const char **layers = bl_network_layers(network, false, &count);
  if (layers == NULL) return bl_fail(err, BL_ERR_MEMORY, "no memory for the names of layers");
  for (uint32_t k = 0; k < count; k++)
    BL_TRY(share_layer(network, layers[k], call, &most, err));
  const bl_keep keep = {
      .what = "different weights of a layer", .unit = "", .figure = most, .check = check_values};
  return bl_network_keep(network, &keep, err);
}

const bl_recipe_pass BL_PASS_SHARE = {
    .name = "share",
    .summary = "weights take a few shared values, 4-bit codes on the device",
    .source = "Han, Mao, Dally 2016, Deep Compression; Wang, Song 2011, Ckmeans.1d.dp",
    .params = params,
    .param_count = sizeof params / sizeof params[0],
    .run = run,
};
