# SPDX-License-Identifier: Apache-2.0
# Sourced by the examples that measure results on real data. Before it: name=NAME.
#   BITLOOM        the command (build/bitloom)
#   MAKE_NETWORK   the writer of fresh networks (build/make-network)
#   SCALE_INPUT    what puts a preprocessing into a network (build/scale-input)
#   BITLOOM_DATA   the folder of data (../shared/data beside the repository)
#   RTL_LIMIT      images that are run on the RTL as well (100; 0 leaves that out)
# What is trained lies in build/examples/NAME. A second call goes on where the first one stopped:
# from the last check-point of a training, or straight to the result.
# shellcheck shell=sh
: "${name:?the script that sources this says its name}"
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
bitloom=${BITLOOM:-$root/build/bitloom}
make_network=${MAKE_NETWORK:-$root/build/make-network}
scale_input=${SCALE_INPUT:-$root/build/scale-input}
data=${BITLOOM_DATA:-$root/../shared/data}
folder=$root/build/examples/$name
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
mkdir -p "$folder"

cifar_train=$data/cifar10/train_20000_balanced.bin.gz
cifar_test=$data/cifar10/test_1000_balanced.bin.gz
mnist=$data/mnist
keywords=$data/speech-commands

# Leaves with a word where data or the command are not there.
need() { # files
  for file in "$@"; do
    [ -e "$file" ] && continue
    echo "$name: skipped, no $file (set BITLOOM_DATA)"
    exit 0
  done
  for file in "$bitloom" "$make_network" "$scale_input"; do
    [ -x "$file" ] && continue
    echo "$name: no $file; run make examples" >&2
    exit 1
  done
}

# An untrained network; nothing to do where it is there.
fresh() { # network, file
  [ -e "$2" ] || "$make_network" "$1" "$2"
}

# ResNet-20, 93.5 % of the test images, learned from all 50,000 of CIFAR-10, with its preprocessing
# in front, so that it takes 0..255 as the networks do that it teaches; nothing to do where it is there.
resnet20_teacher() { # file
  [ -e "$1" ] || "$scale_input" "$data/models/resnet20_cifar10.onnx" "$1" 0.00392156862745098 \
    0.485,0.456,0.406 0.229,0.224,0.225
}

# Trains into a file, or goes on with that, unless it is done. The log has every epoch.
train() { # model, output, options
  model=$1 output=$2
  shift 2
  [ -e "$output" ] && return 0
  "$bitloom" train "$model" --output "$output" --checkpoint "$output.checkpoint" --resume \
    --threads "$OMP_NUM_THREADS" "$@" >> "${output%.onnx}.log"
  rm -f "$output.checkpoint"
}

# One number of a JSON object that cJSON printed, a line an item.
value() { # file, key
  sed -n "s/^\t\"$2\":\t\([^,]*\),*$/\1/p" "$1" | head -n 1
}

# "weights/input/output" of the first layer and of the last one.
ends() { # file of compress
  sed -n 's/^\t\t\t"\(input\|weights\|output\)":\t"\([^"]*\)",*$/\1 \2/p' "$1" | awk '
    $1 == "input" { input = $2 } $1 == "weights" { weights = $2 }
    $1 == "output" { n++; text = weights " on " input; if (n == 1) first = text; last = text }
    END { printf "first %s, last %s", first, last }'
}

# Correct of all, percent and the 95 % interval of Wilson.
percent() { # correct, total
  awk -v k="$1" -v n="$2" 'BEGIN {
    z = 1.96; p = k / n; d = 1 + z * z / n; c = (p + z * z / (2 * n)) / d
    r = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / d
    printf "%.2f %% of %d (95 %%: %.2f to %.2f)", 100 * p, n, 100 * (c - r), 100 * (c + r) }'
}

# Compresses to OUTPUT.bloom, runs every sample given on the functional device, the first of them on
# the RTL too, and prints the line.
measure() { # words, model, output, options of compress, --, options of run
  words=$1 model=$2 output=$3
  shift 3
  compress_options=
  while [ "$1" != -- ]; do compress_options="$compress_options $1" && shift; done
  shift
  # shellcheck disable=SC2086 # the options are words
  "$bitloom" compress "$model" --output "$output.bloom" $compress_options --json \
    > "$output.compress.json"
  report "$words" "$output" "$@"
}

# The line of OUTPUT.bloom, which OUTPUT.compress.json is about.
report() { # words, output, options of run
  words=$1 output=$2
  shift 2
  "$bitloom" run "$output.bloom" "$@" --json > "$output.run.json"
  printf '%s: %s; %s; %s weight bytes (file %s, float %s), %s cycles' "$words" \
    "$(percent "$(value "$output.run.json" correct)" "$(value "$output.run.json" total)")" \
    "$(ends "$output.compress.json")" "$(value "$output.compress.json" weight_bytes)" \
    "$(value "$output.compress.json" file_bytes)" "$(value "$output.compress.json" float_bytes)" \
    "$(value "$output.compress.json" layer_cycles)"
  on_rtl "$output" "$@"
}

# Says how many of the first images the RTL gives the integers of the reference kernels for.
on_rtl() { # output, options of run
  output=$1
  shift
  limit=${RTL_LIMIT:-100}
  if [ "$limit" = 0 ]; then
    echo
    return 0
  fi
  "$bitloom" run "$output.bloom" "$@" --limit "$limit" --device rtl --json > "$output.rtl.json"
  printf '; RTL: %s images, %s values differ\n' "$(value "$output.rtl.json" total)" \
    "$(value "$output.rtl.json" mismatches)"
}

# Compresses by examples/recipes/RECIPE.yaml, or the built-in recipe of that name, unless that is done, and prints the line.
by_recipe() { # words, model, recipe, output, options of compress, --, options of run
  words=$1 model=$2 recipe=$3 output=$4
  shift 4
  compress_options=
  while [ "$1" != -- ]; do compress_options="$compress_options $1" && shift; done
  shift
  # shellcheck disable=SC2086 # the options are words
  if ! [ -e "$output.bloom" ]; then
    file=$root/examples/recipes/$recipe.yaml
    [ -e "$file" ] || file=$recipe
    "$bitloom" compress "$model" --recipe "$file" \
      --work "$output.work" --threads "$OMP_NUM_THREADS" --output "$output.bloom" \
      $compress_options --json > "$output.compress.json"
    rm -rf "$output.work"
  fi
  report "$words" "$output" "$@"
}
