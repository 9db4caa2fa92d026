# SPDX-License-Identifier: Apache-2.0
"""Commands that measure: datasets with `probe`, this machine with `benchmark`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.progress import Progress

from admn_ros.cli.command import (
    CONSOLE,
    LARGEST_SEED,
    MOST_JOBS,
    Commands,
    Parser,
    add_command,
    add_device,
    add_family,
    number,
    progress_bar,
    whole,
)

if TYPE_CHECKING:
    from admn_ros.benchmark.latency.plan import LatencyPlan


def add_commands(commands: Commands) -> None:
    """Add the commands that measure datasets and this machine."""
    _add_probe(commands)
    family = add_family(commands, "benchmark", "measure times on this machine")
    add_command(family, "latency", "measure the time of a frame against its layers, beside networks without a choice "
                                   "of layers", _latency, derive=_add_latency_options)
    add_command(family, "breakdown", "measure where the time of a frame goes on a CPU", _breakdown,
                derive=_add_breakdown_options)
    add_command(family, "preprocessing", "measure the time from readings to the inputs of a model", _preprocessing,
                derive=_add_preprocessing_options)
    add_command(family, "scale", "measure what an evaluation costs as its recordings and processes grow", _scale,
                derive=_add_scale_options)


def _add_probe(commands: Commands) -> None:
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


def _add_latency_options(new: Parser) -> None:
    new.add_argument("--out", type=Path, required=True, metavar="DIR",
                     help="folder for latency.json, latency.md and latency.png")
    new.add_argument("--models", nargs="+", metavar="NAME",
                     help="tiny, small and base (untrained ViTs), and model folders; without this option, several of "
                          "them in cases that take about five minutes")
    for name, what in (("layers", "layers of a frame"), ("batches", "frames at a time"),
                       ("nodes", "present sensor nodes")):
        new.add_argument(f"--{name}", type=whole(1), nargs="+", metavar="N", help=f"numbers of {what}")
    new.add_argument("--precisions", nargs="+", choices=("float32", "bfloat16", "float16"), metavar="NAME",
                     help="floating-point precisions (default: float32; on a GPU also bfloat16)")
    add_device(new)
    new.add_argument("--mixed", type=whole(0, 1024), metavar="N",
                     help="frames of the batch whose frames have different budgets; 0 for none (default: 8)")
    new.add_argument("--threads", type=whole(0, MOST_JOBS), nargs="+", metavar="N",
                     help="numbers of CPU threads of the networks; 0 for half of the cores, at most 4 (default: 0)")
    new.add_argument("--repeats", type=whole(3, 100_000), metavar="N", help="timed runs of each case, at most")
    new.add_argument("--seconds", type=number(0.001), metavar="S",
                     help="time after which a case is not repeated; it has at least three runs")
    new.add_argument("--seed", type=whole(0, LARGEST_SEED), metavar="N", help="seed of inputs and weights (default: 0)")
    new.add_argument("--quick", action="store_true", help="few small cases, to try the command")


def _latency(options: argparse.Namespace) -> None:
    from admn_ros.benchmark.latency.figure import draw
    from admn_ros.benchmark.latency.results import FIGURE, FILE, TABLE, write_latencies
    from admn_ros.benchmark.latency.run import measure_latencies
    from admn_ros.benchmark.latency.text import render
    from admn_ros.files import write_text

    plans = _latency_plans(options)
    with progress_bar("latency") as advance:
        def on_case(what: str, done: int, total: int) -> None:
            advance(done, total)
            if not CONSOLE.is_terminal:
                print(what, file=sys.stderr, flush=True)

        found = measure_latencies(plans, on_case)
    write_latencies(found, options.out / FILE)
    write_text(options.out / TABLE, render(found))
    draw(found, options.out / FIGURE)
    print(render(found), *(options.out / name for name in (FILE, TABLE, FIGURE)), sep="\n")


def _latency_plans(options: argparse.Namespace) -> list[LatencyPlan]:
    """Return the default plans of the device with the values of the given options; one plan if models are given."""
    from admn_ros.benchmark.latency.plan import LatencyPlan, plans_for
    from admn_ros.config import parse_config
    from admn_ros.inference.hardware import pick_device

    device: Literal["cpu", "cuda"] = "cuda" if pick_device(options.device).type == "cuda" else "cpu"
    given = {name: value for name in LatencyPlan.model_fields
             if name != "device" and (value := getattr(options, name)) is not None}
    plans = plans_for(device, quick=options.quick)
    if options.models and not options.quick:
        plans = (LatencyPlan(device=device),)
    return [parse_config(LatencyPlan, plan.model_dump(mode="json") | given, "options") for plan in plans]


def _add_breakdown_options(new: Parser) -> None:
    new.add_argument("--model", default="gdtm", metavar="NAME", help="model folder, or the name of a shipped model "
                                                                     "(default: gdtm)")
    new.add_argument("--layers", type=whole(1), nargs="+", default=[1, 2, 4], metavar="N",
                     help="numbers of layers of a frame (default: 1 2 4)")
    new.add_argument("--threads", type=whole(0, MOST_JOBS), default=0, metavar="N",
                     help="CPU threads of the network; 0 for half of the cores, at most 4 (default: 0)")
    new.add_argument("--repeats", type=whole(1, 10**6), default=100, metavar="N",
                     help="timed frames of each number of layers (default: 100)")
    new.add_argument("--seed", type=whole(0, LARGEST_SEED), default=0, metavar="N",
                     help="seed of the inputs (default: 0)")


def _breakdown(options: argparse.Namespace) -> None:
    from admn_ros.benchmark.latency.breakdown import measure_breakdown, render

    print(render(measure_breakdown(options.model, options.layers, threads=options.threads, repeats=options.repeats,
                                   seed=options.seed)))


def _add_preprocessing_options(new: Parser) -> None:
    new.add_argument("--model", default="gdtm", metavar="NAME", help="model folder, or the name of a shipped model "
                                                                     "(default: gdtm)")
    new.add_argument("--out", type=Path, metavar="FILE", help="JSON file to write")
    new.add_argument("--repeats", type=whole(1, 10**6), default=100, metavar="N",
                     help="timed frames of each image size (default: 100)")
    new.add_argument("--seed", type=whole(0, LARGEST_SEED), default=0, metavar="N",
                     help="seed of the readings (default: 0)")


def _preprocessing(options: argparse.Namespace) -> None:
    from admn_ros.benchmark.preprocessing import measure_preprocessing, render
    from admn_ros.files import write_text
    from admn_ros.inference.model import load_engine

    config = load_engine(options.model, "cpu").config
    with progress_bar("preprocessing") as advance:
        found = measure_preprocessing(config, repeats=options.repeats, seed=options.seed, on_progress=advance)
    print(render(found))
    if options.out is not None:
        write_text(options.out, found.model_dump_json(indent=1) + "\n")
        print(options.out)


def _add_scale_options(new: Parser) -> None:
    new.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSON file to write")
    new.add_argument("--bags", type=whole(1, 10**4), nargs="+", default=[1, 10, 100], metavar="N",
                     help="numbers of recordings (default: 1 10 100)")
    new.add_argument("--workers", type=whole(1, MOST_JOBS), nargs="+", default=[1, 2, 4], metavar="N",
                     help="numbers of processes (default: 1 2 4)")
    new.add_argument("--bag-s", type=number(0.2, 12), default=1.0, metavar="S",
                     help="length of a recording in seconds (default: 1)")
    new.add_argument("--pools", nargs="+", choices=("jobs", "scheduler"), default=["jobs", "scheduler"],
                     help="processes of this machine, or of a Dask cluster on it (default: both)")


def _scale(options: argparse.Namespace) -> None:
    from admn_ros.benchmark.scale import measure_scale, render
    from admn_ros.files import write_text

    def words(values: list[object]) -> str:
        return " ".join(map(str, values))

    command = (f"admn benchmark scale --bags {words(options.bags)} --workers {words(options.workers)} --bag-s "
               f"{options.bag_s:g} --pools {words(options.pools)} --out {options.out}")
    with progress_bar("evaluations") as progress:
        found = measure_scale(options.bags, options.workers, bag_s=options.bag_s, pools=options.pools, command=command,
                              on_run=progress)
    write_text(options.out, found.model_dump_json(indent=1) + "\n")
    print(render(found), options.out, sep="\n")
