# SPDX-License-Identifier: Apache-2.0
# RTL benches: tests/rtl/bench_<module>.c drives rtl/bitloom_<module>.v alone, on its Verilated model.
# The C file lists its variants as `// VERILATE <variant>: <verilator flags>`, e.g.
#   // VERILATE small: -GROWS=2 -GCOLS=8
# and what it links besides as `// LINK <object>`,
# includes "dut.h" (generated: a pointer for each port, dut_open/eval/close) and tests/rtl/bench.h,
# prints its seed and ends with "<name>: N checks, M failed". Each runs with three random initial
# states of every register.

BENCH_NAMES := $(shell for f in tests/rtl/bench_*.c; do m=$$(basename $$f .c); \
  sed -n "s|^// VERILATE \([a-z0-9_]*\):.*|$$(echo $$m | cut -c7-).\1|p" $$f; done 2>/dev/null | grep -v '\.all$$' | sort -u)
BENCHES := $(patsubst %,$(BUILD)/rtl-bench/%/bench,$(BENCH_NAMES))
BENCH_SEEDS ?= 1 2 3

BENCH_OBJ := $(call objects,drivers/bl_contract.c host/base/error.c host/cost/cost_gather.c host/cost/cost_run.c)

$(BUILD)/rtl-bench/%/bench: $(wildcard rtl/*.v rtl/*.vh tests/rtl/*) $(BENCH_OBJ) | $(DEPS_STAMP)
	@echo "bench $*"
	@tests/rtl/build_bench $* $(BUILD)

## rtl-bench: build and run the C bench of every RTL module
.PHONY: rtl-bench
rtl-bench: $(BENCHES)
	@set -e; for m in rtl/bitloom_*.v; do n=$$(basename $$m | cut -c9-); \
	  case " $(BENCH_NAMES) " in *" $${n%.v}."*) ;; *) echo "$$m has no bench with a variant" >&2; exit 1;; esac; done
	@set -e; for b in $(BENCHES); do for s in $(BENCH_SEEDS); do \
	  $$b $$s +verilator+rand+reset+2 +verilator+seed+$$s; done; done
