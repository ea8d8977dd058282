// SPDX-License-Identifier: Apache-2.0
// Cuts the input stream into packets: header, payload, checksums, and the hunt after damage.
//
// Why: framing and meaning are two concerns. This block knows how many words a packet has and
// whether its checksums hold; bitloom_command knows what the packet asks for.
//
// Contract, in the order a packet goes through it; each report holds until take_i:
//   bad_o   the five words held are no sound header, once for each run of damage; word0_o is the
//           first of them. Afterwards the oldest is dropped and one more taken until they are.
//   head_o  a sound header; its fields stay until the next packet.
//   payload valid/ready, exactly ceil(length[23:0] / 4) words, last_o with the last of them; none of
//           this when that is 0.
//   end_o   the payload's checksum word was read; sound_o says whether it was right.
// The header's checksum is computed as its words come, so that a sound one is known with its last
// word; in the hunt, where a header may begin with each word, by turning the five words round once.
// Throughput inside a payload: one word a cycle.
`default_nettype none
`include "bitloom_contract.vh"

module bitloom_packet (
  input  logic        clk_i,
  input  logic        rst_i,
  input  logic        s_valid_i,
  output logic        s_ready_o,
  input  logic [31:0] s_data_i,

  output logic        bad_o,
  output logic        head_o,
  output logic        end_o,
  output logic        sound_o,
  input  logic        take_i,
  output logic        busy_o,     // part of a packet has been read

  output logic [31:0] word0_o,
  output logic [7:0]  opcode_o,
  output logic [15:0] tag_o,
  output logic [31:0] length_o,
  output logic [31:0] address_o,
  output logic [31:0] argument_o,

  output logic        payload_valid_o,
  input  logic        payload_ready_i,
  output logic [31:0] payload_data_o,
  output logic        payload_last_o  // the word is the payload's last
);
  localparam logic [7:0] MAGIC = 8'(`BITLOOM_REQUEST_MAGIC);

  typedef enum logic [2:0] {
    COLLECT, // fill the window
    CHECK,   // in the hunt: turn it round through the checksum
    BAD,     // report damage
    HEAD,    // report a header
    PAYLOAD, // pass the payload on
    TAIL,    // compare the payload's checksum
    END      // report the packet's end
  } state_t;

  state_t       state_q, state_d;
  logic [159:0] window_q; // oldest word lowest
  logic [2:0]   held_q;   // words in the window
  logic [2:0]   turn_q;   // words turned so far
  logic         hunting_q;
  logic         sound_q;
  logic [21:0]  left_q;   // whole payload words to come
  logic         part_q;   // and one that is not whole
  logic         shift, turn, last_turn, give_up, payload_move, is_magic, is_sound;
  logic [23:0]  length_turned;
  logic [31:0]  crc;

  assign word0_o = window_q[31:0];
  assign opcode_o = window_q[23:16];
  assign tag_o = window_q[15:0];
  assign length_o = window_q[63:32];
  assign address_o = window_q[95:64];
  assign argument_o = window_q[127:96];

  assign bad_o = state_q == BAD;
  assign head_o = state_q == HEAD;
  assign end_o = state_q == END;
  assign sound_o = sound_q;
  assign busy_o = state_q != COLLECT || held_q != 3'd0;

  assign payload_valid_o = state_q == PAYLOAD && s_valid_i;
  assign payload_data_o = s_data_i;
  assign payload_last_o = left_q == {21'd0, !part_q};
  assign payload_move = payload_valid_o && payload_ready_i;
  assign s_ready_o = state_q == COLLECT || state_q == TAIL ||
                     (state_q == PAYLOAD && payload_ready_i);

  // A window whose first byte is wrong is not worth turning round.
  assign is_magic = word0_o[31:24] == MAGIC;
  assign give_up = turn_q == 3'd0 && !is_magic;
  assign shift = state_q == COLLECT && s_valid_i;
  assign turn = state_q == CHECK && !give_up;

  // On the fifth turn the window stands one word off: the checksum is in the first place and the
  // length in the third.
  assign last_turn = turn_q == 3'd4;
  assign is_sound = crc == word0_o;

  // So it does when the fifth word arrives.
  logic fifth, fifth_sound;
  assign fifth = shift && held_q == 3'd4;
  assign fifth_sound = window_q[63:56] == MAGIC && crc == s_data_i;
  assign length_turned = window_q[87:64];

  bitloom_crc32 u_crc (
    .clk_i  (clk_i),
    .clear_i((state_q == COLLECT && held_q == 3'd0) || (turn && turn_q == 3'd0) || state_q == HEAD),
    .valid_i((shift && !fifth) || (turn && !last_turn) || payload_move),
    .data_i (turn ? word0_o : s_data_i),
    .crc_o  (crc)
  );

  always_comb begin
    state_d = state_q;
    case (state_q)
      COLLECT: begin
        if (fifth && hunting_q) state_d = CHECK;
        else if (fifth && fifth_sound) state_d = HEAD;
        else if (fifth) state_d = BAD;
      end
      CHECK: begin
        if (give_up) state_d = COLLECT;
        else if (last_turn && is_sound) state_d = HEAD;
        else if (last_turn) state_d = COLLECT;
      end
      BAD: if (take_i) state_d = COLLECT;
      HEAD: begin
        if (take_i && left_q == '0 && !part_q) state_d = COLLECT;
        else if (take_i) state_d = PAYLOAD;
      end
      PAYLOAD: if (payload_move && payload_last_o) state_d = TAIL;
      TAIL: if (s_valid_i) state_d = END;
      END: if (take_i) state_d = COLLECT;
      default: state_d = COLLECT;
    endcase
  end

  always_ff @(posedge clk_i) begin
    if (shift || turn) window_q <= {shift ? s_data_i : word0_o, window_q[159:32]};
  end

  always_ff @(posedge clk_i) begin
    if (state_q == TAIL) sound_q <= crc == s_data_i;
  end

  always_ff @(posedge clk_i) begin
    if (fifth || (state_q == CHECK && last_turn)) begin
      left_q <= length_turned[23:2];
      part_q <= length_turned[1:0] != '0;
    end else if (payload_move) left_q <= left_q - 22'd1;
  end

  // Four words held means that the oldest of five has been dropped: it stays in the lowest place
  // until the next word pushes it out.
  always_ff @(posedge clk_i) begin
    if (shift && !fifth) held_q <= held_q + 3'd1;
    else if (fifth || state_q == CHECK) held_q <= state_d == HEAD ? 3'd0 : 3'd4;
    if (state_d == BAD) hunting_q <= 1'b1;
    else if (state_d == HEAD) hunting_q <= 1'b0;
    turn_q <= turn && !last_turn ? turn_q + 3'd1 : 3'd0;
    state_q <= state_d;
    if (rst_i) begin
      state_q <= COLLECT;
      held_q <= 3'd0;
      hunting_q <= 1'b0;
      turn_q <= 3'd0;
    end
  end
endmodule

`default_nettype wire
