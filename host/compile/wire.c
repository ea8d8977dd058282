// SPDX-License-Identifier: Apache-2.0
#include "host/compile/wire.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_ROOM = 4096, MAX_TEXT = 65535 };

static bool make_room(bl_writer *w, size_t more) {
  if (w->failed || more > SIZE_MAX / 4 - w->size) return false;
  if (w->size + more <= w->room) return true;
  size_t room = w->room == 0 ? FIRST_ROOM : w->room;
  while (room < w->size + more)
    room *= 2;
  uint8_t *bytes = realloc(w->bytes, room);
  if (bytes == NULL) return false;
  w->bytes = bytes;
  w->room = room;
  return true;
}

void bl_put_bytes(bl_writer *w, const void *bytes, size_t size) {
  if (!make_room(w, size)) {
    w->failed = true;
    return;
  }
  if (size > 0) memcpy(w->bytes + w->size, bytes, size);
  w->size += size;
}

void bl_put(bl_writer *w, uint64_t value, unsigned bytes) {
  uint8_t buffer[8];
  for (unsigned i = 0; i < bytes; i++)
    buffer[i] = (uint8_t)(value >> (8 * i));
  bl_put_bytes(w, buffer, bytes);
}

void bl_put_real(bl_writer *w, double value) {
  uint64_t bits;
  static_assert(sizeof bits == sizeof value, "IEEE 754 double");
  memcpy(&bits, &value, sizeof bits);
  bl_put(w, bits, 8);
}

void bl_put_text(bl_writer *w, const char *text) {
  size_t length = text == NULL ? 0 : strlen(text);
  if (length > MAX_TEXT) length = MAX_TEXT;
  bl_put(w, length, 2);
  bl_put_bytes(w, text == NULL ? "" : text, length);
}

void bl_put_varint(bl_writer *w, uint64_t value) {
  for (; value > 127; value >>= 7)
    bl_put(w, (value & 127) | 128, 1);
  bl_put(w, value, 1);
}

// Integer k of an array of integers of 1, 2, 4 or 8 bytes, whatever the order of this machine's.
static uint64_t load(const void *values, size_t k, unsigned bytes) {
  const uint8_t *at = (const uint8_t *)values + k * bytes;
  uint8_t one;
  uint16_t two;
  uint32_t four;
  uint64_t eight;
  switch (bytes) {
  case 1:
    memcpy(&one, at, 1);
    return one;
  case 2:
    memcpy(&two, at, 2);
    return two;
  case 4:
    memcpy(&four, at, 4);
    return four;
  default:
    memcpy(&eight, at, 8);
    return eight;
  }
}

static void store(void *values, size_t k, unsigned bytes, uint64_t value) {
  uint8_t *at = (uint8_t *)values + k * bytes;
  const uint8_t one = (uint8_t)value;
  const uint16_t two = (uint16_t)value;
  const uint32_t four = (uint32_t)value;
  switch (bytes) {
  case 1:
    memcpy(at, &one, 1);
    break;
  case 2:
    memcpy(at, &two, 2);
    break;
  case 4:
    memcpy(at, &four, 4);
    break;
  default:
    memcpy(at, &value, 8);
  }
}

static uint64_t folded(uint64_t value, unsigned bytes) {
  const bool negative = (value >> (8 * bytes - 1) & 1) != 0;
  return (negative ? ~value : value) << 1 | negative;
}

static uint64_t unfolded(uint64_t value) {
  return (value & 1) != 0 ? ~(value >> 1) : value >> 1;
}

void bl_put_planes(bl_writer *w, const void *values, size_t count, unsigned bytes, bool is_signed) {
  for (unsigned plane = 0; plane < bytes; plane++)
    for (size_t k = 0; k < count; k++) {
      const uint64_t value = load(values, k, bytes);
      bl_put(w, (is_signed ? folded(value, bytes) : value) >> (8 * plane) & 0xFF, 1);
    }
}

size_t bl_left(const bl_reader *r) {
  return r->size - r->at;
}

const uint8_t *bl_get_bytes(bl_reader *r, size_t size) {
  if (r->failed || size > bl_left(r)) {
    r->failed = true;
    return NULL;
  }
  const uint8_t *bytes = r->bytes + r->at;
  r->at += size;
  return bytes;
}

uint64_t bl_get(bl_reader *r, unsigned bytes) {
  const uint8_t *at = bl_get_bytes(r, bytes);
  uint64_t value = 0;
  for (unsigned i = 0; at != NULL && i < bytes; i++)
    value |= (uint64_t)at[i] << (8 * i);
  return value;
}

uint32_t bl_get32(bl_reader *r) {
  return (uint32_t)bl_get(r, 4);
}

int32_t bl_get_signed32(bl_reader *r) {
  return (int32_t)bl_get32(r);
}

double bl_get_real(bl_reader *r) {
  uint64_t bits = bl_get(r, 8);
  double value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

char *bl_get_text(bl_reader *r, bl_arena *arena) {
  size_t length = (size_t)bl_get(r, 2);
  const uint8_t *at = bl_get_bytes(r, length);
  if (at == NULL || memchr(at, 0, length) != NULL) {
    r->failed = true;
    return NULL;
  }
  char *text = bl_arena_strndup(arena, (const char *)at, length);
  if (text == NULL) r->failed = true;
  return text;
}

uint64_t bl_get_varint(bl_reader *r) {
  uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    const uint64_t byte = bl_get(r, 1);
    value |= (byte & 127) << shift;
    if (byte < 128) return value;
  }
  r->failed = true;
  return 0;
}

bool bl_get_planes(bl_reader *r, void *values, size_t count, unsigned bytes, bool is_signed) {
  if (count > bl_left(r) / bytes) {
    r->failed = true;
    return false;
  }
  const uint8_t *at = bl_get_bytes(r, count * bytes);
  for (size_t k = 0; at != NULL && k < count; k++) {
    uint64_t value = 0;
    for (unsigned plane = 0; plane < bytes; plane++)
      value |= (uint64_t)at[plane * count + k] << (8 * plane);
    store(values, k, bytes, is_signed ? unfolded(value) : value);
  }
  return at != NULL;
}
