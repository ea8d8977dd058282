// SPDX-License-Identifier: Apache-2.0
// Frames answers: header, its checksum, payload, its checksum, TLAST on the last word.
//
// Three sources may have an answer at once: a run that ended, a send, the command processor. They are
// taken in that order, so that results never wait behind questions; an answer that has begun is
// finished.
//
// Contract: each source holds valid and its fields until take (one cycle, its header is being sent);
// sends and commands then deliver ceil(length/4) payload words.
// Throughput one word a cycle.
`default_nettype none
`include "bitloom_contract.vh"

module bitloom_answer (
  input  logic        clk_i,
  input  logic        rst_i,
  // a run that ended
  input  logic        run_i,
  output logic        run_take_o,
  input  logic [15:0] run_tag_i,
  input  logic [7:0]  run_status_i,
  input  logic [31:0] run_info_i,
  input  logic [31:0] run_word_i,        // payload of a sound run
  // a send
  input  logic        send_i,
  output logic        send_take_o,
  input  logic [15:0] send_tag_i,
  input  logic [31:0] send_length_i,
  input  logic        send_word_valid_i,
  output logic        send_word_ready_o,
  input  logic [31:0] send_word_i,
  // the command processor
  input  logic        command_i,
  output logic        command_take_o,
  input  logic [7:0]  command_opcode_i,
  input  logic [15:0] command_tag_i,
  input  logic [7:0]  command_status_i,
  input  logic [31:0] command_info_i,
  input  logic [31:0] command_length_i,  // its words are always ready
  output logic        command_word_take_o,
  input  logic [31:0] command_word_i,
  // stream out
  output logic        m_valid_o,
  input  logic        m_ready_i,
  output logic [31:0] m_data_o,
  output logic        m_last_o
);
  typedef enum logic [2:0] {IDLE, HEADER, CHECK, PAYLOAD, TAIL} state_t;
  state_t state_q;

  logic [127:0] header_q;
  logic [31:0]  word_q;  // payload of a run
  logic [1:0]   index_q;
  logic [29:0]  left_q;  // payload words
  logic         from_send_q, from_run_q, moved;
  logic [31:0]  crc, length, run_length;
  assign moved = m_valid_o && m_ready_i;

  assign run_take_o     = state_q == IDLE && run_i;
  assign send_take_o    = state_q == IDLE && !run_i && send_i;
  assign command_take_o = state_q == IDLE && !run_i && !send_i && command_i;
  assign run_length     = run_status_i == `BITLOOM_STATUS_OK ? 32'd4 : '0;
  assign length         = run_i ? run_length : send_i ? send_length_i : command_length_i;

  always_ff @(posedge clk_i)
    if (state_q == IDLE) begin
      index_q     <= '0;
      from_send_q <= send_take_o;
      from_run_q  <= run_take_o;
      word_q      <= run_word_i;
      left_q      <= 30'((33'(length) + 33'd3) >> 2);
      if (run_i)
        header_q <= {run_info_i, 24'd0, run_status_i, run_length,
                     8'(`BITLOOM_ANSWER_MAGIC), `BITLOOM_OP_RUN, run_tag_i};
      else if (send_i)
        header_q <= {32'd0, 24'd0, `BITLOOM_STATUS_OK, send_length_i,
                     8'(`BITLOOM_ANSWER_MAGIC), `BITLOOM_OP_SEND, send_tag_i};
      else
        header_q <= {command_info_i, 24'd0, command_status_i, command_length_i,
                     8'(`BITLOOM_ANSWER_MAGIC), command_opcode_i, command_tag_i};
    end else if (moved) begin
      if (state_q == HEADER) begin
        header_q <= header_q >> 32;
        index_q  <= index_q + 2'd1;
      end
      if (state_q == PAYLOAD) left_q <= left_q - 30'd1;
    end

  always_ff @(posedge clk_i)
    if (rst_i) state_q <= IDLE;
    else
      case (state_q)
        IDLE: if (run_i || send_i || command_i) state_q <= HEADER;
        HEADER: if (moved && index_q == 2'd3) state_q <= CHECK;
        CHECK: if (moved) state_q <= left_q == '0 ? IDLE : PAYLOAD;
        PAYLOAD: if (moved && left_q == 30'd1) state_q <= TAIL;
        default: if (moved) state_q <= IDLE;
      endcase

  bitloom_crc32 u_crc (
    .clk_i,
    .clear_i(state_q == IDLE || (state_q == CHECK && moved)),
    .valid_i(moved && (state_q == HEADER || state_q == PAYLOAD)),
    .data_i(m_data_o),
    .crc_o(crc)
  );

  assign m_valid_o = state_q == HEADER || state_q == CHECK || state_q == TAIL ||
                     (state_q == PAYLOAD && (!from_send_q || send_word_valid_i));
  assign m_data_o = state_q == HEADER ? header_q[31:0]
                  : state_q == PAYLOAD ? (from_send_q ? send_word_i : from_run_q ? word_q : command_word_i)
                  : crc;
  assign m_last_o = state_q == TAIL || (state_q == CHECK && left_q == '0);
  assign send_word_ready_o   = state_q == PAYLOAD && from_send_q && m_ready_i;
  assign command_word_take_o = state_q == PAYLOAD && !from_send_q && !from_run_q && moved;
endmodule

`default_nettype wire
