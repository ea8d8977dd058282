// SPDX-License-Identifier: Apache-2.0
// Counts the ones of a word.
//
// The leaf of every processing element, a module of its own so that another body (compressors that
// suit a LUT4 or LUT6 fabric) can take its place and be proved equal to this one.
//
// Combinational.
`default_nettype none

module bitloom_popcount #(
    parameter LANES = 32,  // bits to count
    parameter COUNT_W = $clog2(LANES + 1)
) (
    input  logic [LANES-1:0]   data_i,
    output logic [COUNT_W-1:0] count_o
);
  always_comb count_o = COUNT_W'($countones(data_i));
endmodule

`default_nettype wire
