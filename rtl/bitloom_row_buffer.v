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
// With GATHER_WORDS 2 words lie in two banks, and the two words whose addresses differ only in the
// lowest bit of fill_addr_i may come at once, by the same shift. What is read is named by
// {word in the bank, bank}: in rotated windows that is not the address in the K list.
//
// The read request is passed on to the next row one cycle later. That is the array's whole row skew:
// a narrow address travels south instead of a triangle of words.
//
// Latency: read_data_o holds the word one cycle after read_i, until the next read_i.
`default_nettype none

module bitloom_row_buffer #(
    parameter COLS = 8,          // lanes of a group; divides LANES
    parameter LANES = 32,        // bits of a word
    parameter ROW_DEPTH = 1024,  // words of one half, a power of two
    parameter GATHER_WORDS = 1   // 1 or 2
) (
    input  logic               clk_i,
    input  logic               rst_i,
    input  logic [GATHER_WORDS-1:0] fill_we_i,
    input  logic               fill_pair_i,    // word 1 belongs to fill_addr_i + 1, which is odd
    input  logic               fill_half_i,
    input  logic [15:0]        fill_addr_i,    // upper bits of addresses are dropped
    input  logic [15:0]        fill_next_i,
    input  logic [3:0]         fill_shift_i,   // < LANES/8
    input  logic [LANES/8-1:0] fill_bytes_i,   // bytes of fill_data_i that are written
    input  logic               fill_flush_i,   // instead: all from byte fill_shift_i of the word on
    input  logic               fill_rotated_i, // addresses are {address, group}
    input  logic [GATHER_WORDS*LANES-1:0] fill_data_i, // without fill_pair_i: word 0 in each
    input  logic               read_i,
    input  logic               read_half_i,
    input  logic [15:0]        read_addr_i,    // {word in the bank, bank} with GATHER_WORDS 2
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

  logic fills;  // otherwise nobody looks at what follows, and simulation rests
  assign fills = fill_we_i != '0;

  // The words rotated, by powers of two, and the addresses in a bank, with room for the group's number
  // where there is one.
  localparam IW = GATHER_WORDS == 2 ? AW - 1 : AW;
  logic [GATHER_WORDS*LANES-1:0] rotated;
  logic [IW-1:0]                 here, next;
  always_comb begin
    if (fills) begin
      rotated = fill_data_i;
      for (int i = 0; i < SW; i++)
        for (int k = 0; k < GATHER_WORDS; k++)
          if (fill_shift_i[i])
            rotated[k*LANES+:LANES] = (rotated[k*LANES+:LANES] << (8 << i)) |
                                      (rotated[k*LANES+:LANES] >> (LANES - (8 << i)));
      here = fill_rotated_i ? IW'(fill_addr_i[AW-1:AW-IW] << GROUP_W) : fill_addr_i[AW-1:AW-IW];
      next = fill_rotated_i ? IW'(fill_next_i[AW-1:AW-IW] << GROUP_W) : fill_next_i[AW-1:AW-IW];
    end else begin
      rotated = 'x;
      here    = 'x;
      next    = 'x;
    end
  end

  // What happens at byte `place` of a word: whether it belongs to the next word, whether it is
  // written, and at which address.
  function automatic logic wraps(input logic [SW-1:0] place, input logic [3:0] shift);
    wraps = 4'(place) < shift;
  endfunction
  function automatic logic writes(input logic [SW-1:0] place, input logic [3:0] shift);
    writes = fill_flush_i ? !wraps(place, shift) : fill_bytes_i[place - shift[SW-1:0]];
  endfunction
  function automatic logic [IW-1:0] address(input logic [SW-1:0] place, input logic [3:0] shift);
    logic [SW-1:0] source;
    source  = place - shift[SW-1:0];
    address = wraps(place, shift) ? next : here;
    if (fill_rotated_i) address[GROUP_W-1:0] = GROUP_W'(source >> GROUP_SHIFT);
  endfunction

  logic odd_q;  // bank of the word read last
  always_ff @(posedge clk_i) if (read_i) odd_q <= read_addr_i[0];

  genvar p;
  generate
    for (p = 0; p < BYTES; p = p + 1) begin : gen_byte
      if (GATHER_WORDS == 1) begin : gen_one
        bitloom_ram #(.WIDTH(8), .DEPTH(2 * ROW_DEPTH)) u_ram (
            .clk_i,
            .we_i(fill_we_i[0] && writes(SW'(p), fill_shift_i)),
            .waddr_i({fill_half_i, address(SW'(p), fill_shift_i)}),
            .wdata_i(rotated[p*8+:8]),
            .re_i(read_i),
            .raddr_i({read_half_i, read_addr_i[AW-1:0]}),
            .rdata_o(read_data_o[p*8+:8])
        );
      end else begin : gen_two
        logic [1:0]  we;
        logic [IW:0] waddr;
        logic [15:0] wdata, data;
        always_comb begin
          we = '0;
          if (fills) begin
            if (writes(SW'(p), fill_shift_i))
              we = fill_pair_i ? fill_we_i
                 : (wraps(SW'(p), fill_shift_i) ? fill_next_i[0] : fill_addr_i[0]) ? {fill_we_i[0], 1'b0} : {1'b0, fill_we_i[0]};
            waddr = {fill_half_i, address(SW'(p), fill_shift_i)};
            wdata = {rotated[LANES+p*8+:8], rotated[p*8+:8]};
          end else begin
            waddr = 'x;
            wdata = 'x;
          end
        end
        bitloom_ram #(.WIDTH(16), .DEPTH(ROW_DEPTH), .BYTE(8)) u_ram (
            .clk_i,
            .we_i(we),
            .waddr_i(waddr),
            .wdata_i(wdata),
            .re_i(read_i),
            .raddr_i({read_half_i, read_addr_i[AW-1:1]}),
            .rdata_o(data)
        );
        assign read_data_o[p*8+:8] = odd_q ? data[15:8] : data[7:0];
      end
    end
    if (GATHER_WORDS == 1) begin : gen_no_bank
      wire unused_pair = &{1'b0, odd_q, fill_pair_i, 1'b0};
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
