// SPDX-License-Identifier: Apache-2.0
#include "host/compress/pruning.h"

#include <math.h>
#include <string.h>

#include "host/graph/float_edit.h"

enum { SCORE_BATCH = 64 };

bl_status bl_pruning_score(const bl_network *network, bl_prune *prune, bl_prune_score score,
                           uint64_t batches, bl_error *err) {
  const bl_train_data *data = network->data.training;
  bl_float_graph *graph;
  if (score == BL_PRUNE_MAGNITUDE || score == BL_PRUNE_RANDOM)
    return bl_prune_score_graph(prune, network->graph, score, network->seed, err);
  if (data == NULL) return bl_fail(err, BL_ERR_USAGE, "scores by gradient need data: say --data");
  const size_t batch = data->count < SCORE_BATCH ? data->count : SCORE_BATCH;
  BL_TRY(bl_float_copy(network->graph, (int64_t)batch, &graph, err));
  bl_train_threads(network->threads);
  const bl_status status = bl_prune_score_data(prune, graph, data, batches, score, err);
  bl_float_graph_free(graph);
  return status;
}

static bl_status open_units(const bl_network *network, const bl_float_graph *graph, bool blocks,
                            bl_prune **prune, bl_error *err) {
  const bl_config *config = network->device.config;
  BL_TRY(bl_prune_open(graph, prune, err));
  const bl_status status =
      blocks ? bl_prune_blocks(*prune, graph, config->lanes, config->cols, err) : BL_OK;
  if (status == BL_OK) return BL_OK;
  bl_prune_close(*prune);
  *prune = NULL;
  return status;
}

bl_status bl_pruning_apply(const bl_network *network, const bl_prune *prune, uint64_t samples,
                           bl_error *err) {
  const bl_train_data *data = network->data.calibration;
  if (samples == 0) return bl_prune_apply(prune, network->graph, err);
  if (data == NULL) return bl_fail(err, BL_ERR_USAGE, "reconstruct needs data: say --data");
  return bl_prune_reconstruct(prune, network->graph, data, samples, err);
}

static void say_layers(const bl_network *network, const bl_prune *prune, bool blocks) {
  for (uint32_t k = 0; k < prune->count; k++) {
    const bl_prune_layer *l = &prune->layers[k];
    bl_network_say(network, "%s: %.1f %% of %u %s", l->name, 100 * bl_prune_unit_sparsity(prune, l),
                   (unsigned)l->unit_count, blocks ? "blocks" : "weights");
  }
}

bl_status bl_pruning_at_once(bl_network *network, const struct bl_pruning *p, bl_error *err) {
  bl_prune *prune;
  BL_TRY(bl_network_free_weights(network, err));
  BL_TRY(open_units(network, network->graph, p->blocks, &prune, err));
  bl_status status = bl_pruning_score(network, prune, p->score, p->batches, err);
  if (status == BL_OK) status = bl_prune_masks(prune, &p->options, 1, err);
  if (status == BL_OK) status = bl_pruning_apply(network, prune, p->reconstruct, err);
  if (status == BL_OK) say_layers(network, prune, p->blocks);
  bl_prune_close(prune);
  return status == BL_OK ? bl_pruning_promise(network, err) : status;
}

bl_status bl_pruning_schedule(const bl_network *network, const bl_float_graph *graph,
                              uint64_t steps, bl_prune_schedule *schedule, bl_error *err) {
  const struct bl_pruning *p = network->pruning;
  *schedule = (bl_prune_schedule){.options = p->options,
                                  .score = p->score,
                                  .seed = network->seed,
                                  .begin = (uint64_t)(p->begin * (double)steps),
                                  .end = (uint64_t)(p->end * (double)steps),
                                  .every = p->every,
                                  .start = p->start};
  if (steps > 0 && schedule->end >= steps) schedule->end = steps - 1;
  if (schedule->begin > schedule->end) schedule->begin = schedule->end;
  return open_units(network, graph, p->blocks, &schedule->prune, err);
}

