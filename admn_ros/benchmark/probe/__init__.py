# SPDX-License-Identifier: Apache-2.0
"""Probe: position error of a small network that is trained on one modality only."""
