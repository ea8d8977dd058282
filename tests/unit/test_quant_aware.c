// SPDX-License-Identifier: Apache-2.0
// Quantisation-aware training: fake quantisation and its gradients against numbers worked out by
// hand and finite differences; the written graph's integers, by the reference kernels, against the
// trained network's; a small task learned with two bits; resuming; bad input.
#include "tests/unit/quant_aware_support.h"

#include <time.h>
#include <unistd.h>

#include "host/float/session.h"
#include "host/ref/reference.h"
#include "host/train/fake_quant.h"

static void all_near(const float *got, const double *expected, size_t count) {
  for (size_t k = 0; k < count; k++)
    if (!(fabs((double)got[k] - expected[k]) <= 1e-6))
      fail_msg("[%zu]: got %.9g, expected %.9g", k, (double)got[k], expected[k]);
}

// ---- Fake quantisation

static void three_bits(void **state) {
  (void)state;
  const bl_fake_quant q = {.lo = -3, .hi = 3, .channels = 1, .gradient_scale = 0.5};
  const float step = 0.5F, x[10] = {-2, -1.5F, -1.25F, 0.2F, 0.25F, 0.75F, 1.375F, 1.5F, 9, 0};
  const float ones[10] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  float y[10], dx[10], ds;
  bl_fake_quant_forward(&q, x, 10, &step, y);
  // v = x / 0.5: halves go to the even neighbour
  all_near(y, (double[]){-1.5, -1.5, -1, 0, 0, 1, 1.5, 1.5, 1.5, 0}, 10);
  const double passes[10] = {0, 0, 1, 1, 1, 1, 1, 0, 0, 1};
  const double slopes[10] = {-3, -3, 0.5, -0.4, -0.5, 0.5, 0.25, 3, 3, 0};
  bl_fake_quant_backward(&q, x, ones, 10, &step, dx, &ds);
  all_near(dx, passes, 10);
  near((double)ds, 0.5 * 0.35, 1e-6);
  for (size_t k = 0; k < 10; k++) {
    const float two = 2;
    bl_fake_quant_backward(&q, x + k, &two, 1, &step, dx, &ds);
    near((double)ds, slopes[k], 1e-6);
    near((double)dx[0], 2 * passes[k], 1e-6);
  }
}

// Unsigned with a zero point: 1 stands for 0, so -0.5 to 1 can be held.
static void zero_point(void **state) {
  (void)state;
  const bl_fake_quant q = {.hi = 3, .zero = 1, .channels = 1, .gradient_scale = 1};
  const float step = 0.5F, x[5] = {-2, -0.4F, 0, 0.6F, 3}, one = 1;
  float y[5], dx, ds;
  bl_fake_quant_forward(&q, x, 5, &step, y);
  all_near(y, (double[]){-0.5, -0.5, 0, 0.5, 1}, 5);
  const double slopes[5] = {-1, -0.2, 0, -0.2, 2};
  for (size_t k = 0; k < 5; k++) {
    bl_fake_quant_backward(&q, x + k, &one, 1, &step, &dx, &ds);
    near((double)ds, slopes[k], 1e-6);
  }
}

static void one_bit(void **state) {
  (void)state;
  bl_fake_quant q = {.binary = true, .channels = 1, .gradient_scale = 1};
  const float x[4] = {-2, -0.25F, 0, 1}, dy[4] = {1, 2, 4, 8};
  float step = 0.5F, y[4], dx[4], ds;
  bl_fake_quant_forward(&q, x, 4, &step, y);
  all_near(y, (double[]){-0.5, -0.5, 0.5, 0.5}, 4);
  bl_fake_quant_backward(&q, x, dy, 4, &step, dx, &ds);
  all_near(dx, (double[]){0, 2, 4, 0}, 4);
  near((double)ds, -1 - 2 + 4 + 8, 1e-6);
  q.mean_step = true;
  bl_fake_quant_means(&q, x, 4, &step);
  near((double)step, 3.25 / 4, 1e-6);
  bl_fake_quant_backward(&q, x, dy, 4, &step, dx, NULL);
  all_near(dx, (double[]){0, 2, 4, 8}, 4);
}

