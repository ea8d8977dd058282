// SPDX-License-Identifier: Apache-2.0
// The command processor: decides what each packet asks for, in the order they come.
//
//   packet -> checks -> loads (in line) | run queue | send queue | answers
//
// Framing is bitloom_packet's business, meaning is here: opcode, length, address; a load is executed
// in line, a run or send is handed on, a question is answered. What fails is answered with a status
// and, for a load, remembered as poison, so that no layer runs on words that are in doubt.
//
// Contract: docs/reference/device.md, sections Streams and Damage. desc_o holds the descriptor of
// the run offered with run_o until run_take_i. all_idle_i: no run or send under way, queued or still
// to be answered. It never waits for anything but these and the answer's way out, so it cannot
// deadlock while the host reads.
`default_nettype none
`include "bitloom_contract.vh"

module bitloom_command #(
  parameter ROWS = 8,
  parameter COLS = 8,
  parameter LANES = 32,
  parameter WEIGHT_DEPTH = 8192,
  parameter PARAM_DEPTH = 128,
  parameter K_DEPTH = 4096,
  parameter PASS_DEPTH = 512,
  parameter TILE_DEPTH = 256,
  parameter ACT_DEPTH = 16384,
  parameter TABLE_DEPTH = 2048,
  parameter UNIT_BYTES = 9
) (
  input  logic                    clk_i,
  input  logic                    rst_i,
  input  logic                    s_valid_i,
  output logic                    s_ready_o,
  input  logic [31:0]             s_data_i,
  // memory writes: unit_memory_o is one-hot over weights, params, K, pass, tile, activations, tables;
  // of a weight word only the bytes in unit_bytes_o
  output logic [6:0]              unit_memory_o,
  input  logic                    unit_ready_i,
  output logic [UNIT_BYTES*8-1:0] unit_data_o,
  output logic [LANES/8-1:0]      unit_bytes_o,
  output logic [7:0]              unit_column_o,
  output logic [15:0]             unit_address_o,
  // runs and sends
  output logic                    run_o,
  input  logic                    run_take_i,
  output logic [`BITLOOM_DESCRIPTOR_BITS-1:0] desc_o,
  output logic                    send_o,
  input  logic                    send_take_i,
  output logic [15:0]             tag_o,
  output logic [15:0]             address_o,
  output logic [31:0]             argument_o,
  input  logic                    all_idle_i,
  // answers
  output logic                    answer_o,
  input  logic                    answer_take_i,
  output logic [7:0]              answer_opcode_o,
  output logic [15:0]             answer_tag_o,
  output logic [7:0]              answer_status_o,
  output logic [31:0]             answer_info_o,
  output logic [7:0]              answer_length_o,
  // the counters, once nothing is under way: held until snapshot_done_i
  output logic                    snapshot_o,
  output logic                    snapshot_clear_o,
  input  logic                    snapshot_done_i,
  // for the counters and the status register
  output logic                    busy_o,
  output logic                    list_load_o,
  output logic [6:0]              poison_o
);
  localparam WORD_BYTES = LANES / 8;

  typedef enum logic [3:0] {
    PACKET,   // wait for a header or damage
    DIVIDE,   // a load's words
    DECIDE,   // the verdict stands
    DROP,     // payload of a refused packet
    LOAD,     // payload of a load
    DESC,     // payload of a run
    CLOSE,    // a load's payload was read: wait for its last unit
    JUDGE,    // a run's payload was read
    RUN,      // offer the run
    SEND,     // offer the send
    SETTLE,   // wait until nothing is under way
    SNAPSHOT, // have the counters read, cleared or both
    ANSWER    // give an answer
  } state_t;
  state_t state_q, after_q;  // after_q: where to go when the answer is taken

  logic bad, head, packet_end, sound, take;
  logic [31:0] word0, length, address, argument, payload;
  logic [7:0]  opcode;
  logic        payload_valid, payload_ready, payload_last, packet_busy;
  bitloom_packet u_packet (
    .clk_i, .rst_i, .s_valid_i, .s_ready_o, .s_data_i,
    .bad_o(bad), .head_o(head), .end_o(packet_end), .sound_o(sound), .take_i(take), .busy_o(packet_busy),
    .word0_o(word0), .opcode_o(opcode), .tag_o, .length_o(length), .address_o(address),
    .argument_o(argument), .payload_valid_o(payload_valid), .payload_ready_i(payload_ready),
    .payload_data_o(payload), .payload_last_o(payload_last)
  );
  assign address_o  = address[15:0];
  assign argument_o = argument;

  // ---- What the opcode means ---------------------------------------------------------------------
  logic        is_question, is_load, is_codes, is_run, is_send, has_columns;
  logic [2:0]  memory;
  logic [7:0]  upper, planes;
  logic [7:0]  unit;     // bytes of the payload to a word
  logic [7:0]  columns;
  logic [16:0] depth;
  logic        argument_ok;
  assign upper       = argument[31:24];
  assign planes      = argument[23:16];
  always_comb
    case (opcode)
      `BITLOOM_OP_IDENTIFY, `BITLOOM_OP_RESET, `BITLOOM_OP_FENCE, `BITLOOM_OP_COUNTERS:
        is_question = 1'b1;
      default: is_question = 1'b0;
    endcase
  assign is_codes    = opcode == `BITLOOM_OP_LOAD_CODES;
  always_comb
    case (opcode)
      `BITLOOM_OP_LOAD_WEIGHTS, `BITLOOM_OP_LOAD_PARAMS, `BITLOOM_OP_LOAD_K_LIST,
      `BITLOOM_OP_LOAD_PASS_LIST, `BITLOOM_OP_LOAD_TILE_LIST, `BITLOOM_OP_LOAD_ACTIVATIONS,
      `BITLOOM_OP_LOAD_TABLES, `BITLOOM_OP_LOAD_CODES: is_load = 1'b1;
      default: is_load = 1'b0;
    endcase
  assign is_run      = opcode == `BITLOOM_OP_RUN;
  assign is_send     = opcode == `BITLOOM_OP_SEND;
  assign memory      = opcode[2:0];  // codes go to the weights
  assign has_columns = memory <= 3'd1;
  assign columns     = has_columns ? upper : 8'd1;
  always_comb begin
    unit  = is_codes ? 8'(LANES / 2) : 8'(WORD_BYTES);
    depth = 17'(WEIGHT_DEPTH);
    case (memory)
      3'd0: ;
      3'd1: begin
        unit  = 8'(`BITLOOM_PARAM_BYTES);
        depth = 17'(PARAM_DEPTH);
      end
      3'd2: begin
        unit  = 8'(`BITLOOM_K_BYTES);
        depth = 17'(K_DEPTH);
      end
      3'd3: begin
        unit  = 8'(`BITLOOM_PASS_BYTES);
        depth = 17'(PASS_DEPTH);
      end
      3'd4: begin
        unit  = 8'(`BITLOOM_TILE_BYTES);
        depth = 17'(TILE_DEPTH);
      end
      3'd5: begin
        unit  = {3'd0, upper[4:0]};
        depth = 17'(ACT_DEPTH);
      end
      default: begin
        unit  = 8'd1;
        depth = 17'(TABLE_DEPTH);
      end
    endcase
  end
  // This and what follows is made while it is looked at: otherwise simulation rests.
  // 1 to a power of two
  logic bytes_ok, columns_ok;
  always_comb begin
    {bytes_ok, columns_ok, argument_ok} = 'x;
    if (state_q == DECIDE) begin
      bytes_ok    = upper != '0 && (upper < 8'(WORD_BYTES) || upper == 8'(WORD_BYTES));
      columns_ok  = upper != '0 && (upper < 8'(COLS) || upper == 8'(COLS));
      argument_ok = is_send || memory == 3'd5 ? bytes_ok
                  : !has_columns || (columns_ok && (!is_codes || planes != '0));
    end
  end

  // Words that a load writes: units / columns, and whether that leaves a rest. A load of codes has
  // its codebook in front and reaches further by a stride for each plane but one.
  logic        divide, divided;
  logic [23:0] words, unit_length;
  logic [12:0] divisor, rest;
  logic [3:0]  strides;
  logic [18:0] span;
  always_comb begin
    {unit_length, divisor} = 'x;
    if (state_q == PACKET || state_q == DIVIDE) begin
      unit_length = length[23:0] - (is_codes ? 24'(`BITLOOM_CODEBOOK_BYTES) : 24'd0);
      divisor     = 13'(unit) * 13'(columns);
    end
  end
  bitloom_divide #(.WIDTH(24), .DIVISOR_WIDTH(13)) u_divide (
    .clk_i, .rst_i, .start_i(divide), .dividend_i(unit_length), .divisor_i(divisor),
    .done_o(divided), .quotient_o(words), .remainder_o(rest)
  );
  always_comb begin
    strides = 'x;
    span    = '0;
    if (is_codes) begin
      strides = 4'd15;
      for (int i = 0; i < 8; i++) strides = strides + {3'd0, planes[i]};
      span = 19'(strides[2:0]) * 19'(argument[15:0]);
    end
  end

  // The largest payload is the largest multiple of four in 24 bits.
  logic        short_enough, has_codebook, length_ok, address_ok;
  assign short_enough = length[31:24] == '0 && (length[23:2] != '1 || length[1:0] == '0);
  assign has_codebook = length[23:$clog2(`BITLOOM_CODEBOOK_BYTES)] != '0;
  logic [23:0] count;
  logic [19:0] last;  // one past the last word, where nothing is left out above
  always_comb begin
    {count, last} = 'x;
    if (state_q == DECIDE || state_q == CLOSE) begin
      count = is_send ? argument[23:0] : words;
      last  = {3'd0, address[16:0]} + {3'd0, count[16:0]} + {1'b0, span};
    end
  end
  logic [7:0] verdict;
  always_comb begin
    {length_ok, address_ok, verdict} = 'x;
    if (state_q == DECIDE) begin
      if (is_run) length_ok = length == 32'(`BITLOOM_DESCRIPTOR_BITS / 8);
      else if (is_send) length_ok = length == '0 && argument_ok && argument[23:0] != '0;
      else if (is_load)
        length_ok = argument_ok && short_enough && rest == '0 && words != '0 &&
                    (!is_codes || has_codebook);
      else length_ok = length == '0;
      address_ok = !(is_load || is_send) ||
                   (address[31:17] == '0 && count[23:17] == '0 &&
                    last <= {3'd0, is_send ? 17'(ACT_DEPTH) : depth});
      verdict = `BITLOOM_STATUS_OK;
      if (!(is_question || is_load || is_run || is_send)) verdict = `BITLOOM_STATUS_OPCODE;
      else if (!length_ok) verdict = `BITLOOM_STATUS_LENGTH;
      else if (!address_ok) verdict = `BITLOOM_STATUS_ADDRESS;
    end
  end

  // ---- The descriptor of a run -------------------------------------------------------------------
  logic shift_desc, desc_ok;
  always_ff @(posedge clk_i)
    if (shift_desc) desc_o <= {payload, desc_o[`BITLOOM_DESCRIPTOR_BITS-1:32]};
  bitloom_descriptor #(
    .ROWS(ROWS), .COLS(COLS), .LANES(LANES), .TABLE_DEPTH(TABLE_DEPTH)
  ) u_descriptor (.check_i(state_q == JUDGE), .desc_i(desc_o), .ok_o(desc_ok));

  // ---- State -------------------------------------------------------------------------------------
  logic unpack_start, unpack_idle, unit_valid, unpack_ready;
  assign unpack_start = state_q == DECIDE && is_load && verdict == `BITLOOM_STATUS_OK;
  bitloom_unpack #(.LANES(LANES), .UNIT_BYTES(UNIT_BYTES)) u_unpack (
    .clk_i, .rst_i, .start_i(unpack_start), .unit_i(unit[4:0]), .columns_i(columns),
    .address_i(address[15:0]), .length_i(length[1:0]),
    .codes_i(is_codes), .planes_i(planes), .stride_i(argument[15:0]),
    .payload_valid_i(payload_valid && state_q == LOAD), .payload_ready_o(unpack_ready),
    .payload_data_i(payload), .payload_last_i(payload_last), .unit_valid_o(unit_valid), .unit_ready_i, .unit_data_o,
    .unit_bytes_o, .unit_column_o, .unit_address_o, .idle_o(unpack_idle)
  );
  assign unit_memory_o = unit_valid ? 7'd1 << memory : '0;
  assign list_load_o   = (state_q == LOAD || state_q == CLOSE) && memory != 3'd5;

  // a packet that waits for its turn is not the stream's time
  assign busy_o        = packet_busy && state_q != SETTLE &&
                           state_q != SNAPSHOT && state_q != RUN && state_q != SEND;
  assign divide        = state_q == PACKET && head && is_load;
  assign payload_ready = state_q == LOAD ? unpack_ready : state_q == DROP || state_q == DESC;
  assign shift_desc    = state_q == DESC && payload_valid;
  assign run_o         = state_q == RUN;
  assign send_o        = state_q == SEND;

  logic is_fence;
  assign is_fence = opcode == `BITLOOM_OP_FENCE;
  logic refused, load_failed, load_sound, reset_now;
  assign refused     = state_q == DECIDE && verdict != `BITLOOM_STATUS_OK;
  assign load_failed = state_q == CLOSE && unpack_idle && !sound;
  assign load_sound  = state_q == CLOSE && unpack_idle && sound;
  assign reset_now   = state_q == SETTLE && all_idle_i && opcode == `BITLOOM_OP_RESET;
  // A refused load puts its whole memory in doubt.
  logic [15:0] doubt_first;
  logic [16:0] doubt_end;
  logic [7:0]  doubt_columns;
  assign doubt_first   = refused ? '0 : address[15:0];
  assign doubt_end     = refused ? depth : last[16:0];
  assign doubt_columns = !refused ? columns : has_columns ? 8'(COLS) : 8'd1;
  bitloom_poison u_poison (
    .clk_i, .rst_i, .clear_i(reset_now),
    .fail_i((refused && is_load) || load_failed),
    .sound_i(load_sound),
    .memory_i(memory),
    .first_i(doubt_first), .end_i(doubt_end), .columns_i(doubt_columns),
    .mask_o(poison_o)
  );

  // A packet is let go of as soon as none of its fields is needed any more: the next one's words
  // push them out.
  always_comb
    case (state_q)
      PACKET: take = bad;
      DECIDE: take = verdict == `BITLOOM_STATUS_OK && (is_load || is_run || opcode == `BITLOOM_OP_IDENTIFY);
      DROP: take = head || packet_end;
      CLOSE: take = unpack_idle;
      JUDGE: take = run_verdict != `BITLOOM_STATUS_OK;
      RUN: take = run_take_i;
      SEND: take = send_take_i;
      SETTLE: take = all_idle_i && is_fence;
      SNAPSHOT: take = snapshot_done_i;
      default: take = 1'b0;
    endcase

  logic [7:0]  run_verdict;
  always_comb begin
    run_verdict = 'x;
    if (state_q == JUDGE)
      run_verdict = !sound ? `BITLOOM_STATUS_PAYLOAD
                  : !desc_ok ? `BITLOOM_STATUS_DESCRIPTOR
                  : poison_o != '0 ? `BITLOOM_STATUS_POISONED : `BITLOOM_STATUS_OK;
  end

  always_ff @(posedge clk_i)
    if (rst_i) begin
      state_q <= PACKET;
      after_q <= PACKET;
    end else
      case (state_q)
        PACKET:
        if (bad) begin
          state_q <= ANSWER;
          after_q <= PACKET;
        end else if (head) state_q <= is_load ? DIVIDE : DECIDE;
        DIVIDE: if (divided) state_q <= DECIDE;
        DECIDE:
        if (refused) begin
          state_q <= ANSWER;
          after_q <= DROP;
        end else if (is_load) state_q <= LOAD;
        else if (is_run) state_q <= DESC;
        else if (is_send) state_q <= SEND;
        else if (opcode == `BITLOOM_OP_IDENTIFY) begin
          state_q <= ANSWER;
          after_q <= PACKET;
        end else state_q <= SETTLE;
        DROP: begin
          // the header is let go of; without payload that is all
          if (head && length[23:0] == '0) state_q <= PACKET;
          else if (packet_end) state_q <= PACKET;
        end
        LOAD: if (packet_end) state_q <= CLOSE;
        DESC: if (packet_end) state_q <= JUDGE;
        CLOSE:
        if (unpack_idle) begin
          state_q <= sound ? PACKET : ANSWER;
          after_q <= PACKET;
        end
        JUDGE: begin
          state_q <= run_verdict == `BITLOOM_STATUS_OK ? RUN : ANSWER;
          after_q <= PACKET;
        end
        RUN: if (run_take_i) state_q <= PACKET;
        SEND: if (send_take_i) state_q <= PACKET;
        SETTLE:
        if (all_idle_i) begin
          state_q <= is_fence ? ANSWER : SNAPSHOT;
          after_q <= PACKET;
        end
        SNAPSHOT: if (snapshot_done_i) state_q <= ANSWER;
        default: if (answer_take_i) state_q <= after_q;
      endcase

  // ---- Answers -----------------------------------------------------------------------------------
  assign answer_o         = state_q == ANSWER;
  assign snapshot_o       = state_q == SNAPSHOT;
  assign snapshot_clear_o = opcode == `BITLOOM_OP_RESET || argument[0];
  always_ff @(posedge clk_i)
    if (state_q == PACKET || state_q == DECIDE || state_q == CLOSE || state_q == JUDGE ||
        state_q == SETTLE || state_q == SNAPSHOT) begin  // whence it goes to ANSWER
      answer_opcode_o <= state_q == PACKET ? '0 : opcode;
      answer_tag_o    <= state_q == PACKET ? '0 : tag_o;
      answer_info_o   <= state_q == PACKET ? word0
                       : state_q == JUDGE && run_verdict == `BITLOOM_STATUS_POISONED
                         ? {25'd0, poison_o} : '0;
      answer_status_o <= state_q == PACKET ? `BITLOOM_STATUS_HEADER
                       : state_q == DECIDE ? verdict
                       : state_q == CLOSE ? `BITLOOM_STATUS_PAYLOAD
                       : state_q == JUDGE ? run_verdict : `BITLOOM_STATUS_OK;
      answer_length_o <= state_q == DECIDE && verdict == `BITLOOM_STATUS_OK ? 8'd60
                       : state_q == SNAPSHOT && opcode == `BITLOOM_OP_COUNTERS
                         ? 8'(`BITLOOM_COUNTER_COUNT * 8) : '0;
    end
endmodule

`default_nettype wire
