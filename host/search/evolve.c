// SPDX-License-Identifier: Apache-2.0
// Everything drawn is a function of (seed, generation, child, gene), and parents are compared by
// rank, crowding and then place, so that nothing depends on who finished first.
#include "host/search/evolve.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/random.h"

enum { SEED_DRAW = 1, FIRST_DRAW, PARENT_DRAW, GENE_DRAW };

double bl_search_criterion(const bl_search_result *r, uint32_t criterion) {
  return criterion == BL_CYCLES ? r->cycles : criterion == BL_BYTES ? r->bytes : r->loss;
}

double bl_search_excess(const bl_search_result *r, const bl_search_limits *limits) {
  double sum = isfinite(r->cycles) ? 0 : 1e9;
  for (uint32_t k = 0; k < BL_CRITERIA; k++) {
    const double most = limits->most[k], value = bl_search_criterion(r, k);
    if (isfinite(most) && isfinite(value) && value > most)
      sum += (value - most) / fmax(fabs(most), 1e-9);
  }
  if (limits->least_accuracy > 0 && r->accuracy < limits->least_accuracy)
    sum += (limits->least_accuracy - r->accuracy) / limits->least_accuracy;
  return sum;
}

// a is no worse than b in the criteria of `mask`, and better in one.
static bool dominates(const bl_search_result *a, const bl_search_result *b, unsigned mask) {
  bool better = false;
  for (uint32_t k = 0; k < BL_CRITERIA; k++) {
    if ((mask >> k & 1) == 0) continue;
    const double x = bl_search_criterion(a, k), y = bl_search_criterion(b, k);
    if (x > y) return false;
    better = better || x < y;
  }
  return better;
}

typedef struct {
  bl_search_result result;
  double excess, crowding;
  uint32_t rank, at; // at: its genes are genes[at]
} individual;

typedef struct {
  bl_pool *pool;
  const bl_space *space;
  const bl_evolve_options *options;
  uint8_t *genes, *next; // [2 * population][knobs], parents first
  individual *all;       // [2 * population]
  bl_search_result *results;
} evolution;

static uint8_t *genes_of(const evolution *e, uint32_t at) {
  return e->genes + (size_t)at * e->space->count;
}

static uint64_t draw(const evolution *e, uint64_t kind, uint64_t generation, uint64_t child,
                     uint64_t gene) {
  uint64_t key = bl_random_key(bl_random_key(e->options->seed, kind), generation);
  return bl_random_key(bl_random_key(key, child), gene);
}

// Constrained domination.
static bool beats(const evolution *e, const individual *a, const individual *b) {
  if (a->excess != b->excess) return a->excess < b->excess;
  return dominates(&a->result, &b->result, e->options->mask);
}

// Peels fronts off: rank 0 is beaten by none, rank 1 only by those of rank 0 ...
static void rank_all(evolution *e, uint32_t count) {
  uint32_t left = count;
  for (uint32_t k = 0; k < count; k++)
    e->all[k].rank = UINT32_MAX;
  for (uint32_t rank = 0; left > 0; rank++)
    for (uint32_t a = 0; a < count; a++) {
      bool beaten = false;
      if (e->all[a].rank < rank) continue;
      for (uint32_t b = 0; b < count && !beaten; b++)
        beaten = e->all[b].rank >= rank && beats(e, &e->all[b], &e->all[a]);
      if (beaten) continue;
      e->all[a].rank = rank;
      left--;
    }
}

static double criterion_of(const evolution *e, uint32_t at, uint32_t criterion) {
  return bl_search_criterion(&e->all[at].result, criterion);
}

// Adds each one's distance between its neighbours in one criterion, within its rank.
static void crowd(evolution *e, uint32_t count, uint32_t criterion) {
  for (uint32_t a = 0; a < count; a++) {
    const double x = criterion_of(e, a, criterion);
    double below = -INFINITY, above = INFINITY, least = INFINITY, most = -INFINITY;
    for (uint32_t b = 0; b < count; b++) {
      if (e->all[b].rank != e->all[a].rank) continue;
      const double y = criterion_of(e, b, criterion);
      least = fmin(least, y);
      most = fmax(most, y);
      if (b != a && (y < x || (y == x && b < a))) below = fmax(below, y);
      if (b != a && (y > x || (y == x && b > a))) above = fmin(above, y);
    }
    e->all[a].crowding += most > least && isfinite(most) ? (above - below) / (most - least) : 0;
  }
}

static int by_fitness(const void *left, const void *right) {
  const individual *a = left, *b = right;
  if (a->rank != b->rank) return a->rank < b->rank ? -1 : 1;
  if (a->crowding != b->crowding) return a->crowding > b->crowding ? -1 : 1;
  return a->at < b->at ? -1 : a->at > b->at;
}

// A second one with the same genes comes behind all others: it would only take up room.
static void put_twins_last(evolution *e, uint32_t count) {
  for (uint32_t a = 1; a < count; a++)
    for (uint32_t b = 0; b < a; b++)
      if (memcmp(genes_of(e, a), genes_of(e, b), e->space->count) == 0) e->all[a].rank = UINT32_MAX;
}

