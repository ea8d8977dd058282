// SPDX-License-Identifier: Apache-2.0
// Remembers which words of which memory a failed load has left in doubt.
//
// Why: a layer must not run on words that arrived damaged. One rectangle (words by columns) for
// each memory is enough: a second failure widens it, and only a sound load that covers it all
// takes the mark away. A memory without columns has one.
//
// Contract: fail_i marks, sound_i clears when it covers, both with memory_i, first_i (word), end_i
// (one past the last word) and columns_i (columns 0..columns-1). clear_i clears everything.
// mask_o: bit m set while memory m is in doubt. Latency 1.
`default_nettype none

module bitloom_poison (
  input  logic        clk_i,
  input  logic        rst_i,
  input  logic        clear_i,
  input  logic        fail_i,
  input  logic        sound_i,
  input  logic [2:0]  memory_i, // 0..6
  input  logic [15:0] first_i,
  input  logic [16:0] end_i,
  input  logic [7:0]  columns_i,
  output logic [6:0]  mask_o
);
  logic [15:0] first_q[8];
  logic [16:0] end_q[8];
  logic [7:0]  columns_q[8];
  logic [15:0] first;
  logic [16:0] last;
  logic [7:0]  columns;
  logic [7:0]  mask;
  logic        marked;
  logic        later, sooner, fewer;  // this load's edges within the marked rectangle's

  always_comb begin
    if (fail_i || sound_i) begin  // otherwise nobody looks, and simulation rests
      first   = first_q[memory_i];
      last    = end_q[memory_i];
      columns = columns_q[memory_i];
      mask    = {1'b0, mask_o};
      marked  = mask[memory_i];
      later   = first < first_i;
      sooner  = end_i < last;
      fewer   = columns_i < columns;
    end else {first, last, columns, mask, marked, later, sooner, fewer} = 'x;
  end

  always_ff @(posedge clk_i) begin
    if (fail_i) begin
      first_q[memory_i] <= marked && later ? first : first_i;
      end_q[memory_i] <= marked && sooner ? last : end_i;
      columns_q[memory_i] <= marked && fewer ? columns : columns_i;
    end
  end

  always_ff @(posedge clk_i) begin
    if (fail_i) mask_o <= mask_o | (7'd1 << memory_i);
    else if (sound_i && !later && !sooner && !fewer) mask_o <= mask_o & ~(7'd1 << memory_i);
    if (rst_i || clear_i) mask_o <= '0;
  end
endmodule

`default_nettype wire
