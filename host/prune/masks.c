// SPDX-License-Identifier: Apache-2.0
// Masks: the units with the lowest scores go.
#include <fnmatch.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "host/prune/prune_internal.h"

typedef struct {
  float score;
  uint32_t layer, unit;
} candidate;

typedef struct {
  bl_prune *prune;
  const bl_prune_options *options;
  double factor;
  int32_t *rule;    // [layers] the rule that fits; -1: none of them, -2: the layer is kept
  float **scores;   // [layers][unit_count]
  uint8_t **pruned; // [layers][unit_count]
  candidate *order; // room for all units
} chooser;

enum { NO_RULE = -1, KEPT = -2 };

static size_t unit_of(const bl_prune_layer *l, size_t i) {
  return l->unit != NULL ? l->unit[i] : i;
}

// ---- Rules

static bool fits(const bl_prune_rule *rule, const bl_prune_layer *l) {
  return (rule->pattern == NULL || fnmatch(rule->pattern, l->name, 0) == 0) &&
         (rule->classes == 0 || (rule->classes & l->classes) != 0);
}

static double amount_of(const chooser *ch, int32_t rule) {
  return ch->factor * (rule >= 0 ? ch->options->rules[rule].amount : ch->options->amount);
}

static bl_status check_amount(const bl_prune_options *o, double amount, bl_error *err) {
  const double most = o->measure == BL_PRUNE_DEVIATION ? 1e6 : 1;
  if (amount >= 0 && amount <= most) return BL_OK;
  return bl_fail(err, BL_ERR_RANGE, "pruning: amount %g; it must be 0..%g", amount, most);
}

static bl_status match_rules(chooser *ch, bl_error *err) {
  const bl_prune_options *o = ch->options;
  BL_TRY(check_amount(o, o->amount, err));
  for (uint32_t k = 0; k < ch->prune->count; k++) {
    const bl_prune_layer *l = &ch->prune->layers[k];
    ch->rule[k] = NO_RULE;
    for (uint32_t r = o->rule_count; r-- > 0;)
      if (fits(&o->rules[r], l)) ch->rule[k] = (int32_t)r;
    if ((o->keep & l->classes) != 0) ch->rule[k] = KEPT;
  }
  for (uint32_t r = 0; r < o->rule_count; r++) {
    bool used = o->rules[r].pattern == NULL;
    BL_TRY(check_amount(o, o->rules[r].amount, err));
    for (uint32_t k = 0; k < ch->prune->count; k++)
      used = used || fits(&o->rules[r], &ch->prune->layers[k]);
    if (!used)
      return bl_fail(err, BL_ERR_USAGE, "pruning: no layer matches \"%s\"", o->rules[r].pattern);
  }
  return BL_OK;
}

// ---- Units

// Scores of a layer's units; -1 for one that is pruned already and stays so.
static void score_units(chooser *ch, uint32_t k) {
  const bl_prune_layer *l = &ch->prune->layers[k];
  const bool squares = ch->options->norm == BL_PRUNE_L2;
  uint8_t *pruned = ch->pruned[k];
  float *scores = ch->scores[k];
  memset(pruned, 1, l->unit_count);
  for (size_t i = 0; i < l->count; i++) {
    const float s = l->scores[i];
    scores[unit_of(l, i)] += squares ? s * s : s;
    if (l->mask[i] != 0 || ch->options->regrow) pruned[unit_of(l, i)] = 0;
  }
  for (uint32_t u = 0; u < l->unit_count; u++) {
    if (squares) scores[u] = sqrtf(scores[u]);
    if (pruned[u] != 0) scores[u] = -1;
  }
}

static int compare(const void *a, const void *b) {
  const candidate *x = a, *y = b;
  if (x->score != y->score) return x->score < y->score ? -1 : 1;
  if (x->layer != y->layer) return x->layer < y->layer ? -1 : 1;
  return x->unit < y->unit ? -1 : x->unit > y->unit;
}

// ---- Choices

// Prunes `amount` of the units of all layers from `first` on that the rule fits; of that one alone
// where each layer counts for itself.
static void choose_part(chooser *ch, uint32_t first, int32_t rule) {
  const bool alone = ch->options->each_layer;
  size_t count = 0;
  for (uint32_t k = first; k < (alone ? first + 1 : ch->prune->count); k++) {
    const bl_prune_layer *l = &ch->prune->layers[k];
    const float share = ch->options->per_pixel && !alone ? 1.0F / (float)l->pixels : 1.0F;
    for (uint32_t u = 0; ch->rule[k] == rule && u < l->unit_count; u++)
      ch->order[count++] = (candidate){ch->scores[k][u] < 0 ? -1 : ch->scores[k][u] * share, k, u};
  }
  const size_t most = (size_t)llround(amount_of(ch, rule) * (double)count);
  qsort(ch->order, count, sizeof *ch->order, compare);
  for (size_t i = 0; i < count; i++)
    if (i < most) ch->pruned[ch->order[i].layer][ch->order[i].unit] = 1;
}

static void choose_below(chooser *ch, uint32_t k) {
  const bl_prune_layer *l = &ch->prune->layers[k];
  double largest = 0, squares = 0;
  for (uint32_t u = 0; u < l->unit_count; u++) {
    const double s = fmax((double)ch->scores[k][u], 0);
    largest = fmax(largest, s);
    squares += s * s;
  }
  const double base =
      ch->options->measure == BL_PRUNE_LARGEST ? largest : sqrt(squares / (double)l->unit_count);
  for (uint32_t u = 0; u < l->unit_count; u++)
    if ((double)ch->scores[k][u] < amount_of(ch, ch->rule[k]) * base) ch->pruned[k][u] = 1;
}

