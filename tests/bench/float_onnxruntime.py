# SPDX-License-Identifier: Apache-2.0
# The least processor time of a batch in ONNX Runtime, one thread, in seconds.
#   float_onnxruntime.py MODEL BATCH REPEATS
import sys
import time

import numpy
import onnxruntime

model, batch, repeats = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
given = session.get_inputs()[0]
fixed = isinstance(given.shape[0], int) and given.shape[0] > 0
shape = [given.shape[0] if fixed else batch] + list(given.shape[1:])
runs = batch // shape[0]
x = numpy.random.default_rng(1).uniform(-1, 1, shape).astype(numpy.float32)
least = float("inf")
for _ in range(repeats):
    start = time.process_time()
    for _ in range(runs):
        session.run(None, {given.name: x})
    least = min(least, time.process_time() - start)
print(least)
