// SPDX-License-Identifier: Apache-2.0
// Work spread over processes: parts cover everything once, results come in part order, a failing
// or dying process is an error of its own and leaves none behind.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/run/shard.h"

static void parts_cover_everything(void **state) {
  (void)state;
  for (size_t count = 0; count < 40; count++)
    for (size_t unit = 1; unit < 9; unit += 3)
      for (uint32_t shards = 1; shards < 8; shards++) {
        size_t next = 0;
        for (uint32_t i = 0; i < shards; i++) {
          size_t first, size = bl_shard_part(count, unit, shards, i, &first);
          assert_int_equal(first, next);
          assert_true(first % unit == 0 || first == count);
          next += size;
        }
        assert_int_equal(next, count);
      }
}

typedef struct {
  uint32_t shard;
  pid_t pid;
  uint64_t square;
} part;

static bl_status square(void *context, uint32_t shard, void *result, bl_shard_tick *tick,
                        bl_error *err) {
  (void)err;
  struct timespec pause = {.tv_nsec = 1000000L * (5 - (long)shard)};
  (void)nanosleep(&pause, NULL);
  uint64_t base = *(const uint64_t *)context + shard;
  *(part *)result = (part){shard, getpid(), base * base};
  bl_shard_done(tick, 1);
  return BL_OK;
}

static void results_in_order(void **state) {
  (void)state;
  uint64_t base = 100;
  for (uint32_t shards = 1; shards <= 5; shards += 2) {
    part parts[5];
    bl_error err = {0};
    assert_int_equal(
        bl_shard_run(shards, square, &base, parts, sizeof parts[0], shards, (bl_progress){0}, &err),
        BL_OK);
    for (uint32_t i = 0; i < shards; i++) {
      assert_int_equal(parts[i].shard, i);
      assert_int_equal(parts[i].square, (100 + i) * (100 + i));
      assert_int_equal(parts[i].pid == getpid(), shards == 1);
    }
  }
}

static void count_steps(void *user, size_t done, size_t total) {
  assert_true(done <= total);
  (*(size_t *)user)++;
}

static bl_status spoil(void *context, uint32_t shard, void *result, bl_shard_tick *tick,
                       bl_error *err) {
  (void)result;
  (void)tick;
  if (shard != 1) {
    (void)sleep(20); // must be ended, not waited for
    return BL_OK;
  }
  if (strcmp(context, "die") == 0) abort();
  return bl_fail(err, BL_ERR_MISMATCH, "layer %d differs", 7);
}

static void failures(void **state) {
  (void)state;
  char out[3];
  bl_error err = {0};
  char fail[] = "fail", die[] = "die";
  time_t start = time(NULL);
  assert_int_equal(bl_shard_run(3, spoil, fail, out, 1, 0, (bl_progress){0}, &err),
                   BL_ERR_MISMATCH);
  assert_string_equal(err.text, "layer 7 differs");
  assert_int_equal(bl_shard_run(3, spoil, die, out, 1, 0, (bl_progress){0}, &err), BL_ERR_DEVICE);
  assert_int_equal(bl_shard_run(0, spoil, die, out, 1, 0, (bl_progress){0}, &err), BL_ERR_RANGE);
  assert_int_equal(bl_shard_run(65, spoil, die, out, 1, 0, (bl_progress){0}, &err), BL_ERR_RANGE);
  assert_true(time(NULL) - start < 15);
  assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); // nobody left
}

static void progress_is_told(void **state) {
  (void)state;
  uint64_t base = 1;
  size_t steps = 0;
  part parts[1];
  bl_error err = {0};
  assert_int_equal(bl_shard_run(1, square, &base, parts, sizeof parts[0], 1,
                                (bl_progress){count_steps, &steps}, &err),
                   BL_OK);
  assert_int_equal(steps, 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(parts_cover_everything),
      cmocka_unit_test(results_in_order),
      cmocka_unit_test(progress_is_told),
      cmocka_unit_test(failures),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
