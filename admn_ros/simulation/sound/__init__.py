# SPDX-License-Identifier: Apache-2.0
"""Microphones of the simulated room."""
