# SPDX-License-Identifier: Apache-2.0
"""Budgets, their exact arithmetic, and the cost of a layer."""
