// SPDX-License-Identifier: Apache-2.0
// Unsigned division, a quotient bit a cycle.
//
// Why: a load's length must be a whole number of units of 1 to 9 bytes times the columns it goes
// to, and the number of words it writes decides whether it stays inside its memory.
//
// Contract: start_i takes the operands; done_o rises WIDTH cycles later, WIDTH/2 where the upper
// half of the dividend is zero, and stays, with the results, until the next start_i. A divisor of 0 gives results without meaning.
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
  localparam int HALF = WIDTH / 2;
  logic                       short;
  logic [$clog2(WIDTH+1)-1:0] left_q;
  logic [DIVISOR_WIDTH:0]     high, rest;
  logic                       less;

  // A step moves one dividend bit into the remainder and one quotient bit in behind it.
  always_comb begin
    {high, less, rest} = 'x;
    if (!done_o) begin  // otherwise nobody looks, and simulation rests
      high         = {remainder_o, quotient_o[WIDTH-1]};
      {less, rest} = {1'b0, high} - {2'b00, divisor_i};
    end
  end

  assign short = dividend_i[WIDTH-1:HALF] == '0;
  assign done_o = left_q == '0;

  always_ff @(posedge clk_i) begin
    if (start_i) begin
      quotient_o <= short ? dividend_i << HALF : dividend_i;
      remainder_o <= '0;
    end else if (!done_o) begin
      quotient_o <= {quotient_o[WIDTH-2:0], !less};
      remainder_o <= less ? high[DIVISOR_WIDTH-1:0] : rest[DIVISOR_WIDTH-1:0];
    end
  end

  always_ff @(posedge clk_i) begin
    if (start_i) left_q <= short ? ($clog2(WIDTH+1))'(HALF) : ($clog2(WIDTH+1))'(WIDTH);
    else if (!done_o) left_q <= left_q - 1'b1;
    if (rst_i) left_q <= '0;
  end

  wire unused = &{1'b0, high[DIVISOR_WIDTH], rest[DIVISOR_WIDTH], 1'b0}; // 0: less than the divisor
endmodule

`default_nettype wire
