// SPDX-License-Identifier: Apache-2.0
// The networks that the benchmark makes: sound, and CNV's signs balanced in every layer, counted
// with the reference kernels on images that its batch norms were not drawn from.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "host/ref/reference.h"
#include "host/run/input.h"
#include "tests/bench/nets.h"

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

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(cnv_is_balanced),
      cmocka_unit_test(dense_is_sound),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
