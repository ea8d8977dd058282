// SPDX-License-Identifier: Apache-2.0
// Batches of samples through the float executor.
#include "host/run/float_run.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "host/float/inference.h"
#include "host/graph/class_of.h"
#include "host/run/input.h"

static bool passes_axes(bl_float_op op) {
  switch (op) {
  case BL_FLOAT_ADD:
  case BL_FLOAT_SUB:
  case BL_FLOAT_MUL:
  case BL_FLOAT_DIV:
  case BL_FLOAT_CAST:
  case BL_FLOAT_CLIP:
  case BL_FLOAT_RELU:
  case BL_FLOAT_PAD:
  case BL_FLOAT_IDENTITY:
  case BL_FLOAT_DROPOUT:
  case BL_FLOAT_QUANT:
  case BL_FLOAT_BIPOLAR_QUANT:
  case BL_FLOAT_QUANTIZE:
  case BL_FLOAT_DEQUANTIZE:
    return true;
  default:
    return false;
  }
}

static const bl_node *consumer(const bl_float_graph *graph, int32_t value) {
  for (uint32_t n = 0; n < graph->node_count; n++)
    for (uint32_t i = 0; i < graph->nodes[n].input_count; i++)
      if (graph->nodes[n].inputs[i] == value) return &graph->nodes[n];
  return NULL;
}

bl_layout bl_float_layout(const bl_float_graph *graph) {
  if (graph->input_count == 0) return BL_LAYOUT_NCHW;
  const bl_node *node = consumer(graph, graph->inputs[0]);
  for (uint32_t steps = 0; node != NULL && steps < graph->node_count; steps++) {
    if (node->op == BL_FLOAT_TRANSPOSE) {
      static const int64_t to_nchw[4] = {0, 3, 1, 2};
      const bl_attribute *perm = bl_node_attribute(node, "perm");
      bool moves =
          perm != NULL && perm->int_count == 4 && memcmp(perm->ints, to_nchw, sizeof to_nchw) == 0;
      return moves ? BL_LAYOUT_NHWC : BL_LAYOUT_NCHW;
    }
    if (!passes_axes(node->op) || node->output_count == 0) break;
    node = consumer(graph, node->outputs[0]);
  }
  return BL_LAYOUT_NCHW;
}

static bl_sample_shape shape_of(const bl_value *input, bl_layout order) {
  uint32_t d[3] = {1, 1, 1}, rank = input->rank < 2 ? 1 : input->rank - 1;
  for (uint32_t i = 0; i < rank && i < 3; i++)
    d[i] = (uint32_t)input->dims[input->rank < 2 ? 0 : i + 1];
  if (rank == 1) return (bl_sample_shape){1, 1, d[0]};
  if (rank == 2) return (bl_sample_shape){d[0], d[1], 1};
  if (order == BL_LAYOUT_NHWC) return (bl_sample_shape){d[0], d[1], d[2]};
  return (bl_sample_shape){d[1], d[2], d[0]};
}

bl_status bl_float_describe(const bl_float_graph *graph, bl_float_io *io, bl_error *err) {
  if (graph->input_count != 1 || graph->output_count == 0)
    return bl_fail(err, BL_ERR_UNSUPPORTED, "%s: has %u data inputs; data sets feed exactly one",
                   graph->name, (unsigned)graph->input_count);
  const bl_value *in = &graph->values[graph->inputs[0]], *out = &graph->values[graph->outputs[0]];
  if (in->type != BL_TYPE_FLOAT || out->type != BL_TYPE_FLOAT || in->rank < 1 || in->rank > 4 ||
      in->count == 0)
    return bl_fail(err, BL_ERR_UNSUPPORTED, "%s: input or output is not floats of 1 to 4 axes",
                   graph->name);
  size_t images = in->rank < 2 ? 1 : (size_t)in->dims[0];
  if (out->count % images != 0 || (images > 1 && (out->rank < 2 || (size_t)out->dims[0] != images)))
    return bl_fail(err, BL_ERR_UNSUPPORTED, "%s: the output has no batch of %zu as first dimension",
                   graph->name, images);
  io->images = images;
  io->in_elements = in->count / images;
  io->out_elements = out->count / images;
  io->order = bl_float_layout(graph);
  io->shape = shape_of(in, io->order);
  return BL_OK;
}

