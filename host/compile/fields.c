// SPDX-License-Identifier: Apache-2.0
// Descriptor fields that a layer's shape decides, against the ranges that the device takes.
#include "host/compile/internal.h"

bl_status bl_map_check_fields(const bl_mapping *m, bl_error *err) {
  const bl_int_layer *l = m->layer;
  const int64_t zp = m->out->zero_point;
  const bool clamps = m->acc_bytes == 0 && m->out->format.kind != BL_FORMAT_B;
  const struct {
    const char *what;
    int64_t value, least, most;
  } fields[] = {
      {"kernel height", m->kernel_h, 1, 4095},
      {"kernel width", m->kernel_w, 1, 4095},
      {"dilation in y", m->dilation_h, 1, 255},
      {"dilation in x", m->dilation_w, 1, 255},
      {"stride in y", m->stride_h, 1, 255},
      {"stride in x", m->stride_w, 1, 255},
      {"padding at the top", m->pad_top, 0, 4095},
      {"padding at the left", m->pad_left, 0, 4095},
      {"pooling height", l->pool_h, 1, 4095},
      {"pooling width", l->pool_w, 1, 4095},
      {"stride times pooling stride in y", (int64_t)m->stride_h * m->pool_stride_h, 1, 65535},
      {"stride times pooling stride in x", (int64_t)m->stride_w * m->pool_stride_w, 1, 65535},
      {"origin in y", m->pad_top + (int64_t)m->stride_h * l->pool_pad_top, 0, 65535},
      {"origin in x", m->pad_left + (int64_t)m->stride_w * l->pool_pad_left, 0, 65535},
      {"convolution height", (int64_t)m->conv_h * m->stride_h - m->pad_top, -65536, 65535},
      {"convolution width", (int64_t)m->conv_w * m->stride_w - m->pad_left, -65536, 65535},
      {"number of input channel words", m->in_words, 1, 4095},
      {"number of channel tiles", (int64_t)(m->tile1 - m->tile0) * bl_listings(m), 1, 4095},
      {"number of second-source words", m->res_words, 0, 4095},
      {"rotated region",
       m->gather == BL_GATHER_ROTATED ? (int64_t)m->region_words * m->in_planes : 0, 0, 4095},
      {"lower clamp", clamps ? l->lo - zp : 0, INT16_MIN, INT16_MAX},
      {"upper clamp", clamps ? l->hi - zp : 0, INT16_MIN, INT16_MAX},
  };
  for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
    if (fields[i].value < fields[i].least || fields[i].value > fields[i].most)
      return bl_fail(
          err, BL_ERR_UNSUPPORTED,
          "layer %s: %s is %lld, the device takes %lld..%lld; cut the layer in the model", l->name,
          fields[i].what, (long long)fields[i].value, (long long)fields[i].least,
          (long long)fields[i].most);
  return BL_OK;
}
