# SPDX-License-Identifier: Apache-2.0
"""Recordings as the frames that a node would see, their ground truth, and their export to datasets."""
