// SPDX-License-Identifier: Apache-2.0
// Evolution on a small problem whose best candidates are found by trying all; the same candidates
// whatever the number of workers, with a search that was stopped in between, and by a command.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>
#include <unistd.h>

#include "host/search/evolve.h"
#include "host/search/sensitivity.h"

enum { LAYERS = 4, KNOBS = 2 * LAYERS, VALUES = 4, MOST = 4000 };

static const char *const layers[LAYERS] = {"a", "b", "c", "d"};

static bl_space make_space(bl_knob *knobs) {
  for (uint32_t k = 0; k < KNOBS; k++) {
    knobs[k] = (bl_knob){.layer = layers[k / 2],
                         .kind = k % 2 == 0 ? BL_KNOB_WEIGHT_BITS : BL_KNOB_ACTIVATION_BITS,
                         .count = VALUES};
    for (uint32_t i = 0; i < VALUES; i++)
      knobs[k].values[i] = 2.0 * (i + 1);
  }
  return (bl_space){knobs, KNOBS};
}

// Cycles are products, loss has pairs of layers in it: no sums.
static void worth(const bl_search_plan *plan, bl_search_result *r) {
  *r = (bl_search_result){.accuracy = -1};
  double before = 8;
  for (uint32_t k = 0; k < plan->count; k++) {
    const double w = plan->layers[k].value[BL_KNOB_WEIGHT_BITS];
    const double a = plan->layers[k].value[BL_KNOB_ACTIVATION_BITS];
    r->cycles += (k + 1) * w * before;
    r->bytes += w;
    r->loss += pow(2, -w) * (1 + k % 2) + pow(2, -a) * pow(2, -before / 8);
    before = a;
  }
}

static int evaluations, stop_after; // stop_after 0: never
static bl_status evaluate(void *context, const bl_search_plan *plan, bl_search_result *result,
                          bl_error *err) {
  (void)context;
  if (stop_after != 0 && ++evaluations > stop_after) return bl_fail(err, BL_ERR_IO, "stopped");
  worth(plan, result);
  return BL_OK;
}

static bl_evolve_options options_of(uint64_t seed) {
  return (bl_evolve_options){.population = 24,
                             .generations = 40,
                             .seed = seed,
                             .mask = 1u << BL_CYCLES | 1u << BL_LOSS,
                             .limits = {{INFINITY, INFINITY, INFINITY}, -1}};
}

// Runs with these pool options and copies what was asked for; returns how many, or fails.
static uint32_t evolve(bl_pool_options o, const bl_evolve_options *how, bl_search_result *results,
                       bl_status expected) {
  bl_pool *pool;
  bl_error err = {0};
  if (bl_pool_open(&o, &pool, &err) != BL_OK) fail_msg("%s", err.text);
  bl_status status = bl_evolve(pool, o.space, how, NULL, 0, &err);
  if (status != expected) fail_msg("status %d: %s", (int)status, err.text);
  uint32_t count;
  const bl_pool_entry *entries = bl_pool_entries(pool, &count);
  assert_true(count < MOST);
  for (uint32_t k = 0; k < count; k++)
    results[k] = entries[k].result;
  bl_pool_close(pool);
  return count;
}

static bl_search_result found[MOST], again[MOST];

static void finds_the_front(void **state) {
  (void)state;
  bl_knob knobs[KNOBS];
  const bl_space space = make_space(knobs);
  const bl_evolve_options how = options_of(1);
  const uint32_t count = evolve(
      (bl_pool_options){.space = &space, .evaluate = evaluate, .workers = 1}, &how, found, BL_OK);
  // All 65,536 candidates: how many of the best did it find, for which budget of cycles?
  uint32_t good = 0, budgets = 0;
  for (double budget = 100; budget <= 600; budget += 50) {
    double best = INFINITY, mine = INFINITY;
    for (uint32_t n = 0; n < 1u << 16; n++) {
      bl_planned planned[LAYERS];
      for (uint32_t k = 0; k < LAYERS; k++)
        planned[k] = (bl_planned){layers[k],
                                  {[BL_KNOB_WEIGHT_BITS] = 2.0 * ((n >> 4 * k & 3) + 1),
                                   [BL_KNOB_ACTIVATION_BITS] = 2.0 * ((n >> (4 * k + 2) & 3) + 1)}};
      bl_search_result r;
      worth(&(bl_search_plan){planned, LAYERS}, &r);
      if (r.cycles <= budget) best = fmin(best, r.loss);
    }
    for (uint32_t k = 0; k < count; k++)
      if (found[k].cycles <= budget) mine = fmin(mine, found[k].loss);
    budgets++;
    if (mine == best) good++;
    assert_true(mine >= best && mine <= 1.25 * best);
  }
  printf("%u candidates of 65,536; the best for %u of %u budgets\n", (unsigned)count,
         (unsigned)good, (unsigned)budgets);
  assert_true(2 * good > budgets);
}

