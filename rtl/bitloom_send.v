// SPDX-License-Identifier: Apache-2.0
// Sends regions of activation memory as answers: words of LANES bits become a stream of 32-bit words
// that holds only the low bytes asked for.
//
// Why a queue of one: the host may ask for a result before the layer that makes it has run. A region
// waits until every run accepted before it has ended; behind it one more may wait.
//
//   memory -> word -> byte group (LANES/32:1) -> rotate (4:1) -> stream word, byte enables
//
// Contract: queue_i with the fields while queue_ready_o; runs_queued_i is the number of runs accepted
// so far (modulo 256), runs_done_i the number ended. answer_* asks for an answer and then gives its
// payload, length_o bytes padded with zeros. The engine has the memory's read port whenever it wants
// it (act_busy_i); a word is read in a free cycle.
// Throughput: about a memory word in two cycles, or a stream word in two cycles where words are
// longer.
`default_nettype none

module bitloom_send #(
  parameter int LANES = 32,
  parameter int ACT_DEPTH = 16384,  // words, a power of two
  localparam int COUNT_W = $clog2(ACT_DEPTH) + 1,
  localparam int LENGTH_W = $clog2(ACT_DEPTH * LANES / 8) + 1
) (
  input  logic                clk_i,
  input  logic                rst_i,
  input  logic                queue_i,
  output logic                queue_ready_o,
  input  logic [15:0]         tag_i,
  input  logic [15:0]         address_i,
  input  logic [COUNT_W-1:0]  count_i,   // words, 1..ACT_DEPTH
  input  logic [4:0]          bytes_i,   // of each word, 1..LANES/8
  input  logic [7:0]          runs_queued_i,
  input  logic [7:0]          runs_done_i,
  output logic                idle_o,
  output logic                active_o,
  // activation memory, one cycle of latency
  input  logic                act_busy_i,
  output logic                act_re_o,
  output logic [15:0]         act_raddr_o,
  input  logic [LANES-1:0]    act_rdata_i,
  // answer
  output logic                answer_o,
  input  logic                answer_take_i, // its header was taken
  output logic [15:0]         tag_o,
  output logic [LENGTH_W-1:0] length_o,
  output logic                word_valid_o,
  input  logic                word_ready_i,
  output logic [31:0]         word_o
);
  typedef enum logic [1:0] {EMPTY, WAIT, ASK, STREAM} state_t;
  state_t state_q;

  // The queue: one behind the active region.
  logic               next_valid_q;
  logic [15:0]        next_tag_q, next_address_q;
  logic [COUNT_W-1:0] next_count_q;
  logic [4:0]         next_bytes_q;
  logic [7:0]         next_runs_q;
  logic               start, done;
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
      length_o <= LENGTH_W'(next_count_q * LENGTH_W'(next_bytes_q));
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
  logic [COUNT_W-1:0] left_q;  // words still to be read
  logic [15:0]        address_q;
  logic               none_left, reading_q, ahead_valid_q, take;
  logic [LANES-1:0]   ahead_q;
  assign none_left   = left_q == '0;
  assign act_re_o    = state_q == STREAM && !none_left && !reading_q && !ahead_valid_q &&
                       !act_busy_i;
  assign act_raddr_o = address_q;
  always_ff @(posedge clk_i)
    if (start) begin
      left_q    <= next_count_q;
      address_q <= next_address_q;
    end else if (act_re_o) begin
      left_q    <= left_q - COUNT_W'(1);
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

  // Bytes of the current word move into the stream word, up to four a cycle: those of one group of
  // four, to where the stream word has room.
  localparam int GROUPS = (LANES + 31) / 32;
  logic [GROUPS*32-1:0] word_q;
  logic [4:0]  place_q;          // bytes of it that have moved; bytes_q: all
  logic [1:0]  fill_q;           // bytes in the stream word, unless it is full
  logic        full_q, empty, move, last;
  logic [31:0] group, rotated, out_q;
  logic [4:0]  have;             // bytes left of the word
  logic [2:0]  room, offered, count;
  logic [3:0]  some, lanes;
  assign have    = bytes_q - place_q;
  assign empty   = have == '0;
  assign room    = 3'd4 - {1'b0, fill_q};
  assign offered = 3'd4 - {1'b0, place_q[1:0]};
  assign take = ahead_valid_q && empty;
  assign last = none_left && !reading_q && !ahead_valid_q && empty;
  assign move = !empty && !full_q;
  always_comb begin
    count   = 'x;
    some    = 'x;
    lanes   = 'x;
    group   = 'x;
    rotated = 'x;
    if (move) begin  // otherwise nobody looks, and simulation rests
      count = room < offered ? room : offered;
      if (have[4:2] == '0 && {1'b0, have[1:0]} < count) count = {1'b0, have[1:0]};
      some = {count[2], count[2] || &count[1:0], count[2] || count[1], count != '0};
      case (fill_q)
        2'd0: lanes = some;
        2'd1: lanes = {some[2:0], 1'b0};
        2'd2: lanes = {some[1:0], 2'b00};
        default: lanes = {some[0], 3'b000};
      endcase
      group = word_q[31:0];
      for (int g = 1; g < GROUPS; g++) if (place_q[4:2] == 3'(g)) group = word_q[g*32+:32];
      case (place_q[1:0] - fill_q)
        2'd0: rotated = group;
        2'd1: rotated = {group[7:0], group[31:8]};
        2'd2: rotated = {group[15:0], group[31:16]};
        default: rotated = {group[23:0], group[31:24]};
      endcase
    end
  end

  always_ff @(posedge clk_i) if (take) word_q <= (GROUPS * 32)'(ahead_q);
  always_ff @(posedge clk_i)
    if (start) place_q <= next_bytes_q;
    else if (take) place_q <= '0;
    else if (move) place_q <= place_q + {2'b00, count};

  logic gone;
  assign gone = word_valid_o && word_ready_i;
  always_ff @(posedge clk_i)
    if (rst_i || start || gone) begin
      fill_q <= '0;
      full_q <= 1'b0;
    end else if (move) {full_q, fill_q} <= {1'b0, fill_q} + count;
  always_ff @(posedge clk_i)
    if (start || gone) out_q <= '0;
    else if (move)
      for (int l = 0; l < 4; l++) if (lanes[l]) out_q[l*8+:8] <= rotated[l*8+:8];
  assign word_valid_o = state_q == STREAM && (full_q || (last && fill_q != '0));
  assign word_o       = out_q;
  assign done         = last && fill_q == '0 && !full_q && state_q == STREAM;
endmodule

`default_nettype wire
