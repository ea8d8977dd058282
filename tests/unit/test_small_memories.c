// SPDX-License-Identifier: Apache-2.0
// The same network gives the same bits however small the device's memories are: each memory is
// halved until the compiler refuses, and every program that it gives runs on a functional device of
// that size, against the reference kernels, layer by layer.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "sim/functional_device.h"
#include "tests/regress/random_graph.h"
#include "tests/regress/run_case.h"

enum { SEEDS = 3, NETWORKS = 40, CONCATENATIONS = 120, PATIENCE = 1000, LEAST_DEPTH = 8 };

typedef struct {
  uint32_t programs, streamed, pieces, spilled; // that ran; stream lists; run in pieces; spill
  uint32_t refused, halved;                     // networks at their full memory; programs at less
} tally;

static void run(const bl_random_case *made, const bl_config *config, const bl_program *program,
                uint64_t seed, uint32_t number) {
  bl_driver driver;
  bl_case_result result;
  char text[BL_CASE_TEXT];
  bl_functional *device = bl_functional_open(config, BL_POPCOUNT_BEST);
  assert_non_null(device);
  bl_driver_open(&driver, &bl_functional_transport, device, PATIENCE);
  bool ok =
      bl_run_case(&driver, &made->graph, program, made->inputs, program->images, 3, &result, text);
  bl_functional_close(device);
  char depths[160];
  (void)snprintf(
      depths, sizeof depths,
      "%s; depths: weights %u, parameters %u, K %u, passes %u, tiles %u, activations %u, "
      "rows %u",
      config->name, config->weight_depth, config->param_depth, config->k_depth, config->pass_depth,
      config->tile_depth, config->act_depth, config->row_depth);
  if (!ok)
    fail_msg("seed %llu network %u (%s): %s", (unsigned long long)seed, number, depths, text);
  if (result.differing > 0)
    fail_msg("seed %llu network %u (%s): %llu differ, first in layer %u", (unsigned long long)seed,
             number, depths, (unsigned long long)result.differing, result.layer);
}

// False when the compiler refuses.
static bool compile_and_run(const bl_random_case *made, const bl_config *config, uint64_t seed,
                            uint32_t number, tally *t) {
  bl_error err = {0};
  bl_program *program;
  bl_compile_options options = {config, made->images};
  bl_status status = bl_compile(&made->graph, &options, &program, &err);
  if (status == BL_ERR_UNSUPPORTED && getenv("SHOW")) printf("%u: %s\n", number, err.text);
  if (status == BL_ERR_UNSUPPORTED) return false;
  if (status != BL_OK)
    fail_msg("seed %llu network %u: %s", (unsigned long long)seed, number, err.text);
  run(made, config, program, seed, number);
  t->programs++;
  t->streamed += program->figures.streamed_bytes > 0;
  t->pieces += program->input.cut_ops > 1;
  t->spilled += program->stage_count > 1;
  bl_program_free(program);
  return true;
}

// The depths that are halved, one at a time.
static uint32_t *depth_of(bl_config *config, int memory) {
  uint32_t *const depths[] = {&config->weight_depth, &config->param_depth, &config->k_depth,
                              &config->pass_depth,   &config->tile_depth,  &config->act_depth,
                              &config->row_depth};
  return memory < (int)(sizeof depths / sizeof depths[0]) ? depths[memory] : NULL;
}

static void halve_memories(uint64_t seed) {
  static const char *const names[] = {"weight",    "parameter",  "K list",    "pass list",
                                      "tile list", "activation", "row buffer"};
  printf("seed %llu\n", (unsigned long long)seed);
  for (int memory = 0; memory < 7; memory++) {
    tally t = {0};
    for (uint32_t number = 0; number < NETWORKS; number++) {
      bl_random_case made;
      if (!bl_random_network(seed, number, 0, BL_RANDOM_ALL, &made)) fail_msg("no memory");
      bl_config config = *made.config;
      uint32_t *depth = depth_of(&config, memory);
      while (compile_and_run(&made, &config, seed, number, &t) && *depth / 2 >= LEAST_DEPTH)
        *depth /= 2;
      bl_random_free(&made);
    }
    printf(
        "%-10s memory: %u programs, %u stream lists, %u run several layers in pieces, %u spill\n",
        names[memory], t.programs, t.streamed, t.pieces, t.spilled);
    assert_true(t.programs > 2 * NETWORKS); // it was really halved
    if (memory < 5) assert_true(t.streamed > 0);
    if (memory == 5) assert_true(t.pieces > 0 && t.spilled > 0);
  }
}

// Concatenations alone, in less and less activation memory, down to what a few rows take.
static void halve_concatenations(uint64_t seed) {
  tally t = {0};
  uint32_t networks = 0;
  for (uint32_t number = 0; number < CONCATENATIONS; number++) {
    bl_random_case made;
    if (!bl_random_network(seed, number, 0, BL_RANDOM_ALL, &made)) fail_msg("no memory");
    bl_config config = *made.config;
    if (bl_int_concatenations(&made.graph) > 0) {
      networks++;
      const uint32_t before = t.programs;
      while (compile_and_run(&made, &config, seed, number, &t) &&
             config.act_depth / 2 >= LEAST_DEPTH)
        config.act_depth /= 2;
      if (t.programs == before)
        t.refused++;
      else
        t.halved += t.programs - before - 1;
    }
    bl_random_free(&made);
  }
  printf("seed %llu, concatenations: %u networks, %u refused at full size, the others' activation "
         "memory halved %.2f times; %u spill\n",
         (unsigned long long)seed, networks, t.refused, (double)t.halved / (networks - t.refused),
         t.spilled);
  assert_true(networks > CONCATENATIONS / 4 && t.spilled > networks / 8);
}

// Networks of a few seeds and of one that changes every day, or of the one that is given.
static void every_memory_is_halved(void **state) {
  (void)state;
  const char *text = getenv("BITLOOM_SEED");
  if (text != NULL) halve_memories(strtoull(text, NULL, 0));
  for (uint64_t seed = 1; text == NULL && seed <= SEEDS; seed++)
    halve_memories(seed);
  if (text == NULL) halve_memories((uint64_t)time(NULL) / (24 * 3600));
}

static void concatenations_travel(void **state) {
  (void)state;
  const char *text = getenv("BITLOOM_SEED");
  if (text != NULL) halve_concatenations(strtoull(text, NULL, 0));
  for (uint64_t seed = 1; text == NULL && seed <= SEEDS; seed++)
    halve_concatenations(seed);
  if (text == NULL) halve_concatenations((uint64_t)time(NULL) / (24 * 3600));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_memory_is_halved),
      cmocka_unit_test(concatenations_travel),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