// Sorts individuals by fitness; the genes of the best `population` come first.
static void select_best(evolution *e, uint32_t count) {
  const size_t knobs = e->space->count;
  for (uint32_t k = 0; k < count; k++)
    e->all[k].crowding = 0;
  rank_all(e, count);
  for (uint32_t k = 0; k < BL_CRITERIA; k++)
    if ((e->options->mask >> k & 1) != 0) crowd(e, count, k);
  put_twins_last(e, count);
  qsort(e->all, count, sizeof *e->all, by_fitness);
  for (uint32_t k = 0; k < count; k++) {
    memcpy(e->next + k * knobs, genes_of(e, e->all[k].at), knobs);
    e->all[k].at = k;
  }
  uint8_t *swap = e->genes;
  e->genes = e->next;
  e->next = swap;
}

static bl_status evaluate(evolution *e, uint32_t from, uint32_t count, bl_error *err) {
  BL_TRY(bl_pool_evaluate(e->pool, genes_of(e, from), count, e->results, err));
  for (uint32_t k = 0; k < count; k++)
    e->all[from + k] = (individual){.result = e->results[k],
                                    .excess = bl_search_excess(&e->results[k], &e->options->limits),
                                    .at = from + k};
  return BL_OK;
}

static void first_population(evolution *e, const uint8_t *first, uint32_t first_count) {
  for (uint32_t n = 0; n < e->options->population; n++)
    for (uint32_t g = 0; g < e->space->count; g++)
      genes_of(e, n)[g] = n < first_count ? first[(size_t)n * e->space->count + g]
                                          : (uint8_t)bl_random_below(draw(e, FIRST_DRAW, 0, n, g),
                                                                     e->space->knobs[g].count);
}

// The better of two drawn; the population is sorted.
static const uint8_t *parent(const evolution *e, uint64_t generation, uint32_t child,
                             uint32_t which) {
  const uint32_t n = e->options->population;
  const uint64_t a = bl_random_below(draw(e, PARENT_DRAW, generation, child, 2 * which), n);
  const uint64_t b = bl_random_below(draw(e, PARENT_DRAW, generation, child, 2 * which + 1), n);
  return genes_of(e, (uint32_t)(a < b ? a : b));
}

// A neighbouring value, as knobs' values are in order; now and then any.
static uint8_t mutate(uint8_t gene, uint32_t values, uint64_t key) {
  const double chance = bl_random_unit(bl_random_key(key, 0));
  if (values == 1) return gene;
  if (chance < 0.2) return (uint8_t)bl_random_below(bl_random_key(key, 1), values);
  if (gene == 0) return 1;
  if (gene + 1u == values) return (uint8_t)(gene - 1);
  return (uint8_t)(chance < 0.6 ? gene - 1 : gene + 1);
}

// Uniform crossover; one gene in about `knobs` changes, at least one where the parents are alike.
static void breed(evolution *e, uint64_t generation, uint32_t child) {
  const uint8_t *a = parent(e, generation, child, 0), *b = parent(e, generation, child, 1);
  const uint32_t knobs = e->space->count;
  uint8_t *genes = genes_of(e, e->options->population + child);
  const uint32_t sure =
      memcmp(a, b, knobs) != 0
          ? knobs
          : (uint32_t)bl_random_below(draw(e, SEED_DRAW, generation, child, 0), knobs);
  for (uint32_t g = 0; g < knobs; g++) {
    const uint64_t key = draw(e, GENE_DRAW, generation, child, g);
    genes[g] = bl_random_unit(bl_random_key(key, 2)) < 0.5 ? a[g] : b[g];
    if (g == sure || bl_random_unit(bl_random_key(key, 3)) * knobs < 1)
      genes[g] = mutate(genes[g], e->space->knobs[g].count, bl_random_key(key, 4));
  }
}

static bl_status evolve(evolution *e, const uint8_t *first, uint32_t first_count, bl_error *err) {
  const uint32_t n = e->options->population;
  first_population(e, first, first_count < n ? first_count : n);
  BL_TRY(evaluate(e, 0, n, err));
  select_best(e, n);
  for (uint32_t generation = 1; generation <= e->options->generations; generation++) {
    for (uint32_t child = 0; child < n; child++)
      breed(e, generation, child);
    BL_TRY(evaluate(e, n, n, err));
    select_best(e, 2 * n);
  }
  return BL_OK;
}

bl_status bl_evolve(bl_pool *pool, const bl_space *space, const bl_evolve_options *options,
                    const uint8_t *first, uint32_t first_count, bl_error *err) {
  const uint32_t n = options->population;
  if (n < 4 || n > BL_EVOLVE_MOST_POPULATION || (options->mask & 7) == 0)
    return bl_fail(err, BL_ERR_RANGE, "search: a population of %u, expected 4 to %d", (unsigned)n,
                   BL_EVOLVE_MOST_POPULATION);
  evolution e = {.pool = pool,
                 .space = space,
                 .options = options,
                 .genes = calloc(2 * (size_t)n, space->count),
                 .next = calloc(2 * (size_t)n, space->count),
                 .all = calloc(2 * (size_t)n, sizeof *e.all),
                 .results = calloc(n, sizeof *e.results)};
  const bool room = e.genes != NULL && e.next != NULL && e.all != NULL && e.results != NULL;
  bl_status status = room ? evolve(&e, first, first_count, err)
                          : bl_fail(err, BL_ERR_MEMORY, "search: no memory for the population");
  free(e.genes);
  free(e.next);
  free(e.all);
  free(e.results);
  return status;
}
