# SPDX-License-Identifier: Apache-2.0
"""Domains of processes that run side by side."""

from __future__ import annotations

import os

import pytest

from admn_ros.nodes import discovery
from admn_ros.nodes.discovery import DOMAINS, isolate_discovery, reserve_domain


def test_domains_are_reserved_until_their_file_is_closed(tmp_path):
    taken = [reserve_domain(99, tmp_path) for _ in range(4)]
    assert [domain for domain, _ in taken] == [99, 100, 1, 2]
    taken[1][1].close()
    assert reserve_domain(99, tmp_path)[0] == 100
    rest = [reserve_domain(1, tmp_path) for _ in range(DOMAINS)]
    assert len({domain for domain, file in rest if file is not None}) == DOMAINS - 3
    assert rest[-1] == (1, None), "all are taken"


def test_a_process_has_one_domain_and_keeps_that_of_its_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("ROS_DOMAIN_ID")
    isolate_discovery()
    found = os.environ["ROS_DOMAIN_ID"]
    monkeypatch.delenv("ROS_DOMAIN_ID")
    isolate_discovery()
    assert os.environ["ROS_DOMAIN_ID"] == found == str(discovery._own_domain()[0]) and 1 <= int(found) <= DOMAINS
    monkeypatch.setenv("ROS_DOMAIN_ID", "42")
    isolate_discovery()
    assert os.environ["ROS_DOMAIN_ID"] == "42"
