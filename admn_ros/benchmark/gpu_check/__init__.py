# SPDX-License-Identifier: Apache-2.0
"""Acceptance of this package on a machine with a GPU: tests, latencies, and a few steps of every training stage."""
