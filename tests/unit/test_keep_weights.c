// SPDX-License-Identifier: Apache-2.0
// What weights keep in training: zeros, and shared values, whose gradient is the sum of those of
// their weights; with quantisation behind them; resuming with the same bits.
#include "tests/unit/quant_aware_support.h"

#include <unistd.h>

#include "host/train/keep_weights.h"

// y = x w; the loss is sum of c y, so that dL/dw[i][n] = x[i] c[n].
static const text_net LINEAR = {"linear", "x 1 3",          "w 3 2 =0.5,0,-1,0.5,0.5,-1",
                                NULL,     "MatMul x w > y", 13};

static void gradient_of_centroids(void **state) {
  (void)state;
  bl_float_graph *graph = text_graph(&LINEAR, seed);
  const bl_kept_weights kept = {.value = "w", .most = 2};
  bl_train_options options = {.seed = 1};
  bl_keep_weights *keep;
  bl_train_net *net;
  bl_error err = {0};
  uint32_t count;
  if (bl_keep_weights_open(graph, &kept, 1, &keep, &err) != BL_OK) fail_msg("%s", err.text);
  options.transforms = bl_keep_weights_transforms(keep, &options.transform_count);
  if (bl_train_open(graph, &options, &net, &err) != BL_OK) fail_msg("%s", err.text);
  bl_keep_weights_attach(keep, net);
  memcpy(bl_train_input(net, 0), (float[]){1, 10, 100}, 3 * sizeof(float));
  assert_int_equal(bl_train_forward(net, true, 0, &err), BL_OK);
  // [1 10 100] [0.5 0; -1 0.5; 0.5 -1]
  near((double)bl_train_output(net, 0)[0], 40.5, 1e-5);
  near((double)bl_train_output(net, 0)[1], -95, 1e-5);
  memcpy(bl_train_output_gradient(net, 0), (float[]){1, 2}, 2 * sizeof(float));
  assert_int_equal(bl_train_backward(net, &err), BL_OK);
  bl_train_parameter *p = bl_train_parameters(net, &count), *centroids = NULL;
  for (uint32_t k = 0; k < count; k++) {
    if (p[k].kind == BL_TRAIN_LEARNED) centroids = &p[k];
    if (p[k].kind == BL_TRAIN_WEIGHT) assert_true(p[k].rate == 0);
  }
  assert_non_null(centroids);
  assert_int_equal(centroids->count, 2);
  // -1: 10 * 1 + 100 * 2; 0.5: 1 * 1 + 100 * 1 + 10 * 2
  near((double)centroids->gradient[0], 210, 1e-4);
  near((double)centroids->gradient[1], 121, 1e-4);
  centroids->data[0] = -3;
  assert_int_equal(bl_train_store(net, graph, &err), BL_OK);
  assert_int_equal(bl_keep_weights_store(keep, graph, &err), BL_OK);
  const float *w = graph->values[value_named(graph, "w")].f;
  const float expected[6] = {0.5F, 0, -3, 0.5F, 0.5F, -3};
  assert_memory_equal(w, expected, sizeof expected);
  bl_train_close(net);
  bl_keep_weights_close(keep);
  bl_float_graph_free(graph);
}

// ---- In training, under quantisation

static const text_net NET = {"net",
                             "x 8 6",
                             "u 6 5;b 5;w 5 3 =0.5,0,-1,0.5,0.5,-1,0,0,1,1,0,1,-1,0,0.5",
                             NULL,
                             "MatMul x u > h;Add h b > k;Relu k > r;MatMul r w > y",
                             13};

typedef struct {
  model m;
  bl_keep_weights *keep;
  bl_train_transform transforms[32];
  bl_trainer *trainer;
  bl_train_hook hook;
} run;

