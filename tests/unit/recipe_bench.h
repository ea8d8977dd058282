// SPDX-License-Identifier: Apache-2.0
// Recipes on real networks: what each of their stages gets right of training images that were held
// out. Where the data are absent nothing is opened, and a word is printed.
#ifndef BITLOOM_TESTS_UNIT_RECIPE_BENCH_H
#define BITLOOM_TESTS_UNIT_RECIPE_BENCH_H

#include "host/compress/pipeline.h"
#include "host/graph/float_edit.h"
#include "host/onnx/onnx_import.h"
#include "tests/unit/onnx_support.h"

enum { BENCH_STAGES = 24 };

typedef struct {
  const char *model, *images, *labels;
  bl_preprocess preprocess;
} bench_net;

static const bench_net LENET5 = {
    "models/lenet-5.onnx",
    "mnist/train-images-idx3-ubyte.gz",
    "mnist/train-labels-idx1-ubyte.gz",
    {.scale = 1.0 / 255, .channels = 1, .mean = {0.1307}, .std = {0.3081}, .input_mul = 1}};
static const bench_net RESNET20 = {"models/resnet20_cifar10.onnx",
                                   "cifar10/train_20000_balanced.bin.gz",
                                   NULL,
                                   {.scale = 1.0 / 255,
                                    .channels = 3,
                                    .mean = {0.485, 0.456, 0.406},
                                    .std = {0.229, 0.224, 0.225},
                                    .input_mul = 1}};
static const bench_net RESNET8 = {"models/ic_resnet8_float.onnx",
                                  "cifar10/train_20000_balanced.bin.gz",
                                  NULL,
                                  {.scale = 1, .channels = 1, .std = {1}, .input_mul = 1}};

typedef struct {
  bl_float_graph *graph; // as imported, of batch 1
  bl_train_data train, held_out, calibration;
} bench;

static inline bl_train_data bench_images(const bench_net *net, size_t skip, size_t limit) {
  char images[4096];
  bl_dataset dataset;
  bl_train_data data;
  bl_error err = {0};
  (void)snprintf(images, sizeof images, "%s", data_folder(net->images));
  const bl_dataset_source source = {.images = images,
                                    .labels = net->labels != NULL ? data_folder(net->labels) : NULL,
                                    .skip = skip,
                                    .limit = limit};
  if (bl_dataset_open(&source, &dataset, &err) != BL_OK ||
      bl_train_data_load(&dataset, &net->preprocess, BL_LAYOUT_NCHW, 10, &data, &err) != BL_OK)
    fail_msg("%s", err.text);
  bl_dataset_free(&dataset);
  return data;
}

// Images skip.. of the training file: `count` to train on, the `held_out` behind them to measure;
// the first `calibration` of the former give ranges.
static inline bool open_bench(bench *b, const bench_net *net, size_t skip, size_t count,
                              size_t calibration, size_t held_out) {
  const bl_onnx_options one = {.batch = 1, .rebatch = true};
  bl_error err = {0};
  *b = (bench){0};
  if (data_folder(net->images) == NULL) return false;
  const char *path = data_folder(net->model);
  if (path == NULL) return false;
  if (bl_onnx_import(path, &one, &b->graph, &err) != BL_OK) fail_msg("%s", err.text);
  b->train = bench_images(net, skip, count);
  b->held_out = bench_images(net, skip + count, held_out);
  b->calibration = b->train;
  b->calibration.count = calibration;
  return true;
}

static inline void close_bench(bench *b) {
  bl_train_data_free(&b->train);
  bl_train_data_free(&b->held_out);
  bl_float_graph_free(b->graph);
}

// Of a group of tests: *state NULL where the data are absent.
static inline int bench_open_group(void **state, const bench_net *net, size_t skip, size_t count,
                                   size_t calibration, size_t held_out) {
  static bench b;
  *state = open_bench(&b, net, skip, count, calibration, held_out) ? &b : NULL;
  return 0;
}

static inline int bench_close_group(void **state) {
  if (*state != NULL) close_bench(*state);
  return 0;
}

typedef struct {
  bl_stage_figures stages[BENCH_STAGES]; // 0: as it came
  uint32_t count;
} bench_figures;

static inline void bench_stage(void *user, const bl_stage_figures *figures, const bl_kept *kept,
                               uint32_t kept_count) {
  bench_figures *all = user;
  (void)kept;
  (void)kept_count;
  assert_true(all->count < BENCH_STAGES);
  all->stages[all->count++] = *figures;
}

static inline double bench_percent(const bl_stage_figures *figures) {
  return 100.0 * (double)figures->correct / (double)figures->samples;
}

// All stages of a recipe: passes are lines such as "  - quantise: {weight-bits: 4}\n".
static inline void bench_run(const bench *b, const char *passes, bench_figures *figures) {
  bl_error err = {0};
  char text[4096];
  bl_recipe *recipe;
  bl_float_graph *graph;
  bl_network network;
  const int size = snprintf(text, sizeof text, "passes:\n%s", passes);
  *figures = (bench_figures){0};
  assert_true(size > 0 && (size_t)size < sizeof text);
  if (bl_recipe_parse("test", text, (size_t)size, &recipe, &err) != BL_OK ||
      bl_float_copy(b->graph, 0, &graph, &err) != BL_OK ||
      bl_network_open(graph, b->graph, &network, &err) != BL_OK)
    fail_msg("%s", err.text);
  network.device = (bl_compile_options){&BL_CONFIGS[BL_CONFIG_DEFAULT], 0};
  network.data = (bl_network_data){&b->calibration, &b->train, &b->held_out};
  network.threads = 1;
  network.seed = 1;
  if (bl_recipe_run(recipe, &network, bench_stage, figures, &err) != BL_OK)
    fail_msg("%s", err.text);
  bl_network_close(&network);
  bl_recipe_free(recipe);
}

// Percent right behind the last of these passes.
static inline double bench_last(const bench *b, const char *name, const char *passes) {
  bench_figures figures;
  bench_run(b, passes, &figures);
  const double got = bench_percent(&figures.stages[figures.count - 1]);
  printf("%s: %.1f %%\n", name, got);
  return got;
}

#endif
