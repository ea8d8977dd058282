// SPDX-License-Identifier: Apache-2.0
#include "host/train/keep_weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/graph/float_edit.h"

static const size_t KEEP_CAP = (size_t)1 << 30;

typedef struct {
  const char *name;
  int32_t value; // in the graph
  size_t count;
  uint8_t *mask;   // [count] NULL: nothing is held at zero
  uint32_t *index; // [count] of the centroid, from 1; 0: zero. NULL: not shared
  float *first;    // [centroids]
  const float *learned;
  uint32_t centroids;
} kept;

struct bl_keep_weights {
  bl_arena *arena;
  kept *items;
  uint32_t count;
  bl_train_transform *transforms;
  uint32_t transform_count;
};

static bl_status no_memory(bl_error *err) {
  return bl_fail(err, BL_ERR_MEMORY, "training: no memory for what weights keep");
}

// ---- Shared values

static void spread(const kept *k, float *y) {
  for (size_t i = 0; i < k->count; i++)
    y[i] = k->index[i] == 0 ? 0 : k->learned[k->index[i] - 1];
}

static bl_status forward(void *user, const bl_train_transform_data *d, bl_error *err) {
  (void)err;
  spread(user, d->y);
  return BL_OK;
}

static bl_status backward(void *user, const bl_train_transform_data *d, bl_error *err) {
  const kept *k = user;
  (void)err;
  if (d->dx != NULL) memset(d->dx, 0, d->count * sizeof *d->dx);
  if (d->gradients == NULL) return BL_OK;
  memset(d->gradients, 0, k->centroids * sizeof *d->gradients);
  for (size_t i = 0; i < k->count; i++)
    if (k->index[i] > 0) d->gradients[k->index[i] - 1] += d->dy[i];
  return BL_OK;
}

static int ascending(const void *a, const void *b) {
  const float x = *(const float *)a, y = *(const float *)b;
  return x < y ? -1 : x > y;
}

// The different values of sorted x[count] other than zero, in front of it; returns how many.
static size_t different(float *x, size_t count) {
  size_t n = 0;
  for (size_t i = 0; i < count; i++)
    if (x[i] != 0 && (n == 0 || x[i] != x[n - 1])) x[n++] = x[i];
  return n;
}

static bl_status find_centroids(bl_keep_weights *keep, const float *w, uint32_t most, kept *k,
                                bl_error *err) {
  k->index = bl_arena_alloc(keep->arena, k->count, sizeof *k->index);
  float *values = malloc(k->count * sizeof *values + 1);
  if (k->index == NULL || values == NULL) {
    free(values);
    return no_memory(err);
  }
  memcpy(values, w, k->count * sizeof *values);
  qsort(values, k->count, sizeof *values, ascending);
  const size_t n = different(values, k->count);
  k->centroids = (uint32_t)n;
  k->first = n <= most ? bl_arena_alloc(keep->arena, n + 1, sizeof *k->first) : NULL;
  if (k->first != NULL) memcpy(k->first, values, n * sizeof *values);
  free(values);
  if (n > most)
    return bl_fail(err, BL_ERR_RANGE, "training: weights %s have %zu values, not %u at most",
                   k->name, n, (unsigned)most);
  if (k->first == NULL) return no_memory(err);
  k->learned = k->first;
  for (size_t i = 0; i < k->count; i++) {
    const float *at = w[i] == 0 ? NULL : bsearch(&w[i], k->first, n, sizeof *k->first, ascending);
    k->index[i] = at == NULL ? 0 : (uint32_t)(at - k->first) + 1;
  }
  return BL_OK;
}

static bl_status add_transform(bl_keep_weights *keep, kept *k, bl_error *err) {
  const size_t length = strlen(k->name) + 32;
  char *name = bl_arena_alloc(keep->arena, length, 1);
  if (name == NULL) return no_memory(err);
  (void)snprintf(name, length, "%s: %u values", k->name, (unsigned)k->centroids);
  keep->transforms[keep->transform_count++] = (bl_train_transform){.name = name,
                                                                   .value = k->value,
                                                                   .node = -1,
                                                                   .user = k,
                                                                   .forward = forward,
                                                                   .backward = backward,
                                                                   .parameter_count = k->centroids,
                                                                   .parameters = k->first};
  return BL_OK;
}

