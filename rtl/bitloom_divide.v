// SPDX-License-Identifier: Apache-2.0
// Unsigned division, two quotient bits a cycle.
//
// Why: a load's length must be a whole number of units of 1 to 9 bytes times the columns it goes
// to, and the number of words it writes decides whether it stays inside its memory.
//
// Contract: start_i takes the operands; done_o rises WIDTH/2 cycles later and stays, with the
// results, until the next start_i. A divisor of 0 gives results without meaning.
`default_nettype none

module bitloom_divide #(
  parameter int WIDTH = 24,        // bits of dividend and quotient, even
  parameter int DIVISOR_WIDTH = 12 // bits of divisor and remainder
) (
  input  logic                     clk_i,
  input  logic                     rst_i,
  input  logic                     start_i,
  input  logic [WIDTH-1:0]         dividend_i,
  input  logic [DIVISOR_WIDTH-1:0] divisor_i, // stable until done_o
  output logic                     done_o,
  output logic [WIDTH-1:0]         quotient_o,
  output logic [DIVISOR_WIDTH-1:0] remainder_o
);
  localparam int STEPS = WIDTH / 2;

  logic [$clog2(STEPS+1)-1:0] left_q;
  logic [DIVISOR_WIDTH:0]     high1, high2, rest1, rest2;
  logic                       bit1, bit2;

  // Each step moves one dividend bit into the remainder and one quotient bit in behind it.
  assign high1 = {remainder_o, quotient_o[WIDTH-1]};
  assign bit1 = high1 >= {1'b0, divisor_i};
  assign rest1 = bit1 ? high1 - {1'b0, divisor_i} : high1;
  assign high2 = {rest1[DIVISOR_WIDTH-1:0], quotient_o[WIDTH-2]};
  assign bit2 = high2 >= {1'b0, divisor_i};
  assign rest2 = bit2 ? high2 - {1'b0, divisor_i} : high2;

  assign done_o = left_q == '0;

  always_ff @(posedge clk_i) begin
    if (start_i) begin
      quotient_o <= dividend_i;
      remainder_o <= '0;
    end else if (!done_o) begin
      quotient_o <= {quotient_o[WIDTH-3:0], bit1, bit2};
      remainder_o <= rest2[DIVISOR_WIDTH-1:0];
    end
  end

  always_ff @(posedge clk_i) begin
    if (start_i) left_q <= $clog2(STEPS+1)'(STEPS);
    else if (!done_o) left_q <= left_q - 1'b1;
    if (rst_i) left_q <= '0;
  end

  wire unused = &{1'b0, rest1[DIVISOR_WIDTH], rest2[DIVISOR_WIDTH], 1'b0}; // 0: less than the divisor
endmodule

`default_nettype wire
