// SPDX-License-Identifier: Apache-2.0
// Which inner values of student and teacher go together, and the hook that compares them.
#include "host/train/distil.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/random.h"
#include "host/graph/float_edit.h"

enum { MAX_PAIRS = 32 };

struct bl_distil {
  bl_distil_options options;
  const bl_float_graph *graphs[2];   // student, teacher
  int32_t outputs[2][MAX_PAIRS + 1]; // logits, then pairs
  uint32_t count;                    // of pairs
  bool *learns;                      // [values of the student] a layer with weights is in front
  bl_train_net *teacher;
};

// ---- Pairs

// What comes from the samples alone has no gradient: it is the same whatever the student learns.
static void find_learning(const bl_float_graph *g, bool *learns) {
  for (uint32_t n = 0; n < g->node_count; n++) {
    const bl_node *node = &g->nodes[n];
    bool any = bl_node_is_product(node) || node->op == BL_FLOAT_BATCH_NORM;
    for (uint32_t k = 0; k < node->input_count; k++)
      any = any || (node->inputs[k] >= 0 && learns[node->inputs[k]]);
    for (uint32_t k = 0; k < node->output_count; k++)
      if (node->outputs[k] >= 0) learns[node->outputs[k]] = any;
  }
}

// Pixels of an image; 0: none.
static size_t pixels_of(const bl_value *v) {
  size_t pixels = v->rank > 2 ? 1 : 0;
  for (uint32_t k = 2; k < v->rank; k++)
    pixels *= (size_t)v->dims[k];
  return pixels > 1 ? pixels : 0;
}

static bl_status add_pair(bl_distil *d, int32_t student, int32_t teacher, bl_error *err) {
  if (d->count == MAX_PAIRS)
    return bl_fail(err, BL_ERR_USAGE, "distillation: more than %d pairs of layers", MAX_PAIRS);
  for (uint32_t k = 0; k <= d->count; k++)
    if (d->outputs[0][k] == student)
      return bl_fail(err, BL_ERR_USAGE, "distillation: the student's %s is compared twice",
                     d->graphs[0]->values[student].name);
  d->count++;
  d->outputs[0][d->count] = student;
  d->outputs[1][d->count] = teacher;
  return BL_OK;
}

// The last value of a graph that is an image of so many pixels, -1: none.
static int32_t last_image(const bl_float_graph *g, size_t pixels) {
  int32_t last = -1;
  for (uint32_t n = 0; n < g->node_count; n++)
    if (pixels_of(&g->values[g->nodes[n].outputs[0]]) == pixels) last = g->nodes[n].outputs[0];
  return last;
}

static bl_status pair_images(bl_distil *d, bl_error *err) {
  const bl_float_graph *student = d->graphs[0];
  for (uint32_t n = 0; n < student->node_count; n++) {
    const int32_t value = student->nodes[n].outputs[0];
    const size_t pixels = pixels_of(&student->values[value]);
    if (pixels == 0 || !d->learns[value] || last_image(student, pixels) != value) continue;
    const int32_t other = last_image(d->graphs[1], pixels);
    if (other >= 0) BL_TRY(add_pair(d, value, other, err));
  }
  return BL_OK;
}

// What the last layer with weights reads, -1: there is none.
static int32_t last_features(const bl_float_graph *g) {
  int32_t value = -1;
  for (uint32_t n = 0; n < g->node_count; n++) {
    const bl_node *node = &g->nodes[n];
    if (bl_node_is_product(node) && bl_float_producer(g, node->inputs[0]) >= 0)
      value = node->inputs[0];
  }
  return value;
}

static int32_t named(const bl_float_graph *g, const char *text, size_t length) {
  char name[256];
  if (length >= sizeof name) return -1;
  memcpy(name, text, length);
  name[length] = '\0';
  const int32_t node = bl_float_find_node(g, name);
  return node >= 0 ? g->nodes[node].outputs[0] : bl_float_find_value(g, name);
}

static bl_status pair_named(bl_distil *d, bl_error *err) {
  for (const char *at = d->options.layers; *at != '\0';) {
    const size_t length = strcspn(at, ","), first = strcspn(at, ":,");
    if (at[first] != ':')
      return bl_fail(err, BL_ERR_USAGE, "distillation: layers %s: expected S:T,S:T",
                     d->options.layers);
    const int32_t student = named(d->graphs[0], at, first);
    const int32_t teacher = named(d->graphs[1], at + first + 1, length - first - 1);
    if (student < 0 || teacher < 0)
      return bl_fail(err, BL_ERR_USAGE, "distillation: %.*s: the %s has no such layer", (int)length,
                     at, student < 0 ? "student" : "teacher");
    if (!d->learns[student])
      return bl_fail(err, BL_ERR_USAGE,
                     "distillation: %.*s: the student has nothing that learns in front of it",
                     (int)first, at);
    BL_TRY(add_pair(d, student, teacher, err));
    at += length + (at[length] == ',');
  }
  return BL_OK;
}

