// SPDX-License-Identifier: Apache-2.0
// Starts the bitloom program in a test, in a folder of its own, and looks at what it says. Failed
// expectations fail the running cmocka test.
#ifndef BITLOOM_TESTS_SUPPORT_RUN_COMMAND_H
#define BITLOOM_TESTS_SUPPORT_RUN_COMMAND_H

#include <cjson/cJSON.h>

enum { BL_COMMAND_TEXT = 1 << 16 };

extern char bl_command_folder[];                // made by bl_command_open
extern char bl_command_out[BL_COMMAND_TEXT];    // standard output of the last command
extern char bl_command_errors[BL_COMMAND_TEXT]; // its standard error

// Group set-up and tear-down: finds the program ($BITLOOM_BUILD/bitloom), makes the folder; removes
// the folder, all of whose files must be named *.json, *.onnx, *.bloom, *.html, *.npy, *.fst,
// *.yaml, *.ckpt, *.csv, *.svg, *.jsonl, out or err: anything else is something that a command left
// behind, and fails.
int bl_command_open(void **state);
int bl_command_close(void **state);

// Runs the program with the words of `line` ("@x" is file x in the folder); returns its exit
// status.
int bl_command_run(const char *line);
// The same; the exit status must be `status`, and standard error empty (0) or one line.
void bl_command_expect(const char *line, int status);
// Standard error is exactly one line that starts with "bitloom: ".
void bl_command_one_line(void);
// Reads a file of the folder into bl_command_out.
void bl_command_slurp(const char *name);
// Standard output as exactly one object, to be deleted.
cJSON *bl_command_json(void);
// A number of an object.
double bl_command_number(const cJSON *object, const char *key);

#endif
