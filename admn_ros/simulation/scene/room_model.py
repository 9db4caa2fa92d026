# SPDX-License-Identifier: Apache-2.0
"""MuJoCo model of a scene: MJCF text and textures. MuJoCo itself is not needed here.

Textures are declared empty; their pixels are written into the texture memory of the compiled model, which saves
encoding and decoding them. Walls, mat and furniture are meshes, because only meshes have texture coordinates. The top
of the mat is z = 0; the floor around it is lower by the thickness of the mat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from admn_ros.simulation.scene import printed_mat, textures
from admn_ros.simulation.scene.car_model import car_geoms, car_meshes
from admn_ros.simulation.scene.geometry import Box, numbers
from admn_ros.simulation.scene.person_model import person_bodies
from admn_ros.simulation.scene.scene import Lamp, Scene
from admn_ros.simulation.scene.sensor_node import SensorNode
from admn_ros.simulation.scene.surfaces import Surface
from admn_ros.simulation.scene.track import MAT_HALF_M

EXTENT_M = 4.0        # MuJoCo's unit for clipping planes and the shadow map
NEAR_M, FAR_M = 0.10, 24.0
FLOOR_Z_M = -0.008
WALL_HEIGHT_M = 3.3   # above the ceiling, so that every ray hits a surface; a ceiling would cast a shadow
RIG_GROUP = 1         # geoms of node k are in group RIG_GROUP + k, so that a node can be hidden from its own cameras

_WALL_GLOW = 0.46     # emission: walls face the room, not the lamps above, and would be too dark without it
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
    """Model of a room.

    Attributes:
        xml: MJCF text.
        pictures: pixels (H, W, 3) uint8 of each texture by its name, row 0 at the top.
        surfaces: class of each geom that does not move, in the order of the model.
    """

    xml: str
    pictures: dict[str, textures.Image]
    surfaces: tuple[Surface, ...]


@dataclass
class _Parts:
    """Assets, geoms and textures collected while a room is described."""

    assets: list[str] = field(default_factory=list)
    geoms: list[str] = field(default_factory=list)
    pictures: dict[str, textures.Image] = field(default_factory=dict)
    surfaces: list[Surface] = field(default_factory=list)

    def class_new_geoms(self, surface: Surface) -> None:
        """Give all geoms since the last call this class."""
        self.surfaces += [surface] * (len(self.geoms) - len(self.surfaces))

    def texture(self, name: str, picture: textures.Image) -> None:
        self.pictures[name] = picture
        height, width = picture.shape[:2]
        self.assets.append(f'<texture name="{name}" type="2d" builtin="flat" rgb1="1 1 1" rgb2="1 1 1" '
                           f'width="{width}" height="{height}"/>')

    def material(self, name: str, rgb: Sequence[float], texture: str = "", glow: float = 0.0, shine: float = 0.0,
                 repeat: float = 0.0) -> None:
        painted = f'texture="{texture}" ' if texture else ""
        painted += f'texrepeat="{repeat:.4g} {repeat:.4g}" texuniform="true" ' if repeat else ""
        self.assets.append(f'<material name="{name}" {painted}rgba="{numbers(rgb)} 1" emission="{glow:.3g}" '
                           f'specular="{shine:.3g}" shininess="0.4"/>')

    def mesh_box(self, name: str, half_m: Sequence[float], material: str, position: Sequence[float], yaw: float,
                 front_differs: bool = False) -> None:
        """Add a textured box; with `front_differs` the front has the left half of the texture, the rest the right."""
        corners, places, faces = [], [], []
        for number, (side, square) in enumerate(_FACES.items()):
            low, high = (0.0, 1.0) if not front_differs else (0.0, 0.5) if side == "front" else (0.5, 1.0)
            corners += [tuple(c * h for c, h in zip(corner, half_m, strict=True)) for corner in square]
            places += [(low, 0.0), (high, 0.0), (high, 1.0), (low, 1.0)]
            a = 4 * number
            faces += [(a, a + 1, a + 2), (a, a + 2, a + 3)]
        self.assets.append(mesh(name, corners, faces, places))
        self.geoms.append(f'<geom type="mesh" mesh="{name}" material="{material}" pos="{numbers(position)}" '
                          f'euler="0 0 {yaw:.6g}"/>')


def mesh(name: str, corners: Sequence[Sequence[float]], faces: Sequence[Sequence[int]],
         places: Sequence[Sequence[float]] = ()) -> str:
    """Return the MJCF of a mesh.

    Args:
        name: name of the asset.
        corners: vertices (N, 3) in metres.
        faces: indices (M, 3).
        places: texture coordinates (N, 2), v upwards.
    """
    painted = f'texcoord="{numbers([v for p in places for v in p])}" ' if places else ""
    return (f'<mesh name="{name}" inertia="shell" vertex="{numbers([v for c in corners for v in c])}" {painted}'
            f'face="{" ".join(str(i) for f in faces for i in f)}"/>')


def build(scene: Scene, shadow_size: int = 1024, largest: tuple[int, int] = (640, 480)) -> RoomModel:
    """Build the MuJoCo model of a scene.

    Args:
        scene: room to describe.
        shadow_size: side of the shadow map in pixels; 0 for no shadows.
        largest: width and height of the largest image to render, in pixels.
    """
    rng = np.random.default_rng([scene.seed, 31])
    parts, look = _Parts(), scene.look
    for add, surface in ((_ground, Surface.FLOOR), (_walls, Surface.WALL), (_clutter, Surface.FURNITURE)):
        add(rng, parts, scene)
        parts.class_new_geoms(surface)
    for k, node in enumerate(scene.nodes):
        _rig(parts, node, RIG_GROUP + k)
    parts.class_new_geoms(Surface.SENSOR_NODE)
    # Bodies in the order in which `Renderer` places them.
    cars = [scene.target] * (scene.target != "none") + ["blue_car"] * scene.second_car
    parts.assets += car_meshes(mesh) if cars else []
    moving = "".join(f'<body name="{"second_" * k}car" mocap="true" pos="0 0 -9">{car_geoms(colour)}</body>'
                     for k, colour in enumerate(cars))
    moving += "".join(person_bodies(person, k) for k, person in enumerate(scene.people))
    xml = f"""<mujoco>
{rendering(largest, shadow_size, look.ambient, 0.0)}
<asset>{"".join(parts.assets)}</asset>
<worldbody>{"".join(_light(lamp, k) for k, lamp in enumerate(look.lamps))}{"".join(parts.geoms)}{moving}</worldbody>
</mujoco>"""
    return RoomModel(xml, parts.pictures, tuple(parts.surfaces))


def rendering(largest: tuple[int, int], shadow_size: int, ambient: float, diffuse: float) -> str:
    """Return the MJCF of how a scene is drawn: image sizes, clipping planes, shadows, light at the camera.

    Args:
        largest: (width, height) of the largest picture in pixels.
        shadow_size: side of the shadow map in pixels.
        ambient: light from everywhere.
        diffuse: light from the camera.
    """
    return f"""<compiler angle="radian"/>
