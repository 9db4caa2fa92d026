# SPDX-License-Identifier: Apache-2.0
"""Readings of many inputs to one frame."""
