// SPDX-License-Identifier: Apache-2.0
// Pruning of channels: a network without its removed channels computes what it computes with them
// held at 0, on made and on random graphs; which channels go, by hand.
#include <math.h>

#include "host/float/session.h"
#include "host/prune/channels.h"
#include "host/prune/slimming.h"
#include "tests/unit/train_support.h"

static uint64_t seed = 1;

static bl_channels *open_channels(const bl_float_graph *graph) {
  bl_channels *c;
  bl_error err = {0};
  if (bl_channels_open(graph, &c, &err) != BL_OK) fail_msg("%s", err.text);
  return c;
}

// Random scores; the channels that are to go.
static bl_channels *choose(const bl_float_graph *graph, uint64_t key,
                           const bl_channels_options *options) {
  bl_channels *c = open_channels(graph);
  bl_error err = {0};
  for (uint32_t k = 0; k < c->class_count; k++)
    c->scores[k] = (float)bl_random_unit(bl_random_key(key, k));
  if (bl_channels_choose(c, graph, options, &err) != BL_OK) fail_msg("%s", err.text);
  return c;
}

static float *run(const bl_float_graph *graph, size_t *count) {
  bl_float_session *session;
  bl_error err = {0};
  if (bl_float_session_open(graph, &session, &err) != BL_OK) fail_msg("%s", err.text);
  bl_value *in = bl_float_session_input(session, 0);
  for (size_t k = 0; k < in->count; k++)
    in->f[k] = (float)bl_random_normal(bl_random_key(seed, k));
  if (bl_float_session_run(session, &err) != BL_OK) fail_msg("%s", err.text);
  const bl_value *out = bl_float_session_value(session, graph->outputs[0]);
  float *y = malloc(out->count * sizeof *y);
  assert_non_null(y);
  memcpy(y, out->f, out->count * sizeof *y);
  *count = out->count;
  bl_float_session_close(session);
  return y;
}

static uint64_t parameters(const bl_float_graph *graph) {
  uint64_t sum = 0;
  for (uint32_t n = 0; n < graph->node_count; n++)
    sum += bl_node_parameters(graph, &graph->nodes[n]);
  return sum;
}

// Returns the classes that went.
static uint32_t check(const text_net *net, uint64_t key, const bl_channels_options *options) {
  bl_float_graph *masked = text_graph(net, key), *smaller = text_graph(net, key);
  bl_channels *c = choose(masked, key, options);
  bl_error err = {0};
  size_t count, same;
  const uint64_t before = parameters(smaller);
  const uint32_t removed = bl_channels_removed(c);
  bl_channels_mask(c, masked);
  if (bl_channels_remove(c, smaller, &err) != BL_OK)
    fail_msg("seed %llu: %s: %s", (unsigned long long)seed, net->name, err.text);
  float *expected = run(masked, &count), *got = run(smaller, &same);
  double largest = 1e-6;
  assert_int_equal(count, same);
  for (size_t k = 0; k < count; k++)
    largest = fmax(largest, fabs((double)expected[k]));
  for (size_t k = 0; k < count; k++)
    if (!(fabs((double)expected[k] - (double)got[k]) <= 1e-5 * largest))
      fail_msg("seed %llu: %s: output %zu is %g, masked %g", (unsigned long long)seed, net->name, k,
               (double)got[k], (double)expected[k]);
  assert_true(removed == 0 ? parameters(smaller) == before : parameters(smaller) < before);
  free(expected);
  free(got);
  bl_channels_close(c);
  bl_float_graph_free(masked);
  bl_float_graph_free(smaller);
  return removed;
}

