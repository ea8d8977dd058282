# SPDX-License-Identifier: Apache-2.0
# Sums the cells of a Yosys `stat` of a flat netlist by what they are.
/^=== / { delete count; cells = 0 }  # the last module printed is the whole design
/^ +Number of cells:/ { cells = $NF; next }
/^ +[$A-Za-z_][A-Za-z0-9_$]* +[0-9]+$/ { count[$1] += $2 }
END {
  for (c in count) {
    if (c ~ /^(SB_LUT4|LUT[1-6])$/) lut += count[c]
    else if (c == "CCU2C") { lut += 2 * count[c]; carry += count[c] }
    else if (c ~ /^(SB_CARRY|CARRY4)$/) carry += count[c]
    else if (c ~ /^(SB_DFF|TRELLIS_FF|FD[CPRS]E)/) ff += count[c]
    else if (c ~ /^(SB_RAM40_4K.*|DP16KD|RAMB36E1)$/) bram += count[c]
    else if (c == "RAMB18E1") half += count[c]
    else if (c ~ /^(SB_MAC16|MULT18X18D|DSP48E1)$/) dsp += count[c]
    else if (c ~ /^(TRELLIS_DPR16X4|RAM[0-9]+[MXSD].*)$/) lutram += count[c]
  }
  if (top == "bitloom_top" && target == "xilinx" && config == "wide")
    printf "CNV, 59.46 M multiply-accumulates in %d cycles an image: %.2f LUT for each operation a cycle\n", cycles, lut / (2 * 59.46e6 / cycles)
  printf "%-8s %-8s %8s %8s %8s %8s %8s %8s %8s\n", "target", "config", "cells", "LUT", "carry", "FF", "BRAM", "LUT RAM", "DSP"
  printf "%-8s %-8s %8d %8d %8d %8d %8.1f %8d %8d\n", target, config, cells, lut, carry, ff, bram + half / 2, lutram, dsp
}
