// SPDX-License-Identifier: Apache-2.0
// What pruning buys on real networks, with the least that it must: the figures of
// docs/reference/pruning.md that need no training. Without the data nothing is measured.
#include <math.h>

#include "host/cost/cost.h"
#include "host/graph/float_edit.h"
#include "host/onnx/onnx_import.h"
#include "host/prune/reconstruct.h"
#include "host/prune/schedule.h"
#include "host/quant/quantise.h"
#include "tests/unit/onnx_support.h"

enum {
  BATCH = 50,
  IMAGES = 500,
  SCORED = 8,
  CALIBRATION = 32,
  RECONSTRUCTED = 100,
  DIGITS = 6000,
  TESTED = 2000,
  EPOCHS = 3
};

typedef struct {
  bl_float_graph *graph; // of batch BATCH
  bl_train_data train, test;
} bench;

static void close_bench(bench *b) {
  bl_train_data_free(&b->train);
  bl_train_data_free(&b->test);
  bl_float_graph_free(b->graph);
}

static bool load(const char *images, const char *labels, const bl_preprocess *preprocess,
                 size_t limit, bl_train_data *data) {
  bl_error err = {0};
  bl_dataset dataset;
  char other[4096];
  const char *path = labels != NULL ? data_folder(labels) : NULL;
  if (labels != NULL && path == NULL) return false;
  if (labels != NULL) (void)snprintf(other, sizeof other, "%s", path);
  path = data_folder(images);
  if (path == NULL) return false;
  const bl_dataset_source source = {
      .images = path, .labels = labels != NULL ? other : NULL, .limit = limit};
  if (bl_dataset_open(&source, &dataset, &err) != BL_OK ||
      bl_train_data_load(&dataset, preprocess, BL_LAYOUT_NCHW, 10, data, &err) != BL_OK)
    fail_msg("%s", err.text);
  bl_dataset_free(&dataset);
  return true;
}

static bool open_model(bench *b, const char *file) {
  bl_error err = {0};
  const bl_onnx_options options = {.batch = BATCH, .rebatch = true};
  const char *path = data_folder(file);
  *b = (bench){0};
  if (path == NULL) return false;
  if (bl_onnx_import(path, &options, &b->graph, &err) != BL_OK) fail_msg("%s", err.text);
  return true;
}

static bool open_bench(bench *b) {
  const bl_preprocess plain = bl_preprocess_identity();
  if (!open_model(b, "models/ic_resnet8_float.onnx")) return false;
  if (load("cifar10/train_20000_balanced.bin.gz", NULL, &plain, BATCH * SCORED, &b->train) &&
      load("cifar10/test_1000_balanced.bin.gz", NULL, &plain, IMAGES, &b->test))
    return true;
  close_bench(b);
  return false;
}

static bool open_digits(bench *b) {
  bl_preprocess p = bl_preprocess_identity();
  p.scale = 1 / 255.0;
  p.mean[0] = 0.1307;
  p.std[0] = 0.3081;
  if (!open_model(b, "models/lenet-5.onnx")) return false;
  if (load("mnist/train-images-idx3-ubyte.gz", "mnist/train-labels-idx1-ubyte.gz", &p, DIGITS,
           &b->train) &&
      load("mnist/t10k-images-idx3-ubyte.gz", "mnist/t10k-labels-idx1-ubyte.gz", &p, TESTED,
           &b->test))
    return true;
  close_bench(b);
  return false;
}

static bl_float_graph *copy_of(const bl_float_graph *graph, int64_t batch) {
  bl_float_graph *copy;
  bl_error err = {0};
  if (bl_float_copy(graph, batch, &copy, &err) != BL_OK) fail_msg("%s", err.text);
  return copy;
}

static double accuracy_of(const bench *b, const bl_float_graph *graph) {
  const bl_train_options frozen = {.frozen = true};
  bl_train_net *net;
  bl_error err = {0};
  double loss, accuracy;
  if (bl_train_open(graph, &frozen, &net, &err) != BL_OK ||
      bl_train_evaluate(net, &b->test, BL_LOSS_CROSS_ENTROPY, &loss, &accuracy, &err) != BL_OK)
    fail_msg("%s", err.text);
  bl_train_close(net);
  return 100 * accuracy;
}

