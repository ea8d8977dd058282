// SPDX-License-Identifier: Apache-2.0
// A capped arena: objects that live and die together (a graph, a program) hang from one, so that
// an error path frees everything with one call and a hostile file cannot take more than the cap.
#ifndef BITLOOM_HOST_BASE_ARENA_H
#define BITLOOM_HOST_BASE_ARENA_H

#include <stddef.h>

typedef struct bl_arena bl_arena;

// A new arena that hands out at most `cap` bytes in all; NULL when memory is short.
bl_arena *bl_arena_new(size_t cap);
// Frees the arena and everything allocated from it. NULL is allowed.
void bl_arena_free(bl_arena *arena);
// `count` zeroed objects of `size` bytes, aligned to 64 bytes; NULL when count*size overflows, the
// cap would be passed or memory is short. count or size 0 gives a valid pointer to nothing.
void *bl_arena_alloc(bl_arena *arena, size_t count, size_t size);
// A copy of the first `length` bytes of `text` with a terminating zero; NULL as above.
char *bl_arena_strndup(bl_arena *arena, const char *text, size_t length);
// Bytes handed out so far.
size_t bl_arena_used(const bl_arena *arena);

#endif
