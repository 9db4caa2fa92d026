# SPDX-License-Identifier: Apache-2.0
"""Recordings as the frames of the perception node, their ground truth, and their export to datasets."""
