// SPDX-License-Identifier: Apache-2.0
// Fast inference against the plain executor, value by value: random networks in which values are
// read several times, early and late, and the models of the data folder where it is there.
#include "tests/unit/train_support.h"

#include "host/float/inference.h"
#include "host/float/session.h"

enum { NETWORKS = 1500, MOST_NODES = 18 };

static uint64_t seed = 1;

static uint64_t draw(uint64_t *state, uint64_t below) {
  return bl_random_below(bl_random_key(seed, ++*state), below);
}

// Largest difference of outputs, as a part of the largest output.
static double difference(const bl_float_graph *g) {
  bl_float_session *session;
  bl_float_inference *inference;
  bl_error err = {0};
  double most = 0, largest = 1e-30;
  if (bl_float_session_open(g, &session, &err) != BL_OK ||
      bl_float_inference_open(g, &inference, &err) != BL_OK)
    fail_msg("%s", err.text);
  // twice: a run may leave nothing behind that the next one sees
  for (uint64_t run = 0; run < 2; run++) {
    bl_value *in = bl_float_session_input(session, 0);
    for (size_t k = 0; k < in->count; k++)
      in->f[k] = (float)(4 * bl_random_unit(bl_random_key(seed + run, k)) - 2);
    memcpy(bl_float_inference_input(inference, 0), in->f, in->count * sizeof *in->f);
    if (bl_float_session_run(session, &err) != BL_OK ||
        bl_float_inference_run(inference, &err) != BL_OK)
      fail_msg("%s", err.text);
    for (uint32_t o = 0; o < g->output_count; o++) {
      const bl_value *want = bl_float_session_value(session, g->outputs[o]);
      const float *got = bl_float_inference_output(inference, o);
      for (size_t k = 0; k < want->count; k++) {
        assert_true(isfinite(got[k]));
        most = fmax(most, fabs((double)want->f[k] - (double)got[k]));
        largest = fmax(largest, fabs((double)want->f[k]));
      }
    }
  }
  bl_float_session_close(session);
  bl_float_inference_close(inference);
  return most / largest;
}

// ---- Random networks over tensors of 8 x 6 x 6

static const char constants[] =
    "w 8 8 3 3;p 8 16 1 1;d 8 1 3 3;b 8;g 8;m 8;v 8 =1,0.5,2,1,3,0.25,1,1;lo =-0.5;hi =1.5;"
    "f 8 5;c 5;one =0.5";
static const char integers[] = "s 1 =2;e 1 =6;a 1 =1;z 8 =0,2,0,0,0,2,0,0;flat 3 =0,8,36;map 4 "
                               "=0,8,6,6";

// %1$u, %2$u: operands; %3$u: the result.
static const char *const pieces[] = {
    "Conv v%1$u w b > v%3$u | pads=i1,1,1,1;",
    "Conv v%1$u w > v%3$u | pads=i1,1,1,1;",
    "Conv v%1$u d b > v%3$u | pads=i1,1,1,1 group=i8;",
    "BatchNormalization v%1$u g b m v > v%3$u;",
    "Relu v%1$u > v%3$u;",
    "Clip v%1$u lo hi > v%3$u;",
    "Add v%1$u v%2$u > v%3$u;",
    "Add v%1$u v%2$u > v%3$u;",
    "Sigmoid v%1$u > v%3$u;",
    "Mul v%1$u one > v%3$u;",
    "MaxPool v%1$u > v%3$u | kernel_shape=i3,3 pads=i1,1,1,1;",
    "AveragePool v%1$u > v%3$u | kernel_shape=i3,3 pads=i1,1,1,1;",
    "AveragePool v%1$u > v%3$u | kernel_shape=i3,3 pads=i1,1,1,1 count_include_pad=i1;",
    "Transpose v%1$u > t%3$u | perm=i0,2,3,1;Relu t%3$u > u%3$u;Transpose u%3$u > v%3$u | "
    "perm=i0,3,1,2;",
    "Slice v%1$u s e a > t%3$u;Pad t%3$u z > v%3$u;",
    "Reshape v%1$u flat > t%3$u;Relu t%3$u > u%3$u;Reshape u%3$u map > v%3$u;",
    "Reshape v%1$u flat > t%3$u;Reshape t%3$u map > v%3$u;",
    "Concat v%1$u v%2$u > t%3$u | axis=i1;Conv t%3$u p b > v%3$u;",
    "Identity v%1$u > v%3$u;",
};

