// SPDX-License-Identifier: Apache-2.0
// Losses, optimisers and schedules against numbers worked out by hand; data and augmentation
// against an exhaustive search; training of small networks to a stated accuracy; resumed runs
// against uninterrupted ones, bit for bit; bad input.
#include "tests/unit/train_support.h"

#include <zlib.h>

#include "host/train/initialise.h"
#include "host/train/loss.h"
#include "host/train/trainer.h"

static uint64_t seed = 1;
static char folder[] = "/tmp/bitloom-train-XXXXXX";

static void near(double got, double expected, double tolerance) {
  if (!(fabs(got - expected) <= tolerance)) fail_msg("got %.9g, expected %.9g", got, expected);
}

static void all_near(const float *got, const double *expected, size_t count) {
  for (size_t k = 0; k < count; k++)
    near((double)got[k], expected[k], 1e-6);
}

// One output tells two classes: probabilities 1/2 and 3/4 of class 1.
static void losses_of_one_output(void **state) {
  (void)state;
  const double ln2 = 0.69314718056, ln3 = 1.09861228867;
  const float z[2] = {0, (float)ln3}, teacher[1] = {(float)(2 * ln3)};
  const int64_t labels[2] = {1, 0};
  float g[2];
  near(bl_loss_cross_entropy(z, labels, 2, 1, 0, g), 1.5 * ln2, 1e-7);
  all_near(g, (double[]){-0.25, 0.375}, 2);
  // smoothed: 0.9 and 0.1 are wanted of the right class and the other
  near(bl_loss_cross_entropy(z, labels, 2, 1, 0.2, g),
       0.5 * (ln2 + 0.9 * 2 * ln2 + 0.1 * (2 * ln2 - ln3)), 1e-7);
  all_near(g, (double[]){0.5 * (0.5 - 0.9), 0.5 * (0.75 - 0.1)}, 2);
  near(bl_loss_distillation(z, teacher, NULL, 1, 1, 2, 1, 0, g), 4 * 0.130812036, 1e-6);
  all_near(g, (double[]){-0.5}, 1);
  near(bl_loss_distillation(z, teacher, labels, 1, 1, 2, 0.25, 0, g),
       0.75 * ln2 + 0.25 * 4 * 0.130812036, 1e-6);
  all_near(g, (double[]){-0.75 * 0.5 - 0.25 * 0.5}, 1);
  assert_int_equal(bl_loss_correct(z, labels, 2, 1, 0), 0);
  assert_int_equal(bl_loss_correct(z, (int64_t[]){0, 1}, 2, 1, 0), 2);
  assert_int_equal(bl_loss_correct((float[]){0.4F, 0.6F}, (int64_t[]){0, 1}, 2, 1, 0.5F), 2);
}

static void losses(void **state) {
  (void)state;
  const double ln2 = 0.69314718056, ln3 = 1.09861228867;
  float g[4];
  const float two[4] = {0, (float)ln3, 1000, 0};
  near(bl_loss_cross_entropy(two, (int64_t[]){1, 0}, 2, 2, 0, g), 0.14384103622, 1e-7);
  all_near(g, (double[]){0.125, -0.125, 0, 0}, 4);
  near(bl_loss_squared((float[]){1, 3}, (float[]){0, 1}, 1, 2, g), 2.5, 1e-9);
  all_near(g, (double[]){1, 2}, 2);
  near(bl_loss_binary((float[]){0, (float)ln3}, (float[]){1, 0}, 2, 1, g), 1.5 * ln2, 1e-7);
  all_near(g, (double[]){-0.25, 0.375}, 2);
  // teacher (3/4, 1/4) at temperature 2, student even: KL = 0.75 ln 1.5 - 0.25 ln 2
  const float even[2] = {0, 0}, teacher[2] = {(float)(2 * ln3), 0};
  near(bl_loss_distillation(even, teacher, NULL, 1, 2, 2, 1, 0, g), 4 * 0.130812036, 1e-6);
  all_near(g, (double[]){-0.5, 0.5}, 2);
  near(bl_loss_distillation(even, teacher, (int64_t[]){1}, 1, 2, 2, 0.25, 0, g),
       0.75 * ln2 + 0.25 * 4 * 0.130812036, 1e-6);
  all_near(g, (double[]){0.75 * 0.5 - 0.25 * 0.5, 0.25 * 0.5 - 0.75 * 0.5}, 2);
  assert_int_equal(bl_loss_correct(two, (int64_t[]){1, 1}, 2, 2, 0), 1);
  assert_int_equal(bl_loss_correct(even, (int64_t[]){0}, 1, 2, 0), 1);
}

typedef struct {
  float w[2], g[2];
} numbers;

static void optimise(const bl_optimiser_options *o, const bl_train_parameter *p, uint32_t count,
                     numbers *n, const float (*gradients)[2], uint32_t steps, double rate) {
  bl_optimiser *optimiser;
  bl_error err = {0};
  assert_int_equal(bl_optimiser_open(o, p, count, &optimiser, &err), BL_OK);
  for (uint32_t k = 0; k < steps; k++) {
    memcpy(n->g, gradients[k], sizeof n->g);
    assert_int_equal(bl_optimiser_step(optimiser, rate, &err), BL_OK);
  }
  bl_optimiser_close(optimiser);
}

