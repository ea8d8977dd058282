// SPDX-License-Identifier: Apache-2.0
#include "drivers/bl_driver.h"

#include <stddef.h>

enum { READ_CHUNK = 256, NO_ENTRY = -1 };

// The longest packet, in words: what may be needed to end one that was cut short.
#define LONGEST_PACKET (BL_CONTRACT_HEADER_WORDS + (BL_CONTRACT_MAX_PAYLOAD + 3) / 4 + 1)

// Slicing by eight (Kounavis and Berry 2005): two words at a time instead of a byte.
static void make_crc_table(uint32_t table[8][256]) {
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; bit++)
      crc = (crc >> 1) ^ ((crc & 1u) != 0 ? 0xEDB88320u : 0u);
    table[0][i] = crc;
  }
  for (uint32_t i = 0; i < 256; i++)
    for (int k = 1; k < 8; k++)
      table[k][i] = (table[k - 1][i] >> 8) ^ table[0][table[k - 1][i] & 255u];
}

static uint32_t crc_of_word(const uint32_t table[4][256], uint32_t word) {
  return table[3][word & 255u] ^ table[2][(word >> 8) & 255u] ^ table[1][(word >> 16) & 255u] ^
         table[0][word >> 24];
}

uint32_t bl_driver_crc32(const bl_driver *driver, uint32_t crc, const uint32_t *words,
                         uint32_t count) {
  crc = ~crc;
  for (; count >= 2; count -= 2, words += 2)
    crc = crc_of_word(driver->crc_table + 4, crc ^ words[0]) ^
          crc_of_word(driver->crc_table, words[1]);
  if (count > 0) crc = crc_of_word(driver->crc_table, crc ^ words[0]);
  return ~crc;
}

static void forget_answers(bl_driver *driver) {
  for (uint32_t i = 0; i < BL_DRIVER_OUTSTANDING; i++)
    driver->pending[i].active = false;
  driver->header_have = 0;
  driver->payload_words = 0;
  driver->payload_have = 0;
  driver->failed = false;
  driver->lost = BL_DRIVER_OK;
}

// Keeps a result after which the streams are out of step. No answer is taken from then on, so the
// destinations that are still noted may go.
static bl_driver_result keep(bl_driver *driver, bl_driver_result result) {
  if (result == BL_DRIVER_TRANSPORT || result == BL_DRIVER_TIMEOUT ||
      result == BL_DRIVER_BAD_ANSWER)
    driver->lost = result;
  return result;
}

bl_driver_result bl_driver_open(bl_driver *driver, const bl_transport *transport, void *context,
                                uint32_t patience) {
  if (driver == NULL || transport == NULL || transport->write == NULL || transport->read == NULL ||
      transport->wait == NULL || patience == 0)
    return BL_DRIVER_ARGUMENT;
  driver->transport = transport;
  driver->context = context;
  driver->patience = patience;
  driver->listener = NULL;
  driver->listener_context = NULL;
  driver->next_tag = 1;
  make_crc_table(driver->crc_table);
  forget_answers(driver);
  return BL_DRIVER_OK;
}

// ---- Answers
// -------------------------------------------------------------------------------------

static int32_t find_pending(const bl_driver *driver, uint16_t tag, uint8_t opcode) {
  for (int32_t i = 0; i < BL_DRIVER_OUTSTANDING; i++)
    if (driver->pending[i].active && driver->pending[i].tag == tag &&
        driver->pending[i].opcode == opcode)
      return i;
  return NO_ENTRY;
}

static bl_answer read_header(const bl_driver *driver) {
  bl_answer answer = {0};
  answer.opcode = (uint8_t)(driver->header[0] >> 16);
  answer.tag = (uint16_t)driver->header[0];
  answer.bytes = driver->header[1];
  answer.status = (uint8_t)driver->header[2];
  answer.info = driver->header[3];
  return answer;
}

