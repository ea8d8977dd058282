// SPDX-License-Identifier: Apache-2.0
// Low rank, a pass for each way to take a layer apart.
#include <math.h>
#include <string.h>

#include "host/compress/norms.h"
#include "host/compress/passes.h"
#include "host/graph/float_edit.h"
#include "host/lowrank/lowrank.h"
#include "host/search/assign.h"

enum { BY_NETWORK = 5 };                           // of rank-by
enum { BY_STATISTICS = 1, BY_RECONSTRUCTION = 2 }; // of repair
static const double LEAST_ENERGY = 1e-6;

static const bl_recipe_param params[] = {
    {BL_FLAG("apply", "true", "whether a layer is taken apart at all"), .by_layer = true},
    {BL_CHOICE(
         "rank-by", "network", "rank|energy|weights|macs|auto|network",
         "what decides about the rank; auto: what stands out of noise (VBMF); network: macs of "
         "all layers together"),
     .by_layer = true},
    {BL_NUMBER("share", "0.5", 0.001, 1,
               "of energy to keep at least, or of weights or macs to keep at most"),
     .by_layer = true},
    {BL_COUNT("rank", "1", 1, 65535,
              "components, with rank-by: rank; of outputs (tucker), of each input (separable)"),
     .by_layer = true},
    {BL_COUNT("rank-in", "0", 0, 65535, "tucker's of inputs; 0: in proportion"), .by_layer = true},
    {BL_COUNT("multiple", "0", 0, 1024,
              "of which ranks that are not given are; 0: of the device's columns"),
     .by_layer = true},
    {BL_FLAG(
        "data", "true",
        "least error of outputs on the calibration samples, where there are any, not of weights")},
    {BL_CHOICE(
        "repair", "reconstruct", "none|statistics|reconstruct",
        "afterwards, on the calibration samples: batch norms take their statistics again, or "
        "each layer's last factor is solved again")},
    {BL_COUNT("samples", "128", 1, 1e6, "calibration samples that repair: reconstruct runs")},
};

// ---- The promise: the factors are still there, with at most the weights that they had

typedef struct {
  const char **nodes; // names
  uint32_t count;
  uint64_t weights;
} factors;

static bl_status check_factors(const bl_network *network, const void *state, double *figure,
                               bool *holds, bl_error *err) {
  const factors *f = state;
  uint64_t weights = 0;
  (void)err;
  *holds = true;
  for (uint32_t k = 0; k < f->count; k++) {
    const bl_node *node = bl_network_node(network, f->nodes[k]);
    const bl_value *w = node != NULL ? bl_network_weights(network->graph, node) : NULL;
    if (w == NULL)
      *holds = false;
    else
      weights += w->count;
  }
  *figure = (double)weights;
  *holds = *holds && weights <= f->weights;
  return BL_OK;
}

static const char *const suffixes[] = {"/u", "/core", "/v"};

// Is it, by its name, a factor already?
static bool is_factor(const char *layer) {
  const char *slash = strrchr(layer, '/');
  for (size_t k = 0; slash != NULL && k < 3; k++)
    if (strcmp(slash, suffixes[k]) == 0) return true;
  return false;
}

static bl_status note_factors(const bl_network *network, uint32_t from, uint32_t count, factors *f,
                              bl_error *err) {
  for (uint32_t n = from; n < from + count; n++) {
    const bl_node *node = &network->graph->nodes[n];
    const char *name = bl_arena_strndup(network->arena, node->name, strlen(node->name));
    if (name == NULL) return bl_fail(err, BL_ERR_MEMORY, "no memory for a promise");
    f->nodes[f->count++] = name;
    f->weights += bl_network_weights(network->graph, node)->count;
  }
  return BL_OK;
}

// ---- The layers

typedef struct {
  bl_network *network;
  const bl_call *call;
  bl_lowrank_kind kind;
  const bl_lowrank_moments *moments;
  factors *made;
  const char **changed; // names of layers, in order
  uint32_t changed_count;
} lowering;

