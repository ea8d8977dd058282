// SPDX-License-Identifier: Apache-2.0
// Checks and names of the preprocessing that a data file's values go through.
#include "host/data/preprocess.h"

#include <math.h>

bl_preprocess bl_preprocess_identity(void) {
  bl_preprocess identity = {
      .scale = 1.0, .channels = 1, .layout = BL_LAYOUT_FILE, .input_mul = 1.0};
  for (int i = 0; i < BL_PREPROCESS_MAX_CHANNELS; i++)
    identity.std[i] = 1.0;
  return identity;
}

bl_status bl_preprocess_check(const bl_preprocess *preprocess, bl_error *err) {
  const bl_preprocess *p = preprocess;
  if (p->channels < 1 || p->channels > BL_PREPROCESS_MAX_CHANNELS)
    return bl_fail(err, BL_ERR_RANGE, "preprocessing: %u channels, expected 1 to %d",
                   (unsigned)p->channels, BL_PREPROCESS_MAX_CHANNELS);
  if (!isfinite(p->scale)) return bl_fail(err, BL_ERR_RANGE, "preprocessing: scale is not finite");
  for (uint32_t i = 0; i < p->channels; i++) {
    if (!isfinite(p->mean[i]))
      return bl_fail(err, BL_ERR_RANGE, "preprocessing: mean %u is not finite", (unsigned)i);
    if (!isfinite(p->std[i]) || p->std[i] == 0.0)
      return bl_fail(err, BL_ERR_RANGE, "preprocessing: std %u must be finite and not 0",
                     (unsigned)i);
  }
  if (!isfinite(p->input_mul) || p->input_mul == 0.0 || !isfinite(p->input_add))
    return bl_fail(err, BL_ERR_RANGE,
                   "preprocessing: the network's own scaling of its input is "
                   "not finite or 0");
  if ((unsigned)p->layout > BL_LAYOUT_NHWC)
    return bl_fail(err, BL_ERR_RANGE, "preprocessing: unknown layout %u", (unsigned)p->layout);
  return BL_OK;
}

const char *bl_layout_name(bl_layout layout) {
  switch (layout) {
  case BL_LAYOUT_NCHW:
    return "nchw";
  case BL_LAYOUT_NHWC:
    return "nhwc";
  case BL_LAYOUT_FILE:
    break;
  }
  return "file";
}
