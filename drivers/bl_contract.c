// SPDX-License-Identifier: Apache-2.0
// Generated from drivers/contract/contract.def by `make contract`; do not edit.
#include "drivers/bl_contract.h"

// Puts the low `bits` of value at bit `lsb`; the words start as zero.
static void put(uint32_t *words, unsigned lsb, unsigned bits, uint64_t value) {
  for (unsigned b = 0; b < bits; b++)
    words[(lsb + b) / 32] |= (uint32_t)((value >> b) & 1u) << ((lsb + b) % 32);
}

static uint64_t get(const uint32_t *words, unsigned lsb, unsigned bits) {
  uint64_t value = 0;
  for (unsigned b = 0; b < bits; b++)
    value |= (uint64_t)((words[(lsb + b) / 32] >> ((lsb + b) % 32)) & 1u) << b;
  return value;
}

static int64_t get_signed(const uint32_t *words, unsigned lsb, unsigned bits) {
  uint64_t sign = (uint64_t)1 << (bits - 1);
  return (int64_t)(get(words, lsb, bits) ^ sign) - (int64_t)sign;
}

static bool fits(uint64_t value, unsigned bits) {
  return value >> bits == 0;
}

static bool fits_signed(int64_t value, unsigned bits) {
  int64_t half = (int64_t)1 << (bits - 1);
  return value >= -half && value < half;
}

const bl_config BL_CONFIGS[BL_CONFIG_COUNT] = {
    {"tiny", 2, 8, 16, 26, 4096, 64, 2048, 512, 128, 16384, 1024, 512, 1},
    {"default", 8, 8, 32, 26, 6144, 256, 4096, 512, 256, 16384, 1024, 2048, 2},
    {"wide", 8, 16, 64, 26, 2048, 128, 4096, 512, 256, 17408, 1024, 2048, 2},
};

bool bl_param_pack(const bl_param *record, uint32_t words[BL_PARAM_WORDS]) {
  for (unsigned i = 0; i < BL_PARAM_WORDS; i++)
    words[i] = 0;
  bool ok = true;
  put(words, 0, 17, (uint64_t)record->mult);
  ok = ok && fits_signed(record->mult, 17);
  put(words, 17, 48, (uint64_t)record->bias);
  ok = ok && fits_signed(record->bias, 48);
  put(words, 65, 6, (uint64_t)record->shift);
  ok = ok && fits(record->shift, 6);
  return ok;
}

void bl_param_unpack(const uint32_t words[BL_PARAM_WORDS], bl_param *record) {
  record->mult = (int32_t)get_signed(words, 0, 17);
  record->bias = (int64_t)get_signed(words, 17, 48);
  record->shift = (uint8_t)get(words, 65, 6);
}

bool bl_k_pack(const bl_k *record, uint32_t words[BL_K_WORDS]) {
  for (unsigned i = 0; i < BL_K_WORDS; i++)
    words[i] = 0;
  bool ok = true;
  put(words, 0, 16, (uint64_t)record->address);
  ok = ok && fits(record->address, 16);
  return ok;
}

void bl_k_unpack(const uint32_t words[BL_K_WORDS], bl_k *record) {
  record->address = (uint16_t)get(words, 0, 16);
}

bool bl_pass_pack(const bl_pass *record, uint32_t words[BL_PASS_WORDS]) {
  for (unsigned i = 0; i < BL_PASS_WORDS; i++)
    words[i] = 0;
  bool ok = true;
  put(words, 0, 16, (uint64_t)record->weight_offset);
  ok = ok && fits(record->weight_offset, 16);
  put(words, 16, 16, (uint64_t)record->k_offset);
  ok = ok && fits(record->k_offset, 16);
  put(words, 32, 16, (uint64_t)record->count);
  ok = ok && fits(record->count, 16);
  put(words, 48, 3, (uint64_t)record->plane);
  ok = ok && fits(record->plane, 3);
  put(words, 51, 1, (uint64_t)record->shift);
  ok = ok && fits(record->shift, 1);
  put(words, 52, 1, (uint64_t)record->neg);
  ok = ok && fits(record->neg, 1);
  put(words, 53, 1, (uint64_t)record->sum);
  ok = ok && fits(record->sum, 1);
  return ok;
}

