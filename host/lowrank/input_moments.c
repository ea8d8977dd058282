// SPDX-License-Identifier: Apache-2.0
// Means and covariances of what layers read.
#include <cblas.h>
#include <string.h>

#include "host/float/session.h"
#include "host/lowrank/lowrank.h"

enum { MOST_CHANNELS = 4096, ROOM = 64 };
static const size_t MOMENTS_CAP = (size_t)3 << 30;

typedef struct {
  bl_lowrank_input *input;
  const bl_node *node;
  double *rows; // [ROOM][channels] that have still to be added
  uint32_t waiting;
  double places;
} gathering;

static bl_status no_memory(const bl_float_graph *graph, bl_error *err) {
  return bl_fail(err, BL_ERR_MEMORY, "%s: no memory for moments of its layers' inputs",
                 graph->name);
}

static bl_status start(bl_arena *arena, const bl_float_graph *graph, bl_lowrank_moments *moments,
                       gathering *all, bl_error *err) {
  for (uint32_t n = 0; n < graph->node_count; n++) {
    const bl_node *node = &graph->nodes[n];
    const bl_value *in = bl_node_input(graph, node, 0);
    if (!bl_lowrank_applies(graph, node, BL_LOWRANK_SVD) || in->dims[1] > MOST_CHANNELS) continue;
    const size_t c = (size_t)in->dims[1];
    gathering *g = &all[moments->count];
    *g = (gathering){.input = &moments->inputs[moments->count++],
                     .node = node,
                     .rows = bl_arena_alloc(arena, ROOM * c, sizeof *g->rows)};
    *g->input = (bl_lowrank_input){.layer = bl_arena_strndup(arena, node->name, strlen(node->name)),
                                   .channels = (uint32_t)c,
                                   .mean = bl_arena_alloc(arena, c, sizeof(double)),
                                   .covariance = bl_arena_alloc(arena, c * c, sizeof(double))};
    if (g->rows == NULL || g->input->layer == NULL || g->input->mean == NULL ||
        g->input->covariance == NULL)
      return no_memory(graph, err);
  }
  return BL_OK;
}

static void add_waiting(gathering *g) {
  const blasint c = (blasint)g->input->channels;
  if (g->waiting == 0) return;
  cblas_dsyrk(CblasRowMajor, CblasUpper, CblasTrans, c, (blasint)g->waiting, 1, g->rows, c, 1,
              g->input->covariance, c);
  g->waiting = 0;
}

// Positions are rows, channels columns.
static void add_value(gathering *g, const bl_value *v) {
  const size_t c = g->input->channels, places = v->count / c;
  for (size_t p = 0; p < places; p++) {
    double *row = g->rows + g->waiting * c;
    for (size_t j = 0; j < c; j++) {
      row[j] = (double)v->f[j * places + p];
      g->input->mean[j] += row[j];
    }
    if (++g->waiting == ROOM) add_waiting(g);
  }
  g->places += (double)places;
}

static void finish(gathering *g) {
  const size_t c = g->input->channels;
  double *mean = g->input->mean, *covariance = g->input->covariance;
  add_waiting(g);
  for (size_t i = 0; i < c; i++)
    mean[i] /= g->places;
  for (size_t i = 0; i < c; i++)
    for (size_t j = i; j < c; j++) {
      const double x = covariance[i * c + j] / g->places - mean[i] * mean[j];
      covariance[i * c + j] = covariance[j * c + i] = x;
    }
}

static bl_status gather(const bl_float_graph *graph, const bl_calibration *calibration,
                        gathering *all, uint32_t count, bl_error *err) {
  bl_float_session *session;
  BL_TRY(bl_float_session_open(graph, &session, err));
  bl_status status = BL_OK;
  for (size_t k = 0; k < calibration->count && status == BL_OK; k++) {
    status = calibration->read(calibration->context, k, bl_float_session_input(session, 0)->f, err);
    if (status == BL_OK) status = bl_float_session_run(session, err);
    for (uint32_t g = 0; g < count && status == BL_OK; g++)
      add_value(&all[g], bl_float_session_value(session, all[g].node->inputs[0]));
  }
  bl_float_session_close(session);
  return status;
}

bl_status bl_lowrank_measure(const bl_float_graph *graph, const bl_calibration *calibration,
                             bl_lowrank_moments *moments, bl_error *err) {
  if (calibration->count == 0)
    return bl_fail(err, BL_ERR_USAGE, "%s: no samples to take moments of", graph->name);
  bl_arena *arena = bl_arena_new(MOMENTS_CAP);
  *moments = (bl_lowrank_moments){.arena = arena};
  if (arena == NULL) return no_memory(graph, err);
  openblas_set_num_threads(1);
  moments->inputs = bl_arena_alloc(arena, graph->node_count, sizeof *moments->inputs);
  gathering *all = bl_arena_alloc(arena, graph->node_count, sizeof *all);
  bl_status status = moments->inputs == NULL || all == NULL
                         ? no_memory(graph, err)
                         : start(arena, graph, moments, all, err);
  if (status == BL_OK) status = gather(graph, calibration, all, moments->count, err);
  for (uint32_t k = 0; status == BL_OK && k < moments->count; k++)
    finish(&all[k]);
  if (status == BL_OK) return BL_OK;
  bl_arena_free(arena);
  *moments = (bl_lowrank_moments){0};
  return status;
}
