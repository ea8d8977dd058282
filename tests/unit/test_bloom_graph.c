// SPDX-License-Identifier: Apache-2.0
// The graph section of a compiled file by itself, with everything that a graph can have.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "host/compile/bloom_internal.h"
#include "tests/unit/feature_net.h"

static bl_status read_section(const uint8_t *bytes, size_t size, bl_arena **arena,
                              bl_int_graph **graph) {
  bl_error err = {0};
  bl_reader reader = {.bytes = bytes, .size = size};
  const bl_graph_source source = {.fields = &reader, .constants = &reader};
  *arena = bl_arena_new(1 << 20);
  assert_non_null(*arena);
  bl_status status = bl_read_graph("test", &source, *arena, graph, &err);
  assert_true(status == BL_OK || err.text[0] != '\0');
  return status;
}

static void same_layer(const bl_int_graph *g, const bl_int_layer *a, const bl_int_layer *b) {
  assert_string_equal(a->name, b->name);
  assert_int_equal(a->upsample, b->upsample);
  assert_int_equal(a->codebook == NULL, b->codebook == NULL);
  assert_int_equal(a->addend_weight == NULL, b->addend_weight == NULL);
  assert_int_equal(a->table == NULL, b->table == NULL);
  if (a->codebook != NULL) assert_memory_equal(a->codebook, b->codebook, BL_INT_CODES);
  if (a->table != NULL) assert_memory_equal(a->table, b->table, sizeof(int32_t) * BL_INT_TABLE);
  if (a->addend_weight == NULL) return;
  assert_int_equal(a->addend, b->addend);
  assert_int_equal(a->raise, b->raise);
  assert_int_equal(a->project_h, b->project_h);
  assert_int_equal(a->project_w, b->project_w);
  const size_t count = (size_t)g->tensors[a->output].c * bl_int_addend_fan(g, a);
  assert_memory_equal(a->addend_weight, b->addend_weight, count * sizeof(int32_t));
}

static void graph_comes_back(void **state) {
  (void)state;
  feature_net net;
  bl_writer w = {0};
  bl_arena *arena;
  bl_int_graph *g;
  feature_net_make(&net);
  bl_put_graph(&w, &w, true, &net.graph);
  assert_false(w.failed);
  assert_int_equal(read_section(w.bytes, w.size, &arena, &g), BL_OK);
  assert_int_equal(g->tensor_count, net.graph.tensor_count);
  assert_int_equal(g->layer_count, net.graph.layer_count);
  assert_int_equal(g->output, net.graph.output);
  for (uint32_t t = 0; t < g->tensor_count; t++) {
    assert_int_equal(g->tensors[t].c, net.tensors[t].c);
    assert_int_equal(g->tensors[t].parent, net.tensors[t].parent);
    assert_int_equal(g->tensors[t].parent_channel, net.tensors[t].parent_channel);
  }
  for (uint32_t l = 0; l < g->layer_count; l++)
    same_layer(&net.graph, &net.layers[l], &g->layers[l]);
  bl_arena_free(arena);
  free(w.bytes);
}

// Cut short anywhere: refused. Any byte at its extremes and any bit flipped: refused, or a graph
// that passes its check.
static void hostile_graph(void **state) {
  (void)state;
  feature_net net;
  bl_writer w = {0};
  bl_arena *arena;
  bl_int_graph *g;
  uint32_t taken = 0;
  feature_net_make(&net);
  bl_put_graph(&w, &w, true, &net.graph);
  for (size_t i = 0; i < w.size; i++) {
    uint8_t *copy = malloc(i + 1); // as long as the section, so that a sanitizer sees each overrun
    assert_non_null(copy);
    memcpy(copy, w.bytes, i);
    assert_int_not_equal(read_section(copy, i, &arena, &g), BL_OK);
    bl_arena_free(arena);
    free(copy);
  }
  for (size_t i = 0; i < w.size * 10; i++) {
    uint8_t was = w.bytes[i / 10];
    w.bytes[i / 10] = i % 10 < 8 ? was ^ (uint8_t)(1u << i % 10) : i % 10 == 8 ? 0 : 255;
    taken += read_section(w.bytes, w.size, &arena, &g) == BL_OK;
    bl_arena_free(arena);
    w.bytes[i / 10] = was;
  }
  printf("%u of %zu changed graphs were still sound\n", taken, w.size * 10);
  free(w.bytes);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(graph_comes_back),
      cmocka_unit_test(hostile_graph),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
