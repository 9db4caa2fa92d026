# SPDX-License-Identifier: Apache-2.0
"""`segmentation.md`: the results of the segmentation study as tables."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from admn_ros.benchmark.dynmm.strategies import STRATEGIES
from admn_ros.benchmark.segmentation.results import SegmentationResults, SegmentationTrial


def render(results: SegmentationResults) -> str:
    """Return the Markdown page."""
    parts = ["# RGB-D segmentation with DynMM", "", _about(results), ""]
    if results.notes:
        parts += [results.notes, ""]
    parts += [*_costs(results), *_sweep(results), *_classes(results), *_ablation(results)]
    return "\n".join(parts).rstrip() + "\n"


def _about(results: SegmentationResults) -> str:
    train, test = results.samples
    return ("Fusion-level DynMM (Xue and Marculescu 2023) on RGB-D images of the simulated room, in place of NYU "
            f"Depth V2: {train} training images, {test} test images of the split `{results.test}`, corruption "
            f"`{results.corruption}`, configuration {results.config}. RGB runs whole; a gate chooses for each image "
            "how many of the four depth blocks run and are fused, and pays lambda times the operations of that choice "
            "relative to none. In brackets: 95 % interval of the mean intersection over union (mIoU), bootstrap over "
            f"rooms. Made by `{results.command}`.")


def _costs(results: SegmentationResults) -> list[str]:
    shown = " | ".join(f"{m:.1f}" for m in results.mmacs_by_blocks)
    return ["| depth blocks | 0 | 1 | 2 | 3 | 4 | gate |", "|---|---|---|---|---|---|---|",
            f"| million multiply-accumulates | {shown} | {results.gate_mmacs:.2f} |", ""]


def _sweep(results: SegmentationResults) -> list[str]:
    trials = results.sweep
    if not trials:
        return []
    seed = trials[0].seed
    rows = ["## mIoU against operations", "", "Two stages, joint training, one seed. Figure: "
            "[segmentation.png](segmentation.png); decisions: "
            "[segmentation_decisions.png](segmentation_decisions.png).", "",
            "| network | mIoU, % | MMACs | 0 blocks | 1 | 2 | 3 | 4 |", "|---|---|---|---|---|---|---|---|"]
    for t in (t for t in results.of("static") if t.seed == seed):
        name = "RGB only" if not t.blocks else f"RGB and {t.blocks} depth blocks"
        rows.append(f"| static: {name} | {_miou([t])} | {t.mmacs:.1f} | {' | '.join(['-'] * 5)} |")
    rows += [f"| lambda {t.price:g} | {_miou([t])} | {t.mmacs:.1f} | {_shares(t.shares)} |" for t in trials]
    rows += ["", "By what was damaged:", "", "| lambda | damaged | mIoU, % | 0 blocks | 1 | 2 | 3 | 4 |",
             "|---|---|---|---|---|---|---|---|"]
    rows += [f"| {t.price:g} | {damage} | {100 * t.miou_by_damage[damage]:.1f} | {_shares(shares)} |"
             for t in trials for damage, shares in t.shares_by_damage.items()]
    return [*rows, ""]


def _classes(results: SegmentationResults) -> list[str]:
    seed = min((t.seed for t in results.trials), default=0)
    shown = [(f"static, {t.blocks} blocks", t) for t in results.of("static") if t.seed == seed]
    shown += [(f"lambda {t.price:g}", t) for t in results.sweep if t.price == results.price]
    if not shown:
        return []
    names = list(shown[0][1].class_iou)
    rows = ["## Classes", "", f"| IoU, % | {' | '.join(n.replace('_', ' ') for n in names)} |",
            "|---|" + "---|" * len(names)]
    rows += [f"| {title} | {' | '.join('-' if x is None else f'{100 * x:.0f}' for x in t.class_iou.values())} |"
             for title, t in shown]
    return [*rows, ""]


def _ablation(results: SegmentationResults) -> list[str]:
    if not results.of("gate_only"):
        return []
    rows = [f"## Training strategies (its Table 5), lambda {results.price:g}", "",
            "The static network always runs all depth blocks. All have the same number of epochs. Collapsed: 99 % of "
            "the images or more have the same number of depth blocks.", "",
            "| training | mIoU, % | MMACs | collapsed | seeds |", "|---|---|---|---|---|"]
    most = max((t.blocks or 0 for t in results.of("static")), default=0)
    rows.append(_row("static network", [t for t in results.of("static") if t.blocks == most]))
    rows += [_row(title.replace("experts", "network"), found) for strategy, title in STRATEGIES.items()
             if (found := results.of(strategy, results.price))]
    rows += ["", "By seed:", "", "| training | seed | mIoU, % | 0 blocks | 1 | 2 | 3 | 4 |",
             "|---|---|---|---|---|---|---|---|"]
    rows += [f"| {strategy.replace('_', ' ')} | {t.seed} | {_miou([t])} | {_shares(t.shares)} |"
             for strategy in STRATEGIES for t in results.of(strategy, results.price)]
    return [*rows, ""]


def _row(title: str, trials: Sequence[SegmentationTrial]) -> str:
    found = [t.collapsed for t in trials if t.collapsed is not None]
    text = "; ".join(f"{found.count(k)} of {len(trials)} to {k} blocks" for k in dict.fromkeys(found))
    mmacs = statistics.mean(t.mmacs for t in trials)
    state = text or ("no" if trials[0].shares else "-")
    return f"| {title} | {_miou(trials)} | {mmacs:.1f} | {state} | {len(trials)} |"


def _miou(trials: Sequence[SegmentationTrial]) -> str:
    values = [100 * t.miou for t in trials]
    if len(trials) > 1:
        return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"
    ends = trials[0].interval
    return f"{values[0]:.1f}" + (f" [{100 * ends[0]:.1f}, {100 * ends[1]:.1f}]" if ends else "")


def _shares(shares: Sequence[float]) -> str:
    return " | ".join(f"{100 * x:.0f} %" for x in shares)
