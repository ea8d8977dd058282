// SPDX-License-Identifier: Apache-2.0
// The systolic array: ROWS x COLS processing elements, output-stationary, with the row buffers on its
// west side and, between them and column 0, the row-sum column.
//
//   row buffer 0 -> sum -> PE(0,0) -> PE(0,1) ...        weights enter from the north
//   row buffer 1 -> sum -> PE(1,0) -> PE(1,1) ...        results leave to the south, bottom row first
//
// A step is one reduction word: the row-buffer and weight addresses presented with step_valid_i are
// those of row 0 and column 0, and travel on by themselves. The row-sum column has a weight of all
// ones and adds only on steps with `sum`; it gives S, which bipolar weights need.
//
// Timing, for a last step presented in cycle t: column c's results for rows ROWS-1 .. 0 stand on
// p_o in cycles t+ROWS+2+c .. t+2*ROWS+1+c, with the rows' S on s_o (column 0's timing only, one
// word for all). Last steps must be at least ROWS cycles apart. Row r's buffer is read in cycle t+r.
`default_nettype none

module bitloom_array #(
    parameter ROWS = 8,
    parameter COLS = 8,
    parameter LANES = 32,
    parameter ACC_W = 32,
    parameter ROW_DEPTH = 1024,
    parameter GATHER_WORDS = 1  // words that a fill brings at once, 1 or 2
) (
    input  logic                  clk_i,
    input  logic                  rst_i,
    input  logic                  groups_i,  // the layer's windows are rotated; stable
    // row-buffer fill: words offered to all rows, each with its own address
    input  logic [ROWS*GATHER_WORDS-1:0]       fill_we_i,
    input  logic       fill_pair_i,
    input  logic                  fill_half_i,
    input  logic [ROWS*16-1:0]    fill_addr_i,
    input  logic [ROWS*16-1:0]    fill_next_i,
    input  logic [ROWS*4-1:0]     fill_shift_i,
    input  logic [LANES/8-1:0]    fill_bytes_i,
    input  logic                  fill_flush_i,
    input  logic                  fill_rotated_i,
    input  logic [LANES*GATHER_WORDS-1:0]      fill_data_i,
    // steps
    input  logic                  step_valid_i,
    input  logic                  step_shift_i,
    input  logic                  step_live_i,
    input  logic                  step_neg_i,
    input  logic                  step_sum_i,
    input  logic                  step_last_i,
    input  logic                  step_half_i,
    input  logic [15:0]           step_row_addr_i,
    input  logic [15:0]           step_weight_addr_i,
    // weight memories, one a column, one cycle of latency
    output logic [COLS-1:0]       weight_re_o,
    output logic [COLS*16-1:0]    weight_addr_o,
    input  logic [COLS*LANES-1:0] weight_data_i,
    // results
    output logic [COLS*ACC_W-1:0] p_o,
    output logic [ACC_W-1:0]      s_o
);
  genvar r, c;

  // Row side: requests go south through the row buffers; control is aligned with the word read.
  logic [ROWS:0]         read, read_half;
  logic [(ROWS+1)*16-1:0] read_addr;
  logic [ROWS*LANES-1:0] row_data;
  assign read[0]         = step_valid_i;
  assign read_half[0]    = step_half_i;
  // Two banks: {word in the bank, bank}. In rotated windows the bank is the lowest bit above the
  // group's number, so that two planes of a word lie in different ones.
  localparam GROUP_W = $clog2(LANES / COLS);
  assign read_addr[15:0] = GATHER_WORDS == 2 && groups_i
      ? {step_row_addr_i[15:GROUP_W+1], step_row_addr_i[GROUP_W-1:0], step_row_addr_i[GROUP_W]}
      : step_row_addr_i;

  // Whether a tile's accumulators stand complemented: as its step before left them (bitloom_pe).
  logic held_q;
  always_ff @(posedge clk_i)
    if (rst_i) held_q <= 1'b0;
    else if (step_valid_i) held_q <= step_neg_i && !step_last_i;

  // Control moves south and east together with the words: row r's column c is at stage r + c.
  genvar k;
  for (k = 0; k < ROWS + COLS; k = k + 1) begin : gen_stage
    logic [6:0] ctrl_q;  // {live, sum, valid, shift, turn, held, last}
    logic [6:0] ctrl;
    if (k == 0) begin : gen_enter
      assign ctrl = step_valid_i ? {step_live_i, step_sum_i, 1'b1, step_shift_i,
                                    step_neg_i ^ held_q, held_q, step_last_i} : '0;
    end else begin : gen_move
      assign ctrl = gen_stage[k-1].ctrl_q;
    end
    always_ff @(posedge clk_i)
      if (rst_i) ctrl_q <= 7'b0000001;
      else ctrl_q <= ctrl;
    wire unused = &{1'b0, ctrl_q[6:5], 1'b0};  // only the first column's are looked at
  end

  for (r = 0; r < ROWS; r = r + 1) begin : gen_row
    bitloom_row_buffer #(.COLS(COLS), .LANES(LANES), .ROW_DEPTH(ROW_DEPTH),
                         .GATHER_WORDS(GATHER_WORDS)) u_buffer (
        .clk_i,
        .rst_i,
        .fill_we_i(fill_we_i[r*GATHER_WORDS+:GATHER_WORDS]),
        .fill_pair_i,
        .fill_half_i,
        .fill_addr_i(fill_addr_i[r*16+:16]),
        .fill_next_i(fill_next_i[r*16+:16]),
        .fill_shift_i(fill_shift_i[r*4+:4]),
        .fill_bytes_i,
        .fill_flush_i,
        .fill_rotated_i,
        .fill_data_i,
        .read_i(read[r]),
        .read_half_i(read_half[r]),
        .read_addr_i(read_addr[r*16+:16]),
        .read_o(read[r+1]),
        .read_half_o(read_half[r+1]),
        .read_addr_o(read_addr[(r+1)*16+:16]),
        .read_data_o(row_data[r*LANES+:LANES])
    );
  end

  wire unused = &{1'b0, read[ROWS], read_half[ROWS], read_addr[ROWS*16+:16], 1'b0};

  // Column side: column 0's word meets row 0's two cycles after the step (row buffer, row-sum
  // column), so its memory is read one cycle after the step, the next column's one later.
  always_ff @(posedge clk_i)
    if (rst_i) weight_re_o <= '0;
    else weight_re_o <= {weight_re_o[COLS-2:0], step_valid_i && step_live_i};

  always_ff @(posedge clk_i) begin
    if (step_valid_i) weight_addr_o[15:0] <= step_weight_addr_i;
    for (int i = 1; i < COLS; i++)
      if (weight_re_o[i-1]) weight_addr_o[i*16+:16] <= weight_addr_o[(i-1)*16+:16];
  end

  // The elements. Column index 0 is the row-sum column, c + 1 is column c.
  for (r = 0; r < ROWS; r = r + 1) begin : gen_pe_row
    for (c = 0; c <= COLS; c = c + 1) begin : gen_pe
      logic [LANES-1:0] a_in, a_out, w_in, w_out;
      logic [4:0]       ctrl_in;
      logic [ACC_W-1:0] shadow_in, shadow_out;
      logic             capture, drain;

      if (c == 0) begin : gen_sum
        assign a_in = row_data[r*LANES+:LANES] & {LANES{gen_stage[r].ctrl_q[6]}};
        assign w_in = {LANES{gen_stage[r].ctrl_q[5]}};
      end else begin : gen_mac
        assign a_in = gen_pe[c-1].a_out;
        if (r == 0) begin : gen_top
          assign w_in = weight_data_i[(c-1)*LANES+:LANES];
        end else begin : gen_below
          assign w_in = gen_pe_row[r-1].gen_pe[c].w_out;
        end
      end

      assign ctrl_in = gen_stage[r+c].ctrl_q[4:0];

      // Only the bottom row's register takes what is above it.
      assign drain     = r == ROWS - 1 && capture;
      assign shadow_in = r == ROWS - 1 ? gen_drain[c].above : '0;
      // a leaves in the east, w in the south; only the bottom row's capture is looked at
      wire unused_pe = &{1'b0, a_out, w_out, capture, 1'b0};

      bitloom_pe #(.LANES(LANES), .ACC_W(ACC_W), .DRAINS(r == ROWS - 1)) u_pe (
          .clk_i,
          .rst_i,
          .a_i(a_in),
          .w_i(w_in),
          .ctrl_i(ctrl_in),
          .a_o(a_out),
          .w_o(w_out),
          .drain_i(drain),
          .capture_o(capture),
          .shadow_i(shadow_in),
          .shadow_o(shadow_out)
      );
    end
  end

  // A column's results leave through its bottom row's register, that row's own first. The others wait
  // where they are; but the next tile's are there before the uppermost rows have had their turn, so
  // these are put aside when the bottom row captures.
  localparam ASIDE = (ROWS - 1) / 2;  // rows: 0 .. ASIDE-1
  localparam TURN_W = ROWS > 2 ? $clog2(ROWS - 1) : 1;
  localparam SLOT = (ACC_W + 31) / 32 * 32;  // whole words, which are cheap to simulate
  for (c = 0; c <= COLS; c = c + 1) begin : gen_drain
    logic             capture;
    logic              turning_q;  // a row above follows in this cycle
    logic [TURN_W-1:0] turn_q;     // ... this one
    logic [ACC_W-1:0]  above;
    logic [(1<<TURN_W)*SLOT-1:0] waiting;
    assign capture = gen_pe_row[ROWS-1].gen_pe[c].capture;
    if (c == 0) begin : gen_first
      always_ff @(posedge clk_i)
        if (capture) {turning_q, turn_q} <= {1'b1, TURN_W'(ROWS - 2)};
        else {turning_q, turn_q} <= {turning_q && turn_q != '0, turn_q - 1'b1};
    end else begin : gen_next
      always_ff @(posedge clk_i)
        {turning_q, turn_q} <= {gen_drain[c-1].turning_q, gen_drain[c-1].turn_q};
    end
    for (r = 0; r < 1 << TURN_W; r = r + 1) begin : gen_waiting
      if (r < ASIDE) begin : gen_aside
        logic [ACC_W-1:0] aside_q;
        always_ff @(posedge clk_i) if (capture) aside_q <= gen_pe_row[r].gen_pe[c].shadow_out;
        assign waiting[r*SLOT+:SLOT] = SLOT'(aside_q);
      end else begin : gen_in_place
        assign waiting[r*SLOT+:SLOT] = SLOT'(gen_pe_row[r<ROWS-1?r:ROWS-2].gen_pe[c].shadow_out);
      end
    end
    always_comb begin  // four rows are one table of six inputs
      above = 'x;
      if (turning_q) above = waiting[32'(turn_q)*SLOT+:ACC_W];  // only so that simulation rests
    end
    wire unused_drain = &{1'b0, capture, waiting, 1'b0};  // with two rows nothing is put aside
  end

  for (c = 0; c < COLS; c = c + 1) begin : gen_result
    assign p_o[c*ACC_W+:ACC_W] = gen_pe_row[ROWS-1].gen_pe[c+1].shadow_out;
  end
  // The row-sum column is one cycle ahead of column 0.
  always_ff @(posedge clk_i) s_o <= gen_pe_row[ROWS-1].gen_pe[0].shadow_out;
endmodule

`default_nettype wire
