# SPDX-License-Identifier: Apache-2.0
"""Difficulties of the simulated room: what each one adds, and that everything else stays the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from admn_ros.cli import main
from admn_ros.errors import InputError
from admn_ros.recordings.bag_reader import BagReader
from admn_ros.sample import Array, Modality, SensorKey
from admn_ros.sensing.decode.images import decode_depth, decode_radar, decode_rgb
from admn_ros.simulation.dataset import DatasetPlan, make_dataset
from admn_ros.simulation.difficulty import PLAIN, Difficulty
from admn_ros.simulation.recording import record
from admn_ros.simulation.scene.scene import Scene
from admn_ros.simulation.streams import START_NS
from admn_ros.simulation.world import World

HARD = Difficulty(second_car=1.0, people=3, sensor_noise=1.0)
SEED = 3   # two people
NODE1 = {m: SensorKey("node1", m) for m in (Modality.RGB, Modality.DEPTH, Modality.RADAR, Modality.AUDIO)}


def world(difficulty: Difficulty, seed: int = SEED, target: str = "red_car", nodes: int = 1) -> World:
    try:
        return World(seed, target=target, quality="small", nodes=nodes, difficulty=difficulty)
    except InputError as error:
        if "MuJoCo" in str(error.allowed):
            pytest.skip(f"no renderer: {error}")
        raise


def readings(difficulty: Difficulty, target: str = "red_car", nodes: int = 1) -> dict[SensorKey, Array]:
    with world(difficulty, target=target, nodes=nodes) as made:
        return made.readings(3.0, 2, 0.2)


@pytest.mark.parametrize(("fields", "says"), [
    ({"second_car": -0.1}, "second_car"), ({"second_car": 1.5}, "second_car"),
    ({"second_car": float("nan")}, "second_car"),
    ({"people": -1}, "people"), ({"people": 7}, "people"),
    ({"sensor_noise": -1.0}, "sensor_noise"), ({"sensor_noise": 2.5}, "sensor_noise"),
])
def test_values_out_of_range_are_refused(fields: dict[str, float], says: str) -> None:
    with pytest.raises(InputError, match=f"{says}: found .* allowed: 0 to"):
        Difficulty(**fields)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_room_draws_its_second_car_and_its_people_and_nothing_else_changes() -> None:
    rooms = [Scene.seeded(seed, difficulty=Difficulty(0.4, 2)) for seed in range(100)]
    assert 0.3 < np.mean([room.second_car for room in rooms]) < 0.5
    assert {len(room.people) for room in rooms} == {0, 1, 2}
    for seed, room in enumerate(rooms[:20]):
        plain = Scene.seeded(seed)
        assert not plain.second_car and not plain.people
        assert (room.target, room.clutter, room.look) == (plain.target, plain.clutter, plain.look)
    always = [Scene.seeded(seed, difficulty=Difficulty(1.0)).second_car for seed in range(20)]
    assert all(always)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["red_car", "none"])
def test_the_second_car_reaches_every_kind_of_sensor(target: str) -> None:
    """Without it, the same seed gives the same noise, so all that differs is the car."""
    without, there = (readings(d, target, 3) for d in (PLAIN, Difficulty(1.0)))
    for modality in NODE1:
        nodes = [SensorKey(f"node{k}", modality) for k in (1, 2, 3)]
        least = {Modality.RGB: 20.0, Modality.DEPTH: 0.03, Modality.RADAR: 1.0, Modality.AUDIO: 0.001}[modality]
        off = [float(np.nanmax(np.abs(there[key].astype(np.float64) - without[key]))) for key in nodes]
        assert max(off) > least, modality


@pytest.mark.slow
def test_the_second_car_is_blue_and_echoes_at_its_range() -> None:
    difficulty, t_s = Difficulty(second_car=1.0), 3.0
    with world(difficulty, target="none") as made, world(PLAIN, target="none") as empty:
        car = made.others.at(t_s).second_car
        assert car is not None
        place = np.array([*car.position_m, 0.06])
        (column, row), depth_m = made.renderer.camera(0).project(place)
        assert depth_m > 0
        middle = made.renderer.render(0, None, others=made.others.at(t_s))[round(row), round(column)].astype(int)
        assert middle[2] > middle[0] + 40 and middle[2] > middle[1] + 40
        radar = made.scene.nodes[0].sensor("radar").translation_m
        added = np.abs(made.radar(0, t_s, 0).range_azimuth - empty.radar(0, t_s, 0).range_azimuth).max(axis=1)
        range_m = float(np.linalg.norm(place - radar))
        assert np.argmax(added) == pytest.approx(range_m / 0.0435, abs=2)


def test_cars_never_touch_and_people_stay_in_the_room() -> None:
    from admn_ros.simulation.scene.driving import Drive
    from admn_ros.simulation.scene.others import OtherMotions

    t = np.arange(0, 30, 0.05)
    for seed in range(4):
        for kind in ("laps", "random"):
            scene = Scene.seeded(seed, difficulty=Difficulty(1.0, 2))
            drive = Drive.seeded(seed, kind)
            others = OtherMotions(scene, drive)
            assert others.second_car is not None
            second = others.second_car.at(t)
            apart = np.linalg.norm(second.position_m - drive.at(t).position_m, axis=1)
            assert apart.min() > 0.45, (seed, kind)
            assert (np.abs(second.position_m) < (1.35, 1.65)).all() and np.ptp(second.way_m) > 10
            assert np.abs(second.speed_mps).max() < 2.1 and np.abs(np.diff(second.speed_mps)).max() < 2.6 * 0.05
            for walk in others.people:
                person = walk.at(t)
                assert (np.abs(person.position_m) < np.array(scene.room_half_m) - 0.3).all()
                assert person.speed_mps.min() > 0.2 and 0.4 < person.speed_mps.mean() < 1.5
                for node in scene.nodes:
                    away = np.linalg.norm(person.position_m - node.base.translation_m[:2], axis=1)
                    assert away.min() > 0.5


def test_motions_do_not_depend_on_the_order_of_questions() -> None:
    from admn_ros.simulation.scene.driving import Drive
    from admn_ros.simulation.scene.others import OtherMotions

    scene = Scene.seeded(5, difficulty=Difficulty(1.0, 3))
    t = np.array([0.0, 1.03, 19.99, 20.0, 45.5])
    late, early = (OtherMotions(scene, Drive.seeded(5, "random")) for _ in range(2))
    backwards = [late.at(float(s)) for s in t[::-1]][::-1]
    forwards = [early.at(float(s)) for s in t]
    for a, b in zip(backwards, forwards, strict=True):
        assert a.second_car is not None and b.second_car is not None
        assert np.array_equal(a.second_car.position_m, b.second_car.position_m)
        assert [p.gait_rad for p in a.people] == [p.gait_rad for p in b.people]


@pytest.mark.slow
def test_people_are_seen_and_echo_but_make_no_sound() -> None:
    without, there = readings(PLAIN), readings(Difficulty(people=3))
    assert len(Scene.seeded(SEED, difficulty=Difficulty(people=3)).people) == 2
    seen = np.abs(there[NODE1[Modality.RGB]].astype(int) - without[NODE1[Modality.RGB]]).max(axis=2) > 10
    assert 0.01 < seen.mean() < 0.9
    nearer = without[NODE1[Modality.DEPTH]] - there[NODE1[Modality.DEPTH]] > 0.3
    assert nearer.sum() > 20
    assert not np.array_equal(there[NODE1[Modality.RADAR]], without[NODE1[Modality.RADAR]])
    assert np.array_equal(there[NODE1[Modality.AUDIO]], without[NODE1[Modality.AUDIO]])


@pytest.mark.slow
def test_sensor_noise_grows_with_its_level() -> None:
    """Differences to the same frame of good sensors in an empty room."""
    levels = [readings(Difficulty(sensor_noise=x), "none") for x in (0.0, 0.5, 2.0)]

    def off(modality: Modality, measure: Callable[[Array, Array], float]) -> list[float]:
        return [measure(level[NODE1[modality]], levels[0][NODE1[modality]]) for level in levels]

    def spread(a: Array, b: Array) -> float:
        return float(np.nanstd(a.astype(np.float64) - b))

    for modality in NODE1:
        none, half, double = off(modality, spread)
        assert none == 0 < half < double, modality
    none, half, double = off(Modality.DEPTH, lambda a, _: float(np.isnan(a).mean()))
    assert none < half < double < 0.95


@pytest.mark.slow
def test_a_bag_has_the_readings_of_a_dataset(tmp_path: Path) -> None:
    """The same world, asked by a dataset and by a recording; the recording notes the difficulty."""
    with world(HARD) as made:
        record(tmp_path / "bag", made, 0.7, events=False)
        with BagReader(tmp_path / "bag") as reader:
            note = json.loads(reader.custom_data["admn_recording"])
            first = {}
            for topic, _, message in reader.messages():
                first.setdefault(topic, message)
        assert note["difficulty"] == {"second_car": 1.0, "people": 3, "sensor_noise": 1.0}
        assert note["second_car"] is True and note["people"] == 2

        def at(topic: str) -> float:
            stamp = first[topic].header.stamp
            return (stamp.sec * 10**9 + stamp.nanosec - START_NS) / 1e9

        rgb, depth, radar = (f"/node1/{t}" for t in ("rgb/image_raw", "depth/image_raw", "radar/range_azimuth"))
        with world(HARD) as again:
            assert np.array_equal(decode_rgb(first[rgb]), again.rgb(0, at(rgb), 0))
            assert np.array_equal(decode_depth(first[depth]), again.depth(0, at(depth), 0), equal_nan=True)
            assert np.allclose(decode_radar(first[radar]), again.radar(0, at(radar), 0).range_azimuth[:128], rtol=1e-5)


@pytest.mark.slow
def test_a_dataset_stores_its_difficulty_and_refuses_another(tmp_path: Path) -> None:
    arguments = ["simulate", "--frames", "2", "--nodes", "1", "--audio-s", "0.1", "--jobs", "1"]
    hard = ["--second-car", "1", "--people", "3", "--sensor-noise", "1"]
    world(PLAIN).close()
    for name in ("a", "b"):
        assert main([*arguments, *hard, "--dataset", str(tmp_path / name)]) == 0
    files = [sorted(p for p in (tmp_path / name).rglob("*") if p.is_file()) for name in ("a", "b")]
    assert [p.read_bytes() for p in files[0]] == [p.read_bytes() for p in files[1]]
    plan = json.loads((tmp_path / "a" / "plan.json").read_text())
    assert plan["difficulty"] == {"second_car": 1.0, "people": 3, "sensor_noise": 1.0}
    meta = json.loads(next((tmp_path / "a").rglob("meta.json")).read_text())
    assert meta["second_car"] is True and 0 <= meta["people"] <= 3
    with pytest.raises(InputError, match="other arguments"):
        make_dataset(tmp_path / "a", DatasetPlan(2, 7, nodes=1, audio_s=0.1, difficulty=Difficulty(1.0, 3, 0.5)))
    assert "difficulty" not in DatasetPlan(2, 7).arguments()


def test_a_share_of_the_rooms_is_difficult() -> None:
    plan = DatasetPlan(4000, 7, room_frames=20, difficulty=HARD, difficult_rooms=0.25)
    difficult = {room.seed: plan.difficulty_of(room) == HARD for room in plan.rooms()}
    assert 0.15 < np.mean(list(difficult.values())) < 0.35
    for room in plan.rooms():
        assert plan.difficulty_of(room) == (HARD if difficult[room.seed] else PLAIN), "test_time has rooms of train"
    assert plan.arguments()["difficult_rooms"] == 0.25
    assert "difficult_rooms" not in DatasetPlan(2, 7, difficulty=HARD).arguments()


@pytest.mark.parametrize("arguments", [["--second-car", "1.5"], ["--people", "9"], ["--sensor-noise", "-1"],
                                       ["--difficult-rooms", "2"]],
                         ids=["second-car", "people", "sensor-noise", "difficult-rooms"])
def test_the_command_refuses_bad_values(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                        arguments: list[str]) -> None:
    assert main(["simulate", "--dataset", str(tmp_path / "set"), *arguments]) == 2
    assert arguments[0].lstrip("-") in capsys.readouterr().err
