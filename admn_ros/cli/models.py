# SPDX-License-Identifier: Apache-2.0
"""Commands about model folders: new-model, inspect, profile, export."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from admn_ros.cli.command import (
    CONSOLE,
    LARGEST_SEED,
    MOST_JOBS,
    Commands,
    add_command,
    add_device,
    add_runtime,
    number,
    progress_bar,
    warn,
    whole,
)

if TYPE_CHECKING:
    from admn_ros.config import ModelConfig
    from admn_ros.model.network import AdmnNetwork


def add_commands(commands: Commands) -> None:
    """Add the commands that make, inspect and measure models."""
    new = add_command(commands, "new-model", "make a model folder with random weights, to try out topics and budgets",
                      _new_model)
    new.add_argument("folder", type=Path, help="model folder to write")
    kind = new.add_mutually_exclusive_group()
    kind.add_argument("--preset", default="gdtm-tiny",
                      help="architecture, or list to print all of them (default: gdtm-tiny)")
    kind.add_argument("--config", type=Path, metavar="FILE",
                      help="description of your own architecture, as config.yaml of a model folder")
    new.add_argument("--seed", type=whole(0, LARGEST_SEED), default=0, metavar="N",
                     help="seed of the weights (default: 0)")
    new.add_argument("--force", action="store_true", help="replace an existing model folder")

    inspect = add_command(commands, "inspect", "describe a model folder or a recording", _inspect)
    inspect.add_argument("path", type=Path, help="model folder, rosbag2 folder, .mcap or .db3 file")

    profile = add_command(commands, "profile", "measure the latency of a model here, for budgets in milliseconds",
                          _profile)
    profile.add_argument("model", type=Path, help="model folder; costs.yaml is written to it")
    profile.add_argument("--repeats", type=whole(1, 10**6), default=30, metavar="N",
                         help="runs per measurement (default: 30)")
    profile.add_argument("--watts", type=number(1e-3, 1e6), metavar="X",
                         help="power drawn while computing, in watts; adds budgets in joules")
    profile.add_argument("--threads", type=whole(0, MOST_JOBS), default=0, metavar="N",
                         help="CPU threads; 0 for the default of torch (default: 0)")
    add_device(profile)
    add_runtime(profile)

    export = add_command(commands, "export", "write a model folder that ONNX Runtime can run, too", _export)
    export.add_argument("model", help="model folder, or name of a shipped model")
    export.add_argument("out", type=Path, help="model folder to write; the model folder itself gets the graphs only")
    export.add_argument("--force", action="store_true", help="replace an existing model folder")


def _new_model(options: argparse.Namespace) -> None:
    from admn_ros.config import ModelConfig, load_config
    from admn_ros.model.checkpoint import create_random_model
    from admn_ros.model.presets import PRESETS, preset

    if options.config is None and options.preset == "list":
        print("\n".join(PRESETS))
        return
    config = preset(options.preset) if options.config is None else _before_training(
        load_config(ModelConfig, options.config))
    create_random_model(config, options.folder, options.seed, force=options.force)
    what = f"preset {options.preset}" if options.config is None else str(options.config)
    print(f"{options.folder}: {what}, seed {options.seed}. "
          "UNTRAINED: the weights and so the estimates are random.")


def _before_training(config: ModelConfig) -> ModelConfig:
    """Return the description without what stages of training added, which random weights must not pretend to know."""
    return config.model_copy(update={
        "qoi_trained": False, "qoi": config.qoi.model_copy(update={"value_hidden": 0}),
        "calibration": config.calibration.model_copy(update={"hidden": 0})})


def _inspect(options: argparse.Namespace) -> None:
    if (options.path / "config.yaml").is_file():
        _inspect_model(options.path)
    else:
        _inspect_bag(options.path)


def _inspect_model(folder: Path) -> None:
    from admn_ros.config import ModelConfig, load_config
    from admn_ros.model.checkpoint import load_model
    from admn_ros.model.official.legacy_network import LegacyNetwork

    config = load_config(ModelConfig, folder / "config.yaml")
    network = load_model(folder, "cpu")
    parameters = sum(p.numel() for p in network.parameters())
    print(f"{config.name}: {'trained' if config.trained else 'UNTRAINED, random weights'}, "
          f"{parameters / 1e6:.2f} M parameters, {config.layers_total} layers")
    if isinstance(network, LegacyNetwork):
        controller = "; controller of this package" if network.legacy.own else "" if network.legacy.controller \
            else "; its file had no controller, so that layers are spread evenly"
        print(f"of the official ADMN release: heads and controller of layout {network.legacy.layout}{controller}")
    print(f"sensor nodes: {', '.join(config.sensor_nodes)}    classes: {', '.join(config.classes)}")
    for modality, entry in config.modalities.items():
        shape = "x".join(map(str, entry.input.shape))
        print(f"  {modality}: input {shape}, {entry.backbone.depth} layers of width {entry.backbone.dim}")
    if (folder / "onnx").is_dir():
        _print_graphs(network, folder)
    _print_costs(folder, config)
    _print_metrics(folder)


def _print_graphs(network: AdmnNetwork, folder: Path) -> None:
    from admn_ros.errors import ModelError
    from admn_ros.inference.onnx.manifest import FOLDER, check_graphs

    try:
        check_graphs(network, folder)
    except ModelError as error:
        warn("onnx", [str(error)])
        return
    files = list((folder / FOLDER).glob("*.onnx"))
    print(f"engine onnxruntime: {len(files)} graphs, {sum(f.stat().st_size for f in files) / 1e6:.1f} MB")


def _print_costs(folder: Path, config: ModelConfig) -> None:
    from admn_ros.model.costs import ModelCosts

    measured = ModelCosts.load(config, folder).measured
    if measured is None:
        print("budgets: layers, gflops, milliseconds (measured at first use)")
        return
    joules = "" if measured.joules is None else f" and joules at {measured.power_w:g} W"
    print(f"budgets: layers, gflops, milliseconds{joules}; measured {measured.date} on {measured.device}, "
          f"{measured.threads} threads, {measured.runtime}, PyTorch {measured.torch}")


def _print_metrics(folder: Path) -> None:
    from admn_ros.evaluation.model_metrics import describe, read_metrics

    metrics = read_metrics(folder)
    if metrics is None:
        print("metrics: none of these weights; `admn evaluate --save-metrics` writes them")
        return
    print(f"metrics on {', '.join(source['name'] for source in metrics['sources'])}, "
          f"split {metrics['settings']['split']}:")
    for figures in metrics["figures"]:
        print(f"  {describe(figures)}")


def _inspect_bag(path: Path) -> None:
    from admn_ros.recordings.bag_reader import BagReader

    with BagReader(path) as bag:
        print(f"{path}: {bag.message_count} messages in {(bag.end_ns - bag.start_ns) * 1e-9:.2f} s")
        for topic, info in bag.topics.items():
            print(f"  {topic}: {info.count} x {info.type}")
        for topic, what in bag.ignored.items():
            print(f"  {topic}: ignored, {what}")
        warn(path.name, bag.remarks)


def _profile(options: argparse.Namespace) -> None:
    from admn_ros.inference.engine import Engine
    from admn_ros.inference.runtime import RuntimeChoice

    choice = RuntimeChoice(options.engine, tuple(options.providers), options.precision)
    engine = Engine(options.model, options.device, options.threads, choice)
    with CONSOLE.status("measuring"):
        costs = engine.measure_costs(options.repeats, power_w=options.watts)
    print(f"{engine.save_costs(costs)}: costs in milliseconds{' and joules' if options.watts else ''}, "
          f"measured on {costs.device} with {costs.runtime}")


def _export(options: argparse.Namespace) -> None:
    from admn_ros.inference.onnx.export import export_model
    from admn_ros.share import find_shipped

    with progress_bar("graphs") as progress:
        export_model(find_shipped(options.model, "models"), options.out, force=options.force, on_graph=progress)
    print(f"{options.out}: runs with --engine onnxruntime, and with torch as before")
