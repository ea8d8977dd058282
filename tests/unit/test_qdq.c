// SPDX-License-Identifier: Apache-2.0
// Graphs that bring their own integers: QDQ, QLinear and integer operators, dynamic quantisation,
// QONNX's Trunc and MultiThreshold. Random small networks are lowered and run by the reference
// kernels; what they should give comes from the float executor, which works by the operators'
// definition.
#include "tests/unit/small_net.h"

enum { FLOAT = 1, UINT8 = 2, INT8 = 3, INT32 = 6, ROUNDS = 12, INPUTS = 20 };

// ---- Building blocks
// -----------------------------------------------------------------------------

static void put_node(message *graph, const char *op, const char *inputs, const char *output) {
  message node = new_node(op, output, inputs, output);
  put_message(graph, 1, &node);
}

static void put_scalar(message *graph, const char *name, double value) {
  float v = (float)value;
  put_tensor(graph, 5, name, FLOAT, NULL, 0, &v, sizeof v);
}

static void put_byte(message *graph, const char *name, int64_t type, int value) {
  uint8_t v = (uint8_t)value;
  put_tensor(graph, 5, name, type, NULL, 0, &v, 1);
}

// Random integers lo..hi of one byte each.
static void put_random_bytes(message *graph, const char *name, int64_t type, const int64_t *dims,
                             size_t rank, int lo, int hi) {
  uint8_t v[1024];
  size_t count = 1;
  for (size_t k = 0; k < rank; k++)
    count *= (size_t)dims[k];
  assert_true(count <= sizeof v);
  for (size_t k = 0; k < count; k++)
    v[k] = (uint8_t)(lo + (int)(next_random() % (uint32_t)(hi - lo + 1)));
  put_tensor(graph, 5, name, type, dims, rank, v, count);
}

static void put_random_words(message *graph, const char *name, int64_t count, int reach) {
  int32_t v[64];
  assert_true(count <= 64);
  for (int64_t k = 0; k < count; k++)
    v[k] = (int32_t)(next_random() % (uint32_t)(2 * reach + 1)) - reach;
  put_tensor(graph, 5, name, INT32, &count, 1, v, (size_t)count * sizeof *v);
}

// A weight's DequantizeLinear along its first axis, from NAME_q to NAME.
static void put_weights(message *graph, const char *name, const int64_t *dims, size_t rank,
                        double least, double most) {
  char q[32], s[32], operands[80];
  (void)snprintf(q, sizeof q, "%s_q", name);
  (void)snprintf(s, sizeof s, "%s_s", name);
  (void)snprintf(operands, sizeof operands, "%s %s", q, s);
  put_random_bytes(graph, q, INT8, dims, rank, -127, 127);
  put_random(graph, s, dims, 1, least, most);
  message node = new_node("DequantizeLinear", name, operands, name);
  put_int(&node, "axis", 0);
  put_message(graph, 1, &node);
}

// QuantizeLinear and DequantizeLinear of `in` to `out` with its own scale and zero point.
static void put_qdq(message *graph, const char *in, const char *out, int64_t type, double scale,
                    int zero) {
  char names[4][32], operands[120];
  static const char *const suffixes[] = {"s", "z", "q", ""};
  for (int k = 0; k < 4; k++)
    (void)snprintf(names[k], sizeof names[k], "%s_%s", out, suffixes[k]);
  put_scalar(graph, names[0], scale);
  put_byte(graph, names[1], type, zero);
  (void)snprintf(operands, sizeof operands, "%s %s %s", in, names[0], names[1]);
  put_node(graph, "QuantizeLinear", operands, names[2]);
  (void)snprintf(operands, sizeof operands, "%s %s %s", names[2], names[0], names[1]);
  put_node(graph, "DequantizeLinear", operands, out);
}

static bl_quantised lower(const bl_float_graph *graph, bool fuse_adds,
                          const bl_calibration *calibration) {
  const bl_quantise_options options = {
      .weight_bits = 8, .activation_bits = 8, .fuse_adds = fuse_adds};
  bl_quantised q;
  bl_error err = {0};
  if (bl_quantise(graph, &options, calibration, &q, &err) != BL_OK) fail_msg("%s", err.text);
  return q;
}

