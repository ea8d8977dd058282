// SPDX-License-Identifier: Apache-2.0
// The driver against a mock transport: exact words in exact order, both sides stalling at random,
// devices that go silent, lie or refuse, resets with and without registers. CRCs are zlib's, so
// that no expected word comes from the driver. BITLOOM_SEED repeats a run.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>

#include "drivers/bl_driver.h"

enum { LOG_WORDS = 1 << 16, OUT_WORDS = 1 << 16, PATIENCE = 50, IDENTITY = 15 };

static unsigned long seed = 1;

// A device that takes packets to pieces with its own few lines and answers what a test tells it to.
typedef struct {
  uint64_t random;
  bool stalls;        // moves a random number of words, often none
  uint32_t run_bytes; // of the answer to a RUN
  bool stubborn;      // accepts nothing while an answer of its own is unread
  uint32_t lifetime;  // words it accepts before it goes silent
  uint8_t status;     // of the answer to the request with refused_opcode
  uint8_t refused_opcode;
  uint32_t flip; // bit of the answer stream that is turned over; UINT32_MAX: none
  uint32_t log[LOG_WORDS], logged;
  uint32_t header[5], header_have, payload_left;
  uint32_t out[OUT_WORDS], out_have, out_taken;
  uint32_t waits, calls;
  uint32_t registers[8][2], register_writes;
  int32_t broken_write, broken_read, broken_wait; // what they return instead, when not 0
} mock;

static mock device;

static uint32_t draw(uint32_t limit) {
  device.random = device.random * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(device.random >> 33) % limit;
}

static uint32_t crc(const uint32_t *words, uint32_t count) {
  return (uint32_t)crc32(0, (const Bytef *)words, (uInt)(4 * count));
}

static void put(uint32_t word) {
  assert_true(device.out_have < OUT_WORDS);
  if (device.flip / 32 == device.out_have) word ^= 1u << (device.flip % 32);
  device.out[device.out_have++] = word;
}

static void put_answer(uint32_t first, uint32_t bytes, uint32_t status, uint32_t info) {
  const uint32_t words[4] = {0xB8000000u | (first & 0xFFFFFF), bytes, status, info};
  for (int i = 0; i < 4; i++)
    put(words[i]);
  put(crc(words, 4));
}

// The word at index i of the region that a SEND asks for.
static uint32_t region_word(uint32_t address, uint32_t i) {
  return (address + i) * 2654435761u;
}

static uint32_t payload_word(uint8_t opcode, uint32_t i) {
  static const uint32_t identity[IDENTITY] = {0x424C4F4D, 3,   8,   8,     32,   26,   6144, 256,
                                              4096,       512, 256, 16384, 1024, 2048, 2};
  if (opcode == 0x01) return identity[i];
  if (opcode == 0x04) return i % 2 == 0 ? 100 + i : i;
  return region_word(device.header[2], i);
}

static void answer_request(void) {
  uint8_t opcode = (uint8_t)(device.header[0] >> 16);
  if (opcode == device.refused_opcode && device.status != 0) {
    put_answer(device.header[0], 0, device.status, 0x1234);
    return;
  }
  if (opcode >= 0x10 && opcode <= 0x18) return;
  uint32_t bytes = 0;
  if (opcode == 0x01) bytes = IDENTITY * 4;
  if (opcode == 0x04) bytes = 9 * 8;
  if (opcode == 0x20) bytes = device.run_bytes;
  if (opcode == 0x21) bytes = (device.header[3] & 0xFFFFFF) * 4;
  put_answer(device.header[0], bytes, 0, opcode == 0x20 ? 77 : 0);
  uint32_t words[4096];
  for (uint32_t i = 0; i < bytes / 4; i++)
    put(words[i] = payload_word(opcode, i));
  if (bytes > 0) put(crc(words, bytes / 4));
}

// Magic and CRC decide; a header that is not sound moves on by one word, as the real ones do.
static void take(uint32_t word) {
  if (device.logged < LOG_WORDS) device.log[device.logged++] = word;
  if (device.payload_left > 0) {
    if (--device.payload_left == 0) answer_request();
    return;
  }
  device.header[device.header_have++] = word;
  if (device.header_have < 5) return;
  if (device.header[0] >> 24 != 0xB7 || crc(device.header, 4) != device.header[4]) {
    memmove(device.header, device.header + 1, 16);
    device.header_have = 4;
    return;
  }
  device.header_have = 0;
  device.payload_left = device.header[1] > 0 ? (device.header[1] + 3) / 4 + 1 : 0;
  if (device.payload_left == 0) answer_request();
}

