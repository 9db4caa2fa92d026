# SPDX-License-Identifier: Apache-2.0
"""Simulated microphones: delays, levels, Doppler shifts, reflections and noise agree with the geometry."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from admn_ros.errors import InputError
from admn_ros.sensing.preprocess.sound_direction import SOUND_MPS
from admn_ros.simulation.scene.car import CAR_CENTRE_Z_M
from admn_ros.simulation.scene.driving import Drive
from admn_ros.simulation.scene.geometry import Pose
from admn_ros.simulation.scene.scene import Scene
from admn_ros.simulation.scene.sensor_node import SensorNode
from admn_ros.simulation.sound.car_sound import DENSE_RATE_HZ, SAMPLE_RATE_HZ, VOICES, CarSound, HeldSound
from admn_ros.simulation.sound.room_acoustics import (
    FAST,
    AcousticsConfig,
    Microphones,
    absorption_of,
    array_shape,
    mirrored,
)
from helpers.plain_room import PLAIN_ROOM

pytestmark = pytest.mark.slow

SCENE, CHUNK = PLAIN_ROOM, 1056
DRY = AcousticsConfig(order=0, noise=0, hiss=0)
CLEAN = AcousticsConfig(noise=0, hiss=0)
PAIRS = list(combinations(range(4), 2))
MAX_LAG = 4


def standing(x: float, y: float):
    return lambda t: np.tile([x, y], (len(t), 1))


def place(x: float, y: float) -> np.ndarray:
    return np.array([x, y, CAR_CENTRE_Z_M])


def driving(speed: float, target: str = "red_car", seed: int = 0) -> CarSound:
    return CarSound(lambda t: speed * t, target, seed)


def lag(a: np.ndarray, b: np.ndarray, fine: int = 16) -> float:
    """Return the samples by which a is later than b: the maximum of GCC-PHAT within MAX_LAG."""
    n = 2 * len(a)
    cross = np.fft.rfft(a * np.hanning(len(a)), n) * np.conj(np.fft.rfft(b * np.hanning(len(b)), n))
    hertz = np.fft.rfftfreq(n, 1 / SAMPLE_RATE_HZ)
    cross = np.where((hertz > 200) & (hertz < 6500), cross / (np.abs(cross) + 1e-15), 0)
    curve = np.fft.irfft(cross, n * fine)
    around = np.arange(-MAX_LAG * fine, MAX_LAG * fine + 1)
    return float(around[np.argmax(curve[around])]) / fine


def lag_errors(config: AcousticsConfig, count: int) -> np.ndarray:
    """Errors in samples (count, pairs) of a moving car's lags, over drives and nodes."""
    rng = np.random.default_rng(6)
    arrays = [Microphones(SCENE, node, config) for node in SCENE.nodes]
    errors = []
    for k in range(count):
        drive = Drive.seeded(k)
        array, t = arrays[k % 3], float(rng.uniform(2, 20))
        source = CarSound(drive.distance_m, "red_car", k)
        sound = array.chunk(t, CHUNK, source, lambda s, d=drive: d.at(s).position_m, rng)
        # In the middle of the chunk, less the way of the sound, about.
        delays = array.delays_s(place(*drive.at(t + CHUNK / SAMPLE_RATE_HZ / 2 - 0.007).position_m))
        errors.append([lag(sound[:, a], sound[:, b]) - (delays[a] - delays[b]) * SAMPLE_RATE_HZ for a, b in PAIRS])
    return np.array(errors)


def test_array_is_the_respeakers():
    shape = array_shape()
    assert np.linalg.norm(shape, axis=1) == pytest.approx(0.0323)
    assert np.all(shape[0, :2] > 0), "first: forward and to the left"
    assert np.arctan2(shape[:, 1], shape[:, 0]) == pytest.approx(np.deg2rad([45, 135, -135, -45]))


def azimuth_rad(node: int, point: np.ndarray) -> float:
    """Direction of a point from a node's microphones, positive to the left."""
    x, y, _ = SCENE.nodes[node].sensor("microphones").into(point)
    return float(np.arctan2(y, x))


