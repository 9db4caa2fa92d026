# SPDX-License-Identifier: Apache-2.0
"""The page of a report: one HTML file that needs nothing else, neither network nor scripts."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from admn_ros.evaluation.report.context import Context
from admn_ros.evaluation.report.data import Evaluation, budget_text
from admn_ros.evaluation.report.drawing import Drawing, Key, Panel, ReportFigure
from admn_ros.evaluation.report.moments import Moment, Stretch
from admn_ros.evaluation.report.style import STYLE
from admn_ros.evaluation.report.summary import lead, left_out, settings, tiles, title, warnings
from admn_ros.evaluation.report.tables import Table, tables
from admn_ros.evaluation.results_folder import MOMENTS
from admn_ros.views.palette import themed

# Whatever names a recording brings along: nothing is loaded, nothing is run.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
SMALL, WIDE = 300, 600
"""Panels up to, and from, this width have a grid of their own."""
_TOP = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
"""

Drawn = tuple[ReportFigure, Sequence[Drawing]]
Shown = Sequence[tuple[Stretch, list[Moment]]]


def page(evaluation: Evaluation, context: Context, folder: Path, figures: Sequence[Drawn], timeline: Drawn,
         shown: Shown) -> str:
    """The whole page.

    Args:
        evaluation: that is reported.
        context: what was gathered of its recordings.
        folder: of the evaluation, for the pictures.
        figures: all but the timeline, which comes after the third.
        timeline: one panel for each stretch.
        shown: the stretches and their moments.
    """
    name = title(evaluation)
    parts = [_TOP.format(policy=html.escape(POLICY, quote=True), title=html.escape(name), style=STYLE),
             f'<header>\n<p class="over">Evaluation</p>\n<h1>{html.escape(name)}</h1>']
    parts += [f'<p class="warn">{html.escape(text)}</p>' for text in warnings(evaluation)]
    parts += [f'<p class="lead">{html.escape(lead(evaluation))}</p>', _tiles(evaluation),
              f'<p class="soft">{html.escape(left_out(evaluation))}</p>', "</header>\n<main>"]
    sections = [_figure(*drawn) for drawn in figures]
    sections.insert(3, _timeline(evaluation, context, folder, *timeline, shown))
    parts += sections
    parts += [_section(table.title, f'<p class="reading">{html.escape(table.reading)}</p>{_table(table)}')
              for table in tables(evaluation)]
    parts += [_section("What was evaluated", _settings(evaluation)), "</main>",
              "<footer><p>The figures as pictures, and the numbers behind them, lie in <code>figures/</code> beside "
              "this page.</p></footer>\n</body>\n</html>\n"]
    return "\n".join(parts)


def _section(heading: str, body: str) -> str:
    return f"<section>\n<h2>{html.escape(heading)}</h2>\n{body}\n</section>"


def _tiles(evaluation: Evaluation) -> str:
    found = []
    for tile in tiles(evaluation):
        unit = f" <small>{html.escape(tile.unit)}</small>" if tile.unit else ""
        found.append(f'<div class="tile"><p class="soft">{html.escape(tile.label)}</p>'
                     f'<p class="big {tile.mood}">{html.escape(tile.value)}{unit}</p>'
                     f'<p class="note">{html.escape(tile.note)}</p></div>')
    return f'<div class="tiles">\n{chr(10).join(found)}\n</div>'


# --- figures --------------------------------------------------------------------------------------


def _figure(figure: ReportFigure, drawings: Sequence[Drawing]) -> str:
    if not drawings:
        return _section(figure.title, f'<p class="reading">{html.escape(figure.absent)}</p>')
    panels = "\n".join(_panel(panel, drawing) for panel, drawing in zip(figure.panels, drawings, strict=True))
    return _section(figure.title, f'<figure id="{figure.name}">\n<figcaption class="reading">'
                                  f'{html.escape(figure.reading)}</figcaption>\n<div class="panels'
                                  f'{_grid(figure.panels)}">\n{panels}\n</div>\n{_keys(figure.keys)}</figure>')


def _grid(panels: Sequence[Panel]) -> str:
    width = max(panel.width for panel in panels)
    return " wide" if width >= WIDE else " small" if width <= SMALL else ""


def _panel(panel: Panel, drawing: Drawing) -> str:
    return (f'<div class="panel"><h3>{html.escape(panel.title)}</h3>'
            f'{_scrolled(drawing.svg, panel.title) if panel.width >= WIDE else drawing.svg}</div>')


def _scrolled(body: str, name: str) -> str:
    """What may be wider than the page, and scrolls by itself, with the keyboard too."""
    label = html.escape(name, quote=True)
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{label}">{body}</div>'


def _keys(keys: Sequence[Key]) -> str:
    if len(keys) < 2:
        return ""
    entries = "".join(f'<li><i class="{key.kind}" style="--key: {themed(key.colour)}"></i>{html.escape(key.text)}</li>'
                      for key in keys)
    return f'<ul class="keys">{entries}</ul>\n'


# --- timeline -------------------------------------------------------------------------------------


