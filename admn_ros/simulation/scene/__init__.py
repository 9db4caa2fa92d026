# SPDX-License-Identifier: Apache-2.0
"""Geometry and motion in the simulated room, and its model for the renderer."""
