# SPDX-License-Identifier: Apache-2.0
"""Simulated rooms with known ground truth: recordings, datasets, live streams."""
