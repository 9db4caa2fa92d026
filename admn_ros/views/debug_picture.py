# SPDX-License-Identifier: Apache-2.0
"""Debug image of one frame: sensor data, quality, allocation of layers, position, budget and class."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from admn_ros.config import ModelConfig
from admn_ros.inference.decision import InputDecision, input_decisions
from admn_ros.inference.ellipse import Float64
from admn_ros.inference.engine import Estimate
from admn_ros.inference.tracking import TrackState
from admn_ros.model.allocation import Reason
from admn_ros.model.costs import layer_costs
from admn_ros.sample import Availability, Modality, SensorFrame, SensorKey
from admn_ros.views.colorize import colorize
from admn_ros.views.debug_canvas import (
    ALERT,
    CARD,
    GOOD,
    INK,
    MODALITY,
    RULE,
    SOFT,
    WARN,
    Box,
    Canvas,
    Picture,
)
from admn_ros.views.debug_map import TRACK, TopDownMap
from admn_ros.views.palette import Rgb

WIDTH, HEIGHT = 1280, 720
HISTORY = 90
"""Number of previous frames that are shown."""
STATES: dict[Availability, Rgb] = {Availability.FRESH: GOOD, Availability.HELD: WARN, Availability.MISSING: ALERT}
_EDGE, _GAP = 16, 8
_HEAD = Box(_EDGE, 10, WIDTH - 2 * _EDGE, 30)
_SENSORS = Box(_EDGE, 48, 832, 418)
_LANES = Box(_EDGE, 478, 832, 228)
_MAP = Box(864, 48, 400, 400)
_SPENT = Box(864, 456, 400, 250)
_CELL_GAP = 3
_STRIP = 28
_DIMMED = 0.3
"""Brightness of the thumbnail of an input that did not run."""


@dataclass(frozen=True)
class PastFrame:
    """Budget, cost and position of a previous frame."""

    granted: float
    cost: dict[Modality, float]
    mean_m: Float64 | None


@dataclass(frozen=True)
class DebugView:
    """Content of a debug image.

    Attributes:
        frame: sensor data.
        estimate: estimate of the same stamp, without a position if the frame shows no target.
        latency_ms: time from the newest input to the outputs.
        dropped: frames dropped so far.
        track: tracked target; None without tracking.
        past: latest frames up to this one, oldest first.
    """

    frame: SensorFrame
    estimate: Estimate
    latency_ms: float
    dropped: int
    track: TrackState | None = None
    past: tuple[PastFrame, ...] = ()


class History:
    """Latest frames, drawn or not, for the columns and the trail."""

    def __init__(self) -> None:
        self._past: deque[PastFrame] = deque(maxlen=HISTORY)
        self._unit = ""

    def note(self, estimate: Estimate) -> None:
        """Add a frame."""
        a = estimate.allocation
        if a.granted_unit != self._unit:
            self._past.clear()  # amounts in different units do not share an axis
        self._unit = a.granted_unit
        self._past.append(PastFrame(a.granted_limit, dict(a.cost), estimate.mean_m))

    def frames(self) -> tuple[PastFrame, ...]:
        """Return the frames, oldest first."""
        return tuple(self._past)


class DebugPicture:
    """Debug images of one model with one set of inputs.

    Args:
        config: model configuration.
        inputs: configured inputs.
    """

    def __init__(self, config: ModelConfig, inputs: Sequence[SensorKey]) -> None:
        self._config = config
        self._inputs = set(inputs)
        self._nodes = list(dict.fromkeys(key.node for key in inputs))
        self._modalities = list(config.modalities)
        self._map = TopDownMap(_MAP, config)

    def draw(self, view: DebugView) -> Picture:
        """Draw a frame as RGB, uint8 (HEIGHT, WIDTH, 3)."""
        canvas = Canvas(WIDTH, HEIGHT)
        decisions = {SensorKey(d.sensor_node, Modality(d.modality)): d for d in
                     input_decisions(view.estimate.allocation, self._config.sensor_nodes)}
        self._draw_head(canvas, view)
        for row, modality in enumerate(self._modalities):
            self._draw_column(canvas, modality, view.frame, decisions)
            self._draw_lane(canvas, row, modality, view)
        trail = [past.mean_m for past in view.past[:-1] if past.mean_m is not None]
        self._map.draw(canvas, {node: STATES[self._node_state(view.frame, node)] for node in self._nodes}, trail,
                       view.estimate.mean_m, view.estimate.covariance_m2, view.track,
                       "no estimate" if view.estimate.scores is None else "no target")
        self._draw_place(canvas, view)
        self._draw_spent(canvas, view)
        return canvas.pixels

    # --- layout ------------------------------------------------------------------------------------

    def cell(self, modality: Modality, layer: int) -> Box:
        """Return the box of a layer."""
        lane, depth = self._lane(self._modalities.index(modality)), self._config.depths[modality]
        left, right = lane.x + 268, lane.right - 96
        width = (right - left + _CELL_GAP) / depth
        x = left + round(layer * width)
        return Box(x, lane.y + 8, max(1, left + round((layer + 1) * width) - _CELL_GAP - x), lane.height - 22)

    def quality(self, modality: Modality) -> Box:
        """Return the box of the QoI bar of a modality."""
        lane = self._lane(self._modalities.index(modality))
        return Box(lane.x + 108, lane.y + lane.height // 2 - 6, 110, 10)

    def thumbnail(self, key: SensorKey) -> Box:
        """Return the box of the thumbnail of an input."""
        column, row = self._modalities.index(key.modality), self._nodes.index(key.node)
        width, height = _SENSORS.width / len(self._modalities), (_SENSORS.height - 24) / len(self._nodes)
        x, y = round(column * width), 24 + round(row * height)
        return Box(_SENSORS.x + x, _SENSORS.y + y, round((column + 1) * width) - x - _GAP,
                   24 + round((row + 1) * height) - y - _GAP)

    @property
    def spent_bar(self) -> Box:
        """Box of the bar of the cost of the frame."""
        return Box(_SPENT.x + 12, _SPENT.y + 66, _SPENT.width - 24, 14)

    def _lane(self, row: int) -> Box:
        height = _LANES.height / len(self._modalities)
        y = round(row * height)
        return Box(_LANES.x, _LANES.y + y, _LANES.width - _GAP, round((row + 1) * height) - y)

    # --- drawing -----------------------------------------------------------------------------------

    def _draw_head(self, canvas: Canvas, view: DebugView) -> None:
        baseline = _HEAD.bottom - 8
        x = _HEAD.x + canvas.text(self._config.name, _HEAD.x, baseline, INK, 14, bold=True) + 14
        if not self._config.trained:
            x += canvas.text("UNTRAINED: random estimates", x, baseline, ALERT, 11) + 14
        seconds, rest = divmod(view.frame.stamp_ns, 10**9)
        right = canvas.text(
            f"stamp {seconds}.{rest // 10**6:03d}   latency {view.latency_ms:.0f} ms   dropped {view.dropped}",
            _HEAD.right, baseline, SOFT, 11, align=1.0)
        allocation = view.estimate.allocation
        colour = {Reason.ALLOCATED: SOFT, Reason.DEGRADED: WARN}.get(allocation.reason, ALERT)
        canvas.text(canvas.cut(allocation.reason_text, _HEAD.right - right - 14 - x, 11), x, baseline, colour, 11)

    def _draw_column(self, canvas: Canvas, modality: Modality, frame: SensorFrame,
                     decisions: Mapping[SensorKey, InputDecision]) -> None:
        """Draw the header and the thumbnails of a modality."""
        first = self.thumbnail(SensorKey(self._nodes[0], modality))
        canvas.fill(Box(first.x, _SENSORS.y + 4, 4, 14), MODALITY[modality])
        canvas.text(str(modality), first.x + 12, _SENSORS.y + 17, INK, 12, bold=True)
        for node in self._nodes:
            key = SensorKey(node, modality)
            box = self.thumbnail(key)
            canvas.fill(box, CARD)
            if key in self._inputs:
                self._draw_reading(canvas, box, key, frame, decisions.get(key))
            else:
                canvas.text("not configured", box.x + box.width // 2, box.y + box.height // 2 + 4, RULE, 10, align=0.5)

    def _draw_reading(self, canvas: Canvas, box: Box, key: SensorKey, frame: SensorFrame,
                      decision: InputDecision | None) -> None:
        """Draw a thumbnail with its sensor node, its availability, and what was decided about it."""
        reading = frame.readings.get(key)
        strip = Box(box.x, box.bottom - _STRIP, box.width, _STRIP)
        inside = Box(box.x, box.y, box.width, box.height - strip.height)
        state = Availability.MISSING if reading is None else reading.availability
        if reading is None or reading.data is None or reading.stamp_ns is None:
            canvas.text("missing", box.x + box.width // 2, inside.y + inside.height // 2 + 5, ALERT, 12, align=0.5)
            label = "missing"
        else:
            keep = key.modality in (Modality.RGB, Modality.DEPTH)
            canvas.picture(colorize(key.modality, reading.data), inside, keep_shape=keep)
            age_ms = (frame.stamp_ns - reading.stamp_ns) / 1e6
            label = str(state) if state is Availability.FRESH else f"held {age_ms:.0f} ms"
            if decision is not None and not decision.ran:
                canvas.dim(inside, _DIMMED)
                canvas.paragraph(decision.why, inside, INK, 10)
        canvas.fill(Box(strip.x, strip.y, strip.width, 2), STATES[state])
        canvas.text(key.node, strip.x + 5, strip.y + 12, INK, 8)
        canvas.text(label, strip.right - 5, strip.y + 12, STATES[state], 8, align=1.0)
        if decision is None or not decision.cost:
            return
        value = "" if math.isnan(decision.value) else f"value {decision.value:.3g}"
        canvas.text(value, strip.x + 5, strip.bottom - 4, INK if decision.ran else SOFT, 8)
        canvas.text(f"cost {decision.cost:.3g}", strip.right - 5, strip.bottom - 4, SOFT, 8, align=1.0)

    def _draw_lane(self, canvas: Canvas, row: int, modality: Modality, view: DebugView) -> None:
        """Draw name, availability, QoI, layers and number of layers of a modality."""
        lane, colour = self._lane(row), MODALITY[modality]
        middle = lane.y + lane.height // 2
        state = view.frame.availability(modality)
        active = view.estimate.allocation.active.get(modality, ())
        canvas.fill(Box(lane.x, lane.y, lane.width, lane.height - 6), CARD)
        canvas.fill(Box(lane.x, lane.y, 4, lane.height - 6), colour)
        canvas.text(str(modality), lane.x + 14, middle - 2, INK, 12, bold=True)
        canvas.text(str(state), lane.x + 14, middle + 13, STATES[state], 9)
        bar, quality = self.quality(modality), view.estimate.qoi.get(modality, math.nan)
        canvas.text("QoI", bar.x, bar.y - 5, SOFT, 8)
        canvas.bar(bar, 0.0 if math.isnan(quality) else quality, colour)
        canvas.text("-" if math.isnan(quality) else f"{quality:.2f}", bar.right, bar.y - 5, INK, 9, align=1.0)
        for layer in range(self._config.depths[modality]):
            cell = self.cell(modality, layer)
            if layer in active:
                canvas.fill(cell, colour)
            else:
                canvas.frame(cell, RULE)
        canvas.text(f"{len(active)}", lane.right - 46, middle + 4, INK, 14, bold=True, align=1.0)
        canvas.text(f"/ {self._config.depths[modality]}", lane.right - 40, middle + 4, SOFT, 11)

    def _draw_place(self, canvas: Canvas, view: DebugView) -> None:
        """Draw position and speed as text in the corner of the map."""
        x, y = _MAP.x + 8, _MAP.y + 18
        mean, covariance = view.estimate.mean_m, view.estimate.covariance_m2
        if mean is not None and covariance is not None:
            spread = math.sqrt(max(covariance[0, 0], covariance[1, 1]))
            canvas.text(f"x {mean[0]:+.2f}  y {mean[1]:+.2f}  std {spread:.2f} m", x, y, INK, 10)
        if view.track is not None:
            speed = float(np.linalg.norm(view.track.velocity_mps))
            canvas.text(f"track {view.track.outcome}, {speed:.2f} m/s", x, y + 17, TRACK, 10)

    def _draw_spent(self, canvas: Canvas, view: DebugView) -> None:
        """Draw the budget of the frame and of previous frames, and the classes."""
        a, box = view.estimate.allocation, _SPENT
        canvas.fill(box, CARD)
        limit = "no limit" if math.isinf(a.granted_limit) else f"of {a.granted_limit:g}"
        width = canvas.text(f"{a.spent:.4g}", box.x + 12, box.y + 28, INK, 17, bold=True)
        canvas.text(f"{limit} {a.granted_unit}", box.x + 18 + width, box.y + 28, SOFT, 11)
        canvas.text(f"from {a.requested.source or 'an unnamed source'}", box.x + 12, box.y + 50, SOFT, 10)
        top = self._top(view)
        bar, at = self.spent_bar, 0.0
        canvas.fill(bar, RULE)
        for modality in self._modalities:
            until = at + a.cost.get(modality, 0.0)
            left, right = (bar.x + round(bar.width * min(1.0, amount / top)) for amount in (at, until))
            canvas.fill(Box(left, bar.y, right - left, bar.height), MODALITY[modality])
            at = until
        if a.granted_limit <= top:
            x = min(bar.x + round(bar.width * a.granted_limit / top), bar.right - 2)
            canvas.fill(Box(x, bar.y - 4, 2, bar.height + 8), INK)
        self._draw_history(canvas, Box(box.x + 12, box.y + 92, box.width - 24, 70), view.past, top)
        self._draw_classes(canvas, view, Box(box.x + 12, box.y + 172, box.width - 24, 70))

    def _top(self, view: DebugView) -> float:
        """Return the end of the budget axis: the cost of all layers if known, else the largest value of the history."""
        a = view.estimate.allocation
        if a.granted_unit == "layers":
            table = layer_costs(self._config)
            return table.amount(table.total(table.everything))
        seen = [a.spent, *(sum(past.cost.values()) for past in view.past)]
        seen += [past.granted for past in view.past if math.isfinite(past.granted)]
        return max([*seen, 1e-9]) * 1.05

    def _draw_history(self, canvas: Canvas, box: Box, frames: Sequence[PastFrame], top: float) -> None:
        """Draw a column of cost and budget per previous frame, the newest one at the right."""
        canvas.fill(box, (22, 26, 32))
        step = box.width / HISTORY
        for k, past in enumerate(reversed(frames)):
            right = box.right - round(k * step)
            left = max(box.x, box.right - round((k + 1) * step))
            at = 0.0
            for modality in self._modalities:
                until = at + past.cost.get(modality, 0.0)
                low, high = (box.bottom - round(box.height * min(1.0, v / top)) for v in (at, until))
                canvas.fill(Box(left, high, right - left, low - high), MODALITY[modality])
                at = until
            if past.granted <= top:
                y = box.bottom - round(box.height * past.granted / top)
                canvas.fill(Box(left, max(box.y, y - 2), right - left, 2), INK)
        canvas.text(f"last {HISTORY} frames and their budgets", box.x + 5, box.y + 13, SOFT, 8)

    def _draw_classes(self, canvas: Canvas, view: DebugView, box: Box) -> None:
        """Draw the most likely classes."""
        scores = view.estimate.scores
        if scores is None:
            canvas.text("no class", box.x, box.y + 14, WARN, 11)
            return
        order = np.argsort(-scores)[:3]
        for row, k in enumerate(order.tolist()):
            y = box.y + row * 24
            canvas.text(self._config.classes[k], box.x, y + 14, INK if row == 0 else SOFT, 11, bold=row == 0)
            canvas.bar(Box(box.x + 170, y + 5, box.width - 170 - 52, 9), float(scores[k]), INK if row == 0 else SOFT)
            canvas.text(f"{scores[k]:.2f}", box.right, y + 14, INK if row == 0 else SOFT, 11, align=1.0)

    def _node_state(self, frame: SensorFrame, node: str) -> Availability:
        """Return MISSING if all inputs of the sensor node are missing, HELD if some are, else FRESH."""
        states = {r.availability for k, r in frame.readings.items() if k.node == node}
        if states <= {Availability.MISSING}:
            return Availability.MISSING
        return Availability.HELD if Availability.MISSING in states else Availability.FRESH
