# SPDX-License-Identifier: Apache-2.0
"""Offscreen rendering by MuJoCo: colour and metric depth of a window of a camera.

This is the only module that uses MuJoCo and OpenGL. Both are imported when a renderer is created.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from admn_ros.errors import InputError
from admn_ros.simulation.scene.geometry import Floats, Pose
from admn_ros.simulation.scene.person_model import BodyPose
from admn_ros.simulation.scene.room_model import FAR_M, NEAR_M

Single = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

ALLOWED = ("MuJoCo (pip install mujoco) with EGL (Debian: libegl1, libgl1-mesa-dri), "
           "or MUJOCO_GL=osmesa (Debian: libosmesa6)")


@dataclass(frozen=True)
class PinholeCamera:
    """A camera without distortion at a pose in `map` (optical frame, REP-103: z forward, x right, y down).

    The field of view does not depend on the image size, so pixels need not be square: an image of another size is the
    same image resized.

    Attributes:
        pose: pose in `map`.
        width: width in pixels.
        height: height in pixels.
        fov_deg: horizontal and vertical field of view.
    """

    pose: Pose
    width: int
    height: int
    fov_deg: tuple[float, float]

    @property
    def matrix(self) -> Floats:
        """Camera matrix K (3, 3) in pixels; integer coordinates are pixel centres."""
        fx, fy = (n / 2 / np.tan(np.deg2rad(a) / 2) for n, a in zip((self.width, self.height), self.fov_deg,
                                                                    strict=True))
        return np.array([[fx, 0, (self.width - 1) / 2], [0, fy, (self.height - 1) / 2], [0, 0, 1.0]])

    def project(self, points_m: Floats) -> tuple[Floats, Floats]:
        """Project points (..., 3) in `map` to pixels (..., 2) and depth (...,) in metres."""
        local = self.pose.into(points_m)
        pixels = (local @ self.matrix.T)[..., :2] / local[..., 2:]
        return pixels, local[..., 2]


class OffScreen:
    """A compiled MuJoCo model with an offscreen framebuffer."""

    def __init__(self, xml: str, pictures: dict[str, Bytes]) -> None:
        """Compile a model (MJCF) and fill its textures (H, W, 3), row 0 at the top.

        Raises:
            InputError: MuJoCo or its OpenGL library is missing.
        """
        self._closed = True
        self._mj, context = _load_mujoco()
        self._model = self._mj.MjModel.from_xml_string(xml)
        self._paint(pictures)
        self._data = self._mj.MjData(self._model)
        size = self._model.vis.global_
        try:
            self._context = context(size.offwidth, size.offheight)
            self._context.make_current()
            self._render = self._mj.MjrContext(self._model, self._mj.mjtFontScale.mjFONTSCALE_100.value)
        except Exception as error:  # whatever the OpenGL libraries raise
            raise InputError("renderer", f"no OpenGL context ({error})", ALLOWED) from error
        self._closed = False
        self._mj.mjr_setBuffer(self._mj.mjtFramebuffer.mjFB_OFFSCREEN.value, self._render)
        self._render.readDepthMap = self._mj.mjtDepthMap.mjDEPTH_ZEROFAR
        self._scene = self._mj.MjvScene(self._model, maxgeom=1000)
        self._scene.flags[self._mj.mjtRndFlag.mjRND_SHADOW] = self._model.vis.quality.shadowsize > 0
        for flag in ("mjRND_REFLECTION", "mjRND_SKYBOX", "mjRND_HAZE"):
            self._scene.flags[getattr(self._mj.mjtRndFlag, flag)] = False
        self._free_camera = self._mj.MjvCamera()

    def close(self) -> None:
        """Release the OpenGL context."""
        if not self._closed:
            self._closed = True
            self._context.make_current()
            self._render.free()
            self._context.free()

    def __del__(self) -> None:
        # MuJoCo itself would delete the textures in the current context, which may be another renderer's.
        with contextlib.suppress(Exception):  # the interpreter may be shutting down
            self.close()

    def place(self, bodies: Sequence[BodyPose], hidden_group: int, own_light: bool) -> None:
        """Set up the scene: the moving bodies, all sensor nodes but one, and the light of the room or of the camera."""
        for number, (position, quaternion) in enumerate(bodies):
            self._data.mocap_pos[number] = position
            self._data.mocap_quat[number] = quaternion
        self._mj.mj_kinematics(self._model, self._data)
        self._mj.mj_camlight(self._model, self._data)
        options = self._mj.MjvOption()
        options.geomgroup[:] = 1
        options.geomgroup[hidden_group] = 0
        self._mj.mjv_updateScene(self._model, self._data, options, None, self._free_camera,
                                 self._mj.mjtCatBit.mjCAT_ALL, self._scene)
        if own_light:  # uniform light: the image shows the reflectance of the surfaces
            self._scene.nlight = 1
            self._scene.lights[0].ambient[:] = 1.0

    @property
    def bodies(self) -> list[str]:
        """Name of the body of each geom; `world` for those that do not move."""
        return [self._model.body(int(body)).name for body in self._model.geom_bodyid]

    def geoms(self, camera: PinholeCamera, window: tuple[int, int, int, int]) -> npt.NDArray[np.int32]:
        """Return the number of the geom at the centre of each pixel (rows, columns) of a window; -1 for none."""
        flags = [getattr(self._mj.mjtRndFlag, name) for name in ("mjRND_SEGMENT", "mjRND_IDCOLOR")]
        for flag in flags:
            self._scene.flags[flag] = True
        colour, _ = self.draw(camera, window, 1)
        for flag in flags:
            self._scene.flags[flag] = False
        shown = colour.astype(np.int32) @ np.array([1, 2**8, 2**16], np.int32)   # 1 + number in the scene
        numbers = np.full(self._scene.ngeom + 1, -1, np.int32)
        for geom in self._scene.geoms[:self._scene.ngeom]:
            if geom.segid >= 0 and geom.objtype == self._mj.mjtObj.mjOBJ_GEOM:
                numbers[geom.segid + 1] = geom.objid
        found: npt.NDArray[np.int32] = numbers[shown]
        return found

    def draw(self, camera: PinholeCamera, window: tuple[int, int, int, int], fine: int) -> tuple[Bytes, Single]:
        """Render colour (rows, columns, 3) and depth (rows, columns) of a window, `fine` x `fine` samples per pixel."""
        left, top, right, bottom = window
        k, rotation = camera.matrix, camera.pose.rotation
        for view in self._scene.camera:  # MuJoCo averages the two
            view.pos[:], view.forward[:], view.up[:] = camera.pose.translation_m, rotation[:, 2], -rotation[:, 1]
            view.frustum_near, view.frustum_far = NEAR_M, FAR_M
            # Sides of the window in metres on the near plane; pixel centres are integers.
            low, high = ((edge - 0.5 - k[0, 2]) / k[0, 0] * NEAR_M for edge in (left, right))
            view.frustum_center, view.frustum_width = (low + high) / 2, (high - low) / 2
            view.frustum_top, view.frustum_bottom = (-(edge - 0.5 - k[1, 2]) / k[1, 1] * NEAR_M
                                                     for edge in (top, bottom))
        self._context.make_current()
        viewport = self._mj.MjrRect(0, 0, (right - left) * fine, (bottom - top) * fine)
        rgb = np.empty((viewport.height, viewport.width, 3), np.uint8)
        depth = np.empty((viewport.height, viewport.width), np.float32)
        self._mj.mjr_render(viewport, self._scene, self._render)
        self._mj.mjr_readPixels(rgb, depth, viewport, self._render)
        # The depth buffer is reversed: 1 at the near plane, 0 at the far plane.
        metres = NEAR_M * FAR_M / (NEAR_M + depth[::-1].astype(np.float64) * (FAR_M - NEAR_M))
        return rgb[::-1], metres.astype(np.float32)

    def _paint(self, pictures: dict[str, Bytes]) -> None:
        model = self._model
        for name, picture in pictures.items():
            texture = model.texture(name).id
            start = int(model.tex_adr[texture])
            model.tex_data[start:start + picture.size] = picture[::-1].reshape(-1)  # OpenGL's row 0 is the lowest


def _load_mujoco() -> tuple[Any, Any]:
    """Return the module `mujoco` and the class of its offscreen OpenGL context.

    Raises:
        InputError: MuJoCo or its OpenGL library is missing.
    """
    backend = os.environ.setdefault("MUJOCO_GL", "egl").lower()
    if backend not in ("egl", "osmesa"):
        raise InputError("MUJOCO_GL", repr(backend), "egl or osmesa")
    try:
        # mujoco.GLContext is of another backend if mujoco was imported before the variable was set.
        return importlib.import_module("mujoco"), importlib.import_module(f"mujoco.{backend}").GLContext
    except Exception as error:  # not installed, or the OpenGL library it loads is not
        raise InputError("renderer", f"MuJoCo cannot be loaded with {backend} ({error})", ALLOWED) from error