static void same_with_any_workers(void **state) {
  (void)state;
  bl_knob knobs[KNOBS];
  const bl_space space = make_space(knobs);
  bl_evolve_options how = options_of(7);
  how.generations = 4;
  const bl_pool_options one = {.space = &space, .evaluate = evaluate, .workers = 1};
  const bl_pool_options three = {.space = &space, .evaluate = evaluate, .workers = 3};
  const uint32_t count = evolve(one, &how, found, BL_OK);
  assert_int_equal(evolve(three, &how, again, BL_OK), count);
  assert_memory_equal(found, again, count * sizeof *found);
  how.seed = 8;
  (void)evolve(one, &how, again, BL_OK);
  assert_memory_not_equal(found, again, count * sizeof *found);
}

static void temporary(char *path) {
  (void)snprintf(path, 64, "/tmp/bitloom-search-XXXXXX");
  const int file = mkstemp(path);
  assert_true(file >= 0);
  (void)close(file);
}

static void goes_on_where_it_was_stopped(void **state) {
  (void)state;
  bl_knob knobs[KNOBS];
  const bl_space space = make_space(knobs);
  bl_evolve_options how = options_of(3);
  how.generations = 6;
  char path[64];
  temporary(path);
  bl_pool_options o = {.space = &space, .evaluate = evaluate, .workers = 1, .fingerprint = "net"};
  const uint32_t count = evolve(o, &how, found, BL_OK);
  o.state = path;
  for (int stops = 0; stops < 3; stops++) {
    evaluations = 0;
    stop_after = 30;
    (void)evolve(o, &how, again, BL_ERR_IO);
    // As if it had been killed while it wrote.
    FILE *file = fopen(path, "ab");
    (void)fputs("{\"key\":\"0123", file);
    (void)fclose(file);
  }
  evaluations = 0;
  stop_after = 1000000;
  assert_int_equal(evolve(o, &how, again, BL_OK), count);
  assert_memory_equal(found, again, count * sizeof *found);
  assert_int_equal(evaluations, count - 90);
  evaluations = 0;
  (void)evolve(o, &how, again, BL_OK);
  assert_int_equal(evaluations, 0);
  stop_after = 0;
  bl_pool *pool;
  bl_error err = {0};
  o.fingerprint = "other";
  assert_int_equal(bl_pool_open(&o, &pool, &err), BL_ERR_USAGE);
  (void)unlink(path);
}

static void fill(const char *path, const char *text) {
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  assert_true(fputs(text, file) >= 0);
  assert_int_equal(fclose(file), 0);
}

// A file that is no search's stays as it is, one without a line feed, too; a search that was killed
// while it wrote the first line begins anew.
static void files_of_others_stay(void **state) {
  (void)state;
  static const char others[] = "{\"layers\":[]}";
  bl_knob knobs[KNOBS];
  const bl_space space = make_space(knobs);
  char path[64], text[64] = "";
  temporary(path);
  bl_pool_options o = {.space = &space, .evaluate = evaluate, .workers = 1, .state = path};
  bl_pool *pool;
  bl_error err = {0};
  fill(path, others);
  assert_int_equal(bl_pool_open(&o, &pool, &err), BL_ERR_FORMAT);
  assert_non_null(strstr(err.text, "no file of a search"));
  FILE *file = fopen(path, "r");
  assert_non_null(file);
  assert_non_null(fgets(text, sizeof text, file));
  (void)fclose(file);
  assert_string_equal(text, others);
  fill(path, "{\"bitloom-sea");
  err = (bl_error){0};
  if (bl_pool_open(&o, &pool, &err) != BL_OK) fail_msg("%s", err.text);
  bl_pool_close(pool);
  (void)unlink(path);
}

// Losses that were not measured are none, not zeros.
static void nothing_without_evaluation(void **state) {
  (void)state;
  bl_knob knobs[KNOBS];
  const bl_space space = make_space(knobs);
  const bl_pool_options o = {.space = &space, .evaluate = evaluate, .workers = 1};
  bl_sensitivity sensitivity = {0};
  bl_arena *arena = bl_arena_new(1 << 20);
  bl_pool *pool;
  bl_error err = {0};
  assert_int_equal(bl_pool_open(&o, &pool, &err), BL_OK);
  evaluations = 0;
  stop_after = 1;
  assert_int_equal(bl_sensitivity_measure(pool, &space, NULL, arena, &sensitivity, &err),
                   BL_ERR_IO);
  assert_null(sensitivity.results);
  stop_after = 0;
  assert_int_equal(bl_sensitivity_measure(pool, &space, NULL, arena, &sensitivity, &err), BL_OK);
  bl_search_result expected;
  bl_planned planned[LAYERS];
  for (uint32_t k = 0; k < LAYERS; k++)
    planned[k] = (bl_planned){layers[k], {8, -1, -1, 8}};
  planned[1].value[BL_KNOB_WEIGHT_BITS] = 4;
  worth(&(bl_search_plan){planned, LAYERS}, &expected);
  assert_true(sensitivity.results[2][1].loss == expected.loss); // weights of b, 4 bits
  bl_pool_close(pool);
  bl_arena_free(arena);
}

