# SPDX-License-Identifier: Apache-2.0
# The C library, the driver, the functional device, the command and the unit tests under
# AddressSanitizer and UndefinedBehaviorSanitizer, in a build folder of their own. The Verilated
# models that they link are the plain build's. Warnings are the plain build's matter too: under
# sanitizers the compiler has others.
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
SANITIZE_BUILD := $(BUILD)/sanitize

## test-sanitize: run the unit tests under AddressSanitizer and UBSan, ends like `make test`
.PHONY: test-sanitize
test-sanitize: $(RTL_LIBS)
	@$(MAKE) BUILD=$(SANITIZE_BUILD) RTL_DIR=$(RTL_DIR) CC="$(CC) $(SANITIZE)" CXX="$(CXX) $(SANITIZE)" \
	  EXTRA_CFLAGS="$(EXTRA_CFLAGS) -O1 -w" sanitized

# Whole data sets (test_end_to_end, and what looks for the data folder) take hours like this.
SANITIZED_TESTS := $(filter-out %/test_end_to_end,$(UNIT_TESTS))
.PHONY: sanitized
sanitized: $(BUILD)/bitloom $(SANITIZED_TESTS)
	@BITLOOM_BUILD=$(BUILD) BITLOOM_DATA=$(BUILD)/no-data tests/run $(BUILD)/test-logs $(foreach t,$(SANITIZED_TESTS),"$(t)")

TEST_ALL_COMMANDS += "$(MAKE) -s -j$(JOBS) test-sanitize BUILD=$(BUILD)"
