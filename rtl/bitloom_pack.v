// SPDX-License-Identifier: Apache-2.0
// Codes to bit-planes: collects the channel tiles of a word for ROWS pixels, then writes the words
// to activation memory, one plane of one pixel a cycle.
//
//   rows of COLS codes --> slot of a word buffer --> plane words --> activation memory
//                          (two halves: one fills, one is written)
//
// A *group* is the channel tiles that share a word: LANES/COLS of them, fewer at the layer's ends.
// In the first word the bytes below out_slot keep what memory holds; in every word the lanes above
// the last slot become zero, or keep what they had too.
//
// Contract: rows come in the order ROWS-1 .. 0 for each tile, tiles in ascending order; the sender
// never has more than two groups under way (group_done_o pulses when one is written).
`default_nettype none

module bitloom_pack #(
    parameter ROWS = 8,
    parameter COLS = 8,
    parameter LANES = 32,
    parameter ACT_DEPTH = 16384
) (
    input  logic                    clk_i,
    input  logic                    rst_i,
    input  logic                    layer_start_i,  // takes the descriptor's fields below
    input  logic [15:0]             out_base_i,
    input  logic [15:0]             out_pixel_stride_i,
    input  logic [3:0]              out_planes_i,
    input  logic [3:0]              out_slot_i,
    input  logic [7:0]              out_last_cols_i,
    input  logic                    out_keep_i,      // lanes above the last slot keep what they had
    input  logic                    one_row_i,       // a tile is one pixel, in row 0
    // a row of codes, with what its tile is
    input  logic                    valid_i,
    input  logic [$clog2(ROWS)-1:0] row_i,
    input  logic                    last_tile_i,
    input  logic [ROWS-1:0]         live_i,
    input  logic [COLS*8-1:0]       codes_i,
    output logic                    group_done_o,
    // activation memory
    output logic [LANES/8-1:0]      act_we_o,
    output logic [15:0]             act_waddr_o,
    output logic [LANES-1:0]        act_wdata_o,
    output logic                    fault_o         // an address beyond the memory (not written)
);
  localparam RW = $clog2(ROWS);
  localparam SLOTS = LANES / COLS;
  localparam SW = $clog2(SLOTS);
  localparam SLOT_BITS = COLS * 8;  // all planes of one slot
  localparam AW = 20;               // addresses, modulo 2^20

  // ---- Fill: mask, transpose, store in the slot ------------------------------------------------
  logic [SW-1:0] slot_q;     // slot of the tile that comes in
  logic [SW-1:0] first_q;    // first slot of the group that fills
  logic          half_q;
  logic          tile_done, group_filled;
  assign tile_done    = valid_i && row_i == '0;
  assign group_filled = tile_done && (last_tile_i || slot_q == SW'(SLOTS - 1));

  always_ff @(posedge clk_i)
    if (layer_start_i) begin
      slot_q  <= out_slot_i[SW-1:0];
      first_q <= out_slot_i[SW-1:0];
    end else if (tile_done) begin
      slot_q <= last_tile_i ? out_slot_i[SW-1:0] : slot_q + 1'b1;
      if (group_filled) first_q <= last_tile_i ? out_slot_i[SW-1:0] : '0;
    end

  always_ff @(posedge clk_i)
    if (rst_i) half_q <= 1'b0;
    else if (group_filled) half_q <= !half_q;

  logic [COLS-1:0] no_column;  // of the last tile
  assign no_column = {COLS{last_tile_i}} & ({COLS{1'b1}} << out_last_cols_i[$clog2(COLS):0]);
  logic [SLOT_BITS-1:0] planes;  // [plane][column]; only looked at when valid, so that simulation rests
  always_comb begin
    planes = '0;
    if (valid_i)
      for (int i = 0; i < 8; i++)
        for (int c = 0; c < COLS; c++)
          planes[i*COLS+c] = codes_i[c*8+i] && !no_column[c];
  end

  logic [SLOTS-1:0] buffer_we;
  always_comb begin
    buffer_we = '0;
    buffer_we[slot_q] = valid_i;
  end

  logic [LANES*8-1:0] buffer_data;
  logic               read;
  logic [RW-1:0]      read_row;
  logic               write_half_q;
  bitloom_ram #(.WIDTH(LANES * 8), .DEPTH(2 * ROWS), .BYTE(SLOT_BITS)) u_buffer (
      .clk_i,
      .we_i(buffer_we),
      .waddr_i({half_q, row_i}),
      .wdata_i({SLOTS{planes}}),
      .re_i(read),
      .raddr_i({write_half_q, read_row}),
      .rdata_o(buffer_data)
  );

  // What the writer must know of each filled half.
  logic [1:0]    full_q;
  logic [SW-1:0] group_first_q[2];
  logic [SW-1:0] group_last_q[2];
  logic          group_end_q[2];   // the layer's last word of these pixels
  logic [ROWS-1:0] group_live_q[2];
  always_ff @(posedge clk_i)
    if (group_filled) begin
      group_first_q[half_q] <= first_q;
      group_last_q[half_q]  <= slot_q;
      group_end_q[half_q]   <= last_tile_i;
      group_live_q[half_q]  <= live_i;
    end

  // ---- Write: rows ascending, planes inside ----------------------------------------------------
  // Stage A walks (row, plane) and reads the buffer on each row's first plane; stage B selects.
  logic [RW-1:0] row_q;
  logic [3:0]    plane_q;
  logic          walk, row_end, walk_end;
  assign walk     = full_q[write_half_q];
  assign row_end  = plane_q == out_planes_i - 4'd1;
  assign walk_end = walk && row_end && (one_row_i || row_q == RW'(ROWS - 1));
  assign read     = walk && plane_q == '0;
  assign read_row = row_q;

  always_ff @(posedge clk_i)
    if (rst_i) begin
      row_q        <= '0;
      plane_q      <= '0;
      write_half_q <= 1'b0;
    end else if (walk) begin
      plane_q <= row_end ? '0 : plane_q + 1'b1;
      if (row_end) row_q <= walk_end ? '0 : row_q + 1'b1;
      if (walk_end) write_half_q <= !write_half_q;
    end

  always_ff @(posedge clk_i)
    if (rst_i) full_q <= '0;
    else begin
      if (group_filled) full_q[half_q] <= 1'b1;
      if (walk_end) full_q[write_half_q] <= 1'b0;
    end

  // Address of (row, plane): pixel_q is pixel row_q of the tile, word_q the word's offset in it.
  logic [AW-1:0] tile_pixel_q, pixel_q, word_q, pixel_next;
  assign pixel_next = pixel_q + AW'(out_pixel_stride_i);
  always_ff @(posedge clk_i)
    if (layer_start_i) begin
      tile_pixel_q <= AW'(out_base_i);
      pixel_q      <= AW'(out_base_i);
      word_q       <= '0;
    end else if (walk && row_end) begin
      if (!walk_end) pixel_q <= pixel_next;
      else if (group_end_q[write_half_q]) begin
        tile_pixel_q <= pixel_next;
        pixel_q      <= pixel_next;
        word_q       <= '0;
      end else begin
        pixel_q <= tile_pixel_q;
        word_q  <= word_q + AW'(out_planes_i);
      end
    end

  logic            live_b_q;
  logic [3:0]      plane_b_q;
  logic [AW-1:0]   addr_b_q;
  logic [SW-1:0]   first_b_q, last_b_q;
  logic            end_b_q;
  always_ff @(posedge clk_i)
    if (rst_i) begin
      live_b_q <= 1'b0;
      end_b_q  <= 1'b0;
    end else begin
      live_b_q <= walk && group_live_q[write_half_q][row_q];
      end_b_q  <= walk_end;
    end
  always_ff @(posedge clk_i)
    if (walk) begin
      plane_b_q <= plane_q;
      addr_b_q  <= pixel_q + word_q + AW'(plane_q);
      first_b_q <= group_first_q[write_half_q];
      last_b_q  <= group_last_q[write_half_q];
    end

  logic beyond;
  assign beyond       = addr_b_q >= AW'(ACT_DEPTH);
  assign fault_o      = live_b_q && beyond;
  assign act_waddr_o  = addr_b_q[15:0];
  assign group_done_o = end_b_q;
  // Slots from the group's first on are written; those above its last one become zero.
  logic [SLOTS-1:0] enabled, kept;
  assign enabled = {SLOTS{1'b1}} << first_b_q;
  assign kept    = ~({{SLOTS - 1{1'b1}}, 1'b0} << last_b_q);
  always_comb begin
    act_we_o    = '0;
    act_wdata_o = 'x;
    if (live_b_q)  // otherwise nobody looks, and simulation rests
      for (int s = 0; s < SLOTS; s++) begin
        act_wdata_o[s*COLS+:COLS] =
            kept[s] ? buffer_data[s*SLOT_BITS + 32'(plane_b_q[2:0])*COLS +: COLS] : '0;
        act_we_o[s*COLS/8+:COLS/8] = {COLS / 8{!beyond && enabled[s] && (kept[s] || !out_keep_i)}};
      end
  end

  wire unused = &{1'b0, out_last_cols_i, out_slot_i[3:SW], plane_b_q[3], 1'b0};
endmodule

`default_nettype wire
