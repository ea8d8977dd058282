// SPDX-License-Identifier: Apache-2.0
// The accelerator: streams in and out, registers, memories, engine.
//
//   s_axis -> skid -> command --> memories <--> engine
//                        |  runs ----------------^ |
//                        |  sends --> send <-------'
//   m_axis <- skid <---- answer <--- runs, sends, questions
//   s_axil <-> registers
//
// Ordering lives here: one run in flight and one queued, so that loading the next layer overlaps the
// running one; a send starts when all earlier runs have ended. The engine has the activation memory's
// ports whenever it wants them, so a layer's cycles never depend on the streams.
//
// Contract: docs/reference/device.md. All streams follow AXI4-Stream and AXI4-Lite rules; clk_i and
// rst_i (synchronous, active high) are common.
`default_nettype none
`include "bitloom_contract.vh"

module bitloom_top #(
  parameter ROWS = `BITLOOM_CONFIG_DEFAULT_ROWS,                 // output pixels in flight
  parameter COLS = `BITLOOM_CONFIG_DEFAULT_COLS,                 // output channels in flight
  parameter LANES = `BITLOOM_CONFIG_DEFAULT_LANES,               // bits of the reduction in a step
  parameter ACC_W = `BITLOOM_CONFIG_DEFAULT_ACC_W,               // accumulator bits
  parameter WEIGHT_DEPTH = `BITLOOM_CONFIG_DEFAULT_WEIGHT_DEPTH, // words of each column's memory
  parameter PARAM_DEPTH = `BITLOOM_CONFIG_DEFAULT_PARAM_DEPTH,   // channel tiles
  parameter K_DEPTH = `BITLOOM_CONFIG_DEFAULT_K_DEPTH,           // entries
  parameter PASS_DEPTH = `BITLOOM_CONFIG_DEFAULT_PASS_DEPTH,     // entries
  parameter TILE_DEPTH = `BITLOOM_CONFIG_DEFAULT_TILE_DEPTH,     // entries
  parameter ACT_DEPTH = `BITLOOM_CONFIG_DEFAULT_ACT_DEPTH,       // words
  parameter ROW_DEPTH = `BITLOOM_CONFIG_DEFAULT_ROW_DEPTH,       // words of half a row buffer
  parameter TABLE_DEPTH = `BITLOOM_CONFIG_DEFAULT_TABLE_DEPTH,   // entries
  parameter GATHER_WORDS = `BITLOOM_CONFIG_DEFAULT_GATHER_WORDS  // activation words read a cycle
) (
  input  logic        clk_i,
  input  logic        rst_i,
  input  logic        s_axis_tvalid,
  output logic        s_axis_tready,
  input  logic [31:0] s_axis_tdata,
  input  logic        s_axis_tlast,
  output logic        m_axis_tvalid,
  input  logic        m_axis_tready,
  output logic [31:0] m_axis_tdata,
  output logic        m_axis_tlast,
  input  logic        s_axil_awvalid,
  output logic        s_axil_awready,
  input  logic [7:0]  s_axil_awaddr,
  input  logic        s_axil_wvalid,
  output logic        s_axil_wready,
  input  logic [31:0] s_axil_wdata,
  input  logic [3:0]  s_axil_wstrb,
  output logic        s_axil_bvalid,
  input  logic        s_axil_bready,
  output logic [1:0]  s_axil_bresp,
  input  logic        s_axil_arvalid,
  output logic        s_axil_arready,
  input  logic [7:0]  s_axil_araddr,
  output logic        s_axil_rvalid,
  input  logic        s_axil_rready,
  output logic [31:0] s_axil_rdata,
  output logic [1:0]  s_axil_rresp,
  output logic        irq_o
);
  localparam UNIT_BYTES = LANES / 8 > 9 ? LANES / 8 : 9;

  // There is no such module: elaboration ends here, with its name for a message.
  if (ACC_W < `BITLOOM_LEAST_ACC_W || ACC_W > `BITLOOM_MOST_ACC_W) begin : gen_refused
    bitloom_needs_acc_w_of_16_to_32 u_refused ();
  end

  logic [1:0] control;
  logic       rst;
  assign rst = rst_i || control[0];

  // ---- Streams -----------------------------------------------------------------------------------
  logic        in_valid, in_ready, out_valid, out_ready, out_last;
  logic [31:0] in_data, out_data;
  bitloom_skid #(.WIDTH(32)) u_in (
    .clk_i, .rst_i(rst), .s_valid_i(s_axis_tvalid), .s_ready_o(s_axis_tready),
    .s_data_i(s_axis_tdata), .m_valid_o(in_valid), .m_ready_i(in_ready), .m_data_o(in_data)
  );
  bitloom_skid #(.WIDTH(33)) u_out (
    .clk_i, .rst_i(rst), .s_valid_i(out_valid), .s_ready_o(out_ready),
    .s_data_i({out_last, out_data}), .m_valid_o(m_axis_tvalid), .m_ready_i(m_axis_tready),
    .m_data_o({m_axis_tlast, m_axis_tdata})
  );

  // ---- Command processor -------------------------------------------------------------------------
  logic [6:0]  unit_memory, poison;
  logic        unit_ready;
  logic [UNIT_BYTES*8-1:0] unit_data;
  logic [LANES/8-1:0]      unit_bytes;
  logic [7:0]  unit_column;
  logic [15:0] unit_address, tag, address;
  logic [31:0] argument;
  logic        run, run_take, send, send_take, all_idle, packet_busy, list_load;
  logic [`BITLOOM_DESCRIPTOR_BITS-1:0] desc;
  logic        snapshot, snapshot_clear, snapshot_done;
  logic        answer, answer_take, answer_word_take;
  logic [7:0]  answer_opcode, answer_status;
  logic [15:0] answer_tag;
  logic [31:0] answer_info;
  logic [7:0]  answer_length;
  bitloom_command #(
    .ROWS(ROWS), .COLS(COLS), .LANES(LANES), .WEIGHT_DEPTH(WEIGHT_DEPTH),
    .PARAM_DEPTH(PARAM_DEPTH), .K_DEPTH(K_DEPTH), .PASS_DEPTH(PASS_DEPTH),
    .TILE_DEPTH(TILE_DEPTH), .ACT_DEPTH(ACT_DEPTH), .TABLE_DEPTH(TABLE_DEPTH), .UNIT_BYTES(UNIT_BYTES)
  ) u_command (
    .clk_i, .rst_i(rst), .s_valid_i(in_valid), .s_ready_o(in_ready), .s_data_i(in_data),
    .unit_memory_o(unit_memory), .unit_ready_i(unit_ready), .unit_data_o(unit_data),
    .unit_bytes_o(unit_bytes), .unit_column_o(unit_column), .unit_address_o(unit_address),
    .run_o(run), .run_take_i(run_take), .desc_o(desc), .send_o(send), .send_take_i(send_take),
    .tag_o(tag), .address_o(address), .argument_o(argument), .all_idle_i(all_idle),
    .answer_o(answer), .answer_take_i(answer_take), .answer_opcode_o(answer_opcode),
    .answer_tag_o(answer_tag), .answer_status_o(answer_status), .answer_info_o(answer_info),
    .answer_length_o(answer_length), .snapshot_o(snapshot),
    .snapshot_clear_o(snapshot_clear), .snapshot_done_i(snapshot_done), .busy_o(packet_busy),
    .list_load_o(list_load), .poison_o(poison)
  );

  // ---- Runs: one queued, one in flight, one ended and not yet answered -----------------------------
  logic        queued_q, running_q, ended_q, start, start_q, engine_done, engine_ready;
  logic [`BITLOOM_DESCRIPTOR_BITS-1:0] queued_desc_q, desc_q;
  logic [15:0] queued_tag_q, running_tag_q, ended_tag_q;
  logic [7:0]  engine_faults, ended_faults_q, runs_queued_q, runs_done_q;
  logic [31:0] cycles_q, ended_cycles_q, signature, ended_signature_q;
  logic        run_answer_take;
  assign run_take = run && !queued_q;
  assign start    = queued_q && !running_q && !ended_q && engine_ready;
  always_ff @(posedge clk_i)
    if (rst) begin
      queued_q      <= 1'b0;
      running_q     <= 1'b0;
      ended_q       <= 1'b0;
      start_q       <= 1'b0;
      runs_queued_q <= '0;
      runs_done_q   <= '0;
    end else begin
      start_q <= start;
      if (run_take) begin
        queued_q      <= 1'b1;
        runs_queued_q <= runs_queued_q + 8'd1;
      end else if (start) queued_q <= 1'b0;
      if (start) running_q <= 1'b1;
      else if (engine_done) running_q <= 1'b0;
      if (engine_done) begin
        ended_q     <= 1'b1;
        runs_done_q <= runs_done_q + 8'd1;
      end else if (run_answer_take) ended_q <= 1'b0;
    end
  always_ff @(posedge clk_i) begin
    if (run_take) begin
      queued_desc_q <= desc;
      queued_tag_q  <= tag;
    end
    if (start) begin
      desc_q        <= queued_desc_q;
      running_tag_q <= queued_tag_q;
      cycles_q      <= '0;
    end else if (running_q) cycles_q <= cycles_q + 32'd1;
    if (engine_done) begin
      ended_tag_q    <= running_tag_q;
      ended_faults_q <= engine_faults;
      ended_cycles_q <= cycles_q;
      ended_signature_q <= signature;
    end
  end

  // ---- Memories ----------------------------------------------------------------------------------
  logic        tile_re, pass_re, k_re, send_act_re;
  logic [GATHER_WORDS-1:0] act_re;
  logic [15:0] tile_addr, pass_addr, k_addr, act_raddr, act_waddr, k_data, send_act_raddr;
  logic [63:0] tile_data, pass_data;
  logic [COLS-1:0]       weight_re, param_re, table_re;
  logic [COLS*16-1:0]    weight_addr, param_addr, table_addr;
  logic [COLS*8-1:0]     table_data;
  logic [COLS*LANES-1:0] weight_data;
  logic [COLS*72-1:0]    param_data;
  logic [GATHER_WORDS*LANES-1:0] act_rdata;
  logic [LANES-1:0]      act_wdata;
  logic [LANES/8-1:0]    act_we;

  genvar c;
  generate
    for (c = 0; c < COLS; c = c + 1) begin : gen_column
      bitloom_ram #(.WIDTH(LANES), .DEPTH(WEIGHT_DEPTH), .BYTE(8)) u_weights (
        .clk_i, .we_i(unit_bytes & {LANES / 8{unit_memory[0] && unit_column == 8'(c)}}),
        .waddr_i(unit_address[$clog2(WEIGHT_DEPTH)-1:0]), .wdata_i(unit_data[LANES-1:0]),
        .re_i(weight_re[c]), .raddr_i(weight_addr[c*16+:$clog2(WEIGHT_DEPTH)]),
        .rdata_o(weight_data[c*LANES+:LANES])
      );
      bitloom_ram #(.WIDTH(72), .DEPTH(PARAM_DEPTH)) u_params (
        .clk_i, .we_i(unit_memory[1] && unit_column == 8'(c)),
        .waddr_i(unit_address[$clog2(PARAM_DEPTH)-1:0]), .wdata_i(unit_data[71:0]),
        .re_i(param_re[c]), .raddr_i(param_addr[c*16+:$clog2(PARAM_DEPTH)]),
        .rdata_o(param_data[c*72+:72])
      );
      bitloom_ram #(.WIDTH(8), .DEPTH(TABLE_DEPTH)) u_tables (
        .clk_i, .we_i(unit_memory[6]), .waddr_i(unit_address[$clog2(TABLE_DEPTH)-1:0]),
        .wdata_i(unit_data[7:0]), .re_i(table_re[c]),
        .raddr_i(table_addr[c*16+:$clog2(TABLE_DEPTH)]), .rdata_o(table_data[c*8+:8])
      );
    end
  endgenerate
  bitloom_ram #(.WIDTH(16), .DEPTH(K_DEPTH)) u_k (
    .clk_i, .we_i(unit_memory[2]), .waddr_i(unit_address[$clog2(K_DEPTH)-1:0]),
    .wdata_i(unit_data[15:0]), .re_i(k_re), .raddr_i(k_addr[$clog2(K_DEPTH)-1:0]), .rdata_o(k_data)
  );
  bitloom_ram #(.WIDTH(64), .DEPTH(PASS_DEPTH)) u_pass (
    .clk_i, .we_i(unit_memory[3]), .waddr_i(unit_address[$clog2(PASS_DEPTH)-1:0]),
    .wdata_i(unit_data[63:0]), .re_i(pass_re), .raddr_i(pass_addr[$clog2(PASS_DEPTH)-1:0]),
    .rdata_o(pass_data)
  );
  bitloom_ram #(.WIDTH(64), .DEPTH(TILE_DEPTH)) u_tile (
    .clk_i, .we_i(unit_memory[4]), .waddr_i(unit_address[$clog2(TILE_DEPTH)-1:0]),
    .wdata_i(unit_data[63:0]), .re_i(tile_re), .raddr_i(tile_addr[$clog2(TILE_DEPTH)-1:0]),
    .rdata_o(tile_data)
  );

  // Activations: the engine goes first at both ports.
  logic engine_writes;
  assign engine_writes = act_we != '0;
  logic load_ready;
  assign unit_ready    = !unit_memory[5] || load_ready;
  logic gathers;
  assign gathers = act_re != '0;
  bitloom_act_memory #(.LANES(LANES), .ACT_DEPTH(ACT_DEPTH), .READ_WORDS(GATHER_WORDS)) u_act (
    .clk_i,
    .we_i(act_we), .waddr_i(act_waddr[$clog2(ACT_DEPTH)-1:0]), .wdata_i(act_wdata),
    .load_we_i(unit_memory[5]), .load_ready_o(load_ready),
    .load_waddr_i(unit_address[$clog2(ACT_DEPTH)-1:0]), .load_wdata_i(unit_data[LANES-1:0]),
    .re_i(gathers ? act_re : GATHER_WORDS'(send_act_re)),
    .raddr_i(gathers ? act_raddr[$clog2(ACT_DEPTH)-1:0] : send_act_raddr[$clog2(ACT_DEPTH)-1:0]),
    .rdata_o(act_rdata)
  );

  // ---- Engine ------------------------------------------------------------------------------------
  logic engine_active, issue, stall_requant, stall_gather;
  bitloom_engine #(
    .ROWS(ROWS), .COLS(COLS), .LANES(LANES), .ACC_W(ACC_W), .WEIGHT_DEPTH(WEIGHT_DEPTH),
    .PARAM_DEPTH(PARAM_DEPTH), .K_DEPTH(K_DEPTH), .PASS_DEPTH(PASS_DEPTH),
    .TILE_DEPTH(TILE_DEPTH), .ACT_DEPTH(ACT_DEPTH), .ROW_DEPTH(ROW_DEPTH),
    .GATHER_WORDS(GATHER_WORDS)
  ) u_engine (
    .clk_i, .rst_i(rst), .start_i(start_q), .ready_o(engine_ready), .desc_i(desc_q),
    .done_o(engine_done), .faults_o(engine_faults), .active_o(engine_active), .issue_o(issue),
    .stall_requant_o(stall_requant), .stall_gather_o(stall_gather),
    .tile_re_o(tile_re), .tile_addr_o(tile_addr), .tile_data_i(tile_data),
    .pass_re_o(pass_re), .pass_addr_o(pass_addr), .pass_data_i(pass_data),
    .k_re_o(k_re), .k_addr_o(k_addr), .k_data_i(k_data),
    .weight_re_o(weight_re), .weight_addr_o(weight_addr), .weight_data_i(weight_data),
    .param_re_o(param_re), .param_addr_o(param_addr), .param_data_i(param_data),
    .table_re_o(table_re), .table_addr_o(table_addr), .table_data_i(table_data),
    .signature_o(signature),
    .act_re_o(act_re), .act_raddr_o(act_raddr), .act_rdata_i(act_rdata),
    .act_we_o(act_we), .act_waddr_o(act_waddr), .act_wdata_o(act_wdata)
  );

  // ---- Sends and answers ---------------------------------------------------------------------------
  localparam LENGTH_W = $clog2(ACT_DEPTH * LANES / 8) + 1;
  logic        send_ready, send_idle, send_active, send_answer, send_answer_take;
  logic        send_word_valid, send_word_ready;
  logic [15:0] send_tag;
  logic [LENGTH_W-1:0] send_length;
  logic [31:0] send_word;
  assign send_take = send && send_ready;
  bitloom_send #(.LANES(LANES), .ACT_DEPTH(ACT_DEPTH)) u_send (
    .clk_i, .rst_i(rst), .queue_i(send_take), .queue_ready_o(send_ready), .tag_i(tag),
    .address_i(address), .count_i(argument[$clog2(ACT_DEPTH):0]), .bytes_i(argument[28:24]),
    .runs_queued_i(runs_queued_q), .runs_done_i(runs_done_q), .idle_o(send_idle),
    .active_o(send_active), .act_busy_i(gathers), .act_re_o(send_act_re),
    .act_raddr_o(send_act_raddr), .act_rdata_i(act_rdata[LANES-1:0]), .answer_o(send_answer),
    .answer_take_i(send_answer_take), .tag_o(send_tag), .length_o(send_length),
    .word_valid_o(send_word_valid), .word_ready_i(send_word_ready), .word_o(send_word)
  );

  // Words of the command processor's own answers: the identity, or the counters as they were. A
  // counter comes from its memory one cycle after its index.
  logic [4:0]  word_index_q, word_index_d;
  logic [31:0] identity, snapshot_word;
  logic        counters_answer_q;
  always_ff @(posedge clk_i)
    if (answer_take) counters_answer_q <= answer_opcode == `BITLOOM_OP_COUNTERS;
  assign word_index_d = answer_take ? '0 : word_index_q + {4'd0, answer_word_take};
  always_ff @(posedge clk_i) word_index_q <= word_index_d;

  logic        run_sound;
  logic [7:0]  run_status;
  logic [31:0] run_info;
  assign run_sound  = ended_faults_q == '0;
  assign run_status = run_sound ? `BITLOOM_STATUS_OK : `BITLOOM_STATUS_FAULT;
  assign run_info   = run_sound ? ended_cycles_q : {24'd0, ended_faults_q};
  bitloom_answer #(.LENGTH_W(LENGTH_W)) u_answer (
    .clk_i, .rst_i(rst),
    .run_i(ended_q), .run_take_o(run_answer_take), .run_tag_i(ended_tag_q),
    .run_status_i(run_status), .run_info_i(run_info),
    .run_signed_i(run_sound), .run_signature_i(ended_signature_q),
    .send_i(send_answer), .send_take_o(send_answer_take), .send_tag_i(send_tag),
    .send_length_i(send_length), .send_word_valid_i(send_word_valid),
    .send_word_ready_o(send_word_ready), .send_word_i(send_word),
    .command_i(answer), .command_take_o(answer_take), .command_opcode_i(answer_opcode),
    .command_tag_i(answer_tag), .command_status_i(answer_status), .command_info_i(answer_info),
    .command_length_i(answer_length), .command_word_take_o(answer_word_take),
    .command_word_i(counters_answer_q ? snapshot_word : identity),
    .m_valid_o(out_valid), .m_ready_i(out_ready), .m_data_o(out_data), .m_last_o(out_last)
  );
  // An answer on its way out counts too: the snapshot behind a COUNTERS answer must not change under it.
  logic answering_q;
  always_ff @(posedge clk_i)
    if (rst) answering_q <= 1'b0;
    else if (answer_take || run_answer_take || send_answer_take) answering_q <= 1'b1;
    else if (out_valid && out_ready && out_last) answering_q <= 1'b0;
  assign all_idle = !queued_q && !running_q && !ended_q && send_idle && !answering_q;

  // ---- Counters and registers ----------------------------------------------------------------------
  logic [4:0]  counter_index;
  logic [31:0] counter;
  logic        counter_take;
  bitloom_counters u_counters (
    .clk_i, .rst_i, .clear_i(rst), .run_i(engine_active), .issue_i(issue),
    .requant_i(stall_requant), .gather_i(stall_gather), .list_load_i(list_load),
    .packet_i(packet_busy), .send_i(send_active), .snapshot_i(snapshot),
    .snapshot_clear_i(snapshot_clear), .snapshot_done_o(snapshot_done), .word_i(word_index_d),
    .word_o(snapshot_word), .live_i(counter_index), .live_take_o(counter_take), .live_o(counter)
  );

  // What the blocks do in this cycle, for the simulation's profile (sim/rtl_device.h); nothing else
  // reads it. Lowest bit first: BL_RTL_CLEARED on.
  wire [8:0] activity  /* verilator public_flat_rd */ = {
    out_valid && out_ready, engine_writes, issue, gathers, list_load, in_valid && in_ready, start_q,
    running_q, snapshot_clear
  };

  logic [7:0] last_status_q;
  logic       error;
  assign error = (answer_take && answer_status != `BITLOOM_STATUS_OK) ||
                 (run_answer_take && !run_sound);
  always_ff @(posedge clk_i)
    if (rst) last_status_q <= '0;
    else if (error) last_status_q <= run_answer_take ? `BITLOOM_STATUS_FAULT : answer_status;
  bitloom_axil #(
    .ROWS(ROWS), .COLS(COLS), .LANES(LANES), .ACC_W(ACC_W), .WEIGHT_DEPTH(WEIGHT_DEPTH),
    .PARAM_DEPTH(PARAM_DEPTH), .K_DEPTH(K_DEPTH), .PASS_DEPTH(PASS_DEPTH),
    .TILE_DEPTH(TILE_DEPTH), .ACT_DEPTH(ACT_DEPTH), .ROW_DEPTH(ROW_DEPTH), .TABLE_DEPTH(TABLE_DEPTH),
    .GATHER_WORDS(GATHER_WORDS)
  ) u_axil (
    .clk_i, .rst_i, .s_axil_awvalid, .s_axil_awready, .s_axil_awaddr, .s_axil_wvalid,
    .s_axil_wready, .s_axil_wdata, .s_axil_wstrb, .s_axil_bvalid, .s_axil_bready, .s_axil_bresp,
    .s_axil_arvalid, .s_axil_arready, .s_axil_araddr, .s_axil_rvalid, .s_axil_rready,
    .s_axil_rdata, .s_axil_rresp, .control_o(control),
    .status_i({8'd0, last_status_q, 1'd0, poison, 5'd0, packet_busy, send_active, running_q}),
    .irq_set_i({error, run_answer_take}), .irq_o, .counter_o(counter_index),
    .counter_take_i(counter_take), .counter_i(counter),
    .identity_index_i(word_index_q[3:0]), .identity_o(identity)
  );

  wire unused = &{1'b0, s_axis_tlast, argument, table_addr, weight_addr, param_addr, tile_addr, pass_addr,
                  k_addr, act_raddr, act_waddr, control, unit_address, unit_data, send_act_raddr, 1'b0};
endmodule

`default_nettype wire
