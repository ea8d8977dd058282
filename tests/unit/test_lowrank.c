// SPDX-License-Identifier: Apache-2.0
// Low rank in a graph: what replaces a layer computes the same where the rank was planted, less
// where it is cut, and saves weights and cycles on the device.
#include "host/cost/cost.h"
#include "host/float/session.h"
#include "host/graph/float_edit.h"
#include "host/lowrank/lowrank.h"
#include "tests/unit/train_support.h"

enum { IMAGE = 6 * 9 * 8, ROOM = 8192 };

static uint64_t seed, drawn;

static double draw(void) {
  return 2 * bl_random_unit(bl_random_key(seed, drawn++)) - 1;
}

// Stride, dilation and uneven padding all matter.
static const text_net CONV = {"conv",
                              "x 1 6 9 8",
                              "w 12 6 3 3;b 12",
                              NULL,
                              "Conv x w b > c | pads=i1,0,2,1 strides=i2,1 dilations=i1,2;"
                              "Relu c > y",
                              13};
static const text_net DENSE = {
    "dense", "x 1 24", "w 16 24;b 16", NULL, "Gemm x w b > y | transB=i1", 13};
static const text_net TURNED = {"turned", "x 1 24", "w 24 16;b 16", NULL, "Gemm x w b > y", 13};
static const text_net SQUARE = {"square", "x 1 24", "w 24 24", NULL, "MatMul x w > y", 13};

static bl_value *value_of(bl_float_graph *g, const char *name) {
  const int32_t v = bl_float_find_value(g, name);
  assert_true(v >= 0);
  return &g->values[v];
}

static void run_graph(const bl_float_graph *graph, const float *x, float *y) {
  bl_float_session *session;
  bl_error err = {0};
  if (bl_float_session_open(graph, &session, &err) != BL_OK) fail_msg("%s", err.text);
  bl_value *in = bl_float_session_input(session, 0);
  memcpy(in->f, x, in->count * sizeof *x);
  assert_int_equal(bl_float_session_run(session, &err), BL_OK);
  const bl_value *out = bl_float_session_value(session, graph->outputs[0]);
  assert_true(out->count <= ROOM);
  memcpy(y, out->f, out->count * sizeof *y);
  bl_float_session_close(session);
}

// The largest difference of two graphs' outputs for random inputs, in parts of the largest output.
static double difference(const bl_float_graph *a, const bl_float_graph *b) {
  static float x[IMAGE], y[ROOM], z[ROOM];
  double worst = 0, most = 0;
  const size_t count = a->values[a->outputs[0]].count;
  assert_int_equal(count, b->values[b->outputs[0]].count);
  for (size_t k = 0; k < IMAGE; k++)
    x[k] = (float)draw();
  run_graph(a, x, y);
  run_graph(b, x, z);
  for (size_t k = 0; k < count; k++) {
    worst = fmax(worst, fabs((double)(y[k] - z[k])));
    most = fmax(most, fabs((double)y[k]));
  }
  return worst / most;
}

static void factorise(bl_float_graph *g, const char *layer, bl_lowrank_options options,
                      const bl_lowrank_moments *moments, bl_lowrank_result *result) {
  bl_error err = {0};
  if (bl_lowrank_layer(g, layer, &options, moments, result, &err) != BL_OK)
    fail_msg("%s", err.text);
}

