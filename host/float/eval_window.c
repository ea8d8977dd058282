// SPDX-License-Identifier: Apache-2.0
// Convolution and matrix products on oneDNN, pooling by the definition.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <oneapi/dnnl/dnnl.h>

#include "host/float/eval_internal.h"

// A convolution made ready: its memories only lack the data pointers.
typedef struct {
  dnnl_primitive_t primitive;
  dnnl_memory_t memory[4]; // source, weights, bias, destination
} prepared;

struct bl_float_engine {
  dnnl_engine_t engine;
  dnnl_stream_t stream;
  prepared *nodes;
  size_t count;
};

bl_status bl_float_engine_open(size_t nodes, bl_float_engine **engine, bl_error *err) {
  bl_float_engine *e = *engine = calloc(1, sizeof *e);
  if (e == NULL) return bl_fail(err, BL_ERR_MEMORY, "float executor: no memory");
  e->count = nodes;
  e->nodes = calloc(nodes + 1, sizeof *e->nodes);
  if (e->nodes != NULL && dnnl_engine_create(&e->engine, dnnl_cpu, 0) == dnnl_success &&
      dnnl_stream_create(&e->stream, e->engine, dnnl_stream_default_flags) == dnnl_success)
    return BL_OK;
  bl_float_engine_close(e);
  *engine = NULL;
  return bl_fail(err, BL_ERR_UNSUPPORTED, "float executor: oneDNN cannot be started");
}

void bl_float_engine_close(bl_float_engine *e) {
  if (e == NULL) return;
  for (size_t n = 0; e->nodes != NULL && n < e->count; n++) {
    if (e->nodes[n].primitive != NULL) (void)dnnl_primitive_destroy(e->nodes[n].primitive);
    for (int k = 0; k < 4; k++)
      if (e->nodes[n].memory[k] != NULL) (void)dnnl_memory_destroy(e->nodes[n].memory[k]);
  }
  if (e->stream != NULL) (void)dnnl_stream_destroy(e->stream);
  if (e->engine != NULL) (void)dnnl_engine_destroy(e->engine);
  free(e->nodes);
  free(e);
}

// ---- Convolution
// ---------------------------------------------------------------------------------

static dnnl_status_t plain_memory(dnnl_engine_t engine, int rank, const int64_t *shape,
                                  dnnl_memory_desc_t *desc, dnnl_memory_t *memory) {
  dnnl_dims_t strides = {0}, dims = {0};
  dnnl_dim_t step = 1;
  for (int k = rank; k-- > 0;) {
    dims[k] = shape[k];
    strides[k] = step;
    step *= dims[k];
  }
  dnnl_status_t status = dnnl_memory_desc_init_by_strides(desc, rank, dims, dnnl_f32, strides);
  return status == dnnl_success ? dnnl_memory_create(memory, desc, engine, DNNL_MEMORY_NONE)
                                : status;
}

static dnnl_status_t make_memories(const bl_eval *e, prepared *p, dnnl_memory_desc_t desc[4]) {
  const bl_value *in = bl_eval_in(e, 0), *w = bl_eval_in(e, 1), *b = bl_eval_in(e, 2);
  const bl_value *out = bl_eval_out(e, 0);
  int64_t groups = bl_node_int(e->node, "group", 1);
  dnnl_dims_t dims = {groups, w->dims[0] / groups};
  dnnl_engine_t engine = e->engine->engine;
  for (uint32_t k = 1; k < w->rank; k++)
    dims[k + 1] = w->dims[k];
  bool grouped = groups > 1;
  if (!grouped)
    for (uint32_t k = 0; k < w->rank; k++)
      dims[k] = w->dims[k];
  dnnl_status_t status = plain_memory(engine, (int)in->rank, in->dims, &desc[0], &p->memory[0]);
  if (status == dnnl_success)
    status = plain_memory(engine, (int)w->rank + grouped, dims, &desc[1], &p->memory[1]);
  if (status == dnnl_success && b != NULL)
    status = plain_memory(engine, 1, &w->dims[0], &desc[2], &p->memory[2]);
  if (status == dnnl_success)
    status = plain_memory(engine, (int)out->rank, out->dims, &desc[3], &p->memory[3]);
  return status;
}

