// SPDX-License-Identifier: Apache-2.0
// BL_SIMD in front of a function: it is compiled for AVX-512 and AVX2, too, and the widest form
// that the processor has is taken when the program starts. Sums of `omp simd reduction` then differ
// in their last bits from one kind of processor to another, as those of oneDNN do.
#ifndef BITLOOM_HOST_BASE_SIMD_H
#define BITLOOM_HOST_BASE_SIMD_H

#if defined(__x86_64__)
#define BL_SIMD __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define BL_SIMD
#endif

#endif
