// SPDX-License-Identifier: Apache-2.0
#include "host/onnx/tensor_data.h"

#include <math.h>
#include <string.h>

enum {
  T_FLOAT = 1,
  T_UINT8,
  T_INT8,
  T_UINT16,
  T_INT16,
  T_INT32,
  T_INT64,
  T_STRING,
  T_BOOL,
  T_FLOAT16,
  T_DOUBLE,
  T_UINT32,
  T_UINT64,
  T_COMPLEX64,
  T_COMPLEX128,
  T_BFLOAT16,
  T_FLOAT8E4M3FN,
  T_FLOAT8E4M3FNUZ,
  T_FLOAT8E5M2,
  T_FLOAT8E5M2FNUZ
};

bl_status bl_element_type(const char *name, int32_t element, bl_float_type *type, bl_error *err) {
  switch (element) {
  case T_FLOAT:
  case T_FLOAT16:
  case T_DOUBLE:
  case T_BFLOAT16:
  case T_FLOAT8E4M3FN:
  case T_FLOAT8E4M3FNUZ:
  case T_FLOAT8E5M2:
  case T_FLOAT8E5M2FNUZ:
    *type = BL_TYPE_FLOAT;
    return BL_OK;
  case T_UINT8:
  case T_INT8:
  case T_UINT16:
  case T_INT16:
  case T_INT32:
  case T_INT64:
  case T_BOOL:
  case T_UINT32:
  case T_UINT64:
    *type = BL_TYPE_INT;
    return BL_OK;
  default:
    return bl_fail(err, BL_ERR_UNSUPPORTED, "tensor %s: element type %d is not a number", name,
                   element);
  }
}

static size_t element_size(int32_t element) {
  static const uint8_t sizes[] = {0, 4, 1, 1, 2, 2, 4, 8, 0, 1, 2, 8, 4, 8, 0, 0, 2, 1, 1, 1, 1};
  return sizes[element];
}

static float half_to_float(uint16_t h) {
  int exponent = h >> 10 & 31;
  float mantissa = (float)(h & 1023), value;
  if (exponent == 0)
    value = ldexpf(mantissa, -24);
  else if (exponent == 31)
    value = mantissa == 0 ? INFINITY : NAN;
  else
    value = ldexpf(mantissa + 1024, exponent - 25);
  return (h & 0x8000) != 0 ? -value : value;
}

static float bits_to_float(uint32_t bits) {
  float f;
  memcpy(&f, &bits, sizeof f);
  return f;
}

// Eight bits: sign, 4 or 5 of exponent, the rest of mantissa. FN: no infinity, all ones is no
// number; UZ: one zero, and in place of -0 what is no number, its exponents lower by one
// (Micikevicius et al. 2022, arXiv 2209.05433; Noune et al. 2022, arXiv 2206.02915).
static float float8_to_float(int32_t element, uint8_t bits) {
  const bool wide = element == T_FLOAT8E5M2 || element == T_FLOAT8E5M2FNUZ;
  const bool one_zero = element == T_FLOAT8E4M3FNUZ || element == T_FLOAT8E5M2FNUZ;
  const int fraction_bits = wide ? 2 : 3, bias = (wide ? 15 : 7) + (one_zero ? 1 : 0);
  const int exponent = (bits & 127) >> fraction_bits;
  const int fraction = bits & ((1 << fraction_bits) - 1), full = 1 << fraction_bits;
  float value;
  if (one_zero && bits == 128) return NAN;
  if (element == T_FLOAT8E4M3FN && (bits & 127) == 127) return NAN;
  if (element == T_FLOAT8E5M2 && exponent == 31)
    value = fraction == 0 ? INFINITY : NAN;
  else if (exponent == 0)
    value = ldexpf((float)fraction, 1 - bias - fraction_bits);
  else
    value = ldexpf((float)(full + fraction), exponent - bias - fraction_bits);
  return bits > 127 ? -value : value;
}

static float raw_float(int32_t element, const uint8_t *p) {
  if (element_size(element) == 1) return float8_to_float(element, p[0]);
  uint16_t half = (uint16_t)(p[0] | p[1] << 8);
  double d;
  switch (element) {
  case T_FLOAT16:
    return half_to_float(half);
  case T_BFLOAT16:
    return bits_to_float((uint32_t)half << 16);
  case T_DOUBLE:
    memcpy(&d, p, sizeof d);
    return (float)d;
  default:
    return bits_to_float((uint32_t)half | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24);
  }
}

