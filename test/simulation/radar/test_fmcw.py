# SPDX-License-Identifier: Apache-2.0
"""The simulated radar measures range, azimuth and radial velocity of the geometry."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest

from admn_ros.errors import InputError
from admn_ros.simulation.radar.echoes import Echoes, clutter_echoes, hidden
from admn_ros.simulation.radar.fmcw import ANTENNAS, FmcwConfig, FmcwRadar, RadarReading
from admn_ros.simulation.radar.moving import other_echoes, person_boxes
from admn_ros.simulation.radar.points import Cfar, detect
from admn_ros.simulation.scene.car import CAR_CENTRE_Z_M, CarState
from admn_ros.simulation.scene.geometry import Box
from admn_ros.simulation.scene.others import Others
from admn_ros.simulation.scene.people import PersonState
from admn_ros.simulation.scene.scene import Scene
from helpers.plain_room import PLAIN_ROOM

SCENE = PLAIN_ROOM
C = FmcwConfig()
BARE = FmcwConfig(clutter=False, leakage=0)   # the car and receiver noise, nothing else
CELL = 2 / ANTENNAS                           # azimuth resolution, in sine


@dataclass(frozen=True)
class Draw:
    """A frame with its expected range, sine of azimuth and radial velocity."""

    reading: RadarReading
    empty: RadarReading   # the same radar without the car
    range_m: float
    sine: float
    velocity_mps: float

    @property
    def row(self) -> int:
        return round(self.range_m / C.range_step_m)

    @property
    def column(self) -> float:
        return self.velocity_mps / C.velocity_step_mps + C.loops / 2


def car(x: float, y: float, heading: float = 0.0, speed: float = 0.0) -> CarState:
    return CarState(np.array([x, y]), np.float64(heading), np.float64(speed))


def truth(node: int, state: CarState) -> tuple[float, float, float]:
    pose = SCENE.nodes[node].sensor("radar")
    place = np.array([*state.position_m, CAR_CENTRE_Z_M])
    away = place - pose.translation_m
    reach = float(np.linalg.norm(away))
    heading = np.array([np.cos(state.heading_rad), np.sin(state.heading_rad), 0])
    return reach, float(pose.into(place)[1]) / reach, float(state.speed_mps * heading @ away) / reach


def draws(config: FmcwConfig, count: int) -> list[Draw]:
    rng = np.random.default_rng(20)
    radars = [FmcwRadar(SCENE, node, config) for node in SCENE.nodes]
    made = []
    for k in range(count):
        state = car(*rng.uniform(-1.35, 1.35, 2), rng.uniform(-np.pi, np.pi), rng.uniform(0, 1.9))
        radar = radars[k % 3]
        made.append(Draw(radar.measure(state, None, rng), radar.measure(None, None, rng), *truth(k % 3, state)))
    return made


@pytest.fixture(scope="module")
def bare() -> list[Draw]:
    return draws(BARE, 60)


@pytest.fixture(scope="module")
def cluttered() -> list[Draw]:
    return draws(C, 60)


def test_axes_are_the_stated_ones():
    assert C.range_step_m == pytest.approx(0.0435, abs=1e-4)
    assert C.velocity_step_mps == pytest.approx(0.29, abs=0.005)
    velocity = C.velocity_of_column()
    assert velocity[8] == 0 and velocity[0] < -2.2 and velocity[-1] > 2.0, "a car at 2 m/s must not fold"
    assert np.all(np.diff(C.sine_of_column()) < 0), "left is column 0"
    assert C.sine_of_column() == pytest.approx(-C.sine_of_column()[::-1])


def test_range_doppler_peaks_at_the_car(bare: list[Draw]):
    peaks = [np.unravel_index(d.reading.range_doppler.argmax(), (256, 16)) for d in bare]
    rows = np.array([p[0] - d.range_m / C.range_step_m for p, d in zip(peaks, bare, strict=True)])
    columns = np.array([p[1] - d.column for p, d in zip(peaks, bare, strict=True)])
    assert np.abs(rows).max() <= 1 and abs(rows.mean()) < 0.15
    assert np.abs(columns).max() <= 1 and abs(columns.mean()) < 0.15


def test_range_azimuth_peaks_at_the_car(bare: list[Draw]):
    rows, sines = [], []
    for d in bare:
        row, column = np.unravel_index(d.reading.range_azimuth.argmax(), d.reading.range_azimuth.shape)
        rows.append(row - d.range_m / C.range_step_m)
        sines.append(C.sine_of_column()[column] - d.sine)
    assert np.abs(rows).max() <= 1 and abs(np.mean(rows)) < 0.15
    # A peak is found much finer than two targets are resolved. Without undoing the transmitters' turns the
    # fast ones would be off by half a cell.
    assert np.abs(sines).max() < CELL / 4 and abs(np.mean(sines)) < 0.01


def test_both_maps_have_the_same_power(bare: list[Draw]):
    # At the peak eight antennas add up: eight times the mean power of one, and the mean over all velocities.
    for d in bare:
        row = int(d.reading.range_azimuth.argmax()) // C.azimuth_bins
        of_doppler = ANTENNAS * np.mean(d.reading.range_doppler[row] ** 2)
        assert d.reading.range_azimuth[row].max() ** 2 == pytest.approx(of_doppler, rel=0.15)


def test_a_moving_car_stands_out_of_clutter_in_doppler(cluttered: list[Draw]):
    moving = [d for d in cluttered if abs(d.velocity_mps) > 2.2 * C.velocity_step_mps]
    assert len(moving) > 15
    rows = []
    for d in moving:
        side = d.reading.range_doppler[10:].copy()
        side[:, 6:11] = 0
        row, column = np.unravel_index(side.argmax(), side.shape)
        rows.append(row + 10 - d.range_m / C.range_step_m)
        assert (column - 8) * d.velocity_mps > 0, "going away is positive"
    assert np.abs(rows).max() <= 1.5 and abs(np.mean(rows)) < 0.2


def test_the_car_stands_out_of_clutter_after_subtraction(cluttered: list[Draw]):
    # Power, for the car's echo and the clutter's add as complex numbers, or cancel.
    found = 0
    for d in cluttered:
        change = np.abs(d.reading.range_azimuth[10:] ** 2 - d.empty.range_azimuth[10:] ** 2)
        row, column = np.unravel_index(change.argmax(), change.shape)
        near = abs(row + 10 - d.range_m / C.range_step_m) <= 2.5
        found += bool(near and abs(C.sine_of_column()[column] - d.sine) < CELL)
    assert found >= 0.9 * len(cluttered)


@pytest.mark.parametrize("speed", [-1.8, -0.9, 0.9, 1.8])
def test_doppler_is_positive_for_receding_targets(speed: float):
    radar = FmcwRadar(SCENE, SCENE.nodes[0], BARE)  # at (0, -2.5), looking along +y
    reading = radar.measure(car(0, 0.5), np.array([0, speed]), np.random.default_rng(1))
    column = int(reading.range_doppler.argmax()) % 16
    reach, _, _ = truth(0, car(0, 0.5))
    assert C.velocity_of_column()[column] == pytest.approx(speed * 2.95 / reach, abs=C.velocity_step_mps)


def test_a_given_velocity_replaces_speed_along_heading():
    radar = FmcwRadar(SCENE, SCENE.nodes[0], BARE)
    ahead = radar.measure(car(0, 0.5, np.pi / 2, 1.2), None, np.random.default_rng(1))
    given_ = radar.measure(car(0, 0.5, np.pi / 2, 0.0), np.array([0, 1.2]), np.random.default_rng(1))
    assert np.allclose(ahead.range_doppler, given_.range_doppler, rtol=1e-4)


def test_amplitude_falls_with_the_square_of_range_and_the_pattern():
    radar = FmcwRadar(SCENE, SCENE.nodes[0], BARE)
    rng = np.random.default_rng(3)

    def level_db(y: float) -> float:
        return float(np.mean([20 * np.log10(radar.measure(car(0, y, np.pi / 2, 1.15), None, rng).range_doppler.max())
                              for _ in range(30)]))

    def expected_db(y: float) -> float:
        reach, _, _ = truth(0, car(0, y))
        down = np.arcsin((0.75 - CAR_CENTRE_Z_M) / reach)
        return float(-40 * np.log10(reach) - 12.04 * (down / np.deg2rad(40)) ** 2)
    assert level_db(-1.0) - level_db(1.3) == pytest.approx(expected_db(-1.0) - expected_db(1.3), abs=1.0)


def test_a_car_behind_the_radar_is_not_seen():
    radar = FmcwRadar(SCENE, SCENE.nodes[0], BARE)
    for x, y in ((0, -3.2), (1.2, -2.6)):
        reading = radar.measure(car(x, y), None, np.random.default_rng(1))
        assert reading.range_doppler.max() < 4


def test_receiver_noise_is_one_and_the_filters_edge_is_dark():
    radar = FmcwRadar(SCENE, SCENE.nodes[0], BARE)
    readings = [radar.measure(None, None, np.random.default_rng(k)) for k in range(10)]
    for name in ("range_azimuth", "range_doppler"):
        power = np.mean([getattr(r, name)[:235] ** 2 for r in readings])
        assert power == pytest.approx(1, rel=0.03), name
        assert np.mean([getattr(r, name)[-4:] ** 2 for r in readings]) < 0.3
    assert np.mean([len(r.points) for r in readings]) <= 0.5, "false alarms"


def test_no_further_echoes_change_nothing():
    none = Echoes.still(np.zeros((0, 3)), np.zeros(0))
    node, state = SCENE.nodes[0], car(0, 0.5, 0.3, 1.5)
    plain, with_none = (FmcwRadar(SCENE, node).measure(state, None, np.random.default_rng(3), others)
                        for others in (None, none))
    np.testing.assert_array_equal(plain.range_azimuth, with_none.range_azimuth)


def test_a_person_hides_the_car_and_the_room_behind():
    node, state = SCENE.nodes[0], car(0, 0.5, 0.3, 1.5)
    radar_m = node.sensor("radar").translation_m
    middle = np.array([*state.position_m, CAR_CENTRE_Z_M])
    before, behind = (PersonState((radar_m + share * (middle - radar_m))[:2], 0.0, np.zeros(2), 0.0)
                      for share in (0.7, 1.6))
    for config in (C, BARE):
        free, covered, still_free = (
            FmcwRadar(SCENE, node, config).measure(state, None, np.random.default_rng(3), None, person_boxes(people))
            for people in ((), (before,), (behind,)))
        row = round(float(np.linalg.norm(middle - radar_m)) / config.range_step_m)
        peak = [r.range_doppler[row - 1:row + 2].max() for r in (free, covered, still_free)]
        assert peak[1] < 0.5 * peak[0]
        if config is BARE:
            assert peak[2] == peak[0]
            np.testing.assert_array_equal(free.range_azimuth, still_free.range_azimuth)
    still = clutter_echoes(SCENE, node)
    covered = hidden(person_boxes((before,)), radar_m, still.position_m)
    assert 0 < covered.sum() < 0.5 * len(covered)
    walking = other_echoes(Others(people=(before, behind)), radar_m, np.random.default_rng(0))
    assert len(walking[0].amplitude) == 3 > len(walking[1].amplitude), "people do not hide themselves"


def test_without_a_car_nothing_moves(cluttered: list[Draw]):
    for d in cluttered[:12]:
        ridge, beside = d.empty.range_doppler[10:, 7:10].max(), d.empty.range_doppler[10:, :6].max()
        assert ridge > 30, "clutter is there"
        assert beside < max(ridge / 20, 4), "and stands still"


def test_static_heatmap_excludes_moving_targets():
    node = SCENE.nodes[0]
    state, seed = car(0, 0.5, np.pi / 2, 1.5), 5
    reach, _, _ = truth(0, state)
    row = round(reach / C.range_step_m)
    peak = {}
    for static in (False, True):
        config = FmcwConfig(clutter=False, leakage=0, static_only=static)
        peak[static] = FmcwRadar(SCENE, node, config).measure(state, None, np.random.default_rng(seed))
    assert peak[False].range_azimuth[row].max() > 10
    assert peak[True].range_azimuth[row].max() < 0.4 * peak[False].range_azimuth[row].max()
    still = car(0, 0.5, np.pi / 2, 0.0)
    config = FmcwConfig(clutter=False, leakage=0, static_only=True)
    reading = FmcwRadar(SCENE, node, config).measure(still, None, np.random.default_rng(seed))
    assert reading.range_azimuth[row].max() > 10


def test_points_include_the_car(cluttered: list[Draw]):
    found = 0
    for d in cluttered:
        points = d.reading.points
        assert points.dtype == np.float32 and points.shape[1] == 5 and len(points) < 60
        place = d.range_m * np.array([np.sqrt(1 - d.sine**2), d.sine])
        near = np.hypot(*(points[:, :2] - place).T) < 0.3
        right = np.abs(points[:, 3] - d.velocity_mps) <= 1.5 * C.velocity_step_mps
        found += bool(np.any(near & right))
        assert np.all(np.diff(points[:, 4]) <= 0), "strongest first"
    assert found >= 0.9 * len(cluttered)


def test_cfar_averages_both_sides():
    power = np.ones((200, 16))
    power[120:] = 10
    power[[60, 117], 5] = 12   # alike, but the second is beside a bright region
    points = detect(power, np.ones((200, 16, ANTENNAS), np.complex64), Cfar(), 0.1, 0.5)
    assert points == pytest.approx(np.array([[6.0, 0, 0, -1.5, 10 * np.log10(12)]]))


def test_the_same_seed_gives_the_same_frame():
    radar = FmcwRadar(SCENE, SCENE.nodes[1])
    a, b, other = (radar.measure(car(0.4, 0.2, 1, 1), None, np.random.default_rng(s)) for s in (4, 4, 5))
    again = FmcwRadar(SCENE, SCENE.nodes[1]).measure(car(0.4, 0.2, 1, 1), None, np.random.default_rng(4))
    for name in ("range_azimuth", "range_doppler", "points"):
        assert np.array_equal(getattr(a, name), getattr(b, name))
        assert np.array_equal(getattr(a, name), getattr(again, name))
    assert not np.array_equal(a.range_azimuth, other.range_azimuth)
    assert a.range_azimuth.shape == (256, 64) and a.range_doppler.shape == (256, 16)
    assert a.range_azimuth.dtype == a.range_doppler.dtype == np.float32


def test_rooms_and_nodes_differ_in_clutter():
    other = Scene(1, SCENE.room_half_m, SCENE.ceiling_m, SCENE.clutter, SCENE.nodes, "red_car")
    here, there = clutter_echoes(SCENE, SCENE.nodes[0]), clutter_echoes(other, SCENE.nodes[0])
    assert here.amplitude.shape != there.amplitude.shape or not np.array_equal(here.amplitude, there.amplitude)
    inside = np.abs(here.position_m[:, :2]) <= np.array(SCENE.room_half_m) + 1e-9
    assert np.all(inside) and not np.any(here.velocity_mps)


def test_boxes_hide_what_is_behind_them():
    box = Box((2, 0, 0), (0.1, 0.5, 0.5), (1, 1, 1))
    points = np.array([[3, 0, 0], [1, 0, 0], [3, 3, 0], [1.9, 0, 0]])
    assert hidden([box], np.zeros(3), points).tolist() == [True, False, False, False]


def test_wrong_arguments_are_named():
    for error, make in (("samples", lambda: FmcwConfig(samples=7)), ("chirp_s", lambda: FmcwConfig(chirp_s=1e-5)),
                        ("window", lambda: Cfar(window=0))):
        with pytest.raises(InputError, match=f"^{error}:"):
            make()


THREADS = """
import hashlib
import numpy as np
from admn_ros.simulation.radar.fmcw import FmcwRadar
from admn_ros.simulation.scene.car import CarState
from admn_ros.simulation.scene.scene import Scene

scene, car = Scene.seeded(3, "red_car"), CarState(np.array([0.4, 0.3]), np.array(0.2), np.array(0.5))
reading = FmcwRadar(scene, scene.nodes[0]).measure(car, None, np.random.default_rng(0))
print(hashlib.sha256(reading.range_azimuth.tobytes()).hexdigest())
"""


def test_the_number_of_threads_does_not_change_a_byte() -> None:
    found = {subprocess.run([sys.executable, "-c", THREADS], env={**os.environ, "OPENBLAS_NUM_THREADS": threads},
                            capture_output=True, text=True, check=True, timeout=60).stdout for threads in ("1", "2")}
    assert len(found) == 1
