// SPDX-License-Identifier: Apache-2.0
// From an ONNX file to counted answers, through the program alone. The shipped digits always; the
// models and data of BITLOOM_DATA (or ../shared/data) where they are: their counts in float are
// those of independent runners (see the folder's own notes).
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/run_command.h"

#define DIGITS "examples/digits/data/"
#define HELD_OUT_IMAGES "--data " DIGITS "test-images.idx3-ubyte.gz"
#define HELD_OUT HELD_OUT_IMAGES " --labels " DIGITS "test-labels.idx1-ubyte.gz"

static char line[2048];

static double correct_of(const char *command) {
  bl_command_expect(command, 0);
  cJSON *object = bl_command_json();
  double correct = bl_command_number(object, "correct");
  const cJSON *mismatches = cJSON_GetObjectItem(object, "mismatches");
  if (cJSON_IsNumber(mismatches)) assert_true(cJSON_GetNumberValue(mismatches) == 0.0);
  cJSON_Delete(object);
  return correct;
}

// Compresses, runs on the functional device; the number of correct answers.
static double compressed(const char *model, const char *options, const char *data) {
  (void)snprintf(line, sizeof line, "compress %s %s --output @net.bloom", model, options);
  bl_command_expect(line, 0);
  (void)snprintf(line, sizeof line, "run @net.bloom %s --json", data);
  return correct_of(line);
}

static void digits(void **state) {
  (void)state;
  static const struct {
    const char *bits;
    double lost; // of 500, against float, at most
  } cases[] = {{"w8a8", 5}, {"w4a4", 10}, {"w1a4", 15}};
  double in_float = correct_of("run examples/digits/digits.onnx --device float --json " HELD_OUT);
  assert_true(in_float >= 475);
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char options[256];
    (void)snprintf(options, sizeof options,
                   "--bits %s --calib " DIGITS "train-images.idx3-ubyte.gz", cases[i].bits);
    double correct = compressed("examples/digits/digits.onnx", options, HELD_OUT);
    printf("digits %s: %.0f of 500, float %.0f\n", cases[i].bits, correct, in_float);
    assert_true(in_float - correct <= cases[i].lost);
  }
}

static void digits_everywhere(void **state) {
  (void)state;
  for (int config = 0; config < 3; config++) {
    static const char *const names[] = {"tiny", "default", "wide"};
    (void)snprintf(line, sizeof line,
                   "compress examples/digits/digits.onnx --bits w4a4 --config %s --calib " DIGITS
                   "train-images.idx3-ubyte.gz --output @net.bloom",
                   names[config]);
    bl_command_expect(line, 0);
    bl_command_expect("verify @net.bloom --device functional --limit 8 " HELD_OUT_IMAGES, 0);
  }
}

// The coded form is smaller, says where its bytes go, and runs to the same answers.
static void digits_coded(void **state) {
  (void)state;
  char coded[256];
  static const char plain[] = "--bits w4a8 --calib " DIGITS "train-images.idx3-ubyte.gz";
  const double correct = compressed("examples/digits/digits.onnx", plain, HELD_OUT);
  bl_command_expect("verify @net.bloom --device functional --limit 4 " HELD_OUT_IMAGES, 0);
  (void)snprintf(coded, sizeof coded, "compress examples/digits/digits.onnx %s --output @net.bloom",
                 plain);
  bl_command_expect(coded, 0);
  (void)snprintf(line, sizeof line, "%s --json", coded);
  bl_command_expect(line, 0);
  cJSON *object = bl_command_json();
  const double file = bl_command_number(object, "file_bytes");
  assert_null(cJSON_GetObjectItem(object, "storage"));
  cJSON_Delete(object);
  (void)snprintf(line, sizeof line, "%s --coded --json", coded);
  bl_command_expect(line, 0);
  object = bl_command_json();
  const cJSON *storage = cJSON_GetObjectItem(object, "storage");
  const cJSON *sum = cJSON_GetObjectItem(storage, "sum");
  const double small = bl_command_number(object, "file_bytes");
  assert_true(small == bl_command_number(storage, "file") && 2 * small < file);
  assert_true(small == bl_command_number(sum, "coded") + bl_command_number(storage, "constants") +
                           bl_command_number(storage, "fields") +
                           bl_command_number(storage, "headers"));
  cJSON_Delete(object);
  assert_true(correct_of("run @net.bloom --json " HELD_OUT) == correct);
  bl_command_expect("verify @net.bloom --device functional --limit 4 " HELD_OUT_IMAGES, 0);
  bl_command_expect("report @net.bloom --device functional --limit 4 --output @r.html " HELD_OUT,
                    0);
}

