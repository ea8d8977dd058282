// SPDX-License-Identifier: Apache-2.0
// Small networks written here as ONNX, through the program alone: compressed for `tiny` and
// `default`, verified by all three executions, and their outputs on the functional device compared
// with those of the float executor.
#include <time.h>

#include "host/data/array.h"
#include "host/data/npy_write.h"
#include "tests/support/run_command.h"
#include "tests/unit/onnx_writer.h"

enum { SAMPLES = 24, VERIFIED = 2, MOST_WEIGHTS = 8192, OUTPUTS = 6 };

static uint64_t seed;

static double uniform(double lo, double hi) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return lo + (hi - lo) * (double)(seed >> 33) / 2147483648.0;
}

static char line[1024];

// ---- Writing networks

typedef struct {
  message graph;
  int64_t c, h, w; // of the input
} net;

static net new_net(int64_t c, int64_t h, int64_t w) {
  net n = {{0}, c, h, w};
  put_value(&n.graph, 11, "x", 1, (const int64_t[]){1, c, h, w}, 4);
  put_value(&n.graph, 12, "y", 1, (const int64_t[]){1, OUTPUTS}, 2);
  return n;
}

static void put_random(net *n, const char *name, const int64_t *dims, size_t rank, double most) {
  static float v[MOST_WEIGHTS];
  size_t count = 1;
  for (size_t k = 0; k < rank; k++)
    count *= (size_t)dims[k];
  assert_true(count <= MOST_WEIGHTS);
  for (size_t k = 0; k < count; k++)
    v[k] = (float)uniform(-most, most);
  put_tensor(&n->graph, 5, name, 1, dims, rank, v, count * sizeof *v);
}

static void put_scalar(net *n, const char *name, float value) {
  put_tensor(&n->graph, 5, name, 1, NULL, 0, &value, sizeof value);
}

// A node whose name is that of its output, without attributes.
static void put_plain(net *n, const char *op, const char *inputs, const char *output) {
  message node = new_node(op, output, inputs, output);
  put_message(&n->graph, 1, &node);
}

// A convolution with bias; `window` is kernel, stride, pad before and pad behind, in both
// directions, each given for rows and columns.
typedef struct {
  int64_t kernel[2], stride[2], before[2], behind[2], groups;
} window;

static const window one = {{1, 1}, {1, 1}, {0, 0}, {0, 0}, 1};
static const window three = {{3, 3}, {1, 1}, {1, 1}, {1, 1}, 1};

static void put_conv(net *n, const char *in, const char *out, int64_t from, int64_t to,
                     const window *w) {
  char inputs[64], weights[16], bias[16];
  (void)snprintf(weights, sizeof weights, "%s_w", out);
  (void)snprintf(bias, sizeof bias, "%s_b", out);
  (void)snprintf(inputs, sizeof inputs, "%s %s %s", in, weights, bias);
  message node = new_node("Conv", out, inputs, out);
  const int64_t pads[4] = {w->before[0], w->before[1], w->behind[0], w->behind[1]};
  put_ints(&node, "kernel_shape", w->kernel, 2);
  put_ints(&node, "strides", w->stride, 2);
  put_ints(&node, "pads", pads, 4);
  put_int(&node, "group", w->groups);
  put_message(&n->graph, 1, &node);
  const int64_t dims[4] = {to, from / w->groups, w->kernel[0], w->kernel[1]};
  double fan = (double)(dims[1] * dims[2] * dims[3]);
  put_random(n, weights, dims, 4, sqrt(3 / fan));
  put_random(n, bias, &to, 1, 0.3);
}

// Flattened, then a matrix product into y.
static void put_end(net *n, const char *in, int64_t elements) {
  put_plain(n, "Flatten", in, "flat");
  put_plain(n, "Gemm", "flat end_w end_b", "y");
  put_random(n, "end_w", (const int64_t[]){elements, OUTPUTS}, 2, sqrt(3 / (double)elements));
  put_random(n, "end_b", (const int64_t[]){OUTPUTS}, 1, 0.3);
}

static void put_concat(net *n, const char *inputs, const char *out) {
  message node = new_node("Concat", out, inputs, out);
  put_int(&node, "axis", 1);
  put_message(&n->graph, 1, &node);
}

// Up-sampling by whole factors.
static void put_resize(net *n, const char *in, const char *out, float high, float wide) {
  char inputs[64], scales[16];
  (void)snprintf(scales, sizeof scales, "%s_s", out);
  (void)snprintf(inputs, sizeof inputs, "%s - %s", in, scales);
  message node = new_node("Resize", out, inputs, out);
  put_string(&node, "coordinate_transformation_mode", "asymmetric");
  put_string(&node, "nearest_mode", "floor");
  put_message(&n->graph, 1, &node);
  const float factors[4] = {1, 1, high, wide};
  put_tensor(&n->graph, 5, scales, 1, (const int64_t[]){4}, 1, factors, sizeof factors);
}

