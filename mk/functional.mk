# SPDX-License-Identifier: Apache-2.0
# The functional device's inner loops have fixed trip counts; -O2 leaves them rolled, and their
# vectors in memory.
$(BUILD)/obj/sim/functional_kernel.o $(BUILD)/obj/sim/functional_run.o: CFLAGS += -O3
