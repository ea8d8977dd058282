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
// So every row buffer receives its window in the order that the contract states, and a row needs
// nothing but a pointer: a word and a byte in it. Packed windows move it by the bytes of each channel
// word, rotated ones by a group of lanes at the end of each tap. With planes on rows a tile is one
// pixel and plane i goes to row i, a single signed one to row 1 as well. Rows enter at most one a step, since they are step_w >= 1 apart;
// where no window is open the walk jumps to the next row's start, and a position that no open window
// takes (dilation) costs one cycle.
//
// With GATHER_WORDS 2 two words that lie side by side are read and taken in one cycle, where one of
// these holds for the layer (PAIR_*):
//   planes   an even number of planes: two planes of a channel word, also of the second source
//   words    one plane, whole words, an even number of them: two channel words of a pixel
//   pixels   one plane, one whole word a pixel, rows an even number of pixels apart, LANES of 64 or
//            more (narrower arrays seldom need it): two pixels. Their words begin at an even address
//            of the row buffers, so where a window row starts at an odd one the cursor starts a
//            pixel earlier, which row 0 does not take.
//
// After the taps, zeros fill up the last word of a packed window, and the words of the second source
// follow, pixel by pixel. Addresses come from two multipliers, one a row of the window ahead, one
// for the x at which the next row enters; from there on they are counted.
//
// Contract: layer_start_i with a descriptor that stays stable. A fill starts when its half is free
// (half_release_i) and ends with fill_done_o, in the cycle of its last write, and its fill_*
// description; last_fill_o says that no other follows. A half may be given back while its row r is
// still read up to r cycles later: the first write comes three or more cycles after, and row r's at
// least r later than row 0's. Every word (or pair) takes a cycle, padding too; a fill, a segment and
// each of its window rows take one more each, a layer two; zeros a cycle a plane (or pair of planes;
// one with planes on rows) where the bytes of a window do not fill its last word; a second source
// one.
// Faults (sticky until layer_start_i): a read beyond the memory, a window longer than a half.
`default_nettype none
`include "bitloom_contract.vh"

