# SPDX-License-Identifier: Apache-2.0
"""Drawings: debug image, dashboard, timeline, contact sheet, governor plot."""