static void optimisers(void **state) {
  (void)state;
  static const float half[2][2] = {{0.5F, 0.5F}, {0.5F, 0.5F}}, down[2][2] = {{0.5F}, {-0.25F}};
  numbers n = {{1, 1}, {0}};
  bl_train_parameter p[2] = {
      {.name = "w",
       .layer = "l",
       .count = 1,
       .data = &n.w[0],
       .gradient = &n.g[0],
       .decay = true,
       .rate = 1},
      {.name = "b", .layer = "l", .count = 1, .data = &n.w[1], .gradient = &n.g[1], .rate = 1}};
  bl_optimiser_options sgd = bl_optimiser_defaults(BL_OPTIMISER_SGD);
  sgd.decay = 0.1;
  optimise(&sgd, p, 2, &n, half, 2, 0.1);
  // with decay: 0.6, then 0.54 + 0.594; without: 0.5, then 0.45 + 0.5
  all_near(n.w, (double[]){1 - 0.06 - 0.1134, 1 - 0.05 - 0.095}, 2);
  n = (numbers){{1, 1}, {0}};
  sgd.nesterov = true;
  optimise(&sgd, p, 2, &n, half, 1, 0.1);
  all_near(n.w, (double[]){0.886, 0.905}, 2);
  n = (numbers){{1, 1}, {0}};
  bl_optimiser_options adam = bl_optimiser_defaults(BL_OPTIMISER_ADAMW);
  adam.decay = 0.1;
  optimise(&adam, p, 1, &n, down, 1, 0.01);
  all_near(n.w, (double[]){0.989}, 1);
  n = (numbers){{1, 1}, {0}};
  optimise(&adam, p, 1, &n, down, 2, 0.01);
  // m = 0.02 / 0.19, v = 0.00031225 / 0.001999
  all_near(n.w, (double[]){0.989 - 0.01 * (0.10526316 / 0.39522538 + 0.0989)}, 1);
}

static void clipping_and_masks(void **state) {
  (void)state;
  static const float steep[1][2] = {{3, 4}};
  static const uint8_t mask[1] = {0};
  numbers n = {{1, 1}, {0}};
  bl_train_parameter p[2] = {
      {.name = "w", .layer = "l", .count = 1, .data = &n.w[0], .gradient = &n.g[0], .rate = 1},
      {.name = "b",
       .layer = "the layer",
       .count = 1,
       .data = &n.w[1],
       .gradient = &n.g[1],
       .rate = 0.5F}};
  bl_optimiser_options sgd = bl_optimiser_defaults(BL_OPTIMISER_SGD);
  sgd.clip = 1;
  optimise(&sgd, p, 2, &n, steep, 1, 0.1);
  all_near(n.w, (double[]){0.94, 0.96}, 2);
  p[0].mask = mask;
  p[1].rate = 0;
  n.w[1] = 1;
  optimise(&sgd, p, 2, &n, steep, 1, 0.1);
  all_near(n.w, (double[]){0, 1}, 2);
  bl_optimiser *optimiser;
  bl_error err = {0};
  assert_int_equal(bl_optimiser_open(&sgd, p, 2, &optimiser, &err), BL_OK);
  n.g[1] = NAN;
  assert_int_equal(bl_optimiser_step(optimiser, 0.1, &err), BL_ERR_RANGE);
  assert_non_null(strstr(err.text, "the layer"));
  bl_optimiser_close(optimiser);
}

static void schedules(void **state) {
  (void)state;
  bl_schedule s = {BL_SCHEDULE_COSINE, 0.8, 0, 0.1, 4, 5, 12};
  const double cosine[] = {0.2, 0.4, 0.6, 0.8, 0.8};
  for (uint64_t k = 0; k < 5; k++)
    near(bl_schedule_rate(&s, k), cosine[k], 1e-12);
  near(bl_schedule_rate(&s, 8), 0.4, 1e-12);
  near(bl_schedule_rate(&s, 6), 0.4 + 0.4 * 0.70710678118, 1e-9);
  near(bl_schedule_rate(&s, 12), 0, 1e-12);
  s.lowest = 0.2;
  near(bl_schedule_rate(&s, 8), 0.5, 1e-12);
  s.kind = BL_SCHEDULE_STEP;
  near(bl_schedule_rate(&s, 4), 0.8, 1e-12);
  near(bl_schedule_rate(&s, 5), 0.08, 1e-12);
  near(bl_schedule_rate(&s, 10), 0.008, 1e-12);
  s.kind = BL_SCHEDULE_CONSTANT;
  near(bl_schedule_rate(&s, 100), 0.8, 1e-12);
}

// ---- Data