<statistic extent="{EXTENT_M}" center="0 0 0.5"/>
<visual>
  <global offwidth="{largest[0]}" offheight="{largest[1]}"/>
  <quality shadowsize="{shadow_size}" offsamples="0" numslices="14" numstacks="8" numquads="1"/>
  <map znear="{NEAR_M / EXTENT_M}" zfar="{FAR_M / EXTENT_M}" shadowclip="1.2"/>
  <headlight ambient="{numbers([ambient] * 3)}" diffuse="{numbers([diffuse] * 3)}" specular="0 0 0"/>
</visual>
<default><geom contype="0" conaffinity="0"/></default>"""


def light_direction(lamp: Lamp) -> tuple[float, float, float]:
    """Return the direction of a lamp's light as a unit vector: roughly from its position to the middle of the track."""
    x, y, z = lamp.position_m
    # Ceiling lights shine almost straight down: parallel light from the side would cast the shadows of the walls.
    sideways = 0.3 if z > 2 else 1.0
    way = -np.array((sideways * x, sideways * y, z))
    x, y, z = (way / np.linalg.norm(way)).tolist()
    return x, y, z


def _light(lamp: Lamp, number: int) -> str:
    # Parallel light has one level over each surface, for which the textures are made.
    way = light_direction(lamp)
    return (f'<light type="directional" pos="{numbers([-9 * v for v in way])}" dir="{numbers(way)}" '
            f'castshadow="{"true" if number == 0 else "false"}" ambient="0 0 0" specular="0.25 0.25 0.25" '
            f'diffuse="{numbers([lamp.intensity] * 3)}"/>')


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
    """Add the walls at +y, -x, -y and +x, each seen from inside from its left to its right."""
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
            parts.geoms.append(f'<geom type="{shape}" size="{numbers(box.half_m)}" pos="{numbers(box.centre_m)}" '
                               f'euler="0 0 {box.yaw_rad:.6g}" rgba="{numbers(shown)} 1"/>')


def shown_colour(box: Box) -> list[float]:
    """Return the gamma-encoded colour of a box's linear albedo; MuJoCo multiplies light in that space."""
    return [float(v) for v in np.clip(box.albedo, 0, 1)**(1 / 2.2)]


def _rig(parts: _Parts, node: SensorNode, group: int) -> None:
    """Add a sensor node: a clear box with electronics, a dark lidar on it, sensors, and a tripod."""
    yaw = float(np.arctan2(node.base.rotation[1, 0], node.base.rotation[0, 0]))
    x, y, z = node.base.translation_m.tolist()

    def add(kind: str, size: Sequence[float], at: Sequence[float], rgba: Sequence[float]) -> None:
        turned = node.base.rotation @ np.array(at)
        parts.geoms.append(f'<geom type="{kind}" size="{numbers(size)}" group="{group}" rgba="{numbers(rgba)}" '
                           f'pos="{numbers([x + turned[0], y + turned[1], z + turned[2]])}" euler="0 0 {yaw:.6g}"/>')

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
                           f'fromto="{numbers([x, y, z - 0.25])} {numbers(foot)}"/>')
