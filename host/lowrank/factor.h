// SPDX-License-Identifier: Apache-2.0
// Factorisations of matrices and of kernels (three-way arrays), and how many factors to keep.
// Everything is in double, row-major, and hangs from the caller's arena; linear algebra runs in one
// thread, so that results do not depend on the machine's processors.
#ifndef BITLOOM_HOST_LOWRANK_FACTOR_H
#define BITLOOM_HOST_LOWRANK_FACTOR_H

#include <stdint.h>

#include "host/base/arena.h"
#include "host/base/error.h"

// a[rows][cols] = sum over k of u[.][k] s[k] vt[k][.], s descending. The first r terms are the
// nearest matrix of rank r; what they miss is the sum of the squares of the other s (Eckart and
// Young 1936).
typedef struct {
  uint32_t rows, cols, count; // count: the smaller of the two
  double *u;                  // [rows][count]
  double *s;                  // [count]
  double *vt;                 // [count][cols]
} bl_svd;

// Errors: RANGE where `a` is not finite, MEMORY.
BL_MUST_USE bl_status bl_svd_take(bl_arena *arena, const double *a, uint32_t rows, uint32_t cols,
                                  bl_svd *svd, bl_error *err);

// The least rank, 1..count, whose share of the sum of s^2 is at least `energy` (0..1).
uint32_t bl_rank_energy(const double *s, uint32_t count, double energy);
// The rank, 0..count, that the singular values s[count] of a matrix whose longer side is `longer`
// stand out of noise with: the analytic solution of empirical variational Bayesian matrix
// factorisation, with the noise's variance estimated (Nakajima, Sugiyama, Babacan and Tomioka 2013,
// Global analytic solution of fully-observed variational Bayesian matrix factorization, JMLR 14,
// theorem 2 and corollary 1).
uint32_t bl_rank_vbmf(const double *s, uint32_t count, uint32_t longer);

// A kernel k[outputs][inputs][taps].
typedef struct {
  uint32_t outputs, inputs, taps;
  const double *k;
} bl_kernel;

// k[n][c][t] ~ sum over i, j of out[n][i] core[i][j][t] in[c][j]; `out` and `in` have orthonormal
// columns.
typedef struct {
  uint32_t rank_out, rank_in;
  double *out, *core, *in;
  double *spectrum_out, *spectrum_in; // [outputs], [inputs] singular values of the two unfoldings
} bl_tucker;

// The singular values alone, all that is needed to choose ranks. Errors: as bl_svd_take.
BL_MUST_USE bl_status bl_tucker_spectra(bl_arena *arena, const bl_kernel *kernel, bl_tucker *tucker,
                                        bl_error *err);
// Tucker-2 (Kim et al. 2016, arXiv 1511.06530): starts from the two unfoldings' singular vectors
// (HOSVD) and improves `out` and `in` in turn (HOOI) until nothing changes. Ranks 1..outputs,
// 1..inputs. Errors: as bl_svd_take.
BL_MUST_USE bl_status bl_tucker_take(bl_arena *arena, const bl_kernel *kernel, uint32_t rank_out,
                                     uint32_t rank_in, bl_tucker *tucker, bl_error *err);

// k[n][c][t] ~ sum over r of out[n][r] in[c][r] tap[t][r].
typedef struct {
  uint32_t rank;
  double *out, *in, *tap;
} bl_cp;

// Canonical polyadic decomposition by alternating least squares (Lebedev et al. 2015,
// arXiv 1412.6553, with the taps taken together, which is more exact at the same rank). Each solve
// stays near the last one and near 0 a little (regularised ALS: Li, Kindermann and Navasca 2013),
// and the norms of a component's three vectors are kept equal, so that components that cancel each
// other do not grow without bound. Errors: as bl_svd_take.
BL_MUST_USE bl_status bl_cp_take(bl_arena *arena, const bl_kernel *kernel, uint32_t rank, bl_cp *cp,
                                 bl_error *err);

#endif
