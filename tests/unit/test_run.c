// SPDX-License-Identifier: Apache-2.0
// The runtime on compiled random networks: no value differs from the reference kernels, shards
// change nothing, layer cycles add up to the counters, and a fault planted in an execution is found
// in its layer. BITLOOM_SEED repeats a run.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "host/run/real_output.h"
#include "host/run/runner.h"
#include "tests/regress/random_graph.h"

enum { NETWORKS = 12, ATTEMPTS = 40, SAMPLES = 7 };

static uint64_t seed = 1;

typedef struct {
  bl_random_case made;
  bl_bloom bloom;
} network;

static void draw(uint32_t number, network *n) {
  uint32_t allowed = BL_RANDOM_ALL;
  for (uint32_t attempt = 0; attempt < ATTEMPTS; attempt++) {
    bl_error err = {0};
    bl_program *program;
    assert_true(bl_random_network(seed, number, attempt, allowed, &n->made));
    bl_compile_options options = {n->made.config, 2};
    if (bl_compile(&n->made.graph, &options, &program, &err) == BL_OK) {
      n->bloom = (bl_bloom){.graph = &n->made.graph, .program = program};
      n->bloom.info.preprocess = bl_preprocess_identity();
      return;
    }
    allowed &= ~n->made.features;
    bl_random_free(&n->made);
  }
  fail_msg("seed %llu: network %u always refused", (unsigned long long)seed, number);
}

static void drop(network *n) {
  bl_program_free(n->bloom.program);
  bl_random_free(&n->made);
}

static bl_runner runner_for(const network *n, uint32_t shards) {
  return (bl_runner){.bloom = &n->bloom,
                     .preprocess = n->bloom.info.preprocess,
                     .samples = SAMPLES,
                     .seed = seed,
                     .shards = shards,
                     .device = {.kind = BL_DEVICE_FUNCTIONAL, .config = n->made.config}};
}

static void equal_to_reference(void **state) {
  (void)state;
  for (uint32_t i = 0; i < NETWORKS; i++) {
    network n;
    draw(i, &n);
    bl_run_result results[2];
    size_t elements = bl_int_elements(&n.made.graph.tensors[n.made.graph.output]);
    float *outputs[2] = {calloc(SAMPLES, elements * sizeof(float)),
                         calloc(SAMPLES, elements * sizeof(float))};
    for (uint32_t k = 0; k < 2; k++) {
      bl_runner runner = runner_for(&n, k == 0 ? 1 : 3);
      bl_error err = {0};
      if (bl_runner_run(&runner, true, outputs[k], &results[k], &err) != BL_OK)
        fail_msg("seed %llu network %u: %s", (unsigned long long)seed, i, err.text);
    }
    const bl_run_result *r = &results[0];
    assert_int_equal(r->samples, SAMPLES);
    assert_int_equal(r->batches, (SAMPLES + 1) / 2);
    assert_int_equal(r->compared, SAMPLES * elements);
    assert_int_equal(r->mismatches, 0);
    assert_int_equal(r->labelled, 0);
    assert_int_equal(results[1].compared, r->compared);
    assert_int_equal(results[1].mismatches, 0);
    assert_memory_equal(results[1].counters, r->counters, sizeof r->counters);
    uint64_t cycles = 0;
    for (uint32_t l = 0; l < n.made.graph.layer_count; l++) {
      assert_int_equal(results[1].layer_cycles[l], r->layer_cycles[l]);
      cycles += r->layer_cycles[l];
    }
    assert_int_equal(cycles, r->counters[BL_COUNTER_CYCLES]);
    assert_memory_equal(outputs[0], outputs[1], SAMPLES * elements * sizeof(float));
    free(outputs[0]);
    free(outputs[1]);
    bl_run_result_free(&results[0]);
    bl_run_result_free(&results[1]);
    drop(&n);
  }
}

// The planted fault is an integer that is off by one, behind which a table may have the same entry.
static bool may_hide(const network *n, uint32_t layer) {
  return n->made.graph.layers[layer].table != NULL;
}

static void faults_are_found(void **state) {
  (void)state;
  for (uint32_t i = 0; i < NETWORKS; i++) {
    network n;
    draw(i, &n);
    for (int who = -1; who < 2; who++)
      for (uint32_t layer = 0; layer < (who < 0 ? 1 : n.made.graph.layer_count); layer++) {
        bl_runner runner = runner_for(&n, 1 + layer % 2);
        bl_verify_choice choice = {.functional = true, .fault_executor = who, .fault_layer = layer};
        bl_comparison comparison;
        char line[360];
        bl_error err = {0};
        if (bl_runner_verify(&runner, &choice, &comparison, line, sizeof line, &err) != BL_OK)
          fail_msg("seed %llu network %u: %s", (unsigned long long)seed, i, err.text);
        if (who < 0 || !may_hide(&n, layer)) assert_int_equal(comparison.found, who >= 0);
        assert_int_equal(comparison.found, line[0] != '\0');
        if (comparison.found) assert_int_equal(comparison.first.layer, layer);
      }
    drop(&n);
  }
}

static bl_comparison verify_signed(const network *n, int who, uint32_t layer, uint32_t shards,
                                   char line[360]) {
  bl_runner runner = runner_for(n, shards);
  bl_verify_choice choice = {.signatures = true, .fault_executor = who, .fault_layer = layer};
  bl_comparison comparison;
  bl_error err = {0};
  if (bl_runner_verify(&runner, &choice, &comparison, line, 360, &err) != BL_OK)
    fail_msg("seed %llu: %s", (unsigned long long)seed, err.text);
  return comparison;
}

