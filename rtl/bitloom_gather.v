// SPDX-License-Identifier: Apache-2.0
// Gather: fills the row buffers from activation memory, one half at a time, ahead of the array.
//
// A fill is one pixel tile (ROWS consecutive output pixels, running over the ends of image rows and
// of images) at one pooling offset. It is cut into *segments*, runs of pixels in one image row. For a
// segment the gather walks the window rows (ky), then x over the union of the pixels' windows, then
// the words of the input pixel; each word read is offered to all rows and a row appends it when x
// lies in its window:
//
//   x        -1  0  1  2  3  4          kernel 3, stride 1, three pixels:
//   row 0     *  *  *                   five input pixels are read instead of nine
//   row 1        *  *  *
//   row 2           *  *  *
//
// So every row buffer receives its window in the order (ky, kx, word, plane) that the contract
// states, with one write pointer and no address arithmetic. Rows enter at most one a step, since
// they are step_w >= 1 apart; where no window is open the walk jumps to the next row's start, and a
// position that no open window takes (dilation) costs one cycle.
//
// Contract: layer_start_i with a descriptor that stays stable. A fill starts when its half is free
// (half_release_i) and ends with fill_done_o, in the cycle of its last write, and its fill_*
// description; last_fill_o says that no other follows. A half may be given back while its row r is
// still read up to r cycles later: the first write comes three or more cycles after, and row r's at
// least r later than row 0's. Every word takes a cycle, padding too; a fill, a segment and each of
// its window rows take one more each, a layer eight.
// Faults (sticky until layer_start_i): a read beyond the memory, a window longer than a half.
`default_nettype none
`include "bitloom_contract.vh"

