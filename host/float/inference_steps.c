// SPDX-License-Identifier: Apache-2.0
// The steps of one node on oneDNN.
#include <math.h>
#include <string.h>

#include "host/float/inference_internal.h"

static dnnl_memory_desc_t any_of(const dnnl_memory_desc_t *plain) {
  dnnl_memory_desc_t md = *plain;
  (void)dnnl_memory_desc_init_by_tag(&md, plain->ndims, plain->dims, dnnl_f32, dnnl_format_tag_any);
  return md;
}

static dnnl_memory_desc_t plain_of(const bl_value *v) {
  return bl_inf_plain(v->rank, v->dims);
}

static const dnnl_memory_desc_t *query(const_dnnl_primitive_desc_t pd, dnnl_query_t what) {
  return dnnl_primitive_desc_query_md(pd, what, 0);
}

// oneDNN reads arrays of its own largest rank.
typedef struct {
  dnnl_dims_t kernel, stride, dilation, begin, end;
} geometry;

static geometry geometry_of(const bl_window *w) {
  geometry g = {.kernel = {0}};
  for (uint32_t k = 0; k < w->rank; k++) {
    g.kernel[k] = w->kernel[k];
    g.stride[k] = w->stride[k];
    g.dilation[k] = w->dilation[k] - 1;
    g.begin[k] = w->pad_begin[k];
    g.end[k] = w->pad_end[k];
  }
  return g;
}

static bool strided(uint32_t rank, const int64_t *dims, const dnnl_dims_t strides,
                    dnnl_memory_desc_t *md) {
  dnnl_dims_t sizes = {0};
  for (uint32_t k = 0; k < rank; k++)
    sizes[k] = dims[k];
  return dnnl_memory_desc_init_by_strides(md, (int)rank, sizes, dnnl_f32, strides) == dnnl_success;
}

// Bounds of a Relu or Clip.
static void bounds_of(const bl_float_graph *g, const bl_node *node, float *lo, float *hi) {
  const bl_value *low = bl_node_input(g, node, 1), *high = bl_node_input(g, node, 2);
  *lo = node->op == BL_FLOAT_RELU ? 0 : bl_node_float(node, "min", -INFINITY);
  *hi = node->op == BL_FLOAT_RELU ? INFINITY : bl_node_float(node, "max", INFINITY);
  if (node->op == BL_FLOAT_CLIP && low != NULL && low->count > 0) *lo = low->f[0];
  if (node->op == BL_FLOAT_CLIP && high != NULL && high->count > 0) *hi = high->f[0];
}

static dnnl_alg_kind_t activation_of(const bl_float_graph *g, const bl_node *node, float *alpha,
                                     float *beta) {
  bounds_of(g, node, alpha, beta);
  if (*alpha != 0 || *beta < INFINITY) return dnnl_eltwise_clip;
  *alpha = *beta = 0;
  return dnnl_eltwise_relu;
}

// ---- Convolution

// Weights and bias with a batch normalisation in them; the graph's own where there is none.
typedef struct {
  float *weights, *bias;
} filter;

static bool fold(bl_float_inference *f, const bl_node *node, const bl_node *norm, filter *out) {
  const bl_float_graph *g = f->graph;
  const bl_value *w = bl_node_input(g, node, 1), *b = bl_node_input(g, node, 2);
  *out = (filter){w->f, b != NULL ? b->f : NULL};
  if (norm == NULL) return true;
  const float *gamma = bl_node_input(g, norm, 1)->f, *beta = bl_node_input(g, norm, 2)->f;
  const float *mean = bl_node_input(g, norm, 3)->f, *variance = bl_node_input(g, norm, 4)->f;
  const double epsilon = (double)bl_node_float(norm, "epsilon", 1e-5f);
  const size_t channels = (size_t)w->dims[0], each = w->count / channels;
  out->weights = bl_arena_alloc(f->arena, w->count, sizeof *out->weights);
  out->bias = bl_arena_alloc(f->arena, channels, sizeof *out->bias);
  if (out->weights == NULL || out->bias == NULL) return false;
  for (size_t n = 0; n < channels; n++) {
    const double factor = (double)gamma[n] / sqrt((double)variance[n] + epsilon);
    const double offset = (b != NULL ? (double)b->f[n] : 0) - (double)mean[n];
    out->bias[n] = (float)(offset * factor + (double)beta[n]);
    for (size_t k = n * each; k < (n + 1) * each; k++)
      out->weights[k] = (float)((double)w->f[k] * factor);
  }
  return true;
}

