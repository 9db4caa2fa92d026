# SPDX-License-Identifier: Apache-2.0
"""What cameras see of the scene: rays against ground, walls, furniture and car.

The still scene is cast once per camera; of each frame only the car's part of the picture is cast anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from admn_ros.simulation.plain import surfaces
from admn_ros.simulation.scene.geometry import (
    CAR_SIZE_M,
    CEILING_M,
    LAMP_M,
    ROOM_HALF_M,
    Box,
    CarState,
    Floats,
    Pose,
    car_boxes,
    furniture,
    rotation_z,
)

Single = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Camera:
    """A pinhole camera at a pose in `map` (optical frame, REP-103), pixels square, no distortion."""

    pose: Pose
    width: int
    height: int
    focal_px: float

    @property
    def matrix(self) -> Floats:
        """Camera matrix K (3, 3) in pixels; integer coordinates are pixel centres."""
        return np.array([[self.focal_px, 0, (self.width - 1) / 2], [0, self.focal_px, (self.height - 1) / 2],
                         [0, 0, 1.0]])

    def project(self, points_m: Floats) -> tuple[Floats, Floats]:
        """Pixels (..., 2) and depth (...,) in metres of points (..., 3) in `map`."""
        local = self.pose.into(points_m)
        pixels = (local @ self.matrix.T)[..., :2] / local[..., 2:]
        return pixels, local[..., 2]

    def rays(self, fine: int, left: int, top: int, right: int, bottom: int) -> Single:
        """Directions in `map`, depth 1, of a window of pixels, `fine` x `fine` per pixel: (rows, columns, 3)."""
        offsets = (np.arange(fine) + 0.5) / fine - 0.5
        u = (np.arange(left, right)[:, None] + offsets).reshape(-1)
        v = (np.arange(top, bottom)[:, None] + offsets).reshape(-1)
        k = self.matrix
        x, y = np.meshgrid((u - k[0, 2]) / self.focal_px, (v - k[1, 2]) / self.focal_px)
        local = np.stack([x, y, np.ones_like(x)], axis=-1)
        rays: Single = (local @ self.pose.rotation.T).astype(np.float32)
        return rays


@dataclass
class Surface:
    """What rays hit: depth (N,) metres along the optical axis, point (N, 3), normal (N, 3), albedo (N, 3)."""

    depth: Single
    normal: Single
    albedo: Single


class View:
    """One camera in the scene of one node."""

    def __init__(self, camera: Camera, node: str, fine: int) -> None:
        """Cast the still scene. `fine`: rays per pixel in each axis (smooth edges)."""
        self.camera, self.fine = camera, fine
        rays = camera.rays(fine, 0, 0, camera.width, camera.height)
        self._shape = rays.shape[:2]
        flat = rays.reshape(-1, 3)
        still = _cast_room(camera.pose.translation_m, flat)
        _cast_boxes(still, camera.pose.translation_m, flat, furniture(without=node))
        self.depth: Single = still.depth.reshape(self._shape)
        self.normal = still.normal.reshape(*self._shape, 3)
        self.light: Single = _shade(still, _points(camera, flat, still.depth)).reshape(*self._shape, 3)
        self.still_light = _average(self.light, fine)

    def window(self, car: CarState) -> tuple[int, int, int, int] | None:
        """Pixels (left, top, right, bottom) that car and shadow can touch; None when out of sight."""
        corners = _bounds(car)
        pixels, depth = self.camera.project(corners)
        if depth.min() < 0.2:  # so near or behind that the projection of the corners means nothing
            return 0, 0, self.camera.width, self.camera.height
        left, top = np.floor(pixels.min(axis=0)).astype(int) - 1
        right, bottom = np.ceil(pixels.max(axis=0)).astype(int) + 2
        left, right = max(0, left), min(self.camera.width, right)
        top, bottom = max(0, top), min(self.camera.height, bottom)
        return (left, top, right, bottom) if left < right and top < bottom else None

    def cast(self, car: CarState, colour: str) -> Cast:
        """Depth and light with the car in its place; `car` holds one instant."""
        window = self.window(car)
        if window is None:
            return Cast(self, None)
        left, top, right, bottom = window
        rays = self.camera.rays(self.fine, *window)
        shape, flat = rays.shape[:2], rays.reshape(-1, 3)
        part = (slice(top * self.fine, bottom * self.fine), slice(left * self.fine, right * self.fine))
        still_depth = self.depth[part].reshape(-1)
        surface = Surface(still_depth.copy(), np.zeros_like(flat), np.zeros_like(flat))
        _cast_boxes(surface, self.camera.pose.translation_m, flat, car_boxes(car.position_m, float(car.heading_rad),
                                                                             colour))
        points = _points(self.camera, flat, surface.depth)
        on_car = surface.depth < still_depth
        light = self.light[part].reshape(-1, 3) * _shadow(points, car)[:, None]
        light[on_car] = _shade(surface, points)[on_car]
        return Cast(self, window, surface.depth.reshape(shape), light.reshape(*shape, 3), on_car.reshape(shape))


@dataclass
class Cast:
    """One instant of a view: the part of the picture that the car changes."""

    view: View
    window: tuple[int, int, int, int] | None
    _depth: Single = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    _light: Single = field(default_factory=lambda: np.zeros((0, 0, 3), np.float32))
    _on_car: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros((0, 0), np.bool_))

    def light(self) -> Single:
        """Linear light (H, W, 3)."""
        picture: Single = self.view.still_light.copy()
        if self.window is not None:
            left, top, right, bottom = self.window
            picture[top:bottom, left:right] = _average(self._light, self.view.fine)
        return picture

    def depth(self) -> Single:
        """Metres along the optical axis (H, W), of the ray through each pixel's centre (`fine` odd)."""
        middle, fine = self.view.fine // 2, self.view.fine
        depth: Single = self.view.depth[middle::fine, middle::fine].copy()
        if self.window is not None:
            left, top, right, bottom = self.window
            depth[top:bottom, left:right] = self._depth[middle::fine, middle::fine]
        return depth

    def car_mask(self) -> npt.NDArray[np.bool_]:
        """Pixels (H, W) that show the car."""
        mask = np.zeros((self.view.camera.height, self.view.camera.width), np.bool_)
        if self.window is not None:
            left, top, right, bottom = self.window
            mask[top:bottom, left:right] = _average(self._on_car.astype(np.float32)[..., None], self.view.fine)[
                ..., 0] >= 0.5
        return mask


