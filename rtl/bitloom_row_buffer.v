// SPDX-License-Identifier: Apache-2.0
// One row's window of activation words, in two halves: the gather fills one while the array reads
// the other.
//
// It is filled byte by byte, so that taps of few channels share a word: the word offered is rotated
// by fill_shift_i bytes, and each byte goes to a bank of its own. Bytes that wrap around belong to
// the next word, fill_next_i. Rotated (depthwise) windows give each group of COLS lanes a word of
// its own: the group's number is the lowest part of the address there.
//
//   fill_data 3 2 1 0 --rotate by 1--> 2 1 0 3     bytes 0..2 at fill_addr, byte 3 at fill_next
//
// The read request is passed on to the next row one cycle later. That is the array's whole row skew:
// a narrow address travels south instead of a triangle of words.
//
// Latency: read_data_o holds the word one cycle after read_i, until the next read_i.
`default_nettype none

module bitloom_row_buffer #(
    parameter COLS = 8,          // lanes of a group; divides LANES
    parameter LANES = 32,        // bits of a word
    parameter ROW_DEPTH = 1024   // words of one half, a power of two
) (
    input  logic               clk_i,
    input  logic               rst_i,
    input  logic               fill_we_i,
    input  logic               fill_half_i,
    input  logic [15:0]        fill_addr_i,    // upper bits of addresses are dropped
    input  logic [15:0]        fill_next_i,
    input  logic [3:0]         fill_shift_i,   // < LANES/8
    input  logic [LANES/8-1:0] fill_bytes_i,   // bytes of fill_data_i that are written
    input  logic               fill_flush_i,   // instead: all from byte fill_shift_i of the word on
    input  logic               fill_rotated_i, // addresses are {address, group}
    input  logic [LANES-1:0]   fill_data_i,
    input  logic               read_i,
    input  logic               read_half_i,
    input  logic [15:0]        read_addr_i,
    output logic               read_o,       // the request, for the row below
    output logic               read_half_o,
    output logic [15:0]        read_addr_o,
    output logic [LANES-1:0]   read_data_o
);
  localparam AW = $clog2(ROW_DEPTH);
  localparam BYTES = LANES / 8;
  localparam SW = $clog2(BYTES);
  localparam GROUP_W = $clog2(LANES / COLS);
  localparam GROUP_SHIFT = $clog2(COLS / 8);

  // Addresses with room for the group's number, where there is one.
  logic [AW-1:0] here, next;
  assign here = fill_rotated_i ? AW'(fill_addr_i << GROUP_W) : fill_addr_i[AW-1:0];
  assign next = fill_rotated_i ? AW'(fill_next_i << GROUP_W) : fill_next_i[AW-1:0];

  // The word rotated, by powers of two.
  logic [LANES-1:0] rotated;
  always_comb begin
    rotated = fill_data_i;
    for (int i = 0; i < SW; i++)
      if (fill_shift_i[i]) rotated = (rotated << (8 << i)) | (rotated >> (LANES - (8 << i)));
  end

  genvar p;
  generate
    for (p = 0; p < BYTES; p = p + 1) begin : gen_bank
      logic [SW-1:0] source;
      logic          wrapped, we;
      logic [AW-1:0] address;
      assign source  = SW'(p) - fill_shift_i[SW-1:0];
      assign wrapped = 4'(p) < fill_shift_i;
      assign we      = fill_we_i && (fill_flush_i ? !wrapped : fill_bytes_i[source]);
      always_comb begin
        address = wrapped ? next : here;
        if (fill_rotated_i) address[GROUP_W-1:0] = source[SW-1:GROUP_SHIFT];
      end
      bitloom_ram #(.WIDTH(8), .DEPTH(2 * ROW_DEPTH)) u_ram (
          .clk_i,
          .we_i(we),
          .waddr_i({fill_half_i, address}),
          .wdata_i(rotated[p*8+:8]),
          .re_i(read_i),
          .raddr_i({read_half_i, read_addr_i[AW-1:0]}),
          .rdata_o(read_data_o[p*8+:8])
      );
    end
  endgenerate
  wire unused = &{1'b0, fill_addr_i, fill_next_i, read_addr_i, 1'b0};

  always_ff @(posedge clk_i)
    if (rst_i) read_o <= 1'b0;
    else read_o <= read_i;

  always_ff @(posedge clk_i)
    if (read_i) begin
      read_half_o <= read_half_i;
      read_addr_o <= read_addr_i;
    end

endmodule

`default_nettype wire
