# SPDX-License-Identifier: Apache-2.0
# The demo's network on the netlist of tiny, under Verilator and, from a record of the streams, under
# Icarus.
NETLIST_RECORD := $(NETLIST_DIR)/record
$(NETLIST_RECORD): $(call objects,tests/netlist/record.c) $(LIBS) $(RTL_LIBS)
	@mkdir -p $(@D)
	$(CXX) -o $@ $^ $(LDLIBS_HOST) $(LDLIBS_RTL)

# Icarus simulates 400 clock cycles a second: two digits with binary weights take a minute, ten at 4
# bits a quarter of an hour.
TEST_PROGRAMS += $(NETLIST_LIB) $(NETLIST_RECORD) $(NETLIST_REPLAY)
TEST_COMMANDS += "tests/netlist/run $(BUILD)" "tests/netlist/icarus $(BUILD) w1a4 0 2"
TEST_ALL_COMMANDS += "tests/netlist/icarus $(BUILD) w4a4 0 5" "tests/netlist/icarus $(BUILD) w4a4 5 5"