static void finish_answer(bl_driver *driver) {
  bl_answer answer = read_header(driver);
  if (answer.opcode == BL_OP_RUN && answer.bytes > 0) answer.signature = driver->signature;
  if (driver->payload_entry != NO_ENTRY) driver->pending[driver->payload_entry].active = false;
  driver->header_have = 0;
  driver->payload_words = 0;
  driver->payload_have = 0;
  if (answer.status != BL_STATUS_OK && !driver->failed) {
    driver->failed = true;
    driver->failure = answer;
  }
  if (driver->listener != NULL) driver->listener(driver->listener_context, &answer);
}

// What an answer may carry. A run that failed has no signature.
static bool is_length_sound(const bl_driver *driver, const bl_answer *answer) {
  uint32_t words = (answer->bytes >> 2) + ((answer->bytes & 3u) != 0 ? 1u : 0u);
  if (answer->opcode == BL_OP_RUN)
    return answer->bytes == (answer->status == BL_STATUS_OK ? 4u : 0u);
  if (words == 0) return true;
  if (driver->payload_entry == NO_ENTRY) return false;
  return words <= driver->pending[driver->payload_entry].words;
}

// A whole header: checks it and prepares for its payload. Errors of loads carry a tag that nobody
// waits for; anything else must be known.
static bl_driver_result take_header(bl_driver *driver) {
  const uint32_t *h = driver->header;
  if (h[0] >> 24 != BL_CONTRACT_ANSWER_MAGIC || bl_driver_crc32(driver, 0, h, 4) != h[4])
    return BL_DRIVER_BAD_ANSWER;
  bl_answer answer = read_header(driver);
  driver->payload_entry = find_pending(driver, answer.tag, answer.opcode);
  if (driver->payload_entry == NO_ENTRY && answer.status == BL_STATUS_OK)
    return BL_DRIVER_BAD_ANSWER;
  if (!is_length_sound(driver, &answer)) return BL_DRIVER_BAD_ANSWER;
  if (answer.bytes == 0) {
    finish_answer(driver);
    return BL_DRIVER_OK;
  }
  driver->payload_words = (answer.bytes >> 2) + ((answer.bytes & 3u) != 0 ? 1u : 0u) + 1;
  driver->payload_have = 0;
  driver->payload_crc = 0;
  return BL_DRIVER_OK;
}

static bl_driver_result take_payload(bl_driver *driver, uint32_t word) {
  if (driver->payload_have + 1 < driver->payload_words) {
    const bl_driver_pending *pending = &driver->pending[driver->payload_entry];
    if (pending->opcode == BL_OP_RUN)
      driver->signature = word;
    else
      pending->destination[driver->payload_have] = word;
    driver->payload_have++;
    driver->payload_crc = bl_driver_crc32(driver, driver->payload_crc, &word, 1);
    return BL_DRIVER_OK;
  }
  if (word != driver->payload_crc) return BL_DRIVER_BAD_ANSWER;
  finish_answer(driver);
  return BL_DRIVER_OK;
}

// Reads what is there; *moved is set when anything was.
static bl_driver_result take_answers(bl_driver *driver, bool *moved) {
  uint32_t words[READ_CHUNK];
  int32_t count = driver->transport->read(driver->context, words, READ_CHUNK);
  if (count < 0 || count > READ_CHUNK) return BL_DRIVER_TRANSPORT;
  for (int32_t i = 0; i < count; i++) {
    bl_driver_result result = BL_DRIVER_OK;
    if (driver->payload_words != 0) {
      result = take_payload(driver, words[i]);
    } else {
      driver->header[driver->header_have++] = words[i];
      if (driver->header_have == BL_CONTRACT_HEADER_WORDS) result = take_header(driver);
    }
    if (result != BL_DRIVER_OK) return result;
  }
  *moved = *moved || count > 0;
  return BL_DRIVER_OK;
}

// ---- Both directions
// -------------------------------------------------------------------------------

// After a round in which nothing moved: lets time pass, counts down to the time-out.
static bl_driver_result be_patient(bl_driver *driver, bool moved, uint32_t *waits) {
  if (moved) {
    *waits = 0;
    return BL_DRIVER_OK;
  }
  if (++*waits > driver->patience) return BL_DRIVER_TIMEOUT;
  return driver->transport->wait(driver->context) < 0 ? BL_DRIVER_TRANSPORT : BL_DRIVER_OK;
}

