// SPDX-License-Identifier: Apache-2.0
// AdaRound: neighbours of every kind of grid, a case by hand, small layers against all choices of
// neighbours tried one by one, whole networks for order.
#include "host/quant/adaround.h"
#include "tests/unit/refine_net.h"

static void neighbours(void **state) {
  (void)state;
  bl_codebook nf4;
  bl_error err = {0};
  assert_int_equal(bl_codebook_open("nf4", &nf4, &err), BL_OK);
  const bl_grid plain = {-7, 7, false, NULL}, bipolar = {-1, 1, true, NULL},
                coded = {-127, 127, false, &nf4};
  const struct {
    const bl_grid *grid;
    double x;
    int below, above;
  } cases[] = {{&plain, 2.3, 2, 3},    {&plain, -2.3, -3, -2},    {&plain, 9, 7, 7},
               {&plain, -7.5, -7, -7}, {&bipolar, 0.2, -1, 1},    {&bipolar, -5, -1, 1},
               {&coded, 25, 20, 31},   {&coded, -100, -127, -88}, {&coded, 130, 127, 127},
               {&coded, 10, 10, 10},   {&plain, 0, 0, 0},         {&bipolar, 0, -1, 1}};
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
    int below, above;
    bl_grid_around(cases[k].grid, cases[k].x, &below, &above);
    assert_int_equal(below, cases[k].below);
    assert_int_equal(above, cases[k].above);
  }
}

// Two inputs that are always equal, weights 0.65 and 0.55 of steps of 1, wanted 1.2 u: (1, 1) is
// off by 0.8 u, (1, 0) and (0, 1) by 0.2 u. Behind a clamp that 0.9 u passes already, all that
// reach it are as good.
static void by_hand(void **state) {
  (void)state;
  enum { WINDOWS = 64 };
  float u[WINDOWS][2], t[WINDOWS];
  for (int i = 0; i < WINDOWS; i++) {
    u[i][0] = u[i][1] = (float)uniform(1, 2);
    t[i] = 1.2F * u[i][0];
  }
  static const double weights[2] = {0.65, 0.55}, steps[2] = {1, 1};
  const bl_grid grid = {-7, 7, false, NULL};
  const bl_affine open = {1, 0, -INFINITY, INFINITY}, closed = {1, 0, -INFINITY, 0.9};
  bl_adaround a = {.columns = 2,
                   .rows = 1,
                   .windows = WINDOWS,
                   .u = u[0],
                   .t = t,
                   .full = t,
                   .weights = weights,
                   .steps = steps,
                   .grids = &grid,
                   .after = &open,
                   .seed = 5};
  int q[2];
  bl_error err = {0};
  assert_int_equal(bl_adaround_round(&a, q, &err), BL_OK);
  assert_int_equal(q[0] + q[1], 1);
  const int nearest[2] = {1, 1};
  double square = 0;
  for (int i = 0; i < WINDOWS; i++)
    square += (double)(u[i][0] * u[i][0]) / WINDOWS;
  assert_true(fabs(bl_adaround_error(&a, 0, nearest) - 0.64 * square) < 1e-5);
  assert_true(fabs(bl_adaround_error(&a, 0, q) - 0.04 * square) < 1e-5);
  a.after = &closed;
  assert_true(bl_adaround_error(&a, 0, nearest) < 1e-12);
}

enum { COLUMNS = 6, ROWS = 3, COUNT = 200 };

typedef struct {
  float u[COUNT][COLUMNS], t[COUNT][ROWS], full[COUNT][ROWS];
  double weights[ROWS][COLUMNS], steps[ROWS][COLUMNS];
  bl_affine after[ROWS];
} layer;

static void random_layer(layer *l) {
  for (int n = 0; n < ROWS; n++) {
    l->after[n] = (bl_affine){uniform(0.5, 2), uniform(-0.2, 0.2), 0, INFINITY};
    for (int k = 0; k < COLUMNS; k++) {
      l->weights[n][k] = uniform(-2, 2);
      l->steps[n][k] = n == 1 ? -0.7 : 0.5;
    }
  }
  for (int i = 0; i < COUNT; i++) {
    const double common = uniform(0, 2);
    for (int k = 0; k < COLUMNS; k++)
      l->u[i][k] = (float)(common + uniform(-0.5, 0.5));
    for (int n = 0; n < ROWS; n++) {
      double sum = 0;
      for (int k = 0; k < COLUMNS; k++)
        sum += l->weights[n][k] * (double)l->u[i][k];
      l->t[i][n] = (float)sum;
      l->full[i][n] = (float)(sum + uniform(-1, 1)); // something is added
    }
  }
}