// Every tensor compared, and signatures alone: false where signatures do not see the fault, or only
// in a later layer, which a tensor of equal words allows (see compare_signed.h).
static bool same_verdict(const network *n, int who, uint32_t layer) {
  bl_runner runner = runner_for(n, 1);
  bl_verify_choice choice = {.functional = true, .fault_executor = who, .fault_layer = layer};
  bl_comparison all, one;
  char lines[2][360];
  bl_error err = {0};
  assert_int_equal(bl_runner_verify(&runner, &choice, &all, lines[0], 360, &err), BL_OK);
  one = verify_signed(n, who, layer, 1 + layer % 2, lines[1]);
  if (one.found != all.found || (one.found && one.first.layer > layer)) return false;
  if (who < 0 || !may_hide(n, layer)) assert_int_equal(one.found, who >= 0);
  if (one.found) assert_int_equal(one.first.layer, layer);
  one = verify_signed(n, who, layer, 1, lines[1]);
  assert_string_equal(lines[0], lines[1]);
  assert_int_equal(one.compared, all.compared);
  assert_int_equal(one.differing, all.differing);
  assert_int_equal(one.images, all.images);
  return true;
}

static void faults_are_found_by_signature(void **state) {
  (void)state;
  uint32_t faults = 0, unseen = 0;
  for (uint32_t i = 0; i < NETWORKS; i++) {
    network n;
    draw(i, &n);
    assert_true(same_verdict(&n, -1, 0));
    for (int who = 0; who < 2; who++)
      for (uint32_t layer = 0; layer < n.made.graph.layer_count; layer++, faults++)
        unseen += !same_verdict(&n, who, layer);
    drop(&n);
  }
  printf("%u of %u faults not seen in their layer\n", unseen, faults);
  assert_true(unseen * 20 <= faults);
}

static void wrong_configuration(void **state) {
  (void)state;
  network n;
  draw(0, &n);
  bl_runner runner = runner_for(&n, 1);
  for (int i = 0; i < BL_CONFIG_COUNT; i++)
    if (&BL_CONFIGS[i] != n.made.config) runner.device.config = &BL_CONFIGS[i];
  bl_run_result result;
  bl_error err = {0};
  assert_int_equal(bl_runner_run(&runner, true, NULL, &result, &err), BL_ERR_USAGE);
  assert_non_null(strstr(err.text, n.made.config->name));
  drop(&n);
}

static void real_outputs(void **state) {
  (void)state;
  bl_int_tensor tensor = {
      .h = 1, .w = 1, .c = 2, .format = {BL_FORMAT_U, 8}, .scale = 0.5, .zero_point = 4};
  bl_int_graph graph = {.tensors = &tensor, .output = 0};
  float values[2];
  bl_output_floats(&graph, BL_SUFFIX_NONE, (const int32_t[]){6, 0}, values);
  assert_true(values[0] == 1.0f && values[1] == -2.0f);
  bl_output_floats(&graph, BL_SUFFIX_SOFTMAX, (const int32_t[]){6, 6}, values);
  assert_true(values[0] == 0.5f && values[1] == 0.5f);
  bl_output_floats(&graph, BL_SUFFIX_SIGMOID, (const int32_t[]){4, 4}, values);
  assert_true(values[0] == 0.5f && values[1] == 0.5f);
}

static void argmax_ties(void **state) {
  (void)state;
  double scale[3] = {1.0, 2.0, 0.5}, bias[3] = {0.0, 1.0, 2.0};
  bl_int_tensor tensors[2] = {{.h = 1, .w = 1, .c = 3, .format = {BL_FORMAT_S, 8}, .scale = 1.0},
                              {.h = 1, .w = 1, .c = 3, .format = {BL_FORMAT_ACC, 32}}};
  bl_int_layer layer = {.output = 1, .out_scale = scale, .out_bias = bias};
  bl_int_graph graph = {.tensors = tensors, .layers = &layer, .layer_count = 1, .output = 0};
  assert_int_equal(bl_output_class(&graph, (const int32_t[]){-3, 7, 7}), 1);
  assert_int_equal(bl_output_class(&graph, (const int32_t[]){-3, -3, -3}), 0);
  graph.output = 1; // 3, 3, 3 and then 3, 3, 3.5
  assert_int_equal(bl_output_class(&graph, (const int32_t[]){3, 1, 2}), 0);
  assert_int_equal(bl_output_class(&graph, (const int32_t[]){3, 1, 3}), 2);
  tensors[1].c = 1; // one output is the logit of class 1
  bias[0] = -2;
  assert_int_equal(bl_output_class(&graph, (const int32_t[]){2}), 0);
  assert_int_equal(bl_output_class(&graph, (const int32_t[]){3}), 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(equal_to_reference),
      cmocka_unit_test(faults_are_found),
      cmocka_unit_test(faults_are_found_by_signature),
      cmocka_unit_test(wrong_configuration),
      cmocka_unit_test(argmax_ties),
      cmocka_unit_test(real_outputs),
  };
  const char *text = getenv("BITLOOM_SEED");
  if (text != NULL) seed = strtoull(text, NULL, 0);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
