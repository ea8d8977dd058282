// SPDX-License-Identifier: Apache-2.0
// Running CRC-32 over 32-bit words, each taken as four bytes, lowest byte first.
//
// Why: both directions of the stream carry the same checksum: the IEEE one, reflected polynomial
// 0xEDB88320, register all ones at the start, complemented at the end.
//
// Contract: valid_i takes data_i; clear_i starts anew, and a word taken in the same cycle is the
// first. crc_o is the finished checksum of all words taken up to the previous cycle.
// Latency 1, one word a cycle.
`default_nettype none

module bitloom_crc32 (
  input  logic        clk_i,
  input  logic        clear_i,
  input  logic        valid_i,
  input  logic [31:0] data_i,
  output logic [31:0] crc_o
);
  localparam logic [31:0] POLYNOMIAL = 32'hEDB88320;

  logic [31:0] crc_q;

  function automatic logic [31:0] step(input logic [31:0] crc, input logic [31:0] data);
    step = crc ^ data;
    for (int i = 0; i < 32; i++) step = (step >> 1) ^ (step[0] ? POLYNOMIAL : 32'h0);
  endfunction

  always_ff @(posedge clk_i) begin
    if (valid_i) crc_q <= step(clear_i ? '1 : crc_q, data_i);
    else if (clear_i) crc_q <= '1;
  end

  assign crc_o = ~crc_q;
endmodule

`default_nettype wire
