# SPDX-License-Identifier: Apache-2.0
"""A place with one camera and moving bodies, rendered by MuJoCo: the stage of a simulated clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

import numpy as np

from admn_ros.simulation.camera.camera_physics import Bytes, Single, expose, measure_depth
from admn_ros.simulation.camera.offscreen import OffScreen, PinholeCamera
from admn_ros.simulation.scene.geometry import Floats, Pose, numbers
from admn_ros.simulation.scene.person_model import BodyPose, geom
from admn_ros.simulation.scene.room_model import rendering

Colour = tuple[float, float, float]

SIZE = 64
"""Default width and height of the images in pixels."""
_SAMPLES = 2          # per pixel along each axis
_NO_GROUP = 5         # of geoms to hide; nothing is in it
_WALL_HALF_M = 6.0
_FLYING = 0.1         # share of the depth pixels at edges that are invalid or between near and far


@dataclass(frozen=True)
class Place:
    """Surroundings of a clip. The camera looks along -x; the subject stands around the origin.

    Attributes:
        camera_m: distance of the camera from the origin.
        height_m: height of the camera above the floor.
        tilt_rad: angle of the camera below the horizontal.
        wall_m: distance of the wall behind the origin.
        floor: colour of the floor; colours are gamma-encoded, 0 to 1.
        wall: colour of the wall, or of the sky.
        lamp_m: position of the lamp.
        light: brightness of the lamp.
        fov_deg: horizontal and vertical field of view.
    """

    camera_m: float
    height_m: float
    tilt_rad: float
    wall_m: float
    floor: Colour
    wall: Colour
    lamp_m: tuple[float, float, float]
    light: float = 0.8
    fov_deg: float = 60.0


class ClipScene:
    """A rendered place with moving bodies. A context manager that holds an OpenGL context until `close`.

    Args:
        place: surroundings.
        bodies: MJCF of the geoms of each body.
        size: width and height of the images in pixels.

    Raises:
        InputError: MuJoCo or its OpenGL library is missing.
    """

    def __init__(self, place: Place, bodies: Sequence[str], size: int = SIZE) -> None:
        self._size = size
        self._camera = PinholeCamera(_camera_pose(place), size, size, (place.fov_deg, place.fov_deg))
        self._screen = OffScreen(_model(place, bodies, size * _SAMPLES), {})

    def __enter__(self) -> ClipScene:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._screen.close()

    def shot(self, poses: Sequence[BodyPose], rng: np.random.Generator) -> tuple[Bytes, Single]:
        """Take an image and a depth image.

        Args:
            poses: pose of each body.
            rng: generator of the noise of both cameras.

        Returns:
            RGB uint8 (size, size, 3), and depth float32 (size, size) in metres, NaN where invalid.
        """
        self._screen.place(poses, _NO_GROUP, own_light=False)
        size = self._size
        fine, depth = self._screen.draw(self._camera, (0, 0, size, size), _SAMPLES)
        rgb = fine.reshape(size, _SAMPLES, size, _SAMPLES, 3).mean(axis=(1, 3))
        return expose(np.rint(rgb).astype(np.uint8), rng), measure_depth(
            depth[::_SAMPLES, ::_SAMPLES], rng, stripes=(), flying=_FLYING)


def _camera_pose(place: Place) -> Pose:
    c, s = float(np.cos(place.tilt_rad)), float(np.sin(place.tilt_rad))
    forward = np.array([-c, 0.0, -s])
    right = np.array([0.0, 1.0, 0.0])
    axes: Floats = np.stack([right, np.cross(forward, right), forward], axis=1)
    return Pose(axes, np.array([place.camera_m, 0.0, place.height_m]))


def _model(place: Place, bodies: Sequence[str], pixels: int) -> str:
    moving = "".join(f'<body name="body{k}" mocap="true" pos="0 0 -9">{geoms}</body>' for k, geoms in enumerate(bodies))
    away = -np.array(place.lamp_m)
    return f"""<mujoco>
{rendering((pixels, pixels), 512, 0.42, 0.1)}
<worldbody>
  <light pos="{numbers(place.lamp_m, 5)}" dir="{numbers(away, 5)}" cutoff="80" castshadow="true"
         diffuse="{numbers([place.light] * 3, 5)}" specular="0.1 0.1 0.1"/>
  {geom("box", (0.1, _WALL_HALF_M, _WALL_HALF_M), (-place.wall_m - 0.1, 0, _WALL_HALF_M), place.wall)}
  {geom("box", (_WALL_HALF_M, _WALL_HALF_M, 0.1), (0, 0, -0.1), place.floor)}
  {moving}
</worldbody>
</mujoco>"""
