# SPDX-License-Identifier: Apache-2.0
"""ROS 2 nodes. Only this folder imports rclpy and messages."""
