# SPDX-License-Identifier: Apache-2.0
# Figures, each printed beside its target and the command behind it.

ARRAY_ISSUE := $(BUILD)/rtl-bench/array_issue/bench
$(ARRAY_ISSUE): tests/bench/array_issue.c $(wildcard rtl/*.v rtl/*.vh) tests/rtl/build_bench \
  tests/rtl/dut.awk tests/rtl/bench.h $(BUILD)/obj/drivers/bl_contract.o | $(DEPS_STAMP)
	@echo "bench array_issue"
	@SOURCE=$< NAME=array_issue tests/rtl/build_bench engine.default $(BUILD)

$(BUILD)/bench/measure: $(BUILD)/obj/tests/bench/measure.o
	@mkdir -p $(@D)
	$(CC) -o $@ $<

# Networks made in code, for the table of networks and for a test of their own.
NETS_OBJ := $(BUILD)/obj/tests/bench/nets.o
$(BUILD)/tests/test_nets: $(NETS_OBJ)
$(BUILD)/tests/test_nets: LDLIBS_HOST := $(LIBS) $(RTL_LIBS) $(LDLIBS_HOST)

## bench: print speed, array use and memory against their targets (LeNet-5 when the data is there)
.PHONY: bench
bench: $(BUILD)/bitloom $(ARRAY_ISSUE) $(BUILD)/bench/measure
	@tests/bench/run $(BUILD)
