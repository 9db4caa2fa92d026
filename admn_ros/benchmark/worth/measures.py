# SPDX-License-Identifier: Apache-2.0
"""Targets of a budget that is worth obeying, and what was found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from admn_ros.baselines.named import ALLOCATE, BEST_STATIC
from admn_ros.benchmark.worth.plan import BEFORE, NAIVE, SAME_TIME, SCARCE, TITLES, UNITS
from admn_ros.benchmark.worth.results import Figure, Point, RunResult, Worth

MOST_REGRET, MOST_REGRET_UNSEEN = 0.10, 0.20
FEWER_RIGHT = 0.02
"""Share of right classes by which the model's own policy may be below the naive one."""
LESS_ERROR = 0.25
"""Share by which the error is to be below that of the earlier model, in the same time."""
MOST_DECISION_MS = 0.5
TIE_CM = 0.05
"""Difference of mean errors below which two policies count as equal."""
COMPARED = (ALLOCATE, NAIVE, BEST_STATIC)
"""Policies that the model's own one should not be worse than."""


@dataclass(frozen=True)
class Measure:
    """One line of the table.

    Attributes:
        name: what is measured.
        target: what it should be.
        found: what was found.
        met: whether the target is met.
    """

    name: str
    target: str
    found: str
    met: bool


def measures(worth: Worth) -> list[Measure]:
    """Return the measures of a file."""
    return [*_regrets(worth), *_classes(worth), *_comparisons(worth), *_silent(worth), *_same_time(worth),
            *_unseen(worth), *_strict(worth), *_decision(worth)]


def _regrets(worth: Worth) -> Iterator[Measure]:
    for run in worth.main("layers"):
        yield _regret(f"error against the oracle, {run.split}, by layers", run, MOST_REGRET)


def _unseen(worth: Worth) -> Iterator[Measure]:
    views = [run for run in worth.main("layers") if run.split == "test_view"]
    for run in (*views, *(run for run in worth.runs if run.role == "shift")):
        what = "other rooms and poses of the nodes" if run in views else run.what
        layers = run.unit == "layers"
        limits = [x for x in run.limits if x in SCARCE] if layers else list(run.limits[:len(SCARCE)])
        if limits:
            held = f"{limits[0]:g} to {limits[-1]:g} layers" if layers else f"1 to {len(limits)} modalities"
            yield _regret(f"error against the oracle, {what}, {held}", run, MOST_REGRET_UNSEEN, limits)


def _regret(name: str, run: RunResult, most: float, limits: Sequence[float] | None = None) -> Measure:
    points = [p for p in run.of(run.policies[0]) if p.regret is not None and (limits is None or p.limit in limits)]
    return _line(name, f"at most {most:+.0%}", points, lambda p: f"{p.regret.value:+.1%}" if p.regret else "",
                 lambda p: p.regret is not None and p.regret.value <= most)


def _classes(worth: Worth) -> Iterator[Measure]:
    for run in worth.main("layers"):
        points = [p for p in run.of(NAIVE) if p.more_right is not None]
        yield _line(f"class right minus that of naive, {run.split}, by layers, points",
                    f"at least {-100 * FEWER_RIGHT:g}", points,
                    lambda p: _signed(-100 * p.more_right.value) if p.more_right else "",
                    lambda p: p.more_right is not None and p.more_right.value <= FEWER_RIGHT)


def _comparisons(worth: Worth) -> Iterator[Measure]:
    for policy in COMPARED:
        for unit in UNITS:
            for run in worth.main(unit):
                points = [p for p in run.of(policy) if p.more_cm is not None]
                if policy != run.policies[0] and points:
                    what = f"error minus that of {TITLES[policy]}, {run.split}, by {unit}, cm"
                    yield _line(what, "at most 0.0", points, lambda p: _less(p.more_cm),
                                lambda p: p.more_cm is not None and p.more_cm.value > -TIE_CM)


def _less(more: Figure | None) -> str:
    """Write by how much the first policy is better; in brackets where the interval holds 0."""
    if more is None:
        return ""
    clear = more.interval is None or not more.interval[0] <= 0 <= more.interval[1]
    text = _signed(-more.value)
    return text if clear or abs(more.value) < TIE_CM else f"({text})"


def _signed(value: float) -> str:
    """Write a number with one decimal; one that rounds to 0 has no sign."""
    text = f"{value:+.1f}"
    return "0.0" if float(text) == 0 else text


def _silent(worth: Worth) -> Iterator[Measure]:
    points = [p for run in worth.runs for p in run.of(run.policies[0])]
    avoidable = sum(p.avoidable for p in points)
    yield Measure("frames without an estimate although an input was available and the budget held it", "0",
                  f"{avoidable} of {sum(p.frames for p in points)}", avoidable == 0)


def _same_time(worth: Worth) -> Iterator[Measure]:
    found = {run.name: run.points[0] for run in worth.runs if run.role == "before"}
    before, now = found.get(BEFORE), found.get(SAME_TIME)
    if before is None or now is None or before.error_cm is None or now.error_cm is None:
        return
    less = 1 - now.error_cm.value / before.error_cm.value
    yield Measure(f"error within {now.limit:.1f} ms, a frame of one layer of the earlier model",
                  f"at least {LESS_ERROR:.0%} below its {before.error_cm.value:.1f} cm",
                  f"{now.error_cm.value:.1f} cm, {less:.0%} below", less >= LESS_ERROR)


def _strict(worth: Worth) -> Iterator[Measure]:
    points = [p for run in worth.runs for p in run.points]
    violations = sum(p.violations for p in points)
    yield Measure("frames that spent more than their budget, all policies", "0",
                  f"{violations} of {sum(p.frames for p in points)}", violations == 0)


def _decision(worth: Worth) -> Iterator[Measure]:
    slowest = max(worth.decision_ms.values())
    yield Measure(f"decision over {worth.inputs[0]} modalities x {worth.inputs[1]} nodes, median, ms",
                  f"at most {MOST_DECISION_MS:g}",
                  ", ".join(f"{value:.2f} ({unit})" for unit, value in worth.decision_ms.items()),
                  slowest <= MOST_DECISION_MS)


def _line(name: str, target: str, points: Sequence[Point], show: Callable[[Point], str],
          good: Callable[[Point], bool]) -> Measure:
    """Return a measure with one number for each budget; those that miss the target are bold."""
    texts = [show(p) if good(p) else f"**{show(p)}**" for p in points]
    found = ", ".join(f"{p.limit:.3g}: {text}" for p, text in zip(points, texts, strict=True))
    return Measure(name, target, found or "no figure", bool(points) and all(map(good, points)))
