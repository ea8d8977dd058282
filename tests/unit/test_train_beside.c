// SPDX-License-Identifier: Apache-2.0
// What goes on beside the steps of training: averages, peers, statistics estimated again, smoothed
// labels; numbers worked out by hand, and stopped runs that end with the same bits.
#include "tests/unit/quant_aware_support.h"

#include <unistd.h>

#include "host/train/average.h"
#include "host/train/loss.h"
#include "host/train/peer.h"
#include "host/train/statistics.h"

static const text_net PAIR = {"pair", "x 1 2", "w 2 2 =0,0,0,0", NULL, "MatMul x w > y", 13};

static bl_train_net *open_net(const bl_float_graph *graph) {
  const bl_train_options options = {.seed = 1};
  bl_train_net *net;
  bl_error err = {0};
  if (bl_train_open(graph, &options, &net, &err) != BL_OK) fail_msg("%s", err.text);
  return net;
}

static bl_train_parameter *named(bl_train_net *net, const char *name) {
  uint32_t count;
  bl_train_parameter *p = bl_train_parameters(net, &count);
  for (uint32_t k = 0; k < count; k++)
    if (strcmp(p[k].name, name) == 0) return &p[k];
  fail_msg("no parameter %s", name);
  return NULL;
}

static void smoothed_labels(void **state) {
  (void)state;
  const float logits[2] = {(float)log(3), 0}; // 3/4 and 1/4; targets 0.1 and 0.9
  float g[2];
  near(bl_loss_cross_entropy(logits, (int64_t[]){1}, 1, 2, 0.2, g),
       0.1 * log(4.0 / 3) + 0.9 * log(4), 1e-7);
  near((double)g[0], 0.65, 1e-7);
  near((double)g[1], -0.65, 1e-7);
}

static void averages(void **state) {
  (void)state;
  bl_float_graph *graph = text_graph(&PAIR, seed);
  bl_train_net *net = open_net(graph), *teacher = open_net(graph);
  float *w = named(net, "w")->data;
  bl_average *average;
  bl_error err = {0};
  w[0] = 1;
  assert_int_equal(bl_average_open(net, 0.15, teacher, &average, &err), BL_OK);
  const bl_train_hook hook = bl_average_hook(average);
  w[0] = 2;
  assert_int_equal(hook.after(hook.user, net, 0, 9, &err), BL_OK); // 1/10 of 1
  w[0] = 3;
  assert_int_equal(hook.after(hook.user, net, 1, 9, &err), BL_OK); // 0.15 of that, not 2/11
  const double mean = 0.15 * 1.9 + 0.85 * 3;
  assert_int_equal(hook.before(hook.user, net, 2, 9, &err), BL_OK);
  near((double)named(teacher, "w")->data[0], mean, 1e-6);
  near((double)w[0], 3, 0);
  bl_average_take(average);
  near((double)w[0], mean, 1e-6);
  bl_average_close(average);
  assert_int_equal(bl_average_open(net, 1, NULL, &average, &err), BL_ERR_USAGE);
  bl_train_close(net);
  bl_train_close(teacher);
  bl_float_graph_free(graph);
}

static void peers(void **state) {
  (void)state;
  bl_float_graph *graph = text_graph(&PAIR, seed);
  bl_train_net *net = open_net(graph), *other = open_net(graph);
  bl_optimiser_options sgd = bl_optimiser_defaults(BL_OPTIMISER_SGD);
  const bl_schedule schedule = {BL_SCHEDULE_CONSTANT, 0.5, 0, 1, 0, 1, 1};
  const float x[2] = {1, 0};
  const int64_t label = 1;
  const bl_train_batch batch = {.samples = x, .labels = &label, .count = 1};
  bl_peer *peer;
  bl_error err = {0};
  float *w = named(other, "w")->data;
  w[0] = (float)log(3); // it says 3/4 and 1/4, the network 1/2 and 1/2
  sgd.momentum = 0;
  assert_int_equal(bl_peer_open(other, 2, &sgd, &schedule, &peer, &err), BL_OK);
  const bl_train_hook hook = bl_peer_hook(peer);
  assert_int_equal(hook.before(hook.user, net, 0, 9, &err), BL_OK);
  memcpy(bl_train_input(net, 0), x, sizeof x);
  assert_int_equal(bl_train_forward(net, true, 0, &err), BL_OK);
  float *g = bl_train_output_gradient(net, 0);
  g[0] = g[1] = 1;
  double loss = 10;
  assert_int_equal(hook.loss(hook.user, net, &batch, &loss, &err), BL_OK);
  near(loss, 10 + 2 * (0.75 * log(1.5) + 0.25 * log(0.5)), 1e-6);
  near((double)g[0], 1 - 0.5, 1e-6);
  near((double)g[1], 1 + 0.5, 1e-6);
  // its own: 3/4 and 1/4 - 1 by the label, 2 (3/4 - 1/2) and 2 (1/4 - 1/2) by the network
  near((double)w[0], log(3) - 0.5 * 1.25, 1e-6);
  near((double)w[1], 0.5 * 1.25, 1e-6);
  bl_peer_close(peer);
  bl_train_close(net);
  bl_train_close(other);
  bl_float_graph_free(graph);
}