static bl_driver_result send_words(bl_driver *driver, const uint32_t *words, uint32_t count) {
  uint32_t waits = 0;
  while (count > 0) {
    int32_t sent = driver->transport->write(driver->context, words, count);
    if (sent < 0 || (uint32_t)sent > count) return BL_DRIVER_TRANSPORT;
    words += sent;
    count -= (uint32_t)sent;
    bool moved = sent > 0;
    bl_driver_result result = take_answers(driver, &moved);
    if (result == BL_DRIVER_OK) result = be_patient(driver, moved, &waits);
    if (result != BL_DRIVER_OK) return result;
  }
  return BL_DRIVER_OK;
}

static bool is_answered(uint8_t opcode) {
  return opcode < BL_OP_LOAD_WEIGHTS || opcode > BL_OP_LOAD_CODES;
}

static int32_t free_entry(const bl_driver *driver) {
  for (int32_t i = 0; i < BL_DRIVER_OUTSTANDING; i++)
    if (!driver->pending[i].active) return i;
  return NO_ENTRY;
}

// Takes answers until an entry of the table is free.
static bl_driver_result await_entry(bl_driver *driver, int32_t *entry) {
  uint32_t waits = 0;
  while ((*entry = free_entry(driver)) == NO_ENTRY) {
    bool moved = false;
    bl_driver_result result = take_answers(driver, &moved);
    if (result == BL_DRIVER_OK) result = be_patient(driver, moved, &waits);
    if (result != BL_DRIVER_OK) return result;
  }
  return BL_DRIVER_OK;
}

static bl_driver_result expect_answer(bl_driver *driver, uint8_t opcode, uint16_t tag,
                                      uint32_t *destination, uint32_t words) {
  int32_t entry;
  bl_driver_result result = await_entry(driver, &entry);
  if (result != BL_DRIVER_OK) return result;
  bl_driver_pending *pending = &driver->pending[entry];
  pending->destination = destination;
  pending->words = destination == NULL ? 0 : words;
  pending->tag = tag;
  pending->opcode = opcode;
  pending->active = true;
  return BL_DRIVER_OK;
}

static bl_driver_result send_packet(bl_driver *driver, const uint32_t first[4],
                                    const uint32_t *payload, uint32_t words) {
  uint32_t header[BL_CONTRACT_HEADER_WORDS] = {first[0], first[1], first[2], first[3], 0};
  header[4] = bl_driver_crc32(driver, 0, first, 4);
  bl_driver_result result = send_words(driver, header, BL_CONTRACT_HEADER_WORDS);
  if (result != BL_DRIVER_OK || words == 0) return result;
  uint32_t crc = bl_driver_crc32(driver, 0, payload, words);
  result = send_words(driver, payload, words);
  return result == BL_DRIVER_OK ? send_words(driver, &crc, 1) : result;
}

bl_driver_result bl_driver_request(bl_driver *driver, uint8_t opcode, uint32_t address,
                                   uint32_t argument, const uint32_t *payload, uint32_t bytes,
                                   uint32_t *destination, uint32_t words, uint16_t *tag) {
  if (bytes > BL_CONTRACT_MAX_PAYLOAD || (bytes > 0 && payload == NULL)) return BL_DRIVER_ARGUMENT;
  if (driver->lost != BL_DRIVER_OK) return driver->lost;
  if (driver->failed) return BL_DRIVER_DEVICE;
  uint16_t mine = driver->next_tag++;
  if (driver->next_tag == 0) driver->next_tag = 1;
  if (tag != NULL) *tag = mine;
  bl_driver_result result = BL_DRIVER_OK;
  if (is_answered(opcode)) result = expect_answer(driver, opcode, mine, destination, words);
  if (result != BL_DRIVER_OK) return keep(driver, result);
  const uint32_t first[4] = {(uint32_t)BL_CONTRACT_REQUEST_MAGIC << 24 | (uint32_t)opcode << 16 |
                                 mine,
                             bytes, address, argument};
  result = keep(driver, send_packet(driver, first, payload, (bytes + 3) / 4));
  return result == BL_DRIVER_OK && driver->failed ? BL_DRIVER_DEVICE : result;
}