// Channels of rows and of columns: the same numbers, turned.
static void channels(void **state) {
  (void)state;
  const float rows[6] = {0.4F, 1, -5, 2, 30, -6}, columns[6] = {0.4F, 2, 1, 30, -5, -6};
  const float ones[6] = {1, 1, 1, 1, 1, 1}, steps[2] = {1, 4};
  bl_fake_quant q = {.lo = -1, .hi = 1, .channels = 2, .gradient_scale = 1};
  float y[6], dx[6], ds[2], means[2];
  bl_fake_quant_forward(&q, rows, 6, steps, y);
  all_near(y, (double[]){0, 1, -1, 0, 4, -4}, 6);
  bl_fake_quant_backward(&q, rows, ones, 6, steps, dx, ds);
  all_near(ds, (double[]){-0.4 + 1 - 1, -0.5 + 1 - 1}, 2);
  q.channels_last = true;
  bl_fake_quant_forward(&q, columns, 6, steps, y);
  all_near(y, (double[]){0, 0, 1, 4, -1, -4}, 6);
  bl_fake_quant_backward(&q, columns, ones, 6, steps, dx, ds);
  all_near(ds, (double[]){-0.4 + 1 - 1, -0.5 + 1 - 1}, 2);
  all_near(dx, (double[]){1, 1, 0, 0, 0, 0}, 6);
  bl_fake_quant_means(&q, columns, 6, means);
  all_near(means, (double[]){6.4 / 3, 38.0 / 3}, 2);
}

// The smooth parts: with the error of the rounding held, y = (v + error) * step between the edges
// and (edge) * step outside them. Enough elements that sums go over several blocks.
static void finite_differences(void **state) {
  (void)state;
  enum { COUNT = 50000 };
  static float x[COUNT], dy[COUNT], dx[COUNT];
  const bl_fake_quant q = {.lo = 0, .hi = 15, .channels = 1, .gradient_scale = 0.125};
  const double step = 0.21F, h = 1e-4;
  double expected = 0;
  float ds;
  for (size_t k = 0; k < COUNT; k++) {
    x[k] = (float)(1.5 + 1.5 * bl_random_normal(bl_random_key(seed, k)));
    dy[k] = (float)bl_random_normal(bl_random_key(seed + 1, k));
    double v = (double)x[k] / step, y[2];
    for (int side = 0; side < 2; side++) {
      double s = step + (side == 0 ? -h : h);
      y[side] = v <= 0 ? 0 : v >= 15 ? 15 * s : ((double)x[k] / s + rint(v) - v) * s;
    }
    expected += (double)dy[k] * (y[1] - y[0]) / (2 * h) / 8;
  }
  const float learned = (float)step;
  bl_fake_quant_backward(&q, x, dy, COUNT, &learned, dx, &ds);
  near((double)ds, expected, 1e-3 * (1 + fabs(expected)));
}

// ---- Networks

// ---- The round trip

// A network, and for each integer layer (by its node, named like that node's output) the value that
// it becomes.
typedef struct {
  text_net net;
  size_t elements;
  const char *layers;  // "node value; ..."
  unsigned ratio_bits; // of each sum's ratio at most; 0: rounded by compress
  unsigned skip_bits;  // of the model
  bool bipolar;        // its weights
} round_trip;

