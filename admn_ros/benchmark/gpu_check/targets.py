# SPDX-License-Identifier: Apache-2.0
"""Targets for latencies on a GPU of the class of an H200, with three sensor nodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from admn_ros.benchmark.gpu_check.outcome import Outcome, judged
from admn_ros.benchmark.latency.contenders import ONE_BY_ONE, TOGETHER
from admn_ros.benchmark.latency.results import Latencies, MixedTiming, Timing

REFERENCE = "reference"


class Target(NamedTuple):
    """Longest median of a frame of the fastest engine, for any precision, in a batch of 1."""

    model: str
    layers: int
    longest_ms: float


TARGETS = (Target("base", 24, 2.5), Target("base", 6, 1.2), *(Target("gdtm", n, 1.5) for n in (1, 2, 4)))
FASTER_THAN_EAGER = 6.0
"""Least factor between plain PyTorch in float32 and the fastest engine, for each of the targets."""
FASTER_TOGETHER = 3.0
"""Least factor between frames with different budgets one by one and together, for the better precision."""


def check_targets(found: Latencies) -> Iterator[Outcome]:
    """Compare latencies with the targets."""
    on_gpu = found.plans[0].device == "cuda"
    for target in TARGETS:
        timings = [t for t in found.timings if (t.model, t.layers, t.batch) == (target.model, target.layers, 1)]
        what = f"{target.model}, {target.layers} layers"
        yield _latency(f"{what}, at most {target.longest_ms} ms", _engines(timings) if on_gpu else {}, target)
        yield _faster(f"{what}, {FASTER_THAN_EAGER:g} x faster than plain PyTorch", timings if on_gpu else [])
    for model in dict.fromkeys(target.model for target in TARGETS):
        yield _together(f"{model}, frames together {FASTER_TOGETHER:g} x faster than one by one",
                        [t for t in found.mixed if t.model == model] if on_gpu else [])


def _engines(timings: Sequence[Timing]) -> dict[str, float]:
    return {f"{t.contender}, {t.precision}": t.median_ms for t in timings if t.contender.startswith("engine")}


def _latency(name: str, times: Mapping[str, float], target: Target) -> Outcome:
    if not times:
        return _not_run(name)
    best = min(times, key=times.__getitem__)
    return judged(name, times[best] <= target.longest_ms, f"{times[best]:.2f} ms ({best})")


def _faster(name: str, timings: Sequence[Timing]) -> Outcome:
    plain = [t.median_ms for t in timings if (t.contender, t.precision) == (REFERENCE, "float32")]
    engines = _engines(timings)
    if not plain or not engines:
        return _not_run(name)
    factor = plain[0] / min(engines.values())
    return judged(name, factor >= FASTER_THAN_EAGER, f"{factor:.1f} x")


def _together(name: str, timings: Sequence[MixedTiming]) -> Outcome:
    medians = {(t.precision, t.contender): t.median_ms for t in timings}
    factors = {precision: medians[precision, ONE_BY_ONE] / medians[precision, TOGETHER]
               for precision in dict.fromkeys(t.precision for t in timings)
               if {(precision, ONE_BY_ONE), (precision, TOGETHER)} <= set(medians)}
    if not factors:
        return _not_run(name)
    best = max(factors, key=factors.__getitem__)
    return judged(name, factors[best] >= FASTER_TOGETHER, f"{factors[best]:.1f} x ({best})")


def _not_run(name: str) -> Outcome:
    return Outcome(name=name, state="not run", detail="a target for a GPU")
