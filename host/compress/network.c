// SPDX-License-Identifier: Apache-2.0
#include "host/compress/network.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "host/compress/shared_plan.h"
#include "host/float/session.h"
#include "host/graph/float_edit.h"

enum { ARENA_BYTES = 1 << 28 };

bl_status bl_network_open(bl_float_graph *graph, const bl_float_graph *original,
                          bl_network *network, bl_error *err) {
  *network = (bl_network){.arena = bl_arena_new(ARENA_BYTES), .graph = graph, .original = original};
  if (network->arena == NULL) return bl_fail(err, BL_ERR_MEMORY, "no memory for a network");
  return BL_OK;
}

void bl_network_close(bl_network *network) {
  bl_float_graph_free(network->graph);
  bl_arena_free(network->arena);
  *network = (bl_network){0};
}

const bl_value *bl_network_weights(const bl_float_graph *graph, const bl_node *node) {
  if (node->op != BL_FLOAT_CONV && node->op != BL_FLOAT_GEMM && node->op != BL_FLOAT_MATMUL)
    return NULL;
  const bl_value *weights = bl_node_weights(graph, node);
  if (weights == NULL || bl_value_constant(weights)) return weights;
  for (uint32_t n = 0; n < graph->node_count; n++) {
    const bl_node *quant = &graph->nodes[n];
    if ((quant->op != BL_FLOAT_QUANT && quant->op != BL_FLOAT_BIPOLAR_QUANT) ||
        bl_node_output(graph, quant, 0) != weights)
      continue;
    const bl_value *behind = bl_node_input(graph, quant, 0);
    return behind != NULL && bl_value_constant(behind) ? behind : NULL;
  }
  return NULL;
}

static bool is_average(const bl_node *node) {
  return node->op == BL_FLOAT_AVERAGE_POOL || node->op == BL_FLOAT_GLOBAL_AVERAGE_POOL;
}

const char **bl_network_layers(bl_network *network, bool averages, uint32_t *count) {
  const bl_float_graph *graph = network->graph;
  const char **names = bl_arena_alloc(network->arena, graph->node_count, sizeof *names);
  *count = 0;
  for (uint32_t n = 0; names != NULL && n < graph->node_count; n++) {
    if (bl_network_weights(graph, &graph->nodes[n]) == NULL &&
        !(averages && is_average(&graph->nodes[n])))
      continue;
    const char *name = graph->nodes[n].name;
    names[*count] = bl_arena_strndup(network->arena, name, strlen(name));
    if (names[(*count)++] == NULL) return NULL;
  }
  return names;
}

const bl_node *bl_network_node(const bl_network *network, const char *layer) {
  const bl_float_graph *graph = network->graph;
  for (uint32_t n = 0; n < graph->node_count; n++)
    if (strcmp(graph->nodes[n].name, layer) == 0) return &graph->nodes[n];
  return NULL;
}

bl_value *bl_network_value(const bl_network *network, const char *value) {
  const bl_float_graph *graph = network->graph;
  for (uint32_t k = 0; k < graph->value_count; k++)
    if (strcmp(graph->values[k].name, value) == 0)
      return bl_value_constant(&graph->values[k]) ? &graph->values[k] : NULL;
  return NULL;
}

const bl_weight_rule *bl_network_find_rule(const bl_network *network, const char *value) {
  for (uint32_t k = 0; k < network->rule_count; k++)
    if (strcmp(network->rules[k].value, value) == 0) return &network->rules[k];
  return NULL;
}

bl_status bl_network_rule(bl_network *network, const char *value, bl_weight_rule **rule,
                          bl_error *err) {
  for (uint32_t k = 0; k < network->rule_count; k++) {
    *rule = &network->rules[k];
    if (strcmp((*rule)->value, value) == 0) return BL_OK;
  }
  char *name = bl_arena_strndup(network->arena, value, strlen(value));
  if (network->rule_count == network->rule_room) {
    const uint32_t room = 2 * network->rule_room + 16;
    bl_weight_rule *rules = bl_arena_alloc(network->arena, room, sizeof *rules);
    if (rules == NULL) return bl_fail(err, BL_ERR_MEMORY, "%s: no memory for a rule", value);
    if (network->rule_count > 0) memcpy(rules, network->rules, network->rule_count * sizeof *rules);
    network->rules = rules;
    network->rule_room = room;
  }
  if (name == NULL) return bl_fail(err, BL_ERR_MEMORY, "%s: no memory for a rule", value);
  *rule = &network->rules[network->rule_count++];
  **rule = (bl_weight_rule){.value = name};
  return BL_OK;
}

