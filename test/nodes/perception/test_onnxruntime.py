# SPDX-License-Identifier: Apache-2.0
"""The perception node with ONNX Runtime: the estimates of PyTorch, within every budget."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rclpy.parameter import Parameter

from admn_ros.inference.onnx.export import export_model
from helpers.once import made_once

pytestmark = pytest.mark.slow  # tracing a network takes seconds

CONFIGURE, CLEANUP, ACTIVATE, DEACTIVATE = 1, 2, 3, 4
LIMITS = (8, 3, 16, 1)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> Path:
    return made_once(tmp_path_factory, "node/onnx", lambda folder: export_model(model_folder, folder))


def stamp_of(message) -> int:
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def estimates(rig, engine: str) -> list[tuple[list[list[int]], np.ndarray]]:
    """Return layers and pose with covariance within each of `LIMITS`. All frames have the same readings."""
    assert rig.node.set_parameters([Parameter("engine", value=engine)])[0].successful
    assert rig.transition(CONFIGURE) and rig.transition(ACTIVATE) and rig.connected()
    assert rig.node.pipeline.engine.runtime_name.startswith(engine)
    rig.frame()
    found = []
    for limit in LIMITS:
        rig.budget(float(limit))
        assert rig.in_force(limit)
        allocation = rig.frame()
        assert allocation.spent == sum(len(m.active_layers) for m in allocation.modalities) == limit
        stamp_ns = stamp_of(allocation)
        assert rig.wait(lambda stamp_ns=stamp_ns: rig.poses and stamp_of(rig.poses[-1]) == stamp_ns)
        pose = rig.poses[-1].pose
        found.append(([list(m.active_layers) for m in allocation.modalities],
                      np.array([pose.pose.position.x, pose.pose.position.y, *pose.covariance])))
    assert rig.transition(DEACTIVATE) and rig.transition(CLEANUP)
    return found


def test_a_node_with_onnx_runtime_follows_budgets_and_gives_the_estimates_of_pytorch(make_rig, exported, sensors_file):
    rig = make_rig(model=str(exported), sensors=str(sensors_file), diagnostics_period_s=0.2)
    for (layers, pose), (expected_layers, expected) in zip(
            estimates(rig, "onnxruntime"), estimates(rig, "torch"), strict=True):
        assert layers == expected_layers
        np.testing.assert_allclose(pose, expected, rtol=1e-4, atol=1e-4 * np.abs(expected[:2]).max())
