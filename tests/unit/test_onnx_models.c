// SPDX-License-Identifier: Apache-2.0
// Real models: every one of the data folder is imported and run, and what expected.json holds
// (computed by ONNX Runtime, and by an independent float64 runner for QONNX) must come out: the
// first eight outputs within 1e-4*max(1,|value|), and the number of correct answers.
#include <cjson/cJSON.h>

#include "host/float/session.h"
#include "host/onnx/onnx_import.h"
#include "tests/unit/onnx_support.h"

// Where a model's samples come from and what happens to them: x' = (scale*x - mean) / std.
typedef struct {
  const char *model, *preprocess; // as in expected.json; preprocess NULL: not in it
  const char *images, *labels;    // labels NULL: CIFAR records, a label before each image
  size_t elements;
  bool is_signed, channels_last;
  double scale, mean[3], std[3];
  int64_t batch;
  int slack;        // answers that may differ from expected.json's count
  double tolerance; // of the first eight outputs; 0: not compared
} model_case;

#define MNIST "mnist/t10k-images-idx3-ubyte.gz", "mnist/t10k-labels-idx1-ubyte.gz", 784
#define CIFAR "cifar10/test_1000_balanced.bin.gz", NULL, 3072
#define KWS01                                                                                      \
  "speech-commands/kws01-mfcc-int8.idx3-byte.gz", "speech-commands/kws01-labels.idx1-ubyte.gz", 490
#define KWS_FINN                                                                                   \
  "speech-commands/kws-finn-mfcc-int8.idx3-byte.gz",                                               \
      "speech-commands/kws-finn-labels.idx1-ubyte.gz", 490
#define ALL(x)                                                                                     \
  { (x), (x), (x) }

static const double exact = 1e-4;

static const model_case cases[] = {
    {"models/mnist-8.onnx", "x/255", MNIST, false, false, 1 / 255.0, ALL(0), ALL(1), 50, 0, exact},
    {"models/mnist-8.onnx", "x (0..255)", MNIST, false, false, 1, ALL(0), ALL(1), 50, 0, exact},
    {"models/lenet-5.onnx", "(x/255-0.1307)/0.3081", MNIST, false, false, 1 / 255.0, ALL(0.1307),
     ALL(0.3081), 50, 0, exact},
    {"models/TFC_1W1A.onnx", "x/255", MNIST, false, false, 1 / 255.0, ALL(0), ALL(1), 50, 1, exact},
    {"models/TFC_1W2A.onnx", "x/255", MNIST, false, false, 1 / 255.0, ALL(0), ALL(1), 50, 1, exact},
    {"models/kwsmlp_w3a3_mlperf_v07.onnx", "q*0.33674246072769165, [N,1,10,49]", KWS_FINN, true,
     false, 0.33674246072769165, ALL(0), ALL(1), 50, 1, exact},
    {"models/ic_resnet8_float.onnx", "x (0..255)", CIFAR, false, false, 1, ALL(0), ALL(1), 20, 0,
     exact},
    {"models/resnet20_cifar10.onnx",
     "(x/255-(.485,.456,.406))/(.229,.224,.225)",
     CIFAR,
     false,
     false,
     1 / 255.0,
     {0.485, 0.456, 0.406},
     {0.229, 0.224, 0.225},
     20,
     0,
     exact},
    {"models/kws_dscnn_float.onnx", "(q-83)*0.5847029", KWS01, true, false, 0.5847029,
     ALL(83 * 0.5847029), ALL(1), 20, 0, exact},
    {"models/kws_dscnn_int8_qdq.onnx", "(q-83)*0.5847029", KWS01, true, false, 0.5847029,
     ALL(83 * 0.5847029), ALL(1), 20, 3, 0},
    {"models/ic_resnet8_int8_qdq.onnx", "x (0..255)", CIFAR, false, true, 1, ALL(0), ALL(1), 20, 3,
     0},
    {"models/vww_mobilenetv1_025_96_float.onnx", NULL, NULL, NULL, 27648, false, false, 1, ALL(0),
     ALL(1), 2, 0, 0},
    {"models/vww_mobilenetv1_int8_qdq.onnx", NULL, NULL, NULL, 27648, false, false, 1, ALL(0),
     ALL(1), 2, 0, 0},
    {"models/ad01_autoencoder_float.onnx", NULL, NULL, NULL, 640, false, false, 1, ALL(0), ALL(1),
     2, 0, 0},
    {"models/ad_autoencoder_int8_qdq.onnx", NULL, NULL, NULL, 640, false, false, 1, ALL(0), ALL(1),
     2, 0, 0},
};

