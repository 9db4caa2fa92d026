# SPDX-License-Identifier: Apache-2.0
"""Errors on /diagnostics that last are logged once, and their end too."""

from __future__ import annotations

import pytest

from admn_ros.nodes import status
from admn_ros.nodes.status import ERROR, OK, STALE, WARN, LastingErrors, make_status


def statuses(**levels: bytes):
    return [make_status("/admn", name, level, f"{name} is wrong", {}) for name, level in levels.items()]


def test_an_error_is_told_once_when_it_has_lasted_and_again_after_its_end():
    errors = LastingErrors()
    assert not errors.begun(statuses(rgb=ERROR, depth=WARN), 100.0)
    assert not errors.begun(statuses(rgb=OK, depth=WARN), 105.0), "it was short"
    assert not errors.begun(statuses(rgb=ERROR, depth=WARN), 106.0)
    assert errors.begun(statuses(rgb=ERROR, depth=WARN), 116.0) == "rgb: rgb is wrong"
    assert not errors.begun(statuses(rgb=ERROR), 200.0) and not errors.ended(statuses(rgb=ERROR))
    assert errors.ended(statuses(rgb=WARN)) == "rgb" and not errors.ended(statuses(rgb=WARN))
    assert not errors.begun(statuses(rgb=WARN), 201.0)
    assert not errors.begun(statuses(rgb=ERROR), 202.0) and errors.begun(statuses(rgb=ERROR), 212.0)


def test_of_many_errors_the_first_are_told_and_the_others_counted():
    errors = LastingErrors()
    five = statuses(inference=ERROR, a=ERROR, b=ERROR, c=ERROR, d=ERROR)
    errors.begun(five, 0.0)
    assert errors.begun(five, 20.0) == (
        "inference: inference is wrong; a: a is wrong; b: b is wrong; and 2 more in /diagnostics")


def test_the_end_of_the_active_state_is_no_end_of_an_error():
    errors = LastingErrors()
    errors.begun(statuses(rgb=ERROR), 0.0)
    assert errors.begun(statuses(rgb=ERROR), 20.0)
    assert not errors.ended(statuses(rgb=STALE)) and not errors.begun(statuses(rgb=STALE), 21.0)
    assert not errors.begun(statuses(rgb=ERROR), 22.0), "a new one, which has not lasted yet"


@pytest.mark.slow
def test_a_node_without_sensors_says_so_in_its_log(make_rig, model_folder, sensors_file, capfd, monkeypatch):
    monkeypatch.setattr(status, "LASTING_S", 0.3)
    rig = make_rig(model=str(model_folder), sensors=str(sensors_file), autostart=True, diagnostics_period_s=0.1)
    log = ""

    def logged(text: str) -> bool:
        nonlocal log
        log += capfd.readouterr().err
        return text in log

    assert rig.wait(lambda: logged(" nothing received on /left/")), log
    assert "more in /diagnostics" in log
    assert rig.connected() and rig.frame()
    assert rig.send_until(lambda: logged("no longer an error: ")), log