static bl_status check_pair(const bl_distil *d, uint32_t k, bl_error *err) {
  const bl_value *s = &d->graphs[0]->values[d->outputs[0][k]];
  const bl_value *t = &d->graphs[1]->values[d->outputs[1][k]];
  const bool alike =
      d->options.kind == BL_DISTIL_RELATION ||
      (pixels_of(s) == pixels_of(t) && (d->options.kind == BL_DISTIL_HINT || pixels_of(s) > 0));
  if (s->type == BL_TYPE_FLOAT && t->type == BL_TYPE_FLOAT && s->rank >= 2 && t->rank >= 2 &&
      s->dims[0] == t->dims[0] && alike)
    return BL_OK;
  return bl_fail(err, BL_ERR_USAGE,
                 "distillation: %s of the student and %s of the teacher do not go together",
                 s->name, t->name);
}

static bl_status find_pairs(bl_distil *d, bl_error *err) {
  if (d->options.layers != NULL) {
    BL_TRY(pair_named(d, err));
  } else {
    if (d->options.kind != BL_DISTIL_RELATION) BL_TRY(pair_images(d, err));
    const int32_t student = last_features(d->graphs[0]), teacher = last_features(d->graphs[1]);
    const bool vectors = d->options.kind != BL_DISTIL_ATTENTION;
    if (d->count == 0 && vectors && student >= 0 && d->learns[student] && teacher >= 0)
      BL_TRY(add_pair(d, student, teacher, err));
  }
  for (uint32_t k = 1; k <= d->count; k++)
    BL_TRY(check_pair(d, k, err));
  if (d->count > 0) return BL_OK;
  return bl_fail(err, BL_ERR_USAGE,
                 "distillation: no layers of student and teacher go together; name them as S:T");
}

bl_status bl_distil_open(const bl_float_graph *student, const bl_float_graph *teacher,
                         const bl_distil_options *options, bl_distil **distil, bl_error *err) {
  bl_distil *d = *distil = calloc(1, sizeof *d);
  if (d == NULL) return bl_fail(err, BL_ERR_MEMORY, "distillation: no memory");
  *d = (bl_distil){.options = *options, .graphs = {student, teacher}};
  d->outputs[0][0] = bl_train_logits(student);
  d->outputs[1][0] = bl_train_logits(teacher);
  d->learns = calloc(student->value_count + 1u, sizeof *d->learns);
  if (d->learns != NULL) find_learning(student, d->learns);
  const bl_status status = d->learns != NULL
                               ? find_pairs(d, err)
                               : bl_fail(err, BL_ERR_MEMORY, "distillation: no memory");
  if (status != BL_OK) {
    bl_distil_close(d);
    *distil = NULL;
  }
  return status;
}

void bl_distil_close(bl_distil *distil) {
  if (distil != NULL) free(distil->learns);
  free(distil);
}

const int32_t *bl_distil_outputs(const bl_distil *distil, bool teacher, uint32_t *count) {
  *count = distil->count + 1;
  return distil->outputs[teacher];
}

// ---- The hook

static double pair_loss(const bl_distil *d, bl_train_net *net, uint32_t k) {
  const bl_value *s = &d->graphs[0]->values[d->outputs[0][k]];
  const bl_value *t = &d->graphs[1]->values[d->outputs[1][k]];
  const float *x = bl_train_output(net, k), *y = bl_train_output(d->teacher, k);
  const size_t samples = (size_t)s->dims[0], pixels = pixels_of(s) > 0 ? pixels_of(s) : 1;
  const size_t es = s->count / samples, et = t->count / samples;
  float *gradient = bl_train_output_gradient(net, k);
  memset(gradient, 0, s->count * sizeof *gradient);
  switch (d->options.kind) {
  case BL_DISTIL_HINT:
    return bl_distil_hint(x, y, samples, es / pixels, et / pixels, pixels, d->options.weight,
                          gradient);
  case BL_DISTIL_ATTENTION:
    return bl_distil_attention(x, y, samples, es / pixels, et / pixels, pixels, d->options.weight,
                               gradient);
  default:
    return bl_distil_relation(x, y, samples, es, et, d->options.weight, gradient);
  }
}

static bl_status loss(void *user, bl_train_net *net, const bl_train_batch *batch, double *sum,
                      bl_error *err) {
  const bl_distil *d = user;
  (void)batch;
  for (uint32_t k = 1; k <= d->count; k++) {
    const double own = pair_loss(d, net, k);
    if (isnan(own))
      return bl_fail(err, BL_ERR_RANGE, "distillation: layer %s has values that are not finite",
                     d->graphs[0]->values[d->outputs[0][k]].name);
    *sum += d->options.weight * own;
  }
  return BL_OK;
}

bl_train_hook bl_distil_hook(bl_distil *distil, bl_train_net *teacher) {
  uint64_t key = bl_random_key(5, (uint64_t)distil->options.kind);
  key = bl_random_key(key, (uint64_t)llround(distil->options.weight * 1e9));
  for (uint32_t k = 0; k <= distil->count; k++)
    key = bl_random_key(bl_random_key(key, (uint64_t)distil->outputs[0][k]),
                        (uint64_t)distil->outputs[1][k]);
  distil->teacher = teacher;
  return (bl_train_hook){.user = distil, .loss = loss, .key = key};
}
