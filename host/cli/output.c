// SPDX-License-Identifier: Apache-2.0
// Standard output carries results, standard error carries progress and failures.
#include "host/cli/output.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { BAR_WIDTH = 40 };

void bl_cli_say(const bl_cli_output *output, const char *format, ...) {
  if (output->json) return;
  va_list args;
  va_start(args, format);
  (void)vprintf(format, args);
  va_end(args);
}

static const char *status_name(bl_status status) {
  static const char *const names[] = {
      [BL_OK] = "ok",
      [BL_ERR_USAGE] = "usage",
      [BL_ERR_IO] = "io",
      [BL_ERR_FORMAT] = "format",
      [BL_ERR_UNSUPPORTED] = "unsupported",
      [BL_ERR_RANGE] = "range",
      [BL_ERR_MEMORY] = "memory",
      [BL_ERR_DEVICE] = "device",
      [BL_ERR_MISMATCH] = "mismatch",
  };
  return (size_t)status < sizeof names / sizeof names[0] ? names[status] : "unknown";
}

void bl_cli_output_error(bl_cli_output *output, const bl_error *err) {
  (void)cJSON_AddStringToObject(output->object, "error", err->text);
  (void)cJSON_AddStringToObject(output->object, "status", status_name(err->status));
}

void bl_cli_add_cost(cJSON *object, const bl_cost *cost, uint32_t images) {
  static const struct {
    int counter;
    const char *name;
  } parts[] = {{BL_COUNTER_CYCLES, "cycles"},
               {BL_COUNTER_ISSUE, "issue"},
               {BL_COUNTER_REQUANT, "requant"},
               {BL_COUNTER_GATHER, "gather"},
               {BL_COUNTER_DRAIN, "drain"}};
  for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
    (void)cJSON_AddNumberToObject(object, parts[i].name,
                                  (double)cost->counters[parts[i].counter] / images);
}

bl_status bl_cli_output_finish(bl_cli_output *output, bl_error *err) {
  if (output->json) {
    char *text = cJSON_Print(output->object);
    if (text == NULL) return bl_fail(err, BL_ERR_MEMORY, "no memory for the JSON text");
    (void)puts(text);
    cJSON_free(text);
  }
  if (fflush(stdout) != 0 || ferror(stdout) != 0)
    return bl_fail(err, BL_ERR_IO, "standard output: cannot write");
  return BL_OK;
}

static double now(void) {
  struct timespec t;
  (void)clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

bl_cli_progress bl_cli_progress_begin(const char *label) {
  return (bl_cli_progress){.label = label, .terminal = isatty(STDERR_FILENO) != 0, .drawn = now()};
}

void bl_cli_progress_step(void *user, size_t done, size_t total) {
  bl_cli_progress *progress = user;
  if (!progress->terminal || total == 0) return;
  double time = now();
  if (time - progress->drawn < 0.1) return;
  progress->drawn = time;
  progress->visible = true;
  static const char full[] = "########################################";
  int width = (int)((double)done / (double)total * BAR_WIDTH);
  (void)fprintf(stderr, "\r%-12s [%.*s%*s] %zu/%zu", progress->label, width, full,
                BAR_WIDTH - width, "", done, total);
}

void bl_cli_progress_end(bl_cli_progress *progress) {
  if (progress->visible) (void)fputs("\r\x1b[K", stderr);
  progress->visible = false;
}
