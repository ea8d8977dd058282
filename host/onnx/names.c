// SPDX-License-Identifier: Apache-2.0
// Open addressing with linear probing; FNV-1a (Fowler, Noll, Vo) as the hash.
#include "host/onnx/names.h"

#include <string.h>

static uint32_t slot_of(const bl_names *t, const char *name) {
  uint32_t hash = 2166136261u;
  for (const char *c = name; *c != '\0'; c++)
    hash = (hash ^ (uint8_t)*c) * 16777619u;
  uint32_t slot = hash & (t->room - 1);
  while (t->names[slot] != NULL && strcmp(t->names[slot], name) != 0)
    slot = (slot + 1) & (t->room - 1);
  return slot;
}

int32_t bl_names_find(const bl_names *t, const char *name) {
  if (t->room == 0) return -1;
  uint32_t slot = slot_of(t, name);
  return t->names[slot] != NULL ? t->numbers[slot] : -1;
}

static int grow(bl_names *t, bl_arena *arena) {
  bl_names bigger = {.room = t->room == 0 ? 64 : 2 * t->room, .used = t->used};
  bigger.names = bl_arena_alloc(arena, bigger.room, sizeof *bigger.names);
  bigger.numbers = bl_arena_alloc(arena, bigger.room, sizeof *bigger.numbers);
  if (bigger.names == NULL || bigger.numbers == NULL) return 0;
  for (uint32_t k = 0; k < t->room; k++) {
    if (t->names[k] == NULL) continue;
    uint32_t slot = slot_of(&bigger, t->names[k]);
    bigger.names[slot] = t->names[k];
    bigger.numbers[slot] = t->numbers[k];
  }
  *t = bigger;
  return 1;
}

int bl_names_add(bl_names *t, bl_arena *arena, const char *name, int32_t number) {
  if (2 * t->used >= t->room && !grow(t, arena)) return 0;
  uint32_t slot = slot_of(t, name);
  t->names[slot] = name;
  t->numbers[slot] = number;
  t->used++;
  return 1;
}
