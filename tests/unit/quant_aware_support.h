// SPDX-License-Identifier: Apache-2.0
// Small networks opened for quantisation-aware training, trained, and written.
#ifndef BITLOOM_TESTS_UNIT_QUANT_AWARE_SUPPORT_H
#define BITLOOM_TESTS_UNIT_QUANT_AWARE_SUPPORT_H

#include "tests/unit/train_support.h"

#include <math.h>

#include "host/graph/rewrite.h"
#include "host/onnx/onnx_export.h"
#include "host/train/quant_aware.h"

static uint64_t seed = 1;

static inline void near(double got, double expected, double tolerance) {
  if (!(fabs(got - expected) <= tolerance)) fail_msg("got %.9g, expected %.9g", got, expected);
}

typedef struct {
  message file;
  bl_float_graph *graph;
  bl_quant_aware *aware;
  bl_train_net *net;
  bl_train_data data;
  unsigned skip_bits;  // above 0: sums read values of so many bits, products copies of them
  unsigned ratio_bits; // of a sum's two scales
  bool bipolar;        // weights
} model;

static inline bl_float_graph *import_batch(const message *file, int64_t batch) {
  bl_float_graph *graph = NULL;
  bl_error err = {0};
  const bl_onnx_options options = {.batch = batch, .rebatch = true};
  if (bl_onnx_import_bytes("net", file->bytes, file->size, &options, &graph, &err) != BL_OK)
    fail_msg("%s", err.text);
  return graph;
}

static inline bl_float_graph *graph_of(const model *m, int64_t batch) {
  bl_float_graph *graph = import_batch(&m->file, batch);
  bl_error err = {0};
  uint32_t copies;
  if (m->skip_bits > 0) assert_int_equal(bl_rewrite_skips(graph, &copies, &err), BL_OK);
  return graph;
}

static inline bl_status read_sample(void *context, size_t index, float *out, bl_error *err) {
  const bl_train_data *d = context;
  (void)err;
  memcpy(out, d->values + index * d->elements, d->elements * sizeof *out);
  return BL_OK;
}

// Opens m->file for training with m->data; the outputs are read by name, one word each.
static inline bl_status open_aware_as(model *m, const bl_quant_aware_options *bits,
                                      const int32_t *outputs, uint32_t output_count,
                                      bl_error *err) {
  const bl_calibration calibration = {read_sample, &m->data, m->data.count};
  bl_float_graph *one = graph_of(m, 1);
  bl_train_options options = {.outputs = outputs, .output_count = output_count, .seed = seed};
  m->graph = m->graph != NULL ? m->graph : graph_of(m, 8);
  bl_status status = bl_quant_aware_open(m->graph, one, bits, &calibration, &m->aware, err);
  bl_float_graph_free(one);
  if (status != BL_OK) return status;
  options.transforms = bl_quant_aware_transforms(m->aware, &options.transform_count);
  status = bl_train_open(m->graph, &options, &m->net, err);
  if (status == BL_OK) bl_quant_aware_attach(m->aware, m->net, true);
  return status;
}

static inline bl_status open_aware(model *m, unsigned weights, unsigned activations,
                                   const int32_t *outputs, uint32_t output_count, bl_error *err) {
  const bl_quant_aware_options bits = {.weight_bits = weights,
                                       .activation_bits = activations,
                                       .skip_bits = m->skip_bits,
                                       .ratio_bits = m->ratio_bits,
                                       .bipolar = m->bipolar};
  return open_aware_as(m, &bits, outputs, output_count, err);
}

static inline void close_model(model *m) {
  bl_train_close(m->net);
  bl_quant_aware_close(m->aware);
  bl_float_graph_free(m->graph);
  bl_train_data_free(&m->data);
  free(m->file.bytes);
}

// What a user would have on disk: stored, exported, imported again.
static inline bl_float_graph *written(const model *m) {
  bl_float_graph *graph = graph_of(m, 1), *again = NULL;
  bl_error err = {0};
  uint8_t *bytes = NULL;
  size_t size = 0;
  if (bl_train_store(m->net, graph, &err) != BL_OK ||
      bl_quant_aware_store(m->aware, graph, &err) != BL_OK ||
      bl_onnx_export_bytes(graph, NULL, &bytes, &size, &err) != BL_OK ||
      bl_onnx_import_bytes("again", bytes, size, NULL, &again, &err) != BL_OK)
    fail_msg("%s", err.text);
  free(bytes);
  bl_float_graph_free(graph);
  return again;
}

static inline int32_t value_named(const bl_float_graph *g, const char *name) {
  for (uint32_t v = 0; v < g->value_count; v++)
    if (strcmp(g->values[v].name, name) == 0) return (int32_t)v;
  fail_msg("no value %s", name);
  return -1;
}

static inline bl_train_data noise(size_t count, size_t elements, bool positive) {
  bl_train_data d = {.count = count, .elements = elements, .has_labels = true};
  d.values = malloc(count * elements * sizeof *d.values);
  d.labels = calloc(count, sizeof *d.labels);
  assert_true(d.values != NULL && d.labels != NULL);
  for (size_t k = 0; k < count * elements; k++) {
    double x = bl_random_normal(bl_random_key(seed + 9, k));
    d.values[k] = (float)(positive ? fabs(x) : x);
  }
  for (size_t k = 0; k < count; k++)
    d.labels[k] = (int64_t)bl_random_below(bl_random_key(seed + 10, k), 3);
  return d;
}

static inline void train(model *m, uint64_t epochs, double rate) {
  bl_trainer_options o = {.epochs = epochs, .seed = seed};
  bl_trainer *t;
  bl_error err = {0};
  o.optimiser = bl_optimiser_defaults(BL_OPTIMISER_ADAMW);
  bl_train_hook hook = bl_quant_aware_hook(m->aware);
  o.hooks = &hook;
  o.hook_count = 1;
  o.schedule = (bl_schedule){BL_SCHEDULE_CONSTANT, rate, 0, 1, 0, 1, 1};
  if (bl_trainer_open(m->net, &m->data, NULL, &o, &t, &err) != BL_OK ||
      bl_trainer_run(t, NULL, NULL, &err) != BL_OK)
    fail_msg("%s", err.text);
  bl_trainer_close(t);
}

#endif
