# SPDX-License-Identifier: Apache-2.0
"""Readers of segmentation datasets: the target is the class of each pixel."""
