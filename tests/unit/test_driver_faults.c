// SPDX-License-Identifier: Apache-2.0
// The driver and the functional device over a transport made to misbehave, step by step: stalls, a
// device that takes nothing while its answers are not fetched, a failure at every call in turn, a
// flipped bit in every answer word, a packet cut at every place. test_driver.c has the driver
// alone.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "sim/functional_device.h"

static uint64_t seed;

static uint32_t next_random(void) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(seed >> 33);
}

enum { ANSWER_ROOM = 1 << 17 };

typedef struct {
  bl_functional *device;
  bool stalls;         // move a random part, often nothing
  uint32_t held_limit; // not 0: takes words only while fewer answer words than this wait
  int64_t fail_at;     // call that fails; -1: none
  int64_t flip_at;     // answer word that arrives with a bit flipped; -1: none
  int64_t cut_at;      // request word after which nothing more is passed on; -1: none
  int64_t calls, taken, answered;
  uint32_t held[ANSWER_ROOM];
  uint32_t held_first, held_count;
} mock;

static bool fails(mock *m) {
  return m->calls++ == m->fail_at;
}

// Moves what the device has to say into the mock's queue, of limited size where the test wants.
static void fetch(mock *m) {
  uint32_t room = m->held_limit != 0 ? m->held_limit : ANSWER_ROOM / 2;
  if (m->held_count >= room || m->device == NULL) return;
  if (m->held_count == 0) m->held_first = 0;
  uint32_t *to = m->held + m->held_first + m->held_count;
  int32_t n = bl_functional_transport.read(m->device, to, room - m->held_count);
  assert_true(n >= 0);
  m->held_count += (uint32_t)n;
}

static int32_t mock_write(void *context, const uint32_t *words, uint32_t count) {
  mock *m = context;
  if (fails(m)) return -1;
  fetch(m);
  if ((m->held_limit != 0 && m->held_count >= m->held_limit)) return 0;
  if (m->stalls) count = next_random() % 3 == 0 ? next_random() % (count + 1) : 0;
  if (m->held_limit != 0 && count > 7) count = 7;
  uint32_t pass = count;
  if (m->cut_at >= 0 && m->taken + pass > m->cut_at)
    pass = m->taken < m->cut_at ? (uint32_t)(m->cut_at - m->taken) : 0;
  m->taken += count;
  if (m->device == NULL) return (int32_t)count;
  for (uint32_t done = 0; done < pass;) {
    int32_t n = bl_functional_transport.write(m->device, words + done, pass - done);
    assert_true(n > 0);
    done += (uint32_t)n;
  }
  return (int32_t)count;
}

static int32_t mock_read(void *context, uint32_t *words, uint32_t count) {
  mock *m = context;
  if (fails(m)) return -1;
  fetch(m);
  if (count > m->held_count) count = m->held_count;
  if (m->stalls) count = next_random() % 3 == 0 ? next_random() % (count + 1) : 0;
  for (uint32_t k = 0; k < count; k++) {
    words[k] = m->held[m->held_first++];
    if (m->answered++ == m->flip_at) words[k] ^= 1u << next_random() % 32;
  }
  m->held_count -= count;
  return (int32_t)count;
}

static int32_t mock_wait(void *context) {
  mock *m = context;
  if (fails(m)) return -1;
  return bl_functional_transport.wait(m->device);
}

static const bl_transport mock_transport = {mock_write, mock_read, mock_wait, NULL, NULL};
static const bl_config *const config = &BL_CONFIGS[BL_CONFIG_TINY];

static mock *new_mock(void) {
  mock *m = calloc(1, sizeof *m);
  assert_non_null(m);
  m->device = bl_functional_open(config, BL_POPCOUNT_PLAIN);
  assert_non_null(m->device);
  m->fail_at = m->flip_at = m->cut_at = -1;
  return m;
}

static void drop(mock *m) {
  bl_functional_close(m->device);
  free(m);
}

static void open_driver(bl_driver *d, mock *m) {
  assert_int_equal(bl_driver_open(d, &mock_transport, m, 200), BL_DRIVER_OK);
}

enum { REGION = 600 };

