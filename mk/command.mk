# SPDX-License-Identifier: Apache-2.0
# Tests of the command start the program, so the program must be there first; some draw networks
# from the regression's generator.
COMMAND_TESTS := $(addprefix $(BUILD)/tests/,test_command test_end_to_end test_onnx_nets test_refine \
  test_refine_nets \
  test_train_command test_recipe_command test_search_command test_search_recipe test_train_relative test_search_nets)
$(COMMAND_TESTS): $(call objects,tests/support/run_command.c) | $(BUILD)/bitloom
NETWORK_TESTS := $(addprefix $(BUILD)/tests/,test_command test_run test_qdq_export)
$(NETWORK_TESTS): $(call objects,tests/regress/random_graph.c)
$(NETWORK_TESTS): LDLIBS_HOST := $(LIBS) $(LDLIBS_HOST)

TEST_COMMANDS += "tests/house/check_options $(BUILD)" "tests/house/check_recipes $(BUILD)" "tests/house/check_page $(BUILD)"