static void drop(bl_quantised *q, bl_float_graph *graph) {
  bl_arena_free(q->graph->arena);
  bl_float_graph_free(graph);
}

// What a few random inputs give: the largest difference and the part that differs, in units of
// `step`.
typedef struct {
  double most, part;
} difference;

static difference compare(const bl_float_graph *graph, const bl_quantised *q, double reach,
                          double step) {
  const bl_value *in = &graph->values[graph->inputs[0]];
  const bl_value *out = &graph->values[graph->outputs[0]];
  const bl_int_tensor *t = &q->graph->tensors[q->graph->output];
  const double scale = q->graph->tensors[0].scale;
  difference d = {0, 0};
  assert_int_equal(out->count, bl_int_elements(t));
  for (int round = 0; round < INPUTS; round++) {
    float x[512], want[512];
    double got[512];
    assert_true(in->count <= 512 && out->count <= 512);
    for (size_t k = 0; k < in->count;
         k++) // off the input's ties, which float32 may round elsewhere
      x[k] = (float)(scale * (rint(uniform(-reach, reach) / scale) + uniform(-0.45, 0.45)));
    run_floats(graph, x, want);
    run_integers(q, x, got);
    for (size_t k = 0; k < out->count; k++) {
      size_t area = (size_t)t->h * t->w, at = k % area * t->c + k / area;
      double away = fabs(got[at] - (double)want[k]) / step;
      d.most = fmax(d.most, away);
      d.part += (away > 0.01) / (double)(INPUTS * out->count);
    }
  }
  return d;
}

// ---- QuantizeLinear and DequantizeLinear
// --------------------------------------------------------

// x[1,3,6,6]: two convolutions, the second's result added to the first's, pooling, a product.
static bl_float_graph *residual_network(void) {
  message graph = {0};
  put_qdq(&graph, "x", "xd", INT8, 1 / 64.0, -11);
  put_weights(&graph, "w1", (const int64_t[]){8, 3, 3, 3}, 4, 0.002, 0.004);
  put_random(&graph, "b1", (const int64_t[]){8}, 1, -0.5, 0.5);
  message conv = new_node("Conv", "conv1", "xd w1 b1", "c1");
  put_ints(&conv, "pads", (const int64_t[]){1, 1, 1, 1}, 4);
  put_message(&graph, 1, &conv);
  put_qdq(&graph, "c1", "a", INT8, 1 / 90.0, -128);
  put_weights(&graph, "w2", (const int64_t[]){8, 8, 1, 1}, 4, 0.002, 0.004);
  put_node(&graph, "Conv", "a w2", "c2");
  put_qdq(&graph, "c2", "b", INT8, 1 / 30.0, 7);
  put_node(&graph, "Add", "a b", "s");
  put_qdq(&graph, "s", "sd", UINT8, 1 / 25.0, 100);
  message pool = new_node("MaxPool", "pool", "sd", "p");
  put_ints(&pool, "kernel_shape", (const int64_t[]){3, 3}, 2);
  put_ints(&pool, "strides", (const int64_t[]){3, 3}, 2);
  put_message(&graph, 1, &pool);
  put_node(&graph, "Flatten", "p", "f");
  put_weights(&graph, "v", (const int64_t[]){5, 32}, 2, 0.002, 0.004);
  message fc = new_node("Gemm", "fc", "f v", "g");
  put_int(&fc, "transB", 1);
  put_message(&graph, 1, &fc);
  put_qdq(&graph, "g", "y", INT8, 1 / 20.0, 3);
  put_value(&graph, 11, "x", FLOAT, (const int64_t[]){1, 3, 6, 6}, 4);
  put_value(&graph, 12, "y", FLOAT, (const int64_t[]){1, 5}, 2);
  return import(&graph, 13);
}