@pytest.mark.parametrize("node", range(3))
def test_directions_and_delays_agree(node: int):
    array = Microphones(SCENE, SCENE.nodes[node], DRY)
    rng = np.random.default_rng(1)
    for x, y in rng.uniform(-1.3, 1.3, (20, 2)):
        direction = azimuth_rad(node, place(x, y))
        shape = array_shape()
        nearest = np.argmin(np.abs(np.angle(np.exp(1j * (np.arctan2(shape[:, 1], shape[:, 0]) - direction)))))
        assert np.argmin(array.delays_s(place(x, y))) == nearest
        assert np.abs(direction) < np.pi / 2, "nodes look at the mat"


def test_lags_are_the_geometrys_in_a_dry_room():
    errors = lag_errors(DRY, 24)
    assert np.abs(errors).max() < 0.3
    assert abs(errors.mean()) < 0.05


def test_lags_are_mostly_the_geometrys_in_the_room():
    errors = lag_errors(AcousticsConfig(), 36)
    assert np.mean(np.abs(errors) <= 1) > 0.85


@pytest.mark.slow
@pytest.mark.parametrize(("order", "node"), [(0, 0), (1, 1), (3, 0), (3, 2)])
def test_a_static_source_agrees_with_pyroomacoustics(order: int, node: int):
    pra = pytest.importorskip("pyroomacoustics")
    config = AcousticsConfig(order=order, noise=0, hiss=0)
    array = Microphones(SCENE, SCENE.nodes[node], config)
    at = np.array([0.7, -0.4])
    dry = HeldSound(_noise, -0.5, 0.5)
    ours = array.chunk(0.1, 3000, dry, standing(*at), np.random.default_rng(0)).T

    walls = absorption_of(SCENE, config)
    names = (("west", "east"), ("south", "north"), ("floor", "ceiling"))
    materials = {n: pra.Material(float(a)) for pair, row in zip(names, walls, strict=True)
                 for n, a in zip(pair, row, strict=True)}
    low = np.array([-SCENE.room_half_m[0], -SCENE.room_half_m[1], 0.0])
    size = [2 * SCENE.room_half_m[0], 2 * SCENE.room_half_m[1], SCENE.ceiling_m]
    room = pra.ShoeBox(size, fs=SAMPLE_RATE_HZ, materials=materials, max_order=order)
    room.add_source(place(*at) - low)
    pose = SCENE.nodes[node].sensor("microphones")
    room.add_microphone_array((array_shape() @ pose.rotation.T + pose.translation_m - low).T)
    room.compute_rir()
    signal = dry((np.arange(6400) - 1600) / SAMPLE_RATE_HZ)
    shift = 1600 + 1600 + pra.constants.get("frac_delay_length") // 2
    for m in range(4):
        theirs = np.convolve(signal, room.rir[m][0])[shift:shift + 3000]
        gap_db = 10 * np.log10(np.mean((ours[m] - theirs) ** 2) / np.mean(theirs ** 2))
        assert gap_db < -35, (order, m)


def _noise(t: np.ndarray) -> np.ndarray:
    spectrum = np.fft.rfft(np.random.default_rng(9).standard_normal(len(t)))
    hertz = np.fft.rfftfreq(len(t), 1 / DENSE_RATE_HZ)
    return np.fft.irfft(spectrum * ((hertz > 150) & (hertz < 3500)), len(t))


def test_a_moving_tone_arrives_with_its_delay():
    array = Microphones(SCENE, SCENE.nodes[0], DRY)
    rise, tone = np.array([0.4, 1.7]), 900.0
    def position(t: np.ndarray) -> np.ndarray:
        return np.array([0.2, -1.0]) + (t[:, None] - 1) * rise
    sound = array.chunk(1.0, 4000, lambda t: np.sin(2 * np.pi * tone * t), position, np.random.default_rng(0))
    t = 1 + np.arange(4000) / SAMPLE_RATE_HZ
    pose = SCENE.nodes[0].sensor("microphones")
    for m, microphone in enumerate(array_shape() @ pose.rotation.T + pose.translation_m):
        left = t.copy()
        for _ in range(20):
            away = np.linalg.norm(np.column_stack([position(left), np.full(4000, CAR_CENTRE_Z_M)]) - microphone, axis=1)
            left = t - away / SOUND_MPS
        assert np.abs(sound[:, m] * away - np.sin(2 * np.pi * tone * left)).max() < 0.01