// The three executions agree, and a fault in any one is named with its layer.
static void digits_verified(void **state) {
  (void)state;
  static const char *const names[] = {"reference", "functional", "rtl"};
  bl_command_expect("compress examples/digits/digits.onnx --bits w2a3 --calib " DIGITS
                    "train-images.idx3-ubyte.gz --output @net.bloom",
                    0);
  bl_command_expect("verify @net.bloom --limit 24 --stalls 0.2 --seed 5 " HELD_OUT_IMAGES, 0);
  for (int i = 0; i < 3; i++) {
    char expected[64];
    (void)snprintf(expected, sizeof expected, "from %s; the other two agree", names[i]);
    (void)snprintf(line, sizeof line, "verify @net.bloom --limit 1 --plant-fault %s:%d --json %s",
                   names[i], i, HELD_OUT_IMAGES);
    bl_command_expect(line, 1);
    assert_non_null(strstr(bl_command_errors, expected));
    cJSON *object = bl_command_json();
    const cJSON *first = cJSON_GetObjectItem(object, "first_difference");
    assert_true(bl_command_number(first, "layer") == i);
    cJSON_Delete(object);
  }
}

// Shards and stalls change no result, a waveform is written, the report has its verdict.
static void digits_on_rtl(void **state) {
  (void)state;
  bl_command_expect("compress examples/digits/digits.onnx --bits w4a4 --calib " DIGITS
                    "train-images.idx3-ubyte.gz --output @net.bloom",
                    0);
  double functional = correct_of("run @net.bloom --limit 40 --json " HELD_OUT);
  double rtl = correct_of("run @net.bloom --device rtl --shards 2 --limit 40 --json " HELD_OUT);
  assert_true(functional == rtl);
  rtl = correct_of("run @net.bloom --device rtl --stalls 0.5 --limit 40 --json " HELD_OUT);
  assert_true(functional == rtl);
  bl_command_expect("run @net.bloom --device rtl --limit 2 --trace @wave.fst --trace-layer 1", 0);
  char path[64];
  (void)snprintf(path, sizeof path, "%s/wave.fst", bl_command_folder);
  assert_int_equal(access(path, R_OK), 0);
  bl_command_expect("run @net.bloom --device rtl --trace @wave.fst --trace-layer 9", 1);
  bl_command_expect("report @net.bloom --limit 40 --output @net.html " HELD_OUT, 0);
  bl_command_slurp("net.html");
  assert_non_null(strstr(bl_command_out, "class=\"good\">yes"));
}

static char data[256];

static int find_data(void **state) {
  const char *given = getenv("BITLOOM_DATA");
  (void)snprintf(data, sizeof data, "%s", given != NULL ? given : "../shared/data");
  return bl_command_open(state);
}

static void need_data(void) {
  if (access(data, R_OK) == 0) return;
  printf("skipped: no models and data in %s\n", data);
  skip();
}

static const char *mnist(void) {
  static char text[640];
  (void)snprintf(text, sizeof text,
                 "--no-compare --data %s/mnist/t10k-images-idx3-ubyte.gz --labels "
                 "%s/mnist/t10k-labels-idx1-ubyte.gz",
                 data, data);
  return text;
}