// ---- Running them

static const char *path_of(const char *name) {
  static char path[256];
  (void)snprintf(path, sizeof path, "%s/%s", bl_command_folder, name);
  return path;
}

static void write_files(net *n) {
  message model = new_model(&n->graph, 20);
  FILE *f = fopen(path_of("net.onnx"), "wb");
  assert_non_null(f);
  assert_true(fwrite(model.bytes, 1, model.size, f) == model.size);
  assert_int_equal(fclose(f), 0);
  free(model.bytes);
  static float x[SAMPLES * 4096];
  size_t count = (size_t)(n->c * n->h * n->w);
  assert_true(count <= 4096);
  for (size_t k = 0; k < SAMPLES * count; k++)
    x[k] = (float)uniform(-1, 1);
  char header[129] = {0};
  (void)snprintf(header, sizeof header,
                 "%cNUMPY%c%c%c%c{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d, %d, "
                 "%d), }",
                 0x93, 1, 0, 118, 0, SAMPLES, (int)n->c, (int)n->h, (int)n->w);
  size_t used = 10 + strlen(header + 10);
  memset(header + used, ' ', 127 - used);
  header[127] = '\n';
  f = fopen(path_of("in.npy"), "wb");
  assert_non_null(f);
  assert_true(fwrite(header, 1, 128, f) == 128);
  assert_true(fwrite(x, sizeof *x, SAMPLES * count, f) == SAMPLES * count);
  assert_int_equal(fclose(f), 0);
}

static bl_array read_array(const char *name) {
  bl_array a;
  bl_error err = {0};
  if (bl_array_open(path_of(name), NULL, BL_DATA_LIMIT, &a, &err) != BL_OK)
    fail_msg("%s", err.text);
  assert_int_equal(a.entry_elements, OUTPUTS);
  return a;
}

// Root of the mean squared difference of outputs, as a part of that of the expected ones' spread.
static double error_of(const char *got_name, const char *want_name, uint32_t samples) {
  bl_array got = read_array(got_name), want = read_array(want_name);
  assert_true(got.dims[0] == samples && want.dims[0] >= samples);
  double error = 0, spread = 0, mean = 0, count = 0;
  for (uint32_t s = 0; s < want.dims[0]; s++)
    for (size_t k = 0; k < OUTPUTS; k++, count++)
      mean += bl_array_value(&want, s, k);
  for (uint32_t s = 0; s < samples; s++)
    for (size_t k = 0; k < OUTPUTS; k++) {
      double w = bl_array_value(&want, s, k), d = bl_array_value(&got, s, k) - w;
      error += d * d;
      spread += (w - mean / count) * (w - mean / count);
    }
  bl_array_free(&got);
  bl_array_free(&want);
  return sqrt(error / spread);
}

// Compresses with `options` for a configuration; three executions, the RTL with stalls, agree after
// every layer. The error of all samples on the functional device.
static double run_on(const char *config, const char *options) {
  (void)snprintf(line, sizeof line,
                 "compress @net.onnx %s --config %s --calib @in.npy --output @net.bloom", options,
                 config);
  bl_command_expect(line, 0);
  (void)snprintf(line, sizeof line, "verify @net.bloom --data @in.npy --stalls 0.2 --limit %d",
                 VERIFIED);
  bl_command_expect(line, 0);
  bl_command_expect("run @net.bloom --data @in.npy --outputs @got.npy", 0);
  return error_of("got.npy", "float.npy", SAMPLES);
}

// A network's error at `options` must lie below `most`, the same on all configurations; `wide`
// only runs on the functional device.
static void check(const char *name, net *n, const char *options, double most) {
  write_files(n);
  bl_command_expect("run @net.onnx --device float --data @in.npy --outputs @float.npy", 0);
  double tiny = run_on("tiny", options), by_default = run_on("default", options);
  printf("%s %s: %.4f of the outputs' spread\n", name, options, by_default);
  assert_true(tiny <= by_default && by_default <= tiny); // the same integers
  (void)snprintf(line, sizeof line,
                 "compress @net.onnx %s --config wide --calib @in.npy --output @net.bloom",
                 options);
  bl_command_expect(line, 0);
  bl_command_expect("run @net.bloom --data @in.npy --outputs @got.npy", 0);
  double wide = error_of("got.npy", "float.npy", SAMPLES);
  assert_true(wide <= by_default && by_default <= wide);
  if (!(by_default < most)) fail_msg("%s: error %.4f, at most %.4f", name, by_default, most);
}

// Layers of the compressed network.
static void expect_layers(const char *bits, int count) {
  (void)snprintf(line, sizeof line,
                 "compress @net.onnx --bits %s --calib @in.npy --output @net.bloom --json", bits);
  bl_command_expect(line, 0);
  cJSON *object = bl_command_json();
  assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(object, "layers")), count);
  cJSON_Delete(object);
}

// ---- Samples

