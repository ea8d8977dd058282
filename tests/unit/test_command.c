// SPDX-License-Identifier: Apache-2.0
// The program itself, as its users start it: help everywhere, exit status, one line on standard
// error for a failure, one JSON object on standard output when it was asked for.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/compile/bloom.h"
#include "host/data/npy_write.h"
#include "tests/regress/random_graph.h"
#include "tests/support/run_command.h"

static void write_file(const char *name, const char *text) {
  char path[128];
  (void)snprintf(path, sizeof path, "%s/%s", bl_command_folder, name);
  FILE *f = fopen(path, "wb");
  assert_non_null(f);
  assert_true(fputs(text, f) >= 0);
  assert_int_equal(fclose(f), 0);
}

static const char *const commands[] = {"import", "train", "compress", "recipes", "search",
                                       "export", "run",   "verify",   "report",  "device"};
enum { COMMAND_COUNT = sizeof commands / sizeof commands[0] };

static void help_everywhere(void **state) {
  (void)state;
  assert_int_equal(bl_command_run("--help"), 0);
  for (size_t i = 0; i < COMMAND_COUNT; i++)
    assert_non_null(strstr(bl_command_out, commands[i]));
  for (size_t i = 0; i < COMMAND_COUNT; i++) {
    char line[64], usage[64];
    (void)snprintf(line, sizeof line, "%s --help", commands[i]);
    (void)snprintf(usage, sizeof usage, "Usage: bitloom %s", commands[i]);
    assert_int_equal(bl_command_run(line), 0);
    assert_non_null(strstr(bl_command_out, usage));
    assert_non_null(strstr(bl_command_out, "--json"));
    assert_string_equal(bl_command_errors, "");
  }
}

static void usage_errors(void **state) {
  (void)state;
  static const char *const lines[] = {
      "",
      "dance",
      "import",
      "compress",
      "run",
      "verify",
      "report",
      "run x --limit none",
      "import x y",
      "device x",
      "recipes x",
      "compress x.onnx --output @never --recipe w8a8 --bits w4a4",
      "import x --bits w4a4",
      "compress x.onnx --bits w4a4",
      "compress x.onnx --output @never --bits w9a4 --calib x",
      "report x.bloom",
      "run x.onnx",
      "run x.bloom --labels y",
      "run x.bloom --trace t.fst",
      "device --device float",
  };
  for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
    int status = bl_command_run(lines[i]);
    if (status != 2)
      fail_msg("bitloom %s: exit status %d: %s", lines[i], status, bl_command_errors);
    bl_command_one_line();
    assert_string_equal(bl_command_out, "");
  }
}

static void failures_in_json(void **state) {
  (void)state;
  write_file("bad.onnx", "this is no model\n");
  write_file("bad.bloom", "nor is this\n");
  static const struct {
    const char *line, *status;
    int exit_status;
  } cases[] = {
      {"import @bad.onnx --json", "format", 1},
      {"import @absent.onnx --json", "io", 1},
      {"import --json @bad.onnx --nonsense", "usage", 2},
      {"compress @bad.onnx --bits w4a4 --calib @bad.bloom --output @never --json", "format", 1},
      {"run @bad.bloom --data @bad.bloom --json", "format", 1},
      {"run @bad.onnx --device float --data @bad.bloom --json", "format", 1},
      {"verify @bad.bloom --data @bad.bloom --json", "format", 1},
      {"report @bad.bloom --output @never --json", "format", 1},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    int exit_status = bl_command_run(cases[i].line);
    if (exit_status != cases[i].exit_status)
      fail_msg("bitloom %s: exit status %d: %s", cases[i].line, exit_status, bl_command_errors);
    bl_command_one_line();
    cJSON *object = bl_command_json();
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItem(object, "error"));
    const char *status = cJSON_GetStringValue(cJSON_GetObjectItem(object, "status"));
    assert_non_null(text);
    assert_non_null(strstr(bl_command_errors, text));
    assert_string_equal(status, cases[i].status);
    cJSON_Delete(object);
  }
}

