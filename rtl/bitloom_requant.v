// SPDX-License-Identifier: Apache-2.0
// One requantise lane: from the array's sums to an 8-bit code.
//
//   acc  = (P << post) - ((S << post) >> 1)        modulo 2^ACC_W
//          with `combine` plus twice the acc before, with `minus` as well less that: planes on
//          rows leave the array uppermost first
//   v    = (acc * mult + bias) >> shift            49 bits, single rounding, the half is in bias
//   code = low 8 bits of clamp(v, lo, hi) + offset, or of v with wrap
//
// The bias lies after the multiply: at accumulator scale it would be too coarse (numerics.md).
// Latency three cycles, one value a cycle; p, s, post enter together, the parameters one cycle
// later (they are in the memory's output register by then).
`default_nettype none

module bitloom_requant #(
    parameter ACC_W = 32
) (
    input  logic              clk_i,
    input  logic              valid_i,   // p, s, post stand; only saves toggling
    input  logic [ACC_W-1:0]  p_i,
    input  logic [ACC_W-1:0]  s_i,
    input  logic [1:0]        post_i,
    input  logic              combine_i,
    input  logic              minus_i,
    input  logic signed [16:0] mult_i,   // one cycle after p_i
    input  logic signed [47:0] bias_i,   // one cycle after p_i
    input  logic [5:0]        shift_i,   // one cycle after p_i
    input  logic signed [15:0] lo_i,     // constant while a layer runs
    input  logic signed [15:0] hi_i,
    input  logic [7:0]        offset_i,
    input  logic              wrap_i,
    output logic [7:0]        code_o
);
  // Each stage is a function under its valid, so that a simulator need not work it out in other cycles.

  // Combine: (P << post) - ((S << post) >> 1) is 2P - S, moved by post - 1 places; where that is
  // half a place to the right, the 1 below P rounds it up, as S rounds down.
  function automatic logic [ACC_W-1:0] combined(input logic [ACC_W-1:0] last);
    logic [ACC_W:0]   twice;
    logic [ACC_W-1:0] row, doubled;
    twice = {p_i, post_i == 2'd0} - {s_i[ACC_W-1], s_i};
    case (post_i)
      2'd0: row = twice[ACC_W:1];
      2'd1: row = twice[ACC_W-1:0];
      2'd2: row = {twice[ACC_W-2:0], 1'b0};
      default: row = {twice[ACC_W-3:0], 2'b00};
    endcase
    doubled  = combine_i ? (last << 1) ^ {ACC_W{minus_i}} : '0;
    combined = doubled + row + ACC_W'(minus_i);
  endfunction

  logic signed [ACC_W-1:0] acc_q;
  logic valid_q;
  always_ff @(posedge clk_i) begin
    valid_q <= valid_i;
    if (valid_i) acc_q <= combined(acc_q);
  end

  // Multiply and add. The product is made of two halves, each a multiplier's width, and the bias goes
  // to the lower one first: the parts are added in two plain carry chains.
  localparam int PART = 17;
  function automatic logic signed [48:0] scaled(input logic signed [31:0] acc);
    logic signed [PART:0]    acc_low;
    logic signed [31-PART:0] acc_high;
    logic signed [48:0]      low;
    logic signed [48-PART:0] high;
    acc_low  = {1'b0, acc[PART-1:0]};
    acc_high = acc[31:PART];
    low      = 49'(acc_low * (PART + 18)'(mult_i)) + 49'(bias_i);
    high     = (49 - PART)'(acc_high) * (49 - PART)'(mult_i);
    scaled   = {low[48:PART] + high, low[PART-1:0]};
  endfunction

  logic signed [48:0] sum_q;
  logic [5:0] shift_q;
  logic valid2_q;
  always_ff @(posedge clk_i) begin
    valid2_q <= valid_q;
    if (valid_q) begin
      sum_q   <= scaled(32'(acc_q));
      shift_q <= shift_i;
    end
  end

  // Narrowing shift, from the large steps to the small ones. Of v only the low 16 bits are made; what
  // is above them need only be known to be the sign or not, since both limits have 16 bits: each step
  // looks at the bits that it leaves behind.
  function automatic logic [7:0] narrowed(input logic signed [48:0] sum, input logic [5:0] shift);
    logic               sign, far, below, above;
    logic [46:0]        by32;
    logic [30:0]        by16;
    logic [22:0]        by8;
    logic [18:0]        by4;
    logic [16:0]        by2;
    logic signed [15:0] v;
    sign     = sum[48];
    by32     = shift[5] ? {{30{sign}}, sum[48:32]} : sum[46:0];
    by16     = shift[4] ? by32[46:16] : by32[30:0];
    by8      = shift[3] ? by16[30:8] : by16[22:0];
    by4      = shift[2] ? by8[22:4] : by8[18:0];
    by2      = shift[1] ? by4[18:2] : by4[16:0];
    v        = shift[0] ? by2[16:1] : by2[15:0];
    far      = (!shift[5] && sum[47] != sign) ||
               (!shift[4] && by32[46:31] != {16{sign}}) ||
               (!shift[3] && by16[30:23] != {8{sign}}) ||
               (!shift[2] && by8[22:19] != {4{sign}}) ||
               (!shift[1] && by4[18:17] != {2{sign}}) ||
               (!shift[0] && by2[16] != sign) || v[15] != sign;
    below    = !wrap_i && (far ? sign : v < lo_i);
    above    = !wrap_i && (far ? !sign : v > hi_i);
    narrowed = (below ? lo_i[7:0] : above ? hi_i[7:0] : v[7:0]) + (wrap_i ? 8'd0 : offset_i);
  endfunction

  always_ff @(posedge clk_i) if (valid2_q) code_o <= narrowed(sum_q, shift_q);
endmodule

`default_nettype wire
