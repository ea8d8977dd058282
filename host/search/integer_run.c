// SPDX-License-Identifier: Apache-2.0
#include "host/search/integer_run.h"

#include <stdlib.h>

#include "host/run/input.h"
#include "host/run/program_session.h"

typedef struct {
  const bl_quantised *made;
  const bl_train_data *data;
  bl_executor device;
  int32_t *in, *out;
} running;

// Sample `index` as the integers of tensor 0: index (y*w + x)*c + channel.
static void read_integers(const running *r, size_t index, int32_t *out) {
  const bl_int_tensor *in = &r->made->graph->tensors[0];
  const float *x = r->data->values + index * r->data->elements;
  const size_t pixels = (size_t)in->h * in->w;
  for (size_t p = 0; p < pixels; p++)
    for (size_t c = 0; c < in->c; c++) {
      const double value = (double)x[r->data->rows_last ? c * pixels + p : p * in->c + c];
      out[p * in->c + c] = bl_input_quantise(in, value * r->made->input_mul + r->made->input_add);
    }
}

static bl_status run_all(running *r, bl_integer_answer answer, void *user, bl_error *err) {
  const bl_int_graph *graph = r->made->graph;
  const size_t in = bl_int_elements(&graph->tensors[0]), batch = r->device.batch;
  const size_t out = bl_int_elements(&graph->tensors[graph->output]);
  r->in = calloc(batch * in, sizeof *r->in);
  r->out = calloc(batch * out, sizeof *r->out);
  if (r->in == NULL || r->out == NULL) return bl_fail(err, BL_ERR_MEMORY, "no memory for a batch");
  for (size_t first = 0; first < r->data->count; first += batch) {
    const size_t left = r->data->count - first, images = left < batch ? left : batch;
    for (size_t k = 0; k < images; k++)
      read_integers(r, first + k, r->in + k * in);
    BL_TRY(r->device.run(r->device.self, r->in, images, r->out, NULL, NULL, err));
    for (size_t k = 0; k < images; k++)
      answer(user, first + k, r->out + k * out);
  }
  return BL_OK;
}

bl_status bl_integer_run(const bl_quantised *made, const bl_program *program,
                         const bl_train_data *data, bl_integer_answer answer, void *user,
                         bl_error *err) {
  running r = {.made = made, .data = data};
  const bl_device_spec spec = {.kind = BL_DEVICE_FUNCTIONAL, .config = &program->config};
  const size_t elements = bl_int_elements(&made->graph->tensors[0]);
  if (data->elements != elements)
    return bl_fail(err, BL_ERR_FORMAT, "samples have %zu values, the network takes %zu",
                   data->elements, elements);
  BL_TRY(bl_executor_device(&spec, made->graph, program, BL_STEP_NO_LAYER, &r.device, err));
  const bl_status status = run_all(&r, answer, user, err);
  bl_executor_close(&r.device);
  free(r.in);
  free(r.out);
  return status;
}