// Operands lie near the end, so that chains come about, or anywhere.
static unsigned operand(uint64_t *state, unsigned count) {
  const unsigned near = count < 3 ? count : 3;
  if (draw(state, 3) == 0) return (unsigned)draw(state, count);
  return count - 1 - (unsigned)draw(state, near);
}

static void random_networks(void **state) {
  (void)state;
  static const unsigned batches[] = {1, 3, 8};
  double most = 0;
  for (unsigned number = 0; number < NETWORKS; number++) {
    uint64_t drawn = 1000000 * (uint64_t)(number + 1);
    char nodes[4096] = "Identity x > v0;", inputs[32];
    size_t at = strlen(nodes);
    const unsigned count = 3 + (unsigned)draw(&drawn, MOST_NODES - 2);
    for (unsigned k = 1; k <= count; k++) {
      const char *piece = pieces[draw(&drawn, sizeof pieces / sizeof pieces[0])];
      const unsigned first = operand(&drawn, k), second = operand(&drawn, k);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
      at += (size_t)snprintf(nodes + at, sizeof nodes - at, piece, first, second, k);
#pragma GCC diagnostic pop
    }
    (void)snprintf(nodes + at, sizeof nodes - at,
                   draw(&drawn, 2) == 0 ? "GlobalAveragePool v%u > q;Flatten q > r;Gemm r f c > y"
                                        : "Identity v%u > y",
                   count);
    (void)snprintf(inputs, sizeof inputs, "x %u 8 6 6", batches[draw(&drawn, 3)]);
    const text_net net = {"random", inputs, constants, integers, nodes, 13};
    bl_float_graph *g = text_graph(&net, seed + number);
    const double away = difference(g);
    if (!(away < 2e-5)) fail_msg("seed %llu: %g of %s", (unsigned long long)seed, away, nodes);
    most = fmax(most, away);
    bl_float_graph_free(g);
  }
  printf("%d networks, differences up to %.1e of the largest output\n", NETWORKS, most);
}

// A batch inside that only a whole batch has: not in parts.
static void fixed_batch(void **state) {
  (void)state;
  const text_net net = {
      "fixed", "x 8 6", "w 48 2", "s 2 =1,48", "Relu x > h;Reshape h s > k;MatMul k w > y", 13};
  bl_float_graph *g = text_graph(&net, seed);
  assert_true(difference(g) < 1e-6);
  bl_float_graph_free(g);
}

static void refuses_integers(void **state) {
  (void)state;
  const text_net net = {"whole", "x 2 3", NULL, NULL, "Shape x > y", 13};
  bl_float_inference *inference;
  bl_error err = {0};
  bl_float_graph *g = text_graph(&net, seed);
  assert_int_equal(bl_float_inference_open(g, &inference, &err), BL_ERR_UNSUPPORTED);
  assert_string_equal(err.text, "whole: its inputs and outputs are not floats");
  bl_float_graph_free(g);
}

static void models(void **state) {
  (void)state;
  static const char *const names[] = {"ic_resnet8_float",
                                      "resnet20_cifar10",
                                      "lenet-5",
                                      "kws_dscnn_float",
                                      "ad01_autoencoder_float",
                                      "mnist-8",
                                      "vww_mobilenetv1_025_96_float"};
  for (size_t k = 0; k < sizeof names / sizeof names[0]; k++) {
    char part[64];
    (void)snprintf(part, sizeof part, "models/%s.onnx", names[k]);
    const char *path = data_folder(part);
    const bl_onnx_options options = {.batch = 8, .rebatch = true};
    bl_float_graph *g = NULL;
    bl_error err = {0};
    if (path == NULL) skip();
    if (bl_onnx_import(path, &options, &g, &err) != BL_OK) fail_msg("%s", err.text);
    const double away = difference(g);
    if (!(away < 1e-4)) fail_msg("%s: %g", names[k], away);
    bl_float_graph_free(g);
  }
}

int main(void) {
  seed = test_seed();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(random_networks),
      cmocka_unit_test(fixed_batch),
      cmocka_unit_test(refuses_integers),
      cmocka_unit_test(models),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