static uint32_t share(uint32_t count) {
  if (!device.stalls) return count;
  uint32_t now = draw(3) == 0 ? draw(40) : 0;
  return now < count ? now : count;
}

static int32_t mock_write(void *context, const uint32_t *words, uint32_t count) {
  assert_ptr_equal(context, &device);
  device.calls++;
  if (device.broken_write != 0) return device.broken_write;
  uint32_t left = share(count), taken = 0;
  for (; taken < left; taken++) {
    if (device.lifetime == 0) break;
    if (device.stubborn && device.out_taken < device.out_have) break;
    device.lifetime--;
    take(words[taken]);
  }
  return (int32_t)taken;
}

static int32_t mock_read(void *context, uint32_t *words, uint32_t count) {
  assert_ptr_equal(context, &device);
  device.calls++;
  if (device.broken_read != 0) return device.broken_read;
  uint32_t left = device.out_have - device.out_taken, now = share(count < left ? count : left);
  if (device.lifetime == 0) now = 0;
  memcpy(words, device.out + device.out_taken, now * 4);
  device.out_taken += now;
  if (device.out_taken == device.out_have && device.flip == UINT32_MAX)
    device.out_taken = device.out_have = 0;
  return (int32_t)now;
}

static int32_t mock_wait(void *context) {
  assert_ptr_equal(context, &device);
  device.waits++;
  return device.broken_wait;
}

static int32_t mock_reg_read(void *context, uint32_t offset, uint32_t *value) {
  assert_ptr_equal(context, &device);
  *value = offset;
  return 0;
}

static int32_t mock_reg_write(void *context, uint32_t offset, uint32_t value) {
  assert_ptr_equal(context, &device);
  assert_true(device.register_writes < 8);
  device.registers[device.register_writes][0] = offset;
  device.registers[device.register_writes++][1] = value;
  device.header_have = device.payload_left = device.out_have = device.out_taken = 0;
  device.lifetime = UINT32_MAX;
  return 0;
}

static const bl_transport plain = {mock_write, mock_read, mock_wait, NULL, NULL};
static const bl_transport with_registers = {mock_write, mock_read, mock_wait, mock_reg_read,
                                            mock_reg_write};

static void start(bl_driver *driver, const bl_transport *transport) {
  uint64_t random = device.random;
  memset(&device, 0, sizeof device);
  device.random = random;
  device.lifetime = device.flip = UINT32_MAX;
  device.run_bytes = 4;
  assert_int_equal(bl_driver_open(driver, transport, &device, PATIENCE), BL_DRIVER_OK);
}

static bl_driver_result send_region(bl_driver *driver, uint32_t address, uint32_t count,
                                    uint32_t *to) {
  return bl_driver_request(driver, BL_OP_SEND, address, 4u << 24 | count, NULL, 0, to, count, NULL);
}

// ---- What goes out
// ---------------------------------------------------------------------------------

static void exact_words(void **state) {
  (void)state;
  static bl_driver driver;
  start(&driver, &plain);
  const uint32_t payload[3] = {0x03020100, 0x07060504, 0xAB000908};
  uint16_t tag = 0;
  assert_int_equal(device.logged, 0);
  assert_int_equal(
      bl_driver_request(&driver, BL_OP_LOAD_K_LIST, 0x55, 0, payload, 10, NULL, 0, &tag),
      BL_DRIVER_OK);
  assert_int_equal(tag, 1);
  assert_int_equal(bl_driver_fence(&driver), BL_DRIVER_OK);
  const uint32_t first[4] = {0xB7120001, 10, 0x55, 0}, second[4] = {0xB7030002, 0, 0, 0};
  const uint32_t expected[14] = {
      0xB7120001, 10, 0x55, 0, crc(first, 4), payload[0], payload[1], payload[2], crc(payload, 3),
      0xB7030002, 0,  0,    0, crc(second, 4)};
  assert_int_equal(device.logged, 14);
  assert_memory_equal(device.log, expected, sizeof expected);
}

