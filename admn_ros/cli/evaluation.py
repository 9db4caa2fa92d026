# SPDX-License-Identifier: Apache-2.0
"""Commands that evaluate a model: evaluate, rank."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Column, Table

from admn_ros.cli.command import (
    CONSOLE,
    LARGEST_SEED,
    Commands,
    Parser,
    add_command,
    add_workers,
    progress_bar,
    warn,
    whole,
)
from admn_ros.cli.plan_options import add_plan_options, given_values, parse_options, spell, with_deployment
from admn_ros.errors import ConfigError, InputError

if TYPE_CHECKING:
    from admn_ros.baselines.measured_losses import MeasuredLosses
    from admn_ros.evaluation.plan import EvaluationPlan
    from admn_ros.evaluation.source import EvaluationSource

DETAILS: Mapping[str, Mapping[str, Any]] = {
    "model": {"metavar": "DIR"}, "corruptions": {"metavar": "NAME"}, "policies": {"metavar": "NAME"},
    "budgets": {"metavar": "LIMIT", "type": float}, "deployment": {"metavar": "FILE"},
    "true_class": {"metavar": "CLASS"}, "truth": {"metavar": "SOURCE"},
    "trace": {"metavar": "FILE"}, "recorded_budgets": {"metavar": "TOPIC", "nargs": "?", "const": "/admn/budget"},
    "governor": {"metavar": "FILE", "nargs": "?", "const": ""}}


def add_commands(commands: Commands) -> None:
    """Add the command that evaluates a model."""
    add_command(commands, "evaluate", "replay recordings or a dataset through a model and score its estimates",
                _evaluate, derive=_add_options)
    add_command(commands, "rank", "measure the errors of all allocations of layers on a validation split, for the "
                                  "policies best_static and oracle", _rank, derive=_add_rank_options)


def _add_options(new: Parser) -> None:
    from admn_ros.datasets.open import READERS
    from admn_ros.evaluation.plan import BAG, BagPlan, EvaluationPlan

    new.add_argument("--out", type=Path, required=True, metavar="DIR", help="results folder to write")
    new.add_argument("--plan", type=Path, metavar="FILE",
                     help="YAML file with fields of the evaluation plan; options take precedence")
    add_plan_options(new, EvaluationPlan, {**DETAILS, "kind": {"choices": (*READERS, BAG)}}, skip=("bag",))
    add_workers(new, "number of processes (default: 1)")
    new.add_argument("--resume", action="store_true", help="continue an interrupted evaluation")
    new.add_argument("--force", action="store_true", help="replace the results in the folder")
    new.add_argument("--save-metrics", action="store_true", help="write the main figures into the model folder, as "
                                                                 "metrics.json")
    new.add_argument("--no-report", action="store_true", help="write no report; --resume adds it later")
    add_plan_options(new.add_argument_group("recordings"), BagPlan, DETAILS)


def _add_rank_options(new: Parser) -> None:
    from admn_ros.baselines.measured_losses import VALIDATION
    from admn_ros.datasets.open import READERS
    from admn_ros.evaluation.plan import EvaluationPlan
    from admn_ros.evaluation.rank import CORRUPTION, TRIED

    shown = " ".join(map(str, TRIED))
    new.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSON file to write")
    new.add_argument("--layers", type=whole(1), nargs="+", default=TRIED, metavar="N",
                     help=f"numbers of layers of a modality, beside none and all (default: {shown})")
    add_plan_options(new, EvaluationPlan, {
        **DETAILS, "sources": {"nargs": 1}, "kind": {"choices": READERS, "help": "format of the dataset (default: "
                                                                                 "shards)"},
        "split": {"help": f"split of the dataset (default: {VALIDATION})"},
        "corruptions": {"nargs": 1, "metavar": "NAME", "help": "corruption preset; its damage divides the frames "
                                                               f"(default: {CORRUPTION})"},
        "seed": {"help": "seed of the corruption (default: 0)", "type": whole(0, LARGEST_SEED)},
        "limit": {"help": "largest number of frames, evenly spaced (default: all)", "type": whole(1)}},
        only=("sources", "kind", "split", "model", "corruptions", "variant", "seed", "limit", "device"))


def _rank(options: argparse.Namespace) -> None:
    from admn_ros.baselines.measured_losses import VALIDATION, write_losses
    from admn_ros.evaluation.plan import EvaluationPlan
    from admn_ros.evaluation.rank import CORRUPTION, rank_allocations

    if options.out.is_dir():  # before the measurement, which takes minutes
        raise InputError("--out", f"{options.out}, a folder", "a JSON file to write")
    plan = parse_options(EvaluationPlan, {"split": VALIDATION, "corruptions": [CORRUPTION],
                                          **given_values(options, EvaluationPlan)})
    with progress_bar("frames") as progress:
        measured = rank_allocations(plan, options.layers, progress)
    write_losses(options.out, measured)
    _print_ranking(measured)
    print(options.out)


def _evaluate(options: argparse.Namespace) -> None:
    from admn_ros.evaluation.results_folder import TIMINGS
    from admn_ros.evaluation.run import evaluate
    from admn_ros.evaluation.workers import open_source
    from admn_ros.files import read_json

    plan = _plan(options)
    source = open_source(plan)
    with progress_bar("frames") as progress:
        results = evaluate(plan, options.out, source=source, jobs=options.jobs or 1, scheduler=options.scheduler,
                           resume=options.resume, force=options.force, progress=progress)
    _warn(results)
    _print(results)
    _print_speed(read_json(options.out / TIMINGS))
    print(options.out)
    if options.save_metrics:
        from admn_ros.evaluation.model_metrics import save_metrics

        print(save_metrics(Path(plan.model), results))
    if not options.no_report:
        _report(plan, options.out, source)


def _report(plan: EvaluationPlan, folder: Path, source: EvaluationSource) -> None:
    from admn_ros.evaluation.report.context import gather_context
    from admn_ros.evaluation.report.make import make_report

    with CONSOLE.status("report"):
        gather_context(plan, folder, source)
        page = make_report(folder)
    print(page)


def _plan(options: argparse.Namespace) -> EvaluationPlan:
    """Return the plan of the file, if there is one, with the values of the options.

    Raises:
        ConfigError: a value is missing or invalid, or an option for recordings meets a dataset.
        InputError: a source does not exist.
    """
    from admn_ros.config import read_yaml
    from admn_ros.evaluation.plan import BagPlan, EvaluationPlan

    read = {} if options.plan is None else read_yaml(options.plan)
    if not isinstance(read, dict) or not isinstance(read.get("bag") or {}, dict):
        raise ConfigError(str(options.plan), "no mapping", f"a mapping with {', '.join(EvaluationPlan.model_fields)}")
    given, given_bag = given_values(options, EvaluationPlan), given_values(options, BagPlan)
    values = {**read, **given}
    values.setdefault("kind", _kind([Path(source) for source in given["sources"]]))
    if values["kind"] == "bag":
        values["bag"] = with_deployment({**(read.get("bag") or {}), **given_bag})
    elif given_bag:
        raise ConfigError.conflict(spell(next(iter(given_bag))), f"a source of kind {values['kind']}",
                                   "it applies to recordings only")
    return parse_options(EvaluationPlan, values, options.plan, {*given, *given_bag})


def _kind(sources: list[Path]) -> str:
    """Return the kind of the sources, from their files."""
    for source in sources:
        if not source.exists():
            raise InputError.missing(str(source), "a dataset folder, a rosbag2 folder, or one .mcap or .db3 file")
    from admn_ros.recordings.bag_files import bags_within

    first = sources[0]
    # A recording that has lost its metadata.yaml is still a recording; its reader reports that.
    files = (*first.glob("*.mcap*"), *first.glob("*.db3*"), *first.glob("metadata.yaml"), *bags_within(first))
    return "bag" if first.is_file() or files else "shards"


def _print(results: Mapping[str, Any]) -> None:
    """Print the main metrics."""
    from admn_ros.evaluation.report.data import budget_text

    model = results["described_model"]
    if not model["trained"]:
        CONSOLE.print(f"model '{model['name']}' is UNTRAINED: its estimates are random")
    first, *others = results["settings"]["policies"]
    table = Table("corruption", Column("policy", overflow="fold"), "budget", "frames", "no estimate", "mean, cm",
                  "median", "p95", "in 50, 90, 95 %", "accuracy", "ECE", "layers", "over budget",
                  *([f"mean minus {first}, cm"] if others else []),
                  title=f"{model['name']}: position error and 95 % interval over scenes", title_justify="left")
    for cell in results["cells"]:
        difference = [_more(cell["versus_first_policy"])] if others else []
        table.add_row(*_row(cell, budget_text(cell["budget"], long=True)), *difference)
    _print_table(table)
    _print_regrets(results)
    for line in _truth_lines(results):
        print(line)
    frames = results["cells"][0]["frames"]
    if frames["without_target"]:
        print(f"no target in {frames['without_target']} of {frames['n']} frames of the first line, by class none: the "
              "node publishes no pose for such frames, but their position errors count here")
    known = [cell["constant"]["mean"] for cell in results["cells"] if cell["constant"] is not None]
    if known:
        print(f"mean error of the constant mean position: {known[0]:.1f} cm")
    for reason in dict.fromkeys(reason for cell in results["cells"] for reason in cell["why_null"].values()):
        print(f"omitted: {reason}")


def _print_regrets(results: Mapping[str, Any]) -> None:
    """Print the errors above those of the oracle, one column for each budget, if an oracle was evaluated."""
    from admn_ros.baselines.named import is_oracle
    from admn_ros.evaluation.report.data import budget_text, percent_above

    oracle = next(filter(is_oracle, results["settings"]["policies"]), None)
    if oracle is None:
        return
    cells = results["cells"]
    budgets = list(dict.fromkeys(budget_text(cell["budget"], long=True) for cell in cells))
    table = Table("corruption", Column("policy", overflow="fold"), *budgets, title_justify="left",
                  title=f"mean error above that of {oracle}, where both have an estimate, and 95 % interval")
    rows: dict[tuple[str, str], list[str]] = {}
    for cell in cells:
        rows.setdefault((cell["corruption"], cell["policy"]), []).append(percent_above(cell["regret"]))
    for (corruption, policy), shown in rows.items():
        table.add_row(corruption, policy, *shown)
    _print_table(table)


def _print_table(table: Table) -> None:
    Console(highlight=False, width=None if CONSOLE.is_terminal else 160).print(table)


def _print_ranking(measured: MeasuredLosses) -> None:
    """Print the best constant allocation within each number of layers."""
    from admn_ros.baselines.measured_losses import least_within

    losses = measured.losses()
    smallest = min(pattern.frames for pattern in measured.patterns)
    print(f"{len(measured.allocations)} allocations on {measured.frames} frames with {len(measured.patterns)} patterns "
          f"of damage, of which the rarest has {smallest} frames")
    table = Table("layers", "best constant allocation", "mean, cm", title=f"{measured.model}: {measured.corruption}, "
                  f"{measured.split}", title_justify="left")
    before = None
    for layers in range(1, sum(measured.depths.values()) + 1):
        best = least_within(losses, layers)
        if best is not None and best != before:
            chosen = ", ".join(f"{m} {k}" for m, k in zip(measured.depths, best[0], strict=True) if k)
            table.add_row(str(layers), chosen, f"{100 * best[1]:.1f}")
        before = best
    _print_table(table)


def _truth_lines(results: Mapping[str, Any]) -> Iterable[str]:
    """Yield a line about the ground truth of each recording."""
    for bag in results["source"].get("bags", ()):
        truth = bag["truth"]
        if truth is not None:
            yield (f"ground truth of {bag['name']}: {truth['positions']} positions ({truth['from']}); "
                   f"{truth['frames_with_position']} frames have a position")
        elif bag["why_no_truth"]:
            yield f"{bag['why_no_truth']} (--truth)"


def _truth_warnings(bag: Mapping[str, Any]) -> Iterable[str]:
    """Yield a line if the ground truth of a recording is of no use."""
    if bag["truth"] is not None and bag["truth"]["frames_with_position"] == 0:
        yield (f"ground truth {bag['truth']['from']}: no frame is between two of its positions (--max-gap-s, "
               "--align nearest, --offset-s)")


def _warn(results: Mapping[str, Any]) -> None:
    """Print what is wrong with the recordings: losses, and inputs that were of no use."""
    from admn_ros.replay.bag_info import input_warnings

    first = results["settings"]["corruptions"][0]
    for number, bag in enumerate(results["source"].get("bags", ())):
        stats = results["pieces"].get(f"{first}-{number:05d}", {})
        # Results of an earlier version have no remarks and no refusals.
        warn(bag["name"], [*bag.get("remarks", ()), *input_warnings(stats, bag.get("topics_similar", {})),
                           *_truth_warnings(bag), *stats.get("budget_refusals", ())])


def _print_speed(timings: Mapping[str, Any]) -> None:
    times = timings["times_real_time"]
    if not timings["frames_done"]:
        return
    CONSOLE.print(f"{timings['frames_done']} frames with {timings['variants_per_frame']} inferences each in "
                  f"{timings['wall_s']:.0f} s: {timings['frames_per_s']:.1f} frames/s"
                  + (f", {times:.1f} times real time" if times else ""))


def _row(cell: Mapping[str, Any], budget: str) -> list[str]:
    error, classes, coverage = cell["error_cm"], cell["classes"], cell["coverage"]
    frames = cell["frames"]
    position = ["-"] * 4 if error is None else [
        f"{error['mean']:.1f}{_within(error['mean_interval'])}", f"{error['median']:.1f}", f"{error['p95']:.1f}",
        ", ".join(f"{100 * inside['share']:.0f}" for inside in coverage.values())]
    # Results of an earlier version have no calibration error.
    sure = None if classes is None else classes.get("calibration_error")
    return [cell["corruption"], cell["policy"], budget, str(frames["n"]), str(frames["without_estimate"]), *position,
            "-" if classes is None else f"{classes['accuracy']:.1%}", "-" if sure is None else f"{sure:.3f}",
            f"{cell['layers']['mean']:.1f}",
            str(cell["violations"])]


def _more(versus: Mapping[str, Any] | None) -> str:
    return "" if versus is None else f"{versus['error_cm_mean']:+.1f}{_within(versus['interval'])}"


def _within(interval: list[float] | None) -> str:
    return "" if interval is None else f" ({interval[0]:.1f} to {interval[1]:.1f})"
