// SPDX-License-Identifier: Apache-2.0
// Stream register that cuts every combinational path between its two sides.
//
// Why: a stream enters and leaves the chip through long wires. With ready registered as well as
// data, neither side's timing depends on the other's. The price is one spare word: ready falls one
// cycle late, and the word that arrives in that cycle waits in the spare register.
//
// Contract: valid/ready on both sides, a word moves when both are 1; nothing is lost, doubled or
// reordered; once m_valid_o is 1 it stays, with the same data, until m_ready_i.
// Latency 1, one word a cycle.
`default_nettype none

module bitloom_skid #(
  parameter int WIDTH = 32 // bits of a word
) (
  input  logic             clk_i,
  input  logic             rst_i,
  input  logic             s_valid_i,
  output logic             s_ready_o,
  input  logic [WIDTH-1:0] s_data_i,
  output logic             m_valid_o,
  input  logic             m_ready_i,
  output logic [WIDTH-1:0] m_data_o
);
  logic             spare_q;
  logic [WIDTH-1:0] spare_data_q;
  logic             move;

  assign move = !m_valid_o || m_ready_i; // the output register can take a word

  always_ff @(posedge clk_i) begin
    if (move) m_data_o <= spare_q ? spare_data_q : s_data_i;
  end

  always_ff @(posedge clk_i) begin
    if (s_valid_i && s_ready_o && !move) spare_data_q <= s_data_i;
  end

  always_ff @(posedge clk_i) begin
    if (move) m_valid_o <= spare_q || (s_valid_i && s_ready_o);
    if (move) spare_q <= 1'b0;
    else if (s_valid_i && s_ready_o) spare_q <= 1'b1;
    s_ready_o <= move || (s_ready_o && !s_valid_i);
    if (rst_i) begin
      m_valid_o <= 1'b0;
      spare_q <= 1'b0;
      s_ready_o <= 1'b0;
    end
  end
endmodule

`default_nettype wire