// Was `tag` sent after `other`? Tags count upwards, modulo 2^16.
static bool is_later(uint16_t tag, uint16_t other) {
  return (uint16_t)(other - tag) >= 0x8000u;
}

static bool is_awaited(const bl_driver *driver, uint16_t tag) {
  for (int32_t i = 0; i < BL_DRIVER_OUTSTANDING; i++)
    if (driver->pending[i].active && !is_later(driver->pending[i].tag, tag)) return true;
  return false;
}

static bool has_failed(const bl_driver *driver, uint16_t tag) {
  return driver->failed && (driver->failure.opcode == 0 || !is_later(driver->failure.tag, tag));
}

bl_driver_result bl_driver_await(bl_driver *driver, uint16_t tag) {
  bl_driver_result result = driver->lost;
  uint32_t waits = 0;
  while (result == BL_DRIVER_OK && !has_failed(driver, tag) && is_awaited(driver, tag)) {
    bool moved = false;
    result = take_answers(driver, &moved);
    if (result == BL_DRIVER_OK) result = be_patient(driver, moved, &waits);
  }
  if (result != BL_DRIVER_OK) return keep(driver, result);
  return has_failed(driver, tag) ? BL_DRIVER_DEVICE : BL_DRIVER_OK;
}

// Sends a request and waits for its answer.
static bl_driver_result ask(bl_driver *driver, uint8_t opcode, uint32_t argument,
                            uint32_t *destination, uint32_t words) {
  uint16_t tag;
  bl_driver_result result =
      bl_driver_request(driver, opcode, 0, argument, NULL, 0, destination, words, &tag);
  uint32_t waits = 0;
  while (result == BL_DRIVER_OK && find_pending(driver, tag, opcode) != NO_ENTRY) {
    bool moved = false;
    result = take_answers(driver, &moved);
    if (result == BL_DRIVER_OK) result = be_patient(driver, moved, &waits);
  }
  return keep(driver, result) == BL_DRIVER_OK && driver->failed ? BL_DRIVER_DEVICE : result;
}

bl_driver_result bl_driver_fence(bl_driver *driver) {
  return ask(driver, BL_OP_FENCE, 0, NULL, 0);
}

bl_driver_result bl_driver_counters(bl_driver *driver, uint64_t counters[BL_COUNTER_COUNT],
                                    bool clear) {
  uint32_t words[2 * BL_COUNTER_COUNT];
  bl_driver_result result = ask(driver, BL_OP_COUNTERS, clear ? 1 : 0, words, 2 * BL_COUNTER_COUNT);
  if (result != BL_DRIVER_OK) return result;
  for (uint32_t i = 0; i < BL_COUNTER_COUNT; i++)
    counters[i] = (uint64_t)words[2 * i + 1] << 32 | words[2 * i];
  return BL_DRIVER_OK;
}

static bool same_config(const bl_config *a, const bl_config *b) {
  return a->rows == b->rows && a->cols == b->cols && a->lanes == b->lanes && a->acc_w == b->acc_w &&
         a->weight_depth == b->weight_depth && a->param_depth == b->param_depth &&
         a->k_depth == b->k_depth && a->pass_depth == b->pass_depth &&
         a->tile_depth == b->tile_depth && a->act_depth == b->act_depth &&
         a->row_depth == b->row_depth && a->table_depth == b->table_depth &&
         a->gather_words == b->gather_words;
}