static const round_trip RESIDUAL = {
    {"residual", "x 8 2 8 8",
     "w1 6 2 3 3;g1 6 =0.9,1.1,0.8,1.2,1,0.7;b1 6;m1 6;v1 6 =1,2,0.5,1,1,3;w2 6 6 3 3;"
     "g2 6 =0.9,1.1,0.8,1.2,1,0.7;b2 6;m2 6;v2 6 =1,2,0.5,1,1,3;w3 8 6 3 3;c3 8;w4 8 6 1 1;c4 8;"
     "w5 8 3;c5 3",
     NULL,
     "Conv x w1 > h1 | pads=i1,1,1,1;BatchNormalization h1 g1 b1 m1 v1 > n1;Relu n1 > r1;"
     "Conv r1 w2 > h2 | pads=i1,1,1,1;BatchNormalization h2 g2 b2 m2 v2 > n2;Add n2 r1 > a2;"
     "Relu a2 > r2;Conv r2 w3 c3 > h3 | pads=i1,1,1,1 strides=i2,2;"
     "Conv r2 w4 c4 > h4 | strides=i2,2;Add h3 h4 > a3;Relu a3 > r3;GlobalAveragePool r3 > p;"
     "Flatten p > f;Gemm f w5 c5 > y",
     13},
    128,
    "h1 r1;h2 r2;h3 h3;h4 r3;p p",
    1,
    0,
    false};

// The same beginning without a sum, a pooling, and a product with rows for channels.
static const round_trip PLAIN = {
    {"plain", "x 8 2 8 8", "w1 6 2 3 3;c1 6;w2 4 3 3 3;c2 4;w3 36 5;w4 3 5;c4 3", NULL,
     "Conv x w1 c1 > h1;Relu h1 > r1;Conv r1 w2 c2 > h2 | pads=i1,1,1,1 group=i2;"
     "MaxPool h2 > p2 | kernel_shape=i2,2 strides=i2,2;Flatten p2 > f;MatMul f w3 > h3;"
     "Clip h3 > k3 | min=f-1 max=f1;Gemm k3 w4 c4 > y | transB=i1",
     7},
    128,
    "h1 r1;h2 p2;h3 k3",
    0,
    0,
    false};

typedef struct {
  const model *m;
  const bl_float_graph *again; // as written
  const bl_int_graph *g;
  int32_t *tensors[16]; // the trained network's integers, one image, channels last
} comparing;

static double constant_of(const comparing *c, const char *base, const char *suffix) {
  char name[64];
  (void)snprintf(name, sizeof name, "%s%s", base, suffix);
  return (double)c->again->values[value_named(c->again, name)].f[0];
}

// The trained network's value as the integers of a tensor; what the reference kernels say of those
// that differ must be the neighbour across a threshold that the value nearly meets.
static void take_integers(comparing *c, const char *value, const float *data, uint32_t tensor) {
  const bl_int_tensor *t = &c->g->tensors[tensor];
  const double scale = constant_of(c, value, "_scale");
  int32_t *to = c->tensors[tensor] = malloc((size_t)t->h * t->w * t->c * sizeof *to);
  assert_non_null(to);
  near(t->scale, scale, 0);
  for (size_t n = 0; n < t->c; n++)
    for (size_t k = 0; k < (size_t)t->h * t->w; k++) {
      const double v = (double)data[n * t->h * t->w + k] / scale + t->zero_point;
      const double lo =
          t->format.kind == BL_FORMAT_S ? -bl_format_max(t->format) : bl_format_min(t->format);
      to[k * t->c + n] = t->format.kind == BL_FORMAT_B
                             ? (v >= 0 ? 1 : -1)
                             : (int32_t)rint(fmax(lo, fmin(bl_format_max(t->format), v)));
    }
}

static size_t differing(const comparing *c, uint32_t layer, const float *data,
                        size_t *unexplained) {
  const bl_int_layer *l = &c->g->layers[layer];
  const bl_int_tensor *t = &c->g->tensors[l->output];
  const size_t count = (size_t)t->h * t->w * t->c;
  int32_t *out = malloc(count * sizeof *out);
  bl_error err = {0};
  size_t different = 0;
  assert_non_null(out);
  if (bl_reference_layer(c->g, l, c->tensors[l->input],
                         l->addend == 0 ? NULL : c->tensors[l->addend], out, &err) != BL_OK)
    fail_msg("%s", err.text);
  for (size_t k = 0; k < count; k++) {
    const int32_t mine = c->tensors[l->output][k];
    if (out[k] == mine) continue;
    different++;
    // A threshold lies half a step beside an integer, that of a sign at 0. Floats sum up with
    // errors, and multipliers have 16 bits.
    const double v = (double)data[k % t->c * t->h * t->w + k / t->c] / t->scale + t->zero_point;
    const double past = t->format.kind == BL_FORMAT_B ? fabs(v) : fabs(v - floor(v) - 0.5);
    *unexplained += past > 1e-4 + bl_format_max(t->format) / 65536.0 ||
                    abs(out[k] - mine) != (t->format.kind == BL_FORMAT_B ? 2 : 1);
  }
  free(out);
  return different;
}

