// SPDX-License-Identifier: Apache-2.0
// What a network is worth as it stands: accuracy on held-out samples, bytes of weights, cycles.
#include <math.h>
#include <stdlib.h>

#include "host/compile/storage.h"
#include "host/compress/pipeline.h"
#include "host/cost/cost.h"
#include "host/graph/float_edit.h"
#include "host/run/input.h"
#include "host/run/program_session.h"
#include "host/run/real_output.h"
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

// Sample `index` as the integers of tensor 0: index (y*w + x)*c + channel.
static void read_integers(const bl_quantised *made, const bl_train_data *data, size_t index,
                          int32_t *out) {
  const bl_int_tensor *in = &made->graph->tensors[0];
  const float *x = data->values + index * data->elements;
  const size_t pixels = (size_t)in->h * in->w;
  for (size_t p = 0; p < pixels; p++)
    for (size_t c = 0; c < in->c; c++) {
      const double value = (double)x[data->rows_last ? c * pixels + p : p * in->c + c];
      out[p * in->c + c] = bl_input_quantise(in, value * made->input_mul + made->input_add);
    }
}

typedef struct {
  const bl_quantised *made;
  const bl_train_data *data;
  bl_executor device;
  int32_t *in, *out;
} running;

static bl_status run_samples(running *r, bl_stage_figures *figures, bl_error *err) {
  const bl_int_graph *graph = r->made->graph;
  const size_t in = bl_int_elements(&graph->tensors[0]), batch = r->device.batch;
  const size_t out = bl_int_elements(&graph->tensors[graph->output]);
  for (size_t first = 0; first < r->data->count; first += batch) {
    const size_t left = r->data->count - first, images = left < batch ? left : batch;
    for (size_t k = 0; k < images; k++)
      read_integers(r->made, r->data, first + k, r->in + k * in);
    BL_TRY(r->device.run(r->device.self, r->in, images, r->out, NULL, NULL, err));
    for (size_t k = 0; k < images; k++)
      figures->correct +=
          (int64_t)bl_output_argmax(graph, r->out + k * out) == r->data->labels[first + k];
    figures->samples += images;
  }
  return BL_OK;
}

static bl_status open_device(running *r, const bl_program *program, bl_error *err) {
  const bl_int_graph *graph = r->made->graph;
  const bl_device_spec spec = {.kind = BL_DEVICE_FUNCTIONAL, .config = &program->config};
  BL_TRY(bl_executor_device(&spec, graph, program, BL_STEP_NO_LAYER, &r->device, err));
  r->in = calloc(r->device.batch * bl_int_elements(&graph->tensors[0]), sizeof *r->in);
  r->out =
      calloc(r->device.batch * bl_int_elements(&graph->tensors[graph->output]), sizeof *r->out);
  return r->in == NULL || r->out == NULL ? bl_fail(err, BL_ERR_MEMORY, "no memory for a batch")
                                         : BL_OK;
}

static bl_status measure_device(const bl_quantised *made, const bl_compile_options *device,
                                const bl_train_data *data, bl_stage_figures *figures,
                                bl_error *err) {
  running r = {.made = made, .data = data};
  bl_program *program = NULL;
  if (data->elements != bl_int_elements(&made->graph->tensors[0]))
    return bl_fail(err, BL_ERR_FORMAT, "samples have %zu values, the network takes %zu",
                   data->elements, bl_int_elements(&made->graph->tensors[0]));
  BL_TRY(bl_compile(made->graph, device, &program, err));
  bl_status status = open_device(&r, program, err);
  if (status == BL_OK) status = run_samples(&r, figures, err);
  bl_executor_close(&r.device);
  bl_program_free(program);
  free(r.in);
  free(r.out);
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