bl_driver_result bl_driver_identify(bl_driver *driver, const bl_config *expected,
                                    bl_config *found) {
  uint32_t w[15];
  bl_driver_result result = ask(driver, BL_OP_IDENTIFY, 0, w, 15);
  if (result != BL_DRIVER_OK) return result;
  const bl_config config = {NULL, w[2], w[3],  w[4],  w[5],  w[6],  w[7],
                            w[8], w[9], w[10], w[11], w[12], w[13], w[14]};
  if (found != NULL) *found = config;
  bool known = w[0] == BL_CONTRACT_IDENTITY && w[1] == BL_CONTRACT_VERSION &&
               config.acc_w >= BL_CONTRACT_LEAST_ACC_W && config.acc_w <= BL_CONTRACT_MOST_ACC_W;
  return known && same_config(&config, expected) ? BL_DRIVER_OK : BL_DRIVER_WRONG_DEVICE;
}

// Throws away what still comes, until nothing has come for a while. No device has more to say than
// the longest answer for each outstanding request.
static bl_driver_result drop_answers(bl_driver *driver) {
  uint32_t words[READ_CHUNK];
  uint64_t dropped = 0;
  for (uint32_t quiet = 0; quiet < 64;) {
    int32_t count = driver->transport->read(driver->context, words, READ_CHUNK);
    if (count < 0 || count > READ_CHUNK) return BL_DRIVER_TRANSPORT;
    quiet = count > 0 ? 0 : quiet + 1;
    dropped += (uint32_t)count;
    if (dropped > (uint64_t)BL_DRIVER_OUTSTANDING * LONGEST_PACKET) return BL_DRIVER_BAD_ANSWER;
    if (count == 0 && driver->transport->wait(driver->context) < 0) return BL_DRIVER_TRANSPORT;
  }
  return BL_DRIVER_OK;
}

static bl_driver_result soft_reset(bl_driver *driver) {
  const bl_transport *t = driver->transport;
  if (t->reg_write(driver->context, BL_REG_CONTROL, 1) < 0) return BL_DRIVER_TRANSPORT;
  bl_driver_result result = drop_answers(driver);
  if (t->reg_write(driver->context, BL_REG_CONTROL, 0) < 0) return BL_DRIVER_TRANSPORT;
  return result;
}

// Without registers: zero words until a packet that was cut short must have ended. Each is answered
// by nothing or by one HEADER error, which is dropped.
static bl_driver_result flush_packet(bl_driver *driver) {
  static const uint32_t zeros[READ_CHUNK] = {0};
  uint32_t waits = 0;
  for (uint32_t left = LONGEST_PACKET; left > 0;) {
    uint32_t words[READ_CHUNK], now = left < READ_CHUNK ? left : READ_CHUNK;
    int32_t sent = driver->transport->write(driver->context, zeros, now);
    int32_t got = driver->transport->read(driver->context, words, READ_CHUNK);
    if (sent < 0 || (uint32_t)sent > now || got < 0) return BL_DRIVER_TRANSPORT;
    left -= (uint32_t)sent;
    bl_driver_result result = be_patient(driver, sent > 0 || got > 0, &waits);
    if (result != BL_DRIVER_OK) return result;
  }
  return drop_answers(driver);
}

bl_driver_result bl_driver_reset(bl_driver *driver) {
  bl_driver_result result =
      driver->transport->reg_write != NULL ? soft_reset(driver) : flush_packet(driver);
  forget_answers(driver);
  return result == BL_DRIVER_OK ? ask(driver, BL_OP_RESET, 0, NULL, 0) : keep(driver, result);
}

const char *bl_driver_result_text(bl_driver_result result) {
  static const char *const texts[] = {
      "done",
      "the call makes no sense",
      "the device has another identity, version or configuration",
      "the transport failed",
      "the device stopped answering",
      "the device sent an unsound answer",
      "the device answered an error",
  };
  return (unsigned)result < sizeof texts / sizeof texts[0] ? texts[result] : "unknown result";
}

const char *bl_driver_status_text(uint8_t status) {
  static const char *const texts[] = {
      "done",
      "bad packet header",
      "unknown opcode",
      "length or argument does not fit the opcode",
      "address beyond the memory",
      "bad payload CRC",
      "descriptor field out of range",
      "a memory it uses was loaded badly",
      "a list, window or address left its memory",
  };
  return status < sizeof texts / sizeof texts[0] ? texts[status] : "unknown status";
}
