// SPDX-License-Identifier: Apache-2.0
// The ONNX project's node tests (v1.12.0) that use only operators of the importer: each model is
// imported and run, its outputs compared with the files beside it. Prints the names of those that
// fail; docs/reference/operators.md lists them with the reason, and this test checks that list.
#include <dirent.h>

#include "host/base/file.h"
#include "host/float/session.h"
#include "host/onnx/onnx_import.h"
#include "tests/unit/onnx_support.h"

enum { MAX_INPUTS = 8, MAX_TESTS = 2000 };

static const char *const operators[] = {"Add",
                                        "AveragePool",
                                        "BatchNormalization",
                                        "Cast",
                                        "Clip",
                                        "Concat",
                                        "Constant",
                                        "Conv",
                                        "Div",
                                        "Dropout",
                                        "Flatten",
                                        "Gather",
                                        "Gemm",
                                        "GlobalAveragePool",
                                        "GlobalMaxPool",
                                        "Identity",
                                        "MatMul",
                                        "MaxPool",
                                        "Mul",
                                        "Pad",
                                        "Pow",
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
                                        "Transpose",
                                        "Unsqueeze",
                                        "QuantizeLinear",
                                        "DequantizeLinear",
                                        "Elu",
                                        "Erf",
                                        "HardSigmoid",
                                        "HardSwish",
                                        "LeakyRelu",
                                        "Resize",
                                        "Softplus",
                                        "Upsample",
                                        "DynamicQuantizeLinear",
                                        "ConvInteger",
                                        "MatMulInteger",
                                        "QLinearConv",
                                        "QLinearMatMul"};

// Operators whose later inputs are shapes: bound before import, as every exporter does.
static const char *const shape_operators[] = {"Reshape", "Squeeze", "Unsqueeze", "Slice",
                                              "Pad",     "Dropout", "Resize",    "Upsample"};

static bool among(const char *name, const char *const *list, size_t count) {
  for (size_t k = 0; k < count; k++)
    if (strcmp(name, list[k]) == 0) return true;
  return false;
}

typedef struct {
  const char *folder; // of the unpacked tests
  const char *name;
  Onnx__ModelProto *model;
  Onnx__TensorProto *inputs[MAX_INPUTS];
  char reason[512]; // why it failed
} node_test;

static void *load_message(const char *folder, const char *name, const char *file,
                          const ProtobufCMessageDescriptor *descriptor) {
  char path[4096];
  (void)snprintf(path, sizeof path, "%s/%s/%s", folder, name, file);
  if (access(path, R_OK) != 0) return NULL;
  size_t size;
  uint8_t *bytes = slurp(path, &size);
  void *message = protobuf_c_message_unpack(descriptor, NULL, size, bytes);
  free(bytes);
  return message;
}

static Onnx__TensorProto *load_tensor(const node_test *t, const char *kind, size_t index) {
  char file[64];
  (void)snprintf(file, sizeof file, "test_data_set_0/%s_%zu.pb", kind, index);
  return load_message(t->folder, t->name, file, &onnx__tensor_proto__descriptor);
}

static void drop_message(void *message) {
  if (message != NULL) protobuf_c_message_free_unpacked(message, NULL);
}

static bool in_scope(const node_test *t) {
  const Onnx__GraphProto *graph = t->model->graph;
  for (size_t k = 0; k < graph->n_node; k++) {
    const Onnx__NodeProto *node = graph->node[k];
    bool own = node->domain == NULL || node->domain[0] == '\0';
    if (!own || !among(node->op_type, operators, sizeof operators / sizeof *operators))
      return false;
  }
  return graph->n_input <= MAX_INPUTS;
}

// A copy of an input's data as a constant of the model, which is how a shape operand arrives in
// practice. The message owns the copy.
static void bind_input(Onnx__GraphProto *graph, const Onnx__TensorProto *tensor, const char *name) {
  uint8_t *packed = malloc(onnx__tensor_proto__get_packed_size(tensor) + 1);
  assert_non_null(packed);
  size_t size = onnx__tensor_proto__pack(tensor, packed);
  Onnx__TensorProto *copy = onnx__tensor_proto__unpack(NULL, size, packed);
  free(packed);
  assert_non_null(copy);
  free(copy->name == (char *)protobuf_c_empty_string ? NULL : copy->name);
  copy->name = strdup(name);
  graph->initializer =
      realloc(graph->initializer, (graph->n_initializer + 1) * sizeof *graph->initializer);
  assert_non_null(graph->initializer);
  graph->initializer[graph->n_initializer++] = copy;
}

