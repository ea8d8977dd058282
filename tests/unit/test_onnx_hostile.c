// SPDX-License-Identifier: Apache-2.0
// Model files that are not what they should be: every truncation of a sound model, random changes
// of it, random bytes, deep nesting, and the catalogue of malformed tensors and graphs that has
// hurt other loaders. Each gives a one-line error or a graph that also runs; never a crash, and
// never much memory. Meant to be run under the sanitizers too.
#include <math.h>
#include <sys/resource.h>
#include <time.h>

#include "host/float/session.h"
#include "host/onnx/onnx_import.h"
#include "tests/unit/onnx_writer.h"

static uint64_t seed;

static uint32_t next_random(void) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(seed >> 33);
}

static void check_line(const bl_error *err) {
  assert_true(err->status != BL_OK);
  assert_true(strlen(err->text) > 0);
  assert_null(strchr(err->text, '\n'));
}

// Imports, and runs what could be imported. Returns the importer's status.
static bl_status try_bytes(const uint8_t *bytes, size_t size, bl_error *err) {
  const bl_onnx_options options = {.batch = 2, .rebatch = (size & 1) != 0};
  bl_float_graph *graph = NULL;
  bl_float_session *session = NULL;
  *err = (bl_error){0};
  uint8_t *exact = malloc(size + (size == 0)); // no room behind it: a sanitizer sees every overrun
  assert_non_null(exact);
  if (size > 0) memcpy(exact, bytes, size);
  bl_status status = bl_onnx_import_bytes("model", exact, size, &options, &graph, err);
  free(exact);
  if (status != BL_OK) {
    check_line(err);
    assert_null(graph);
    return status;
  }
  bl_error later = {0};
  if (bl_float_session_open(graph, &session, &later) != BL_OK ||
      bl_float_session_run(session, &later) != BL_OK)
    check_line(&later);
  bl_float_session_close(session);
  bl_float_graph_free(graph);
  return status;
}

static bl_status try_message(message *m, bl_error *err) {
  bl_status status = try_bytes(m->bytes, m->size, err);
  free(m->bytes);
  *m = (message){0};
  return status;
}

static const float numbers[64] = {1, -1, 0.5F, 2};

static void put_small_nodes(message *graph) {
  message conv = new_node("Conv", "conv", "x w bias", "a");
  put_ints(&conv, "kernel_shape", (const int64_t[]){3, 3}, 2);
  put_ints(&conv, "pads", (const int64_t[]){1, 1, 1, 1}, 4);
  put_ints(&conv, "strides", (const int64_t[]){1, 1}, 2);
  put_int(&conv, "group", 1);
  message relu = new_node("Relu", "relu", "a", "b");
  message pool = new_node("MaxPool", "pool", "b", "c");
  put_ints(&pool, "kernel_shape", (const int64_t[]){2, 2}, 2);
  put_ints(&pool, "strides", (const int64_t[]){2, 2}, 2);
  put_string(&pool, "auto_pad", "SAME_UPPER");
  message slice = new_node("Slice", "slice", "c starts ends", "d");
  message reshape = new_node("Reshape", "reshape", "d shape", "e");
  message gemm = new_node("Gemm", "gemm", "e v", "f");
  put_real(&gemm, "alpha", 0.5F);
  put_int(&gemm, "transB", 1);
  message softmax = new_node("Softmax", "softmax", "f", "y");
  put_int(&softmax, "axis", -1);
  message *nodes[] = {&conv, &relu, &pool, &slice, &reshape, &gemm, &softmax};
  for (size_t k = 0; k < sizeof nodes / sizeof *nodes; k++)
    put_message(graph, 1, nodes[k]);
}