// w[n][c][y][x] of CONV as a sum of `rank` products that each kind can hold.
static void plant(bl_value *w, bl_lowrank_kind kind, uint32_t rank) {
  const size_t n = 12, c = 6, k = 3;
  memset(w->f, 0, w->count * sizeof *w->f);
  for (uint32_t r = 0; r < rank; r++) {
    double a[12], b[6], ay[12][3], by[6][3], t[9], slice[6][9];
    for (size_t i = 0; i < n; i++)
      a[i] = draw();
    for (size_t i = 0; i < c; i++)
      b[i] = draw();
    for (size_t i = 0; i < 9; i++)
      t[i] = draw();
    for (size_t i = 0; i < n * k; i++)
      ay[i / k][i % k] = draw();
    for (size_t i = 0; i < c * k; i++)
      by[i / k][i % k] = draw();
    for (size_t i = 0; i < c * 9; i++)
      slice[i / 9][i % 9] = draw();
    for (size_t i = 0; i < n; i++)
      for (size_t j = 0; j < c; j++)
        for (size_t x = 0; x < 9; x++)
          w->f[(i * c + j) * 9 + x] +=
              (float)(kind == BL_LOWRANK_SVD       ? a[i] * slice[j][x]
                      : kind == BL_LOWRANK_SPATIAL ? by[j][x / 3] * ay[i][x % 3]
                      : kind == BL_LOWRANK_SEPARABLE
                          ? slice[j][x] * (a[i] + 0.5 * ((i + j) % 3 == 0 ? 1 : 0))
                          : a[i] * b[j] * t[x]);
  }
}

// With the rank that was planted the layer computes what it did; by energy the rank is found.
static void check_kind(bl_lowrank_kind kind, uint32_t rank, const char *const *names,
                       uint64_t weights) {
  bl_float_graph *g = text_graph(&CONV, seed), *was;
  bl_error err = {0};
  bl_lowrank_result given, found;
  plant(value_of(g, "w"), kind, rank);
  assert_int_equal(bl_float_copy(g, 0, &was, &err), BL_OK);
  bl_float_graph *again;
  assert_int_equal(bl_float_copy(g, 0, &again, &err), BL_OK);
  factorise(g, "c",
            (bl_lowrank_options){
                .kind = kind, .rank = rank, .rank_in = kind == BL_LOWRANK_TUCKER ? rank : 0},
            NULL, &given);
  assert_true(given.changed && given.error < 1e-4);
  assert_int_equal(given.weights_before, 12 * 6 * 9);
  assert_int_equal(given.weights_after, weights);
  for (uint32_t p = 0; names[p] != NULL; p++)
    assert_int_equal(bl_float_find_node(g, names[p]), (int32_t)p);
  uint64_t parameters = 0, macs = 0;
  for (uint32_t n = 0; n < g->node_count; n++) {
    parameters += bl_node_parameters(g, &g->nodes[n]);
    macs += bl_node_macs(g, &g->nodes[n]);
  }
  assert_int_equal(parameters, weights + 12); // and the bias
  assert_int_equal(macs, given.macs_after);
  assert_true(difference(was, g) < (kind == BL_LOWRANK_CP ? 2e-2 : 1e-5));
  factorise(again, "c", (bl_lowrank_options){.kind = kind, .rule = BL_RANK_ENERGY, .share = 0.9999},
            NULL, &found);
  assert_int_equal(found.rank, rank);
  bl_float_graph_free(was);
  bl_float_graph_free(again);
  bl_float_graph_free(g);
}

static void planted_ranks(void **state) {
  (void)state;
  static const char *const two[] = {"c/u", "c/v", "y", NULL};
  static const char *const three[] = {"c/u", "c/core", "c/v", "y", NULL};
  check_kind(BL_LOWRANK_SVD, 3, two, 3 * 54 + 12 * 3);
  check_kind(BL_LOWRANK_SPATIAL, 4, two, 4 * 18 + 4 * 36);
  check_kind(BL_LOWRANK_TUCKER, 3, three, 3 * 6 + 9 * 9 + 12 * 3);
  check_kind(BL_LOWRANK_CP, 3, three, 3 * 6 + 3 * 9 + 12 * 3);
  check_kind(BL_LOWRANK_SEPARABLE, 1, two, 6 * 9 + 12 * 6);
}

