// SPDX-License-Identifier: Apache-2.0
// Groups of the integer program: for each layer its weights (all combinations of bits, blocks and
// rank), and for each layer its activation bits. Layers have the same lists, so a combination is
// the same number in each.
#include "host/search/separable.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SEPARABLE_CAP = 1 << 30, NO_KNOB = UINT32_MAX };

struct bl_separable {
  const bl_candidates *candidates;
  const bl_space *space;
  bl_arena *arena;
  const bl_searched *layers;
  uint32_t layer_count;
  uint32_t *knob[BL_KNOB_KINDS]; // [layer] the knob of a kind, NO_KNOB: none
  uint32_t most[BL_KNOB_KINDS];  // values of a knob of a kind, at least 1
  bl_layer_cost *costs;          // [weight combination][activation choice][layer]
  double *ahead;                 // [weight combination][activation choice]
  int32_t *before;               // [layer] whose output is its input, wherever it is a layer
  bl_assign_problem problem;     // group 2l: weights of layer l, group 2l + 1: its activations
};

static bl_status no_memory(bl_error *err) {
  return bl_fail(err, BL_ERR_MEMORY, "search: no memory for the integer program");
}

static uint32_t combinations(const bl_separable *s) {
  return s->most[BL_KNOB_WEIGHT_BITS] * s->most[BL_KNOB_BLOCKS] * s->most[BL_KNOB_RANK];
}

static const bl_layer_cost *cost_of(const bl_separable *s, uint32_t weights, uint32_t activations,
                                    uint32_t layer) {
  const size_t cell = (size_t)weights * s->most[BL_KNOB_ACTIVATION_BITS] + activations;
  return &s->costs[cell * s->layer_count + layer];
}

static bl_status find_knobs(bl_separable *s, bl_error *err) {
  for (int kind = 0; kind < BL_KNOB_KINDS; kind++) {
    s->most[kind] = 1;
    s->knob[kind] = bl_arena_alloc(s->arena, s->layer_count, sizeof *s->knob[kind]);
    if (s->knob[kind] == NULL) return no_memory(err);
    for (uint32_t l = 0; l < s->layer_count; l++)
      s->knob[kind][l] = NO_KNOB;
  }
  for (uint32_t k = 0; k < s->space->count; k++) {
    const bl_knob *knob = &s->space->knobs[k];
    s->most[knob->kind] = knob->count;
    for (uint32_t l = 0; l < s->layer_count; l++)
      if (strcmp(s->layers[l].name, knob->layer) == 0) s->knob[knob->kind][l] = k;
  }
  return BL_OK;
}

// The choice that a combination means for a knob of a kind.
static uint32_t part_of(const bl_separable *s, int kind, uint32_t weights, uint32_t activations) {
  if (kind == BL_KNOB_ACTIVATION_BITS) return activations;
  for (int before = BL_KNOB_WEIGHT_BITS; before < kind; before++)
    weights /= s->most[before];
  return weights % s->most[kind];
}

// ---- Cycles

typedef struct {
  const bl_separable *s;
  uint32_t first;
} cell_work;

// One cell of the table: costs of all layers, and what is ahead of them.
static bl_status count_cell(void *context, uint32_t shard, void *result, bl_shard_tick *tick,
                            bl_error *err) {
  const cell_work *w = context;
  const bl_separable *s = w->s;
  const uint32_t cell = w->first + shard, activations = s->most[BL_KNOB_ACTIVATION_BITS];
  bl_arena *arena = bl_arena_new(BL_SPACE_MOST_BYTES);
  uint8_t *choice = arena == NULL ? NULL : bl_arena_alloc(arena, s->space->count, 1);
  bl_search_plan plan;
  bl_status status = choice == NULL ? no_memory(err) : BL_OK;
  for (uint32_t k = 0; k < s->space->count && status == BL_OK; k++)
    choice[k] =
        (uint8_t)part_of(s, (int)s->space->knobs[k].kind, cell / activations, cell % activations);
  if (status == BL_OK) status = bl_space_plan(s->space, choice, arena, &plan, err);
  bl_layer_cost *costs = result;
  double ahead = 0;
  if (status == BL_OK) status = bl_candidate_costs(s->candidates, &plan, costs, &ahead, err);
  memcpy(costs + s->layer_count, &ahead, sizeof ahead);
  bl_arena_free(arena);
  (void)tick;
  return status;
}

