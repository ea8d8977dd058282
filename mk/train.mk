# SPDX-License-Identifier: Apache-2.0
# Training's own loops run over whole activations, so they are vectorised and shared by threads.
# The sanitized build leaves both out.
TRAIN_OBJ := $(call objects,$(wildcard host/train/*.c))
ifeq ($(findstring sanitize,$(CC)),)
$(TRAIN_OBJ): CFLAGS += -O3 -fopenmp
endif

$(BUILD)/bench/train: $(BUILD)/obj/tests/bench/train.o $(LIB_HOST)
	@mkdir -p $(@D)
	$(CC) -o $@ $^ $(LDLIBS_HOST)

## bench-train: print how long an epoch of training takes beside oneDNN's bare convolutions
.PHONY: bench-train
bench-train: $(BUILD)/bench/train
	@$<