// Samples as vectors are the network's planes one after the other.
static void flat_samples(void **state) {
  (void)state;
  net n = new_net(3, 4, 5);
  put_conv(&n, "x", "a", 3, 8, &three);
  put_end(&n, "a", 160);
  write_files(&n);
  bl_array a;
  bl_error err = {0};
  static float x[SAMPLES * 60];
  assert_int_equal(bl_array_open(path_of("in.npy"), NULL, BL_DATA_LIMIT, &a, &err), BL_OK);
  for (size_t k = 0; k < SAMPLES * 60; k++)
    x[k] = (float)bl_array_value(&a, k / 60, k % 60);
  bl_array_free(&a);
  assert_int_equal(bl_npy_write(path_of("flat.npy"), x, SAMPLES, 60, &err), BL_OK);
  bl_command_expect("compress @net.onnx --bits w8a8 --calib @in.npy --output @net.bloom", 0);
  bl_command_expect("run @net.bloom --data @in.npy --outputs @want.npy", 0);
  bl_command_expect("run @net.bloom --data @flat.npy --outputs @got.npy", 0);
  assert_true(error_of("got.npy", "want.npy", SAMPLES) <= 0);
}

// ---- Long reductions

// Windows of a single pixel that no row buffer holds: an average over a map of 32 x 32, channel by
// channel, and a kernel of which on `tiny` not even a row fits.
static void long_reductions(void **state) {
  (void)state;
  static const window row = {{2, 300}, {1, 1}, {0, 0}, {0, 0}, 1};
  net n = new_net(2, 32, 32);
  put_conv(&n, "x", "a", 2, 12, &one);
  put_plain(&n, "Relu", "a", "ar");
  put_plain(&n, "GlobalAveragePool", "ar", "b");
  put_end(&n, "b", 12);
  check("average", &n, "--bits w8a8", 0.2);
  n = new_net(2, 2, 300);
  put_conv(&n, "x", "a", 2, 2, &one);
  put_plain(&n, "Relu", "a", "ar");
  put_conv(&n, "ar", "b", 2, 4, &row);
  put_plain(&n, "Relu", "b", "br");
  put_end(&n, "br", 4);
  check("long rows", &n, "--bits w8a8", 0.2);
}

// ---- Projection shortcuts

static void put_norm(net *n, const char *in, const char *out, int64_t channels, int silent) {
  static const char *const names[4] = {"scale", "shift", "mean", "variance"};
  char inputs[96], name[32];
  size_t length = (size_t)snprintf(inputs, sizeof inputs, "%s", in);
  for (int k = 0; k < 4; k++) {
    float v[64];
    for (int64_t c = 0; c < channels; c++)
      v[c] = (float)(k % 3 == 0 ? uniform(0.7, 1.4) : uniform(-0.5, 0.5));
    if (k == 0 && silent >= 0) v[silent] = 0;
    (void)snprintf(name, sizeof name, "%s_%s", out, names[k]);
    put_tensor(&n->graph, 5, name, 1, &channels, 1, v, (size_t)channels * sizeof *v);
    length += (size_t)snprintf(inputs + length, sizeof inputs - length, " %s", name);
  }
  put_plain(n, "BatchNormalization", inputs, out);
}

// Two blocks that halve a map and double its channels, the first with the product of one tap in
// front of the other, the second behind it, with normalisation between; a channel of either branch
// is silent.
static net shortcuts(void) {
  static const window half = {{3, 3}, {2, 2}, {0, 0}, {1, 1}, 1};
  static const window tap = {{1, 1}, {2, 2}, {0, 0}, {0, 0}, 1};
  net n = new_net(3, 8, 8);
  put_conv(&n, "x", "a", 3, 8, &three);
  put_plain(&n, "Relu", "a", "ar");
  put_conv(&n, "ar", "p", 8, 16, &tap);
  put_conv(&n, "ar", "b", 8, 16, &half);
  put_norm(&n, "b", "bn", 16, 3);
  put_plain(&n, "Add", "p bn", "c");
  put_plain(&n, "Relu", "c", "cr");
  put_conv(&n, "cr", "d", 16, 16, &half);
  put_plain(&n, "Relu", "d", "dr");
  put_conv(&n, "dr", "e", 16, 20, &three);
  put_conv(&n, "cr", "q", 16, 20, &tap);
  put_norm(&n, "q", "qn", 20, 19);
  put_plain(&n, "Add", "e qn", "f");
  put_plain(&n, "Relu", "f", "fr");
  put_end(&n, "fr", 20 * 2 * 2);
  return n;
}

// Six layers and the end; at few bits, where they are cheaper so, the two products of one tap are
// in the sums.
static void projections(void **state) {
  (void)state;
  net n = shortcuts();
  check("projections", &n, "--bits w8a8", 0.06);
  n = shortcuts();
  check("projections", &n, "--bits w4a6", 0.5);
  expect_layers("w4a6", 5);
}

// ---- Concatenation