// Convolution, pooling, slice, reshape, matrix: every kind of operand once.
static message small_model(void) {
  message graph = {0};
  put_small_nodes(&graph);
  put_text(&graph, 2, "small");
  put_tensor(&graph, 5, "w", 1, (const int64_t[]){2, 1, 3, 3}, 4, numbers, 18 * 4);
  put_tensor(&graph, 5, "bias", 1, (const int64_t[]){2}, 1, numbers, 8);
  put_tensor(&graph, 5, "starts", 7, (const int64_t[]){4}, 1, (const int64_t[]){0, 0, 0, 0}, 32);
  put_tensor(&graph, 5, "ends", 7, (const int64_t[]){4}, 1, (const int64_t[]){99, 2, 2, 2}, 32);
  put_tensor(&graph, 5, "shape", 7, (const int64_t[]){2}, 1, (const int64_t[]){-1, 8}, 16);
  put_tensor(&graph, 5, "v", 1, (const int64_t[]){3, 8}, 2, numbers, 24 * 4);
  put_value(&graph, 11, "x", 1, (const int64_t[]){-2, 1, 4, 4}, 4);
  put_value(&graph, 12, "y", 1, (const int64_t[]){-2, 3}, 2);
  return new_model(&graph, 13);
}

static void sound(void **state) {
  (void)state;
  bl_error err;
  message m = small_model();
  bl_status status = try_message(&m, &err);
  if (status != BL_OK) fail_msg("%s", err.text);
}

static void truncated(void **state) {
  (void)state;
  bl_error err;
  message m = small_model();
  for (size_t size = 0; size < m.size; size++)
    assert_int_not_equal(try_bytes(m.bytes, size, &err), BL_OK);
  free(m.bytes);
}

static void flipped(void **state) {
  (void)state;
  bl_error err;
  message m = small_model();
  uint8_t *copy = malloc(m.size);
  assert_non_null(copy);
  int accepted = 0;
  for (int round = 0; round < 6000; round++) {
    memcpy(copy, m.bytes, m.size);
    for (uint32_t k = 0; k <= next_random() % 3; k++)
      copy[next_random() % m.size] = (uint8_t)next_random();
    accepted += try_bytes(copy, m.size, &err) == BL_OK;
  }
  printf("%d of 6000 changed models are still sound\n", accepted);
  free(copy);
  free(m.bytes);
}

static void random_bytes(void **state) {
  (void)state;
  bl_error err;
  uint8_t bytes[64];
  for (int round = 0; round < 6000; round++) {
    size_t size = next_random() % (sizeof bytes + 1);
    for (size_t k = 0; k < size; k++)
      bytes[k] = (uint8_t)(next_random() % (round % 2 == 0 ? 256 : 80));
    assert_int_not_equal(try_bytes(bytes, size, &err), BL_OK);
  }
}

// A graph in an attribute of a node of a graph, and so on, to about 114 KB; built from the inside.
static void nested(void **state) {
  (void)state;
  bl_error err;
  message graph = {0};
  while (graph.size < 114 << 10) {
    message attribute = {0}, node = {0}, outer = {0};
    put_message(&attribute, 6, &graph);
    put_message(&node, 5, &attribute);
    put_message(&outer, 1, &node);
    graph = outer;
  }
  message model = new_model(&graph, 13);
  assert_int_not_equal(try_message(&model, &err), BL_OK);
}

// Types nest as well: a sequence of a sequence of ... in an input's type.
static void nested_types(void **state) {
  (void)state;
  bl_error err;
  message type = {0};
  while (type.size < 114 << 10) {
    message sequence = {0}, outer = {0};
    put_message(&sequence, 1, &type);
    put_message(&outer, 4, &sequence);
    type = outer;
  }
  message info = {0}, graph = {0};
  put_text(&info, 1, "x");
  put_message(&info, 2, &type);
  put_message(&graph, 11, &info);
  message model = new_model(&graph, 13);
  assert_int_not_equal(try_message(&model, &err), BL_OK);
}

// y = x + t with a tensor t stated as told; must be refused.
static void refuse_tensor(int64_t type, const int64_t *dims, size_t rank, size_t raw_size) {
  bl_error err;
  message graph = {0};
  message node = new_node("Add", "add", "x t", "y");
  put_message(&graph, 1, &node);
  put_tensor(&graph, 5, "t", type, dims, rank, numbers, raw_size);
  put_value(&graph, 11, "x", 1, (const int64_t[]){1, 4}, 2);
  put_value(&graph, 12, "y", 1, (const int64_t[]){1, 4}, 2);
  message model = new_model(&graph, 13);
  bl_status status = try_message(&model, &err);
  if (status == BL_OK) fail_msg("type %d, %zu bytes: accepted", (int)type, raw_size);
}