static void statistics(void **state) {
  (void)state;
  static const text_net norm = {"norm",
                                "x 4 2 1 3",
                                "g 2 =1,2;b 2 =0,1;m 2 =5,-5;v 2 =9,4",
                                NULL,
                                "BatchNormalization x g b m v > y | momentum=f0.75",
                                13};
  bl_float_graph *graph = text_graph(&norm, seed);
  bl_train_net *net = open_net(graph);
  bl_train_data data = noise(11, 6, false);
  bl_error err = {0};
  assert_int_equal(bl_train_reestimate(net, &data, 100, &err), BL_OK);
  for (size_t c = 0; c < 2; c++) {
    double means = 0, variances = 0;
    for (size_t b = 0; b < 2; b++) { // three samples of 11 fill no batch
      double sum = 0, squares = 0;
      for (size_t s = 4 * b; s < 4 * b + 4; s++)
        for (size_t p = 0; p < 3; p++) {
          const double x = (double)data.values[s * 6 + c * 3 + p];
          sum += x;
          squares += x * x;
        }
      means += sum / 12 / 2;
      variances += (squares / 12 - sum / 12 * sum / 12) / 2;
    }
    near((double)named(net, "m")->data[c], means, 1e-5);
    near((double)named(net, "v")->data[c], variances, 1e-5);
  }
  data.count = 3;
  assert_int_equal(bl_train_reestimate(net, &data, 1, &err), BL_ERR_USAGE);
  bl_train_data_free(&data);
  bl_train_close(net);
  bl_float_graph_free(graph);
}

typedef struct {
  const float *mean;
  float seen[9];
} watching;

static bl_status watch_mean(void *user, bl_train_net *net, uint64_t step, uint64_t steps,
                            bl_error *err) {
  watching *w = user;
  (void)err;
  assert_int_equal(steps, 8);
  w->mean = named(net, "m")->data;
  w->seen[step] = w->mean[0];
  return BL_OK;
}

// Eight steps: the running mean moves in the first six.
static void frozen_statistics(void **state) {
  (void)state;
  static const text_net norm = {"norm",
                                "x 4 2 1 3",
                                "g 2 =1,2;b 2 =0,1;m 2 =5,-5;v 2 =9,4",
                                NULL,
                                "BatchNormalization x g b m v > n;Flatten n > y",
                                13};
  bl_float_graph *graph = text_graph(&norm, seed);
  bl_train_net *net = open_net(graph);
  bl_train_data data = noise(16, 6, false);
  watching w = {NULL, {0}};
  const bl_train_hook hook = {.user = &w, .after = watch_mean};
  bl_trainer_options o = {.epochs = 2,
                          .seed = seed,
                          .loss = BL_LOSS_SQUARED,
                          .freeze_statistics = 0.75,
                          .hooks = &hook,
                          .hook_count = 1};
  bl_trainer *t;
  bl_error err = {0};
  o.optimiser = bl_optimiser_defaults(BL_OPTIMISER_SGD);
  o.schedule = (bl_schedule){BL_SCHEDULE_CONSTANT, 0.01, 0, 1, 0, 1, 1};
  if (bl_trainer_open(net, &data, NULL, &o, &t, &err) != BL_OK ||
      bl_trainer_run(t, NULL, NULL, &err) != BL_OK)
    fail_msg("%s", err.text);
  for (int k = 1; k < 8; k++)
    assert_true((w.seen[k] != w.seen[k - 1]) == (k < 6));
  bl_trainer_close(t);
  bl_train_data_free(&data);
  bl_train_close(net);
  bl_float_graph_free(graph);
}

