// SPDX-License-Identifier: Apache-2.0
// Sends regions of activation memory as answers: words of LANES bits become a stream of 32-bit words
// that holds only the low bytes asked for.
//
// Why a queue of one: the host may ask for a result before the layer that makes it has run. A region
// waits until every run accepted before it has ended; behind it one more may wait.
//
// Contract: queue_i with the fields while queue_ready_o; runs_queued_i is the number of runs accepted
// so far (modulo 256), runs_done_i the number ended. answer_* asks for an answer and then gives its
// payload, length_o bytes padded with zeros. The engine has the memory's read port whenever it wants
// it (act_busy_i); a word is read in a free cycle.
// Throughput: about a memory word in two cycles, or a stream word a cycle where words are longer.
`default_nettype none

module bitloom_send #(
  parameter LANES = 32
) (
  input  logic             clk_i,
  input  logic             rst_i,
  input  logic             queue_i,
  output logic             queue_ready_o,
  input  logic [15:0]      tag_i,
  input  logic [15:0]      address_i,
  input  logic [23:0]      count_i,   // words, >= 1
  input  logic [4:0]       bytes_i,   // of each word, 1..LANES/8
  input  logic [7:0]       runs_queued_i,
  input  logic [7:0]       runs_done_i,
  output logic             idle_o,
  output logic             active_o,
  // activation memory, one cycle of latency
  input  logic             act_busy_i,
  output logic             act_re_o,
  output logic [15:0]      act_raddr_o,
  input  logic [LANES-1:0] act_rdata_i,
  // answer
  output logic             answer_o,
  input  logic             answer_take_i, // its header was taken
  output logic [15:0]      tag_o,
  output logic [31:0]      length_o,
  output logic             word_valid_o,
  input  logic             word_ready_i,
  output logic [31:0]      word_o
);
  typedef enum logic [1:0] {EMPTY, WAIT, ASK, STREAM} state_t;
  state_t state_q;

  // The queue: one behind the active region.
  logic        next_valid_q;
  logic [15:0] next_tag_q, next_address_q;
  logic [23:0] next_count_q;
  logic [4:0]  next_bytes_q;
  logic [7:0]  next_runs_q;
  logic        start, done;
  assign queue_ready_o = !next_valid_q;
  assign start = next_valid_q && state_q == EMPTY;
  always_ff @(posedge clk_i)
    if (rst_i) next_valid_q <= 1'b0;
    else if (queue_i) next_valid_q <= 1'b1;
    else if (start) next_valid_q <= 1'b0;
  always_ff @(posedge clk_i)
    if (queue_i) begin
      next_tag_q     <= tag_i;
      next_address_q <= address_i;
      next_count_q   <= count_i;
      next_bytes_q   <= bytes_i;
      next_runs_q    <= runs_queued_i;
    end

  logic [4:0] bytes_q;
  logic [7:0] runs_q, ahead;  // runs that must have ended; how many have not
  assign ahead = runs_q - runs_done_i;
  always_ff @(posedge clk_i)
    if (start) begin
      tag_o    <= next_tag_q;
      length_o <= 32'(next_count_q * 29'(next_bytes_q));
      bytes_q  <= next_bytes_q;
      runs_q   <= next_runs_q;
    end

  always_ff @(posedge clk_i)
    if (rst_i) state_q <= EMPTY;
    else
      case (state_q)
        EMPTY: if (start) state_q <= WAIT;
        WAIT: if (ahead == 8'd0 || ahead[7]) state_q <= ASK;
        ASK: if (answer_take_i) state_q <= STREAM;
        default: if (done) state_q <= EMPTY;
      endcase
  assign answer_o = state_q == ASK;
  assign idle_o   = state_q == EMPTY && !next_valid_q;
  assign active_o = state_q == ASK || state_q == STREAM;

  // Read ahead by one word.
  logic [23:0]      left_q;  // words still to be read
  logic [15:0]      address_q;
  logic             reading_q, ahead_valid_q, take;
  logic [LANES-1:0] ahead_q;
  assign act_re_o    = state_q == STREAM && left_q != '0 && !reading_q && !ahead_valid_q &&
                       !act_busy_i;
  assign act_raddr_o = address_q;
  always_ff @(posedge clk_i)
    if (start) begin
      left_q    <= next_count_q;
      address_q <= next_address_q;
    end else if (act_re_o) begin
      left_q    <= left_q - 24'd1;
      address_q <= address_q + 16'd1;
    end
  always_ff @(posedge clk_i)
    if (rst_i || start) begin
      reading_q     <= 1'b0;
      ahead_valid_q <= 1'b0;
    end else begin
      reading_q <= act_re_o;
      if (reading_q) ahead_valid_q <= 1'b1;
      else if (take) ahead_valid_q <= 1'b0;
    end
  always_ff @(posedge clk_i) if (reading_q) ahead_q <= act_rdata_i;

  // Bytes of the current word move into the stream word, up to four a cycle.
  logic [LANES+31:0] word_q;
  logic [4:0]        have_q;   // bytes of it left
  logic [2:0]        fill_q;   // bytes in the stream word
  logic [31:0]       out_q, piece;
  logic [2:0]        room, count;
  logic              move, last, emit;
  assign room  = 3'd4 - fill_q;
  assign count = have_q < 5'(room) ? have_q[2:0] : room;
  assign take  = ahead_valid_q && have_q == '0;
  assign last  = left_q == '0 && !reading_q && !ahead_valid_q && have_q == '0;
  assign emit  = fill_q == 3'd4 || (last && fill_q != '0);
  assign move  = have_q != '0 && fill_q != 3'd4;
  always_comb
    case (count)
      3'd1: piece = {24'd0, word_q[7:0]};
      3'd2: piece = {16'd0, word_q[15:0]};
      3'd3: piece = {8'd0, word_q[23:0]};
      default: piece = word_q[31:0];
    endcase

  always_ff @(posedge clk_i)
    if (rst_i || start) begin
      have_q <= '0;
      fill_q <= '0;
      out_q  <= '0;
    end else begin
      if (take) begin
        word_q <= (LANES + 32)'(ahead_q);
        have_q <= bytes_q;
      end else if (move) begin
        word_q <= word_q >> {count, 3'd0};
        have_q <= have_q - 5'(count);
      end
      if (word_valid_o && word_ready_i) begin
        out_q  <= '0;
        fill_q <= '0;
      end else if (move) begin
        out_q  <= out_q | (piece << {fill_q[1:0], 3'd0});
        fill_q <= fill_q + count;
      end
    end
  assign word_valid_o = state_q == STREAM && emit;
  assign word_o       = out_q;
  assign done         = last && fill_q == '0 && state_q == STREAM;
endmodule

`default_nettype wire
