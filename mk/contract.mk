# SPDX-License-Identifier: Apache-2.0
# The contract's generated copies are checked in, so that RTL and driver can be used without a build.

CONTRACT_GENERATE := $(BUILD)/gen/contract_generate
CONTRACT_FORMS := header:drivers/bl_contract.h source:drivers/bl_contract.c \
  verilog:rtl/bitloom_contract.vh markdown:docs/reference/contract.md

$(CONTRACT_GENERATE): drivers/contract/generate.c drivers/contract/contract.def | $(DEPS_STAMP)
	@mkdir -p $(@D)
	$(CC) -I. $(CFLAGS) -o $@ $<

## contract: rewrite the C and Verilog headers and the page generated from contract.def
.PHONY: contract
contract: $(CONTRACT_GENERATE)
	@set -e; for f in $(CONTRACT_FORMS); do \
	  $< $${f%%:*} > $(BUILD)/gen/contract.new; cp $(BUILD)/gen/contract.new $${f#*:}; done

## contract-check: fail when a generated copy of the contract is stale
.PHONY: contract-check
contract-check: $(CONTRACT_GENERATE)
	@set -e; for f in $(CONTRACT_FORMS); do \
	  $< $${f%%:*} | cmp - $${f#*:} || { echo "$${f#*:} is stale: run make contract" >&2; exit 1; }; done
	@echo "contract: 4 generated copies are current"
