// SPDX-License-Identifier: Apache-2.0
// What shared weights and coding buy on LeNet-5 without training, with the least that they must:
// the figures of docs/reference/storage.md. Without the data nothing is measured.
#include "host/compress/pipeline.h"
#include "host/graph/float_edit.h"
#include "host/onnx/onnx_import.h"
#include "tests/unit/onnx_support.h"

enum { IMAGES = 500, CALIBRATION = 128 };

typedef struct {
  bl_float_graph *graph;
  bl_train_data calibration, test;
} bench;

static bool load(const char *images, const char *labels, size_t limit, bl_train_data *data) {
  bl_error err = {0};
  bl_dataset dataset;
  bl_preprocess preprocess = bl_preprocess_identity();
  char path[4096];
  preprocess.scale = 1.0 / 255;
  preprocess.mean[0] = 0.1307;
  preprocess.std[0] = 0.3081;
  if (data_folder(images) == NULL) return false;
  (void)snprintf(path, sizeof path, "%s", data_folder(images));
  const bl_dataset_source source = {.images = path, .labels = data_folder(labels), .limit = limit};
  if (bl_dataset_open(&source, &dataset, &err) != BL_OK ||
      bl_train_data_load(&dataset, &preprocess, BL_LAYOUT_NCHW, 10, data, &err) != BL_OK)
    fail_msg("%s", err.text);
  bl_dataset_free(&dataset);
  return true;
}

static void last_stage(void *user, const bl_stage_figures *figures, const bl_kept *kept,
                       uint32_t count) {
  bl_stage_figures *last = user;
  for (uint32_t k = 0; k < count; k++)
    assert_non_null(kept[k].keep);
  *last = *figures;
}

// The network behind these passes and `quantise`.
static bl_stage_figures behind(const bench *b, const char *passes) {
  bl_error err = {0};
  char text[400];
  bl_recipe *recipe;
  bl_float_graph *graph;
  bl_network network;
  bl_stage_figures figures = {0};
  const int size =
      snprintf(text, sizeof text, "passes:\n%s  - quantise: {offset-bits: 6}\n", passes);
  if (bl_recipe_parse("test", text, (size_t)size, &recipe, &err) != BL_OK ||
      bl_float_copy(b->graph, 0, &graph, &err) != BL_OK ||
      bl_network_open(graph, b->graph, &network, &err) != BL_OK)
    fail_msg("%s", err.text);
  network.device = (bl_compile_options){&BL_CONFIGS[BL_CONFIG_DEFAULT], 0};
  network.data = (bl_network_data){&b->calibration, NULL, &b->test};
  network.threads = 1;
  if (bl_recipe_run(recipe, &network, last_stage, &figures, &err) != BL_OK)
    fail_msg("%s", err.text);
  bl_network_close(&network);
  bl_recipe_free(recipe);
  return figures;
}

static void lenet(void **state) {
  (void)state;
  static const struct {
    const char *name, *passes;
    uint64_t correct, bytes; // at least, at most
  } cases[] = {
      {"8 bits", "", 493, 62000},
      {"15 values", "  - share: {clusters: 15}\n", 492, 30500},
      {"7 values", "  - share: {clusters: 7}\n", 488, 23000},
      {"30 % and 7 values",
       "  - prune: {sparsity: 0.7, keep-first: false}\n  - share: {clusters: 7}\n", 484, 14000},
  };
  const bl_onnx_options one = {.batch = 1, .rebatch = true};
  bl_error err = {0};
  bench b = {0};
  const char *path = data_folder("models/lenet-5.onnx");
  if (path == NULL) skip();
  if (bl_onnx_import(path, &one, &b.graph, &err) != BL_OK) fail_msg("%s", err.text);
  if (load("mnist/train-images-idx3-ubyte.gz", "mnist/train-labels-idx1-ubyte.gz", CALIBRATION,
           &b.calibration) &&
      load("mnist/t10k-images-idx3-ubyte.gz", "mnist/t10k-labels-idx1-ubyte.gz", IMAGES, &b.test))
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
      const bl_stage_figures f = behind(&b, cases[k].passes);
      printf("%-18s %llu of %d, %llu bytes coded\n", cases[k].name, (unsigned long long)f.correct,
             (int)IMAGES, (unsigned long long)f.coded);
      assert_true(f.integer && f.samples == IMAGES);
      assert_true(f.correct >= cases[k].correct && f.coded <= cases[k].bytes);
    }
  bl_train_data_free(&b.calibration);
  bl_train_data_free(&b.test);
  bl_float_graph_free(b.graph);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(lenet)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