def expose(light: Single, rng: np.random.Generator, dark: bool) -> npt.NDArray[np.uint8]:
    """A camera's 8-bit picture (H, W, 3) of linear light, with shot and read noise.

    Dark: the lamps are out, a fiftieth of the light is left, and the automatic gain brings up the noise.
    """
    gain, read, shot = (5.0, 0.020, 0.05) if dark else (1.0, 0.004, 0.012)
    signal = light * np.float32(0.02 * gain if dark else 1.0)
    noise = rng.standard_normal(light.shape, dtype=np.float32)
    signal += noise * np.sqrt(np.float32(read) ** 2 + np.float32(shot) ** 2 * signal)
    np.clip(signal, 0, 1, out=signal)
    picture: npt.NDArray[np.uint8] = _GAMMA[(signal * 4095).astype(np.uint16)]
    return picture


def measure_depth(truth: Single, normal_cosine: Single, rng: np.random.Generator,
                  saturated: bool) -> Single:
    """A time-of-flight camera's metres (H, W), NaN where it gives up, in steps of 1/4096 m.

    Noise grows with range; returns fail at grazing angles, far away and at edges. Saturated: infrared
    light floods the receiver; few pixels answer, and those by decimetres wrong.
    """
    sigma = np.full_like(truth, 0.25) if saturated else 0.002 + 0.0015 * truth
    measured = truth + sigma * rng.standard_normal(truth.shape, dtype=np.float32)
    lost = 0.01 + 0.5 * np.clip((0.25 - normal_cosine) / 0.25, 0, 1) + 0.3 * np.clip((truth - 5.0) / 3.0, 0, 1)
    if saturated:
        lost = np.full_like(truth, 0.9)
    lost = np.where(_edges(truth), 0.7, lost)
    measured = np.round(measured * 4096) / 4096  # also leaves bits for compression
    measured[(rng.random(truth.shape, dtype=np.float32) < lost) | (measured < 0.05)] = np.nan
    return measured.astype(np.float32)


def grazing_cosine(view: View) -> Single:
    """Cosine (H, W) between each pixel's ray and the still surface's normal, for `measure_depth`."""
    middle, fine = view.fine // 2, view.fine
    rays = view.camera.rays(1, 0, 0, view.camera.width, view.camera.height)
    rays = rays / np.linalg.norm(rays, axis=-1, keepdims=True)
    cosine: Single = np.abs((rays * view.normal[middle::fine, middle::fine]).sum(axis=-1)).astype(np.float32)
    return cosine


_GAMMA = np.round(255 * (np.arange(4096) / 4095) ** (1 / 2.2)).astype(np.uint8)