static dnnl_status_t make_convolution(const bl_eval *e, prepared *p, const bl_window *w) {
  dnnl_memory_desc_t desc[4];
  dnnl_status_t status = make_memories(e, p, desc);
  if (status != dnnl_success) return status;
  dnnl_dims_t stride = {0}, dilation = {0}, begin = {0}, end = {0};
  for (uint32_t k = 0; k < w->rank; k++) {
    stride[k] = w->stride[k];
    dilation[k] = w->dilation[k] - 1;
    begin[k] = w->pad_begin[k];
    end[k] = w->pad_end[k];
  }
  dnnl_convolution_desc_t conv;
  dnnl_primitive_desc_t pd;
  status = dnnl_dilated_convolution_forward_desc_init(
      &conv, dnnl_forward_inference, dnnl_convolution_direct, &desc[0], &desc[1],
      bl_eval_in(e, 2) != NULL ? &desc[2] : NULL, &desc[3], stride, dilation, begin, end);
  if (status != dnnl_success) return status;
  status = dnnl_primitive_desc_create(&pd, &conv, NULL, e->engine->engine, NULL);
  if (status != dnnl_success) return status;
  status = dnnl_primitive_create(&p->primitive, pd);
  (void)dnnl_primitive_desc_destroy(pd);
  return status;
}

bl_status bl_eval_conv(const bl_eval *e) {
  prepared *p = &e->engine->nodes[e->index];
  const bl_value *in = bl_eval_in(e, 0), *w = bl_eval_in(e, 1), *b = bl_eval_in(e, 2);
  bl_value *out = bl_eval_out(e, 0);
  if (in->type != BL_TYPE_FLOAT || w->type != BL_TYPE_FLOAT)
    return bl_eval_fail(e, BL_ERR_UNSUPPORTED, "convolution of integers");
  if (p->primitive == NULL) {
    bl_window window;
    BL_TRY(bl_node_window(e->graph, e->node, &window, e->err));
    if (make_convolution(e, p, &window) != dnnl_success)
      return bl_eval_fail(e, BL_ERR_UNSUPPORTED, "oneDNN has no such convolution");
  }
  float *data[4] = {in->f, w->f, b != NULL ? b->f : NULL, out->f};
  static const int roles[4] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_BIAS, DNNL_ARG_DST};
  dnnl_exec_arg_t args[4];
  int count = 0;
  for (int k = 0; k < 4; k++) {
    if (data[k] == NULL) continue;
    if (dnnl_memory_set_data_handle(p->memory[k], data[k]) != dnnl_success)
      return bl_eval_fail(e, BL_ERR_UNSUPPORTED, "oneDNN refuses its data");
    args[count++] = (dnnl_exec_arg_t){roles[k], p->memory[k]};
  }
  if (dnnl_primitive_execute(p->primitive, e->engine->stream, count, args) != dnnl_success ||
      dnnl_stream_wait(e->engine->stream) != dnnl_success)
    return bl_eval_fail(e, BL_ERR_UNSUPPORTED, "oneDNN failed");
  return BL_OK;
}

// ---- Matrix products
// -----------------------------------------------------------------------------

static bl_status product(const bl_eval *e, bool ta, bool tb, int64_t m, int64_t n, int64_t k,
                         float alpha, const float *a, const float *b, float beta, float *c) {
  dnnl_status_t status = dnnl_sgemm(ta ? 'T' : 'N', tb ? 'T' : 'N', m, n, k, alpha, a, ta ? m : k,
                                    b, tb ? k : n, beta, c, n);
  return status == dnnl_success ? BL_OK : bl_eval_fail(e, BL_ERR_UNSUPPORTED, "oneDNN failed");
}

bl_status bl_eval_gemm(const bl_eval *e) {
  const bl_value *a = bl_eval_in(e, 0), *b = bl_eval_in(e, 1), *c = bl_eval_in(e, 2);
  bl_value *out = bl_eval_out(e, 0);
  if (out->type != BL_TYPE_FLOAT) return bl_eval_fail(e, BL_ERR_UNSUPPORTED, "product of integers");
  bool ta = bl_node_int(e->node, "transA", 0) != 0, tb = bl_node_int(e->node, "transB", 0) != 0;
  int64_t m = out->dims[0], n = out->dims[1], k = a->dims[ta ? 0 : 1];
  float beta = bl_node_float(e->node, "beta", 1);
  for (int64_t i = 0; c != NULL && i < m; i++)
    for (int64_t j = 0; j < n; j++) {
      int64_t rows = c->rank == 2 ? c->dims[0] : 1, cols = c->rank > 0 ? c->dims[c->rank - 1] : 1;
      out->f[i * n + j] = c->f[(rows == 1 ? 0 : i) * cols + (cols == 1 ? 0 : j)];
    }
  return product(e, ta, tb, m, n, k, bl_node_float(e->node, "alpha", 1), a->f, b->f,
                 c != NULL ? beta : 0, out->f);
}

