# SPDX-License-Identifier: Apache-2.0
"""Trials of the running node: faults, soak, latency, synchronizer."""
