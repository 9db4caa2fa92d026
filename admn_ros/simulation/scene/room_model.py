# SPDX-License-Identifier: Apache-2.0
"""A scene as a MuJoCo model: MJCF text and the pictures of its textures. Imports no MuJoCo.

Textures are declared empty; their pictures are written into the compiled model's texture memory, which
saves encoding and decoding them. Walls, mat and furniture are meshes, because only meshes say which part
of a picture goes where. The mat's top is z = 0; the floor around it lies lower by the mat's thickness.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from admn_ros.simulation.scene import printed_mat, textures
from admn_ros.simulation.scene.car_model import car_geoms, car_meshes
from admn_ros.simulation.scene.geometry import Box
from admn_ros.simulation.scene.scene import Lamp, Scene
from admn_ros.simulation.scene.sensor_node import SensorNode
from admn_ros.simulation.scene.track import MAT_HALF_M

EXTENT_M = 4.0        # MuJoCo's unit for clipping planes and the shadow map
NEAR_M, FAR_M = 0.10, 24.0
FLOOR_Z_M = -0.008
WALL_HEIGHT_M = 3.3   # above the ceiling, so that every ray ends somewhere; the ceiling itself would shade the room
RIG_GROUP = 1         # geoms of node k are in group RIG_GROUP + k, so that a node need not see itself

_WALL_GLOW = 0.46     # walls face the room, not the lamps above: without it they would be too dark
_FACES = {            # corners of each side of a unit box, counter-clockwise from the lower left as seen from outside
    "front": ((-1, -1, -1), (1, -1, -1), (1, -1, 1), (-1, -1, 1)),
    "right": ((1, -1, -1), (1, 1, -1), (1, 1, 1), (1, -1, 1)),
    "back": ((1, 1, -1), (-1, 1, -1), (-1, 1, 1), (1, 1, 1)),
    "left": ((-1, 1, -1), (-1, -1, -1), (-1, -1, 1), (-1, 1, 1)),
    "top": ((-1, -1, 1), (1, -1, 1), (1, 1, 1), (-1, 1, 1)),
    "bottom": ((-1, 1, -1), (1, 1, -1), (1, -1, -1), (-1, -1, -1)),
}


@dataclass
class RoomModel:
    """MJCF text, and the picture (H, W, 3) uint8 of each named texture, row 0 at the top."""

    xml: str
    pictures: dict[str, textures.Image]


@dataclass
class _Parts:
    """What accumulates while a room is described."""

    assets: list[str] = field(default_factory=list)
    geoms: list[str] = field(default_factory=list)
    pictures: dict[str, textures.Image] = field(default_factory=dict)

    def texture(self, name: str, picture: textures.Image) -> None:
        self.pictures[name] = picture
        height, width = picture.shape[:2]
        self.assets.append(f'<texture name="{name}" type="2d" builtin="flat" rgb1="1 1 1" rgb2="1 1 1" '
                           f'width="{width}" height="{height}"/>')

    def material(self, name: str, rgb: Sequence[float], texture: str = "", glow: float = 0.0, shine: float = 0.0,
                 repeat: float = 0.0) -> None:
        painted = f'texture="{texture}" ' if texture else ""
        painted += f'texrepeat="{repeat:.4g} {repeat:.4g}" texuniform="true" ' if repeat else ""
        self.assets.append(f'<material name="{name}" {painted}rgba="{_numbers(rgb)} 1" emission="{glow:.3g}" '
                           f'specular="{shine:.3g}" shininess="0.4"/>')

    def mesh_box(self, name: str, half_m: Sequence[float], material: str, position: Sequence[float], yaw: float,
                 front_differs: bool = False) -> None:
        """A textured box; with front_differs the front shows the left half of the picture, all else the right."""
        corners, places, faces = [], [], []
        for number, (side, square) in enumerate(_FACES.items()):
            low, high = (0.0, 1.0) if not front_differs else (0.0, 0.5) if side == "front" else (0.5, 1.0)
            corners += [tuple(c * h for c, h in zip(corner, half_m, strict=True)) for corner in square]
            places += [(low, 0.0), (high, 0.0), (high, 1.0), (low, 1.0)]
            a = 4 * number
            faces += [(a, a + 1, a + 2), (a, a + 2, a + 3)]
        self.assets.append(mesh(name, corners, faces, places))
        self.geoms.append(f'<geom type="mesh" mesh="{name}" material="{material}" pos="{_numbers(position)}" '
                          f'euler="0 0 {yaw:.6g}"/>')


def mesh(name: str, corners: Sequence[Sequence[float]], faces: Sequence[Sequence[int]],
         places: Sequence[Sequence[float]] = ()) -> str:
    """MJCF of a mesh: corners (N, 3) metres, faces (M, 3) indices, places (N, 2) in the picture, v upwards."""
    painted = f'texcoord="{_numbers([v for p in places for v in p])}" ' if places else ""
    return (f'<mesh name="{name}" inertia="shell" vertex="{_numbers([v for c in corners for v in c])}" {painted}'
            f'face="{" ".join(str(i) for f in faces for i in f)}"/>')


def build(scene: Scene, shadow_size: int = 1024, largest: tuple[int, int] = (640, 480)) -> RoomModel:
    """Describe a scene.

    Args:
        scene: the scene.
        shadow_size: side of the shadow map in pixels; 0 for no shadows.
        largest: width and height of the largest picture to be rendered, pixels.
    """
    rng = np.random.default_rng([scene.seed, 31])
    parts, look = _Parts(), scene.look
    _ground(rng, parts, scene)
    _walls(rng, parts, scene)
    _clutter(rng, parts, scene)
    for k, node in enumerate(scene.nodes):
        _rig(parts, node, RIG_GROUP + k)
    car = ""
    if scene.target != "none":
        parts.assets += car_meshes(mesh)
        car = f'<body name="car" mocap="true" pos="0 0 -9">{car_geoms(scene.target)}</body>'
    width, height = largest
    xml = f"""<mujoco>
