// SPDX-License-Identifier: Apache-2.0
#include "host/prune/schedule.h"

#include <math.h>

#include "host/base/random.h"
#include "host/prune/prune_internal.h"

#define REGROWN 1e-30F // as good as 0 for the network, but not 0

double bl_prune_schedule_factor(const bl_prune_schedule *s, uint64_t step) {
  if (step < s->begin || step > s->end) return -1;
  if (step == s->end) return 1;
  if ((step - s->begin) % (s->every > 0 ? s->every : 1) != 0) return -1;
  const double left = 1 - (double)(step - s->begin) / (double)(s->end - s->begin);
  return 1 - (1 - s->start) * left * left * left;
}

// Makes weights and masks say the same: pruned is what is 0.
static bl_status settle(bl_prune *p, bl_train_net *net, bool chosen, bl_error *err) {
  for (uint32_t k = 0; k < p->count; k++) {
    bl_prune_layer *l = &p->layers[k];
    const bl_train_parameter *w = bl_prune_parameter(net, l, err);
    if (w == NULL) return BL_ERR_MISMATCH;
    for (size_t i = 0; i < l->count; i++) {
      if (!chosen && w->data[i] == 0) l->mask[i] = 0;
      if (l->mask[i] == 0)
        w->data[i] = 0;
      else if (w->data[i] == 0)
        w->data[i] = w->gradient != NULL && w->gradient[i] > 0 ? -REGROWN : REGROWN;
    }
  }
  return BL_OK;
}

static bl_status after(void *user, bl_train_net *net, uint64_t step, uint64_t steps,
                       bl_error *err) {
  bl_prune_schedule *s = user;
  (void)steps;
  const double factor = bl_prune_schedule_factor(s, step);
  BL_TRY(settle(s->prune, net, false, err));
  if (factor < 0) return BL_OK;
  BL_TRY(bl_prune_score_net(s->prune, net, s->score, s->seed, err));
  BL_TRY(bl_prune_masks(s->prune, &s->options, factor, err));
  return settle(s->prune, net, true, err);
}

// 0 where nothing is out of the ordinary.
static unsigned manner_of(const bl_prune_schedule *s) {
  const bl_prune_options *o = &s->options;
  const bool blocks = s->prune->count > 0 && s->prune->layers[0].unit != NULL;
  return (o->norm == BL_PRUNE_L2 ? 1u : 0) | (o->each_layer ? 2u : 0) | (o->per_pixel ? 4u : 0) |
         (o->regrow ? 8u : 0) | (blocks ? 16u : 0);
}

bl_train_hook bl_prune_hook(bl_prune_schedule *s) {
  const uint64_t numbers[] = {s->begin,
                              s->end,
                              s->every,
                              s->seed,
                              (uint64_t)s->score,
                              (uint64_t)llround(s->start * 1e9),
                              (uint64_t)llround(s->options.amount * 1e9),
                              (uint64_t)s->options.measure,
                              s->options.keep,
                              s->options.rule_count};
  uint64_t key = 0;
  for (size_t k = 0; k < sizeof numbers / sizeof numbers[0]; k++)
    key = bl_random_key(key, numbers[k]);
  for (uint32_t k = 0; k < s->options.rule_count; k++) {
    const bl_prune_rule *rule = &s->options.rules[k];
    key = bl_random_key(key, (uint64_t)llround(rule->amount * 1e9));
    for (const char *at = rule->pattern; at != NULL && *at != '\0'; at++)
      key = bl_random_key(key, (unsigned char)*at);
    if (rule->classes != 0) key = bl_random_key(key, rule->classes);
  }
  const unsigned others = manner_of(s);
  if (others != 0) key = bl_random_key(key, others);
  return (bl_train_hook){.user = s, .after = after, .key = key};
}
