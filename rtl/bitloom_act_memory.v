// SPDX-License-Identifier: Apache-2.0
// Activation memory: one write port for the engine, which goes first, and for loads, one read port.
// With READ_WORDS 2 the read port gives two words that lie side by side, at any address. They then
// come from two banks, even and odd addresses, and a load waits only for the bank that the engine
// writes.
//
// Contract: as bitloom_ram. re_i[k] reads word raddr_i + k, which rdata_o[k*LANES +: LANES] shows
// one cycle later; word 0 holds until the next read of anything. Without re_i[1] both show word 0. A load writes whole words, in the
// cycle in which load_ready_o is 1.
`default_nettype none

module bitloom_act_memory #(
    parameter LANES = 32,
    parameter ACT_DEPTH = 16384,  // words; even with READ_WORDS 2
    parameter READ_WORDS = 1      // 1 or 2
) (
    input  logic                         clk_i,
    input  logic [LANES/8-1:0]           we_i,      // bytes
    input  logic [$clog2(ACT_DEPTH)-1:0] waddr_i,
    input  logic [LANES-1:0]             wdata_i,
    input  logic                         load_we_i,
    output logic                         load_ready_o,
    input  logic [$clog2(ACT_DEPTH)-1:0] load_waddr_i,
    input  logic [LANES-1:0]             load_wdata_i,
    input  logic [READ_WORDS-1:0]        re_i,
    input  logic [$clog2(ACT_DEPTH)-1:0] raddr_i,
    output logic [READ_WORDS*LANES-1:0]  rdata_o
);
  localparam AW = $clog2(ACT_DEPTH);
  logic writes;
  assign writes = we_i != '0;
  generate
    if (READ_WORDS == 1) begin : gen_one
      bitloom_ram #(.WIDTH(LANES), .DEPTH(ACT_DEPTH), .BYTE(8)) u_ram (
          .clk_i,
          .we_i(writes ? we_i : {LANES / 8{load_we_i}}),
          .waddr_i(writes ? waddr_i : load_waddr_i),
          .wdata_i(writes ? wdata_i : load_wdata_i),
          .re_i, .raddr_i, .rdata_o
      );
      assign load_ready_o = !writes;
    end else begin : gen_two
      logic             writes_even, writes_odd;
      assign writes_even  = writes && !waddr_i[0];
      assign writes_odd   = writes && waddr_i[0];
      assign load_ready_o = load_waddr_i[0] ? !writes_odd : !writes_even;
      logic             odd;  // word 0 is in the odd bank
      logic             odd_q, next_odd_q;  // where words 0 and 1 come from
      logic [LANES-1:0] even_data, odd_data;
      logic [AW-2:0]    even_address;
      assign odd          = raddr_i[0];
      assign even_address = raddr_i[AW-1:1] + (AW - 1)'(odd);
      always_ff @(posedge clk_i)
        if (re_i != '0) begin
          odd_q      <= odd;
          next_odd_q <= odd ^ re_i[1];
        end
      bitloom_ram #(.WIDTH(LANES), .DEPTH(ACT_DEPTH / 2), .BYTE(8)) u_even (
          .clk_i,
          .we_i(writes_even ? we_i : {LANES / 8{load_we_i && !load_waddr_i[0]}}),
          .waddr_i(writes_even ? waddr_i[AW-1:1] : load_waddr_i[AW-1:1]),
          .wdata_i(writes_even ? wdata_i : load_wdata_i),
          .re_i(odd ? re_i[1] : re_i[0]),
          .raddr_i(even_address),
          .rdata_o(even_data)
      );
      bitloom_ram #(.WIDTH(LANES), .DEPTH(ACT_DEPTH / 2), .BYTE(8)) u_odd (
          .clk_i,
          .we_i(writes_odd ? we_i : {LANES / 8{load_we_i && load_waddr_i[0]}}),
          .waddr_i(writes_odd ? waddr_i[AW-1:1] : load_waddr_i[AW-1:1]),
          .wdata_i(writes_odd ? wdata_i : load_wdata_i),
          .re_i(odd ? re_i[0] : re_i[1]),
          .raddr_i(raddr_i[AW-1:1]),
          .rdata_o(odd_data)
      );
      assign rdata_o = {next_odd_q ? odd_data : even_data, odd_q ? odd_data : even_data};
    end
  endgenerate
endmodule

`default_nettype wire
