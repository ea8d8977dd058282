// SPDX-License-Identifier: Apache-2.0
// Operators that only move data.
#include <string.h>

#include "host/float/eval_internal.h"

bl_status bl_eval_same(const bl_eval *e) {
  const bl_value *in = bl_eval_in(e, 0);
  bl_value *out = bl_eval_out(e, 0);
  if (out->type == BL_TYPE_FLOAT)
    memcpy(out->f, in->f, out->count * sizeof *out->f);
  else
    memcpy(out->i, in->i, out->count * sizeof *out->i);
  return BL_OK;
}

bl_status bl_eval_dropout(const bl_eval *e) {
  bl_value *mask = bl_eval_out(e, 1);
  for (size_t k = 0; mask != NULL && k < mask->count; k++)
    bl_put(mask, k, 1);
  return bl_eval_same(e);
}

// Row-major element strides of a shape.
static void strides_of(const bl_value *v, int64_t strides[BL_MAX_RANK]) {
  int64_t step = 1;
  for (uint32_t k = v->rank; k-- > 0;) {
    strides[k] = step;
    step *= v->dims[k];
  }
}

// out[index] = in[base + sum of index[k]*steps[k]] for every index of out.
static void copy_strided(bl_value *out, const bl_value *in, int64_t base,
                         const int64_t steps[BL_MAX_RANK]) {
  int64_t index[BL_MAX_RANK] = {0};
  for (size_t at = 0; at < out->count; at++) {
    int64_t from = base;
    for (uint32_t k = 0; k < out->rank; k++)
      from += index[k] * steps[k];
    bl_copy(out, at, in, (size_t)from);
    for (uint32_t k = out->rank; k-- > 0;) {
      if (++index[k] < out->dims[k]) break;
      index[k] = 0;
    }
  }
}

bl_status bl_eval_transpose(const bl_eval *e) {
  const bl_value *in = bl_eval_in(e, 0);
  bl_value *out = bl_eval_out(e, 0);
  const bl_attribute *perm = bl_node_attribute(e->node, "perm");
  int64_t strides[BL_MAX_RANK], steps[BL_MAX_RANK];
  strides_of(in, strides);
  for (uint32_t k = 0; k < in->rank; k++)
    steps[k] = strides[perm != NULL ? perm->ints[k] : (int64_t)in->rank - 1 - k];
  copy_strided(out, in, 0, steps);
  return BL_OK;
}

bl_status bl_eval_slice(const bl_eval *e) {
  const bl_value *in = bl_eval_in(e, 0);
  bl_value *out = bl_eval_out(e, 0);
  size_t n, count;
  const int64_t *starts = bl_eval_ints(e, 1, "starts", &n);
  const int64_t *axes = bl_eval_ints(e, 3, "axes", &count);
  const int64_t *by = bl_eval_ints(e, 4, "steps", &count);
  int64_t steps[BL_MAX_RANK], base = 0;
  strides_of(in, steps);
  for (size_t k = 0; k < n; k++) {
    int64_t axis = axes != NULL ? axes[k] : (int64_t)k,
            step = bl_slice_step(by != NULL ? by[k] : 1);
    if (axis < 0) axis += in->rank;
    int64_t d = in->dims[axis], start = starts[k] < 0 ? starts[k] + d : starts[k];
    int64_t top = step > 0 ? d : d - 1;
    start = start < 0 ? 0 : start > top ? top : start;
    base += start * steps[axis];
    steps[axis] *= step;
  }
  copy_strided(out, in, base, steps);
  return BL_OK;
}

bl_status bl_eval_concat(const bl_eval *e) {
  bl_value *out = bl_eval_out(e, 0);
  int64_t axis = bl_node_int(e->node, "axis", 1);
  if (axis < 0) axis += out->rank;
  size_t inner = 1, outer = 1, done = 0;
  for (uint32_t k = 0; k < out->rank; k++)
    *(k > axis ? &inner : &outer) *= k == axis ? 1 : (size_t)out->dims[k];
  size_t row = (size_t)out->dims[axis] * inner;
  for (uint32_t n = 0; n < e->node->input_count; n++) {
    const bl_value *in = bl_eval_in(e, n);
    size_t part = (size_t)in->dims[axis] * inner;
    for (size_t o = 0; o < outer; o++)
      for (size_t k = 0; k < part; k++)
        bl_copy(out, o * row + done + k, in, o * part + k);
    done += part;
  }
  return BL_OK;
}

