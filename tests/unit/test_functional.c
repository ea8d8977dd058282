// SPDX-License-Identifier: Apache-2.0
// The functional device against docs/reference/device.md: packets that must be refused, faults,
// damage, races. What a RUN computes is in test_functional_run.c.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/functional_support.h"

// ---- Packets that must be refused

static void fresh(setup *u) {
  assert_true(open_device(u, &BL_CONFIGS[BL_CONFIG_TINY], BL_POPCOUNT_PLAIN));
}

// Sends a request and a fence; returns the status of the first error, 0 where there is none.
static uint8_t status_of(setup *u, uint8_t opcode, uint32_t address, uint32_t argument,
                         const uint32_t *payload, uint32_t bytes) {
  static uint32_t answer[1 << 16];
  bl_driver_result result = bl_driver_request(&u->driver, opcode, address, argument, payload, bytes,
                                              answer, 1 << 16, NULL);
  if (result == BL_DRIVER_OK) result = bl_driver_fence(&u->driver);
  uint8_t status = result == BL_DRIVER_OK ? BL_STATUS_OK : u->driver.failure.status;
  if (result != BL_DRIVER_OK) assert_int_equal(result, BL_DRIVER_DEVICE);
  return status;
}

static void refused(void **state) {
  (void)state;
  static const uint32_t zeros[64];
  const bl_config *c = &BL_CONFIGS[BL_CONFIG_TINY];
  const struct {
    uint8_t opcode;
    uint32_t address, argument, bytes;
    uint8_t status;
  } cases[] = {
      {0x30, 0, 0, 0, BL_STATUS_OPCODE},
      {0x30, 0, 0, 16, BL_STATUS_OPCODE},
      {BL_OP_FENCE, 0, 0, 4, BL_STATUS_LENGTH},
      {BL_OP_LOAD_WEIGHTS, 0, 0, 16, BL_STATUS_LENGTH},
      {BL_OP_LOAD_WEIGHTS, 0, (c->cols + 1) << 24, 18, BL_STATUS_LENGTH},
      {BL_OP_LOAD_WEIGHTS, 0, 3u << 24, 4, BL_STATUS_LENGTH},
      {BL_OP_LOAD_WEIGHTS, 0, 1u << 24, 0, BL_STATUS_LENGTH},
      {BL_OP_LOAD_WEIGHTS, c->weight_depth, 1u << 24, 2, BL_STATUS_ADDRESS},
      {BL_OP_LOAD_WEIGHTS, UINT32_MAX, 1u << 24, 2, BL_STATUS_ADDRESS},
      {BL_OP_LOAD_K_LIST, c->k_depth - 1, 0, 4, BL_STATUS_ADDRESS},
      {BL_OP_LOAD_K_LIST, 0, 0, 3, BL_STATUS_LENGTH},
      {BL_OP_LOAD_ACTIVATIONS, 0, 0, 2, BL_STATUS_LENGTH},
      {BL_OP_LOAD_ACTIVATIONS, 0, 3u << 24, 3, BL_STATUS_LENGTH},
      {BL_OP_LOAD_ACTIVATIONS, c->act_depth, 2u << 24, 2, BL_STATUS_ADDRESS},
      {BL_OP_LOAD_TABLES, 0, 0, 0, BL_STATUS_LENGTH},
      {BL_OP_LOAD_TABLES, c->table_depth - 1, 0, 2, BL_STATUS_ADDRESS},
      {BL_OP_LOAD_CODES, 0, 1u << 24 | 1 << 16, 16, BL_STATUS_LENGTH},
      {BL_OP_LOAD_CODES, 0, 1u << 24 | 1 << 16, 20, BL_STATUS_LENGTH},
      {BL_OP_LOAD_CODES, 0, 1u << 24, 24, BL_STATUS_LENGTH},
      {BL_OP_LOAD_CODES, 0, 1 << 16, 24, BL_STATUS_LENGTH},
      {BL_OP_LOAD_CODES, 0, 2u << 24 | 1 << 16, 24, BL_STATUS_LENGTH},
      {BL_OP_LOAD_CODES, 0, (c->cols + 1) << 24 | 1 << 16, 88, BL_STATUS_LENGTH},
      {BL_OP_LOAD_CODES, 0, 1u << 24 | 3 << 16 | c->weight_depth, 24, BL_STATUS_ADDRESS},
      {BL_OP_LOAD_CODES, c->weight_depth - 1, 1u << 24 | 3 << 16 | 1, 24, BL_STATUS_ADDRESS},
      {BL_OP_LOAD_CODES, c->weight_depth - 2, 1u << 24 | 3 << 16 | 1, 24, BL_STATUS_OK},
      {BL_OP_RUN, 0, 0, 4, BL_STATUS_LENGTH},
      {BL_OP_RUN, 0, 0, BL_DESCRIPTOR_WORDS * 4, BL_STATUS_DESCRIPTOR},
      {BL_OP_SEND, 0, 2u << 24, 0, BL_STATUS_LENGTH},
      {BL_OP_SEND, 0, 1, 0, BL_STATUS_LENGTH},
      {BL_OP_SEND, c->act_depth - 1, 2u << 24 | 2, 0, BL_STATUS_ADDRESS},
  };
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
    setup u;
    fresh(&u);
    uint8_t status =
        status_of(&u, cases[k].opcode, cases[k].address, cases[k].argument, zeros, cases[k].bytes);
    if (status != cases[k].status)
      fail_msg("case %zu: status %u, expected %u", k, status, cases[k].status);
    assert_int_equal(bl_driver_reset(&u.driver), BL_DRIVER_OK);
    bl_config found;
    assert_int_equal(bl_driver_identify(&u.driver, c, &found), BL_DRIVER_OK);
    bl_functional_close(u.device);
  }
}