size_t bl_eval_matrix_offset(const bl_value *v, const bl_value *out, size_t at) {
  size_t matrix = (size_t)v->dims[v->rank - 1] * (size_t)v->dims[v->rank - 2];
  size_t offset = 0, step = 1;
  for (uint32_t k = 2; k < out->rank; k++) {
    size_t d = (size_t)out->dims[out->rank - 1 - k], index = at % d;
    at /= d;
    int64_t own = k < v->rank ? v->dims[v->rank - 1 - k] : 1;
    if (own != 1) offset += index * step;
    step *= (size_t)own;
  }
  return offset * matrix;
}

bl_status bl_eval_matmul(const bl_eval *e) {
  const bl_value *a = bl_eval_in(e, 0), *b = bl_eval_in(e, 1);
  bl_value *out = bl_eval_out(e, 0);
  if (out->type != BL_TYPE_FLOAT || b->type != BL_TYPE_FLOAT)
    return bl_eval_fail(e, BL_ERR_UNSUPPORTED, "product of integers");
  int64_t m = out->dims[out->rank - 2], n = out->dims[out->rank - 1], k = a->dims[a->rank - 1];
  size_t size = (size_t)m * (size_t)n;
  for (size_t at = 0; size > 0 && at < out->count / size; at++)
    BL_TRY(product(e, false, false, m, n, k, 1, a->f + bl_eval_matrix_offset(a, out, at),
                   b->f + bl_eval_matrix_offset(b, out, at), 0, out->f + at * size));
  return BL_OK;
}

// ---- Pooling
// ---------------------------------------------------------------------------------------

typedef struct {
  double sum, best;
  int64_t taken, positions, best_at; // inside the map; inside the padded map
} pooled;

// Walks the window at output position `o` over one plane of the input.
static pooled pool_at(const bl_value *in, size_t plane, const bl_window *w, const int64_t o[3]) {
  pooled p = {.best = -INFINITY, .best_at = -1};
  int64_t taps = 1;
  for (uint32_t k = 0; k < w->rank; k++)
    taps *= w->kernel[k];
  for (int64_t tap = 0; tap < taps; tap++) {
    int64_t rest = tap, at = 0, step = 1;
    bool inside = true, padded = true;
    for (uint32_t k = w->rank; k-- > 0;) {
      int64_t d = in->dims[k + 2];
      int64_t x = o[k] * w->stride[k] + rest % w->kernel[k] * w->dilation[k] - w->pad_begin[k];
      rest /= w->kernel[k];
      inside = inside && x >= 0 && x < d;
      padded = padded && x < d + w->pad_end[k];
      at += x * step;
      step *= d;
    }
    p.positions += padded;
    if (!inside) continue;
    double v = bl_at(in, plane + (size_t)at);
    p.sum += v;
    p.taken++;
    if (p.best_at < 0 || v > p.best) {
      p.best = v;
      p.best_at = at;
    }
  }
  return p;
}

bl_status bl_eval_pool(const bl_eval *e) {
  const bl_value *in = bl_eval_in(e, 0);
  bl_value *out = bl_eval_out(e, 0), *indices = bl_eval_out(e, 1);
  bl_float_op op = e->node->op;
  bool average = op == BL_FLOAT_AVERAGE_POOL || op == BL_FLOAT_GLOBAL_AVERAGE_POOL;
  bool all = bl_node_int(e->node, "count_include_pad", 0) != 0;
  bl_window w;
  BL_TRY(bl_node_window(e->graph, e->node, &w, e->err));
  if (indices != NULL && bl_node_int(e->node, "storage_order", 0) != 0)
    return bl_eval_fail(e, BL_ERR_UNSUPPORTED, "indices in column order");
  size_t in_plane = 1, out_plane = 1;
  for (uint32_t k = 0; k < w.rank; k++) {
    in_plane *= (size_t)in->dims[k + 2];
    out_plane *= (size_t)w.out[k];
  }
  for (size_t at = 0; at < out->count; at++) {
    size_t plane = at / out_plane * in_plane, rest = at % out_plane;
    int64_t o[3];
    for (uint32_t k = w.rank; k-- > 0;) {
      o[k] = (int64_t)(rest % (size_t)w.out[k]);
      rest /= (size_t)w.out[k];
    }
    pooled p = pool_at(in, plane, &w, o);
    int64_t divisor = all ? p.positions : p.taken;
    bl_put(out, at, average ? p.sum / (double)(divisor > 0 ? divisor : 1) : p.best);
    if (indices != NULL) indices->i[at] = (int64_t)plane + p.best_at;
  }
  return BL_OK;
}
