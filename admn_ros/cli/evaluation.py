# SPDX-License-Identifier: Apache-2.0
"""Commands that judge a model: evaluate."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from admn_ros.cli.bag_options import add_truth_options, truth_settings
from admn_ros.cli.command import CONSOLE, Commands, add_command, progress_bar

if TYPE_CHECKING:
    from admn_ros.evaluation.plan import EvaluationPlan

KINDS = ("auto", "shards", "gdtm", "gdtm_cache", "mmfi", "mmfi_cache", "ave", "ave_cache", "bag")
UNITS = ("layers", "gflops", "milliseconds", "joules", "watts")


def add_commands(commands: Commands) -> None:
    """Evaluate a model."""
    new = add_command(commands, "evaluate", "replay recordings through a model and say how well it does", _evaluate)
    new.add_argument("source", nargs="+", type=Path, help="a dataset folder, or one or several rosbag2 recordings")
    new.add_argument("--model", type=Path, required=True, help="model folder")
    new.add_argument("--out", type=Path, required=True, help="folder for the results")
    new.add_argument("--budgets", nargs="+", default=["inf"], metavar="LIMIT", help="limits; inf is everything")
    new.add_argument("--unit", default="layers", choices=UNITS, help="of the limits (default: layers)")
    new.add_argument("--rate-hz", type=float, help="frames per second, for watts")
    new.add_argument("--corruption", nargs="+", default=["clean"], metavar="NAME", help="clean, or presets")
    new.add_argument("--variant", default="paper", choices=("paper", "code"), help="of the presets (default: paper)")
    new.add_argument("--policy", nargs="+", default=["allocate"], metavar="NAME",
                     help="what chooses layers: allocate (default), naive, upper, prefix, random, only:rgb, "
                          "static:rgb=6,depth=6")
    new.add_argument("--kind", default="auto", choices=KINDS, help="of the source (default: by its files)")
    new.add_argument("--split", default="test_time", help="of a dataset (default: test_time)")
    new.add_argument("--limit", type=int, help="at most so many frames, evenly spread; of each bag")
    new.add_argument("--seed", type=int, default=0, help="of corruptions and intervals (default: 0)")
    new.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    new.add_argument("--jobs", type=int, default=1, help="processes (default: 1)")
    new.add_argument("--resume", action="store_true", help="continue an interrupted evaluation")
    new.add_argument("--force", action="store_true", help="replace an evaluation that is there")
    new.add_argument("--no-report", action="store_true", help="figures alone; --resume makes the report later")
    _add_bag_options(new.add_argument_group("bags"))


def _add_bag_options(bags: argparse._ArgumentGroup) -> None:
    add_truth_options(bags)
    bags.add_argument("--search-s", type=float, default=0.0, help="look for the offset so far around (default: 0)")
    bags.add_argument("--hold-s", type=float, default=2.0, help="a corruption holds so long (default: 2)")
    bags.add_argument("--trace", type=Path, metavar="FILE", help="CSV time_s,limit,unit: one more budget")
    bags.add_argument("--recorded-budgets", nargs="?", const="/admn/budget", metavar="TOPIC",
                      help="the bag's own budgets: one more (default: /admn/budget)")
    bags.add_argument("--governor", nargs="?", const="", metavar="FILE",
                      help="what the governor would grant on the bag's temperatures, battery and requests: one more")


def _evaluate(options: argparse.Namespace) -> None:
    from admn_ros.config import parse_config
    from admn_ros.evaluation.plan import EvaluationPlan
    from admn_ros.evaluation.results_folder import TIMINGS
    from admn_ros.evaluation.run import evaluate
    from admn_ros.files import read_json

    kind = _kind(options.source, options.kind)
    if kind != "bag":
        _refuse_bag_options(options)
    plan = parse_config(EvaluationPlan, {
        "sources": [str(s) for s in options.source], "kind": kind,
        "split": options.split, "model": str(options.model), "corruptions": options.corruption,
        "variant": options.variant, "budgets": [_limit(b) for b in options.budgets], "unit": options.unit,
        "policies": options.policy, "seed": options.seed, "limit": options.limit, "rate_hz": options.rate_hz,
        "device": options.device, "bag": _bag_plan(options) if kind == "bag" else None}, "arguments")
    with progress_bar("frames") as progress:
        results = evaluate(plan, options.out, jobs=options.jobs, resume=options.resume, force=options.force,
                           progress=progress)
    _print(results)
    _print_speed(read_json(options.out / TIMINGS))
    print(options.out)
    if not options.no_report:
        _report(plan, options.out)


def _report(plan: EvaluationPlan, folder: Path) -> None:
    from admn_ros.evaluation.report.context import gather_context
    from admn_ros.evaluation.report.make import make_report

    with CONSOLE.status("report"):
        gather_context(plan, folder)
        page = make_report(folder)
    print(page)


def _refuse_bag_options(options: argparse.Namespace) -> None:
    from admn_ros.errors import InputError

    for name in ("sensors", "truth", "true_class", "trace", "recorded_budgets", "governor"):
        if getattr(options, name) is not None:
            raise InputError(f"--{name.replace('_', '-')}", "a dataset", "it with bags alone")


def _bag_plan(options: argparse.Namespace) -> dict[str, Any]:
    return {**truth_settings(options), "search_s": options.search_s, "hold_s": options.hold_s,
            "trace": None if options.trace is None else str(options.trace),
            "recorded_budgets": options.recorded_budgets, "governor": options.governor}


def _kind(sources: list[Path], kind: str) -> str:
    """What a source is, by its files."""
    from admn_ros.errors import InputError

    for source in sources:
        if not source.exists():
            raise InputError(str(source), "nothing there",
                             "a dataset folder, a rosbag2 folder, or one .mcap or .db3 file")
    if kind != "auto":
        return kind
    first = sources[0]
    # A bag whose metadata.yaml was lost is still a bag, and is told so.
    files = (*first.glob("*.mcap*"), *first.glob("*.db3*"), *first.glob("metadata.yaml"))
    return "bag" if first.suffix in (".mcap", ".db3", ".bag") or files else "shards"


def _limit(text: str) -> float | None:
    from admn_ros.errors import InputError

    try:
        limit = float(text)
    except ValueError as error:
        raise InputError("--budgets", text, "numbers, or inf") from error
    return None if math.isinf(limit) and limit > 0 else limit


def _print(results: Mapping[str, Any]) -> None:
    """The figures that are looked at first."""
    model = results["described_model"]
    if not model["trained"]:
        CONSOLE.print(f"model '{model['name']}' is UNTRAINED: its estimates mean nothing")
    table = Table("corruption", "policy", "budget", "frames", "none", "mean cm", "median", "p95", "in 90 %", "class",
                  "layers", "over", title=f"{model['name']}, 95 % intervals by scene", title_justify="left")
    several = len(results["settings"]["policies"]) > 1
    if several:
        table.add_column(f"more than {results['settings']['policies'][0]}")
    for cell in results["cells"]:
        table.add_row(*_row(cell), *([_more(cell["versus_first_policy"])] if several else []))
    Console(highlight=False, width=None if CONSOLE.is_terminal else 160).print(table)
    known = [cell["constant"]["mean"] for cell in results["cells"] if cell["constant"] is not None]
    if known:
        print(f"knowing nothing but the mean position: {known[0]:.1f} cm")
    for reason in dict.fromkeys(reason for cell in results["cells"] for reason in cell["why_null"].values()):
        print(f"left out: {reason}")


def _print_speed(timings: Mapping[str, Any]) -> None:
    times = timings["times_real_time"]
    if not timings["frames_done"]:
        return
    CONSOLE.print(f"{timings['frames_done']} frames, each {timings['variants_per_frame']} times, in "
                  f"{timings['wall_s']:.0f} s: {timings['frames_per_s']:.1f} frames/s"
                  + (f", {times:.1f} times real time" if times else ""))


def _row(cell: Mapping[str, Any]) -> list[str]:
    error, classes, coverage = cell["error_cm"], cell["classes"], cell["coverage"]
    frames, budget = cell["frames"], cell["budget"]
    limit = budget.get("from") or ("all" if budget["limit"] is None else f"{budget['limit']:g} {budget['unit']}")
    place = ["-"] * 4 if error is None else [
        f"{error['mean']:.1f}{_within(error['mean_interval'])}", f"{error['median']:.1f}", f"{error['p95']:.1f}",
        f"{coverage['90%']['share']:.0%}"]
    return [cell["corruption"], cell["policy"], limit, str(frames["n"]), str(frames["without_estimate"]), *place,
            "-" if classes is None else f"{classes['accuracy']:.1%}", f"{cell['layers']['mean']:.1f}",
            str(cell["violations"])]


def _more(versus: Mapping[str, Any] | None) -> str:
    return "" if versus is None else f"{versus['error_cm_mean']:+.1f}{_within(versus['interval'])}"


def _within(interval: list[float] | None) -> str:
    return "" if interval is None else f" ({interval[0]:.1f} to {interval[1]:.1f})"
