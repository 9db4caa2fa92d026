# SPDX-License-Identifier: Apache-2.0
"""Decoding of radar points: point clouds and scans to points, points to a heatmap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from admn_ros.deployment import RadarGrid
from admn_ros.errors import InputError
from admn_ros.sensing.decode.images import Buffer, bytes_of

RadarPoints = npt.NDArray[np.float32]

MAX_POINTS = 1_000_000
"""Maximum number of points in a message."""
_STRENGTHS = ("intensity", "snr", "power", "amplitude", "rcs")
_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
"""NumPy types of the numbers of sensor_msgs/PointField."""
_MAX_DECIBELS = 200.0
_LARGEST_ANGLES = {"azimuth": ("2 pi", 2 * np.pi + 1e-3), "elevation": ("pi / 2", np.pi / 2 + 1e-3)}
_FARTHEST_M = 1000.0
"""Distance that is beyond the half of the points of any radar of a robot."""


class PointFieldMessage(Protocol):
    """sensor_msgs/PointField."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def offset(self) -> int: ...  # noqa: D102
    @property
    def datatype(self) -> int: ...  # noqa: D102
    @property
    def count(self) -> int: ...  # noqa: D102


class PointCloudMessage(Protocol):
    """sensor_msgs/PointCloud2."""

    @property
    def height(self) -> int: ...  # noqa: D102
    @property
    def width(self) -> int: ...  # noqa: D102
    @property
    def fields(self) -> Sequence[PointFieldMessage]: ...  # noqa: D102
    @property
    def is_bigendian(self) -> bool: ...  # noqa: D102
    @property
    def point_step(self) -> int: ...  # noqa: D102
    @property
    def row_step(self) -> int: ...  # noqa: D102
    @property
    def data(self) -> Buffer: ...  # noqa: D102


class RadarScanMessage(Protocol):
    """radar_msgs/RadarScan; each return has range, azimuth, elevation, amplitude."""

    @property
    def returns(self) -> Sequence[Any]: ...  # noqa: D102


def decode_point_cloud(msg: PointCloudMessage, grid: RadarGrid) -> RadarPoints:
    """Decode a point cloud to float32 (P, 4): x, y, z in metres (REP-103), and the strength as in the message.

    Fields are found by name and may have any order, type and byte order. A missing z is 0. Points with NaN or infinity
    in one of these fields are left out. An empty cloud gives no points.

    Args:
        msg: point cloud.
        grid: settings that name the field of the strength.

    Raises:
        InputError: a field is missing or reaches beyond its point, a size does not match the data, no point has a
            strength, or the coordinates are not in metres.
    """
    count = msg.width * msg.height
    if count > MAX_POINTS:
        raise InputError("width", f"{msg.width}x{msg.height}", f"at most {MAX_POINTS} points")
    data = bytes_of(msg.data)
    row_step = _row_step(msg, data.size)
    if not count:
        return np.empty((0, 4), np.float32)
    fields = {f.name: f for f in msg.fields}
    columns = [_column(msg, row_step, fields[name], data) if name in fields else np.zeros(count, np.float32)
               for name in ("x", "y", "z", _strength_field(fields, grid))]
    points = np.stack(columns, axis=1)
    placed = points[np.isfinite(points[:, :3]).all(axis=1)]
    if len(placed) and np.isnan(placed[:, 3]).all():
        raise InputError(f"fields.{_strength_field(fields, grid)}", f"NaN in all {len(placed)} points", "numbers")
    _check_metres("fields.x, y, z", np.linalg.norm(placed[:, :3].astype(np.float64), axis=1))
    return placed[np.isfinite(placed[:, 3])]


def decode_radar_scan(msg: RadarScanMessage) -> RadarPoints:
    """Decode a radar scan to float32 (P, 4): x, y, z in metres (REP-103), and the amplitude as in the message (dB).

    `radar_msgs` defines the azimuth as clockwise (to the right) and the elevation as upwards.

    Raises:
        InputError: there are too many returns, their angles are not in radians, or their ranges not in metres.
    """
    if len(msg.returns) > MAX_POINTS:
        raise InputError("returns", len(msg.returns), f"at most {MAX_POINTS}")
    polar = np.array([(r.range, r.azimuth, r.elevation, r.amplitude) for r in msg.returns], np.float32).reshape(-1, 4)
    polar = polar[np.isfinite(polar).all(axis=1)]
    reach, azimuth, elevation, amplitude = polar.T
    for field, angle in (("azimuth", azimuth), ("elevation", elevation)):
        largest, (name, limit) = float(np.abs(angle).max(initial=0.0)), _LARGEST_ANGLES[field]
        if largest > limit:
            raise InputError(f"returns.{field}", f"{largest:g}", f"radians, at most {name}; are these degrees?")
    _check_metres("returns.range", reach)
    flat = reach * np.cos(elevation)
    points = [flat * np.cos(azimuth), -flat * np.sin(azimuth), reach * np.sin(elevation), amplitude]
    return np.stack(points, axis=1).astype(np.float32)


