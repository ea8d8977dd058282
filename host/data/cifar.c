// SPDX-License-Identifier: Apache-2.0
// CIFAR-10 binary records: a label byte 0..9, then 32x32 pixels in planes R, G, B.
#include "host/data/formats.h"

enum { SIDE = 32, PLANES = 3, PIXELS = PLANES * SIDE * SIDE, RECORD = 1 + PIXELS, CLASSES = 10 };

bool bl_cifar_recognise(const bl_data_file *file) {
  return file->size != 0 && file->size % RECORD == 0;
}

bl_status bl_cifar_parse(const bl_data_file *file, bl_array *array, bl_error *err) {
  size_t count = file->size / RECORD;
  for (size_t i = 0; i < count; i++)
    if (file->bytes[i * RECORD] >= CLASSES)
      return bl_fail(err, BL_ERR_FORMAT,
                     "%s: CIFAR record %zu has label %u, expected 0 to 9 (not IDX, NPY or NPZ)",
                     file->path, i, (unsigned)file->bytes[i * RECORD]);
  *array = (bl_array){.type = BL_ELEMENT_U8,
                      .rank = 4,
                      .dims = {(uint32_t)count, PLANES, SIDE, SIDE},
                      .entry_elements = PIXELS,
                      .entry_stride = RECORD,
                      .data = file->bytes + 1,
                      .labels = file->bytes};
  return BL_OK;
}
