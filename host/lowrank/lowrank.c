// SPDX-License-Identifier: Apache-2.0
#include "host/lowrank/lowrank.h"

#include <cblas.h>
#include <lapacke.h>
#include <math.h>
#include <string.h>

#include "host/graph/float_edit.h"
#include "host/lowrank/lowrank_internal.h"

static const size_t WORK_CAP = (size_t)3 << 30;
// Directions that the data hardly has count as if they had this part of the mean variance.
static const double LEAST_VARIANCE = 1e-3;

static bool is_constant(const bl_value *v, size_t count) {
  return v == NULL || (v->f != NULL && v->count == count);
}

static bool applies_to_product(const bl_float_graph *graph, const bl_node *node) {
  const bl_value *w = bl_node_weights(graph, node), *in = bl_node_input(graph, node, 0);
  if (w->rank != 2 || in == NULL || in->rank != 2) return false;
  if (node->op == BL_FLOAT_MATMUL) return true;
  return bl_node_int(node, "transA", 0) == 0 && bl_node_float(node, "alpha", 1) == 1 &&
         bl_node_float(node, "beta", 1) == 1 &&
         is_constant(bl_node_input(graph, node, 2),
                     (size_t)w->dims[bl_node_int(node, "transB", 0) != 0 ? 0 : 1]);
}

bool bl_lowrank_applies(const bl_float_graph *graph, const bl_node *node, bl_lowrank_kind kind) {
  const bl_value *w = bl_node_weights(graph, node);
  if (w == NULL || w->f == NULL || w->count == 0) return false;
  if (node->op == BL_FLOAT_GEMM || node->op == BL_FLOAT_MATMUL)
    return kind == BL_LOWRANK_SVD && applies_to_product(graph, node);
  if (node->op != BL_FLOAT_CONV || w->rank != 4 || bl_node_int(node, "group", 1) != 1) return false;
  const bool taps = w->dims[2] * w->dims[3] > 1;
  const bool both = w->dims[2] > 1 && w->dims[3] > 1;
  return (kind == BL_LOWRANK_SVD || (kind == BL_LOWRANK_SPATIAL ? both : taps)) &&
         is_constant(bl_node_input(graph, node, 2), (size_t)w->dims[0]);
}

// ---- The layer as numbers

static void take_sizes(const bl_float_graph *graph, bl_lowrank_work *w) {
  const bl_value *k = bl_node_weights(graph, &w->node);
  const bl_value *in = bl_node_input(graph, &w->node, 0), *out = bl_node_output(graph, &w->node, 0);
  w->conv = w->node.op == BL_FLOAT_CONV;
  w->taps_y = w->taps_x = 1;
  w->in_places = w->row_places = w->out_places = 1;
  if (w->conv) {
    w->outputs = (uint32_t)k->dims[0];
    w->inputs = (uint32_t)k->dims[1];
    w->taps_y = (uint32_t)k->dims[2];
    w->taps_x = (uint32_t)k->dims[3];
    w->in_places = (uint64_t)(in->dims[2] * in->dims[3]);
    w->row_places = (uint64_t)(out->dims[2] * in->dims[3]);
    w->out_places = (uint64_t)(out->dims[2] * out->dims[3]);
    return;
  }
  w->turned = w->node.op == BL_FLOAT_MATMUL || bl_node_int(&w->node, "transB", 0) == 0;
  w->outputs = (uint32_t)k->dims[w->turned ? 1 : 0];
  w->inputs = (uint32_t)k->dims[w->turned ? 0 : 1];
}

static bl_status take_kernel(const bl_float_graph *graph, bl_lowrank_work *w) {
  const bl_value *k = bl_node_weights(graph, &w->node);
  w->k = bl_arena_alloc(w->arena, k->count, sizeof *w->k);
  if (w->k == NULL) return bl_lowrank_no_memory(w);
  for (size_t j = 0; j < k->count; j++)
    w->k[w->turned ? j % w->outputs * w->inputs + j / w->outputs : j] = (double)k->f[j];
  for (size_t j = 0; j < k->count; j++)
    if (!isfinite(k->f[j]))
      return bl_fail(w->err, BL_ERR_RANGE, "layer %s: a weight is not finite", w->node.name);
  return BL_OK;
}

// ---- The metric

// The symmetric roots of the covariance and of its inverse.
static bl_status take_roots(bl_lowrank_work *w, const double *covariance) {
  const size_t c = w->inputs;
  double *vectors = bl_arena_alloc(w->arena, c * c, sizeof *vectors);
  double *scaled = bl_arena_alloc(w->arena, c * c, sizeof *scaled);
  double *values = bl_arena_alloc(w->arena, c, sizeof *values);
  w->metric = bl_arena_alloc(w->arena, c * c, sizeof *w->metric);
  w->unmetric = bl_arena_alloc(w->arena, c * c, sizeof *w->unmetric);
  if (vectors == NULL || scaled == NULL || values == NULL || w->metric == NULL ||
      w->unmetric == NULL)
    return bl_lowrank_no_memory(w);
  memcpy(vectors, covariance, c * c * sizeof *vectors);
  openblas_set_num_threads(1);
  if (LAPACKE_dsyevd(LAPACK_ROW_MAJOR, 'V', 'U', (lapack_int)c, vectors, (lapack_int)c, values) !=
      0)
    return bl_fail(w->err, BL_ERR_RANGE, "layer %s: the covariance of its inputs is not finite",
                   w->node.name);
  double trace = 0;
  for (size_t k = 0; k < c; k++)
    trace += fmax(values[k], 0);
  const double least = trace > 0 ? LEAST_VARIANCE * trace / (double)c : 1;
  for (int inverse = 0; inverse < 2; inverse++) {
    for (size_t i = 0; i < c; i++)
      for (size_t k = 0; k < c; k++) {
        const double root = sqrt(fmax(values[k], least));
        scaled[i * c + k] = vectors[i * c + k] * (inverse != 0 ? 1 / root : root);
      }
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)c, (blasint)c, (blasint)c, 1,
                scaled, (blasint)c, vectors, (blasint)c, 0, inverse != 0 ? w->unmetric : w->metric,
                (blasint)c);
  }
  return BL_OK;
}

