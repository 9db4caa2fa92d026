# SPDX-License-Identifier: Apache-2.0
"""Rendered images agree with the geometry of the scene."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="no renderer is installed")

from admn_ros.errors import InputError
from admn_ros.simulation.camera.offscreen import PinholeCamera
from admn_ros.simulation.camera.render import Renderer
from admn_ros.simulation.scene.car import CAR_CENTRE_Z_M, CarState
from admn_ros.simulation.scene.car_model import car_points
from admn_ros.simulation.scene.driving import Drive
from admn_ros.simulation.scene.geometry import Box, rotation_z
from admn_ros.simulation.scene.scene import Scene
from admn_ros.simulation.scene.track import MARKERS

pytestmark = pytest.mark.slow

SMALL = {"rgb": (128, 72), "depth": (80, 60), "supersample": 2}
SCENE = Scene.seeded(3, "red_car")
DRIVE = Drive.seeded(3)
CARS = [DRIVE.at(t) for t in np.arange(0, 12, 1.5)]


def state(x: float, y: float, heading: float = 0.3) -> CarState:
    return CarState(np.array([x, y]), np.array(heading), np.array(0.0))


def middle(car: CarState) -> np.ndarray:
    return np.array([*car.position_m, CAR_CENTRE_Z_M])


@pytest.fixture(scope="module")
def full() -> Iterator[Renderer]:
    with Renderer(SCENE) as renderer:
        yield renderer


@pytest.fixture(scope="module")
def small() -> Iterator[Renderer]:
    with Renderer(SCENE, **SMALL) as renderer:
        yield renderer


def whole(camera: PinholeCamera, mask: np.ndarray) -> bool:
    return bool(mask.any() and not (mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any()))


@pytest.mark.parametrize("node", range(3))
def test_the_car_is_where_it_projects(full: Renderer, node: int) -> None:
    """The silhouette fills the projection of the car's points, and its centroid is near that of the car's middle.

    It cannot be nearer than some centimetres: the middle of the car's box is in the narrow cabin, while
    most of what is seen is the wide body below and, from behind, the tail.
    """
    camera, seen = full.camera(node), 0
    for car in CARS:
        mask = full.car_mask(node, car)
        if not whole(camera, mask):
            continue
        rows, columns = np.nonzero(mask)
        points = car_points() @ rotation_z(float(car.heading_rad)).T + np.array([*car.position_m, 0.0])
        pixels, _ = camera.project(points)
        assert np.allclose([columns.min() - 0.5, rows.min() - 0.5], pixels.min(axis=0), atol=1.2)
        assert np.allclose([columns.max() + 0.5, rows.max() + 0.5], pixels.max(axis=0), atol=1.2)
        (u, v), depth = camera.project(middle(car))
        error = np.hypot(columns.mean() - u, rows.mean() - v)
        assert error < max(2.0, 0.042 * camera.matrix[0, 0] / depth)
        seen += 1
    assert seen >= 4


@pytest.mark.slow
def test_the_car_has_its_size_and_colour(full: Renderer) -> None:
    for target, strong, weak in (("red_car", 0, 1), ("green_car", 1, 2)):
        with Renderer(dataclasses.replace(SCENE, target=target), depth=(8, 8)) as renderer:
            for heading, length_m in ((np.pi / 2 + np.radians(-83), 0.36), (np.radians(-83), 0.17)):
                car = state(0.0, 0.0, heading)  # node1 looks at its side, then at its rear
                mask = renderer.car_mask(0, car)
                columns = np.flatnonzero(mask.any(axis=0))
                _, depth = renderer.camera(0).project(middle(car))
                width_m = (columns[-1] - columns[0] + 1) * depth / renderer.camera(0).matrix[0, 0]
                assert width_m == pytest.approx(length_m, abs=0.035)
                colour = renderer.render(0, car)[mask].astype(float)
                assert np.percentile(colour[:, strong] - colour[:, weak], 70) > 60


def test_the_bias_of_the_centroid_turns_with_the_car(full: Renderer) -> None:
    """Over all headings the centroid is on the line through the car's middle: the camera itself has no bias."""
    (u, _), _ = full.camera(0).project(np.array([0.2, -0.1, CAR_CENTRE_Z_M]))
    columns = [np.nonzero(full.car_mask(0, state(0.2, -0.1, h)))[1].mean() for h in np.arange(0, 2 * np.pi, np.pi / 8)]
    assert np.mean(columns) == pytest.approx(u, abs=0.5)