static uint32_t layer_named(const bl_int_graph *g, const char *name) {
  for (uint32_t k = 0; k < g->layer_count; k++)
    if (strcmp(g->layers[k].name, name) == 0) return k;
  fail_msg("no layer %s", name);
  return 0;
}

// Of a number's binary digits, from its first one to its last one.
static unsigned significant_bits(int32_t d) {
  unsigned bits = 0;
  while (d != 0 && d % 2 == 0)
    d /= 2;
  for (; d != 0; d /= 2)
    bits++;
  return bits;
}

static void check_sums(const bl_quantised *q, unsigned ratio_bits) {
  for (uint32_t k = 0; k < q->graph->layer_count; k++) {
    const bl_int_layer *l = &q->graph->layers[k];
    if (l->addend == 0) continue;
    near(q->additions[k].ratio_error, 0, ratio_bits > 0 ? 1e-6 : 1.0 / 512);
    if (ratio_bits == 0) continue;
    assert_true(l->raise < 8 + ratio_bits);
    for (uint32_t n = 0; n < q->graph->tensors[l->output].c; n++)
      assert_in_range(significant_bits(l->addend_weight[n]), 1, ratio_bits);
  }
}

// All layers but the last, whose accumulators are compared as real values.
static void compare_layers(comparing *c, const round_trip *r, size_t sample) {
  char node[64], value[64];
  size_t total = 0, different = 0, unexplained = 0;
  uint32_t output = 1;
  take_integers(c, "x", c->m->data.values + sample * c->m->data.elements, 0);
  const float *data[16] = {NULL};
  for (const char *at = r->layers; *at != '\0'; output++) {
    read_word(&at, " ", node);
    read_word(&at, ";", value);
    if (*at == ';') at++;
    const uint32_t tensor = c->g->layers[layer_named(c->g, node)].output;
    const bl_int_tensor *t = &c->g->tensors[tensor];
    data[tensor] = bl_train_output(c->m->net, output) + sample * t->h * t->w * t->c;
    take_integers(c, value, data[tensor], tensor);
    total += (size_t)t->h * t->w * t->c;
  }
  assert_int_equal(output, c->g->layer_count);
  for (uint32_t k = 0; k + 1 < c->g->layer_count; k++)
    different += differing(c, k, data[c->g->layers[k].output], &unexplained);
  printf("%s: %zu of %zu integers differ, %zu without a near threshold\n", r->net.name, different,
         total, unexplained);
  assert_int_equal(unexplained, 0);
  assert_true(different * 50 <= total);
}

static void compare_output(const comparing *c, size_t sample) {
  const bl_int_layer *l = &c->g->layers[c->g->layer_count - 1];
  const bl_int_tensor *t = &c->g->tensors[l->output];
  int32_t acc[16];
  bl_error err = {0};
  assert_int_equal(bl_reference_layer(c->g, l, c->tensors[l->input], NULL, acc, &err), BL_OK);
  for (uint32_t n = 0; n < t->c; n++)
    near(l->out_scale[n] * acc[n] + l->out_bias[n],
         (double)bl_train_output(c->m->net, 0)[sample * t->c + n], 1e-4);
}

