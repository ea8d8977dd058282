// SPDX-License-Identifier: Apache-2.0
// Generated from drivers/contract/contract.def by `make contract`; do not edit.
`ifndef BITLOOM_CONTRACT_VH
`define BITLOOM_CONTRACT_VH

`define BITLOOM_VERSION 32'h1 // contract version; devices and compiled files carry it
`define BITLOOM_REQUEST_MAGIC 32'hb7 // top byte of a request header
`define BITLOOM_ANSWER_MAGIC 32'hb8 // top byte of an answer header
`define BITLOOM_IDENTITY 32'h424c4f4d // identity register: BLOM
`define BITLOOM_HEADER_WORDS 32'h5 // header: four words and their CRC-32
`define BITLOOM_PARAM_BYTES 32'h9 // bytes of one channel's parameters in a load
`define BITLOOM_K_BYTES 32'h2 // bytes of a K-list entry
`define BITLOOM_PASS_BYTES 32'h8 // bytes of a pass-list entry
`define BITLOOM_TILE_BYTES 32'h8 // bytes of a tile-list entry
`define BITLOOM_MAX_PAYLOAD 32'hfffffc // largest payload of a packet in bytes

`define BITLOOM_OP_IDENTIFY 8'h1 // answer with the identity words
`define BITLOOM_OP_RESET 8'h2 // wait until idle, clear poison and counters, answer
`define BITLOOM_OP_FENCE 8'h3 // wait until every earlier run and send is answered, answer
`define BITLOOM_OP_COUNTERS 8'h4 // like FENCE, then answer with the counters
`define BITLOOM_OP_LOAD_WEIGHTS 8'h10 // weight words, column by column
`define BITLOOM_OP_LOAD_PARAMS 8'h11 // mult, bias, shift of channels
`define BITLOOM_OP_LOAD_K_LIST 8'h12 // row-buffer addresses
`define BITLOOM_OP_LOAD_PASS_LIST 8'h13 // passes
`define BITLOOM_OP_LOAD_TILE_LIST 8'h14 // channel tiles
`define BITLOOM_OP_LOAD_ACTIVATIONS 8'h15 // activation words
`define BITLOOM_OP_RUN 8'h20 // run one layer; the payload is its descriptor
`define BITLOOM_OP_SEND 8'h21 // answer with a region of activation memory

`define BITLOOM_STATUS_OK 8'h0 // done
`define BITLOOM_STATUS_HEADER 8'h1 // bad magic or header CRC; words are dropped until a sound header
`define BITLOOM_STATUS_OPCODE 8'h2 // unknown opcode; its payload was dropped
`define BITLOOM_STATUS_LENGTH 8'h3 // payload length or argument does not fit the opcode; the payload was dropped
`define BITLOOM_STATUS_ADDRESS 8'h4 // a load or send reaches beyond its memory; nothing was done
`define BITLOOM_STATUS_PAYLOAD 8'h5 // bad payload CRC; a load has poisoned what it wrote, a run did not start
`define BITLOOM_STATUS_DESCRIPTOR 8'h6 // run refused: a descriptor field is out of its range
`define BITLOOM_STATUS_POISONED 8'h7 // run refused: a memory is poisoned; info is the poison mask
`define BITLOOM_STATUS_FAULT 8'h8 // run stopped: a list, window or address left its memory; info is the fault mask

`define BITLOOM_COUNTER_CYCLES 0 // clock cycles since they were cleared
`define BITLOOM_COUNTER_ISSUE 1 // the array was issued a step
`define BITLOOM_COUNTER_WEIGHTS 2 // no layer running, a weight, parameter or list load under way
`define BITLOOM_COUNTER_REQUANT 3 // a step was held back by requantise, pack or the drain of the previous tile
`define BITLOOM_COUNTER_STREAM_IN 4 // no layer running, an activation load or another packet under way
`define BITLOOM_COUNTER_STREAM_OUT 5 // no layer running, a send under way
`define BITLOOM_COUNTER_GATHER 6 // the sequencer waited for a row buffer
`define BITLOOM_COUNTER_DRAIN 7 // a layer running, none of the above: lists being fetched or last results draining
`define BITLOOM_COUNTER_IDLE 8 // nothing to do
`define BITLOOM_COUNTER_COUNT 9

`define BITLOOM_REG_ID 8'h0 // IDENTITY
`define BITLOOM_REG_VERSION 8'h4 // contract VERSION
`define BITLOOM_REG_ROWS 8'h8 // rows of the array
`define BITLOOM_REG_COLS 8'hc // columns of the array
`define BITLOOM_REG_LANES 8'h10 // lanes of a processing element
`define BITLOOM_REG_ACC_W 8'h14 // accumulator bits
`define BITLOOM_REG_WEIGHT_DEPTH 8'h18 // weight memory, words a column
`define BITLOOM_REG_PARAM_DEPTH 8'h1c // parameter memory, rows of one channel tile
`define BITLOOM_REG_K_DEPTH 8'h20 // K-list memory, entries
`define BITLOOM_REG_PASS_DEPTH 8'h24 // pass-list memory, entries
`define BITLOOM_REG_TILE_DEPTH 8'h28 // tile-list memory, entries
`define BITLOOM_REG_ACT_DEPTH 8'h2c // activation memory, words
`define BITLOOM_REG_ROW_DEPTH 8'h30 // one half of a row buffer, words
`define BITLOOM_REG_CONTROL 8'h40 // bit 0: soft reset while 1; bit 1: interrupt enable
`define BITLOOM_REG_STATUS 8'h44 // bit 0 run active, 1 send active, 2 packet half read, 13:8 poison mask, 23:16 last non-zero status
`define BITLOOM_REG_IRQ 8'h48 // bit 0 a run was answered, bit 1 an error was answered
`define BITLOOM_REG_COUNTER_BASE 8'h80 // counter k: low word at 0x80+8k, high word at 0x84+8k

