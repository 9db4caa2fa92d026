# SPDX-License-Identifier: Apache-2.0
"""The Fast DDS profile for images: used where it fits, and never in place of the user's."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from admn_ros.nodes.fast_dds import NEEDED_MIB, PROFILE, use_large_segments
from admn_ros.share import share_directory


def shared_memory(monkeypatch: pytest.MonkeyPatch, mib: int) -> None:
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_bavail=mib, f_frsize=1 << 20))


def test_a_large_shared_memory_gets_the_shipped_profile(monkeypatch):
    monkeypatch.delenv(PROFILE, raising=False)
    shared_memory(monkeypatch, NEEDED_MIB)
    use_large_segments()
    assert os.environ[PROFILE] == str(share_directory() / "config" / "fastdds_large_images.xml")
    monkeypatch.delenv(PROFILE)


def test_a_small_shared_memory_is_named_and_left_alone(monkeypatch, capsys):
    monkeypatch.delenv(PROFILE, raising=False)
    shared_memory(monkeypatch, 64)
    use_large_segments()
    assert PROFILE not in os.environ
    assert "/dev/shm: found 64 MiB free; required: 100 MiB" in capsys.readouterr().err


def test_the_users_profile_stays(monkeypatch):
    monkeypatch.setenv(PROFILE, "/home/user/profile.xml")
    use_large_segments()
    assert os.environ[PROFILE] == "/home/user/profile.xml"
