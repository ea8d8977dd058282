// SPDX-License-Identifier: Apache-2.0
// Refinement by the command: bits and codebooks by layer in a recipe; and, where the data is there,
// least figures of AdaRound on ResNet-8 and of ResNet-20 without data.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/run_command.h"

static void write_recipe(const char *name, const char *text) {
  char path[128];
  (void)snprintf(path, sizeof path, "%s/%s", bl_command_folder, name);
  FILE *f = fopen(path, "wb");
  assert_non_null(f);
  assert_true(fputs(text, f) >= 0);
  assert_int_equal(fclose(f), 0);
}

static const char *word(const cJSON *layer, const char *key) {
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(layer, key);
  assert_true(cJSON_IsString(item));
  return item->valuestring;
}

// The first and the last layer have something of their own, the others the codebook of all.
static void by_layer(void **state) {
  (void)state;
  write_recipe("layers.yaml", "passes:\n"
                              "  - quantise:\n"
                              "      weight-bits: 5\n"
                              "      activation-bits: 6\n"
                              "      codebook: nf4\n"
                              "      layers:\n"
                              "        first: {weight-bits: 7, activation-bits: 3}\n"
                              "        last: {codebook: none}\n");
  bl_command_expect("compress examples/digits/digits.onnx --threads 1 --recipe @layers.yaml "
                    "--data examples/digits/data/train-images.idx3-ubyte.gz --limit 300 "
                    "--hold-out 20 --output @net.bloom --json",
                    0);
  cJSON *object = bl_command_json();
  const cJSON *layers = cJSON_GetObjectItemCaseSensitive(object, "layers");
  const int count = cJSON_GetArraySize(layers);
  assert_true(count >= 3);
  int coded = 0;
  for (int k = 1; k + 1 < count; k++)
    coded += strcmp(word(cJSON_GetArrayItem(layers, k), "weights"), "codes") == 0;
  assert_true(coded > 0);
  const cJSON *first = cJSON_GetArrayItem(layers, 0), *last = cJSON_GetArrayItem(layers, count - 1);
  assert_string_equal(word(first, "weights"), "s7");
  assert_string_equal(word(first, "output"), "u3");
  assert_string_equal(word(last, "weights"), "s5");
  cJSON_Delete(object);
}

// ---- Real networks

static const char *data_of(const char *model) {
  const char *data = getenv("BITLOOM_DATA") != NULL ? getenv("BITLOOM_DATA") : "../shared/data";
  char path[1024];
  (void)snprintf(path, sizeof path, "%s/models/%s", data, model);
  FILE *file = fopen(path, "rb");
  if (file == NULL) {
    printf("skipped: no %s\n", path);
    skip();
  }
  if (file != NULL) (void)fclose(file);
  return data;
}

// Correct answers of the first 200 test images.
static double correct(const char *data) {
  char line[1024];
  (void)snprintf(line, sizeof line,
                 "run @net.bloom --json --no-compare --limit 200 "
                 "--data %s/cifar10/test_1000_balanced.bin.gz",
                 data);
  bl_command_expect(line, 0);
  cJSON *object = bl_command_json();
  const double count = bl_command_number(object, "correct");
  cJSON_Delete(object);
  return count;
}

// ResNet-8 with four bits for weights and activations, without training.
static void adaround(void **state) {
  (void)state;
  char line[1024];
  const char *data = data_of("ic_resnet8_float.onnx");
  (void)snprintf(line, sizeof line,
                 "compress %s/models/ic_resnet8_float.onnx --bits w4a4 --rounding adaround "
                 "--bias-correction empirical --calib %s/cifar10/train_20000_balanced.bin.gz "
                 "--calib-limit 128 --output @net.bloom",
                 data, data);
  bl_command_expect(line, 0);
  const double count = correct(data);
  printf("ResNet-8 W4A4, AdaRound: %.0f of 200\n", count);
  assert_true(count >= 158);
}

// ResNet-8, of 100 images that nothing was calibrated on, in one recipe: scales that are powers of
// two, SmoothQuant, ternary weights.
static void stages(void **state) {
  (void)state;
  char line[1024];
  const char *data = data_of("ic_resnet8_float.onnx");
  write_recipe("stages.yaml",
               "passes:\n"
               "  - quantise: {weight-bits: 4, rounding: gptq, bias-correction: empirical,\n"
               "               scales: power-of-two}\n"
               "  - smooth\n"
               "  - quantise: {weight-bits: 4, rounding: gptq, bias-correction: empirical}\n"
               "  - quantise: {weight-bits: 2, rounding: gptq, bias-correction: empirical}\n");
  (void)snprintf(line, sizeof line,
                 "compress %s/models/ic_resnet8_float.onnx --recipe @stages.yaml --threads 1 "
                 "--data %s/cifar10/train_20000_balanced.bin.gz --limit 200 --calib-limit 64 "
                 "--hold-out 100 --output @net.bloom --json",
                 data, data);
  bl_command_expect(line, 0);
  cJSON *object = bl_command_json();
  const cJSON *all = cJSON_GetObjectItemCaseSensitive(object, "stages");
  static const double least[5] = {85, 82, 80, 84, 58};
  assert_int_equal(cJSON_GetArraySize(all), 5);
  for (int k = 0; k < 5; k++) {
    const cJSON *stage = cJSON_GetArrayItem(all, k);
    printf("%s: %.0f of 100\n", word(stage, "pass"), bl_command_number(stage, "correct"));
    assert_true(bl_command_number(stage, "correct") >= least[k]);
  }
  cJSON_Delete(object);
}

// ResNet-20 with four-bit weights from the model alone: few samples, made in few iterations.
static void without_data(void **state) {
  (void)state;
  char line[1024];
  const char *data = data_of("resnet20_cifar10.onnx");
  write_recipe("free.yaml", "passes:\n"
                            "  - synthetic-data: {samples: 8, batch: 8, iterations: 40}\n"
                            "  - quantise: {weight-bits: 4, bias-correction: analytic}\n");
  (void)snprintf(line, sizeof line,
                 "compress %s/models/resnet20_cifar10.onnx --recipe @free.yaml --threads 1 "
                 "--scale 0.00392156862745098 --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 "
                 "--output @net.bloom",
                 data);
  bl_command_expect(line, 0);
  const double count = correct(data);
  printf("ResNet-20 W4A8 without data: %.0f of 200\n", count);
  assert_true(count >= 178);
}

int main(void) {
  (void)setenv("OMP_NUM_THREADS", "1", 1); // threads that wait for each other take the most time
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(by_layer),
      cmocka_unit_test(adaround),
      cmocka_unit_test(stages),
      cmocka_unit_test(without_data),
  };
  return cmocka_run_group_tests(tests, bl_command_open, bl_command_close);
}