// Branches of different scales, one of them clamped: one layer more than there were, as 5 channels
// are no multiple of the columns.
static void branches(void **state) {
  (void)state;
  net n = new_net(3, 8, 8);
  put_conv(&n, "x", "a", 3, 8, &three);
  put_plain(&n, "Relu", "a", "r");
  put_conv(&n, "r", "b", 8, 5, &one);
  put_plain(&n, "Relu", "b", "br");
  put_scalar(&n, "seven", 7);
  put_conv(&n, "r", "c", 8, 12, &three);
  put_plain(&n, "Mul", "c seven", "cm");
  put_concat(&n, "br cm", "d");
  put_conv(&n, "d", "e", 17, 8, &three);
  put_end(&n, "e", 8 * 8 * 8);
  check("branches", &n, "--bits w8a8", 0.06);
  expect_layers("w8a8", 6);
}

// As in dense networks: what was concatenated is read again, so that it is copied. The parts have
// odd numbers of channels, the last concatenation is clamped.
static void read_twice(void **state) {
  (void)state;
  net n = new_net(3, 6, 6);
  put_conv(&n, "x", "a", 3, 7, &three);
  put_plain(&n, "Relu", "a", "ar");
  put_conv(&n, "ar", "b", 7, 4, &three);
  put_concat(&n, "ar b", "c");
  put_conv(&n, "c", "d", 11, 4, &three);
  put_concat(&n, "c d x", "e");
  put_plain(&n, "Relu", "e", "f");
  put_conv(&n, "f", "g", 18, 8, &one);
  put_end(&n, "g", 8 * 6 * 6);
  check("read twice", &n, "--bits w8a8", 0.06);
}

// The largest of each size x size pixels.
static void put_largest(net *n, const char *in, const char *out, int64_t size) {
  message pool = new_node("MaxPool", out, in, out);
  put_ints(&pool, "kernel_shape", (const int64_t[]){size, size}, 2);
  put_ints(&pool, "strides", (const int64_t[]){size, size}, 2);
  put_message(&n->graph, 1, &pool);
}

// Two levels down and up again, each beside the map that it came from, over images whose maps do
// not fit: they travel, the concatenations also while only the first of their parts is there.
static void levels(void **state) {
  (void)state;
  net n = new_net(1, 64, 64);
  put_conv(&n, "x", "a", 1, 8, &three);
  put_plain(&n, "Relu", "a", "ar");
  put_conv(&n, "ar", "b", 8, 8, &three);
  put_plain(&n, "Relu", "b", "br");
  put_largest(&n, "br", "p", 2);
  put_conv(&n, "p", "c", 8, 16, &three);
  put_plain(&n, "Relu", "c", "cr");
  put_largest(&n, "cr", "q", 2);
  put_conv(&n, "q", "d", 16, 16, &three);
  put_plain(&n, "Relu", "d", "dr");
  put_resize(&n, "dr", "u", 2, 2);
  put_concat(&n, "cr u", "v");
  put_conv(&n, "v", "e", 32, 8, &three);
  put_plain(&n, "Relu", "e", "er");
  put_resize(&n, "er", "w", 2, 2);
  put_concat(&n, "br w", "z");
  put_conv(&n, "z", "f", 16, 8, &three);
  put_plain(&n, "Relu", "f", "fr");
  put_largest(&n, "fr", "g", 8);
  put_end(&n, "g", 8 * 64);
  check("levels", &n, "--bits w4a4", 0.9);
  (void)snprintf(line, sizeof line,
                 "compress @net.onnx --bits w4a4 --config tiny --calib @in.npy "
                 "--output @net.bloom --json");
  bl_command_expect(line, 0);
  cJSON *object = bl_command_json();
  assert_true(cJSON_GetNumberValue(cJSON_GetObjectItem(object, "spilled_bytes")) > 0);
  cJSON_Delete(object);
}

// Vectors side by side, the same branch twice.
static void vectors(void **state) {
  (void)state;
  net n = new_net(2, 4, 4);
  put_conv(&n, "x", "a", 2, 8, &three);
  put_plain(&n, "Relu", "a", "ar");
  put_plain(&n, "GlobalAveragePool", "ar", "p");
  put_plain(&n, "GlobalMaxPool", "ar", "q");
  put_plain(&n, "Flatten", "p", "pf");
  put_plain(&n, "Flatten", "q", "qf");
  put_concat(&n, "pf qf pf", "v");
  put_end(&n, "v", 24);
  check("vectors", &n, "--bits w8a8", 0.06);
}

// A QONNX quantiser with a zero point of 0; every graph has its widths w2, w4 and zero.
static void put_quant(net *n, const char *in, const char *out, const char *scale, const char *width,
                      bool is_signed) {
  char inputs[64];
  (void)snprintf(inputs, sizeof inputs, "%s %s zero %s", in, scale, width);
  message node = new_node("Quant", out, inputs, out);
  put_int(&node, "signed", is_signed);
  put_int(&node, "narrow", 0);
  put_string(&node, "rounding_mode", "ROUND");
  put_message(&n->graph, 1, &node);
}

