// SPDX-License-Identifier: Apache-2.0
// Signatures of runs from the reference's integers, against one worked out by hand and against a
// literal evaluation of docs/reference/device.md on what the functional device has written.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zlib.h>

#include "host/ref/reference.h"
#include "host/run/signature.h"
#include "sim/functional_device.h"
#include "tests/regress/random_graph.h"

enum { NETWORKS = 60, LAYERS = 120, PATIENCE = 1000 };

static uint64_t seed = 1;

// Three channels 1, 2, 3 of u2 at word 5: planes 101 and 110. The sum is of Python's zlib.crc32
// over 05 00 00 00 05 00 and 06 00 00 00 06 00.
static void by_hand(void **state) {
  (void)state;
  uint32_t payload[BL_DESCRIPTOR_WORDS], signature;
  bl_descriptor d = {.in_planes = 1,
                     .in_last_lanes = 1,
                     .images = 1,
                     .out_h = 1,
                     .out_w = 1,
                     .out_base = 5,
                     .out_pixel_stride = 2,
                     .out_planes = 2,
                     .tiles = 1};
  bl_region regions[2] = {{0}, {.address = 5, .words = 2, .planes = 2}};
  regions[1].image_stride = regions[1].row_stride = regions[1].pixel_stride = 2;
  bl_int_tensor tensors[2] = {{.c = 1}, {.h = 1, .w = 1, .c = 3, .format = {BL_FORMAT_U, 2}}};
  bl_int_layer layer = {.output = 1};
  bl_int_graph graph = {
      .tensors = tensors, .tensor_count = 2, .layers = &layer, .layer_count = 1, .output = 1};
  bl_program program = {.config = BL_CONFIGS[0], .images = 1, .regions = regions};
  bl_step step = {.opcode = BL_OP_RUN, .payload = payload, .images = 1, .rows = 1};
  const int32_t values[] = {1, 2, 3};
  assert_true(bl_descriptor_pack(&d, payload));
  assert_true(bl_signature_run(&program, &graph, &step, values, &signature));
  assert_int_equal(signature, 0xce3aa98d);
  step.partial = true;
  assert_false(bl_signature_run(&program, &graph, &step, values, &signature));
  step.opcode = BL_OP_FENCE;
  assert_false(bl_signature_run(&program, &graph, &step, values, &signature));
}

typedef struct {
  bl_random_case made;
  bl_program *program;
  int32_t **expected; // of each layer, all images
  bl_driver driver;
  uint32_t *store;
  uint8_t *memory; // activation memory as it is now
  uint32_t runs, answered;
  uint32_t answer; // signature of the last run
} job;

typedef struct {
  const job *j;
  size_t image;
} keeper;

static void keep(void *context, uint32_t layer, int32_t *output) {
  const keeper *k = context;
  const bl_int_graph *g = &k->j->made.graph;
  size_t count = bl_int_elements(&g->tensors[g->layers[layer].output]);
  memcpy(k->j->expected[layer] + k->image * count, output, count * sizeof *output);
}

static void listen(void *context, const bl_answer *answer) {
  job *j = context;
  if (answer->opcode != BL_OP_RUN) return;
  j->runs++;
  j->answered += answer->bytes > 0;
  j->answer = answer->signature;
}

static void *take(size_t count, size_t size) {
  void *memory = calloc(count, size);
  assert_non_null(memory);
  return memory;
}

static void draw(job *j, uint32_t number, bool network) {
  uint32_t allowed = BL_RANDOM_ALL;
  for (uint32_t attempt = 0; attempt < 40; attempt++) {
    bl_error err = {0};
    assert_true(network ? bl_random_network(seed, number, attempt, allowed, &j->made)
                        : bl_random_layer(seed, number * 13, attempt, allowed, &j->made));
    bl_compile_options options = {j->made.config, j->made.images};
    if (bl_compile(&j->made.graph, &options, &j->program, &err) == BL_OK) return;
    allowed &= ~j->made.features;
    bl_random_free(&j->made);
  }
  fail_msg("case %u is always refused", number);
}

static void run_reference(job *j) {
  const bl_int_graph *g = &j->made.graph;
  bl_error err = {0};
  int32_t *out = take(bl_int_elements(&g->tensors[g->output]), sizeof *out);
  j->expected = take(g->layer_count, sizeof *j->expected);
  for (uint32_t l = 0; l < g->layer_count; l++)
    j->expected[l] = take(bl_int_elements(&g->tensors[g->layers[l].output]) * j->program->images,
                          sizeof(int32_t));
  for (uint32_t n = 0; n < j->program->images; n++) {
    keeper k = {j, n};
    const int32_t *in = j->made.inputs + n * bl_int_elements(&g->tensors[0]);
    assert_int_equal(bl_reference_run(g, in, out, keep, &k, &err), BL_OK);
  }
  free(out);
}

// The words of the run, address by address: bytes of its slots as they stand in memory.
static uint32_t literal(const job *j, const bl_descriptor *d) {
  const bl_config *c = j->made.config;
  const uint32_t bytes = c->lanes / 8, slots = c->lanes / c->cols,
                 last = d->out_slot + d->tiles - 1u;
  uint32_t sum = 0;
  for (uint32_t m = 0; m < (uint32_t)d->images * d->out_h * d->out_w; m++)
    for (uint32_t word = 0; word <= last / slots; word++)
      for (uint32_t i = 0; i < d->out_planes; i++) {
        uint32_t address = d->out_base + m * d->out_pixel_stride + word * d->out_planes + i;
        uint8_t text[4 + 8] = {(uint8_t)address, (uint8_t)(address >> 8), (uint8_t)(address >> 16)};
        for (uint32_t b = 0; b < bytes; b++) {
          uint32_t slot = word * slots + b * 8 / c->cols;
          if (slot >= d->out_slot && slot <= last)
            text[4 + b] = j->memory[(size_t)address * bytes + b];
        }
        sum += (uint32_t)crc32_z(0, text, 4 + bytes);
      }
  return sum;
}

