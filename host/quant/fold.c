// SPDX-License-Identifier: Apache-2.0
#include "host/quant/fold.h"

#include <math.h>
#include <string.h>

#include "host/quant/stage_weights.h"

static bl_affine fold(const bl_post *posts, uint32_t count, uint32_t n) {
  bl_affine f = {1, 0, -INFINITY, INFINITY};
  for (uint32_t k = 0; k < count; k++) {
    const bl_post *p = &posts[k];
    double mul = 1, add = 0;
    switch (p->kind) {
    case BL_POST_MUL:
      mul = p->a[n];
      break;
    case BL_POST_DIV:
      mul = 1 / p->a[n];
      break;
    case BL_POST_ADD:
      add = p->a[n];
      break;
    case BL_POST_NORM:
      mul = p->c[n] / p->b[n];
      add = p->d[n] - p->a[n] * mul;
      break;
    default:
      f.lo = fmin(fmax(f.lo, p->lo), p->hi);
      f.hi = fmax(fmin(f.hi, p->hi), p->lo);
      continue;
    }
    double lo = f.lo * mul + add, hi = f.hi * mul + add;
    f = (bl_affine){f.scale * mul, f.offset * mul + add, fmin(lo, hi), fmax(lo, hi)};
  }
  return f;
}

bl_affine bl_fold_before(const bl_stage *s, uint32_t n) {
  return fold(s->posts, s->addend == BL_STAGE_NONE ? 0 : s->addend_post, n);
}

bl_affine bl_fold_projection(const bl_stage *s, uint32_t n) {
  const bl_projection *p = s->projection;
  const bl_affine none = {.scale = 1};
  return p == NULL ? none : fold(p->posts, p->post_count, n);
}

bl_affine bl_fold_after(const bl_stage *s, uint32_t n) {
  if (s->addend == BL_STAGE_NONE) return fold(s->posts, s->post_count, n);
  bl_affine f = fold(s->posts + s->addend_post, s->post_count - s->addend_post, n);
  f.offset += f.scale * (bl_fold_before(s, n).offset + bl_fold_projection(s, n).offset);
  return f;
}

double bl_fold_factor(bl_affine f) {
  return f.scale == 0 ? 1 : f.scale;
}

void bl_fold_silence(const bl_stage *s) {
  const bl_projection *p = s->projection;
  const size_t fan = bl_stage_fan(s);
  for (uint32_t n = 0; n < s->out_c && s->addend != BL_STAGE_NONE; n++) {
    if (!s->unit_weights && bl_fold_before(s, n).scale == 0)
      memset(s->weights + n * fan, 0, fan * sizeof *s->weights);
    if (p != NULL && bl_fold_projection(s, n).scale == 0)
      memset(p->weights + (size_t)n * p->in_c, 0, p->in_c * sizeof *p->weights);
  }
}

bool bl_fold_into_weights(bl_stage *s, bl_arena *arena) {
  const size_t fan = bl_stage_fan(s);
  uint32_t linear = s->addend == BL_STAGE_NONE ? s->post_count : s->addend_post;
  for (uint32_t k = 0; k < linear; k++)
    if (s->posts[k].kind == BL_POST_CLAMP) linear = k;
  double *offset = bl_arena_alloc(arena, s->out_c, sizeof *offset);
  float *weights = bl_arena_alloc(arena, s->out_c * fan, sizeof *weights);
  if (offset == NULL || weights == NULL) return false;
  for (uint32_t n = 0; n < s->out_c; n++) {
    const bl_affine f = fold(s->posts, linear, n);
    offset[n] = f.offset;
    for (size_t k = n * fan; k < (n + 1) * fan; k++)
      weights[k] = (float)((double)s->weights[k] * f.scale);
  }
  if (linear == 0) return true;
  s->weights = weights;
  s->posts[0] = (bl_post){.kind = BL_POST_ADD, .a = offset};
  memmove(s->posts + 1, s->posts + linear, (s->post_count - linear) * sizeof *s->posts);
  s->post_count -= linear - 1;
  if (s->addend != BL_STAGE_NONE) s->addend_post -= linear - 1;
  return true;
}