static void open_run(run *r, const char *path) {
  static const bl_kept_weights kept[2] = {{.value = "u", .sparse = true},
                                          {.value = "w", .sparse = true, .most = 3}};
  const bl_quant_aware_options bits = {.weight_bits = 4, .activation_bits = 4};
  const bl_calibration calibration = {read_sample, &r->m.data, r->m.data.count};
  bl_train_options options = {.seed = 1};
  bl_trainer_options o = {.epochs = 3, .seed = seed, .checkpoint = path, .checkpoint_steps = 3};
  uint32_t first, then;
  bl_error err = {0};
  r->m.graph = import_batch(&r->m.file, 8);
  float *u = r->m.graph->values[value_named(r->m.graph, "u")].f;
  for (size_t k = 0; k < 30; k += 3)
    u[k] = 0;
  bl_float_graph *one = import_batch(&r->m.file, 1);
  if (bl_keep_weights_open(r->m.graph, kept, 2, &r->keep, &err) != BL_OK ||
      bl_quant_aware_open(r->m.graph, one, &bits, &calibration, &r->m.aware, &err) != BL_OK)
    fail_msg("%s", err.text);
  bl_float_graph_free(one);
  const bl_train_transform *t = bl_keep_weights_transforms(r->keep, &first);
  memcpy(r->transforms, t, first * sizeof *t);
  t = bl_quant_aware_transforms(r->m.aware, &then);
  memcpy(r->transforms + first, t, then * sizeof *t);
  options.transforms = r->transforms;
  options.transform_count = first + then;
  if (bl_train_open(r->m.graph, &options, &r->m.net, &err) != BL_OK) fail_msg("%s", err.text);
  bl_quant_aware_attach(r->m.aware, r->m.net, true);
  bl_keep_weights_attach(r->keep, r->m.net);
  r->hook = bl_quant_aware_hook(r->m.aware);
  o.hooks = &r->hook;
  o.hook_count = 1;
  o.optimiser = bl_optimiser_defaults(BL_OPTIMISER_ADAMW);
  o.schedule = (bl_schedule){BL_SCHEDULE_CONSTANT, 0.01, 0, 1, 0, 1, 1};
  if (bl_trainer_open(r->m.net, &r->m.data, NULL, &o, &r->trainer, &err) != BL_OK)
    fail_msg("%s", err.text);
}

static void close_run(run *r) {
  bl_trainer_close(r->trainer);
  bl_train_close(r->m.net);
  bl_keep_weights_close(r->keep);
  bl_quant_aware_close(r->m.aware);
  bl_float_graph_free(r->m.graph);
}

static bool stop_early(void *user, const bl_train_progress *p) {
  (void)user;
  return p->epoch != 1 || p->step != 2;
}

static void keeps_and_resumes(void **state) {
  (void)state;
  char path[] = "/tmp/bitloom-keep-XXXXXX";
  const float *w[2];
  bl_error err = {0};
  assert_true(close(mkstemp(path)) == 0);
  run r[2];
  for (int k = 0; k < 2; k++) {
    r[k] = (run){.m = {.file = text_model(&NET, seed), .data = noise(64, 6, false)}};
    open_run(&r[k], k == 0 ? NULL : path);
    if (bl_trainer_run(r[k].trainer, k == 0 ? NULL : stop_early, NULL, &err) != BL_OK)
      fail_msg("%s", err.text);
    if (k == 1) {
      close_run(&r[k]);
      open_run(&r[k], path);
      if (bl_trainer_resume(r[k].trainer, path, &err) != BL_OK ||
          bl_trainer_run(r[k].trainer, NULL, NULL, &err) != BL_OK)
        fail_msg("%s", err.text);
    }
    assert_int_equal(bl_train_store(r[k].m.net, r[k].m.graph, &err), BL_OK);
    assert_int_equal(bl_keep_weights_store(r[k].keep, r[k].m.graph, &err), BL_OK);
    w[k] = r[k].m.graph->values[value_named(r[k].m.graph, "w")].f;
    const float *u = r[k].m.graph->values[value_named(r[k].m.graph, "u")].f;
    for (size_t i = 0; i < 30; i++)
      assert_true((u[i] == 0) == (i % 3 == 0));
    // 0.5, -1 and 1 have moved, the same ones are equal, and 0 is 0
    assert_true(w[k][0] == w[k][3] && w[k][0] == w[k][4] && w[k][0] == w[k][14]);
    assert_true(w[k][0] != 0.5F && w[k][2] == w[k][5] && w[k][8] == w[k][9] && w[k][1] == 0);
  }
  assert_memory_equal(w[0], w[1], 15 * sizeof(float));
  for (int k = 0; k < 2; k++) {
    close_run(&r[k]);
    bl_train_data_free(&r[k].m.data);
    free(r[k].m.file.bytes);
  }
  assert_int_equal(unlink(path), 0);
}

static void refusals(void **state) {
  (void)state;
  bl_float_graph *graph = text_graph(&LINEAR, seed);
  bl_keep_weights *keep;
  bl_error err = {0};
  bl_kept_weights kept = {.value = "w", .most = 1};
  assert_int_equal(bl_keep_weights_open(graph, &kept, 1, &keep, &err), BL_ERR_RANGE);
  assert_non_null(strstr(err.text, "w have 2 values, not 1"));
  kept.value = "v";
  assert_int_equal(bl_keep_weights_open(graph, &kept, 1, &keep, &err), BL_ERR_MISMATCH);
  bl_float_graph_free(graph);
}

int main(void) {
  seed = test_seed();
  bl_train_threads(1);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(gradient_of_centroids),
      cmocka_unit_test(keeps_and_resumes),
      cmocka_unit_test(refusals),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