static void bind_shapes(node_test *t) {
  Onnx__GraphProto *graph = t->model->graph;
  const char *op = graph->node[0]->op_type, *end = graph->node[graph->n_node - 1]->op_type;
  if (strcmp(end, "Resize") == 0) op = end; // empty constants may stand before it
  if (!among(op, shape_operators, sizeof shape_operators / sizeof *shape_operators)) return;
  for (size_t k = 1; k < graph->n_input; k++)
    if (t->inputs[k] != NULL) bind_input(graph, t->inputs[k], graph->input[k]->name);
}

// Stated for opset 1 or 6, below the importer's range, and not changed until 22.
static void raise_opset(const node_test *t) {
  static const char *const old[] = {"GlobalAveragePool", "GlobalMaxPool", "Elu", "HardSigmoid",
                                    "Softplus"};
  for (size_t k = 0; k < t->model->n_opset_import; k++)
    if (among(t->model->graph->node[0]->op_type, old, sizeof old / sizeof *old))
      t->model->opset_import[k]->version = 7;
}

static bl_status import_test(const node_test *t, bl_float_graph **graph, bl_error *err) {
  uint8_t *packed = malloc(onnx__model_proto__get_packed_size(t->model) + 1);
  assert_non_null(packed);
  size_t size = onnx__model_proto__pack(t->model, packed);
  bl_status status = bl_onnx_import_bytes(t->name, packed, size, NULL, graph, err);
  free(packed);
  return status;
}

static bool is_read(const bl_float_graph *graph, int32_t value) {
  for (uint32_t n = 0; n < graph->node_count; n++)
    for (uint32_t k = 0; k < graph->nodes[n].input_count; k++)
      if (graph->nodes[n].inputs[k] == value) return true;
  return false;
}

static Onnx__TensorProto *input_data(const node_test *t, const char *name) {
  for (size_t k = 0; k < t->model->graph->n_input; k++)
    if (strcmp(t->model->graph->input[k]->name, name) == 0) return t->inputs[k];
  return NULL;
}

// The test files state bfloat16 data as uint16, because NumPy has no such type.
static void mend_type(Onnx__TensorProto *tensor, int32_t element) {
  if (element == 16 && tensor->data_type == 4) tensor->data_type = 16;
}

// False when the data do not have the declared size (inputs that no node reads may).
static bool fill_inputs(node_test *t, const bl_float_graph *graph, bl_float_session *session) {
  for (uint32_t k = 0; k < graph->input_count; k++) {
    if (!is_read(graph, graph->inputs[k])) continue;
    bl_value *value = bl_float_session_input(session, k);
    Onnx__TensorProto *tensor = input_data(t, value->name);
    if (tensor == NULL || tensor_count(tensor) != value->count) {
      (void)snprintf(t->reason, sizeof t->reason, "input %s: its data file has another size",
                     value->name);
      return false;
    }
    mend_type(tensor, value->element);
    for (size_t i = 0; i < value->count; i++) {
      if (value->f != NULL)
        value->f[i] = (float)tensor_value(tensor, i);
      else
        value->i[i] = (int64_t)tensor_value(tensor, i);
    }
  }
  return true;
}

// ONNX's own tolerance: 1e-3 relative, 1e-7 absolute; integers must be equal.
static bool same_output(node_test *t, Onnx__TensorProto *expected, const bl_value *got) {
  mend_type(expected, got->element);
  bool same = got->rank == expected->n_dims && got->element == expected->data_type;
  for (uint32_t k = 0; same && k < got->rank; k++)
    same = got->dims[k] == expected->dims[k];
  if (!same) {
    (void)snprintf(t->reason, sizeof t->reason, "another shape or type");
    return false;
  }
  for (size_t i = 0; i < got->count; i++) {
    double want = tensor_value(expected, i),
           have = got->f != NULL ? (double)got->f[i] : (double)got->i[i];
    double room = got->f != NULL ? 1e-7 + 1e-3 * fabs(want) : 0;
    if ((isnan(want) && isnan(have)) || want == have || fabs(want - have) <= room) continue;
    (void)snprintf(t->reason, sizeof t->reason, "element %zu is %.9g, expected %.9g", i, have,
                   want);
    return false;
  }
  return true;
}

