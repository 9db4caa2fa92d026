# SPDX-License-Identifier: Apache-2.0
"""Picture of a recording at one time: every sensor of every node, and a map with the ground truth."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from admn_ros.config import BUDGET_UNITS
from admn_ros.deployment import MESSAGE_TYPES, InputType
from admn_ros.errors import InputError, one_line
from admn_ros.recordings.bag_messages import Message
from admn_ros.recordings.bag_reader import BagReader
from admn_ros.sensing.decode.audio_messages import decode_audio
from admn_ros.sensing.decode.compressed_depth import decode_compressed_depth
from admn_ros.sensing.decode.compressed_images import decode_compressed_rgb
from admn_ros.sensing.decode.images import decode_depth, decode_radar, decode_rgb
from admn_ros.simulation.radar.fmcw import FmcwConfig
from admn_ros.simulation.scene.track import DRIVEN, INNER_LINE, MAT_HALF_M, OUTER_LINE
from admn_ros.views.picture_file import check_png, write_figure

COLUMNS = ("rgb", "depth", "radar", "doppler", "audio")
WIDTHS = {"rgb": 1.7, "depth": 1.33, "radar": 1.3, "doppler": 0.75, "audio": 1.1}
DEPTH_RANGE_M = (0.0, 7.0)
SOUND_S = 1.0
SHOWN_M = 6.4   # range of the radar panels; walls are beyond
_TOPIC = re.compile(r"/([^/]+)/(?:(rgb|depth)/image_raw(?:/compressed(?:Depth)?)?|(radar)/range_azimuth|"
                    r"radar/range_(doppler)|(audio))")

_TYPES: dict[str, tuple[InputType, ...]] = {
    "rgb": ("image", "compressed_image"), "depth": ("image", "compressed_image"), "radar": ("image",),
    "doppler": ("image",), "audio": ("audio_frame",)}


def draw_sheet(bag: str | Path, out_png: str | Path, at_s: float | None = None) -> Path:
    """Draw the last message of each sensor topic before a time into a PNG.

    Topics are found by name and type: `/<node>/rgb/image_raw` and `/<node>/depth/image_raw`, also compressed,
    `/<node>/radar/range_azimuth`, `/<node>/audio`, `/ground_truth/pose`, `/tf_static`, `/admn/budget`. The title of a
    panel has the age of a message older than half a second.

    Args:
        bag: recording.
        out_png: PNG file to write.
        at_s: time in seconds after the start of the recording; None for its middle.

    Returns:
        Path of the file.

    Raises:
        InputError: the recording cannot be read or has no such topic, the time is outside of it, or the file cannot be
            written.
    """
    check_png(Path(out_png))
    with BagReader(bag) as reader:
        found = [(topic, m) for topic in reader.topics if (m := _TOPIC.fullmatch(topic))]
        named = {(m[1], next(filter(None, m.groups()[1:]))): topic for topic, m in found}
        panels = {(node, what): topic for (node, what), topic in named.items()
                  if reader.topics[topic].type in {MESSAGE_TYPES[kind] for kind in _TYPES[what]}}
        if not panels or not reader.message_count:
            raise InputError.missing(f"{bag}: sensor topics", "/<node>/rgb/image_raw, /<node>/audio or others")
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
                _draw_missing(axes)
            elif what == "audio":
                _draw_sound(axes, sound[topic], int(entry[1].sample_rate))
            else:
                _DRAW[what](axes, entry[1])
    _draw_map(figure.add_subplot(grid[:, len(shown)]), latest)
    budget = latest.get("/admn/budget")
    title = f", budget {budget[1].limit:g} {BUDGET_UNITS[budget[1].unit]}" if budget else ""
    name = one_line(Path(bag).name)
    figure.suptitle(f"{name} at {at:.2f} s of {length_s:.2f} s{title}", fontsize=12, parse_math=False)
    write_figure(figure, Path(out_png))
    return Path(out_png)


def _latest(reader: BagReader, topics: list[str], now_ns: int) -> dict[str, tuple[int, Message]]:
    """Return the record stamp and the last message of each topic until a time."""
    raw = {topic: (stamp, data) for topic, stamp, data in reader.raw(topics, stop_ns=now_ns + 1)}
    return {topic: (stamp, reader.deserialize(topic, data)) for topic, (stamp, data) in raw.items()}


def _sound(reader: BagReader, topic: str, now_ns: int) -> npt.NDArray[np.float32]:
    """Return the last second of the first microphone until a time: (samples,), full scale 1.0."""
    chunks = [decode_audio(m)[:, 0] for _, _, m in reader.messages([topic], now_ns - round(SOUND_S * 1e9), now_ns + 1)]
    return np.concatenate(chunks) if chunks else np.zeros(0, np.float32)


def _age(stamp_ns: int, now_ns: int) -> str:
    age_s = (now_ns - stamp_ns) / 1e9
    return f", {age_s:.1f} s OLD" if age_s > 0.5 else ""


def _draw_missing(axes: Axes) -> None:
    axes.text(0.5, 0.5, "no message", ha="center", va="center", color="gray")
    axes.set_axis_off()


def _draw_rgb(axes: Axes, image: Message) -> None:
    axes.imshow(decode_compressed_rgb(image) if hasattr(image, "format") else decode_rgb(image))
    axes.set_axis_off()


def _draw_depth(axes: Axes, image: Message) -> None:
    depth = decode_compressed_depth(image) if hasattr(image, "format") else decode_depth(image)
    shown = axes.imshow(depth, cmap=mpl.colormaps["turbo"].with_extremes(bad="black"),
                        vmin=DEPTH_RANGE_M[0], vmax=DEPTH_RANGE_M[1], interpolation="nearest")
    axes.figure.colorbar(shown, ax=axes, shrink=0.75, label="m (black: invalid)")
    axes.set_axis_off()


def _draw_radar(axes: Axes, image: Message) -> None:
    """Draw a range-azimuth heatmap as the sector that it covers, seen from above: forward is up."""
    config, magnitude = FmcwConfig(), decode_radar(image)
    if magnitude.shape[1] != config.azimuth_bins or magnitude.shape[0] > config.samples:
        axes.imshow(np.log1p(magnitude), aspect="auto")
        return
    step_m = config.range_step_m
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
    """Draw a range-Doppler heatmap: range is up, receding targets are to the right."""
    config, magnitude = FmcwConfig(), decode_radar(image)
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
        _draw_missing(axes)
        return
    axes.specgram(samples, NFFT=512, noverlap=384, Fs=rate_hz, cmap="magma", vmin=-120, vmax=-45)
    axes.set_ylim(0, 4000)
    axes.set_xlabel("s", fontsize=8)
    axes.set_ylabel(f"Hz (RMS {samples.std():.3f})", fontsize=8)


_DRAW = {"rgb": _draw_rgb, "depth": _draw_depth, "radar": _draw_radar, "doppler": _draw_doppler}


def _draw_map(axes: Axes, latest: dict[str, tuple[int, Message]]) -> None:
    """Draw the track from above, with sensor nodes and ground truth."""
    axes.set_title("map: ground truth", fontsize=10)
    pose = latest.get("/ground_truth/pose")
    if pose is None:
        _draw_missing(axes)
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