static bl_status read_sample(void *context, size_t index, float *out, bl_error *err) {
  const bl_train_data *data = context;
  (void)err;
  memcpy(out, data->values + index * data->elements, data->elements * sizeof *out);
  return BL_OK;
}

// Cycles of an image on the default device, 4 by 4 bits.
static double cycles_of(const bench *b, const bl_float_graph *graph) {
  bl_compile_options device = {&BL_CONFIGS[BL_CONFIG_DEFAULT], 1};
  const bl_quantise_options options = {.weight_bits = 4, .activation_bits = 4};
  bl_train_data samples = b->train;
  const bl_calibration calibration = {read_sample, &samples, CALIBRATION};
  bl_float_graph *one = copy_of(graph, 1);
  bl_quantised made;
  bl_error err = {0};
  if (bl_quantise(one, &options, &calibration, &made, &err) != BL_OK) fail_msg("%s", err.text);
  const double cycles = bl_cost_graph(&device, made.graph);
  bl_arena_free(made.graph->arena);
  bl_float_graph_free(one);
  return cycles;
}

static bl_prune *scored(const bench *b, bl_prune_score score) {
  bl_prune *p;
  bl_error err = {0};
  if (bl_prune_open(b->graph, &p, &err) != BL_OK) fail_msg("%s", err.text);
  const bl_status status = score == BL_PRUNE_MAGNITUDE || score == BL_PRUNE_RANDOM
                               ? bl_prune_score_graph(p, b->graph, score, 1, &err)
                               : bl_prune_score_data(p, b->graph, &b->train, SCORED, score, &err);
  if (status != BL_OK) fail_msg("%s", err.text);
  return p;
}

// Accuracy, and cycles where they are asked for; `samples` to reconstruct with.
static double prune(const bench *b, bl_prune_score score, bool blocks, double amount,
                    bool each_layer, uint64_t samples, double *cycles) {
  bl_error err = {0};
  bl_prune *p = scored(b, score);
  const bl_config *config = &BL_CONFIGS[BL_CONFIG_DEFAULT];
  const bl_prune_options options = {
      .amount = amount, .each_layer = each_layer, .keep = BL_PRUNE_FIRST};
  bl_float_graph *graph = copy_of(b->graph, 0);
  if (blocks) assert_int_equal(bl_prune_blocks(p, graph, config->lanes, config->cols, &err), BL_OK);
  if (bl_prune_masks(p, &options, 1, &err) != BL_OK) fail_msg("%s", err.text);
  const bl_status status = samples == 0 ? bl_prune_apply(p, graph, &err)
                                        : bl_prune_reconstruct(p, graph, &b->train, samples, &err);
  if (status != BL_OK) fail_msg("%s", err.text);
  const double accuracy = accuracy_of(b, graph);
  if (cycles != NULL) *cycles = cycles_of(b, graph);
  bl_prune_close(p);
  bl_float_graph_free(graph);
  return accuracy;
}

// Channels removed; cycles likewise.
static double remove_channels(const bench *b, bl_prune_score score, double amount, bool global,
                              uint32_t multiple, double *cycles) {
  bl_error err = {0};
  bl_prune *p = scored(b, score);
  bl_channels *c;
  bl_float_graph *graph = copy_of(b->graph, 0);
  const bl_channels_options options = {.amount = amount, .global = global, .multiple = multiple};
  assert_int_equal(bl_channels_open(graph, &c, &err), BL_OK);
  assert_int_equal(bl_channels_score(c, p, BL_PRUNE_L1, score != BL_PRUNE_TAYLOR, &err), BL_OK);
  if (bl_channels_choose(c, graph, &options, &err) != BL_OK ||
      bl_channels_remove(c, graph, &err) != BL_OK)
    fail_msg("%s", err.text);
  const double accuracy = accuracy_of(b, graph);
  if (cycles != NULL) *cycles = cycles_of(b, graph);
  bl_channels_close(c);
  bl_prune_close(p);
  bl_float_graph_free(graph);
  return accuracy;
}

static const char *const names[] = {"magnitude", "taylor", "gradient", "random"};

