// SPDX-License-Identifier: Apache-2.0
// The parsers behind bl_array_open, one for each format. Each gets the whole (inflated) file in
// memory and describes the array in it; none of them frees or keeps `bytes`.
#ifndef BITLOOM_HOST_DATA_FORMATS_H
#define BITLOOM_HOST_DATA_FORMATS_H

#include "host/data/array.h"

typedef struct {
  const char *path; // for messages
  const uint8_t *bytes;
  size_t size;
} bl_data_file;

// Reads a regular file, inflating gzip, up to `limit` bytes; the caller frees *bytes.
BL_MUST_USE bl_status bl_data_slurp(const char *path, size_t limit, uint8_t **bytes, size_t *size,
                                    bl_error *err);

// Does the content look like the format? CIFAR has no signature: its size is all there is.
bool bl_idx_recognise(const bl_data_file *file);
bool bl_npy_recognise(const bl_data_file *file);
bool bl_npz_recognise(const bl_data_file *file);
bool bl_cifar_recognise(const bl_data_file *file);

BL_MUST_USE bl_status bl_idx_parse(const bl_data_file *file, bl_array *array, bl_error *err);
BL_MUST_USE bl_status bl_npy_parse(const bl_data_file *file, bl_array *array, bl_error *err);
BL_MUST_USE bl_status bl_cifar_parse(const bl_data_file *file, bl_array *array, bl_error *err);
// Unpacks the member `name` (NULL: the first) of an NPZ; the caller frees *bytes.
BL_MUST_USE bl_status bl_npz_extract(const bl_data_file *file, const char *name, size_t limit,
                                     uint8_t **bytes, size_t *size, bl_error *err);

// Fills entry_elements, entry_stride and data from type, rank and dims, and checks that exactly
// the values that the dims promise lie from `offset` to the file's end.
BL_MUST_USE bl_status bl_array_place(const bl_data_file *file, size_t offset, bl_array *array,
                                     bl_error *err);

#endif
