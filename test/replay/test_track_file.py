# SPDX-License-Identifier: Apache-2.0
"""Files of ground truth as people have them: units, origins, headers, separators; and the times of a recording."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from admn_ros.cli import main
from admn_ros.config import dump_config
from admn_ros.errors import InputError
from admn_ros.recordings import bag_messages as make
from admn_ros.recordings.bag_reader import BagReader
from admn_ros.recordings.bag_writer import BagWriter
from admn_ros.replay.ground_truth import NS, Track
from admn_ros.replay.ground_truth_sources import find_track
from admn_ros.replay.track_file import read_track
from admn_ros.replay.track_times import BagTimes, check_overlap

START_NS = 1_700_000_000_000_000_000
LENGTH_S = 2.0
BAG = BagTimes(START_NS, START_NS + round(LENGTH_S * NS))
TIMES_S = np.arange(20) / 10
PLACES = np.column_stack([np.cos(TIMES_S), np.sin(TIMES_S), np.full(len(TIMES_S), 0.25)])
TURN = "0.1 0.2 0.3 0.9"
"""A quaternion, which is not the position in any order."""


def write(path: Path, header: str, line: str, *, start: float | None, per_s: int, newline: str = "\n",
          encoding: str = "utf-8", metres: float = 1.0) -> Path:
    """Write a table of `PLACES` whose times have the unit 1 / `per_s` seconds; `line` is a format of t, x, y, z."""
    rows = []
    for time_s, place in zip(TIMES_S, PLACES / metres, strict=True):
        ns = round(time_s * NS) + (START_NS if start is None else round(start * NS))
        whole, part = divmod(ns * per_s, NS)
        t = str(whole) if per_s == NS else f"{whole + part / NS:.6f}" if start is not None else f"{whole}.{part:09d}"
        rows.append(line.format(t=t, sec=ns // NS, nsec=ns % NS, x=place[0], y=place[1], z=place[2]))
    path.write_bytes((newline.join([*([header] if header else []), *rows]) + newline).encode(encoding))
    return path


TUM = "{t} {x:.9f} {y:.9f} {z:.9f} " + TURN
COMMA = "{t},{x:.9f},{y:.9f},{z:.9f}"
EUROC_HEADER = ("#timestamp [ns], p_RS_R_x [m], p_RS_R_y [m], p_RS_R_z [m], q_RS_w [], q_RS_x [], q_RS_y [], "
                "q_RS_z [], v_RS_R_x [m s^-1], v_RS_R_y [m s^-1], v_RS_R_z [m s^-1], b_w_RS_S_x [rad s^-1]")
EUROC = COMMA + ",0.9,0.1,0.2,0.3,7,7,7,8"
ECHO_HEADER = ("%time,field.header.seq,field.header.stamp,field.header.frame_id,field.pose.position.x,"
               "field.pose.position.y,field.pose.position.z,field.pose.orientation.x,field.pose.orientation.y")


@pytest.mark.parametrize(("header", "line", "options"), [
    pytest.param("", TUM, {"start": None, "per_s": 1}, id="TUM in s"),
    pytest.param("", TUM, {"start": None, "per_s": NS}, id="TUM in ns"),
    pytest.param("# timestamp tx ty tz qx qy qz qw", TUM, {"start": None, "per_s": 10**6}, id="TUM in us"),
    pytest.param("# made by hand, with care", TUM, {"start": 0.0, "per_s": 1}, id="TUM since the start"),
    pytest.param("", TUM.replace(" ", "\t"), {"start": None, "per_s": 1}, id="TUM with tabs"),
    pytest.param("", TUM, {"start": None, "per_s": 1, "newline": "\r\n", "encoding": "utf-8-sig"}, id="BOM and CRLF"),
    pytest.param("Time,X,Y,Z", COMMA, {"start": None, "per_s": 1000, "encoding": "utf-16"}, id="UTF-16, in ms"),
    pytest.param(EUROC_HEADER, EUROC, {"start": None, "per_s": NS}, id="EuRoC"),
    pytest.param("", EUROC, {"start": None, "per_s": NS}, id="EuRoC without header"),
    pytest.param("timestamp, x, y, z", COMMA, {"start": None, "per_s": 1}, id="s without a unit"),
    pytest.param("TimeStamp,qw,qx,qy,qz,PosX,PosY,PosZ", "{t},1,0,0,0,{x},{y},{z}", {"start": None, "per_s": NS},
                 id="quaternion first"),
    pytest.param("time [ms];x [m];y [m];z [m]", COMMA.replace(",", ";"), {"start": 0.0, "per_s": 1000},
                 id="ms since the start"),
    pytest.param("time_us,x,y,z", COMMA, {"start": 0.0, "per_s": 10**6}, id="us since the start"),
    pytest.param("t,x,y,z", COMMA, {"start": 0.0, "per_s": 1000}, id="ms since the start, without a unit"),
    pytest.param("t,x,y,z", COMMA, {"start": 0.0, "per_s": NS}, id="ns since the start, without a unit"),
    pytest.param("stamp_ns,x_m,y_m,z_m", COMMA, {"start": None, "per_s": NS}, id="our own"),
    pytest.param(ECHO_HEADER, "1600000000000000000,1,{t},map,{x},{y},{z},7,8", {"start": None, "per_s": NS},
                 id="rostopic echo -p"),
    pytest.param("", "{sec},{nsec},map,{x},{y},{z},0,0,0,1", {"start": None, "per_s": 1}, id="ros2 topic echo --csv"),
    pytest.param("", "{sec},{nsec},map,car,{x},{y},{z},0,0,0,1", {"start": None, "per_s": 1}, id="echo of odometry"),
    pytest.param("header.stamp.sec,header.stamp.nanosec,pose.position.x,pose.position.y,pose.position.z",
                 "{sec},{nsec},{x},{y},{z}", {"start": None, "per_s": 1}, id="sec and nanosec"),
    pytest.param("header.stamp.seconds,header.stamp.nanoseconds,x,y,z", "{sec},{nsec},{x},{y},{z}",
                 {"start": None, "per_s": 1}, id="seconds and nanoseconds"),
    pytest.param("__time,/pose/pose/position/x,/pose/pose/position/y,/pose/pose/position/z,/pose/twist/linear/x",
                 COMMA + ",7", {"start": None, "per_s": 1}, id="PlotJuggler"),
    pytest.param("Frame,Time (Seconds),X [mm],Y [mm],Z [mm]", "1," + COMMA,
                 {"start": 0.0, "per_s": 1, "metres": 0.001}, id="motion capture in mm"),
])
def test_positions_and_times_are_those_that_were_written(tmp_path, header, line, options):
    track = read_track(write(tmp_path / "truth.txt", header, line, **options), BAG)
    assert np.abs(track.stamps_ns - START_NS - (TIMES_S * NS).round()).max() < 1_000
    assert track.position_m == pytest.approx(PLACES, abs=1e-6)


def test_a_decimal_comma_is_understood(tmp_path):
    (tmp_path / "t.csv").write_text("time;x;y\n0,5;1,25;-2,5\n1,0;1,5;2\n")
    track = read_track(tmp_path / "t.csv", BAG)
    assert track.stamps_ns.tolist() == [START_NS + NS // 2, START_NS + NS]
    assert track.position_m.tolist() == [[1.25, -2.5, 0.0], [1.5, 2.0, 0.0]]


def test_times_of_a_simulation_are_those_of_its_clock(tmp_path):
    (tmp_path / "t.csv").write_text("time_s,x,y\n5,1,1\n6,2,2\n14,3,3\n")
    simulated = BagTimes(5 * NS, 15 * NS, ahead_ns=5 * NS - START_NS)
    assert read_track(tmp_path / "t.csv", simulated).stamps_ns.tolist() == [5 * NS, 6 * NS, 14 * NS]
    (tmp_path / "t.csv").write_text("time_s,x,y\n0,1,1\n1,2,2\n10,3,3\n")
    assert read_track(tmp_path / "t.csv", simulated).stamps_ns.tolist() == [5 * NS, 6 * NS, 15 * NS]


def test_nanoseconds_are_exact(tmp_path):
    stamp_ns = START_NS + 123_456_789
    (tmp_path / "t.tum").write_text(f"{stamp_ns} 1 2 3 0 0 0 1\n1700000000.123456790 1 2 3 0 0 0 1\n".split("\n")[0])
    assert read_track(tmp_path / "t.tum", BAG).stamps_ns.tolist() == [stamp_ns]
    (tmp_path / "t.tum").write_text("1700000000.123456789 1 2 3 0 0 0 1\n")
    assert read_track(tmp_path / "t.tum", BAG).stamps_ns.tolist() == [stamp_ns]


def test_lines_without_a_position_are_left_out_and_counted(tmp_path):
    (tmp_path / "t.csv").write_text("time_s,x,y\n0,1,1\n0.1,nan,1\n0.2,,\n0.3,2,2\n")
    track = read_track(tmp_path / "t.csv", BAG)
    assert len(track.stamps_ns) == 2
    assert track.origin == ("t.csv, in seconds since the start of the recording; 2 lines without a position left out, "
                            "the first is line 3")


@pytest.mark.parametrize(("text", "says"), [
    ("", "an empty file"),
    ("time_s,x,y\n", "no line after the header"),
    ("time_s,x\n1,2\n", "line 1: columns: found time_s, x; allowed: a time"),
    ("x,y,z\n1,2,3\n", "line 1: columns: found x, y, z; allowed: a time"),
    ("t,c.x,d.position.x,y\n1,2,3,4\n", "line 1: columns for x: found c.x, d.position.x; allowed: one"),
    ("t,x [inch],y [inch]\n1,2,3\n", "unit of the position: found inch; allowed: one of m, cm, mm"),
    ("# one\ntime_s,x,y\n1,2,b\n", "line 3: found '1,2,b'"),
    ("time_s,x,y\n1,2\n", "line 2: found '1,2'"),
    ("time_s,x,y\nnan,2,3\n", "line 2: found 'nan,2,3'"),
    ("time_s,x,y\n2023-11-14T22:13:20,2,3\n", "line 2: found '2023-11-14T22:13:20,2,3'"),
    ("1 2\n", "line 1: found the line '1 2'; allowed: time x y z"),
    ("1e99 1 2 3\n", "line 1: found '1e99 1 2 3'"),
    ("1e99999999 1 2 3\n", "line 1: found '1e99999999 1 2 3'"),
    ("time_s,x,y\n1,nan,2\n", "no finite position"),
    ("time_s,x,y\n0,1,1\n0.2,1,1\n0.1,1,1\n", "line 4: found time 0.1 after 0.2; allowed: ascending times"),
    ("time_s,x,y\n0,1,1\n0,2,1\n", "line 3: found time 0 again, with another position"),
    ("1 0 0 1 0 1 0 2 0 0 1 3\n", r"line 1: found 12 numbers.*\(KITTI\), without a time"),
    ("time_s,x,y\n1700000000000000000,1,1\n", "time_s: found 1.7e.18 to 1.7e.18, which look like nanoseconds"),
    ("time,x,y\n1600000000000,1,1\n", "which look like milliseconds, that is 2020-09-13 .* UTC "
                                     "to .*, outside of the recording; allowed: times between 2023-11-14 22:13:20 UTC"),
    ("time,x,y\n1700007200,1,1\n1700007202,2,2\n", r"they fit with --offset-s -7200 \(2 h, a time zone\?\)"),
    ("time,x,y\n1700000037,1,1\n1700000039,2,2\n", r"they fit with --offset-s -37 \(TAI against UTC\?\)"),
    ("time,x,y\n1700000037,1,1\n1700000056,2,2\n", r"they fit with --offset-s -37 \(TAI against UTC\?\)"),
    ("time,x,y\n1700019800,1,1\n1700019802,2,2\n", r"they fit with --offset-s -19800 \(5.5 h, a time zone\?\)"),
    ("# ID, QW, QX, QY, QZ, TX, TY, TZ\n1 1 0 0 0 7 8 9\n", "line 1: columns: found ID, QW, .*; allowed: a time"),
    ("PK\x03\x04\x00\x00", "a file that is no text, such as a spreadsheet"),
    ("<!DOCTYPE html><html>", "a web page"),
    ("version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "a Git LFS pointer"),
])
def test_what_cannot_be_meant_is_refused_in_one_line(tmp_path, text, says):
    (tmp_path / "t.txt").write_text(text)
    with pytest.raises(InputError, match=says) as refused:
        read_track(tmp_path / "t.txt", BAG)
    assert "\n" not in str(refused.value)


def test_times_of_the_recorders_clock_are_suspected(tmp_path):
    behind = BagTimes(START_NS - 5000 * NS, START_NS - 4998 * NS, ahead_ns=-5000 * NS)
    (tmp_path / "t.csv").write_text("time,x,y\n1700000000,1,1\n1700000001,2,2\n")
    with pytest.raises(InputError, match=r"fit with --offset-s -5000 \(they are of the clock of the recorder\?\); "
                                         r"allowed: .* \(the recorder's clock is 5000.0 s ahead\)"):
        read_track(tmp_path / "t.csv", behind)
    shifted = BagTimes(behind.start_ns, behind.end_ns, behind.ahead_ns, offset_s=-5000.0)
    assert read_track(tmp_path / "t.csv", shifted).stamps_ns[0] == START_NS


def test_ground_truth_of_another_time_is_refused():
    track = Track.of(np.array([START_NS + 5 * NS, START_NS + 6 * NS]), np.zeros((2, 3)), "t")
    with pytest.raises(InputError, match=r"truth /pose: found times from 2023-11-14 22:13:25 UTC to .* outside"):
        check_overlap("truth /pose", track, BAG)
    check_overlap("truth /pose", track, BagTimes(BAG.start_ns, BAG.end_ns, reach_s=3.5))


def test_a_recorder_whose_clock_differs_by_hours(tmp_path):
    """The stamps of the sensors count: a file since the start, and a topic, have their clock."""
    pixels = np.zeros((4, 4, 3), np.uint8)
    with BagWriter(tmp_path / "bag") as writer:
        for k in range(20):
            recorded_ns = START_NS + k * NS // 10
            stamp_ns = recorded_ns + 7200 * NS
            writer.write("/rgb", make.IMAGE, make.rgb_image(pixels, stamp_ns, "camera"), recorded_ns)
            for topic, ns in (("/pose", stamp_ns), ("/pose_late", recorded_ns), ("/pose_without_stamp", 0)):
                pose = make.pose_stamped((k / 10, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0), ns, "map")
                writer.write(topic, make.POSE, pose, recorded_ns)
    (tmp_path / "t.csv").write_text("time_s,x,y\n0,0,0\n1,1,0\n")
    asked = np.array([START_NS + 7200 * NS + NS // 2])
    with BagReader(tmp_path / "bag") as bag:
        times = BagTimes.of(bag, ["/rgb"])
        assert (times.start_ns, times.ahead_ns) == (START_NS + 7200 * NS, 7200 * NS)
        for truth in (str(tmp_path / "t.csv"), "/pose"):
            track, _ = find_track(bag, truth, "map", times)
            assert track.at(asked, "linear", 1.0)[0] == pytest.approx([0.5, 0, 0])
        with pytest.raises(InputError, match=r"truth /pose_late: .* --offset-s 7200 \(they are of the clock of"):
            find_track(bag, "/pose_late", "map", times)
        with pytest.raises(InputError, match=r"truth /pose_without_stamp: found times from 0.000 s to 0.000 s"):
            find_track(bag, "/pose_without_stamp", "map", times)
        late = BagTimes.of(bag, ["/rgb"], offset_s=7200.0)
        track, _ = find_track(bag, "/pose_late", "map", late)
        assert track.at(asked, "linear", 1.0, 7200.0)[0] == pytest.approx([0.5, 0, 0])


@pytest.mark.slow
def test_the_command_states_which_ground_truth_was_found(bag, model, deployment, tmp_path, capsys):
    dump_config(deployment, tmp_path / "sensors.yaml")

    def evaluate(text: str) -> object:
        (tmp_path / "t.csv").write_text(text)
        assert main(["evaluate", str(bag), "--model", str(model), "--out", str(tmp_path / "out"), "--budgets", "1",
                     "--sensors", str(tmp_path / "sensors.yaml"), "--truth", str(tmp_path / "t.csv"), "--no-report",
                     "--force"]) == 0
        return capsys.readouterr()

    assert ("ground truth of drive: 3 positions (t.csv, in seconds since the start of the recording); 2 frames have a "
            "position") in evaluate("time_s,x,y\n0,0,0\n0.05,1,1\n0.1,2,2\n").out
    assert ("WARN drive: ground truth t.csv, in seconds since the start of the recording: no frame is between two of "
            "its positions") in evaluate("time_s,x,y\n0.01,0,0\n0.02,1,1\n").err
