# SPDX-License-Identifier: Apache-2.0
"""Names of the frames of the outputs, and the transform of the target."""

from __future__ import annotations

import importlib
from collections.abc import Collection, Mapping
from functools import cache
from typing import Any

from geometry_msgs.msg import PoseWithCovarianceStamped, TransformStamped, Vector3
from nav_msgs.msg import Odometry

from admn_ros.errors import ConfigError
from admn_ros.nodes import qos
from admn_ros.nodes.managed_node import ManagedNode
from admn_ros.recordings import tf_tree


@cache
def transform_class() -> type | None:
    """Import tf2_msgs/TFMessage; None where the package is not installed."""
    package, _, name = tf_tree.TYPE.split("/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), name)
    except ImportError:
        return None


def check_frames(values: Mapping[str, Any], model_frame: str | None = None, sensors: Collection[str] = ()) -> None:
    """Check the parameters `output_frame`, `target_frame` and `publish_tf`.

    Args:
        values: parameters of the node.
        model_frame: frame of the model, which is the default of `output_frame`; None if it is not known yet.
        sensors: frames of the sensor nodes, which have parents in TF already.

    Raises:
        ConfigError: a name is not one of a TF frame, both are the same, or the transform cannot be published.
    """
    for name, needed in (("output_frame", False), ("target_frame", True)):
        frame = values[name]
        if frame.startswith("/") or frame != frame.strip() or (needed and not frame):
            raise ConfigError(name, repr(frame), "the name of a TF frame, without a leading slash")
    if values["target_frame"] == (values["output_frame"] or model_frame):
        raise ConfigError("target_frame", values["target_frame"], "another frame than that of the positions "
                                                                  "(output_frame)")
    if values["target_frame"] in sensors:
        raise ConfigError("target_frame", values["target_frame"], "another frame than those of the sensor nodes")
    if values["publish_tf"] and transform_class() is None:
        raise ConfigError("publish_tf", "true, but there is no tf2_msgs/TFMessage",
                          "false, or an installed package tf2_msgs")


def target_transform(placed: Odometry | PoseWithCovarianceStamped, target_frame: str) -> TransformStamped:
    """Return the transform to the target from its pose. The axes are those of the frame of the pose.

    Args:
        placed: odometry or pose of the target.
        target_frame: frame of the target.
    """
    position = placed.pose.pose.position
    message = TransformStamped(header=placed.header, child_frame_id=target_frame)
    message.transform.translation = Vector3(x=position.x, y=position.y, z=position.z)
    message.transform.rotation = placed.pose.pose.orientation
    return message


class TargetTransforms:
    """Publisher of the transform to the target on /tf.

    Args:
        node: node with the parameter `target_frame`.
    """

    def __init__(self, node: ManagedNode) -> None:
        self._node, self._kind = node, transform_class()
        self._output = node.endpoints.create_publisher(self._kind, tf_tree.DYNAMIC, qos.TRANSFORMS_OUT)

    def publish(self, placed: Odometry | PoseWithCovarianceStamped) -> None:
        """Publish the transform of an odometry or a pose."""
        self._output.publish(self._kind(transforms=[target_transform(placed, self._node.value("target_frame"))]))