// ---- Opening

static bl_status add(bl_keep_weights *keep, const bl_float_graph *graph, const bl_kept_weights *w,
                     bl_error *err) {
  kept *k = &keep->items[keep->count++];
  const int32_t value = bl_float_find_value(graph, w->value);
  const float *data = value < 0 ? NULL : graph->values[value].f;
  if (data == NULL)
    return bl_fail(err, BL_ERR_MISMATCH, "training: %s has no weights %s", graph->name, w->value);
  *k = (kept){.value = value, .count = graph->values[value].count};
  k->name = bl_arena_strndup(keep->arena, w->value, strlen(w->value));
  if (k->name == NULL) return no_memory(err);
  if (w->most > 0) {
    BL_TRY(find_centroids(keep, data, w->most, k, err));
    return k->centroids > 0 ? add_transform(keep, k, err) : BL_OK;
  }
  if (!w->sparse) return BL_OK;
  k->mask = bl_arena_alloc(keep->arena, k->count, 1);
  if (k->mask == NULL) return no_memory(err);
  for (size_t i = 0; i < k->count; i++)
    k->mask[i] = data[i] != 0;
  return BL_OK;
}

static bl_status fill(bl_keep_weights *keep, const bl_float_graph *graph,
                      const bl_kept_weights *weights, uint32_t count, bl_error *err) {
  keep->arena = bl_arena_new(KEEP_CAP);
  if (keep->arena == NULL) return no_memory(err);
  keep->items = bl_arena_alloc(keep->arena, (size_t)count + 1, sizeof *keep->items);
  keep->transforms = bl_arena_alloc(keep->arena, (size_t)count + 1, sizeof *keep->transforms);
  if (keep->items == NULL || keep->transforms == NULL) return no_memory(err);
  for (uint32_t k = 0; k < count; k++)
    BL_TRY(add(keep, graph, &weights[k], err));
  return BL_OK;
}

bl_status bl_keep_weights_open(const bl_float_graph *graph, const bl_kept_weights *weights,
                               uint32_t count, bl_keep_weights **keep, bl_error *err) {
  bl_keep_weights *k = *keep = calloc(1, sizeof *k);
  if (k == NULL) return no_memory(err);
  const bl_status status = fill(k, graph, weights, count, err);
  if (status != BL_OK) {
    bl_keep_weights_close(k);
    *keep = NULL;
  }
  return status;
}

void bl_keep_weights_close(bl_keep_weights *keep) {
  if (keep == NULL) return;
  bl_arena_free(keep->arena);
  free(keep);
}

const bl_train_transform *bl_keep_weights_transforms(const bl_keep_weights *keep, uint32_t *count) {
  *count = keep->transform_count;
  return keep->transforms;
}

// ---- A net

static const char *transform_of(const bl_keep_weights *keep, const kept *k) {
  for (uint32_t t = 0; t < keep->transform_count; t++)
    if (keep->transforms[t].user == k) return keep->transforms[t].name;
  return NULL;
}

void bl_keep_weights_attach(bl_keep_weights *keep, bl_train_net *net) {
  uint32_t count;
  bl_train_parameter *p = bl_train_parameters(net, &count);
  for (uint32_t i = 0; i < count; i++)
    for (uint32_t n = 0; n < keep->count; n++) {
      kept *k = &keep->items[n];
      const char *name = transform_of(keep, k);
      if (name != NULL && p[i].name == name) k->learned = p[i].data;
      if (p[i].value != k->value) continue;
      if (k->mask != NULL) p[i].mask = k->mask;
      if (k->index != NULL) p[i].rate = 0;
    }
}

bl_status bl_keep_weights_store(const bl_keep_weights *keep, bl_float_graph *graph, bl_error *err) {
  for (uint32_t n = 0; n < keep->count; n++) {
    const kept *k = &keep->items[n];
    const int32_t value = bl_float_find_value(graph, k->name);
    if (k->index == NULL) continue;
    if (value < 0 || graph->values[value].f == NULL || graph->values[value].count != k->count)
      return bl_fail(err, BL_ERR_MISMATCH, "training: %s has no weights %s", graph->name, k->name);
    spread(k, graph->values[value].f);
  }
  return BL_OK;
}
