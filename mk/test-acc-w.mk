# SPDX-License-Identifier: Apache-2.0
# Layers that fill an accumulator, for accumulators of 16 to 32 bits.
EXTREME_OBJ := $(call objects,tests/support/extreme_sums.c tests/regress/run_case.c)
$(BUILD)/tests/test_acc_w: $(EXTREME_OBJ)
$(BUILD)/tests/test_acc_w: LDLIBS_HOST := $(LIBS) $(RTL_LIBS) $(LDLIBS_HOST)

# On the RTL of tiny with other widths: 16 bits in `make test`, all in `make test-all`.
SUMS := $(foreach w,16 20 32,$(BUILD)/rtl-bench/sums.w$(w)/bench)
$(BUILD)/rtl-bench/sums.w%/bench: tests/rtl/sums.c $(RTL_SOURCES) tests/rtl/build_bench tests/rtl/dut.awk \
  tests/rtl/bench.h $(EXTREME_OBJ) $(LIB_HOST) $(LIB_DRIVER) | $(DEPS_STAMP)
	@echo "bench sums.w$*"
	@SOURCE=$< NAME=sums.w$* tests/rtl/build_bench top.w$* $(BUILD)

TEST_PROGRAMS += $(firstword $(SUMS))
TEST_COMMANDS += "$(firstword $(SUMS)) $(TEST_SEED) +verilator+rand+reset+2 +verilator+seed+$(TEST_SEED)"
TEST_ALL_PROGRAMS += $(SUMS)
TEST_ALL_COMMANDS += $(foreach s,$(wordlist 2,3,$(SUMS)),"$(s) $(TEST_SEED) +verilator+rand+reset+2 +verilator+seed+$(TEST_SEED)")

# A contract with another width is refused, and so is an RTL.
TEST_COMMANDS += "tests/house/check_acc_w"
