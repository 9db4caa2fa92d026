# SPDX-License-Identifier: Apache-2.0
"""The Fast DDS profiles for images: used where they fit, and never in place of the user's."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from admn_ros.nodes import fast_dds
from admn_ros.nodes.fast_dds import NEEDED_MIB, PROFILE, remove_dead_segments, use_large_segments
from admn_ros.share import share_directory

CONFIG = share_directory() / "config"


@pytest.fixture(autouse=True)
def _no_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PROFILE, "")  # restored at the end, also where the function sets it
    monkeypatch.delenv(PROFILE)
    monkeypatch.setattr(fast_dds, "remove_dead_segments", lambda: 0)


def shared_memory(monkeypatch: pytest.MonkeyPatch, mib: int) -> None:
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_bavail=mib, f_frsize=1 << 20))


@pytest.mark.parametrize(("mib", "profile"), [
    (4096, "fastdds_large_images.xml"), (100, "fastdds_large_images.xml"), (99, "fastdds_small_shared_memory.xml"),
    (64, "fastdds_small_shared_memory.xml"), (28, "fastdds_small_shared_memory.xml")])
def test_the_largest_segments_that_fit_are_used(monkeypatch, capsys, mib, profile):
    shared_memory(monkeypatch, mib)
    use_large_segments()
    assert os.environ[PROFILE] == str(CONFIG / profile) and not capsys.readouterr().err


def test_a_shared_memory_that_is_too_small_is_named_and_left_alone(monkeypatch, capsys):
    shared_memory(monkeypatch, 27)
    use_large_segments()
    assert PROFILE not in os.environ
    assert "/dev/shm: found 27 MiB free; required: 28 MiB" in capsys.readouterr().err


def test_the_users_profile_stays(monkeypatch):
    monkeypatch.setenv(PROFILE, "/home/user/profile.xml")
    use_large_segments()
    assert os.environ[PROFILE] == "/home/user/profile.xml"


@pytest.mark.parametrize(("profile", "mib"), list(NEEDED_MIB.items()))
def test_three_participants_fit_and_no_message_is_larger_than_a_segment(profile, mib):
    values = {element.tag.rpartition("}")[2]: element.text for element in ElementTree.parse(CONFIG / profile).iter()}
    segment = int(values["segment_size"])
    assert int(values["maxMessageSize"]) <= segment  # otherwise Fast DDS drops the transport
    assert 3 * segment <= mib << 20


def test_what_waits_for_a_killed_process_cannot_fill_a_small_segment():
    profile = ElementTree.parse(CONFIG / "fastdds_small_shared_memory.xml")
    values = {element.tag.rpartition("}")[2]: element.text for element in profile.iter()}
    fragment = 65_500  # bytes: beside UDP, messages are divided into its datagrams
    assert int(values["port_queue_capacity"]) * fragment < 0.8 * int(values["segment_size"])


def segment_of(folder: Path, name: str, age_s: float = 3600.0) -> Path:
    """A segment and its lock file, of that age."""
    for path in (folder / name, folder / f"{name}_el"):
        path.write_bytes(b"x")
        os.utime(path, (time.time() - age_s,) * 2)
    return folder / name


def test_only_segments_that_nobody_holds_are_removed(tmp_path):
    dead, held = segment_of(tmp_path, "fastrtps_" + "0" * 16), segment_of(tmp_path, "fastrtps_" + "1" * 16)
    new, port = segment_of(tmp_path, "fastrtps_" + "2" * 16, age_s=0.0), segment_of(tmp_path, "fastrtps_port7411")
    (lonely := tmp_path / ("fastrtps_" + "3" * 16)).write_bytes(b"x")
    os.utime(lonely, (0, 0))
    with held.with_name(f"{held.name}_el").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert remove_dead_segments(tmp_path) == 1
    assert {path.name for path in tmp_path.iterdir()} == {
        lonely.name, *(f"{path.name}{ending}" for path in (held, new, port) for ending in ("", "_el"))}
    assert not dead.exists()
    assert remove_dead_segments(tmp_path / "nowhere") == 0