static void put_quantised_conv(net *n, const char *in, const char *out, int64_t from, int64_t to) {
  char weights[16], quantised[16], inputs[64];
  (void)snprintf(weights, sizeof weights, "%s_w", out);
  (void)snprintf(quantised, sizeof quantised, "%s_q", out);
  (void)snprintf(inputs, sizeof inputs, "%s %s", in, quantised);
  put_random(n, weights, (const int64_t[]){to, from, 1, 1}, 4, 0.9);
  put_quant(n, weights, quantised, "quarter", "w4", true);
  put_plain(n, "Conv", inputs, out);
}

// Graphs with integers of their own: one quantiser behind a concatenation and the same one in front
// of every branch give the float executor's outputs exactly.
static void fixed_integers(void **state) {
  (void)state;
  net n = new_net(2, 4, 4);
  put_scalar(&n, "zero", 0);
  put_scalar(&n, "w4", 4);
  put_scalar(&n, "eighth", 0.125F);
  put_scalar(&n, "quarter", 0.25F);
  put_scalar(&n, "odd", 0.3109F); // no sum is half way between two integers
  put_scalar(&n, "other", 0.4217F);
  put_quant(&n, "x", "xq", "eighth", "w4", true);
  put_quantised_conv(&n, "xq", "a", 2, 5);
  put_quantised_conv(&n, "xq", "b", 2, 8);
  put_concat(&n, "a b", "c");
  put_quant(&n, "c", "cq", "odd", "w4", true);
  put_quantised_conv(&n, "cq", "d", 13, 3);
  put_quant(&n, "d", "dq", "other", "w4", true);
  put_quantised_conv(&n, "cq", "e", 13, 8);
  put_quant(&n, "e", "eq", "other", "w4", true);
  put_concat(&n, "eq dq eq", "f");
  put_plain(&n, "Flatten", "f", "flat");
  put_random(&n, "m_w", (const int64_t[]){19 * 16, OUTPUTS}, 2, 0.9);
  put_quant(&n, "m_w", "m_q", "quarter", "w4", true);
  put_plain(&n, "MatMul", "flat m_q", "y");
  check("fixed integers", &n, "", 1e-5);
  cJSON *object;
  bl_command_expect("compress @net.onnx --output @net.bloom --json", 0);
  object = bl_command_json();
  assert_true(bl_command_number(object, "inexact") <= 0);
  cJSON_Delete(object);
}

// ---- Up-sampling

// In front of a convolution, of an addition and of a concatenation.
static void upsampled(void **state) {
  (void)state;
  net n = new_net(3, 8, 8);
  put_conv(&n, "x", "a", 3, 8, &three);
  put_plain(&n, "Relu", "a", "ar");
  window half = three;
  half.stride[0] = half.stride[1] = 2;
  put_conv(&n, "ar", "b", 8, 8, &half);
  put_plain(&n, "Relu", "b", "br");
  put_resize(&n, "br", "u", 2, 2);
  put_plain(&n, "Add", "ar u", "s");
  put_concat(&n, "s u", "c");
  put_conv(&n, "c", "d", 16, 8, &three);
  put_resize(&n, "d", "du", 2, 2);
  put_conv(&n, "du", "e", 8, 4, &half);
  put_end(&n, "e", 4 * 8 * 8);
  check("upsampled", &n, "--bits w8a8", 0.06);
}

// Four times as high, twice as wide; both operands of a sum up-sampled.
static void unequal(void **state) {
  (void)state;
  net n = new_net(3, 4, 4);
  put_conv(&n, "x", "a", 3, 8, &three);
  put_plain(&n, "Relu", "a", "ar");
  put_resize(&n, "ar", "u", 4, 2);
  put_conv(&n, "u", "b", 8, 8, &three);
  put_resize(&n, "b", "bu", 1, 2);
  put_conv(&n, "u", "c", 8, 8, &one);
  put_resize(&n, "c", "cu", 1, 2);
  put_plain(&n, "Add", "bu cu", "s");
  put_resize(&n, "s", "su", 2, 2);
  window fourth = three;
  fourth.stride[0] = fourth.stride[1] = 4;
  put_conv(&n, "su", "d", 8, 4, &fourth);
  put_end(&n, "d", 4 * 8 * 8);
  check("unequal", &n, "--bits w8a8", 0.06);
}

// What cannot be mapped is refused by name.
static void refused_resize(void **state) {
  (void)state;
  net n = new_net(2, 4, 4);
  put_resize(&n, "x", "u", 3, 3);
  put_end(&n, "u", 2 * 12 * 12);
  write_files(&n);
  bl_command_expect("compress @net.onnx --bits w8a8 --calib @in.npy --output @net.bloom", 1);
  assert_non_null(strstr(bl_command_errors, "node u (Resize)"));
}

// ---- Tables

