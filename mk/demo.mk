# SPDX-License-Identifier: Apache-2.0
# The shipped example, from ONNX to a report.

## demo: compress the shipped digits network, run it on the RTL, print a table, write a report
.PHONY: demo
demo: $(BUILD)/bitloom
	@examples/digits/demo $(BUILD)/bitloom rtl $(BUILD)/demo
