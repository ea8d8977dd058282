// SPDX-License-Identifier: Apache-2.0
// AXI4-Lite registers: identity, control, status, interrupt, counters.
//
// A host without a stream, or one whose stream is stuck, still sees what the device is and does, and
// can reset it. One transaction of each direction at a time; address and data of a write may come in
// either order.
//
// Contract: register addresses as in the contract; others read as 0 and ignore writes. Responses are
// always OKAY. control_o: bit 0 soft reset, bit 1 interrupt enable.
`default_nettype none
`include "bitloom_contract.vh"

module bitloom_axil #(
  parameter ROWS = 8,
  parameter COLS = 8,
  parameter LANES = 32,
  parameter ACC_W = 32,
  parameter WEIGHT_DEPTH = 8192,
  parameter PARAM_DEPTH = 128,
  parameter K_DEPTH = 4096,
  parameter PASS_DEPTH = 512,
  parameter TILE_DEPTH = 256,
  parameter ACT_DEPTH = 16384,
  parameter ROW_DEPTH = 1024,
  parameter TABLE_DEPTH = 2048,
  parameter GATHER_WORDS = 1
) (
  input  logic        clk_i,
  input  logic        rst_i,
  input  logic        s_axil_awvalid,
  output logic        s_axil_awready,
  input  logic [7:0]  s_axil_awaddr,
  input  logic        s_axil_wvalid,
  output logic        s_axil_wready,
  input  logic [31:0] s_axil_wdata,
  input  logic [3:0]  s_axil_wstrb,
  output logic        s_axil_bvalid,
  input  logic        s_axil_bready,
  output logic [1:0]  s_axil_bresp,
  input  logic        s_axil_arvalid,
  output logic        s_axil_arready,
  input  logic [7:0]  s_axil_araddr,
  output logic        s_axil_rvalid,
  input  logic        s_axil_rready,
  output logic [31:0] s_axil_rdata,
  output logic [1:0]  s_axil_rresp,
  output logic [1:0]  control_o,
  input  logic [31:0] status_i,
  input  logic [1:0]  irq_set_i,
  output logic        irq_o,
  // the counters: word counter_o is taken where counter_take_i is 1 and there in the next cycle
  output logic [4:0]  counter_o,
  input  logic        counter_take_i,
  input  logic [31:0] counter_i,
  // the identity words, for the stream's answer
  input  logic [3:0]  identity_index_i,
  output logic [31:0] identity_o
);
  function automatic logic [31:0] identity(input logic [3:0] index);
    case (index)
      4'd0: identity = `BITLOOM_IDENTITY;
      4'd1: identity = `BITLOOM_VERSION;
      4'd2: identity = ROWS;
      4'd3: identity = COLS;
      4'd4: identity = LANES;
      4'd5: identity = ACC_W;
      4'd6: identity = WEIGHT_DEPTH;
      4'd7: identity = PARAM_DEPTH;
      4'd8: identity = K_DEPTH;
      4'd9: identity = PASS_DEPTH;
      4'd10: identity = TILE_DEPTH;
      4'd11: identity = ACT_DEPTH;
      4'd12: identity = ROW_DEPTH;
      4'd13: identity = TABLE_DEPTH;
      4'd14: identity = GATHER_WORDS;
      default: identity = '0;
    endcase
  endfunction
  assign identity_o = identity(identity_index_i);

  // ---- Writes ------------------------------------------------------------------------------------
  logic        aw_q, w_q, write;
  logic [7:0]  awaddr_q;
  logic [31:0] wdata_q;
  logic        low_byte_q;
  assign s_axil_awready = !aw_q && !s_axil_bvalid;
  assign s_axil_wready  = !w_q && !s_axil_bvalid;
  assign s_axil_bresp   = 2'b00;
  assign write          = aw_q && w_q && !s_axil_bvalid;
  always_ff @(posedge clk_i)
    if (rst_i) begin
      aw_q <= 1'b0;
      w_q <= 1'b0;
      s_axil_bvalid <= 1'b0;
    end else begin
      if (write) begin
        aw_q <= 1'b0;
        w_q <= 1'b0;
        s_axil_bvalid <= 1'b1;
      end else begin
        if (s_axil_awvalid && s_axil_awready) aw_q <= 1'b1;
        if (s_axil_wvalid && s_axil_wready) w_q <= 1'b1;
        if (s_axil_bready) s_axil_bvalid <= 1'b0;
      end
    end
  always_ff @(posedge clk_i) begin
    if (s_axil_awvalid && s_axil_awready) awaddr_q <= s_axil_awaddr;
    if (s_axil_wvalid && s_axil_wready) begin
      wdata_q    <= s_axil_wdata;
      low_byte_q <= s_axil_wstrb[0];
    end
  end

  logic [1:0] irq_q;
  logic       clear_irq;
  assign clear_irq = write && low_byte_q && awaddr_q == `BITLOOM_REG_IRQ;
  always_ff @(posedge clk_i)
    if (rst_i) begin
      control_o <= '0;
      irq_q     <= '0;
    end else begin
      if (write && low_byte_q && awaddr_q == `BITLOOM_REG_CONTROL) control_o <= wdata_q[1:0];
      irq_q <= (clear_irq ? irq_q & ~wdata_q[1:0] : irq_q) | irq_set_i;
    end
  assign irq_o = control_o[1] && irq_q != '0;

  // ---- Reads -------------------------------------------------------------------------------------
  // The address is kept, so that a counter has time to come from its memory.
  logic        reading_q, fetched_q, is_counter, is_word, ready;
  logic [7:2]  araddr_q;
  logic [31:0] value;
  assign is_counter = araddr_q >= 6'(`BITLOOM_REG_COUNTER_BASE >> 2);
  assign counter_o  = araddr_q[6:2];
  assign is_word    = counter_o < 5'(2 * `BITLOOM_COUNTER_COUNT);
  assign ready      = reading_q && (!is_counter || fetched_q);
  always_comb
    if (is_counter) value = is_word ? counter_i : '0;
    else if (araddr_q <= 6'(`BITLOOM_REG_GATHER_WORDS >> 2)) value = identity(araddr_q[5:2]);
    else
      case (araddr_q)
        6'(`BITLOOM_REG_CONTROL >> 2): value = {30'd0, control_o};
        6'(`BITLOOM_REG_STATUS >> 2): value = status_i;
        6'(`BITLOOM_REG_IRQ >> 2): value = {30'd0, irq_q};
        default: value = '0;
      endcase
  assign s_axil_arready = !reading_q && !s_axil_rvalid;
  assign s_axil_rresp   = 2'b00;
  always_ff @(posedge clk_i)
    if (rst_i) begin
      reading_q     <= 1'b0;
      fetched_q     <= 1'b0;
      s_axil_rvalid <= 1'b0;
    end else begin
      reading_q <= (reading_q && !ready) || (s_axil_arvalid && s_axil_arready);
      fetched_q <= reading_q && counter_take_i && !ready;
      if (ready) s_axil_rvalid <= 1'b1;
      else if (s_axil_rready) s_axil_rvalid <= 1'b0;
    end
  always_ff @(posedge clk_i) if (s_axil_arvalid && s_axil_arready) araddr_q <= s_axil_araddr[7:2];
  always_ff @(posedge clk_i) if (ready) s_axil_rdata <= value;

  wire unused = &{1'b0, wdata_q, s_axil_wstrb, s_axil_araddr, 1'b0};
endmodule

`default_nettype wire
