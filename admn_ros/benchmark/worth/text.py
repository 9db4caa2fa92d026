# SPDX-License-Identifier: Apache-2.0
"""`worth.md`: targets and what was found, and all figures by budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from admn_ros.benchmark.worth.measures import measures
from admn_ros.benchmark.worth.plan import TITLES
from admn_ros.benchmark.worth.results import Figure, Point, RunResult, Worth

NOTES = """\
- The policies see the same frames. Intervals are 95 %, bootstrapped over recordings (rooms). In brackets: the interval
  of the difference holds 0. Bold: the target is missed.
- The oracle knows which modalities of a frame are damaged, and takes the allocation that was best on validation
  frames with the same damage. The best static allocation is the one that was best over all validation frames.
- Without an estimate: frames in which the policy ran nothing; errors and classes are over the other frames. Without
  such a row there are none.
- Milliseconds are those of the cost table, whose sum the budget bounds.
- Property tests of the allocator with a million random cases: `ADMN_CASES=1000000 make test ARGS=test/model/value`."""


def render(worth: Worth) -> str:
    """Return the text of the tables."""
    lines = ["# What a budget buys", "", f"`{worth.command}`", "",
             f"Model `{worth.model}`, at most {worth.frames} frames of each split, seed {worth.seed}. Costs in "
             f"milliseconds: {worth.device}, {worth.threads} "
             + ("thread." if worth.threads == 1 else "threads."), "", *_targets(worth), "", NOTES]
    for run in worth.runs:
        lines += ["", *_run(run)]
    return "\n".join(lines) + "\n"


def _targets(worth: Worth) -> Iterator[str]:
    yield "| measure | target | found | |"
    yield "|---|---|---|---|"
    for measure in measures(worth):
        yield f"| {measure.name} | {measure.target} | {measure.found} | {'met' if measure.met else '**missed**'} |"


def _run(run: RunResult) -> Iterator[str]:
    limits = run.limits
    yield f"## {run.what[0].upper()}{run.what[1:]}, budgets in {run.unit}"
    if run.corruption not in run.what or run.split not in run.what:
        yield from ("", f"Data: {run.split}, {run.corruption}.")
    yield from ("", f"| | {' | '.join(f'{x:.4g}' for x in limits)} |", "|---" * (len(limits) + 1) + "|")
    yield from _rows(run, run.policies, "error, cm", lambda p: _error(p.error_cm))
    yield from _rows(run, run.policies, "class right", lambda p: _share(p.accuracy))
    yield from _rows(run, run.policies[:1], "layers", lambda p: f"{p.layers:.1f}")
    yield from _rows(run, run.policies[:1], "milliseconds", lambda p: f"{p.milliseconds:.1f}")
    silent = [policy for policy in run.policies if any(p.without_estimate for p in run.of(policy))]
    yield from _rows(run, silent, f"without an estimate, of {run.points[0].frames}", lambda p: str(p.without_estimate))


def _rows(run: RunResult, policies: Sequence[str], what: str, show: Callable[[Point], str]) -> Iterator[str]:
    """Yield a row for each policy with an entry for each budget."""
    for policy in policies:
        yield f"| {what}, {TITLES.get(policy, policy)} | {' | '.join(map(show, run.of(policy)))} |"


def _error(figure: Figure | None) -> str:
    if figure is None:
        return "-"
    low = "" if figure.interval is None else f" ({figure.interval[0]:.1f} to {figure.interval[1]:.1f})"
    return f"{figure.value:.1f}{low}"


def _share(figure: Figure | None) -> str:
    return "-" if figure is None else f"{figure.value:.0%}"
