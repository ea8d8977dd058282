// SPDX-License-Identifier: Apache-2.0
// Which classes of channels go.
#include "host/prune/channels.h"

#include <fnmatch.h>
#include <math.h>
#include <stdlib.h>

#include "host/prune/prune_internal.h"

// ---- Scores

static const bl_prune_layer *layer_of(const bl_prune *p, const bl_channel_use *use) {
  for (uint32_t k = 0; k < p->count; k++)
    if (p->layers[k].value == use->value && p->layers[k].outputs == use->count)
      return &p->layers[k];
  return NULL;
}

static double score_filter(const bl_prune_layer *l, size_t n, bl_prune_norm norm) {
  double sum = 0;
  for (size_t c = 0; c < l->channels; c++)
    for (size_t t = 0; t < l->taps; t++) {
      const double s = (double)l->scores[bl_prune_index(l, n, c, t)];
      sum += norm == BL_PRUNE_L2 ? s * s : s;
    }
  return sum;
}

bl_status bl_channels_score(bl_channels *channels, const bl_prune *prune, bl_prune_norm norm,
                            bool mean, bl_error *err) {
  const uint32_t classes = channels->class_count;
  double *sums = calloc(2 * (size_t)classes + 1, sizeof *sums);
  bl_status status = BL_OK;
  if (sums == NULL) return bl_fail(err, BL_ERR_MEMORY, "channels: no memory for scores");
  for (uint32_t u = 0; u < channels->use_count && status == BL_OK; u++) {
    const bl_channel_use *use = &channels->uses[u];
    if (use->kind != BL_CHANNEL_FILTER) continue;
    const bl_prune_layer *l = layer_of(prune, use);
    if (l == NULL) status = bl_fail(err, BL_ERR_MISMATCH, "channels: scores of another graph");
    for (size_t k = 0; l != NULL && k < use->count; k++) {
      if (use->ids[k] < 0) continue;
      sums[use->ids[k]] += score_filter(l, k, norm);
      sums[classes + (size_t)use->ids[k]] += (double)(l->channels * l->taps);
    }
  }
  for (uint32_t k = 0; k < classes; k++) {
    const double sum = mean ? sums[k] / sums[classes + k] : sums[k];
    channels->scores[k] = (float)(norm == BL_PRUNE_L2 ? sqrt(sum) : sum);
  }
  free(sums);
  return status;
}

bl_status bl_channels_score_gamma(bl_channels *channels, const bl_float_graph *graph,
                                  bl_error *err) {
  const uint32_t classes = channels->class_count;
  double *sums = calloc(2 * (size_t)classes + 1, sizeof *sums);
  bool any = false;
  if (sums == NULL) return bl_fail(err, BL_ERR_MEMORY, "channels: no memory for scores");
  for (uint32_t u = 0; u < channels->use_count; u++) {
    const bl_channel_use *use = &channels->uses[u];
    for (size_t k = 0; use->kind == BL_CHANNEL_GAMMA && k < use->count; k++) {
      if (use->ids[k] < 0) continue;
      sums[use->ids[k]] += fabs((double)graph->values[use->value].f[k]);
      sums[classes + (size_t)use->ids[k]] += 1;
      any = true;
    }
  }
  for (uint32_t k = 0; k < classes; k++)
    channels->scores[k] = sums[classes + k] > 0 ? (float)(sums[k] / sums[classes + k]) : INFINITY;
  free(sums);
  return any ? BL_OK
             : bl_fail(err, BL_ERR_USAGE,
                       "channels: no batch normalisation with channels that may go; score by l1");
}

// ---- Choice

typedef struct {
  float score;
  uint32_t id;
} candidate;

typedef struct {
  bl_channels *channels;
  const bl_float_graph *graph;
  const bl_channels_options *options;
  int32_t *rule;    // [groups] -1: none
  uint32_t *left;   // [groups] classes that may still go; [groups]: of all together
  uint32_t *kept;   // [uses] entries
  candidate *order; // [classes]
} chooser;

static int compare(const void *a, const void *b) {
  const candidate *x = a, *y = b;
  if (x->score != y->score) return x->score < y->score ? -1 : 1;
  return x->id < y->id ? -1 : x->id > y->id;
}

static bool rule_fits(const chooser *ch, const bl_prune_rule *rule, uint32_t group, bool any) {
  for (uint32_t u = 0; u < ch->channels->use_count; u++) {
    const bl_channel_use *use = &ch->channels->uses[u];
    if (use->kind != BL_CHANNEL_FILTER) continue;
    if (rule->pattern != NULL && fnmatch(rule->pattern, ch->graph->nodes[use->node].name, 0) != 0)
      continue;
    for (size_t k = 0; k < use->count; k++)
      if (any || (use->ids[k] >= 0 && ch->channels->group[use->ids[k]] == group)) return true;
  }
  return false;
}