static bl_lowrank_options options_of(const lowering *l, const char *layer) {
  const bl_call *call = l->call;
  const uint32_t multiple = (uint32_t)bl_call_setting(call, layer, "multiple")->number;
  static const bl_rank_rule rules[] = {BL_RANK_GIVEN, BL_RANK_ENERGY, BL_RANK_WEIGHTS,
                                       BL_RANK_MACS,  BL_RANK_AUTO,   BL_RANK_MACS};
  return (bl_lowrank_options){.kind = l->kind,
                              .multiple = multiple > 0 ? multiple : l->network->device.config->cols,
                              .rule = rules[(int)bl_call_setting(call, layer, "rank-by")->number],
                              .share = bl_call_setting(call, layer, "share")->number,
                              .rank = (uint32_t)bl_call_setting(call, layer, "rank")->number,
                              .rank_in = (uint32_t)bl_call_setting(call, layer, "rank-in")->number};
}

static bool wanted(const lowering *l, const char *layer) {
  return !is_factor(layer) && bl_call_setting(l->call, layer, "apply")->number != 0 &&
         bl_lowrank_applies(l->network->graph, bl_network_node(l->network, layer), l->kind);
}

static bl_status take_apart(lowering *l, const char *layer, const bl_lowrank_point *chosen,
                            bl_error *err) {
  bl_float_graph *graph = l->network->graph;
  bl_lowrank_options options = options_of(l, layer);
  if (chosen != NULL && chosen->rank == 0) {
    bl_network_say(l->network, "%s: stays", layer);
    return BL_OK;
  }
  if (chosen != NULL) {
    options.rule = BL_RANK_GIVEN;
    options.rank = chosen->rank;
    options.rank_in = chosen->rank_in;
  }
  const uint32_t at = (uint32_t)bl_float_find_node(graph, layer), nodes = graph->node_count;
  bl_lowrank_result r;
  BL_TRY(bl_lowrank_layer(graph, layer, &options, l->moments, &r, err));
  if (!r.changed) {
    bl_network_say(l->network, "%s: stays, its factors would not be smaller", layer);
    return BL_OK;
  }
  if (r.rank_in > 0)
    bl_network_say(l->network,
                   "%s: rank %u of outputs, %u of inputs, %.3g of the weights, error %.3g", layer,
                   (unsigned)r.rank, (unsigned)r.rank_in,
                   (double)r.weights_after / (double)r.weights_before, r.error);
  else
    bl_network_say(l->network, "%s: rank %u, %.3g of the weights, error %.3g", layer,
                   (unsigned)r.rank, (double)r.weights_after / (double)r.weights_before, r.error);
  l->changed[l->changed_count++] = layer;
  return note_factors(l->network, at, graph->node_count - nodes + 1, l->made, err);
}

// ---- Ranks of all layers together

// The points of layers whose ranks are chosen together; the problem's tables point at them.
typedef struct {
  bl_lowrank_point (*points)[BL_LOWRANK_MOST_POINTS];
  double (*losses)[BL_LOWRANK_MOST_POINTS], (*macs)[BL_LOWRANK_MOST_POINTS];
  const double **loss_rows, **mac_rows, **zero_rows; // zero_rows: a criterion that is not used
  double zeros[BL_LOWRANK_MOST_POINTS];
  uint32_t *layer, *choices, *choice; // layer: its place among all layers
  uint32_t count;
} together;

static bool open_together(const lowering *l, uint32_t layers, together *t) {
  bl_arena *arena = l->network->arena;
  t->points = bl_arena_alloc(arena, layers, sizeof *t->points);
  t->losses = bl_arena_alloc(arena, layers, sizeof *t->losses);
  t->macs = bl_arena_alloc(arena, layers, sizeof *t->macs);
  t->loss_rows = bl_arena_alloc(arena, layers, sizeof *t->loss_rows);
  t->mac_rows = bl_arena_alloc(arena, layers, sizeof *t->mac_rows);
  t->zero_rows = bl_arena_alloc(arena, layers, sizeof *t->zero_rows);
  t->layer = bl_arena_alloc(arena, layers, sizeof *t->layer);
  t->choices = bl_arena_alloc(arena, layers, sizeof *t->choices);
  t->choice = bl_arena_alloc(arena, layers, sizeof *t->choice);
  return t->points != NULL && t->losses != NULL && t->macs != NULL && t->loss_rows != NULL &&
         t->mac_rows != NULL && t->zero_rows != NULL && t->layer != NULL && t->choices != NULL &&
         t->choice != NULL;
}

