// SPDX-License-Identifier: Apache-2.0
// Says of every cycle what it was spent on.
//
// Exactly one reason a cycle, by fixed priority, so the reasons add up to the cycles; bottlenecks are
// read off, not guessed. The order is the contract's.
//
//   cycle's reason -> eight small counters -> (every PERIOD cycles) -> memory of 64-bit counters
//                                                                   '-> memory of the snapshot
//
// Why a memory: nine counters of 64 bits with an increment and a multiplexer each are a large part of
// a small device. The small counters hold a round of PERIOD cycles; during the next round one adder
// of 32 bits adds them to the memory, low half and high half. CYCLES grows by PERIOD a round.
//
// Contract: snapshot_i is held until snapshot_done_o. The counters as they were PERIOD cycles before
// that pulse can then be read at word_i (low word of counter 0 first) until the next one: word_o,
// latency 1. With snapshot_clear_i they count from 0 again from that same cycle on. clear_i, while it
// is 1 and to the end of its round, keeps them at 0. live_i names a word of the running counters;
// where live_take_o is 1, in the last cycle of each round, it is being read, and live_o shows it in
// the next cycle, as it was PERIOD cycles ago. rst_i starts the rounds; hold clear_i with it.
`default_nettype none
`include "bitloom_contract.vh"

module bitloom_counters #(
  parameter int HALF = 32  // bits of a word; less only to see the carry in a test
) (
  input  logic        clk_i,
  input  logic        rst_i,
  input  logic        clear_i,
  input  logic        run_i,           // a layer is running; the next three tell what it does
  input  logic        issue_i,
  input  logic        requant_i,
  input  logic        gather_i,
  input  logic        list_load_i,     // a weight, parameter or list load under way
  input  logic        packet_i,        // any other packet under way
  input  logic        send_i,
  input  logic        snapshot_i,
  input  logic        snapshot_clear_i,
  output logic        snapshot_done_o,
  input  logic [4:0]  word_i,
  output logic [HALF-1:0] word_o,
  input  logic [4:0]  live_i,
  output logic        live_take_o,
  output logic [HALF-1:0] live_o
);
  localparam int COUNTERS = `BITLOOM_COUNTER_COUNT;
  localparam int WORDS = 2 * COUNTERS;
  localparam int PERIOD = WORDS + 2;  // a word read each cycle, the last one added, live_i read

  logic [COUNTERS-1:0] now  /* verilator public_flat_rd */;  // for the simulation's profile
  always_comb begin
    now = '0;
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

  // ---- A round -----------------------------------------------------------------------------------
  logic [4:0] slot_q;
  logic       turn;                    // the last cycle of a round
  logic       clear_q;                 // clear_i was seen in this round
  logic       zero_q;                  // this round writes zeros
  logic       snap_d, snap_q;          // this round takes the snapshot
  assign turn = slot_q == 5'(PERIOD - 1);
  always_ff @(posedge clk_i) begin
    slot_q <= turn || rst_i ? '0 : slot_q + 5'd1;
    clear_q <= clear_i || (clear_q && !turn);
    if (turn || rst_i) zero_q <= rst_i || clear_i || clear_q || (snap_d && snapshot_clear_i);
    if (turn || rst_i) snap_q <= snap_d && !rst_i;
  end
  assign snap_d = snapshot_i && !snap_q;
  // The first cycle that the snapshot leaves out; for the simulation's profile.
  wire taken  /* verilator public_flat_rd */ = snap_d && turn;
  assign snapshot_done_o = snap_q && turn;

  // The small counters, and what they held at the end of the last round.
  logic [COUNTERS*5-1:0] held;
  assign held[`BITLOOM_COUNTER_CYCLES*5+:5] = 5'(PERIOD);
  wire unused = &{1'b0, now[`BITLOOM_COUNTER_CYCLES], 1'b0};  // every cycle is one
  genvar k;
  generate
    for (k = 0; k < COUNTERS; k = k + 1) begin : gen_counter
      if (k != `BITLOOM_COUNTER_CYCLES) begin : gen_reason
        logic [4:0] count_q, held_q;
        always_ff @(posedge clk_i)
          if (turn || rst_i) begin
            count_q <= {4'd0, now[k]};
            held_q  <= count_q;
          end else if (now[k]) count_q <= count_q + 5'd1;
        assign held[k*5+:5] = held_q;
      end
    end
  endgenerate

  // ---- The counters ------------------------------------------------------------------------------
  logic [4:0]  word_q;       // the word read in the last cycle
  logic        adding_q, carry_q, carry;
  logic [4:0]  addend;
  logic [HALF-1:0] old, sum;
  always_ff @(posedge clk_i) begin
    word_q   <= slot_q;
    adding_q <= slot_q < 5'(WORDS) && !rst_i;
    carry_q  <= carry;
  end
  always_comb begin
    addend = '0;
    for (int i = 0; i < COUNTERS; i++) if (word_q[4:1] == 4'(i)) addend = held[i*5+:5];
    if (word_q[0]) addend = {4'd0, carry_q};
  end
  assign {carry, sum} = {1'b0, old} + (HALF + 1)'(addend);
  assign live_take_o  = turn;
  assign live_o       = old;
  bitloom_ram #(.WIDTH(HALF), .DEPTH(32)) u_counters (
    .clk_i, .we_i(adding_q), .waddr_i(word_q), .wdata_i(sum & {HALF{!zero_q}}), .re_i(1'b1),
    .raddr_i(live_take_o ? live_i : slot_q), .rdata_o(old)
  );
  bitloom_ram #(.WIDTH(HALF), .DEPTH(32)) u_snapshot (
    .clk_i, .we_i(adding_q && snap_q), .waddr_i(word_q), .wdata_i(sum), .re_i(1'b1),
    .raddr_i(word_i), .rdata_o(word_o)
  );
endmodule

`default_nettype wire
