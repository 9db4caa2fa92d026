# SPDX-License-Identifier: Apache-2.0
"""Text of the dashboard, as read back from a terminal."""

from __future__ import annotations

import io
import math
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from admn_ros.errors import InputError
from admn_ros.inference.decision import InputDecision
from admn_ros.sample import Availability
from admn_ros.views.dashboard import Dashboard, Problem, write_svg
from admn_ros.views.timeline import FrameRecord, ModalityRecord


def printed(dashboard: Dashboard, width: int = 132) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(dashboard)
    return console.file.getvalue()


def line(text: str, start: str) -> str:
    return next(row for row in text.splitlines() if row.lstrip("│ ").startswith(start))


def record(k: int = 0, layers: int = 3, granted: float = 8.0, **changes: object) -> FrameRecord:
    modalities = {
        "rgb": ModalityRecord(layers, 12, 0.75, Availability.FRESH, missing_nodes=("node2",)),
        "radar": ModalityRecord(0, 12, math.nan, Availability.MISSING, missing_nodes=("node1", "node2"))}
    whole = {"stamp_ns": 10**18 + k * 100_000_000, "granted": granted, "spent": float(layers), "unit": "layers",
             "reason": "allocated", "latency_ms": 20.0 + k, "dropped": 2, "modalities": modalities,
             "position_m": (0.5, -1.25)}
    return FrameRecord(**{**whole, **changes})


def shown(**changes: object) -> Dashboard:
    whole = {"node": "/admn", "records": [record(k) for k in range(11)], "active": {"rgb": (0, 1, 5)},
             "source": "battery", "why": "3 layers ran.", "spread_m": 0.1, "label": "red_car 0.90", "speed_mps": 1.5,
             "quiet_s": 0.1, "statuses": 14}
    return Dashboard(**{**whole, **changes})


def test_without_a_target_the_class_remains():
    nowhere = record(11, position_m=(math.nan, math.nan))
    assert "no target   class none 0.97" in line(printed(shown(records=[nowhere], label="none 0.97")), "target")
    assert "no estimate" in printed(shown(records=[nowhere], label=""))


def test_the_dashboard_shows_all_state():
    text = printed(shown())
    assert "/admn" in text and "live" in text and "10.0 Hz" in text
    assert "spent 3 of 8 layers, from battery" in text and "3 layers ran." in text
    rgb, radar = line(text, "rgb"), line(text, "radar")
    assert "fresh" in rgb and "✗ node2" in rgb and "0.75" in rgb and "3/12" in rgb
    assert "■ ■ □ □ □ ■" in rgb and rgb.count("■") == 3 and rgb.count("□") == 9
    assert "missing" in radar and radar.count("□") == 12 and "node1" not in radar
    assert "x +0.50  y -1.25  ± 0.10 m   track 1.50 m/s   class red_car 0.90" in text
    assert "30 ms" in line(text, "latency") and "p50 25" in text and "dropped 2" in text
    assert "all 14 statuses OK" in text


def test_the_budget_bar_ends_before_its_limit():
    bar = line(printed(shown(records=[record(layers=6, granted=12.0)])), "budget")
    spent, limit = bar.count("█"), bar.index("┃") - bar.index("█")
    assert spent == 12 and limit == 24, "48 characters are 24 layers"


def test_the_budget_bar_holds_layers_that_cost_more_than_one():
    bar = line(printed(shown(records=[record(layers=12, granted=40.0, spent=36.0)])), "budget")
    assert bar.count("█") == 48, "as wide as the bar"
    assert "spent 36 of 40 layers" in bar


def test_problems_come_worst_first_and_are_bounded():
    problems = [Problem(1, "slow", "it is slow"), Problem(2, "broken", "it is broken"), Problem(3, "gone", "no news")]
    text = printed(shown(problems=problems))
    assert text.index("broken") < text.index("gone") < text.index("slow")
    assert "ERROR" in text and "WARN" in text and "STALE" in text
    assert "and 92 more" in printed(shown(problems=[Problem(2, f"p{k}", "x") for k in range(100)]))


@pytest.mark.parametrize(("changes", "expected"), [
    ({"records": [], "quiet_s": math.inf, "statuses": 0}, ["waiting for /admn/allocation", "no /diagnostics yet"]),
    ({"quiet_s": 7.4}, ["silent for 7 s"]),
    ({"records": [record(position_m=(math.nan, math.nan), layers=0, granted=0.0)], "label": ""},
     ["no estimate", "spent 0 of 0"]),
    ({"records": [record(granted=math.inf)]}, ["spent 3 of everything"]),
    ({"governor": "9 of 48 layers (temperature)"}, ["governor", "9 of 48 layers"]),
    ({"records": [record(granted=1.5, unit="gflops", spent=1.25)]}, ["spent 1.25 of 1.5 GFLOP"]),
    ({"speed_mps": math.nan, "label": ""}, ["class -"])])
def test_missing_state_is_shown(changes, expected):
    text = printed(shown(**changes))
    for words in expected:
        assert words in text


def decisions() -> list[InputDecision]:
    """Return 12 inputs: of node2, depth was left out; the radars have no reading."""
    found = []
    for m, modality in enumerate(("rgb", "depth", "radar", "audio")):
        for node in ("node1", "node2", "node3"):
            why = "no reading" if modality == "radar" else "adds too little" if (modality, node) == (
                "depth", "node2") else "ran"
            found.append(InputDecision(modality, node, math.nan if why == "no reading" else 1.5 + m,
                                       0.0 if why == "no reading" else 0.25, why == "ran", why))
    return found


@pytest.mark.parametrize("width", [100, 132])
def test_twelve_inputs_have_value_cost_and_reason(width):
    text = printed(shown(inputs=decisions()), width)
    rgb, depth = (next(row for row in text.splitlines() if row.startswith(f"│  {name}") and ("●" in row or "○" in row))
                  for name in ("rgb", "depth"))
    assert rgb.count("●") == 3 and rgb.count("1.5") == 3 and rgb.count("0.25") == 3
    assert depth.count("●") == 2 and depth.count("○") == 1 and depth.count("2.5") == 3
    assert "○ node2/depth: adds too little" in text and "○ radar: no reading" in text
    assert all(len(row) == width for row in text.splitlines())
    assert "…" not in text, "nothing is cut off"


def test_on_a_narrow_terminal_sensor_nodes_come_below_each_other():
    text = printed(shown(inputs=decisions()), 60)
    assert text.count("●") == 1 + 1 + 8, "each input that ran, the legend, and the title"
    assert all(len(row) == 60 for row in text.splitlines()) and "…" not in text


@given(st.lists(st.tuples(st.integers(0, 12), st.floats(0, 100) | st.just(math.inf), st.floats(0, 1e4)), min_size=1,
                max_size=60), st.integers(60, 200))
@settings(max_examples=40, deadline=None)
def test_any_frames_at_any_width_can_be_shown(frames, width):
    records = [record(k, layers, granted, latency_ms=ms) for k, (layers, granted, ms) in enumerate(frames)]
    assert "latency" in printed(shown(records=records), width)


def test_the_picture_is_an_svg(tmp_path):
    write_svg(shown(), tmp_path / "w.svg")
    assert ElementTree.parse(tmp_path / "w.svg").getroot().tag.endswith("svg")
    assert "url(" not in (tmp_path / "w.svg").read_text().replace("url(#", ""), "nothing is fetched"
    with pytest.raises(InputError):
        write_svg(shown(), tmp_path / "w.svg" / "below.svg")
