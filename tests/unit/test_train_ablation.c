// SPDX-License-Identifier: Apache-2.0
// What single techniques of training buy on real networks, measured on training images that were
// held out: each with the least that it must bring. Skipped where the data are absent.
#include "tests/unit/quant_aware_support.h"

#include "host/train/distil.h"
#include "host/train/initialise.h"
#include "host/train/statistics.h"

typedef struct {
  char model[4096];
  bl_train_data train, held_out;
} material;

static bl_train_data load(const char *images, const char *labels, size_t skip, size_t limit,
                          const bl_preprocess *preprocess) {
  const bl_dataset_source source = {images, NULL, labels, NULL, skip, limit};
  bl_dataset dataset;
  bl_train_data data;
  bl_error err = {0};
  if (bl_dataset_open(&source, &dataset, &err) != BL_OK ||
      bl_train_data_load(&dataset, preprocess, BL_LAYOUT_NCHW, 10, &data, &err) != BL_OK)
    fail_msg("%s", err.text);
  bl_dataset_free(&dataset);
  return data;
}

// LeNet-5 and digits; false: absent.
static bool digits(material *m, size_t count) {
  char images[4096], labels[4096];
  const bl_preprocess identity = bl_preprocess_identity();
  const char *path = data_folder("models/lenet-5.onnx");
  if (path == NULL) return false;
  (void)snprintf(m->model, sizeof m->model, "%s", path);
  path = data_folder("mnist/train-images-idx3-ubyte.gz");
  if (path == NULL) return false;
  (void)snprintf(images, sizeof images, "%s", path);
  (void)snprintf(labels, sizeof labels, "%s", data_folder("mnist/train-labels-idx1-ubyte.gz"));
  m->train = load(images, labels, 0, count, &identity);
  m->held_out = load(images, labels, 58000, 2000, &identity);
  return true;
}

static void free_material(material *m) {
  bl_train_data_free(&m->train);
  bl_train_data_free(&m->held_out);
}

static bl_float_graph *import_file(const char *path, int64_t batch) {
  const bl_onnx_options options = {.batch = batch, .rebatch = true};
  bl_float_graph *graph;
  bl_error err = {0};
  if (bl_onnx_import(path, &options, &graph, &err) != BL_OK) fail_msg("%s", err.text);
  return graph;
}

// One training: in so many bits (NULL: float), from fresh weights or the file's, with a teacher.
typedef struct {
  const char *name;
  const bl_quant_aware_options *bits;
  bool fresh, taught;
  const bl_distil_options *distil;
  uint64_t epochs;
  double rate, temperature;
} way;

typedef struct {
  bl_float_graph *graph, *teacher_graph;
  bl_quant_aware *aware;
  bl_distil *distil;
  bl_train_net *net, *teacher;
  bl_train_hook hooks[2];
} opened;

static void open_way(const material *m, const way *w, opened *o, bl_trainer_options *t) {
  bl_error err = {0};
  bl_train_options options = {.seed = 1}, frozen = {.frozen = true};
  const bl_calibration calibration = {read_sample, (void *)(uintptr_t)&m->train, 64};
  *o = (opened){.graph = import_file(m->model, 32)};
  if (w->taught) o->teacher_graph = import_file(m->model, 32);
  if (w->distil != NULL) {
    if (bl_distil_open(o->graph, o->teacher_graph, w->distil, &o->distil, &err) != BL_OK)
      fail_msg("%s", err.text);
    options.outputs = bl_distil_outputs(o->distil, false, &options.output_count);
    frozen.outputs = bl_distil_outputs(o->distil, true, &frozen.output_count);
  }
  if (w->bits != NULL) {
    bl_float_graph *one = import_file(m->model, 1);
    if (bl_quant_aware_open(o->graph, one, w->bits, &calibration, &o->aware, &err) != BL_OK)
      fail_msg("%s", err.text);
    bl_float_graph_free(one);
    options.transforms = bl_quant_aware_transforms(o->aware, &options.transform_count);
  }
  if (bl_train_open(o->graph, &options, &o->net, &err) != BL_OK ||
      (w->taught && bl_train_open(o->teacher_graph, &frozen, &o->teacher, &err) != BL_OK))
    fail_msg("%s", err.text);
  if (o->aware != NULL) {
    bl_quant_aware_attach(o->aware, o->net, true);
    o->hooks[t->hook_count++] = bl_quant_aware_hook(o->aware);
  }
  if (o->distil != NULL) o->hooks[t->hook_count++] = bl_distil_hook(o->distil, o->teacher);
  if (w->fresh) bl_train_initialise(o->net, BL_INITIALISE_HE, 1);
  t->hooks = o->hooks;
  t->teacher = o->teacher;
}

static double percent(bl_train_net *net, const bl_train_data *data) {
  double loss, accuracy;
  bl_error err = {0};
  if (bl_train_evaluate(net, data, BL_LOSS_CROSS_ENTROPY, &loss, &accuracy, &err) != BL_OK)
    fail_msg("%s", err.text);
  return 100 * accuracy;
}

