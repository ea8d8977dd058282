// SPDX-License-Identifier: Apache-2.0
// Popcount and requantise kernels of the functional device: one body, three instruction sets, two
// word widths. The plain and AVX2 ones count bits side by side in the word (Hacker's Delight, 5-1),
// AVX-512 has an instruction for it.
#include "sim/functional_internal.h"

typedef uint32_t vec32 __attribute__((vector_size(32), aligned(4), may_alias));
typedef uint64_t vec64 __attribute__((vector_size(64), aligned(8), may_alias));

typedef int32_t vec32s __attribute__((vector_size(32), aligned(4), may_alias));
typedef int64_t vec64s __attribute__((vector_size(64), aligned(8), may_alias));
typedef uint8_t vec8 __attribute__((vector_size(8), aligned(1), may_alias));

#define POP32(x)                                                                                   \
  ({                                                                                               \
    vec32 n_ = (x) - (((x) >> 1) & 0x55555555u);                                                   \
    n_ = (n_ & 0x33333333u) + ((n_ >> 2) & 0x33333333u);                                           \
    n_ = (n_ + (n_ >> 4)) & 0x0F0F0F0Fu;                                                           \
    n_ += n_ >> 8;                                                                                 \
    (n_ + (n_ >> 16)) & 63u;                                                                       \
  })
#define POP64(x)                                                                                   \
  ({                                                                                               \
    vec64 n_ = (x) - (((x) >> 1) & 0x5555555555555555u);                                           \
    n_ = (n_ & 0x3333333333333333u) + ((n_ >> 2) & 0x3333333333333333u);                           \
    n_ = (n_ + (n_ >> 4)) & 0x0F0F0F0F0F0F0F0Fu;                                                   \
    n_ += n_ >> 8;                                                                                 \
    n_ += n_ >> 16;                                                                                \
    (n_ + (n_ >> 32)) & 127u;                                                                      \
  })

#pragma GCC diagnostic ignored "-Wpedantic" // statement expressions and vector casts, here only
#pragma GCC diagnostic ignored "-Wpsabi"

#define KERNEL plain32
#define REQUANTISE plain32_requantise
#define WORD uint32_t
#define COLS_ 8
#define VEC vec32
#define TARGET
#define POP(x) POP32(x)
#include "sim/functional_kernel.inc"

#define KERNEL plain64
#define REQUANTISE plain64_requantise
#define WORD uint64_t
#define COLS_ 16
#define VEC vec64
#define TARGET
#define POP(x) POP64(x)
#include "sim/functional_kernel.inc"

#if defined(__x86_64__)
#include <immintrin.h>

#define KERNEL avx2_32
#define REQUANTISE avx2_32_requantise
#define WORD uint32_t
#define COLS_ 8
#define VEC vec32
#define TARGET __attribute__((target("avx2,popcnt")))
#define POP(x) POP32(x)
#include "sim/functional_kernel.inc"

#define KERNEL avx2_64
#define REQUANTISE avx2_64_requantise
#define WORD uint64_t
#define COLS_ 16
#define VEC vec64
#define TARGET __attribute__((target("avx2,popcnt")))
#define POP(x) POP64(x)
#include "sim/functional_kernel.inc"

#define KERNEL avx512_32
#define REQUANTISE avx512_32_requantise
#define WORD uint32_t
#define COLS_ 8
#define VEC vec32
#define TARGET __attribute__((target("avx512f,avx512vl,avx512dq,avx512vpopcntdq,popcnt")))
#define POP(x) (vec32) _mm256_popcnt_epi32((__m256i)(x))
#include "sim/functional_kernel.inc"

#define KERNEL avx512_64
#define REQUANTISE avx512_64_requantise
#define WORD uint64_t
#define COLS_ 16
#define VEC vec64
#define TARGET __attribute__((target("avx512f,avx512vl,avx512dq,avx512vpopcntdq,popcnt")))
#define POP(x) (vec64) _mm512_popcnt_epi64((__m512i)(x))
#include "sim/functional_kernel.inc"

static bool have(bl_popcount popcount) {
  __builtin_cpu_init();
  if (popcount == BL_POPCOUNT_AVX512)
    return __builtin_cpu_supports("avx512vpopcntdq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq");
  return popcount == BL_POPCOUNT_PLAIN || __builtin_cpu_supports("avx2");
}

static bl_kernels kernels_of(bl_popcount popcount, bool wide) {
  if (popcount == BL_POPCOUNT_AVX512)
    return wide ? (bl_kernels){avx512_64, avx512_64_requantise, "AVX-512"}
                : (bl_kernels){avx512_32, avx512_32_requantise, "AVX-512"};
  if (popcount == BL_POPCOUNT_AVX2)
    return wide ? (bl_kernels){avx2_64, avx2_64_requantise, "AVX2"}
                : (bl_kernels){avx2_32, avx2_32_requantise, "AVX2"};
  return wide ? (bl_kernels){plain64, plain64_requantise, "plain C"}
              : (bl_kernels){plain32, plain32_requantise, "plain C"};
}
#else
static bool have(bl_popcount popcount) {
  return popcount == BL_POPCOUNT_PLAIN;
}

static bl_kernels kernels_of(bl_popcount popcount, bool wide) {
  (void)popcount;
  return wide ? (bl_kernels){plain64, plain64_requantise, "plain C"}
              : (bl_kernels){plain32, plain32_requantise, "plain C"};
}
#endif

bool bl_kernel_choose(const bl_config *config, bl_popcount popcount, bl_kernels *kernels) {
  bool wide = config->lanes == 64;
  if (config->cols != (wide ? 16u : 8u)) return false;
  if (popcount == BL_POPCOUNT_BEST) {
    popcount = BL_POPCOUNT_AVX512;
    while (!have(popcount))
      popcount--;
  }
  if (!have(popcount)) return false;
  *kernels = kernels_of(popcount, wide);
  return true;
}