module bitloom_gather #(
    parameter ROWS = 8,
    parameter COLS = 8,
    parameter LANES = 32,
    parameter ACT_DEPTH = 16384,
    parameter ROW_DEPTH = 1024,
    parameter GATHER_WORDS = 1
) (
    input  logic                                clk_i,
    input  logic                                rst_i,
    input  logic                                layer_start_i,
    input  logic [`BITLOOM_DESCRIPTOR_BITS-1:0] desc_i,
    // activation memory, one cycle of latency
    output logic [GATHER_WORDS-1:0]             act_re_o,     // of words act_raddr_o, +1
    output logic [15:0]                         act_raddr_o,  // rdata: word 0 twice without re_o[1]
    input  logic [GATHER_WORDS*LANES-1:0]       act_rdata_i,
    // row buffers (see bitloom_row_buffer)
    output logic [ROWS*GATHER_WORDS-1:0]        fill_we_o,    // for each row its words
    output logic                                fill_pair_o,
    output logic                                fill_half_o,
    output logic [ROWS*16-1:0]                  fill_addr_o,
    output logic [ROWS*16-1:0]                  fill_next_o,
    output logic [ROWS*4-1:0]                   fill_shift_o,
    output logic [LANES/8-1:0]                  fill_bytes_o,
    output logic                                fill_flush_o,
    output logic                                fill_rotated_o,
    output logic [GATHER_WORDS*LANES-1:0]       fill_data_o,
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
  localparam CW = 18;  // coordinates, two's complement
  localparam AW = 20;  // addresses
  localparam RW = $clog2(ROWS);
  localparam BYTES = LANES / 8;
  localparam BW = $clog2(BYTES);
  localparam SLOTS = LANES / COLS;
  localparam PW = $clog2(ROW_DEPTH) + 1;  // a row's pointer
  localparam GW = 16;                     // regions of rotated windows

  logic signed [CW-1:0] origin_h, origin_w, in_h, in_w, step_h, step_w, stride_h, stride_w;
  logic signed [CW-1:0] dilation_h, pad_top, pad_left, end_h, end_w;
  assign origin_h   = CW'(desc_i[`BITLOOM_DESCRIPTOR_ORIGIN_H_LSB+:`BITLOOM_DESCRIPTOR_ORIGIN_H_W]);
  assign origin_w   = CW'(desc_i[`BITLOOM_DESCRIPTOR_ORIGIN_W_LSB+:`BITLOOM_DESCRIPTOR_ORIGIN_W_W]);
  assign in_h       = CW'(desc_i[`BITLOOM_DESCRIPTOR_IN_H_LSB+:`BITLOOM_DESCRIPTOR_IN_H_W]);
  assign in_w       = CW'(desc_i[`BITLOOM_DESCRIPTOR_IN_W_LSB+:`BITLOOM_DESCRIPTOR_IN_W_W]);
  assign step_h     = CW'(desc_i[`BITLOOM_DESCRIPTOR_STEP_H_LSB+:`BITLOOM_DESCRIPTOR_STEP_H_W]);
  assign step_w     = CW'(desc_i[`BITLOOM_DESCRIPTOR_STEP_W_LSB+:`BITLOOM_DESCRIPTOR_STEP_W_W]);
  assign stride_h   = CW'(desc_i[`BITLOOM_DESCRIPTOR_STRIDE_H_LSB+:`BITLOOM_DESCRIPTOR_STRIDE_H_W]);
  assign stride_w   = CW'(desc_i[`BITLOOM_DESCRIPTOR_STRIDE_W_LSB+:`BITLOOM_DESCRIPTOR_STRIDE_W_W]);
  assign dilation_h = CW'(desc_i[`BITLOOM_DESCRIPTOR_DILATION_H_LSB+:`BITLOOM_DESCRIPTOR_DILATION_H_W]);
  assign pad_top    = CW'(desc_i[`BITLOOM_DESCRIPTOR_PAD_TOP_LSB+:`BITLOOM_DESCRIPTOR_PAD_TOP_W]);
  assign pad_left   = CW'(desc_i[`BITLOOM_DESCRIPTOR_PAD_LEFT_LSB+:`BITLOOM_DESCRIPTOR_PAD_LEFT_W]);
  assign end_h      = CW'($signed(desc_i[`BITLOOM_DESCRIPTOR_CONV_END_H_LSB+:`BITLOOM_DESCRIPTOR_CONV_END_H_W]));
  assign end_w      = CW'($signed(desc_i[`BITLOOM_DESCRIPTOR_CONV_END_W_LSB+:`BITLOOM_DESCRIPTOR_CONV_END_W_W]));
  logic [AW-1:0] in_base, image_stride, res_base, res_pixel_stride, res_row_step;
  assign in_base          = AW'(desc_i[`BITLOOM_DESCRIPTOR_IN_BASE_LSB+:16]);
  assign image_stride     = AW'(desc_i[`BITLOOM_DESCRIPTOR_IN_IMAGE_STRIDE_LSB+:16]);
  assign res_base         = AW'(desc_i[`BITLOOM_DESCRIPTOR_RES_BASE_LSB+:16]);
  assign res_pixel_stride = AW'(desc_i[`BITLOOM_DESCRIPTOR_RES_PIXEL_STRIDE_LSB+:16]);
  assign res_row_step     = AW'(desc_i[`BITLOOM_DESCRIPTOR_RES_ROW_STEP_LSB+:16]);
  logic [15:0] row_stride, pixel_stride, res_offset, out_h, out_w, images;
  assign row_stride   = desc_i[`BITLOOM_DESCRIPTOR_IN_ROW_STRIDE_LSB+:16];
  assign pixel_stride = desc_i[`BITLOOM_DESCRIPTOR_IN_PIXEL_STRIDE_LSB+:16];
  assign res_offset   = desc_i[`BITLOOM_DESCRIPTOR_RES_OFFSET_LSB+:16];
  assign out_h        = desc_i[`BITLOOM_DESCRIPTOR_OUT_H_LSB+:16];
  assign out_w        = desc_i[`BITLOOM_DESCRIPTOR_OUT_W_LSB+:16];
  assign images       = desc_i[`BITLOOM_DESCRIPTOR_IMAGES_LSB+:16];
  logic [11:0] in_words, res_words, kernel_h, kernel_w, pool_h, pool_w, group_stride;
  assign in_words     = desc_i[`BITLOOM_DESCRIPTOR_IN_WORDS_LSB+:12];
  assign res_words    = desc_i[`BITLOOM_DESCRIPTOR_RES_WORDS_LSB+:12];
  assign kernel_h     = desc_i[`BITLOOM_DESCRIPTOR_KERNEL_H_LSB+:12];
  assign kernel_w     = desc_i[`BITLOOM_DESCRIPTOR_KERNEL_W_LSB+:12];
  assign pool_h       = desc_i[`BITLOOM_DESCRIPTOR_POOL_H_LSB+:12];
  assign pool_w       = desc_i[`BITLOOM_DESCRIPTOR_POOL_W_LSB+:12];
  assign group_stride = desc_i[`BITLOOM_DESCRIPTOR_GROUP_STRIDE_LSB+:12];
  logic [7:0] dilation_w, in_last_lanes, pad_value;
  assign dilation_w    = desc_i[`BITLOOM_DESCRIPTOR_DILATION_W_LSB+:8];
  assign in_last_lanes = desc_i[`BITLOOM_DESCRIPTOR_IN_LAST_LANES_LSB+:8];
  assign pad_value     = desc_i[`BITLOOM_DESCRIPTOR_PAD_VALUE_LSB+:8];
  logic [4:0] in_last_bytes;
  logic [3:0] in_planes, res_planes;
  logic       up, rotated, spread;
  logic       lone;  // a single signed plane on rows: the one above it is its copy
  assign in_last_bytes = desc_i[`BITLOOM_DESCRIPTOR_IN_LAST_BYTES_LSB+:5];
  assign in_planes     = desc_i[`BITLOOM_DESCRIPTOR_IN_PLANES_LSB+:4];
  assign res_planes    = desc_i[`BITLOOM_DESCRIPTOR_RES_PLANES_LSB+:4];
  assign up            = desc_i[`BITLOOM_DESCRIPTOR_IN_UP_LSB];
  assign rotated       = desc_i[`BITLOOM_DESCRIPTOR_GATHER_MODE_LSB+:2] == 2'd1;
  assign spread        = desc_i[`BITLOOM_DESCRIPTOR_GATHER_MODE_LSB+:2] == 2'd2;  // planes on rows

  // What is read in pairs; constant while a layer runs.
  logic whole, pair_planes, pair_words, pair_pixels, pair_second;
  assign whole       = GATHER_WORDS == 2 && !rotated && !spread && in_planes == 4'd1 &&
                       in_last_bytes == 5'(BYTES);
  assign pair_planes = GATHER_WORDS == 2 && !in_planes[0] && !spread && !(rotated && group_stride[0]);
  assign pair_words  = whole && !in_words[0];
  assign pair_pixels = LANES >= 64 && whole && in_words == 12'd1 && dilation_w == 8'd1 && !up && !step_w[0] &&
                       pixel_stride == 16'd1;
  assign pair_second = GATHER_WORDS == 2 && !res_planes[0] && !res_offset[0];

  assign lone = in_planes == 4'd1 && desc_i[`BITLOOM_DESCRIPTOR_IN_SIGNED_LSB];

  typedef enum logic [3:0] {
    IDLE, SETUP, SEGMENT, WINDOW_ROW, WALK, FLUSH, RES_LOAD, RES, FINISH
  } state_t;
  state_t state_q;

  // ---- Where: the next output pixel, and the tile's first one to come back to --------------------
  // y, x: its window's corner at pooling offset 0; image: its base; res: its second source.
  logic [15:0] n_q, oy_q, ox_q, tile_n_q, tile_oy_q, tile_ox_q;
  logic signed [CW-1:0] y_q, x_q, tile_y_q, tile_x_q;
  logic [AW-1:0] image_q, tile_image_q, res_q, tile_res_q;
  // pooling offset
  logic [11:0] py_q, px_q;
  logic signed [CW-1:0] py_y_q, px_x_q;

  // ---- Segment and window row --------------------------------------------------------------------
  logic [RW:0] row_q;       // first row of the segment; in RES the row that takes the words
  logic [RW:0] count_d, count_q;
  logic [16:0] left_in_row;
  assign left_in_row = {1'b0, out_w} - {1'b0, ox_q};
  assign count_d = spread ? (RW + 1)'(1)
                 : left_in_row[16:RW+1] == '0 && left_in_row[RW:0] < (RW + 1)'(ROWS) - row_q
                 ? (RW + 1)'(left_in_row)
                                                        : (RW + 1)'(ROWS) - row_q;

  logic [11:0] ky_q;
  logic signed [CW-1:0] wy_q, cx_q, enter_x_q;  // window row, cursor, the next row's first x
  logic [AW-1:0] row_addr_q, cx_addr_q;         // address of the window row's x = 0, of the cursor
  logic [RW:0] entered_q;                       // rows of the segment that have entered
  logic [ROWS-1:0] open_q;                      // windows that the cursor is in
  logic [15:0] word_q;                          // word of the pixel: channel word * planes + plane
  logic [3:0]  plane_q;
  logic [11:0] cw_q;

  logic signed [CW-1:0] seg_y, seg_x, first_x;  // first_x: where the cursor starts
  logic odd;  // pairs of pixels: a pixel before the window
  assign odd     = pair_pixels && ky_q[0] && kernel_w[0];
  assign first_x = seg_x - CW'(odd);
  assign seg_y = y_q + py_y_q;
  assign seg_x = x_q + px_x_q;

  // ---- Products with the strides -----------------------------------------------------------------
  // row_product_q: of the window row that comes next. segment_product_q, enter_product_q: of seg_x
  // and of enter_x_q.
  logic signed [CW-1:0] factor_y, factor_x;
  logic signed [CW+16:0] product_y, product_x;
  logic [AW-1:0] row_product_q, segment_product_q, enter_product_q;
  assign factor_y  = (state_q == SEGMENT ? seg_y : wy_q + dilation_h) >>> up;
  assign factor_x  = (state_q == SEGMENT ? seg_x
                      : (state_q == WINDOW_ROW ? first_x : enter_x_q) + step_w) >>> up;
  assign product_y = factor_y * $signed({1'b0, row_stride});
  assign product_x = factor_x * $signed({1'b0, pixel_stride});

  // ---- The cursor's step -------------------------------------------------------------------------
  logic [ROWS-1:0] takes, takes_next, open_after;  // takes_next: the second pixel of a pair
  logic resting, last_plane, last_cw, last_word, pixel_end, more_rows, window_row_end, enters;
  logic signed [CW-1:0] next_x;
  logic [AW-1:0] next_addr;
  logic [3:0]  planes, plane_step;
  logic [11:0] words, word_step;
  assign resting        = state_q == RES;
  assign plane_step     = (resting ? pair_second : pair_planes) ? 4'd2 : 4'd1;
  assign word_step      = pair_words && !resting ? 12'd2 : 12'd1;
  assign planes         = resting ? res_planes : in_planes;
  assign words          = resting ? res_words : in_words;
  assign last_plane     = plane_q + plane_step == planes;
  assign last_cw        = cw_q + word_step == words;
  assign last_word      = last_plane && last_cw;
  assign pixel_end      = state_q == WALK && (last_word || (takes | takes_next) == '0);
  assign more_rows      = entered_q != count_q;
  assign window_row_end = pixel_end && open_after == '0 && !more_rows;
  assign next_x         = open_after != '0 ? cx_q + (pair_pixels ? CW'(2) : CW'(1)) : enter_x_q;
  assign next_addr      = open_after == '0 ? row_addr_q + enter_product_q
                        : !up || cx_q[0] ? cx_addr_q + AW'(pixel_stride) + AW'(pair_pixels)
                        : cx_addr_q;
  assign enters         = more_rows && next_x == enter_x_q;

  // A row enters: at the start of a window row (the segment's first) or when the cursor meets it.
  logic enter_now;
  logic [RW:0] enter_row;
  logic signed [CW-1:0] enter_x;
  assign enter_now = state_q == WINDOW_ROW || (pixel_end && enters);
  assign enter_row = state_q == WINDOW_ROW ? row_q : row_q + entered_q;
  assign enter_x   = state_q == WINDOW_ROW ? seg_x : enter_x_q;

  always_ff @(posedge clk_i) begin
    row_product_q <= product_y[AW-1:0];
    if (state_q == SEGMENT) segment_product_q <= product_x[AW-1:0];
    if (enter_now) enter_product_q <= product_x[AW-1:0];
  end

  logic segment_end, fill_end;
  logic [RW:0] row_after;
  logic [15:0] ox_after;
  logic image_row_end, image_end, all_end;
  assign segment_end   = window_row_end && ky_q + 12'd1 == kernel_h;
  assign row_after     = row_q + count_q;
  assign ox_after      = ox_q + 16'(count_q);
  assign image_row_end = ox_after == out_w;
  assign image_end     = image_row_end && oy_q + 16'd1 == out_h;
  assign all_end       = image_end && n_q + 16'd1 == images;
  assign fill_end      = segment_end && (row_after == (RW + 1)'(ROWS) || all_end || spread);

  logic last_px, last_py, all_done_q;
  assign last_px = px_q + 12'd1 == pool_w;
  assign last_py = py_q + 12'd1 == pool_h;

  logic [1:0] free_q;  // halves that may be filled
  always_ff @(posedge clk_i)
    if (rst_i || layer_start_i) free_q <= 2'd2;
    else free_q <= free_q + 2'(half_release_i) - 2'(fill_done_o);

  // Zeros are wanted where a window's bytes do not fill its last word.
  logic [BW-1:0] window_rest;
  logic flushes, flush_end, second, res_end;
  logic [RW:0] filled_q;  // rows of the fill
  assign window_rest = kernel_h[BW-1:0] * kernel_w[BW-1:0] * in_last_bytes[BW-1:0];
  assign flushes     = !rotated && window_rest != '0;
  assign flush_end   = state_q == FLUSH && (last_plane || spread);
  assign second      = res_planes != '0;
  assign res_end     = resting && last_word && row_q == filled_q - 1'b1;

  always_ff @(posedge clk_i)
    if (rst_i) state_q <= IDLE;
    else
      case (state_q)
        IDLE: if (layer_start_i) state_q <= SETUP;
        SETUP: state_q <= SEGMENT;
        SEGMENT: if (free_q != 2'd0) state_q <= WINDOW_ROW;
        WINDOW_ROW: state_q <= WALK;
        WALK:
        if (fill_end) state_q <= flushes ? FLUSH : second ? RES_LOAD : FINISH;
        else if (segment_end) state_q <= SEGMENT;
        else if (window_row_end) state_q <= WINDOW_ROW;
        FLUSH: if (flush_end) state_q <= second ? RES_LOAD : FINISH;
        RES_LOAD: state_q <= RES;
        RES: if (res_end) state_q <= FINISH;
        default: state_q <= last_fill_o ? IDLE : SEGMENT;
      endcase

  assign fill_done_o  = state_q == FINISH;
  assign fill_first_o = py_q == '0 && px_q == '0;
  assign fill_final_o = last_px && last_py;
  assign last_fill_o  = fill_final_o && all_done_q;

  // ---- Output pixel counters ---------------------------------------------------------------------
  always_ff @(posedge clk_i)
    if (state_q == SETUP) begin
      {n_q, oy_q, ox_q} <= '0;
      y_q        <= -origin_h;
      x_q        <= -origin_w;
      image_q    <= in_base;
      res_q      <= res_base;
      all_done_q <= 1'b0;
    end else if (segment_end) begin
      all_done_q <= all_end;
      ox_q       <= image_row_end ? '0 : ox_after;
      x_q        <= image_row_end ? -origin_w : enter_x_q + CW'(odd) - px_x_q;
      if (image_row_end) begin
        oy_q <= image_end ? '0 : oy_q + 16'd1;
        y_q  <= image_end ? -origin_h : y_q + step_h;
      end
      if (image_end) begin
        n_q     <= n_q + 16'd1;
        image_q <= image_q + image_stride;
      end
    end else if (resting && last_word) begin
      res_q <= res_q + (res_row_end ? res_row_step : res_pixel_stride);
    end else if (fill_done_o && !fill_final_o) begin
      {n_q, oy_q, ox_q}      <= {tile_n_q, tile_oy_q, tile_ox_q};
      {y_q, x_q}             <= {tile_y_q, tile_x_q};
      {image_q, res_q}       <= {tile_image_q, tile_res_q};
    end

  always_ff @(posedge clk_i)
    if (state_q == SEGMENT && row_q == '0 && fill_first_o) begin
      {tile_n_q, tile_oy_q, tile_ox_q} <= {n_q, oy_q, ox_q};
      {tile_y_q, tile_x_q}             <= {y_q, x_q};
      {tile_image_q, tile_res_q}       <= {image_q, res_q};
    end

  // Pooling offset: px inside py.
  always_ff @(posedge clk_i)
    if (state_q == SETUP || (fill_done_o && fill_final_o)) begin
      {py_q, px_q}     <= '0;
      {py_y_q, px_x_q} <= '0;
    end else if (fill_done_o) begin
      px_q   <= last_px ? '0 : px_q + 12'd1;
      px_x_q <= last_px ? '0 : px_x_q + stride_w;
      if (last_px) begin
        py_q   <= py_q + 12'd1;
        py_y_q <= py_y_q + stride_h;
      end
    end

  // ---- Segment, window row, cursor ---------------------------------------------------------------
  always_ff @(posedge clk_i)
    if (state_q == SETUP || state_q == RES_LOAD || fill_done_o) row_q <= '0;
    else if (segment_end) row_q <= row_after;
    else if (resting && last_word) row_q <= row_q + 1'b1;

  always_ff @(posedge clk_i) if (fill_end) filled_q <= row_after;

  // Where in its output row the pixel is whose second source is read.
  logic [15:0] res_ox_q;
  logic        res_row_end;
  assign res_row_end = res_ox_q + 16'd1 == out_w;
  always_ff @(posedge clk_i)
    if (state_q == RES_LOAD) res_ox_q <= tile_ox_q;
    else if (resting && last_word) res_ox_q <= res_row_end ? '0 : res_ox_q + 16'd1;

  always_ff @(posedge clk_i)
    if (state_q == SEGMENT) begin
      count_q <= count_d;
      ky_q    <= '0;
      wy_q    <= seg_y;
    end else if (window_row_end) begin
      ky_q <= ky_q + 12'd1;
      wy_q <= wy_q + dilation_h;
    end

  logic inside_rows_q;  // the window row lies in the input
  always_ff @(posedge clk_i)
    if (state_q == WINDOW_ROW) begin
      inside_rows_q <= wy_q >= 0 && wy_q < in_h;
      row_addr_q    <= image_q + row_product_q;
      cx_q          <= first_x;
      cx_addr_q     <= image_q + row_product_q + segment_product_q - AW'(odd);
      enter_x_q     <= first_x + step_w;
      entered_q     <= (RW + 1)'(1);
    end else if (pixel_end) begin
      cx_q      <= next_x;
      cx_addr_q <= next_addr;
      if (enters) begin
        enter_x_q <= enter_x_q + step_w;
        entered_q <= entered_q + 1'b1;
      end
    end

  always_ff @(posedge clk_i)
    if (state_q == WINDOW_ROW || state_q == RES_LOAD || pixel_end || (resting && last_word)) begin
      word_q  <= '0;
      plane_q <= '0;
      cw_q    <= '0;
    end else if (state_q == WALK || state_q == FLUSH || resting) begin
      word_q  <= word_q + 16'(plane_step) + 16'(word_step) - 16'd1;
      plane_q <= last_plane ? '0 : plane_q + plane_step;
      if (last_plane) cw_q <= cw_q + word_step;
    end

  // What the fill is: rows that are pixels, rows inside the convolution's output.
  logic inside_y, inside_x;
  logic signed [CW-1:0] padded_y, padded_x;  // wrapping round only where they are beyond the end
  assign padded_y = seg_y + pad_top;
  assign padded_x = enter_x + pad_left;
  assign inside_y = !padded_y[CW-1] && seg_y < end_h;
  assign inside_x = !padded_x[CW-1] && enter_x < end_w;
  always_ff @(posedge clk_i)
    if (state_q == SETUP || fill_done_o) {fill_live_o, fill_valid_o} <= '0;
    else if (enter_now && ky_q == '0)
      for (int r = 0; r < ROWS; r++)
        if (enter_row == (RW + 1)'(r)) begin
          fill_live_o[r]  <= 1'b1;
          fill_valid_o[r] <= inside_y && inside_x;
        end

  // ---- Stage A: read; stage B: write to the rows -------------------------------------------------
  // Word 0, and in pairs word 1, which lies behind it. A pair of pixels may begin before the input.
  logic pairs, take_now, take_next, in_map, in_map_next, beyond;
  logic in_x, in_next_x;
  logic signed [CW-1:0] from_end;
  logic [AW-1:0] address;
  assign pairs        = resting ? pair_second : pair_planes || pair_words || pair_pixels;
  assign take_now     = (state_q == WALK && takes != '0) || resting;
  assign take_next    = pairs && ((state_q == WALK && (pair_pixels ? takes_next : takes) != '0) || resting);
  assign from_end     = cx_q - in_w;
  assign in_x         = !cx_q[CW-1] && from_end[CW-1];
  assign in_next_x    = (!cx_q[CW-1] || cx_q == '1) && from_end[CW-1] && from_end != '1;
  assign in_map       = resting || (inside_rows_q && in_x);
  assign in_map_next  = pair_pixels && !resting ? inside_rows_q && in_next_x : in_map;
  assign address      = (resting ? res_q : cx_addr_q) + AW'(word_q);
  assign act_raddr_o  = address[15:0];

  logic reads, reads_next, above;
  assign reads      = take_now && in_map;
  assign reads_next = take_next && in_map_next;
  assign above      = address >= AW'(ACT_DEPTH);
  assign beyond     = (reads && above) ||
                      (reads_next && (above ? address != '1 : address == AW'(ACT_DEPTH - 1)));
  assign act_re_o[0] = reads && !above;
  generate
    if (GATHER_WORDS == 2) begin : gen_read_next
      assign act_re_o[1] = reads_next && !beyond;
    end
  endgenerate

  // A word as it enters: as read, zero, the padding's bit in its lanes, or in all lanes.
  localparam logic [1:0] READ = 2'd0, ZERO = 2'd1, LANES_SET = 2'd2, ALL_SET = 2'd3;
  function automatic logic [1:0] kind(input logic read, input logic bit_value, input logic last);
    kind = read ? READ : !bit_value ? ZERO : last ? LANES_SET : ALL_SET;
  endfunction
  logic [LANES-1:0] last_mask;
  assign last_mask = ~({LANES{1'b1}} << in_last_lanes[$clog2(LANES):0]);

  logic [ROWS-1:0] spread_rows, rows_now;
  always_comb begin
    spread_rows = '0;
    spread_rows[plane_q[RW-1:0]] = takes[0];
    if (lone) spread_rows[1] = takes[0];
    rows_now = takes;
    if (spread) rows_now = spread_rows;
    if (resting) begin
      rows_now = '0;
      rows_now[row_q[RW-1:0]] = 1'b1;
    end
    if (state_q == FLUSH)  // no others: the array may still read them
      for (int i = 0; i < ROWS; i++) rows_now[i] = spread ? 4'(i) < in_planes || (i == 1 && lone) : fill_live_o[i];
  end

  logic [ROWS-1:0] rows_next;  // that take word 1
  assign rows_next = !pairs ? '0 : pair_pixels && state_q == WALK ? takes_next : rows_now;

  // Bytes: how many of the word enter, and by how many the pointers move after it.
  logic [BW:0] size, advance;
  logic        moves;
  assign size    = last_cw && !rotated && !resting ? (BW + 1)'(in_last_bytes) : (BW + 1)'(BYTES);
  assign moves   = last_plane || (spread && !resting);
  assign advance = !moves ? '0 : !rotated || resting ? size
                 : last_cw ? (BW + 1)'(COLS / 8) : '0;

  // Word of plane 0 + offset is the word written; rotated windows add the channel word's region.
  logic [GW-1:0] region_q, offset;
  logic [PW-1:0] offset_d;
  always_ff @(posedge clk_i)
    if (state_q == WINDOW_ROW || pixel_end || !rotated) region_q <= '0;
    else if (state_q == WALK && last_plane) region_q <= region_q + GW'(group_stride);
  assign offset   = spread && !resting ? '0 : (resting ? '0 : region_q) + GW'(plane_q);
  assign offset_d = offset > GW'(ROW_DEPTH) ? PW'(ROW_DEPTH) : PW'(offset);

  logic             b_valid_q, b_flush_q, b_load_q, b_rotated_q;
  logic             b_pairs_q, b_pixels_q;
  logic [ROWS-1:0]  b_rows_q, b_rows_next_q;
  logic [1:0]       b_kind_q, b_kind_next_q;
  logic [BW:0]      b_size_q, b_advance_q;
  logic [PW-1:0]    b_offset_q;
  logic [3:0]       b_step_q;
  always_ff @(posedge clk_i)
    if (rst_i) {b_valid_q, b_flush_q, b_load_q} <= '0;
    else {b_valid_q, b_flush_q, b_load_q} <= {take_now || take_next, state_q == FLUSH, state_q == RES_LOAD};
  always_ff @(posedge clk_i)
    if (take_now || take_next || state_q == FLUSH) begin
      b_rows_q      <= rows_now;
      b_rows_next_q <= rows_next;
      b_pairs_q     <= pairs;
      b_pixels_q    <= pair_pixels && !resting;
      b_kind_q      <= state_q == FLUSH ? ZERO : kind(in_map, pad_value[plane_q[2:0]], last_cw && !pair_words);
      b_kind_next_q <= state_q == FLUSH ? ZERO
                     : !pairs ? kind(in_map, pad_value[plane_q[2:0]], last_cw)
                              : kind(in_map_next, pad_value[{plane_q[2:1], pair_planes}], last_cw);
      b_size_q    <= size;
      b_advance_q <= advance;
      b_offset_q  <= offset_d;
      b_step_q    <= resting ? res_planes : spread ? 4'd1 : pair_words ? 4'd2 : in_planes;
      b_rotated_q <= rotated && !resting;
    end

  logic half_q;
  always_ff @(posedge clk_i)
    if (rst_i || layer_start_i) half_q <= 1'b0;
    else if (fill_done_o) half_q <= !half_q;

  // The cursor's x modulo the dilation, counted from anywhere: rows remember it as they enter.
  logic [7:0] cursor_phase_q, cursor_phase_d;
  assign cursor_phase_d = cursor_phase_q + 8'd1 == dilation_w ? '0 : cursor_phase_q + 8'd1;
  always_ff @(posedge clk_i)
    if (layer_start_i) cursor_phase_q <= '0;
    else if (state_q == WINDOW_ROW || pixel_end) cursor_phase_q <= cursor_phase_d;

  // One row: whether the cursor is in its window, where in it, and where its next byte goes.
  logic [ROWS-1:0] too_long;
  // Whether a word's index is beyond the half: both limits are powers of two.
  localparam int WW = $clog2(ROW_DEPTH / SLOTS);
  function automatic logic outside(input logic [PW:WW] index);
    outside = index[PW:PW-1] != '0 || (b_rotated_q && index[PW-2:WW] != '0);
  endfunction
  always_comb begin
    fill_we_o = '0;
    if (b_valid_q || b_flush_q)
      for (int i = 0; i < ROWS; i++)
        fill_we_o[i*GATHER_WORDS+:GATHER_WORDS] = GATHER_WORDS'({b_rows_next_q[i], b_rows_q[i]});
  end
  genvar r;
  generate
    for (r = 0; r < ROWS; r = r + 1) begin : gen_row
      logic [7:0]    phase_q;  // phase of the taps
      logic [12:0]   left_q;   // taps from the cursor on, with the pixel before an odd start
      logic          before_q; // the cursor is at that pixel
      logic          enters_now, at_tap, last_tap;
      assign enters_now    = enter_now && enter_row == (RW + 1)'(r);
      assign last_tap      = left_q[12:2] == '0 && (left_q[1:0] == 2'd1 || (pair_pixels && left_q[1:0] == 2'd2));
      assign at_tap        = phase_q == cursor_phase_q;
      assign takes[r]      = open_q[r] && at_tap && !before_q;
      assign takes_next[r] = pair_pixels && open_q[r] && left_q != 13'd1;
      assign open_after[r] = open_q[r] && !(at_tap && last_tap);
      always_ff @(posedge clk_i)
        if (state_q == WINDOW_ROW || pixel_end)
          if (enters_now) begin
            open_q[r] <= 1'b1;
            phase_q   <= cursor_phase_d;
            left_q    <= 13'(kernel_w) + 13'(odd);
            before_q  <= odd;
          end else if (state_q == WINDOW_ROW) begin
            open_q[r] <= 1'b0;
          end else if (open_q[r]) begin
            open_q[r] <= open_after[r];
            if (at_tap) left_q <= left_q - (pair_pixels ? 13'd2 : 13'd1);
            before_q  <= 1'b0;
          end

      // pointer: word of plane 0, byte in it
      logic [PW-1:0] pointer_q;
      logic [BW-1:0] byte_q;
      logic [BW:0]   byte_after;
      logic [PW:0]   word, next;
      logic          writes, spills;
      logic [3:0]    step;
      assign writes = fill_we_o[r*GATHER_WORDS+:GATHER_WORDS] != '0;
      always_comb begin
        word        = 'x;
        next        = 'x;
        step        = 'x;
        byte_after  = 'x;
        spills      = 'x;
        too_long[r] = 1'b0;
        if (writes) begin  // else nobody looks, and simulation rests
          word        = (PW + 1)'({pointer_q[PW-1:1], pointer_q[0] && !b_pixels_q}) + (PW + 1)'(b_offset_q);
          step        = b_pixels_q ? {2'b0, b_rows_q[r] && b_rows_next_q[r], b_rows_q[r] != b_rows_next_q[r]}
                                   : b_step_q;
          next        = word + (PW + 1)'(b_step_q);
          byte_after  = (BW + 1)'(byte_q) + b_advance_q;
          spills      = {1'b0, (BW + 1)'(byte_q)} + {1'b0, b_size_q} > (BW + 2)'(BYTES);
          too_long[r] = b_valid_q && (outside(word[PW:WW]) || (spills && outside(next[PW:WW])));
        end
      end
      always_ff @(posedge clk_i)
        if (layer_start_i || fill_done_o) begin
          pointer_q <= '0;
          byte_q    <= '0;
        end else if (b_load_q) begin
          pointer_q <= res_offset > 16'(ROW_DEPTH) ? PW'(ROW_DEPTH) : PW'(res_offset);
          byte_q    <= '0;
        end else if (b_valid_q && writes) begin
          byte_q <= byte_after[BW-1:0];
          if (byte_after[BW]) pointer_q <= pointer_q + PW'(step);
        end
      assign fill_addr_o[r*16+:16]  = 16'(word);
      assign fill_next_o[r*16+:16]  = 16'(next);
      assign fill_shift_o[r*4+:4]   = 4'(byte_q);
    end
  endgenerate
  assign fill_bytes_o   = ~({BYTES{1'b1}} << b_size_q);
  assign fill_flush_o   = b_flush_q;
  assign fill_rotated_o = b_rotated_q;
  assign fill_half_o    = half_q;
  assign fill_pair_o    = b_pairs_q;
  function automatic logic [LANES-1:0] filled(input logic [1:0] what, input logic [LANES-1:0] read,
                                              input logic [LANES-1:0] mask);
    case (what)
      READ: filled = read;
      ZERO: filled = '0;
      LANES_SET: filled = mask;
      default: filled = '1;
    endcase
  endfunction
  assign fill_data_o[LANES-1:0] = filled(b_kind_q, act_rdata_i[LANES-1:0], last_mask);
  generate
    if (GATHER_WORDS == 2) begin : gen_data_next
      assign fill_data_o[LANES+:LANES] = filled(b_kind_next_q, act_rdata_i[LANES+:LANES], last_mask);
    end else begin : gen_no_next
      wire unused_next = &{1'b0, b_kind_next_q, beyond, 1'b0};
    end
  endgenerate

  always_ff @(posedge clk_i)
    if (rst_i || layer_start_i) faults_o <= '0;
    else faults_o <= faults_o | {too_long != '0, beyond};

  wire unused = &{1'b0, desc_i, in_last_lanes, padded_y, padded_x, in_last_bytes, product_y, product_x, 1'b0};
endmodule

`default_nettype wire