// A pattern of recipes, where only * is special, as one of the shell.
const char *bl_call_pattern(bl_arena *arena, const bl_call *call, const char *pattern) {
  if (strcmp(pattern, "first") == 0) pattern = call->first;
  if (strcmp(pattern, "last") == 0) pattern = call->last;
  char *text = bl_arena_alloc(arena, 2 * strlen(pattern) + 1, 1);
  for (size_t k = 0; text != NULL && *pattern != '\0'; pattern++) {
    if (strchr("?[\\", *pattern) != NULL) text[k++] = '\\';
    text[k++] = *pattern;
  }
  return text;
}

// ---- The promise

typedef struct {
  const char **values; // names of weights
  uint32_t count;
  double sparsity;
} promised;

static bool has_one_bit(const bl_network *network, const char *layer) {
  const bl_quantise_options *o = &network->quantise;
  bool one = o->weight_bits == 1 && o->codebook == NULL;
  for (uint32_t k = 0; k < o->plan_count; k++) {
    const bl_layer_plan *e = &o->plan[k];
    const bool says = e->weight_bits > 0 || e->codebook != NULL || e->channel_bits != NULL;
    if (says && strcmp(e->layer, layer) == 0) one = e->weight_bits == 1 && e->codebook == NULL;
  }
  return one;
}

// Will the value's zeros be zeros of the integer network? Weights of 1 bit have none, but for
// shared ones, which get codes.
static bool keeps_zeros(const bl_network *network, const bl_value *v) {
  const bl_weight_rule *rule = bl_network_find_rule(network, v->name);
  const bl_float_graph *graph = network->graph;
  bool keeps = true;
  if (!network->quantised || (rule != NULL && rule->most > 0)) return true;
  for (uint32_t n = 0; n < graph->node_count; n++)
    if (bl_network_weights(graph, &graph->nodes[n]) == v)
      keeps = keeps && !has_one_bit(network, graph->nodes[n].name);
  return keeps;
}

// Zeros of those of the weights that are still there.
static double sparsity_of(const bl_network *network, const promised *p) {
  uint64_t zeros = 0, all = 0;
  for (uint32_t k = 0; k < p->count; k++) {
    const bl_value *v = bl_network_value(network, p->values[k]);
    const bool counts = v != NULL && v->f != NULL && keeps_zeros(network, v);
    for (size_t i = 0; counts && i < v->count; i++)
      zeros += v->f[i] == 0;
    if (v != NULL) all += v->count;
  }
  return all > 0 ? (double)zeros / (double)all : 0;
}

static bl_status check_sparsity(const bl_network *network, const void *state, double *figure,
                                bool *holds, bl_error *err) {
  const promised *p = state;
  (void)err;
  *figure = 100 * sparsity_of(network, p);
  *holds = *figure >= 100 * p->sparsity - 0.05;
  return BL_OK;
}

bl_status bl_pruning_promise(bl_network *network, bl_error *err) {
  const bl_float_graph *graph = network->graph;
  promised *p = bl_arena_alloc(network->arena, 1, sizeof *p);
  if (p != NULL) p->values = bl_arena_alloc(network->arena, graph->node_count, sizeof *p->values);
  if (p == NULL || p->values == NULL) return bl_fail(err, BL_ERR_MEMORY, "no memory for a promise");
  for (uint32_t n = 0; n < graph->node_count; n++) {
    const bl_value *v = bl_network_weights(graph, &graph->nodes[n]);
    bl_weight_rule *rule;
    if (v == NULL || v->f == NULL) continue;
    BL_TRY(bl_network_rule(network, v->name, &rule, err));
    rule->sparse = true;
    p->values[p->count++] = rule->value;
  }
  p->sparsity = sparsity_of(network, p);
  const bl_keep keep = {.what = "sparsity",
                        .unit = " %",
                        .figure = 100 * p->sparsity,
                        .check = check_sparsity,
                        .state = p};
  return bl_network_keep(network, &keep, err);
}
