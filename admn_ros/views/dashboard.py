# SPDX-License-Identifier: Apache-2.0
"""Terminal dashboard of a perception node: budget, modalities, inputs, results, latency and health."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from admn_ros.files import write_text
from admn_ros.inference.decision import InputDecision, left_out
from admn_ros.sample import Availability
from admn_ros.views.palette import dark_colour, modality_colour
from admn_ros.views.timeline import FrameRecord, ModalityRecord

GOOD, WARN, ALERT, SOFT = map(dark_colour, ("good", "warn", "alert", "soft"))
LEVELS = {0: ("OK", GOOD), 1: ("WARN", WARN), 2: ("ERROR", ALERT), 3: ("STALE", SOFT)}
SHORT_UNITS = {"layers": "", "gflops": " GFLOP", "milliseconds": " ms", "joules": " J", "watts": " W"}
QUIET_S = 2.0
"""Time without a frame after which the node is shown as silent."""
HISTORY = 40
MAX_PROBLEMS = 8
_STEPS = "▁▂▃▄▅▆▇█"
_BAR = 48
_FAINT = "#4a535f"
_MARGINS, _NAME, _CELL = 6, 8, 15  # of the frame; the columns of names and of one input, in characters
_COLUMNS = (0, 0, 0, 74, 0, 115)   # width from which on each column about the modalities is shown


@dataclass(frozen=True)
class Problem:
    """Status of /diagnostics that is not OK.

    Attributes:
        level: level of diagnostic_msgs/DiagnosticStatus.
        name: name of the status.
        text: its message.
    """

    level: int
    name: str
    text: str


@dataclass(frozen=True)
class Dashboard:
    """State that the dashboard shows.

    Attributes:
        node: name of the perception node.
        records: latest frames, oldest first.
        active: layers that ran in the latest frame, by modality.
        inputs: what was decided about each input in the latest frame; empty if that is not known.
        source: source of the budget.
        why: reason of the allocation, as text.
        spread_m: standard deviation of the latest position; NaN without one.
        label: class of the latest frame.
        speed_mps: speed of the track; NaN without one.
        quiet_s: time since the latest frame; infinite before the first one.
        statuses: number of statuses of /diagnostics.
        problems: statuses that are not OK.
        governor: summary of the governor; empty without one.
    """

    node: str
    records: Sequence[FrameRecord] = ()
    active: dict[str, tuple[int, ...]] | None = None
    inputs: Sequence[InputDecision] = ()
    source: str = ""
    why: str = ""
    spread_m: float = math.nan
    label: str = ""
    speed_mps: float = math.nan
    quiet_s: float = math.inf
    statuses: int = 0
    problems: Sequence[Problem] = ()
    governor: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """Yield the dashboard as Rich renderables, for the width of the terminal."""
        width, parts = options.max_width - _MARGINS, list[RenderableType]()
        if self.records:
            parts += [self._budget(), "", self._modalities(width), ""]
            if self.inputs:
                unit = SHORT_UNITS[self.records[-1].unit].strip() or "layers"
                parts += [Text(f"each input: ● ran, ○ did not; predicted value, and cost in {unit}", SOFT),
                          self._inputs(width), *self._left_out(), ""]
            parts.append(self._results())
        else:
            parts.append(Text(f"waiting for {self.node}/allocation ...", WARN))
        if self.governor:
            parts.append(_line("governor", Text(self.governor)))
        parts += ["", self._health()]
        yield Panel(Group(*parts), title=self._title(), title_align="left", border_style=SOFT, padding=(1, 2))

    def _title(self) -> Text:
        if not self.records:
            return Text.assemble((f" {self.node} ", "bold"), ("○ no frame yet ", WARN))
        state = (f"● silent for {self.quiet_s:.0f} s ", ALERT) if self.quiet_s > QUIET_S else ("● live ", GOOD)
        last = self.records[-1]
        return Text.assemble((f" {self.node} ", "bold"), state, (f"{self._rate_hz():.1f} Hz  ", "default"),
                             (f"stamp {last.stamp_ns / 1e9:.2f} ", SOFT))

    def _rate_hz(self) -> float:
        stamps = [r.stamp_ns for r in self.records[-HISTORY:]]
        return (len(stamps) - 1) * 1e9 / (stamps[-1] - stamps[0]) if len(stamps) > 1 and stamps[-1] > stamps[0] else 0.0

    def _budget(self) -> Text:
        """Return a bar of the cost by modality, with a line at the granted budget."""
        last = self.records[-1]
        total = sum(m.layers_total for m in last.modalities.values())
        most = max(r.spent for r in self.records[-HISTORY:])
        # A layer may cost more than 1: `layer_costs` of a model.
        top = max(total, most) if last.unit == "layers" else most or 1.0
        top = max(top, last.granted) if last.unit != "layers" and math.isfinite(last.granted) else top
        scale, ran = _BAR / top, sum(m.layers for m in last.modalities.values())
        bar, at = Text(), 0.0
        for name, m in last.modalities.items():
            until = at + (last.spent * m.layers / ran if ran else 0.0)
            bar.append("█" * (round(until * scale) - round(at * scale)), modality_colour(name, dark=True))
            at = until
        limit = min(_BAR, round(last.granted * scale)) if math.isfinite(last.granted) else _BAR
        free = max(0, limit - len(bar))
        bar.append("·" * free, SOFT)
        bar.append("┃", "bold")
        bar.append("·" * (_BAR - len(bar) + 1), "#3a424d")
        granted = "everything" if math.isinf(last.granted) else f"{last.granted:g}{SHORT_UNITS[last.unit]}"
        unit = " layers" if last.unit == "layers" else ""
        summary = Text.assemble(("  spent ", SOFT), (f"{last.spent:.4g}", "bold"), (f" of {granted}{unit}", "default"),
                             (f", from {self.source or 'an unnamed source'}", SOFT))
        return _line("budget", Text.assemble(bar, summary, ("\n          " + self.why, SOFT if ran else ALERT)))

    def _modalities(self, width: int) -> Table:
        shown = [k for k, least in enumerate(_COLUMNS) if width >= least]
        table = Table.grid(padding=(0, 2))
        for _ in shown:
            table.add_column(no_wrap=True)
        heads = ("", "sensors", "QoI", "layers that ran", "", f"last {HISTORY} frames")
        table.add_row(*(Text(heads[k], SOFT) for k in shown))
        for name, m in self.records[-1].modalities.items():
            colour = modality_colour(name, dark=True)
            active = (self.active or {}).get(name, ())
            cells = Text()
            for layer in range(m.layers_total):
                cells.append("■ " if layer in active else "□ ", colour if layer in active else _FAINT)
            past = [r.modalities[name].layers / max(1, m.layers_total) for r in self.records[-HISTORY:]
                    if name in r.modalities]
            cells.rstrip()
            row = (Text(f"{name:6}", f"bold {colour}"), _availability(m), _quality(m.qoi, colour), cells,
                   Text(f"{m.layers:2d}/{m.layers_total}", "bold"), Text(_curve(past), colour))
            table.add_row(*(row[k] for k in shown))
        return table

    def _inputs(self, width: int) -> Table:
        """Return value and cost of each input: a column for each sensor node, as far as they fit."""
        nodes = list(dict.fromkeys(i.sensor_node for i in self.inputs))
        found = {(i.modality, i.sensor_node): i for i in self.inputs}
        cell = max(_CELL, *(len(node) + 2 for node in nodes)) + 2
        fits = max(1, (width - _NAME) // cell)
        table = Table.grid(padding=(0, 2))
        for start in range(0, len(nodes), fits):
            block = nodes[start:start + fits]
            table.add_row(Text(""), *(Text(f"  {node}", SOFT) for node in block))
            for name in dict.fromkeys(i.modality for i in self.inputs):
                table.add_row(Text(f"{name:6}", f"bold {modality_colour(name, dark=True)}"),
                              *(_decision(found.get((name, node))) for node in block))
        return table

    def _left_out(self) -> list[Text]:
        """Return why inputs did not run, one line for each reason."""
        lines = [Text.assemble(("○ ", WARN), line) for line in left_out(self.inputs)]
        if len(lines) > MAX_PROBLEMS:
            lines[MAX_PROBLEMS:] = [Text(f"  and {len(lines) - MAX_PROBLEMS} more reasons", SOFT)]
        return lines

    def _results(self) -> Group:
        last, latency = self.records[-1], [r.latency_ms for r in self.records]
        place = Text()
        if math.isnan(last.position_m[0]) and not self.label:
            place.append("no estimate", WARN)
        elif math.isnan(last.position_m[0]):
            place.append("no target   ").append("class ", SOFT).append(self.label)
        else:
            for name, value in (("x ", f"{last.position_m[0]:+.2f}  "), ("y ", f"{last.position_m[1]:+.2f}  "),
                                ("± ", f"{self.spread_m:.2f} m")):
                place.append(name, SOFT).append(value)
            if not math.isnan(self.speed_mps):
                place.append("   track ", SOFT).append(f"{self.speed_mps:.2f} m/s")
            place.append("   class ", SOFT).append(self.label or "-")
        recent = latency[-HISTORY:]
        times = Text.assemble(
            (f"{latency[-1]:.0f} ms", "bold"), (f"   p50 {np.quantile(latency, 0.5):.0f}"
                                                f"   p95 {np.quantile(latency, 0.95):.0f}   ", "default"),
            (_curve([x / max(recent) for x in recent]) if max(recent) > 0 else "", SOFT),
            ("   dropped ", SOFT), (str(last.dropped), WARN if last.dropped else "default"))
        return Group(_line("target", place), _line("latency", times))

    def _health(self) -> Group:
        if not self.statuses:
            return Group(_line("health", Text("no /diagnostics yet", WARN)))
        if not self.problems:
            return Group(_line("health", Text(f"all {self.statuses} statuses OK", GOOD)))
        worst = sorted(self.problems, key=lambda p: (-p.level if p.level < 3 else -1.5, p.name))
        rows = [_line("health" if k == 0 else "", Text.assemble(
            (f"{LEVELS.get(p.level, LEVELS[2])[0]:5} ", LEVELS.get(p.level, LEVELS[2])[1]), (f"{p.name}: ", "bold"),
            p.text)) for k, p in enumerate(worst[:MAX_PROBLEMS])]
        if len(worst) > MAX_PROBLEMS:
            rows.append(_line("", Text(f"and {len(worst) - MAX_PROBLEMS} more", SOFT)))
        return Group(*rows)


def write_svg(dashboard: Dashboard, path: Path, width: int = 132) -> None:
    """Write the dashboard as an SVG of a terminal.

    Raises:
        InputError: the file cannot be written.
    """
    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(dashboard)
    svg = console.export_svg(title="admn watch", unique_id="admn-watch")
    write_text(path, re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL))  # fonts from the network


def _line(name: str, text: Text) -> Text:
    return Text.assemble((f"{name:10}", SOFT), text, no_wrap=False)


def _decision(decision: InputDecision | None) -> Text:
    """Return value and cost of an input, and whether it ran."""
    if decision is None:
        return Text("")
    mark, style = ("● ", GOOD) if decision.ran else ("○ ", WARN)
    value = "-" if math.isnan(decision.value) else f"{decision.value:.3g}"
    cost = f"{decision.cost:.3g}" if decision.cost else "-"
    return Text.assemble((mark, style), (f"{value:>6}", "bold" if decision.ran else SOFT), (f" {cost:>6}", SOFT))


def _availability(m: ModalityRecord) -> Text:
    """Return the availability of a modality, and the sensor nodes that lack it."""
    state = str(m.availability)
    text = Text(f"{state:7}", {"fresh": GOOD, "held": WARN}.get(state, ALERT))
    if m.availability is not Availability.MISSING and m.missing_nodes:
        text.append(f" ✗ {' '.join(m.missing_nodes)}", ALERT)
    return text


def _quality(qoi: float, colour: str) -> Text:
    if math.isnan(qoi):
        return Text("─" * 10 + "    -", _FAINT)
    full = round(10 * qoi)
    return Text.assemble(("━" * full, colour), ("─" * (10 - full), _FAINT), f" {qoi:.2f}")


def _curve(shares: Sequence[float]) -> str:
    """Return values in [0, 1] as a line of block characters; 0 is a space."""
    return "".join(" " if s <= 0 else _STEPS[min(7, int(s * 7.999))] for s in shares)
