// SPDX-License-Identifier: Apache-2.0
// What every RTL bench shares: a seed that is printed, random numbers, checks, the closing line.
#ifndef BITLOOM_TESTS_RTL_BENCH_H
#define BITLOOM_TESTS_RTL_BENCH_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  uint64_t state;
  uint64_t checks, failures;
} bench;

// The seed is the first argument that is a number, else 1; it is printed.
static inline bench bench_begin(int argc, char **argv, const char *name) {
  bench b = {.state = 1};
  for (int i = 1; i < argc; i++)
    if (argv[i][0] >= '0' && argv[i][0] <= '9') b.state = strtoull(argv[i], NULL, 0);
  (void)printf("%s: seed %" PRIu64 "\n", name, b.state);
  b.state = b.state * 0x9E3779B97F4A7C15u + 0x2545F4914F6CDD1Du;
  return b;
}

// xorshift64*
static inline uint32_t bench_random(bench *b) {
  b->state ^= b->state >> 12;
  b->state ^= b->state << 25;
  b->state ^= b->state >> 27;
  return (uint32_t)((b->state * 0x2545F4914F6CDD1Du) >> 32);
}

// lo..hi, both included.
static inline int64_t bench_range(bench *b, int64_t lo, int64_t hi) {
  uint64_t wide = (uint64_t)bench_random(b) << 32 | bench_random(b);
  return lo + (int64_t)(wide % (uint64_t)(hi - lo + 1));
}

static inline bool bench_chance(bench *b, unsigned percent) {
  return bench_random(b) % 100 < percent;
}

// Counts a check; prints the first 20 that fail.
static inline void bench_check(bench *b, bool ok, const char *what, long long where,
                               long long expected, long long got) {
  b->checks++;
  if (ok) return;
  if (b->failures++ < 20)
    (void)printf("FAILED %s at %lld: expected %lld, got %lld\n", what, where, expected, got);
}

#define BENCH_EQUAL(b, what, where, expected, got)                                                 \
  bench_check((b), (long long)(expected) == (long long)(got), (what), (long long)(where),          \
              (long long)(expected), (long long)(got))

// Prints the closing line; the program's exit status.
static inline int bench_end(const bench *b, const char *name) {
  (void)printf("%s: %" PRIu64 " checks, %" PRIu64 " failed\n", name, b->checks, b->failures);
  return b->failures == 0 && b->checks > 0 ? 0 : 1;
}

// Bits lsb .. lsb+count-1 (count <= 64) of a wide port.
static inline uint64_t bench_get(const uint32_t *words, unsigned lsb, unsigned count) {
  uint64_t value = 0;
  for (unsigned i = 0; i < count; i++)
    value |= (uint64_t)((words[(lsb + i) / 32] >> ((lsb + i) % 32)) & 1u) << i;
  return value;
}

// The low `bits` bits of a value, as a signed number.
static inline int64_t bench_wrap(int64_t value, unsigned bits) {
  return (int64_t)((uint64_t)value << (64 - bits)) >> (64 - bits);
}

static inline void bench_put(uint32_t *words, unsigned lsb, unsigned count, uint64_t value) {
  for (unsigned i = 0; i < count; i++) {
    uint32_t bit = 1u << ((lsb + i) % 32);
    if ((value >> i) & 1u)
      words[(lsb + i) / 32] |= bit;
    else
      words[(lsb + i) / 32] &= ~bit;
  }
}

#endif
