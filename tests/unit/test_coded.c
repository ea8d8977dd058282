// SPDX-License-Identifier: Apache-2.0
// Coded files: pieces, weights, and the table of sizes, against bytes counted by hand. That whole
// files come back, and that damaged ones are refused, is in test_bloom.c.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "host/compile/bloom_internal.h"
#include "host/compile/piece.h"
#include "host/compile/storage.h"

enum { CHANNELS = 100, FAN = 800 };

static void free_read(bl_reader *r) {
  free((void *)(uintptr_t)r->bytes);
}

static void varints(void **state) {
  (void)state;
  static const uint64_t values[] = {0, 1, 127, 128, 300, UINT32_MAX, UINT64_MAX};
  bl_writer w = {0};
  for (size_t i = 0; i < sizeof values / sizeof *values; i++)
    bl_put_varint(&w, values[i]);
  bl_reader r = {.bytes = w.bytes, .size = w.size};
  assert_int_equal(w.size, 1 + 1 + 1 + 2 + 2 + 5 + 10);
  assert_true(w.bytes[3] == 0x80 && w.bytes[4] == 1 && w.bytes[5] == 0xAC && w.bytes[6] == 2);
  for (size_t i = 0; i < sizeof values / sizeof *values; i++)
    assert_true(bl_get_varint(&r) == values[i]);
  assert_true(!r.failed && bl_left(&r) == 0);
  (void)bl_get_varint(&r);
  assert_true(r.failed);
  free(w.bytes);
}

static void planes(void **state) {
  (void)state;
  const int32_t numbers[] = {0, -1, 1, -300, INT32_MIN};
  const uint8_t expected[] = {0, 1, 2, 0x57, 0xFF, 0, 0, 0, 2, 0xFF,
                              0, 0, 0, 0,    0xFF, 0, 0, 0, 0, 0xFF};
  int32_t back[5];
  bl_writer w = {0};
  bl_put_planes(&w, numbers, 5, 4, true);
  assert_int_equal(w.size, sizeof expected);
  assert_memory_equal(w.bytes, expected, sizeof expected);
  bl_reader r = {.bytes = w.bytes, .size = w.size};
  assert_true(bl_get_planes(&r, back, 5, 4, true));
  assert_memory_equal(back, numbers, sizeof back);
  assert_false(bl_get_planes(&r, back, 1, 4, true));
  assert_true(r.failed);
  free(w.bytes);
}

static void pieces(void **state) {
  (void)state;
  uint8_t same[1000] = {0};
  const bl_writer contents[] = {{.bytes = same, .size = sizeof same},
                                {.bytes = (uint8_t *)(uintptr_t) "abc", .size = 3},
                                {.size = 0}};
  bl_writer w = {0};
  for (int i = 0; i < 3; i++)
    bl_put_piece(&w, &contents[i]);
  assert_true(w.size < 30); // a thousand equal bytes, and five without anything to gain
  assert_memory_equal(w.bytes + w.size - 7, "\3\3abc\0\0", 7);
  bl_reader r = {.bytes = w.bytes, .size = w.size}, content;
  for (int i = 0; i < 3; i++) {
    assert_true(bl_get_piece(&r, 1000, &content));
    assert_int_equal(content.size, contents[i].size);
    if (content.size > 0) assert_memory_equal(content.bytes, contents[i].bytes, content.size);
    free_read(&content);
  }
  r.at = 0;
  assert_false(bl_get_piece(&r, 999, &content)); // longer than asked for
  assert_true(r.failed && content.bytes == NULL);
  free(w.bytes);
}

static uint32_t next(uint32_t *rng) {
  *rng ^= *rng << 13; // Marsaglia's xorshift
  *rng ^= *rng >> 17;
  *rng ^= *rng << 5;
  return *rng >> 4;
}

// Weights of which one in `rare` is one of six values, all alike often.
static void fill(int8_t *weights, uint32_t rare, uint32_t *rng) {
  for (size_t k = 0; k < (size_t)CHANNELS * FAN; k++)
    weights[k] = next(rng) % rare == 0 ? (int8_t)((int)(next(rng) % 6) * 20 - 50) : 0;
}

// Entropy of independent weights of that kind, in bytes.
static double entropy(uint32_t rare) {
  const double p = 1.0 / rare;
  const double place = rare == 1 ? 0 : -p * log2(p) - (1 - p) * log2(1 - p);
  return (place + p * log2(6)) * CHANNELS * FAN / 8;
}

static void one_layer(int8_t *weights, bl_int_tensor *tensors, bl_int_layer *layer,
                      bl_int_graph *graph) {
  static char name[] = "net";
  tensors[0] = (bl_int_tensor){
      .name = name, .h = 1, .w = 1, .c = FAN, .format = {BL_FORMAT_U, 8}, .scale = 1};
  tensors[1] = (bl_int_tensor){
      .name = name, .h = 1, .w = 1, .c = CHANNELS, .format = {BL_FORMAT_ACC, 32}, .scale = 1};
  *layer = (bl_int_layer){.name = name,
                          .output = 1,
                          .groups = 1,
                          .kernel_h = 1,
                          .kernel_w = 1,
                          .stride_h = 1,
                          .stride_w = 1,
                          .pool_h = 1,
                          .pool_w = 1,
                          .weight_format = {BL_FORMAT_S, 8},
                          .weights = weights};
  *graph = (bl_int_graph){.name = name,
                          .tensors = tensors,
                          .tensor_count = 2,
                          .layers = layer,
                          .layer_count = 1,
                          .output = 1};
}

