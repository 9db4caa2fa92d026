# SPDX-License-Identifier: Apache-2.0
"""Training datasets of simulated rooms: one shard per room, written in parallel, resumable.

The splits keep test frames away from training frames:
    train      rooms with training viewpoints; every fourth has the default viewpoints
    val        other rooms, drawn likewise
    test_time  the training rooms later in the same drive, after a pause
    test_view  other rooms with viewpoints that are not in training
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from admn_ros.config import NodePose
from admn_ros.errors import InputError
from admn_ros.recordings import shards
from admn_ros.recordings.shard_format import CAMERAS, MASK, MASK_CLASSES, stack
from admn_ros.simulation.difficulty import PLAIN, Difficulty
from admn_ros.simulation.scene.car import CAR_CENTRE_Z_M
from admn_ros.simulation.scene.geometry import Floats
from admn_ros.simulation.scene.scene import TARGETS, VIEWPOINTS
from admn_ros.simulation.scene.sensor_node import SensorNode
from admn_ros.simulation.scene.surfaces import SURFACES
from admn_ros.simulation.sound.car_sound import SAMPLE_RATE_HZ
from admn_ros.simulation.world import QUALITIES, World
from admn_ros.worker_process import worker_pool

SPACING_S = 0.5     # between samples: the car drives about 0.5 m, so neighbours differ
PAUSE_S = 5.0       # between the training and the test part of a drive
SHARES = {"train": 0.70, "val": 0.10, "test_time": 0.10, "test_view": 0.10}
_NUMBER = {"train": 0, "val": 1, "test_time": 0, "test_view": 2}

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Room:
    """A room, stored as one shard.

    Attributes:
        split: split of the dataset.
        name: name of the shard.
        seed: seed of room, drive and noise.
        viewpoints: poses of the sensor nodes; see `Scene.seeded`.
        drive: motion of the car; see `Drive.seeded`.
        start_s: time of the first sample.
        frames: number of samples.
    """

    split: str
    name: str
    seed: int
    viewpoints: str
    drive: str
    start_s: float
    frames: int


@dataclass(frozen=True)
class DatasetPlan:
    """Arguments of a dataset.

    Attributes:
        frames: number of samples in all splits.
        seed: seed of all rooms.
        quality: resolution; one of `world.QUALITIES`.
        nodes: number of sensor nodes, 1 to 3.
        audio_s: length of the audio window that ends at each sample, in seconds.
        room_frames: largest number of samples per room. A room has one car or none, so smaller numbers give more
            rooms, which helps to distinguish the cars, and take more time.
        difficulty: second car, people and noise of the sensors.
        difficult_rooms: share of rooms, 0 to 1, that have these difficulties.
        viewpoints: poses of the sensor nodes in all splits; None for those that the splits are made of.
        masks: whether to store what each pixel of the RGB images shows, for segmentation.
    """

    frames: int
    seed: int
    quality: str = "small"
    nodes: int = 3
    audio_s: float = 0.512
    room_frames: int = 100
    difficulty: Difficulty = PLAIN
    viewpoints: str | None = None
    difficult_rooms: float = 1.0
    masks: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.difficult_rooms <= 1:
            raise InputError("difficult_rooms", self.difficult_rooms, "0 to 1")
        if self.frames < 1:
            raise InputError("frames", self.frames, "1 or more")
        if not 0 <= self.seed < 2**31:
            raise InputError("seed", self.seed, "[0, 2^31)")
        if self.quality not in QUALITIES:
            raise InputError("quality", repr(self.quality), " or ".join(QUALITIES))
        if self.room_frames < 1:
            raise InputError("room_frames", self.room_frames, "1 or more")
        if self.viewpoints not in (None, "default", *VIEWPOINTS):
            raise InputError("viewpoints", repr(self.viewpoints), "default, " + ", ".join(VIEWPOINTS))
        if not 0.05 <= self.audio_s <= 4:
            raise InputError("audio_s", self.audio_s, "0.05 to 4 s")

    def arguments(self) -> dict[str, object]:
        """Return the arguments as stored in the dataset; difficulty, viewpoints and masks only if there are any."""
        stored: dict[str, object] = {name: value for name, value in asdict(self).items() if value is not None}
        if self.difficulty == PLAIN:
            del stored["difficulty"]
        if self.difficult_rooms == 1:
            del stored["difficult_rooms"]
        if not self.masks:
            del stored["masks"]
        return stored

    def difficulty_of(self, room: Room) -> Difficulty:
        """Return the difficulties of a room: those of the plan, or none."""
        # The seed is that of the room, so the same rooms are difficult in training and in `test_time`.
        drawn = np.random.default_rng([room.seed, 47]).random()
        return self.difficulty if drawn < self.difficult_rooms else PLAIN

    def rooms(self) -> list[Room]:
        """Return the rooms of the dataset, in order."""
        rooms: list[Room] = []
        for split in SHARES:
            for number, frames in enumerate(_split_up(self._count(split), self.room_frames)):
                rooms.append(self._room(split, number, frames))
        return rooms

    def _count(self, split: str) -> int:
        """Return the number of samples of a split; the remainder of rounding goes to training."""
        others = {s: int(share * self.frames) for s, share in SHARES.items() if s != "train"}
        return others[split] if split in others else self.frames - sum(others.values())

    def _room(self, split: str, number: int, frames: int) -> Room:
        default = split in ("train", "val", "test_time") and number % 4 == 3
        viewpoints = self.viewpoints or (
            "held_out" if split == "test_view" else "default" if default else "train")
        start_s = self.audio_s + 0.5
        if split == "test_time":
            start_s += self.room_frames * SPACING_S + PAUSE_S
        # Splits have disjoint seeds, except that "test_time" has the rooms of "train".
        seed = int(np.random.SeedSequence([self.seed, _NUMBER[split], number]).generate_state(1, np.uint32)[0])
        return Room(split, f"shard-{number:05d}", seed, viewpoints, "laps" if number % 2 else "random", start_s, frames)


def make_dataset(folder: Path, plan: DatasetPlan, jobs: int = 1, progress: Progress | None = None,
                 scheduler: str | None = None) -> dict[str, int]:
    """Write a dataset, or continue one that was interrupted.

    Args:
        folder: new or empty folder, or one begun with the same plan.
        plan: arguments of the dataset.
        jobs: number of processes, each with its own renderer.
        progress: called with (samples done, samples in all) after each room.
        scheduler: address of the scheduler of a Dask cluster, whose workers take the place of the processes.

    Returns:
        Number of samples in each split.

    Raises:
        InputError: the folder or the cluster cannot be used, or no renderer is installed.
    """
    if jobs < 1:
        raise InputError("jobs", jobs, "1 or more")
    rooms = plan.rooms()
    masks: dict[str, object] = {MASK_CLASSES: list(SURFACES)} if plan.masks else {}
    shards.begin(folder, {**plan.arguments(), **masks, "targets": list(TARGETS), "audio_rate_hz": SAMPLE_RATE_HZ,
                          "sensor_nodes": [f"node{k + 1}" for k in range(plan.nodes)]})
    todo = [room for room in rooms if not shards.is_written(folder, room.split, room.name)]
    done, total = sum(r.frames for r in rooms) - sum(r.frames for r in todo), plan.frames
    if progress is not None:
        progress(done, total)
    for room in _run(folder, plan, todo, jobs, scheduler):
        done += room.frames
        if progress is not None:
            progress(done, total)
    shards.finish(folder, {split: [r.name for r in rooms if r.split == split] for split in SHARES})
    return {split: sum(r.frames for r in rooms if r.split == split) for split in SHARES}


def make_room(folder: Path, plan: DatasetPlan, room: Room) -> Room:
    """Simulate a room and write its shard."""
    difficulty = plan.difficulty_of(room)
    with World(room.seed, viewpoints=room.viewpoints, drive=room.drive, nodes=plan.nodes,
               quality=plan.quality, difficulty=difficulty) as world:
        times = room.start_s + SPACING_S * np.arange(room.frames)
        # Jitter keeps the samples off any period of the drive.
        times = times + np.random.default_rng([room.seed, 43]).uniform(0, 0.3 * SPACING_S, room.frames)
        samples = [world.readings(float(t), round(1000 * float(t)), plan.audio_s) for t in times]
        arrays = stack(samples, [node.name for node in world.scene.nodes])
        arrays["time"] = times
        arrays["position"] = _positions(world, times)
        arrays["label"] = np.full(room.frames, TARGETS.index(world.scene.target), np.int64)
        meta: dict[str, object] = {"node_poses": {n.name: pose_of(n).model_dump() for n in world.scene.nodes}}
        if plan.masks:
            arrays[MASK] = np.stack([[world.mask(k, float(t)) for k in range(plan.nodes)] for t in times])
            meta[CAMERAS] = _cameras(world)
        if difficulty != PLAIN:
            meta |= {"second_car": world.scene.second_car, "people": len(world.scene.people)}
    shards.write(folder, room.split, room.name, arrays, {**asdict(room), **meta})
    return room


def pose_of(node: SensorNode) -> NodePose:
    """Return the pose of a simulated sensor node as model folders store it."""
    x, y, z = node.base.translation_m.tolist()
    yaw = float(np.arctan2(node.base.rotation[1, 0], node.base.rotation[0, 0]))
    return NodePose(x_m=x, y_m=y, z_m=z, yaw_rad=yaw, tilt_rad=node.tilt_rad)


def _cameras(world: World) -> dict[str, object]:
    """Return what registers depth to RGB: both camera matrices, and the pose of the depth camera in the RGB camera."""
    rgb, depth = (world.renderer.camera(0, lens) for lens in ("rgb", "depth"))
    rotation = rgb.pose.rotation.T @ depth.pose.rotation
    shift = rgb.pose.rotation.T @ (depth.pose.translation_m - rgb.pose.translation_m)
    return {"rgb_matrix": rgb.matrix.tolist(), "depth_matrix": depth.matrix.tolist(), "rotation": rotation.tolist(),
            "translation_m": shift.tolist()}


def _positions(world: World, times: Floats) -> Floats:
    """Return the ground truth (frames, 3) in `map`; NaN without a car."""
    if world.scene.target == "none":
        return np.full((len(times), 3), np.nan)
    flat = world.drive.at(times).position_m
    return np.column_stack([flat, np.full(len(times), CAR_CENTRE_Z_M)])


def _run(folder: Path, plan: DatasetPlan, todo: list[Room], jobs: int, scheduler: str | None) -> Iterator[Room]:
    if scheduler is None and (jobs == 1 or len(todo) < 2):
        for room in todo:
            yield make_room(folder, plan, room)
        return
    with worker_pool(jobs, scheduler=scheduler) as pool:
        for future in as_completed([pool.submit(make_room, folder, plan, room) for room in todo]):
            yield future.result()


def _split_up(frames: int, most: int) -> list[int]:
    """Return the number of samples of each room: as even as possible, at most `most`."""
    rooms = -(-frames // most)
    return [frames // rooms + (number < frames % rooms) for number in range(rooms)]