static dnnl_memory_desc_t weights_md(const bl_node *node, const bl_value *w) {
  const int64_t groups = bl_node_int(node, "group", 1);
  int64_t dims[BL_MAX_RANK + 1] = {groups};
  const uint32_t at = groups > 1 ? 1 : 0;
  for (uint32_t k = 0; k < w->rank; k++)
    dims[at + k] = w->dims[k];
  dims[at] /= groups;
  return bl_inf_plain(w->rank + at, dims);
}

static bool attributes(const bl_float_inference *f, const bl_inf_chain *c,
                       dnnl_primitive_attr_t *attr) {
  dnnl_post_ops_t ops;
  float alpha, beta;
  if (dnnl_primitive_attr_create(attr) != dnnl_success) return false;
  if (dnnl_post_ops_create(&ops) != dnnl_success) {
    (void)dnnl_primitive_attr_destroy(*attr);
    return false;
  }
  bool ok = c->addition == NULL || dnnl_post_ops_append_sum(ops, 1) == dnnl_success;
  if (c->activation != NULL) {
    const dnnl_alg_kind_t kind = activation_of(f->graph, c->activation, &alpha, &beta);
    ok = ok && dnnl_post_ops_append_eltwise(ops, 1, kind, alpha, beta) == dnnl_success;
  }
  ok = ok && dnnl_primitive_attr_set_post_ops(*attr, ops) == dnnl_success;
  (void)dnnl_post_ops_destroy(ops);
  if (!ok) (void)dnnl_primitive_attr_destroy(*attr);
  return ok;
}

static bool describe(const bl_float_inference *f, const bl_node *node, const bl_inf_chain *c,
                     const filter *w, dnnl_convolution_desc_t *desc) {
  const bl_value *in = bl_node_input(f->graph, node, 0), *out = bl_node_output(f->graph, node, 0);
  const bl_value *kernel = bl_node_input(f->graph, node, 1);
  bl_window window;
  bl_error ignored = {0};
  if (bl_node_window(f->graph, node, &window, &ignored) != BL_OK) return false;
  enum { FEW = 4 }; // input channels, which no blocked format suits: taken as they lie
  const dnnl_memory_desc_t in_md = plain_of(in), out_md = plain_of(out);
  const dnnl_memory_desc_t w_md = weights_md(node, kernel);
  const bl_inf_view *has = f->views[node->inputs[0]];
  const bl_inf_view *sum = c->addition != NULL ? f->views[c->other] : NULL;
  dnnl_memory_desc_t src = in->dims[1] <= FEW ? has->md : any_of(&in_md), dst = any_of(&out_md);
  if (sum != NULL && sum->own) dst = sum->md;
  const dnnl_memory_desc_t weights = any_of(&w_md), bias = bl_inf_plain(1, kernel->dims);
  const geometry g = geometry_of(&window);
  return dnnl_dilated_convolution_forward_desc_init(desc, dnnl_forward_inference,
                                                    dnnl_convolution_direct, &src, &weights,
                                                    w->bias != NULL ? &bias : NULL, &dst, g.stride,
                                                    g.dilation, g.begin, g.end) == dnnl_success;
}

// Weights in the format that the primitive asks for, once and for all.
static bl_inf_view *settle_weights(bl_float_inference *f, const bl_node *node, float *weights,
                                   const dnnl_memory_desc_t *wanted) {
  const dnnl_memory_desc_t md = weights_md(node, bl_node_input(f->graph, node, 1));
  bl_inf_view *from = bl_inf_memory(f, &md, weights);
  bl_inf_view *to = from != NULL ? bl_inf_memory(f, wanted, NULL) : NULL;
  if (to == NULL || !bl_inf_move(f, from, to)) return NULL;
  const bl_inf_step *s = &f->steps[--f->step_count]; // done here, not in every run
  const bool moved =
      dnnl_primitive_execute(s->primitive, f->stream, s->arg_count, s->args) == dnnl_success &&
      dnnl_stream_wait(f->stream) == dnnl_success;
  return moved ? to : NULL;
}

