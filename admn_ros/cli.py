# SPDX-License-Identifier: Apache-2.0
"""The `admn` command: everything that needs no ROS."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from admn_ros.errors import AdmnError, ConfigError, ModelError

Command = Callable[[argparse.Namespace], None]
CONSOLE = Console(stderr=True)


def main(args: list[str] | None = None) -> int:
    """Run a subcommand; one clear line and exit code 2 on bad input."""
    options = _parser().parse_args(args)
    run: Command = options.run
    try:
        run(options)
    except AdmnError as error:
        print(f"admn {options.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="admn", description="Adaptive multimodal perception within a budget.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    new = _add(commands, "new-model", "make a model folder with random weights, to try topics and budgets", _new_model)
    new.add_argument("folder", type=Path, help="where to put it")
    new.add_argument("--preset", default="gdtm-tiny", help="architecture (default: gdtm-tiny); `list` names them")
    new.add_argument("--seed", type=int, default=0, help="seed of the weights (default: 0)")
    new.add_argument("--force", action="store_true", help="replace a model folder that is already there")

    inspect = _add(commands, "inspect", "say what a model folder or a recording holds", _inspect)
    inspect.add_argument("path", type=Path, help="model folder, rosbag2 folder, .mcap or .db3 file")

    profile = _add(commands, "profile", "measure a model's milliseconds per layer here, for budgets in time", _profile)
    profile.add_argument("model", type=Path, help="model folder; costs.yaml is written into it")
    profile.add_argument("--repeats", type=int, default=30, help="runs per figure (default: 30)")
    profile.add_argument("--watts", type=float, help="power drawn while computing; adds joules to the table")
    profile.add_argument("--threads", type=int, default=0, help="CPU threads, as the node's parameter (default: 0)")
    profile.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))

    convert = _add(commands, "convert", "turn an RGB-D image folder (7-Scenes layout) into a rosbag2", _convert)
    convert.add_argument("folder", type=Path, help="folder with frame-NNNNNN.color.jpg, .depth.png and .pose.txt")
    convert.add_argument("bag", type=Path, help="rosbag2 folder to write; must not exist")
    convert.add_argument("--storage", default="mcap", choices=("mcap", "sqlite3"))
    convert.add_argument("--depth", default="16UC1", choices=("16UC1", "32FC1"), help="encoding (default: 16UC1)")
    convert.add_argument("--limit", type=int, help="at most so many frames")
    train = _add(commands, "train", "train one stage of a network; under construction", _train)
    train.add_argument("stage", choices=("finetune", "autoencoder", "controller"))
    train.add_argument("file", type=Path, help="training file, such as config/train/room_tiny.yaml")
    train.add_argument("out", type=Path, help="folder for checkpoints, figures and the model")
    train.add_argument("--model", type=Path, help="model folder of the stage before")
    train.add_argument("--data", type=Path, help="dataset, in place of the file's")
    train.add_argument("--budget", type=int, help="layers that a controller is trained for, in place of the file's")
    train.add_argument("--seed", type=int, help="seed, in place of the file's")
    train.add_argument("--resume", action="store_true", help="continue an interrupted run")
    train.add_argument("--dry-run", action="store_true", help="two batches, to see that everything fits")

    _add_recording_commands(commands)
    return parser


def _add_recording_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Simulate, probe and look at recordings and datasets."""
    demo = _add(commands, "demo-recording", "make the demo's recording: a car seen by four modalities", _demo_recording)
    demo.add_argument("bag", type=Path, help="rosbag2 folder to write; must not exist")
    demo.add_argument("--seconds", type=float, default=12.0, help="length (default: 12)")
    demo.add_argument("--seed", type=int, default=7, help="seed (default: 7)")
    demo.add_argument("--storage", default="mcap", choices=("mcap", "sqlite3"))
    demo.add_argument("--no-events", action="store_true", help="leave out darkness, saturation and dead topics")

    simulate = _add(commands, "simulate", "simulate the GDTM room: a dataset, a bag, or a picture", _simulate)
    simulate.add_argument("--frames", type=int, default=300, help="multimodal frames (default: 300); a bag has 15/s")
    simulate.add_argument("--seed", type=int, default=7, help="seed of room, drive and noise (default: 7)")
    simulate.add_argument("--dataset", type=Path, help="write training samples here, split and sharded; resumable")
    simulate.add_argument("--bag", type=Path, help="write a rosbag2 here; must not exist")
    simulate.add_argument("--sheet", type=Path, help="draw what every sensor of the recording sees into this PNG")
    simulate.add_argument("--target", choices=("red_car", "green_car", "none"), help="bag: class (default: by seed)")
    simulate.add_argument("--viewpoints", default="default", choices=("default", "train", "held_out"),
                          help="bag: where the sensor nodes stand (default: default)")
    simulate.add_argument("--drive", default="laps", choices=("laps", "random"), help="bag: motion (default: laps)")
    simulate.add_argument("--no-events", action="store_true", help="bag: without darkness, saturation, dead topics")
    simulate.add_argument("--quality", choices=("real", "medium", "small"),
                          help="size of pictures (default: real for a bag, small for a dataset)")
    simulate.add_argument("--nodes", type=int, default=3, help="sensor nodes (default: 3)")
    simulate.add_argument("--audio-s", type=float, default=0.512, help="dataset: seconds of sound (default: 0.512)")
    simulate.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="dataset: processes (default: cores)")

    probe = _add(commands, "probe", "measure what each modality of a dataset alone says about the position", _probe)
    probe.add_argument("dataset", type=Path, help="folder of `admn simulate --dataset`")
    probe.add_argument("--out", type=Path, required=True, help="JSON to write; a picture is put beside it")
    probe.add_argument("--epochs", type=int, default=4, help="of each probe (default: 4)")
    probe.add_argument("--retrain", action="store_true", help="also train probes on corrupted readings")
    probe.add_argument("--seed", type=int, default=0, help="seed (default: 0)")

    sheet = _add(commands, "sheet", "draw what every sensor of a recording sees at one instant", _sheet)
    sheet.add_argument("bag", type=Path, help="rosbag2 folder, .mcap or .db3 file")
    sheet.add_argument("png", type=Path, help="picture to write")
    sheet.add_argument("--at", type=float, help="seconds after the start (default: the middle)")


