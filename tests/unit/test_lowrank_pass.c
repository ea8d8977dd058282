// SPDX-License-Identifier: Apache-2.0
// Low rank in recipes: ranks by layer, the promise, what cannot be done; ResNet-20 where its file
// and data are there.
#include "host/compress/pipeline.h"
#include "host/data/dataset.h"
#include "host/float/session.h"
#include "host/graph/float_edit.h"
#include "host/lowrank/lowrank.h"
#include "tests/unit/train_support.h"

enum { CALIBRATION = 64, MEASURED = 100 };

static uint64_t seed;

static bl_recipe *parse(const char *text) {
  bl_recipe *recipe;
  bl_error err = {0};
  if (bl_recipe_parse("r", text, strlen(text), &recipe, &err) != BL_OK) fail_msg("%s", err.text);
  return recipe;
}

static void hear(void *user, const char *line) {
  char *text = user;
  strcat(strcat(text, line), ";");
}

// Runs a recipe on a network of its own; `said` has room for 400 characters.
static bl_status run_text(const text_net *net, const char *text, bl_network *network, char *said,
                          bl_error *err) {
  bl_float_graph *graph = text_graph(net, seed);
  bl_recipe *recipe = parse(text);
  assert_int_equal(bl_network_open(graph, NULL, network, err), BL_OK);
  network->device = (bl_compile_options){&BL_CONFIGS[BL_CONFIG_DEFAULT], 0};
  network->say = hear;
  network->user = said;
  said[0] = '\0';
  const bl_status status = bl_recipe_run(recipe, network, NULL, NULL, err);
  bl_recipe_free(recipe);
  return status;
}

static const text_net NET = {"net",
                             "x 1 32 8 8",
                             "w 32 32 3 3;v 16 32 3 3;d 4 1024",
                             NULL,
                             "Conv x w > a | pads=i1,1,1,1;Relu a > b;Conv b v > c | pads=i1,1,1,1;"
                             "Flatten c > f;Gemm f d > y | transB=i1",
                             13};

static void ranks_by_layer(void **state) {
  (void)state;
  bl_network network;
  bl_error err = {0};
  char said[400];
  if (run_text(&NET,
               "passes:\n  - tucker:\n      layers:\n        first: {rank-by: rank, rank: 5}\n"
               "        c: {rank-by: rank, rank: 3, rank-in: 4}\n",
               &network, said, &err) != BL_OK)
    fail_msg("%s", err.text);
  assert_non_null(strstr(said, "a: rank 5 of outputs, 5 of inputs, 0.0591 of the weights"));
  assert_non_null(strstr(said, "c: rank 3 of outputs, 4 of inputs, 0.0616 of the weights"));
  assert_int_equal(bl_float_find_node(network.graph, "c/core"), 5);
  assert_int_equal(network.keep_count, 1);
  assert_string_equal(network.keeps[0].what, "weights of factors");
  // 32 x 5 + 45 x 5 + 5 x 32, and 32 x 4 + 4 x 3 x 9 + 3 x 16
  assert_true(network.keeps[0].figure == 545 + 284);
  bl_network_close(&network);
}

// Twice in a row: the factors are left alone, and the promise still holds. Ranks are multiples of
// the device's 8 columns.
static void factors_stay(void **state) {
  (void)state;
  bl_network network;
  bl_error err = {0};
  char said[400];
  assert_int_equal(
      run_text(&NET,
               "passes:\n  - svd: {rank-by: weights, share: 0.4, layers: {y: {apply: false}}}\n"
               "  - svd: {rank-by: weights, share: 0.99}\n",
               &network, said, &err),
      BL_OK);
  // 9216 x 0.4 / (288 + 32) is 11, 4608 x 0.4 / (288 + 16) is 6 and so none; then y as well
  assert_non_null(strstr(said, "a: rank 8, 0.278 of the weights"));
  assert_non_null(strstr(said, "c: stays"));
  assert_non_null(strstr(said, "c: rank 8, 0.528 of the weights"));
  assert_null(strstr(said, "a/u"));
  bl_network_close(&network);
}

static uint32_t rank_of(const char *said, char layer) {
  const char key[] = {layer, ':', ' ', 'r', 'a', 'n', 'k', ' ', '\0'};
  const char *at = strstr(said, key);
  return at != NULL ? (uint32_t)strtoul(at + strlen(key), NULL, 10) : 0;
}

