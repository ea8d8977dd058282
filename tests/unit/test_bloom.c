// SPDX-License-Identifier: Apache-2.0
// Compiled files: what is saved loads back the same and runs the same; damaged files are refused,
// with their checksums wrong and with them put right. Both forms, plain and coded.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <zlib.h>

#include "host/base/file.h"
#include "host/compile/bloom.h"
#include "sim/functional_device.h"
#include "tests/regress/random_graph.h"
#include "tests/regress/run_case.h"

enum { NETWORKS = 24, FLIPS = 400, HEADER = 32, SECTION = 20 };

static const bl_bloom_info info = {
    .preprocess = {.scale = 0.5, .channels = 1, .mean = {1}, .std = {2}, .input_mul = 1},
    .suffix = BL_SUFFIX_SOFTMAX,
    .float_accuracy = 0.75,
    .float_bytes = 1234,
};

static uint64_t seed(void) {
  const char *text = getenv("BITLOOM_SEED");
  return text == NULL ? 1 : strtoull(text, NULL, 0);
}

typedef struct {
  bl_random_case made;
  bl_program *program;
  uint8_t *bytes;
  size_t size;
} saved;

// The plain form, or the coded one where *state is not NULL.
static void save(void **state, uint32_t number, saved *s) {
  bl_error err = {0};
  uint32_t allowed = BL_RANDOM_ALL;
  for (uint32_t attempt = 0;; attempt++) {
    assert_true(attempt < 20 && bl_random_network(seed(), number, attempt, allowed, &s->made));
    bl_compile_options options = {s->made.config, s->made.images};
    if (bl_compile(&s->made.graph, &options, &s->program, &err) == BL_OK) break;
    allowed &= ~s->made.features;
    bl_random_free(&s->made);
  }
  char path[] = "/tmp/bitloom_bloom_XXXXXX";
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  close(fd);
  bl_status status = *state == NULL
                         ? bl_bloom_save(path, &s->made.graph, s->program, &info, &err)
                         : bl_bloom_save_coded(path, &s->made.graph, s->program, &info, &err);
  if (status != BL_OK) fail_msg("%s", err.text);
  assert_int_equal(bl_file_read(path, 1 << 28, &s->bytes, &s->size, &err), BL_OK);
  unlink(path);
}

static void drop(saved *s) {
  bl_program_free(s->program);
  bl_random_free(&s->made);
  free(s->bytes);
}

static void same_steps(const bl_step *a, const bl_step *b, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    assert_int_equal(a[i].opcode, b[i].opcode);
    assert_int_equal(a[i].address, b[i].address);
    assert_int_equal(a[i].argument, b[i].argument);
    assert_int_equal(a[i].bytes, b[i].bytes);
    assert_int_equal(a[i].layer, b[i].layer);
    assert_int_equal(a[i].last_part, b[i].last_part);
    if (a[i].payload != NULL) assert_memory_equal(a[i].payload, b[i].payload, a[i].bytes);
  }
}

static void same_program(const bl_program *a, const bl_program *b) {
  assert_int_equal(a->images, b->images);
  assert_int_equal(a->output, b->output);
  assert_int_equal(a->setup_count, b->setup_count);
  assert_int_equal(a->batch_count, b->batch_count);
  same_steps(a->setup, b->setup, a->setup_count);
  same_steps(a->batch, b->batch, a->batch_count);
  assert_memory_equal(a->regions, b->regions, a->tensor_count * sizeof *a->regions);
  assert_memory_equal(&a->input, &b->input, sizeof a->input);
  assert_int_equal(a->stage_count, b->stage_count);
  assert_int_equal(a->store_bytes, b->store_bytes);
  assert_int_equal(a->output_offset, b->output_offset);
  assert_memory_equal(a->layer_issue, b->layer_issue, (a->tensor_count - 1) * sizeof(uint64_t));
  assert_memory_equal(a->layer_parts, b->layer_parts, (a->tensor_count - 1) * sizeof(uint32_t));
  assert_true(a->figures.weight_bytes == b->figures.weight_bytes);
  assert_true(a->figures.streamed_bytes == b->figures.streamed_bytes);
  assert_true(a->figures.issue_steps == b->figures.issue_steps);
  assert_memory_equal(a->figures.used, b->figures.used, sizeof a->figures.used);
  assert_memory_equal(a->figures.resident, b->figures.resident, sizeof a->figures.resident);
}