// A command that prints, for each plan, 4 cycles for each weight bit of layer a; the last first.
static void by_a_command(void **state) {
  (void)state;
  bl_knob knobs[KNOBS];
  const bl_space space = make_space(knobs);
  bl_pool_options o = {
      .space = &space,
      .workers = 1,
      .command = "sed -E 's/.*\"a\",\"weight-bits\":([0-9]).*/{\"plan\":&,\"cycles\":\\14,"
                 "\"bytes\":1,\"loss\":0.5,\"accuracy\":0.25,\"sqnr\":null}/' | tac"};
  const uint8_t choices[3][KNOBS] = {{1}, {3, 2}, {1}};
  bl_search_result results[3];
  bl_pool *pool;
  bl_error err = {0};
  assert_int_equal(bl_pool_open(&o, &pool, &err), BL_OK);
  if (bl_pool_evaluate(pool, choices[0], 3, results, &err) != BL_OK) fail_msg("%s", err.text);
  assert_int_equal((int)results[0].cycles, 44);
  assert_int_equal((int)results[1].cycles, 84);
  assert_int_equal((int)results[2].cycles, 44);
  assert_true(results[0].loss == 0.5 && isinf(results[0].sqnr));
  assert_int_equal(bl_pool_fresh(pool), 2);
  bl_pool_close(pool);
  o.command = "cat > /dev/null";
  assert_int_equal(bl_pool_open(&o, &pool, &err), BL_OK);
  assert_int_equal(bl_pool_evaluate(pool, choices[0], 1, results, &err), BL_ERR_DEVICE);
  assert_non_null(strstr(err.text, "gave no result"));
  bl_pool_close(pool);
  o.command = "exit 3";
  err = (bl_error){0};
  assert_int_equal(bl_pool_open(&o, &pool, &err), BL_OK);
  assert_int_equal(bl_pool_evaluate(pool, choices[0], 1, results, &err), BL_ERR_DEVICE);
  assert_non_null(strstr(err.text, "failed: exit 3"));
  bl_pool_close(pool);
}

static void plans_as_text(void **state) {
  (void)state;
  bl_arena *arena = bl_arena_new(1 << 16);
  bl_planned planned[] = {{"conv \"1\"", {4, 0.25, -1, -1}}, {"fc", {-1, -1, -1, 3}}};
  bl_search_plan plan = {planned, 2}, back;
  char *text = bl_search_plan_text(&plan);
  assert_string_equal(text,
                      "{\"layers\":[{\"name\":\"conv \\\"1\\\"\",\"weight-bits\":4,\"blocks\":"
                      "0.25},{\"name\":\"fc\",\"activation-bits\":3}]}");
  bl_error err = {0};
  assert_int_equal(bl_search_plan_parse("p", text, arena, &back, &err), BL_OK);
  assert_int_equal(back.count, 2);
  assert_string_equal(back.layers[0].layer, "conv \"1\"");
  assert_memory_equal(back.layers[1].value, planned[1].value, sizeof planned[1].value);
  free(text);
  static const char *const wrong[][2] = {
      {"{\"layers\":[{\"weight-bits\":4}]}", "p: entry 0 has no name"},
      {"{\"layers\":[{\"name\":\"x\",\"weight-bits\":9}]}",
       "p: layer x: weight-bits must be whole, from 1 to 8"},
      {"{\"layers\":[{\"name\":\"x\",\"weight-bits\":2.5}]}",
       "p: layer x: weight-bits must be whole, from 1 to 8"},
      {"{\"layers\":[{\"name\":\"x\",\"blocks\":1}]}",
       "p: layer x: blocks must be a number from 0 to 0.99"},
      {"{\"layers\":[{\"name\":\"x\",\"colour\":1}]}", "p: layer x: no such field: colour"},
      {"{\"layers\":[{\"name\":\"x\"},{\"name\":\"x\"}]}", "p: layer x stands there twice"},
  };
  for (size_t k = 0; k < sizeof wrong / sizeof wrong[0]; k++) {
    err = (bl_error){0};
    assert_int_not_equal(bl_search_plan_parse("p", wrong[k][0], arena, &back, &err), BL_OK);
    assert_string_equal(err.text, wrong[k][1]);
  }
  assert_int_equal(bl_search_plan_parse("p", "[1", arena, &back, &err), BL_ERR_FORMAT);
  bl_arena_free(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(finds_the_front),
      cmocka_unit_test(same_with_any_workers),
      cmocka_unit_test(goes_on_where_it_was_stopped),
      cmocka_unit_test(files_of_others_stay),
      cmocka_unit_test(nothing_without_evaluation),
      cmocka_unit_test(by_a_command),
      cmocka_unit_test(plans_as_text),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
