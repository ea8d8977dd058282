// SPDX-License-Identifier: Apache-2.0
// One processing element: a dot product of bits, accumulated by Horner's rule over bit-planes.
//
//        w_i, shadow_i
//             |
//   a_i  --> +----+ --> a_o         acc    = (acc << shift) +- popcount(a AND w), 0 after a tile
//   ctrl_i ->| PE |                 shadow = acc of a tile's last step, then what stands above
//            +----+
//             |
//        w_o, shadow_o
//
// a moves east, w moves south, one element a cycle. A tile may start in the cycle after the previous
// one's last step: the finished value waits in the shadow register.
//
// acc - p is ~(~acc + p), so a plane that subtracts works on the complement, which is left standing
// in the register; who makes the control knows which of the two it is (bitloom_array). That is one
// table of six inputs and one place of a carry chain for each bit: the shift, the complement and the
// addition.
//
// ctrl = {valid, shift, turn, held, last}: held says that acc stands complemented, turn that it is to
// be the other way round in this step. Where nothing is to be added a is 0. last comes with valid
// only, or from a reset, after which every element is as after a last step. A tile begins after the
// last step of another, with held 0.
//
// Without DRAINS the shadow register holds the sum as it stands, complemented if turn differs from
// held. With it, in the bottom row, it holds true sums, its own and those it takes from above: after a
// cycle with drain_i it takes shadow_i, complemented if its own sum was, in each cycle until its own
// next capture, which wins.
// Latency one cycle to every output. Nothing but control is reset.
`default_nettype none

module bitloom_pe #(
    parameter LANES = 32,  // bits of the reduction in a step
    parameter ACC_W = 32,  // accumulator bits
    parameter DRAINS = 0   // 0: drain_i and shadow_i are not looked at
) (
    input  logic             clk_i,
    input  logic             rst_i,
    input  logic [LANES-1:0] a_i,
    input  logic [LANES-1:0] w_i,
    input  logic [4:0]       ctrl_i,
    output logic [LANES-1:0] a_o,
    output logic [LANES-1:0] w_o,
    input  logic             drain_i,   // from the next cycle on the shadow takes shadow_i
    output logic             capture_o, // this element captures in this cycle
    input  logic [ACC_W-1:0] shadow_i,
    output logic [ACC_W-1:0] shadow_o
);
  localparam COUNT_W = $clog2(LANES + 1);

  logic valid, shift, turn, held, last;
  assign {valid, shift, turn, held, last} = ctrl_i;

  logic [COUNT_W-1:0] count;
  bitloom_popcount #(.LANES(LANES)) u_popcount (.data_i(a_i & w_i), .count_o(count));

  logic [ACC_W-1:0] acc_q;
  logic             draining;  // shadow_o takes shadow_i
  logic             minus;     // what it takes is complemented
  assign capture_o = last;

  // One step of Horner's rule, in one block: one look at valid in simulation, which rests otherwise.
  always_ff @(posedge clk_i) begin : element
    /* verilator tracing_off */  // stays in a processor's register
    logic [ACC_W-1:0] sum;
    /* verilator tracing_on */
    if (valid) begin
      sum = ((shift ? {acc_q[ACC_W-2:0], held} : acc_q) ^ {ACC_W{turn}}) + ACC_W'(count);
      acc_q <= sum;
    end else sum = 'x;
    if (last) acc_q <= '0;
    if (last || draining) shadow_o <= (last ? sum : shadow_i) ^ {ACC_W{minus}};
  end

  always_ff @(posedge clk_i) begin
    a_o <= a_i;
    w_o <= w_i;
  end

  generate
    if (DRAINS != 0) begin : gen_drains
      logic draining_q, minus_q;
      assign draining = draining_q;
      assign minus    = last ? turn ^ held : minus_q;
      always_ff @(posedge clk_i) if (last) minus_q <= turn ^ held;
      always_ff @(posedge clk_i)
        if (rst_i) draining_q <= 1'b0;
        else if (drain_i) draining_q <= 1'b1;
        else if (last) draining_q <= 1'b0;
    end else begin : gen_stays
      assign draining = 1'b0;
      assign minus    = 1'b0;
      wire unused = &{1'b0, rst_i, drain_i, shadow_i, 1'b0};
    end
  endgenerate
endmodule

`default_nettype wire