// Within 0.1 point of float at W8A8 and 0.5 point at W4A4, on all 10,000 images.
static void quantised_mnist(void **state) {
  (void)state;
  need_data();
  static const struct {
    const char *model, *options;
    double in_float;
  } cases[] = {
      {"mnist-8.onnx", "--scale 0.00392156862745098", 9890},
      {"mnist-8.onnx", "", 9891},
      {"lenet-5.onnx", "--scale 0.00392156862745098 --mean 0.1307 --std 0.3081", 9913},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    for (int bits = 8; bits >= 4; bits -= 4) {
      char model[320], options[640];
      (void)snprintf(model, sizeof model, "%s/models/%s", data, cases[i].model);
      (void)snprintf(options, sizeof options,
                     "--bits w%da%d %s --calib %s/mnist/train-images-idx3-ubyte.gz", bits, bits,
                     cases[i].options, data);
      double correct = compressed(model, options, mnist());
      printf("%s w%da%d %s: %.0f, float %.0f\n", cases[i].model, bits, bits, cases[i].options,
             correct, cases[i].in_float);
      assert_true(cases[i].in_float - correct <= (bits == 8 ? 10 : 50));
    }
}

// Graphs that fix their own integers give their authors' answers.
static void trained_binary(void **state) {
  (void)state;
  need_data();
  static const struct {
    const char *model;
    double correct;
  } cases[] = {{"TFC_1W1A.onnx", 9296}, {"TFC_1W2A.onnx", 9474}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char model[320];
    (void)snprintf(model, sizeof model, "%s/models/%s", data, cases[i].model);
    double correct = compressed(model, "--scale 0.00392156862745098", mnist());
    printf("%s: %.0f\n", cases[i].model, correct);
    assert_in_range((uintmax_t)correct, (uintmax_t)cases[i].correct - 1,
                    (uintmax_t)cases[i].correct + 1);
  }
}

// A part of the test set on the RTL; the whole thousand is a matter of patience, not of code.
static void lenet_on_rtl(void **state) {
  (void)state;
  need_data();
  (void)snprintf(line, sizeof line,
                 "compress %s/models/lenet-5.onnx --bits w4a4 --scale 0.00392156862745098 --mean "
                 "0.1307 --std 0.3081 --calib %s/mnist/train-images-idx3-ubyte.gz --output "
                 "@net.bloom",
                 data, data);
  bl_command_expect(line, 0);
  (void)snprintf(line, sizeof line,
                 "run @net.bloom --device rtl --limit 96 --json --data "
                 "%s/mnist/t10k-images-idx3-ubyte.gz --labels %s/mnist/t10k-labels-idx1-ubyte.gz",
                 data, data);
  assert_true(correct_of(line) >= 94);
}

static void keyword_spotting(void **state) {
  (void)state;
  need_data();
  char model[320], samples[1024];
  (void)snprintf(model, sizeof model, "%s/models/kwsmlp_w3a3_mlperf_v07.onnx", data);
  (void)snprintf(samples, sizeof samples,
                 "--data %s/speech-commands/kws-finn-mfcc-int8.idx3-byte.gz --labels "
                 "%s/speech-commands/kws-finn-recorded-predictions.idx1-ubyte.gz",
                 data, data);
  double agree = compressed(model, "--scale 0.33674246072769165", samples);
  printf("kwsmlp: agrees with %.0f of 1000 recorded predictions\n", agree);
  assert_true(agree >= 998);
}

// Models that bring their integers, taken as they are: at most 0.3 point below what ONNX Runtime
// makes of them, and the same bits on the RTL.
static void integer_models(void **state) {
  (void)state;
  need_data();
  static const struct {
    const char *model, *options, *samples, *labels;
    double correct;
  } cases[] = {
      {"ic_resnet8_int8_qdq.onnx", "", "cifar10/test_1000_balanced.bin.gz", NULL, 874},
      {"kws_dscnn_int8_qdq.onnx", "--scale 0.5847029 --mean 48.5303407",
       "speech-commands/kws01-mfcc-int8.idx3-byte.gz", "speech-commands/kws01-labels.idx1-ubyte.gz",
       902},
      {"vww_mobilenetv1_int8_qdq.onnx", "", NULL, NULL, 0},
      {"ad_autoencoder_int8_qdq.onnx", "", NULL, NULL, 0},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    (void)snprintf(line, sizeof line, "compress %s/models/%s %s --output @net.bloom", data,
                   cases[i].model, cases[i].options);
    bl_command_expect(line, 0);
    bl_command_expect("verify @net.bloom --limit 1 --stalls 0.1 --seed 3", 0);
    if (cases[i].samples == NULL) continue;
    (void)snprintf(line, sizeof line, "run @net.bloom --json --no-compare --data %s/%s", data,
                   cases[i].samples);
    size_t at = strlen(line);
    if (cases[i].labels != NULL)
      (void)snprintf(line + at, sizeof line - at, " --labels %s/%s", data, cases[i].labels);
    double correct = correct_of(line);
    printf("%s: %.0f, ONNX Runtime %.0f\n", cases[i].model, correct, cases[i].correct);
    assert_true(cases[i].correct - correct <= 3);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(digits_coded),     cmocka_unit_test(digits_verified),
      cmocka_unit_test(digits_on_rtl),    cmocka_unit_test(lenet_on_rtl),
      cmocka_unit_test(digits),           cmocka_unit_test(digits_everywhere),
      cmocka_unit_test(quantised_mnist),  cmocka_unit_test(trained_binary),
      cmocka_unit_test(keyword_spotting), cmocka_unit_test(integer_models),
  };
  return cmocka_run_group_tests(tests, find_data, bl_command_close);
}
