// SPDX-License-Identifier: Apache-2.0
#include "host/float/session.h"

#include <stdlib.h>
#include <string.h>

#include "host/float/eval.h"

enum { SESSION_CAP = 1 << 30 };

struct bl_float_session {
  const bl_float_graph *graph;
  bl_float_engine *engine;
  bl_arena *arena;
  bl_value *values;
};

static bl_status allocate_values(bl_float_session *s, bl_error *err) {
  const bl_float_graph *g = s->graph;
  s->arena = bl_arena_new(SESSION_CAP);
  s->values = s->arena == NULL ? NULL : bl_arena_alloc(s->arena, g->value_count, sizeof *s->values);
  if (s->values == NULL) return bl_fail(err, BL_ERR_MEMORY, "float executor: no memory");
  memcpy(s->values, g->values, g->value_count * sizeof *s->values);
  for (uint32_t v = 0; v < g->value_count; v++)
    if (s->values[v].shaped && !bl_value_constant(&s->values[v]))
      BL_TRY(bl_value_allocate(s->arena, &s->values[v], err));
  return BL_OK;
}

bl_status bl_float_session_open(const bl_float_graph *graph, bl_float_session **session,
                                bl_error *err) {
  bl_float_session *s = *session = calloc(1, sizeof *s);
  if (s == NULL) return bl_fail(err, BL_ERR_MEMORY, "float executor: no memory");
  s->graph = graph;
  bl_status status = allocate_values(s, err);
  if (status == BL_OK) status = bl_float_engine_open(graph->node_count, &s->engine, err);
  if (status != BL_OK) {
    bl_float_session_close(s);
    *session = NULL;
  }
  return status;
}

void bl_float_session_close(bl_float_session *s) {
  if (s == NULL) return;
  bl_float_engine_close(s->engine);
  bl_arena_free(s->arena);
  free(s);
}

bl_value *bl_float_session_input(bl_float_session *s, uint32_t k) {
  return &s->values[s->graph->inputs[k]];
}

bl_status bl_float_session_run(bl_float_session *s, bl_error *err) {
  for (uint32_t n = 0; n < s->graph->node_count; n++)
    BL_TRY(bl_float_eval(s->engine, s->graph, n, s->values, err));
  return BL_OK;
}

const bl_value *bl_float_session_value(const bl_float_session *s, int32_t value) {
  return &s->values[value];
}
