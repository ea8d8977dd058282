# SPDX-License-Identifier: Apache-2.0
# The command's own test starts the program, so the program must be there first; it and the
# runtime's test draw their networks from the regression's generator.
$(BUILD)/tests/test_command: | $(BUILD)/bitloom
$(BUILD)/tests/test_run $(BUILD)/tests/test_command: $(call objects,tests/regress/random_graph.c)
$(BUILD)/tests/test_run $(BUILD)/tests/test_command: LDLIBS_HOST := $(LIBS) $(LDLIBS_HOST)
