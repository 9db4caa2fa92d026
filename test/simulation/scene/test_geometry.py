# SPDX-License-Identifier: Apache-2.0
"""What the sensors of the demo see agrees with where the car is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admn_ros.errors import InputError
from admn_ros.sensing.preprocess.sound_direction import SOUND_MPS
from admn_ros.simulation.plain import acoustics
from admn_ros.simulation.plain.cameras import Camera, Cast, View, expose, grazing_cosine, measure_depth
from admn_ros.simulation.plain.radar import RANGE_STEP_M, Radar, azimuth_sine_of_column, range_of_row
from admn_ros.simulation.plain.streams import DEPTH_FOCAL_PX, DEPTH_SIZE, RGB_FOCAL_PX, RGB_SIZE
from admn_ros.simulation.scene.geometry import (
    CAR_CENTRE_Z_M,
    DRIVEN,
    OUTER_LINE,
    Box,
    CarState,
    Motion,
    Pose,
    SensorNode,
    car_boxes,
    sensor_nodes,
)

MOTION = Motion.seeded(7)
TIMES = np.arange(0, 8, 0.4)
NODES = sensor_nodes()


def middle(car: CarState) -> np.ndarray:
    return np.array([*car.position_m, CAR_CENTRE_Z_M])


@pytest.fixture(scope="module")
def rgb_views() -> dict[str, View]:
    return {n.name: View(Camera(n.sensor("rgb_optical"), *RGB_SIZE, RGB_FOCAL_PX), n.name, 2) for n in NODES}


@pytest.fixture(scope="module")
def depth_views() -> dict[str, View]:
    return {n.name: View(Camera(n.sensor("depth_optical"), *DEPTH_SIZE, DEPTH_FOCAL_PX), n.name, 1) for n in NODES}


def seen(view: View, colour: str = "red") -> list[tuple[CarState, Cast]]:
    """Instants at which the whole car is in the picture."""
    whole = []
    for t in TIMES:
        car = MOTION.at(t)
        window = view.window(car)
        if window and window[0] > 0 and window[2] < view.camera.width and window[3] < view.camera.height:
            whole.append((car, view.cast(car, colour)))
    assert len(whole) > len(TIMES) // 2
    return whole


# --- motion -------------------------------------------------------------------------------------------


@given(st.floats(0, 30), st.integers(0, 1000))
def test_heading_and_speed_are_the_motion(t: float, seed: int) -> None:
    """The derivative of the position is the heading and the speed that the state names."""
    motion, dt = Motion.seeded(seed), 1e-5
    car = motion.at(t)
    velocity = (motion.at(t + dt).position_m - motion.at(t - dt).position_m) / (2 * dt)
    expected = float(car.speed_mps) * np.array([np.cos(car.heading_rad), np.sin(car.heading_rad)])
    assert np.allclose(velocity, expected, atol=2e-3)
    assert 0.5 < car.speed_mps < 2


@given(st.floats(-50, 50))
def test_track_is_where_its_distance_says(distance: float) -> None:
    for line in (DRIVEN, OUTER_LINE):
        (x, y), _ = line.at(distance)
        assert abs(line.signed_distance(x, y)) < 1e-9
        assert np.allclose(line.at(distance + line.length_m)[0], (x, y))
    assert DRIVEN.signed_distance(np.float64(0), np.float64(0)) == pytest.approx(-DRIVEN.half_m)


@given(st.lists(st.floats(-3, 3), min_size=3, max_size=3), st.floats(-3, 3))
def test_box_is_entered_on_its_surface(start: list[float], yaw: float) -> None:
    """Rays at random: where they enter, the point lies on the box, and the normal looks back."""
    box = Box((0.1, -0.2, 0.3), (0.5, 0.3, 0.2), (1, 1, 1), yaw)
    origin = np.array(start) + np.array([5.0, 0, 0])
    rays = np.array(box.centre_m) - origin + np.random.default_rng(1).normal(0, 0.4, (200, 3))
    depth, normal = box.hit(origin, rays)
    hit = np.isfinite(depth)
    assert hit.any()
    c, s = np.cos(yaw), np.sin(yaw)
    local = (origin + rays[hit] * depth[hit, None] - box.centre_m) @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    assert np.allclose((np.abs(local) / box.half_m).max(axis=1), 1)
    assert ((normal[hit] * rays[hit]).sum(axis=1) < 0).all()


def test_nodes_and_colours_out_of_range() -> None:
    for count in (0, 4):
        with pytest.raises(InputError, match="1 to 3"):
            sensor_nodes(count)
    with pytest.raises(InputError, match="car: found 'blue'; allowed: red or green"):
        car_boxes(np.zeros(2), 0.0, "blue")


# --- cameras ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("node", [n.name for n in NODES])
def test_red_pixels_are_where_the_car_projects(rgb_views: dict[str, View], node: str) -> None:
    view = rgb_views[node]
    for car, cast in seen(view):
        picture = expose(cast.light(), np.random.default_rng(1), dark=False).astype(int)
        red = (picture[..., 0] > 90) & (picture[..., 0] > 2.5 * picture[..., 1:].max(axis=2))
        left, top, right, bottom = cast.window  # books and doors elsewhere are red too
        rows, columns = np.nonzero(red[top:bottom, left:right])
        (u, v), depth = view.camera.project(middle(car))
        # The paint in sight is not centred on the car's middle: allow 5 cm besides two pixels.
        error = np.hypot(columns.mean() + left - u, rows.mean() + top - v)
        assert error < 2 + 0.05 * RGB_FOCAL_PX / depth


def test_green_car_is_green(rgb_views: dict[str, View]) -> None:
    _, cast = seen(rgb_views["node1"], "green")[0]
    r, g, b = np.median(cast.light()[cast.car_mask()], axis=0)
    assert g > 1.5 * r
    assert g > 4 * b


@pytest.mark.parametrize("node", [n.name for n in NODES])
def test_depth_at_the_car_is_the_distance(depth_views: dict[str, View], node: str) -> None:
    """Along the optical axis: in front of the car's middle by at most half its diagonal, and never the floor."""
    view = depth_views[node]
    for car, cast in seen(view):
        depth = cast.depth()[cast.car_mask()]
        _, along = view.camera.project(middle(car))
        assert along - 0.22 < np.median(depth) < along + 0.02
        assert depth.min() > along - 0.25


