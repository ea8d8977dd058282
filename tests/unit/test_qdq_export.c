// SPDX-License-Identifier: Apache-2.0
// Integer graphs as ONNX with quantisers: random layers and networks with everything that an
// integer graph can have are written, read again, run by the float executor and compared, integer
// by integer, with the reference kernels.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "host/float/session.h"
#include "host/onnx/onnx_export.h"
#include "host/onnx/onnx_import.h"
#include "host/onnx/qdq_graph.h"
#include "host/quant/quantise.h"
#include "host/ref/reference.h"
#include "tests/regress/random_graph.h"
#include "tests/unit/feature_net.h"

enum { LAYERS = 128, NETWORKS = 40, AGAIN = 90 };

static uint64_t seed = 1;

typedef struct {
  size_t values, differing;
  double most; // largest difference: integers, or parts of the largest value of accumulators
} difference;

static bl_float_graph *write_and_read(const bl_int_graph *graph, const bl_qdq_options *options) {
  bl_float_graph *written = NULL, *read = NULL;
  bl_error err = {0};
  uint8_t *bytes = NULL;
  size_t size = 0;
  if (bl_qdq_graph(graph, options, &written, &err) != BL_OK) fail_msg("%s", err.text);
  const bl_onnx_export_options batch = {.free_batch = true};
  if (bl_onnx_export_bytes(written, &batch, &bytes, &size, &err) != BL_OK) fail_msg("%s", err.text);
  if (bl_onnx_import_bytes("written", bytes, size, NULL, &read, &err) != BL_OK)
    fail_msg("%s", err.text);
  free(bytes);
  bl_float_graph_free(written);
  return read;
}

// Index in a tensor of the graph of element k of a value whose channels come first.
static size_t place(const bl_int_tensor *t, size_t k) {
  const size_t area = (size_t)t->h * t->w;
  return k % area * t->c + k / area;
}

static void compare_output(const bl_int_graph *g, const int32_t *want, const float *got,
                           difference *d) {
  const bl_int_tensor *t = &g->tensors[g->output];
  const size_t count = bl_int_elements(t);
  double largest = 1e-30;
  for (size_t k = 0; k < count; k++)
    largest = fmax(largest, fabs((double)want[k]));
  for (size_t k = 0; k < count; k++) {
    const double q = want[place(t, k)];
    const double away = t->format.kind == BL_FORMAT_ACC
                            ? fabs((double)got[k] - q) / largest
                            : fabs(rint((double)got[k] / t->scale) + t->zero_point - q);
    d->values++;
    d->differing += away > (t->format.kind == BL_FORMAT_ACC ? 1e-5 : 0);
    d->most = fmax(d->most, away);
  }
}

static void run_both(const bl_int_graph *g, const bl_float_graph *onnx, const int32_t *input,
                     difference *d) {
  bl_error err = {0};
  const bl_int_tensor *in = &g->tensors[0];
  const bl_value *out = &onnx->values[onnx->outputs[0]];
  bl_float_session *session = NULL;
  int32_t *want = calloc(bl_int_elements(&g->tensors[g->output]), sizeof *want);
  assert_non_null(want);
  assert_int_equal(out->count, bl_int_elements(&g->tensors[g->output]));
  if (bl_reference_run(g, input, want, NULL, NULL, &err) != BL_OK) fail_msg("%s", err.text);
  if (bl_float_session_open(onnx, &session, &err) != BL_OK) fail_msg("%s", err.text);
  bl_value *x = bl_float_session_input(session, 0);
  assert_int_equal(x->count, bl_int_elements(in));
  for (size_t k = 0; k < x->count; k++)
    x->f[k] = (float)(in->scale * (input[place(in, k)] - in->zero_point));
  if (bl_float_session_run(session, &err) != BL_OK) fail_msg("%s", err.text);
  compare_output(g, want, bl_float_session_value(session, onnx->outputs[0])->f, d);
  bl_float_session_close(session);
  free(want);
}

// Scales of all sizes; parts and parents share theirs. An accumulator's stays.
static void draw_scales(bl_int_graph *g, bl_rng *rng) {
  for (uint32_t t = 0; t < g->tensor_count; t++)
    g->tensors[t].scale =
        ldexp(1 + bl_rng_range(rng, 0, 1000) / 1000.0, (int)bl_rng_range(rng, 0, 16) - 12);
  for (uint32_t t = 1; t < g->tensor_count; t++)
    if (g->tensors[t].parent != 0) g->tensors[t].scale = g->tensors[g->tensors[t].parent].scale;
}