// x -> node -> out for operators with attributes left at their defaults.
static void put_silu(net *n, const char *in, const char *out) {
  char inputs[32];
  put_plain(n, "Sigmoid", in, "silu_s");
  (void)snprintf(inputs, sizeof inputs, "%s silu_s", in);
  put_plain(n, "Mul", inputs, out);
}

// 0.5 * x * (1 + erf(x / sqrt 2)), as exporters write it before opset 20.
static void put_gelu(net *n, const char *in, const char *out) {
  char inputs[32];
  put_scalar(n, "gelu_r", 1.41421356F);
  put_scalar(n, "gelu_1", 1);
  put_scalar(n, "gelu_h", 0.5F);
  (void)snprintf(inputs, sizeof inputs, "%s gelu_r", in);
  put_plain(n, "Div", inputs, "gelu_d");
  put_plain(n, "Erf", "gelu_d", "gelu_e");
  put_plain(n, "Add", "gelu_e gelu_1", "gelu_a");
  (void)snprintf(inputs, sizeof inputs, "%s gelu_a", in);
  put_plain(n, "Mul", inputs, "gelu_m");
  put_plain(n, "Mul", "gelu_m gelu_h", out);
}

// x * clip(x + 3, 0, 6) / 6
static void put_hard_swish(net *n, const char *in, const char *out) {
  char inputs[32];
  put_scalar(n, "swish_0", 0);
  put_scalar(n, "swish_3", 3);
  put_scalar(n, "swish_6", 6);
  (void)snprintf(inputs, sizeof inputs, "%s swish_3", in);
  put_plain(n, "Add", inputs, "swish_a");
  put_plain(n, "Clip", "swish_a swish_0 swish_6", "swish_c");
  (void)snprintf(inputs, sizeof inputs, "%s swish_c", in);
  put_plain(n, "Mul", inputs, "swish_m");
  put_plain(n, "Div", "swish_m swish_6", out);
}

// Four layers with a function each, side by side: one layer for each, tables and all.
static void four_functions(const char *name, const char *const ops[4]) {
  net n = new_net(3, 6, 6);
  char sums[16], made[16], all[64] = "";
  put_scalar(&n, "four", 4);
  for (int k = 0; k < 4; k++) {
    (void)snprintf(sums, sizeof sums, "a%d", k);
    (void)snprintf(made, sizeof made, "f%d", k);
    put_conv(&n, "x", sums, 3, 8, &three);
    (void)snprintf(line, sizeof line, "%s four", sums);
    (void)snprintf(sums, sizeof sums, "m%d", k); // beyond where the functions saturate
    put_plain(&n, "Mul", line, sums);
    if (strcmp(ops[k], "silu") == 0)
      put_silu(&n, sums, made);
    else if (strcmp(ops[k], "gelu") == 0)
      put_gelu(&n, sums, made);
    else if (strcmp(ops[k], "swish") == 0)
      put_hard_swish(&n, sums, made);
    else
      put_plain(&n, ops[k], sums, made);
    (void)snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s", k > 0 ? " " : "", made);
  }
  put_concat(&n, all, "c");
  put_conv(&n, "c", "d", 32, 8, &three);
  put_end(&n, "d", 8 * 36);
  check(name, &n, "--bits w8a8", 0.05);
  expect_layers("w8a8", 6);
}

static void functions(void **state) {
  (void)state;
  static const char *const ops[3][4] = {{"Sigmoid", "Tanh", "HardSigmoid", "Softplus"},
                                        {"HardSwish", "Gelu", "LeakyRelu", "Elu"},
                                        {"silu", "gelu", "swish", "Erf"}};
  four_functions("sigmoid, tanh, hard sigmoid, softplus", ops[0]);
  four_functions("hard swish, gelu, leaky relu, elu", ops[1]);
  four_functions("silu, gelu and hard swish in parts, erf", ops[2]);
}

// A table's output is no b1, nor is a concatenation that it is a part of.
static void few_bits(void **state) {
  (void)state;
  net n = new_net(3, 4, 4);
  put_conv(&n, "x", "a", 3, 5, &three);
  put_plain(&n, "Tanh", "a", "at");
  put_conv(&n, "x", "b", 3, 8, &three);
  put_concat(&n, "at b", "c");
  put_conv(&n, "c", "d", 13, 8, &one);
  put_end(&n, "d", 8 * 16);
  check("few bits", &n, "--bits w4a1", 3);
}

