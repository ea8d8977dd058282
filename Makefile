# SPDX-License-Identifier: Apache-2.0
# Bitloom: the one entry point. `make help` lists the targets.
# Sources are found by folder, so a new file needs no line here; BUILD may point anywhere.

BUILD ?= build
CC := gcc
CXX := g++
JOBS ?= 2

CPPFLAGS := -I. -I$(BUILD)/gen -D_GNU_SOURCE -MMD -MP
WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wvla -Werror
CFLAGS := -std=c11 -O2 -g $(WARNINGS) $(EXTRA_CFLAGS)
LDLIBS_HOST := -ldnnl -lgomp -llapacke -lopenblas -lglpk -lprotobuf-c -lcjson -lyaml -lz -lm

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:

objects = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))

HOST_OBJ := $(call objects,$(filter-out host/cli/main.c,$(sort $(wildcard host/*/*.c))))
DRIVER_OBJ := $(call objects,$(sort $(wildcard drivers/*.c)))
SIM_OBJ := $(call objects,$(sort $(wildcard sim/*.c)))
LIB_HOST := $(BUILD)/lib/libbitloom.a
LIB_DRIVER := $(BUILD)/lib/libbitloom_driver.a
LIB_SIM := $(BUILD)/lib/libbitloom_sim.a
LIBS := $(LIB_HOST) $(LIB_SIM) $(LIB_DRIVER)
UNIT_TESTS := $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(sort $(wildcard tests/unit/test_*.c)))

-include $(sort $(wildcard mk/*.mk))

## all: build the command, the libraries and the simulated devices
.PHONY: all
all: $(BUILD)/bitloom

$(BUILD)/bitloom: $(BUILD)/obj/host/cli/main.o $(LIBS) $(RTL_LIBS)
	$(CXX) -o $@ $^ $(LDLIBS_HOST) $(LDLIBS_RTL)

$(LIB_HOST): $(HOST_OBJ)
$(LIB_DRIVER): $(DRIVER_OBJ)
$(LIB_SIM): $(SIM_OBJ)
$(LIBS):
	@mkdir -p $(@D)
	@rm -f $@
	ar rcs $@ $^

$(BUILD)/obj/%.o: %.c | $(BUILD)/gen/onnx.pb-c.h $(DEPS_STAMP)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

# The ONNX messages come from Debian's schema; the generated code is not ours to warn about.
ONNX_PROTO := /usr/include/onnx/onnx.proto
$(ONNX_PROTO): | $(DEPS_STAMP) ;
$(BUILD)/gen/onnx.pb-c.c $(BUILD)/gen/onnx.pb-c.h &: $(ONNX_PROTO) | $(DEPS_STAMP)
	@mkdir -p $(BUILD)/gen
	protoc-c --proto_path=$(dir $(ONNX_PROTO)) --c_out=$(BUILD)/gen onnx.proto
$(BUILD)/obj/gen/onnx.pb-c.o: $(BUILD)/gen/onnx.pb-c.c
	@mkdir -p $(@D)
	$(CC) -std=c11 -O2 -I$(BUILD)/gen -c -o $@ $<
$(LIB_HOST): $(BUILD)/obj/gen/onnx.pb-c.o

$(BUILD)/tests/%: $(BUILD)/obj/tests/unit/%.o $(LIBS) $(RTL_LIBS)
	@mkdir -p $(@D)
	$(CXX) -o $@ $^ -lcmocka $(LDLIBS_HOST) $(LDLIBS_RTL)

## unit: build and run the C unit tests
.PHONY: unit
unit: $(UNIT_TESTS)
	@set -e; for t in $(UNIT_TESTS); do echo "== $$t"; BITLOOM_BUILD=$(BUILD) $$t; done

## clean: remove everything that was built
.PHONY: clean
clean:
	rm -rf $(BUILD)

## help: this list
.PHONY: help
help:
	@sed -n 's/^## \([a-z-]*\): /\1\t/p' $(MAKEFILE_LIST) | sort | expand -t 16

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