static difference draw_and_compare(bool network, uint32_t number) {
  bl_random_case made;
  bl_error err = {0};
  bl_rng rng = {seed * 1000003 + number};
  difference d = {0};
  const uint32_t allowed = BL_RANDOM_ALL & ~(1u << BL_RANDOM_LONG);
  assert_true(network ? bl_random_network(seed, number, 0, allowed, &made)
                      : bl_random_layer(seed, number, 0, allowed, &made));
  assert_int_equal(bl_int_check(&made.graph, &err), BL_OK);
  draw_scales(&made.graph, &rng);
  const bl_qdq_options options = {.input_mul = 1};
  bl_float_graph *onnx = write_and_read(&made.graph, &options);
  run_both(&made.graph, onnx, made.inputs, &d);
  bl_float_graph_free(onnx);
  bl_random_free(&made);
  return d;
}

// One layer: the nearest integer or, where the real value lies within float32's error of a half,
// its neighbour. Behind a table a neighbour may be anything.
static void random_layers(void **state) {
  (void)state;
  difference all = {0};
  for (uint32_t number = 0; number < LAYERS; number++) {
    difference d = draw_and_compare(false, number * 3 + 1);
    if (d.differing * 200 > d.values + 200)
      fail_msg("seed %llu layer %u: %zu of %zu differ, by up to %g", (unsigned long long)seed,
               number * 3 + 1, d.differing, d.values, d.most);
    all.values += d.values;
    all.differing += d.differing;
  }
  printf("layers: %zu of %zu integers differ\n", all.differing, all.values);
  assert_true(all.differing * 1000 <= all.values);
}

static void random_networks(void **state) {
  (void)state;
  difference all = {0};
  for (uint32_t number = 0; number < NETWORKS; number++) {
    difference d = draw_and_compare(true, number);
    all.values += d.values;
    all.differing += d.differing;
    if (d.differing > 0)
      printf("network %u: %zu of %zu differ, by up to %g\n", number, d.differing, d.values, d.most);
  }
  printf("networks: %zu of %zu integers differ\n", all.differing, all.values);
  assert_true(all.differing * 100 <= all.values);
}

// ---- Quantised again

// The integers that the importer makes of an exported graph, against the first ones; false where it
// refuses the graph.
static bool compare_again(const bl_int_graph *g, const bl_float_graph *onnx, const int32_t *input,
                          difference *d) {
  const bl_quantise_options options = {
      .weight_bits = 8, .activation_bits = 8, .part_channels = 8, .range = BL_RANGE_MINMAX};
  const size_t count = bl_int_elements(&g->tensors[g->output]);
  bl_quantised q;
  bl_error err = {0};
  if (bl_quantise(onnx, &options, NULL, &q, &err) != BL_OK) return false;
  assert_int_equal(bl_int_check(q.graph, &err), BL_OK);
  const bl_int_tensor *t = &q.graph->tensors[q.graph->output];
  int32_t *want = calloc(count, sizeof *want), *got = calloc(count, sizeof *got);
  float *real = calloc(count, sizeof *real);
  assert_true(want != NULL && got != NULL && real != NULL);
  assert_int_equal(bl_int_elements(t), count);
  if (bl_reference_run(g, input, want, NULL, NULL, &err) != BL_OK ||
      bl_reference_run(q.graph, input, got, NULL, NULL, &err) != BL_OK)
    fail_msg("%s", err.text);
  const bl_int_layer *last = &q.graph->layers[q.graph->layer_count - 1];
  for (size_t k = 0; k < count; k++) {
    const size_t at = place(t, k), n = at % t->c;
    real[k] =
        (float)(t->format.kind == BL_FORMAT_ACC ? last->out_scale[n] * got[at] + last->out_bias[n]
                                                : t->scale * (got[at] - t->zero_point));
  }
  compare_output(g, want, real, d);
  bl_arena_free(q.graph->arena);
  free(want);
  free(got);
  free(real);
  return true;
}

// Our importer pads with real zeros only.
static void pad_with_zeros(bl_int_graph *g) {
  for (uint32_t i = 0; i < g->layer_count; i++)
    if (g->tensors[g->layers[i].input].format.kind != BL_FORMAT_B)
      g->layers[i].pad_value = g->tensors[g->layers[i].input].zero_point;
}

// Networks of all kinds but with b1 inputs, which are written as something steep.
static void read_again(void **state) {
  (void)state;
  difference all = {0};
  unsigned read = 0, tables = 0, projections = 0;
  const uint32_t allowed = BL_RANDOM_ALL & ~(1u << BL_RANDOM_LONG);
  for (uint32_t number = 0; number < AGAIN; number++) {
    bl_random_case made;
    bl_rng rng = {seed * 1000003 + number};
    assert_true(number % 2 == 0 ? bl_random_network(seed, number, 0, allowed, &made)
                                : bl_random_layer(seed, number, 0, allowed, &made));
    draw_scales(&made.graph, &rng);
    pad_with_zeros(&made.graph);
    bl_float_graph *onnx = write_and_read(&made.graph, &(bl_qdq_options){.input_mul = 1});
    difference d = {0};
    if (made.graph.tensors[0].format.kind != BL_FORMAT_B &&
        compare_again(&made.graph, onnx, made.inputs, &d)) {
      read++;
      for (uint32_t i = 0; i < made.graph.layer_count; i++) {
        tables += made.graph.layers[i].table != NULL;
        projections += made.graph.layers[i].project_h > 0;
      }
      all.values += d.values;
      all.differing += d.differing;
      if (d.differing * 100 > d.values)
        printf("network %u: %zu of %zu differ, by up to %g\n", number, d.differing, d.values,
               d.most);
    }
    bl_float_graph_free(onnx);
    bl_random_free(&made);
  }
  printf("%u tables, %u projections, %u of %d networks read again: %zu of %zu integers differ\n",
         tables, projections, read, AGAIN, all.differing, all.values);
  assert_true(2 * read >= AGAIN && tables > 0);
  assert_true(all.differing * 100 <= all.values);
}