def test_level_falls_with_distance():
    array = Microphones(SCENE, SCENE.nodes[0], DRY)
    rng = np.random.default_rng(0)
    for near, far in ((-1.5, 0.0), (0.0, 1.5)):
        levels, ways = [], []
        for y in (near, far):
            levels.append(array.chunk(3.0, 8000, driving(1.0), standing(0, y), rng).std())
            ways.append(array.delays_s(place(0, y)).mean())
        assert levels[0] / levels[1] == pytest.approx(ways[1] / ways[0], rel=0.02)


def test_reflections_are_mirror_images():
    at = np.array([[1.0, 2.0, 0.5]])
    images, gains = mirrored(at, np.array([-3.0, -4.0, 0.0]), np.array([3.0, 4.0, 2.5]),
                             np.array([[0.19, 0.36], [0.51, 0.75], [0.84, 0.96]]), 1)
    expected = {(1.0, 2.0, 0.5): 1.0, (-7.0, 2.0, 0.5): 0.9, (5.0, 2.0, 0.5): 0.8, (1.0, -10.0, 0.5): 0.7,
                (1.0, 6.0, 0.5): 0.5, (1.0, 2.0, -0.5): 0.4, (1.0, 2.0, 4.5): 0.2}
    assert {tuple(np.round(p[0], 9)): pytest.approx(g) for p, g in zip(images, gains, strict=True)} == expected
    for order, count in ((0, 1), (1, 7), (2, 25), (3, 63)):
        assert len(mirrored(at, np.zeros(3), np.full(3, 5.0), np.full((3, 2), 0.3), order)[1]) == count


def test_absorption_is_drawn_by_the_scene_or_given():
    other = Scene(1, SCENE.room_half_m, SCENE.ceiling_m, SCENE.clutter, SCENE.nodes, "red_car")
    assert not np.array_equal(absorption_of(SCENE, CLEAN), absorption_of(other, CLEAN))
    assert np.array_equal(absorption_of(SCENE, AcousticsConfig(absorption=0.2)), np.full((3, 2), 0.2))
    loud, soft = (Microphones(SCENE, SCENE.nodes[0], AcousticsConfig(absorption=a, noise=0, hiss=0))
                  .chunk(3.0, 8000, driving(1.0), standing(0, 0), np.random.default_rng(0)).std() for a in (0.1, 0.9))
    assert loud > 1.2 * soft


@pytest.mark.parametrize("config", [CLEAN, AcousticsConfig(hiss=0, babble=0.002)])
def test_chunks_join(config: AcousticsConfig):
    array, drive, rng = Microphones(SCENE, SCENE.nodes[1], config), Drive.seeded(5), np.random.default_rng(0)
    source = CarSound(drive.distance_m, "green_car", 5)
    def path(t: np.ndarray) -> np.ndarray:
        return drive.at(t).position_m
    chunks = [array.chunk(7 + k * CHUNK / SAMPLE_RATE_HZ, CHUNK, source, path, rng) for k in range(8)]
    joined = np.concatenate(chunks)
    # A click at a seam would stand out of the third difference, which follows no sound here.
    rough = np.abs(np.diff(joined, 3, axis=0)) ** 2
    seams = np.concatenate([rough[k * CHUNK - 3:k * CHUNK] for k in range(1, 8)])
    assert seams.mean() < 2 * rough.mean() and seams.max() <= rough.max()
    # A long recording does not depend on the chunks.
    whole = array.chunk(7.0, 8 * CHUNK, source, path, rng)
    assert np.abs(joined - whole).max() < 1e-4 * np.abs(whole).max()
    # A window in the middle of it is a part of it.
    window = array.chunk(7 + 2000 / SAMPLE_RATE_HZ, 3000, source, path, rng)
    assert np.abs(window - whole[2000:5000]).max() < 1e-3 * np.abs(whole).max()


def test_held_sound_is_the_same_sound():
    array, source, rng = Microphones(SCENE, SCENE.nodes[1], CLEAN), driving(1.3), np.random.default_rng(0)
    held = HeldSound(source, 1.8, 2.2)
    direct = array.chunk(2.0, 2000, source, standing(0.5, 0.5), rng)
    assert np.allclose(array.chunk(2.0, 2000, held, standing(0.5, 0.5), rng), direct, atol=1e-6)
    with pytest.raises(InputError, match="t_s"):
        array.chunk(2.2, 2000, held, standing(0.5, 0.5), rng)