static void qdq(void **state) {
  (void)state;
  for (int round = 0; round < ROUNDS; round++) {
    bl_float_graph *graph = residual_network();
    bl_quantised q = lower(graph, false, NULL);
    assert_true(q.graph_was_quantised);
    assert_int_equal(q.graph->layer_count, 5); // the addition is a layer of its own
    assert_int_equal(q.linear_count, 5);       // and so is the maximum, of the same integers
    assert_int_equal(q.graph->tensors[0].format.kind, BL_FORMAT_S);
    assert_int_equal(q.graph->tensors[0].zero_point, -11);
    assert_int_equal(q.graph->layers[2].addend_weight != NULL, 1);
    difference d = compare(graph, &q, 2.2, 1 / 20.0);
    if (d.most > 1.01 || d.part > 0.3) fail_msg("%g steps, %g of the outputs", d.most, d.part);
    drop(&q, graph);
  }
}

// Left out, the quantiser in front of the addition rounds no more: nearer to the sum of floats.
static void qdq_fused(void **state) {
  (void)state;
  for (int round = 0; round < ROUNDS; round++) {
    bl_float_graph *graph = residual_network();
    bl_quantised q = lower(graph, true, NULL);
    assert_int_equal(q.graph->layer_count, 4);
    assert_int_equal(q.graph->layers[1].addend, 1);
    difference d = compare(graph, &q, 2.2, 1 / 20.0);
    if (d.most > 6) fail_msg("%g steps", d.most);
    drop(&q, graph);
  }
}

// Integers of fewer bits than the file's type take no more planes than they need.
static void narrow_weights(void **state) {
  (void)state;
  for (int bits = 2; bits <= 8; bits++) {
    message graph = {0};
    put_qdq(&graph, "x", "xd", UINT8, 0.02, 128);
    int8_t w[4] = {(int8_t)(-(1 << (bits - 1))), (int8_t)((1 << (bits - 1)) - 1), 0, 1};
    put_tensor(&graph, 5, "wq", INT8, (const int64_t[]){1, 4}, 2, w, 4);
    put_scalar(&graph, "ws", 0.25);
    put_node(&graph, "DequantizeLinear", "wq ws", "w");
    message fc = new_node("Gemm", "fc", "xd w", "y");
    put_int(&fc, "transB", 1);
    put_message(&graph, 1, &fc);
    put_value(&graph, 11, "x", FLOAT, (const int64_t[]){1, 4}, 2);
    put_value(&graph, 12, "y", FLOAT, (const int64_t[]){1, 1}, 2);
    bl_float_graph *net = import(&graph, 13);
    bl_quantised q = lower(net, false, NULL);
    assert_int_equal(q.graph->layers[0].weight_format.bits, bits);
    assert_memory_equal(q.graph->layers[0].weights, w, 4);
    assert_true(compare(net, &q, 2.5, 1e-3).most < 0.1);
    drop(&q, net);
  }
}

// ---- QLinear and integer operators
// --------------------------------------------------------------

// x[1,2,6,6]: a quantised convolution (weights unsigned, with a zero point), a maximum of integers,
// a quantised product.
static bl_float_graph *qlinear_network(void) {
  message graph = {0};
  put_scalar(&graph, "xs", 1 / 50.0);
  put_byte(&graph, "xz", UINT8, 120);
  put_node(&graph, "QuantizeLinear", "x xs xz", "xq");
  put_random_bytes(&graph, "w", UINT8, (const int64_t[]){4, 2, 3, 3}, 4, 40, 220);
  put_random(&graph, "ws", (const int64_t[]){4}, 1, 0.003, 0.006);
  put_tensor(&graph, 5, "wz", UINT8, (const int64_t[]){4}, 1, (const uint8_t[]){130, 125, 128, 121},
             4);
  put_random_words(&graph, "b", 4, 6000);
  put_scalar(&graph, "cs", 1 / 40.0);
  put_byte(&graph, "cz", UINT8, 60);
  message conv = new_node("QLinearConv", "conv", "xq xs xz w ws wz cs cz b", "c");
  put_ints(&conv, "pads", (const int64_t[]){1, 1, 1, 1}, 4);
  put_message(&graph, 1, &conv);
  message pool = new_node("MaxPool", "pool", "c", "p");
  put_ints(&pool, "kernel_shape", (const int64_t[]){2, 2}, 2);
  put_ints(&pool, "strides", (const int64_t[]){2, 2}, 2);
  put_message(&graph, 1, &pool);
  put_node(&graph, "Flatten", "p", "f");
  put_random_bytes(&graph, "v", INT8, (const int64_t[]){36, 6}, 2, -128, 127);
  put_random(&graph, "vs", (const int64_t[]){6}, 1, 0.002, 0.004);
  put_tensor(&graph, 5, "vz", INT8, (const int64_t[]){6}, 1, (const int8_t[6]){0}, 6);
  put_scalar(&graph, "ys", 1 / 15.0);
  put_byte(&graph, "yz", INT8, -9);
  put_node(&graph, "QLinearMatMul", "f cs cz v vs vz ys yz", "yq");
  put_node(&graph, "DequantizeLinear", "yq ys yz", "y");
  put_value(&graph, 11, "x", FLOAT, (const int64_t[]){1, 2, 6, 6}, 4);
  put_value(&graph, 12, "y", FLOAT, (const int64_t[]){1, 6}, 2);
  return import(&graph, 13);
}