typedef struct {
  const model_case *c;
  uint8_t *images, *labels; // whole files
  size_t count;
  float *outputs; // [count][classes]
  size_t classes;
} outcome;

static const uint8_t *image(const outcome *o, size_t index) {
  return o->c->labels == NULL ? o->images + index * (o->c->elements + 1) + 1
                              : o->images + 16 + index * o->c->elements;
}

static uint8_t label(const outcome *o, size_t index) {
  return o->c->labels == NULL ? o->images[index * (o->c->elements + 1)] : o->labels[8 + index];
}

static void load_sample(const outcome *o, size_t index, float *to) {
  const model_case *c = o->c;
  size_t planes = c->elements == 3072 ? 3 : 1, area = c->elements / planes;
  for (size_t k = 0; k < c->elements; k++) {
    uint8_t byte = image(o, index)[k];
    double x = c->is_signed ? (double)(int8_t)byte : (double)byte;
    size_t channel = k / area, at = c->channels_last ? k % area * planes + channel : k;
    to[at] = (float)((c->scale * x - c->mean[channel]) / c->std[channel]);
  }
}

static bool load_data(outcome *o) {
  const char *path = data_folder(o->c->images);
  if (path == NULL) return false;
  size_t size;
  o->images = slurp(path, &size);
  o->count = o->c->labels == NULL ? size / (o->c->elements + 1) : (size - 16) / o->c->elements;
  if (o->c->labels != NULL) {
    o->labels = slurp(data_folder(o->c->labels), &size);
    assert_int_equal(size, o->count + 8);
  }
  return true;
}

static bl_float_graph *import_model(const model_case *c) {
  const char *path = data_folder(c->model);
  if (path == NULL) return NULL;
  const bl_onnx_options options = {.batch = c->batch, .rebatch = true};
  bl_float_graph *graph = NULL;
  bl_error err = {0};
  if (bl_onnx_import(path, &options, &graph, &err) != BL_OK) fail_msg("%s", err.text);
  assert_int_equal(graph->input_count, 1);
  assert_int_equal(graph->values[graph->inputs[0]].dims[0], c->batch);
  return graph;
}

static void run_all(outcome *o, const bl_float_graph *graph) {
  bl_error err = {0};
  bl_float_session *session = NULL;
  if (bl_float_session_open(graph, &session, &err) != BL_OK) fail_msg("%s", err.text);
  bl_value *input = bl_float_session_input(session, 0);
  size_t batch = (size_t)o->c->batch;
  assert_int_equal(input->count, batch * o->c->elements);
  o->classes = graph->values[graph->outputs[0]].count / batch;
  o->outputs = malloc(o->count * o->classes * sizeof *o->outputs);
  assert_non_null(o->outputs);
  for (size_t first = 0; first < o->count; first += batch) {
    size_t n = o->count - first < batch ? o->count - first : batch;
    for (size_t k = 0; k < n; k++)
      load_sample(o, first + k, input->f + k * o->c->elements);
    if (bl_float_session_run(session, &err) != BL_OK) fail_msg("%s", err.text);
    const bl_value *output = bl_float_session_value(session, graph->outputs[0]);
    memcpy(o->outputs + first * o->classes, output->f, n * o->classes * sizeof *o->outputs);
  }
  bl_float_session_close(session);
}

static size_t answer(const outcome *o, size_t index) {
  const float *y = o->outputs + index * o->classes;
  size_t best = 0;
  for (size_t k = 1; k < o->classes; k++)
    if (y[k] > y[best]) best = k;
  return best;
}