// Random weights take at most 12 % more than their entropy (tables; Huffman codes have whole
// bits), and come back.
static void near_entropy(void **state) {
  (void)state;
  static int8_t weights[CHANNELS * FAN], back[CHANNELS * FAN];
  bl_int_tensor tensors[2];
  bl_int_layer layer;
  bl_int_graph graph;
  static bl_program program;
  const bl_bloom_info info = {.preprocess = bl_preprocess_identity()};
  uint32_t rng = 7;
  program.config.name = "tiny";
  one_layer(weights, tensors, &layer, &graph);
  for (uint32_t rare = 4; rare <= 64; rare *= 4) {
    bl_writer w = {0};
    bl_layer_bytes layers[1];
    bl_coded_bytes bytes = {.layers = layers};
    fill(weights, rare, &rng);
    bl_put_coded(&w, &graph, &program, &info, &bytes);
    const double coded = (double)(layers[0].indices + layers[0].values);
    printf("one in %u: %.0f bytes, entropy %.0f\n", rare, coded, entropy(rare));
    assert_true(coded < 1.12 * entropy(rare));
    assert_int_equal(w.size, bytes.fields + bytes.constants + (uint64_t)coded);
    bl_reader r = {.bytes = w.bytes, .size = w.size, .at = bytes.fields + bytes.constants};
    memset(back, 0, sizeof back);
    bl_get_coded_weights(&r, back, CHANNELS, FAN);
    assert_true(!r.failed && bl_left(&r) == 0);
    assert_memory_equal(weights, back, sizeof back);
    free(w.bytes);
  }
}

// Distances and values that do not fit the layer, or each other.
static void hostile_weights(void **state) {
  (void)state;
  static const struct {
    uint8_t bytes[12];
    uint8_t size;
    bool sound;
  } cases[] = {
      {{0, 4, 4, 1, 2, 3, 4}, 7, true},                  // 2 x 2, dense
      {{0, 3, 3, 1, 2, 3}, 6, false},                    // a value too few
      {{0, 5, 5, 1, 2, 3, 4, 5}, 8, false},              // one too many
      {{4, 4, 4, 1, 2, 3, 4}, 7, false},                 // no such way
      {{1, 2, 2, 1, 1, 2, 2, 9, 8}, 9, true},            // 0 9 0 8
      {{3, 1, 1, 1, 1, 1, 9}, 7, true},                  // transposed: 0 0 9 0
      {{1, 1, 1, 4, 1, 1, 9}, 7, false},                 // the value lies behind the end
      {{1, 1, 1, 3, 2, 2, 9, 9}, 8, false},              // a value is left over
      {{1, 2, 2, 0, 0, 1, 1, 9}, 8, false},              // one is missing
      {{1, 1, 1, 255, 0, 0}, 6, false},                  // more zeros than weights
      {{1, 9, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 12, false}, // more distances than bytes could be
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    int8_t weights[4] = {0};
    bl_reader r = {.bytes = cases[i].bytes, .size = cases[i].size};
    bl_get_coded_weights(&r, weights, 2, 2);
    assert_int_equal(!r.failed, cases[i].sound);
    if (i == 4) assert_memory_equal(weights, "\0\11\0\10", 4);
    if (i == 5) assert_memory_equal(weights, "\0\0\11\0", 4);
  }
}

// A layer of 80,000 weights: 100 of 5, each behind 799 zeros.
static void table(void **state) {
  (void)state;
  static int8_t weights[CHANNELS * FAN];
  static bl_program program;
  bl_int_tensor tensors[2];
  bl_int_layer layer;
  bl_int_graph graph;
  bl_storage s;
  bl_error err = {0};
  const bl_bloom_info info = {.preprocess = bl_preprocess_identity()};
  bl_arena *arena = bl_arena_new(1 << 20);
  program.config.name = "tiny";
  one_layer(weights, tensors, &layer, &graph);
  for (size_t n = 0; n < CHANNELS; n++)
    weights[n * FAN + FAN - 1] = 5;
  assert_int_equal(bl_storage_table(&graph, &program, &info, arena, &s, &err), BL_OK);
  const bl_storage_row *row = &s.rows[0];
  assert_int_equal(s.row_count, 1);
  assert_int_equal(row->weights, 80000);
  assert_int_equal(row->nonzero, 100);
  assert_int_equal(row->values, 1);
  assert_int_equal(row->dense, 320000);
  // 10 bits hold a gap of 799: 100 entries of 42 bits; 9 would need two entries for each.
  assert_int_equal(row->index_bits, 10);
  assert_int_equal(row->pruned, 525);
  assert_int_equal(row->code_bits, 0);
  assert_int_equal(row->quantised, 125 + 4);
  assert_true(row->coded < 60 && row->coded == row->indices + row->codes + row->codebook);
  assert_int_equal(s.file, s.sum.coded + s.constants + s.fields + s.headers);
  bl_arena_free(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(varints),      cmocka_unit_test(planes),          cmocka_unit_test(pieces),
      cmocka_unit_test(near_entropy), cmocka_unit_test(hostile_weights), cmocka_unit_test(table),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
