// SPDX-License-Identifier: Apache-2.0
// The float graph: an imported ONNX network with every shape known, in execution order. Constants
// are folded; what is left are nodes that work on data.
#ifndef BITLOOM_HOST_GRAPH_FLOAT_GRAPH_H
#define BITLOOM_HOST_GRAPH_FLOAT_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/base/arena.h"
#include "host/base/error.h"

enum { BL_MAX_RANK = 8, BL_FLOAT_MAX_ELEMENTS = 1 << 28 };

// ONNX element types (TensorProto.DataType) that the operators tell apart.
enum {
  ONNX_FLOAT = 1,
  ONNX_UINT8 = 2,
  ONNX_INT8 = 3,
  ONNX_UINT16 = 4,
  ONNX_INT16 = 5,
  ONNX_INT32 = 6,
  ONNX_INT64 = 7,
  ONNX_BOOL = 9,
  ONNX_FLOAT16 = 10,
  ONNX_DOUBLE = 11,
  ONNX_UINT32 = 12,
  ONNX_BFLOAT16 = 16,
  ONNX_FLOAT8E4M3FN = 17,
  ONNX_FLOAT8E4M3FNUZ = 18,
  ONNX_FLOAT8E5M2 = 19,
  ONNX_FLOAT8E5M2FNUZ = 20
};

typedef enum { BL_TYPE_FLOAT, BL_TYPE_INT } bl_float_type; // all ONNX integers and bool are INT

// A value. Its data is `f` or `i` by type, `count` elements in row-major order; both are NULL for
// values that only exist while the graph runs.
typedef struct {
  char *name;
  bl_float_type type;
  int32_t element; // ONNX element type
  bool shaped;     // rank, dims and count are known
  uint32_t rank;
  int64_t dims[BL_MAX_RANK];
  size_t count;
  float *f;
  int64_t *i;
} bl_value;

// Operators, with what each is called in ONNX.
#define BL_FLOAT_OPS(OP)                                                                           \
  OP(ADD, "Add")                                                                                   \
  OP(AVERAGE_POOL, "AveragePool")                                                                  \
  OP(BATCH_NORM, "BatchNormalization")                                                             \
  OP(BIPOLAR_QUANT, "BipolarQuant")                                                                \
  OP(CAST, "Cast")                                                                                 \
  OP(CLIP, "Clip")                                                                                 \
  OP(CONCAT, "Concat")                                                                             \
  OP(CONSTANT, "Constant")                                                                         \
  OP(CONV, "Conv")                                                                                 \
  OP(CONV_INTEGER, "ConvInteger")                                                                  \
  OP(DEQUANTIZE, "DequantizeLinear")                                                               \
  OP(DIV, "Div")                                                                                   \
  OP(DROPOUT, "Dropout")                                                                           \
  OP(DYNAMIC_QUANTIZE, "DynamicQuantizeLinear")                                                    \
  OP(ELU, "Elu")                                                                                   \
  OP(ERF, "Erf")                                                                                   \
  OP(FLATTEN, "Flatten")                                                                           \
  OP(GATHER, "Gather")                                                                             \
  OP(GELU, "Gelu")                                                                                 \
  OP(GEMM, "Gemm")                                                                                 \
  OP(GLOBAL_AVERAGE_POOL, "GlobalAveragePool")                                                     \
  OP(GLOBAL_MAX_POOL, "GlobalMaxPool")                                                             \
  OP(HARD_SIGMOID, "HardSigmoid")                                                                  \
  OP(HARD_SWISH, "HardSwish")                                                                      \
  OP(IDENTITY, "Identity")                                                                         \
  OP(LEAKY_RELU, "LeakyRelu")                                                                      \
  OP(MATMUL, "MatMul")                                                                             \
  OP(MATMUL_INTEGER, "MatMulInteger")                                                              \
  OP(MAX_POOL, "MaxPool")                                                                          \
  OP(MUL, "Mul")                                                                                   \
  OP(MULTI_THRESHOLD, "MultiThreshold")                                                            \
  OP(PAD, "Pad")                                                                                   \
  OP(POW, "Pow")                                                                                   \
  OP(QLINEAR_CONV, "QLinearConv")                                                                  \
  OP(QLINEAR_MATMUL, "QLinearMatMul")                                                              \
  OP(QUANT, "Quant")                                                                               \
  OP(QUANTIZE, "QuantizeLinear")                                                                   \
  OP(RELU, "Relu")                                                                                 \
  OP(RESHAPE, "Reshape")                                                                           \
  OP(RESIZE, "Resize")                                                                             \
  OP(SHAPE, "Shape")                                                                               \
  OP(SIGMOID, "Sigmoid")                                                                           \
  OP(SIGN, "Sign")                                                                                 \
  OP(SLICE, "Slice")                                                                               \
  OP(SOFTMAX, "Softmax")                                                                           \
  OP(SOFTPLUS, "Softplus")                                                                         \
  OP(SQUEEZE, "Squeeze")                                                                           \
  OP(SUB, "Sub")                                                                                   \
  OP(TANH, "Tanh")                                                                                 \
  OP(TRANSPOSE, "Transpose")                                                                       \
  OP(TRUNC, "Trunc")                                                                               \
  OP(UNSQUEEZE, "Unsqueeze")                                                                       \
  OP(UPSAMPLE, "Upsample")