static void qlinear(void **state) {
  (void)state;
  for (int round = 0; round < ROUNDS; round++) {
    bl_float_graph *graph = qlinear_network();
    bl_quantised q = lower(graph, false, NULL);
    assert_int_equal(q.graph->layer_count, 2);
    assert_int_equal(q.graph->layers[0].pool_h, 2);
    difference d = compare(graph, &q, 2.5, 1 / 15.0);
    if (d.most > 1.01 || d.part > 0.1) fail_msg("%g steps, %g of the outputs", d.most, d.part);
    drop(&q, graph);
  }
}

// Sums of integers with their scales as nodes of their own; the data's quantiser is constant.
static void integer_operators(void **state) {
  (void)state;
  for (int round = 0; round < ROUNDS; round++) {
    message graph = {0};
    put_scalar(&graph, "xs", 1 / 50.0);
    put_byte(&graph, "xz", UINT8, 120);
    put_node(&graph, "QuantizeLinear", "x xs xz", "xq");
    put_random_bytes(&graph, "w", INT8, (const int64_t[]){4, 1, 3, 3}, 4, -100, 100);
    message conv = new_node("ConvInteger", "conv", "xq w xz", "c");
    put_int(&conv, "group", 2);
    put_message(&graph, 1, &conv);
    message cast = new_node("Cast", "cast", "c", "cf");
    put_int(&cast, "to", FLOAT);
    put_message(&graph, 1, &cast);
    put_random(&graph, "m", (const int64_t[]){4, 1, 1}, 3, 0.0001, 0.0002);
    put_node(&graph, "Mul", "cf m", "r");
    put_random(&graph, "b", (const int64_t[]){4, 1, 1}, 3, -0.5, 0.5);
    put_node(&graph, "Add", "b r", "y");
    put_value(&graph, 11, "x", FLOAT, (const int64_t[]){1, 2, 6, 6}, 4);
    put_value(&graph, 12, "y", FLOAT, (const int64_t[]){1, 4, 4, 4}, 4);
    bl_float_graph *net = import(&graph, 13);
    bl_quantised q = lower(net, false, NULL);
    assert_int_equal(q.graph->layer_count, 1);
    assert_true(compare(net, &q, 2.5, 1e-4).most < 0.1); // accumulators leave: nothing rounds
    drop(&q, net);
  }
}

typedef struct {
  float samples[INPUTS][12];
} sample_set;

static bl_status read_sample(void *context, size_t index, float *out, bl_error *err) {
  (void)err;
  const sample_set *set = context;
  memcpy(out, set->samples[index], sizeof set->samples[index]);
  return BL_OK;
}