// ---- Resuming

static const text_net NET = {
    "net", "x 8 6", "u 6 5;b 5;w 5 3", NULL, "MatMul x u > h;Add h b > k;Relu k > r;MatMul r w > y",
    13};

typedef struct {
  bl_float_graph *graph;
  bl_train_net *net, *other;
  bl_average *average;
  bl_peer *peer;
  bl_train_hook hooks[2];
  bl_trainer *trainer;
} run;

static void open_run(run *r, const bl_train_data *data, const char *path) {
  bl_trainer_options o = {.epochs = 3, .seed = seed, .checkpoint = path, .checkpoint_steps = 3};
  bl_error err = {0};
  r->graph = text_graph(&NET, seed);
  r->net = open_net(r->graph);
  r->other = open_net(r->graph);
  named(r->other, "u")->data[0] += 0.5F;
  o.optimiser = bl_optimiser_defaults(BL_OPTIMISER_ADAMW);
  o.schedule = (bl_schedule){BL_SCHEDULE_CONSTANT, 0.01, 0, 1, 0, 1, 1};
  if (bl_average_open(r->net, 0.9, NULL, &r->average, &err) != BL_OK ||
      bl_peer_open(r->other, 1, &o.optimiser, &o.schedule, &r->peer, &err) != BL_OK)
    fail_msg("%s", err.text);
  r->hooks[0] = bl_average_hook(r->average);
  r->hooks[1] = bl_peer_hook(r->peer);
  o.hooks = r->hooks;
  o.hook_count = 2;
  if (bl_trainer_open(r->net, data, NULL, &o, &r->trainer, &err) != BL_OK) fail_msg("%s", err.text);
}

static void close_run(run *r) {
  bl_trainer_close(r->trainer);
  bl_average_close(r->average);
  bl_peer_close(r->peer);
  bl_train_close(r->net);
  bl_train_close(r->other);
  bl_float_graph_free(r->graph);
}

static bool stop_early(void *user, const bl_train_progress *p) {
  (void)user;
  return p->epoch != 1 || p->step != 2;
}

static void resumes(void **state) {
  (void)state;
  char path[] = "/tmp/bitloom-beside-XXXXXX";
  bl_train_data data = noise(64, 6, false);
  bl_error err = {0};
  run whole, parts;
  assert_true(close(mkstemp(path)) == 0);
  open_run(&whole, &data, NULL);
  assert_int_equal(bl_trainer_run(whole.trainer, NULL, NULL, &err), BL_OK);
  open_run(&parts, &data, path);
  assert_int_equal(bl_trainer_run(parts.trainer, stop_early, NULL, &err), BL_OK);
  close_run(&parts);
  open_run(&parts, &data, path);
  if (bl_trainer_resume(parts.trainer, path, &err) != BL_OK ||
      bl_trainer_run(parts.trainer, NULL, NULL, &err) != BL_OK)
    fail_msg("%s", err.text);
  const char *const names[] = {"u", "b", "w"};
  const size_t counts[] = {30, 5, 15};
  for (int way = 0; way < 2; way++) { // the parameters, then their averages
    for (int k = 0; k < 3; k++) {
      assert_memory_equal(named(whole.net, names[k])->data, named(parts.net, names[k])->data,
                          counts[k] * sizeof(float));
      assert_memory_equal(named(whole.other, names[k])->data, named(parts.other, names[k])->data,
                          counts[k] * sizeof(float));
    }
    bl_average_take(whole.average);
    bl_average_take(parts.average);
  }
  close_run(&whole);
  close_run(&parts);
  bl_train_data_free(&data);
  assert_int_equal(unlink(path), 0);
}

int main(void) {
  seed = test_seed();
  bl_train_threads(1);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(smoothed_labels),
      cmocka_unit_test(averages),
      cmocka_unit_test(peers),
      cmocka_unit_test(statistics),
      cmocka_unit_test(frozen_statistics),
      cmocka_unit_test(resumes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