// Networks with everything that couples channels.
static const text_net MADE[] = {
    {"residual", "x 2 3 6 6",
     "a 8 3 3 3;g 8;b 8;m 8;v 8 =1,2,1,1,3,1,1,1;c 6 8 3 3;d 8 6 3 3;e 8;f 5 8;h 5", NULL,
     "Conv x a > t | pads=i1,1,1,1;BatchNormalization t g b m v > n;Relu n > r;"
     "Conv r c > s | pads=i1,1,1,1;Relu s > q;Conv q d e > p | pads=i1,1,1,1;Add p r > o;"
     "Relu o > w;GlobalAveragePool w > k;Flatten k > l;Gemm l f h > y | transB=i1",
     11},
    {"concatenation", "x 2 3 6 6", "a 8 3 1 1;b 4 3 3 3;c 6 12 1 1;d 216 5;e 5", "s 2 =2,216",
     "Conv x a > t;Conv x b > u | pads=i1,1,1,1;Concat t u > k | axis=i1;Relu k > r;"
     "Conv r c > p;Reshape p s > f;Gemm f d e > y",
     11},
    {"depthwise", "x 2 3 6 6", "a 6 3 1 1;b 12 1 3 3;c 12;d 4 12 1 1;f 144 3", "s 2 =0,-1",
     "Conv x a > t;Conv t b c > u | pads=i1,1,1,1 group=i6;Clip u > v | min=f0 max=f6;"
     "Conv v d > w;Reshape w s > f2;MatMul f2 f > y",
     9},
    {"channels last", "x 2 3 4 4", "a 6 3 1 1;b 96 7;c 7;d 7 5;e 1 7", "s 2 =2,96",
     "Conv x a > t;Transpose t > u | perm=i0,2,3,1;Reshape u s > f;MatMul f b > g;Add g e > h;"
     "Sigmoid h > i;MatMul i d > y",
     11},
    {"gate", "x 2 3 5 5", "a 8 3 3 3;b 4 8 1 1;c 8 4 1 1;d 4 8 1 1", NULL,
     "Conv x a > t;GlobalAveragePool t > p;Conv p b > q;Relu q > r;Conv r c > s;Sigmoid s > u;"
     "Mul u u > u2;Conv t d > w;GlobalMaxPool w > y",
     11},
    {"padded shortcut", "x 2 3 6 6", "a 4 3 3 3;b 8 4 3 3;c 5 8 1 1",
     "p 8 =0,2,0,0,0,2,0,0;l 2 =0,0;h 2 =100,100;i 2 =2,3;j 2 =2,2",
     "Conv x a > t | pads=i1,1,1,1;Relu t > r;Conv r b > u | pads=i1,1,1,1 strides=i2,2;"
     "Slice r l h i j > v;Pad v p > w;Add u w > z;Conv z c > k;GlobalAveragePool k > y",
     11},
    {"shared weights", "x 2 3 6 6", "a 6 3 3 3;b 6 6 3 3;c 4 6 1 1", NULL,
     "Conv x a > t | pads=i1,1,1,1;Relu t > r;Conv r b > u | pads=i1,1,1,1;Relu u > v;"
     "Conv v b > w | pads=i1,1,1,1;Conv w c > z;GlobalAveragePool z > y",
     11},
    {"a map again", "x 2 6", "a 6 36;b 4 4 3 3;c 3 4 1 1", "s 4 =2,4,3,3",
     "MatMul x a > t;Relu t > r;Reshape r s > m;Conv m b > u | pads=i1,1,1,1;Conv u c > y", 11},
};

static void made_graphs(void **state) {
  (void)state;
  for (size_t n = 0; n < sizeof MADE / sizeof MADE[0]; n++)
    for (uint64_t k = 0; k < 6; k++) {
      const bl_channels_options o = {
          .amount = 0.2 + 0.15 * (double)k, .global = k % 2 == 0, .multiple = k < 4 ? 0 : 2};
      const uint32_t removed = check(&MADE[n], bl_random_key(seed, k), &o);
      if (k == 3 && removed == 0) fail_msg("%s: nothing went", MADE[n].name);
    }
}

// ---- Random graphs

enum { MAPS = 14 };