@pytest.mark.parametrize("node", range(3))
def test_depth_of_the_mat_is_the_plane(full: Renderer, node: int) -> None:
    """Rays through pixels meet z = 0 where the analytic plane says."""
    camera, depth = full.camera(node, "depth"), full.render(node, None, "depth")
    rows, columns = np.mgrid[5:120:10, 5:160:10]
    k = camera.matrix
    rays = np.stack([(columns - k[0, 2]) / k[0, 0], (rows - k[1, 2]) / k[1, 1], np.ones(rows.shape)], axis=-1)
    rays = rays @ camera.pose.rotation.T
    down = rays[..., 2] < -0.05
    plane = -camera.pose.translation_m[2] / np.where(down, rays[..., 2], -1)
    points = camera.pose.translation_m + rays * plane[..., None]
    on_mat = down & (np.abs(points[..., 0]) < 1.4) & (np.abs(points[..., 1]) < 1.7)
    assert on_mat.sum() > 60
    assert np.abs(depth[rows, columns] - plane)[on_mat].max() < 0.01
    assert np.isfinite(depth).all()
    assert 0.4 < depth.min() < depth.max() < 12  # not its own rig, and the room is closed


def test_projection_inverts_rendered_depth_for_the_walls(full: Renderer) -> None:
    """Points seen far up lie on the planes of the walls or in front of them, never outside the room."""
    camera, depth = full.camera(1, "depth"), full.render(1, None, "depth")
    rows, columns = np.mgrid[0:20, 0:160]
    k = camera.matrix
    rays = np.stack([(columns - k[0, 2]) / k[0, 0], (rows - k[1, 2]) / k[1, 1], np.ones(rows.shape)], axis=-1)
    points = camera.pose.translation_m + rays @ camera.pose.rotation.T * depth[rows, columns][..., None]
    outside = np.abs(points[..., :2]) - SCENE.room_half_m
    assert outside.max() < 0.01
    assert (outside.max(axis=-1) > -0.01).mean() > 0.3
    pixels, along = camera.project(points)
    assert np.allclose(pixels, np.stack([columns, rows], axis=-1), atol=0.01)
    assert np.allclose(along, depth[rows, columns], atol=1e-4)


def test_the_window_gives_the_whole_image(small: Renderer) -> None:
    """Rendering the window of the car gives the same image as rendering everything."""
    for node in range(3):
        for car in CARS[:4]:
            for lens in ("rgb", "depth"):
                camera = small.camera(node, lens)
                everything = small._window(node, camera, (0, 0, camera.width, camera.height), car, lens)
                got = small.render(node, car, lens)
                # A few samples on edges fall to the other side, because the projection is rounded differently.
                if lens == "rgb":
                    assert (np.abs(got.astype(int) - everything.rgb) > 3).mean() < 0.002
                else:
                    assert (np.abs(got - everything.depth) > 2e-3).mean() < 0.002


def test_a_small_image_is_the_large_one_resized(full: Renderer, small: Renderer) -> None:
    for node in range(3):
        large = full.render(node, CARS[1], "rgb").astype(float)
        blocks = large[:268, :480].reshape(67, 4, 120, 4, 3).mean(axis=(1, 3))
        with_mean = small.render(node, CARS[1], "rgb").astype(float)
        assert abs(blocks.mean() - with_mean.mean()) < 3
        point = np.array([*CARS[1].position_m, 0.0])
        (u, v), _ = full.camera(node).project(point)
        (a, b), _ = small.camera(node).project(point)
        assert ((a + 0.5) / 128, (b + 0.5) / 72) == pytest.approx(((u + 0.5) / 480, (v + 0.5) / 270))


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_room() -> None:
    def shots(scene: Scene) -> list[np.ndarray]:
        with Renderer(scene, **SMALL) as renderer:
            return [renderer.render(k, CARS[2], which) for k in range(2) for which in ("rgb", "depth", "reflectance")]

    first, again, other = shots(SCENE), shots(Scene.seeded(3, "red_car")), shots(Scene.seeded(4, "red_car"))
    for a, b, c in zip(first, again, other, strict=True):
        assert np.array_equal(a, b)
        assert not np.allclose(a, c, atol=0.05)


@pytest.mark.slow
def test_renderers_do_not_disturb_each_other(small: Renderer) -> None:
    """Several can be open; one that is not closed does no harm."""
    before = small.render(0, CARS[0])
    for seed in (4, 5):
        forgotten = Renderer(Scene.seeded(seed, "green_car"), **SMALL)
        assert not np.array_equal(forgotten.render(0, CARS[0]), before)
        assert np.array_equal(small.render(0, CARS[0]), before)
    del forgotten
    with Renderer(SCENE, **SMALL) as fresh:
        assert np.array_equal(fresh.render(0, CARS[0]), before)