static int64_t raw_int(int32_t element, const uint8_t *p) {
  uint64_t u = 0;
  size_t size = element_size(element);
  for (size_t k = 0; k < size; k++)
    u |= (uint64_t)p[k] << (8 * k);
  bool is_signed = element == T_INT8 || element == T_INT16 || element == T_INT32;
  if (is_signed && (u >> (8 * size - 1)) != 0) u |= ~(uint64_t)0 << (8 * size);
  return (int64_t)u;
}

// Numbers of the typed field that holds this element type, and the one at k.
static size_t typed_count(const Onnx__TensorProto *t) {
  switch (t->data_type) {
  case T_FLOAT:
    return t->n_float_data;
  case T_DOUBLE:
    return t->n_double_data;
  case T_INT64:
    return t->n_int64_data;
  case T_UINT32:
  case T_UINT64:
    return t->n_uint64_data;
  default:
    return t->n_int32_data;
  }
}

static void typed_element(const Onnx__TensorProto *t, bl_value *v, size_t k) {
  switch (t->data_type) {
  case T_FLOAT:
    v->f[k] = t->float_data[k];
    return;
  case T_DOUBLE:
    v->f[k] = (float)t->double_data[k];
    return;
  case T_FLOAT16:
    v->f[k] = half_to_float((uint16_t)t->int32_data[k]);
    return;
  case T_BFLOAT16:
    v->f[k] = bits_to_float((uint32_t)t->int32_data[k] << 16);
    return;
  case T_FLOAT8E4M3FN:
  case T_FLOAT8E4M3FNUZ:
  case T_FLOAT8E5M2:
  case T_FLOAT8E5M2FNUZ:
    v->f[k] = float8_to_float(t->data_type, (uint8_t)t->int32_data[k]);
    return;
  case T_INT64:
    v->i[k] = t->int64_data[k];
    return;
  case T_UINT32:
  case T_UINT64:
    v->i[k] = (int64_t)t->uint64_data[k];
    return;
  default:
    v->i[k] = t->int32_data[k];
  }
}

static bl_status load_data(const Onnx__TensorProto *t, bl_value *v, bl_error *err) {
  size_t size = element_size(t->data_type);
  size_t have = t->has_raw_data ? t->raw_data.len / size : typed_count(t);
  if (have != v->count || (t->has_raw_data && t->raw_data.len % size != 0))
    return bl_fail(err, BL_ERR_FORMAT, "tensor %s: its data has %zu elements, its shape %zu",
                   v->name, have, v->count);
  for (size_t k = 0; k < v->count; k++) {
    if (!t->has_raw_data)
      typed_element(t, v, k);
    else if (v->type == BL_TYPE_FLOAT)
      v->f[k] = raw_float(t->data_type, t->raw_data.data + k * size);
    else
      v->i[k] = raw_int(t->data_type, t->raw_data.data + k * size);
  }
  return BL_OK;
}

bl_status bl_tensor_load(bl_arena *arena, const Onnx__TensorProto *t, bl_value *v, bl_error *err) {
  if (t->n_external_data > 0 || (t->has_data_location && t->data_location != 0))
    return bl_fail(err, BL_ERR_UNSUPPORTED,
                   "tensor %s: its data is in another file; save the model in one file", v->name);
  if (t->segment != NULL) return bl_fail(err, BL_ERR_UNSUPPORTED, "tensor %s: segmented", v->name);
  BL_TRY(bl_element_type(v->name, t->data_type, &v->type, err));
  v->element = t->data_type;
  if (t->n_dims > BL_MAX_RANK)
    return bl_fail(err, BL_ERR_RANGE, "tensor %s: rank %zu", v->name, t->n_dims);
  BL_TRY(bl_value_shape(v, (uint32_t)t->n_dims, t->dims, err));
  size_t have = t->has_raw_data ? t->raw_data.len / element_size(t->data_type) : typed_count(t);
  if (have < v->count)
    return bl_fail(err, BL_ERR_FORMAT, "tensor %s: its data has %zu elements, its shape %zu",
                   v->name, have, v->count);
  BL_TRY(bl_value_allocate(arena, v, err));
  return load_data(t, v, err);
}