typedef struct {
  char constants[1024], nodes[1400];
  unsigned channels[MAPS], count; // maps 0 .. count-1 of 5 x 5 pixels; 0 is the input
  uint64_t key, draws;
  bool concatenated; // once at most, so that numbers stay small
} maker;

static unsigned draw(maker *m, unsigned bound) {
  return (unsigned)bl_random_below(bl_random_key(m->key, m->draws++), bound);
}

static void put(char *text, size_t room, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void put(char *text, size_t room, const char *format, ...) {
  const size_t used = strlen(text);
  va_list list;
  va_start(list, format);
  assert_true(vsnprintf(text + used, room - used, format, list) < (int)(room - used));
  va_end(list);
}

#define CONSTANT(...) put(m->constants, sizeof m->constants, __VA_ARGS__)
#define NODE(...) put(m->nodes, sizeof m->nodes, __VA_ARGS__)

// Another map with as many channels; itself where there is none.
static unsigned partner(maker *m, unsigned a) {
  for (unsigned tries = 0; tries < 10; tries++) {
    const unsigned b = draw(m, m->count);
    if (b != a && b > 0 && m->channels[b] == m->channels[a]) return b;
  }
  return a;
}

static void make_map(maker *m) {
  const unsigned n = m->count, a = n == 1 ? 0 : 1 + draw(m, n - 1), c = m->channels[a];
  const unsigned kind = a == 0 ? 0 : draw(m, 9), fresh = 3 + draw(m, 6);
  unsigned b = partner(m, a);
  m->channels[n] = c;
  if (kind <= 2) {
    m->channels[n] = fresh;
    CONSTANT("w%u %u %u 3 3;e%u %u;", n, fresh, c, n, fresh);
    NODE("Conv v%u w%u e%u > v%u | pads=i1,1,1,1;", a, n, n, n);
  } else if (kind == 3) {
    CONSTANT("w%u %u 1 3 3;", n, c);
    NODE("Conv v%u w%u > v%u | pads=i1,1,1,1 group=i%u;", a, n, n, c);
  } else if (kind == 4) {
    CONSTANT("g%u %u;b%u %u;m%u %u;u%u %u =9,9,9,9,9,9,9,9,9,9,9,9,9,9,9,9,9,9,9;", n, c, n, c, n,
             c, n, c);
    NODE("BatchNormalization v%u g%u b%u m%u u%u > v%u;", a, n, n, n, n, n);
  } else if (kind == 5) {
    NODE("%s v%u > v%u;", draw(m, 2) == 0 ? "Relu" : "Sigmoid", a, n);
  } else if (kind == 6 && !m->concatenated) {
    while ((b = 1 + draw(m, n - 1)) == 0 || m->channels[b] + c > 16)
      if (draw(m, 4) == 0) break;
    m->channels[n] = c + m->channels[b];
    m->concatenated = true;
    NODE("Concat v%u v%u > v%u | axis=i1;", a, b, n);
  } else if (kind == 7) {
    CONSTANT("k%u %u 1 1;", n, c);
    NODE("%s v%u k%u > v%u;", draw(m, 2) == 0 ? "Mul" : "Add", a, n, n);
  } else {
    NODE("%s v%u v%u > v%u;", draw(m, 3) == 0 ? "Mul" : "Add", a, b, n);
  }
  m->count++;
}

static uint32_t random_graph(uint64_t key) {
  static maker made;
  maker *m = &made;
  char integers[64];
  *m = (maker){.key = key, .count = 1, .channels = {3}};
  while (m->count < MAPS)
    make_map(m);
  const unsigned last = m->count - 1, c = m->channels[last];
  (void)snprintf(integers, sizeof integers, "s 2 =1,%u", c * 25);
  CONSTANT("z %u 4", c * 25);
  NODE("Reshape v%u s > f;MatMul f z > y", last);
  const text_net net = {"random", "v0 1 3 5 5", m->constants, integers, m->nodes, 11};
  const bl_channels_options o = {
      .amount = 0.1 * (1 + draw(m, 8)), .global = draw(m, 2) == 0, .multiple = draw(m, 3)};
  return check(&net, key, &o);
}

static void random_graphs(void **state) {
  (void)state;
  uint32_t removed = 0;
  for (uint64_t k = 0; k < 150; k++)
    removed += random_graph(bl_random_key(seed, 1000 + k)) > 0;
  printf("channels went in %u of 150\n", (unsigned)removed);
  assert_true(removed > 75);
}

// ---- Choices

// Two filters joined by an addition with two others, and their reader; then a layer of three.
static const text_net SMALL = {"small",
                               "x 1 1 2 2",
                               "a 2 1 1 1 =1,-4;b 2 1 1 1 =2,2;c 3 2 1 1 =1,1,-3,1,2,0;d 1 3 1 1;"
                               "g 3 =-3,1,2;e 3;f 3;v 3 =1,1,1",
                               NULL,
                               "Conv x a > p;Conv x b > q;Add p q > r;Conv r c > s;"
                               "BatchNormalization s g e f v > t;Conv t d > y",
                               11};

static void expect_keep(const bl_channels *c, const char *bits) {
  char got[16] = {0};
  for (uint32_t k = 0; k < c->class_count; k++)
    got[k] = c->keep[k] != 0 ? '1' : '0';
  assert_string_equal(got, bits);
}

static void choices(void **state) {
  (void)state;
  bl_float_graph *graph = text_graph(&SMALL, 1);
  bl_channels *c = open_channels(graph);
  bl_prune *p;
  bl_error err = {0};
  assert_int_equal(c->class_count, 5);
  assert_int_equal(c->group_count, 2);
  assert_true(c->group[0] == c->group[1] && c->group[2] == c->group[4] &&
              c->group[0] != c->group[2]);
  assert_int_equal(bl_prune_open(graph, &p, &err), BL_OK);
  assert_int_equal(bl_prune_score_graph(p, graph, BL_PRUNE_MAGNITUDE, 0, &err), BL_OK);
  assert_int_equal(bl_channels_score(c, p, BL_PRUNE_L1, true, &err), BL_OK);
  const double l1[] = {1.5, 3, 1, 2, 1};
  for (int k = 0; k < 5; k++)
    assert_true(fabs((double)c->scores[k] - l1[k]) < 1e-6);
  bl_channels_options o = {.amount = 0.5};
  assert_int_equal(bl_channels_choose(c, graph, &o, &err), BL_OK); // of 2, and 1.5 = 2 of 3
  expect_keep(c, "01010");
  o = (bl_channels_options){.amount = 0.4, .global = true};
  assert_int_equal(bl_channels_choose(c, graph, &o, &err), BL_OK);
  expect_keep(c, "11010");
  o.multiple = 2; // one of the layer of three comes back: equal scores, the first
  assert_int_equal(bl_channels_choose(c, graph, &o, &err), BL_OK);
  expect_keep(c, "11110");
  o = (bl_channels_options){.amount = 1};
  assert_int_equal(bl_channels_choose(c, graph, &o, &err), BL_OK); // one stays
  expect_keep(c, "01010");
  assert_int_equal(bl_channels_score(c, p, BL_PRUNE_L2, false, &err), BL_OK);
  const double l2[] = {sqrt(5), sqrt(20), sqrt(2), sqrt(10), 2};
  for (int k = 0; k < 5; k++)
    assert_true(fabs((double)c->scores[k] - l2[k]) < 1e-6);
  assert_int_equal(bl_channels_score_gamma(c, graph, &err), BL_OK);
  const bl_prune_rule rules[] = {{graph->nodes[3].name, 0, 0.34}, {"nothing*", 0, 0}};
  o = (bl_channels_options){.rules = rules, .rule_count = 1};
  assert_int_equal(bl_channels_choose(c, graph, &o, &err), BL_OK);
  expect_keep(c, "11101"); // gammas 3 1 2
  o.rule_count = 2;
  assert_int_equal(bl_channels_choose(c, graph, &o, &err), BL_ERR_USAGE);
  assert_non_null(strstr(err.text, "nothing*"));
  o = (bl_channels_options){.amount = -1};
  assert_int_equal(bl_channels_choose(c, graph, &o, &err), BL_ERR_RANGE);
  bl_prune_close(p);
  bl_channels_close(c);
  bl_float_graph_free(graph);
}

// Gamma 2, 0.5, -1 with gradients of no loss: SGD of rate 0.1 moves each by 0.01 to 0 a step.
static void slimming(void **state) {
  (void)state;
  static const text_net net = {"norms",
                               "x 2 3 2 2",
                               "g 3 =2,0.5,-1;b 3;m 3;v 3 =1,1,1;w 1 12",
                               "s 2 =2,12",
                               "BatchNormalization x g b m v > n;Reshape n s > f;"
                               "Gemm f w > y | transB=i1",
                               11};
  static const text_net plain = {"plain", "x 2 4", "w 4 4", NULL, "Gemm x w > y", 11};
  const double strength = 0.1, expected[] = {1.99, 0.49, -0.99};
  const bl_train_hook hook = bl_slimming_hook(&strength);
  bl_optimiser_options sgd = bl_optimiser_defaults(BL_OPTIMISER_SGD);
  bl_float_graph *graph = text_graph(&net, 1);
  bl_train_net *trained;
  bl_optimiser *optimiser;
  bl_error err = {0};
  uint32_t count;
  assert_int_equal(bl_train_open(graph, NULL, &trained, &err), BL_OK);
  assert_int_equal(bl_train_forward(trained, true, 0, &err), BL_OK);
  memset(bl_train_output_gradient(trained, 0), 0, 2 * sizeof(float));
  assert_int_equal(bl_train_backward(trained, &err), BL_OK);
  assert_int_equal(hook.gradients(hook.user, trained, 0, 1, &err), BL_OK);
  bl_train_parameter *p = bl_train_parameters(trained, &count);
  assert_int_equal(bl_optimiser_open(&sgd, p, count, &optimiser, &err), BL_OK);
  assert_int_equal(bl_optimiser_step(optimiser, 0.1, &err), BL_OK);
  for (uint32_t k = 0; k < count; k++)
    for (int i = 0; p[k].kind == BL_TRAIN_SCALE && i < 3; i++)
      assert_true(fabs((double)p[k].data[i] - expected[i]) < 1e-6);
  bl_optimiser_close(optimiser);
  bl_train_close(trained);
  bl_float_graph_free(graph);
  graph = text_graph(&plain, 1);
  assert_int_equal(bl_train_open(graph, NULL, &trained, &err), BL_OK);
  assert_int_equal(hook.gradients(hook.user, trained, 0, 1, &err), BL_ERR_USAGE);
  bl_train_close(trained);
  bl_float_graph_free(graph);
}

// The input's channels, the output's, and those that are mixed stay.
static void what_stays(void **state) {
  (void)state;
  static const text_net mixed = {"mixed",
                                 "x 1 4 4 4",
                                 "a 4 4 1 1;b 4 2 1 1;c 3 4 1 1",
                                 NULL,
                                 "Conv x a > t;Conv t b > u | group=i2;Conv u c > y",
                                 11};
  bl_float_graph *graph = text_graph(&mixed, 1);
  bl_channels *c = open_channels(graph);
  assert_int_equal(c->class_count, 0);
  bl_error err = {0};
  assert_int_equal(bl_channels_score_gamma(c, graph, &err), BL_ERR_USAGE);
  bl_channels_close(c);
  bl_float_graph_free(graph);
}

int main(void) {
  seed = test_seed();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(made_graphs), cmocka_unit_test(random_graphs), cmocka_unit_test(choices),
      cmocka_unit_test(slimming),    cmocka_unit_test(what_stays),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
