# SPDX-License-Identifier: Apache-2.0
# Random layers and networks: shared by the unit test (functional device) and the RTL regression.
REGRESS_OBJ := $(call objects,tests/regress/random_graph.c tests/regress/run_case.c)
$(BUILD)/tests/test_compile_random $(BUILD)/tests/test_bloom: $(REGRESS_OBJ)
# These objects stand behind the libraries on the command line and use them, so name those again.
$(BUILD)/tests/test_compile_random $(BUILD)/tests/test_bloom: LDLIBS_HOST := $(LIBS) $(LDLIBS_HOST)
