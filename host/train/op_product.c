// SPDX-License-Identifier: Apache-2.0
// Matrix products on oneDNN's sgemm, in row-major order.
#include <string.h>

#include "host/float/eval_internal.h"
#include "host/train/net_internal.h"

typedef struct {
  bool ta, tb;
  int64_t m, n, k; // of the product: m x k by k x n
  float alpha, beta;
  size_t c_rows, c_cols; // of Gemm's C, 1 where it broadcasts
} product;

static bl_status multiply(const bl_step *step, bool ta, bool tb, int64_t m, int64_t n, int64_t k,
                          float alpha, const float *a, const float *b, float beta, float *c,
                          bl_error *err) {
  if (dnnl_sgemm(ta ? 'T' : 'N', tb ? 'T' : 'N', m, n, k, alpha, a, ta ? m : k, b, tb ? k : n, beta,
                 c, n) == dnnl_success)
    return BL_OK;
  return bl_net_node_fail(step->node, BL_ERR_UNSUPPORTED, "oneDNN failed", err);
}

// Gradients of op(a) op(b) with respect to a and b, added to beta times what is there.
static bl_status product_backward(const bl_step *step, const product *p, const float *a,
                                  const float *b, const float *dy, float beta, float *da, float *db,
                                  bl_error *err) {
  if (da != NULL && !p->ta)
    BL_TRY(multiply(step, false, !p->tb, p->m, p->k, p->n, p->alpha, dy, b, beta, da, err));
  if (da != NULL && p->ta)
    BL_TRY(multiply(step, p->tb, true, p->k, p->m, p->n, p->alpha, b, dy, beta, da, err));
  if (db != NULL && !p->tb)
    BL_TRY(multiply(step, !p->ta, false, p->k, p->n, p->m, p->alpha, a, dy, beta, db, err));
  if (db != NULL && p->tb)
    BL_TRY(multiply(step, true, p->ta, p->n, p->k, p->m, p->alpha, dy, a, beta, db, err));
  return BL_OK;
}

// ---- Gemm

static bl_status gemm_forward(bl_train_net *net, bl_step *step, bl_error *err) {
  (void)net;
  const product *p = step->state;
  const bl_slot *c = step->inputs[2];
  float *y = step->output->data;
  for (int64_t i = 0; c != NULL && i < p->m; i++)
    for (int64_t j = 0; j < p->n; j++)
      y[i * p->n + j] =
          c->data[(p->c_rows == 1 ? 0 : (size_t)i) * p->c_cols + (p->c_cols == 1 ? 0 : (size_t)j)];
  return multiply(step, p->ta, p->tb, p->m, p->n, p->k, p->alpha, step->inputs[0]->data,
                  step->inputs[1]->data, c != NULL ? p->beta : 0, y, err);
}

static void gemm_backward_c(const product *p, const float *dy, float *dc) {
  memset(dc, 0, p->c_rows * p->c_cols * sizeof *dc);
  for (int64_t i = 0; i < p->m; i++)
    for (int64_t j = 0; j < p->n; j++)
      dc[(p->c_rows == 1 ? 0 : (size_t)i) * p->c_cols + (p->c_cols == 1 ? 0 : (size_t)j)] +=
          p->beta * dy[i * p->n + j];
}

static bl_status gemm_backward(bl_train_net *net, bl_step *step, bl_error *err) {
  (void)net;
  const product *p = step->state;
  const float *dy = step->output->grad;
  if (step->edges[2].data != NULL) gemm_backward_c(p, dy, step->edges[2].data);
  return product_backward(step, p, step->inputs[0]->data, step->inputs[1]->data, dy, 0,
                          step->edges[0].data, step->edges[1].data, err);
}

