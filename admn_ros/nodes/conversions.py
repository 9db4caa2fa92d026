# SPDX-License-Identifier: Apache-2.0
"""Messages of estimates. Sensor messages are decoded in `admn_ros.sensing.decode`, without ROS."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseWithCovarianceStamped
from std_msgs.msg import Header

from admn_ros.budget.budget import Budget
from admn_ros.config import BUDGET_UNITS, ModelConfig
from admn_ros.msg import Classification, InputAllocation, LayerAllocation, ModalityAllocation
from admn_ros.sample import Availability, Modality, SensorFrame

if TYPE_CHECKING:
    from admn_ros.inference.engine import Estimate

AVAILABILITY = {
    Availability.FRESH: ModalityAllocation.FRESH,
    Availability.HELD: ModalityAllocation.HELD,
    Availability.MISSING: ModalityAllocation.MISSING,
}
UNKNOWN_ANGLE_VARIANCE = math.pi**2 / 3
"""Variance of an unknown angle (uniform on a circle), in rad^2."""


def header(stamp_ns: int, frame_id: str) -> Header:
    """Return a header for a stamp in nanoseconds."""
    return Header(stamp=Time(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9), frame_id=frame_id)


def pose_message(estimate: Estimate) -> PoseWithCovarianceStamped:
    """Return the pose of the target. Orientation is not estimated: identity, with the variance of an unknown angle."""
    message = PoseWithCovarianceStamped(header=header(estimate.stamp_ns, estimate.frame_id))
    position = message.pose.pose.position
    position.x, position.y, position.z = map(float, estimate.mean_m)
    covariance = [0.0] * 36
    for row in range(3):
        for column in range(3):
            covariance[6 * row + column] = float(estimate.covariance_m2[row, column])
        covariance[21 + 7 * row] = UNKNOWN_ANGLE_VARIANCE
    message.pose.covariance = covariance
    return message


def classification_message(estimate: Estimate) -> Classification:
    """Return the class of the target with all scores."""
    best = int(estimate.scores.argmax())
    return Classification(
        header=header(estimate.stamp_ns, estimate.frame_id), label=estimate.labels[best],
        score=float(estimate.scores[best]), labels=list(estimate.labels), scores=estimate.scores.tolist())


def allocation_message(frame: SensorFrame, estimate: Estimate, config: ModelConfig,
                       latency_ms: float, inference_ms: float, frames_dropped: int) -> LayerAllocation:
    """Return the layer allocation of a frame; times are in milliseconds."""
    a = estimate.allocation
    return LayerAllocation(
        header=header(estimate.stamp_ns, estimate.frame_id),
        requested_limit=a.requested.limit, requested_unit=BUDGET_UNITS.index(a.requested.unit),
        source=a.requested.source,
        granted_limit=a.granted_limit, granted_unit=BUDGET_UNITS.index(a.granted_unit), spent=a.spent,
        reason=getattr(LayerAllocation, f"REASON_{a.reason.name}"), reason_text=a.reason_text,
        latency_ms=latency_ms, inference_ms=inference_ms, waiting_ms=1e3 * frame.waited_s,
        frames_dropped=frames_dropped,
        modalities=[_modality_message(frame, estimate, m, config) for m in config.modalities],
        inputs=[InputAllocation(modality=i.modality.value, sensor_node=config.sensor_nodes[i.node], value=i.value,
                                cost=i.cost, ran=i.ran, why=i.why.value) for i in a.inputs])


def failed_message(frame: SensorFrame, config: ModelConfig, budget: Budget, reason: str, latency_ms: float,
                   inference_ms: float, frames_dropped: int) -> LayerAllocation:
    """Return the allocation of a frame on which the network failed."""
    unit = BUDGET_UNITS.index(budget.unit)
    return LayerAllocation(
        header=header(frame.stamp_ns, config.frame_id), requested_limit=budget.limit, requested_unit=unit,
        source=budget.source, granted_limit=budget.limit, granted_unit=unit, spent=0.0,
        reason=LayerAllocation.REASON_FAILED, reason_text=reason, latency_ms=latency_ms,
        inference_ms=inference_ms, waiting_ms=1e3 * frame.waited_s, frames_dropped=frames_dropped,
        modalities=[ModalityAllocation(
            modality=m.value, layers_total=depth, qoi=math.nan, availability=AVAILABILITY[frame.availability(m)],
            held_nodes=frame.nodes(m, Availability.HELD), missing_nodes=frame.nodes(m, Availability.MISSING))
            for m, depth in config.depths.items()])


def _modality_message(frame: SensorFrame, estimate: Estimate, modality: Modality,
                      config: ModelConfig) -> ModalityAllocation:
    a = estimate.allocation
    return ModalityAllocation(
        modality=modality.value, sensor_nodes=[config.sensor_nodes[i] for i in a.nodes.get(modality, ())],
        active_layers=a.active.get(modality, ()), layers_total=config.depths[modality],
        held_nodes=frame.nodes(modality, Availability.HELD),
        missing_nodes=frame.nodes(modality, Availability.MISSING),
        cost=a.cost.get(modality, 0.0), qoi=estimate.qoi.get(modality, math.nan),
        availability=AVAILABILITY[frame.availability(modality)])
