// SPDX-License-Identifier: Apache-2.0
// compress --recipe as its users start it, on the digits that come with the kit: the same file as
// by options, the same file twice, what is printed, and one line for everything that is wrong.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/data/npy_write.h"
#include "tests/support/run_command.h"

#define DIGITS "compress examples/digits/digits.onnx --threads 1 "
#define IMAGES "--data examples/digits/data/train-images.idx3-ubyte.gz "
#define LABELS "--labels examples/digits/data/train-labels.idx1-ubyte.gz "

static void write_file(const char *name, const char *text) {
  char path[128];
  (void)snprintf(path, sizeof path, "%s/%s", bl_command_folder, name);
  FILE *f = fopen(path, "wb");
  assert_non_null(f);
  assert_true(fputs(text, f) >= 0);
  assert_int_equal(fclose(f), 0);
}

static void same_files(const char *a, const char *b) {
  char path[2][128];
  (void)snprintf(path[0], sizeof path[0], "%s/%s", bl_command_folder, a);
  (void)snprintf(path[1], sizeof path[1], "%s/%s", bl_command_folder, b);
  FILE *one = fopen(path[0], "rb"), *other = fopen(path[1], "rb");
  assert_non_null(one);
  assert_non_null(other);
  int c = 0;
  while (c != EOF) {
    c = fgetc(one);
    assert_int_equal(c, fgetc(other));
  }
  (void)fclose(one);
  (void)fclose(other);
}

static bool exists(const char *name) {
  char path[128];
  (void)snprintf(path, sizeof path, "%s/%s", bl_command_folder, name);
  return access(path, F_OK) == 0;
}

// A recipe of one pass is what the options say.
static void like_options(void **state) {
  (void)state;
  bl_command_expect(DIGITS "--recipe w4a8 " IMAGES LABELS "--hold-out 200 --output @recipe.bloom",
                    0);
  assert_non_null(strstr(bl_command_out, "recipe w4a8: "));
  assert_non_null(strstr(bl_command_out, "keeps bits of weights of line 3: 4, yes"));
  bl_command_expect(DIGITS
                    "--bits w4a8 --rounding gptq --bias-correction empirical --calib "
                    "examples/digits/data/train-images.idx3-ubyte.gz --output @options.bloom",
                    0);
  same_files("recipe.bloom", "options.bloom");
}

// Trained, stopped nowhere, twice, and once more from the check-points: one file.
static void same_again(void **state) {
  (void)state;
  write_file("t.yaml", "about: one bit\n"
                       "passes:\n"
                       "  - quantise: {weight-bits: 1, activation-bits: 2}\n"
                       "  - train: {epochs: 2, lr: 0.003}\n");
  bl_command_expect(DIGITS "--recipe @t.yaml " IMAGES LABELS "--output @one.bloom --json", 0);
  cJSON *object = bl_command_json();
  const cJSON *stages = cJSON_GetObjectItem(object, "stages");
  assert_int_equal(cJSON_GetArraySize(stages), 3);
  const cJSON *plain = cJSON_GetArrayItem(stages, 1), *trained = cJSON_GetArrayItem(stages, 2);
  const double before = bl_command_number(plain, "correct"),
               after = bl_command_number(trained, "correct"),
               samples = bl_command_number(plain, "samples");
  printf("digits, 1 bit: %.0f of %.0f, trained %.0f\n", before, samples, after);
  assert_true(after >= 0.9 * samples);
  assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(trained, "details")), 2);
  cJSON_Delete(object);
  for (int round = 0; round < 2; round++) {
    bl_command_expect(DIGITS "--recipe @t.yaml --work @. " IMAGES LABELS "--output @two.bloom", 0);
    assert_int_equal(strstr(bl_command_out, "resumed after 2 epochs") != NULL, round == 1);
    same_files("one.bloom", "two.bloom");
  }
}

// Pruned while training, shared, rounded: every later training keeps all of it, whatever it learns
// from; stopped nowhere, twice, and once more from the check-points: one file.
static void everything_is_kept(void **state) {
  (void)state;
  char folder[128];
  (void)snprintf(folder, sizeof folder, "%s/kept", bl_command_folder);
  assert_int_equal(mkdir(folder, 0700), 0);
  write_file("all.yaml", "passes:\n"
                         "  - prune: {sparsity: 0.6, gradual: true}\n"
                         "  - train: {epochs: 2, lr: 0.003, average: 0.9}\n"
                         "  - share: {clusters: 12}\n"
                         "  - train: {epochs: 1, lr: 0.001, distil: relation}\n"
                         "  - quantise: {weight-bits: 4, activation-bits: 4}\n"
                         "  - train: {epochs: 1, lr: 0.001, distil: hint, sign: tanh,\n"
                         "            weights-from: 0.3, smoothing: 0.1, cutout: 1}\n");
  for (int round = 0; round < 2; round++) {
    bl_command_expect(DIGITS "--recipe @all.yaml --work @kept --limit 600 " IMAGES LABELS
                             "--output @a.bloom --json",
                      0);
    cJSON *object = bl_command_json();
    const cJSON *stages = cJSON_GetObjectItem(object, "stages");
    assert_int_equal(cJSON_GetArraySize(stages), 7);
    const cJSON *last = cJSON_GetArrayItem(stages, 6);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(last, "keeps")), 3);
    assert_true(bl_command_number(last, "correct") >= 0.8 * bl_command_number(last, "samples"));
    cJSON_Delete(object);
    if (round == 0)
      bl_command_expect(DIGITS "--recipe @all.yaml --limit 600 " IMAGES LABELS "--output @b.bloom",
                        0);
  }
  same_files("a.bloom", "b.bloom");
  for (int place = 2; place <= 6; place += 2) {
    char path[160];
    (void)snprintf(path, sizeof path, "%s/%02d-train.ckpt", folder, place);
    assert_int_equal(unlink(path), 0);
  }
  assert_int_equal(rmdir(folder), 0);
}