void bl_pass_unpack(const uint32_t words[BL_PASS_WORDS], bl_pass *record) {
  record->weight_offset = (uint16_t)get(words, 0, 16);
  record->k_offset = (uint16_t)get(words, 16, 16);
  record->count = (uint16_t)get(words, 32, 16);
  record->plane = (uint8_t)get(words, 48, 3);
  record->shift = (uint8_t)get(words, 51, 1);
  record->neg = (uint8_t)get(words, 52, 1);
  record->sum = (uint8_t)get(words, 53, 1);
}

bool bl_tile_pack(const bl_tile *record, uint32_t words[BL_TILE_WORDS]) {
  for (unsigned i = 0; i < BL_TILE_WORDS; i++)
    words[i] = 0;
  bool ok = true;
  put(words, 0, 16, (uint64_t)record->weight_base);
  ok = ok && fits(record->weight_base, 16);
  put(words, 16, 16, (uint64_t)record->k_base);
  ok = ok && fits(record->k_base, 16);
  put(words, 32, 16, (uint64_t)record->pass_base);
  ok = ok && fits(record->pass_base, 16);
  put(words, 48, 10, (uint64_t)record->pass_last);
  ok = ok && fits(record->pass_last, 10);
  put(words, 58, 2, (uint64_t)record->post);
  ok = ok && fits(record->post, 2);
  return ok;
}

void bl_tile_unpack(const uint32_t words[BL_TILE_WORDS], bl_tile *record) {
  record->weight_base = (uint16_t)get(words, 0, 16);
  record->k_base = (uint16_t)get(words, 16, 16);
  record->pass_base = (uint16_t)get(words, 32, 16);
  record->pass_last = (uint16_t)get(words, 48, 10);
  record->post = (uint8_t)get(words, 58, 2);
}

