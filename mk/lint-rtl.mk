# SPDX-License-Identifier: Apache-2.0
# Verilog through three independent readers, in every configuration.

RTL_MODULES := $(sort $(wildcard rtl/*.v))
rtl_parameters = $$(sed -n "s/^.define BITLOOM_CONFIG_$$(echo $(1) | tr a-z A-Z)_\([A-Z_]*\) \([0-9]*\)$$/$(2)/p" rtl/bitloom_contract.vh)

## lint-rtl: Verilator -Wall, Icarus -Wall and Yosys check on every configuration
.PHONY: lint-rtl
lint-rtl: | $(DEPS_STAMP)
	@set -e; for c in tiny default wide; do \
	  verilator --lint-only -Wall -Irtl $(call rtl_parameters,$$c,-G\1=\2) --top-module bitloom_top rtl/bitloom_top.v; \
	  iverilog -g2012 -Wall -tnull -Irtl -s bitloom_top $(call rtl_parameters,$$c,-Pbitloom_top.\1=\2) $(RTL_MODULES) 2>&1 | tests/house/icarus_waivers; \
	  yosys -q -e '.*' -p "read_verilog -sv -Irtl $(RTL_MODULES); hierarchy -check -top bitloom_top $$(echo $(call rtl_parameters,$$c,-chparam \1 \2)); proc; check -assert"; \
	  echo "rtl $$c: Verilator, Icarus and Yosys read it without a warning"; done
