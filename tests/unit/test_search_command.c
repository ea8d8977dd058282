// SPDX-License-Identifier: Apache-2.0
// bitloom search over the shipped digits: plans that say the same as options of compress cost the
// same, budgets hold, a search that goes on answers the same, and what is wrong is one line.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/run_command.h"

#define DIGITS "examples/digits/data/"
#define MODEL "examples/digits/digits.onnx "
#define IMAGES "--data " DIGITS "train-images.idx3-ubyte.gz "
#define LABELS "--labels " DIGITS "train-labels.idx1-ubyte.gz "
#define FEW "--limit 300 --hold-out 100 --calib-limit 32 "
#define SEARCH "search " MODEL IMAGES LABELS FEW
#define LISTS "--weight-bits 2,3,4,8 --activation-bits 2,3,4 "
#define SMALL LISTS "--budgets 5 --population 6 --generations 1 --workers 2 "

static char line[2048];

static cJSON *json_of(const char *command) {
  bl_command_expect(command, 0);
  return bl_command_json();
}

// One number of what a plan is worth.
static double worth(const char *plan, const char *key) {
  (void)snprintf(line, sizeof line, SEARCH "--json --evaluate %s", plan);
  cJSON *object = json_of(line);
  const double value = bl_command_number(cJSON_GetObjectItem(object, "result"), key);
  cJSON_Delete(object);
  return value;
}

static void plan_of(char *text, size_t size, int weights, int activations) {
  static const char *const names[] = {"Conv1", "Conv3", "Conv6", "Gemm10"};
  size_t length = (size_t)snprintf(text, size, "{\"layers\":[");
  for (int k = 0; k < 4; k++)
    length += (size_t)snprintf(text + length, size - length,
                               "%s{\"name\":\"%s\",\"weight-bits\":%d,\"activation-bits\":%d}",
                               k == 0 ? "" : ",", names[k], weights, activations);
  (void)snprintf(text + length, size - length, "]}");
}

// Against what compress says of the same bits, by another way through the program.
static void uniform_plans_as_compress(void **state) {
  (void)state;
  static const int bits[][2] = {{8, 8}, {4, 2}, {2, 4}};
  for (size_t k = 0; k < sizeof bits / sizeof bits[0]; k++) {
    char plan[600];
    (void)snprintf(line, sizeof line,
                   "compress " MODEL "--bits w%da%d --calib " DIGITS "train-images.idx3-ubyte.gz "
                   "--calib-limit 32 --output @u.bloom --json",
                   bits[k][0], bits[k][1]);
    cJSON *object = json_of(line);
    const double cycles = bl_command_number(object, "layer_cycles");
    const double bytes = bl_command_number(object, "weight_bytes");
    cJSON_Delete(object);
    plan_of(plan, sizeof plan, bits[k][0], bits[k][1]);
    assert_true(worth(plan, "cycles") == cycles);
    assert_true(worth(plan, "bytes") == bytes);
    printf("w%da%d: %.0f cycles\n", bits[k][0], bits[k][1], cycles);
  }
}

static void less_weights_cost_less(void **state) {
  (void)state;
  const char *half = "{\"layers\":[{\"name\":\"Conv3\",\"blocks\":0.5}]}";
  const char *none = "{\"layers\":[]}";
  assert_true(worth(half, "cycles") < 0.9 * worth(none, "cycles"));
  assert_true(worth(half, "bytes") < worth(none, "bytes"));
  assert_true(worth(half, "loss") > worth(none, "loss"));
  // So do factors, and pruned ones more.
  const char *factors = "{\"layers\":[{\"name\":\"Conv3\",\"rank\":0.5}]}";
  const char *both = "{\"layers\":[{\"name\":\"Conv3\",\"rank\":0.5,\"blocks\":0.5}]}";
  assert_true(worth(factors, "cycles") < 0.8 * worth(none, "cycles"));
  assert_true(worth(factors, "bytes") < 0.9 * worth(none, "bytes"));
  assert_true(worth(both, "cycles") < 0.95 * worth(factors, "cycles"));
  assert_true(worth(both, "bytes") < worth(factors, "bytes"));
}

static int count_lines(void) {
  int lines = 0;
  for (const char *at = bl_command_out; *at != '\0'; at++)
    lines += *at == '\n';
  return lines;
}

// Within the cycles of a uniform plan, a search must be better than that plan.
static void budget_holds_and_beats_uniform(void **state) {
  (void)state;
  char plan[600], chosen[4000];
  plan_of(plan, sizeof plan, 2, 4);
  const double cycles = worth(plan, "cycles"), loss = worth(plan, "loss");
  (void)snprintf(line, sizeof line,
                 SEARCH SMALL "--json --max-cycles %.0f --state @s.json --front @front "
                              "--sensitivity @alone.json --output @plan.json",
                 cycles);
  char again[sizeof line];
  memcpy(again, line, sizeof line);
  cJSON *object = json_of(line);
  const cJSON *best = cJSON_GetObjectItem(object, "chosen");
  char *text = cJSON_PrintUnformatted(best);
  (void)snprintf(chosen, sizeof chosen, "%s", text);
  cJSON_free(text);
  const double candidates = bl_command_number(object, "candidates");
  printf("uniform w2a4: %.0f cycles, loss %.5f; found: %.0f cycles, loss %.5f\n", cycles, loss,
         bl_command_number(best, "cycles"), bl_command_number(best, "loss"));
  assert_true(bl_command_number(best, "cycles") <= cycles);
  assert_true(bl_command_number(best, "loss") < loss);
  assert_true(bl_command_number(object, "evaluated") == candidates);
  cJSON_Delete(object);
  // Again, from its file: nothing is evaluated, and the same is chosen.
  object = json_of(again);
  text = cJSON_PrintUnformatted(cJSON_GetObjectItem(object, "chosen"));
  assert_string_equal(text, chosen);
  cJSON_free(text);
  assert_true(bl_command_number(object, "evaluated") == 0);
  cJSON_Delete(object);
  bl_command_slurp("front.csv");
  assert_int_equal(count_lines(), (int)candidates + 1);
  bl_command_slurp("front.svg");
  assert_non_null(strstr(bl_command_out, "<svg"));
  bl_command_slurp("front.json");
  object = bl_command_json();
  assert_true(cJSON_GetArraySize(cJSON_GetObjectItem(object, "front")) > 2);
  cJSON_Delete(object);
  bl_command_slurp("alone.json");
  object = bl_command_json();
  assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(object, "alone")), 4 * 4 + 3 * 3);
  cJSON_Delete(object);
  assert_true(worth("@plan.json", "cycles") <= cycles);
}

