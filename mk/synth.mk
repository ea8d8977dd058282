# SPDX-License-Identifier: Apache-2.0
# Synthesis with Yosys: what a configuration costs on a device family.
#   make synth TARGET=ice40|ecp5|xilinx CONFIG=tiny|default|wide TOP=bitloom_top|bitloom_array|... FORM=0|4|6

TARGET ?= ecp5
CONFIG ?= tiny
TOP ?= bitloom_top
SYNTH_ice40 := synth_ice40 -dsp
SYNTH_ecp5 := synth_ecp5 -nowidelut
SYNTH_xilinx := synth_xilinx -family xc7 -flatten
# The form of bitloom_popcount where it is not the expression, which tables of four inputs take best;
# FORM names another.
POPCOUNT_xilinx := $(if $(FORM),,-DBITLOOM_POPCOUNT_FORM=6)
FORM ?=
# Tables of six inputs are counted with the elements mapped on their own: among the whole design the
# mapper splits their first tables, three lanes AND three weights, into twice as many small ones.
APART_xilinx := setattr -mod -set keep_hierarchy 1 *bitloom_pe;
# Those of a configuration's parameters that module $(2) has.
synth_parameters = $$(for p in $(call rtl_parameters,$(1),\1=\2); do \
  if grep -q "parameter \(int \)*$${p%%=*} " rtl/$(2).v; then printf '%s ' "-chparam $${p%%=*} $${p\#*=}"; fi; done)
# A module in a configuration, for Yosys: read, then mapped to a family. $(1) family, $(2)
# configuration, $(3) module.
synth_script = read_verilog -sv $(if $(FORM),-DBITLOOM_POPCOUNT_FORM=$(FORM)) $(POPCOUNT_$(1)) -Irtl $(RTL_MODULES); \
  hierarchy -check -top $(3) $(call synth_parameters,$(2),$(3)); \
  $(APART_$(1)) $(SYNTH_$(1)) -top $(3)
SYNTH_LOG := $(BUILD)/synth/$(TOP)-$(TARGET)-$(CONFIG)$(if $(FORM),-form$(FORM))

## synth: print cells, LUT, FF, BRAM and DSP (TARGET=ice40|ecp5|xilinx CONFIG=tiny|default|wide)
.PHONY: synth
# Cycles that an image of CNV takes on wide in batches of eight (`make bench`), for LUTs an operation.
CNV_CYCLES := 11688
synth: $(SYNTH_LOG).stat
	@awk -v target=$(TARGET) -v config=$(CONFIG) -v top=$(TOP) -v cycles=$(CNV_CYCLES) -f mk/synth.awk $<

$(SYNTH_LOG).stat: $(RTL_MODULES) rtl/bitloom_contract.vh mk/synth.mk | $(DEPS_STAMP)
	@mkdir -p $(@D)
	@[ -n "$(SYNTH_$(TARGET))" ] || { echo "synth: no TARGET $(TARGET); say ice40, ecp5 or xilinx" >&2; exit 1; }
	@[ -n "$(filter $(CONFIG),tiny default wide)" ] || { echo "synth: no CONFIG $(CONFIG); say tiny, default or wide" >&2; exit 1; }
	@yosys -q -l $(SYNTH_LOG).log -p "$(call synth_script,$(TARGET),$(CONFIG),$(TOP)); tee -o $@.new stat" > $(SYNTH_LOG).out 2>&1 || { tail -n 5 $(SYNTH_LOG).out >&2; exit 1; }
	@mv $@.new $@

SYNTH_ALL := $(foreach f,ice40 ecp5 xilinx,$(addprefix $(f)-,tiny default wide))

## synth-baseline: the tables that are compared, written to tests/synth/baseline (forty minutes)
.PHONY: synth-baseline
synth-baseline:
	@for s in $(SYNTH_ALL); do $(MAKE) -s synth TARGET=$${s%-*} CONFIG=$${s#*-} BUILD=$(BUILD) | tail -n 1 || exit 1; done > $(BUILD)/baseline.new
	@mv $(BUILD)/baseline.new tests/synth/baseline

# Two tables and the proof in `make test`, the others, minutes each, in `make test-all`.
TEST_COMMANDS += tests/house/check_popcount tests/house/check_ram "tests/synth/check ice40 tiny" "tests/synth/check ecp5 default"
TEST_ALL_COMMANDS += $(foreach s,$(filter-out ice40-tiny ecp5-default,$(SYNTH_ALL)),"tests/synth/check $(subst -, ,$(s))")
