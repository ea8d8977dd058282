// SPDX-License-Identifier: Apache-2.0
// NPY version 1: magic, version, header length, a dictionary padded so that the values start at a
// multiple of 64, the values.
#include "host/data/npy_write.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/file.h"

enum { HEADER = 128, LENGTH_AT = 8, DICTIONARY_AT = 10 };

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "values are written as they lie");

bl_status bl_npy_write(const char *path, const float *values, size_t rows, size_t columns,
                       bl_error *err) {
  size_t bytes;
  if (__builtin_mul_overflow(rows, columns, &bytes) ||
      __builtin_mul_overflow(bytes, sizeof *values, &bytes) || bytes > SIZE_MAX - HEADER)
    return bl_fail(err, BL_ERR_RANGE, "%s: %zu x %zu values are too many", path, rows, columns);
  uint8_t *file = malloc(HEADER + bytes);
  if (file == NULL) return bl_fail(err, BL_ERR_MEMORY, "%s: no memory for %zu bytes", path, bytes);
  memset(file, ' ', HEADER);
  memcpy(file, "\x93NUMPY\x01\x00", LENGTH_AT);
  file[LENGTH_AT] = HEADER - DICTIONARY_AT;
  file[LENGTH_AT + 1] = 0;
  int length =
      snprintf((char *)file + DICTIONARY_AT, HEADER - DICTIONARY_AT,
               "{'descr': '<f4', 'fortran_order': False, 'shape': (%zu, %zu), }", rows, columns);
  file[DICTIONARY_AT + length] = ' '; // where snprintf put its zero
  file[HEADER - 1] = '\n';
  memcpy(file + HEADER, values, bytes);
  bl_status status = bl_file_write(path, file, HEADER + bytes, err);
  free(file);
  return status;
}
