# SPDX-License-Identifier: Apache-2.0
# Networks made in code, for the table of networks and for a test of their own.
NETS_OBJ := $(BUILD)/obj/tests/bench/nets.o $(BUILD)/obj/tests/bench/nets_onnx.o
$(BUILD)/tests/test_nets: $(NETS_OBJ) $(BUILD)/obj/tests/support/run_command.o | $(BUILD)/bitloom
$(BUILD)/tests/test_nets: LDLIBS_HOST := $(LIBS) $(RTL_LIBS) $(LDLIBS_HOST)

$(BUILD)/bench/networks: $(BUILD)/obj/tests/bench/networks.o $(BUILD)/obj/tests/regress/run_cost.o $(NETS_OBJ) $(LIBS) $(RTL_LIBS)
	@mkdir -p $(@D)
	$(CXX) -o $@ $^ $(LDLIBS_HOST) $(LDLIBS_RTL)
$(BUILD)/tests/test_cost $(BUILD)/tests/test_overlap: $(NETS_OBJ)
