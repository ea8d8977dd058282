// SPDX-License-Identifier: Apache-2.0
// Frames answers: header, its checksum, payload, its checksum, TLAST on the last word.
//
// Three sources may have an answer at once: a run that ended, a send, the command processor. They are
// taken in that order, so that results never wait behind questions; an answer that has begun is
// finished.
//
// Contract: each source holds valid and its fields until take (one cycle); sends and commands then
// deliver ceil(length/4) payload words, a run's only one is taken with its fields.
// Throughput one word a cycle.
`default_nettype none
`include "bitloom_contract.vh"

module bitloom_answer #(
  parameter LENGTH_W = 21  // bits of a payload's length in bytes
) (
  input  logic        clk_i,
  input  logic        rst_i,
  // a run that ended
  input  logic        run_i,
  output logic        run_take_o,
  input  logic [15:0] run_tag_i,
  input  logic [7:0]  run_status_i,
  input  logic [31:0] run_info_i,
  input  logic        run_signed_i,      // there is a payload: the signature
  input  logic [31:0] run_signature_i,
  // a send
  input  logic        send_i,
  output logic        send_take_o,
  input  logic [15:0] send_tag_i,
  input  logic [LENGTH_W-1:0] send_length_i,
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
  input  logic [7:0]  command_length_i,  // its words are always ready
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

  typedef enum logic [1:0] {RUN, SEND, COMMAND} source_t;
  source_t source_q;

  logic [1:0]          index_q;      // word of the header
  logic [23:0]         first_q;      // opcode and tag
  logic [LENGTH_W-1:0] length_q;     // behind the header: bytes left
  logic [7:0]          status_q;
  logic [31:0]         info_q, signature_q;
  logic                moved, last;
  logic [31:0]         crc;
  assign moved = m_valid_o && m_ready_i;

  assign run_take_o     = state_q == IDLE && run_i;
  assign send_take_o    = state_q == IDLE && !run_i && send_i;
  assign command_take_o = state_q == IDLE && !run_i && !send_i && command_i;
  assign last = length_q[LENGTH_W-1:2] == {{LENGTH_W - 3{1'b0}}, length_q[1:0] == 2'd0};

  always_ff @(posedge clk_i)
    if (state_q == IDLE) begin
      index_q     <= '0;
      signature_q <= run_signature_i;
      if (run_i) begin
        source_q <= RUN;
        first_q  <= {`BITLOOM_OP_RUN, run_tag_i};
        length_q <= {{LENGTH_W - 3{1'b0}}, run_signed_i, 2'd0};
        status_q <= run_status_i;
        info_q   <= run_info_i;
      end else if (send_i) begin
        source_q <= SEND;
        first_q  <= {`BITLOOM_OP_SEND, send_tag_i};
        length_q <= send_length_i;
        status_q <= `BITLOOM_STATUS_OK;
        info_q   <= '0;
      end else begin
        source_q <= COMMAND;
        first_q  <= {command_opcode_i, command_tag_i};
        length_q <= LENGTH_W'(command_length_i);
        status_q <= command_status_i;
        info_q   <= command_info_i;
      end
    end else if (moved) begin
      if (state_q == HEADER) index_q <= index_q + 2'd1;
      if (state_q == PAYLOAD)
        length_q[LENGTH_W-1:2] <= length_q[LENGTH_W-1:2] - (LENGTH_W - 2)'(1);
    end

  always_ff @(posedge clk_i)
    if (rst_i) state_q <= IDLE;
    else
      case (state_q)
        IDLE: if (run_i || send_i || command_i) state_q <= HEADER;
        HEADER: if (moved && index_q == 2'd3) state_q <= CHECK;
        CHECK: if (moved) state_q <= length_q == '0 ? IDLE : PAYLOAD;
        PAYLOAD: if (moved && last) state_q <= TAIL;
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
                     (state_q == PAYLOAD && (source_q != SEND || send_word_valid_i));
  always_comb begin
    m_data_o = crc;
    if (state_q == HEADER)
      case (index_q)
        2'd0: m_data_o = {8'(`BITLOOM_ANSWER_MAGIC), first_q};
        2'd1: m_data_o = 32'(length_q);
        2'd2: m_data_o = {24'd0, status_q};
        default: m_data_o = info_q;
      endcase
    else if (state_q == PAYLOAD)
      case (source_q)
        RUN: m_data_o = signature_q;
        SEND: m_data_o = send_word_i;
        default: m_data_o = command_word_i;
      endcase
  end
  assign m_last_o = state_q == TAIL || (state_q == CHECK && length_q == '0);
  assign send_word_ready_o   = state_q == PAYLOAD && source_q == SEND && m_ready_i;
  assign command_word_take_o = state_q == PAYLOAD && source_q == COMMAND && moved;
endmodule

`default_nettype wire
