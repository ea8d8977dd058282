// SPDX-License-Identifier: Apache-2.0
// What smoothed labels, augmentation, peers and averages as teachers buy LeNet-5 from fresh weights
// on few digits: figures of docs/reference/{train,distillation}.md, on digits that were held out,
// with the least that each must bring.
#include "tests/unit/recipe_bench.h"

#include "host/train/average.h"
#include "host/train/initialise.h"
#include "host/train/peer.h"

enum { DIGITS = 500, HELD_OUT = 2000, BATCH = 32, EPOCHS = 30 };

typedef struct {
  const char *name;
  double smoothing, average, peer; // decay of the average that teaches; the peer's weight
  bl_augment augment;
} way;

typedef struct {
  bl_float_graph *graph;
  bl_train_net *net, *other; // the average, or the peer
  bl_average *average;
  bl_peer *peer;
  bl_train_hook hook;
} opened;

static bl_train_net *fresh(const bl_float_graph *graph, uint64_t seed) {
  const bl_train_options options = {.seed = seed};
  bl_train_net *net;
  bl_error err = {0};
  if (bl_train_open(graph, &options, &net, &err) != BL_OK) fail_msg("%s", err.text);
  bl_train_initialise(net, BL_INITIALISE_HE, seed);
  return net;
}

static void open_way(const bench *b, const way *w, bl_trainer_options *t, opened *o) {
  bl_error err = {0};
  *o = (opened){0};
  if (bl_float_copy(b->graph, BATCH, &o->graph, &err) != BL_OK) fail_msg("%s", err.text);
  o->net = fresh(o->graph, 1);
  if (w->average > 0 || w->peer > 0) o->other = fresh(o->graph, w->peer > 0 ? 101 : 1);
  if (w->average > 0) {
    assert_int_equal(bl_average_open(o->net, w->average, o->other, &o->average, &err), BL_OK);
    o->hook = bl_average_hook(o->average);
    t->teacher = o->other;
  }
  if (w->peer > 0) {
    assert_int_equal(bl_peer_open(o->other, w->peer, &t->optimiser, &t->schedule, &o->peer, &err),
                     BL_OK);
    o->hook = bl_peer_hook(o->peer);
  }
  t->hooks = &o->hook;
  t->hook_count = o->other != NULL;
}

typedef struct {
  double percent, loss; // of the held-out digits
} result;

static result after(const bench *b, const way *w) {
  const uint64_t steps = EPOCHS * bl_trainer_steps(b->train.count, BATCH);
  bl_trainer_options t = {
      .epochs = EPOCHS,
      .seed = 1,
      .optimiser = bl_optimiser_defaults(BL_OPTIMISER_ADAMW),
      .schedule = {.kind = BL_SCHEDULE_COSINE, .rate = 3e-3, .every = 1, .total = steps},
      .augment = w->augment,
      .smoothing = w->smoothing,
      .temperature = 1,
      .teacher_weight = w->average > 0 ? 0.5 : 0};
  bl_trainer *trainer;
  bl_error err = {0};
  opened o;
  double loss, accuracy;
  open_way(b, w, &t, &o);
  if (bl_trainer_open(o.net, &b->train, NULL, &t, &trainer, &err) != BL_OK ||
      bl_trainer_run(trainer, NULL, NULL, &err) != BL_OK)
    fail_msg("%s", err.text);
  if (o.average != NULL) bl_average_take(o.average);
  if (bl_train_evaluate(o.net, &b->held_out, BL_LOSS_CROSS_ENTROPY, &loss, &accuracy, &err) !=
      BL_OK)
    fail_msg("%s", err.text);
  bl_trainer_close(trainer);
  bl_average_close(o.average);
  bl_peer_close(o.peer);
  bl_train_close(o.net);
  bl_train_close(o.other);
  bl_float_graph_free(o.graph);
  return (result){100 * accuracy, loss};
}

static void few_digits(void **state) {
  (void)state;
  bench b;
  if (!open_bench(&b, &LENET5, 50000, DIGITS, 1, HELD_OUT)) skip();
  static const way ways[] = {
      {.name = "alone"},
      {.name = "labels smoothed by 0.1", .smoothing = 0.1},
      {.name = "shifted by up to 2", .augment = {.shift = 2}},
      {.name = "squares of 8 cut out", .augment = {.cutout = 8}},
      {.name = "mixed", .augment = {.mixup = true}},
      {.name = "taught by the own average", .average = 0.98},
      {.name = "with a peer", .peer = 1},
  };
  // points above alone, at least
  static const double more[] = {0, 0.5, 1.5, 0.5, 0.5, -1, 0.5};
  result alone = {0};
  for (size_t k = 0; k < sizeof ways / sizeof *ways; k++) {
    const result got = after(&b, &ways[k]);
    printf("%s: %.2f %%, loss %.3f\n", ways[k].name, got.percent, got.loss);
    if (k == 0) alone = got;
    assert_true(got.percent >= alone.percent + more[k]);
    assert_true(k == 0 || got.loss <= alone.loss - 0.02);
  }
  assert_true(alone.percent >= 80);
  close_bench(&b);
}

int main(void) {
  bl_train_threads(1);
  const struct CMUnitTest tests[] = {cmocka_unit_test(few_digits)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
