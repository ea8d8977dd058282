// SPDX-License-Identifier: Apache-2.0
// Result codes and the one-line error text that every host function reports through.
#ifndef BITLOOM_HOST_BASE_ERROR_H
#define BITLOOM_HOST_BASE_ERROR_H

#define BL_MUST_USE __attribute__((warn_unused_result))
#define BL_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

typedef enum {
  BL_OK = 0,
  BL_ERR_USAGE,       // the caller's request makes no sense (bad option, bad combination)
  BL_ERR_IO,          // a file could not be opened, read or written
  BL_ERR_FORMAT,      // a file's content is not what its format allows
  BL_ERR_UNSUPPORTED, // well formed, but not something the kit can map
  BL_ERR_RANGE,       // a size or value beyond a stated limit
  BL_ERR_MEMORY,      // an allocation failed or would pass its cap
  BL_ERR_DEVICE,      // a device refused, failed or stopped answering
  BL_ERR_MISMATCH     // two executions that must agree differ
} bl_status;

// The first failure's status and its one line: what, where, what to do. Filled once, by bl_fail.
typedef struct {
  bl_status status;
  char text[400];
} bl_error;

// Records a failure and returns `status`, so that a caller can write `return bl_fail(...)`.
// err may be NULL. Control characters in the text (names from files) become '?'.
bl_status bl_fail(bl_error *err, bl_status status, const char *format, ...) BL_PRINTF(3, 4);

// Tells the analyzer what the comment above promises: the status that comes back is the one given.
#ifdef __clang_analyzer__
#define bl_fail(err, status, ...) (bl_fail((err), (status), __VA_ARGS__), (status))
#endif

// Leaves the current function with the status of `expr` unless it is BL_OK.
#define BL_TRY(expr)                                                                               \
  do {                                                                                             \
    bl_status bl_try_status_ = (expr);                                                             \
    if (bl_try_status_ != BL_OK) return bl_try_status_;                                            \
  } while (0)

#endif
