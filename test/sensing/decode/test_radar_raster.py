# SPDX-License-Identifier: Apache-2.0
"""Radar points: clouds of every layout, scans, and the heatmap."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admn_ros.deployment import RadarGrid
from admn_ros.errors import InputError
from admn_ros.recordings import bag_messages as make
from admn_ros.recordings.bag_types import typestore
from admn_ros.sensing.decode.radar_raster import decode_point_cloud, decode_radar_scan, heatmap_of_points
from admn_ros.simulation.radar.fmcw import FmcwConfig

GRID = RadarGrid()
CODES = {"i1": 1, "u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 8}
POINTS = np.array([[1.0, 0.5, 0.1, 20.0], [2.0, -1.0, 0.0, 30.0], [3.0, 0.0, 0.2, 10.0]], np.float32)


@dataclass(frozen=True)
class Field:
    name: str
    offset: int
    datatype: int
    count: int = 1


def cloud(points: np.ndarray, names: tuple[str, ...], kinds: tuple[str, ...], *, big: bool = False, gap: int = 0,
          rows: int = 1, row_gap: int = 0) -> SimpleNamespace:
    """A cloud (P, len(names)) as a driver writes it: `gap` bytes of rubbish before each field and after each row."""
    order = ">" if big else "<"
    offsets, step = [], 0
    for kind in kinds:
        offsets.append(step + gap)
        step += gap + np.dtype(kind).itemsize
    layout = np.dtype({"names": list(names), "formats": [order + k for k in kinds], "offsets": offsets,
                       "itemsize": step + gap})
    raw = np.frombuffer(b"\xa5" * (layout.itemsize * len(points)), layout).copy()
    for name, column in zip(names, points.T, strict=True):
        raw[name] = column
    lines = raw.tobytes()
    width = len(points) // rows
    size = width * layout.itemsize
    data = b"".join(lines[k * size:(k + 1) * size] + b"\xa5" * row_gap for k in range(rows))
    return SimpleNamespace(
        height=rows, width=width, fields=[Field(n, o, CODES[k]) for n, o, k in zip(names, offsets, kinds, strict=True)],
        is_bigendian=big, point_step=layout.itemsize, row_step=size + row_gap, data=data)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize(("names", "kinds"), [
    (("x", "y", "z", "intensity"), ("f4",) * 4),
    (("x", "y", "z", "intensity"), ("f8", "f4", "f4", "u1")),
    (("x", "y", "z", "snr"), ("f4", "f4", "f4", "i2")),
])
def test_fields_are_found_by_name_whatever_their_type(names: tuple[str, ...], kinds: tuple[str, ...],
                                                      big: bool) -> None:
    msg = cloud(POINTS, names, kinds, big=big, gap=3, rows=3, row_gap=5)
    np.testing.assert_array_equal(decode_point_cloud(msg, GRID), POINTS)


def test_order_and_other_fields_do_not_matter_and_z_may_be_absent() -> None:
    table = np.stack([POINTS[:, 3], np.full(3, 7.0), POINTS[:, 1], POINTS[:, 0]], axis=1)
    found = decode_point_cloud(cloud(table, ("rcs", "velocity", "y", "x"), ("f4",) * 4), GRID)
    np.testing.assert_array_equal(found, POINTS * [1, 1, 0, 1])


def test_the_strength_can_be_named() -> None:
    table = np.concatenate([POINTS, POINTS[:, 3:] + 1], axis=1)
    msg = cloud(table, ("x", "y", "z", "intensity", "snr"), ("f4",) * 5)
    assert decode_point_cloud(msg, GRID)[0, 3] == 20.0
    assert decode_point_cloud(msg, RadarGrid(strength="snr"))[0, 3] == 21.0


def test_points_that_are_no_numbers_are_left_out() -> None:
    bad = POINTS.copy()
    bad[0, 1], bad[2, 3] = np.nan, np.inf
    np.testing.assert_array_equal(
        decode_point_cloud(cloud(bad, ("x", "y", "z", "intensity"), ("f4",) * 4), GRID), POINTS[1:2])


@pytest.mark.parametrize("fields", [[], [Field("x", 0, 7)]])
def test_an_empty_cloud_is_a_reading_of_nothing(fields: list[Field]) -> None:
    msg = SimpleNamespace(height=1, width=0, fields=fields, is_bigendian=False, point_step=16, row_step=0, data=b"")
    heatmap = heatmap_of_points(decode_point_cloud(msg, GRID), GRID)
    assert heatmap.shape == (256, 64) and heatmap.dtype == np.float32 and not heatmap.any()


@pytest.mark.parametrize("library", ["rclpy", "rosbags"])
def test_real_messages_of_both_libraries(library: str) -> None:
    msg = make.point_cloud(POINTS, ("x", "y", "z", "intensity"), 5, "radar")
    if library == "rclpy":
        msgs = pytest.importorskip("sensor_msgs.msg")
        fields = [msgs.PointField(name=f.name, offset=f.offset, datatype=f.datatype, count=f.count)
                  for f in msg.fields]
        live = msgs.PointCloud2(height=1, width=3, fields=fields, point_step=16, row_step=48, is_dense=True)
        live.data.frombytes(msg.data.tobytes())
        msg = live
    np.testing.assert_array_equal(decode_point_cloud(msg, GRID), POINTS)


@pytest.mark.parametrize(("rows", "row_step"), [(1, 0), (1, 16), (1, 4_000_000), (3, 0)])
def test_a_row_step_that_is_not_set_or_has_no_meaning_is_taken_from_the_data(rows: int, row_step: int) -> None:
    msg = cloud(POINTS, ("x", "y", "z", "intensity"), ("f4",) * 4, rows=rows)
    msg.row_step = row_step
    np.testing.assert_array_equal(decode_point_cloud(msg, GRID), POINTS)


def test_a_scan_in_degrees_is_refused() -> None:
    returns = [SimpleNamespace(range=5.0, azimuth=a, elevation=0.0, amplitude=10.0) for a in (0.0, -30.0)]
    with pytest.raises(InputError, match=r"returns\.azimuth: found 30; allowed: radians"):
        decode_radar_scan(SimpleNamespace(returns=returns))


def test_points_in_millimetres_or_without_any_strength_are_refused() -> None:
    names, kinds = ("x", "y", "z", "intensity"), ("f4",) * 4
    millimetres = POINTS * np.array([1000, 1000, 1000, 1], np.float32)
    with pytest.raises(InputError, match=r"fields\.x, y, z: .* are these millimetres"):
        decode_point_cloud(cloud(millimetres, names, kinds), GRID)
    returns = [SimpleNamespace(range=r, azimuth=0.1, elevation=0.0, amplitude=10.0) for r in (1500.0, 2500.0, 2.0)]
    with pytest.raises(InputError, match=r"returns\.range: .* are these millimetres"):
        decode_radar_scan(SimpleNamespace(returns=returns))
    far = POINTS.copy()
    far[0, 0] = 5000.0  # One ghost is no reason.
    assert len(decode_point_cloud(cloud(far, names, kinds), GRID)) == 3
    far[:, 3] = np.nan
    with pytest.raises(InputError, match=r"fields\.intensity: found NaN in all 3 points"):
        decode_point_cloud(cloud(far, names, kinds), GRID)


def test_an_elevation_above_the_zenith_is_refused() -> None:
    scan = SimpleNamespace(returns=[SimpleNamespace(range=5.0, azimuth=3.0, elevation=3.0, amplitude=10.0)])
    with pytest.raises(InputError, match=r"returns\.elevation: found 3; allowed: radians, at most pi / 2"):
        decode_radar_scan(scan)


GOOD = cloud(POINTS, ("x", "y", "z", "intensity"), ("f4",) * 4)


@pytest.mark.parametrize(("change", "field", "words"), [
    ({"data": GOOD.data[:-1]}, "data", "row_step times height 1"),
    ({"row_step": 47, "data": GOOD.data[:-1]}, "data", "point_step times width 3"),
    ({"row_step": 0, "data": GOOD.data + b"rest"}, "data", "row_step 0"),
    ({"height": 3, "width": 1, "row_step": 8}, "data", "row_step 8"),
    ({"fields": []}, "fields", "one of intensity, snr"),
    ({"fields": GOOD.fields[:3]}, "fields", "found x, y, z"),
    ({"fields": GOOD.fields[1:]}, "fields", "found y, z, intensity"),
    ({"fields": [*GOOD.fields[:3], Field("intensity", 13, 7)]}, "fields.intensity.offset", "at most 12"),
    ({"fields": [*GOOD.fields[:3], Field("intensity", 12, 9)]}, "fields.intensity.datatype", "found 9"),
    ({"width": 2**16, "height": 2**16}, "width", "at most 1000000 points"),
])
def test_refusals(change: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        decode_point_cloud(SimpleNamespace(**vars(GOOD) | change), GRID)
    assert caught.value.field == field and words in str(caught.value)


def test_a_scan_turns_right_with_its_azimuth_and_up_with_its_elevation() -> None:
    store = typestore()
    header = make.header(3, "radar")
    returns = [SimpleNamespace(range=2.0, azimuth=0.5, elevation=0.0, doppler_velocity=0.0, amplitude=12.0),
               SimpleNamespace(range=3.0, azimuth=0.0, elevation=0.25, doppler_velocity=1.0, amplitude=6.0),
               SimpleNamespace(range=float("nan"), azimuth=0.0, elevation=0.0, doppler_velocity=0.0, amplitude=0.0)]
    points = decode_radar_scan(SimpleNamespace(header=header, returns=returns))
    assert store and points.shape == (2, 4)
    np.testing.assert_allclose(points[0], [2 * np.cos(0.5), -2 * np.sin(0.5), 0, 12], atol=1e-6)
    np.testing.assert_allclose(points[1], [3 * np.cos(0.25), 0, 3 * np.sin(0.25), 6], atol=1e-6)
    assert decode_radar_scan(SimpleNamespace(returns=[])).shape == (0, 4)


finite = st.floats(-50, 50, width=32)


@settings(deadline=None)
@given(st.lists(st.tuples(finite, finite, finite, st.floats(-512, 1024, width=32)), max_size=12), st.booleans())
def test_a_heatmap_is_finite_and_each_point_is_in_its_cell(points: list[tuple[float, ...]], decibels: bool) -> None:
    grid = RadarGrid(rows=40, range_step_m=0.5, columns=16, decibels=decibels)
    table = np.array(points, np.float32).reshape(-1, 4)
    if decibels and points and np.median(table[:, 3]) > 200:
        with pytest.raises(InputError, match="decibels, at most 200"):
            heatmap_of_points(table, grid)
        return
    heatmap = heatmap_of_points(table, grid)
    assert heatmap.shape == (40, 16) and np.isfinite(heatmap).all() and (heatmap >= 0).all()
    for x, y, z, strength in table.astype(np.float64):
        reach = np.sqrt(x * x + y * y + z * z)
        row = round(reach / 0.5)
        if x >= 0 and reach > 0 and row < 40 and (decibels or strength > 0):
            column = min(15, int((1 - y / reach) * 8))
            assert heatmap[row, column] > 0
    assert np.count_nonzero(heatmap) <= len(table)


def test_the_grid_is_that_of_the_simulated_radar() -> None:
    radar = FmcwConfig()
    assert (GRID.rows, GRID.columns) == (radar.samples, radar.azimuth_bins)
    assert GRID.range_step_m == pytest.approx(radar.range_step_m, rel=1e-3)
    for row, column in ((20, 5), (90, 40), (200, 63)):
        reach, sine = radar.range_step_m * row, radar.sine_of_column()[column]
        point = np.array([[reach * np.sqrt(1 - sine**2), reach * sine, 0.0, 20.0]], np.float32)
        assert np.argwhere(heatmap_of_points(point, GRID)).tolist() == [[row, column]]
        assert heatmap_of_points(point, GRID).max() == pytest.approx(10.0)