static void tensors(void **state) {
  (void)state;
  static const int64_t bad[] = {-1,
                                INT64_MIN,
                                INT64_MAX,
                                1LL << 31,
                                1LL << 32,
                                (1LL << 32) + 1,
                                (1LL << 42) + 1,
                                (1LL << 62) + 4,
                                5,
                                3,
                                0};
  for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
    refuse_tensor(1, &bad[k], 1, 16);
    refuse_tensor(1, (const int64_t[]){bad[k], 4}, 2, bad[k] == 0 ? 15 : 16);
  }
  refuse_tensor(1, (const int64_t[]){1LL << 32, 1LL << 32}, 2, 16);
  refuse_tensor(1, (const int64_t[]){1LL << 33, 1LL << 31, 4}, 3, 16);
  refuse_tensor(1, (const int64_t[]){1, 1, 1, 1, 1, 1, 1, 1, 4}, 9, 16);
  refuse_tensor(1, (const int64_t[]){4}, 1, 15);
  refuse_tensor(1, (const int64_t[]){4}, 1, 17);
  refuse_tensor(1, (const int64_t[]){4}, 1, 0);
  for (int64_t type = -70; type < 70; type++)
    if (type != 1 && type != 6 && type != 12) refuse_tensor(type, (const int64_t[]){4}, 1, 16);
  refuse_tensor(INT32_MAX, (const int64_t[]){4}, 1, 16);
  refuse_tensor(INT32_MIN, (const int64_t[]){4}, 1, 16);
}

// Data in another file, named in every way that has been misused.
static void external_data(void **state) {
  (void)state;
  static const char *const locations[] = {"../../etc/passwd", "/etc/passwd", "weights.bin", ""};
  for (size_t k = 0; k < 4; k++) {
    bl_error err;
    message graph = {0}, tensor = {0}, entry = {0};
    put_text(&entry, 1, "location");
    put_text(&entry, 2, locations[k]);
    put_number(&tensor, 1, 4);
    put_number(&tensor, 2, 1);
    put_text(&tensor, 8, "t");
    put_message(&tensor, 13, &entry);
    put_number(&tensor, 14, 1);
    message node = new_node("Add", "add", "x t", "y");
    put_message(&graph, 1, &node);
    put_message(&graph, 5, &tensor);
    put_value(&graph, 11, "x", 1, (const int64_t[]){1, 4}, 2);
    put_value(&graph, 12, "y", 1, (const int64_t[]){1, 4}, 2);
    message model = new_model(&graph, 13);
    assert_int_equal(try_message(&model, &err), BL_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "t"));
  }
}

// x[1,4] -> node -> y, with a constant "c" of two integers; the node is as told.
static bl_status one_node(message *node, int64_t opset, bl_error *err) {
  message graph = {0};
  put_message(&graph, 1, node);
  put_tensor(&graph, 5, "c", 7, (const int64_t[]){2}, 1, (const int64_t[]){1, INT64_MIN}, 16);
  put_value(&graph, 11, "x", 1, (const int64_t[]){1, 4}, 2);
  put_value(&graph, 12, "y", 1, (const int64_t[]){1, 4}, 2);
  message model = new_model(&graph, opset);
  return try_message(&model, err);
}

static void axes(void **state) {
  (void)state;
  static const char *const operators[] = {"Softmax", "Flatten", "Concat", "Gather"};
  static const int64_t bad[] = {3, -3, 8, 64, 1LL << 32, -(1LL << 32), INT64_MAX, INT64_MIN};
  for (size_t op = 0; op < 4; op++)
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
      bl_error err;
      message node = new_node(operators[op], "n", op == 3 ? "x c" : "x", "y");
      put_int(&node, "axis", bad[k]);
      if (one_node(&node, 13, &err) == BL_OK)
        fail_msg("%s takes axis %lld", operators[op], (long long)bad[k]);
    }
}

