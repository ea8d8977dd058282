// SPDX-License-Identifier: Apache-2.0
// Initialisers of 16 and 8 bits: every class of bit pattern, worked out by hand, in raw and in
// typed fields, and networks that keep their weights so.
#include <math.h>

#include "tests/unit/small_net.h"

enum { FLOAT16 = 10, BFLOAT16 = 16, E4M3FN = 17, E4M3FNUZ = 18, E5M2 = 19, E5M2FNUZ = 20 };

typedef struct {
  int32_t type;
  uint16_t bits;
  double value;
} pattern;

static const pattern PATTERNS[] = {
    // sign, 5 of exponent (bias 15), 10 of mantissa
    {FLOAT16, 0x0000, 0},
    {FLOAT16, 0x0001, 0x1p-24},
    {FLOAT16, 0x03ff, 0x3ffp-24},
    {FLOAT16, 0x0400, 0x1p-14},
    {FLOAT16, 0x3c00, 1},
    {FLOAT16, 0x3c01, 1 + 0x1p-10},
    {FLOAT16, 0x7bff, 65504},
    {FLOAT16, 0x7c00, (double)INFINITY},
    {FLOAT16, 0xfc00, (double)-INFINITY},
    {FLOAT16, 0x7c01, (double)NAN},
    {FLOAT16, 0xfe00, (double)NAN},
    {FLOAT16, 0x8000, -0.0},
    {FLOAT16, 0xc000, -2},
    // sign, 8 of exponent (bias 127), 7 of mantissa
    {BFLOAT16, 0x0001, 0x1p-133},
    {BFLOAT16, 0x007f, 0x7fp-133},
    {BFLOAT16, 0x0080, 0x1p-126},
    {BFLOAT16, 0x3f80, 1},
    {BFLOAT16, 0x3f81, 1 + 0x1p-7},
    {BFLOAT16, 0x7f7f, 0xffp120},
    {BFLOAT16, 0x7f80, (double)INFINITY},
    {BFLOAT16, 0xff80, (double)-INFINITY},
    {BFLOAT16, 0x7f81, (double)NAN},
    {BFLOAT16, 0x8000, -0.0},
    // sign, 4 of exponent (bias 7), 3 of mantissa; all ones is no number, no infinity
    {E4M3FN, 0x00, 0},
    {E4M3FN, 0x01, 0.001953125},
    {E4M3FN, 0x07, 0.013671875},
    {E4M3FN, 0x08, 0.015625},
    {E4M3FN, 0x38, 1},
    {E4M3FN, 0x39, 1.125},
    {E4M3FN, 0x78, 256},
    {E4M3FN, 0x7e, 448},
    {E4M3FN, 0x7f, (double)NAN},
    {E4M3FN, 0xff, (double)NAN},
    {E4M3FN, 0x80, -0.0},
    {E4M3FN, 0xb8, -1},
    {E4M3FN, 0xfe, -448},
    // bias 8; only -0 is no number
    {E4M3FNUZ, 0x00, 0},
    {E4M3FNUZ, 0x01, 0.0009765625},
    {E4M3FNUZ, 0x07, 0.0068359375},
    {E4M3FNUZ, 0x08, 0.0078125},
    {E4M3FNUZ, 0x40, 1},
    {E4M3FNUZ, 0x7f, 240},
    {E4M3FNUZ, 0x80, (double)NAN},
    {E4M3FNUZ, 0x81, -0.0009765625},
    {E4M3FNUZ, 0xff, -240},
    // sign, 5 of exponent (bias 15), 2 of mantissa; as IEEE 754
    {E5M2, 0x00, 0},
    {E5M2, 0x01, 0x1p-16},
    {E5M2, 0x03, 0x3p-16},
    {E5M2, 0x04, 0x1p-14},
    {E5M2, 0x3c, 1},
    {E5M2, 0x3d, 1.25},
    {E5M2, 0x7b, 57344},
    {E5M2, 0x7c, (double)INFINITY},
    {E5M2, 0xfc, (double)-INFINITY},
    {E5M2, 0x7d, (double)NAN},
    {E5M2, 0x7f, (double)NAN},
    {E5M2, 0xfe, (double)NAN},
    {E5M2, 0x80, -0.0},
    // bias 16; only -0 is no number
    {E5M2FNUZ, 0x00, 0},
    {E5M2FNUZ, 0x01, 0x1p-17},
    {E5M2FNUZ, 0x04, 0x1p-15},
    {E5M2FNUZ, 0x40, 1},
    {E5M2FNUZ, 0x7c, 32768},
    {E5M2FNUZ, 0x7f, 57344},
    {E5M2FNUZ, 0x80, (double)NAN},
    {E5M2FNUZ, 0xff, -57344},
};