typedef enum {
#define BL_OP_ENUM(id, name) BL_FLOAT_##id,
  BL_FLOAT_OPS(BL_OP_ENUM)
#undef BL_OP_ENUM
      BL_FLOAT_OP_COUNT
} bl_float_op;

typedef struct {
  char *name;
  int32_t type; // ONNX AttributeProto.AttributeType, 0 where the file has none
  int64_t i;
  float f;
  char *s;
  int64_t *ints;
  float *floats;
  size_t int_count, float_count;
  int32_t tensor; // value index of a tensor attribute, -1: none
} bl_attribute;

typedef struct {
  bl_float_op op;
  char *name;       // never empty: the operator and its first output where the file has none
  int32_t *inputs;  // value indices, -1: absent
  int32_t *outputs; // value indices, -1: absent
  uint32_t input_count, output_count;
  bl_attribute *attributes;
  uint32_t attribute_count;
} bl_node;

typedef struct {
  bl_arena *arena; // owns everything below
  char *name;
  int64_t opset; // of the default domain
  bl_value *values;
  uint32_t value_count, value_room;
  bl_node *nodes; // in execution order
  uint32_t node_count;
  int32_t *inputs; // graph inputs that are data
  uint32_t input_count;
  int32_t *outputs;
  uint32_t output_count;
} bl_float_graph;

void bl_float_graph_free(bl_float_graph *graph);

const char *bl_float_op_name(bl_float_op op);
// The attribute of that name or NULL.
const bl_attribute *bl_node_attribute(const bl_node *node, const char *name);
int64_t bl_node_int(const bl_node *node, const char *name, int64_t otherwise);
float bl_node_float(const bl_node *node, const char *name, float otherwise);
const char *bl_node_string(const bl_node *node, const char *name, const char *otherwise);
// The value of input or output `index`, NULL where absent.
const bl_value *bl_node_input(const bl_float_graph *graph, const bl_node *node, uint32_t index);
const bl_value *bl_node_output(const bl_float_graph *graph, const bl_node *node, uint32_t index);
// True where the value's data is known.
bool bl_value_constant(const bl_value *value);
// Sets rank, dims and count. Errors: RANGE for a rank above 8, a negative dimension or more than
// BL_FLOAT_MAX_ELEMENTS elements.
BL_MUST_USE bl_status bl_value_shape(bl_value *value, uint32_t rank, const int64_t *dims,
                                     bl_error *err);
// Gives the value zeroed data by its type and count.
BL_MUST_USE bl_status bl_value_allocate(bl_arena *arena, bl_value *value, bl_error *err);

// A Slice's step within what a tensor can hold: steps beyond that all mean one element.
int64_t bl_slice_step(int64_t step);

// Is the node a Conv, Gemm or MatMul?
bool bl_node_is_product(const bl_node *node);
// The weights of a convolution or matrix product, in its own order of inputs.
const bl_value *bl_node_weights(const bl_float_graph *graph, const bl_node *node);

// A sliding window, resolved from a convolution's or pooling node's attributes and its input's
// size.
typedef struct {
  uint32_t rank; // spatial dimensions, 1..3
  int64_t kernel[3], stride[3], dilation[3], pad_begin[3], pad_end[3], out[3];
} bl_window;

// Errors: FORMAT, UNSUPPORTED (rank), RANGE.
BL_MUST_USE bl_status bl_node_window(const bl_float_graph *graph, const bl_node *node,
                                     bl_window *window, bl_error *err);

// A Resize or Upsample to the nearest neighbour, resolved from a node and its input's shape.
typedef struct {
  uint32_t rank;
  int64_t in[BL_MAX_RANK], out[BL_MAX_RANK];
  double scale[BL_MAX_RANK];
  int how, rounding; // coordinates, rounding
} bl_resize;

// Errors: FORMAT, UNSUPPORTED (other interpolation), RANGE.
BL_MUST_USE bl_status bl_node_resize(const bl_float_graph *graph, const bl_node *node,
                                     bl_resize *resize, bl_error *err);
// Where position x (0..out[axis]-1) of an axis comes from: 0..in[axis]-1.
int64_t bl_resize_source(const bl_resize *resize, uint32_t axis, int64_t x);

// Infers the shapes and element types of a node's outputs from its inputs, whose shapes are known
// (and their data, where the operator's result depends on it). Errors: FORMAT, UNSUPPORTED, RANGE.
BL_MUST_USE bl_status bl_float_infer(bl_float_graph *graph, const bl_node *node, bl_error *err);

// A number of the nodes' names and of all float constants: another where the network is another.
uint32_t bl_float_digest(const bl_float_graph *graph);

// Multiply-accumulates and constant parameters of a node.
uint64_t bl_node_macs(const bl_float_graph *graph, const bl_node *node);
uint64_t bl_node_parameters(const bl_float_graph *graph, const bl_node *node);

#endif
