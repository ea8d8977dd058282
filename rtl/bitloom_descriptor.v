// SPDX-License-Identifier: Apache-2.0
// Checks the ranges of a run's descriptor, before anything is started with it.
//
// Everything that the engine relies on to come to an end is checked here once, so that no block
// behind has to think about a kernel of height 0.
//
// Combinational. ok_o says something with check_i only: simulation rests otherwise.
`default_nettype none
`include "bitloom_contract.vh"

module bitloom_descriptor #(
  parameter ROWS = 8,
  parameter COLS = 8,
  parameter LANES = 32,
  parameter TABLE_DEPTH = 2048 // a power of two
) (
  input  logic                                check_i,
  input  logic [`BITLOOM_DESCRIPTOR_BITS-1:0] desc_i,
  output logic                                ok_o
);
  logic [3:0] in_planes, res_planes, out_planes, out_slot, out_table;
  logic [4:0] in_last_bytes;
  logic [1:0] mode;
  logic [7:0] in_last_lanes, out_last_cols;
  assign in_planes     = desc_i[`BITLOOM_DESCRIPTOR_IN_PLANES_LSB+:4];
  assign in_last_lanes = desc_i[`BITLOOM_DESCRIPTOR_IN_LAST_LANES_LSB+:8];
  assign in_last_bytes = desc_i[`BITLOOM_DESCRIPTOR_IN_LAST_BYTES_LSB+:5];
  assign mode          = desc_i[`BITLOOM_DESCRIPTOR_GATHER_MODE_LSB+:2];
  assign res_planes    = desc_i[`BITLOOM_DESCRIPTOR_RES_PLANES_LSB+:4];
  assign out_planes    = desc_i[`BITLOOM_DESCRIPTOR_OUT_PLANES_LSB+:4];
  assign out_slot      = desc_i[`BITLOOM_DESCRIPTOR_OUT_SLOT_LSB+:4];
  assign out_table     = desc_i[`BITLOOM_DESCRIPTOR_OUT_TABLE_LSB+:4];
  assign out_last_cols = desc_i[`BITLOOM_DESCRIPTOR_OUT_LAST_COLS_LSB+:8];

  localparam int TABLES = TABLE_DEPTH / `BITLOOM_TABLE_ENTRIES;
  localparam int MOST_PLANES = ROWS < 8 ? ROWS : 8;  // a row each
  logic [17:0] positive;
  logic input_ok, second_ok, output_ok;
  always_comb begin
    {positive, input_ok, second_ok, output_ok, ok_o} = 'x;
    if (check_i) begin
      positive = {
        desc_i[`BITLOOM_DESCRIPTOR_IN_H_LSB+:16] != '0,
        desc_i[`BITLOOM_DESCRIPTOR_IN_W_LSB+:16] != '0,
        desc_i[`BITLOOM_DESCRIPTOR_IN_WORDS_LSB+:12] != '0,
        desc_i[`BITLOOM_DESCRIPTOR_IMAGES_LSB+:16] != '0,
        desc_i[`BITLOOM_DESCRIPTOR_KERNEL_H_LSB+:12] != '0,
        desc_i[`BITLOOM_DESCRIPTOR_KERNEL_W_LSB+:12] != '0,
        desc_i[`BITLOOM_DESCRIPTOR_DILATION_H_LSB+:8] != '0,
        desc_i[`BITLOOM_DESCRIPTOR_DILATION_W_LSB+:8] != '0,
        desc_i[`BITLOOM_DESCRIPTOR_STRIDE_H_LSB+:8] != '0,
        desc_i[`BITLOOM_DESCRIPTOR_STRIDE_W_LSB+:8] != '0,
        desc_i[`BITLOOM_DESCRIPTOR_STEP_H_LSB+:16] != '0,
        desc_i[`BITLOOM_DESCRIPTOR_STEP_W_LSB+:16] != '0,
        desc_i[`BITLOOM_DESCRIPTOR_POOL_H_LSB+:12] != '0,
        desc_i[`BITLOOM_DESCRIPTOR_POOL_W_LSB+:12] != '0,
        desc_i[`BITLOOM_DESCRIPTOR_OUT_H_LSB+:16] != '0,
        desc_i[`BITLOOM_DESCRIPTOR_OUT_W_LSB+:16] != '0,
        desc_i[`BITLOOM_DESCRIPTOR_OUT_PIXEL_STRIDE_LSB+:16] != '0,
        desc_i[`BITLOOM_DESCRIPTOR_TILES_LSB+:12] != '0};
      input_ok = in_planes != '0 && (!in_planes[3] || in_planes == 4'd8) &&
                 in_last_lanes != '0 && (in_last_lanes < 8'(LANES) || in_last_lanes == 8'(LANES)) &&
                 in_last_bytes != '0 && mode != 2'd3 &&
                 (in_last_bytes < 5'(LANES / 8) || in_last_bytes == 5'(LANES / 8)) &&
                 (mode != 2'd2 || in_planes <= 4'(MOST_PLANES));
      second_ok = res_planes == '0 ||
                  ((!res_planes[3] || res_planes == 4'd8) && mode == 2'd0 &&
                   desc_i[`BITLOOM_DESCRIPTOR_RES_WORDS_LSB+:12] != '0);
      output_ok = out_planes != '0 && (!out_planes[3] || out_planes == 4'd8) &&
                  {1'b0, out_slot} < 5'(LANES / COLS) && {28'd0, out_table} <= TABLES &&
                  out_last_cols != '0 && (out_last_cols < 8'(COLS) || out_last_cols == 8'(COLS));
      ok_o = positive == '1 && input_ok && second_ok && output_ok;
    end
  end

  wire unused = &{1'b0, desc_i, 1'b0};
endmodule

`default_nettype wire
