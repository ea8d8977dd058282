// SPDX-License-Identifier: Apache-2.0
// Little-endian bytes in and out of memory, with every length checked. Nobody outside host/compile
// includes this.
#ifndef BITLOOM_HOST_COMPILE_WIRE_H
#define BITLOOM_HOST_COMPILE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/base/arena.h"

// A growing buffer; `failed` stays set once memory was short.
typedef struct {
  uint8_t *bytes;
  size_t size, room;
  bool failed;
} bl_writer;

void bl_put_bytes(bl_writer *w, const void *bytes, size_t size);
void bl_put(bl_writer *w, uint64_t value, unsigned bytes);
void bl_put_real(bl_writer *w, double value);
// Length in 16 bits, then the characters; NULL is written as the empty text.
void bl_put_text(bl_writer *w, const char *text);

// Seven bits a byte, the lowest first, bit 7 where more follow.
void bl_put_varint(bl_writer *w, uint64_t value);
// `count` integers of 1, 2, 4 or 8 bytes each as planes: the lowest bytes of all, then the next
// ones. Signed ones as 2x, or -2x - 1 below 0, so that small magnitudes leave zeros.
void bl_put_planes(bl_writer *w, const void *values, size_t count, unsigned bytes, bool is_signed);

// A window of bytes; `failed` is set by the first read beyond its end, which gives zeros.
typedef struct {
  const uint8_t *bytes;
  size_t size, at;
  bool failed;
} bl_reader;

size_t bl_left(const bl_reader *r);
uint64_t bl_get(bl_reader *r, unsigned bytes);
uint32_t bl_get32(bl_reader *r);
int32_t bl_get_signed32(bl_reader *r);
double bl_get_real(bl_reader *r);
uint64_t bl_get_varint(bl_reader *r);
// False (and failed) where they do not follow; *values is untouched then.
bool bl_get_planes(bl_reader *r, void *values, size_t count, unsigned bytes, bool is_signed);
// The next `size` bytes in place; NULL when there are fewer.
const uint8_t *bl_get_bytes(bl_reader *r, size_t size);
// A text copied to the arena; NULL (and failed) when it does not fit, holds a zero or memory is
// short.
char *bl_get_text(bl_reader *r, bl_arena *arena);

#endif
