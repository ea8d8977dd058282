// SPDX-License-Identifier: Apache-2.0
// What a plan says of weights, done to a copy of the float network: factors of lower rank, then
// pruned blocks (those of the factors, too).
#include <stdlib.h>
#include <string.h>

#include "host/graph/float_edit.h"
#include "host/lowrank/lowrank.h"
#include "host/prune/reconstruct.h"
#include "host/search/candidate_internal.h"

enum { MOST_PATTERN = 1024, RECONSTRUCTION_SAMPLES = 64 };

static bl_status no_memory(bl_error *err) {
  return bl_fail(err, BL_ERR_MEMORY, "search: no memory for the network's layers");
}

static const char *const factors[] = {"/u", "/v"};
enum { FACTORS = sizeof factors / sizeof factors[0] };

int32_t bl_candidate_layer(const bl_candidates *c, const char *name) {
  const size_t length = strlen(name);
  for (uint32_t k = 0; k < c->layer_count; k++) {
    const char *layer = c->layers[k].name;
    const size_t own = strlen(layer);
    if (strcmp(layer, name) == 0) return (int32_t)k;
    for (int f = 0; f < FACTORS; f++)
      if (length == own + strlen(factors[f]) && memcmp(layer, name, own) == 0 &&
          strcmp(name + own, factors[f]) == 0)
        return (int32_t)k;
  }
  return -1;
}

// Names that a layer has in the graph, its own or those of its factors: *count of them.
static bl_status names_of(const bl_float_graph *graph, const char *layer, bl_arena *arena,
                          const char *names[FACTORS], uint32_t *count, bl_error *err) {
  const size_t room = strlen(layer) + 8;
  *count = 1;
  names[0] = layer;
  if (bl_float_find_node(graph, layer) >= 0) return BL_OK;
  for (int f = 0; f < FACTORS; f++) {
    char *name = bl_arena_alloc(arena, room, 1);
    if (name == NULL) return no_memory(err);
    (void)strcat(strcpy(name, layer), factors[f]);
    if (bl_float_find_node(graph, name) < 0) return BL_OK; // neither: others will say so
    names[f] = name;
    *count = (uint32_t)f + 1;
  }
  return BL_OK;
}

static bl_status check(const bl_candidates *c, const bl_planned *layer, bl_error *err) {
  if (bl_candidate_layer(c, layer->layer) >= 0) return BL_OK;
  return bl_fail(err, BL_ERR_USAGE, "plan: no layer %.100s with weights", layer->layer);
}

// ---- Rank

static bool is_whole(const bl_planned *layer) {
  return layer->value[BL_KNOB_RANK] < 0 || layer->value[BL_KNOB_RANK] >= 1;
}

static bl_status factorise(const bl_candidates *c, const bl_search_plan *plan,
                           bl_float_graph *graph, bl_error *err) {
  for (uint32_t k = 0; k < plan->count; k++) {
    const bl_lowrank_options options = {.kind = BL_LOWRANK_SVD,
                                        .rule = BL_RANK_MACS,
                                        .share = plan->layers[k].value[BL_KNOB_RANK],
                                        .multiple = c->source.device.config->cols};
    bl_lowrank_result result;
    if (is_whole(&plan->layers[k])) continue;
    BL_TRY(check(c, &plan->layers[k], err));
    BL_TRY(bl_lowrank_layer(graph, plan->layers[k].layer, &options, NULL, &result, err));
  }
  return BL_OK;
}

// ---- Blocks

// A pattern that matches the name alone.
static const char *exactly(const char *name, bl_arena *arena) {
  char text[MOST_PATTERN];
  size_t length = 0;
  for (const char *at = name; *at != '\0' && length + 2 < sizeof text; at++) {
    if (strchr("*?[]\\", *at) != NULL) text[length++] = '\\';
    text[length++] = *at;
  }
  return bl_arena_strndup(arena, text, length);
}

static bl_status rules_of(const bl_candidates *c, const bl_search_plan *plan,
                          const bl_float_graph *graph, bl_arena *arena, bl_prune_options *options,
                          bl_error *err) {
  bl_prune_rule *rules = bl_arena_alloc(arena, (size_t)plan->count * FACTORS, sizeof *rules);
  if (rules == NULL) return no_memory(err);
  options->rules = rules;
  for (uint32_t k = 0; k < plan->count; k++) {
    const double part = plan->layers[k].value[BL_KNOB_BLOCKS];
    const char *names[FACTORS];
    uint32_t count;
    if (part <= 0) continue;
    BL_TRY(check(c, &plan->layers[k], err));
    BL_TRY(names_of(graph, plan->layers[k].layer, arena, names, &count, err));
    for (uint32_t f = 0; f < count; f++) {
      const char *pattern = exactly(names[f], arena);
      if (pattern == NULL) return no_memory(err);
      rules[options->rule_count++] = (bl_prune_rule){.pattern = pattern, .amount = part};
    }
  }
  return BL_OK;
}

