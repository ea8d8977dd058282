# SPDX-License-Identifier: Apache-2.0
# Static checks of C. Those of Verilog are in mk/lint-rtl.mk.

C_SOURCES := $(filter-out drivers/bl_contract.%,$(shell git ls-files '*.c' '*.h' 2>/dev/null))

## lint: static checks: format, cppcheck, clang-tidy, Verilator, Icarus and Yosys
.PHONY: lint lint-format lint-cppcheck lint-tidy
lint: lint-format lint-cppcheck lint-tidy lint-rtl
lint-format lint-cppcheck lint-tidy: | deps

lint-format:
	@clang-format --dry-run -Werror $(C_SOURCES) && echo "clang-format: clean"

lint-cppcheck: $(BUILD)/gen/onnx.pb-c.h
	@cppcheck -q --std=c11 --error-exitcode=1 --inline-suppr -I. --enable=warning,portability \
	  --suppress=missingIncludeSystem -j $(JOBS) host drivers sim && echo "cppcheck: clean"

lint-tidy: $(BUILD)/gen/onnx.pb-c.h
	@printf '%s\n' $(filter host/%.c drivers/%.c sim/%.c,$(C_SOURCES)) | \
	  xargs -P $(JOBS) -n 1 sh -c 'clang-tidy --quiet "$$@" -- -std=c11 -I. -I$(BUILD)/gen -D_GNU_SOURCE 2>/dev/null' tidy \
	  && echo "clang-tidy: clean"
