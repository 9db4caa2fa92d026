# SPDX-License-Identifier: Apache-2.0
"""Fusion-level DynMM on its own task: RGB-D segmentation with a depth encoder of adaptive depth."""
