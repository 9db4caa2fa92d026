# SPDX-License-Identifier: Apache-2.0
"""Result tables as Markdown, from the JSON files of the cells."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from admn_ros.benchmark.tables.config import ALONE, TITLES, WITHOUT_BUDGET, Cell, Method, TablesConfig, plan, possible
from admn_ros.benchmark.tables.effort_text import describe_seeds, describe_trainings
from admn_ros.benchmark.tables.left import describe_left
from admn_ros.benchmark.tables.measures import MEASURES, Measure
from admn_ros.benchmark.tables.results import CellResult
from admn_ros.config import ModelConfig
from admn_ros.model.presets import preset

_DATASETS = {"shards": "the simulated room", "mmfi": "a dataset in MM-Fi's layout",
             "mmfi_224": "a dataset in MM-Fi's layout", "ave": "a dataset in AVE's layout"}
ONE_TABLE: frozenset[Method] = frozenset({"upper_bound", "admn", "admn_ae"})
"""Methods that alone are no reason for one of the further tables."""
NOT_RUN, IMPOSSIBLE, STUCK = "not run", "-", "†"
CORRUPTION_TITLES = {"gdtm-gaussian": "Gaussian noise on RGB and depth",
                     "room-gaussian-rgbd": "Gaussian noise on RGB and depth",
                     "gdtm-lowlight": "low light on RGB, or saturated depth", "gdtm-blur": "blur on RGB",
                     "room-gaussian": "Gaussian noise on RGB, receiver noise on radar",
                     "room-lowlight": "darkness on RGB, or receiver noise on radar",
                     "room-blur": "blur on RGB, receiver noise on radar",
                     "room-all": "every kind of corruption",
                     "mmfi-gaussian": "Gaussian noise on RGB and depth",
                     "ave-rain-noise": "rain and low light on RGB, or wind and fan on sound"}
Results = Mapping[Cell, CellResult]
FIRST: tuple[Method, ...] = (
    "upper_bound", "naive", "rgb_only", "depth_only", "radar_only", "audio_only", "static", "scratch", "mns", "dynmm",
    "dynmm_strict", "dynmm_fusion", "dynmm_fusion_strict", "adamml", "admn", "admn_ae", "universal", "neuralsort",
    "value")
"""Rows of the first table, whose number depends on the dataset."""
PAPER: tuple[tuple[str, str, tuple[Method, ...]], ...] = (
    ("Table 4", "unequal costs", ("upper_bound", "naive_unequal", "admn_unequal")),
    ("Table 5", "supervision of the controller", ("admn", "admn_ae", "admn_task")),
    ("Table 6", "gradients of the controller", ("admn", "straight_through", "progressive")),
    ("Table 7", "one controller per budget, and a universal controller", ("admn", "universal", "neuralsort")))
"""Further tables of the paper: number, title, rows."""


def render(config: TablesConfig, results: Results) -> str:
    """Return all tables of a configuration; cells without a result read "not run"."""
    cells = plan(config)
    corruptions = list(dict.fromkeys(c.corruption for c in cells))
    model, measure = preset(config.model), MEASURES[config.task]
    run = sum(cell in results for cell in cells)
    lines = [
        "# Result tables", "", *_commands(config, results),
        f"Model `{config.model}`, trained on {config.train.samples} samples of `{config.train.split}` and tested on "
        f"{config.test.samples} of `{config.test.split}` of {_DATASETS.get(config.kind, config.kind)}. {run} of "
        f"{len(cells)} cells have results, {_with_intervals(cells, results, measure)} of them with intervals; "
        f"configuration {config.fingerprint}.", "",
        f"{measure.about}: mean and standard deviation over "
        "the seeds of the parts that a method trains itself. Networks that methods share are trained once, so methods "
        "without a part of their own have one number; it has its 95 % interval (bootstrap over recordings of the test "
        f"split) in brackets where it was computed. {STUCK}: no better than the constant predictor. {IMPOSSIBLE}: the "
        "method cannot keep such a budget. DynMM as published bounds only the mean number of layers; its price on "
        "compute is chosen for each budget on the validation split. Learning rates are also chosen on the validation "
        "split, in short runs.", "", *_first_format(cells, results), *([config.notes, ""] if config.notes else [])]
    planned = {cell.method for cell in cells}
    first = (config.table, f"{measure.name} within a budget of layers", FIRST)
    for number, title, methods in (first, *PAPER):
        if not planned & set(methods) - ONE_TABLE:
            continue
        lines += [f"## {number}: {title}", ""]
        if number == "Table 4":
            lines += [f"Budgets count a layer as {_priced(config, model)}.", ""]
        for corruption in corruptions:
            lines += [f"### {CORRUPTION_TITLES.get(corruption, corruption)}", "",
                      *_entries(corruption, methods, cells, results, model, measure, number == config.table), ""]
    lines += ["## Costs", "", "Over the frames of the test split; worst is the most expensive frame of any seed. "
              "Violations: frames that ran more layers than the budget. Training: wall time of the method's last "
              "training, without the networks that it starts from.", ""]
    for corruption in corruptions:
        lines += [f"### {CORRUPTION_TITLES.get(corruption, corruption)}", "",
                  *_costs(corruption, cells, results, measure), ""]
    lines += _by_corruption("Seeds", "The value of every seed.", corruptions,
                            lambda c: describe_seeds(c, cells, results, measure))
    lines += _by_corruption("Trainings", "Trials are short runs, one for each learning rate and price on compute, that "
                            "all seeds share. Seconds of wall time: of the trials, and of the trainings of all seeds "
                            "together. The upper bound is Stage 1, from which the controllers start. Methods that are "
                            "not named run the networks of others; experts of MNS and DynMM are not counted."
                            + (" Nor are the clean epochs, which all corruptions share: "
                               f"{config.efforts.finetune.clean_epochs} of Stage 1, "
                               f"{config.efforts.expert.clean_epochs} of the networks of the baselines."
                               if config.shared_clean else ""),
                            corruptions, lambda c: describe_trainings(c, cells, results, config.efforts))
    if planned & {"removal_layerdrop", "removal_plain"}:
        lines += ["## Figure 6, Tables 8 and 9: layers removed", "", f"{_capital(measure)} when layers are removed in "
                  "the every-other order.", ""]
        removed = dict.fromkeys(c.corruption for c in cells if c.method.startswith("removal"))
        for corruption in removed:
            lines += [f"### {CORRUPTION_TITLES.get(corruption, corruption)}", "",
                      *_removal(corruption, results, measure), ""]
    lines += describe_left(cells, results, model, lambda name: CORRUPTION_TITLES.get(name, name))
    return "\n".join(lines).rstrip() + "\n"


def _by_corruption(title: str, about: str, corruptions: Sequence[str],
                   describe: Callable[[str], list[str]]) -> list[str]:
    """Return a section with a table for each corruption that has one; no line if none has."""
    lines: list[str] = []
    for corruption in corruptions:
        if table := describe(corruption):
            lines += [f"### {CORRUPTION_TITLES.get(corruption, corruption)}", "", *table, ""]
    return [f"## {title}", "", about, "", *lines] if lines else []


def seeds_of(results: Results, corruption: str, method: Method, layers: int | None) -> list[CellResult]:
    """Return the results of all seeds of a method at a budget."""
    return [r for c, r in sorted(results.items(), key=lambda entry: entry[0].seed)
            if (c.corruption, c.method, c.layers) == (corruption, method, layers)]


def _commands(config: TablesConfig, results: Results) -> list[str]:
    """Return a code block of what makes the dataset and the cells; empty where neither is known."""
    made = Counter(result.command for result in results.values()).most_common(1)
    commands = [*([config.data] if config.data else []), *(command for command, _ in made)]
    return ["```", *commands, "```", ""] if commands else []


def _first_format(cells: Sequence[Cell], results: Results) -> list[str]:
    """Return the note about cells of the first format, if there are any."""
    old = sum(c in results and results[c].format == "admn-table-cell-1" for c in cells)
    if not old:
        return []
    return [f"{old} cells were measured with batches of frames, before the tables used the harness of `admn evaluate`; "
            "they have no intervals. To measure a cell again, delete its JSON file and run `admn tables`.", ""]


def _with_intervals(cells: Sequence[Cell], results: Results, measure: Measure) -> int:
    return sum(c in results and measure.interval(results[c].errors) is not None for c in cells)


def _capital(measure: Measure) -> str:
    return "Mean error in centimetres" if measure.unit == "cm" else "Accuracy in percent"


def _priced(config: TablesConfig, model: ModelConfig) -> str:
    return ", ".join(f"{config.unequal.get(m, 1)} ({m})" for m in model.modalities)


def _budgets(corruption: str, methods: Sequence[Method], cells: Iterable[Cell]) -> list[int]:
    return sorted({c.layers for c in cells
                   if c.corruption == corruption and c.method in methods and c.layers is not None})


def _entries(corruption: str, methods: Sequence[Method], cells: Sequence[Cell], results: Results,
             model: ModelConfig, measure: Measure, with_bounds: bool) -> list[str]:
    budgets = _budgets(corruption, methods, cells)
    head = [f"| {measure.unit} | {' | '.join(f'{b} layers' for b in budgets)} |", "|---" * (len(budgets) + 1) + "|"]
    rows = []
    if with_bounds:
        known = next((r for c, r in results.items() if c.corruption == corruption), None)
        constant = NOT_RUN if known is None else f"{measure.constant(known):.1f}"
        rows.append(f"| Constant predictor | {' | '.join([constant] * len(budgets))} |")
    for method in methods:
        if not any(c.method == method for c in cells) or (method in ALONE and not possible(method, None, model)):
            continue
        entries = []
        for budget in budgets:
            layers = None if method in WITHOUT_BUDGET else budget
            found = seeds_of(results, corruption, method, layers)
            entries.append(_entry(found, measure) if possible(method, layers, model) else IMPOSSIBLE)
        rows.append(f"| {TITLES[method]} | {' | '.join(entries)} |")
    return head + rows


def _entry(found: Sequence[CellResult], measure: Measure) -> str:
    if not found:
        return NOT_RUN
    values, interval = [measure.value(r.errors) for r in found], measure.interval(found[0].errors)
    stuck = STUCK if all(r.at_constant for r in found) else ""
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    if len(values) == 1 and interval is not None:
        spread = f" [{interval[0]:.1f}, {interval[1]:.1f}]"
    return f"{statistics.mean(values):.1f}{spread}{stuck}"


def _costs(corruption: str, cells: Sequence[Cell], results: Results, measure: Measure) -> list[str]:
    with_median = measure.unit == "cm"
    lines = [f"| method | budget | seeds |{' median cm |' * with_median} accuracy | layers mean / worst "
             "| GFLOPs mean / worst | violations | training s |", "|---" * (8 + with_median) + "|"]
    keys = dict.fromkeys((c.method, c.layers) for c in cells if c.corruption == corruption)
    for method, layers in sorted(keys, key=lambda key: (list(TITLES).index(key[0]), key[1] or 0)):
        found = [r for r in seeds_of(results, corruption, method, layers) if r.costs is not None]
        if not found or method.startswith("removal"):
            continue
        lines.append(f"| {TITLES[method]} | {layers or 'all'} | {len(found)} | "
                     + (f"{_mean(found, lambda r: r.errors.median_cm or 0.0):.1f} | " if with_median else "") +
                     f"{_mean(found, lambda r: r.errors.accuracy):.2f} | "
                     + " | ".join(_cost_entries(found)) + " |")
    return lines


def _cost_entries(found: Sequence[CellResult]) -> list[str]:
    costs = [r.costs for r in found if r.costs is not None]
    trained = [r.training.seconds for r in found if r.training is not None]
    return [f"{statistics.mean(c.layers_mean for c in costs):.1f} / {max(c.layers_max for c in costs)}",
            f"{statistics.mean(c.gflops_mean for c in costs):.4f} / {max(c.gflops_max for c in costs):.4f}",
            str(sum(c.violations for c in costs)), f"{statistics.mean(trained):.0f}" if trained else IMPOSSIBLE]


def _mean(found: Sequence[CellResult], value: Callable[[CellResult], float]) -> float:
    return statistics.mean(map(value, found))


def _removal(corruption: str, results: Results, measure: Measure) -> list[str]:
    lines = []
    for method in ("removal_layerdrop", "removal_plain"):
        found = seeds_of(results, corruption, method, None)
        if not found:
            lines += [f"{TITLES[method]}: {NOT_RUN}", ""]
            continue
        removed = found[0].removed
        counts = sorted(next(iter(removed.values())))
        lines += [f"{TITLES[method]}:", "", f"| removed from | {' | '.join(map(str, counts))} |",
                  "|---" * (len(counts) + 1) + "|"]
        lines += [f"| {'each' if name == 'all' else name} | "
                  + " | ".join(f"{measure.value(row[k]):.1f}" for k in counts) + " |" for name, row in removed.items()]
        lines.append("")
    return lines[:-1]
