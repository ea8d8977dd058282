// SPDX-License-Identifier: Apache-2.0
// Says of every cycle what it was spent on.
//
// Exactly one reason a cycle, by fixed priority, so the reasons add up to the cycles; bottlenecks are
// read off, not guessed. The order is the contract's.
//
// counters_o: 64 bits each, in the contract's order. Latency one cycle.
`default_nettype none
`include "bitloom_contract.vh"

module bitloom_counters (
  input  logic clk_i,
  input  logic rst_i,
  input  logic clear_i,
  input  logic run_i,           // a layer is running; the next three tell what it does
  input  logic issue_i,
  input  logic requant_i,
  input  logic gather_i,
  input  logic list_load_i,     // a weight, parameter or list load under way
  input  logic packet_i,        // any other packet under way
  input  logic send_i,
  output logic [`BITLOOM_COUNTER_COUNT*64-1:0] counters_o
);
  logic [`BITLOOM_COUNTER_COUNT-1:0] now;
  always_comb begin
    now = '0;
    now[`BITLOOM_COUNTER_CYCLES] = 1'b1;
    if (run_i) begin
      if (issue_i) now[`BITLOOM_COUNTER_ISSUE] = 1'b1;
      else if (requant_i) now[`BITLOOM_COUNTER_REQUANT] = 1'b1;
      else if (gather_i) now[`BITLOOM_COUNTER_GATHER] = 1'b1;
      else now[`BITLOOM_COUNTER_DRAIN] = 1'b1;
    end else if (list_load_i) now[`BITLOOM_COUNTER_WEIGHTS] = 1'b1;
    else if (packet_i) now[`BITLOOM_COUNTER_STREAM_IN] = 1'b1;
    else if (send_i) now[`BITLOOM_COUNTER_STREAM_OUT] = 1'b1;
    else now[`BITLOOM_COUNTER_IDLE] = 1'b1;
  end

  genvar k;
  generate
    for (k = 0; k < `BITLOOM_COUNTER_COUNT; k = k + 1) begin : gen_counter
      logic [63:0] count_q;
      always_ff @(posedge clk_i)
        if (rst_i || clear_i) count_q <= '0;
        else if (now[k]) count_q <= count_q + 64'd1;
      assign counters_o[k*64+:64] = count_q;
    end
  endgenerate
endmodule

`default_nettype wire
