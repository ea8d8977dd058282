// SPDX-License-Identifier: Apache-2.0
// A layer's signature: the sum of CRC-32(address, word) over the words it wrote.
//
// Why: a sum does not depend on the order of the writes, the address makes a misplaced word show, so
// a host that knows what a layer should write can check a board at no cost.
//
// Contract: clear_i starts anew. valid_i takes a write: the address as four bytes, lowest first, then
// the word's bytes, those not enabled as zeros. busy_o: a write is still on its way into sum_o.
// Latency 2, one write a cycle.
`default_nettype none

module bitloom_signature #(
  parameter LANES = 32 // bits of a word
) (
  input  logic               clk_i,
  input  logic               rst_i,
  input  logic               clear_i,
  input  logic [LANES/8-1:0] enable_i, // bytes written; none: no write
  input  logic [15:0]        address_i,
  input  logic [LANES-1:0]   data_i,
  output logic               busy_o,
  output logic [31:0]        sum_o
);
  localparam WIDTH = 32 + LANES;
  localparam logic [31:0] POLYNOMIAL = 32'hEDB88320;

  function automatic logic [31:0] crc32(input logic [WIDTH-1:0] message);
    logic [31:0] crc;
    crc = '1;
    for (int i = 0; i < WIDTH; i++)
      crc = (crc >> 1) ^ (crc[0] ^ message[i] ? POLYNOMIAL : 32'h0);
    crc32 = ~crc;
  endfunction

  logic             valid, valid_q;
  logic [31:0]      crc_q;
  logic [LANES-1:0] written;
  assign valid  = enable_i != '0;
  always_comb begin
    written = 'x;
    if (valid)
      for (int b = 0; b < LANES / 8; b++) written[b*8+:8] = data_i[b*8+:8] & {8{enable_i[b]}};
  end
  assign busy_o = valid || valid_q;
  always_ff @(posedge clk_i)
    if (rst_i) valid_q <= 1'b0;
    else valid_q <= valid;
  always_ff @(posedge clk_i) if (valid) crc_q <= crc32({written, 16'd0, address_i});
  always_ff @(posedge clk_i)
    if (clear_i) sum_o <= '0;
    else if (valid_q) sum_o <= sum_o + crc_q;
endmodule

`default_nettype wire
