// SPDX-License-Identifier: Apache-2.0
// One row's window of activation words, in two halves: the gather fills one while the array reads
// the other.
//
// The read request is passed on to the next row one cycle later. That is the array's whole row skew:
// a narrow address travels south instead of a triangle of words.
//
// Latency: read_data_o holds the word one cycle after read_i, until the next read_i.
`default_nettype none

module bitloom_row_buffer #(
    parameter LANES = 32,        // bits of a word
    parameter ROW_DEPTH = 1024   // words of one half, a power of two
) (
    input  logic             clk_i,
    input  logic             rst_i,
    input  logic             fill_we_i,
    input  logic             fill_half_i,
    input  logic [15:0]      fill_addr_i,  // < ROW_DEPTH
    input  logic [LANES-1:0] fill_data_i,
    input  logic             read_i,
    input  logic             read_half_i,
    input  logic [15:0]      read_addr_i,  // upper bits are dropped
    output logic             read_o,       // the request, for the row below
    output logic             read_half_o,
    output logic [15:0]      read_addr_o,
    output logic [LANES-1:0] read_data_o
);
  localparam AW = $clog2(ROW_DEPTH);

  bitloom_ram #(.WIDTH(LANES), .DEPTH(2 * ROW_DEPTH)) u_ram (
      .clk_i,
      .we_i(fill_we_i),
      .waddr_i({fill_half_i, fill_addr_i[AW-1:0]}),
      .wdata_i(fill_data_i),
      .re_i(read_i),
      .raddr_i({read_half_i, read_addr_i[AW-1:0]}),
      .rdata_o(read_data_o)
  );

  always_ff @(posedge clk_i)
    if (rst_i) read_o <= 1'b0;
    else read_o <= read_i;

  always_ff @(posedge clk_i)
    if (read_i) begin
      read_half_o <= read_half_i;
      read_addr_o <= read_addr_i;
    end

  wire unused = &{1'b0, fill_addr_i[15:AW], 1'b0};
endmodule

`default_nettype wire
