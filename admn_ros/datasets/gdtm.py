# SPDX-License-Identifier: Apache-2.0
"""GDTM, a remote-controlled car among three sensor nodes: the processed HDF5 files, and ADMN's caches of them.

HDF5: a folder (`train`, `chunk_0`, ...) with `mocap.hdf5` and `node_1..3/{realsense,zed,mmwave,respeaker}.hdf5`.
Each file has groups `/<unix ms>/...` on a common grid of 66 ms, with repeated values where a sensor was silent. Each
motion-capture instant is a sample, with the newest entry of each sensor that is at most `hold_ms` old.

Positions: OptiTrack is y-up; (x, y, z) becomes (x, -z, y) in the z-up frame `map` (REP-103), in metres.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from admn_ros.datasets.caches import load_cache
from admn_ros.datasets.hdf5_stream import Hdf5Stream
from admn_ros.datasets.image_files import grey_of, metres_of, rgb_of
from admn_ros.datasets.source import LabeledReadings, check_index
from admn_ros.errors import InputError
from admn_ros.files import parse_json
from admn_ros.model.presets import CAR_CLASSES
from admn_ros.sample import Array, Modality, SensorKey, Target
from admn_ros.sensing.corruption.corruption import DEPTH_MAX_M
from admn_ros.sensing.corruption.vision import Blur, LowLight

NODES = ("node1", "node2", "node3")
AUDIO_RATE_HZ = 16000
_CARS = {3: "red_car", 4: "green_car"}
_RECORDED_CHANNELS = 6
_CHUNK_GAP_MS = 140  # Audio chunks come every 66 ms; twice that is a gap.
_FILES = {"realsense": ("realsense_camera_img", "realsense_camera_depth"),
          "zed": ("zed_camera_left", "zed_camera_right", "zed_camera_depth"),
          "mmwave": ("azimuth_static", "range_doppler"), "respeaker": ("mic_waveform",)}
_FILE_OF = {key: name for name, keys in _FILES.items() for key in keys}
Car = Literal["red_car", "green_car"]


class GdtmFolder:
    """Samples of one folder of processed HDF5 files. Missing files or groups are missing modalities.

    rgb: uint8, decoded from JPEG.
    depth: `zed_camera_depth` is metric (uint16 mm, 0 invalid). `realsense_camera_depth`, which the paper uses, is an
        image of depth through an unpublished colour map. Its brightness in [0, 1] times `depth_scale_m` takes the place
        of metres, so that a model with this `max_m` gets the brightness as its input.
    radar: `azimuth_static` (range-azimuth) or `range_doppler`; NaN becomes 0.
    audio: the microphones (channels 1 to 4 of 6) over the last `audio_window_s`, back to the first gap.

    Args:
        folder: folder with `mocap.hdf5` and a folder for each node, named `node1` or `node_1`.
        nodes: sensor nodes to read.
        rgb: key of the colour image.
        depth: key of the depth image.
        radar: key of the heatmap.
        depth_scale_m: depth of full brightness in metres, for colour-mapped depth.
        audio_window_s: length of the audio readings in seconds.
        hold_ms: maximum age of a reading in milliseconds.
        car: target; None for the car that is present, and the red one if both are.
        stretch: whether to stretch the values of each image over their whole range, as the official code does.

    Raises:
        InputError: there is no `mocap.hdf5`, or it has no instants.
    """

    consecutive: Literal[True] = True

    def __init__(self, folder: str | Path, *, nodes: Sequence[str] = NODES,
                 rgb: Literal["zed_camera_left", "zed_camera_right", "realsense_camera_img"] = "zed_camera_left",
                 depth: Literal["realsense_camera_depth", "zed_camera_depth"] = "realsense_camera_depth",
                 radar: Literal["azimuth_static", "range_doppler"] = "azimuth_static",
                 depth_scale_m: float = DEPTH_MAX_M, audio_window_s: float = 1.024, hold_ms: int = 200,
                 car: Car | None = None, stretch: bool = False) -> None:
        self._root = Path(folder)
        self._keys: dict[Modality, str] = {Modality.RGB: rgb, Modality.DEPTH: depth, Modality.RADAR: radar,
                                           Modality.AUDIO: "mic_waveform"}
        for modality, key in self._keys.items():
            if key not in _FILE_OF:
                raise InputError(str(modality), key, ", ".join(_FILE_OF))
        self._scale_m, self._hold_ms, self._car, self._stretch = depth_scale_m, hold_ms, car, stretch
        self._audio_window_s = audio_window_s
        self._mocap = Hdf5Stream(self._root / "mocap.hdf5")
        self._streams: dict[SensorKey, Hdf5Stream] = {}
        for node in nodes:
            for modality, key in self._keys.items():
                # A link to nowhere, as of a file that git-annex has not fetched, is no missing modality.
                found = [p for p in self._paths(node, key) if p.exists() or p.is_symlink()]
                if found:
                    self._streams[SensorKey(node, modality)] = Hdf5Stream(found[0])

    def _paths(self, node: str, key: str) -> list[Path]:
        return [self._root / name / f"{_FILE_OF[key]}.hdf5" for name in _group_names(node)]

    @property
    def sensors(self) -> tuple[SensorKey, ...]:
        """Inputs whose file exists."""
        return tuple(self._streams)

    def close(self) -> None:
        """Close the files; the next read opens them again."""
        for stream in (self._mocap, *self._streams.values()):
            stream.close()

    def __len__(self) -> int:
        return len(self._mocap.times_ms)

    def __getitem__(self, index: int) -> LabeledReadings:
        """Read one instant.

        Raises:
            InputError: a value in a file is broken; the field names the file and the place.
            IndexError: there is no such instant.
        """
        ms = int(self._mocap.times_ms[check_index(index, len(self))])
        readings = {}
        for key, stream in self._streams.items():
            data = self._audio(stream, key, ms) if key.modality is Modality.AUDIO else self._image(stream, key, ms)
            if data is not None:
                readings[key] = data
        has_audio = any(k.modality is Modality.AUDIO for k in readings)
        return LabeledReadings(readings, self._target(ms), ms * 1_000_000, AUDIO_RATE_HZ if has_audio else None)

    def _image(self, stream: Hdf5Stream, key: SensorKey, ms: int) -> Array | None:
        name = self._keys[key.modality]
        found = stream.newest(ms, self._hold_ms, [f"{node}/{name}" for node in _group_names(key.node)])
        if found is None:
            return None
        place, values = found
        if key.modality is Modality.RADAR:
            return _heatmap(values, place)
        if name == "zed_camera_depth":
            if values.dtype != np.uint16 or values.ndim != 2:
                raise InputError(place, f"{values.dtype} {values.shape}", "uint16 (H, W) millimetres")
            return metres_of(values, 0.001)
        if values.dtype != np.uint8 or values.ndim != 1:
            raise InputError(place, f"{values.dtype} {values.shape}", "uint8 bytes of a JPEG")
        if key.modality is Modality.RGB:
            image = rgb_of(values.astype(np.uint8), place)
            return np.rint(_stretched(image) * 255).astype(np.uint8) if self._stretch else image
        grey = grey_of(values.astype(np.uint8), place)
        return _pseudo_metres(_stretched(grey) if self._stretch else grey, self._scale_m)

    def _audio(self, stream: Hdf5Stream, key: SensorKey, ms: int) -> Array | None:
        """Return the newest chunks back to the first gap, at most the length of the window."""
        names = [f"{node}/mic_waveform" for node in _group_names(key.node)]
        wanted = math.ceil(self._audio_window_s * AUDIO_RATE_HZ)
        chunks: list[npt.NDArray[np.float32]] = []
        previous = ms
        for time in stream.times_up_to(ms, self._hold_ms):
            if chunks and previous - time > _CHUNK_GAP_MS:
                break
            previous = time
            found = stream.at(time, names)
            if found is None:
                break
            place, values = found
            if values.ndim != 2 or values.shape[1] != _RECORDED_CHANNELS or values.dtype.kind != "f":
                raise InputError(place, f"{values.dtype} {values.shape}", f"float32 (samples, {_RECORDED_CHANNELS})")
            chunks.insert(0, np.nan_to_num(values[:, 1:5].astype(np.float32)))
            if sum(map(len, chunks)) >= wanted:
                break
        return np.concatenate(chunks)[-wanted:] if chunks else None

    def _target(self, ms: int) -> Target:
        found = self._mocap.at(ms, ["mocap"])
        if found is None:
            raise InputError(f"{self._root / 'mocap.hdf5'}:/{ms}", "no mocap", "a JSON list of cars and nodes")
        place, text = found
        cars = _cars(text, place)
        for name in (self._car,) if self._car else tuple(_CARS.values()):
            if name in cars:
                return Target(cars[name], CAR_CLASSES.index(name))
        return Target((math.nan, math.nan, math.nan), CAR_CLASSES.index("none"))


class GdtmCache:
    """ADMN's caches of GDTM: a folder of `tmp_%09d.pickle`, RGB in [0, 1] and depth as stretched brightness.

    If a cache names its corruption (gamma of low light, kernel of blur), it fills the corruption of the target. The
    official code leaves out the samples with gamma 10; here they are kept.

    Args:
        folder: folder of one split.
        depth_scale_m: depth of full brightness in metres.

    Raises:
        InputError: the folder has no such files.
    """

    def __init__(self, folder: str | Path, depth_scale_m: float = DEPTH_MAX_M) -> None:
        self._files = sorted(Path(folder).glob("tmp_*.pickle"))
        self._scale_m = depth_scale_m
        if not self._files:
            raise InputError(str(folder), "no caches", "a folder with tmp_%09d.pickle files")

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> LabeledReadings:
        """Read one sample.

        Raises:
            InputError: a file is broken, has another layout, or holds more than data.
            IndexError: there is no such sample.
        """
        path = self._files[check_index(index, len(self))]
        item = load_cache(path)
        if not isinstance(item, dict) or ("mocap", "mocap") not in item:
            raise InputError(str(path), type(item).__name__, "a dict with ('mocap', 'mocap')")
        readings: dict[SensorKey, Array] = {}
        for name, value in item.items():
            if not isinstance(name, tuple) or len(name) != 2 or not isinstance(value, np.ndarray):
                continue
            data, node = self._reading(name[0], value, f"{path}:{name}"), str(name[1]).replace("_", "")
            if data is not None:
                readings[SensorKey(node, data[0])] = data[1]
        audio = AUDIO_RATE_HZ if any(k.modality is Modality.AUDIO for k in readings) else None
        return LabeledReadings(readings, _cached_target(item, str(path)), audio_rate_hz=audio)

    def _reading(self, name: object, value: npt.NDArray[Any], place: str) -> tuple[Modality, Array] | None:
        if name in ("zed_camera_left", "realsense_camera_img"):
            if value.ndim != 3 or value.shape[0] != 3 or value.dtype.kind != "f":
                raise InputError(place, f"{value.dtype} {value.shape}", "float (3, H, W) in [0, 1]")
            image = np.rint(np.clip(value.astype(np.float32), 0, 1) * 255).astype(np.uint8)
            return Modality.RGB, np.ascontiguousarray(image.transpose(1, 2, 0))
        if name == "realsense_camera_depth":
            if value.ndim != 2 or value.dtype.kind != "f":
                raise InputError(place, f"{value.dtype} {value.shape}", "float (H, W) in [0, 1]")
            return Modality.DEPTH, _pseudo_metres(value.astype(np.float32), self._scale_m)
        if name in ("azimuth_static", "range_doppler"):
            return Modality.RADAR, _heatmap(value, place)
        if name == "mic_waveform":
            if value.ndim != 2 or value.shape[0] != 4:
                raise InputError(place, f"{value.dtype} {value.shape}", "float (4, samples)")
            return Modality.AUDIO, np.ascontiguousarray(value.T.astype(np.float32))
        return None


def _group_names(node: str) -> list[str]:
    """Return both spellings of a node: the official code writes `node_1`, its manual says `node1`."""
    return [node.replace("node", "node_"), node] if "_" not in node else [node]


def _from_optitrack(x: float, y: float, z: float) -> tuple[float, float, float]:
    return x, -z, y


def _stretched(image: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    values = image.astype(np.float32)
    low, high = float(values.min()), float(values.max())
    return np.asarray((values - low) / max(high - low, 1e-12), dtype=np.float32)


def _pseudo_metres(brightness: npt.NDArray[np.float32], scale_m: float) -> npt.NDArray[np.float32]:
    metres = np.where(brightness > 0, np.clip(brightness, 0, 1) * scale_m, np.nan)
    return np.asarray(metres, dtype=np.float32)


def _heatmap(values: npt.NDArray[Any], place: str) -> npt.NDArray[np.float32]:
    if values.ndim != 2 or values.dtype.kind != "f" or values.size == 0:
        raise InputError(place, f"{values.dtype} {values.shape}", "float32 (rows, columns)")
    return np.asarray(np.maximum(np.nan_to_num(values, posinf=0.0, neginf=0.0), 0), dtype=np.float32)


def _cars(text: npt.NDArray[Any], place: str) -> dict[str, tuple[float, float, float]]:
    """Return the positions of the cars in `map`, by name, from the JSON of one motion-capture instant."""
    raw: object = text[()]
    try:
        entries = parse_json(raw.decode("utf-8") if isinstance(raw, bytes) else str(raw))
        found = {}
        for entry in cast(list[dict[str, Any]], entries):
            if entry["id"] in _CARS:
                x, y, z = (float(v) for v in entry["position"])
                if math.isfinite(x + y + z):
                    found[_CARS[entry["id"]]] = _from_optitrack(x, y, z)
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(place, f"unusable JSON ({type(error).__name__}: {' '.join(str(error).split())[:100]})",
                         "a list of objects with id and position [x, y, z]") from error
    return found


def _cached_target(item: Mapping[Any, Any], path: str) -> Target:
    mocap = item["mocap", "mocap"]
    try:
        x, y, z = (float(v) / 100 for v in np.asarray(mocap["gt_positions"], np.float64).reshape(-1, 3)[0])
        ids = np.asarray(mocap.get("gt_ids", ())).reshape(-1)
        gamma, kernel = (_number(item.get((name, name))) for name in ("gamma", "blur"))
        corruption = _cached_corruption(gamma, kernel)
    except (TypeError, KeyError, ValueError, IndexError, AttributeError) as error:
        raise InputError(f"{path}:('mocap', 'mocap')", f"{type(error).__name__} {error}",
                         "gt_positions (1, 3) in centimetres") from error
    name = _CARS.get(int(ids[0])) if ids.size and ids.dtype.kind in "iuf" else None
    return Target(_from_optitrack(x, y, z), CAR_CLASSES.index(name) if name else -1, corruption)


def _number(value: object) -> float | None:
    return None if value is None else float(np.asarray(value, np.float64).reshape(-1)[0])


def _cached_corruption(gamma: float | None, kernel: float | None) -> dict[Modality, float] | None:
    """Return the severities, as the presets gdtm-lowlight and gdtm-blur label them."""
    if gamma is not None:  # 0 marks ordinary light, which saturates the depth camera.
        dark = min(1.0, LowLight().severity_of(gamma)) if gamma >= 1 else 0.0
        return {Modality.RGB: dark, Modality.DEPTH: 0.0 if gamma else 1.0}
    if kernel is not None:
        return {Modality.RGB: min(1.0, Blur().severity_of(kernel)) if kernel >= 1 else 0.0, Modality.DEPTH: 0.0}
    return None
