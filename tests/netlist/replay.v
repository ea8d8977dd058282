// SPDX-License-Identifier: Apache-2.0
// Plays recorded stream words (tests/netlist/record.c) to a bitloom_top and compares what it gives:
//   +in=FILE +in_words=N +out=FILE +out_words=N [+stalls=PERCENT] [+seed=S]
// Each handshake stalls with that chance in each cycle; a valid word stays until it is taken. A word
// goes in when as many words have come out as the host had waited for before it. Prints PASS with
// the clock cycles, or FAIL with the first difference. An unknown (x) never equals anything.
`timescale 1ns / 1ns
`default_nettype none

module replay;
  localparam WORDS    = 1 << 20;
  localparam PATIENCE = 1 << 18;  // cycles without a word: more than a layer takes

  reg [63:0] in_words  [0:WORDS-1];  // words waited for, word
  reg [67:0] out_words [0:WORDS-1];  // last, mask, word
  reg [8*1024-1:0] in_file, out_file;
  integer in_count, out_count, stalls, seed;

  reg         clk = 1'b0, rst = 1'b1;
  reg         in_valid = 1'b0, out_ready = 1'b0;
  reg  [31:0] in_data = 32'd0;
  wire        in_ready, out_valid, out_last;
  wire [31:0] out_data;

  bitloom_top u_top (
    .clk_i(clk), .rst_i(rst),
    .s_axis_tvalid(in_valid), .s_axis_tready(in_ready), .s_axis_tdata(in_data), .s_axis_tlast(1'b0),
    .m_axis_tvalid(out_valid), .m_axis_tready(out_ready), .m_axis_tdata(out_data),
    .m_axis_tlast(out_last),
    .s_axil_awvalid(1'b0), .s_axil_awready(), .s_axil_awaddr(8'd0),
    .s_axil_wvalid(1'b0), .s_axil_wready(), .s_axil_wdata(32'd0), .s_axil_wstrb(4'd0),
    .s_axil_bvalid(), .s_axil_bready(1'b0), .s_axil_bresp(),
    .s_axil_arvalid(1'b0), .s_axil_arready(), .s_axil_araddr(8'd0),
    .s_axil_rvalid(), .s_axil_rready(1'b0), .s_axil_rdata(), .s_axil_rresp(),
    .irq_o()
  );

  integer sent = 0, received = 0, cycles = 0, quiet = 0;
  wire [67:0] expected = out_words[received];

  function stall(input integer percent);
    stall = $unsigned($random(seed)) % 100 < percent;
  endfunction

  task finish(input passed);
    begin
      if (passed) $display("PASS: %0d words in, %0d words out, %0d cycles", sent, received, cycles);
      $finish;
    end
  endtask

  // Handshakes as they stand before the edge; the pins change after it.
  reg took, gave;
  always @(posedge clk) begin
    took = in_valid && in_ready === 1'b1;
    gave = out_ready && out_valid === 1'b1;
    if (!rst && (in_ready === 1'bx || out_valid === 1'bx)) begin
      $display("FAIL: cycle %0d: a handshake is unknown", cycles);
      finish(0);
    end
    if (gave && (received == out_count || out_last !== expected[64] ||
                 ((out_data ^ expected[31:0]) & expected[63:32]) !== 32'd0)) begin
      $display("FAIL: cycle %0d, word %0d out: expected %h (mask %h, last %b), got %h (last %b)",
               cycles, received, expected[31:0], expected[63:32], expected[64], out_data, out_last);
      finish(0);
    end
    quiet = took || gave ? 0 : quiet + 1;
    if (quiet > PATIENCE) begin
      $display("FAIL: cycle %0d: nothing moves after %0d words in, %0d words out", cycles, sent,
               received);
      finish(0);
    end
    cycles = cycles + 1;
    #1;
    if (gave) received = received + 1;
    if (took) sent = sent + 1;
    if (took || !in_valid) begin
      in_valid = !rst && sent < in_count && in_words[sent][63:32] <= received && !stall(stalls);
      in_data  = in_valid ? in_words[sent][31:0] : $random(seed);
    end
    out_ready = !stall(stalls);
    if (sent == in_count && received == out_count) finish(1);
  end

  always #5 clk = ~clk;

  initial begin
    stalls = 0;
    seed   = 1;
    if (!$value$plusargs("in=%s", in_file) || !$value$plusargs("in_words=%d", in_count) ||
        !$value$plusargs("out=%s", out_file) || !$value$plusargs("out_words=%d", out_count)) begin
      $display("FAIL: +in= +in_words= +out= +out_words= are needed");
      $finish;
    end
    if (in_count < 1 || in_count > WORDS || out_count < 1 || out_count > WORDS) begin
      $display("FAIL: from 1 to %0d words, not %0d and %0d", WORDS, in_count, out_count);
      $finish;
    end
    if (!$value$plusargs("stalls=%d", stalls)) stalls = 0;
    if (!$value$plusargs("seed=%d", seed)) seed = 1;
    $readmemh(in_file, in_words, 0, in_count - 1);
    $readmemh(out_file, out_words, 0, out_count - 1);
    repeat (8) @(posedge clk);
    #1 rst = 1'b0;
  end
endmodule

`default_nettype wire