// A dense layer of planted rank, however its weights lie.
static void dense_layers(void **state) {
  (void)state;
  const text_net *nets[] = {&DENSE, &TURNED, &SQUARE};
  for (size_t k = 0; k < 3; k++) {
    bl_float_graph *g = text_graph(nets[k], seed), *was;
    bl_error err = {0};
    bl_lowrank_result r;
    bl_value *w = value_of(g, "w");
    double a[24], b[24];
    memset(w->f, 0, w->count * sizeof *w->f);
    for (int rank = 0; rank < 4; rank++) {
      for (size_t i = 0; i < 24; i++) {
        a[i] = draw();
        b[i] = draw();
      }
      for (size_t i = 0; i < w->count; i++)
        w->f[i] += (float)(a[i / (size_t)w->dims[1]] * b[i % (size_t)w->dims[1]]);
    }
    assert_int_equal(bl_float_copy(g, 0, &was, &err), BL_OK);
    factorise(g, "y", (bl_lowrank_options){.rule = BL_RANK_ENERGY, .share = 0.999999}, NULL, &r);
    assert_int_equal(r.rank, 4);
    assert_int_equal(r.weights_after, 4 * (w->dims[0] + w->dims[1]));
    assert_true(bl_float_find_node(g, "y/u") == 0 && bl_float_find_node(g, "y/v") == 1);
    assert_true(difference(was, g) < 1e-5);
    bl_float_graph_free(was);
    bl_float_graph_free(g);
  }
}

static void budgets(void **state) {
  (void)state;
  bl_lowrank_result r;
  for (int k = 0; k < 2; k++) {
    bl_float_graph *g = text_graph(&CONV, seed);
    const bl_rank_rule rule = k == 0 ? BL_RANK_WEIGHTS : BL_RANK_MACS;
    factorise(g, "c", (bl_lowrank_options){.rule = rule, .share = 0.5}, NULL, &r);
    // (54 + 12) r of 648
    assert_int_equal(r.rank, 4);
    assert_int_equal(r.weights_after, 264);
    assert_int_equal(r.macs_after * 648, r.macs_before * 264);
    bl_float_graph_free(g);
  }
}

// Half of the weights are not enough for one component; full rank saves nothing.
static void layers_stay(void **state) {
  (void)state;
  bl_lowrank_result r;
  bl_float_graph *g = text_graph(&CONV, seed);
  factorise(g, "c", (bl_lowrank_options){.rank = 12}, NULL, &r);
  assert_false(r.changed);
  factorise(g, "c", (bl_lowrank_options){.rule = BL_RANK_WEIGHTS, .share = 0.05}, NULL, &r);
  assert_false(r.changed);
  assert_int_equal(r.rank, 0);
  assert_int_equal(g->node_count, 2);
  bl_float_graph_free(g);
}

// What a curve says of a rank is what happens at that rank.
static void curves(void **state) {
  (void)state;
  for (int kind = BL_LOWRANK_SVD; kind <= BL_LOWRANK_SEPARABLE; kind++) {
    bl_float_graph *g = text_graph(&CONV, seed);
    const bl_lowrank_options options = {.kind = (bl_lowrank_kind)kind, .multiple = 2};
    bl_lowrank_point points[BL_LOWRANK_MOST_POINTS];
    bl_error err = {0};
    uint32_t count;
    assert_int_equal(bl_lowrank_curve(g, "c", &options, NULL, points, &count, &err), BL_OK);
    assert_true(count >= 3 && points[0].rank == 0 && points[0].error == 0);
    assert_int_equal(points[0].weights, 648);
    for (uint32_t k = 1; k < count; k++) {
      bl_float_graph *copy;
      bl_lowrank_result r;
      assert_int_equal(bl_float_copy(g, 0, &copy, &err), BL_OK);
      factorise(copy, "c",
                (bl_lowrank_options){.kind = (bl_lowrank_kind)kind,
                                     .rank = points[k].rank,
                                     .rank_in = points[k].rank_in},
                NULL, &r);
      assert_true(r.changed && fabs(r.error - points[k].error) < 1e-9);
      assert_true(r.weights_after == points[k].weights && r.macs_after == points[k].macs);
      assert_true(k == 1 || points[k].error < points[k - 1].error);
      assert_true(kind == BL_LOWRANK_SEPARABLE || points[k].rank % 2 == 0);
      bl_float_graph_free(copy);
    }
    bl_float_graph_free(g);
  }
}

// ---- With data

// Inputs of three dimensions in a space of 24, with a mean.
typedef struct {
  double basis[3][24], mean[24];
} subspace;

