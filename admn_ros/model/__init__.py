# SPDX-License-Identifier: Apache-2.0
"""Plain torch: adaptive backbones, fusion, heads, QoI controller, allocation, model folder."""
