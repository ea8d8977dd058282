// SPDX-License-Identifier: Apache-2.0
// Results as an NPY file, which every numerical tool reads.
#ifndef BITLOOM_HOST_DATA_NPY_WRITE_H
#define BITLOOM_HOST_DATA_NPY_WRITE_H

#include <stddef.h>

#include "host/base/error.h"

// Writes rows x columns floats (row-major) to `path`, atomically. Errors: IO, MEMORY, RANGE.
BL_MUST_USE bl_status bl_npy_write(const char *path, const float *values, size_t rows,
                                   size_t columns, bl_error *err);

#endif