static bl_status count_cycles(bl_separable *s, uint32_t workers, bl_error *err) {
  const uint32_t cells = combinations(s) * s->most[BL_KNOB_ACTIVATION_BITS];
  const size_t size = s->layer_count * sizeof *s->costs + sizeof(double);
  s->costs = bl_arena_alloc(s->arena, (size_t)cells * s->layer_count, sizeof *s->costs);
  s->ahead = bl_arena_alloc(s->arena, cells, sizeof *s->ahead);
  char *results = bl_arena_alloc(s->arena, workers, size);
  if (s->costs == NULL || s->ahead == NULL || results == NULL) return no_memory(err);
  for (uint32_t first = 0; first < cells;) {
    const uint32_t now = cells - first < workers ? cells - first : workers;
    cell_work work = {s, first};
    BL_TRY(bl_shard_run(now, count_cell, &work, results, size, now, (bl_progress){0}, err));
    for (uint32_t k = 0; k < now; k++) {
      const size_t costs = s->layer_count * sizeof *s->costs;
      memcpy(s->costs + (size_t)(first + k) * s->layer_count, results + k * size, costs);
      memcpy(&s->ahead[first + k], results + k * size + costs, sizeof(double));
    }
    first += now;
  }
  return BL_OK;
}

// A projection is no layer of its own in some cells; what is in front of it, others say.
static bl_status find_inputs(bl_separable *s, bl_error *err) {
  const uint32_t cells = combinations(s) * s->most[BL_KNOB_ACTIVATION_BITS];
  s->before = bl_arena_alloc(s->arena, s->layer_count, sizeof *s->before);
  if (s->before == NULL) return no_memory(err);
  for (uint32_t l = 0; l < s->layer_count; l++) {
    s->before[l] = -1;
    for (uint32_t cell = 0; cell < cells && s->before[l] < 0; cell++)
      s->before[l] = s->costs[(size_t)cell * s->layer_count + l].before;
  }
  return BL_OK;
}

// ---- The program

// What a knob's choice loses; noise of the measurement may make it less than nothing.
static double loss_of(const bl_separable *s, const bl_sensitivity *sensitivity, int kind,
                      uint32_t layer, uint32_t choice) {
  const uint32_t knob = s->knob[kind][layer];
  if (knob == NO_KNOB) return 0;
  const bl_search_result *r = &sensitivity->results[knob][choice];
  const double more = r->loss - sensitivity->best.loss;
  return !isfinite(r->loss) ? 1e6 : sensitivity->around_plan ? more : fmax(0, more);
}

static bool has_weights(const bl_separable *s, uint32_t l) {
  return s->knob[BL_KNOB_WEIGHT_BITS][l] != NO_KNOB || s->knob[BL_KNOB_BLOCKS][l] != NO_KNOB ||
         s->knob[BL_KNOB_RANK][l] != NO_KNOB;
}

// Tables of one layer's two groups. A layer without a knob of a kind has its combination's value
// at the best choice of that kind.
static bl_status fill_layer(bl_separable *s, const bl_sensitivity *sensitivity, uint32_t l,
                            double **table[BL_CRITERIA], bl_error *err) {
  const uint32_t weights = s->problem.choices[2 * l], activations = s->problem.choices[2 * l + 1];
  for (uint32_t k = 0; k < BL_CRITERIA; k++) {
    table[k][2 * l] = bl_arena_alloc(s->arena, weights, sizeof(double));
    table[k][2 * l + 1] = bl_arena_alloc(s->arena, activations, sizeof(double));
    if (table[k][2 * l] == NULL || table[k][2 * l + 1] == NULL) return no_memory(err);
  }
  const uint32_t all = combinations(s), last = s->most[BL_KNOB_ACTIVATION_BITS] - 1;
  for (uint32_t i = 0; i < weights; i++) {
    const uint32_t w = weights == 1 ? all - 1 : i;
    const bl_layer_cost *cost = cost_of(s, w, last, l);
    table[BL_BYTES][2 * l][i] = cost->bytes;
    for (int kind = BL_KNOB_WEIGHT_BITS; kind < BL_KNOB_ACTIVATION_BITS; kind++)
      table[BL_LOSS][2 * l][i] += loss_of(s, sensitivity, kind, l, part_of(s, kind, w, 0));
    if (l == 0)
      table[BL_CYCLES][0][i] += s->ahead[(size_t)w * s->most[BL_KNOB_ACTIVATION_BITS] + last];
  }
  for (uint32_t j = 0; j < activations; j++) {
    const uint32_t a = activations == 1 ? last : j;
    table[BL_CYCLES][2 * l + 1][j] = cost_of(s, all - 1, a, l)->behind;
    table[BL_LOSS][2 * l + 1][j] = loss_of(s, sensitivity, BL_KNOB_ACTIVATION_BITS, l, a);
  }
  return BL_OK;
}

