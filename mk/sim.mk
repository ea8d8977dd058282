# SPDX-License-Identifier: Apache-2.0
# The Verilated device: bitloom_top once for each configuration, one library.
# No -march, since the build must run elsewhere: sim/rtl_target.h has the clocked functions made for
# two processors. One function for all that a clock edge does, and always blocks left whole, spare a
# twentieth of the instructions: what stays in it need not pass through memory. FST tracing is compiled
# in and off until asked for.

RTL_CONFIGS := tiny default wide
RTL_SOURCES := $(sort $(wildcard rtl/*.v rtl/*.vh))
RTL_DIR := $(BUILD)/rtl
RTL_LIBS := $(RTL_CONFIGS:%=$(RTL_DIR)/libbitloom_rtl_%.a) $(RTL_DIR)/libverilated.a
LDLIBS_RTL := -lz -pthread

$(RTL_DIR)/libbitloom_rtl_%.a: $(RTL_SOURCES) sim/rtl_model.cpp sim/rtl_model.h sim/rtl_target.h | $(DEPS_STAMP)
	@mkdir -p $(RTL_DIR)
	@echo "verilate $*"
	@rm -rf $(RTL_DIR)/$*
	@verilator --cc -O3 --x-assign unique --x-initial unique --trace-fst -Wall -Irtl \
	  -fno-split --output-split 0 \
	  $$(sed -n "s/^.define BITLOOM_CONFIG_$$(echo $* | tr a-z A-Z)_\([A-Z_]*\) \([0-9]*\)$$/-G\1=\2/p" rtl/bitloom_contract.vh) \
	  --top-module bitloom_top --prefix Vbitloom_$* --Mdir $(RTL_DIR)/$* rtl/bitloom_top.v
	@$(MAKE) -s -C $(RTL_DIR)/$* -f Vbitloom_$*.mk OPT_FAST=-O3 OPT_SLOW=-O0 OPT_GLOBAL=-O1 \
	  VM_PREFIX=Vbitloom_$* Vbitloom_$*__ALL.a CXXFLAGS="-Wno-unused -include $(CURDIR)/sim/rtl_target.h" > $(RTL_DIR)/$*.log 2>&1 || { tail -n 20 $(RTL_DIR)/$*.log >&2; exit 1; }
	@r=$$(verilator --getenv VERILATOR_ROOT); $(CXX) -std=c++17 -O2 -Wall -Wextra -Werror -DCONFIG=$* -DMODEL=Vbitloom_$* \
	  -DMODEL_HEADER='"Vbitloom_$*.h"' -DROOT_HEADER='"Vbitloom_$*___024root.h"' \
	  -I. -I$(RTL_DIR)/$* -isystem $$r/include -isystem $$r/include/vltstd -c -o $(RTL_DIR)/$*/model.o sim/rtl_model.cpp
	@cd $(RTL_DIR)/$* && cp Vbitloom_$*__ALL.a ../libbitloom_rtl_$*.a && ar rcs ../libbitloom_rtl_$*.a model.o

$(RTL_DIR)/libverilated.a: | $(DEPS_STAMP)
	@mkdir -p $(RTL_DIR)
	@r=$$(verilator --getenv VERILATOR_ROOT); for f in verilated verilated_fst_c verilated_threads; do \
	  $(CXX) -std=c++17 -O2 -I$$r/include -I$$r/include/vltstd -c -o $(RTL_DIR)/$$f.o $$r/include/$$f.cpp || exit 1; done
	@cd $(RTL_DIR) && rm -f libverilated.a && ar rcs libverilated.a verilated.o verilated_fst_c.o verilated_threads.o