// k = k metric along its channels.
static bl_status apply_metric(bl_lowrank_work *w) {
  const size_t c = w->inputs, taps = (size_t)w->taps_y * w->taps_x;
  double *k = bl_arena_alloc(w->arena, w->outputs * c * taps, sizeof *k);
  if (k == NULL) return bl_lowrank_no_memory(w);
  for (size_t n = 0; n < w->outputs; n++)
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)c, (blasint)taps, (blasint)c, 1,
                w->metric, (blasint)c, w->k + n * c * taps, (blasint)taps, 0, k + n * c * taps,
                (blasint)taps);
  w->k = k;
  return BL_OK;
}

static bl_status use_moments(bl_lowrank_work *w, const bl_lowrank_moments *moments) {
  for (uint32_t m = 0; moments != NULL && m < moments->count; m++) {
    const bl_lowrank_input *in = &moments->inputs[m];
    if (strcmp(in->layer, w->node.name) != 0 || in->channels != w->inputs) continue;
    w->mean = in->mean;
    if (w->options->kind == BL_LOWRANK_SEPARABLE) return BL_OK; // each channel by itself
    BL_TRY(take_roots(w, in->covariance));
    return apply_metric(w);
  }
  return BL_OK;
}

// ---- A layer

static bl_status read_layer(const bl_float_graph *graph, bl_lowrank_work *w,
                            const bl_lowrank_moments *moments) {
  take_sizes(graph, w);
  BL_TRY(take_kernel(graph, w));
  return use_moments(w, moments);
}

static bl_status factorise_layer(bl_float_graph *graph, bl_lowrank_work *w,
                                 const bl_lowrank_moments *moments, bl_lowrank_result *result) {
  BL_TRY(read_layer(graph, w, moments));
  BL_TRY(bl_lowrank_choose(w));
  *result = (bl_lowrank_result){.rank = w->rank, .rank_in = w->rank_in};
  bl_lowrank_whole_cost(w, &result->weights_before, &result->macs_before);
  bl_lowrank_cost(w, w->rank, w->rank_in, &result->weights_after, &result->macs_after);
  result->changed = w->rank > 0 && result->weights_after < result->weights_before &&
                    result->macs_after < result->macs_before;
  if (!result->changed) {
    result->weights_after = result->weights_before;
    result->macs_after = result->macs_before;
    return BL_OK;
  }
  BL_TRY(bl_lowrank_factorise(w));
  result->error = bl_lowrank_error(w);
  return bl_lowrank_rewrite(graph, w);
}

// A layer to work on; its arena is the caller's to free.
static bl_status open_work(const bl_float_graph *graph, const char *layer,
                           const bl_lowrank_options *options, bl_lowrank_work *w, bl_error *err) {
  const int32_t index = bl_float_find_node(graph, layer);
  if (index < 0) return bl_fail(err, BL_ERR_USAGE, "%s: no layer %s", graph->name, layer);
  *w = (bl_lowrank_work){
      .options = options, .index = (uint32_t)index, .node = graph->nodes[index], .err = err};
  if (!bl_lowrank_applies(graph, &w->node, options->kind))
    return bl_fail(err, BL_ERR_USAGE,
                   "layer %s: cannot be factorised that way (a convolution of one group, or with "
                   "svd a dense layer, with float weights of its own)",
                   layer);
  w->arena = bl_arena_new(WORK_CAP);
  return w->arena == NULL ? bl_lowrank_no_memory(w) : BL_OK;
}

bl_status bl_lowrank_curve(const bl_float_graph *graph, const char *layer,
                           const bl_lowrank_options *options, const bl_lowrank_moments *moments,
                           bl_lowrank_point points[BL_LOWRANK_MOST_POINTS], uint32_t *count,
                           bl_error *err) {
  bl_lowrank_work w;
  BL_TRY(open_work(graph, layer, options, &w, err));
  bl_status status = read_layer(graph, &w, moments);
  if (status == BL_OK) status = bl_lowrank_points(&w, points, count);
  bl_arena_free(w.arena);
  return status;
}

bl_status bl_lowrank_layer(bl_float_graph *graph, const char *layer,
                           const bl_lowrank_options *options, const bl_lowrank_moments *moments,
                           bl_lowrank_result *result, bl_error *err) {
  bl_lowrank_work w;
  if (options->rule != BL_RANK_GIVEN && options->rule != BL_RANK_AUTO &&
      !(options->share > 0 && options->share <= 1))
    return bl_fail(err, BL_ERR_USAGE, "layer %s: share %g; above 0, to 1", layer, options->share);
  BL_TRY(open_work(graph, layer, options, &w, err));
  const bl_status status = factorise_layer(graph, &w, moments, result);
  bl_arena_free(w.arena);
  return status;
}