static bool compare_outputs(node_test *t, const bl_float_graph *graph,
                            const bl_float_session *session) {
  bool same = true;
  for (uint32_t k = 0; same && k < graph->output_count; k++) {
    Onnx__TensorProto *expected = load_tensor(t, "output", k);
    if (expected == NULL) {
      (void)snprintf(t->reason, sizeof t->reason, "its output is not a tensor");
      return false;
    }
    same = same_output(t, expected, bl_float_session_value(session, graph->outputs[k]));
    drop_message(expected);
  }
  return same;
}

static bool run_node_test(node_test *t) {
  bl_error err = {0};
  bl_float_graph *graph = NULL;
  bl_float_session *session = NULL;
  bool passed = false;
  if (import_test(t, &graph, &err) == BL_OK &&
      bl_float_session_open(graph, &session, &err) == BL_OK) {
    if (fill_inputs(t, graph, session) && bl_float_session_run(session, &err) == BL_OK)
      passed = compare_outputs(t, graph, session);
  }
  if (err.status != BL_OK) (void)snprintf(t->reason, sizeof t->reason, "%s", err.text);
  bl_float_session_close(session);
  bl_float_graph_free(graph);
  return passed;
}

// Runs one test when it is in scope. Returns 1 passed, 0 failed, -1 out of scope.
static int one_test(node_test *t) {
  t->model = load_message(t->folder, t->name, "model.onnx", &onnx__model_proto__descriptor);
  int result = -1;
  if (t->model != NULL && t->model->graph != NULL && in_scope(t)) {
    for (size_t k = 0; k < t->model->graph->n_input; k++)
      t->inputs[k] = load_tensor(t, "input", k);
    bind_shapes(t);
    raise_opset(t);
    result = run_node_test(t) ? 1 : 0;
    for (size_t k = 0; k < t->model->graph->n_input; k++)
      drop_message(t->inputs[k]);
  }
  drop_message(t->model);
  return result;
}

// Unpacks the archive once, under the build folder; returns the folder of the tests.
static const char *unpack(const char *archive) {
  static char folder[4096];
  const char *build = getenv("BITLOOM_BUILD");
  if (build == NULL) build = "build";
  (void)snprintf(folder, sizeof folder, "%s/onnx-conformance/v1.12.0/node", build);
  char command[9000];
  (void)snprintf(command, sizeof command,
                 "test -d '%s' || { mkdir -p '%s/onnx-conformance' && tar -xzf '%s' -C "
                 "'%s/onnx-conformance'; }",
                 folder, build, archive, build);
  assert_int_equal(system(command), 0);
  return folder;
}

static bool documented(const char *page, const char *name) {
  char quoted[300];
  (void)snprintf(quoted, sizeof quoted, "`%s`", name);
  return strstr(page, quoted) != NULL;
}

static void conformance(void **state) {
  (void)state;
  const char *archive = data_folder("onnx-conformance/node-tests-v1.12.0.tar.gz");
  if (archive == NULL) skip();
  const char *folder = unpack(archive);
  size_t size;
  uint8_t *page = slurp("docs/reference/operators.md", &size);
  page = realloc(page, size + 1);
  assert_non_null(page);
  page[size] = '\0';
  struct dirent **entries;
  int count = scandir(folder, &entries, NULL, alphasort), passed = 0, failed = 0, unlisted = 0;
  assert_true(count > 0);
  for (int k = 0; k < count; k++) {
    node_test t = {.folder = folder, .name = entries[k]->d_name};
    int result = t.name[0] == '.' ? -1 : one_test(&t);
    passed += result == 1;
    failed += result == 0;
    if (result == 0) printf("fails: %s: %s\n", t.name, t.reason);
    if (result == 0 && !documented((const char *)page, t.name)) unlisted++;
    if (result == 1 && documented((const char *)page, t.name)) {
      printf("passes, but is listed as failing: %s\n", t.name);
      unlisted++;
    }
    free(entries[k]);
  }
  free(entries);
  free(page);
  printf("ONNX node tests in scope: %d pass, %d fail\n", passed, failed);
  assert_true(passed >= 140);
  assert_int_equal(unlisted, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(conformance)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