static bl_status read_sample(void *context, size_t index, float *out, bl_error *err) {
  const subspace *s = context;
  (void)err;
  for (size_t k = 0; k < 24; k++)
    out[k] = (float)s->mean[k];
  for (size_t d = 0; d < 3; d++) {
    const double x = 2 * bl_random_unit(bl_random_key(seed + 99, 3 * index + d)) - 1;
    for (size_t k = 0; k < 24; k++)
      out[k] += (float)(x * s->basis[d][k]);
  }
  return BL_OK;
}

// The weights have full rank, yet three components hold all that such inputs bring out of them.
static void data_shows_the_rank(void **state) {
  (void)state;
  const text_net *nets[] = {&DENSE, &TURNED, &SQUARE};
  subspace s;
  for (size_t k = 0; k < 24; k++) {
    s.mean[k] = draw();
    for (size_t d = 0; d < 3; d++)
      s.basis[d][k] = draw();
  }
  const bl_calibration calibration = {read_sample, &s, 200};
  for (size_t k = 0; k < 3; k++) {
    bl_float_graph *g = text_graph(nets[k], seed), *blind, *was;
    bl_lowrank_moments moments;
    bl_lowrank_result r;
    bl_error err = {0};
    float x[24], y[24], z[24], b[24];
    double seen = 0, unseen = 0, all = 0;
    assert_int_equal(bl_float_copy(g, 0, &was, &err), BL_OK);
    assert_int_equal(bl_float_copy(g, 0, &blind, &err), BL_OK);
    assert_int_equal(bl_lowrank_measure(g, &calibration, &moments, &err), BL_OK);
    assert_int_equal(moments.count, 1);
    factorise(g, "y", (bl_lowrank_options){.rank = 3}, &moments, &r);
    assert_true(r.error < 0.05);
    factorise(blind, "y", (bl_lowrank_options){.rank = 3}, NULL, &r);
    for (size_t n = 1000; n < 1020; n++) {
      assert_int_equal(read_sample(&s, n, x, &err), BL_OK);
      run_graph(was, x, y);
      run_graph(g, x, z);
      run_graph(blind, x, b);
      for (size_t j = 0; j < was->values[was->outputs[0]].count; j++) {
        seen += pow((double)(y[j] - z[j]), 2);
        unseen += pow((double)(y[j] - b[j]), 2);
        all += pow((double)y[j], 2);
      }
    }
    printf("%s: error %.5f with data, %.3f without\n", nets[k]->name, seen / all, unseen / all);
    assert_true(seen < 1e-3 * all && unseen > 0.05 * all);
    bl_arena_free(moments.arena);
    bl_float_graph_free(g);
    bl_float_graph_free(was);
    bl_float_graph_free(blind);
  }
}

// Mean and covariance of two channels by hand: rows (0, 2), (4, 4) and (2, 0), (6, 6).
static bl_status read_known(void *context, size_t index, float *out, bl_error *err) {
  static const float samples[2][4] = {{0, 4, 2, 4}, {2, 6, 0, 6}};
  (void)context;
  (void)err;
  memcpy(out, samples[index], sizeof samples[index]);
  return BL_OK;
}

static void moments_by_hand(void **state) {
  (void)state;
  static const text_net net = {"two", "x 1 2 1 2", "w 4 2 1 1", NULL, "Conv x w > y", 13};
  bl_float_graph *g = text_graph(&net, seed);
  const bl_calibration calibration = {read_known, NULL, 2};
  bl_lowrank_moments m;
  bl_error err = {0};
  assert_int_equal(bl_lowrank_measure(g, &calibration, &m, &err), BL_OK);
  const bl_lowrank_input *in = &m.inputs[0];
  assert_string_equal(in->layer, "y");
  assert_int_equal(in->channels, 2);
  // channel 0: 0 4 2 6, mean 3, variance 5; channel 1: 2 4 0 6, mean 3; products: 0 16 0 36
  assert_true(in->mean[0] == 3 && in->mean[1] == 3);
  assert_true(fabs(in->covariance[0] - 5) < 1e-12 && fabs(in->covariance[3] - 5) < 1e-12);
  assert_true(fabs(in->covariance[1] - 4) < 1e-12 && fabs(in->covariance[2] - 4) < 1e-12);
  bl_arena_free(m.arena);
  bl_float_graph_free(g);
}

