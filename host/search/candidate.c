// SPDX-License-Identifier: Apache-2.0
// Plans made into integer networks, and their costs.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "host/cost/cost.h"
#include "host/lowrank/lowrank.h"
#include "host/search/candidate_internal.h"
#include "host/train/train_net.h"

enum { CANDIDATES_CAP = 1 << 30, COST_SAMPLES = 4 };

static bl_status no_memory(bl_error *err) {
  return bl_fail(err, BL_ERR_MEMORY, "search: no memory for the network's layers");
}

static bl_status list_layers(bl_candidates *c, bl_error *err) {
  bl_prune *prune;
  BL_TRY(bl_prune_open(c->source.graph, &prune, err));
  c->layer_count = prune->count;
  c->layers = bl_arena_alloc(c->arena, prune->count, sizeof *c->layers);
  bl_status status = c->layers == NULL ? no_memory(err) : BL_OK;
  for (uint32_t k = 0; k < prune->count && status == BL_OK; k++) {
    const bl_prune_layer *l = &prune->layers[k];
    c->layers[k] =
        (bl_searched){.name = l->name,
                      .last = (l->classes & BL_PRUNE_LAST) != 0,
                      .depthwise = (l->classes & BL_PRUNE_DEPTHWISE) != 0,
                      .factors = bl_lowrank_applies(
                          c->source.graph, &c->source.graph->nodes[l->node], BL_LOWRANK_SVD),
                      .count = l->count};
  }
  bl_prune_close(prune);
  if (status == BL_OK && c->layer_count == 0)
    status = bl_fail(err, BL_ERR_UNSUPPORTED, "search: the network has no layers with weights");
  return status;
}

bl_status bl_candidates_open(const bl_candidate_source *source, bl_candidates **candidates,
                             bl_error *err) {
  *candidates = NULL;
  bl_candidates *c = calloc(1, sizeof *c);
  if (c == NULL) return no_memory(err);
  bl_train_threads(
      1); // threads of a process that forks afterwards would leave its children hanging
  c->source = *source;
  c->arena = bl_arena_new(CANDIDATES_CAP);
  bl_status status = c->arena == NULL ? no_memory(err) : list_layers(c, err);
  if (status == BL_OK) status = bl_candidate_answers(c, err);
  if (status == BL_OK)
    *candidates = c;
  else
    bl_candidates_close(c);
  return status;
}

void bl_candidates_close(bl_candidates *candidates) {
  if (candidates == NULL) return;
  bl_arena_free(candidates->arena);
  free(candidates);
}

const bl_searched *bl_candidates_layers(const bl_candidates *c, uint32_t *count) {
  *count = c->layer_count;
  return c->layers;
}

double bl_candidates_float_accuracy(const bl_candidates *c) {
  return c->float_accuracy;
}

// ---- The fingerprint

static uLong digest_samples(uLong crc, const bl_train_data *data) {
  crc = crc32_z(crc, (const Bytef *)data->values,
                data->count * data->elements * sizeof *data->values);
  if (!data->has_labels) return crc;
  return crc32_z(crc, (const Bytef *)data->labels, data->count * sizeof *data->labels);
}

void bl_candidates_fingerprint(const bl_candidates *c, char text[20]) {
  const bl_quantise_options *q = &c->source.quantise;
  char how[300];
  (void)snprintf(how, sizeof how, "%08x %u %u %u %d %.17g %d %d %u %u %u %s %u",
                 (unsigned)bl_float_digest(c->source.graph), q->weight_bits, q->activation_bits,
                 q->skip_bits, (int)q->range, q->percentage, (int)q->rounding,
                 (int)q->bias_correction, q->output_bits, (unsigned)q->fuse_adds,
                 (unsigned)q->part_channels, c->source.device.config->name,
                 (unsigned)c->source.device.batch);
  uLong crc = crc32_z(0, (const Bytef *)how, strlen(how));
  crc = digest_samples(crc, c->source.calibration);
  crc = digest_samples(crc, c->source.held_out);
  (void)snprintf(text, 20, "%08lx", crc);
}

// ---- Integers

static bl_status read_sample(void *context, size_t index, float *out, bl_error *err) {
  const bl_train_data *data = context;
  (void)err;
  memcpy(out, data->values + index * data->elements, data->elements * sizeof *out);
  return BL_OK;
}

