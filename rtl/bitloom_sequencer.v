// SPDX-License-Identifier: Apache-2.0
// Sequencer: walks the channel tiles' pass lists and K lists and issues one step a cycle.
//
//   tile entries -> pass entries -> queue -> K entries -> steps
//      (fetched ahead, over and over)          (one a cycle)
//
// All that distinguishes one layer from another is data in the lists; the sequencer only follows
// them. Fetching runs ahead into a queue of decoded passes, so that passes of one word, tiles of one
// pass and changes of pixel tile leave no bubble. A step waits for two things: its half of the row
// buffers is full, and, where it is a tile's last, the datapath has room.
//
// Contract: each filled half (fill_*) is used once, by all the layer's channel tiles in order, and
// given back with release_o in the cycle of its last step: row r reads it r cycles after. done_o is a level: every fill announced
// was used and the last one had fill_last_i.
// Latency from a pass entering an empty queue to its first step: two cycles.
// Faults (sticky until layer_start_i): tile, pass or K-list address beyond its memory; nothing is
// issued after one.
`default_nettype none
`include "bitloom_contract.vh"

module bitloom_sequencer #(
    parameter ROWS = 8,
    parameter GROUPS = 4,         // groups of columns in a word
    parameter TILE_DEPTH = 256,
    parameter PASS_DEPTH = 512,
    parameter K_DEPTH = 4096
) (
    input  logic            clk_i,
    input  logic            rst_i,
    input  logic            layer_start_i,
    input  logic [11:0]     tiles_i,      // stable while the layer runs
    input  logic [15:0]     tile_base_i,
    input  logic            rotated_i,    // a group's planes lie GROUPS words apart
    // lists
    output logic            tile_re_o,
    output logic [15:0]     tile_addr_o,
    input  logic [63:0]     tile_data_i,
    output logic            pass_re_o,
    output logic [15:0]     pass_addr_o,
    input  logic [63:0]     pass_data_i,
    output logic            k_re_o,
    output logic [15:0]     k_addr_o,
    input  logic [15:0]     k_data_i,
    // row buffers, from the gather
    input  logic            fill_done_i,
    input  logic            fill_last_i,
    input  logic            fill_first_i,
    input  logic            fill_final_i,
    input  logic [ROWS-1:0] fill_live_i,
    input  logic [ROWS-1:0] fill_valid_i,
    output logic            release_o,
    // to the datapath
    input  logic            tile_ready_i,
    output logic            step_valid_o,
    output logic            step_shift_o,
    output logic            step_live_o,
    output logic            step_neg_o,
    output logic            step_sum_o,
    output logic            step_last_o,
    output logic            step_half_o,
    output logic [15:0]     step_row_addr_o,
    output logic [15:0]     step_weight_addr_o,
    output logic [11:0]     meta_tile_o,
    output logic [1:0]      meta_post_o,
    output logic            meta_first_o,
    output logic            meta_final_o,
    output logic            meta_last_tile_o,
    output logic [ROWS-1:0] meta_live_o,
    output logic [ROWS-1:0] meta_valid_o,
    output logic            stall_requant_o,
    output logic            stall_gather_o,
    output logic            done_o,
    output logic [2:0]      faults_o      // {K list, pass list, tile list}
);
  logic fault, running_q;
  assign fault = faults_o != '0;

  // ---- Tile entries: one in use, one waiting -----------------------------------------------------
  logic [11:0] tile_next_q;  // tile whose entry is read next
  logic        tile_reading_q, ahead_valid_q, tile_valid_q;
  logic [63:0] ahead_q, tile_q;
  logic [11:0] ahead_index_q, tile_index_q, reading_index_q;
  logic        take_ahead;   // the waiting entry becomes the one in use
  logic [16:0] tile_addr;
  assign tile_addr   = 17'(tile_base_i) + 17'(tile_next_q);
  assign tile_re_o   = running_q && !fault && !tile_reading_q && !ahead_valid_q;
  assign tile_addr_o = tile_addr[15:0];
  always_ff @(posedge clk_i)
    if (rst_i || layer_start_i) begin
      tile_next_q    <= '0;
      tile_reading_q <= 1'b0;
      ahead_valid_q  <= 1'b0;
      tile_valid_q   <= 1'b0;
    end else begin
      tile_reading_q <= tile_re_o;
      if (tile_re_o) tile_next_q <= tile_next_q + 12'd1 == tiles_i ? '0 : tile_next_q + 12'd1;
      if (tile_reading_q) ahead_valid_q <= 1'b1;
      else if (take_ahead) ahead_valid_q <= 1'b0;
      if (take_ahead) tile_valid_q <= 1'b1;
      else if (tile_used) tile_valid_q <= 1'b0;
    end
  always_ff @(posedge clk_i) begin
    if (tile_re_o) reading_index_q <= tile_next_q;
    if (tile_reading_q) begin
      ahead_q       <= tile_data_i;
      ahead_index_q <= reading_index_q;
    end
    if (take_ahead) begin
      tile_q       <= ahead_q;
      tile_index_q <= ahead_index_q;
    end
  end

  // ---- Pass entries ------------------------------------------------------------------------------
  localparam QUEUE = 8;
  localparam QW = $clog2(QUEUE);
  logic [QW:0] queued_q;   // passes in the queue or being read
  logic [9:0]  pass_index_q;
  logic        tile_used, pass_last;
  logic [16:0] pass_addr;
  assign pass_last   = pass_index_q == tile_q[`BITLOOM_TILE_PASS_LAST_LSB+:`BITLOOM_TILE_PASS_LAST_W];
  assign pass_addr   = 17'(tile_q[`BITLOOM_TILE_PASS_BASE_LSB+:`BITLOOM_TILE_PASS_BASE_W]) +
                       17'(pass_index_q);
  assign pass_re_o   = tile_valid_q && !fault && queued_q != (QW + 1)'(QUEUE);
  assign pass_addr_o = pass_addr[15:0];
  assign tile_used   = pass_re_o && pass_last;
  assign take_ahead  = ahead_valid_q && (!tile_valid_q || tile_used);
  always_ff @(posedge clk_i)
    if (rst_i || layer_start_i) pass_index_q <= '0;
    else if (pass_re_o) pass_index_q <= pass_last ? '0 : pass_index_q + 10'd1;

  // The read's tile travels beside it.
  logic        reading_q, reading_last_q, reading_last_tile_q;
  logic [16:0] reading_weight_q, reading_k_q;
  logic [1:0]  reading_post_q;
  logic [11:0] reading_tile_q;
  always_ff @(posedge clk_i)
    if (rst_i || layer_start_i) reading_q <= 1'b0;
    else reading_q <= pass_re_o;
  always_ff @(posedge clk_i)
    if (pass_re_o) begin
      reading_last_q      <= pass_last;
      reading_last_tile_q <= tile_index_q + 12'd1 == tiles_i;
      reading_weight_q <= 17'(tile_q[`BITLOOM_TILE_WEIGHT_BASE_LSB+:`BITLOOM_TILE_WEIGHT_BASE_W]);
      reading_k_q      <= 17'(tile_q[`BITLOOM_TILE_K_BASE_LSB+:`BITLOOM_TILE_K_BASE_W]);
      reading_post_q   <= tile_q[`BITLOOM_TILE_POST_LSB+:`BITLOOM_TILE_POST_W];
      reading_tile_q   <= tile_index_q;
    end

  // ---- The queue of passes -----------------------------------------------------------------------
  // {weight address, K address, count, plane, shift, neg, sum, last, post, last tile, tile}
  localparam PASS_W = 17 + 17 + 16 + 3 + 3 + 1 + 2 + 1 + 12;
  logic [PASS_W-1:0] queue_q[QUEUE];
  logic [QW-1:0]     queue_in_q, queue_out_q;
  logic              queue_ready, pop;
  always_ff @(posedge clk_i)
    if (reading_q)
      queue_q[queue_in_q] <= {
        reading_weight_q + 17'(pass_data_i[`BITLOOM_PASS_WEIGHT_OFFSET_LSB+:16]),
        reading_k_q + 17'(pass_data_i[`BITLOOM_PASS_K_OFFSET_LSB+:16]),
        pass_data_i[`BITLOOM_PASS_COUNT_LSB+:16],
        pass_data_i[`BITLOOM_PASS_PLANE_LSB+:3],
        pass_data_i[`BITLOOM_PASS_SHIFT_LSB],
        pass_data_i[`BITLOOM_PASS_NEG_LSB],
        pass_data_i[`BITLOOM_PASS_SUM_LSB],
        reading_last_q, reading_post_q, reading_last_tile_q, reading_tile_q};
  always_ff @(posedge clk_i)
    if (rst_i || layer_start_i) begin
      queue_in_q  <= '0;
      queue_out_q <= '0;
      queued_q    <= '0;
    end else begin
      if (reading_q) queue_in_q <= queue_in_q + 1'b1;
      if (pop) queue_out_q <= queue_out_q + 1'b1;
      queued_q <= queued_q + (QW + 1)'(pass_re_o) - (QW + 1)'(pop);
    end
  assign queue_ready = queue_in_q != queue_out_q || (queued_q == (QW + 1)'(QUEUE) && !reading_q);

  logic [16:0] head_weight, head_k;
  logic [15:0] head_count;
  logic [2:0]  head_plane;
  logic        head_shift, head_neg, head_sum, head_last, head_last_tile;
  logic [1:0]  head_post;
  logic [11:0] head_tile;
  assign {head_weight, head_k, head_count, head_plane, head_shift, head_neg, head_sum, head_last,
          head_post, head_last_tile, head_tile} = queue_q[queue_out_q];

  // ---- Stage A: one K entry a cycle --------------------------------------------------------------
  logic [15:0] index_q;  // word of the pass
  logic        advance, send, word_last;
  logic [17:0] k_addr, weight_addr;
  assign word_last   = head_count == '0 || index_q + 16'd1 == head_count;
  assign send        = queue_ready && advance && !fault;
  assign pop         = send && word_last;
  assign k_addr      = 18'(head_k) + 18'(index_q);
  assign weight_addr = 18'(head_weight) + 18'(index_q);
  assign k_re_o      = send && head_count != '0;
  assign k_addr_o    = k_addr[15:0];
  always_ff @(posedge clk_i)
    if (rst_i || layer_start_i) index_q <= '0;
    else if (send) index_q <= word_last ? '0 : index_q + 16'd1;

  // ---- Stage B: the step, held until it may go ---------------------------------------------------
  logic        b_valid_q, b_shift_q, b_live_q, b_neg_q, b_sum_q, b_last_q;
  logic        b_last_tile_q;
  logic [2:0]  b_plane_q;
  logic [1:0]  b_post_q;
  logic [11:0] b_tile_q;
  logic [15:0] b_weight_q;
  always_ff @(posedge clk_i)
    if (rst_i || layer_start_i) b_valid_q <= 1'b0;
    else if (advance) b_valid_q <= send;
  always_ff @(posedge clk_i)
    if (send) begin
      b_shift_q     <= head_shift && index_q == '0;
      b_live_q      <= head_count != '0;
      b_neg_q       <= head_neg;
      b_sum_q       <= head_sum;
      b_last_q      <= head_last && word_last;
      b_last_tile_q <= head_last_tile;
      b_plane_q     <= head_plane;
      b_post_q      <= head_post;
      b_tile_q      <= head_tile;
      // an address beyond 16 bits stays beyond every memory
      b_weight_q    <= weight_addr[17:16] != '0 ? 16'hFFFF : weight_addr[15:0];
    end

  // ---- The halves of the row buffers -------------------------------------------------------------
  logic [1:0]      full_q;
  logic            in_q, out_q, last_seen_q;
  logic [1:0]      first_q, final_q;
  logic [ROWS-1:0] live_q[2], valid_q[2];
  logic            half_end;
  always_ff @(posedge clk_i)
    if (rst_i || layer_start_i) begin
      full_q      <= '0;
      in_q        <= 1'b0;
      out_q       <= 1'b0;
      last_seen_q <= 1'b0;
    end else begin
      if (fill_done_i) begin
        full_q[in_q] <= 1'b1;
        in_q         <= !in_q;
        last_seen_q  <= fill_last_i;
      end
      if (half_end) begin
        full_q[out_q] <= 1'b0;
        out_q         <= !out_q;
      end
    end
  always_ff @(posedge clk_i)
    if (fill_done_i) begin
      first_q[in_q] <= fill_first_i;
      final_q[in_q] <= fill_final_i;
      live_q[in_q]  <= fill_live_i;
      valid_q[in_q] <= fill_valid_i;
    end

  logic half_full, may_go;
  assign half_full    = full_q[out_q];
  assign may_go       = half_full && (!b_last_q || tile_ready_i) && !fault;
  assign step_valid_o = b_valid_q && may_go;
  assign advance      = !b_valid_q || may_go;
  assign half_end     = step_valid_o && b_last_q && b_last_tile_q;

  // Rows still read the half for ROWS - 1 cycles; the gather fills them in that order, and later.
  assign release_o = half_end;

  assign step_shift_o       = b_shift_q;
  assign step_live_o        = b_live_q;
  assign step_neg_o         = b_neg_q;
  assign step_sum_o         = b_sum_q;
  assign step_last_o        = b_last_q;
  assign step_half_o        = out_q;
  assign step_row_addr_o    = k_data_i + (rotated_i ? 16'(b_plane_q) * 16'(GROUPS) : 16'(b_plane_q));
  assign step_weight_addr_o = b_weight_q;
  assign meta_tile_o        = b_tile_q;
  assign meta_post_o        = b_post_q;
  assign meta_first_o       = first_q[out_q];
  assign meta_final_o       = final_q[out_q];
  assign meta_last_tile_o   = b_last_tile_q;
  assign meta_live_o        = live_q[out_q];
  assign meta_valid_o       = valid_q[out_q];
  assign stall_gather_o     = running_q && b_valid_q && !half_full && !done_o;
  assign stall_requant_o    = running_q && b_valid_q && half_full && !may_go;

  always_ff @(posedge clk_i)
    if (rst_i) running_q <= 1'b0;
    else if (layer_start_i) running_q <= 1'b1;
    else if (done_o || fault) running_q <= 1'b0;
  assign done_o = last_seen_q && full_q == '0;

  always_ff @(posedge clk_i)
    if (rst_i || layer_start_i) faults_o <= '0;
    else faults_o <= faults_o | {k_re_o && k_addr >= 18'(K_DEPTH),
                                 pass_re_o && pass_addr >= 17'(PASS_DEPTH),
                                 tile_re_o && tile_addr >= 17'(TILE_DEPTH)};

  wire unused = &{1'b0, tile_q, pass_data_i, 1'b0};
endmodule

`default_nettype wire