// Where the result goes: over the addend, where nobody reads that later or now, or beside it.
static bl_inf_view *destination(bl_float_inference *f, const bl_inf_chain *c,
                                const bl_inf_view *src, const dnnl_memory_desc_t *md) {
  const int32_t value = f->graph->nodes[c->end].outputs[0];
  bl_inf_view *sum = c->addition != NULL ? f->views[c->other] : NULL;
  if (sum == NULL) return bl_inf_add_view(f, value, md, NULL, true);
  if (sum->own && sum != src && f->last_use[c->other] <= c->end &&
      dnnl_memory_desc_equal(&sum->md, md) != 0) {
    bl_inf_view *over = bl_inf_add_view(f, value, md, sum->data, true);
    if (over != NULL) over->own = true;
    return over;
  }
  bl_inf_view *beside = bl_inf_add_view(f, value, md, NULL, true);
  return beside != NULL && bl_inf_move(f, sum, beside) ? beside : NULL;
}

static bool add_convolution(bl_float_inference *f, const bl_node *node, const bl_inf_chain *c,
                            const filter *w, const_dnnl_primitive_desc_t pd) {
  const bl_value *kernel = bl_node_input(f->graph, node, 1);
  const dnnl_memory_desc_t bias_md = bl_inf_plain(1, kernel->dims);
  dnnl_primitive_t primitive;
  const bl_inf_view *src = bl_inf_view_as(f, node->inputs[0], query(pd, dnnl_query_src_md));
  const bl_inf_view *weights =
      settle_weights(f, node, w->weights, query(pd, dnnl_query_weights_md));
  const bl_inf_view *bias = w->bias != NULL ? bl_inf_memory(f, &bias_md, w->bias) : NULL;
  const bl_inf_view *dst =
      src != NULL ? destination(f, c, src, query(pd, dnnl_query_dst_md)) : NULL;
  if (src == NULL || weights == NULL || dst == NULL || (w->bias != NULL && bias == NULL) ||
      !bl_inf_primitive(f, pd, &primitive))
    return false;
  bl_inf_step *s = bl_inf_step_of(f, primitive);
  if (s == NULL) return false;
  bl_inf_arg(s, DNNL_ARG_SRC, src->memory);
  bl_inf_arg(s, DNNL_ARG_WEIGHTS, weights->memory);
  if (bias != NULL) bl_inf_arg(s, DNNL_ARG_BIAS, bias->memory);
  bl_inf_arg(s, DNNL_ARG_DST, dst->memory);
  return true;
}

bool bl_inf_convolution(bl_float_inference *f, const bl_node *node, const bl_inf_chain *c) {
  filter w;
  dnnl_convolution_desc_t desc;
  dnnl_primitive_attr_t attr;
  dnnl_primitive_desc_t pd;
  if (f->views[node->inputs[0]] == NULL || !fold(f, node, c->norm, &w) ||
      !describe(f, node, c, &w, &desc) || !attributes(f, c, &attr))
    return false;
  const bool made = dnnl_primitive_desc_create(&pd, &desc, attr, f->engine, NULL) == dnnl_success;
  (void)dnnl_primitive_attr_destroy(attr);
  if (!made) return false;
  const bool added = add_convolution(f, node, c, &w, pd);
  (void)dnnl_primitive_desc_destroy(pd);
  return added;
}

// ---- Pooling, activations, sums

// A primitive from one or two arrays to a new one.
static bool add_simple(bl_float_inference *f, const bl_node *node, const_dnnl_op_desc_t desc,
                       const bl_inf_view *a, const bl_inf_view *b, bool *done) {
  dnnl_primitive_desc_t pd;
  dnnl_primitive_t primitive;
  *done = dnnl_primitive_desc_create(&pd, desc, NULL, f->engine, NULL) == dnnl_success;
  if (!*done) return true;
  const bl_inf_view *dst =
      bl_inf_add_view(f, node->outputs[0], query(pd, dnnl_query_dst_md), NULL, true);
  const bool made = dst != NULL && bl_inf_primitive(f, pd, &primitive);
  (void)dnnl_primitive_desc_destroy(pd);
  bl_inf_step *s = made ? bl_inf_step_of(f, primitive) : NULL;
  if (s == NULL) return false;
  bl_inf_arg(s, b != NULL ? DNNL_ARG_SRC_0 : DNNL_ARG_SRC, a->memory);
  if (b != NULL) bl_inf_arg(s, DNNL_ARG_SRC_1, b->memory);
  bl_inf_arg(s, DNNL_ARG_DST, dst->memory);
  return true;
}

