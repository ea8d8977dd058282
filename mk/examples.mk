# SPDX-License-Identifier: Apache-2.0
# What the scripts in examples/ need beside the command.

EXAMPLE_TOOLS := $(BUILD)/make-network $(BUILD)/scale-input
$(BUILD)/make-network: $(BUILD)/obj/examples/networks/make_network.o $(LIB_HOST)
$(BUILD)/scale-input: $(BUILD)/obj/examples/networks/scale_input.o $(LIB_HOST)
$(EXAMPLE_TOOLS):
	$(CC) -o $@ $^ $(LDLIBS_HOST)

## examples: build the command and the writers of networks that examples/ use
.PHONY: examples
examples: $(BUILD)/bitloom $(EXAMPLE_TOOLS)
