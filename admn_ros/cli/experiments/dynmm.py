# SPDX-License-Identifier: Apache-2.0
"""Commands `dynmm`: the experiments of the DynMM paper on robot data."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from admn_ros.cli.command import CONSOLE, MOST_JOBS, Commands, add_command, add_device, add_family, progress_bar, whole

if TYPE_CHECKING:
    from admn_ros.benchmark.dynmm.results import DynmmResults
    from admn_ros.benchmark.dynmm.run import Networks
    from admn_ros.benchmark.tables.training import OnStep

NAME = "dynmm"


def add_commands(commands: Commands) -> None:
    """Add the experiments of the DynMM paper."""
    family = add_family(commands, NAME, "the experiments of the DynMM paper, on the simulated room")
    for name, text, run in (
            ("sweep", "error, cost and choice of expert against the price on compute", _sweep),
            ("ablation", "one stage, gate alone and joint training of DynMM, beside static networks", _ablation),
            ("decisions", "draw frames that the gate gives to a cheap expert beside those for a dear one", _decisions)):
        _add_options(add_command(family, name, text, run), "experts, prices and training, such as config/dynmm.yaml",
                     "dataset folder of `admn simulate --dataset`")
    segmentation = add_command(family, "segmentation", "RGB-D segmentation: mIoU, operations and depth blocks against "
                                                       "the price on compute, and training strategies", _segmentation)
    _add_options(segmentation, "network, prices and training, such as config/segmentation.yaml",
                 "dataset folder of `admn simulate --dataset DIR --masks`, or of another kind with masks")
    segmentation.add_argument("--no-ablation", action="store_true", help="leave out the training strategies")


def _add_options(new: argparse.ArgumentParser, config: str, data: str) -> None:
    new.add_argument("config", type=Path, help=config)
    new.add_argument("--data", type=Path, required=True, metavar="DIR", help=data)
    new.add_argument("--work", type=Path, required=True, metavar="DIR",
                     help="folder for trained networks, which later runs take up; may be deleted afterwards")
    new.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the results")
    add_device(new)
    new.add_argument("--threads", type=whole(0, MOST_JOBS), default=0, metavar="N",
                     help="CPU threads; 0 for one per core (default: 0)")


def _sweep(options: argparse.Namespace) -> None:
    from admn_ros.benchmark.dynmm.figure import draw
    from admn_ros.benchmark.dynmm.run import run_sweep

    with progress_bar("sweep") as advance:
        networks, command = _open(options, lambda what, at, of: _show(advance, what, at, of))
        results = run_sweep(networks, options.out, command)
    draw(results, options.out / "dynmm_sweep.png")
    print(_write(results, options.out), options.out / "dynmm_sweep.png", sep="\n")


def _ablation(options: argparse.Namespace) -> None:
    from admn_ros.benchmark.dynmm.run import run_ablation

    with progress_bar("ablation") as advance:
        networks, command = _open(options, lambda what, at, of: _show(advance, what, at, of))
        results = run_ablation(networks, options.out, command)
    print(_write(results, options.out))


def _decisions(options: argparse.Namespace) -> None:
    from admn_ros.benchmark.dynmm.decisions import draw_decisions

    with progress_bar("decisions") as advance:
        networks, _ = _open(options, lambda what, at, of: _show(advance, what, at, of))
        network = networks.strategies.gated("joint", networks.config.price, networks.config.seeds[0])
        draw_decisions(network, networks.measured(network), networks, options.out / "dynmm_decisions.png")
    print(options.out / "dynmm_decisions.png")


def _segmentation(options: argparse.Namespace) -> None:
    from admn_ros.benchmark.segmentation.config import SegmentationStudy
    from admn_ros.benchmark.segmentation.decisions import draw_decisions
    from admn_ros.benchmark.segmentation.figure import draw
    from admn_ros.benchmark.segmentation.networks import SegmentationNetworks
    from admn_ros.benchmark.segmentation.run import measure_pixels, run_study
    from admn_ros.benchmark.segmentation.text import render
    from admn_ros.config import load_config
    from admn_ros.files import write_text
    from admn_ros.inference.hardware import pick_device, use_threads

    use_threads(options.threads)
    study = load_config(SegmentationStudy, options.config)
    with progress_bar("segmentation") as advance:
        networks = SegmentationNetworks(study, options.data, options.work, device=pick_device(options.device),
                                        on_step=lambda what, at, of: _show(advance, what, at, of))
        results = run_study(networks, options.out, _command("segmentation", options), ablation=not options.no_ablation)
    text, plot, decisions = (options.out / f"segmentation{end}" for end in (".md", ".png", "_decisions.png"))
    write_text(text, render(results))
    draw(results, plot)
    stage = networks.gated("joint", study.price, study.seeds[0])
    draw_decisions(stage, measure_pixels(stage, networks), networks, decisions)
    print(text, plot, decisions, sep="\n")


def _command(name: str, options: argparse.Namespace) -> str:
    """Return the command line for the results, without folders of this machine."""
    return f"admn {NAME} {name} {options.config.name} --data DATASET --work DIR --out DIR"


def _open(options: argparse.Namespace, on_step: OnStep) -> tuple[Networks, str]:
    """Return the networks of the configuration, and the command line for the results."""
    from admn_ros.benchmark.dynmm.config import DynmmConfig
    from admn_ros.benchmark.dynmm.run import Networks
    from admn_ros.config import load_config
    from admn_ros.inference.hardware import pick_device, use_threads

    use_threads(options.threads)
    config: DynmmConfig = load_config(DynmmConfig, options.config)
    networks = Networks.open(config, options.data, options.work, device=pick_device(options.device), on_step=on_step)
    return networks, _command("sweep|ablation", options)


def _show(advance: Callable[[int, int], None], what: str, at: int, of: int) -> None:
    advance(at, of)
    if not CONSOLE.is_terminal and at == of:
        print(f"{what} {at}/{of}", file=sys.stderr, flush=True)


def _write(results: DynmmResults, out: Path) -> Path:
    from admn_ros.benchmark.dynmm.text import render
    from admn_ros.files import write_text

    write_text(out / "dynmm.md", render(results))
    return out / "dynmm.md"