static bl_status quantise(const bl_candidates *c, const bl_float_graph *graph,
                          const bl_search_plan *plan, bool rough, bl_quantised *made,
                          bl_error *err) {
  const bl_train_data *data = c->source.calibration;
  bl_arena *arena = bl_arena_new(BL_SPACE_MOST_BYTES);
  if (arena == NULL) return no_memory(err);
  bl_quantise_options options = c->source.quantise;
  bl_layer_plan *entries;
  bl_status status = bl_candidate_bits(plan, graph, arena, &entries, &options.plan_count, err);
  options.plan = entries;
  const size_t count = rough && data->count > COST_SAMPLES ? COST_SAMPLES : data->count;
  if (rough) options.rounding = BL_ROUNDING_NEAREST;
  if (rough) options.bias_correction = BL_BIAS_NONE;
  const bl_calibration calibration = {read_sample, (void *)(uintptr_t)data, count};
  if (status == BL_OK) status = bl_quantise(graph, &options, &calibration, made, err);
  bl_arena_free(arena);
  return status;
}

bl_status bl_candidate_make(const bl_candidates *c, const bl_search_plan *plan, bool rough,
                            bl_made *made, bl_error *err) {
  *made = (bl_made){.pruned = calloc(c->layer_count, sizeof *made->pruned)};
  if (made->pruned == NULL) return no_memory(err);
  bl_float_graph *graph;
  bl_status status = bl_candidate_edit(c, plan, rough, &graph, made->pruned, err);
  if (status == BL_OK)
    status =
        quantise(c, graph == NULL ? c->source.graph : graph, plan, rough, &made->quantised, err);
  bl_float_graph_free(graph);
  if (status != BL_OK) return status;
  bl_error refused = {0};
  if (bl_compile(made->quantised.graph, &c->source.device, &made->program, &refused) == BL_OK)
    return BL_OK;
  made->program = NULL;
  return refused.status == BL_ERR_MEMORY ? bl_fail(err, BL_ERR_MEMORY, "%s", refused.text) : BL_OK;
}

void bl_made_free(bl_made *made) {
  if (made->quantised.graph != NULL) bl_arena_free(made->quantised.graph->arena);
  bl_program_free(made->program);
  free(made->pruned);
}

double bl_made_bytes(const bl_candidates *c, const bl_made *made, uint32_t layer) {
  const bl_int_graph *g = made->quantised.graph;
  double bits = 0;
  for (uint32_t k = 0; k < g->layer_count; k++) {
    const bl_int_layer *l = &g->layers[k];
    const int32_t searched = bl_candidate_layer(c, l->name);
    if (layer != BL_ALL_LAYERS && searched != (int32_t)layer) continue;
    const double kept = searched < 0 ? 1 : 1 - made->pruned[searched];
    bits += kept * (double)bl_int_weights(g, l) *
            (l->codebook != NULL ? 4.0 : (double)l->weight_format.bits);
  }
  return bits / 8;
}

// ---- Costs by layer

// The searched layer that makes a tensor, through layers without weights; -1: none.
static int32_t maker_of(const bl_candidates *c, const bl_int_graph *g, uint32_t tensor) {
  for (;;) {
    const uint32_t layer = bl_int_completer(g, tensor);
    if (layer == BL_INT_NO_LAYER) return -1;
    const int32_t searched = bl_candidate_layer(c, g->layers[layer].name);
    if (searched >= 0) return searched;
    tensor = g->layers[layer].input;
  }
}

static bl_status layer_costs(const bl_candidates *c, const bl_made *made, bl_layer_cost *costs,
                             double *ahead, bl_error *err) {
  const bl_int_graph *g = made->quantised.graph;
  bl_cost *cycles = calloc(g->layer_count, sizeof *cycles);
  if (cycles == NULL) return no_memory(err);
  bl_status status = bl_cost_layers(made->program, g->layer_count, cycles, err);
  for (uint32_t k = 0; k < g->layer_count && status == BL_OK; k++) {
    const double images = made->program->images;
    const double taken = (double)cycles[k].counters[BL_COUNTER_CYCLES] / images;
    const int32_t own = bl_candidate_layer(c, g->layers[k].name);
    const int32_t before = maker_of(c, g, g->layers[k].input);
    if (own >= 0) { // of factors the first reads what is in front
      costs[own].cycles += taken;
      if (before != own) costs[own].before = before;
      costs[own].bytes = bl_made_bytes(c, made, (uint32_t)own);
    } else if (before >= 0) {
      costs[before].behind += taken;
    } else {
      *ahead += taken;
    }
  }
  free(cycles);
  return status;
}

bl_status bl_candidate_costs(const bl_candidates *c, const bl_search_plan *plan,
                             bl_layer_cost *costs, double *ahead, bl_error *err) {
  bl_made made;
  *ahead = 0;
  for (uint32_t k = 0; k < c->layer_count; k++)
    costs[k] = (bl_layer_cost){.before = -1};
  bl_status status = bl_candidate_make(c, plan, true, &made, err);
  if (status == BL_OK && made.program == NULL)
    status = bl_fail(err, BL_ERR_UNSUPPORTED, "search: the device cannot run the network");
  if (status == BL_OK) status = layer_costs(c, &made, costs, ahead, err);
  bl_made_free(&made);
  return status;
}
