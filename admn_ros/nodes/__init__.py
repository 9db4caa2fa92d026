# SPDX-License-Identifier: Apache-2.0
"""ROS 2: the only room that imports rclpy or messages."""
