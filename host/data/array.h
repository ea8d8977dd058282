// SPDX-License-Identifier: Apache-2.0
// One array out of a data file: IDX, CIFAR-10 records, NPY or NPZ, each gzip-compressed or not.
// Values stay in the file's own type and byte order; they are converted one by one when read.
// Hostile files: memory grows with the bytes that really arrive, never past BL_DATA_LIMIT.
#ifndef BITLOOM_HOST_DATA_ARRAY_H
#define BITLOOM_HOST_DATA_ARRAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/base/error.h"

enum {
  BL_ARRAY_MAX_RANK = 6,
  BL_DATA_LIMIT = 512 << 20 // bytes of a data file, inflated, with what is unpacked from it
};

typedef enum {
  BL_ELEMENT_U8,
  BL_ELEMENT_I8,
  BL_ELEMENT_U16,
  BL_ELEMENT_I16,
  BL_ELEMENT_I32,
  BL_ELEMENT_I64,
  BL_ELEMENT_F32,
  BL_ELEMENT_F64
} bl_element;

typedef struct {
  uint8_t *bytes;  // owns the memory that `data` and `labels` point into
  bl_element type; // of each value
  bool big_endian;
  uint32_t rank;
  uint32_t dims[BL_ARRAY_MAX_RANK]; // dims[0] counts the entries, 0 only when the file is empty
  size_t entry_elements;            // product of dims[1..]
  size_t entry_stride;              // bytes from one entry to the next
  const uint8_t *data;              // first value of entry 0
  const uint8_t *labels; // CIFAR: entry 0's label byte, entry_stride apart; otherwise NULL
} bl_array;

// Reads an array from `path`; the content decides the format. `name` picks an array of an NPZ
// (with or without ".npy"), NULL its first. `limit` caps the memory, normally BL_DATA_LIMIT.
// Errors: IO, FORMAT, UNSUPPORTED, RANGE, MEMORY. Free with bl_array_free.
BL_MUST_USE bl_status bl_array_open(const char *path, const char *name, size_t limit,
                                    bl_array *array, bl_error *err);
void bl_array_free(bl_array *array);
// Value `index` (< entry_elements) of entry `entry` (< dims[0]), exact except for 64-bit integers
// beyond 2^53.
double bl_array_value(const bl_array *array, size_t entry, size_t index);
// Bytes of one value.
size_t bl_element_size(bl_element type);
// True for the integer types.
bool bl_element_is_integer(bl_element type);

#endif
