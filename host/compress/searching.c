// SPDX-License-Identifier: Apache-2.0
#include "host/compress/searching.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/compress/pruning.h"
#include "host/cost/cost.h"
#include "host/graph/rewrite.h"

enum { SEARCHING_CAP = 256 << 20 };

bl_status bl_searching_values(const bl_call *call, const char *name,
                              double values[BL_KNOB_MOST_VALUES], uint32_t *count, bl_error *err) {
  const char *text = bl_call_text(call, name);
  *count = 0;
  for (const char *at = text;; at++) {
    char *end = NULL;
    const double value = strtod(at, &end);
    if (end == at || (*end != ',' && *end != '\0') || *count == BL_KNOB_MOST_VALUES)
      return bl_fail(err, BL_ERR_USAGE, "%s: %s: expected up to %d numbers, such as 2,3,4", name,
                     text, BL_KNOB_MOST_VALUES);
    values[(*count)++] = value;
    at = end;
    if (*at == '\0') return BL_OK;
  }
}

static bl_status make_space(bl_searching *s, const bl_call *call, bl_error *err) {
  static const char *const names[BL_KNOB_KINDS] = {[BL_KNOB_WEIGHT_BITS] = "weight-bits",
                                                   [BL_KNOB_BLOCKS] = "blocks",
                                                   [BL_KNOB_RANK] = "ranks",
                                                   [BL_KNOB_ACTIVATION_BITS] = "activation-bits"};
  double values[BL_KNOB_KINDS][BL_KNOB_MOST_VALUES];
  bl_search_choices choices;
  for (int kind = 0; kind < BL_KNOB_KINDS; kind++) {
    choices.values[kind] = values[kind];
    BL_TRY(bl_searching_values(call, names[kind], values[kind], &choices.counts[kind], err));
  }
  return bl_search_space(s->candidates, &choices, s->arena, &s->space, err);
}

static bl_train_data first_of(const bl_train_data *data, uint64_t count) {
  bl_train_data part = *data;
  if (count < part.count) part.count = (size_t)count;
  return part;
}

static bl_status open_candidates(bl_searching *s, const bl_call *call, bl_error *err) {
  bl_network *n = s->network;
  s->calibration = first_of(n->data.calibration, bl_call_count(call, "samples"));
  s->held_out = first_of(n->data.held_out, bl_call_count(call, "judges"));
  s->quantise = (bl_quantise_options){
      .weight_bits = 8,
      .activation_bits = 8,
      .skip_bits = (unsigned)bl_call_count(call, "skip-bits"),
      .range = BL_RANGE_MSE,
      .rounding = (bl_rounding)bl_call_choice(call, "rounding"),
      .bias_correction = (bl_bias_correction)bl_call_choice(call, "bias-correction"),
      .part_channels = n->device.config->cols,
      .cycles = bl_cost_graph,
      .device = &n->device};
  const bl_candidate_source source = {.graph = n->graph,
                                      .quantise = s->quantise,
                                      .calibration = &s->calibration,
                                      .held_out = &s->held_out,
                                      .device = n->device};
  return bl_candidates_open(&source, &s->candidates, err);
}

static void say(void *user, const char *line) {
  bl_network_say(user, "%s", line);
}

static bl_status open_pool(bl_searching *s, const bl_judge *judge, bl_error *err) {
  char candidates[20], fingerprint[200];
  bl_candidates_fingerprint(s->candidates, candidates);
  (void)snprintf(fingerprint, sizeof fingerprint, "%s%s%s", candidates, judge == NULL ? "" : " ",
                 judge == NULL ? "" : judge->settings);
  const bl_pool_options options = {.space = &s->space,
                                   .evaluate =
                                       judge == NULL ? bl_candidate_evaluate : judge->evaluate,
                                   .context = judge == NULL ? s->candidates : judge->context,
                                   .workers = s->workers,
                                   .state = bl_network_file(s->network, ".jsonl"),
                                   .fingerprint = fingerprint};
  return bl_pool_open(&options, &s->pool, err);
}

bl_status bl_searching_open(bl_network *network, const bl_call *call, const bl_judge *judge,
                            bl_searching *s, bl_error *err) {
  const long processors = sysconf(_SC_NPROCESSORS_ONLN);
  uint32_t copies;
  *s = (bl_searching){.network = network, .arena = bl_arena_new(SEARCHING_CAP)};
  if (s->arena == NULL) return bl_fail(err, BL_ERR_MEMORY, "no memory for a search");
  if (network->data.calibration == NULL || network->data.held_out == NULL)
    return bl_fail(err, BL_ERR_USAGE, "needs samples to judge by: say --data");
  s->workers = network->threads != 0 ? network->threads
               : processors < 1      ? 1
               : processors > 16     ? 16
                                     : (uint32_t)processors;
  if (s->workers > BL_MAX_SHARDS) s->workers = BL_MAX_SHARDS;
  const double most_cycles = bl_call_number(call, "max-cycles");
  const double most_bytes = bl_call_number(call, "max-bytes");
  s->options =
      (bl_search_options){.limits = {{most_cycles > 0 ? most_cycles : INFINITY,
                                      most_bytes > 0 ? most_bytes : INFINITY, INFINITY},
                                     -1},
                          .axis = most_bytes > 0 && most_cycles <= 0 ? BL_BYTES : BL_CYCLES,
                          .budgets = (uint32_t)bl_call_count(call, "budgets"),
                          .seed = network->seed,
                          .workers = s->workers,
                          .say = say,
                          .user = network};
  BL_TRY(bl_network_free_weights(network, err));
  if (bl_call_count(call, "skip-bits") > 0) BL_TRY(bl_rewrite_skips(network->graph, &copies, err));
  BL_TRY(open_candidates(s, call, err));
  BL_TRY(make_space(s, call, err));
  return open_pool(s, judge, err);
}