static bl_descriptor simple_layer(void) {
  return (bl_descriptor){.in_planes = 1,
                         .in_last_lanes = 1,
                         .in_last_bytes = 1,
                         .in_h = 1,
                         .in_w = 1,
                         .in_words = 1,
                         .in_pixel_stride = 1,
                         .in_row_stride = 1,
                         .in_image_stride = 1,
                         .images = 1,
                         .kernel_h = 1,
                         .kernel_w = 1,
                         .dilation_h = 1,
                         .dilation_w = 1,
                         .stride_h = 1,
                         .stride_w = 1,
                         .step_h = 1,
                         .step_w = 1,
                         .pool_h = 1,
                         .pool_w = 1,
                         .conv_end_h = 1,
                         .conv_end_w = 1,
                         .out_h = 1,
                         .out_w = 1,
                         .out_base = 8,
                         .out_pixel_stride = 1,
                         .out_planes = 1,
                         .out_last_cols = 1,
                         .tiles = 1};
}

static uint8_t run_status(setup *u, const bl_descriptor *layer) {
  uint32_t words[BL_DESCRIPTOR_WORDS];
  assert_true(bl_descriptor_pack(layer, words));
  return status_of(u, BL_OP_RUN, 0, 0, words, sizeof words);
}

// Each field that has a range, just outside it.
static void descriptors(void **state) {
  (void)state;
  const bl_config *c = &BL_CONFIGS[BL_CONFIG_TINY];
  for (int kind = 0;; kind++) {
    setup u;
    bl_descriptor d = simple_layer();
    fresh(&u);
    switch (kind) {
    case 0:
      d.in_planes = 9;
      break;
    case 1:
      d.in_last_lanes = (uint8_t)(c->lanes + 1);
      break;
    case 2:
      d.in_last_bytes = 0;
      break;
    case 3:
      d.in_last_bytes = (uint8_t)(c->lanes / 8 + 1);
      break;
    case 4:
      d.gather_mode = 3;
      break;
    case 5:
      d.gather_mode = 2;
      d.in_planes = (uint8_t)(c->rows + 1);
      break;
    case 6:
      d.gather_mode = 2;
      d.res_planes = 1;
      d.res_words = 1;
      break;
    case 7:
      d.res_planes = 9;
      d.res_words = 1;
      break;
    case 8:
      d.res_planes = 1;
      break;
    case 9:
      d.out_table = (uint8_t)(c->table_depth / BL_CONTRACT_TABLE_ENTRIES + 1);
      break;
    case 10:
      d.out_slot = (uint8_t)(c->lanes / c->cols);
      break;
    case 11:
      d.out_last_cols = (uint8_t)(c->cols + 1);
      break;
    case 12:
      d.out_planes = 0;
      break;
    default:
      bl_functional_close(u.device);
      return;
    }
    if (run_status(&u, &d) != BL_STATUS_DESCRIPTOR) fail_msg("kind %d", kind);
    bl_functional_close(u.device);
  }
}

// A layer that leaves a memory raises the fault of that memory; the device stays usable.
static void faults(void **state) {
  (void)state;
  const bl_config *c = &BL_CONFIGS[BL_CONFIG_TINY];
  for (int kind = 0; kind < 8; kind++) {
    setup u;
    fresh(&u);
    bl_descriptor d = simple_layer();
    bl_tile tile = {0};
    bl_pass pass = {.count = 1};
    uint32_t words[2];
    if (kind == 0) d.in_base = (uint16_t)c->act_depth;
    if (kind == 1) d.out_base = (uint16_t)c->act_depth;
    if (kind == 2) d.tile_base = (uint16_t)c->tile_depth;
    if (kind == 3) tile.pass_base = (uint16_t)c->pass_depth;
    if (kind == 4) pass.k_offset = (uint16_t)c->k_depth;
    if (kind == 5) pass.weight_offset = (uint16_t)c->weight_depth;
    if (kind == 6) d.param_base = (uint16_t)c->param_depth;
    if (kind == 7) {
      d.kernel_w = 4095;
      d.in_last_bytes = (uint8_t)(c->lanes / 8);
    }
    assert_true(bl_tile_pack(&tile, words));
    load(&u, BL_OP_LOAD_TILE_LIST, 0, words, 8);
    assert_true(bl_pass_pack(&pass, words));
    load(&u, BL_OP_LOAD_PASS_LIST, 0, words, 8);
    assert_int_equal(run_status(&u, &d), BL_STATUS_FAULT);
    assert_true((u.driver.failure.info >> kind & 1) != 0);
    assert_int_equal(bl_driver_reset(&u.driver), BL_DRIVER_OK);
    d = simple_layer();
    tile = (bl_tile){0};
    pass = (bl_pass){.count = 1};
    assert_true(bl_tile_pack(&tile, words));
    load(&u, BL_OP_LOAD_TILE_LIST, 0, words, 8);
    assert_true(bl_pass_pack(&pass, words));
    load(&u, BL_OP_LOAD_PASS_LIST, 0, words, 8);
    assert_int_equal(run_status(&u, &d), BL_STATUS_OK);
    bl_functional_close(u.device);
  }
}