static void compare(const model *m, const round_trip *r, unsigned activation_bits) {
  bl_float_graph *again = written(m);
  comparing c = {.m = m, .again = again};
  const bl_quantise_options options = {.weight_bits = 8, .activation_bits = 8};
  bl_quantised q;
  bl_error err = {0};
  // no calibration: nothing is left to it
  if (bl_quantise(c.again, &options, NULL, &q, &err) != BL_OK) fail_msg("%s", err.text);
  if (activation_bits <= 4 && r->skip_bits <= 4) assert_int_equal(q.inexact, 0);
  c.g = q.graph;
  check_sums(&q, r->ratio_bits);
  memcpy(bl_train_input(m->net, 0), m->data.values, 8 * m->data.elements * sizeof(float));
  assert_int_equal(bl_train_forward(m->net, false, 0, &err), BL_OK);
  for (size_t sample = 0; sample < 2; sample++) {
    compare_layers(&c, r, sample);
    compare_output(&c, sample);
    for (int k = 0; k < 16; k++) {
      free(c.tensors[k]);
      c.tensors[k] = NULL;
    }
  }
  bl_arena_free(q.graph->arena);
  bl_float_graph_free(again);
}

static void round_trip_at(const round_trip *r, unsigned weights, unsigned activations) {
  char node[64], value[64];
  int32_t outputs[16];
  uint32_t count = 1;
  bl_error err = {0};
  model m = {.file = text_model(&r->net, seed),
             .data = noise(64, r->elements, false),
             .skip_bits = r->skip_bits,
             .ratio_bits = r->ratio_bits,
             .bipolar = r->bipolar};
  m.graph = graph_of(&m, 8);
  outputs[0] = value_named(m.graph, "y");
  for (const char *at = r->layers; *at != '\0'; count++) {
    read_word(&at, " ", node);
    read_word(&at, ";", value);
    if (*at == ';') at++;
    outputs[count] = value_named(m.graph, value);
  }
  if (open_aware(&m, weights, activations, outputs, count, &err) != BL_OK) fail_msg("%s", err.text);
  train(&m, 3, 0.01);
  printf("w%ua%u ", weights, activations);
  compare(&m, r, activations);
  close_model(&m);
}

static void round_trips(void **state) {
  (void)state;
  static const unsigned bits[][2] = {{4, 4}, {2, 2}, {8, 8}, {3, 1}};
  for (int k = 0; k < 4; k++) {
    round_trip_at(&RESIDUAL, bits[k][0], bits[k][1]);
    round_trip_at(&PLAIN, bits[k][0], bits[k][1]);
  }
  round_trip_at(&PLAIN, 1, 2);
  round_trip skips = RESIDUAL;
  skips.layers = "h1 r1;r1_copy r1_copy;h2 r2;h3 h3;h4 r3;p p";
  for (skips.skip_bits = 4; skips.skip_bits <= 8; skips.skip_bits += 4)
    round_trip_at(&skips, 2, 2);
  round_trip ratios = RESIDUAL;
  for (ratios.ratio_bits = 2; ratios.ratio_bits <= 8; ratios.ratio_bits += 3)
    round_trip_at(&ratios, ratios.ratio_bits < 8 ? 2 : 4, 4);
  skips.skip_bits = 8;
  skips.ratio_bits = 4;
  round_trip_at(&skips, 2, 2);
  ratios.ratio_bits = 0;
  round_trip_at(&ratios, 1, 2);
  round_trip odd = PLAIN; // one product of groups, too
  odd.bipolar = skips.bipolar = true;
  round_trip_at(&odd, 2, 3);
  round_trip_at(&skips, 2, 2);
  round_trip_at(&skips, 3, 2);
}

// ---- Networks whose integers need more than a quantiser behind each layer

static const round_trip TABLES = {
    {"tables", "x 8 2 8 8", "w1 6 2 3 3;c1 6;w2 4 6 3 3;c2 4;w3 144 3", NULL,
     "Conv x w1 c1 > h1;HardSwish h1 > r1;Conv r1 w2 c2 > h2 | pads=i1,1,1,1;Sigmoid h2 > s2;"
     "Flatten s2 > f;MatMul f w3 > y",
     14},
    128,
    "",
    0,
    0,
    false};

