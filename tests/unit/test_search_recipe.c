// SPDX-License-Identifier: Apache-2.0
// The passes `search` and `auto` over the shipped digits: a goal held with a fraction of the
// cycles, the same again from the work folder, and errors that name recipe, line and pass.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/run_command.h"

#define DIGITS "examples/digits/data/"
#define IMAGES "--data " DIGITS "train-images.idx3-ubyte.gz "
#define LABELS "--labels " DIGITS "train-labels.idx1-ubyte.gz "
#define FEW "--limit 300 --hold-out 100 --calib-limit 32 "

static void write_recipe(const char *passes) {
  char path[600];
  (void)snprintf(path, sizeof path, "%s/t.yaml", bl_command_folder);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  (void)fprintf(file, "about: test\npasses:\n%s", passes);
  (void)fclose(file);
}

#define RECIPE                                                                                     \
  "compress examples/digits/digits.onnx --recipe @t.yaml --threads 1 " IMAGES LABELS FEW           \
  "--output @r.bloom "

// The goal is held with a fraction of the cycles; the same command again takes what is there.
static void automatic(void **state) {
  (void)state;
#define AUTOMATIC                                                                                  \
  "  - auto: {max-drop: 6, epochs: 2, trial-epochs: 1, budgets: 4, batch: 16,\n"                   \
  "           weight-bits: \"2,3,4\", activation-bits: \"2,3\", samples: 8,\n"                     \
  "           judges: 40, rounding: nearest, bias-correction: none, lr: 1e-3, probe-samples: "
  write_recipe(AUTOMATIC "64}\n");
  double cycles[2], correct[2];
  for (int k = 0; k < 2; k++) {
    bl_command_expect(RECIPE "--work @. --json", 0);
    cJSON *object = bl_command_json();
    const cJSON *stages = cJSON_GetObjectItem(object, "stages");
    const cJSON *before = cJSON_GetArrayItem(stages, 0), *after = cJSON_GetArrayItem(stages, 1);
    cycles[k] = bl_command_number(after, "cycles");
    correct[k] = bl_command_number(after, "correct");
    const double samples = bl_command_number(after, "samples");
    assert_true(correct[k] >= bl_command_number(before, "correct") - 0.06 * samples - 1e-9);
    assert_true(6 * cycles[k] < bl_command_number(before, "cycles"));
    cJSON_Delete(object);
  }
  printf("auto: %.0f cycles, %.0f correct\n", cycles[0], correct[0]);
  assert_true(cycles[0] == cycles[1] && correct[0] == correct[1]);
  // Losses behind another training are no losses of this one.
  write_recipe(AUTOMATIC "32}\n");
  bl_command_expect(RECIPE "--work @. --json", 2);
  assert_non_null(strstr(bl_command_errors, "other choices"));
  // Statistics are frozen in the longer trainings only: theirs are the check-points that do not
  // fit.
  write_recipe(AUTOMATIC "64, freeze-statistics: 0.5}\n");
  bl_command_expect(RECIPE "--work @. --json", 2);
  assert_non_null(strstr(bl_command_errors, ".ckpt: made with other options"));
}

static void wrong_recipe(const char *passes, int status, const char *words) {
  write_recipe(passes);
  bl_command_expect(RECIPE, status);
  bl_command_one_line();
  if (strstr(bl_command_errors, words) == NULL) fail_msg("%s: %s", passes, bl_command_errors);
}

static void wrong_recipes(void **state) {
  (void)state;
#define CHEAP                                                                                      \
  "weight-bits: \"2,8\", activation-bits: \"8\", rounding: nearest, samples: 8, judges: 20, "      \
  "generations: 0, "
  wrong_recipe("  - search: {" CHEAP "max-cycles: 10}\n", 1,
               "t.yaml:3: search: cycles of 10 cannot be reached: the least is ");
  wrong_recipe("  - search: {" CHEAP "budgets: 2}\n", 2, "say max-cycles, max-bytes, max-drop");
  wrong_recipe("  - search: {weight-bits: \"2;8\", max-drop: 1}\n", 2,
               "weight-bits: 2;8: expected up to 32 numbers");
  wrong_recipe("  - search: {plan: /nowhere/plan.json}\n", 1, "/nowhere/plan.json");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(automatic),
      cmocka_unit_test(wrong_recipes),
  };
  return cmocka_run_group_tests(tests, bl_command_open, bl_command_close);
}
