// SPDX-License-Identifier: Apache-2.0
// Whole files in, whole files out. A write is atomic: a temporary file in the same folder, renamed
// when every byte is on it, so that nothing half-written is ever found under the final name.
#ifndef BITLOOM_HOST_BASE_FILE_H
#define BITLOOM_HOST_BASE_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "host/base/error.h"

// Reads a regular file of at most `limit` bytes into memory that the caller frees with free().
// A gzip file is refused here; see host/data for data files. Errors: IO, RANGE, MEMORY.
BL_MUST_USE bl_status bl_file_read(const char *path, size_t limit, uint8_t **bytes, size_t *size,
                                   bl_error *err);
// Writes `size` bytes to `path`, replacing it atomically. Errors: IO.
BL_MUST_USE bl_status bl_file_write(const char *path, const void *bytes, size_t size,
                                    bl_error *err);

#endif
