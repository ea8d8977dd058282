// SPDX-License-Identifier: Apache-2.0
// CNV as an ONNX file, for bitloom import and compress.
#ifndef BITLOOM_TESTS_BENCH_NETS_ONNX_H
#define BITLOOM_TESTS_BENCH_NETS_ONNX_H

#include "host/graph/int_graph.h"

// Writes bl_net_cnv()'s graph as QONNX: Quant (8 bits) on the input "image", then Conv or MatMul
// with BipolarQuant weights, BatchNormalization, BipolarQuant and MaxPool; NCHW, values 0..255.
// Importing it gives the same outputs. Errors: IO, MEMORY.
BL_MUST_USE bl_status bl_net_cnv_write(const char *path, const bl_int_graph *cnv, bl_error *err);

#endif
