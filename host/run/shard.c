// SPDX-License-Identifier: Apache-2.0
// Processes and the shared memory that their results come back through.
#include "host/run/shard.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { POLL_NANOSECONDS = 20000000 };

struct bl_shard_tick {
  atomic_size_t done;
  bl_progress progress; // of a single part, which reports directly
  size_t total;
  bl_status status;
  bl_error err;
  bool finished;
};

typedef struct {
  uint32_t shards;
  bl_shard_work work;
  void *context;
  bl_shard_tick *ticks;
  unsigned char *results;
  size_t result_size;
  pid_t pids[BL_MAX_SHARDS]; // 0: ended
} pool;

void bl_shard_done(bl_shard_tick *tick, size_t more) {
  size_t done = atomic_fetch_add(&tick->done, more) + more;
  if (tick->progress.step != NULL) tick->progress.step(tick->progress.user, done, tick->total);
}

size_t bl_shard_part(size_t count, size_t unit, uint32_t shards, uint32_t shard, size_t *first) {
  size_t units = (count + unit - 1) / unit, each = units / shards, rest = units % shards;
  size_t start = (shard * each + (shard < rest ? shard : rest)) * unit;
  size_t end = start + (each + (shard < rest ? 1 : 0)) * unit;
  *first = start < count ? start : count;
  return (end < count ? end : count) - *first;
}

static void work_in_child(pool *p, uint32_t shard) {
  (void)prctl(PR_SET_PDEATHSIG, SIGKILL); // nobody would collect its result
  bl_shard_tick *tick = &p->ticks[shard];
  tick->status = p->work(p->context, shard, p->results + shard * p->result_size, tick, &tick->err);
  tick->finished = true;
  _exit(0); // the parent flushes and cleans up; this process only leaves
}

static bl_status start(pool *p, bl_error *err) {
  (void)fflush(NULL); // or each child would print what is still in the buffers
  for (uint32_t i = 0; i < p->shards; i++) {
    pid_t pid = fork();
    if (pid == 0) work_in_child(p, i);
    if (pid < 0) return bl_fail(err, BL_ERR_MEMORY, "cannot start a process: %s", strerror(errno));
    p->pids[i] = pid;
  }
  return BL_OK;
}

static void stop(pool *p) {
  for (uint32_t i = 0; i < p->shards; i++)
    if (p->pids[i] != 0) (void)kill(p->pids[i], SIGKILL);
  for (uint32_t i = 0; i < p->shards; i++)
    while (p->pids[i] != 0 && waitpid(p->pids[i], NULL, 0) < 0 && errno == EINTR) {
    }
}

// Notes the processes that have ended; returns how many still run, and whether one has failed.
static uint32_t reap(pool *p, bool *failed) {
  uint32_t running = 0;
  for (uint32_t i = 0; i < p->shards; i++) {
    if (p->pids[i] == 0) continue;
    if (waitpid(p->pids[i], NULL, WNOHANG) == 0) {
      running++;
      continue;
    }
    p->pids[i] = 0;
    if (!p->ticks[i].finished || p->ticks[i].status != BL_OK) *failed = true;
  }
  return running;
}

static void watch(pool *p, size_t total, bl_progress progress) {
  bool failed = false;
  while (reap(p, &failed) != 0 && !failed) {
    size_t done = 0;
    for (uint32_t i = 0; i < p->shards; i++)
      done += atomic_load(&p->ticks[i].done);
    if (progress.step != NULL) progress.step(progress.user, done, total);
    struct timespec pause = {.tv_nsec = POLL_NANOSECONDS};
    (void)nanosleep(&pause, NULL);
  }
}

// Parts that were ended because another failed are not failures themselves.
static bl_status verdict(const pool *p, bl_error *err) {
  for (uint32_t i = 0; i < p->shards; i++) {
    const bl_shard_tick *tick = &p->ticks[i];
    if (tick->finished && tick->status != BL_OK)
      return bl_fail(err, tick->status, "%s", tick->err.text);
  }
  for (uint32_t i = 0; i < p->shards; i++)
    if (!p->ticks[i].finished)
      return bl_fail(err, BL_ERR_DEVICE, "process %u of %u died", (unsigned)i, (unsigned)p->shards);
  return BL_OK;
}

static bl_status run_forked(pool *p, size_t total, bl_progress progress, bl_error *err) {
  bl_status status = start(p, err);
  if (status == BL_OK) watch(p, total, progress);
  stop(p);
  return status == BL_OK ? verdict(p, err) : status;
}

bl_status bl_shard_run(uint32_t shards, bl_shard_work work, void *context, void *results,
                       size_t result_size, size_t total, bl_progress progress, bl_error *err) {
  if (shards < 1 || shards > BL_MAX_SHARDS)
    return bl_fail(err, BL_ERR_RANGE, "%u processes, expected 1 to %d", (unsigned)shards,
                   BL_MAX_SHARDS);
  if (shards == 1) {
    bl_shard_tick tick = {.progress = progress, .total = total};
    memset(results, 0, result_size);
    return work(context, 0, results, &tick, err);
  }
  size_t tick_bytes = shards * sizeof(bl_shard_tick), bytes = tick_bytes + shards * result_size;
  void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return bl_fail(err, BL_ERR_MEMORY, "no memory for %zu bytes", bytes);
  pool p = {.shards = shards,
            .work = work,
            .context = context,
            .ticks = memory,
            .results = (unsigned char *)memory + tick_bytes,
            .result_size = result_size};
  bl_status status = run_forked(&p, total, progress, err);
  memcpy(results, p.results, shards * result_size);
  (void)munmap(memory, bytes);
  return status;
}
