# SPDX-License-Identifier: Apache-2.0
# The netlist of `tiny` as Yosys maps it to iCE40 cells, simulated twice: by Verilator with the cells
# of sim/ice40_cells.v, as a library that `--device netlist` loads; and by Icarus with the cells that
# come with Yosys. Every net has a width of one, or simulators see loops in carry chains.

NETLIST_DIR := $(BUILD)/netlist
NETLIST := $(NETLIST_DIR)/bitloom_top.v
NETLIST_LIB := $(NETLIST_DIR)/libbitloom_netlist.so
NETLIST_MODEL := $(NETLIST_DIR)/verilated

## netlist: synthesise tiny to iCE40 cells and build the device that --device netlist loads (3 minutes)
.PHONY: netlist
netlist: $(NETLIST_LIB)

$(NETLIST): $(RTL_MODULES) rtl/bitloom_contract.vh mk/synth.mk mk/netlist.mk | $(DEPS_STAMP)
	@mkdir -p $(@D)
	@echo "synthesise tiny for ice40"
	@yosys -q -l $(NETLIST_DIR)/yosys.log -p "$(call synth_script,ice40,tiny,bitloom_top); check -assert; splitnets; opt_clean; \
	  write_verilog -noattr $@.new" > $(NETLIST_DIR)/yosys.out 2>&1 || { tail -n 5 $(NETLIST_DIR)/yosys.out >&2; exit 1; }
	@mv $@.new $@

# The cells that come with Yosys, from wherever it finds them itself.
$(NETLIST_DIR)/yosys_cells.v: mk/netlist.mk | $(DEPS_STAMP)
	@mkdir -p $(@D)
	@f=$$(yosys -p 'read_verilog -lib +/ice40/cells_sim.v' | sed -n "s/^Parsing Verilog input from .\(.*\)' to AST.*/\1/p"); \
	  [ -r "$$f" ] || { echo "netlist: Yosys does not say where its ice40/cells_sim.v is" >&2; exit 1; }; cp "$$f" $@

# A memory without contents has INIT_x of all x: those go, any other stops Verilator.
$(NETLIST_LIB): $(NETLIST) $(NETLIST_DIR)/yosys_cells.v sim/ice40_cells.v sim/rtl_model.cpp sim/rtl_model.h
	@echo "verilate netlist"
	@rm -rf $(NETLIST_MODEL) && mkdir -p $(NETLIST_MODEL)
	@sed '/^ *\.INIT_.(256.hx*),$$/d' $(NETLIST) > $(NETLIST_MODEL)/netlist.v
	@sed -n '/^module SB_MAC16/,/^endmodule/p' $(NETLIST_DIR)/yosys_cells.v > $(NETLIST_MODEL)/mac16.v
	@verilator --cc -O3 --x-assign unique --x-initial unique -Wno-lint -CFLAGS -fPIC \
	  --top-module bitloom_top --prefix Vbitloom_netlist --Mdir $(NETLIST_MODEL) \
	  $(NETLIST_MODEL)/netlist.v sim/ice40_cells.v $(NETLIST_MODEL)/mac16.v
	@$(MAKE) -s -C $(NETLIST_MODEL) -f Vbitloom_netlist.mk OPT_FAST=-O1 OPT_SLOW=-O0 OPT_GLOBAL=-O1 \
	  VM_PREFIX=Vbitloom_netlist Vbitloom_netlist__ALL.a > $(NETLIST_DIR)/build.log 2>&1 || { tail -n 20 $(NETLIST_DIR)/build.log >&2; exit 1; }
	@r=$$(verilator --getenv VERILATOR_ROOT); $(CXX) -shared -fPIC -std=c++17 -O2 -DNETLIST -DCONFIG=tiny \
	  -DMODEL=Vbitloom_netlist -DMODEL_HEADER='"Vbitloom_netlist.h"' -I. -I$(NETLIST_MODEL) \
	  -isystem $$r/include -isystem $$r/include/vltstd -Wl,-Bsymbolic -Wl,--exclude-libs,ALL -o $@.new sim/rtl_model.cpp \
	  $(NETLIST_MODEL)/Vbitloom_netlist__ALL.a $$r/include/verilated.cpp $$r/include/verilated_threads.cpp -pthread
	@mv $@.new $@

# -DNO_ICE40_DEFAULT_ASSIGNMENTS: Icarus 11 refuses default values of ports.
NETLIST_REPLAY := $(NETLIST_DIR)/replay.vvp
$(NETLIST_REPLAY): tests/netlist/replay.v $(NETLIST) $(NETLIST_DIR)/yosys_cells.v
	@echo "icarus netlist"
	@iverilog -g2012 -DNO_ICE40_DEFAULT_ASSIGNMENTS -s replay -o $@ $^