// Adds a layer. What is maximised is the product of the shares of their outputs' energy that layers
// keep (Zhang et al. 2016, section 2.4), as a sum of logarithms.
static bl_status add_curve(const lowering *l, together *t, const char *name, uint32_t layer,
                           bl_error *err) {
  const uint32_t k = t->count++;
  const bl_lowrank_options options = options_of(l, name);
  BL_TRY(bl_lowrank_curve(l->network->graph, name, &options, l->moments, t->points[k],
                          &t->choices[k], err));
  for (uint32_t i = 0; i < t->choices[k]; i++) {
    t->losses[k][i] = -log(fmax(1 - t->points[k][i].error, LEAST_ENERGY));
    t->macs[k][i] = (double)t->points[k][i].macs;
  }
  t->loss_rows[k] = t->losses[k];
  t->mac_rows[k] = t->macs[k];
  t->zero_rows[k] = t->zeros;
  t->layer[k] = layer;
  return BL_OK;
}

static bl_status solve_together(const lowering *l, together *t, bl_error *err) {
  static const char *const names[BL_CRITERIA] = {"loss of energy", "multiply-accumulates", ""};
  const bl_assign_problem problem = {.group_count = t->count,
                                     .choices = t->choices,
                                     .table = {t->loss_rows, t->mac_rows, t->zero_rows}};
  bl_assign_options options = {.limits = {INFINITY, 0, INFINITY}, .names = names};
  bl_assigned result;
  for (uint32_t k = 0; k < t->count; k++)
    options.limits[1] += bl_call_number(l->call, "share") * t->macs[k][0];
  return t->count > 0 ? bl_assign(&problem, &options, t->choice, &result, err) : BL_OK;
}

// Chooses the ranks of all layers that say rank-by: network.
static bl_status choose_together(const lowering *l, const char *const *names, uint32_t count,
                                 together *t, bl_error *err) {
  if (!open_together(l, count, t)) return bl_fail(err, BL_ERR_MEMORY, "no memory for ranks");
  for (uint32_t k = 0; k < count; k++)
    if (wanted(l, names[k]) && bl_call_setting(l->call, names[k], "rank-by")->number == BY_NETWORK)
      BL_TRY(add_curve(l, t, names[k], k, err));
  return solve_together(l, t, err);
}

static const bl_lowrank_point *chosen_of(const together *t, uint32_t layer) {
  for (uint32_t k = 0; k < t->count; k++)
    if (t->layer[k] == layer) return &t->points[k][t->choice[k]];
  return NULL;
}

static bl_status take_all(lowering *l, bl_error *err) {
  uint32_t count;
  together t = {0};
  const char **layers = bl_network_layers(l->network, false, &count);
  if (layers == NULL) return bl_fail(err, BL_ERR_MEMORY, "no memory for the names of layers");
  l->made->nodes = bl_arena_alloc(l->network->arena, 3 * (size_t)count, sizeof *l->made->nodes);
  l->changed = bl_arena_alloc(l->network->arena, count, sizeof *l->changed);
  if (l->made->nodes == NULL || l->changed == NULL)
    return bl_fail(err, BL_ERR_MEMORY, "no memory for a promise");
  BL_TRY(choose_together(l, layers, count, &t, err));
  for (uint32_t k = 0; k < count; k++)
    if (wanted(l, layers[k])) BL_TRY(take_apart(l, layers[k], chosen_of(&t, k), err));
  if (l->made->count == 0)
    return bl_fail(err, BL_ERR_USAGE,
                   "no layer gets smaller that way; see docs/reference/low-rank.md for which do");
  const bl_keep keep = {.what = "weights of factors",
                        .unit = "",
                        .figure = (double)l->made->weights,
                        .check = check_factors,
                        .state = l->made};
  return bl_network_keep(l->network, &keep, err);
}

