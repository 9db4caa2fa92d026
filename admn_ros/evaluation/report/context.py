# SPDX-License-Identifier: Apache-2.0
"""Excerpts of the recordings and the model for a report, gathered right after the evaluation.

    context.json   GFLOPs by number of layers, recorded temperatures, moments
    moments/       thumbnails of the sensor data at those moments

Results contain no paths, so that they do not depend on the location of the data. A report that is written again, on
another machine too, takes its images from here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from admn_ros.budget.costs import LayerCosts
from admn_ros.evaluation.plan import EvaluationPlan
from admn_ros.evaluation.records import layer_counts
from admn_ros.evaluation.report.data import Evaluation, read_evaluation
from admn_ros.evaluation.report.moments import Stretch, moments, stretches
from admn_ros.evaluation.results_folder import CONTEXT, MOMENTS
from admn_ros.evaluation.source import EvaluationSource, Readings
from admn_ros.evaluation.workers import open_source
from admn_ros.files import read_json, replacing_folder, write_bytes, write_json
from admn_ros.recordings.bag_messages import TEMPERATURE
from admn_ros.recordings.bag_reader import BagReader
from admn_ros.sample import Array, Modality
from admn_ros.views.colorize import colorize

FORMAT = "admn-report-context-1"
MAX_NODES = 4
"""Largest number of sensor nodes with thumbnails."""
MAX_POINTS = 2000
"""Largest number of points of a temperature."""
WIDTH, HEIGHT, QUALITY = 120, 80, 72
"""Size of a thumbnail in pixels, and its JPEG quality."""

Context = dict[str, Any]


def gather_context(plan: EvaluationPlan, folder: Path, source: EvaluationSource | None = None) -> None:
    """Gather the excerpts that the report of a finished evaluation needs, unless they exist.

    Args:
        plan: plan of the evaluation.
        folder: results folder.
        source: source of the plan, if it is open; opened here otherwise.

    Raises:
        InputError: the evaluation is not complete, a source cannot be read, or the folder cannot be written.
    """
    evaluation = read_evaluation(folder)
    if read_context(folder, evaluation):
        return
    source, shown = source or open_source(plan), stretches(evaluation)
    with replacing_folder(folder / MOMENTS) as moments:
        pictures = {stretch.corruption: _pictures(evaluation, source, stretch, moments) for stretch in shown}
    sources = sorted({stretch.source for stretch in shown}) if evaluation.is_of_bags else []
    context = {"format": FORMAT, "results": evaluation.fingerprint,
               "gflops": _gflops(evaluation, source.engine.costs.table("gflops")),
               "bags": {str(k): _bag(Path(plan.sources[k])) for k in sources}, "pictures": pictures}
    write_json(folder / CONTEXT, context)


def read_context(folder: Path, evaluation: Evaluation) -> Context:
    """Read the excerpts that belong to these results; empty if there are none.

    Raises:
        InputError: the file is broken.
    """
    if not (folder / CONTEXT).is_file():
        return {}
    found = read_json(folder / CONTEXT)
    if found.get("format") != FORMAT or found.get("results") != evaluation.fingerprint:
        return {}
    return found


# --- thumbnails -----------------------------------------------------------------------------------


def _pictures(evaluation: Evaluation, source: EvaluationSource, stretch: Stretch, folder: Path) -> dict[str, Any]:
    """Write the thumbnails of all moments.

    Returns:
        File names by row, sensor node and modality; None for missing data.
    """
    index = evaluation.records[stretch.corruption]["index"]
    rows: dict[int, list[int]] = {}
    for moment in moments(evaluation, stretch):
        rows.setdefault(int(index[moment.row]), []).append(moment.row)
    found: dict[str, Any] = {}
    for number, readings in source.readings(stretch.corruption, stretch.source, sorted(rows)):
        for row in set(rows[number]):
            found[str(row)] = dict(_files(readings, f"{stretch.corruption}-{row}", folder))
    return found


def _files(readings: Readings, name: str, folder: Path) -> Iterator[tuple[str, dict[str, str | None]]]:
    nodes = list(dict.fromkeys(key.node for key in readings))[:MAX_NODES]
    for number, node in enumerate(nodes):
        files: dict[str, str | None] = {}
        for key, data in readings.items():
            if key.node != node:
                continue
            files[str(key.modality)] = None
            if data is not None:
                file = folder / f"{name}-{number}-{key.modality}.jpg"
                write_bytes(file, _thumbnail(key.modality, data))
                files[str(key.modality)] = file.name
        yield node, files


def _thumbnail(modality: Modality, data: Array) -> bytes:
    """A reading as a small JPEG. Cameras keep their proportions, heatmaps and spectrograms have none."""
    picture = colorize(modality, data)
    height, width = picture.shape[:2]
    shrink = min(WIDTH / width, HEIGHT / height)
    size = (WIDTH, HEIGHT) if modality in (Modality.RADAR, Modality.AUDIO) else (
        max(1, round(width * shrink)), max(1, round(height * shrink)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if width > size[0] else cv2.INTER_NEAREST)
    ok, encoded = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return encoded.tobytes() if ok else b""


# --- operations -----------------------------------------------------------------------------------


def _gflops(evaluation: Evaluation, table: LayerCosts) -> list[dict[str, float]]:
    """Return the range and the median of GFLOPs by number of layers, over all frames."""
    depths = evaluation.results["described_model"]["depths"].values()
    total, operations = [], []
    for columns in evaluation.records.values():
        for variant in range(columns["active"].shape[1]):
            layers = layer_counts(columns["active"][:, variant], depths)
            total.append(layers.sum(axis=1))
            operations.append(table.prices(layers, columns["nodes"], columns["used"][:, variant]) * table.amount(1))
    ran, gflops = np.concatenate(total), np.concatenate(operations)
    return [{"layers": int(k), "frames": int(here.sum()), "min": round(float(gflops[here].min()), 6),
             "median": round(float(np.median(gflops[here])), 6), "max": round(float(gflops[here].max()), 6)}
            for k in np.unique(ran) for here in [ran == k]]


# --- recordings -----------------------------------------------------------------------------------


def _bag(path: Path) -> dict[str, Any]:
    """Return the start stamp of a recording and its temperatures, as [seconds, degrees Celsius] by sensor."""
    with BagReader(path) as bag:
        topics = [topic for topic, info in bag.topics.items() if info.type == TEMPERATURE]
        read: dict[str, list[list[float]]] = {}
        for topic, stamp_ns, message in bag.messages(topics) if topics else ():
            if np.isfinite(message.temperature):
                seconds = (stamp_ns - bag.start_ns) * 1e-9
                name = message.header.frame_id or topic
                read.setdefault(name, []).append([round(seconds, 3), round(float(message.temperature), 2)])
        return {"start_ns": bag.start_ns,
                "temperatures": {name: points[::-(-len(points) // MAX_POINTS)] for name, points in read.items()}}