module bitloom_gather #(
    parameter ROWS = 8,
    parameter LANES = 32,
    parameter ACT_DEPTH = 16384,
    parameter ROW_DEPTH = 1024
) (
    input  logic                                clk_i,
    input  logic                                rst_i,
    input  logic                                layer_start_i,
    input  logic [`BITLOOM_DESCRIPTOR_BITS-1:0] desc_i,
    // activation memory, one cycle of latency
    output logic                                act_re_o,
    output logic [15:0]                         act_raddr_o,
    input  logic [LANES-1:0]                    act_rdata_i,
    // row buffers
    output logic [ROWS-1:0]                     fill_we_o,
    output logic                                fill_half_o,
    output logic [ROWS*16-1:0]                  fill_addr_o,
    output logic [LANES-1:0]                    fill_data_o,
    // hand-over; fill_done_o comes after the fill's last write
    input  logic                                half_release_i,  // one of the halves is free again
    output logic                                fill_done_o,
    output logic                                fill_first_o,    // first pooling offset of its tile
    output logic                                fill_final_o,    // last pooling offset of its tile
    output logic [ROWS-1:0]                     fill_live_o,     // the row is an output pixel
    output logic [ROWS-1:0]                     fill_valid_o,    // ... inside the convolution's output
    output logic                                last_fill_o,
    output logic [1:0]                          faults_o         // {window, input read}
);
  localparam CW = 35;  // coordinates and addresses: no legal descriptor overflows them
  localparam RW = $clog2(ROWS);
  localparam PW = $clog2(ROW_DEPTH) + 1;

  logic signed [CW-1:0] in_base, origin_h, origin_w;
  logic signed [CW-1:0] in_h, in_w, pixel_stride, image_stride, step_h, step_w;
  logic signed [CW-1:0] stride_h, stride_w, dilation_h, pad_top, pad_left, end_h, end_w;
  assign in_base      = $signed(CW'(desc_i[`BITLOOM_DESCRIPTOR_IN_BASE_LSB+:`BITLOOM_DESCRIPTOR_IN_BASE_W]));
  assign origin_h     = $signed(CW'(desc_i[`BITLOOM_DESCRIPTOR_ORIGIN_H_LSB+:`BITLOOM_DESCRIPTOR_ORIGIN_H_W]));
  assign origin_w     = $signed(CW'(desc_i[`BITLOOM_DESCRIPTOR_ORIGIN_W_LSB+:`BITLOOM_DESCRIPTOR_ORIGIN_W_W]));
  assign in_h         = $signed(CW'(desc_i[`BITLOOM_DESCRIPTOR_IN_H_LSB+:`BITLOOM_DESCRIPTOR_IN_H_W]));
  assign in_w         = $signed(CW'(desc_i[`BITLOOM_DESCRIPTOR_IN_W_LSB+:`BITLOOM_DESCRIPTOR_IN_W_W]));
  assign pixel_stride = $signed(CW'(desc_i[`BITLOOM_DESCRIPTOR_IN_PIXEL_STRIDE_LSB+:`BITLOOM_DESCRIPTOR_IN_PIXEL_STRIDE_W]));
  assign image_stride = $signed(CW'(desc_i[`BITLOOM_DESCRIPTOR_IN_IMAGE_STRIDE_LSB+:`BITLOOM_DESCRIPTOR_IN_IMAGE_STRIDE_W]));
  assign step_h       = $signed(CW'(desc_i[`BITLOOM_DESCRIPTOR_STEP_H_LSB+:`BITLOOM_DESCRIPTOR_STEP_H_W]));
  assign step_w       = $signed(CW'(desc_i[`BITLOOM_DESCRIPTOR_STEP_W_LSB+:`BITLOOM_DESCRIPTOR_STEP_W_W]));
  assign stride_h     = $signed(CW'(desc_i[`BITLOOM_DESCRIPTOR_STRIDE_H_LSB+:`BITLOOM_DESCRIPTOR_STRIDE_H_W]));
  assign stride_w     = $signed(CW'(desc_i[`BITLOOM_DESCRIPTOR_STRIDE_W_LSB+:`BITLOOM_DESCRIPTOR_STRIDE_W_W]));
  assign dilation_h   = $signed(CW'(desc_i[`BITLOOM_DESCRIPTOR_DILATION_H_LSB+:`BITLOOM_DESCRIPTOR_DILATION_H_W]));
  assign pad_top      = $signed(CW'(desc_i[`BITLOOM_DESCRIPTOR_PAD_TOP_LSB+:`BITLOOM_DESCRIPTOR_PAD_TOP_W]));
  assign pad_left     = $signed(CW'(desc_i[`BITLOOM_DESCRIPTOR_PAD_LEFT_LSB+:`BITLOOM_DESCRIPTOR_PAD_LEFT_W]));
  assign end_h        = CW'($signed(desc_i[`BITLOOM_DESCRIPTOR_CONV_END_H_LSB+:`BITLOOM_DESCRIPTOR_CONV_END_H_W]));
  assign end_w        = CW'($signed(desc_i[`BITLOOM_DESCRIPTOR_CONV_END_W_LSB+:`BITLOOM_DESCRIPTOR_CONV_END_W_W]));
  logic [3:0]  in_planes;
  logic [11:0] in_words, kernel_h, kernel_w, pool_h, pool_w;
  logic [7:0]  dilation_w, in_last_lanes, pad_value;
  logic [15:0] out_h, out_w, images;
  assign in_planes     = desc_i[`BITLOOM_DESCRIPTOR_IN_PLANES_LSB+:`BITLOOM_DESCRIPTOR_IN_PLANES_W];
  assign in_words      = desc_i[`BITLOOM_DESCRIPTOR_IN_WORDS_LSB+:`BITLOOM_DESCRIPTOR_IN_WORDS_W];
  assign kernel_h      = desc_i[`BITLOOM_DESCRIPTOR_KERNEL_H_LSB+:`BITLOOM_DESCRIPTOR_KERNEL_H_W];
  assign kernel_w      = desc_i[`BITLOOM_DESCRIPTOR_KERNEL_W_LSB+:`BITLOOM_DESCRIPTOR_KERNEL_W_W];
  assign pool_h        = desc_i[`BITLOOM_DESCRIPTOR_POOL_H_LSB+:`BITLOOM_DESCRIPTOR_POOL_H_W];
  assign pool_w        = desc_i[`BITLOOM_DESCRIPTOR_POOL_W_LSB+:`BITLOOM_DESCRIPTOR_POOL_W_W];
  assign dilation_w    = desc_i[`BITLOOM_DESCRIPTOR_DILATION_W_LSB+:`BITLOOM_DESCRIPTOR_DILATION_W_W];
  assign in_last_lanes = desc_i[`BITLOOM_DESCRIPTOR_IN_LAST_LANES_LSB+:`BITLOOM_DESCRIPTOR_IN_LAST_LANES_W];
  assign pad_value     = desc_i[`BITLOOM_DESCRIPTOR_PAD_VALUE_LSB+:`BITLOOM_DESCRIPTOR_PAD_VALUE_W];
  assign out_h         = desc_i[`BITLOOM_DESCRIPTOR_OUT_H_LSB+:`BITLOOM_DESCRIPTOR_OUT_H_W];
  assign out_w         = desc_i[`BITLOOM_DESCRIPTOR_OUT_W_LSB+:`BITLOOM_DESCRIPTOR_OUT_W_W];
  assign images        = desc_i[`BITLOOM_DESCRIPTOR_IMAGES_LSB+:`BITLOOM_DESCRIPTOR_IMAGES_W];

  typedef enum logic [2:0] {IDLE, SETUP, SEGMENT, WINDOW_ROW, WALK, FINISH} state_t;
  state_t state_q;

  // ---- Setup: products with the strides, one multiplication a cycle ------------------------------
  logic [2:0] setup_q;
  logic signed [CW-1:0] step_h_addr_q, origin_h_addr_q, stride_h_addr_q, dilation_h_addr_q;
  logic signed [CW-1:0] step_w_addr_q, origin_w_addr_q, stride_w_addr_q;
  logic [15:0] factor, stride;
  logic signed [CW-1:0] product;
  logic [15:0] row_stride, f_step_h, f_origin_h, f_stride_h, f_dilation_h, f_step_w, f_origin_w;
  assign row_stride   = desc_i[`BITLOOM_DESCRIPTOR_IN_ROW_STRIDE_LSB+:16];
  assign f_step_h     = desc_i[`BITLOOM_DESCRIPTOR_STEP_H_LSB+:16];
  assign f_origin_h   = desc_i[`BITLOOM_DESCRIPTOR_ORIGIN_H_LSB+:16];
  assign f_stride_h   = 16'(desc_i[`BITLOOM_DESCRIPTOR_STRIDE_H_LSB+:8]);
  assign f_dilation_h = 16'(desc_i[`BITLOOM_DESCRIPTOR_DILATION_H_LSB+:8]);
  assign f_step_w     = desc_i[`BITLOOM_DESCRIPTOR_STEP_W_LSB+:16];
  assign f_origin_w   = desc_i[`BITLOOM_DESCRIPTOR_ORIGIN_W_LSB+:16];
  always_comb
    case (setup_q)
      3'd0: factor = f_step_h;
      3'd1: factor = f_origin_h;
      3'd2: factor = f_stride_h;
      3'd3: factor = f_dilation_h;
      3'd4: factor = f_step_w;
      3'd5: factor = f_origin_w;
      default: factor = 16'(stride_w);
    endcase
  assign stride = setup_q < 3'd4 ? row_stride : 16'(pixel_stride);
  assign product = CW'(factor * 32'(stride));
  always_ff @(posedge clk_i)
    if (state_q == SETUP)
      case (setup_q)
        3'd0: step_h_addr_q <= product;
        3'd1: origin_h_addr_q <= product;
        3'd2: stride_h_addr_q <= product;
        3'd3: dilation_h_addr_q <= product;
        3'd4: step_w_addr_q <= product;
        3'd5: origin_w_addr_q <= product;
        default: stride_w_addr_q <= product;
      endcase

  // ---- Where: the next output pixel, and the tile's first one to come back to --------------------
  // y, x: its window's corner at pooling offset 0; *_addr: the same in words; image: its base.
  logic [15:0] n_q, oy_q, ox_q, tile_n_q, tile_oy_q, tile_ox_q;
  logic signed [CW-1:0] y_q, y_addr_q, x_q, x_addr_q, image_q;
  logic signed [CW-1:0] tile_y_q, tile_y_addr_q, tile_x_q, tile_x_addr_q, tile_image_q;
  // pooling offset
  logic [11:0] py_q, px_q;
  logic signed [CW-1:0] py_y_q, py_addr_q, px_x_q, px_addr_q;

  // ---- Segment and window row --------------------------------------------------------------------
  logic [RW:0] row_q;       // first row of the segment
  logic [RW:0] count_d, count_q;
  logic [16:0] left_in_row;
  assign left_in_row = {1'b0, out_w} - {1'b0, ox_q};
  assign count_d = left_in_row < 17'(ROWS) - 17'(row_q) ? (RW + 1)'(left_in_row)
                                                        : (RW + 1)'(ROWS) - row_q;

  logic [11:0] ky_q;
  logic signed [CW-1:0] wy_q, wy_addr_q;            // window row: y, and address of x = 0
  logic signed [CW-1:0] cx_q, cx_addr_q;            // cursor
  logic signed [CW-1:0] enter_x_q, enter_addr_q;    // the next row's first x
  logic [RW:0] entered_q;                           // rows of the segment that have entered
  logic [ROWS-1:0] open_q;                          // windows that the cursor is in
  logic [15:0] word_q;                              // word of the pixel: channel word * planes + plane
  logic [3:0]  plane_q;
  logic [11:0] cw_q;

  logic signed [CW-1:0] seg_y, seg_x;
  assign seg_y = y_q + py_y_q;
  assign seg_x = x_q + px_x_q;

  // ---- The cursor's step -------------------------------------------------------------------------
  logic [ROWS-1:0] takes, open_after;
  logic last_word, pixel_end, more_rows, window_row_end, enters;
  logic signed [CW-1:0] next_x, next_addr;
  assign last_word      = plane_q == in_planes - 4'd1 && cw_q == in_words - 12'd1;
  assign pixel_end      = state_q == WALK && (last_word || takes == '0);
  assign more_rows      = entered_q != count_q;
  assign window_row_end = pixel_end && open_after == '0 && !more_rows;
  assign next_x         = open_after != '0 ? cx_q + 1 : enter_x_q;
  assign next_addr      = open_after != '0 ? cx_addr_q + pixel_stride : enter_addr_q;
  assign enters         = more_rows && next_x == enter_x_q;

  // A row enters: at the start of a window row (the segment's first) or when the cursor meets it.
  logic enter_now;
  logic [RW:0] enter_row;
  logic signed [CW-1:0] enter_x;
  assign enter_now = state_q == WINDOW_ROW || (pixel_end && enters);
  assign enter_row = state_q == WINDOW_ROW ? row_q : row_q + entered_q;
  assign enter_x   = state_q == WINDOW_ROW ? seg_x : enter_x_q;

  logic segment_end, fill_end;
  logic [RW:0] row_after;
  logic [15:0] ox_after;
  logic image_row_end, image_end, all_end;
  assign segment_end   = window_row_end && ky_q == kernel_h - 12'd1;
  assign row_after     = row_q + count_q;
  assign ox_after      = ox_q + 16'(count_q);
  assign image_row_end = ox_after == out_w;
  assign image_end     = image_row_end && oy_q == out_h - 16'd1;
  assign all_end       = image_end && n_q == images - 16'd1;
  assign fill_end      = segment_end && (row_after == (RW + 1)'(ROWS) || all_end);

  logic last_px, last_py, all_done_q;
  assign last_px = px_q == pool_w - 12'd1;
  assign last_py = py_q == pool_h - 12'd1;

  logic [1:0] free_q;  // halves that may be filled
  always_ff @(posedge clk_i)
    if (rst_i || layer_start_i) free_q <= 2'd2;
    else free_q <= free_q + 2'(half_release_i) - 2'(fill_done_o);

  // Stage B (one cycle later) writes what stage A read, the last word while the state is FINISH.
  logic b_valid_q;

  always_ff @(posedge clk_i)
    if (rst_i) state_q <= IDLE;
    else
      case (state_q)
        IDLE: if (layer_start_i) state_q <= SETUP;
        SETUP: if (setup_q == 3'd7) state_q <= SEGMENT;
        SEGMENT: if (free_q != 2'd0) state_q <= WINDOW_ROW;
        WINDOW_ROW: state_q <= WALK;
        WALK:
        if (fill_end) state_q <= FINISH;
        else if (segment_end) state_q <= SEGMENT;
        else if (window_row_end) state_q <= WINDOW_ROW;
        default: state_q <= last_fill_o ? IDLE : SEGMENT;
      endcase

  always_ff @(posedge clk_i)
    if (state_q == IDLE) setup_q <= '0;
    else if (state_q == SETUP) setup_q <= setup_q + 1'b1;

  assign fill_done_o  = state_q == FINISH;
  assign fill_first_o = py_q == '0 && px_q == '0;
  assign fill_final_o = last_px && last_py;
  assign last_fill_o  = fill_final_o && all_done_q;

  // ---- Output pixel counters ---------------------------------------------------------------------
  always_ff @(posedge clk_i)
    if (state_q == SETUP && setup_q == 3'd7) begin
      {n_q, oy_q, ox_q} <= '0;
      y_q        <= -origin_h;
      x_q        <= -origin_w;
      y_addr_q   <= in_base - origin_h_addr_q;
      x_addr_q   <= -origin_w_addr_q;
      image_q    <= in_base;
      all_done_q <= 1'b0;
    end else if (segment_end) begin
      all_done_q <= all_end;
      ox_q       <= image_row_end ? '0 : ox_after;
      x_q        <= image_row_end ? -origin_w : enter_x_q - px_x_q;
      x_addr_q   <= image_row_end ? -origin_w_addr_q : enter_addr_q - wy_addr_q - px_addr_q;
      if (image_row_end) begin
        oy_q     <= image_end ? '0 : oy_q + 16'd1;
        y_q      <= image_end ? -origin_h : y_q + step_h;
        y_addr_q <= image_end ? image_q + image_stride - origin_h_addr_q : y_addr_q + step_h_addr_q;
      end
      if (image_end) begin
        n_q     <= n_q + 16'd1;
        image_q <= image_q + image_stride;
      end
    end else if (fill_done_o && !fill_final_o) begin
      {n_q, oy_q, ox_q}           <= {tile_n_q, tile_oy_q, tile_ox_q};
      {y_q, y_addr_q, x_q}        <= {tile_y_q, tile_y_addr_q, tile_x_q};
      {x_addr_q, image_q}         <= {tile_x_addr_q, tile_image_q};
    end

  always_ff @(posedge clk_i)
    if (state_q == SEGMENT && row_q == '0 && fill_first_o) begin
      {tile_n_q, tile_oy_q, tile_ox_q}    <= {n_q, oy_q, ox_q};
      {tile_y_q, tile_y_addr_q, tile_x_q} <= {y_q, y_addr_q, x_q};
      {tile_x_addr_q, tile_image_q}       <= {x_addr_q, image_q};
    end

  // Pooling offset: px inside py.
  always_ff @(posedge clk_i)
    if (state_q == SETUP || (fill_done_o && fill_final_o)) begin
      {py_q, px_q} <= '0;
      {py_y_q, py_addr_q, px_x_q, px_addr_q} <= '0;
    end else if (fill_done_o) begin
      px_q      <= last_px ? '0 : px_q + 12'd1;
      px_x_q    <= last_px ? '0 : px_x_q + stride_w;
      px_addr_q <= last_px ? '0 : px_addr_q + stride_w_addr_q;
      if (last_px) begin
        py_q      <= py_q + 12'd1;
        py_y_q    <= py_y_q + stride_h;
        py_addr_q <= py_addr_q + stride_h_addr_q;
      end
    end

  // ---- Segment, window row, cursor ---------------------------------------------------------------
  always_ff @(posedge clk_i)
    if (state_q == SETUP || fill_done_o) row_q <= '0;
    else if (segment_end) row_q <= row_after;

  always_ff @(posedge clk_i)
    if (state_q == SEGMENT) begin
      count_q   <= count_d;
      ky_q      <= '0;
      wy_q      <= seg_y;
      wy_addr_q <= y_addr_q + py_addr_q;
    end else if (window_row_end) begin
      ky_q      <= ky_q + 12'd1;
      if (!segment_end) begin
        wy_q      <= wy_q + dilation_h;
        wy_addr_q <= wy_addr_q + dilation_h_addr_q;
      end
    end

  always_ff @(posedge clk_i)
    if (state_q == WINDOW_ROW) begin
      cx_q         <= seg_x;
      cx_addr_q    <= wy_addr_q + x_addr_q + px_addr_q;
      enter_x_q    <= seg_x + step_w;
      enter_addr_q <= wy_addr_q + x_addr_q + px_addr_q + step_w_addr_q;
      entered_q    <= (RW + 1)'(1);
    end else if (pixel_end) begin
      cx_q      <= next_x;
      cx_addr_q <= next_addr;
      if (enters) begin
        enter_x_q    <= enter_x_q + step_w;
        enter_addr_q <= enter_addr_q + step_w_addr_q;
        entered_q    <= entered_q + 1'b1;
      end
    end

  always_ff @(posedge clk_i)
    if (state_q == WINDOW_ROW || pixel_end) begin
      word_q  <= '0;
      plane_q <= '0;
      cw_q    <= '0;
    end else if (state_q == WALK) begin
      word_q  <= word_q + 16'd1;
      plane_q <= plane_q == in_planes - 4'd1 ? '0 : plane_q + 4'd1;
      if (plane_q == in_planes - 4'd1) cw_q <= cw_q + 12'd1;
    end

  // What the fill is: rows that are pixels, rows inside the convolution's output.
  logic inside_y, inside_x;
  assign inside_y = seg_y >= -pad_top && seg_y < end_h;
  assign inside_x = enter_x >= -pad_left && enter_x < end_w;
  always_ff @(posedge clk_i)
    if (state_q == SETUP || fill_done_o) {fill_live_o, fill_valid_o} <= '0;
    else if (enter_now && ky_q == '0)
      for (int r = 0; r < ROWS; r++)
        if (enter_row == (RW + 1)'(r)) begin
          fill_live_o[r]  <= 1'b1;
          fill_valid_o[r] <= inside_y && inside_x;
        end

  // ---- Stage A: read; stage B: write to the rows -------------------------------------------------
  logic in_map, read_now, beyond;
  logic signed [CW-1:0] address;
  logic take_now;
  assign take_now    = state_q == WALK && takes != '0;
  assign in_map      = wy_q >= 0 && wy_q < in_h && cx_q >= 0 && cx_q < in_w;
  assign address     = cx_addr_q + $signed(CW'(word_q));
  assign beyond      = address >= CW'(ACT_DEPTH);
  assign read_now    = take_now && in_map && !beyond;
  assign act_re_o    = read_now;
  assign act_raddr_o = address[15:0];

  logic [LANES-1:0] last_mask, pad_word;
  always_comb
    for (int i = 0; i < LANES; i++) last_mask[i] = 8'(i) < in_last_lanes;
  assign pad_word = {LANES{pad_value[plane_q[2:0]]}} &
                    (cw_q == in_words - 12'd1 ? last_mask : '1);

  logic [ROWS-1:0]  b_rows_q;
  logic             b_pad_q;
  logic [LANES-1:0] b_word_q;
  always_ff @(posedge clk_i)
    if (rst_i) b_valid_q <= 1'b0;
    else b_valid_q <= take_now;
  always_ff @(posedge clk_i)
    if (take_now) begin
      b_rows_q <= takes;
      b_pad_q  <= !in_map;
      b_word_q <= pad_word;
    end

  logic [ROWS-1:0] full;
  logic half_q;
  always_ff @(posedge clk_i)
    if (rst_i || layer_start_i) half_q <= 1'b0;
    else if (fill_done_o) half_q <= !half_q;

  // One row: whether the cursor is in its window, where in it, and how many words it holds.
  genvar r;
  generate
    for (r = 0; r < ROWS; r = r + 1) begin : gen_row
      logic [7:0]    phase_q;  // position modulo the dilation: a tap where 0
      logic [11:0]   tap_q;
      logic [PW-1:0] pointer_q;
      logic          enters_now, takes_now;
      assign enters_now    = enter_now && enter_row == (RW + 1)'(r);
      assign takes[r]      = open_q[r] && phase_q == '0;
      assign open_after[r] = open_q[r] && !(phase_q == '0 && tap_q == kernel_w - 12'd1);
      always_ff @(posedge clk_i)
        if (enters_now) begin
          open_q[r] <= 1'b1;
          phase_q   <= '0;
          tap_q     <= '0;
        end else if (state_q == WINDOW_ROW) begin
          open_q[r] <= 1'b0;
        end else if (pixel_end && open_q[r]) begin
          open_q[r] <= open_after[r];
          phase_q   <= phase_q == dilation_w - 8'd1 ? '0 : phase_q + 8'd1;
          if (phase_q == '0) tap_q <= tap_q + 12'd1;
        end

      assign full[r]   = pointer_q == PW'(ROW_DEPTH);
      assign takes_now = b_valid_q && b_rows_q[r] && !full[r];
      always_ff @(posedge clk_i)
        if (layer_start_i || fill_done_o) pointer_q <= '0;
        else if (takes_now) pointer_q <= pointer_q + 1'b1;
      assign fill_we_o[r]          = takes_now;
      assign fill_addr_o[r*16+:16] = 16'(pointer_q);
    end
  endgenerate
  assign fill_half_o = half_q;
  assign fill_data_o = b_pad_q ? b_word_q : act_rdata_i;

  always_ff @(posedge clk_i)
    if (rst_i || layer_start_i) faults_o <= '0;
    else faults_o <= faults_o | {b_valid_q && (b_rows_q & full) != '0,
                                 take_now && in_map && beyond};

  wire unused = &{1'b0, desc_i, address, 1'b0};
endmodule

`default_nettype wire