bl_status bl_plan_gemm(bl_train_net *net, const bl_node *node, bl_error *err) {
  static const bl_kernel kernel = {gemm_forward, gemm_backward};
  bl_slot *in[3] = {NULL};
  for (uint32_t k = 0; k < 3; k++)
    BL_TRY(bl_net_plain_input(net, node, k, &in[k], err));
  const bl_value *out = bl_node_output(net->graph, node, 0), *a = in[0]->value;
  product *p = bl_arena_alloc(net->arena, 1, sizeof *p);
  if (p == NULL) return bl_net_memory(net, err);
  p->ta = bl_node_int(node, "transA", 0) != 0;
  p->tb = bl_node_int(node, "transB", 0) != 0;
  p->m = out->dims[0];
  p->n = out->dims[1];
  p->k = a->dims[p->ta ? 0 : 1];
  p->alpha = bl_node_float(node, "alpha", 1);
  p->beta = bl_node_float(node, "beta", 1);
  if (in[2] != NULL) {
    const bl_value *c = in[2]->value;
    p->c_rows = c->rank == 2 ? (size_t)c->dims[0] : 1;
    p->c_cols = c->rank > 0 ? (size_t)c->dims[c->rank - 1] : 1;
  }
  dnnl_memory_desc_t md = bl_net_plain_md(out->rank, out->dims);
  return bl_net_output(net, &kernel, node, in, 3, &md, p, err);
}

// ---- MatMul: a stack of products whose operands broadcast

static bl_status matmul_forward(bl_train_net *net, bl_step *step, bl_error *err) {
  (void)net;
  const product *p = step->state;
  const bl_slot *a = step->inputs[0], *b = step->inputs[1];
  const bl_value *out = step->output->value;
  size_t size = (size_t)(p->m * p->n);
  for (size_t at = 0; size > 0 && at < out->count / size; at++)
    BL_TRY(multiply(step, false, false, p->m, p->n, p->k, 1,
                    a->data + bl_eval_matrix_offset(a->value, out, at),
                    b->data + bl_eval_matrix_offset(b->value, out, at), 0,
                    step->output->data + at * size, err));
  return BL_OK;
}

static bl_status matmul_backward(bl_train_net *net, bl_step *step, bl_error *err) {
  (void)net;
  const product *p = step->state;
  const bl_slot *a = step->inputs[0], *b = step->inputs[1];
  const bl_value *out = step->output->value;
  size_t size = (size_t)(p->m * p->n);
  float *da = step->edges[0].data, *db = step->edges[1].data;
  if (da != NULL) memset(da, 0, a->value->count * sizeof *da);
  if (db != NULL) memset(db, 0, b->value->count * sizeof *db);
  for (size_t at = 0; size > 0 && at < out->count / size; at++) {
    size_t ao = bl_eval_matrix_offset(a->value, out, at);
    size_t bo = bl_eval_matrix_offset(b->value, out, at);
    BL_TRY(product_backward(step, p, a->data + ao, b->data + bo, step->output->grad + at * size, 1,
                            da != NULL ? da + ao : NULL, db != NULL ? db + bo : NULL, err));
  }
  return BL_OK;
}

bl_status bl_plan_matmul(bl_train_net *net, const bl_node *node, bl_error *err) {
  static const bl_kernel kernel = {matmul_forward, matmul_backward};
  bl_slot *in[2];
  BL_TRY(bl_net_plain_input(net, node, 0, &in[0], err));
  BL_TRY(bl_net_plain_input(net, node, 1, &in[1], err));
  const bl_value *out = bl_node_output(net->graph, node, 0);
  if (out->rank < 2 || in[0]->value->rank < 2 || in[1]->value->rank < 2)
    return bl_net_node_fail(node, BL_ERR_UNSUPPORTED, "product of vectors", err);
  product *p = bl_arena_alloc(net->arena, 1, sizeof *p);
  if (p == NULL) return bl_net_memory(net, err);
  p->m = out->dims[out->rank - 2];
  p->n = out->dims[out->rank - 1];
  p->k = in[0]->value->dims[in[0]->value->rank - 1];
  p->alpha = 1;
  dnnl_memory_desc_t md = bl_net_plain_md(out->rank, out->dims);
  return bl_net_output(net, &kernel, node, in, 2, &md, p, err);
}