def heatmap_of_points(points: RadarPoints, grid: RadarGrid) -> npt.NDArray[np.float32]:
    """Rasterize points (P, 4) in the frame of the radar to magnitudes float32 (rows, columns), 0 without a point.

    A cell has the magnitude of its strongest point. Points beyond the last row or behind the antennas are left out.

    Raises:
        InputError: the strengths of most points are no decibels, although the grid says so.
    """
    if grid.decibels and len(points) and (median := float(np.median(points[:, 3]))) > _MAX_DECIBELS:
        raise InputError("strength", f"{median:g} in half of the points",
                         f"decibels, at most {_MAX_DECIBELS:g}; are these magnitudes (`grid.decibels: false`)?")
    x, y, z, strength = points.astype(np.float64).T
    reach = np.sqrt(x**2 + y**2 + z**2)
    rows = np.rint(reach / grid.range_step_m)
    kept = (x >= 0) & (reach > 0) & (rows < grid.rows)
    sine = np.divide(y, reach, out=np.zeros_like(y), where=kept)
    columns = np.minimum(np.floor((1 - sine) * grid.columns / 2), grid.columns - 1)
    magnitude = 10 ** (np.minimum(strength, _MAX_DECIBELS) / 20) if grid.decibels else np.maximum(strength, 0.0)
    heatmap = np.zeros((grid.rows, grid.columns), np.float32)
    cells = rows[kept].astype(np.intp), columns[kept].astype(np.intp)
    np.maximum.at(heatmap, cells, magnitude[kept].astype(np.float32))
    return heatmap


def _check_metres(field: str, distances: npt.NDArray[Any]) -> None:
    if distances.size and (median := float(np.median(distances))) > _FARTHEST_M:
        raise InputError(field, f"a distance of {median:g} of half of the points", "metres; are these millimetres?")


def _strength_field(fields: dict[str, PointFieldMessage], grid: RadarGrid) -> str:
    """Return the name of the strength field; all required fields must exist."""
    strength = grid.strength or next((name for name in _STRENGTHS if name in fields), "")
    if not {"x", "y", strength} <= set(fields):
        raise InputError("fields", ", ".join(fields) or "none",
                         f"x, y and {grid.strength or 'one of ' + ', '.join(_STRENGTHS)} among them")
    return strength


def _row_step(msg: PointCloudMessage, size: int) -> int:
    """Return the distance between two rows in bytes, for data of this size.

    The `row_step` of a cloud in one row has no meaning, and many drivers do not set it. A `row_step` of 0 is not set.
    The data then have no padding if they are that long.

    Raises:
        InputError: the sizes of the message contradict each other.
    """
    row = msg.width * msg.point_step
    if (msg.row_step == 0 or msg.height == 1) and size == row * msg.height:
        return row
    if size != msg.row_step * msg.height or msg.row_step < row:
        raise InputError("data", f"{size} bytes, row_step {msg.row_step}, point_step {msg.point_step}",
                         f"row_step times height {msg.height}, row_step at least point_step times width {msg.width}")
    return msg.row_step


def _column(msg: PointCloudMessage, row_step: int, field: PointFieldMessage,
            data: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return one field of all points (P,)."""
    if field.datatype not in _TYPES:
        raise InputError(f"fields.{field.name}.datatype", field.datatype, "1 (INT8) to 8 (FLOAT64)")
    dtype = np.dtype(_TYPES[field.datatype]).newbyteorder(">" if msg.is_bigendian else "<")
    if field.offset + dtype.itemsize > msg.point_step:
        raise InputError(f"fields.{field.name}.offset", field.offset,
                         f"at most {msg.point_step - dtype.itemsize}, the end of a point")
    view: npt.NDArray[Any] = np.ndarray((msg.height, msg.width), dtype, data, field.offset,
                                        (row_step, msg.point_step))
    with np.errstate(over="ignore"):
        return view.astype(np.float32).reshape(-1)
