// SPDX-License-Identifier: Apache-2.0
#include "host/compress/shared_plan.h"

#include <stdlib.h>
#include <string.h>

#include "host/share/shared.h"

bl_status bl_shared_plan_open(const bl_network *network, bl_quantise_options *options,
                              bl_shared_plan *plan, bl_error *err) {
  const bl_float_graph *graph = network->graph;
  uint32_t count = options->plan_count;
  *plan = (bl_shared_plan){
      .entries = calloc((size_t)count + graph->node_count + 1, sizeof *plan->entries),
      .codebooks = calloc((size_t)graph->node_count + 1, sizeof *plan->codebooks)};
  if (plan->entries == NULL || plan->codebooks == NULL) {
    bl_shared_plan_close(plan);
    return bl_fail(err, BL_ERR_MEMORY, "no memory for the codebooks of shared weights");
  }
  if (count > 0) memcpy(plan->entries, options->plan, count * sizeof *plan->entries);
  for (uint32_t n = 0; n < graph->node_count; n++) {
    const bl_node *node = &graph->nodes[n];
    const bl_value *weights = bl_network_weights(graph, node);
    const bl_weight_rule *rule =
        weights == NULL ? NULL : bl_network_find_rule(network, weights->name);
    if (rule == NULL || rule->most == 0 || weights != bl_node_weights(graph, node) ||
        !bl_shared_codebook(weights->f, weights->count, &plan->codebooks[n]))
      continue;
    plan->entries[count++] = (bl_layer_plan){.layer = node->name, .codebook = &plan->codebooks[n]};
  }
  options->plan = plan->entries;
  options->plan_count = count;
  return BL_OK;
}

void bl_shared_plan_close(bl_shared_plan *plan) {
  free(plan->entries);
  free(plan->codebooks);
  *plan = (bl_shared_plan){0};
}