@pytest.mark.parametrize("node", NODES, ids=lambda n: n.name)
def test_depth_of_the_floor(depth_views: dict[str, View], node: SensorNode) -> None:
    """Points of the floor, projected, come back with their own depth."""
    view = depth_views[node.name]
    car = CarState(np.array([50.0, 50.0]), np.array(0.0), np.array(0.0))
    depth = view.cast(car, "red").depth()
    floor = np.array([[x, y, 0.0] for x in (-0.8, 0, 0.8) for y in (-0.8, 0, 0.8)])
    pixels, expected = view.camera.project(floor)
    for (u, v), z in zip(pixels, expected, strict=True):
        row, column = round(float(v)), round(float(u))
        assert depth[row - 1, column] >= z * 0.97
        assert depth[row, column] == pytest.approx(z, rel=0.03)


def test_nearer_hides_farther(depth_views: dict[str, View]) -> None:
    """A car behind a tripod's pole does not shine through, and a car in front hides the floor."""
    view = depth_views["node1"]
    empty = view.depth
    for _, cast in seen(view):
        assert (cast.depth() <= empty + 1e-6).all()
        assert (cast.depth() < empty)[cast.car_mask()].all()
    behind = CarState(np.array([-2.3, 1.35]), np.array(0.0), np.array(0.0))  # behind node3's tripod
    pole = np.array([-2.165, 1.25, 0.05])
    (u, v), z = view.camera.project(pole)
    assert view.cast(behind, "red").depth()[round(float(v)), round(float(u))] == pytest.approx(z, abs=0.06)


def test_dark_and_saturated(rgb_views: dict[str, View], depth_views: dict[str, View]) -> None:
    light, rng = rgb_views["node1"].still_light, np.random.default_rng(1)
    bright, dark = (expose(light, rng, dark=d).astype(float) for d in (False, True))
    assert dark.mean() < 0.4 * bright.mean()
    noise = [np.abs(np.diff(p, axis=1)).mean() / p.mean() for p in (bright, dark)]
    assert noise[1] > 2 * noise[0]
    view = depth_views["node1"]
    cosine = grazing_cosine(view)
    good, bad = (measure_depth(view.depth, cosine, rng, saturated=s) for s in (False, True))
    assert np.isnan(good).mean() < 0.15
    assert np.isnan(bad).mean() > 0.8
    error = [np.nanmedian(np.abs(d - view.depth)) for d in (good, bad)]
    assert error[0] < 0.01
    assert error[1] > 0.1