bl_status bl_network_keep(bl_network *network, const bl_keep *keep, bl_error *err) {
  if (network->keep_count == BL_NETWORK_MAX_KEEPS)
    return bl_fail(err, BL_ERR_RANGE, "more than %d things to keep", BL_NETWORK_MAX_KEEPS);
  bl_keep *kept = &network->keeps[network->keep_count++];
  *kept = *keep;
  kept->pass = network->pass;
  kept->line = network->line;
  return BL_OK;
}

static bool fixes(const bl_node *node) {
  return node->op == BL_FLOAT_QUANT || node->op == BL_FLOAT_BIPOLAR_QUANT;
}

// Constants in front of such nodes become what these make of them: what a training has left in
// front of its rounding, beyond clips and between steps, is no network.
static bl_status keep_rounded(bl_float_graph *graph, bl_error *err) {
  bl_float_session *session;
  BL_TRY(bl_float_session_open(graph, &session, err));
  const bl_status status = bl_float_session_run(session, err);
  for (uint32_t n = 0; n < graph->node_count && status == BL_OK; n++) {
    const bl_node *node = &graph->nodes[n];
    bl_value *v = fixes(node) ? &graph->values[node->inputs[0]] : NULL;
    if (v == NULL || !bl_value_constant(v) || bl_float_readers(graph, node->inputs[0]) != 1)
      continue;
    const bl_value *rounded = bl_float_session_value(session, node->outputs[0]);
    memcpy(v->f, rounded->f, v->count * sizeof *v->f);
  }
  bl_float_session_close(session);
  return status;
}

bl_status bl_network_free_weights(bl_network *network, bl_error *err) {
  bl_float_graph *graph = network->graph;
  bool any = false;
  for (uint32_t n = 0; n < graph->node_count; n++)
    any = any || fixes(&graph->nodes[n]);
  if (any) BL_TRY(keep_rounded(graph, err));
  for (uint32_t n = 0; n < graph->node_count; n++) {
    const bl_node *node = &graph->nodes[n];
    if (fixes(node)) bl_float_redirect(graph, node->outputs[0], node->inputs[0]);
  }
  return bl_float_sweep(graph, err);
}

void bl_network_replace(bl_network *network, bl_float_graph *graph) {
  bl_float_graph_free(network->graph);
  network->graph = graph;
}

void bl_network_say(const bl_network *network, const char *format, ...) {
  char line[300];
  va_list args;
  if (network->say == NULL) return;
  va_start(args, format);
  (void)vsnprintf(line, sizeof line, format, args);
  va_end(args);
  network->say(network->user, line);
}

const char *bl_network_file(bl_network *network, const char *suffix) {
  if (network->folder == NULL) return NULL;
  const size_t room = strlen(network->folder) + strlen(network->pass) + strlen(suffix) + 16;
  char *path = bl_arena_alloc(network->arena, room, 1);
  if (path != NULL)
    (void)snprintf(path, room, "%s/%02u-%s%s", network->folder, (unsigned)network->place,
                   network->pass, suffix);
  return path;
}

static bl_status read_sample(void *context, size_t index, float *out, bl_error *err) {
  (void)err;
  bl_train_sample(context, NULL, 0, 0, index, out);
  return BL_OK;
}

bl_calibration bl_network_calibration(const bl_network *network) {
  const bl_train_data *data = network->data.calibration;
  return (bl_calibration){read_sample, (void *)(uintptr_t)data, data == NULL ? 0 : data->count};
}

static bool fixes_integers(const bl_float_graph *graph) {
  for (uint32_t n = 0; n < graph->node_count; n++)
    if (graph->nodes[n].op == BL_FLOAT_QUANT || graph->nodes[n].op == BL_FLOAT_BIPOLAR_QUANT)
      return true;
  return false;
}

bl_status bl_network_quantise(const bl_network *network, const bl_quantise_options *otherwise,
                              bl_quantised *quantised, bl_error *err) {
  static const bl_quantise_options eight = {
      .weight_bits = 8, .activation_bits = 8, .range = BL_RANGE_MSE};
  const bl_calibration calibration = bl_network_calibration(network);
  bl_quantise_options options = network->quantised  ? network->quantise
                                : otherwise != NULL ? *otherwise
                                                    : eight;
  if (fixes_integers(network->graph)) options.plan_count = 0; // which was of that training
  bl_shared_plan shared;
  BL_TRY(bl_shared_plan_open(network, &options, &shared, err));
  bl_status status = bl_quantise(network->graph, &options,
                                 calibration.count > 0 ? &calibration : NULL, quantised, err);
  bl_shared_plan_close(&shared);
  if (status != BL_OK) return status;
  status = bl_int_check(quantised->graph, err);
  if (status != BL_OK) bl_arena_free(quantised->graph->arena);
  return status;
}
