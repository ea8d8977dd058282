// SPDX-License-Identifier: Apache-2.0
// Pruning by recipe: what is pruned stays pruned through training and quantisation, gradually too;
// channels leave; what makes no sense is said.
#include <math.h>
#include <unistd.h>

#include "host/compress/pipeline.h"
#include "host/compress/pruning.h"
#include "host/compress/recipe.h"
#include "host/graph/float_edit.h"
#include "tests/unit/train_support.h"

enum { SAMPLES = 128, ELEMENTS = 64 };

static uint64_t seed = 1;

// 8 x 8 pixels; the label is the brighter half.
static const text_net NET = {"halves",
                             "x 1 1 8 8",
                             "w 16 1 3 3;b 16;c 24 16 3 3;d 24;g 384 2;h 2",
                             "s 2 =1,384",
                             "Conv x w b > first | pads=i1,1,1,1 strides=i2,2;Relu first > r;"
                             "Conv r c d > second | pads=i1,1,1,1;Relu second > q;"
                             "Reshape q s > f;Gemm f g h > y",
                             11};

typedef struct {
  float values[SAMPLES * ELEMENTS];
  int64_t labels[SAMPLES];
  bl_train_data data;
  bl_float_graph *original;
  bl_network network;
} fixture;

static fixture *open_fixture(void) {
  static fixture f;
  bl_error err = {0};
  bl_float_graph *graph = text_graph(&NET, seed);
  for (size_t n = 0; n < SAMPLES; n++) {
    f.labels[n] = (int64_t)(bl_random_key(seed, n) % 2);
    for (size_t k = 0; k < ELEMENTS; k++)
      f.values[n * ELEMENTS + k] = (float)bl_random_unit(bl_random_key(bl_random_key(seed, n), k)) +
                                   ((int64_t)(k / 32) == f.labels[n] ? 0.3F : 0.0F);
  }
  f.data = (bl_train_data){.values = f.values,
                           .labels = f.labels,
                           .count = SAMPLES,
                           .elements = ELEMENTS,
                           .has_labels = true,
                           .rows_last = true,
                           .shape = {8, 8, 1},
                           .black_count = 1};
  assert_int_equal(bl_float_copy(graph, 0, &f.original, &err), BL_OK);
  assert_int_equal(bl_network_open(graph, f.original, &f.network, &err), BL_OK);
  f.network.device = (bl_compile_options){&BL_CONFIGS[BL_CONFIG_DEFAULT], 1};
  f.network.data = (bl_network_data){&f.data, &f.data, &f.data};
  f.network.threads = 1;
  return &f;
}

static void close_fixture(fixture *f) {
  bl_network_close(&f->network);
  bl_float_graph_free(f->original);
}

static bl_status run(fixture *f, const char *passes, bl_error *err) {
  char text[1024];
  bl_recipe *recipe;
  (void)snprintf(text, sizeof text, "passes:\n%s", passes);
  BL_TRY(bl_recipe_parse("r", text, strlen(text), &recipe, err));
  const bl_status status = bl_recipe_run(recipe, &f->network, NULL, NULL, err);
  bl_recipe_free(recipe);
  return status;
}

static void runs(fixture *f, const char *passes) {
  bl_error err = {0};
  if (run(f, passes, &err) != BL_OK) fail_msg("%s", err.text);
}

static size_t zeros_of(const fixture *f, const char *value) {
  const bl_value *v = bl_network_value(&f->network, value);
  size_t zeros = 0;
  for (size_t k = 0; k < v->count; k++)
    zeros += v->f[k] == 0;
  return zeros;
}

// 3,456 weights in the second layer, 768 in the third.
static void weights(void **state) {
  (void)state;
  fixture *f = open_fixture();
  runs(f, "  - prune: {sparsity: 0.75, layers: {last: {sparsity: 0.25}}}\n"
          "  - quantise: {weight-bits: 4, activation-bits: 4, rounding: gptq}\n"
          "  - train: {epochs: 2, batch: 16, lr: 0.001}\n");
  assert_int_equal(zeros_of(f, "w"), 0);
  assert_int_equal(zeros_of(f, "c"), 2592);
  assert_int_equal(zeros_of(f, "g"), 192);
  close_fixture(f);
  f = open_fixture();
  runs(f, "  - prune: {threshold: 0.2, classes: dense}\n");
  size_t small = 0;
  const bl_value *g = bl_network_value(&f->network, "g");
  const float *old = f->original->values[bl_float_find_value(f->original, "g")].f;
  float largest = 0;
  for (size_t k = 0; k < g->count; k++)
    largest = fmaxf(largest, fabsf(old[k]));
  for (size_t k = 0; k < g->count; k++)
    small += (double)fabsf(old[k]) < 0.2 * (double)largest;
  assert_int_equal(zeros_of(f, "g"), small);
  assert_int_equal(zeros_of(f, "c"), 0);
  close_fixture(f);
}