static void bad_input(void **state) {
  (void)state;
  enum { SAMPLES = 20, PIXELS = 64 };
  static float images[SAMPLES * PIXELS];
  char path[128];
  bl_error err = {0};
  images[5 * PIXELS + 3] = NAN;
  (void)snprintf(path, sizeof path, "%s/nan.npy", bl_command_folder);
  assert_int_equal(bl_npy_write(path, images, SAMPLES, PIXELS, &err), BL_OK);
  write_file("field.yaml", "passes:\n  - quantise:\n      weight-bits: 12\n");
  write_file("layer.yaml", "passes:\n  - train: {epochs: 1}\n  - quantise:\n      layers:\n"
                           "        nowhere: {weight-bits: 3}\n");
  static const struct {
    const char *line, *says;
    int status;
  } cases[] = {
      {DIGITS "--recipe absent.yaml " IMAGES "--output @never.bloom", "absent.yaml", 1},
      {DIGITS "--recipe @field.yaml " IMAGES "--output @never.bloom",
       "field.yaml:3: weight-bits: expected a whole number from 1 to 8", 1},
      {DIGITS "--recipe data-free --output @never.bloom", "data-free:3: synthetic-data: ", 1},
      {DIGITS "--recipe w4a8 --output @never.bloom", "w4a8:3: quantise: needs calibration data", 2},
      {DIGITS "--recipe w4a8 " IMAGES "--hold-out 99999 --output @never.bloom", "--hold-out", 2},
      {DIGITS "--recipe w4a8 " IMAGES
              "--labels examples/digits/data/test-labels.idx1-ubyte.gz --output @never.bloom",
       "labels", 1},
      {DIGITS "--recipe w4a8 --data @nan.npy --output @never.bloom", "finite", 1},
      {DIGITS "--recipe w4a8 " IMAGES "--work /nowhere/else --output @never.bloom",
       "--work /nowhere/else: ", 1},
      {DIGITS "--recipe w4a8 --bits w4a8 " IMAGES "--output @never.bloom", "leave out --bits", 2},
  };
  for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
    bl_command_expect(cases[k].line, cases[k].status);
    if (strstr(bl_command_errors, cases[k].says) == NULL)
      fail_msg("%s: said %s", cases[k].line, bl_command_errors);
    assert_false(exists("never.bloom"));
  }
}

// Every recipe that comes with the kit, as it stands, on the digits: answers stay, and what comes
// out verifies. `auto` searches for minutes; it has a test of its own.
static void built_in(void **state) {
  (void)state;
  static const struct {
    const char *name;
    double least; // percent of the held-out digits
  } cases[] = {{"w8a8", 96}, {"w4a8", 96},    {"w4a4", 96},
               {"w2a2", 93}, {"w1a1", 85},    {"nf4", 96},
               {"po2", 94},  {"ternary", 95}, {"deep-compression", 92}};
  for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
    char line[300];
    (void)snprintf(line, sizeof line,
                   DIGITS "--recipe %s " IMAGES LABELS "--output @built.bloom --json",
                   cases[k].name);
    bl_command_expect(line, 0);
    cJSON *object = bl_command_json();
    const cJSON *stages = cJSON_GetObjectItem(object, "stages");
    const cJSON *last = cJSON_GetArrayItem(stages, cJSON_GetArraySize(stages) - 1);
    const double got =
        100 * bl_command_number(last, "correct") / bl_command_number(last, "samples");
    printf("%-16s %.1f %%, %.0f bytes of weights, %.0f coded, %.0f cycles\n", cases[k].name, got,
           bl_command_number(last, "bytes"), bl_command_number(last, "coded"),
           bl_command_number(last, "cycles"));
    cJSON_Delete(object);
    assert_true(got >= cases[k].least);
    bl_command_expect("verify @built.bloom --device functional --limit 2", 0);
  }
}

static void lists(void **state) {
  (void)state;
  bl_command_expect("recipes --json", 0);
  cJSON *object = bl_command_json();
  const cJSON *recipes = cJSON_GetObjectItem(object, "recipes"), *recipe;
  cJSON_ArrayForEach(recipe, recipes) {
    char line[128];
    const char *name = cJSON_GetStringValue(cJSON_GetObjectItem(recipe, "name"));
    (void)snprintf(line, sizeof line, "recipes %s", name);
    bl_command_expect(line, 0);
    assert_non_null(strstr(bl_command_out, "passes:\n"));
  }
  cJSON_Delete(object);
  bl_command_expect("recipes quantise", 0);
  assert_non_null(strstr(bl_command_out, "weight-bits: whole number 1..8, default 8"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(like_options),       cmocka_unit_test(same_again),
      cmocka_unit_test(everything_is_kept), cmocka_unit_test(bad_input),
      cmocka_unit_test(built_in),           cmocka_unit_test(lists),
  };
  return cmocka_run_group_tests(tests, bl_command_open, bl_command_close);
}