static void operands(void **state) {
  (void)state;
  static const char *const operators[] = {"Reshape", "Squeeze", "Unsqueeze", "Pad", "Transpose"};
  for (size_t op = 0; op < 5; op++) {
    bl_error err;
    message node = new_node(operators[op], "n", op == 4 ? "x" : "x c", "y");
    if (op == 4) put_ints(&node, "perm", (const int64_t[]){1, 1}, 2);
    if (one_node(&node, 13, &err) == BL_OK) fail_msg("%s is accepted", operators[op]);
  }
  static const char *const windows[] = {"kernel_shape", "strides", "dilations", "pads"};
  static const int64_t bad[] = {0, -1, INT64_MIN, INT64_MAX, 1LL << 32};
  for (size_t w = 0; w < 4; w++)
    for (size_t k = 0; k < 5; k++) {
      bl_error err;
      message lift = new_node("Unsqueeze", "lift", "x", "z"), graph = {0};
      put_ints(&lift, "axes", (const int64_t[]){0, 1}, 2);
      message pool = new_node("AveragePool", "pool", "z", "y");
      if (w != 0) put_ints(&pool, "kernel_shape", (const int64_t[]){1, 2}, 2);
      put_ints(&pool, windows[w], (const int64_t[]){bad[k], bad[k], bad[k], bad[k]},
               w == 3 ? 4 : 2);
      put_message(&graph, 1, &lift);
      put_message(&graph, 1, &pool);
      put_value(&graph, 11, "x", 1, (const int64_t[]){1, 4}, 2);
      put_value(&graph, 12, "y", 1, (const int64_t[]){1, 1, 1, 3}, 4);
      message model = new_model(&graph, 11);
      if (try_message(&model, &err) == BL_OK && !(w == 3 && bad[k] == 0))
        fail_msg("%s of %lld is accepted", windows[w], (long long)bad[k]);
    }
}

// An unknown operator's message names node and operator.
static void unknown_operator(void **state) {
  (void)state;
  bl_error err;
  message node = new_node("Einsum", "the_node", "x", "y");
  assert_int_equal(one_node(&node, 13, &err), BL_ERR_UNSUPPORTED);
  assert_non_null(strstr(err.text, "the_node"));
  assert_non_null(strstr(err.text, "Einsum"));
  node = new_node("Relu", "the_node", "x", "y");
  put_text(&node, 7, "com.example");
  assert_int_equal(one_node(&node, 13, &err), BL_ERR_UNSUPPORTED);
  for (int64_t opset = -1; opset < 30; opset++) {
    node = new_node("Relu", "n", "x", "y");
    assert_int_equal(one_node(&node, opset, &err) == BL_OK, opset >= 7 && opset <= 21);
  }
}

// Graphs whose names do not add up.
static void wiring(void **state) {
  (void)state;
  static const char *const bad[][6] = {
      {"Relu", "q", "y", NULL, NULL, NULL},     // reads what nothing makes
      {"Relu", "y", "y", NULL, NULL, NULL},     // a cycle of one
      {"Add", "x b", "a", "Add", "a x", "b"},   // a cycle of two
      {"Relu", "x", "y", "Relu", "x", "y"},     // made twice
      {"Relu", "x", "x", NULL, NULL, NULL},     // makes the input again
      {"Relu", "x", "c", NULL, NULL, NULL},     // makes a constant again
      {"Relu", "-", "y", NULL, NULL, NULL},     // input absent
      {"Relu", "", "y", NULL, NULL, NULL},      // no input
      {"Relu", "x", "", NULL, NULL, NULL},      // no output
      {"Add", "x", "y", NULL, NULL, NULL},      // one operand
      {"Conv", "x", "y", NULL, NULL, NULL},     // no weights
      {"Gemm", "x c", "y", NULL, NULL, NULL},   // no matrix
      {"MatMul", "x c", "y", NULL, NULL, NULL}, // types differ
      {"Concat", "", "y", NULL, NULL, NULL},    // nothing to join
      {"BatchNormalization", "x", "y", NULL, NULL, NULL},
      {"QuantizeLinear", "x", "y", NULL, NULL, NULL},
      {"Quant", "x", "y", NULL, NULL, NULL},
      {"BipolarQuant", "x c", "y", NULL, NULL, NULL},
  };
  for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
    bl_error err;
    message graph = {0};
    for (size_t n = 0; n < 6 && bad[k][n] != NULL; n += 3) {
      message node = new_node(bad[k][n], "n", bad[k][n + 1], bad[k][n + 2]);
      put_message(&graph, 1, &node);
    }
    put_tensor(&graph, 5, "c", 7, (const int64_t[]){2}, 1, (const int64_t[]){1, 1}, 16);
    put_value(&graph, 11, "x", 1, (const int64_t[]){1, 4}, 2);
    put_value(&graph, 12, "y", 1, (const int64_t[]){1, 4}, 2);
    message model = new_model(&graph, 13);
    if (try_message(&model, &err) == BL_OK) fail_msg("wiring %zu (%s) is accepted", k, bad[k][0]);
  }
}

