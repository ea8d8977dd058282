// SPDX-License-Identifier: Apache-2.0
// The engine: runs one layer from a descriptor.
//
//                  +---------- lists ------------+
//                  v                             |
//   activations -> gather -> (row buffers) -> sequencer -> datapath -> activations
//                  ^              half given back   |steps
//                  +--------------------------------+
//
// It joins the three and owns a layer's life: start, run, drain, done; or, after a fault, stop. All
// memories are outside, one cycle of latency, always granted, so that a layer's cycles depend on
// nothing but the layer.
//
// Contract: start_i only while ready_o; desc_i stable until done_o, which pulses when the last write
// was made, with faults_o (0: the layer is good). After a fault everything inside is reset and the
// output region is unspecified.
`default_nettype none
`include "bitloom_contract.vh"

module bitloom_engine #(
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
    parameter GATHER_WORDS = 1
) (
    input  logic                                clk_i,
    input  logic                                rst_i,
    input  logic                                start_i,
    output logic                                ready_o,
    input  logic [`BITLOOM_DESCRIPTOR_BITS-1:0] desc_i,
    output logic                                done_o,
    output logic [7:0]                          faults_o,
    output logic                                active_o,
    output logic                                issue_o,
    output logic                                stall_requant_o,
    output logic                                stall_gather_o,
    output logic                                tile_re_o,
    output logic [15:0]                         tile_addr_o,
    input  logic [63:0]                         tile_data_i,
    output logic                                pass_re_o,
    output logic [15:0]                         pass_addr_o,
    input  logic [63:0]                         pass_data_i,
    output logic                                k_re_o,
    output logic [15:0]                         k_addr_o,
    input  logic [15:0]                         k_data_i,
    output logic [COLS-1:0]                     weight_re_o,
    output logic [COLS*16-1:0]                  weight_addr_o,
    input  logic [COLS*LANES-1:0]               weight_data_i,
    output logic [COLS-1:0]                     param_re_o,
    output logic [COLS*16-1:0]                  param_addr_o,
    input  logic [COLS*72-1:0]                  param_data_i,
    output logic [GATHER_WORDS-1:0]             act_re_o,     // of words act_raddr_o, +1
    output logic [15:0]                         act_raddr_o,
    input  logic [GATHER_WORDS*LANES-1:0]       act_rdata_i,
    output logic [COLS-1:0]                     table_re_o,
    output logic [COLS*16-1:0]                  table_addr_o,
    input  logic [COLS*8-1:0]                   table_data_i,
    output logic [31:0]                         signature_o,  // valid with done_o
    output logic [LANES/8-1:0]                  act_we_o,
    output logic [15:0]                         act_waddr_o,
    output logic [LANES-1:0]                    act_wdata_o
);
  typedef enum logic [1:0] {IDLE, RUN, STOP} state_t;
  state_t state_q;
  logic inner_rst;
  assign inner_rst = rst_i || state_q == STOP;

  logic            fill_done, fill_first, fill_final, fill_last, half_release;
  logic [ROWS-1:0] fill_live, fill_valid;
  logic            fill_half, fill_pair;
  logic [ROWS*GATHER_WORDS-1:0] fill_we;
  logic [ROWS*16-1:0] fill_addr, fill_next;
  logic [ROWS*4-1:0]  fill_shift;
  logic [LANES/8-1:0] fill_bytes;
  logic               fill_flush, fill_rotated;
  logic [GATHER_WORDS*LANES-1:0] fill_data;
  logic [1:0]      gather_faults;
  bitloom_gather #(
      .ROWS(ROWS), .COLS(COLS), .LANES(LANES), .ACT_DEPTH(ACT_DEPTH), .ROW_DEPTH(ROW_DEPTH),
      .GATHER_WORDS(GATHER_WORDS)
  ) u_gather (
      .clk_i, .rst_i(inner_rst),
      .layer_start_i(start_i), .desc_i,
      .act_re_o, .act_raddr_o, .act_rdata_i,
      .fill_we_o(fill_we), .fill_pair_o(fill_pair), .fill_half_o(fill_half), .fill_addr_o(fill_addr),
      .fill_next_o(fill_next), .fill_shift_o(fill_shift), .fill_bytes_o(fill_bytes),
      .fill_flush_o(fill_flush), .fill_rotated_o(fill_rotated),
      .fill_data_o(fill_data),
      .half_release_i(half_release),
      .fill_done_o(fill_done), .fill_first_o(fill_first), .fill_final_o(fill_final),
      .fill_live_o(fill_live), .fill_valid_o(fill_valid), .last_fill_o(fill_last),
      .faults_o(gather_faults)
  );

  logic step_valid, step_shift, step_live, step_neg, step_sum, step_last, step_half;
  logic [15:0]     step_row_addr, step_weight_addr;
  logic [11:0]     meta_tile;
  logic [1:0]      meta_post;
  logic            meta_first, meta_final, meta_last_tile, tile_ready, issued_all;
  logic [ROWS-1:0] meta_live, meta_valid;
  logic [2:0]      list_faults;
  bitloom_sequencer #(
      .ROWS(ROWS), .GROUPS(LANES / COLS), .TILE_DEPTH(TILE_DEPTH), .PASS_DEPTH(PASS_DEPTH), .K_DEPTH(K_DEPTH)
  ) u_sequencer (
      .clk_i, .rst_i(inner_rst),
      .layer_start_i(start_i),
      .tiles_i(desc_i[`BITLOOM_DESCRIPTOR_TILES_LSB+:`BITLOOM_DESCRIPTOR_TILES_W]),
      .tile_base_i(desc_i[`BITLOOM_DESCRIPTOR_TILE_BASE_LSB+:`BITLOOM_DESCRIPTOR_TILE_BASE_W]),
      .rotated_i(desc_i[`BITLOOM_DESCRIPTOR_GATHER_MODE_LSB+:2] == 2'd1),
      .tile_re_o, .tile_addr_o, .tile_data_i,
      .pass_re_o, .pass_addr_o, .pass_data_i,
      .k_re_o, .k_addr_o, .k_data_i,
      .fill_done_i(fill_done), .fill_last_i(fill_last), .fill_first_i(fill_first),
      .fill_final_i(fill_final), .fill_live_i(fill_live), .fill_valid_i(fill_valid),
      .release_o(half_release),
      .tile_ready_i(tile_ready),
      .step_valid_o(step_valid), .step_shift_o(step_shift),
      .step_live_o(step_live), .step_neg_o(step_neg), .step_sum_o(step_sum),
      .step_last_o(step_last), .step_half_o(step_half), .step_row_addr_o(step_row_addr),
      .step_weight_addr_o(step_weight_addr),
      .meta_tile_o(meta_tile), .meta_post_o(meta_post), .meta_first_o(meta_first),
      .meta_final_o(meta_final), .meta_last_tile_o(meta_last_tile), .meta_live_o(meta_live),
      .meta_valid_o(meta_valid),
      .stall_requant_o, .stall_gather_o,
      .done_o(issued_all), .faults_o(list_faults)
  );

  logic       datapath_busy;
  logic [7:0] datapath_faults;
  bitloom_datapath #(
      .ROWS(ROWS), .COLS(COLS), .LANES(LANES), .ACC_W(ACC_W), .WEIGHT_DEPTH(WEIGHT_DEPTH),
      .PARAM_DEPTH(PARAM_DEPTH), .ACT_DEPTH(ACT_DEPTH), .ROW_DEPTH(ROW_DEPTH),
      .GATHER_WORDS(GATHER_WORDS)
  ) u_datapath (
      .clk_i, .rst_i(inner_rst),
      .layer_start_i(start_i), .desc_i,
      .fill_we_i(fill_we), .fill_pair_i(fill_pair), .fill_half_i(fill_half), .fill_addr_i(fill_addr),
      .fill_next_i(fill_next), .fill_shift_i(fill_shift), .fill_bytes_i(fill_bytes),
      .fill_flush_i(fill_flush), .fill_rotated_i(fill_rotated),
      .fill_data_i(fill_data),
      .step_valid_i(step_valid), .step_shift_i(step_shift),
      .step_live_i(step_live), .step_neg_i(step_neg), .step_sum_i(step_sum),
      .step_last_i(step_last), .step_half_i(step_half), .step_row_addr_i(step_row_addr),
      .step_weight_addr_i(step_weight_addr),
      .meta_tile_i(meta_tile), .meta_post_i(meta_post), .meta_first_i(meta_first),
      .meta_final_i(meta_final), .meta_last_tile_i(meta_last_tile), .meta_live_i(meta_live),
      .meta_valid_i(meta_valid),
      .tile_ready_o(tile_ready),
      .weight_re_o, .weight_addr_o, .weight_data_i,
      .param_re_o, .param_addr_o, .param_data_i,
      .table_re_o, .table_addr_o, .table_data_i, .signature_o,
      .act_we_o, .act_waddr_o, .act_wdata_o,
      .busy_o(datapath_busy), .faults_o(datapath_faults)
  );

  // ---- A layer's life ----------------------------------------------------------------------------
  logic [7:0] faults;
  assign faults = datapath_faults | {gather_faults[1], 2'b0, list_faults, 1'b0, gather_faults[0]};

  // Long enough for everything on its way through the array to leave it.
  localparam STOP_CYCLES = 2 * ROWS + COLS + 16;
  logic [7:0] stop_q, faults_q;
  logic       drained;
  assign drained = issued_all && !datapath_busy && !start_i;
  always_ff @(posedge clk_i)
    if (rst_i) begin
      state_q  <= IDLE;
      stop_q   <= '0;
      faults_q <= '0;
    end else
      case (state_q)
        IDLE: begin
          stop_q   <= '0;
          faults_q <= '0;
          if (start_i) state_q <= RUN;
        end
        RUN:
        if (faults != '0) begin
          state_q  <= STOP;
          faults_q <= faults;
        end else if (drained) state_q <= IDLE;
        default: begin
          stop_q <= stop_q + 8'd1;
          if (stop_q == 8'(STOP_CYCLES)) state_q <= IDLE;
        end
      endcase

  assign ready_o  = state_q == IDLE;
  assign active_o = state_q != IDLE;
  assign issue_o  = step_valid;
  assign done_o   = (state_q == RUN && drained && faults == '0) ||
                    (state_q == STOP && stop_q == 8'(STOP_CYCLES));
  assign faults_o = faults_q;
endmodule

`default_nettype wire