@pytest.mark.parametrize("target", list(VOICES))
@pytest.mark.parametrize("speed", [0.4, 1.0, 1.9, 2.4])
def test_pitch_and_level_follow_speed(target: str, speed: float):
    sound = driving(speed, target)(1 + np.arange(DENSE_RATE_HZ) / DENSE_RATE_HZ)
    power = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2
    motor_hz = VOICES[target].turns_per_m * speed
    near = slice(int(motor_hz * 0.8), int(motor_hz * 1.3))
    assert near.start + np.argmax(power[near]) == pytest.approx(motor_hz, abs=1.5)
    assert power[8000:].sum() < 1e-5 * power.sum(), "nothing above half of the converter's rate"
    slower = driving(speed / 2, target)(1 + np.arange(DENSE_RATE_HZ) / DENSE_RATE_HZ)
    assert 2 < sound.std() / slower.std() < 4


def test_cars_sound_different_and_no_car_is_silent():
    t = np.arange(4000) / DENSE_RATE_HZ
    red, green = driving(1.0, "red_car")(t), driving(1.0, "green_car")(t)
    assert abs(np.corrcoef(red, green)[0, 1]) < 0.5
    assert not driving(1.0, "none")(t).any()


def test_a_stationary_car_is_silent():
    source = CarSound(lambda t: np.minimum(t, 2.0), "red_car")   # brakes at once after two seconds
    t = np.arange(DENSE_RATE_HZ) / DENSE_RATE_HZ
    assert not source(t + 2.1).any() and source(t + 0.9).std() > 0.03
    assert not source(t - 1.5)[:DENSE_RATE_HZ // 3].any(), "before the drive it stands"


def test_background_has_its_level_and_its_seeds():
    node, rng = SCENE.nodes[0], np.random.default_rng
    array = Microphones(SCENE, node, AcousticsConfig(noise=0.002, hiss=0))
    noise = array.chunk(3.0, 32000, None, None, rng(0))
    assert noise.std() == pytest.approx(0.002, rel=0.2) and noise.dtype == np.float32
    again = Microphones(SCENE, node, AcousticsConfig(noise=0.002, hiss=0)).chunk(3.5, 2000, None, None, rng(1))
    assert np.array_equal(noise[8000:10000], again), "a function of time and scene"
    other = Scene(1, SCENE.room_half_m, SCENE.ceiling_m, SCENE.clutter, SCENE.nodes, "none")
    elsewhere = Microphones(other, node, array.config).chunk(3.0, 32000, None, None, rng(0))
    # Differences leave the fans and take out the hum, which is every node's own.
    fans = [np.diff(x[:, 0], 2) for x in (noise, elsewhere)]
    assert abs(np.corrcoef(*fans)[0, 1]) < 0.2, "another room, other fans"
    hissing = Microphones(SCENE, node, AcousticsConfig(noise=0, hiss=0.001))
    a, b, c = (hissing.chunk(0, 9000, None, None, rng(s)) for s in (1, 1, 2))
    assert np.array_equal(a, b) and not np.array_equal(a, c) and a.std() == pytest.approx(0.001, rel=0.05)
    silent = Microphones(SCENE, node, DRY).chunk(0, 100, None, None, rng(0))
    assert silent.shape == (100, 4) and not silent.any()


def test_a_drive_can_be_recorded_from_its_start():
    drive = Drive.seeded(2)
    sound = Microphones(SCENE, SCENE.nodes[0], FAST).chunk(
        0.0, CHUNK, CarSound(drive.distance_m), lambda t: drive.at(t).position_m, np.random.default_rng(0))
    assert np.isfinite(sound).all() and sound[500:].std() > 2 * sound[:60].std()


def test_wrong_arguments_are_named():
    outside = SensorNode("far", Pose(np.eye(3), np.array([9.0, 0, 1])))
    array = Microphones(SCENE, SCENE.nodes[0], DRY)
    for error, make in (("far.base", lambda: Microphones(SCENE, outside)),
                        ("order", lambda: AcousticsConfig(order=-1)),
                        ("absorption", lambda: AcousticsConfig(absorption=1.5)),
                        ("hiss", lambda: AcousticsConfig(hiss=-1)),
                        ("target", lambda: CarSound(lambda t: t, "grey_car")),
                        ("samples", lambda: array.chunk(0, -1, None, None, np.random.default_rng(0))),
                        ("position", lambda: array.chunk(0, 9, driving(1), None, np.random.default_rng(0)))):
        with pytest.raises(InputError, match=f"^{error}:"):
            make()