// One number as a serialised TensorProto: in raw_data, or in int32_data.
static float decode(int32_t type, uint16_t bits, bool raw) {
  message tensor = {0};
  bl_arena *arena = bl_arena_new(1 << 20);
  bl_value value = {0};
  bl_error err = {0};
  const uint8_t bytes[2] = {(uint8_t)bits, (uint8_t)(bits >> 8)};
  assert_non_null(arena);
  put_number(&tensor, 1, 1);
  put_number(&tensor, 2, type);
  if (raw)
    put_bytes(&tensor, 9, bytes, type >= E4M3FN ? 1 : 2);
  else
    put_number(&tensor, 5, bits);
  if (bl_onnx_read_tensor("t", tensor.bytes, tensor.size, arena, &value, &err) != BL_OK)
    fail_msg("%s", err.text);
  free(tensor.bytes);
  assert_int_equal(value.type, BL_TYPE_FLOAT);
  const float f = value.f[0];
  bl_arena_free(arena);
  return f;
}

static void every_class(void **state) {
  (void)state;
  for (size_t k = 0; k < sizeof PATTERNS / sizeof *PATTERNS; k++)
    for (int raw = 0; raw < 2; raw++) {
      const pattern *p = &PATTERNS[k];
      const double f = (double)decode(p->type, p->bits, raw != 0);
      const bool same =
          isnan(p->value) ? isnan(f) : f == p->value && !signbit(f) == !signbit(p->value);
      if (!same)
        fail_msg("type %d, %04x: %g instead of %g", (int)p->type, (unsigned)p->bits, f, p->value);
    }
}

// All finite codes of a sign are in order, and the other sign's are their opposites.
static void codes_in_order(void **state) {
  (void)state;
  static const struct {
    int32_t type;
    uint16_t last;
  } types[] = {{E4M3FN, 0x7e}, {E4M3FNUZ, 0x7f}, {E5M2, 0x7b}, {E5M2FNUZ, 0x7f}};
  for (size_t t = 0; t < 4; t++)
    for (uint16_t code = 1; code <= types[t].last; code++) {
      const float x = decode(types[t].type, code, true);
      assert_true(x > decode(types[t].type, (uint16_t)(code - 1), true));
      assert_true(decode(types[t].type, code | 0x80, true) == -x);
    }
}

// Weights of 8 bits with a scale for each output, as DequantizeLinear or as Cast and Mul.
static bl_float_graph *network(bool cast) {
  static const uint8_t codes[6] = {0x38, 0xb8, 0x40, 0x30, 0x39, 0x00}; // 1 -1 2; 0.5 1.125 0
  const int64_t in[] = {1, 3}, w[] = {2, 3}, row[] = {2}, column[] = {2, 1};
  const float scales[2] = {2, 4};
  message graph = {0};
  put_tensor(&graph, 5, "codes", E4M3FN, w, 2, codes, sizeof codes);
  put_tensor(&graph, 5, "scales", 1, cast ? column : row, cast ? 2 : 1, scales, sizeof scales);
  message node;
  if (cast) {
    node = new_node("Cast", "cast", "codes", "plain");
    put_int(&node, "to", 1);
    put_message(&graph, 1, &node);
    node = new_node("Mul", "scaled", "plain scales", "weights");
  } else {
    node = new_node("DequantizeLinear", "dequantise", "codes scales", "weights");
    put_int(&node, "axis", 0);
  }
  put_message(&graph, 1, &node);
  node = new_node("Gemm", "gemm", "x weights", "y");
  put_int(&node, "transB", 1);
  put_message(&graph, 1, &node);
  put_value(&graph, 11, "x", 1, in, 2);
  put_value(&graph, 12, "y", 1, in, 2);
  return import(&graph, 19);
}

static void weights_of_8_bits(void **state) {
  (void)state;
  const float x[3] = {1, 10, 100};
  for (int cast = 0; cast < 2; cast++) {
    bl_float_graph *g = network(cast != 0);
    float y[2];
    assert_int_equal(g->node_count, 1); // the weights are constants by now
    run_floats(g, x, y);
    assert_true(y[0] == 2 * (1 - 10 + 200) && y[1] == 4 * (0.5F + 11.25F));
    bl_float_graph_free(g);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_class),
      cmocka_unit_test(codes_in_order),
      cmocka_unit_test(weights_of_8_bits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
