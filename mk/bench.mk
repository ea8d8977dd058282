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

$(BUILD)/bench/float: $(BUILD)/obj/tests/bench/float.o $(LIB_HOST)
	@mkdir -p $(@D)
	$(CC) -o $@ $^ $(LDLIBS_HOST)

## bench-float: print the time of float inference beside that of ONNX Runtime (python3 of PYTHON)
.PHONY: bench-float
bench-float: $(BUILD)/bench/float
	@$<

## bench-recipes: print time and memory of the recipes that train nothing against their targets
.PHONY: bench-recipes
bench-recipes: $(BUILD)/bitloom $(BUILD)/bench/measure
	@tests/bench/recipes $(BUILD)

## bench: print speed, array use and memory against their targets (models of the data folder where it is there)
.PHONY: bench
bench: $(BUILD)/bitloom $(ARRAY_ISSUE) $(BUILD)/bench/measure $(BUILD)/bench/networks $(BUILD)/bench/train $(BUILD)/bench/float
	@tests/bench/run $(BUILD)
