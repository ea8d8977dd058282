// SPDX-License-Identifier: Apache-2.0
// One processing element: a dot product of bits, accumulated by Horner's rule over bit-planes.
//
//        w_i, shadow_i
//             |
//   a_i  --> +----+ --> a_o         sum    = (first ? 0 : acc << shift) +- popcount(a AND w)
//   live_i ->| PE |                 shadow = sum of a tile's last step, then what stands above
//   ctrl_i ->+----+
//             |
//        w_o, shadow_o
//
// a moves east, w moves south, one element a cycle. A tile may start in the cycle after the previous
// one's last step: the finished value waits in the shadow register. With DRAINS, after a cycle with
// drain_i that register takes shadow_i in each cycle, until the element's own next capture, which
// wins. The array drains its bottom row only.
//
// ctrl = {valid, first, shift, neg, last}; without live the step shifts but adds nothing. live and last
// come with valid only.
// Latency one cycle to every output. Nothing but control is reset.
`default_nettype none

module bitloom_pe #(
    parameter LANES = 32,  // bits of the reduction in a step
    parameter ACC_W = 32,  // accumulator bits
    parameter DRAINS = 1   // 0: drain_i and shadow_i are not looked at
) (
    input  logic             clk_i,
    input  logic             rst_i,
    input  logic [LANES-1:0] a_i,
    input  logic [LANES-1:0] w_i,
    input  logic             live_i,
    input  logic [4:0]       ctrl_i,
    output logic [LANES-1:0] a_o,
    output logic [LANES-1:0] w_o,
    input  logic             drain_i,   // from the next cycle on the shadow takes shadow_i
    output logic             capture_o, // this element captures in this cycle
    input  logic [ACC_W-1:0] shadow_i,
    output logic [ACC_W-1:0] shadow_o
);
  localparam COUNT_W = $clog2(LANES + 1);

  logic valid, first, shift, neg, last;
  assign {valid, first, shift, neg, last} = ctrl_i;

  logic [COUNT_W-1:0] count;
  bitloom_popcount #(.LANES(LANES)) u_popcount (.data_i(a_i & w_i), .count_o(count));

  // One step of Horner's rule, with one adder for both signs: -p is ~p + 1. Only looked at with valid:
  // simulation rests otherwise.
  logic [ACC_W-1:0] acc_q, sum;
  always_comb begin
    sum = 'x;
    if (valid)
      sum = (first ? '0 : acc_q << shift) + ((live_i ? ACC_W'(count) : '0) ^ {ACC_W{neg}}) + ACC_W'(neg);
  end

  assign capture_o = last;

  logic draining;
  always_ff @(posedge clk_i) begin
    if (valid) begin
      acc_q <= sum;
      a_o   <= a_i;
      w_o   <= w_i;
    end
    if (last) shadow_o <= sum;
    else if (draining) shadow_o <= shadow_i;
  end

  generate
    if (DRAINS) begin : gen_drains
      always_ff @(posedge clk_i)
        if (rst_i) draining <= 1'b0;
        else if (drain_i) draining <= 1'b1;
        else if (capture_o) draining <= 1'b0;
    end else begin : gen_stays
      assign draining = 1'b0;
      wire unused = &{1'b0, rst_i, drain_i, shadow_i, 1'b0};
    end
  endgenerate
endmodule

`default_nettype wire