<compiler angle="radian"/>
<statistic extent="{EXTENT_M}" center="0 0 0.5"/>
<visual>
  <global offwidth="{width}" offheight="{height}"/>
  <quality shadowsize="{shadow_size}" offsamples="0" numslices="14" numstacks="8" numquads="1"/>
  <map znear="{NEAR_M / EXTENT_M}" zfar="{FAR_M / EXTENT_M}" shadowclip="1.2"/>
  <headlight ambient="{_numbers([look.ambient] * 3)}" diffuse="0 0 0" specular="0 0 0"/>
</visual>
<default><geom contype="0" conaffinity="0"/></default>
<asset>{"".join(parts.assets)}</asset>
<worldbody>{"".join(_light(lamp, k) for k, lamp in enumerate(look.lamps))}{"".join(parts.geoms)}{car}</worldbody>
</mujoco>"""
    return RoomModel(xml, parts.pictures)


def light_direction(lamp: Lamp) -> tuple[float, float, float]:
    """Unit vector of the light of a lamp: from about its place to the middle of the track."""
    x, y, z = lamp.position_m
    # Ceiling lights shine almost straight down: parallel light from the side would throw the walls' own shadows.
    sideways = 0.3 if z > 2 else 1.0
    way = -np.array((sideways * x, sideways * y, z))
    x, y, z = (way / np.linalg.norm(way)).tolist()
    return x, y, z


def _light(lamp: Lamp, number: int) -> str:
    # Parallel light: one level over each surface, which the pictures were painted for.
    way = light_direction(lamp)
    return (f'<light type="directional" pos="{_numbers([-9 * v for v in way])}" dir="{_numbers(way)}" '
            f'castshadow="{"true" if number == 0 else "false"}" ambient="0 0 0" specular="0.25 0.25 0.25" '
            f'diffuse="{_numbers([lamp.intensity] * 3)}"/>')


def _ground(rng: np.random.Generator, parts: _Parts, scene: Scene) -> None:
    look = scene.look
    parts.texture("mat", printed_mat.mat(rng, look.mat_rgb, look.floor_rgb))
    parts.material("mat", (1, 1, 1), "mat", shine=0.08)
    half = (*MAT_HALF_M, -FLOOR_Z_M / 2)
    parts.mesh_box("mat", half, "mat", (0, 0, FLOOR_Z_M / 2), 0)
    parts.texture("floor", textures.floor(rng, look.floor_rgb, look.floor))
    parts.material("floor", (1, 1, 1), "floor", repeat=1 / 1.2, shine=0.1)
    x, y = scene.room_half_m
    parts.geoms.append(f'<geom type="plane" size="{x + 0.2} {y + 0.2} 1" pos="0 0 {FLOOR_Z_M}" material="floor"/>')


def _walls(rng: np.random.Generator, parts: _Parts, scene: Scene) -> None:
    """The walls at +y, -x, -y and +x, each seen from inside from its left to its right."""
    for number in range(4):
        along, away = scene.room_half_m if number % 2 == 0 else scene.room_half_m[::-1]
        items = scene.look.walls[number] if number < len(scene.look.walls) else ()
        parts.texture(f"wall{number}", textures.wall(rng, scene.look.wall_rgb, items, 2 * along, WALL_HEIGHT_M,
                                                     scene.ceiling_m))
        parts.material(f"wall{number}", (1, 1, 1), f"wall{number}", glow=_WALL_GLOW)
        turn = np.pi / 2 * number
        out = (away + 0.05) * np.array([-np.sin(turn), np.cos(turn)])
        parts.mesh_box(f"wall{number}", (along, 0.05, WALL_HEIGHT_M / 2), f"wall{number}",
                       (*out.tolist(), WALL_HEIGHT_M / 2 + FLOOR_Z_M), turn)


def _clutter(rng: np.random.Generator, parts: _Parts, scene: Scene) -> None:
    variants = {"books": 3, "cabinet": 2, "wood": 1, "drawers": 2, "cardboard": 2, "screen": 2}
    for material, count in variants.items():
        if material in scene.look.clutter_materials:
            for k in range(count):
                parts.texture(f"{material}{k}", textures.furniture(rng, material))
    for number, box in enumerate(scene.clutter):
        materials = scene.look.clutter_materials
        material = materials[number] if number < len(materials) else "plain"
        shown = shown_colour(box)
        if material in variants:
            coloured = (1.0, 1.0, 1.0) if material in ("books", "cardboard", "screen") else shown
            name = f"clutter{number}"
            parts.material(name, coloured, f"{material}{int(rng.integers(variants[material]))}", 0.1, 0.1)
            parts.mesh_box(name, box.half_m, name, box.centre_m, box.yaw_rad, material != "cardboard")
        else:
            shape = "ellipsoid" if material == "round" else "box"
            parts.geoms.append(f'<geom type="{shape}" size="{_numbers(box.half_m)}" pos="{_numbers(box.centre_m)}" '
                               f'euler="0 0 {box.yaw_rad:.6g}" rgba="{_numbers(shown)} 1"/>')


def shown_colour(box: Box) -> list[float]:
    """What a picture shows (gamma-encoded) of a box's linear albedo, as MuJoCo multiplies light in that space."""
    return [float(v) for v in np.clip(box.albedo, 0, 1)**(1 / 2.2)]