// ---- On the device

static bl_status read_random(void *context, size_t index, float *out, bl_error *err) {
  (void)err;
  for (size_t k = 0; k < *(const size_t *)context; k++)
    out[k] = (float)(2 * bl_random_unit(bl_random_key(seed + index, k)) - 1);
  return BL_OK;
}

// The last factor disturbed, and solved again on what the layer gave: with the planted rank nothing
// of the disturbance is left, but for the damping; elsewhere it is no worse than the factorisation.
static void check_refit(const text_net *net, const char *layer, bl_lowrank_kind kind, uint32_t rank,
                        bool planted) {
  bl_float_graph *g = text_graph(net, seed), *was;
  bl_lowrank_result r;
  bl_error err = {0};
  char last[16];
  if (planted) plant(value_of(g, "w"), kind, rank);
  assert_int_equal(bl_float_copy(g, 0, &was, &err), BL_OK);
  const uint32_t rank_in = kind == BL_LOWRANK_TUCKER ? rank : 0;
  factorise(g, layer, (bl_lowrank_options){.kind = kind, .rank = rank, .rank_in = rank_in}, NULL,
            &r);
  assert_true(r.changed);
  const double factorised = difference(was, g);
  (void)snprintf(last, sizeof last, "%s/v", layer);
  const bl_node *v = &g->nodes[bl_float_find_node(g, last)];
  bl_value *w = &g->values[v->inputs[1]];
  for (size_t k = 0; k < w->count; k++)
    w->f[k] += (float)((planted ? 0.5 : 3) * draw());
  size_t elements = g->values[g->inputs[0]].count;
  const bl_calibration calibration = {read_random, &elements, 300};
  const double disturbed = difference(was, g);
  assert_int_equal(bl_lowrank_refit(g, was, layer, &calibration, &err), BL_OK);
  const double solved = difference(was, g);
  printf("%s, kind %d: factorised %.4f, disturbed %.4f, solved again %.4f\n", net->name, (int)kind,
         factorised, disturbed, solved);
  assert_true(disturbed > 0.1 && solved < disturbed / 2 && (!planted || solved < 0.02));
  assert_int_equal(bl_lowrank_refit(g, was, "none", &calibration, &err), BL_ERR_USAGE);
  bl_float_graph_free(g);
  bl_float_graph_free(was);
}

static void last_factors_are_solved_again(void **state) {
  (void)state;
  check_refit(&CONV, "c", BL_LOWRANK_SVD, 3, true);
  check_refit(&CONV, "c", BL_LOWRANK_SPATIAL, 4, true);
  check_refit(&CONV, "c", BL_LOWRANK_TUCKER, 3, true);
  check_refit(&CONV, "c", BL_LOWRANK_SEPARABLE, 1, true);
  check_refit(&DENSE, "y", BL_LOWRANK_SVD, 9, false);
  check_refit(&TURNED, "y", BL_LOWRANK_SVD, 9, false);
  check_refit(&SQUARE, "y", BL_LOWRANK_SVD, 11, false);
}

static double cycles_of(const bl_float_graph *g, uint64_t *weights) {
  bl_compile_options device = {&BL_CONFIGS[BL_CONFIG_DEFAULT], 1};
  const bl_quantise_options options = {.weight_bits = 8, .activation_bits = 8};
  size_t elements = g->values[g->inputs[0]].count;
  const bl_calibration calibration = {read_random, &elements, 8};
  bl_quantised q;
  bl_error err = {0};
  if (bl_quantise(g, &options, &calibration, &q, &err) != BL_OK) fail_msg("%s", err.text);
  if (bl_int_check(q.graph, &err) != BL_OK) fail_msg("%s", err.text);
  const double cycles = bl_cost_graph(&device, q.graph);
  *weights = 0;
  for (uint32_t l = 0; l < q.graph->layer_count; l++)
    *weights += bl_int_weights(q.graph, &q.graph->layers[l]);
  bl_arena_free(q.graph->arena);
  return cycles;
}