static void compare_first8(const outcome *o, const cJSON *row) {
  const cJSON *sample, *want;
  double worst = 0;
  size_t k = 0;
  cJSON_ArrayForEach(sample, cJSON_GetObjectItem(row, "first8_outputs")) {
    assert_int_equal(cJSON_GetArraySize(sample), o->classes);
    cJSON_ArrayForEach(want, sample) {
      double value = want->valuedouble;
      double error = fabs((double)o->outputs[k++] - value) / fmax(1, fabs(value));
      worst = error > worst ? error : worst;
    }
  }
  assert_int_equal(k, 8 * o->classes);
  printf("  first 8 outputs: largest error %.2g of max(1,|value|)\n", worst);
  if (o->c->tolerance > 0 && worst > o->c->tolerance) fail_msg("%s: outputs differ", o->c->model);
}

// QONNX with recorded predictions: at least as many agree as for the independent runner.
static void compare_recorded(const outcome *o, const cJSON *row) {
  const cJSON *agree = cJSON_GetObjectItem(row, "agree_with_recorded_predictions");
  if (agree == NULL) return;
  size_t size;
  uint8_t *recorded =
      slurp(data_folder("speech-commands/kws-finn-recorded-predictions.idx1-ubyte.gz"), &size);
  int same = 0;
  for (size_t k = 0; k < o->count; k++)
    same += recorded[8 + k] == answer(o, k);
  free(recorded);
  printf("  %d of %zu agree with the recorded predictions\n", same, o->count);
  assert_true(same >= agree->valueint);
}

static const cJSON *find_row(const cJSON *root, const model_case *c) {
  const cJSON *row;
  cJSON_ArrayForEach(row, cJSON_GetObjectItem(root, "results")) {
    if (strcmp(cJSON_GetObjectItem(row, "model")->valuestring, c->model) == 0 &&
        strcmp(cJSON_GetObjectItem(row, "preprocess")->valuestring, c->preprocess) == 0)
      return row;
  }
  fail_msg("%s is not in expected.json", c->model);
  return NULL;
}

static void compare(const outcome *o, const cJSON *row) {
  int correct = 0, expected = cJSON_GetObjectItem(row, "correct")->valueint;
  for (size_t k = 0; k < o->count; k++)
    correct += answer(o, k) == label(o, k);
  printf("%s, %s: %d of %zu correct, expected %d\n", o->c->model, o->c->preprocess, correct,
         o->count, expected);
  compare_first8(o, row);
  compare_recorded(o, row);
  assert_true(abs(correct - expected) <= o->c->slack);
}

// Two samples of a ramp: outputs are finite and the batch gives what a single sample gives.
static void only_run(outcome *o, const bl_float_graph *graph) {
  uint8_t *ramp = malloc(16 + 2 * o->c->elements);
  assert_non_null(ramp);
  for (size_t k = 0; k < 16 + 2 * o->c->elements; k++)
    ramp[k] = (uint8_t)((k - 16) % o->c->elements % 7);
  model_case c = *o->c;
  c.labels = "";
  o->c = &c;
  o->images = ramp;
  o->count = 2;
  run_all(o, graph);
  for (size_t k = 0; k < o->classes; k++) {
    assert_true(isfinite(o->outputs[k]));
    assert_true(fabsf(o->outputs[k] - o->outputs[k + o->classes]) <= 1e-5F);
  }
  printf("%s: imported and run, %u nodes\n", c.model, graph->node_count);
}

static void model(void **state) {
  outcome o = {.c = *state};
  bl_float_graph *graph = import_model(o.c);
  if (graph == NULL) skip();
  if (o.c->preprocess == NULL) {
    only_run(&o, graph);
  } else if (load_data(&o)) {
    size_t size;
    uint8_t *text = slurp(data_folder("expected.json"), &size);
    cJSON *root = cJSON_ParseWithLength((const char *)text, size);
    assert_non_null(root);
    run_all(&o, graph);
    compare(&o, find_row(root, o.c));
    cJSON_Delete(root);
    free(text);
  }
  bl_float_graph_free(graph);
  free(o.images);
  free(o.labels);
  free(o.outputs);
}

int main(void) {
  struct CMUnitTest tests[sizeof cases / sizeof *cases];
  model_case copies[sizeof cases / sizeof *cases];
  memcpy(copies, cases, sizeof cases);
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
    tests[k] = (struct CMUnitTest){
        .name = copies[k].model, .test_func = model, .initial_state = &copies[k]};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
