# SPDX-License-Identifier: Apache-2.0
"""Time of preprocessing: each modality alone, and frames of all inputs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import cv2
import numpy as np

from admn_ros.config import AudioInput, Count, InputConfig, ModelConfig, NotNegative, RadarInput, Strict
from admn_ros.sample import Array, Modality, SensorFrame, SensorKey
from admn_ros.sensing.preprocess.preprocessor import Preprocessor
from admn_ros.sensing.preprocess.tensors import input_tensor

SIZES: Mapping[str, Mapping[Modality, tuple[int, int]]] = {
    "gdtm": {Modality.RGB: (270, 480), Modality.DEPTH: (120, 160)},
    "640x480": {Modality.RGB: (480, 640), Modality.DEPTH: (480, 640)},
}
"""Rows and columns of images: as in GDTM's recordings, and of a usual depth camera."""
RANGE_ROWS = 256
"""Rows of a radar heatmap of which the model uses fewer."""
FRAMES = 4
"""Different frames, which together do not fit into a cache near the processor, as in operation."""


class Times(Strict):
    """Times of one size.

    Attributes:
        size: key of `SIZES`.
        input_ms: median time of one input, by modality.
        frame_ms: median time of a frame of all inputs.
        frame_p95_ms: 95th percentile of the same.
        rest_ms: median time of a frame of which all readings but the last one were converted when they arrived.
    """

    size: str
    input_ms: dict[Modality, NotNegative]
    frame_ms: NotNegative
    frame_p95_ms: NotNegative
    rest_ms: NotNegative


class PreprocessingTimes(Strict):
    """Content of the JSON file.

    Attributes:
        model: name of the model.
        inputs: number of inputs of a frame.
        repeats: timed frames of each size.
        times: times of each size.
    """

    model: str
    inputs: Count
    repeats: Count
    times: tuple[Times, ...]


def measure_preprocessing(config: ModelConfig, *, repeats: int = 100, seed: int = 0,
                          on_progress: Callable[[int, int], None] | None = None) -> PreprocessingTimes:
    """Measure with random readings on one thread. Sizes and inputs are timed in turn.

    Args:
        config: description of the model.
        repeats: timed frames of each size.
        seed: seed of the readings.
        on_progress: takes the number of finished and of all rounds.
    """
    rng = np.random.default_rng(seed)
    frames = {size: [_readings(config, shapes, rng) for _ in range(FRAMES)] for size, shapes in SIZES.items()}
    alone: dict[str, dict[Modality, list[float]]] = {size: {m: [] for m in config.modalities} for size in SIZES}
    whole: dict[str, list[float]] = {size: [] for size in SIZES}
    rest: dict[str, list[float]] = {size: [] for size in SIZES}
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        for turn in range(repeats + 1):
            for size, made in frames.items():
                readings = made[turn % FRAMES]
                spent, last = _time_frame(config, readings), _time_frame(config, readings, list(readings)[:-1])
                inputs = _time_inputs(config, readings)
                if turn:   # the first round prepares filters and weights
                    whole[size].append(spent)
                    rest[size].append(last)
                    for modality, times in inputs.items():
                        alone[size][modality].extend(times)
            if on_progress is not None:
                on_progress(turn, repeats)
    finally:
        cv2.setNumThreads(threads)
    found = tuple(Times(size=size, input_ms={m: _quantile(x, 0.5) for m, x in alone[size].items()},
                        frame_ms=_quantile(whole[size], 0.5), frame_p95_ms=_quantile(whole[size], 0.95),
                        rest_ms=_quantile(rest[size], 0.5))
                  for size in SIZES)
    return PreprocessingTimes(model=config.name, inputs=len(config.sensor_nodes) * len(config.modalities),
                              repeats=repeats, times=found)


def render(found: PreprocessingTimes) -> str:
    """Return the times as a table in Markdown."""
    modalities = list(found.times[0].input_ms)
    heads = ["ms", *map(str, modalities), f"frame of {found.inputs} inputs", "p95", "all but the last input ahead"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for times in found.times:
        numbers = [*(times.input_ms[m] for m in modalities), times.frame_ms, times.frame_p95_ms, times.rest_ms]
        lines.append(f"| {times.size} | " + " | ".join(f"{x:.2f}" for x in numbers) + " |")
    return "\n".join(lines)


def _time_frame(config: ModelConfig, readings: Mapping[SensorKey, Array], ahead: Sequence[SensorKey] = ()) -> float:
    """Return the time of a frame in seconds, with a preprocessor that knows no reading of it but those of `ahead`."""
    frame, preprocess = SensorFrame.of({str(key): data for key, data in readings.items()}), Preprocessor(config)
    for key in ahead:
        preprocess.ahead(key, readings[key])
    start = time.perf_counter()
    preprocess(frame)
    return time.perf_counter() - start


def _time_inputs(config: ModelConfig, readings: Mapping[SensorKey, Array]) -> dict[Modality, list[float]]:
    """Return the times of the inputs in seconds, each after those of other modalities."""
    times: dict[Modality, list[float]] = {m: [] for m in config.modalities}
    for key, data in readings.items():
        start = time.perf_counter()
        input_tensor(data, config.modalities[key.modality].input)
        times[key.modality].append(time.perf_counter() - start)
    return times


def _readings(config: ModelConfig, shapes: Mapping[Modality, tuple[int, int]],
              rng: np.random.Generator) -> dict[SensorKey, Array]:
    """Return random readings of all inputs, in the order in which nodes send them."""
    return {SensorKey(node, modality): _reading(entry.input, shapes.get(modality, (0, 0)), rng)
            for node in config.sensor_nodes for modality, entry in config.modalities.items()}


def _reading(config: InputConfig, shape: tuple[int, int], rng: np.random.Generator) -> Array:
    if isinstance(config, AudioInput):
        samples = round(config.window_s * config.sample_rate_hz)
        return rng.normal(0, 0.1, (samples, config.channels)).astype(np.float32)
    if isinstance(config, RadarInput):
        return rng.exponential(5.0, (max(RANGE_ROWS, config.rows or 0), config.width)).astype(np.float32)
    if config.kind == "rgb":
        return rng.integers(0, 256, (*shape, 3), np.uint8)
    metres = rng.uniform(max(config.min_m, 0.1), config.max_m, shape).astype(np.float32)
    metres[rng.random(shape) < 0.1] = np.nan
    return metres


def _quantile(seconds: Sequence[float], share: float) -> float:
    return round(1e3 * float(np.quantile(seconds, share)), 4)
