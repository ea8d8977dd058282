// SPDX-License-Identifier: Apache-2.0
#include "host/float/eval.h"

#include "host/float/eval_internal.h"

bl_status bl_eval_fail(const bl_eval *e, bl_status status, const char *what) {
  return bl_fail(e->err, status, "node %s (%s): %s", e->node->name, bl_float_op_name(e->node->op),
                 what);
}

const int64_t *bl_eval_ints(const bl_eval *e, uint32_t k, const char *name, size_t *count) {
  const bl_value *v = bl_eval_in(e, k);
  const bl_attribute *a = bl_node_attribute(e->node, name);
  *count = v != NULL ? v->count : a != NULL ? a->int_count : 0;
  return v != NULL ? v->i : a != NULL ? a->ints : NULL;
}

static const bl_evaluator evaluators[BL_FLOAT_OP_COUNT] = {
    [BL_FLOAT_ADD] = bl_eval_binary,
    [BL_FLOAT_AVERAGE_POOL] = bl_eval_pool,
    [BL_FLOAT_BATCH_NORM] = bl_eval_batch_norm,
    [BL_FLOAT_BIPOLAR_QUANT] = bl_eval_quant,
    [BL_FLOAT_CAST] = bl_eval_cast,
    [BL_FLOAT_CLIP] = bl_eval_clip,
    [BL_FLOAT_CONCAT] = bl_eval_concat,
    [BL_FLOAT_CONSTANT] = bl_eval_constant,
    [BL_FLOAT_CONV] = bl_eval_conv,
    [BL_FLOAT_CONV_INTEGER] = bl_eval_integer_conv,
    [BL_FLOAT_DEQUANTIZE] = bl_eval_dequantize,
    [BL_FLOAT_DIV] = bl_eval_binary,
    [BL_FLOAT_DROPOUT] = bl_eval_dropout,
    [BL_FLOAT_ELU] = bl_eval_activation,
    [BL_FLOAT_ERF] = bl_eval_activation,
    [BL_FLOAT_DYNAMIC_QUANTIZE] = bl_eval_dynamic_quantize,
    [BL_FLOAT_FLATTEN] = bl_eval_same,
    [BL_FLOAT_GATHER] = bl_eval_gather,
    [BL_FLOAT_GELU] = bl_eval_activation,
    [BL_FLOAT_GEMM] = bl_eval_gemm,
    [BL_FLOAT_GLOBAL_AVERAGE_POOL] = bl_eval_pool,
    [BL_FLOAT_GLOBAL_MAX_POOL] = bl_eval_pool,
    [BL_FLOAT_HARD_SIGMOID] = bl_eval_activation,
    [BL_FLOAT_HARD_SWISH] = bl_eval_activation,
    [BL_FLOAT_IDENTITY] = bl_eval_same,
    [BL_FLOAT_LEAKY_RELU] = bl_eval_activation,
    [BL_FLOAT_MATMUL] = bl_eval_matmul,
    [BL_FLOAT_MATMUL_INTEGER] = bl_eval_integer_matmul,
    [BL_FLOAT_MAX_POOL] = bl_eval_pool,
    [BL_FLOAT_MUL] = bl_eval_binary,
    [BL_FLOAT_MULTI_THRESHOLD] = bl_eval_multi_threshold,
    [BL_FLOAT_PAD] = bl_eval_pad,
    [BL_FLOAT_POW] = bl_eval_binary,
    [BL_FLOAT_QLINEAR_CONV] = bl_eval_integer_conv,
    [BL_FLOAT_QLINEAR_MATMUL] = bl_eval_integer_matmul,
    [BL_FLOAT_QUANTIZE] = bl_eval_quantize,
    [BL_FLOAT_QUANT] = bl_eval_quant,
    [BL_FLOAT_RELU] = bl_eval_unary,
    [BL_FLOAT_RESHAPE] = bl_eval_same,
    [BL_FLOAT_RESIZE] = bl_eval_resize,
    [BL_FLOAT_SHAPE] = bl_eval_shape,
    [BL_FLOAT_SIGMOID] = bl_eval_unary,
    [BL_FLOAT_SIGN] = bl_eval_unary,
    [BL_FLOAT_SLICE] = bl_eval_slice,
    [BL_FLOAT_SOFTMAX] = bl_eval_softmax,
    [BL_FLOAT_SOFTPLUS] = bl_eval_activation,
    [BL_FLOAT_SQUEEZE] = bl_eval_same,
    [BL_FLOAT_SUB] = bl_eval_binary,
    [BL_FLOAT_TANH] = bl_eval_unary,
    [BL_FLOAT_TRANSPOSE] = bl_eval_transpose,
    [BL_FLOAT_TRUNC] = bl_eval_trunc,
    [BL_FLOAT_UNSQUEEZE] = bl_eval_same,
    [BL_FLOAT_UPSAMPLE] = bl_eval_resize,
};

bl_status bl_float_eval(bl_float_engine *engine, const bl_float_graph *graph, uint32_t index,
                        bl_value *values, bl_error *err) {
  const bl_node *node = &graph->nodes[index];
  bl_eval e = {engine, graph, node, index, values, err};
  return evaluators[node->op](&e);
}
