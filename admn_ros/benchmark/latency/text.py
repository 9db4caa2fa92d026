# SPDX-License-Identifier: Apache-2.0
"""`latency.md`: the results as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from admn_ros.benchmark.latency.contenders import ONE_BY_ONE, TOGETHER
from admn_ros.benchmark.latency.results import Group, Latencies, MixedTiming, Times, Timing

FLOOR = "static"
"""Contender that the first one of a table is compared with."""


def render(found: Latencies) -> str:
    """Return the results in Markdown."""
    parts = [f"{found.device}, PyTorch {found.torch}. Medians (p95) in milliseconds, all contenders in turns."]
    parts += [_groups_table(group, timings) for group, timings in found.groups()]
    if found.mixed:
        parts.append(_mixed_table(found.mixed))
    if found.lines:
        parts.append(_section("Time against layers: fixed part and time of a layer, in milliseconds.", _table(
            ("model", "precision", "nodes", "batch", "threads", "contender", "fixed", "a layer", "R^2"),
            [(line.model, line.precision, line.nodes, line.batch, line.threads, line.contender,
              f"{line.fixed_ms:.2f}", f"{line.per_layer_ms:.3f}", f"{line.r_squared:.4f}") for line in found.lines])))
    parts.append(_section("Start of a process with one engine.", _table(
        ("model", "runtime", "import, s", "load, s", "first frame, ms", "peak, MiB", "GPU, MiB"),
        [(s.model, s.runtime, f"{s.import_s:.1f}", f"{s.load_s:.2f}", f"{s.first_frame_ms:.0f}", f"{s.peak_mib:.0f}",
          "-" if s.device_peak_mib is None else f"{s.device_peak_mib:.0f}") for s in found.startups])))
    parts += [f"Left out: {what}" for what in found.left_out]
    return "\n\n".join(parts) + "\n"


def _groups_table(group: Group, timings: Sequence[Timing]) -> str:
    """Return the table of one group: a row for each number of layers, a column for each contender."""
    contenders = _contenders(timings)
    rows = []
    for layers in dict.fromkeys(t.layers for t in timings):
        row = {t.contender: t for t in timings if t.layers == layers}
        ratio = row[contenders[0]].median_ms / row[FLOOR].median_ms
        rows.append((layers, *_cells(row, contenders), f"{ratio:.2f}"))
    return _section(f"**{group}**", _table(("layers", *contenders, f"{contenders[0]} / {FLOOR}"), rows))


def _mixed_table(mixed: Sequence[MixedTiming]) -> str:
    """Return the table of batches of frames with different budgets, a row for each."""
    contenders = _contenders(mixed)
    rows = []
    for group in dict.fromkeys(t.group for t in mixed):
        row = {t.contender: t for t in mixed if t.group == group}
        gain = row[ONE_BY_ONE].median_ms / row[TOGETHER].median_ms if {ONE_BY_ONE, TOGETHER} <= row.keys() else None
        layers = " ".join(map(str, next(iter(row.values())).layers))
        rows.append((group.model, group.precision, group.nodes, group.threads, layers, *_cells(row, contenders),
                     "-" if gain is None else f"{gain:.2f}"))
    return _section("Batches of frames with different budgets.", _table(
        ("model", "precision", "nodes", "threads", "layers of the frames", *contenders, "gain of together"), rows))


def _contenders(timings: Sequence[Times]) -> list[str]:
    return list(dict.fromkeys(t.contender for t in timings))


def _cells(row: dict[str, Timing] | dict[str, MixedTiming], contenders: Sequence[str]) -> Iterator[str]:
    for name in contenders:
        yield f"{row[name].median_ms:.2f} ({row[name].p95_ms:.2f})" if name in row else "-"


def _section(title: str, table: str) -> str:
    return f"{title}\n\n{table}"


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table in Markdown."""
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in (header, ("---",) * len(header), *rows))
