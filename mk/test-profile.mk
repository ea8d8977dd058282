# SPDX-License-Identifier: Apache-2.0
# The test of timelines starts the program, and runs a layer of its own.
$(BUILD)/tests/test_profile: $(call objects,tests/support/run_command.c tests/regress/run_case.c) $(NETS_OBJ) | $(BUILD)/bitloom
$(BUILD)/tests/test_profile: LDLIBS_HOST := $(LIBS) $(RTL_LIBS) $(LDLIBS_HOST)
