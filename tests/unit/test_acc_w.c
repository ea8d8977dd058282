// SPDX-License-Identifier: Apache-2.0
// Accumulators of 16 to 32 bits: layers that fill one to its last value run right on the functional
// device and, at 26 bits, on the RTL; one step more is refused by name; and no other width gets in.
// Other widths on the RTL: tests/rtl/sums.c.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "host/compile/program.h"
#include "host/run/device.h"
#include "sim/functional_device.h"
#include "tests/support/extreme_sums.h"

enum { PATIENCE = 1000, TINY_INPUTS = 12000, LONG_DEPTH = 20000 };

static const uint32_t widths[] = {16, 20, 26, 32};
enum { WIDTHS = sizeof widths / sizeof widths[0] };

// tiny, or for a long sum wide with more weight memory; ACC_W is the spec's.
static bl_config config_of(const bl_extreme_spec *spec, const bl_extreme *made) {
  const bool is_long = made->inputs > TINY_INPUTS;
  bl_config config = BL_CONFIGS[is_long ? BL_CONFIG_WIDE : BL_CONFIG_TINY];
  if (is_long) config.weight_depth = LONG_DEPTH;
  config.acc_w = spec->acc_w;
  return config;
}

// What runs on the functional device; false where the kind has no such layer.
static bool run_functional(const bl_extreme_spec *spec) {
  char text[BL_EXTREME_TEXT] = "";
  bl_extreme made;
  bool there = bl_extreme_make(spec, &made);
  if (there && spec->pixels && made.inputs > TINY_INPUTS) there = false;
  if (there) {
    const bl_config config = config_of(spec, &made);
    bl_driver driver;
    bl_functional *device = bl_functional_open(&config, BL_POPCOUNT_BEST);
    assert_non_null(device);
    assert_int_equal(bl_driver_open(&driver, &bl_functional_transport, device, PATIENCE),
                     BL_DRIVER_OK);
    const int64_t end = (int64_t)1 << (spec->acc_w - 1);
    const int64_t step = spec->kind == BL_EXTREME_BIPOLAR || spec->kind == BL_EXTREME_SIGNS ? 2 : 1;
    assert_true(made.largest == end - step && made.smallest == -end);
    if (!bl_extreme_run(spec, &made, &config, &driver, text))
      fail_msg("%s, %u bits, %s, %s: %s", bl_extreme_name(spec->kind), spec->acc_w,
               spec->pixels ? "pixels" : "images", spec->codes ? "codes" : "sums", text);
    bl_functional_close(device);
  }
  bl_extreme_free(&made);
  return there;
}

static void every_width_is_filled(void **state) {
  (void)state;
  for (int w = 0; w < WIDTHS; w++) {
    uint32_t ran[BL_EXTREME_KINDS] = {0};
    for (int kind = 0; kind < BL_EXTREME_KINDS; kind++) {
      for (int form = 0; form < 4; form++) {
        const bl_extreme_spec spec = {(bl_extreme_kind)kind, widths[w], form & 1, form & 2, 0};
        ran[kind] += run_functional(&spec);
      }
      printf("%u bits, %s: %u layers\n", widths[w], bl_extreme_name((bl_extreme_kind)kind),
             ran[kind]);
      // 2^31 as a sum of single bits takes 17 million inputs, 2^19 of weights of 1 half a million.
      bool too_long =
          (widths[w] == 32 && (kind == BL_EXTREME_UNSIGNED || kind == BL_EXTREME_BIPOLAR)) ||
          (widths[w] > 16 && kind == BL_EXTREME_WRAP);
      assert_true(too_long ? ran[kind] == 0 : ran[kind] >= 2);
    }
  }
}

static void rtl_is_filled(void **state) {
  (void)state;
  const bl_device_spec device_spec = {.kind = BL_DEVICE_RTL, .config = &BL_CONFIGS[BL_CONFIG_TINY]};
  bl_error err = {0};
  bl_device device;
  if (bl_device_open(&device_spec, &device, &err) != BL_OK) fail_msg("%s", err.text);
  for (int kind = 0; kind < BL_EXTREME_KINDS; kind++) {
    char text[BL_EXTREME_TEXT];
    bl_extreme made;
    const bl_extreme_spec spec = {(bl_extreme_kind)kind, device.config->acc_w, false, false, 0};
    const bool there = bl_extreme_make(&spec, &made);
    assert_true(there || kind == BL_EXTREME_WRAP);
    if (there && made.inputs <= TINY_INPUTS &&
        !bl_extreme_run(&spec, &made, device.config, &device.driver, text))
      fail_msg("%s: %s", bl_extreme_name(spec.kind), text);
    bl_extreme_free(&made);
  }
  bl_device_close(&device);
}