// Tag 0 is that of answers to damaged headers.
static void tags_skip_zero(void **state) {
  (void)state;
  static bl_driver driver;
  start(&driver, &plain);
  for (uint32_t i = 0; i < 65536 + 10; i++) {
    uint16_t tag = 0;
    assert_int_equal(bl_driver_request(&driver, BL_OP_RUN, 0, 0, NULL, 0, NULL, 0, &tag),
                     BL_DRIVER_OK);
    assert_int_equal(tag, i % 65535 + 1);
  }
}

static void crc_is_the_usual_one(void **state) {
  (void)state;
  static bl_driver driver;
  start(&driver, &plain);
  const uint32_t words[2] = {0x34333231, 0x38373635}; // "12345678", CRC-32 9AE0DAAF
  assert_int_equal(bl_driver_crc32(&driver, 0, words, 2), 0x9AE0DAAF);
  assert_int_equal(bl_driver_crc32(&driver, bl_driver_crc32(&driver, 0, words, 1), words + 1, 1),
                   0x9AE0DAAF);
}

static void arguments(void **state) {
  (void)state;
  static bl_driver driver;
  bl_transport lame = plain;
  lame.wait = NULL;
  assert_int_equal(bl_driver_open(&driver, &lame, &device, 1), BL_DRIVER_ARGUMENT);
  assert_int_equal(bl_driver_open(&driver, NULL, &device, 1), BL_DRIVER_ARGUMENT);
  assert_int_equal(bl_driver_open(NULL, &plain, &device, 1), BL_DRIVER_ARGUMENT);
  assert_int_equal(bl_driver_open(&driver, &plain, &device, 0), BL_DRIVER_ARGUMENT);
  start(&driver, &plain);
  uint32_t word = 0;
  assert_int_equal(bl_driver_request(&driver, BL_OP_RUN, 0, 0, NULL, 4, NULL, 0, NULL),
                   BL_DRIVER_ARGUMENT);
  assert_int_equal(
      bl_driver_request(&driver, BL_OP_LOAD_K_LIST, 0, 0, &word, 0xFFFFFD, NULL, 0, NULL),
      BL_DRIVER_ARGUMENT);
  assert_int_equal(device.calls, 0);
}

// ---- What comes back
// ---------------------------------------------------------------------------------

static void identity(void **state) {
  (void)state;
  static bl_driver driver;
  bl_config found;
  start(&driver, &plain);
  assert_int_equal(bl_driver_identify(&driver, &BL_CONFIGS[BL_CONFIG_DEFAULT], &found),
                   BL_DRIVER_OK);
  assert_int_equal(found.row_depth, 1024);
  for (size_t field = 0; field < 13; field++) {
    bl_config other = BL_CONFIGS[BL_CONFIG_DEFAULT];
    uint32_t *fields = &other.rows;
    fields[field]++;
    assert_int_equal(bl_driver_identify(&driver, &other, &found), BL_DRIVER_WRONG_DEVICE);
    assert_int_equal(found.act_depth, 16384);
  }
}

static void counters(void **state) {
  (void)state;
  static bl_driver driver;
  uint64_t values[BL_COUNTER_COUNT];
  start(&driver, &plain);
  assert_int_equal(bl_driver_counters(&driver, values, true), BL_DRIVER_OK);
  assert_int_equal(device.log[3], 1);
  for (uint64_t i = 0; i < BL_COUNTER_COUNT; i++)
    assert_true(values[i] == ((2 * i + 1) << 32 | (100 + 2 * i)));
}

typedef struct {
  uint32_t count;
  bl_answer last, run;
} heard;

static void listen(void *context, const bl_answer *answer) {
  heard *h = context;
  h->count++;
  h->last = *answer;
  if (answer->opcode == BL_OP_RUN) h->run = *answer;
}

