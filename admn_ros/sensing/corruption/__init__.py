# SPDX-License-Identifier: Apache-2.0
"""Damage to readings, by severity, seeded and labeled."""