static void device_identity(void **state) {
  (void)state;
  static const struct {
    const char *config;
    int rows, cols, lanes;
  } configs[] = {{"tiny", 2, 8, 16}, {"default", 8, 8, 32}, {"wide", 8, 16, 64}};
  for (size_t i = 0; i < sizeof configs / sizeof configs[0]; i++) {
    char line[96];
    (void)snprintf(line, sizeof line, "device --device functional --config %s --json",
                   configs[i].config);
    assert_int_equal(bl_command_run(line), 0);
    cJSON *object = bl_command_json();
    assert_int_equal(cJSON_GetNumberValue(cJSON_GetObjectItem(object, "rows")), configs[i].rows);
    assert_int_equal(cJSON_GetNumberValue(cJSON_GetObjectItem(object, "cols")), configs[i].cols);
    assert_int_equal(cJSON_GetNumberValue(cJSON_GetObjectItem(object, "lanes")), configs[i].lanes);
    cJSON_Delete(object);
  }
}

// A random network as a .bloom file, and samples and labels for it.
static void make_network(uint32_t *elements) {
  char path[128];
  bl_error err = {0};
  for (uint32_t attempt = 0; attempt < 40; attempt++) {
    bl_random_case made;
    bl_program *compiled;
    assert_true(bl_random_network(3, 0, attempt, 0, &made));
    bl_compile_options options = {made.config, 2};
    if (bl_compile(&made.graph, &options, &compiled, &err) != BL_OK) {
      bl_random_free(&made);
      continue;
    }
    (void)snprintf(path, sizeof path, "%s/net.bloom", bl_command_folder);
    bl_bloom_info info = {.preprocess = bl_preprocess_identity(), .float_accuracy = -1.0};
    bl_status status = bl_bloom_save(path, &made.graph, compiled, &info, &err);
    if (status != BL_OK) fail_msg("%s", err.text);
    *elements = (uint32_t)bl_int_elements(&made.graph.tensors[0]);
    bl_program_free(compiled);
    bl_random_free(&made);
    return;
  }
  fail_msg("no network compiles: %s", err.text);
}

static void make_samples(uint32_t elements) {
  char path[128];
  bl_error err = {0};
  float *values = calloc(5, elements * sizeof *values);
  assert_non_null(values);
  for (uint32_t i = 0; i < 5 * elements; i++)
    values[i] = (float)(i % 17) - 8.0f;
  (void)snprintf(path, sizeof path, "%s/in.npy", bl_command_folder);
  assert_int_equal(bl_npy_write(path, values, 5, elements, &err), BL_OK);
  free(values);
}

static void compiled_network(void **state) {
  (void)state;
  uint32_t elements;
  make_network(&elements);
  make_samples(elements);
  bl_command_expect("run @net.bloom --data @in.npy --limit 4 --skip 1 --json", 0);
  cJSON *object = bl_command_json();
  assert_true(bl_command_number(object, "total") == 4.0);
  assert_true(bl_command_number(object, "mismatches") == 0.0);
  assert_true(bl_command_number(object, "images_per_second") > 0.0);
  assert_true(bl_command_number(object, "cycles_per_image") > 0.0);
  assert_true(cJSON_IsNull(cJSON_GetObjectItem(object, "correct")));
  cJSON_Delete(object);
  bl_command_expect("run @net.bloom --limit 3 --shards 2", 0);
  bl_command_expect("verify @net.bloom --data @in.npy --device functional --json", 0);
  object = bl_command_json();
  assert_true(bl_command_number(object, "total") == 5.0);
  assert_true(bl_command_number(object, "mismatches") == 0.0);
  cJSON_Delete(object);
  bl_command_expect("verify @net.bloom --device functional --plant-fault functional:0 --json", 1);
  object = bl_command_json();
  const cJSON *first = cJSON_GetObjectItem(object, "first_difference");
  assert_true(bl_command_number(first, "layer") == 0.0);
  assert_non_null(strstr(bl_command_errors, "from functional"));
  cJSON_Delete(object);
  bl_command_expect("report @net.bloom --device functional --output @net.html", 0);
  bl_command_slurp("net.html"); // its beginning: the rest is longer
  assert_non_null(strstr(bl_command_out, "<!DOCTYPE html>"));
  bl_command_slurp("net.json");
  assert_non_null(strstr(bl_command_out, "\"verdict\""));
}