// Loads random words, reads them back in many overlapping SENDs, fetches counters: more answers
// under way than the driver's table holds. Gives the first failure.
static bl_driver_result converse(bl_driver *d) {
  uint32_t out[REGION / 2], back[40][32];
  uint64_t counters[BL_COUNTER_COUNT];
  for (uint32_t k = 0; k < REGION / 2; k++)
    out[k] = next_random() * 2654435761u;
  bl_driver_result r = bl_driver_identify(d, config, NULL);
  if (r == BL_DRIVER_OK)
    r = bl_driver_request(d, BL_OP_LOAD_ACTIVATIONS, 0, 2u << 24, out, REGION * 2, NULL, 0, NULL);
  if (r == BL_DRIVER_OK) r = bl_driver_fence(d);
  for (uint32_t k = 0; r == BL_DRIVER_OK && k < 40; k++)
    r = bl_driver_request(d, BL_OP_SEND, 2 * k, 2u << 24 | 64, NULL, 0, back[k], 32, NULL);
  if (r == BL_DRIVER_OK) r = bl_driver_counters(d, counters, true);
  if (r != BL_DRIVER_OK) return r;
  for (uint32_t k = 0; k < 40; k++)
    assert_memory_equal(back[k], out + k, sizeof back[k]);
  return BL_DRIVER_OK;
}

static void plain(void **state) {
  (void)state;
  bl_driver d;
  mock *m = new_mock();
  open_driver(&d, m);
  assert_int_equal(converse(&d), BL_DRIVER_OK);
  drop(m);
}

static void stalled(void **state) {
  (void)state;
  for (int round = 0; round < 50; round++) {
    bl_driver d;
    mock *m = new_mock();
    m->stalls = true;
    open_driver(&d, m);
    assert_int_equal(converse(&d), BL_DRIVER_OK);
    drop(m);
  }
}

// A device that stops taking requests until its answers are fetched: a driver that only writes
// would wait for ever.
static void one_direction(void **state) {
  (void)state;
  for (uint32_t limit = 1; limit < 40; limit += 3) {
    bl_driver d;
    mock *m = new_mock();
    m->held_limit = limit;
    open_driver(&d, m);
    assert_int_equal(converse(&d), BL_DRIVER_OK);
    drop(m);
  }
}

// The transport fails at call 0, 1, 2, ...: always TRANSPORT, until there are no more calls.
static void failing_calls(void **state) {
  (void)state;
  bl_driver_result r = BL_DRIVER_TRANSPORT;
  int64_t at = 0;
  for (; r != BL_DRIVER_OK; at++) {
    bl_driver d;
    mock *m = new_mock();
    m->fail_at = at;
    open_driver(&d, m);
    r = converse(&d);
    assert_true(r == BL_DRIVER_OK || r == BL_DRIVER_TRANSPORT);
    drop(m);
    assert_true(at < 5000);
  }
  printf("%lld calls failed one by one\n", (long long)at - 1);
}

// One flipped bit in each of the first answer words: never taken for sound data.
static void damaged_answers(void **state) {
  (void)state;
  for (int64_t at = 0; at < 120; at += 3) {
    bl_driver d;
    mock *m = new_mock();
    m->flip_at = at;
    open_driver(&d, m);
    bl_driver_result r = converse(&d);
    if (r != BL_DRIVER_BAD_ANSWER) fail_msg("word %d: %s", (int)at, bl_driver_result_text(r));
    m->flip_at = -1;
    assert_int_equal(bl_driver_reset(&d), BL_DRIVER_OK);
    assert_int_equal(converse(&d), BL_DRIVER_OK);
    drop(m);
  }
}

// The link loses everything after some word of a packet; reset brings the device back.
static void cut_short(void **state) {
  (void)state;
  for (int64_t at = 1; at < 200; at += 9) {
    bl_driver d;
    mock *m = new_mock();
    m->cut_at = at;
    open_driver(&d, m);
    assert_int_equal(converse(&d), BL_DRIVER_TIMEOUT);
    m->cut_at = -1;
    assert_int_equal(bl_driver_reset(&d), BL_DRIVER_OK);
    assert_int_equal(converse(&d), BL_DRIVER_OK);
    drop(m);
  }
}

// A payload larger than the room that the caller gave is never written there.
static void small_destination(void **state) {
  (void)state;
  bl_driver d;
  mock *m = new_mock();
  open_driver(&d, m);
  uint32_t room[4] = {7, 7, 7, 7};
  (void)bl_driver_request(&d, BL_OP_SEND, 0, 2u << 24 | 64, NULL, 0, room, 3, NULL);
  assert_int_equal(bl_driver_fence(&d), BL_DRIVER_BAD_ANSWER);
  assert_int_equal(room[3], 7);
  drop(m);
}

int main(void) {
  const char *text = getenv("BITLOOM_SEED");
  seed = text != NULL ? strtoull(text, NULL, 0) : (uint64_t)time(NULL);
  printf("seed %llu (repeat with BITLOOM_SEED)\n", (unsigned long long)seed);
  const struct CMUnitTest tests[] = {cmocka_unit_test(plain),
                                     cmocka_unit_test(stalled),
                                     cmocka_unit_test(one_direction),
                                     cmocka_unit_test(failing_calls),
                                     cmocka_unit_test(damaged_answers),
                                     cmocka_unit_test(cut_short),
                                     cmocka_unit_test(small_destination)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
