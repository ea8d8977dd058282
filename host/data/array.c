// SPDX-License-Identifier: Apache-2.0
// Opening a data file by its content, and single values out of it.
#include "host/data/array.h"

#include <stdlib.h>
#include <string.h>

#include "host/data/formats.h"

size_t bl_element_size(bl_element type) {
  static const uint8_t sizes[] = {
      [BL_ELEMENT_U8] = 1,  [BL_ELEMENT_I8] = 1,  [BL_ELEMENT_U16] = 2, [BL_ELEMENT_I16] = 2,
      [BL_ELEMENT_I32] = 4, [BL_ELEMENT_I64] = 8, [BL_ELEMENT_F32] = 4, [BL_ELEMENT_F64] = 8};
  return sizes[type];
}

bool bl_element_is_integer(bl_element type) {
  return type != BL_ELEMENT_F32 && type != BL_ELEMENT_F64;
}

static uint64_t load(const uint8_t *bytes, size_t size, bool big_endian) {
  uint64_t value = 0;
  for (size_t i = 0; i < size; i++)
    value |= (uint64_t)bytes[i] << (8 * (big_endian ? size - 1 - i : i));
  return value;
}

static double from_bits(bl_element type, uint64_t bits) {
  float single;
  double full;
  uint32_t low = (uint32_t)bits;
  switch (type) {
  case BL_ELEMENT_I8:
    return (double)(int8_t)bits;
  case BL_ELEMENT_I16:
    return (double)(int16_t)bits;
  case BL_ELEMENT_I32:
    return (double)(int32_t)bits;
  case BL_ELEMENT_I64:
    return (double)(int64_t)bits;
  case BL_ELEMENT_F32:
    memcpy(&single, &low, sizeof single);
    return (double)single;
  case BL_ELEMENT_F64:
    memcpy(&full, &bits, sizeof full);
    return full;
  case BL_ELEMENT_U8:
  case BL_ELEMENT_U16:
    break;
  }
  return (double)bits;
}

double bl_array_value(const bl_array *array, size_t entry, size_t index) {
  const uint8_t *base = array->data + entry * array->entry_stride;
  if (array->type == BL_ELEMENT_U8) return (double)base[index];
  size_t size = bl_element_size(array->type);
  return from_bits(array->type, load(base + index * size, size, array->big_endian));
}

bl_status bl_array_place(const bl_data_file *file, size_t offset, bl_array *array, bl_error *err) {
  size_t elements = 1;
  for (uint32_t i = 1; i < array->rank; i++)
    if (__builtin_mul_overflow(elements, array->dims[i], &elements) || elements > BL_DATA_LIMIT)
      return bl_fail(err, BL_ERR_RANGE, "%s: one entry has too many values", file->path);
  array->entry_elements = elements;
  array->entry_stride = elements * bl_element_size(array->type);
  size_t expected;
  if (__builtin_mul_overflow(array->entry_stride, array->dims[0], &expected) ||
      __builtin_add_overflow(expected, offset, &expected))
    return bl_fail(err, BL_ERR_RANGE, "%s: promises more data than memory can hold", file->path);
  if (expected != file->size)
    return bl_fail(err, BL_ERR_FORMAT, "%s: %zu bytes, but its header promises %zu (%s)",
                   file->path, file->size, expected,
                   file->size < expected ? "truncated?" : "something follows the data");
  array->data = file->bytes + offset;
  return BL_OK;
}

static bl_status parse(const bl_data_file *file, bl_array *array, bl_error *err) {
  if (bl_npy_recognise(file)) return bl_npy_parse(file, array, err);
  // A CIFAR file may begin like an IDX header by chance; only one of them fits the size.
  if (bl_idx_recognise(file)) {
    bl_status status = bl_idx_parse(file, array, err);
    if (status == BL_OK || !bl_cifar_recognise(file)) return status;
    *array = (bl_array){0};
  }
  if (bl_cifar_recognise(file)) return bl_cifar_parse(file, array, err);
  return bl_fail(err, BL_ERR_FORMAT, "%s: not IDX, CIFAR-10 records, NPY or NPZ data", file->path);
}

// Replaces the zip archive in *bytes by one member of it.
static bl_status unpack(const char *path, const char *name, size_t limit, uint8_t **bytes,
                        size_t *size, bl_error *err) {
  bl_data_file file = {path, *bytes, *size};
  uint8_t *member = NULL;
  size_t member_size = 0;
  BL_TRY(bl_npz_extract(&file, name, limit - *size, &member, &member_size, err));
  free(*bytes);
  *bytes = member;
  *size = member_size;
  return BL_OK;
}

static bl_status parse_any(const char *path, const char *name, size_t limit, uint8_t **bytes,
                           size_t *size, bl_array *array, bl_error *err) {
  bl_data_file file = {path, *bytes, *size};
  bool archive = bl_npz_recognise(&file);
  if (archive) BL_TRY(unpack(path, name, limit, bytes, size, err));
  if (name != NULL && !archive)
    return bl_fail(err, BL_ERR_USAGE, "%s: not an NPZ file, so it has no array named \"%s\"", path,
                   name);
  file = (bl_data_file){path, *bytes, *size};
  return parse(&file, array, err);
}

bl_status bl_array_open(const char *path, const char *name, size_t limit, bl_array *array,
                        bl_error *err) {
  *array = (bl_array){0};
  uint8_t *bytes = NULL;
  size_t size = 0;
  BL_TRY(bl_data_slurp(path, limit, &bytes, &size, err));
  bl_status status = parse_any(path, name, limit, &bytes, &size, array, err);
  if (status != BL_OK) {
    free(bytes);
    *array = (bl_array){0};
    return status;
  }
  array->bytes = bytes;
  return BL_OK;
}

void bl_array_free(bl_array *array) {
  free(array->bytes);
  *array = (bl_array){0};
}
