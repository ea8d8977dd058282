// SPDX-License-Identifier: Apache-2.0
#include "host/search/search.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/search/separable.h"

enum { MOST_BUDGETS = 256, TIGHTENINGS = 4 };

typedef struct {
  const bl_candidates *candidates;
  const bl_space *space;
  bl_pool *pool;
  const bl_search_options *options;
  bl_separable *separable;
  uint8_t *proposals; // [budgets][knobs]
  uint32_t proposal_count;
  bl_search_outcome *outcome;
} search;

static void say(const search *s, const char *format, ...) BL_PRINTF(2, 3);
static void say(const search *s, const char *format, ...) {
  char line[300];
  va_list args;
  if (s->options->say == NULL) return;
  va_start(args, format);
  (void)vsnprintf(line, sizeof line, format, args);
  va_end(args);
  s->options->say(s->options->user, line);
}

static bl_status no_memory(bl_error *err) {
  return bl_fail(err, BL_ERR_MEMORY, "search: no memory for the proposals");
}

// The program's best for a budget. Its cycles are not quite those of the whole: where the whole
// misses a limit of the axis, the program gets a lower one.
static bl_status propose(search *s, double budget, bl_error *err) {
  const uint32_t axis = s->options->axis;
  uint8_t *choice = s->proposals + (size_t)s->proposal_count * s->space->count;
  bl_search_limits limits = s->options->limits;
  limits.most[axis] = budget;
  for (int k = 0; k < TIGHTENINGS; k++) {
    double sums[BL_CRITERIA];
    bl_search_result result;
    bl_error refused = {0};
    bl_status status = bl_separable_solve(s->separable, BL_LOSS, &limits, choice, sums, &refused);
    if (status == BL_ERR_RANGE) return BL_OK; // budgets below this one have been refused
    if (status != BL_OK) return bl_fail(err, status, "%s", refused.text);
    BL_TRY(bl_pool_evaluate(s->pool, choice, 1, &result, err));
    const double taken = bl_search_criterion(&result, axis);
    if (k == 0) s->proposal_count++;
    if (taken <= s->options->limits.most[axis] || !isfinite(taken)) return BL_OK;
    limits.most[axis] *= 0.995 * s->options->limits.most[axis] / taken;
  }
  return BL_OK;
}

// Least and most of the axis that the program sees within the limits.
static bl_status find_ends(const search *s, double *least, double *most, bl_error *err) {
  const bl_search_options *o = s->options;
  uint8_t *choice = calloc(s->space->count, 1);
  if (choice == NULL) return no_memory(err);
  double sums[BL_CRITERIA] = {0};
  bl_search_limits none = {{INFINITY, INFINITY, INFINITY}, -1};
  bl_status status = bl_separable_solve(s->separable, o->axis, &o->limits, choice, sums, err);
  *least = sums[o->axis];
  if (status == BL_OK) status = bl_separable_solve(s->separable, BL_LOSS, &none, choice, sums, err);
  *most = fmin(fmax(sums[o->axis], *least), o->limits.most[o->axis]);
  free(choice);
  return status;
}

static bl_status propose_all(search *s, bl_error *err) {
  const uint32_t budgets = s->options->budgets;
  double least = 0, most = 0;
  BL_TRY(find_ends(s, &least, &most, err));
  s->proposals = calloc(budgets, s->space->count);
  if (s->proposals == NULL) return no_memory(err);
  for (uint32_t k = budgets; k-- > 0;)
    BL_TRY(propose(s, least * pow(most / least, (double)k / (budgets - 1)) * (1 + 1e-9), err));
  say(s, "integer program: %u budgets from %.0f to %.0f %s", (unsigned)s->proposal_count, least,
      most, s->options->axis == BL_CYCLES ? "cycles" : "bytes");
  return BL_OK;
}

// Values of the knobs of a kind; 1 where there are none.
static uint32_t values_of(const bl_space *space, bl_knob_kind kind) {
  for (uint32_t k = 0; k < space->count; k++)
    if (space->knobs[k].kind == kind) return space->knobs[k].count;
  return 1;
}

// Plans that say the same of every layer, so that what is chosen is never worse than they are.
static bl_status try_uniform(search *s, bl_error *err) {
  const bl_space *space = s->space;
  const uint32_t weights = values_of(space, BL_KNOB_WEIGHT_BITS);
  const uint32_t activations = values_of(space, BL_KNOB_ACTIVATION_BITS);
  const uint32_t count = weights * activations;
  uint8_t *choices = calloc(count, space->count);
  bl_search_result *results = calloc(count, sizeof *results);
  for (uint32_t n = 0; n < count && choices != NULL; n++)
    for (uint32_t k = 0; k < space->count; k++) {
      const bl_knob *knob = &space->knobs[k];
      const uint32_t same = knob->kind == BL_KNOB_WEIGHT_BITS       ? n / activations
                            : knob->kind == BL_KNOB_ACTIVATION_BITS ? n % activations
                                                                    : knob->count - 1;
      choices[(size_t)n * space->count + k] = (uint8_t)same;
    }
  bl_status status = choices == NULL || results == NULL
                         ? no_memory(err)
                         : bl_pool_evaluate(s->pool, choices, count, results, err);
  free(choices);
  free(results);
  return status;
}

static bl_status evolve(search *s, bl_error *err) {
  const bl_search_options *o = s->options;
  const bl_evolve_options how = {.population = o->population,
                                 .generations = o->generations,
                                 .seed = o->seed,
                                 .mask = 1u << o->axis | 1u << BL_LOSS,
                                 .limits = o->limits};
  if (o->generations == 0) return BL_OK;
  BL_TRY(bl_evolve(s->pool, s->space, &how, s->proposals, s->proposal_count, err));
  say(s, "evolution: %u generations of %u", (unsigned)o->generations, (unsigned)o->population);
  return BL_OK;
}

