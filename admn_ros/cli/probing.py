# SPDX-License-Identifier: Apache-2.0
"""Commands that measure datasets: probe."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.progress import Progress

from admn_ros.cli.command import CONSOLE, LARGEST_SEED, Commands, add_command, whole


def add_commands(commands: Commands) -> None:
    """Add the command that probes the modalities of a dataset."""
    probe = add_command(commands, "probe", "measure how well each modality of a dataset alone determines the position",
                        _probe)
    probe.add_argument("dataset", type=Path, help="dataset folder of `admn simulate --dataset`")
    probe.add_argument("--out", type=Path, required=True, metavar="FILE",
                       help="JSON file to write; a PNG is written beside it")
    probe.add_argument("--epochs", type=whole(1, 10**6), default=4, metavar="N",
                       help="training epochs of each probe (default: 4)")
    probe.add_argument("--retrain", action="store_true", help="also train probes on corrupted inputs")
    probe.add_argument("--seed", type=whole(0, LARGEST_SEED), default=0, metavar="N", help="random seed (default: 0)")


def _probe(options: argparse.Namespace) -> None:
    from admn_ros.benchmark.probe.probe import ProbeSettings, draw_probe, probe_all

    command = f"admn probe DATASET --epochs {options.epochs} --seed {options.seed}{' --retrain' * options.retrain}"
    with Progress(console=CONSOLE, transient=True, disable=not CONSOLE.is_terminal) as bar:
        task = bar.add_task("probe", total=1.0)
        results = probe_all(
            options.dataset, options.out, seed=options.seed, command=command,
            settings=ProbeSettings(epochs=options.epochs, retrain=options.retrain, limit_s=3600.0),
            on_progress=lambda what, share: bar.update(task, description=what, completed=share))
    print(f"{options.out}\n{draw_probe(results, options.out.with_suffix('.png'))}")
