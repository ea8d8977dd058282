// SPDX-License-Identifier: Apache-2.0
// What rates relative to each layer's weights buy on ResNet-8, whose layers differ in size by 250:
// skipped without the data.
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

static const char *data;

// Correct of 300 held-out images after one epoch of 1,200 in 3 bits.
static double trained(const char *rate) {
  char path[600], line[2048];
  (void)snprintf(path, sizeof path, "%s/t.yaml", bl_command_folder);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  (void)fprintf(file,
                "passes:\n  - quantise: {weight-bits: 3, activation-bits: 3}\n"
                "  - train: {epochs: 1, flip: true, %s}\n",
                rate);
  (void)fclose(file);
  (void)snprintf(line, sizeof line,
                 "compress %s/models/ic_resnet8_float.onnx --recipe @t.yaml --threads 1 "
                 "--data %s/cifar10/train_20000_balanced.bin.gz --limit 1500 --hold-out 300 "
                 "--calib-limit 64 --output @t.bloom --json",
                 data, data);
  bl_command_expect(line, 0);
  cJSON *object = bl_command_json();
  const cJSON *stages = cJSON_GetObjectItem(object, "stages");
  const double correct = bl_command_number(cJSON_GetArrayItem(stages, 2), "correct");
  cJSON_Delete(object);
  return correct;
}

static void relative_rates(void **state) {
  (void)state;
  char path[1024];
  data = getenv("BITLOOM_DATA") != NULL ? getenv("BITLOOM_DATA") : "../shared/data";
  (void)snprintf(path, sizeof path, "%s/models/ic_resnet8_float.onnx", data);
  if (access(path, R_OK) != 0) {
    printf("skipped: no %s\n", path);
    skip();
  }
  const double common = trained("lr: 1e-4");
  const double relative = trained("relative-rate: true, lr: 4e-3");
  printf("W3A3, one epoch of 1,200 images: %.0f of 300 with a common rate, %.0f relative\n", common,
         relative);
  assert_true(relative >= common + 20);
}

int main(void) {
  (void)setenv("OMP_NUM_THREADS", "1", 1); // threads that wait for each other take most of the time
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(relative_rates),
  };
  return cmocka_run_group_tests(tests, bl_command_open, bl_command_close);
}
