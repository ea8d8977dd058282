// SPDX-License-Identifier: Apache-2.0
// The Verilated device behind the driver, on each configuration, with random stalls on every
// handshake: identity, registers, loads that come back, counters that add up, damage, recovery.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "drivers/bl_driver.h"
#include "sim/rtl_device.h"

enum { PATIENCE = 10000, WORDS = 700 };

typedef struct {
  bl_rtl *device;
  bl_driver driver;
  const bl_config *config;
  uint64_t random;
} fixture;

static uint32_t next(fixture *f) {
  f->random = f->random * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(f->random >> 32);
}

static void open_device(fixture *f, int config, double stalls) {
  f->config = &BL_CONFIGS[config];
  f->random = 20241 + (uint64_t)config;
  f->device = bl_rtl_open(f->config, stalls, f->random);
  assert_non_null(f->device);
  assert_int_equal(bl_driver_open(&f->driver, &bl_rtl_transport, f->device, PATIENCE),
                   BL_DRIVER_OK);
  bl_config found;
  assert_int_equal(bl_driver_identify(&f->driver, f->config, &found), BL_DRIVER_OK);
}

static void loads_come_back(fixture *f, uint32_t bytes) {
  static uint32_t sent[WORDS * 2 + 2], got[WORDS * 2 + 2];
  uint32_t count = WORDS * 4 / bytes, length = count * bytes, words = (length + 3) / 4;
  for (uint32_t i = 0; i < words; i++)
    sent[i] = next(f);
  if (length % 4 != 0) sent[words - 1] &= (1u << (8 * (length % 4))) - 1;
  uint32_t address = next(f) % (f->config->act_depth - count);
  assert_int_equal(bl_driver_request(&f->driver, BL_OP_LOAD_ACTIVATIONS, address, bytes << 24, sent,
                                     length, NULL, 0, NULL),
                   BL_DRIVER_OK);
  assert_int_equal(bl_driver_request(&f->driver, BL_OP_SEND, address, bytes << 24 | count, NULL, 0,
                                     got, words, NULL),
                   BL_DRIVER_OK);
  assert_int_equal(bl_driver_fence(&f->driver), BL_DRIVER_OK);
  assert_memory_equal(sent, got, words * 4);
}

static void counters_add_up(fixture *f) {
  uint64_t c[BL_COUNTER_COUNT], sum = 0;
  assert_int_equal(bl_driver_counters(&f->driver, c, true), BL_DRIVER_OK);
  for (int i = 1; i < BL_COUNTER_COUNT; i++)
    sum += c[i];
  assert_true(sum == c[BL_COUNTER_CYCLES]);
  assert_true(c[BL_COUNTER_STREAM_IN] > 0 && c[BL_COUNTER_STREAM_OUT] > 0);
}

static void registers(fixture *f) {
  uint32_t value = 0;
  assert_int_equal(bl_rtl_transport.reg_read(f->device, BL_REG_ID, &value), 0);
  assert_int_equal(value, BL_CONTRACT_IDENTITY);
  assert_int_equal(bl_rtl_transport.reg_read(f->device, BL_REG_ACT_DEPTH, &value), 0);
  assert_int_equal(value, f->config->act_depth);
  assert_int_equal(bl_rtl_transport.reg_write(f->device, BL_REG_CONTROL, 2), 0);
  assert_int_equal(bl_rtl_transport.reg_read(f->device, BL_REG_CONTROL, &value), 0);
  assert_int_equal(value, 2);
}

static void memory_round_trip(void **state) {
  (void)state;
  for (int config = 0; config < BL_CONFIG_COUNT; config++)
    for (int stalls = 0; stalls < 2; stalls++) {
      fixture f;
      open_device(&f, config, stalls * 0.4);
      for (uint32_t bytes = 1; bytes <= f.config->lanes / 8; bytes++)
        loads_come_back(&f, bytes);
      counters_add_up(&f);
      registers(&f);
      bl_rtl_close(f.device);
    }
}

