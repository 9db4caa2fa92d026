# SPDX-License-Identifier: Apache-2.0
"""Commands that draw: debug-image, animate, governor-plot, depths."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from admn_ros.cli.command import Commands, Parser, add_command, number, warn_of_losses, whole


def add_commands(commands: Commands) -> None:
    """Add the commands that draw one frame, a run of the governor, and errors by depth."""
    add_command(commands, "debug-image", "draw one frame of a recording with its allocation and estimate",
                _debug_image, derive=_add_frame_options)
    add_command(commands, "animate", "draw a recording as a moving debug image, within one budget after another",
                _animate, derive=_add_animation_options)
    plot = add_command(commands, "governor-plot", "plot the governor on a simulated computer that heats up",
                       _governor_plot)
    plot.add_argument("png", type=Path, help="PNG file to write")
    add_command(commands, "depths", "plot the error of a model against depth and cost, each modality alone and all "
                                    "together", _depths, derive=_add_depth_options)


def _add_depth_options(new: Parser) -> None:
    from admn_ros.config import BUDGET_UNITS

    new.add_argument("losses", type=Path, help="file of `admn rank`, best with --layers 1 2 3 ... and a test split")
    new.add_argument("--model", type=Path, required=True, metavar="DIR", help="model folder")
    new.add_argument("--out", type=Path, required=True, metavar="DIR",
                     help="folder for depths.json and depths.png")
    new.add_argument("--unit", default="layers", choices=[unit for unit in BUDGET_UNITS if unit != "watts"],
                     help="unit of the costs (default: layers); `admn profile` measures milliseconds and joules")


def _add_sources(new: Parser, file: str, what: str) -> None:
    from admn_ros.config import BUDGET_UNITS

    new.add_argument("bag", type=Path, help="rosbag2 recording")
    new.add_argument(file, type=Path, help=what)
    new.add_argument("--model", type=Path, required=True, metavar="DIR", help="model folder")
    new.add_argument("--sensors", type=Path, required=True, metavar="FILE",
                     help="deployment file with the topics, or the name of one in config/, such as gdtm")
    new.add_argument("--unit", default="layers", choices=[unit for unit in BUDGET_UNITS if unit != "watts"],
                     help="unit of the budget (default: layers)")


def _add_animation_options(new: Parser) -> None:
    _add_sources(new, "file", "file to write, .webp or .gif")
    new.add_argument("--budgets", type=number(0), nargs="+", default=[math.inf], metavar="X",
                     help="budgets per frame, each for an equal part of the recording (default: no limit)")
    new.add_argument("--period", type=number(0.05, 10), default=0.25, metavar="SECONDS",
                     help="time between two pictures (default: 0.25)")
    new.add_argument("--width", type=whole(160, 1920), default=720, metavar="PIXELS",
                     help="width of the pictures (default: 720)")


def _add_frame_options(new: Parser) -> None:
    _add_sources(new, "png", "PNG file to write")
    new.add_argument("--budget", type=float, default=math.inf, metavar="X", help="budget per frame (default: no limit)")
    new.add_argument("--at", type=number(0), metavar="SECONDS",
                     help="time since the start of the recording (default: its middle)")


def _debug_image(options: argparse.Namespace) -> None:
    from admn_ros.budget.budget import Budget
    from admn_ros.deployment import load_deployment
    from admn_ros.inference.pipeline import Pipeline
    from admn_ros.views.debug_frame import draw_debug_frame

    warn_of_losses(options.bag)
    deployment = load_deployment(options.sensors)
    pipeline = Pipeline.load(options.model, deployment, "cpu")
    view = draw_debug_frame(options.bag, options.png, pipeline, deployment,
                            Budget(options.budget, options.unit, "command line"), options.at)
    spent = view.estimate.allocation
    print(f"{options.png}: stamp {view.frame.stamp_ns}, spent {spent.spent:g} {spent.granted_unit}, "
          f"{spent.layers} layers")


def _animate(options: argparse.Namespace) -> None:
    from admn_ros.budget.budget import Budget
    from admn_ros.deployment import load_deployment
    from admn_ros.inference.pipeline import Pipeline
    from admn_ros.views.debug_animation import Animation, check_animation, draw_animation

    check_animation(options.file)
    warn_of_losses(options.bag)
    deployment = load_deployment(options.sensors)
    pipeline = Pipeline.load(options.model, deployment, "cpu")
    budgets = [Budget(limit, options.unit, "command line") for limit in options.budgets]
    count = draw_animation(options.bag, options.file, pipeline, deployment,
                           Animation(budgets, options.period, options.width))
    print(f"{options.file}: {count} pictures")


def _governor_plot(options: argparse.Namespace) -> None:
    from admn_ros.views.governor_figure import draw_governor, summary

    trace = draw_governor(options.png)
    print(f"{options.png}: {summary(trace)}")


def _depths(options: argparse.Namespace) -> None:
    from admn_ros.baselines.measured_losses import read_losses
    from admn_ros.benchmark.depth_curve import depth_curves, depth_table, draw_depths
    from admn_ros.config import ModelConfig, load_config
    from admn_ros.files import write_json
    from admn_ros.model.costs import ModelCosts

    config = load_config(ModelConfig, options.model / "config.yaml")
    costs = ModelCosts.load(config, options.model).table(options.unit)
    curves = depth_curves(read_losses(options.losses, config), costs)
    data, png = options.out / "depths.json", options.out / "depths.png"
    write_json(data, curves.model_dump(mode="json"))
    draw_depths(curves, png)
    print(f"{depth_table(curves)}{data}\n{png}")