// Does `out` show `in` (3 x 4 pixels of 2 channels) flipped or not and shifted, black around?
static int found_as(const float *in, const float *out, bool rows_last, const float black[2]) {
  for (int way = 0; way < 18; way++) {
    bool same = true;
    for (int c = 0; c < 2; c++)
      for (int y = 0; y < 3; y++)
        for (int x = 0; x < 4; x++) {
          int fy = y + way % 9 / 3 - 1, fx = (way < 9 ? x : 3 - x) + way % 3 - 1;
          float expected = black[c];
          if (fy >= 0 && fy < 3 && fx >= 0 && fx < 4)
            expected = in[rows_last ? c * 12 + fy * 4 + fx : (fy * 4 + fx) * 2 + c];
          same = same && out[rows_last ? c * 12 + y * 4 + x : (y * 4 + x) * 2 + c] == expected;
        }
    if (same) return way;
  }
  return -1;
}

static void augmentation(void **state) {
  (void)state;
  float values[48], out[24];
  for (int k = 0; k < 48; k++)
    values[k] = (float)(k + 1);
  for (int order = 0; order < 2; order++) {
    bl_train_data data = {.values = values,
                          .count = 2,
                          .elements = 24,
                          .rows_last = order == 0,
                          .shape = {3, 4, 2},
                          .black = {-1, -2},
                          .black_count = 2};
    bl_augment augment = {.flip = true, .shift = 1};
    unsigned seen = 0;
    for (uint64_t epoch = 0; epoch < 400; epoch++) {
      bl_train_sample(&data, &augment, seed, epoch, epoch % 2, out);
      int way = found_as(values + epoch % 2 * 24, out, order == 0, data.black);
      if (way < 0) fail_msg("seed %llu: no shift or flip", (unsigned long long)seed);
      seen |= 1U << way;
    }
    assert_int_equal(seen, (1U << 18) - 1);
    bl_train_sample(&data, NULL, seed, 0, 1, out);
    assert_memory_equal(out, values + 24, sizeof out);
  }
}

// 3 rows of 4 pixels of 2 channels: what is black is a square of side 2, cut by the edges.
static void cutout(void **state) {
  (void)state;
  float values[24], out[24];
  unsigned sizes = 0;
  for (int k = 0; k < 24; k++)
    values[k] = (float)(k + 1);
  for (int order = 0; order < 2; order++) {
    const bl_train_data data = {.values = values,
                                .count = 1,
                                .elements = 24,
                                .rows_last = order == 0,
                                .shape = {3, 4, 2},
                                .black = {-1, -2},
                                .black_count = 2};
    const bl_augment augment = {.cutout = 2};
    for (uint64_t epoch = 0; epoch < 200; epoch++) {
      int top = 9, left = 9, bottom = -1, right = -1, black = 0;
      bl_train_sample(&data, &augment, seed, epoch, 0, out);
      for (int k = 0; k < 24; k++) {
        const int c = order == 0 ? k / 12 : k % 2, p = order == 0 ? k % 12 : k / 2;
        if (out[k] == values[k]) continue;
        assert_true(out[k] == data.black[c]);
        black++;
        top = p / 4 < top ? p / 4 : top;
        left = p % 4 < left ? p % 4 : left;
        bottom = p / 4 > bottom ? p / 4 : bottom;
        right = p % 4 > right ? p % 4 : right;
      }
      const int h = bottom - top + 1, w = right - left + 1;
      assert_true(h >= 1 && h <= 2 && w >= 1 && w <= 2 && black == 2 * h * w);
      assert_true((h == 2 || top == 0) && (w == 2 || left == 0)); // cut at the top, at the left
      sizes |= 1U << (2 * h + w - 3);
    }
  }
  assert_int_equal(sizes, 15);
}

// Five samples of two numbers: the first and the last are mixed, the middle one with itself.
static void mixes(void **state) {
  (void)state;
  double least = 1, most = 0;
  for (uint64_t step = 0; step < 200; step++) {
    float x[10] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    const double p = bl_train_mix(x, 5, 2, seed, 3, step), q = 1 - p;
    const double wanted[10] = {p + 9 * q,     2 * p + 10 * q, 3 * p + 7 * q, 4 * p + 8 * q, 5, 6,
                               7 * p + 3 * q, 8 * p + 4 * q,  9 * p + q,     10 * p + 2 * q};
    for (int k = 0; k < 10; k++)
      assert_true(fabs((double)x[k] - wanted[k]) < 1e-5);
    least = fmin(least, p);
    most = fmax(most, p);
  }
  assert_true(least >= 0 && least < 0.05 && most > 0.95 && most <= 1);
}

static void orders(void **state) {
  (void)state;
  bl_train_data data = {.count = 100};
  uint32_t order[2][100];
  bool seen[100] = {false};
  bl_train_order(&data, seed, 0, order[0]);
  bl_train_order(&data, seed, 1, order[1]);
  assert_true(memcmp(order[0], order[1], sizeof order[0]) != 0);
  for (int k = 0; k < 100; k++)
    seen[order[0][k]] = true;
  for (int k = 0; k < 100; k++)
    assert_true(seen[k]);
}