static void errors_of_the_device(void **state) {
  (void)state;
  static const uint8_t opcodes[] = {BL_OP_RUN, BL_OP_LOAD_WEIGHTS, BL_OP_SEND};
  for (size_t i = 0; i < sizeof opcodes; i++) {
    static bl_driver driver;
    heard h = {0};
    uint32_t word = 0;
    start(&driver, &plain);
    driver.listener = listen;
    driver.listener_context = &h;
    device.refused_opcode = opcodes[i];
    device.status = BL_STATUS_POISONED;
    bl_driver_result result =
        bl_driver_request(&driver, opcodes[i], 0, 0, &word, 4, &word, 1, NULL);
    if (result == BL_DRIVER_OK) result = bl_driver_fence(&driver);
    assert_int_equal(result, BL_DRIVER_DEVICE);
    assert_int_equal(driver.failure.opcode, opcodes[i]);
    assert_int_equal(driver.failure.tag, 1);
    assert_int_equal(driver.failure.status, BL_STATUS_POISONED);
    assert_int_equal(driver.failure.info, 0x1234);
    assert_int_equal(h.count >= 1, 1);
    uint32_t sent = device.logged;
    assert_int_equal(bl_driver_request(&driver, BL_OP_RUN, 0, 0, NULL, 0, NULL, 0, NULL),
                     BL_DRIVER_DEVICE);
    assert_int_equal(device.logged, sent);
  }
}

// An awaited answer comes though a later request has failed; no request is sent for it.
static void awaiting(void **state) {
  (void)state;
  for (uint32_t round = 0; round < 200; round++) {
    static bl_driver driver;
    uint32_t first[40] = {0}, second[40] = {0};
    uint16_t tag, bad;
    start(&driver, &plain);
    driver.next_tag = (uint16_t)(0xFFFF - round % 4); // tags wrap round
    device.stalls = true;
    device.refused_opcode = BL_OP_RUN;
    device.status = BL_STATUS_DESCRIPTOR;
    assert_int_equal(send_region(&driver, round, 40, first), BL_DRIVER_OK);
    assert_int_equal(
        bl_driver_request(&driver, BL_OP_SEND, 7, 4u << 24 | 40, NULL, 0, second, 40, &tag),
        BL_DRIVER_OK);
    (void)bl_driver_request(&driver, BL_OP_RUN, 0, 0, NULL, 0, NULL, 0, &bad);
    const uint32_t sent = device.logged;
    assert_int_equal(bl_driver_await(&driver, tag), BL_DRIVER_OK);
    for (uint32_t i = 0; i < 40; i++) {
      assert_int_equal(first[i], region_word(round, i));
      assert_int_equal(second[i], region_word(7, i));
    }
    assert_int_equal(bl_driver_await(&driver, bad), BL_DRIVER_DEVICE);
    assert_int_equal(driver.failure.tag, bad);
    assert_int_equal(bl_driver_await(&driver, tag), BL_DRIVER_OK);
    assert_int_equal(device.logged, sent);
    assert_int_equal(bl_driver_fence(&driver), BL_DRIVER_DEVICE);
  }
}

// A device that never answers ends the wait, and an unsound answer does.
static void awaiting_in_vain(void **state) {
  (void)state;
  static bl_driver driver;
  uint32_t room[4];
  uint16_t tag;
  start(&driver, &plain);
  device.lifetime = 0;
  device.flip = 3;
  (void)bl_driver_request(&driver, BL_OP_SEND, 0, 4u << 24 | 4, NULL, 0, room, 4, &tag);
  assert_int_equal(bl_driver_await(&driver, tag), BL_DRIVER_TIMEOUT);
  start(&driver, &plain);
  device.stalls = true;
  device.flip = 3;
  (void)bl_driver_request(&driver, BL_OP_SEND, 0, 4u << 24 | 4, NULL, 0, room, 4, &tag);
  assert_int_equal(bl_driver_await(&driver, tag), BL_DRIVER_BAD_ANSWER);
  assert_int_equal(bl_driver_await(&driver, tag), BL_DRIVER_BAD_ANSWER);
}

// A run's payload is its signature, whatever destination the request names.
static void signatures(void **state) {
  (void)state;
  static const struct {
    uint32_t bytes;
    uint8_t status;
    bl_driver_result result;
  } cases[] = {{4, 0, BL_DRIVER_OK},
               {0, 0, BL_DRIVER_BAD_ANSWER},
               {3, 0, BL_DRIVER_BAD_ANSWER},
               {8, 0, BL_DRIVER_BAD_ANSWER},
               {0, BL_STATUS_FAULT, BL_DRIVER_DEVICE}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    static bl_driver driver;
    heard h = {0};
    uint32_t room[2] = {1, 2};
    start(&driver, &plain);
    driver.listener = listen;
    driver.listener_context = &h;
    device.run_bytes = cases[i].bytes;
    device.refused_opcode = BL_OP_RUN;
    device.status = cases[i].status;
    bl_driver_result result = bl_driver_request(&driver, BL_OP_RUN, 5, 0, NULL, 0, room, 2, NULL);
    if (result == BL_DRIVER_OK) result = bl_driver_fence(&driver);
    assert_int_equal(result, cases[i].result);
    assert_int_equal(room[0], 1);
    assert_int_equal(room[1], 2);
    if (result != BL_DRIVER_OK) continue;
    assert_int_equal(h.count, 2);
    assert_int_equal(h.run.signature, region_word(5, 0));
    assert_int_equal(h.last.signature, 0); // a fence has none
  }
}