// A network that cannot be trained keeps its statistics.
static bl_status renormalise(bl_network *network, bl_error *err) {
  uint32_t norms = 0;
  bl_error why = {0};
  const bl_status status = bl_network_renormalise(network, &norms, &why);
  if (status == BL_ERR_UNSUPPORTED) {
    bl_network_say(network, "batch norms keep their statistics: %s", why.text);
    return BL_OK;
  }
  if (status != BL_OK) return bl_fail(err, status, "%s", why.text);
  if (norms > 0)
    bl_network_say(network, "statistics of %u batch norms taken again", (unsigned)norms);
  return BL_OK;
}

// Takes layers apart and makes up for it, as far as the samples let it.
static bl_status take_and_mend(lowering *l, const bl_calibration *samples,
                               const bl_float_graph *original, bl_error *err) {
  const uint64_t most = bl_call_count(l->call, "samples");
  const int repair = bl_call_choice(l->call, "repair");
  bl_calibration some = *samples;
  BL_TRY(take_all(l, err));
  if (repair == BY_STATISTICS) return renormalise(l->network, err);
  if (some.count > most) some.count = (size_t)most;
  for (uint32_t k = 0; repair == BY_RECONSTRUCTION && some.count > 0 && k < l->changed_count; k++)
    BL_TRY(bl_lowrank_refit(l->network->graph, original, l->changed[k], &some, err));
  return BL_OK;
}

static bl_status run(bl_network *network, const bl_call *call, bl_error *err) {
  const bl_calibration calibration = bl_network_calibration(network);
  lowering l = {.network = network, .call = call, .kind = (bl_lowrank_kind)call->pass->variant};
  bl_lowrank_moments moments = {0};
  bl_float_graph *original;
  BL_TRY(bl_network_free_weights(network, err));
  l.made = bl_arena_alloc(network->arena, 1, sizeof *l.made);
  if (l.made == NULL) return bl_fail(err, BL_ERR_MEMORY, "no memory for a promise");
  if (bl_call_flag(call, "data") && calibration.count > 0) {
    BL_TRY(bl_lowrank_measure(network->graph, &calibration, &moments, err));
    l.moments = &moments;
  }
  bl_status status = bl_float_copy(network->graph, 0, &original, err);
  if (status == BL_OK) status = take_and_mend(&l, &calibration, original, err);
  bl_float_graph_free(original);
  bl_arena_free(moments.arena);
  return status;
}

// A technique with the parameters and the code of all of them.
#define LOW_RANK(kind, technique, says, from)                                                      \
  {                                                                                                \
    .name = technique, .summary = says, .source = from, .params = params,                          \
    .param_count = sizeof params / sizeof params[0], .run = run, .variant = kind                   \
  }

const bl_recipe_pass BL_PASS_SVD = LOW_RANK(
    BL_LOWRANK_SVD, "svd", "two layers in place of one: dense layers, and convolutions by channels",
    "Eckart and Young 1936; Zhang et al. 2016, Accelerating Very Deep ConvNets");
const bl_recipe_pass BL_PASS_SPATIAL_SVD =
    LOW_RANK(BL_LOWRANK_SPATIAL, "spatial-svd", "a column and a row of taps in place of a kernel",
             "Jaderberg et al. 2014, Speeding up CNNs with Low Rank Expansions");
const bl_recipe_pass BL_PASS_TUCKER =
    LOW_RANK(BL_LOWRANK_TUCKER, "tucker", "a small convolution between two of 1 x 1",
             "Kim et al. 2016, Compression of Deep CNNs for Mobile (Tucker-2)");
const bl_recipe_pass BL_PASS_CP =
    LOW_RANK(BL_LOWRANK_CP, "cp", "a depthwise convolution between two of 1 x 1",
             "Lebedev et al. 2015, Speeding-up CNNs Using Fine-tuned CP-Decomposition");
const bl_recipe_pass BL_PASS_SEPARABLE =
    LOW_RANK(BL_LOWRANK_SEPARABLE, "separable",
             "a depthwise convolution and one of 1 x 1 in place of a kernel",
             "Howard et al. 2017, MobileNets; Guo et al. 2018, Network Decoupling");