void bl_searching_close(bl_searching *s) {
  bl_pool_close(s->pool);
  bl_candidates_close(s->candidates);
  bl_arena_free(s->arena);
}

// ---- A choice in the network

static bl_status edit(const bl_searching *s, const bl_search_plan *plan, bl_network *network,
                      bl_error *err) {
  bl_float_graph *graph;
  uint32_t layers;
  (void)bl_candidates_layers(s->candidates, &layers);
  double *pruned = calloc(layers, sizeof *pruned);
  if (pruned == NULL) return bl_fail(err, BL_ERR_MEMORY, "no memory for what is pruned");
  bl_status status = bl_candidate_edit(s->candidates, plan, false, &graph, pruned, err);
  free(pruned);
  if (status != BL_OK || graph == NULL) return status;
  bl_network_replace(network, graph);
  return bl_pruning_promise(network, err);
}

// Promised: no layer's weights have more bits than the plan says.
typedef struct {
  const bl_layer_plan *plan;
  uint32_t count;
  unsigned others;
} promised;

static bl_status check_bits(const bl_network *network, const void *state, double *figure,
                            bool *holds, bl_error *err) {
  const promised *p = state;
  bl_quantised made;
  double bits = 0, weights = 0;
  BL_TRY(bl_network_quantise(network, NULL, &made, err));
  *holds = true;
  for (uint32_t k = 0; k < made.graph->layer_count; k++) {
    const bl_int_layer *layer = &made.graph->layers[k];
    const unsigned has = layer->codebook != NULL ? 4 : layer->weight_format.bits;
    unsigned most = p->others;
    for (uint32_t i = 0; i < p->count; i++)
      if (strcmp(p->plan[i].layer, layer->name) == 0 && p->plan[i].weight_bits != 0)
        most = p->plan[i].weight_bits;
    *holds = *holds && has <= most;
    bits += (double)bl_int_weights(made.graph, layer) * has;
    weights += (double)bl_int_weights(made.graph, layer);
  }
  *figure = bits / fmax(weights, 1);
  bl_arena_free(made.graph->arena);
  return BL_OK;
}

static bl_status promise(bl_network *network, bl_error *err) {
  promised *p = bl_arena_alloc(network->arena, 1, sizeof *p);
  if (p == NULL) return bl_fail(err, BL_ERR_MEMORY, "no memory for a promise");
  *p = (promised){network->quantise.plan, network->quantise.plan_count,
                  network->quantise.weight_bits};
  bl_keep keep = {.what = "mean bits of weights", .unit = "", .check = check_bits, .state = p};
  bool holds;
  BL_TRY(check_bits(network, p, &keep.figure, &holds, err));
  return bl_network_keep(network, &keep, err);
}

bl_status bl_searching_take(const bl_searching *s, const uint8_t *choice, bl_network *network,
                            bl_error *err) {
  bl_search_plan plan;
  BL_TRY(bl_space_plan(&s->space, choice, network->arena, &plan, err));
  return bl_searching_take_plan(s, &plan, network, err);
}

static void say_plan(const bl_network *network, const bl_search_plan *plan) {
  for (uint32_t k = 0; k < plan->count; k++) {
    char text[100] = "";
    size_t length = 0;
    for (int kind = 0; kind < BL_KNOB_KINDS; kind++)
      if (plan->layers[k].value[kind] >= 0)
        length += (size_t)snprintf(text + length, sizeof text - length, ", %s %g",
                                   bl_knob_name((bl_knob_kind)kind), plan->layers[k].value[kind]);
    bl_network_say(network, "%s%s", plan->layers[k].layer, text);
  }
}

bl_status bl_searching_take_plan(const bl_searching *s, const bl_search_plan *given,
                                 bl_network *network, bl_error *err) {
  bl_search_plan plan = {bl_arena_alloc(network->arena, given->count, sizeof *plan.layers),
                         given->count};
  bl_layer_plan *entries;
  if (plan.layers == NULL) return bl_fail(err, BL_ERR_MEMORY, "no memory for a plan");
  for (uint32_t k = 0; k < plan.count; k++) { // names of the graph, which passes may replace
    const char *layer = given->layers[k].layer;
    plan.layers[k] = given->layers[k];
    plan.layers[k].layer = bl_arena_strndup(network->arena, layer, strlen(layer));
    if (plan.layers[k].layer == NULL) return bl_fail(err, BL_ERR_MEMORY, "no memory for a plan");
  }
  BL_TRY(edit(s, &plan, network, err));
  network->quantised = true;
  network->quantise = s->quantise;
  network->quantise.device = &network->device;
  BL_TRY(bl_candidate_bits(&plan, network->graph, network->arena, &entries,
                           &network->quantise.plan_count, err));
  network->quantise.plan = entries;
  say_plan(network, &plan);
  return promise(network, err);
}
