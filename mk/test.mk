# SPDX-License-Identifier: Apache-2.0
# What `make test` runs. A fragment that adds a test appends its program to TEST_PROGRAMS (built
# first) and, where it is not run bare, its command to TEST_COMMANDS.

TEST_SEED ?= $(shell date +%j)
RTL_BENCH_COMMANDS = $(foreach b,$(BENCHES),"$(b) $(TEST_SEED) +verilator+rand+reset+2 +verilator+seed+$(TEST_SEED)")

## test: run every test that fits in half an hour; ends with "N passed, N failed, N skipped"
.PHONY: test
test: $(BUILD)/bitloom $(UNIT_TESTS) $(BENCHES) $(CONTRACT_GENERATE) $(TEST_PROGRAMS)
	@BITLOOM_BUILD=$(BUILD) tests/run $(BUILD)/test-logs \
	  "make -s contract-check BUILD=$(BUILD)" tests/house/check_tree \
	  $(foreach t,$(UNIT_TESTS),"$(t)") $(RTL_BENCH_COMMANDS) $(TEST_COMMANDS)

# What takes too long for `make test` is appended to TEST_ALL_PROGRAMS and TEST_ALL_COMMANDS.
## test-all: make test, then the tests that take longer (minutes to half an hour each)
.PHONY: test-all
test-all: test $(TEST_ALL_PROGRAMS)
	@BITLOOM_BUILD=$(BUILD) tests/run $(BUILD)/test-all-logs $(TEST_ALL_COMMANDS)
