// SPDX-License-Identifier: Apache-2.0
// What a sub-command says: lines for people, or one JSON object; and progress bars.
#ifndef BITLOOM_HOST_CLI_OUTPUT_H
#define BITLOOM_HOST_CLI_OUTPUT_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>

#include "host/base/error.h"
#include "host/cost/cost.h"

// A sub-command fills `object` in any case and says its lines; main prints one of the two.
typedef struct {
  bool json;
  cJSON *object;
} bl_cli_output;

// A line for people on standard output; nothing when JSON was asked for.
void bl_cli_say(const bl_cli_output *output, const char *format, ...) BL_PRINTF(2, 3);
// Adds the failure to the object, as "error" and "status".
void bl_cli_output_error(bl_cli_output *output, const bl_error *err);
// Adds modelled cycles of one image to an object: "cycles" and their reasons. images: of the batch
// that `cost` is about.
void bl_cli_add_cost(cJSON *object, const bl_cost *cost, uint32_t images);
// Prints the object if JSON was asked for and flushes. Errors: IO when standard output is gone.
BL_MUST_USE bl_status bl_cli_output_finish(bl_cli_output *output, bl_error *err);

// A bar on standard error, drawn at most ten times a second and only on a terminal.
typedef struct {
  const char *label;
  double drawn; // when, in seconds
  bool terminal, visible;
} bl_cli_progress;

bl_cli_progress bl_cli_progress_begin(const char *label);
// `user` is a bl_cli_progress: fits callbacks of long work.
void bl_cli_progress_step(void *user, size_t done, size_t total);
void bl_cli_progress_end(bl_cli_progress *progress);

#endif
