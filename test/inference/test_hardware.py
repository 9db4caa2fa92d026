# SPDX-License-Identifier: Apache-2.0
"""Number of threads of PyTorch and NumPy."""

from __future__ import annotations

import os
import subprocess
import sys

CODE = """
import os, threading
import numpy as np
import torch
from admn_ros.inference.hardware import use_threads

def busiest():
    before = set(os.listdir("/proc/self/task"))
    def used(task):
        fields = open(f"/proc/self/task/{task}/stat").read().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])
    start = {task: used(task) for task in before}
    x = np.ones((700, 700))
    for _ in range(40):
        x @ x
    return sum(used(task) - start[task] > 1 for task in before)

assert use_threads(1) == 1 and torch.get_num_threads() == 1
print(busiest())
"""


def test_products_of_numpy_keep_to_one_thread():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True,
                          env=os.environ | {"OPENBLAS_NUM_THREADS": "4"})
    assert done.stdout.split() == ["1"], done.stderr