// One behind the other, with pooling, a sum, an up-sampling and a clamp behind tables, a function
// of the network's input and one in front of the output, at few bits.
static void functions_in_a_row(void **state) {
  (void)state;
  static const char *const bits[] = {"--bits w8a8", "--bits w6a5", "--bits w2a1 --range minmax"};
  static const double most[] = {0.05, 0.35, 3};
  for (int k = 0; k < 3; k++) {
    net n = new_net(3, 8, 8);
    put_plain(&n, "Tanh", "x", "t");
    put_conv(&n, "t", "a", 3, 8, &three);
    put_hard_swish(&n, "a", "ah");
    message pool = new_node("MaxPool", "p", "ah", "p");
    put_ints(&pool, "kernel_shape", (const int64_t[]){2, 2}, 2);
    put_ints(&pool, "strides", (const int64_t[]){2, 2}, 2);
    put_message(&n.graph, 1, &pool);
    put_conv(&n, "p", "b", 8, 8, &three);
    put_silu(&n, "b", "bs");
    put_plain(&n, "Add", "bs p", "s");
    put_plain(&n, "LeakyRelu", "s", "sl");
    put_plain(&n, "Relu", "sl", "sr");
    put_resize(&n, "sr", "u", 2, 2);
    put_conv(&n, "u", "c", 8, 8, &three);
    put_plain(&n, "Flatten", "c", "cf");
    put_plain(&n, "Gemm", "cf e_w e_b", "e");
    put_random(&n, "e_w", (const int64_t[]){512, OUTPUTS}, 2, sqrt(3.0 / 512));
    put_random(&n, "e_b", (const int64_t[]){OUTPUTS}, 1, 0.3);
    put_plain(&n, "Tanh", "e", "y");
    check("functions in a row", &n, bits[k], most[k]);
  }
}

// Integers in front of a function and behind it are met exactly, whatever the rounding between.
static void fixed_function(void **state) {
  (void)state;
  net n = new_net(2, 4, 4);
  put_scalar(&n, "zero", 0);
  put_scalar(&n, "w4", 4);
  put_scalar(&n, "w6", 6);
  put_scalar(&n, "eighth", 0.125F);
  put_scalar(&n, "quarter", 0.25F);
  put_scalar(&n, "odd", 0.1109F);
  put_scalar(&n, "small", 0.0317F);
  put_quant(&n, "x", "xq", "eighth", "w4", true);
  put_quantised_conv(&n, "xq", "a", 2, 8);
  put_quant(&n, "a", "aq", "odd", "w6", true);
  put_plain(&n, "Sigmoid", "aq", "as");
  put_quant(&n, "as", "at", "small", "w6", false);
  put_quantised_conv(&n, "at", "b", 8, 8);
  put_quant(&n, "b", "bq", "odd", "w6", true);
  put_silu(&n, "bq", "bs");
  put_quant(&n, "bs", "bt", "odd", "w6", true);
  put_plain(&n, "Flatten", "bt", "flat");
  put_random(&n, "m_w", (const int64_t[]){8 * 16, OUTPUTS}, 2, 0.9);
  put_quant(&n, "m_w", "m_q", "quarter", "w4", true);
  put_plain(&n, "MatMul", "flat m_q", "y");
  check("fixed function", &n, "", 1e-5);
  expect_layers("w8a8", 3);
}

// ---- Codebooks

// Dense and depthwise layers, a concatenation in front, an addition (sent expanded), a fully
// connected end.
static void codebooks(void **state) {
  (void)state;
  static const char *const options[] = {"--bits w4a8 --codebook nf4", "--bits w4a8 --codebook po2",
                                        "--bits w4a8 --codebook apot",
                                        "--bits w4a8 --codebook @book.json", "--bits w4a8"};
  FILE *f = fopen(path_of("book.json"), "wb"); // of a name that the folder's clean-up knows
  assert_non_null(f);
  assert_true(fputs("-12 -8 -5 -3 -2 -1 0\n1,2,3,5,8,12 # no powers\n", f) >= 0);
  assert_int_equal(fclose(f), 0);
  uint64_t start = seed;
  for (size_t k = 0; k < sizeof options / sizeof *options; k++) {
    seed = start; // the same network
    net n = new_net(3, 8, 8);
    put_conv(&n, "x", "a", 3, 8, &three);
    put_plain(&n, "Relu", "a", "ar");
    put_conv(&n, "x", "b", 3, 12, &three);
    put_concat(&n, "ar b", "c");
    window deep = three;
    deep.groups = 20;
    put_conv(&n, "c", "d", 20, 20, &deep);
    put_plain(&n, "Relu", "d", "dr");
    put_conv(&n, "dr", "e", 20, 8, &one);
    put_plain(&n, "Add", "e ar", "s");
    put_end(&n, "s", 8 * 64);
    check("codebook", &n, options[k], k == 1 ? 0.6 : 0.4);
    (void)snprintf(line, sizeof line,
                   "compress @net.onnx %s --calib @in.npy --output @net.bloom --json", options[k]);
    bl_command_expect(line, 0);
    cJSON *object = bl_command_json();
    const cJSON *layers = cJSON_GetObjectItem(object, "layers");
    assert_int_equal(cJSON_GetArraySize(layers), 6);
    for (int i = 0; i < 6; i++) {
      const cJSON *weights = cJSON_GetObjectItem(cJSON_GetArrayItem(layers, i), "weights");
      bool codes = strcmp(cJSON_GetStringValue(weights), "codes") == 0;
      assert_int_equal(codes, k < 4 && i != 2); // a copy
    }
    cJSON_Delete(object);
  }
  bl_command_expect(
      "compress @net.onnx --bits w8a8 --codebook nf4 --calib @in.npy --output @o.bloom", 2);
  bl_command_expect(
      "compress @net.onnx --bits w4a8 --codebook @none.json --calib @in.npy --output @o.bloom", 1);
}

