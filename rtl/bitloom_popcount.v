// SPDX-License-Identifier: Apache-2.0
// Counts the ones of a word: the leaf of every processing element, in three forms that
// tests/house/check_popcount proves equal.
//   0  an expression, which simulates fastest and fits tables of four inputs as well as form 4
//   4  full adders: two smaller counts, added with one bit as carry in
//   6  for tables of six inputs before a carry chain: threes first, so that what the element does to
//      a lane before (a AND w) shares their tables; then their ones, and their twos, in a chain of
//      adders: a table takes a bit of the sum so far and one of the count of five more bits, and
//      the carry in is a sixth
// Synthesis names the form by the macro BITLOOM_POPCOUNT_FORM (mk/synth.mk).
//
// Combinational.
`default_nettype none
`ifndef BITLOOM_POPCOUNT_FORM
`define BITLOOM_POPCOUNT_FORM 0
`endif

module bitloom_popcount #(
    parameter LANES = 32,  // bits to count; form 6 takes up to 66
    parameter FORM = `BITLOOM_POPCOUNT_FORM,
    parameter COUNT_W = $clog2(LANES + 1)
) (
    input  logic [LANES-1:0]   data_i,
    output logic [COUNT_W-1:0] count_o
);
  function automatic logic carry(input logic a, input logic b, input logic c);
    carry = (a & b) | (c & (a ^ b));
  endfunction

  // Up to six bits as a number: each output is one table.
  function automatic logic [2:0] six(input logic [5:0] x);
    logic low_two, high_two, both;
    low_two  = carry(x[0], x[1], x[2]);
    high_two = carry(x[3], x[4], x[5]);
    both     = ^x[2:0] & ^x[5:3];
    six      = {carry(low_two, high_two, both), low_two ^ high_two ^ both, ^x};
  endfunction

  // A sum so far, and up to five bits and a carry more. Written as a subtraction, whose first operand
  // synthesis feeds to the carry chain as it is, while the second joins the first in one table. The
  // carry in is a place below the lowest.
  function automatic logic [4:0] chained(input logic [4:0] sum, input logic [4:0] x, input logic in);
    logic [5:0] with_carry;
    with_carry = {sum, in} - {~{2'b0, six({1'b0, x})}, 1'b1};
    chained    = 5'(with_carry >> 1);
  endfunction

  // 22 bits as a number.
  function automatic logic [4:0] count22(input logic [21:0] x);
    count22 = chained({2'b0, six(x[5:0])}, x[10:6], x[11]);
    count22 = chained(count22, x[16:12], x[17]);
    count22 = chained(count22, {2'b0, x[20:18]}, x[21]);
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
      logic [65:0] lanes;
      logic [21:0] ones, twos;
      logic [4:0]  few, twice;
      logic [6:0]  total;
      assign lanes = 66'(data_i);
      for (i = 0; i < 22; i = i + 1) begin : gen_three
        assign ones[i] = ^lanes[3*i+:3];
        assign twos[i] = carry(lanes[3*i], lanes[3*i+1], lanes[3*i+2]);
      end
      assign few     = count22(ones);
      assign twice   = count22(twos);
      assign total   = {{2'b0, few[4:1]} + {1'b0, twice}, few[0]};
      assign count_o = total[COUNT_W-1:0];
      wire unused = &{1'b0, total, 1'b0};
    end else begin : gen_expression
      always_comb count_o = COUNT_W'($countones(data_i));
    end
  endgenerate
endmodule

`default_nettype wire
