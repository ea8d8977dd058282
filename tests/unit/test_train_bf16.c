// SPDX-License-Identifier: Apache-2.0
// Convolutions that multiply bfloat16: forward and both gradients against sums in double of factors
// that are rounded here, to the nearest of 8 significant bits, halves to even.
#include "tests/unit/train_support.h"

#include "host/train/train_net.h"

static uint64_t seed = 1;

static double rounded(float v) {
  uint32_t bits;
  memcpy(&bits, &v, sizeof bits);
  bits += 0x7FFF + (bits >> 16 & 1);
  bits &= 0xFFFF0000;
  memcpy(&v, &bits, sizeof v);
  return (double)v;
}

typedef struct {
  text_net net;
  size_t samples, in, out, side, kernel, stride, pad, groups;
} window_case;

typedef struct {
  double *y, *dx, *dw;  // what has to come out
  double *ay, *ax, *aw; // sums of the magnitudes of what is added there
  size_t ny, nx, nw, out_side;
} expected;

// Adds what one pair of factors contributes.
static void add(const expected *e, size_t at_y, size_t at_x, size_t at_w, float x, float w,
                float dy) {
  e->y[at_y] += rounded(x) * rounded(w);
  e->ay[at_y] += fabs((double)x * (double)w);
  e->dx[at_x] += rounded(dy) * rounded(w);
  e->ax[at_x] += fabs((double)dy * (double)w);
  e->dw[at_w] += rounded(dy) * rounded(x);
  e->aw[at_w] += fabs((double)dy * (double)x);
}

static void convolve(const window_case *c, const float *x, const float *w, const float *dy,
                     const expected *e) {
  const size_t in = c->in / c->groups, out = c->out / c->groups, o = e->out_side;
  for (size_t n = 0; n < c->samples; n++)
    for (size_t f = 0; f < c->out; f++)
      for (size_t p = 0; p < o * o; p++)
        for (size_t k = 0; k < in * c->kernel * c->kernel; k++) {
          const size_t channel = f / out * in + k / (c->kernel * c->kernel);
          const size_t row = p / o * c->stride + k / c->kernel % c->kernel;
          const size_t column = p % o * c->stride + k % c->kernel;
          if (row < c->pad || row - c->pad >= c->side || column < c->pad ||
              column - c->pad >= c->side)
            continue;
          const size_t at_x = ((n * c->in + channel) * c->side + row - c->pad) * c->side + column -
                              c->pad,
                       at_y = (n * c->out + f) * o * o + p,
                       at_w = f * in * c->kernel * c->kernel + k;
          add(e, at_y, at_x, at_w, x[at_x], w[at_w], dy[at_y]);
        }
}

static void same(const char *what, const float *got, const double *want, const double *size,
                 size_t count) {
  for (size_t k = 0; k < count; k++)
    if (!(fabs((double)got[k] - want[k]) <= 2e-6 * size[k]))
      fail_msg("seed %llu: %s[%zu] is %.9g, not %.9g", (unsigned long long)seed, what, k,
               (double)got[k], want[k]);
}

static double *zeros(size_t count) {
  double *all = calloc(count, sizeof *all);
  assert_non_null(all);
  return all;
}

static expected open_expected(const window_case *c) {
  expected e = {.out_side = (c->side + 2 * c->pad - c->kernel) / c->stride + 1};
  e.ny = c->samples * c->out * e.out_side * e.out_side;
  e.nx = c->samples * c->in * c->side * c->side;
  e.nw = c->out * c->in / c->groups * c->kernel * c->kernel;
  e.y = zeros(e.ny);
  e.ay = zeros(e.ny);
  e.dx = zeros(e.nx);
  e.ax = zeros(e.nx);
  e.dw = zeros(e.nw);
  e.aw = zeros(e.nw);
  return e;
}

static void close_expected(expected *e) {
  double *all[] = {e->y, e->ay, e->dx, e->ax, e->dw, e->aw};
  for (size_t k = 0; k < sizeof all / sizeof all[0]; k++)
    free(all[k]);
}

static void check(const window_case *c) {
  bl_float_graph *graph = text_graph(&c->net, seed);
  const bl_train_options options = {.bf16 = true, .input_gradients = true};
  bl_train_net *net;
  bl_error err = {0};
  uint32_t count;
  if (bl_train_open(graph, &options, &net, &err) != BL_OK) fail_msg("%s", err.text);
  assert_true(bl_train_bf16(net));
  expected e = open_expected(c);
  assert_true(bl_train_output_count(net, 0) == e.ny);
  float *x = bl_train_input(net, 0), *dy = bl_train_output_gradient(net, 0);
  for (size_t k = 0; k < e.nx; k++)
    x[k] = (float)bl_random_normal(bl_random_key(seed + 1, k));
  for (size_t k = 0; k < e.ny; k++)
    dy[k] = (float)bl_random_normal(bl_random_key(seed + 2, k));
  const bl_train_parameter *p = bl_train_parameters(net, &count);
  assert_true(count == 1 && p->count == e.nw);
  convolve(c, x, p->data, dy, &e);
  assert_int_equal(bl_train_forward(net, true, 0, &err), BL_OK);
  same("y", bl_train_output(net, 0), e.y, e.ay, e.ny);
  assert_int_equal(bl_train_backward(net, &err), BL_OK);
  same("dx", bl_train_input_gradient(net, 0), e.dx, e.ax, e.nx);
  same("dw", p->gradient, e.dw, e.aw, e.nw);
  close_expected(&e);
  bl_train_close(net);
  bl_float_graph_free(graph);
}

static void convolutions(void **state) {
  (void)state;
  static const window_case cases[] = {
      {{"plain", "x 3 5 7 7", "w 6 5 3 3", NULL, "Conv x w > y | pads=i1,1,1,1", 13},
       3,
       5,
       6,
       7,
       3,
       1,
       1,
       1},
      {{"strided", "x 2 16 8 8", "w 32 16 3 3", NULL, "Conv x w > y | pads=i1,1,1,1 strides=i2,2",
        13},
       2,
       16,
       32,
       8,
       3,
       2,
       1,
       1},
      {{"point", "x 2 16 6 6", "w 32 16 1 1", NULL, "Conv x w > y", 13}, 2, 16, 32, 6, 1, 1, 0, 1},
      {{"depthwise", "x 2 16 6 6", "w 16 1 3 3", NULL, "Conv x w > y | pads=i1,1,1,1 group=i16",
        13},
       2,
       16,
       16,
       6,
       3,
       1,
       1,
       16},
  };
  if (!bl_train_has_bf16()) {
    printf("skipped: this processor does not multiply bfloat16\n");
    skip();
  }
  for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++)
    check(&cases[k]);
}

int main(void) {
  seed = test_seed();
  bl_train_threads(1);
  const struct CMUnitTest tests[] = {cmocka_unit_test(convolutions)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