// As ONNX Runtime writes dynamic quantisation: a product, its scales multiplied, a bias, twice.
static bl_float_graph *dynamic_network(void) {
  message graph = {0};
  static const char *const nodes[][4] = {
      {"x", "w", "ws", "b"},
      {"r", "v", "vs", "c"},
  };
  for (int k = 0; k < 2; k++) {
    char names[8][16], line[80];
    static const char *const stems[] = {"q", "s", "z", "i", "f", "m", "g", "o"};
    for (int n = 0; n < 8; n++)
      (void)snprintf(names[n], sizeof names[n], "%s%d", stems[n], k);
    (void)snprintf(line, sizeof line, "%s %s %s", names[0], names[1], names[2]);
    message quantise = new_node("DynamicQuantizeLinear", names[0], nodes[k][0], line);
    put_message(&graph, 1, &quantise);
    (void)snprintf(line, sizeof line, "%s %s %s", names[0], nodes[k][1], names[2]);
    put_node(&graph, "MatMulInteger", line, names[3]);
    message cast = new_node("Cast", names[4], names[3], names[4]);
    put_int(&cast, "to", FLOAT);
    put_message(&graph, 1, &cast);
    (void)snprintf(line, sizeof line, "%s %s", names[1], nodes[k][2]);
    put_node(&graph, "Mul", line, names[5]);
    (void)snprintf(line, sizeof line, "%s %s", names[4], names[5]);
    put_node(&graph, "Mul", line, names[6]);
    (void)snprintf(line, sizeof line, "%s %s", names[6], nodes[k][3]);
    put_node(&graph, "Add", line, k == 0 ? "a" : "y");
    if (k == 0) put_node(&graph, "Relu", "a", "r");
  }
  put_random_bytes(&graph, "w", INT8, (const int64_t[]){12, 9}, 2, -127, 127);
  put_random(&graph, "ws", (const int64_t[]){9}, 1, 0.004, 0.006);
  put_random(&graph, "b", (const int64_t[]){9}, 1, -0.2, 0.2);
  put_random_bytes(&graph, "v", INT8, (const int64_t[]){9, 5}, 2, -127, 127);
  put_scalar(&graph, "vs", 0.005);
  put_random(&graph, "c", (const int64_t[]){5}, 1, -0.2, 0.2);
  put_value(&graph, 11, "x", FLOAT, (const int64_t[]){1, 12}, 2);
  put_value(&graph, 12, "y", FLOAT, (const int64_t[]){1, 5}, 2);
  return import(&graph, 13);
}

static void dynamic(void **state) {
  (void)state;
  static sample_set set;
  for (int round = 0; round < ROUNDS; round++) {
    bl_float_graph *graph = dynamic_network();
    for (int k = 0; k < INPUTS; k++)
      for (int i = 0; i < 12; i++)
        set.samples[k][i] = (float)uniform(-2, 2);
    const bl_calibration calibration = {read_sample, &set, INPUTS};
    bl_quantised q = lower(graph, false, &calibration);
    assert_int_equal(q.dynamic_count, 2);
    assert_int_equal(q.graph->layer_count, 2);
    assert_int_equal(q.graph->tensors[1].format.kind, BL_FORMAT_U);
    assert_int_equal(q.graph->tensors[1].format.bits, 8);
    double size = 0, error = 0;
    for (int k = 0; k < INPUTS; k++) {
      float want[5];
      double got[5];
      run_floats(graph, set.samples[k], want);
      run_integers(&q, set.samples[k], got);
      for (int n = 0; n < 5; n++) {
        size += fabs((double)want[n]);
        error += fabs((double)want[n] - got[n]);
      }
    }
    if (error > 0.02 * size) fail_msg("%g of the mean output", error / size);
    drop(&q, graph);
  }
}

// ---- QONNX
// ---------------------------------------------------------------------------------------

static void put_quant(message *graph, const char *in, const char *out, const char *parameters,
                      bool is_signed) {
  char operands[80];
  (void)snprintf(operands, sizeof operands, "%s %s", in, parameters);
  message node = new_node("Quant", out, operands, out);
  put_int(&node, "signed", is_signed);
  put_int(&node, "narrow", 0);
  put_string(&node, "rounding_mode", "ROUND");
  put_message(graph, 1, &node);
}

static void put_constants(message *graph) {
  static const struct {
    const char *name;
    float value;
  } constants[] = {{"quarter", 0.25F}, {"zero", 0}, {"two", 2}, {"four", 4}, {"six", 6}};
  for (size_t k = 0; k < sizeof constants / sizeof *constants; k++)
    put_scalar(graph, constants[k].name, (double)constants[k].value);
}