def _timeline(evaluation: Evaluation, context: Context, folder: Path, figure: ReportFigure,
              drawings: Sequence[Drawing], shown: Shown) -> str:
    """The worst corruption's timeline open, the others to be opened."""
    open_one = evaluation.worst or evaluation.mildest
    parts = []
    for panel, drawing, (stretch, special) in zip(figure.panels, drawings, shown, strict=True):
        body = (f'<div class="panels wide">{_scrolled(drawing.svg, panel.title)}</div>'
                f'{_moments(evaluation, context, folder, stretch, special)}')
        opened = " open" if stretch.corruption == open_one else ""
        parts.append((not opened, f"<details{opened}><summary>{html.escape(panel.title)}</summary>{body}</details>"))
    panels = "\n".join(text for _, text in sorted(parts, key=lambda part: part[0]))
    return _section(figure.title, f'<figure id="{figure.name}">\n<figcaption class="reading">'
                                  f'{html.escape(figure.reading)}</figcaption>\n{_keys(figure.keys)}{panels}\n</figure>')


def _moments(evaluation: Evaluation, context: Context, folder: Path, stretch: Stretch,
             special: Sequence[Moment]) -> str:
    entries = []
    pictures = context.get("pictures", {}).get(stretch.corruption, {})
    for number, moment in enumerate(special, start=1):
        seen = _seen(pictures.get(str(moment.row)), folder)
        entries.append(f"<li><h3><b>{number}</b>{html.escape(moment.text)}</h3>"
                       f"<p>{html.escape(_say(evaluation, stretch, moment))}</p>{seen}</li>")
    why = "" if pictures or not special else \
        '<p class="soft">No pictures: they are kept when <code>admn evaluate</code> writes the report.</p>'
    return f'<ol class="moments">{"".join(entries)}</ol>{why}' if entries else ""


def _say(evaluation: Evaluation, stretch: Stretch, moment: Moment) -> str:
    """What ran in a frame, of what, and what was done to its inputs."""
    columns, v = evaluation.records[stretch.corruption], stretch.variant
    depths = evaluation.results["described_model"]["depths"]
    ends = [0]
    for depth in depths.values():
        ends.append(ends[-1] + depth)
    ran = ", ".join(f"{m} {columns['active'][moment.row, v, a:b].sum()}"
                    for m, a, b in zip(depths, ends, ends[1:], strict=False))
    limit = float(columns["granted"][moment.row, v])
    budget = budget_text({"limit": limit if limit < float("inf") else None, "unit": columns["unit"][moment.row, v]},
                         long=True)
    bad = [f"{m} {kind} {severity:.2f}" for m, kind, severity in
           zip(depths, columns["kind"][moment.row], columns["severity"][moment.row], strict=True) if severity > 0]
    return f"Budget {budget}; layers {ran}." + (f" Injected: {', '.join(bad)}." if bad else "")


def _seen(nodes: Mapping[str, Mapping[str, str | None]] | None, folder: Path) -> str:
    """Pictures of a moment: a row for each sensor node, a column for each modality."""
    if not nodes:
        return ""
    modalities = list(dict.fromkeys(m for files in nodes.values() for m in files))
    cells = ["<span></span>", *(f"<span>{html.escape(m)}</span>" for m in modalities)]
    for node, files in nodes.items():
        cells.append(f"<span>{html.escape(node)}</span>")
        for modality in modalities:
            file = files.get(modality)
            path = folder / MOMENTS / Path(file).name if file else None
            cells.append('<span class="gone">missing</span>' if path is None or not path.is_file() else
                         f'<img alt="{html.escape(f"{modality} of {node}", quote=True)}" '
                         f'src="data:image/jpeg;base64,{base64.b64encode(path.read_bytes()).decode()}">')
    return (f'<div class="seen" style="grid-template-columns: 3.6em repeat({len(modalities)}, minmax(0, 1fr))">'
            f'{"".join(cells)}</div>')


# --- tables ---------------------------------------------------------------------------------------


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col"{_class("text" if k < table.texts else "")}>{html.escape(text)}</th>'
                   for k, text in enumerate(table.head))
    rows = []
    for row in table.rows:
        first, *others = row.cells
        cells = "".join(f"<td{_class('text' if k < table.texts else mood)}>{html.escape(text)}</td>"
                        for k, (text, mood) in enumerate(others, start=1))
        rows.append(f'<tr{_class(row.style)}><th scope="row">{html.escape(first[0])}</th>{cells}</tr>')
    label = html.escape(table.title, quote=True)
    return _scrolled(f'<table aria-label="{label}"><thead><tr>{head}</tr></thead>\n'
                     f'<tbody>{chr(10).join(rows)}</tbody></table>', table.title)


def _class(style: str) -> str:
    return f' class="{style}"' if style else ""


def _settings(evaluation: Evaluation) -> str:
    entries: list[tuple[str, Any]] = settings(evaluation)
    return "<dl>" + "".join(f"<dt>{html.escape(k)}</dt><dd>{html.escape(str(v))}</dd>" for k, v in entries) + "</dl>"
