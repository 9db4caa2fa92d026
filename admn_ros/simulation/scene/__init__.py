# SPDX-License-Identifier: Apache-2.0
"""Geometry and motion of the simulated room."""