static const round_trip CONCAT = {
    {"concat", "x 8 2 8 8", "w1 8 2 3 3;c1 8;w2 3 8 3 3;w3 5 8 1 1;two 1 =2;w4 3 8", NULL,
     "Mul x two > z;Conv z w1 c1 > h1 | pads=i1,1,1,1;Relu h1 > r1;"
     "Conv r1 w2 > h2 | pads=i1,1,1,1;Conv r1 w3 > h3;Concat h2 h3 > k | axis=i1;Relu k > r;"
     "MaxPool r > p | kernel_shape=i2,2 strides=i2,2;GlobalAveragePool p > v;Flatten v > f;"
     "Gemm f w4 > y | transB=i1",
     13},
    128,
    "",
    0,
    0,
    false};

// Everything is fixed, and integers give what the float executor makes of the same file.
static void fixes_everything(const round_trip *r, unsigned weights, unsigned activations) {
  model m = {.file = text_model(&r->net, seed), .data = noise(64, r->elements, false)};
  const bl_quantise_options options = {.weight_bits = 8, .activation_bits = 8};
  bl_quantised q;
  bl_float_session *session;
  bl_error err = {0};
  if (open_aware(&m, weights, activations, NULL, 0, &err) != BL_OK) fail_msg("%s", err.text);
  train(&m, 2, 0.003);
  bl_float_graph *again = written(&m);
  if (bl_quantise(again, &options, NULL, &q, &err) != BL_OK) fail_msg("%s", err.text);
  // the 255 thresholds of a table's index need not all meet a multiplier of 16 bits
  printf("%s: %llu accumulators not met\n", r->net.name, (unsigned long long)q.inexact);
  assert_true(q.inexact < 2000);
  assert_int_equal(bl_float_session_open(again, &session, &err), BL_OK);
  memcpy(bl_train_input(m.net, 0), m.data.values, 8 * r->elements * sizeof(float));
  assert_int_equal(bl_train_forward(m.net, false, 0, &err), BL_OK);
  double worst = 0, largest = 0;
  for (size_t s = 0; s < 8; s++) {
    memcpy(bl_float_session_input(session, 0)->f, m.data.values + s * r->elements,
           r->elements * sizeof(float));
    assert_int_equal(bl_float_session_run(session, &err), BL_OK);
    const bl_value *y = bl_float_session_value(session, again->outputs[0]);
    for (size_t k = 0; k < y->count; k++) {
      const double mine = (double)bl_train_output(m.net, 0)[s * y->count + k];
      worst = fmax(worst, fabs((double)y->f[k] - mine));
      largest = fmax(largest, fabs(mine));
    }
  }
  printf("%s: outputs to %.3g differ by %.3g from the written graph's\n", r->net.name, largest,
         worst);
  assert_true(worst <= 0.02 * largest);
  bl_float_session_close(session);
  bl_arena_free(q.graph->arena);
  bl_float_graph_free(again);
  close_model(&m);
}

static void tables_and_parts(void **state) {
  (void)state;
  fixes_everything(&TABLES, 4, 4);
  fixes_everything(&CONCAT, 4, 4);
}

// ---- Training

// Images of 6 x 6 with a horizontal (0) or vertical (1) bar somewhere, in noise.
static bl_train_data bars(size_t count, uint64_t key) {
  bl_train_data d = {.count = count, .elements = 36, .has_labels = true};
  d.values = malloc(count * 36 * sizeof *d.values);
  d.labels = calloc(count, sizeof *d.labels);
  assert_true(d.values != NULL && d.labels != NULL);
  for (size_t s = 0; s < count; s++) {
    const uint64_t own = bl_random_key(key, s);
    const size_t at = bl_random_below(bl_random_key(own, 50), 6);
    d.labels[s] = (int64_t)bl_random_below(bl_random_key(own, 51), 2);
    for (size_t k = 0; k < 36; k++)
      d.values[s * 36 + k] = (float)(0.3 * bl_random_normal(bl_random_key(own, k))) +
                             ((d.labels[s] == 0 ? k / 6 : k % 6) == at ? 1.0F : 0.0F);
  }
  return d;
}

