# SPDX-License-Identifier: Apache-2.0
# The functional device's inner loops have fixed trip counts; -O2 leaves them rolled, and their
# vectors in memory.
$(BUILD)/obj/sim/functional_kernel.o $(BUILD)/obj/sim/functional_run.o: CFLAGS += -O3

FUNCTIONAL_BENCH := $(BUILD)/bench/functional
$(FUNCTIONAL_BENCH): $(BUILD)/obj/tests/bench/functional.o $(LIB_SIM) $(LIB_DRIVER)
	@mkdir -p $(@D)
	$(CC) -o $@ $^ -lz

## bench-functional: print words a second of the functional device, for each instruction set
.PHONY: bench-functional
bench-functional: $(FUNCTIONAL_BENCH)
	@$(FUNCTIONAL_BENCH)