static void graph_inputs(void **state) {
  (void)state;
  static const int64_t bad[] = {-1, INT64_MIN, INT64_MAX, 1LL << 32, (1LL << 42) + 1};
  for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
    bl_error err;
    message graph = {0}, node = new_node("Relu", "n", "x", "y");
    put_message(&graph, 1, &node);
    put_value(&graph, 11, "x", 1, (const int64_t[]){1, bad[k]}, 2);
    put_value(&graph, 12, "y", 1, (const int64_t[]){1, bad[k]}, 2);
    message model = new_model(&graph, 13);
    assert_int_not_equal(try_message(&model, &err), BL_OK);
  }
}

// Scales that are no numbers must not trap or reach an integer conversion.
static void odd_scales(void **state) {
  (void)state;
  const float scales[] = {NAN, INFINITY, -INFINITY, 0, 1e-45F, -1};
  for (size_t k = 0; k < sizeof scales / sizeof *scales; k++)
    for (int64_t type = 2; type < 4; type++) {
      bl_error err;
      message graph = {0}, q = new_node("QuantizeLinear", "q", "x s z", "a");
      message d = new_node("DequantizeLinear", "d", "a s z", "y");
      put_message(&graph, 1, &q);
      put_message(&graph, 1, &d);
      put_tensor(&graph, 5, "s", 1, NULL, 0, &scales[k], 4);
      put_tensor(&graph, 5, "z", type, NULL, 0, numbers, 1);
      put_value(&graph, 11, "x", 1, (const int64_t[]){1, 4}, 2);
      put_value(&graph, 12, "y", 1, (const int64_t[]){1, 4}, 2);
      message model = new_model(&graph, 13);
      (void)try_message(&model, &err);
    }
}

// x, constants of every kind -> node -> y
static bl_status try_node(message *node, int64_t opset) {
  static const uint8_t bytes[8] = {1, 128, 255};
  const int64_t few[] = {1, 0, -1, 2, INT64_MAX, INT64_MIN};
  bl_error err;
  message graph = {0};
  size_t rank = 2 + next_random() % 3, n = 1 + next_random() % 4;
  put_message(&graph, 1, node);
  size_t axes = next_random() % 4;
  put_tensor(&graph, 5, "m", 1, (const int64_t[]){2, 2, 2, 2}, 1 + axes, numbers, 8u << axes);
  put_tensor(&graph, 5, "i", 7, (const int64_t[]){(int64_t)n}, 1, few + next_random() % 3, 8 * n);
  put_tensor(&graph, 5, "v", 1, (const int64_t[]){2}, 1, numbers, 8);
  put_tensor(&graph, 5, "s", 1, NULL, 0, numbers + next_random() % 8, 4);
  put_tensor(&graph, 5, "k", 7, NULL, 0, few + next_random() % 6, 8);
  put_tensor(&graph, 5, "e", 1, (const int64_t[]){0}, 1, numbers, 0);
  put_tensor(&graph, 5, "b", 2 + next_random() % 2, (const int64_t[]){2}, 1, bytes, 2);
  put_value(&graph, 11, "x", next_random() % 8 == 0 ? 7 : 1, (const int64_t[]){-2, 2, 4, 3}, rank);
  put_value(&graph, 12, "y", 1, (const int64_t[]){1}, 1);
  message model = new_model(&graph, opset);
  return try_message(&model, &err);
}

static const char *const any_operator[] = {"Add",
                                           "AveragePool",
                                           "BatchNormalization",
                                           "BipolarQuant",
                                           "Cast",
                                           "Clip",
                                           "Concat",
                                           "Constant",
                                           "Conv",
                                           "DequantizeLinear",
                                           "Div",
                                           "Dropout",
                                           "Flatten",
                                           "Gather",
                                           "Gemm",
                                           "Identity",
                                           "GlobalMaxPool",
                                           "GlobalAveragePool",
                                           "MatMul",
                                           "MaxPool",
                                           "Mul",
                                           "Pad",
                                           "Pow",
                                           "Quant",
                                           "QuantizeLinear",
                                           "Relu",
                                           "Reshape",
                                           "Shape",
                                           "Sigmoid",
                                           "Sign",
                                           "Slice",
                                           "Softmax",
                                           "Squeeze",
                                           "Sub",
                                           "Tanh",
                                           "Unsqueeze",
                                           "Transpose"};