static bool pool(bl_float_inference *f, const bl_node *node, bool *done) {
  const bl_inf_view *in = f->views[node->inputs[0]];
  const bl_value *out = bl_node_output(f->graph, node, 0);
  const bool average =
      node->op == BL_FLOAT_AVERAGE_POOL || node->op == BL_FLOAT_GLOBAL_AVERAGE_POOL;
  bl_window w;
  bl_error ignored = {0};
  dnnl_pooling_desc_t desc;
  if (node->output_count != 1 || bl_node_window(f->graph, node, &w, &ignored) != BL_OK) return true;
  for (uint32_t k = 0; k < w.rank; k++)
    if (w.dilation[k] != 1 || bl_node_int(node, "ceil_mode", 0) != 0) return true;
  const dnnl_memory_desc_t plain = plain_of(out), dst = any_of(&plain);
  const geometry g = geometry_of(&w);
  const dnnl_alg_kind_t kind = !average ? dnnl_pooling_max
                               : bl_node_int(node, "count_include_pad", 0) != 0
                                   ? dnnl_pooling_avg_include_padding
                                   : dnnl_pooling_avg_exclude_padding;
  if (dnnl_pooling_forward_desc_init(&desc, dnnl_forward_inference, kind, &in->md, &dst, g.stride,
                                     g.kernel, g.begin, g.end) != dnnl_success)
    return true;
  return add_simple(f, node, &desc, in, NULL, done);
}

static bool activation(bl_float_inference *f, const bl_node *node, bool *done) {
  const bl_inf_view *in = f->views[node->inputs[0]];
  dnnl_eltwise_desc_t desc;
  float alpha, beta;
  for (uint32_t k = 1; k < node->input_count; k++)
    if (node->inputs[k] >= 0 && !bl_value_constant(&f->graph->values[node->inputs[k]])) return true;
  const dnnl_alg_kind_t kind = activation_of(f->graph, node, &alpha, &beta);
  if (dnnl_eltwise_forward_desc_init(&desc, dnnl_forward_inference, kind, &in->md, alpha, beta) !=
      dnnl_success)
    return true;
  return add_simple(f, node, &desc, in, NULL, done);
}

static bool addition(bl_float_inference *f, const bl_node *node, bool *done) {
  const bl_value *x = bl_node_input(f->graph, node, 0), *y = bl_node_input(f->graph, node, 1);
  dnnl_binary_desc_t desc;
  if (f->views[node->inputs[0]] == NULL || f->views[node->inputs[1]] == NULL || x->rank == 0 ||
      x->rank != y->rank || memcmp(x->dims, y->dims, x->rank * sizeof *x->dims) != 0)
    return true;
  const bl_inf_view *a = f->views[node->inputs[0]];
  const bl_inf_view *b = bl_inf_view_as(f, node->inputs[1], &a->md);
  if (b == NULL) return false;
  if (dnnl_binary_desc_init(&desc, dnnl_binary_add, &a->md, &b->md, &a->md) != dnnl_success)
    return true;
  return add_simple(f, node, &desc, a, b, done);
}

// ---- Other views of the same memory

static bool show(bl_float_inference *f, const bl_node *node, bl_inf_view *of,
                 const dnnl_memory_desc_t *md, int64_t offset, bool *done) {
  *done = true;
  of->own = false;
  return bl_inf_add_view(f, node->outputs[0], md, of->data + offset, true) != NULL;
}

static bool reshape(bl_float_inference *f, const bl_node *node, bool *done) {
  bl_inf_view *in = bl_inf_plain_view(f, node->inputs[0]);
  const dnnl_memory_desc_t md = plain_of(bl_node_output(f->graph, node, 0));
  return in != NULL && show(f, node, in, &md, 0, done);
}

static bool transpose(bl_float_inference *f, const bl_node *node, bool *done) {
  const bl_value *from = bl_node_input(f->graph, node, 0), *to = bl_node_output(f->graph, node, 0);
  const bl_attribute *perm = bl_node_attribute(node, "perm");
  if (from->rank == 0) return true;
  bl_inf_view *in = bl_inf_plain_view(f, node->inputs[0]);
  if (in == NULL) return false;
  dnnl_memory_desc_t md;
  dnnl_dims_t strides = {0};
  for (uint32_t k = 0; k < to->rank; k++) {
    const int64_t axis =
        perm != NULL && perm->int_count == to->rank ? perm->ints[k] : (int64_t)(to->rank - 1 - k);
    strides[k] = in->md.format_desc.blocking.strides[axis];
  }
  if (!strided(to->rank, to->dims, strides, &md)) return true;
  return show(f, node, in, &md, 0, done);
}