// Whole layers of zeros train and run, too.
static void nearly_everything(void **state) {
  (void)state;
  fixture *f = open_fixture();
  runs(f, "  - prune: {sparsity: 0.97, granularity: block, score: random, keep-first: false}\n"
          "  - quantise: {weight-bits: 3, activation-bits: 3, rounding: gptq}\n"
          "  - train: {epochs: 1, batch: 16, lr: 0.001}\n");
  assert_true(zeros_of(f, "c") > 3000);
  close_fixture(f);
  f = open_fixture();
  runs(f, "  - prune: {sparsity: 1, keep-first: false}\n"
          "  - quantise: {weight-bits: 4, activation-bits: 4}\n"
          "  - train: {epochs: 1, batch: 16, lr: 0.001}\n");
  assert_int_equal(zeros_of(f, "c"), 3456);
  close_fixture(f);
}

// 5 words of a window (a word has two of nine taps of 16 channels) by 3 tiles, 12 by one.
static void blocks(void **state) {
  (void)state;
  fixture *f = open_fixture();
  runs(f, "  - prune: {sparsity: 0.4, granularity: block, scope: layer, score: taylor}\n");
  assert_int_equal(zeros_of(f, "g") % 64, 0); // 32 channels of a word by two neurons
  assert_true(zeros_of(f, "c") >= 6 * 16 * 8 && zeros_of(f, "c") <= 6 * 32 * 8);
  close_fixture(f);
}

static void gradual(void **state) {
  (void)state;
  fixture *f = open_fixture();
  runs(f, "  - prune: {sparsity: 0.8, gradual: true, every: 2, scope: layer, end: 0.5}\n"
          "  - train: {epochs: 4, batch: 16, lr: 0.001, teacher: none}\n"
          "  - train: {epochs: 1, batch: 16, lr: 0.001, teacher: none}\n");
  assert_int_equal(zeros_of(f, "c"), 2765); // 2764.8
  assert_int_equal(zeros_of(f, "g"), 614);  // 614.4
  close_fixture(f);
  f = open_fixture();
  bl_error err = {0};
  assert_int_equal(run(f, "  - prune: {gradual: true}\n", &err), BL_ERR_USAGE);
  assert_non_null(strstr(err.text, "no train follows"));
  close_fixture(f);
}

static void channels(void **state) {
  (void)state;
  fixture *f = open_fixture();
  bl_stage_figures before = {0}, after = {0};
  bl_error err = {0};
  assert_int_equal(bl_network_measure(&f->network, &before, &err), BL_OK);
  runs(f, "  - prune-channels: {amount: 0.5}\n"
          "  - train: {epochs: 1, batch: 16, lr: 0.001}\n"
          "  - quantise: {weight-bits: 8, activation-bits: 8}\n");
  const bl_value *w = bl_network_value(&f->network, "c");
  assert_true(w->dims[0] == 16 && w->dims[1] == 8); // 12 is no multiple of 8 columns
  assert_int_equal(bl_network_measure(&f->network, &after, &err), BL_OK);
  assert_true(after.cycles < 0.6 * before.cycles);
  assert_int_equal(after.weights, 8 * 9 + 16 * 8 * 9 + 256 * 2);
  close_fixture(f);
}

static void refusals(void **state) {
  (void)state;
  fixture *f = open_fixture();
  bl_error err = {0};
  assert_int_equal(run(f, "  - prune-channels: {score: gamma}\n", &err), BL_ERR_USAGE);
  assert_non_null(strstr(err.text, "r:2: prune-channels: "));
  assert_non_null(strstr(err.text, "no batch normalisation"));
  f->network.data.training = NULL;
  err = (bl_error){0};
  assert_int_equal(run(f, "  - prune: {score: taylor}\n", &err), BL_ERR_USAGE);
  assert_non_null(strstr(err.text, "need data"));
  err = (bl_error){0};
  assert_int_equal(run(f, "  - prune: {sparsity: 1.2}\n", &err), BL_ERR_FORMAT);
  // 1-bit weights have no zero: what was pruned would come back.
  err = (bl_error){0};
  assert_int_equal(run(f, "  - prune: {sparsity: 0.5}\n  - quantise: {weight-bits: 1}\n", &err),
                   BL_ERR_MISMATCH);
  assert_non_null(
      strstr(err.text, "r:3: quantise: breaks what prune in line 2 promised: sparsity"));
  // Blocks that no device has: nothing is left behind to be closed.
  bl_config odd = BL_CONFIGS[BL_CONFIG_DEFAULT];
  const struct bl_pruning blocks = {.blocks = true};
  bl_prune_schedule schedule;
  odd.lanes = 12;
  f->network.device.config = &odd;
  f->network.pruning = &blocks;
  err = (bl_error){0};
  assert_int_equal(bl_pruning_schedule(&f->network, f->network.graph, 9, &schedule, &err),
                   BL_ERR_RANGE);
  assert_null(schedule.prune);
  close_fixture(f);
}

int main(void) {
  seed = test_seed();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(weights), cmocka_unit_test(nearly_everything), cmocka_unit_test(blocks),
      cmocka_unit_test(gradual), cmocka_unit_test(channels),          cmocka_unit_test(refusals),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