static void weights(void **state) {
  bench *b = *state;
  if (b == NULL) skip();
  double got[4];
  printf("ResNet-8, %d images, float: %.1f %%\n", IMAGES, accuracy_of(b, b->graph));
  for (int score = 0; score < 4; score++) {
    got[score] = prune(b, (bl_prune_score)score, false, 0.3, false, 0, NULL);
    printf("30 %% of all weights by %s: %.1f %%\n", names[score], got[score]);
  }
  const double each = prune(b, BL_PRUNE_MAGNITUDE, false, 0.3, true, 0, NULL);
  printf("30 %% of each layer's weights by magnitude: %.1f %%\n", each);
  const double solved = prune(b, BL_PRUNE_TAYLOR, false, 0.5, false, RECONSTRUCTED, NULL);
  printf("50 %% of all weights by taylor, %d images to reconstruct with: %.1f %%\n", RECONSTRUCTED,
         solved);
  assert_true(solved >= 76);
  assert_true(got[BL_PRUNE_TAYLOR] >= 78 && each >= 76);
  assert_true(got[BL_PRUNE_TAYLOR] >= got[BL_PRUNE_RANDOM] + 50);
  assert_true(got[BL_PRUNE_MAGNITUDE] >= got[BL_PRUNE_RANDOM] + 15);
}

static void blocks(void **state) {
  bench *b = *state;
  if (b == NULL) skip();
  const double dense = cycles_of(b, b->graph);
  double got[4], cycles;
  for (int score = 0; score < 4; score++) {
    got[score] = prune(b, (bl_prune_score)score, true, 0.1, false, 0, NULL);
    printf("10 %% of all blocks by %s: %.1f %%\n", names[score], got[score]);
  }
  const double solved = prune(b, BL_PRUNE_TAYLOR, true, 0.3, true, RECONSTRUCTED, &cycles);
  printf("30 %% of each layer's blocks by taylor, %d images to reconstruct with: %.1f %%, %.3f\n",
         RECONSTRUCTED, solved, cycles / dense);
  assert_true(solved >= 68 && cycles <= 0.76 * dense);
  (void)prune(b, BL_PRUNE_MAGNITUDE, true, 0.5, true, 0, &cycles);
  printf("50 %% of each layer's blocks: %.3f of the cycles\n", cycles / dense);
  assert_true(cycles <= 0.60 * dense);
  assert_true(got[BL_PRUNE_TAYLOR] >= got[BL_PRUNE_RANDOM] + 20);
}

static void channels(void **state) {
  bench *b = *state;
  if (b == NULL) skip();
  const double dense = cycles_of(b, b->graph);
  double got[4], cycles;
  for (int score = 0; score < 4; score++) {
    if (score == BL_PRUNE_GRADIENT) continue;
    got[score] = remove_channels(b, (bl_prune_score)score, 0.05, true, 1, NULL);
    printf("5 %% of all channels by %s: %.1f %%\n", names[score], got[score]);
  }
  (void)remove_channels(b, BL_PRUNE_MAGNITUDE, 0.5, false, 8, &cycles);
  printf("half of each layer's channels: %.3f of %.0f cycles\n", cycles / dense, dense);
  assert_true(cycles <= 0.40 * dense);
  assert_true(got[BL_PRUNE_TAYLOR] >= got[BL_PRUNE_RANDOM] + 20);
}

// ---- LeNet-5

// Trains with what is 0 held at 0; a schedule prunes meanwhile.
static double train(const bench *b, bl_float_graph *graph, bl_prune *p, bl_prune_schedule *s) {
  const uint64_t steps = EPOCHS * bl_trainer_steps(b->train.count, BATCH);
  bl_train_hook hook = {0};
  bl_train_net *net;
  bl_trainer *trainer;
  bl_error err = {0};
  if (s != NULL) hook = bl_prune_hook(s);
  const bl_trainer_options options = {
      .epochs = EPOCHS,
      .seed = 1,
      .optimiser = bl_optimiser_defaults(BL_OPTIMISER_ADAMW),
      .schedule = {.kind = BL_SCHEDULE_COSINE, .rate = 1e-3, .every = 1, .total = steps},
      .hooks = &hook,
      .hook_count = s != NULL};
  if (bl_train_open(graph, NULL, &net, &err) != BL_OK ||
      bl_trainer_open(net, &b->train, NULL, &options, &trainer, &err) != BL_OK ||
      bl_prune_attach(p, net, &err) != BL_OK ||
      bl_trainer_run(trainer, NULL, NULL, &err) != BL_OK ||
      bl_train_store(net, graph, &err) != BL_OK)
    fail_msg("%s", err.text);
  bl_trainer_close(trainer);
  bl_train_close(net);
  return accuracy_of(b, graph);
}

