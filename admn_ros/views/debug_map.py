# SPDX-License-Identifier: Apache-2.0
"""Top-down map: sensor nodes, estimates with their ellipses, track."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from admn_ros.config import ModelConfig, NodePose
from admn_ros.inference.ellipse import Float64, plane_ellipse
from admn_ros.inference.tracking import TrackState
from admn_ros.views.debug_canvas import CARD, INK, RULE, SOFT, WARN, Box, Canvas
from admn_ros.views.palette import Rgb

SHARE = 0.90
"""Probability mass of a drawn ellipse."""
TARGET: Rgb = (255, 255, 255)
TRACK: Rgb = (196, 140, 255)
_MARGIN_M = 0.5
_FINE_BITS = 4   # OpenCV takes points in units of 1/16 pixel
_VIEW_RAD = 0.5  # half of the drawn opening angle of a sensor node
_VIEW_M = 0.45
_AHEAD_S = 0.4   # time that the arrow of the track looks ahead


class TopDownMap:
    """Map in a box of a canvas: x to the right, y up, in the frame of the model.

    Args:
        box: box to draw into.
        config: model configuration, with the area and the poses of the sensor nodes.
    """

    def __init__(self, box: Box, config: ModelConfig) -> None:
        self._box, self._frame = box, config.frame_id
        self._nodes: Mapping[str, NodePose] = config.node_poses
        place = config.localization
        corners = [place.min_m[:2], place.max_m[:2], *((p.x_m, p.y_m) for p in self._nodes.values())]
        low, high = np.min(corners, axis=0), np.max(corners, axis=0)
        side_m = float((high - low).max()) + 2 * _MARGIN_M
        self._scale = min(box.width, box.height) / side_m
        self._middle = (low + high) / 2
        self._area = place.min_m[:2], place.max_m[:2]

    def pixel(self, x_m: float, y_m: float) -> tuple[float, float]:
        """Return the column and row of a position."""
        return (self._box.x + self._box.width / 2 + (x_m - self._middle[0]) * self._scale,
                self._box.y + self._box.height / 2 - (y_m - self._middle[1]) * self._scale)

    def draw(self, canvas: Canvas, states: Mapping[str, Rgb], trail_m: Sequence[Float64], mean_m: Float64 | None,
             covariance_m2: Float64 | None, track: TrackState | None, absent: str = "no estimate") -> None:
        """Draw the map.

        Args:
            canvas: canvas to draw on.
            states: colour of each sensor node.
            trail_m: previous estimates, oldest first.
            mean_m: estimated position of the frame; None without one.
            covariance_m2: its covariance.
            track: tracked target; None without one.
            absent: text in place of the position.
        """
        canvas.fill(self._box, CARD)
        self._grid(canvas)
        for name, pose in self._nodes.items():
            self._node(canvas, name, pose, states.get(name, SOFT))
        for age, place in enumerate(reversed(trail_m), start=1):
            shade = tuple(round(c + (t - c) * 0.8 / (1 + age / 15)) for c, t in zip(CARD, TARGET, strict=True))
            self._dot(canvas, place, 2, (shade[0], shade[1], shade[2]))
        if track is not None:
            self._track(canvas, track)
        if mean_m is None or covariance_m2 is None:
            canvas.text(absent, self._box.x + self._box.width // 2, self._box.bottom - 14, WARN, 12, align=0.5)
            return
        self._ellipse(canvas, mean_m, covariance_m2, TARGET)
        self._dot(canvas, mean_m, 4, TARGET)

    def _grid(self, canvas: Canvas) -> None:
        """Draw lines every metre, and the area of the model."""
        reach = math.ceil(max(self._box.width, self._box.height) / self._scale / 2) + 1
        for k in range(-reach, reach + 1):
            x, y = round(self._middle[0]) + k, round(self._middle[1]) + k
            for a, b in (((x, -99), (x, 99)), ((-99, y), (99, y))):
                self._line(canvas, self.pixel(*a), self.pixel(*b), RULE)
        (x0, y1), (x1, y0) = self.pixel(*self._area[0]), self.pixel(*self._area[1])
        for start, end in (((x0, y0), (x1, y0)), ((x1, y0), (x1, y1)), ((x1, y1), (x0, y1)), ((x0, y1), (x0, y0))):
            self._line(canvas, start, end, SOFT)
        canvas.text(f"{self._frame}, grid 1 m", self._box.x + 8, self._box.bottom - 8, SOFT, 9)

    def _node(self, canvas: Canvas, name: str, pose: NodePose, colour: Rgb) -> None:
        here = np.array([pose.x_m, pose.y_m])
        view = [here + _VIEW_M * np.array([math.cos(pose.yaw_rad + turn), math.sin(pose.yaw_rad + turn)])
                for turn in np.linspace(-_VIEW_RAD, _VIEW_RAD, 7)]
        shape = self._fine(np.array([self.pixel(*p) for p in (here, *view)]))
        shade = tuple(round(0.72 * c + 0.28 * t) for c, t in zip(CARD, colour, strict=True))
        cv2.fillPoly(self._pixels(canvas), [shape], shade, cv2.LINE_AA, _FINE_BITS)
        self._dot(canvas, here, 5, colour)
        x, y = self.pixel(*here)
        above = y > self._box.y + 24
        canvas.text(name, round(x), round(y) - 10 if above else round(y) + 18, INK, 9, align=0.5)

    def _track(self, canvas: Canvas, track: TrackState) -> None:
        """Draw the ellipse of the track, and an arrow along its velocity."""
        self._ellipse(canvas, track.position_m, track.position_covariance_m2, TRACK)
        start, end = track.position_m[:2], track.position_m[:2] + _AHEAD_S * track.velocity_mps[:2]
        (x0, y0), (x1, y1) = self.pixel(*start), self.pixel(*end)
        length = math.hypot(x1 - x0, y1 - y0)
        if length > 3:
            a, b = self._fine(np.array([[x0, y0], [x1, y1]]))
            cv2.arrowedLine(self._pixels(canvas), a.tolist(), b.tolist(), TRACK, 2, cv2.LINE_AA, _FINE_BITS,
                            min(0.3, 9 / length))

    def _ellipse(self, canvas: Canvas, mean_m: Float64, covariance_m2: Float64, colour: Rgb) -> None:
        ellipse = plane_ellipse(covariance_m2, SHARE)
        turn = np.linspace(0, 2 * math.pi, 49)[:-1]
        along, across = ellipse.major_m * np.cos(turn), ellipse.minor_m * np.sin(turn)
        cosine, sine = math.cos(ellipse.yaw_rad), math.sin(ellipse.yaw_rad)
        x_m, y_m = mean_m[0] + along * cosine - across * sine, mean_m[1] + along * sine + across * cosine
        points = np.array([self.pixel(x, y) for x, y in zip(x_m.tolist(), y_m.tolist(), strict=True)])
        cv2.polylines(self._pixels(canvas), [self._fine(points)], True, colour, 1, cv2.LINE_AA, _FINE_BITS)

    def _dot(self, canvas: Canvas, place_m: Float64, radius: int, colour: Rgb) -> None:
        x, y = self._fine(np.array([self.pixel(float(place_m[0]), float(place_m[1]))]))[0].tolist()
        cv2.circle(self._pixels(canvas), (x, y), radius << _FINE_BITS, colour, -1, cv2.LINE_AA, _FINE_BITS)

    def _line(self, canvas: Canvas, start: tuple[float, float], end: tuple[float, float], colour: Rgb) -> None:
        a, b = self._fine(np.array([start, end])).tolist()
        cv2.line(self._pixels(canvas), a, b, colour, 1, cv2.LINE_AA, _FINE_BITS)

    def _pixels(self, canvas: Canvas) -> npt.NDArray[np.uint8]:
        """Return the pixels of the box, so that drawing is clipped to it."""
        return self._box.of(canvas.pixels)

    def _fine(self, points: npt.NDArray[np.float64]) -> npt.NDArray[np.int32]:
        """Convert points (N, 2) of the canvas to fixed-point units of the box."""
        inside = (points - (self._box.x, self._box.y)) * (1 << _FINE_BITS)
        return np.asarray(np.clip(inside, -1e6, 1e6).round(), np.int32)
