// SPDX-License-Identifier: Apache-2.0
#include "host/compress/pipeline.h"

#include <string.h>
#include <time.h>

typedef struct {
  const bl_recipe *recipe;
  bl_network *network;
  bl_stage_listener listener;
  void *user;
  bl_error *err;
} running;

static double now(void) {
  struct timespec t;
  (void)clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// A failure with recipe, line and pass in front.
static bl_status located(const running *r, const bl_call *call, bl_status status,
                         const bl_error *inner) {
  return bl_fail(r->err, status, "%s:%u: %s: %s", r->recipe->name, (unsigned)call->line,
                 call->pass->name, inner->text);
}

// A pattern that names no layer is a mistake in the recipe.
static bl_status check_layers(running *r, bl_call *call) {
  uint32_t count;
  const char **layers = bl_network_layers(r->network, false, &count);
  if (layers == NULL) return bl_fail(r->err, BL_ERR_MEMORY, "no memory for the layers' names");
  if (count == 0)
    return bl_fail(r->err, BL_ERR_UNSUPPORTED, "%s:%u: %s: the network has no layer with weights",
                   r->recipe->name, (unsigned)call->line, call->pass->name);
  call->first = layers[0];
  call->last = layers[count - 1];
  if (call->pass->averages) layers = bl_network_layers(r->network, true, &count);
  if (layers == NULL) return bl_fail(r->err, BL_ERR_MEMORY, "no memory for the layers' names");
  for (uint32_t k = 0; k < call->layer_count; k++) {
    bool named = false;
    for (uint32_t n = 0; n < count; n++)
      named = named || bl_call_names(call, call->layers[k].pattern, layers[n]);
    if (!named)
      return bl_fail(r->err, BL_ERR_USAGE, "%s:%u: %s: no layer %s; `bitloom import` lists them",
                     r->recipe->name, (unsigned)call->layers[k].line, call->pass->name,
                     call->layers[k].pattern);
  }
  return BL_OK;
}

// What the passes before `made` keeps have promised must still hold.
static bl_status check_keeps(const running *r, const bl_call *call, uint32_t before,
                             bl_kept *kept) {
  for (uint32_t k = 0; k < r->network->keep_count; k++) {
    const bl_keep *keep = &r->network->keeps[k];
    bl_error inner = {0};
    bool holds = true;
    kept[k] = (bl_kept){keep, keep->figure};
    if (k >= before) continue;
    const bl_status status = keep->check(r->network, keep->state, &kept[k].figure, &holds, &inner);
    if (status != BL_OK) return located(r, call, status, &inner);
    if (!holds)
      return bl_fail(r->err, BL_ERR_MISMATCH,
                     "%s:%u: %s: breaks what %s in line %u promised: %s was %.6g%s, is %.6g%s",
                     r->recipe->name, (unsigned)call->line, call->pass->name, keep->pass,
                     (unsigned)keep->line, keep->what, keep->figure, keep->unit, kept[k].figure,
                     keep->unit);
  }
  return BL_OK;
}

static bl_status run_call(running *r, uint32_t place) {
  bl_call *call = &r->recipe->calls[place];
  bl_network *network = r->network;
  bl_kept kept[BL_NETWORK_MAX_KEEPS];
  bl_stage_figures figures = {.pass = call->pass->name, .line = call->line};
  bl_error inner = {0};
  const uint32_t before = network->keep_count;
  const double start = now();
  network->pass = call->pass->name;
  network->line = call->line;
  network->place = place + 1;
  BL_TRY(check_layers(r, call));
  bl_status status = call->pass->run(network, call, &inner);
  if (status != BL_OK) return located(r, call, status, &inner);
  figures.seconds = now() - start;
  BL_TRY(check_keeps(r, call, before, kept));
  status = bl_network_measure(network, &figures, &inner);
  if (status != BL_OK) return located(r, call, status, &inner);
  if (r->listener != NULL) r->listener(r->user, &figures, kept, network->keep_count);
  return BL_OK;
}

bl_status bl_recipe_run(const bl_recipe *recipe, bl_network *network, bl_stage_listener listener,
                        void *user, bl_error *err) {
  running r = {recipe, network, listener, user, err};
  bl_stage_figures figures = {.pass = ""};
  network->seed = recipe->seed;
  BL_TRY(bl_network_measure(network, &figures, err));
  if (listener != NULL) listener(user, &figures, NULL, 0);
  for (uint32_t k = 0; k < recipe->call_count; k++)
    BL_TRY(run_call(&r, k));
  if (network->pruning != NULL)
    return bl_fail(err, BL_ERR_USAGE, "%s: prune: it is gradual, but no train follows",
                   recipe->name);
  return BL_OK;
}
