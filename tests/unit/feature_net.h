// SPDX-License-Identifier: Apache-2.0
// A network of four layers that has everything an integer graph can have: a concatenation of two
// parts, up-sampling, a table, a codebook, an addition and a projected one.
//   0 in 2x2x2 u4 -> "left" 1x1 -> 1 (2x2x3 s6), "right" 1x1, plus 0 projected -> 2 (2x2x5 s6)
//   3 = 1 beside 2
//   3 -> "up", seen 4x4, 1x1, table -> 4 (4x4x4 u8); 4 -> "sum", codebook, plus 4 -> 5 (4x4x4 s8)
#ifndef BITLOOM_TESTS_UNIT_FEATURE_NET_H
#define BITLOOM_TESTS_UNIT_FEATURE_NET_H

#include <string.h>

#include "host/graph/int_graph.h"

typedef struct {
  bl_int_tensor tensors[6];
  bl_int_layer layers[4];
  bl_int_graph graph;
  char names[4][8];
  int8_t weights[40], codebook[BL_INT_CODES];
  int32_t mult[8], addend_weight[4], projection[10], table[BL_INT_TABLE];
  int64_t bias[8];
  uint8_t shift[8];
} feature_net;

static inline void feature_layer(feature_net *net, uint32_t index, const char *name, uint32_t input,
                                 uint32_t output) {
  memcpy(net->names[index], name, strlen(name) + 1);
  net->layers[index] = (bl_int_layer){.name = net->names[index],
                                      .input = input,
                                      .output = output,
                                      .groups = 1,
                                      .kernel_h = 1,
                                      .kernel_w = 1,
                                      .stride_h = 1,
                                      .stride_w = 1,
                                      .dilation_h = 1,
                                      .dilation_w = 1,
                                      .weight_format = {BL_FORMAT_S, 4},
                                      .weights = net->weights,
                                      .mult = net->mult,
                                      .bias = net->bias,
                                      .shift = net->shift,
                                      .lo = -32,
                                      .hi = 31,
                                      .pool_h = 1,
                                      .pool_w = 1,
                                      .pool_stride_h = 1,
                                      .pool_stride_w = 1};
}

static inline void feature_net_make(feature_net *net) {
  static char name[] = "t";
  const bl_format s6 = {BL_FORMAT_S, 6}, s8 = {BL_FORMAT_S, 8};
  memset(net, 0, sizeof *net);
  net->tensors[0] = (bl_int_tensor){name, 2, 2, 2, {BL_FORMAT_U, 4}, 1.0, 0, 0, 0};
  net->tensors[1] = (bl_int_tensor){name, 2, 2, 3, s6, 0.5, 0, 3, 0};
  net->tensors[2] = (bl_int_tensor){name, 2, 2, 5, s6, 0.5, 0, 3, 3};
  net->tensors[3] = (bl_int_tensor){name, 2, 2, 8, s6, 0.5, 0, 0, 0};
  net->tensors[4] = (bl_int_tensor){name, 4, 4, 4, {BL_FORMAT_U, 8}, 0.25, 0, 0, 0};
  net->tensors[5] = (bl_int_tensor){name, 4, 4, 4, s8, 0.125, 0, 0, 0};
  for (int i = 0; i < 40; i++)
    net->weights[i] = (int8_t)(i % 7 - 3);
  for (int i = 0; i < BL_INT_CODES; i++)
    net->codebook[i] = (int8_t)(i % 7 - 3);
  for (int n = 0; n < 8; n++) {
    net->mult[n] = 1 << 15;
    net->bias[n] = 1 << 14;
    net->shift[n] = 15;
  }
  for (int i = 0; i < BL_INT_TABLE; i++)
    net->table[i] = (i * 7 + 3) & 255;
  for (int n = 0; n < 4; n++)
    net->addend_weight[n] = n * 3 - 4;
  for (int k = 0; k < 10; k++)
    net->projection[k] = (k * 5 - 21) * 64;
  feature_layer(net, 0, "left", 0, 1);
  feature_layer(net, 1, "right", 0, 2);
  feature_layer(net, 2, "up", 3, 4);
  feature_layer(net, 3, "sum", 4, 5);
  net->layers[1].addend_weight = net->projection;
  net->layers[1].project_h = net->layers[1].project_w = 1;
  net->layers[1].raise = 6;
  net->layers[2].upsample = true;
  net->layers[2].table = net->table;
  net->layers[3].codebook = net->codebook;
  net->layers[3].addend = 4;
  net->layers[3].addend_weight = net->addend_weight;
  net->layers[3].raise = 2;
  net->layers[3].lo = -128;
  net->layers[3].hi = 127;
  net->graph = (bl_int_graph){.name = name,
                              .tensors = net->tensors,
                              .tensor_count = 6,
                              .layers = net->layers,
                              .layer_count = 4,
                              .output = 5};
}

#endif
