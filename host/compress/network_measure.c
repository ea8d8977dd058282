// SPDX-License-Identifier: Apache-2.0
// What a network is worth as it stands: accuracy on held-out samples, bytes of weights, cycles.
#include <math.h>

#include "host/compile/storage.h"
#include "host/compress/pipeline.h"
#include "host/cost/cost.h"
#include "host/graph/float_edit.h"
#include "host/run/real_output.h"
#include "host/search/integer_run.h"
#include "host/train/trainer.h"

enum { MEASURE_BATCH = 50, SCRATCH_BYTES = 1 << 28 };

static void count_weights(const bl_network *network, bl_stage_figures *figures) {
  const bl_float_graph *graph = network->graph;
  for (uint32_t n = 0; n < graph->node_count; n++) {
    const bl_value *weights = bl_network_weights(graph, &graph->nodes[n]);
    for (size_t k = 0; weights != NULL && k < weights->count; k++)
      figures->zeros += weights->f[k] == 0;
    if (weights != NULL) figures->weights += weights->count;
  }
}

typedef struct {
  const bl_int_graph *graph;
  const int64_t *labels;
  bl_stage_figures *figures;
} counting;

static void count_answer(void *user, size_t index, const int32_t *output) {
  const counting *c = user;
  c->figures->samples++;
  c->figures->correct += (int64_t)bl_output_class(c->graph, output) == c->labels[index];
}

static bl_status measure_device(const bl_quantised *made, const bl_compile_options *device,
                                const bl_train_data *data, bl_stage_figures *figures,
                                bl_error *err) {
  counting c = {made->graph, data->labels, figures};
  bl_program *program = NULL;
  BL_TRY(bl_compile(made->graph, device, &program, err));
  const bl_status status = bl_integer_run(made, program, data, count_answer, &c, err);
  bl_program_free(program);
  return status;
}

// The float network over the held-out samples.
static bl_status measure_float(const bl_network *network, bl_stage_figures *figures,
                               bl_error *err) {
  const bl_train_data *data = network->data.held_out;
  const bl_train_options options = {.frozen = true};
  bl_float_graph *graph;
  bl_train_net *net;
  double loss, accuracy = -1;
  BL_TRY(bl_float_copy(network->graph, MEASURE_BATCH, &graph, err));
  bl_train_threads(network->threads);
  bl_status status = bl_train_open(graph, &options, &net, err);
  if (status == BL_OK) {
    status = bl_train_evaluate(net, data, BL_LOSS_CROSS_ENTROPY, &loss, &accuracy, err);
    bl_train_close(net);
  }
  bl_float_graph_free(graph);
  if (status != BL_OK || accuracy < 0) return status;
  figures->samples = data->count;
  figures->correct = (uint64_t)llround(accuracy * (double)figures->samples);
  return BL_OK;
}

static bl_status measure_file(const bl_int_graph *graph, const bl_compile_options *device,
                              bl_stage_figures *figures, bl_error *err) {
  const bl_bloom_info info = {.preprocess = bl_preprocess_identity(), .float_accuracy = -1};
  bl_program *program;
  bl_storage storage;
  bl_error refused = {0};
  if (bl_compile(graph, device, &program, &refused) != BL_OK) return BL_OK; // as cycles say
  bl_arena *scratch = bl_arena_new(SCRATCH_BYTES);
  bl_status status = scratch == NULL
                         ? bl_fail(err, BL_ERR_MEMORY, "no memory for a file's sizes")
                         : bl_storage_table(graph, program, &info, scratch, &storage, err);
  if (status == BL_OK) figures->coded = storage.file;
  bl_arena_free(scratch);
  bl_program_free(program);
  return status;
}

static bl_status measure_integers(const bl_network *network, const bl_quantised *made, bool labels,
                                  bl_stage_figures *figures, bl_error *err) {
  figures->integer = true;
  figures->bytes = (bl_int_weight_bits(made->graph) + 7) / 8;
  BL_TRY(measure_file(made->graph, &network->device, figures, err));
  return labels ? measure_device(made, &network->device, network->data.held_out, figures, err)
                : BL_OK;
}

bl_status bl_network_measure(const bl_network *network, bl_stage_figures *figures, bl_error *err) {
  bl_quantised made;
  const bool labels = network->data.held_out != NULL && network->data.held_out->has_labels;
  count_weights(network, figures);
  figures->cycles = INFINITY;
  figures->bytes = 4 * figures->weights;
  if (network->data.calibration == NULL && !network->quantised)
    return labels ? measure_float(network, figures, err) : BL_OK;
  BL_TRY(bl_network_quantise(network, NULL, &made, err));
  bl_compile_options device = network->device;
  bl_status status = BL_OK;
  figures->cycles = bl_cost_graph(&device, made.graph);
  if (network->quantised || made.graph_was_quantised)
    status = measure_integers(network, &made, labels, figures, err);
  else if (labels)
    status = measure_float(network, figures, err);
  bl_arena_free(made.graph->arena);
  return status;
}
