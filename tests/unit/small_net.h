// SPDX-License-Identifier: Apache-2.0
// Small networks for tests of quantisation: made of random weights, run in float by the executor
// and in integers by the reference kernels.
#ifndef BITLOOM_TESTS_UNIT_SMALL_NET_H
#define BITLOOM_TESTS_UNIT_SMALL_NET_H

#include <math.h>
#include <time.h>

#include "host/onnx/onnx_import.h"
#include "host/quant/quantise.h"
#include "host/ref/reference.h"
#include "tests/unit/onnx_writer.h"

static uint64_t seed;

static inline uint32_t next_random(void) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(seed >> 33);
}

static inline double uniform(double lo, double hi) {
  return lo + (hi - lo) * (double)next_random() / 2147483648.0;
}

static inline void take_seed(void) {
  const char *text = getenv("BITLOOM_SEED");
  seed = text != NULL ? strtoull(text, NULL, 0) : (uint64_t)time(NULL);
  printf("seed %llu (repeat with BITLOOM_SEED)\n", (unsigned long long)seed);
}

static inline bl_float_graph *import(message *graph, int64_t opset) {
  bl_float_graph *imported = NULL;
  bl_error err = {0};
  message model = new_model(graph, opset);
  bl_status status = bl_onnx_import_bytes("test", model.bytes, model.size, NULL, &imported, &err);
  free(model.bytes);
  if (status != BL_OK) fail_msg("%s", err.text);
  return imported;
}

static inline void put_random(message *graph, const char *name, const int64_t *dims, size_t rank,
                              double lo, double hi) {
  float v[512];
  size_t count = 1;
  for (size_t k = 0; k < rank; k++)
    count *= (size_t)dims[k];
  assert_true(count <= 512);
  for (size_t k = 0; k < count; k++)
    v[k] = (float)uniform(lo, hi);
  put_tensor(graph, 5, name, 1, dims, rank, v, count * sizeof *v);
}

// Runs the integer graph by the reference kernels; the input arrives channel, row, column, the
// output (real values) leaves row, column, channel.
static inline void run_integers(const bl_quantised *q, const float *x, double *y) {
  const bl_int_graph *g = q->graph;
  const bl_int_tensor *in = &g->tensors[0];
  int32_t integers[1024], acc[1024];
  bl_error err = {0};
  for (uint32_t p = 0; p < in->h * in->w; p++)
    for (uint32_t c = 0; c < in->c; c++) {
      double v = q->input_mul * (double)x[c * in->h * in->w + p] + q->input_add;
      double level =
          in->format.kind == BL_FORMAT_B ? (v >= 0 ? 1 : -1) : rint(v / in->scale) + in->zero_point;
      double lo = bl_format_min(in->format), hi = bl_format_max(in->format);
      integers[p * in->c + c] = (int32_t)(level < lo ? lo : level > hi ? hi : level);
    }
  if (bl_reference_run(g, integers, acc, NULL, NULL, &err) != BL_OK) fail_msg("%s", err.text);
  const bl_int_tensor *out = &g->tensors[g->output];
  const bl_int_layer *last = &g->layers[g->layer_count - 1];
  for (uint32_t k = 0; k < bl_int_elements(out); k++)
    y[k] = out->format.kind == BL_FORMAT_ACC
               ? last->out_scale[k % out->c] * acc[k] + last->out_bias[k % out->c]
               : out->scale * (acc[k] - out->zero_point);
}

static inline void run_floats(const bl_float_graph *graph, const float *x, float *y) {
  bl_float_session *session = NULL;
  bl_error err = {0};
  assert_int_equal(bl_float_session_open(graph, &session, &err), BL_OK);
  bl_value *in = bl_float_session_input(session, 0);
  memcpy(in->f, x, in->count * sizeof *x);
  assert_int_equal(bl_float_session_run(session, &err), BL_OK);
  const bl_value *out = bl_float_session_value(session, graph->outputs[0]);
  memcpy(y, out->f, out->count * sizeof *y);
  bl_float_session_close(session);
}

#endif
