// SPDX-License-Identifier: Apache-2.0
// One choice in each of several groups, exactly: criteria that are sums over the choices and over
// pairs of choices, one of them minimised, the others within limits. An integer program that GLPK
// solves by branch and cut.
#ifndef BITLOOM_HOST_SEARCH_ASSIGN_H
#define BITLOOM_HOST_SEARCH_ASSIGN_H

#include <stdbool.h>
#include <stdint.h>

#include "host/base/error.h"

enum { BL_CRITERIA = 3, BL_ASSIGN_MOST_GROUPS = 4096, BL_ASSIGN_MOST_CHOICES = 256 };

// What choice i of group `first` and choice j of group `second` add together:
// table[k][i * choices of second + j] to criterion k. NULL: nothing to that criterion.
typedef struct {
  uint32_t first, second; // different groups
  const double *table[BL_CRITERIA];
} bl_assign_pair;

// table[k][g][i]: what choice i of group g adds to criterion k; finite.
typedef struct {
  uint32_t group_count;    // 1..BL_ASSIGN_MOST_GROUPS
  const uint32_t *choices; // [group_count], each 1..BL_ASSIGN_MOST_CHOICES
  const double *const *table[BL_CRITERIA];
  const bl_assign_pair *pairs;
  uint32_t pair_count;
} bl_assign_problem;

typedef struct {
  uint32_t objective;         // criterion to minimise
  double limits[BL_CRITERIA]; // of the sums, which may reach them; INFINITY: none
  uint32_t nodes;             // of the search tree at most; 0: 20,000. Then the best so far counts
  const char *const *names;   // [BL_CRITERIA] of the criteria, for messages
} bl_assign_options;

// choice: [group_count]; sums: what it adds up to; `proven`: no other choice is better. The same
// on every machine with the same GLPK. Errors: RANGE (sizes; limits that nothing meets: says which
// and the least that is reachable), MEMORY, UNSUPPORTED (GLPK gave up without any solution).
typedef struct {
  double sums[BL_CRITERIA];
  bool proven;
} bl_assigned;
BL_MUST_USE bl_status bl_assign(const bl_assign_problem *problem, const bl_assign_options *options,
                                uint32_t *choice, bl_assigned *result, bl_error *err);

#endif
