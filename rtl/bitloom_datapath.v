// SPDX-License-Identifier: Apache-2.0
// The engine's back end: from steps and filled row buffers to words in activation memory.
//
//   fill ----> row buffers -> array -> requantise lanes -> pool -> pack -> activation memory
//   steps --------^  ^weights   ^ skewed by a cycle a column, aligned as 8-bit codes
//
// Why one block: nothing in it ever stalls. A step that was issued runs through in a fixed number of
// cycles; the only brake is tile_ready_o, without which no *last* step may be issued. It keeps last
// steps ROWS cycles apart (the drain of the previous tile) and counts the groups of tiles that pack
// can hold (two).
//
// Contract: see the engine for the order of tiles; meta_* are taken with step_last_i. Row r's buffer
// is read in cycle t + r for a step in cycle t. layer_start_i comes before the first step, with the
// descriptor's out_*, tiles and param_base fields stable until busy_o falls.
// Latency from a last step to its codes at pack: ROWS + COLS + 8 cycles (row ROWS-1 first).
`default_nettype none
`include "bitloom_contract.vh"

module bitloom_datapath #(
    parameter ROWS = 8,
    parameter COLS = 8,
    parameter LANES = 32,
    parameter ACC_W = 32,
    parameter WEIGHT_DEPTH = 8192,
    parameter PARAM_DEPTH = 128,
    parameter ACT_DEPTH = 16384,
    parameter ROW_DEPTH = 1024,
    parameter GATHER_WORDS = 1  // words that a fill brings at once, 1 or 2
) (
    input  logic                                clk_i,
    input  logic                                rst_i,
    input  logic                                layer_start_i,
    input  logic [`BITLOOM_DESCRIPTOR_BITS-1:0] desc_i,
    // row-buffer fill
    input  logic [ROWS*GATHER_WORDS-1:0]                     fill_we_i,
    input  logic                     fill_pair_i,
    input  logic                                fill_half_i,
    input  logic [ROWS*16-1:0]                  fill_addr_i,
    input  logic [ROWS*16-1:0]                  fill_next_i,
    input  logic [ROWS*4-1:0]                   fill_shift_i,
    input  logic [LANES/8-1:0]                  fill_bytes_i,
    input  logic                                fill_flush_i,
    input  logic                                fill_rotated_i,
    input  logic [LANES*GATHER_WORDS-1:0]                    fill_data_i,
    // steps
    input  logic                                step_valid_i,
    input  logic                                step_shift_i,
    input  logic                                step_live_i,
    input  logic                                step_neg_i,
    input  logic                                step_sum_i,
    input  logic                                step_last_i,
    input  logic                                step_half_i,
    input  logic [15:0]                         step_row_addr_i,
    input  logic [15:0]                         step_weight_addr_i,
    // the tile that a last step ends
    input  logic [11:0]                         meta_tile_i,
    input  logic [1:0]                          meta_post_i,
    input  logic                                meta_first_i,
    input  logic                                meta_final_i,
    input  logic                                meta_last_tile_i,
    input  logic [ROWS-1:0]                     meta_live_i,
    input  logic [ROWS-1:0]                     meta_valid_i,
    output logic                                tile_ready_o,
    // memories
    output logic [COLS-1:0]                     weight_re_o,
    output logic [COLS*16-1:0]                  weight_addr_o,
    input  logic [COLS*LANES-1:0]               weight_data_i,
    output logic [COLS-1:0]                     param_re_o,
    output logic [COLS*16-1:0]                  param_addr_o,
    input  logic [COLS*72-1:0]                  param_data_i,
    output logic [COLS-1:0]                     table_re_o,
    output logic [COLS*16-1:0]                  table_addr_o,
    input  logic [COLS*8-1:0]                   table_data_i,
    output logic [LANES/8-1:0]                  act_we_o,
    output logic [15:0]                         act_waddr_o,
    output logic [LANES-1:0]                    act_wdata_o,
    output logic [31:0]                         signature_o,  // stands once busy_o has fallen
    output logic                                busy_o,
    output logic [7:0]                          faults_o
);
  localparam RW = $clog2(ROWS);
  localparam SLOTS = LANES / COLS;

  logic [15:0] out_base, out_pixel_stride, out_lo, out_hi, out_offset, param_base;
  logic [3:0]  out_planes, out_slot;
  logic [7:0]  out_last_cols;
  logic        out_signed, out_wrap, out_keep, in_signed, spread;
  logic [3:0]  out_table, in_planes;
  assign out_base         = desc_i[`BITLOOM_DESCRIPTOR_OUT_BASE_LSB+:16];
  assign out_pixel_stride = desc_i[`BITLOOM_DESCRIPTOR_OUT_PIXEL_STRIDE_LSB+:16];
  assign out_planes       = desc_i[`BITLOOM_DESCRIPTOR_OUT_PLANES_LSB+:4];
  assign out_slot         = desc_i[`BITLOOM_DESCRIPTOR_OUT_SLOT_LSB+:4];
  assign out_signed       = desc_i[`BITLOOM_DESCRIPTOR_OUT_SIGNED_LSB];
  assign out_wrap         = desc_i[`BITLOOM_DESCRIPTOR_OUT_WRAP_LSB];
  assign out_keep         = desc_i[`BITLOOM_DESCRIPTOR_OUT_KEEP_LSB];
  assign out_table        = desc_i[`BITLOOM_DESCRIPTOR_OUT_TABLE_LSB+:4];
  assign in_planes        = desc_i[`BITLOOM_DESCRIPTOR_IN_PLANES_LSB+:4];
  assign in_signed        = desc_i[`BITLOOM_DESCRIPTOR_IN_SIGNED_LSB];
  assign spread           = desc_i[`BITLOOM_DESCRIPTOR_GATHER_MODE_LSB+:2] == 2'd2;
  assign out_last_cols    = desc_i[`BITLOOM_DESCRIPTOR_OUT_LAST_COLS_LSB+:8];
  assign out_lo           = desc_i[`BITLOOM_DESCRIPTOR_OUT_LO_LSB+:16];
  assign out_hi           = desc_i[`BITLOOM_DESCRIPTOR_OUT_HI_LSB+:16];
  assign out_offset       = desc_i[`BITLOOM_DESCRIPTOR_OUT_OFFSET_LSB+:16];
  assign param_base       = desc_i[`BITLOOM_DESCRIPTOR_PARAM_BASE_LSB+:16];

  logic issue_last;
  assign issue_last = step_valid_i && step_last_i;

  // ---- Array -----------------------------------------------------------------------------------
  logic [COLS*ACC_W-1:0] p;
  logic [ACC_W-1:0]      s;
  bitloom_array #(
      .ROWS(ROWS), .COLS(COLS), .LANES(LANES), .ACC_W(ACC_W), .ROW_DEPTH(ROW_DEPTH),
      .GATHER_WORDS(GATHER_WORDS)
  ) u_array (
      .clk_i, .rst_i,
      .groups_i(desc_i[`BITLOOM_DESCRIPTOR_GATHER_MODE_LSB+:2] == 2'd1),
      .fill_we_i, .fill_pair_i, .fill_half_i, .fill_addr_i, .fill_next_i, .fill_shift_i, .fill_bytes_i,
      .fill_flush_i, .fill_rotated_i, .fill_data_i,
      .step_valid_i, .step_shift_i, .step_live_i, .step_neg_i, .step_sum_i,
      .step_last_i, .step_half_i, .step_row_addr_i, .step_weight_addr_i,
      .weight_re_o, .weight_addr_o, .weight_data_i,
      .p_o(p), .s_o(s)
  );

  // ---- What each tile in flight is: two readers, the lanes and pool/pack -------------------------
  localparam META_W = 12 + 3 + 2 * ROWS;
  localparam META_DEPTH = 32;  // more tiles than fit between a last step and pack
  localparam MW = $clog2(META_DEPTH);
  logic [META_W-1:0] meta_q[META_DEPTH];
  logic [13:0]       lane_meta_q[META_DEPTH];
  logic [MW-1:0]     meta_in_q, meta_lane_q, meta_pool_q;
  logic              lanes_start, pool_tile_done;
  always_ff @(posedge clk_i)
    if (issue_last) begin
      lane_meta_q[meta_in_q] <= {meta_post_i, meta_tile_i};
      meta_q[meta_in_q] <= {meta_tile_i, meta_first_i, meta_final_i, meta_last_tile_i,
                            meta_live_i, meta_valid_i};
    end
  always_ff @(posedge clk_i)
    if (rst_i) begin
      meta_in_q   <= '0;
      meta_lane_q <= '0;
      meta_pool_q <= '0;
    end else begin
      if (issue_last) meta_in_q <= meta_in_q + 1'b1;
      if (lanes_start) meta_lane_q <= meta_lane_q + 1'b1;
      if (pool_tile_done) meta_pool_q <= meta_pool_q + 1'b1;
    end

  // ---- Requantise lanes --------------------------------------------------------------------------
  // lanes_start: column 0's bottom row takes the tile's last step. Its results stand from the next
  // cycle on for ROWS cycles; every lane works one cycle after its western neighbour.
  logic [ROWS:0] delay_q;
  always_ff @(posedge clk_i)
    if (rst_i) delay_q <= '0;
    else delay_q <= {delay_q[ROWS-1:0], issue_last};
  assign lanes_start = delay_q[ROWS];

  logic [RW-1:0] left_q;  // results still to come from column 0 after this cycle's
  logic          lane0_q; // column 0's result stands
  always_ff @(posedge clk_i)
    if (rst_i) begin
      lane0_q <= 1'b0;
      left_q  <= '0;
    end else if (lanes_start) begin
      lane0_q <= 1'b1;
      left_q  <= RW'(ROWS - 1);
    end else if (left_q != '0) left_q <= left_q - 1'b1;
    else lane0_q <= 1'b0;

  logic [1:0]  post0_q;
  logic        param0_q;
  logic [15:0] tile0_q;
  always_ff @(posedge clk_i) begin
    param0_q <= lanes_start && !rst_i;
    if (lanes_start) begin
      post0_q <= lane_meta_q[meta_lane_q][13:12];
      tile0_q <= 16'(lane_meta_q[meta_lane_q][11:0]);
    end
  end

  // Planes on rows: row i holds plane i, rows beyond the planes nothing. The uppermost one of a signed
  // input counts negative when the next one is added; a single one has a copy above it, its sign.
  logic [3:0] next_plane;  // below the uppermost one
  logic       below0, minus0;
  assign next_plane = in_signed && in_planes == 4'd1 ? 4'd0 : in_planes - 4'd2;
  assign below0     = spread && $signed({1'b0, 4'(left_q)}) <= $signed({next_plane[3], next_plane});
  assign minus0     = spread && in_signed && 4'(left_q) == next_plane;

  // Codes leave skewed; lane c waits COLS-1-c cycles for the last one.
  logic [COLS*8-1:0] codes;
  genvar c;
  generate
    for (c = 0; c < COLS; c = c + 1) begin : gen_lane
      localparam WAIT = COLS - 1 - c;
      // What the lane works with, passed on by its western neighbour.
      logic             valid, param_re, combine, minus;
      logic [1:0]       post;
      logic [ACC_W-1:0] row_sum;
      logic [15:0]      param_addr;
      if (c == 0) begin : gen_first
        assign valid      = lane0_q;
        assign param_re   = param0_q;
        assign combine    = below0;
        assign minus      = minus0;
        assign post       = post0_q;
        assign row_sum    = s;
        assign param_addr = param_base + tile0_q;
      end else begin : gen_next
        logic             valid_q, param_re_q, combine_q, minus_q;
        logic [1:0]       post_q;
        logic [ACC_W-1:0] row_sum_q;
        logic [15:0]      param_addr_q;
        assign {valid, param_re, post} = {valid_q, param_re_q, post_q};
        assign {row_sum, param_addr}   = {row_sum_q, param_addr_q};
        assign {combine, minus}        = {combine_q, minus_q};
        always_ff @(posedge clk_i)
          if (rst_i) {valid_q, param_re_q} <= '0;
          else {valid_q, param_re_q} <= {gen_lane[c-1].valid, gen_lane[c-1].param_re};
        always_ff @(posedge clk_i) begin
          post_q <= gen_lane[c-1].post;
          {combine_q, minus_q} <= {gen_lane[c-1].combine, gen_lane[c-1].minus};
          if (gen_lane[c-1].valid) row_sum_q <= gen_lane[c-1].row_sum;
          if (gen_lane[c-1].param_re) param_addr_q <= gen_lane[c-1].param_addr;
        end
      end
      assign param_re_o[c]           = param_re;
      assign param_addr_o[c*16+:16] = param_addr;

      logic [7:0] code;
      bitloom_requant #(.ACC_W(ACC_W)) u_requant (
          .clk_i,
          .valid_i(valid),
          .p_i(p[c*ACC_W+:ACC_W]),
          .s_i(row_sum),
          .post_i(post),
          .combine_i(combine),
          .minus_i(minus),
          .mult_i(param_data_i[c*72+`BITLOOM_PARAM_MULT_LSB+:`BITLOOM_PARAM_MULT_W]),
          .bias_i(param_data_i[c*72+`BITLOOM_PARAM_BIAS_LSB+:`BITLOOM_PARAM_BIAS_W]),
          .shift_i(param_data_i[c*72+`BITLOOM_PARAM_SHIFT_LSB+:`BITLOOM_PARAM_SHIFT_W]),
          .lo_i(out_lo),
          .hi_i(out_hi),
          .offset_i(out_offset[7:0]),
          .wrap_i(out_wrap),
          .code_o(code)
      );

      // Table, or the code as it is.
      logic [7:0] code_q, final_code;
      assign table_re_o[c]          = out_table != '0;
      always_comb begin
        table_addr_o[c*16+:16] = 'x;
        if (out_table != '0) table_addr_o[c*16+:16] = {4'd0, out_table - 4'd1, code};
      end
      assign final_code             = out_table != '0 ? table_data_i[c*8+:8] : code_q;
      always_ff @(posedge clk_i) code_q <= code;

      if (WAIT == 0) begin : gen_now
        assign codes[c*8+:8] = final_code;
      end else begin : gen_wait
        logic [WAIT*8-1:0] wait_q;
        always_ff @(posedge clk_i) wait_q <= (WAIT*8)'({wait_q, final_code});
        assign codes[c*8+:8] = wait_q[WAIT*8-1-:8];
      end
    end
  endgenerate

  // ---- Pool and pack -----------------------------------------------------------------------------
  logic [COLS+2:0] aligned_q;  // lane 0's valid, COLS + 3 cycles on
  always_ff @(posedge clk_i)
    if (rst_i) aligned_q <= '0;
    else aligned_q <= {aligned_q[COLS+1:0], lane0_q};
  logic row_valid;
  assign row_valid = aligned_q[COLS+2];

  logic [RW-1:0] row_q;  // counts down from ROWS-1
  always_ff @(posedge clk_i)
    if (rst_i) row_q <= RW'(ROWS - 1);
    else if (row_valid) row_q <= row_q == '0 ? RW'(ROWS - 1) : row_q - 1'b1;
  assign pool_tile_done = row_valid && row_q == '0;

  logic [11:0]     pool_tile;
  logic            pool_first, pool_final, pool_last_tile;
  logic [ROWS-1:0] pool_live, pool_inside;
  assign {pool_tile, pool_first, pool_final, pool_last_tile, pool_live, pool_inside} =
      meta_q[meta_pool_q];

  logic              pooled_valid;
  logic [RW-1:0]     pooled_row;
  logic [COLS*8-1:0] pooled_codes;
  bitloom_pool #(.ROWS(ROWS), .COLS(COLS), .TILES(PARAM_DEPTH)) u_pool (
      .clk_i, .rst_i,
      .signed_i(out_signed),
      .valid_i(row_valid),
      .row_i(row_q),
      .tile_i(pool_tile),
      .first_i(pool_first),
      .final_i(pool_final),
      .inside_i(pool_inside[row_q]),
      .codes_i(codes),
      .valid_o(pooled_valid),
      .row_o(pooled_row),
      .codes_o(pooled_codes)
  );

  // The tile's fields, two cycles on, for pack.
  logic            last_tile_q, pooled_last_tile_q;
  logic [ROWS-1:0] live_q, pooled_live_q;
  always_ff @(posedge clk_i) begin
    {last_tile_q, live_q}               <= {pool_last_tile, pool_live};
    {pooled_last_tile_q, pooled_live_q} <= {last_tile_q, live_q};
  end

  logic group_done, write_fault;
  bitloom_pack #(.ROWS(ROWS), .COLS(COLS), .LANES(LANES), .ACT_DEPTH(ACT_DEPTH)) u_pack (
      .clk_i, .rst_i, .layer_start_i,
      .out_base_i(out_base),
      .out_pixel_stride_i(out_pixel_stride),
      .out_planes_i(out_planes),
      .out_slot_i(out_slot),
      .out_last_cols_i(out_last_cols),
      .out_keep_i(out_keep),
      .one_row_i(spread),
      .valid_i(pooled_valid),
      .row_i(pooled_row),
      .last_tile_i(pooled_last_tile_q),
      .live_i(pooled_live_q),
      .codes_i(pooled_codes),
      .group_done_o(group_done),
      .act_we_o, .act_waddr_o, .act_wdata_o,
      .fault_o(write_fault)
  );

  logic signature_busy;
  bitloom_signature #(.LANES(LANES)) u_signature (
      .clk_i, .rst_i,
      .clear_i(layer_start_i),
      .enable_i(act_we_o),
      .address_i(act_waddr_o),
      .data_i(act_wdata_o),
      .busy_o(signature_busy),
      .sum_o(signature_o)
  );

  // ---- Credit ------------------------------------------------------------------------------------
  // since_q: cycles since the last last step, up to ROWS - 1. slot_q: the next tile's slot; a tile
  // in its group's first slot needs a free group (asked for even before a tile that is not final).
  logic [RW-1:0] since_q;
  logic          spaced;
  assign spaced = since_q == RW'(ROWS - 1);
  always_ff @(posedge clk_i)
    if (rst_i) since_q <= RW'(ROWS - 1);
    else if (issue_last) since_q <= '0;
    else if (!spaced) since_q <= since_q + 1'b1;

  logic [3:0] slot_q;
  logic       opens_q;  // the next tile is the first of a group
  logic [1:0] groups_q;
  always_ff @(posedge clk_i)
    if (layer_start_i) begin
      slot_q  <= out_slot;
      opens_q <= 1'b1;
    end else if (issue_last) begin
      slot_q  <= meta_last_tile_i ? out_slot : slot_q == 4'(SLOTS - 1) ? '0 : slot_q + 1'b1;
      opens_q <= meta_last_tile_i || slot_q == 4'(SLOTS - 1);
    end
  logic group_taken;
  assign group_taken = issue_last && meta_final_i && opens_q;
  always_ff @(posedge clk_i)
    if (rst_i) groups_q <= '0;
    else groups_q <= groups_q + 2'(group_taken) - 2'(group_done);
  assign tile_ready_o = spaced && (!opens_q || groups_q < 2'd2);

  assign busy_o = meta_in_q != meta_pool_q || groups_q != '0 || aligned_q != '0 ||
                  signature_busy;

  // ---- Faults ------------------------------------------------------------------------------------
  logic weight_fault, param_fault;
  assign weight_fault = step_valid_i && step_live_i &&
                        {1'b0, step_weight_addr_i} >= 17'(WEIGHT_DEPTH);
  assign param_fault  = issue_last &&
                        17'(param_base) + 17'(meta_tile_i) >= 17'(PARAM_DEPTH);
  always_ff @(posedge clk_i)
    if (rst_i || layer_start_i) faults_o <= '0;
    else faults_o <= faults_o | {1'b0, param_fault, weight_fault, 3'b0, write_fault, 1'b0};

  wire unused = &{1'b0, out_offset[15:8], desc_i, param_data_i, 1'b0};
endmodule

`default_nettype wire
