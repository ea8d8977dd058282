# SPDX-License-Identifier: Apache-2.0
# Synthesis with Yosys: what a configuration costs on a device family.
#   make synth TARGET=ice40|ecp5|xilinx CONFIG=tiny|default|wide

TARGET ?= ecp5
CONFIG ?= tiny
SYNTH_ice40 := synth_ice40 -dsp
SYNTH_ecp5 := synth_ecp5 -nowidelut
SYNTH_xilinx := synth_xilinx -family xc7
# The design in a configuration, for Yosys: read, then mapped to a family. $(1) family, $(2) configuration.
synth_script = read_verilog -sv -Irtl $(RTL_MODULES); \
  hierarchy -check -top bitloom_top $$(echo $(call rtl_parameters,$(2),-chparam \1 \2)); \
  $(SYNTH_$(1)) -top bitloom_top
SYNTH_LOG := $(BUILD)/synth/$(TARGET)-$(CONFIG)

## synth: print cells, LUT, FF, BRAM and DSP (TARGET=ice40|ecp5|xilinx CONFIG=tiny|default|wide)
.PHONY: synth
synth: $(SYNTH_LOG).stat
	@awk -v target=$(TARGET) -v config=$(CONFIG) -f mk/synth.awk $<

$(BUILD)/synth/$(TARGET)-$(CONFIG).stat: $(RTL_MODULES) rtl/bitloom_contract.vh mk/synth.mk | $(DEPS_STAMP)
	@mkdir -p $(@D)
	@[ -n "$(SYNTH_$(TARGET))" ] || { echo "synth: no TARGET $(TARGET); say ice40, ecp5 or xilinx" >&2; exit 1; }
	@[ -n "$(filter $(CONFIG),tiny default wide)" ] || { echo "synth: no CONFIG $(CONFIG); say tiny, default or wide" >&2; exit 1; }
	@yosys -q -l $(SYNTH_LOG).log -p "$(call synth_script,$(TARGET),$(CONFIG)); tee -o $@.new stat" > $(SYNTH_LOG).out 2>&1 || { tail -n 5 $(SYNTH_LOG).out >&2; exit 1; }
	@mv $@.new $@
