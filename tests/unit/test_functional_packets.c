// SPDX-License-Identifier: Apache-2.0
// The functional device against the packet rules of device.md: random streams of sound, refused,
// cut-short and damaged packets, answer by answer. bench_top puts the RTL through the same.
// BITLOOM_SEED repeats a run.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sim/functional_device.h"
#include "tests/rtl/packet_model.h"

static unsigned long seed = 1;
static pm model;

static void push(bl_functional *device) {
  for (uint32_t done = 0; done < model.out_have;) {
    uint32_t words[64], now = 1 + pm_random(&model, model.out_have - done);
    int32_t sent = bl_functional_transport.write(device, model.out + done, now), got;
    assert_true(sent >= 0);
    done += (uint32_t)sent;
    while ((got = bl_functional_transport.read(device, words, 1 + pm_random(&model, 64))) > 0)
      for (int32_t i = 0; i < got; i++)
        (void)pm_receive(&model, words[i]);
  }
}

static void packets(void **state) {
  (void)state;
  uint32_t statuses[9] = {0};
  for (int config = 0; config < BL_CONFIG_COUNT; config++) {
    bl_functional *device = bl_functional_open(&BL_CONFIGS[config], BL_POPCOUNT_BEST);
    assert_non_null(device);
    pm_begin(&model, &BL_CONFIGS[config], seed + (unsigned long)config);
    push(device);
    for (int i = 0; i < 3000; i++) {
      pm_something(&model);
      push(device);
      if (!pm_all_answered(&model)) fail_msg("packet %d: an answer is missing", i);
      pm_settle(&model);
      if (model.failure[0] != 0)
        fail_msg("seed %lu, %s, packet %d: %s", seed, BL_CONFIGS[config].name, i, model.failure);
    }
    assert_true(model.runs > 100);
    for (int i = 0; i < 9; i++)
      statuses[i] += model.statuses[i];
    bl_functional_close(device);
  }
  for (int i = 0; i <= BL_STATUS_POISONED; i++)
    assert_true(statuses[i] > 20);
}

int main(void) {
  const char *given = getenv("BITLOOM_SEED");
  if (given != NULL) seed = strtoul(given, NULL, 0);
  printf("seed %lu\n", seed);
  const struct CMUnitTest tests[] = {cmocka_unit_test(packets)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
