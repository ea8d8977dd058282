// SPDX-License-Identifier: Apache-2.0
// The `bitloom` command: one program, sub-commands. Exit status 0 done, 1 failed, 2 usage.
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "host/cli/commands.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

static bl_cli_run implementation(bl_cli_command command) {
  switch (command) {
  case BL_CMD_IMPORT:
    return bl_cmd_import;
  case BL_CMD_TRAIN:
    return bl_cmd_train;
  case BL_CMD_COMPRESS:
    return bl_cmd_compress;
  case BL_CMD_RECIPES:
    return bl_cmd_recipes;
  case BL_CMD_EXPORT:
    return bl_cmd_export;
  case BL_CMD_SEARCH:
    return bl_cmd_search;
  case BL_CMD_RUN:
    return bl_cmd_run;
  case BL_CMD_VERIFY:
    return bl_cmd_verify;
  case BL_CMD_REPORT:
    return bl_cmd_report;
  case BL_CMD_DEVICE:
    break;
  }
  return bl_cmd_device;
}

static int exit_of(bl_status status) {
  if (status == BL_OK) return EXIT_DONE;
  return status == BL_ERR_USAGE ? EXIT_USAGE : EXIT_FAILED;
}

// JSON is promised on failure too, even when the options after --json do not parse.
static bool wants_json(int argc, char **argv) {
  for (int i = 0; i < argc; i++)
    if (strcmp(argv[i], "--json") == 0) return true;
  return false;
}

static bl_status perform(bl_cli_command command, int argc, char **argv, bl_cli_output *output,
                         bl_error *err) {
  bl_cli_args args;
  BL_TRY(bl_cli_parse(command, argc, argv, &args, err));
  if (args.help) {
    output->json = false;
    bl_cli_command_help(command);
    return BL_OK;
  }
  return implementation(command)(&args, output, err);
}

static int run_command(bl_cli_command command, int argc, char **argv) {
  bl_error err = {0};
  bl_cli_output output = {.json = wants_json(argc, argv), .object = cJSON_CreateObject()};
  (void)cJSON_AddStringToObject(output.object, "command", bl_cli_command_name(command));
  bl_status status = perform(command, argc, argv, &output, &err);
  if (status != BL_OK) bl_cli_output_error(&output, &err);
  bl_error last = {0};
  bl_status finished = bl_cli_output_finish(&output, &last);
  cJSON_Delete(output.object);
  if (status == BL_OK && finished != BL_OK) {
    status = finished;
    err = last;
  }
  if (status != BL_OK) (void)fprintf(stderr, "bitloom: %s\n", err.text);
  return exit_of(status);
}

int main(int argc, char **argv) {
  (void)signal(SIGPIPE, SIG_IGN); // a closed pipe is an error that is reported
  if (argc < 2) {
    (void)fputs("bitloom: no command given; see bitloom --help\n", stderr);
    return EXIT_USAGE;
  }
  if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
      strcmp(argv[1], "help") == 0) {
    bl_cli_help();
    return fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
  }
  bl_cli_command command;
  if (!bl_cli_command_find(argv[1], &command)) {
    (void)fprintf(stderr, "bitloom: %s: unknown command; see bitloom --help\n", argv[1]);
    return EXIT_USAGE;
  }
  return run_command(command, argc - 2, argv + 2);
}
