// SPDX-License-Identifier: Apache-2.0
// The reference kernels behind the executors' interface.
#include "host/run/executor.h"

#include <stdlib.h>
#include <string.h>

#include "host/ref/reference.h"

enum { BATCH = 64 };

typedef struct {
  const bl_int_graph *graph;
  uint32_t fault_layer;
} reference;

typedef struct {
  const reference *self;
  int32_t **outputs; // of each layer, all images; NULL when nobody wants them
  size_t image;
} one_image;

static const bl_int_tensor *output_of(const bl_int_graph *graph, uint32_t layer) {
  return &graph->tensors[graph->layers[layer].output];
}

// Another value that the tensor's format allows.
static int32_t changed(bl_format format, int32_t value) {
  if (format.kind == BL_FORMAT_B) return -value;
  return value == bl_format_max(format) ? value - 1 : value + 1;
}

static void keep(void *context, uint32_t layer, int32_t *output) {
  const one_image *one = context;
  const bl_int_tensor *tensor = output_of(one->self->graph, layer);
  size_t elements = bl_int_elements(tensor);
  if (layer == one->self->fault_layer)
    output[elements / 2] = changed(tensor->format, output[elements / 2]);
  if (one->outputs != NULL)
    memcpy(one->outputs[layer] + one->image * elements, output, elements * sizeof *output);
}

static bl_status run_images(reference *self, const int32_t *in, size_t images, int32_t *out,
                            int32_t **outputs, bl_error *err) {
  const bl_int_graph *graph = self->graph;
  size_t in_size = bl_int_elements(&graph->tensors[0]);
  size_t out_size = bl_int_elements(&graph->tensors[graph->output]);
  for (size_t i = 0; i < images; i++) {
    one_image one = {self, outputs, i};
    BL_TRY(bl_reference_run(graph, in + i * in_size, out + i * out_size, keep, &one, err));
  }
  return BL_OK;
}

static bl_status run_kept(reference *self, const int32_t *in, size_t images, int32_t *out,
                          bl_arena *arena, bl_layer_sink sink, void *context, bl_error *err) {
  const bl_int_graph *graph = self->graph;
  int32_t **outputs = bl_arena_alloc(arena, graph->layer_count, sizeof *outputs);
  bool short_of = outputs == NULL;
  for (uint32_t i = 0; i < graph->layer_count && !short_of; i++) {
    size_t elements = images * bl_int_elements(output_of(graph, i));
    outputs[i] = bl_arena_alloc(arena, elements, sizeof(int32_t));
    short_of = outputs[i] == NULL;
  }
  if (short_of) return bl_fail(err, BL_ERR_MEMORY, "reference: no memory for all layers' outputs");
  BL_TRY(run_images(self, in, images, out, outputs, err));
  for (uint32_t i = 0; i < graph->layer_count; i++)
    sink(context, i, outputs[i]);
  return BL_OK;
}

static bl_status run_reference(void *self, const int32_t *in, size_t images, int32_t *out,
                               bl_layer_sink sink, void *context, bl_error *err) {
  if (sink == NULL) return run_images(self, in, images, out, NULL, err);
  bl_arena *arena = bl_arena_new((size_t)256 << 20);
  if (arena == NULL) return bl_fail(err, BL_ERR_MEMORY, "reference: no memory");
  bl_status status = run_kept(self, in, images, out, arena, sink, context, err);
  bl_arena_free(arena);
  return status;
}

bl_status bl_executor_reference(const bl_int_graph *graph, uint32_t fault_layer,
                                bl_executor *executor, bl_error *err) {
  reference *self = malloc(sizeof *self);
  if (self == NULL) return bl_fail(err, BL_ERR_MEMORY, "reference: no memory");
  *self = (reference){graph, fault_layer};
  *executor =
      (bl_executor){.name = "reference", .run = run_reference, .close = free, .batch = BATCH};
  executor->self = self;
  return BL_OK;
}
