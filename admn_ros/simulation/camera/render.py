# SPDX-License-Identifier: Apache-2.0
"""Images and depth of a scene from its sensor nodes, rendered by MuJoCo without a display.

The empty room is rendered once for each camera. For a frame, the window of pixels that the car, other moving bodies and
their shadows can cover is rendered and pasted into it.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from admn_ros.errors import InputError
from admn_ros.simulation.camera.offscreen import OffScreen, PinholeCamera
from admn_ros.simulation.scene.car import CAR_SIZE_M, CarState
from admn_ros.simulation.scene.geometry import Floats, rotation_z
from admn_ros.simulation.scene.others import NOBODY, Others
from admn_ros.simulation.scene.person_model import BodyPose, person_poses
from admn_ros.simulation.scene.room_model import RIG_GROUP, build, light_direction
from admn_ros.simulation.scene.scene import Scene
from admn_ros.simulation.scene.surfaces import surface_of_body

Single = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

# Horizontal and vertical field of view: of the ZED 2 in its 16:9 modes, estimated from GDTM's frames; of the L515 from
# its datasheet.
RGB_FOV_DEG, DEPTH_FOV_DEG = (84.0, 53.7), (70.0, 55.0)
KINDS = ("rgb", "depth", "reflectance")
MAX_SIZE, MAX_SUPERSAMPLE, MAX_SHADOW_SIZE = 2048, 4, 8192
_SMALL_COLUMNS = 200
_DEPTH_SAMPLES = 3
_NEAR_CAR_M = 0.25   # the projection of the car's corners is not valid below
_STRIDE_SIZE_M = (1.0, 0.7)   # length and width that a walking person covers

Window = tuple[int, int, int, int]   # left, top, right and bottom in pixels


@dataclass(frozen=True)
class _Shot:
    """One view: rgb (H, W, 3), averaged over samples, and depth (H, W) in metres."""

    rgb: Bytes
    depth: Single


class Renderer:
    """Renders one scene. A context manager that holds an OpenGL context until `close`.

    Use it in the thread that created it.
    """

    def __init__(self, scene: Scene, rgb: tuple[int, int] = (480, 270), depth: tuple[int, int] = (160, 120), *,
                 supersample: int = 3, rgb_fov_deg: tuple[float, float] = RGB_FOV_DEG,
                 depth_fov_deg: tuple[float, float] = DEPTH_FOV_DEG, shadow_size: int | None = None) -> None:
        """Build the room.

        Args:
            scene: room to render. Its seed draws the textures.
            rgb: width and height of "rgb" images in pixels.
            depth: width and height of "depth" and "reflectance" images in pixels.
            supersample: samples per rgb pixel along each axis, 1 to 4.
            rgb_fov_deg: horizontal and vertical field of view of the RGB cameras.
            depth_fov_deg: likewise, of the depth cameras.
            shadow_size: side of the shadow map in pixels; 0 for no shadows; None for 1024, or 512 for images below 200
                columns, in which finer shadows are not visible. Shadows take most of the time of a frame.

        Raises:
            InputError: a size is out of range, or MuJoCo or its OpenGL library is missing.
        """
        for name, (width, height) in (("rgb", rgb), ("depth", depth)):
            if not (8 <= width <= MAX_SIZE and 8 <= height <= MAX_SIZE):
                raise InputError(name, f"{width}x{height}", f"8 to {MAX_SIZE} pixels each")
        if not 1 <= supersample <= MAX_SUPERSAMPLE:
            raise InputError("supersample", supersample, f"1 to {MAX_SUPERSAMPLE}")
        self.scene, self.supersample = scene, supersample
        self._sizes = {"rgb": (rgb, rgb_fov_deg), "depth": (depth, depth_fov_deg)}
        largest = [max(r * supersample, d * _DEPTH_SAMPLES) for r, d in zip(rgb, depth, strict=True)]
        if shadow_size is None:
            shadow_size = 1024 if rgb[0] >= _SMALL_COLUMNS else 512
        elif not 0 <= shadow_size <= MAX_SHADOW_SIZE:
            raise InputError("shadow_size", shadow_size, f"0 to {MAX_SHADOW_SIZE}")
        room = build(scene, shadow_size, (largest[0], largest[1]))
        self._gl: OffScreen | None = OffScreen(room.xml, room.pictures)
        moving = [surface_of_body(name) for name in self._gl.bodies[len(room.surfaces):]]
        self._surfaces = np.array([*room.surfaces, *moving], np.uint8)
        balance = np.array(scene.look.white_balance)
        self._balance = np.clip(np.rint(np.arange(256)[:, None] * balance), 0, 255).astype(np.uint8)
        self._empty: dict[tuple[int, str], _Shot] = {}

    def __enter__(self) -> Renderer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Release the OpenGL context. The renderer cannot be used afterwards."""
        if self._gl is not None:
            self._gl.close()
            self._gl = None

    def camera(self, node_index: int, which: str = "rgb") -> PinholeCamera:
        """Return the camera of a node for a kind of image; that of "reflectance" is the depth camera.

        Raises:
            InputError: there is no such node or kind.
        """
        if which not in KINDS:
            raise InputError("which", repr(which), ", ".join(KINDS))
        if not 0 <= node_index < len(self.scene.nodes):
            raise InputError("node_index", node_index, f"0 to {len(self.scene.nodes) - 1}")
        lens = "rgb" if which == "rgb" else "depth"
        (width, height), fov = self._sizes[lens]
        return PinholeCamera(self.scene.nodes[node_index].sensor(f"{lens}_optical"), width, height, fov)

    def render(self, node_index: int, car: CarState | None, which: str = "rgb",
               others: Others = NOBODY) -> npt.NDArray[Any]:
        """Render an ideal image of a node.

        Args:
            node_index: index of the node in `scene.nodes`.
            car: state of the car at one time, or None for the empty room. Ignored if the target is "none".
            which: kind of image.
            others: state of the others of the scene.

        Returns:
            For "rgb" uint8 (H, W, 3), gamma-encoded, well exposed, without noise. For "depth" float32 (H, W), true
            metres along the optical axis, all finite. For "reflectance" float32 (H, W), 0 to 1, linear, the share of
            the depth camera's light that a surface facing it returns.

        Raises:
            InputError: there is no such node or kind, or the renderer is closed.
        """
        camera = self.camera(node_index, which)
        lens = "rgb" if which == "rgb" else "depth"
        shot = self._shot(node_index, camera, car, lens, others)
        if which == "rgb":
            return shot.rgb
        return shot.depth if which == "depth" else _REFLECTANCE[shot.rgb].mean(axis=-1, dtype=np.float32)

    def depth_and_reflectance(self, node_index: int, car: CarState | None,
                              others: Others = NOBODY) -> tuple[Single, Single]:
        """Render both at the cost of one; see `render`."""
        shot = self._shot(node_index, self.camera(node_index, "depth"), car, "depth", others)
        return shot.depth, _REFLECTANCE[shot.rgb].mean(axis=-1, dtype=np.float32)

    def car_mask(self, node_index: int, car: CarState, which: str = "rgb") -> npt.NDArray[np.bool_]:
        """Return the pixels (H, W) whose centre shows the car."""
        camera = self.camera(node_index, which)
        lens = "rgb" if which == "rgb" else "depth"
        mask = np.zeros((camera.height, camera.width), np.bool_)
        window = self._moving_window(camera, car, NOBODY)
        if window is not None:
            left, top, right, bottom = window
            # Both in the same window: in different ones, edges of the room fall on different pixels.
            there, empty = (self._window(node_index, camera, window, state, lens, NOBODY).depth
                            for state in (car, None))
            mask[top:bottom, left:right] = there < empty - 1e-4
        return mask

    def surfaces(self, node_index: int, car: CarState | None, which: str = "rgb",
                 others: Others = NOBODY) -> Bytes:
        """Return the class (H, W) of the surface at the centre of each pixel, a `scene.surfaces.Surface`.

        Arguments and errors as `render`.
        """
        camera = self.camera(node_index, which)
        gl = self._open_context()
        gl.place(self._bodies(car, others), RIG_GROUP + node_index, own_light=False)
        found: Bytes = self._surfaces[gl.geoms(camera, (0, 0, camera.width, camera.height))]
        return found

    def _open_context(self) -> OffScreen:
        if self._gl is None:
            raise InputError("renderer", "closed", "an open one")
        return self._gl

    def _shot(self, node: int, camera: PinholeCamera, car: CarState | None, lens: str,
              others: Others = NOBODY) -> _Shot:
        empty = self._empty.get((node, lens))
        if empty is None:
            everything = (0, 0, camera.width, camera.height)
            empty = self._empty[node, lens] = self._window(node, camera, everything, None, lens, NOBODY)
        window = self._moving_window(camera, car, others)
        if window is None:
            return _Shot(empty.rgb.copy(), empty.depth.copy())
        left, top, right, bottom = window
        part, rgb, depth = self._window(node, camera, window, car, lens, others), empty.rgb.copy(), empty.depth.copy()
        rgb[top:bottom, left:right], depth[top:bottom, left:right] = part.rgb, part.depth
        return _Shot(rgb, depth)

    def _moving_window(self, camera: PinholeCamera, car: CarState | None, others: Others) -> Window | None:
        """Return the window that covers everything that moves."""
        light = light_direction(self.scene.look.lamps[0])
        cars = [None if self.scene.target == "none" else car, others.second_car]
        windows = [car_window(camera, one, light) for one in cars if one is not None]
        windows += [box_window(camera, state.position_m, state.heading_rad, (*_STRIDE_SIZE_M, person.height_m), light)
                    for person, state in zip(self.scene.people, others.people, strict=False)]
        seen = [window for window in windows if window is not None]
        if not seen:
            return None
        left, top, right, bottom = zip(*seen, strict=True)
        return min(left), min(top), max(right), max(bottom)

    def _bodies(self, car: CarState | None, others: Others) -> list[BodyPose]:
        """Return the poses of the moving bodies, in the order of the model."""
        cars = [car] * (self.scene.target != "none") + [others.second_car] * self.scene.second_car
        bodies = [_car_pose(one) for one in cars]
        for k, person in enumerate(self.scene.people):
            bodies += person_poses(person, others.people[k] if others.people else None)
        return bodies

    def _window(self, node: int, camera: PinholeCamera, window: Window, car: CarState | None, lens: str,
                others: Others = NOBODY) -> _Shot:
        """Render a window of pixels (left, top, right, bottom) of a camera."""
        gl = self._open_context()
        left, top, right, bottom = window
        # Depth is not averaged: it is the middle one of an odd number of samples.
        fine = self.supersample if lens == "rgb" else _DEPTH_SAMPLES
        gl.place(self._bodies(car, others), RIG_GROUP + node, own_light=lens == "depth")
        rgb, depth = gl.draw(camera, window, fine)
        rgb = rgb.reshape(bottom - top, fine, right - left, fine, 3).mean(axis=(1, 3), dtype=np.float32)
        shown = np.rint(rgb).astype(np.uint8)
        if lens == "rgb":
            shown = np.stack([self._balance[shown[..., c], c] for c in range(3)], axis=-1)
        middle = depth[fine // 2::fine, fine // 2::fine]
        return _Shot(shown, middle)


def _car_pose(car: CarState | None) -> BodyPose:
    x, y, z, half = 0.0, 0.0, -9.0, 0.0
    if car is not None:
        x, y, z, half = float(car.position_m[0]), float(car.position_m[1]), 0.0, float(car.heading_rad) / 2
    return (x, y, z), (float(np.cos(half)), 0.0, 0.0, float(np.sin(half)))


def car_window(camera: PinholeCamera, car: CarState, light: tuple[float, float, float]) -> Window | None:
    """Return the window of pixels that the car and its shadow can cover; see `box_window`."""
    return box_window(camera, car.position_m, float(car.heading_rad), CAR_SIZE_M, light)


def box_window(camera: PinholeCamera, position_m: Floats, heading_rad: float, size_m: tuple[float, float, float],
               light: tuple[float, float, float]) -> Window | None:
    """Return the window of pixels that a body and its shadow can cover; None if they are out of view.

    Args:
        camera: camera.
        position_m: position of its middle (2,) in `map`.
        heading_rad: its direction, from x counter-clockwise.
        size_m: length, width and height of a box on the floor that holds it.
        light: direction of the light that casts the shadow.
    """
    length, width, height = size_m
    x, y = length / 2 + 0.03, width / 2 + 0.03
    corners = np.array([[a, b, c] for a in (-x, x) for b in (-y, y) for c in (-0.02, height + 0.01)])
    corners = corners @ rotation_z(heading_rad).T + np.array([*position_m, 0.0])
    fall = corners + np.array(light) * ((height + 0.03) / max(-light[2], 0.2))
    fall[:, 2] = -0.02
    pixels, depth = camera.project(np.concatenate([corners, fall]))
    if depth.max() < _NEAR_CAR_M:
        return None
    if depth.min() < _NEAR_CAR_M:
        return 0, 0, camera.width, camera.height
    left, top = np.floor(pixels.min(axis=0)).astype(int) - 1
    right, bottom = np.ceil(pixels.max(axis=0)).astype(int) + 2
    left, right = max(0, int(left)), min(camera.width, int(right))
    top, bottom = max(0, int(top)), min(camera.height, int(bottom))
    return (left, top, right, bottom) if left < right and top < bottom else None


_REFLECTANCE = ((np.arange(256) / 255) ** 2.2).astype(np.float32)
