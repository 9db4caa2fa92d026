# SPDX-License-Identifier: Apache-2.0
"""Pixels of the debug image: layers, bars, marks, map."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admn_ros.budget.budget import Budget
from admn_ros.config import AudioInput, BackboneConfig, DepthInput, ModelConfig, NodePose, RadarInput, RgbInput
from admn_ros.inference.engine import Estimate
from admn_ros.inference.tracking import Outcome, TrackState
from admn_ros.model.allocation import Allocation, InputChoice, Reason, Why
from admn_ros.sample import MISSING, Availability, Modality, Reading, SensorFrame, SensorKey
from admn_ros.views.debug_canvas import ALERT, CARD, INK, MODALITY, RULE, WARN, Box, Canvas
from admn_ros.views.debug_map import TARGET, TRACK, TopDownMap
from admn_ros.views.debug_picture import HEIGHT, HISTORY, WIDTH, DebugPicture, DebugView, History
from helpers import models

STAMP_NS = 1_700_000_000_500_000_000
DEPTH = 6
NODES = ("left", "right")
MODALITIES = (Modality.RGB, Modality.DEPTH, Modality.RADAR, Modality.AUDIO)
KEYS = [SensorKey(node, modality) for node in NODES for modality in MODALITIES]


def config() -> ModelConfig:
    inputs = {Modality.RGB: RgbInput(), Modality.DEPTH: DepthInput(), Modality.RADAR: RadarInput(),
              Modality.AUDIO: AudioInput()}
    return models.build(inputs, BackboneConfig(dim=32, depth=DEPTH, heads=2), trained=True, classes=("car", "none"),
                        node_poses={"left": NodePose(x_m=-1.5, y_m=-1.5),
                                    "right": NodePose(x_m=1.5, y_m=1.0, yaw_rad=3.0)})


def data(modality: Modality) -> np.ndarray:
    match modality:
        case Modality.RGB:
            return np.full((30, 40, 3), (10, 200, 30), np.uint8)
        case Modality.DEPTH:
            return np.full((30, 40), np.nan, np.float32)
        case Modality.RADAR:
            return np.ones((64, 32), np.float32)
    return np.zeros((2000, 2), np.float32)


def inner(box: Box) -> Box:
    """Return a box without its edges."""
    return Box(box.x + 1, box.y + 1, box.width - 2, box.height - 2)


def view(active: dict[Modality, tuple[int, ...]], missing: frozenset[SensorKey] = frozenset(),
         held: frozenset[SensorKey] = frozenset(), limit: float = 10.0, **changes: object) -> DebugView:
    readings = {key: MISSING if key in missing else Reading(
        Availability.HELD if key in held else Availability.FRESH, data(key.modality),
        STAMP_NS - (120_000_000 if key in held else 0)) for key in KEYS}
    cost = {m: float(len(active.get(m, ()))) for m in MODALITIES}
    allocation = Allocation({m: active.get(m, ()) for m in MODALITIES}, cost, sum(cost.values()),
                            Budget(limit, "layers", "test"), limit, "layers", Reason.ALLOCATED, "as it should be")
    estimate = {"mean_m": np.array([0.5, -0.5, 0.0]), "covariance_m2": np.diag([0.04, 0.01, 0.0001]),
                "scores": np.array([0.8, 0.2]), "qoi": dict.fromkeys(MODALITIES, 0.5), **changes}
    whole = Estimate(STAMP_NS, "map", allocation=allocation, labels=("car", "none"), controller_ms=1.0, network_ms=2.0,
                     **estimate)
    history = History()
    for _ in range(3):
        history.note(whole)
    return DebugView(SensorFrame(STAMP_NS, KEYS[0], readings), whole, 12.0, 3, past=history.frames())


def draw(shown: DebugView, model: ModelConfig | None = None) -> tuple[DebugPicture, np.ndarray]:
    picture = DebugPicture(model or config(), KEYS)
    return picture, picture.draw(shown)


def has(pixels: np.ndarray, box: Box, colour: tuple[int, int, int]) -> bool:
    return bool((box.of(pixels) == colour).all(axis=2).any())


subsets = st.sets(st.integers(0, DEPTH - 1)).map(lambda found: tuple(sorted(found)))


@given(st.fixed_dictionaries(dict.fromkeys(MODALITIES, subsets)))
@settings(max_examples=15, deadline=None)
def test_the_lit_cells_are_the_layers_that_ran(active):
    picture, pixels = draw(view(active))
    assert pixels.shape == (HEIGHT, WIDTH, 3) and pixels.dtype == np.uint8
    for modality in MODALITIES:
        for layer in range(DEPTH):
            cell = picture.cell(modality, layer)
            assert cell.width > 5 and cell.height > 5
            lit = (inner(cell).of(pixels) == MODALITY[modality]).all()
            dark = (inner(cell).of(pixels) == CARD).all()
            assert lit == (layer in active[modality]) and dark == (not lit)


@pytest.mark.parametrize("quality", [0.0, 0.25, 1.0, math.nan])
def test_the_bar_is_as_long_as_the_quality(quality):
    picture, pixels = draw(view({}, qoi=dict.fromkeys(MODALITIES, quality)))
    for modality in MODALITIES:
        bar = picture.quality(modality)
        filled = (bar.of(pixels)[5] == MODALITY[modality]).all(axis=1).sum()
        assert filled == round(bar.width * (0.0 if math.isnan(quality) else quality))
        assert (bar.of(pixels)[5, filled:] == RULE).all()


def test_each_input_is_marked_fresh_held_or_missing():
    missing, held = SensorKey("left", Modality.RADAR), SensorKey("right", Modality.DEPTH)
    picture, pixels = draw(view({}, frozenset({missing}), frozenset({held})))
    for key in KEYS:
        box = picture.thumbnail(key)
        assert has(pixels, box, ALERT) == (key == missing)
        assert has(pixels, box, WARN) == (key == held)
    rgb = picture.thumbnail(SensorKey("left", Modality.RGB))
    assert tuple(pixels[rgb.y + rgb.height // 2, rgb.x + rgb.width // 2]) == (10, 200, 30), "the reading itself"
    boxes = [picture.thumbnail(key) for key in KEYS]
    for k, a in enumerate(boxes):
        for b in boxes[k + 1:]:
            assert a.right <= b.x or b.right <= a.x or a.bottom <= b.y or b.bottom <= a.y


def test_an_input_that_did_not_run_is_dark_and_says_why():
    shown = view({Modality.RGB: (0,)})
    inputs = tuple(InputChoice(m, node, 1.5, 0.25, Why.RAN if (m, node) == (Modality.RGB, 0) else Why.LEFT_OUT)
                   for m in MODALITIES for node in range(2))
    decided = replace(shown, estimate=replace(shown.estimate, allocation=replace(
        shown.estimate.allocation, inputs=inputs)))
    (picture, plain), (_, pixels) = draw(shown), draw(decided)
    left, right = (picture.thumbnail(SensorKey(node, Modality.RGB)) for node in NODES)
    ran, dark = (Box(box.x, box.y, box.width, box.height - 28) for box in (left, right))
    assert np.array_equal(ran.of(pixels), ran.of(plain))
    assert (dark.of(pixels) == (3, 60, 9)).all(axis=2).any() and has(pixels, dark, INK), "30 %, and the reason"
    assert not (dark.of(pixels) == (10, 200, 30)).all(axis=2).any()
    for box in (left, right):
        strip = Box(box.x, box.bottom - 14, box.width, 14)
        assert strip.of(pixels).std() > strip.of(plain).std(), "value and cost"


def test_long_text_is_cut_or_wrapped():
    canvas, long = Canvas(300, 100), "adds less than its cost is worth to the robot " * 3
    assert Canvas.cut("short", 200, 11) == "short"
    cut = Canvas.cut(long, 200, 11)
    assert cut.endswith("...") and 100 < canvas.text(cut, 5, 20) <= 200
    box, before = Box(100, 30, 90, 60), canvas.pixels.copy()
    canvas.paragraph(long, box, INK, 10)
    changed = (canvas.pixels != before).any(axis=2)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    assert box.x <= columns[0] and columns[-1] < box.right and box.y <= rows[0] and rows[-1] < box.bottom
    assert rows[-1] - rows[0] > 30, "more than one line"


def test_the_budget_is_a_line_that_the_spent_layers_do_not_cross():
    active = {Modality.RGB: (0, 1, 2), Modality.AUDIO: (0,)}
    picture, pixels = draw(view(active, limit=6.0))
    bar = picture.spent_bar
    row = pixels[bar.y + bar.height // 2, bar.x:bar.right]
    total = DEPTH * len(MODALITIES)
    spent = sum((row == MODALITY[m]).all(axis=1).sum() for m in MODALITIES)
    assert spent == pytest.approx(bar.width * 4 / total, abs=2)
    (line,) = set(np.flatnonzero((row == INK).all(axis=1)) // 2 * 2)
    assert line == pytest.approx(bar.width * 6 / total, abs=2) and line >= spent


def test_the_budget_axis_ends_at_the_cost_of_all_layers():
    model = config().model_copy(update={"layer_costs": {Modality.RGB: 3}})
    picture, pixels = draw(view({}, limit=6.0), model)
    bar = picture.spent_bar
    line = np.flatnonzero((pixels[bar.y + bar.height // 2, bar.x:bar.right] == INK).all(axis=1))
    assert len(line) == 2, "a line of two pixels"
    assert line[0] == pytest.approx(bar.width * 6 / (DEPTH * (len(MODALITIES) + 2)), abs=2)


def test_the_map_shows_the_estimate_where_it_is():
    box, colour = Box(10, 20, 300, 300), (1, 2, 3)
    drawn, canvas = TopDownMap(box, config()), Canvas(400, 400)
    before = canvas.pixels.copy()
    track = TrackState(STAMP_NS, np.array([-1.0, 1.0]), np.array([0.5, 0.0]), np.eye(4) * 0.01, Outcome.UPDATED)
    drawn.draw(canvas, {"left": colour, "right": colour}, [np.array([0.0, 0.0])], np.array([0.5, -0.5, 0.0]),
               np.diag([0.04, 0.01, 0.0]), track)
    x, y = (round(v) for v in drawn.pixel(0.5, -0.5))
    assert tuple(canvas.pixels[y, x]) == TARGET
    x, y = (round(v) for v in drawn.pixel(-1.5, -1.5))
    assert tuple(canvas.pixels[y, x]) == colour, "a sensor node"
    assert has(canvas.pixels, box, TRACK)
    left, up = drawn.pixel(-1.0, 1.0)
    assert left < drawn.pixel(0.0, 0.0)[0] and up < drawn.pixel(0.0, 0.0)[1], "x to the right, y up"
    before[20:320, 10:310] = canvas.pixels[20:320, 10:310]
    assert np.array_equal(before, canvas.pixels), "nothing is drawn beside the map"


def test_a_frame_without_an_estimate_is_drawn():
    nothing = view({}, frozenset(KEYS), mean_m=None, covariance_m2=None, scores=None,
                   qoi=dict.fromkeys(MODALITIES, math.nan))
    picture, pixels = draw(nothing)
    assert has(pixels, Box(864, 48, 400, 400), WARN)
    assert all(has(pixels, picture.thumbnail(key), ALERT) for key in KEYS)


def test_one_sensor_node_with_two_modalities_fills_the_same_place():
    keys = [SensorKey("left", Modality.RGB), SensorKey("left", Modality.DEPTH)]
    whole = config()
    model = whole.model_copy(update={"modalities": {m: whole.modalities[m] for m in (Modality.RGB, Modality.DEPTH)},
                                     "node_poses": {}, "sensor_nodes": ("left",)})
    picture = DebugPicture(model, keys)
    shown = view({Modality.RGB: (0,)}, limit=math.inf)
    assert picture.draw(shown).shape == (HEIGHT, WIDTH, 3)
    assert picture.thumbnail(keys[0]).width > 400 and picture.thumbnail(keys[1]).right <= 848


def test_the_history_is_bounded_and_restarts_in_another_unit():
    history = History()
    layers = view({Modality.RGB: (0,)}).estimate
    for _ in range(HISTORY + 20):
        history.note(layers)
    assert len(history.frames()) == HISTORY
    history.note(replace(layers, allocation=replace(layers.allocation, granted_unit="gflops")))
    assert len(history.frames()) == 1


@given(st.text(max_size=30), st.integers(-50, 450), st.integers(-50, 450), st.sampled_from([0.0, 0.5, 1.0]))
@settings(max_examples=30, deadline=None)
def test_text_is_clipped_at_the_edge(text, x, y, align):
    canvas = Canvas(400, 400)
    canvas.text(text, x, y, INK, 12, align=align)