static const char *const any_operand[] = {"x", "m", "i", "v", "s", "k", "e", "b", "-"};
static const char *const any_list[] = {"axes", "perm",    "starts",       "ends",     "steps",
                                       "pads", "strides", "kernel_shape", "dilations"};
static const char *const any_scalar[] = {
    "axis",   "group", "transA", "transB",   "to", "ceil_mode", "count_include_pad",
    "signed", "start", "end",    "allowzero"};
static const char *const any_text[] = {"edge",  "reflect", "SAME_UPPER", "SAME_LOWER", "VALID",
                                       "FLOOR", ""};
static const int64_t any_value[] = {0, 1, 2,  3,   4,     -1,        -2,        5,
                                    7, 1, 10, 100, 65535, INT64_MAX, INT64_MIN, 1LL << 32};

#define ANY(list) (list)[next_random() % (sizeof(list) / sizeof *(list))]

static message random_node(void) {
  char inputs[64] = "";
  for (uint32_t k = next_random() % 5; k < 5; k++) {
    (void)strcat(inputs, inputs[0] == '\0' ? any_operand[next_random() % 5] : ANY(any_operand));
    (void)strcat(inputs, " ");
  }
  message node = new_node(ANY(any_operator), "n", inputs, next_random() % 4 == 0 ? "y z" : "y");
  for (uint32_t k = next_random() % 4; k > 0; k--) {
    int64_t list[8];
    for (size_t j = 0; j < 8; j++)
      list[j] = next_random() % 4 == 0 ? ANY(any_value) : any_value[next_random() % 5];
    put_ints(&node, ANY(any_list), list, next_random() % 3 == 0 ? next_random() % 8 : 2);
    put_int(&node, ANY(any_scalar), list[next_random() % 8]);
  }
  if (next_random() % 4 == 0) put_string(&node, "auto_pad", ANY(any_text));
  if (next_random() % 4 == 0) put_string(&node, "mode", ANY(any_text));
  return node;
}

// Any operator with any operands and attributes: what shape inference lets through must also run.
static void random_nodes(void **state) {
  (void)state;
  int accepted = 0;
  for (int round = 0; round < 12000; round++) {
    message node = random_node();
    accepted += try_node(&node, (int64_t)(7 + next_random() % 15)) == BL_OK;
  }
  printf("%d of 12000 random nodes are accepted\n", accepted);
  assert_true(accepted > 500);
}

// After everything above this process has stayed small: no file made it take a large allocation.
static void stayed_small(void **state) {
  (void)state;
#if defined(__SANITIZE_ADDRESS__)
  skip();
#else
  struct rusage usage;
  assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
  printf("largest resident size: %ld KiB\n", usage.ru_maxrss);
  assert_true(usage.ru_maxrss < 256 << 10);
#endif
}

int main(void) {
  const char *text = getenv("BITLOOM_SEED");
  seed = text != NULL ? strtoull(text, NULL, 0) : (uint64_t)time(NULL);
  printf("seed %llu (repeat with BITLOOM_SEED)\n", (unsigned long long)seed);
  const struct CMUnitTest tests[] = {cmocka_unit_test(sound),
                                     cmocka_unit_test(truncated),
                                     cmocka_unit_test(flipped),
                                     cmocka_unit_test(random_bytes),
                                     cmocka_unit_test(nested),
                                     cmocka_unit_test(nested_types),
                                     cmocka_unit_test(tensors),
                                     cmocka_unit_test(external_data),
                                     cmocka_unit_test(axes),
                                     cmocka_unit_test(operands),
                                     cmocka_unit_test(unknown_operator),
                                     cmocka_unit_test(wiring),
                                     cmocka_unit_test(graph_inputs),
                                     cmocka_unit_test(odd_scales),
                                     cmocka_unit_test(random_nodes),
                                     cmocka_unit_test(stayed_small)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