// Slices with positive steps and constant bounds.
static bool slice(bl_float_inference *f, const bl_node *node, bool *done) {
  const bl_value *from = bl_node_input(f->graph, node, 0), *to = bl_node_output(f->graph, node, 0);
  const bl_value *starts = bl_node_input(f->graph, node, 1),
                 *axes = bl_node_input(f->graph, node, 3);
  const bl_value *steps = bl_node_input(f->graph, node, 4);
  if (starts == NULL || starts->i == NULL || (axes != NULL && axes->i == NULL) ||
      (steps != NULL && steps->i == NULL) || to->count == 0)
    return true;
  dnnl_memory_desc_t md;
  dnnl_dims_t strides = {0};
  bl_inf_view *in = bl_inf_plain_view(f, node->inputs[0]);
  if (in == NULL) return false;
  int64_t offset = 0;
  for (uint32_t k = 0; k < to->rank; k++)
    strides[k] = in->md.format_desc.blocking.strides[k];
  for (size_t k = 0; k < starts->count; k++) {
    int64_t axis = axes != NULL ? axes->i[k] : (int64_t)k, start = starts->i[k];
    if (axis < 0) axis += to->rank;
    const int64_t step = bl_slice_step(steps != NULL ? steps->i[k] : 1), size = from->dims[axis];
    if (step < 1) return true;
    if (start < 0) start += size;
    start = start < 0 ? 0 : start > size ? size : start;
    offset += start * strides[axis];
    strides[axis] *= step;
  }
  if (!strided(to->rank, to->dims, strides, &md)) return true;
  return show(f, node, in, &md, offset, done);
}

// Zeros around: written once; a run copies the middle.
static bool pad(bl_float_inference *f, const bl_node *node, bool *done) {
  const bl_value *from = bl_node_input(f->graph, node, 0), *to = bl_node_output(f->graph, node, 0);
  const bl_value *pads = bl_node_input(f->graph, node, 1),
                 *value = bl_node_input(f->graph, node, 2);
  if (pads == NULL || pads->i == NULL || pads->count != 2 * (size_t)to->rank ||
      node->input_count > 3 || strcmp(bl_node_string(node, "mode", "constant"), "constant") != 0 ||
      (value != NULL && (value->f == NULL || value->f[0] != 0)))
    return true;
  int64_t offset = 0;
  for (uint32_t k = 0; k < to->rank; k++)
    if (pads->i[k] < 0 || pads->i[k + to->rank] < 0) return true;
  const dnnl_memory_desc_t plain = plain_of(to);
  dnnl_memory_desc_t md;
  for (uint32_t k = 0; k < to->rank; k++)
    offset += pads->i[k] * plain.format_desc.blocking.strides[k];
  bl_inf_view *all = bl_inf_add_view(f, node->outputs[0], &plain, NULL, true);
  if (all == NULL || !strided(to->rank, from->dims, plain.format_desc.blocking.strides, &md))
    return false;
  all->own = false;
  const bl_inf_view *middle = bl_inf_memory(f, &md, all->data + offset);
  *done = true;
  return middle != NULL && bl_inf_move(f, f->views[node->inputs[0]], middle);
}

bool bl_inf_other(bl_float_inference *f, const bl_node *node, bool *done) {
  *done = false;
  if (node->input_count == 0 || node->inputs[0] < 0 || f->views[node->inputs[0]] == NULL ||
      bl_node_output(f->graph, node, 0)->type != BL_TYPE_FLOAT)
    return true;
  switch (node->op) {
  case BL_FLOAT_AVERAGE_POOL:
  case BL_FLOAT_GLOBAL_AVERAGE_POOL:
  case BL_FLOAT_MAX_POOL:
  case BL_FLOAT_GLOBAL_MAX_POOL:
    return pool(f, node, done);
  case BL_FLOAT_RELU:
  case BL_FLOAT_CLIP:
    return activation(f, node, done);
  case BL_FLOAT_ADD:
    return addition(f, node, done);
  case BL_FLOAT_RESHAPE:
  case BL_FLOAT_FLATTEN:
  case BL_FLOAT_SQUEEZE:
  case BL_FLOAT_UNSQUEEZE:
  case BL_FLOAT_IDENTITY:
    return reshape(f, node, done);
  case BL_FLOAT_TRANSPOSE:
    return transpose(f, node, done);
  case BL_FLOAT_SLICE:
    return slice(f, node, done);
  case BL_FLOAT_PAD:
    return pad(f, node, done);
  default:
    return true;
  }
}
