// SPDX-License-Identifier: Apache-2.0
// The pass batch-norms: where it puts them, the statistics they get, and that nothing changes.
#include <math.h>

#include "host/compress/pipeline.h"
#include "host/float/session.h"
#include "host/graph/float_edit.h"
#include "tests/unit/train_support.h"

enum { SAMPLES = 6, ELEMENTS = 3 * 8 * 8, OUTPUTS = 4 };

static uint64_t seed;
static float values[SAMPLES * ELEMENTS];
static const bl_train_data samples = {.values = values, .count = SAMPLES, .elements = ELEMENTS};

// a is read twice, c has its norm, e and its sum too, y is the output.
static const text_net NET = {
    "net",
    "x 1 3 8 8",
    "w 5 3 3 3;wb 5;v 5 5 1 1;u 5 5 3 3;g 5 =1,2,3,4,5;h 5;m 5;s 5 =1,1,2,2,3;d 4 5 1 1",
    NULL,
    "Conv x w wb > a | pads=i1,1,1,1;Relu a > b;Conv b v > c;BatchNormalization c g h m s > cn;"
    "Conv b u > e | pads=i1,1,1,1;Add e a > f;Add f cn > t;Conv t d > y",
    13};

static bl_status run_pass(const char *text, const bl_train_data *calibration, bl_network *network,
                          bl_error *err) {
  bl_float_graph *graph = text_graph(&NET, seed);
  bl_recipe *recipe;
  assert_int_equal(bl_recipe_parse("r", text, strlen(text), &recipe, err), BL_OK);
  assert_int_equal(bl_network_open(graph, NULL, network, err), BL_OK);
  network->device = (bl_compile_options){&BL_CONFIGS[BL_CONFIG_DEFAULT], 0};
  network->data.calibration = calibration;
  const bl_status status = bl_recipe_run(recipe, network, NULL, NULL, err);
  bl_recipe_free(recipe);
  return status;
}

// The value of sample s; [5][8][8] or the output.
static void value_of(const bl_float_graph *graph, const char *name, size_t s, float *out) {
  bl_float_session *session;
  bl_error err = {0};
  assert_int_equal(bl_float_session_open(graph, &session, &err), BL_OK);
  memcpy(bl_float_session_input(session, 0)->f, values + s * ELEMENTS, ELEMENTS * sizeof *values);
  assert_int_equal(bl_float_session_run(session, &err), BL_OK);
  const bl_value *v = bl_float_session_value(session, bl_float_find_value(graph, name));
  memcpy(out, v->f, v->count * sizeof *out);
  bl_float_session_close(session);
}

static const float *constant(const bl_float_graph *graph, const char *name) {
  const int32_t at = bl_float_find_value(graph, name);
  assert_true(at >= 0);
  assert_int_equal(graph->values[at].count, 5);
  return graph->values[at].f;
}

static uint32_t norms_of(const bl_float_graph *graph) {
  uint32_t count = 0;
  for (uint32_t n = 0; n < graph->node_count; n++)
    count += graph->nodes[n].op == BL_FLOAT_BATCH_NORM;
  return count;
}

static void nothing_changes(void **state) {
  (void)state;
  static float plain[OUTPUTS * 64], with[OUTPUTS * 64];
  bl_network network;
  bl_error err = {0};
  if (run_pass("passes:\n  - batch-norms\n  - batch-norms\n", &samples, &network, &err) != BL_OK)
    fail_msg("%s", err.text);
  bl_float_graph *graph = text_graph(&NET, seed);
  assert_int_equal(norms_of(graph), 1);
  assert_int_equal(norms_of(network.graph), 3); // a and e: c has its own, nothing reads y
  for (size_t s = 0; s < SAMPLES; s++) {
    value_of(graph, "y", s, plain);
    value_of(network.graph, "y", s, with);
    for (size_t k = 0; k < OUTPUTS * 64; k++)
      assert_true(fabsf(plain[k] - with[k]) <= 1e-4F * (1 + fabsf(plain[k])));
  }
  bl_float_graph_free(graph);
  bl_network_close(&network);
}

// Of a, over all samples, in two passes.
static void statistics_are_those_of_the_samples(void **state) {
  (void)state;
  static float a[SAMPLES][5 * 64];
  bl_network network;
  bl_error err = {0};
  assert_int_equal(run_pass("passes:\n  - batch-norms\n", &samples, &network, &err), BL_OK);
  for (size_t s = 0; s < SAMPLES; s++)
    value_of(network.graph, "a", s, a[s]);
  for (size_t c = 0; c < 5; c++) {
    double mean = 0, variance = 0;
    for (size_t k = 0; k < SAMPLES * 64; k++)
      mean += (double)a[k / 64][c * 64 + k % 64] / (SAMPLES * 64);
    for (size_t k = 0; k < SAMPLES * 64; k++)
      variance += pow((double)a[k / 64][c * 64 + k % 64] - mean, 2) / (SAMPLES * 64);
    assert_true(fabs((double)constant(network.graph, "a_mean")[c] - mean) < 1e-5);
    assert_true(fabs((double)constant(network.graph, "a_beta")[c] - mean) < 1e-5);
    assert_true(fabs((double)constant(network.graph, "a_variance")[c] - variance) < 1e-5);
    assert_true(fabs((double)constant(network.graph, "a_gamma")[c] - sqrt(variance + 1e-5)) < 1e-5);
  }
  bl_network_close(&network);
}

static void refused(void **state) {
  (void)state;
  bl_network network;
  bl_error err = {0};
  assert_int_equal(run_pass("passes:\n  - batch-norms\n", NULL, &network, &err), BL_ERR_USAGE);
  assert_non_null(strstr(err.text, "r:2: batch-norms: needs calibration data"));
  bl_network_close(&network);
  err = (bl_error){0};
  assert_int_equal(run_pass("passes:\n  - quantise\n  - batch-norms\n", &samples, &network, &err),
                   BL_ERR_USAGE);
  assert_non_null(strstr(err.text, "r:3: batch-norms: stands in front of the passes"));
  bl_network_close(&network);
}

int main(void) {
  const char *given = getenv("BITLOOM_SEED");
  seed = given != NULL ? strtoull(given, NULL, 10) : 1;
  printf("seed %llu\n", (unsigned long long)seed);
  for (size_t k = 0; k < SAMPLES * ELEMENTS; k++)
    values[k] = (float)(4 * bl_random_unit(bl_random_key(seed, k)) - 1);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(nothing_changes),
      cmocka_unit_test(statistics_are_those_of_the_samples),
      cmocka_unit_test(refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