def _add(commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str,
         run: Command) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.set_defaults(run=run)
    return parser


# The rooms are imported where they are used: torch alone takes seconds, and `--help` should not.


def _new_model(options: argparse.Namespace) -> None:
    from admn_ros.model.checkpoint import create_random_model
    from admn_ros.model.presets import PRESETS, preset

    if options.preset == "list":
        print("\n".join(PRESETS))
        return
    create_random_model(preset(options.preset), options.folder, options.seed, force=options.force)
    print(f"{options.folder}: preset {options.preset}, seed {options.seed}. "
          "UNTRAINED: the weights are random and the estimates mean nothing.")


def _inspect(options: argparse.Namespace) -> None:
    if (options.path / "config.yaml").is_file():
        _inspect_model(options.path)
    else:
        _inspect_bag(options.path)


def _inspect_model(folder: Path) -> None:
    from admn_ros.config import ModelConfig, load_config
    from admn_ros.model.checkpoint import load_model

    config = load_config(ModelConfig, folder / "config.yaml")
    parameters = sum(p.numel() for p in load_model(folder, "cpu").parameters())
    print(f"{config.name}: {'trained' if config.trained else 'UNTRAINED, random weights'}, "
          f"{parameters / 1e6:.2f} M parameters, {config.layers_total} layers")
    print(f"sensor nodes: {', '.join(config.sensor_nodes)}    classes: {', '.join(config.classes)}")
    for modality, entry in config.modalities.items():
        shape = "x".join(map(str, entry.input.shape))
        print(f"  {modality}: input {shape}, {entry.backbone.depth} layers of width {entry.backbone.dim}")
    measured = (folder / "costs.yaml").is_file()
    print("budgets: layers, gflops" + (", and those measured in costs.yaml" if measured
                                       else "; run `admn profile` for milliseconds"))


def _inspect_bag(path: Path) -> None:
    from admn_ros.recordings.bags import BagReader

    with BagReader(path) as bag:
        print(f"{path}: {bag.message_count} messages in {(bag.end_ns - bag.start_ns) * 1e-9:.2f} s")
        for topic, info in bag.topics.items():
            print(f"  {topic}: {info.count} x {info.type}")


def _profile(options: argparse.Namespace) -> None:
    from admn_ros.inference.engine import Engine
    from admn_ros.inference.profile import measure_costs, write_costs

    if options.repeats < 1:
        raise ModelError("--repeats", options.repeats, "1 or more")
    engine = Engine(options.model, options.device, options.threads)
    with CONSOLE.status("measuring"):
        costs = measure_costs(engine, options.repeats, date.today().isoformat(), options.watts)
    print(f"{write_costs(engine, costs)}: measured on {costs.device}; budgets in milliseconds"
          f"{' and joules' if options.watts else ''} are now accepted")


