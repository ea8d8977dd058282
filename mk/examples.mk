# SPDX-License-Identifier: Apache-2.0
# What the scripts in examples/ need beside the command.

$(BUILD)/make-network: $(BUILD)/obj/examples/networks/make_network.o $(LIB_HOST)
	$(CC) -o $@ $^ $(LDLIBS_HOST)

## examples: build the command and the writer of fresh networks that examples/ use
.PHONY: examples
examples: $(BUILD)/bitloom $(BUILD)/make-network
