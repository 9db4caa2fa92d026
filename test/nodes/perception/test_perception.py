# SPDX-License-Identifier: Apache-2.0
"""The perception node over real DDS: outputs, budget, missing sensors, bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest
from builtin_interfaces.msg import Duration

from admn_ros.msg import ComputeBudget, LayerAllocation, ModalityAllocation
from admn_ros.nodes.conversions import UNKNOWN_ANGLE_VARIANCE, header

LAYERS_TOTAL = 16


def layers(allocation: LayerAllocation) -> int:
    return sum(len(m.active_layers) for m in allocation.modalities)


def modality(allocation: LayerAllocation, name: str) -> ModalityAllocation:
    return next(m for m in allocation.modalities if m.modality == name)


def stamp_of(message) -> int:
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def settle(rig) -> None:
    """One frame, so that every input is live and waited for."""
    rig.frame()
    rig.frame()


def test_a_frame_gives_pose_class_and_allocation_with_its_own_stamp(rig):
    settle(rig)
    allocation = rig.frame()
    stamp_ns = stamp_of(allocation)
    assert rig.wait(lambda: rig.poses and stamp_of(rig.poses[-1]) == stamp_ns)
    assert rig.wait(lambda: rig.classes and stamp_of(rig.classes[-1]) == stamp_ns)
    pose, label = rig.poses[-1], rig.classes[-1]
    assert pose.header.frame_id == label.header.frame_id == allocation.header.frame_id == "map"
    covariance = np.array(pose.pose.covariance).reshape(6, 6)
    assert np.allclose(covariance, covariance.T) and (np.linalg.eigvalsh(covariance) > 0).all()
    assert covariance[5, 5] == pytest.approx(UNKNOWN_ANGLE_VARIANCE)
    assert label.labels == ["car", "none"] and sum(label.scores) == pytest.approx(1.0, abs=1e-5)
    assert label.score == max(label.scores)
    assert [m.modality for m in allocation.modalities] == ["rgb", "depth", "radar", "audio"]
    assert allocation.requested_limit == 8.0 and allocation.source == "deployment file"
    assert allocation.spent == layers(allocation) == 8
    for m in allocation.modalities:
        assert m.availability == ModalityAllocation.FRESH and m.sensor_nodes == ["left", "right"]
        assert 0.0 < m.qoi <= 1.0 and m.layers_total == 4 and list(m.active_layers) == sorted(m.active_layers)
    assert [(i.modality, i.sensor_node, i.ran, i.why) for i in allocation.inputs] == [
        (m.modality, node, True, "ran") for m in allocation.modalities for node in ("left", "right")]
    assert sum(i.cost for i in allocation.inputs) == pytest.approx(allocation.spent)
    assert 0.0 < allocation.latency_ms < 5000.0


def test_no_frame_ever_spends_more_than_its_budget(rig):
    settle(rig)
    rng = np.random.default_rng(3)
    for limit in [0, 1, 2, 3, 4, 5, 16, 1000, math.inf, *rng.uniform(0, 20, 12)]:
        rig.budget(float(limit), source="test")
        assert rig.in_force(limit)
        allocation = rig.frame()
        assert allocation.requested_limit == limit and allocation.spent <= limit
        assert layers(allocation) == min(LAYERS_TOTAL, math.floor(min(limit, 1e6)))


def test_a_budget_change_applies_to_the_next_frame(rig):
    settle(rig)
    for limit in (5, 13, 2, 16):
        rig.budget(float(limit))
        # The budget travels on another topic than the readings: wait until it is there, not longer.
        assert rig.in_force(limit)
        assert layers(rig.frame()) == limit


def test_below_one_layer_nothing_runs_and_no_pose_is_published(rig):
    settle(rig)
    rig.budget(0.5)
    assert rig.in_force(0.5)
    allocation = rig.frame()
    assert allocation.reason == LayerAllocation.REASON_BELOW_FLOOR and allocation.spent == 0.0
    assert layers(allocation) == 0 and all(math.isnan(m.qoi) for m in allocation.modalities)
    assert not any(i.ran for i in allocation.inputs)
    assert {i.why for i in allocation.inputs} == {"does not fit into the budget"}
    rig.budget(5.0)
    assert rig.in_force(5.0)
    later = rig.frame()
    assert rig.wait(lambda: stamp_of(rig.poses[-1]) == stamp_of(later))
    assert stamp_of(allocation) not in map(stamp_of, rig.poses)


def test_a_budget_in_flops_is_kept_and_names_its_unit(rig):
    settle(rig)
    engine = rig.node.pipeline.engine
    everything, nodes = engine.costs.table("gflops"), dict.fromkeys(engine.config.modalities, 2)
    limit = everything.amount((everything.base(nodes) + everything.total(nodes)) // 2)
    rig.budget(limit, ComputeBudget.UNIT_GFLOPS)
    assert rig.in_force(limit, "gflops")
    allocation = rig.frame()
    assert allocation.granted_unit == ComputeBudget.UNIT_GFLOPS
    assert 0.0 < allocation.spent <= limit and layers(allocation) < LAYERS_TOTAL


@pytest.mark.parametrize(("message", "expected"), [
    (ComputeBudget(limit=math.nan), "limit: found nan"),
    (ComputeBudget(limit=-1.0), "limit: found -1.0"),
    (ComputeBudget(limit=3.0, unit=9), "unit: found 9"),
    (ComputeBudget(limit=3.0, unit=ComputeBudget.UNIT_JOULES), "found joules"),
    (ComputeBudget(limit=3.0, valid_for=Duration(sec=-1)), "valid_for: found -1"),
])
def test_a_budget_that_cannot_be_used_is_refused_and_the_old_one_stays(rig, message, expected):
    settle(rig)
    rig.budget(6.0, source="before")
    assert rig.in_force(6.0)
    rig.budget_output.publish(message)
    assert rig.wait(lambda: rig.value(": budget", "refused") == "1")
    error = rig.value("inference", "last_error")
    assert expected in error and "allowed" in error
    allocation = rig.frame()
    assert layers(allocation) == 6 and allocation.source == "before"


def test_an_expired_budget_gives_way_to_the_default(rig):
    settle(rig)
    rig.budget(2.0, valid_for=Duration(sec=2))
    assert rig.in_force(2.0)
    assert layers(rig.frame()) == 2
    assert rig.wait(lambda: layers(rig.frame()) == 8)


@pytest.mark.parametrize("name", ["rgb", "depth", "radar", "audio"])
def test_when_a_modality_dies_output_goes_on_and_says_what_is_missing(rig, name):
    settle(rig)
    dead = (f"left/{name}", f"right/{name}")
    last = rig.stream(lambda a: modality(a, name).availability == ModalityAllocation.MISSING, skip=dead)
    missing = modality(last, name)
    assert missing.missing_nodes == ["left", "right"]
    assert not missing.active_layers and missing.cost == 0.0 and math.isnan(missing.qoi)
    assert layers(last) == 8 and last.spent <= 8.0, "its layers went to the others"
    assert rig.wait(lambda: stamp_of(rig.poses[-1]) >= stamp_of(last))
    assert rig.stream(lambda a: modality(a, name).availability == ModalityAllocation.FRESH)


def test_when_one_topic_of_many_dies_it_is_named(rig):
    settle(rig)
    depth = modality(rig.stream(lambda a: modality(a, "depth").missing_nodes, skip=("right/depth",)), "depth")
    assert depth.missing_nodes == ["right"] and depth.sensor_nodes in (["left"], [])
    assert depth.availability == ModalityAllocation.FRESH
    assert rig.wait(lambda: rig.status("input right/depth") and "silent" in rig.status("input right/depth").message)
    assert rig.status("input right/depth").level == b"\x02"


def test_a_message_that_cannot_be_used_is_counted_and_the_node_lives_on(rig):
    settle(rig)
    image = rig.outputs["left", "rgb"]
    from sensor_msgs.msg import Image

    bad = [
        (Image(header=header(rig.now_ns + 1, ""), encoding="nv21", height=4, width=4, step=8, data=[0] * 32),
         "left/rgb.encoding: found"),
        (Image(header=header(rig.now_ns + 2, ""), encoding="rgb8", height=4, width=4, step=12, data=[0] * 7), "data"),
        (Image(header=header(rig.now_ns + 3, ""), encoding="rgb8", height=4, width=4, step=5, data=[0] * 20), "step"),
        (Image(encoding="rgb8", height=4, width=4, step=12, data=[0] * 48), "stamp"),
    ]
    for count, (message, field) in enumerate(bad, start=1):
        image.publish(message)
        assert rig.wait(lambda: rig.value("input left/rgb", "refused") == str(count))  # noqa: B023
        error = rig.value("input left/rgb", "last_error")
        assert field in error and "allowed:" in error
    assert rig.wait(lambda: modality(rig.frame(), "rgb").availability == ModalityAllocation.FRESH)

    # Frames between diagnostics, so that the input is not silent.
    assert rig.wait(lambda: rig.frame() and rig.status("input left/rgb").level == b"\x01")
    assert rig.value("input left/rgb", "refused") == "4" and "stamp" in rig.value("input left/rgb", "last_error")


def test_time_that_jumps_back_resets_and_frames_go_on(rig):
    settle(rig)
    rig.now_ns += 10_000_000_000
    settle(rig)
    before_ns = rig.now_ns
    rig.now_ns -= 9_000_000_000
    assert rig.stream(lambda a: stamp_of(a) < before_ns - 5_000_000_000)
    assert rig.wait(lambda: int(rig.value("inference", "time_resets")) >= 1)


def test_diagnostics_say_what_an_operator_needs(rig):
    settle(rig)
    rig.frame()
    assert rig.wait(lambda: rig.frame() and int(rig.value("inference", "frames") or 0) >= 3)
    assert rig.status("inference").level == b"\x00" and float(rig.value("inference", "latency_p50_ms")) > 0.0
    assert rig.value(": budget", "requested") == "8 layers" and rig.value(": budget", "violations") == "0"
    assert rig.wait(lambda: rig.frame() and rig.status("input left/radar").level == b"\x00")


def test_a_frame_that_fails_is_reported_counted_logged_once_per_cause_and_survived(rig, capfd):
    settle(rig)
    pipeline, sound = rig.node.pipeline, rig.node.pipeline.process
    causes = {}

    def process(frame, *rest):
        if frame.stamp_ns in causes:
            raise causes[frame.stamp_ns]
        return sound(frame, *rest)

    pipeline.process = process
    for k, error in enumerate([ValueError("a hole"), ValueError("a hole"), KeyError("a cable"), ValueError("a hole")]):
        causes[rig.now_ns + 60_000_000] = error
        failed = rig.frame()
        assert failed.reason == LayerAllocation.REASON_FAILED and "a " in failed.reason_text
        assert failed.spent == 0.0 and layers(failed) == 0
        assert rig.wait(lambda: rig.value("inference", "failed") == str(k + 1))  # noqa: B023
    assert rig.frame().reason == LayerAllocation.REASON_ALLOCATED
    log = [line for line in capfd.readouterr().err.splitlines() if "frame lost" in line]
    assert len(log) == 2 and "ValueError: a hole" in log[0] and "KeyError" in log[1]
    assert rig.wait(lambda: rig.frame() and (status := rig.status("inference")) is not None
                    and status.message.startswith("4 frames failed"))
    assert rig.status("inference").level == b"\x01"


def test_diagnostics_never_show_old_figures_and_say_why_nothing_comes(make_rig, model_folder, sensors_file):
    rig = make_rig(model=str(model_folder), sensors=str(sensors_file), autostart=True, diagnostics_period_s=0.1,
                   no_frames_error_s=0.3)
    assert rig.connected()

    def reported(level: bytes, text: str) -> bool:
        return rig.wait(lambda: text in rig.text(": inference") and rig.status(": inference").level == level)

    assert reported(b"\x02", "nothing received on any of 8 inputs")
    rig.stream(lambda a: rig.text(": inference").startswith("latency"))
    assert reported(b"\x02", "all 8 inputs are silent")
    for name, key in ((": inference", "latency_p50_ms"), (": budget", "spent"), (": budget", "granted")):
        assert rig.value(name, key) == "none"
    assert "no frame uses it" in rig.text(": budget") and rig.value(": budget", "in_force") == "8 layers"
    rig.budget(0.0, source="battery")
    assert rig.in_force(0.0)
    rig.stream(lambda a: "0 layers from battery, runs nothing" in rig.text(": inference"))
    rig.budget(3.0, ComputeBudget.UNIT_JOULES)
    assert rig.wait(lambda: "budgets refused" in rig.text(": budget"))
    assert rig.status(": budget").level == b"\x01"