// ---- Windows

// Groups of 5, 3 and 7 channels to 4, 6 and 1; kernels, strides and pads odd and unequal.
static void groups(void **state) {
  (void)state;
  net n = new_net(3, 9, 7);
  static const window odd[3] = {{{3, 2}, {1, 1}, {1, 0}, {1, 1}, 3},
                                {{1, 3}, {2, 1}, {0, 2}, {0, 0}, 4},
                                {{2, 2}, {1, 1}, {0, 0}, {1, 1}, 7}};
  put_conv(&n, "x", "a", 3, 15, &three);
  put_plain(&n, "Relu", "a", "ar");
  put_conv(&n, "ar", "b", 15, 12, &odd[0]); // 9 x 7
  put_plain(&n, "Relu", "b", "br");
  put_conv(&n, "br", "c", 12, 28, &odd[1]); // 5 x 7
  put_plain(&n, "Tanh", "c", "ct");
  put_conv(&n, "ct", "d", 28, 7, &odd[2]); // 5 x 7
  put_end(&n, "d", 7 * 35);
  check("groups", &n, "--bits w8a8", 0.06);
  expect_layers("w8a8", 5);
}

typedef struct {
  const char *op;
  int64_t kernel[2], stride[2], pads[4], ceil;
  int64_t h, w; // of the output, for an input of 9 x 10
  bool refused;
} pooling;

static void put_pool(net *n, const pooling *p) {
  message node = new_node(p->op, "p", "ar", "p");
  put_ints(&node, "kernel_shape", p->kernel, 2);
  put_ints(&node, "strides", p->stride, 2);
  put_ints(&node, "pads", p->pads, 4);
  put_int(&node, "ceil_mode", p->ceil);
  if (p->op[0] == 'A') put_int(&node, "count_include_pad", 1);
  put_message(&n->graph, 1, &node);
}

// Windows larger than their stride and smaller, padded on one side only, behind the last full one
// with ceil_mode; averages that would need several divisors are refused.
static void pools(void **state) {
  (void)state;
  static const pooling cases[] = {
      {"MaxPool", {3, 2}, {2, 3}, {1, 0, 0, 1}, 0, 4, 4, false},
      {"MaxPool", {2, 3}, {3, 2}, {0, 1, 1, 0}, 0, 3, 5, false},
      {"MaxPool", {2, 4}, {2, 3}, {0, 0, 0, 0}, 1, 5, 3, false},
      {"MaxPool", {5, 1}, {1, 4}, {2, 0, 2, 0}, 1, 9, 3, false},
      {"AveragePool", {3, 2}, {2, 3}, {0, 0, 0, 0}, 0, 4, 3, false},
      {"AveragePool", {3, 5}, {3, 1}, {1, 2, 2, 2}, 0, 4, 10, false},
      {"AveragePool", {2, 2}, {2, 2}, {0, 0, 0, 0}, 1, 5, 5, true},
  };
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
    const pooling *p = &cases[k];
    net n = new_net(2, 9, 10);
    put_conv(&n, "x", "a", 2, 11, &three);
    put_plain(&n, "LeakyRelu", "a", "ar");
    put_pool(&n, p);
    put_end(&n, "p", 11 * p->h * p->w);
    if (!p->refused) {
      check(p->op, &n, "--bits w8a8", 0.06);
      continue;
    }
    write_files(&n);
    bl_command_expect("compress @net.onnx --bits w8a8 --calib @in.npy --output @net.bloom", 1);
    assert_non_null(strstr(bl_command_errors, "node p (AveragePool)"));
  }
}

int main(void) {
  seed = (uint64_t)time(NULL);
  printf("seed %llu\n", (unsigned long long)seed);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(flat_samples),   cmocka_unit_test(long_reductions),
      cmocka_unit_test(projections),    cmocka_unit_test(branches),
      cmocka_unit_test(read_twice),     cmocka_unit_test(levels),
      cmocka_unit_test(vectors),        cmocka_unit_test(fixed_integers),
      cmocka_unit_test(upsampled),      cmocka_unit_test(unequal),
      cmocka_unit_test(refused_resize), cmocka_unit_test(functions),
      cmocka_unit_test(few_bits),       cmocka_unit_test(functions_in_a_row),
      cmocka_unit_test(fixed_function), cmocka_unit_test(codebooks),
      cmocka_unit_test(groups),         cmocka_unit_test(pools),
  };
  return cmocka_run_group_tests(tests, bl_command_open, bl_command_close);
}