bl_status bl_float_fits(const bl_dataset *dataset, const bl_preprocess *preprocess, bl_float_io *io,
                        bl_error *err) {
  io->order = bl_input_order(io->shape, dataset, preprocess, io->order);
  return bl_dataset_fits(dataset, preprocess, io->order, io->shape, "the network", err);
}

bl_status bl_float_read(const bl_dataset *dataset, const bl_preprocess *preprocess,
                        const bl_float_io *io, size_t index, double *scratch, float *out,
                        bl_error *err) {
  BL_TRY(bl_dataset_read(dataset, index, preprocess, io->order, scratch, err));
  for (size_t i = 0; i < io->in_elements; i++)
    out[i] = (float)scratch[i];
  return BL_OK;
}

typedef struct {
  const bl_float_io *io;
  const bl_dataset *dataset;
  const bl_preprocess *preprocess;
  bl_float_inference *inference;
  double *scratch;
  float border; // of a single output
} state;

static double now(void) {
  struct timespec t;
  (void)clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// Images beyond the data set's end repeat the last one; their outputs are not used.
static bl_status run_batch(const state *s, size_t first, size_t images, float *outputs,
                           bl_float_result *result, bl_error *err) {
  const bl_float_io *io = s->io;
  float *in = bl_float_inference_input(s->inference, 0);
  for (size_t i = 0; i < io->images; i++)
    BL_TRY(bl_float_read(s->dataset, s->preprocess, io, first + (i < images ? i : images - 1),
                         s->scratch, in + i * io->in_elements, err));
  double start = now();
  BL_TRY(bl_float_inference_run(s->inference, err));
  result->seconds += now() - start;
  const float *out = bl_float_inference_output(s->inference, 0);
  if (outputs != NULL)
    memcpy(outputs + first * io->out_elements, out, images * io->out_elements * sizeof *out);
  result->samples += images;
  if (!s->dataset->has_labels) return BL_OK;
  for (size_t i = 0; i < images; i++) {
    size_t answer = bl_class_of(out + i * io->out_elements, io->out_elements, s->border);
    result->labelled++;
    if ((int64_t)answer == bl_dataset_label(s->dataset, first + i)) result->correct++;
  }
  return BL_OK;
}

static bl_status run_all(const state *s, float *outputs, bl_progress progress,
                         bl_float_result *result, bl_error *err) {
  size_t count = s->dataset->count, batch = s->io->images;
  for (size_t first = 0; first < count; first += batch) {
    size_t images = count - first < batch ? count - first : batch;
    BL_TRY(run_batch(s, first, images, outputs, result, err));
    if (progress.step != NULL) progress.step(progress.user, first + images, count);
  }
  return BL_OK;
}

bl_status bl_float_run(const bl_float_graph *graph, const bl_float_io *io,
                       const bl_dataset *dataset, const bl_preprocess *preprocess, float *outputs,
                       bl_progress progress, bl_float_result *result, bl_error *err) {
  *result = (bl_float_result){0};
  state s = {.io = io,
             .dataset = dataset,
             .preprocess = preprocess,
             .border = bl_class_border(graph, graph->outputs[0])};
  BL_TRY(bl_float_inference_open(graph, &s.inference, err));
  s.scratch = calloc(io->in_elements, sizeof *s.scratch);
  bl_status status = s.scratch == NULL ? bl_fail(err, BL_ERR_MEMORY, "no memory for a sample")
                                       : run_all(&s, outputs, progress, result, err);
  free(s.scratch);
  bl_float_inference_close(s.inference);
  return status;
}
