// SPDX-License-Identifier: Apache-2.0
// The networks that the benchmark makes: sound, and CNV's signs balanced in every layer, counted
// with the reference kernels on images that its batch norms were not drawn from; as an ONNX file it
// comes back as the same network.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "host/compile/bloom.h"
#include "host/ref/reference.h"
#include "host/run/input.h"
#include "tests/bench/nets.h"
#include "tests/bench/nets_onnx.h"
#include "tests/support/run_command.h"

enum { IMAGES = 3, MOST_LAYERS = 16 };

typedef struct {
  const bl_int_graph *graph;
  uint64_t ones[MOST_LAYERS], values[MOST_LAYERS];
} tally;

static void count(void *context, uint32_t layer, int32_t *output) {
  tally *t = context;
  size_t elements = bl_int_elements(&t->graph->tensors[t->graph->layers[layer].output]);
  t->values[layer] += elements;
  for (size_t i = 0; i < elements; i++)
    t->ones[layer] += output[i] == 1;
}

static void cnv_is_balanced(void **state) {
  (void)state;
  bl_error err = {0};
  const uint64_t seed = 1;
  printf("seed %llu\n", (unsigned long long)seed);
  bl_int_graph *graph = bl_net_cnv(seed);
  assert_non_null(graph);
  assert_int_equal(bl_int_check(graph, &err), BL_OK);
  assert_int_equal(graph->layer_count, 9);
  assert_int_equal(graph->tensors[graph->output].format.kind, BL_FORMAT_ACC);
  tally t = {.graph = graph};
  int32_t in[32 * 32 * 3], out[10];
  for (size_t i = 0; i < IMAGES; i++) {
    bl_input_random(graph, seed, i, in);
    assert_int_equal(bl_reference_run(graph, in, out, count, &t, &err), BL_OK);
  }
  for (uint32_t l = 0; l + 1 < graph->layer_count; l++) {
    double part = (double)t.ones[l] / (double)t.values[l];
    printf("%-6s %5.1f %% ones\n", graph->layers[l].name, 100 * part);
    assert_true(part >= 0.4 && part <= 0.6);
  }
  bl_arena_free(graph->arena);
}

static void dense_is_sound(void **state) {
  (void)state;
  bl_error err = {0};
  static const uint8_t bits[] = {1, 2, 4, 8};
  for (size_t i = 0; i < sizeof bits; i++) {
    bl_int_graph *graph = bl_net_dense(16, 5, bits[i], i);
    assert_non_null(graph);
    assert_int_equal(bl_int_check(graph, &err), BL_OK);
    bl_arena_free(graph->arena);
  }
}

// Written as QONNX, compressed by the command; same outputs, and the device agrees.
static void cnv_through_onnx(void **state) {
  (void)state;
  bl_error err = {0};
  char path[256];
  bl_int_graph *made = bl_net_cnv(3);
  assert_non_null(made);
  (void)snprintf(path, sizeof path, "%s/cnv.onnx", bl_command_folder);
  if (bl_net_cnv_write(path, made, &err) != BL_OK) fail_msg("%s", err.text);
  bl_command_expect("compress @cnv.onnx --batch 1 --output @cnv.bloom", 0);
  bl_command_expect("verify @cnv.bloom --limit 1 --seed 2", 0);
  bl_bloom bloom;
  (void)snprintf(path, sizeof path, "%s/cnv.bloom", bl_command_folder);
  if (bl_bloom_load(path, &bloom, &err) != BL_OK) fail_msg("%s", err.text);
  assert_int_equal(bloom.graph->layer_count, made->layer_count);
  int32_t in[32 * 32 * 3], expected[10], out[10];
  for (size_t i = 0; i < IMAGES; i++) {
    bl_input_random(made, 5, i, in);
    assert_int_equal(bl_reference_run(made, in, expected, NULL, NULL, &err), BL_OK);
    assert_int_equal(bl_reference_run(bloom.graph, in, out, NULL, NULL, &err), BL_OK);
    assert_memory_equal(out, expected, sizeof out);
  }
  bl_bloom_free(&bloom);
  bl_arena_free(made->arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(cnv_is_balanced),
      cmocka_unit_test(dense_is_sound),
      cmocka_unit_test(cnv_through_onnx),
  };
  return cmocka_run_group_tests(tests, bl_command_open, bl_command_close);
}
