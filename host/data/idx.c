// SPDX-License-Identifier: Apache-2.0
// IDX, the format of the MNIST files: 00 00 type rank, a big-endian 32-bit size an axis, values in
// big-endian order.
#include "host/data/formats.h"

static bool element_of_code(uint8_t code, bl_element *type) {
  static const struct {
    uint8_t code;
    bl_element type;
  } known[] = {{0x08, BL_ELEMENT_U8},  {0x09, BL_ELEMENT_I8},  {0x0B, BL_ELEMENT_I16},
               {0x0C, BL_ELEMENT_I32}, {0x0D, BL_ELEMENT_F32}, {0x0E, BL_ELEMENT_F64}};
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
    if (known[i].code == code) {
      *type = known[i].type;
      return true;
    }
  return false;
}

bool bl_idx_recognise(const bl_data_file *file) {
  bl_element type;
  const uint8_t *bytes = file->bytes;
  return file->size >= 4 && bytes[0] == 0 && bytes[1] == 0 && element_of_code(bytes[2], &type) &&
         bytes[3] != 0;
}

bl_status bl_idx_parse(const bl_data_file *file, bl_array *array, bl_error *err) {
  (void)element_of_code(file->bytes[2], &array->type);
  array->big_endian = true;
  array->rank = file->bytes[3];
  if (array->rank > BL_ARRAY_MAX_RANK)
    return bl_fail(err, BL_ERR_UNSUPPORTED, "%s: IDX file with %u axes, at most %d are read",
                   file->path, (unsigned)array->rank, BL_ARRAY_MAX_RANK);
  size_t header = 4 + 4 * (size_t)array->rank;
  if (file->size < header)
    return bl_fail(err, BL_ERR_FORMAT, "%s: IDX header ends after %zu bytes", file->path,
                   file->size);
  for (uint32_t i = 0; i < array->rank; i++) {
    const uint8_t *dim = file->bytes + 4 + 4 * (size_t)i;
    array->dims[i] =
        (uint32_t)dim[0] << 24 | (uint32_t)dim[1] << 16 | (uint32_t)dim[2] << 8 | (uint32_t)dim[3];
    if (array->dims[i] == 0)
      return bl_fail(err, BL_ERR_FORMAT, "%s: IDX axis %u is empty", file->path, (unsigned)i);
  }
  return bl_array_place(file, header, array, err);
}
