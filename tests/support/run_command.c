// SPDX-License-Identifier: Apache-2.0
#include "tests/support/run_command.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { MOST_ARGUMENTS = 64, MOST_PATH = 512 };

char bl_command_folder[] = "/tmp/bitloom-command-XXXXXX";
char bl_command_out[BL_COMMAND_TEXT], bl_command_errors[BL_COMMAND_TEXT];
static char program[MOST_PATH];

int bl_command_open(void **state) {
  (void)state;
  const char *build = getenv("BITLOOM_BUILD");
  (void)snprintf(program, sizeof program, "%s/bitloom", build == NULL ? "build" : build);
  return access(program, X_OK) == 0 && mkdtemp(bl_command_folder) != NULL ? 0 : -1;
}

static void in_folder(const char *name, char *path) {
  int length = snprintf(path, MOST_PATH, "%s/%s", bl_command_folder, name);
  assert_true(length > 0 && length < MOST_PATH);
}

static bool is_known(const char *name) {
  static const char *const endings[] = {".json", ".onnx", ".bloom", ".html", ".npy",  ".fst",
                                        ".yaml", ".ckpt", ".csv",   ".svg",  ".jsonl"};
  for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
    size_t length = strlen(endings[i]), all = strlen(name);
    if (all > length && strcmp(name + all - length, endings[i]) == 0) return true;
  }
  return strcmp(name, "out") == 0 || strcmp(name, "err") == 0;
}

int bl_command_close(void **state) {
  (void)state;
  DIR *folder = opendir(bl_command_folder);
  if (folder == NULL) return -1;
  for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
    char path[MOST_PATH];
    in_folder(entry->d_name, path);
    if (is_known(entry->d_name)) (void)unlink(path);
  }
  (void)closedir(folder);
  return rmdir(bl_command_folder);
}

static void slurp(const char *name, char *text) {
  char path[MOST_PATH];
  in_folder(name, path);
  FILE *f = fopen(path, "rb");
  assert_non_null(f);
  size_t size = fread(text, 1, BL_COMMAND_TEXT - 1, f);
  text[size] = '\0';
  (void)fclose(f);
}

void bl_command_slurp(const char *name) {
  slurp(name, bl_command_out);
}

static void redirect(const char *name, int to) {
  char path[MOST_PATH];
  in_folder(name, path);
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (fd < 0 || dup2(fd, to) < 0) _exit(99);
}

// Cuts `line` into argv; words must outlive it.
static void split(char *line, char words[][MOST_PATH], char **argv) {
  int argc = 1;
  for (char *w = strtok(line, " "); w != NULL; w = strtok(NULL, " ")) {
    assert_true(argc < MOST_ARGUMENTS - 1);
    if (w[0] == '@')
      in_folder(w + 1, words[argc]);
    else
      (void)snprintf(words[argc], MOST_PATH, "%s", w);
    argv[argc] = words[argc];
    argc++;
  }
  argv[argc] = NULL;
}

int bl_command_run(const char *line) {
  static char words[MOST_ARGUMENTS][MOST_PATH], copy[4096];
  char *argv[MOST_ARGUMENTS] = {program};
  assert_true(strlen(line) < sizeof copy);
  strcpy(copy, line);
  split(copy, words, argv);
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
  slurp("out", bl_command_out);
  slurp("err", bl_command_errors);
  return WEXITSTATUS(status);
}

void bl_command_expect(const char *line, int status) {
  int got = bl_command_run(line);
  if (got != status) fail_msg("bitloom %s: exit status %d: %s", line, got, bl_command_errors);
  if (status == 0)
    assert_string_equal(bl_command_errors, "");
  else
    bl_command_one_line();
}

void bl_command_one_line(void) {
  const char *text = bl_command_errors;
  size_t length = strlen(text);
  assert_true(length > 10);
  assert_int_equal(strncmp(text, "bitloom: ", 9), 0);
  assert_ptr_equal(strchr(text, '\n'), text + length - 1);
}

cJSON *bl_command_json(void) {
  const char *end = NULL;
  cJSON *object = cJSON_ParseWithOpts(bl_command_out, &end, 0);
  assert_non_null(object);
  assert_true(cJSON_IsObject(object));
  assert_string_equal(end, "\n");
  return object;
}

double bl_command_number(const cJSON *object, const char *key) {
  const cJSON *item = cJSON_GetObjectItem(object, key);
  if (!cJSON_IsNumber(item)) fail_msg("no number \"%s\" in %s", key, bl_command_out);
  return cJSON_GetNumberValue(item);
}