static double after(const material *m, const way *w) {
  bl_trainer_options t = {.epochs = w->epochs, .seed = 1, .teacher_weight = 0.9};
  bl_trainer *trainer;
  bl_error err = {0};
  opened o;
  open_way(m, w, &o, &t);
  t.temperature = w->temperature > 0 ? w->temperature : 4;
  t.optimiser = bl_optimiser_defaults(BL_OPTIMISER_ADAMW);
  t.schedule = (bl_schedule){
      BL_SCHEDULE_COSINE, w->rate, 0, 1, 0, 1, w->epochs * bl_trainer_steps(m->train.count, 32)};
  if (bl_trainer_open(o.net, &m->train, NULL, &t, &trainer, &err) != BL_OK ||
      bl_trainer_run(trainer, NULL, NULL, &err) != BL_OK)
    fail_msg("%s", err.text);
  const double got = percent(o.net, &m->held_out);
  printf("%s: %.2f %%\n", w->name, got);
  bl_trainer_close(trainer);
  bl_train_close(o.net);
  bl_train_close(o.teacher);
  bl_quant_aware_close(o.aware);
  bl_distil_close(o.distil);
  bl_float_graph_free(o.graph);
  bl_float_graph_free(o.teacher_graph);
  return got;
}

// LeNet-5 in one or two bits, on 2,000 digits.
static void few_bits(void **state) {
  (void)state;
  material m;
  if (!digits(&m, 2000)) skip();
  static const bl_quant_aware_options two = {.weight_bits = 2, .activation_bits = 2};
  static const bl_quant_aware_options edges = {
      .weight_bits = 2, .activation_bits = 2, .edge_weight_bits = 8, .edge_activation_bits = 8};
  const double plain = after(&m, &(way){.name = "w2a2", .bits = &two, .epochs = 3, .rate = 3e-4});
  const double edge =
      after(&m, &(way){.name = "first and last w8a8", .bits = &edges, .epochs = 3, .rate = 3e-4});
  assert_true(plain > 90);
  assert_true(edge >= plain + 0.5);
  free_material(&m);
}

// LeNet-5 from fresh weights, on 500 digits.
static void few_digits(void **state) {
  (void)state;
  material m;
  if (!digits(&m, 500)) skip();
  static const bl_distil_options hint = {.kind = BL_DISTIL_HINT, .weight = 1};
  static const bl_distil_options attention = {.kind = BL_DISTIL_ATTENTION, .weight = 1000};
  static const bl_distil_options relation = {.kind = BL_DISTIL_RELATION, .weight = 100};
  way w = {.name = "alone", .fresh = true, .epochs = 20, .rate = 1e-3};
  const double alone = after(&m, &w);
  w.taught = true;
  w.name = "soft labels";
  const double soft = after(&m, &w);
  w.distil = &hint;
  w.name = "and hints";
  const double hinted = after(&m, &w);
  w.distil = &attention;
  w.name = "and attention";
  const double attended = after(&m, &w);
  w.distil = &relation;
  w.name = "and relations";
  const double related = after(&m, &w);
  assert_true(soft >= alone + 1 && hinted >= alone + 0.5);
  assert_true(attended >= alone + 2 && related >= alone + 1);
  free_material(&m);
}

// ResNet-20 with weights rounded to 3 bits, nothing trained: statistics of 8 batches of 32.
static void statistics_again(void **state) {
  (void)state;
  char images[4096];
  material m;
  bl_error err = {0};
  const char *path = data_folder("models/resnet20_cifar10.onnx");
  if (path == NULL) skip();
  (void)snprintf(m.model, sizeof m.model, "%s", path);
  path = data_folder("cifar10/train_20000_balanced.bin.gz");
  if (path == NULL) skip();
  (void)snprintf(images, sizeof images, "%s", path);
  const bl_preprocess p = {.scale = 1.0 / 255,
                           .channels = 3,
                           .mean = {0.485, 0.456, 0.406},
                           .std = {0.229, 0.224, 0.225},
                           .input_mul = 1};
  m.train = load(images, NULL, 0, 256, &p);
  m.held_out = load(images, NULL, 19700, 300, &p);
  const bl_quant_aware_options bits = {.weight_bits = 3, .activation_bits = 8};
  const way w = {.bits = &bits};
  bl_trainer_options t = {0};
  opened o;
  open_way(&m, &w, &o, &t);
  const double before = percent(o.net, &m.held_out);
  if (bl_train_reestimate(o.net, &m.train, 8, &err) != BL_OK) fail_msg("%s", err.text);
  const double again = percent(o.net, &m.held_out);
  printf("ResNet-20 w3a8: %.1f %%, %.1f %% with statistics estimated again\n", before, again);
  assert_true(again >= 85 && again >= before + 10);
  bl_train_close(o.net);
  bl_quant_aware_close(o.aware);
  bl_float_graph_free(o.graph);
  free_material(&m);
}

int main(void) {
  seed = test_seed();
  bl_train_threads(1);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(few_bits),
      cmocka_unit_test(few_digits),
      cmocka_unit_test(statistics_again),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
