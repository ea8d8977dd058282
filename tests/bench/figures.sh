# SPDX-License-Identifier: Apache-2.0
# Sourced by what prints figures beside their targets. Before it: build=BUILD. Afterwards $missed is 1
# when a target was missed.
# shellcheck shell=sh disable=SC2034,SC2154 # what it sets is for those that source it
data=${BITLOOM_DATA:-../shared/data}
work=$build/bench
mkdir -p "$work"
missed=0

# measured COMMAND...: runs it; its JSON goes to $work/out, "seconds MiB" to $seconds and $mib.
measured() {
  command_line=$*
  "$build/bench/measure" "$@" >"$work/out" 2>"$work/err"
  result=$?
  seconds=$(tail -n 1 "$work/err" | cut -d' ' -f1)
  mib=$(tail -n 1 "$work/err" | cut -d' ' -f2)
  if [ "$result" != 0 ]; then
    missed=1
    printf 'FAILED (%s): %s\n' "$result" "$command_line"
    sed -n '1,3s/^/  /p' "$work/err"
    return 1
  fi
}

field() { sed -n "s/.*\"$1\":[[:space:]]*\([-0-9.]*\).*/\1/p" "$work/out" | head -n 1; }

# figure NAME VALUE UNIT at-least|at-most TARGET: one line, with the ratio to the target.
figure() {
  verdict=$(awk -v v="$2" -v t="$5" -v how="$4" 'BEGIN {
    ok = v != "" && (how == "at-least" ? v + 0 >= t : v + 0 <= t)
    printf "%.2f of %s%s", v / t, how == "at-least" ? "at least " : "at most ", t
    print ok ? "" : "  MISSED" }')
  case $verdict in *MISSED) missed=1 ;; esac
  printf '%-44s %10s %-9s %s\n' "$1" "$2" "$3" "$verdict"
}
behind() { printf '    %s\n' "$command_line"; }
