// SPDX-License-Identifier: Apache-2.0
// What the ONNX tests share: the folder of real data, files, gzip, and tensors decoded here by the
// schema, without the importer, so that expected values do not come from the code under test.
#ifndef BITLOOM_TESTS_UNIT_ONNX_SUPPORT_H
#define BITLOOM_TESTS_UNIT_ONNX_SUPPORT_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

#include "onnx.pb-c.h"

// $BITLOOM_DATA, else ../shared/data; NULL, and a printed word, where `part` is not in it.
static inline const char *data_folder(const char *part) {
  static char path[4096];
  const char *root = getenv("BITLOOM_DATA");
  if (root == NULL) root = "../shared/data";
  (void)snprintf(path, sizeof path, "%s/%s", root, part);
  if (access(path, R_OK) == 0) return path;
  printf("skipped: no %s (set BITLOOM_DATA)\n", path);
  return NULL;
}

// The whole of a file, gzip or plain; the caller frees it. Fails the test when it cannot be read.
static inline uint8_t *slurp(const char *path, size_t *size) {
  gzFile file = gzopen(path, "rb");
  if (file == NULL) fail_msg("cannot open %s", path);
  size_t room = 1 << 16, used = 0;
  uint8_t *bytes = malloc(room);
  for (int n = 1; n > 0; used += (size_t)n) {
    if (used + (1 << 16) > room) bytes = realloc(bytes, room *= 2);
    assert_non_null(bytes);
    n = gzread(file, bytes + used, 1 << 15);
    assert_true(n >= 0);
  }
  (void)gzclose(file);
  *size = used;
  return bytes;
}

static inline double half_value(uint16_t bits) {
  int sign = bits >> 15, exponent = bits >> 10 & 31, fraction = bits & 1023;
  double value = exponent == 0 ? fraction / 1024.0 / 16384.0 : 1 + fraction / 1024.0;
  for (int k = exponent; k > 15; k--)
    value *= 2;
  for (int k = exponent; k > 0 && k < 15; k++)
    value /= 2;
  if (exponent == 31) value = fraction != 0 ? (double)NAN : (double)INFINITY;
  return sign != 0 ? -value : value;
}

static inline double brain_value(uint16_t bits) {
  uint32_t wide = (uint32_t)bits << 16;
  float value;
  memcpy(&value, &wide, sizeof value);
  return (double)value;
}

// Element `index` of little-endian raw data.
static inline double raw_value(int32_t type, const uint8_t *raw, size_t index) {
#define RAW_AS(ctype)                                                                              \
  do {                                                                                             \
    ctype x;                                                                                       \
    memcpy(&x, raw + index * sizeof x, sizeof x);                                                  \
    return (double)x;                                                                              \
  } while (0)
  uint16_t bits;
  switch (type) {
  case 1:
    RAW_AS(float);
  case 2:
  case 9:
    RAW_AS(uint8_t);
  case 3:
    RAW_AS(int8_t);
  case 4:
    RAW_AS(uint16_t);
  case 5:
    RAW_AS(int16_t);
  case 6:
    RAW_AS(int32_t);
  case 7:
    RAW_AS(int64_t);
  case 11:
    RAW_AS(double);
  case 12:
    RAW_AS(uint32_t);
  case 13:
    RAW_AS(uint64_t);
  default:
    memcpy(&bits, raw + index * 2, sizeof bits);
    return type == 10 ? half_value(bits) : brain_value(bits);
  }
#undef RAW_AS
}

static inline size_t tensor_count(const Onnx__TensorProto *t) {
  size_t count = 1;
  for (size_t k = 0; k < t->n_dims; k++)
    count *= (size_t)t->dims[k];
  return count;
}

// Element `index` of a sound tensor, raw or typed.
static inline double tensor_value(const Onnx__TensorProto *t, size_t index) {
  if (t->raw_data.len > 0) return raw_value(t->data_type, t->raw_data.data, index);
  if (t->n_float_data > 0) return (double)t->float_data[index];
  if (t->n_double_data > 0) return t->double_data[index];
  if (t->n_int64_data > 0) return (double)t->int64_data[index];
  if (t->n_uint64_data > 0) return (double)t->uint64_data[index];
  if (t->data_type == 10) return half_value((uint16_t)t->int32_data[index]);
  if (t->data_type == 16) return brain_value((uint16_t)t->int32_data[index]);
  return (double)t->int32_data[index];
}

#endif