// A mean as Brevitas writes it: the sum of 4-bit integers has 6 bits, of which 4 are kept.
static void truncated_average(void **state) {
  (void)state;
  static const char *const modes[] = {"FLOOR", "ROUND", "CEIL"};
  for (int round = 0; round < ROUNDS; round++) {
    message graph = {0};
    put_constants(&graph);
    put_quant(&graph, "x", "xq", "quarter zero four", round % 2 == 1);
    message pool = new_node("AveragePool", "pool", "xq", "p");
    put_ints(&pool, "kernel_shape", (const int64_t[]){2, 2}, 2);
    put_ints(&pool, "strides", (const int64_t[]){2, 2}, 2);
    put_message(&graph, 1, &pool);
    put_node(&graph, "Mul", "p four", "s");
    message trunc = new_node("Trunc", "trunc", "s quarter zero six four", "y");
    put_string(&trunc, "rounding_mode", modes[round % 3]);
    put_message(&graph, 1, &trunc);
    put_value(&graph, 11, "x", FLOAT, (const int64_t[]){1, 3, 6, 6}, 4);
    put_value(&graph, 12, "y", FLOAT, (const int64_t[]){1, 3, 3, 3}, 4);
    bl_float_graph *net = import(&graph, 13);
    bl_quantised q = lower(net, false, NULL);
    assert_int_equal(q.graph->layer_count, 1);
    assert_int_equal(q.graph->tensors[1].format.bits, 4);
    // ties to even bend the line, which one multiplier cannot follow; the count says so
    difference d = compare(net, &q, 4.5, 0.25);
    if (round % 3 != 1) assert_int_equal(q.inexact, 0);
    if (d.most > (q.inexact == 0 ? 0.01 : 1.01)) fail_msg("%s: %g steps", modes[round % 3], d.most);
    drop(&q, net);
  }
}

// Trunc by hand: floor(round(x / scale) / 4) * scale.
static void trunc_by_hand(void **state) {
  (void)state;
  message graph = {0};
  put_constants(&graph);
  put_node(&graph, "Trunc", "x quarter zero six four", "y");
  put_value(&graph, 11, "x", FLOAT, (const int64_t[]){1, 6}, 2);
  put_value(&graph, 12, "y", FLOAT, (const int64_t[]){1, 6}, 2);
  bl_float_graph *net = import(&graph, 13);
  const float x[6] = {0, 0.9F, 1, 15.75F, -0.25F, -2.01F};
  const float want[6] = {0, 0.25F, 0.25F, 3.75F, -0.25F, -0.5F};
  float y[6];
  run_floats(net, x, y);
  assert_memory_equal(y, want, sizeof want);
  bl_float_graph_free(net);
}

// x[1,6] in 4 bits, a product with 4-bit weights, thresholds a channel, a product.
static bl_float_graph *threshold_network(int levels, double scale, double bias, bool even) {
  message graph = {0};
  put_constants(&graph);
  put_quant(&graph, "x", "xq", "quarter zero four", true);
  put_random(&graph, "w", (const int64_t[]){6, 5}, 2, -2, 1.75);
  put_quant(&graph, "w", "wq", "quarter zero four", true);
  put_node(&graph, "MatMul", "xq wq", "a");
  float t[5 * 15];
  for (int n = 0; n < 5; n++) {
    double first = uniform(-4, 0), step = uniform(0.3, 1.5);
    for (int k = 0; k < levels; k++)
      t[n * levels + k] = (float)(first + step * (even ? k : k * k));
  }
  put_tensor(&graph, 5, "t", FLOAT, (const int64_t[]){5, levels}, 2, t,
             (size_t)(5 * levels) * sizeof *t);
  message node = new_node("MultiThreshold", "multi", "a t", "r");
  put_real(&node, "out_scale", (float)scale);
  put_real(&node, "out_bias", (float)bias);
  put_string(&node, "out_dtype", "UINT4");
  put_message(&graph, 1, &node);
  put_random(&graph, "v", (const int64_t[]){5, 3}, 2, -2, 1.75);
  put_quant(&graph, "v", "vq", "quarter zero four", true);
  put_node(&graph, "MatMul", "r vq", "y");
  put_value(&graph, 11, "x", FLOAT, (const int64_t[]){1, 6}, 2);
  put_value(&graph, 12, "y", FLOAT, (const int64_t[]){1, 3}, 2);
  return import(&graph, 13);
}

