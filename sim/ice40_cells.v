// SPDX-License-Identifier: Apache-2.0
// The cells of an iCE40 netlist, for Verilator: what `make netlist` simulates.
//
// Own models of what Lattice's iCE technology library documents, not the models that come with Yosys:
// those are what Icarus simulates the same netlist with. No register
// or memory has an initial value here, although an iCE40 starts its registers at 0: the simulation
// starts them at random, so a register that the reset misses is seen. A memory with contents is
// refused (it has no INIT_x parameter). SB_MAC16 is taken from Yosys.
`default_nettype none

module SB_LUT4 #(parameter [15:0] LUT_INIT = 16'd0) (output wire O, input wire I0, I1, I2, I3);
  wire [3:0] index = {I3, I2, I1, I0};
  assign O = LUT_INIT[index];
endmodule

module SB_CARRY (output wire CO, input wire I0, I1, CI);
  assign CO = (I0 & I1) | ((I0 | I1) & CI);
endmodule

module SB_DFF (output reg Q, input wire C, D);
  always @(posedge C) Q <= D;
endmodule

module SB_DFFE (output reg Q, input wire C, E, D);
  always @(posedge C) if (E) Q <= D;
endmodule

module SB_DFFSR (output reg Q, input wire C, R, D);
  always @(posedge C) Q <= D & ~R;
endmodule

module SB_DFFSS (output reg Q, input wire C, S, D);
  always @(posedge C) Q <= D | S;
endmodule

// The enable comes before the synchronous set or reset.
module SB_DFFESR (output reg Q, input wire C, E, R, D);
  always @(posedge C) if (E) Q <= D & ~R;
endmodule

module SB_DFFESS (output reg Q, input wire C, E, S, D);
  always @(posedge C) if (E) Q <= D | S;
endmodule

// 4096 bits as 256 words of 16. In mode M (0 to 3) a port is 16 >> M bits wide; the upper M address
// bits choose one bit out of each group of 1 << M, and each group has one pin. A write's mask bit
// of 1 leaves its bit alone, in mode 0 only. A read gives the words of before a write in the same
// cycle.
module SB_RAM40_4K #(parameter [1:0] WRITE_MODE = 2'd0, parameter [1:0] READ_MODE = 2'd0) (
  output wire [15:0] RDATA,
  input wire RCLK, RCLKE, RE, input wire [10:0] RADDR,
  input wire WCLK, WCLKE, WE, input wire [10:0] WADDR, input wire [15:0] MASK, WDATA
);
  reg [15:0] memory_q [0:255];
  reg [15:0] word_q;
  reg [2:0]  group_q;

  wire [15:0] enable, data, picked;
  generate
    case (WRITE_MODE)
      2'd0: assign enable = ~MASK;
      2'd1: assign enable = {8{2'd1 << WADDR[8]}};
      2'd2: assign enable = {4{4'd1 << WADDR[9:8]}};
      2'd3: assign enable = {2{8'd1 << WADDR[10:8]}};
    endcase
    case (WRITE_MODE)
      2'd0: assign data = WDATA;
      2'd1: assign data = (WDATA & 16'h5555) | (WDATA & 16'h5555) << 1;
      2'd2: assign data = {{4{WDATA[13]}}, {4{WDATA[9]}}, {4{WDATA[5]}}, {4{WDATA[1]}}};
      2'd3: assign data = {{8{WDATA[11]}}, {8{WDATA[3]}}};
    endcase
    case (READ_MODE)
      2'd0: assign picked = word_q;
      2'd1: assign picked = word_q >> group_q[0];
      2'd2: assign picked = word_q >> group_q[1:0];
      2'd3: assign picked = word_q >> group_q;
    endcase
    case (READ_MODE)
      2'd0: assign RDATA = picked;
      2'd1: assign RDATA = picked & 16'h5555;
      2'd2: assign RDATA = (picked & 16'h1111) << 1;
      2'd3: assign RDATA = (picked & 16'h0101) << 3;
    endcase
  endgenerate

  always @(posedge WCLK)
    if (WE && WCLKE)
      memory_q[WADDR[7:0]] <= (memory_q[WADDR[7:0]] & ~enable) | (data & enable);
  always @(posedge RCLK)
    if (RE && RCLKE) begin
      word_q  <= memory_q[RADDR[7:0]];
      group_q <= RADDR[10:8];
    end
endmodule

`default_nettype wire