static void choose(chooser *ch) {
  for (uint32_t k = 0; k < ch->prune->count; k++) {
    bool done = false; // with an earlier layer of the same rule
    for (uint32_t j = 0; j < k && !ch->options->each_layer; j++)
      done = done || ch->rule[j] == ch->rule[k];
    if (ch->rule[k] == KEPT) continue;
    if (ch->options->measure != BL_PRUNE_SPARSITY)
      choose_below(ch, k);
    else if (!done)
      choose_part(ch, k, ch->rule[k]);
  }
}

static void write_masks(chooser *ch) {
  for (uint32_t k = 0; k < ch->prune->count; k++) {
    bl_prune_layer *l = &ch->prune->layers[k];
    for (size_t i = 0; ch->rule[k] != KEPT && i < l->count; i++)
      l->mask[i] = ch->pruned[k][unit_of(l, i)] == 0 && (l->mask[i] != 0 || ch->options->regrow);
  }
}

static bl_status prepare(chooser *ch, bl_arena *arena, bl_error *err) {
  const uint32_t count = ch->prune->count;
  size_t all = 0;
  ch->rule = bl_arena_alloc(arena, count, sizeof *ch->rule);
  ch->scores = bl_arena_alloc(arena, count, sizeof *ch->scores);
  ch->pruned = bl_arena_alloc(arena, count, sizeof *ch->pruned);
  bool ok = ch->rule != NULL && ch->scores != NULL && ch->pruned != NULL;
  for (uint32_t k = 0; ok && k < count; k++) {
    const uint32_t units = ch->prune->layers[k].unit_count;
    ch->scores[k] = bl_arena_alloc(arena, units, sizeof *ch->scores[k]);
    ch->pruned[k] = bl_arena_alloc(arena, units, 1);
    ok = ch->scores[k] != NULL && ch->pruned[k] != NULL;
    all += units;
  }
  ch->order = ok ? bl_arena_alloc(arena, all, sizeof *ch->order) : NULL;
  return ch->order != NULL ? BL_OK : bl_fail(err, BL_ERR_MEMORY, "pruning: no memory for masks");
}

bl_status bl_prune_masks(bl_prune *prune, const bl_prune_options *options, double factor,
                         bl_error *err) {
  chooser ch = {.prune = prune, .options = options, .factor = factor};
  bl_arena *arena = bl_arena_new(SIZE_MAX);
  if (arena == NULL) return bl_fail(err, BL_ERR_MEMORY, "pruning: no memory for masks");
  bl_status status = prepare(&ch, arena, err);
  if (status == BL_OK) status = match_rules(&ch, err);
  for (uint32_t k = 0; status == BL_OK && k < prune->count; k++)
    score_units(&ch, k);
  if (status == BL_OK) {
    choose(&ch);
    write_masks(&ch);
  }
  bl_arena_free(arena);
  return status;
}

// ---- What has them

const bl_value *bl_prune_weights(const bl_prune_layer *l, const bl_float_graph *graph,
                                 bl_error *err) {
  const bl_value *w =
      l->value >= 0 && (uint32_t)l->value < graph->value_count ? &graph->values[l->value] : NULL;
  if (w != NULL && w->f != NULL && w->count == l->count) return w;
  (void)bl_fail(err, BL_ERR_MISMATCH, "pruning: the graph has no such weights of layer %s",
                l->name);
  return NULL;
}

bl_status bl_prune_apply(const bl_prune *prune, bl_float_graph *graph, bl_error *err) {
  for (uint32_t k = 0; k < prune->count; k++) {
    const bl_prune_layer *l = &prune->layers[k];
    if (bl_prune_weights(l, graph, err) == NULL) return BL_ERR_MISMATCH;
    float *w = graph->values[l->value].f;
    for (size_t i = 0; i < l->count; i++)
      if (l->mask[i] == 0) w[i] = 0;
  }
  return BL_OK;
}

bl_status bl_prune_attach(bl_prune *prune, bl_train_net *net, bl_error *err) {
  uint32_t count;
  bl_train_parameter *parameters = bl_train_parameters(net, &count);
  for (uint32_t k = 0; k < prune->count; k++) {
    bl_prune_layer *l = &prune->layers[k];
    const bl_train_parameter *w = bl_prune_parameter(net, l, err);
    if (w == NULL) return BL_ERR_MISMATCH;
    for (size_t i = 0; i < l->count; i++)
      l->mask[i] = w->data[i] != 0;
    parameters[w - parameters].mask = l->mask;
  }
  return BL_OK;
}

// ---- Figures

static double part(const bl_prune *p, const bl_prune_layer *only, bool units) {
  uint64_t gone = 0, all = 0;
  for (uint32_t k = 0; k < p->count; k++) {
    const bl_prune_layer *l = &p->layers[k];
    if (only != NULL && l != only) continue;
    uint8_t *left = units ? calloc(l->unit_count + 1U, 1) : NULL;
    for (size_t i = 0; i < l->count; i++) {
      gone += !units && l->mask[i] == 0;
      if (left != NULL && l->mask[i] != 0) left[unit_of(l, i)] = 1;
    }
    for (uint32_t u = 0; left != NULL && u < l->unit_count; u++)
      gone += left[u] == 0;
    all += units ? l->unit_count : l->count;
    free(left);
  }
  return all > 0 ? (double)gone / (double)all : 0;
}

double bl_prune_sparsity(const bl_prune *prune, const bl_prune_layer *layer) {
  return part(prune, layer, false);
}

double bl_prune_unit_sparsity(const bl_prune *prune, const bl_prune_layer *layer) {
  return part(prune, layer, true);
}
