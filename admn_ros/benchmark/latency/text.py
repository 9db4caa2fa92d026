# SPDX-License-Identifier: Apache-2.0
"""`latency.md`: the results as tables."""

from __future__ import annotations

from admn_ros.benchmark.latency.results import Group, Latencies, Timing

REFERENCE = "static"


def render(found: Latencies) -> str:
    """Return the results in Markdown."""
    parts = [f"{found.device}, {found.threads} threads, PyTorch {found.torch}. Medians (p95) in milliseconds, all "
             "contenders in turns."]
    parts += [_table(group, timings) for group, timings in found.groups()]
    if found.lines:
        rows = [f"| {line.model} | {line.precision} | {line.nodes} | {line.batch} | {line.contender} | "
                f"{line.fixed_ms:.2f} | {line.per_layer_ms:.3f} | {line.r_squared:.4f} |" for line in found.lines]
        parts.append("\n".join(["Time against layers: fixed part and time of a layer, in milliseconds.", "",
                                "| model | precision | nodes | batch | contender | fixed | a layer | R^2 |",
                                "|---|---|---|---|---|---|---|---|", *rows]))
    rows = [f"| {s.model} | {s.runtime} | {s.import_s:.1f} | {s.load_s:.2f} | {s.first_frame_ms:.0f} | "
            f"{s.peak_mib:.0f} | {'-' if s.device_peak_mib is None else f'{s.device_peak_mib:.0f}'} |"
            for s in found.startups]
    parts.append("\n".join(["Start of a process with one engine.", "",
                            "| model | runtime | import, s | load, s | first frame, ms | peak, MiB | GPU, MiB |",
                            "|---|---|---|---|---|---|---|", *rows]))
    return "\n\n".join(parts) + "\n"


def _table(group: Group, timings: list[Timing]) -> str:
    """Return the table of one group: a row for each number of layers, a column for each contender."""
    contenders = list(dict.fromkeys(t.contender for t in timings))
    lines = [f"**{group}**", "", f"| layers | {' | '.join(contenders)} | first / {REFERENCE} |",
             "|---" * (len(contenders) + 2) + "|"]
    for layers in dict.fromkeys(t.layers for t in timings):
        row = {t.contender: t for t in timings if t.layers == layers}
        ratio = row[contenders[0]].median_ms / row[REFERENCE].median_ms
        cells = [f"{row[name].median_ms:.2f} ({row[name].p95_ms:.2f})" for name in contenders]
        lines.append(f"| {layers} | {' | '.join(cells)} | {ratio:.2f} |")
    return "\n".join(lines)
