// SPDX-License-Identifier: Apache-2.0
#include "host/train/average.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/random.h"

struct bl_average {
  bl_arena *arena;
  double decay;
  bl_train_parameter *parameters;
  uint32_t count;
  float **means;
  float **taught; // [count] the teacher's own numbers; NULL: none
};

static bl_status no_memory(bl_error *err) {
  return bl_fail(err, BL_ERR_MEMORY, "training: no memory for the average");
}

// What the teacher has of the same name; what a transform learns it need not have.
static bl_status find_taught(bl_average *a, bl_train_net *teacher, bl_error *err) {
  uint32_t count;
  bl_train_parameter *p = bl_train_parameters(teacher, &count);
  for (uint32_t k = 0; k < a->count; k++) {
    for (uint32_t i = 0; i < count; i++)
      if (strcmp(p[i].name, a->parameters[k].name) == 0 && p[i].count == a->parameters[k].count)
        a->taught[k] = p[i].data;
    if (a->taught[k] == NULL && a->parameters[k].kind != BL_TRAIN_LEARNED)
      return bl_fail(err, BL_ERR_MISMATCH, "training: the teacher has no %s to be averaged",
                     a->parameters[k].name);
  }
  return BL_OK;
}

static bl_status fill(bl_average *a, bl_train_net *net, bl_train_net *teacher, bl_error *err) {
  a->parameters = bl_train_parameters(net, &a->count);
  a->arena = bl_arena_new((size_t)1 << 32);
  if (a->arena == NULL) return no_memory(err);
  a->means = bl_arena_alloc(a->arena, (size_t)a->count + 1, sizeof(float *));
  a->taught = bl_arena_alloc(a->arena, (size_t)a->count + 1, sizeof(float *));
  if (a->means == NULL || a->taught == NULL) return no_memory(err);
  for (uint32_t k = 0; k < a->count; k++) {
    const bl_train_parameter *p = &a->parameters[k];
    a->taught[k] = NULL;
    a->means[k] = bl_arena_alloc(a->arena, p->count + 1, sizeof(float));
    if (a->means[k] == NULL) return no_memory(err);
    memcpy(a->means[k], p->data, p->count * sizeof(float));
  }
  return teacher == NULL ? BL_OK : find_taught(a, teacher, err);
}

bl_status bl_average_open(bl_train_net *net, double decay, bl_train_net *teacher,
                          bl_average **average, bl_error *err) {
  *average = NULL;
  if (!(decay > 0) || !(decay < 1))
    return bl_fail(err, BL_ERR_USAGE, "training: the average's decay is between 0 and 1");
  bl_average *a = calloc(1, sizeof *a);
  if (a == NULL) return no_memory(err);
  a->decay = decay;
  const bl_status status = fill(a, net, teacher, err);
  if (status == BL_OK)
    *average = a;
  else
    bl_average_close(a);
  return status;
}

void bl_average_close(bl_average *average) {
  if (average == NULL) return;
  bl_arena_free(average->arena);
  free(average);
}

static bl_status after(void *user, bl_train_net *net, uint64_t step, uint64_t steps,
                       bl_error *err) {
  const bl_average *a = user;
  const double early = (1 + (double)step) / (10 + (double)step);
  const float d = (float)(early < a->decay ? early : a->decay);
  (void)net;
  (void)steps;
  (void)err;
  for (uint32_t k = 0; k < a->count; k++) {
    const bl_train_parameter *p = &a->parameters[k];
    float *mean = a->means[k];
    for (size_t i = 0; i < p->count; i++)
      mean[i] = d * mean[i] + (1 - d) * p->data[i];
  }
  return BL_OK;
}

// Before each step, so that a resumed run teaches the same.
static bl_status before(void *user, bl_train_net *net, uint64_t step, uint64_t steps,
                        bl_error *err) {
  const bl_average *a = user;
  (void)net;
  (void)step;
  (void)steps;
  (void)err;
  for (uint32_t k = 0; k < a->count; k++)
    if (a->taught[k] != NULL)
      memcpy(a->taught[k], a->means[k], a->parameters[k].count * sizeof(float));
  return BL_OK;
}

static float *state(void *user, uint32_t k, size_t *count) {
  const bl_average *a = user;
  if (k >= a->count) return NULL;
  *count = a->parameters[k].count;
  return a->means[k];
}

bl_train_hook bl_average_hook(bl_average *average) {
  return (bl_train_hook){.user = average,
                         .before = before,
                         .after = after,
                         .state = state,
                         .key = bl_random_key(6, (uint64_t)llround(average->decay * 1e9))};
}

void bl_average_take(const bl_average *average) {
  for (uint32_t k = 0; k < average->count; k++) {
    const bl_train_parameter *p = &average->parameters[k];
    memcpy(p->data, average->means[k], p->count * sizeof(float));
    for (size_t i = 0; p->mask != NULL && i < p->count; i++)
      if (p->mask[i] == 0) p->data[i] = 0;
  }
}
