// SPDX-License-Identifier: Apache-2.0
// The integer program against every choice tried, on small random problems; limits that nothing
// meets.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>
#include <time.h>

#include "host/search/assign.h"

enum { GROUPS = 5, CHOICES = 4, PAIRS = 4, CASES = 60 };

static uint64_t seed;

static uint32_t next_random(uint32_t below) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(seed >> 33) % below;
}

static const char *const names[BL_CRITERIA] = {"cycles", "bytes", "loss"};

typedef struct {
  uint32_t choices[GROUPS];
  double unary[BL_CRITERIA][GROUPS][CHOICES], products[PAIRS][CHOICES * CHOICES];
  const double *rows[BL_CRITERIA][GROUPS];
  bl_assign_pair pairs[PAIRS];
  bl_assign_problem problem;
} instance;

static void make(instance *c) {
  for (uint32_t g = 0; g < GROUPS; g++) {
    c->choices[g] = 1 + next_random(CHOICES);
    for (uint32_t k = 0; k < BL_CRITERIA; k++) {
      c->rows[k][g] = c->unary[k][g];
      for (uint32_t i = 0; i < CHOICES; i++)
        c->unary[k][g][i] = next_random(100);
    }
  }
  for (uint32_t n = 0; n < PAIRS; n++) {
    for (uint32_t i = 0; i < CHOICES * CHOICES; i++)
      c->products[n][i] = next_random(200);
    c->pairs[n] = (bl_assign_pair){n, n + 1, {c->products[n], NULL, NULL}};
  }
  c->problem = (bl_assign_problem){.group_count = GROUPS,
                                   .choices = c->choices,
                                   .table = {c->rows[0], c->rows[1], c->rows[2]},
                                   .pairs = c->pairs,
                                   .pair_count = PAIRS};
}

// This test's own sums.
static void add_up(const instance *c, const uint32_t *choice, double *sums) {
  for (uint32_t k = 0; k < BL_CRITERIA; k++) {
    sums[k] = 0;
    for (uint32_t g = 0; g < GROUPS; g++)
      sums[k] += c->unary[k][g][choice[g]];
  }
  for (uint32_t n = 0; n < PAIRS; n++)
    sums[0] += c->products[n][choice[n] * c->choices[n + 1] + choice[n + 1]];
}

// The least of the objective over all choices within the limits; INFINITY: none.
static double brute_force(const instance *c, uint32_t objective, const double *limits) {
  double best = INFINITY;
  uint32_t choice[GROUPS] = {0};
  for (uint32_t g = 0; g < GROUPS;) {
    double sums[BL_CRITERIA];
    add_up(c, choice, sums);
    if (sums[0] <= limits[0] && sums[1] <= limits[1] && sums[2] <= limits[2])
      best = fmin(best, sums[objective]);
    for (g = 0; g < GROUPS && ++choice[g] == c->choices[g]; g++)
      choice[g] = 0;
  }
  return best;
}

static void as_brute_force(void **state) {
  (void)state;
  const char *text = getenv("BITLOOM_SEED");
  seed = text != NULL ? strtoull(text, NULL, 0) : (uint64_t)time(NULL);
  printf("seed %llu (repeat with BITLOOM_SEED)\n", (unsigned long long)seed);
  uint32_t met = 0, impossible = 0;
  for (uint32_t n = 0; n < CASES; n++) {
    instance c;
    make(&c);
    bl_assign_options options = {.objective = n % BL_CRITERIA, .names = names};
    for (uint32_t k = 0; k < BL_CRITERIA; k++)
      options.limits[k] = k == options.objective || next_random(3) == 0
                              ? INFINITY
                              : (double)(k == 0 ? 200 + next_random(700) : 60 + next_random(240));
    const double expected = brute_force(&c, options.objective, options.limits);
    uint32_t choice[GROUPS];
    bl_assigned result;
    bl_error err = {0};
    bl_status status = bl_assign(&c.problem, &options, choice, &result, &err);
    if (isinf(expected)) {
      assert_int_equal(status, BL_ERR_RANGE);
      assert_non_null(strstr(err.text, "the least is"));
      impossible++;
      continue;
    }
    assert_int_equal(status, BL_OK);
    double sums[BL_CRITERIA];
    add_up(&c, choice, sums);
    assert_true(result.proven);
    assert_true(fabs(sums[options.objective] - expected) < 1e-6);
    for (uint32_t k = 0; k < BL_CRITERIA; k++) {
      assert_true(sums[k] <= options.limits[k] + 1e-6);
      assert_true(fabs(sums[k] - result.sums[k]) < 1e-9);
    }
    met++;
  }
  printf("%u solved, %u impossible\n", (unsigned)met, (unsigned)impossible);
  assert_true(met > 0);
}

// Two groups: cycles at least 3 + 5 = 8, bytes 4.
static void least_that_is_reachable(void **state) {
  (void)state;
  const uint32_t choices[] = {2, 2};
  const double a[] = {3, 9}, b[] = {7, 5}, c[] = {2, 1}, d[] = {2, 9};
  const double *cycles[] = {a, b}, *bytes[] = {c, d};
  const bl_assign_problem problem = {
      .group_count = 2, .choices = choices, .table = {cycles, bytes, cycles}};
  bl_assign_options options = {.objective = 2, .limits = {7, INFINITY, INFINITY}, .names = names};
  uint32_t choice[2];
  bl_assigned result;
  bl_error err = {0};
  assert_int_equal(bl_assign(&problem, &options, choice, &result, &err), BL_ERR_RANGE);
  assert_string_equal(err.text, "cycles of 7 cannot be reached: the least is 8");
  options.limits[0] = INFINITY;
  options.limits[1] = 2;
  err = (bl_error){0};
  assert_int_equal(bl_assign(&problem, &options, choice, &result, &err), BL_ERR_RANGE);
  assert_string_equal(err.text, "bytes of 2 cannot be reached: the least is 3");
  // Each alone is possible: cycles 8 with 11 bytes, 10 cycles with 4.
  options.limits[0] = 9;
  options.limits[1] = 4;
  err = (bl_error){0};
  assert_int_equal(bl_assign(&problem, &options, choice, &result, &err), BL_ERR_RANGE);
  assert_string_equal(err.text,
                      "bytes of 4 cannot be reached beside the other limits: the least is 11");
  options.limits[0] = 10;
  assert_int_equal(bl_assign(&problem, &options, choice, &result, &err), BL_OK);
  assert_int_equal(choice[0], 0);
  assert_int_equal(choice[1], 0);
}

static void sizes_are_checked(void **state) {
  (void)state;
  const uint32_t choices[] = {0};
  const double a[] = {1};
  const double *table[] = {a};
  const bl_assign_problem problem = {
      .group_count = 1, .choices = choices, .table = {table, table, table}};
  bl_assign_options options = {.limits = {INFINITY, INFINITY, INFINITY}, .names = names};
  uint32_t choice[1];
  bl_assigned result;
  bl_error err = {0};
  assert_int_equal(bl_assign(&problem, &options, choice, &result, &err), BL_ERR_RANGE);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(as_brute_force),
      cmocka_unit_test(least_that_is_reachable),
      cmocka_unit_test(sizes_are_checked),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