static const text_net BARS = {
    "bars",
    "x 8 1 6 6",
    "w 8 1 3 3;g 8 =1,1,1,1,1,1,1,1;b 8;m 8;v 8 =1,1,1,1,1,1,1,1;u 8 8 3 3;c 8;d 2 8;e 2",
    NULL,
    "Conv x w > h | pads=i1,1,1,1;BatchNormalization h g b m v > n;Relu n > r;"
    "Conv r u c > k;Relu k > q;GlobalMaxPool q > p;Flatten p > f;Gemm f d e > l | transB=i1;"
    "Softmax l > y",
    13};

static void learns_with_two_bits(void **state) {
  (void)state;
  model m = {.file = text_model(&BARS, 3), .data = bars(400, bl_random_key(seed, 3))};
  bl_train_data test = bars(400, bl_random_key(seed, 4));
  double loss, accuracy;
  bl_error err = {0};
  if (open_aware(&m, 2, 2, NULL, 0, &err) != BL_OK) fail_msg("%s", err.text);
  train(&m, 40, 0.01);
  assert_int_equal(bl_train_evaluate(m.net, &test, BL_LOSS_CROSS_ENTROPY, &loss, &accuracy, &err),
                   BL_OK);
  printf("two bits: accuracy %.3f, loss %.3f\n", accuracy, loss);
  assert_true(accuracy >= 0.95);
  bl_train_data_free(&test);
  close_model(&m);
}

static bl_trainer *start(model *m, const char *path) {
  bl_trainer_options o = {.epochs = 3, .seed = seed, .checkpoint = path, .checkpoint_steps = 4};
  bl_trainer *t;
  bl_error err = {0};
  o.optimiser = bl_optimiser_defaults(BL_OPTIMISER_ADAMW);
  o.schedule = (bl_schedule){BL_SCHEDULE_CONSTANT, 0.01, 0, 1, 0, 1, 1};
  if (bl_trainer_open(m->net, &m->data, NULL, &o, &t, &err) != BL_OK) fail_msg("%s", err.text);
  return t;
}

static bool stop_in_the_middle(void *user, const bl_train_progress *p) {
  (void)user;
  return p->epoch != 1 || p->step != 3;
}

static void resumes(void **state) {
  (void)state;
  char path[] = "/tmp/bitloom-aware-XXXXXX";
  model m[3];
  bl_trainer *t[3];
  bl_error err = {0};
  uint32_t count[2], moved = 0;
  assert_true(close(mkstemp(path)) == 0);
  for (int k = 0; k < 3; k++) {
    m[k] = (model){.file = text_model(&BARS, 3), .data = bars(64, 5)};
    const unsigned bits = k < 2 ? 3 : 4;
    if (open_aware(&m[k], bits, bits, NULL, 0, &err) != BL_OK) fail_msg("%s", err.text);
  }
  t[0] = start(&m[0], NULL);
  t[1] = start(&m[1], path);
  assert_int_equal(bl_trainer_run(t[0], NULL, NULL, &err), BL_OK);
  assert_int_equal(bl_trainer_run(t[1], stop_in_the_middle, NULL, &err), BL_OK);
  bl_trainer_close(t[1]);
  bl_train_close(m[1].net);
  bl_quant_aware_close(m[1].aware);
  if (open_aware(&m[1], 3, 3, NULL, 0, &err) != BL_OK) fail_msg("%s", err.text);
  t[1] = start(&m[1], path);
  if (bl_trainer_resume(t[1], path, &err) != BL_OK) fail_msg("%s", err.text);
  assert_int_equal(bl_trainer_run(t[1], NULL, NULL, &err), BL_OK);
  const bl_train_parameter *p = bl_train_parameters(m[0].net, &count[0]);
  const bl_train_parameter *q = bl_train_parameters(m[1].net, &count[1]);
  assert_int_equal(count[0], count[1]);
  uint32_t transforms;
  const bl_train_transform *transform = bl_quant_aware_transforms(m[0].aware, &transforms);
  for (uint32_t k = 0; k < count[0]; k++) {
    assert_memory_equal(p[k].data, q[k].data, p[k].count * sizeof(float));
    for (uint32_t i = 0; p[k].kind == BL_TRAIN_LEARNED && i < transforms; i++)
      moved += p[k].name == transform[i].name && p[k].data[0] != transform[i].parameters[0];
  }
  assert_true(moved >= 5);
  // another number of bits is another network
  t[2] = start(&m[2], NULL);
  assert_int_equal(bl_trainer_resume(t[2], path, &err), BL_ERR_USAGE);
  for (int k = 0; k < 3; k++) {
    bl_trainer_close(t[k]);
    close_model(&m[k]);
  }
  assert_int_equal(unlink(path), 0);
}