@pytest.mark.slow
def test_a_box_in_front_of_the_car_hides_it() -> None:
    node = SCENE.nodes[0]
    car = state(0.0, 0.5)
    eye = node.sensor("rgb_optical").translation_m
    at = eye + 0.6 * (middle(car) - eye)
    screen = Box((float(at[0]), float(at[1]), 0.5), (0.4, 0.05, 0.5), (0.5, 0.5, 0.5))
    for clutter, hidden in (((), False), ((screen,), True)):
        with Renderer(dataclasses.replace(SCENE, clutter=clutter), **SMALL) as renderer:
            assert renderer.car_mask(0, car).any() != hidden
            assert renderer.car_mask(2, car).any()  # the others still see it
            empty, there = (renderer.render(0, c, "depth") for c in (None, car))
            assert (there <= empty + 1e-6).all()


def test_without_a_target_there_is_no_car() -> None:
    with Renderer(dataclasses.replace(SCENE, target="none"), **SMALL) as renderer:
        assert np.array_equal(renderer.render(0, CARS[0]), renderer.render(0, None))
        assert not renderer.car_mask(0, CARS[0]).any()


def test_cars_out_of_sight_and_up_close(small: Renderer) -> None:
    behind = state(*(1.6 * SCENE.nodes[0].base.translation_m[:2]))
    assert not small.car_mask(0, behind).any()
    assert np.array_equal(small.render(0, behind), small.render(0, None))
    below = SCENE.nodes[0].base.translation_m[:2] * 0.93
    small.render(0, state(*below))  # partly behind the image plane


def test_nodes_see_each_others_rigs_and_not_their_own(full: Renderer) -> None:
    at = SCENE.nodes[1].base.translation_m
    (u, v), depth = full.camera(0).project(at)
    assert full._shot(0, full.camera(0), None, "rgb").depth[round(v), round(u)] == pytest.approx(depth, abs=0.2)


def test_reflectance_of_tape_and_mat(full: Renderer) -> None:
    camera = full.camera(0, "depth")
    _, reflectance = full.depth_and_reflectance(0, None)
    def at(x: float, y: float) -> float:
        (u, v), _ = camera.project(np.array([x, y, 0.0]))
        return float(reflectance[round(v), round(u)])

    assert at(0.0, -0.75) > 0.4  # the inner line, near node1
    assert at(0.3, -0.55) < 0.15
    assert 0 <= reflectance.min() <= reflectance.max() <= 1
    assert reflectance.dtype == np.float32
    assert full.render(0, CARS[0], "reflectance").shape == (120, 160)


@pytest.mark.parametrize("node", range(3))
def test_markers_are_at_their_positions(full: Renderer, node: int) -> None:
    """White sheet beside each code, dark mat at the mirrored places."""
    picture, camera = full.render(node, None).mean(axis=2), full.camera(node)

    def at(x: float, y: float) -> float:
        (u, v), _ = camera.project(np.array([x, y, 0.0]))
        return float(picture[round(v), round(u)])

    for x, y, side in MARKERS:
        assert at(x, y + 0.42 * side) > at(x, -y + 0.42 * side) + 40
        assert at(x - 0.42 * side, y) > at(x - 0.42 * side, y - 1.5 * side) + 40


def test_the_car_throws_a_shadow(full: Renderer) -> None:
    """Beside the car the mat gets darker, nowhere else."""
    car = state(0.0, 0.0, 0.0)
    change = full.render(0, car).astype(int).sum(axis=2) - full.render(0, None).astype(int).sum(axis=2)
    mask = full.car_mask(0, car)
    beside = (change < -12) & ~mask
    assert beside.sum() > 0.03 * mask.sum()
    rows, columns = np.nonzero(beside)
    (u, v), _ = full.camera(0).project(middle(car))
    assert np.hypot(columns - u, rows - v).max() < 60


@pytest.mark.parametrize(("bad", "message"), [
    ({"rgb": (4, 270)}, "rgb: found 4x270"), ({"depth": (160, 9999)}, "depth: found 160x9999"),
    ({"supersample": 0}, "supersample: found 0"), ({"shadow_size": -1}, "shadow_size: found -1")])
def test_bad_sizes(bad: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Renderer(SCENE, **bad)


def test_bad_arguments_of_render() -> None:
    with Renderer(SCENE, rgb=(16, 9), depth=(8, 8)) as renderer:
        with pytest.raises(InputError, match="node_index: found 3; allowed: 0 to 2"):
            renderer.render(3, None)
        with pytest.raises(InputError, match="rgb, depth, reflectance"):
            renderer.render(0, None, "lidar")
    with pytest.raises(InputError, match="renderer: found closed"):
        renderer.render(0, None)


def test_missing_mujoco_is_an_error_with_packages_to_install() -> None:
    code = ("import sys; sys.modules['mujoco'] = None\n"
            "from admn_ros.errors import InputError\n"
            "from admn_ros.simulation.camera.render import Renderer\n"
            "from admn_ros.simulation.scene.scene import Scene\n"
            "try: Renderer(Scene.seeded(3))\n"
            "except InputError as error: print(error)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 1
    for name in ("pip install mujoco", "libegl1", "libgl1-mesa-dri", "libosmesa6"):
        assert name in done.stdout
