// SPDX-License-Identifier: Apache-2.0
// Comparison after every layer: a fault planted in any of three executions is found where it is,
// and the execution that has it is named. Also: samples as input integers.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "host/run/compare.h"
#include "host/run/input.h"

enum { H = 2, W = 3, C = 2, ELEMENTS = H * W * C, LAYERS = 3, IMAGES = 4, NOWHERE = 1000 };

// Three 1x1 layers over H x W x C whose weights swap the channels and whose arithmetic gives back
// the same integers.
typedef struct {
  bl_int_tensor tensors[LAYERS + 1];
  bl_int_layer layers[LAYERS];
  bl_int_graph graph;
  int8_t weights[C * C];
  int32_t mult[C];
  int64_t bias[C];
  uint8_t shift[C];
} net;

static char *layer_names[LAYERS] = {"first", "second", "third"};

static void make_net(net *n) {
  memset(n, 0, sizeof *n);
  const int8_t swap[4] = {0, 1, 1, 0};
  memcpy(n->weights, swap, sizeof swap);
  for (int c = 0; c < C; c++) {
    n->mult[c] = 1 << 15;
    n->bias[c] = 1 << 14;
    n->shift[c] = 15;
  }
  for (uint32_t i = 0; i <= LAYERS; i++)
    n->tensors[i] = (bl_int_tensor){"t", H, W, C, {BL_FORMAT_U, 4}, 0.5, 0, 0, 0};
  for (uint32_t i = 0; i < LAYERS; i++)
    n->layers[i] = (bl_int_layer){.name = layer_names[i],
                                  .input = i,
                                  .output = i + 1,
                                  .groups = 1,
                                  .kernel_h = 1,
                                  .kernel_w = 1,
                                  .stride_h = 1,
                                  .stride_w = 1,
                                  .dilation_h = 1,
                                  .dilation_w = 1,
                                  .weight_format = {BL_FORMAT_S, 2},
                                  .weights = n->weights,
                                  .mult = n->mult,
                                  .bias = n->bias,
                                  .shift = n->shift,
                                  .lo = 0,
                                  .hi = 15,
                                  .pool_h = 1,
                                  .pool_w = 1,
                                  .pool_stride_h = 1,
                                  .pool_stride_w = 1};
  char *name = layer_names[0];
  n->graph = (bl_int_graph){.name = name,
                            .tensors = n->tensors,
                            .tensor_count = LAYERS + 1,
                            .layers = n->layers,
                            .layer_count = LAYERS,
                            .output = LAYERS};
  bl_error err = {0};
  assert_int_equal(bl_int_check(&n->graph, &err), BL_OK);
}

static void fill(const net *n, int32_t *in) {
  for (size_t i = 0; i < IMAGES; i++)
    bl_input_random(&n->graph, 5, i, in + i * ELEMENTS);
}

// Compares executors with faults in the given layers; the text of the first difference in `text`.
static bl_comparison compare(const net *n, uint32_t count, const uint32_t *faults, char *text) {
  static const char *const names[] = {"reference", "functional", "rtl"};
  int32_t in[IMAGES * ELEMENTS];
  fill(n, in);
  bl_executor executors[BL_COMPARE_MAX];
  bl_error err = {0};
  for (uint32_t i = 0; i < count; i++) {
    assert_int_equal(bl_executor_reference(&n->graph, faults[i], &executors[i], &err), BL_OK);
    executors[i].name = names[i];
  }
  bl_comparison comparison = {0};
  assert_int_equal(bl_compare(&n->graph, executors, count, in, IMAGES, &comparison, &err), BL_OK);
  text[0] = '\0';
  if (comparison.found)
    bl_difference_text(&n->graph, executors, count, &comparison.first, text, 300);
  for (uint32_t i = 0; i < count; i++)
    bl_executor_close(&executors[i]);
  return comparison;
}

static void all_agree(void **state) {
  (void)state;
  net n;
  make_net(&n);
  char text[300];
  bl_comparison c = compare(&n, 3, (const uint32_t[]){NOWHERE, NOWHERE, NOWHERE}, text);
  assert_false(c.found);
  assert_int_equal(c.compared, LAYERS * IMAGES * ELEMENTS);
  assert_int_equal(c.differing, 0);
  assert_int_equal(c.images, IMAGES);
}

// The middle of 12 values in row, column, channel order is index 6: y 1, x 0, channel 0.
static void each_fault_is_named(void **state) {
  (void)state;
  static const char *const names[] = {"from reference", "from functional", "from rtl"};
  net n;
  make_net(&n);
  for (uint32_t who = 0; who < 3; who++)
    for (uint32_t layer = 0; layer < LAYERS; layer++) {
      uint32_t faults[3] = {NOWHERE, NOWHERE, NOWHERE};
      faults[who] = layer;
      char text[300];
      bl_comparison c = compare(&n, 3, faults, text);
      assert_true(c.found);
      assert_int_equal(c.first.layer, layer);
      assert_int_equal(c.first.image, 0);
      assert_int_equal(c.first.y, 1);
      assert_int_equal(c.first.x, 0);
      assert_int_equal(c.first.c, 0);
      assert_int_equal(c.first.odd, (int)who);
      assert_int_equal(c.differing, IMAGES);
      assert_non_null(strstr(text, names[who]));
      assert_non_null(strstr(text, layer_names[layer]));
    }
}

static void two_can_only_differ(void **state) {
  (void)state;
  net n;
  make_net(&n);
  char text[300];
  bl_comparison c = compare(&n, 2, (const uint32_t[]){NOWHERE, 1}, text);
  assert_true(c.found);
  assert_int_equal(c.first.odd, -1);
  assert_int_equal(c.first.layer, 1);
  assert_non_null(strstr(text, "(reference), got"));
}

static void input_rounding(void **state) {
  (void)state;
  bl_int_tensor u8 = {"in", 1, 1, 1, {BL_FORMAT_U, 8}, 0.5, 10, 0, 0};
  static const struct {
    double value;
    int32_t q;
  } cases[] = {{0.0, 10}, {0.25, 11},   {0.24, 10},  {-0.25, 10}, {-0.26, 9},
               {-6.0, 0}, {1e300, 255}, {-1e300, 0}, {122.5, 255}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    assert_int_equal(bl_input_quantise(&u8, cases[i].value), cases[i].q);
  bl_int_tensor b1 = {"in", 1, 1, 1, {BL_FORMAT_B, 1}, 1.0, 0, 0, 0};
  assert_int_equal(bl_input_quantise(&b1, 0.0), 1);
  assert_int_equal(bl_input_quantise(&b1, -1e-9), -1);
}

static void random_inputs(void **state) {
  (void)state;
  net n;
  make_net(&n);
  int32_t a[ELEMENTS], b[ELEMENTS];
  int seen[16] = {0};
  for (size_t i = 0; i < 200; i++) {
    bl_input_random(&n.graph, 9, i, a);
    bl_input_random(&n.graph, 9, i, b);
    assert_memory_equal(a, b, sizeof a);
    for (int k = 0; k < ELEMENTS; k++) {
      assert_in_range(a[k], 0, 15);
      seen[a[k]]++;
    }
  }
  for (int v = 0; v < 16; v++) // 150 expected of each
    assert_in_range(seen[v], 75, 300);
  bl_input_random(&n.graph, 10, 199, b);
  assert_memory_not_equal(a, b, sizeof a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(all_agree),           cmocka_unit_test(each_fault_is_named),
      cmocka_unit_test(two_can_only_differ), cmocka_unit_test(input_rounding),
      cmocka_unit_test(random_inputs),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