// Is a better than b, both meeting the limits?
static bool better(const bl_search_options *o, const bl_search_result *a,
                   const bl_search_result *b) {
  const double x = bl_search_criterion(a, o->axis), y = bl_search_criterion(b, o->axis);
  if (o->limits.least_accuracy > 0) return x < y || (x == y && a->loss < b->loss);
  return a->loss < b->loss || (a->loss == b->loss && x < y);
}

static bl_status choose(search *s, bl_error *err) {
  const bl_search_options *o = s->options;
  uint32_t count;
  const bl_pool_entry *entries = bl_pool_entries(s->pool, &count);
  double highest = 0;
  bool limited = o->limits.least_accuracy > 0;
  for (uint32_t k = 0; k < BL_CRITERIA; k++)
    limited = limited || isfinite(o->limits.most[k]);
  s->outcome->choice = NULL;
  for (uint32_t k = 0; k < count && limited; k++) {
    bl_search_limits budgets = o->limits;
    budgets.least_accuracy = -1;
    if (bl_search_excess(&entries[k].result, &budgets) == 0)
      highest = fmax(highest, entries[k].result.accuracy);
    if (bl_search_excess(&entries[k].result, &o->limits) > 0) continue;
    if (s->outcome->choice != NULL && !better(o, &entries[k].result, &s->outcome->result)) continue;
    s->outcome->choice = entries[k].choice;
    s->outcome->result = entries[k].result;
  }
  if (s->outcome->choice != NULL || !limited) return BL_OK;
  return bl_fail(
      err, BL_ERR_RANGE,
      "no candidate of %u meets the limits: an accuracy of %.2f %% is wanted, the highest "
      "within the other limits is %.2f %%",
      (unsigned)count, 100 * fmax(o->limits.least_accuracy, 0), 100 * highest);
}

// Proposals from these sensitivities, in place of those before.
static bl_status solve(search *s, const bl_sensitivity *sensitivity, bl_error *err) {
  bl_separable_close(s->separable);
  s->separable = NULL;
  free(s->proposals);
  s->proposals = NULL;
  s->proposal_count = 0;
  BL_TRY(bl_separable_open(s->candidates, s->space, sensitivity, s->options->workers, &s->separable,
                           err));
  return propose_all(s, err);
}

// The least loss of all that miss the limits by little, as no plan may lie right below them.
static const uint8_t *least_loss(const search *s) {
  static const double LITTLE = 0.06;
  uint32_t count;
  const bl_pool_entry *entries = bl_pool_entries(s->pool, &count), *least = NULL;
  for (uint32_t k = 0; k < count; k++)
    if (bl_search_excess(&entries[k].result, &s->options->limits) <= LITTLE &&
        (least == NULL || entries[k].result.loss < least->result.loss))
      least = &entries[k];
  return least != NULL ? least->choice : NULL;
}

// Losses around the best of all do not add up far from it: they are measured again around the best
// plan that was found, and the program is solved with those.
static bl_status again(search *s, bl_arena *arena, bl_error *err) {
  bl_sensitivity sensitivity;
  const uint8_t *found = least_loss(s);
  if (found == NULL) return BL_OK;
  uint8_t *rest = bl_arena_alloc(arena, s->space->count, 1);
  if (rest == NULL) return no_memory(err);
  memcpy(rest, found, s->space->count);
  BL_TRY(bl_sensitivity_measure(s->pool, s->space, rest, arena, &sensitivity, err));
  say(s, "around a plan: %.0f cycles, %.0f bytes, loss %.5f", sensitivity.best.cycles,
      sensitivity.best.bytes, sensitivity.best.loss);
  return solve(s, &sensitivity, err);
}

static bl_status run(search *s, bl_arena *arena, bl_error *err) {
  BL_TRY(bl_sensitivity_measure(s->pool, s->space, NULL, arena, &s->outcome->sensitivity, err));
  const bl_search_result *best = &s->outcome->sensitivity.best;
  if (best->accuracy >= 0)
    say(s, "sensitivity: best %.0f cycles, %.0f bytes, loss %.5f, accuracy %.2f %%", best->cycles,
        best->bytes, best->loss, 100 * best->accuracy);
  else
    say(s, "sensitivity: best %.0f cycles, %.0f bytes, loss %.5f", best->cycles, best->bytes,
        best->loss);
  BL_TRY(solve(s, &s->outcome->sensitivity, err));
  BL_TRY(try_uniform(s, err));
  for (uint32_t round = 1; round < s->options->rounds; round++)
    BL_TRY(again(s, arena, err));
  BL_TRY(evolve(s, err));
  return choose(s, err);
}

bl_status bl_search(const bl_candidates *candidates, const bl_space *space, bl_pool *pool,
                    const bl_search_options *options, bl_arena *arena, bl_search_outcome *outcome,
                    bl_error *err) {
  *outcome = (bl_search_outcome){0};
  if (options->axis > BL_BYTES || options->budgets < 2 || options->budgets > MOST_BUDGETS)
    return bl_fail(err, BL_ERR_RANGE, "search: %u budgets, expected 2 to %d",
                   (unsigned)options->budgets, MOST_BUDGETS);
  search s = {.candidates = candidates,
              .space = space,
              .pool = pool,
              .options = options,
              .outcome = outcome};
  bl_status status = run(&s, arena, err);
  bl_separable_close(s.separable);
  free(s.proposals);
  return status;
}
