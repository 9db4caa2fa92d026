# SPDX-License-Identifier: Apache-2.0
"""Topics with the results of each frame."""

from __future__ import annotations

from dataclasses import dataclass

from geometry_msgs.msg import PoseWithCovarianceStamped
from std_msgs.msg import Float32

from admn_ros.budget.budget import Budget
from admn_ros.config import ModelConfig
from admn_ros.inference.engine import Estimate
from admn_ros.msg import Classification, LayerAllocation
from admn_ros.nodes import qos
from admn_ros.nodes.conversions import allocation_message, classification_message, failed_message, pose_message
from admn_ros.nodes.managed_node import ManagedNode
from admn_ros.nodes.perception.detections import detection_message, vision_messages
from admn_ros.sample import SensorFrame


@dataclass(frozen=True)
class Timing:
    """Times of a frame.

    Attributes:
        latency_ms: from the arrival of its newest input to its result, in milliseconds.
        inference_ms: in preprocessing and network, in milliseconds.
        dropped: number of frames dropped so far.
    """

    latency_ms: float
    inference_ms: float
    dropped: int


class Results:
    """Publishers of ~/pose, ~/classification, ~/allocation and ~/latency; of ~/detections with `vision_msgs`.

    Args:
        node: node that publishes.
        config: model of the estimates.
    """

    def __init__(self, node: ManagedNode, config: ModelConfig) -> None:
        self._node, self._config = node, config
        create = node.endpoints.create_publisher
        self._pose = create(PoseWithCovarianceStamped, "~/pose", qos.RESULT_OUT)
        self._classification = create(Classification, "~/classification", qos.RESULT_OUT)
        self._vision = vision_messages()
        self._detections = None if self._vision is None else create(
            self._vision.Detection3DArray, "~/detections", qos.RESULT_OUT)
        self._allocation = create(LayerAllocation, "~/allocation", qos.RESULT_OUT)
        self._latency = create(Float32, "~/latency", qos.RESULT_OUT)

    def publish(self, frame: SensorFrame, estimate: Estimate, timing: Timing) -> None:
        """Publish the results of a frame.

        Without a target there is no pose, and the array of detections is empty. If nothing ran, only the allocation is
        published.

        Args:
            frame: the frame.
            estimate: its estimate, without a position if the frame shows no target.
            timing: its times.
        """
        if estimate.mean_m is not None:
            self._pose.publish(pose_message(estimate))
        if estimate.scores is not None:
            self._classification.publish(classification_message(estimate))
            if self._detections is not None:
                self._detections.publish(detection_message(self._vision, estimate))
        self._allocation.publish(allocation_message(
            frame, estimate, self._config, timing.latency_ms, timing.inference_ms, timing.dropped))
        if self._latency.get_subscription_count():
            age_ns = self._node.get_clock().now().nanoseconds - frame.stamp_ns
            self._latency.publish(Float32(data=1e-6 * age_ns))

    def publish_failure(self, frame: SensorFrame, budget: Budget, error: Exception, timing: Timing) -> None:
        """Publish the allocation of a frame on which the network failed."""
        self._allocation.publish(failed_message(
            frame, self._config, budget, str(error), timing.latency_ms, timing.inference_ms, timing.dropped))
