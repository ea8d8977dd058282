// SPDX-License-Identifier: Apache-2.0
#include "host/base/error.h"

#undef bl_fail // the definition, not what the analyzer is told

#include <stdarg.h>
#include <stdio.h>

bl_status bl_fail(bl_error *err, bl_status status, const char *format, ...) {
  if (err == NULL) return status;
  err->status = status;
  va_list args;
  va_start(args, format);
  (void)vsnprintf(err->text, sizeof err->text, format, args);
  va_end(args);
  for (char *c = err->text; *c != '\0'; c++)
    if ((unsigned char)*c < 0x20 || *c == 0x7f) *c = '?';
  return status;
}
