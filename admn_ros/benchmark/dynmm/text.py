# SPDX-License-Identifier: Apache-2.0
"""`dynmm.md`: the results of the DynMM experiments as tables."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from admn_ros.benchmark.dynmm.results import DynmmResults, Trial
from admn_ros.benchmark.dynmm.strategies import STRATEGIES
from admn_ros.benchmark.tables.results import CONSTANT_MARGIN
from admn_ros.benchmark.tables.text import IMPOSSIBLE, STUCK


def render(results: DynmmResults) -> str:
    """Return the Markdown page."""
    parts = ["# DynMM on robot data", "", _about(results), ""]
    if results.notes:
        parts += [results.notes, ""]
    parts += [*_experts(results), *_sweep(results), *_ablation(results)]
    return "\n".join(parts).rstrip() + "\n"


def _about(results: DynmmResults) -> str:
    train, test = results.samples
    encoders = f"encoders that start from those of `{results.encoders}`, " if results.encoders else ""
    return (f"Modality-level DynMM (Xue and Marculescu 2023) in the simulated room: preset `{results.model}`, "
            f"corruption `{results.corruption}`, {encoders}{train} training and {test} test samples, configuration "
            f"{results.config}. A gate selects one expert per frame and pays lambda times its cost C, in "
            "operations of one forward pass relative to the cheapest. Errors are mean distances; the mean training "
            f"position has {results.constant_cm:.1f} cm, and {STUCK} marks networks that are no better. In brackets: "
            "95 % interval, bootstrap over recordings. With several seeds: mean and standard deviation. "
            f"Made by `{results.command}`.")


def _experts(results: DynmmResults) -> list[str]:
    kinds = sorted({damage for t in results.of("expert") for damage in t.error_by_damage_cm})
    rows = ["## Experts alone (static networks)", "",
            f"| expert | C | error, cm |{''.join(f' cm, {kind} damaged |' for kind in kinds)} classes | seeds |",
            "|---|---|---|---|---|" + "---|" * len(kinds)]
    for name, cost in zip(results.experts, results.costs, strict=True):
        trials = [t for t in results.of("expert") if t.expert == name]
        if trials:
            damaged = "".join(f" {_damaged(trials, kind)} |" for kind in kinds)
            rows.append(f"| {name} | {cost:.2f} | {_errors(results, trials)} |{damaged} {_classes(trials)} | "
                        f"{len(trials)} |")
    return [*rows, ""]


def _sweep(results: DynmmResults) -> list[str]:
    seed = min((t.seed for t in results.trials), default=0)
    trials = sorted((t for t in results.of("joint") if t.seed == seed), key=lambda t: t.price or 0.0)
    if len(trials) < 2:
        return []
    shares = " | ".join(results.experts)
    rows = ["## Price on compute (its Figures 4 and 9)", "",
            "Two stages, joint training, one seed; share of the test frames that each expert answers. Figure: "
            "[dynmm_sweep.png](dynmm_sweep.png).", "",
            f"| lambda | error, cm | classes | GFLOPs | mean C | {shares} |", "|---|---|---|---|---|" + "---|" *
            len(results.experts)]
    rows += [f"| {t.price:g} | {_errors(results, [t])} | {_classes([t])} | {t.gflops:.4f} | {t.cost:.2f} | "
             f"{_shares(t)} |" for t in trials]
    rows += ["", "By what was damaged:", "", f"| lambda | damaged | error, cm | {shares} |",
             "|---|---|---|" + "---|" * len(results.experts)]
    rows += [f"| {t.price:g} | {damage} | {_damaged([t], damage)} | {' | '.join(_percent(x) for x in found)} |"
             for t in trials for damage, found in t.shares_by_damage.items()]
    return [*rows, ""]


def _ablation(results: DynmmResults) -> list[str]:
    if not results.of("gate_only"):
        return []
    rows = [f"## Training strategies (its Table 5), lambda {results.price:g}", "",
            "The static network is the largest expert alone. One stage has as many epochs as two. Collapsed: one "
            "expert answers 99 % of the frames or more."
            + (f" All start from the encoders of `{results.encoders}`." if results.encoders else ""), "",
            "| training | error, cm | classes | mean C | collapsed | seeds |", "|---|---|---|---|---|---|"]
    static = [t for t in results.of("expert") if t.expert == results.experts[-1]]
    rows.append(_row(results, "static network", static))
    rows += [_row(results, title, found) for strategy, title in STRATEGIES.items()
             if (found := results.of(strategy, results.price))]
    rows += ["", "By seed: error, and share of the frames on each expert.", "",
             f"| training | seed | error, cm | {' | '.join(results.experts)} |", "|---|---|---|" + "---|" *
             len(results.experts)]
    rows += [f"| {title.partition(':')[0] if strategy == 'one_stage' else strategy.replace('_', ' ')} | {t.seed} | "
             f"{_errors(results, [t])} | {_shares(t)} |"
             for strategy, title in STRATEGIES.items() for t in results.of(strategy, results.price)]
    return [*rows, ""]


def _row(results: DynmmResults, title: str, trials: Sequence[Trial]) -> str:
    collapsed = [results.experts[t.collapsed] for t in trials if t.collapsed is not None]
    text = "; ".join(f"{collapsed.count(name)} of {len(trials)} to {name}" for name in dict.fromkeys(collapsed))
    cost = statistics.mean(t.cost for t in trials)
    state = text or ("no" if trials[0].shares else IMPOSSIBLE)
    return f"| {title} | {_errors(results, trials)} | {_classes(trials)} | {cost:.2f} | {state} | {len(trials)} |"


def _errors(results: DynmmResults, trials: Sequence[Trial]) -> str:
    values = [t.error_cm for t in trials]
    stuck = STUCK if min(values) > (1 - CONSTANT_MARGIN) * results.constant_cm else ""
    if len(trials) == 1:
        ends = trials[0].interval_cm
        return f"{values[0]:.1f}{stuck}" + (f" [{ends[0]:.1f}, {ends[1]:.1f}]" if ends else "")
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}{stuck}"


def _damaged(trials: Sequence[Trial], damage: str) -> str:
    values = [t.error_by_damage_cm[damage] for t in trials if damage in t.error_by_damage_cm]
    return f"{statistics.mean(values):.1f}" if values else IMPOSSIBLE


def _classes(trials: Sequence[Trial]) -> str:
    return _percent(statistics.mean(t.accuracy for t in trials))


def _shares(trial: Trial) -> str:
    return " | ".join(_percent(x) for x in trial.shares)


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"