// The loaded graph and program against the graph that was saved, on the functional device.
static void same_results(const saved *s, const bl_bloom *bloom) {
  bl_driver driver;
  bl_case_result result;
  char text[BL_CASE_TEXT];
  bl_functional *device = bl_functional_open(&bloom->program->config, BL_POPCOUNT_BEST);
  assert_non_null(device);
  bl_driver_open(&driver, &bl_functional_transport, device, 1000);
  bool ok = bl_run_case(&driver, &s->made.graph, bloom->program, s->made.inputs,
                        bloom->program->images, 1, &result, text);
  bl_functional_close(device);
  if (!ok) fail_msg("%s", text);
  assert_true(result.compared > 0 && result.differing == 0);
}

static void comes_back(void **state) {
  printf("seed %llu\n", (unsigned long long)seed());
  for (uint32_t number = 0; number < NETWORKS; number++) {
    saved s;
    bl_bloom bloom;
    bl_error err = {0};
    save(state, number, &s);
    if (bl_bloom_parse("test", s.bytes, s.size, &bloom, &err) != BL_OK) fail_msg("%s", err.text);
    same_program(s.program, bloom.program);
    assert_int_equal(bloom.info.suffix, BL_SUFFIX_SOFTMAX);
    assert_true(bloom.info.preprocess.std[0] == 2.0 && bloom.info.float_accuracy == 0.75);
    assert_true(bloom.file_bytes == s.size);
    same_results(&s, &bloom);
    bl_bloom_free(&bloom);
    drop(&s);
  }
}

static void put32(uint8_t *at, uint32_t value) {
  for (int i = 0; i < 4; i++)
    at[i] = (uint8_t)(value >> (8 * i));
}

