// SPDX-License-Identifier: Apache-2.0
// The contract's generated C: records packed and unpacked, values that do not fit, and the memory
// budget of each configuration.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "drivers/bl_contract.h"

static void fields_lie_where_the_page_says(void **state) {
  (void)state;
  uint32_t words[BL_DESCRIPTOR_WORDS];
  bl_descriptor d = {.in_base = 0x1234,
                     .in_planes = 8,
                     .in_last_lanes = 0x7F,
                     .conv_end_h = -5,
                     .out_lo = -200,
                     .out_hi = 0x7FFF,
                     .tiles = 0xABC,
                     .param_base = 0xFEDC};
  assert_true(bl_descriptor_pack(&d, words));
  assert_int_equal(words[0], 0x1234u | 8u << 16 | 0x7Fu << 20);
  assert_int_equal(words[11], (uint32_t)-5 & 0x1FFFF);
  assert_int_equal(words[16], ((uint32_t)-200 & 0xFFFF) | 0x7FFFu << 16);
  assert_int_equal(words[17], 0xABCu << 16);
  assert_int_equal(words[18], 0xFEDCu << 16);
  bl_descriptor back;
  bl_descriptor_unpack(words, &back);
  assert_int_equal(back.conv_end_h, -5);
  assert_int_equal(back.out_lo, -200);
  assert_int_equal(back.tiles, 0xABC);
}

static void parameters_cross_words(void **state) {
  (void)state;
  uint32_t words[BL_PARAM_WORDS];
  bl_param p = {.mult = -65535, .bias = -((int64_t)1 << 47), .shift = 47}, back;
  assert_true(bl_param_pack(&p, words));
  // 17 bits of mult, then bias: its sign is bit 64, the shift starts at bit 65
  assert_int_equal(words[0], 1u << 16 | 1u);
  assert_int_equal(words[1], 0);
  assert_int_equal(words[2], 1u | 47u << 1);
  bl_param_unpack(words, &back);
  assert_int_equal(back.mult, -65535);
  assert_true(back.bias == -((int64_t)1 << 47));
  assert_int_equal(back.shift, 47);
}

static void what_does_not_fit_is_refused(void **state) {
  (void)state;
  uint32_t words[BL_DESCRIPTOR_WORDS];
  assert_false(bl_param_pack(&(bl_param){.mult = 1 << 16}, words));
  assert_false(bl_param_pack(&(bl_param){.bias = (int64_t)1 << 47}, words));
  assert_false(bl_param_pack(&(bl_param){.shift = 64}, words));
  assert_false(bl_tile_pack(&(bl_tile){.pass_last = 1024}, words));
  assert_false(bl_descriptor_pack(&(bl_descriptor){.in_planes = 16}, words));
}

// Every memory of the design in bits: rtl/bitloom_top.v and the blocks below it.
static uint64_t memory_bits(const bl_config *c) {
  uint64_t weights = (uint64_t)c->cols * c->weight_depth * c->lanes;
  uint64_t params = (uint64_t)c->cols * c->param_depth * 72;
  uint64_t lists =
      (uint64_t)c->k_depth * 16 + (uint64_t)c->pass_depth * 64 + (uint64_t)c->tile_depth * 64;
  uint64_t act = (uint64_t)c->act_depth * c->lanes;
  uint64_t rows = (uint64_t)c->rows * 2 * c->row_depth * c->lanes;
  uint64_t pool = (uint64_t)c->rows * c->param_depth * (c->cols * 8 + 1);
  uint64_t pack = (uint64_t)2 * c->rows * c->lanes * 8;
  return weights + params + lists + act + rows + pool + pack;
}

static void configurations_keep_their_budget(void **state) {
  (void)state;
  const uint64_t budget[BL_CONFIG_COUNT] = {1000000, 3700000, 4900000};
  for (int i = 0; i < BL_CONFIG_COUNT; i++)
    assert_true(memory_bits(&BL_CONFIGS[i]) <= budget[i]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(fields_lie_where_the_page_says),
      cmocka_unit_test(parameters_cross_words),
      cmocka_unit_test(what_does_not_fit_is_refused),
      cmocka_unit_test(configurations_keep_their_budget),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
