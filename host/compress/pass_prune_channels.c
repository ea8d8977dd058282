// SPDX-License-Identifier: Apache-2.0
// Pruning of whole channels.
#include <string.h>

#include "host/compress/passes.h"
#include "host/compress/pruning.h"
#include "host/prune/channels.h"

enum { L1, L2, TAYLOR, GAMMA, RANDOM };

static const bl_recipe_param params[] = {
    {BL_NUMBER("amount", "0.5", 0, 1, "part of the channels that is removed"), .by_layer = true},
    {BL_CHOICE("score", "l1", "l1|l2|taylor|gamma|random",
               "norm of filters, change of the loss, or gamma of batch norms")},
    {BL_CHOICE("scope", "layer", "global|layer",
               "of all channels together, or of each group that depends on each other")},
    {BL_COUNT("multiple", "0", 0, 1024,
              "what a layer keeps is a multiple; 0: of the device's columns")},
    {BL_COUNT("batches", "32", 1, 1e6, "of 64 samples that taylor is taken from")},
    {BL_COUNT("reconstruct", "0", 0, 1e6,
              "calibration samples on which what is left takes over; 0: none")},
};

static bl_status score(const bl_network *network, const bl_call *call, bl_channels *channels,
                       bl_error *err) {
  const int how = bl_call_choice(call, "score");
  bl_prune *prune;
  if (how == GAMMA) return bl_channels_score_gamma(channels, network->graph, err);
  BL_TRY(bl_prune_open(network->graph, &prune, err));
  const bl_prune_score single = how == TAYLOR   ? BL_PRUNE_TAYLOR
                                : how == RANDOM ? BL_PRUNE_RANDOM
                                                : BL_PRUNE_MAGNITUDE;
  bl_status status = bl_pruning_score(network, prune, single, bl_call_count(call, "batches"), err);
  if (status == BL_OK)
    status = bl_channels_score(channels, prune, how == L2 ? BL_PRUNE_L2 : BL_PRUNE_L1,
                               how != TAYLOR, err);
  bl_prune_close(prune);
  return status;
}

static bl_status choose(bl_network *network, const bl_call *call, bl_channels *channels,
                        bl_error *err) {
  const uint64_t multiple = bl_call_count(call, "multiple");
  bl_channels_options o = {.amount = bl_call_number(call, "amount"),
                           .global = bl_call_choice(call, "scope") == 0,
                           .multiple =
                               multiple > 0 ? (uint32_t)multiple : network->device.config->cols};
  bl_prune_rule *rules = bl_arena_alloc(network->arena, call->layer_count, sizeof *rules);
  if (rules == NULL) return bl_fail(err, BL_ERR_MEMORY, "no memory for rules");
  for (uint32_t k = call->layer_count; k-- > 0;) {
    const char *pattern = bl_call_pattern(network->arena, call, call->layers[k].pattern);
    if (pattern == NULL) return bl_fail(err, BL_ERR_MEMORY, "no memory for rules");
    if (!call->layers[k].settings[0].given) continue;
    rules[o.rule_count++] =
        (bl_prune_rule){.pattern = pattern, .amount = call->layers[k].settings[0].number};
  }
  o.rules = rules;
  BL_TRY(score(network, call, channels, err));
  return bl_channels_choose(channels, network->graph, &o, err);
}

// What reads removed channels makes up for them before they go.
static bl_status reconstruct(const bl_network *network, const bl_channels *channels,
                             uint64_t samples, bl_error *err) {
  bl_prune *prune;
  if (samples == 0) return BL_OK;
  BL_TRY(bl_prune_open(network->graph, &prune, err));
  bl_channels_masks(channels, prune);
  const bl_status status = bl_pruning_apply(network, prune, samples, err);
  bl_prune_close(prune);
  return status;
}

static bl_status run(bl_network *network, const bl_call *call, bl_error *err) {
  bl_channels *channels;
  BL_TRY(bl_network_free_weights(network, err));
  BL_TRY(bl_channels_open(network->graph, &channels, err));
  bl_status status = choose(network, call, channels, err);
  if (status == BL_OK) {
    bl_network_say(network, "%u of %u channels removed, in %u groups",
                   (unsigned)bl_channels_removed(channels), (unsigned)channels->class_count,
                   (unsigned)channels->group_count);
    status = reconstruct(network, channels, bl_call_count(call, "reconstruct"), err);
  }
  if (status == BL_OK) status = bl_channels_remove(channels, network->graph, err);
  bl_channels_close(channels);
  return status;
}

const bl_recipe_pass BL_PASS_PRUNE_CHANNELS = {
    .name = "prune-channels",
    .summary = "remove filters and neurons, with all that depends on them",
    .source = "Li et al. 2017, Pruning Filters; Liu et al. 2017, Network Slimming; Molchanov 2019",
    .params = params,
    .param_count = sizeof params / sizeof params[0],
    .run = run,
};
