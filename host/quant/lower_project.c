// SPDX-License-Identifier: Apache-2.0
// Projection shortcuts: of two convolutions that are added, one of a single tap need not be a stage
// of its own, it can be a second product in the accumulators of the other.
#include <string.h>

#include "host/quant/lower_internal.h"

static uint32_t readers_of(const bl_lowered *l, int32_t stage) {
  uint32_t count = 0;
  for (uint32_t k = 0; k < l->stage_count; k++) {
    const bl_stage *s = &l->stages[k];
    count += (s->input == stage ? 1u : 0u) + (s->addend == stage ? 1u : 0u);
    for (uint32_t i = 0; i < s->part_count; i++)
      count += (int32_t)s->parts[i] == stage;
  }
  return count;
}

// Weights that are ours to choose, or that the graph fixes, of all channels by all.
static bool is_product(const bl_stage *s, bool fixed) {
  if (fixed && s->weight_format.kind != BL_FORMAT_S) return false;
  return s->part_count == 0 && !s->unit_weights && (s->weight_scale != NULL) == fixed &&
         s->window.groups == 1;
}

// The first `posts` operations of a stage as a projection.
static bool may_project(const bl_stage *s, uint32_t posts, bool fixed) {
  const bl_int_layer *w = &s->window;
  for (uint32_t k = 0; k < posts; k++)
    if (s->posts[k].kind == BL_POST_CLAMP) return false;
  return is_product(s, fixed) && w->kernel_h == 1 && w->kernel_w == 1 && !w->upsample &&
         w->pad_top + w->pad_left + w->pad_bottom + w->pad_right == 0 &&
         s->in_h == s->conv_h * w->stride_h && s->in_w == s->conv_w * w->stride_w &&
         w->stride_h <= 255 && w->stride_w <= 255;
}

// A product that nobody reads but the addition, and of which only what is linear was made.
static bool only_for_sum(const bl_lowered *l, int32_t stage, bool fixed) {
  if (stage < 0 || readers_of(l, stage) != 1) return false;
  const bl_stage *p = &l->stages[stage];
  return is_product(p, fixed) && p->addend == BL_STAGE_NONE && !p->clamped && !p->pooled &&
         !p->is_part && !p->ties_input && !p->dynamic && !p->quantised && p->function == NULL;
}

static bool projects(const bl_lowered *l, uint32_t stage, bool fixed) {
  const bl_stage *s = &l->stages[stage];
  if (s->addend == BL_STAGE_NONE || s->projection != NULL || s->pooled || !is_product(s, fixed) ||
      !only_for_sum(l, s->addend, fixed))
    return false;
  const bl_stage *p = &l->stages[s->addend];
  if (may_project(p, p->post_count, fixed)) return true;
  return may_project(s, s->addend_post, fixed) &&
         p->post_count + s->post_count - s->addend_post <= BL_LOWER_MAX_POSTS;
}

bool bl_lower_projects(const bl_lowered *l, uint32_t stage) {
  return projects(l, stage, false);
}

bool bl_lower_projects_fixed(const bl_lowered *l, uint32_t stage) {
  return l->stages[stage].quantised && projects(l, stage, true);
}

static void take(const bl_stage *s, uint32_t posts, bl_projection *projection) {
  *projection = (bl_projection){.weights = s->weights,
                                .weight_scale = s->weight_scale,
                                .in_c = s->in_c,
                                .stride_h = s->window.stride_h,
                                .stride_w = s->window.stride_w,
                                .post_count = posts};
  memcpy(projection->posts, s->posts, posts * sizeof *s->posts);
}

// Makes the sum's product `p`, in place of the one that becomes the projection.
static void exchange(const bl_stage *p, bl_stage *s) {
  const bl_int_layer own = s->window;
  bl_post behind[BL_LOWER_MAX_POSTS];
  const uint32_t count = s->post_count - s->addend_post;
  memcpy(behind, s->posts + s->addend_post, count * sizeof *behind);
  s->name = p->name;
  s->input = p->input;
  s->in_h = p->in_h;
  s->in_w = p->in_w;
  s->in_c = p->in_c;
  s->window = p->window;
  s->window.pool_h = own.pool_h;
  s->window.pool_w = own.pool_w;
  s->window.pool_stride_h = own.pool_stride_h;
  s->window.pool_stride_w = own.pool_stride_w;
  s->weights = p->weights;
  s->weight_scale = p->weight_scale;
  s->weight_format = p->weight_format;
  memcpy(s->posts, p->posts, p->post_count * sizeof *p->posts);
  memcpy(s->posts + p->post_count, behind, count * sizeof *behind);
  s->addend_post = p->post_count;
  s->post_count = p->post_count + count;
}

static void remove_stage(bl_lowered *l, uint32_t gone) {
  l->stage_count--;
  memmove(l->stages + gone, l->stages + gone + 1, (l->stage_count - gone) * sizeof *l->stages);
  for (uint32_t k = 0; k < l->stage_count; k++) {
    bl_stage *s = &l->stages[k];
    if (s->input > (int32_t)gone) s->input--;
    if (s->addend > (int32_t)gone) s->addend--;
    for (uint32_t i = 0; i < s->part_count; i++)
      if (s->parts[i] > gone) s->parts[i]--;
  }
}

bool bl_lower_project(bl_lowered *l, uint32_t stage, uint32_t *gone) {
  bl_stage *s = &l->stages[stage];
  const bl_stage *p = &l->stages[s->addend];
  bl_projection *projection = bl_arena_alloc(l->arena, 1, sizeof *projection);
  if (projection == NULL) return false;
  *gone = (uint32_t)s->addend;
  if (may_project(p, p->post_count, s->weight_scale != NULL)) {
    take(p, p->post_count, projection);
    s->addend = p->input;
  } else {
    take(s, s->addend_post, projection);
    s->addend = s->input;
    exchange(p, s);
  }
  s->projection = projection;
  remove_stage(l, *gone);
  return true;
}