// Under one budget for all layers: of all pairs of ranks the one that keeps the largest product of
// energies, found here by trying all.
static void one_budget(void **state) {
  (void)state;
  const bl_lowrank_options options = {.multiple = 8};
  bl_lowrank_point a[BL_LOWRANK_MOST_POINTS], c[BL_LOWRANK_MOST_POINTS];
  bl_network network;
  bl_error err = {0};
  char said[400];
  uint32_t a_count, c_count, best[2] = {0};
  double most = -1;
  bl_float_graph *g = text_graph(&NET, seed);
  assert_int_equal(bl_lowrank_curve(g, "a", &options, NULL, a, &a_count, &err), BL_OK);
  assert_int_equal(bl_lowrank_curve(g, "c", &options, NULL, c, &c_count, &err), BL_OK);
  for (uint32_t i = 0; i < a_count; i++)
    for (uint32_t j = 0; j < c_count; j++) {
      const double kept = (1 - a[i].error) * (1 - c[j].error);
      if ((double)(a[i].macs + c[j].macs) > 0.7 * (double)(a[0].macs + c[0].macs) || kept <= most)
        continue;
      most = kept;
      best[0] = a[i].rank;
      best[1] = c[j].rank;
    }
  bl_float_graph_free(g);
  if (run_text(&NET, "passes:\n  - svd: {share: 0.7, layers: {y: {apply: false}}}\n", &network,
               said, &err) != BL_OK)
    fail_msg("%s", err.text);
  assert_int_equal(rank_of(said, 'a'), best[0]);
  assert_int_equal(rank_of(said, 'c'), best[1]);
  bl_network_close(&network);
}

static void nothing_to_do(void **state) {
  (void)state;
  bl_network network;
  bl_error err = {0};
  char said[400];
  assert_int_equal(
      run_text(&NET, "passes:\n  - cp: {layers: {\"*\": {apply: false}}}\n", &network, said, &err),
      BL_ERR_USAGE);
  assert_non_null(strstr(err.text, "r:2: cp: no layer gets smaller that way"));
  bl_network_close(&network);
  err = (bl_error){0};
  assert_int_equal(
      run_text(&NET, "passes:\n  - svd: {rank-by: rank, rank: 40}\n", &network, said, &err),
      BL_ERR_USAGE);
  assert_non_null(strstr(err.text, "r:2: svd: layer a: rank 40; 1 to 32 are possible"));
  bl_network_close(&network);
}

// ---- ResNet-20

static bl_train_data images(size_t skip, size_t count) {
  const bl_dataset_source source = {
      .images = data_folder("cifar10/train_20000_balanced.bin.gz"), .skip = skip, .limit = count};
  bl_preprocess p = bl_preprocess_identity();
  const double mean[3] = {0.485, 0.456, 0.406}, deviation[3] = {0.229, 0.224, 0.225};
  p.scale = 1.0 / 255;
  p.channels = 3;
  memcpy(p.mean, mean, sizeof mean);
  memcpy(p.std, deviation, sizeof deviation);
  bl_dataset dataset;
  bl_train_data data;
  bl_error err = {0};
  assert_int_equal(bl_dataset_open(&source, &dataset, &err), BL_OK);
  if (bl_train_data_load(&dataset, &p, BL_LAYOUT_NCHW, 10, &data, &err) != BL_OK)
    fail_msg("%s", err.text);
  bl_dataset_free(&dataset);
  return data;
}

static void take_figures(void *user, const bl_stage_figures *figures, const bl_kept *kept,
                         uint32_t count) {
  (void)kept;
  (void)count;
  *(bl_stage_figures *)user = *figures;
}

// The figure of docs/reference/low-rank.md: half of the multiply-accumulates, without training.
static void resnet20_halved(void **state) {
  (void)state;
  const char *found = data_folder("models/resnet20_cifar10.onnx");
  if (found == NULL || data_folder("cifar10/train_20000_balanced.bin.gz") == NULL) return;
  char path[4096];
  (void)snprintf(path, sizeof path, "%s", data_folder("models/resnet20_cifar10.onnx"));
  bl_train_data calibration = images(0, CALIBRATION), held_out = images(19000, MEASURED);
  bl_stage_figures figures[2];
  for (int k = 0; k < 2; k++) {
    bl_recipe *recipe = parse(k == 0 ? "passes:\n  - spatial-svd: {samples: 48}\n"
                                     : "passes:\n  - spatial-svd: {data: false, repair: none}\n");
    bl_float_graph *graph;
    bl_network network;
    bl_error err = {0};
    assert_int_equal(bl_onnx_import(path, NULL, &graph, &err), BL_OK);
    assert_int_equal(bl_network_open(graph, NULL, &network, &err), BL_OK);
    network.device = (bl_compile_options){&BL_CONFIGS[BL_CONFIG_DEFAULT], 0};
    network.data = (bl_network_data){&calibration, NULL, &held_out};
    network.threads = 1;
    if (bl_recipe_run(recipe, &network, take_figures, &figures[k], &err) != BL_OK)
      fail_msg("%s", err.text);
    printf("ResNet-20, half of the macs, %s data: %llu of %llu right, %.0f cycles, %llu bytes\n",
           k == 0 ? "with" : "without", (unsigned long long)figures[k].correct,
           (unsigned long long)figures[k].samples, figures[k].cycles,
           (unsigned long long)figures[k].bytes);
    bl_network_close(&network);
    bl_recipe_free(recipe);
  }
  assert_true(figures[0].correct >= MEASURED * 8 / 10 && figures[0].cycles < 830000);
  assert_true(figures[0].correct > figures[1].correct + MEASURED / 5);
  bl_train_data_free(&calibration);
  bl_train_data_free(&held_out);
}

int main(void) {
  seed = test_seed();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(ranks_by_layer),  cmocka_unit_test(factors_stay),
      cmocka_unit_test(one_budget),      cmocka_unit_test(nothing_to_do),
      cmocka_unit_test(resnet20_halved),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