`define BITLOOM_CONFIG_TINY_ROWS 2
`define BITLOOM_CONFIG_TINY_COLS 8
`define BITLOOM_CONFIG_TINY_LANES 16
`define BITLOOM_CONFIG_TINY_ACC_W 32
`define BITLOOM_CONFIG_TINY_WEIGHT_DEPTH 4096
`define BITLOOM_CONFIG_TINY_PARAM_DEPTH 64
`define BITLOOM_CONFIG_TINY_K_DEPTH 2048
`define BITLOOM_CONFIG_TINY_PASS_DEPTH 512
`define BITLOOM_CONFIG_TINY_TILE_DEPTH 128
`define BITLOOM_CONFIG_TINY_ACT_DEPTH 16384
`define BITLOOM_CONFIG_TINY_ROW_DEPTH 1024
`define BITLOOM_CONFIG_DEFAULT_ROWS 8
`define BITLOOM_CONFIG_DEFAULT_COLS 8
`define BITLOOM_CONFIG_DEFAULT_LANES 32
`define BITLOOM_CONFIG_DEFAULT_ACC_W 32
`define BITLOOM_CONFIG_DEFAULT_WEIGHT_DEPTH 8192
`define BITLOOM_CONFIG_DEFAULT_PARAM_DEPTH 128
`define BITLOOM_CONFIG_DEFAULT_K_DEPTH 4096
`define BITLOOM_CONFIG_DEFAULT_PASS_DEPTH 512
`define BITLOOM_CONFIG_DEFAULT_TILE_DEPTH 256
`define BITLOOM_CONFIG_DEFAULT_ACT_DEPTH 16384
`define BITLOOM_CONFIG_DEFAULT_ROW_DEPTH 1024
`define BITLOOM_CONFIG_WIDE_ROWS 8
`define BITLOOM_CONFIG_WIDE_COLS 16
`define BITLOOM_CONFIG_WIDE_LANES 64
`define BITLOOM_CONFIG_WIDE_ACC_W 32
`define BITLOOM_CONFIG_WIDE_WEIGHT_DEPTH 2048
`define BITLOOM_CONFIG_WIDE_PARAM_DEPTH 64
`define BITLOOM_CONFIG_WIDE_K_DEPTH 4096
`define BITLOOM_CONFIG_WIDE_PASS_DEPTH 512
`define BITLOOM_CONFIG_WIDE_TILE_DEPTH 128
`define BITLOOM_CONFIG_WIDE_ACT_DEPTH 16384
`define BITLOOM_CONFIG_WIDE_ROW_DEPTH 1024

`define BITLOOM_PARAM_BITS 96
`define BITLOOM_PARAM_MULT_LSB 0
`define BITLOOM_PARAM_MULT_W 17
`define BITLOOM_PARAM_BIAS_LSB 17
`define BITLOOM_PARAM_BIAS_W 48
`define BITLOOM_PARAM_SHIFT_LSB 65
`define BITLOOM_PARAM_SHIFT_W 6