// Cycles of layer l for its weights with its input's bits; where the input is the network's, which
// has no bits to choose, with its output's.
static bl_status fill_pair(bl_separable *s, uint32_t l, bl_assign_pair *pair, bl_error *err) {
  const uint32_t all = combinations(s), last = s->most[BL_KNOB_ACTIVATION_BITS] - 1;
  const uint32_t other = s->before[l] < 0 ? l : (uint32_t)s->before[l];
  *pair = (bl_assign_pair){.first = 2 * l, .second = 2 * other + 1};
  const uint32_t weights = s->problem.choices[pair->first];
  const uint32_t inputs = s->problem.choices[pair->second];
  double *table = bl_arena_alloc(s->arena, (size_t)weights * inputs, sizeof *table);
  if (table == NULL) return no_memory(err);
  for (uint32_t i = 0; i < weights; i++)
    for (uint32_t j = 0; j < inputs; j++)
      table[i * inputs + j] =
          cost_of(s, weights == 1 ? all - 1 : i, inputs == 1 ? last : j, l)->cycles;
  pair->table[BL_CYCLES] = table;
  return BL_OK;
}

static bl_status make_program(bl_separable *s, const bl_sensitivity *sensitivity, bl_error *err) {
  const uint32_t groups = 2 * s->layer_count, all = combinations(s);
  const uint32_t last = s->most[BL_KNOB_ACTIVATION_BITS] - 1;
  uint32_t *choices = bl_arena_alloc(s->arena, groups, sizeof *choices);
  bl_assign_pair *pairs = bl_arena_alloc(s->arena, s->layer_count, sizeof *pairs);
  double **table[BL_CRITERIA];
  for (uint32_t k = 0; k < BL_CRITERIA; k++) {
    table[k] = bl_arena_alloc(s->arena, groups, sizeof(double *));
    if (table[k] == NULL) return no_memory(err);
    s->problem.table[k] = (const double *const *)table[k];
  }
  if (choices == NULL || pairs == NULL) return no_memory(err);
  s->problem.group_count = groups;
  s->problem.choices = choices;
  s->problem.pairs = pairs;
  for (uint32_t l = 0; l < s->layer_count; l++) {
    choices[2 * l] = has_weights(s, l) ? all : 1;
    choices[2 * l + 1] = s->knob[BL_KNOB_ACTIVATION_BITS][l] != NO_KNOB ? last + 1 : 1;
  }
  for (uint32_t l = 0; l < s->layer_count; l++) {
    BL_TRY(fill_layer(s, sensitivity, l, table, err));
    BL_TRY(fill_pair(s, l, &pairs[s->problem.pair_count++], err));
  }
  return BL_OK;
}

bl_status bl_separable_open(const bl_candidates *candidates, const bl_space *space,
                            const bl_sensitivity *sensitivity, uint32_t workers,
                            bl_separable **separable, bl_error *err) {
  *separable = NULL;
  bl_separable *s = calloc(1, sizeof *s);
  if (s == NULL) return no_memory(err);
  s->candidates = candidates;
  s->space = space;
  s->layers = bl_candidates_layers(candidates, &s->layer_count);
  s->arena = bl_arena_new(SEPARABLE_CAP);
  bl_status status = s->arena == NULL ? no_memory(err) : find_knobs(s, err);
  if (status == BL_OK) status = count_cycles(s, workers, err);
  if (status == BL_OK) status = find_inputs(s, err);
  if (status == BL_OK) status = make_program(s, sensitivity, err);
  if (status == BL_OK)
    *separable = s;
  else
    bl_separable_close(s);
  return status;
}

void bl_separable_close(bl_separable *separable) {
  if (separable == NULL) return;
  bl_arena_free(separable->arena);
  free(separable);
}

bl_status bl_separable_solve(const bl_separable *s, uint32_t objective,
                             const bl_search_limits *limits, uint8_t *choice,
                             double sums[BL_CRITERIA], bl_error *err) {
  static const char *const names[BL_CRITERIA] = {"cycles", "bytes", "loss"};
  bl_assign_options options = {.objective = objective, .names = names};
  memcpy(options.limits, limits->most, sizeof options.limits);
  uint32_t *groups = calloc(s->problem.group_count, sizeof *groups);
  if (groups == NULL) return no_memory(err);
  bl_assigned result;
  bl_status status = bl_assign(&s->problem, &options, groups, &result, err);
  for (uint32_t l = 0; l < s->layer_count && status == BL_OK; l++)
    for (int kind = 0; kind < BL_KNOB_KINDS; kind++)
      if (s->knob[kind][l] != NO_KNOB)
        choice[s->knob[kind][l]] = (uint8_t)part_of(s, kind, groups[2 * l], groups[2 * l + 1]);
  if (status == BL_OK) memcpy(sums, result.sums, sizeof result.sums);
  free(groups);
  return status;
}
