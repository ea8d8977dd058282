// SPDX-License-Identifier: Apache-2.0
// Cuts the payload of a load, a stream of 32-bit words, into units of 1 to UNIT_BYTES bytes.
//
// Why: a memory's word (a unit) is 2 to 16 bytes and need not divide a stream word. No byte is
// ever shifted twice: stream words are rotated by the difference between the place of a byte in its
// stream word and in its unit, and each byte of the unit has its own enable.
//
//   payload word -> rotate (4:1) -> unit register, byte enables -> memory
//
// Contract: start_i, in a cycle without payload, sets the unit size, the number of columns, the
// first address and the payload's length in bytes; the block then takes ceil(length / 4) words.
// Unit k goes to column k mod columns, address + k div columns; it waits for unit_ready_i. Bytes of
// unit_data_o beyond the unit are zero. idle_o: every unit of the payload has been taken.
// Throughput: at most one stream word and one unit a cycle; a unit boundary inside a stream word
// costs one cycle.
`default_nettype none

module bitloom_unpack #(
  parameter int UNIT_BYTES = 9 // bytes of the largest unit, 9 to 16
) (
  input  logic                    clk_i,
  input  logic                    rst_i,
  input  logic                    start_i,
  input  logic [4:0]              unit_i,    // bytes, 1..UNIT_BYTES
  input  logic [7:0]              columns_i, // >= 1
  input  logic [15:0]             address_i,
  input  logic [23:0]             length_i,
  input  logic                    payload_valid_i,
  output logic                    payload_ready_o,
  input  logic [31:0]             payload_data_i,
  output logic                    unit_valid_o,
  input  logic                    unit_ready_i,
  output logic [UNIT_BYTES*8-1:0] unit_data_o,
  output logic [7:0]              unit_column_o,
  output logic [15:0]             unit_address_o,
  output logic                    idle_o
);
  logic [23:0] left_q;     // payload bytes not yet taken
  logic [1:0]  place_q;    // first byte of the stream word not yet taken
  logic [4:0]  fill_q;     // bytes of the unit present
  logic        full_q;     // the unit register holds a whole unit
  logic        take, unit_done, word_done;
  logic [2:0]  offered;    // bytes the stream word still has
  logic [4:0]  wanted;     // bytes the unit still needs
  logic [2:0]  count;      // bytes taken in this cycle
  logic [1:0]  rotation;
  logic [31:0] rotated;

  assign offered = left_q < {22'd0, 2'd0 - place_q} || (place_q == 2'd0 && left_q < 24'd4)
                   ? left_q[2:0] : 3'd4 - {1'b0, place_q};
  assign wanted = unit_i - fill_q;
  assign count = wanted < {2'b00, offered} ? wanted[2:0] : offered;
  assign unit_done = wanted == {2'b00, count};
  assign word_done = offered == count;
  assign take = payload_valid_i && (!full_q || unit_ready_i);
  assign payload_ready_o = word_done && (!full_q || unit_ready_i);

  assign rotation = place_q - fill_q[1:0];
  always_comb begin
    case (rotation)
      2'd0: rotated = payload_data_i;
      2'd1: rotated = {payload_data_i[7:0], payload_data_i[31:8]};
      2'd2: rotated = {payload_data_i[15:0], payload_data_i[31:16]};
      default: rotated = {payload_data_i[23:0], payload_data_i[31:24]};
    endcase
  end

  always_ff @(posedge clk_i) begin
    if (start_i) unit_data_o <= '0;
    else if (take) begin
      for (int j = 0; j < UNIT_BYTES; j++) begin
        if (5'(j) >= fill_q && 5'(j) < fill_q + {2'b00, count}) begin
          unit_data_o[j*8 +: 8] <= rotated[(j%4)*8 +: 8];
        end
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (start_i) begin
      left_q <= length_i;
      place_q <= 2'd0;
      fill_q <= 5'd0;
    end else if (take) begin
      left_q <= left_q - {21'd0, count};
      place_q <= word_done ? 2'd0 : place_q + count[1:0];
      fill_q <= unit_done ? 5'd0 : fill_q + {2'b00, count};
    end
    if (rst_i) left_q <= '0;
  end

  always_ff @(posedge clk_i) begin
    if (take) full_q <= unit_done;
    else if (unit_ready_i) full_q <= 1'b0;
    if (rst_i) full_q <= 1'b0;
  end

  always_ff @(posedge clk_i) begin
    if (start_i) begin
      unit_column_o <= 8'd0;
      unit_address_o <= address_i;
    end else if (full_q && unit_ready_i) begin
      if (unit_column_o == columns_i - 8'd1) begin
        unit_column_o <= 8'd0;
        unit_address_o <= unit_address_o + 16'd1;
      end else begin
        unit_column_o <= unit_column_o + 8'd1;
      end
    end
  end

  assign unit_valid_o = full_q;
  assign idle_o = left_q == '0 && !full_q;
endmodule

`default_nettype wire
