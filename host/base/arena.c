// SPDX-License-Identifier: Apache-2.0
#include "host/base/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64, CHUNK_BYTES = 256 * 1024 };

typedef struct chunk {
  struct chunk *next;
  size_t used;
  size_t size; // bytes of payload after the header, which takes ALIGNMENT bytes
} chunk;

struct bl_arena {
  chunk *chunks;
  size_t cap;
  size_t used;
};

bl_arena *bl_arena_new(size_t cap) {
  bl_arena *arena = calloc(1, sizeof *arena);
  if (arena != NULL) arena->cap = cap;
  return arena;
}

void bl_arena_free(bl_arena *arena) {
  if (arena == NULL) return;
  for (chunk *c = arena->chunks; c != NULL;) {
    chunk *next = c->next;
    free(c);
    c = next;
  }
  free(arena);
}

// A chunk with room for `bytes` (a multiple of ALIGNMENT), made when the newest one is full.
static chunk *chunk_with_room(bl_arena *arena, size_t bytes) {
  chunk *c = arena->chunks;
  if (c != NULL && c->size - c->used >= bytes) return c;
  size_t size = bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES;
  c = aligned_alloc(ALIGNMENT, size + ALIGNMENT);
  if (c == NULL) return NULL;
  *c = (chunk){.next = arena->chunks, .used = 0, .size = size};
  arena->chunks = c;
  return c;
}

void *bl_arena_alloc(bl_arena *arena, size_t count, size_t size) {
  if (size != 0 && count > SIZE_MAX / 2 / size) return NULL;
  size_t bytes = (count * size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  if (bytes == 0) bytes = ALIGNMENT;
  if (bytes > arena->cap - arena->used) return NULL;
  chunk *c = chunk_with_room(arena, bytes);
  if (c == NULL) return NULL;
  void *object = (char *)c + ALIGNMENT + c->used;
  c->used += bytes;
  arena->used += bytes;
  return memset(object, 0, bytes);
}

char *bl_arena_strndup(bl_arena *arena, const char *text, size_t length) {
  char *copy = length < SIZE_MAX ? bl_arena_alloc(arena, length + 1, 1) : NULL;
  if (copy != NULL && length > 0) memcpy(copy, text, length);
  return copy;
}

size_t bl_arena_used(const bl_arena *arena) {
  return arena->used;
}