// The error behind the ReLU, in units of the sum.
static double error_of(const layer *l, int n, const int *q) {
  double square = 0;
  for (int i = 0; i < COUNT; i++) {
    double e = -(double)l->t[i][n];
    for (int k = 0; k < COLUMNS; k++)
      e += l->steps[n][k] * q[k] * (double)l->u[i][k];
    const double full = (double)l->full[i][n];
    const double want = fmax(0, l->after[n].scale * full + l->after[n].offset);
    const double got = fmax(0, l->after[n].scale * (full + e) + l->after[n].offset);
    square += (got - want) * (got - want) / l->after[n].scale / l->after[n].scale;
  }
  return square / COUNT;
}

static void against_all_choices(void **state) {
  (void)state;
  enum { ROUNDS = 12 };
  static layer l;
  double sums[3] = {0}; // best, learned, nearest
  const bl_grid grids[ROWS] = {{-7, 7, false, NULL}, {-7, 7, false, NULL}, {-7, 7, false, NULL}};
  for (int round = 0; round < ROUNDS; round++) {
    random_layer(&l);
    const bl_adaround a = {.columns = COLUMNS,
                           .rows = ROWS,
                           .windows = COUNT,
                           .u = l.u[0],
                           .t = l.t[0],
                           .full = l.full[0],
                           .weights = l.weights[0],
                           .steps = l.steps[0],
                           .grids = grids,
                           .after = l.after,
                           .seed = next_random()};
    int q[ROWS][COLUMNS];
    bl_error err = {0};
    assert_int_equal(bl_adaround_round(&a, q[0], &err), BL_OK);
    for (int n = 0; n < ROWS; n++) {
      double best = INFINITY;
      int all[COLUMNS], nearest[COLUMNS];
      for (int code = 0; code < 1 << COLUMNS; code++) {
        for (int k = 0; k < COLUMNS; k++)
          all[k] = (int)floor(l.weights[n][k] / l.steps[n][k]) + (code >> k & 1);
        best = fmin(best, error_of(&l, n, all));
      }
      for (int k = 0; k < COLUMNS; k++)
        nearest[k] = (int)rint(l.weights[n][k] / l.steps[n][k]);
      const double got = error_of(&l, n, q[n]), plain = error_of(&l, n, nearest);
      assert_true(fabs(got - bl_adaround_error(&a, (uint32_t)n, q[n])) < 1e-6 + 1e-4 * got);
      assert_true(got >= best - 1e-9 && got <= plain + 1e-9);
      sums[0] += best;
      sums[1] += got;
      sums[2] += plain;
    }
  }
  printf("error %.4f, of the best choices %.4f, of the nearest %.4f\n", sums[1], sums[0], sums[2]);
  assert_true(sums[2] - sums[1] > 0.6 * (sums[2] - sums[0]));
}

// Less error than the nearest integers; the same bits for any order of samples.
static void whole_network(void **state) {
  (void)state;
  static sample_set set;
  bl_quantise_options options = {.weight_bits = 3,
                                 .activation_bits = 8,
                                 .range = BL_RANGE_MSE,
                                 .bias_correction = BL_BIAS_EMPIRICAL,
                                 .adaround_iterations = 300};
  double sums[2] = {0}, bias;
  for (int round = 0; round < 4; round++) {
    random_samples(&set);
    bl_float_graph *graph = network();
    for (int learned = 0; learned < 2; learned++) {
      options.rounding = learned ? BL_ROUNDING_ADAROUND : BL_ROUNDING_NEAREST;
      bl_quantised q = quantised_by(graph, &set, &options);
      sums[learned] += error_of_outputs(graph, &q, &set, &bias);
      assert_true(bias < 1e-4);
      if (learned) {
        shuffle(&set);
        bl_quantised again = quantised_by(graph, &set, &options);
        same_graph(q.graph, again.graph);
        bl_arena_free(again.graph->arena);
      }
      bl_arena_free(q.graph->arena);
    }
    bl_float_graph_free(graph);
  }
  printf("squared error: nearest %.4f, adaround %.4f\n", sums[0], sums[1]);
  assert_true(sums[1] < 0.6 * sums[0]);
}

int main(void) {
  take_seed();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(neighbours),
      cmocka_unit_test(by_hand),
      cmocka_unit_test(against_all_choices),
      cmocka_unit_test(whole_network),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
