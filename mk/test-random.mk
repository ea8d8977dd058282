# SPDX-License-Identifier: Apache-2.0
# Random layers and networks, shared by unit tests (functional device) and the regression, which
# runs on either device: make regress DEVICE=rtl SEED=7.
REGRESS_OBJ := $(call objects,tests/regress/random_graph.c tests/regress/random_strata.c tests/regress/run_case.c tests/regress/run_cost.c)
REGRESS_USERS := $(BUILD)/tests/test_overlap $(BUILD)/tests/test_cost $(BUILD)/tests/test_spill $(BUILD)/tests/test_small_memories $(BUILD)/tests/test_compile_random $(BUILD)/tests/test_bloom $(BUILD)/tests/test_compile $(BUILD)/tests/test_signature

$(REGRESS_USERS): $(REGRESS_OBJ)
# These objects stand behind the libraries on the command line and use them, so name those again.
$(REGRESS_USERS): LDLIBS_HOST := $(LIBS) $(RTL_LIBS) $(LDLIBS_HOST)

DEVICE ?= rtl
SEED ?= 1
STALLS ?= 0.3
LAYERS ?= 1000
NETWORKS ?= 200

$(BUILD)/random_regression: $(call objects,tests/regress/random_regression.c) $(REGRESS_OBJ) $(LIBS) $(RTL_LIBS)
	$(CXX) -o $@ $^ $(LDLIBS_HOST) $(LDLIBS_RTL)

## regress: random layers and networks against the reference kernels (DEVICE=rtl|functional SEED=1 LAYERS=1000 NETWORKS=200 STALLS=0.3)
.PHONY: regress
regress: $(BUILD)/random_regression
	$(BUILD)/random_regression --device $(DEVICE) --seed $(SEED) --layers $(LAYERS) \
	  --networks $(NETWORKS) --stalls $(STALLS) --shards $(JOBS)

TEST_PROGRAMS += $(BUILD)/random_regression
TEST_COMMANDS += "$(BUILD)/random_regression --device rtl --seed $(TEST_SEED) --shards $(JOBS)"

# The cycle model, on 640 layers (every precision pair on every configuration) and 40 networks.
TEST_COMMANDS += "$(BUILD)/random_regression --device rtl --seed $(TEST_SEED) --shards $(JOBS) --cycles yes --layers 640 --networks 40"