// Whatever bit of an answer is wrong, the driver notices, and says so from then on.
static void flipped_bits(void **state) {
  (void)state;
  for (uint32_t bit = 0; bit < (5 + IDENTITY + 1) * 32; bit++) {
    static bl_driver driver;
    start(&driver, &plain);
    device.flip = bit;
    bl_driver_result result = bl_driver_identify(&driver, &BL_CONFIGS[BL_CONFIG_DEFAULT], NULL);
    assert_int_equal(result, BL_DRIVER_BAD_ANSWER);
    uint32_t calls = device.calls;
    assert_int_equal(bl_driver_fence(&driver), BL_DRIVER_BAD_ANSWER);
    assert_int_equal(device.calls, calls);
  }
}

static void unasked_answers(void **state) {
  (void)state;
  static bl_driver driver;
  uint32_t room[8];
  start(&driver, &plain);
  put_answer(0x210009, 0, 0, 0); // of a SEND that nobody made
  assert_int_equal(bl_driver_fence(&driver), BL_DRIVER_BAD_ANSWER);
  start(&driver, &plain);
  memset(room, 0x5A, sizeof room);
  bl_driver_result result =
      bl_driver_request(&driver, BL_OP_SEND, 0, 4u << 24 | 8, NULL, 0, room, 4, NULL);
  if (result == BL_DRIVER_OK) result = bl_driver_fence(&driver);
  assert_int_equal(result, BL_DRIVER_BAD_ANSWER); // eight words for room of four
  assert_int_equal(room[0], 0x5A5A5A5A);
}

// ---- Stalls and silence
// ------------------------------------------------------------------------------

// Loads, runs and sends through a device that stalls both streams at random and takes nothing in
// while it has something to say: a driver that writes without reading would hang.
static void both_sides_stall(void **state) {
  (void)state;
  enum { ROUNDS = 60, ROOM = 300 };
  static uint32_t regions[ROUNDS][ROOM], payload[ROOM];
  for (int stubborn = 0; stubborn < 2; stubborn++) {
    static bl_driver driver;
    uint32_t sizes[ROUNDS], addresses[ROUNDS];
    heard h = {0};
    start(&driver, &plain);
    driver.patience = 2000;
    driver.listener = listen;
    driver.listener_context = &h;
    device.stalls = true;
    device.stubborn = stubborn != 0;
    for (int i = 0; i < ROUNDS; i++) {
      sizes[i] = 1 + draw(ROOM);
      addresses[i] = draw(5000);
      assert_int_equal(bl_driver_request(&driver, BL_OP_LOAD_ACTIVATIONS, 0, 4u << 24, payload,
                                         4 * (1 + draw(ROOM)), NULL, 0, NULL),
                       BL_DRIVER_OK);
      assert_int_equal(bl_driver_request(&driver, BL_OP_RUN, 0, 0, payload, 76, NULL, 0, NULL),
                       BL_DRIVER_OK);
      assert_int_equal(send_region(&driver, addresses[i], sizes[i], regions[i]), BL_DRIVER_OK);
    }
    assert_int_equal(bl_driver_fence(&driver), BL_DRIVER_OK);
    assert_int_equal(h.count, 2 * ROUNDS + 1);
    for (int i = 0; i < ROUNDS; i++)
      for (uint32_t w = 0; w < sizes[i]; w++)
        assert_int_equal(regions[i][w], region_word(addresses[i], w));
  }
}