// Of each searched layer's weights as they are now, factors together.
static void note_pruned(const bl_candidates *c, const bl_prune *prune, double *pruned,
                        double *weights) {
  for (uint32_t k = 0; k < prune->count; k++) {
    const int32_t layer = bl_candidate_layer(c, prune->layers[k].name);
    if (layer < 0) continue;
    pruned[layer] += bl_prune_sparsity(prune, &prune->layers[k]) * (double)prune->layers[k].count;
    weights[layer] += (double)prune->layers[k].count;
  }
  for (uint32_t k = 0; k < c->layer_count; k++)
    if (weights[k] > 0) pruned[k] /= weights[k];
}

static bl_status prune_blocks(const bl_candidates *c, const bl_prune_options *options, bool rough,
                              bl_float_graph *graph, bl_prune *prune, bl_error *err) {
  const bl_config *config = c->source.device.config;
  BL_TRY(bl_prune_blocks(prune, graph, config->lanes, config->cols, err));
  BL_TRY(bl_prune_score_graph(prune, graph, BL_PRUNE_MAGNITUDE, 0, err));
  BL_TRY(bl_prune_masks(prune, options, 1, err));
  if (rough) return bl_prune_apply(prune, graph, err);
  return bl_prune_reconstruct(prune, graph, c->source.calibration, RECONSTRUCTION_SAMPLES, err);
}

static bl_status prune_graph(const bl_candidates *c, const bl_search_plan *plan, bool rough,
                             bl_arena *arena, bl_float_graph *graph, double *pruned,
                             bl_error *err) {
  bl_prune_options options = {.norm = BL_PRUNE_L2, .each_layer = true};
  double *weights = bl_arena_alloc(arena, c->layer_count, sizeof *weights);
  bl_prune *prune;
  if (weights == NULL) return no_memory(err);
  BL_TRY(rules_of(c, plan, graph, arena, &options, err));
  if (options.rule_count == 0) return BL_OK;
  BL_TRY(bl_prune_open(graph, &prune, err));
  const bl_status status = prune_blocks(c, &options, rough, graph, prune, err);
  if (status == BL_OK) note_pruned(c, prune, pruned, weights);
  bl_prune_close(prune);
  return status;
}

bl_status bl_candidate_edit(const bl_candidates *c, const bl_search_plan *plan, bool rough,
                            bl_float_graph **graph, double *pruned, bl_error *err) {
  bool any = false;
  *graph = NULL;
  memset(pruned, 0, c->layer_count * sizeof *pruned);
  for (uint32_t k = 0; k < plan->count; k++)
    any = any || plan->layers[k].value[BL_KNOB_BLOCKS] > 0 || !is_whole(&plan->layers[k]);
  if (!any) return BL_OK;
  bl_arena *arena = bl_arena_new(BL_SPACE_MOST_BYTES);
  if (arena == NULL) return no_memory(err);
  bl_status status = bl_float_copy(c->source.graph, 0, graph, err);
  if (status == BL_OK) status = factorise(c, plan, *graph, err);
  if (status == BL_OK) status = prune_graph(c, plan, rough, arena, *graph, pruned, err);
  if (status != BL_OK) bl_float_graph_free(*graph);
  if (status != BL_OK) *graph = NULL;
  bl_arena_free(arena);
  return status;
}

// ---- Bits

bl_status bl_candidate_bits(const bl_search_plan *plan, const bl_float_graph *graph,
                            bl_arena *arena, bl_layer_plan **entries, uint32_t *count,
                            bl_error *err) {
  *count = 0;
  *entries = bl_arena_alloc(arena, (size_t)plan->count * FACTORS, sizeof **entries);
  if (*entries == NULL) return no_memory(err);
  for (uint32_t k = 0; k < plan->count; k++) {
    const double *value = plan->layers[k].value;
    const double weights = value[BL_KNOB_WEIGHT_BITS], activations = value[BL_KNOB_ACTIVATION_BITS];
    const char *names[FACTORS];
    uint32_t name_count;
    if (weights < 0 && activations < 0) continue;
    BL_TRY(names_of(graph, plan->layers[k].layer, arena, names, &name_count, err));
    for (uint32_t f = 0; f < name_count; f++)
      (*entries)[(*count)++] =
          (bl_layer_plan){.layer = names[f],
                          .weight_bits = weights < 0 ? 0 : (unsigned)weights,
                          .product_bits = activations < 0 ? 0 : (unsigned)activations};
  }
  return BL_OK;
}