`define BITLOOM_K_BITS 32
`define BITLOOM_K_ADDRESS_LSB 0
`define BITLOOM_K_ADDRESS_W 16

`define BITLOOM_PASS_BITS 64
`define BITLOOM_PASS_WEIGHT_OFFSET_LSB 0
`define BITLOOM_PASS_WEIGHT_OFFSET_W 16
`define BITLOOM_PASS_K_OFFSET_LSB 16
`define BITLOOM_PASS_K_OFFSET_W 16
`define BITLOOM_PASS_COUNT_LSB 32
`define BITLOOM_PASS_COUNT_W 16
`define BITLOOM_PASS_PLANE_LSB 48
`define BITLOOM_PASS_PLANE_W 3
`define BITLOOM_PASS_SHIFT_LSB 51
`define BITLOOM_PASS_SHIFT_W 1
`define BITLOOM_PASS_NEG_LSB 52
`define BITLOOM_PASS_NEG_W 1
`define BITLOOM_PASS_SUM_LSB 53
`define BITLOOM_PASS_SUM_W 1

`define BITLOOM_TILE_BITS 64
`define BITLOOM_TILE_WEIGHT_BASE_LSB 0
`define BITLOOM_TILE_WEIGHT_BASE_W 16
`define BITLOOM_TILE_K_BASE_LSB 16
`define BITLOOM_TILE_K_BASE_W 16
`define BITLOOM_TILE_PASS_BASE_LSB 32
`define BITLOOM_TILE_PASS_BASE_W 16
`define BITLOOM_TILE_PASS_LAST_LSB 48
`define BITLOOM_TILE_PASS_LAST_W 10
`define BITLOOM_TILE_POST_LSB 58
`define BITLOOM_TILE_POST_W 2

`define BITLOOM_DESCRIPTOR_BITS 608
`define BITLOOM_DESCRIPTOR_IN_BASE_LSB 0
`define BITLOOM_DESCRIPTOR_IN_BASE_W 16
`define BITLOOM_DESCRIPTOR_IN_PLANES_LSB 16
`define BITLOOM_DESCRIPTOR_IN_PLANES_W 4
`define BITLOOM_DESCRIPTOR_IN_LAST_LANES_LSB 20
`define BITLOOM_DESCRIPTOR_IN_LAST_LANES_W 8
`define BITLOOM_DESCRIPTOR_IN_H_LSB 32
`define BITLOOM_DESCRIPTOR_IN_H_W 16
`define BITLOOM_DESCRIPTOR_IN_W_LSB 48
`define BITLOOM_DESCRIPTOR_IN_W_W 16
`define BITLOOM_DESCRIPTOR_IN_WORDS_LSB 64
`define BITLOOM_DESCRIPTOR_IN_WORDS_W 12
`define BITLOOM_DESCRIPTOR_PAD_VALUE_LSB 76
`define BITLOOM_DESCRIPTOR_PAD_VALUE_W 8
`define BITLOOM_DESCRIPTOR_IN_PIXEL_STRIDE_LSB 96
`define BITLOOM_DESCRIPTOR_IN_PIXEL_STRIDE_W 16
`define BITLOOM_DESCRIPTOR_IN_ROW_STRIDE_LSB 112
`define BITLOOM_DESCRIPTOR_IN_ROW_STRIDE_W 16
`define BITLOOM_DESCRIPTOR_IN_IMAGE_STRIDE_LSB 128
`define BITLOOM_DESCRIPTOR_IN_IMAGE_STRIDE_W 16
`define BITLOOM_DESCRIPTOR_IMAGES_LSB 144
`define BITLOOM_DESCRIPTOR_IMAGES_W 16
`define BITLOOM_DESCRIPTOR_KERNEL_H_LSB 160
`define BITLOOM_DESCRIPTOR_KERNEL_H_W 12
`define BITLOOM_DESCRIPTOR_KERNEL_W_LSB 172
`define BITLOOM_DESCRIPTOR_KERNEL_W_W 12
`define BITLOOM_DESCRIPTOR_DILATION_H_LSB 184
`define BITLOOM_DESCRIPTOR_DILATION_H_W 8
`define BITLOOM_DESCRIPTOR_DILATION_W_LSB 192
`define BITLOOM_DESCRIPTOR_DILATION_W_W 8
`define BITLOOM_DESCRIPTOR_STRIDE_H_LSB 200
`define BITLOOM_DESCRIPTOR_STRIDE_H_W 8
`define BITLOOM_DESCRIPTOR_STRIDE_W_LSB 208
`define BITLOOM_DESCRIPTOR_STRIDE_W_W 8
`define BITLOOM_DESCRIPTOR_STEP_H_LSB 224
`define BITLOOM_DESCRIPTOR_STEP_H_W 16
`define BITLOOM_DESCRIPTOR_STEP_W_LSB 240
`define BITLOOM_DESCRIPTOR_STEP_W_W 16
`define BITLOOM_DESCRIPTOR_ORIGIN_H_LSB 256
`define BITLOOM_DESCRIPTOR_ORIGIN_H_W 16
`define BITLOOM_DESCRIPTOR_ORIGIN_W_LSB 272
`define BITLOOM_DESCRIPTOR_ORIGIN_W_W 16
`define BITLOOM_DESCRIPTOR_PAD_TOP_LSB 288
`define BITLOOM_DESCRIPTOR_PAD_TOP_W 12
`define BITLOOM_DESCRIPTOR_PAD_LEFT_LSB 300
`define BITLOOM_DESCRIPTOR_PAD_LEFT_W 12
`define BITLOOM_DESCRIPTOR_POOL_H_LSB 320
`define BITLOOM_DESCRIPTOR_POOL_H_W 12
`define BITLOOM_DESCRIPTOR_POOL_W_LSB 332
`define BITLOOM_DESCRIPTOR_POOL_W_W 12
`define BITLOOM_DESCRIPTOR_CONV_END_H_LSB 352
`define BITLOOM_DESCRIPTOR_CONV_END_H_W 17
`define BITLOOM_DESCRIPTOR_CONV_END_W_LSB 384
`define BITLOOM_DESCRIPTOR_CONV_END_W_W 17
`define BITLOOM_DESCRIPTOR_OUT_H_LSB 416
`define BITLOOM_DESCRIPTOR_OUT_H_W 16
`define BITLOOM_DESCRIPTOR_OUT_W_LSB 432
`define BITLOOM_DESCRIPTOR_OUT_W_W 16
`define BITLOOM_DESCRIPTOR_OUT_BASE_LSB 448
`define BITLOOM_DESCRIPTOR_OUT_BASE_W 16
`define BITLOOM_DESCRIPTOR_OUT_PIXEL_STRIDE_LSB 464
`define BITLOOM_DESCRIPTOR_OUT_PIXEL_STRIDE_W 16
`define BITLOOM_DESCRIPTOR_OUT_PLANES_LSB 480
`define BITLOOM_DESCRIPTOR_OUT_PLANES_W 4
`define BITLOOM_DESCRIPTOR_OUT_SLOT_LSB 484
`define BITLOOM_DESCRIPTOR_OUT_SLOT_W 4
`define BITLOOM_DESCRIPTOR_OUT_SIGNED_LSB 488
`define BITLOOM_DESCRIPTOR_OUT_SIGNED_W 1
`define BITLOOM_DESCRIPTOR_OUT_WRAP_LSB 489
`define BITLOOM_DESCRIPTOR_OUT_WRAP_W 1
`define BITLOOM_DESCRIPTOR_OUT_LAST_COLS_LSB 490
`define BITLOOM_DESCRIPTOR_OUT_LAST_COLS_W 8
`define BITLOOM_DESCRIPTOR_OUT_LO_LSB 512
`define BITLOOM_DESCRIPTOR_OUT_LO_W 16
`define BITLOOM_DESCRIPTOR_OUT_HI_LSB 528
`define BITLOOM_DESCRIPTOR_OUT_HI_W 16
`define BITLOOM_DESCRIPTOR_OUT_OFFSET_LSB 544
`define BITLOOM_DESCRIPTOR_OUT_OFFSET_W 16
`define BITLOOM_DESCRIPTOR_TILES_LSB 560
`define BITLOOM_DESCRIPTOR_TILES_W 12
`define BITLOOM_DESCRIPTOR_TILE_BASE_LSB 576
`define BITLOOM_DESCRIPTOR_TILE_BASE_W 16
`define BITLOOM_DESCRIPTOR_PARAM_BASE_LSB 592
`define BITLOOM_DESCRIPTOR_PARAM_BASE_W 16

`endif