// 64 to 64 channels: each kind at the rank that halves the weights, quantised and compiled.
static void cycles_fall(void **state) {
  (void)state;
  static const text_net net = {"wide",
                               "x 1 64 16 16",
                               "w 64 64 3 3;v 4 64 1 1",
                               NULL,
                               "Conv x w > c | pads=i1,1,1,1;Relu c > r;Conv r v > y",
                               13};
  static const char *const names[] = {"svd", "spatial", "tucker", "cp", "separable"};
  bl_float_graph *whole = text_graph(&net, seed);
  uint64_t before, after;
  const double dense = cycles_of(whole, &before);
  for (int kind = BL_LOWRANK_SVD; kind <= BL_LOWRANK_SEPARABLE; kind++) {
    bl_float_graph *g;
    bl_lowrank_result r;
    bl_error err = {0};
    assert_int_equal(bl_float_copy(whole, 0, &g, &err), BL_OK);
    const double share = kind == BL_LOWRANK_CP ? 0.1 : 0.5; // hundreds of components take long
    factorise(g, "c",
              (bl_lowrank_options){
                  .kind = (bl_lowrank_kind)kind, .rule = BL_RANK_WEIGHTS, .share = share},
              NULL, &r);
    assert_true(r.changed);
    const double cycles = cycles_of(g, &after);
    printf("%-9s rank %u of %u: weights %.3f, cycles %.3f of all\n", names[kind], (unsigned)r.rank,
           (unsigned)r.rank_in, (double)after / (double)before, cycles / dense);
    assert_int_equal(after - 4 * 64, r.weights_after);
    assert_true(100 * after <= 51 * before && cycles < 0.9 * dense);
    bl_float_graph_free(g);
  }
  bl_float_graph_free(whole);
}

// ---- Bad requests

static void refused(bl_float_graph *g, const char *layer, bl_lowrank_options options,
                    const char *says) {
  bl_lowrank_result r;
  bl_error err = {0};
  assert_int_equal(bl_lowrank_layer(g, layer, &options, NULL, &r, &err), BL_ERR_USAGE);
  if (strstr(err.text, says) == NULL) fail_msg("%s: does not say %s", err.text, says);
}

static void bad_requests(void **state) {
  (void)state;
  bl_float_graph *g = text_graph(&CONV, seed), *dense = text_graph(&DENSE, seed);
  bl_lowrank_options options = {.rank = 3};
  refused(g, "none", options, "no layer none");
  refused(g, "y", options, "layer y: cannot be factorised");
  refused(g, "c", (bl_lowrank_options){.rank = 0}, "rank 0; 1 to 12");
  refused(g, "c", (bl_lowrank_options){.rank = 13}, "rank 13");
  refused(g, "c", (bl_lowrank_options){.rule = BL_RANK_ENERGY, .share = 1.5}, "share 1.5");
  refused(g, "c", (bl_lowrank_options){.kind = BL_LOWRANK_CP, .rule = BL_RANK_AUTO}, "automatic");
  refused(dense, "y", (bl_lowrank_options){.kind = BL_LOWRANK_TUCKER, .rank = 2}, "layer y");
  value_of(g, "w")->f[5] = NAN;
  bl_lowrank_result r;
  bl_error err = {0};
  assert_int_equal(bl_lowrank_layer(g, "c", &options, NULL, &r, &err), BL_ERR_RANGE);
  assert_non_null(strstr(err.text, "layer c: a weight is not finite"));
  bl_float_graph_free(g);
  bl_float_graph_free(dense);
}

int main(void) {
  seed = test_seed();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(planted_ranks),   cmocka_unit_test(dense_layers),
      cmocka_unit_test(budgets),         cmocka_unit_test(layers_stay),
      cmocka_unit_test(curves),          cmocka_unit_test(data_shows_the_rank),
      cmocka_unit_test(moments_by_hand), cmocka_unit_test(last_factors_are_solved_again),
      cmocka_unit_test(cycles_fall),     cmocka_unit_test(bad_requests),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