// The device goes silent after any number of words: a result, not a hang; then nothing is touched
// any more; and a reset brings it back.
static void silence(void **state) {
  (void)state;
  const uint32_t payload[19] = {0};
  for (uint32_t lifetime = 0; lifetime < 5 + 19 + 1 + 5 + 5; lifetime++) {
    static bl_driver driver;
    uint32_t room[4];
    start(&driver, &with_registers);
    device.lifetime = lifetime;
    bl_driver_result result =
        bl_driver_request(&driver, BL_OP_RUN, 0, 0, payload, 76, NULL, 0, NULL);
    if (result == BL_DRIVER_OK) result = send_region(&driver, 0, 4, room);
    if (result == BL_DRIVER_OK) result = bl_driver_fence(&driver);
    assert_int_equal(result, BL_DRIVER_TIMEOUT);
    assert_true(device.waits >= PATIENCE && device.waits <= 2 * PATIENCE);
    uint32_t calls = device.calls;
    assert_int_equal(bl_driver_fence(&driver), BL_DRIVER_TIMEOUT);
    assert_int_equal(device.calls, calls);
    assert_int_equal(bl_driver_reset(&driver), BL_DRIVER_OK);
    assert_int_equal(device.register_writes, 2);
    assert_int_equal(device.registers[0][0], BL_REG_CONTROL);
    assert_int_equal(device.registers[0][1], 1);
    assert_int_equal(device.registers[1][0], BL_REG_CONTROL);
    assert_int_equal(device.registers[1][1], 0);
    assert_int_equal(bl_driver_fence(&driver), BL_DRIVER_OK);
  }
}

// Without registers a packet that was cut short is ended by zero words, whatever it announced.
static void reset_by_stream(void **state) {
  (void)state;
  static bl_driver driver;
  start(&driver, &plain);
  const uint32_t half[4] = {0xB7100001, 0xFFFFF8, 0, 8u << 24};
  for (int i = 0; i < 4; i++)
    take(half[i]);
  take(crc(half, 4));
  take(1);
  assert_int_equal(bl_driver_reset(&driver), BL_DRIVER_OK);
  assert_int_equal(bl_driver_identify(&driver, &BL_CONFIGS[BL_CONFIG_DEFAULT], NULL), BL_DRIVER_OK);
}

static void broken_transport(void **state) {
  (void)state;
  for (int what = 0; what < 5; what++) {
    static bl_driver driver;
    start(&driver, &plain);
    if (what == 0) device.broken_write = -1;
    if (what == 1) device.broken_write = 1000; // more than was offered
    if (what == 2) device.broken_read = -5;
    if (what == 3) device.broken_read = 100000;
    if (what == 4) device.broken_wait = -1, device.lifetime = 3;
    assert_int_equal(bl_driver_fence(&driver), BL_DRIVER_TRANSPORT);
    assert_int_equal(bl_driver_fence(&driver), BL_DRIVER_TRANSPORT);
    assert_int_equal(bl_driver_reset(&driver), BL_DRIVER_TRANSPORT);
  }
}

static void texts(void **state) {
  (void)state;
  for (int i = 0; i <= BL_DRIVER_DEVICE; i++)
    for (int k = 0; k < i; k++)
      assert_string_not_equal(bl_driver_result_text((bl_driver_result)i),
                              bl_driver_result_text((bl_driver_result)k));
  assert_string_equal(bl_driver_result_text((bl_driver_result)99), "unknown result");
  assert_string_equal(bl_driver_status_text(BL_STATUS_FAULT + 1), "unknown status");
  assert_string_not_equal(bl_driver_status_text(BL_STATUS_FAULT), "unknown status");
}

int main(void) {
  const char *given = getenv("BITLOOM_SEED");
  if (given != NULL) seed = strtoul(given, NULL, 0);
  printf("seed %lu\n", seed);
  device.random = seed;
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(exact_words),      cmocka_unit_test(crc_is_the_usual_one),
      cmocka_unit_test(arguments),        cmocka_unit_test(identity),
      cmocka_unit_test(counters),         cmocka_unit_test(errors_of_the_device),
      cmocka_unit_test(signatures),       cmocka_unit_test(flipped_bits),
      cmocka_unit_test(unasked_answers),  cmocka_unit_test(both_sides_stall),
      cmocka_unit_test(silence),          cmocka_unit_test(reset_by_stream),
      cmocka_unit_test(broken_transport), cmocka_unit_test(texts),
      cmocka_unit_test(tags_skip_zero),   cmocka_unit_test(awaiting),
      cmocka_unit_test(awaiting_in_vain),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
