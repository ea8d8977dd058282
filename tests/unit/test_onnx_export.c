// SPDX-License-Identifier: Apache-2.0
// A graph that was written as ONNX and read again computes the same bits: small networks with
// attributes of every type, and the models of the data folder where it is there.
#include "tests/unit/train_support.h"

#include "host/float/session.h"
#include "host/onnx/onnx_export.h"

static uint64_t seed = 1;

static void run(const bl_float_graph *g, bl_float_session **session) {
  bl_error err = {0};
  if (bl_float_session_open(g, session, &err) != BL_OK) fail_msg("%s", err.text);
  for (uint32_t k = 0; k < g->input_count; k++) {
    bl_value *in = bl_float_session_input(*session, k);
    for (size_t i = 0; i < in->count; i++)
      if (in->type == BL_TYPE_FLOAT)
        in->f[i] = (float)(4 * bl_random_unit(bl_random_key(seed + k, i)) - 2);
      else
        in->i[i] = (int64_t)bl_random_below(bl_random_key(seed + k, i), 3);
  }
  if (bl_float_session_run(*session, &err) != BL_OK) fail_msg("%s", err.text);
}

static void same_bits(const bl_float_graph *a, const bl_float_graph *b, const char *name) {
  bl_float_session *x, *y;
  run(a, &x);
  run(b, &y);
  assert_int_equal(a->output_count, b->output_count);
  for (uint32_t k = 0; k < a->output_count; k++) {
    const bl_value *p = bl_float_session_value(x, a->outputs[k]);
    const bl_value *q = bl_float_session_value(y, b->outputs[k]);
    assert_true(p->count == q->count && p->type == q->type && p->element == q->element);
    const void *left = p->type == BL_TYPE_FLOAT ? (const void *)p->f : (const void *)p->i;
    const void *right = q->type == BL_TYPE_FLOAT ? (const void *)q->f : (const void *)q->i;
    if (memcmp(left, right, p->count * (p->type == BL_TYPE_FLOAT ? 4 : 8)) != 0)
      fail_msg("%s: output %u differs", name, k);
  }
  bl_float_session_close(x);
  bl_float_session_close(y);
}

static bl_float_graph *again(const bl_float_graph *g, const bl_onnx_export_options *options,
                             int64_t batch) {
  uint8_t *bytes;
  size_t size;
  bl_error err = {0};
  bl_float_graph *read = NULL;
  bl_onnx_options import = {.batch = batch};
  if (bl_onnx_export_bytes(g, options, &bytes, &size, &err) != BL_OK) fail_msg("%s", err.text);
  if (bl_onnx_import_bytes("written", bytes, size, &import, &read, &err) != BL_OK)
    fail_msg("%s", err.text);
  free(bytes);
  return read;
}

static void small_networks(void **state) {
  (void)state;
  static const text_net nets[] = {
      {"conv", "x 2 2 5 5", "w 3 2 3 3;b 3;s 1 3 1 1", NULL,
       "Conv x w b > h | pads=i1,1,1,1;Mul h s > k;LeakyRelu k > y | alpha=f0", 13},
      {"string", "x 1 6", NULL, NULL, "Gelu x > y | approximate=stanh", 20},
      {"integers", "x 4 5", "r 2 =2,1", "s 2 =3,0;e 2 =-9,5;a 2 =0,1;t 2 =-2,2",
       "Slice x s e a t > h;Resize h - r > y | mode=snearest", 13},
      {"qonnx", "x 2 3", "s =0.25;z =0;b =4", NULL,
       "Quant x s z b > y | signed=i1 narrow=i0 rounding_mode=sROUND", 13},
      {"old clip", "x 2 3", NULL, NULL, "Clip x > y | min=f0 max=f1", 7},
  };
  for (size_t k = 0; k < sizeof nets / sizeof nets[0]; k++) {
    bl_float_graph *g = text_graph(&nets[k], seed), *read = again(g, NULL, 0);
    same_bits(g, read, nets[k].name);
    bl_float_graph_free(g);
    bl_float_graph_free(read);
  }
}

static void free_batch(void **state) {
  (void)state;
  text_net t = {"free", "x 1 4", "w 4 3", NULL, "Gemm x w > y", 13};
  bl_onnx_export_options options = {.free_batch = true};
  bl_float_graph *g = text_graph(&t, seed), *read = again(g, &options, 7);
  assert_int_equal(read->values[read->inputs[0]].dims[0], 7);
  assert_int_equal(read->values[read->outputs[0]].dims[0], 7);
  bl_float_graph_free(g);
  bl_float_graph_free(read);
}

static void models(void **state) {
  (void)state;
  static const char *const names[] = {"ic_resnet8_float",
                                      "resnet20_cifar10",
                                      "lenet-5",
                                      "kws_dscnn_float",
                                      "ad01_autoencoder_float",
                                      "mnist-8",
                                      "ic_resnet8_int8_qdq",
                                      "TFC_1W2A"};
  for (size_t k = 0; k < sizeof names / sizeof names[0]; k++) {
    char part[64];
    (void)snprintf(part, sizeof part, "models/%s.onnx", names[k]);
    const char *path = data_folder(part);
    bl_float_graph *g = NULL;
    bl_error err = {0};
    if (path == NULL) skip();
    if (bl_onnx_import(path, NULL, &g, &err) != BL_OK) fail_msg("%s", err.text);
    bl_float_graph *read = again(g, NULL, 0);
    same_bits(g, read, names[k]);
    bl_float_graph_free(g);
    bl_float_graph_free(read);
  }
}

static void refuses_other_floats(void **state) {
  (void)state;
  text_net t = {"half", "x 1 4", NULL, NULL, "Cast x > h | to=i10;Cast h > y | to=i1", 13};
  bl_float_graph *g = text_graph(&t, seed);
  uint8_t *bytes;
  size_t size;
  bl_error err = {0};
  assert_int_equal(bl_onnx_export_bytes(g, NULL, &bytes, &size, &err), BL_ERR_UNSUPPORTED);
  assert_non_null(strstr(err.text, "value h"));
  assert_int_equal(bl_onnx_export("/no/such/folder/x.onnx", g, NULL, &err), BL_ERR_UNSUPPORTED);
  bl_float_graph_free(g);
}

int main(void) {
  seed = test_seed();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(small_networks),
      cmocka_unit_test(free_batch),
      cmocka_unit_test(models),
      cmocka_unit_test(refuses_other_floats),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
