# SPDX-License-Identifier: Apache-2.0
"""Recordings and datasets, read without ROS."""