static void raw_write(bl_functional *device, const uint32_t *words, uint32_t count) {
  while (count > 0) {
    int32_t sent = bl_functional_transport.write(device, words, count);
    assert_true(sent > 0);
    words += sent;
    count -= (uint32_t)sent;
  }
}

// A flipped bit: in a header it is answered once and hunted over; in a payload it poisons the
// memory, runs are then refused with the mask, and a sound load heals it.
static void damage(void **state) {
  (void)state;
  setup u;
  fresh(&u);
  const uint32_t noise[7] = {1, 2, 3, 4, 5, 6, 7};
  raw_write(u.device, noise, 7);
  assert_int_equal(bl_driver_fence(&u.driver), BL_DRIVER_DEVICE);
  assert_int_equal(u.driver.failure.status, BL_STATUS_HEADER);
  assert_int_equal(u.driver.failure.info, 1);
  assert_int_equal(bl_driver_reset(&u.driver), BL_DRIVER_OK);

  uint32_t packet[7] = {(uint32_t)BL_CONTRACT_REQUEST_MAGIC << 24 | BL_OP_LOAD_K_LIST << 16 | 9,
                        4,
                        0,
                        0,
                        0,
                        0x00010002};
  packet[4] = bl_driver_crc32(&u.driver, 0, packet, 4);
  packet[6] = bl_driver_crc32(&u.driver, 0, packet + 5, 1) ^ 16;
  raw_write(u.device, packet, 7);
  assert_int_equal(bl_driver_fence(&u.driver), BL_DRIVER_DEVICE);
  assert_int_equal(u.driver.failure.status, BL_STATUS_PAYLOAD);
  u.driver.failed = false;
  bl_descriptor d = simple_layer();
  assert_int_equal(run_status(&u, &d), BL_STATUS_POISONED);
  assert_int_equal(u.driver.failure.info, 1 << 2);
  u.driver.failed = false;
  const uint32_t entries[1] = {0};
  load(&u, BL_OP_LOAD_K_LIST, 0, entries, 4);
  assert_int_equal(run_status(&u, &d), BL_STATUS_OK);
  bl_functional_close(u.device);
}

// A load into what a run may still read, without a fence between, is reported.
static void races(void **state) {
  (void)state;
  setup u;
  fresh(&u);
  uint32_t words[BL_DESCRIPTOR_WORDS], one[1] = {0};
  bl_descriptor d = simple_layer();
  assert_true(bl_descriptor_pack(&d, words));
  assert_int_equal(
      bl_driver_request(&u.driver, BL_OP_RUN, 0, 0, words, sizeof words, NULL, 0, NULL),
      BL_DRIVER_OK);
  assert_int_equal(status_of(&u, BL_OP_LOAD_ACTIVATIONS, 0, 2u << 24, one, 2), BL_FUNCTIONAL_RACE);
  bl_functional_close(u.device);
}

// The planted fault changes exactly the lowest bit of the first pixel of that run.
static void planted(void **state) {
  (void)state;
  uint32_t got[2];
  for (int plant = 0; plant < 2; plant++) {
    setup u;
    fresh(&u);
    bl_descriptor d = simple_layer();
    if (plant) bl_functional_plant_fault(u.device, 0);
    assert_int_equal(run_status(&u, &d), BL_STATUS_OK);
    assert_int_equal(
        bl_driver_request(&u.driver, BL_OP_SEND, 8, 2u << 24 | 1, NULL, 0, &got[plant], 1, NULL),
        BL_DRIVER_OK);
    assert_int_equal(bl_driver_fence(&u.driver), BL_DRIVER_OK);
    bl_functional_close(u.device);
  }
  assert_int_equal(got[0] ^ got[1], 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(refused), cmocka_unit_test(descriptors),
                                     cmocka_unit_test(faults),  cmocka_unit_test(damage),
                                     cmocka_unit_test(races),   cmocka_unit_test(planted)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
