// SPDX-License-Identifier: Apache-2.0
// Reconstruction: what is left is the minimum that it is said to be.
#include <math.h>

#include "host/float/session.h"
#include "host/prune/reconstruct.h"
#include "tests/unit/prune_support.h"

// One layer each, few windows, so that all of them count: convolution with padding, stride and a
// bias, groups without one, depthwise; and dense layers.
static const text_net SOLVED[] = {
    {"conv", "x 1 3 6 5", "w 4 3 3 3;b 4", NULL,
     "Conv x w b > y | pads=i1,0,1,1 strides=i2,1 dilations=i1,2", 11},
    {"groups", "x 1 4 5 5", "w 6 2 3 3", NULL, "Conv x w > y | pads=i1,1,1,1 group=i2", 11},
    {"depthwise", "x 1 4 5 5", "w 4 1 3 3;b 4", NULL, "Conv x w b > y | group=i4", 11},
    {"gemm", "x 1 12", "w 5 12;b 5", NULL, "Gemm x w b > y | transB=i1", 11},
    {"matmul", "x 1 12", "w 12 5", NULL, "MatMul x w > y", 11},
};

enum { SOLVED_SAMPLES = 7 };

// Runs the samples; the network's answers one behind the other.
static size_t answers(const bl_float_graph *graph, const bl_train_data *data, float *out) {
  bl_float_session *session;
  bl_error err = {0};
  size_t count = 0;
  assert_int_equal(bl_float_session_open(graph, &session, &err), BL_OK);
  for (size_t s = 0; s < data->count; s++) {
    memcpy(bl_float_session_input(session, 0)->f, data->values + s * data->elements,
           data->elements * sizeof(float));
    assert_int_equal(bl_float_session_run(session, &err), BL_OK);
    const bl_value *y = bl_float_session_value(session, graph->outputs[0]);
    memcpy(out + count, y->f, y->count * sizeof *out);
    count += y->count;
  }
  bl_float_session_close(session);
  return count;
}

// The sum of squared differences of the answers.
static void errors_of(const bl_float_graph *graph, const bl_train_data *data, const float *expected,
                      double *sum) {
  static float got[4096];
  const size_t count = answers(graph, data, got);
  *sum = 0;
  for (size_t k = 0; k < count; k++)
    *sum += pow((double)got[k] - (double)expected[k], 2);
}

static size_t row_of(const bl_prune_layer *l, size_t k) {
  return l->output_stride > 1 ? k / l->output_stride : k % l->outputs;
}

// The derivative of the error by every weight that is left is that of the damping: -2 d (v - w), d
// being 0.01 of the mean over a row's inputs of the sum of x^2, which is half the curvature.
static void check_solved(const text_net *net) {
  static float samples[SOLVED_SAMPLES * 128], expected[4096], before[512];
  bl_float_graph *graph = text_graph(net, seed);
  bl_train_data data = {.values = samples, .count = SOLVED_SAMPLES};
  data.elements = graph->values[graph->inputs[0]].count;
  for (size_t k = 0; k < data.count * data.elements; k++)
    samples[k] = (float)bl_random_normal(bl_random_key(seed, k)) + 0.5F;
  (void)answers(graph, &data, expected);
  bl_prune *p = open_prune(graph);
  bl_value *w = &graph->values[p->layers[0].value];
  memcpy(before, w->f, w->count * sizeof *before);
  by_magnitude(p, graph);
  choose(p, &(bl_prune_options){.amount = 0.4});
  double plain, solved;
  bl_error err = {0};
  for (size_t k = 0; k < w->count; k++)
    w->f[k] = p->layers[0].mask[k] != 0 ? before[k] : 0;
  errors_of(graph, &data, expected, &plain);
  memcpy(w->f, before, w->count * sizeof *before);
  if (bl_prune_reconstruct(p, graph, &data, 100, &err) != BL_OK) fail_msg("%s", err.text);
  errors_of(graph, &data, expected, &solved);
  if (!(solved < 0.97 * plain))
    fail_msg("seed %llu, %s: %g of %g", (unsigned long long)seed, net->name, solved, plain);
  const bl_prune_layer *l = &p->layers[0];
  const size_t inputs = l->channels * l->taps;
  double slope[512], curve[512], mean[8] = {0};
  for (size_t k = 0; k < w->count; k++) {
    const float v = w->f[k];
    double side[2];
    for (int i = 0; i < 2; i++) {
      w->f[k] = v + (i == 0 ? 0.0625F : -0.0625F);
      errors_of(graph, &data, expected, &side[i]);
    }
    w->f[k] = v;
    slope[k] = (side[0] - side[1]) / 0.125;
    curve[k] = (side[0] + side[1] - 2 * solved) / (0.0625 * 0.0625);
    mean[row_of(l, k)] += curve[k] / (double)inputs;
  }
  for (size_t k = 0; k < w->count; k++) {
    const double pull = 0.01 * mean[row_of(l, k)] * ((double)w->f[k] - (double)before[k]);
    if (l->mask[k] == 0)
      assert_true(w->f[k] == 0);
    else if (!(fabs(slope[k] + pull) < 1e-3 * mean[row_of(l, k)]))
      fail_msg("seed %llu, %s: weight %zu: slope %g, damping %g, curve %g",
               (unsigned long long)seed, net->name, k, slope[k], pull, curve[k]);
  }
  bl_prune_close(p);
  bl_float_graph_free(graph);
}

static void reconstruction(void **state) {
  (void)state;
  for (size_t n = 0; n < sizeof SOLVED / sizeof SOLVED[0]; n++)
    check_solved(&SOLVED[n]);
}

// y = 2 a + 3 b with b always a: without b it is 5 a, as far as the damping lets it; and a layer
// behind it takes nothing amiss.
static void reconstruction_by_hand(void **state) {
  (void)state;
  static const text_net net = {"twins",
                               "x 1 2",
                               "w 1 2 =3,2;v 1 1 =1",
                               NULL,
                               "Gemm x w > h | transB=i1;Gemm h v > y | transB=i1",
                               11};
  static float samples[] = {1, 1, 2, 2, -1, -1};
  bl_train_data data = {.values = samples, .count = 3, .elements = 2};
  bl_float_graph *graph = text_graph(&net, seed);
  bl_prune *p = open_prune(graph);
  bl_error err = {0};
  by_magnitude(p, graph);
  choose(p, &(bl_prune_options){.amount = 0.5, .each_layer = true, .keep = BL_PRUNE_LAST});
  assert_int_equal(bl_prune_reconstruct(p, graph, &data, 3, &err), BL_OK);
  const float *w = graph->values[p->layers[0].value].f, *v = graph->values[p->layers[1].value].f;
  // H = 6 + 0.06, right side 6 * 3 + 6 * 2 + 0.06 * 3
  assert_true(fabs((double)w[0] - 30.18 / 6.06) < 1e-5 && w[1] == 0);
  // reads 30.18 / 6.06 a instead of 5 a: H = 24.8 * 6 + its hundredth
  const double read = 30.18 / 6.06, h = 6 * read * read;
  assert_true(fabs((double)v[0] - (6 * read * 5 + 0.01 * h) / (1.01 * h)) < 1e-5);
  assert_int_equal(bl_prune_reconstruct(p, graph, &data, 0, &err), BL_ERR_USAGE);
  bl_prune_close(p);
  bl_float_graph_free(graph);
}

int main(void) {
  seed = test_seed();
  bl_train_threads(1);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(reconstruction),
      cmocka_unit_test(reconstruction_by_hand),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
