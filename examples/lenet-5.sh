# SPDX-License-Identifier: Apache-2.0
# Sourced behind common.sh by examples that begin with a trained float LeNet-5 (Caffe's
# 20-50-500-10): trained once, from nothing, on the first 50,000 images of MNIST; the last 10,000
# are those that recipes measure on.
# shellcheck shell=sh disable=SC2034,SC2154 # what it sets is for those that source it
images="--data $mnist/train-images-idx3-ubyte.gz --labels $mnist/train-labels-idx1-ubyte.gz"
tests="--data $mnist/t10k-images-idx3-ubyte.gz --labels $mnist/t10k-labels-idx1-ubyte.gz"
need "$mnist/train-images-idx3-ubyte.gz" "$mnist/train-labels-idx1-ubyte.gz" \
  "$mnist/t10k-images-idx3-ubyte.gz" "$mnist/t10k-labels-idx1-ubyte.gz"
lenet=$root/build/examples/lenet-5
mkdir -p "$lenet"
fresh lenet-5 "$lenet/fresh.onnx"
# shellcheck disable=SC2086 # the options are words
train "$lenet/fresh.onnx" "$lenet/float.onnx" $images --limit 50000 --fresh he --augment shift=2 \
  --optimizer adamw --lr 2e-3 --epochs 4 --batch 128

# Runs the float LeNet-5 through a recipe and prints the line.
lenet_line() { # words, recipe, name of the output, options of compress
  words=$1 recipe=$2 output=$3
  shift 3
  # shellcheck disable=SC2086 # the options are words
  by_recipe "$words" "$lenet/float.onnx" "$recipe" "$folder/$output" $images \
    --hold-out "${hold_out:-10000}" "$@" -- $tests
}

# The float network's own line, and that of plain 8 bits.
lenet_references() {
  # shellcheck disable=SC2086
  "$bitloom" run "$lenet/float.onnx" --device float $tests --json > "$lenet/run.json"
  echo "LeNet-5, float: $(percent "$(value "$lenet/run.json" correct)" 10000)"
  # shellcheck disable=SC2086
  measure "LeNet-5, w8a8, not trained" "$lenet/float.onnx" "$lenet/w8a8" --bits w8a8 \
    --calib "$mnist/train-images-idx3-ubyte.gz" -- $tests
}