static bl_status set_limits(chooser *ch, bl_error *err) {
  const bl_channels_options *o = ch->options;
  const bl_channels *all = ch->channels;
  bool sane = o->amount >= 0 && o->amount <= 1;
  for (uint32_t r = 0; r < o->rule_count; r++) {
    sane = sane && o->rules[r].amount >= 0 && o->rules[r].amount <= 1;
    if (!rule_fits(ch, &o->rules[r], 0, true))
      return bl_fail(err, BL_ERR_USAGE, "channels: no layer matches \"%s\"", o->rules[r].pattern);
  }
  if (!sane) return bl_fail(err, BL_ERR_RANGE, "channels: amounts must be 0..1");
  for (uint32_t g = 0; g < all->group_count; g++) {
    ch->rule[g] = -1;
    for (uint32_t r = o->rule_count; r-- > 0;)
      if (rule_fits(ch, &o->rules[r], g, false)) ch->rule[g] = (int32_t)r;
  }
  for (uint32_t k = 0; k < all->class_count; k++) {
    const uint32_t g = all->group[k];
    ch->left[o->global && ch->rule[g] < 0 ? all->group_count : g]++;
  }
  for (uint32_t g = 0; g <= all->group_count; g++) {
    const bool ruled = g < all->group_count && ch->rule[g] >= 0;
    const double amount = ruled ? o->rules[ch->rule[g]].amount : o->amount;
    ch->left[g] = (uint32_t)llround(amount * ch->left[g]);
  }
  return BL_OK;
}

static size_t entries_of(const bl_channel_use *use, uint32_t id) {
  size_t count = 0;
  for (size_t k = 0; k < use->count; k++)
    count += use->ids[k] == (int32_t)id;
  return count;
}

// Every layer keeps a channel.
static bool may_go(const chooser *ch, uint32_t id) {
  for (uint32_t u = 0; u < ch->channels->use_count; u++)
    if (entries_of(&ch->channels->uses[u], id) >= ch->kept[u]) return false;
  return true;
}

static void set_keep(const chooser *ch, uint32_t id, bool keep) {
  if ((ch->channels->keep[id] != 0) == keep) return;
  ch->channels->keep[id] = keep;
  for (uint32_t u = 0; u < ch->channels->use_count; u++) {
    const uint32_t count = (uint32_t)entries_of(&ch->channels->uses[u], id);
    ch->kept[u] = keep ? ch->kept[u] + count : ch->kept[u] - count;
  }
}

// Brings back the best channel of a layer whose number is no multiple, until all are.
static void round_up(const chooser *ch) {
  const uint32_t multiple = ch->options->multiple > 0 ? ch->options->multiple : 1;
  const bl_channels *all = ch->channels;
  for (bool changed = true; changed;) {
    changed = false;
    for (uint32_t u = 0; u < all->use_count; u++) {
      const bl_channel_use *use = &all->uses[u];
      int32_t best = -1;
      if (use->kind != BL_CHANNEL_FILTER || ch->kept[u] % multiple == 0) continue;
      for (size_t k = 0; k < use->count; k++)
        if (use->ids[k] >= 0 && all->keep[use->ids[k]] == 0 &&
            (best < 0 || all->scores[use->ids[k]] > all->scores[best]))
          best = use->ids[k];
      if (best < 0) continue;
      set_keep(ch, (uint32_t)best, true);
      changed = true;
    }
  }
}

static void choose(const chooser *ch) {
  const bl_channels *all = ch->channels;
  for (uint32_t u = 0; u < all->use_count; u++)
    ch->kept[u] = (uint32_t)all->uses[u].count;
  for (uint32_t k = 0; k < all->class_count; k++) {
    all->keep[k] = 1;
    ch->order[k] = (candidate){all->scores[k], k};
  }
  qsort(ch->order, all->class_count, sizeof *ch->order, compare);
  for (uint32_t i = 0; i < all->class_count; i++) {
    const uint32_t id = ch->order[i].id, g = all->group[id];
    uint32_t *left = &ch->left[ch->options->global && ch->rule[g] < 0 ? all->group_count : g];
    if (*left == 0 || isinf(all->scores[id]) || !may_go(ch, id)) continue;
    set_keep(ch, id, false);
    --*left;
  }
  round_up(ch);
}

bl_status bl_channels_choose(bl_channels *channels, const bl_float_graph *graph,
                             const bl_channels_options *options, bl_error *err) {
  chooser ch = {.channels = channels, .graph = graph, .options = options};
  ch.rule = calloc(channels->group_count + 1U, sizeof *ch.rule);
  ch.left = calloc(channels->group_count + 1U, sizeof *ch.left);
  ch.kept = calloc(channels->use_count + 1U, sizeof *ch.kept);
  ch.order = calloc(channels->class_count + 1U, sizeof *ch.order);
  bl_status status = BL_ERR_MEMORY;
  if (ch.rule == NULL || ch.left == NULL || ch.kept == NULL || ch.order == NULL)
    (void)bl_fail(err, status, "channels: no memory");
  else
    status = set_limits(&ch, err);
  if (status == BL_OK) choose(&ch);
  free(ch.rule);
  free(ch.left);
  free(ch.kept);
  free(ch.order);
  return status;
}

uint32_t bl_channels_removed(const bl_channels *channels) {
  uint32_t count = 0;
  for (uint32_t k = 0; k < channels->class_count; k++)
    count += channels->keep[k] == 0;
  return count;
}