static void check_run(job *j, uint32_t number, const bl_step *step) {
  const bl_config *c = j->made.config;
  bl_descriptor d;
  uint32_t signature, words = c->act_depth * (c->lanes / 32);
  bl_descriptor_unpack(step->payload, &d);
  if (c->lanes < 32) words = c->act_depth / 2;
  assert_int_equal(bl_driver_fence(&j->driver), BL_DRIVER_OK);
  assert_int_equal(bl_driver_request(&j->driver, BL_OP_SEND, 0, (c->lanes / 8) << 24 | c->act_depth,
                                     NULL, 0, (uint32_t *)(void *)j->memory, words, NULL),
                   BL_DRIVER_OK);
  assert_int_equal(bl_driver_fence(&j->driver), BL_DRIVER_OK);
  if (!bl_signature_run(j->program, &j->made.graph, step, j->expected[step->layer], &signature)) {
    assert_true(step->partial);
    return;
  }
  if (signature != literal(j, &d))
    fail_msg("seed %llu case %u (%s) layer %u part %u: signature %08x, literally %08x",
             (unsigned long long)seed, number, c->name, step->layer, step->part, signature,
             literal(j, &d));
  if (j->answered > 0) assert_int_equal(signature, j->answer);
}

// Another value of the first channel of the first pixel, which the first part writes.
static void check_change(job *j, const bl_step *step) {
  uint32_t before, after, tensor = j->made.graph.layers[step->layer].output;
  int32_t *value = &j->expected[step->layer][0], was = *value;
  const bl_program *p = j->program;
  (void)bl_signature_run(p, &j->made.graph, step, j->expected[step->layer], &before);
  *value = j->made.graph.tensors[tensor].format.kind == BL_FORMAT_B ? -was : was ^ 1;
  (void)bl_signature_run(p, &j->made.graph, step, j->expected[step->layer], &after);
  *value = was;
  assert_int_not_equal(before, after);
}

static void run_steps(job *j, uint32_t number) {
  const bl_program *p = j->program;
  bl_error err = {0};
  j->store = take(p->store_bytes / 4, sizeof *j->store);
  j->memory = take(j->made.config->act_depth, j->made.config->lanes / 8);
  assert_int_equal(
      bl_program_pack_input(p, &j->made.graph, j->made.inputs, p->images, j->store, &err), BL_OK);
  const bl_step *first = &p->first_load;
  if (p->ahead)
    assert_int_equal(bl_driver_request(&j->driver, first->opcode, first->address, first->argument,
                                       j->store, first->bytes, NULL, 0, NULL),
                     BL_DRIVER_OK);
  for (uint32_t i = 0; i < p->setup_count + p->batch_count; i++) {
    const bl_step *s = i < p->setup_count ? &p->setup[i] : &p->batch[i - p->setup_count];
    uint32_t *stored = s->stored ? j->store + s->store_offset / 4 : NULL;
    const bool load = s->opcode == BL_OP_LOAD_ACTIVATIONS;
    assert_int_equal(bl_driver_request(&j->driver, s->opcode, s->address, s->argument,
                                       load ? stored : s->payload, s->bytes, stored,
                                       stored == NULL ? 0 : bl_program_answer_words(s), NULL),
                     BL_DRIVER_OK);
    if (s->opcode == BL_OP_FENCE) assert_int_equal(bl_driver_fence(&j->driver), BL_DRIVER_OK);
    if (s->opcode == BL_OP_RUN) check_run(j, number, s);
    if (s->opcode == BL_OP_RUN && s->part == 0 && !s->partial) check_change(j, s);
  }
  assert_int_equal(bl_driver_fence(&j->driver), BL_DRIVER_OK);
}

static void run_one(uint32_t number, bool network, uint32_t *runs, uint32_t *answered) {
  job j = {0};
  draw(&j, number, network);
  run_reference(&j);
  bl_functional *device = bl_functional_open(j.made.config, BL_POPCOUNT_BEST);
  assert_non_null(device);
  bl_driver_open(&j.driver, &bl_functional_transport, device, PATIENCE);
  j.driver.listener = listen;
  j.driver.listener_context = &j;
  run_steps(&j, number);
  *runs += j.runs;
  *answered += j.answered;
  bl_functional_close(device);
  for (uint32_t l = 0; l < j.made.graph.layer_count; l++)
    free(j.expected[l]);
  free(j.expected);
  free(j.store);
  free(j.memory);
  bl_program_free(j.program);
  bl_random_free(&j.made);
}

static void literally(void **state) {
  (void)state;
  uint32_t runs = 0, answered = 0;
  for (uint32_t number = 0; number < NETWORKS; number++)
    run_one(number, true, &runs, &answered);
  for (uint32_t number = 0; number < LAYERS; number++)
    run_one(number, false, &runs, &answered);
  printf("seed %llu: %u runs, %u answered with their signature\n", (unsigned long long)seed, runs,
         answered);
  assert_true(runs > NETWORKS * 2);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(by_hand), cmocka_unit_test(literally)};
  const char *text = getenv("BITLOOM_SEED");
  if (text != NULL) seed = strtoull(text, NULL, 0);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
