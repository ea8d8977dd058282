# SPDX-License-Identifier: Apache-2.0
# Debian packages. Every build rule comes after the stamp, so a fresh machine with git and make is
# enough: as root or with sudo they are installed, else the exact command is printed.

DEPS_BUILD := gcc g++ libc6-dev protobuf-c-compiler libprotobuf-c-dev libonnx-dev libdnnl-dev \
  libopenblas-dev liblapacke-dev libglpk-dev gnuplot-nox libcjson-dev libyaml-dev \
  zlib1g-dev libcmocka-dev verilator iverilog yosys
DEPS_LINT := clang-format clang-tidy cppcheck
# What some tests need, which are skipped without it.
DEPS_TEST := chromium parallel
DEPS_STAMP := $(BUILD)/deps.stamp

$(DEPS_STAMP): mk/deps.mk mk/deps
	@mkdir -p $(@D)
	@mk/deps $(DEPS_BUILD)
	@touch $@

## deps: install the Debian packages that building, testing and linting need
.PHONY: deps
deps:
	@mk/deps $(DEPS_BUILD) $(DEPS_LINT) $(DEPS_TEST)
