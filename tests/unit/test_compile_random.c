// SPDX-License-Identifier: Apache-2.0
// Random layers and networks: the compiled program on the functional device against the reference
// kernels, after every layer. BITLOOM_SEED repeats a run, BITLOOM_LAYERS and BITLOOM_NETWORKS set
// how many.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sim/functional_device.h"
#include "tests/regress/random_graph.h"
#include "tests/regress/run_case.h"

enum { ATTEMPTS = 40, PATIENCE = 1000 };

typedef bool (*maker)(uint64_t seed, uint32_t number, uint32_t attempt, uint32_t allowed,
                      bl_random_case *made);

static uint64_t setting(const char *name, uint64_t otherwise) {
  const char *text = getenv(name);
  return text == NULL ? otherwise : strtoull(text, NULL, 0);
}

// Draws until the compiler takes it; the number of refusals is added to *refused.
static bl_program *draw_program(maker make, uint64_t seed, uint32_t number, bl_random_case *made,
                                bl_strata *strata, uint32_t *refused) {
  uint32_t allowed = BL_RANDOM_ALL;
  for (uint32_t attempt = 0; attempt < ATTEMPTS; attempt++) {
    bl_error err = {0};
    bl_program *program;
    assert_true(make(seed, number, attempt, allowed, made));
    bl_compile_options options = {made->config, made->images};
    bl_status status = bl_compile(&made->graph, &options, &program, &err);
    if (status == BL_OK) return program;
    if (status != BL_ERR_UNSUPPORTED) fail_msg("case %u: %s", number, err.text);
    if (getenv("BITLOOM_VERBOSE") != NULL) printf("refused: %s\n", err.text);
    allowed = bl_strata_refuse(strata, made, allowed);
    bl_random_free(made);
    ++*refused;
  }
  fail_msg("case %u: refused %d times", number, ATTEMPTS);
  return NULL;
}

static void run_one(const bl_random_case *made, const bl_program *program, uint64_t seed,
                    uint32_t number) {
  bl_driver driver;
  bl_case_result result;
  char text[BL_CASE_TEXT];
  bl_functional *device = bl_functional_open(made->config, BL_POPCOUNT_BEST);
  assert_non_null(device);
  bl_driver_open(&driver, &bl_functional_transport, device, PATIENCE);
  bool ok =
      bl_run_case(&driver, &made->graph, program, made->inputs, program->images, 3, &result, text);
  bl_functional_close(device);
  if (!ok) fail_msg("seed %llu case %u: %s", (unsigned long long)seed, number, text);
  assert_true(result.compared > 0);
  if (result.differing > 0)
    fail_msg("seed %llu case %u (%s): %llu differ, first in layer %u image %u element %zu: "
             "expected %d, got %d",
             (unsigned long long)seed, number, made->config->name,
             (unsigned long long)result.differing, result.layer, result.image, result.element,
             result.expected, result.got);
}

static void run_all(maker make, uint64_t seed, uint32_t count, bool complete) {
  bl_strata strata = {0};
  uint32_t refused = 0;
  for (uint32_t number = 0; number < count; number++) {
    bl_random_case made;
    bl_program *program = draw_program(make, seed, number, &made, &strata, &refused);
    run_one(&made, program, seed, number);
    bl_strata_count(&strata, &made, program);
    bl_program_free(program);
    bl_random_free(&made);
  }
  printf("seed %llu: %u cases agree, %u were refused and drawn again\n", (unsigned long long)seed,
         count, refused);
  uint32_t empty = bl_strata_print(&strata);
  (void)bl_features_print(&strata);
  if (complete) assert_int_equal(empty, 0);
}

static void random_layers(void **state) {
  (void)state;
  uint32_t count = (uint32_t)setting("BITLOOM_LAYERS", 1000);
  run_all(bl_random_layer, setting("BITLOOM_SEED", 1), count, count >= 1000);
}

static void random_networks(void **state) {
  (void)state;
  run_all(bl_random_network, setting("BITLOOM_SEED", 1), (uint32_t)setting("BITLOOM_NETWORKS", 200),
          false);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(random_layers),
      cmocka_unit_test(random_networks),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