def _average(image: npt.NDArray[Any], fine: int) -> Single:
    rows, columns, channels = image.shape
    if fine == 1:
        return image.astype(np.float32)
    blocks = image.reshape(rows // fine, fine, columns // fine, fine, channels)
    averaged: Single = blocks.mean(axis=(1, 3), dtype=np.float32)
    return averaged


def _edges(depth: Single) -> npt.NDArray[np.bool_]:
    """Pixels beside a jump of more than 12 cm: half a beam on each side gives no sure answer."""
    kernel = np.ones((3, 3), np.uint8)
    step = cv2.dilate(depth, kernel) - cv2.erode(depth, kernel)
    return np.asarray(step > 0.12 + 0.06 * depth)


def _points(camera: Camera, rays: Single, depth: Single) -> Single:
    points: Single = camera.pose.translation_m.astype(np.float32) + rays * depth[:, None]
    return points


def _cast_room(origin: Floats, rays: Single) -> Surface:
    """Floor, ceiling and four walls, seen from inside."""
    half = np.array([*ROOM_HALF_M, CEILING_M / 2], np.float32)
    start = (origin - np.array([0, 0, CEILING_M / 2])).astype(np.float32)
    with np.errstate(divide="ignore"):
        leave = (np.sign(rays) * half - start) / np.where(rays == 0, np.float32(1e-9), rays)
    leave = np.where(rays == 0, np.inf, leave)
    axis = leave.argmin(axis=1)
    rows = np.arange(len(rays))
    depth = leave[rows, axis].astype(np.float32)
    normal = np.zeros_like(rays)
    normal[rows, axis] = -np.sign(rays[rows, axis])
    points = origin.astype(np.float32) + rays * depth[:, None]
    return Surface(depth, normal, surfaces.room_albedo(points, axis))


def _cast_boxes(surface: Surface, origin: Floats, rays: Single, boxes: list[Box]) -> None:
    """Put boxes in front of a surface where they are nearer."""
    length2 = np.einsum("ij,ij->i", rays, rays)
    for box in boxes:
        # Most rays pass far from most boxes: only those that meet its bounding sphere are worth the full test.
        to_box = (np.array(box.centre_m) - origin).astype(np.float32)
        reach2 = np.float32(to_box @ to_box - sum(h * h for h in box.half_m))
        towards = rays @ to_box
        near = np.flatnonzero((towards > 0) & (towards**2 >= reach2 * length2))
        depth, normal = box.hit(origin, rays[near])
        nearer = depth < surface.depth[near]
        hit = near[nearer]
        surface.depth[hit] = depth[nearer]
        surface.normal[hit] = normal[nearer]
        surface.albedo[hit] = np.array(box.albedo, np.float32)


def _shade(surface: Surface, points: Single) -> Single:
    """Light that matt surfaces send back: a ceiling lamp and what the room scatters."""
    to_lamp = np.array(LAMP_M, np.float32) - points
    distance2 = np.einsum("ij,ij->i", to_lamp, to_lamp)[:, None]
    lambert = np.maximum(np.einsum("ij,ij->i", surface.normal, to_lamp)[:, None] / np.sqrt(distance2), 0)
    # The scattered light comes mostly from above, so undersides and sides are darker than tops.
    ambient = 0.42 + 0.16 * surface.normal[:, 2:]
    light: Single = surface.albedo * (ambient + 3.2 * lambert / (1 + distance2))
    return light


def _bounds(car: CarState) -> Floats:
    """Corners (8, 3) of a box around the car and its shadow."""
    length, width, height = CAR_SIZE_M
    x, y = length / 2 + 0.08, width / 2 + 0.08
    corners = np.array([[a, b, c] for a in (-x, x) for b in (-y, y) for c in (0.0, height)])
    turned: Floats = corners @ rotation_z(float(car.heading_rad)).T + np.array([*car.position_m, 0.0])
    return turned


def _shadow(points: Single, car: CarState) -> Single:
    """Share (N,) of the lamp's light that still scenery gets beside the car: 1, less on the floor below it."""
    # The lamp is far above, so the shadow is the outline moved away from it by half the car's height.
    away = (car.position_m - np.array(LAMP_M[:2])) / LAMP_M[2] * (CAR_SIZE_M[2] / 2)
    turn = rotation_z(float(car.heading_rad))[:2, :2]
    local = np.abs((points[:, :2] - car.position_m - away) @ turn) - np.array(CAR_SIZE_M[:2]) / 2
    beside, before = local[:, 1], local[:, 0]
    outside = np.hypot(np.maximum(before, 0), np.maximum(beside, 0)) + np.minimum(np.maximum(before, beside), 0)
    share = np.clip(0.35 + 0.65 * (outside + 0.02) / 0.06, 0.35, 1.0)
    return np.where(points[:, 2] < 0.01, share, 1.0).astype(np.float32)