static void goal_of_accuracy(void **state) {
  (void)state;
  cJSON *object = json_of(SEARCH SMALL "--json --max-drop 2 --state @s.json");
  const cJSON *best = cJSON_GetObjectItem(object, "chosen");
  const double whole = bl_command_number(object, "float_accuracy");
  printf("within 2 points: %.0f cycles\n", bl_command_number(best, "cycles"));
  assert_true(bl_command_number(best, "accuracy") >= whole - 0.02);
  assert_true(bl_command_number(best, "cycles") < 0.5 * worth("{\"layers\":[]}", "cycles"));
  cJSON_Delete(object);
}

// The same candidates by GNU Parallel, where it is there.
static void by_gnu_parallel(void **state) {
  (void)state;
  if (system("command -v parallel > /dev/null") != 0) {
    printf("skipped: no GNU Parallel\n");
    skip();
  }
  const char *build = getenv("BITLOOM_BUILD");
  cJSON *object = json_of(SEARCH "--json --weight-bits 2,8 --activation-bits 8 --budgets 2 "
                                 "--generations 0 --max-drop 5");
  char *expected = cJSON_PrintUnformatted(cJSON_GetObjectItem(object, "chosen"));
  cJSON_Delete(object);
  static const char evaluate[] = SEARCH "--evaluate";
  char spaced[1024];
  size_t length = 0;
  for (const char *at = evaluate; *at != '\0'; at++) // words are split at spaces
    length += (size_t)snprintf(spaced + length, sizeof spaced - length,
                               *at == ' ' ? "${IFS}" : "%c", *at);
  (void)snprintf(line, sizeof line,
                 SEARCH "--json --weight-bits 2,8 --activation-bits 8 --budgets 2 --generations 0 "
                        "--max-drop 5 --with parallel${IFS}-j2${IFS}%s/bitloom${IFS}%s",
                 build == NULL ? "build" : build, spaced);
  object = json_of(line);
  char *text = cJSON_PrintUnformatted(cJSON_GetObjectItem(object, "chosen"));
  assert_string_equal(text, expected);
  cJSON_free(text);
  cJSON_free(expected);
  cJSON_Delete(object);
}

static void refused(const char *options, int status, const char *words) {
  (void)snprintf(line, sizeof line, "search " MODEL "%s", options);
  bl_command_expect(line, status);
  bl_command_one_line();
  if (strstr(bl_command_errors, words) == NULL) fail_msg("%s: %s", options, bl_command_errors);
}

static void what_is_wrong(void **state) {
  (void)state;
  refused("", 2, "search needs --data");
  refused(IMAGES FEW "--max-drop 1", 2, "need labels");
  refused(IMAGES LABELS FEW "--weight-bits 4,9 --max-drop 1", 1, "weight-bits cannot be 9");
  refused(IMAGES LABELS FEW "--evaluate {\"layers\":[{\"name\":\"Conv9\",\"weight-bits\":4}]}", 2,
          "no layer Conv9; there are Conv1, Conv3, Conv6, Gemm10");
  refused(IMAGES LABELS FEW "--evaluate {\"layers\":[{\"name\":\"Conv9\",\"blocks\":0.5}]}", 2,
          "no layer Conv9 with weights");
  refused(IMAGES LABELS FEW "--evaluate @nothing.json", 1, "nothing.json");
  refused(IMAGES LABELS FEW SMALL "--state @s.json --max-cycles 100", 1, "cycles of 100 cannot");
  // What it says is the least is enough.
  const char *least = strstr(bl_command_errors, "the least is ");
  assert_non_null(least);
  char options[600];
  (void)snprintf(options, sizeof options, SEARCH SMALL "--state @s.json --json --max-cycles %.0f",
                 1.01 * strtod(least + strlen("the least is "), NULL));
  bl_command_expect(options, 0);
  refused("--limit 250 --hold-out 100 --calib-limit 32 --state @s.json " IMAGES LABELS LISTS
          "--max-drop 1",
          2, "of another network, other data or other choices");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(uniform_plans_as_compress),
      cmocka_unit_test(less_weights_cost_less),
      cmocka_unit_test(budget_holds_and_beats_uniform),
      cmocka_unit_test(goal_of_accuracy),
      cmocka_unit_test(by_gnu_parallel),

      cmocka_unit_test(what_is_wrong),
  };
  return cmocka_run_group_tests(tests, bl_command_open, bl_command_close);
}
