// SPDX-License-Identifier: Apache-2.0
// Simple dual-port memory, the only one in the design: one write port, one read port, one clock.
//
// Why: every memory of the device has this shape, so that each tool maps it to block RAM from one
// description. no_rw_check tells Yosys that nobody relies on a read of the word being written;
// without it Yosys adds comparators and multiplexers around every block.
//
// Contract: we_i[b] writes bits b*BYTE .. b*BYTE+BYTE-1 of wdata_i. rdata_o shows the word at
// raddr_i one cycle after re_i and holds it while re_i is 0. Reading the word that is written in the
// same cycle gives unspecified data. Contents start unspecified; there is no reset.
// Latency 1, one read and one write a cycle.
`default_nettype none

module bitloom_ram #(
  parameter int WIDTH = 32,   // bits of a word
  parameter int DEPTH = 1024, // words; an address below it is the caller's business
  parameter int BYTE = WIDTH  // bits under one write enable; divides WIDTH
) (
  input  logic                     clk_i,
  input  logic [WIDTH/BYTE-1:0]    we_i,
  input  logic [$clog2(DEPTH)-1:0] waddr_i,
  input  logic [WIDTH-1:0]         wdata_i,
  input  logic                     re_i,
  input  logic [$clog2(DEPTH)-1:0] raddr_i,
  output logic [WIDTH-1:0]         rdata_o
);
`ifdef VERILATOR
  // A write of a whole word, with the bytes that stay as they are, which simulates faster than one
  // write for each byte; tests/house/check_ram proves it equal to the memory below.
  function automatic logic [WIDTH-1:0] merged(input logic [WIDTH-1:0] word);
    merged = word;
    for (int b = 0; b < WIDTH / BYTE; b++)
      if (we_i[b]) merged[b*BYTE +: BYTE] = wdata_i[b*BYTE +: BYTE];
  endfunction
  logic [WIDTH-1:0] mem_q[DEPTH];
  always_ff @(posedge clk_i) begin
    if (re_i) rdata_o <= mem_q[raddr_i];
    /* verilator lint_off BLKSEQ */  // nobody else reads it, and the word above is read before
    if (we_i != '0) mem_q[waddr_i] = merged(mem_q[waddr_i]);
    /* verilator lint_on BLKSEQ */
  end
`else
  // A depth between two powers of two is a memory of each: tools that build it from smaller blocks of
  // one size select between more of them.
  localparam int AW = $clog2(DEPTH);
  localparam int LOW = DEPTH == 1 << AW ? DEPTH : 1 << (AW - 1);
  (* no_rw_check *) logic [WIDTH-1:0] mem_q[LOW];
  generate
    if (LOW == DEPTH) begin : gen_whole
      always_ff @(posedge clk_i) begin
        for (int b = 0; b < WIDTH / BYTE; b++) begin
          if (we_i[b]) mem_q[waddr_i][b*BYTE +: BYTE] <= wdata_i[b*BYTE +: BYTE];
        end
      end
      always_ff @(posedge clk_i) begin
        if (re_i) rdata_o <= mem_q[raddr_i];
      end
    end else begin : gen_parts
      (* no_rw_check *) logic [WIDTH-1:0] upper_q[DEPTH - LOW];
      localparam int UW = $clog2(DEPTH - LOW);
      logic [WIDTH-1:0] low_data_q, upper_data_q;
      logic             from_upper_q;
      always_ff @(posedge clk_i) begin
        for (int b = 0; b < WIDTH / BYTE; b++) begin
          if (we_i[b] && !waddr_i[AW-1])
            mem_q[waddr_i[AW-2:0]][b*BYTE +: BYTE] <= wdata_i[b*BYTE +: BYTE];
          if (we_i[b] && waddr_i[AW-1])
            upper_q[waddr_i[UW-1:0]][b*BYTE +: BYTE] <= wdata_i[b*BYTE +: BYTE];
        end
      end
      always_ff @(posedge clk_i) begin
        if (re_i) begin
          low_data_q   <= mem_q[raddr_i[AW-2:0]];
          upper_data_q <= upper_q[raddr_i[UW-1:0]];
          from_upper_q <= raddr_i[AW-1];
        end
      end
      assign rdata_o = from_upper_q ? upper_data_q : low_data_q;
    end
  endgenerate
`endif
endmodule

`default_nettype wire