static bl_dataset dataset_of(const float *values, const uint8_t *labels) {
  bl_dataset d = {.count = 2, .rank = 3, .dims = {2, 1, 2}, .elements = 4, .has_labels = true};
  d.images = (bl_array){.type = BL_ELEMENT_F32,
                        .rank = 4,
                        .dims = {2, 2, 1, 2},
                        .entry_elements = 4,
                        .entry_stride = 16,
                        .data = (const uint8_t *)values};
  d.label_file = (bl_array){.type = BL_ELEMENT_U8,
                            .rank = 1,
                            .dims = {2},
                            .entry_elements = 1,
                            .entry_stride = 1,
                            .data = labels};
  return d;
}

static void loading(void **state) {
  (void)state;
  float values[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  bl_dataset d = dataset_of(values, (const uint8_t[]){1, 2});
  bl_preprocess p = bl_preprocess_identity();
  bl_train_data data;
  bl_error err = {0};
  p.mean[0] = 1;
  p.std[0] = 2;
  assert_int_equal(bl_train_data_load(&d, &p, BL_LAYOUT_NCHW, 3, &data, &err), BL_OK);
  near((double)data.values[5], 2.5, 0);
  near((double)data.black[0], -0.5, 0);
  assert_int_equal(data.labels[1], 2);
  assert_true(data.shape.c == 2 && data.shape.w == 2);
  bl_train_data_free(&data);
  assert_int_equal(bl_train_data_load(&d, &p, BL_LAYOUT_NCHW, 2, &data, &err), BL_ERR_RANGE);
  assert_non_null(strstr(err.text, "sample 1 has label 2"));
  values[6] = NAN;
  assert_int_equal(bl_train_data_load(&d, &p, BL_LAYOUT_NCHW, 0, &data, &err), BL_ERR_RANGE);
}

// ---- Training

// Images of 6 x 6 with a horizontal (0) or vertical (1) bar somewhere, in noise.
static bl_train_data bars(size_t count, uint64_t key) {
  bl_train_data d = {.count = count,
                     .elements = 36,
                     .has_labels = true,
                     .rows_last = true,
                     .shape = {6, 6, 1},
                     .black_count = 1};
  d.values = malloc(count * 36 * sizeof *d.values);
  d.labels = calloc(count, sizeof *d.labels);
  assert_true(d.values != NULL && d.labels != NULL);
  for (size_t s = 0; s < count; s++) {
    uint64_t own = bl_random_key(key, s);
    size_t at = bl_random_below(bl_random_key(own, 50), 6);
    d.labels[s] = (int64_t)bl_random_below(bl_random_key(own, 51), 2);
    for (size_t k = 0; k < 36; k++)
      d.values[s * 36 + k] = (float)(0.4 * bl_random_normal(bl_random_key(own, k))) +
                             ((d.labels[s] == 0 ? k / 6 : k % 6) == at ? 1.0F : 0.0F);
  }
  return d;
}

static const text_net CONV = {
    "bars",
    "x 8 1 6 6",
    "w 6 1 3 3;g 6;b 6;m 6;v 6;u 6 6 3 3;c 6;d 2 6;e 2",
    "s 2 =8,6",
    "Conv x w > h | pads=i1,1,1,1;BatchNormalization h g b m v > n;Relu n > r;"
    "Conv r u c > k;Relu k > q;Dropout q > z | ratio=f0.1;GlobalMaxPool z > p;Reshape p s > f;"
    "Gemm f d e > l | transB=i1;Softmax l > y",
    11};

typedef struct {
  bl_float_graph *graph;
  bl_train_net *net;
} model;

static model open_model(const text_net *t) {
  model m = {text_graph(t, 1), NULL};
  bl_error err = {0};
  bl_train_options options = {.seed = seed};
  if (bl_train_open(m.graph, &options, &m.net, &err) != BL_OK) fail_msg("%s", err.text);
  bl_train_initialise(m.net, BL_INITIALISE_HE, seed);
  return m;
}

static void close_model(model *m) {
  bl_train_close(m->net);
  bl_float_graph_free(m->graph);
}

static bl_trainer_options some_options(bl_optimiser_kind kind, uint64_t epochs, uint64_t steps) {
  bl_trainer_options o = {.epochs = epochs, .seed = seed};
  bool sgd = kind == BL_OPTIMISER_SGD;
  o.optimiser = bl_optimiser_defaults(kind);
  o.optimiser.decay = 1e-3;
  o.schedule = (bl_schedule){BL_SCHEDULE_COSINE, sgd ? 0.05 : 0.01, 0, 0.1, 4, 1, epochs * steps};
  return o;
}

static bl_trainer *open_trainer(const model *m, const bl_train_data *data,
                                const bl_train_data *test, const bl_trainer_options *o) {
  bl_trainer *trainer;
  bl_error err = {0};
  if (bl_trainer_open(m->net, data, test, o, &trainer, &err) != BL_OK) fail_msg("%s", err.text);
  return trainer;
}

static void run(bl_trainer *trainer, bl_train_watch watch, void *user) {
  bl_error err = {0};
  if (bl_trainer_run(trainer, watch, user, &err) != BL_OK) fail_msg("%s", err.text);
}

static void learns_xor(void **state) {
  (void)state;
  text_net t = {
      "xor", "x 4 2", "w 2 8;b 8;v 8 2;c 2", NULL, "Gemm x w b > h;Tanh h > t;Gemm t v c > y", 0};
  float values[8] = {0, 0, 0, 1, 1, 0, 1, 1};
  int64_t labels[4] = {0, 1, 1, 0};
  static const bl_loss_kind kinds[] = {BL_LOSS_CROSS_ENTROPY, BL_LOSS_SQUARED, BL_LOSS_BINARY};
  bl_train_data data = {
      .values = values, .labels = labels, .count = 4, .elements = 2, .has_labels = true};
  for (int k = 0; k < 3; k++) {
    model m = open_model(&t);
    bl_trainer_options o = some_options(BL_OPTIMISER_ADAMW, 200, 1);
    double loss, accuracy;
    bl_error err = {0};
    o.loss = kinds[k];
    o.schedule.rate = 0.05;
    bl_trainer *trainer = open_trainer(&m, &data, NULL, &o);
    run(trainer, NULL, NULL);
    assert_int_equal(bl_train_evaluate(m.net, &data, o.loss, &loss, &accuracy, &err), BL_OK);
    near(accuracy, 1, 0);
    assert_true(loss < 0.05);
    bl_trainer_close(trainer);
    close_model(&m);
  }
}

static void learns_bars(void **state) {
  (void)state;
  bl_train_data data = bars(800, bl_random_key(seed, 1)), test = bars(300, bl_random_key(seed, 2));
  model m = open_model(&CONV);
  bl_trainer_options o = some_options(BL_OPTIMISER_SGD, 12, 100);
  o.augment.flip = true;
  bl_trainer *trainer = open_trainer(&m, &data, &test, &o);
  run(trainer, NULL, NULL);
  uint64_t count;
  const bl_train_record *history = bl_trainer_history(trainer, &count);
  assert_int_equal(count, 12);
  printf("bars: accuracy %.3f on unseen images\n", history[11].test_accuracy);
  assert_true(history[11].test_accuracy >= 0.9 && history[11].loss < history[0].loss);
  bl_trainer_close(trainer);
  close_model(&m);
  bl_train_data_free(&data);
  bl_train_data_free(&test);
}

// One step of descent over one mixed batch: dL/dw[i][c] = mean of (softmax - target)[c] x[i], with
// the labels of both in the target, from zero weights.
static void learns_from_mixed_samples(void **state) {
  (void)state;
  static const text_net net = {"line", "x 4 2", "w 2 3", NULL, "Gemm x w > y", 13};
  enum { BATCH = 4 };
  float values[2 * BATCH] = {1, -2, 0.5F, 3, -1, 4, 2, 0.25F}, x[2 * BATCH];
  int64_t labels[BATCH] = {0, 1, 2, 1};
  bl_train_data data = {.values = values,
                        .labels = labels,
                        .count = BATCH,
                        .elements = 2,
                        .has_labels = true,
                        .shape = {1, 1, 2}};
  model m = open_model(&net);
  bl_trainer_options o = some_options(BL_OPTIMISER_SGD, 1, 1);
  uint32_t order[BATCH], count;
  bl_train_parameter *w = bl_train_parameters(m.net, &count);
  assert_true(count == 1 && w[0].count == 6);
  memset(w[0].data, 0, 6 * sizeof(float));
  o.optimiser.decay = 0;
  o.schedule = (bl_schedule){BL_SCHEDULE_CONSTANT, 1, 0, 1, 0, 1, 1};
  o.augment.mixup = true;
  bl_train_order(&data, seed, 0, order);
  for (size_t s = 0; s < BATCH; s++)
    memcpy(x + 2 * s, values + 2 * order[s], 2 * sizeof *x);
  const double part = bl_train_mix(x, BATCH, 2, seed, 0, 0);
  double expected[6] = {0};
  for (size_t s = 0; s < BATCH; s++)
    for (int64_t c = 0; c < 3; c++) {
      const double target = part * (labels[order[s]] == c ? 1 : 0) +
                            (1 - part) * (labels[order[BATCH - 1 - s]] == c ? 1 : 0);
      for (size_t i = 0; i < 2; i++)
        expected[3 * i + (size_t)c] -= (1.0 / 3 - target) * (double)x[2 * s + i] / BATCH;
    }
  bl_trainer *trainer = open_trainer(&m, &data, NULL, &o);
  run(trainer, NULL, NULL);
  for (size_t k = 0; k < 6; k++)
    assert_true(fabs((double)w[0].data[k] - expected[k]) < 1e-5);
  bl_trainer_close(trainer);
  close_model(&m);
}

// A student that sees no labels learns what its teacher knows.
static void learns_from_a_teacher(void **state) {
  (void)state;
  bl_train_data data = bars(400, bl_random_key(seed, 1));
  model teacher = open_model(&CONV), student = open_model(&CONV);
  bl_trainer_options o = some_options(BL_OPTIMISER_SGD, 20, 50);
  o.schedule.rate = 0.01;
  bl_trainer *trainer = open_trainer(&teacher, &data, NULL, &o);
  double loss, accuracy;
  bl_error err = {0};
  run(trainer, NULL, NULL);
  bl_trainer_close(trainer);
  assert_int_equal(bl_train_store(teacher.net, teacher.graph, &err), BL_OK);
  assert_int_equal(
      bl_train_evaluate(teacher.net, &data, BL_LOSS_CROSS_ENTROPY, &loss, &accuracy, &err), BL_OK);
  printf("teacher: accuracy %.3f, loss %.3f\n", accuracy, loss);
  bl_train_net *frozen;
  bl_train_options options = {.frozen = true};
  assert_int_equal(bl_train_open(teacher.graph, &options, &frozen, &err), BL_OK);
  o.teacher = frozen;
  o.teacher_weight = 1;
  o.temperature = 2;
  int64_t *labels = data.labels;
  data.has_labels = false;
  data.labels = NULL;
  trainer = open_trainer(&student, &data, NULL, &o);
  run(trainer, NULL, NULL);
  bl_trainer_close(trainer);
  data.has_labels = true;
  data.labels = labels;
  assert_int_equal(
      bl_train_evaluate(student.net, &data, BL_LOSS_CROSS_ENTROPY, &loss, &accuracy, &err), BL_OK);
  printf("student: accuracy %.3f, loss %.3f\n", accuracy, loss);
  assert_true(accuracy >= 0.9);
  bl_train_close(frozen);
  close_model(&teacher);
  close_model(&student);
  bl_train_data_free(&data);
}

// The weights of a fresh student behind 12 epochs with that teacher, as a checksum.
static uint32_t taught(bl_train_net *teacher, const bl_train_data *data, bl_answers *answers) {
  model student = open_model(&CONV);
  bl_trainer_options o = some_options(BL_OPTIMISER_SGD, 12, data->count / 8);
  uint32_t count, sum = 0;
  o.augment.flip = true;
  o.teacher = teacher;
  o.teacher_weight = 0.5;
  o.temperature = 2;
  o.answers = answers;
  bl_trainer *trainer = open_trainer(&student, data, NULL, &o);
  run(trainer, NULL, NULL);
  bl_trainer_close(trainer);
  const bl_train_parameter *p = bl_train_parameters(student.net, &count);
  for (uint32_t k = 0; k < count; k++)
    sum = (uint32_t)crc32_z(sum, (const uint8_t *)p[k].data, p[k].count * sizeof(float));
  close_model(&student);
  return sum;
}

// A teacher whose answers are kept is not asked twice: the student gets the same bits, and with the
// same draws goes on getting them from a teacher that knows something else.
static void keeps_answers(void **state) {
  (void)state;
  bl_train_data data = bars(83, bl_random_key(seed, 1)); // three are left over in every epoch
  bl_float_graph *graphs[2] = {text_graph(&CONV, 1), text_graph(&CONV, 2)};
  const bl_train_options options = {.frozen = true};
  bl_train_net *teachers[2];
  bl_answers *answers;
  bl_error err = {0};
  float logits[2];
  for (int k = 0; k < 2; k++)
    assert_int_equal(bl_train_open(graphs[k], &options, &teachers[k], &err), BL_OK);
  assert_int_equal(bl_answers_open(data.count, 2, &answers, &err), BL_OK);
  assert_false(bl_answers_recall(answers, 0, false, logits));
  const uint32_t asked = taught(teachers[0], &data, NULL);
  assert_int_equal(taught(teachers[0], &data, answers), asked);
  assert_true(bl_answers_recall(answers, 0, false, logits));
  assert_int_equal(taught(teachers[1], &data, answers), asked);
  assert_int_not_equal(taught(teachers[1], &data, NULL), asked);
  for (int k = 0; k < 2; k++) {
    bl_train_close(teachers[k]);
    bl_float_graph_free(graphs[k]);
  }
  bl_answers_close(answers);
  bl_train_data_free(&data);
}

// ---- Check-points

static void copy_file(const char *from, const char *to) {
  size_t size;
  uint8_t *bytes = slurp(from, &size);
  FILE *file = fopen(to, "wb");
  assert_non_null(file);
  assert_true(fwrite(bytes, 1, size, file) == size);
  assert_int_equal(fclose(file), 0);
  free(bytes);
}

typedef struct {
  uint64_t epoch, step; // keep the check-point that lies on disk before this step's
  const char *from, *to;
} keep;

static bool keep_file(void *user, const bl_train_progress *p) {
  const keep *k = user;
  if (p->epoch == k->epoch && p->step == k->step) copy_file(k->from, k->to);
  return true;
}

static void same_weights(const model *a, const model *b) {
  uint32_t count, other;
  const bl_train_parameter *p = bl_train_parameters(a->net, &count);
  const bl_train_parameter *q = bl_train_parameters(b->net, &other);
  assert_int_equal(count, other);
  for (uint32_t k = 0; k < count; k++)
    if (memcmp(p[k].data, q[k].data, p[k].count * sizeof(float)) != 0)
      fail_msg("seed %llu: %s differs after resuming", (unsigned long long)seed, p[k].name);
}

static char *path_of(const char *name) {
  static char paths[4][64];
  static unsigned next;
  char *path = paths[next++ % 4];
  (void)snprintf(path, sizeof paths[0], "%s/%s", folder, name);
  return path;
}

// Stopped at a step, in an epoch's middle (6 steps an epoch, a check-point every 4) or behind its
// end, then resumed: the same bits as without the stop.
static void resume_at(bl_optimiser_kind kind, uint64_t epoch, uint64_t step) {
  bl_train_data data = bars(50, bl_random_key(seed, 3));
  model straight = open_model(&CONV), resumed = open_model(&CONV);
  bl_trainer_options o = some_options(kind, 4, 6);
  bl_error err = {0};
  char *last = path_of("last"), *kept = path_of("kept");
  keep k = {epoch, step, last, kept};
  uint64_t count;
  o.augment = (bl_augment){.flip = true, .shift = 1, .cutout = 2, .mixup = true};
  o.checkpoint = last;
  o.checkpoint_steps = 4;
  bl_trainer *a = open_trainer(&straight, &data, &data, &o);
  run(a, keep_file, &k);
  bl_trainer *b = open_trainer(&resumed, &data, &data, &o);
  if (bl_trainer_resume(b, kept, &err) != BL_OK) fail_msg("%s", err.text);
  run(b, NULL, NULL);
  same_weights(&straight, &resumed);
  assert_memory_equal(bl_trainer_history(a, &count), bl_trainer_history(b, &count),
                      4 * sizeof(bl_train_record));
  bl_trainer_close(a);
  bl_trainer_close(b);
  close_model(&straight);
  close_model(&resumed);
  bl_train_data_free(&data);
}

static void resumes(void **state) {
  (void)state;
  resume_at(BL_OPTIMISER_SGD, 1, 5);
  resume_at(BL_OPTIMISER_ADAMW, 1, 6);
  resume_at(BL_OPTIMISER_ADAMW, 2, 1);
}

static void expect_refusal(bl_trainer *t, const char *path, bl_status status, const char *words) {
  bl_error err = {0};
  assert_int_equal(bl_trainer_resume(t, path, &err), status);
  if (strstr(err.text, words) == NULL) fail_msg("%s: no \"%s\"", err.text, words);
}

static void write_file(const char *path, const uint8_t *bytes, size_t size) {
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  assert_true(fwrite(bytes, 1, size, file) == size);
  assert_int_equal(fclose(file), 0);
}

static void bad_checkpoints(void **state) {
  (void)state;
  bl_train_data data = bars(50, 3), others = bars(50, 4);
  model m = open_model(&CONV);
  bl_trainer_options o = some_options(BL_OPTIMISER_SGD, 2, 6);
  char *good = path_of("good"), *bad = path_of("bad");
  bl_error err = {0};
  size_t size;
  bl_trainer *t = open_trainer(&m, &data, NULL, &o);
  assert_int_equal(bl_trainer_save(t, good, &err), BL_OK);
  uint8_t *bytes = slurp(good, &size);
  bytes[size / 2] ^= 1;
  write_file(bad, bytes, size);
  expect_refusal(t, bad, BL_ERR_FORMAT, "check sum");
  bytes[size / 2] ^= 1;
  const uint64_t beyond = 6; // of an epoch of 6 steps, 0 to 5
  memcpy(bytes + 8 + 5 * sizeof(uint64_t), &beyond, sizeof beyond);
  const uint32_t sum = (uint32_t)crc32_z(0, bytes, size - sizeof sum);
  memcpy(bytes + size - sizeof sum, &sum, sizeof sum);
  write_file(bad, bytes, size);
  expect_refusal(t, bad, BL_ERR_FORMAT, "step 6 of 6");
  write_file(bad, bytes, size / 2);
  expect_refusal(t, bad, BL_ERR_FORMAT, "check sum");
  write_file(bad, (const uint8_t *)"PNG", 3);
  expect_refusal(t, bad, BL_ERR_FORMAT, "not a check-point");
  expect_refusal(t, path_of("absent"), BL_ERR_IO, "absent");
  bl_trainer_close(t);
  o.seed++;
  t = open_trainer(&m, &data, NULL, &o);
  expect_refusal(t, good, BL_ERR_USAGE, "other options");
  bl_trainer_close(t);
  o.seed--;
  t = open_trainer(&m, &others, NULL, &o);
  expect_refusal(t, good, BL_ERR_USAGE, "other training data");
  bl_trainer_close(t);
  bl_optimiser_relative(m.net);
  t = open_trainer(&m, &data, NULL, &o);
  expect_refusal(t, good, BL_ERR_USAGE, "other options");
  bl_trainer_close(t);
  free(bytes);
  close_model(&m);
  bl_train_data_free(&data);
  bl_train_data_free(&others);
}

// ---- Bad input

static bool note_step(void *user, const bl_train_progress *p) {
  (void)p;
  ++*(int *)user;
  return true;
}

static void explodes(void **state) {
  (void)state;
  bl_train_data data = bars(50, 3);
  model m = open_model(&CONV);
  bl_trainer_options o = some_options(BL_OPTIMISER_SGD, 3, 6);
  char *path = path_of("exploded");
  bl_error err = {0};
  int steps = 0;
  o.schedule = (bl_schedule){BL_SCHEDULE_CONSTANT, 1e30, 0, 1, 0, 1, 1};
  o.checkpoint = path;
  o.checkpoint_steps = 1;
  bl_trainer *t = open_trainer(&m, &data, NULL, &o);
  assert_int_equal(bl_trainer_run(t, note_step, &steps, &err), BL_ERR_RANGE);
  char place[64];
  (void)snprintf(place, sizeof place, "epoch 1, step %d: ", steps + 1);
  if (strstr(err.text, place) == NULL || strstr(err.text, "layer") == NULL ||
      strstr(err.text, "not finite") == NULL)
    fail_msg("%s", err.text);
  bl_error none = {0};
  if (steps > 0) assert_int_equal(bl_trainer_resume(t, path, &none), BL_OK);
  bl_trainer_close(t);
  close_model(&m);
  bl_train_data_free(&data);
}

static void refusals(void **state) {
  (void)state;
  bl_train_data data = bars(50, 3);
  model m = open_model(&CONV);
  bl_trainer_options o = some_options(BL_OPTIMISER_SGD, 3, 6);
  bl_trainer *t;
  bl_error err = {0};
  data.has_labels = false;
  assert_int_equal(bl_trainer_open(m.net, &data, NULL, &o, &t, &err), BL_ERR_USAGE);
  assert_non_null(strstr(err.text, "no labels"));
  data.has_labels = true;
  const text_net narrow = {"narrow", "x 8 4", "w 4 2;b 2", NULL, "Gemm x w b > y", 0};
  model teacher = open_model(&narrow);
  double loss, accuracy;
  o.teacher = teacher.net; // gives as many numbers, but reads fewer
  o.temperature = o.teacher_weight = 1;
  assert_int_equal(bl_trainer_open(m.net, &data, NULL, &o, &t, &err), BL_ERR_USAGE);
  assert_non_null(strstr(err.text, "the teacher"));
  o.teacher = NULL;
  assert_int_equal(bl_train_evaluate(teacher.net, &data, BL_LOSS_SQUARED, &loss, &accuracy, &err),
                   BL_ERR_USAGE);
  assert_non_null(strstr(err.text, "36 values"));
  close_model(&teacher);
  data.count = 0;
  assert_int_equal(bl_train_evaluate(m.net, &data, BL_LOSS_SQUARED, &loss, &accuracy, &err),
                   BL_ERR_USAGE);
  assert_non_null(strstr(err.text, "no samples"));
  data.count = 7;
  assert_int_equal(bl_trainer_open(m.net, &data, NULL, &o, &t, &err), BL_ERR_USAGE);
  assert_non_null(strstr(err.text, "batch of 8"));
  data.elements = 35;
  assert_int_equal(bl_trainer_open(m.net, &data, NULL, &o, &t, &err), BL_ERR_USAGE);
  close_model(&m);
  bl_train_data_free(&data);
}

// Mean and variance of fresh weights: 2/fan_in, and (6/(in+out))/3.
static void fresh_weights(void **state) {
  (void)state;
  text_net t = {"fresh", "x 1 50", "w 50 40;b 40", NULL, "Gemm x w b > y", 0};
  model m = open_model(&t);
  const double variance[2] = {2.0 / 50, 2.0 / 90};
  for (int kind = 0; kind < 2; kind++) {
    uint32_t count;
    double sum = 0, squares = 0;
    bl_train_initialise(m.net, (bl_initialise_kind)kind, seed);
    const bl_train_parameter *p = bl_train_parameters(m.net, &count);
    for (size_t k = 0; k < 2000; k++) {
      sum += (double)p[0].data[k];
      squares += (double)p[0].data[k] * (double)p[0].data[k];
    }
    near(sum / 2000, 0, 0.02);
    near(squares / 2000 / variance[kind], 1, 0.15);
    near((double)p[1].data[0], 0, 0);
  }
  close_model(&m);
}

static int remove_folder(void **state) {
  (void)state;
  static const char *const names[] = {"last", "kept", "good", "bad", "exploded"};
  for (int k = 0; k < 5; k++)
    (void)unlink(path_of(names[k]));
  return rmdir(folder);
}

int main(void) {
  seed = test_seed();
  bl_train_threads(1); // small networks: waiting for each other would take longer
  if (mkdtemp(folder) == NULL) return 1;
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(losses),
      cmocka_unit_test(losses_of_one_output),
      cmocka_unit_test(optimisers),
      cmocka_unit_test(clipping_and_masks),
      cmocka_unit_test(schedules),
      cmocka_unit_test(augmentation),
      cmocka_unit_test(cutout),
      cmocka_unit_test(mixes),
      cmocka_unit_test(learns_from_mixed_samples),
      cmocka_unit_test(orders),
      cmocka_unit_test(loading),
      cmocka_unit_test(learns_xor),
      cmocka_unit_test(learns_bars),
      cmocka_unit_test(learns_from_a_teacher),
      cmocka_unit_test(keeps_answers),
      cmocka_unit_test(resumes),
      cmocka_unit_test(bad_checkpoints),
      cmocka_unit_test(explodes),
      cmocka_unit_test(refusals),
      cmocka_unit_test(fresh_weights),
  };
  return cmocka_run_group_tests(tests, NULL, remove_folder);
}
