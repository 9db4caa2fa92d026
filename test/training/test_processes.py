# SPDX-License-Identifier: Apache-2.0
"""Processes under `torchrun`, of one machine or of two: the same batches as one, and one that writes."""

from __future__ import annotations

import os
import runpy
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
import yaml

from admn_ros.config import ModelConfig
from admn_ros.model.checkpoint import create_random_model, load_model

pytestmark = pytest.mark.slow

HERE = Path(__file__).resolve().parent


def torchrun(*arguments: object) -> subprocess.Popen[str]:
    """Start processes with one thread each, and with the import path of the tests."""
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "1",
             "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def two_machines(*arguments: object) -> list[subprocess.Popen[str]]:
    """Start two groups of one process on this machine, which meet at an address, as docs/scale.md says."""
    with socket.socket() as probe:  # a port that is free
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return [torchrun("--nnodes", 2, "--node-rank", rank, "--nproc-per-node", 1, "--master-addr", "127.0.0.1",
                     "--master-port", port, *arguments) for rank in range(2)]


@pytest.fixture
def start(model: ModelConfig, tmp_path: Path) -> Path:
    create_random_model(model, tmp_path / "start", seed=0)
    return tmp_path / "start"


def test_two_machines_train_like_one(dataset: Path, start: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    script = HERE / "two_processes.py"
    runpy.run_path(str(script))["train"](dataset, start, tmp_path / "one")
    groups = two_machines(script, dataset, start, tmp_path / "two")
    errors = "".join(group.communicate(timeout=110)[1] for group in groups)
    assert [group.returncode for group in groups] == [0, 0], errors
    alone = torch.load(tmp_path / "one" / "process0.pt")
    first, second = (torch.load(tmp_path / "two" / f"process{rank}.pt") for rank in range(2))
    assert all(torch.equal(x, second["weights"][name]) for name, x in first["weights"].items())
    assert first["rows"] == second["rows"]
    # Every sample once in an epoch, but for stand-ins where a process has none of a batch; these do not count.
    seen = Counter(first["seen"] + second["seen"])
    assert set(seen) == set(alone["seen"])
    assert len(seen) == 2 * 11
    assert sum(seen.values()) == 2 * (11 + 1)
    assert (first["validated"], second["validated"]) == (alone["validated"], 0)
    for ours, theirs in zip(first["rows"], alone["rows"], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3)
    assert first["error"] == second["error"] == alone["error"] == "disk: found full; allowed: room"


@pytest.mark.nightly
def test_the_command_trains_in_two_processes(dataset: Path, start: Path, tmp_path: Path) -> None:
    file = tmp_path / "t.yaml"
    file.write_text(yaml.safe_dump({
        "data": {"folder": str(dataset)}, "finetune": {"optimizer": {"batch": 4, "epochs": 2, "seed": 4}}}))
    run = torchrun("--standalone", "--nproc-per-node", 2, "-m", "admn_ros.cli", "train", "finetune", "--config", file,
                   "--device", "cpu", "--model", start, "--out", tmp_path / "a")
    output, errors = run.communicate(timeout=110)
    assert not run.returncode, errors
    assert output.split() == [str(tmp_path / "a" / "model")]
    assert [line.split(":")[0] for line in errors.splitlines() if line.startswith("epoch")] == [
        "epoch 1/2", "epoch 2/2"]
    assert load_model(tmp_path / "a" / "model").config.trained
    assert [p.name for p in (tmp_path / "a").glob("checkpoint-*")] == ["checkpoint-00002"]
