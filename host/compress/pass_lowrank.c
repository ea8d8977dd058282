// SPDX-License-Identifier: Apache-2.0
// Low rank, a pass for each way to take a layer apart.
#include <string.h>

#include "host/compress/norms.h"
#include "host/compress/passes.h"
#include "host/graph/float_edit.h"
#include "host/lowrank/lowrank.h"

static const bl_recipe_param params[] = {
    {.name = "apply",
     .kind = BL_PARAM_FLAG,
     .by_layer = true,
     .initial = "true",
     .help = "whether a layer is taken apart at all"},
    {.name = "rank-by",
     .kind = BL_PARAM_CHOICE,
     .by_layer = true,
     .initial = "macs",
     .choices = "rank|energy|weights|macs|auto",
     .help = "what decides about the rank; auto: what stands out of noise (VBMF)"},
    {.name = "share",
     .kind = BL_PARAM_NUMBER,
     .by_layer = true,
     .initial = "0.5",
     .lowest = 0.001,
     .highest = 1,
     .help = "of energy to keep at least, or of weights or macs to keep at most"},
    {.name = "rank",
     .kind = BL_PARAM_COUNT,
     .by_layer = true,
     .initial = "1",
     .lowest = 1,
     .highest = 65535,
     .help = "components, with rank-by: rank; of outputs (tucker), of each input (separable)"},
    {.name = "rank-in",
     .kind = BL_PARAM_COUNT,
     .by_layer = true,
     .initial = "0",
     .highest = 65535,
     .help = "tucker's of inputs; 0: in proportion"},
    {.name = "multiple",
     .kind = BL_PARAM_COUNT,
     .by_layer = true,
     .initial = "0",
     .highest = 1024,
     .help = "of which ranks that are not given are; 0: of the device's columns"},
    {.name = "data",
     .kind = BL_PARAM_FLAG,
     .initial = "true",
     .help =
         "least error of outputs on the calibration samples, where there are any, not of weights"},
    {.name = "statistics",
     .kind = BL_PARAM_FLAG,
     .initial = "true",
     .help = "take those of batch norms again on the calibration samples"},
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

static void note_factors(const bl_network *network, uint32_t from, uint32_t count, factors *f) {
  for (uint32_t n = from; n < from + count; n++) {
    const bl_node *node = &network->graph->nodes[n];
    f->nodes[f->count++] = bl_arena_strndup(network->arena, node->name, strlen(node->name));
    f->weights += bl_network_weights(network->graph, node)->count;
  }
}

// ---- The layers

typedef struct {
  bl_network *network;
  const bl_call *call;
  bl_lowrank_kind kind;
  const bl_lowrank_moments *moments;
  factors *made;
} lowering;

static bl_lowrank_options options_of(const lowering *l, const char *layer) {
  const bl_call *call = l->call;
  const uint32_t multiple = (uint32_t)bl_call_setting(call, layer, "multiple")->number;
  static const bl_rank_rule rules[] = {BL_RANK_GIVEN, BL_RANK_ENERGY, BL_RANK_WEIGHTS, BL_RANK_MACS,
                                       BL_RANK_AUTO};
  return (bl_lowrank_options){.kind = l->kind,
                              .multiple = multiple > 0 ? multiple : l->network->device.config->cols,
                              .rule = rules[(int)bl_call_setting(call, layer, "rank-by")->number],
                              .share = bl_call_setting(call, layer, "share")->number,
                              .rank = (uint32_t)bl_call_setting(call, layer, "rank")->number,
                              .rank_in = (uint32_t)bl_call_setting(call, layer, "rank-in")->number};
}

static bl_status take_apart(const lowering *l, const char *layer, bl_error *err) {
  bl_float_graph *graph = l->network->graph;
  const bl_node *node = bl_network_node(l->network, layer);
  if (is_factor(layer) || bl_call_setting(l->call, layer, "apply")->number == 0 ||
      !bl_lowrank_applies(graph, node, l->kind))
    return BL_OK;
  const bl_lowrank_options options = options_of(l, layer);
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
  note_factors(l->network, at, graph->node_count - nodes + 1, l->made);
  return BL_OK;
}

static bl_status take_all(const lowering *l, bl_error *err) {
  uint32_t count;
  const char **layers = bl_network_layers(l->network, &count);
  if (layers == NULL) return bl_fail(err, BL_ERR_MEMORY, "no memory for the names of layers");
  l->made->nodes = bl_arena_alloc(l->network->arena, 3 * (size_t)count, sizeof *l->made->nodes);
  if (l->made->nodes == NULL) return bl_fail(err, BL_ERR_MEMORY, "no memory for a promise");
  for (uint32_t k = 0; k < count; k++) {
    // names live in nodes that come and go
    char *own = bl_arena_strndup(l->network->arena, layers[k], strlen(layers[k]));
    if (own == NULL) return bl_fail(err, BL_ERR_MEMORY, "no memory for the names of layers");
    BL_TRY(take_apart(l, own, err));
  }
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

static bl_status run_kind(bl_network *network, const bl_call *call, bl_lowrank_kind kind,
                          bl_error *err) {
  const bl_calibration calibration = bl_network_calibration(network);
  lowering l = {.network = network, .call = call, .kind = kind};
  bl_lowrank_moments moments = {0};
  BL_TRY(bl_network_free_weights(network, err));
  l.made = bl_arena_alloc(network->arena, 1, sizeof *l.made);
  if (l.made == NULL) return bl_fail(err, BL_ERR_MEMORY, "no memory for a promise");
  if (bl_call_flag(call, "data") && calibration.count > 0) {
    BL_TRY(bl_lowrank_measure(network->graph, &calibration, &moments, err));
    l.moments = &moments;
  }
  bl_status status = take_all(&l, err);
  bl_arena_free(moments.arena);
  uint32_t norms = 0;
  if (status == BL_OK && bl_call_flag(call, "statistics"))
    status = bl_network_renormalise(network, &norms, err);
  if (status == BL_OK && norms > 0)
    bl_network_say(network, "statistics of %u batch norms taken again", (unsigned)norms);
  return status;
}

static bl_status run_svd(bl_network *network, const bl_call *call, bl_error *err) {
  return run_kind(network, call, BL_LOWRANK_SVD, err);
}

static bl_status run_spatial(bl_network *network, const bl_call *call, bl_error *err) {
  return run_kind(network, call, BL_LOWRANK_SPATIAL, err);
}

static bl_status run_tucker(bl_network *network, const bl_call *call, bl_error *err) {
  return run_kind(network, call, BL_LOWRANK_TUCKER, err);
}

static bl_status run_cp(bl_network *network, const bl_call *call, bl_error *err) {
  return run_kind(network, call, BL_LOWRANK_CP, err);
}

static bl_status run_separable(bl_network *network, const bl_call *call, bl_error *err) {
  return run_kind(network, call, BL_LOWRANK_SEPARABLE, err);
}

enum { PARAMS = sizeof params / sizeof params[0] };

const bl_recipe_pass BL_PASS_SVD = {
    .name = "svd",
    .summary = "two layers in place of one: dense layers, and convolutions by channels",
    .source = "Eckart and Young 1936; Zhang et al. 2016, Accelerating Very Deep ConvNets",
    .params = params,
    .param_count = PARAMS,
    .run = run_svd,
};
const bl_recipe_pass BL_PASS_SPATIAL_SVD = {
    .name = "spatial-svd",
    .summary = "a column and a row of taps in place of a kernel",
    .source = "Jaderberg et al. 2014, Speeding up CNNs with Low Rank Expansions",
    .params = params,
    .param_count = PARAMS,
    .run = run_spatial,
};
const bl_recipe_pass BL_PASS_TUCKER = {
    .name = "tucker",
    .summary = "a small convolution between two of 1 x 1",
    .source = "Kim et al. 2016, Compression of Deep CNNs for Mobile (Tucker-2)",
    .params = params,
    .param_count = PARAMS,
    .run = run_tucker,
};
const bl_recipe_pass BL_PASS_CP = {
    .name = "cp",
    .summary = "a depthwise convolution between two of 1 x 1",
    .source = "Lebedev et al. 2015, Speeding-up CNNs Using Fine-tuned CP-Decomposition",
    .params = params,
    .param_count = PARAMS,
    .run = run_cp,
};
const bl_recipe_pass BL_PASS_SEPARABLE = {
    .name = "separable",
    .summary = "a depthwise convolution and one of 1 x 1 in place of a kernel",
    .source = "Howard et al. 2017, MobileNets; Guo et al. 2018, Network Decoupling",
    .params = params,
    .param_count = PARAMS,
    .run = run_separable,
};
