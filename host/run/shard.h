// SPDX-License-Identifier: Apache-2.0
// Work spread over processes. A simulated device is one thread's work, so a long run forks: each
// process opens its own device, takes its own part and leaves its result in memory that is shared
// with the parent. What comes back depends on the parts only, never on who finished first.
#ifndef BITLOOM_HOST_RUN_SHARD_H
#define BITLOOM_HOST_RUN_SHARD_H

#include <stddef.h>
#include <stdint.h>

#include "host/base/error.h"

enum { BL_MAX_SHARDS = 64 };

// Called now and then during long work with how much is done.
typedef struct {
  void (*step)(void *user, size_t done, size_t total); // NULL: nobody wants to know
  void *user;
} bl_progress;

// What a worker reports through while it works; cheap enough for every sample.
typedef struct bl_shard_tick bl_shard_tick;
void bl_shard_done(bl_shard_tick *tick, size_t more);

// One part: fills `result` (result_size bytes, zero before). May allocate; must not touch what the
// parent will read by any other way.
typedef bl_status (*bl_shard_work)(void *context, uint32_t shard, void *result, bl_shard_tick *tick,
                                   bl_error *err);

// Runs parts 0..shards-1, one process each (a single part runs in the caller's), and copies their
// results to results[shards], in order. `total` is what the ticks add up to. The first failure in
// part order is returned and the other processes are ended. Errors: those of `work`, RANGE (shards
// not 1..BL_MAX_SHARDS), MEMORY, DEVICE (a process died).
BL_MUST_USE bl_status bl_shard_run(uint32_t shards, bl_shard_work work, void *context,
                                   void *results, size_t result_size, size_t total,
                                   bl_progress progress, bl_error *err);
// Part `shard` of `count` things: *first and how many, sizes as equal as multiples of `unit` allow.
size_t bl_shard_part(size_t count, size_t unit, uint32_t shards, uint32_t shard, size_t *first);

#endif