enum { ONE_SHOT, RECONSTRUCTION, FINE_TUNED, GRADUAL, WAYS };

static double prune_digits(const bench *b, int way) {
  const uint64_t steps = EPOCHS * bl_trainer_steps(b->train.count, BATCH);
  bl_float_graph *graph = copy_of(b->graph, 0);
  bl_prune *p = scored(b, BL_PRUNE_MAGNITUDE);
  bl_error err = {0};
  bl_prune_schedule s = {.prune = p,
                         .options = {.amount = 0.95, .keep = BL_PRUNE_FIRST},
                         .end = steps * 6 / 10,
                         .every = 10};
  double accuracy = 0;
  if (way != GRADUAL) assert_int_equal(bl_prune_masks(p, &s.options, 1, &err), BL_OK);
  if (way == RECONSTRUCTION)
    assert_int_equal(bl_prune_reconstruct(p, graph, &b->train, 5 * RECONSTRUCTED, &err), BL_OK);
  else if (way != GRADUAL)
    assert_int_equal(bl_prune_apply(p, graph, &err), BL_OK);
  if (way >= FINE_TUNED)
    accuracy = train(b, graph, p, way == GRADUAL ? &s : NULL);
  else
    accuracy = accuracy_of(b, graph);
  assert_true(fabs(bl_prune_sparsity(p, NULL) - 0.95 * 61320 / 61470) < 1e-4);
  bl_prune_close(p);
  bl_float_graph_free(graph);
  return accuracy;
}

static double halve_channels(const bench *b, bool reconstruct) {
  bl_float_graph *graph = copy_of(b->graph, 0);
  bl_prune *p = scored(b, BL_PRUNE_MAGNITUDE);
  bl_channels *c;
  bl_error err = {0};
  assert_int_equal(bl_channels_open(graph, &c, &err), BL_OK);
  assert_int_equal(bl_channels_score(c, p, BL_PRUNE_L1, true, &err), BL_OK);
  const bl_channels_options options = {.amount = 0.5};
  assert_int_equal(bl_channels_choose(c, graph, &options, &err), BL_OK);
  bl_channels_masks(c, p);
  if (reconstruct)
    assert_int_equal(bl_prune_reconstruct(p, graph, &b->train, 5 * RECONSTRUCTED, &err), BL_OK);
  assert_int_equal(bl_channels_remove(c, graph, &err), BL_OK);
  const double accuracy = accuracy_of(b, graph);
  bl_channels_close(c);
  bl_prune_close(p);
  bl_float_graph_free(graph);
  return accuracy;
}

static void digits(void **state) {
  (void)state;
  static const char *const ways[WAYS] = {"at once", "with reconstruction", "then trained",
                                         "while it trains"};
  bench b;
  double got[WAYS];
  if (!open_digits(&b)) skip();
  printf("LeNet-5, %zu images, float: %.2f %%\n", b.test.count, accuracy_of(&b, b.graph));
  for (int way = 0; way < WAYS; way++) {
    got[way] = prune_digits(&b, way);
    printf("95 %% of the weights %s: %.2f %%\n", ways[way], got[way]);
  }
  const double half = halve_channels(&b, false), solved = halve_channels(&b, true);
  printf("half of the channels: %.2f %%, with reconstruction %.2f %%\n", half, solved);
  close_bench(&b);
  assert_true(got[RECONSTRUCTION] >= 94 && got[FINE_TUNED] >= 93 && got[GRADUAL] >= 93);
  assert_true(solved >= 95);
}

static int open_group(void **state) {
  static bench b;
  *state = open_bench(&b) ? &b : NULL;
  return 0;
}

static int close_group(void **state) {
  if (*state != NULL) close_bench(*state);
  return 0;
}

int main(void) {
  bl_train_threads(1);
  const struct CMUnitTest tests[] = {

      cmocka_unit_test(weights),
      cmocka_unit_test(blocks),
      cmocka_unit_test(channels),
      cmocka_unit_test(digits),
  };
  return cmocka_run_group_tests(tests, open_group, close_group);
}