static void multi_threshold(void **state) {
  (void)state;
  static const struct {
    int levels;
    double scale, bias;
    bl_format format;
  } cases[] = {{1, 2, -1, {BL_FORMAT_B, 1}},
               {1, 1, 0, {BL_FORMAT_U, 1}},
               {3, 0.5, 0, {BL_FORMAT_U, 2}},
               {7, 0.25, -1, {BL_FORMAT_S, 3}},
               {15, 1, -8, {BL_FORMAT_S, 4}}};
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
    bl_float_graph *graph = threshold_network(cases[k].levels, cases[k].scale, cases[k].bias, true);
    bl_quantised q = lower(graph, false, NULL);
    assert_int_equal(q.graph->layer_count, 2);
    assert_int_equal(q.graph->tensors[1].format.kind, cases[k].format.kind);
    assert_int_equal(q.graph->tensors[1].format.bits, cases[k].format.bits);
    assert_int_equal(q.inexact, 0);
    assert_true(compare(graph, &q, 2.2, 1e-3).most < 0.1);
    drop(&q, graph);
  }
}

// ---- Whole models
// --------------------------------------------------------------------------------

// The value that the device computes: the network's output, or what a softmax at its end reads.
static int32_t device_value(const bl_float_graph *graph) {
  const bl_node *last = &graph->nodes[graph->node_count - 1];
  return last->op == BL_FLOAT_SOFTMAX ? last->inputs[0] : graph->outputs[0];
}

// Does the file's input hold its channels innermost, and the graph transpose it?
static bool channels_last(const bl_float_graph *graph) {
  for (uint32_t n = 0; n < graph->node_count; n++)
    if (graph->nodes[n].op == BL_FLOAT_TRANSPOSE && graph->nodes[n].inputs[0] == graph->inputs[0])
      return true;
  return false;
}

// Noise on the input's integers: as real numbers in the file's order, and as integers.
static void make_noise(const bl_float_graph *graph, const bl_int_tensor *in, double lo, double hi,
                       float *x, int32_t *integers) {
  bool last = channels_last(graph);
  size_t area = (size_t)in->h * in->w;
  for (size_t i = 0; i < bl_int_elements(in); i++) {
    double q = rint(uniform(lo, hi) / in->scale);
    x[last ? i : i % in->c * area + i / in->c] = (float)(q * in->scale);
    q = fmin(bl_format_max(in->format), q + in->zero_point);
    integers[i] = (int32_t)fmax(bl_format_min(in->format), q);
  }
}

// Mean distance of the integers from the dequantised float outputs, in steps of the output.
static double mean_distance(const bl_float_graph *graph, const bl_int_graph *g, double lo,
                            double hi) {
  enum { SAMPLES = 6, MOST_OUTPUTS = 640 };
  const bl_int_tensor *in = &g->tensors[0], *out = &g->tensors[g->output];
  size_t outputs = bl_int_elements(out);
  int32_t *integers = calloc(bl_int_elements(in), sizeof *integers), got[MOST_OUTPUTS];
  bl_float_session *session = NULL;
  bl_error err = {0};
  assert_true(integers != NULL && outputs <= MOST_OUTPUTS);
  assert_int_equal(bl_float_session_open(graph, &session, &err), BL_OK);
  double sum = 0;
  for (int sample = 0; sample < SAMPLES; sample++) {
    make_noise(graph, in, lo, hi, bl_float_session_input(session, 0)->f, integers);
    assert_int_equal(bl_float_session_run(session, &err), BL_OK);
    const float *want = bl_float_session_value(session, device_value(graph))->f;
    assert_int_equal(bl_reference_run(g, integers, got, NULL, NULL, &err), BL_OK);
    for (size_t i = 0; i < outputs; i++)
      sum += fabs((double)want[i] / out->scale + out->zero_point - got[i]);
  }
  free(integers);
  bl_float_session_close(session);
  return sum / ((double)outputs * SAMPLES);
}

