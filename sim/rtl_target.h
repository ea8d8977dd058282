// SPDX-License-Identifier: Apache-2.0
// Included before Verilator's code of a model. On x86-64 the compiler makes its clocked functions
// twice, for every processor and for those since 2013 (x86-64-v3: popcnt, BMI, AVX2); the loader
// takes the one that the processor can run. Bits are counted by the compiler's own function, which
// is one instruction in the second.
#ifndef BITLOOM_SIM_RTL_TARGET_H
#define BITLOOM_SIM_RTL_TARGET_H

#include "verilated.h"

#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__) && !defined(__clang__)
#undef VL_INLINE_OPT // stands before each of those functions and is empty otherwise
#define VL_INLINE_OPT __attribute__((target_clones("default", "arch=x86-64-v3")))
#endif

#define VL_COUNTONES_I(word) static_cast<IData>(__builtin_popcount(word))
#define VL_COUNTONES_Q(word) static_cast<IData>(__builtin_popcountll(word))

#endif
