// SPDX-License-Identifier: Apache-2.0
#include "host/compile/piece.h"

#define ZLIB_CONST // next_in is only read
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { WINDOW = -15, LEVEL = 9, MEMORY = 9 }; // raw deflate; blocks of 32,768 symbols

// False: memory is short. *coded is to be freed.
static bool deflated(const bl_writer *content, int strategy, uint8_t **coded, size_t *size) {
  z_stream z = {0};
  if (content->size > UINT32_MAX / 2 ||
      deflateInit2(&z, LEVEL, Z_DEFLATED, WINDOW, MEMORY, strategy) != Z_OK)
    return false;
  const uLong bound = deflateBound(&z, content->size);
  *coded = malloc(bound);
  z.next_in = content->bytes;
  z.avail_in = (uInt)content->size;
  z.next_out = *coded;
  z.avail_out = (uInt)bound;
  const bool done = *coded != NULL && deflate(&z, Z_FINISH) == Z_STREAM_END;
  *size = z.total_out;
  (void)deflateEnd(&z);
  return done;
}

void bl_put_piece(bl_writer *w, const bl_writer *content) {
  static const int strategies[] = {Z_DEFAULT_STRATEGY, Z_HUFFMAN_ONLY};
  uint8_t *best = NULL;
  size_t least = content->size;
  w->failed = w->failed || content->failed;
  for (size_t i = 0; i < sizeof strategies / sizeof *strategies && content->size > 0; i++) {
    uint8_t *coded = NULL;
    size_t size;
    if (!deflated(content, strategies[i], &coded, &size)) w->failed = true;
    if (!w->failed && size < least) {
      uint8_t *last = best;
      best = coded;
      coded = last;
      least = size;
    }
    free(coded);
  }
  bl_put_varint(w, content->size);
  bl_put_varint(w, least);
  bl_put_bytes(w, best == NULL ? content->bytes : best, least);
  free(best);
}

static bool inflated(const uint8_t *coded, size_t coded_size, uint8_t *bytes, size_t size) {
  z_stream z = {
      .next_in = coded, .avail_in = (uInt)coded_size, .next_out = bytes, .avail_out = (uInt)size};
  if (inflateInit2(&z, WINDOW) != Z_OK) return false;
  const bool done = inflate(&z, Z_FINISH) == Z_STREAM_END && z.total_out == size && z.avail_in == 0;
  (void)inflateEnd(&z);
  return done;
}

bool bl_get_piece(bl_reader *r, size_t limit, bl_reader *content) {
  const uint64_t size = bl_get_varint(r), coded_size = bl_get_varint(r);
  if (size > limit || size > UINT32_MAX / 2 || coded_size > size) r->failed = true;
  const uint8_t *coded = r->failed ? NULL : bl_get_bytes(r, (size_t)coded_size);
  uint8_t *bytes = coded == NULL ? NULL : malloc((size_t)size + 1);
  bool done = bytes != NULL;
  if (done && coded_size == size)
    memcpy(bytes, coded, (size_t)size);
  else if (done)
    done = inflated(coded, (size_t)coded_size, bytes, (size_t)size);
  if (!done) {
    free(bytes);
    bytes = NULL;
    r->failed = true;
  }
  *content = (bl_reader){.bytes = bytes, .size = done ? (size_t)size : 0};
  return done;
}
