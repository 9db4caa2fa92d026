# SPDX-License-Identifier: Apache-2.0
"""Recordings: rosbag2 read and written without ROS."""
