// SPDX-License-Identifier: Apache-2.0
// Cuts the payload of a load, a stream of 32-bit words, into units of 1 to UNIT_BYTES bytes; expands
// the payload of a load of codes.
//
// Why: a memory's word (a unit) is 1 to 16 bytes and need not divide a stream word. No byte is
// ever shifted twice: stream words are rotated by the difference between the place of a byte in its
// stream word and in its unit, and each byte of the unit has its own enable.
//
//   payload word -> rotate (4:1) -> unit register, byte enables -> memory
//                -> 8 codes -> bit of the codebook's entry (16:1), a plane a cycle -> byte of a word
//
// A stream word of codes holds eight lanes of a weight word, which is a byte of it in each plane: it
// is written at once with the memory's byte enables, so that no register holds a unit of codes.
//
// Contract: start_i, in a cycle without payload, sets the unit size, the number of columns, the
// first address and how many bytes of the payload's last word count; the block then takes words to
// the one with payload_last_i.
// Unit k goes to column k mod columns, address + k div columns; it waits for unit_ready_i. Bytes of
// unit_data_o beyond the unit are zero. idle_o: every unit begun has been taken.
// With codes_i the payload is a codebook and words of LANES codes, as in docs/reference/device.md;
// unit_bytes_o names the byte of the weight word that is written, otherwise it is all ones.
// Throughput: at most one stream word and one unit a cycle; a unit boundary inside a stream word
// costs one cycle. Codes: a stream word takes a cycle for each plane.
`default_nettype none

module bitloom_unpack #(
  parameter int LANES = 32,     // bits of a weight word, a multiple of 16
  parameter int UNIT_BYTES = 9  // bytes of the largest unit, 9 to 16, at least LANES/8
) (
  input  logic                    clk_i,
  input  logic                    rst_i,
  input  logic                    start_i,
  input  logic [4:0]              unit_i,    // bytes, 1..UNIT_BYTES; not looked at for codes
  input  logic [7:0]              columns_i, // >= 1
  input  logic [15:0]             address_i,
  input  logic [1:0]              length_i,  // the payload's bytes modulo 4
  input  logic                    codes_i,   // these three stay until idle_o
  input  logic [7:0]              planes_i,  // not 0
  input  logic [15:0]             stride_i,
  input  logic                    payload_valid_i,
  output logic                    payload_ready_o,
  input  logic [31:0]             payload_data_i,
  input  logic                    payload_last_i, // with the payload's last word
  output logic                    unit_valid_o,
  input  logic                    unit_ready_i,
  output logic [UNIT_BYTES*8-1:0] unit_data_o,
  output logic [LANES/8-1:0]      unit_bytes_o,
  output logic [7:0]              unit_column_o,
  output logic [15:0]             unit_address_o,
  output logic                    idle_o
);
  // ---- Units -------------------------------------------------------------------------------------
  logic [1:0]  place_q;    // first byte of the stream word not yet taken
  logic [4:0]  fill_q;     // bytes of the unit present
  logic        full_q;     // the unit register holds a whole unit
  logic        room, take, unit_done, word_done;
  logic [2:0]  whole;      // bytes of the stream word that belong to the payload
  logic [2:0]  offered;    // of which from place_q on
  logic [4:0]  wanted;     // bytes the unit still needs
  logic [2:0]  count;      // bytes taken in this cycle
  logic [1:0]  rotation;
  logic [31:0] rotated;
  logic [UNIT_BYTES*8-1:0] unit_q;

  assign whole = payload_last_i && length_i != '0 ? {1'b0, length_i} : 3'd4;
  assign offered = whole - {1'b0, place_q};
  assign wanted = unit_i - fill_q;
  assign count = wanted < {2'b00, offered} ? wanted[2:0] : offered;
  assign unit_done = wanted == {2'b00, count};
  assign word_done = offered == count;
  assign room = !full_q || unit_ready_i;
  assign take = payload_valid_i && room && !codes_i;

  assign rotation = place_q - fill_q[1:0];
  // Byte j of the unit is in lane j mod 4; the bytes taken begin at fill_q and lie in lanes of their
  // own, those below fill_q mod 4 in the next group of four.
  logic [3:0] some, lanes, next_group;
  always_comb begin
    rotated = 'x;
    {some, lanes, next_group} = 'x;
    if (take) begin  // otherwise nobody looks, and simulation rests
      case (rotation)
        2'd0: rotated = payload_data_i;
        2'd1: rotated = {payload_data_i[7:0], payload_data_i[31:8]};
        2'd2: rotated = {payload_data_i[15:0], payload_data_i[31:16]};
        default: rotated = {payload_data_i[23:0], payload_data_i[31:24]};
      endcase
      some = {count[2], count[2] || &count[1:0], count[2] || count[1], count != '0};
      case (fill_q[1:0])
        2'd0: {lanes, next_group} = {some, 4'b0000};
        2'd1: {lanes, next_group} = {some[2:0], some[3], 4'b0001};
        2'd2: {lanes, next_group} = {some[1:0], some[3:2], 4'b0011};
        default: {lanes, next_group} = {some[0], some[3:1], 4'b0111};
      endcase
    end
  end

  always_ff @(posedge clk_i) begin
    if (start_i) unit_q <= '0;
    else if (take) begin
      for (int j = 0; j < UNIT_BYTES; j++) begin
        if (lanes[j%4] && (next_group[j%4] ? j >= 4 && fill_q[4:2] == 3'(j/4 - 1)
                                           : fill_q[4:2] == 3'(j/4))) begin
          unit_q[j*8 +: 8] <= rotated[(j%4)*8 +: 8];
        end
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (start_i) begin
      place_q <= 2'd0;
      fill_q <= 5'd0;
    end else if (take) begin
      place_q <= word_done ? 2'd0 : place_q + count[1:0];
      fill_q <= unit_done ? 5'd0 : fill_q + {2'b00, count};
    end
  end

  always_ff @(posedge clk_i) begin
    if (take) full_q <= unit_done;
    else if (unit_ready_i) full_q <= 1'b0;
    if (rst_i) full_q <= 1'b0;
  end

  // ---- Codes -------------------------------------------------------------------------------------
  localparam int BYTES = LANES / 8;
  logic [127:0]     book_q;
  logic [2:0]       book_have_q;  // words of it
  logic [7:0]       todo_q;       // planes of the stream word not yet written
  logic [7:0]       plane, rest;  // the lowest of them; the others
  logic [15:0]      offset_q;     // stride times planes already written
  logic [BYTES-1:0] byte_q;       // the byte of the weight word
  logic [15:0]      bits;         // the plane's bit of each entry
  logic [7:0]       expanded;
  logic             book_full, code_valid, code_taken, codes_done;
  assign book_full = book_have_q[2];
  assign code_valid = codes_i && payload_valid_i && book_full;
  assign code_taken = code_valid && unit_ready_i;
  always_comb begin
    {bits, expanded, rest, plane, codes_done} = 'x;
    if (codes_i) begin
      rest       = todo_q & (todo_q - 8'd1);
      plane      = todo_q & ~rest;
      codes_done = rest == '0;  // with the stream word
    end
    if (code_valid) begin
      for (int k = 0; k < 16; k++) bits[k] = |(book_q[k*8 +: 8] & plane);
      for (int l = 0; l < 8; l++) expanded[l] = bits[payload_data_i[l*4 +: 4]];
    end
  end
  always_ff @(posedge clk_i)
    if (start_i) book_have_q <= '0;
    else if (codes_i && payload_valid_i && !book_full) book_have_q <= book_have_q + 3'd1;
  always_ff @(posedge clk_i)
    if (codes_i && payload_valid_i && !book_full) book_q <= {payload_data_i, book_q[127:32]};
  always_ff @(posedge clk_i)
    if (start_i || (code_taken && codes_done)) begin
      todo_q <= planes_i;
      offset_q <= '0;
    end else if (code_taken) begin
      todo_q <= rest;
      offset_q <= offset_q + stride_i;
    end
  always_ff @(posedge clk_i)
    if (start_i) byte_q <= BYTES'(1);
    else if (code_taken && codes_done) byte_q <= {byte_q[BYTES-2:0], byte_q[BYTES-1]};

  // ---- Both --------------------------------------------------------------------------------------
  logic [15:0] address_q;
  logic        advance;
  assign payload_ready_o = codes_i ? !book_full || (codes_done && unit_ready_i) : word_done && room;
  assign advance = codes_i ? code_taken && codes_done && byte_q[BYTES-1] : full_q && unit_ready_i;
  always_ff @(posedge clk_i) begin
    if (start_i) begin
      unit_column_o <= 8'd0;
      address_q <= address_i;
    end else if (advance) begin
      if (unit_column_o == columns_i - 8'd1) begin
        unit_column_o <= 8'd0;
        address_q <= address_q + 16'd1;
      end else begin
        unit_column_o <= unit_column_o + 8'd1;
      end
    end
  end

  assign unit_valid_o = full_q || code_valid;
  assign unit_bytes_o = codes_i ? byte_q : '1;
  assign unit_address_o = address_q + offset_q;
  always_comb begin
    unit_data_o = unit_q;
    if (codes_i) unit_data_o[LANES-1:0] = {BYTES{expanded}};
  end
  assign idle_o = !full_q;
endmodule

`default_nettype wire
