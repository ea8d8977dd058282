// SPDX-License-Identifier: Apache-2.0
// One requantise lane: from the array's sums to an 8-bit code.
//
//   acc  = (P << post) - ((S << post) >> 1)        modulo 2^ACC_W
//          with `combine` twice the acc before plus this one, with `negate` this one negative:
//          planes on rows leave the array uppermost first
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
    input  logic              negate_i,
    input  logic signed [16:0] mult_i,   // one cycle after p_i
    input  logic signed [47:0] bias_i,   // one cycle after p_i
    input  logic [5:0]        shift_i,   // one cycle after p_i
    input  logic signed [15:0] lo_i,     // constant while a layer runs
    input  logic signed [15:0] hi_i,
    input  logic [7:0]        offset_i,
    input  logic              wrap_i,
    output logic [7:0]        code_o
);
  // Combine. S << post keeps three more bits so that halving it loses none of them.
  logic signed [ACC_W+2:0] s_posted;
  logic [ACC_W-1:0] row, doubled, acc_d;
  assign s_posted = ($signed({{3{s_i[ACC_W-1]}}, s_i}) <<< post_i) >>> 1;
  assign row      = (p_i << post_i) - s_posted[ACC_W-1:0];
  assign doubled  = combine_i ? {acc_q[ACC_W-2:0], 1'b0} : '0;
  assign acc_d    = negate_i ? doubled - row : doubled + row;

  logic signed [ACC_W-1:0] acc_q;
  logic valid_q;
  always_ff @(posedge clk_i) begin
    valid_q <= valid_i;
    if (valid_i) acc_q <= acc_d;
  end

  logic signed [48:0] sum_q;
  logic [5:0] shift_q;
  logic valid2_q;
  always_ff @(posedge clk_i) begin
    valid2_q <= valid_q;
    if (valid_q) begin
      sum_q   <= 49'(acc_q) * 49'(mult_i) + 49'(bias_i);
      shift_q <= shift_i;
    end
  end

  logic signed [48:0] v;
  logic [7:0] clamped;
  assign v = sum_q >>> shift_q;
  assign clamped = wrap_i ? v[7:0]
                 : (v < 49'(lo_i) ? lo_i[7:0] : v > 49'(hi_i) ? hi_i[7:0] : v[7:0]) + offset_i;

  always_ff @(posedge clk_i) if (valid2_q) code_o <= clamped;

  wire unused = &{1'b0, s_posted[ACC_W+2:ACC_W], 1'b0};
endmodule

`default_nettype wire
