# One clock at 100 MHz; every port belongs to it.
create_clock -name clk -period 10.0 [get_ports clk_i]
