// SPDX-License-Identifier: Apache-2.0
// The program itself, as its users start it: help everywhere, exit status, one line on standard
// error for a failure, one JSON object on standard output when it was asked for.
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

#include "host/compile/bloom.h"
#include "host/data/npy_write.h"
#include "tests/regress/random_graph.h"

enum { MOST_ARGUMENTS = 24, MOST_TEXT = 1 << 16 };

static char program[512], folder[] = "/tmp/bitloom-command-XXXXXX";
static char out[MOST_TEXT], errors[MOST_TEXT];

static int find_program(void **state) {
  (void)state;
  const char *build = getenv("BITLOOM_BUILD");
  (void)snprintf(program, sizeof program, "%s/bitloom", build == NULL ? "build" : build);
  return access(program, X_OK) == 0 && mkdtemp(folder) != NULL ? 0 : -1;
}

static int drop_folder(void **state) {
  (void)state;
  char name[128];
  static const char *const files[] = {"out",      "err",     "bad.onnx", "bad.bloom", "net.bloom",
                                      "net.html", "out.npy", "in.npy",   "labels.npy"};
  for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
    (void)snprintf(name, sizeof name, "%s/%s", folder, files[i]);
    (void)unlink(name);
  }
  return rmdir(folder); // fails when a command left something behind
}

static void slurp(const char *name, char *text) {
  char path[128];
  (void)snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *f = fopen(path, "rb");
  assert_non_null(f);
  size_t size = fread(text, 1, MOST_TEXT - 1, f);
  text[size] = '\0';
  (void)fclose(f);
}

static void redirect(const char *name, int to) {
  char path[128];
  (void)snprintf(path, sizeof path, "%s/%s", folder, name);
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (fd < 0 || dup2(fd, to) < 0) _exit(99);
}

// Runs the program with the words of `line` ("@x" is x in the test's folder); returns its exit
// status and fills `out` and `errors`.
static int run(const char *line) {
  static char words[MOST_ARGUMENTS][256];
  char copy[1024];
  char *argv[MOST_ARGUMENTS + 2] = {program};
  int argc = 1;
  assert_true(strlen(line) < sizeof copy);
  strcpy(copy, line);
  for (char *w = strtok(copy, " "); w != NULL && argc < MOST_ARGUMENTS; w = strtok(NULL, " ")) {
    const char *base = w[0] == '@' ? folder : "";
    (void)snprintf(words[argc], sizeof words[0], "%s%s%s", base, w[0] == '@' ? "/" : "",
                   w + (w[0] == '@'));
    argv[argc] = words[argc];
    argc++;
  }
  pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0) {
    redirect("out", STDOUT_FILENO);
    redirect("err", STDERR_FILENO);
    (void)execv(program, argv);
    _exit(98);
  }
  int status = 0;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_true(WIFEXITED(status));
  slurp("out", out);
  slurp("err", errors);
  return WEXITSTATUS(status);
}

static void expect_one_line(void) {
  size_t length = strlen(errors);
  assert_true(length > 10);
  assert_int_equal(strncmp(errors, "bitloom: ", 9), 0);
  assert_ptr_equal(strchr(errors, '\n'), errors + length - 1);
}

static void write_file(const char *name, const char *text) {
  char path[128];
  (void)snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *f = fopen(path, "wb");
  assert_non_null(f);
  assert_true(fputs(text, f) >= 0);
  assert_int_equal(fclose(f), 0);
}

static const char *const commands[] = {"import", "compress", "run", "verify", "report", "device"};
enum { COMMAND_COUNT = sizeof commands / sizeof commands[0] };

static void help_everywhere(void **state) {
  (void)state;
  assert_int_equal(run("--help"), 0);
  for (size_t i = 0; i < COMMAND_COUNT; i++)
    assert_non_null(strstr(out, commands[i]));
  for (size_t i = 0; i < COMMAND_COUNT; i++) {
    char line[64], usage[64];
    (void)snprintf(line, sizeof line, "%s --help", commands[i]);
    (void)snprintf(usage, sizeof usage, "Usage: bitloom %s", commands[i]);
    assert_int_equal(run(line), 0);
    assert_non_null(strstr(out, usage));
    assert_non_null(strstr(out, "--json"));
    assert_string_equal(errors, "");
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
    int status = run(lines[i]);
    if (status != 2) fail_msg("bitloom %s: exit status %d: %s", lines[i], status, errors);
    expect_one_line();
    assert_string_equal(out, "");
  }
}