static uint32_t get32(const uint8_t *at) {
  return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

// Puts every checksum right again, as far as the sections can still be found.
static void mend(uint8_t *bytes, size_t size) {
  put32(bytes + HEADER - 4, (uint32_t)crc32_z(0, bytes, HEADER - 4));
  for (size_t at = HEADER; at + SECTION <= size;) {
    size_t length = get32(bytes + at + 4);
    if (length > size - at - SECTION) return;
    put32(bytes + at + 12, (uint32_t)crc32_z(0, bytes + at + SECTION, length));
    put32(bytes + at + 16, (uint32_t)crc32_z(0, bytes + at, 16));
    at += SECTION + length;
  }
}

static void refused(const uint8_t *bytes, size_t size, const char *what) {
  bl_bloom bloom;
  bl_error err = {0};
  if (bl_bloom_parse("test", bytes, size, &bloom, &err) == BL_OK) fail_msg("%s was loaded", what);
  assert_true(err.text[0] != '\0' && bloom.program == NULL && bloom.arena == NULL);
}

static void truncated(void **state) {
  saved s;
  bl_rng rng = {seed()};
  save(state, 3, &s);
  for (uint32_t i = 0; i < FLIPS; i++) {
    size_t size = i < 64 ? i : bl_rng_range(&rng, 0, (uint32_t)s.size - 1);
    uint8_t *copy = malloc(size + 1); // as long as the file, so that a sanitizer sees each overrun
    assert_non_null(copy);
    memcpy(copy, s.bytes, size);
    refused(copy, size, "a file cut short");
    free(copy);
  }
  drop(&s);
}

static void flipped(void **state) {
  bl_rng rng = {seed() + 1};
  for (uint32_t number = 0; number < 6; number++) {
    saved s;
    save(state, number, &s);
    for (uint32_t i = 0; i < FLIPS / 4; i++) {
      size_t at = bl_rng_range(&rng, 0, (uint32_t)s.size - 1);
      uint8_t bit = (uint8_t)(1u << bl_rng_range(&rng, 0, 7));
      s.bytes[at] ^= bit;
      refused(s.bytes, s.size, "a flipped bit");
      s.bytes[at] ^= bit;
    }
    drop(&s);
  }
}

// With the checksums mended a flip may leave a sound file (a name, a scale): then it must also run
// like its own graph; everything else is refused.
static void loads_only_sound(const uint8_t *bytes, size_t size, uint32_t *loaded) {
  bl_bloom bloom;
  bl_error err = {0};
  if (bl_bloom_parse("test", bytes, size, &bloom, &err) != BL_OK) {
    assert_true(err.text[0] != '\0' && bloom.program == NULL);
    return;
  }
  ++*loaded;
  const bl_int_tensor *input = &bloom.graph->tensors[0];
  size_t count = bl_int_elements(input) * bloom.program->images;
  int32_t *in = calloc(count, sizeof *in);
  assert_non_null(in);
  for (size_t i = 0; i < count; i++)
    in[i] = bl_format_max(input->format);
  bl_driver driver;
  bl_case_result result;
  char text[BL_CASE_TEXT];
  bl_functional *device = bl_functional_open(&bloom.program->config, BL_POPCOUNT_BEST);
  assert_non_null(device);
  bl_driver_open(&driver, &bl_functional_transport, device, 1000);
  if (!bl_run_case(&driver, bloom.graph, bloom.program, in, bloom.program->images, 1, &result,
                   text))
    fail_msg("%s", text);
  assert_true(result.differing == 0);
  bl_functional_close(device);
  free(in);
  bl_bloom_free(&bloom);
}

static void flipped_and_mended(void **state) {
  uint32_t loaded = 0, tried = 0;
  bl_rng rng = {seed() + 2};
  for (uint32_t number = 0; number < 8; number++) {
    saved s;
    save(state, number, &s);
    for (uint32_t i = 0; i < FLIPS; i++, tried++) {
      uint8_t *copy = malloc(s.size);
      assert_non_null(copy);
      memcpy(copy, s.bytes, s.size);
      for (uint32_t n = bl_rng_range(&rng, 1, 3); n > 0; n--)
        copy[bl_rng_range(&rng, 0, (uint32_t)s.size - 1)] ^=
            (uint8_t)(1u << bl_rng_range(&rng, 0, 7));
      mend(copy, s.size);
      loads_only_sound(copy, s.size, &loaded);
      free(copy);
    }
    drop(&s);
  }
  printf("%u of %u mended files were still sound\n", loaded, tried);
}

// Accumulator bits are a configuration's; a file with others, all checksums right, is refused.
static void other_accumulators(void **state) {
  saved s;
  save(state, 0, &s);
  const bl_config *config = s.made.config;
  size_t at = HEADER;
  for (int section = 1; section < 3; section++) // the third is the program
    at += SECTION + get32(s.bytes + at + 4);
  at += SECTION + 4 + 2 + strlen(config->name) + 3 * 4; // batch, name, rows, cols, lanes
  assert_int_equal(get32(s.bytes + at), config->acc_w);
  static const uint32_t others[] = {0, 15, 16, 25, 32, 33, UINT32_MAX};
  for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
    put32(s.bytes + at, others[i]);
    mend(s.bytes, s.size);
    refused(s.bytes, s.size, "a file with other accumulators");
  }
  put32(s.bytes + at, config->acc_w);
  mend(s.bytes, s.size);
  bl_bloom bloom;
  bl_error err = {0};
  if (bl_bloom_parse("test", s.bytes, s.size, &bloom, &err) != BL_OK) fail_msg("%s", err.text);
  bl_bloom_free(&bloom);
  drop(&s);
}

int main(void) {
  static bool coded = true;
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(comes_back),
      cmocka_unit_test(truncated),
      cmocka_unit_test(flipped),
      cmocka_unit_test(flipped_and_mended),
      cmocka_unit_test_prestate(comes_back, &coded),
      cmocka_unit_test_prestate(truncated, &coded),
      cmocka_unit_test_prestate(flipped, &coded),
      cmocka_unit_test_prestate(flipped_and_mended, &coded),
      cmocka_unit_test(other_accumulators),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
