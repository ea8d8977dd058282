// SPDX-License-Identifier: Apache-2.0
// A program's runs: its loads of lists are followed, so that each run is priced with what the
// device holds when it is sent. (The program's fences see to it that nothing is overwritten
// before.)
#include "host/cost/cost.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  const bl_config *config;
  bl_tile *tiles;
  bl_pass *passes;
} lists;

static bl_status load(const lists *l, const bl_step *s, bl_error *err) {
  const bool tile = s->opcode == BL_OP_LOAD_TILE_LIST;
  const uint32_t count = s->bytes / (tile ? BL_CONTRACT_TILE_BYTES : BL_CONTRACT_PASS_BYTES);
  const uint32_t depth = tile ? l->config->tile_depth : l->config->pass_depth;
  if (s->payload == NULL || (uint64_t)s->address + count > depth)
    return bl_fail(err, BL_ERR_RANGE, "cost: a load of %s %u..%u, the list has %u",
                   tile ? "tiles" : "passes", s->address, s->address + count - 1, depth);
  for (uint32_t i = 0; i < count; i++)
    if (tile)
      bl_tile_unpack(&s->payload[(size_t)i * BL_TILE_WORDS], &l->tiles[s->address + i]);
    else
      bl_pass_unpack(&s->payload[(size_t)i * BL_PASS_WORDS], &l->passes[s->address + i]);
  return BL_OK;
}

static bl_status follow(const lists *l, const bl_step *s, bl_cost *cost, bl_error *err) {
  if (s->opcode == BL_OP_LOAD_TILE_LIST || s->opcode == BL_OP_LOAD_PASS_LIST)
    return load(l, s, err);
  if (s->opcode != BL_OP_RUN) return BL_OK;
  if (s->payload == NULL || s->bytes != sizeof(uint32_t) * BL_DESCRIPTOR_WORDS)
    return bl_fail(err, BL_ERR_RANGE, "cost: a run without a descriptor");
  bl_descriptor d;
  bl_descriptor_unpack(s->payload, &d);
  return bl_cost_run(l->config, &d, l->tiles, l->passes, cost, err);
}

static bl_status follow_all(const bl_program *p, const lists *l, bl_cost *costs, bl_error *err) {
  bl_cost ignored;
  for (uint32_t i = 0; i < p->setup_count; i++)
    BL_TRY(follow(l, &p->setup[i], &ignored, err));
  for (uint32_t i = 0; i < p->batch_count; i++) {
    costs[i] = (bl_cost){0};
    BL_TRY(follow(l, &p->batch[i], &costs[i], err));
  }
  return BL_OK;
}

bl_status bl_cost_program(const bl_program *program, bl_cost *costs, bl_error *err) {
  lists l = {.config = &program->config,
             .tiles = calloc(program->config.tile_depth, sizeof *l.tiles),
             .passes = calloc(program->config.pass_depth, sizeof *l.passes)};
  bl_status status = l.tiles != NULL && l.passes != NULL
                         ? follow_all(program, &l, costs, err)
                         : bl_fail(err, BL_ERR_MEMORY, "cost: no memory for the lists");
  free(l.tiles);
  free(l.passes);
  return status;
}

bl_status bl_cost_layers(const bl_program *program, uint32_t layers, bl_cost *costs,
                         bl_error *err) {
  bl_cost *runs = calloc(program->batch_count + (size_t)1, sizeof *runs);
  if (runs == NULL) return bl_fail(err, BL_ERR_MEMORY, "cost: no memory for the runs");
  memset(costs, 0, layers * sizeof *costs);
  bl_status status = bl_cost_program(program, runs, err);
  for (uint32_t i = 0; status == BL_OK && i < program->batch_count; i++)
    for (int k = 0; k < BL_COUNTER_COUNT && program->batch[i].layer < layers; k++)
      costs[program->batch[i].layer].counters[k] += runs[i].counters[k];
  free(runs);
  return status;
}

double bl_cost_graph(void *device, const bl_int_graph *graph) {
  bl_error ignored = {0};
  bl_program *program;
  if (bl_compile(graph, device, &program, &ignored) != BL_OK) return INFINITY;
  bl_cost *costs = calloc(graph->layer_count, sizeof *costs);
  double sum = INFINITY;
  if (costs != NULL && bl_cost_layers(program, graph->layer_count, costs, &ignored) == BL_OK) {
    sum = 0;
    for (uint32_t i = 0; i < graph->layer_count; i++)
      sum += (double)costs[i].counters[BL_COUNTER_CYCLES] / program->images;
  }
  free(costs);
  bl_program_free(program);
  return sum;
}