static void report_with_more(void **state) {
  (void)state;
  uint32_t elements;
  make_network(&elements);
  static const char report[] =
      "report @net.bloom --device functional --limit 1 --output @more.html";
  static const struct {
    const char *text;
    int status;
  } cases[] = {{"{\"history\": [{\"epoch\": 1, \"loss\": 2}]}", 0},
               {"{\"bitloom-search\": 1}\n{\"cycles\": 1, \"accuracy\": 0.5}\n", 0},
               {"{\"nothing\": 1}", 1},
               {"[1]", 1},
               {"{", 1},
               {"", 1}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char line[256];
    write_file("with.json", cases[i].text);
    (void)snprintf(line, sizeof line, "%s --with @with.json", report);
    bl_command_expect(line, cases[i].status);
  }
  bl_command_expect("report @net.bloom --device functional --output @r.html --with @absent", 1);
}

static void exported_network(void **state) {
  (void)state;
  uint32_t elements;
  make_network(&elements);
  bl_command_expect("export @net.bloom --output @net.onnx --json", 0);
  cJSON *object = bl_command_json();
  assert_true(bl_command_number(object, "nodes") > 0);
  cJSON_Delete(object);
  bl_command_expect("import @net.onnx", 0);
  bl_command_expect("export @net.bloom", 2);
  bl_command_expect("export @absent.bloom --output @net.onnx", 1);
  bl_command_expect("export @net.bloom --output @absent/net.onnx", 1);
}

// Each layer's cycles are its reasons', and those that the RTL took.
static void modelled_cycles(void **state) {
  (void)state;
  uint32_t elements;
  make_network(&elements);
  bl_command_expect("report @net.bloom --device rtl --limit 4 --output @net.html --json", 0);
  cJSON *object = bl_command_json();
  const cJSON *layers = cJSON_GetObjectItem(object, "layers"), *layer;
  assert_true(cJSON_GetArraySize(layers) > 0);
  cJSON_ArrayForEach(layer, layers) {
    const double cycles = bl_command_number(layer, "cycles");
    assert_true(cycles > 0.0 && cycles == bl_command_number(layer, "measured"));
    assert_true(cycles == bl_command_number(layer, "issue") + bl_command_number(layer, "requant") +
                              bl_command_number(layer, "gather") +
                              bl_command_number(layer, "drain"));
  }
  cJSON_Delete(object);
}

static void unfitting_data(void **state) {
  (void)state;
  uint32_t elements;
  make_network(&elements);
  make_samples(elements + 1);
  bl_command_expect("run @net.bloom --data @in.npy", 1);
  make_samples(elements);
  bl_command_expect("run @net.bloom --data @in.npy --labels @in.npy", 1);
  bl_command_expect("run @net.bloom --data @in.npy --labels @absent", 1);
  bl_command_expect("run @net.bloom --data @in.npy --skip 5", 1);
  bl_command_expect("run @net.bloom --data @in.npy --std 0", 2);
  bl_command_expect("run @net.bloom --data @in.npy --mean 1,2 --std 1,2,3", 2);
  bl_command_expect("verify @net.bloom --plant-fault nowhere", 2);
  bl_command_expect("verify @net.bloom --plant-fault reference:99999", 2);
  bl_command_expect("report @net.bloom --device functional --output @absent/r.html", 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(help_everywhere),  cmocka_unit_test(usage_errors),
      cmocka_unit_test(failures_in_json), cmocka_unit_test(device_identity),
      cmocka_unit_test(compiled_network), cmocka_unit_test(modelled_cycles),
      cmocka_unit_test(report_with_more), cmocka_unit_test(exported_network),
      cmocka_unit_test(unfitting_data),
  };
  return cmocka_run_group_tests(tests, bl_command_open, bl_command_close);
}
