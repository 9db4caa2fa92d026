# SPDX-License-Identifier: Apache-2.0
"""FMCW radar of the simulated room."""
