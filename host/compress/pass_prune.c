// SPDX-License-Identifier: Apache-2.0
// Pruning of weights and of blocks.
#include <string.h>

#include "host/compress/passes.h"
#include "host/compress/pruning.h"

static const bl_recipe_param params[] = {
    {BL_NUMBER("sparsity", "0.5", 0, 1, "part that is pruned"), .by_layer = true},
    {BL_NUMBER("threshold", "0", 0, 100,
               "instead of sparsity: prune below so much of what `of` says"),
     .by_layer = true},
    {BL_CHOICE("of", "largest", "largest|deviation",
               "a layer's largest score, or the deviation of its weights")},
    {BL_CHOICE("score", "magnitude", "magnitude|taylor|gradient|random",
               "what the least important have least of")},
    {BL_CHOICE("granularity", "weight", "weight|block",
               "single weights, or blocks that the device skips")},
    {BL_CHOICE("norm", "l1", "l1|l2", "of the scores in a block")},
    {BL_CHOICE("scope", "global", "global|layer", "sparsity of all layers together, or of each")},
    {BL_FLAG("per-pixel", "false",
             "weigh scores by the pixels, as cycles are, that a weight works on")},
    {BL_CHOICE("classes", "all", "all|dense|convolution|depthwise",
               "kinds of layers that are pruned")},
    {BL_FLAG("keep-first", "true", "leave the first layer as it is")},
    {BL_FLAG("keep-last", "false", "leave the last layer as it is")},
    {BL_COUNT("batches", "32", 1, 1e6, "of 64 samples that taylor and gradient are taken from")},
    {BL_COUNT("reconstruct", "0", 0, 1e6,
              "calibration samples on which what is left takes over; 0: none")},
    {BL_FLAG("gradual", "false", "prune step by step in the next `train`, instead of now")},
    {BL_NUMBER("begin", "0", 0, 1, "gradual: part of the training before it begins")},
    {BL_NUMBER("end", "0.6", 0, 1, "gradual: part of the training behind which masks stay")},
    {BL_COUNT("every", "50", 1, 1e6, "gradual: steps from one choice of masks to the next")},
    {BL_NUMBER("start", "0", 0, 1, "gradual: part of the sparsity that is there at once")},
    {BL_FLAG("regrow", "false", "pruned weights may come back where their score is high")},
};

static uint32_t index_of(const char *name) {
  uint32_t at = 0;
  while (strcmp(params[at].name, name) != 0)
    at++;
  return at;
}

static bool has_thresholds(const bl_call *call) {
  bool any = bl_call_number(call, "threshold") > 0;
  for (uint32_t k = 0; k < call->layer_count; k++)
    any = any || call->layers[k].settings[index_of("threshold")].given;
  return any;
}

// Rules of single layers, the last of the recipe first, then one for the classes.
static bl_status make_rules(bl_network *network, const bl_call *call, const char *name,
                            bl_prune_options *o, bl_error *err) {
  static const unsigned classes[] = {0, BL_PRUNE_DENSE, BL_PRUNE_CONVOLUTION, BL_PRUNE_DEPTHWISE};
  bl_prune_rule *rules = bl_arena_alloc(network->arena, call->layer_count + 1U, sizeof *rules);
  const char *none = rules == NULL ? "" : NULL;
  for (uint32_t k = call->layer_count; k-- > 0 && none == NULL;) {
    const bl_setting *setting = &call->layers[k].settings[index_of(name)];
    if (!setting->given) continue;
    const char *pattern = bl_call_pattern(network->arena, call, call->layers[k].pattern);
    if (pattern == NULL) none = "";
    rules[o->rule_count++] = (bl_prune_rule){.pattern = pattern, .amount = setting->number};
  }
  if (none != NULL) return bl_fail(err, BL_ERR_MEMORY, "no memory for rules");
  rules[o->rule_count++] = (bl_prune_rule){.classes = classes[bl_call_choice(call, "classes")],
                                           .amount = bl_call_number(call, name)};
  o->rules = rules;
  return BL_OK;
}

static bl_status run(bl_network *network, const bl_call *call, bl_error *err) {
  const bool thresholds = has_thresholds(call);
  struct bl_pruning *p = bl_arena_alloc(network->arena, 1, sizeof *p);
  if (p == NULL) return bl_fail(err, BL_ERR_MEMORY, "no memory");
  *p = (struct bl_pruning){.score = (bl_prune_score)bl_call_choice(call, "score"),
                           .blocks = bl_call_choice(call, "granularity") == 1,
                           .batches = bl_call_count(call, "batches"),
                           .reconstruct = bl_call_count(call, "reconstruct"),
                           .begin = bl_call_number(call, "begin"),
                           .end = bl_call_number(call, "end"),
                           .start = bl_call_number(call, "start"),
                           .every = bl_call_count(call, "every")};
  p->options = (bl_prune_options){.norm = (bl_prune_norm)bl_call_choice(call, "norm"),
                                  .each_layer = bl_call_choice(call, "scope") == 1,
                                  .per_pixel = bl_call_flag(call, "per-pixel"),
                                  .regrow = bl_call_flag(call, "regrow")};
  if (thresholds)
    p->options.measure = bl_call_choice(call, "of") == 0 ? BL_PRUNE_LARGEST : BL_PRUNE_DEVIATION;
  if (bl_call_flag(call, "keep-first")) p->options.keep |= BL_PRUNE_FIRST;
  if (bl_call_flag(call, "keep-last")) p->options.keep |= BL_PRUNE_LAST;
  BL_TRY(make_rules(network, call, thresholds ? "threshold" : "sparsity", &p->options, err));
  if (!bl_call_flag(call, "gradual")) return bl_pruning_at_once(network, p, err);
  network->pruning = p;
  return BL_OK;
}

const bl_recipe_pass BL_PASS_PRUNE = {
    .name = "prune",
    .summary = "set the least important weights, or blocks of them, to 0",
    .source = "Han et al. 2015, Learning both Weights and Connections; Zhu and Gupta 2017",
    .params = params,
    .param_count = sizeof params / sizeof params[0],
    .run = run,
};