// The models of MLPerf Tiny as QDQ, on noise as their data lies. Counts of right answers are in
// test_end_to_end.
static void models(void **state) {
  (void)state;
  static const struct {
    const char *file;
    double lo, hi, steps;
  } cases[] = {{"models/ic_resnet8_int8_qdq.onnx", 0, 255, 1.0},
               {"models/kws_dscnn_int8_qdq.onnx", -60, 60, 0.5},
               {"models/vww_mobilenetv1_int8_qdq.onnx", -1, 1, 2.0},
               {"models/ad_autoencoder_int8_qdq.onnx", -10, 10, 0.5}};
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
    const char *path = data_folder(cases[k].file);
    if (path == NULL) {
      printf("skipped: no %s (set BITLOOM_DATA)\n", cases[k].file);
      skip();
    }
    bl_onnx_options one = {.batch = 1, .rebatch = true};
    bl_float_graph *graph = NULL;
    bl_error err = {0};
    if (bl_onnx_import(path, &one, &graph, &err) != BL_OK) fail_msg("%s", err.text);
    bl_quantised q = lower(graph, false, NULL);
    double steps = mean_distance(graph, q.graph, cases[k].lo, cases[k].hi);
    printf("%s: %.3f steps of the output on average\n", cases[k].file, steps);
    assert_true(steps <= cases[k].steps);
    drop(&q, graph);
  }
}

// ---- Refusals
// ------------------------------------------------------------------------------------

static void refused(bl_float_graph *graph, const char *node, const char *why) {
  const bl_quantise_options options = {.weight_bits = 8, .activation_bits = 8};
  bl_quantised q;
  bl_error err = {0};
  assert_int_equal(bl_quantise(graph, &options, NULL, &q, &err), BL_ERR_UNSUPPORTED);
  if (strstr(err.text, node) == NULL || strstr(err.text, why) == NULL) fail_msg("%s", err.text);
  assert_null(q.graph);
  bl_float_graph_free(graph);
}

static bl_float_graph *product_network(const char *op, const char *operands) {
  message graph = {0};
  put_scalar(&graph, "xs", 0.02);
  put_scalar(&graph, "other", 0.03);
  put_byte(&graph, "xz", INT8, 3);
  put_byte(&graph, "z", INT8, 4);
  put_random_bytes(&graph, "w", INT8, (const int64_t[]){6, 4}, 2, -100, 100);
  put_random_bytes(&graph, "wide", UINT8, (const int64_t[]){6, 4}, 2, 200, 255);
  put_node(&graph, "QuantizeLinear", "x xs xz", "xq");
  put_node(&graph, op, operands, "y");
  bool matrix = strcmp(op, "DequantizeLinear") != 0 && strcmp(op, "Relu") != 0;
  put_value(&graph, 11, "x", FLOAT, (const int64_t[]){1, 6}, 2);
  put_value(&graph, 12, "y", INT32, (const int64_t[]){1, matrix ? 4 : 6}, 2);
  return import(&graph, 14);
}

static void refusals(void **state) {
  (void)state;
  refused(product_network("DequantizeLinear", "xq other xz"), "node y", "not that of its data");
  refused(product_network("DequantizeLinear", "xq xs z"), "node y", "not that of its data");
  refused(product_network("MatMulInteger", "xq w z"), "node y", "not that of its data");
  refused(product_network("MatMulInteger", "xq wide xz"), "node y", "more than 8 bits");
  refused(product_network("Relu", "xq"), "node y", "integers");
  refused(threshold_network(7, 1, 0, false), "multi", "not evenly spaced");
  refused(threshold_network(7, 1, 0.5, true), "multi", "not a multiple");
}

int main(void) {
  take_seed();
  const struct CMUnitTest tests[] = {cmocka_unit_test(qdq),
                                     cmocka_unit_test(qdq_fused),
                                     cmocka_unit_test(narrow_weights),
                                     cmocka_unit_test(qlinear),
                                     cmocka_unit_test(integer_operators),
                                     cmocka_unit_test(dynamic),
                                     cmocka_unit_test(truncated_average),
                                     cmocka_unit_test(trunc_by_hand),
                                     cmocka_unit_test(multi_threshold),
                                     cmocka_unit_test(models),
                                     cmocka_unit_test(refusals)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
