// SPDX-License-Identifier: Apache-2.0
// Plans for ResNet-8: what one that the search has found is worth beside four bits everywhere, and
// that sums keep bits of their own. Skipped without the data.
#include <math.h>
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

enum { LAYERS = 10 };

static const char *data;
static char names[LAYERS][400];

// Convolutions and the dense layer, in order.
static void read_names(void) {
  char line[1200];
  (void)snprintf(line, sizeof line, "import %s/models/ic_resnet8_float.onnx --json", data);
  bl_command_expect(line, 0);
  cJSON *object = bl_command_json();
  const cJSON *node;
  int count = 0;
  cJSON_ArrayForEach(node, cJSON_GetObjectItem(object, "nodes")) {
    const char *kind = cJSON_GetStringValue(cJSON_GetObjectItem(node, "operator"));
    if (strcmp(kind, "Conv") != 0 && strcmp(kind, "Gemm") != 0) continue;
    assert_true(count < LAYERS);
    (void)snprintf(names[count++], sizeof names[0], "%s",
                   cJSON_GetStringValue(cJSON_GetObjectItem(node, "name")));
  }
  assert_int_equal(count, LAYERS);
  cJSON_Delete(object);
}

static void worth(const int *weights, const int *activations, const char *options, double *cycles,
                  double *loss) {
  char path[600], line[2048];
  (void)snprintf(path, sizeof path, "%s/plan.json", bl_command_folder);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  for (int k = 0; k < LAYERS; k++)
    (void)fprintf(file, "%s{\"name\":\"%s\",\"weight-bits\":%d,\"activation-bits\":%d}",
                  k == 0 ? "{\"layers\":[" : ",", names[k], weights[k], activations[k]);
  (void)fputs("]}\n", file);
  (void)fclose(file);
  (void)snprintf(line, sizeof line,
                 "search %s/models/ic_resnet8_float.onnx --data "
                 "%s/cifar10/train_20000_balanced.bin.gz --limit 400 --hold-out 200 "
                 "--calib-limit 64 --json --evaluate @plan.json %s",
                 data, data, options);
  bl_command_expect(line, 0);
  cJSON *object = bl_command_json();
  *cycles = bl_command_number(cJSON_GetObjectItem(object, "result"), "cycles");
  *loss = bl_command_number(cJSON_GetObjectItem(object, "result"), "loss");
  cJSON_Delete(object);
}

static void need_data(void) {
  char path[1024];
  data = getenv("BITLOOM_DATA") != NULL ? getenv("BITLOOM_DATA") : "../shared/data";
  (void)snprintf(path, sizeof path, "%s/models/ic_resnet8_float.onnx", data);
  if (access(path, R_OK) == 0) return;
  printf("skipped: no %s\n", path);
  skip();
}

static void mixed_beats_uniform(void **state) {
  (void)state;
  static const int found[2][LAYERS] = {{6, 5, 5, 5, 4, 6, 4, 3, 6, 5},
                                       {3, 3, 3, 3, 3, 5, 3, 4, 5, 8}};
  static const int four[LAYERS] = {4, 4, 4, 4, 4, 4, 4, 4, 4, 4};
  double cycles[2], loss[2];
  need_data();
  read_names();
  worth(four, four, "", &cycles[0], &loss[0]);
  worth(found[0], found[1], "", &cycles[1], &loss[1]);
  printf("w4a4: %.0f cycles, loss %.3f; found: %.0f cycles, loss %.3f\n", cycles[0], loss[0],
         cycles[1], loss[1]);
  assert_true(cycles[1] <= cycles[0]);
  assert_true(loss[1] <= 0.75 * loss[0]);
}

// Layer cycles of the pass quantise, four bits and sums of eight.
static double quantised_cycles(void) {
  char path[600], line[2048];
  (void)snprintf(path, sizeof path, "%s/skips.yaml", bl_command_folder);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  (void)fputs("about: test\npasses:\n"
              "  - quantise: {weight-bits: 4, activation-bits: 4, skip-bits: 8}\n",
              file);
  (void)fclose(file);
  (void)snprintf(line, sizeof line,
                 "compress %s/models/ic_resnet8_float.onnx --data "
                 "%s/cifar10/train_20000_balanced.bin.gz --limit 400 --hold-out 200 "
                 "--calib-limit 64 --json --recipe @skips.yaml --output @skips.bloom",
                 data, data);
  bl_command_expect(line, 0);
  cJSON *object = bl_command_json();
  const double cycles = bl_command_number(object, "layer_cycles");
  cJSON_Delete(object);
  return cycles;
}

// A plan's activation bits are those of what products read: sums keep eight. The last average,
// which no plan names, keeps eight, too, in place of quantise's four: a cycle in a thousand.
static void sums_keep_their_bits(void **state) {
  (void)state;
  static const int four[LAYERS] = {4, 4, 4, 4, 4, 4, 4, 4, 4, 4};
  double cycles[2], loss[2];
  need_data();
  read_names();
  worth(four, four, "", &cycles[0], &loss[0]);
  worth(four, four, "--skip-bits 8", &cycles[1], &loss[1]);
  const double wanted = quantised_cycles();
  printf("w4a4: %.0f cycles, loss %.3f; sums of 8 bits: %.0f cycles (quantise: %.0f), loss %.3f\n",
         cycles[0], loss[0], cycles[1], wanted, loss[1]);
  assert_true(fabs(cycles[1] - wanted) < 2e-3 * wanted);
  assert_true(cycles[1] > 1.05 * cycles[0]);
  assert_true(loss[1] != loss[0]);
}

int main(void) {
  (void)setenv("OMP_NUM_THREADS", "1", 1); // threads that wait take most of the time
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(mixed_beats_uniform),
      cmocka_unit_test(sums_keep_their_bits),
  };
  return cmocka_run_group_tests(tests, bl_command_open, bl_command_close);
}