// One step more: refused, with the layer, the channel, the range and what would help.
static void one_more_is_refused(void **state) {
  (void)state;
  for (int w = 0; w < WIDTHS; w++)
    for (int kind = 0; kind < BL_EXTREME_KINDS; kind++)
      for (int beyond = -1; beyond <= 1; beyond += 2) {
        const bl_extreme_spec spec = {(bl_extreme_kind)kind, widths[w], false, false, beyond};
        bl_extreme made;
        bl_program *program;
        bl_error err = {0};
        if (bl_extreme_make(&spec, &made)) {
          char expected[120];
          const bl_config config = config_of(&spec, &made);
          const bl_compile_options options = {&config, 1};
          if (bl_compile(&made.graph, &options, &program, &err) != BL_ERR_UNSUPPORTED)
            fail_msg("%s, %u bits, beyond %d: %s", bl_extreme_name(spec.kind), widths[w], beyond,
                     err.text);
          (void)snprintf(expected, sizeof expected, "layer extreme channel %d: sums of ",
                         beyond > 0 ? 0 : 1);
          assert_non_null(strstr(err.text, expected));
          (void)snprintf(expected, sizeof expected,
                         "may overflow the %u-bit accumulator; use fewer bits or a smaller kernel",
                         widths[w]);
          assert_non_null(strstr(err.text, expected));
        }
        bl_extreme_free(&made);
      }
}

// ---- Other widths

static void compiler_refuses_other_widths(void **state) {
  (void)state;
  const bl_extreme_spec spec = {BL_EXTREME_SIGNED, 16, false, false, 0};
  bl_extreme made;
  assert_true(bl_extreme_make(&spec, &made));
  static const uint32_t others[] = {0, 1, 15, 33, 64, UINT32_MAX};
  for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
    bl_config config = BL_CONFIGS[BL_CONFIG_TINY];
    bl_program *program;
    bl_error err = {0};
    char expected[120];
    config.acc_w = others[i];
    const bl_compile_options options = {&config, 1};
    assert_int_equal(bl_compile(&made.graph, &options, &program, &err), BL_ERR_RANGE);
    assert_null(program);
    (void)snprintf(expected, sizeof expected,
                   "compile: configuration tiny has accumulators of %u bits; use 16 to 32",
                   others[i]);
    assert_string_equal(err.text, expected);
    assert_null(bl_functional_open(&config, BL_POPCOUNT_BEST));
  }
  bl_extreme_free(&made);
}

// A device that says another width of itself, to a driver that was told the same.
typedef struct {
  bl_functional *device;
  const bl_driver *driver;
  uint32_t acc_w, got;
  uint32_t payload[16];
} liar;

enum { ANSWER = BL_CONTRACT_HEADER_WORDS, WORDS = 15, ACC_W_WORD = 5 };

static int32_t lie_write(void *context, const uint32_t *words, uint32_t count) {
  liar *l = context;
  return bl_functional_transport.write(l->device, words, count);
}

static int32_t lie_read(void *context, uint32_t *words, uint32_t count) {
  liar *l = context;
  int32_t got = bl_functional_transport.read(l->device, words, count);
  for (int32_t i = 0; i < got; i++, l->got++) {
    if (l->got == ANSWER + ACC_W_WORD) words[i] = l->acc_w;
    if (l->got >= ANSWER && l->got < ANSWER + WORDS) l->payload[l->got - ANSWER] = words[i];
    if (l->got == ANSWER + WORDS) words[i] = bl_driver_crc32(l->driver, 0, l->payload, WORDS);
  }
  return got;
}

static int32_t lie_wait(void *context) {
  (void)context;
  return 0;
}

static void driver_refuses_other_widths(void **state) {
  (void)state;
  static const struct {
    uint32_t acc_w;
    bl_driver_result result;
  } cases[] = {{15, BL_DRIVER_WRONG_DEVICE}, {33, BL_DRIVER_WRONG_DEVICE},
               {0, BL_DRIVER_WRONG_DEVICE},  {0x80000020, BL_DRIVER_WRONG_DEVICE},
               {16, BL_DRIVER_OK},           {32, BL_DRIVER_OK}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    static const bl_transport transport = {lie_write, lie_read, lie_wait, NULL, NULL};
    bl_driver driver;
    bl_config expected = BL_CONFIGS[BL_CONFIG_TINY], found;
    liar l = {.device = bl_functional_open(&expected, BL_POPCOUNT_BEST),
              .driver = &driver,
              .acc_w = cases[i].acc_w};
    assert_non_null(l.device);
    expected.acc_w = cases[i].acc_w;
    assert_int_equal(bl_driver_open(&driver, &transport, &l, PATIENCE), BL_DRIVER_OK);
    assert_int_equal(bl_driver_identify(&driver, &expected, &found), cases[i].result);
    assert_int_equal(found.acc_w, cases[i].acc_w);
    bl_functional_close(l.device);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_width_is_filled),
      cmocka_unit_test(rtl_is_filled),
      cmocka_unit_test(one_more_is_refused),
      cmocka_unit_test(compiler_refuses_other_widths),
      cmocka_unit_test(driver_refuses_other_widths),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