def _train(options: argparse.Namespace) -> None:
    from admn_ros.training.run import main as run

    with CONSOLE.status(options.stage):
        print(run(options.file, options.stage, options.out, model=options.model, data=options.data,
                  budget=options.budget, seed=options.seed, resume=options.resume, dry_run=options.dry_run))


def _convert(options: argparse.Namespace) -> None:
    from admn_ros.datasets.rgbd_folder import convert_rgbd_folder

    with _progress("converting") as progress:
        summary = convert_rgbd_folder(options.folder, options.bag, storage=options.storage, depth=options.depth,
                                      limit=options.limit, progress=progress)
    print(f"{options.bag}: {summary}")


def _demo_recording(options: argparse.Namespace) -> None:
    from admn_ros.simulation.recording import record

    with _progress("recording") as progress:
        summary = record(options.bag, seconds=options.seconds, seed=options.seed, storage=options.storage,
                         events=not options.no_events, progress=progress)
    print(summary.describe())


def _simulate(options: argparse.Namespace) -> None:
    if options.dataset is None and options.bag is None and options.sheet is None:
        raise ConfigError("output", "none of them", "--dataset DIR, --bag BAG, --sheet PNG, or several")
    if options.frames < 1:
        raise ConfigError("--frames", options.frames, "1 or more")
    if options.dataset is not None:
        _simulate_dataset(options)
    if options.bag is not None:
        _simulate_bag(options, options.bag)
    elif options.sheet is not None:
        options.no_events = True   # the picture is of one instant, and of all that works
        with tempfile.TemporaryDirectory() as folder:
            _simulate_bag(options, Path(folder) / f"simulated_seed_{options.seed}")


def _simulate_dataset(options: argparse.Namespace) -> None:
    from admn_ros.simulation.room_dataset import Plan, make_dataset

    plan = Plan(options.frames, options.seed, options.quality or "small", options.nodes, options.audio_s)
    started_s = time.monotonic()
    with _progress("samples") as progress:
        counts = make_dataset(options.dataset, plan, options.jobs, progress)
    took_s = time.monotonic() - started_s
    print(f"{options.dataset}: " + ", ".join(f"{split} {count}" for split, count in counts.items())
          + f"; {took_s:.0f} s, {plan.frames / took_s:.1f} multimodal samples per second")


def _simulate_bag(options: argparse.Namespace, bag: Path) -> None:
    from admn_ros.simulation.contact_sheet import draw_sheet
    from admn_ros.simulation.room_recording import record_room
    from admn_ros.simulation.world import World

    started_s = time.monotonic()
    with _progress("recording") as progress, World(
            options.seed, target=options.target, viewpoints=options.viewpoints, drive=options.drive,
            nodes=options.nodes, quality=options.quality or "real") as world:
        result = record_room(bag, world, max(0.5, options.frames / 15), events=not options.no_events, progress=progress)
    took_s = time.monotonic() - started_s
    told = result.describe() if options.bag else result.describe().replace(str(bag), "a recording that is not kept")
    print(f"{told}\n  {took_s:.0f} s, {options.frames / took_s:.1f} multimodal frames per second")
    if options.sheet is not None:
        draw_sheet(bag, options.sheet)
        print(options.sheet)


@contextmanager
def _progress(text: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on a terminal; nothing elsewhere."""
    with Progress(console=CONSOLE, transient=True, disable=not CONSOLE.is_terminal) as bar:
        task = bar.add_task(text, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _probe(options: argparse.Namespace) -> None:
    from admn_ros.evaluation.probe import Effort, draw_probe, probe_all

    command = f"admn probe DATASET --epochs {options.epochs} --seed {options.seed}{' --retrain' * options.retrain}"
    with Progress(console=CONSOLE, transient=True, disable=not CONSOLE.is_terminal) as bar:
        task = bar.add_task("probe", total=1.0)
        results = probe_all(
            options.dataset, options.out, seed=options.seed, command=command,
            effort=Effort(epochs=options.epochs, retrain=options.retrain, limit_s=3600.0),
            progress=lambda what, share: bar.update(task, description=what, completed=share))
    print(f"{options.out}\n{draw_probe(results, options.out.with_suffix('.png'))}")


def _sheet(options: argparse.Namespace) -> None:
    from admn_ros.simulation.contact_sheet import draw_sheet

    draw_sheet(options.bag, options.png, options.at)
    print(options.png)


if __name__ == "__main__":
    sys.exit(main())