// Two parts side by side, a projection, up-sampling, a table, a codebook, an addition.
static void every_feature(void **state) {
  (void)state;
  feature_net net;
  bl_error err = {0};
  difference d = {0};
  feature_net_make(&net);
  assert_int_equal(bl_int_check(&net.graph, &err), BL_OK);
  bl_float_graph *onnx = write_and_read(&net.graph, &(bl_qdq_options){.input_mul = 1});
  static const int32_t input[] = {1, 15, 0, 7, 9, 4, 12, 3};
  run_both(&net.graph, onnx, input, &d);
  bl_float_graph_free(onnx);
  // our importer adds with positive ratios
  for (int n = 0; n < 4; n++)
    net.addend_weight[n] = n + 1;
  onnx = write_and_read(&net.graph, &(bl_qdq_options){.input_mul = 1});
  assert_true(compare_again(&net.graph, onnx, input, &d));
  bl_float_graph_free(onnx);
  assert_int_equal(d.values, 128);
  assert_int_equal(d.differing, 0);
}

// 2 x 2 pixels of 2 channels; the layer copies them. x*2 - 1 comes first, Softmax last.
static void ends(void **state) {
  (void)state;
  feature_net net;
  bl_float_session *session;
  bl_error err = {0};
  feature_net_make(&net);
  net.graph.tensor_count = 2;
  net.graph.layer_count = 1;
  net.graph.output = 1;
  net.layers[0].groups = 2;
  net.tensors[1] = (bl_int_tensor){net.names[0], 2, 2, 2, {BL_FORMAT_U, 4}, 1.0, 0, 0, 0};
  net.weights[0] = net.weights[1] = 1;
  net.layers[0].lo = 0;
  net.layers[0].hi = 15;
  assert_int_equal(bl_int_check(&net.graph, &err), BL_OK);
  const bl_qdq_options options = {
      .input_mul = 2, .input_add = -1, .channels_last = true, .end = BL_QDQ_SOFTMAX};
  bl_float_graph *onnx = write_and_read(&net.graph, &options);
  if (bl_float_session_open(onnx, &session, &err) != BL_OK) fail_msg("%s", err.text);
  // pixels (1,1) (1,2) (2,1) (8,9) become 2x - 1: 1,1 1,3 3,1 15,15 (17 is too large for u4)
  static const float x[] = {1, 1, 1, 2, 2, 1, 8, 9};
  memcpy(bl_float_session_input(session, 0)->f, x, sizeof x);
  if (bl_float_session_run(session, &err) != BL_OK) fail_msg("%s", err.text);
  const bl_value *y = bl_float_session_value(session, onnx->outputs[0]);
  const double low = 1 / (1 + exp(2)), high = 1 - low;
  const double want[] = {0.5, low, high, 0.5, 0.5, high, low, 0.5};
  assert_int_equal(y->count, 8);
  for (int k = 0; k < 8; k++)
    assert_true(fabs((double)y->f[k] - want[k]) < 1e-6);
  bl_float_session_close(session);
  bl_float_graph_free(onnx);
}

static void refuses_what_onnx_cannot_say(void **state) {
  (void)state;
  feature_net net;
  bl_float_graph *onnx;
  bl_error err = {0};
  feature_net_make(&net);
  net.tensors[0].scale = -0.5;
  const bl_qdq_options options = {.input_mul = 1};
  assert_int_equal(bl_qdq_graph(&net.graph, &options, &onnx, &err), BL_ERR_UNSUPPORTED);
  assert_null(onnx);
  assert_string_equal(err.text, "t: the scale of its input is -0.5, which ONNX cannot say");
}

int main(void) {
  const char *given = getenv("BITLOOM_SEED");
  if (given != NULL) seed = strtoull(given, NULL, 0);
  printf("seed %llu (BITLOOM_SEED)\n", (unsigned long long)seed);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(random_layers), cmocka_unit_test(random_networks),
      cmocka_unit_test(read_again),    cmocka_unit_test(every_feature),
      cmocka_unit_test(ends),          cmocka_unit_test(refuses_what_onnx_cannot_say),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