def _rig(parts: _Parts, node: SensorNode, group: int) -> None:
    """A sensor node: clear box with electronics and a dark lidar on it, head, and a tripod down to the floor."""
    yaw = float(np.arctan2(node.base.rotation[1, 0], node.base.rotation[0, 0]))
    x, y, z = node.base.translation_m.tolist()

    def add(kind: str, size: Sequence[float], at: Sequence[float], rgba: Sequence[float]) -> None:
        turned = node.base.rotation @ np.array(at)
        parts.geoms.append(f'<geom type="{kind}" size="{_numbers(size)}" group="{group}" rgba="{_numbers(rgba)}" '
                           f'pos="{_numbers([x + turned[0], y + turned[1], z + turned[2]])}" euler="0 0 {yaw:.6g}"/>')

    add("box", (0.09, 0.14, 0.09), (0, 0, 0), (0.62, 0.64, 0.65, 1))
    add("box", (0.004, 0.06, 0.05), (0.09, 0.055, -0.01), (0.66, 0.08, 0.07, 1))
    add("cylinder", (0.035, 0.004), (0.092, -0.06, 0.02), (0.08, 0.08, 0.09, 1))
    add("box", (0.02, 0.09, 0.017), (0.085, 0, -0.075), (0.05, 0.05, 0.055, 1))
    add("cylinder", (0.042, 0.04), (0, 0.05, 0.14), (0.1, 0.1, 0.11, 1))
    add("cylinder", (0.044, 0.01), (0, 0.05, 0.185), (0.8, 0.8, 0.8, 1))
    add("cylinder", (0.015, 0.12), (0, 0, -0.2), (0.05, 0.05, 0.05, 1))
    for k in range(3):
        turn = 2 * np.pi * k / 3 + np.pi
        foot = (x + 0.30 * np.cos(yaw + turn), y + 0.30 * np.sin(yaw + turn), FLOOR_Z_M)
        parts.geoms.append(f'<geom type="capsule" size="0.011" group="{group}" rgba="0.05 0.05 0.05 1" '
                           f'fromto="{_numbers([x, y, z - 0.25])} {_numbers(foot)}"/>')


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{v:.6g}" for v in values)
