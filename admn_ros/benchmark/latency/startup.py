# SPDX-License-Identifier: Apache-2.0
"""Start-up time and memory of an engine, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any, cast

from admn_ros.benchmark.latency.results import Startup
from admn_ros.errors import AdmnError
from admn_ros.files import parse_json

LONGEST_S = 300
_PROGRAM = """
import json, sys, time
import torch
from admn_ros.budget.budget import Budget
from admn_ros.inference.engine import Engine, blank_sample
from admn_ros.inference.process_memory import peak_mib
from admn_ros.inference.runtime import RuntimeChoice
from admn_ros.model.allocation import allocate
folder, runtime, device, threads = sys.argv[1:]
imported = time.time()
engine = Engine(folder, device, int(threads), RuntimeChoice(runtime))
loaded = time.time()
engine.infer(blank_sample(engine.config), Budget(float("inf"), "layers"), decide=allocate)
done = time.time()
gpu = torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else None
print(json.dumps({"imported": imported, "load_s": loaded - imported, "first_frame_ms": 1e3 * (done - loaded),
                  "peak_mib": peak_mib(), "device_peak_mib": gpu}))
"""


def measure_startup(model: str, folder: Path, runtime: str, *, device: str, threads: int) -> Startup:
    """Start a process, load a model and run a frame.

    Args:
        model: name of the model in the result.
        folder: model folder.
        runtime: one of `admn_ros.inference.runtime.ENGINES`.
        device: `cpu` or `cuda`.
        threads: CPU threads.

    Raises:
        AdmnError: the process failed.
    """
    started = time.time()
    try:
        done = subprocess.run([sys.executable, "-c", _PROGRAM, str(folder), runtime, device, str(threads)],
                              capture_output=True, text=True, timeout=LONGEST_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise AdmnError(f"the start of {model} with {runtime} took more than {LONGEST_S} s") from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise AdmnError(f"the start of {model} with {runtime} failed: {last}")
    measured = cast(dict[str, Any], parse_json(done.stdout.splitlines()[-1]))
    return Startup(model=model, runtime=runtime, import_s=measured.pop("imported") - started, **measured)
