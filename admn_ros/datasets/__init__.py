# SPDX-License-Identifier: Apache-2.0
"""Folders and datasets of others, read without ROS."""
