// SPDX-License-Identifier: Apache-2.0
// Counts the ones of a word: the leaf of every processing element, in three forms that
// tests/house/check_popcount proves equal.
//   0  an expression, which simulates fastest and fits tables of four inputs as well as form 4
//   4  full adders: two smaller counts, added with one bit as carry in
//   6  counters of six, for tables of six inputs: threes first, so that what the element does to a
//      lane before (a AND w) shares their tables; then six ones, or six twos, at a time
// Synthesis names the form by the macro BITLOOM_POPCOUNT_FORM (mk/synth.mk).
//
// Combinational.
`default_nettype none
`ifndef BITLOOM_POPCOUNT_FORM
`define BITLOOM_POPCOUNT_FORM 0
`endif

module bitloom_popcount #(
    parameter LANES = 32,  // bits to count; form 6 takes up to 72
    parameter FORM = `BITLOOM_POPCOUNT_FORM,
    parameter COUNT_W = $clog2(LANES + 1)
) (
    input  logic [LANES-1:0]   data_i,
    output logic [COUNT_W-1:0] count_o
);
  function automatic logic carry(input logic a, input logic b, input logic c);
    carry = (a & b) | (c & (a | b));
  endfunction

  // Six bits as a number: each output is one table of six inputs.
  function automatic logic [2:0] six(input logic [5:0] x);
    logic low_two, high_two, both;
    low_two  = carry(x[0], x[1], x[2]);
    high_two = carry(x[3], x[4], x[5]);
    both     = ^x[2:0] & ^x[5:3];
    six      = {carry(low_two, high_two, both), low_two ^ high_two ^ both, ^x};
  endfunction

  genvar i;
  generate
    if (FORM == 4 && LANES > 2) begin : gen_adders
      localparam H = LANES / 2, L = LANES - 1 - H;
      localparam HW = $clog2(H + 1), LW = $clog2(L + 1);
      logic [HW-1:0] high, low, sum;
      logic [LW-1:0] low_count;
      logic [HW:0]   carries;
      bitloom_popcount #(.LANES(H), .FORM(4)) u_high (.data_i(data_i[H-1:0]), .count_o(high));
      bitloom_popcount #(.LANES(L), .FORM(4)) u_low (.data_i(data_i[H+L-1:H]), .count_o(low_count));
      assign low        = HW'(low_count);
      assign carries[0] = data_i[LANES-1];
      for (i = 0; i < HW; i = i + 1) begin : gen_full
        assign sum[i]       = high[i] ^ low[i] ^ carries[i];
        assign carries[i+1] = carry(high[i], low[i], carries[i]);
      end
      assign count_o = COUNT_W'({carries[HW], sum});
    end else if (FORM == 6) begin : gen_counters
      logic [71:0] lanes;
      logic [23:0] ones, twos;
      logic [3:0]  one1, one2, one4, two1, two2, two4;
      assign lanes = 72'(data_i);
      for (i = 0; i < 24; i = i + 1) begin : gen_three
        assign ones[i] = ^lanes[3*i+:3];
        assign twos[i] = carry(lanes[3*i], lanes[3*i+1], lanes[3*i+2]);
      end
      for (i = 0; i < 4; i = i + 1) begin : gen_six
        assign {one4[i], one2[i], one1[i]} = six(ones[6*i+:6]);
        assign {two4[i], two2[i], two1[i]} = six(twos[6*i+:6]);
      end
      // columns of 1, 2, 4 and 8, and what they carry
      logic [2:0] a, b, c, d, e, f;
      logic [6:0] total;
      assign a     = six({2'b0, one1});             // 1
      assign b     = six({a[1], one2, two1[0]});    // 2
      assign c     = six({2'b0, b[0], two1[3:1]});  // 2
      assign d     = six({a[2], b[1], one4});       // 4
      assign e     = six({c[1], d[0], two2});       // 4
      assign f     = six({b[2], c[2], two4});       // 8
      assign total = {1'b0, f, 3'b0} + {2'b0, d[2:1], 3'b0} + {2'b0, e[2:1], 3'b0} +
                     {4'b0, e[0], c[0], a[0]};
      assign count_o = total[COUNT_W-1:0];
      wire unused = &{1'b0, total, 1'b0};
    end else begin : gen_expression
      always_comb count_o = COUNT_W'($countones(data_i));
    end
  endgenerate
endmodule

`default_nettype wire