// ---- Bad input

static void refuse(const text_net *net, size_t elements, unsigned weights, unsigned activations,
                   size_t samples, bl_status status, const char *words) {
  model m = {.file = text_model(net, seed), .data = noise(8, elements, false)};
  bl_error err = {0};
  m.data.count = samples;
  const bl_status got = open_aware(&m, weights, activations, NULL, 0, &err);
  if (got != status || strstr(err.text, words) == NULL || strchr(err.text, '\n') != NULL)
    fail_msg("%s: status %d: %s", net->name, (int)got, err.text);
  close_model(&m);
}

static void refusals(void **state) {
  (void)state;
  static const text_net sign = {"sign", "x 8 4", "w 4 3", NULL, "MatMul x w > h;Sign h > y", 13};
  static const text_net padded = {"padded",
                                  "x 8 2 6 6",
                                  "w 2 2 3 3;u 2 2 3 3",
                                  NULL,
                                  "Conv x w > h | pads=i1,1,1,1;Conv h u > y | pads=i1,1,1,1",
                                  13};
  static const text_net grown = {
      "grown", "x 8 4", "w 4 3;k 3 3", NULL, "MatMul x w > h;Softmax h > s;MatMul s k > y", 13};
  refuse(&PLAIN.net, 128, 0, 4, 8, BL_ERR_USAGE, "w0a4");
  refuse(&PLAIN.net, 128, 4, 9, 8, BL_ERR_USAGE, "w4a9");
  refuse(&PLAIN.net, 128, 4, 4, 0, BL_ERR_USAGE, "samples");
  refuse(&sign, 4, 4, 4, 8, BL_ERR_UNSUPPORTED, "(Sign)");
  refuse(&padded, 72, 1, 1, 8, BL_ERR_UNSUPPORTED, "node y");
  refuse(&grown, 4, 4, 4, 8, BL_ERR_UNSUPPORTED, "(Softmax)");
  model m = {.file = text_model(&PLAIN.net, seed), .data = noise(8, 128, false)};
  bl_error err = {0};
  m.data.values[5] = NAN;
  assert_int_equal(open_aware(&m, 4, 4, NULL, 0, &err), BL_ERR_FORMAT);
  m.data.values[5] = 0;
  assert_int_equal(open_aware(&m, 4, 4, NULL, 0, &err), BL_OK);
  message other = text_model(&RESIDUAL.net, seed);
  bl_float_graph *graph = import_batch(&other, 1);
  assert_int_equal(bl_quant_aware_store(m.aware, graph, &err), BL_ERR_MISMATCH);
  bl_float_graph_free(graph);
  free(other.bytes);
  close_model(&m);
}

int main(void) {
  seed = test_seed();
  bl_train_threads(1); // small networks: waiting for each other would take longer
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(three_bits),
      cmocka_unit_test(zero_point),
      cmocka_unit_test(one_bit),
      cmocka_unit_test(channels),
      cmocka_unit_test(finite_differences),
      cmocka_unit_test(round_trips),
      cmocka_unit_test(tables_and_parts),
      cmocka_unit_test(learns_with_two_bits),
      cmocka_unit_test(resumes),
      cmocka_unit_test(refusals),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