static void expect_status(fixture *f, uint8_t opcode, uint32_t address, uint32_t argument,
                          uint32_t bytes, uint8_t status) {
  static const uint32_t zeros[64] = {0};
  bl_driver_result r =
      bl_driver_request(&f->driver, opcode, address, argument, zeros, bytes, NULL, 0, NULL);
  if (r == BL_DRIVER_OK) r = bl_driver_fence(&f->driver);
  assert_int_equal(r, BL_DRIVER_DEVICE);
  assert_int_equal(f->driver.failure.status, status);
  assert_int_equal(bl_driver_reset(&f->driver), BL_DRIVER_OK);
}

static void refusals(void **state) {
  (void)state;
  for (int config = 0; config < BL_CONFIG_COUNT; config++) {
    fixture f;
    open_device(&f, config, 0.3);
    uint32_t lanes = f.config->lanes, cols = f.config->cols;
    expect_status(&f, 0x77, 0, 0, 0, BL_STATUS_OPCODE);
    expect_status(&f, 0x77, 0, 0, 100, BL_STATUS_OPCODE);
    expect_status(&f, BL_OP_FENCE, 0, 0, 4, BL_STATUS_LENGTH);
    expect_status(&f, BL_OP_LOAD_K_LIST, 0, 0, 3, BL_STATUS_LENGTH);
    expect_status(&f, BL_OP_LOAD_WEIGHTS, 0, 0, lanes / 8, BL_STATUS_LENGTH);
    expect_status(&f, BL_OP_LOAD_WEIGHTS, 0, (cols + 1) << 24, lanes / 8 * (cols + 1),
                  BL_STATUS_LENGTH);
    expect_status(&f, BL_OP_LOAD_WEIGHTS, 0, 2u << 24, lanes / 8, BL_STATUS_LENGTH);
    expect_status(&f, BL_OP_LOAD_WEIGHTS, f.config->weight_depth, 1u << 24, lanes / 8,
                  BL_STATUS_ADDRESS);
    expect_status(&f, BL_OP_LOAD_TILE_LIST, 0xFFFFFFFF, 0, 8, BL_STATUS_ADDRESS);
    expect_status(&f, BL_OP_SEND, f.config->act_depth - 1, 1u << 24 | 2, 0, BL_STATUS_ADDRESS);
    expect_status(&f, BL_OP_SEND, 0, 1u << 24, 0, BL_STATUS_LENGTH);
    expect_status(&f, BL_OP_RUN, 0, 0, BL_DESCRIPTOR_WORDS * 4, BL_STATUS_DESCRIPTOR);
    expect_status(&f, BL_OP_RUN, 0, 0, 8, BL_STATUS_LENGTH);
    loads_come_back(&f, 1);
    bl_rtl_close(f.device);
  }
}

// A damaged header is answered once; the next sound packet is found again.
static void hunt_for_a_header(void **state) {
  (void)state;
  fixture f;
  open_device(&f, BL_CONFIG_TINY, 0.2);
  uint32_t noise[37];
  for (int i = 0; i < 37; i++)
    noise[i] = next(&f) & 0x00FFFFFF;
  for (uint32_t sent = 0; sent < 37;) {
    int32_t n = bl_rtl_transport.write(f.device, noise + sent, 37 - sent);
    assert_true(n >= 0);
    sent += (uint32_t)n;
  }
  assert_int_equal(bl_driver_fence(&f.driver), BL_DRIVER_DEVICE);
  assert_int_equal(f.driver.failure.status, BL_STATUS_HEADER);
  assert_int_equal(f.driver.failure.info, noise[0]);
  assert_int_equal(bl_driver_reset(&f.driver), BL_DRIVER_OK);
  loads_come_back(&f, 2);
  bl_rtl_close(f.device);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(memory_round_trip),
      cmocka_unit_test(refusals),
      cmocka_unit_test(hunt_for_a_header),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