bl_status bl_eval_gather(const bl_eval *e) {
  const bl_value *in = bl_eval_in(e, 0), *indices = bl_eval_in(e, 1);
  bl_value *out = bl_eval_out(e, 0);
  int64_t axis = bl_node_int(e->node, "axis", 0);
  if (axis < 0) axis += in->rank;
  size_t inner = 1, d = (size_t)in->dims[axis], at = 0;
  for (uint32_t k = (uint32_t)axis + 1; k < in->rank; k++)
    inner *= (size_t)in->dims[k];
  size_t outer = d * inner == 0 ? 0 : in->count / (d * inner);
  for (size_t o = 0; o < outer; o++)
    for (size_t n = 0; n < indices->count; n++) {
      int64_t from = indices->i[n] < 0 ? indices->i[n] + (int64_t)d : indices->i[n];
      if (from < 0 || from >= (int64_t)d)
        return bl_eval_fail(e, BL_ERR_RANGE, "an index is out of range");
      for (size_t k = 0; k < inner; k++)
        bl_copy(out, at++, in, (o * d + (size_t)from) * inner + k);
    }
  return BL_OK;
}

// Where padded position x of an axis comes from; -1: the constant.
static int64_t pad_source(const char *mode, int64_t x, int64_t d) {
  if (x >= 0 && x < d) return x;
  if (mode[0] == 'e') return x < 0 ? 0 : d - 1;
  if (mode[0] == 'r') return x < 0 ? -x : 2 * (d - 1) - x;
  return -1;
}

bl_status bl_eval_pad(const bl_eval *e) {
  const bl_value *in = bl_eval_in(e, 0), *constant = bl_eval_in(e, 2);
  bl_value *out = bl_eval_out(e, 0);
  const char *mode = bl_node_string(e->node, "mode", "constant");
  const char *name = bl_node_attribute(e->node, "paddings") != NULL ? "paddings" : "pads";
  size_t count;
  const int64_t *pads = bl_eval_ints(e, 1, name, &count);
  double value = (double)bl_node_float(e->node, "value", 0);
  if (constant != NULL && constant->count > 0) value = bl_at(constant, 0);
  int64_t strides[BL_MAX_RANK], index[BL_MAX_RANK] = {0};
  strides_of(in, strides);
  for (size_t at = 0; at < out->count; at++) {
    int64_t from = 0;
    for (uint32_t k = 0; k < out->rank && from >= 0; k++) {
      int64_t x = pad_source(mode, index[k] - pads[k], in->dims[k]);
      from = x < 0 ? -1 : from + x * strides[k];
    }
    if (from < 0)
      bl_put(out, at, value);
    else
      bl_copy(out, at, in, (size_t)from);
    for (uint32_t k = out->rank; k-- > 0;) {
      if (++index[k] < out->dims[k]) break;
      index[k] = 0;
    }
  }
  return BL_OK;
}

bl_status bl_eval_resize(const bl_eval *e) {
  const bl_value *in = bl_eval_in(e, 0);
  bl_value *out = bl_eval_out(e, 0);
  bl_resize r;
  BL_TRY(bl_node_resize(e->graph, e->node, &r, e->err));
  int64_t strides[BL_MAX_RANK], index[BL_MAX_RANK] = {0};
  strides_of(in, strides);
  for (size_t at = 0; at < out->count; at++) {
    int64_t from = 0;
    for (uint32_t k = 0; k < out->rank; k++)
      from += bl_resize_source(&r, k, index[k]) * strides[k];
    bl_copy(out, at, in, (size_t)from);
    for (uint32_t k = out->rank; k-- > 0;) {
      if (++index[k] < out->dims[k]) break;
      index[k] = 0;
    }
  }
  return BL_OK;
}

bl_status bl_eval_shape(const bl_eval *e) {
  const bl_value *in = bl_eval_in(e, 0);
  bl_value *out = bl_eval_out(e, 0);
  int64_t rank = in->rank, start = bl_node_int(e->node, "start", 0);
  start = start < -rank ? 0 : start < 0 ? start + rank : start;
  for (size_t k = 0; k < out->count; k++)
    out->i[k] = in->dims[(size_t)start + k];
  return BL_OK;
}

bl_status bl_eval_constant(const bl_eval *e) {
  const bl_attribute *a = &e->node->attributes[0];
  bl_value *out = bl_eval_out(e, 0);
  const bl_attribute *value = bl_node_attribute(e->node, "value");
  if (value != NULL) {
    const bl_value *in = &e->values[value->tensor];
    for (size_t k = 0; k < out->count; k++)
      bl_copy(out, k, in, k);
  } else if (out->type == BL_TYPE_FLOAT) {
    for (size_t k = 0; k < out->count; k++)
      out->f[k] = out->rank == 0 ? a->f : a->floats[k];
  } else {
    for (size_t k = 0; k < out->count; k++)
      out->i[k] = out->rank == 0 ? a->i : a->ints[k];
  }
  return BL_OK;
}