bool bl_descriptor_pack(const bl_descriptor *record, uint32_t words[BL_DESCRIPTOR_WORDS]) {
  for (unsigned i = 0; i < BL_DESCRIPTOR_WORDS; i++)
    words[i] = 0;
  bool ok = true;
  put(words, 0, 16, (uint64_t)record->in_base);
  ok = ok && fits(record->in_base, 16);
  put(words, 16, 4, (uint64_t)record->in_planes);
  ok = ok && fits(record->in_planes, 4);
  put(words, 20, 8, (uint64_t)record->in_last_lanes);
  ok = ok && fits(record->in_last_lanes, 8);
  put(words, 32, 16, (uint64_t)record->in_h);
  ok = ok && fits(record->in_h, 16);
  put(words, 48, 16, (uint64_t)record->in_w);
  ok = ok && fits(record->in_w, 16);
  put(words, 64, 12, (uint64_t)record->in_words);
  ok = ok && fits(record->in_words, 12);
  put(words, 76, 8, (uint64_t)record->pad_value);
  ok = ok && fits(record->pad_value, 8);
  put(words, 84, 5, (uint64_t)record->in_last_bytes);
  ok = ok && fits(record->in_last_bytes, 5);
  put(words, 89, 2, (uint64_t)record->gather_mode);
  ok = ok && fits(record->gather_mode, 2);
  put(words, 91, 1, (uint64_t)record->in_up);
  ok = ok && fits(record->in_up, 1);
  put(words, 92, 1, (uint64_t)record->in_signed);
  ok = ok && fits(record->in_signed, 1);
  put(words, 96, 16, (uint64_t)record->in_pixel_stride);
  ok = ok && fits(record->in_pixel_stride, 16);
  put(words, 112, 16, (uint64_t)record->in_row_stride);
  ok = ok && fits(record->in_row_stride, 16);
  put(words, 128, 16, (uint64_t)record->in_image_stride);
  ok = ok && fits(record->in_image_stride, 16);
  put(words, 144, 16, (uint64_t)record->images);
  ok = ok && fits(record->images, 16);
  put(words, 160, 12, (uint64_t)record->kernel_h);
  ok = ok && fits(record->kernel_h, 12);
  put(words, 172, 12, (uint64_t)record->kernel_w);
  ok = ok && fits(record->kernel_w, 12);
  put(words, 184, 8, (uint64_t)record->dilation_h);
  ok = ok && fits(record->dilation_h, 8);
  put(words, 192, 8, (uint64_t)record->dilation_w);
  ok = ok && fits(record->dilation_w, 8);
  put(words, 200, 8, (uint64_t)record->stride_h);
  ok = ok && fits(record->stride_h, 8);
  put(words, 208, 8, (uint64_t)record->stride_w);
  ok = ok && fits(record->stride_w, 8);
  put(words, 224, 16, (uint64_t)record->step_h);
  ok = ok && fits(record->step_h, 16);
  put(words, 240, 16, (uint64_t)record->step_w);
  ok = ok && fits(record->step_w, 16);
  put(words, 256, 16, (uint64_t)record->origin_h);
  ok = ok && fits(record->origin_h, 16);
  put(words, 272, 16, (uint64_t)record->origin_w);
  ok = ok && fits(record->origin_w, 16);
  put(words, 288, 12, (uint64_t)record->pad_top);
  ok = ok && fits(record->pad_top, 12);
  put(words, 300, 12, (uint64_t)record->pad_left);
  ok = ok && fits(record->pad_left, 12);
  put(words, 320, 12, (uint64_t)record->pool_h);
  ok = ok && fits(record->pool_h, 12);
  put(words, 332, 12, (uint64_t)record->pool_w);
  ok = ok && fits(record->pool_w, 12);
  put(words, 352, 17, (uint64_t)record->conv_end_h);
  ok = ok && fits_signed(record->conv_end_h, 17);
  put(words, 369, 12, (uint64_t)record->group_stride);
  ok = ok && fits(record->group_stride, 12);
  put(words, 384, 17, (uint64_t)record->conv_end_w);
  ok = ok && fits_signed(record->conv_end_w, 17);
  put(words, 401, 12, (uint64_t)record->res_words);
  ok = ok && fits(record->res_words, 12);
  put(words, 416, 16, (uint64_t)record->out_h);
  ok = ok && fits(record->out_h, 16);
  put(words, 432, 16, (uint64_t)record->out_w);
  ok = ok && fits(record->out_w, 16);
  put(words, 448, 16, (uint64_t)record->out_base);
  ok = ok && fits(record->out_base, 16);
  put(words, 464, 16, (uint64_t)record->out_pixel_stride);
  ok = ok && fits(record->out_pixel_stride, 16);
  put(words, 480, 4, (uint64_t)record->out_planes);
  ok = ok && fits(record->out_planes, 4);
  put(words, 484, 4, (uint64_t)record->out_slot);
  ok = ok && fits(record->out_slot, 4);
  put(words, 488, 1, (uint64_t)record->out_signed);
  ok = ok && fits(record->out_signed, 1);
  put(words, 489, 1, (uint64_t)record->out_wrap);
  ok = ok && fits(record->out_wrap, 1);
  put(words, 490, 8, (uint64_t)record->out_last_cols);
  ok = ok && fits(record->out_last_cols, 8);
  put(words, 498, 1, (uint64_t)record->out_keep);
  ok = ok && fits(record->out_keep, 1);
  put(words, 499, 4, (uint64_t)record->out_table);
  ok = ok && fits(record->out_table, 4);
  put(words, 503, 4, (uint64_t)record->res_planes);
  ok = ok && fits(record->res_planes, 4);
  put(words, 512, 16, (uint64_t)record->out_lo);
  ok = ok && fits_signed(record->out_lo, 16);
  put(words, 528, 16, (uint64_t)record->out_hi);
  ok = ok && fits_signed(record->out_hi, 16);
  put(words, 544, 16, (uint64_t)record->out_offset);
  ok = ok && fits_signed(record->out_offset, 16);
  put(words, 560, 12, (uint64_t)record->tiles);
  ok = ok && fits(record->tiles, 12);
  put(words, 576, 16, (uint64_t)record->tile_base);
  ok = ok && fits(record->tile_base, 16);
  put(words, 592, 16, (uint64_t)record->param_base);
  ok = ok && fits(record->param_base, 16);
  put(words, 608, 16, (uint64_t)record->res_base);
  ok = ok && fits(record->res_base, 16);
  put(words, 624, 16, (uint64_t)record->res_pixel_stride);
  ok = ok && fits(record->res_pixel_stride, 16);
  put(words, 640, 16, (uint64_t)record->res_offset);
  ok = ok && fits(record->res_offset, 16);
  put(words, 656, 16, (uint64_t)record->res_row_step);
  ok = ok && fits(record->res_row_step, 16);
  return ok;
}