// Parses standard output as exactly one object.
static cJSON *parsed(void) {
  const char *end = NULL;
  cJSON *object = cJSON_ParseWithOpts(out, &end, 0);
  assert_non_null(object);
  assert_true(cJSON_IsObject(object));
  assert_string_equal(end, "\n");
  return object;
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
    int exit_status = run(cases[i].line);
    if (exit_status != cases[i].exit_status)
      fail_msg("bitloom %s: exit status %d: %s", cases[i].line, exit_status, errors);
    expect_one_line();
    cJSON *object = parsed();
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItem(object, "error"));
    const char *status = cJSON_GetStringValue(cJSON_GetObjectItem(object, "status"));
    assert_non_null(text);
    assert_non_null(strstr(errors, text));
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
    assert_int_equal(run(line), 0);
    cJSON *object = parsed();
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
    assert_true(bl_random_network(3, 0, attempt, &made));
    bl_compile_options options = {made.config, 2};
    if (bl_compile(&made.graph, &options, &compiled, &err) != BL_OK) {
      bl_random_free(&made);
      continue;
    }
    (void)snprintf(path, sizeof path, "%s/net.bloom", folder);
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
  (void)snprintf(path, sizeof path, "%s/in.npy", folder);
  assert_int_equal(bl_npy_write(path, values, 5, elements, &err), BL_OK);
  free(values);
}

static double number(const cJSON *object, const char *key) {
  const cJSON *item = cJSON_GetObjectItem(object, key);
  if (!cJSON_IsNumber(item)) fail_msg("no number \"%s\" in %s", key, out);
  return cJSON_GetNumberValue(item);
}

static void expect_run(const char *line, int exit_status) {
  int status = run(line);
  if (status != exit_status) fail_msg("bitloom %s: exit status %d: %s", line, status, errors);
  if (status == 0)
    assert_string_equal(errors, "");
  else
    expect_one_line();
}

static void compiled_network(void **state) {
  (void)state;
  uint32_t elements;
  make_network(&elements);
  make_samples(elements);
  expect_run("run @net.bloom --data @in.npy --limit 4 --skip 1 --json", 0);
  cJSON *object = parsed();
  assert_true(number(object, "total") == 4.0);
  assert_true(number(object, "mismatches") == 0.0);
  assert_true(number(object, "images_per_second") > 0.0);
  assert_true(number(object, "cycles_per_image") > 0.0);
  assert_true(cJSON_IsNull(cJSON_GetObjectItem(object, "correct")));
  cJSON_Delete(object);
  expect_run("run @net.bloom --limit 3 --shards 2", 0);
  expect_run("verify @net.bloom --data @in.npy --device functional --json", 0);
  object = parsed();
  assert_true(number(object, "total") == 5.0);
  assert_true(number(object, "mismatches") == 0.0);
  cJSON_Delete(object);
  expect_run("verify @net.bloom --device functional --plant-fault functional:0 --json", 1);
  object = parsed();
  const cJSON *first = cJSON_GetObjectItem(object, "first_difference");
  assert_true(number(first, "layer") == 0.0);
  assert_non_null(strstr(errors, "from functional"));
  cJSON_Delete(object);
  expect_run("report @net.bloom --device functional --output @net.html", 0);
  slurp("net.html", out);
  assert_non_null(strstr(out, "</html>"));
}

static void unfitting_data(void **state) {
  (void)state;
  uint32_t elements;
  make_network(&elements);
  make_samples(elements + 1);
  expect_run("run @net.bloom --data @in.npy", 1);
  make_samples(elements);
  expect_run("run @net.bloom --data @in.npy --labels @in.npy", 1);
  expect_run("run @net.bloom --data @in.npy --labels @absent", 1);
  expect_run("run @net.bloom --data @in.npy --skip 5", 1);
  expect_run("run @net.bloom --data @in.npy --std 0", 2);
  expect_run("run @net.bloom --data @in.npy --mean 1,2 --std 1,2,3", 2);
  expect_run("verify @net.bloom --plant-fault nowhere", 2);
  expect_run("verify @net.bloom --plant-fault reference:99999", 2);
  expect_run("report @net.bloom --device functional --output @absent/r.html", 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(help_everywhere),  cmocka_unit_test(usage_errors),
      cmocka_unit_test(failures_in_json), cmocka_unit_test(device_identity),
      cmocka_unit_test(compiled_network), cmocka_unit_test(unfitting_data),
  };
  return cmocka_run_group_tests(tests, find_program, drop_folder);
}
