# SPDX-License-Identifier: Apache-2.0
"""One picture of a bag at one instant: every sensor of every node, and a map where there is truth."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from admn_ros.errors import InputError
from admn_ros.recordings.bag_messages import Message
from admn_ros.recordings.bags import BagReader
from admn_ros.simulation.plain.radar import AZIMUTH_BINS, RANGE_BINS, RANGE_STEP_M
from admn_ros.simulation.radar.fmcw import FmcwConfig
from admn_ros.simulation.scene.geometry import DRIVEN, INNER_LINE, MAT_HALF_M, OUTER_LINE

COLUMNS = ("rgb", "depth", "radar", "doppler", "audio")
WIDTHS = {"rgb": 1.7, "depth": 1.33, "radar": 1.3, "doppler": 0.75, "audio": 1.1}
DEPTH_RANGE_M = (0.0, 7.0)
SOUND_S = 1.0
SHOWN_M = 6.4   # of the radar; beyond are walls
_TOPIC = re.compile(r"/([^/]+)/(?:(rgb|depth)/image_raw|(radar)/range_azimuth|radar/range_(doppler)|(audio))")


def draw_sheet(bag: str | Path, out_png: str | Path, at_s: float | None = None) -> Path:
    """Draw the last message of each sensor topic at an instant into a PNG.

    Topics are found by their names: `/<node>/rgb/image_raw`, `/<node>/depth/image_raw`,
    `/<node>/radar/range_azimuth`, `/<node>/audio`, `/ground_truth/pose`, `/tf_static`, `/admn/budget`.
    A panel says how old its message is when it is older than half a second.

    Args:
        bag: the bag.
        out_png: the file to write.
        at_s: seconds after the bag's start; None for its middle.

    Raises:
        InputError: the bag cannot be read, has no such topic, or at_s lies outside.
    """
    if Path(out_png).suffix.lower() != ".png":
        raise InputError(str(out_png), repr(Path(out_png).suffix), "a file that can be written, with the ending .png")
    with BagReader(bag) as reader:
        found = [(topic, m) for topic in reader.topics if (m := _TOPIC.fullmatch(topic))]
        panels = {(m[1], next(filter(None, m.groups()[1:]))): topic for topic, m in found}
        if not panels or not reader.message_count:
            raise InputError(str(bag), "no sensor topics", "/<node>/rgb/image_raw, /<node>/audio and the like")
        length_s = (reader.end_ns - reader.start_ns) / 1e9
        at = length_s / 2 if at_s is None else at_s
        if not 0 <= at <= length_s:
            raise InputError("at_s", at, f"[0, {length_s:.3g}]")
        now_ns = reader.start_ns + round(at * 1e9)
        others = [t for t in ("/ground_truth/pose", "/tf_static", "/admn/budget") if t in reader.topics]
        latest = _latest(reader, [*panels.values(), *others], now_ns)
        sound = {topic: _sound(reader, topic, now_ns) for (_, what), topic in panels.items() if what == "audio"}
    nodes = sorted({node for node, _ in panels})
    shown = [what for what in COLUMNS if what != "doppler" or any(w == what for _, w in panels)]
    widths = [WIDTHS[what] for what in shown] + [1.2]
    figure = Figure(figsize=(2.75 * sum(widths), 3.1 * len(nodes) + 0.6), dpi=80, layout="constrained")
    grid = figure.add_gridspec(len(nodes), len(shown) + 1, width_ratios=widths)
    for row, node in enumerate(nodes):
        for column, what in enumerate(shown):
            axes = figure.add_subplot(grid[row, column])
            topic = panels.get((node, what), "")
            entry = latest.get(topic)
            axes.set_title(f"{node} {what}" + (_age(entry[0], now_ns) if entry else ""), fontsize=10)
            if entry is None:
                _nothing(axes)
            elif what == "audio":
                _draw_sound(axes, sound[topic], int(entry[1].sample_rate))
            else:
                _DRAW[what](axes, entry[1])
    _draw_map(figure.add_subplot(grid[:, len(shown)]), latest)
    budget = latest.get("/admn/budget")
    unit = ("layers", "GFLOP", "ms", "J", "W")
    told = f", budget {budget[1].limit:g} {unit[budget[1].unit]}" if budget else ""
    figure.suptitle(f"{Path(bag).name} at {at:.2f} s of {length_s:.2f} s{told}", fontsize=12)
    out = Path(out_png)
    try:
        FigureCanvasAgg(figure).print_figure(str(out), format="png")
    except OSError as error:
        raise InputError(str(out), error.strerror or str(error), "a file that can be written") from error
    return out


def _latest(reader: BagReader, topics: list[str], now_ns: int) -> dict[str, tuple[int, Message]]:
    """Topic -> (record stamp, message) of the last message until now."""
    raw = {topic: (stamp, data) for topic, stamp, data in reader.raw(topics, stop_ns=now_ns + 1)}
    return {topic: (stamp, reader.deserialize(topic, data)) for topic, (stamp, data) in raw.items()}


def _sound(reader: BagReader, topic: str, now_ns: int) -> npt.NDArray[np.float32]:
    """The last second of the first microphone until now, full scale 1.0 (samples,)."""
    chunks = [pcm(m)[:, 0] for _, _, m in reader.messages([topic], now_ns - round(SOUND_S * 1e9), now_ns + 1)]
    return np.concatenate(chunks) if chunks else np.zeros(0, np.float32)


def pixels(image: Message) -> npt.NDArray[Any]:
    """Array of a sensor_msgs/Image as our writers make them: rgb8 (H, W, 3), 32FC1 or 16UC1 (H, W)."""
    kinds: dict[str, tuple[np.dtype[Any], int]] = {
        "rgb8": (np.dtype(np.uint8), 3), "32FC1": (np.dtype("<f4"), 1), "16UC1": (np.dtype("<u2"), 1)}
    if image.encoding not in kinds:
        raise InputError("encoding", image.encoding, ", ".join(kinds))
    dtype, channels = kinds[image.encoding]
    rows = image.data.view(np.uint8).reshape(image.height, image.step)[:, :image.width * channels * dtype.itemsize]
    shape = (image.height, image.width, channels) if channels > 1 else (image.height, image.width)
    array: npt.NDArray[Any] = np.ascontiguousarray(rows).view(dtype).reshape(shape)
    return array


def pcm(frame: Message) -> npt.NDArray[np.float32]:
    """Samples (samples, channels), full scale 1.0, of an AudioFrame."""
    if frame.encoding == "F32LE":
        samples = frame.data.view("<f4")
    else:
        samples = frame.data.view("<i2").astype(np.float32) / np.float32(32768)
    shaped: npt.NDArray[np.float32] = samples.reshape(-1, frame.channels)
    return shaped


def _age(stamp_ns: int, now_ns: int) -> str:
    age_s = (now_ns - stamp_ns) / 1e9
    return f", {age_s:.1f} s OLD" if age_s > 0.5 else ""


def _nothing(axes: Axes) -> None:
    axes.text(0.5, 0.5, "no message", ha="center", va="center", color="gray")
    axes.set_axis_off()


def _draw_rgb(axes: Axes, image: Message) -> None:
    axes.imshow(pixels(image))
    axes.set_axis_off()


def _draw_depth(axes: Axes, image: Message) -> None:
    depth = pixels(image).astype(np.float32)
    if image.encoding == "16UC1":
        depth = np.where(depth == 0, np.nan, depth / 1000)
    shown = axes.imshow(depth, cmap=mpl.colormaps["turbo"].with_extremes(bad="black"),
                        vmin=DEPTH_RANGE_M[0], vmax=DEPTH_RANGE_M[1], interpolation="nearest")
    axes.figure.colorbar(shown, ax=axes, shrink=0.75, label="m (black: invalid)")
    axes.set_axis_off()


def _draw_radar(axes: Axes, image: Message) -> None:
    """The heatmap bent into the sector that it measures, seen from above: forward is up."""
    magnitude = pixels(image)
    steps_m = {(RANGE_BINS, AZIMUTH_BINS): RANGE_STEP_M, (256, AZIMUTH_BINS): FmcwConfig().range_step_m}
    if magnitude.shape not in steps_m:
        axes.imshow(np.log1p(magnitude), aspect="auto")
        return
    step_m = steps_m[magnitude.shape]
    magnitude = magnitude[:int(SHOWN_M / step_m)]
    sine = np.linspace(1, -1, magnitude.shape[1] + 1)
    reach = np.arange(magnitude.shape[0] + 1)[:, None] * step_m
    decibel = 20 * np.log10(magnitude + 0.1)
    left = -reach * sine
    shown = axes.pcolormesh(left, reach * np.sqrt(1 - sine**2), decibel, cmap="turbo", vmin=0, vmax=38,
                            rasterized=True)
    axes.figure.colorbar(shown, ax=axes, shrink=0.75, label="dB over noise")
    axes.set_aspect("equal")
    axes.set_xlabel("m to the right", fontsize=8)
    axes.set_ylabel("m ahead", fontsize=8)


def _draw_doppler(axes: Axes, image: Message) -> None:
    """Range up, radial velocity across: going away is to the right."""
    config, magnitude = FmcwConfig(), pixels(image)
    extent = None
    if magnitude.shape == (config.samples, config.loops):
        speed, half = config.velocity_of_column(), config.velocity_step_mps / 2
        magnitude = magnitude[:int(SHOWN_M / config.range_step_m)]
        extent = (speed[0] - half, speed[-1] + half, 0.0, len(magnitude) * config.range_step_m)
    axes.imshow(20 * np.log10(magnitude + 0.1), origin="lower", aspect="auto", cmap="turbo", vmin=0, vmax=38,
                extent=extent, interpolation="nearest")
    axes.set_xlabel("m/s", fontsize=8)
    axes.set_ylabel("m", fontsize=8)


def _draw_sound(axes: Axes, samples: npt.NDArray[np.float32], rate_hz: int) -> None:
    if len(samples) < 512:
        _nothing(axes)
        return
    axes.specgram(samples, NFFT=512, noverlap=384, Fs=rate_hz, cmap="magma", vmin=-120, vmax=-45)
    axes.set_ylim(0, 4000)
    axes.set_xlabel("s", fontsize=8)
    axes.set_ylabel(f"Hz (RMS {samples.std():.3f})", fontsize=8)


_DRAW = {"rgb": _draw_rgb, "depth": _draw_depth, "radar": _draw_radar, "doppler": _draw_doppler}


def _draw_map(axes: Axes, latest: dict[str, tuple[int, Message]]) -> None:
    """The track from above, with nodes and truth."""
    axes.set_title("map: ground truth", fontsize=10)
    pose = latest.get("/ground_truth/pose")
    if pose is None:
        _nothing(axes)
        return
    axes.set_aspect("equal")
    axes.set(xlim=(-3.2, 3.2), ylim=(-3.2, 3.2), xlabel="x, m", ylabel="y, m")
    axes.grid(alpha=0.3)
    here, turn = pose[1].pose.position, pose[1].pose.orientation
    if "/tf_static" in latest:
        _draw_track(axes)
        for transform in latest["/tf_static"][1].transforms:
            if transform.header.frame_id == "map" and transform.child_frame_id.endswith("_base"):
                at, q = transform.transform.translation, transform.transform.rotation
                axes.plot(at.x, at.y, "ks", markersize=9)
                axes.text(at.x, at.y + 0.2, transform.child_frame_id.removesuffix("_base"), ha="center", fontsize=9)
                yaw = 2 * np.arctan2(q.z, q.w)
                axes.annotate("", (at.x + 0.5 * np.cos(yaw), at.y + 0.5 * np.sin(yaw)), (at.x, at.y),
                              arrowprops={"arrowstyle": "->"})
    yaw = 2 * np.arctan2(turn.z, turn.w)
    axes.quiver(here.x, here.y, np.cos(yaw), np.sin(yaw), color="crimson", scale=10, width=0.02, zorder=5)
    axes.plot(here.x, here.y, "o", color="crimson", markersize=8, zorder=5)
    axes.text(here.x, here.y - 0.35, f"({here.x:.2f}, {here.y:.2f})", ha="center", fontsize=9, color="crimson")


def _draw_track(axes: Axes) -> None:
    x, y = MAT_HALF_M
    axes.fill([-x, x, x, -x], [-y, -y, y, y], color="0.85", zorder=0)
    for line, style in ((OUTER_LINE, "-"), (DRIVEN, "--"), (INNER_LINE, "-")):
        points, _ = line.at(np.linspace(0, line.length_m, 200, endpoint=False))
        axes.plot(*np.vstack([points, points[:1]]).T, style, color="white", linewidth=2, zorder=1)
