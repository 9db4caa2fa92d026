# SPDX-License-Identifier: Apache-2.0
"""A bag that is replayed through the running node gives what `admn evaluate` gives offline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rclpy
import yaml
from rclpy.parameter import Parameter

from admn_ros.config import load_config, parse_config
from admn_ros.deployment import DeploymentConfig
from admn_ros.evaluation.plan import EvaluationPlan
from admn_ros.evaluation.records import read_columns
from admn_ros.evaluation.run import evaluate
from admn_ros.nodes.apps.replay import ReplayNode
from admn_ros.recordings import bag_messages as make
from admn_ros.recordings.bag_writer import BagWriter

pytestmark = pytest.mark.slow

START_NS = 1_700_000_000_000_000_000
NODES, PHASES_MS = ("left", "right"), {"rgb": 0, "depth": 9, "audio": 15, "radar": 21}


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    """Two seconds at 15 Hz. Every input has its own phase, and its data differ from frame to frame."""
    rng, written = np.random.default_rng(4), []
    for k in range(30):
        for n, node in enumerate(NODES):
            for modality, phase_ms in PHASES_MS.items():
                stamp_ns = START_NS + k * 66_000_000 + (phase_ms + 3 * n) * 1_000_000
                match modality:
                    case "rgb":
                        message = make.rgb_image(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8), stamp_ns, node)
                    case "depth":
                        message = make.depth_image(rng.uniform(0.5, 6, (48, 64)).astype(np.float32), stamp_ns, node)
                    case "radar":
                        message = make.radar_image(rng.random((64, 32), dtype=np.float32), stamp_ns, node)
                    case _:
                        sound = rng.integers(-3000, 3000, (1056, 2)).astype(np.int16)
                        message = make.audio_frame(sound, 16000, stamp_ns, node)
                kind = make.AUDIO_FRAME if modality == "audio" else make.IMAGE
                written.append((stamp_ns + 2_000_000, f"/{node}/{modality}", kind, message))
    with BagWriter(tmp_path / "drive") as writer:
        for stamp_ns, topic, kind, message in sorted(written, key=lambda w: w[0]):
            writer.write(topic, kind, message, stamp_ns)
    return tmp_path / "drive"


@pytest.fixture
def sensors(tmp_path: Path) -> Path:
    """Each input is waited for, so that a frame's readings do not depend on how late a message comes."""
    path = tmp_path / "sensors.yaml"
    path.write_text(yaml.safe_dump({
        "sensors": {n: {m: {"topic": f"/{n}/{m}"} for m in PHASES_MS} for n in NODES},
        "sync": {"modalities": {m: {"tolerance_s": 0.03, "hold_s": 0.15, "wait_s": 0.3} for m in PHASES_MS}},
        "budget": {"limit": 9, "unit": "layers"}}))
    return path


def test_every_frame_that_was_not_dropped_is_the_offline_one(bag, sensors, model_folder, make_rig, tmp_path):
    deployment = load_config(DeploymentConfig, sensors)
    evaluate(parse_config(EvaluationPlan, {
        "sources": [str(bag)], "kind": "bag", "model": str(model_folder), "budgets": [9],
        "bag": {"deployment": deployment.model_dump(mode="json")}}, "plan"), tmp_path / "out")
    offline = read_columns(tmp_path / "out" / "records" / "clean.npz")
    assert len(offline["index"]) == 30

    rig = make_rig(model=str(model_folder), sensors=str(sensors), autostart=True, use_sim_time=True, threads=1)
    context = rclpy.Context()
    rclpy.init(context=context)
    # Slowly, so that a busy machine drops few frames; the waits are in the recording's time and wait longer too.
    player = ReplayNode(context=context, parameter_overrides=[
        Parameter("bag", value=str(bag)), Parameter("rate", value=0.25)])
    try:
        assert rig.wait(lambda: not context.ok(), 60)
    finally:
        player.destroy_node()
    by_stamp = {p.header.stamp.sec * 10**9 + p.header.stamp.nanosec: p for p in rig.poses}
    # The first frames are opened by the first input received, which varies live.
    numbers = [n for n, stamp in enumerate(offline["stamp_ns"].tolist()) if n >= 3 and stamp in by_stamp]
    assert len(numbers) >= 20
    for n in numbers:
        live = by_stamp[int(offline["stamp_ns"][n])].pose
        position = (live.pose.position.x, live.pose.position.y, live.pose.position.z)
        assert position == tuple(offline["mean_m"][n, 0])
        assert np.reshape(live.covariance, (6, 6))[:3, :3].tolist() == offline["covariance_m2"][n, 0].tolist()