void bl_descriptor_unpack(const uint32_t words[BL_DESCRIPTOR_WORDS], bl_descriptor *record) {
  record->in_base = (uint16_t)get(words, 0, 16);
  record->in_planes = (uint8_t)get(words, 16, 4);
  record->in_last_lanes = (uint8_t)get(words, 20, 8);
  record->in_h = (uint16_t)get(words, 32, 16);
  record->in_w = (uint16_t)get(words, 48, 16);
  record->in_words = (uint16_t)get(words, 64, 12);
  record->pad_value = (uint8_t)get(words, 76, 8);
  record->in_last_bytes = (uint8_t)get(words, 84, 5);
  record->gather_mode = (uint8_t)get(words, 89, 2);
  record->in_up = (uint8_t)get(words, 91, 1);
  record->in_signed = (uint8_t)get(words, 92, 1);
  record->in_pixel_stride = (uint16_t)get(words, 96, 16);
  record->in_row_stride = (uint16_t)get(words, 112, 16);
  record->in_image_stride = (uint16_t)get(words, 128, 16);
  record->images = (uint16_t)get(words, 144, 16);
  record->kernel_h = (uint16_t)get(words, 160, 12);
  record->kernel_w = (uint16_t)get(words, 172, 12);
  record->dilation_h = (uint8_t)get(words, 184, 8);
  record->dilation_w = (uint8_t)get(words, 192, 8);
  record->stride_h = (uint8_t)get(words, 200, 8);
  record->stride_w = (uint8_t)get(words, 208, 8);
  record->step_h = (uint16_t)get(words, 224, 16);
  record->step_w = (uint16_t)get(words, 240, 16);
  record->origin_h = (uint16_t)get(words, 256, 16);
  record->origin_w = (uint16_t)get(words, 272, 16);
  record->pad_top = (uint16_t)get(words, 288, 12);
  record->pad_left = (uint16_t)get(words, 300, 12);
  record->pool_h = (uint16_t)get(words, 320, 12);
  record->pool_w = (uint16_t)get(words, 332, 12);
  record->conv_end_h = (int32_t)get_signed(words, 352, 17);
  record->group_stride = (uint16_t)get(words, 369, 12);
  record->conv_end_w = (int32_t)get_signed(words, 384, 17);
  record->res_words = (uint16_t)get(words, 401, 12);
  record->out_h = (uint16_t)get(words, 416, 16);
  record->out_w = (uint16_t)get(words, 432, 16);
  record->out_base = (uint16_t)get(words, 448, 16);
  record->out_pixel_stride = (uint16_t)get(words, 464, 16);
  record->out_planes = (uint8_t)get(words, 480, 4);
  record->out_slot = (uint8_t)get(words, 484, 4);
  record->out_signed = (uint8_t)get(words, 488, 1);
  record->out_wrap = (uint8_t)get(words, 489, 1);
  record->out_last_cols = (uint8_t)get(words, 490, 8);
  record->out_keep = (uint8_t)get(words, 498, 1);
  record->out_table = (uint8_t)get(words, 499, 4);
  record->res_planes = (uint8_t)get(words, 503, 4);
  record->out_lo = (int16_t)get_signed(words, 512, 16);
  record->out_hi = (int16_t)get_signed(words, 528, 16);
  record->out_offset = (int16_t)get_signed(words, 544, 16);
  record->tiles = (uint16_t)get(words, 560, 12);
  record->tile_base = (uint16_t)get(words, 576, 16);
  record->param_base = (uint16_t)get(words, 592, 16);
  record->res_base = (uint16_t)get(words, 608, 16);
  record->res_pixel_stride = (uint16_t)get(words, 624, 16);
  record->res_offset = (uint16_t)get(words, 640, 16);
  record->res_row_step = (uint16_t)get(words, 656, 16);
}

