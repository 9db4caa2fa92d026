# SPDX-License-Identifier: Apache-2.0
"""RGB-D segmentation with fusion-level DynMM: mIoU against operations, training strategies, decisions."""