# --- radar --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clutter", [False, True])
@pytest.mark.parametrize("node", NODES, ids=lambda n: n.name)
def test_radar_peak_is_the_car(node: SensorNode, clutter: bool) -> None:
    """Range within one bin always. Azimuth within two of 64 columns: the beam of eight antennas is eight wide."""
    radar, pose = Radar(node.sensor("radar"), node.name), node.sensor("radar")
    for i, t in enumerate(TIMES):
        car = MOTION.at(t)
        heatmap = radar.heatmap(car, np.random.default_rng(i), clutter)
        row, column = np.unravel_index(heatmap.argmax(), heatmap.shape)
        local = pose.into(middle(car))
        reach = np.linalg.norm(local)
        assert abs(range_of_row()[row] - reach) <= RANGE_STEP_M
        assert abs(azimuth_sine_of_column()[column] - local[1] / reach) <= 2 / 32


def test_radar_noise_is_one_and_left_is_left() -> None:
    assert (range_of_row()[0], range_of_row()[-1]) == pytest.approx((0.025, 6.375))
    assert (azimuth_sine_of_column()[0], azimuth_sine_of_column()[-1]) == pytest.approx((63 / 64, -63 / 64))
    node = NODES[0]
    far = CarState(np.array([500.0, 500.0]), np.array(0.0), np.array(0.0))
    noise = Radar(node.sensor("radar"), node.name).heatmap(far, np.random.default_rng(1), clutter=False)
    assert np.sqrt((noise.astype(float)**2).mean()) == pytest.approx(1, rel=0.03)
    left = CarState(np.array([-1.0, 0.0]), np.array(0.0), np.array(0.0))  # node1 looks along +y, so -x is left
    heatmap = Radar(node.sensor("radar"), node.name).heatmap(left, np.random.default_rng(1))
    assert np.unravel_index(heatmap.argmax(), heatmap.shape)[1] < 32


# --- sound --------------------------------------------------------------------------------------------


def standing(x: float, y: float) -> Motion:
    """A car that hardly moves, near (x, y) on the driven line; tyres and motor still sound."""
    distances = np.linspace(0, DRIVEN.length_m, 4000)
    positions, _ = DRIVEN.at(distances)
    nearest = float(distances[np.hypot(*(positions - (x, y)).T).argmin()])
    return Motion(start_m=nearest, speed_mps=1e-3, swing=0.0)


def level(motion: Motion, node: SensorNode) -> tuple[float, float]:
    """RMS level and distance."""
    pose = node.sensor("microphones")
    sound = acoustics.record_sound(pose, motion, 0.0, 16000, 7, background=False)
    return float(sound.std()), float(np.linalg.norm(middle(motion.at(0.5)) - pose.translation_m))


def test_level_falls_with_distance() -> None:
    motion = standing(0, -1.1)
    (near, d_near), (far, d_far) = level(motion, NODES[0]), level(motion, NODES[1])
    assert d_far > 1.5 * d_near
    assert near / far == pytest.approx(d_far / d_near, rel=0.05)


def test_delay_between_microphones_is_the_geometry() -> None:
    """Microphones 0 and 2 are opposite; the lag of the best match is the difference of the ways."""
    for x, y in ((1.1, 0), (-1.1, 0), (0, 1.1)):
        motion, node = standing(x, y), NODES[0]
        pose = node.sensor("microphones")
        sound = acoustics.record_sound(pose, motion, 0.0, 16000, 7, background=False).astype(float)
        mics = acoustics.microphone_positions() @ pose.rotation.T + pose.translation_m
        ways = np.linalg.norm(middle(motion.at(0.5)) - mics, axis=1)
        for a, b in ((0, 2), (1, 3), (0, 1)):
            spectrum = np.fft.rfft(sound[:, a]).conj() * np.fft.rfft(sound[:, b])
            fine = np.fft.irfft(spectrum, 16 * len(sound))  # 16 times finer than a sample
            lag = np.fft.fftfreq(len(fine), 1 / len(fine))[fine.argmax()] / 16
            expected = (ways[b] - ways[a]) / SOUND_MPS * acoustics.SAMPLE_RATE_HZ
            assert lag == pytest.approx(expected, abs=0.2)


@settings(max_examples=10)
@given(st.integers(0, 10000))
def test_pitch_follows_speed(seed: int) -> None:
    """The strongest tone of a short slice is the motor's, within Doppler and the resolution."""
    motion = Motion.seeded(seed)
    pose = Pose(np.eye(3), np.array([0.0, 0.0, 0.8]))  # in the middle of the track: little Doppler
    sound = acoustics.record_sound(pose, motion, 1.0, 2048, 7, background=False)[:, 0]
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(2048), 16384))
    hertz = np.fft.rfftfreq(16384, 1 / 16000)
    expected = acoustics.TURNS_PER_M * float(motion.at(1.06).speed_mps)
    band = (hertz > 0.7 * expected) & (hertz < 1.5 * expected)
    assert hertz[band][spectrum[band].argmax()] == pytest.approx(expected, rel=0.03)
