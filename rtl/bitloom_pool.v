// SPDX-License-Identifier: Apache-2.0
// Maximum pooling over the offsets of a window, a row of COLS codes a cycle.
//
// The offsets are the outermost loop of a layer's schedule: each pixel tile runs once for each offset
// and this block keeps the largest code so far for every row and channel tile. The first *valid*
// offset overwrites, so positions outside the convolution's output never take part. Without pooling
// every row is first and final and passes straight through.
//
// Latency two cycles. An entry is written two cycles after it was asked for: a row of the same
// channel tile may come back ROWS >= 2 cycles later.
`default_nettype none

module bitloom_pool #(
    parameter ROWS = 8,
    parameter COLS = 8,
    parameter TILES = 128  // channel tiles of a layer, a power of two
) (
    input  logic                    clk_i,
    input  logic                    rst_i,
    input  logic                    signed_i,  // codes compare as two's complement
    input  logic                    valid_i,
    input  logic [$clog2(ROWS)-1:0] row_i,
    input  logic [11:0]             tile_i,    // upper bits are dropped
    input  logic                    first_i,   // first offset of this pixel tile
    input  logic                    final_i,   // last offset: the result leaves
    input  logic                    inside_i,  // this row's position lies in the convolution's output
    input  logic [COLS*8-1:0]       codes_i,
    output logic               valid_o,   // a final row
    output logic [$clog2(ROWS)-1:0] row_o,
    output logic [COLS*8-1:0]  codes_o    // zero where no offset was inside
);
  localparam RW = $clog2(ROWS);
  localparam TW = $clog2(TILES);

  // Stage 1: the entry is read while the row waits.
  logic              valid_q, first_q, final_q, inside_q;
  logic [RW-1:0]     row_q;
  logic [TW-1:0]     tile_q;
  logic [COLS*8-1:0] codes_q;
  always_ff @(posedge clk_i)
    if (rst_i) valid_q <= 1'b0;
    else valid_q <= valid_i;
  always_ff @(posedge clk_i)
    if (valid_i) begin
      {first_q, final_q, inside_q} <= {first_i, final_i, inside_i};
      row_q   <= row_i;
      tile_q  <= tile_i[TW-1:0];
      codes_q <= codes_i;
    end

  // An entry: {some offset was inside, codes}.
  logic [COLS*8:0] stored, best;
  logic            write;
  assign write = valid_q && !final_q;
  bitloom_ram #(.WIDTH(COLS * 8 + 1), .DEPTH(ROWS * TILES)) u_ram (
      .clk_i,
      .we_i(write),
      .waddr_i({tile_q, row_q}),
      .wdata_i(best),
      .re_i(valid_i && !first_i),
      .raddr_i({tile_i[TW-1:0], row_i}),
      .rdata_o(stored)
  );

  // Stage 2: the larger of the two, column by column.
  logic had;
  assign had = !first_q && stored[COLS*8];
  always_comb begin
    best = 'x;
    if (valid_q) begin  // otherwise nobody looks, and simulation rests
      best[COLS*8] = had || inside_q;
      for (int c = 0; c < COLS; c++) begin
        if (!had) best[c*8+:8] = inside_q ? codes_q[c*8+:8] : 8'd0;
        else if (inside_q && {codes_q[c*8+7] ^ signed_i, codes_q[c*8+:7]} >
                             {stored[c*8+7] ^ signed_i, stored[c*8+:7]})
          best[c*8+:8] = codes_q[c*8+:8];
        else best[c*8+:8] = stored[c*8+:8];
      end
    end
  end

  always_ff @(posedge clk_i)
    if (rst_i) valid_o <= 1'b0;
    else valid_o <= valid_q && final_q;
  always_ff @(posedge clk_i)
    if (valid_q && final_q) begin
      row_o   <= row_q;
      codes_o <= best[COLS*8-1:0];
    end

  generate
    if (TW < 12) begin : gen_unused
      wire unused = &{1'b0, tile_i[11:TW], 1'b0};
    end
  endgenerate
endmodule

`default_nettype wire
